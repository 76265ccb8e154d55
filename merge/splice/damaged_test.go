package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// pageOf makes an uncompressed page V1 of a body, without levels.
func pageOf(encoding format.Encoding, values int, body ...byte) []byte {
	var w compactWriter
	w.dataHeaderV1(pageSizes{uncompressed: len(body), compressed: len(body)}, values, encoding)
	return append(w.buf, body...)
}

// TestDamagedStreams: streams that Parquet libraries take for good are refused. The first five are those that parquet-go takes,
// under the names that they have in other projects' test suites.
func TestDamagedStreams(t *testing.T) {
	ints := &column.Leaf{Type: format.Int32, Width: 4, Path: []string{"c"}}
	optional := &column.Leaf{Type: format.Int32, Width: 4, MaxDef: 1, Path: []string{"c"}}
	flags := &column.Leaf{Type: format.Boolean, Width: 1, Path: []string{"c"}}
	bytes8 := &column.Leaf{Type: format.Int32, Width: 4, Path: []string{"c"}, Annotation: column.Annotation{Kind: column.Int, Bits: 8}}
	shorts := &column.Leaf{Type: format.Int32, Width: 4, Path: []string{"c"}, Annotation: column.Annotation{Kind: column.Int, Bits: 16, Unsigned: true}}
	_, dict := fuzzDictionary(ints)
	two := []byte{1, 0, 0, 0, 2, 0, 0, 0}
	hidden := pageOf(format.ByteStreamSplit, 2, two...) // its encoding is a field of 16 bits, which readers pass
	hidden[slices.Index(hidden, byte(9<<1))-1] = 1<<4 | compactI16
	levels := func(runs ...byte) []byte {
		return append(binary.LittleEndian.AppendUint32(nil, uint32(len(runs))), runs...)
	}
	delta := func(block, minis, count byte, rest ...byte) []byte {
		return append([]byte{block, 1, minis, count, 0}, rest...) // block is the low half of a number of 128 and more
	}
	for _, c := range []struct {
		name   string
		leaf   *column.Leaf
		values int64
		pages  [][]byte
		want   string
	}{
		{"bad_rle: runs of booleans that end early", flags, 10, [][]byte{pageOf(format.RLE, 10, levels(4, 1)...)}, "runs end 8 values early"},
		{"bad_rle: a run of what is no level", optional, 2, [][]byte{pageOf(format.Plain, 2, append(levels(4, 2), two...)...)}, "not below 2"},
		{"ARROW-GH-47662: NULL in a required column", ints, 3, [][]byte{pageOf(format.Plain, 3, two...)}, "8 bytes for 3 values"},
		{"column_num_values_mismatch", ints, 3, [][]byte{pageOf(format.Plain, 2, two...)}, "chunk ends after 2 of 3 values"},
		{"an index beyond the dictionary", ints, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, 2, 4, 3)}, "not below 3"},
		{"a run of no indices", ints, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, 2, 0, 1, 4, 1)}, "run of no values, 2 are missing"},
		{"a bit-packed run of no levels", optional, 2, [][]byte{pageOf(format.Plain, 2, append(levels(1, 4, 1), two...)...)}, "run of no values, 2 are missing"},
		{"zeros behind the last index, as fastparquet pads pages", ints, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, 2, 4, 1, 0, 0)}, ""},
		{"indices without a dictionary", ints, 2, [][]byte{pageOf(format.RLEDictionary, 2, 2, 4, 1)}, "no dictionary page"},
		{"indices of 33 bits", ints, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, 33, 4, 1, 0, 0, 0, 0)}, "bit width"},
		{"a page whose encoding is hidden", ints, 2, [][]byte{hidden}, "lacks a field"},
		{"values on a page of NULL", optional, 2, [][]byte{pageOf(format.Plain, 2, append(levels(4, 0), two...)...)}, "8 bytes for 0 values"},
		{"indices on a page of NULL", optional, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, append(levels(4, 0), 2, 4, 1)...)}, "3 bytes in a page of NULL"},
		{"a bit width and a run of none on a page of NULL", optional, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, append(levels(4, 0), 2, 0)...)}, ""},
		{"two dictionaries", ints, 2, [][]byte{dict, dict, pageOf(format.RLEDictionary, 2, 2, 4, 1)}, "second dictionary"},
		{"a bit-packed run of two groups in one byte", optional, 2, [][]byte{pageOf(format.Plain, 2, append(levels(5, 3), two...)...)}, "2 groups, 2 values, has 1 bytes"},
		{"a bit-packed run of one group", optional, 2, [][]byte{pageOf(format.Plain, 2, append(levels(3, 3), two...)...)}, ""},
		{"delta blocks of 64", ints, 1, [][]byte{pageOf(format.DeltaBinaryPacked, 1, 64, 1, 1, 0)}, "blocks of 64 values"},
		{"delta miniblocks of 16", ints, 1, [][]byte{pageOf(format.DeltaBinaryPacked, 1, delta(0x80, 8, 1)...)}, "in 8 miniblocks"},
		{"deltas of 65 bits", ints, 2, [][]byte{pageOf(format.DeltaBinaryPacked, 2, append(delta(0x80, 4, 2), append([]byte{0, 65, 0, 0, 0}, make([]byte, 260)...)...)...)}, "65 bits a value"},
		{"deltas of 33 bits, which writers make of 32", ints, 2, [][]byte{pageOf(format.DeltaBinaryPacked, 2, append(delta(0x80, 4, 2), append([]byte{0, 33, 0, 0, 0}, make([]byte, 132)...)...)...)}, ""},
		{"a delta miniblock cut off", ints, 2, [][]byte{pageOf(format.DeltaBinaryPacked, 2, append(delta(0x80, 4, 2), 0, 8, 0, 0, 0, 1, 2, 3)...)}, "passes the end"},
		{"bytes behind the last delta", ints, 1, [][]byte{pageOf(format.DeltaBinaryPacked, 1, append(delta(0x80, 4, 1), 9, 9)...)}, "2 bytes are left"},
		{"a number beyond its 8 bits", bytes8, 2, [][]byte{pageOf(format.Plain, 2, 1, 0, 0, 0, 0x80, 0, 0, 0)}, "value 128 in a column of 8 bits"},
		{"a number below its 16 bits", shorts, 2, [][]byte{pageOf(format.Plain, 2, 1, 0, 0, 0, 0xFF, 0xFF, 0xFF, 0xFF)}, "value -1 in a column of 16 bits"},
		{"a dictionary beyond its 16 bits", shorts, 2, [][]byte{dict, pageOf(format.RLEDictionary, 2, 2, 4, 0)}, "in a column of 16 bits"},
	} {
		p, _ := memoryChunk(c.leaf, c.values, c.values, c.pages...)
		err := drain(p, func(int64, int, *column.Column) {})
		if c.want == "" && err == nil {
			continue
		}
		if c.want == "" || !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
}

