package source

import (
	"bufio"
	"bytes"
	"context"
	"encoding/csv"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/iotest"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"pgregory.net/rapid"

	"github.com/hupsert/hupsert/merge/shred"
)

var (
	tInt  = arrow.PrimitiveTypes.Int32
	tStr  = arrow.BinaryTypes.String
	tBool = arrow.FixedWidthTypes.Boolean
	tF64  = arrow.PrimitiveTypes.Float64
	tBin  = arrow.BinaryTypes.Binary
	tDate = arrow.FixedWidthTypes.Date32
	tUTC  = &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	tDec  = &arrow.Decimal128Type{Precision: 9, Scale: 2}
)

func TestCSV(t *testing.T) {
	ab := schemaOf("a", tInt, "b", tStr)
	cases := []textCase{
		{name: "types", in: "i,s,b,f,x,d,t,m\n1,x,true,NaN,YQ==,2024-01-02,2024-01-02T03:04:05Z,1.5\n",
			want:    schemaOf("i", tInt, "s", tStr, "b", tBool, "f", tF64, "x", tBin, "d", tDate, "t", tUTC, "m", tDec),
			columns: "i int32, s utf8, b bool, f float64, x binary, d date32, t timestamp[us, tz=UTC], m decimal(9, 2)",
			rows:    []string{`x.csv:2 i=1 s="x" b=true f="NaN" x="YQ==" d="2024-01-02" t="2024-01-02 03:04:05Z" m="1.5"`}},
		{name: "null and empty", in: "a,b\n,\"\"\n1,\n", want: ab, columns: "a int32, b utf8",
			rows: []string{`x.csv:2 a=null b=""`, `x.csv:3 a=1 b=null`}},
		{name: "order of the header, case of names", in: "B,A\nx,1\n", want: ab, columns: "B utf8, A int32",
			rows: []string{`x.csv:2 B="x" A=1`}},
		{name: "column that the table lacks", in: "a,new\n1,x\n", want: ab, columns: "a int32, new utf8",
			rows: []string{`x.csv:2 a=1 new="x"`}},
		{name: "columns chosen", in: "a,new,b\n1,x,y\n", want: ab, o: Options{Columns: []string{"B", "absent"}}, columns: "b utf8",
			rows: []string{`x.csv:2 b="y"`}},
		{name: "quotes", in: "a,b\n1,\"x, \"\"y\"\"\"\n\"2\",z\n", want: ab, columns: "a int32, b utf8",
			rows: []string{`x.csv:2 a=1 b="x, \"y\""`, `x.csv:3 a=2 b="z"`}},
		{name: "lines inside quotes are counted", in: "a,b\n1,\"x\r\ny\n\n\"\n2,z\n", want: ab, columns: "a int32, b utf8",
			rows: []string{`x.csv:2 a=1 b="x\r\ny\n\n"`, `x.csv:6 a=2 b="z"`}},
		{name: "byte order mark, carriage returns, blank lines, no end", in: "\xEF\xBB\xBFa,b\r\n\r\n1,x\r\n\n2,y", want: ab, columns: "a int32, b utf8",
			rows: []string{`x.csv:3 a=1 b="x"`, `x.csv:5 a=2 b="y"`}},
		{name: "header only", in: "a,b\n", want: ab, columns: "a int32, b utf8"},
		{name: "spaces are kept", in: "b\n x \n", want: ab, columns: "b utf8", rows: []string{`x.csv:2 b=" x "`}},
		{name: "local timestamps with the source's zone", in: "t\n2024-01-02 03:04:05\n", want: schemaOf("t", tUTC),
			o: Options{SourceTimezone: time.FixedZone("KST", 9*3600)}, columns: "t timestamp[us, tz=UTC]",
			rows: []string{`x.csv:2 t="2024-01-01 18:04:05Z"`}},

		{name: "not a number", in: "a,b\n1,x\n\n1x,y\n", want: ab, err: shred.ErrText, message: `x.csv:4: column a: text does not parse: "1x" is not a number`},
		{name: "out of range", in: "a\n3000000000\n", want: ab, err: shred.ErrLossy, message: "x.csv:2: column a: value does not fit: 3000000000"},
		{name: "empty text for a number", in: "a\n\"\"\n", want: ab, err: shred.ErrText, message: "x.csv:2: column a"},
		{name: "not UTF-8", in: "b\n\xff\n", want: ab, err: shred.ErrText, message: "x.csv:2: column b"},
		{name: "timestamp without a zone", in: "t\n2024-01-02 03:04:05\n", want: schemaOf("t", tUTC), err: shred.ErrTimezone, message: "x.csv:2: column t"},
		{name: "too few fields", in: "a,b\n1\n", want: ab, err: ErrFormat, message: "x.csv:2: malformed input: 1 field, the header has 2"},
		{name: "too many fields", in: "a,b\n1,x,\n", want: ab, err: ErrFormat, message: "x.csv:2: malformed input: 3 fields"},
		{name: "quote inside", in: "a,b\n1,x\"y\n", want: ab, err: ErrFormat, message: "x.csv:2: malformed input: a quote"},
		{name: "text after a quote", in: "a,b\n1,\"x\"y\n", want: ab, err: ErrFormat, message: "x.csv:2"},
		{name: "quote not closed", in: "a,b\n1,\"x\n2,y\n", want: ab, err: ErrFormat, message: "x.csv:2: malformed input: a quote is not closed"},
		{name: "no header", in: "\n", want: ab, err: ErrFormat, message: "x.csv"},
		{name: "header without a name", in: "a,,b\n", want: ab, err: ErrColumns, message: "x.csv:1: unusable column names: column 2"},
		{name: "a name twice", in: "a,A\n", want: ab, err: ErrColumns, message: `x.csv:1: unusable column names: "a" and "A"`},
		{name: "a carriage return outside quotes", in: "b\nx\ry\n", want: ab, err: ErrFormat, message: "x.csv:2: malformed input: a carriage return"},
		{name: "a header that is not UTF-8", in: "a,\xff\n", want: ab, err: ErrColumns, message: "x.csv:1: unusable column names: column 2"},
		{name: "gzip", in: "\x1F\x8B\x08\x00", want: ab, err: ErrFormat, message: "x.csv: malformed input: gzip"},
		{name: "nested column", in: "l\n[]\n", want: schemaOf("l", arrow.ListOf(tInt)), err: ErrFormat, message: "x.csv:1: column l"},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) { c.run(t, "x.csv", CSV) })
	}
}

