package merge

import (
	"context"
	"encoding/binary"
	"math"
	"math/bits"
	"slices"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/spill"
)

const (
	digestBytes = 8
	// minDigestBands is into how many bands hashes are divided at least, so that they are sorted in
	// parallel; maxDigestBands at most, of which each takes its part of a file.
	minDigestBands = 64
	maxDigestBands = 4096
	// minBandBytes is a band that needs no dividing.
	minBandBytes = 64 << 10
	// minDigests is how many hashes of a band are collected at least before they are written.
	minDigests = 64
	// candidateBytes is about what a key whose hash occurs twice takes beside its bytes.
	candidateBytes = 256
	// minCandidates are read again at once however little memory there is: each pass goes through all keys.
	minCandidates = 1024
)

// digests are the hashes of keys, divided into bands by their first bits.
type digests struct {
	space *spill.Space
	shift uint
	limit int // hashes of a band that wait in memory
	hands []digestHand
}

// digestHand is what one worker has collected.
type digestHand struct {
	waiting [][]uint64 // per band
	stored  [][]spill.Block
	bytes   int64 // of the keys themselves
	rows    int64
}

func (c *keyChecker) newDigests() *digests {
	total := c.report.Rows * digestBytes
	d := &digests{space: c.Spill, limit: math.MaxInt, hands: make([]digestHand, c.Parallel)}
	bands := int64(minDigestBands)
	if c.Spill != nil && total > c.Memory/2 {
		// A worker sorts one band at a time.
		for part := max(c.Memory/4/int64(c.Parallel), minBandBytes); bands < maxDigestBands && total/bands > part; {
			bands *= 2
		}
		d.limit = max(minDigests, int(min(c.Memory/4/int64(c.Parallel)/bands/digestBytes, 1<<15)))
	}
	d.shift = 64 - uint(bits.TrailingZeros64(uint64(bands)))
	for i := range d.hands {
		d.hands[i].waiting, d.hands[i].stored = make([][]uint64, bands), make([][]spill.Block, bands)
	}
	return d
}

// add takes a hash.
func (d *digests) add(worker int, h uint64) error {
	hand, band := &d.hands[worker], h>>d.shift
	hand.waiting[band] = append(hand.waiting[band], h)
	if len(hand.waiting[band]) < d.limit {
		return nil
	}
	p := make([]byte, 0, len(hand.waiting[band])*digestBytes)
	for _, h := range hand.waiting[band] {
		p = binary.LittleEndian.AppendUint64(p, h)
	}
	block, err := d.space.Append(p)
	hand.stored[band] = append(hand.stored[band], block)
	hand.waiting[band] = hand.waiting[band][:0]
	return err
}

// twice gives the hashes of a band that occur more than once, ascending, and forgets the band.
func (d *digests) twice(band int) ([]uint64, error) {
	var all []uint64
	var buf []byte
	for i := range d.hands {
		hand := &d.hands[i]
		all = append(all, hand.waiting[band]...)
		for _, block := range hand.stored[band] {
			var err error
			if buf, err = d.space.Read(block, buf); err != nil {
				return nil, err
			}
			for p := buf; len(p) > 0; p = p[digestBytes:] {
				all = append(all, binary.LittleEndian.Uint64(p))
			}
		}
		hand.waiting[band], hand.stored[band] = nil, nil
	}
	slices.Sort(all)
	var out []uint64
	for i := 1; i < len(all); i++ {
		if all[i] == all[i-1] && (len(out) == 0 || out[len(out)-1] != all[i]) {
			out = append(out, all[i])
		}
	}
	return out, nil
}

// findByHash finds the keys that stand more than once by their hashes, and compares those that have one in
// common.
func (c *keyChecker) findByHash(ctx context.Context) error {
	d := c.newDigests()
	if err := c.collect(ctx, d); err != nil {
		return err
	}
	limit := c.candidateLimit(d)
	var candidates []uint64
	for from, bands := 0, len(d.hands[0].waiting); from < bands; from += c.Parallel {
		found, err := c.sortBands(ctx, d, from, min(from+c.Parallel, bands))
		if err != nil {
			return err
		}
		for candidates = append(candidates, found...); len(candidates) > limit; candidates = candidates[limit:] {
			if err := c.confirm(ctx, candidates[:limit]); err != nil {
				return err
			}
		}
	}
	return c.confirm(ctx, candidates)
}

