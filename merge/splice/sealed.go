package splice

import (
	"context"
	"fmt"

	"github.com/golang/snappy"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// CheckSealed is CheckChunk for a chunk that is to be copied as it is. It costs little more than reading the chunk where
// its writer has sealed the pages: a body whose checksum holds is as it was written, and is not decoded. The checksum
// does not cover the page's header, so that this goes only where the footer and the offset index say the same of the
// pages as their headers do: place, length, rows, encodings and sizes. A chunk in which something of that is missing
// or differs is decoded whole.
//
// What a writer filled wrongly, it sealed so. Of a sealed page it is therefore looked at whether it has the values that its
// levels say (isFilled): the indices of a dictionary all, of other values their number against the size, and a part of the pages is decoded.
// Not seen is what only decoding tells of the other pages: lengths of texts; in codecs other than Snappy also the number of values.
//
// Readers go to pages by the offset index: one that leads elsewhere is damage too.
func (f *File) CheckSealed(ctx context.Context, rg, col int) error {
	sealed, err := f.isSealed(ctx, rg, col)
	if err != nil {
		return fmt.Errorf("%s: row group %d, column %q: %w", f.name, rg, f.schema.Leaves[col].Path, err)
	}
	if sealed {
		return nil
	}
	return f.CheckChunk(ctx, rg, col)
}

// isSealed reports whether every page of a chunk is sealed. An error says that a body is not what was written, or that
// the offset index leads to no page.
func (f *File) isSealed(ctx context.Context, rg, col int) (bool, error) {
	s := sealedChunk{
		leaf: f.schema.Leaves[col], chunk: &f.groups[rg].Columns[col],
		meta: f.rowGroup(rg).list(1, compactStruct)[col].field(3), found: map[pageEncoding]int64{},
	}
	if err := s.checkCounts(); err != nil || s.chunk.NumValues == 0 || !s.chunk.HasPageIndex {
		return false, err
	}
	return s.check(ctx, f, rg, col)
}

// sealedChunk holds a chunk against what the footer and the offset index say of its pages.
type sealedChunk struct {
	leaf  *column.Leaf
	chunk *Chunk
	meta  *tValue

	pages        []PageInfo // of the offset index, those that were not met yet
	found        map[pageEncoding]int64
	dictionary   bool
	plain        int // PLAIN pages so far
	scratch      column.Column
	values       int64
	uncompressed int64 // of the pages so far, with their headers
}

// pageEncoding is what the footer counts pages by.
type pageEncoding struct {
	kind     format.PageType
	encoding format.Encoding
}

func (s *sealedChunk) check(ctx context.Context, f *File, rg, col int) (sealed bool, err error) {
	defer guard(&err)
	index, err := f.readOffsetIndex(s.chunk, f.groups[rg].Rows)
	if err != nil {
		return false, fmt.Errorf("offset index: %w", err)
	}
	s.pages = index.Pages
	p := f.Pages(rg, col, nil)
	defer p.Close()
	sealed = s.leaf.Flat()
	for at := s.chunk.Offset; s.values < s.chunk.NumValues; {
		if err := ctx.Err(); err != nil {
			return false, err
		}
		h, err := p.header(at)
		if err != nil {
			return false, fmt.Errorf("page at offset %d: %w", at, err)
		}
		if err := s.checkPlace(h, at); err != nil {
			return false, fmt.Errorf("page at offset %d: %w", at, err)
		}
		if sealed {
			if sealed, err = s.checkPage(p, h, at+int64(h.size)); err != nil {
				return false, fmt.Errorf("page at offset %d: %w", at, err)
			}
		}
		at += int64(h.size + h.compressed)
		sealed = sealed && (s.values < s.chunk.NumValues || at == s.chunk.Offset+s.chunk.CompressedSize)
	}
	if len(s.pages) > 0 && s.pages[0].Rows > 0 {
		return false, corruptf("the offset index lists a page at offset %d, behind the last one", s.pages[0].Offset)
	}
	return sealed && s.values == s.chunk.NumValues && s.uncompressed == s.chunk.UncompressedSize && s.encodingsAgree(), nil
}

// checkCounts looks at the footer's counts of pages by encoding. They are not needed here to read a file, but readers made by Thrift
// give the whole file up where a field lacks that they must have.
func (s *sealedChunk) checkCounts() error {
	list := s.meta.field(13)
	if list == nil {
		return nil
	}
	if list.kind != compactList || list.elem != compactStruct && len(list.kids) > 0 {
		return corruptf("the count of pages by encoding is no list of structs")
	}
	for i := range list.kids {
		for _, id := range []int16{1, 2, 3} {
			if f := list.kids[i].field(id); f == nil || f.kind != compactI32 {
				return corruptf("the count of pages by encoding lacks a field")
			}
		}
	}
	return nil
}

// checkPlace holds a data page against the next of the offset index, and the first one against the footer.
func (s *sealedChunk) checkPlace(h pageHeader, at int64) error {
	if h.kind != format.DataPage && h.kind != format.DataPageV2 {
		return nil
	}
	first := s.values == 0
	s.values += int64(h.values)
	if h.kind == format.DataPage && !(isEncoding(h.defEncoding) && isEncoding(h.repEncoding)) {
		return corruptf("levels in encoding %d and %d", h.defEncoding, h.repEncoding) // some readers fail, used or not
	}
	if h.values == 0 {
		return nil
	}
	for len(s.pages) > 0 && s.pages[0].Rows == 0 {
		s.pages = s.pages[1:]
	}
	if len(s.pages) == 0 {
		return corruptf("the offset index ends before it")
	}
	next := s.pages[0]
	s.pages = s.pages[1:]
	if size := h.size + h.compressed; next.Offset != at || int(next.Size) != size {
		return corruptf("it has %d bytes, the offset index has one of %d bytes at offset %d", size, next.Size, next.Offset)
	}
	if s.leaf.MaxRep == 0 && next.Rows != int64(h.values) {
		return corruptf("it has %d values, %d rows in the offset index", h.values, next.Rows)
	}
	// Some writers let the footer lead to the dictionary page.
	if said := s.meta.int(9, -1); first && said != at && said != s.chunk.Offset {
		return corruptf("data pages start here, at offset %d in the footer", said)
	}
	return nil
}

// checkPage reports whether a page whose body lies at an offset is sealed. A dictionary is decoded: every page
// rests on it.
func (s *sealedChunk) checkPage(p *PageReader, h pageHeader, at int64) (bool, error) {
	s.found[pageEncoding{h.kind, h.encoding}]++
	s.uncompressed += int64(h.size + h.uncompressed)
	switch h.kind {
	case format.DictionaryPage:
		if s.values > 0 {
			return false, nil
		}
		s.dictionary = true
		return true, p.loadDictionary(h, at)
	case format.DataPage:
	default:
		return false, nil
	}
	if !h.hasCRC || !s.readable(h) || !s.valuesFit(h) {
		return false, nil
	}
	body, err := p.stored(h, at)
	if err != nil || !s.sizeAgrees(h, body) {
		return false, err
	}
	return s.isFilled(p, h, body)
}

// readable reports whether readers make of a data page's header what its writer meant, as far as one header tells.
func (s *sealedChunk) readable(h pageHeader) bool {
	if s.leaf.MaxDef > 0 && h.defEncoding != format.RLE || !isLevelEncoding(h.defEncoding) || !isLevelEncoding(h.repEncoding) {
		return false
	}
	switch h.encoding {
	case format.PlainDictionary, format.RLEDictionary:
		return s.dictionary
	case format.Plain:
		return true
	}
	return h.encoding == format.RLE && s.leaf.Type == format.Boolean
}

// valuesFit reports whether a page has the size of its values, where that is known before they are decoded: writers have left out
// values of required columns (Arrow's issue 47662), and sealed the page.
func (s *sealedChunk) valuesFit(h pageHeader) bool {
	if s.leaf.MaxDef > 0 || h.encoding != format.Plain {
		return true
	}
	return holds(s.leaf, h.uncompressed, h.values)
}

// isLevelEncoding reports whether levels may be said to have an encoding; where there are none, writers differ in what they say.
func isLevelEncoding(e format.Encoding) bool { return e == format.RLE || e == format.BitPacked }

// isEncoding reports whether parquet.thrift has the encoding.
func isEncoding(e format.Encoding) bool {
	return e == format.Plain || e >= format.PlainDictionary && e <= format.ByteStreamSplit
}

// sizeAgrees reports whether a body says itself that it has the size of its header. That of other codecs is only
// held against the footer, all pages together.
func (s *sealedChunk) sizeAgrees(h pageHeader, body []byte) bool {
	switch s.chunk.Codec {
	case format.Uncompressed:
		return len(body) == h.uncompressed
	case format.Snappy:
		n, err := snappy.DecodedLen(body)
		return err == nil && n == h.uncompressed
	}
	return true
}

// encodingsAgree holds the pages' encodings against the footer's count of them. A header that was changed from one
// encoding of the chunk to another shows there.
func (s *sealedChunk) encodingsAgree() bool {
	list := s.meta.list(13, compactStruct)
	said := int64(0)
	for i := range list {
		n := list[i].int(3, -1)
		if n != s.found[pageEncoding{format.PageType(list[i].int(1, -1)), format.Encoding(list[i].int(2, -1))}] {
			return false
		}
		said += n
	}
	met := int64(0)
	for _, n := range s.found {
		met += n
	}
	return met > 0 && said == met
}
