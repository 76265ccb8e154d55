package merge

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/splice"
)

// Prepared is a merge whose every decision is taken and of which nothing is written. It holds the
// old files open until Close.
type Prepared struct {
	task     Task
	options  Options
	binding  *binding
	source   *source
	old      []*oldFile
	inserts  runs // source rows to insert, in the order they are written
	bySource matched
	counts   Counts
	bytes    Bytes
	plans    []FilePlan
	added    []arrow.Field  // columns that the table gets
	twice    bool           // some key of the source stands more than once in the old files
	adopted  []*splice.File // the source's files that are the merged partition
	target   *oldFile       // takes the inserts; nil: a new file
	fold     *rowGroup
	seconds  Seconds
	changes  []int64 // with Options.Diff, per table column: updated rows in which it changes
	refused  error   // what the limit on deletes would have said
}

// Prepare reads what it must to decide everything about the merge: keys where a source key may be,
// and of the rows that match, the columns the source brings. It writes nothing. On success the caller
// must Close what it gets.
//
// Errors match the sentinels of this package, or splice's for files that are damaged or encrypted.
func Prepare(ctx context.Context, t Task) (*Prepared, error) {
	o := t.Options
	if err := o.Validate(); err != nil {
		return nil, &Error{Kind: ErrUsage, Err: err, Message: "options"}
	}
	o.setDefaults()
	p := &Prepared{task: t, options: o}
	if err := p.prepare(ctx); err != nil {
		return nil, errors.Join(err, p.Close())
	}
	return p, nil
}

func (p *Prepared) prepare(ctx context.Context) error {
	for _, step := range []struct {
		run  func(context.Context) error
		into *time.Duration
	}{
		{p.extendSchema, &p.seconds.Index},
		{p.openOld, &p.seconds.Index},
		{p.bindSource, &p.seconds.Index},
		{p.guardSource, &p.seconds.Index},
		{p.match, &p.seconds.Probe},
		{p.arrange, &p.seconds.Probe},
		{p.compare, &p.seconds.Compare},
		{p.count, &p.seconds.Plan},
		{p.checkLengths, &p.seconds.Plan},
		{p.plan, &p.seconds.Plan},
	} {
		start := time.Now()
		if err := step.run(ctx); err != nil {
			return err
		}
		*step.into += time.Since(start)
	}
	return nil
}

// Close closes the old files.
func (p *Prepared) Close() error {
	var errs []error
	for _, f := range p.old {
		errs = append(errs, f.close())
	}
	p.old = nil
	return errors.Join(errs...)
}

// Counts says what becomes of every row.
func (p *Prepared) Counts() Counts { return p.counts }

// Bytes is the plan's bytes by route, of the old files as they stand; Added is an estimate from the
// values' sizes before compression.
func (p *Prepared) Bytes() Bytes { return p.bytes }

// Files says what will be done with each old file, in the order of Task.Old, and after them with files of
// the source that are adopted.
func (p *Prepared) Files() []FilePlan { return p.plans }

// Seconds is how long the steps took so far.
func (p *Prepared) Seconds() Seconds { return p.seconds }

// IgnoredColumns are columns of the source that the table lacks and that were left out.
func (p *Prepared) IgnoredColumns() []string {
	if p.binding == nil {
		return nil
	}
	return p.binding.ignored
}

// AddedColumns are columns of the source that the table gets.
func (p *Prepared) AddedColumns() []arrow.Field { return p.added }

// VersionStored reports whether stored rows take part in the comparison of versions: false where
// the table lacks every column of OrderBy.
func (p *Prepared) VersionStored() bool {
	return len(p.options.OrderBy) == 0 || len(p.source.stored) > 0
}

// Noop reports that the partition stays as it is: no row is inserted, updated or removed.
func (p *Prepared) Noop() bool {
	c := p.counts
	if p.options.Mode == Replace {
		return c.Old == 0 && c.Source == 0
	}
	return c.Inserted+c.Moved == 0 && c.Updated == 0 && c.Deleted+c.MovedOut == 0 && c.OldDuplicates == 0
}

