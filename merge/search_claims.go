package merge

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
)

// claims are source rows of one key: those that hold it, each for a partition out of the others' reach.
type claims struct{ rows, holders []int }

// order numbers a source row among those of all partitions.
func (l *locator) order(row int) int64 {
	b, i := l.source.rows.locate(row)
	if b.Order == nil {
		return int64(row)
	}
	return b.Order(b.row(i))
}

// claim finds which rows hold their keys: of rows whose partitions reach each other one does.
func (l *locator) claim(ctx context.Context, b *band) error {
	l.groups = map[int]*claims{}
	if b.ascending() {
		b.order.asTheyCame = true // and no key repeats
		b.measureRanges(&l.options)
		return nil
	}
	err := b.putKeys(ctx, func(held, row int) {
		if l.groups[held] == nil {
			l.groups[held] = &claims{rows: []int{held}}
		}
		l.groups[held].rows = append(l.groups[held].rows, row)
		*b.fate(row) = duplicate // for the band: who looks a key up finds the first of its rows
	})
	if err != nil {
		return err
	}
	b.sortHolders()
	b.measureRanges(&l.options)
	return l.settleClaims(b)
}

// settleClaims chooses the holders among rows of one key.
func (l *locator) settleClaims(b *band) error {
	var refused [][2]int
	for _, g := range l.groups {
		free := l.rank(b, g.rows)
		for _, row := range g.rows {
			r := b.row(row)
			at := slices.IndexFunc(g.holders, func(h int) bool { return l.meets(h, r) })
			l.source.fates[r] = pending
			switch {
			case at < 0:
				g.holders = append(g.holders, r)
			case !free:
				l.source.fates[r] = duplicate
			case l.home(g.holders[at]) != l.home(r) || l.source.isDelete(g.holders[at]) != l.source.isDelete(r):
				refused = append(refused, [2]int{g.holders[at], r})
			default: // the merge of their partition says whether they are copies
				if l.follows == nil {
					l.follows = map[int32]int32{}
				}
				l.follows[int32(r)] = int32(g.holders[at])
			}
		}
	}
	return l.refuse(refused)
}

// meets reports whether two rows of one key can't both stay.
func (l *locator) meets(a, b int) bool {
	x, y := l.home(a), l.home(b)
	return x == y || l.Reaches(x, y)
}

// rank orders rows of one key, those that win first. It is free where nothing says which wins.
func (l *locator) rank(b *band, rows []int) (free bool) {
	first := l.options.SourceDuplicates == PolicyFirst || l.options.SourceDuplicates != PolicyLast && l.options.Mode == Delete
	versions := len(l.source.version) > 0
	free = !versions && !first && l.options.SourceDuplicates != PolicyLast
	slices.SortFunc(rows, func(x, y int) int {
		if versions {
			if c := bytes.Compare(b.versions.at(y), b.versions.at(x)); c != 0 {
				return c
			}
		}
		c := cmp.Compare(l.order(b.row(x)), l.order(b.row(y)))
		if !versions && (first || free) {
			return c
		}
		return -c
	})
	return free
}

// refuse stops where a key is in the source for several partitions, and nothing says which of them counts.
func (l *locator) refuse(pairs [][2]int) error {
	if len(pairs) == 0 {
		return nil
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return cmp.Compare(a[1], b[1]) })
	rows := l.source.rows
	var sample []string
	for _, p := range pairs[:min(3, len(pairs))] {
		sample = append(sample, fmt.Sprintf("%s (%s for %s and %s for %s)", rows.keyText(p[0], l.source.keyTables()),
			rows.position(p[0]), l.Partitions[l.home(p[0])].Name, rows.position(p[1]), l.Partitions[l.home(p[1])].Name))
	}
	return &Error{Kind: ErrDuplicateKey, Column: strings.Join(l.options.Key, ","),
		Message: plural(len(pairs), "source row repeats", "source rows repeat") + " a key within the window of --unique-within: " + strings.Join(sample, "; "),
		Hint:    "name the version column with --order-by, or choose --source-duplicates first or last"}
}

// holders are the source rows that hold the key of a row of the band.
func (l *locator) holders(b *band, row int) []int {
	if g := l.groups[row]; g != nil {
		return g.holders
	}
	return []int{b.row(row)}
}
