package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// handPage is a data page V1 as a writer meant it: its levels and values stand in body.
type handPage struct {
	encoding format.Encoding
	slots    int
	body     []byte
}

// handChunk frames pages of a flat column, with right checksums, sizes, counts and offset index whatever is in them.
func handChunk(t testing.TB, leaf *column.Leaf, codec format.CompressionCodec, dict []byte, entries int, pages ...handPage) *EncodedChunk {
	t.Helper()
	framer := framer{codec: codec, crc: true}
	c := &EncodedChunk{leaf: leaf, o: ChunkOptions{Codec: codec, CRC: true}, bounder: newBounder(leaf, true), dictEncoding: format.Plain}
	if dict != nil {
		f, err := framer.dictionary(dict, entries, format.Plain)
		if err != nil {
			t.Fatal(err)
		}
		c.dict = f.appendTo(nil)
		c.Uncompressed += int64(len(f.header) + len(dict))
	}
	var data []byte
	for _, p := range pages {
		f, err := framer.data(dataPage{kind: format.DataPage, encoding: p.encoding, slots: p.slots, rows: p.slots, body: p.body})
		if err != nil {
			t.Fatal(err)
		}
		page := indexPage{offset: int64(len(data)), size: f.size(), rows: p.slots, firstRow: c.Rows, unknown: true}
		data = f.appendTo(data)
		c.Uncompressed += int64(len(f.header) + len(p.body))
		c.add(page, p.slots, format.DataPage, p.encoding)
	}
	c.parts, c.bodyBytes = []part{{data: data}}, int64(len(data))
	return c
}

// levelRuns are definition levels behind their length.
func levelRuns(runs ...byte) []byte {
	return append(binary.LittleEndian.AppendUint32(nil, uint32(len(runs))), runs...)
}

// TestMisfilledPages: pages that their writer filled wrongly and sealed so are refused by file, row group, column and place. The page lies between good
// ones, so that it is none of those that are decoded in any case.
func TestMisfilledPages(t *testing.T) {
	const n = 40
	numbers := make([]byte, 8*n)
	for i := range numbers {
		numbers[i] = byte(i * 7)
	}
	var texts, shorts []byte
	for i := range n {
		texts = append(binary.LittleEndian.AppendUint32(texts, uint32(i)), strings.Repeat("t", i)...)
		shorts = append(binary.LittleEndian.AppendUint32(shorts, 1), 's')
	}
	full := levelRuns(n<<1, 1)
	half := levelRuns(20<<1, 1, 20<<1, 0) // of values as many as NULL
	mixed := levelRuns(5<<1|1, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F)
	indices := append([]byte{3}, slices.Concat([]byte{5<<1 | 1}, slices.Repeat([]byte{0x88, 0xC6, 0xFA}, 5))...) // 0 1 2 3 4 5 6 7
	entries := numbers[:8*8]
	ints := sampleType{name: "c", kind: format.Int64, width: 8}
	strs := sampleType{name: "c", kind: format.ByteArray}
	flags := sampleType{name: "c", kind: format.Boolean, width: 1}
	with := func(levels []byte, values ...byte) []byte { return slices.Concat(levels, values) }
	for _, c := range []struct {
		name      string
		kind      sampleType
		required  bool
		encoding  format.Encoding
		good, bad []byte
		entries   int
	}{
		{"a number too few", ints, false, format.Plain, with(full, numbers...), with(full, numbers[:8*n-8]...), 0},
		{"a number too many", ints, false, format.Plain, with(half, numbers[:160]...), with(half, numbers[:168]...), 0},
		{"levels with more values than there are", ints, false, format.Plain, with(half, numbers[:160]...), with(full, numbers[:160]...), 0},
		{"packed levels with more values than there are", ints, false, format.Plain, with(mixed, numbers[:8*36]...), with(mixed, numbers[:8*35]...), 0},
		{"levels that end early", ints, false, format.Plain, with(full, numbers...), with(levelRuns(39<<1, 1), numbers...), 0},
		{"levels that pass the page", ints, false, format.Plain, with(full, numbers...), with([]byte{200, 200, 0, 0}, numbers...), 0},
		{"a level that does not exist", ints, false, format.Plain, with(full, numbers...), with(levelRuns(n<<1, 2), numbers...), 0},
		{"a required number too few", ints, true, format.Plain, numbers, numbers[:8*n-8], 0},
		{"booleans too few", flags, false, format.Plain, with(full, 1, 2, 3, 4, 5), with(full, 1, 2, 3, 4), 0},
		{"fewer bytes than texts have lengths", strs, false, format.Plain, with(full, texts...), with(full, shorts[:4*n-1]...), 0},
		{"texts where all are NULL", strs, false, format.Plain, with(full, texts...), with(levelRuns(n<<1, 0), texts...), 0},
		{"a packed index beyond the dictionary", ints, false, format.RLEDictionary, with(full, indices...), with(full, indices...), 7},
		{"an index of a run beyond the dictionary", ints, false, format.RLEDictionary, with(full, indices...), with(full, 3, n<<1, 7), 7},
		{"indices too few", ints, false, format.RLEDictionary, with(full, indices...), with(full, 3, 39<<1, 0), 8},
		{"packed indices too few", ints, false, format.RLEDictionary, with(full, indices...), with(full, indices[:len(indices)-3]...), 8},
		{"levels with more values than there are indices", ints, false, format.RLEDictionary, with(half, 3, 20<<1, 0), with(full, 3, 20<<1, 0), 8},
		{"indices of 33 bits", ints, false, format.PlainDictionary, with(full, indices...), with(full, 33, n<<1, 0, 0, 0, 0, 0), 8},
		{"a required index beyond the dictionary", ints, true, format.RLEDictionary, indices, indices, 7},
	} {
		for _, codec := range []format.CompressionCodec{format.Uncompressed, format.Snappy} {
			t.Run(fmt.Sprint(c.name, "/", codec), func(t *testing.T) {
				node := sampleNode(c.kind, optionalLeaf)
				if c.required {
					node = sampleNode(c.kind, requiredLeaf)
				}
				schema := newSchema(node)
				var dict []byte
				if c.entries > 0 {
					dict = entries
				}
				file := func(entries int, bodies ...[]byte) *File {
					var pages []handPage
					for _, b := range bodies {
						pages = append(pages, handPage{c.encoding, n, b})
					}
					f, err := openFile(writeChunks(t, WriterOptions{Schema: schema},
						handChunk(t, schema.Leaves[0], codec, dict[:8*entries], entries, pages...)), "made.parquet")
					if err != nil {
						t.Fatal(err)
					}
					return f
				}
				good := file(min(8, c.entries*8), c.good, c.good, c.good)
				if sealed, err := good.isSealed(t.Context(), 0, 0); !sealed || err != nil {
					t.Fatalf("good pages: sealed is %t, %v", sealed, err)
				}
				first := c.good
				if c.encoding != format.Plain && c.entries == 7 {
					first = []byte{3, n << 1, 1} // of entries that are there
					if !c.required {
						first = with(full, first...)
					}
				}
				bad := file(c.entries, first, c.bad, first)
				index, err := bad.PageIndex(0, 0)
				if err != nil {
					t.Fatal(err)
				}
				err = bad.CheckSealed(t.Context(), 0, 0)
				for _, part := range []string{"made.parquet", "row group 0", `column ["c"]`, fmt.Sprintf("page at offset %d", index.Pages[1].Offset)} {
					if !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), part) {
						t.Errorf("got %v, want %q", err, part)
					}
				}
			})
		}
	}
}

