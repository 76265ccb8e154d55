package source

import (
	"context"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// Columns is a run of rows whose columns are decoded one by one, when they are asked for. Any
// goroutine may use it.
type Columns interface {
	// Schema is that of the rows. An array may be a dictionary of the type that stands there.
	Schema() *arrow.Schema
	NumRows() int64
	// Bytes is about how much the rows take before compression.
	Bytes() int64
	// Read gives a column, good for as long as the rows are and not to be released. The cursor is where
	// the last Read of the same column stood, or the zero value: a run that follows the one before is
	// decoded on from there.
	Read(ctx context.Context, column int, at *Cursor) (arrow.Array, error)
}

// Cursor is where the reading of one column stands. It is for one goroutine, which closes it.
type Cursor struct{ field *fieldReader }

// Close frees what the cursor holds. It can be used again.
func (c *Cursor) Close() {
	if c.field != nil {
		c.field.close()
		c.field = nil
	}
}

// LeafReader is Columns of which some are read as a file holds them, with no array made of them.
type LeafReader interface {
	// ReadLeaf gives a column of single values in the form of a leaf, which it must be stored in: nil where it is not. It
	// is good until the cursor is used again.
	ReadLeaf(ctx context.Context, column int, as *column.Leaf, at *Cursor) (*column.Column, error)
}

// ReadLeaf is LeafReader's; nil of Columns that are none.
func ReadLeaf(ctx context.Context, c Columns, column int, as *column.Leaf, at *Cursor) (*column.Column, error) {
	if r, ok := c.(LeafReader); ok {
		return r.ReadLeaf(ctx, column, as, at)
	}
	return nil, nil
}

// storedAlike reports whether the bytes of values of one leaf are those of the other, whatever becomes of them on the
// way through an array. Decimals, times of day and integers of fewer bits are left out: an array refuses some.
func storedAlike(a, b *column.Leaf) bool {
	if !a.Flat() || a.Type != b.Type || a.MaxDef != b.MaxDef || b.MaxRep != 0 || a.Annotation != b.Annotation {
		return false
	}
	switch k := a.Annotation; a.Type {
	case format.Int32, format.Int64:
		return k.Kind == column.None || k.Kind == column.Date || k.Kind == column.Timestamp ||
			k.Kind == column.Int && !k.Unsigned && k.Bits == a.Width*8
	case format.Float, format.Double:
		return k.Kind == column.None
	case format.ByteArray:
		return k.Kind == column.None || k.Kind == column.String
	}
	return false
}

// InMemory gives the columns of a record.
func InMemory(rec arrow.Record) Columns { return inMemory{rec} }

type inMemory struct{ arrow.Record }

// Bytes implements Columns.
func (m inMemory) Bytes() int64 {
	total := int64(0)
	for _, arr := range m.Columns() {
		total += int64(arr.Data().SizeInBytes())
	}
	return total
}

// Read implements Columns.
func (m inMemory) Read(_ context.Context, column int, _ *Cursor) (arrow.Array, error) {
	return m.Column(column), nil
}

// Origin is where the rows of Columns stand, column for column, in a Parquet file.
type Origin struct {
	File     *splice.File
	RowGroup int
	From     int64 // the first row, counted in the row group
}

// OriginOf tells where columns stand; false where they are not a file's own. It looks below columns that
// only wrap others (Unwrap).
func OriginOf(c Columns) (Origin, bool) {
	if w, ok := c.(interface{ Unwrap() Columns }); ok {
		return OriginOf(w.Unwrap())
	}
	if s, ok := c.(*Stretch); ok && len(s.fields) == len(s.file.Schema().Root.Children) {
		return Origin{File: s.file, RowGroup: s.group, From: s.from}, true
	}
	return Origin{}, false
}
