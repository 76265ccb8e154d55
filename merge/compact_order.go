package merge

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/merge/splice"
)

// keyRange is rows of a row group whose keys ascend, or repeat. A row with NULL in its key follows the one before it.
type keyRange struct {
	group       *rowGroup
	from, to    int64
	first, last []byte // nil: no row has a key
	shuffled    bool   // the rows are those of a whole group whose keys go up and down too often: they are sorted in memory
}

func (r *keyRange) rows() int64 { return r.to - r.from }

// whole reports whether the range is a row group as it stands.
func (r *keyRange) whole() bool { return !r.shuffled && r.rows() == r.group.rows }

const (
	// maxGroupRanges is how many ranges of a row group are walked side by side.
	maxGroupRanges = 8
	// longRange: a range of this part of a row group is long. Rows count as in key order where at least half of them stand in such.
	longRange = 8
	// lostShare: where one row of so many is out of key order, files are written anew for that alone.
	lostShare = 100
)

// findOrder looks whether a kind's rows are in the order of their keys, and picks the files in which it is lost.
func (c *Compaction) findOrder(ctx context.Context, k *kind) error {
	if len(c.task.Key) == 0 {
		return nil
	}
	key, layout, err := keyColumns(c.task.Schema.Fields(), c.task.Key, true, false)
	if err != nil {
		return nil //nolint:nilerr // what is no key of these files is none by which rows have an order
	}
	for _, f := range k.files {
		if err := f.bindKey(key); err != nil {
			return nil //nolint:nilerr // where files lack a key column rows have no order by it
		}
	}
	c.layout = layout
	scans := make([]rangeScan, len(groupsOf(k.files)))
	err = parallel(ctx, c.task.Parallel, len(scans), func(ctx context.Context, i int) error {
		g := groupsOf(k.files)[i]
		scans[i] = rangeScan{group: g, layout: &c.layout}
		err := g.file.wrap(scans[i].run(ctx))
		if p := c.task.Progress; p != nil {
			p.Probed.Add(g.bytes())
		}
		return err
	})
	if err != nil {
		return err
	}
	var all []*keyRange
	rows, long := int64(0), int64(0)
	k.ranges = map[*rowGroup][]*keyRange{}
	for i := range scans {
		s := &scans[i]
		k.ranges[s.group] = s.ranges
		all, rows, long = append(all, s.ranges...), rows+s.group.rows, long+s.long
	}
	if k.inOrder = 2*long >= rows && rows > 0; !k.inOrder {
		return nil
	}
	if k.lost = outOfOrder(all); k.lost == 0 {
		return nil
	}
	if !c.sortable(k, all) {
		k.inOrder, k.lost = false, 0
		return nil
	}
	if k.lost*lostShare >= rows {
		k.pickDisordered(all)
	}
	return nil
}

func groupsOf(files []*oldFile) (out []*rowGroup) {
	for _, f := range files {
		out = append(out, f.groups...)
	}
	return out
}

// pickDisordered picks the files with rows between those of others.
func (k *kind) pickDisordered(all []*keyRange) {
	for _, beside := range rangesBeside(all) {
		for _, r := range beside {
			if len(beside) > 1 || !r.whole() {
				k.pick(r.group.file)
			}
		}
	}
}

// pickBetween picks the files with rows between those that would become one row group: their keys would lie between its own.
func (k *kind) pickBetween() (more bool) {
	if !k.inOrder {
		return false
	}
	var rest []*oldFile
	for _, f := range k.files {
		if !slices.Contains(k.picked, f) {
			rest = append(rest, f)
		}
	}
	for _, f := range rest {
		if slices.ContainsFunc(k.units, func(u unitPlan) bool { return u.group == nil && k.between(f, k.stream[u.first:u.last+1]) }) {
			k.picked, more = append(k.picked, f), true
		}
	}
	slices.SortFunc(k.picked, func(a, b *oldFile) int { return strings.Compare(a.Name, b.Name) })
	return more
}

// between reports whether keys of a file lie between those of bundles.
func (k *kind) between(f *oldFile, bundles []bundle) bool {
	var first, last []byte
	for _, b := range bundles {
		for _, r := range b.ranges {
			if r.first != nil && (first == nil || bytes.Compare(r.first, first) < 0) {
				first = r.first
			}
			if r.last != nil && (last == nil || bytes.Compare(r.last, last) > 0) {
				last = r.last
			}
		}
	}
	return slices.ContainsFunc(f.groups, func(g *rowGroup) bool {
		return slices.ContainsFunc(k.ranges[g], func(r *keyRange) bool {
			return r.first != nil && first != nil && bytes.Compare(r.first, last) < 0 && bytes.Compare(first, r.last) < 0
		})
	})
}

