package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"pgregory.net/rapid"

	"github.com/hupsert/hupsert/merge/shred"
)

func TestNDJSON(t *testing.T) {
	ab := schemaOf("a", tInt, "b", tStr)
	point := arrow.StructOf(arrow.Field{Name: "x", Type: tInt, Nullable: true}, arrow.Field{Name: "y", Type: tStr})
	nested := schemaOf("s", point, "l", arrow.ListOf(point), "m", arrow.MapOf(tStr, tInt), "n", arrow.MapOf(tInt, tStr), "ll", arrow.ListOf(arrow.ListOf(tInt)))
	cases := []textCase{
		{name: "types", in: `{"i":1,"s":"x","b":true,"f":-1.5e2,"x":"YQ==","d":"2024-01-02","t":"2024-01-02T03:04:05Z","m":1.50}` + "\n",
			want:    schemaOf("i", tInt, "s", tStr, "b", tBool, "f", tF64, "x", tBin, "d", tDate, "t", tUTC, "m", tDec),
			columns: "i int32, s utf8, b bool, f float64, x binary, d date32, t timestamp[us, tz=UTC], m decimal(9, 2)",
			rows:    []string{`x.ndjson:1 i=1 s="x" b=true f=-150 x="YQ==" d="2024-01-02" t="2024-01-02 03:04:05Z" m="1.5"`}},
		{name: "numbers as text", in: `{"i":"1","f":"NaN","m":"12.30","b":"true"}`, want: schemaOf("i", tInt, "f", tF64, "m", tDec, "b", tBool),
			columns: "i int32, f float64, m decimal(9, 2), b bool", rows: []string{`x.ndjson:1 i=1 f="NaN" m="12.3" b=true`}},
		{name: "null, absent, empty", in: "{\"a\":null,\"b\":\"\"}\n{}\n{\"b\":null}\n", want: ab, columns: "a int32, b utf8",
			rows: []string{`x.ndjson:1 a=null b=""`, `x.ndjson:2 a=null b=null`, `x.ndjson:3 a=null b=null`}},
		{name: "columns that come later, blank lines, spaces", in: "\xEF\xBB\xBF {\"B\" : \"x\"} \r\n\n\t{ \"A\":1, \"B\":\"y\" }", want: ab, columns: "B utf8, A int32",
			rows: []string{`x.ndjson:1 B="x" A=null`, `x.ndjson:3 B="y" A=1`}},
		{name: "columns that the table lacks", in: `{"a":1,"n":2.50,"t":"x","o":{"k":[1, 2]},"q":true}`, want: ab,
			columns: "a int32, n utf8, t utf8, o utf8, q utf8", rows: []string{`x.ndjson:1 a=1 n="2.50" t="x" o="{\"k\":[1, 2]}" q="true"`}},
		{name: "columns chosen", in: `{"a":1,"new":{"x":[{}]},"b":"x"}`, want: ab, o: Options{Columns: []string{"B"}}, columns: "b utf8",
			rows: []string{`x.ndjson:1 b="x"`}},
		{name: "escapes", in: `{"b":"\"\\\/\b\f\n\r\t\u00e4\ud83d\ude00ä"}`, want: ab, columns: "b utf8",
			rows: []string{`x.ndjson:1 b="\"\\/\u0008\u000c\n\r\tä😀ä"`}},
		{name: "escaped names", in: `{"\u0061":1}`, want: ab, columns: "a int32", rows: []string{`x.ndjson:1 a=1`}},
		{name: "nothing", in: "", want: ab, columns: ""},
		{name: "nested", in: `{"s":{"Y":"q","x":1},"l":[{"y":"a"},null],"m":{"k":1,"j":null},"n":[{"key":5,"value":"v"},{"key":6}],"ll":[[1,null],null,[]]}` + "\n" + `{"s":null,"l":[],"m":{}}`,
			want:    nested,
			columns: "s struct<x: int32, y: utf8>, l list<item: struct<x: int32, y: utf8>, nullable>, m map<utf8, int32, items_nullable>, n map<int32, utf8, items_nullable>, ll list<item: list<item: int32, nullable>, nullable>",
			rows: []string{
				`x.ndjson:1 s={"x":1,"y":"q"} l=[{"x":null,"y":"a"},null] m=[{"key":"k","value":1},{"key":"j","value":null}] n=[{"key":5,"value":"v"},{"key":6,"value":null}] ll=[[1,null],null,[]]`,
				`x.ndjson:2 s=null l=[] m=[] n=null ll=null`}},

		{name: "number for a string", in: `{"b":5}`, want: ab, err: shred.ErrText, message: "x.ndjson:1: column b: text does not parse: number 5 as utf8"},
		{name: "fraction for an integer", in: "{\"a\":1}\n{\"a\":1.0}", want: ab, err: shred.ErrText, message: "x.ndjson:2: column a"},
		{name: "bool for an integer", in: `{"a":true}`, want: ab, err: shred.ErrText, message: "x.ndjson:1: column a"},
		{name: "object for an integer", in: `{"a":{}}`, want: ab, err: shred.ErrText, message: "x.ndjson:1: column a"},
		{name: "number for a date", in: `{"d":19000}`, want: schemaOf("d", tDate), err: shred.ErrText, message: "x.ndjson:1: column d"},
		{name: "out of range", in: `{"a":3000000000}`, want: ab, err: shred.ErrLossy, message: "x.ndjson:1: column a"},
		{name: "a name twice", in: `{"a":1,"a":2}`, want: ab, err: ErrFormat, message: "x.ndjson:1: column a: malformed input: the column occurs twice"},
		{name: "names that differ in case", in: "{\"a\":1}\n{\"A\":2}", want: ab, err: ErrColumns, message: `x.ndjson:2: unusable column names: two columns have the same name: "a" and "A"`},
		{name: "half a surrogate", in: `{"b":"\ud83d"}`, want: ab, err: ErrFormat, message: "x.ndjson:1: column b"},
		{name: "not UTF-8", in: "{\"b\":\"\xff\"}", want: ab, err: ErrFormat, message: "x.ndjson:1: column b"},
		{name: "not an object", in: `[1]`, want: ab, err: ErrFormat, message: "x.ndjson:1: malformed input: JSON, byte 1: an object is expected"},
		{name: "two objects", in: `{"a":1}{"a":2}`, want: ab, err: ErrFormat, message: "x.ndjson:1: malformed input: JSON, byte 8: more than one value"},
		{name: "cut off", in: "{\"a\":1}\n{\"a\":1", want: ab, err: ErrFormat, message: "x.ndjson:2"},
		{name: "comma at the end", in: `{"a":1,}`, want: ab, err: ErrFormat, message: "x.ndjson:1"},
		{name: "leading zero", in: `{"a":01}`, want: ab, err: ErrFormat, message: "x.ndjson:1"},
		{name: "control character", in: "{\"b\":\"\t\"}", want: ab, err: ErrFormat, message: "x.ndjson:1"},
		{name: "too deep", in: `{"z":` + strings.Repeat("[", 300) + strings.Repeat("]", 300) + "}", want: ab, err: ErrFormat, message: "x.ndjson:1"},
		{name: "unknown field", in: `{"s":{"y":"a","z":1}}`, want: nested, err: ErrColumns, message: "x.ndjson:1: column s: unusable column names: field z"},
		{name: "field twice", in: `{"s":{"y":"a","Y":"b"}}`, want: nested, err: ErrFormat, message: "x.ndjson:1: column s: malformed input: field y occurs twice"},
		{name: "required field", in: `{"s":{"x":1}}`, want: nested, err: shred.ErrNull, message: "x.ndjson:1: column s: field y"},
		{name: "key twice in an entry", in: `{"n":[{"key":1,"key":2}]}`, want: nested, err: ErrFormat, message: "x.ndjson:1: column n"},
		{name: "entry without a key", in: `{"n":[{"value":"x"}]}`, want: nested, err: ErrFormat, message: "x.ndjson:1: column n"},
		{name: "null key", in: `{"n":[{"key":null}]}`, want: nested, err: shred.ErrNull, message: "x.ndjson:1: column n"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, "x.ndjson", NDJSON) })
	}
}