// TestCSVDialects: each option, with what it means for NULL, quotes and errors.
func TestCSVDialects(t *testing.T) {
	ab := schemaOf("a", tInt, "b", tStr)
	const columns = "a int32, b utf8"
	semi, pipe := CSVOptions{Delimiter: ";"}, CSVOptions{Delimiter: `\x01`}
	back := CSVOptions{Escape: `\`}
	mysql := CSVOptions{Delimiter: `\t`, Quote: "none", Escape: `\`, Null: []string{`\N`}}
	plain := func(c CSVOptions) Options { return Options{CSV: c} }
	cases := []textCase{
		{name: "delimiter", in: "a;b\n1;x,y\n2;\"p;q\"\n", o: plain(semi), rows: []string{`x.csv:2 a=1 b="x,y"`, `x.csv:3 a=2 b="p;q"`}},
		{name: "control character", in: "a\x01b\n1\x01x\n", o: plain(pipe), rows: []string{`x.csv:2 a=1 b="x"`}},
		{name: "delimiter of several bytes", in: "a||b\n1||x|y\n", o: plain(CSVOptions{Delimiter: "||"}), rows: []string{`x.csv:2 a=1 b="x|y"`}},
		{name: "delimiter beyond ASCII", in: "a¦b\n1¦x\n", o: plain(CSVOptions{Delimiter: "¦"}), rows: []string{`x.csv:2 a=1 b="x"`}},
		{name: "quote", in: "a,b\n1,'x, \"y'' z'\n2,\"\n", o: plain(CSVOptions{Quote: "'"}), rows: []string{`x.csv:2 a=1 b="x, \"y' z"`, `x.csv:3 a=2 b="\""`}},
		{name: "no quotes", in: "a,b\n1,\"x\n2,y\"z\n", o: plain(CSVOptions{Quote: "none"}), rows: []string{`x.csv:2 a=1 b="\"x"`, `x.csv:3 a=2 b="y\"z"`}},
		{name: "escape", in: "a,b\n1,\"x\\\"y \\\\ \"\"z\"\n2,p\\,q\\\\r\n3,\"k\\\nl\"\n4,m\\\nn\n", o: plain(back),
			rows: []string{`x.csv:2 a=1 b="x\"y \\ \"z"`, `x.csv:3 a=2 b="p,q\\r"`, `x.csv:4 a=3 b="k\nl"`, `x.csv:6 a=4 b="m\nn"`}},
		{name: "escape without quotes, as MySQL writes", in: "a\tb\n1\tx\\\ty\n\\N\t\n3\t\\\\N\n4\tl\\\nm\n", o: plain(mysql),
			rows: []string{`x.csv:2 a=1 b="x\ty"`, `x.csv:3 a=null b=""`, `x.csv:4 a=3 b="\\N"`, `x.csv:5 a=4 b="l\nm"`}},
		{name: "a quote that escapes itself", in: "a,b\n1,\"x\"\"y\"\n", o: plain(CSVOptions{Escape: `"`}), rows: []string{`x.csv:2 a=1 b="x\"y"`}},
		{name: "null", in: "a,b\nNA,NA\n1,\n2,\"NA\"\n3,na\n", o: plain(CSVOptions{Null: []string{"NA"}}),
			rows: []string{`x.csv:2 a=null b=null`, `x.csv:3 a=1 b=""`, `x.csv:4 a=2 b="NA"`, `x.csv:5 a=3 b="na"`}},
		{name: "several nulls, the empty field among them", in: "a,b\nNA,\n1,-\n", o: plain(CSVOptions{Null: []string{"NA", "", "-"}}),
			rows: []string{`x.csv:2 a=null b=null`, `x.csv:3 a=1 b=null`}},
		{name: "null in quotes", in: "a,b\n\"\",\"\"\n\"1\",\"x\"\n", o: plain(CSVOptions{QuotedNull: true}),
			rows: []string{`x.csv:2 a=null b=null`, `x.csv:3 a=1 b="x"`}},
		{name: "no header", in: "1,x\n2,y\n", o: plain(CSVOptions{NoHeader: true, Columns: []string{"a", "b"}}),
			rows: []string{`x.csv:1 a=1 b="x"`, `x.csv:2 a=2 b="y"`}},
		{name: "no header and nothing else", in: "", o: plain(CSVOptions{NoHeader: true, Columns: []string{"a", "b"}})},
		{name: "comments", in: "# made by hand\na,b\n#1,x\n2,\"\n#y\"\n", o: plain(CSVOptions{Comment: "#"}), rows: []string{`x.csv:4 a=2 b="\n#y"`}},
		{name: "latin1", in: "a,b\n1,\xe9\x80\n", o: plain(CSVOptions{Encoding: "latin1"}), rows: []string{"x.csv:2 a=1 b=\"é\xc2\x80\""}},
		{name: "windows-1252", in: "a,b\n1,\xe9\x80\x99\n", o: plain(CSVOptions{Encoding: "Windows-1252"}), rows: []string{`x.csv:2 a=1 b="é€™"`}},
		{name: "utf-16 by its mark", in: "\xFF\xFEa\x00,\x00b\x00\r\x00\n\x001\x00,\x00\xe9\x00\x3d\xd8\x00\xde\n\x00", rows: []string{`x.csv:2 a=1 b="é😀"`}},
		{name: "utf-16, big-endian", in: "\xFE\xFF\x00a\x00,\x00b\x00\n\x001\x00,\x00x", o: plain(CSVOptions{Encoding: "utf-16"}), rows: []string{`x.csv:2 a=1 b="x"`}},
		{name: "utf-16 without a mark, named", in: "a\x00,\x00b\x00\n\x001\x00,\x00x\x00", o: plain(CSVOptions{Encoding: "utf-16le"}), rows: []string{`x.csv:2 a=1 b="x"`}},
		{name: "utf-8 with a mark", in: "\xEF\xBB\xBFa,b\n1,x\n", o: plain(CSVOptions{Encoding: "utf-8-bom"}), rows: []string{`x.csv:2 a=1 b="x"`}},

		{name: "not the delimiter", in: "a;b\n1,x\n", o: plain(semi), err: ErrFormat, message: "x.csv:2: malformed input: 1 field, the header has 2"},
		{name: "rows longer than the columns named", in: "1,x,y\n", o: plain(CSVOptions{NoHeader: true, Columns: []string{"a", "b"}}), err: ErrFormat,
			message: "x.csv:1: malformed input: 3 fields, 2 columns are named"},
		{name: "escape of a letter", in: "a,b\n1,x\\ny\n", o: plain(back), err: ErrFormat, message: "x.csv:2: malformed input: an escape before"},
		{name: "escape of a letter in quotes", in: "a,b\n1,\"x\\ny\"\n", o: plain(back), err: ErrFormat, message: "x.csv:2: malformed input: an escape before"},
		{name: "escape of null behind text", in: "a\tb\n1\tx\\\t\\N\n", o: plain(mysql), err: ErrFormat, message: "x.csv:2: malformed input: an escape before"},
		{name: "escape at the end", in: "a,b\n1,x\\", o: plain(back), err: ErrFormat, message: "x.csv:2: malformed input: an escape before"},
		{name: "escaped line end at the end", in: "a,b\n1,x\\\n", o: plain(back), err: ErrFormat, message: "x.csv"},
		{name: "empty number where the empty field is no null", in: "a,b\n,x\n", o: plain(CSVOptions{Null: []string{"NA"}}), err: shred.ErrText, message: "x.csv:2: column a"},
		{name: "no windows-1252", in: "a,b\n1,x\n2,\x81\n", o: plain(CSVOptions{Encoding: "windows-1252"}), err: shred.ErrText, message: "x.csv:3: column b: text does not parse: \"\\xff\" is not WINDOWS-1252"},
		{name: "a header of one column", in: "a;b\n1;x\n", err: ErrColumns, message: `x.csv:1: unusable column names: the header line is one column, "a;b"`},
		{name: "half a pair of utf-16", in: "\xFF\xFEa\x00\n\x00\x3d\xd8\n\x00", want: schemaOf("a", tStr), err: shred.ErrText, message: "x.csv:2: column a"},
		{name: "half a unit of utf-16", in: "\xFF\xFEa\x00\n\x00x", want: schemaOf("a", tStr), err: shred.ErrText, message: "x.csv:2: column a"},
		{name: "utf-16 without a mark", in: "a\x00", o: plain(CSVOptions{Encoding: "utf-16"}), err: ErrFormat, message: "x.csv: malformed input: UTF-16 without"},
		{name: "utf-32", in: "\xFF\xFE\x00\x00", err: ErrFormat, message: "x.csv: malformed input: the text is UTF-32"},
		{name: "a mark that says otherwise", in: "\xEF\xBB\xBFa\n", o: plain(CSVOptions{Encoding: "latin1"}), err: ErrFormat, message: "x.csv: malformed input: a byte order mark"},
	}
	for _, c := range cases {
		if c.want == nil {
			c.want = ab
		}
		if c.columns == "" {
			c.columns = columns
		}
		t.Run(c.name, func(t *testing.T) { c.run(t, "x.csv", CSV) })
	}
	_, err := Open(context.Background(), inputOf(t, "x.csv", CSV, []byte("a;b\n1;x\n")), ab, Options{})
	var at *Error
	if !errors.As(err, &at) || !strings.Contains(at.Hint, "--csv-delimiter ';'") {
		t.Errorf("hint of %v", err)
	}
	tsv := textCase{in: "a\tb\n1\tx,y\n", want: ab, columns: columns, rows: []string{`x.tsv.gz:2 a=1 b="x,y"`}}
	tsv.run(t, "x.tsv.gz", CSV)
}

func TestCSVOptionsValidate(t *testing.T) {
	for _, o := range []CSVOptions{{}, {Delimiter: "|", Quote: "'", Escape: `\`, Comment: "#", Encoding: "cp1252"}, {Quote: "none"}, {Delimiter: `\t`},
		{NoHeader: true, Columns: []string{"a"}}, {Null: []string{""}}, {Escape: `"`}, {Delimiter: `\\`}} {
		if err := o.Validate(); err != nil {
			t.Errorf("%+v: %v", o, err)
		}
	}
	if !(CSVOptions{}).Zero() || (CSVOptions{Null: []string{""}}).Zero() {
		t.Error("Zero")
	}
	for want, o := range map[string]CSVOptions{
		"csv-delimiter \"abcde\"":  {Delimiter: "abcde"},
		"csv-delimiter \"\\n\"":    {Delimiter: "\n"},
		`csv-delimiter "\\q"`:      {Delimiter: `\q`},
		"csv-quote \"ab\"":         {Quote: "ab"},
		"csv-quote \"ä\"":          {Quote: "ä"},
		"csv-escape \"\\n\"":       {Escape: "\n"},
		"must differ":              {Delimiter: `"`},
		"csv-header=false needs":   {NoHeader: true},
		"goes with":                {Columns: []string{"a"}},
		"column 2 has no name":     {NoHeader: true, Columns: []string{"a", ""}},
		"csv-encoding \"ebcdic\"":  {Encoding: "ebcdic"},
		"csv-null":                 {Null: []string{"a\nb"}},
		"csv-comment":              {Comment: "\n"},
		"csv-quote, csv-escape an": {Quote: "'", Comment: "'"},
	} {
		if err := o.Validate(); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %s", o, err, want)
		}
	}
}