// extendSchema adds the source's new columns to the table's where that was asked for.
func (p *Prepared) extendSchema(context.Context) (err error) {
	shaped := p.task.shaped()
	if p.options.NewColumns != PolicyAdd || p.options.Mode == Delete || shaped == nil {
		return nil
	}
	p.task.Schema, p.added, err = extend(p.task.Schema, shaped.Columns.Schema(), &p.options)
	return err
}

func (p *Prepared) openOld(ctx context.Context) error {
	for _, old := range p.task.Old {
		f, err := openOld(ctx, old, p.task.Schema, p.options.Progress)
		if err != nil {
			return err
		}
		p.old = append(p.old, f)
		p.counts.Old += f.file.NumRows()
	}
	return nil
}

func (p *Prepared) bindSource(ctx context.Context) error {
	var err error
	if shaped := p.task.shaped(); shaped != nil {
		p.binding, err = bindRows(p.task.Schema, *shaped, &p.options)
	} else {
		p.binding, err = bind(p.task.Schema, p.task.Schema, &p.options)
	}
	if err != nil {
		return err
	}
	p.binding.julian = julian(p.old)
	if p.source, err = newSource(ctx, &p.task, p.binding, &p.options); err != nil {
		return err
	}
	p.source.rows.target = p.targetSchema()
	p.source.rows.share(len(p.groups()))
	return nil
}

// guardSource stops what the source's size or completeness forbids.
func (p *Prepared) guardSource(context.Context) error {
	o, n := p.options, p.source.rows.n
	c, apart := &p.counts, p.task.Apart
	c.Source, c.Rejected = int64(n)+p.task.Rejected+apart.sum(), p.task.Rejected
	c.SourceDuplicates, c.StaleSkipped, c.Ignored = apart.Duplicates, apart.Stale, apart.Ignored
	p.bySource.deleted = apart.Deleted
	for _, f := range p.source.fates {
		if f == nullKey {
			p.counts.NullKeys++
		}
	}
	whole := o.Mode == Mirror || o.Mode == Replace
	switch {
	case n == 0 && o.RequireRows:
		return &Error{Kind: ErrGuard, Message: "the source has no rows", Hint: "--require-rows asked for some"}
	case n == 0 && whole && !o.AllowEmpty:
		return &Error{Kind: ErrGuard, Message: fmt.Sprintf("%s with an empty source would delete every row", o.Mode),
			Hint: "--allow-empty if that is meant"}
	case whole && p.counts.NullKeys+p.counts.Rejected > 0:
		return &Error{Kind: ErrGuard, Message: fmt.Sprintf("%s deletes what the source lacks, and %d of its rows were rejected",
			o.Mode, p.counts.NullKeys+p.counts.Rejected), Hint: "correct the source first"}
	}
	return nil
}

func (p *Prepared) groups() []*rowGroup {
	var out []*rowGroup
	for _, f := range p.old {
		out = append(out, f.groups...)
	}
	return out
}

// match finds the old rows of the source's keys, and what becomes of them: band by band.
func (p *Prepared) match(ctx context.Context) error {
	if !p.options.Mode.Keyed() {
		return p.matchAll()
	}
	for _, f := range p.old {
		if err := f.bindKeys(p.source); err != nil {
			return err
		}
	}
	for _, b := range p.source.bands {
		if err := b.load(ctx, &p.options, p.counts.Old); err != nil {
			return err
		}
		if err := p.probe(ctx, b); err != nil {
			return err
		}
		if err := p.matchBand(ctx, b); err != nil {
			return err
		}
		if b.settleRest(p.options.Mode) {
			p.listInserts(b)
		}
		b.drop()
	}
	leaves := p.leave()
	for _, g := range p.groups() {
		g.settle(len(p.source.bands) == 1 && !leaves)
		p.counts.OldNullKeys += g.nullN
	}
	if leaves {
		if err := p.refuseTwoFates(); err != nil {
			return err
		}
	}
	p.countArrivals()
	if p.options.Unique {
		return p.refuseRepeats(ctx)
	}
	return nil
}

