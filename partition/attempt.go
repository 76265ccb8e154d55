package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// outcome is what became of one partition in one attempt.
type outcome struct {
	*target
	ordinal  int // of a diff, among the run's partitions
	report   PartitionReport
	err      error
	notes    []string
	rejected []merge.Reject
	way      string

	moves    *moves      // what is known of other partitions; nil: nothing is asked
	listed   bool        // the partition was listed before
	carried  []string    // columns that only its files have
	inputs   swap.Inputs // the partition as the merge read it
	contents contents
	added    []arrow.Field // columns that the table gets
	staged   bool
	removes  bool // the partition is to go away
	dir      *stage.Dir
	manifest stage.Manifest
	task     merge.Task
	progress merge.Progress
	copied   []string // files that were kept by a copy
	created  []string // files that were written, in their order
	schema   *arrow.Schema
	content  merge.Content // that they must have, as rows of schema; known with VerifyFull

	asking sync.Mutex
	asked  []string // positions of source rows that the merge asked for since its last reject
}

func (o *outcome) reject(row merge.Reject) error {
	o.rejected = append(o.rejected, row)
	o.asking.Lock()
	o.asked = nil
	o.asking.Unlock()
	return nil
}

// maxAsked is how many positions are kept for an error: more than any names.
const maxAsked = 16

// position remembers the positions that the merge asks for. It does so to name rows, in rejects and in
// errors.
func (o *outcome) position(of func(row int) string) func(row int) string {
	if of == nil {
		return nil
	}
	return func(row int) string {
		text := of(row)
		o.asking.Lock()
		defer o.asking.Unlock()
		if len(o.asked) < maxAsked {
			o.asked = append(o.asked, text)
		}
		return text
	}
}

// place gives an error of the merge the file of the first source row that it names.
func (o *outcome) place(err error) error {
	var e *Error
	if !errors.As(err, &e) || e.File != "" {
		return err
	}
	o.asking.Lock()
	defer o.asking.Unlock()
	for _, text := range o.asked {
		if strings.Contains(e.Err.Error(), text) {
			return e.at(text)
		}
	}
	return err
}

// fail ends the partition with an error.
func (o *outcome) fail(err error, step Step) {
	o.err = o.place(locate(err, o.path, step))
	o.report.Status = Failed
	if errors.Is(err, ErrConflict) {
		o.report.Status = Conflict
	}
}

// attempt merges partitions once and publishes them together: lease, merge each, publish. Where one
// fails all are undone.
func (r *run) attempt(ctx context.Context, targets []*target, id string) []*outcome {
	out, around := newOutcomes(targets), newOutcomes(r.routed.around)
	if r.dry {
		var ok bool
		if out, ok = r.findMoves(ctx, out, around); !ok {
			return out
		}
	}
	if r.diff != nil {
		if err := r.diff.begin(ctx, r, out); err != nil {
			failAll(out, err, StepWrite)
			r.diff.err = err
			return out
		}
	}
	if len(out) == 0 {
		return nil
	}
	if r.dry {
		r.mergeAll(ctx, nil, out, id)
		r.checkSource(ctx, out)
		r.checkRejects(out)
		return out
	}
	r.enter("", StepLock)
	var paths []string
	for _, o := range slices.Concat(out, around) {
		paths = append(paths, o.path)
	}
	begun, err := r.lock(ctx, id, paths)
	if begun == nil {
		failAll(out, err, StepLock)
		return out
	}
	if err != nil {
		failAll(out, err, StepLock)
	} else if err := r.recoverWindow(ctx, paths); err != nil {
		failAll(out, err, StepRecover)
	} else if list, ok := r.findMoves(ctx, out, around); !ok {
		out = list
	} else {
		out = list
		r.mergeAll(ctx, begun, out, id)
		r.checkSource(ctx, out)
		r.publish(ctx, begun, out)
	}
	// After a commit, or where it is to stay staged, this only frees the partitions; else everything is undone.
	if err := begun.Abort(ctx); err != nil {
		r.cfg.Logger.Warn("staging is not cleaned up; the next run or recover does it", "run", id, "error", err)
	}
	return out
}

