package job

import (
	"errors"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/partition"
)

func asError(err error, to **partition.Error) bool { return errors.As(err, to) }

func TestCountRange(t *testing.T) {
	for _, c := range []struct {
		text          string
		before, after int64
		want          bool
	}{
		{"-10%..+50%", 10, 9, true}, {"-10%..+50%", 10, 8, false}, {"-10%..+50%", 10, 15, true}, {"-10%..+50%", 10, 16, false}, {"-10%..+50%", 1000, 900, true}, {"-10%..+50%", 1000, 899, false},
		{"0..", 10, 9, false}, {"0..", 10, 10, true}, {"0..", 10, 1000, true}, {"..+5", 10, 15, true}, {"..+5", 10, 16, false}, {"..+5", 10, 0, true}, {"-3..10%", 100, 97, true}, {"-3..10%", 100, 96, false},
		{"-3..10%", 100, 110, true}, {"-3..10%", 100, 111, false}, {"0..0", 5, 5, true}, {"0..0", 5, 6, false}, {"-100%..", 5, 0, true}, {"-99%..", 5, 0, false}, {"0..0", 0, 100, true}, {"1%..2%", 100, 100, false},
	} {
		r, err := parseCountRange(c.text)
		if err != nil {
			t.Errorf("%s: %v", c.text, err)
		} else if got := r.holds(c.before, c.after); got != c.want {
			t.Errorf("%s of %d to %d: %v", c.text, c.before, c.after, got)
		}
	}
	for _, text := range []string{"", "..", "5", "5%", "a..b", "1.5..2", "50%..-10%", "10..-10", "NaN..", "..Inf%", "1..2..3", "5..-1%"} {
		if r, err := parseCountRange(text); err == nil {
			t.Errorf("%q is %+v", text, r)
		}
	}
}

