package partition

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/storage/swap"
)

// Upsert merges a source into the table, by [Options.Mode], and publishes what changed: all
// partitions in one commit, or with [Options.Partial] each by itself. The report comes with an error,
// too: where partitions failed it says so for each, and the error is an *Error or joins one for each of
// them; where the run did not come to its partitions, Report.Error says why.
func (t *Table) Upsert(ctx context.Context, src Source, o Options) (*Report, error) {
	return t.run(ctx, src, o, false)
}

// Plan is what Upsert would do, decided by the same code: rows, files and routes are what Upsert's
// will be, bytes are those of the old files and of the source before they are encoded. A column chunk that is rewritten
// counts with all its pages, and one whose pages turn out to take no patch is planned as patched. It writes nothing and takes no
// locks, so a run that goes on meanwhile may make it wrong.
func (t *Table) Plan(ctx context.Context, src Source, o Options) (*Report, error) {
	return t.run(ctx, src, o, true)
}

// run is one upsert or plan under way.
type run struct {
	*Table
	id       string
	dry      bool
	options  Options
	parsed   parsed
	config   TableConfig
	progress *Progress
	started  time.Time

	layout     *layout
	isNew      bool          // the table is made by this run
	byPosition bool          // readers of a metastore's table take columns by their place
	schema     *arrow.Schema // the table's data columns
	budget     *budget
	read       *rowsRead
	routed     *routed
	window     *tableWindow // partitions in which a key may stand once; nil: each by itself
	watched    []*outcome   // those of the window in which nothing changes
	rejects    *rejects
	report     *Report
	diff       *differ         // takes the changes of a diff; nil: none
	compaction *CompactOptions // the run compacts; nil: it merges
	beside     int             // of a part of a batch: how many others may be merged at the same time, it included
	mark       string          // is left with the versions
}

// run is the whole story: open, read, route, merge, report.
func (t *Table) run(ctx context.Context, src Source, o Options, dry bool) (*Report, error) {
	r, err := t.start(ctx, o, dry)
	if err != nil {
		return t.newFailure("", o.Mode, dry, err), err
	}
	return r.finish(ctx, r.reads(src))
}

// reads finds the partitions of a run by the rows of a source.
func (r *run) reads(src Source) func(context.Context) error {
	return func(ctx context.Context) error { return r.readAndRoute(ctx, src) }
}

// start gives a run its name.
func (t *Table) start(ctx context.Context, o Options, dry bool) (*run, error) {
	id, err := t.newRunID(ctx)
	if err != nil {
		return nil, locate(err, "", StepOpen)
	}
	r := &run{Table: t, id: id, dry: dry, options: o, progress: t.cfg.Progress, started: time.Now()}
	if r.progress == nil {
		r.progress = new(Progress)
	}
	return r, nil
}

// finish does all of a run. Route finds the partitions, with the rows that belong there.
func (r *run) finish(ctx context.Context, route func(context.Context) error) (*Report, error) {
	defer r.progress.enter(StepDone)
	spanned, span := r.runSpan(ctx)
	report, err := r.all(spanned, route)
	endRunSpan(span, report, err)
	if report == nil {
		report = r.newFailure(r.id, r.options.Mode, r.dry, err)
	}
	if err != nil && !r.dry {
		r.note(ctx, report)
	}
	r.ended(err)
	return report, err
}

func (r *run) all(ctx context.Context, route func(context.Context) error) (*Report, error) {
	if err := r.traced(ctx, "open", r.open); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	r.budget = newBudget(&r.options)
	defer r.endBudget()
	if err := route(ctx); err != nil {
		return nil, err
	}
	r.progress.Partitions.Store(int64(len(r.routed.targets)))
	defer func() {
		if err := r.read.release(); err != nil {
			r.cfg.Logger.Warn("a source file was not closed", "error", err)
		}
	}()
	outcomes := r.merge(ctx)
	r.summarise(ctx, outcomes)
	return r.report, failure(outcomes)
}

