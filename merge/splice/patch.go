package splice

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Patch is a column chunk of a file in which rows get other values or go. Pages with such a row are made anew, each by itself,
// and the others are taken over as the bytes they are. It is used in this order: Enter, once; Patched, from as many
// goroutines as one likes, each with pages of its own; and beside it Writer.OpenPatch, which writes them in their order.
type Patch struct {
	file    *File
	leaf    *column.Leaf
	source  *Chunk
	rg, col int
	o       ChunkOptions
	bounder
	pages []StoredPage
	where string // names file, row group and column

	values *column.Column
	edits  [][]PageEdit // by page
	old    *column.Vector
	dict   *dictionary // with what was entered; nil: nothing was
	last   int         // the last page that uses the dictionary; -1: none
	header pageHeader  // of the dictionary page; without a size where there is none
	rest   *bounds     // of all old values, where pages lack their own; nil: they are not known either
}

// PageEdit is what happens to one row of a page.
type PageEdit struct {
	Row  int32 // of the page
	Slot int32 // of the values that Enter got; -1: the row goes

	place int32 // of the value in the dictionary
}

// Patch opens a column chunk for patching; nil, with why, where that may not be: the column is nested, its pages can't be found, lack what the
// footer must say of them, or are framed, coded or chained in ways that are not written.
func (f *File) Patch(rg, col int) (p *Patch, why string, err error) {
	if p, why, err = f.openPatch(rg, col, f.storedPages); p == nil || err != nil {
		return nil, why, err
	}
	// A damaged filter is not written again; it is nil then.
	if p.o.Bloom, err = f.BloomFilter(rg, col); err != nil && !errors.Is(err, ErrCorrupt) {
		return nil, "", err
	}
	if s := p.source.Stats; s != nil && s.Min != nil {
		p.rest = &bounds{min: s.Min, max: s.Max, looseMin: !s.MinExact, looseMax: !s.MaxExact}
	}
	return p, "", nil
}

// openPatch opens a chunk by its pages, or by some of them to see whether Patch would.
func (f *File) openPatch(rg, col int, list func(rg, col int) ([]StoredPage, error)) (p *Patch, why string, err error) {
	c, leaf := &f.groups[rg].Columns[col], f.schema.Leaves[col]
	if why := f.Unpatchable(rg, col); why != "" {
		return nil, why, nil
	}
	p = &Patch{
		file: f, leaf: leaf, source: c, rg: rg, col: col, last: -1, bounder: newBounder(leaf, true),
		where: fmt.Sprintf("%s: row group %d, column %q", f.name, rg, leaf.Path),
	}
	if p.pages, err = list(rg, col); err != nil {
		return nil, "", err
	}
	if why := p.misfit(); why != "" {
		return nil, why, nil
	}
	if p.o, err = ChunkOptionsOf(f, rg, col); err != nil {
		return nil, "", err
	}
	p.o.setDefaults()
	if p.header, err = f.dictionaryHeader(c, p.pages[0].Offset); err != nil {
		return nil, "", fmt.Errorf("%s: %w", p.where, err)
	}
	if p.last >= 0 && p.header.size == 0 {
		return nil, "its dictionary is not found", nil
	}
	return p, "", nil
}

// Barred says why Patch would not open a chunk; "" where it would. Of pages that the footer counts by encoding, and lists as all of one kind, it
// reads only the first one's header: what is wrong with another one alone only Patch tells.
func (f *File) Barred(rg, col int) (why string, err error) {
	list := f.storedPages
	if f.countsAlike(rg, col) {
		list = f.firstPage
	}
	_, why, err = f.openPatch(rg, col, list)
	return why, err
}

