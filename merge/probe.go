package merge

import (
	"bytes"
	"context"
	"encoding/binary"
	"math"
	"sort"
	"sync"

	"github.com/hupsert/hupsert/merge/splice"
)

// probeRows is how many rows are encoded and looked up at a time.
const probeRows = 4096

// prober looks up the keys of old row groups in the source's index. Only key columns are decoded,
// and of those only the pages whose bounds hold some source key.
type prober struct {
	source *source
	band   *band
	mirror bool
	finder finder
	read   int64
}

// probe fills the row group's hits in the band.
func (p *prober) probe(ctx context.Context, g *rowGroup) error {
	g.hits, g.nullN = g.hits[:0], 0 // as many in every band
	if p.mirror {
		g.all = true
		return p.scan(ctx, g, []splice.Rows{{From: 0, To: g.rows}})
	}
	ranges, known := p.prune(g)
	if len(ranges) == 0 && known {
		return nil
	}
	return p.scan(ctx, g, ranges)
}

// prune rules out what bounds show to hold no source key: the whole row group, or pages. It counts
// the rows with NULL in the key where statistics tell them; known is false where they do not.
func (p *prober) prune(g *rowGroup) (ranges []splice.Rows, known bool) {
	whole := []splice.Rows{{From: 0, To: g.rows}}
	nullColumns, nulls := 0, int64(0)
	for _, part := range g.file.keys {
		if part.leaf.MaxDef == 0 {
			continue
		}
		st := g.chunk(part.leaf).Stats
		if st == nil || st.NullCount < 0 {
			return whole, false
		}
		if st.NullCount > 0 {
			nullColumns++
			nulls = st.NullCount
		}
	}
	// Where NULL is a key, bounds say nothing of it; in two columns the NULLs may share rows.
	if nullColumns > 1 || (nullColumns > 0 && p.source.layout.nullable) {
		return whole, false
	}
	for i, part := range g.file.keys {
		st := g.chunk(part.leaf).Stats
		if st != nil && !p.mayHold(i, part, st.Min, st.Max) {
			g.nullN = nulls
			return nil, true
		}
	}
	if nulls > 0 {
		return whole, false
	}
	return p.prunePages(g, whole), true
}

// prunePages intersects, over the key columns, the rows of pages that may hold a source key.
func (p *prober) prunePages(g *rowGroup, ranges []splice.Rows) []splice.Rows {
	for i, part := range g.file.keys {
		idx, err := g.file.file.PageIndex(g.ordinal, part.leaf.Index)
		if err != nil || idx == nil {
			continue // an index is an optimisation; without it the pages are read
		}
		var keep []splice.Rows
		for _, page := range idx.Pages {
			if !page.NullPage && p.mayHold(i, part, page.Min, page.Max) {
				keep = append(keep, splice.Rows{From: page.FirstRow, To: page.FirstRow + page.Rows})
			}
		}
		ranges = intersect(ranges, keep)
	}
	return ranges
}

func intersect(a, b []splice.Rows) []splice.Rows {
	var out []splice.Rows
	for len(a) > 0 && len(b) > 0 {
		from, to := max(a[0].From, b[0].From), min(a[0].To, b[0].To)
		if from < to {
			if n := len(out); n > 0 && out[n-1].To == from {
				out[n-1].To = to
			} else {
				out = append(out, splice.Rows{From: from, To: to})
			}
		}
		if a[0].To < b[0].To {
			a = a[1:]
		} else {
			b = b[1:]
		}
	}
	return out
}

// mayHold reports whether some source key's part lies within bounds.
func (p *prober) mayHold(part int, fp filePart, lo, hi []byte) bool {
	if lo == nil || hi == nil || p.source.layout.nullable {
		return true
	}
	min, max, err := fp.enc.bounds(lo, hi)
	if err != nil || p.within(part, fp, min, max) {
		return true
	}
	if !isFloat(p.source.key[part].part.typ) {
		return false
	}
	nan := bytes.Repeat([]byte{0xFF}, fp.enc.width) // bounds pass NaN by
	return p.within(part, fp, nan, nan)
}

