package merge

import (
	"errors"
	"fmt"
	"strings"
)

// What callers branch on, with errors.Is.
var (
	// ErrNullKey: a source row has NULL in a key column.
	ErrNullKey = errors.New("null key")
	// ErrDuplicateKey: the source, or the old files for a key the source touches, hold a key twice.
	ErrDuplicateKey = errors.New("duplicate key")
	// ErrSchema: columns are missing, new, ambiguous or of types that do not fit.
	ErrSchema = errors.New("schema mismatch")
	// ErrValue: a value can't be stored exactly, or is not allowed (NaN as a version).
	ErrValue = errors.New("value does not fit")
	// ErrGuard: a guard stopped the merge.
	ErrGuard = errors.New("stopped by a guard")
	// ErrVerify: the conservation check does not hold; a bug, or files that lie.
	ErrVerify = errors.New("verification failed")
	// ErrUsage: the options do not fit each other or the table.
	ErrUsage = errors.New("wrong usage")
)

// Error says what stopped a merge, where, and what to do. Kind is one of the sentinels or a cause of
// the file format; errors.Is matches it.
type Error struct {
	Kind    error
	Message string
	File    string
	Column  string
	Hint    string
	Err     error // the cause, if there is one below
}

func (e *Error) Error() string {
	var b strings.Builder
	if e.File != "" {
		b.WriteString(e.File + ": ")
	}
	if e.Column != "" {
		b.WriteString("column " + e.Column + ": ")
	}
	b.WriteString(e.Message)
	if e.Err != nil {
		if e.Message != "" {
			b.WriteString(": ")
		}
		b.WriteString(e.Err.Error())
	}
	return b.String()
}

// Unwrap gives the kind and the cause.
func (e *Error) Unwrap() []error {
	if e.Err == nil {
		return []error{e.Kind}
	}
	return []error{e.Kind, e.Err}
}

// plural counts things.
func plural(n int, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, several)
}
