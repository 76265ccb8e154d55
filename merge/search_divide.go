package merge

import (
	"cmp"
	"maps"
	"slices"
)

// found divides what was settled among the partitions.
func (l *locator) found() []Found {
	out := make([]Found, len(l.Partitions))
	for i := range out {
		out[i].Moved, out[i].Deleted = l.departures(i)
	}
	if l.source != nil {
		for i, b := range l.source.rows.batches {
			l.divide(&out[l.homes[i]], b)
		}
	}
	for i := range out {
		out[i].Apart = l.apart[i]
	}
	return out
}

// departures are the rows that go of a partition, by file; one that moves and is deleted moves.
func (l *locator) departures(part int) (moved, gone [][]int64) {
	list := l.leaving[part]
	slices.SortFunc(list, func(a, b departure) int {
		less := 0
		if a.moves != b.moves {
			less = 1
			if a.moves {
				less = -1
			}
		}
		return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.row, b.row), less)
	})
	list = slices.CompactFunc(list, func(a, b departure) bool { return a.file == b.file && a.row == b.row })
	files := len(l.Partitions[part].Old)
	for _, d := range list {
		into := &gone
		if d.moves {
			into = &moved
		}
		if *into == nil {
			*into = make([][]int64, files)
		}
		(*into)[d.file] = append((*into)[d.file], d.row)
	}
	return moved, gone
}

// divide gives the rows of a batch to those that are left and to those that move; the others are settled.
func (l *locator) divide(f *Found, b *sourceBatch) {
	var left []int32
	moving := map[int32][]int32{} // by where they come from
	for i := range b.n {
		row := b.base + i
		switch fate, holder := l.fate(row); fate {
		case pending, nullKey:
			left = append(left, int32(b.row(i)))
		case duplicate:
			l.apart[l.home(row)].Duplicates++
		case inserted:
			o := l.arrivals[holder]
			moving[o.from] = append(moving[o.from], int32(b.row(i)))
			if int(holder) == row {
				f.arrival(o)
			}
		}
	}
	part := func(rows []int32) Batch {
		out := b.Batch
		out.Rows = rows
		return out
	}
	switch len(left) {
	case 0:
	case b.n:
		f.Batches = append(f.Batches, b.Batch)
	default:
		f.Batches = append(f.Batches, part(left))
	}
	for _, from := range slices.Sorted(maps.Keys(moving)) {
		a := f.from(int(from))
		a.Batches = append(a.Batches, part(moving[from]))
	}
}

// fate is what has become of a source row, and the row that holds its key: itself, or the one that it is a copy of.
func (l *locator) fate(row int) (f fate, holder int32) {
	to, follows := l.follows[int32(row)]
	if !follows {
		return l.source.fates[row], int32(row)
	}
	if f = l.source.fates[to]; f != pending && f != inserted {
		f = duplicate
	}
	return f, to
}

// from is the arrivals of one partition.
func (f *Found) from(part int) *Arrival {
	at := slices.IndexFunc(f.Arrivals, func(a Arrival) bool { return a.From == part })
	if at < 0 {
		f.Arrivals = append(f.Arrivals, Arrival{From: part})
		at = len(f.Arrivals) - 1
	}
	return &f.Arrivals[at]
}

// arrival counts a row that moves.
func (f *Found) arrival(o origin) {
	a := f.from(int(o.from))
	a.Rows++
	if o.repeats {
		a.Repeats++
	}
}
