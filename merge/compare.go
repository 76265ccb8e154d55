package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"sync"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// comparer finds what the updates of a row group really change: which columns, and which rows.
// Pages without a touched row are not read, and once a column is known to change, rows that are
// known to differ need no more looking at.
type comparer struct {
	rows *rows
	// rowsOnly leaves out which columns change: rows that are known to differ are not looked at again.
	rowsOnly bool
	// known says that the edits that differ are marked, and only columns are looked for.
	known bool
	// counts, where it is there, takes the number of rows in which each table column changes: then a row that differs is
	// looked at in every column.
	counts []int64
	mu     sync.Mutex
	read   int64
}

// prepare makes room for what compare finds, and reports whether there is anything to compare.
func (g *rowGroup) prepare(columns int) bool {
	g.changed, g.differs = make([]bool, columns), make([]bool, len(g.edits))
	for _, e := range g.edits {
		if e.source >= 0 {
			return true
		}
	}
	return false
}

// updateRanges are the rows of the edits that are updates.
func updateRanges(edits []edit) []splice.Rows {
	var out []splice.Rows
	for _, e := range edits {
		if e.source < 0 {
			continue
		}
		row := int64(e.row)
		if last := len(out) - 1; last >= 0 && out[last].To == row {
			out[last].To++
			continue
		}
		out = append(out, splice.Rows{From: row, To: row + 1})
	}
	return out
}

// compare holds one table column of a row group against the source.
func (c *comparer) compare(ctx context.Context, g *rowGroup, table int) error {
	if c.known {
		return c.compareKnown(ctx, g, table)
	}
	known := make([]bool, len(g.edits))
	if c.counts == nil {
		c.mu.Lock()
		copy(known, g.differs)
		c.mu.Unlock()
	}
	changed, err := c.compareColumn(ctx, g, table, g.edits, known)
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g.changed[table] = changed
	for i, d := range known {
		g.differs[i] = g.differs[i] || d
		if d && c.counts != nil {
			c.counts[table]++
		}
	}
	return nil
}

// compareKnown finds whether some edit that is marked changes the column.
func (c *comparer) compareKnown(ctx context.Context, g *rowGroup, table int) error {
	var marked []edit
	for i, e := range g.edits {
		if g.differs[i] {
			marked = append(marked, e)
		}
	}
	var err error
	g.changed[table], err = c.compareColumn(ctx, g, table, marked, make([]bool, len(marked)))
	return err
}

// compareColumn marks the edits that change the column, and reports whether one does. Of a column that
// is known to change, and with rowsOnly, edits that are marked already are passed over.
func (c *comparer) compareColumn(ctx context.Context, g *rowGroup, table int, edits []edit, known []bool) (changed bool, err error) {
	node := g.file.nodes[table]
	if node == nil || g.file.isWide(table) {
		return c.compareWide(ctx, g, table, edits, known)
	}
	forms := c.rows.cursor(table, node, g.file.forms[table])
	defer forms.close()
	forms.stored = true
	ranges := updateRanges(edits)
	for l, leaf := range node.Leaves() {
		k := leafComparer{
			leaf: leaf, ordinal: l, forms: forms, old: g.picker(leaf, ranges), nan: column.IsNaN(leaf),
			keepNull: c.rows.binding.keepNull[table], skip: c.rowsOnly, all: !g.file.exact[table], startsOf: -1,
		}
		found, err := k.compare(ctx, edits, known, changed)
		c.mu.Lock()
		k.old.close(&c.read)
		c.mu.Unlock()
		if errors.Is(err, ErrValue) && !g.file.exact[table] {
			return c.compareWide(ctx, g, table, edits, known)
		}
		if err != nil {
			return false, g.at(g.file.wrap(err))
		}
		changed = changed || found
	}
	return changed, nil
}

// leafComparer compares one leaf of old rows and their source rows.
type leafComparer struct {
	leaf     *column.Leaf
	ordinal  int
	forms    *formCursor
	old      *cursor
	nan      func([]byte) bool
	keepNull bool
	skip     bool
	all      bool     // values of the source may not fit the leaf: each is looked at, so that this shows here
	starts   []uint32 // of the rows of the old page
	startsOf int64    // the first row of that page
	same     entryTable
}

func (k *leafComparer) compare(ctx context.Context, edits []edit, known []bool, changed bool) (bool, error) {
	for i := 0; i < len(edits); {
		e := edits[i]
		if e.source < 0 || known[i] && (changed || k.skip) && !k.all {
			i++
			continue
		}
		f, row, err := k.forms.find(ctx, int(e.source))
		if err != nil {
			return false, err
		}
		if k.keepNull && f.null(row) {
			i++
			continue
		}
		slot, left, err := k.old.at(ctx, int64(e.row))
		if err != nil {
			return false, err
		}
		n := 1
		if k.leaf.Flat() && !k.keepNull {
			n = inStep(edits[i:], min(int(left), f.leaves[k.ordinal].Slots-row))
		}
		if k.differ(f, row, slot, known[i:i+n]) {
			changed = true
		}
		i += n
	}
	return changed, nil
}

// inStep is how many updates, at most limit, follow each other in both the old rows and the source's.
func inStep(edits []edit, limit int) int {
	first := edits[0]
	n := 1
	for n < min(len(edits), limit) && edits[n].row == first.row+uint32(n) && edits[n].source == first.source+int32(n) {
		n++
	}
	return n
}

