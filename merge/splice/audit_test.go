package splice

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// audit gives what AuditChunk finds in all chunks of a file.
func audit(t testing.TB, f *File) (found []Contradiction) {
	t.Helper()
	for g := range f.NumRowGroups() {
		for c := range f.Schema().Leaves {
			list, err := f.AuditChunk(t.Context(), g, c)
			if err != nil {
				t.Fatal(err)
			}
			found = append(found, list...)
		}
	}
	return found
}

// TestAuditOfOurs: what we write says nothing wrong, whatever the type and the values.
func TestAuditOfOurs(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for _, of := range []shape{requiredLeaf, optionalLeaf, listLeaf} {
		for _, kind := range sampleTypes {
			for _, o := range []ChunkOptions{{PageRows: 70}, {PageRows: 50, Dictionary: true, PageVersion: 2}, {Dictionary: true, DictBytes: 100}} {
				node := sampleNode(kind, of)
				schema := newSchema(node)
				c := sampler{r, 90, 0.3}.column(kind, node, 400)
				f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, encode(t, schema.Leaves[0], o, r, c)))
				if found := audit(t, f); len(found) > 0 {
					t.Errorf("%s, %+v: %+v", kind.name, o, found)
				}
			}
		}
	}
}

// lies are three columns (int32, bytes, double) in pages of 100 rows, and what an edit makes of them.
var lies = []struct {
	name  string
	chunk int
	stats func(st *tValue)     // edits the chunk's Statistics
	foot  func(footer *tValue) // edits the footer
	index func(index *tValue)  // edits its column index
	pages func(index *tValue)  // edits its offset index
	want  string               // "": nothing is found
	quiet bool                 // what is found is not believed
}{
	{name: "nothing"},
	{name: "a lower bound above the values", stats: func(st *tValue) { st.setBinary(6, raise32(st, 6, 1)) }, want: "statistics: the smallest value is"},
	{name: "a lower bound below the values", stats: func(st *tValue) { st.setBinary(6, raise32(st, 6, -5)); st.remove(8) }},
	{name: "one that is said to be a value", stats: func(st *tValue) { st.setBinary(6, raise32(st, 6, -5)); st.setBool(8, true) }, want: "it says exactly"},
	{name: "an upper bound below the values", stats: func(st *tValue) { st.setBinary(5, raise32(st, 5, -1)) }, want: "statistics: the largest value is"},
	{name: "bounds of other bytes", stats: func(st *tValue) { st.setBinary(5, "abc") }},
	{name: "a text's bound below the values", chunk: 1, stats: func(st *tValue) { st.setBinary(5, "0") }, want: "statistics: the largest value is"},
	{name: "a text's bound of PARQUET-251", chunk: 1, stats: func(st *tValue) { st.setBinary(5, "0") },
		foot: func(f *tValue) { f.setBinary(6, "parquet-mr version 1.7.0 (build 0)") }, want: "statistics: the largest value is", quiet: true},
	{name: "too few NULLs", chunk: 1, stats: func(st *tValue) { st.setInt(3, compactI64, 0) }, want: "are NULL, it says 0"},
	{name: "too many NULLs", stats: func(st *tValue) { st.setInt(3, compactI64, 300) }, want: "are NULL, it says 300"},
	{name: "old fields beside new ones", stats: func(st *tValue) { st.setBinary(1, raise32(st, 5, -1)); st.setBinary(2, raise32(st, 6, 0)) },
		want: "deprecated statistics: the largest value is", quiet: true},
	{name: "old fields alone", stats: func(st *tValue) {
		st.setBinary(1, raise32(st, 5, -1))
		st.setBinary(2, raise32(st, 6, 0))
		st.remove(5)
		st.remove(6)
	}, want: "deprecated statistics: the largest value is"},
	{name: "old fields of text", chunk: 1, stats: func(st *tValue) {
		st.setBinary(1, "")
		st.remove(5)
		st.remove(6)
	}, want: "deprecated statistics: the largest value is", quiet: true},
	{name: "a NaN as bound", chunk: 2, stats: func(st *tValue) { st.setBinary(5, double(math.NaN())) }},
	{name: "positive zero as lower bound of the negative one", chunk: 2, stats: func(st *tValue) { st.setBinary(6, double(0)) }},
	{name: "a double's bound above the negative zero", chunk: 2, stats: func(st *tValue) { st.setBinary(6, double(1)) }, want: "statistics: the smallest value is -0, it says 1"},
	{name: "a page's lower bound", index: func(ix *tValue) { raiseElement(ix, 2, 1, 1) }, want: "column index, page 1: the smallest value is"},
	{name: "a page's upper bound", index: func(ix *tValue) { raiseElement(ix, 3, 2, -1) }, want: "column index, page 2: the largest value is"},
	{name: "a page's NULLs", index: func(ix *tValue) { ix.list(5, compactI64)[1].num++ }, want: "column index, page 1: 20 values are NULL"},
	{name: "a page without values", index: func(ix *tValue) { ix.field(1).kids[2].num = compactTrue }, want: "column index, page 2: it has values"},
	{name: "an order that is none", index: func(ix *tValue) {
		raiseElement(ix, 2, 1, -1000)
		raiseElement(ix, 3, 1, 1<<30)
		ix.setInt(4, compactI32, int64(format.Ascending))
	}, want: "not in the order that the index says"},
	{name: "a page that begins elsewhere", pages: func(ix *tValue) { ix.list(1, compactStruct)[1].setInt(3, compactI64, 90) },
		want: "offset index, page 1: it begins with row 100"},
	{name: "a page of other bytes", pages: func(ix *tValue) { ix.list(1, compactStruct)[1].kids[1].num-- }, want: "offset index, page 1: it has"},
	{name: "a page that is left out", pages: func(ix *tValue) { at := ix.field(1); at.kids = at.kids[:2] }, want: "there are 3 pages, it lists 2"},
	{name: "an index that is none", pages: func(ix *tValue) { ix.list(1, compactStruct)[1].setInt(3, compactI64, -7) }, want: "offset index: can't be used"},
	{name: "an index of other pages", index: func(ix *tValue) {
		for _, id := range []int16{1, 2, 3, 5} {
			ix.field(id).kids = ix.field(id).kids[:2]
		}
	}, want: "column index: it is of other pages"},
}

