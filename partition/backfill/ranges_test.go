package backfill

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition"
)

func texts(r Range) []string {
	var out []string
	for _, v := range r.Values {
		out = append(out, v.Value)
	}
	return out
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct{ text, want string }{
		{"dt=2026-02-27..2026-03-02", "2026-02-27 2026-02-28 2026-03-01 2026-03-02"},
		{"dt=2024-02-28..2024-03-01", "2024-02-28 2024-02-29 2024-03-01"}, // a leap year
		{"dt=2026-1-31..2026-2-1", "2026-01-31 2026-02-01"},
		{"dt=20261230..20270102", "20261230 20261231 20270101 20270102"}, // days, not integers
		{"m=2026-11..2027-02", "2026-11 2026-12 2027-01 2027-02"},
		{"h=0..3", "0 1 2 3"},
		{"h=08..11", "08 09 10 11"},
		{"h=-2..1", "-2 -1 0 1"},
		{"h=9..11", "9 10 11"},
		{"region=kr,us", "kr us"},
		{"region=kr, kr ,us", "kr us"},
		{"region=a%2Fb,c%2Cd", "a/b c,d"},
		{"dt=2026-01-01,2026-02-01..2026-02-02", "2026-01-01 2026-02-01 2026-02-02"},
		{"v=a%2E%2Eb", "a..b"},
		{"n=20261399..20261401", "20261399 20261400 20261401"}, // no dates
	} {
		r, err := ParseRange(c.text)
		if err != nil || strings.Join(texts(r), " ") != c.want {
			t.Errorf("%s: %q, %v, want %q", c.text, texts(r), err, c.want)
		}
	}
	if r, err := ParseRange("region=" + partition.DefaultPartition); err != nil || !r.Values[0].Null {
		t.Errorf("NULL is %v, %v", r, err)
	}
}

func TestParseRangeRefuses(t *testing.T) {
	for text, says := range map[string]string{
		"":                          "want COL=FROM..TO",
		"2026-01-01..2026-01-02":    "want COL=FROM..TO",
		"=1..2":                     "want COL=FROM..TO",
		"dt=":                       "is empty",
		"dt=..":                     "has no beginning",
		"dt=2026-01-01..":           "has no end",
		"dt=..2026-01-01":           "has no beginning",
		"dt=2026-01-02..2026-01-01": "runs backwards",
		"h=5..4":                    "runs backwards",
		"m=2026-02..2026-01":        "runs backwards",
		"dt=2026-02-30..2026-03-01": ": 2026-02-30 is no date, but 2026-03-01 is one",
		"dt=2026-01-20..2026-02-30": ": 2026-02-30 is no date, but 2026-01-20 is one",
		"dt=2026-01-01..2026-02":    ": 2026-02 is no date, but 2026-01-01 is one",
		"dt=1..2026-01-01":          ": 1 is no date, but 2026-01-01 is one",
		"m=2026-01..2026-13":        ": 2026-13 is no month, but 2026-01 is one",
		"h=0..z":                    ": z is no integer, but 0 is one",
		"dt=2026-02-30..2026-02-31": "are not two dates",
		"region=a..c":               "are not two dates",
		"region=kr,,us":             "is no value",
		"region=a/b":                "is no value",
		"region=..%2F..":            "has no beginning",
		"h=0..99999999":             "more than",
		"h=-9223372036854775808..9223372036854775807": "more than",
		"dt=1000-01-01..9999-12-31":                   "more than",
	} {
		_, err := ParseRange(text)
		if err == nil || !strings.Contains(err.Error(), says) || !errors.Is(err, partition.ErrUsage) {
			t.Errorf("%q: %v, want a fault of usage that says %q", text, err, says)
		}
	}
}

