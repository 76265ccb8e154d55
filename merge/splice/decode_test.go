package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/encoding/delta"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

func TestHybridOfEveryWidth(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	for width := 1; width <= 31; width++ {
		for _, n := range []int{1, 7, 8, 9, 63, 64, 65, 1000} {
			values := make([]int32, n)
			for i := range values {
				values[i] = int32(r.Uint64N(1 << width))
				if i > 0 && r.IntN(3) > 0 && n < 100 {
					values[i] = values[i-1] // runs
				}
			}
			src := appendHybrid(nil, values, width)
			got := make([]int32, n)
			// The padding of the last group may lack: readers accept it.
			if err := decodeHybrid(got, src, width, 1<<width); err != nil || !slices.Equal(got, values) {
				t.Fatalf("width %d, %d values: %v, %v", width, n, err, got)
			}
			if err := decodeHybrid(got, src[:len(src)-1-len(src)/2], width, 1<<width); err == nil {
				t.Fatalf("width %d, %d values: half of the runs are enough", width, n)
			}
			top := slices.Max(values)
			if err := decodeHybrid(got, src, width, uint32(top)); !errors.Is(err, ErrCorrupt) {
				t.Fatalf("width %d: value %d is taken as below it", width, top)
			}
			if width <= 8 {
				levels := make([]uint8, n)
				if err := decodeHybrid(levels, src, width, 1<<width); err != nil {
					t.Fatal(err)
				}
				for i := range levels {
					if int32(levels[i]) != values[i] {
						t.Fatalf("width %d, level %d is %d, want %d", width, i, levels[i], values[i])
					}
				}
			}
		}
	}
}

// TestPickedValues picks values out of runs of both kinds, and meets only their damage.
func TestPickedValues(t *testing.T) {
	r := rand.New(rand.NewPCG(11, 12))
	for width := 1; width <= 32; width++ {
		for range 40 {
			values := make([]int32, 1+r.IntN(700))
			for i := range values {
				values[i] = int32(r.Uint64N(1<<width) >> 1)
				if i > 0 && i/100%2 == 0 {
					values[i] = values[i-1] // runs
				}
			}
			src := appendHybrid(nil, values, width)
			picked := randomPicks(r, int64(len(values)))
			got := make([]int32, len(values))
			for i := range got {
				got[i] = -7
			}
			if err := decodePicked(got, src, width, 1<<31, picked); err != nil {
				t.Fatalf("width %d, %d values, %v: %v", width, len(values), picked, err)
			}
			for i := range values {
				isPicked := slices.ContainsFunc(picked, func(p Rows) bool { return p.From <= int64(i) && int64(i) < p.To })
				if isPicked && got[i] != values[i] {
					t.Fatalf("width %d, value %d of %d is %d, want %d", width, i, len(values), got[i], values[i])
				}
				if isPicked && values[i] > 0 {
					if err := decodePicked(got, src, width, uint32(values[i]), picked); !errors.Is(err, ErrCorrupt) {
						t.Fatalf("width %d: value %d is taken as below it", width, values[i])
					}
				}
			}
			if len(picked) > 0 {
				if err := decodePicked(got, src[:1], width, 1<<31, []Rows{{0, int64(len(values))}}); !errors.Is(err, ErrCorrupt) {
					t.Fatalf("width %d, %d values: a byte of the runs is enough", width, len(values))
				}
			}
		}
	}
}

// randomPicks are ascending ranges below n that do not touch.
func randomPicks(r *rand.Rand, n int64) (picked []Rows) {
	for from := r.Int64N(n); from < n; from += 1 + r.Int64N(n) {
		to := min(from+1+r.Int64N(20), n)
		picked = append(picked, Rows{from, to})
		from = to
	}
	return picked
}

// packLegacy packs levels from the most significant bit.
func packLegacy(levels []uint8, width int) []byte {
	dst := make([]byte, (len(levels)*width+7)/8)
	for i, l := range levels {
		for b := range width {
			bit := i*width + b
			dst[bit/8] |= l >> (width - 1 - b) & 1 << (7 - bit%8)
		}
	}
	return dst
}