// endBudget gives back the space on disk.
func (r *run) endBudget() {
	if n := r.budget.space.Bytes(); n > 0 {
		r.cfg.Logger.Info("not everything fitted into memory", "run", r.id, "spilled_bytes", n)
	}
	if err := r.budget.space.Close(); err != nil {
		r.cfg.Logger.Warn("the temporary file was not closed", "error", err)
	}
}

// enter begins a step.
func (r *run) enter(partition string, s Step) {
	r.progress.enter(s)
	r.watch.send(Event{Run: r.id, Partition: partition, Step: s, Time: r.cfg.Now()})
	if log := r.cfg.Logger; log.Enabled(context.Background(), slog.LevelDebug) {
		if partition == "" {
			log.Debug("begins", "run", r.id, "phase", s)
		} else {
			log.Debug("begins", "run", r.id, "partition", partition, "phase", s)
		}
	}
}

// ended tells that the run is over.
func (r *run) ended(err error) {
	r.watch.send(Event{Run: r.id, Step: StepDone, Time: r.cfg.Now(), Err: err})
	r.cfg.Logger.Info("run ended", "run", r.id, "ok", err == nil, "seconds", time.Since(r.started).Seconds())
}

// open settles options and configuration, ends what interrupted runs left, and lists the table.
func (r *run) open(ctx context.Context) error {
	r.enter("", StepOpen)
	var err error
	if r.config, err = r.ReadConfig(ctx); err != nil {
		return err
	}
	r.options.setDefaults(r.config)
	if r.parsed, err = r.options.validate(); err != nil {
		return err
	}
	if r.options.Mode.Keyed() && len(r.options.Key) == 0 {
		return fault(ErrUsage, "mode %s needs a key, and none is given or declared", r.options.Mode).
			hint("name it with --key, or declare it once: hupsert config %s --set key=COLS", ShellQuote(r.url))
	}
	if !r.dry {
		r.enter("", StepRecover)
		// Before the table is listed: a run that was killed between two renames left a partition's
		// folder absent.
		if err := r.recover(ctx, nil); err != nil {
			return locate(err, "", StepRecover)
		}
	}
	return r.discover(ctx)
}

// recover ends what interrupted runs left in partitions; nil: wherever runs tell that they left something.
func (r *run) recover(ctx context.Context, partitions []string) error {
	return r.traced(ctx, "recover", func(ctx context.Context) error { return r.endKilled(ctx, partitions) })
}

// endKilled finishes or undoes what killed runs left.
func (r *run) endKilled(ctx context.Context, partitions []string) error {
	end := r.store.Settle
	if partitions != nil {
		end = func(ctx context.Context) (swap.Recovered, error) { return r.store.Recover(ctx, partitions) }
	}
	ended, err := end(ctx)
	for _, id := range ended.Finished {
		r.cfg.Logger.Info("an interrupted run was finished", "run", r.id, "interrupted", id)
	}
	for _, id := range ended.Undone {
		r.cfg.Logger.Info("an interrupted run was undone", "run", r.id, "interrupted", id)
	}
	for _, d := range ended.Damaged { // of no concern, unless the run changes it
		r.cfg.Logger.Warn("left aside", "partition", d.Partition, "error", d.Told())
	}
	return err
}

// discover lists the table, or settles what a new one will be.
func (r *run) discover(ctx context.Context) error {
	declared, err := r.declared()
	if err != nil {
		return err
	}
	if r.layout, err = r.listNames(ctx, declared); err != nil {
		return err
	}
	if r.catalog != nil {
		return r.settleCatalog(ctx)
	}
	r.isNew = r.layout.empty
	if !r.isNew {
		return r.agree()
	}
	switch {
	case !r.options.Create && !r.layout.exists:
		none := fault(ErrNotFound, "there is no table at %s", r.root)
		if r.compaction != nil {
			return none.hint("a table is the folder above its partitions, or that of its Parquet files")
		}
		return none.hint("--create makes one")
	case r.options.Create && r.options.PartitionBy == nil && len(r.config.PartitionBy) == 0:
		return fault(ErrUsage, "a new table's partition columns are not known").
			hint("name them with --partition-by COL:TYPE,..., or --partition-by '' for a table without")
	}
	return nil
}

