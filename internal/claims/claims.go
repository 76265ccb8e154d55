// Package claims holds all that Parquet files say of their data against the data, slowly and without the engine's code:
// parquet-go decodes the values (the engine those that it can't), everything else is read here, field by field. A file that says something wrong loses rows for
// readers that believe it. Tests call [Check] on what a merge wrote, and [Beyond] to leave out what the old files said wrongly
// already, since their chunks are copied as bytes.
package claims

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"
	"slices"

	"github.com/parquet-go/parquet-go"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// Fault is a claim that does not hold.
type Fault struct {
	Column  string // empty: of the file or a row group
	Claim   string // which, in a word or two: "max_value", "boundary_order"
	Message string

	chunk [sha256.Size]byte // of the chunk's bytes: copies have the same
}

func (f Fault) String() string { return fmt.Sprintf("%s: %s: %s", f.Column, f.Claim, f.Message) }

// Beyond leaves out faults that others have too: what a file says of itself or of values, where one of the others says it wrongly of
// the same column, since pages are copied with what is said of them; and what it says of a chunk's pages where the chunk is a copy.
func Beyond(faults, others []Fault) []Fault {
	return slices.DeleteFunc(slices.Clone(faults), func(f Fault) bool {
		return slices.ContainsFunc(others, func(o Fault) bool {
			return o.Column == f.Column && o.Claim == f.Claim && (!slices.Contains(ofPages, f.Claim) || o.chunk == f.chunk)
		})
	})
}

// ofPages are claims that whoever makes a chunk of pages, copied or not, has to make anew.
var ofPages = []string{
	"encodings", "encoding_stats", "num_values", "total_uncompressed_size", "total_compressed_size", "data_page_offset", "distinct_count",
	"is_min_value_exact", "is_max_value_exact", "column index", "boundary_order", "offset index", "offset index, offset",
	"offset index, size", "offset index, first_row_index", "offset index, unencoded_byte_array_data_bytes", "unencoded_byte_array_data_bytes",
	"repetition_level_histogram", "definition_level_histogram", "column index, repetition_level_histograms",
	"column index, definition_level_histograms", "bloom_filter_length",
}

// Check decodes a file and returns the claims that do not hold. The error says why it can't be decoded.
func Check(data []byte) (faults []Fault, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("decode: %v", r)
		}
	}()
	if len(data) < 12 || string(data[len(data)-4:]) != "PAR1" {
		return nil, errors.New("no Parquet file")
	}
	size := int(binary.LittleEndian.Uint32(data[len(data)-8:]))
	footer, _, err := parse(data[len(data)-8-size : len(data)-8])
	if err != nil {
		return nil, err
	}
	file, err := parquet.OpenFile(bytes.NewReader(data), int64(len(data)))
	if err != nil {
		return nil, err
	}
	c := &checker{data: data, leaves: leaves(footer.list(2)), ordered: len(footer.list(7)) > 0}
	rows := int64(0)
	for g, group := range footer.list(4) {
		n, err := c.group(group.(object), file.RowGroups()[g], g)
		if err != nil {
			return nil, err
		}
		rows += n
	}
	c.leaf = nil
	c.equal("num_rows", footer[3], rows)
	return c.faults, nil
}

// checker checks one file, a chunk at a time.
type checker struct {
	data    []byte
	leaves  []leaf
	ordered bool // min_value and max_value mean something
	faults  []Fault

	leaf  *leaf // nil: what is said is of the file or a row group
	place string
	pages []page
	chunk [sha256.Size]byte
}

// page is a data page as it is.
type page struct {
	offset, size int64 // header included
	header       object
	kind         int64 // of the header: 0, or 3 for version 2
	encoding     int64
	first        int64 // row
	slots        []slot
}

// slot is a place for a value; without one value is nil.
type slot struct {
	rep, def int
	value    []byte
}

func (c *checker) say(claim, format string, args ...any) {
	f := Fault{Claim: claim, Message: c.place + fmt.Sprintf(format, args...)}
	if c.leaf != nil {
		f.Column, f.chunk = c.leaf.name, c.chunk
	}
	c.faults = append(c.faults, f)
}

// equal compares a count with what is so; what is not claimed is no fault.
func (c *checker) equal(claim string, claimed any, is int64) {
	if n, ok := claimed.(int64); ok && n != is {
		c.say(claim, "%d, it is %d", n, is)
	}
}

