package splice

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Contradiction is something a file says of the values of a column chunk that the values deny.
type Contradiction struct {
	Where   string // "statistics", "deprecated statistics", "column index, page 3", "offset index", "Bloom filter"
	Message string
	// Believed tells that readers rely on it, and so may pass rows by or give wrong answers. What is not
	// believed stands where readers that follow the format do not look, or comes from a program whose
	// mistake they know.
	Believed bool
}

// AuditChunk is CheckChunk that also holds what the footer, the page index and the Bloom filter say of the values against
// them: bounds, counts of NULL, which pages have no value, where pages begin, the order of bounds, that each value is in the filter. A
// bound may be wider than the values, since writers cut bounds. NaN is outside of all bounds, and a zero
// as a float's bound is both zeros, as parquet-format has it (ColumnOrder). An error says that the chunk
// can't be read.
func (f *File) AuditChunk(ctx context.Context, rg, col int) ([]Contradiction, error) {
	leaf := f.schema.Leaves[col]
	a := &auditor{file: f, leaf: leaf, chunk: &f.groups[rg].Columns[col], bounder: newBounder(leaf, true)}
	if err := a.read(ctx, rg, col); err != nil {
		return nil, err
	}
	err := a.compare(rg, col)
	return a.found, err
}

// auditor compares one chunk.
type auditor struct {
	file  *File
	leaf  *column.Leaf
	chunk *Chunk
	bounder
	stamps []uint32 // by place in the dictionary: the last page that held it
	pages  []auditedPage
	whole  valueSummary
	found  []Contradiction
	bloom  *BloomFilter
	lost   int64  // values that the filter misses
	lostAs []byte // the first of them
}

// auditedPage is a page as it is.
type auditedPage struct {
	valueSummary
	first, rows  int64
	offset, size int64 // -1: the reader was ahead of the page
}

// valueSummary is what can be said of values. Bounds leave NaN out; nil: there is no other value, or no order.
type valueSummary struct {
	slots, nulls int64
	min, max     []byte
}

// read decodes the chunk.
func (a *auditor) read(ctx context.Context, rg, col int) error {
	var err error
	if a.bloom, err = a.file.BloomFilter(rg, col); errors.Is(err, ErrCorrupt) {
		a.say(true, "Bloom filter", "can't be used: %v", err)
	} else if err != nil {
		return err
	}
	pages := a.file.Pages(rg, col, nil)
	defer pages.Close()
	var into column.Column
	rows := int64(0)
	for {
		first, n, err := pages.Next(ctx, &into)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		rows += int64(n)
		p := auditedPage{first: first, rows: int64(n), offset: -1, size: -1}
		if a.leaf.Flat() {
			p.offset, p.size = pages.page.off, int64(pages.page.size+pages.page.compressed)
		}
		a.summarise(&p.valueSummary, &into)
		a.lookUp(&into)
		a.pages = append(a.pages, p)
		a.include(p.valueSummary)
	}
	if want := a.file.groups[rg].Rows; rows != want {
		return fmt.Errorf("%w: %s: row group %d, column %q: %d rows, want %d", ErrCorrupt, a.file.name, rg, a.leaf.Path, rows, want)
	}
	return nil
}

// include widens the chunk's summary by a page's.
func (a *auditor) include(p valueSummary) {
	w := &a.whole
	w.slots, w.nulls = w.slots+p.slots, w.nulls+p.nulls
	if p.min == nil {
		return
	}
	if w.min == nil || a.order(p.min, w.min) < 0 {
		w.min = p.min
	}
	if w.max == nil || a.order(p.max, w.max) > 0 {
		w.max = p.max
	}
}