// declared is the partition columns as the options say for a new table, else the configuration.
func (r *run) declared() ([]Column, error) {
	if r.options.Create && r.options.PartitionBy != nil {
		return ParseColumns(r.options.PartitionBy)
	}
	return ParseColumns(r.config.PartitionBy)
}

// agree checks that --partition-by means the table that is there: with --create in a daily job it is
// said again every day.
func (r *run) agree() error {
	if !r.options.Create || r.options.PartitionBy == nil || len(r.config.PartitionBy) == 0 {
		return nil
	}
	declared, err := ParseColumns(r.config.PartitionBy)
	if err != nil {
		return err
	}
	if formatColumns(declared) != formatColumns(r.layout.columns) {
		return fault(ErrUsage, "the table exists and is partitioned by %s, not by %s", formatColumns(declared), formatColumns(r.layout.columns)).
			hint("leave --partition-by out")
	}
	return nil
}

func formatColumns(columns []Column) string {
	parts := make([]string, len(columns))
	for i, c := range columns {
		parts[i] = formatColumn(c)
	}
	return strings.Join(parts, ",")
}

// readAndRoute reads the source and sends its rows to partitions.
func (r *run) readAndRoute(ctx context.Context, src Source) error {
	err := r.traced(ctx, "source", func(ctx context.Context) error { return r.readSource(ctx, src) })
	if err == nil {
		r.enter("", StepRoute)
		err = locate(r.traced(ctx, "route", r.route), "", StepRoute)
	}
	if err != nil && r.rejects != nil {
		if r.read != nil {
			err = errors.Join(err, r.read.release())
		}
		// What was rejected says why the source was not taken.
		return errors.Join(err, r.rejects.end(ctx, false))
	}
	return err
}

// readSource finds the source's files and reads them as far as they are read before they are routed.
func (r *run) readSource(ctx context.Context, src Source) error {
	r.enter("", StepSource)
	files, err := src.files(ctx, r.storages, r.place())
	if err != nil {
		return locate(err, "", StepSource)
	}
	if err := r.findSchema(ctx); err != nil {
		return locate(err, "", StepOpen)
	}
	rejects, err := r.newRejects(ctx, &r.options, files, r.id, r.dry)
	if err != nil {
		return locate(err, "", StepSource)
	}
	r.rejects = rejects
	r.read, err = r.readRows(ctx, src, files)
	return err
}

func (r *run) readRows(ctx context.Context, src Source, files []*sourceFile) (*rowsRead, error) {
	var want *arrow.Schema
	if r.schema != nil {
		want = withCasts(withPartitions(r.schema, r.layout.columns), r.parsed.casts)
		if r.options.Rejects == "" || r.options.Mode == Delete {
			want = withoutLengths(want) // the merge knows which rows are written, and refuses just those
		}
	}
	in := &reader{want: want, options: &r.options, parsed: &r.parsed, rejects: r.rejects, progress: r.progress,
		budget: r.budget, out: &rowsRead{}}
	read, err := in.read(ctx, src, files)
	if err != nil {
		return nil, locate(err, "", StepSource)
	}
	if read.rows+read.rejected == 0 && r.options.RequireRows {
		return read, locate(fault(ErrGuard, "the source has no rows").hint("--require-rows asked for some"), "", StepSource)
	}
	return read, nil
}

