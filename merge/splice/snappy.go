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

// leastPiece is how much must follow a place, and not look back beyond it, for it to become a cut.
const leastPiece = 16 << 10

// snappyOp is what the first byte of an operation tells: its length with what it makes, and how to find how far a copy looks back.
type snappyOp struct {
	length, size uint8  // bytes it makes; bytes it takes
	high         uint16 // part of how far it looks back
	mask         uint32 // of the four bytes behind the first: the other part
}

// snappyOps are the operations by their first byte; without a length those whose length does not stand there.
var snappyOps = func() (ops [256]snappyOp) {
	for tag := range ops {
		length := uint8(tag>>2) + 1
		switch tag & 3 {
		case 0:
			if length <= 60 {
				ops[tag] = snappyOp{length: length, size: 1 + length, high: 1} // as if it looked back at the byte before
			}
		case 1:
			ops[tag] = snappyOp{length: 4 + uint8(tag>>2&7), size: 2, high: uint16(tag&0xE0) << 3, mask: 0xFF}
		case 2:
			ops[tag] = snappyOp{length: length, size: 3, mask: 0xFFFF}
		default:
			ops[tag] = snappyOp{length: length, size: 5, mask: 0xFFFFFFFF}
		}
	}
	return ops
}()

// snappyWalk goes through the operations of a block and finds its cuts.
type snappyWalk struct {
	block     []byte
	cuts      []snappyCut
	plain, at int       // of the next operation
	maybe     snappyCut // behind the last cut: nothing so far looks back beyond it
}

// snappyCuts appends the places at which a block of so many bytes falls into pieces, its begin and end among them; false where it is
// no such block.
func snappyCuts(cuts []snappyCut, block []byte, size int) ([]snappyCut, bool) {
	n, at := binary.Uvarint(block)
	if at <= 0 || n != uint64(size) {
		return cuts, false
	}
	w := snappyWalk{block: block, at: at}
	w.maybe = snappyCut{0, at}
	w.cuts = append(cuts, w.maybe)
	for w.at < len(block) {
		w.run()
		if w.plain-w.maybe.plain >= leastPiece {
			w.cut()
		} else if w.at < len(block) && !w.step() {
			return w.cuts, false
		}
	}
	return append(w.cuts, snappyCut{w.plain, w.at}), w.plain == size
}

// cut takes the place that was held back as a cut, and looks for the next from here on.
func (w *snappyWalk) cut() {
	if w.maybe.plain > w.cuts[len(w.cuts)-1].plain {
		w.cuts = append(w.cuts, w.maybe)
	}
	w.maybe = snappyCut{w.plain, w.at}
}

// run passes over operations of the usual kinds that do not look back beyond the last cut.
func (w *snappyWalk) run() {
	plain, at, block, last := w.plain, w.at, w.block, w.cuts[len(w.cuts)-1].plain
	maybePlain, maybeAt := w.maybe.plain, w.maybe.packed
	for at+5 <= len(block) && plain-maybePlain < leastPiece {
		op := &snappyOps[block[at]]
		back := int(op.high) + int(binary.LittleEndian.Uint32(block[at+1:])&op.mask)
		from := plain - back
		if back == 0 || from < last || op.length == 0 || at+int(op.size) > len(block) {
			break
		}
		plain, at = plain+int(op.length), at+int(op.size)
		if from < maybePlain && op.mask != 0 {
			maybePlain, maybeAt = plain, at
		}
	}
	w.plain, w.at, w.maybe = plain, at, snappyCut{maybePlain, maybeAt}
}

// step passes over the next operation, of any kind; false where there is none.
func (w *snappyWalk) step() bool {
	tag, rest := w.block[w.at], w.block[w.at+1:]
	op := snappyOps[tag]
	if tag&3 == 0 {
		length, n := snappyLiteral(w.block[w.at:])
		w.plain, w.at = w.plain+length, w.at+n
		return n > 0
	}
	back := op.back(rest)
	from := w.plain - back
	if back == 0 || from < 0 {
		return false
	}
	for w.cuts[len(w.cuts)-1].plain > from {
		w.cuts = w.cuts[:len(w.cuts)-1]
	}
	w.plain, w.at = w.plain+int(op.length), w.at+int(op.size)
	if from < w.maybe.plain {
		w.maybe = snappyCut{w.plain, w.at}
	}
	return true
}

// back is how far a copy looks back, of which the bytes behind its first are given; 0 where they are cut off.
func (o snappyOp) back(rest []byte) int {
	if int(o.size) > len(rest)+1 {
		return 0
	}
	var four [4]byte
	copy(four[:], rest)
	return int(o.high) + int(binary.LittleEndian.Uint32(four[:])&o.mask)
}

// snappyFront decodes the first n bytes of a block into the memory of dst; false where it has not so many.
func snappyFront(dst, block []byte, n int) ([]byte, bool) {
	dst = dst[:0]
	_, at := binary.Uvarint(block)
	for at > 0 && at < len(block) && len(dst) < n {
		op := snappyOps[block[at]]
		if block[at]&3 == 0 {
			length, size := snappyLiteral(block[at:])
			if size == 0 {
				return dst, false
			}
			at += size
			dst = append(dst, block[at-length:][:min(length, n-len(dst))]...)
			continue
		}
		back := op.back(block[at+1:])
		if back == 0 || back > len(dst) {
			return dst, false
		}
		for range op.length { // it may repeat what it makes
			dst = append(dst, dst[len(dst)-back])
		}
		at += int(op.size)
	}
	if len(dst) < n {
		return dst, false
	}
	return dst[:n], true
}

// snappyLiteral is how many bytes the literal at the start of src has, and how long it is with them; 0 where it is cut off.
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
