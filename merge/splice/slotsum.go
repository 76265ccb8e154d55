package splice

import (
	"bytes"
	"encoding/binary"
	"math/bits"

	"github.com/cespare/xxhash/v2"

	"github.com/hupsert/hupsert/merge/column"
)

// slotSum is a checksum of slots in their order, the same however they are cut into pages and
// whether their values lie in a dictionary. An encoder takes it of what it is given, and Verify of
// what comes back.
type slotSum struct {
	leaf               *column.Leaf
	rows, slots, nulls int64
	values             uint64
	def, rep           xxhash.Digest
}

func newSlotSum(leaf *column.Leaf) slotSum {
	s := slotSum{leaf: leaf}
	s.def.Reset()
	s.rep.Reset()
	return s
}

// allDefined stands for the definition levels that a column without nulls leaves out.
var allDefined = func() (levels [256][]byte) {
	for i := range levels {
		levels[i] = bytes.Repeat([]byte{byte(i)}, 256)
	}
	return levels
}()

// levels adds the levels of slots [from, to).
func (s *slotSum) levels(c *column.Column, from, to int) {
	n := to - from
	s.slots += int64(n)
	if s.leaf.MaxRep > 0 {
		_, _ = s.rep.Write(c.Rep[from:to])
		s.rows += int64(bytes.Count(c.Rep[from:to], []byte{0}))
	} else {
		s.rows += int64(n)
	}
	if s.leaf.MaxDef == 0 {
		return
	}
	if c.Def != nil {
		_, _ = s.def.Write(c.Def[from:to])
		s.nulls += int64(n - bytes.Count(c.Def[from:to], []byte{byte(s.leaf.MaxDef)}))
		return
	}
	for same := allDefined[byte(s.leaf.MaxDef)]; n > 0; n -= len(same) {
		_, _ = s.def.Write(same[:min(n, len(same))])
	}
}

// hashed adds values by their hashes.
func (s *slotSum) hashed(hashes []uint64) {
	sum := s.values
	for _, h := range hashes {
		sum = bits.RotateLeft64(sum^h, 29) * 0x9E3779B97F4A7C15
	}
	s.values = sum
}

func (s *slotSum) equal(t *slotSum) bool {
	return s.rows == t.rows && s.slots == t.slots && s.nulls == t.nulls && s.values == t.values &&
		s.def.Sum64() == t.def.Sum64() && s.rep.Sum64() == t.rep.Sum64()
}

// isNarrow reports whether values of a width are hashed as the integers they are, without collisions.
func isNarrow(width int) bool { return width == 1 || width == 2 || width == 4 || width == 8 }

// hashValue hashes one value.
func hashValue(v []byte) uint64 {
	switch len(v) {
	case 8:
		return mix(binary.LittleEndian.Uint64(v))
	case 4:
		return mix(uint64(binary.LittleEndian.Uint32(v)))
	case 2:
		return mix(uint64(binary.LittleEndian.Uint16(v)))
	case 1:
		return mix(uint64(v[0]))
	}
	return xxhash.Sum64(v)
}

// mix is a permutation of 64 bits that spreads low bits over the high half.
func mix(v uint64) uint64 {
	v ^= v >> 32
	v *= 0x9E3779B97F4A7C15
	return v ^ v>>32
}

// appendHashes appends the hashes of the values in slots [from, to); slots without value have none.
func appendHashes(dst []uint64, c *column.Column, from, to int) []uint64 {
	switch {
	case c.Dict != nil:
	case c.Values.Width == 8:
		return appendHashes64(dst, c, from, to)
	case c.Values.Width == 4:
		return appendHashes32(dst, c, from, to)
	case c.Values.Width == 0:
		start := c.Values.Offsets[from]
		for i, end := range c.Values.Offsets[from+1 : to+1] {
			if !c.Null(from + i) {
				dst = append(dst, hashValue(c.Values.Data[start:end]))
			}
			start = end
		}
		return dst
	}
	for i := from; i < to; i++ {
		if !c.Null(i) {
			dst = append(dst, hashValue(c.Value(i)))
		}
	}
	return dst
}

// appendHashes64 and appendHashes32 are the loops of the commonest widths (BenchmarkEncode).
func appendHashes64(dst []uint64, c *column.Column, from, to int) []uint64 {
	values := c.Values.Fixed[from*8 : to*8]
	if c.Def == nil {
		for ; len(values) >= 8; values = values[8:] {
			dst = append(dst, mix(binary.LittleEndian.Uint64(values)))
		}
		return dst
	}
	for _, def := range c.Def[from:to] {
		if def == c.MaxDef {
			dst = append(dst, mix(binary.LittleEndian.Uint64(values)))
		}
		values = values[8:]
	}
	return dst
}

func appendHashes32(dst []uint64, c *column.Column, from, to int) []uint64 {
	values := c.Values.Fixed[from*4 : to*4]
	if c.Def == nil {
		for ; len(values) >= 4; values = values[4:] {
			dst = append(dst, mix(uint64(binary.LittleEndian.Uint32(values))))
		}
		return dst
	}
	for _, def := range c.Def[from:to] {
		if def == c.MaxDef {
			dst = append(dst, mix(uint64(binary.LittleEndian.Uint32(values))))
		}
		values = values[4:]
	}
	return dst
}