// lock begins a run of the state and takes its partitions. Where these are not to be had the run has begun all the same.
func (r *run) lock(ctx context.Context, id string, paths []string) (begun *swap.Run, err error) {
	err = r.traced(ctx, "lock", func(ctx context.Context) error {
		var err error
		if begun, err = r.begin(ctx, id, r.options.Command, len(r.layout.columns) > 0); err != nil {
			return err
		}
		if r.window != nil && r.makesPartitions() {
			if err := begun.LeaseNew(ctx); err != nil {
				return err
			}
		}
		return begun.Lease(ctx, paths)
	})
	return begun, err
}

// makesPartitions reports whether source rows go where no partition is.
func (r *run) makesPartitions() bool {
	return slices.ContainsFunc(r.routed.targets, func(t *target) bool { return !t.exists })
}

func newOutcomes(targets []*target) []*outcome {
	out := make([]*outcome, len(targets))
	for i, t := range targets {
		out[i] = &outcome{target: t, report: PartitionReport{Partition: t.path, Status: Skipped}}
	}
	return out
}

// failAll ends all partitions with one error that is not of any of them.
func failAll(out []*outcome, err error, step Step) {
	err = locate(swapError(err), "", step)
	status := Failed
	if errors.Is(err, ErrConflict) {
		status = Conflict
	}
	for _, o := range out {
		o.err, o.report.Status = err, status
	}
}

// swapError gives the errors of storage/swap the sentinels of this package, and takes the partition out of
// their texts, where it stands as "partition dt=2026-11-20".
func swapError(err error) error {
	// of splits "sentinel: partition dt=2026-11-20<after>rest"; what is said of the partition begins with
	// says.
	of := func(is, sentinel error, after, says, hint string) error {
		e := &Error{Kind: KindOf(is), Hint: hint}
		text := strings.TrimPrefix(err.Error(), sentinel.Error()+": ")
		if rest, ok := strings.CutPrefix(text, "partition "); ok {
			if name, rest, ok := strings.Cut(rest, after); ok {
				e.Partition, text = name, says+rest
			}
		}
		e.Err = both{&message{text: text, is: err}, is}
		return e
	}
	var back *swap.SetBackError
	var lost *swap.ClaimError
	switch {
	case errors.As(err, &lost):
		return claimError(lost)
	case errors.As(err, &back):
		return setBackError("TABLE", back)
	case errors.Is(err, swap.ErrLocked):
		return of(ErrLocked, swap.ErrLocked, " is held by ", "held by ", "wait for it with --lock-wait 10m")
	case errors.Is(err, swap.ErrConflict):
		return of(ErrConflict, swap.ErrConflict, ": ", "changed meanwhile: ", "run again, or let --retry do it")
	case errors.Is(err, swap.ErrTwoStates):
		return twoStates(err)
	case errors.Is(err, swap.ErrForeignState):
		return &Error{Kind: KindUsage, Err: both{err, ErrUsage}, Hint: "the state folder belongs to one table; --state-dir names another one"}
	case errors.Is(err, swap.ErrTampered):
		return of(ErrVerify, swap.ErrTampered, ": ", "the staged files are not those that were verified: ", "")
	case errors.Is(err, swap.ErrNoVersion):
		return of(ErrNotFound, swap.ErrNoVersion, " has no ", "there is no ", "hupsert history lists the versions")
	case errors.Is(err, swap.ErrRegistered):
		return registeredElsewhere(err)
	case errors.Is(err, swap.ErrACL):
		return &Error{Kind: KindGuard, Err: both{err, ErrGuard}, Hint: "--ignore-acl publishes it without; or take the list away, and set it again afterwards"}
	case errors.Is(err, swap.ErrLost):
		return &Error{Kind: KindCorrupt, Err: both{err, ErrCorrupt}, Hint: "point the partition at a folder that is there: ALTER TABLE ... PARTITION ... SET LOCATION; hupsert history lists the versions that are kept"}
	case errors.Is(err, swap.ErrElsewhere):
		return &Error{Kind: KindLayout, Err: both{hiveError(err), ErrLayout}, Hint: Hint(hiveError(err))}
	}
	return hiveError(err)
}

