package metastore

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"
)

// The metastore's own names are ours, whatever the values are.
func TestNamesAreTheMetastores(t *testing.T) {
	each(t, func(t *testing.T, s service) {
		table := s.create(t, func(n *NewTable) { n.PartitionBy = []Column{{Name: "k", Type: "string"}, {Name: "v", Type: "string"}} })
		values := []string{"05", "5", "한글", "a b", "ü", "%", "%41", "%2F", "100%", "a/b", "..", "=", "x=y/z=1", "~", "😀", DefaultValue}
		for c := rune(1); c < 0x80; c++ {
			values = append(values, "<"+string(c)+">")
		}
		locations := make(map[string]string)
		var want []string
		for i, v := range values {
			name, err := table.NameOf([]string{fmt.Sprint(i), v})
			if err != nil {
				t.Fatal(err)
			}
			want = append(want, name)
			locations[name] = fmt.Sprintf("%s/p%d", s.location, i)
		}
		if err := s.AddPartitions(t.Context(), table, locations); err != nil {
			t.Fatal(err)
		}
		have, err := s.PartitionNames(t.Context(), s.database, table.Name)
		if err != nil {
			t.Fatal(err)
		}
		slices.Sort(want)
		if !slices.Equal(have, want) {
			t.Errorf("registered as\n%q\nand not\n%q", have, want)
		}
		list, err := s.AllPartitions(t.Context(), table)
		if err != nil || len(list) != len(values) {
			t.Fatalf("%d of %d partitions: %v", len(list), len(values), err)
		}
		for _, p := range list {
			if p.Location != locations[p.Name] {
				t.Errorf("%s is at %s", p.Name, p.Location)
			}
			if values, err := table.ValuesOf(p.Name); err != nil || !slices.Equal(values, p.Values) {
				t.Errorf("%s is %q, and not %q: %v", p.Name, p.Values, values, err)
			}
		}
	})
}

func TestBadNames(t *testing.T) {
	table := &Table{Database: "d", Name: "t", PartitionBy: []Column{{Name: "dt"}, {Name: "hr"}}}
	for _, name := range []string{"", "dt=1", "hr=1/dt=1", "dt=1/hr", "dt=1/hr=2/x=3", "dt/hr=1"} {
		if values, err := table.ValuesOf(name); err == nil {
			t.Errorf("%s is %q", name, values)
		}
	}
	if _, err := table.NameOf([]string{"1"}); err == nil {
		t.Error("a name of too few values")
	}
}

func FuzzNames(f *testing.F) {
	for _, seed := range [][2]string{{"a/b=c", "%41"}, {"", "\x00\x7f{}[]^"}, {"한글", "%2"}, {"__HIVE_DEFAULT_PARTITION__", "a\nb"}} {
		f.Add(seed[0], seed[1])
	}
	table := &Table{PartitionBy: []Column{{Name: "DT"}, {Name: "h r%"}}}
	f.Fuzz(func(t *testing.T, a, b string) {
		if !utf8.ValidString(a) || !utf8.ValidString(b) {
			return
		}
		name, err := table.NameOf([]string{a, b})
		if err != nil {
			t.Fatal(err)
		}
		values, err := table.ValuesOf(name)
		if err != nil {
			t.Fatalf("%q: %v", name, err)
		}
		for i, v := range []string{a, b} {
			if v == "" {
				v = DefaultValue
			}
			if values[i] != v {
				t.Fatalf("%q of %q is %q", name, v, values[i])
			}
		}
		if strings.Count(name, "/") != 1 || strings.Count(name, "=") != 2 {
			t.Fatalf("%q", name)
		}
		UnescapeName(a) // of anything
	})
}
