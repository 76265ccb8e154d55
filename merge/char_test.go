package merge

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// charEncoder encodes parts that are CHAR(n).
func charEncoder(t *testing.T, last bool) encoder {
	t.Helper()
	e, err := partType{typ: arrow.BinaryTypes.String, last: last, char: true}.encoder(&column.Leaf{Type: format.ByteArray})
	if err != nil {
		t.Fatal(err)
	}
	return e
}

// blankText is a short text of blanks, letters and bytes around them.
func blankText(r *rand.Rand) []byte {
	const letters = "   aab\x00\x01\x1f!\xff"
	v := make([]byte, r.IntN(6))
	for i := range v {
		v[i] = letters[r.IntN(len(letters))]
	}
	return v
}

// TestCharKeys: parts of a CHAR(n) are in the order of the values without the blanks at their end, and the bounds of any
// stored values, whole or cut as writers cut them, are bounds of their parts.
func TestCharKeys(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	must := func(p []byte, err error) []byte {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	for _, last := range []bool{true, false} {
		e := charEncoder(t, last)
		for range 20_000 {
			a, b := blankText(r), blankText(r)
			want := strings.Compare(strings.TrimRight(string(a), " "), strings.TrimRight(string(b), " "))
			if got := bytes.Compare(must(e.put(nil, a)), must(e.put(nil, b))); got != want {
				t.Fatalf("last %v: %q to %q is %d, want %d", last, a, b, got, want)
			}
			stored := [][]byte{a, b, blankText(r), blankText(r)}
			lo, hi := slices.MinFunc(stored, bytes.Compare), slices.MaxFunc(stored, bytes.Compare)
			lo = lo[:len(lo)-r.IntN(len(lo)+1)]
			if n := r.IntN(len(hi) + 1); n > 0 && n < len(hi) && hi[n-1] < 0xFF {
				hi = bytes.Clone(hi[:n])
				hi[n-1]++
			}
			min, max, err := e.bounds(lo, hi)
			if err != nil {
				t.Fatal(err)
			}
			for _, v := range stored {
				if part := must(e.put(nil, v)); bytes.Compare(part, min) < 0 || bytes.Compare(part, max) > 0 {
					t.Fatalf("last %v: %q stored within %q and %q has part %q, not within %q and %q", last, v, lo, hi, part, min, max)
				}
			}
		}
	}
}

// TestCharBounds: bounds rule out what they can.
func TestCharBounds(t *testing.T) {
	e := charEncoder(t, true)
	for _, c := range []struct{ lo, hi, min, max string }{
		{"b", "c", "b", "c"},
		{"b  ", "c  ", "b", "c  "},
		{"b\x01", "c", "b", "c"}, // "b " may be between
		{"b  \x01x", "c", "b", "c"},
		{"b c\x1fx", "c", "b c", "c"},
		{"\x00", "", "", ""},
	} {
		min, max, err := e.bounds([]byte(c.lo), []byte(c.hi))
		if err != nil || string(min) != c.min || string(max) != c.max {
			t.Errorf("%q to %q became %q to %q (%v), want %q to %q", c.lo, c.hi, min, max, err, c.min, c.max)
		}
	}
}
