package splice

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// editFooter returns a file with another footer.
func editFooter(t testing.TB, file []byte, edit func(footer *tValue)) []byte {
	t.Helper()
	end := len(file) - endBytes
	start := end - int(binary.LittleEndian.Uint32(file[end:]))
	footer, _, err := parseThrift(file[start:end])
	if err != nil {
		t.Fatal(err)
	}
	edit(&footer)
	encoded := footer.append(nil)
	edited := append(append([]byte{}, file[:start]...), encoded...)
	return append(appendUint32(edited, uint32(len(encoded))), magic...)
}

func TestFooterKeepsWhatIsNotKnown(t *testing.T) {
	schema, columns, chunks := smallFile(t)
	file := editFooter(t, writeChunks(t, WriterOptions{Schema: schema}, chunks...), func(footer *tValue) {
		footer.setBinary(6, "parquet-mr version 1.13.1 (build 0)")
		footer.setBinary(120, "of a later version")
		group := &footer.list(4, compactStruct)[0]
		group.setBinary(33, "group")
		chunk := &group.list(1, compactStruct)[0]
		chunk.setBinary(40, "chunk")
		chunk.field(3).setBinary(41, "meta")
		chunk.field(3).field(12).remove(3)
		footer.list(2, compactStruct)[1].setBinary(50, "element")
	})
	f := openBytes(t, copyFile(t, openBytes(t, file)))
	footer := f.metadata()
	group := f.rowGroup(0)
	chunk := &group.list(1, compactStruct)[0]
	for _, c := range []struct {
		of   *tValue
		id   int16
		want string
	}{
		{footer, 6, "parquet-mr version 1.13.1 (build 0)"}, {footer, 120, "of a later version"}, {group, 33, "group"},
		{chunk, 40, "chunk"}, {chunk.field(3), 41, "meta"}, {&footer.list(2, compactStruct)[1], 50, "element"},
	} {
		if got, _ := c.of.binary(c.id); got != c.want {
			t.Errorf("field %d is %q, want %q", c.id, got, c.want)
		}
	}
	if chunk.field(3).field(12).field(3) != nil {
		t.Error("an unknown null count has become known")
	}
	for i, leaf := range schema.Leaves {
		checkEqual(t, leaf, readBack(t, f, 0, i), columns[i])
		checkEqual(t, leaf, readBack(t, f, 1, i), columns[i])
	}
}

// smallFile makes three columns of 300 rows.
func smallFile(t testing.TB) (*column.Schema, []*column.Column, []*EncodedChunk) {
	r := rand.New(rand.NewPCG(12, 13))
	kinds := []sampleType{sampleTypes[1], sampleTypes[7], sampleTypes[5]}
	var fields []*column.Node
	for _, kind := range kinds {
		fields = append(fields, sampleNode(kind, optionalLeaf))
	}
	schema := newSchema(fields...)
	var columns []*column.Column
	var chunks []*EncodedChunk
	for i, kind := range kinds {
		c := sampler{r, 50, 0.2}.column(kind, fields[i], 300)
		columns = append(columns, c)
		chunks = append(chunks, encode(t, schema.Leaves[i], ChunkOptions{PageRows: 100}, r, c))
	}
	return schema, columns, chunks
}

// TestNoOrderNoBounds writes into a file that does not state column orders.
func TestNoOrderNoBounds(t *testing.T) {
	schema, _, chunks := smallFile(t)
	plain := writeChunks(t, WriterOptions{Schema: schema}, chunks...)
	template := openBytes(t, editFooter(t, plain, func(footer *tValue) { footer.remove(7) }))
	f := openBytes(t, writeChunks(t, WriterOptions{Template: template}, chunks...))
	if f.metadata().field(7) != nil {
		t.Error("column orders have appeared")
	}
	for i := range chunks {
		chunk := &f.rowGroup(0).list(1, compactStruct)[i]
		stats := chunk.field(3).field(12)
		if stats.field(5) != nil || stats.field(6) != nil || chunk.field(6) != nil {
			t.Errorf("column %d has bounds", i)
		}
		if stats.int(3, -1) != chunks[i].Nulls || chunk.field(4) == nil {
			t.Errorf("column %d lacks its null count or offset index", i)
		}
	}
}

