package mem

import (
	"maps"
	"slices"
)

// kill is the file system without the locks of the process that died.
func (m *FS) kill() *FS {
	k := killed{}
	out := &FS{now: m.now, nextID: m.nextID, caps: m.caps, locks: map[*node]*lock{}, root: k.clone(m.root)}
	for _, c := range m.journal {
		out.journal = append(out.journal, k.change(c))
	}
	return out
}

// killed are the clones made so far, so that a file of two names stays one.
type killed map[*node]*node

func (k killed) clone(n *node) *node {
	if n == nil {
		return nil
	}
	if out := k[n]; out != nil {
		return out
	}
	out := new(node)
	*out = *n
	k[n] = out
	// Shared with the original, which may still grow.
	out.data, out.writes = slices.Clip(n.data), slices.Clip(n.writes)
	out.entries, out.onDisk = k.names(n.entries), k.names(n.onDisk)
	return out
}

func (k killed) names(of map[string]*node) map[string]*node {
	out := maps.Clone(of)
	for name, n := range out {
		out[name] = k.clone(n)
	}
	return out
}

func (k killed) change(c change) change {
	sets := make([]set, len(c.sets))
	for i, s := range c.sets {
		sets[i] = set{entry{k.clone(s.dir), s.name}, k.clone(s.to)}
	}
	waits := make([]*node, len(c.waits))
	for i, d := range c.waits {
		waits[i] = k.clone(d)
	}
	return change{sets: sets, waits: waits, removed: k.clone(c.removed), moves: c.moves}
}