// TestBounds: values are compared as values of the column's type, not as texts.
func TestBounds(t *testing.T) {
	seoul, err := time.LoadLocation("Asia/Seoul")
	if err != nil {
		t.Fatal(err)
	}
	text := func(s string) *string { return &s }
	for _, c := range []struct {
		typ      arrow.DataType
		values   []string
		min, max *string
		want     string // a mark for each value
		accepted []string
		among    string
	}{
		{arrow.PrimitiveTypes.Int8, []string{"-100", "9", "10"}, text("-9"), text("9"), "-+-", []string{"10", "-100"}, "+-+"},
		{arrow.PrimitiveTypes.Int16, []string{"9", "10"}, text("10"), nil, "-+", []string{"9"}, "+-"},
		{arrow.PrimitiveTypes.Int32, []string{"9", "10"}, nil, text("9"), "+-", []string{"9"}, "+-"},
		{arrow.PrimitiveTypes.Int64, []string{"-9223372036854775808", "9223372036854775807"}, text("0"), nil, "-+", []string{"9223372036854775807"}, "-+"},
		{arrow.PrimitiveTypes.Uint8, []string{"200", "9"}, text("100"), nil, "+-", []string{"200"}, "+-"},
		{arrow.PrimitiveTypes.Uint16, []string{"200", "9"}, text("100"), nil, "+-", []string{"200"}, "+-"},
		{arrow.PrimitiveTypes.Uint32, []string{"4000000000", "9"}, text("100"), nil, "+-", []string{"9"}, "-+"},
		{arrow.PrimitiveTypes.Uint64, []string{"18446744073709551615", "9"}, text("100"), nil, "+-", []string{"9"}, "-+"},
		{arrow.PrimitiveTypes.Float32, []string{"0.5", "NaN", "2"}, text("0"), text("1"), "+--", []string{"2"}, "--+"},
		{arrow.PrimitiveTypes.Float64, []string{"0.5", "NaN", "-0"}, text("0"), nil, "+-+", []string{"0.5"}, "+--"},
		{arrow.FixedWidthTypes.Boolean, []string{"true", "false"}, text("true"), nil, "+-", []string{"false"}, "-+"},
		{arrow.FixedWidthTypes.Date32, []string{"2026-11-20", "2026-11-09"}, text("2026-11-10"), nil, "+-", []string{"2026-11-09"}, "-+"},
		{arrow.FixedWidthTypes.Time64us, []string{"08:00", "20:00:00.5"}, text("19:59"), nil, "-+", []string{"08:00:00"}, "+-"},
		{&arrow.TimestampType{Unit: arrow.Microsecond}, []string{"2026-11-20 08:00", "2026-11-20 20:00"}, text("2026-11-20 12:00"), nil, "-+", []string{"2026-11-20T08:00"}, "+-"},
		{&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, []string{"2026-11-20 08:00Z", "2026-11-20 20:00Z"}, text("2026-11-20 12:00+09:00"), text("2026-11-20 17:00"), "+-", []string{"2026-11-20 17:00"}, "+-"},
		{arrow.BinaryTypes.String, []string{"10", "9", "Z", "a"}, text("9"), text("Z"), "-++-", []string{"a", "10"}, "+--+"},
		{&arrow.Decimal128Type{Precision: 20, Scale: 2}, []string{"9.5", "10", "-123456789012345678.01"}, text("-1"), text("9.50"), "+--", []string{"10.00"}, "-+-"},
		{&arrow.Decimal256Type{Precision: 60, Scale: 0}, []string{"12345678901234567890123456789012345678901234567890", "-1"}, text("0"), nil, "+-", []string{"-1"}, "-+"},
		{arrow.BinaryTypes.Binary, []string{"YQ==", "Yg=="}, text("Yg=="), nil, "-+", []string{"YQ=="}, "+-"},
	} {
		arr, err := constants(c.values, c.typ, nil)
		if err != nil {
			t.Fatalf("%s: %v", c.typ, err)
		}
		marks := func(fine func(int) bool, err error) (out string) {
			if err != nil {
				return err.Error()
			}
			for i := range arr.Len() {
				out += map[bool]string{true: "+", false: "-"}[fine(i)]
			}
			return out
		}
		if got := marks((&Between{Column: "c", Min: c.min, Max: c.max}).allows(arr, seoul)); got != c.want {
			t.Errorf("%s: %v within bounds: %s, want %s", c.typ, c.values, got, c.want)
		}
		if got := marks((&Accepted{Column: "c", Values: c.accepted}).allows(arr, seoul)); got != c.among {
			t.Errorf("%s: %v accepted: %s, want %s", c.typ, c.values, got, c.among)
		}
	}
	lists := array.NewListBuilder(memory.DefaultAllocator, arrow.PrimitiveTypes.Int32)
	lists.AppendNull()
	if _, err := (&Accepted{Values: []string{"1"}}).allows(lists.NewArray(), nil); err == nil {
		t.Error("lists are compared")
	}
	if _, err := constants([]string{"5", "x"}, arrow.PrimitiveTypes.Int32, nil); err == nil || err.Error()[:3] != `"x"` {
		t.Errorf("x as a number: %v", err)
	}
}

func TestRowsOfQuery(t *testing.T) {
	var r ExpectationReport
	if err := r.take([]byte(`[{"id":1,"a b":null,"hupsert_rows":7},` + "\n" + `{"id":2,"a b":"x","hupsert_rows":7}]` + "\n")); err != nil {
		t.Fatal(err)
	}
	r.Expectation = "sql select"
	if got := r.text(); got != `sql select: 7 rows: id=1 a b=null, id=2 a b="x", ...` {
		t.Error(got)
	}
	for _, none := range []string{"", "[]\n", "[{]"} {
		r := ExpectationReport{}
		if err := r.take([]byte(none)); err != nil || r.Rows != 0 {
			t.Errorf("%q: %+v, %v", none, r, err)
		}
	}
	if err := new(ExpectationReport).take([]byte("Error: x")); err == nil {
		t.Error("an error is taken for rows")
	}
}
