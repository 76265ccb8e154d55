package source

import (
	"bytes"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"unicode/utf8"
)

// CSVOptions says how CSV is written where it is not RFC 4180 in UTF-8. The zero value is that: commas,
// double quotes that are doubled inside quotes, a header line, and an empty field without quotes is NULL.
// Characters are given as they are, or as \t, \\ or \x01.
type CSVOptions struct {
	// Delimiter stands between fields, one to four bytes; "": a comma, in files named .tsv a tab.
	Delimiter string
	// Quote is the ASCII character around fields; "": a double quote, "none": quotes are text.
	Quote string
	// Escape is an ASCII character that takes a quote, a delimiter, a line end or itself after it for text,
	// inside quotes and outside. Before anything else it is an error: some programs mean a line end by \n,
	// others a backslash and an n. "": there is none.
	Escape string
	// Null are the texts that mean NULL where they stand without quotes, as they are written, escapes
	// included (\N). An empty field means NULL only if "" is among them, else it is the empty text. Nil
	// is the empty field alone.
	Null []string
	// QuotedNull lets them mean NULL in quotes too, for files that quote every field.
	QuotedNull bool
	// NoHeader says that the first line is a row; Columns are the names of its fields then, in order.
	NoHeader bool
	Columns  []string
	// Encoding is utf-8, latin1, windows-1252, utf-16, utf-16le or utf-16be. "": what a byte order mark
	// says, else UTF-8. utf-16 is told by its mark, which it must have.
	Encoding string
	// Comment is what lines begin with that are left out, outside quotes; "": no line is.
	Comment string
}

// Zero reports whether nothing is said.
func (o CSVOptions) Zero() bool {
	return o.Delimiter+o.Quote+o.Escape+o.Encoding+o.Comment == "" && o.Null == nil && !o.QuotedNull && !o.NoHeader && o.Columns == nil
}

// Validate reports every field that makes no sense, joined. Messages name the command's flags.
func (o CSVOptions) Validate() error {
	_, err := o.dialect("")
	return err
}

// dialect is CSVOptions in the form that the scanner takes.
type dialect struct {
	delimiter  []byte
	quote      byte // 0: none
	escape     byte // 0: none
	comment    []byte
	null       [][]byte // nil: the empty field
	quotedNull bool
	header     []string // nil: the first line
	charset    charset
}

// noQuote is what CSVOptions.Quote says for none.
const noQuote = "none"

func (o CSVOptions) dialect(name string) (*dialect, error) {
	d := &dialect{quotedNull: o.QuotedNull}
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	one := func(flag, text string) byte {
		b, err := unescaped(text)
		if err != nil || len(b) != 1 || b[0] >= utf8.RuneSelf || b[0] == '\n' || b[0] == '\r' {
			bad("%s %q: want one ASCII character", flag, text)
			return 0
		}
		return b[0]
	}
	var err error
	switch {
	case o.Delimiter != "":
		if d.delimiter, err = unescaped(o.Delimiter); err != nil || len(d.delimiter) == 0 || len(d.delimiter) > 4 || bytes.ContainsAny(d.delimiter, "\r\n") {
			bad("csv-delimiter %q: want a character such as ';', '|', \\t or \\x01", o.Delimiter)
		}
	case strings.EqualFold(path.Ext(plainName(name)), ".tsv"):
		d.delimiter = []byte{'\t'}
	default:
		d.delimiter = []byte{','}
	}
	switch o.Quote {
	case "":
		d.quote = '"'
	case noQuote:
	default:
		d.quote = one("csv-quote", o.Quote)
	}
	if o.Escape != "" {
		d.escape = one("csv-escape", o.Escape)
	}
	if d.quote != 0 && d.quote == d.escape {
		d.escape = 0 // a quote that is escaped by a quote is a doubled one
	}
	if o.Comment != "" {
		if d.comment, err = unescaped(o.Comment); err != nil || bytes.ContainsAny(d.comment, "\r\n") {
			bad("csv-comment %q: want what lines to leave out begin with", o.Comment)
		}
	}
	if overlap(d) && len(errs) == 0 {
		bad("csv-delimiter, csv-quote, csv-escape and csv-comment must differ")
	}
	for _, text := range o.Null {
		if strings.ContainsAny(text, "\r\n") {
			bad("csv-null %q: a text of one line is expected", text)
		}
		d.null = append(d.null, []byte(text))
	}
	switch {
	case o.NoHeader && len(o.Columns) == 0:
		bad("csv-header=false needs the names of the columns: --csv-columns a,b,c")
	case !o.NoHeader && len(o.Columns) > 0:
		bad("csv-columns names the columns of a file without a header line: it goes with --csv-header=false")
	case slices.Contains(o.Columns, ""):
		bad("csv-columns: column %d has no name", slices.Index(o.Columns, "")+1)
	}
	d.header = o.Columns
	if d.charset, err = parseCharset(o.Encoding); err != nil {
		errs = append(errs, err)
	}
	return d, errors.Join(errs...)
}

// overlap reports whether a character would mean two things.
func overlap(d *dialect) bool {
	has := func(c byte) bool { return c != 0 && bytes.IndexByte(d.delimiter, c) >= 0 }
	begins := len(d.comment) > 0 && (d.comment[0] == d.quote || d.comment[0] == d.escape || bytes.HasPrefix(d.delimiter, d.comment) || bytes.HasPrefix(d.comment, d.delimiter))
	return has(d.quote) || has(d.escape) || begins
}

// isNull reports whether the text of a field, as written, means NULL.
func (d *dialect) isNull(text []byte) bool {
	if d.null == nil {
		return len(text) == 0
	}
	for _, n := range d.null {
		if bytes.Equal(n, text) {
			return true
		}
	}
	return false
}

// unescaped reads \t, \\ and \x01, which are hard to write on a command line. A backslash alone is one.
func unescaped(text string) ([]byte, error) {
	if text == `\` {
		return []byte(text), nil
	}
	var out []byte
	for i := 0; i < len(text); i++ {
		if text[i] != '\\' {
			out = append(out, text[i])
			continue
		}
		rest := text[i+1:]
		switch {
		case strings.HasPrefix(rest, "t"):
			out, i = append(out, '\t'), i+1
		case strings.HasPrefix(rest, `\`):
			out, i = append(out, '\\'), i+1
		case len(rest) >= 3 && rest[0] == 'x':
			var c byte
			if _, err := fmt.Sscanf(rest[1:3], "%02x", &c); err != nil {
				return nil, fmt.Errorf("%q: %w", text, err)
			}
			out, i = append(out, c), i+3
		default:
			return nil, fmt.Errorf("%q is no escape", text[i:])
		}
	}
	return out, nil
}
