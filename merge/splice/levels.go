package splice

import (
	"encoding/binary"
	"math/bits"
)

// decodeHybrid reads len(dst) values of the RLE/bit-packing hybrid (parquet-format, Encodings.md,
// RLE = 3) from the start of src. Values must be below limit; what is left of src is not looked at.
// Runs of no values are refused, as Arrow does: no writer has them but as padding behind the last value,
// and of bytes that are no runs, such as levels in a column that damage made required, they are the first sign.
func decodeHybrid[T uint8 | int32](dst []T, src []byte, width int, limit uint32) error {
	for len(dst) > 0 {
		header, rest, err := runHeader(src, len(dst))
		if err != nil {
			return err
		}
		src = rest
		if header&1 == 0 {
			dst, src, err = decodeRun(dst, src, header>>1, width, limit)
		} else {
			dst, src, err = decodePacked(dst, src, header>>1, width, limit)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// runHeader reads the header of the next run, of which so many values are missing.
func runHeader(src []byte, missing int) (header uint64, rest []byte, err error) {
	header, n := binary.Uvarint(src)
	if n <= 0 {
		return 0, nil, corruptf("runs end %d values early", missing)
	}
	if header>>1 == 0 {
		return 0, nil, corruptf("run of no values, %d are missing", missing)
	}
	return header, src[n:], nil
}

// decodePicked is decodeHybrid for some of the values: those of ascending ranges that lie in dst. It leaves the others alone.
func decodePicked(dst []int32, src []byte, width int, limit uint32, picked []Rows) error {
	for at := 0; len(picked) > 0; {
		header, rest, err := runHeader(src, len(dst)-at)
		if err != nil {
			return err
		}
		from := at
		if src = rest; header&1 == 0 {
			left, behind, err := decodeRun(dst[at:], src, header>>1, width, limit)
			if err != nil {
				return err
			}
			at, src = len(dst)-len(left), behind
		} else {
			n, err := packedValues(len(dst)-at, src, header>>1, width)
			if err != nil {
				return err
			}
			at += n
			if err := pickPacked(dst[from:at], src, width, limit, int64(from), picked); err != nil {
				return err
			}
			src = behindPacked(src, header>>1, width)
		}
		for len(picked) > 0 && picked[0].To <= int64(at) {
			picked = picked[1:]
		}
	}
	return nil
}

// pickPacked reads from bit-packed values those of ranges; dst begins with the value of an ordinal.
func pickPacked(dst []int32, src []byte, width int, limit uint32, first int64, picked []Rows) error {
	mask := uint64(1)<<width - 1
	for _, r := range picked {
		if r.From >= first+int64(len(dst)) {
			break
		}
		for i := max(r.From-first, 0); i < min(r.To-first, int64(len(dst))); i++ {
			bit := int(i) * width
			v := load64(src, bit/8) >> (bit % 8) & mask
			if v >= uint64(limit) {
				return corruptf("bit-packed value %d is not below %d", v, limit)
			}
			dst[i] = int32(v)
		}
	}
	return nil
}

// load64 reads eight bytes in little-endian order, zeros behind the end.
func load64(src []byte, at int) uint64 {
	if at+8 <= len(src) {
		return binary.LittleEndian.Uint64(src[at:])
	}
	var last [8]byte
	copy(last[:], src[min(at, len(src)):])
	return binary.LittleEndian.Uint64(last[:])
}

func decodeRun[T uint8 | int32](dst []T, src []byte, count uint64, width int, limit uint32) ([]T, []byte, error) {
	size := (width + 7) / 8
	if len(src) < size {
		return nil, nil, corruptf("run without value")
	}
	value := uint32(0)
	for i := size - 1; i >= 0; i-- {
		value = value<<8 | uint32(src[i])
	}
	if value >= limit {
		return nil, nil, corruptf("value %d of a run is not below %d", value, limit)
	}
	n := int(min(count, uint64(len(dst))))
	fill(dst[:n], T(value))
	return dst[n:], src[size:], nil
}

func decodePacked[T uint8 | int32](dst []T, src []byte, groups uint64, width int, limit uint32) ([]T, []byte, error) {
	n, err := packedValues(len(dst), src, groups, width)
	if err != nil {
		return nil, nil, err
	}
	unpack(dst[:n], src, width)
	if uint64(limit) < 1<<width {
		if m := largest(dst[:n]); m >= limit {
			return nil, nil, corruptf("bit-packed value %d is not below %d", m, limit)
		}
	}
	return dst[n:], behindPacked(src, groups, width), nil
}

// packedValues is how many of the values that are missing a bit-packed run at the start of src has.
func packedValues(missing int, src []byte, groups uint64, width int) (n int, err error) {
	n = missing
	if groups < uint64(n+7)/8 {
		n = int(groups) * 8
	}
	// The last group may lack the bytes that only hold padding, but not all of its bytes.
	if size := (n*width + 7) / 8; len(src) < size || width > 0 && groups > uint64(len(src)+width-1)/uint64(width) {
		return 0, corruptf("bit-packed run of %d groups, %d values, has %d bytes", groups, n, len(src))
	}
	return n, nil
}

func behindPacked(src []byte, groups uint64, width int) []byte {
	return src[min(groups*uint64(width), uint64(len(src))):]
}

func fill[T uint8 | int32](dst []T, value T) {
	if len(dst) == 0 {
		return
	}
	if value == 0 {
		clear(dst)
		return
	}
	dst[0] = value
	for done := 1; done < len(dst); done *= 2 {
		copy(dst[done:], dst[:done])
	}
}

// largest takes values as the unsigned integers that were read.
func largest[T uint8 | int32](values []T) uint32 {
	m := uint32(0)
	for _, v := range values {
		m = max(m, uint32(v))
	}
	return m
}

// spreadBits holds for each byte its bits as eight bytes.
var spreadBits = func() (table [256]uint64) {
	for b := range table {
		for bit := range 8 {
			table[b] |= uint64(b>>bit&1) << (8 * bit)
		}
	}
	return table
}()

// unpack reads len(dst) bit-packed values of width bits, at most 32 and for uint8 at most 8, least
// significant bit first. Src holds at least their bits.
func unpack[T uint8 | int32](dst []T, src []byte, width int) {
	if width == 0 {
		clear(dst)
		return
	}
	src = src[:(len(dst)*width+7)/8]
	if levels, ok := any(dst).([]uint8); ok && width == 1 {
		unpackBits(levels, src)
		return
	}
	groups := len(dst) / 8
	if whole := (len(src) - 8) / width; groups > whole {
		groups = max(whole, 0) // so that 64 bits can be loaded from every byte of a group
	}
	unpackGroups(dst[:groups*8], src, width)
	dst, src = dst[groups*8:], src[groups*width:]
	// What is left is below 8+width bytes, or a last group that is not whole.
	var padded [64]byte
	copy(padded[:], src)
	mask := uint64(1)<<width - 1
	for i := range dst {
		bit := i * width
		dst[i] = T(binary.LittleEndian.Uint64(padded[bit/8:]) >> (bit % 8) & mask)
	}
}

// unpackGroups reads groups of eight values, which take width bytes each and may be followed by
// eight more. As many values as fit are taken from one load.
func unpackGroups[T uint8 | int32](dst []T, src []byte, width int) {
	mask := uint64(1)<<width - 1
	w := uint(width)
	switch {
	case width <= 8:
		for ; len(dst) >= 8; dst, src = dst[8:], src[width:] {
			out, a := (*[8]T)(dst), binary.LittleEndian.Uint64(src)
			out[0], out[1] = T(a&mask), T(a>>(w&63)&mask)
			out[2], out[3] = T(a>>(2*w&63)&mask), T(a>>(3*w&63)&mask)
			out[4], out[5] = T(a>>(4*w&63)&mask), T(a>>(5*w&63)&mask)
			out[6], out[7] = T(a>>(6*w&63)&mask), T(a>>(7*w&63)&mask)
		}
	case width <= 16:
		half, shift := w/2, 4*(w&1)
		for ; len(dst) >= 8; dst, src = dst[8:], src[width:] {
			out := (*[8]T)(dst)
			a := binary.LittleEndian.Uint64(src)
			b := binary.LittleEndian.Uint64(src[half:]) >> (shift & 63)
			out[0], out[1] = T(a&mask), T(a>>(w&63)&mask)
			out[2], out[3] = T(a>>(2*w&63)&mask), T(a>>(3*w&63)&mask)
			out[4], out[5] = T(b&mask), T(b>>(w&63)&mask)
			out[6], out[7] = T(b>>(2*w&63)&mask), T(b>>(3*w&63)&mask)
		}
	case width <= 28:
		for ; len(dst) >= 8; dst, src = dst[8:], src[width:] {
			out := (*[8]T)(dst)
			a := binary.LittleEndian.Uint64(src)
			b := binary.LittleEndian.Uint64(src[2*w/8:]) >> (2 * w & 7)
			c := binary.LittleEndian.Uint64(src[4*w/8:]) >> (4 * w & 7)
			d := binary.LittleEndian.Uint64(src[6*w/8:]) >> (6 * w & 7)
			out[0], out[1] = T(a&mask), T(a>>(w&63)&mask)
			out[2], out[3] = T(b&mask), T(b>>(w&63)&mask)
			out[4], out[5] = T(c&mask), T(c>>(w&63)&mask)
			out[6], out[7] = T(d&mask), T(d>>(w&63)&mask)
		}
	default:
		for ; len(dst) >= 8; dst, src = dst[8:], src[width:] {
			for i := range uint(8) {
				dst[i] = T(binary.LittleEndian.Uint64(src[i*w/8:]) >> (i * w & 7) & mask)
			}
		}
	}
}

// unpackBits reads one bit a value into one byte a value.
func unpackBits(dst []uint8, src []byte) {
	for ; len(dst) >= 8; dst, src = dst[8:], src[1:] {
		binary.LittleEndian.PutUint64(dst, spreadBits[src[0]])
	}
	for i := range dst {
		dst[i] = src[0] >> i & 1
	}
}

// unpackLegacy reads levels of the deprecated encoding BIT_PACKED, which packs from the most
// significant bit and has no length: it takes the bytes that the values need. Width is at most 8.
func unpackLegacy(dst []uint8, src []byte, width int) {
	have, acc := 0, uint32(0)
	for i := range dst {
		if have < width {
			acc = acc<<8 | uint32(src[0])
			src = src[1:]
			have += 8
		}
		have -= width
		dst[i] = uint8(acc>>have) & uint8(1<<width-1)
	}
}

// levelWidth is the number of bits of a level.
func levelWidth(maxLevel int) int { return bits.Len(uint(maxLevel)) }

// allAt reports whether the hybrid is one run of a level for n values at least: the usual case of an
// optional column without nulls, found without filling a slice.
func allAt(src []byte, n, level, width int) bool {
	header, size := binary.Uvarint(src)
	return size > 0 && header&1 == 0 && header>>1 >= uint64(n) &&
		width <= 8 && len(src) > size && int(src[size]) == level
}
