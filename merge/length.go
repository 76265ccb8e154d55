package merge

import (
	"cmp"
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
)

// checkLengths refuses the merge where a row that is to be written has a text longer than its column is declared. What
// is not written (a stale row, the key of a delete, a row that changes nothing) may be longer.
func (p *Prepared) checkLengths(ctx context.Context) error {
	if p.counts.Inserted+p.counts.Updated == 0 || p.options.Unique { // which compares, and writes nothing
		return nil
	}
	var tables []int
	for table, f := range p.task.Schema.Fields() {
		if _, ok := shred.LengthOf(f); ok && p.binding.insert[table] && p.source.rows.reads(table) {
			tables = append(tables, table)
		}
	}
	found := make([]error, len(tables)) // so that of several columns the first is named
	if err := p.parallel(ctx, len(tables), func(ctx context.Context, i int) error {
		update, fates := p.binding.update[tables[i]], p.source.fates
		found[i] = p.source.rows.checkLength(ctx, tables[i], func(row int) bool {
			return fates[row] == inserted || update && fates[row] == updated
		})
		return nil
	}); err != nil {
		return err
	}
	return cmp.Or(found...)
}

// checkLength holds a column of the rows that are written against its declared length.
func (r *rows) checkLength(ctx context.Context, table int, written func(row int) bool) error {
	field := r.binding.schema.Field(table)
	length, _ := shred.LengthOf(field)
	var at input.Cursor
	defer at.Close()
	for _, b := range r.batches {
		var col batchColumn
		var text func(i int) string
		for i := range b.n {
			if !written(b.base + i) {
				continue
			}
			if text == nil {
				var err error
				if col, err = r.read(ctx, b, table, &at); err != nil {
					return err
				}
				text = textOf(col.arr)
			}
			if row := col.at(i); !col.arr.IsNull(row) {
				if err := length.Check(text(row)); err != nil {
					return &Error{Kind: ErrValue, Column: field.Name, Err: err, Message: "at " + r.position(b.base+i),
						Hint: fmt.Sprintf("correct the source, or declare the column longer than %s", length)}
				}
			}
		}
	}
	return nil
}

// textOf gives the values of an array of texts or bytes.
func textOf(arr arrow.Array) func(i int) string {
	switch a := arr.(type) {
	case *array.String:
		return a.Value
	case *array.LargeString:
		return a.Value
	case *array.Binary:
		return a.ValueString
	case *array.LargeBinary:
		return a.ValueString
	case *array.Dictionary:
		entry := textOf(a.Dictionary())
		return func(i int) string { return entry(a.GetValueIndex(i)) }
	}
	return arr.ValueStr
}
