package splice

import (
	"bytes"
	"context"
	"encoding/binary"
	"hash/crc32"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// sealedFile is a small file whose pages have checksums.
func sealedFile(t testing.TB, codec format.CompressionCodec) []byte {
	r := rand.New(rand.NewPCG(31, uint64(codec)))
	var fields []*column.Node
	for _, kind := range []sampleType{sampleTypes[2], sampleTypes[7], sampleTypes[1]} {
		fields = append(fields, sampleNode(kind, optionalLeaf))
	}
	fields = append(fields, sampleNode(sampleTypes[2], requiredLeaf))
	schema := newSchema(fields...)
	var chunks []*EncodedChunk
	for i, leaf := range schema.Leaves {
		kind := []sampleType{sampleTypes[2], sampleTypes[7], sampleTypes[1], sampleTypes[2]}[i]
		c := sampler{r, []int{1 << 30, 9, 20, 5}[i], []float64{0, 0.2, 0, 0}[i]}.column(kind, fields[i], 90)
		o := ChunkOptions{PageRows: 30, Codec: codec, CRC: true, Dictionary: i > 0, PlainDictionary: true}
		chunks = append(chunks, encode(t, leaf, o, r, c))
	}
	return writeChunks(t, WriterOptions{Schema: schema}, chunks...)
}

// bodies marks the bytes of a file that lie in the body of a page.
func bodies(t testing.TB, file []byte) []bool {
	in := make([]bool, len(file))
	f := openBytes(t, file)
	for _, c := range f.RowGroup(0).Columns {
		for at := c.Offset; at < c.Offset+c.CompressedSize; {
			h, err := parsePageHeader(file[at:])
			if err != nil {
				t.Fatal(err)
			}
			at += int64(h.size)
			for range h.compressed {
				in[at] = true
				at++
			}
		}
	}
	return in
}

// slotsBothWays reads a chunk page by page, and by the offset index: from the last row on, and from the middle.
func slotsBothWays(f *File, col int) (whole, tail []slot, err error) {
	if whole, err = readSlots(f, 0, col); err != nil {
		return nil, nil, err
	}
	rows := f.RowGroup(0).Rows
	for _, from := range []int64{rows - 1, rows / 2} {
		err = drain(f.Pages(0, col, []Rows{{from, rows}}), func(_ int64, _ int, c *column.Column) { tail = appendSlots(tail, c) })
		if err != nil {
			return nil, nil, err
		}
	}
	return whole, tail, nil
}

// TestSealedFlips turns each bit of headers, page indexes and footer, and bits of bodies: what is taken for sound has
// the values and the headers that it had, whether it is read from the start or by its index.
func TestSealedFlips(t *testing.T) {
	for _, codec := range []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Zstd} {
		good := sealedFile(t, codec)
		f := openBytes(t, good)
		var want, wantTail [][]slot
		for col := range f.Schema().Leaves {
			if sealed, err := f.isSealed(t.Context(), 0, col); !sealed || err != nil {
				t.Fatalf("%s, column %d: the file is not sealed (%v)", codec, col, err)
			}
			whole, tail, err := slotsBothWays(f, col)
			if err != nil {
				t.Fatal(err)
			}
			want, wantTail = append(want, whole), append(wantTail, tail)
		}
		inBody := bodies(t, good)
		last := f.RowGroup(0).Columns[len(want)-1]
		pagesEnd := int(last.Offset + last.CompressedSize)
		refused := 0
		for at := len(magic); at < len(good)-endBytes; at++ {
			for bit := range 8 {
				if inBody[at] && (at+bit)%4 != 0 {
					continue
				}
				bad := bytes.Clone(good)
				bad[at] ^= 1 << bit
				g, err := openFile(bad, "flipped")
				if err != nil || !SameSchema(f, g) || g.RowGroup(0).Rows != f.RowGroup(0).Rows {
					refused++ // nobody would adopt it
					continue
				}
				for col := range g.Schema().Leaves {
					c := f.RowGroup(0).Columns[col]
					in := int64(at) >= c.Offset && int64(at) < c.Offset+c.CompressedSize
					if !in && at < pagesEnd {
						continue // the flip is in another chunk
					}
					_, err := g.PageIndex(0, col)
					if err != nil || g.RowGroup(0).Columns[col].Codec != codec || g.CheckSealed(t.Context(), 0, col) != nil {
						refused++
						continue
					}
					if inBody[at] {
						t.Errorf("%s: bit %d of byte %d, in a body of column %d, is missed", codec, bit, at, col)
					}
					whole, tail, err := slotsBothWays(g, col)
					if err != nil || !slices.EqualFunc(whole, want[col], slot.equal) || !slices.EqualFunc(tail, wantTail[col], slot.equal) {
						t.Errorf("%s: bit %d of byte %d: column %d is taken for sound, and has other values (%v)", codec, bit, at, col, err)
					}
					checkHeaders(t, good, bad, c, bit, at)
				}
			}
		}
		if refused < len(good) {
			t.Errorf("%s: only %d flips were refused", codec, refused)
		}
	}
}