// TestCharsetsInSmallReads: characters that do not fit a read are not lost.
func TestCharsetsInSmallReads(t *testing.T) {
	for c, in := range map[charset]string{latin1: "\xe9\xe8x", windows1252: "\x80\xe9x", utf16Little: "\xe9\x00\x3d\xd8\x00\xdex\x00", utf16Big: "\x00\xe9\xd8\x3d\xde\x00\x00x"} {
		want, err := io.ReadAll(c.decode(bufio.NewReader(strings.NewReader(in))))
		if err != nil || len(want) < 5 || !utf8.Valid(want) {
			t.Fatalf("%s: %q, %v", c, want, err)
		}
		got, err := io.ReadAll(iotest.OneByteReader(c.decode(bufio.NewReader(iotest.OneByteReader(strings.NewReader(in))))))
		if err != nil || string(got) != string(want) {
			t.Errorf("%s: %q, want %q; %v", c, got, want, err)
		}
		broken := errors.New("broken")
		if _, err := io.ReadAll(c.decode(bufio.NewReader(io.MultiReader(strings.NewReader(in), iotest.ErrReader(broken))))); !errors.Is(err, broken) {
			t.Errorf("%s: %v", c, err)
		}
	}
}

// TestCSVLongLinesDecoded: a line of any length in a charset whose characters take several bytes.
func TestCSVLongLinesDecoded(t *testing.T) {
	long := strings.Repeat("\xe9", 3<<19)
	in := "a,b\n1,x" + long + "\n2,xy" + long + "\n3,xyz" + long + "\n"
	_, rows, err := readAll(context.Background(), inputOf(t, "x.csv", CSV, []byte(in)), nil, Options{CSV: CSVOptions{Encoding: "latin1"}})
	if err != nil || len(rows) != 3 || len(rows[2]) < 3<<20 {
		t.Errorf("%d rows, %v", len(rows), err)
	}
}

