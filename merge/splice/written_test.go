package splice

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	parquetcompress "github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"

	"github.com/hupsert/hupsert/merge/column"
)

// written is a file of one column that parquet-go wrote.
type written struct {
	name  string
	data  []byte
	slots []slot // what was written, all row groups together
}

// rowShape is how often a value may stand in a row.
type rowShape string

const (
	required rowShape = "required"
	optional rowShape = "optional"
	repeated rowShape = "repeated"
	listed   rowShape = "list" // optional list of optional values
)

// makeValue makes values of a kind, few distinct ones for dictionaries.
func makeValue(kind parquet.Kind, size int, r *rand.Rand) parquet.Value {
	n := r.IntN(300)
	switch kind {
	case parquet.Boolean:
		return parquet.BooleanValue(n%3 == 0)
	case parquet.Int32:
		return parquet.Int32Value(int32(n*n*n*100) - 1000)
	case parquet.Int64:
		return parquet.Int64Value(int64(n)<<40 - int64(n*n))
	case parquet.Int96:
		return parquet.Int96Value(deprecated.Int96{uint32(n), 7, uint32(n * n)})
	case parquet.Float:
		return parquet.FloatValue(float32(n) / 7)
	case parquet.Double:
		return parquet.DoubleValue(float64(n) / 7)
	case parquet.FixedLenByteArray:
		return parquet.FixedLenByteArrayValue(bytes.Repeat([]byte{byte(n), byte(n >> 3)}, size)[:size])
	}
	return parquet.ByteArrayValue([]byte(strings.Repeat("lorem ipsum dolor sit amet ", 3)[:n%60] + fmt.Sprint(n)))
}

// makeRows makes rows of one column.
func makeRows(kind parquet.Kind, size int, s rowShape, rows int, r *rand.Rand) (list []parquet.Row) {
	for row := range rows {
		value := func(rep, def int) parquet.Value { return makeValue(kind, size, r).Level(rep, def, 0) }
		// Stretches of rows without nulls, of few and of many.
		null := r.IntN(10) < row/400%4*3
		var line parquet.Row
		switch {
		case s == required:
			line = parquet.Row{value(0, 0)}
		case s == optional && null, s == repeated && null, s == listed && null:
			line = parquet.Row{parquet.NullValue().Level(0, 0, 0)}
		case s == optional:
			line = parquet.Row{value(0, 1)}
		case s == repeated:
			for i := range 1 + r.IntN(4) {
				line = append(line, value(min(i, 1), 1))
			}
		default:
			if r.IntN(8) == 0 {
				line = parquet.Row{parquet.NullValue().Level(0, 1, 0)} // empty
				break
			}
			for i := range 1 + r.IntN(4) {
				if r.IntN(5) == 0 {
					line = append(line, parquet.NullValue().Level(min(i, 1), 2, 0))
				} else {
					line = append(line, value(min(i, 1), 3))
				}
			}
		}
		list = append(list, line)
	}
	return list
}

