package shred

import (
	"fmt"
	"math"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// CastOptions widen what [Cast] does. The zero value allows only what loses nothing and guesses
// nothing.
type CastOptions struct {
	// Explicit allows conversions that change what kind of thing a value is, since somebody asked for
	// them by name: between numbers, dates, timestamps, bools and their texts. They are still exact: a
	// value that does not survive is an error.
	Explicit bool
	// TruncateTimestamps lets timestamps and times lose what a coarser unit can't hold, towards the past.
	TruncateTimestamps bool
	// SourceTimezone is where local timestamps of the source are local to; nil refuses to relate local
	// timestamps and instants. Of a local time that occurs twice the earlier instant is taken; one that
	// a change of clocks skips is an error.
	SourceTimezone *time.Location
	// KeepDictionary lets a dictionary array of strings or binaries stay one, with values of the type
	// asked for.
	KeepDictionary bool
}

// Cast brings an array to a type. Without [CastOptions.Explicit] it converts
//
//	between signed and unsigned integers of all widths, where the value fits
//	between floats, where the value survives the round trip
//	between decimals, and between decimals and integers, where no digit is lost
//	between timestamps, between times, and between date32 and date64, where the unit holds the value
//	between string, binary and their large and view forms, where a string is UTF-8
//	between binary and fixed-size binary, where the length is right
//	null to anything, dictionaries, run ends and extensions to their values
//	structs by their fields' names (exact, else ignoring case), lists and maps by their elements
//
// Values stay in the order and number of the array. On an error the int is the first row that could
// not be converted, or -1 if the types themselves do not go together ([ErrType], [ErrTimezone]).
// The caller releases the result.
func Cast(arr arrow.Array, to arrow.DataType, o CastOptions) (arrow.Array, int, error) {
	return cast(arr, nil, arr.Len(), to, o)
}

// CastRows is [Cast] of the rows given, in their order; nil means all. The row of an error is the
// array's.
func CastRows(arr arrow.Array, rows []int32, to arrow.DataType, o CastOptions) (arrow.Array, int, error) {
	if rows == nil {
		return Cast(arr, to, o)
	}
	out, bad, err := cast(arr, rows, len(rows), to, o)
	if err != nil && bad >= 0 {
		bad = int(rows[bad])
	}
	return out, bad, err
}

// CanCast reports, before any value is seen, whether [Cast] knows the conversion.
func CanCast(from, to arrow.DataType, o CastOptions) error {
	empty := Nulls(from, 0)
	defer empty.Release()
	out, _, err := Cast(empty, to, o)
	if err != nil {
		return err
	}
	out.Release()
	return nil
}

// cast converts the values at n positions; negative ones become nulls. bad is an index into the
// positions.
func cast(arr arrow.Array, pos []int32, n int, to arrow.DataType, o CastOptions) (out arrow.Array, bad int, err error) {
	if ext, ok := to.(arrow.ExtensionType); ok {
		return nil, -1, fmt.Errorf("%w: cast to extension type %s", ErrType, ext)
	}
	arr = storage(arr)
	switch a := arr.(type) {
	case *array.Dictionary:
		return castDictionary(a, pos, n, to, o)
	case *array.RunEndEncoded:
		return cast(a.Values(), runPositions(a, pos, n), n, to, o)
	}
	if pos == nil && arrow.TypeEqual(arr.DataType(), to) {
		arr.Retain()
		return arr, -1, nil
	}
	if arr.DataType().ID() == arrow.NULL {
		return Nulls(to, n), -1, nil
	}
	pos = dropNulls(arr, pos, n)
	switch t := to.(type) {
	case *arrow.NullType:
		return nil, -1, fmt.Errorf("%w: %s as null", ErrType, arr.DataType())
	case *arrow.StructType:
		if a, ok := arr.(*array.Struct); ok {
			return castStruct(a, pos, n, t, o)
		}
	case *arrow.MapType:
		if a, ok := arr.(*array.Map); ok {
			return castMap(a, pos, n, t, o)
		}
	case *arrow.ListType:
		if a, ok := arr.(array.ListLike); ok && arr.DataType().ID() != arrow.MAP {
			return castList(a, pos, n, t, o)
		}
	default:
		return castLeaf(arr, pos, n, to, o)
	}
	return nil, -1, fmt.Errorf("%w: %s as %s", ErrType, arr.DataType(), to)
}

// dropNulls makes the positions of nulls negative; nil stays nil where there are none.
func dropNulls(arr arrow.Array, pos []int32, n int) []int32 {
	if arr.NullN() == 0 {
		return pos
	}
	out := make([]int32, n)
	for i := range out {
		p := at(pos, i)
		if p >= 0 && isNull(arr, p) {
			p = -1
		}
		out[i] = int32(p)
	}
	return out
}

func castDictionary(a *array.Dictionary, pos []int32, n int, to arrow.DataType, o CastOptions) (arrow.Array, int, error) {
	dict := a.Dictionary()
	inner := make([]int32, n)
	for i := range inner {
		inner[i] = -1
		p := at(pos, i)
		if p < 0 || a.IsNull(p) {
			continue
		}
		entry := a.GetValueIndex(p)
		if entry < 0 || entry >= dict.Len() {
			return nil, i, fmt.Errorf("%w: dictionary index %d of %d", ErrLevels, entry, dict.Len())
		}
		if !dict.IsNull(entry) {
			inner[i] = int32(entry)
		}
	}
	if !o.KeepDictionary || !arrow.IsBaseBinary(to.ID()) {
		return cast(dict, inner, n, to, o)
	}
	entries, _, err := cast(dict, nil, dict.Len(), to, o)
	if err != nil {
		// An entry that does not fit may be used by no row: only rows decide.
		return cast(dict, inner, n, to, o)
	}
	defer entries.Release()
	nulls := nullsOf(inner)
	index := newArray(arrow.PrimitiveTypes.Int32, n, nulls, nil, raw(inner))
	defer index.Release()
	t := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: to}
	return array.NewDictionaryArray(t, index, entries), -1, nil
}

