package main

import (
	"errors"
	"fmt"
	"strings"

	"github.com/hupsert/hupsert/partition"
)

// exitHelp ends the help text of every command that works on a table.
const exitHelp = `Exit codes:
  0    done, also when there was nothing to do
  1    unexpected failure
  2    wrong usage or configuration
  3    bad data: keys, duplicates, schema, unreadable or corrupt files
  4    the partition is locked, or changed meanwhile
  5    a guard or the verification stopped it
  6    storage unreachable, denied or full
  130  interrupted; nothing half done is left visible`

var (
	errWhichShell = errors.New("which shell? One of bash, zsh, fish, powershell")
	errNoSource   = errors.New("nothing to merge")
)

// usageError is a mistake in the command line.
type usageError struct {
	error
	hint string
}

func (e usageError) Unwrap() error { return e.error }

func usagef(format string, args ...any) error { return usageError{error: fmt.Errorf(format, args...)} }

// exitCode is the one place where errors become exit codes. Where partitions failed differently the
// library puts the error first that decides.
func exitCode(err error) int {
	var usage usageError
	if errors.As(err, &usage) {
		return 2
	}
	switch partition.KindOf(err) {
	case "":
		return 0
	case partition.KindUsage, partition.KindNotFound, partition.KindForeignTable:
		return 2
	case partition.KindLayout, partition.KindNullKey, partition.KindDuplicateKey, partition.KindSchema,
		partition.KindValue, partition.KindStrayRows, partition.KindCorrupt:
		return 3
	case partition.KindLocked, partition.KindConflict:
		return 4
	case partition.KindGuard, partition.KindVerify:
		return 5
	case partition.KindStorage:
		return 6
	case partition.KindInterrupted:
		return 130
	}
	return 1
}

// listedErrors is how many errors of partitions are listed without --verbose.
const listedErrors = 5

// complain writes an error, and what to do about it, to standard error.
func (s *session) complain(err error) {
	if err == nil {
		return
	}
	if exitCode(err) == 130 {
		fmt.Fprintln(s.stderr, "error: interrupted; nothing half done is left visible")
		return
	}
	lines := strings.Split(strings.TrimRight(err.Error(), "\n"), "\n")
	for i, line := range lines {
		if i == listedErrors && len(lines) > listedErrors+1 && !s.verbose {
			fmt.Fprintf(s.stderr, "error: and %d more; --verbose lists them all\n", len(lines)-i)
			break
		}
		fmt.Fprintln(s.stderr, "error: "+line)
	}
	hint := partition.Hint(err)
	var usage usageError
	if errors.As(err, &usage) {
		hint = usage.hint
	}
	if hint != "" {
		fmt.Fprintln(s.stderr, "hint: "+hint)
	}
}
