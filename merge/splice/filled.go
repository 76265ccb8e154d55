package splice

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// decodedShare: of the PLAIN pages of a sealed chunk the first and every such one after it are decoded whole, and the last one. What a
// writer does wrong it does in more than one page; to decode all texts of a table takes as long as all else that is done to adopt it.
const decodedShare = 16

// frontBytes is how much of a page is looked at to find its levels: those of a page without NULL take less.
const frontBytes = 64

// isFilled reports whether a sealed data page, of which the stored bytes are given, holds the values that its levels say. Where
// that takes no long look, an error says that it doesn't; false leaves it to who decodes the chunk.
func (s *sealedChunk) isFilled(p *PageReader, h pageHeader, body []byte) (bool, error) {
	if h.values == 0 {
		return true, nil
	}
	if h.encoding != format.Plain || s.isSample() {
		return true, s.decode(p, h, body)
	}
	if s.leaf.MaxDef == 0 {
		return true, nil // valuesFit has looked
	}
	front, ok := s.front(p, h, body)
	if !ok {
		return s.isOpaque(), nil
	}
	p.page = page{pageHeader: h, def: front[4:]}
	present, err := p.decodeDefinitions(&s.scratch, &p.levels[0])
	return err == nil && holds(s.leaf, h.uncompressed-len(front), present), nil
}

// isSample reports whether a PLAIN page is one of those that are decoded.
func (s *sealedChunk) isSample() bool {
	s.plain++
	return s.plain%decodedShare == 1 || s.values == s.chunk.NumValues
}

// decode decodes a page as its readers do.
func (s *sealedChunk) decode(p *PageReader, h pageHeader, body []byte) error {
	if err := p.start(h, -1); err != nil {
		return err
	}
	plain, err := p.decompress(body, h.uncompressed, true)
	if err != nil {
		return err
	}
	if err := p.splitLevels(plain); err != nil || s.refersRightly(p) {
		return err
	}
	return p.decode(&s.scratch, &p.levels[0])
}

// refersRightly reports whether a page that is loaded, of a dictionary, names entries of it only, and as many as its levels say; false
// where decoding the page has to tell.
func (s *sealedChunk) refersRightly(p *PageReader) bool {
	g := &p.page
	if !isDictionary(g.encoding) || p.dict == nil || len(g.body) == 0 {
		return false
	}
	present := g.values
	if s.leaf.MaxDef > 0 {
		var err error
		if present, err = p.decodeDefinitions(&s.scratch, &p.levels[0]); err != nil {
			return false
		}
	}
	return hybridBelow(g.body[1:], present, int(g.body[0]), uint32(p.dict.Len()))
}

// isOpaque reports whether the beginning of a page can't be had without decompressing most of it.
func (s *sealedChunk) isOpaque() bool {
	return s.chunk.Codec != format.Uncompressed && s.chunk.Codec != format.Snappy
}

// front is the beginning of a page up to the end of its definition levels; false where it can't be had.
func (s *sealedChunk) front(p *PageReader, h pageHeader, body []byte) ([]byte, bool) {
	n := min(frontBytes, h.uncompressed)
	front, ok := s.begin(p, body, n)
	if !ok || n < 4 {
		return nil, false
	}
	size := uint64(binary.LittleEndian.Uint32(front)) + 4
	if size > uint64(h.uncompressed) {
		return nil, false
	}
	if size > uint64(n) {
		front, ok = s.begin(p, body, int(size))
	}
	if !ok {
		return nil, false
	}
	return front[:size], true
}

// begin is the first n bytes of a page.
func (s *sealedChunk) begin(p *PageReader, body []byte, n int) ([]byte, bool) {
	switch s.chunk.Codec {
	case format.Uncompressed:
		return body[:n], true
	case format.Snappy:
		if p.plain == nil {
			p.plain = buffers.Get().(*[]byte)
		}
		out, ok := snappyFront(*p.plain, body, n)
		*p.plain = out
		return out, ok
	}
	return nil, false
}

// holds reports whether so many bytes may be n values in PLAIN.
func holds(leaf *column.Leaf, size, n int) bool {
	switch {
	case leaf.Type == format.Boolean:
		return size == (n+7)/8
	case leaf.Width > 0:
		return size == n*leaf.Width
	case n == 0:
		return size == 0
	}
	return size >= 4*n
}
