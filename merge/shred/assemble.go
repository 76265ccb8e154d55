package shred

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Assemble makes the array of a top-level field from its leaf columns, which are given in the order of
// the schema and each hold the same rows whole. The array has the type of [ArrowField].
func Assemble(node *column.Node, leaves []*column.Column, rows int) (arrow.Array, error) {
	sh, err := shapeOf(node)
	if err != nil {
		return nil, err
	}
	if len(leaves) != sh.leaves {
		return nil, fmt.Errorf("%w: column %s has %d leaves, not %d", ErrLevels, node.Name, sh.leaves, len(leaves))
	}
	a := assembler{leaves: leaves}
	for i, c := range leaves {
		if err := a.check(c); err != nil {
			return nil, fmt.Errorf("column %s, leaf %d: %w", node.Name, i, err)
		}
	}
	arr, err := a.assemble(sh, 0, 0, rows)
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", node.Name, err)
	}
	return arr, nil
}

// DictionaryValues is the array of a dictionary's entries, of the type of the field's values. It is made
// once per dictionary and given to [AssembleDictionary] for every page that has it.
func DictionaryValues(node *column.Node, dict *column.Vector) (arrow.Array, error) {
	sh, err := shapeOf(node)
	if err != nil {
		return nil, err
	}
	if !flatBytes(sh) {
		return nil, fmt.Errorf("%w: %s keeps no dictionary", ErrType, node.Name)
	}
	return leafValues(sh, dict, nil, dict.Len())
}

// AssembleDictionary makes a dictionary array with int32 indices of a flat string or binary column
// whose slots are all dictionary indices into entries.
func AssembleDictionary(node *column.Node, c *column.Column, entries arrow.Array) (arrow.Array, error) {
	var nulls validity
	indices := alloc(c.Slots * 4)
	out := view[int32](indices)
	for i, at := range c.Index[:c.Slots] {
		switch {
		case c.Null(i):
			nulls.setNull(i, c.Slots)
		case at < 0 || int(at) >= entries.Len():
			return nil, fmt.Errorf("column %s: %w: dictionary index %d of %d", node.Name, ErrLevels, at, entries.Len())
		default:
			out[i] = at
		}
	}
	index := newArray(arrow.PrimitiveTypes.Int32, c.Slots, nulls, nil, indices)
	defer index.Release()
	t := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: entries.DataType()}
	return array.NewDictionaryArray(t, index, entries), nil
}

// KeepsDictionary reports whether a column's dictionary can become an Arrow dictionary: flat strings
// and binaries.
func KeepsDictionary(node *column.Node) bool {
	sh, err := shapeOf(node)
	return err == nil && flatBytes(sh)
}

func flatBytes(sh *shape) bool {
	return sh.kind == primitive && sh.leaf.MaxRep == 0 && arrow.IsBaseBinary(sh.typ.ID())
}

type assembler struct{ leaves []*column.Column }

// check refuses levels whose number is wrong, so that the loops below need not.
func (a *assembler) check(c *column.Column) error {
	switch {
	case c.Def != nil && len(c.Def) < c.Slots, c.Dict != nil && len(c.Index) < c.Slots,
		c.Dict == nil && c.Values.Len() < c.Slots:
		return fmt.Errorf("%w: fewer levels or values than slots", ErrLevels)
	}
	return nil
}

// assemble makes the n values of a shape inside entries that start at repetition level rep or below
// and exist from definition level exists.
func (a *assembler) assemble(sh *shape, rep, exists, n int) (arrow.Array, error) {
	switch sh.kind {
	case structure:
		return a.structure(sh, rep, exists, n)
	case list:
		return a.list(sh, rep, exists, n)
	case mapping:
		return a.mapping(sh, rep, exists, n)
	}
	return a.primitive(sh, exists, n)
}

func (a *assembler) primitive(sh *shape, exists, n int) (arrow.Array, error) {
	c := a.leaves[sh.first]
	if sh.leaf.MaxRep > 0 && len(c.Rep) < c.Slots {
		return nil, fmt.Errorf("%w: repetition levels missing", ErrLevels)
	}
	pos := positions(c, uint8(exists))
	slots := c.Slots
	if pos != nil {
		slots = len(pos)
	}
	if slots != n {
		return nil, fmt.Errorf("%w: %d values for %d places", ErrLevels, slots, n)
	}
	vector := &c.Values
	if c.Dict != nil {
		var err error
		if pos, err = throughDictionary(c, pos); err != nil {
			return nil, err
		}
		vector = c.Dict
	}
	return leafValues(sh, vector, pos, n)
}

