package splice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"

	"github.com/hupsert/hupsert/merge/column"
)

// openBytes opens a file in memory.
func openBytes(t testing.TB, file []byte) *File {
	t.Helper()
	f, err := Open(bytes.NewReader(file), int64(len(file)), "memory")
	if err != nil {
		t.Fatal(err)
	}
	return f
}

// copyFile copies all row groups of f behind each other, twice, the second time chunk by chunk.
func copyFile(t testing.TB, f *File) []byte {
	t.Helper()
	out := &memoryOutput{}
	w, err := NewWriter(out, WriterOptions{Template: f})
	if err != nil {
		t.Fatal(err)
	}
	for rg := range f.NumRowGroups() {
		if err := w.CopyRowGroup(f, rg); err != nil {
			t.Fatal(err)
		}
	}
	for rg := range f.NumRowGroups() {
		if err := w.BeginRowGroup(f.RowGroup(rg).Rows); err != nil {
			t.Fatal(err)
		}
		for col := range f.Schema().Leaves {
			if err := w.CopyChunk(f, rg, col); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.EndRowGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if s, err := w.Close(); err != nil || s.Rows != 2*f.NumRows() || s.Bytes != int64(out.Len()) {
		t.Fatalf("%+v, %v", s, err)
	}
	return out.Bytes()
}

type person struct {
	ID     int64    `parquet:"id"`
	Name   string   `parquet:"name,optional,dict"`
	Note   *string  `parquet:"note,optional,snappy"`
	Scores []int32  `parquet:"scores,list"`
	Tags   []string `parquet:"tags"`
}

func people(r *rand.Rand, from, n int) []person {
	var list []person
	for i := range n {
		p := person{ID: int64(from + i), Name: fmt.Sprintf("name %d", r.IntN(20))}
		for range r.IntN(4) {
			p.Scores = append(p.Scores, r.Int32N(100))
			p.Tags = append(p.Tags, fmt.Sprint(r.IntN(9)))
		}
		if r.IntN(3) == 0 {
			p.Note = &p.Name
		}
		list = append(list, p)
	}
	return list
}

func TestCopyOfAnotherWritersFile(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 9))
	for _, version := range []int{1, 2} {
		var file bytes.Buffer
		pw := parquet.NewGenericWriter[person](&file, parquet.DataPageVersion(version), parquet.PageBufferSize(400),
			parquet.BloomFilters(parquet.SplitBlockFilter(10, "id"), parquet.SplitBlockFilter(10, "name")),
			parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("id"))),
			parquet.KeyValueMetadata("origin", "test"))
		var want []person
		for group := range 3 {
			rows := people(r, 1000*group, 500)
			want = append(want, rows...)
			if _, err := pw.Write(rows); err != nil {
				t.Fatal(err)
			}
			if err := pw.Flush(); err != nil {
				t.Fatal(err)
			}
		}
		if err := pw.Close(); err != nil {
			t.Fatal(err)
		}
		copied := copyFile(t, openBytes(t, file.Bytes()))
		got, err := parquet.Read[person](bytes.NewReader(copied), int64(len(copied)))
		if err != nil {
			t.Fatal(err)
		}
		if fmt.Sprintf("%+v", deref(got)) != fmt.Sprintf("%+v", deref(append(want, want...))) {
			t.Fatal("the rows of the copy differ")
		}
		checkCopiedMetadata(t, file.Bytes(), copied)
	}
}

// deref makes people comparable by their text.
func deref(list []person) (texts []string) {
	for _, p := range list {
		note := "none"
		if p.Note != nil {
			note = *p.Note
		}
		texts = append(texts, fmt.Sprintf("%d %q %q %v %v", p.ID, p.Name, note, p.Scores, p.Tags))
	}
	return texts
}

