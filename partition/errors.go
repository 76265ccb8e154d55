package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"sort"
	"strings"
	"syscall"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/spill"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/swap"
)

// What callers branch on, with errors.Is. Causes from the layers below (fs.ErrPermission, ENOSPC,
// context.Canceled) stay in the chain as well.
var (
	// ErrUsage: options or configuration that make no sense together or for this table.
	ErrUsage = merge.ErrUsage
	// ErrNotFound: the table, the partition, the run or a source is not there.
	ErrNotFound = errors.New("not found")
	// ErrForeignTable: the folder belongs to another table format, or to a kind of Hive table whose
	// rows are not plain rows of plain files.
	ErrForeignTable = errors.New("not a plain Hive table")
	// ErrLayout: the folder's layout can't be read as one table.
	ErrLayout = errors.New("layout not understood")

	// ErrNullKey: a source row has NULL in a key column.
	ErrNullKey = merge.ErrNullKey
	// ErrDuplicateKey: the source, or the old files for a key the source touches, hold a key twice.
	ErrDuplicateKey = merge.ErrDuplicateKey
	// ErrSchema: columns are missing, new, ambiguous or of types that do not fit.
	ErrSchema = merge.ErrSchema
	// ErrValue: a value can't be stored exactly, parsed or used as a partition.
	ErrValue = merge.ErrValue
	// ErrStrayRows: source rows belong to partitions other than those named.
	ErrStrayRows = errors.New("rows outside the named partitions")
	// ErrCorrupt: a file is damaged, truncated, encrypted or not of its format.
	ErrCorrupt = errors.New("corrupt file")

	// ErrGuard: a guard stopped the run.
	ErrGuard = merge.ErrGuard
	// ErrVerify: what was staged is not what was meant.
	ErrVerify = merge.ErrVerify

	// ErrLocked: another run holds the partition.
	ErrLocked = errors.New("partition is locked")
	// ErrConflict: the partition changed while it was merged, or somebody is writing to it.
	ErrConflict = errors.New("partition changed meanwhile")

	// ErrStorage: the storage is unreachable, full or denies access.
	ErrStorage = errors.New("storage error")
)

// Kind classifies an error for reports and exit codes.
type Kind string

// The kinds, as they stand in a report's error objects.
const (
	KindInternal     Kind = "internal"
	KindInterrupted  Kind = "interrupted"
	KindUsage        Kind = "usage"
	KindNotFound     Kind = "not_found"
	KindForeignTable Kind = "foreign_table"
	KindLayout       Kind = "layout"
	KindNullKey      Kind = "null_key"
	KindDuplicateKey Kind = "duplicate_key"
	KindSchema       Kind = "schema"
	KindValue        Kind = "value"
	KindStrayRows    Kind = "stray_rows"
	KindCorrupt      Kind = "corrupt"
	KindGuard        Kind = "guard"
	KindVerify       Kind = "verify"
	KindLocked       Kind = "locked"
	KindConflict     Kind = "conflict"
	KindStorage      Kind = "storage"
)

// kinds maps sentinels to kinds; the first that matches counts.
var kinds = []struct {
	is   error
	kind Kind
}{
	{context.Canceled, KindInterrupted},
	{context.DeadlineExceeded, KindInterrupted},
	{ErrUsage, KindUsage},
	{ErrForeignTable, KindForeignTable},
	{ErrLayout, KindLayout},
	{ErrNullKey, KindNullKey},
	{ErrDuplicateKey, KindDuplicateKey},
	{ErrStrayRows, KindStrayRows},
	{ErrCorrupt, KindCorrupt},
	{ErrSchema, KindSchema},
	{ErrValue, KindValue},
	{ErrGuard, KindGuard},
	{ErrVerify, KindVerify},
	{swap.ErrNameTaken, KindConflict},
	{ErrLocked, KindLocked},
	{ErrConflict, KindConflict},
	{ErrNotFound, KindNotFound},
	{ErrStorage, KindStorage},
	{storage.ErrUnavailable, KindStorage},
	{storage.ErrWriteAgain, KindStorage},
	{storage.ErrUnsafe, KindUsage},
	{hadoop.ErrSetup, KindUsage},
	{hadoop.ErrLogin, KindStorage},
	{hdfs.ErrMismatch, KindStorage},
	{hdfs.ErrAddress, KindUsage},
	{spill.ErrDamaged, KindStorage},
}

// KindOf classifies an error: an [*Error] by its own Kind, any other by what it wraps. An error that
// fits nothing is KindInternal; nil is "".
func KindOf(err error) Kind {
	if err == nil {
		return ""
	}
	var e *Error
	if errors.As(err, &e) && e.Kind != "" {
		return e.Kind
	}
	for _, k := range kinds {
		if errors.Is(err, k.is) {
			return k.kind
		}
	}
	if isStorage(err) {
		return KindStorage
	}
	return KindInternal
}

