package source

import (
	"context"
	"errors"
	"io"
	"sync/atomic"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/shred"
)

// batchBytes of input end a batch early, so that long texts do not make it large.
const batchBytes = 128 << 20

// checkRows is how many rows are read between two looks at the context.
const checkRows = 1024

// rows is what the two text formats differ in.
type rows interface {
	// next reads one row and appends it to the columns' builders. A row that does not parse is a
	// [*badRow]: the next call goes on after it. Any other error is final.
	next() error
	// line is where the row that was read last starts.
	line() int64
}

// badRow is a row that does not parse.
type badRow struct {
	column string
	text   string
	row    []byte // as JSON; nil where it can't be taken apart
	hint   string
	err    error
}

func (b *badRow) Error() string { return b.err.Error() }

func (b *badRow) Unwrap() error { return b.err }

// textReader makes records of rows of text.
type textReader struct {
	*input
	o       Options
	rows    rows
	plain   *atomic.Int64 // bytes of text read
	columns []*builder
	schema  *arrow.Schema
	lines   []int64 // of the last record's rows
}

func castOptions(o Options) shred.CastOptions {
	return shred.CastOptions{SourceTimezone: o.SourceTimezone, TruncateTimestamps: o.TruncateTimestamps}
}

// Schema implements Reader.
func (t *textReader) Schema() *arrow.Schema { return t.schema }

// Position implements Reader.
func (t *textReader) Position(row int) string { return place(t.Name, t.lines[row], 0) }

// Close implements Reader.
func (t *textReader) Close() error { return t.close() }

// Next implements Reader.
func (t *textReader) Next(ctx context.Context) (arrow.Record, error) {
	if err := t.fill(ctx); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(t.lines) == 0 {
		return nil, io.EOF
	}
	return t.record(), nil
}

func (t *textReader) record() arrow.Record {
	arrays := make([]arrow.Array, len(t.columns))
	for i, c := range t.columns {
		arrays[i] = c.array()
	}
	rec := array.NewRecord(t.schema, arrays, int64(len(t.lines)))
	for _, a := range arrays {
		a.Release()
	}
	return rec
}

// fill reads rows up to a batch; io.EOF if the input ends before.
func (t *textReader) fill(ctx context.Context) error {
	t.lines = t.lines[:0]
	start := t.plain.Load()
	for n := 0; len(t.lines) < t.o.BatchRows && t.plain.Load()-start < batchBytes; n++ {
		if n%checkRows == 0 {
			if err := ctx.Err(); err != nil {
				return err
			}
		}
		if err := t.row(); err != nil {
			return err
		}
	}
	return nil
}

// row reads one row or rejects it.
func (t *textReader) row() error {
	err := t.rows.next()
	if err == nil {
		t.lines = append(t.lines, t.rows.line())
		return nil
	}
	var bad *badRow
	if !errors.As(err, &bad) {
		if errors.Is(err, io.EOF) {
			return err
		}
		return t.at(err)
	}
	for _, c := range t.columns {
		c.truncate(len(t.lines))
	}
	if t.o.Rejects == nil {
		return &Error{Name: t.Name, Line: t.rows.line(), Column: bad.column, Hint: bad.hint, Err: bad.err}
	}
	return t.o.Rejects(Reject{Name: t.Name, Line: t.rows.line(), Column: bad.column, Text: bad.text, Row: bad.row, Err: bad.err})
}

// at names the place of a final error.
func (t *textReader) at(err error) error {
	return &Error{Name: t.Name, Line: t.rows.line(), Err: err}
}
