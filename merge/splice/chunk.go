package splice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"sort"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Defaults of ChunkOptions and WriterOptions: parquet-mr's.
const (
	DefaultPageRows  = 20000
	DefaultPageBytes = 1 << 20
	DefaultDictBytes = 1 << 20
)

// ChunkOptions is how a column chunk is encoded. The zero value is uncompressed PLAIN in data pages
// V1 with statistics; ChunkOptionsOf takes the options from a file.
type ChunkOptions struct {
	// Codec is any but LZO and the deprecated LZ4, of which readers know different framings: they
	// become Snappy.
	Codec     format.CompressionCodec
	PageRows  int // rows of a page; 0 is DefaultPageRows
	PageBytes int // soft limit of a page before compression; 0 is DefaultPageBytes
	DictBytes int // limit of the dictionary page before compression; 0 is DefaultDictBytes
	// PageVersion is 1 or 2; 0 is 1.
	PageVersion int
	// Dictionary tries a dictionary first. It is given up, as parquet-mr does, if the first page gains
	// nothing from it, and for the pages after it is full.
	Dictionary bool
	// PlainDictionary names dictionary encodings by the id of parquet-mr's data pages V1, where the
	// default is RLE_DICTIONARY. The bytes are the same.
	PlainDictionary bool
	// Seed is an old dictionary to extend append-only: the chunk's dictionary starts with its values.
	// It must stay as it is until Finish.
	Seed *column.Vector
	CRC  bool
	// NoStatistics leaves out bounds and the column index; counts are kept.
	NoStatistics bool
	// Bloom is the chunk's Bloom filter: that of the pages that are taken over, to which AppendNew adds. What comes
	// by Append must be in it: Verify drops a filter that misses a value.
	Bloom *BloomFilter
}

func (o *ChunkOptions) setDefaults() {
	if o.PageRows <= 0 {
		o.PageRows = DefaultPageRows
	}
	if o.PageBytes <= 0 {
		o.PageBytes = DefaultPageBytes
	}
	if o.DictBytes <= 0 {
		o.DictBytes = DefaultDictBytes
	}
	if o.PageVersion != 2 {
		o.PageVersion = 1
	}
	if !isWritten(o.Codec) {
		o.Codec = format.Snappy
	}
}

// ChunkEncoder encodes one column chunk from slots appended in order. Encoders of several columns
// may run in parallel; one encoder is for one goroutine at a time.
//
// Values go into PLAIN or dictionary pages, never into DELTA encodings: Spark's vectorised reader
// gets DELTA_LENGTH_BYTE_ARRAY wrong. And no page of the dictionary follows one with PLAIN values: where
// the two meet in a batch of rows, the same reader (3.5, VectorizedColumnReader.readBatch) looks the
// PLAIN ones up in the dictionary.
type ChunkEncoder struct {
	leaf *column.Leaf
	o    ChunkOptions
	bounder
	sum   slotSum
	dict  *dictionary // nil without one
	open  bool        // new pages use the dictionary
	plain bool        // some page has PLAIN values
	tried bool        // the dictionary paid on the first page

	page    openPage
	stamps  []uint32 // by place in the dictionary: the last page that held it
	remap   []int32  // by place in the source's dictionary: the place in ours + 1
	mapping bool     // remap holds for the column that is being appended
	hashes  []uint64

	chunk  *EncodedChunk
	body   []byte // of the page being flushed
	framer framer
	free   [][]byte // blocks to use again
	err    error
}

// openPage is the data page that is being filled.
type openPage struct {
	slots, rows int
	def         []uint8 // nil until the first slot without value
	rep         []uint8
	dictionary  bool
	indices     []int32 // the values of a dictionary page
	plain       []byte  // the values of a PLAIN page; a bool takes a byte
	values      int     // in plain
}

// reset empties the page and keeps its memory.
func (p *openPage) reset(dictionary bool) {
	*p = openPage{
		def: p.def[:0], rep: p.rep[:0], indices: p.indices[:0], plain: p.plain[:0], dictionary: dictionary,
	}
}

// blockBytes is the size of the buffers that hold compressed pages.
const blockBytes = 256 << 10

// NewChunkEncoder returns an encoder for a leaf.
func NewChunkEncoder(leaf *column.Leaf, o ChunkOptions) *ChunkEncoder {
	e := &ChunkEncoder{}
	e.Reset(leaf, o)
	return e
}

