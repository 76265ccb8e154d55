package splice

import (
	"bytes"
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/format"
	"github.com/pierrec/lz4/v4"
)

// TestLegacyLZ4 decodes the deprecated codec in each framing that writers used.
func TestLegacyLZ4(t *testing.T) {
	text := bytes.Repeat([]byte("some text that repeats, "), 400)
	block := func(b []byte) []byte {
		out := make([]byte, lz4.CompressBlockBound(len(b)))
		n, err := lz4.CompressBlock(b, out, nil)
		if err != nil || n == 0 {
			t.Fatal(n, err)
		}
		return out[:n]
	}
	hadoop := func(parts ...[]byte) []byte {
		var out []byte
		for _, p := range parts {
			packed := block(p)
			out = binary.BigEndian.AppendUint32(out, uint32(len(p)))
			out = append(binary.BigEndian.AppendUint32(out, uint32(len(packed))), packed...)
		}
		return out
	}
	var frame bytes.Buffer
	w := lz4.NewWriter(&frame)
	if _, err := w.Write(text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	for name, packed := range map[string][]byte{
		"Hadoop": hadoop(text), "Hadoop, blocks": hadoop(text[:5000], text[5000:]), "raw": block(text), "frame": frame.Bytes(),
	} {
		got, err := decompress(format.Lz4, nil, packed, len(text))
		if err != nil || !bytes.Equal(got, text) {
			t.Errorf("%s: %d bytes, %v", name, len(got), err)
		}
		if _, err := decompress(format.Lz4, nil, packed[:len(packed)-3], len(text)); err == nil {
			t.Errorf("%s: cut off, and decoded", name)
		}
	}
}

// TestShortChunks: old parquet-cpp left the dictionary page's header out of the size of its chunks (PARQUET-816).
func TestShortChunks(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	kinds := []sampleType{sampleTypes[1], sampleTypes[2], sampleTypes[1]}
	schema := newSchema(sampleNode(kinds[0], optionalLeaf), sampleNode(kinds[1], optionalLeaf), sampleNode(kinds[2], optionalLeaf))
	var chunks []*EncodedChunk
	for i, kind := range kinds {
		c := sampler{r, 20, 0.1}.column(kind, schema.Root.Children[i], 3000)
		chunks = append(chunks, encode(t, schema.Leaves[i], ChunkOptions{Dictionary: true, PageRows: 1000}, r, c))
	}
	whole := writeChunks(t, WriterOptions{Schema: schema, NoPageIndex: true}, chunks...)
	shorten := func(createdBy string) []byte {
		return editFooter(t, whole, func(footer *tValue) {
			footer.setBinary(6, createdBy)
			list := footer.list(4, compactStruct)[0].list(1, compactStruct)
			for i := range list {
				meta := list[i].field(3)
				meta.setInt(7, compactI64, meta.int(7, 0)-14)
			}
		})
	}
	old := openBytes(t, shorten("parquet-cpp version 1.2.7"))
	if err := readAll(old); err != nil {
		t.Fatal(err)
	}
	for name, f := range map[string]*File{"as it is": old, "copied": openBytes(t, copyFile(t, old))} {
		for col := range schema.Leaves {
			got, err := readSlots(f, 0, col)
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			want, err := readSlots(openBytes(t, whole), 0, col)
			if err != nil {
				t.Fatal(err)
			}
			if !slices.EqualFunc(got, want, func(a, b slot) bool { return bytes.Equal(a.val, b.val) && (a.val == nil) == (b.val == nil) }) {
				t.Errorf("%s: column %d has other values", name, col)
			}
		}
	}
	// A later writer's short chunk is damage.
	if err := readAll(openBytes(t, shorten("parquet-cpp version 1.5.0"))); err == nil {
		t.Error("a chunk that is cut off was read")
	}
}