// TestNDJSONValues: each type takes exactly what stands there, or says that it can't.
func TestNDJSONValues(t *testing.T) {
	big := &arrow.Decimal128Type{Precision: 38, Scale: 10}
	huge := &arrow.Decimal256Type{Precision: 76, Scale: 0}
	local := &arrow.TimestampType{Unit: arrow.Millisecond}
	f32, u64, i64 := arrow.PrimitiveTypes.Float32, arrow.PrimitiveTypes.Uint64, arrow.PrimitiveTypes.Int64
	kst := Options{SourceTimezone: time.FixedZone("KST", 9*3600)}
	for _, c := range []struct {
		typ     arrow.DataType
		in      string
		want    string
		err     error
		options Options
	}{
		{typ: i64, in: `9223372036854775807`, want: `9223372036854775807`},
		{typ: i64, in: `-9223372036854775808`, want: `-9223372036854775808`},
		{typ: i64, in: `9007199254740993`, want: `9007199254740993`}, // not a float
		{typ: i64, in: `"9007199254740993"`, want: `9007199254740993`},
		{typ: i64, in: `9223372036854775808`, err: shred.ErrLossy},
		{typ: i64, in: `1e3`, err: shred.ErrText},
		{typ: i64, in: `1.0`, err: shred.ErrText},
		{typ: i64, in: `""`, err: shred.ErrText},
		{typ: u64, in: `18446744073709551615`, want: `18446744073709551615`},
		{typ: u64, in: `-1`, err: shred.ErrText},
		{typ: big, in: `1234567890123456789012345678.0123456789`, want: `1234567890123456789012345678.0123456789`},
		{typ: big, in: `"1234567890123456789012345678.0123456789"`, want: `1234567890123456789012345678.0123456789`},
		{typ: big, in: `-0.1e-9`, want: `-0.0000000001`},
		{typ: big, in: `0.00000000001`, err: shred.ErrLossy},
		{typ: big, in: `12345678901234567890123456789`, err: shred.ErrLossy},
		{typ: huge, in: `9999999999999999999999999999999999999999999999999999999999999999999999999999`, want: `9999999999999999999999999999999999999999999999999999999999999999999999999999`},
		{typ: tDec, in: `1e999999999`, err: shred.ErrLossy},
		{typ: tF64, in: `0.1`, want: `0.1`},
		{typ: tF64, in: `1e400`, err: shred.ErrLossy},
		{typ: tF64, in: `NaN`, err: ErrFormat},
		{typ: tF64, in: `"-Infinity"`, want: `-Inf`},
		{typ: f32, in: `16777217`, want: `1.6777216e+07`}, // the nearest value
		{typ: tBool, in: `1`, want: `true`},
		{typ: tBool, in: `0`, want: `false`},
		{typ: tBool, in: `"TRUE"`, want: `true`},
		{typ: tBool, in: `2`, err: shred.ErrText},
		{typ: tBool, in: `1.0`, err: shred.ErrText},
		{typ: tBool, in: `"yes"`, err: shred.ErrText},
		{typ: tStr, in: `1`, err: shred.ErrText},
		{typ: tStr, in: `true`, err: shred.ErrText},
		{typ: tStr, in: `{"a":1}`, err: shred.ErrText},
		{typ: tBin, in: `"AP8="`, want: `AP8=`},
		{typ: tBin, in: `"AP8"`, err: shred.ErrText},
		{typ: tBin, in: `"\u0000"`, err: shred.ErrText},
		{typ: &arrow.FixedSizeBinaryType{ByteWidth: 2}, in: `"AP8="`, want: `AP8=`},
		{typ: &arrow.FixedSizeBinaryType{ByteWidth: 3}, in: `"AP8="`, err: shred.ErrLossy},
		{typ: &arrow.FixedSizeBinaryType{ByteWidth: 16}, in: `"00112233-4455-6677-8899-aabbccddeeff"`, want: `ABEiM0RVZneImaq7zN3u/w==`},
		{typ: tDate, in: `"2024-02-29"`, want: `2024-02-29`},
		{typ: tDate, in: `"2023-02-29"`, err: shred.ErrText},
		{typ: tDate, in: `"2024-02-29T00:00:00Z"`, err: shred.ErrText},
		{typ: tDate, in: `19782`, err: shred.ErrText},
		{typ: tUTC, in: `"2024-01-02T03:04:05.678901+09:00"`, want: `2024-01-01 18:04:05.678901Z`},
		{typ: tUTC, in: `"2024-01-02T03:04:05.6789012Z"`, err: shred.ErrLossy},
		{typ: tUTC, in: `"2024-01-02T03:04:05.6789012Z"`, want: `2024-01-02 03:04:05.678901Z`, options: Options{TruncateTimestamps: true}},
		{typ: tUTC, in: `"2024-01-02T03:04:05"`, err: shred.ErrTimezone},
		{typ: tUTC, in: `"2024-01-02T03:04:05"`, want: `2024-01-01 18:04:05Z`, options: kst},
		{typ: tUTC, in: `"2024-01-02"`, err: shred.ErrText},
		{typ: tUTC, in: `1704164645`, err: shred.ErrText},
		{typ: local, in: `"2024-01-02 03:04:05.678"`, want: `2024-01-02 03:04:05.678`},
		{typ: local, in: `"2024-01-02T03:04:05Z"`, err: shred.ErrTimezone},
		{typ: local, in: `"2024-01-02T03:04:05Z"`, want: `2024-01-02 12:04:05`, options: kst},
		{typ: arrow.FixedWidthTypes.Time64us, in: `"03:04:05.678901"`, want: `03:04:05.678901`},
		{typ: arrow.FixedWidthTypes.Time64us, in: `"25:00:00"`, err: shred.ErrText},
	} {
		s := schemaOf("v", c.typ)
		r, err := Open(context.Background(), inputOf(t, "x.ndjson", NDJSON, []byte("{\"v\": "+c.in+"}\n")), s, c.options)
		if c.err != nil {
			if !errors.Is(err, c.err) || !strings.HasPrefix(fmt.Sprint(err), "x.ndjson:1") {
				t.Errorf("%s as %s: %v, want %v", c.in, c.typ, err, c.err)
			}
			continue
		}
		if err != nil {
			t.Errorf("%s as %s: %v", c.in, c.typ, err)
			continue
		}
		rec, err := r.Next(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		got := rec.Column(0).ValueStr(0)
		if d, ok := rec.Column(0).(*array.Decimal128); ok {
			got = d.Value(0).ToString(big.Scale) // ValueStr rounds
		}
		if !strings.HasPrefix(got, c.want) || rec.Column(0).DataType().ID() != c.typ.ID() {
			t.Errorf("%s as %s: %s, want %s", c.in, c.typ, got, c.want)
		}
		rec.Release()
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}
}

// TestNDJSONLateColumn: a column of a later batch is an error and no silent loss, while columns seen
// before may be absent anywhere.
func TestNDJSONLateColumn(t *testing.T) {
	ab := schemaOf("a", tInt, "b", tStr)
	o := Options{BatchRows: 2}
	in := "{\"a\":1,\"b\":\"x\"}\n{\"a\":2}\n{\"b\":\"z\"}\n"
	_, rows, err := readAll(context.Background(), inputOf(t, "x.ndjson", NDJSON, []byte(in)), ab, o)
	want := []string{`x.ndjson:1 a=1 b="x"`, `x.ndjson:2 a=2 b=null`, `x.ndjson:3 a=null b="z"`}
	if err != nil || strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("%q, %v", rows, err)
	}
	in = "{\"a\":1}\n{\"a\":2}\n{\"a\":3,\"b\":\"x\"}\n"
	o.Rejects = func(Reject) error { return nil } // no reject: all rows before were read without it
	if _, _, err := readAll(context.Background(), inputOf(t, "x.ndjson", NDJSON, []byte(in)), ab, o); !errors.Is(err, ErrColumns) ||
		!strings.HasPrefix(err.Error(), "x.ndjson:3: column b") {
		t.Errorf("got %v", err)
	}
}