// claimError says what can be done where what is kept of a version was damaged. Nothing does it by itself: without the version an
// append of the same files is not known to be the second one.
func claimError(lost *swap.ClaimError) *Error {
	return &Error{Kind: KindCorrupt, Partition: lost.Partition, Err: both{&message{text: lost.Told(), is: lost}, ErrCorrupt},
		Hint: "no run leaves it so: put the file back from a backup, or give up what is known of this version by removing the folder " + lost.Folder +
			". The partition's rows stay as they are; files that were appended by it can then be appended again"}
}

// setBackError says what can be done where versions of ours are out of readers' sight.
func setBackError(table string, back *swap.SetBackError) *Error {
	named := ""
	if back.Partition != "" {
		named = " --partition " + asSpec(back.Partition)
	}
	return &Error{Kind: KindConflict, Partition: back.Partition, Err: both{&message{text: back.Missing(), is: back}, ErrConflict},
		Hint: fmt.Sprintf("hupsert rollback %s%s --to %s --force shows that version again, and keeps what is there now in the history; --ignore-set-back goes on from what is there now", ShellQuote(table), named, back.Last)}
}

// mergeAll merges the partitions, several at once. After a failure the others are still looked at, so
// that all of the source's faults are found in one go, but nothing more is written.
func (r *run) mergeAll(ctx context.Context, begun *swap.Run, out []*outcome, id string) {
	var g errgroup.Group
	g.SetLimit(r.parallel())
	var failed atomic.Bool
	for _, o := range out {
		g.Go(func() error {
			if r.diff != nil {
				defer r.diff.leave(o)
			}
			if err := ctx.Err(); err != nil {
				o.fail(err, StepMerge)
				return nil
			}
			r.progress.begin(&o.progress, r.dry)
			defer r.progress.end(&o.progress)
			ctx, span := r.partitionSpan(ctx, o.path)
			r.one(ctx, begun, o, id, &failed)
			o.end(span)
			return nil
		})
	}
	_ = g.Wait() // the errors are in the outcomes
}

// checkSource ends the partitions where a source file changed while it was read.
func (r *run) checkSource(ctx context.Context, out []*outcome) {
	if failure(out) != nil {
		return
	}
	if err := r.read.unchanged(ctx); err != nil {
		failAll(out, err, StepSource)
	}
}

// one takes a partition from listing to sealed staging.
func (r *run) one(ctx context.Context, begun *swap.Run, o *outcome, id string, failed *atomic.Bool) {
	step := StepList
	var err error
	if !o.listed {
		err = r.traced(ctx, "list", func(ctx context.Context) error { return r.list(ctx, o) })
	}
	var prepared change
	if err == nil {
		step = StepMerge
		prepared, err = r.decide(ctx, o)
	}
	if err == nil {
		step = StepWrite
		if !r.dry && o.report.Status != Noop && !failed.Load() {
			err = r.traced(ctx, "write", func(ctx context.Context) error { return r.stage(ctx, begun, o, prepared, id) })
		}
	}
	if m, ok := prepared.(*merge.Prepared); ok && err == nil && r.diff != nil {
		err = r.diff.partition(ctx, o, m)
	}
	if prepared != nil {
		o.take(prepared)
		err = errors.Join(err, prepared.Close())
	}
	if err == nil && o.staged {
		step = StepVerify
		err = r.traced(ctx, "verify", func(ctx context.Context) error { return r.verifyAndSeal(ctx, o, id) })
	}
	if err != nil {
		failed.Store(true)
		o.fail(r.changed(ctx, o, err), step)
		r.watch.send(Event{Run: r.id, Partition: o.path, Step: step, Time: r.cfg.Now(), Err: o.err})
		return
	}
	o.task = merge.Task{} // views of the rows: of many partitions, much
	r.cfg.Logger.Info("merged", "run", id, "partition", o.path, "status", o.report.Status, "old", o.report.Rows.Old,
		"source", o.report.Rows.Source, "out", o.report.Rows.Out)
}

// change is what becomes of a partition: a merge or a compaction, of which every decision is taken.
type change interface {
	Counts() merge.Counts
	Files() []merge.FilePlan
	Seconds() merge.Seconds
	Schema() *arrow.Schema
	Bytes() merge.Bytes
	Write(ctx context.Context, sink merge.Sink) (merge.Result, error)
	Content(ctx context.Context) (merge.Content, error)
	Close() error
}

