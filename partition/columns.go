package partition

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/source"
)

// fileColumns are columns of a source file. What is wrong with the file gets its kind where it shows:
// most of a file is read when the merge asks for it.
type fileColumns struct {
	source.Columns
	explain func(error) error
}

// Read implements source.Columns.
func (c *fileColumns) Read(ctx context.Context, column int, at *source.Cursor) (arrow.Array, error) {
	arr, err := c.Columns.Read(ctx, column, at)
	return arr, c.explain(err)
}

// Unwrap gives the columns themselves.
func (c *fileColumns) Unwrap() source.Columns { return c.Columns }

// columnView shows columns by other names and in another order, some of them filled in.
type columnView struct {
	source.Columns
	schema *arrow.Schema
	from   []int         // per column its ordinal below; -1 where it is filled
	filled []arrow.Array // per column; nil where it is not
}

// newColumnView shows columns; with add columns are put in.
func newColumnView(c source.Columns) *columnView { return &columnView{Columns: c} }

func (v *columnView) add(f arrow.Field, from int, filled arrow.Array) {
	var fields []arrow.Field
	if v.schema != nil {
		fields = v.schema.Fields()
	}
	v.schema = arrow.NewSchema(append(fields, f), nil)
	v.from, v.filled = append(v.from, from), append(v.filled, filled)
}

// Schema implements source.Columns.
func (v *columnView) Schema() *arrow.Schema { return v.schema }

// Read implements source.Columns.
func (v *columnView) Read(ctx context.Context, column int, at *source.Cursor) (arrow.Array, error) {
	if v.from[column] < 0 {
		return v.filled[column], nil
	}
	return v.Columns.Read(ctx, v.from[column], at)
}
