package backfill

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// Report is what a backfill did, or after a plan would do. It marshals to the JSON that the command prints with --output json.
type Report struct {
	Run        string            `json:"run,omitempty"` // begins the names of its runs
	Table      string            `json:"table"`
	Mode       partition.Mode    `json:"mode"`
	DryRun     bool              `json:"dry_run"`
	Publish    string            `json:"publish"`
	Partitions []PartitionReport `json:"partitions"`
	Total      Total             `json:"total"`
	// Error is what stopped it before it came to partitions, which have their own.
	Error *partition.ErrorReport `json:"error,omitempty"`
	// Retry is the command that does what is left.
	Retry string `json:"retry,omitempty"`
	// Lineage is what was read and what the table is.
	Lineage  *partition.Lineage `json:"-"`
	Warnings []string           `json:"warnings,omitempty"`
}

// PartitionReport is one partition's part of a report. Its Status is partition.Done where it was merged before, and [NoFiles]
// where there was nothing to merge.
type PartitionReport struct {
	partition.PartitionReport
	SourceFiles int    `json:"source_files"`
	SourceBytes int64  `json:"source_bytes"`
	Why         string `json:"why,omitempty"` // it is merged again
}

// NoFiles is the status of a partition without files.
const NoFiles partition.Status = "missing"

// Total sums the partitions of a report.
type Total struct {
	partition.Total
	// Statuses counts partitions.
	Statuses map[partition.Status]int `json:"statuses"`
}

// NewReport is a plan as a report: what is to be done is planned.
func (p *Plan) NewReport(dry bool) *Report {
	r := &Report{Table: p.table.URL(), Mode: p.options.Upsert.Mode, DryRun: dry, Warnings: p.Warnings, Partitions: make([]PartitionReport, len(p.Items))}
	if r.Mode == "" {
		r.Mode = partition.Upsert
	}
	for i, item := range p.Items {
		of := PartitionReport{SourceFiles: len(item.Files), SourceBytes: item.Bytes, Why: item.Why}
		of.Partition, of.New = item.Partition, item.New
		switch item.State {
		case Done:
			of.Status, of.Run = partition.Done, item.Run
		case Missing:
			of.Status = NoFiles
		default:
			of.Status = partition.Planned
		}
		r.Partitions[i] = of
	}
	r.sum()
	return r
}

// sum fills the totals.
func (r *Report) sum() {
	t := Total{Statuses: map[partition.Status]int{}}
	t.Seconds, t.PeakMemoryBytes = r.Total.Seconds, r.Total.PeakMemoryBytes
	for i := range r.Partitions {
		p := &r.Partitions[i]
		t.Statuses[p.Status]++
		if !p.Status.Counts() {
			continue
		}
		t.Rows.Add(p.Rows)
		t.Bytes.Add(p.Bytes)
		t.Files.Before += p.Files.Before
		t.Files.After += p.Files.After
	}
	r.Total = t
}

// runner is a backfill under way.
type runner struct {
	*Plan
	report   *Report
	progress *Progress
	warnings map[string]bool
}

// Run merges what is to be merged, and publishes group by group. The report comes with an error, too: that of the partitions that
// failed, joined. progress may be nil.
func (p *Plan) Run(ctx context.Context, progress *Progress) (*Report, error) {
	started := time.Now()
	r := &runner{Plan: p, report: p.NewReport(false), progress: progress, warnings: map[string]bool{}}
	if progress == nil {
		r.progress = new(Progress)
	}
	var todo []int
	for i := range r.report.Partitions {
		if r.report.Partitions[i].Status == partition.Planned {
			todo = append(todo, i)
			r.report.Partitions[i].Status = partition.Skipped // until it is done
		}
	}
	r.progress.begin(p.weights(todo))
	err := r.all(ctx, todo)
	if r.report.Publish != "" && ctx.Err() == nil {
		if err := p.table.KeepHistory(ctx); err != nil {
			r.note(err.Error())
		}
	}
	r.report.Total.Seconds = time.Since(started).Seconds()
	r.report.sum()
	return r.report, err
}

func (r *runner) note(text string) {
	if !r.warnings[text] {
		r.warnings[text] = true
		r.report.Warnings = append(r.report.Warnings, text)
	}
}

// all works through the partitions, and once more through those that another run held.
func (r *runner) all(ctx context.Context, todo []int) error {
	if len(todo) == 0 {
		return nil
	}
	err := r.batch(ctx, todo)
	var held []int
	for _, i := range todo {
		if e := r.report.Partitions[i].Error; e != nil && e.Kind == partition.KindLocked {
			held = append(held, i)
		}
	}
	if len(held) == 0 || r.options.FailFast || ctx.Err() != nil {
		return err
	}
	var errs []error
	for _, e := range partition.SplitErrors(err) {
		if !errors.Is(e, partition.ErrLocked) {
			errs = append(errs, e)
		}
	}
	// It may have been a backfill of the same, which is through with them by now.
	return partition.JoinErrors(append(errs, partition.SplitErrors(r.batch(ctx, held))...))
}

