package partition

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// aType is a type of Parquet with four values, ascending, as JSON.
type aType struct {
	name   string
	field  arrow.Field
	values [4]string
	// old and from are what decimals lie on in the table and in the source.
	old, from *column.Leaf
}

func everyType() []aType {
	var out []aType
	add := func(name string, t arrow.DataType, kind string, values ...string) {
		f := arrow.Field{Name: "t", Type: t, Nullable: true}
		if kind != "" {
			f = withKind("t", t, kind)
		}
		out = append(out, aType{name: name, field: f, values: [4]string(values)})
	}
	add("uint8", arrow.PrimitiveTypes.Uint8, "", "1", "127", "128", "255")
	add("uint16", arrow.PrimitiveTypes.Uint16, "", "1", "32767", "32768", "65535")
	add("uint32", arrow.PrimitiveTypes.Uint32, "", "1", "2147483647", "2147483648", "4294967295")
	add("uint64", arrow.PrimitiveTypes.Uint64, "", "1", "9223372036854774784", "9223372036854775808", "18446744073709549568")
	add("int8", arrow.PrimitiveTypes.Int8, "", "-128", "-1", "0", "127")
	add("float16", arrow.FixedWidthTypes.Float16, "", "-2.5", "-1", "1", "2.5")
	add("float", arrow.PrimitiveTypes.Float32, "", "-2.5", "-1", "1", "2.5")
	fixed := func(n int) arrow.DataType { return &arrow.FixedSizeBinaryType{ByteWidth: n} }
	add("UUID", fixed(16), "UUID", `"AAAAAAAAAAAAAAAAAAAAAA=="`, `"AAAAAAAAAAAAAAAAAAAAAQ=="`, `"fwAAAAAAAAAAAAAAAAAAAA=="`, `"gAAAAAAAAAAAAAAAAAAAAA=="`)
	add("INTERVAL", fixed(12), "INTERVAL", `"AAAAAAAAAAAAAAAA"`, `"AAAAAAAAAAAAAAAB"`, `"fwAAAAAAAAAAAAAA"`, `"gAAAAAAAAAAAAAAA"`)
	add("time ms", arrow.FixedWidthTypes.Time32ms, "", `"00:00:00"`, `"00:00:00.001"`, `"12:00:00"`, `"23:59:59.999"`)
	add("time us", arrow.FixedWidthTypes.Time64us, "", `"00:00:00"`, `"00:00:00.000001"`, `"12:00:00"`, `"23:59:59.999999"`)
	add("time ns", arrow.FixedWidthTypes.Time64ns, "", `"00:00:00"`, `"00:00:00.000000001"`, `"12:00:00"`, `"23:59:59.999999999"`)
	for _, zone := range []string{"", "UTC"} {
		stamp := func(u arrow.TimeUnit) arrow.DataType { return &arrow.TimestampType{Unit: u, TimeZone: zone} }
		add("timestamp ms "+zone, stamp(arrow.Millisecond), "", `"1500-01-01"`, `"1969-12-31 23:59:59.999"`, `"1970-01-01"`, `"9999-12-31 23:59:59.999"`)
		add("timestamp us "+zone, stamp(arrow.Microsecond), "", `"1500-01-01"`, `"1969-12-31 23:59:59.999999"`, `"1970-01-01"`, `"9999-12-31 23:59:59.999999"`)
		add("timestamp ns "+zone, stamp(arrow.Nanosecond), "", `"1678-01-01"`, `"1969-12-31 23:59:59.999999999"`, `"1970-01-01"`, `"2262-01-01 00:00:00.000000001"`)
	}
	add("INT96", byNanos, "INT96", `"1678-01-01"`, `"1969-12-31 23:59:59.999999999"`, `"1970-01-01"`, `"2262-01-01 00:00:00.000000001"`)
	add("INT96 of Spark", byMicros, "INT96", `"0001-01-01"`, `"1969-12-31 23:59:59.999999"`, `"1970-01-01"`, `"9999-12-31 23:59:59.999999"`)
	add("JSON", arrow.BinaryTypes.String, "JSON", `"1"`, `"[]"`, `"null"`, `"{}"`)
	add("ENUM", arrow.BinaryTypes.String, "ENUM", `"A"`, `"B"`, `"a"`, `"é"`)
	add("BSON", arrow.BinaryTypes.Binary, "BSON", `""`, `"AA=="`, `"AAA="`, `"gA=="`)
	leaves := map[string]*column.Leaf{"int64": {Type: format.Int64, Width: 8}, "fixed": {Type: format.FixedLenByteArray, Width: 32}, "binary": {Type: format.ByteArray}}
	for _, d := range []struct {
		precision int32
		old, from string
	}{
		{9, "", ""}, {9, "int64", ""}, {9, "fixed", ""}, {9, "binary", ""}, {9, "", "int64"}, {9, "", "fixed"}, {9, "", "binary"},
		{18, "", "fixed"}, {18, "binary", "fixed"}, {38, "binary", ""}, {38, "", "binary"}, {76, "", ""}, {76, "binary", ""}, {76, "", "binary"},
	} {
		var t arrow.DataType = &arrow.Decimal128Type{Precision: d.precision, Scale: 2}
		if d.precision > 38 {
			t = &arrow.Decimal256Type{Precision: d.precision, Scale: 2}
		}
		add(fmt.Sprintf("decimal(%d,2) on %q from %q", d.precision, d.old, d.from), t, "", `"-99.99"`, `"-0.01"`, `"0.00"`, `"99.99"`)
		out[len(out)-1].old, out[len(out)-1].from = leaves[d.old], leaves[d.from]
	}
	return out
}

