package merge

import "math"

// bitmap is a set of small numbers, a bit each.
type bitmap []uint64

// add puts a number in, and reports whether it was not there.
func (b bitmap) add(n uint32) bool {
	word, bit := n>>6, uint64(1)<<(n&63)
	fresh := b[word]&bit == 0
	b[word] |= bit
	return fresh
}

// addRange puts count numbers from n on in if none of them is there, and reports whether it did.
func (b bitmap) addRange(n, count uint32) bool {
	for at := n; at < n+count; at += 64 - at&63 {
		if b[at>>6]&b.mask(at, n+count) != 0 {
			return false
		}
	}
	for at := n; at < n+count; at += 64 - at&63 {
		b[at>>6] |= b.mask(at, n+count)
	}
	return true
}

// mask is the bits of a word from one number on, and before another that may lie in a later word.
func (bitmap) mask(from, to uint32) uint64 {
	m := uint64(math.MaxUint64) << (from & 63)
	if end := from&^63 + 64; to < end {
		m &= math.MaxUint64 >> (end - to)
	}
	return m
}
