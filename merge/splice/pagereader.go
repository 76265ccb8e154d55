package splice

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

const (
	// maxPageSlots limits the slots of a page: with runs and dictionaries a few bytes stand for any
	// number of them.
	maxPageSlots = 1 << 26
	// maxPageBytes limits the values of a page, decoded, for the same reason.
	maxPageBytes = 1 << 30
	// gapRead is the most bytes between two wanted pages that are read rather than left out.
	gapRead = 64 << 10
	// pickedShare is the part of a page's values, one in so many, up to which they are picked one by one.
	pickedShare = 8
	// firstHeader is the usual most of a page header's length.
	firstHeader = 512
)

// PageReader reads the pages of one column chunk forward. It is for one goroutine at a time.
type PageReader struct {
	where  string // names file, row group and column
	leaf   *column.Leaf
	chunk  *Chunk
	maker  maker
	rows   int64  // of the row group
	want   []Rows // what is still wanted, in order
	all    bool   // every row is
	sparse bool   // the values of other rows are not asked for
	picks  []Rows // memory for slots of a page
	win    window
	err    error // returned by every later Next

	index []PageInfo // the wanted pages that are left, if they are known; else pages are walked
	spans []int64    // for each, where the range ends that is read with it
	known bool

	off     int64 // of the next page, where pages are walked
	end     int64 // of the chunk; of the dictionary page where pages are known
	slots   int64 // in the pages so far
	row     int64 // the first row of the page that is loaded or comes next
	partial bool  // the walk ended before the chunk's end

	page    page
	loaded  bool
	plain   *[]byte // pooled memory for decompressed pages
	levels  [2]levels
	lengths []byte // of DELTA encodings
	prefix  []byte
	dict    *column.Vector
	last    []byte // the last value of the page before, where DELTA_BYTE_ARRAY pages are chained

	ahead   column.Column // a page that started inside a record, of which slots from aheadAt are left
	aheadAt int
}

// page is a data page as it is loaded: its parts, decompressed, are valid until the next is.
type page struct {
	pageHeader
	off      int64
	known    int64 // rows; -1 if only its levels tell
	rep, def []byte
	body     []byte
	packed   []byte // what was decompressed; nil: it was not compressed
}

// levels is memory for the levels that are handed out. Values go into the memory of the caller's
// column.
type levels struct{ def, rep []uint8 }

// Pages returns a reader of the pages of a column chunk that hold some of the rows, all pages for
// nil. Rows are ranges within the row group. Pages are found by the offset index where there is one;
// else they are walked, and those that are not wanted are not decoded where their header tells their
// rows.
func (f *File) Pages(rg, col int, rows []Rows) *PageReader {
	group := &f.groups[rg]
	p := newPageReader(f.r, f.schema.Leaves[col], &group.Columns[col], group.Rows, rows)
	p.maker = f.maker
	p.where = fmt.Sprintf("%s: row group %d, column %q", f.name, rg, p.leaf.Path)
	if p.all || !p.chunk.HasPageIndex || p.maker.chainsDeltas() {
		return p
	}
	// Without a usable index pages are found by their headers.
	if index, err := f.readOffsetIndex(p.chunk, p.rows); err == nil {
		p.win.total += p.chunk.offsetIndex.n
		p.usePages(index.Pages)
	}
	return p
}

// Sparse lets the reader leave the slots of rows that are not wanted without a value where that is less work: what they hold then is
// not defined, and damage in them may not be noticed.
func (p *PageReader) Sparse() { p.sparse = true }

// newPageReader returns a reader of a chunk wherever its bytes lie.
func newPageReader(r io.ReaderAt, leaf *column.Leaf, c *Chunk, rows int64, want []Rows) *PageReader {
	p := &PageReader{
		leaf: leaf, chunk: c, rows: rows,
		off: c.Offset, end: c.Offset + c.CompressedSize, where: fmt.Sprintf("column %q", leaf.Path),
	}
	p.win = window{r: r, limit: p.end}
	p.want, p.all = wantedRows(want, rows)
	return p
}

// wantedRows puts ranges in order and joins those that touch; all where they are every row.
func wantedRows(want []Rows, rows int64) (list []Rows, all bool) {
	if want == nil {
		return nil, true
	}
	sorted := slices.SortedFunc(slices.Values(want), func(a, b Rows) int { return int(min(max(a.From-b.From, -1), 1)) })
	for _, r := range sorted {
		r.From, r.To = max(r.From, 0), min(r.To, rows)
		if n := len(list); n > 0 && r.From <= list[n-1].To {
			list[n-1].To = max(list[n-1].To, r.To)
		} else if r.From < r.To {
			list = append(list, r)
		}
	}
	return list, len(list) == 1 && list[0].From == 0 && list[0].To == rows
}

