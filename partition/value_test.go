package partition

import (
	"errors"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

func TestCanonical(t *testing.T) {
	for _, c := range []struct{ typ, text, want string }{
		{"string", "05", "05"},
		{"int", "05", "5"},
		{"int", "-0", "0"},
		{"int", "+7", "7"},
		{"tinyint", "128", "!"},
		{"int", "5.0", "!"},
		{"bigint", "9223372036854775807", "9223372036854775807"},
		{"bigint", "9223372036854775808", "!"},
		{"ubigint", "18446744073709551615", "18446744073709551615"},
		{"utinyint", "-1", "!"},
		{"date", "2026-11-20", "2026-11-20"},
		{"date", "2026-1-5", "2026-01-05"},
		{"date", "2026-02-30", "!"},
		{"date", "20261120", "!"},
		{"boolean", "TRUE", "true"},
		{"boolean", "1", "!"},
		{"timestamp", "2026-11-20 10:30:00", "2026-11-20 10:30:00"},
		{"timestamp", "2026-11-20T10:30:00.500Z", "2026-11-20 10:30:00.5"},
		{"timestamp", "2026-11-20", "2026-11-20 00:00:00"},
		{"timestamp", "10:30", "!"},
		{"decimal(5,2)", "1.50", "1.5"},
		{"decimal(5,2)", "001.00", "1"},
		{"decimal(5,2)", "-.5", "-0.5"},
		{"decimal(5,2)", "-0.00", "0"},
		{"decimal(5,2)", "1.505", "!"},
		{"decimal(5,2)", "1000", "!"},
		{"decimal(5,2)", ".", "!"},
		{"decimal(5,2)", "1e2", "!"},
		{"decimal(38,0)", "99999999999999999999999999999999999999", "99999999999999999999999999999999999999"},
	} {
		typ, err := ParseType(c.typ)
		if err != nil {
			t.Fatal(err)
		}
		got, err := canonical(typ, c.text)
		switch {
		case c.want == "!" && err == nil:
			t.Errorf("%s %q = %q, want an error", c.typ, c.text, got)
		case c.want != "!" && (err != nil || got != c.want):
			t.Errorf("%s %q = %q, %v, want %q", c.typ, c.text, got, err, c.want)
		}
	}
}

// testLayout is a layout of directories that need not exist.
func testLayout(t *testing.T, columns []string, paths ...string) *layout {
	t.Helper()
	declared, err := ParseColumns(columns)
	if err != nil {
		t.Fatal(err)
	}
	l := &layout{exists: true, columns: declared}
	for _, p := range paths {
		spec, err := ParsePath(p)
		if err != nil {
			t.Fatal(err)
		}
		l.leaves = append(l.leaves, leaf{path: p, spec: spec})
	}
	l.index()
	return l
}

func TestFindByTypedValue(t *testing.T) {
	for _, c := range []struct {
		name    string
		columns []string
		paths   []string
		spec    string
		want    string
		exists  bool
		err     error
	}{
		{"an existing spelling is used", []string{"m:int"}, []string{"m=05"}, "m=5", "m=05", true, nil},
		{"two spellings are ambiguous", []string{"m:int"}, []string{"m=05", "m=5"}, "m=5", "", false, ErrLayout},
		{"of a string they are two partitions", []string{"m"}, []string{"m=05", "m=5"}, "m=5", "m=5", true, nil},
		{"a new one is canonical", []string{"m:int"}, []string{"m=4"}, "m=05", "m=5", false, nil},
		{"NULL is the default partition", []string{"m:int"}, []string{"m=__HIVE_DEFAULT_PARTITION__"}, "m=", "m=__HIVE_DEFAULT_PARTITION__", true, nil},
		{"a date without zeros", []string{"dt:date"}, []string{"dt=2026-1-5"}, "dt=2026-01-05", "dt=2026-1-5", true, nil},
		{"escaping may differ", []string{"s"}, []string{"s=a b%20"}, "s=a b ", "s=a b%20", true, nil},
		{"names that are no value match nothing", []string{"m:int"}, []string{"m=x", "m=5"}, "m=5", "m=5", true, nil},
		{"the column's case is the directory's", []string{"dt"}, []string{"DT=1"}, "dt=1", "DT=1", true, nil},
		{"several columns", []string{"dt", "r:int"}, []string{"dt=1/r=01", "dt=1/r=2"}, "r=1,dt=1", "dt=1/r=01", true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			l := testLayout(t, c.columns, c.paths...)
			spec, err := ParseSpec(c.spec)
			if err != nil && c.spec[len(c.spec)-1] != ' ' {
				t.Fatal(err)
			}
			if c.spec == "s=a b " { // ParseSpec trims what users type; a row's value keeps its blanks
				spec = Spec{{Column: "s", Value: "a b "}}
			}
			if spec, err = canonicalSpec(l.columns, spec); err != nil {
				t.Fatal(err)
			}
			got, exists, err := l.find(spec)
			if !errors.Is(err, c.err) || got != c.want || exists != c.exists {
				t.Errorf("got %q, %v, %v; want %q, %v, %v", got, exists, err, c.want, c.exists, c.err)
			}
		})
	}
}

func TestRetype(t *testing.T) {
	int32s := map[string]arrow.DataType{"m": arrow.PrimitiveTypes.Int32}
	l := testLayout(t, []string{"m"}, "m=01", "m=02", "m=__HIVE_DEFAULT_PARTITION__")
	l.retype(int32s)
	if got, exists, _ := l.find(Spec{{Column: "m", Value: "1"}}); got != "m=01" || !exists {
		t.Errorf("1 of an int column goes to %q, want m=01", got)
	}
	l = testLayout(t, []string{"m"}, "m=01", "m=x")
	l.retype(int32s)
	if l.columns[0].Type.ID() != arrow.STRING {
		t.Errorf("a column with a value that is no int became %s", l.columns[0].Type)
	}
}

func TestParseColumns(t *testing.T) {
	for _, bad := range [][]string{{""}, {":int"}, {"a:float"}, {"a:array<int>"}, {"a:nonsense"}, {"a", "A"}, {".."}} {
		if _, err := ParseColumns(bad); !errors.Is(err, ErrUsage) {
			t.Errorf("ParseColumns(%q): %v, want ErrUsage", bad, err)
		}
	}
	got, err := ParseColumns([]string{"dt:date", "region", "d:decimal(5,2)"})
	if err != nil || len(got) != 3 || formatColumn(got[2]) != "d:decimal(5,2)" || formatColumn(got[1]) != "region:string" {
		t.Errorf("got %v, %v", got, err)
	}
}