// findSchema settles the table's data columns as far as they are known before the source is read.
func (r *run) findSchema(ctx context.Context) error {
	if r.isNew && r.options.Schema != "" {
		s, err := ParseSchema(r.options.Schema)
		r.schema = s
		return err
	}
	prefer := ""
	if spec, ok := r.staticSpec(); ok {
		if p, exists, err := r.layout.find(spec); err != nil {
			return err
		} else if exists {
			prefer = p
		}
	}
	s, err := r.tableSchema(ctx, r.layout, r.config, prefer)
	if err == nil && s != nil && r.catalog != nil {
		s, err = r.inForm(ctx, r.layout, s, prefer)
	}
	r.schema = s
	return err
}

// staticSpec is the one whole partition that --partition names. What is wrong with a spec is found
// when rows are routed.
func (r *run) staticSpec() (Spec, bool) {
	if len(r.options.Partitions) != 1 {
		return nil, false
	}
	spec, err := ParseSpec(r.options.Partitions[0])
	if err == nil {
		spec, err = canonicalSpec(r.layout.columns, spec)
	}
	return spec, err == nil && len(spec) == len(r.layout.columns)
}

// route sends the rows to partitions. Where nothing says what type a partition column has, it takes
// the source's, so that 5 finds the folder 05.
func (r *run) route(ctx context.Context) error {
	if len(r.config.PartitionBy) == 0 && !r.isNew && r.beside == 0 { // parts are named as the table has them
		r.layout.retype(columnTypes(r.read))
	}
	var err error
	if r.routed, err = route(ctx, r.layout, r.read, &r.options, r.rejects, r.budget); err != nil {
		return err
	}
	if r.schema == nil {
		if r.schema, err = r.schemaOfSource(); err != nil {
			return err
		}
	}
	if err := r.checkCasts(); err != nil {
		return err
	}
	if m := r.options.Mode; len(r.routed.targets) == 0 && (m == Mirror || m == Replace) && !r.options.AllowEmpty {
		return fault(ErrGuard, "%s with an empty source", m).hint("--allow-empty if that is meant, and --partition names what it empties")
	}
	if err := r.settleWindow(); err != nil {
		return err
	}
	if r.beside > 0 { // parts of a batch were looked at before
		return ctx.Err()
	}
	return r.reach(ctx)
}

// reach looks whether the partitions that the run touches can be published, and whether somebody else is writing there.
func (r *run) reach(ctx context.Context) error {
	if err := r.lookAt(ctx, slices.Concat(r.routed.targets, r.routed.around)); err != nil {
		return err
	}
	return ctx.Err()
}

// lookAt looks into partitions that are to be published, and refuses those that can't be.
func (r *run) lookAt(ctx context.Context, targets []*target) error {
	var live []string
	for _, t := range targets {
		if t.exists {
			live = append(live, t.path)
		}
	}
	if err := r.publishable(ctx, r.layout, live); err != nil {
		return err
	}
	if err := r.layout.look(ctx, r.fsys, r.root, live); err != nil {
		return err
	}
	for _, t := range targets {
		if err := r.layout.unwritten(t.path, "wait until it is done; if it never ends, remove that folder, or go on with --ignore-temporary"); err != nil && !r.options.IgnoreTemporary {
			return err
		}
	}
	return nil
}

// columnTypes are the types of the source's columns, by lower-case name.
func columnTypes(read *rowsRead) map[string]arrow.DataType {
	types := map[string]arrow.DataType{}
	for _, rec := range read.records {
		for _, f := range rec.Schema().Fields() {
			t := f.Type
			if d, ok := t.(*arrow.DictionaryType); ok {
				t = d.ValueType
			}
			if _, ok := types[strings.ToLower(f.Name)]; !ok {
				types[strings.ToLower(f.Name)] = t
			}
		}
	}
	return types
}

