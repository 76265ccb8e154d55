package splice

import (
	"bytes"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// checkStatistics compares what the footer and the page index of a file's first row group say of a
// column with what its slots say, found the slow way.
func checkStatistics(t testing.TB, file []byte, leaf *column.Leaf, c *column.Column) {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	chunk := f.Metadata().RowGroups[0].Columns[leaf.Index]
	meta := chunk.MetaData
	order := column.Order(leaf)
	whole := slowBounds(leaf, c, 0, c.Slots)
	if meta.NumValues != int64(c.Slots) || meta.Statistics.NullCount != whole.nulls {
		t.Errorf("%d values, %d null; want %d, %d", meta.NumValues, meta.Statistics.NullCount, c.Slots, whole.nulls)
	}
	checkBounds(t, "chunk", leaf, whole, meta.Statistics.MinValue, meta.Statistics.MaxValue)

	offsets := f.OffsetIndexes()[leaf.Index].PageLocations
	var columnIndex *format.ColumnIndex
	if chunk.ColumnIndexLength > 0 {
		columnIndex = &f.ColumnIndexes()[leaf.Index]
	}
	if (columnIndex == nil) != (order == nil || whole.nan) {
		t.Errorf("column index is there: %t", columnIndex != nil)
	}
	starts := append([]int{0}, rowEnds(c)...)
	nullPages := 0
	for i, p := range offsets {
		from, to := starts[p.FirstRowIndex], c.Slots
		if i+1 < len(offsets) {
			to = starts[offsets[i+1].FirstRowIndex]
		}
		if columnIndex == nil {
			continue
		}
		page := slowBounds(leaf, c, from, to)
		allNull := page.nulls == int64(to-from)
		if columnIndex.NullPages[i] != allNull || columnIndex.NullCounts[i] != page.nulls {
			t.Errorf("page %d: null page %t, %d null; want %t, %d",
				i, columnIndex.NullPages[i], columnIndex.NullCounts[i], allNull, page.nulls)
		}
		if allNull {
			nullPages++
			continue
		}
		checkBounds(t, "page", leaf, page, columnIndex.MinValues[i], columnIndex.MaxValues[i])
	}
	checkSizes(t, file, chunk, offsets)
	if columnIndex != nil && nullPages < len(offsets) {
		checkBoundaryOrder(t, columnIndex, order)
	}
}

type slowStats struct {
	min, max []byte
	nulls    int64
	nan      bool
}

func slowBounds(leaf *column.Leaf, c *column.Column, from, to int) slowStats {
	var s slowStats
	order, isNaN := column.Order(leaf), column.IsNaN(leaf)
	for i := from; i < to; i++ {
		v := c.Value(i)
		switch {
		case c.Null(i):
			s.nulls++
		case isNaN != nil && isNaN(v):
			s.nan = true
		case order == nil:
		default:
			if v == nil {
				v = []byte{}
			}
			if s.min == nil || order(v, s.min) < 0 {
				s.min = v
			}
			if s.max == nil || order(v, s.max) > 0 {
				s.max = v
			}
		}
	}
	if s.nan {
		s.min, s.max = nil, nil
	}
	return s
}

// checkBounds holds written bounds against the true ones: exact where they are short or numbers.
func checkBounds(t testing.TB, what string, leaf *column.Leaf, want slowStats, low, high []byte) {
	t.Helper()
	order := column.Order(leaf)
	switch {
	case want.min == nil:
		if len(low) > 0 || len(high) > 0 {
			t.Errorf("%s has bounds %x and %x, want none", what, low, high)
		}
	case len(want.min) <= boundBytes && order(low, want.min) != 0 && !zeros(leaf, low, want.min):
		t.Errorf("%s: lower bound %x, want %x", what, low, want.min)
	case len(want.max) <= boundBytes && order(high, want.max) != 0 && !zeros(leaf, high, want.max):
		t.Errorf("%s: upper bound %x, want %x", what, high, want.max)
	case order(low, want.min) > 0 || order(high, want.max) < 0:
		t.Errorf("%s: %x to %x does not hold %x to %x", what, low, high, want.min, want.max)
	}
}

// zeros reports whether both are a float's zero.
func zeros(leaf *column.Leaf, a, b []byte) bool {
	return column.IsNaN(leaf) != nil && isZeroFloat(a) && isZeroFloat(b)
}

func checkSizes(t testing.TB, file []byte, chunk format.ColumnChunk, pages []format.PageLocation) {
	t.Helper()
	meta := chunk.MetaData
	if meta.DataPageOffset != pages[0].Offset {
		t.Errorf("first data page at %d, the offset index says %d", meta.DataPageOffset, pages[0].Offset)
	}
	start := meta.DataPageOffset
	if meta.DictionaryPageOffset > 0 {
		start = meta.DictionaryPageOffset
	}
	end := meta.DataPageOffset
	for _, p := range pages {
		if p.Offset != end {
			t.Errorf("page at %d, want %d", p.Offset, end)
		}
		end += int64(p.CompressedPageSize)
	}
	if meta.TotalCompressedSize != end-start {
		t.Errorf("compressed size %d, want %d", meta.TotalCompressedSize, end-start)
	}
	uncompressed, counts := int64(0), map[[2]int32]int32{}
	for at := start; at < end; {
		header, n, err := parseThrift(file[at:end])
		if err != nil {
			t.Fatal(err)
		}
		uncompressed += int64(n) + header.int(2, 0)
		at += int64(n) + header.int(3, 0)
		for _, id := range []int16{5, 7, 8} {
			if h := header.field(id); h != nil {
				encoding := h.int(2, -1)
				if id == 8 {
					encoding = h.int(4, -1)
				}
				counts[[2]int32{int32(header.int(1, -1)), int32(encoding)}]++
			}
		}
	}
	if meta.TotalUncompressedSize != uncompressed {
		t.Errorf("uncompressed size %d, want %d", meta.TotalUncompressedSize, uncompressed)
	}
	for _, s := range meta.EncodingStats {
		key := [2]int32{int32(s.PageType), int32(s.Encoding)}
		if counts[key] != s.Count {
			t.Errorf("%d pages %v, want %d", s.Count, key, counts[key])
		}
		delete(counts, key)
	}
	if len(counts) > 0 {
		t.Errorf("encoding_stats leave out %v", counts)
	}
}

func checkBoundaryOrder(t testing.TB, index *format.ColumnIndex, order func(a, b []byte) int) {
	t.Helper()
	up, down, last := true, true, -1
	for i, null := range index.NullPages {
		if null {
			continue
		}
		if last >= 0 {
			lo, hi := order(index.MinValues[last], index.MinValues[i]), order(index.MaxValues[last], index.MaxValues[i])
			up, down = up && lo <= 0 && hi <= 0, down && lo >= 0 && hi >= 0
		}
		last = i
	}
	want := format.Unordered
	if up {
		want = format.Ascending
	} else if down {
		want = format.Descending
	}
	if index.BoundaryOrder != want {
		t.Errorf("boundary order %s, want %s", index.BoundaryOrder, want)
	}
}
