package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
)

// ndjsonRows are the rows of an NDJSON file. Its columns are found while the first batch is read, and
// fixed from then on: a record that is given out can't get another column afterwards.
type ndjsonRows struct {
	lines *lineReader
	types types
	want  wanted
	o     Options

	t      *textReader
	byName map[string]*jsonColumn // by name as written
	folded map[string]*jsonColumn
	fixed  bool
	scan   jsonScanner
}

type jsonColumn struct{ *builder } // nil: not read

// ndjsonReader has read its first batch already, for the schema's sake.
type ndjsonReader struct {
	*textReader
	first error
	ready bool
}

func openNDJSON(ctx context.Context, f *input, want *arrow.Schema, o Options) (Reader, error) {
	lines, err := openLines(f, utf8Text)
	if err != nil {
		return nil, &Error{Name: f.Name, Err: err}
	}
	rows := &ndjsonRows{lines: lines, types: typesOf(want), want: newWanted(o.Columns), o: o,
		byName: map[string]*jsonColumn{}, folded: map[string]*jsonColumn{}}
	t := &textReader{input: f, o: o, rows: rows, plain: lines.plain}
	rows.t = t
	r := &ndjsonReader{textReader: t, ready: true}
	r.first = t.fill(ctx)
	if r.first != nil && !errors.Is(r.first, io.EOF) {
		return nil, r.first
	}
	rows.fixed = true
	fields := make([]arrow.Field, len(t.columns))
	for i, c := range t.columns {
		fields[i] = c.field
	}
	t.schema = arrow.NewSchema(fields, nil)
	return r, nil
}

// Next implements Reader.
func (r *ndjsonReader) Next(ctx context.Context) (arrow.Record, error) {
	if !r.ready {
		return r.textReader.Next(ctx)
	}
	r.ready = false
	if len(r.lines) == 0 {
		return nil, io.EOF
	}
	return r.record(), nil
}

func (r *ndjsonRows) line() int64 { return r.lines.line }

func (r *ndjsonRows) next() error {
	var line []byte
	for len(line) == 0 {
		var err error
		if line, _, err = r.lines.next(); err != nil {
			return err
		}
		line = bytes.TrimSpace(line)
	}
	r.scan = jsonScanner{b: line, text: r.scan.text}
	n, columns := len(r.t.lines), len(r.t.columns)
	var current string
	err := r.scan.object(func(name []byte) error {
		c, err := r.column(name)
		if err != nil {
			return err
		}
		if c.builder == nil {
			_, err = r.scan.skip()
			return err
		}
		current = c.field.Name
		if c.n > n {
			return fmt.Errorf("%w: the column occurs twice", ErrFormat)
		}
		err = c.json(&r.scan)
		if err == nil {
			current = ""
		}
		return err
	})
	if err == nil {
		err = r.scan.end()
	}
	if err != nil {
		r.forget(columns)
		return r.failed(err, current, line)
	}
	for _, c := range r.t.columns {
		if c.n == n {
			c.blank()
		}
	}
	return nil
}

// forget drops the columns that only a bad row had: the input does not have them.
func (r *ndjsonRows) forget(columns int) {
	for _, c := range r.t.columns[columns:] {
		delete(r.byName, c.field.Name)
		delete(r.folded, fold(c.field.Name))
	}
	r.t.columns = r.t.columns[:columns]
}

// errLate can't be rejected row by row: it says that the columns were not what they seemed.
var errLate = fmt.Errorf("%w: the column occurs in no row of the first batch; write it there as null", ErrColumns)

func (r *ndjsonRows) failed(err error, column string, line []byte) error {
	if errors.Is(err, errLate) || errors.Is(err, errFull) || errors.Is(err, errName) {
		return err
	}
	bad := &badRow{column: column, text: string(line), err: err}
	if line[0] == '{' && utf8.Valid(line) && json.Valid(line) {
		bad.row = bytes.Clone(line)
	}
	return bad
}

var errName = fmt.Errorf("%w: two columns have the same name", ErrColumns)

// column finds or, in the first batch, makes a column.
func (r *ndjsonRows) column(name []byte) (*jsonColumn, error) {
	if c := r.byName[string(name)]; c != nil {
		return c, nil
	}
	written := string(name)
	if !r.want.has(written) {
		c := &jsonColumn{}
		r.byName[written] = c
		return c, nil
	}
	if c := r.folded[fold(written)]; c != nil {
		return nil, fmt.Errorf("%w: %q and %q", errName, c.field.Name, written)
	}
	if r.fixed {
		return nil, fmt.Errorf("column %s: %w", written, errLate)
	}
	b, err := newBuilder(r.types.field(written), castOptions(r.o))
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", written, err)
	}
	for range r.t.lines {
		b.blank()
	}
	c := &jsonColumn{builder: b}
	r.byName[written], r.folded[fold(written)] = c, c
	r.t.columns = append(r.t.columns, b)
	return c, nil
}
