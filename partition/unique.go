package partition

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
)

// moves is what a partition's merge is told of the others.
type moves struct {
	merge.Found
	arrivals []merge.Batch
	expected int64 // rows that must arrive
}

// findMoves finds which rows move between partitions, and gives those partitions that the run touches: those that source rows go to,
// and those of the window in which rows go. False: something failed, and no more is to be done.
func (r *run) findMoves(ctx context.Context, out, around []*outcome) (list []*outcome, ok bool) {
	if r.window == nil {
		return out, true
	}
	ctx, span := r.span(ctx, "search")
	defer func() { endSpan(span, failure(list)) }()
	r.enter("", StepMerge)
	if !r.dry {
		if err := r.sameWindow(ctx); err != nil {
			failAll(out, err, StepList)
			return out, false
		}
	}
	all := slices.Concat(out, around)
	schemas := r.listAll(ctx, all)
	touched := func(keep func(i int, o *outcome) bool) (list []*outcome) {
		for i, o := range all {
			if i < len(out) || keep(i, o) {
				list = append(list, o)
			}
		}
		slices.SortFunc(list, func(a, b *outcome) int { return strings.Compare(a.path, b.path) })
		return list
	}
	failed := func(_ int, o *outcome) bool { return o.err != nil }
	if failure(all) != nil {
		return touched(failed), false
	}
	found, err := r.search(ctx, all, schemas)
	if err == nil {
		err = r.takeMoves(ctx, all, schemas, found)
	}
	if err != nil {
		var e *merge.SearchError
		if errors.As(err, &e) {
			at := all[e.Partition]
			at.fail(fileError(e.Err, at.contents.data), StepMerge)
			return touched(failed), false
		}
		failAll(out, err, StepMerge)
		return out, false
	}
	list = touched(func(i int, _ *outcome) bool { return found[i].Touched() })
	r.watched = slices.DeleteFunc(slices.Clone(around), func(o *outcome) bool { return slices.Contains(list, o) })
	return list, true
}

// listAll lists partitions, and gives the columns of each.
func (r *run) listAll(ctx context.Context, all []*outcome) []*arrow.Schema {
	schemas := make([]*arrow.Schema, len(all))
	var g errgroup.Group
	g.SetLimit(r.parallel())
	for i, o := range all {
		g.Go(func() error {
			err := ctx.Err()
			if err == nil {
				err = r.list(ctx, o)
			}
			if err == nil {
				schemas[i], o.carried, err = r.storedSchema(ctx, o)
			}
			if err != nil {
				o.fail(r.changed(ctx, o, err), StepList)
			}
			o.listed = true
			return nil
		})
	}
	_ = g.Wait() // the errors are in the outcomes
	return schemas
}

// searchSchema is the key and the version columns, in types that hold the values of all partitions.
func (r *run) searchSchema(schemas []*arrow.Schema) (*arrow.Schema, error) {
	wanted := map[string]bool{}
	for _, path := range r.options.Key {
		head, _, _ := strings.Cut(path, ".")
		wanted[strings.ToLower(path)], wanted[strings.ToLower(head)] = true, true
	}
	for _, v := range r.parsed.merge.OrderBy {
		head, _, _ := strings.Cut(v.Column, ".")
		wanted[strings.ToLower(v.Column)], wanted[strings.ToLower(head)] = true, true
	}
	var union *arrow.Schema
	for _, s := range schemas {
		if s == nil {
			continue
		}
		var fields []arrow.Field
		for _, f := range s.Fields() {
			if wanted[strings.ToLower(f.Name)] {
				fields = append(fields, f)
			}
		}
		var err error
		if union, err = unite(union, arrow.NewSchema(fields, nil)); err != nil {
			return nil, hinted(err, "a key that is unique within several partitions has one type in all of them: write those that differ anew")
		}
	}
	return union, nil
}

// search looks the source's keys up in the partitions that its rows do not go to.
func (r *run) search(ctx context.Context, all []*outcome, schemas []*arrow.Schema) ([]merge.Found, error) {
	s := merge.Search{Options: r.parsed.merge, Reaches: func(home, other int) bool { return r.window.meets(all[home].spec, all[other].spec) }}
	s.Options.Memory, s.Options.Spill = r.budget.merge(1), r.budget.space
	for _, o := range all {
		s.Partitions = append(s.Partitions, merge.SearchPartition{Name: o.path, Old: r.oldFiles(o), Batches: o.batches})
	}
	var err error
	if s.Schema, err = r.searchSchema(schemas); err != nil {
		return nil, err
	}
	if s.Table = s.Schema; r.schema != nil {
		s.Table = without(r.schema, r.layout.columns)
	}
	if s.Schema == nil { // nothing is there, and nothing comes
		return make([]merge.Found, len(all)), nil
	}
	return s.Run(ctx)
}