// within is mayHold of encoded bounds. The first part of sorted keys is searched exactly; other parts are
// held against the source's own range.
func (p *prober) within(part int, fp filePart, min, max []byte) bool {
	if part != 0 || !p.band.order.known() {
		return p.band.overlaps(part, min, max)
	}
	holders := p.band.holders()
	at := sort.Search(holders, func(i int) bool {
		return bytes.Compare(p.band.prefix(p.band.order.row(i), fp.enc.width), min) >= 0
	})
	if at == holders {
		return false
	}
	first := p.band.prefix(p.band.order.row(at), fp.enc.width)
	if fp.enc.width == 0 {
		// A bound of a byte array that other parts follow ends with a mark; a longer value may still
		// begin with the bound's bytes.
		max = bytes.TrimSuffix(max, []byte{0, 1})
		return bytes.Compare(first, max) <= 0 || bytes.HasPrefix(first, max)
	}
	return bytes.Compare(first, max) <= 0
}

// prefix is the first part of a key, or the whole key where it has no fixed width.
func (b *band) prefix(row, width int) []byte {
	k := b.keys.at(row)
	if width > 0 {
		return k[:width]
	}
	return k
}

// overlaps reports whether the source's own range of a fixed-width part meets the bounds.
func (b *band) overlaps(part int, lo, hi []byte) bool {
	if b.source.layout.width == 0 || b.n == 0 {
		return b.n > 0
	}
	if b.ranges == nil {
		return true
	}
	r := b.ranges[part]
	return bytes.Compare(r.min, hi) <= 0 && bytes.Compare(lo, r.max) <= 0
}

// partRange is the smallest and largest value of one key part among the rows that hold their key.
type partRange struct{ min, max []byte }

// measureRanges finds the range of each part of fixed-width keys.
func (b *band) measureRanges(o *Options) {
	if b.source.layout.width == 0 || b.n == 0 {
		return
	}
	b.ranges = make([]partRange, len(b.source.key))
	at := 0
	for i, k := range b.source.key {
		w := k.part.width()
		part := func(row int) []byte { return b.keys.at(row)[at : at+w] }
		switch {
		case i == 0 && b.order.asTheyCame:
			b.ranges[i] = partRange{part(0), part(b.n - 1)}
		case w <= 8:
			b.ranges[i] = b.numberRange(at, w, o)
		default:
			b.ranges[i] = b.bytesRange(part)
		}
		at += w
	}
}

// numberRange is the range of a part of up to eight bytes, which compare as a number of so many bytes does.
func (b *band) numberRange(at, width int, o *Options) (r partRange) {
	const none = math.MaxUint64
	var mu sync.Mutex
	low, high, some := uint64(none), uint64(0), false
	inParts(b.n, o.workers(), func(from, to int) {
		l, h, met := b.numbers(at, width, from, to)
		mu.Lock()
		defer mu.Unlock()
		low, high, some = min(low, l), max(high, h), some || met
	})
	if some {
		r = partRange{bigEndian(low, width), bigEndian(high, width)}
	}
	return r
}

// numbers is the range of a part, as numbers, in rows [from, to) that hold their key; false where there is none.
func (b *band) numbers(at, width, from, to int) (low, high uint64, some bool) {
	low = math.MaxUint64
	var eight [8]byte
	for row := from; row < to; row++ {
		if !b.order.asTheyCame && *b.fate(row) != pending {
			continue
		}
		var v uint64
		if part := b.keys.data[row*b.keys.width+at:][:width]; width == 4 {
			v = uint64(binary.BigEndian.Uint32(part))
		} else {
			copy(eight[8-width:], part)
			v = binary.BigEndian.Uint64(eight[:])
		}
		low, high, some = min(low, v), max(high, v), true
	}
	return low, high, some
}

// bigEndian writes a number in so many bytes.
func bigEndian(v uint64, width int) []byte {
	return binary.BigEndian.AppendUint64(nil, v)[8-width:]
}

