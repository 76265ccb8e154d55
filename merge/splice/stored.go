package splice

import (
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// StoredPage is a data page of a file that can be a page of another chunk as it stands.
type StoredPage struct {
	PageInfo
	header pageHeader
}

// StoredPages lists the data pages of a chunk where [ChunkEncoder.AppendStored] may take some of them
// over as bytes, beside pages that are encoded anew. It is nil where it may not: the column is nested;
// pages can't be found or lack counts or bounds, which the new page index must state; they are framed,
// coded or chained in ways that are not written.
func (f *File) StoredPages(rg, col int) (pages []StoredPage, err error) {
	c, leaf := &f.groups[rg].Columns[col], f.schema.Leaves[col]
	if !leaf.Flat() || !c.HasPageIndex || f.maker.chainsDeltas() || c.Codec == format.Lz4 || c.Codec == format.LZO {
		return nil, nil
	}
	index, err := f.PageIndex(rg, col)
	if err != nil {
		return nil, nil // an index is an optimisation; without it all pages are decoded
	}
	defer guard(&err)
	for _, p := range index.Pages {
		page := StoredPage{PageInfo: p}
		if page.header, err = f.headerAt(p.Offset, p.Offset+int64(p.Size)); err != nil {
			return nil, fmt.Errorf("%s: row group %d, column %q, page at offset %d: %w", f.name, rg, leaf.Path, p.Offset, err)
		}
		if !page.fits(leaf) {
			return nil, nil
		}
		pages = append(pages, page)
	}
	return pages, nil
}

// fits reports whether the page is what the index says, and holds nothing that is not written.
func (p *StoredPage) fits(leaf *column.Leaf) bool {
	h := &p.header
	switch {
	case h.kind != format.DataPage && h.kind != format.DataPageV2,
		h.size+h.compressed != int(p.Size), p.Rows == 0, int64(h.values) != p.Rows,
		leaf.MaxDef > 0 && h.defEncoding != format.RLE:
		return false
	}
	switch h.encoding {
	case format.Plain, format.PlainDictionary, format.RLEDictionary, format.RLE:
	default:
		return false // a chunk that is written anew is in encodings that every reader knows
	}
	if leaf.MaxDef == 0 {
		p.NullCount = 0
	}
	if p.NullCount < 0 || p.NullCount > p.Rows || p.NullPage != (p.NullCount == p.Rows) {
		return false
	}
	return p.NullPage || p.Min != nil || column.Order(leaf) == nil
}

// stored is a range of a file among the parts of an encoded chunk.
type stored struct {
	file   *File
	off, n int64
}

// AppendStored takes pages of a file's chunk over as they are; they follow each other. Of a chunk with a
// dictionary, that is the encoder's seed. The file is read until the chunk is written.
func (e *ChunkEncoder) AppendStored(f *File, pages []StoredPage) error {
	e.flush()
	for _, p := range pages {
		if e.err != nil {
			return e.err
		}
		page := indexPage{
			offset: e.chunk.bodyBytes, size: int(p.Size), rows: int(p.Rows), firstRow: e.chunk.Rows,
			nulls: p.NullCount, allNull: p.NullPage, stored: true,
		}
		if !p.NullPage && e.order != nil {
			// An index cuts bounds of byte arrays and does not say so.
			cut := truncates(e.leaf)
			page.bounds = bounds{min: p.Min, max: p.Max, looseMin: cut, looseMax: cut}
		}
		switch {
		case p.NullPage: // without a value nobody looks anything up
		case !isDictionary(p.header.encoding):
			e.plain, e.open = true, false
		case e.plain:
			e.err = fmt.Errorf("encode column %s: %w", e.name(), ErrLeftDictionary)
			return e.err
		}
		if isDictionary(p.header.encoding) && e.o.Seed == nil {
			e.err = fmt.Errorf("%s: column %s: %w", f.name, e.name(), errNoSeed)
			return e.err
		}
		e.chunk.parts = append(e.chunk.parts, part{stored: stored{f, p.Offset, int64(p.Size)}})
		e.chunk.bodyBytes += int64(p.Size)
		e.chunk.storedBytes += int64(p.Size)
		e.chunk.Uncompressed += int64(p.header.size + p.header.uncompressed)
		e.chunk.add(page, p.header.values, p.header.kind, p.header.encoding)
	}
	e.page.dictionary = e.open
	return e.err
}

// ErrLeftDictionary refuses a stored page of the dictionary behind PLAIN ones: such a chunk is to be
// encoded from its values.
var ErrLeftDictionary = errors.New("a page of the dictionary behind PLAIN ones")

var errNoSeed = fmt.Errorf("%w: a page of a dictionary that the chunk does not have", ErrCorrupt)

func isDictionary(e format.Encoding) bool {
	return e == format.PlainDictionary || e == format.RLEDictionary
}

// Dictionary reads the dictionary of the chunk; nil where it has none. It comes before the first Next.
func (p *PageReader) Dictionary() (dict *column.Vector, err error) {
	if p.dict != nil || p.off >= p.end {
		return p.dict, nil
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, dictionary: %w", p.where, err)
		}
	}()
	defer guard(&err)
	h, err := p.header(p.off)
	if err != nil || h.kind != format.DictionaryPage {
		return nil, err
	}
	if err := p.loadDictionary(h, p.off+int64(h.size)); err != nil {
		return nil, err
	}
	p.off += int64(h.size + h.compressed)
	if p.known {
		p.off = p.end // what lies between it and the first data page is padding
	}
	return p.dict, nil
}
