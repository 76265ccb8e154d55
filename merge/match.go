package merge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/merge/splice"
)

// matcher turns the hits of all row groups in a band into edits, by mode, versions and duplicates.
type matcher struct {
	source  *source
	band    *band
	options *Options
	// twice holds the source rows whose key stands more than once in the old files, with the row group
	// and row that keeps the key under PolicyRepair.
	twice map[uint32]place
	old   oldRows
}

type place struct {
	group *rowGroup
	hit   int
}

// loadVersions reads the stored versions of a row group's hits and says which are newer than the
// source's: one flag a hit row. versions is kept where a repair has to choose by them.
func (m *matcher) loadVersions(ctx context.Context, g *rowGroup, read *int64) (stale []bool, versions *keys, err error) {
	if m.band.against == nil || len(g.hits) == 0 {
		return nil, nil, nil
	}
	ranges := make([]splice.Rows, 0, len(g.hits))
	for _, h := range g.hits {
		ranges = append(ranges, splice.Rows{From: int64(h.row), To: int64(h.row) + int64(h.n)})
	}
	cursors := make([]*cursor, len(g.file.version))
	for i, part := range g.file.version {
		cursors[i] = g.picker(part.leaf, ranges)
	}
	defer func() {
		for _, c := range cursors {
			c.close(read)
		}
	}()
	versions, stale = &keys{}, make([]bool, g.countHits())
	for i, h := range g.hitRows() {
		for v, part := range g.file.version {
			slot, _, err := cursors[v].at(ctx, int64(h.row))
			if err != nil {
				return nil, nil, err
			}
			k := m.source.version[m.source.stored[v]]
			if versions.data, err = appendVersion(versions.data, k, part.enc, &cursors[v].col, slot); err != nil {
				return nil, nil, &Error{Kind: ErrValue, File: g.file.Name, Column: k.path, Err: err, Message: fmt.Sprintf("row %d of %s", h.row, g)}
			}
		}
		versions.ends = append(versions.ends, uint64(len(versions.data)))
		stale[i] = !m.options.IgnoreVersion && bytes.Compare(versions.at(i), m.band.against.at(int(h.source))) > 0
	}
	return stale, versions, nil
}

// rowRanges merges ascending rows into ranges.
func rowRanges(n int, row func(i int) uint32) []splice.Rows {
	var out []splice.Rows
	for i := range n {
		r := int64(row(i))
		if last := len(out) - 1; last >= 0 && out[last].To == r {
			out[last].To++
			continue
		}
		out = append(out, splice.Rows{From: r, To: r + 1})
	}
	return out
}

// findOldDuplicates finds keys that stand twice in the old files and are touched by the source.
func (m *matcher) findOldDuplicates(groups []*rowGroup) error {
	seen := make(bitmap, m.band.n/64+1)
	m.twice = map[uint32]place{}
	var sample []string
	file := ""
	for _, g := range groups {
		for _, h := range g.repeatedHits(seen) {
			if file == "" && m.options.Unique {
				file = g.file.Name
			}
			if _, known := m.twice[h.source]; !known && len(sample) < 3 {
				sample = append(sample, fmt.Sprintf("%s (again in %s, row %d)", m.source.rows.keyText(m.band.row(int(h.source)), m.source.keyTables()), g, h.row))
			}
			m.twice[h.source] = place{}
		}
	}
	if len(m.twice) == 0 {
		return nil
	}
	switch m.options.OldDuplicates {
	case PolicyUpdateAll:
		return nil
	case PolicyRepair:
		if m.band.against == nil {
			return &Error{Kind: ErrUsage, Message: "--old-duplicates repair keeps the highest version, and no stored version column is known",
				Hint: "name it with --order-by"}
		}
		return nil
	}
	return &Error{Kind: ErrDuplicateKey, File: file, Column: strings.Join(m.options.Key, ","),
		Message: fmt.Sprintf("%s more than once in the partition: %s", plural(len(m.twice), "key of the source stands", "keys of the source stand"), strings.Join(sample, "; ")),
		Hint:    "choose --old-duplicates update-all, or repair with --order-by"}
}

// chooseKept finds, for each key that stands twice, the copy with the highest version; a later copy
// wins a tie.
func (m *matcher) chooseKept(groups []*rowGroup, versions []*keys) {
	for gi, g := range groups {
		for i, h := range g.hitRows() {
			best, dup := m.twice[h.source]
			if !dup {
				continue
			}
			if best.group == nil || bytes.Compare(versions[gi].at(i), versionAt(groups, versions, best)) >= 0 {
				m.twice[h.source] = place{group: g, hit: i}
			}
		}
	}
}

