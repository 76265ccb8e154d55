package shred

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Shred appends an array's rows to the leaf columns of a top-level field, one for each leaf below it.
// A column that was never used is made ready for its leaf. The array has the type of [ArrowField] for
// the node, or one that [Cast] brings to it without options; dictionary arrays are taken as they are.
// A flat string or binary column that is empty keeps an array's dictionary where that is smaller than
// its rows. Slots without a value hold zeros or empty bytes.
//
// An error that concerns a value is a [ValueError] naming the first such row; the columns' contents
// are then undefined.
func Shred(arr arrow.Array, node *column.Node, into []*column.Column) error {
	return ShredRows(arr, nil, node, into)
}

// ShredRows is [Shred] of the rows given, in their order; nil means all. The row of an error is the
// array's.
func ShredRows(arr arrow.Array, rows []int32, node *column.Node, into []*column.Column) error {
	sh, err := shapeOf(node)
	if err != nil {
		return err
	}
	if len(into) != sh.leaves {
		return fmt.Errorf("%w: column %s has %d leaves, not %d", ErrLevels, node.Name, sh.leaves, len(into))
	}
	s := shredder{into: into, rows: rows}
	if err := s.top(sh, arr); err != nil {
		return fmt.Errorf("column %s: %w", node.Name, err)
	}
	return nil
}

type shredder struct {
	into []*column.Column
	rows []int32 // the array's row of each record; nil: the record's own number
}

// entries are the slots of a leaf's column while the way down to it is walked: their levels so far,
// and where in the current array each has its value; negative once it ended in a null or empty list.
type entries struct {
	n        int
	rep, def []uint8 // nil: all zero, all at the level of the shape
	pos      []int32 // nil: slot i is at position i
}

func (s *shredder) top(sh *shape, arr arrow.Array) error {
	arr = storage(arr)
	n := arr.Len()
	if s.rows != nil {
		n = len(s.rows)
	}
	e := entries{n: n, pos: s.rows}
	if needsCast(arr.DataType(), sh.typ) {
		out, bad, err := cast(arr, e.pos, n, sh.typ, CastOptions{})
		if err != nil {
			return s.valueError(err, bad)
		}
		defer out.Release()
		arr, e.pos = out, nil
	}
	return s.walk(sh, arr, e)
}

// needsCast: only dictionaries of strings and binaries, and strings in their other layouts, are
// shredded in a form other than the field's own.
func needsCast(from, to arrow.DataType) bool {
	if d, ok := from.(*arrow.DictionaryType); ok {
		from = d.ValueType
		return !arrow.IsBaseBinary(to.ID()) || from.ID() != to.ID()
	}
	return !arrow.TypeEqual(from, to)
}

// storage is an extension array's storage.
func storage(arr arrow.Array) arrow.Array {
	for {
		e, ok := arr.(array.ExtensionArray)
		if !ok {
			return arr
		}
		arr = e.Storage()
	}
}

func (s *shredder) valueError(err error, record int) error {
	if record < 0 {
		return err
	}
	if s.rows != nil {
		record = int(s.rows[record])
	}
	return &ValueError{Row: record, Err: err}
}

// walk follows a shape down to its leaves. e holds the slots before the shape's own presence.
func (s *shredder) walk(sh *shape, arr arrow.Array, e entries) error {
	e, err := s.presence(sh, arr, e)
	if err != nil {
		return err
	}
	switch a := arr.(type) {
	case *array.Struct:
		for i, f := range sh.fields {
			if err := s.walk(f, a.Field(i), e); err != nil {
				return nest(f.name, err)
			}
		}
		return nil
	case *array.Map:
		// Not Keys and Items, which forget the offset of a sliced child.
		inner, pairs := expand(sh, a, e), a.ListValues().(*array.Struct)
		if err := s.walk(sh.fields[0], pairs.Field(0), inner); err != nil {
			return nest("key", err)
		}
		return nest("value", s.walk(sh.fields[1], pairs.Field(1), inner))
	case *array.List:
		return nest("element", s.walk(sh.fields[0], a.ListValues(), expand(sh, a, e)))
	}
	return s.leaf(sh, arr, e)
}

