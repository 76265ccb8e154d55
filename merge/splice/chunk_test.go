package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// memoryOutput is a file in memory.
type memoryOutput struct{ bytes.Buffer }

func (o *memoryOutput) CopyRange(src io.ReaderAt, off, n int64) error {
	copied, err := io.Copy(o, io.NewSectionReader(src, off, n))
	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// sampleType is a leaf type with how its values are made.
type sampleType struct {
	name  string
	kind  format.Type
	width int
	note  column.Annotation
	value func(r *rand.Rand, distinct int) []byte
}

func fixed(width int) func(r *rand.Rand, distinct int) []byte {
	return func(r *rand.Rand, distinct int) []byte {
		v := uint64(r.IntN(distinct)) * 0x9E3779B97F4A7C15
		return appendUint(nil, v>>7, width)
	}
}

func text(r *rand.Rand, distinct int) []byte {
	n := r.IntN(distinct)
	if n == 0 {
		return []byte{}
	}
	v := fmt.Appendf(nil, "%x-\u00e9", uint32(n)*0x9E3779B9)
	if n%7 == 3 {
		v = append(bytes.Repeat([]byte("long\u20ac"), 11), v...)
	}
	return v
}

func signed(r *rand.Rand, distinct int) []byte {
	n := big.NewInt(int64(r.IntN(distinct)-distinct/2) * 77777)
	if n.Sign() >= 0 {
		return append([]byte{0}, n.Bytes()...)
	}
	size := len(n.Bytes()) + 1
	n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(8*size)))
	return n.Bytes()
}

var sampleTypes = []sampleType{
	{name: "bool", kind: format.Boolean, width: 1, value: func(r *rand.Rand, _ int) []byte { return []byte{byte(r.IntN(2))} }},
	{name: "int32", kind: format.Int32, width: 4, value: fixed(4)},
	{name: "int64", kind: format.Int64, width: 8, value: fixed(8)},
	{name: "int96", kind: format.Int96, width: 12, value: fixed(12)},
	{name: "float", kind: format.Float, width: 4, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(math.Float32bits(float32(r.IntN(distinct)-distinct/2)/8)), 4)
	}},
	{name: "double", kind: format.Double, width: 8, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, math.Float64bits(float64(r.IntN(distinct)-distinct/2)/8), 8)
	}},
	{name: "bytes", kind: format.ByteArray, value: text},
	{name: "string", kind: format.ByteArray, note: column.Annotation{Kind: column.String}, value: text},
	{name: "json", kind: format.ByteArray, note: column.Annotation{Kind: column.JSON}, value: func(r *rand.Rand, distinct int) []byte {
		return fmt.Appendf(nil, `{"a":%d}`, r.IntN(distinct))
	}},
	{name: "fixed5", kind: format.FixedLenByteArray, width: 5, value: fixed(5)},
	{name: "uuid", kind: format.FixedLenByteArray, width: 16, note: column.Annotation{Kind: column.UUID}, value: fixed(16)},
	{name: "float16", kind: format.FixedLenByteArray, width: 2, note: column.Annotation{Kind: column.Float16}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(min(distinct, 0x7C00))|r.IntN(2)<<15), 2)
	}},
	{name: "decimal9", kind: format.Int32, width: 4, note: column.Annotation{Kind: column.Decimal, Precision: 9, Scale: 2}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(distinct)-distinct/2), 4)
	}},
	{name: "decimal18", kind: format.Int64, width: 8, note: column.Annotation{Kind: column.Decimal, Precision: 18, Scale: 2}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(distinct)-distinct/2), 8)
	}},
	{name: "decimal38", kind: format.FixedLenByteArray, width: 16, note: column.Annotation{Kind: column.Decimal, Precision: 38, Scale: 4}, value: func(r *rand.Rand, distinct int) []byte {
		v := signed(r, distinct)
		pad := byte(0)
		if v[0]&0x80 != 0 {
			pad = 0xFF
		}
		return append(bytes.Repeat([]byte{pad}, 16-len(v)), v...)
	}},
	{name: "decimal_bytes", kind: format.ByteArray, note: column.Annotation{Kind: column.Decimal, Precision: 20, Scale: 4}, value: signed},
	{name: "uint8", kind: format.Int32, width: 4, note: column.Annotation{Kind: column.Int, Bits: 8, Unsigned: true}, value: func(r *rand.Rand, _ int) []byte {
		return appendUint(nil, uint64(r.IntN(256)), 4)
	}},
	{name: "uint32", kind: format.Int32, width: 4, note: column.Annotation{Kind: column.Int, Bits: 32, Unsigned: true}, value: fixed(4)},
	{name: "uint64", kind: format.Int64, width: 8, note: column.Annotation{Kind: column.Int, Bits: 64, Unsigned: true}, value: fixed(8)},
	{name: "date", kind: format.Int32, width: 4, note: column.Annotation{Kind: column.Date}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(min(distinct, 20000))), 4)
	}},
	{name: "timestamp", kind: format.Int64, width: 8, note: column.Annotation{Kind: column.Timestamp, Unit: 1e3, UTC: true}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(distinct))*1e9, 8)
	}},
	{name: "local_nanos", kind: format.Int64, width: 8, note: column.Annotation{Kind: column.Timestamp, Unit: 1}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(distinct))*1e9, 8)
	}},
	{name: "time", kind: format.Int32, width: 4, note: column.Annotation{Kind: column.Time, Unit: 1e6, UTC: true}, value: func(r *rand.Rand, distinct int) []byte {
		return appendUint(nil, uint64(r.IntN(min(distinct, 86400000))), 4)
	}},
}