// differ compares a run of rows from slot of the old page and row of the form on.
func (k *leafComparer) differ(f *form, row, slot int, known []bool) bool {
	a, b := &k.old.col, f.leaves[k.ordinal]
	if k.leaf.Flat() {
		return k.differFlat(a, slot, b, row, known)
	}
	if k.startsOf != k.old.first {
		k.starts, k.startsOf = rowStarts(a, k.starts), k.old.first
	}
	from, to := f.span(k.ordinal, row)
	if equalSpans(a, int(k.starts[slot]), int(k.starts[slot+1]), b, from, to, k.nan) {
		return false
	}
	known[0] = true
	return true
}

// differFlat compares slots one by one, but for the usual layouts: fixed-width values without NULL, and
// two dictionaries.
func (k *leafComparer) differFlat(a *column.Column, i int, b *column.Column, j int, known []bool) (changed bool) {
	n := len(known)
	if k.leaf.Annotation.Kind == column.Decimal && k.leaf.Type == format.ByteArray {
		for s := range n {
			if !equalDecimals(a, i+s, b, j+s) {
				known[s], changed = true, true
			}
		}
		return changed
	}
	whole := a.Def == nil && b.Def == nil
	switch w := a.Values.Width; {
	case whole && a.Dict != nil && b.Dict != nil:
		if !k.same.pays(a.Dict, b.Dict, n) {
			break
		}
		k.same.match(a.Dict, b.Dict, k.nan)
		for s := range n {
			if k.same.old[a.Index[i+s]] != k.same.fresh[b.Index[j+s]] {
				known[s], changed = true, true
			}
		}
		return changed
	case whole && a.Dict == nil && b.Dict == nil && (w == 4 || w == 8) && k.nan == nil:
		old, fresh := a.Values.Fixed[i*w:(i+n)*w], b.Values.Fixed[j*w:(j+n)*w]
		if bytes.Equal(old, fresh) {
			return false
		}
		for s := range n {
			if w == 8 && binary.LittleEndian.Uint64(old[s*8:]) != binary.LittleEndian.Uint64(fresh[s*8:]) ||
				w == 4 && binary.LittleEndian.Uint32(old[s*4:]) != binary.LittleEndian.Uint32(fresh[s*4:]) {
				known[s], changed = true, true
			}
		}
		return changed
	}
	for s := range n {
		if !column.Equal(a, i+s, b, j+s, k.nan) {
			known[s], changed = true, true
		}
	}
	return changed
}

// equalDecimals compares decimals on byte arrays by value: some writers put more bytes than a number needs.
func equalDecimals(a *column.Column, i int, b *column.Column, j int) bool {
	if a.Null(i) || b.Null(j) {
		return column.Equal(a, i, b, j, nil)
	}
	return bytes.Equal(shortest(a.Value(i)), shortest(b.Value(j)))
}

// shortest leaves out leading bytes of a big-endian number that only repeat its sign.
func shortest(v []byte) []byte {
	for len(v) > 1 && (v[0] == 0 && v[1]&0x80 == 0 || v[0] == 0xFF && v[1]&0x80 != 0) {
		v = v[1:]
	}
	if len(v) == 1 && v[0] == 0 {
		return v[:0]
	}
	return v
}

// entryTable numbers the values of two dictionaries: entries of the same value have the same number.
// A dictionary may hold a value twice.
type entryTable struct {
	from, to   *column.Vector
	old, fresh []int32
}

// pays reports whether numbering costs less than comparing n values.
func (t *entryTable) pays(from, to *column.Vector, n int) bool {
	return t.from == from && t.to == to || from.Len()+to.Len() <= n
}

func (t *entryTable) match(from, to *column.Vector, nan func([]byte) bool) {
	if t.from == from && t.to == to {
		return
	}
	numbers := make(map[string]int32, to.Len())
	number := func(list *column.Vector) []int32 {
		out := make([]int32, list.Len())
		for i := range out {
			key := string(list.At(i))
			if nan != nil && nan(list.At(i)) {
				key = "NaN" // no value is three bytes long where NaN are
			}
			n, ok := numbers[key]
			if !ok {
				n = int32(len(numbers))
				numbers[key] = n
			}
			out[i] = n
		}
		return out
	}
	t.from, t.to = from, to
	t.old, t.fresh = number(from), number(to)
}

func equalRows(a *form, ai int, b *form, bi int, leaves []*column.Leaf) bool {
	for l, leaf := range leaves {
		af, at := a.span(l, ai)
		bf, bt := b.span(l, bi)
		if !equalSpans(a.leaves[l], af, at, b.leaves[l], bf, bt, column.IsNaN(leaf)) {
			return false
		}
	}
	return true
}

// equalSpans compares the slots of one row in two columns.
func equalSpans(a *column.Column, af, at int, b *column.Column, bf, bt int, nan func([]byte) bool) bool {
	if at-af != bt-bf {
		return false
	}
	for i := range at - af {
		if a.Rep != nil && a.Rep[af+i] != b.Rep[bf+i] {
			return false
		}
		if !column.Equal(a, af+i, b, bf+i, nan) {
			return false
		}
	}
	return true
}