// Reset makes the encoder ready for another chunk and takes back the buffers of the one it finished
// last, which must not be used any more.
func (e *ChunkEncoder) Reset(leaf *column.Leaf, o ChunkOptions) {
	o.setDefaults()
	if e.chunk != nil {
		for _, p := range e.chunk.parts {
			if p.file == nil {
				e.free = append(e.free, p.data)
			}
		}
	}
	e.leaf, e.o, e.err = leaf, o, nil
	e.framer.codec, e.framer.crc = o.Codec, o.CRC
	e.bounder = newBounder(leaf, !o.NoStatistics)
	e.sum = newSlotSum(leaf)
	e.plain = false
	e.dict, e.open, e.tried = nil, o.Dictionary && leaf.Type != format.Boolean, false
	if e.open {
		e.dict = newDictionary(leaf, o.DictBytes, o.Seed)
	}
	e.stamps = e.stamps[:0]
	e.chunk = &EncodedChunk{leaf: leaf, o: o, bounder: e.bounder}
	e.page.reset(e.open)
}

// Append encodes slots [from, to) of c, which are whole rows. Where c.Dict is the seed, indices are
// taken as they are; other values are hashed into the dictionary.
func (e *ChunkEncoder) Append(c *column.Column, from, to int) error {
	if e.leaf.MaxRep > 0 && from < to && c.Rep[from] != 0 {
		return fmt.Errorf("encode column %s: slots do not start with a row", e.name())
	}
	e.mapping = e.mappable(c, to-from)
	for from < to && e.err == nil {
		n, rows := e.room(c, from, to)
		if !e.page.dictionary {
			e.appendPlain(c, from, from+n)
		} else if !e.appendIndices(c, from, from+n) {
			e.leaveDictionary()
			continue
		}
		e.appendLevels(c, from, from+n, rows)
		from += n
		if e.page.rows >= e.o.PageRows || e.pageBytes() >= e.o.PageBytes {
			e.flush()
		}
	}
	return e.err
}

// mappable reports whether n slots are worth a map of the source's dictionary to ours, and empties the
// map. It lives for one call of Append: a reader may put other values into the same vector later.
func (e *ChunkEncoder) mappable(c *column.Column, n int) bool {
	if c.Dict == nil || c.Dict == e.o.Seed || !e.open || n < c.Dict.Len()/8 {
		return false
	}
	e.remap = slices.Grow(e.remap[:0], c.Dict.Len())[:c.Dict.Len()]
	clear(e.remap)
	return true
}

func (e *ChunkEncoder) name() string { return fmt.Sprintf("%q", e.leaf.Path) }

// pageBytes is about the size of the open page's values before compression.
func (e *ChunkEncoder) pageBytes() int {
	if e.page.dictionary {
		return 4 * len(e.page.indices)
	}
	return len(e.page.plain)
}

// indexBlock is how many slots are looked up in the dictionary at a time: it bounds what is done
// again when the dictionary turns out to be full, and its hashes fit the processor's first cache.
const indexBlock = 2048

// room returns how many slots of [from, to), as whole rows, go into the open page, and the rows in
// them: at least one.
func (e *ChunkEncoder) room(c *column.Column, from, to int) (n, rows int) {
	rows = e.o.PageRows - e.page.rows
	bytes := e.o.PageBytes - e.pageBytes()
	if e.leaf.MaxRep > 0 {
		return e.nestedRoom(c, from, to, rows, bytes)
	}
	n = min(to-from, rows)
	switch {
	case e.page.dictionary:
		n = min(n, (bytes+3)/4, indexBlock)
	case e.leaf.Width > 0:
		n = min(n, (bytes+e.leaf.Width-1)/e.leaf.Width)
	case c.Dict == nil:
		start := c.Values.Offsets[from]
		n = min(n, 1+sort.Search(n, func(k int) bool {
			return int(c.Values.Offsets[from+k+1]-start)+4*(k+1) >= bytes
		}))
	default:
		for k, size := 0, 0; k < n; k++ {
			size += 4 + len(c.Value(from+k))
			if size >= bytes {
				n = k + 1
			}
		}
	}
	return n, n
}

func (e *ChunkEncoder) nestedRoom(c *column.Column, from, to, maxRows, maxBytes int) (n, rows int) {
	size := 0
	for i := from; i < to; i++ {
		if c.Rep[i] == 0 {
			if rows == maxRows || size >= maxBytes || e.page.dictionary && i-from >= indexBlock {
				return i - from, rows
			}
			rows++
		}
		switch {
		case e.page.dictionary:
			size += 4
		case e.leaf.Width > 0:
			size += e.leaf.Width
		default:
			size += 4 + len(c.Value(i))
		}
	}
	return to - from, rows
}

