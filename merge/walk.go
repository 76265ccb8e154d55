package merge

import (
	"bytes"
	"cmp"
	"container/heap"
	"context"
	"slices"
	"sync/atomic"

	"golang.org/x/sync/errgroup"
)

const (
	// maxWalked is how many row groups are walked side by side at most: of each, pages of the key columns are held.
	maxWalked = 64
	// walkedBytes is about what one of them takes at most for each key column: pages and their values.
	walkedBytes = 4 << 20
	// minWalked is what walks may take however little memory there is.
	minWalked = 16 << 20
)

// keyRun is a row group whose keys ascend, or repeat.
type keyRun struct {
	group       int
	first, last []byte // nil: it has no key
	repeats     bool
	nulls       int64
	nullRows    []int64 // the first of them
}

// walkAll looks whether the keys of every row group ascend, and gives nil as soon as one does not, or too
// many would have to be walked side by side.
func (c *keyChecker) walkAll(ctx context.Context) ([]keyRun, error) {
	runs := make([]keyRun, len(c.groups))
	var unsorted atomic.Bool
	err := c.each(ctx, func(ctx context.Context, _, group int) error {
		if unsorted.Load() {
			return nil
		}
		run, sorted, err := c.walk(ctx, group)
		if err == nil && !sorted {
			unsorted.Store(true)
		}
		runs[group] = run
		return err
	})
	if err != nil || unsorted.Load() {
		return nil, err
	}
	for _, beside := range overlapping(runs) {
		bytes := int64(0)
		for _, r := range beside {
			bytes += c.walked(r.group)
		}
		if len(beside) > maxWalked || c.Spill != nil && len(beside) > 1 && bytes > max(c.Memory, minWalked)/int64(c.Parallel) {
			return nil, nil
		}
	}
	if p := c.Progress; p != nil {
		for _, g := range c.groups {
			p.Probed.Add(g.bytes())
		}
	}
	return runs, nil
}

// walked is about how many bytes a row group takes on a walk.
func (c *keyChecker) walked(group int) int64 {
	g, bytes := c.groups[group], int64(0)
	for _, k := range g.file.keys {
		bytes += min(walkedBytes, 2*g.chunk(k.leaf).UncompressedSize)
	}
	return bytes
}

// walk goes through a row group up to the first key that is below the one before.
func (c *keyChecker) walk(ctx context.Context, group int) (run keyRun, sorted bool, err error) {
	run = keyRun{group: group}
	s := c.scan(group)
	defer s.close()
	for {
		first, n, err := s.next(ctx)
		if err != nil || n == 0 {
			return run, err == nil, err
		}
		before := run.last
		for i := range n {
			if s.nulls[i] {
				run.nulls++
				if len(run.nullRows) < c.Sample {
					run.nullRows = append(run.nullRows, first+int64(i))
				}
				continue
			}
			key := s.keys.at(i)
			if before != nil {
				switch order := bytes.Compare(before, key); {
				case order > 0:
					return run, false, nil
				case order == 0:
					run.repeats = true
				}
			} else {
				run.first = append([]byte{}, key...)
			}
			before = key
		}
		if before != nil {
			run.last = append(run.last[:0], before...) // the scan writes over it
			if run.last == nil {
				run.last = []byte{} // a key of no bytes
			}
		}
	}
}

// overlapping groups runs whose keys lie between each other's. Runs without a key are in none.
func overlapping(runs []keyRun) [][]keyRun {
	sorted := slices.DeleteFunc(slices.Clone(runs), func(r keyRun) bool { return r.first == nil })
	slices.SortFunc(sorted, func(a, b keyRun) int { return cmp.Or(bytes.Compare(a.first, b.first), cmp.Compare(a.group, b.group)) })
	var out [][]keyRun
	var last []byte
	for _, r := range sorted {
		if len(out) == 0 || bytes.Compare(last, r.first) < 0 {
			out, last = append(out, nil), r.last
		}
		out[len(out)-1] = append(out[len(out)-1], r)
		if bytes.Compare(last, r.last) < 0 {
			last = r.last
		}
	}
	return out
}

// mergeRuns walks runs that overlap side by side. One that stands alone and repeats nothing is done.
func (c *keyChecker) mergeRuns(ctx context.Context, runs []keyRun) error {
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(c.Parallel)
	for _, beside := range overlapping(runs) {
		if len(beside) > 1 || beside[0].repeats {
			eg.Go(func() error { return c.sideBySide(ctx, beside) })
		}
	}
	return eg.Wait()
}

// walker is a row group on a walk, at one of its keys.
type walker struct {
	*keyScan
	group int
	first int64 // the row of the first key at hand
	n, at int
}

// next moves to the next key; false at the end.
func (w *walker) next(ctx context.Context) (bool, error) {
	for {
		for w.at++; w.at < w.n; w.at++ {
			if !w.nulls[w.at] {
				return true, nil
			}
		}
		var err error
		if w.first, w.n, err = w.keyScan.next(ctx); err != nil || w.n == 0 {
			return false, w.keyScan.group.file.wrap(err)
		}
		w.at = -1
	}
}

func (w *walker) key() []byte    { return w.keys.at(w.at) }
func (w *walker) place() place64 { return place64{w.group, w.first + int64(w.at)} }

// walkers are a heap by key, and by row group among equals.
type walkers []*walker

func (h walkers) Len() int      { return len(h) }
func (h walkers) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h walkers) Less(i, j int) bool {
	return cmp.Or(bytes.Compare(h[i].key(), h[j].key()), cmp.Compare(h[i].group, h[j].group)) < 0
}
func (h *walkers) Push(x any) { *h = append(*h, x.(*walker)) }
func (h *walkers) Pop() any {
	last := (*h)[len(*h)-1]
	*h = (*h)[:len(*h)-1]
	return last
}

// sideBySide walks runs together and finds what stands in several of them, or twice in one.
func (c *keyChecker) sideBySide(ctx context.Context, runs []keyRun) error {
	var h walkers
	var all []*walker
	defer func() {
		for _, w := range all {
			w.close()
		}
	}()
	for _, r := range runs {
		w := &walker{keyScan: c.scan(r.group), group: r.group}
		all = append(all, w)
		more, err := w.next(ctx)
		if err != nil {
			return err
		}
		if more {
			h = append(h, w)
		}
	}
	heap.Init(&h)
	var last []byte
	var now repeated
	end := func() {
		if now.rows > 1 {
			c.addRepeated(now)
		}
	}
	for len(h) > 0 {
		w := h[0]
		if now.rows == 0 || !bytes.Equal(last, w.key()) {
			end()
			now, last = repeated{}, append(last[:0], w.key()...)
		}
		now.add(w.place())
		more, err := w.next(ctx)
		if err != nil {
			return err
		}
		if more {
			heap.Fix(&h, 0)
		} else {
			heap.Pop(&h)
		}
	}
	end()
	return nil
}
