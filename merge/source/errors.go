package source

import (
	"errors"
	"fmt"
	"strings"
)

var (
	// ErrFormat: the input is not in the format that was named, or can't be read in it.
	ErrFormat = errors.New("malformed input")
	// ErrColumns: the input's column names are ambiguous, empty or appear too late.
	ErrColumns = errors.New("unusable column names")
	// ErrUntyped: a text format has no types to make a schema of.
	ErrUntyped = errors.New("the format has no column types: give a schema")
)

// Error is a problem at a place in an input.
type Error struct {
	Name   string
	Line   int64  // from 1; 0 where the format has no lines
	Row    int64  // from 1; 0 where Line says it or no row is meant
	Column string // empty if no single one
	Hint   string // what can be done, where the reader knows
	Err    error
}

func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString(place(e.Name, e.Line, e.Row))
	if e.Column != "" {
		fmt.Fprintf(&b, ": column %s", e.Column)
	}
	fmt.Fprintf(&b, ": %v", e.Err)
	return b.String()
}

func (e *Error) Unwrap() error { return e.Err }

func place(name string, line, row int64) string {
	switch {
	case line > 0:
		return fmt.Sprintf("%s:%d", name, line)
	case row > 0:
		return fmt.Sprintf("%s row %d", name, row)
	}
	return name
}

// Reject is a row that does not parse.
type Reject struct {
	Name   string
	Line   int64  // where the row starts, from 1
	Column string // empty if the row as a whole is malformed
	Text   string // the row as read, without its line end
	Row    []byte // the row as a JSON object, where it could be taken apart
	Err    error
}
