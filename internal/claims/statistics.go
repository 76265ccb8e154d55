package claims

import (
	"bytes"
	"fmt"

	"github.com/parquet-go/parquet-go/bloom"
)

// span is the smallest and the largest value; nil: there is none that has an order.
type span struct{ min, max []byte }

func (c *checker) span(slots []slot) (s span) {
	for _, x := range slots {
		if x.value == nil || c.leaf.compare == nil || c.leaf.nan != nil && c.leaf.nan(x.value) {
			continue
		}
		if s.min == nil || c.leaf.compare(x.value, s.min) < 0 {
			s.min = x.value
		}
		if s.max == nil || c.leaf.compare(x.value, s.max) > 0 {
			s.max = x.value
		}
	}
	return s
}

// statistics checks Statistics of a chunk or a page header.
func (c *checker) statistics(place string, st object, slots []slot, chunk bool) {
	if st == nil {
		return
	}
	prefix := "page "
	if chunk {
		prefix = ""
	}
	c.equal(prefix+"null_count", st[3], nulls(slots))
	if n, ok := st.int(4); ok {
		distinct := map[string]bool{}
		for _, s := range slots {
			if s.value != nil {
				distinct[string(s.value)] = true
			}
		}
		if n != int64(len(distinct)) {
			c.say(prefix+"distinct_count", "%s%d, there are %d", place, n, len(distinct))
		}
	}
	if c.leaf.compare == nil {
		return
	}
	is := c.span(slots)
	if c.ordered {
		c.bound(prefix+"min_value", place, st, 6, is.min, -1)
		c.bound(prefix+"max_value", place, st, 5, is.max, 1)
		c.exact(prefix+"is_min_value_exact", place, st, 8, 6, is.min)
		c.exact(prefix+"is_max_value_exact", place, st, 7, 5, is.max)
	}
	if c.signed() {
		c.bound(prefix+"min", place, st, 2, is.min, -1)
		c.bound(prefix+"max", place, st, 1, is.max, 1)
	}
}

// signed reports whether the deprecated bounds have the type's order: they were compared as signed numbers.
func (c *checker) signed() bool {
	switch c.leaf.physical {
	case boolean, float, double:
		return true
	case int32Type, int64Type:
		low, high := bytes.Repeat([]byte{0xFF}, c.leaf.width), make([]byte, c.leaf.width)
		return c.leaf.compare(low, high) < 0
	}
	return false
}

// bound checks that a bound lies on its side of the values, is a value of the type and no NaN.
func (c *checker) bound(claim, place string, st object, id int16, value []byte, side int) {
	if b, ok := st.bytes(id); ok {
		c.boundary(claim, place, b, value, side)
	}
}

func (c *checker) boundary(claim, place string, b, value []byte, side int) {
	switch {
	case c.leaf.width > 0 && len(b) != c.leaf.width:
		c.say(claim, "%s%x is no value of %d bytes", place, b, c.leaf.width)
	case c.leaf.nan != nil && c.leaf.nan(b):
		c.say(claim, "%sNaN", place)
	case value != nil && c.leaf.compare(b, value)*side < 0:
		c.say(claim, "%s%x, there is %x", place, b, value)
	case c.leaf.nan != nil && value != nil && isZero(b) && isZero(value) && (side < 0) != (b[len(b)-1] == 0x80):
		c.say(claim+" zero", "%s%x does not cover both zeros", place, b)
	}
}

// isZero reports whether a float is a zero of either sign.
func isZero(v []byte) bool {
	for _, b := range v[:len(v)-1] {
		if b != 0 {
			return false
		}
	}
	return v[len(v)-1]&0x7F == 0
}

func (c *checker) exact(claim, place string, st object, flag, id int16, value []byte) {
	b, ok := st.bytes(id)
	if ok && st[flag] == true && value != nil && c.leaf.compare(b, value) != 0 {
		c.say(claim, "%s%x, the value is %x", place, b, value)
	}
}

// sizes checks SizeStatistics.
func (c *checker) sizes(place string, st object, slots []slot) {
	if st == nil {
		return
	}
	if c.leaf.physical == byteArray {
		c.equal(place+"unencoded_byte_array_data_bytes", st[1], unencoded(slots))
	} else if st[1] != nil {
		c.say(place+"unencoded_byte_array_data_bytes", "of another type than BYTE_ARRAY")
	}
	rep, def := c.histograms(slots)
	c.histogram(place+"repetition_level_histogram", st.list(2), rep)
	c.histogram(place+"definition_level_histogram", st.list(3), def)
}

func unencoded(slots []slot) (n int64) {
	for _, s := range slots {
		n += int64(len(s.value))
	}
	return n
}

func (c *checker) histograms(slots []slot) (rep, def []int64) {
	rep, def = make([]int64, c.leaf.maxRep+1), make([]int64, c.leaf.maxDef+1)
	for _, s := range slots {
		rep[s.rep]++
		def[s.def]++
	}
	return rep, def
}