// checkHeaders compares what readers go by in the headers of a chunk. One that has lost its checksum was decoded.
func checkHeaders(t *testing.T, good, bad []byte, c Chunk, bit, flipped int) {
	t.Helper()
	for at := c.Offset; at < c.Offset+c.CompressedSize; {
		h, err := parsePageHeader(good[at:])
		if err != nil {
			t.Fatal(err)
		}
		g, err := parsePageHeader(bad[at:])
		if !g.hasCRC {
			g.hasCRC, g.crc = h.hasCRC, h.crc
		}
		if !isEncoding(g.defEncoding) || !isEncoding(g.repEncoding) {
			t.Errorf("bit %d of byte %d: levels in encodings that do not exist are taken for sound", bit, flipped)
		}
		g.defEncoding, g.repEncoding = h.defEncoding, h.repEncoding
		if h.kind == format.DictionaryPage && (g.encoding == format.PlainDictionary || g.encoding == format.Plain) {
			g.encoding = h.encoding // two names of one encoding
		}
		if err != nil || h != g {
			t.Errorf("bit %d of byte %d: the header %+v is taken for %+v (%v)", bit, flipped, g, h, err)
		}
		at += int64(h.size + h.compressed)
	}
}

// TestOnlySealedPagesAreTrusted gives a page a body that can't be decoded, with the checksum of that body. It shows which pages are
// not decoded, and that one thing less that agrees is enough to decode them.
func TestOnlySealedPagesAreTrusted(t *testing.T) {
	r := rand.New(rand.NewPCG(32, 0))
	text := sampleNode(sampleTypes[7], optionalLeaf)
	schema := newSchema(text)
	values := sampler{r, 1 << 30, 0}.column(sampleTypes[7], text, 90)
	good := writeChunks(t, WriterOptions{Schema: schema}, encode(t, schema.Leaves[0], ChunkOptions{PageRows: 30, CRC: true}, r, values))
	lying := bytes.Clone(good)
	f := openBytes(t, good)
	index, err := f.PageIndex(0, 0)
	if err != nil {
		t.Fatal(err)
	}
	second := index.Pages[1].Offset
	misseal(t, lying, second)
	meta := func(footer *tValue) *tValue {
		return footer.list(4, compactStruct)[0].list(1, compactStruct)[0].field(3)
	}
	for _, c := range []struct {
		name string
		edit func(footer *tValue)
		ok   bool
	}{
		{"all agrees", func(*tValue) {}, true},
		{"no count of encodings", func(f *tValue) { meta(f).remove(13) }, false},
		{"pages of another encoding are counted", func(f *tValue) { meta(f).list(13, compactStruct)[0].setInt(2, compactI32, 2) }, false},
		{"a page less is counted", func(f *tValue) {
			first := &meta(f).list(13, compactStruct)[0]
			first.setInt(3, compactI32, first.int(3, 0)-1)
		}, false},
		{"a page of another kind is counted", func(f *tValue) {
			list := meta(f).field(13)
			list.kids = append(list.kids, pageStats(format.PageEncodingStats{PageType: format.DictionaryPage, Count: 1}))
		}, false},
		{"another size of all pages", func(f *tValue) { m := meta(f); m.setInt(6, compactI64, m.int(6, 0)+1) }, false},
		{"no offset index", func(f *tValue) {
			chunk := &f.list(4, compactStruct)[0].list(1, compactStruct)[0]
			for _, field := range []int16{4, 5, 6, 7} {
				chunk.remove(field)
			}
		}, false},
	} {
		f := openBytes(t, editFooter(t, lying, c.edit))
		if err := f.CheckSealed(context.Background(), 0, 0); (err == nil) != c.ok {
			t.Errorf("%s: %v", c.name, err)
		}
		if f.CheckChunk(context.Background(), 0, 0) == nil {
			t.Errorf("%s: the page can be decoded", c.name)
		}
	}
	for _, c := range []struct {
		name string
		edit func(footer *tValue)
	}{
		{"a count without its number", func(f *tValue) { meta(f).list(13, compactStruct)[0].remove(3) }},
		{"data pages that start elsewhere", func(f *tValue) { m := meta(f); m.setInt(9, compactI64, m.int(9, 0)+1) }},
	} {
		if openBytes(t, editFooter(t, good, c.edit)).CheckSealed(context.Background(), 0, 0) == nil {
			t.Errorf("%s: nothing is wrong with pages that can be decoded", c.name)
		}
	}
}

// misseal makes a page's first text longer than the page, and its checksum that of the body as it is then. The header keeps its
// length: the text's is chosen so.
func misseal(t *testing.T, file []byte, at int64) {
	t.Helper()
	h, err := parsePageHeader(file[at:])
	if err != nil {
		t.Fatal(err)
	}
	body := file[at+int64(h.size):][:h.compressed]
	crc := at // of the fourth field's value
	for range 3 {
		_, n := binary.Varint(file[crc+1:])
		crc += 1 + int64(n)
	}
	crc++
	_, length := binary.Varint(file[crc:])
	for value := byte(2); value < 255; value++ { // levels of one run are before it: four bytes of length, its header, its value
		body[8] = value
		encoded := binary.AppendVarint(nil, int64(int32(crc32.ChecksumIEEE(body))))
		if len(encoded) == length {
			copy(file[crc:], encoded)
			return
		}
	}
	t.Fatal("no value has a checksum of that length")
}
