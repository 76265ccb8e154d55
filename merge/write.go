package merge

import (
	"context"
	"errors"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/splice"
)

// writer carries the routes out.
type writer struct {
	*Prepared
	sink    Sink
	result  Result
	created int
	pending runs // inserts not written yet
	jobs    map[*rowGroup][]*chunkJob
	ahead   *pipeline      // makes them
	ends    errgroup.Group // of files that become durable beside the writing of others
}

// Write carries the plan out through the sink. After an error it may be called again, with a sink that has nothing yet. A partition that loses all
// rows becomes one file with the schema and no row groups. Result.Rows counts the rows of the
// footers of what was written and kept, and equals Counts.Out.
func (p *Prepared) Write(ctx context.Context, sink Sink) (Result, error) {
	start := time.Now()
	w := &writer{Prepared: p, sink: sink, pending: p.inserts, result: Result{Counts: p.counts}}
	w.result.Bytes.Read = p.bytes.Read
	w.ends.SetLimit(endsAtOnce)
	w.encodeAhead(ctx)
	err := w.files(ctx)
	w.ahead.stop()
	if err := errors.Join(err, w.ends.Wait()); err != nil {
		return Result{}, err
	}
	p.seconds.Write += time.Since(start)
	return w.result, p.counts.conserve(p.options.Mode, p.bySource, w.result.Rows)
}

// endsAtOnce is how many files at most are made durable while others are written.
const endsAtOnce = 2

// files writes all files.
func (w *writer) files(ctx context.Context) error {
	for i, f := range w.old {
		if err := w.file(ctx, f, w.plans[i]); err != nil {
			return f.wrap(err)
		}
	}
	if err := w.adoptFiles(ctx); err != nil {
		return err
	}
	for w.pending.n > 0 {
		if err := w.addFile(ctx); err != nil {
			return err
		}
	}
	if w.result.Files == 0 && !w.Noop() {
		return w.emptyFile(ctx)
	}
	return nil
}

func (w *writer) file(ctx context.Context, f *oldFile, plan FilePlan) error {
	switch plan.Route {
	case Drop:
		w.progress(f.size)
		return nil
	case Keep:
		w.result.Files++
		w.result.Rows += f.file.NumRows()
		w.result.Bytes.Kept += f.size
		w.progress(f.size)
		return w.sink.Keep(ctx, f.Name)
	}
	return w.create(ctx, f.options(w.source.rows.target), func(out *splice.Writer) error {
		for i, g := range f.groups {
			if err := w.group(ctx, out, g, plan.RowGroups[i]); err != nil {
				return err
			}
			w.progress(g.bytes())
		}
		if f != w.target {
			return nil
		}
		return w.add(ctx, out, f.file.Schema(), f, nil)
	})
}

// create makes a file through the sink and counts it.
func (w *writer) create(ctx context.Context, o splice.WriterOptions, fill func(*splice.Writer) error) error {
	out, end, err := w.sink.Create(ctx, w.created)
	if err != nil {
		return err
	}
	w.created++
	sw, err := splice.NewWriter(out, o)
	if err == nil {
		err = fill(sw)
	}
	var summary splice.Summary
	if err == nil {
		summary, err = sw.Close()
	}
	if err != nil {
		_ = end() // the error that ended the writing matters
		return err
	}
	w.ends.Go(end)
	w.result.Files++
	w.result.Created++
	w.result.Rows += summary.Rows
	return nil
}

func (w *writer) progress(n int64) {
	if p := w.options.Progress; p != nil {
		p.Written.Add(n)
	}
}