// rangesBeside groups ranges whose keys lie between each other's, in the order of keys. Ranges without a key come first.
func rangesBeside(all []*keyRange) (out [][]*keyRange) {
	sorted := slices.Clone(all)
	slices.SortStableFunc(sorted, func(a, b *keyRange) int {
		return cmp.Or(bytes.Compare(a.first, b.first), bytes.Compare(a.last, b.last))
	})
	var last []byte
	for i, r := range sorted {
		if i == 0 || r.first == nil || last == nil || bytes.Compare(last, r.first) <= 0 {
			out, last = append(out, nil), r.last
		}
		out[len(out)-1] = append(out[len(out)-1], r)
		if bytes.Compare(last, r.last) < 0 {
			last = r.last
		}
	}
	return out
}

// outOfOrder counts the rows that lie between those of other ranges: all but the most that ranges which do not overlap have.
func outOfOrder(all []*keyRange) int64 {
	sorted := slices.DeleteFunc(slices.Clone(all), func(r *keyRange) bool { return r.first == nil })
	slices.SortFunc(sorted, func(a, b *keyRange) int {
		return cmp.Or(bytes.Compare(a.last, b.last), bytes.Compare(a.first, b.first))
	})
	best := make([]int64, len(sorted)+1) // of the first so many
	total := int64(0)
	for i, r := range sorted {
		total += r.rows()
		before, _ := slices.BinarySearchFunc(sorted[:i], r.first, func(a *keyRange, first []byte) int {
			if bytes.Compare(a.last, first) <= 0 {
				return -1
			}
			return 1
		})
		gain := r.rows()
		if r.shuffled {
			gain = 0
		}
		best[i+1] = max(best[i], best[before]+gain)
	}
	return total - best[len(sorted)]
}

// rangeScan finds the ranges of a row group.
type rangeScan struct {
	group  *rowGroup
	layout *layout
	ranges []*keyRange
	long   int64 // rows in long ranges

	open        *keyRange
	lowest, top []byte
	many        bool
}

func (s *rangeScan) run(ctx context.Context) error {
	g := s.group
	keys := g.oldKeys(s.layout, []splice.Rows{{From: 0, To: g.rows}})
	defer func() {
		read := int64(0)
		keys.close(&read)
	}()
	s.open = &keyRange{group: g}
	for row := int64(0); row < g.rows; {
		n, err := keys.read(ctx, row, min(probeRows, g.rows-row))
		if err != nil {
			return err
		}
		s.block(keys, row, int(n))
		row += n
	}
	s.end(g.rows)
	if s.many {
		s.ranges = []*keyRange{{group: g, to: g.rows, first: s.lowest, last: s.top, shuffled: true}}
	}
	return nil
}

// block takes the keys of some rows.
func (s *rangeScan) block(keys *oldKeys, row int64, n int) {
	before := s.open.last
	for i := range n {
		if keys.nulls[i] {
			continue
		}
		key := keys.keys.at(i)
		switch {
		case before == nil:
			s.open.first = cloneKey(key)
		case bytes.Compare(before, key) > 0:
			s.open.last = cloneKey(before)
			s.end(row + int64(i))
			s.open = &keyRange{group: s.group, from: row + int64(i), first: cloneKey(key)}
		}
		before = key
	}
	if before != nil {
		s.open.last = cloneKey(before) // the next block is read over it
	}
}

// cloneKey copies a key; one of no bytes is not nil.
func cloneKey(key []byte) []byte { return append([]byte{}, key...) }

// end ends the open range before a row.
func (s *rangeScan) end(row int64) {
	r := s.open
	r.to = row
	if r.rows()*longRange >= s.group.rows {
		s.long += r.rows()
	}
	if r.first != nil {
		if s.lowest == nil || bytes.Compare(r.first, s.lowest) < 0 {
			s.lowest = r.first
		}
		if s.top == nil || bytes.Compare(r.last, s.top) > 0 {
			s.top = r.last
		}
	}
	if s.many = s.many || len(s.ranges) == maxGroupRanges; !s.many {
		s.ranges = append(s.ranges, r)
	}
}

// sortable reports whether memory suffices for putting rows into the order of their keys, and settles how many chunks are then read
// side by side.
func (c *Compaction) sortable(k *kind, all []*keyRange) bool {
	most := int64(0)
	for _, beside := range rangesBeside(all) {
		if len(beside) > 1 || !beside[0].whole() {
			most = max(most, besideBytes(beside))
		}
	}
	limit := c.task.Memory / 2
	if c.task.Memory == 0 || most == 0 {
		return true
	}
	if most > limit {
		c.shape.Notes = append(c.shape.Notes, fmt.Sprintf("%d rows stay out of key order: merging them takes %d MiB for each column, which --memory does not leave", k.lost, most>>20))
		return false
	}
	k.readers = int(min(limit/most, int64(c.task.Parallel)))
	return true
}