func TestTemplate(t *testing.T) {
	values := map[string]Value{}
	for _, text := range []string{"dt=2026-02-03", "hour=7", "region=a%2Fb", "glob=x[1]*", "day=20260203", "none=" + partition.DefaultPartition} {
		r, err := ParseRange(text)
		if err != nil {
			t.Fatal(err)
		}
		values[r.Column] = r.Values[0]
	}
	columns := []string{"dt", "hour", "region", "glob", "day", "none"}
	for _, c := range []struct{ text, want, err string }{
		{"in/{dt}.csv", "in/2026-02-03.csv", ""},
		{"in/{DT:%Y%m%d}/{dt:%d}.csv", "in/20260203/03.csv", ""},
		{"in/{day:%Y-%m-%d}-{day}", "in/2026-02-03-20260203", ""},
		{"{dt:%y%j-%b%B%%}", "26034-FebFebruary%", ""},
		{"{hour}-{hour:%02d}-{hour:%d}", "7-07-7", ""},
		{"{region}.csv", "a%2Fb.csv", ""},
		{"{none}.csv", partition.DefaultPartition + ".csv", ""},
		{"in/{a,b}/{dt}/*.csv", "in/{a,b}/2026-02-03/*.csv", ""},
		{"{glob}", "x[1]*", ""},
		{"{glob}/*", `x\[1\]\*/*`, ""},
		{"{date}", "", "no range of {date}"},
		{"{dt", "", "not closed"},
		{"{dt:}", "", "has no format"},
		{"{dt:%Q}", "", "%Q is not known"},
		{"{dt:%}", "", "stands at its end"},
		{"{region:%Y}", "", "no date and no integer"},
		{"{hour:%x}", "", "for an integer"},
	} {
		tmpl, err := ParseTemplate(c.text, columns)
		got := ""
		if err == nil {
			got, err = tmpl.Expand(values)
		}
		if got != c.want || (err == nil) != (c.err == "") || err != nil && !strings.Contains(err.Error(), c.err) {
			t.Errorf("%s: %q, %v, want %q, %q", c.text, got, err, c.want, c.err)
		}
	}
}

func TestCover(t *testing.T) {
	for _, c := range []struct{ partitions, ranges, each string }{
		{"dt=2026-01-01 dt=2026-01-02", "dt=2026-01-01,2026-01-02", ""},
		{"dt=2026-01-30 dt=2026-01-31 dt=2026-02-01 dt=2026-02-04", "dt=2026-01-30..2026-02-01,2026-02-04", ""},
		{"h=8 h=9 h=10 h=12", "h=8..10,12", ""},
		{"r=a/h=1 r=a/h=2 r=b/h=1 r=b/h=2", "r=a,b h=1,2", ""},
		{"r=a/h=1 r=b/h=2", "", "r=a,h=1 r=b,h=2"},
		{"r=a%2Cb r=a..b", "r=a%2Cb,a%2E%2Eb", ""},
	} {
		var list []partition.Spec
		for _, p := range strings.Fields(c.partitions) {
			spec, err := partition.ParsePath(p)
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, spec)
		}
		ranges, each := Cover(list)
		if strings.Join(ranges, " ") != c.ranges || strings.Join(each, " ") != c.each {
			t.Errorf("%s: %q %q, want %q %q", c.partitions, ranges, each, c.ranges, c.each)
		}
	}
}

// FuzzRange: whatever is read as a range has values, each once, and its values written as a range are the same values.
func FuzzRange(f *testing.F) {
	for _, text := range []string{"dt=2026-01-01..2026-01-09", "dt=20260101..20260109", "m=2026-01..2027-01", "h=08..12", "h=-3..3", "region=kr,us", "v=a%2E%2Eb,%2C", "x=1..2,5,7..9"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		r, err := ParseRange(text)
		if err != nil {
			if !errors.Is(err, partition.ErrUsage) {
				t.Fatalf("%q: %v is no fault of usage", text, err)
			}
			return
		}
		var list []partition.Spec
		seen := map[partition.Pair]bool{}
		for i, v := range r.Values {
			if seen[v.Pair] {
				t.Fatalf("%q has %s twice", text, v.Name())
			}
			seen[v.Pair] = true
			if i < 1000 {
				v.Column = "c"
				list = append(list, partition.Spec{v.Pair})
			}
		}
		if len(list) == 0 {
			t.Fatalf("%q has no values", text)
		}
		ranges, _ := Cover(list)
		again, err := ParseRange(ranges[0])
		if err != nil || !slices.EqualFunc(again.Values, list, func(v Value, s partition.Spec) bool { return v.Pair == s[0] }) {
			t.Fatalf("%q: %q gives other values: %v", text, ranges[0], err)
		}
	})
}

// FuzzTemplate: a template without placeholders is itself; one with braces is read or refused, and never panics.
func FuzzTemplate(f *testing.F) {
	for _, text := range []string{"in/{dt}/*.parquet", "{dt:%Y%m%d}", "{a,b}/{dt}", "{", "{dt:%", "{{dt}}"} {
		f.Add(text)
	}
	day, err := ParseRange("dt=2026-01-01")
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		tmpl, err := ParseTemplate(text, []string{"dt"})
		if err != nil {
			return
		}
		got, err := tmpl.Expand(map[string]Value{"dt": day.Values[0]})
		if err == nil && !tmpl.Names("dt") && got != text {
			t.Fatalf("%q became %q", text, got)
		}
	})
}