func TestNDJSONRejects(t *testing.T) {
	in := "{\"a\":1,\"l\":[1,2]}\n{\"a\":2,\"l\":[3,\"x\"]}\n{\"l\":[4],\"only\":1,\"a\":\"q\"}\n{]\n{\"a\":5,\"l\":[6]}\n"
	var got []string
	o := Options{Rejects: func(r Reject) error {
		got = append(got, fmt.Sprintf("%d %s %s", r.Line, r.Column, r.Text))
		return nil
	}}
	columns, rows, err := readAll(context.Background(), inputOf(t, "x", NDJSON, []byte(in)), schemaOf("a", tInt, "l", arrow.ListOf(tInt)), o)
	if err != nil {
		t.Fatal(err)
	}
	if columns != "a int32, l list<item: int32, nullable>" {
		t.Errorf("a column that only a rejected row has stays: %s", columns)
	}
	if want := []string{`x:1 a=1 l=[1,2]`, `x:5 a=5 l=[6]`}; strings.Join(rows, "\n") != strings.Join(want, "\n") {
		t.Errorf("rows %q", rows)
	}
	if want := []string{`2 l {"a":2,"l":[3,"x"]}`, `3 a {"l":[4],"only":1,"a":"q"}`, `4  {]`}; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("rejects %q", got)
	}
}

