package splice

import (
	"bytes"
	"encoding/binary"
	"math"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// boundBytes is where bounds of binary columns are cut, in the page index and in chunk statistics.
const boundBytes = 64

// bounds are the smallest and the largest value of a page or chunk, whole. Both are nil where there
// is no value, no order, or a NaN: engines place NaN differently, so that bounds next to one would
// let some of them skip it.
type bounds struct {
	min, max []byte
	nan      bool
	// looseMin and looseMax tell that the bound may be no value: it was cut.
	looseMin, looseMax bool
}

// bounder finds bounds of a leaf's values.
type bounder struct {
	leaf  *column.Leaf
	order func(a, b []byte) int // nil: the leaf has no bounds
	isNaN func(v []byte) bool
}

func newBounder(leaf *column.Leaf, statistics bool) bounder {
	b := bounder{leaf: leaf, isNaN: column.IsNaN(leaf)}
	if statistics {
		b.order = column.Order(leaf)
	}
	return b
}

// plain finds the bounds of values in the form in which a page buffers them: fixed-width values
// end to end, byte arrays each behind its length. The result does not alias values.
func (b *bounder) plain(values []byte) bounds {
	if b.order == nil || len(values) == 0 {
		return bounds{}
	}
	signed := b.leaf.Annotation.Kind != column.Int || !b.leaf.Annotation.Unsigned
	switch {
	case b.leaf.Type == format.Int32 && signed:
		return bounds32(values)
	case b.leaf.Type == format.Int64 && signed:
		return bounds64(values)
	case b.leaf.Type == format.Double:
		return boundsDouble(values)
	}
	var s bounds
	if b.leaf.Width > 0 {
		for w := b.leaf.Width; len(values) > 0; values = values[w:] {
			b.add(&s, values[:w])
		}
	} else {
		for len(values) > 0 {
			end := 4 + int(binary.LittleEndian.Uint32(values))
			b.add(&s, values[4:end])
			values = values[end:]
		}
	}
	return b.settle(s)
}

// dictionary finds the bounds of the entries that stamp holds page for, each looked at once.
func (b *bounder) dictionary(dict *column.Vector, indices []int32, stamps []uint32, page uint32) bounds {
	if b.order == nil {
		return bounds{}
	}
	var s bounds
	for _, i := range indices {
		if stamps[i] != page {
			stamps[i] = page
			b.add(&s, dict.At(int(i)))
		}
	}
	return b.settle(s)
}

// merge widens s by the bounds of a part.
func (b *bounder) merge(s *bounds, part bounds) {
	if part.nan {
		s.nan = true
	}
	if part.min == nil || b.order == nil {
		return
	}
	switch {
	case s.min == nil || b.order(part.min, s.min) < 0:
		s.min, s.looseMin = part.min, part.looseMin
	case !part.looseMin && b.order(part.min, s.min) == 0:
		s.looseMin = false
	}
	switch {
	case s.max == nil || b.order(part.max, s.max) > 0:
		s.max, s.looseMax = part.max, part.looseMax
	case !part.looseMax && b.order(part.max, s.max) == 0:
		s.looseMax = false
	}
}

func (b *bounder) add(s *bounds, v []byte) {
	if b.isNaN != nil && b.isNaN(v) {
		s.nan = true
		return
	}
	if s.min == nil {
		s.min, s.max = v, v
		return
	}
	if b.order(v, s.min) < 0 {
		s.min = v
	} else if b.order(v, s.max) > 0 {
		s.max = v
	}
}

// settle detaches bounds from the values they were found in. A zero as a float's bound covers both
// zeros (parquet-format, ColumnOrder).
func (b *bounder) settle(s bounds) bounds {
	if s.nan {
		return bounds{nan: true}
	}
	if s.min == nil {
		return s
	}
	s.min = append(make([]byte, 0, len(s.min)), s.min...)
	s.max = append(make([]byte, 0, len(s.max)), s.max...)
	if b.isNaN != nil {
		if isZeroFloat(s.min) {
			s.min[len(s.min)-1] = 0x80
		}
		if isZeroFloat(s.max) {
			s.max[len(s.max)-1] = 0
		}
	}
	return s
}

func isZeroFloat(v []byte) bool {
	last := len(v) - 1
	for _, b := range v[:last] {
		if b != 0 {
			return false
		}
	}
	return v[last]&0x7F == 0
}

func bounds32(values []byte) bounds {
	lo, hi := int32(math.MaxInt32), int32(math.MinInt32)
	for ; len(values) >= 4; values = values[4:] {
		v := int32(binary.LittleEndian.Uint32(values))
		lo, hi = min(lo, v), max(hi, v)
	}
	return bounds{
		min: binary.LittleEndian.AppendUint32(nil, uint32(lo)),
		max: binary.LittleEndian.AppendUint32(nil, uint32(hi)),
	}
}

func bounds64(values []byte) bounds {
	lo, hi := int64(math.MaxInt64), int64(math.MinInt64)
	for ; len(values) >= 8; values = values[8:] {
		v := int64(binary.LittleEndian.Uint64(values))
		lo, hi = min(lo, v), max(hi, v)
	}
	return bounds{
		min: binary.LittleEndian.AppendUint64(nil, uint64(lo)),
		max: binary.LittleEndian.AppendUint64(nil, uint64(hi)),
	}
}

func boundsDouble(values []byte) bounds {
	lo, hi := math.Inf(1), math.Inf(-1)
	for ; len(values) >= 8; values = values[8:] {
		v := math.Float64frombits(binary.LittleEndian.Uint64(values))
		if v != v {
			return bounds{nan: true}
		}
		if v < lo {
			lo = v
		}
		if v > hi {
			hi = v
		}
	}
	if lo == 0 {
		lo = math.Copysign(0, -1)
	}
	if hi == 0 {
		hi = 0 // and not the negative zero that compares the same
	}
	return bounds{
		min: binary.LittleEndian.AppendUint64(nil, math.Float64bits(lo)),
		max: binary.LittleEndian.AppendUint64(nil, math.Float64bits(hi)),
	}
}

// truncates reports whether bounds of a leaf may be cut: byte arrays in lexicographic order.
// Decimals are numbers, and fixed-length bounds are expected to have their length.
func truncates(leaf *column.Leaf) bool {
	return leaf.Type == format.ByteArray && leaf.Annotation.Kind != column.Decimal
}

// statesLoosely reports whether bounds that a file states of a leaf's values, and does not flag, may be none of them: those of byte
// arrays are cut, and parquet-go begins to look for those of floats at the largest number, below infinity.
func statesLoosely(leaf *column.Leaf) bool { return truncates(leaf) || column.IsNaN(leaf) != nil }

// looseBounds reports whether the bounds that a page index states for pages of the chunk may be no values of it: a column index does not
// say, and the chunk's statistics do.
func (c *Chunk) looseBounds(leaf *column.Leaf) (low, high bool) {
	if statesLoosely(leaf) || c.Stats == nil {
		return true, true
	}
	return !c.Stats.MinExact, !c.Stats.MaxExact
}

// isText reports whether a leaf's values are UTF-8, so that cut bounds should be as well.
func isText(leaf *column.Leaf) bool {
	switch leaf.Annotation.Kind {
	case column.String, column.Enum, column.JSON:
		return true
	}
	return false
}

// truncateMin cuts a lower bound: any prefix is one.
func truncateMin(leaf *column.Leaf, v []byte) (bound []byte, exact bool) {
	if len(v) <= boundBytes || !truncates(leaf) {
		return v, true
	}
	if isText(leaf) && utf8.Valid(v) {
		return v[:runeStart(v, boundBytes)], false
	}
	return v[:boundBytes], false
}

// truncateMax cuts an upper bound and raises what is left to the next greater value of its length;
// where there is none the bound stays whole.
func truncateMax(leaf *column.Leaf, v []byte) (bound []byte, exact bool) {
	if len(v) <= boundBytes || !truncates(leaf) {
		return v, true
	}
	raised := []byte(nil)
	if isText(leaf) && utf8.Valid(v) {
		raised = raiseText(v[:runeStart(v, boundBytes)])
	}
	if raised == nil {
		raised = raiseBytes(v[:boundBytes])
	}
	if raised == nil {
		return v, true
	}
	return raised, false
}

// runeStart returns the last position at or before at where a character of valid text starts.
func runeStart(text []byte, at int) int {
	for !utf8.RuneStart(text[at]) {
		at--
	}
	return at
}

// raiseText returns text whose last character that can be raised is, without those behind it.
func raiseText(text []byte) []byte {
	for len(text) > 0 {
		r, size := utf8.DecodeLastRune(text)
		text = text[:len(text)-size]
		next := r + 1
		if next == 0xD800 {
			next = 0xE000 // the surrogates between are no characters
		}
		if next <= utf8.MaxRune {
			return utf8.AppendRune(bytes.Clone(text), next)
		}
	}
	return nil
}

func raiseBytes(v []byte) []byte {
	for i := len(v) - 1; i >= 0; i-- {
		if v[i] != 0xFF {
			raised := bytes.Clone(v[:i+1])
			raised[i]++
			return raised
		}
	}
	return nil
}

// indexPage is what the page index says of one page.
type indexPage struct {
	offset   int64 // of its header, from the first data page
	size     int   // header and body
	rows     int
	firstRow int64
	nulls    int64
	allNull  bool
	stored   bool // taken over from a file
	unknown  bool // has values, and bounds of them are not known
	bounds   bounds
}

// appendOffsetIndex appends an OffsetIndex whose first page lies at base.
func appendOffsetIndex(dst []byte, pages []indexPage, base int64) []byte {
	w := compactWriter{buf: dst}
	w.begin()
	w.list(1, compactStruct, len(pages))
	for _, p := range pages {
		w.begin()
		w.int64(1, base+p.offset)
		w.int32(2, int32(p.size))
		w.int64(3, p.firstRow)
		w.end()
	}
	w.end()
	return w.buf
}

// appendColumnIndex appends a ColumnIndex; false if a page with values has no bounds, so that the
// chunk can have none.
func appendColumnIndex(dst []byte, b *bounder, pages []indexPage) ([]byte, bool) {
	mins, maxs := make([][]byte, len(pages)), make([][]byte, len(pages))
	for i, p := range pages {
		switch {
		case p.allNull:
		case p.bounds.min == nil:
			return dst, false
		default:
			mins[i], _ = truncateMin(b.leaf, p.bounds.min)
			maxs[i], _ = truncateMax(b.leaf, p.bounds.max)
		}
	}
	w := compactWriter{buf: dst}
	w.begin()
	w.list(1, compactTrue, len(pages))
	for _, p := range pages {
		if p.allNull {
			w.buf = append(w.buf, compactTrue)
		} else {
			w.buf = append(w.buf, compactFalse)
		}
	}
	for i, values := range [][][]byte{mins, maxs} {
		w.list(int16(2+i), compactBinary, len(values))
		for _, v := range values {
			w.bytes(v)
		}
	}
	w.int32(4, int32(boundaryOrder(b, pages, mins, maxs)))
	w.list(5, compactI64, len(pages))
	for _, p := range pages {
		w.buf = binary.AppendVarint(w.buf, p.nulls)
	}
	w.end()
	return w.buf, true
}

// boundaryOrder tells how the bounds as written run over the pages that have any.
func boundaryOrder(b *bounder, pages []indexPage, mins, maxs [][]byte) format.BoundaryOrder {
	up, down, last := true, true, -1
	for i, p := range pages {
		if p.allNull {
			continue
		}
		if last >= 0 {
			lo, hi := b.order(mins[last], mins[i]), b.order(maxs[last], maxs[i])
			up = up && lo <= 0 && hi <= 0
			down = down && lo >= 0 && hi >= 0
		}
		last = i
	}
	switch {
	case up:
		return format.Ascending
	case down:
		return format.Descending
	}
	return format.Unordered
}
