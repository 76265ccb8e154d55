package partition

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// StagedRun is a run that stopped before it published ([Options.StageOnly]): [Table.Publish] or
// [Table.Discard] ends it.
type StagedRun struct {
	Run        string            `json:"run"`
	Time       time.Time         `json:"time"`
	Command    string            `json:"command"`
	Mode       Mode              `json:"mode"`
	Rows       int64             `json:"rows"`
	Files      int               `json:"files"`
	Bytes      int64             `json:"bytes"`
	Partitions []StagedPartition `json:"partitions"`
	// Beside are partitions that it does not change, by what has changed in them since: it looked for its keys there ([Options.UniqueWithin]),
	// and is not published any more.
	Beside map[string]string `json:"changed_beside,omitempty"`
}

// StagedPartition is one partition of a staged run.
type StagedPartition struct {
	Partition string `json:"partition"`
	Folder    string `json:"folder,omitempty"` // with the files as they would go live; "" where the partition would go away
	Rows      int64  `json:"rows"`
	Files     int    `json:"files"`
	Bytes     int64  `json:"bytes"`
	// Changed says how the partition differs from the one that was merged; "" where it does not. A run
	// with a changed partition is not published any more.
	Changed string `json:"changed,omitempty"`
}

// Discarded is what Discard removed.
type Discarded struct {
	Run        string   `json:"run"`
	Table      string   `json:"table"`
	Partitions []string `json:"partitions"`
	Files      int      `json:"files"`
	Bytes      int64    `json:"bytes"`
}

// stagedDetail is what a staged run remembers for its publication.
type stagedDetail struct {
	Mode       Mode              `json:"mode"`
	Partitions []PartitionReport `json:"partitions"` // those without a change, too
	Unrouted   int64             `json:"unrouted"`   // rows that were rejected before they had a partition
	Declares   declaration       `json:"declares"`
	Declared   string            `json:"declared"` // the columns that were declared with the table
	Window     *stagedWindow     `json:"window,omitempty"`
	// Mark is that of the part of a batch that was refused: the next one of its subject takes its place ([Batch].Keep).
	Mark string `json:"mark,omitempty"`
}

// park ends a run before it publishes. What is staged stays, durably.
func (r *run) park(ctx context.Context, begun *swap.Run, out []*outcome, list []swap.Publication) error {
	detail := stagedDetail{Mode: r.options.Mode, Mark: r.mark, Declares: r.declares(out), Declared: r.config.Schema}
	detail.Unrouted, detail.Window = r.routed.unrouted, r.parkedWindow()
	for _, o := range out {
		report := o.report
		report.Plan = nil // it is carried out
		detail.Partitions = append(detail.Partitions, report)
	}
	text, err := json.Marshal(detail)
	if err != nil {
		return err
	}
	parked, err := begun.Park(ctx, list, r.besideStaged(out), text)
	if err != nil {
		return err
	}
	folders := map[string]string{}
	for _, p := range parked.Partitions {
		folders[p.Partition] = p.Folder
	}
	for _, o := range out {
		if o.staged {
			o.report.Status, o.report.Folder = Staged, r.urlOf(folders[o.path])
		}
	}
	return nil
}

// Stale reports whether the run can't be published any more: something that it rests on was changed.
func (r *StagedRun) Stale() bool {
	return len(r.Beside) > 0 || slices.ContainsFunc(r.Partitions, func(p StagedPartition) bool { return p.Changed != "" })
}

// Staged lists the runs that wait for Publish or Discard, by their names.
func (t *Table) Staged(ctx context.Context) ([]StagedRun, error) {
	list, err := t.staged(ctx)
	return list, locate(err, "", StepList)
}

