package splice

import (
	"bytes"
	"math"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

func TestTruncatedBounds(t *testing.T) {
	text := &column.Leaf{Type: format.ByteArray, Annotation: column.Annotation{Kind: column.String}}
	raw := &column.Leaf{Type: format.ByteArray}
	decimal := &column.Leaf{Type: format.ByteArray, Annotation: column.Annotation{Kind: column.Decimal}}
	long := strings.Repeat("a", 63)
	for _, c := range []struct {
		name     string
		leaf     *column.Leaf
		value    string
		min, max string
		whole    bool // the upper bound is
	}{
		{"short", text, "abc", "abc", "abc", true},
		{"just fits", text, long + "b", long + "b", long + "b", true},
		{"long text", text, long + "bc", long + "b", long + "c", false},
		{"cut inside a character", text, long + "\u00e9x", long, strings.Repeat("a", 62) + "b", false},
		{"before the surrogates", text, strings.Repeat("a", 61) + "\ud7ffx", strings.Repeat("a", 61) + "\ud7ff", strings.Repeat("a", 61) + "\ue000", false},
		{"last character", text, strings.Repeat("a", 60) + "\U0010ffffx", strings.Repeat("a", 60) + "\U0010ffff", strings.Repeat("a", 59) + "b", false},
		{"invalid text", text, long + "\xffx", long + "\xff", strings.Repeat("a", 62) + "b", false},
		{"bytes", raw, long + "\xffx", long + "\xff", strings.Repeat("a", 62) + "b", false},
		{"nothing greater", raw, strings.Repeat("\xff", 70), strings.Repeat("\xff", 64), strings.Repeat("\xff", 70), true},
		{"a number", decimal, strings.Repeat("\x01", 70), strings.Repeat("\x01", 70), strings.Repeat("\x01", 70), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			low, lowExact := truncateMin(c.leaf, []byte(c.value))
			high, highExact := truncateMax(c.leaf, []byte(c.value))
			if string(low) != c.min || lowExact != (c.min == c.value) {
				t.Errorf("lower bound %q exact %t, want %q", low, lowExact, c.min)
			}
			if string(high) != c.max || highExact != c.whole {
				t.Errorf("upper bound %q exact %t, want %q", high, highExact, c.max)
			}
		})
	}
}

func TestTruncatedBoundsHold(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	leaf := &column.Leaf{Type: format.ByteArray, Annotation: column.Annotation{Kind: column.String}}
	alphabet := []rune("az\u007f\u0080\u07ff\u0800\ud7ff\ue000\uffff\U00010000\U0010ffff")
	for range 20000 {
		var value []byte
		for range r.IntN(90) {
			value = utf8.AppendRune(value, alphabet[r.IntN(len(alphabet))])
		}
		low, _ := truncateMin(leaf, value)
		high, _ := truncateMax(leaf, value)
		if bytes.Compare(low, value) > 0 || bytes.Compare(high, value) < 0 {
			t.Fatalf("%q is not within %q and %q", value, low, high)
		}
		if !utf8.Valid(low) {
			t.Fatalf("lower bound %q is no text", low)
		}
	}
}

func TestFloatBounds(t *testing.T) {
	negative := math.Copysign(0, -1)
	for _, leaf := range []*column.Leaf{
		{Type: format.Double, Width: 8},
		{Type: format.Float, Width: 4},
	} {
		for _, c := range []struct {
			values   []float64
			min, max float64
			none     bool
		}{
			{values: []float64{1, -2}, min: -2, max: 1},
			{values: []float64{0}, min: negative, max: 0},
			{values: []float64{negative}, min: negative, max: 0},
			{values: []float64{negative, 5}, min: negative, max: 5},
			{values: []float64{-5, negative}, min: -5, max: 0},
			{values: []float64{math.Inf(1)}, min: math.Inf(1), max: math.Inf(1)},
			{values: []float64{1, math.NaN(), 2}, none: true},
			{values: []float64{math.NaN()}, none: true},
		} {
			var values []byte
			dict := column.Vector{Width: leaf.Width}
			var indices []int32
			for i, v := range c.values {
				values = append(values, floatBytes(leaf, v)...)
				dict.Append(floatBytes(leaf, v))
				indices = append(indices, int32(i))
			}
			b := newBounder(leaf, true)
			for _, got := range []bounds{b.plain(values), b.dictionary(&dict, indices, make([]uint32, len(indices)), 1)} {
				if c.none {
					if got.min != nil || got.max != nil || !got.nan {
						t.Errorf("%s %v: bounds %x %x", leaf.Type, c.values, got.min, got.max)
					}
					continue
				}
				if !bytes.Equal(got.min, floatBytes(leaf, c.min)) || !bytes.Equal(got.max, floatBytes(leaf, c.max)) {
					t.Errorf("%s %v: bounds %x %x", leaf.Type, c.values, got.min, got.max)
				}
			}
		}
	}
}

func floatBytes(leaf *column.Leaf, v float64) []byte {
	if leaf.Width == 4 {
		return appendUint(nil, uint64(math.Float32bits(float32(v))), 4)
	}
	return appendUint(nil, math.Float64bits(v), 8)
}

// appendUint appends the lowest bytes of v, the lowest first.
func appendUint(dst []byte, v uint64, width int) []byte {
	for range width {
		dst = append(dst, byte(v))
		v >>= 8
	}
	return dst
}

// TestBoundsOfTakenPages: what an index says of a float's page may be no value of it (parquet-go writes such), so a chunk of pages
// that are taken over does not say that its bounds are.
func TestBoundsOfTakenPages(t *testing.T) {
	for _, kind := range sampleTypes {
		node := sampleNode(kind, optionalLeaf)
		schema := newSchema(node)
		leaf := schema.Leaves[0]
		c := sampler{rand.New(rand.NewPCG(1, 2)), 90, 0.2}.column(kind, node, 400)
		f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, ChunkOptions{PageRows: 100}, rand.New(rand.NewPCG(1, 2)), c)))
		pages, err := f.StoredPages(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if len(pages) == 0 {
			continue // without an order there is no index
		}
		e := NewChunkEncoder(leaf, ChunkOptions{})
		if err := e.AppendStored(f, pages); err != nil {
			t.Fatal(err)
		}
		chunk, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		st := chunk.statistics(true)
		float := column.IsNaN(leaf) != nil
		if float && (st.bool(7, false) || st.bool(8, false)) {
			t.Errorf("%s: bounds are said to be values", kind.name)
		}
		if kind.name == "int32" && !(st.bool(7, false) && st.bool(8, false)) {
			t.Errorf("%s: bounds are not said to be values", kind.name)
		}
	}
}
