package source

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/shred"
)

// TestRowsAsJSONComeBack: what is written of a row for the rejects is the row when it is read as NDJSON.
func TestRowsAsJSONComeBack(t *testing.T) {
	big := &arrow.Decimal128Type{Precision: 38, Scale: 10}
	point := arrow.StructOf(arrow.Field{Name: "x", Type: big, Nullable: true}, arrow.Field{Name: "l", Type: arrow.ListOf(tF64), Nullable: true})
	local := &arrow.TimestampType{Unit: arrow.Nanosecond}
	s := schemaOf("i", arrow.PrimitiveTypes.Int64, "u", arrow.PrimitiveTypes.Uint64, "f", tF64, "g", arrow.PrimitiveTypes.Float32, "d", big, "b", tBool,
		"s", tStr, "x", tBin, "q", &arrow.FixedSizeBinaryType{ByteWidth: 2}, "y", tDate, "t", tUTC, "n", local, "c", arrow.FixedWidthTypes.Time64us,
		"p", point, "m", arrow.MapOf(tInt, tStr), "h", &arrow.Decimal256Type{Precision: 60, Scale: 3})
	rec := record(t, s, `[
		{"i":9007199254740993,"u":18446744073709551615,"f":0.1,"g":0.1,"d":"1234567890123456789012345678.0123456789","b":true,"s":"<&> \u2028 \" ä 😀","x":"AP8=",
		 "q":"AP8=","y":"1969-12-31","t":"2024-01-02 03:04:05.678901Z","n":"1969-12-31 23:59:59.000000001","c":"03:04:05.000001",
		 "p":{"x":"-0.0000000001","l":[1.5,null]},"m":[{"key":1,"value":"a"},{"key":2,"value":null}],"h":"123456789012345678901234567890123456789012345678901234567.125"},
		{"i":-9223372036854775808,"u":0,"f":-0.0,"g":1e30,"d":"0","b":false,"s":"","x":"","m":[],"p":{"x":null,"l":[]}},
		{}]`)
	f := array.NewFloat64Builder(memory.DefaultAllocator)
	f.AppendValues([]float64{math.NaN(), math.Inf(1), math.Inf(-1), math.Copysign(0, -1), math.MaxFloat64, math.SmallestNonzeroFloat64}, nil)
	floats := array.NewRecord(schemaOf("f", tF64), []arrow.Array{f.NewArray()}, 6)
	for _, want := range []arrow.Record{rec, floats} {
		var lines bytes.Buffer
		for row := range int(want.NumRows()) {
			line, err := shred.RowJSON(want.Schema(), want.Columns(), row)
			if err != nil {
				t.Fatal(err)
			}
			lines.Write(append(line, '\n'))
		}
		r, err := Open(context.Background(), Input{Name: "x", Format: NDJSON, Stdin: &lines}, want.Schema(), Options{})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		for i, arr := range want.Columns() {
			if !array.ApproxEqual(got.Column(i), arr, array.WithNaNsEqual(true), array.WithAbsTolerance(0)) {
				t.Errorf("%s: %v, want %v", want.ColumnName(i), got.Column(i), arr)
			}
		}
		if _, err := r.Next(context.Background()); !errors.Is(err, io.EOF) {
			t.Error(err)
		}
	}
}