// shape is how a leaf is nested.
type shape int

const (
	requiredLeaf shape = iota
	optionalLeaf
	optionalInStruct
	listLeaf
	listOfLists
	bareRepeated
)

var shapeNames = []string{"required", "optional", "in struct", "list", "list of lists", "repeated"}

// sampleNode is a top-level field of a type and shape.
func sampleNode(s sampleType, of shape) *column.Node {
	leaf := func(name string, repetition format.FieldRepetitionType) *column.Node {
		return &column.Node{
			Name: name, Repetition: repetition, Annotation: s.note,
			Leaf: &column.Leaf{Type: s.kind, Width: s.width, Annotation: s.note},
		}
	}
	list := func(name string, element *column.Node) *column.Node {
		return &column.Node{
			Name: name, Repetition: format.Optional, Annotation: column.Annotation{Kind: column.List},
			Children: []*column.Node{{Name: "list", Repetition: format.Repeated, Children: []*column.Node{element}}},
		}
	}
	switch of {
	case requiredLeaf:
		return leaf(s.name, format.Required)
	case optionalLeaf:
		return leaf(s.name, format.Optional)
	case optionalInStruct:
		return &column.Node{Name: s.name, Repetition: format.Optional, Children: []*column.Node{leaf("x", format.Optional)}}
	case listLeaf:
		return list(s.name, leaf("element", format.Optional))
	case listOfLists:
		return list(s.name, list("element", leaf("element", format.Required)))
	}
	return leaf(s.name, format.Repeated)
}

// newSchema finishes a schema: levels, paths and leaves.
func newSchema(fields ...*column.Node) *column.Schema {
	s := &column.Schema{Root: &column.Node{Name: "schema", Children: fields}}
	var walk func(n *column.Node, def, rep int, path []string)
	walk = func(n *column.Node, def, rep int, path []string) {
		switch n.Repetition {
		case format.Optional:
			def++
		case format.Repeated:
			def++
			rep++
		}
		path = append(path[:len(path):len(path)], n.Name)
		n.MaxDef, n.MaxRep = def, rep
		if n.Leaf != nil {
			n.Leaf.Index, n.Leaf.Path, n.Leaf.MaxDef, n.Leaf.MaxRep = len(s.Leaves), path, def, rep
			s.Leaves = append(s.Leaves, n.Leaf)
		}
		for _, child := range n.Children {
			walk(child, def, rep, path)
		}
	}
	for _, field := range fields {
		walk(field, 0, 0, nil)
	}
	return s
}

// sampler makes columns.
type sampler struct {
	*rand.Rand
	distinct  int
	nullShare float64
}

// column makes so many rows of a top-level field.
func (s sampler) column(kind sampleType, n *column.Node, rows int) *column.Column {
	leaf := n
	for leaf.Leaf == nil {
		leaf = leaf.Children[0]
	}
	c := &column.Column{}
	c.Reset(leaf.Leaf)
	for range rows {
		s.field(kind, c, n, 0, 0)
	}
	if c.MaxDef > 0 && c.Slots > 0 && bytes.Count(c.Def, []byte{c.MaxDef}) == c.Slots {
		c.Def = nil
	}
	return c
}

