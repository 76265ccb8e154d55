package splice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sort"

	"github.com/hupsert/hupsert/merge/column"
)

// errVerify is wrapped where an encoded chunk does not decode to what was appended.
var errVerify = errors.New("encoded chunk differs from what was appended")

// Verify decodes the chunk and compares rows, slots, slots without value and a checksum of levels and
// values with those of what was appended. It may run beside other encoders and the writing of the
// chunk. Pages that were taken over from a file are left out. A Bloom filter that misses a value is dropped.
func (c *EncodedChunk) Verify(ctx context.Context) error {
	chunk := &Chunk{
		Codec: c.o.Codec, NumValues: c.Values, CompressedSize: c.Bytes(), UncompressedSize: c.Uncompressed,
		Encodings: c.encodings(), HasDictionary: c.dict != nil,
	}
	var p *PageReader
	if c.storedBytes == 0 {
		p = newPageReader(c.reader(), c.leaf, chunk, c.Rows, nil)
	} else {
		pages, rows := c.encodedPages()
		p = newPageReader(c.reader(), c.leaf, chunk, c.Rows, rows)
		p.usePages(pages)
	}
	defer p.Close()
	sum := newSlotSum(c.leaf)
	var into column.Column
	var dict dictionaryHashes
	var hashes []uint64
	for {
		_, _, err := p.Next(ctx, &into)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return fmt.Errorf("verify: %w", err)
		}
		if _, misses := c.o.Bloom.misses(&into); misses {
			c.o.Bloom = nil
		}
		sum.levels(&into, 0, into.Slots)
		for at := 0; at < into.Slots; at += indexBlock {
			end := min(at+indexBlock, into.Slots)
			if into.Dict != nil {
				hashes = dict.append(hashes[:0], &into, at, end)
			} else {
				hashes = appendHashes(hashes[:0], &into, at, end)
			}
			sum.hashed(hashes)
		}
	}
	if !sum.equal(&c.sum) {
		return fmt.Errorf("column %q: %w: %d rows, %d slots, %d null; appended %d, %d, %d", c.leaf.Path, errVerify,
			sum.rows, sum.slots, sum.nulls, c.sum.rows, c.sum.slots, c.sum.nulls)
	}
	return nil
}

// dictionaryHashes holds the hashes of a dictionary that many pages share.
type dictionaryHashes struct {
	of     *column.Vector
	hashes []uint64
}

// append appends the hashes of the values in slots [from, to) of a column that has a dictionary.
func (d *dictionaryHashes) append(dst []uint64, c *column.Column, from, to int) []uint64 {
	if d.of != c.Dict {
		d.of, d.hashes = c.Dict, d.hashes[:0]
		for i := range c.Dict.Len() {
			d.hashes = append(d.hashes, hashValue(c.Dict.At(i)))
		}
	}
	for i := from; i < to; i++ {
		if !c.Null(i) {
			dst = append(dst, d.hashes[c.Index[i]])
		}
	}
	return dst
}

// reader returns the chunk's bytes as they will lie in the file.
func (c *EncodedChunk) reader() io.ReaderAt {
	r := &joined{}
	for _, p := range append([]part{{data: c.dict}}, c.parts...) {
		r.parts = append(r.parts, p)
		r.ends = append(r.ends, r.size()+p.size())
	}
	return r
}

// joined reads parts as one.
type joined struct {
	parts []part
	ends  []int64
}

func (j *joined) size() int64 {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

// ReadAt implements io.ReaderAt.
func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	first := sort.Search(len(j.ends), func(i int) bool { return j.ends[i] > off })
	for i := first; i < len(j.parts) && n < len(p); i++ {
		part := &j.parts[i]
		at := off + int64(n) - (j.ends[i] - part.size())
		if part.file == nil {
			n += copy(p[n:], part.data[at:])
			continue
		}
		take := min(len(p)-n, int(part.n-at))
		if err := readFull(part.file.r, p[n:n+take], part.off+at); err != nil {
			return n, err
		}
		n += take
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// encodedPages lists the pages that were encoded, by their place in the chunk's bytes, where some were
// not; and the rows of these.
func (c *EncodedChunk) encodedPages() (pages []PageInfo, rows []Rows) {
	rows = []Rows{} // nil would be all
	base := int64(len(c.dict))
	for _, p := range c.pages {
		pages = append(pages, PageInfo{FirstRow: p.firstRow, Rows: int64(p.rows), Offset: base + p.offset, Size: int32(p.size)})
		if !p.stored {
			rows = append(rows, Rows{From: p.firstRow, To: p.firstRow + int64(p.rows)})
		}
	}
	return pages, rows
}
