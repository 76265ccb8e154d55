package partition

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/storage/swap"
)

// Part is one partition of a batch, and the source of its rows.
type Part struct {
	// Partition names it by all of its columns, with values as the table has them: "dt=2026-11-20,region=kr".
	Partition string
	// Source is read for this partition alone: all of its rows belong there.
	Source Source
	// Rejects is the partition's own [Options.Rejects].
	Rejects string
	// Mark is left with the version. Where the live rows have come by a version with it ([Table.Standing]), and Again is
	// not set, the partition is left alone: its status is Done.
	Mark  string
	Again bool
	// Bytes is about how much is read for it, of its source and of the partition; 0: not known.
	Bytes int64
}

// Batch is partitions that are merged each from its own source.
type Batch struct {
	Parts []Part
	// Run names the batch's runs, which must not have been before; "": as any run.
	Run string
	// FailFast begins no further part after one has failed.
	FailFast bool
	// Together is how many parts are published in one commit, at most; of large ones fewer are. 0: 64.
	Together int
	// Check is asked of each part that was merged and would change its partition, before it is published: a view of that partition
	// alone, and its report so far. Its error is the part's. It is called for several parts at once. nil: nobody is.
	Check func(ctx context.Context, merged *StagedView, report PartitionReport) error
	// Keep is how many parts that Check refuses are merged once more, to stay staged for a look: each is a run that Publish or Discard
	// ends, PartitionReport.StagedRun, of which the error's hint tells, in place of an earlier one by a mark of the same subject. A source that can
	// be read once only is not.
	Keep int
	// Settled is told of parts, by their ordinals, that are published or have failed, commit by commit. nil: nobody is.
	Settled func(parts []int, reports []PartitionReport)
}

const (
	// usualTogether is how many parts are published in one commit. A kill costs the work on as many; beyond it the waits for
	// the disk that they share hardly get less.
	usualTogether = 64
	// togetherBytes is how much is read for parts that are published together: beyond it a commit's share of the time is
	// small anyway, and what a kill costs is large.
	togetherBytes = 1 << 30
	// smallPartBytes is up to what a part is small: to merge it is mostly to wait for the disk.
	smallPartBytes = 16 << 20
	// smallAtOnce is how many small parts are merged at once on a machine of fewer processors.
	smallAtOnce = 8
)

// UpsertEach merges parts, each by itself: one that fails is left as it was, and stops none of the others. They are published group
// by group, so that the parts of a group share the waits for the disk; each group is a run, named by the batch's with a number
// behind it. Options.Partitions, Rejects, Partial and StageOnly are not for batches. The report has the partitions in the order of the parts, each with the
// run that published it; its error joins those of the parts.
func (t *Table) UpsertEach(ctx context.Context, b Batch, o Options) (*Report, error) {
	r, err := t.start(ctx, o, false)
	if err != nil {
		return t.newFailure("", o.Mode, false, err), err
	}
	if b.Run != "" {
		r.id = b.Run
	}
	defer r.progress.enter(StepDone)
	e := &each{run: r, batch: b}
	spanned, span := r.runSpan(ctx)
	report, err := e.all(spanned)
	endRunSpan(span, report, err)
	if report == nil {
		report = r.newFailure(r.id, r.options.Mode, false, err)
	}
	if err != nil {
		r.note(ctx, report)
	}
	r.ended(err)
	return report, err
}

// each is a batch under way. Its run is opened for all parts; each has a run of its own besides, for its source.
type each struct {
	*run
	batch   Batch
	failed  atomic.Bool
	members []*member
	kept    int        // of the parts that were refused
	taking  sync.Mutex // of from
	from    Lineage    // of all parts
	began   time.Time  // the try that is under way
}

// member is one part under way.
type member struct {
	Part
	ordinal int
	ended   bool // its report is final
	spec    Spec
	run     *run // of its source
	out     *outcome
	by      string // the run of the last try
	tries   int    // that ended with a conflict
	alone   bool   // a publish of several failed without saying on whose account
	spent   bool   // its source was read, and can't be again
	refused bool   // by the batch's Check
	refusal error  // as it was before it told of what is kept
	cause   error  // why it was not published with others
}

