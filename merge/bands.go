package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"slices"
	"sort"

	"github.com/hupsert/hupsert/merge/spill"
)

const (
	// rowOverhead is about what a row takes in a band beside its key and version: its number, its place in
	// the order, and in the index.
	rowOverhead = 24
	// sampledBatches and sampledKeys are from how many batches how many keys are looked at each to bound
	// the bands.
	sampledBatches = 64
	sampledKeys    = 256
	// maxBands is how many bands there are at most: the old keys are gone through once for each. It is
	// reached where keys take forty times the memory, and then a band takes more than its part.
	maxBands = 256
	// minChunk and maxChunk bound what of a band is collected before it is written.
	minChunk = 4 << 10
	maxChunk = 256 << 10
)

// bandBytes is what a band may take of the memory.
func (o *Options) bandBytes() int64 { return max(o.Memory/6, 1) }

// bounds divides the keys into bands of which one fits into memory at a time: band i holds the keys from
// bound i-1 on and below bound i. nil: one band holds all.
func (s *source) bounds(ctx context.Context, o *Options) ([][]byte, error) {
	least := s.layout.width + rowOverhead
	exact := s.layout.width > 0 && len(s.version) == 0
	if o.Spill == nil || exact && int64(s.rows.n)*int64(least) <= o.bandBytes() ||
		s.rows.bytes()+int64(s.rows.n)*int64(least) <= o.bandBytes() {
		return nil, nil
	}
	sample, bytesPerRow, err := s.sample(ctx)
	if err != nil {
		return nil, err
	}
	n := min(int64(s.rows.n)*int64(bytesPerRow+rowOverhead)/o.bandBytes()+1, maxBands)
	if n <= 1 {
		return nil, nil
	}
	slices.SortFunc(sample, bytes.Compare)
	sample = slices.CompactFunc(sample, bytes.Equal)
	var out [][]byte
	for i := int64(1); i < n; i++ {
		at := i * int64(len(sample)) / n
		if at > 0 && (len(out) == 0 || !bytes.Equal(out[len(out)-1], sample[at])) {
			out = append(out, sample[at])
		}
	}
	return out, nil
}

// sample gives keys from all over the source, and about how many bytes a row's key and version take.
func (s *source) sample(ctx context.Context) (sample [][]byte, bytesPerRow int, err error) {
	r, err := s.newKeyReader()
	if err != nil {
		return nil, 0, err
	}
	defer r.close()
	total, rows := 0, 0
	step := max(1, len(s.rows.batches)/sampledBatches)
	for i := 0; i < len(s.rows.batches); i += step {
		var found rowKeys
		b := s.rows.batches[i]
		if err := r.read(ctx, b, &found); err != nil {
			return nil, 0, err
		}
		for j := 0; j < b.n; j += max(1, b.n/sampledKeys) {
			sample = append(sample, bytes.Clone(found.keys.at(j)))
		}
		for _, k := range []*keys{&found.keys, &found.versions, &found.against} {
			total += len(k.data) + 8*len(k.ends)
		}
		rows += b.n
	}
	return sample, total/max(rows, 1) + 1, nil
}

// bandWriter puts rows of one share into bands.
type bandWriter struct {
	source *source
	space  *spill.Space
	bounds [][]byte
	open   []openBand
	chunk  int    // bytes of a band that wait to be written
	last   []byte // the key before
	sorted bool   // so far the keys ascend
	first  []byte
}

// openBand is what of a band is not written yet, and where the rest is.
type openBand struct {
	rowKeys
	rows   []uint32
	n      int
	stored []spill.Block
}

// encodeBands puts the keys and versions of all rows into bands on disk.
func (s *source) encodeBands(ctx context.Context, bounds [][]byte, o *Options) error {
	shares := s.rows.shares(o.workers())
	writers := make([]*bandWriter, len(shares))
	chunk := min(maxChunk, max(minChunk, o.bandBytes()/int64(len(shares)*(len(bounds)+1))))
	for i := range writers {
		writers[i] = &bandWriter{source: s, space: o.Spill, bounds: bounds, open: make([]openBand, len(bounds)+1), chunk: int(chunk), sorted: true}
	}
	nulls, err := s.eachShare(ctx, shares, func(i int, b *sourceBatch, read func(*rowKeys) error) error {
		var k rowKeys
		if err := read(&k); err != nil {
			return err
		}
		return writers[i].add(b.base, b.n, &k)
	})
	if err != nil {
		return err
	}
	if err := s.refuseNullKeys(ctx, nulls, o); err != nil {
		return err
	}
	s.sorted = len(nulls) == 0
	for i, w := range writers {
		s.sorted = s.sorted && w.sorted && (i == 0 || bytes.Compare(writers[i-1].last, w.first) < 0)
		if err := w.flush(0); err != nil {
			return err
		}
	}
	for i := range len(bounds) + 1 {
		b := &band{source: s}
		for _, w := range writers {
			b.n += w.open[i].n
			b.stored = append(b.stored, w.open[i].stored...)
		}
		s.bands = append(s.bands, b)
	}
	return nil
}