func TestLegacyLevels(t *testing.T) {
	// The example of parquet-format, Encodings.md: 0 to 7 in three bits.
	if got := packLegacy([]uint8{0, 1, 2, 3, 4, 5, 6, 7}, 3); !bytes.Equal(got, []byte{0x05, 0x39, 0x77}) {
		t.Fatalf("packed to %x", got)
	}
	r := rand.New(rand.NewPCG(11, 12))
	for width := 1; width <= 8; width++ {
		levels := make([]uint8, 45)
		for i := range levels {
			levels[i] = uint8(r.Uint32N(1 << width))
		}
		got := make([]uint8, len(levels))
		unpackLegacy(got, packLegacy(levels, width), width)
		if !bytes.Equal(got, levels) {
			t.Errorf("width %d: %v, want %v", width, got, levels)
		}
	}
}

// TestLegacyLevelsOfPage reads a page V1 whose levels are BIT_PACKED, which have no length.
func TestLegacyLevelsOfPage(t *testing.T) {
	leaf := &column.Leaf{Type: format.Int32, Width: 4, MaxDef: 3, Path: []string{"c"}}
	def := []uint8{3, 0, 1, 3, 2}
	body := packLegacy(def, 2)
	for _, v := range []uint32{10, 20} {
		body = binary.LittleEndian.AppendUint32(body, v)
	}
	w := compactWriter{}
	w.pageSizes(pageSizes{uncompressed: len(body), compressed: len(body)})
	w.open(5)
	for id, v := range []int32{int32(len(def)), int32(format.Plain), int32(format.BitPacked), int32(format.BitPacked)} {
		w.int32(int16(id+1), v)
	}
	w.end()
	w.end()
	p, _ := memoryChunk(leaf, 5, 5, append(w.buf, body...))
	var got []slot
	if err := drain(p, func(_ int64, _ int, c *column.Column) { got = appendSlots(got, c) }); err != nil {
		t.Fatal(err)
	}
	want := `[d3 r0 "\n\x00\x00\x00" d0 r0 "" d1 r0 "" d3 r0 "\x14\x00\x00\x00" d2 r0 ""]`
	if fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}

