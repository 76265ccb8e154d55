package shred

import (
	"bytes"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/apache/arrow/go/v17/parquet/schema"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// TestArrowWritesWhatWeRead has Arrow's own Parquet module write arrays, takes the levels and values
// from the file, and holds both directions against them.
func TestArrowWritesWhatWeRead(t *testing.T) {
	for _, f := range append(everyType(), everyNesting()...) {
		if f.Type.ID() == arrow.DECIMAL256 || f.Metadata.Len() > 0 {
			continue // Arrow's module writes the first as wrong bytes and does not know the marks
		}
		t.Run(f.Name, func(t *testing.T) {
			for seed := range uint64(5) {
				r := rand.New(rand.NewPCG(seed, 2))
				compareWithArrow(t, f, randomArray(r, f, 1+r.IntN(50)))
			}
		})
	}
}

func compareWithArrow(t *testing.T, f arrow.Field, arr arrow.Array) {
	s, leaves := writeWithArrow(t, f, arr)
	// Arrow's module writes elements of lists as nullable whatever the type says.
	got, _, err := Cast(mustAssemble(t, s, leaves, arr.Len()), f.Type, CastOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !array.Equal(got, arr) {
		t.Fatalf("assembled\n got %v\nwant %v", got, arr)
	}
	sameColumns(t, mustShred(t, arr, nil, s), leaves)
}

func writeWithArrow(t *testing.T, f arrow.Field, arr arrow.Array) (*column.Schema, []*column.Column) {
	t.Helper()
	var buf bytes.Buffer
	sc := arrow.NewSchema([]arrow.Field{f}, nil)
	w, err := pqarrow.NewFileWriter(sc, &buf, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	rec := array.NewRecord(sc, []arrow.Array{arr}, int64(arr.Len()))
	if err := w.WriteBuffered(rec); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(buf.Bytes()))
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	s := &column.Schema{Root: &column.Node{Name: "schema"}}
	root := r.MetaData().Schema.Root()
	for i := range root.NumFields() {
		s.Root.Children = append(s.Root.Children, nodeOf(s, s.Root, root.Field(i), nil))
	}
	var columns []*column.Column
	for i, l := range s.Leaves {
		cr, err := r.RowGroup(0).Column(i)
		if err != nil {
			t.Fatal(err)
		}
		columns = append(columns, readColumn(t, cr, l))
	}
	return s, columns
}

func nodeOf(s *column.Schema, parent *column.Node, n schema.Node, path []string) *column.Node {
	out := node(n.Name(), format.FieldRepetitionType(n.RepetitionType()), parent)
	out.Annotation = annotationOf(n.LogicalType())
	path = append(path[:len(path):len(path)], n.Name())
	if g, ok := n.(*schema.GroupNode); ok {
		for i := range g.NumFields() {
			out.Children = append(out.Children, nodeOf(s, out, g.Field(i), path))
		}
		return out
	}
	p := n.(*schema.PrimitiveNode)
	l := &column.Leaf{Index: len(s.Leaves), Path: path, Type: format.Type(p.PhysicalType()), MaxDef: out.MaxDef, MaxRep: out.MaxRep, Annotation: out.Annotation}
	l.Width = map[format.Type]int{format.Boolean: 1, format.Int32: 4, format.Int64: 8, format.Int96: 12, format.Float: 4, format.Double: 8,
		format.FixedLenByteArray: p.TypeLength()}[l.Type]
	out.Leaf = l
	s.Leaves = append(s.Leaves, l)
	return out
}

func annotationOf(l schema.LogicalType) column.Annotation {
	units := map[schema.TimeUnitType]int64{schema.TimeUnitMillis: 1e6, schema.TimeUnitMicros: 1e3, schema.TimeUnitNanos: 1}
	switch l := l.(type) {
	case schema.StringLogicalType:
		return column.Annotation{Kind: column.String}
	case *schema.IntLogicalType:
		return column.Annotation{Kind: column.Int, Bits: int(l.BitWidth()), Unsigned: !l.IsSigned()}
	case *schema.DecimalLogicalType:
		return column.Annotation{Kind: column.Decimal, Precision: l.Precision(), Scale: l.Scale()}
	case schema.DateLogicalType:
		return column.Annotation{Kind: column.Date}
	case *schema.TimeLogicalType:
		return column.Annotation{Kind: column.Time, Unit: units[l.TimeUnit()], UTC: l.IsAdjustedToUTC()}
	case *schema.TimestampLogicalType:
		return column.Annotation{Kind: column.Timestamp, Unit: units[l.TimeUnit()], UTC: l.IsAdjustedToUTC()}
	case schema.Float16LogicalType:
		return column.Annotation{Kind: column.Float16}
	case schema.NullLogicalType:
		return column.Annotation{Kind: column.Null}
	case schema.ListLogicalType:
		return column.Annotation{Kind: column.List}
	case schema.MapLogicalType:
		return column.Annotation{Kind: column.Map}
	}
	return column.Annotation{}
}

// readColumn reads a chunk's levels and values.
func readColumn(t *testing.T, cr file.ColumnChunkReader, l *column.Leaf) *column.Column {
	t.Helper()
	const most = 1 << 16
	def, rep := make([]int16, most), make([]int16, most)
	var n int64
	var value func(i int) []byte
	var err error
	switch cr := cr.(type) {
	case *file.BooleanColumnChunkReader:
		v := make([]bool, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte {
			if v[i] {
				return []byte{1}
			}
			return []byte{0}
		}
	case *file.Int32ColumnChunkReader:
		v := make([]int32, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return raw(v[i : i+1]) }
	case *file.Int64ColumnChunkReader:
		v := make([]int64, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return raw(v[i : i+1]) }
	case *file.Float32ColumnChunkReader:
		v := make([]float32, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return raw(v[i : i+1]) }
	case *file.Float64ColumnChunkReader:
		v := make([]float64, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return raw(v[i : i+1]) }
	case *file.ByteArrayColumnChunkReader:
		v := make([]parquet.ByteArray, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return v[i] }
	case *file.FixedLenByteArrayColumnChunkReader:
		v := make([]parquet.FixedLenByteArray, most)
		n, _, err = cr.ReadBatch(most, v, def, rep)
		value = func(i int) []byte { return v[i] }
	}
	if err != nil {
		t.Fatal(err)
	}
	c := &column.Column{}
	c.Reset(l)
	next := 0
	for i := range int(n) {
		d := int16(l.MaxDef)
		if l.MaxDef > 0 {
			d = def[i]
		}
		if int(d) == l.MaxDef {
			c.Values.Append(value(next))
			next++
		} else {
			c.Values.Append(nil)
		}
		if l.MaxDef > 0 {
			c.Def = append(c.Def, uint8(d))
		}
		if l.MaxRep > 0 {
			c.Rep = append(c.Rep, uint8(rep[i]))
		}
		c.Slots++
	}
	return c
}
