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
	dict         []byte   // the dictionary page, header included
	blocks       [][]byte // the data pages end to end
	bodyBytes    int64    // in blocks
	pages        []indexPage
	counts       [16]int32 // data pages by encoding
	dictPages    int
	dictEncoding format.Encoding
	sum          slotSum
}

// Bytes is the size of the chunk in the file.
func (c *EncodedChunk) Bytes() int64 { return int64(len(c.dict)) + c.bodyBytes }

// Pages is the number of data pages.
func (c *EncodedChunk) Pages() int { return len(c.pages) }

func (c *EncodedChunk) add(page indexPage, slots int, encoding format.Encoding) {
	c.pages = append(c.pages, page)
	c.Rows += int64(page.rows)
	c.Values += int64(slots)
	c.Nulls += page.nulls
	c.counts[encoding]++
	if encoding != format.Plain {
		c.dictPages++
	}
}

// total is the bounds of the whole chunk.
func (c *EncodedChunk) total() bounds {
	var s bounds
	for _, p := range c.pages {
		c.bounder.merge(&s, p.bounds)
	}
	if s.nan {
		return bounds{}
	}
	return s
}

// encodings lists the encodings of levels, dictionary page and data pages, each once.
func (c *EncodedChunk) encodings() []format.Encoding {
	var list []format.Encoding
	if c.dict != nil {
		list = append(list, c.dictEncoding)
	}
	for encoding, pages := range c.counts {
		if pages > 0 && !slices.Contains(list, format.Encoding(encoding)) {
			list = append(list, format.Encoding(encoding))
		}
	}
	if c.leaf.MaxDef > 0 || c.leaf.MaxRep > 0 {
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
	kind := format.DataPage
	if c.o.PageVersion == 2 {
		kind = format.DataPageV2
	}
	for encoding, pages := range c.counts {
		if pages > 0 {
			list = append(list, format.PageEncodingStats{
				PageType: kind, Encoding: format.Encoding(encoding), Count: pages,
			})
		}
	}
	return list
}