func (e *ChunkEncoder) appendLevels(c *column.Column, from, to, rows int) {
	p := &e.page
	e.sum.levels(c, from, to)
	if e.leaf.MaxRep > 0 {
		p.rep = append(p.rep, c.Rep[from:to]...)
	}
	if e.leaf.MaxDef > 0 {
		switch {
		case c.Def != nil:
			p.def = padLevels(p.def, uint8(e.leaf.MaxDef), p.slots)
			p.def = append(p.def, c.Def[from:to]...)
		case len(p.def) > 0:
			p.def = padLevels(p.def, uint8(e.leaf.MaxDef), p.slots+to-from)
		}
	}
	p.slots += to - from
	p.rows += rows
}

// padLevels fills levels up to n.
func padLevels(levels []uint8, level uint8, n int) []uint8 {
	for same := allDefined[level]; len(levels) < n; {
		levels = append(levels, same[:min(len(same), n-len(levels))]...)
	}
	return levels
}

// appendIndices adds the values of slots [from, to) to the open dictionary page; false, with nothing
// added, if the dictionary has no place for one of them.
func (e *ChunkEncoder) appendIndices(c *column.Column, from, to int) bool {
	start := len(e.page.indices)
	e.hashes = e.hashes[:0]
	ok := true
	switch {
	case c.Dict != nil && c.Dict == e.o.Seed:
		e.appendSeeded(c, from, to)
	case e.mapping:
		ok = e.appendMapped(c, from, to)
	default:
		ok = e.appendHashed(c, from, to)
	}
	if !ok {
		e.page.indices = e.page.indices[:start]
		return false
	}
	e.sum.hashed(e.hashes)
	return true
}

// appendSeeded takes indices of the seed, which are indices of the dictionary too.
func (e *ChunkEncoder) appendSeeded(c *column.Column, from, to int) {
	start := len(e.page.indices)
	e.page.indices = appendDefined(e.page.indices, c.Index, c, from, to)
	for _, i := range e.page.indices[start:] {
		e.hashes = append(e.hashes, e.dict.hashes[i])
	}
}

// appendDefined appends the elements of src at the slots [from, to) that have a value.
func appendDefined(dst, src []int32, c *column.Column, from, to int) []int32 {
	if c.Def == nil {
		return append(dst, src[from:to]...)
	}
	for i := from; i < to; i++ {
		if c.Def[i] == c.MaxDef {
			dst = append(dst, src[i])
		}
	}
	return dst
}

// appendMapped looks each entry of the source's dictionary up once.
func (e *ChunkEncoder) appendMapped(c *column.Column, from, to int) bool {
	for i := from; i < to; i++ {
		if c.Null(i) {
			continue
		}
		known := &e.remap[c.Index[i]]
		if *known == 0 {
			value := c.Dict.At(int(c.Index[i]))
			place, ok := e.dict.add(hashValue(value), value)
			if !ok {
				return false
			}
			*known = place + 1
		}
		e.hashes = append(e.hashes, e.dict.hashes[*known-1])
		e.page.indices = append(e.page.indices, *known-1)
	}
	return true
}

// appendHashed looks every value up.
func (e *ChunkEncoder) appendHashed(c *column.Column, from, to int) bool {
	e.hashes = appendHashes(e.hashes, c, from, to)
	next := 0
	for i := from; i < to; i++ {
		if c.Null(i) {
			continue
		}
		place, ok := e.dict.add(e.hashes[next], c.Value(i))
		if !ok {
			return false
		}
		e.page.indices = append(e.page.indices, place)
		next++
	}
	return true
}

// LeaveDictionary ends the pages that use the dictionary: what comes next was PLAIN in the chunk that the
// seed is of, which had left it there too.
func (e *ChunkEncoder) LeaveDictionary() {
	e.flush()
	e.open, e.page.dictionary = false, false
}

// leaveDictionary makes the open page and all later ones PLAIN, since the next value does not fit into
// the dictionary.
func (e *ChunkEncoder) leaveDictionary() {
	e.open = false
	// A few indices may stand for very many bytes: such a page ends here.
	if e.unpackedBytes() > e.o.PageBytes {
		e.flush()
		e.page.dictionary = false
		return
	}
	e.unpackPage()
}

// unpackedBytes is the size of the open dictionary page's values in PLAIN.
func (e *ChunkEncoder) unpackedBytes() int {
	if e.leaf.Width > 0 {
		return e.leaf.Width * len(e.page.indices)
	}
	size := 4 * len(e.page.indices)
	for _, i := range e.page.indices {
		size += len(e.dict.values.At(int(i)))
	}
	return size
}