// settled reports whether nothing is to be done for the part any more.
func (m *member) settled() bool {
	return m.out.err != nil || m.out.report.Status.Counts() || m.out.report.Status == Done
}

func (e *each) all(ctx context.Context) (*Report, error) {
	if e.options.UniqueWithin != "" {
		return nil, locate(fault(ErrUsage, "unique-within is not for a batch: each partition is published by itself, and a row that moves would be in none, or in two").
			hint("merge partitions between which rows move with upsert"), "", StepOpen)
	}
	if e.options.Partial || e.options.StageOnly || len(e.options.Partitions) > 0 || e.options.Rejects != "" {
		return nil, locate(fault(ErrUsage, "partial, stage-only, partition and rejects are not for a batch"), "", StepOpen)
	}
	if err := e.traced(ctx, "open", e.open); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	e.budget = newBudget(&e.options)
	defer e.endBudget()
	if err := e.take(e.batch.Parts); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	e.rounds(ctx)
	if ctx.Err() != nil {
		e.dropKept(context.WithoutCancel(ctx))
	}
	return e.summary(ctx)
}

// take makes members of the parts.
func (e *each) take(parts []Part) error {
	if len(e.layout.columns) == 0 {
		return fault(ErrUsage, "the table has no partition columns")
	}
	seen := map[string]bool{}
	for i, p := range parts {
		spec, err := ParseSpec(p.Partition)
		if err == nil {
			spec, err = canonicalSpec(e.layout.columns, spec)
		}
		if err != nil {
			return err
		}
		if len(spec) < len(e.layout.columns) {
			return fault(ErrUsage, "partition %s: a value of every partition column is needed (%s)", p.Partition, columnNames(e.layout.columns))
		}
		m := &member{Part: p, ordinal: i, spec: spec}
		if err := e.find(m); err != nil {
			return err
		}
		if seen[m.out.path] {
			return fault(ErrUsage, "%s stands twice among the parts", m.out.path)
		}
		seen[m.out.path] = true
		e.members = append(e.members, m)
	}
	return nil
}

// find gives a member its place in the table, as it is listed now.
func (e *each) find(m *member) error {
	path, exists, err := e.layout.find(m.spec)
	if err == nil {
		m.out = &outcome{target: &target{path: path, spec: m.spec, exists: exists}, report: PartitionReport{Partition: path, Status: Skipped}}
	}
	return err
}

// rounds tries members until each is settled, group by group; those that a try undid on account of others are tried again without
// these. Every try settles one at least, or uses up a new start of one.
func (e *each) rounds(ctx context.Context) {
	again := false // what is tried again may have changed since it was listed
	for n := 1; ; n++ {
		if ctx.Err() != nil || e.stops() {
			return
		}
		if again {
			if err := e.relist(ctx); err != nil {
				e.failEach(e.left(), err, StepOpen)
				return
			}
		}
		list := e.next()
		if len(list) == 0 {
			return
		}
		made := e.isNew
		e.try(ctx, list, fmt.Sprintf("%s-%05d", e.id, n))
		again = made || slices.ContainsFunc(list, func(m *member) bool { return !m.settled() })
		e.conclude(ctx, list)
	}
}

// stops reports whether nothing more is to be begun.
func (e *each) stops() bool { return e.batch.FailFast && e.failed.Load() }

// left are the members that are not settled.
func (e *each) left() []*member {
	return slices.DeleteFunc(slices.Clone(e.members), (*member).settled)
}

// relist lists the table anew for the members that are left.
func (e *each) relist(ctx context.Context) error {
	if err := e.discover(ctx); err != nil {
		return err
	}
	for _, m := range e.left() {
		if err := e.find(m); err != nil {
			return err
		}
	}
	return nil
}

