package merge

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
)

// Reject is a row that was left out.
type Reject struct {
	Reason   string // "null_key", "old_duplicate"
	Position string // where it stood: file and line or row
	// Row is the row as a JSON object: of the source with its own columns, of an old file with all of the
	// file's. NULLs are there too.
	Row []byte
}

// rowReader writes rows of one run of columns as JSON. What it has decoded it keeps until another run's turn.
type rowReader struct {
	of     input.Columns
	arrays []arrow.Array
}

func (r *rowReader) json(ctx context.Context, of input.Columns, row int) ([]byte, error) {
	s := of.Schema()
	if r.of != of {
		r.of, r.arrays = of, make([]arrow.Array, s.NumFields())
		for i := range r.arrays {
			var at input.Cursor
			arr, err := of.Read(ctx, i, &at)
			at.Close()
			if err != nil {
				r.of = nil
				return nil, err
			}
			r.arrays[i] = arr
		}
	}
	return shred.RowJSON(s, r.arrays, row)
}

// reject gives source rows to the rejects.
func (s *source) reject(ctx context.Context, o *Options, reason string, rows []int) error {
	if o.Reject == nil {
		return nil
	}
	var reader rowReader
	for _, row := range rows {
		b, i := s.rows.locate(row)
		text, err := reader.json(ctx, b.Columns, b.row(i))
		if err != nil {
			return err
		}
		if err := o.Reject(Reject{Reason: reason, Position: s.rows.position(row), Row: text}); err != nil {
			return err
		}
	}
	return nil
}

// oldRows reads rows of the old files for the rejects: they go from the table, so all of them must be told.
type oldRows struct {
	file   *oldFile
	runs   []*input.Stretch
	reader rowReader
}

func (r *oldRows) reject(ctx context.Context, o *Options, g *rowGroup, row uint32) error {
	if o.Reject == nil {
		return nil
	}
	if r.file != g.file {
		runs, err := input.StretchesOf(g.file.file, g.file.Name)
		if err != nil {
			return err
		}
		r.file, r.runs = g.file, runs
	}
	for _, run := range r.runs {
		group, from := run.Place()
		if at := int64(row) - from; group == g.ordinal && at >= 0 && at < run.NumRows() {
			text, err := r.reader.json(ctx, run, int(at))
			if err != nil {
				return err
			}
			return o.Reject(Reject{Reason: "old_duplicate", Position: run.Position(int(at)), Row: text})
		}
	}
	return fmt.Errorf("%s has no row %d", g, row)
}