// countsAlike reports whether the footer says that all data pages of a chunk are in encodings of one kind: those of a dictionary, or others.
func (f *File) countsAlike(rg, col int) bool {
	meta := f.rowGroup(rg).list(1, compactStruct)[col].field(3)
	pages := [2]int64{}
	for _, count := range meta.list(13, compactStruct) {
		kind := 0
		switch e := format.Encoding(count.int(2, -1)); {
		case format.PageType(count.int(1, -1)) == format.DictionaryPage:
			continue
		case isDictionary(e):
			kind = 1
		case !patchable(f.schema.Leaves[col], e):
			return false
		}
		pages[kind] += count.int(3, 0)
	}
	return (pages[0] == 0) != (pages[1] == 0)
}

// firstPage lists a chunk's first page where the page index tells where it is, else all.
func (f *File) firstPage(rg, col int) ([]StoredPage, error) {
	index, err := f.PageIndex(rg, col)
	if err != nil || index == nil || len(index.Pages) == 0 {
		return f.storedPages(rg, col)
	}
	page := StoredPage{PageInfo: index.Pages[0]}
	if page.header, err = f.headerAt(page.Offset, page.Offset+int64(page.Size)); err != nil {
		return nil, f.pageError(rg, col, page.Offset, err)
	}
	return []StoredPage{page}, nil
}

// dictionaryHeader reads the header of a chunk's dictionary page, which lies before the first data page; without a size where it
// has none, whatever the footer says.
func (f *File) dictionaryHeader(c *Chunk, data int64) (h pageHeader, err error) {
	if !c.HasDictionary || c.Offset >= data {
		return h, nil
	}
	if h, err = f.headerAt(c.Offset, data); err != nil || h.kind != format.DictionaryPage {
		return pageHeader{}, err
	}
	if int64(h.size+h.compressed) > data-c.Offset {
		return h, corruptf("dictionary page of %d bytes, %d before the first data page", h.compressed, data-c.Offset)
	}
	return h, nil
}

// Unpatchable says why no page of a column chunk can be patched, as far as its schema, codec and writer tell; "" where they tell nothing against it.
func (f *File) Unpatchable(rg, col int) string {
	switch codec := f.groups[rg].Columns[col].Codec; {
	case !f.schema.Leaves[col].Flat():
		return "the column is nested"
	case f.maker.chainsDeltas():
		return "its writer may chain pages"
	case f.maker.padsPages():
		return "its writer pads pages"
	case !isWritten(codec):
		return "its pages are in the codec " + codecName(codec)
	}
	return ""
}

// misfit says why not all pages can be patched or stand beside patched ones; "" where they can.
func (p *Patch) misfit() string {
	if len(p.pages) == 0 {
		return "its pages are not found"
	}
	plain, counted := false, true
	for i := range p.pages {
		g := &p.pages[i]
		dictionary := isDictionary(g.header.encoding)
		switch {
		case !g.isFramed(p.leaf):
			return "its pages are not what the page index says, or their levels are in an old encoding"
		case !patchable(p.leaf, g.header.encoding):
			return fmt.Sprintf("its pages are in the encoding %s", g.header.encoding)
		case dictionary && plain: // ChunkEncoder says why
			return "pages of its dictionary follow others"
		}
		if dictionary {
			p.last = i
		}
		plain = plain || !dictionary && !g.NullPage
		counted = counted && g.NullCount >= 0
	}
	if !counted && p.nulls() < 0 {
		return "nothing says how many of its values are NULL"
	}
	return ""
}

// patchable reports whether pages of an encoding can be taken apart.
func patchable(leaf *column.Leaf, e format.Encoding) bool {
	switch e {
	case format.Plain, format.PlainDictionary, format.RLEDictionary, format.DeltaBinaryPacked, format.DeltaLengthByteArray,
		format.DeltaByteArray, format.ByteStreamSplit:
		return true
	}
	return e == format.RLE && leaf.Type == format.Boolean
}

// nulls is how many slots of the old chunk have no value; -1 if unknown.
func (p *Patch) nulls() int64 {
	if p.leaf.MaxDef == 0 {
		return 0
	}
	if p.source.Stats == nil {
		return -1
	}
	return p.source.Stats.NullCount
}

