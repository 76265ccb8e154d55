package splice

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// change is an edit of a row of the row group: a slot of other values, or -1.
type change struct{ row, slot int }

// changes draws edits of rows and the column that they make of c.
func changes(r *rand.Rand, leaf *column.Leaf, c, fresh *column.Column, deletes bool) (list []change, want *column.Column) {
	want = &column.Column{}
	want.Reset(leaf)
	share := []float64{0.001, 0.02, 0.5, 1}[r.IntN(4)]
	for row := range c.Slots {
		if r.Float64() >= share {
			want.Append(leaf, c, row, row+1)
			want.Plain()
			continue
		}
		if deletes && r.IntN(3) == 0 {
			list = append(list, change{row, -1})
			continue
		}
		slot := r.IntN(fresh.Slots)
		list = append(list, change{row, slot})
		want.Append(leaf, fresh, slot, slot+1)
		want.Plain()
	}
	return list, want
}

// patchFile patches the one chunk of a file; nil where the chunk refuses it.
func patchFile(t *testing.T, r *rand.Rand, data []byte, fresh *column.Column, list []change, rows int) ([]byte, bool) {
	t.Helper()
	f, err := openFile(data, "old")
	if err != nil {
		t.Fatal(err)
	}
	p, _, err := f.Patch(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	if p == nil {
		return nil, false
	}
	return patched(t, r, f, p, fresh, list, rows)
}

func patched(t *testing.T, r *rand.Rand, f *File, p *Patch, fresh *column.Column, list []change, rows int) ([]byte, bool) {
	t.Helper()
	ctx := context.Background()
	pages := p.Pages()
	edits := make([][]PageEdit, len(pages))
	for _, c := range list {
		i, found := slices.BinarySearchFunc(pages, int64(c.row), func(g StoredPage, row int64) int { return cmp.Compare(g.FirstRow, row) })
		if !found {
			i--
		}
		edits[i] = append(edits[i], PageEdit{Row: int32(int64(c.row) - pages[i].FirstRow), Slot: int32(c.slot)})
	}
	if err := p.Enter(ctx, fresh, edits); errors.Is(err, ErrUnpatched) {
		return nil, false
	} else if err != nil {
		t.Fatal(err)
	}
	out := &memoryOutput{}
	w, err := NewWriter(out, WriterOptions{Template: f})
	if err != nil {
		t.Fatal(err)
	}
	if err := w.BeginRowGroup(int64(rows)); err != nil {
		t.Fatal(err)
	}
	pw, err := w.OpenPatch(p)
	if err != nil {
		t.Fatal(err)
	}
	var unit []int
	flush := func() {
		if len(unit) == 0 {
			return
		}
		pages, err := p.Patched(ctx, unit)
		if err != nil {
			t.Fatal(err)
		}
		if err := pw.Patched(pages); err != nil {
			t.Fatal(err)
		}
		unit = nil
	}
	for i := range edits {
		if len(edits[i]) > 0 {
			unit = append(unit, i)
		}
		if r.IntN(3) == 0 {
			flush()
		}
	}
	flush()
	if err := pw.Close(); err != nil {
		t.Fatal(err)
	}
	if err := w.EndRowGroup(); err != nil {
		t.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return out.Bytes(), true
}

// TestPatch patches chunks of every type, shape and page form again and again, and holds values, statistics and page indexes
// against the model each time.
func TestPatch(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	tried, done := 0, 0
	for _, c := range sampleCases(seed, 2) {
		if c.o.PageVersion == 2 {
			c.o.PlainDictionary = false
		}
		if c.o.Codec == format.Lz4Raw {
			c.o.Codec = format.Snappy // parquet-go drops pages that expand to less than three times their size
		}
		field := sampleNode(c.sampleType, c.shape)
		schema := newSchema(field)
		leaf := schema.Leaves[0]
		if !leaf.Flat() {
			continue
		}
		now := c.sampler.column(c.sampleType, field, c.rows)
		data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, c.o, c.Rand, now))
		t.Run(c.String(), func(t *testing.T) {
			for range 3 {
				fresh := sampler{c.Rand, []int{1, 30, 100000}[c.IntN(3)], []float64{0, 0.3, 1}[c.IntN(3)]}.column(c.sampleType, field, 50)
				list, want := changes(c.Rand, leaf, now, fresh, c.IntN(2) == 0)
				if want.Slots == 0 {
					continue
				}
				tried++
				next, ok := patchFile(t, c.Rand, data, fresh, list, want.Slots)
				if !ok {
					continue
				}
				done++
				checkEqual(t, leaf, readIndependently(t, next, leaf), want)
				checkStatistics(t, next, leaf, want)
				if len(list) == 0 && !bytes.Equal(pagesOf(t, next), pagesOf(t, data)) {
					t.Error("pages changed though no value did")
				}
				now, data = want, next
			}
		})
	}
	t.Logf("%d of %d patched", done, tried)
	if done < tried/2 {
		t.Errorf("%d of %d patched", done, tried)
	}
}