// lookUp counts the values of a page that the Bloom filter misses.
func (a *auditor) lookUp(c *column.Column) {
	if a.bloom == nil {
		return
	}
	var known []bool // by place in the dictionary: it is in the filter
	if c.Dict != nil {
		known = make([]bool, c.Dict.Len())
	}
	for i := range c.Slots {
		if c.Null(i) || known != nil && known[c.Index[i]] {
			continue
		}
		v := c.Value(i)
		switch {
		case !a.bloom.holds(v):
			if a.lost++; a.lost == 1 {
				a.lostAs = append([]byte{}, v...)
			}
		case known != nil:
			known[c.Index[i]] = true
		}
	}
}

// summarise looks at the values of a page; what it finds does not alias them.
func (a *auditor) summarise(s *valueSummary, c *column.Column) {
	s.slots = int64(c.Slots)
	if c.Def != nil {
		for _, d := range c.Def[:c.Slots] {
			if d != c.MaxDef {
				s.nulls++
			}
		}
	}
	if a.order == nil || s.nulls == s.slots {
		return
	}
	var b bounds
	switch signed := a.leaf.Annotation.Kind != column.Int || !a.leaf.Annotation.Unsigned; {
	case c.Dict != nil:
		a.entries(&b, c)
	case s.nulls == 0 && signed && a.leaf.Type == format.Int32:
		b = bounds32(c.Values.Fixed[:4*c.Slots])
	case s.nulls == 0 && signed && a.leaf.Type == format.Int64:
		b = bounds64(c.Values.Fixed[:8*c.Slots])
	default:
		for i := range c.Slots {
			if !c.Null(i) {
				a.add(&b, c.Values.At(i))
			}
		}
	}
	if b.min != nil {
		s.min, s.max = append([]byte{}, b.min...), append([]byte{}, b.max...)
	}
}

// entries looks at each entry of the dictionary that the page holds once.
func (a *auditor) entries(b *bounds, c *column.Column) {
	if n := c.Dict.Len(); n > len(a.stamps) {
		a.stamps = append(a.stamps, make([]uint32, n-len(a.stamps))...)
	}
	page := uint32(len(a.pages) + 1)
	for i := range c.Slots {
		if c.Null(i) || a.stamps[c.Index[i]] == page {
			continue
		}
		a.stamps[c.Index[i]] = page
		a.add(b, c.Dict.At(int(c.Index[i])))
	}
}

func (a *auditor) say(believed bool, where, format string, args ...any) {
	a.found = append(a.found, Contradiction{Where: where, Message: fmt.Sprintf(format, args...), Believed: believed})
}

// compare holds the footer and the page index against what was read.
func (a *auditor) compare(rg, col int) (err error) {
	defer guard(&err)
	if a.lost > 0 {
		a.say(true, "Bloom filter", "%d values are not in it, such as %s", a.lost, a.show(a.lostAs))
	}
	if st := a.file.rowGroup(rg).list(1, compactStruct)[col].field(3).field(12); st != nil {
		a.statistics(st)
	}
	if !a.chunk.HasPageIndex || len(a.pages) == 0 {
		return nil
	}
	index, err := a.file.readOffsetIndex(a.chunk, a.file.groups[rg].Rows)
	if err != nil {
		a.say(true, "offset index", "can't be used: %v", err)
		return nil
	}
	if a.offsets(index) && a.chunk.HasColumnIndex {
		a.columnIndex(index)
	}
	return nil
}