func (t *Table) staged(ctx context.Context) ([]StagedRun, error) {
	runs, err := t.store.StagedRuns(ctx)
	if err != nil {
		return nil, err
	}
	var out []StagedRun
	for _, st := range runs {
		detail, err := detailOf(st)
		if err != nil {
			return nil, err
		}
		changes, err := t.stagedChanges(ctx, st, detail)
		if err != nil {
			return nil, err
		}
		run := StagedRun{Run: st.Run, Time: st.Time, Command: st.Command, Mode: detail.Mode}
		for _, p := range st.Partitions {
			run.Partitions = append(run.Partitions, StagedPartition{Partition: p.Partition, Folder: t.urlOf(p.Folder), Rows: p.Rows,
				Files: p.Files, Bytes: p.Bytes, Changed: changes[p.Partition]})
			run.Rows, run.Files, run.Bytes = run.Rows+p.Rows, run.Files+p.Files, run.Bytes+p.Bytes
			delete(changes, p.Partition)
		}
		if len(changes) > 0 {
			run.Beside = changes
		}
		out = append(out, run)
	}
	return out, nil
}

// stagedChanges says how the partitions that a staged run rests on have changed since.
func (t *Table) stagedChanges(ctx context.Context, st swap.Staged, detail stagedDetail) (map[string]string, error) {
	changes, err := t.store.StagedChanges(ctx, st)
	if err != nil {
		return nil, err
	}
	if path, change := detail.Window.windowChange(ctx, t); change != "" && changes[path] == "" {
		changes[path] = change
	}
	return changes, nil
}

func detailOf(st swap.Staged) (stagedDetail, error) {
	var d stagedDetail
	if err := json.Unmarshal(st.Detail, &d); err != nil {
		return d, fmt.Errorf("the record of the staged run %s: %w", st.Run, err)
	}
	return d, nil
}

// Publish publishes a run that an Upsert with [Options.StageOnly] left: all of its partitions in one
// commit, as that Upsert would have done it. The report is the Upsert's, with what was published. Where
// a partition is not any more the one that was merged it is ErrConflict, where the staged files are not
// those that were verified ErrVerify; then nothing is changed, and the run stays staged. A run that is
// published already stays as it is, and its partitions are reported as Noop.
func (t *Table) Publish(ctx context.Context, run string) (*Report, error) {
	ctx, span := t.span(ctx, "publish", attribute.String("hupsert.run", run), attribute.String("hupsert.table", t.url))
	rep, err := t.publishStaged(ctx, run)
	if rep == nil {
		rep = t.newFailure(run, "", false, err)
	}
	endRunSpan(span, rep, err)
	return rep, err
}

func (t *Table) publishStaged(ctx context.Context, run string) (*Report, error) {
	start := time.Now()
	st, err := t.findUnfinished(ctx, run)
	if errors.Is(err, swap.ErrPublished) {
		return t.publishedBefore(ctx, st.Run)
	}
	if err != nil {
		return nil, locate(err, "", StepOpen)
	}
	detail, err := detailOf(st)
	if err != nil {
		return nil, locate(err, "", StepOpen)
	}
	rep := &Report{Run: st.Run, Table: t.url, Mode: detail.Mode, Partitions: detail.Partitions}
	published, err := t.store.PublishStaged(ctx, st.Run, func(partitions []string) (map[string]swap.Restamp, error) {
		if err := t.staysAsStaged(ctx, st, detail); err != nil {
			return nil, err
		}
		if err := detail.Window.asItWas(ctx, t); err != nil {
			return nil, err
		}
		return t.declareStaged(ctx, detail.Declares, partitions)
	})
	switch {
	case errors.Is(err, swap.ErrPublished): // meanwhile, by another publish
		if _, err = t.findUnfinished(ctx, st.Run); errors.Is(err, swap.ErrPublished) {
			return t.publishedBefore(ctx, st.Run)
		}
		if err == nil { // staged as before
			err = fault(ErrConflict, "another publish of the run was taken back")
		}
		return rep, t.notPublished(ctx, rep, st, detail, err)
	case err != nil:
		return rep, t.notPublished(ctx, rep, st, detail, err)
	}
	seconds := time.Since(start).Seconds()
	at := map[string]swap.Published{}
	for _, p := range published {
		at[p.Partition] = p
	}
	for i := range rep.Partitions {
		p := &rep.Partitions[i]
		now, ok := at[p.Partition]
		if !ok {
			continue // nothing changes in it
		}
		p.Status, p.Version, p.Seconds.Publish = Published, now.Version, seconds/float64(len(published))
		rep.Publish = string(now.Way)
	}
	rep.sum(detail.Unrouted)
	rep.Total.Seconds, rep.Total.PeakMemoryBytes = seconds, peakMemory()
	if c, err := t.ReadConfig(ctx); err == nil {
		if err := t.boundHistory(ctx, c); err != nil {
			rep.Warnings = append(rep.Warnings, err.Error())
		}
	}
	if size, err := t.historyAfter(ctx, rep.Partitions); err == nil {
		rep.History = &size
	}
	return rep, nil
}

