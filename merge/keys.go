package merge

import (
	"bytes"
	"encoding/binary"
	"math/bits"
	"slices"

	"github.com/cespare/xxhash/v2"

	"github.com/hupsert/hupsert/merge/column"
)

// keys is a list of encoded keys: of one width, or each with its own length.
type keys struct {
	width int
	data  []byte
	ends  []uint64 // width == 0: where key i ends in data
}

func (k *keys) reset() { k.data, k.ends = k.data[:0], k.ends[:0] }

// joinKeys makes one list of several, of keys of any length.
func joinKeys(list []rowKeys, of func(*rowKeys) *keys) keys {
	if len(list) == 1 {
		return *of(&list[0])
	}
	var out keys
	for i := range list {
		k := of(&list[i])
		from := uint64(len(out.data))
		out.data = append(out.data, k.data...)
		for _, end := range k.ends {
			out.ends = append(out.ends, from+end)
		}
	}
	return out
}

// len is the number of keys.
func (k *keys) len() int {
	if k.width > 0 {
		return len(k.data) / k.width
	}
	return len(k.ends)
}

// ascend reports whether each of the keys [from, to) is above the one before it.
func (k *keys) ascend(from, to int) bool {
	if w := k.width; w == 8 || w == 12 || w == 16 {
		return ascendWide(k.data[from*w:to*w], w)
	}
	for i := from + 1; i < to; i++ {
		if bytes.Compare(k.at(i-1), k.at(i)) >= 0 {
			return false
		}
	}
	return true
}

// ascendWide is ascend of keys of 8, 12 or 16 bytes: two numbers compare faster than bytes.
func ascendWide(data []byte, width int) bool {
	tail := func(key []byte) uint64 {
		switch len(key) {
		case 12:
			return uint64(binary.BigEndian.Uint32(key[8:]))
		case 16:
			return binary.BigEndian.Uint64(key[8:])
		}
		return 0
	}
	if len(data) == 0 {
		return true
	}
	head, rest := binary.BigEndian.Uint64(data), tail(data[:width])
	for data = data[width:]; len(data) > 0; data = data[width:] {
		h, r := binary.BigEndian.Uint64(data), tail(data[:width])
		if h < head || h == head && r <= rest {
			return false
		}
		head, rest = h, r
	}
	return true
}

func (k *keys) at(i int) []byte {
	if k.width > 0 {
		return k.data[i*k.width : (i+1)*k.width]
	}
	from := uint64(0)
	if i > 0 {
		from = k.ends[i-1]
	}
	return k.data[from:k.ends[i]]
}

// layout is how the parts of a key make its bytes.
type layout struct {
	parts    []partType
	nullable bool // NULL is a value, equal to itself
	width    int  // of a whole key; 0: variable
}

func newLayout(parts []partType, nullable bool) layout {
	l := layout{parts: parts, nullable: nullable}
	fixed := !nullable
	for i := range parts {
		parts[i].last = i == len(parts)-1
		w := parts[i].width()
		l.width += w
		fixed = fixed && w > 0
	}
	if !fixed {
		l.width = 0
	}
	return l
}

// hasChar reports whether keys that are equal may be stored with other blanks at their end.
func (l layout) hasChar() bool {
	return slices.ContainsFunc(l.parts, func(p partType) bool { return p.char })
}

// cursorColumn is a run of rows of one key column.
type cursorColumn struct {
	col  *column.Column
	from int // slot of the first row
}

// encode appends the keys of n rows to dst. Rows with a NULL in a part get a key of zeros and their
// flag in nulls, unless NULL is a value. Fast paths cover parts of fixed width and keys that are one string.
func (l layout) encode(dst *keys, nulls []bool, enc []encoder, cols []cursorColumn, n int) error {
	dst.width = l.width
	switch {
	case l.width > 0:
		return l.encodeFixed(dst, nulls, enc, cols, n)
	case len(enc) == 1 && !l.nullable && cols[0].col.Def == nil && cols[0].col.Dict == nil && l.parts[0].last && !l.parts[0].char && enc[0].leaf.Width == 0 && isBytes(l.parts[0].typ):
		dst.appendBytes(&cols[0].col.Values, cols[0].from, n)
		return nil
	}
	for i := range n {
		for p := range enc {
			c := &cols[p]
			slot := c.from + i
			if c.col.Null(slot) {
				if l.nullable {
					dst.data = append(dst.data, 0)
					continue
				}
				nulls[i] = true
				continue
			}
			if l.nullable {
				dst.data = append(dst.data, 1)
			}
			var err error
			if dst.data, err = enc[p].put(dst.data, c.col.Value(slot)); err != nil {
				return err
			}
		}
		dst.ends = append(dst.ends, uint64(len(dst.data)))
	}
	return nil
}

// appendBytes appends values of any length as they are.
func (k *keys) appendBytes(v *column.Vector, from, n int) {
	offsets := v.Offsets[from : from+n+1]
	shift := uint64(len(k.data)) - uint64(offsets[0])
	k.data = append(k.data, v.Data[offsets[0]:offsets[n]]...)
	k.ends = slices.Grow(k.ends, n)
	for _, end := range offsets[1:] {
		k.ends = append(k.ends, uint64(end)+shift)
	}
}

