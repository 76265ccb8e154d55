package splice

import (
	"context"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/hupsert/hupsert/merge/column"
)

func kindOf(name string) sampleType {
	return sampleTypes[slices.IndexFunc(sampleTypes, func(s sampleType) bool { return s.name == name })]
}

func doubles(leaf *column.Leaf, vs ...float64) *column.Column {
	c := &column.Column{}
	c.Reset(leaf)
	for _, v := range vs {
		c.Values.Append(binary.LittleEndian.AppendUint64(nil, math.Float64bits(v)))
		c.Slots++
	}
	return c
}

func longs(leaf *column.Leaf, vs ...int64) *column.Column {
	c := &column.Column{}
	c.Reset(leaf)
	for _, v := range vs {
		c.Values.Append(binary.LittleEndian.AppendUint64(nil, uint64(v)))
		c.Slots++
	}
	return c
}

func checkAudit(t *testing.T, data []byte) {
	t.Helper()
	f, err := openFile(data, "new")
	if err != nil {
		t.Fatal(err)
	}
	found, err := f.AuditChunk(context.Background(), 0, 0)
	if err != nil || len(found) > 0 {
		t.Error(found, err)
	}
}

// The least value of a chunk whose pages state no bounds is a zero, and goes: the bound that is left is -0.0, and no value is.
func TestPatchOfAZeroBound(t *testing.T) {
	field := sampleNode(kindOf("double"), requiredLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	data := writeChunks(t, WriterOptions{Schema: schema, NoPageIndex: true}, encode(t, leaf, ChunkOptions{PageRows: 2}, r, doubles(leaf, 0, 5), doubles(leaf, 1, 2)))
	next, ok := patchFile(t, r, data, doubles(leaf, 7), []change{{0, 0}}, 4)
	if !ok {
		t.Fatal("not patched")
	}
	f, _ := openFile(next, "new")
	t.Logf("%+v", f.groups[0].Columns[0].Stats)
	checkAudit(t, next)
}

// Bounds of a column index may be no values, of integers too (parquet-format, ColumnIndex), and the chunk says so of its own.
func TestPatchOfWideBounds(t *testing.T) {
	field := sampleNode(kindOf("int64"), requiredLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	c := encode(t, leaf, ChunkOptions{PageRows: 2}, r, longs(leaf, 10, 50), longs(leaf, 20, 30))
	if len(c.pages) != 2 {
		t.Fatal(len(c.pages))
	}
	c.pages[0].bounds.min, c.pages[0].bounds.looseMin = binary.LittleEndian.AppendUint64(nil, 3), true
	data := writeChunks(t, WriterOptions{Schema: schema}, c)
	checkAudit(t, data)
	next, ok := patchFile(t, r, data, longs(leaf, 25), []change{{2, 0}}, 4)
	if !ok {
		t.Fatal("not patched")
	}
	checkAudit(t, next)
}

// A column without a value whose pages name the dictionary, of which there is none: it is read, and a row that goes is refused.
func TestPatchWithoutDictionaryPage(t *testing.T) {
	field := sampleNode(kindOf("int64"), optionalLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	for _, deleted := range []int{0, 3} {
		now := &column.Column{}
		now.Reset(leaf)
		for range 4 {
			now.AppendNull(leaf, 0)
		}
		dict := &column.Vector{}
		dict.Reset(8)
		dict.Append(make([]byte, 8))
		c := encode(t, leaf, ChunkOptions{PageRows: 2, Dictionary: true, Seed: dict}, r, now)
		t.Log(c.counts, len(c.dict))
		c.dict = nil // as though there were none
		data := writeChunks(t, WriterOptions{Schema: schema}, c)
		f, err := openFile(data, "old")
		if err != nil {
			t.Fatal(err)
		}
		ch := f.groups[0].Columns[0]
		t.Log(ch.HasDictionary, ch.Encodings)
		wholeColumn(t, f, 0)
		p, _, err := f.Patch(0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if p == nil {
			t.Log("not patched")
			continue
		}
		edits := make([][]PageEdit, len(p.Pages()))
		edits[deleted/2] = []PageEdit{{Row: int32(deleted % 2), Slot: -1}}
		values := &column.Column{}
		values.Reset(leaf)
		if err := p.Enter(context.Background(), values, edits); err != nil {
			t.Error(err)
		}
	}
}

// A page index that can't be used is an optimisation: pages are walked.
func TestPatchByWalking(t *testing.T) {
	field := sampleNode(kindOf("int64"), requiredLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, ChunkOptions{PageRows: 2}, r, longs(leaf, 10, 50), longs(leaf, 20, 30)))
	f, err := openFile(data, "old")
	if err != nil {
		t.Fatal(err)
	}
	at := f.groups[0].Columns[0].offsetIndex
	for i := range at.n {
		data[at.off+i] = 0xFF
	}
	f, err = openFile(data, "old")
	if err != nil {
		t.Fatal(err)
	}
	wholeColumn(t, f, 0)
	if p, _, err := f.Patch(0, 0); err != nil {
		t.Error(p, err)
	}
}

// A chunk whose footer lists the encoding of a dictionary, but that has none: all pages are PLAIN, and it is read.
func TestPatchOfAClaimedDictionary(t *testing.T) {
	field := sampleNode(kindOf("int64"), requiredLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, ChunkOptions{PageRows: 2}, r, longs(leaf, 10, 50), longs(leaf, 20, 30)))
	f, err := openFile(data, "old")
	if err != nil {
		t.Fatal(err)
	}
	f.groups[0].Columns[0].HasDictionary = true
	wholeColumn(t, f, 0)
	if _, err := tryPatch(f, longs(leaf, 25), []change{{2, 0}}, 4); err != nil {
		t.Error(err)
	}
}

// A page of NULL has as many rows as a row group; texts that a quarter of them get make it as large as they are: it is never divided.
// Beyond maxPageBytes (1 GiB) our own reader refuses it, beyond 2 GiB the merge fails, though encoding the chunk would divide it.
func TestPatchLeavesPagesThatGrow(t *testing.T) {
	field := sampleNode(kindOf("string"), optionalLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	const rows = 4000
	now := &column.Column{}
	now.Reset(leaf)
	for range rows {
		now.AppendNull(leaf, 0)
	}
	data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, ChunkOptions{}, r, now))
	fresh := &column.Column{}
	fresh.Reset(leaf)
	fresh.Values.Append(make([]byte, 16<<10))
	fresh.Slots++
	var list []change
	for row := range rows / 4 {
		list = append(list, change{row, 0})
	}
	next, ok := patchFile(t, r, data, fresh, list, rows)
	if !ok {
		return
	}
	f, err := openFile(next, "new")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := f.Patch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range p.Pages() {
		if g.PlainBytes() > 4*DefaultPageBytes {
			t.Errorf("a page of %d rows and %d bytes; pages are encoded at %d", g.Rows, g.PlainBytes(), DefaultPageBytes)
		}
	}
}