// group checks a row group and returns its rows.
func (c *checker) group(group object, read parquet.RowGroup, g int) (rows int64, err error) {
	uncompressed, compressed := int64(0), int64(0)
	columns := make([][]slot, len(c.leaves))
	for i, chunk := range group.list(1) {
		c.leaf, c.place = &c.leaves[i], fmt.Sprintf("row group %d: ", g)
		slots, err := c.decode(read.ColumnChunks()[i])
		if codec, _ := chunk.(object).object(3).int(4); err != nil || codec == lz4 {
			slots, err = c.decodeByOurs(g, i)
		}
		if err != nil {
			return 0, fmt.Errorf("%s%s: %w", c.place, c.leaf.name, err)
		}
		columns[i] = slots
		rows = 0
		for _, s := range slots {
			if s.rep == 0 {
				rows++
			}
		}
		leaf := c.leaf
		c.leaf = nil
		c.equal("num_rows of a row group", group[3], rows)
		c.leaf = leaf
		meta := chunk.(object).object(3)
		u, n, err := c.checkChunk(chunk.(object), meta, slots)
		if err != nil {
			return 0, fmt.Errorf("%s%s: %w", c.place, c.leaf.name, err)
		}
		uncompressed, compressed = uncompressed+u, compressed+n
	}
	c.leaf = nil
	c.equal("total_byte_size", group[2], uncompressed)
	c.equal("total_compressed_size of a row group", group[6], compressed)
	c.sorting(group.list(4), columns)
	return rows, nil
}

// decode reads the slots of a chunk.
func (c *checker) decode(chunk parquet.ColumnChunk) (slots []slot, err error) {
	pages := chunk.Pages()
	defer pages.Close()
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	for {
		p, err := pages.ReadPage()
		if errors.Is(err, io.EOF) {
			return slots, nil
		}
		if err != nil {
			return nil, err
		}
		values := make([]parquet.Value, p.NumValues())
		if n, err := p.Values().ReadValues(values); n != len(values) {
			return nil, fmt.Errorf("%d of %d values: %w", n, len(values), err)
		}
		for _, v := range values {
			slots = append(slots, slot{v.RepetitionLevel(), v.DefinitionLevel(), c.plain(v)})
		}
	}
}

// lz4 is LZ4_RAW, of which parquet-go 0.32 gives zeros or nothing for some blocks that pyarrow and the engine read.
const lz4 = 7

// decodeByOurs reads slots that parquet-go can't: blocks of LZ4, some pages of old writers.
func (c *checker) decodeByOurs(g, col int) (slots []slot, err error) {
	file, err := splice.Open(bytes.NewReader(c.data), int64(len(c.data)), "memory")
	if err != nil {
		return nil, err
	}
	pages := file.Pages(g, col, nil)
	defer pages.Close()
	for {
		var page column.Column
		if _, _, err := pages.Next(context.Background(), &page); errors.Is(err, io.EOF) {
			return slots, nil
		} else if err != nil {
			return nil, err
		}
		for i := range page.Slots {
			s := slot{def: c.leaf.maxDef, value: page.Value(i)}
			if page.Rep != nil {
				s.rep = int(page.Rep[i])
			}
			if page.Def != nil {
				s.def = int(page.Def[i])
			}
			if s.value != nil {
				s.value = append([]byte{}, s.value...)
			}
			slots = append(slots, s)
		}
	}
}

// plain is a value in PLAIN without length, of its own memory.
func (c *checker) plain(v parquet.Value) []byte {
	switch {
	case v.IsNull():
		return nil
	case c.leaf.physical == boolean && v.Boolean():
		return []byte{1}
	case c.leaf.physical == boolean:
		return []byte{0}
	}
	return append([]byte{}, v.Bytes()...)
}

// checkChunk checks a column chunk and returns its size before and after compression.
func (c *checker) checkChunk(chunk, meta object, slots []slot) (uncompressed, compressed int64, err error) {
	c.equal("num_values", meta[5], int64(len(slots)))
	if len(slots) == 0 {
		return 0, 0, nil
	}
	uncompressed, compressed, err = c.walk(meta, slots)
	if err != nil {
		return 0, 0, err
	}
	c.equal("total_uncompressed_size", meta[6], uncompressed)
	c.equal("total_compressed_size", meta[7], compressed)
	c.statistics("", meta.object(12), slots, true)
	for i, p := range c.pages {
		place := fmt.Sprintf("page %d: ", i)
		switch p.kind {
		case 0:
			c.statistics(place, p.header.object(5).object(5), p.slots, false)
		default:
			h := p.header.object(8)
			c.statistics(place, h.object(8), p.slots, false)
			c.equal("num_nulls", h[2], nulls(p.slots))
			c.equal("num_rows of a page", h[3], rowsIn(p.slots))
		}
	}
	c.sizes("", meta.object(16), slots)
	c.offsetIndex(chunk)
	c.columnIndex(chunk)
	c.bloomFilter(meta, slots)
	return uncompressed, compressed, nil
}

