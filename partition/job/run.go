package job

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"slices"
	"strings"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
	"github.com/hupsert/hupsert/partition/metrics"
	"github.com/hupsert/hupsert/partition/openlineage"
	"github.com/hupsert/hupsert/partition/tracing"
)

// StepStatus is what became of a step.
type StepStatus string

// The statuses.
const (
	StepPublished StepStatus = "published" // partitions were published
	StepNoop      StepStatus = "noop"      // nothing was to be done
	StepStaged    StepStatus = "staged"    // it ends staged, as it asked for
	StepPlanned   StepStatus = "planned"   // it was a plan
	StepFailed    StepStatus = "failed"
	StepNotRun    StepStatus = "not_run" // a step before it failed
)

// StepReport is what a step did.
type StepReport struct {
	Job     string                 `json:"job"`
	Step    string                 `json:"step"`
	Command string                 `json:"command"`
	Table   string                 `json:"table"`
	Status  StepStatus             `json:"status"`
	Error   *partition.ErrorReport `json:"error,omitempty"`
	// Expectations are what became of them; none are checked where nothing is to be published.
	Expectations []ExpectationReport `json:"expectations,omitempty"`
	Hooks        []HookReport        `json:"hooks,omitempty"`
	// Report is that of the merge; nil where the step did not run. Of a backfill it is taken from its own.
	Report *partition.Report `json:"report,omitempty"`
	// Backfill is the report of a backfill, and stands in JSON in the place of Report.
	Backfill *backfill.Report `json:"-"`

	failure string // the error as it is told, in a line
}

// Report is what a job did.
type Report struct {
	Job   string        `json:"job"`
	File  string        `json:"file"`
	Steps []*StepReport `json:"steps"`
	// Error is what stopped the job before its steps.
	Error *partition.ErrorReport `json:"error,omitempty"`
	// Problems are all that is wrong with the file.
	Problems []*partition.ErrorReport `json:"problems,omitempty"`
}

// Runner is what a job needs of whoever runs it. The zero value works.
type Runner struct {
	Stdin  io.Reader    // what "-" reads; nil: it is an error
	Logger *slog.Logger // nil discards
	Warn   func(text string)
	// Print takes lineage events that go to the console, a line each; nil discards them.
	Print   func(line []byte)
	Version string // of the program that runs the job
	DryRun  bool   // plan every step, on the tables as they are now; call no hooks
	// Last is the context of hooks that are called when Run's own has ended; nil: nothing but their time-outs ends them.
	Last context.Context
	// Begin is called before a step, with counters to poll while it goes on, Merged before its hooks, and End after them.
	Begin  func(s *Step, p *partition.Progress)
	Merged func()
	End    func(s *Step, report *StepReport)
	// Planned is called when it is known what a backfill will do, before anything is written, with what tells how far it is.
	Planned func(s *Step, plan *backfill.Report, p *backfill.Progress)
}

// runner is one step under way.
type runner struct {
	Runner
	out *StepReport
}

// Run carries a job's steps out, in their order. The first that fails ends the job, and is the error; the others are reported as not
// run.
func (j *Job) Run(ctx context.Context, with Runner) (*Report, error) {
	with.setDefaults()
	ctx, spans := j.beginSpans(ctx, with)
	rep, err := j.runSteps(ctx, with, spans)
	spans.End(ctx, err)
	return rep, err
}

// beginSpans begins the span above those of the steps, for the first of them whose spans somebody takes.
func (j *Job) beginSpans(ctx context.Context, with Runner) (context.Context, *tracing.Spans) {
	for _, s := range j.Steps {
		if ctx, spans := s.Trace.Begin(ctx, "hupsert run", with.Version, with.Warn, attribute.String("hupsert.job", j.Name)); spans != nil {
			return ctx, spans
		}
	}
	return ctx, nil
}

func (j *Job) runSteps(ctx context.Context, with Runner, spans *tracing.Spans) (*Report, error) {
	rep := &Report{Job: j.Name, File: j.File, Steps: []*StepReport{}}
	var failed error
	for _, s := range j.Steps {
		out := &StepReport{Job: j.Name, Step: s.Name, Command: s.Command, Table: s.Table, Status: StepNotRun}
		rep.Steps = append(rep.Steps, out)
		if failed == nil {
			ctx, part := s.beginSpan(ctx, with, spans)
			failed = j.runStep(ctx, with, s, part, out)
			part.End(ctx, failed)
		}
	}
	return rep, failed
}

