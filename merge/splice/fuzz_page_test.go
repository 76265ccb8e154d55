package splice

import (
	"bytes"
	"encoding/binary"
	"errors"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Decoders as the format's text says, bit by bit and value by value, which FuzzPage holds ours against. They return false where
// bytes lack.

// bitAt is a bit of src, least significant first.
func bitAt(src []byte, at int) (bit uint64, ok bool) {
	if at/8 >= len(src) {
		return 0, false
	}
	return uint64(src[at/8] >> (at % 8) & 1), true
}

func plainBits(src []byte, at, width int) (v uint64, ok bool) {
	for i := range width {
		b, ok := bitAt(src, at+i)
		if !ok {
			return 0, false
		}
		v |= b << i
	}
	return v, true
}

// plainHybrid reads n values of runs.
func plainHybrid(src []byte, n, width int) (values []uint64, ok bool) {
	for len(values) < n {
		header, used := binary.Uvarint(src)
		if used <= 0 {
			return nil, false
		}
		src = src[used:]
		if header&1 == 0 {
			size := (width + 7) / 8
			if len(src) < size {
				return nil, false
			}
			v := uint64(0)
			for i := range size {
				v |= uint64(src[i]) << (8 * i)
			}
			for i := uint64(0); i < header>>1 && len(values) < n; i++ {
				values = append(values, v)
			}
			src = src[size:]
			continue
		}
		groups := header >> 1
		for i := uint64(0); i < 8*groups && len(values) < n; i++ {
			v, ok := plainBits(src, int(i)*width, width)
			if !ok {
				return nil, false
			}
			values = append(values, v)
		}
		src = src[min(groups*uint64(width), uint64(len(src))):]
	}
	return values, true
}

// plainDelta reads DELTA_BINARY_PACKED values, n of them, and what follows.
func plainDelta(src []byte, n int) (values []uint64, rest []byte, ok bool) {
	var head [3]uint64
	for i := range head {
		v, used := binary.Uvarint(src)
		if used <= 0 {
			return nil, nil, false
		}
		head[i], src = v, src[used:]
	}
	first, used := binary.Varint(src)
	if used <= 0 || head[2] != uint64(n) || head[1] == 0 {
		return nil, nil, false
	}
	src = src[used:]
	if n > 0 {
		values = append(values, uint64(first))
	}
	for len(values) < n {
		low, used := binary.Varint(src)
		if used <= 0 || uint64(len(src)-used) < head[1] {
			return nil, nil, false
		}
		widths := src[used : used+int(head[1])]
		src = src[used+int(head[1]):]
		for _, width := range widths {
			if len(values) == n {
				break
			}
			mini := int(head[0] / head[1])
			for i := 0; i < mini && len(values) < n; i++ {
				d, ok := plainBits(src, i*int(width), int(width))
				if !ok {
					return nil, nil, false
				}
				values = append(values, values[len(values)-1]+d+uint64(low))
			}
			src = src[min(mini*int(width)/8, len(src)):]
		}
	}
	return values, src, true
}

// plainValues reads n values of a page's body.
func plainValues(leaf *column.Leaf, encoding format.Encoding, body []byte, n int, dict [][]byte) (values [][]byte, ok bool) {
	little := func(v uint64, width int) []byte { return binary.LittleEndian.AppendUint64(nil, v)[:width] }
	cut := func(size int) ([]byte, bool) {
		if size < 0 || size > len(body) {
			return nil, false
		}
		v := body[:size]
		body = body[size:]
		return v, true
	}
	switch encoding {
	case format.RLEDictionary:
		if len(body) == 0 || body[0] > 32 {
			return nil, n == 0
		}
		at, ok := plainHybrid(body[1:], n, int(body[0]))
		for _, i := range at {
			if i >= uint64(len(dict)) {
				return nil, false
			}
			values = append(values, dict[i])
		}
		return values, ok
	case format.RLE:
		if len(body) < 4 {
			return nil, n == 0
		}
		bits, ok := plainHybrid(body[4:], n, 1)
		for _, b := range bits {
			values = append(values, little(b, 1))
		}
		return values, ok
	case format.DeltaBinaryPacked:
		numbers, _, ok := plainDelta(body, n)
		for _, v := range numbers {
			values = append(values, little(v, leaf.Width))
		}
		return values, ok
	case format.DeltaLengthByteArray:
		lengths, rest, ok := plainDelta(body, n)
		body = rest
		for _, size := range lengths {
			v, there := cut(int(uint32(size)))
			ok = ok && there
			values = append(values, v)
		}
		return values, ok
	case format.DeltaByteArray:
		prefixes, rest, ok := plainDelta(body, n)
		lengths, rest, also := plainDelta(rest, n)
		if !ok || !also {
			return nil, false
		}
		body = rest
		last := []byte{}
		for i := range prefixes {
			v, there := cut(int(uint32(lengths[i])))
			if !there || uint32(prefixes[i]) > uint32(len(last)) {
				return nil, false
			}
			last = append(append([]byte{}, last[:uint32(prefixes[i])]...), v...)
			values = append(values, last)
		}
		return values, true
	case format.ByteStreamSplit:
		if len(body) != n*leaf.Width {
			return nil, false
		}
		for i := range n {
			var v []byte
			for k := range leaf.Width {
				v = append(v, body[k*n+i])
			}
			values = append(values, v)
		}
		return values, true
	}
	for i := range n {
		size := leaf.Width
		switch {
		case leaf.Type == format.Boolean:
			b, ok := bitAt(body, i)
			if !ok {
				return nil, false
			}
			values = append(values, little(b, 1))
			continue
		case size == 0:
			head, ok := cut(4)
			if !ok {
				return nil, false
			}
			size = int(binary.LittleEndian.Uint32(head))
		}
		v, ok := cut(size)
		if !ok {
			return nil, false
		}
		values = append(values, v)
	}
	return values, true
}

// fuzzLeaves are the columns of FuzzPage.
var fuzzLeaves = []column.Leaf{
	{Type: format.Int32, Width: 4}, {Type: format.Int64, Width: 8}, {Type: format.ByteArray}, {Type: format.FixedLenByteArray, Width: 3},
	{Type: format.Boolean, Width: 1}, {Type: format.Double, Width: 8}, {Type: format.Int96, Width: 12},
}

var fuzzEncodings = []format.Encoding{
	format.Plain, format.RLE, format.RLEDictionary, format.DeltaBinaryPacked, format.DeltaLengthByteArray, format.DeltaByteArray, format.ByteStreamSplit,
}

// fuzzDictionary is the dictionary of FuzzPage for a leaf, with its page.
func fuzzDictionary(leaf *column.Leaf) (values [][]byte, page []byte) {
	var body []byte
	for i := range 3 {
		v := bytes.Repeat([]byte{byte(i + 1)}, max(leaf.Width, i*(1-min(leaf.Width, 1))))
		values = append(values, v)
		body = appendPlainValue(body, leaf.Width, v)
	}
	var w compactWriter
	w.dictionaryHeader(pageSizes{kind: format.DictionaryPage, uncompressed: len(body), compressed: len(body)}, len(values), format.Plain)
	return values, append(w.buf, body...)
}

// FuzzPage decodes a page of any values: what is read is what the format's text says of its levels and its values.
func FuzzPage(f *testing.F) {
	seedPages(f)
	f.Fuzz(func(t *testing.T, kind, encoding, maxDef, maxRep uint8, n uint16, rep, def, body []byte) {
		leaf := fuzzLeaves[int(kind)%len(fuzzLeaves)]
		leaf.Path, leaf.MaxDef, leaf.MaxRep = []string{"c"}, int(maxDef%4), int(maxRep%3)
		leaf.MaxDef = max(leaf.MaxDef, leaf.MaxRep)
		slots, enc := int(n%2000)+1, fuzzEncodings[int(encoding)%len(fuzzEncodings)]
		var data []byte
		for _, l := range []struct {
			top   int
			bytes []byte
		}{{leaf.MaxRep, rep}, {leaf.MaxDef, def}} {
			if l.top > 0 {
				data = append(binary.LittleEndian.AppendUint32(data, uint32(len(l.bytes))), l.bytes...)
			}
		}
		data = append(data, body...)
		var w compactWriter
		w.dataHeaderV1(pageSizes{uncompressed: len(data), compressed: len(data)}, slots, enc)
		pages := [][]byte{append(w.buf, data...)}
		var dict [][]byte
		if enc == format.RLEDictionary && leaf.Type != format.Boolean {
			var page []byte
			dict, page = fuzzDictionary(&leaf)
			pages = [][]byte{page, pages[0]}
		}

		var got []slot
		p, _ := memoryChunk(&leaf, 1<<20, int64(slots), pages...)
		err := drain(p, func(_ int64, _ int, c *column.Column) { got = appendSlots(got, c) })
		if err != nil && !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrUnsupported) {
			t.Fatalf("error of no kind: %v", err)
		}
		if bytes.Contains([]byte(errorText(err)), []byte("decoder stopped")) {
			t.Fatal(err)
		}
		if len(got) == 0 {
			return
		}
		comparePage(t, &leaf, enc, got, slots, rep, def, body, dict)
	})
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// comparePage holds slots against those of the plain decoders.
func comparePage(t *testing.T, leaf *column.Leaf, enc format.Encoding, got []slot, slots int, rep, def, body []byte, dict [][]byte) {
	if len(got) != slots {
		t.Fatalf("%d slots, want %d", len(got), slots)
	}
	reps, defs := make([]uint64, slots), make([]uint64, slots)
	ok := true
	if leaf.MaxRep > 0 {
		reps, ok = plainHybrid(rep, slots, levelWidth(leaf.MaxRep))
	}
	if leaf.MaxDef > 0 && ok {
		defs, ok = plainHybrid(def, slots, levelWidth(leaf.MaxDef))
	}
	if !ok {
		t.Fatal("levels are read that are not there")
	}
	present := 0
	for i := range slots {
		if reps[i] > uint64(leaf.MaxRep) || defs[i] > uint64(leaf.MaxDef) {
			t.Fatalf("slot %d has levels %d and %d", i, reps[i], defs[i])
		}
		if defs[i] == uint64(leaf.MaxDef) {
			present++
		}
	}
	var values [][]byte
	if present > 0 {
		if values, ok = plainValues(leaf, enc, body, present, dict); !ok {
			t.Fatalf("%d values are read that are not there", present)
		}
	}
	for i, s := range got {
		want := slot{def: uint8(defs[i]), rep: uint8(reps[i])}
		if defs[i] == uint64(leaf.MaxDef) {
			want.val, values = append([]byte{}, values[0]...), values[1:]
		}
		if !s.equal(want) {
			t.Fatalf("slot %d is %v, want %v", i, s, want)
		}
	}
}

// seedPages adds good pages of each encoding.
func seedPages(f *testing.F) {
	r := rand.New(rand.NewPCG(21, 22))
	const n = 40
	levels, present := make([]uint8, n), 0
	for i := range levels {
		levels[i] = uint8(r.IntN(2))
		present += int(levels[i])
	}
	def := appendLevels(nil, levels, 1)
	rep := appendLevels(nil, make([]uint8, n), 1)
	indices := make([]int32, present)
	for i := range indices {
		indices[i] = int32(r.IntN(3))
	}
	// Header, first value, a block of deltas in two bits each.
	delta := append([]byte{0x80, 1, 4, byte(present), 2, 1}, 2, 0, 0, 0, 0x1B, 0xE4, 0, 0x55, 1, 2, 3, 4)
	lengths := append(append([]byte{0x80, 1, 4, byte(present), 0}, 0, 0, 0, 0, 0), bytes.Repeat([]byte{'x'}, 0)...)
	for kind, leaf := range fuzzLeaves {
		plain := bytes.Repeat([]byte{1, 2, 3}, present*max(leaf.Width, 4))[:present*max(leaf.Width, 4)]
		if leaf.Width == 0 {
			plain = bytes.Repeat([]byte{1, 0, 0, 0, 'a'}, present)
		}
		for encoding, body := range [][]byte{plain, append(binary.LittleEndian.AppendUint32(nil, 2), 2*n, 1), appendIndices(nil, indices, 3), delta,
			lengths, append(bytes.Clone(lengths), lengths...), plain} {
			f.Add(uint8(kind), uint8(encoding), uint8(1), uint8(0), uint16(n-1), []byte{}, def, body)
			f.Add(uint8(kind), uint8(encoding), uint8(1), uint8(1), uint16(n-1), rep, def, body)
			f.Add(uint8(kind), uint8(encoding), uint8(0), uint8(0), uint16(present-1), []byte{}, []byte{}, body)
		}
	}
}

// FuzzThrift: a tree that is read takes no more memory than its bytes allow, and written it is read as the same tree.
func FuzzThrift(f *testing.F) {
	addCorpus(f, func(data []byte) {
		n := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
		if n < 4<<10 && n+8 <= len(data) {
			f.Add(data[len(data)-8-n : len(data)-8])
		}
	})
	f.Add([]byte{0x1B, 2, 0x58, 1, 1, 'a', 2, 1, 'b', 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		tree, n, err := parseThrift(data)
		if err != nil {
			if !errors.Is(err, ErrCorrupt) {
				t.Fatalf("error of no kind: %v", err)
			}
			return
		}
		if n > len(data) {
			t.Fatalf("%d bytes of %d are read", n, len(data))
		}
		if count := countValues(&tree); count > 2*len(data)+1 {
			t.Fatalf("%d values of %d bytes", count, len(data))
		}
		out := tree.append(nil)
		again, m, err := parseThrift(out)
		if err != nil || m != len(out) {
			t.Fatalf("written again, %d of %d bytes are read: %v", m, len(out), err)
		}
		if !sameTree(&tree, &again) {
			t.Fatal("the tree changes when it is written")
		}
		copied := tree.clone()
		if !sameTree(&tree, &copied) {
			t.Fatal("a clone differs")
		}
	})
}

func countValues(v *tValue) int {
	n := 1
	for i := range v.kids {
		n += countValues(&v.kids[i])
	}
	return n
}

// sameTree compares trees; an empty map keeps no types.
func sameTree(a, b *tValue) bool {
	if a.id != b.id || a.kind != b.kind || a.num != b.num || a.data != b.data || len(a.kids) != len(b.kids) || a.elem != b.elem {
		return false
	}
	for i := range a.kids {
		if !sameTree(&a.kids[i], &b.kids[i]) {
			return false
		}
	}
	return true
}