// TestJSONAgainstStandardLibrary: values that encoding/json writes are read as they were.
func TestJSONAgainstStandardLibrary(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.String().Draw(t, "text")
		number := rapid.Float64().Draw(t, "number")
		quoted, err := json.Marshal(text)
		if err != nil {
			t.Fatal(err)
		}
		s := jsonScanner{b: quoted}
		if s.peek() != '"' {
			t.Fatal("no string")
		}
		got, err := s.str()
		if err != nil || string(got) != strings.ToValidUTF8(text, "\uFFFD") {
			t.Fatalf("%s: %q, %v", quoted, got, err)
		}
		digits, err := json.Marshal(number)
		if err != nil {
			t.Fatal(err)
		}
		s = jsonScanner{b: digits}
		if got, err := s.number(); err != nil || !bytes.Equal(got, digits) || s.end() != nil {
			t.Fatalf("%s: %s, %v", digits, got, err)
		}
	})
}

// FuzzJSON: what we take as one value, encoding/json takes too; what it takes and we refuse is broken
// text or too deep.
func FuzzJSON(f *testing.F) {
	for _, s := range []string{`{"a":[1,-0.5e+3,true,null,"\u00e4\ud83d\ude00"]}`, `{"a":1,}`, `01`, `-`, `1.`, `"\ud800"`, "\"\xff\"", `[[]]`, ` {} `, `nul`} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		s := jsonScanner{b: in}
		_, err := s.skip()
		if err == nil {
			err = s.end()
		}
		valid := json.Valid(in)
		if err == nil && !valid {
			t.Fatalf("%q taken", in)
		}
		if err != nil && valid {
			for _, ours := range []string{"surrogate", "UTF-8", "deep", "hexadecimal"} {
				if strings.Contains(err.Error(), ours) {
					return
				}
			}
			t.Fatalf("%q refused: %v", in, err)
		}
	})
}