// TestPatchForeign patches files of parquet-go in every encoding, with their page index and without. What the file says then
// of pages and chunk must hold.
func TestPatchForeign(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 1))
	done := map[bool]int{}
	for _, file := range writtenFiles(t, 1400) {
		for _, indexed := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s/indexed=%t", file.name, indexed), func(t *testing.T) {
				f, err := openFile(file.data, file.name)
				if err != nil {
					t.Fatal(err)
				}
				f.groups[0].Columns[0].HasPageIndex = indexed
				leaf := f.schema.Leaves[0]
				if !leaf.Flat() {
					return
				}
				old := wholeColumn(t, f, 0)
				fresh := &column.Column{}
				fresh.Reset(leaf)
				for range 40 {
					i := r.IntN(old.Slots)
					fresh.Append(leaf, old, i, i+1)
				}
				list, want := changes(r, leaf, old, fresh, r.IntN(2) == 0)
				p, _, err := f.Patch(0, 0)
				if err != nil {
					t.Fatal(err)
				}
				if p == nil || want.Slots == 0 {
					return
				}
				next, ok := patched(t, r, f, p, fresh, list, want.Slots)
				if !ok {
					return
				}
				done[indexed]++
				if f.groups[0].Columns[0].Codec != format.Lz4Raw { // parquet-go drops pages that expand to less than three times their size
					checkEqual(t, leaf, readIndependently(t, next, leaf), want)
				}
				again, err := openFile(next, file.name)
				if err != nil {
					t.Fatal(err)
				}
				checkEqual(t, leaf, wholeColumn(t, again, 0), want)
				if found, err := again.AuditChunk(context.Background(), 0, 0); err != nil || len(found) > 0 {
					t.Error(found, err)
				}
			})
		}
	}
	t.Logf("patched with and without page index: %v", done)
	if done[true] < 40 || done[false] < 20 {
		t.Errorf("few were patched: %v", done)
	}
}

// wholeColumn decodes a chunk.
func wholeColumn(t *testing.T, f *File, rg int) *column.Column {
	t.Helper()
	leaf := f.schema.Leaves[0]
	all, page := &column.Column{}, column.Column{}
	all.Reset(leaf)
	r := f.Pages(rg, 0, nil)
	defer r.Close()
	for all.Slots == 0 || int64(all.Slots) < f.groups[rg].Columns[0].NumValues {
		if _, _, err := r.Next(context.Background(), &page); err != nil {
			t.Fatal(err)
		}
		all.Append(leaf, &page, 0, page.Slots)
		all.Plain()
	}
	return all
}

// TestPatchKeepsBytes: pages without an edit, and those whose edits change nothing, are the bytes that they were.
func TestPatchKeepsBytes(t *testing.T) {
	field := sampleNode(sampleTypes[0], requiredLeaf)
	schema := newSchema(field)
	leaf := schema.Leaves[0]
	r := rand.New(rand.NewPCG(1, 1))
	now := sampler{r, 100000, 0}.column(sampleTypes[0], field, 3000)
	data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, ChunkOptions{PageRows: 100}, r, now))
	var list []change
	for row := 250; row < 350; row++ {
		list = append(list, change{row, row})
	}
	same, ok := patchFile(t, r, data, now, list, 3000)
	if !ok || !bytes.Equal(pagesOf(t, same), pagesOf(t, data)) {
		t.Errorf("patched: %t; pages changed though no value did", ok)
	}
}

