package shred

import (
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// alloc returns n zero bytes aligned for any fixed-width value.
func alloc(n int) []byte {
	if n == 0 {
		return []byte{}
	}
	words := make([]uint64, (n+7)/8)
	return unsafe.Slice((*byte)(unsafe.Pointer(&words[0])), len(words)*8)[:n]
}

// view reads bytes as values of T; len(b) is a multiple of T's size.
func view[T any](b []byte) []T {
	if len(b) == 0 {
		return nil
	}
	var zero T
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), len(b)/int(unsafe.Sizeof(zero)))
}

// raw reads values of T as bytes.
func raw[T any](values []T) []byte {
	if len(values) == 0 {
		return []byte{}
	}
	var zero T
	return unsafe.Slice((*byte)(unsafe.Pointer(&values[0])), len(values)*int(unsafe.Sizeof(zero)))
}

// validity collects an array's nulls; without any it has no bitmap.
type validity struct {
	bits  []byte
	nulls int
}

// setNull marks slot i of n; each slot at most once.
func (v *validity) setNull(i, n int) {
	if v.bits == nil {
		v.bits = alloc((n + 7) / 8)
		bitutil.SetBitsTo(v.bits, 0, int64(n), true)
	}
	bitutil.ClearBit(v.bits, i)
	v.nulls++
}

// nullsOf marks the slots whose position is negative.
func nullsOf(pos []int32) validity {
	var v validity
	for i, p := range pos {
		if p < 0 {
			v.setNull(i, len(pos))
		}
	}
	return v
}

// newArray makes an array of n slots from the buffers that follow the validity bitmap.
func newArray(t arrow.DataType, n int, v validity, children []arrow.Array, buffers ...[]byte) arrow.Array {
	all := make([]*memory.Buffer, 1, 1+len(buffers))
	if v.bits != nil {
		all[0] = memory.NewBufferBytes(v.bits)
	}
	for _, b := range buffers {
		all = append(all, memory.NewBufferBytes(b))
	}
	data := array.NewData(t, n, all, childData(children), v.nulls, 0)
	defer data.Release()
	return array.MakeFromData(data)
}

func childData(children []arrow.Array) []arrow.ArrayData {
	if children == nil {
		return nil
	}
	data := make([]arrow.ArrayData, len(children))
	for i, c := range children {
		data[i] = c.Data()
	}
	return data
}

// fixedBytes is the value bytes of a fixed-width array, w bytes each.
func fixedBytes(arr arrow.Array, w int) []byte {
	data := arr.Data()
	if data.Len() == 0 || data.Buffers()[1] == nil {
		return nil
	}
	from := data.Offset() * w
	return data.Buffers()[1].Bytes()[from : from+data.Len()*w]
}

// values is fixedBytes as T.
func values[T any](arr arrow.Array) []T {
	var zero T
	return view[T](fixedBytes(arr, int(unsafe.Sizeof(zero))))
}

// isNull also sees the nulls of the null type and those behind a dictionary's index.
func isNull(arr arrow.Array, i int) bool {
	switch a := arr.(type) {
	case *array.Null:
		return true
	case *array.Dictionary:
		return a.IsNull(i) || a.Dictionary().IsNull(a.GetValueIndex(i))
	}
	return arr.IsNull(i)
}

// bytesOf returns how to read value i of a string or binary array without copying.
func bytesOf(arr arrow.Array) (func(i int) []byte, bool) {
	switch a := arr.(type) {
	case *array.String:
		return func(i int) []byte { return stringBytes(a.Value(i)) }, true
	case *array.LargeString:
		return func(i int) []byte { return stringBytes(a.Value(i)) }, true
	case *array.StringView:
		return func(i int) []byte { return stringBytes(a.Value(i)) }, true
	case *array.Binary:
		return a.Value, true
	case *array.LargeBinary:
		return a.Value, true
	case *array.BinaryView:
		return a.Value, true
	case *array.FixedSizeBinary:
		return a.Value, true
	}
	return nil, false
}

func stringBytes(s string) []byte { return unsafe.Slice(unsafe.StringData(s), len(s)) }

// at is slot i's position under a selection; nil selects everything.
func at(pos []int32, i int) int {
	if pos == nil {
		return i
	}
	return int(pos[i])
}

// gatherFixed copies w-byte values by position; negative positions become zeros.
func gatherFixed(src []byte, w int, pos []int32, n int) []byte {
	dst := alloc(n * w)
	if pos == nil {
		copy(dst, src)
		return dst
	}
	for i, p := range pos {
		if p >= 0 {
			copy(dst[i*w:(i+1)*w], src[int(p)*w:])
		}
	}
	return dst
}

// gatherBytes copies variable-length values by position into offsets and data.
func gatherBytes(value func(i int) []byte, pos []int32, n int) (offsets, data []byte, err error) {
	total := 0
	for i := range n {
		if p := at(pos, i); p >= 0 {
			total += len(value(p))
		}
	}
	if total > math.MaxInt32 {
		return nil, nil, ErrTooLarge
	}
	offsets, data = alloc((n+1)*4), make([]byte, 0, total)
	ends := view[int32](offsets)
	for i := range n {
		if p := at(pos, i); p >= 0 {
			data = append(data, value(p)...)
		}
		ends[i+1] = int32(len(data))
	}
	return offsets, data, nil
}

func sizeOf[T any]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}
