package merge

import (
	"bytes"
	"context"
	"errors"
	"slices"
)

// oldCopy is an old row that has the key of a source row of another partition.
type oldCopy struct {
	holder     int // source row
	part, file int32
	row        int64
	stale      bool // the old row is newer
}

// copies finds the old rows, of partitions that are in reach, that have the keys of rows of others.
func (l *locator) copies(ctx context.Context, b *band) ([]oldCopy, error) {
	parts := make([]int, len(l.Partitions))
	for i := range parts {
		parts[i] = i
	}
	homes := map[int]bool{}
	for row := range b.n {
		homes[l.home(b.row(row))] = true
	}
	// The keys of rows that go there say nothing.
	parts = slices.DeleteFunc(parts, func(p int) bool {
		for h := range homes {
			if h != p && l.Reaches(h, p) {
				return false
			}
		}
		return true
	})
	return l.probeAll(ctx, b, parts, func(part, holder int) bool {
		h := l.home(holder)
		return h != part && l.Reaches(h, part)
	})
}

// own finds the old rows that the rows with copies have in their own partitions.
func (l *locator) own(ctx context.Context, b *band, copies []oldCopy) (map[int]bool, error) {
	wanted, homes := map[int]bool{}, map[int]bool{}
	for _, c := range copies {
		wanted[c.holder], homes[l.home(c.holder)] = true, true
	}
	var parts []int
	for h := range homes {
		parts = append(parts, h)
	}
	slices.Sort(parts)
	list, err := l.probeAll(ctx, b, parts, func(part, holder int) bool { return wanted[holder] && l.home(holder) == part })
	own := map[int]bool{}
	for _, c := range list {
		own[c.holder] = own[c.holder] || c.stale
	}
	return own, err
}

// probeAll looks the band's keys up in partitions, several at once, and gives the old rows of holders that are wanted there.
func (l *locator) probeAll(ctx context.Context, b *band, parts []int, wanted func(part, holder int) bool) ([]oldCopy, error) {
	found := make([][]oldCopy, len(parts))
	err := parallel(ctx, l.options.workers(), len(parts), func(ctx context.Context, i int) (err error) {
		p := parts[i]
		for file, old := range l.Partitions[p].Old {
			list, err := l.probeFile(ctx, b, p, file, old, func(holder int) bool { return wanted(p, holder) })
			if err != nil {
				return &SearchError{Partition: p, Err: err}
			}
			found[i] = append(found[i], list...)
		}
		return nil
	})
	return slices.Concat(found...), err
}

// probeFile is probeAll of one file, which is open meanwhile.
func (l *locator) probeFile(ctx context.Context, b *band, part, file int, old Old, wanted func(holder int) bool) (out []oldCopy, err error) {
	f, err := openOld(ctx, old, l.Schema, nil)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.close()) }()
	if err := f.bindKeys(l.source); err != nil {
		return nil, err
	}
	m := &matcher{source: l.source, band: b, options: &l.options}
	base := int64(0)
	for _, g := range f.groups {
		p := prober{source: l.source, band: b, finder: finder{band: b}}
		if err := p.probe(ctx, g); err != nil {
			return nil, f.wrap(err)
		}
		var hits []hit
		var holders [][]int
		for _, h := range g.hitRows() {
			list := slices.DeleteFunc(slices.Clone(l.holders(b, int(h.source))), func(holder int) bool { return !wanted(holder) })
			if len(list) > 0 {
				hits, holders = append(hits, h), append(holders, list)
			}
		}
		g.hits = hits
		read := int64(0)
		_, versions, err := m.loadVersions(ctx, g, &read)
		if err != nil {
			return nil, f.wrap(err)
		}
		for i, h := range hits {
			for _, holder := range holders[i] {
				out = append(out, oldCopy{holder: holder, part: int32(part), file: int32(file), row: base + int64(h.row),
					stale: versions != nil && l.isStale(b, holder, versions.at(i))})
			}
		}
		base += g.rows
	}
	return out, nil
}

// isStale reports whether a stored version is newer than that of a source row.
func (l *locator) isStale(b *band, holder int, stored []byte) bool {
	row := holder - b.first
	if b.rows != nil {
		row, _ = slices.BinarySearch(b.rows, uint32(holder))
	}
	return !l.options.IgnoreVersion && bytes.Compare(stored, b.against.at(row)) > 0
}
