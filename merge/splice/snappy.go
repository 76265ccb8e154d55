package splice

import (
	"bytes"
	"encoding/binary"

	"github.com/golang/snappy"
)

// A snappy block is a run of operations: literals, and copies of what came before (snappy's format_description.txt). Encoders forget
// what came before every 64 KiB, so that a block falls into pieces that do not look back beyond their beginning. Where few bytes of a
// page change, only the pieces that hold them are compressed anew, and the others are taken over as they are.

// snappyCut is a place in a block before which nothing behind it looks.
type snappyCut struct{ plain, packed int }

// leastPiece is the least size of a piece that is looked for.
const leastPiece = 4 << 10

// snappyCuts appends the places at which a block of so many bytes falls into pieces, its begin and end among them; false where it is
// no such block.
func snappyCuts(cuts []snappyCut, block []byte, size int) ([]snappyCut, bool) {
	n, at := binary.Uvarint(block)
	if at <= 0 || n != uint64(size) {
		return cuts, false
	}
	plain, last := 0, 0 // last is where the last cut is
	cuts = append(cuts, snappyCut{0, at})
	for at < len(block) {
		if plain-last >= leastPiece {
			cuts, last = append(cuts, snappyCut{plain, at}), plain
		}
		tag := block[at]
		length, back := 0, 0
		switch tag & 3 {
		case 0:
			var n int
			if length, n = snappyLiteral(block[at:]); n == 0 {
				return cuts, false
			}
			plain, at = plain+length, at+n
			continue
		case 1:
			if at+2 > len(block) {
				return cuts, false
			}
			length, back, at = 4+int(tag>>2&7), int(tag&0xE0)<<3|int(block[at+1]), at+2
		case 2:
			if at+3 > len(block) {
				return cuts, false
			}
			length, back, at = 1+int(tag>>2), int(block[at+1])|int(block[at+2])<<8, at+3
		default:
			if at+5 > len(block) {
				return cuts, false
			}
			length, back, at = 1+int(tag>>2), int(binary.LittleEndian.Uint32(block[at+1:])), at+5
		}
		if back == 0 || back > plain {
			return cuts, false
		}
		for last > plain-back {
			cuts = cuts[:len(cuts)-1]
			last = cuts[len(cuts)-1].plain
		}
		plain += length
	}
	return append(cuts, snappyCut{plain, at}), plain == size
}

// snappyLiteral is how many bytes the literal at the begin of src has, and how long it is with them; 0 where it is cut off.
func snappyLiteral(src []byte) (length, n int) {
	length, n = int(src[0]>>2), 1
	if extra := length - 59; extra > 0 {
		if len(src) < 1+extra {
			return 0, 0
		}
		length, n = 0, 1+extra
		for k := extra; k > 0; k-- {
			length = length<<8 | int(src[k])
		}
	}
	if length++; length > len(src)-n {
		return 0, 0
	}
	return length, n + length
}

// splice is a place at which a body differs from the one it was made of: bytes [oldFrom, oldTo) became [newFrom, newTo).
type splice struct{ oldFrom, oldTo, newFrom, newTo int }

// snappySplicer compresses bodies that differ in a few places from one that is there compressed.
type snappySplicer struct {
	cuts  []snappyCut
	out   []byte
	piece []byte
	check []byte
}

// pays reports whether so many places in a body leave enough of it untouched.
func (s *snappySplicer) pays(places, size int) bool { return size >= 128<<10 && places*(64<<10) < size }

// compress returns the block of body, which became of the one in block by splices, in their order; nil where the block does not fall into
// pieces. What it compresses is decompressed again and compared.
func (s *snappySplicer) compress(block []byte, size int, body []byte, splices []splice) ([]byte, error) {
	var ok bool
	if s.cuts, ok = snappyCuts(s.cuts[:0], block, size); !ok {
		return nil, nil
	}
	s.out = binary.AppendUvarint(s.out[:0], uint64(len(body)))
	from, shift := 0, 0 // of the body: what is not in out yet, and how much longer it is than the old one up to there
	for i := range s.cuts[:len(s.cuts)-1] {
		a, b := s.cuts[i], s.cuts[i+1]
		begin, touched := a.plain+shift, false
		for len(splices) > 0 && (splices[0].oldFrom < b.plain || b.plain == size) {
			p := splices[0]
			if p.oldTo > b.plain { // it goes on in the next piece
				touched = true
				break
			}
			shift += p.newTo - p.newFrom - (p.oldTo - p.oldFrom)
			touched, splices = true, splices[1:]
		}
		if touched {
			continue
		}
		if err := s.encode(body[from:begin]); err != nil {
			return nil, err
		}
		s.out = append(s.out, block[a.packed:b.packed]...)
		from = b.plain + shift
	}
	return s.out, s.encode(body[from:])
}

// encode appends the operations of a part.
func (s *snappySplicer) encode(part []byte) error {
	if len(part) == 0 {
		return nil
	}
	var err error
	if s.piece, err = appendSnappy(s.piece[:0], part); err != nil {
		return err
	}
	s.check = resize(s.check, len(part))
	if plain, err := snappy.Decode(s.check, s.piece); err != nil || !bytes.Equal(plain, part) {
		return errVerify
	}
	_, n := binary.Uvarint(s.piece)
	s.out = append(s.out, s.piece[n:]...)
	return nil
}
