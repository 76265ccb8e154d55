package spill

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/source"
)

// Rows are rows in a space. They implement [source.Columns]: a column is read when it is asked for.
type Rows struct {
	space  *Space
	schema *arrow.Schema
	n      int
	base   int64 // where the columns begin
	dir    Block // where each column lies, counted from base
}

// Schema makes the schema of stored rows of another one.
func Schema(s *arrow.Schema) *arrow.Schema {
	fields := make([]arrow.Field, s.NumFields())
	for i, f := range s.Fields() {
		fields[i] = fieldOf(f)
	}
	return arrow.NewSchema(fields, nil)
}

// Write stores n rows of columns, each an array that Gather gave or a slice of one; columns that nobody
// will ask for may be nil. The schema is one that [Schema] gave; it is shared, not copied.
func (s *Space) Write(schema *arrow.Schema, columns []arrow.Array, n int) (*Rows, error) {
	var p, dir []byte
	for _, arr := range columns {
		b := Block{at: int64(len(p))}
		if arr != nil {
			p = appendArray(p, arr.Data())
		}
		b.len = int64(len(p)) - b.at
		b.crc = checksum(p[b.at:])
		dir = b.put(dir)
	}
	all, err := s.Append(append(p, dir...))
	if err != nil {
		return nil, err
	}
	at := all.at + int64(len(p))
	return &Rows{space: s, schema: schema, n: n, base: all.at, dir: Block{at: at, len: int64(len(dir)), crc: checksum(dir)}}, nil
}

// Schema implements source.Columns.
func (r *Rows) Schema() *arrow.Schema { return r.schema }

// NumRows implements source.Columns.
func (r *Rows) NumRows() int64 { return int64(r.n) }

// Bytes implements source.Columns.
func (r *Rows) Bytes() int64 { return r.dir.at - r.base }

// Read implements source.Columns.
func (r *Rows) Read(_ context.Context, column int, _ *source.Cursor) (arrow.Array, error) {
	dir, err := r.space.Read(r.dir, nil)
	if err != nil {
		return nil, err
	}
	f := r.schema.Field(column)
	block := getBlock(dir[column*blockBytes:])
	block.at += r.base
	if block.len == 0 && f.Type.ID() != arrow.NULL {
		return nil, fmt.Errorf("column %s was not kept", f.Name)
	}
	p, err := r.space.Read(block, nil)
	if err != nil {
		return nil, err
	}
	in := arrayReader{p}
	data, err := in.read(f.Type, r.n)
	if err != nil {
		return nil, err
	}
	defer data.Release()
	return array.MakeFromData(data), nil
}
