package splice

import (
	"fmt"

	"github.com/hupsert/hupsert/merge/column"
)

// PageIndex lists the data pages of a column chunk.
type PageIndex struct {
	Pages []PageInfo
}

// PageInfo is a data page of the index.
type PageInfo struct {
	FirstRow, Rows int64 // within the row group
	Offset         int64 // of its header
	Size           int32 // header and body
	// Min and Max are bounds as in Stats; nil where they are absent or not to be trusted.
	Min, Max  []byte
	NullPage  bool  // no slot has a value; false where that is only claimed
	NullCount int64 // -1 if unknown
}

// PageIndex reads the page index of a column chunk; nil where it has none. Bounds are nil where only
// the offset index is there.
func (f *File) PageIndex(rg, col int) (index *PageIndex, err error) {
	c := &f.groups[rg].Columns[col]
	if !c.HasPageIndex {
		return nil, nil
	}
	defer func() {
		if err != nil {
			index, err = nil, fmt.Errorf("%s: row group %d, column %q, page index: %w", f.name, rg, f.schema.Leaves[col].Path, err)
		}
	}()
	defer guard(&err)
	if index, err = f.readOffsetIndex(c, f.groups[rg].Rows); err != nil || !c.HasColumnIndex {
		return index, err
	}
	return index, f.readColumnIndex(index, c, f.schema.Leaves[col])
}

// readOffsetIndex reads where pages lie and checks that they are the rows in order, without overlap.
func (f *File) readOffsetIndex(c *Chunk, rows int64) (*PageIndex, error) {
	data, err := f.read(c.offsetIndex)
	if err != nil {
		return nil, err
	}
	t, _, err := parseThrift(data)
	if err != nil {
		return nil, err
	}
	if err := offsetIndexShape.check(&t); err != nil {
		return nil, err
	}
	list := t.list(1, compactStruct)
	index := &PageIndex{Pages: make([]PageInfo, len(list))}
	next, row := c.Offset, int64(0)
	for i := range list {
		p := &index.Pages[i]
		*p = PageInfo{
			Offset: list[i].int(1, -1), Size: int32(list[i].int(2, -1)), FirstRow: list[i].int(3, -1), NullCount: -1,
		}
		if p.Offset < next || p.Size <= 0 || int64(p.Size) > c.Offset+c.CompressedSize-p.Offset {
			return nil, corruptf("page %d has %d bytes at offset %d", i, p.Size, p.Offset)
		}
		if p.FirstRow < row || p.FirstRow > rows || i == 0 && p.FirstRow != 0 {
			return nil, corruptf("page %d starts at row %d, the one before at %d", i, p.FirstRow, row)
		}
		if i > 0 {
			index.Pages[i-1].Rows = p.FirstRow - row
		}
		next, row = p.Offset+int64(p.Size), p.FirstRow
	}
	if n := len(list); n > 0 {
		index.Pages[n-1].Rows = rows - row
	} else if rows > 0 {
		return nil, corruptf("no pages for %d rows", rows)
	}
	return index, nil
}

func (f *File) readColumnIndex(index *PageIndex, c *Chunk, leaf *column.Leaf) error {
	data, err := f.read(c.columnIndex)
	if err != nil {
		return err
	}
	t, _, err := parseThrift(data)
	if err != nil {
		return err
	}
	if err := columnIndexShape.check(&t); err != nil {
		return err
	}
	nulls, counts := t.field(1), t.list(5, compactI64)
	low, high := t.list(2, compactBinary), t.list(3, compactBinary)
	n := len(index.Pages)
	if nulls == nil || nulls.kind != compactList || len(nulls.kids) != n || len(low) != n || len(high) != n ||
		counts != nil && len(counts) != n {
		return corruptf("column index of other pages than the %d of the offset index", n)
	}
	trusted := f.orders(leaf)
	for i := range index.Pages {
		p := &index.Pages[i]
		flagged := nulls.kids[i].num == compactTrue
		if counts != nil && counts[i].num >= 0 {
			p.NullCount = counts[i].num
		}
		// parquet-mr flags pages too that came without statistics. Of those it has no count, and no bounds.
		p.NullPage = flagged && leaf.MaxDef > 0 && p.NullCount >= p.Rows
		if trusted && !flagged {
			p.Min, p.Max = trustBounds(leaf, []byte(low[i].data), []byte(high[i].data))
		}
	}
	if trusted && !index.agrees(c.Stats, t.int(4, unordered), column.Order(leaf)) {
		for i := range index.Pages {
			p := &index.Pages[i]
			p.Min, p.Max, p.NullPage = nil, nil, false
		}
	}
	return nil
}

// The values of BoundaryOrder (parquet.thrift).
const (
	unordered = iota
	ascending
	descending
)

// agrees reports whether the bounds of pages are what else is said of them: no index has a page for each bound of the chunk that is a
// value of it, and for the order that it claims, where one is damaged. By such bounds a key that is there would not be found.
func (x *PageIndex) agrees(s *Stats, claimed int64, order func(a, b []byte) int) bool {
	low, high := s == nil || !s.MinExact, s == nil || !s.MaxExact
	var last *PageInfo
	for i := range x.Pages {
		p := &x.Pages[i]
		if p.NullPage {
			continue
		}
		if p.Min == nil {
			return true // it may have any value
		}
		low = low || order(p.Min, s.Min) <= 0 && order(s.Min, p.Max) <= 0
		high = high || order(p.Min, s.Max) <= 0 && order(s.Max, p.Max) <= 0
		if last != nil && (claimed == ascending && (order(last.Min, p.Min) > 0 || order(last.Max, p.Max) > 0) ||
			claimed == descending && (order(last.Min, p.Min) < 0 || order(last.Max, p.Max) < 0)) {
			return false
		}
		last = p
	}
	return last == nil || low && high
}