// positions is the slot of each value, negative for a null; nil where every slot has one.
func positions(c *column.Column, exists uint8) []int32 {
	if c.Def == nil {
		return nil
	}
	pos := make([]int32, 0, c.Slots)
	whole := true
	for i, d := range c.Def[:c.Slots] {
		switch {
		case d == c.MaxDef:
			pos = append(pos, int32(i))
		case d >= exists:
			pos = append(pos, -1)
			whole = false
		default:
			whole = false
		}
	}
	if whole {
		return nil
	}
	return pos
}

func throughDictionary(c *column.Column, pos []int32) ([]int32, error) {
	if pos == nil {
		pos = make([]int32, c.Slots)
		copy(pos, c.Index)
	} else {
		for i, p := range pos {
			if p >= 0 {
				pos[i] = c.Index[p]
				if pos[i] < 0 {
					return nil, fmt.Errorf("%w: dictionary index %d", ErrLevels, pos[i])
				}
			}
		}
	}
	size := c.Dict.Len()
	for _, p := range pos {
		if int(p) >= size {
			return nil, fmt.Errorf("%w: dictionary index %d of %d", ErrLevels, p, size)
		}
	}
	return pos, nil
}

func (a *assembler) structure(sh *shape, rep, exists, n int) (arrow.Array, error) {
	nulls, err := a.presence(sh, rep, exists, n)
	if err != nil {
		return nil, err
	}
	children := make([]arrow.Array, 0, len(sh.fields))
	defer func() { release(children) }()
	for _, f := range sh.fields {
		child, err := a.assemble(f, rep, exists, n)
		if err != nil {
			return nil, fmt.Errorf("field %s: %w", f.name, err)
		}
		children = append(children, child)
	}
	return newArray(sh.typ, n, nulls, children), nil
}

// presence reads from the first leaf below which of the n groups are null. A required group inside a
// null one counts as null too, as other implementations build it.
func (a *assembler) presence(sh *shape, rep, exists, n int) (validity, error) {
	var nulls validity
	c := a.leaves[sh.first]
	if c.Def == nil || sh.def == 0 {
		return nulls, nil
	}
	i := 0
	for slot, d := range c.Def[:c.Slots] {
		if int(d) < exists || c.Rep != nil && int(c.Rep[slot]) > rep {
			continue
		}
		if i == n {
			return nulls, fmt.Errorf("%w: more than %d groups", ErrLevels, n)
		}
		if int(d) < sh.def {
			nulls.setNull(i, n)
		}
		i++
	}
	if i != n {
		return nulls, fmt.Errorf("%w: %d groups for %d places", ErrLevels, i, n)
	}
	return nulls, nil
}

// offsets reads from the first leaf below where the n lists of a shape begin and end.
func (a *assembler) offsets(sh *shape, rep, exists, n int) (offsets []byte, nulls validity, entries int, err error) {
	c := a.leaves[sh.first]
	if len(c.Rep) < c.Slots {
		return nil, nulls, 0, fmt.Errorf("%w: repetition levels missing", ErrLevels)
	}
	offsets = alloc((n + 1) * 4)
	ends := view[int32](offsets)
	i := 0
	for slot := range c.Slots {
		d, r := int(c.MaxDef), int(c.Rep[slot])
		if c.Def != nil {
			d = int(c.Def[slot])
		}
		if d < exists {
			continue
		}
		if r <= rep {
			if i == n {
				return nil, nulls, 0, fmt.Errorf("%w: more than %d lists", ErrLevels, n)
			}
			if d < sh.def {
				nulls.setNull(i, n)
			}
			i++
		} else if i == 0 {
			return nil, nulls, 0, fmt.Errorf("%w: the first record has no start", ErrLevels)
		}
		if r <= sh.rep && d >= sh.entryDef {
			entries++
		}
		ends[i] = int32(entries)
	}
	if i != n {
		return nil, nulls, 0, fmt.Errorf("%w: %d lists for %d places", ErrLevels, i, n)
	}
	return offsets, nulls, entries, nil
}

func (a *assembler) list(sh *shape, rep, exists, n int) (arrow.Array, error) {
	offsets, nulls, entries, err := a.offsets(sh, rep, exists, n)
	if err != nil {
		return nil, err
	}
	element, err := a.assemble(sh.fields[0], sh.rep, sh.entryDef, entries)
	if err != nil {
		return nil, err
	}
	defer element.Release()
	return newArray(sh.typ, n, nulls, []arrow.Array{element}, offsets), nil
}

