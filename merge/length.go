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

// checkLengths refuses the merge where a row that is to be written has a text longer than its column is declared, or a
// number that a column declared narrower than its files can't hold. What is not written (a stale row, the key of a delete, a row that changes nothing) may be longer.
func (p *Prepared) checkLengths(ctx context.Context) error {
	if p.counts.Inserted+p.counts.Moved+p.counts.Updated == 0 || p.options.Unique { // which compares, and writes nothing
		return nil
	}
	var tables []int
	for table, f := range p.task.Schema.Fields() {
		if limitOf(f) != nil && p.binding.insert[table] && p.source.rows.reads(nil, table) {
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

// limit holds the values of an array against what a column is declared to hold.
type limit struct {
	fmt.Stringer // the declared type
	of           func(arr arrow.Array) func(row int) error
	remedy       string
}

// limitOf is the limit that a field is declared with, nil where there is none.
func limitOf(f arrow.Field) *limit {
	if length, ok := shred.LengthOf(f); ok {
		return &limit{length, func(arr arrow.Array) func(row int) error {
			text := textOf(arr)
			return func(row int) error { return length.Check(text(row)) }
		}, "declare the column longer than " + length.String()}
	}
	if bounds, ok := shred.RangeOf(f); ok {
		return &limit{bounds, func(arr arrow.Array) func(row int) error {
			number := numberOf(arr)
			return func(row int) error { return bounds.Check(number(row)) }
		}, "declare the column wider than " + bounds.String()}
	}
	return nil
}

// checkLength holds a column of the rows that are written against its declared limit.
func (r *rows) checkLength(ctx context.Context, table int, written func(row int) bool) error {
	field := r.binding.schema.Field(table)
	declared := limitOf(field)
	var at input.Cursor
	defer at.Close()
	for _, b := range r.batches {
		if b.Whole {
			continue // what the source says in it was checked by Carry, and what it does not say stays
		}
		var col batchColumn
		var check func(row int) error
		for i := range b.n {
			if !written(b.base + i) {
				continue
			}
			if check == nil {
				var err error
				if col, err = r.read(ctx, b, table, &at); err != nil {
					return err
				}
				check = declared.of(col.arr)
			}
			if row := col.at(i); !col.arr.IsNull(row) {
				if err := check(row); err != nil {
					return &Error{Kind: ErrValue, Column: field.Name, Err: err, Message: "at " + r.position(b.base+i),
						Hint: "correct the source, or " + declared.remedy}
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

// numberOf gives the values of an array of signed integers.
func numberOf(arr arrow.Array) func(i int) int64 {
	switch a := arr.(type) {
	case *array.Int8:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int16:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int32:
		return func(i int) int64 { return int64(a.Value(i)) }
	case *array.Int64:
		return a.Value
	case *array.Dictionary:
		entry := numberOf(a.Dictionary())
		return func(i int) int64 { return entry(a.GetValueIndex(i)) }
	}
	return func(int) int64 { return 0 } // the cast to the table's type gives no other
}