// TestDamagedFooters: what contradicts parquet.thrift, the schema or the file's size is refused.
func TestDamagedFooters(t *testing.T) {
	schema, _, chunks := smallFile(t)
	good := writeChunks(t, WriterOptions{Schema: schema}, chunks...)
	element := func(footer *tValue, i int) *tValue { return &footer.list(2, compactStruct)[i] }
	meta := func(footer *tValue) *tValue {
		return footer.list(4, compactStruct)[0].list(1, compactStruct)[0].field(3)
	}
	for _, c := range []struct {
		name string
		edit func(footer *tValue)
		want string
	}{
		{"PARQUET-1481: a type that does not exist", func(f *tValue) { element(f, 1).setInt(1, compactI32, -7) }, "no valid type"},
		{"a type of 16 bits", func(f *tValue) { element(f, 1).field(1).kind = compactI16 }, "field 1 is of another type"},
		{"a repetition of 64 bits", func(f *tValue) { element(f, 1).field(3).kind = compactI64 }, "field 3 is of another type"},
		{"encodings of 64 bits", func(f *tValue) { meta(f).field(2).elem = compactI64 }, "field 2 is of another type"},
		{"a codec that stands twice", func(f *tValue) { m := meta(f); m.kids = append(m.kids, tValue{id: 4, kind: compactI32}) }, "field 4 stands twice"},
		{"a null count that is a string", func(f *tValue) { meta(f).field(12).set(3, newBinary("x")) }, "field 3 is of another type"},
		{"a date of 64 bits", func(f *tValue) {
			e := element(f, 2) // a byte array
			e.remove(10)
			e.setInt(6, compactI32, int64(deprecated.Date))
		}, "has an annotation that its type"},
		{"a converted type that does not exist", func(f *tValue) { element(f, 2).setInt(6, compactI32, 69) }, "converted type 69"},
		{"a logical type that is a string", func(f *tValue) {
			e := element(f, 2)
			e.remove(6)
			text := newBinary("")
			text.id = logicalString
			union := newStruct()
			union.kids = []tValue{text}
			e.set(10, union)
		}, "field 1 is of another type"},
		{"text on a group", func(f *tValue) { element(f, 0).setInt(6, compactI32, int64(deprecated.UTF8)) }, "has the annotation of a column"},
		{"no row groups in a file that leaves its rows at 0", func(f *tValue) { f.remove(4); f.setInt(3, compactI64, 0) }, "lacks its row groups"},
		{"chunks that share their bytes", func(f *tValue) {
			groups := f.field(4)
			for range 20 {
				groups.kids = append(groups.kids, groups.kids[0].clone())
			}
			f.setInt(3, compactI64, 21*300)
		}, "column chunks of"},
	} {
		file := editFooter(t, good, c.edit)
		if _, err := openFile(file, c.name); !errors.Is(err, ErrCorrupt) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %q", c.name, err, c.want)
		}
	}
	if _, err := openFile(editFooter(t, good, func(*tValue) {}), "good"); err != nil {
		t.Error(err)
	}
}

