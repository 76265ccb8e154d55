package merge

import (
	"context"
	"errors"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/spill"
)

// Keeps reports whether an update by a source leaves values of the old row: of columns that the source lacks or the options leave
// out, or where its NULL does not count.
func (o Options) Keeps(table, source *arrow.Schema) (bool, error) {
	o.setDefaults()
	table, err := o.Extended(table, source)
	if err != nil {
		return false, err
	}
	b, err := bind(table, source, &o)
	if err != nil {
		return false, err
	}
	for i := range b.insert {
		if !b.insert[i] || b.keepNull[i] {
			return true, nil
		}
	}
	return false, nil
}

// Carried is rows that move, with all values that they will have.
type Carried struct {
	Schema   *arrow.Schema
	Columns  []arrow.Array
	Position func(row int) string // of the source's row
}

// carryRows is how many rows are carried at once.
const carryRows = 1 << 13

// Carry takes source rows whose keys stand in the task's old files, and gives these rows as an update would leave them: rows of
// [Batch.Whole] for the partition to which they move. Columns are those that wanted names, in the table's order. It counts the
// rows and, beside them, copies of rows that are left out.
func Carry(ctx context.Context, t Task, wanted func(column string) bool, take func(Carried) error) (rows, copies int64, err error) {
	o := &t.Options
	o.Mode, o.IgnoreVersion, o.MaxDeleteRatio, o.RequireRows, o.OldDuplicates, o.Reject, o.Progress = Upsert, true, nil, false, PolicyError, nil, nil
	p, err := Prepare(ctx, t)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	c := p.Counts()
	if c.Inserted+c.Deleted+c.StaleSkipped > 0 {
		return 0, 0, &Error{Kind: ErrVerify, Message: fmt.Sprintf("%d rows that move are not where they come from", c.Inserted+c.Deleted+c.StaleSkipped)}
	}
	var tables []int
	for i, f := range p.Schema().Fields() {
		if wanted(f.Name) {
			tables = append(tables, i)
		}
	}
	for _, g := range p.groups() {
		for edits := g.edits; len(edits) > 0; {
			n := min(len(edits), carryRows)
			block, err := p.carry(ctx, g, edits[:n], tables)
			if err != nil {
				return 0, 0, err
			}
			if err := take(block); err != nil {
				return 0, 0, err
			}
			rows, edits = rows+int64(n), edits[n:]
		}
	}
	return rows, c.SourceDuplicates, nil
}

// carry gives some rows of a row group as their edits leave them.
func (p *Prepared) carry(ctx context.Context, g *rowGroup, edits []edit, tables []int) (Carried, error) {
	list := &Changes{prepared: p}
	post, from := make([]int32, len(edits)), make([]int, len(edits))
	for i, e := range edits {
		list.list = append(list.list, change{group: g, row: e.row, source: e.source})
		post[i], from[i] = int32(2*i+1), int(e.source)
	}
	columns, err := list.Columns(ctx, tables)
	if err != nil {
		return Carried{}, err
	}
	rows := p.source.rows
	out := Carried{Position: func(row int) string { return rows.position(from[row]) }}
	fields := make([]arrow.Field, len(columns))
	for i, c := range columns {
		fields[i] = p.Schema().Field(tables[i])
		arr, err := spill.Gather(c.Values, post)
		if err != nil {
			return Carried{}, &Error{Kind: ErrSchema, Column: fields[i].Name, Err: err}
		}
		fields[i].Type, fields[i].Nullable = arr.DataType(), true
		out.Columns = append(out.Columns, arr)
	}
	out.Schema = arrow.NewSchema(fields, nil)
	return out, nil
}