// probe finds the old rows of a band's keys, row groups in parallel.
func (p *Prepared) probe(ctx context.Context, b *band) error {
	if b.n == 0 && p.options.Mode != Mirror {
		return nil
	}
	groups := p.groups()
	probers := make([]prober, len(groups))
	err := p.parallel(ctx, len(groups), func(ctx context.Context, i int) error {
		probers[i] = prober{source: p.source, band: b, mirror: p.options.Mode == Mirror, finder: finder{band: b}}
		if err := probers[i].probe(ctx, groups[i]); err != nil {
			return groups[i].file.wrap(err)
		}
		if pr := p.options.Progress; pr != nil {
			pr.Probed.Add(groups[i].bytes() / int64(len(p.source.bands)))
		}
		return nil
	})
	for i := range groups {
		p.bytes.Read += probers[i].read
	}
	return err
}

// parallel runs n jobs on the workers.
func (p *Prepared) parallel(ctx context.Context, n int, job func(ctx context.Context, i int) error) error {
	return parallel(ctx, p.options.workers(), n, job)
}

// parallel runs n jobs, so many at a time.
func parallel(ctx context.Context, workers, n int, job func(ctx context.Context, i int) error) error {
	eg, ctx := errgroup.WithContext(ctx)
	eg.SetLimit(workers)
	for i := range n {
		eg.Go(func() error {
			if err := ctx.Err(); err != nil {
				return err
			}
			return job(ctx, i)
		})
	}
	return eg.Wait()
}

// matchBand turns the hits of a band into edits.
func (p *Prepared) matchBand(ctx context.Context, b *band) error {
	groups := p.groups()
	m := &matcher{source: p.source, band: b, options: &p.options}
	if err := m.findOldDuplicates(groups); err != nil {
		return err
	}
	stale, versions, read := make([][]bool, len(groups)), make([]*keys, len(groups)), make([]int64, len(groups))
	err := p.parallel(ctx, len(groups), func(ctx context.Context, i int) (err error) {
		stale[i], versions[i], err = m.loadVersions(ctx, groups[i], &read[i])
		return err
	})
	for _, n := range read {
		p.bytes.Read += n
	}
	if err != nil {
		return err
	}
	if p.options.OldDuplicates == PolicyRepair {
		m.chooseKept(groups, versions)
	}
	if len(m.twice) == 0 {
		return p.parallel(ctx, len(groups), func(ctx context.Context, i int) error {
			return m.edit(ctx, groups[i], stale[i], nil)
		})
	}
	p.twice = true
	for i, g := range groups {
		if err := m.edit(ctx, g, stale[i], &p.counts); err != nil {
			return err
		}
	}
	return nil
}

// matchAll settles the modes without keys: every source row is inserted, and replace drops the old.
func (p *Prepared) matchAll() error {
	for i := range p.source.fates {
		p.source.fates[i] = inserted
	}
	if p.options.Mode == Replace {
		for _, g := range p.groups() {
			g.deletes = g.rows
		}
	}
	p.listAll()
	return nil
}

// compare finds what the updates change.
func (p *Prepared) compare(ctx context.Context) error {
	columns := p.task.Schema.NumFields()
	groups := slices.DeleteFunc(p.groups(), func(g *rowGroup) bool { return !g.prepare(columns) })
	c := &comparer{rows: p.source.rows}
	if p.options.Diff {
		c.counts = make([]int64, columns)
		p.changes = c.counts
	}
	defer func() { p.bytes.Read += c.read }()
	if p.adopted = p.adoptable(); p.adopted != nil {
		if len(groups) == 0 {
			return nil
		}
		c.rowsOnly = true
		if err := p.compareRows(ctx, c, groups); err != nil || !p.fewChange(groups) {
			return err
		}
		// The rows are known; what is left is which columns change in them.
		p.adopted, c.rowsOnly, c.known = nil, false, true
	}
	return p.compareColumns(ctx, c, groups)
}

