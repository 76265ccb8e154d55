package splice

import (
	"context"
	"errors"
	"fmt"
	"io"

	"github.com/hupsert/hupsert/merge/column"
)

// errVerify is wrapped where an encoded chunk does not decode to what was appended.
var errVerify = errors.New("encoded chunk differs from what was appended")

// Verify decodes the chunk and compares rows, slots, slots without value and a checksum of levels and
// values with those of what was appended. It may run beside other encoders and the writing of the
// chunk.
func (c *EncodedChunk) Verify(ctx context.Context) error {
	chunk := &Chunk{
		Codec: c.o.Codec, NumValues: c.Values, CompressedSize: c.Bytes(), UncompressedSize: c.Uncompressed,
		Encodings: c.encodings(), HasDictionary: c.dict != nil,
	}
	p := newPageReader(c.reader(), c.leaf, chunk, c.Rows, nil)
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
	for _, part := range append([][]byte{c.dict}, c.blocks...) {
		r.parts = append(r.parts, part)
		r.ends = append(r.ends, r.size()+int64(len(part)))
	}
	return r
}

// joined reads byte slices as one.
type joined struct {
	parts [][]byte
	ends  []int64
}

func (j *joined) size() int64 {
	if len(j.ends) == 0 {
		return 0
	}
	return j.ends[len(j.ends)-1]
}

func (j *joined) ReadAt(p []byte, off int64) (n int, err error) {
	for i, part := range j.parts {
		if start := j.ends[i] - int64(len(part)); off < j.ends[i] && n < len(p) {
			copied := copy(p[n:], part[off-start:])
			n, off = n+copied, off+int64(copied)
		}
	}
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}