// pagesOf are the bytes of a file's one chunk.
func pagesOf(t *testing.T, data []byte) []byte {
	t.Helper()
	f, err := openFile(data, "file")
	if err != nil {
		t.Fatal(err)
	}
	c := f.groups[0].Columns[0]
	return data[c.Offset : c.Offset+c.CompressedSize]
}

// TestPatchLargePages patches a few rows of pages of several hundred KiB, fifty times over: only pieces of their compressed
// bytes are made anew. The chunk stays about as large as one that is encoded at once.
func TestPatchLargePages(t *testing.T) {
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	for _, version := range []int{1, 2} {
		for _, of := range []shape{requiredLeaf, optionalLeaf} {
			r := rand.New(rand.NewPCG(seed, uint64(version)))
			kind := sampleTypes[slices.IndexFunc(sampleTypes, func(s sampleType) bool { return s.name == "string" })]
			field := sampleNode(kind, of)
			schema := newSchema(field)
			leaf := schema.Leaves[0]
			draw := sampler{r, 100_000, 0.01}
			now := draw.column(kind, field, 40_000)
			o := ChunkOptions{Codec: format.Snappy, PageVersion: version, PageRows: 15_000, PageBytes: 4 << 20}
			data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, o, r, now))
			rounds := 50
			if testing.Short() {
				rounds = 5
			}
			for round := range rounds {
				fresh := draw.column(kind, field, 10)
				list, want := few(r, leaf, now, fresh)
				next, ok := patchFile(t, r, data, fresh, list, want.Slots)
				if !ok {
					t.Fatal("not patched")
				}
				if round%10 == 9 || round < 3 {
					checkEqual(t, leaf, readIndependently(t, next, leaf), want)
					checkStatistics(t, next, leaf, want)
				}
				now, data = want, next
			}
			once := writeChunks(t, WriterOptions{Schema: schema}, encode(t, leaf, o, r, now))
			if len(data) > len(once)+len(once)/10 {
				t.Errorf("%d bytes, %d when encoded at once", len(data), len(once))
			}
		}
	}
}

// few draws edits of a few rows.
func few(r *rand.Rand, leaf *column.Leaf, c, fresh *column.Column) (list []change, want *column.Column) {
	rows := map[int]bool{}
	for range 1 + r.IntN(8) {
		rows[r.IntN(c.Slots)] = true
	}
	want = &column.Column{}
	want.Reset(leaf)
	for row := range c.Slots {
		if !rows[row] {
			want.Append(leaf, c, row, row+1)
			want.Plain()
			continue
		}
		if r.IntN(4) == 0 {
			list = append(list, change{row, -1})
			continue
		}
		slot := r.IntN(fresh.Slots)
		list = append(list, change{row, slot})
		want.Append(leaf, fresh, slot, slot+1)
		want.Plain()
	}
	return list, want
}

// TestUnpatchable: what the footer says against patching has a reason, and no patch is opened then.
func TestUnpatchable(t *testing.T) {
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[struct{ List []int64 }](&buf)
	if _, err := w.Write([]struct{ List []int64 }{{[]int64{1}}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	flat := writtenFiles(t, 10)[0].data
	for _, c := range []struct {
		data      []byte
		createdBy string
		codec     format.CompressionCodec
		want      string
	}{
		{flat, "parquet-mr version 1.13.1", format.Snappy, ""},
		{flat, "parquet-mr version 1.7.0", format.Snappy, "its writer may chain pages"},
		{flat, "fastparquet-python version 2024.11.0 (build 0)", format.Snappy, "its writer pads pages"},
		{flat, "", format.Lz4, "its pages are in the codec LZ4"},
		{flat, "", format.LZO, "its pages are in the codec LZO"},
		{buf.Bytes(), "", format.Snappy, "the column is nested"},
	} {
		f, err := openFile(c.data, "old")
		if err != nil {
			t.Fatal(err)
		}
		f.maker = parseMaker(c.createdBy)
		f.groups[0].Columns[0].Codec = c.codec
		if got := f.Unpatchable(0, 0); got != c.want {
			t.Errorf("%s, %s: %q, want %q", c.createdBy, c.codec, got, c.want)
		}
		if p, _, err := f.Patch(0, 0); c.want != "" && (p != nil || err != nil) {
			t.Errorf("%s, %s: a patch was opened, %v", c.createdBy, c.codec, err)
		}
	}
}