// Pages are the data pages as they lie in the file.
func (p *Patch) Pages() []StoredPage { return p.pages }

// ErrUnpatched refuses values for which the chunk has no place as it is: its dictionary is full, or most of it is values that nothing
// uses any more, or a page would become too large. The chunk is to be encoded from all of its values, with another dictionary.
var ErrUnpatched = errors.New("the chunk has no place for the new values")

// Enter takes the edits of each page, in the order of their rows, and the values they name. New values of pages that use the
// dictionary are added to it; ErrUnpatched where it has no place for them. Values and edits are read until the chunk is written.
func (p *Patch) Enter(ctx context.Context, values *column.Column, edits [][]PageEdit) error {
	p.values, p.edits = values, edits
	for i, list := range edits {
		if p.outgrows(&p.pages[i], list) {
			return fmt.Errorf("%s: %w", p.where, ErrUnpatched)
		}
	}
	p.o.Bloom.add(values, 0, values.Slots)
	for i, list := range edits {
		if len(list) == 0 {
			continue
		}
		if err := p.enterPage(i, list); err != nil {
			return err
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	return p.checkStale(ctx)
}

// pageGrowth is how many times the size at which pages are divided one may reach by patching.
const pageGrowth = 4

// outgrows reports whether a page with its edits would become much larger than pages are: patching divides none.
func (p *Patch) outgrows(g *StoredPage, list []PageEdit) bool {
	if isDictionary(g.header.encoding) {
		return false
	}
	old, added := g.PlainBytes(), 0
	for _, e := range list {
		if e.Slot >= 0 && !p.values.Null(int(e.Slot)) {
			added += plainSize(p.leaf.Width, len(p.values.Value(int(e.Slot))))
		}
	}
	// What goes is about as long as the others; where all is added in the end, readers should still take the page.
	gone := old / max(int(g.Rows), 1) * len(list)
	return old+added-gone > max(old+old/8, pageGrowth*p.o.PageBytes) || old+added > maxPageBytes/4
}

// fewEntries is the size up to which a dictionary is not looked through for values that nothing uses.
const fewEntries = 64

// checkStale refuses a dictionary that patching has filled with values of which most are gone. They are counted when the number
// of entries passes a power of two: seldom, and before they cost an index another bit.
func (p *Patch) checkStale(ctx context.Context) error {
	if p.dict == nil || p.dict.len() <= fewEntries || bits.Len(uint(p.dict.len())) == bits.Len(uint(p.old.Len())) {
		return nil
	}
	r := p.file.Pages(p.rg, p.col, nil)
	defer r.Close()
	used, err := r.usedEntries(ctx, p.old.Len())
	if err != nil {
		return err
	}
	live := p.dict.len() - p.old.Len() + used
	if 2*live < p.dict.len() {
		return fmt.Errorf("%s: %w", p.where, ErrUnpatched)
	}
	return nil
}

func (p *Patch) enterPage(page int, list []PageEdit) error {
	dictionary := isDictionary(p.pages[page].header.encoding)
	if !dictionary && page > p.last {
		return nil
	}
	if err := p.loadDictionary(); err != nil {
		return err
	}
	for i := range list {
		e := &list[i]
		if e.Slot < 0 || p.values.Null(int(e.Slot)) {
			continue
		}
		if !dictionary { // a page without a value, in PLAIN, before those that use the dictionary
			return fmt.Errorf("%s: %w", p.where, ErrUnpatched)
		}
		if p.dict == nil {
			p.dict = newDictionary(p.leaf, p.o.DictBytes, p.old)
		}
		value := p.values.Value(int(e.Slot))
		var ok bool
		if e.place, ok = p.dict.add(hashValue(value), value); !ok {
			return fmt.Errorf("%s: %w", p.where, ErrUnpatched)
		}
	}
	return nil
}

// loadDictionary reads the dictionary where that has not been done.
func (p *Patch) loadDictionary() (err error) {
	if p.old != nil {
		return nil
	}
	r := p.file.Pages(p.rg, p.col, nil)
	defer r.Close()
	if p.old, err = r.Dictionary(); err == nil && p.old == nil {
		err = fmt.Errorf("%s: %w", p.where, corruptf("no dictionary page before the first data page"))
	}
	return err
}

// chunk begins what becomes of the chunk, with the dictionary page.
func (p *Patch) chunk() (c *EncodedChunk, err error) {
	defer guard(&err)
	c = &EncodedChunk{leaf: p.leaf, o: p.o, bounder: p.bounder, rest: p.rest}
	if p.header.size == 0 {
		return c, nil
	}
	if p.dict != nil && p.old != nil && p.dict.len() > p.old.Len() {
		b := patchPool.Get().(*patchBuffers)
		defer patchPool.Put(b)
		return c, b.dictionary(p, c)
	}
	h := p.header
	if c.dict, err = p.file.read(section{p.source.Offset, int64(h.size + h.compressed)}); err != nil {
		return nil, fmt.Errorf("%s: %w", p.where, err)
	}
	c.dictEncoding = h.encoding
	c.Uncompressed = int64(h.size + h.uncompressed)
	return c, nil
}

// PatchedPages are some pages of a Patch as they will be.
type PatchedPages struct {
	list []patchedPage
	data *[]byte // of those that changed, end to end; pooled
	// lowest and highest tell that a value went that was not within the bounds of the old chunk.
	lowest, highest bool
}

// patchedPage is one of them.
type patchedPage struct {
	ordinal      int
	page         indexPage
	same         bool // nothing changed
	slots        int  // 0: the page is gone
	kind         format.PageType
	encoding     format.Encoding
	uncompressed int
	from, to     int   // in the data
	moreNulls    int64 // than before
}

// Patched makes pages anew, given by their ordinals in rising order.
func (p *Patch) Patched(ctx context.Context, pages []int) (out *PatchedPages, err error) {
	b := patchPool.Get().(*patchBuffers)
	defer patchPool.Put(b)
	out = &PatchedPages{data: buffers.Get().(*[]byte)}
	*out.data = slices.Grow((*out.data)[:0], p.room(pages))
	defer func() {
		if err != nil {
			out.Close()
			out = nil
		}
	}()
	r := p.reader(pages)
	defer r.Close()
	defer guard(&err)
	for _, i := range pages {
		if err := ctx.Err(); err != nil {
			return out, err
		}
		if err := p.patch(r, b, out, i); err != nil {
			return out, fmt.Errorf("%s, page at offset %d: %w", p.where, p.pages[i].Offset, err)
		}
	}
	return out, nil
}

// room is about how much some pages take once they are patched.
func (p *Patch) room(pages []int) int {
	size := 0
	for _, i := range pages {
		size += int(p.pages[i].Size)
	}
	return size + size/8
}

// reader reads some of the pages.
func (p *Patch) reader(pages []int) *PageReader {
	r := newPageReader(p.file.r, p.leaf, p.source, p.file.groups[p.rg].Rows, nil)
	r.maker, r.where, r.dict = p.file.maker, p.where, p.old
	list := make([]PageInfo, len(pages))
	for k, i := range pages {
		list[k] = p.pages[i].PageInfo
	}
	r.usePages(list)
	r.off = r.end // the dictionary is there already
	return r
}

// Close gives the memory of the pages back.
func (o *PatchedPages) Close() {
	if o.data != nil {
		giveBack(o.data)
		o.data = nil
	}
}

// PatchWriter writes the pages of a patched chunk in their order.
type PatchWriter struct {
	w          *Writer
	p          *Patch
	c          *EncodedChunk
	dictionary int64 // where it begins
	data       int64 // where the first data page begins
	stored     part  // not written yet
	next       int
	moreNulls  int64
	seen       bool // a page that was taken over does not state how many slots have no value
}

// OpenPatch begins the next chunk of the row group with a patched one. Stored and Patched give its pages, and Close ends it.
func (w *Writer) OpenPatch(p *Patch) (*PatchWriter, error) {
	if w.err != nil {
		return nil, w.err
	}
	c, err := p.chunk()
	if err != nil {
		return nil, w.fail(err)
	}
	o := &PatchWriter{w: w, p: p, c: c, dictionary: w.offset}
	if err := w.write(c.dict); err != nil {
		return nil, err
	}
	o.data = w.offset
	return o, nil
}

// Stored takes the pages from the next one up to ordinal to over as they are.
func (o *PatchWriter) Stored(to int) error {
	for ; o.next < to; o.next++ {
		if err := o.keep(&o.p.pages[o.next]); err != nil {
			return err
		}
	}
	return nil
}

func (o *PatchWriter) keep(g *StoredPage) error {
	page := indexPage{
		offset: o.c.bodyBytes, size: int(g.Size), rows: int(g.Rows), firstRow: o.c.Rows, nulls: g.NullCount, allNull: g.NullPage, stored: true,
	}
	page.bounds, page.unknown = o.p.boundsOf(g)
	o.seen = o.seen || g.NullCount < 0
	if o.stored.file == nil || o.stored.off+o.stored.n != g.Offset {
		if err := o.flush(); err != nil {
			return err
		}
		o.stored = part{stored: stored{o.p.file, g.Offset, 0}}
	}
	o.stored.n += int64(g.Size)
	o.c.storedBytes += int64(g.Size)
	o.add(page, g.header.values, g.header.kind, g.header.encoding, g.header.size+g.header.uncompressed)
	return nil
}

func (o *PatchWriter) add(page indexPage, slots int, kind format.PageType, encoding format.Encoding, uncompressed int) {
	o.c.bodyBytes += int64(page.size)
	o.c.Uncompressed += int64(uncompressed)
	o.c.add(page, slots, kind, encoding)
}

// flush copies the stored pages that are due.
func (o *PatchWriter) flush() error {
	if o.stored.file == nil {
		return nil
	}
	due := o.stored
	o.stored = part{}
	return o.w.copyRange(due.file, due.off, due.n)
}

// Patched writes pages that were made anew, and those before them as they are. It closes them.
func (o *PatchWriter) Patched(pages *PatchedPages) error {
	defer pages.Close()
	for i := range pages.list {
		g := &pages.list[i]
		if err := o.Stored(g.ordinal); err != nil {
			return err
		}
		if g.same {
			if err := o.Stored(g.ordinal + 1); err != nil {
				return err
			}
			continue
		}
		o.next++
		o.moreNulls += g.moreNulls
		if g.slots == 0 {
			continue
		}
		if err := o.flush(); err != nil {
			return err
		}
		g.page.offset, g.page.firstRow = o.c.bodyBytes, o.c.Rows
		if err := o.w.write((*pages.data)[g.from:g.to]); err != nil {
			return err
		}
		o.add(g.page, g.slots, g.kind, g.encoding, g.uncompressed)
	}
	if rest := o.c.rest; rest != nil && (pages.lowest || pages.highest) {
		o.c.rest = &bounds{min: rest.min, max: rest.max, looseMin: rest.looseMin || pages.lowest, looseMax: rest.looseMax || pages.highest}
	}
	return nil
}

// Close takes the pages that are left over as they are, and ends the chunk.
func (o *PatchWriter) Close() error {
	if err := o.Stored(len(o.p.pages)); err != nil {
		return err
	}
	if err := o.flush(); err != nil {
		return err
	}
	if o.seen {
		o.c.Nulls = o.p.nulls() + o.moreNulls
	}
	return o.w.endChunk(o.c, o.dictionary, o.data)
}

// StoredBytes is how much of the chunk was taken over so far.
func (o *PatchWriter) StoredBytes() int64 { return o.c.storedBytes }
