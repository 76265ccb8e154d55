package partition

import (
	"errors"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition/metastore"
)

// hiveEscaped is FileUtils.charToEscape of Hive's master, written down a second time and in another
// form than the code has it.
const hiveEscaped = "\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\v\f\r\x0e\x0f\x10\x11\x12\x13\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f" +
	`"#%'*/:=?\{[]^` + "\x7f"

func TestEscapeEveryByte(t *testing.T) {
	const hex = "0123456789ABCDEF"
	for c := range 256 {
		text := "a" + string([]byte{byte(c)}) + "b"
		want := text
		if strings.IndexByte(hiveEscaped, byte(c)) >= 0 {
			want = "a%" + string([]byte{hex[c>>4], hex[c&15]}) + "b"
		}
		got := metastore.EscapeName(text)
		if got != want {
			t.Errorf("escape(%q) = %q, want %q", text, got, want)
		}
		if back := metastore.UnescapeName(got); back != text {
			t.Errorf("unescape(%q) = %q, want %q", got, back, text)
		}
	}
}

func TestUnescapeAsHive(t *testing.T) {
	for _, c := range []struct{ name, want, why string }{
		{"a%2Fb", "a/b", "a code"},
		{"a%2fb", "a/b", "in lower case"},
		{"100%", "100%", "no digits follow"},
		{"%2", "%2", "one digit follows"},
		{"%zz%41", "%zzA", "no hexadecimal digits"},
		{"%E9", "é", "a code is a character, not a byte"},
		{"%25%32%46", "%2F", "once, not again"},
		{"한국", "한국", "UTF-8 as it is"},
	} {
		if got := metastore.UnescapeName(c.name); got != c.want {
			t.Errorf("unescape(%q) = %q, want %q: %s", c.name, got, c.want, c.why)
		}
	}
}

func TestParseSpec(t *testing.T) {
	for _, c := range []struct {
		text string
		want string // the path; "!" and a part of the message where it is refused
	}{
		{"dt=2026-11-20", "dt=2026-11-20"},
		{"dt=2026-11-20,region=kr", "dt=2026-11-20/region=kr"},
		{"dt=2026-11-20/region=kr", "dt=2026-11-20/region=kr"},
		{" dt=1 , region=kr ", "dt=1/region=kr"},
		{"dt=", "dt=__HIVE_DEFAULT_PARTITION__"},
		{"dt=__HIVE_DEFAULT_PARTITION__", "dt=__HIVE_DEFAULT_PARTITION__"},
		{"t=10:30", "t=10%3A30"},
		{"t=10%3A30", "t=10%3A30"},
		{"a=b=c", "a=b%3Dc"},
		{"a=x..y", "a=x..y"},
		{"a=한국", "a=한국"},
		{"", "!want COL=VALUE"},
		{"dt", "!not COL=VALUE"},
		{"=5", "!no column"},
		{"dt=1,DT=2", "!stands twice"},
		{"dt=..", "!\"..\""},
		{"dt=..%2F..%2Fetc", "!\"..\""},
		{`dt=a%5C..`, "!\"..\""},
		{"../dt=1", "!not COL=VALUE"},
		{"dt=1/../../x", "!not COL=VALUE"},
	} {
		spec, err := ParseSpec(c.text)
		if want, bad := strings.CutPrefix(c.want, "!"); bad {
			if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), want) {
				t.Errorf("ParseSpec(%q): %v, want a usage error with %q", c.text, err, want)
			}
			continue
		}
		if err != nil || spec.Path() != c.want {
			t.Errorf("ParseSpec(%q) = %q, %v, want %q", c.text, spec.Path(), err, c.want)
		}
	}
}

// A spec written by String is read back by ParseSpec, and its path by ParsePath.
func FuzzSpec(f *testing.F) {
	for _, seed := range []string{"2026-11-20", "a/b", "", "__HIVE_DEFAULT_PARTITION__", "..", "100%", "%2F", "\x00\xff", "a,b", "한국"} {
		f.Add("dt", seed)
	}
	f.Add("a,b=c/d", "x")
	f.Fuzz(func(t *testing.T, column, value string) {
		if column == "" || climbs(column) || climbs(value) || value == DefaultPartition || strings.TrimSpace(column) != column ||
			strings.TrimSpace(value) != value {
			return
		}
		want := Spec{{Column: column, Value: value, Null: value == ""}}
		path := want.Path()
		if strings.Contains(path, "/") {
			t.Fatalf("%q is more than one name", path)
		}
		got, err := ParsePath(path)
		if err != nil || len(got) != 1 || got[0] != want[0] {
			t.Fatalf("ParsePath(%q) = %v, %v, want %v", path, got, err, want)
		}
		got, err = ParseSpec(want.String())
		if err != nil || len(got) != 1 || got[0] != want[0] {
			t.Fatalf("ParseSpec(%q) = %v, %v, want %v", want.String(), got, err, want)
		}
	})
}

// Whatever a directory is called, reading its name gives an error or a spec, never a panic, and what
// is read is a fixed point: written out canonically and read again it is the same.
func FuzzPath(f *testing.F) {
	for _, seed := range []string{"dt=2026-11-20/region=kr", "dt=%2E%2E", "a=%", "a=%4", "=x", "a==b", "a=b/c", "%3D=1", "a=%E9"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, path string) {
		spec, err := ParsePath(path)
		if err != nil {
			return
		}
		again, err := ParsePath(spec.Path())
		if err != nil {
			t.Fatalf("%q became %q: %v", path, spec.Path(), err)
		}
		if again.Path() != spec.Path() {
			t.Fatalf("%q became %q, then %q", path, spec.Path(), again.Path())
		}
	})
}