func TestCSVRejects(t *testing.T) {
	const in = "a,b\n1,x\nbad,y\n2,\"z\"q\n3\n4,\"m\nn\"\n5,\xff\n6,w\n"
	var got []string
	o := Options{BatchRows: 2, Rejects: func(r Reject) error {
		got = append(got, strings.Join([]string{place(r.Name, r.Line, 0), r.Column, r.Text}, "|"))
		if r.Err == nil {
			t.Error("a reject without a reason")
		}
		return nil
	}}
	_, rows, err := readAll(context.Background(), inputOf(t, "x.csv", CSV, []byte(in)), schemaOf("a", tInt, "b", tStr), o)
	if err != nil {
		t.Fatal(err)
	}
	wantRows := []string{`x.csv:2 a=1 b="x"`, `x.csv:6 a=4 b="m\nn"`, `x.csv:9 a=6 b="w"`}
	if strings.Join(rows, "\n") != strings.Join(wantRows, "\n") {
		t.Errorf("rows %q, want %q", rows, wantRows)
	}
	wantRejects := []string{"x.csv:3|a|bad,y", "x.csv:4||2,\"z\"q", "x.csv:5||3", "x.csv:8|b|5,\xff"}
	if strings.Join(got, "\n") != strings.Join(wantRejects, "\n") {
		t.Errorf("rejects %q, want %q", got, wantRejects)
	}
	enough := errors.New("enough")
	o.Rejects = func(Reject) error { return enough }
	if _, _, err := readAll(context.Background(), inputOf(t, "x.csv", CSV, []byte(in)), schemaOf("a", tInt), o); !errors.Is(err, enough) {
		t.Errorf("the callback's error: %v", err)
	}
}