// checkCopiedMetadata compares a file with its double copy: indexes, bloom filters, sorting columns.
func checkCopiedMetadata(t *testing.T, source, copied []byte) {
	t.Helper()
	a, err := parquet.OpenFile(bytes.NewReader(source), int64(len(source)))
	if err != nil {
		t.Fatal(err)
	}
	b, err := parquet.OpenFile(bytes.NewReader(copied), int64(len(copied)))
	if err != nil {
		t.Fatal(err)
	}
	if b.Metadata().CreatedBy != a.Metadata().CreatedBy {
		t.Errorf("created_by %q", b.Metadata().CreatedBy)
	}
	if v, _ := b.Lookup("origin"); v != "test" {
		t.Errorf("key-value metadata is lost")
	}
	if v, _ := b.Lookup(versionKey); v != version {
		t.Errorf("%s is %q", versionKey, v)
	}
	groups := a.RowGroups()
	for i, group := range b.RowGroups() {
		from := groups[i%len(groups)]
		meta := b.Metadata().RowGroups[i]
		if int(meta.Ordinal) != i {
			t.Errorf("row group %d has ordinal %d", i, meta.Ordinal)
		}
		if !slices.Equal(meta.SortingColumns, a.Metadata().RowGroups[i%len(groups)].SortingColumns) || len(meta.SortingColumns) == 0 {
			t.Errorf("row group %d has sorting columns %v", i, meta.SortingColumns)
		}
		for col, chunk := range group.ColumnChunks() {
			source := from.ColumnChunks()[col]
			if (chunk.BloomFilter() == nil) != (source.BloomFilter() == nil) {
				t.Errorf("row group %d, column %d: bloom filter is there: %t", i, col, chunk.BloomFilter() != nil)
			}
			checkSameIndex(t, chunk, source)
			if bloom := chunk.BloomFilter(); bloom != nil {
				checkSameBloom(t, bloom, source.BloomFilter())
			}
		}
	}
}

func checkSameBloom(t *testing.T, a, b parquet.BloomFilter) {
	t.Helper()
	if a.Size() != b.Size() {
		t.Fatalf("bloom filter of %d bytes, want %d", a.Size(), b.Size())
	}
	x, y := make([]byte, a.Size()), make([]byte, b.Size())
	if _, err := a.ReadAt(x, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if _, err := b.ReadAt(y, 0); err != nil && !errors.Is(err, io.EOF) {
		t.Fatal(err)
	}
	if !bytes.Equal(x, y) {
		t.Fatal("bloom filters differ")
	}
}

func checkSameIndex(t *testing.T, a, b parquet.ColumnChunk) {
	t.Helper()
	x, err := a.ColumnIndex()
	if err != nil {
		t.Fatal(err)
	}
	y, err := b.ColumnIndex()
	if err != nil {
		t.Fatal(err)
	}
	o, err := a.OffsetIndex()
	if err != nil {
		t.Fatal(err)
	}
	p, err := b.OffsetIndex()
	if err != nil {
		t.Fatal(err)
	}
	if x.NumPages() != y.NumPages() || o.NumPages() != p.NumPages() {
		t.Fatalf("%d pages, want %d", x.NumPages(), y.NumPages())
	}
	for i := range x.NumPages() {
		if x.NullCount(i) != y.NullCount(i) || !parquet.DeepEqual(x.MinValue(i), y.MinValue(i)) || !parquet.DeepEqual(x.MaxValue(i), y.MaxValue(i)) {
			t.Errorf("page %d: bounds differ", i)
		}
		if o.FirstRowIndex(i) != p.FirstRowIndex(i) || o.CompressedPageSize(i) != p.CompressedPageSize(i) {
			t.Errorf("page %d: location differs", i)
		}
	}
}

// TestCopyKeepsChunkBytes copies what other projects test their readers with.
func TestCopyKeepsChunkBytes(t *testing.T) {
	for _, name := range corpus(t, "data/*.parquet") {
		source, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		f, err := Open(bytes.NewReader(source), int64(len(source)), name)
		if err != nil || f.NumRows() == 0 {
			continue // what Open refuses is its own test's matter
		}
		t.Run(filepath.Base(name), func(t *testing.T) {
			if slices.ContainsFunc(f.groups, func(g RowGroup) bool { return g.Rows == 0 }) {
				t.Skip("a row group without rows")
			}
			copied := copyFile(t, f)
			g := openBytes(t, copied)
			for rg := range g.NumRowGroups() {
				for col, chunk := range g.RowGroup(rg).Columns {
					from := f.RowGroup(rg % f.NumRowGroups()).Columns[col]
					a := source[from.Offset : from.Offset+from.CompressedSize]
					b := copied[chunk.Offset : chunk.Offset+chunk.CompressedSize]
					if !bytes.HasPrefix(b, a) {
						t.Errorf("row group %d, column %d: the bytes differ", rg, col)
					}
					if chunk.HasPageIndex != from.HasPageIndex || chunk.HasColumnIndex != from.HasColumnIndex || chunk.BloomFilter != from.BloomFilter {
						t.Errorf("row group %d, column %d: page index or bloom filter is lost", rg, col)
					}
				}
			}
			if key, _ := g.metadata().binary(6); key != f.CreatedBy() {
				t.Errorf("created_by %q", key)
			}
		})
	}
}

func TestMixedRowGroup(t *testing.T) {
	r := rand.New(rand.NewPCG(4, 4))
	schema := newSchema(sampleNode(sampleTypes[1], requiredLeaf), sampleNode(sampleTypes[7], optionalLeaf), sampleNode(sampleTypes[5], listLeaf))
	kinds := []sampleType{sampleTypes[1], sampleTypes[7], sampleTypes[5]}
	var columns []*column.Column
	var chunks []*EncodedChunk
	for i, kind := range kinds {
		c := sampler{r, 50, 0.2}.column(kind, schema.Root.Children[i], 900)
		columns = append(columns, c)
		chunks = append(chunks, encode(t, schema.Leaves[i], ChunkOptions{Dictionary: true, PageRows: 100}, r, c))
	}
	f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema, KeyValues: []KeyValue{{"a", "b"}}}, chunks...))
	changed := sampler{r, 60, 0.2}.column(kinds[1], schema.Root.Children[1], 900)

	out := &memoryOutput{}
	w, err := NewWriter(out, WriterOptions{Template: f, KeyValues: []KeyValue{{"a", "c"}}})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.CopyRowGroup(f, 0); err != nil {
		t.Fatal(err)
	}
	if err := w.BeginRowGroup(900); err != nil {
		t.Fatal(err)
	}
	for _, step := range []error{
		w.CopyChunk(f, 0, 0),
		w.WriteChunk(encode(t, schema.Leaves[1], ChunkOptions{Dictionary: true, PageVersion: 2}, r, changed)),
		w.CopyChunk(f, 0, 2),
		w.EndRowGroup(),
	} {
		if step != nil {
			t.Fatal(step)
		}
	}
	if s, err := w.Close(); err != nil || s.Rows != 1800 || !slices.Equal(s.RowGroups, []int64{900, 900}) {
		t.Fatalf("%+v %v", s, err)
	}
	columns[0].Append(schema.Leaves[0], columns[0], 0, 900)
	columns[1].Append(schema.Leaves[1], changed, 0, changed.Slots)
	columns[2].Append(schema.Leaves[2], columns[2], 0, columns[2].Slots)
	for i, leaf := range schema.Leaves {
		checkEqual(t, leaf, readIndependently(t, out.Bytes(), leaf), columns[i])
	}
	if kv := openBytes(t, out.Bytes()).KeyValue(); !slices.Equal(kv, []KeyValue{{"a", "c"}, {versionKey, version}}) {
		t.Errorf("key-value metadata %v", kv)
	}
}