// FuzzNDJSON: whatever the bytes are, reading ends, and rejects are told in order of their lines.
func FuzzNDJSON(f *testing.F) {
	for _, s := range []string{"{\"a\":1,\"b\":\"x\"}\n{}\n", `{"l":[{"x":1,"y":"q"},null]}`, `{"m":{"k":1}}` + "\n" + `{"m":[{"key":"a","value":2}]}`,
		"{\"a\":1}\n\n{\"a\":\"x\"}\n{\"A\":2}", `{"a":1}{`, "\xEF\xBB\xBF{}", `{"l":[[]]}`, `{"m":{"a":{}}}`} {
		f.Add([]byte(s))
	}
	point := arrow.StructOf(arrow.Field{Name: "x", Type: tInt, Nullable: true}, arrow.Field{Name: "y", Type: tStr})
	want := schemaOf("a", tInt, "b", tStr, "l", arrow.ListOf(point), "m", arrow.MapOf(tStr, tInt))
	f.Fuzz(func(t *testing.T, in []byte) {
		line := int64(0)
		o := Options{BatchRows: 3, Rejects: func(r Reject) error {
			if r.Line <= line || r.Err == nil {
				t.Fatalf("reject of line %d after %d: %v", r.Line, line, r.Err)
			}
			line = r.Line
			return nil
		}}
		src := Input{Name: "x", Format: NDJSON, Stdin: bytes.NewReader(in)}
		_, _, err := readAll(context.Background(), src, want, o)
		var at *Error
		if err != nil && !errors.As(err, &at) {
			t.Fatalf("an error without a place: %v", err)
		}
	})
}