// staysAsStaged checks that the table still is the one that was merged into, beside the partitions themselves.
func (t *Table) staysAsStaged(ctx context.Context, st swap.Staged, detail stagedDetail) error {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return err
	}
	if c.Schema != detail.Declared && !detail.Declares.Creates {
		return fault(ErrConflict, "the columns that are declared with the table were changed since the merge").hint("%s", t.discardHint(st.Run))
	}
	paths := make([]string, len(st.Partitions))
	for i, p := range st.Partitions {
		paths[i] = p.Partition
	}
	return t.ready(ctx, c, paths)
}

// findUnfinished is findStaged where a publish of the run may have been killed: what that had committed is finished before the run is said to be
// published. What it had not is staged as before.
func (t *Table) findUnfinished(ctx context.Context, run string) (swap.Staged, error) {
	st, err := t.findStaged(ctx, run)
	if !errors.Is(err, swap.ErrPublished) {
		return st, err
	}
	if err := t.store.Finish(ctx, st.Run); err != nil {
		return st, err
	}
	return t.findStaged(ctx, run)
}

// findStaged finds a staged run by its name, or by the one under which a run that began anew after a
// conflict (--retry) was reported. A run that is published comes with swap.ErrPublished.
func (t *Table) findStaged(ctx context.Context, run string) (swap.Staged, error) {
	if run == "" {
		return swap.Staged{}, fault(ErrUsage, "which run?").hint("hupsert history %s lists the staged runs", ShellQuote(t.url))
	}
	st, err := t.store.StagedRun(ctx, run)
	if !errors.Is(err, swap.ErrNoVersion) {
		st.Run = run
		return st, err
	}
	list, lerr := t.store.StagedRuns(ctx)
	if lerr != nil {
		return swap.Staged{}, lerr
	}
	for _, other := range list {
		if strings.HasPrefix(other.Run, run+"-retry") {
			return other, nil
		}
	}
	return swap.Staged{}, fault(ErrNotFound, "no run %s is staged", run).hint("hupsert history %s lists the staged runs", ShellQuote(t.url))
}

// publishedBefore reports a run that was published by an earlier command.
func (t *Table) publishedBefore(ctx context.Context, run string) (*Report, error) {
	rep := &Report{Run: run, Table: t.url}
	partitions, err := t.store.RunPartitions(ctx, run)
	if err != nil {
		return nil, locate(swapError(err), "", StepOpen)
	}
	for _, p := range partitions {
		versions, err := t.store.History(ctx, p)
		if err != nil {
			return nil, locate(err, p, StepList)
		}
		part := PartitionReport{Partition: p, Status: Noop}
		if v, ok := versionOf(versions, run); ok {
			part.Version, rep.Mode = v.Number, Mode(v.Mode)
			rows := max(v.Rows, 0)
			part.Rows.Old, part.Rows.Kept, part.Rows.Out = rows, rows, rows
			part.Files = Files{Before: v.Files, After: v.Files}
		}
		rep.Partitions = append(rep.Partitions, part)
	}
	rep.sum(0)
	rep.Warnings = []string{"run " + run + " is published already"}
	return rep, nil
}

