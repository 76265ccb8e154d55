package spill

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/shred"
)

// TypeOf is the type in which values of a type are stored.
func TypeOf(t arrow.DataType) arrow.DataType {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return TypeOf(t.ValueType)
	case *arrow.RunEndEncodedType:
		return TypeOf(t.Encoded())
	case arrow.ExtensionType:
		return TypeOf(t.StorageType())
	case *arrow.StringViewType:
		return arrow.BinaryTypes.String
	case *arrow.BinaryViewType:
		return arrow.BinaryTypes.Binary
	case *arrow.StructType:
		fields := make([]arrow.Field, t.NumFields())
		for i, f := range t.Fields() {
			fields[i] = fieldOf(f)
		}
		return arrow.StructOf(fields...)
	case *arrow.MapType:
		m := arrow.MapOfWithMetadata(TypeOf(t.KeyType()), t.KeyField().Metadata, TypeOf(t.ItemType()), t.ItemField().Metadata)
		m.KeysSorted = t.KeysSorted
		m.SetItemNullable(t.ItemField().Nullable)
		return m
	case arrow.ListLikeType:
		return arrow.ListOfField(fieldOf(t.ElemField()))
	}
	return t
}

func fieldOf(f arrow.Field) arrow.Field {
	f.Type = TypeOf(f.Type)
	return f
}

// storable reports whether appendArray knows a type that TypeOf gave. Unions it does not know.
func storable(t arrow.DataType) bool {
	switch t := t.(type) {
	case arrow.NestedType:
		if t.ID() != arrow.STRUCT && t.ID() != arrow.LIST && t.ID() != arrow.MAP {
			return false
		}
		return !slices.ContainsFunc(t.Fields(), func(f arrow.Field) bool { return !storable(f.Type) })
	case *arrow.NullType, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType, arrow.FixedWidthDataType:
		return true
	}
	return false
}

// Gather makes an array of rows of another one, as it is stored; nil takes all of them.
func Gather(arr arrow.Array, rows []int32) (arrow.Array, error) {
	to := TypeOf(arr.DataType())
	if !storable(to) {
		return nil, fmt.Errorf("%s can't be kept on disk", arr.DataType())
	}
	if to.ID() == arrow.NULL {
		n := arr.Len()
		if rows != nil {
			n = len(rows)
		}
		return array.NewNull(n), nil
	}
	out, _, err := shred.CastRows(arr, rows, to, shred.CastOptions{})
	if err != nil {
		return nil, fmt.Errorf("%s can't be kept on disk: %w", arr.DataType(), err)
	}
	return out, nil
}

// Bytes is about how much an array takes once it is gathered.
func Bytes(arr arrow.Array) int64 {
	switch a := arr.(type) {
	case *array.Dictionary:
		return dictionaryBytes(a)
	case *array.RunEndEncoded:
		return Bytes(a.Values()) * int64(a.Len()) / int64(max(a.Values().Len(), 1))
	case array.ExtensionArray:
		return Bytes(a.Storage())
	case *array.Struct:
		total := int64(a.Len()) / 8
		for i := range a.NumField() {
			total += Bytes(a.Field(i))
		}
		return total
	}
	return int64(arr.Data().SizeInBytes())
}

// dictionaryBytes counts an entry as often as rows have it.
func dictionaryBytes(a *array.Dictionary) int64 {
	entries := a.Dictionary()
	if entries.Len() == 0 {
		return 0
	}
	texts, ok := entries.(array.BinaryLike)
	if !ok {
		return Bytes(entries) * int64(a.Len()) / int64(entries.Len())
	}
	total := int64(0)
	for i := range a.Len() {
		total += 4
		if entry := a.GetValueIndex(i); a.IsValid(i) && entry >= 0 && entry < texts.Len() {
			total += int64(texts.ValueLen(entry))
		}
	}
	return total
}

// appendArray writes an array, which may be a slice of another, of a type that TypeOf gives: each buffer
// as its length and its bytes, filled up to eight; what lies below, after it.
func appendArray(dst []byte, data arrow.ArrayData) []byte {
	n, from := data.Len(), data.Offset()
	t := data.DataType()
	if t.ID() == arrow.NULL {
		return dst
	}
	dst = appendValidity(dst, data)
	values := func() []byte {
		if b := data.Buffers()[1]; b != nil {
			return b.Bytes()
		}
		return nil
	}
	switch t := t.(type) {
	case *arrow.BooleanType:
		return appendBuffer(dst, bits(values(), from, n))
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		offsets, first, last := rebase(values(), from, n, t.ID() == arrow.LARGE_STRING || t.ID() == arrow.LARGE_BINARY)
		dst = appendBuffer(dst, offsets)
		if b := data.Buffers()[2]; b != nil {
			return appendBuffer(dst, b.Bytes()[first:last])
		}
		return appendBuffer(dst, nil)
	case *arrow.StructType:
		for _, child := range data.Children() {
			dst = appendSlice(dst, child, from, from+n)
		}
		return dst
	case arrow.ListLikeType: // lists and maps
		offsets, first, last := rebase(values(), from, n, false)
		return appendSlice(appendBuffer(dst, offsets), data.Children()[0], first, last)
	case arrow.FixedWidthDataType:
		w := t.Bytes()
		if n == 0 {
			return appendBuffer(dst, nil)
		}
		return appendBuffer(dst, values()[from*w:(from+n)*w])
	}
	panic("spill: a type that TypeOf does not give: " + t.String())
}