func (p *Prepared) compareColumns(ctx context.Context, c *comparer, groups []*rowGroup) error {
	type job struct {
		group *rowGroup
		table int
	}
	var jobs []job
	for _, g := range groups {
		for table, wanted := range p.binding.update {
			if wanted {
				jobs = append(jobs, job{g, table})
			}
		}
	}
	return p.parallel(ctx, len(jobs), func(ctx context.Context, i int) error {
		return c.compare(ctx, jobs[i].group, jobs[i].table)
	})
}

// count fills the counters and holds them against each other and against the guards.
func (p *Prepared) count(context.Context) error {
	c := &p.counts
	p.countOld()
	p.tally(p.source.fates)
	c.Inserted -= c.Moved
	c.Deleted -= c.MovedOut
	c.Kept = c.Old - c.Updated - c.Unchanged - c.Deleted - c.MovedOut - c.OldDuplicates
	c.Out = c.Kept + c.Updated + c.Unchanged + c.Inserted + c.Moved
	if err := c.conserve(p.options.Mode, p.bySource, -1); err != nil {
		return err
	}
	return p.guardDeletes()
}

// tally adds source rows to the counters, by what has become of them.
func (p *Prepared) tally(fates []fate) {
	var mu sync.Mutex
	var n [ignored + 1]int64
	inParts(len(fates), p.options.workers(), func(from, to int) {
		var part [2][ignored + 1]int64 // a counter that the row before did not have is ready sooner
		for i, f := range fates[from:to] {
			part[i&1][f]++
		}
		mu.Lock()
		defer mu.Unlock()
		for f := range n {
			n[f] += part[0][f] + part[1][f]
		}
	})
	c, s := &p.counts, &p.bySource
	c.Inserted, c.StaleSkipped, c.Ignored = c.Inserted+n[inserted], c.StaleSkipped+n[stale], c.Ignored+n[ignored]
	c.SourceDuplicates += n[duplicate]
	s.updated, s.unchanged, s.deleted = s.updated+n[updated], s.unchanged+n[unchanged], s.deleted+n[deleted]
}

// countOld counts old rows by their edits, and gives the source rows that change something that fate.
func (p *Prepared) countOld() {
	groups := p.groups()
	changed, same := make([]int64, len(groups)), make([]int64, len(groups))
	var all errgroup.Group
	all.SetLimit(p.options.workers())
	if p.twice { // a source row may have edits in several row groups
		all.SetLimit(1)
	}
	for i, g := range groups {
		all.Go(func() error {
			changed[i], same[i] = g.countEdits(p.source.fates)
			return nil
		})
	}
	_ = all.Wait() // counting does not fail
	for i, g := range groups {
		p.counts.Deleted += g.deletes
		p.counts.Updated += changed[i]
		p.counts.Unchanged += same[i]
	}
}

// countEdits counts the updates that change something, and those that do not.
func (g *rowGroup) countEdits(fates []fate) (changed, same int64) {
	for i, e := range g.edits {
		switch {
		case e.source < 0:
		case g.differs[i]:
			changed++
			fates[e.source] = updated
		default:
			same++
		}
	}
	return changed, same
}

// guardDeletes stops a merge that would remove more than it may.
func (p *Prepared) guardDeletes() error {
	limit, limited := p.options.deleteLimit()
	c := p.counts
	lost := c.Deleted + c.MovedOut
	if p.options.Mode == Replace {
		lost = c.Old - c.Inserted
	}
	if !limited || c.Old == 0 || float64(lost) <= limit*float64(c.Old) {
		return nil
	}
	err := &Error{Kind: ErrGuard, Message: fmt.Sprintf("%s would remove %d of %d rows (%.1f %%), more than the limit of %.1f %%",
		p.options.Mode, lost, c.Old, 100*float64(lost)/float64(c.Old), 100*limit), Hint: "raise --max-delete-ratio if that is meant"}
	if p.options.Diff {
		p.refused = err
		return nil
	}
	return err
}