// sort puts the rows of the picked files into the order of their keys.
func (k *kind) sort() {
	var all []*keyRange
	for _, g := range groupsOf(k.picked) {
		all = append(all, k.ranges[g]...)
	}
	k.stream, k.sorted = nil, true
	for _, beside := range rangesBeside(all) {
		if len(beside) == 1 && beside[0].whole() {
			whole := wholeBundle(beside[0].group)
			whole.ranges = beside
			k.stream = append(k.stream, whole)
			continue
		}
		p := bundle{ranges: beside}
		for _, r := range beside {
			p.rows += r.rows()
			p.bytes += r.group.bytes() * r.rows() / max(r.group.rows, 1)
		}
		k.stream = append(k.stream, p)
	}
}

// besideBytes is about what the largest column takes where ranges are merged.
func besideBytes(beside []*keyRange) int64 {
	perLeaf := map[int]int64{}
	most := int64(0)
	for _, r := range beside {
		for i, chunk := range r.group.file.file.RowGroup(r.group.ordinal).Columns {
			n := 2 * chunk.UncompressedSize
			if !r.shuffled {
				n = min(walkedBytes, n)
			}
			perLeaf[i] += n
			most = max(most, perLeaf[i])
		}
	}
	return most
}

// segment is rows of a range that follow each other.
type segment struct {
	of   *keyRange
	from int64
	n    int64
}

// rowStream gives the rows of bundles in their order, a stretch at a time.
type rowStream struct {
	layout  *layout
	bundles []bundle
	merger  *rangeMerger // of the first bundle
	taken   int64        // rows of it
}

func (s *rowStream) close() {
	if s.merger != nil {
		s.merger.close()
	}
}

// next gives the next rows.
func (s *rowStream) next(ctx context.Context, rows int64) (out []segment, err error) {
	for rows > 0 {
		p := s.bundles[0]
		n := min(rows, p.rows-s.taken)
		if p.whole != nil {
			out = append(out, segment{of: p.ranges[0], from: s.taken, n: n})
		} else {
			if s.merger == nil {
				if s.merger, err = mergeRanges(ctx, s.layout, p.ranges); err != nil {
					return nil, err
				}
			}
			if out, err = s.merger.take(ctx, out, n); err != nil {
				return nil, err
			}
		}
		rows -= n
		if s.taken += n; s.taken == p.rows {
			s.close()
			s.bundles, s.merger, s.taken = s.bundles[1:], nil, 0
		}
	}
	return out, nil
}

// rangeMerger walks ranges side by side, in the order of keys; of equal keys by file and row.
type rangeMerger struct{ heap rangeCursors }

func mergeRanges(ctx context.Context, l *layout, ranges []*keyRange) (*rangeMerger, error) {
	m := &rangeMerger{}
	inFiles := slices.Clone(ranges)
	slices.SortStableFunc(inFiles, func(a, b *keyRange) int {
		return cmp.Or(cmp.Compare(a.group.file.Name, b.group.file.Name), cmp.Compare(a.group.ordinal, b.group.ordinal), cmp.Compare(a.from, b.from))
	})
	for i, r := range inFiles {
		c := &rangeCursor{keyRange: r, place: i}
		m.heap = append(m.heap, c)
		if err := c.open(ctx, l); err != nil {
			m.close()
			return nil, r.group.file.wrap(err)
		}
	}
	heap.Init(&m.heap)
	return m, nil
}

func (m *rangeMerger) close() {
	for _, c := range m.heap {
		c.close()
	}
}

// take adds the next rows to segments.
func (m *rangeMerger) take(ctx context.Context, out []segment, rows int64) ([]segment, error) {
	for rows > 0 && len(m.heap) > 0 {
		c := m.heap[0]
		for first := true; rows > 0 && (first || m.leads()); first = false {
			row, n := c.stretch(m.bound(), rows)
			if last := len(out) - 1; last >= 0 && out[last].of == c.keyRange && out[last].from+out[last].n == row {
				out[last].n += n
			} else {
				out = append(out, segment{of: c.keyRange, from: row, n: n})
			}
			rows -= n
			more, err := c.advance(ctx, n)
			if err != nil {
				return nil, c.group.file.wrap(err)
			}
			if !more {
				c.close()
				heap.Pop(&m.heap)
				break
			}
		}
		if len(m.heap) > 0 && m.heap[0] == c {
			heap.Fix(&m.heap, 0)
		}
	}
	return out, nil
}

// bound is the cursor that comes after the first; nil where there is none.
func (m *rangeMerger) bound() *rangeCursor {
	switch h := m.heap; {
	case len(h) < 2:
		return nil
	case len(h) == 2 || h.Less(1, 2):
		return h[1]
	default:
		return h[2]
	}
}

