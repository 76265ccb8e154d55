package metastore

import (
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

// What callers branch on. What is not there matches fs.ErrNotExist, what is denied fs.ErrPermission, a metastore that does
// not answer storage.ErrUnavailable, a partition that is not where it was said to be swap.ErrConflict.
var (
	// ErrUsage: a URL, a name or a setting that can't be understood.
	ErrUsage = errors.New("wrong usage")
	// ErrRefused: a table or partition of a kind that hupsert does not change.
	ErrRefused = errors.New("not a plain Parquet table")
	// ErrSchema: columns or types that are not understood, or do not fit.
	ErrSchema = errors.New("schema not understood")
	// ErrElsewhere: a partition lies on another storage than its table.
	ErrElsewhere = swap.ErrElsewhere
)

// Error says what went wrong with a metastore, a table or a partition, and what helps.
type Error struct {
	Table     string // "db.table"; "" where it is not about one
	Partition string
	Column    string
	Hint      string
	Err       error
}

// Error is the message in one line, without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	for _, place := range []string{e.Table, e.Partition} {
		if place != "" {
			b.WriteString(place + ": ")
		}
	}
	if e.Column != "" {
		b.WriteString("column " + e.Column + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// text is a message that matches a sentinel, and maybe a cause, without saying their texts again.
type text struct {
	message string
	is      []error
}

func (t *text) Error() string   { return t.message }
func (t *text) Unwrap() []error { return t.is }

// fault makes an Error that matches a sentinel.
func fault(sentinel error, format string, args ...any) *Error {
	return &Error{Err: &text{fmt.Sprintf(format, args...), []error{sentinel}}}
}

func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) of(table, partition string) *Error {
	e.Table, e.Partition = table, partition
	return e
}

func (e *Error) column(name string) *Error {
	e.Column = name
	return e
}

// conflict says that a partition is not where it was said to be.
func conflict(table, partition, format string, args ...any) *Error {
	return fault(swap.ErrConflict, format, args...).of(table, partition)
}

// answered turns what a metastore answered into an Error of ours, with the metastore's own words; nil where it is
// no answer (the connection broke) or none of those known.
func answered(err error, what string) *Error {
	var absent *hmsapi.NoSuchObjectException
	var exists *hmsapi.AlreadyExistsException
	var invalid *hmsapi.InvalidObjectException
	var operation *hmsapi.InvalidOperationException
	var meta *hmsapi.MetaException
	say := func(sentinel error, message string) *Error {
		if message == "" {
			message = "the metastore refused, and gave no reason"
		}
		return &Error{Err: &text{what + ": " + message, []error{sentinel, err}}}
	}
	switch {
	case errors.As(err, &absent):
		return say(fs.ErrNotExist, absent.GetMessage())
	case errors.As(err, &exists):
		return say(fs.ErrExist, exists.GetMessage())
	case errors.As(err, &invalid):
		return say(fs.ErrInvalid, invalid.GetMessage())
	case errors.As(err, &operation):
		return say(fs.ErrInvalid, operation.GetMessage())
	case errors.As(err, &meta):
		if denied(meta.GetMessage()) {
			return say(fs.ErrPermission, meta.GetMessage()).hint("the metastore checks the rights of the user that asks: --hadoop-user, or the principal, names it")
		}
		return say(storage.ErrUnavailable, meta.GetMessage())
	}
	return nil
}

// denied reports whether a metastore's message is about rights: it has no exception of its own for that.
func denied(message string) bool {
	for _, word := range []string{"AccessControlException", "Permission denied", "AuthorizationException", "HiveAccessControlException", "does not have privileges"} {
		if strings.Contains(message, word) {
			return true
		}
	}
	return false
}