func (a *assembler) mapping(sh *shape, rep, exists, n int) (arrow.Array, error) {
	offsets, nulls, entries, err := a.offsets(sh, rep, exists, n)
	if err != nil {
		return nil, err
	}
	key, err := a.assemble(sh.fields[0], sh.rep, sh.entryDef, entries)
	if err != nil {
		return nil, fmt.Errorf("key: %w", err)
	}
	defer key.Release()
	if key.NullN() > 0 {
		return nil, fmt.Errorf("%w: a map's key", ErrNull)
	}
	value, err := a.assemble(sh.fields[1], sh.rep, sh.entryDef, entries)
	if err != nil {
		return nil, fmt.Errorf("value: %w", err)
	}
	defer value.Release()
	pairs := newArray(sh.typ.(*arrow.MapType).Elem(), entries, validity{}, []arrow.Array{key, value})
	defer pairs.Release()
	return newArray(sh.typ, n, nulls, []arrow.Array{pairs}, offsets), nil
}

func release(arrays []arrow.Array) {
	for _, a := range arrays {
		a.Release()
	}
}

// leafValues makes an array of the values of v at the n positions; nil positions take it whole.
func leafValues(sh *shape, v *column.Vector, pos []int32, n int) (arrow.Array, error) {
	nulls := nullsOf(pos)
	if sh.typ.ID() == arrow.NULL {
		if nulls.nulls != n {
			return nil, fmt.Errorf("%w: a column of type NULL has a value", ErrType)
		}
		return array.NewNull(n), nil
	}
	if v.Width == 0 && !arrow.IsDecimal(sh.typ.ID()) {
		return bytesArray(sh.typ, v, pos, n, nulls)
	}
	data, bad, err := leafBytes(sh, v, pos, n)
	if err != nil {
		return nil, &ValueError{Row: bad, Err: err}
	}
	return newArray(sh.typ, n, nulls, nil, data), nil
}

func bytesArray(t arrow.DataType, v *column.Vector, pos []int32, n int, nulls validity) (arrow.Array, error) {
	if pos != nil {
		offsets, data, err := gatherBytes(v.At, pos, n)
		if err != nil {
			return nil, err
		}
		return newArray(t, n, nulls, nil, offsets, data), nil
	}
	offsets := alloc((n + 1) * 4)
	if n == 0 {
		return newArray(t, 0, nulls, nil, offsets, []byte{}), nil
	}
	first, last := v.Offsets[0], v.Offsets[n]
	if last-first > math.MaxInt32 {
		return nil, ErrTooLarge
	}
	ends := view[int32](offsets)
	for i, end := range v.Offsets[:n+1] {
		ends[i] = int32(end - first)
	}
	return newArray(t, n, nulls, nil, offsets, append([]byte{}, v.Data[first:last]...)), nil
}

// leafBytes converts physical values to an array's value buffer.
func leafBytes(sh *shape, v *column.Vector, pos []int32, n int) (data []byte, bad int, err error) {
	switch t := sh.typ.(type) {
	case *arrow.BooleanType:
		return boolBits(v.Fixed, pos, n), 0, nil
	case *arrow.Int8Type, *arrow.Uint8Type:
		return narrowInts(v, pos, n, 1, t.ID() == arrow.UINT8)
	case *arrow.Int16Type, *arrow.Uint16Type:
		return narrowInts(v, pos, n, 2, t.ID() == arrow.UINT16)
	case arrow.DecimalType:
		return decimalBytes(sh, v, pos, n)
	case *arrow.TimestampType:
		if sh.leaf.Type == format.Int96 {
			return int96Bytes(v, pos, n, int64(t.Unit.Multiplier()))
		}
	}
	return gatherFixed(v.Fixed, v.Width, pos, n), 0, nil
}

func boolBits(src []byte, pos []int32, n int) []byte {
	bits := alloc((n + 7) / 8)
	for i := range n {
		if p := at(pos, i); p >= 0 && src[p] != 0 {
			bitutil.SetBit(bits, i)
		}
	}
	return bits
}