func appendSlice(dst []byte, data arrow.ArrayData, from, to int) []byte {
	part := array.NewSliceData(data, int64(from), int64(to))
	defer part.Release()
	dst = binary.LittleEndian.AppendUint64(dst, uint64(part.Len()))
	return appendArray(dst, part)
}

func appendValidity(dst []byte, data arrow.ArrayData) []byte {
	b := data.Buffers()[0]
	if data.NullN() == 0 || b == nil {
		return appendBuffer(dst, nil)
	}
	return appendBuffer(dst, bits(b.Bytes(), data.Offset(), data.Len()))
}

func appendBuffer(dst, p []byte) []byte {
	dst = binary.LittleEndian.AppendUint64(dst, uint64(len(p)))
	dst = append(dst, p...)
	for len(dst)%8 != 0 {
		dst = append(dst, 0)
	}
	return dst
}

// bits copies n bits to the start of a bitmap.
func bits(src []byte, from, n int) []byte {
	out := make([]byte, (n+7)/8)
	if n > 0 {
		bitutil.CopyBitmap(src, from, n, out, 0)
	}
	return out
}

// rebase makes offsets begin with 0, and gives what they span below.
func rebase(src []byte, from, n int, large bool) (out []byte, first, last int) {
	if n == 0 {
		return make([]byte, 8), 0, 0
	}
	if large {
		offsets := arrow.Int64Traits.CastFromBytes(src)[from : from+n+1]
		out = make([]byte, 0, (n+1)*8)
		for _, o := range offsets {
			out = binary.LittleEndian.AppendUint64(out, uint64(o-offsets[0]))
		}
		return out, int(offsets[0]), int(offsets[n])
	}
	offsets := arrow.Int32Traits.CastFromBytes(src)[from : from+n+1]
	out = make([]byte, 0, (n+1)*4)
	for _, o := range offsets {
		out = binary.LittleEndian.AppendUint32(out, uint32(o-offsets[0]))
	}
	return out, int(offsets[0]), int(offsets[n])
}

// arrayReader reads what appendArray wrote. The arrays keep its bytes, which begin at a multiple of
// eight in memory.
type arrayReader struct{ rest []byte }

func (r *arrayReader) number() (int, error) {
	if len(r.rest) < 8 {
		return 0, ErrDamaged
	}
	n := binary.LittleEndian.Uint64(r.rest)
	r.rest = r.rest[8:]
	if n > 1<<40 {
		return 0, ErrDamaged
	}
	return int(n), nil
}

// buffer is nil where it is empty.
func (r *arrayReader) buffer() (*memory.Buffer, error) {
	n, err := r.number()
	if err != nil || n == 0 {
		return nil, err
	}
	full := (n + 7) &^ 7
	if len(r.rest) < full {
		return nil, ErrDamaged
	}
	b := memory.NewBufferBytes(r.rest[:n:n])
	r.rest = r.rest[full:]
	return b, nil
}

func (r *arrayReader) read(t arrow.DataType, n int) (arrow.ArrayData, error) {
	if t.ID() == arrow.NULL {
		return array.NewData(t, n, []*memory.Buffer{nil}, nil, n, 0), nil
	}
	valid, err := r.buffer()
	if err != nil {
		return nil, err
	}
	nulls := 0
	if valid != nil {
		nulls = n - bitutil.CountSetBits(valid.Bytes(), 0, n)
	}
	buffers, children := []*memory.Buffer{valid}, []arrow.ArrayData(nil)
	more := 1
	var below []arrow.Field
	switch t := t.(type) {
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		more = 2
	case *arrow.StructType:
		more, below = 0, t.Fields()
	case arrow.ListLikeType:
		below = []arrow.Field{t.ElemField()}
	}
	for range more {
		b, err := r.buffer()
		if err != nil {
			return nil, err
		}
		if b == nil {
			b = memory.NewBufferBytes([]byte{})
		}
		buffers = append(buffers, b)
	}
	for _, f := range below {
		n, err := r.number()
		if err != nil {
			return nil, err
		}
		child, err := r.read(f.Type, n)
		if err != nil {
			return nil, err
		}
		children = append(children, child)
	}
	return array.NewData(t, n, buffers, children, nulls, 0), nil
}

var allocator = memory.NewGoAllocator()