func (s sampler) field(kind sampleType, c *column.Column, n *column.Node, rep, def uint8) {
	count := 1
	switch n.Repetition {
	case format.Optional:
		if s.Float64() < s.nullShare {
			count = 0
		}
	case format.Repeated:
		count = s.IntN(5)
		if s.Float64() < s.nullShare {
			count = 0
		}
	}
	if count == 0 {
		s.slot(c, n, rep, def, nil)
		return
	}
	if n.Repetition != format.Required {
		def++
	}
	for range count {
		if n.Leaf != nil {
			s.slot(c, n, rep, def, kind.value(s.Rand, s.distinct))
		} else {
			s.field(kind, c, n.Children[0], rep, def)
		}
		rep = uint8(n.MaxRep)
	}
}

func (s sampler) slot(c *column.Column, n *column.Node, rep, def uint8, value []byte) {
	for n.Leaf == nil {
		n = n.Children[0]
	}
	if n.Leaf.MaxDef > 0 {
		c.Def = append(c.Def, def)
	}
	if n.Leaf.MaxRep > 0 {
		c.Rep = append(c.Rep, rep)
	}
	c.Values.Append(value)
	c.Slots++
}

// rowEnds returns the slots at which rows end.
func rowEnds(c *column.Column) []int {
	var ends []int
	for i := 1; i < c.Slots; i++ {
		if c.Rep == nil || c.Rep[i] == 0 {
			ends = append(ends, i)
		}
	}
	return append(ends, c.Slots)
}

// inDictionary returns the same slots as indices into a dictionary with entries that nothing uses.
func inDictionary(c *column.Column) *column.Column {
	d := &column.Column{Slots: c.Slots, MaxDef: c.MaxDef, Def: c.Def, Rep: c.Rep, Dict: &column.Vector{}}
	d.Dict.Reset(c.Values.Width)
	d.Dict.Append(make([]byte, c.Values.Width))
	places := map[string]int32{}
	for i := range c.Slots {
		place := int32(0)
		if !c.Null(i) {
			v := c.Value(i)
			var ok bool
			if place, ok = places[string(v)]; !ok {
				place = int32(d.Dict.Len())
				places[string(v)] = place
				d.Dict.Append(v)
			}
		}
		d.Index = append(d.Index, place)
	}
	return d
}

// encode appends a column in pieces of whole rows.
func encode(t testing.TB, leaf *column.Leaf, o ChunkOptions, r *rand.Rand, columns ...*column.Column) *EncodedChunk {
	t.Helper()
	e := NewChunkEncoder(leaf, o)
	for _, c := range columns {
		ends := rowEnds(c)
		for from, row := 0, 0; from < c.Slots; {
			row = min(row+1+r.IntN(700), len(ends))
			if err := e.Append(c, from, ends[row-1]); err != nil {
				t.Fatal(err)
			}
			from = ends[row-1]
		}
	}
	chunk, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	return chunk
}

// writeChunks writes one row group of encoded chunks.
func writeChunks(t testing.TB, o WriterOptions, chunks ...*EncodedChunk) []byte {
	t.Helper()
	out := &memoryOutput{}
	w, err := NewWriter(out, o)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.BeginRowGroup(chunks[0].Rows); err != nil {
		t.Fatal(err)
	}
	for _, c := range chunks {
		if err := w.WriteChunk(c); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.EndRowGroup(); err != nil {
		t.Fatal(err)
	}
	s, err := w.Close()
	if err != nil {
		t.Fatal(err)
	}
	if s.Bytes != int64(out.Len()) || w.Offset() != s.Bytes {
		t.Fatalf("%d bytes, the summary says %d", out.Len(), s.Bytes)
	}
	return out.Bytes()
}

// readIndependently reads a column of all row groups by parquet-go.
func readIndependently(t testing.TB, file []byte, leaf *column.Leaf) *column.Column {
	t.Helper()
	f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
	if err != nil {
		t.Fatal(err)
	}
	c := &column.Column{}
	c.Reset(leaf)
	for _, group := range f.RowGroups() {
		pages := group.ColumnChunks()[leaf.Index].Pages()
		for {
			page, err := pages.ReadPage()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatalf("column %q: %v", leaf.Path, err)
			}
			values := make([]parquet.Value, page.NumValues())
			if n, err := page.Values().ReadValues(values); n != len(values) {
				t.Fatalf("column %q: %d of %d values: %v", leaf.Path, n, len(values), err)
			}
			for _, v := range values {
				appendValue(c, leaf, v)
			}
		}
		_ = pages.Close()
	}
	return c
}