// next chooses the members of the next try. The one that makes a new table comes first, and alone: the table's columns are those of
// its source.
func (e *each) next() []*member {
	most, bytes := e.batch.Together, int64(0)
	if most == 0 {
		most = usualTogether
	}
	if e.isNew {
		most = 1
	}
	var list []*member
	for _, m := range e.left() {
		if m.alone {
			if len(list) == 0 {
				list = append(list, m)
			}
			return list
		}
		list, bytes = append(list, m), bytes+m.Bytes
		if len(list) == most || bytes >= togetherBytes {
			break
		}
	}
	return list
}

// try merges members side by side and publishes those that were merged.
func (e *each) try(ctx context.Context, list []*member, id string) {
	ctx, span := e.span(ctx, "group", attribute.String("hupsert.run", id), attribute.Int("hupsert.partitions", len(list)))
	defer span.End()
	e.enter("", StepLock)
	e.began = time.Now()
	paths := make([]string, len(list))
	for i, m := range list {
		m.by, paths[i] = id, m.out.path
	}
	begun, err := e.lock(ctx, id, paths)
	if begun == nil {
		e.failEach(list, err, StepLock)
		return
	}
	if e.leased(ctx, list, paths, err) {
		e.lookAtEach(ctx, list)
		e.mergeEach(ctx, begun, list, id)
		e.publishEach(ctx, begun, list)
	}
	if err := begun.Abort(ctx); err != nil {
		e.cfg.Logger.Warn("staging is not cleaned up; the next run or recover does it", "run", id, "error", err)
	}
	for _, m := range list {
		if m.refused && m.out.err != nil && e.kept < e.batch.Keep && !m.Source.readsOnce() && ctx.Err() == nil {
			e.keep(ctx, m)
		}
	}
}

// keep stages a part that was refused, by a run of its own: that of the group is over.
func (e *each) keep(ctx context.Context, m *member) {
	o := e.options
	o.Partitions, o.StageOnly, o.Rejects = []string{m.spec.String()}, true, m.Rejects
	r, err := e.start(ctx, o, false)
	if err == nil && m.run.rejects != nil { // the file is that run's now
		err = m.run.rejects.end(ctx, false)
	}
	if err != nil {
		e.cfg.Logger.Warn("a refused partition is not kept staged", "partition", m.out.path, "error", err)
		return
	}
	r.progress, r.mark = new(Progress), m.Mark // the batch's progress is of all parts
	rep, err := r.finish(ctx, r.reads(m.Source))
	if err != nil || len(rep.Partitions) == 0 || rep.Partitions[0].Status != Staged {
		if ctx.Err() == nil {
			e.cfg.Logger.Warn("a refused partition is not kept staged", "partition", m.out.path, "run", rep.Run, "error", err)
		}
		return
	}
	if err := e.dropEarlier(ctx, m, rep.Run); err != nil {
		e.cfg.Logger.Warn("an earlier run of the partition stays staged", "partition", m.out.path, "error", err)
	}
	e.kept++
	m.refusal = m.out.err
	m.out.report.StagedRun, m.out.report.Folder = rep.Run, rep.Partitions[0].Folder
	hint := "the partition is as it was, and its " + e.StagedHint(rep.Run)
	var known *Error
	if !errors.As(m.out.err, &known) {
		return
	}
	told := *known
	if told.Kind != KindGuard && told.Hint != "" { // it could not be asked: what helps there comes first
		hint = told.Hint + "; " + hint
	}
	m.out.err = told.hint("%s", hint)
}

// dropKept discards what was kept, after an interruption: nobody would be told of it.
func (e *each) dropKept(ctx context.Context) {
	for _, m := range e.members {
		p := &m.out.report
		if p.StagedRun == "" {
			continue
		}
		if _, err := e.Discard(ctx, p.StagedRun); err != nil && !errors.Is(err, ErrNotFound) {
			e.cfg.Logger.Warn("a refused partition stays staged", "partition", p.Partition, "run", p.StagedRun, "error", err)
			continue
		}
		p.StagedRun, p.Folder, m.out.err = "", "", m.refusal
		p.Error = NewErrorReport(m.refusal)
	}
}

