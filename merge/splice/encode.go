package splice

import (
	"encoding/binary"
	"math/bits"
)

// appendLevels appends levels in the RLE/bit-packing hybrid (parquet-format, Encodings.md, RLE = 3)
// without the length that data pages V1 put before it.
func appendLevels(dst []byte, levels []uint8, maxLevel int) []byte {
	return appendHybrid(dst, levels, bits.Len(uint(maxLevel)))
}

// appendFramedLevels appends levels as data pages V1 hold them: four bytes of length, then the hybrid.
func appendFramedLevels(dst []byte, levels []uint8, maxLevel int) []byte {
	start := len(dst)
	dst = appendLevels(append(dst, 0, 0, 0, 0), levels, maxLevel)
	binary.LittleEndian.PutUint32(dst[start:], uint32(len(dst)-start-4))
	return dst
}

// appendIndices appends the values of a dictionary-encoded data page: the bit width, then the hybrid.
// Width is at least 1: a width of 0 is legal but needs a special case in every reader.
func appendIndices(dst []byte, indices []int32, dictLen int) []byte {
	width := max(bits.Len(uint(max(dictLen-1, 0))), 1)
	return appendHybrid(append(dst, byte(width)), indices, width)
}

// appendHybrid writes runs as RLE where that is shorter, and the rest bit-packed in groups of eight.
func appendHybrid[T uint8 | int32](dst []byte, src []T, width int) []byte {
	// A run in the middle of literals costs its header, its value and a second literal header: about
	// four bytes, so that narrow values need longer runs to gain.
	worth := max(8, 32/width)
	for len(src) > 0 {
		if n := runLength(src); n >= worth || n == len(src) {
			dst = appendRun(dst, uint32(src[0]), n, width)
			src = src[n:]
			continue
		}
		n := literals(src, worth)
		dst = appendPacked(dst, src[:n], width)
		src = src[n:]
	}
	return dst
}

// literals returns how many values from the start go into one bit-packed run: a multiple of eight,
// or all of them.
func literals[T uint8 | int32](src []T, worth int) int {
	for at := 8; at < len(src); at += 8 {
		if src[at] != src[min(at+7, len(src)-1)] {
			continue // the usual case, told by one comparison
		}
		if n := runLength(src[at:]); n >= worth || n == len(src)-at {
			return at
		}
	}
	return len(src)
}

func runLength[T uint8 | int32](src []T) int {
	first := src[0]
	for i, v := range src {
		if v != first {
			return i
		}
	}
	return len(src)
}

func appendRun(dst []byte, value uint32, n, width int) []byte {
	dst = binary.AppendUvarint(dst, uint64(n)<<1)
	for bytes := (width + 7) / 8; bytes > 0; bytes-- {
		dst = append(dst, byte(value))
		value >>= 8
	}
	return dst
}

// appendPacked writes one bit-packed run; the last group is filled up with zeros.
func appendPacked[T uint8 | int32](dst []byte, src []T, width int) []byte {
	groups := (len(src) + 7) / 8
	dst = binary.AppendUvarint(dst, uint64(groups)<<1|1)
	end := len(dst) + groups*width
	acc, have := uint64(0), 0
	for _, v := range src {
		acc |= uint64(uint32(v)) << have
		have += width
		if have >= 32 {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(acc))
			acc >>= 32
			have -= 32
		}
	}
	for ; have > 0; have -= 8 {
		dst = append(dst, byte(acc))
		acc >>= 8
	}
	for len(dst) < end {
		dst = append(dst, 0)
	}
	return dst
}

// appendBits packs booleans, one byte each, into bits, as PLAIN holds them.
func appendBits(dst, bools []byte) []byte {
	for len(bools) >= 8 {
		// The multiplication gathers the lowest bit of eight bytes into the highest byte.
		word := binary.LittleEndian.Uint64(bools) & 0x0101010101010101
		dst = append(dst, byte(word*0x0102040810204080>>56))
		bools = bools[8:]
	}
	if len(bools) == 0 {
		return dst
	}
	last := byte(0)
	for i, b := range bools {
		last |= (b & 1) << i
	}
	return append(dst, last)
}
