package merge

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
)

// Image says of what a row of a change feed is, in the words of Delta Lake's change data feed. An update has two rows,
// as it was and as it will be, one behind the other.
type Image string

// The images.
const (
	InsertImage Image = "insert"
	Preimage    Image = "update_preimage"
	Postimage   Image = "update_postimage"
	DeleteImage Image = "delete"
)

// change is one row that changes.
type change struct {
	group  *rowGroup // nil: the row is inserted
	row    uint32
	source int32 // -1: the row goes
}

// Schema is the columns of the table, those that it gets included.
func (p *Prepared) Schema() *arrow.Schema { return p.task.Schema }

// ColumnChanges counts, for each column of the schema, the updated rows in which it changes. It is known with
// [Options.Diff].
func (p *Prepared) ColumnChanges() []int64 { return p.changes }

// Refused is what the limit on deletes would stop the merge with; nil: nothing. With [Options.Diff] it stops nothing.
func (p *Prepared) Refused() error { return p.refused }

// ChangeReader goes through the rows that change: the old ones in the order of the files, then those that are inserted,
// in the order in which they would be written. It holds no values.
type ChangeReader struct {
	prepared *Prepared
	groups   []*rowGroup
	next     int // edit, or row where all of them go, of the first group
	inserts  runs
}

// Changes starts to go through the changes. The reader is good until Close.
func (p *Prepared) Changes() *ChangeReader {
	return &ChangeReader{prepared: p, groups: p.groups(), inserts: p.inserts}
}

// Next takes the next changes, at most n; nil after the last.
func (r *ChangeReader) Next(n int) *Changes {
	c := &Changes{prepared: r.prepared}
	for len(c.list) < n && len(r.groups) > 0 {
		g := r.groups[0]
		one, ok, end := r.step(g)
		if ok {
			c.list = append(c.list, one)
		}
		if end {
			r.groups, r.next = r.groups[1:], 0
		}
	}
	if left := n - len(c.list); left > 0 && r.inserts.n > 0 {
		taken := r.inserts.take(left)
		for _, run := range taken.list {
			for row := range run.n {
				c.list = append(c.list, change{source: int32(run.from + row)})
			}
		}
	}
	if len(c.list) == 0 {
		return nil
	}
	return c
}

// step looks at the next edit of a row group: whether it is a change, and whether it was the last.
func (r *ChangeReader) step(g *rowGroup) (one change, ok, end bool) {
	if r.prepared.options.Mode == Replace {
		if ok = int64(r.next) < g.rows; ok {
			one = change{group: g, row: uint32(r.next), source: -1}
			r.next++
		}
		return one, ok, !ok
	}
	if r.next == len(g.edits) {
		return change{}, false, true
	}
	e := g.edits[r.next]
	ok = e.source < 0 || g.differs[r.next]
	r.next++
	return change{group: g, row: e.row, source: e.source}, ok, false
}

// SampleChanges picks up to n changes: the first updates, deletes and inserts, of each a third where there are as many,
// else more of the others.
func (p *Prepared) SampleChanges(n int) *Changes {
	c := p.counts
	quota := shareOut(n, c.Updated, c.Deleted+c.MovedOut+c.OldDuplicates, c.Inserted+c.Moved)
	out := &Changes{prepared: p}
	const block = 4096
	for r := p.Changes(); quota[0]+quota[1]+quota[2] > 0; {
		list := r.Next(block)
		if list == nil {
			break
		}
		for _, one := range list.list {
			if kind := one.kind(); quota[kind] > 0 {
				quota[kind]--
				out.list = append(out.list, one)
			}
		}
	}
	return out
}

// kind is 0 for an update, 1 for a delete, 2 for an insert.
func (c change) kind() int {
	switch {
	case c.group == nil:
		return 2
	case c.source < 0:
		return 1
	}
	return 0
}

// shareOut divides n among those who have something, as evenly as it goes; what is left over goes to the first.
func shareOut(n int, have ...int64) []int {
	out := make([]int, len(have))
	for left := n; left > 0; {
		given := 0
		for i := range have {
			if left > 0 && int64(out[i]) < have[i] {
				out[i]++
				left--
				given++
			}
		}
		if given == 0 {
			break
		}
	}
	return out
}

// Changes are some rows that change, whose columns are read when they are asked for.
type Changes struct {
	prepared *Prepared
	list     []change
}

// Len is the number of changes; an update is one.
func (c *Changes) Len() int { return len(c.list) }

// Images says what the rows of [Changes.Columns] are.
func (c *Changes) Images() []Image {
	out := make([]Image, 0, len(c.list))
	for _, one := range c.list {
		out = append(out, [][]Image{{Preimage, Postimage}, {DeleteImage}, {InsertImage}}[one.kind()]...)
	}
	return out
}

// ImageColumn is a column of changes.
type ImageColumn struct {
	Values arrow.Array // a row each image, in the table's type
	// Differs says of each image whether it is of an update that changes the column.
	Differs []bool
}