// weights is how much work partitions are, roughly.
func (p *Plan) weights(list []int) (sum int64) {
	for _, i := range list {
		sum += p.Items[i].weight()
	}
	return sum
}

func (item *Item) weight() int64 {
	const each = 256 << 10 // what a partition costs besides its bytes
	return each + item.Bytes + item.old
}

// batch merges partitions.
func (r *runner) batch(ctx context.Context, list []int) error {
	b := partition.Batch{FailFast: r.options.FailFast, Together: r.options.Together}
	for _, i := range list {
		item := &r.Items[i]
		src := r.options.Source
		src.From, src.Literal = make([]string, len(item.Files)), true
		for n, f := range item.Files {
			src.From[n] = f.Name
		}
		b.Parts = append(b.Parts, partition.Part{Partition: item.Spec.String(), Source: src, Rejects: item.rejects, Mark: item.mark,
			Again: r.options.Redo || item.again, Bytes: item.Bytes + item.old + 1})
	}
	b.Check, b.Keep = r.options.Check, max(0, r.options.Keep-r.report.kept())
	b.Settled = func(parts []int, reports []partition.PartitionReport) { r.settled(ctx, list, parts, reports) }
	o := r.options.Upsert
	o.Partitions, o.Rejects, o.Partial = nil, "", false
	if o.Command == "" {
		o.Command = "backfill"
	}
	rep, err := r.table.UpsertEach(ctx, b, o)
	if rep.Error != nil { // it did not come to them
		r.report.Error = rep.Error
		return err
	}
	for n, p := range rep.Partitions { // what was kept of it may be gone since it was settled
		if was := &r.report.Partitions[list[n]]; was.StagedRun != p.StagedRun {
			was.StagedRun, was.Folder, was.Error = p.StagedRun, p.Folder, p.Error
		}
	}
	if r.report.Run == "" {
		r.report.Run = rep.Run
	}
	if rep.Publish != "" {
		r.report.Publish = rep.Publish
	}
	for _, w := range rep.Warnings {
		r.note(w)
	}
	if r.report.Lineage == nil {
		r.report.Lineage = rep.Lineage
	}
	r.report.Total.PeakMemoryBytes = max(r.report.Total.PeakMemoryBytes, rep.Total.PeakMemoryBytes)
	return err
}

// settled takes over the reports of partitions, and notes down those in which nothing was to be changed.
func (r *runner) settled(ctx context.Context, list, parts []int, reports []partition.PartitionReport) {
	var noops []*Item
	var live []string
	run, weight := "", int64(0)
	for n, part := range parts {
		item := &r.Items[list[part]]
		r.report.Partitions[list[part]].PartitionReport = reports[n]
		weight += item.weight()
		if reports[n].Status == partition.Noop {
			run, noops, live = reports[n].Run, append(noops, item), append(live, reports[n].Live)
		}
	}
	r.progress.end(weight)
	if err := r.remember(context.WithoutCancel(ctx), run, noops, live); err != nil {
		r.note("which partitions had nothing to change is not noted down, and they will be looked at again: " + err.Error())
	}
}

// kept is how many refused partitions are staged.
func (r *Report) kept() (n int) {
	for _, p := range r.Partitions {
		if p.StagedRun != "" {
			n++
		}
	}
	return n
}

// AsRun is the report as that of one run: with each of its partitions.
func (r *Report) AsRun() *partition.Report {
	out := &partition.Report{Run: r.Run, Table: r.Table, Mode: r.Mode, DryRun: r.DryRun, Publish: r.Publish, Total: r.Total.Total, Error: r.Error, Warnings: r.Warnings, Lineage: r.Lineage}
	for _, p := range r.Partitions {
		out.Partitions = append(out.Partitions, p.PartitionReport)
	}
	return out
}

// Failed lists the specs of the partitions that are left to do, in the order of the ranges.
func (r *Report) Failed() []partition.Spec {
	var out []partition.Spec
	for _, p := range r.Partitions {
		switch p.Status {
		case partition.Published, partition.Noop, partition.Done, NoFiles:
			continue
		}
		if spec, err := partition.ParsePath(p.Partition); err == nil {
			out = append(out, spec)
		}
	}
	return out
}

// Progress is how far a backfill is, to be polled from another goroutine. The zero value is ready.
type Progress struct {
	mu          sync.Mutex
	started     time.Time
	done, total int64 // of work
}

func (p *Progress) begin(total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.started, p.total, p.done = time.Now(), total, 0
}

func (p *Progress) end(work int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.done += work
}

// Left is the share of the work that is done, 0 to 1, and how long the rest will take if it goes on like this; ok is whether
// enough is done to tell. share is how much of the partitions is done, groups under way included.
func (p *Progress) Left(share float64) (part float64, left time.Duration, ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.total == 0 {
		return 0, 0, false
	}
	part = max(float64(p.done)/float64(p.total), min(share, 1))
	spent := time.Since(p.started)
	if part <= 0 || spent < time.Second {
		return part, 0, false
	}
	return part, time.Duration(float64(spent) * (1 - part) / part), true
}