// TestChainedDeltas reads pages whose first value continues the page before, as parquet-mr wrote
// them up to 1.7 (PARQUET-246).
func TestChainedDeltas(t *testing.T) {
	leaf := &column.Leaf{Type: format.ByteArray, Path: []string{"c"}}
	page := func(prefix, suffix []int32, text string) []byte {
		var packed delta.BinaryPackedEncoding
		a, _ := packed.EncodeInt32(nil, prefix)
		b, _ := packed.EncodeInt32(nil, suffix)
		body := slices.Concat(a, b, []byte(text))
		var w compactWriter
		w.dataHeaderV1(pageSizes{uncompressed: len(body), compressed: len(body)}, len(prefix), format.DeltaByteArray)
		return append(w.buf, body...)
	}
	pages := [][]byte{page([]int32{0, 5}, []int32{5, 1}, "hello!"), page([]int32{4, 0}, []int32{2, 3}, "usbye")}
	read := func(createdBy string, want []Rows) (got []string, err error) {
		p, _ := memoryChunk(leaf, 4, 4, pages...)
		p.maker = parseMaker(createdBy)
		p.want, p.all = wantedRows(want, 4)
		err = drain(p, func(_ int64, n int, c *column.Column) {
			for i := range n {
				got = append(got, string(c.Value(i)))
			}
		})
		return got, err
	}
	got, err := read("parquet-mr version 1.7.0 (build x)", nil)
	if err != nil || fmt.Sprint(got) != "[hello hello! hellus bye]" {
		t.Errorf("got %q, %v", got, err)
	}
	got, err = read("parquet-mr version 1.6.0", []Rows{{3, 4}})
	if err != nil || fmt.Sprint(got) != "[hellus bye]" {
		t.Errorf("skipping: got %q, %v", got, err)
	}
	if _, err = read("parquet-mr version 1.8.1", nil); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// TestPaddedPages reads pages that end by eight zero bytes, as fastparquet writes them; of nobody else and in no other
// length they are taken for whole.
func TestPaddedPages(t *testing.T) {
	for _, c := range []struct {
		leaf *column.Leaf
		body string
		want []string
	}{
		{&column.Leaf{Type: format.Int64, Width: 8, Path: []string{"c"}}, "\x01\x00\x00\x00\x00\x00\x00\x00" + "\x00\x00\x00\x00\x00\x00\x00\x00",
			[]string{"\x01\x00\x00\x00\x00\x00\x00\x00", "\x00\x00\x00\x00\x00\x00\x00\x00"}},
		{&column.Leaf{Type: format.ByteArray, Path: []string{"c"}}, "\x01\x00\x00\x00a" + "\x00\x00\x00\x00", []string{"a", ""}},
	} {
		for _, createdBy := range []string{"fastparquet-python version 2024.11.0 (build 0)", "other version 1.0.0"} {
			for padding := range 17 {
				body := c.body + strings.Repeat("\x00", padding)
				var w compactWriter
				w.dataHeaderV1(pageSizes{uncompressed: len(body), compressed: len(body)}, 2, format.Plain)
				p, _ := memoryChunk(c.leaf, 2, 2, append(w.buf, body...))
				p.maker = parseMaker(createdBy)
				var got []string
				err := drain(p, func(_ int64, n int, col *column.Column) {
					for i := range n {
						got = append(got, string(col.Value(i)))
					}
				})
				whole := padding == 0 || padding == 8 && strings.HasPrefix(createdBy, "fastparquet")
				if whole && (err != nil || !slices.Equal(got, c.want)) || !whole && !errors.Is(err, ErrCorrupt) {
					t.Errorf("%s of %s and %d bytes: %q, %v", c.leaf.Type, createdBy, padding, got, err)
				}
			}
		}
	}
}

func TestDecompressRefusesSizes(t *testing.T) {
	text := bytes.Repeat([]byte("some text that repeats, "), 40)
	for _, codec := range []format.CompressionCodec{
		format.Uncompressed, format.Snappy, format.Gzip, format.Zstd, format.Brotli, format.Lz4Raw,
	} {
		packed, err := appendCompressed(codec, nil, text)
		if err != nil {
			t.Fatal(err)
		}
		var dst []byte
		for range 2 { // with fresh memory and used
			if dst, err = decompress(codec, dst, packed, len(text)); err != nil || !bytes.Equal(dst, text) {
				t.Fatalf("%s: %v", codec, err)
			}
		}
		for _, size := range []int{0, 1, len(text) - 1, len(text) + 1, 1 << 30} {
			if _, err := decompress(codec, nil, packed, size); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: %d bytes declared: got %v", codec, size, err)
			}
		}
		if _, err := decompress(codec, nil, packed[:len(packed)/2], len(text)); !errors.Is(err, ErrCorrupt) {
			t.Errorf("%s: half of the bytes: got %v", codec, err)
		}
	}
	for _, codec := range []format.CompressionCodec{format.LZO, 42} {
		if _, err := decompress(codec, nil, text, 5); !errors.Is(err, ErrUnsupported) {
			t.Errorf("%s: got %v", codec, err)
		}
	}
}

func TestMakers(t *testing.T) {
	for _, test := range []struct {
		createdBy                   string
		dictionary, bounds, chained bool
	}{
		{"parquet-mr version 1.13.1 (build db4183109d5b734ec5930d870cdae161e408ddba)", false, false, false},
		{"parquet-mr version 1.8.0 (build x)", false, false, false},
		{"parquet-mr version 1.7.0", false, true, true},
		{"parquet-mr", true, true, true},
		{"parquet-cpp version 1.2.8", true, false, false},
		{"parquet-cpp version 1.3.2-SNAPSHOT", false, false, false},
		{"parquet-cpp-arrow version 5.0.0", false, false, false},
		{"impala version 3.2.0-cdh6.x-SNAPSHOT (build x)", false, false, false},
		{"DuckDB version v1.4.1 (build b390a7c376)", false, false, false},
		{"", true, true, false},
	} {
		m := parseMaker(test.createdBy)
		if m.miscountsDictionary() != test.dictionary || m.mistakesBinaryBounds() != test.bounds || m.chainsDeltas() != test.chained {
			t.Errorf("%q: %+v", test.createdBy, m)
		}
	}
}

