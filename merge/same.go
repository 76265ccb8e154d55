package merge

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"io"
	"slices"

	"github.com/hupsert/hupsert/merge/column"
)

// unequal keeps the pairs of source rows that differ in some column. Rows of one key lie anywhere in the
// source, so it is gone through once, column by column, and digests of the rows are compared.
func (s *source) unequal(ctx context.Context, pairs [][2]int) ([][2]int, error) {
	if len(pairs) == 0 {
		return nil, nil
	}
	var list []int
	for _, p := range pairs {
		list = append(list, p[0], p[1])
	}
	slices.Sort(list)
	list = slices.Compact(list)
	digests := make([][sha256.Size]byte, len(list))
	for i, row := range list {
		if s.isDelete(row) {
			digests[i][0] = 1
		}
	}
	for table, node := range s.rows.canonical.Root.Children {
		if !s.rows.reads(nil, table) {
			continue
		}
		if err := s.digest(ctx, table, node, list, digests); err != nil {
			return nil, err
		}
	}
	at := func(row int) [sha256.Size]byte {
		i, _ := slices.BinarySearch(list, row)
		return digests[i]
	}
	return slices.DeleteFunc(pairs, func(p [2]int) bool { return at(p[0]) == at(p[1]) }), nil
}

// charKey reports whether a table column is a key in which blanks at the end do not count.
func (s *source) charKey(table int) bool {
	return slices.ContainsFunc(s.key, func(k keyColumn) bool { return k.table == table && k.part.char })
}

// digest adds a column of source rows, which ascend, to their digests.
func (s *source) digest(ctx context.Context, table int, node *column.Node, list []int, digests [][sha256.Size]byte) error {
	cursor := s.rows.cursor(table, node, signature(node))
	defer cursor.close()
	leaves := node.Leaves()
	h := sha256.New()
	for i, row := range list {
		f, at, err := cursor.find(ctx, row)
		if err != nil {
			return err
		}
		h.Reset()
		h.Write(digests[i][:])
		for l, leaf := range leaves {
			from, to := f.span(l, at)
			digestSlots(h, f.leaves[l], from, to, column.IsNaN(leaf), s.charKey(table))
		}
		h.Sum(digests[i][:0])
	}
	return nil
}

// digestSlots writes the slots of a row so that rows that are equal, and no others, write the same; any
// two NaN are equal, and with char texts that differ in the blanks at their end.
func digestSlots(h io.Writer, c *column.Column, from, to int, nan func([]byte) bool, char bool) {
	var head [11]byte
	for i := from; i < to; i++ {
		null := c.Null(i)
		v := c.Value(i)
		if !null && nan != nil && nan(v) {
			v = nil
			head[10] = 1
		}
		if char {
			v = trimBlanks(v)
		}
		binary.LittleEndian.PutUint64(head[:8], uint64(len(v)))
		head[8], head[9] = c.MaxDef, 0
		if c.Def != nil {
			head[8] = c.Def[i]
		}
		if c.Rep != nil {
			head[9] = c.Rep[i]
		}
		_, _ = h.Write(head[:]) // a hash takes everything
		_, _ = h.Write(v)
		head[10] = 0
	}
	clear(head[:])
	head[10] = 2 // the end of the row
	_, _ = h.Write(head[:])
}