// wants reports whether rows [first, first+n) hold a wanted one; rows are asked for in order.
func (p *PageReader) wants(first, n int64) bool {
	if p.all {
		return true
	}
	for len(p.want) > 0 && p.want[0].To <= first {
		p.want = p.want[1:]
	}
	return len(p.want) > 0 && p.want[0].From < first+n
}

// usePages makes the reader go to the wanted pages of an index, and read those that lie near each
// other together.
func (p *PageReader) usePages(pages []PageInfo) {
	want := p.want
	p.known = true
	for _, page := range pages {
		if page.Rows > 0 && p.wants(page.FirstRow, page.Rows) {
			p.index = append(p.index, page)
		}
	}
	p.want = want
	if len(p.index) == 0 {
		return
	}
	p.spans = make([]int64, len(p.index))
	for i := len(p.index) - 1; i >= 0; i-- {
		page := p.index[i]
		p.spans[i] = page.Offset + int64(page.Size)
		if i+1 < len(p.index) && p.index[i+1].Offset-p.spans[i] <= gapRead {
			p.spans[i] = p.spans[i+1]
		}
	}
	// The dictionary page lies before the first data page of the chunk.
	p.end = pages[0].Offset
	p.win.limit = p.end
	if p.index[0].Offset-p.end <= gapRead {
		p.win.limit = p.spans[0]
	}
}

// Next decodes the next page that holds wanted rows and returns the ordinal of its first row in the
// row group and its number of rows, which is never 0. It returns io.EOF after the last. A page of a
// nested column is always whole records: where a record goes on in the next page, pages are joined.
//
// What into holds is valid until the next call, except for a dictionary, which stays, and is the same
// for all pages of the chunk.
func (p *PageReader) Next(ctx context.Context, into *column.Column) (first int64, n int, err error) {
	if p.err != nil {
		return 0, 0, p.err
	}
	for n == 0 && err == nil {
		// Not kept: with another context the reader may go on.
		if err := ctx.Err(); err != nil {
			return 0, 0, err
		}
		first, n, err = p.step(into)
	}
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%s, page at offset %d: %w", p.where, p.page.off, err)
	}
	p.err = err
	return first, n, err
}

// BytesRead is the number of bytes read from the file so far.
func (p *PageReader) BytesRead() int64 { return p.win.total }

// Close gives the reader's buffers back. Columns that were read stay valid.
func (p *PageReader) Close() {
	p.win.close()
	if p.plain != nil {
		giveBack(p.plain)
		p.plain = nil
	}
	if p.err == nil {
		p.err = errClosed
	}
	p.page, p.loaded = page{}, false
}

var errClosed = errors.New("page reader is closed")

// step decodes a page; n is 0 for one without wanted rows.
func (p *PageReader) step(into *column.Column) (first int64, n int, err error) {
	defer guard(&err)
	if p.aheadAt < p.ahead.Slots {
		p.takeAhead(into)
	} else if err := p.load(true); errors.Is(err, io.EOF) {
		return 0, 0, p.checkEnd()
	} else if err != nil {
		return 0, 0, err
	} else if err := p.decode(into, &p.levels[0]); err != nil {
		return 0, 0, err
	}
	first, known := p.row, p.page.known
	if p.leaf.MaxRep > 0 {
		if into.Rep[0] != 0 {
			return 0, 0, corruptf("page starts inside a record")
		}
		if known < 0 {
			if err := p.join(into); err != nil {
				return 0, 0, err
			}
		}
		n = bytes.Count(into.Rep, []byte{0})
	} else {
		n = into.Slots
	}
	if known >= 0 && int64(n) != known {
		return 0, 0, corruptf("page of %d rows, %d expected", n, known)
	}
	p.row = first + int64(n)
	if p.row > p.rows {
		return 0, 0, corruptf("pages hold more than the %d rows of the row group", p.rows)
	}
	if !p.wants(first, int64(n)) {
		n = 0
	}
	return first, n, nil
}

// checkEnd is io.EOF if the chunk held what the footer says.
func (p *PageReader) checkEnd() error {
	if !p.known && !p.partial && p.row != p.rows {
		return corruptf("pages end after %d of %d rows", p.row, p.rows)
	}
	return io.EOF
}