// decide decides everything about what becomes of the partition; nil where nothing is there.
func (r *run) decide(ctx context.Context, o *outcome) (change, error) {
	r.enter(o.path, StepMerge)
	if r.compaction != nil {
		return r.prepareCompaction(ctx, o)
	}
	var p *merge.Prepared
	err := r.traced(ctx, "merge", func(ctx context.Context) (err error) {
		p, err = r.prepare(ctx, o)
		return err
	})
	if p == nil || err != nil {
		return nil, err
	}
	return p, nil
}

// changed tells that a file is gone because the partition is not any more what was listed.
func (r *run) changed(ctx context.Context, o *outcome, err error) error {
	if !errors.Is(err, fs.ErrNotExist) || errors.Is(err, ErrConflict) {
		return err
	}
	now, listErr := r.store.Inputs(context.WithoutCancel(ctx), o.path)
	if listErr != nil || reflect.DeepEqual(now, o.inputs) {
		return err
	}
	return &Error{Kind: KindConflict, Err: both{err, ErrConflict}, Hint: "somebody changed the partition meanwhile: run again, or let --retry do it"}
}

// list lists the partition as it is now: what Publish will compare with.
func (r *run) list(ctx context.Context, o *outcome) error {
	r.enter(o.path, StepList)
	var err error
	if o.inputs, err = r.store.Inputs(ctx, o.path); err != nil {
		return err
	}
	if back, err := r.store.SetBack(ctx, o.path, o.inputs); err != nil || back != nil && !r.cfg.Hadoop.IgnoreSetBack {
		if err == nil {
			err = setBackError(r.url, back)
		}
		return err
	}
	if o.contents, err = classify(o.inputs.Files); err != nil {
		return err
	}
	o.report.New = o.inputs.Absent
	if o.inputs.Absent && o.inputs.Folder != "" {
		o.report.New = false
		o.notes = append(o.notes, named(o.path, "its folder "+o.inputs.Folder+" was not there: it was taken for a partition without rows"))
	}
	o.report.Files.Before = len(o.contents.data)
	return r.refuseRepeat(ctx, o)
}

// refuseRepeat stops an append of files that the partition's history already holds.
func (r *run) refuseRepeat(ctx context.Context, o *outcome) error {
	if r.options.Mode != Append || r.options.Force || len(r.read.fingerprints) == 0 {
		return nil
	}
	versions, err := r.store.History(ctx, o.path)
	if err != nil {
		return err
	}
	held := appended(versions)
	for _, mark := range r.read.fingerprints {
		if by, ok := held[mark]; ok {
			return fault(ErrGuard, "run %s has appended the same input already", by).hint("--force appends it once more")
		}
	}
	return nil
}

// appended are the inputs that the live version holds by appends, each with the run that appended
// it. A rollback brings back what the restored version held.
func appended(versions []swap.Version) map[string]string {
	after := map[string]map[string]string{}
	held := map[string]string{}
	for _, v := range versions {
		next := map[string]string{}
		switch from := held; {
		case v.Restores != "":
			from = after[v.Restores]
			fallthrough
		case v.Mode != string(Replace) && !v.Absent:
			for mark, run := range from {
				next[mark] = run
			}
		}
		for _, mark := range v.Sources {
			next[mark] = v.Run
		}
		held, after[v.Run] = next, next
	}
	return held
}

// storedSchema settles the columns of a partition as its files store them, nil where nothing says any, and those that only the
// files have.
func (r *run) storedSchema(ctx context.Context, o *outcome) (schema *arrow.Schema, carried []string, err error) {
	schema, err = filesSchema(ctx, r.fsys, r.folder(o.path, o.inputs), o.contents.data)
	if err == nil && schema != nil && r.catalog != nil {
		carried = undeclared(without(schema, r.layout.columns), r.schema)
		schema, err = r.asDeclared(ctx, o, schema)
	}
	if err != nil {
		return nil, nil, err
	}
	switch {
	case schema == nil:
		schema = r.schema
	case r.schema != nil:
		schema = withLengths(schema, r.schema)
	}
	return schema, carried, nil
}

