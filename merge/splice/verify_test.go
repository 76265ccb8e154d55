package splice

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/hupsert/hupsert/merge/column"
)

func TestVerify(t *testing.T) {
	for _, c := range sampleCases(21, 2) {
		field := sampleNode(c.sampleType, c.shape)
		schema := newSchema(field)
		leaf := schema.Leaves[0]
		want := c.sampler.column(c.sampleType, field, c.rows)
		t.Run(c.String(), func(t *testing.T) {
			chunk := encode(t, leaf, c.o, c.Rand, want)
			if err := chunk.Verify(context.Background()); err != nil {
				t.Fatal(err)
			}
			// What is read from the file is the same again.
			f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, chunk))
			checkEqual(t, leaf, readBack(t, f, 0, 0), want)
		})
	}
}

// readBack reads a chunk by the package's own reader.
func readBack(t testing.TB, f *File, rg, col int) *column.Column {
	t.Helper()
	leaf := f.Schema().Leaves[col]
	all := &column.Column{}
	all.Reset(leaf)
	p := f.Pages(rg, col, nil)
	defer p.Close()
	var page column.Column
	for {
		_, _, err := p.Next(context.Background(), &page)
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		all.Append(leaf, &page, 0, page.Slots)
	}
}

func TestVerifyFindsDamage(t *testing.T) {
	r := rand.New(rand.NewPCG(2, 3))
	kind := sampleTypes[2]
	field := sampleNode(kind, optionalLeaf)
	leaf := newSchema(field).Leaves[0]
	for _, dictionary := range []bool{false, true} {
		chunk := encode(t, leaf, ChunkOptions{Dictionary: dictionary, PageRows: 100}, r,
			sampler{r, 50, 0.1}.column(kind, field, 2000))
		for range 300 {
			// A byte of a page's values: behind header and levels, before bits that fill the last group.
			page := chunk.pages[r.IntN(len(chunk.pages))]
			at := page.offset + 50 + r.Int64N(int64(page.size)-58)
			bit := byte(1) << r.IntN(8)
			chunk.parts[0].data[at] ^= bit
			if err := chunk.Verify(context.Background()); err == nil {
				t.Fatalf("dictionary %t: a changed bit in byte %d is not found", dictionary, at)
			}
			chunk.parts[0].data[at] ^= bit
		}
	}
}

// TestSeed extends an old chunk's dictionary by new values, as patching does.
func TestSeed(t *testing.T) {
	r := rand.New(rand.NewPCG(6, 3))
	for _, kind := range []sampleType{sampleTypes[1], sampleTypes[3], sampleTypes[7], sampleTypes[10]} {
		field := sampleNode(kind, optionalLeaf)
		schema := newSchema(field)
		leaf := schema.Leaves[0]
		for _, limit := range []int{0, 2500} {
			old := encode(t, leaf, ChunkOptions{Dictionary: true, PageRows: 500, DictBytes: 2000}, r,
				sampler{r, 40, 0.1}.column(kind, field, 5000))
			if old.dict == nil {
				t.Fatal("the old chunk has no dictionary")
			}
			f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, old))
			p := f.Pages(0, 0, nil)
			var e *ChunkEncoder
			want := &column.Column{}
			want.Reset(leaf)
			var page column.Column
			var seed *column.Vector
			for {
				_, _, err := p.Next(context.Background(), &page)
				if errors.Is(err, io.EOF) {
					break
				}
				if err != nil {
					t.Fatal(err)
				}
				if e == nil {
					seed = page.Dict
					e = NewChunkEncoder(leaf, ChunkOptions{Dictionary: true, PageRows: 500, Seed: seed, DictBytes: limit})
				}
				changed := sampler{r, 100000, 0.3}.column(kind, field, 20)
				for _, part := range []*column.Column{&page, changed} {
					if err := e.Append(part, 0, part.Slots); err != nil {
						t.Fatal(err)
					}
					want.Append(leaf, part, 0, part.Slots)
				}
			}
			chunk, err := e.Finish()
			if err != nil {
				t.Fatal(err)
			}
			if err := chunk.Verify(context.Background()); err != nil {
				t.Fatal(err)
			}
			for i := range seed.Len() {
				if !bytes.Equal(seed.At(i), e.dict.values.At(i)) {
					t.Fatalf("entry %d of the old dictionary has moved", i)
				}
			}
			file := writeChunks(t, WriterOptions{Schema: schema}, chunk)
			checkEqual(t, leaf, readIndependently(t, file, leaf), want)
			checkStatistics(t, file, leaf, want)
		}
	}
}