// join completes the last record of a page whose version lets it go on in the next one. What follows
// it in that page is kept for the next step.
func (p *PageReader) join(into *column.Column) error {
	for p.aheadAt >= p.ahead.Slots {
		err := p.load(false)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if starts, err := p.startsRecord(); starts || err != nil {
			return err
		}
		if p.page.known >= 0 {
			return corruptf("page starts inside a record")
		}
		if err := p.decode(&p.ahead, &p.levels[1]); err != nil {
			return err
		}
		p.aheadAt = bytes.IndexByte(p.ahead.Rep, 0)
		if p.aheadAt < 0 {
			p.aheadAt = p.ahead.Slots
		}
		if int64(into.Slots)+int64(p.aheadAt) > maxPageSlots {
			return unsupportedf("a record of more than %d values", maxPageSlots)
		}
		into.Append(p.leaf, &p.ahead, 0, p.aheadAt)
	}
	return nil
}

// takeAhead hands out what is left of a page that started inside a record.
func (p *PageReader) takeAhead(into *column.Column) {
	into.Reset(p.leaf)
	into.Append(p.leaf, &p.ahead, p.aheadAt, p.ahead.Slots)
	p.aheadAt = p.ahead.Slots
}

// load reads the next page that may hold wanted rows, and dictionary pages on the way; io.EOF after
// the last. Skip allows pages to be left out by their rows, which moves p.row.
func (p *PageReader) load(skip bool) error {
	if p.loaded {
		return nil
	}
	if p.known {
		return p.loadKnown()
	}
	skip = skip && !p.maker.chainsDeltas()
	for p.slots < p.chunk.NumValues {
		if skip && !p.all && !p.wants(p.row, p.rows-p.row) {
			p.partial = true
			return io.EOF
		}
		h, err := p.header(p.off)
		if err != nil {
			return err
		}
		at := p.off + int64(h.size)
		p.off = at + int64(h.compressed)
		switch h.kind {
		case format.DictionaryPage:
			if err := p.loadDictionary(h, at); err != nil {
				return err
			}
			continue
		case format.DataPage, format.DataPageV2:
		default:
			continue // index pages, and pages of kinds to come
		}
		if err := p.start(h, -1); err != nil {
			return err
		}
		p.slots += int64(h.values)
		if h.values == 0 {
			continue
		}
		if skip && p.page.known >= 0 && !p.wants(p.row, p.page.known) {
			p.row += p.page.known
			if p.row > p.rows {
				return corruptf("pages hold more than the %d rows of the row group", p.rows)
			}
			continue
		}
		return p.loadBody(at)
	}
	return io.EOF
}

// loadKnown reads the next page of the index.
func (p *PageReader) loadKnown() error {
	if len(p.index) == 0 {
		return io.EOF
	}
	if p.off < p.end { // the first page is next
		h, err := p.header(p.off)
		if err != nil {
			return err
		}
		if h.kind == format.DictionaryPage {
			if err := p.loadDictionary(h, p.off+int64(h.size)); err != nil {
				return err
			}
		}
		p.off = p.end
	}
	next := p.index[0]
	p.end, p.win.limit = next.Offset+int64(next.Size), p.spans[0]
	p.index, p.spans = p.index[1:], p.spans[1:]
	p.row = next.FirstRow
	h, err := p.header(next.Offset)
	if err != nil {
		return err
	}
	if h.kind != format.DataPage && h.kind != format.DataPageV2 || h.size+h.compressed != int(next.Size) || h.values == 0 {
		return corruptf("the page is not the one of %d bytes in the offset index", next.Size)
	}
	if err := p.start(h, next.Rows); err != nil {
		return err
	}
	p.off = p.end
	return p.loadBody(next.Offset + int64(h.size))
}

// header reads the page header at an offset, and checks that the page ends within the chunk.
func (p *PageReader) header(off int64) (pageHeader, error) {
	p.page.off = off
	for n := int64(firstHeader); ; n *= 8 {
		n = min(n, p.end-off, maxHeaderBytes)
		if n <= 0 {
			return pageHeader{}, corruptf("the chunk ends after %d of %d values", p.slots, p.chunk.NumValues)
		}
		data, err := p.win.peek(off, int(n))
		if err != nil {
			return pageHeader{}, err
		}
		h, err := parsePageHeader(data)
		if errors.Is(err, errShortHeader) && n < min(p.end-off, maxHeaderBytes) {
			continue
		}
		if errors.Is(err, errShortHeader) {
			return h, corruptf("the page header passes the end of the chunk")
		}
		if err != nil {
			return h, err
		}
		if h.uncompressed > maxPageBytes {
			return h, unsupportedf("page of %d bytes, %d in the file", h.uncompressed, h.compressed)
		}
		if int64(h.compressed) > p.end-off-int64(h.size) {
			return h, corruptf("page of %d bytes, the chunk has %d left", h.compressed, p.end-off-int64(h.size))
		}
		return h, nil
	}
}