// TestHeaderPastTheChunk: where only a page header is looked at, one that does not end is corruption too.
func TestHeaderPastTheChunk(t *testing.T) {
	schema, _, chunks := smallFile(t)
	file := writeChunks(t, WriterOptions{Schema: schema}, chunks...)
	f := openBytes(t, file)
	at := f.RowGroup(0).Columns[0].Offset
	copy(file[at:], []byte{0x18, 0xFF, 0xFF, 0x7F}) // a string of 2 MiB
	if _, err := ChunkOptionsOf(openBytes(t, file), 0, 0); !errors.Is(err, ErrCorrupt) {
		t.Errorf("got %v, want ErrCorrupt", err)
	}
}

// TestEmptyStrings: a page of nothing but empty strings has values.
func TestEmptyStrings(t *testing.T) {
	leaf := &column.Leaf{Type: format.ByteArray, Path: []string{"c"}}
	zeros := []byte{0x80, 1, 4, 3, 0, 0, 0, 0, 0, 0}
	for encoding, body := range map[format.Encoding][]byte{
		format.DeltaLengthByteArray: zeros, format.DeltaByteArray: slices.Concat(zeros, zeros), format.Plain: make([]byte, 12),
	} {
		var got []slot
		p, _ := memoryChunk(leaf, 3, 3, pageOf(encoding, 3, body...))
		if err := drain(p, func(_ int64, _ int, c *column.Column) { got = appendSlots(got, c) }); err != nil {
			t.Fatal(err)
		}
		for i, s := range got {
			if s.val == nil {
				t.Errorf("%s: value %d is none", encoding, i)
			}
		}
	}
}

// A copy from offset 0 is damage in Snappy; S2, which is built upon it, takes it for the last offset.
func TestSnappyWithoutAnOffset(t *testing.T) {
	good := []byte{12, 3 << 2, 'a', 'b', 'c', 'd', 3<<2 | 2, 4, 0, 3<<2 | 2, 4, 0}
	out, err := decompressSnappyPage(good)
	if err != nil || string(out) != "abcdabcdabcd" {
		t.Fatalf("%q, %v", out, err)
	}
	for _, at := range []int{7, 10} {
		bad := bytes.Clone(good)
		bad[at] = 0
		if out, err := decompressSnappyPage(bad); err == nil {
			t.Errorf("offset at byte %d: %q", at, out)
		}
	}
}

func decompressSnappyPage(src []byte) ([]byte, error) {
	dst := make([]byte, 12)
	_, err := decompressSnappy(dst, src)
	return dst, err
}

// TestStrayLevels: a slot that goes on with a list that is empty or not there is damage, not an element that is left out.
func TestStrayLevels(t *testing.T) {
	schema := newSchema(sampleNode(sampleTypes[1], listLeaf))
	leaf := *schema.Leaves[0]
	leaf.RepDefs = []uint8{uint8(leaf.MaxDef - 1)}
	if leaf.MaxRep != 1 || leaf.MaxDef < 2 {
		t.Fatalf("%+v", leaf)
	}
	p := &PageReader{leaf: &leaf}
	for _, test := range []struct {
		rep, def []uint8
		want     int
	}{
		{[]uint8{0, 1, 0}, []uint8{uint8(leaf.MaxDef), uint8(leaf.MaxDef - 1), 0}, -1},
		{[]uint8{0, 1, 0}, []uint8{uint8(leaf.MaxDef), uint8(leaf.MaxDef - 2), 0}, 1},
	} {
		if got := p.strays(&column.Column{Slots: 3, Rep: test.rep, Def: test.def}); got != test.want {
			t.Errorf("%v, %v: slot %d, want %d", test.rep, test.def, got, test.want)
		}
	}
}