// dropEarlier discards what was kept of the same part before: one that is refused every day does not pile up.
func (e *each) dropEarlier(ctx context.Context, m *member, run string) error {
	runs, err := e.store.StagedRuns(ctx)
	if err != nil || m.Mark == "" {
		return err
	}
	for _, st := range runs {
		detail, derr := detailOf(st)
		same := derr == nil && st.Run != run && detail.Mark != "" && sameSubject(detail.Mark, m.Mark)
		if same && len(st.Partitions) == 1 && st.Partitions[0].Partition == m.out.path {
			if _, derr = e.Discard(ctx, st.Run); errors.Is(derr, ErrNotFound) {
				derr = nil // somebody ended it
			}
		}
		err = errors.Join(err, derr)
	}
	return err
}

// failEach ends the members with an error that is not of any of them, or on account of the one that it names.
func (e *each) failEach(list []*member, err error, step Step) {
	err = locate(swapError(err), "", step)
	var known *Error
	if errors.As(err, &known) && known.Partition != "" {
		for _, m := range list {
			if m.out.path == known.Partition {
				e.fail(m, err, step)
				return
			}
		}
	}
	for _, m := range list {
		e.fail(m, err, step)
	}
}

// fail ends a member, unless it is tried anew after a conflict.
func (e *each) fail(m *member, err error, step Step) {
	m.out.fail(err, step)
	if errors.Is(m.out.err, ErrConflict) && !errors.Is(m.out.err, swap.ErrSetBack) && m.tries < e.options.Retry {
		m.tries++
		m.cause = m.out.err
		m.out.err = nil // and the status is one of those that are not settled
		return
	}
	e.failed.Store(true)
}

// leased ends what killed runs left of the members' partitions, which are ours but for an error. One that another run holds fails,
// and the others are tried anew without it.
func (e *each) leased(ctx context.Context, list []*member, paths []string, err error) bool {
	if err != nil {
		e.failEach(list, err, StepLock)
		return false
	}
	if err := e.recover(ctx, paths); err != nil {
		e.failEach(list, err, StepRecover)
		return false
	}
	return true
}

// lookAtEach looks into the members' partitions: all at once, and where something is wrong one by one, to know which.
func (e *each) lookAtEach(ctx context.Context, list []*member) {
	targets := make([]*target, len(list))
	for i, m := range list {
		targets[i] = m.out.target
	}
	if e.lookAt(ctx, targets) == nil {
		return
	}
	for i, m := range list {
		if err := e.lookAt(ctx, targets[i:i+1]); err != nil {
			e.fail(m, err, StepList)
		}
	}
}