// collect hashes all keys, and counts rows with NULL.
func (c *keyChecker) collect(ctx context.Context, d *digests) error {
	return c.each(ctx, func(ctx context.Context, worker, group int) error {
		s := c.scan(group)
		defer s.close()
		nulls, nullRows := int64(0), []int64(nil)
		for {
			first, n, err := s.next(ctx)
			if err != nil {
				return err
			}
			if n == 0 {
				break
			}
			for i := range n {
				if s.nulls[i] {
					nulls++
					if len(nullRows) < c.Sample {
						nullRows = append(nullRows, first+int64(i))
					}
					continue
				}
				if err := d.add(worker, c.hash(s.keys.at(i))); err != nil {
					return err
				}
			}
			d.hands[worker].bytes += int64(len(s.keys.data))
			d.hands[worker].rows += int64(n)
		}
		c.addNulls(group, nulls, nullRows)
		if p := c.Progress; p != nil {
			p.Probed.Add(c.groups[group].bytes())
		}
		return nil
	})
}

// candidateLimit is how many keys are held at once to be compared.
func (c *keyChecker) candidateLimit(d *digests) int {
	if c.Spill == nil {
		return math.MaxInt
	}
	bytes, rows := int64(0), int64(1)
	for i := range d.hands {
		bytes, rows = bytes+d.hands[i].bytes, rows+d.hands[i].rows
	}
	return max(minCandidates, int(c.Memory/4/(bytes/rows+candidateBytes)))
}

// sortBands gives the hashes that occur more than once in some bands, ascending.
func (c *keyChecker) sortBands(ctx context.Context, d *digests, from, to int) ([]uint64, error) {
	found := make([][]uint64, to-from)
	eg, ctx := errgroup.WithContext(ctx)
	for i := range found {
		eg.Go(func() (err error) {
			if err := ctx.Err(); err != nil {
				return err
			}
			found[i], err = d.twice(from + i)
			return err
		})
	}
	err := eg.Wait()
	return slices.Concat(found...), err
}

// confirm reads the keys again that have one of the hashes, and counts those that are equal.
func (c *keyChecker) confirm(ctx context.Context, hashes []uint64) error {
	if len(hashes) == 0 {
		return nil
	}
	wanted := newHashSet(hashes)
	var mu sync.Mutex
	found := map[string]*repeated{}
	err := c.each(ctx, func(ctx context.Context, _, group int) error {
		s := c.scan(group)
		defer s.close()
		for {
			first, n, err := s.next(ctx)
			if err != nil || n == 0 {
				return err
			}
			for i := range n {
				if s.nulls[i] || !wanted.has(c.hash(s.keys.at(i))) {
					continue
				}
				mu.Lock()
				r := found[string(s.keys.at(i))]
				if r == nil {
					r = &repeated{}
					found[string(s.keys.at(i))] = r
				}
				r.add(place64{group, first + int64(i)})
				mu.Unlock()
			}
		}
	})
	for _, r := range found {
		if r.rows > 1 {
			c.addRepeated(*r)
		}
	}
	return err
}

// hashSet is a sorted list of hashes behind a bitmap that answers most misses.
type hashSet struct {
	list   []uint64
	bitmap []uint64
	shift  uint
}

func newHashSet(sorted []uint64) hashSet {
	words := uint64(8)
	for words*64 < 16*uint64(len(sorted)) {
		words *= 2
	}
	s := hashSet{list: sorted, bitmap: make([]uint64, words), shift: 64 - uint(bits.TrailingZeros64(words*64))}
	for _, h := range sorted {
		bit := h >> s.shift
		s.bitmap[bit>>6] |= 1 << (bit & 63)
	}
	return s
}

func (s *hashSet) has(h uint64) bool {
	bit := h >> s.shift
	if s.bitmap[bit>>6]&(1<<(bit&63)) == 0 {
		return false
	}
	_, ok := slices.BinarySearch(s.list, h)
	return ok
}
