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
  3    bad data: keys, duplicates, schema, layout, unreadable or corrupt files
  4    the partition is locked, or changed meanwhile
  5    a guard or the verification stopped it; with --exit-code: a difference
  6    storage or metastore unreachable, denied or full; no Kerberos login
  130  interrupted; nothing half done is left visible`

var (
	errWhichShell = errors.New("which shell? One of bash, zsh, fish, powershell")
	errNoSource   = errors.New("nothing to merge")
)

// errDifferent is no failure: with --exit-code a difference has an exit code of its own, and nothing is said of it.
var errDifferent = errors.New("there is a difference")

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
	var found unsound
	if errors.As(err, &found) {
		return 3
	}
	if errors.Is(err, errDifferent) {
		return 5
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
	if err == nil || errors.Is(err, errDifferent) {
		return
	}
	if s.logsJSON() {
		s.complainInJSON(err)
		return
	}
	if exitCode(err) == 130 {
		fmt.Fprintln(s.stderr, "error: interrupted; nothing half done is left visible")
		return
	}
	list := complaints(err)
	for i, c := range list {
		if i == listedErrors && len(list) > listedErrors+1 && !s.verbose {
			fmt.Fprintf(s.stderr, "error: and %d more; --verbose lists them all\n", len(list)-i)
			break
		}
		fmt.Fprintln(s.stderr, "error: "+c.text(s.verbose))
		if c.hint != "" && (i == len(list)-1 || list[i+1].hint != c.hint) {
			fmt.Fprintln(s.stderr, "hint: "+c.hint)
		}
	}
}

// complaint is an error as it is told: once, if several partitions have it.
type complaint struct {
	partitions []string
	message    string
	hint       string
}

// text is the complaint in a line.
func (c *complaint) text(all bool) string {
	switch n := len(c.partitions); {
	case n == 0 || c.partitions[0] == "":
		return c.message
	case n == 1:
		return c.partitions[0] + ": " + c.message
	case all:
		return strings.Join(c.partitions, ", ") + ": " + c.message
	default:
		return c.partitions[0] + " and " + plural(int64(n-1), "more partition") + ": " + c.message
	}
}

// complaints are the errors that an error joins, in its order.
func complaints(err error) []*complaint {
	var list []*complaint
	at := map[[2]string]*complaint{}
	for _, err := range partition.SplitErrors(err) {
		c := &complaint{message: strings.ReplaceAll(strings.TrimRight(err.Error(), "\n"), "\n", "; "), hint: partition.Hint(err)}
		var usage usageError
		if errors.As(err, &usage) {
			c.hint = usage.hint
		}
		var e *partition.Error
		name := ""
		if errors.As(err, &e) && strings.HasPrefix(c.message, e.Partition+": ") {
			name, c.message = e.Partition, strings.TrimPrefix(c.message, e.Partition+": ")
		}
		key := [2]string{c.message, c.hint}
		if at[key] == nil {
			at[key] = c
			list = append(list, c)
		}
		if name != "" {
			at[key].partitions = append(at[key].partitions, name)
		}
	}
	return list
}