// notPublished says of each partition why a staged run was not published: those that changed, or all.
func (t *Table) notPublished(ctx context.Context, rep *Report, st swap.Staged, detail stagedDetail, err error) error {
	ctx = context.WithoutCancel(ctx)
	changes := map[string]string{}
	if errors.Is(err, ErrConflict) || errors.Is(err, swap.ErrConflict) {
		if found, cerr := t.stagedChanges(ctx, st, detail); cerr == nil {
			changes = found
		}
	}
	// It may be staged no more: a commit can be unfinished, or taken back where others left no choice.
	still := Staged
	if _, serr := t.store.StagedRun(ctx, st.Run); serr != nil {
		still = Failed
	}
	folders := map[string]string{}
	for _, p := range st.Partitions {
		folders[p.Partition] = p.Folder
	}
	defer rep.sum(0)
	var errs []error
	for i := range rep.Partitions {
		p := &rep.Partitions[i]
		folder, ok := folders[p.Partition]
		if !ok {
			continue // nothing changes in it
		}
		p.Status = still
		if still == Staged {
			p.Folder = t.urlOf(folder)
		}
		if diff := changes[p.Partition]; diff != "" {
			p.Status = Conflict
			e := fault(ErrConflict, "changed since it was merged: %s", diff).hint("%s", t.discardHint(st.Run))
			errs = append(errs, locate(e, p.Partition, StepPublish))
			p.Error = NewErrorReport(e)
		}
		delete(changes, p.Partition)
	}
	for _, path := range slices.Sorted(maps.Keys(changes)) {
		e := fault(ErrConflict, "changed since it was searched, and may have keys of the run now: %s", changes[path]).hint("%s", t.discardHint(st.Run))
		errs = append(errs, locate(e, path, StepPublish))
		if rep.Error == nil {
			rep.Error = NewErrorReport(e)
			rep.Error.Partition = path
		}
	}
	if len(errs) > 0 {
		return join(errs)
	}
	err = locate(stagedError(err, t.discardHint(st.Run)), "", StepPublish)
	rep.Error = NewErrorReport(err)
	var e *Error
	if errors.As(err, &e) {
		rep.Error.Partition = e.Partition
	}
	return err
}

func (t *Table) discardHint(run string) string {
	return t.ends("discard", run) + ", and merge again"
}

// ends is the command line that ends a staged run.
func (t *Table) ends(command, run string) string {
	line := fmt.Sprintf("hupsert %s %s --run %s", command, ShellQuote(t.url), run)
	if t.cfg.StateDir != "" {
		line += " --state-dir " + ShellQuote(t.cfg.StateDir)
	}
	return line
}

// StagedHint says how merged rows are ended that stay staged since something speaks against them.
func (t *Table) StagedHint(run string) string {
	return fmt.Sprintf("merged rows are staged as %s: %s publishes them all the same, %s removes them", run, t.ends("publish", run), t.ends("discard", run))
}

// stagedError is swapError with what can be done about a staged run.
func stagedError(err error, hint string) error {
	var e *Error
	if errors.As(err, &e) && e.Hint != "" {
		return err // of the table beside the partitions, with what helps there
	}
	err = swapError(err)
	if errors.As(err, &e) && (e.Kind == KindConflict || e.Kind == KindVerify) {
		return e.hint("%s", hint)
	}
	return err
}

// Discard removes a run that an Upsert with [Options.StageOnly] left. The table is not touched.
func (t *Table) Discard(ctx context.Context, run string) (*Discarded, error) {
	st, err := t.findUnfinished(ctx, run)
	if err == nil || errors.Is(err, stage.ErrUnreadable) {
		st, err = t.store.Discard(ctx, st.Run)
	}
	if errors.Is(err, swap.ErrPublished) {
		err = fault(ErrUsage, "run %s is published", run).hint("hupsert rollback %s --run %s undoes it", ShellQuote(t.url), run)
	}
	if err != nil {
		return nil, locate(swapError(err), "", StepOpen)
	}
	out := &Discarded{Run: st.Run, Table: t.url, Partitions: []string{}}
	for _, p := range st.Partitions {
		out.Partitions = append(out.Partitions, p.Partition)
		out.Files, out.Bytes = out.Files+p.Files, out.Bytes+p.Bytes
	}
	return out, nil
}