// beginSpan begins the step's span, for the one who takes the job's where the step does not name another.
func (s *Step) beginSpan(ctx context.Context, with Runner, spans *tracing.Spans) (context.Context, *tracing.Spans) {
	about := []attribute.KeyValue{attribute.String("hupsert.step", s.Name), attribute.String("hupsert.table", s.Table)}
	if spans.Takes(s.Trace) {
		return spans.Part(ctx, "step", about...)
	}
	return s.Trace.Begin(ctx, "step", with.Version, with.Warn, about...)
}

func (r *Runner) setDefaults() {
	if r.Logger == nil {
		r.Logger = slog.New(slog.DiscardHandler)
	}
	if r.Warn == nil {
		r.Warn = func(string) {}
	}
	if r.Print == nil {
		r.Print = func([]byte) {}
	}
	if r.Begin == nil {
		r.Begin = func(*Step, *partition.Progress) {}
	}
	if r.Merged == nil {
		r.Merged = func() {}
	}
	if r.Last == nil {
		r.Last = context.Background()
	}
	if r.Planned == nil {
		r.Planned = func(*Step, *backfill.Report, *backfill.Progress) {}
	}
	if r.End == nil {
		r.End = func(*Step, *StepReport) {}
	}
}

// runStep carries one step out, and calls its hooks.
func (j *Job) runStep(ctx context.Context, with Runner, s *Step, spans *tracing.Spans, out *StepReport) error {
	r := &runner{Runner: with, out: out}
	step := *s // a job may run twice
	step.Config.Progress = new(partition.Progress)
	step.Config.Logger = with.Logger.With("job", j.Name, "step", s.Name)
	step.Source.Stdin = with.Stdin
	step.Options.Command = "run"
	step.DryRun = s.DryRun || with.DryRun
	step.spans, step.Config.Tracer = spans, spans.Provider()
	with.Begin(&step, step.Config.Progress)
	started := time.Now()
	warn := func(text string) { with.Warn("step " + s.Name + ": " + text) }
	if !step.DryRun {
		step.told = s.Lineage.Begin(ctx, openlineage.About{Command: s.Command, Job: j.Name + "." + s.Name, Table: s.Table, From: s.Source.From,
			Version: with.Version, Started: started, Print: with.Print, Warn: warn})
	}
	err := ctx.Err()
	if err == nil {
		err = step.kind().run(ctx, r, &step)
	}
	if err != nil && ctx.Err() != nil {
		err = interrupted(ctx.Err()) // what came of the interruption is not worth telling
	}
	out.settle(err)
	with.Merged()
	if !step.DryRun {
		step.Metrics.Tell(ctx, metrics.Run{Table: s.Table, Command: "run", Report: out.Report, Err: err, Ended: time.Now(),
			Seconds: time.Since(started).Seconds()}, warn)
		step.told.End(ctx, out.Report, err)
		j.callHooks(ctx, with, s, out, err)
	}
	with.End(&step, out)
	return err
}

// callHooks tells what became of a step, also of one that was interrupted. An interruption that comes later ends the hook that is under
// way, and calls no other.
func (j *Job) callHooks(ctx context.Context, with Runner, s *Step, out *StepReport, err error) {
	if ctx.Err() != nil {
		ctx = with.Last
	}
	for _, on := range out.events(err) {
		for _, h := range s.Hooks {
			if slices.Contains(h.On, on) {
				out.Hooks = append(out.Hooks, h.call(ctx, on, out, j.Name, with.Warn))
			}
		}
	}
}

// interrupted is the error of a step that was ended from outside.
func interrupted(cause error) error {
	return &partition.Error{Kind: partition.KindInterrupted, Err: &interruption{cause}}
}

type interruption struct{ error }

func (i *interruption) Error() string { return "interrupted; nothing half done is left visible" }
func (i *interruption) Unwrap() error { return i.error }

// settle says what became of the step.
func (o *StepReport) settle(err error) {
	switch {
	case err != nil:
		// With several errors the first decides; all of them are in the partitions, or the expectations.
		o.Status, o.Error = StepFailed, partition.NewErrorReport(err)
		o.failure = strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ")
	case o.Report == nil:
		o.Status = StepNoop
	case o.Report.DryRun:
		o.Status = StepPlanned
	case o.has(partition.Published):
		o.Status = StepPublished
	case o.has(partition.Staged):
		o.Status = StepStaged
	default:
		o.Status = StepNoop
	}
}

func (o *StepReport) has(s partition.Status) bool {
	return o.Report != nil && slices.ContainsFunc(o.Report.Partitions, func(p partition.PartitionReport) bool { return p.Status == s })
}