// nest names the field in an error on its way up, keeping the row in front.
func nest(field string, err error) error {
	if err == nil {
		return nil
	}
	var v *ValueError
	if errors.As(err, &v) {
		return &ValueError{Row: v.Row, Err: fmt.Errorf("%s: %w", field, v.Err)}
	}
	return fmt.Errorf("%s: %w", field, err)
}

// presence ends the slots whose value is null, and lifts the others to the shape's definition level.
func (s *shredder) presence(sh *shape, arr arrow.Array, e entries) (entries, error) {
	nulls := mayHaveNulls(arr)
	if !nulls && (e.def == nil || !sh.nullable) {
		return e, nil
	}
	out := entries{n: e.n, rep: e.rep, def: make([]uint8, e.n), pos: make([]int32, e.n)}
	below := uint8(sh.def)
	if sh.nullable {
		below--
	}
	for i := range e.n {
		p := at(e.pos, i)
		switch {
		case p < 0:
			out.def[i], out.pos[i] = e.def[i], -1
		case !nulls || !isNull(arr, p):
			out.def[i], out.pos[i] = uint8(sh.def), int32(p)
		case sh.nullable:
			out.def[i], out.pos[i] = below, -1
		default:
			return out, s.valueError(ErrNull, e.record(i))
		}
	}
	return out, nil
}

func mayHaveNulls(arr arrow.Array) bool {
	switch a := arr.(type) {
	case *array.Null:
		return a.Len() > 0
	case *array.Dictionary:
		return a.NullN() > 0 || a.Dictionary().NullN() > 0
	}
	return arr.NullN() > 0
}

// record is the number of the record that slot i belongs to.
func (e *entries) record(i int) int {
	if e.rep == nil {
		return i
	}
	return bytes.Count(e.rep[:i+1], []byte{0}) - 1
}

// expand gives each list entry a slot; a null or empty list keeps one without a position.
func expand(sh *shape, lists array.ListLike, e entries) entries {
	size := e.n
	for i := range e.n {
		if p := at(e.pos, i); p >= 0 {
			from, to := lists.ValueOffsets(p)
			size += max(int(to-from)-1, 0)
		}
	}
	out := entries{n: size, rep: make([]uint8, 0, size), def: make([]uint8, 0, size), pos: make([]int32, 0, size)}
	for i := range e.n {
		p, rep, def := at(e.pos, i), uint8(0), uint8(sh.def)
		if e.rep != nil {
			rep = e.rep[i]
		}
		if e.def != nil {
			def = e.def[i]
		}
		var from, to int64
		if p >= 0 {
			from, to = lists.ValueOffsets(p)
		}
		if from == to {
			out.rep, out.def, out.pos = append(out.rep, rep), append(out.def, def), append(out.pos, -1)
			continue
		}
		for ; from < to; from++ {
			out.rep, out.def, out.pos = append(out.rep, rep), append(out.def, uint8(sh.entryDef)), append(out.pos, int32(from))
			rep = uint8(sh.rep)
		}
	}
	return out
}

// leaf appends the slots to the leaf's column.
func (s *shredder) leaf(sh *shape, arr arrow.Array, e entries) error {
	c := s.into[sh.first]
	if c.Slots == 0 {
		c.Reset(sh.leaf)
	}
	appendLevels(c, sh.leaf, e)
	var bad int
	var err error
	if d, ok := arr.(*array.Dictionary); ok {
		bad, err = dictionaryValues(c, sh, d, e)
	} else {
		c.Plain()
		bad, err = plainValues(&c.Values, sh, arr, e)
	}
	if err != nil {
		if bad >= 0 {
			bad = e.record(bad)
		}
		return s.valueError(err, bad)
	}
	c.Slots += e.n
	return nil
}

func appendLevels(c *column.Column, leaf *column.Leaf, e entries) {
	if leaf.MaxRep > 0 {
		c.Rep = append(c.Rep, e.rep...)
	}
	if leaf.MaxDef == 0 {
		return
	}
	full := byte(leaf.MaxDef)
	whole := e.def == nil || bytes.Count(e.def, []byte{full}) == e.n
	if whole && c.Def == nil {
		return
	}
	if c.Def == nil {
		c.Def = bytes.Repeat([]byte{full}, c.Slots)
	}
	if e.def == nil {
		c.Def = append(c.Def, bytes.Repeat([]byte{full}, e.n)...)
		return
	}
	c.Def = append(c.Def, e.def...)
}