// start begins a data page; rows is what the offset index says of it, or -1.
func (p *PageReader) start(h pageHeader, rows int64) error {
	if h.values > maxPageSlots || int64(h.values)*int64(p.leaf.Width) > maxPageBytes {
		return unsupportedf("page of %d values", h.values)
	}
	if int64(h.values) > p.chunk.NumValues-p.slots {
		return corruptf("pages hold more than the %d values of the chunk", p.chunk.NumValues)
	}
	known := int64(-1)
	if p.leaf.MaxRep == 0 {
		known = int64(h.values)
	}
	if h.kind == format.DataPageV2 {
		if known >= 0 && known != int64(h.rows) {
			return corruptf("page of %d rows and %d values", h.rows, h.values)
		}
		known = int64(h.rows)
	}
	if rows >= 0 {
		if known >= 0 && known != rows {
			return corruptf("page of %d rows, %d in the offset index", known, rows)
		}
		known = rows
	}
	p.page = page{pageHeader: h, off: p.page.off, known: known}
	return nil
}

// stored reads the bytes of a page behind its header, and verifies their checksum if there is one.
func (p *PageReader) stored(h pageHeader, at int64) ([]byte, error) {
	data, err := p.win.peek(at, h.compressed)
	if err != nil {
		return nil, err
	}
	if h.hasCRC && crc32.ChecksumIEEE(data) != h.crc {
		return nil, corruptf("checksum of the page does not match")
	}
	return data, nil
}

// decompress decodes a body into the reader's memory; what is not compressed stays where it is.
func (p *PageReader) decompress(data []byte, size int, compressed bool) ([]byte, error) {
	if !compressed || p.chunk.Codec == format.Uncompressed {
		if len(data) != size {
			return nil, corruptf("uncompressed page of %d bytes declares %d", len(data), size)
		}
		return data, nil
	}
	if p.plain == nil {
		p.plain = buffers.Get().(*[]byte)
	}
	out, err := decompress(p.chunk.Codec, *p.plain, data, size)
	if err == nil {
		*p.plain = out
	}
	return out, err
}

func (p *PageReader) loadBody(at int64) error {
	g := &p.page
	data, err := p.stored(g.pageHeader, at)
	if err != nil {
		return err
	}
	if g.kind == format.DataPageV2 {
		levels := g.repBytes + g.defBytes
		g.rep, g.def = data[:g.repBytes], data[g.repBytes:levels]
		if !g.plainBody && p.chunk.Codec != format.Uncompressed {
			g.packed = data[levels:]
		}
		g.body, err = p.decompress(data[levels:], g.uncompressed-levels, !g.plainBody)
	} else {
		if p.chunk.Codec != format.Uncompressed {
			g.packed = data
		}
		if data, err = p.decompress(data, g.uncompressed, true); err == nil {
			err = p.splitLevels(data)
		}
	}
	p.loaded = err == nil
	return err
}

// splitLevels finds the parts of a data page V1.
func (p *PageReader) splitLevels(data []byte) (err error) {
	g := &p.page
	if g.rep, data, err = cutLevels(data, g.values, p.leaf.MaxRep, g.repEncoding); err != nil {
		return fmt.Errorf("repetition levels: %w", err)
	}
	if g.def, data, err = cutLevels(data, g.values, p.leaf.MaxDef, g.defEncoding); err != nil {
		return fmt.Errorf("definition levels: %w", err)
	}
	g.body = data
	return nil
}

// loadDictionary decodes a dictionary page whose body lies at an offset.
func (p *PageReader) loadDictionary(h pageHeader, at int64) error {
	if p.dict != nil {
		return corruptf("second dictionary page")
	}
	if h.encoding != format.Plain && h.encoding != format.PlainDictionary {
		return unsupportedf("dictionary page in encoding %s", h.encoding)
	}
	if h.values > maxPageSlots {
		return unsupportedf("dictionary of %d values", h.values)
	}
	data, err := p.stored(h, at)
	if err != nil {
		return err
	}
	if data, err = p.decompress(data, h.uncompressed, true); err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	dict := &column.Vector{}
	dict.Reset(p.leaf.Width)
	if err := decodePlain(dict, p.leaf, data, h.values, h.values); err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	if err := checkNarrow(p.leaf, dict.Fixed, h.values); err != nil {
		return fmt.Errorf("dictionary: %w", err)
	}
	p.dict = dict
	return nil
}