func runPositions(a *array.RunEndEncoded, pos []int32, n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = -1
		if p := at(pos, i); p >= 0 {
			out[i] = int32(a.GetPhysicalIndex(p))
		}
	}
	return out
}

func castStruct(a *array.Struct, pos []int32, n int, to *arrow.StructType, o CastOptions) (arrow.Array, int, error) {
	o.KeepDictionary = false
	from := a.DataType().(*arrow.StructType)
	if extra := fieldsWithout(from, to); extra != "" {
		return nil, -1, fmt.Errorf("%w: field %s is not in %s", ErrType, extra, to)
	}
	children := make([]arrow.Array, 0, to.NumFields())
	defer func() { release(children) }()
	for _, f := range to.Fields() {
		i, err := fieldIndex(from, f.Name)
		if err != nil {
			return nil, -1, err
		}
		child, bad, err := castChild(a.Field(i), pos, n, f, pos, o)
		if err != nil {
			return nil, bad, fmt.Errorf("field %s: %w", f.Name, err)
		}
		children = append(children, child)
	}
	return newArray(to, n, nullsOf(pos), children), -1, nil
}

// castChild casts a field's values; parents says which of its places exist, so that only in those a
// required field must have a value.
func castChild(arr arrow.Array, pos []int32, n int, f arrow.Field, parents []int32, o CastOptions) (arrow.Array, int, error) {
	out, bad, err := cast(arr, pos, n, f.Type, o)
	if err != nil || f.Nullable || out.NullN() == 0 {
		return out, bad, err
	}
	for i := range n {
		if at(parents, i) >= 0 && isNull(out, i) {
			out.Release()
			return nil, i, ErrNull
		}
	}
	return out, -1, nil
}

// fieldIndex finds a field by name: the same, else the only one that is the same but for case.
func fieldIndex(t *arrow.StructType, name string) (int, error) {
	if i, ok := t.FieldIdx(name); ok {
		return i, nil
	}
	found := -1
	for i, f := range t.Fields() {
		if strings.EqualFold(f.Name, name) {
			if found >= 0 {
				return 0, fmt.Errorf("%w: field %s is ambiguous in %s", ErrType, name, t)
			}
			found = i
		}
	}
	if found < 0 {
		return 0, fmt.Errorf("%w: field %s is missing in %s", ErrType, name, t)
	}
	return found, nil
}

// fieldsWithout names a field of from that to lacks: dropping it would lose values.
func fieldsWithout(from, to *arrow.StructType) string {
	for _, f := range from.Fields() {
		if _, err := fieldIndex(to, f.Name); err != nil {
			return f.Name
		}
	}
	return ""
}