// TestHiddenByNaN: in files of parquet-go a NaN hides from the bounds what came before it. They are not taken for bounds.
func TestHiddenByNaN(t *testing.T) {
	type line struct {
		V float32 `parquet:"v"`
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[line](&buf)
	if _, err := w.Write([]line{{-6}, {float32(math.NaN())}, {float32(math.Inf(1))}}); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	f, err := openFile(buf.Bytes(), "nan")
	if err != nil {
		t.Fatal(err)
	}
	if s := f.groups[0].Columns[0].Stats; s != nil && s.Min != nil {
		t.Errorf("bounds %x to %x", s.Min, s.Max)
	}
	index, err := f.PageIndex(0, 0)
	if err != nil || index.Pages[0].Min != nil {
		t.Errorf("%+v, %v", index, err)
	}
}

// TestChunkEnds: what follows a chunk ends the room that a writer may have left out of its size, be it a chunk, a
// Bloom filter, an index or the footer.
func TestChunkEnds(t *testing.T) {
	for name, test := range map[string]struct {
		after Chunk
		want  int64
	}{
		"nothing":        {Chunk{}, 150},
		"a chunk":        {Chunk{Offset: 64, CompressedSize: 10}, 60},
		"a Bloom filter": {Chunk{bloomAt: 54}, 50},
		"an index":       {Chunk{offsetIndex: section{54, 10}}, 50},
	} {
		f := &File{maker: parseMaker("somebody"), groups: []RowGroup{{Columns: []Chunk{{Offset: 4, CompressedSize: 50}, test.after}}}}
		f.mendChunkEnds(1000)
		if got := f.groups[0].Columns[0].CompressedSize; got != test.want {
			t.Errorf("before %s: %d bytes, want %d", name, got, test.want)
		}
	}
}

func TestThriftLimits(t *testing.T) {
	nested := []byte{}
	for range 40 {
		nested = append(nested, 0x1C) // field 1, a struct
	}
	listed := bytes.Repeat([]byte{0x19, 0xF9, 0xFF, 0xFF, 0x03}, 100) // lists of lists, each of all that follows
	for name, data := range map[string][]byte{
		"nesting": append(nested, make([]byte, 50)...),
		"lists":   append([]byte{0x19}, listed...),
		"string":  {0x18, 0xFF, 0xFF, 0xFF, 0x7F, 'a'},
		"end":     {0x15},
		"varint":  {0x16, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x02, 0},
		"map":     {0x1B, 0xFF, 0xFF, 0xFF, 0x7F, 0x88},
		"type":    {0x1E, 0},
	} {
		allocs := testing.AllocsPerRun(1, func() {
			if _, _, err := parseThrift(data); !errors.Is(err, ErrCorrupt) {
				t.Errorf("%s: got %v", name, err)
			}
		})
		if allocs > 100 {
			t.Errorf("%s: %f allocations", name, allocs)
		}
	}
}

func TestThriftEditing(t *testing.T) {
	v := newStruct()
	v.setInt(3, compactI64, -5)
	v.setBool(1, true)
	v.setBinary(40, "far")
	v.set(2, newList(compactI32, newInt(compactI32, 7), newInt(compactI32, 8)))
	copied := v.clone()
	copied.list(2, compactI32)[0].num = 9
	copied.setInt(3, compactI32, 6) // keeps its width
	v.remove(1)
	for want, data := range map[string][]byte{
		"2925" + "0e10" + "1609" + "085003666172" + "00":        v.append(nil),
		"11" + "1925" + "1210" + "160c" + "085003666172" + "00": copied.append(nil),
	} {
		if got := fmt.Sprintf("%x", data); got != want {
			t.Errorf("got %s, want %s", got, want)
		}
		again, n, err := parseThrift(data)
		if err != nil || n != len(data) || !bytes.Equal(again.append(nil), data) {
			t.Errorf("%x is read as %+v, %v", data, again, err)
		}
	}
	if copied.bool(1, false) != true || v.bool(1, false) != false || v.int(3, 0) != -5 {
		t.Error("fields are not what was set")
	}
}

// TestPageIndexHolds compares page indexes with the pages.
func TestPageIndexHolds(t *testing.T) {
	files := writtenFiles(t, 1200)
	for _, name := range corpusIfThere("data/*.parquet") {
		if data, err := os.ReadFile(name); err == nil && !strings.Contains(name, "large_string_map") && !strings.Contains(name, "corrupt") {
			files = append(files, written{name: filepath.Base(name), data: data})
		}
	}
	for _, file := range files {
		f, err := openFile(file.data, file.name)
		if err != nil {
			t.Fatal(err)
		}
		for rg := range f.NumRowGroups() {
			for col := range f.Schema().Leaves {
				checkPageIndex(t, f, rg, col)
			}
		}
	}
}

// TestDecimalBounds holds bounds of decimals on byte arrays against the values: parquet-go compares their bytes, in column
// indexes the first sixteen of them.
func TestDecimalBounds(t *testing.T) {
	for name, typ := range map[string]parquet.Type{"bytes": parquet.ByteArrayType, "fixed": parquet.FixedLenByteArrayType(32)} {
		for _, createdBy := range []string{"", "other"} {
			var buf bytes.Buffer
			options := []parquet.WriterOption{
				parquet.NewSchema("rows", parquet.Group{"d": parquet.Decimal(2, 76, typ)}), parquet.PageBufferSize(1),
			}
			if createdBy != "" {
				options = append(options, parquet.CreatedBy(createdBy, "1.0", "x"))
			}
			w := parquet.NewWriter(&buf, options...)
			for _, n := range []string{"1", "300", "-1", "-300", strings.Repeat("9", 76), "-" + strings.Repeat("9", 76)} {
				v, _ := new(big.Int).SetString(n, 10)
				low := new(big.Int).And(v, new(big.Int).Sub(new(big.Int).Lsh(big.NewInt(1), 256), big.NewInt(1)))
				plain := low.FillBytes(make([]byte, 32))
				value := parquet.FixedLenByteArrayValue(plain)
				if name == "bytes" {
					for len(plain) > 1 && (plain[0] == 0 || plain[0] == 0xFF) && (plain[0]^plain[1])&0x80 == 0 {
						plain = plain[1:]
					}
					value = parquet.ByteArrayValue(plain)
				}
				if _, err := w.WriteRows([]parquet.Row{{value.Level(0, 0, 0)}}); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			f, err := openFile(buf.Bytes(), name+createdBy)
			if err != nil {
				t.Fatal(err)
			}
			checkPageIndex(t, f, 0, 0)

			// Under another name its bounds would be believed.
			out := &memoryOutput{}
			copied, err := NewWriter(out, WriterOptions{Schema: f.Schema(), CreatedBy: CreatedBy()})
			if err != nil {
				t.Fatal(err)
			}
			if err := copied.CopyRowGroup(f, 0); err != nil {
				t.Fatal(err)
			}
			if _, err := copied.Close(); err != nil {
				t.Fatal(err)
			}
			checkPageIndex(t, openBytes(t, out.Bytes()), 0, 0)
		}
	}
}

func checkPageIndex(t *testing.T, f *File, rg, col int) {
	t.Helper()
	index, err := f.PageIndex(rg, col)
	if err != nil {
		t.Fatal(err)
	}
	leaf := f.Schema().Leaves[col]
	list, err := readSlots(f, rg, col)
	if err != nil {
		t.Fatal(err)
	}
	rows := rowsOf(list)
	if s := f.RowGroup(rg).Columns[col].Stats; s != nil {
		checkWithin(t, f, leaf, rows, s.Min, s.Max, s.NullCount)
	}
	if index == nil {
		return
	}
	next := int64(0)
	for _, p := range index.Pages {
		if p.FirstRow != next {
			t.Errorf("%s: page of row %d, want %d", f.Name(), p.FirstRow, next)
		}
		next += p.Rows
		if p.NullPage && slices.ContainsFunc(rows[p.FirstRow:next], func(row []slot) bool {
			return slices.ContainsFunc(row, func(s slot) bool { return s.val != nil })
		}) {
			t.Errorf("%s: column %q: the page of row %d has values", f.Name(), leaf.Path, p.FirstRow)
		}
		checkWithin(t, f, leaf, rows[p.FirstRow:next], p.Min, p.Max, p.NullCount)
	}
	if next != int64(len(rows)) {
		t.Errorf("%s: pages of %d rows, want %d", f.Name(), next, len(rows))
	}
}

// TestNullPagesWithoutCounts: parquet-mr marks pages that came without statistics as pages of NULL, with empty bounds and
// without counts. Nothing may be ruled out by that.
func TestNullPagesWithoutCounts(t *testing.T) {
	text := column.Annotation{Kind: column.String}
	for _, test := range []struct {
		name   string
		maxDef int
		flags  []uint64
		counts []int64
		want   []bool
	}{
		{"no counts", 1, []uint64{compactTrue, compactTrue}, nil, []bool{false, false}},
		{"required", 0, []uint64{compactTrue, compactTrue}, []int64{5, 5}, []bool{false, false}},
		{"fewer NULLs than rows", 1, []uint64{compactTrue, compactTrue}, []int64{5, 4}, []bool{true, false}},
		{"pages of NULL", 1, []uint64{compactTrue, compactFalse}, []int64{5, 2}, []bool{true, false}},
	} {
		var list, counts []tValue
		for _, flag := range test.flags {
			list = append(list, tValue{kind: compactTrue, num: int64(flag)})
		}
		for _, n := range test.counts {
			counts = append(counts, tValue{kind: compactI64, num: n})
		}
		empty := tValue{kind: compactBinary}
		index := newStruct()
		index.set(1, newList(compactTrue, list...))
		index.set(2, newList(compactBinary, empty, empty))
		index.set(3, newList(compactBinary, empty, empty))
		if counts != nil {
			index.set(5, newList(compactI64, counts...))
		}
		f, at := indexFile(index)
		got := &PageIndex{Pages: []PageInfo{{Rows: 5, NullCount: -1}, {Rows: 5, NullCount: -1}}}
		leaf := &column.Leaf{Type: format.ByteArray, MaxDef: test.maxDef, Annotation: text}
		if err := f.readColumnIndex(got, &Chunk{columnIndex: at}, leaf); err != nil {
			t.Fatal(err)
		}
		for i, p := range got.Pages {
			if p.NullPage != test.want[i] || test.flags[i] == compactTrue && p.Min != nil {
				t.Errorf("%s: page %d: %+v", test.name, i, p)
			}
		}
	}
}

// indexFile is a file of one column, whose order is the type's, of which only the column index is there.
func indexFile(index tValue) (*File, section) {
	data := index.append(nil)
	f := &File{r: bytes.NewReader(data), size: int64(len(data)), footer: newStruct()}
	order := newStruct()
	order.set(1, newStruct())
	f.footer.set(7, newList(compactStruct, order))
	return f, section{0, int64(len(data))}
}

// TestPageIndexAgrees: bounds of pages that what else is said of them contradicts are not taken at their word.
func TestPageIndexAgrees(t *testing.T) {
	leaf := &column.Leaf{Type: format.Int64, Width: 8, MaxDef: 1}
	value := func(n int64) []byte { return binary.LittleEndian.AppendUint64(nil, uint64(n)) }
	stats := func(low, high int64, exact bool) *Stats {
		return &Stats{Min: value(low), Max: value(high), MinExact: exact, MaxExact: exact}
	}
	null := []int64{}
	for _, test := range []struct {
		name  string
		pages [][]int64 // bounds; empty: a page of NULL
		order uint64
		stats *Stats
		want  bool
	}{
		{"as it should be", [][]int64{{1, 3}, {-2, 9}}, unordered, stats(-2, 9, true), true},
		{"wider than the chunk", [][]int64{{1, 3}, {-20, 90}}, unordered, stats(-2, 9, true), true},
		{"no statistics", [][]int64{{1, 3}}, unordered, nil, true},
		{"a least value of no page", [][]int64{{1, 3}, {-1, 9}}, unordered, stats(-2, 9, true), false},
		{"a greatest value of no page", [][]int64{{1, 3}, {-2, 8}}, unordered, stats(-2, 9, true), false},
		{"a greatest value between pages", [][]int64{{1, 3}, {10, 12}}, unordered, stats(1, 9, true), false},
		{"statistics that are no values", [][]int64{{1, 3}, {-1, 8}}, unordered, stats(-2, 9, false), true},
		{"ascending", [][]int64{{1, 3}, null, {1, 3}, {2, 9}}, ascending, stats(1, 9, true), true},
		{"not ascending", [][]int64{{1, 9}, {0, 9}}, ascending, stats(0, 9, true), false},
		{"descending", [][]int64{{7, 9}, null, {7, 8}, {1, 3}}, descending, stats(1, 9, true), true},
		{"not descending", [][]int64{{7, 9}, {7, 10}}, descending, stats(7, 10, true), false},
		{"pages of NULL", [][]int64{null, null}, ascending, stats(1, 9, true), true},
	} {
		var flags, low, high, counts []tValue
		got := &PageIndex{}
		for _, bounds := range test.pages {
			flag, nulls, b := uint64(compactFalse), uint64(0), [2]tValue{{kind: compactBinary}, {kind: compactBinary}}
			if len(bounds) == 0 {
				flag, nulls = compactTrue, 5
			}
			for i, n := range bounds {
				b[i].data = string(value(n))
			}
			flags, counts = append(flags, tValue{kind: compactTrue, num: int64(flag)}), append(counts, tValue{kind: compactI64, num: int64(nulls)})
			low, high = append(low, b[0]), append(high, b[1])
			got.Pages = append(got.Pages, PageInfo{Rows: 5, NullCount: -1})
		}
		index := newStruct()
		index.set(1, newList(compactTrue, flags...))
		index.set(2, newList(compactBinary, low...))
		index.set(3, newList(compactBinary, high...))
		index.set(4, tValue{kind: compactI32, num: int64(test.order)})
		index.set(5, newList(compactI64, counts...))
		f, at := indexFile(index)
		if err := f.readColumnIndex(got, &Chunk{Stats: test.stats, columnIndex: at}, leaf); err != nil {
			t.Fatal(err)
		}
		for i, p := range got.Pages {
			if isNull := len(test.pages[i]) == 0; (p.Min != nil) != (test.want && !isNull) || p.NullPage != (test.want && isNull) {
				t.Errorf("%s: page %d: %+v", test.name, i, p)
			}
		}
	}
}

func checkWithin(t *testing.T, f *File, leaf *column.Leaf, rows [][]slot, low, high []byte, nulls int64) {
	t.Helper()
	order := column.Order(leaf)
	for _, row := range rows {
		for _, s := range row {
			if s.val == nil {
				nulls--
				continue
			}
			if nan := column.IsNaN(leaf); nan != nil && nan(s.val) {
				continue
			}
			if low != nil && order(s.val, low) < 0 || high != nil && order(s.val, high) > 0 {
				t.Errorf("%s: column %q: %x is not within %x and %x", f.Name(), leaf.Path, s.val, low, high)
				return
			}
		}
	}
	// A file whose nulls were not counted would state none: -1 stands for that.
	if nulls > 0 {
		t.Errorf("%s: column %q: %d nulls more stated than there are", f.Name(), leaf.Path, nulls)
	}
}

func TestDistrustedStatistics(t *testing.T) {
	i32 := func(v int32) string { return string(binary.LittleEndian.AppendUint32(nil, uint32(v))) }
	order := newList(compactStruct, func() tValue {
		v := newStruct()
		v.set(1, newStruct())
		return v
	}())
	leaf := func(kind format.Type, width int, a column.Annotation) *column.Leaf {
		return &column.Leaf{Type: kind, Width: width, MaxDef: 1, Annotation: a}
	}
	plainInt := leaf(format.Int32, 4, column.Annotation{})
	unsigned := leaf(format.Int32, 4, column.Annotation{Kind: column.Int, Bits: 32, Unsigned: true})
	text := leaf(format.ByteArray, 0, column.Annotation{Kind: column.String})
	float := leaf(format.Float, 4, column.Annotation{})
	nan, negative := "\x00\x00\xC0\x7F", "\x00\x00\x00\x80"
	for _, test := range []struct {
		name      string
		leaf      *column.Leaf
		createdBy string
		orders    bool
		fields    map[int16]string
		low, high string
	}{
		{"new bounds", plainInt, "x version 1.0.0", true, map[int16]string{5: i32(9), 6: i32(-9)}, i32(-9), i32(9)},
		{"no column order", plainInt, "x version 1.0.0", false, map[int16]string{5: i32(9), 6: i32(-9)}, "", ""},
		{"old bounds", plainInt, "x version 1.0.0", false, map[int16]string{1: i32(9), 2: i32(-9)}, i32(-9), i32(9)},
		{"old bounds, unsigned", unsigned, "x version 1.0.0", false, map[int16]string{1: i32(9), 2: i32(1)}, "", ""},
		{"old bounds of text", text, "x version 1.0.0", true, map[int16]string{1: "b", 2: "a"}, "", ""},
		{"text", text, "x version 1.0.0", true, map[int16]string{5: "b", 6: "a"}, "a", "b"},
		{"text of an old writer", text, "parquet-mr version 1.7.0", true, map[int16]string{5: "b", 6: "a"}, "", ""},
		{"wrong way round", plainInt, "x version 1.0.0", true, map[int16]string{5: i32(-9), 6: i32(9)}, "", ""},
		{"wrong length", plainInt, "x version 1.0.0", true, map[int16]string{5: "abc", 6: i32(9)}, "", ""},
		{"NaN", float, "parquet-mr version 1.13.1", true, map[int16]string{5: nan, 6: "\x00\x00\x00\x00"}, "", ""},
		{"zeros", float, "parquet-mr version 1.13.1", true, map[int16]string{5: negative, 6: "\x00\x00\x00\x00"}, negative, "\x00\x00\x00\x00"},
		{"floats of an unknown writer", float, "x version 1.0.0", true, map[int16]string{5: "\x00\x00\x80\x7f", 6: negative}, "", ""},
		{"only one", plainInt, "x version 1.0.0", true, map[int16]string{5: i32(9)}, "", ""},
	} {
		f := &File{footer: newStruct(), maker: parseMaker(test.createdBy)}
		if test.orders {
			f.footer.set(7, order)
		}
		stats := newStruct()
		stats.setInt(3, compactI64, 2)
		for id, v := range test.fields {
			stats.setBinary(id, v)
		}
		s := f.readStats(&stats, test.leaf, &Chunk{NumValues: 10})
		if string(s.Min) != test.low || string(s.Max) != test.high || s.NullCount != 2 {
			t.Errorf("%s: got %x and %x, %d nulls", test.name, s.Min, s.Max, s.NullCount)
		}
		if s.Min == nil && (s.MinExact || s.MaxExact) {
			t.Errorf("%s: bounds that are not there are exact", test.name)
		}
	}
}

func TestUnknownNullCount(t *testing.T) {
	f := &File{footer: newStruct()}
	stats := newStruct()
	optional := &column.Leaf{Type: format.Int32, Width: 4, MaxDef: 1}
	if s := f.readStats(&stats, optional, &Chunk{NumValues: 10}); s.NullCount != -1 {
		t.Errorf("got %d", s.NullCount)
	}
	stats.setInt(3, compactI64, 11)
	if s := f.readStats(&stats, optional, &Chunk{NumValues: 10}); s.NullCount != -1 {
		t.Errorf("more nulls than values: got %d", s.NullCount)
	}
	if s := f.readStats(nil, optional, &Chunk{}); s != nil {
		t.Errorf("got %+v", s)
	}
}
