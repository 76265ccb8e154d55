package merge

import (
	"context"
	"errors"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// Write carries the plan out through the sink. After an error it may be called again, with a sink that has nothing yet.
// Result.Rows counts the rows of the footers of what was written and kept: all of them.
func (c *Compaction) Write(ctx context.Context, sink Sink) (Result, error) {
	start := time.Now()
	w := &compactor{Compaction: c, sink: sink, result: Result{Counts: c.Counts()}}
	w.ends.SetLimit(endsAtOnce)
	err := w.files(ctx)
	if err := errors.Join(err, w.ends.Wait()); err != nil {
		return Result{}, err
	}
	c.seconds.Write += time.Since(start)
	c.shape.After = w.after
	counts := c.Counts()
	return w.result, counts.conserve("compact", matched{}, w.result.Rows)
}

// compactor carries a compaction out.
type compactor struct {
	*Compaction
	sink   Sink
	result Result
	after  Layout
	ends   errgroup.Group // of files that become durable beside the writing of others

	kind *kind
	rows rowStream
	out  *splice.Writer // nil between files
	end  func() error
}

func (w *compactor) files(ctx context.Context) error {
	for i, f := range w.Compaction.files {
		if w.plans[i].Route != Keep {
			continue
		}
		w.result.Files++
		w.result.Rows += f.file.NumRows()
		w.result.Bytes.Kept += f.size
		w.after.add(f.size, len(f.groups))
		w.progress(f.size)
		if err := w.sink.Keep(ctx, f.Name); err != nil {
			return err
		}
	}
	for _, k := range w.kinds {
		if err := w.join(ctx, k); err != nil {
			return err
		}
	}
	return nil
}

func (w *compactor) progress(n int64) {
	if p := w.task.Progress; p != nil {
		p.Written.Add(n)
	}
}

// join writes the picked files of a kind into new ones.
func (w *compactor) join(ctx context.Context, k *kind) (err error) {
	w.kind, w.rows = k, rowStream{layout: &w.layout, bundles: k.stream}
	defer func() {
		w.rows.close()
		if err != nil && w.out != nil {
			_ = w.end() // the error that ended the writing matters
			w.out = nil
		}
	}()
	for _, u := range k.units {
		if w.out != nil && w.out.Offset() >= w.task.TargetFileBytes {
			if err := w.closeFile(); err != nil {
				return err
			}
		}
		if w.out == nil {
			if err := w.openFile(ctx); err != nil {
				return err
			}
		}
		if err := w.unit(ctx, u); err != nil {
			return err
		}
	}
	return w.closeFile()
}

func (w *compactor) openFile(ctx context.Context) error {
	out, end, err := w.sink.Create(ctx, w.result.Created)
	if err != nil {
		return err
	}
	w.result.Created++
	w.end = end
	t := w.kind.template.file
	w.out, err = splice.NewWriter(out, splice.WriterOptions{Schema: t.Schema(), Template: t})
	if err != nil {
		w.out = nil
		_ = end() // the error that ended the writing matters
	}
	return err
}

func (w *compactor) closeFile() error {
	if w.out == nil {
		return nil
	}
	summary, err := w.out.Close()
	if err != nil {
		return err
	}
	w.ends.Go(w.end)
	w.out, w.end = nil, nil
	w.result.Files++
	w.result.Rows += summary.Rows
	w.after.add(summary.Bytes, len(summary.RowGroups))
	return nil
}

// unit writes a row group.
func (w *compactor) unit(ctx context.Context, u unitPlan) error {
	segments, err := w.rows.next(ctx, u.rows)
	if err != nil {
		return err
	}
	from := w.out.Offset()
	if g := u.group; g != nil && len(w.kind.stale[g]) == 0 {
		err := w.out.CopyRowGroup(g.file.file, g.ordinal)
		w.result.Bytes.Copied += w.out.Offset() - from
		w.progress(w.out.Offset() - from)
		return err
	}
	if err := w.out.BeginRowGroup(u.rows); err != nil {
		return err
	}
	if err := w.chunks(ctx, u, segments); err != nil {
		return err
	}
	w.progress(w.out.Offset() - from)
	return w.out.EndRowGroup()
}

// chunks writes the chunks of a row group that is encoded, or of which some are.
func (w *compactor) chunks(ctx context.Context, u unitPlan, segments []segment) error {
	var jobs []*chunkJob
	for _, leaf := range w.kind.template.file.Schema().Leaves {
		job := &chunkJob{leaf: leaf}
		if u.group == nil || slices.Contains(w.kind.stale[u.group], leaf.Index) {
			job.make = func(ctx context.Context) (made madeChunk, err error) {
				made.encoded, err = w.encode(ctx, leaf, u.rows, segments)
				return made, err
			}
		}
		jobs = append(jobs, job)
	}
	workers := w.task.Parallel
	if w.kind.readers > 0 {
		workers = w.kind.readers
	}
	encoded := start(ctx, newTokens(workers), jobs)
	defer encoded.stop()
	for _, job := range jobs {
		from := w.out.Offset()
		if job.make == nil {
			if err := w.out.CopyChunk(u.group.file.file, u.group.ordinal, job.leaf.Index); err != nil {
				return err
			}
			w.result.Bytes.Copied += w.out.Offset() - from
			continue
		}
		chunk, err := encoded.take(job)
		if err != nil {
			return err
		}
		if err := w.out.WriteChunk(chunk.encoded); err != nil {
			return err
		}
		encoded.written()
		w.result.Bytes.Rewritten += w.out.Offset() - from
	}
	return nil
}

// encode makes a column chunk of the rows of segments.
func (w *compactor) encode(ctx context.Context, leaf *column.Leaf, rows int64, segments []segment) (*splice.EncodedChunk, error) {
	o, err := w.chunkOptions(leaf, int(rows))
	if err != nil {
		return nil, err
	}
	enc := splice.NewChunkEncoder(leaf, o)
	readers := map[*keyRange]*rangeReader{}
	defer func() {
		for _, r := range readers {
			r.close()
		}
	}()
	for _, s := range segments { // which rows of each range are wanted is known before any is read
		r := readers[s.of]
		if r == nil {
			r = &rangeReader{of: s.of, from: s.from}
			readers[s.of] = r
		}
		r.from, r.to = min(r.from, s.from), max(r.to, s.from+s.n)
		r.left += s.n
	}
	for i, s := range segments {
		r := readers[s.of]
		if err := r.append(ctx, enc, leaf.Index, s); err != nil {
			return nil, s.of.group.file.wrap(err)
		}
		if r.left -= s.n; r.left == 0 {
			r.close()
			delete(readers, s.of)
		}
		if i&1023 == 0 && ctx.Err() != nil {
			return nil, ctx.Err()
		}
	}
	return finish(ctx, enc)
}

// chunkOptions encode as the largest row group of the template is encoded.
func (w *compactor) chunkOptions(leaf *column.Leaf, rows int) (splice.ChunkOptions, error) {
	f, like := w.kind.template, w.kind.like
	o, err := splice.ChunkOptionsOf(f.file, like.ordinal, leaf.Index)
	if err != nil {
		return o, f.wrap(err)
	}
	if f.file.RowGroup(like.ordinal).Columns[leaf.Index].BloomFilter {
		o.Bloom = splice.NewBloomFilter(rows)
	}
	o.Codec = w.kind.codecs[leaf.Index]
	return o, nil
}

// rangeReader reads a leaf of rows of a range: forward, or out of memory where they are wanted in another order.
type rangeReader struct {
	of       *keyRange
	from, to int64
	left     int64 // rows to come
	leaf     *leafReader
	held     *column.Column
	starts   []uint32
}

func (r *rangeReader) close() {
	if r.leaf != nil {
		r.leaf.close()
		r.leaf = nil
	}
}

// append encodes the rows of a segment.
func (r *rangeReader) append(ctx context.Context, enc *splice.ChunkEncoder, leaf int, s segment) error {
	if r.leaf == nil {
		r.leaf = r.of.group.leafReader(r.of.group.file.file.Schema().Leaves[leaf], []splice.Rows{{From: r.from, To: r.to}})
	}
	if r.of.shuffled {
		if err := r.hold(ctx); err != nil {
			return err
		}
		from, to := int(s.from-r.from), int(s.from+s.n-r.from)
		if r.starts != nil {
			from, to = int(r.starts[from]), int(r.starts[to])
		}
		return enc.AppendNew(r.held, from, to)
	}
	for row, n := s.from, s.n; n > 0; {
		from, to, rows, err := r.leaf.slots(ctx, row, n)
		if err != nil {
			return err
		}
		if err := enc.AppendNew(&r.leaf.pages.col, from, to); err != nil {
			return err
		}
		row, n = row+rows, n-rows
	}
	return nil
}

// hold reads all rows that are wanted.
func (r *rangeReader) hold(ctx context.Context) error {
	if r.held != nil {
		return nil
	}
	r.held = &column.Column{}
	r.held.Reset(r.leaf.leaf)
	if err := r.leaf.appendRows(ctx, r.from, r.to-r.from, r.held); err != nil {
		return err
	}
	if !r.leaf.leaf.Flat() {
		r.starts = rowStarts(r.held, nil)
	}
	return nil
}
