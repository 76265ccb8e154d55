package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"os"
	"runtime"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// TestStoredOfUntoldDictionary takes pages of a dictionary over into an encoder that has none, since the footer does not tell of it.
func TestStoredOfUntoldDictionary(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 9))
	for _, kind := range []sampleType{sampleTypes[2], sampleTypes[7]} {
		node := sampleNode(kind, optionalLeaf)
		schema := newSchema(node)
		values := sampler{r, 5, 0}.column(kind, node, 60)
		f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, encode(t, schema.Leaves[0], ChunkOptions{PageRows: 20, Dictionary: true}, r, values)))
		pages, err := f.StoredPages(0, 0)
		if err != nil || len(pages) == 0 {
			t.Fatalf("no pages: %v", err)
		}
		p := f.Pages(0, 0, nil)
		seed, err := p.Dictionary()
		if err != nil {
			t.Fatal(err)
		}
		p.Close()
		e := NewChunkEncoder(schema.Leaves[0], ChunkOptions{Seed: seed})
		if err := e.AppendStored(f, pages); !errors.Is(err, ErrLeftDictionary) {
			t.Errorf("%s: got %v, want that the chunk is encoded from its values", kind.name, err)
		}
	}
}

// TestStoredPagesAreCounted: pages whose headers have other values than the chunk are not taken over, whereby the damage would be
// the new footer's truth.
func TestStoredPagesAreCounted(t *testing.T) {
	files := corpusIfThere("data/old_list_structure.parquet")
	if len(files) == 0 {
		t.Skip("HUPSERT_PARQUET_TESTING names no folder with the corpus")
	}
	data, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	if pages, err := openBytes(t, data).StoredPages(0, 0); err != nil || len(pages) != 1 {
		t.Fatalf("%d pages, %v", len(pages), err)
	}
	data[18] ^= 2 // of the page's number of values
	f := openBytes(t, data)
	if f.CheckChunk(t.Context(), 0, 0) == nil {
		t.Error("the page can be decoded")
	}
	if pages, err := f.StoredPages(0, 0); pages != nil {
		t.Errorf("%d pages are taken over, %v", len(pages), err)
	}
}

// TestStoredPagesAreWholeRecords: a nested page whose repetition levels make other records of it than the offset index says is not taken over,
// whichever bit of them has turned.
func TestStoredPagesAreWholeRecords(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	kind := sampleTypes[2]
	node := sampleNode(kind, listLeaf)
	schema := newSchema(node)
	for _, o := range []ChunkOptions{{PageRows: 20}, {PageRows: 20, PageVersion: 2}, {PageRows: 20, Codec: format.Snappy}, {PageRows: 20, CRC: true}} {
		values := sampler{r, 5, 0}.column(kind, node, 60)
		data := writeChunks(t, WriterOptions{Schema: schema}, encode(t, schema.Leaves[0], o, r, values))
		f := openBytes(t, data)
		pages, err := f.StoredPages(0, 0)
		if err != nil || len(pages) != 3 {
			t.Fatalf("%+v: %d pages, %v", o, len(pages), err)
		}
		p := f.Pages(0, 0, nil)
		for i := range pages {
			if err := p.CheckStored(&pages[i]); err != nil {
				t.Errorf("%+v, page %d: %v", o, i, err)
			}
		}
		p.Close()
		second := pages[1]
		refused := 0
		for bit := range 8 * int64(second.header.compressed) {
			damaged := bytes.Clone(data)
			damaged[second.Offset+int64(second.header.size)+bit/8] ^= 1 << (bit % 8)
			f := openBytes(t, damaged)
			p := f.Pages(0, 0, nil)
			err := p.CheckStored(&second)
			p.Close()
			if err != nil {
				refused++
				if !errors.Is(err, ErrCorrupt) {
					t.Errorf("%+v, bit %d: %v", o, bit, err)
				}
				continue
			}
			// Who decodes what is taken over finds its records.
			all := f.Pages(0, 0, []Rows{{From: second.FirstRow, To: second.FirstRow + second.Rows}})
			var c column.Column
			if _, _, err := all.Next(t.Context(), &c); err != nil && (strings.Contains(err.Error(), "expected") || strings.Contains(err.Error(), "record")) {
				t.Errorf("%+v, bit %d: taken over, but %v", o, bit, err)
			}
			all.Close()
		}
		if o.CRC && refused != 8*second.header.compressed || refused < 20 {
			t.Errorf("%+v: %d of %d damages are refused", o, refused, 8*second.header.compressed)
		}
	}
}

// TestUnwrittenCodecs: rows that join a file in a codec that is not written are in one that all readers know, and pages of the others do not stand beside
// theirs.
func TestUnwrittenCodecs(t *testing.T) {
	for _, codec := range []format.CompressionCodec{format.Lz4, format.LZO, 77} {
		o := ChunkOptions{Codec: codec}
		if o.setDefaults(); o.Codec != format.Snappy {
			t.Errorf("%s: new pages are in %s", codecName(codec), codecName(o.Codec))
		}
		if _, err := appendCompressed(codec, nil, []byte{1}); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: %v", codecName(codec), err)
		}
		f := openBytes(t, sealedFile(t, format.Uncompressed))
		f.groups[0].Columns[0].Codec = codec
		if pages, err := f.StoredPages(0, 0); pages != nil || err != nil {
			t.Errorf("%s: %d pages are taken over, %v", codecName(codec), len(pages), err)
		}
		if f.Unpatchable(0, 0) == "" {
			t.Errorf("%s: pages are patched", codecName(codec))
		}
	}
}

// TestDeltaStringsTakeNoMemory: lengths that the values before them do not allow are refused before memory is taken for them.
func TestDeltaStringsTakeNoMemory(t *testing.T) {
	leaf := &column.Leaf{Type: format.ByteArray, Path: []string{"c"}}
	one := func(first uint64) []byte {
		return binary.AppendUvarint([]byte{0x80, 1, 4, 1}, first<<1)
	}
	body := bytes.Join([][]byte{one(600 << 20), one(3), []byte("abc")}, nil)
	p, _ := memoryChunk(leaf, 1, 1, pageOf(format.DeltaByteArray, 1, body...))
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	err := drain(p, func(int64, int, *column.Column) {})
	runtime.ReadMemStats(&after)
	if err == nil || !strings.Contains(err.Error(), "passes the end") {
		t.Errorf("got %v", err)
	}
	if took := after.TotalAlloc - before.TotalAlloc; took > 64<<20 {
		t.Errorf("%d MB were taken", took>>20)
	}
}