func (w *bandWriter) add(base, n int, k *rowKeys) error {
	for i := range n {
		key := k.keys.at(i)
		if w.first == nil {
			w.first = append([]byte{}, key...) // not nil, though it may be empty
		} else {
			w.sorted = w.sorted && bytes.Compare(w.last, key) < 0
		}
		w.last = append(w.last[:0], key...)
		at := sort.Search(len(w.bounds), func(i int) bool { return bytes.Compare(key, w.bounds[i]) < 0 })
		o := &w.open[at]
		o.n++
		o.rows = append(o.rows, uint32(base+i))
		o.keys.add(&k.keys, i)
		o.versions.add(&k.versions, i)
		o.against.add(&k.against, i)
	}
	return w.flush(w.chunk)
}

// add appends a key of another list, if that has any.
func (k *keys) add(from *keys, i int) {
	if len(from.data) == 0 && len(from.ends) == 0 {
		return
	}
	k.width = from.width
	k.data = append(k.data, from.at(i)...)
	if k.width == 0 {
		k.ends = append(k.ends, uint64(len(k.data)))
	}
}

// flush writes the bands of which more than limit bytes wait.
func (w *bandWriter) flush(limit int) error {
	for i := range w.open {
		o := &w.open[i]
		if len(o.rows) == 0 || len(o.keys.data)+len(o.versions.data)+4*len(o.rows) < limit {
			continue
		}
		block, err := w.space.Append(o.bytes())
		if err != nil {
			return err
		}
		o.stored = append(o.stored, block)
		o.rows = o.rows[:0]
		o.keys.reset()
		o.versions.reset()
		o.against.reset()
	}
	return nil
}

// bytes writes what waits: the number of rows, the rows, and each list as its size, its bytes and, of
// keys of any length, where they end.
func (o *openBand) bytes() []byte {
	le := binary.LittleEndian
	p := le.AppendUint64(nil, uint64(len(o.rows)))
	for _, row := range o.rows {
		p = le.AppendUint32(p, row)
	}
	for _, k := range []*keys{&o.keys, &o.versions, &o.against} {
		p = le.AppendUint64(p, uint64(len(k.data)))
		p = append(p, k.data...)
		p = le.AppendUint64(p, uint64(len(k.ends)))
		for _, end := range k.ends {
			p = le.AppendUint64(p, end)
		}
	}
	return p
}

// restore reads the band from the disk, if it is there.
func (b *band) restore(o *Options) error {
	if b.stored == nil {
		return nil
	}
	b.rows = make([]uint32, 0, b.n)
	b.keys.width = b.source.layout.width
	if w := b.keys.width; w > 0 {
		b.keys.data = make([]byte, 0, b.n*w)
	}
	var against keys
	var buf []byte
	for _, block := range b.stored {
		var err error
		if buf, err = o.Spill.Read(block, buf); err != nil {
			return err
		}
		p := buf
		number := func() int {
			n := binary.LittleEndian.Uint64(p)
			p = p[8:]
			return int(n)
		}
		for range number() {
			b.rows = append(b.rows, binary.LittleEndian.Uint32(p))
			p = p[4:]
		}
		for _, k := range []*keys{&b.keys, &b.versions, &against} {
			from := uint64(len(k.data))
			n := number()
			k.data = append(k.data, p[:n]...)
			p = p[n:]
			for range number() {
				k.ends = append(k.ends, from+binary.LittleEndian.Uint64(p))
				p = p[8:]
			}
		}
	}
	switch len(b.source.stored) {
	case 0:
	case len(b.source.version):
		b.against = &b.versions
	default:
		b.against = &against
	}
	b.stored = nil
	return nil
}