// walk goes from page header to page header, and holds against them what the chunk says of pages and encodings.
func (c *checker) walk(meta object, slots []slot) (uncompressed, compressed int64, err error) {
	c.pages = nil
	start, _ := meta.int(9)
	if dictionary, _ := meta.int(11); dictionary > 0 && dictionary < start {
		start = dictionary
	}
	size, _ := meta.int(7)
	end := start + size
	c.chunk = sha256.Sum256(c.data[start:end])
	used, counts := map[int64]bool{}, map[[2]int64]int64{}
	row, rest := int64(0), slots
	for at := start; len(rest) > 0 || at < end; {
		header, n, err := parse(c.data[at:])
		if err != nil {
			return 0, 0, err
		}
		before, _ := header.int(2)
		body, _ := header.int(3)
		p := page{offset: at, size: int64(n) + body, header: header}
		if crc, ok := header.int(4); ok && uint32(crc) != crc32.ChecksumIEEE(c.data[at+int64(n):at+p.size]) {
			c.say("crc", "the page at offset %d has another checksum", at)
		}
		at += p.size
		uncompressed, compressed = uncompressed+int64(n)+before, compressed+p.size
		p.kind, _ = header.int(1)
		if p.kind == 2 {
			encoding, _ := header.object(7).int(2)
			used[encoding], counts[[2]int64{2, encoding}] = true, counts[[2]int64{2, encoding}]+1
			continue
		}
		if rest, err = c.dataPage(&p, rest, used); err != nil {
			return 0, 0, err
		}
		counts[[2]int64{p.kind, p.encoding}]++
		if len(c.pages) == 0 {
			c.equal("data_page_offset", meta[9], p.offset)
		}
		p.first = row
		row += rowsIn(p.slots)
		c.pages = append(c.pages, p)
	}
	c.encodings(meta, used, counts)
	return uncompressed, compressed, nil
}

// dataPage takes the slots of a page off.
func (c *checker) dataPage(p *page, rest []slot, used map[int64]bool) ([]slot, error) {
	h := p.header.object(5)
	if p.kind == 3 {
		h = p.header.object(8)
	}
	n, _ := h.int(1)
	if n > int64(len(rest)) {
		return nil, fmt.Errorf("a page of %d values, %d are left", n, len(rest))
	}
	p.slots, rest = rest[:n], rest[n:]
	if p.kind == 3 {
		p.encoding, _ = h.int(4)
	} else {
		p.encoding, _ = h.int(2)
	}
	used[p.encoding] = true
	if c.leaf.maxDef > 0 || c.leaf.maxRep > 0 {
		used[3] = true // levels of files of today: RLE
	}
	return rest, nil
}

func (c *checker) encodings(meta object, used map[int64]bool, counts map[[2]int64]int64) {
	for _, e := range meta.list(2) {
		delete(used, e.(int64))
	}
	for e := range used {
		c.say("encodings", "%d is used and not listed", e)
	}
	if meta[13] == nil {
		return
	}
	for _, s := range meta.list(13) {
		s := s.(object)
		kind, _ := s.int(1)
		encoding, _ := s.int(2)
		c.equal("encoding_stats", s[3], counts[[2]int64{kind, encoding}])
		delete(counts, [2]int64{kind, encoding})
	}
	for which, n := range counts {
		c.say("encoding_stats", "%d pages of type %d in encoding %d are left out", n, which[0], which[1])
	}
}

// sorting checks that rows stand as the row group says.
func (c *checker) sorting(claimed []any, columns [][]slot) {
	if len(claimed) == 0 {
		return
	}
	rows := len(columns[0])
	for row := 1; row < rows; row++ {
		for _, s := range claimed {
			s := s.(object)
			at, _ := s.int(1)
			leaf, slots := c.leaves[at], columns[at]
			if leaf.maxRep > 0 || leaf.compare == nil {
				return // what order means of lists nobody says
			}
			n := compareNullable(slots[row-1].value, slots[row].value, leaf.compare, s[3] == true)
			if s[2] == true && slots[row-1].value != nil && slots[row].value != nil {
				n = -n
			}
			if n > 0 {
				c.say("sorting_columns", "%srow %d stands behind one that is greater by %s", c.place, row, leaf.name)
				return
			}
			if n < 0 {
				break
			}
		}
	}
}

func compareNullable(a, b []byte, compare func(a, b []byte) int, nullsFirst bool) int {
	n := 0
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		n = -1
	case b == nil:
		n = 1
	default:
		return compare(a, b)
	}
	if !nullsFirst {
		n = -n
	}
	return n
}

func nulls(slots []slot) (n int64) {
	for _, s := range slots {
		if s.value == nil {
			n++
		}
	}
	return n
}

func rowsIn(slots []slot) (n int64) {
	for _, s := range slots {
		if s.rep == 0 {
			n++
		}
	}
	return n
}
