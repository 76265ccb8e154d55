package partition

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/column"
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

// ReadLeaf implements source.LeafReader.
func (c *fileColumns) ReadLeaf(ctx context.Context, ordinal int, as *column.Leaf, at *source.Cursor) (*column.Column, error) {
	col, err := source.ReadLeaf(ctx, c.Columns, ordinal, as, at)
	return col, c.explain(err)
}

// Unwrap gives the columns themselves.
func (c *fileColumns) Unwrap() source.Columns { return c.Columns }

// columnView shows columns by other names and in another order, some of them filled in.
type columnView struct {
	source.Columns
	*viewShape
	filled []arrow.Array // per column; nil where it is not
}

// viewShape is what views of columns with one schema have in common.
type viewShape struct {
	schema *arrow.Schema
	from   []int // per column its ordinal below; -1 where it is filled
}

// newViewShape shows the columns at the ordinals from under the names and types of fields.
func newViewShape(fields []arrow.Field, from []int) *viewShape {
	return &viewShape{schema: arrow.NewSchema(fields, nil), from: from}
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

// ReadLeaf implements source.LeafReader.
func (v *columnView) ReadLeaf(ctx context.Context, ordinal int, as *column.Leaf, at *source.Cursor) (*column.Column, error) {
	if v.from[ordinal] < 0 {
		return nil, nil
	}
	return source.ReadLeaf(ctx, v.Columns, v.from[ordinal], as, at)
}
