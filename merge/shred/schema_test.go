package shred

import (
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/column"
)

// everyType is a schema of all leaf types that ParquetSchema and ArrowSchema carry unchanged.
func everyType() []arrow.Field {
	types := []arrow.DataType{
		arrow.FixedWidthTypes.Boolean,
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
		arrow.FixedWidthTypes.Float16, arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Float64,
		&arrow.Decimal128Type{Precision: 9, Scale: 2}, &arrow.Decimal128Type{Precision: 18, Scale: 0},
		&arrow.Decimal128Type{Precision: 38, Scale: 10}, &arrow.Decimal256Type{Precision: 76, Scale: 5},
		arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Time32ms,
		arrow.FixedWidthTypes.Time64us, arrow.FixedWidthTypes.Time64ns,
		&arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: "UTC"}, &arrow.TimestampType{Unit: arrow.Microsecond},
		&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"},
		arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, &arrow.FixedSizeBinaryType{ByteWidth: 5},
		arrow.Null,
	}
	var fields []arrow.Field
	for _, t := range types {
		fields = append(fields, arrow.Field{Name: "f " + t.String(), Type: t, Nullable: true})
	}
	fields = append(fields,
		arrow.Field{Name: "int96", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true,
			Metadata: arrow.NewMetadata([]string{MetaKind}, []string{"INT96"})},
		arrow.Field{Name: "uuid", Type: &arrow.FixedSizeBinaryType{ByteWidth: 16}, Nullable: true,
			Metadata: arrow.NewMetadata([]string{MetaFieldID, MetaKind}, []string{"7", "UUID"})},
		arrow.Field{Name: "json", Type: arrow.BinaryTypes.String,
			Metadata: arrow.NewMetadata([]string{MetaKind}, []string{"JSON"})},
		arrow.Field{Name: "required", Type: arrow.PrimitiveTypes.Int64},
	)
	return fields
}

func listOf(t arrow.DataType, nullable bool) *arrow.ListType {
	return arrow.ListOfField(arrow.Field{Name: "element", Type: t, Nullable: nullable})
}

func mapOf(k, v arrow.DataType, nullable bool) *arrow.MapType {
	m := arrow.MapOf(k, v)
	m.SetItemNullable(nullable)
	return m
}

// everyNesting is nested fields with nulls allowed at every level, and at none.
func everyNesting() []arrow.Field {
	i, s := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	inner := arrow.StructOf(
		arrow.Field{Name: "a", Type: i, Nullable: true},
		arrow.Field{Name: "b", Type: listOf(s, true), Nullable: true},
		arrow.Field{Name: "c", Type: s})
	types := map[string]arrow.DataType{
		"list":          listOf(i, true),
		"strict":        listOf(s, false),
		"lists":         listOf(listOf(i, true), true),
		"deep":          listOf(listOf(listOf(s, true), false), true),
		"struct":        inner,
		"structs":       listOf(inner, true),
		"map":           mapOf(s, i, true),
		"map of lists":  mapOf(i, listOf(s, true), false),
		"map of struct": mapOf(s, inner, true),
		"nested struct": arrow.StructOf(
			arrow.Field{Name: "x", Type: inner, Nullable: true},
			arrow.Field{Name: "y", Type: inner},
			arrow.Field{Name: "m", Type: mapOf(i, inner, true), Nullable: true}),
	}
	var fields []arrow.Field
	for _, name := range []string{"list", "strict", "lists", "deep", "struct", "structs", "map", "map of lists", "map of struct", "nested struct"} {
		fields = append(fields, arrow.Field{Name: name, Type: types[name], Nullable: true})
		fields = append(fields, arrow.Field{Name: "required " + name, Type: types[name]})
	}
	return fields
}

func mustParquet(t testing.TB, fields ...arrow.Field) *column.Schema {
	t.Helper()
	s, err := ParquetSchema(arrow.NewSchema(fields, nil))
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestSchemaRoundTrip(t *testing.T) {
	want := arrow.NewSchema(append(everyType(), everyNesting()...), nil)
	got, err := ArrowSchema(mustParquet(t, want.Fields()...))
	if err != nil {
		t.Fatal(err)
	}
	if !got.Equal(want) {
		t.Errorf("got %s\nwant %s", got, want)
	}
}
