package splice

import (
	"bytes"
	"fmt"
	"math"
	"math/bits"

	"github.com/parquet-go/parquet-go/bloom"

	"github.com/hupsert/hupsert/merge/column"
)

// BloomFilter is the Bloom filter of a column chunk (parquet-format, BloomFilter.md): split blocks and xxHash of
// 64 bits, which is all that the format has. Readers pass a chunk by where a value that they look for is not in
// it. So values are added and never taken out: what a chunk loses stays, and makes the filter say "perhaps" more often.
//
// A nil filter takes values and keeps none.
type BloomFilter struct {
	bits  []byte
	added bool // a value that may not have been in it
}

// bloomBlock is the size of a block in bytes; a value sets one bit in each of its eight words.
const bloomBlock = 32

// mostBloomChance is the share of values that are not in a chunk, and that its filter may yet say are: beyond it
// a filter with new values is given up.
const mostBloomChance = 0.1

// Sizes of a new filter: bits for each value, of which there are at most as many as rows, and the limits, as parquet-mr has
// them. Readers want a power of two.
const (
	bloomBitsPerValue = 10
	mostBloomBytes    = 1 << 20
)

// NewBloomFilter returns an empty filter for so many values.
func NewBloomFilter(values int) *BloomFilter {
	size := min(max(values*bloomBitsPerValue/8, bloomBlock), mostBloomBytes)
	return &BloomFilter{bits: make([]byte, 1<<bits.Len(uint(size-1)))}
}

// BloomFilter reads the filter of a chunk; nil where it has none, or one of a kind that is not known.
func (f *File) BloomFilter(rg, col int) (b *BloomFilter, err error) {
	c := &f.groups[rg].Columns[col]
	if !c.BloomFilter {
		return nil, nil
	}
	defer func() {
		if err != nil {
			b, err = nil, fmt.Errorf("%s: row group %d, column %q, Bloom filter: %w", f.name, rg, f.schema.Leaves[col].Path, err)
		}
	}()
	defer guard(&err)
	if c.bloomAt > f.size {
		return nil, corruptf("offset %d in a file of %d bytes", c.bloomAt, f.size)
	}
	head, err := f.read(section{c.bloomAt, min(bloomHeaderBytes, f.size-c.bloomAt)})
	if err != nil {
		return nil, err
	}
	header, n, err := parseThrift(head)
	if err != nil {
		return nil, err
	}
	for _, kind := range []int16{2, 3, 4} { // algorithm, hash, compression: the first of each is known
		if choice := header.field(kind); choice == nil || choice.field(1) == nil {
			return nil, nil
		}
	}
	size := header.int(1, 0)
	if size <= 0 || size%bloomBlock != 0 || size > math.MaxInt32 {
		return nil, corruptf("%d bytes are no blocks of %d", size, bloomBlock)
	}
	data, err := f.read(section{c.bloomAt + int64(n), size})
	if err != nil {
		return nil, err
	}
	return &BloomFilter{bits: bytes.Clone(data)}, nil // which may be a part of the file's tail, not aligned
}

func (b *BloomFilter) blocks() bloom.SplitBlockFilter { return bloom.MakeSplitBlockFilter(b.bits) }

// add adds the values in slots [from, to) of a column.
func (b *BloomFilter) add(c *column.Column, from, to int) {
	if b == nil {
		return
	}
	blocks := b.blocks()
	for i := from; i < to; i++ {
		if !c.Null(i) {
			blocks.Insert(bloom.XXH64{}.Sum64(c.Value(i)))
			b.added = true
		}
	}
}

// holds reports whether a value, in PLAIN without length, may be in the chunk.
func (b *BloomFilter) holds(v []byte) bool { return b.blocks().Check(bloom.XXH64{}.Sum64(v)) }

// misses returns the first value of a column that is not in the filter.
func (b *BloomFilter) misses(c *column.Column) (v []byte, misses bool) {
	if b == nil {
		return nil, false
	}
	for i := range c.Slots {
		if v := c.Value(i); !c.Null(i) && !b.holds(v) {
			return v, true
		}
	}
	return nil, false
}

// overfilled reports whether values were added, and the filter says "perhaps" of too many others.
func (b *BloomFilter) overfilled() bool {
	set := 0
	for _, v := range b.bits {
		set += bits.OnesCount8(v)
	}
	// A value looks at one bit in each of eight words.
	return b.added && math.Pow(float64(set)/float64(8*len(b.bits)), 8) > mostBloomChance
}

// append appends the filter as it stands in a file.
func (b *BloomFilter) append(dst []byte) []byte {
	w := compactWriter{buf: dst}
	w.begin()
	w.int32(1, int32(len(b.bits)))
	for _, kind := range []int16{2, 3, 4} {
		w.open(kind)
		w.open(1)
		w.end()
		w.end()
	}
	w.end()
	return append(w.buf, b.bits...)
}

// AppendNew is Append of values that the chunk's Bloom filter may not have yet.
func (e *ChunkEncoder) AppendNew(c *column.Column, from, to int) error {
	e.o.Bloom.add(c, from, to)
	return e.Append(c, from, to)
}

// bloomFilter is the filter to write with the chunk; nil for none.
func (c *EncodedChunk) bloomFilter() *BloomFilter {
	if c.o.Bloom == nil || c.o.Bloom.overfilled() {
		return nil
	}
	return c.o.Bloom
}
