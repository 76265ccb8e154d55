package splice

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"sync"
	"unicode/utf8"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// patchBuffers is the memory of one page that is patched.
type patchBuffers struct {
	framer
	def    []uint8
	flips  []flip
	snappy snappySplicer
	column column.Column // of encodings that are not patched in their own form
	mem    levels
	dense  []byte // its values as PLAIN has them
	cutter cutter
	body   []byte
	check  []byte
	stamps []uint32 // by place in a dictionary: the last page that held it
	stamp  uint32
}

var patchPool = sync.Pool{New: func() any { return &patchBuffers{} }}

// flip is a change of the definition levels: the level of a row becomes another, or goes.
type flip struct {
	row   int
	goes  bool
	level uint8
}

// patch makes page i anew.
func (p *Patch) patch(r *PageReader, b *patchBuffers, out *PatchedPages, i int) error {
	if err := r.loadKnown(); err != nil {
		return err
	}
	r.loaded = false
	g, stored := &r.page, &p.pages[i]
	b.codec, b.crc = p.o.Codec, g.hasCRC
	e := pageEditor{Patch: p, b: b, g: g, out: out}
	if err := e.open(r); err != nil {
		return err
	}
	e.bounds, e.unknown = p.boundsOf(stored)
	e.unknown = e.unknown || p.isNaN != nil
	if err := e.apply(p.edits[i]); err != nil {
		return err
	}
	if !e.changed {
		out.list = append(out.list, patchedPage{ordinal: i, same: true})
		return nil
	}
	page, err := e.finish()
	if err != nil {
		return err
	}
	page.ordinal = i
	out.list = append(out.list, page)
	return nil
}

// boundsOf are the bounds that a page index states of a page.
func (p *Patch) boundsOf(g *StoredPage) (s bounds, unknown bool) {
	switch {
	case p.order == nil, g.NullPage:
		return bounds{}, false
	case g.Min == nil || g.NullCount < 0:
		return bounds{}, true
	}
	return bounds{min: g.Min, max: g.Max, looseMin: g.looseMin, looseMax: g.looseMax}, false
}

// pageEditor puts edits into one page.
type pageEditor struct {
	*Patch
	b       *patchBuffers
	g       *page
	out     *PatchedPages
	def     []uint8 // nil: each slot has a value
	present int     // slots that have one
	gone    int     // rows
	nulls   int     // slots without value, after the edits
	changed bool
	unknown bool // bounds are to be found anew
	bounds
}

// open finds levels and values of the page.
func (e *pageEditor) open(r *PageReader) error {
	g, b := e.g, e.b
	e.def, e.present = nil, g.values
	if e.leaf.MaxDef > 0 {
		b.column.Reset(e.leaf)
		present, err := r.decodeDefinitions(&b.column, &b.mem)
		if err != nil {
			return fmt.Errorf("definition levels: %w", err)
		}
		e.def, e.present = b.column.Def, present
	}
	e.nulls = g.values - e.present
	b.flips = b.flips[:0]
	if err := e.openValues(r); err != nil {
		return fmt.Errorf("%s values: %w", g.encoding, err)
	}
	return nil
}

// openValues opens the page's values, those that are there end to end.
func (e *pageEditor) openValues(r *PageReader) error {
	g, b, width := e.g, e.b, e.leaf.Width
	switch {
	case isDictionary(g.encoding):
		return e.indices(r)
	case g.encoding == format.Plain && e.leaf.Type != format.Boolean:
		if width > 0 && len(g.body) != e.present*width {
			return corruptf("%d bytes for %d values of %d", len(g.body), e.present, width)
		}
		b.cutter.open(width, g.body)
		return nil
	}
	// Without levels the values are decoded end to end.
	b.column.Reset(e.leaf)
	b.column.Slots = e.present
	if err := r.decodeValues(&b.column, e.present); err != nil {
		return err
	}
	if width > 0 {
		b.cutter.open(width, b.column.Values.Fixed)
		return nil
	}
	b.dense = b.dense[:0]
	for i := range e.present {
		b.dense = appendPlainValue(b.dense, 0, b.column.Values.At(i))
	}
	b.cutter.open(0, b.dense)
	return nil
}

func (e *pageEditor) indices(r *PageReader) error {
	if e.old == nil {
		return errNoSeed
	}
	c := &e.b.column
	c.Reset(e.leaf)
	c.Slots = e.present
	if err := r.decodeIndices(c, e.present); err != nil {
		return err
	}
	values := e.old
	if e.dict != nil {
		values = &e.dict.values
	}
	e.b.cutter.openIndices(values, c.Index)
	return nil
}