// prepare decides everything about the partition's merge.
func (r *run) prepare(ctx context.Context, o *outcome) (*merge.Prepared, error) {
	schema, carried, err := r.storedSchema(ctx, o)
	if err != nil {
		return nil, err
	}
	if schema == nil { // nothing is there, and nothing comes
		o.report.Status = Noop
		return nil, nil
	}
	if len(o.contents.data) == 0 {
		schema = without(schema, r.layout.columns)
	}
	if err := r.checkStored(ctx, o, schema); err != nil {
		return nil, err
	}
	task := merge.Task{Schema: schema, Rejected: o.refused, Options: r.mergeOptions(o)}
	task.Options.Carried = carried
	if task.Options.Key, err = r.keyWithin(schema); err != nil {
		return nil, err
	}
	task.Old = r.oldFiles(o)
	if task.Batches, err = r.batches(ctx, o, task.Schema); err != nil {
		return nil, err
	}
	if err := r.applyMoves(ctx, o, &task); err != nil {
		return nil, err
	}
	o.task = task
	began := time.Now()
	p, err := merge.Prepare(ctx, task)
	if err != nil {
		return nil, fileError(err, o.contents.data)
	}
	r.mergeSteps(ctx, began, p.Seconds())
	if err := o.moves.arrived(p); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	o.report.Status = Planned
	if p.Noop() || o.inputs.Absent && p.Counts().Out == 0 {
		o.report.Status = Noop
	}
	o.removes = o.report.Status == Planned && p.Counts().Out == 0 && r.options.DropEmpty && o.path != ""
	o.report.Removed = o.removes
	return p, nil
}

// oldFiles are the files of the partition as a merge opens them.
func (r *run) oldFiles(o *outcome) (out []merge.Old) {
	dir := r.folder(o.path, o.inputs)
	for i, f := range o.contents.data {
		old := merge.Old{Name: f.Name, Open: r.opener(dir, f)}
		if m := o.moves; m != nil && m.Moved != nil {
			old.Moved = m.Moved[i]
		}
		if m := o.moves; m != nil && m.Deleted != nil {
			old.Deleted = m.Deleted[i]
		}
		out = append(out, old)
	}
	return out
}

// keyWithin is the key less the partition columns that only the path holds: within a partition they
// are all the same.
func (r *run) keyWithin(schema *arrow.Schema) ([]string, error) {
	var key []string
	for _, k := range r.options.Key {
		if columnIndex(r.layout.columns, k) < 0 || len(foldIndices(schema, k)) > 0 {
			key = append(key, k)
		}
	}
	if len(key) == 0 && r.options.Mode.Keyed() {
		return nil, fault(ErrUsage, "the key holds partition columns only")
	}
	return key, nil
}

// fileError gives an error about the bytes of one of the files its kind and the file's name.
func fileError(err error, files []stage.File) error {
	var known *Error
	if errors.As(err, &known) {
		return known // of a source file, or of what opened the old one
	}
	if !errors.Is(err, splice.ErrCorrupt) && !errors.Is(err, splice.ErrEncrypted) && !errors.Is(err, splice.ErrUnsupported) {
		return err
	}
	var m *merge.Error
	if errors.As(err, &m) && m.File != "" {
		return badFile(err, m.File)
	}
	for _, f := range files {
		if strings.HasPrefix(err.Error(), f.Name) {
			return badFile(err, f.Name)
		}
	}
	return badFile(err, "")
}

// opener opens an old file for a merge, if it still is the file that was listed.
func (r *run) opener(dir string, listed stage.File) func(ctx context.Context) (io.ReaderAt, int64, io.Closer, error) {
	return func(ctx context.Context) (io.ReaderAt, int64, io.Closer, error) {
		f, err := r.fsys.Open(ctx, path.Join(dir, listed.Name))
		if err != nil {
			return nil, 0, nil, err
		}
		info, err := f.Stat()
		if err == nil && (info.Size != listed.Size || info.ID != listed.ID || !info.ModTime.Equal(listed.ModTime)) {
			err = fault(ErrConflict, "the file was replaced while the partition was read").file(listed.Name).hint("run again, or let --retry do it")
		}
		if err != nil {
			return nil, 0, nil, errors.Join(err, f.Close())
		}
		return f, info.Size, f, nil
	}
}

