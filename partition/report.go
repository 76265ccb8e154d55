package partition

import (
	"encoding/json"
	"errors"
	"fmt"

	"github.com/hupsert/hupsert/merge"
)

// Status is what became of a partition.
type Status string

// The statuses.
const (
	Published Status = "published" // the merged version is live
	Noop      Status = "noop"      // nothing changes; the partition was not touched
	Failed    Status = "failed"    // its own error stopped it
	Planned   Status = "planned"   // would be published
	Conflict  Status = "conflict"  // it changed meanwhile
	Skipped   Status = "skipped"   // not started, since another partition had failed
	Undone    Status = "undone"    // was staged, and removed since another partition had failed
	Done      Status = "done"      // merged from the same inputs before: not looked at again
	Staged    Status = "staged"    // merged, verified and sealed, and not published: Publish or Discard ends it
)

// Counts reports whether a report's totals have the partition in them: those of a partition that a
// failed run left as it was have not.
func (s Status) Counts() bool {
	return s == Published || s == Noop || s == Planned || s == Staged
}

// Rows counts what became of rows, by class.
type Rows = merge.Counts

// Bytes counts bytes of files by route.
type Bytes = merge.Bytes

// Files counts the data files of a partition.
type Files struct {
	Before int `json:"before"`
	After  int `json:"after"`
}

// Seconds is how long the steps of a partition took. Source is the whole run's: sources are read
// once for all partitions. Publish is the partition's share of the run's one publish.
type Seconds struct {
	Source  float64 `json:"source"`
	Index   float64 `json:"index"`
	Probe   float64 `json:"probe"`
	Plan    float64 `json:"plan"`
	Write   float64 `json:"write"`
	Verify  float64 `json:"verify"`
	Publish float64 `json:"publish"`
}

// Report is what a run did or, after Plan, would do. It marshals to the JSON that the command prints
// with --output json.
type Report struct {
	Run        string            `json:"run"`
	Table      string            `json:"table"`
	Mode       Mode              `json:"mode"`
	DryRun     bool              `json:"dry_run"`
	Publish    string            `json:"publish"` // exchange or rename; "" where nothing was published
	Partitions []PartitionReport `json:"partitions"`
	Total      Total             `json:"total"`
	// Error is what stopped the run before it came to partitions, which have their own.
	Error *ErrorReport `json:"error,omitempty"`
	// History is how much the earlier versions of the run's partitions hold, where there are any.
	History *HistorySize `json:"history,omitempty"`
	// Warnings are things worth knowing that stopped nothing.
	Warnings []string `json:"warnings,omitempty"`
	// Lineage is what was read and what the table is, where the run came that far.
	Lineage *Lineage `json:"-"`
}

// Lineage is where the rows of a run came from, and what they went into.
type Lineage struct {
	Sources []SourceFile
	Columns []Column // of the table, those of its partitions last
	Folder  string   // the table's, as a URL
}

// PartitionReport is one partition's part of a report.
type PartitionReport struct {
	Partition string       `json:"partition"` // "dt=2026-11-20/region=kr"; "" for a table without partitions
	Status    Status       `json:"status"`
	Version   int64        `json:"version"` // the version published; 0 if none was
	Error     *ErrorReport `json:"error,omitempty"`
	// Folder holds the staged files, as any engine can read them, where the status is staged, or there is a StagedRun.
	Folder string `json:"folder,omitempty"`
	// StagedRun is the run by which a failed partition of a batch is staged for a look ([Batch].Keep).
	StagedRun string `json:"staged_run,omitempty"`
	// Rows, Bytes and Files are, where the status does not count, of what was merged in vain, as far as
	// it went.
	Rows    Rows    `json:"rows"`
	Bytes   Bytes   `json:"bytes"`
	Files   Files   `json:"files"`
	Seconds Seconds `json:"seconds"`
	Removed bool    `json:"removed,omitempty"` // the partition is not there any more, or will not be
	New     bool    `json:"new,omitempty"`     // the partition did not exist before
	// CompactionDue says why [Table.Compact] is due after the run; "" where it is not.
	CompactionDue string `json:"compaction_due,omitempty"`
	// Compaction is what Compact does with the layout, and why.
	Compaction *merge.CompactShape `json:"compaction,omitempty"`
	Run        string              `json:"run,omitempty"` // of a batch: the run that published it, or by which it is done
	// Live tells, of a batch, as what the partition was merged: [Standing].Live.
	Live string `json:"-"`
	// Plan is what is done with each old file. A report's JSON has it after [Table.Plan], where the status is planned.
	Plan []merge.FilePlan `json:"plan,omitempty"`
}

