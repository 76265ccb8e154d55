package splice

import (
	"bytes"
	"errors"
	"fmt"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// StoredPage is a data page of a file that can be a page of another chunk as it stands.
type StoredPage struct {
	PageInfo
	header pageHeader
	// looseMin and looseMax tell that a bound may be no value.
	looseMin, looseMax bool
}

// PlainBytes is the size of the page before compression.
func (p *StoredPage) PlainBytes() int { return p.header.uncompressed }

// StoredPages lists the data pages of a chunk where [ChunkEncoder.AppendStored] may take some of them
// over as bytes, beside pages that are encoded anew. It is nil where it may not: pages can't be found or
// lack counts or bounds, which the new page index must state; they are framed, coded or chained in ways
// that are not written. Pages of a nested column are whole records, since an offset index says where they begin
// (parquet.thrift, OffsetIndex).
func (f *File) StoredPages(rg, col int) (pages []StoredPage, err error) {
	c, leaf := &f.groups[rg].Columns[col], f.schema.Leaves[col]
	if !c.HasPageIndex || f.maker.chainsDeltas() || !isWritten(c.Codec) {
		return nil, nil
	}
	if index, _ := f.PageIndex(rg, col); index == nil { // also one that is damaged: pages are not lost with it
		return nil, nil
	}
	if pages, err = f.storedPages(rg, col); err != nil {
		return nil, err
	}
	slots := int64(0)
	for i := range pages {
		if !pages[i].fits(leaf) {
			return nil, nil
		}
		slots += int64(pages[i].header.values)
	}
	if slots != c.NumValues { // who decodes them says what is wrong
		return nil, nil
	}
	return pages, nil
}

// storedPages lists the data pages of a chunk with their headers: by the page index, or, of a flat column, by walking from header to
// header, which tells neither bounds nor how many slots have no value.
func (f *File) storedPages(rg, col int) (pages []StoredPage, err error) {
	defer guard(&err)
	// An index is an optimisation: without a usable one the pages are walked.
	index, err := f.PageIndex(rg, col)
	if err != nil || index == nil {
		return f.walkPages(rg, col)
	}
	low, high := f.groups[rg].Columns[col].looseBounds(f.schema.Leaves[col])
	for _, p := range index.Pages {
		page := StoredPage{PageInfo: p, looseMin: low, looseMax: high}
		if page.header, err = f.headerAt(p.Offset, p.Offset+int64(p.Size)); err != nil {
			return nil, f.pageError(rg, col, p.Offset, err)
		}
		pages = append(pages, page)
	}
	return pages, nil
}

// walkPages lists the data pages of a flat column's chunk by their headers.
func (f *File) walkPages(rg, col int) (pages []StoredPage, err error) {
	c, row := &f.groups[rg].Columns[col], int64(0)
	for off, end := c.Offset, c.Offset+c.CompressedSize; off < end && row < f.groups[rg].Rows; {
		h, err := f.headerAt(off, end)
		if err == nil && int64(h.size+h.compressed) > end-off {
			err = corruptf("page of %d bytes, the chunk has %d left", h.compressed, end-off-int64(h.size))
		}
		if err != nil {
			return nil, f.pageError(rg, col, off, err)
		}
		size := int64(h.size + h.compressed)
		if (h.kind == format.DataPage || h.kind == format.DataPageV2) && h.values > 0 {
			info := PageInfo{Offset: off, Size: int32(size), FirstRow: row, Rows: int64(h.values), NullCount: -1}
			pages = append(pages, StoredPage{PageInfo: info, header: h})
			row += int64(h.values)
		}
		off += size
	}
	if row != f.groups[rg].Rows {
		return nil, f.pageError(rg, col, c.Offset, corruptf("pages of %d rows in a row group of %d", row, f.groups[rg].Rows))
	}
	return pages, nil
}

func (f *File) pageError(rg, col int, off int64, err error) error {
	return fmt.Errorf("%s: row group %d, column %q, page at offset %d: %w", f.name, rg, f.schema.Leaves[col].Path, off, err)
}

// isFramed reports whether the page is what the index says, and its levels are coded as they are written.
func (p *StoredPage) isFramed(leaf *column.Leaf) bool {
	if leaf.MaxDef == 0 {
		p.NullCount = 0
	}
	h := &p.header
	slots := int64(h.values)
	switch {
	case h.kind != format.DataPage && h.kind != format.DataPageV2,
		h.size+h.compressed != int(p.Size), p.Rows == 0, slots < p.Rows, leaf.MaxRep == 0 && slots > p.Rows,
		h.kind == format.DataPageV2 && int64(h.rows) != p.Rows,
		leaf.MaxDef > 0 && h.defEncoding != format.RLE, leaf.MaxRep > 0 && h.repEncoding != format.RLE,
		p.NullCount > slots, p.NullCount >= 0 && p.NullPage != (p.NullCount == slots):
		return false
	}
	return true
}

// fits reports whether the page can stand in a chunk that an encoder makes.
func (p *StoredPage) fits(leaf *column.Leaf) bool {
	switch p.header.encoding {
	case format.Plain, format.PlainDictionary, format.RLEDictionary, format.RLE:
	default:
		return false // a chunk that is written anew is in encodings that every reader knows
	}
	return p.isFramed(leaf) && p.NullCount >= 0 && (p.NullPage || p.Min != nil || column.Order(leaf) == nil)
}

// CheckStored decodes a page of a nested column that is to be taken over as it stands: where its levels were damaged, readers that
// count records and values would look for the rows behind it in wrong places. Pages of flat columns have as many rows as their header says, so that
// damage in them stays theirs. The reader is one of all rows that is used for nothing else, and pages are given in order.
func (p *PageReader) CheckStored(page *StoredPage) (err error) {
	if p.leaf.MaxRep == 0 {
		return nil
	}
	if p.slots == 0 {
		if _, err := p.Dictionary(); err != nil {
			return err
		}
	}
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s, page at offset %d: %w", p.where, page.Offset, err)
		}
	}()
	defer guard(&err)
	if err := p.start(page.header, page.Rows); err != nil {
		return err
	}
	p.slots += int64(page.header.values)
	if err := p.loadBody(page.Offset + int64(page.header.size)); err != nil {
		return err
	}
	// Memory that Next would need, which this reader is not asked for.
	if err := p.decode(&p.ahead, &p.levels[0]); err != nil {
		return err
	}
	if p.ahead.Rep[0] != 0 {
		return corruptf("page starts inside a record")
	}
	if n := int64(bytes.Count(p.ahead.Rep, []byte{0})); n != page.Rows {
		return corruptf("page of %d rows, %d expected", n, page.Rows)
	}
	return nil
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
			page.bounds = bounds{min: p.Min, max: p.Max, looseMin: p.looseMin, looseMax: p.looseMax}
		}
		switch {
		case p.NullPage: // without a value nobody looks anything up
		case !isDictionary(p.header.encoding):
			e.plain, e.open = true, false
		case e.plain:
			e.err = fmt.Errorf("encode column %s: %w", e.name(), ErrLeftDictionary)
			return e.err
		}
		if isDictionary(p.header.encoding) && (e.o.Seed == nil && p.NullPage || e.o.Seed != nil && e.dict == nil) {
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

// ErrLeftDictionary refuses a stored page of the dictionary behind PLAIN ones, one without a value where there is no dictionary, or one of a
// dictionary in a column that none is written for: such a chunk is to be encoded from its values.
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
