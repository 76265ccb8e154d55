package merge

import (
	"context"
	"fmt"
	"sync"

	"github.com/hupsert/hupsert/merge/column"
)

// comparer finds what the updates of a row group really change: which columns, and which rows.
// Pages without a touched row are not read, and once a column is known to change, rows that are
// known to differ need no more looking at.
type comparer struct {
	rows *rows
	mu   sync.Mutex
	read int64
}

// prepare makes room for what compare finds, and reports whether there is anything to compare.
func (g *rowGroup) prepare(columns int) bool {
	g.changed, g.differs = make([]bool, columns), make([]bool, len(g.edits))
	g.updates = make([]uint32, 0, len(g.edits))
	for i, e := range g.edits {
		if e.source >= 0 {
			g.updates = append(g.updates, uint32(i))
		}
	}
	return len(g.updates) > 0
}

// compare holds one table column of a row group against the source.
func (c *comparer) compare(ctx context.Context, g *rowGroup, table int) error {
	b := c.rows.binding
	node := g.file.nodes[table]
	if node == nil {
		return c.compareMissing(g, table)
	}
	c.mu.Lock()
	known := append([]bool(nil), g.differs...)
	c.mu.Unlock()
	changed, err := c.compareLeaves(ctx, g, table, node, known, b.keepNull[table])
	if err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	g.changed[table] = changed
	for i, d := range known {
		g.differs[i] = g.differs[i] || d
	}
	return nil
}

func (c *comparer) compareLeaves(ctx context.Context, g *rowGroup, table int, node *column.Node, known []bool, keepNull bool) (bool, error) {
	changed := false
	last := formCursor{rows: c.rows, table: table, node: node, signature: g.file.forms[table]}
	ranges := rowRanges(len(g.updates), func(i int) uint32 { return g.edits[g.updates[i]].row })
	for l, leaf := range leavesOf(node) {
		cur := g.cursor(leaf, ranges)
		nan := column.IsNaN(leaf)
		var starts []uint32
		startsOf := int64(-1)
		for _, i := range g.updates {
			if known[i] && changed {
				continue
			}
			e := g.edits[i]
			f, row, err := last.form(int(e.source))
			if err != nil {
				cur.close(&c.read)
				return false, g.file.wrap(err)
			}
			if keepNull && f.null(row) {
				continue
			}
			slot, _, err := cur.at(ctx, int64(e.row))
			if err != nil {
				cur.close(&c.read)
				return false, fmt.Errorf("compare %s: %w", g, err)
			}
			from, to := slot, slot+1
			if !leaf.Flat() {
				if startsOf != cur.first {
					starts, startsOf = rowStarts(&cur.col, starts), cur.first
				}
				from, to = int(starts[slot]), int(starts[slot+1])
			}
			sf, st := f.span(l, row)
			if !equalSpans(&cur.col, from, to, f.leaves[l], sf, st, nan) {
				known[i], changed = true, true
			}
		}
		c.mu.Lock()
		cur.close(&c.read)
		c.mu.Unlock()
	}
	return changed, nil
}

// compareMissing refuses a value for a column that the row's file does not have.
func (c *comparer) compareMissing(g *rowGroup, table int) error {
	for _, e := range g.edits {
		if e.source < 0 {
			continue
		}
		b, row := c.rows.locate(int(e.source))
		if arr := b.columns[table]; arr != nil && !arr.IsNull(b.row(row)) {
			return &Error{Kind: ErrSchema, File: g.file.Name, Column: c.rows.binding.schema.Field(table).Name,
				Message: fmt.Sprintf("the file lacks the column, and %s has a value for its row %d", c.rows.position(int(e.source)), e.row),
				Hint:    "leave the column out with --except-columns, or rewrite the file with it"}
		}
	}
	return nil
}

// null reports whether the whole value of a row is NULL: no part of the top-level field is there.
func (f *form) null(row int) bool {
	from, _ := f.span(0, row)
	c := f.leaves[0]
	return c.Def != nil && c.MaxDef > 0 && c.Def[from] == 0
}