// batches are the rows of a partition with the columns its files have: the partition columns are in
// its path, and stay in the rows only where the files store them too.
func (r *run) batches(ctx context.Context, o *outcome, schema *arrow.Schema) ([]merge.Batch, error) {
	return r.shaped(ctx, o, schema, o.batches)
}

// shaped is batches of rows that are given.
func (r *run) shaped(ctx context.Context, o *outcome, schema *arrow.Schema, list []merge.Batch) ([]merge.Batch, error) {
	shaper := shaper{partitions: r.layout.columns, schema: schema, shapes: map[*arrow.Schema]*viewShape{}}
	shapes := map[source.Columns]source.Columns{}
	out := make([]merge.Batch, len(list))
	for i, b := range list {
		c, ok := shapes[b.Columns]
		if !ok {
			var err error
			if c, err = shaper.shape(ctx, b.Columns, o.spec); err != nil {
				return nil, err
			}
			shapes[b.Columns] = c
		}
		out[i] = merge.Batch{Columns: c, Rows: b.Rows, Position: o.position(b.Position), Whole: b.Whole}
	}
	return out, nil
}

// take fills the report with what was found and done.
func (o *outcome) take(c change) {
	rep := &o.report
	rep.Rows, rep.Plan = c.Counts(), c.Files()
	s := c.Seconds()
	rep.Seconds.Index, rep.Seconds.Probe = s.Index.Seconds(), s.Probe.Seconds()
	rep.Seconds.Plan, rep.Seconds.Write = (s.Compare + s.Plan).Seconds(), s.Write.Seconds()
	switch c := c.(type) {
	case *merge.Prepared:
		o.takeMerge(c)
	case *merge.Compaction:
		o.takeCompaction(c)
	}
}

// takeMerge fills in what only a merge has.
func (o *outcome) takeMerge(p *merge.Prepared) {
	rep := &o.report
	if !o.staged {
		rep.Bytes, rep.Files.After = plannedBytes(p), plannedFiles(p)
		switch {
		case rep.Status == Noop:
			rep.Files.After = rep.Files.Before
		case o.removes:
			rep.Files.After = 0
		}
	}
	if c := p.IgnoredColumns(); len(c) > 0 {
		text := "a column the table lacks was left out: "
		if len(c) > 1 {
			text = "columns the table lacks were left out: "
		}
		o.notes = append(o.notes, text+strings.Join(c, ", "))
	}
	if o.added = p.AddedColumns(); len(o.added) > 0 {
		o.notes = append(o.notes, plural(int64(len(o.added)), "column the table lacked was added: ", "columns the table lacked were added: ")+
			FormatSchema(arrow.NewSchema(o.added, nil)))
	}
	if o.task.Options.Mode.Keyed() && !p.VersionStored() {
		o.notes = append(o.notes, "the table has no version column: versions were compared among source rows only")
	}
	if n := rep.Rows.OldNullKeys; n > 0 {
		o.notes = append(o.notes, named(o.path, plural(n, "old row has NULL in its key; it is carried through",
			"old rows have NULL in their key; they are carried through")))
	}
}

// plannedBytes is a plan's bytes by the routes they will take. The merge tells rows that are inserted
// apart; where they go into a row group that is there, they will be encoded with it.
func plannedBytes(p *merge.Prepared) Bytes {
	b := p.Bytes()
	if folds(p.Files()) {
		b.Rewritten, b.Added = b.Rewritten+b.Added, 0
	}
	return b
}

// folds reports whether inserted rows go into the last row group of a file.
func folds(plan []merge.FilePlan) bool {
	return slices.ContainsFunc(plan, func(f merge.FilePlan) bool {
		return slices.ContainsFunc(f.RowGroups, func(g merge.RowGroupPlan) bool { return g.Fold })
	})
}

// plannedFiles is how many files the merged partition will have.
func plannedFiles(p *merge.Prepared) int {
	n, added, adopted := 0, int64(0), false
	for _, f := range p.Files() {
		if f.Route != merge.Drop {
			n++
		}
		added += f.Inserts
		adopted = adopted || f.Route == merge.Adopt
	}
	if p.Counts().Inserted+p.Counts().Moved > added && !adopted || n == 0 {
		n++
	}
	return n
}