// dictionaryValues appends a dictionary array's values: as indices where the column has the same
// dictionary or can take it, else as the values they stand for.
func dictionaryValues(c *column.Column, sh *shape, d *array.Dictionary, e entries) (int, error) {
	dict := d.Dictionary()
	pos := make([]int32, e.n)
	for i := range pos {
		pos[i] = -1
		p := at(e.pos, i)
		if p < 0 {
			continue
		}
		at := d.GetValueIndex(p)
		if at < 0 || at >= dict.Len() {
			return i, fmt.Errorf("%w: dictionary index %d of %d", ErrLevels, at, dict.Len())
		}
		pos[i] = int32(at)
	}
	if !takesDictionary(c, sh, dict, e.n) {
		c.Plain()
		return plainValues(&c.Values, sh, dict, entries{n: e.n, pos: pos})
	}
	for _, p := range pos {
		c.Index = append(c.Index, max(p, 0))
	}
	return -1, nil
}

// takesDictionary gives an empty column the dictionary where it is worth it, and else reports whether
// the column has it already: two batches of one source share theirs by content.
func takesDictionary(c *column.Column, sh *shape, dict arrow.Array, n int) bool {
	if !flatBytes(sh) || dict.NullN() > 0 {
		return false
	}
	if c.Slots > 0 {
		return c.Dict != nil && sameVector(c.Dict, dict)
	}
	if dict.Len() == 0 || dict.Len() > n {
		return false
	}
	v := &column.Vector{}
	v.Reset(0)
	if _, err := plainValues(v, sh, dict, entries{n: dict.Len()}); err != nil {
		return false
	}
	c.Dict = v
	return true
}

func sameVector(v *column.Vector, dict arrow.Array) bool {
	value, ok := bytesOf(dict)
	if !ok || v.Len() != dict.Len() {
		return false
	}
	for i := range v.Len() {
		if !bytes.Equal(v.At(i), value(i)) {
			return false
		}
	}
	return true
}

// plainValues appends the values at the entries' positions in the leaf's physical form. The array has
// the shape's type. The first result is the slot that an error is about, negative if about none.
func plainValues(dst *column.Vector, sh *shape, arr arrow.Array, e entries) (int, error) {
	switch t := sh.typ.(type) {
	case *arrow.NullType:
		dst.Fixed = append(dst.Fixed, make([]byte, e.n*dst.Width)...)
		return -1, nil
	case *arrow.BooleanType:
		a := arr.(*array.Boolean)
		appendEach(dst, e, func(out []byte, p int) {
			if a.Value(p) {
				out[0] = 1
			}
		})
		return -1, nil
	case *arrow.Int8Type:
		appendWidened(dst, values[int8](arr), e)
		return -1, nil
	case *arrow.Int16Type:
		appendWidened(dst, values[int16](arr), e)
		return -1, nil
	case *arrow.Uint8Type:
		appendWidened(dst, values[uint8](arr), e)
		return -1, nil
	case *arrow.Uint16Type:
		appendWidened(dst, values[uint16](arr), e)
		return -1, nil
	case arrow.DecimalType:
		return appendDecimals(dst, sh.leaf, fixedBytes(arr, t.(arrow.FixedWidthDataType).Bytes()), t, e)
	case *arrow.TimestampType:
		if sh.leaf.Type == format.Int96 {
			in, unit := values[int64](arr), int64(t.Unit.Multiplier())
			appendEach(dst, e, func(out []byte, p int) { putInt96(out, in[p], unit) })
			return -1, nil
		}
	}
	if dst.Width == 0 {
		return -1, appendBytes(dst, arr, e)
	}
	appendFixed(dst, fixedBytes(arr, dst.Width), e)
	return -1, nil
}

// appendEach appends one zeroed value per slot and lets put fill those that have a position.
func appendEach(dst *column.Vector, e entries, put func(out []byte, p int)) {
	w, start := dst.Width, len(dst.Fixed)
	dst.Fixed = append(dst.Fixed, make([]byte, e.n*w)...)
	out := dst.Fixed[start:]
	for i := range e.n {
		if p := at(e.pos, i); p >= 0 {
			put(out[i*w:(i+1)*w], p)
		}
	}
}

