package splice

import (
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// EncodedChunk is a column chunk that a ChunkEncoder made: its pages in memory and what the footer
// and the page index will say of it. It holds the encoder's buffers.
type EncodedChunk struct {
	Rows         int64
	Values       int64 // slots, those without value included
	Nulls        int64 // slots without value
	Uncompressed int64 // bytes before compression, headers included

	leaf *column.Leaf
	o    ChunkOptions
	bounder
	dict         []byte // the dictionary page, header included
	parts        []part // the data pages end to end
	bodyBytes    int64  // in parts
	storedBytes  int64  // of them, in files
	pages        []indexPage
	counts       [2][16]int32 // data pages V1 and V2 by encoding
	dictPages    int
	dictEncoding format.Encoding
	rest         *bounds // of pages that state none; nil: they are not known
	sum          slotSum
}

// part is some pages of a chunk: bytes in memory or a range of a file.
type part struct {
	data []byte
	stored
}

func (p *part) size() int64 {
	if p.file != nil {
		return p.n
	}
	return int64(len(p.data))
}

// StoredBytes is how much of the chunk is taken over from a file.
func (c *EncodedChunk) StoredBytes() int64 { return c.storedBytes }

// Bytes is the size of the chunk in the file.
func (c *EncodedChunk) Bytes() int64 { return int64(len(c.dict)) + c.bodyBytes }

// Pages is the number of data pages.
func (c *EncodedChunk) Pages() int { return len(c.pages) }

func (c *EncodedChunk) add(page indexPage, slots int, kind format.PageType, encoding format.Encoding) {
	c.pages = append(c.pages, page)
	c.Rows += int64(page.rows)
	c.Values += int64(slots)
	c.Nulls += page.nulls
	version := 0
	if kind == format.DataPageV2 {
		version = 1
	}
	c.counts[version][encoding]++
	if isDictionary(encoding) {
		c.dictPages++
	}
}

// total is the bounds of the whole chunk.
func (c *EncodedChunk) total() bounds {
	var s bounds
	unknown := false
	for _, p := range c.pages {
		c.bounder.merge(&s, p.bounds)
		unknown = unknown || p.unknown
	}
	if s.nan || unknown && c.rest == nil {
		return bounds{}
	}
	if unknown {
		c.bounder.merge(&s, *c.rest)
	}
	return s
}

// encodings lists the encodings of levels, dictionary page and data pages, each once.
func (c *EncodedChunk) encodings() []format.Encoding {
	var list []format.Encoding
	if c.dict != nil {
		list = append(list, c.dictEncoding)
	}
	for encoding := range c.counts[0] {
		pages := c.counts[0][encoding] + c.counts[1][encoding]
		if pages > 0 && !slices.Contains(list, format.Encoding(encoding)) {
			list = append(list, format.Encoding(encoding))
		}
	}
	if (c.leaf.MaxDef > 0 || c.leaf.MaxRep > 0) && !slices.Contains(list, format.RLE) {
		list = append(list, format.RLE)
	}
	return list
}

// encodingStats counts pages by type and encoding.
func (c *EncodedChunk) encodingStats() []format.PageEncodingStats {
	var list []format.PageEncodingStats
	if c.dict != nil {
		list = append(list, format.PageEncodingStats{
			PageType: format.DictionaryPage, Encoding: c.dictEncoding, Count: 1,
		})
	}
	for version, kind := range []format.PageType{format.DataPage, format.DataPageV2} {
		for encoding, pages := range c.counts[version] {
			if pages > 0 {
				list = append(list, format.PageEncodingStats{
					PageType: kind, Encoding: format.Encoding(encoding), Count: pages,
				})
			}
		}
	}
	return list
}
