package shred

import (
	"strings"
	"testing"
)

func TestFoldName(t *testing.T) {
	names := []string{"a", "A", "k", "K", "\u212A", "s", "S", "\u017F", "stra\u00DFe", "STRASSE", "\u00E9", "\u00C9", "e", "", "id", "ID", "i\u0307d", "\xFFa", "\xFFA", "\xFEa"}
	for _, a := range names {
		for _, b := range names {
			if got, want := FoldName(a) == FoldName(b), strings.EqualFold(a, b); got != want {
				t.Errorf("%q and %q: %t, want %t", a, b, got, want)
			}
		}
	}
}