func writeByParquetGo(t testing.TB, node parquet.Node, s rowShape, rows []parquet.Row, options ...parquet.WriterOption) []byte {
	t.Helper()
	switch s {
	case optional:
		node = parquet.Optional(node)
	case repeated:
		node = parquet.Repeated(node)
	case listed:
		node = parquet.Optional(parquet.List(parquet.Optional(node)))
	}
	var buf bytes.Buffer
	options = append(options, parquet.NewSchema("t", parquet.Group{"c": node}), parquet.PageBufferSize(2000))
	w := parquet.NewWriter(&buf, options...)
	for at := 0; at < len(rows); at += 100 {
		if _, err := w.WriteRows(rows[at:min(at+100, len(rows))]); err != nil {
			t.Fatal(err)
		}
		if at == 1500 {
			if err := w.Flush(); err != nil { // a second row group
				t.Fatal(err)
			}
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// writtenFiles has parquet-go write every type in every encoding and rowShape, in turns of codecs and
// page versions.
func writtenFiles(t testing.TB, rows int) (files []written) {
	fixed := parquet.FixedLenByteArrayType(5)
	types := []struct {
		name      string
		node      parquet.Node
		encodings []encoding.Encoding
	}{
		{"bool", parquet.Leaf(parquet.BooleanType), []encoding.Encoding{&parquet.Plain, &parquet.RLE}},
		{"int32", parquet.Int(32), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.PlainDictionary, &parquet.DeltaBinaryPacked, &parquet.ByteStreamSplit}},
		{"int64", parquet.Int(64), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.DeltaBinaryPacked, &parquet.ByteStreamSplit}},
		{"int96", parquet.Leaf(parquet.Int96Type), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary}},
		{"float", parquet.Leaf(parquet.FloatType), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.ByteStreamSplit}},
		{"double", parquet.Leaf(parquet.DoubleType), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.ByteStreamSplit}},
		{"string", parquet.String(), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.DeltaLengthByteArray, &parquet.DeltaByteArray}},
		{"fixed5", parquet.Leaf(fixed), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary, &parquet.DeltaByteArray, &parquet.ByteStreamSplit}},
		{"uuid", parquet.UUID(), []encoding.Encoding{&parquet.Plain, &parquet.RLEDictionary}},
	}
	codecs := []parquetcompress.Codec{&parquet.Uncompressed, &parquet.Snappy, &parquet.Gzip, &parquet.Zstd, &parquet.Brotli, &parquet.Lz4Raw}
	r := rand.New(rand.NewPCG(1, 2))
	turn := 0
	for _, typ := range types {
		for _, enc := range typ.encodings {
			for _, s := range []rowShape{required, optional, repeated, listed} {
				for version := 1; version <= 2; version++ {
					codec := codecs[(turn/2+version)%len(codecs)]
					turn++
					node := parquet.Compressed(parquet.Encoded(typ.node, enc), codec)
					size := 0
					if typ.node.Type().Kind() == parquet.FixedLenByteArray {
						size = typ.node.Type().Length()
					}
					name := fmt.Sprintf("%s/%s/%s/v%d/%s", typ.name, enc, s, version, codec)
					rowList := makeRows(typ.node.Type().Kind(), size, s, rows, r)
					data := writeByParquetGo(t, node, s, rowList, parquet.DataPageVersion(version))
					files = append(files, written{name, data, slotsOf(rowList)})
				}
			}
		}
	}
	return files
}

func slotsOf(rows []parquet.Row) (list []slot) {
	for _, row := range rows {
		for _, v := range row {
			list = append(list, slot{uint8(v.DefinitionLevel()), uint8(v.RepetitionLevel()), plainBytes(v)})
		}
	}
	return list
}

func TestWrittenByParquetGo(t *testing.T) {
	for _, file := range writtenFiles(t, 2500) {
		t.Run(file.name, func(t *testing.T) {
			f, err := openFile(file.data, file.name)
			if err != nil {
				t.Fatal(err)
			}
			var got []slot
			for rg := range f.NumRowGroups() {
				list, err := readSlots(f, rg, 0)
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, list...)
			}
			if len(got) != len(file.slots) {
				t.Fatalf("%d slots, %d were written", len(got), len(file.slots))
			}
			for i := range got {
				if !got[i].equal(file.slots[i]) {
					t.Fatalf("slot %d: %v, written was %v", i, got[i], file.slots[i])
				}
			}
		})
	}
}

// rowsOf splits slots into rows.
func rowsOf(list []slot) (rows [][]slot) {
	for _, s := range list {
		if s.rep == 0 {
			rows = append(rows, nil)
		}
		rows[len(rows)-1] = append(rows[len(rows)-1], s)
	}
	return rows
}

func TestRowRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	for _, file := range writtenFiles(t, 2500) {
		for _, indexed := range []bool{true, false} {
			f, err := openFile(file.data, file.name)
			if err != nil {
				t.Fatal(err)
			}
			if c := &f.groups[0].Columns[0]; !c.HasPageIndex {
				t.Fatalf("%s: no page index", file.name)
			} else if !indexed {
				c.HasPageIndex = false
			}
			checkRanges(t, f, fmt.Sprintf("%s indexed=%t", file.name, indexed), r)
		}
	}
}