// narrowInts keeps the low bytes of INT32 values and refuses those that need more: the annotation
// promises that they fit, and cutting them would be silent.
func narrowInts(v *column.Vector, pos []int32, n, width int, unsigned bool) ([]byte, int, error) {
	dst := alloc(n * width)
	low, high := -int32(1)<<(8*width-1), int32(1)<<(8*width-1)-1
	if unsigned {
		low, high = 0, int32(1)<<(8*width)-1
	}
	for i := range n {
		p := at(pos, i)
		if p < 0 {
			continue
		}
		x := int32(binary.LittleEndian.Uint32(v.Fixed[p*4:]))
		if x < low || x > high {
			return nil, i, fmt.Errorf("%w: %d in a column of %d bits", ErrLossy, x, 8*width)
		}
		copy(dst[i*width:(i+1)*width], v.Fixed[p*4:])
	}
	return dst, 0, nil
}

func decimalBytes(sh *shape, v *column.Vector, pos []int32, n int) ([]byte, int, error) {
	t := sh.typ.(arrow.DecimalType)
	width := t.(arrow.FixedWidthDataType).Bytes()
	dst := alloc(n * width)
	for i := range n {
		p := at(pos, i)
		if p < 0 {
			continue
		}
		src, out := v.At(p), dst[i*width:(i+1)*width]
		switch sh.leaf.Type {
		case format.Int32:
			putSmall(out, int64(int32(binary.LittleEndian.Uint32(src))))
		case format.Int64:
			putSmall(out, int64(binary.LittleEndian.Uint64(src)))
		default:
			if !putBigEndian(out, src) {
				return nil, i, lossy(new(big.Int).SetBytes(src).String(), sh.typ)
			}
		}
	}
	return dst, 0, nil
}

// putSmall writes v as little-endian two's complement over all of dst.
func putSmall(dst []byte, v int64) {
	binary.LittleEndian.PutUint64(dst, uint64(v))
	for i := 8; i < len(dst); i++ {
		dst[i] = byte(v >> 63)
	}
}

// putBigEndian writes a big-endian two's complement integer of any length as little-endian; false if
// it does not fit. An empty one is zero.
func putBigEndian(dst, src []byte) bool {
	sign := byte(0)
	if len(src) > 0 && src[0]&0x80 != 0 {
		sign = 0xFF
	}
	for len(src) > len(dst) {
		if src[0] != sign || (src[1]^sign)&0x80 != 0 {
			return false
		}
		src = src[1:]
	}
	for i := range dst {
		if j := len(src) - 1 - i; j >= 0 {
			dst[i] = src[j]
		} else {
			dst[i] = sign
		}
	}
	return true
}

const (
	julianEpoch = 2440588 // the Julian day number of 1970-01-01
	dayNanos    = int64(86400e9)
)

// int96Bytes reads INT96 timestamps, eight bytes of nanoseconds in the day and four of Julian day, as counts of units
// of so many nanoseconds.
func int96Bytes(v *column.Vector, pos []int32, n int, unit int64) ([]byte, int, error) {
	dst := alloc(n * 8)
	out, perDay := view[int64](dst), dayNanos/unit
	for i := range n {
		p := at(pos, i)
		if p < 0 {
			continue
		}
		src := v.At(p)
		nanos, day := int64(binary.LittleEndian.Uint64(src)), int64(int32(binary.LittleEndian.Uint32(src[8:])))-julianEpoch
		rest := nanos / unit
		if rest*unit != nanos {
			return nil, i, fmt.Errorf("%w: INT96 timestamp with nanoseconds, in a file of a writer that has none", ErrLossy)
		}
		if unit == 1e3 {
			// Spark counts modulo 2^64, and so do days that it writes for the years around 290,000.
			out[i] = day*perDay + rest
			continue
		}
		if day < 0 {
			// Counted from the day's end, the earliest day that int64 reaches in part does not overflow.
			day, rest = day+1, rest-perDay
		}
		t, ok := mul(day, perDay)
		if ok {
			t, ok = add(t, rest)
		}
		if !ok {
			return nil, i, fmt.Errorf("%w: INT96 timestamp of day %d is outside the years 1677 to 2262 that nanoseconds reach", ErrLossy, day)
		}
		out[i] = t
	}
	return dst, 0, nil
}

func mul(a, b int64) (int64, bool) {
	if a == 0 || b == 0 {
		return 0, true
	}
	c := a * b
	return c, c/b == a && !(a == -1 && b == math.MinInt64) && !(b == -1 && a == math.MinInt64)
}

func add(a, b int64) (int64, bool) {
	c := a + b
	return c, (c > a) == (b > 0)
}