// unpackPage makes a dictionary page a PLAIN one.
func (e *ChunkEncoder) unpackPage() {
	p, dict := &e.page, &e.dict.values
	for _, i := range p.indices {
		p.plain = appendPlainValue(p.plain, dict.Width, dict.At(int(i)))
	}
	p.values, p.indices, p.dictionary = len(p.indices), p.indices[:0], false
}

// appendPlain adds the values of slots [from, to) to the open PLAIN page.
func (e *ChunkEncoder) appendPlain(c *column.Column, from, to int) {
	for at := from; at < to; at += indexBlock {
		e.hashes = appendHashes(e.hashes[:0], c, at, min(at+indexBlock, to))
		e.sum.hashed(e.hashes)
		e.page.values += len(e.hashes)
	}
	p := &e.page
	width := e.leaf.Width
	switch {
	case c.Dict != nil:
		for i := from; i < to; i++ {
			if !c.Null(i) {
				p.plain = appendPlainValue(p.plain, width, c.Dict.At(int(c.Index[i])))
			}
		}
	case width == 0:
		offsets, data := c.Values.Offsets, c.Values.Data
		p.plain = slices.Grow(p.plain, int(offsets[to]-offsets[from])+4*(to-from))
		for i := from; i < to; i++ {
			if !c.Null(i) {
				p.plain = appendPlainValue(p.plain, 0, data[offsets[i]:offsets[i+1]])
			}
		}
	case c.Def == nil:
		p.plain = append(p.plain, c.Values.Fixed[from*width:to*width]...)
	default:
		p.plain = appendRuns(p.plain, c, from, to)
	}
}

// appendRuns appends fixed-width values run by run between the slots without value.
func appendRuns(dst []byte, c *column.Column, from, to int) []byte {
	width := c.Values.Width
	for from < to {
		if c.Def[from] != c.MaxDef {
			from++
			continue
		}
		end := from + 1
		for end < to && c.Def[end] == c.MaxDef {
			end++
		}
		dst = append(dst, c.Values.Fixed[from*width:end*width]...)
		from = end
	}
	return dst
}

func appendPlainValue(dst []byte, width int, v []byte) []byte {
	if width == 0 {
		dst = binary.LittleEndian.AppendUint32(dst, uint32(len(v)))
	}
	return append(dst, v...)
}

// flush encodes the open page and starts the next.
func (e *ChunkEncoder) flush() {
	p := &e.page
	if p.slots == 0 || e.err != nil {
		return
	}
	e.settleEncoding()
	nulls := p.slots - len(p.indices) - p.values
	page := indexPage{
		offset: e.chunk.bodyBytes, rows: p.rows, firstRow: e.chunk.Rows,
		nulls: int64(nulls), allNull: nulls == p.slots,
	}
	encoding := format.Plain
	if p.dictionary {
		encoding = e.o.dictionaryEncoding()
		e.growStamps()
		page.bounds = e.bounder.dictionary(&e.dict.values, p.indices, e.stamps, uint32(len(e.chunk.pages)+1))
	} else {
		page.bounds = e.bounder.plain(p.plain)
	}
	if err := e.writePage(&page, encoding); err != nil {
		e.err = fmt.Errorf("encode column %s: %w", e.name(), err)
		return
	}
	e.chunk.add(page, p.slots, e.o.pageKind(), encoding)
	if p.values > 0 {
		e.plain, e.open = true, false
	}
	e.page.reset(e.open)
}

// settleEncoding makes a dictionary page a PLAIN one where a dictionary is of no use: a page without
// values while there are none in the dictionary either, and, as in parquet-mr, everything if on the first page with
// values the dictionary does not pay.
func (e *ChunkEncoder) settleEncoding() {
	if !e.page.dictionary {
		return
	}
	if e.dict.len() == 0 {
		e.page.dictionary = false
		return
	}
	if e.tried || e.o.Seed != nil || len(e.page.indices) == 0 {
		return
	}
	e.tried = true
	e.body = appendIndices(e.body[:0], e.page.indices, e.dict.len())
	if e.dict.bytes+len(e.body) >= e.unpackedBytes() {
		e.unpackPage()
		e.open = false
	}
}

func (e *ChunkEncoder) growStamps() {
	if n := e.dict.len(); n > len(e.stamps) {
		e.stamps = append(e.stamps, make([]uint32, n-len(e.stamps))...)
	}
}