// checkRanges compares reading random rows of the first row group with reading all.
func checkRanges(t *testing.T, f *File, name string, r *rand.Rand) {
	t.Helper()
	list, err := readSlots(f, 0, 0)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	all := rowsOf(list)
	whole := f.Pages(0, 0, nil)
	if err := drain(whole, func(int64, int, *column.Column) {}); err != nil {
		t.Fatal(err)
	}
	for range 6 {
		var want []Rows
		for range r.IntN(4) {
			from := r.Int64N(int64(len(all)))
			want = append(want, Rows{from, from + 1 + r.Int64N(20)})
		}
		if want == nil {
			want = []Rows{}
		}
		seen := make([]bool, len(all))
		last := int64(0)
		pages := f.Pages(0, 0, want)
		err := drain(pages, func(first int64, n int, c *column.Column) {
			if first < last {
				t.Errorf("%s: page of row %d after %d", name, first, last)
			}
			last = first + int64(n)
			got := rowsOf(appendSlots(nil, c))
			if len(got) != n {
				t.Fatalf("%s: %d rows, %d stated", name, len(got), n)
			}
			for i, row := range got {
				seen[first+int64(i)] = true
				if !slices.EqualFunc(row, all[first+int64(i)], slot.equal) {
					t.Fatalf("%s: row %d is %v, want %v", name, first+int64(i), row, all[first+int64(i)])
				}
			}
			touches := slices.ContainsFunc(want, func(w Rows) bool { return w.From < last && w.To > first })
			if !touches {
				t.Errorf("%s: page of rows %d to %d is not wanted in %v", name, first, last, want)
			}
		})
		if err != nil {
			t.Fatalf("%s: %v: %v", name, want, err)
		}
		for _, w := range want {
			for row := w.From; row < min(w.To, int64(len(all))); row++ {
				if !seen[row] {
					t.Fatalf("%s: row %d of %v is missing", name, row, want)
				}
			}
		}
		checkSparse(t, f, name, want, all)
	}
}

// checkSparse holds what a sparse reader gives for the rows that are wanted against them.
func checkSparse(t *testing.T, f *File, name string, want []Rows, all [][]slot) {
	t.Helper()
	pages := f.Pages(0, 0, want)
	pages.Sparse()
	err := drain(pages, func(first int64, n int, c *column.Column) {
		for i, row := range rowsOf(appendSlots(nil, c)) {
			at := first + int64(i)
			wanted := slices.ContainsFunc(want, func(w Rows) bool { return w.From <= at && at < w.To })
			if wanted && !slices.EqualFunc(row, all[at], slot.equal) {
				t.Fatalf("%s: sparse row %d is %v, want %v", name, at, row, all[at])
			}
		}
	})
	if err != nil {
		t.Fatalf("%s: sparse, %v: %v", name, want, err)
	}
}

// TestDamage flips bits, overwrites and cuts: any outcome but a panic or a wild allocation is right.
func TestDamage(t *testing.T) {
	files := writtenFiles(t, 300)
	r := rand.New(rand.NewPCG(5, 6))
	for i := range 2000 {
		file := files[i%len(files)]
		data := bytes.Clone(file.data)
		footer := int(binary.LittleEndian.Uint32(data[len(data)-8:])) + 8
		for range 1 + r.IntN(3) {
			at := r.IntN(len(data))
			if r.IntN(2) == 0 {
				at = len(data) - 1 - r.IntN(footer)
			}
			switch r.IntN(4) {
			case 0:
				data[at] ^= 1 << r.IntN(8)
			case 1:
				data[at] = byte(r.Uint32())
			case 2:
				data[at] = 0xFF
			default:
				copy(data[at:], data[r.IntN(len(data)):])
			}
			if r.IntN(20) == 0 {
				data = data[:8+r.IntN(len(data)-8)]
				footer = min(footer, len(data))
			}
		}
		if err := readDamaged(t, data); err != nil {
			if strings.Contains(err.Error(), "decoder stopped") {
				t.Errorf("%s, mutation %d: %v", file.name, i, err)
			}
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) && !errors.Is(err, ErrEncrypted) && !errors.Is(err, io.ErrUnexpectedEOF) {
				t.Errorf("%s, mutation %d: error of no kind: %v", file.name, i, err)
			}
		}
	}
}

func readDamaged(t *testing.T, data []byte) error {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	defer func() {
		runtime.ReadMemStats(&after)
		if n := after.TotalAlloc - before.TotalAlloc; n > 256<<20 {
			t.Errorf("%d bytes allocated for a file of %d", n, len(data))
		}
	}()
	f, err := openFile(data, "damaged")
	if err != nil {
		return err
	}
	return readAll(f)
}

// memoryChunk makes a reader of pages in memory.
func memoryChunk(leaf *column.Leaf, rows, values int64, pages ...[]byte) (*PageReader, *Chunk) {
	data := slices.Concat(pages...)
	c := &Chunk{NumValues: values, CompressedSize: int64(len(data))}
	return newPageReader(bytes.NewReader(data), leaf, c, rows, nil), c
}