// schemaOfSource is what a table without files gets: the source's columns but those that only steer
// the merge.
func (r *run) schemaOfSource() (*arrow.Schema, error) {
	if len(r.read.records) == 0 {
		return nil, nil
	}
	if !r.isNew || !r.options.Create {
		return nil, fault(ErrSchema, "the table has no files that say its columns").hint("--create takes the source's; or declare them: hupsert config %s --set schema='id bigint, ...'", ShellQuote(r.url))
	}
	return newTableSchema(r.read.records[0].Schema(), r.layout.columns, &r.parsed.merge)
}

// merge merges the partitions: all in one commit, or one by one.
func (r *run) merge(ctx context.Context) []*outcome {
	if !r.options.Partial || r.dry {
		return r.group(ctx, r.routed.targets, r.id)
	}
	out := make([]*outcome, len(r.routed.targets))
	var g errgroup.Group
	g.SetLimit(r.parallel())
	for i, t := range r.routed.targets {
		g.Go(func() error {
			// A run's record holds what it commits at once, so each partition is a run of its own.
			out[i] = r.group(ctx, []*target{t}, partialID(r.id, i))[0]
			if out[i].err != nil {
				// Its rows are as they were, and the next run finds what is wrong with them again.
				_ = r.rejects.hold(t.path, nil)
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in the outcomes
	return out
}

// partialID names the run of one partition of a partial run.
func partialID(id string, i int) string { return fmt.Sprintf("%s-%05d", id, i) }

// parallel is how many partitions are merged at once.
func (r *run) parallel() int {
	n := r.options.Parallel
	if n == 0 {
		n = r.atOnce()
	}
	return max(1, min(n, len(r.routed.targets)+len(r.routed.around)))
}

// remoteAtOnce is how many partitions of a remote storage are merged at once on a machine of fewer processors: a small one
// is nothing but waiting for servers.
const remoteAtOnce = 8

// atOnce is how many partitions are merged at once where nobody says.
func (t *Table) atOnce() int {
	n := runtime.GOMAXPROCS(0)
	if t.fsys.Capabilities().Remote {
		n = max(n, remoteAtOnce)
	}
	return n
}

// group merges partitions that are published together, and starts anew after a conflict as often as
// the options allow. Where its name is taken it takes another one.
func (r *run) group(ctx context.Context, targets []*target, id string) []*outcome {
	taken := 0
	for attempt := 0; ; attempt++ {
		name := id
		if attempt > 0 {
			name = fmt.Sprintf("%s-retry%d", id, attempt)
		}
		out := r.attempt(ctx, targets, name)
		again := attempt-taken < r.options.Retry
		if taken < mostNames && slices.ContainsFunc(out, func(o *outcome) bool { return errors.Is(o.err, swap.ErrNameTaken) }) {
			taken, again = taken+1, true
		}
		if !again || !conflicted(out) || ctx.Err() != nil {
			return out
		}
		r.cfg.Logger.Info("starting anew after a conflict", "run", name, "attempt", attempt+1)
	}
}

// mostNames is how many names of a run may be taken before it gives up.
const mostNames = 8

// conflicted reports whether partitions changed while they were merged. One that was set back stays so.
func conflicted(list []*outcome) bool {
	found := false
	for _, o := range list {
		if errors.Is(o.err, swap.ErrSetBack) {
			return false
		}
		found = found || errors.Is(o.err, ErrConflict)
	}
	return found
}

// failure joins the errors of partitions. An error of all partitions is said once.
func failure(list []*outcome) error {
	var errs []error
	seen := map[error]bool{}
	for _, o := range list {
		if o.err != nil && !seen[o.err] {
			seen[o.err] = true
			errs = append(errs, o.err)
		}
	}
	return join(errs)
}

// done reports whether a run did what it was asked for, in one partition at least.
func done(list []*outcome) bool {
	return len(list) == 0 || slices.ContainsFunc(list, func(o *outcome) bool { return o.report.Status.Counts() })
}

// summarise makes the report.
func (r *run) summarise(ctx context.Context, outcomes []*outcome) {
	rep := &Report{Run: r.id, Table: r.url, Mode: r.options.Mode, DryRun: r.dry, Lineage: r.lineage()}
	notes := &warnings{}
	for _, o := range outcomes {
		o.report.Seconds.Source = r.read.seconds
		o.report.Error = NewErrorReport(o.err)
		var e *Error
		if errors.As(o.err, &e) && e.Partition != o.path {
			o.report.Error.Partition = e.Partition // another one, on whose account all are undone
		}
		rep.Partitions = append(rep.Partitions, o.report)
		if o.way != "" {
			rep.Publish = o.way
		}
		notes.addAll(o.notes)
		if o.report.New && o.report.Status.Counts() && o.report.Status != Noop {
			notes.addAll(r.lookalike(o.target))
		}
	}
	if n := r.routed.emptyNulls; n > 0 {
		notes.add(plural(n, "row has the empty text as a partition value, which is NULL: it goes to ",
			"rows have the empty text as a partition value, which is NULL: they go to ") + DefaultPartition)
	}
	if text := r.window.unsearched(r.layout); text != "" {
		notes.add(text)
	}
	if r.read.rows+r.read.rejected == 0 && r.compaction == nil {
		notes.add("the source has no rows")
	}
	if !r.dry {
		if err := r.rejects.end(ctx, done(outcomes)); err != nil {
			notes.add("the reject file is incomplete: " + err.Error())
		}
		r.housekeeping(ctx, rep, notes)
	}
	rep.Warnings = notes.list
	rep.sum(r.routed.unrouted)
	rep.Total.Seconds = time.Since(r.started).Seconds()
	rep.Total.PeakMemoryBytes = peakMemory()
	r.report = rep
}

// housekeeping bounds the history as the configuration says, and reports its size. What goes wrong
// here undoes nothing: the run is published.
func (r *run) housekeeping(ctx context.Context, rep *Report, notes *warnings) {
	if rep.Publish == "" || ctx.Err() != nil {
		return
	}
	if err := r.boundHistory(ctx, r.config); err != nil {
		notes.add(err.Error())
	}
	size, err := r.historyAfter(ctx, rep.Partitions)
	if err != nil {
		notes.add("the size of the history is not known: " + err.Error())
		return
	}
	rep.History = &size
}

// boundHistory removes versions that are older than the configuration keeps them.
func (t *Table) boundHistory(ctx context.Context, c TableConfig) error {
	keep, err := c.keep()
	if err == nil && keep > 0 {
		_, err = t.store.Vacuum(ctx, keep, false)
	}
	if err != nil {
		return fmt.Errorf("old versions were not removed: %w", err)
	}
	return nil
}

// warnings collects texts, each once.
type warnings struct {
	list []string
	seen map[string]bool
}

func (w *warnings) add(text string) {
	if w.seen == nil {
		w.seen = map[string]bool{}
	}
	if !w.seen[text] {
		w.seen[text] = true
		w.list = append(w.list, text)
	}
}

func (w *warnings) addAll(list []string) {
	for _, text := range list {
		w.add(text)
	}
}

// plural puts a number before the words for one or for several.
func plural(n int64, one, several string) string {
	if n == 1 {
		return "1 " + one
	}
	return strconv.FormatInt(n, 10) + " " + several
}

// named puts a partition before a text.
func named(partition, text string) string {
	if partition == "" {
		return text
	}
	return partition + ": " + text
}

// mergeOptions are the options of one partition's merge. The processors are shared by the partitions
// that are merged at once.
func (r *run) mergeOptions(o *outcome) merge.Options {
	options := r.parsed.merge
	options.Memory, options.Spill = r.budget.merge(r.parallel()), r.budget.space
	options.Parallel = max(1, runtime.GOMAXPROCS(0)/(r.parallel()*max(1, r.beside)))
	options.Progress = &o.progress
	options.Reject = o.reject
	options.Diff = r.diff != nil
	return options
}
