package source

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
)

// csvScanner reads records of RFC 4180, or as a dialect writes them. The standard library's reader does
// not tell an empty field from a quoted empty one, which here are NULL and the empty text.
type csvScanner struct {
	*dialect
	lines  *lineReader
	start  int64  // line that the record starts on
	text   []byte // the record as it was read
	out    []byte // its fields' values, one after the other
	fields []csvField
}

type csvField struct {
	end  int // in out
	null bool
}

var (
	errQuote  = fmt.Errorf("%w: a quote inside a field that does not start with one, or text after a closing quote", ErrFormat)
	errEscape = fmt.Errorf("%w: an escape before what is no quote, delimiter, line end or escape", ErrFormat)
	errReturn = fmt.Errorf("%w: a carriage return that ends no line and stands in no quotes", ErrFormat)
)

// next reads a record, skipping blank lines and comments. After a [*badRow] it goes on with the next line.
func (s *csvScanner) next() error {
	s.text, s.out, s.fields = s.text[:0], s.out[:0], s.fields[:0]
	var line, end []byte
	for len(line) == 0 || len(s.comment) > 0 && bytes.HasPrefix(line, s.comment) {
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
	switch {
	case s.quote != 0 && len(line) > 0 && line[0] == s.quote:
		return s.quoted(line[1:], end)
	case s.escape != 0:
		return s.escaped(line, end)
	}
	value, tail, more := bytes.Cut(line, s.delimiter)
	switch {
	case s.quote != 0 && bytes.IndexByte(value, s.quote) >= 0:
		return rest, false, s.bad(errQuote)
	case bytes.IndexByte(value, '\r') >= 0:
		return rest, false, s.bad(errReturn)
	}
	s.out = append(s.out, value...)
	s.fields = append(s.fields, csvField{end: len(s.out), null: s.isNull(value)})
	return csvRest{tail, end}, more, nil
}

// quoted reads a field behind its opening quote, over as many lines as it takes.
func (s *csvScanner) quoted(line, end []byte) (rest csvRest, more bool, err error) {
	from := len(s.out)
	for {
		i := bytes.IndexByte(line, s.quote)
		if at := s.escapeIn(line, i); at >= 0 {
			s.out = append(s.out, line[:at]...)
			if line, end, err = s.unescape(line[at+1:], end); err != nil {
				return rest, false, err
			}
			continue
		}
		if i < 0 {
			s.out = append(s.out, line...)
			if line, end, err = s.onward(end); err != nil {
				return rest, false, err
			}
			continue
		}
		s.out, line = append(s.out, line[:i]...), line[i+1:]
		if len(line) == 0 || line[0] != s.quote {
			break
		}
		s.out, line = append(s.out, s.quote), line[1:]
	}
	s.fields = append(s.fields, csvField{end: len(s.out), null: s.quotedNull && s.isNull(s.out[from:])})
	switch {
	case len(line) == 0:
		return rest, false, nil
	case !bytes.HasPrefix(line, s.delimiter):
		return rest, false, s.bad(errQuote)
	}
	return csvRest{line[len(s.delimiter):], end}, true, nil
}

// escaped reads a field without quotes in which escapes may stand.
func (s *csvScanner) escaped(line, end []byte) (rest csvRest, more bool, err error) {
	null := false
	for first := true; ; first = false {
		value, tail, found := bytes.Cut(line, s.delimiter)
		at := bytes.IndexByte(value, s.escape)
		if first && s.isNull(value) { // what is written counts: \N
			null, at = true, -1
		}
		part := value
		if at >= 0 {
			part = value[:at]
		}
		switch {
		case s.quote != 0 && bytes.IndexByte(part, s.quote) >= 0:
			return rest, false, s.bad(errQuote)
		case bytes.IndexByte(part, '\r') >= 0:
			return rest, false, s.bad(errReturn)
		}
		s.out = append(s.out, part...)
		if at < 0 {
			s.fields = append(s.fields, csvField{end: len(s.out), null: null})
			return csvRest{tail, end}, found, nil
		}
		if line, end, err = s.unescape(line[at+1:], end); err != nil {
			return rest, false, err
		}
	}
}

// escapeIn is where the first escape stands in line, before the quote at i; -1 where there is none.
func (s *csvScanner) escapeIn(line []byte, i int) int {
	if s.escape == 0 {
		return -1
	}
	if i >= 0 {
		line = line[:i]
	}
	return bytes.IndexByte(line, s.escape)
}

// unescape takes what stands behind an escape for text, and gives the rest of the line, or the next line.
func (s *csvScanner) unescape(line, end []byte) (restLine, restEnd []byte, err error) {
	switch {
	case len(line) == 0 && len(end) > 0:
		return s.onward(end)
	case bytes.HasPrefix(line, s.delimiter):
		s.out = append(s.out, s.delimiter...)
		return line[len(s.delimiter):], end, nil
	case len(line) > 0 && (line[0] == s.escape || s.quote != 0 && line[0] == s.quote):
		s.out = append(s.out, line[0])
		return line[1:], end, nil
	}
	return nil, nil, s.bad(errEscape)
}

// onward takes a line's end for text and reads the next line.
func (s *csvScanner) onward(end []byte) (nextLine, nextEnd []byte, err error) {
	s.out, s.text = append(s.out, end...), append(s.text, end...)
	if nextLine, nextEnd, err = s.lines.next(); err != nil {
		return nil, nil, s.unclosed(err)
	}
	if s.text = append(s.text, nextLine...); len(s.text) > maxRowBytes {
		return nil, nil, fmt.Errorf("%w: the row, or a quote that is not closed, is longer than %d MiB", ErrFormat, maxRowBytes>>20)
	}
	return nextLine, nextEnd, nil
}

// unclosed is final: where the row was meant to end can't be known.
func (s *csvScanner) unclosed(err error) error {
	if errors.Is(err, io.EOF) {
		return fmt.Errorf("%w: a quote is not closed, or a line end escaped, at the end of the input", ErrFormat)
	}
	return err
}

func (s *csvScanner) bad(err error) error { return &badRow{text: string(s.text), err: err} }

// value is field i of the record.
func (s *csvScanner) value(i int) (value []byte, null bool) {
	from := 0
	if i > 0 {
		from = s.fields[i-1].end
	}
	f := s.fields[i]
	return s.out[from:f.end], f.null
}

// csvRows are the rows of a CSV file with the columns of its header.
type csvRows struct {
	csvScanner
	name    string
	header  []string
	picked  []int // fields that are read
	columns []*builder
}

func openCSV(f *input, want *arrow.Schema, o Options) (Reader, error) {
	d, err := o.CSV.dialect(f.Name)
	if err != nil {
		return nil, &Error{Name: f.Name, Err: fmt.Errorf("%w: %w", ErrFormat, err)}
	}
	lines, err := openLines(f, d.charset)
	if err != nil {
		return nil, &Error{Name: f.Name, Err: err}
	}
	r := &csvRows{name: f.Name, csvScanner: csvScanner{dialect: d, lines: lines}}
	t := &textReader{input: f, o: o, rows: r, plain: lines.plain}
	if err := r.readHeader(newWanted(o.Columns)); err != nil {
		return nil, t.at(err)
	}
	var fields []arrow.Field
	types := typesOf(want)
	if err := r.oneColumn(types); err != nil {
		return nil, err
	}
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

func (r *csvRows) readHeader(w wanted) (err error) {
	if r.header = r.dialect.header; r.header != nil {
		r.picked, err = w.pick(r.header)
		return err
	}
	if err := r.csvScanner.next(); err != nil {
		if errors.Is(err, io.EOF) {
			return fmt.Errorf("%w: no header line", ErrFormat)
		}
		return err
	}
	for i := range r.fields {
		name, _ := r.value(i)
		switch {
		case len(name) == 0:
			return fmt.Errorf("%w: column %d of the header has no name", ErrColumns, i+1)
		case !utf8.Valid(name):
			return fmt.Errorf("%w: column %d of the header is not %s", ErrColumns, i+1, strings.ToUpper(string(r.lines.charset)))
		}
		r.header = append(r.header, string(name))
	}
	r.picked, err = w.pick(r.header)
	return err
}

// oneColumn refuses a header line that is one column which nobody knows, if it looks like several.
func (r *csvRows) oneColumn(known types) error {
	if len(r.header) != 1 || len(known) == 0 {
		return nil
	}
	hint := delimiterHint([]byte(r.header[0]), r.delimiter)
	if _, ok := known[fold(r.header[0])]; ok || hint == "" {
		return nil
	}
	return &Error{Name: r.name, Line: 1, Hint: hint, Err: fmt.Errorf("%w: the header line is one column, %.64q", ErrColumns, r.header[0])}
}

func (r *csvRows) line() int64 { return r.start }

func (r *csvRows) next() error {
	if err := r.csvScanner.next(); err != nil {
		return err
	}
	if len(r.fields) != len(r.header) {
		return r.ragged()
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
			return r.badValue(b.field.Name, value, err)
		}
	}
	return nil
}

// badValue is the row's error where a value is none of its column's.
func (r *csvRows) badValue(column string, value []byte, err error) error {
	bad := &badRow{column: column, text: string(r.text), row: r.json(), err: err}
	if !utf8.Valid(value) {
		bad.err = fmt.Errorf("%w: %.64q is not %s", shred.ErrText, value, strings.ToUpper(string(r.lines.charset)))
		bad.hint = "name the encoding with --csv-encoding, such as latin1 or windows-1252"
	}
	return bad
}

// json is the row as an object of texts; nil where one of them is no text.
func (r *csvRows) json() []byte {
	if !utf8.Valid(r.text) {
		return nil
	}
	dst := []byte{'{'}
	for i, name := range r.header {
		if i > 0 {
			dst = append(dst, ',')
		}
		value, null := r.value(i)
		dst = append(appendJSONString(dst, name), ':')
		if null {
			dst = append(dst, "null"...)
			continue
		}
		dst = appendJSONString(dst, string(value))
	}
	return append(dst, '}')
}

func appendJSONString(dst []byte, text string) []byte {
	quoted, _ := json.Marshal(text) // a string is always JSON
	return append(dst, quoted...)
}

// ragged is the row's error where it has not as many fields as there are columns.
func (r *csvRows) ragged() error {
	want := fmt.Sprintf("the header has %d", len(r.header))
	if r.dialect.header != nil {
		want = fmt.Sprintf("%s named", plural(len(r.header), "column is", "columns are"))
	}
	bad := &badRow{text: string(r.text), err: fmt.Errorf("%w: %s, %s", ErrFormat, plural(len(r.fields), "field", "fields"), want)}
	if len(r.fields) == 1 || len(r.header) == 1 {
		bad.hint = delimiterHint(r.text, r.delimiter)
	}
	return bad
}

// delimiterHint guesses at the delimiter of a line that seems to have another one.
func delimiterHint(line, delimiter []byte) string {
	for _, d := range []struct{ char, flag string }{{";", "';'"}, {"\t", "'\\t'"}, {"|", "'|'"}, {",", "','"}} {
		if d.char != string(delimiter) && bytes.Contains(line, []byte(d.char)) {
			return "if its fields are separated by " + d.flag + ", say so: --csv-delimiter " + d.flag
		}
	}
	return ""
}

func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