// isStorage reports whether an error comes from the operating system's files: denied, full,
// read-only, gone or broken.
func isStorage(err error) bool {
	var path *fs.PathError
	var errno syscall.Errno
	return errors.As(err, &path) || errors.As(err, &errno) ||
		errors.Is(err, fs.ErrPermission) || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist)
}

// Step names a stage of a run.
type Step string

// The steps, in their order.
const (
	StepOpen    Step = "open"
	StepRecover Step = "recover"
	StepSource  Step = "source"
	StepRoute   Step = "route"
	StepLock    Step = "lock"
	StepList    Step = "list"
	StepMerge   Step = "merge" // index, probe, compare and plan
	StepWrite   Step = "write"
	StepVerify  Step = "verify"
	StepCheck   Step = "check" // of Table.Check
	StepPublish Step = "publish"
	StepDone    Step = "done"
)

// Error says which partition a run failed in, at which step, and what to do about it. Empty fields
// are not known or do not apply.
type Error struct {
	Partition string
	Step      Step
	Kind      Kind
	File      string
	Line      int64 // in File, from 1; 0 where it has none
	Row       int64 // in File, from 1, where it has no lines
	Column    string
	Hint      string
	Err       error

	told bool // Err's text names the place
}

// Error is the message in one line, without the hint.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Partition != "" {
		b.WriteString(e.Partition + ": ")
	}
	switch {
	case e.File == "" || e.told:
	case e.Line > 0:
		fmt.Fprintf(&b, "%s:%d: ", e.File, e.Line)
	case e.Row > 0:
		fmt.Fprintf(&b, "%s row %d: ", e.File, e.Row)
	default:
		b.WriteString(e.File + ": ")
	}
	if e.Column != "" {
		b.WriteString("column " + e.Column + ": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap gives the cause.
func (e *Error) Unwrap() error { return e.Err }

// Hint is what an error says can be done, "" where it says nothing.
func Hint(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Hint
	}
	return ""
}

// fault begins an Error of a sentinel's kind: "message: sentinel" would say the kind twice, so the
// message alone is shown and the sentinel stays in the chain.
func fault(sentinel error, format string, args ...any) *Error {
	return &Error{Kind: KindOf(sentinel), Err: &message{text: fmt.Sprintf(format, args...), is: sentinel}}
}

func (e *Error) hint(format string, args ...any) *Error {
	e.Hint = fmt.Sprintf(format, args...)
	return e
}

func (e *Error) file(name string) *Error {
	e.File = name
	return e
}

// place names the file, and the line or row, of a position as the readers of sources write it.
func (e *Error) place(position string) *Error {
	e.File, e.Line, e.Row = parsePosition(position)
	return e
}

// at is place for a text that says it already.
func (e *Error) at(position string) *Error {
	e.told = true
	return e.place(position)
}

// parsePosition reads "orders.csv:17", "orders.parquet row 12" and "record row 3", which is of no file.
func parsePosition(text string) (file string, line, row int64) {
	prefix, n := splitPosition(text)
	switch {
	case n == 0:
		return text, 0, 0
	case prefix == recordRow:
		return "", 0, n
	case strings.HasSuffix(prefix, " row "):
		return strings.TrimSuffix(prefix, " row "), 0, n
	}
	return strings.TrimSuffix(prefix, ":"), n, 0
}

// of names a file or folder that the text names already.
func (e *Error) of(name string) *Error {
	e.File, e.told = name, true
	return e
}

func (e *Error) column(name string) *Error {
	e.Column = name
	return e
}

// message is a text that matches a sentinel.
type message struct {
	text string
	is   error
}

func (m *message) Error() string { return m.text }
func (m *message) Unwrap() error { return m.is }

// locate turns any error into an *Error of a partition and step. Fields that the error already has
// stay. nil stays nil.
func locate(err error, partition string, step Step) error {
	if err == nil {
		return nil
	}
	var e *Error
	if !errors.As(err, &e) {
		return describe(err, partition, step)
	}
	located := *e
	if located.Partition == "" {
		located.Partition = partition
	}
	if located.Step == "" {
		located.Step = step
	}
	return &located
}

// describe makes an Error of an error from another package, taking over what that one knows.
func describe(err error, partition string, step Step) *Error {
	var known *Error
	if errors.As(swapError(err), &known) { // of the metastore, or of the state
		e := *known
		e.Step = step
		if e.Partition == "" {
			e.Partition = partition
		}
		return &e
	}
	e := &Error{Partition: partition, Step: step, Err: err}
	var m *merge.Error
	if errors.As(err, &m) {
		// The merge's own message names file and column: those go to the fields, the rest is the text.
		rest := *m
		rest.File, rest.Column = "", ""
		e.File, e.Column, e.Hint, e.Err = m.File, m.Column, m.Hint, &rest
	}
	e.Kind = KindOf(e.Err)
	if e.Hint == "" {
		e.Hint, e.Err = advised(err)
	}
	if e.Kind != KindStorage {
		return e
	}
	var path *fs.PathError
	if errors.As(err, &path) && e.File == "" {
		e.File, e.told = path.Path, true
	}
	if e.Hint == "" {
		e.Hint = storageHint(err)
	}
	return e
}

// cannotReach reports whether a storage did not even answer.
func cannotReach(err error) bool {
	return errors.Is(err, hadoop.ErrLogin) || errors.Is(err, storage.ErrUnavailable) || errors.Is(err, hdfs.ErrMismatch)
}

// advised takes apart what storages and logins say of services that can't be reached or are not let us in: the reason, and
// behind the last semicolon what helps. The file that was to be opened is of no interest then.
func advised(err error) (hint string, reason error) {
	text := err.Error()
	switch {
	case cannotReach(err):
		var path *fs.PathError
		if errors.As(err, &path) && strings.HasSuffix(text, path.Error()) {
			text = strings.TrimSuffix(text, path.Error()) + path.Err.Error()
		}
	case errors.Is(err, storage.ErrUnsafe), errors.Is(err, hdfs.ErrAddress):
	default:
		return "", err
	}
	at := strings.LastIndex(text, "; ")
	if at < 0 {
		return "", &message{text: text, is: err}
	}
	return text[at+len("; "):], &message{text: text[:at], is: err}
}

func storageHint(err error) string {
	switch {
	case errors.Is(err, syscall.EDQUOT):
		return "the quota is used up: staging needs room for the files that are rewritten, and some names; hupsert vacuum removes old versions"
	case errors.Is(err, syscall.ENOSPC):
		return "free some space: staging needs room for the files that are rewritten; hupsert vacuum removes old versions"
	case errors.Is(err, syscall.EXDEV):
		return "the state must be on the table's file system: --state-dir names a folder there"
	case errors.Is(err, syscall.EROFS):
		return "the file system is read-only"
	case errors.Is(err, fs.ErrPermission):
		return "the user who runs hupsert needs to read and write the table's folder and the one above it; --state-dir names another place for the state"
	case errors.Is(err, storage.ErrUnavailable):
		return "run again when it answers: that also ends what this run has begun"
	case errors.Is(err, storage.ErrWriteAgain):
		return "servers failed under what was written, each time anew: run again when they are back"
	}
	return ""
}

// severity orders the kinds for a run whose partitions fail differently: the lower, the more it
// says about the run.
var severity = map[Kind]int{
	KindInterrupted: 0, KindInternal: 1, KindUsage: 2, KindForeignTable: 2, KindNotFound: 2, KindStorage: 3,
	KindGuard: 4, KindVerify: 4,
	KindLayout: 5, KindNullKey: 5, KindDuplicateKey: 5, KindSchema: 5, KindValue: 5, KindStrayRows: 5, KindCorrupt: 5,
	KindLocked: 6, KindConflict: 6,
}

// JoinErrors joins errors of partitions as a run does: the one that decides, for KindOf and the exit code, comes first.
func JoinErrors(errs []error) error { return join(errs) }

// SplitErrors takes joined errors apart, at any depth; none of nil. An error that has its own text for several causes is one.
func SplitErrors(err error) []error {
	if err == nil {
		return nil
	}
	many, ok := err.(interface{ Unwrap() []error }) // what joins stands on top
	if !ok {
		return []error{err}
	}
	var parts []error
	texts := []string{}
	for _, e := range many.Unwrap() {
		parts, texts = append(parts, SplitErrors(e)...), append(texts, e.Error())
	}
	if strings.Join(texts, "\n") != err.Error() {
		return []error{err}
	}
	return parts
}

// join makes one error of those of several partitions: the most telling kind first, so that
// errors.As and KindOf find it, then by partition.
func join(errs []error) error {
	var kept []error
	for _, err := range errs {
		if err != nil {
			kept = append(kept, err)
		}
	}
	if len(kept) <= 1 {
		return errors.Join(kept...)
	}
	sort.SliceStable(kept, func(i, j int) bool { return severity[KindOf(kept[i])] < severity[KindOf(kept[j])] })
	return errors.Join(kept...)
}