// apply puts the edits in.
func (e *pageEditor) apply(edits []PageEdit) error {
	c, top := &e.b.cutter, uint8(e.leaf.MaxDef)
	row, dense := 0, 0
	for i := range edits {
		edit := &edits[i]
		at := int(edit.Row)
		if at < row || at >= e.g.values {
			return fmt.Errorf("edit of row %d of a page of %d, behind row %d", at, e.g.values, row)
		}
		dense += definedIn(e.def, top, row, at)
		row = at
		old := levelAt(e.def, at, top)
		value, fresh := e.fresh(edit, top)
		if err := c.seek(dense); err != nil {
			return err
		}
		if edit.Slot >= 0 && old == fresh && (old < top || e.same(c.value(), value)) {
			continue
		}
		e.changed = true
		if old == top {
			e.lose(c.value())
			c.drop()
			dense, row = dense+1, at+1
		}
		if value != nil {
			e.gain(value)
			c.put(value, edit.place)
		}
		e.level(flip{row: at, goes: edit.Slot < 0, level: fresh}, old)
	}
	return nil
}

// definedIn counts the rows [from, to) that have a value.
func definedIn(def []uint8, top uint8, from, to int) int {
	if def == nil {
		return to - from
	}
	return bytes.Count(def[from:to], []byte{top})
}

// same reports whether a value may keep its bytes: it equals, as all NaN do.
func (e *pageEditor) same(old, fresh []byte) bool {
	return bytes.Equal(old, fresh) || e.isNaN != nil && e.isNaN(old) && e.isNaN(fresh)
}

// fresh is the value that an edit puts in, nil where there is none, and its definition level.
func (e *pageEditor) fresh(edit *PageEdit, top uint8) (value []byte, level uint8) {
	if edit.Slot < 0 {
		return nil, 0
	}
	slot := int(edit.Slot)
	if level = levelAt(e.values.Def, slot, top); level < top {
		return nil, level
	}
	if value = e.values.Value(slot); value == nil {
		value = []byte{} // of a column in which all values are empty
	}
	return value, level
}

// levelAt is the definition level of a slot.
func levelAt(def []uint8, slot int, top uint8) uint8 {
	if def == nil {
		return top
	}
	return def[slot]
}

// level notes what becomes of a row's definition level.
func (e *pageEditor) level(f flip, old uint8) {
	top := uint8(e.leaf.MaxDef)
	if old < top {
		e.nulls--
	}
	if f.goes {
		e.gone++
	} else if f.level < top {
		e.nulls++
	}
	if f.goes || f.level != old {
		e.b.flips = append(e.b.flips, f)
	}
}

// lose notes a value that goes: bounds that it was are to be found anew.
func (e *pageEditor) lose(v []byte) {
	if e.order == nil {
		return
	}
	if !e.unknown && (e.min == nil || e.order(v, e.min) <= 0 || e.order(v, e.max) >= 0 || e.isCut(v)) {
		e.unknown = true
	}
	if r := e.rest; r != nil {
		zero := e.isNaN != nil && isZeroFloat(v) // as a bound it is either zero
		e.out.lowest = e.out.lowest || e.order(v, r.min) <= 0 || zero && isZeroFloat(r.min)
		e.out.highest = e.out.highest || e.order(v, r.max) >= 0 || zero && isZeroFloat(r.max)
	}
}

// shortestCut is the least length to which writers cut bounds.
const shortestCut = 16

// isCut reports whether a bound may be what is left of a value.
func (e *pageEditor) isCut(v []byte) bool {
	if !truncates(e.leaf) {
		return false
	}
	// The last character of an upper bound that was cut is another one, of up to four bytes.
	n := len(e.max) - utf8.UTFMax
	return len(e.min) >= shortestCut && bytes.HasPrefix(v, e.min) ||
		len(e.max) >= shortestCut && len(v) >= n && bytes.Equal(v[:n], e.max[:n])
}

// gain widens the bounds by a value that comes.
func (e *pageEditor) gain(v []byte) {
	if e.order != nil && !e.unknown {
		e.bounder.merge(&e.bounds, bounds{min: v, max: v})
	}
}

// finish frames the page.
func (e *pageEditor) finish() (out patchedPage, err error) {
	b, g := e.b, e.g
	out = patchedPage{slots: g.values - e.gone, kind: g.kind, encoding: g.encoding, from: len(*e.out.data)}
	out.moreNulls = int64(e.nulls - (g.values - e.present))
	if out.slots == 0 {
		return out, nil
	}
	out.page = indexPage{rows: out.slots, nulls: int64(e.nulls), allNull: e.nulls == out.slots}
	if err := b.cutter.finish(e.present); err != nil {
		return out, err
	}
	b.body = e.appendLevels(b.body[:0])
	levels := len(b.body)
	out.page.bounds = e.settled()
	switch {
	case b.cutter.dict != nil:
		b.body = appendIndices(b.body, b.cutter.places, b.cutter.dict.Len())
	case e.leaf.Type == format.Boolean:
		b.body, out.encoding = appendBits(b.body, b.cutter.out), format.Plain
	default:
		b.body, out.encoding = append(b.body, b.cutter.out...), format.Plain
	}
	packed, err := e.spliced(levels)
	if err != nil {
		return out, err
	}
	f, err := b.data(dataPage{
		kind: g.kind, encoding: out.encoding, slots: out.slots, rows: out.slots, nulls: e.nulls, def: levels, body: b.body, packed: packed,
	})
	if err == nil && packed == nil {
		err = b.verify(f, b.body)
	}
	if err != nil {
		return out, err
	}
	out.page.size, out.uncompressed = f.size(), len(f.header)+len(b.body)
	*e.out.data = f.appendTo(*e.out.data)
	out.to = len(*e.out.data)
	return out, nil
}

