package splice

import (
	"fmt"
	"hash/crc32"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// framer compresses the bodies of pages and puts headers before them. What it returns is valid until the next call.
type framer struct {
	codec  format.CompressionCodec
	crc    bool
	packed []byte
	header compactWriter
}

// dataPage is a data page before it is compressed.
type dataPage struct {
	kind        format.PageType // DataPage or DataPageV2
	encoding    format.Encoding
	slots, rows int
	nulls       int
	rep, def    int    // bytes of levels that the body begins with
	body        []byte // levels and values
	packed      []byte // what is to be compressed of it, compressed; nil: it is not yet
}

// framed is a page as it lies in a file: a header and what follows it.
type framed struct {
	header []byte
	parts  [2][]byte
}

func (f *framed) size() int { return len(f.header) + len(f.parts[0]) + len(f.parts[1]) }

func (f *framed) appendTo(dst []byte) []byte {
	return append(append(append(dst, f.header...), f.parts[0]...), f.parts[1]...)
}

// data frames a data page. Version 2 leaves the levels in front of the values uncompressed, and the values
// too where that is shorter.
func (f *framer) data(p dataPage) (out framed, err error) {
	if len(p.body) > math.MaxInt32 {
		return out, fmt.Errorf("a page of %d bytes exceeds the format's limit", len(p.body))
	}
	if p.kind == format.DataPage {
		if out.parts[0] = p.packed; p.packed == nil {
			if out.parts[0], err = f.compress(p.body); err != nil {
				return out, err
			}
		}
		f.header.buf = f.header.buf[:0]
		f.header.dataHeaderV1(f.sizes(p.kind, len(p.body), out.parts), p.slots, p.encoding)
		out.header = f.header.buf
		return out, nil
	}
	levels, values := p.body[:p.rep+p.def], p.body[p.rep+p.def:]
	out.parts = [2][]byte{levels, values}
	compressed := false
	if len(values) > 0 && f.codec != format.Uncompressed {
		packed := p.packed
		if packed == nil {
			if packed, err = f.compress(values); err != nil {
				return out, err
			}
		}
		if compressed = len(packed) < len(values); compressed {
			out.parts[1] = packed
		}
	}
	f.header.buf = f.header.buf[:0]
	f.header.dataHeaderV2(f.sizes(p.kind, len(p.body), out.parts), p.slots, p.encoding, levelsV2{
		nulls: p.nulls, rows: p.rows, defBytes: p.def, repBytes: p.rep, compressed: compressed,
	})
	out.header = f.header.buf
	return out, nil
}

// dictionary frames a dictionary page.
func (f *framer) dictionary(body []byte, values int, encoding format.Encoding) (out framed, err error) {
	if out.parts[0], err = f.compress(body); err != nil {
		return out, err
	}
	f.header.buf = f.header.buf[:0]
	f.header.dictionaryHeader(f.sizes(format.DictionaryPage, len(body), out.parts), values, encoding)
	out.header = f.header.buf
	return out, nil
}

func (f *framer) compress(body []byte) ([]byte, error) {
	if f.codec == format.Uncompressed {
		return body, nil
	}
	var err error
	f.packed, err = appendCompressed(f.codec, f.packed[:0], body)
	return f.packed, err
}

// sizes describes a page whose body on disk is parts.
func (f *framer) sizes(kind format.PageType, uncompressed int, parts [2][]byte) pageSizes {
	s := pageSizes{kind: kind, uncompressed: uncompressed, hasCRC: f.crc}
	for _, part := range parts {
		s.compressed += len(part)
		if f.crc {
			s.crc = crc32.Update(s.crc, crc32.IEEETable, part)
		}
	}
	return s
}