// writePage encodes the levels and values of the open page into the chunk's parts.
func (e *ChunkEncoder) writePage(page *indexPage, encoding format.Encoding) error {
	p := &e.page
	d := dataPage{kind: e.o.pageKind(), encoding: encoding, slots: p.slots, rows: p.rows, nulls: int(page.nulls)}
	e.body = e.body[:0]
	if e.leaf.MaxRep > 0 {
		e.body = e.appendLevelBytes(p.rep, e.leaf.MaxRep)
		d.rep = len(e.body)
	}
	if e.leaf.MaxDef > 0 {
		p.def = padLevels(p.def, uint8(e.leaf.MaxDef), p.slots)
		e.body = e.appendLevelBytes(p.def, e.leaf.MaxDef)
		d.def = len(e.body) - d.rep
	}
	switch {
	case p.dictionary:
		e.body = appendIndices(e.body, p.indices, e.dict.len())
	case e.leaf.Type == format.Boolean:
		e.body = appendBits(e.body, p.plain)
	default:
		e.body = append(e.body, p.plain...)
	}
	d.body = e.body
	f, err := e.framer.data(d)
	if err != nil {
		return err
	}
	e.place(page, len(e.body), f)
	return nil
}

func (e *ChunkEncoder) appendLevelBytes(levels []uint8, maxLevel int) []byte {
	return appendLevelsOf(e.o.pageKind(), e.body, levels, maxLevel)
}

// appendLevelsOf appends levels as a data page of a kind holds them.
func appendLevelsOf(kind format.PageType, dst []byte, levels []uint8, maxLevel int) []byte {
	if kind == format.DataPageV2 {
		return appendLevels(dst, levels, maxLevel)
	}
	return appendFramedLevels(dst, levels, maxLevel)
}

// place copies a page into the chunk's parts.
func (e *ChunkEncoder) place(page *indexPage, uncompressed int, f framed) {
	page.size = f.size()
	block := e.block(page.size)
	*block = f.appendTo(*block)
	e.chunk.bodyBytes += int64(page.size)
	e.chunk.Uncompressed += int64(len(f.header) + uncompressed)
}

// block returns a block with room for a page.
func (e *ChunkEncoder) block(size int) *[]byte {
	parts := e.chunk.parts
	if n := len(parts); n > 0 && parts[n-1].file == nil && cap(parts[n-1].data)-len(parts[n-1].data) >= size {
		return &parts[n-1].data
	}
	var next []byte
	if i := slices.IndexFunc(e.free, func(b []byte) bool { return cap(b) >= size }); i >= 0 {
		next = e.free[i][:0]
		e.free = slices.Delete(e.free, i, i+1)
	} else {
		next = make([]byte, 0, max(size, blockBytes))
	}
	e.chunk.parts = append(parts, part{data: next})
	return &e.chunk.parts[len(parts)].data
}

// Finish returns the chunk, which is valid until Reset.
func (e *ChunkEncoder) Finish() (*EncodedChunk, error) {
	e.flush()
	if e.err == nil && e.chunk.dictPages > 0 {
		e.err = e.writeDictionary()
	}
	if e.err == nil && e.chunk.Rows == 0 {
		e.err = fmt.Errorf("encode column %s: %w", e.name(), errNoRows)
	}
	if e.err != nil {
		return nil, e.err
	}
	e.chunk.sum = e.sum
	return e.chunk, nil
}

var errNoRows = errors.New("a column chunk needs at least one row")

// writeDictionary encodes the dictionary page.
func (e *ChunkEncoder) writeDictionary() error {
	e.body = e.dict.appendPlain(e.body[:0])
	e.chunk.dictEncoding = e.o.dictionaryPageEncoding()
	f, err := e.framer.dictionary(e.body, e.dict.len(), e.chunk.dictEncoding)
	if err != nil {
		return fmt.Errorf("encode column %s: %w", e.name(), err)
	}
	e.chunk.dict = f.appendTo(e.chunk.dict[:0])
	e.chunk.Uncompressed += int64(len(f.header) + len(e.body))
	return nil
}

// dictionaryPageEncoding is how the dictionary page names its own encoding, which is PLAIN.
func (o *ChunkOptions) dictionaryPageEncoding() format.Encoding {
	if o.PlainDictionary {
		return format.PlainDictionary
	}
	return format.Plain
}

func (o *ChunkOptions) pageKind() format.PageType {
	if o.PageVersion == 2 {
		return format.DataPageV2
	}
	return format.DataPage
}

func (o *ChunkOptions) dictionaryEncoding() format.Encoding {
	if o.PlainDictionary {
		return format.PlainDictionary
	}
	return format.RLEDictionary
}
