package splice

import (
	"errors"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// pageHeader is what reading a page needs of its PageHeader (parquet.thrift).
type pageHeader struct {
	kind         format.PageType
	size         int // of the header itself
	uncompressed int
	compressed   int
	crc          uint32
	hasCRC       bool

	values      int
	rows        int // V2; -1 in V1
	encoding    format.Encoding
	defEncoding format.Encoding // V1
	repEncoding format.Encoding
	defBytes    int // V2
	repBytes    int
	plainBody   bool   // V2: is_compressed says that the values are not
	seen        uint32 // ids of the fields that the page's own part has, as bits
}

// errShortHeader asks for more bytes of a page header.
var errShortHeader = errors.New("page header goes on")

// maxHeaderBytes limits a page header. It may hold the bounds of a page's values whole.
const maxHeaderBytes = 16 << 20

// parsePageHeader reads a header from the start of data without allocating; errShortHeader where
// data ends first.
func parsePageHeader(data []byte) (h pageHeader, err error) {
	c := compactCursor{data: data}
	h.values, h.rows = -1, -1
	seen := c.fields(func(id int16, kind byte) bool {
		switch {
		case id == 1 && kind == compactI32:
			h.kind = format.PageType(c.int32())
		case id == 2 && kind == compactI32:
			h.uncompressed = int(c.int32())
		case id == 3 && kind == compactI32:
			h.compressed = int(c.int32())
		case id == 4 && kind == compactI32:
			h.crc, h.hasCRC = uint32(c.int32()), true
		case (id == 5 || id == 7) && kind == compactStruct:
			c.dataHeader(&h)
		case id == 8 && kind == compactStruct:
			c.dataHeaderV2(&h)
		default:
			return false
		}
		return true
	})
	if c.err != nil {
		return h, c.err
	}
	h.size = c.at
	return h, h.check(seen)
}

// check looks at required fields and at sizes.
func (h *pageHeader) check(seen uint32) error {
	if seen&0b1110 != 0b1110 {
		return corruptf("page header lacks its type or sizes")
	}
	if h.uncompressed < 0 || h.compressed < 0 {
		return corruptf("page of %d bytes, %d uncompressed", h.compressed, h.uncompressed)
	}
	// The part of the page's type, and the fields that it must have: a default for one that damage has hidden is a guess.
	wanted, fields := uint32(0), uint32(0)
	switch h.kind {
	case format.DataPage:
		wanted, fields = 1<<5, 1<<1|1<<2|1<<3|1<<4
	case format.DictionaryPage:
		wanted, fields = 1<<7, 1<<1|1<<2
	case format.DataPageV2:
		wanted, fields = 1<<8, 1<<1|1<<3|1<<4|1<<5|1<<6
		if h.defBytes < 0 || h.repBytes < 0 || h.rows < 0 ||
			h.defBytes+h.repBytes > min(h.compressed, h.uncompressed) {
			return corruptf("levels of %d and %d bytes in a page of %d", h.repBytes, h.defBytes, h.compressed)
		}
	default:
		return nil
	}
	if seen&wanted == 0 {
		return corruptf("page header of type %s lacks its part", h.kind)
	}
	if h.values < 0 && h.seen&(1<<1) != 0 {
		return corruptf("page of %d values", h.values)
	}
	if h.seen&fields != fields {
		return corruptf("page header of type %s lacks a field", h.kind)
	}
	return nil
}

// dataHeader reads a DataPageHeader or a DictionaryPageHeader: they share their first fields.
func (c *compactCursor) dataHeader(h *pageHeader) {
	h.seen = c.fields(func(id int16, kind byte) bool {
		if kind != compactI32 {
			return false
		}
		switch id {
		case 1:
			h.values = int(c.int32())
		case 2:
			h.encoding = format.Encoding(c.int32())
		case 3:
			h.defEncoding = format.Encoding(c.int32())
		case 4:
			h.repEncoding = format.Encoding(c.int32())
		default:
			return false
		}
		return true
	})
}

func (c *compactCursor) dataHeaderV2(h *pageHeader) {
	h.defEncoding, h.repEncoding = format.RLE, format.RLE
	h.seen = c.fields(func(id int16, kind byte) bool {
		switch {
		case id == 7:
			h.plainBody = kind == compactFalse
			return kind == compactTrue || kind == compactFalse
		case kind != compactI32:
			return false
		case id == 1:
			h.values = int(c.int32())
		case id == 3:
			h.rows = int(c.int32())
		case id == 4:
			h.encoding = format.Encoding(c.int32())
		case id == 5:
			h.defBytes = int(c.int32())
		case id == 6:
			h.repBytes = int(c.int32())
		default:
			return false
		}
		return true
	})
}

// compactCursor walks a struct of the compact protocol. After an error it stands still.
type compactCursor struct {
	data  []byte
	at    int
	depth int
	err   error
}

// fields calls take for each field until the struct ends; fields that take leaves are skipped. It
// returns the ids below 32 that were taken, as bits.
func (c *compactCursor) fields(take func(id int16, kind byte) bool) (seen uint32) {
	if c.depth++; c.depth > thriftDepth {
		c.fail(corruptf("page header nests too deep"))
	}
	defer func() { c.depth-- }()
	last := int16(0)
	for c.err == nil {
		b := c.byte()
		if b == 0 {
			return seen
		}
		kind := b & 15
		id := last + int16(b>>4)
		if b>>4 == 0 {
			id = int16(c.varint())
		}
		last = id
		if c.err != nil || !take(id, kind) {
			c.skip(kind, true)
		} else if uint16(id) < 32 {
			seen |= 1 << id
		}
	}
	return seen
}

// skip passes a value; a field's boolean takes no byte.
func (c *compactCursor) skip(kind byte, field bool) {
	switch kind {
	case compactTrue, compactFalse:
		if !field {
			c.byte()
		}
	case compactI8:
		c.byte()
	case compactI16, compactI32, compactI64:
		c.uvarint()
	case compactDouble:
		c.pass(8)
	case compactUUID:
		c.pass(16)
	case compactBinary:
		c.pass(c.uvarint())
	case compactList, compactSet:
		b := c.byte()
		n := uint64(b >> 4)
		if n == 15 {
			n = c.uvarint()
		}
		c.skipAll(n, b&15, 0)
	case compactMap:
		if n := c.uvarint(); n > 0 {
			b := c.byte()
			c.skipAll(n, b>>4, b&15)
		}
	case compactStruct:
		c.fields(func(int16, byte) bool { return false })
	default:
		c.fail(corruptf("page header holds an unknown type"))
	}
}

// skipAll passes n elements, or in a map, where value is a type, n pairs. Every element takes a byte
// at least, so that n is bounded by the data.
func (c *compactCursor) skipAll(n uint64, key, value byte) {
	if c.depth++; c.depth > thriftDepth {
		c.fail(corruptf("page header nests too deep"))
	}
	for ; n > 0 && c.err == nil; n-- {
		c.skip(key, false)
		if value != 0 {
			c.skip(value, false)
		}
	}
	c.depth--
}

func (c *compactCursor) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

func (c *compactCursor) pass(n uint64) {
	if n > uint64(len(c.data)-c.at) {
		if n > maxHeaderBytes {
			c.fail(corruptf("page header holds a string of %d bytes", n))
		}
		c.fail(errShortHeader)
		return
	}
	c.at += int(n)
}

func (c *compactCursor) byte() byte {
	if c.err != nil || c.at >= len(c.data) {
		c.fail(errShortHeader)
		return 0
	}
	b := c.data[c.at]
	c.at++
	return b
}

func (c *compactCursor) uvarint() (n uint64) {
	for shift := 0; shift < 64; shift += 7 {
		b := c.byte()
		n |= uint64(b&0x7F) << shift
		if b < 0x80 {
			return n
		}
	}
	c.fail(corruptf("page header holds an integer of too many bytes"))
	return 0
}

func (c *compactCursor) varint() int64 {
	n := c.uvarint()
	return int64(n>>1) ^ -int64(n&1)
}

func (c *compactCursor) int32() int32 {
	n := c.varint()
	if n < math.MinInt32 || n > math.MaxInt32 {
		c.fail(corruptf("page header holds an integer that exceeds its type"))
	}
	return int32(n)
}