// publish makes the staged partitions live, all or none, or undoes them where one has failed. With StageOnly
// it leaves them staged.
func (r *run) publish(ctx context.Context, begun *swap.Run, out []*outcome) {
	r.checkRejects(out)
	if failure(out) != nil {
		undo(out)
		return
	}
	var list []swap.Publication
	for _, o := range out {
		if o.staged {
			list = append(list, swap.Publication{Partition: o.path, Inputs: o.inputs, Dir: o.dir, Manifest: o.manifest})
		}
	}
	if len(list) == 0 {
		return
	}
	r.enter("", StepPublish)
	start := time.Now()
	err := r.rejects.seal(ctx)
	if err == nil && r.options.StageOnly {
		if err = r.park(ctx, begun, out, list); err == nil {
			return
		}
	}
	if err == nil {
		err = r.stillUnique(ctx, out)
	}
	if err == nil {
		err = r.redeclare(ctx, r.declares(out), list)
	}
	var published []swap.Published
	if err == nil {
		published, err = r.switchOver(ctx, begun, list)
	}
	if err != nil {
		r.blame(ctx, out, swapError(err))
		return
	}
	settle(out, published, time.Since(start).Seconds()/float64(max(1, len(published))))
}

// switchOver makes staged partitions live.
func (r *run) switchOver(ctx context.Context, begun *swap.Run, list []swap.Publication) (published []swap.Published, err error) {
	err = r.traced(ctx, "publish", func(ctx context.Context) (err error) {
		published, err = begun.Publish(ctx, list)
		return err
	})
	return published, err
}

// settle takes over what was published, each partition in so many seconds.
func settle(out []*outcome, published []swap.Published, seconds float64) {
	by := map[string]swap.Published{}
	for _, p := range published {
		by[p.Partition] = p
	}
	for _, o := range out {
		p, ok := by[o.path]
		if !ok {
			continue
		}
		o.report.Status, o.report.Version, o.way = Published, p.Version, string(p.Way)
		o.report.Seconds.Publish = seconds
		for _, text := range p.Warnings {
			o.notes = append(o.notes, named(o.path, text))
		}
	}
}

// undo marks what was merged in vain.
func undo(out []*outcome) {
	for _, o := range out {
		if o.err != nil {
			continue
		}
		switch {
		case o.staged:
			o.report.Status = Undone
		case o.report.Status == Planned:
			o.report.Status = Skipped
		}
	}
}

// blame finds the partitions that a failed publish failed for: those that are not as they were read,
// else all.
func (r *run) blame(ctx context.Context, out []*outcome, err error) {
	found := false
	if errors.Is(err, ErrConflict) {
		for _, o := range out {
			now, listErr := r.store.Inputs(context.WithoutCancel(ctx), o.path)
			if o.staged && listErr == nil && !reflect.DeepEqual(now, o.inputs) {
				o.fail(err, StepPublish)
				found = true
			}
		}
	}
	if found {
		undo(out)
		return
	}
	err = locate(err, "", StepPublish)
	for _, o := range out {
		if o.staged {
			o.err, o.report.Status = err, Failed
			if errors.Is(err, ErrConflict) {
				o.report.Status = Conflict
			}
		}
	}
}

// holdRejects takes in the rows that the merges left out. It comes before the publish, which --max-rejects
// may stop.
func (r *run) holdRejects(out []*outcome) error {
	var rows []reject
	for _, o := range out {
		for _, row := range o.rejected {
			rows = append(rows, reject{Reason: row.Reason, Source: row.Position, Partition: o.path, Row: withSpec(row.Row, o.spec)})
		}
		o.rejected = nil
	}
	return r.rejects.hold(out[0].path, rows)
}

// checkRejects ends the partitions whose rejects are too many.
func (r *run) checkRejects(out []*outcome) {
	if err := r.holdRejects(out); err != nil {
		for _, o := range out {
			if o.err == nil {
				o.fail(err, StepMerge)
			}
		}
	}
}
