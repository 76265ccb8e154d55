package merge

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/splice"
)

// writer carries the routes out.
type writer struct {
	*Prepared
	sink    Sink
	created int
	pending runs // inserts not written yet
	tokens  tokens
	ends    errgroup.Group // of files that become durable beside the writing of others
	mu      sync.Mutex     // of result
	result  Result
}

// Write carries the plan out through the sink. After an error it may be called again, with a sink that has nothing yet. A partition that loses all
// rows becomes one file with the schema and no row groups. Result.Rows counts the rows of the
// footers of what was written and kept, and equals Counts.Out.
func (p *Prepared) Write(ctx context.Context, sink Sink) (Result, error) {
	start := time.Now()
	w := &writer{
		Prepared: p, sink: sink, pending: p.inserts, tokens: newTokens(p.options.workers()), result: Result{Counts: p.counts},
	}
	w.result.Bytes.Read = p.bytes.Read
	w.ends.SetLimit(endsAtOnce)
	err := w.files(ctx)
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
	if err := w.oldFiles(ctx); err != nil {
		return err
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

// oldFiles writes what becomes of the old files, as many at once as there are workers: one can be copied while pages of another
// are patched. They are begun in their order, and with the caller's context, since what is begun goes on when all are filled.
func (w *writer) oldFiles(ctx context.Context) error {
	eg, filling := errgroup.WithContext(ctx)
	slots := make(chan struct{}, w.options.workers())
	for i, f := range w.old {
		switch plan := w.plans[i]; {
		case plan.Route == Drop:
			w.progress(f.size)
		case plan.Route == Keep:
			if err := w.keep(ctx, f); err != nil {
				eg.Go(func() error { return f.wrap(err) })
			}
		default:
			slots <- struct{}{}
			out, err := w.begin(ctx)
			eg.Go(func() error {
				defer func() { <-slots }()
				if err == nil {
					err = w.successor(filling, out, f, plan)
				}
				return f.wrap(err)
			})
		}
		if filling.Err() != nil {
			break
		}
	}
	return eg.Wait()
}

func (w *writer) keep(ctx context.Context, f *oldFile) error {
	w.count(Result{Files: 1, Rows: f.file.NumRows(), Bytes: Bytes{Kept: f.size}})
	w.progress(f.size)
	return w.sink.Keep(ctx, f.Name)
}

// successor writes the file that takes an old one's place.
func (w *writer) successor(ctx context.Context, out newFile, f *oldFile, plan FilePlan) error {
	return w.write(out, f.options(w.source.rows.target), func(out *fileWriter) error {
		if err := out.groups(ctx, f, plan); err != nil || f != w.target {
			return err
		}
		return out.add(ctx, f.file.Schema(), f, nil)
	})
}

// newFile is a file that was begun.
type newFile struct {
	splice.Output
	end func() error
}

// begin begins the next file.
func (w *writer) begin(ctx context.Context) (newFile, error) {
	out, end, err := w.sink.Create(ctx, w.created)
	w.created++
	return newFile{out, end}, err
}

// create makes a file through the sink and counts it.
func (w *writer) create(ctx context.Context, o splice.WriterOptions, fill func(*fileWriter) error) error {
	out, err := w.begin(ctx)
	if err != nil {
		return err
	}
	return w.write(out, o, fill)
}

// write fills a file that was begun, ends and counts it.
func (w *writer) write(file newFile, o splice.WriterOptions, fill func(*fileWriter) error) error {
	sw, err := splice.NewWriter(file, o)
	out := &fileWriter{writer: w, out: sw}
	if err == nil {
		err = fill(out)
	}
	var summary splice.Summary
	if err == nil {
		summary, err = sw.Close()
	}
	if err != nil {
		_ = file.end() // the error that ended the writing matters
		return err
	}
	w.ends.Go(file.end)
	w.count(Result{Files: 1, Created: 1, Rows: summary.Rows, Bytes: out.bytes})
	return nil
}

// count adds what was written.
func (w *writer) count(r Result) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.result.Files += r.Files
	w.result.Created += r.Created
	w.result.Rows += r.Rows
	w.result.Bytes.Add(r.Bytes)
}

func (w *writer) progress(n int64) {
	if p := w.options.Progress; p != nil {
		p.Written.Add(n)
	}
}

// fileWriter writes one file.
type fileWriter struct {
	*writer
	out   *splice.Writer
	bytes Bytes
}

// groups writes the row groups of an old file by their routes. Chunks are made ahead of the writing, over the borders of row groups.
func (w *fileWriter) groups(ctx context.Context, f *oldFile, plan FilePlan) error {
	jobs, routes := make([][]*chunkJob, len(f.groups)), make([]Route, len(f.groups))
	for i, g := range f.groups {
		routes[i] = plan.RowGroups[i].Route // who makes a chunk may change it
		if routes[i] == Patch || routes[i] == Rewrite {
			jobs[i] = w.rewriteJobs(g)
		}
	}
	ahead := start(ctx, w.tokens, slices.Concat(jobs...))
	defer ahead.stop()
	for i, g := range f.groups {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.group(g, routes[i], ahead, jobs[i]); err != nil {
			return err
		}
		w.progress(g.bytes())
	}
	return nil
}

// group writes one row group by its route.
func (w *fileWriter) group(g *rowGroup, route Route, ahead *pipeline, jobs []*chunkJob) error {
	switch route {
	case Drop:
		return nil
	case Copy:
		return w.copyRowGroup(g.file.file, g.ordinal)
	}
	rows := g.rows - g.removed()
	if g == w.fold {
		rows += int64(w.pending.n)
		w.pending = runs{}
	}
	if err := w.out.BeginRowGroup(rows); err != nil {
		return err
	}
	if err := w.chunks(g, ahead, jobs); err != nil {
		return g.at(err)
	}
	return w.out.EndRowGroup()
}

func (w *fileWriter) copyRowGroup(f *splice.File, ordinal int) error {
	from := w.out.Offset()
	err := w.out.CopyRowGroup(f, ordinal)
	w.bytes.Copied += w.out.Offset() - from
	return err
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
func (w *fileWriter) chunks(old *rowGroup, ahead *pipeline, jobs []*chunkJob) error {
	for _, job := range jobs {
		from := w.out.Offset()
		if job.make == nil {
			if err := w.out.CopyChunk(old.file.file, old.ordinal, job.leaf.Index); err != nil {
				return err
			}
			w.bytes.Copied += w.out.Offset() - from
			continue
		}
		chunk, err := ahead.take(job)
		if err != nil {
			return err
		}
		if p := chunk.patched; p != nil {
			if err := w.patchedPages(ahead, p); err != nil {
				return err
			}
			ahead.written()
			continue
		}
		if err := w.out.WriteChunk(chunk.encoded); err != nil {
			return err
		}
		ahead.written()
		fresh := w.out.Offset() - from - chunk.encoded.StoredBytes()
		w.bytes.Copied += chunk.encoded.StoredBytes()
		if old == nil {
			w.bytes.Added += fresh
		} else {
			w.bytes.Rewritten += fresh
		}
	}
	return nil
}

// patchedPages writes a patched chunk as its units become ready.
func (w *fileWriter) patchedPages(ahead *pipeline, p *patchedChunk) error {
	from := w.out.Offset()
	chunk, err := w.out.OpenPatch(p.Patch)
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
	w.bytes.Copied += chunk.StoredBytes()
	w.bytes.Patched += w.out.Offset() - from - chunk.StoredBytes()
	return nil
}