// spliced compresses the body of a page in PLAIN, behind its levels of so many bytes, by the pieces that changed; nil where that does
// not pay.
func (e *pageEditor) spliced(levels int) ([]byte, error) {
	b, g := e.b, e.g
	list := b.cutter.splices
	if b.codec != format.Snappy || g.packed == nil || g.encoding != format.Plain || e.leaf.Type == format.Boolean ||
		!b.snappy.pays(len(list), len(g.body)) {
		return nil, nil
	}
	if g.kind == format.DataPageV2 {
		return b.snappy.compress(g.packed, len(g.body), b.body[levels:], list)
	}
	before := g.uncompressed - len(g.body) // the old levels
	for i := range list {
		p := &list[i]
		p.oldFrom, p.oldTo, p.newFrom, p.newTo = p.oldFrom+before, p.oldTo+before, p.newFrom+levels, p.newTo+levels
	}
	if len(b.flips) > 0 {
		list = append([]splice{{0, before, 0, levels}}, list...)
	}
	return b.snappy.compress(g.packed, g.uncompressed, b.body, list)
}

// appendLevels appends the definition levels: as they were where none changed.
func (e *pageEditor) appendLevels(dst []byte) []byte {
	b, g := e.b, e.g
	if e.leaf.MaxDef == 0 {
		return dst
	}
	if len(b.flips) == 0 {
		if g.kind == format.DataPage {
			dst = binary.LittleEndian.AppendUint32(dst, uint32(len(g.def)))
		}
		return append(dst, g.def...)
	}
	b.def = b.def[:0]
	from := 0
	for _, f := range b.flips {
		b.def = e.appendDef(b.def, from, f.row)
		if !f.goes {
			b.def = append(b.def, f.level)
		}
		from = f.row + 1
	}
	b.def = e.appendDef(b.def, from, g.values)
	return appendLevelsOf(g.kind, dst, b.def, e.leaf.MaxDef)
}

// appendDef appends the old levels of rows [from, to).
func (e *pageEditor) appendDef(dst []uint8, from, to int) []uint8 {
	if e.def != nil {
		return append(dst, e.def[from:to]...)
	}
	return padLevels(dst, uint8(e.leaf.MaxDef), len(dst)+to-from)
}

// settled are the bounds of the page's values as they are now.
func (e *pageEditor) settled() bounds {
	b := e.b
	switch {
	case e.order == nil || e.nulls == e.g.values-e.gone:
		return bounds{}
	case !e.unknown:
		return bounds{min: bytes.Clone(e.min), max: bytes.Clone(e.max), looseMin: e.looseMin, looseMax: e.looseMax}
	case b.cutter.dict == nil:
		return e.plain(b.cutter.out)
	}
	b.stamp++
	if n := b.cutter.dict.Len(); n > len(b.stamps) {
		b.stamps = append(b.stamps, make([]uint32, n-len(b.stamps))...)
	}
	if b.stamp == 0 { // all numbers are used up
		clear(b.stamps)
		b.stamp = 1
	}
	return e.dictionary(b.cutter.dict, b.cutter.places, b.stamps, b.stamp)
}

// verify decompresses a framed page and holds it against its body.
func (b *patchBuffers) verify(f framed, body []byte) error {
	h, err := parsePageHeader(f.header)
	if err != nil {
		return fmt.Errorf("%w: %w", errVerify, err)
	}
	packed, want := f.parts[0], body
	plain := b.codec == format.Uncompressed
	if h.kind == format.DataPageV2 {
		levels := h.repBytes + h.defBytes
		if !bytes.Equal(packed, body[:levels]) {
			return errVerify
		}
		packed, want, plain = f.parts[1], body[levels:], plain || h.plainBody
	}
	if !plain {
		if b.check, err = decompress(b.codec, b.check, packed, len(want)); err != nil {
			return fmt.Errorf("%w: %w", errVerify, err)
		}
		packed = b.check
	}
	if !bytes.Equal(packed, want) || h.uncompressed != len(body) || h.compressed != len(f.parts[0])+len(f.parts[1]) {
		return errVerify
	}
	return nil
}

// dictionary makes the dictionary page of a patch, whose values became more.
func (b *patchBuffers) dictionary(p *Patch, c *EncodedChunk) error {
	b.codec, b.crc = p.o.Codec, p.o.CRC
	b.body = p.dict.appendPlain(b.body[:0])
	c.dictEncoding = p.o.dictionaryPageEncoding()
	f, err := b.framer.dictionary(b.body, p.dict.len(), c.dictEncoding)
	if err == nil {
		err = b.verify(f, b.body)
	}
	if err != nil {
		return fmt.Errorf("%s, dictionary: %w", p.where, err)
	}
	c.dict = f.appendTo(nil)
	c.Uncompressed = int64(len(f.header) + len(b.body))
	return nil
}