func appendWidened[T int8 | int16 | uint8 | uint16](dst *column.Vector, src []T, e entries) {
	appendEach(dst, e, func(out []byte, p int) { binary.LittleEndian.PutUint32(out, uint32(int32(src[p]))) })
}

func appendFixed(dst *column.Vector, src []byte, e entries) {
	w := dst.Width
	if e.pos == nil {
		dst.Fixed = append(dst.Fixed, src[:e.n*w]...)
		return
	}
	appendEach(dst, e, func(out []byte, p int) { copy(out, src[p*w:]) })
}

func appendBytes(dst *column.Vector, arr arrow.Array, e entries) error {
	value, ok := bytesOf(arr)
	if !ok {
		return fmt.Errorf("%w: %s as bytes", ErrType, arr.DataType())
	}
	total := uint64(len(dst.Data))
	for i := range e.n {
		if p := at(e.pos, i); p >= 0 {
			total += uint64(len(value(p)))
		}
	}
	if total > math.MaxUint32 {
		return ErrTooLarge
	}
	for i := range e.n {
		if p := at(e.pos, i); p >= 0 {
			dst.Data = append(dst.Data, value(p)...)
		}
		dst.Offsets = append(dst.Offsets, uint32(len(dst.Data)))
	}
	return nil
}

// appendDecimals writes unscaled values as INT32, INT64, FIXED_LEN_BYTE_ARRAY or the shortest
// BYTE_ARRAY. A value with more digits than the column declares is lossy even where its bytes fit.
func appendDecimals(dst *column.Vector, leaf *column.Leaf, src []byte, t arrow.DecimalType, e entries) (int, error) {
	w := t.(arrow.FixedWidthDataType).Bytes()
	var err error
	for i := range e.n {
		p := at(e.pos, i)
		if p < 0 {
			dst.Append(nil)
			continue
		}
		d := readDecimal(src[p*w : (p+1)*w])
		if !d.fits(t.GetPrecision()) {
			return i, lossy(d.text(t.GetScale()), t)
		}
		switch leaf.Type {
		case format.Int32:
			if d.big != nil || int64(int32(d.small)) != d.small {
				return i, lossy(d.text(t.GetScale()), t)
			}
			dst.Fixed = binary.LittleEndian.AppendUint32(dst.Fixed, uint32(d.small))
		case format.Int64:
			if d.big != nil {
				return i, lossy(d.text(t.GetScale()), t)
			}
			dst.Fixed = binary.LittleEndian.AppendUint64(dst.Fixed, uint64(d.small))
		case format.FixedLenByteArray:
			if dst.Fixed, err = appendBigEndian(dst.Fixed, src[p*w:(p+1)*w], leaf.Width); err != nil {
				return i, lossy(d.text(t.GetScale()), t)
			}
		default:
			if dst.Data, err = appendBigEndian(dst.Data, src[p*w:(p+1)*w], 0); err != nil {
				return i, err
			}
			dst.Offsets = append(dst.Offsets, uint32(len(dst.Data)))
		}
	}
	return -1, nil
}

// appendBigEndian appends a little-endian two's complement integer as big-endian of a width, or of the
// least number of bytes when that is zero.
func appendBigEndian(dst, src []byte, width int) ([]byte, error) {
	sign := byte(int8(src[len(src)-1]) >> 7)
	need := len(src)
	for need > 1 && src[need-1] == sign && (src[need-2]^sign)&0x80 == 0 {
		need--
	}
	if width == 0 {
		width = need
	}
	if need > width {
		return dst, ErrLossy
	}
	for i := width - 1; i >= 0; i-- {
		if i < len(src) {
			dst = append(dst, src[i])
		} else {
			dst = append(dst, sign)
		}
	}
	return dst, nil
}

// putInt96 writes a count of units of so many nanoseconds.
func putInt96(out []byte, count, unit int64) {
	day, rest := floorDiv(count, dayNanos/unit)
	binary.LittleEndian.PutUint64(out, uint64(rest*unit))
	binary.LittleEndian.PutUint32(out[8:], uint32(day+julianEpoch))
}