// events are what hooks are told. Where some partitions were published and others failed, both are so.
func (o *StepReport) events(err error) []Event {
	var out []Event
	switch {
	case o.has(partition.Published):
		out = append(out, OnPublished)
	case err != nil:
	case o.has(partition.Staged):
		out = append(out, OnStaged)
	default:
		out = append(out, OnNoop)
	}
	if err != nil {
		out = append(out, OnFailed)
	}
	return out
}

// open opens the step's table, when all that it needs besides is there.
func (s *Step) open(ctx context.Context) (*partition.Table, error) {
	for _, e := range s.Expectations {
		if e.SQL != "" && !s.DryRun {
			if _, err := findDuckDB(e); err != nil {
				return nil, err // before the merge is done for nothing
			}
		}
	}
	table, err := partition.Open(ctx, s.Table, s.Config)
	if err != nil {
		return nil, err
	}
	if err := errors.Join(s.Metrics.Check(ctx, table), s.told.Check(ctx, table)); err != nil {
		return nil, errors.Join(err, table.Close())
	}
	return table, nil
}

// runUpsert merges into a table, and publishes it where its expectations hold.
func runUpsert(ctx context.Context, r *runner, s *Step) error {
	table, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // what is done is done; connections end with the process at the latest
	switch {
	case s.DryRun:
		r.out.Report, err = table.Plan(ctx, s.Source, s.Options)
	case len(s.Expectations) > 0:
		err = r.audited(ctx, table, s)
	default:
		s.Options.StageOnly = s.StageOnly
		r.out.Report, err = table.Upsert(ctx, s.Source, s.Options)
	}
	return err
}

// audited stages, checks the expectations on what is staged, and publishes that. After a conflict it begins anew, as often as
// the options allow.
func (r *runner) audited(ctx context.Context, table *partition.Table, s *Step) error {
	s.Options.StageOnly = true
	again := s.Options.Retry
	if slices.Contains(s.Source.From, "-") {
		again = 0 // it is read
	}
	for {
		staged, err := table.Upsert(ctx, s.Source, s.Options)
		r.out.Report = staged
		if err != nil || !r.out.has(partition.Staged) {
			return err
		}
		auditing, span := s.spans.Part(ctx, "expect")
		r.out.Expectations, err = audit(auditing, table, s, staged)
		span.End(auditing, err)
		if ctx.Err() != nil {
			return errors.Join(ctx.Err(), r.takeBack(ctx, table))
		}
		if err != nil {
			return keptStaged(err, table, staged.Run)
		}
		if s.StageOnly {
			return nil
		}
		published, err := table.Publish(ctx, staged.Run)
		published.Warnings = append(staged.Warnings, published.Warnings...)
		published.Total.Seconds += staged.Total.Seconds
		published.Lineage = staged.Lineage
		r.out.Report = published
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(err, r.takeBack(ctx, table))
		case !errors.Is(err, partition.ErrConflict) || again == 0:
			return err
		}
		again--
		r.Logger.Info("starting anew after a conflict", "run", staged.Run)
		if err := discard(ctx, table, staged.Run); err != nil {
			return err
		}
	}
}

// takeBack removes what the step has staged, after an interruption.
func (r *runner) takeBack(ctx context.Context, table *partition.Table) error {
	if err := discard(ctx, table, r.out.Report.Run); err != nil {
		return err
	}
	for i := range r.out.Report.Partitions {
		if p := &r.out.Report.Partitions[i]; p.Status == partition.Staged {
			p.Status, p.Folder = partition.Undone, ""
		}
	}
	return nil
}

// discard removes a staged run, also after an interruption. One that is published by then stays.
func discard(ctx context.Context, table *partition.Table, run string) error {
	_, err := table.Discard(context.WithoutCancel(ctx), run)
	if errors.Is(err, partition.ErrUsage) || errors.Is(err, partition.ErrNotFound) {
		return nil
	}
	return err
}

// keptStaged says, of what an expectation stopped, how it can be looked at and ended.
func keptStaged(err error, table *partition.Table, run string) error {
	hint := "nothing is published, and the " + table.StagedHint(run)
	var out []error
	for _, e := range partition.SplitErrors(err) {
		var known *partition.Error
		if !errors.As(e, &known) {
			known = &partition.Error{Kind: partition.KindOf(e), Step: partition.StepVerify, Err: e}
		}
		told := *known
		if told.Hint != "" {
			told.Hint += "; "
		}
		told.Hint += hint
		out = append(out, &told)
	}
	return errors.Join(out...)
}