func versionAt(groups []*rowGroup, versions []*keys, p place) []byte {
	for i, g := range groups {
		if g == p.group {
			return versions[i].at(p.hit)
		}
	}
	return nil
}

// edit decides what happens to each hit row. Where no key stands twice in the old files it may be called for
// several row groups at once.
func (m *matcher) edit(ctx context.Context, g *rowGroup, stale []bool, counts *Counts) error {
	g.edits = slices.Grow(g.edits, g.countHits())
	if m.updatesAll(stale) {
		for _, h := range g.hits {
			m.updateRun(g, h)
		}
		return nil
	}
	for i, h := range g.hitRows() {
		g.meet(h.row)
		if best, dup := m.twice[h.source]; dup && m.options.OldDuplicates == PolicyRepair && (best.group != g || best.hit != i) {
			g.edits = append(g.edits, edit{row: h.row, source: -1})
			g.repaired++
			counts.OldDuplicates++
			if err := m.old.reject(ctx, m.options, g, h.row); err != nil {
				return err
			}
			continue
		}
		m.editHit(g, h, stale != nil && stale[i])
	}
	return nil
}

// updatesAll reports whether every hit row is updated, and by a source row of its own.
func (m *matcher) updatesAll(stale []bool) bool {
	return stale == nil && len(m.twice) == 0 && m.source.deletes == nil && m.options.Mode != Insert && m.options.Mode != Delete
}

// updateRun is editHit of a run of rows that are all updated.
func (m *matcher) updateRun(g *rowGroup, h hit) {
	at := len(g.edits)
	g.edits = slices.Grow(g.edits, int(h.n))[:at+int(h.n)]
	for i := range h.n {
		row := m.band.row(int(h.source + i))
		g.edits[at+int(i)] = edit{row: h.row + i, source: int32(row)}
		m.source.fates[row] = unchanged // until compare finds a difference
	}
	for i := uint32(0); g.all && i < h.n; i++ {
		g.meet(h.row + i)
	}
}

func (m *matcher) editHit(g *rowGroup, h hit, isStale bool) {
	s, row := m.source, m.band.row(int(h.source))
	switch {
	case m.options.Mode == Insert:
		s.settle(row, ignored)
	case isStale:
		s.settle(row, stale)
	case m.options.Mode == Delete || s.isDelete(row):
		g.edits = append(g.edits, edit{row: h.row, source: -1})
		g.deletes++
		s.settle(row, deleted)
	default:
		g.edits = append(g.edits, edit{row: h.row, source: int32(row)})
		s.settle(row, unchanged) // until compare finds a difference
	}
}

// settle gives a source row its fate. Where its key stands twice in the old files the fates of the
// copies may differ: a change outweighs none, and anything a skipped version.
func (s *source) settle(row int, f fate) {
	weight := func(f fate) int {
		switch f {
		case pending:
			return 0
		case stale, ignored:
			return 1
		case unchanged:
			return 2
		}
		return 3
	}
	if weight(f) > weight(s.fates[row]) {
		s.fates[row] = f
	}
}

// settleRest gives the rows of the band that met no old row their fate, and reports whether some are inserted.
func (b *band) settleRest(mode Mode) (inserts bool) {
	insert := mode == Upsert || mode == Insert || mode == Mirror
	for i := range b.n {
		f := b.fate(i)
		switch {
		case *f != pending:
		case insert && !b.source.isDelete(b.row(i)), b.row(i) >= b.source.arrivals:
			*f, inserts = inserted, true
		default:
			*f = ignored
		}
	}
	return inserts
}

// meet notes, where rows that the source lacks are to go, that it has one.
func (g *rowGroup) meet(row uint32) {
	if !g.all {
		return
	}
	if g.met == nil {
		g.met = make([]uint64, g.rows/64+1)
	}
	g.met[row>>6] |= 1 << (row & 63)
}

// settle ends the matching of a row group: its edits come into the order of the rows, and in mirror the
// rows that no band met go.
func (g *rowGroup) settle(sorted bool) {
	g.hits = nil // edits say it all from here on
	if !sorted {
		slices.SortFunc(g.edits, func(a, b edit) int { return cmp.Compare(a.row, b.row) })
	}
	if !g.all {
		return
	}
	list := make([]edit, 0, g.rows)
	edits := g.edits
	for row := range uint32(g.rows) {
		switch {
		case len(edits) > 0 && edits[0].row == row:
			list, edits = append(list, edits[0]), edits[1:]
		case g.nulls != nil && g.nulls[row], g.met != nil && g.met[row>>6]&(1<<(row&63)) != 0:
		default:
			list = append(list, edit{row: row, source: -1})
			g.deletes++
		}
	}
	g.edits, g.met = list, nil
}