func (b *band) bytesRange(part func(row int) []byte) (r partRange) {
	for row := range b.n {
		if *b.fate(row) != pending {
			continue
		}
		v := part(row)
		if r.min == nil || bytes.Compare(v, r.min) < 0 {
			r.min = v
		}
		if r.max == nil || bytes.Compare(v, r.max) > 0 {
			r.max = v
		}
	}
	return r
}

// scan decodes the key columns of the ranges and looks their rows up.
func (p *prober) scan(ctx context.Context, g *rowGroup, ranges []splice.Rows) error {
	sc := scanner{prober: p, oldKeys: g.oldKeys(&p.source.layout, ranges)}
	defer sc.close(&p.read)
	filtered := p.band.filter != nil && g.withoutNulls()
	rest := int64(0) // rows for which the filter rests
	for _, r := range ranges {
		for row := r.From; row < r.To; {
			step := sc.run
			if filtered && rest <= 0 {
				step = sc.runFiltered
			}
			n, err := step(ctx, row, min(int64(probeRows), r.To-row))
			if err != nil {
				return err
			}
			row, rest = row+n, rest-n
			// Where many rows pass, looking at each twice costs more than it saves.
			if sc.passed > sc.seen/4 {
				rest = 16 * probeRows
			}
			sc.seen, sc.passed = 0, 0
		}
	}
	return nil
}

// scanner goes through the key columns of one row group.
type scanner struct {
	*prober
	*oldKeys
	may          []int64
	seen, passed int64 // of the last run: rows that the filter was asked about, and those it did not rule out
}

// run looks up to n rows up, and gives how many.
func (s *scanner) run(ctx context.Context, row, n int64) (int64, error) {
	n, err := s.oldKeys.read(ctx, row, n)
	if err == nil {
		s.lookUp(s.group, row, &s.keys, s.nulls[:n])
	}
	return n, err
}

// runFiltered is run that reads the other parts of a key only where one part may be of the source.
func (s *scanner) runFiltered(ctx context.Context, row, n int64) (int64, error) {
	f, l := s.band.filter, s.layout
	slot, left, err := s.cursors[f.part].at(ctx, row)
	if err != nil {
		return 0, err
	}
	s.cols[f.part] = cursorColumn{col: &s.cursors[f.part].col, from: slot}
	n = min(n, left)
	s.keys.reset()
	clear(s.nulls)
	if err := l.partKeys(&s.keys, s.nulls, f.part, s.enc, s.cols, int(n)); err != nil {
		return 0, s.explain(err)
	}
	may := s.may[:0]
	for i := range int(n) {
		if s.nulls[i] || f.may(s.keys.at(i)) {
			may = append(may, int64(i))
		}
	}
	s.may = may
	s.seen, s.passed = s.seen+n, s.passed+int64(len(may))
	for _, i := range may {
		if _, err := s.run(ctx, row+i, 1); err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lookUp finds the source rows of a run of old rows. Behind a row that was found the next are held against the next
// of the source, as many at once as are the same.
func (p *prober) lookUp(g *rowGroup, first int64, buf *keys, nulls []bool) {
	end := nextTrue(nulls, 0)
	for i, found := 0, true; i < len(nulls); {
		if i == end {
			p.meetNull(g, first+int64(i))
			i++
			end = nextTrue(nulls, i)
			continue
		}
		if found {
			if s, n := p.finder.follow(buf, i, end); n > 0 {
				g.hit(uint32(first)+uint32(i), uint32(s), n)
				i += n
				continue
			}
		}
		var s int
		if s, found = p.finder.find(buf.at(i)); found {
			g.hit(uint32(first)+uint32(i), uint32(s), 1)
		}
		i++
	}
}

// meetNull notes a row with NULL in its key.
func (p *prober) meetNull(g *rowGroup, row int64) {
	g.nullN++
	if !g.all {
		return
	}
	if g.nulls == nil {
		g.nulls = make([]bool, g.rows)
	}
	g.nulls[row] = true
}

// nextTrue is where the first flag from i on is that is set, or the end.
func nextTrue(flags []bool, i int) int {
	for i < len(flags) && !flags[i] {
		i++
	}
	return i
}
