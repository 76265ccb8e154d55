package mem

// entry is one name of one directory.
type entry struct {
	dir  *node
	name string
}

// change is one operation on names: each of its entries gets a node, or none. It happens whole.
type change struct {
	sets    []set
	waits   []*node // directories that SyncDir has still to make durable
	removed *node   // a directory that goes away
	moves   bool    // a directory moves to another one
}

type set struct {
	entry
	to *node
}

// apply carries a change out for processes to see and notes it as not durable.
func (m *FS) apply(c change) {
	now := m.now()
	for _, s := range c.sets {
		if old := s.dir.entries[s.name]; old != nil {
			old.links--
		}
		if s.to == nil {
			delete(s.dir.entries, s.name)
		} else {
			s.dir.entries[s.name] = s.to
			s.to.links++
		}
		s.dir.mtime = now
		c.waitFor(s.dir)
	}
	m.journal = append(m.journal, c)
}

func (c *change) waitFor(dir *node) {
	for _, d := range c.waits {
		if d == dir {
			return
		}
	}
	c.waits = append(c.waits, dir)
}

// synced notes that a directory's names are on disk.
func (c *change) synced(dir *node) {
	for i, d := range c.waits {
		if d == dir {
			c.waits = append(c.waits[:i:i], c.waits[i+1:]...)
			return
		}
	}
}

// persist applies the changes that are durable now to the disk and drops them from the journal.
func (m *FS) persist() {
	survives := make([]bool, len(m.journal))
	for i, c := range m.journal {
		survives[i] = len(c.waits) == 0
	}
	withBasis(m.journal, survives)
	rest := m.journal[:0]
	for i, c := range m.journal {
		if !survives[i] {
			rest = append(rest, c)
			continue
		}
		for _, s := range c.sets {
			s.put(s.dir.onDisk)
		}
	}
	clear(m.journal[len(rest):])
	m.journal = rest
}

func (s set) put(names map[string]*node) {
	if s.to == nil {
		delete(names, s.name)
		return
	}
	names[s.name] = s.to
}

// withBasis adds to the changes that survive the earlier ones without which they mean nothing.
func withBasis(journal []change, survives []bool) {
	entries, dirs, moves := map[entry]bool{}, map[*node]bool{}, false
	for i := len(journal) - 1; i >= 0; i-- {
		c := journal[i]
		for _, s := range c.sets {
			// A name's history has no gaps, and a directory is removed after what was in it.
			survives[i] = survives[i] || entries[s.entry] || dirs[s.dir]
		}
		// Directories that move are ordered among each other, or one could end up within itself.
		survives[i] = survives[i] || c.moves && moves
		if !survives[i] {
			continue
		}
		for _, s := range c.sets {
			entries[s.entry] = true
		}
		if c.removed != nil {
			dirs[c.removed] = true
		}
		moves = moves || c.moves
	}
}