// statistics compares the Statistics of a chunk.
func (a *auditor) statistics(st *tValue) {
	nulls := st.int(3, -1)
	if a.leaf.Flat() && nulls >= 0 && nulls != a.whole.nulls {
		a.say(true, "statistics", "%d values are NULL, it says %d", a.whole.nulls, nulls)
	}
	low, okLow := st.binary(6)
	high, okHigh := st.binary(5)
	believed := a.believed()
	if okLow {
		a.atLeast("statistics", []byte(low), &a.whole, believed)
		if st.bool(8, false) && a.loose([]byte(low), a.whole.min, -1) {
			a.say(believed, "statistics", "the smallest value is %s, it says exactly %s", a.show(a.whole.min), a.show([]byte(low)))
		}
	}
	if okHigh {
		a.atMost("statistics", []byte(high), &a.whole, believed)
		if st.bool(7, false) && a.loose([]byte(high), a.whole.max, 1) {
			a.say(believed, "statistics", "the largest value is %s, it says exactly %s", a.show(a.whole.max), a.show([]byte(high)))
		}
	}
	// Readers look at the old fields where the new ones are absent, and only at those that were compared in
	// the order of the type.
	believed = signedBytes(a.leaf) && !okLow && !okHigh
	if old, ok := st.binary(2); ok && !(okLow && old == low) {
		a.atLeast("deprecated statistics", []byte(old), &a.whole, believed)
	}
	if old, ok := st.binary(1); ok && !(okHigh && old == high) {
		a.atMost("deprecated statistics", []byte(old), &a.whole, believed)
	}
}

// believed reports whether readers rely on min_value and max_value of the column. Of the files of
// PARQUET-251 they do not.
func (a *auditor) believed() bool {
	binary := a.leaf.Type == format.ByteArray || a.leaf.Type == format.FixedLenByteArray
	return !binary || !a.file.maker.mistakesBinaryBounds()
}

// usable reports whether a bound can be one of the leaf's values, and makes a float's zero both zeros.
func (a *auditor) usable(bound []byte, zeroSign byte) bool {
	if a.order == nil || a.leaf.Width > 0 && len(bound) != a.leaf.Width {
		return false
	}
	if a.isNaN == nil {
		return true
	}
	if a.isNaN(bound) {
		return false // which readers must not rely on
	}
	if isZeroFloat(bound) {
		bound[len(bound)-1] = zeroSign
	}
	return true
}

func (a *auditor) atLeast(where string, low []byte, s *valueSummary, believed bool) {
	if s.min != nil && a.usable(low, 0x80) && a.order(low, s.min) > 0 {
		a.say(believed, where, "the smallest value is %s, it says %s", a.show(s.min), a.show(low))
	}
}

func (a *auditor) atMost(where string, high []byte, s *valueSummary, believed bool) {
	if s.max != nil && a.usable(high, 0) && a.order(high, s.max) < 0 {
		a.say(believed, where, "the largest value is %s, it says %s", a.show(s.max), a.show(high))
	}
}

// loose reports whether a bound holds and is none of the values, on its side of them.
func (a *auditor) loose(bound, value []byte, side int) bool {
	if value == nil || !a.usable(bound, 0) || a.isNaN != nil && isZeroFloat(bound) && isZeroFloat(value) {
		return false
	}
	return a.order(bound, value)*side > 0
}

// offsets compares where pages begin; false where the index is of other pages.
func (a *auditor) offsets(index *PageIndex) bool {
	var listed []PageInfo
	for _, p := range index.Pages {
		if p.Rows > 0 {
			listed = append(listed, p)
		}
	}
	if len(listed) != len(a.pages) {
		a.say(true, "offset index", "there are %d pages, it lists %d", len(a.pages), len(listed))
		return false
	}
	for i, p := range a.pages {
		switch q := listed[i]; {
		case p.first != q.FirstRow:
			a.say(true, fmt.Sprintf("offset index, page %d", i), "it begins with row %d of the row group, it says %d", p.first, q.FirstRow)
			return false
		case p.offset >= 0 && (p.offset != q.Offset || p.size != int64(q.Size)):
			a.say(true, fmt.Sprintf("offset index, page %d", i), "it has %d bytes at offset %d, it says %d at %d", p.size, p.offset, q.Size, q.Offset)
			return false
		}
	}
	return len(listed) == len(index.Pages) // else pages can't be told from each other below
}

