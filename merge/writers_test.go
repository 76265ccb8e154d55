package merge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/encoding"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/internal/claims"
	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
)

// writeByParquetGo writes rows with parquet-go: in all encodings of the format, in pages of a few values that a page index
// lists, with size statistics, Bloom filters, and sorting columns where they hold.
func writeByParquetGo(t testing.TB, r *rand.Rand, tab table, name string, rows []row) memoryFile {
	t.Helper()
	schema, err := shred.ParquetSchema(tab.schema())
	if err != nil {
		t.Fatal(err)
	}
	nodes := schema.Root.Children
	root := inOurOrder{Group: parquet.Group{}, order: tab}
	var blooms []parquet.BloomFilterColumn
	for _, n := range nodes {
		root.Group[n.Name] = goNode(r, n)
		if n.Leaf != nil && n.Leaf.Type != format.Boolean && r.IntN(3) == 0 {
			blooms = append(blooms, parquet.SplitBlockFilter(uint(4+r.IntN(12)), n.Name))
		}
	}
	codecs := []compress.Codec{&parquet.Uncompressed, &parquet.Snappy}
	if r.IntN(16) == 0 {
		codecs = []compress.Codec{&parquet.Gzip, &parquet.Zstd, &parquet.Brotli}
	}
	cut := []int{4, 16, 1000}[r.IntN(3)] // of bounds
	options := []parquet.WriterOption{
		parquet.NewSchema("t", root), parquet.Compression(codecs[r.IntN(len(codecs))]), parquet.DataPageVersion(1 + r.IntN(2)),
		parquet.PageBufferSize([]int{100, 1000, 1 << 20}[r.IntN(3)]), parquet.DataPageStatistics(r.IntN(2) == 0),
		parquet.ColumnIndexSizeLimit(func([]string) int { return cut }), parquet.BloomFilters(blooms...),
	}
	if k := tab.keys[0]; slices.IsSortedFunc(rows, func(a, b row) int { return compareValues(a[k], b[k]) }) {
		options = append(options, parquet.SortingWriterConfig(parquet.SortingColumns(parquet.NullsFirst(parquet.Ascending(tab.fields[k].name)))))
	}
	var buf bytes.Buffer
	w := parquet.NewWriter(&buf, options...)
	for groups, rest := 1+r.IntN(3), rows; len(rest) > 0; {
		n := max(1, min(len(rest), len(rows)/groups))
		if _, err := w.WriteRows(goRows(t, tab, nodes, rest[:n])); err != nil {
			t.Fatal(err)
		}
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
		rest = rest[n:]
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return memoryFile{name, buf.Bytes()}
}

// inOurOrder is a group whose fields do not come by name.
type inOurOrder struct {
	parquet.Group
	order table
}

func (g inOurOrder) Fields() []parquet.Field {
	place := func(f parquet.Field) int {
		return slices.IndexFunc(g.order.fields, func(x field) bool { return x.name == f.Name() })
	}
	fields := g.Group.Fields()
	slices.SortFunc(fields, func(a, b parquet.Field) int { return place(a) - place(b) })
	return fields
}

// goRows shreds rows to parquet-go's values.
func goRows(t testing.TB, tab table, nodes []*column.Node, rows []row) []parquet.Row {
	t.Helper()
	rec := tab.record(rows)
	defer rec.Release()
	out := make([]parquet.Row, len(rows))
	ordinal := 0
	for _, n := range nodes {
		leaves := n.Leaves()
		columns := make([]*column.Column, len(leaves))
		for i, leaf := range leaves {
			columns[i] = &column.Column{}
			columns[i].Reset(leaf)
		}
		if err := shred.ShredRows(rec.Column(rec.Schema().FieldIndices(n.Name)[0]), nil, n, columns); err != nil {
			t.Fatal(err)
		}
		for i, leaf := range leaves {
			at, c := -1, columns[i]
			for s := range c.Slots {
				rep, def, v := 0, leaf.MaxDef, parquet.NullValue()
				if c.Rep != nil {
					rep = int(c.Rep[s])
				}
				if c.Def != nil {
					def = int(c.Def[s])
				}
				if !c.Null(s) {
					v = parquet.Kind(leaf.Type).Value(c.Value(s))
				}
				if rep == 0 {
					at++
				}
				out[at] = append(out[at], v.Level(rep, def, ordinal))
			}
			ordinal++
		}
	}
	return out
}

// goNode is a node in parquet-go's terms, its leaves in some encoding that their type allows.
func goNode(r *rand.Rand, n *column.Node) parquet.Node {
	var out parquet.Node
	switch {
	case n.Leaf != nil:
		out = parquet.Encoded(goLeaf(n.Leaf), goEncoding(r, n.Leaf.Type))
	case n.Annotation.Kind == column.List:
		out = parquet.List(goNode(r, n.Children[0].Children[0]))
	default:
		group := parquet.Group{}
		for _, child := range n.Children {
			group[child.Name] = goNode(r, child)
		}
		out = group
	}
	if n.Repetition == format.Optional {
		return parquet.Optional(out)
	}
	return parquet.Required(out)
}

func goLeaf(l *column.Leaf) parquet.Node {
	a := l.Annotation
	switch a.Kind {
	case column.String:
		return parquet.String()
	case column.Int:
		if a.Unsigned {
			return parquet.Uint(a.Bits)
		}
		return parquet.Int(a.Bits)
	case column.Date:
		return parquet.Date()
	case column.Timestamp:
		return parquet.TimestampAdjusted(parquet.Microsecond, a.UTC)
	case column.Decimal:
		return parquet.Decimal(int(a.Scale), int(a.Precision), goType(l))
	}
	return parquet.Leaf(goType(l))
}

func goType(l *column.Leaf) parquet.Type {
	if l.Type == format.FixedLenByteArray {
		return parquet.FixedLenByteArrayType(l.Width)
	}
	return map[format.Type]parquet.Type{
		format.Boolean: parquet.BooleanType, format.Int32: parquet.Int32Type, format.Int64: parquet.Int64Type,
		format.Float: parquet.FloatType, format.Double: parquet.DoubleType, format.ByteArray: parquet.ByteArrayType,
	}[l.Type]
}

func goEncoding(r *rand.Rand, physical format.Type) encoding.Encoding {
	list := []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary}
	switch physical {
	case format.Boolean:
		list = list[:1] // its runs of RLE hold 255 for true, which DuckDB refuses as we do
	case format.Int32, format.Int64:
		list = append(list, &parquet.DeltaBinaryPacked, &parquet.ByteStreamSplit)
	case format.Float, format.Double:
		list = append(list, &parquet.ByteStreamSplit)
	case format.FixedLenByteArray:
		list = append(list, &parquet.DeltaByteArray, &parquet.ByteStreamSplit)
	case format.ByteArray:
		list = append(list, &parquet.DeltaLengthByteArray, &parquet.DeltaByteArray)
	}
	return list[r.IntN(len(list))]
}

