package splice

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// maxDeltaBlock limits the values of a block of DELTA_BINARY_PACKED; writers use 128.
const maxDeltaBlock = 1 << 20

// deltaHeader starts a run of DELTA_BINARY_PACKED values.
type deltaHeader struct {
	mini     int // values of a miniblock
	perBlock int // miniblocks of a block
	count    uint64
	first    uint64
}

func readDeltaHeader(src []byte) (h deltaHeader, rest []byte, err error) {
	var fields [4]uint64
	for i := range fields {
		n := 0
		if fields[i], n = binary.Uvarint(src); n <= 0 {
			return h, nil, corruptf("no whole header")
		}
		src = src[n:]
	}
	block, minis := fields[0], fields[1]
	// By the format; a damaged header hardly is.
	if block == 0 || block > maxDeltaBlock || block%128 != 0 || minis == 0 || minis > block || block%minis != 0 || block/minis%32 != 0 {
		return h, nil, corruptf("blocks of %d values in %d miniblocks", block, minis)
	}
	h = deltaHeader{mini: int(block / minis), perBlock: int(minis), count: fields[2]}
	h.first = fields[3]>>1 ^ -(fields[3] & 1)
	return h, src, nil
}

// decodeDelta decodes DELTA_BINARY_PACKED (parquet-format, Encodings.md) into as many values of a
// width, 4 or 8, as dst holds, and returns what follows them. Sums wrap around, as the format says.
func decodeDelta(dst, src []byte, width int) (rest []byte, err error) {
	h, src, err := readDeltaHeader(src)
	if err != nil {
		return nil, err
	}
	left := len(dst) / width
	if h.count != uint64(left) {
		return nil, corruptf("%d values, %d expected", h.count, left)
	}
	if left == 0 {
		return src, nil
	}
	value := h.first
	dst = putDelta(dst, value, width)
	for left--; left > 0; {
		low, n := binary.Varint(src)
		if n <= 0 || len(src)-n < h.perBlock {
			return nil, corruptf("the block header passes the end")
		}
		widths := src[n : n+h.perBlock]
		src = src[n+h.perBlock:]
		for _, bits := range widths {
			if left == 0 {
				break // miniblocks without values take no bytes
			}
			count, size := min(left, h.mini), h.mini*int(bits)/8
			// The last miniblock is as long as the others, whatever it holds. Writers take 33 bits for deltas of 32-bit integers.
			if bits > 64 || len(src) < size {
				return nil, corruptf("a miniblock of %d bits a value passes the end", bits)
			}
			dst, value = addDeltas(dst, src, count, int(bits), value, uint64(low), width)
			src = src[size:]
			left -= count
		}
	}
	return src, nil
}

func putDelta(dst []byte, value uint64, width int) []byte {
	if width == 4 {
		binary.LittleEndian.PutUint32(dst, uint32(value))
	} else {
		binary.LittleEndian.PutUint64(dst, value)
	}
	return dst[width:]
}

// addDeltas decodes the values of a miniblock.
func addDeltas(dst, src []byte, count, bits int, value, low uint64, width int) ([]byte, uint64) {
	for i := range count {
		value += low + bitsAt(src, i*bits, bits)
		dst = putDelta(dst, value, width)
	}
	return dst, value
}

// bitsAt reads width bits, 64 at most, at a bit of src, least significant first.
func bitsAt(src []byte, bit, width int) uint64 {
	src = src[bit/8:]
	shift := bit % 8
	if len(src) < 9 {
		var padded [16]byte
		copy(padded[:], src)
		src = padded[:]
	}
	v := binary.LittleEndian.Uint64(src) >> shift
	if shift+width > 64 {
		v |= uint64(src[8]) << (64 - shift)
	}
	if width < 64 {
		v &= 1<<width - 1
	}
	return v
}

// decodeDeltaLengths decodes DELTA_LENGTH_BYTE_ARRAY: all lengths, then all bytes.
func (p *PageReader) decodeDeltaLengths(v *column.Vector, n, present int) error {
	p.lengths = resize(p.lengths, 4*present)
	data, err := decodeDelta(p.lengths, p.page.body, 4)
	if err != nil {
		return err
	}
	v.Offsets = resize(v.Offsets, n+1)
	v.Offsets[0] = 0
	end := 0
	for i := range present {
		size := int(binary.LittleEndian.Uint32(p.lengths[4*i:]))
		if size > len(data)-end {
			return corruptf("byte array of %d bytes passes the end", size)
		}
		end += size
		v.Offsets[i+1] = uint32(end)
	}
	if end != len(data) {
		return corruptf("%d bytes are left behind the last byte array", len(data)-end)
	}
	v.Data = append(resize(v.Data, len(data)+1)[:0], data...) // not nil: that would be no value
	return nil
}

// deltaStringBytes is how many bytes the values have whose lengths were read, of which so many bytes stand in the page. Memory is
// taken for what can be there only.
func (p *PageReader) deltaStringBytes(present, stored int) (total int, err error) {
	last := len(p.last)
	for i := range present {
		shared, size := int(binary.LittleEndian.Uint32(p.prefix[4*i:])), int(binary.LittleEndian.Uint32(p.lengths[4*i:]))
		if shared > last || size > stored {
			return 0, corruptf("byte array of %d and %d bytes passes the end", shared, size)
		}
		last = shared + size
		stored, total = stored-size, total+last
		if total > maxPageBytes {
			return 0, unsupportedf("page of more than %d bytes", maxPageBytes)
		}
	}
	return total, nil
}

// decodeDeltaStrings decodes DELTA_BYTE_ARRAY: of every value the length of what it shares with the
// value before, and the rest of it.
func (p *PageReader) decodeDeltaStrings(v *column.Vector, n, present int) error {
	p.prefix, p.lengths = resize(p.prefix, 4*present), resize(p.lengths, 4*present)
	data, err := decodeDelta(p.prefix, p.page.body, 4)
	if err != nil {
		return err
	}
	if data, err = decodeDelta(p.lengths, data, 4); err != nil {
		return err
	}
	total, err := p.deltaStringBytes(present, len(data))
	if err != nil {
		return err
	}
	fixed := p.leaf.Type == format.FixedLenByteArray
	if fixed {
		v.Fixed = resize(v.Fixed, n*v.Width)
	} else {
		v.Offsets = resize(v.Offsets, n+1)
		v.Offsets[0] = 0
	}
	out := resize(v.Data, total+1)[:0] // not nil: that would be no value
	last := p.last
	for i := range present {
		shared, size := int(binary.LittleEndian.Uint32(p.prefix[4*i:])), int(binary.LittleEndian.Uint32(p.lengths[4*i:]))
		start := len(out)
		out = append(append(out, last[:shared]...), data[:size]...)
		data, last = data[size:], out[start:]
		if fixed {
			if len(last) != v.Width {
				return corruptf("value of %d bytes, %d expected", len(last), v.Width)
			}
			copy(v.Fixed[i*v.Width:], last)
			continue
		}
		v.Offsets[i+1] = uint32(len(out))
	}
	if len(data) != 0 {
		return corruptf("%d bytes are left behind the last byte array", len(data))
	}
	if p.maker.chainsDeltas() {
		p.last = append(p.last[:0], last...)
	}
	if v.Data = out; fixed {
		v.Data = out[:0]
	}
	return nil
}