func raise32(st *tValue, id int16, by int32) string {
	v, _ := st.binary(id)
	return string(binary.LittleEndian.AppendUint32(nil, binary.LittleEndian.Uint32([]byte(v))+uint32(by)))
}

func raiseElement(ix *tValue, id int16, page int, by int32) {
	at := &ix.list(id, compactBinary)[page]
	at.data = string(binary.LittleEndian.AppendUint32(nil, binary.LittleEndian.Uint32([]byte(at.data))+uint32(by)))
}

func double(v float64) string {
	return string(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
}

// lyingFile makes three columns of 300 rows: integers from 1,000 on with some NULL, texts, and doubles from -0.0 on.
func lyingFile(t testing.TB) []byte {
	t.Helper()
	schema := newSchema(sampleNode(sampleTypes[1], optionalLeaf), sampleNode(sampleTypes[6], optionalLeaf), sampleNode(sampleTypes[5], requiredLeaf))
	var chunks []*EncodedChunk
	for i, leaf := range schema.Leaves {
		var c column.Column
		c.Reset(leaf)
		c.Slots = 300
		if leaf.Width == 0 {
			c.Values.Offsets = []uint32{0}
		}
		for row := range 300 {
			def, v := uint8(leaf.MaxDef), []byte(nil)
			null := leaf.MaxDef > 0 && row%5 == 4
			if null {
				def--
			}
			switch i {
			case 0:
				v = binary.LittleEndian.AppendUint32(nil, uint32(1000+row*7919%300))
			case 1:
				v = []byte{'a' + byte(row%20)}
			case 2:
				v = []byte(double(math.Copysign(float64(row), -1) * -1))
				if row == 0 {
					v = []byte(double(math.Copysign(0, -1)))
				}
				if row == 150 {
					v = []byte(double(5))
				}
			}
			if null {
				clear(v)
				if leaf.Width == 0 {
					v = nil
				}
			}
			if leaf.MaxDef > 0 {
				c.Def = append(c.Def, def)
			}
			if leaf.Width > 0 {
				c.Values.Fixed = append(c.Values.Fixed, v...)
			} else {
				c.Values.Data = append(c.Values.Data, v...)
				c.Values.Offsets = append(c.Values.Offsets, uint32(len(c.Values.Data)))
			}
		}
		e := NewChunkEncoder(leaf, ChunkOptions{PageRows: 100})
		if err := e.Append(&c, 0, 300); err != nil {
			t.Fatal(err)
		}
		chunk, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		chunks = append(chunks, chunk)
	}
	return writeChunks(t, WriterOptions{Schema: schema}, chunks...)
}

// editIndex returns a file with another column index of a chunk, or offset index.
func editIndex(t testing.TB, file []byte, chunk int, offsets bool, edit func(index *tValue)) []byte {
	t.Helper()
	f := openBytes(t, file)
	at, id := f.groups[0].Columns[chunk].columnIndex, int16(6)
	if offsets {
		at, id = f.groups[0].Columns[chunk].offsetIndex, 4
	}
	data, err := f.read(at)
	if err != nil {
		t.Fatal(err)
	}
	index, _, err := parseThrift(data)
	if err != nil {
		t.Fatal(err)
	}
	edit(&index)
	edited := index.append(nil)
	end := len(file) - endBytes
	start := end - int(binary.LittleEndian.Uint32(file[end:]))
	moved := append(append(bytes.Clone(file[:start]), edited...), file[start:]...)
	return editFooter(t, moved, func(footer *tValue) {
		c := &footer.list(4, compactStruct)[0].list(1, compactStruct)[chunk]
		c.setInt(id, compactI64, int64(start))
		c.setInt(id+1, compactI32, int64(len(edited)))
	})
}

func TestAuditFindsLies(t *testing.T) {
	plain := lyingFile(t)
	for _, c := range lies {
		t.Run(c.name, func(t *testing.T) {
			file := plain
			if c.index != nil {
				file = editIndex(t, file, c.chunk, false, c.index)
			}
			if c.pages != nil {
				file = editIndex(t, file, c.chunk, true, c.pages)
			}
			file = editFooter(t, file, func(footer *tValue) {
				if c.foot != nil {
					c.foot(footer)
				}
				if c.stats != nil {
					c.stats(footer.list(4, compactStruct)[0].list(1, compactStruct)[c.chunk].field(3).field(12))
				}
			})
			found := audit(t, openBytes(t, file))
			switch {
			case c.want == "" && len(found) == 0:
			case len(found) != 1 || c.want == "":
				t.Errorf("found %+v, want %q", found, c.want)
			case !strings.Contains(found[0].Where+": "+found[0].Message, c.want) || found[0].Believed == c.quiet:
				t.Errorf("found %+v, want %q", found[0], c.want)
			}
		})
	}
}

// TestAuditOfCorpus: every file of the corpus can be audited; those that say what is wrong are known.
func TestAuditOfCorpus(t *testing.T) {
	for _, pattern := range []string{"data/*.parquet", "bad_data/*.parquet", "data/geospatial/*.parquet"} {
		for _, name := range corpus(t, pattern) {
			data, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			f, err := openFile(data, filepath.Base(name))
			if err != nil || strings.HasPrefix(f.name, "large_string_map") {
				continue
			}
			for g := range f.NumRowGroups() {
				for c, leaf := range f.schema.Leaves {
					found, err := f.AuditChunk(t.Context(), g, c)
					if (err == nil) != (f.CheckChunk(t.Context(), g, c) == nil) {
						t.Errorf("%s: %v, another answer than that of CheckChunk", f.name, err)
					}
					for _, l := range found {
						t.Logf("%s (%s) %v: %s: %s, believed %t", f.name, f.createdBy, leaf.Path, l.Where, l.Message, l.Believed)
					}
				}
			}
		}
	}
}