// TestEveryType merges by each type as key, as version, and as another column.
func TestEveryType(t *testing.T) {
	for _, c := range everyType() {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			fields, v := []arrow.Field{int64Field, c.field}, c.values
			merged := func(o Options, old, from, want string) *Report {
				t.Helper()
				b := newBench(t)
				b.physical = c.old
				b.parquet("orders/part-0.parquet", fields, nil, old)
				expected := b.parquet("want.parquet", fields, nil, want)
				b.physical = c.from
				o.AllowFloatKeys = true
				rep := b.upsert(o, b.parquet("from.parquet", fields, nil, from))
				got := b.rows()
				// What the table must hold is read the same way.
				if err := os.RemoveAll(b.root()); err != nil {
					t.Fatal(err)
				}
				if err := os.Mkdir(b.root(), 0o755); err != nil {
					t.Fatal(err)
				}
				if err := os.Rename(expected, b.path("orders/want.parquet")); err != nil {
					t.Fatal(err)
				}
				b.want(got...)
				return rep
			}
			row := func(id int, value string) string { return fmt.Sprintf(`{"id":%d,"t":%s}`, id, value) }
			list := func(rows ...string) string {
				out := ""
				for _, r := range rows {
					out += "," + r
				}
				return "[" + out[1:] + "]"
			}
			merged(Options{Key: []string{"t"}}, list(row(1, v[0]), row(2, v[1]), row(3, v[2])), list(row(20, v[1]), row(40, v[3])),
				list(row(1, v[0]), row(20, v[1]), row(3, v[2]), row(40, v[3])))
			merged(Options{Key: []string{"t", "id"}, Mode: Delete}, list(row(1, v[0]), row(2, v[1]), row(3, v[2])), list(row(3, v[2]), row(1, v[1])),
				list(row(1, v[0]), row(2, v[1])))
			merged(Options{OrderBy: []string{"t"}}, list(row(1, v[1]), row(2, v[1]), row(3, "null")), list(row(1, v[0]), row(2, v[2]), row(2, v[3]), row(3, v[0])),
				list(row(1, v[1]), row(2, v[3]), row(3, v[0])))
			rep := merged(Options{}, list(row(1, v[0]), row(2, v[1]), row(3, v[2])), list(row(2, v[3]), row(3, v[2]), row(5, "null")),
				list(row(1, v[0]), row(2, v[3]), row(3, v[2]), row(5, "null")))
			if n := rep.Total.Rows; n.Updated != 1 || n.Unchanged != 1 || n.Inserted != 1 || n.Kept != 1 {
				t.Errorf("%+v", n)
			}
		})
	}
}

// TestTypesThatAreNoKeys: the null type has no values to find rows by, lists and structs no order.
func TestTypesThatAreNoKeys(t *testing.T) {
	for _, field := range []arrow.Field{
		{Name: "t", Type: arrow.Null, Nullable: true},
		{Name: "t", Type: arrow.ListOf(arrow.PrimitiveTypes.Int64), Nullable: true},
		{Name: "t", Type: arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64}), Nullable: true},
	} {
		b := newBench(t)
		fields := []arrow.Field{int64Field, field}
		b.parquet("orders/part-0.parquet", fields, nil, `[{"id":1,"t":null},{"id":2,"t":null}]`)
		from := b.parquet("from.parquet", fields, nil, `[{"id":2,"t":null},{"id":3,"t":null}]`)
		if _, err := b.try(Options{Key: []string{"t"}, NullKeys: "match"}, from); !errors.Is(err, ErrSchema) {
			t.Errorf("%s: %v", field.Type, err)
		}
		b.upsert(Options{}, from)
		null := "NULL"
		if field.Type.ID() == arrow.NULL {
			null = "(null)"
		}
		b.want(".: id=1 t="+null, ".: id=2 t="+null, ".: id=3 t="+null)
	}
}
