package merge

import (
	"bytes"
	"context"
	"fmt"
	"strings"
)

// holdKeys finds for every key the one source row that holds it.
func (s *source) holdKeys(ctx context.Context, o *Options) error {
	if s.ascending() {
		s.order.asTheyCame = true // and no key repeats
		s.measureRanges()
		return nil
	}
	s.index = newIndex(&s.keys, s.rows.n)
	var twice [][2]int
	for row := range s.rows.n {
		if row&0xFFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.fates[row] == nullKey {
			continue
		}
		held := s.index.put(row)
		if held == row {
			continue
		}
		switch s.newer(held, row, o) {
		case conflicting:
			same, err := s.same(ctx, held, row)
			if err != nil {
				return err
			}
			if !same {
				twice = append(twice, [2]int{held, row})
			}
			s.fates[row] = duplicate
		case later:
			s.index.replace(held, row)
			s.fates[held] = duplicate
		case earlier:
			s.fates[row] = duplicate
		}
	}
	if len(twice) > 0 {
		sample := make([]string, 0, 3)
		for _, t := range twice[:min(3, len(twice))] {
			sample = append(sample, fmt.Sprintf("%s (%s and %s)", s.rows.keyText(t[0], s.keyTables()), s.rows.position(t[0]), s.rows.position(t[1])))
		}
		return &Error{Kind: ErrDuplicateKey, Column: strings.Join(o.Key, ","),
			Message: fmt.Sprintf("%s a key with other values: %s", plural(len(twice), "source row repeats", "source rows repeat"), strings.Join(sample, "; ")),
			Hint:    "name the version column with --order-by, or choose --source-duplicates first or last"}
	}
	s.sortHolders()
	s.measureRanges()
	return nil
}

type precedence uint8

const (
	conflicting precedence = iota
	earlier
	later
)

// newer says which of two source rows of one key wins.
func (s *source) newer(held, row int, o *Options) precedence {
	if len(s.version) > 0 {
		// A tie goes to the later row.
		if bytes.Compare(s.versions.at(row), s.versions.at(held)) >= 0 {
			return later
		}
		return earlier
	}
	switch o.SourceDuplicates {
	case PolicyFirst:
		return earlier
	case PolicyLast:
		return later
	}
	return conflicting
}

// same reports whether two source rows are equal in every column.
func (s *source) same(ctx context.Context, a, b int) (bool, error) {
	if s.isDelete(a) != s.isDelete(b) {
		return false, nil
	}
	for table, node := range s.rows.canonical.Root.Children {
		if !s.rows.reads(table) {
			continue
		}
		// Repeated keys lie anywhere, so the forms are held.
		s.rows.scatter(table)
		c := s.rows.cursor(table, node, signature(node))
		af, ai, err := c.find(ctx, a)
		if err != nil {
			return false, err
		}
		bf, bi, err := c.find(ctx, b)
		if err != nil {
			return false, err
		}
		if !equalRows(af, ai, bf, bi, leavesOf(node)) {
			return false, nil
		}
	}
	return true, nil
}

// sortLimit is the number of rows up to which sorting keys pays for the pages it rules out.
const sortLimit = 4 << 20

// order lists the rows that hold their key, by key. The zero value is no order: sorting did not pay.
type order struct {
	asTheyCame bool     // all rows hold their key and came sorted
	rows       []uint32 // else
}

// known reports whether there is an order.
func (o *order) known() bool { return o.asTheyCame || o.rows != nil }

// row is the i-th row by key.
func (o *order) row(i int) int {
	if o.asTheyCame {
		return i
	}
	return int(o.rows[i])
}

// holders is how many rows hold their key, where the order is known.
func (s *source) holders() int {
	if s.order.asTheyCame {
		return s.rows.n
	}
	return len(s.order.rows)
}

// ascending reports whether the keys come sorted, none of them NULL or twice.
func (s *source) ascending() bool {
	for row := range s.rows.n {
		if s.fates[row] == nullKey || row > 0 && bytes.Compare(s.keys.at(row-1), s.keys.at(row)) >= 0 {
			return false
		}
	}
	return true
}

// hashed is the index; for keys that came sorted it is made when it is first needed.
func (s *source) hashed() *index {
	s.hashOnce.Do(func() {
		if s.index == nil {
			s.index = newIndex(&s.keys, s.rows.n)
			for row := range s.rows.n {
				s.index.put(row)
			}
		}
	})
	return s.index
}

// sortHolders orders the rows that hold their key, for pruning and for inserts.
func (s *source) sortHolders() {
	holders := make([]uint32, 0, s.rows.n)
	for row := range s.rows.n {
		if s.fates[row] == pending {
			holders = append(holders, uint32(row))
		}
	}
	if len(holders) <= sortLimit {
		sortedBy(&s.keys, holders)
		s.order.rows = holders
	}
}