func TestWriterRefuses(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 5))
	schema := newSchema(sampleNode(sampleTypes[1], requiredLeaf), sampleNode(sampleTypes[7], optionalLeaf))
	chunk := func(i, rows int) *EncodedChunk {
		kind := []sampleType{sampleTypes[1], sampleTypes[7]}[i]
		return encode(t, schema.Leaves[i], ChunkOptions{}, r, sampler{r, 9, 0}.column(kind, schema.Root.Children[i], rows))
	}
	for name, steps := range map[string]func(w *Writer) error{
		"rows":               func(w *Writer) error { return w.BeginRowGroup(0) },
		"outside":            func(w *Writer) error { return w.WriteChunk(chunk(0, 5)) },
		"has 4 rows":         func(w *Writer) error { _ = w.BeginRowGroup(5); return w.WriteChunk(chunk(0, 4)) },
		"in the place of":    func(w *Writer) error { _ = w.BeginRowGroup(5); return w.WriteChunk(chunk(1, 5)) },
		"1 chunks":           func(w *Writer) error { _ = w.BeginRowGroup(5); _ = w.WriteChunk(chunk(0, 5)); return w.EndRowGroup() },
		"not ended":          func(w *Writer) error { _ = w.BeginRowGroup(5); _, err := w.Close(); return err },
		"no row group":       func(w *Writer) error { return w.EndRowGroup() },
		"row group of 0":     func(w *Writer) error { _ = w.BeginRowGroup(0); _, err := w.Close(); return err },
		"the file is closed": func(w *Writer) error { _, _ = w.Close(); return w.BeginRowGroup(1) },
	} {
		w, err := NewWriter(&memoryOutput{}, WriterOptions{Schema: schema})
		if err != nil {
			t.Fatal(err)
		}
		if err := steps(w); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if _, err := NewChunkEncoder(schema.Leaves[0], ChunkOptions{}).Finish(); err == nil {
		t.Error("a chunk without rows is encoded")
	}
}