func (l layout) encodeFixed(dst *keys, nulls []bool, enc []encoder, cols []cursorColumn, n int) error {
	at := len(dst.data)
	dst.data = slices.Grow(dst.data, n*l.width)[:at+n*l.width]
	for p, e := range enc {
		c := cols[p]
		whole, plain := c.col.Def == nil, c.col.Dict == nil
		out := dst.data[at:]
		switch {
		case whole && plain && e.swap && e.width == 8:
			src, flip := c.col.Values.Fixed[c.from*8:], uint64(e.flip)<<56
			for i := range n {
				binary.BigEndian.PutUint64(out[i*l.width:], binary.LittleEndian.Uint64(src[i*8:])^flip)
			}
		case whole && plain && e.swap && e.width == 4:
			src, flip := c.col.Values.Fixed[c.from*4:], uint32(e.flip)<<24
			for i := range n {
				binary.BigEndian.PutUint32(out[i*l.width:], binary.LittleEndian.Uint32(src[i*4:])^flip)
			}
		case whole && e.swap && e.width == 8:
			src, flip := c.col.Dict.Fixed, uint64(e.flip)<<56
			for i, entry := range c.col.Index[c.from : c.from+n] {
				binary.BigEndian.PutUint64(out[i*l.width:], binary.LittleEndian.Uint64(src[int(entry)*8:])^flip)
			}
		case whole && e.swap && e.width == 4:
			src, flip := c.col.Dict.Fixed, uint32(e.flip)<<24
			for i, entry := range c.col.Index[c.from : c.from+n] {
				binary.BigEndian.PutUint32(out[i*l.width:], binary.LittleEndian.Uint32(src[int(entry)*4:])^flip)
			}
		default:
			if err := e.encodeStrided(out, l.width, nulls, c, n); err != nil {
				return err
			}
		}
		at += e.width
	}
	return nil
}

// encodeStrided writes one part of n keys, width bytes apart. Parts of a dictionary are encoded once
// per entry.
func (e encoder) encodeStrided(out []byte, width int, nulls []bool, c cursorColumn, n int) error {
	var entries []byte
	if d := c.col.Dict; d != nil && d.Len() <= n {
		for i := range d.Len() {
			var err error
			if entries, err = e.put(entries, d.At(i)); err != nil {
				return err
			}
		}
	}
	for i := range n {
		slot := c.from + i
		if c.col.Null(slot) {
			nulls[i] = true
			clear(out[i*width : i*width+e.width])
			continue
		}
		if entries != nil {
			at := int(c.col.Index[slot]) * e.width
			copy(out[i*width:], entries[at:at+e.width])
			continue
		}
		if _, err := e.put(out[i*width:i*width:i*width+e.width], c.col.Value(slot)); err != nil {
			return err
		}
	}
	return nil
}

// hash mixes a key to 64 bits. It never leaves the process.
func hash(key []byte) uint64 {
	switch len(key) {
	case 8:
		return mix(binary.LittleEndian.Uint64(key), 0x9E3779B97F4A7C15)
	case 12:
		return mix(binary.LittleEndian.Uint64(key)^0xA0761D6478BD642F, uint64(binary.LittleEndian.Uint32(key[8:]))^0xE7037ED1A0B428DB)
	case 16:
		return mix(binary.LittleEndian.Uint64(key)^0xA0761D6478BD642F, binary.LittleEndian.Uint64(key[8:])^0xE7037ED1A0B428DB)
	}
	return xxhash.Sum64(key)
}

func mix(a, b uint64) uint64 {
	hi, lo := bits.Mul64(a, b)
	h := hi ^ lo
	return h ^ h>>29
}

// index finds source rows by key: an open-addressing table of row numbers behind a bitmap that
// answers most misses with one cache line.
type index struct {
	keys   *keys
	table  []uint32 // row + 1; 0 is free
	mask   uint64
	bitmap []uint64
	shift  uint
}

func newIndex(k *keys, rows int) *index {
	size := uint64(16)
	for size < 2*uint64(rows) {
		size *= 2
	}
	ix := &index{keys: k, table: make([]uint32, size), mask: size - 1}
	words := max(size/8, 8) // 4 bits a slot, 8 or more a row
	ix.bitmap = make([]uint64, words)
	ix.shift = uint(64 - bits.TrailingZeros64(words*64))
	return ix
}

// find returns the row that holds a key.
func (ix *index) find(key []byte) (int, bool) {
	h := hash(key)
	if bit := h >> ix.shift; ix.bitmap[bit>>6]&(1<<(bit&63)) == 0 {
		return 0, false
	}
	for at := h & ix.mask; ; at = (at + 1) & ix.mask {
		row := ix.table[at]
		if row == 0 {
			return 0, false
		}
		if string(ix.keys.at(int(row-1))) == string(key) {
			return int(row - 1), true
		}
	}
}

// put adds a row under its key and returns the row that holds the key: the row itself, or one that
// was there before.
func (ix *index) put(row int) int {
	key := ix.keys.at(row)
	h := hash(key)
	bit := h >> ix.shift
	ix.bitmap[bit>>6] |= 1 << (bit & 63)
	for at := h & ix.mask; ; at = (at + 1) & ix.mask {
		held := ix.table[at]
		if held == 0 {
			ix.table[at] = uint32(row + 1)
			return row
		}
		if string(ix.keys.at(int(held-1))) == string(key) {
			return int(held - 1)
		}
	}
}

// replace makes another row of the same key the one that is found.
func (ix *index) replace(held, row int) {
	key := ix.keys.at(row)
	for at := hash(key) & ix.mask; ; at = (at + 1) & ix.mask {
		if ix.table[at] == uint32(held+1) {
			ix.table[at] = uint32(row + 1)
			return
		}
	}
}