// takeMoves tells the partitions' merges what was found.
func (r *run) takeMoves(ctx context.Context, all []*outcome, schemas []*arrow.Schema, found []merge.Found) error {
	held := int64(0)
	for i, o := range all {
		f := found[i]
		o.moves = &moves{Found: f}
		for _, a := range f.Arrivals {
			if err := r.arrive(ctx, o, all[a.From], schemas[a.From], a, &held); err != nil {
				return locate(err, all[a.From].path, StepMerge)
			}
		}
		own := *o.target // the rows as they were routed are for another attempt
		own.batches = f.Batches
		o.target = &own
	}
	return nil
}

// extended adds the columns that come along with rows and that a schema lacks, nullable and last, in types that hold the values of all
// the partitions they come from.
func (m *moves) extended(s *arrow.Schema) (*arrow.Schema, error) {
	var more *arrow.Schema
	for _, b := range m.arrivals {
		if !b.Whole {
			continue
		}
		var lacks []arrow.Field
		for _, f := range b.Columns.Schema().Fields() {
			if len(foldIndices(s, f.Name)) == 0 {
				lacks = append(lacks, f)
			}
		}
		var err error
		if more, err = unite(more, arrow.NewSchema(lacks, nil)); err != nil {
			return nil, hinted(err, "rows come here from partitions whose files have the column in different types: write those files anew, or give the source the column")
		}
	}
	if more == nil {
		return s, nil
	}
	fields := slices.Clone(s.Fields())
	for _, f := range more.Fields() {
		f.Nullable = true
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil), nil
}

// arrive gives a partition the rows that come from another one: as the source has them, or where values of the old rows stay, with
// these.
func (r *run) arrive(ctx context.Context, to, from *outcome, schema *arrow.Schema, a merge.Arrival, held *int64) error {
	to.moves.expected += a.Rows
	options := r.mergeOptions(from)
	options.Key, options.Carried, options.Progress, options.Diff = r.options.Key, from.carried, nil, false
	shaped, err := r.shaped(ctx, from, schema, a.Batches)
	if err != nil {
		return err
	}
	keeps, err := options.Keeps(without(schema, r.layout.columns), without(shaped[0].Columns.Schema(), r.layout.columns))
	if err != nil {
		return err
	}
	if !keeps {
		to.moves.arrivals = append(to.moves.arrivals, a.Batches...)
		return nil
	}
	if a.Repeats > 0 {
		return fault(ErrDuplicateKey, "%s in several rows of other partitions, and the source does not say all values of the row that stays",
			plural(a.Repeats, "key that moves stands", "keys that move stand")).column(strings.Join(r.options.Key, ",")).
			hint("give the source every column, or leave one row of each key: hupsert check names those that stand twice in a partition")
	}
	task := merge.Task{Schema: schema, Old: r.oldFiles(from), Batches: shaped, Options: options}
	for i := range task.Old {
		task.Old[i].Moved, task.Old[i].Deleted = nil, nil
	}
	rows, copies, err := merge.Carry(ctx, task, func(column string) bool { return columnIndex(r.layout.columns, column) < 0 },
		func(c merge.Carried) error {
			b, err := r.keepCarried(c, held)
			to.moves.arrivals = append(to.moves.arrivals, b)
			return err
		})
	if err == nil && rows != a.Rows {
		err = fault(ErrVerify, "%s to %s, want %d", plural(rows, "row moves", "rows move"), to.path, a.Rows)
	}
	to.moves.Apart.Duplicates += copies
	return err
}

// keepCarried holds rows in memory, or on disk when there are many.
func (r *run) keepCarried(c merge.Carried, held *int64) (merge.Batch, error) {
	rec := array.NewRecord(c.Schema, c.Columns, -1)
	columns := source.InMemory(rec)
	*held += columns.Bytes()
	if *held > r.budget.routing() {
		var err error
		if columns, err = r.budget.record(rec); err != nil {
			return merge.Batch{}, err
		}
	}
	return merge.Batch{Columns: columns, Position: c.Position, Whole: true}, nil
}

// applyMoves puts what is known of other partitions into the partition's task.
func (r *run) applyMoves(ctx context.Context, o *outcome, task *merge.Task) error {
	m := o.moves
	if m == nil {
		return nil
	}
	task.Options.RequireRows = false // the run's source has some, or was refused
	task.Apart = m.Apart
	had := task.Schema
	var err error
	if task.Schema, err = m.extended(had); err != nil {
		return err
	}
	for _, f := range task.Schema.Fields()[had.NumFields():] {
		task.Options.Carried = append(task.Options.Carried, f.Name)
	}
	task.Arrivals, err = r.shaped(ctx, o, task.Schema, m.arrivals)
	return err
}

// arrived holds the rows that came from other partitions against those that leave there.
func (m *moves) arrived(p *merge.Prepared) error {
	if m == nil || p.Counts().Moved == m.expected {
		return nil
	}
	return fault(ErrVerify, "%s from other partitions, want %d", plural(p.Counts().Moved, "row comes", "rows come"), m.expected).
		hint("nothing was published; please report this")
}