func appendValue(c *column.Column, leaf *column.Leaf, v parquet.Value) {
	if leaf.MaxDef > 0 {
		c.Def = append(c.Def, uint8(v.DefinitionLevel()))
	}
	if leaf.MaxRep > 0 {
		c.Rep = append(c.Rep, uint8(v.RepetitionLevel()))
	}
	c.Slots++
	if v.IsNull() {
		c.Values.Append(nil)
		return
	}
	switch v.Kind() {
	case parquet.Boolean:
		b := byte(0)
		if v.Boolean() {
			b = 1
		}
		c.Values.Append([]byte{b})
	case parquet.Int32:
		c.Values.Append(appendUint(nil, uint64(v.Int32()), 4))
	case parquet.Int64:
		c.Values.Append(appendUint(nil, uint64(v.Int64()), 8))
	case parquet.Int96:
		var b []byte
		for _, word := range v.Int96() {
			b = binary.LittleEndian.AppendUint32(b, word)
		}
		c.Values.Append(b)
	case parquet.Float:
		c.Values.Append(appendUint(nil, uint64(math.Float32bits(v.Float())), 4))
	case parquet.Double:
		c.Values.Append(appendUint(nil, math.Float64bits(v.Double()), 8))
	default:
		c.Values.Append(v.ByteArray())
	}
}

// checkEqual compares columns slot by slot.
func checkEqual(t testing.TB, leaf *column.Leaf, got, want *column.Column) {
	t.Helper()
	if got.Slots != want.Slots {
		t.Fatalf("column %q: %d slots, want %d", leaf.Path, got.Slots, want.Slots)
	}
	for i := range want.Slots {
		if leaf.MaxRep > 0 && got.Rep[i] != want.Rep[i] {
			t.Fatalf("column %q: slot %d has repetition level %d, want %d", leaf.Path, i, got.Rep[i], want.Rep[i])
		}
		if !column.Equal(got, i, want, i, nil) {
			t.Fatalf("column %q: slot %d is %x, want %x", leaf.Path, i, got.Value(i), want.Value(i))
		}
	}
}

var sampleCodecs = []format.CompressionCodec{
	format.Uncompressed, format.Snappy, format.Gzip, format.Zstd, format.Brotli, format.Lz4Raw,
}

// sampleCase is one combination of what an encoder may meet.
type sampleCase struct {
	sampleType
	shape
	sampler
	rows int
	o    ChunkOptions
}

func (c sampleCase) String() string {
	return fmt.Sprintf("%s %s, %d rows, %d distinct, %.0f%% null, %+v",
		shapeNames[c.shape], c.name, c.rows, c.distinct, 100*c.nullShare, c.o)
}

// sampleCases draws combinations by a seed, each type and shape at least once.
func sampleCases(seed uint64, rounds int) []sampleCase {
	r := rand.New(rand.NewPCG(seed, seed))
	var cases []sampleCase
	pick := func(from ...int) int { return from[r.IntN(len(from))] }
	for range rounds {
		for _, kind := range sampleTypes {
			for of := requiredLeaf; of <= bareRepeated; of++ {
				cases = append(cases, sampleCase{
					sampleType: kind, shape: of, rows: pick(1, 7, 300, 3000),
					sampler: sampler{r, pick(1, 2, 30, 500, 100000), []float64{0, 0.02, 0.5, 0.97, 1}[r.IntN(5)]},
					o: ChunkOptions{
						Codec: sampleCodecs[r.IntN(len(sampleCodecs))], PageVersion: pick(1, 2),
						PageRows: pick(0, 1, 50, 1000), PageBytes: pick(0, 100, 3000), DictBytes: pick(0, 200, 4000),
						Dictionary: r.IntN(3) > 0, PlainDictionary: r.IntN(2) == 0, CRC: r.IntN(2) == 0,
					},
				})
			}
		}
	}
	return cases
}

func TestRoundTripIndependently(t *testing.T) {
	for _, c := range sampleCases(11, 3) {
		if c.o.PageVersion == 2 {
			c.o.PlainDictionary = false
		}
		if c.o.Codec == format.Lz4Raw {
			c.o.Codec = format.Snappy // parquet-go drops pages that expand to less than three times their size
		}
		field := sampleNode(c.sampleType, c.shape)
		schema := newSchema(field)
		leaf := schema.Leaves[0]
		want := c.sampler.column(c.sampleType, field, c.rows)
		from := want
		if c.IntN(3) == 0 {
			from = inDictionary(want)
		}
		t.Run(c.String(), func(t *testing.T) {
			chunk := encode(t, leaf, c.o, c.Rand, from)
			file := writeChunks(t, WriterOptions{Schema: schema}, chunk)
			checkEqual(t, leaf, readIndependently(t, file, leaf), want)
			checkStatistics(t, file, leaf, want)
		})
	}
}
