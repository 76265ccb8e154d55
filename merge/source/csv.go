package source

import (
	"bytes"
	"errors"
	"fmt"
	"io"

	"github.com/apache/arrow/go/v17/arrow"
)

// csvScanner reads records of RFC 4180. The standard library's reader does not tell an empty field
// from a quoted empty one, which here are NULL and the empty text.
type csvScanner struct {
	lines  *lineReader
	start  int64  // line that the record starts on
	text   []byte // the record as it was read
	out    []byte // its fields' values, one after the other
	fields []csvField
}

type csvField struct {
	end    int // in out
	quoted bool
}

var errQuote = fmt.Errorf("%w: a quote inside a field that does not start with one, or text after a closing quote", ErrFormat)

// next reads a record, skipping blank lines. After a [*badRow] it goes on with the next line.
func (s *csvScanner) next() error {
	s.text, s.out, s.fields = s.text[:0], s.out[:0], s.fields[:0]
	var line, end []byte
	for len(line) == 0 {
		var err error
		if line, end, err = s.lines.next(); err != nil {
			s.start = s.lines.line
			return err
		}
	}
	s.start = s.lines.line
	s.text = append(s.text, line...)
	for {
		rest, more, err := s.field(line, end)
		switch {
		case err != nil:
			return err
		case !more:
			return nil
		}
		line, end = rest.line, rest.end
	}
}

type csvRest struct{ line, end []byte }

// field reads one field at the start of line; more says that another follows.
func (s *csvScanner) field(line, end []byte) (rest csvRest, more bool, err error) {
	if len(line) > 0 && line[0] == '"' {
		return s.quoted(line[1:], end)
	}
	value, tail, more := bytes.Cut(line, []byte{','})
	if bytes.IndexByte(value, '"') >= 0 {
		return rest, false, s.bad(errQuote)
	}
	s.out = append(s.out, value...)
	s.fields = append(s.fields, csvField{end: len(s.out)})
	return csvRest{tail, end}, more, nil
}

// quoted reads a field behind its opening quote, over as many lines as it takes.
func (s *csvScanner) quoted(line, end []byte) (rest csvRest, more bool, err error) {
	for {
		i := bytes.IndexByte(line, '"')
		if i < 0 {
			s.out = append(append(s.out, line...), end...)
			s.text = append(s.text, end...)
			if line, end, err = s.lines.next(); err != nil {
				return rest, false, s.unclosed(err)
			}
			if s.text = append(s.text, line...); len(s.text) > maxRowBytes {
				return rest, false, fmt.Errorf("%w: the row, or a quote that is not closed, is longer than %d MiB", ErrFormat, maxRowBytes>>20)
			}
			continue
		}
		s.out, line = append(s.out, line[:i]...), line[i+1:]
		if len(line) == 0 || line[0] != '"' {
			break
		}
		s.out, line = append(s.out, '"'), line[1:]
	}
	s.fields = append(s.fields, csvField{end: len(s.out), quoted: true})
	switch {
	case len(line) == 0:
		return rest, false, nil
	case line[0] != ',':
		return rest, false, s.bad(errQuote)
	}
	return csvRest{line[1:], end}, true, nil
}

// unclosed is final: where the row was meant to end can't be known.
func (s *csvScanner) unclosed(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: a quote is not closed by the end of the input", ErrFormat)
	}
	return err
}

func (s *csvScanner) bad(err error) error { return &badRow{text: string(s.text), err: err} }

// value is field i of the record; null if it is empty and unquoted.
func (s *csvScanner) value(i int) (value []byte, null bool) {
	from := 0
	if i > 0 {
		from = s.fields[i-1].end
	}
	f := s.fields[i]
	return s.out[from:f.end], f.end == from && !f.quoted
}

// csvRows are the rows of a CSV file with the columns of its header.
type csvRows struct {
	csvScanner
	header  []string
	picked  []int // fields that are read
	columns []*builder
}

func openCSV(f *input, want *arrow.Schema, o Options) (Reader, error) {
	lines, err := openLines(f)
	if err != nil {
		return nil, &Error{Name: f.Name, Err: err}
	}
	r := &csvRows{csvScanner: csvScanner{lines: lines}}
	t := &textReader{input: f, o: o, rows: r, plain: lines.plain}
	if err := r.readHeader(newWanted(o.Columns)); err != nil {
		return nil, t.at(err)
	}
	var fields []arrow.Field
	types := typesOf(want)
	for _, i := range r.picked {
		field := types.field(r.header[i])
		b, err := newBuilder(field, castOptions(o))
		if err == nil && b.children != nil {
			err = fmt.Errorf("%w: CSV has no form for the nested type %s", ErrFormat, field.Type)
		}
		if err != nil {
			return nil, &Error{Name: f.Name, Line: 1, Column: field.Name, Err: err}
		}
		r.columns, fields = append(r.columns, b), append(fields, field)
	}
	t.columns, t.schema = r.columns, arrow.NewSchema(fields, nil)
	return t, nil
}

func (r *csvRows) readHeader(w wanted) error {
	if err := r.csvScanner.next(); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: no header line", ErrFormat)
		}
		return err
	}
	for i := range r.fields {
		name, _ := r.value(i)
		if len(name) == 0 {
			return fmt.Errorf("%w: column %d of the header has no name", ErrColumns, i+1)
		}
		r.header = append(r.header, string(name))
	}
	var err error
	r.picked, err = w.pick(r.header)
	return err
}

func (r *csvRows) line() int64 { return r.start }

func (r *csvRows) next() error {
	if err := r.csvScanner.next(); err != nil {
		return err
	}
	if len(r.fields) != len(r.header) {
		return r.bad(fmt.Errorf("%w: %d fields, the header has %d", ErrFormat, len(r.fields), len(r.header)))
	}
	for i, b := range r.columns {
		value, null := r.value(r.picked[i])
		var err error
		switch {
		case null:
			err = b.null()
		case b.parse == nil:
			err = fmt.Errorf("%w: a value in a column of type null", ErrFormat)
		default:
			err = b.text(value)
		}
		if err != nil {
			return &badRow{column: b.field.Name, text: string(r.text), err: err}
		}
	}
	return nil
}
