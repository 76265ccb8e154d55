package splice

import (
	"errors"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// Pages as a file has them are followed within these numbers of rows.
const (
	minPageRows = 1000
	maxPageRows = 128 << 10
)

// ChunkOptionsOf returns how to encode a chunk so that it resembles one of a file: its codec, page
// version, page size in rows, encodings and checksums. It reads a few hundred bytes of the chunk, and
// its offset index.
func ChunkOptionsOf(f *File, rg, col int) (o ChunkOptions, err error) {
	defer func() {
		if err != nil {
			err = fmt.Errorf("%s: row group %d, column %q: %w", f.name, rg, f.schema.Leaves[col].Path, err)
		}
	}()
	defer guard(&err)
	c := &f.groups[rg].Columns[col]
	o = ChunkOptions{
		Codec: c.Codec, Dictionary: c.HasDictionary, PageVersion: 1,
		PlainDictionary: slices.Contains(c.Encodings, format.PlainDictionary),
	}
	if c.HasPageIndex {
		// An index that can't be used is an optimisation that is not there.
		if index, err := f.readOffsetIndex(c, f.groups[rg].Rows); err == nil {
			most := int64(0)
			for _, p := range index.Pages {
				most = max(most, p.Rows)
			}
			o.PageRows = int(min(max(most, minPageRows), maxPageRows))
		}
	}
	h, err := f.firstDataHeader(c)
	if err != nil {
		return o, err
	}
	o.CRC = h.hasCRC
	if h.kind == format.DataPageV2 {
		o.PageVersion, o.PlainDictionary = 2, false
	}
	return o, nil
}

// firstDataHeader reads the header of a chunk's first data page; the zero value if it has none.
func (f *File) firstDataHeader(c *Chunk) (pageHeader, error) {
	for off, end := c.Offset, c.Offset+c.CompressedSize; off < end; {
		h, err := f.headerAt(off, end)
		if err != nil || h.kind != format.DictionaryPage && h.kind != format.IndexPage {
			return h, err
		}
		off += int64(h.size) + int64(h.compressed)
	}
	return pageHeader{}, nil
}

func (f *File) headerAt(off, end int64) (pageHeader, error) {
	for n := int64(firstHeader); ; n *= 8 {
		data, err := f.read(section{off, min(n, end-off)})
		if err != nil {
			return pageHeader{}, err
		}
		h, err := parsePageHeader(data)
		if errors.Is(err, errShortHeader) && n < end-off && n < maxHeaderBytes {
			continue
		}
		if errors.Is(err, errShortHeader) {
			return h, corruptf("the page header passes the end of the chunk")
		}
		return h, err
	}
}