// readByParquetGo reads a file that Arrow's reader does not know the encodings of.
func readByParquetGo(t testing.TB, m memoryFile) arrow.Record {
	t.Helper()
	ours, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
	if err != nil {
		t.Fatal(err)
	}
	schema, err := shred.ArrowSchema(ours.Schema())
	if err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(m.data), int64(len(m.data)))
	if err != nil {
		t.Fatal(err)
	}
	var arrays []arrow.Array
	for _, n := range ours.Schema().Root.Children {
		var columns []*column.Column
		for _, leaf := range n.Leaves() {
			c := &column.Column{}
			c.Reset(leaf)
			for i, g := range file.RowGroups() {
				part, err := readChunk(leaf, g.ColumnChunks()[leaf.Index])
				if errors.Is(err, parquet.ErrCorrupted) {
					// parquet-go takes a page of fixed-width values and NULL for damaged that is not compressed.
					part = decodeChunk(t, ours, i, leaf)
				} else if err != nil {
					t.Fatalf("%s: %v: %v", m.name, leaf.Path, err)
				}
				c.Append(leaf, part, 0, part.Slots)
			}
			columns = append(columns, c)
		}
		arr, err := shred.Assemble(n, columns, int(file.NumRows()))
		if err != nil {
			t.Fatal(err)
		}
		arrays = append(arrays, arr)
	}
	return array.NewRecord(schema, arrays, file.NumRows())
}

// decodeChunk reads a chunk by the engine.
func decodeChunk(t testing.TB, f *splice.File, group int, leaf *column.Leaf) *column.Column {
	t.Helper()
	var all, page column.Column
	all.Reset(leaf)
	pages := f.Pages(group, leaf.Index, nil)
	defer pages.Close()
	for {
		_, _, err := pages.Next(context.Background(), &page)
		if errors.Is(err, io.EOF) {
			return &all
		}
		if err != nil {
			t.Fatal(err)
		}
		all.Append(leaf, &page, 0, page.Slots)
		all.Plain()
	}
}

// readChunk reads a chunk by parquet-go.
func readChunk(leaf *column.Leaf, chunk parquet.ColumnChunk) (*column.Column, error) {
	c := &column.Column{}
	c.Reset(leaf)
	pages := chunk.Pages()
	defer pages.Close()
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return c, nil
		}
		if err != nil {
			return nil, err
		}
		values := make([]parquet.Value, p.NumValues())
		if n, err := p.Values().ReadValues(values); n != len(values) {
			return nil, fmt.Errorf("%d of %d values: %w", n, len(values), err)
		}
		for _, v := range values {
			if leaf.MaxDef > 0 {
				c.Def = append(c.Def, uint8(v.DefinitionLevel()))
			}
			if leaf.MaxRep > 0 {
				c.Rep = append(c.Rep, uint8(v.RepetitionLevel()))
			}
			c.Slots++
			switch {
			case v.IsNull():
				c.Values.Append(nil)
			case leaf.Type == format.Boolean && v.Boolean():
				c.Values.Append([]byte{1})
			case leaf.Type == format.Boolean:
				c.Values.Append([]byte{0})
			default:
				c.Values.Append(append([]byte{}, v.Bytes()...))
			}
		}
	}
}

// checkClaims holds everything that merged files say of their data against it. What the old files and the source say wrongly
// is left out, since their chunks are copied.
func checkClaims(t testing.TB, what string, merged []memoryFile, others ...memoryFile) {
	t.Helper()
	var known []claims.Fault
	for _, m := range others {
		faults, err := claims.Check(m.data)
		if err != nil {
			t.Fatalf("%s: %s, as it was written: %v", what, m.name, err)
		}
		known = append(known, faults...)
	}
	for _, m := range merged {
		faults, err := claims.Check(m.data)
		if err != nil {
			t.Fatalf("%s: %s: %v", what, m.name, err)
		}
		for _, f := range claims.Beyond(faults, known) {
			t.Fatalf("%s: %s: %s", what, m.name, f)
		}
	}
}