// TestMisfilledTexts: of texts whose lengths lead elsewhere the first page, the last, and some between are found.
func TestMisfilledTexts(t *testing.T) {
	const n, pages = 30, 40
	var good []byte
	for range n {
		good = append(binary.LittleEndian.AppendUint32(good, 3), "abc"...)
	}
	bad := slices.Clone(good)
	bad[0] = 5
	schema := newSchema(sampleNode(sampleType{name: "c", kind: format.ByteArray}, requiredLeaf))
	for _, codec := range []format.CompressionCodec{format.Uncompressed, format.Snappy, format.Zstd} {
		var found []int
		for at := range pages {
			list := slices.Repeat([]handPage{{format.Plain, n, good}}, pages)
			list[at].body = bad
			f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, handChunk(t, schema.Leaves[0], codec, nil, 0, list...)))
			if f.CheckSealed(t.Context(), 0, 0) != nil {
				found = append(found, at)
			}
		}
		if want := []int{0, decodedShare, 2 * decodedShare, pages - 1}; !slices.Equal(found, want) {
			t.Errorf("%s: found in pages %v, want %v", codec, found, want)
		}
	}
}

func noise(r *rand.Rand, n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(r.Uint32())
	}
	return out
}

// TestSnappyFront decodes the begins of blocks of all kinds of operations.
func TestSnappyFront(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for name, plain := range map[string][]byte{
		"nothing": {}, "one byte": {7}, "words": words(r, 200_000), "one byte again and again": bytes.Repeat([]byte{1}, 5000),
		"noise": noise(r, 100_000), "noise again": bytes.Repeat(noise(r, 3000), 30),
	} {
		block, err := appendSnappy(nil, plain)
		if err != nil {
			t.Fatal(err)
		}
		for _, n := range []int{0, 1, 3, 4, 63, 64, 65, 1000, 70_000, len(plain) - 1, len(plain)} {
			if n < 0 || n > len(plain) {
				continue
			}
			if front, ok := snappyFront(nil, block, n); !ok || !slices.Equal(front, plain[:n]) {
				t.Errorf("%s: the first %d of %d bytes are not those", name, n, len(plain))
			}
		}
		if _, ok := snappyFront(nil, block, len(plain)+1); ok {
			t.Errorf("%s: a byte more than there is was found", name)
		}
		for cut := range min(len(block), 40) {
			if front, ok := snappyFront(nil, block[:cut], len(plain)); ok && len(plain) > 0 {
				t.Errorf("%s: of %d bytes %d were made", name, cut, len(front))
			}
		}
	}
	for name, block := range map[string][]byte{"a copy from before the begin": {4, 0, 'a', 1<<2 | 2, 9, 0}, "a copy from nowhere": {4, 0, 'a', 1<<2 | 2, 0, 0}} {
		if _, ok := snappyFront(nil, block, 2); ok {
			t.Errorf("%s is taken", name)
		}
	}
}

// TestSealedCorpus: of the files of many writers no chunk that can be decoded, with an offset index that is right, is refused.
func TestSealedCorpus(t *testing.T) {
	sealed, checked := 0, 0
	for _, path := range corpus(t, "data/*.parquet") {
		data, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		f, err := openFile(data, filepath.Base(path))
		if err != nil {
			continue
		}
		for rg := range f.NumRowGroups() {
			for col := range f.Schema().Leaves {
				if f.CheckChunk(t.Context(), rg, col) != nil {
					continue
				}
				if err := f.CheckSealed(t.Context(), rg, col); err != nil {
					t.Error(err)
				}
				checked++
				if is, err := f.isSealed(t.Context(), rg, col); is && err == nil {
					sealed++
				}
			}
		}
	}
	t.Logf("%d of %d chunks are sealed", sealed, checked)
}