func TestCSVLongLines(t *testing.T) {
	long := strings.Repeat("x", 3<<20)
	in := "a,b\n" + long + ",1\n2,\"" + long + "\n\"\n"
	_, rows, err := readAll(context.Background(), inputOf(t, "x.csv", CSV, []byte(in)), nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 2 || len(rows[0]) < len(long) || !strings.HasPrefix(rows[1], "x.csv:3 ") {
		t.Errorf("%d rows", len(rows))
	}
}

// TestCSVAgainstStandardLibrary: what encoding/csv writes comes back.
func TestCSVAgainstStandardLibrary(t *testing.T) {
	field := rapid.StringOfN(rapid.SampledFrom([]rune("ab,\"\n\r ä'")), 0, 6, -1)
	rapid.Check(t, func(t *rapid.T) {
		width := rapid.IntRange(1, 4).Draw(t, "width")
		rows := rapid.SliceOfN(rapid.SliceOfN(field, width, width), 0, 6).Draw(t, "rows")
		var buf bytes.Buffer
		w := csv.NewWriter(&buf)
		_ = w.Write([]string{"a", "b", "c", "d"}[:width])
		_ = w.WriteAll(rows)
		s := newScanner(t, buf.Bytes())
		var got [][]string
		for {
			err := s.next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, s.strings())
		}
		want := [][]string{}
		for _, r := range rows {
			if width > 1 || r[0] != "" { // a blank line
				want = append(want, r)
			}
		}
		if len(got)-1 != len(want) {
			t.Fatalf("%d rows of %q, want %d", len(got)-1, buf.String(), len(want))
		}
		for i, r := range want {
			for j, v := range r {
				if got[i+1][j] != v {
					t.Fatalf("row %d: %q, want %q", i, got[i+1], r)
				}
			}
		}
	})
}