// histogram compares a list of counts, which may be left out.
func (c *checker) histogram(claim string, claimed []any, is []int64) {
	if len(claimed) == 0 {
		return
	}
	if got, want := fmt.Sprint(claimed), fmt.Sprint(is); got != want {
		c.say(claim, "%s, it is %s", got, want)
	}
}

// index reads a page index; nil where there is none.
func (c *checker) index(chunk object, at, size int16) object {
	off, ok := chunk.int(at)
	n, has := chunk.int(size)
	if !ok || !has || off == 0 || n == 0 {
		return nil
	}
	index, length, err := parse(c.data[off : off+n])
	if err != nil || int64(length) != n {
		c.say("page index", "%d bytes at %d are none: %v", n, off, err)
	}
	return index
}

// offsetIndex checks an OffsetIndex.
func (c *checker) offsetIndex(chunk object) {
	index := c.index(chunk, 4, 5)
	if index == nil {
		return
	}
	list, sizes := index.list(1), index.list(2)
	if len(list) != len(c.pages) || len(sizes) > 0 && len(sizes) != len(c.pages) {
		c.say("offset index", "%d pages, %d sizes; there are %d pages", len(list), len(sizes), len(c.pages))
		return
	}
	for i, p := range c.pages {
		at := list[i].(object)
		c.equal("offset index, offset", at[1], p.offset)
		c.equal("offset index, size", at[2], p.size)
		c.equal("offset index, first_row_index", at[3], p.first)
		if p.slots[0].rep != 0 {
			c.say("offset index, first_row_index", "page %d begins inside a row", i)
		}
		if len(sizes) > 0 && c.leaf.physical == byteArray {
			c.equal("offset index, unencoded_byte_array_data_bytes", sizes[i], unencoded(p.slots))
		}
	}
}

// columnIndex checks a ColumnIndex.
func (c *checker) columnIndex(chunk object) {
	index := c.index(chunk, 6, 7)
	if index == nil || c.leaf.compare == nil {
		return
	}
	flags, low, high, counts := index.list(1), index.list(2), index.list(3), index.list(5)
	n := len(c.pages)
	if len(flags) != n || len(low) != n || len(high) != n || len(counts) > 0 && len(counts) != n {
		c.say("column index", "%d, %d, %d and %d elements for %d pages", len(flags), len(low), len(high), len(counts), n)
		return
	}
	var lows, highs [][]byte
	var rep, def []int64
	for i, p := range c.pages {
		place := fmt.Sprintf("page %d: ", i)
		without := nulls(p.slots)
		r, d := c.histograms(p.slots)
		rep, def = append(rep, r...), append(def, d...)
		if len(counts) > 0 {
			c.equal("column index, null_counts", counts[i], without)
		}
		if flags[i] != (without == int64(len(p.slots))) {
			c.say("column index, null_pages", "%s%v, %d of %d have no value", place, flags[i], without, len(p.slots))
		}
		if flags[i] == true {
			continue
		}
		is := c.span(p.slots)
		c.boundary("column index, min_values", place, low[i].([]byte), is.min, -1)
		c.boundary("column index, max_values", place, high[i].([]byte), is.max, 1)
		lows, highs = append(lows, low[i].([]byte)), append(highs, high[i].([]byte))
	}
	c.boundaryOrder(index, lows, highs)
	c.histogram("column index, repetition_level_histograms", index.list(6), rep)
	c.histogram("column index, definition_level_histograms", index.list(7), def)
}

// boundaryOrder checks that bounds run as the index says.
func (c *checker) boundaryOrder(index object, lows, highs [][]byte) {
	says, _ := index.int(4)
	for i := 1; i < len(lows) && (says == 1 || says == 2); i++ {
		side := 1
		if says == 2 {
			side = -1
		}
		if c.leaf.width > 0 && (len(lows[i]) != c.leaf.width || len(lows[i-1]) != c.leaf.width) {
			return // told as bounds
		}
		if c.leaf.compare(lows[i-1], lows[i])*side > 0 || c.leaf.compare(highs[i-1], highs[i])*side > 0 {
			c.say("boundary_order", "%d, but page %d's bounds (of those that have any) do not follow", says, i)
			return
		}
	}
}

// bloomFilter checks that every value is in the chunk's filter.
func (c *checker) bloomFilter(meta object, slots []slot) {
	at, _ := meta.int(14)
	if at == 0 {
		return
	}
	header, n, err := parse(c.data[at:])
	size, _ := header.int(1)
	if err != nil || size <= 0 || size%32 != 0 {
		c.say("bloom filter", "%d bytes: %v", size, err)
		return
	}
	c.equal("bloom_filter_length", meta[15], int64(n)+size)
	filter := bloom.MakeSplitBlockFilter(bytes.Clone(c.data[at+int64(n):][:size]))
	for _, s := range slots {
		if s.value != nil && !filter.Check(bloom.XXH64{}.Sum64(s.value)) {
			c.say("bloom filter", "%x is not in it", s.value)
			return
		}
	}
}