func TestSortingColumnsThatHold(t *testing.T) {
	var file bytes.Buffer
	pw := parquet.NewGenericWriter[person](&file,
		parquet.SortingWriterConfig(parquet.SortingColumns(parquet.Ascending("id"))))
	rows := people(rand.New(rand.NewPCG(2, 2)), 0, 100)
	if _, err := pw.Write(rows); err != nil {
		t.Fatal(err)
	}
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	f := openBytes(t, file.Bytes())
	for changed, want := range []bool{false, true, true} {
		out := &memoryOutput{}
		w, err := NewWriter(out, WriterOptions{Template: f})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.BeginRowGroup(100); err != nil {
			t.Fatal(err)
		}
		for col, leaf := range f.Schema().Leaves {
			if col != changed {
				if err := w.CopyChunk(f, 0, col); err != nil {
					t.Fatal(err)
				}
				continue
			}
			e := NewChunkEncoder(leaf, ChunkOptions{Codec: f.RowGroup(0).Columns[col].Codec})
			c := readBack(t, f, 0, col)
			if err := e.Append(c, 0, c.Slots); err != nil {
				t.Fatal(err)
			}
			chunk, err := e.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if err := w.WriteChunk(chunk); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.EndRowGroup(); err != nil {
			t.Fatal(err)
		}
		if _, err := w.Close(); err != nil {
			t.Fatal(err)
		}
		got, err := parquet.Read[person](bytes.NewReader(out.Bytes()), int64(out.Len()))
		if err != nil {
			t.Fatal(err)
		}
		for i, text := range deref(got) {
			if text != deref(rows)[i] {
				t.Fatalf("row %d is %s", i, text)
			}
		}
		sorted := openBytes(t, out.Bytes()).rowGroup(0).field(4) != nil
		if sorted != want {
			t.Errorf("column %d is encoded anew: sorting columns are kept: %t", changed, sorted)
		}
	}
}

// TestInt96Mark: files of Spark have INT96 in microseconds, and so have those that are made of them, as long as no
// column of nanoseconds comes in.
func TestInt96Mark(t *testing.T) {
	node := func(name string, unit int64) *column.Node {
		n := sampleNode(sampleTypes[slices.IndexFunc(sampleTypes, func(s sampleType) bool { return s.kind == format.Int96 })], optionalLeaf)
		n.Name, n.Leaf.Path, n.Annotation.Unit, n.Leaf.Annotation.Unit = name, []string{name}, unit, unit
		return n
	}
	write := func(o WriterOptions) *File {
		t.Helper()
		out := &memoryOutput{}
		w, err := NewWriter(out, o)
		if err == nil {
			_, err = w.Close()
		}
		if err != nil {
			t.Fatal(err)
		}
		return openBytes(t, out.Bytes())
	}
	dropSparks := func(key string) bool { return strings.HasPrefix(key, "org.apache.spark.") }
	spark := write(WriterOptions{Schema: newSchema(node("a", 1e3)), KeyValues: []KeyValue{{sparkSchemaKey, "{}"}}})
	made := write(WriterOptions{Schema: newSchema(node("a", 1e3))})
	for _, c := range []struct {
		name string
		file *File
		want int64
	}{
		{"Spark", spark, 1e3},
		{"another", write(WriterOptions{Schema: newSchema(node("a", 0))}), 0},
		{"new", made, 1e3},
		{"from Spark's", write(WriterOptions{Template: spark}), 1e3},
		{"with a column more", write(WriterOptions{Template: spark, Append: []*column.Node{node("b", 1e3)}, DropKey: dropSparks}), 1e3},
		{"with nanoseconds", write(WriterOptions{Template: spark, Append: []*column.Node{node("b", 0)}, DropKey: dropSparks}), 0},
		{"with nanoseconds, of ours", write(WriterOptions{Template: made, Append: []*column.Node{node("b", 0)}}), 0},
		{"nanoseconds in its place", write(WriterOptions{Template: made, Replace: map[int]*column.Node{0: node("a", 0)}}), 0},
	} {
		for _, leaf := range c.file.Schema().Leaves {
			if leaf.Annotation.Unit != c.want {
				t.Errorf("%s: unit of %d ns, want %d", c.name, leaf.Annotation.Unit, c.want)
			}
		}
	}
}

// TestSchemaOfNewFile reads the elements of a new file's schema independently.
func TestSchemaOfNewFile(t *testing.T) {
	var fields []*column.Node
	for _, kind := range sampleTypes {
		field := sampleNode(kind, optionalLeaf)
		id := int32(len(fields) + 1)
		field.FieldID = &id
		fields = append(fields, field, sampleNode(kind, listOfLists))
		fields[len(fields)-1].Name += "_lists"
	}
	schema := newSchema(fields...)
	out := &memoryOutput{}
	w, err := NewWriter(out, WriterOptions{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	got := openBytes(t, out.Bytes()).Schema()
	if len(got.Leaves) != len(schema.Leaves) {
		t.Fatalf("%d leaves, want %d", len(got.Leaves), len(schema.Leaves))
	}
	for i, leaf := range schema.Leaves {
		if !sameLeaf(got.Leaves[i], leaf) {
			t.Errorf("%+v, want %+v", got.Leaves[i], leaf)
		}
	}
	f, err := parquet.OpenFile(bytes.NewReader(out.Bytes()), int64(out.Len()))
	if err != nil {
		t.Fatal(err)
	}
	if orders := f.Metadata().ColumnOrders; len(orders) != len(schema.Leaves) {
		t.Errorf("%d column orders", len(orders))
	}
	element := f.Metadata().Schema[1]
	if element.FieldID != 1 || element.RepetitionType.V != format.Optional || element.Type.V != format.Boolean {
		t.Errorf("%+v", element)
	}
}
