package merge

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/spill"
)

// Mode says what a merge does with rows by where they are; see the package's table.
type Mode string

// The modes. The zero value is Upsert.
const (
	Upsert  Mode = "upsert"
	Insert  Mode = "insert"
	Update  Mode = "update"
	Delete  Mode = "delete"
	Mirror  Mode = "mirror"
	Replace Mode = "replace"
	Append  Mode = "append"
)

// Keyed reports whether the mode needs a primary key.
func (m Mode) Keyed() bool { return m != Replace && m != Append }

// Version is a column of the order in which versions of a row follow each other: the larger wins.
type Version struct {
	Column string
	Desc   bool // the smaller wins
}

// DeleteWhen marks source rows that are deletes: Column holds true, or Value where one is given.
type DeleteWhen struct {
	Column string
	Value  *string
}

// What happens in a case that is an error by default. The zero value is the error.
const (
	PolicyError     = "error"
	PolicyMatch     = "match"      // null keys: NULL equals NULL
	PolicyReject    = "reject"     // null keys: to the rejects
	PolicyFirst     = "first"      // source duplicates: the first wins
	PolicyLast      = "last"       // source duplicates: the last wins
	PolicyUpdateAll = "update-all" // old duplicates: every copy is updated
	PolicyRepair    = "repair"     // old duplicates: the highest version stays, the others go to the rejects
	PolicyKeep      = "keep"       // missing columns: keep their old values
	PolicyIgnore    = "ignore"     // new columns: left out, reported
	PolicyAdd       = "add"        // new columns: become the table's, nullable and last
)

// Options says how to merge. The zero value needs only Key.
type Options struct {
	Key        []string // primary key: column names, a.b for a field of a struct
	Mode       Mode     // default Upsert
	OrderBy    []Version
	DeleteWhen *DeleteWhen
	// IgnoreVersion lets the source win against a stored row with a higher version.
	IgnoreVersion bool

	Columns       []string // only these columns of old rows are updated; empty: all
	ExceptColumns []string // these are not
	KeepNull      []string // in these a NULL of the source keeps the old value

	NullKeys         string // error, match or reject
	SourceDuplicates string // error, first or last
	OldDuplicates    string // error, update-all or repair
	MissingColumns   string // error or keep
	// Carried are columns of the files that the source need not have, whatever MissingColumns says: their old values stay.
	Carried        []string
	NewColumns     string // error, ignore or add
	AllowFloatKeys bool

	Casts              map[string]string // column to type, for conversions that are not exact by nature
	SourceTimezone     *time.Location    // of timestamps without a zone; nil: mixing is an error
	TruncateTimestamps bool

	// MaxDeleteRatio is the largest share of old rows (0 to 1) a merge may remove. nil: 0.2 for Mirror
	// and for the net loss of Replace, no limit elsewhere.
	MaxDeleteRatio *float64
	AllowEmpty     bool // Mirror and Replace with an empty source
	RequireRows    bool // an empty source is an error

	// Reject takes rows that policies send to the rejects. nil: they are counted only.
	Reject func(Reject) error

	Codec           *format.CompressionCodec // of new files; nil: as the old files, else snappy
	RowGroupRows    int64                    // of new row groups; 0: as the old files, else 1,000,000
	TargetFileBytes int64                    // files beyond it get no inserts; 0: 256 MiB
	Parallel        int                      // workers; 0: GOMAXPROCS
	// Memory is about how many bytes the merge may take; what does not fit goes to Spill. It counts only
	// where Spill is set.
	Memory int64
	// Spill is where rows go that do not fit into memory; nil: everything stays there.
	Spill *spill.Space
	// Diff is for who wants to see the changes and not write them: changed rows are counted by column
	// ([Prepared.ColumnChanges]), and what the limit on deletes refuses is told ([Prepared.Refused]) and no error.
	Diff bool
	// Unique is for who compares two tables: a key that stands twice in the source or, with Mirror, in the old files is an
	// error, copies too, and texts may be longer than they are declared.
	Unique bool
	// Force is for tests and diagnosis: Patch patches chunks whatever it costs, where their pages allow it; Rewrite encodes every
	// chunk of a touched row group from its values. Empty: what costs least.
	Force Route

	Progress *Progress // counters to poll; nil: none
}

func (o *Options) setDefaults() {
	if o.Mode == "" {
		o.Mode = Upsert
	}
	for _, p := range []*string{&o.NullKeys, &o.SourceDuplicates, &o.OldDuplicates, &o.MissingColumns, &o.NewColumns} {
		if *p == "" {
			*p = PolicyError
		}
	}
	if o.TargetFileBytes == 0 {
		o.TargetFileBytes = 256 << 20
	}
}

// Validate reports every field that makes no sense, joined.
func (o *Options) Validate() error {
	var errs []error
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf(format, args...)) }
	switch o.Mode {
	case "", Upsert, Insert, Update, Delete, Mirror, Replace, Append:
	default:
		bad("mode %q: want upsert, insert, update, delete, mirror, replace or append", o.Mode)
	}
	policy := func(name, got string, allowed ...string) {
		if got == "" || got == PolicyError {
			return
		}
		for _, a := range allowed {
			if got == a {
				return
			}
		}
		bad("%s %q: want error, %s", name, got, strings.Join(allowed, " or "))
	}
	policy("null-keys", o.NullKeys, PolicyMatch, PolicyReject)
	policy("source-duplicates", o.SourceDuplicates, PolicyFirst, PolicyLast)
	policy("old-duplicates", o.OldDuplicates, PolicyUpdateAll, PolicyRepair)
	policy("missing-columns", o.MissingColumns, PolicyKeep)
	policy("new-columns", o.NewColumns, PolicyIgnore, PolicyAdd)
	if len(o.Columns) > 0 && len(o.ExceptColumns) > 0 {
		bad("columns and except-columns exclude each other")
	}
	if o.DeleteWhen != nil && o.Mode != "" && o.Mode != Upsert && o.Mode != Mirror {
		bad("delete-when works with mode upsert and mirror, not %s", o.Mode)
	}
	if o.Force != "" && o.Force != Patch && o.Force != Rewrite {
		bad("route %q: want patch or rewrite", o.Force)
	}
	if r := o.MaxDeleteRatio; r != nil && (*r < 0 || *r > 1) {
		bad("max-delete-ratio %v: want 0 to 1", *r)
	}
	return errors.Join(errs...)
}

// deleteLimit is the share of old rows that may go, and whether there is a limit.
func (o *Options) deleteLimit() (float64, bool) {
	if o.MaxDeleteRatio != nil {
		return *o.MaxDeleteRatio, true
	}
	return 0.2, o.Mode == Mirror || o.Mode == Replace
}
