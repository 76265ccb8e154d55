package splice

import (
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

// TestBarred: what stands in the way of patching is said before anything is written, as Patch says it.
func TestBarred(t *testing.T) {
	const n = 8
	schema := newSchema(sampleNode(sampleType{name: "c", kind: format.Int64, width: 8}, optionalLeaf))
	leaf := schema.Leaves[0]
	entries := make([]byte, 8*4)
	plain := handPage{format.Plain, n, append(levelRuns(n<<1, 1), make([]byte, 8*n)...)}
	index := handPage{format.RLEDictionary, n, append(levelRuns(n<<1, 1), 2, n<<1, 1)}
	unknown := handPage{format.Encoding(12), n, plain.body}
	meta := func(footer *tValue) *tValue {
		return footer.list(4, compactStruct)[0].list(1, compactStruct)[0].field(3)
	}
	uncounted := func(f *tValue) { meta(f).remove(13) }
	unsized := func(f *tValue) {
		meta(f).remove(12)
		for _, field := range []int16{4, 5, 6, 7} {
			f.list(4, compactStruct)[0].list(1, compactStruct)[0].remove(field)
		}
	}
	for _, c := range []struct {
		name  string
		dict  []byte
		pages []handPage
		edit  func(footer *tValue)
		want  string
	}{
		{"PLAIN", nil, []handPage{plain, plain}, nil, ""},
		{"a dictionary", entries, []handPage{index, index}, nil, ""},
		{"a dictionary that was full", entries, []handPage{index, plain}, nil, ""},
		{"a dictionary, pages not counted", entries, []handPage{index, index}, uncounted, ""},
		{"PLAIN before the dictionary", entries, []handPage{plain, index}, nil, "pages of its dictionary follow others"},
		{"PLAIN before the dictionary, pages not counted", entries, []handPage{plain, index}, uncounted, "pages of its dictionary follow others"},
		{"no dictionary", nil, []handPage{index, index}, nil, "its dictionary is not found"},
		{"an encoding to come", nil, []handPage{unknown, unknown}, nil, "in the encoding"},
		{"an encoding to come between others, pages not counted", nil, []handPage{plain, unknown, plain}, uncounted, "in the encoding"},
		{"nulls not counted", nil, []handPage{plain, plain}, unsized, "how many of its values are NULL"},
	} {
		file := writeChunks(t, WriterOptions{Schema: schema}, handChunk(t, leaf, format.Snappy, slices.Clone(c.dict), 4, c.pages...))
		if c.edit != nil {
			file = editFooter(t, file, c.edit)
		}
		f := openBytes(t, file)
		said, err := f.Barred(0, 0)
		p, why, patchErr := f.Patch(0, 0)
		if err != nil || patchErr != nil || said != why || (p == nil) != (why != "") {
			t.Errorf("%s: said %q (%v), and then %q (%v)", c.name, said, err, why, patchErr)
		}
		if c.want == "" != (said == "") || !strings.Contains(said, c.want) {
			t.Errorf("%s: said %q, want %q", c.name, said, c.want)
		}
	}
}
