package shred_test

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
)

func TestNulls(t *testing.T) {
	inner := []arrow.DataType{
		arrow.Null, arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint64, arrow.FixedWidthTypes.Float16,
		&arrow.Decimal128Type{Precision: 20, Scale: 2}, &arrow.Decimal256Type{Precision: 50, Scale: 2}, arrow.FixedWidthTypes.Date32,
		arrow.FixedWidthTypes.Timestamp_ns, arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Duration_s, arrow.FixedWidthTypes.MonthDayNanoInterval,
		arrow.BinaryTypes.String, arrow.BinaryTypes.LargeBinary, arrow.BinaryTypes.StringView, &arrow.FixedSizeBinaryType{ByteWidth: 5},
		&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String},
		arrow.RunEndEncodedOf(arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64),
	}
	types := append([]arrow.DataType{}, inner...)
	for _, in := range inner {
		types = append(types, arrow.ListOf(in), arrow.StructOf(arrow.Field{Name: "a", Type: in, Nullable: true}),
			arrow.MapOf(arrow.BinaryTypes.String, in), arrow.FixedSizeListOf(2, in), arrow.LargeListOf(in),
			arrow.StructOf(arrow.Field{Name: "b", Type: arrow.ListOf(arrow.StructOf(arrow.Field{Name: "a", Type: in, Nullable: true})), Nullable: true}))
	}
	for _, typ := range types {
		for _, n := range []int{0, 1, 9, 1000} {
			arr := shred.Nulls(typ, n)
			if arr.Len() != n || !arrow.TypeEqual(arr.DataType(), typ) {
				t.Errorf("%s: %d of %s, want %d", typ, arr.Len(), arr.DataType(), n)
			}
			for i := range n {
				if typ.ID() != arrow.NULL && typ.ID() != arrow.RUN_END_ENCODED && !arr.IsNull(i) {
					t.Fatalf("%s: value %d of %d is not NULL", typ, i, n)
				}
			}
			arr.Release()
		}
	}
}