// columnIndex compares what the column index says of each page.
func (a *auditor) columnIndex(index *PageIndex) {
	data, err := a.file.read(a.chunk.columnIndex)
	var t tValue
	if err == nil {
		t, _, err = parseThrift(data)
	}
	if err != nil {
		a.say(true, "column index", "can't be used: %v", err)
		return
	}
	flags, counts := t.field(1), t.list(5, compactI64)
	low, high := t.list(2, compactBinary), t.list(3, compactBinary)
	n := len(index.Pages)
	if flags == nil || len(flags.kids) != n || len(low) != n || len(high) != n || counts != nil && len(counts) != n {
		a.say(true, "column index", "it is of other pages than the %d that are there", n)
		return
	}
	believed := a.believed()
	ordered := orderChecker{order: a.order, says: format.BoundaryOrder(t.int(4, 0))}
	for i := range a.pages {
		p, where := &a.pages[i], fmt.Sprintf("column index, page %d", i)
		if counts != nil && a.leaf.Flat() && counts[i].num >= 0 && counts[i].num != p.nulls {
			a.say(true, where, "%d values are NULL, it says %d", p.nulls, counts[i].num)
		}
		flagged := flags.kids[i].num == compactTrue
		if flagged && p.nulls < p.slots {
			a.say(true, where, "it has values, it says there are none")
		}
		if flagged || p.nulls == p.slots {
			continue
		}
		a.atLeast(where, []byte(low[i].data), &p.valueSummary, believed)
		a.atMost(where, []byte(high[i].data), &p.valueSummary, believed)
		if !ordered.next(a, []byte(low[i].data), []byte(high[i].data)) {
			a.say(believed, where, "its bounds are not in the order that the index says, %v", ordered.says)
		}
	}
}

// orderChecker checks that bounds of pages follow each other as the index says: readers search them by
// halves.
type orderChecker struct {
	order     func(a, b []byte) int
	says      format.BoundaryOrder
	low, high []byte
	told      bool
}

func (o *orderChecker) next(a *auditor, low, high []byte) bool {
	if o.order == nil || o.told || o.says != format.Ascending && o.says != format.Descending || !a.usable(low, 0x80) || !a.usable(high, 0) {
		return true
	}
	before, beforeHigh := o.low, o.high
	o.low, o.high = low, high
	if before == nil {
		return true
	}
	lows, highs := o.order(before, low), o.order(beforeHigh, high)
	o.told = o.says == format.Ascending && (lows > 0 || highs > 0) || o.says == format.Descending && (lows < 0 || highs < 0)
	return !o.told
}

// shownBytes is how much of a text a message shows.
const shownBytes = 40

// show writes a value for a message.
func (a *auditor) show(v []byte) string {
	le := binary.LittleEndian
	unsigned := a.leaf.Annotation.Kind == column.Int && a.leaf.Annotation.Unsigned
	if a.leaf.Width > 0 && len(v) != a.leaf.Width {
		return fmt.Sprintf("%x", v)
	}
	switch a.leaf.Type {
	case format.Boolean:
		return strconv.FormatBool(v[0] != 0)
	case format.Int32:
		if unsigned {
			return strconv.FormatUint(uint64(le.Uint32(v)), 10)
		}
		return strconv.FormatInt(int64(int32(le.Uint32(v))), 10)
	case format.Int64:
		if unsigned {
			return strconv.FormatUint(le.Uint64(v), 10)
		}
		return strconv.FormatInt(int64(le.Uint64(v)), 10)
	case format.Float:
		return strconv.FormatFloat(float64(math.Float32frombits(le.Uint32(v))), 'g', -1, 32)
	case format.Double:
		return strconv.FormatFloat(math.Float64frombits(le.Uint64(v)), 'g', -1, 64)
	}
	cut := v[:min(len(v), shownBytes)]
	text := fmt.Sprintf("%x", cut)
	if isText(a.leaf) || a.leaf.Annotation.Kind == column.None && a.leaf.Type == format.ByteArray {
		text = strconv.Quote(string(cut))
	}
	if len(cut) < len(v) {
		text += fmt.Sprintf(" (%d bytes)", len(v))
	}
	return text
}