// Total sums the partitions of a report whose status counts.
type Total struct {
	Rows            Rows    `json:"rows"`
	Bytes           Bytes   `json:"bytes"`
	Files           Files   `json:"files"`
	Seconds         float64 `json:"seconds"` // of the whole run, by the clock
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
}

// HistorySize is how much is kept of earlier versions.
type HistorySize struct {
	Versions int   `json:"versions"`
	Bytes    int64 `json:"bytes"`
}

// ErrorReport is an error as it stands in a report.
type ErrorReport struct {
	Kind      Kind   `json:"kind"`
	Message   string `json:"message"`
	Partition string `json:"partition,omitempty"` // where it is not the one that has the error
	File      string `json:"file,omitempty"`
	Line      int64  `json:"line,omitempty"` // in the file, from 1
	Row       int64  `json:"row,omitempty"`  // from 1, in a file that has no lines
	Column    string `json:"column,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

// NewErrorReport puts an error into the form it has in a report; nil stays nil.
func NewErrorReport(err error) *ErrorReport {
	if err == nil {
		return nil
	}
	r := &ErrorReport{Kind: KindOf(err), Message: err.Error()}
	var e *Error
	if errors.As(err, &e) {
		r.File, r.Line, r.Row, r.Column, r.Hint, r.Message = e.File, e.Line, e.Row, e.Column, e.Hint, e.Err.Error()
		switch {
		case e.told:
		case e.Line > 0:
			r.Message = fmt.Sprintf("line %d: %s", e.Line, r.Message)
		case e.Row > 0:
			r.Message = fmt.Sprintf("row %d: %s", e.Row, r.Message)
		}
	}
	return r
}

// newFailure is the report of a run that did not come to its partitions.
func (t *Table) newFailure(id string, mode Mode, dry bool, err error) *Report {
	r := &Report{Run: id, Table: t.url, Mode: mode, DryRun: dry, Error: NewErrorReport(err)}
	var e *Error
	if errors.As(err, &e) {
		r.Error.Partition = e.Partition
	}
	return r
}

// MarshalJSON writes the report with an empty list, never null, where no partition was touched, and with the plans of
// partitions that would change.
func (r Report) MarshalJSON() ([]byte, error) {
	type plain Report
	list := make([]PartitionReport, len(r.Partitions))
	for i, p := range r.Partitions {
		if p.Status != Planned {
			p.Plan = nil
		}
		list[i] = p
	}
	r.Partitions = list
	return json.Marshal(plain(r))
}

// sum fills the totals from the partitions that count. Rows that were refused before they could be
// routed anywhere are source rows of the whole run.
func (r *Report) sum(unrouted int64) {
	t := &r.Total
	t.Rows, t.Bytes, t.Files = Rows{}, Bytes{}, Files{}
	for _, p := range r.Partitions {
		if !p.Status.Counts() {
			continue
		}
		t.Rows.Add(p.Rows)
		t.Bytes.Add(p.Bytes)
		t.Files.Before += p.Files.Before
		t.Files.After += p.Files.After
	}
	t.Rows.Source += unrouted
	t.Rows.Rejected += unrouted
}
