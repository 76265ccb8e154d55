package shred

import (
	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// Nulls is an array of n NULLs of a type. Arrow's own MakeArrayOfNull panics on the null type inside of
// another, and on run ends and views.
func Nulls(t arrow.DataType, n int) arrow.Array {
	if plainNulls(t) {
		return array.MakeArrayOfNull(memory.DefaultAllocator, t, n)
	}
	b := array.NewBuilder(memory.DefaultAllocator, t)
	defer b.Release()
	b.AppendNulls(n)
	return b.NewArray()
}

// plainNulls reports whether MakeArrayOfNull knows a type.
func plainNulls(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.NullType:
		return true
	case arrow.NestedType:
		for _, f := range t.Fields() {
			if f.Type.ID() == arrow.NULL || !plainNulls(f.Type) {
				return false
			}
		}
		switch t.(type) {
		case *arrow.StructType, *arrow.ListType, *arrow.MapType:
			return true
		}
		return false
	case arrow.FixedWidthDataType, *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		return t.ID() != arrow.DICTIONARY && t.ID() != arrow.EXTENSION
	}
	return false
}
