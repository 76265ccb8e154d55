package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
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