// entriesOf gathers list entries: the offsets of the lists at the positions, and where their entries
// are.
func entriesOf(a array.ListLike, pos []int32, n int) (offsets []byte, inner []int32, err error) {
	offsets = alloc((n + 1) * 4)
	ends := view[int32](offsets)
	inner = []int32{}
	for i := range n {
		if p := at(pos, i); p >= 0 {
			from, to := a.ValueOffsets(p)
			if int64(len(inner))+to-from > math.MaxInt32 {
				return nil, nil, ErrTooLarge
			}
			for ; from < to; from++ {
				inner = append(inner, int32(from))
			}
		}
		ends[i+1] = int32(len(inner))
	}
	return offsets, inner, nil
}

// ownerOf is the list that entry i lies in.
func ownerOf(offsets []byte, entry int) int {
	ends := view[int32](offsets)[1:]
	for i, end := range ends {
		if entry < int(end) {
			return i
		}
	}
	return len(ends) - 1
}

func castList(a array.ListLike, pos []int32, n int, to *arrow.ListType, o CastOptions) (arrow.Array, int, error) {
	o.KeepDictionary = false
	offsets, inner, err := entriesOf(a, pos, n)
	if err != nil {
		return nil, -1, err
	}
	element, bad, err := castChild(a.ListValues(), inner, len(inner), to.ElemField(), inner, o)
	if err != nil {
		if bad >= 0 {
			bad = ownerOf(offsets, bad)
		}
		return nil, bad, fmt.Errorf("element: %w", err)
	}
	defer element.Release()
	return newArray(to, n, nullsOf(pos), []arrow.Array{element}, offsets), -1, nil
}

func castMap(a *array.Map, pos []int32, n int, to *arrow.MapType, o CastOptions) (arrow.Array, int, error) {
	o.KeepDictionary = false
	offsets, inner, err := entriesOf(a, pos, n)
	if err != nil {
		return nil, -1, err
	}
	pairs := a.ListValues().(*array.Struct)
	children := make([]arrow.Array, 0, 2)
	defer func() { release(children) }()
	key := to.KeyField()
	key.Nullable = false
	for i, f := range []arrow.Field{key, to.ItemField()} {
		child, bad, err := castChild(pairs.Field(i), inner, len(inner), f, inner, o)
		if err != nil {
			if bad >= 0 {
				bad = ownerOf(offsets, bad)
			}
			return nil, bad, fmt.Errorf("%s: %w", f.Name, err)
		}
		children = append(children, child)
	}
	both := newArray(to.Elem(), len(inner), validity{}, children)
	defer both.Release()
	return newArray(to, n, nullsOf(pos), []arrow.Array{both}, offsets), -1, nil
}

// castBytes converts between strings and binaries; check refuses a value.
func castBytes(arr arrow.Array, pos []int32, n int, to arrow.DataType) (arrow.Array, int, error) {
	value, _ := bytesOf(arr)
	fromText := isText(arr.DataType())
	if isText(to) && !fromText {
		for i := range n {
			if p := at(pos, i); p >= 0 && !utf8.Valid(value(p)) {
				return nil, i, fmt.Errorf("%w: bytes that are not UTF-8 as %s", ErrLossy, to)
			}
		}
	}
	offsets, data, err := gatherBytes(value, pos, n)
	if err != nil {
		return nil, -1, err
	}
	if to.ID() == arrow.LARGE_STRING || to.ID() == arrow.LARGE_BINARY {
		wide := make([]int64, n+1)
		for i, end := range view[int32](offsets) {
			wide[i] = int64(end)
		}
		offsets = raw(wide)
	}
	return newArray(to, n, nullsOf(pos), nil, offsets, data), -1, nil
}

func isText(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.STRING, arrow.LARGE_STRING, arrow.STRING_VIEW:
		return true
	}
	return false
}

// castToFixed brings bytes to a fixed width, which each must have.
func castToFixed(arr arrow.Array, pos []int32, n int, to *arrow.FixedSizeBinaryType) (arrow.Array, int, error) {
	value, _ := bytesOf(arr)
	w := to.ByteWidth
	dst := alloc(n * w)
	for i := range n {
		p := at(pos, i)
		if p < 0 {
			continue
		}
		b := value(p)
		if len(b) != w {
			return nil, i, fmt.Errorf("%w: %d bytes as %s", ErrLossy, len(b), to)
		}
		copy(dst[i*w:], b)
	}
	return newArray(to, n, nullsOf(pos), nil, dst), -1, nil
}
