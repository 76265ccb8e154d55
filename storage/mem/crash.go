package mem

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
)

// Model says what of the things that are not durable a crash leaves behind.
type Model int

// The models, from the mildest to the harshest.
const (
	// Killed: the process died and the machine lives on. All survives but the locks, and what was not
	// durable still is not: a power cut that comes next may take it.
	Killed Model = iota
	// OnlySynced: nothing survives that was not synced.
	OnlySynced
	// RandomSubset: of unsynced changes to names a random prefix per directory, or over all, as a
	// journaling file system leaves them; of unsynced content some of the writes, others as zeros
	// (the size was logged, the data was not).
	RandomSubset
	// TornWrite: RandomSubset, and the last write to each unsynced file survives in part.
	TornWrite
	// AnySubset: TornWrite with any changes to names, whatever their order, as far as they do not
	// build on each other. Harsher than the journaling file systems are.
	AnySubset
)

func (m Model) String() string {
	switch m {
	case Killed:
		return "killed"
	case OnlySynced:
		return "only-synced"
	case RandomSubset:
		return "random-subset"
	case TornWrite:
		return "torn-write"
	case AnySubset:
		return "any-subset"
	}
	return fmt.Sprintf("model %d", int(m))
}

// Models are the models of a power cut, without Killed.
func Models() []Model { return []Model{OnlySynced, RandomSubset, TornWrite, AnySubset} }

// Crash returns the file system as the next process would find it: no lock held, and, but for Killed,
// everything in it durable. The same seed gives the same disk. What it is called on stays as it is, so
// one run can crash in many ways.
func (m *FS) Crash(model Model, seed uint64) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	if model == Killed {
		return m.kill()
	}
	c := crash{model: model, rng: rand.New(rand.NewPCG(seed, uint64(model))), clones: map[*node]*node{}}
	c.names = m.surviving(c)
	out := &FS{now: m.now, nextID: m.nextID, caps: m.caps, locks: map[*node]*lock{}}
	// In the order of their ids: the order of a map would make a seed mean another disk each time.
	for _, n := range c.reachable(m.root) {
		c.clones[n] = c.restart(n)
	}
	for n, clone := range c.clones {
		for name, child := range c.entries(n) {
			clone.entries[name] = c.clones[child]
			c.clones[child].links++
		}
		clone.onDisk = maps.Clone(clone.entries)
	}
	out.root = c.clones[m.root]
	out.root.links++
	return out
}

// crash is one crash as it is computed.
type crash struct {
	model  Model
	rng    *rand.Rand
	names  map[*node]map[string]*node // directories whose names differ from onDisk
	clones map[*node]*node
}

func (c crash) entries(dir *node) map[string]*node {
	if names, ok := c.names[dir]; ok {
		return names
	}
	return dir.onDisk
}

// surviving applies those changes of the journal that survive.
func (m *FS) surviving(c crash) map[*node]map[string]*node {
	survives := c.choose(m.journal)
	withBasis(m.journal, survives)
	names := map[*node]map[string]*node{}
	for i, change := range m.journal {
		if !survives[i] {
			continue
		}
		for _, s := range change.sets {
			if names[s.dir] == nil {
				names[s.dir] = maps.Clone(s.dir.onDisk)
			}
			s.put(names[s.dir])
		}
	}
	return names
}

func (c crash) choose(journal []change) []bool {
	survives := make([]bool, len(journal))
	switch {
	case c.model == OnlySynced:
	case c.model == AnySubset:
		for i := range survives {
			survives[i] = c.rng.IntN(2) == 0
		}
	case c.rng.IntN(2) == 0: // one journal for all
		for i := range c.rng.IntN(len(journal) + 1) {
			survives[i] = true
		}
	default:
		c.choosePrefixes(journal, survives)
	}
	return survives
}

// choosePrefixes lets each directory's changes end somewhere.
func (c crash) choosePrefixes(journal []change, survives []bool) {
	ended := map[*node]bool{}
	odds := 2 + c.rng.IntN(6)
	for i, change := range journal {
		end := c.rng.IntN(odds) == 0
		for _, s := range change.sets {
			end = end || ended[s.dir]
		}
		survives[i] = !end
		for _, s := range change.sets {
			ended[s.dir] = end
		}
	}
}

// reachable lists what still has a name, by id.
func (c crash) reachable(root *node) []*node {
	seen := map[*node]bool{root: true}
	queue := []*node{root}
	for i := 0; i < len(queue); i++ {
		for _, child := range c.entries(queue[i]) {
			if !seen[child] {
				seen[child] = true
				queue = append(queue, child)
			}
		}
	}
	slices.SortFunc(queue, func(a, b *node) int { return cmp.Compare(a.id, b.id) })
	return queue
}

// restart is a node as the disk has it, without its names.
func (c crash) restart(n *node) *node {
	out := &node{id: n.id, kind: n.kind, attr: n.synced, mtime: n.mtime, target: n.target}
	if n.isDir() {
		out.entries = map[string]*node{}
	}
	if c.model != OnlySynced && n.attr != n.synced && c.rng.IntN(2) == 0 {
		out.attr = n.attr
	}
	out.synced = out.attr
	out.data = c.content(n)
	out.durable = len(out.data)
	return out
}

// content is what a file has left.
func (c crash) content(n *node) []byte {
	switch {
	case len(n.writes) == 0:
		return n.data[:len(n.data):len(n.data)]
	case c.model == OnlySynced:
		return n.data[:n.durable:n.durable]
	}
	kept := c.rng.IntN(len(n.writes) + 1)
	torn := c.model != RandomSubset
	if torn {
		kept = min(kept, len(n.writes)-1)
	}
	out := slices.Clone(n.data[:n.durable])
	for _, end := range n.writes[:kept] {
		if written := n.data[len(out):end]; c.rng.IntN(4) == 0 {
			out = append(out, make([]byte, len(written))...)
		} else {
			out = append(out, written...)
		}
	}
	if torn {
		out = c.tear(out, n.data[len(out):n.writes[kept]])
	}
	return out
}

// tear appends a write in part: cut off, or with zeros or old bytes of the disk where the rest was to be.
func (c crash) tear(out, written []byte) []byte {
	cut := c.rng.IntN(len(written) + 1)
	out = append(out, written[:cut]...)
	switch rest := make([]byte, len(written)-cut); c.rng.IntN(3) {
	case 0:
		out = append(out, rest...)
	case 1:
		for i := range rest {
			rest[i] = byte(c.rng.Uint32())
		}
		out = append(out, rest...)
	}
	return out
}