// mergeEach takes members from their sources to sealed staging, several at once within the batch's memory and processors.
func (e *each) mergeEach(ctx context.Context, begun *swap.Run, list []*member, id string) {
	width := e.width(list)
	var g errgroup.Group
	g.SetLimit(width)
	for _, m := range list {
		g.Go(func() error {
			if m.out.err == nil && ctx.Err() == nil && !e.stops() { // what is not begun is skipped
				if m.run != nil && m.run.rejects != nil { // of a try before
					if err := m.run.rejects.end(ctx, false); err != nil {
						e.cfg.Logger.Warn("a reject file is not tidied up", "error", err)
					}
				}
				m.run = e.part(m, width)
				e.progress.begin(&m.out.progress, false)
				ctx, span := m.run.partitionSpan(ctx, m.out.path)
				e.mergeOne(ctx, begun, m, id)
				m.out.end(span)
				e.progress.end(&m.out.progress)
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are the members'
}

// width is how many of the members are merged at once.
func (e *each) width(list []*member) int {
	n := e.options.Parallel
	if n == 0 {
		n = e.atOnce()
		if !slices.ContainsFunc(list, func(m *member) bool { return m.Bytes == 0 || m.Bytes > smallPartBytes }) {
			n = max(n, smallAtOnce)
		}
	}
	return max(1, min(n, len(list)))
}

// part is the run of one member, as the layers below take it, of so many at once.
func (e *each) part(m *member, width int) *run {
	r := *e.run
	r.beside, r.budget, r.mark, r.started = width, e.budget.share(width), m.Mark, e.began
	r.options.Partitions, r.options.Parallel, r.options.Rejects = []string{m.spec.String()}, 1, m.Rejects
	r.read, r.routed, r.rejects, r.schema = nil, nil, nil, nil
	return &r
}

// mergeOne takes one member from its source to sealed staging.
func (e *each) mergeOne(ctx context.Context, begun *swap.Run, m *member, id string) {
	switch done, err := e.done(ctx, m); {
	case err != nil:
		e.fail(m, err, StepList)
		return
	case done:
		return
	}
	if m.spent { // what is left of its source is not all of it
		e.fail(m, m.cause, StepPublish)
		return
	}
	m.spent = m.Source.readsOnce()
	r := m.run
	if err := r.readAndRoute(ctx, m.Source); err != nil {
		e.fail(m, err, StepSource)
		return
	}
	defer func() {
		if err := r.read.release(); err != nil {
			e.cfg.Logger.Warn("a source file was not closed", "error", err)
		}
	}()
	e.took(r.lineage())
	m.out.target = r.routed.targets[0]
	list := []*outcome{m.out}
	var failed atomic.Bool
	r.one(ctx, begun, m.out, id, &failed)
	r.checkSource(ctx, list)
	r.checkRejects(list)
	if m.out.err != nil {
		e.fail(m, m.out.err, StepMerge)
	} else if err := e.check(ctx, m); err != nil {
		m.refused = true
		e.fail(m, err, StepVerify)
	}
	m.out.target = &target{path: m.out.path, spec: m.out.spec, exists: m.out.exists} // without its rows
}

// check asks whether what was merged of a member may be published.
func (e *each) check(ctx context.Context, m *member) error {
	if e.batch.Check == nil || !m.out.staged || m.out.report.Status != Planned {
		return nil
	}
	files := StagedFiles{Partition: m.out.path, Spec: m.out.spec}
	if m.out.dir != nil {
		files.folder = m.out.dir.Data()
	}
	v := &StagedView{Run: m.by, Columns: e.layout.columns, table: e.Table, budget: m.run.budget}
	if err := v.list(ctx, &files); err != nil {
		return err
	}
	v.Partitions = []StagedFiles{files}
	return e.batch.Check(ctx, v, m.out.report)
}

// took takes over what a part has read.
func (e *each) took(l *Lineage) {
	e.taking.Lock()
	defer e.taking.Unlock()
	e.from.Sources = append(e.from.Sources, l.Sources...)
	e.from.Columns, e.from.Folder = l.Columns, l.Folder
}

// done reports whether a member's rows are in the live partition already. It is asked under the lease: another batch may have
// been faster.
func (e *each) done(ctx context.Context, m *member) (bool, error) {
	if m.Mark == "" || m.Again {
		return false, nil
	}
	now, err := e.store.Inputs(ctx, m.out.path)
	if err != nil {
		return false, err
	}
	marks, err := e.marks(ctx, m.out.path, now)
	if err != nil {
		return false, err
	}
	for _, mark := range marks {
		if sameSubject(mark.Text, m.Mark) {
			if mark.Text != m.Mark {
				return false, nil
			}
			m.out.report.Status, m.by = Done, mark.Run
			return true, nil
		}
	}
	return false, nil
}

// publishEach makes what was merged live, in one commit. Where that fails on account of some, they fail, and the others are
// tried anew; where it does not say whose, each is tried alone.
func (e *each) publishEach(ctx context.Context, begun *swap.Run, list []*member) {
	var merged []*member
	var outs []*outcome
	var publications []swap.Publication
	for _, m := range list {
		if m.out.err != nil || !m.out.staged || m.out.report.Status != Planned {
			continue
		}
		if err := m.run.rejects.seal(ctx); err != nil {
			e.fail(m, err, StepPublish)
			continue
		}
		m.out.manifest.Mark = m.Mark // of a partition that goes away nothing was sealed
		merged, outs = append(merged, m), append(outs, m.out)
		publications = append(publications, swap.Publication{Partition: m.out.path, Inputs: m.out.inputs, Dir: m.out.dir, Manifest: m.out.manifest})
	}
	if len(merged) == 0 {
		return
	}
	if err := ctx.Err(); err != nil {
		e.failEach(merged, err, StepPublish)
		return
	}
	e.enter("", StepPublish)
	start := time.Now()
	err := e.redeclare(ctx, e.declares(outs), publications)
	var published []swap.Published
	if err == nil {
		published, err = e.switchOver(ctx, begun, publications)
	}
	if err != nil {
		e.blameEach(ctx, merged, swapError(err))
		return
	}
	settle(outs, published, time.Since(start).Seconds()/float64(len(published)))
}

// blameEach finds the members that a publish failed for. The others go back to be tried anew.
func (e *each) blameEach(ctx context.Context, list []*member, err error) {
	var blamed []*member
	var known *Error
	if errors.As(err, &known) && known.Partition != "" {
		blamed = slices.DeleteFunc(slices.Clone(list), func(m *member) bool { return m.out.path != known.Partition })
	}
	if len(blamed) == 0 && errors.Is(err, ErrConflict) {
		for _, m := range list {
			now, listErr := e.store.Inputs(context.WithoutCancel(ctx), m.out.path)
			if listErr == nil && !reflect.DeepEqual(now, m.out.inputs) {
				blamed = append(blamed, m)
			}
		}
	}
	whole := len(blamed) == 0 && (len(list) == 1 || errors.Is(err, swap.ErrUnfinished) || ctx.Err() != nil)
	if whole {
		blamed = list
	}
	for _, m := range list {
		m.out.report.Status, m.cause = Undone, err
		m.alone = len(blamed) == 0
	}
	for _, m := range blamed {
		e.fail(m, err, StepPublish)
	}
}

// conclude makes the reports of members that are settled final, and tells of them.
func (e *each) conclude(ctx context.Context, list []*member) {
	var parts []int
	var reports []PartitionReport
	for _, m := range list {
		if m.ended || !m.settled() && ctx.Err() == nil && !e.stops() {
			continue
		}
		m.ended = true
		p := &m.out.report
		p.Error, p.Live, p.Plan = NewErrorReport(m.out.err), fingerprintOf(m.out.inputs), nil
		if p.Status.Counts() || p.Status == Done {
			p.Run = m.by
		}
		if r := m.run; r != nil && r.read != nil {
			p.Seconds.Source = r.read.seconds
		}
		if r := m.run; r != nil && r.rejects != nil {
			if err := r.rejects.end(ctx, p.Status.Counts()); err != nil {
				m.out.notes = append(m.out.notes, named(p.Partition, "the reject file is incomplete: "+err.Error()))
			}
		}
		m.run = nil
		parts, reports = append(parts, m.ordinal), append(reports, *p)
	}
	if e.batch.Settled != nil && len(parts) > 0 {
		e.batch.Settled(parts, reports)
	}
}

// summary makes the report.
func (e *each) summary(ctx context.Context) (*Report, error) {
	rep := &Report{Run: e.id, Table: e.url, Mode: e.options.Mode, Lineage: &e.from}
	notes := &warnings{}
	outs := make([]*outcome, len(e.members))
	if err := ctx.Err(); err != nil {
		for _, m := range e.members {
			if !m.settled() {
				m.out.fail(err, StepMerge)
				m.out.report.Status = Skipped
			}
		}
	}
	e.conclude(ctx, e.members)
	for i, m := range e.members {
		outs[i] = m.out
		if m.out.way != "" {
			rep.Publish = m.out.way
		}
		notes.addAll(m.out.notes)
		rep.Partitions = append(rep.Partitions, m.out.report)
	}
	rep.Warnings = notes.list
	rep.sum(0)
	rep.Total.Seconds, rep.Total.PeakMemoryBytes = time.Since(e.started).Seconds(), peakMemory()
	return rep, failure(outs)
}

// NewRun gives a name for a batch's runs, which no run has had.
func (t *Table) NewRun(ctx context.Context) (string, error) {
	id, err := t.newRunID(ctx)
	return id, locate(err, "", StepOpen)
}

// KeepHistory removes old versions as the configuration says; a batch does not do so by itself.
func (t *Table) KeepHistory(ctx context.Context) error {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return err
	}
	return t.boundHistory(ctx, c)
}
