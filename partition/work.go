package partition

import (
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/hupsert/hupsert/storage/swap"
)

// Work is what a run did to a partition, as the history keeps it.
type Work struct {
	Rows  Rows  `json:"rows"`
	Bytes Bytes `json:"bytes"`
	Files Files `json:"files"`
	// Seconds are those of the steps before the publish, which came later than this was written.
	Seconds Seconds `json:"seconds"`
	// Elapsed is how many seconds after the begin of its run the partition was verified.
	Elapsed float64 `json:"elapsed"`
}

// work is what the run did to a partition so far, for its manifest.
func (r *run) work(o *outcome) json.RawMessage {
	w := Work{Rows: o.report.Rows, Bytes: o.report.Bytes, Files: o.report.Files, Seconds: o.report.Seconds,
		Elapsed: time.Since(r.started).Seconds()}
	w.Seconds.Source = r.read.seconds
	text, err := json.Marshal(w)
	if err != nil {
		return nil // a number of seconds that JSON can't hold: the merge does not fail for that
	}
	return text
}

// workOf is what a run that made a version wrote down of it, nil where it did not, or not so that it can be read.
func workOf(v swap.Version) *Work {
	var w Work
	if len(v.Detail) == 0 || json.Unmarshal(v.Detail, &w) != nil {
		return nil
	}
	return &w
}

// FailedRun is a run that failed, in some of its partitions at least.
type FailedRun struct {
	Run        string            `json:"run"`
	Time       time.Time         `json:"time"` // when it ended
	Command    string            `json:"command"`
	Mode       Mode              `json:"mode"`
	Elapsed    float64           `json:"elapsed"` // seconds from its begin to its end
	Error      *ErrorReport      `json:"error,omitempty"`
	Partitions []FailedPartition `json:"partitions,omitempty"`
	More       int               `json:"more,omitempty"` // partitions beyond those
}

// FailedPartition is a partition that a failed run did not publish: by its own error, or undone or skipped with the others.
type FailedPartition struct {
	Partition string       `json:"partition"`
	Status    Status       `json:"status"`
	Error     *ErrorReport `json:"error,omitempty"`
}

// notedPartitions is how many partitions of a failed run are written down.
const notedPartitions = 200

// How long a run that failed takes at most to write that down: what stopped it may stop this as well. Who interrupts it waits for less.
const (
	noteTimeout        = 5 * time.Second
	interruptedTimeout = 500 * time.Millisecond
)

// note remembers that the run failed. Command lines that make no sense are not worth it.
func (r *run) note(ctx context.Context, report *Report) {
	f := FailedRun{Run: r.id, Time: r.cfg.Now().UTC(), Command: r.options.Command, Mode: r.options.Mode,
		Elapsed: time.Since(r.started).Seconds(), Error: report.Error}
	for _, p := range report.Partitions {
		switch {
		case p.Status.Counts(), p.Status == Done:
		case len(f.Partitions) == notedPartitions:
			f.More++
		default:
			f.Partitions = append(f.Partitions, FailedPartition{Partition: p.Partition, Status: p.Status, Error: p.Error})
		}
	}
	if f.Error != nil && (f.Error.Kind == KindUsage || f.Error.Kind == KindNotFound || f.Error.Kind == KindForeignTable) {
		return
	}
	text, err := json.Marshal(f)
	if err == nil {
		limit := noteTimeout
		if ctx.Err() != nil {
			limit = interruptedTimeout
		}
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
		defer cancel()
		err = r.store.NoteFailure(ctx, r.id, text)
	}
	if err != nil {
		r.cfg.Logger.Info("the failed run is not in the history", "run", r.id, "error", err)
	}
}

// Failures lists the runs that failed, newest first, as far back as they are remembered.
func (t *Table) Failures(ctx context.Context) ([]FailedRun, error) {
	list, err := t.store.Failures(ctx)
	if err != nil {
		return nil, locate(err, "", StepList)
	}
	var out []FailedRun
	for _, noted := range slices.Backward(list) {
		var f FailedRun
		if json.Unmarshal(noted.Detail, &f) == nil {
			out = append(out, f)
		}
	}
	// Names of one second are in no order.
	slices.SortStableFunc(out, func(a, b FailedRun) int { return b.Time.Compare(a.Time) })
	return out, nil
}