// pageV1 makes an uncompressed PLAIN page of int32 values with levels.
func pageV1(rep, def []uint8, maxRep, maxDef int, values ...uint32) []byte {
	var body []byte
	if maxRep > 0 {
		body = appendFramedLevels(body, rep, maxRep)
	}
	if maxDef > 0 {
		body = appendFramedLevels(body, def, maxDef)
	}
	for _, v := range values {
		body = binary.LittleEndian.AppendUint32(body, v)
	}
	var w compactWriter
	w.dataHeaderV1(pageSizes{uncompressed: len(body), compressed: len(body)}, max(len(rep), len(def)), 0)
	return append(w.buf, body...)
}

// TestRecordsAcrossPages reads records that start in one page V1 and end in a later one.
func TestRecordsAcrossPages(t *testing.T) {
	leaf := &column.Leaf{Type: 1, Width: 4, MaxDef: 1, MaxRep: 1, Path: []string{"c"}}
	d := func(n int) []uint8 { return bytes.Repeat([]byte{1}, n) }
	pages := [][]byte{
		pageV1([]uint8{0, 0, 1}, d(3), 1, 1, 1, 2, 3),
		pageV1([]uint8{1, 1}, d(2), 1, 1, 4, 5),       // only the record before
		pageV1([]uint8{1, 0, 1}, d(3), 1, 1, 6, 7, 8), // its end and another's start
		pageV1([]uint8{1, 0, 0, 1}, d(4), 1, 1, 9, 10, 11, 12),
		pageV1([]uint8{0}, []uint8{0}, 1, 1),
	}
	p, _ := memoryChunk(leaf, 6, 13, pages...)
	var list []slot
	var sizes []int
	if err := drain(p, func(first int64, n int, c *column.Column) {
		list = appendSlots(list, c)
		sizes = append(sizes, n)
	}); err != nil {
		t.Fatal(err)
	}
	if got := fmt.Sprint(sizes); got != "[2 1 2 1]" {
		t.Errorf("pages of %s rows", got)
	}
	var got []string
	for _, row := range rowsOf(list) {
		var values []uint32
		for _, s := range row {
			if s.val != nil {
				values = append(values, binary.LittleEndian.Uint32(s.val))
			}
		}
		got = append(got, fmt.Sprint(values))
	}
	want := "[1] [2 3 4 5 6] [7 8 9] [10] [11 12] []"
	if strings.Join(got, " ") != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestCountsThatDoNotAddUp(t *testing.T) {
	leaf := &column.Leaf{Type: 1, Width: 4, MaxDef: 1, Path: []string{"c"}}
	one := pageV1(nil, []uint8{1, 1, 1}, 0, 1, 1, 2, 3)
	for _, test := range []struct {
		name         string
		rows, values int64
		pages        [][]byte
		want         string
	}{
		{"too few values", 4, 4, [][]byte{one}, "chunk ends after 3 of 4"},
		{"too many values", 2, 2, [][]byte{one}, "more than the 2 values"},
		{"rows of the row group", 4, 3, [][]byte{one}, "3 of 4 rows"},
		{"too many rows", 2, 3, [][]byte{one}, "more than the 2 rows"},
		{"values behind the last", 3, 3, [][]byte{pageV1(nil, []uint8{1, 1, 1}, 0, 1, 1, 2, 3, 4)}, "16 bytes for 3"},
		{"values that lack", 3, 3, [][]byte{pageV1(nil, []uint8{1, 1, 1}, 0, 1, 1, 2)}, "8 bytes for 3"},
		{"empty pages", 3, 3, [][]byte{pageV1(nil, nil, 0, 1), one, pageV1(nil, nil, 0, 1)}, ""},
	} {
		p, _ := memoryChunk(leaf, test.rows, test.values, test.pages...)
		err := drain(p, func(int64, int, *column.Column) {})
		if test.want == "" && err == nil {
			continue
		}
		if test.want == "" || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: got %v, want %q", test.name, err, test.want)
		}
	}
}

func TestNextGoesOnAfterCancel(t *testing.T) {
	leaf := &column.Leaf{Type: 1, Width: 4, MaxDef: 1, Path: []string{"c"}}
	p, _ := memoryChunk(leaf, 1, 1, pageV1(nil, []uint8{1}, 0, 1, 9))
	defer p.Close()
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	var c column.Column
	if _, _, err := p.Next(ctx, &c); !errors.Is(err, context.Canceled) {
		t.Fatalf("got %v", err)
	}
	if _, n, err := p.Next(context.Background(), &c); n != 1 || err != nil {
		t.Fatalf("got %d rows, %v", n, err)
	}
}