// group writes one row group by its route.
func (w *writer) group(ctx context.Context, out *splice.Writer, g *rowGroup, plan RowGroupPlan) error {
	switch plan.Route {
	case Drop:
		return nil
	case Copy:
		from := out.Offset()
		err := out.CopyRowGroup(g.file.file, g.ordinal)
		w.result.Bytes.Copied += out.Offset() - from
		return err
	}
	rows := g.rows - g.removed()
	if g == w.fold {
		rows += int64(w.pending.n)
		w.pending = runs{}
	}
	if err := out.BeginRowGroup(rows); err != nil {
		return err
	}
	if err := w.chunks(out, g, w.ahead, w.jobs[g]); err != nil {
		return g.at(err)
	}
	return out.EndRowGroup()
}

// encodeAhead starts to encode the chunks of all row groups that are rewritten.
func (w *writer) encodeAhead(ctx context.Context) {
	w.jobs = map[*rowGroup][]*chunkJob{}
	var all []*chunkJob
	for i, f := range w.old {
		if route := w.plans[i].Route; route == Keep || route == Drop {
			continue
		}
		for j, g := range f.groups {
			if route := w.plans[i].RowGroups[j].Route; route == Patch || route == Rewrite {
				w.jobs[g] = w.rewriteJobs(g)
				all = append(all, w.jobs[g]...)
			}
		}
	}
	w.ahead = start(ctx, w.options.workers(), all)
}

func (w *writer) rewriteJobs(g *rowGroup) []*chunkJob {
	var fold runs
	if g == w.fold {
		fold = w.inserts
	}
	var jobs []*chunkJob
	for _, column := range g.file.output(w.source.rows.target) {
		change := w.change
		if g.file.isWide(column.table) {
			change = func(ctx context.Context, g *rowGroup, c chunk, fold runs) (made madeChunk, err error) {
				made.encoded, err = w.rewriteWide(ctx, g, c, fold)
				return made, err
			}
		}
		for l, leaf := range column.node.Leaves() {
			job := &chunkJob{leaf: leaf}
			if w.encodes(g, column.table) {
				c := chunk{leaf: leaf, ordinal: l, node: column.node, table: column.table}
				job.make = func(ctx context.Context) (madeChunk, error) { return change(ctx, g, c, fold) }
			}
			jobs = append(jobs, job)
		}
	}
	return jobs
}

// chunks writes the chunks of a row group in order: those that are made from the pipeline, the others
// from the old row group; without one all rows are new.
func (w *writer) chunks(out *splice.Writer, old *rowGroup, ahead *pipeline, jobs []*chunkJob) error {
	for _, job := range jobs {
		from := out.Offset()
		if job.make == nil {
			if err := out.CopyChunk(old.file.file, old.ordinal, job.leaf.Index); err != nil {
				return err
			}
			w.result.Bytes.Copied += out.Offset() - from
			continue
		}
		chunk, err := ahead.take(job)
		if err != nil {
			return err
		}
		if p := chunk.patched; p != nil {
			if err := w.patchedPages(out, ahead, p); err != nil {
				return err
			}
			ahead.written()
			continue
		}
		if err := out.WriteChunk(chunk.encoded); err != nil {
			return err
		}
		ahead.written()
		fresh := out.Offset() - from - chunk.encoded.StoredBytes()
		w.result.Bytes.Copied += chunk.encoded.StoredBytes()
		if old == nil {
			w.result.Bytes.Added += fresh
		} else {
			w.result.Bytes.Rewritten += fresh
		}
	}
	return nil
}

// patchedPages writes a patched chunk as its units become ready.
func (w *writer) patchedPages(out *splice.Writer, ahead *pipeline, p *patchedChunk) error {
	from := out.Offset()
	chunk, err := out.OpenPatch(p.Patch)
	if err != nil {
		return err
	}
	for _, u := range p.units {
		pages, err := ahead.pages(u)
		if err != nil {
			return err
		}
		if err := chunk.Patched(pages); err != nil {
			return err
		}
	}
	if err := chunk.Close(); err != nil {
		return err
	}
	w.result.Bytes.Copied += chunk.StoredBytes()
	w.result.Bytes.Patched += out.Offset() - from - chunk.StoredBytes()
	return nil
}
