package shred

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

// TestLength: characters count, not bytes, and blanks at the end of a char do not.
func TestLength(t *testing.T) {
	for _, c := range []struct {
		length Length
		text   string
		fits   bool
	}{
		{Length{Char: true, Max: 3}, "abc", true},
		{Length{Char: true, Max: 3}, "abc   ", true},
		{Length{Char: true, Max: 3}, "abcd", false},
		{Length{Char: true, Max: 3}, "ab d", false},
		{Length{Char: true, Max: 3}, "    ", true},
		{Length{Char: true, Max: 3}, "abc\t", false},
		{Length{Max: 3}, "abc", true},
		{Length{Max: 3}, "abc ", false},
		{Length{Max: 3}, "한국어", true},
		{Length{Max: 3}, "한국어!", false},
		{Length{Max: 1}, "", true},
	} {
		err := c.length.Check(c.text)
		if (err == nil) != c.fits || err != nil && !errors.Is(err, ErrLossy) {
			t.Errorf("%q as %s: %v", c.text, c.length, err)
		}
	}
	if text := (Length{Max: 5}).Check(strings.Repeat("ab", 5000)).Error(); len(text) > 120 || !strings.Contains(text, "... of 10000 characters as varchar(5)") {
		t.Error(text)
	}
}

// TestLengthOf: a field keeps its length beside its other metadata.
func TestLengthOf(t *testing.T) {
	f := arrow.Field{Name: "x", Type: arrow.BinaryTypes.String, Metadata: arrow.NewMetadata([]string{MetaKind}, []string{"JSON"})}
	if _, ok := LengthOf(f); ok {
		t.Error("a length nobody declared")
	}
	for _, want := range []Length{{Char: true, Max: 7}, {Max: 65535}} {
		got := want.On(f)
		if length, ok := LengthOf(got); !ok || length != want {
			t.Errorf("%s became %s", want, length)
		}
		if kind, _ := got.Metadata.GetValue(MetaKind); kind != "JSON" {
			t.Error(got.Metadata)
		}
	}
}