// Columns reads columns of the table, by their ordinals, of the images. Of the old files it reads the pages with rows
// of these changes.
func (c *Changes) Columns(ctx context.Context, tables []int) ([]ImageColumn, error) {
	out := make([]ImageColumn, len(tables))
	err := c.prepared.parallel(ctx, len(tables), func(ctx context.Context, i int) (err error) {
		out[i], err = c.column(ctx, tables[i])
		return err
	})
	return out, err
}

// images collects the images of one column.
type images struct {
	table   int
	node    *column.Node
	leaves  []*column.Leaf
	columns []*column.Column
	differs []bool
}

func (m *images) add(f *form, row int) {
	for l, leaf := range m.leaves {
		from, to := f.span(l, row)
		m.columns[l].Append(leaf, f.leaves[l], from, to)
	}
	m.differs = append(m.differs, false)
}

// column reads one column: old values by row groups, those of the source as they are asked for.
func (c *Changes) column(ctx context.Context, table int) (ImageColumn, error) {
	rows := c.prepared.source.rows
	node := rows.canonical.Root.Children[table]
	m := &images{table: table, node: node, leaves: node.Leaves()}
	for _, leaf := range m.leaves {
		col := &column.Column{}
		col.Reset(leaf)
		m.columns = append(m.columns, col)
	}
	fresh, inserts := rows.cursor(table, node, signature(node)), rows.insertCursor(table, node, signature(node))
	defer fresh.close()
	defer inserts.close()
	for list := c.list; len(list) > 0; {
		n := 1
		for n < len(list) && list[n].group == list[0].group {
			n++
		}
		var err error
		if g := list[0].group; g != nil {
			err = c.oldImages(ctx, m, g, list[:n], fresh)
		} else {
			err = insertImages(ctx, m, list[:n], inserts)
		}
		if err != nil {
			return ImageColumn{}, err
		}
		list = list[n:]
	}
	values, err := shred.Assemble(node, m.columns, len(m.differs))
	if err != nil {
		return ImageColumn{}, &Error{Kind: ErrValue, Column: node.Name, Err: err}
	}
	if want := c.prepared.task.Schema.Field(table).Type; !arrow.TypeEqual(values.DataType(), want) {
		if values, _, err = shred.Cast(values, want, shred.CastOptions{}); err != nil {
			return ImageColumn{}, &Error{Kind: ErrValue, Column: node.Name, Err: err}
		}
	}
	return ImageColumn{Values: values, Differs: m.differs}, nil
}

func insertImages(ctx context.Context, m *images, list []change, inserts *formCursor) error {
	for _, one := range list {
		f, row, err := inserts.find(ctx, int(one.source))
		if err != nil {
			return err
		}
		m.add(f, row)
	}
	return nil
}

// oldImages adds rows of one row group, and what updates make of them.
func (c *Changes) oldImages(ctx context.Context, m *images, g *rowGroup, list []change, fresh *formCursor) error {
	rows := make([]uint32, len(list))
	for i, one := range list {
		rows[i] = one.row
	}
	old, err := g.values(ctx, c.prepared.task.Schema.Field(m.table), m.table, m.node, rows)
	if err != nil {
		return g.at(g.file.wrap(err))
	}
	binding := c.prepared.binding
	for i, one := range list {
		m.add(old, i)
		if one.source < 0 {
			continue
		}
		post, at := old, i
		if binding.update[m.table] {
			f, row, err := fresh.find(ctx, int(one.source))
			if err != nil {
				return err
			}
			if !binding.keepNull[m.table] || !f.null(row) {
				post, at = f, row
			}
		}
		m.add(post, at)
		if post != old && !equalRows(old, i, post, at, m.leaves) {
			m.differs[len(m.differs)-2], m.differs[len(m.differs)-1] = true, true
		}
	}
	return nil
}

// values reads a column of ascending rows of the row group, in the form of a node; NULL where the file lacks it.
func (g *rowGroup) values(ctx context.Context, field arrow.Field, table int, node *column.Node, rows []uint32) (*form, error) {
	f := &form{}
	own := g.file.nodes[table]
	if own == nil {
		return f, f.shred(shred.Nulls(field.Type, len(rows)), nil, field, node)
	}
	columns, err := g.gather(ctx, own, rows)
	if err != nil {
		return nil, err
	}
	if g.file.forms[table] == signature(node) {
		f.leaves, f.starts, f.whole = columns, make([][]uint32, len(columns)), own.Repetition != format.Optional
		for l, leaf := range own.Leaves() {
			if !leaf.Flat() {
				f.starts[l] = rowStarts(columns[l], nil)
			}
		}
		return f, nil
	}
	arr, err := shred.Assemble(own, columns, len(rows))
	if err == nil {
		arr, _, err = shred.Cast(arr, field.Type, shred.CastOptions{})
	}
	if err != nil {
		return nil, &Error{Kind: ErrSchema, File: g.file.Name, Column: field.Name, Err: err,
			Message: "a value of the file does not fit the table's type " + field.Type.String(), Hint: "rewrite the file with that type"}
	}
	return f, f.shred(arr, nil, field, node)
}
