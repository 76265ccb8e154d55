package splice

import (
	"bytes"

	"github.com/hupsert/hupsert/merge/column"
)

// dictionary maps values to their place in the order of their first appearance: an open-addressing
// table with linear probing over values that lie end to end in a vector.
type dictionary struct {
	values column.Vector
	hashes []uint64 // of each value
	slots  []int32  // place + 1; 0 is empty
	bytes  int      // of the dictionary page's body
	limit  int      // for bytes; a seed may be past it
	hashed int      // values that are in slots: a seed is entered when the first value is looked up
	narrow bool     // equal hashes are equal values, see hashValue
}

func newDictionary(leaf *column.Leaf, limit int, seed *column.Vector) *dictionary {
	d := &dictionary{limit: limit, narrow: isNarrow(leaf.Width)}
	d.values.Reset(leaf.Width)
	d.values.Data = []byte{} // so that the empty byte array is not nil
	if seed == nil {
		return d
	}
	n := seed.Len()
	d.values.AppendRange(seed, 0, n)
	d.hashes = make([]uint64, n)
	for i := range d.hashes {
		v := seed.At(i)
		d.hashes[i] = hashValue(v)
		d.bytes += plainSize(leaf.Width, len(v))
	}
	// Room for changes, so that one of them does not make all later pages PLAIN.
	d.limit = max(2*limit, d.bytes+d.bytes/4)
	return d
}

// len is the number of values.
func (d *dictionary) len() int { return len(d.hashes) }

// add returns the place of a value, entered if it is new; false if it is new and the dictionary is
// full.
func (d *dictionary) add(hash uint64, v []byte) (int32, bool) {
	if d.hashed < len(d.hashes) || 4*len(d.hashes) >= 3*len(d.slots) {
		d.rehash()
	}
	mask := uint64(len(d.slots) - 1)
	// The table's place comes from the high half: narrow values' low half is theirs, hardly mixed.
	at := hash >> 32 & mask
	for ; d.slots[at] != 0; at = (at + 1) & mask {
		place := d.slots[at] - 1
		if d.hashes[place] == hash && (d.narrow || bytes.Equal(d.values.At(int(place)), v)) {
			return place, true
		}
	}
	size := plainSize(d.values.Width, len(v))
	if d.bytes+size > d.limit {
		return 0, false
	}
	d.bytes += size
	d.values.Append(v)
	d.hashes = append(d.hashes, hash)
	d.hashed = len(d.hashes)
	d.slots[at] = int32(len(d.hashes))
	return int32(len(d.hashes) - 1), true
}

// rehash makes the table at most three eighths full.
func (d *dictionary) rehash() {
	size := 1024
	for 3*size < 8*len(d.hashes) {
		size *= 2
	}
	d.slots = make([]int32, size)
	mask := uint64(size - 1)
	for place, hash := range d.hashes {
		at := hash >> 32 & mask
		for d.slots[at] != 0 {
			at = (at + 1) & mask
		}
		d.slots[at] = int32(place + 1)
	}
	d.hashed = len(d.hashes)
}

// plainSize is how many bytes PLAIN takes for one value of n bytes.
func plainSize(width, n int) int {
	if width > 0 {
		return width
	}
	return 4 + n
}

// appendPlain appends all values as PLAIN: the body of the dictionary page.
func (d *dictionary) appendPlain(dst []byte) []byte {
	if d.values.Width > 0 {
		return append(dst, d.values.Fixed...)
	}
	for i := range d.values.Len() {
		dst = appendPlainValue(dst, 0, d.values.At(i))
	}
	return dst
}