type fatal interface{ Fatal(...any) }

func newScanner(t fatal, in []byte) *csvScanner {
	lines, err := openLines(&input{Input: Input{Stdin: bytes.NewReader(in)}}, "")
	if err != nil {
		t.Fatal(err)
	}
	d, err := CSVOptions{}.dialect("")
	if err != nil {
		t.Fatal(err)
	}
	return &csvScanner{dialect: d, lines: lines}
}

func (s *csvScanner) strings() []string {
	out := make([]string, len(s.fields))
	for i := range out {
		v, _ := s.value(i)
		out[i] = string(v)
	}
	return out
}

// FuzzCSV: whatever the bytes are, reading ends, rows have the header's columns, and lines only grow.
func FuzzCSV(f *testing.F) {
	for _, s := range []string{"a,b\n1,x\n", "a\n\"x\ny\"\n", "a,b\n\"\"\"\",\n,\"\"\n", "\xEF\xBB\xBFa\r\n1\r\n", "a\n\"", "a,a\n", "a\n1,2\n\"x\"y\n3", "\n\n", "a\n\r\r\n"} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, in []byte) {
		line := int64(0)
		o := Options{BatchRows: 3, Rejects: func(r Reject) error {
			if r.Line <= line || r.Err == nil {
				t.Fatalf("reject of line %d after %d: %v", r.Line, line, r.Err)
			}
			line = r.Line
			return nil
		}}
		src := Input{Name: "x", Format: CSV, Stdin: bytes.NewReader(in)}
		_, _, err := readAll(context.Background(), src, schemaOf("a", tInt, "b", tStr), o)
		var at *Error
		if err != nil && !errors.As(err, &at) {
			t.Fatalf("an error without a place: %v", err)
		}
	})
}