// leads reports whether the first cursor still is the first.
func (m *rangeMerger) leads() bool {
	b := m.bound()
	return b == nil || m.heap[0].before(b)
}

// rangeCursor is at a row of a range.
type rangeCursor struct {
	*keyRange
	place int
	keys  *oldKeys
	row   int64 // of the first key at hand
	n, at int
	now   []byte // the key of the row, or that before it where it has NULL

	// Of a shuffled range all keys are held.
	held  *heldKeys
	order []uint32
}

// open moves to the first row.
func (c *rangeCursor) open(ctx context.Context, l *layout) error {
	c.keys = c.group.oldKeys(l, []splice.Rows{{From: c.from, To: c.to}})
	c.row, c.now = c.from, c.first
	if !c.shuffled {
		return c.load(ctx)
	}
	c.held = &heldKeys{ends: make([]uint64, 0, c.rows())}
	for c.row < c.to {
		if err := c.load(ctx); err != nil {
			return err
		}
		for i := range c.n {
			if c.keys.nulls[i] {
				c.held.add(c.first)
			} else {
				c.held.add(c.keys.keys.at(i))
			}
		}
		c.row += int64(c.n)
	}
	c.close()
	c.order = make([]uint32, c.rows())
	for i := range c.order {
		c.order[i] = uint32(i)
	}
	slices.SortStableFunc(c.order, func(a, b uint32) int { return bytes.Compare(c.held.at(int(a)), c.held.at(int(b))) })
	c.n, c.at = len(c.order), 0
	c.now = c.held.at(int(c.order[0]))
	return nil
}

func (c *rangeCursor) close() {
	if c.keys != nil {
		read := int64(0)
		c.keys.close(&read)
		c.keys = nil
	}
}

// load reads the keys of the next rows.
func (c *rangeCursor) load(ctx context.Context) error {
	n, err := c.keys.read(ctx, c.row, min(probeRows, c.to-c.row))
	c.n, c.at = int(n), 0
	if err == nil && !c.shuffled {
		c.look()
	}
	return err
}

// look takes the key of the row.
func (c *rangeCursor) look() {
	if !c.keys.nulls[c.at] {
		c.now = append(c.now[:0:0], c.keys.keys.at(c.at)...)
	}
}

// before is the order of cursors.
func (c *rangeCursor) before(d *rangeCursor) bool {
	return cmp.Or(bytes.Compare(c.now, d.now), cmp.Compare(c.place, d.place)) < 0
}

// stretch gives the row and how many from it on come before those of another cursor, at least one and at most so many.
func (c *rangeCursor) stretch(bound *rangeCursor, most int64) (row, n int64) {
	if c.shuffled {
		return int64(c.order[c.at]), 1
	}
	row, most = c.row+int64(c.at), min(most, int64(c.n-c.at))
	if bound == nil {
		return row, most
	}
	comes := func(i int) bool { // the row i places on comes before the bound
		if c.keys.nulls[c.at+i] {
			return true
		}
		return cmp.Or(bytes.Compare(c.keys.keys.at(c.at+i), bound.now), cmp.Compare(c.place, bound.place)) < 0
	}
	if last := int(most) - 1; !c.keys.nulls[c.at+last] && comes(last) {
		return row, most
	}
	for n = 1; n < most && comes(int(n)); n++ {
	}
	return row, n
}

// advance moves on; false at the end.
func (c *rangeCursor) advance(ctx context.Context, rows int64) (bool, error) {
	c.at += int(rows)
	if c.shuffled {
		if c.at < c.n {
			c.now = c.held.at(int(c.order[c.at]))
		}
		return c.at < c.n, nil
	}
	if c.at < c.n {
		c.look()
		return true, nil
	}
	if c.row += int64(c.n); c.row == c.to {
		return false, nil
	}
	return true, c.load(ctx)
}

// heldKeys are keys one behind the other.
type heldKeys struct {
	data []byte
	ends []uint64
}

func (k *heldKeys) add(key []byte) {
	k.data = append(k.data, key...)
	k.ends = append(k.ends, uint64(len(k.data)))
}

func (k *heldKeys) at(i int) []byte {
	from := uint64(0)
	if i > 0 {
		from = k.ends[i-1]
	}
	return k.data[from:k.ends[i]]
}

// rangeCursors are a heap by key.
type rangeCursors []*rangeCursor

func (h rangeCursors) Len() int           { return len(h) }
func (h rangeCursors) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h rangeCursors) Less(i, j int) bool { return h[i].before(h[j]) }
func (h *rangeCursors) Push(x any)        { *h = append(*h, x.(*rangeCursor)) }
func (h *rangeCursors) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}
