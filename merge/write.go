package merge

import (
	"bytes"
	"context"
	"errors"
	"io"
	"time"

	"github.com/parquet-go/parquet-go/format"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// defaultCodec is the codec of new files where no old file sets an example.
const defaultCodec = format.Snappy

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

// chunk names a leaf of a file and the table column it belongs to.
type chunk struct {
	leaf    *column.Leaf
	ordinal int // among the leaves of node
	node    *column.Node
	table   int // -1: the table has no such column
}

// change patches a column chunk, or encodes it anew.
func (w *writer) change(ctx context.Context, g *rowGroup, c chunk, fold runs) (made madeChunk, err error) {
	switch made.patched, err = w.patch(ctx, g, c); {
	case made.patched != nil:
	case errors.Is(err, splice.ErrUnpatched):
		made.encoded, err = w.rewritePages(ctx, g, c, fold, nil, false)
	case err == nil:
		made.encoded, err = w.rewrite(ctx, g, c, fold)
	}
	return made, err
}

// rewrite encodes a column chunk anew: pages with an edit are decoded and take it in, the others are
// taken over as they stand where that is possible; fold rows follow.
func (w *writer) rewrite(ctx context.Context, g *rowGroup, c chunk, fold runs) (*splice.EncodedChunk, error) {
	if w.options.Force != Rewrite {
		stored, err := g.file.file.StoredPages(g.ordinal, c.leaf.Index)
		if err != nil {
			return nil, err
		}
		chunk, err := w.rewritePages(ctx, g, c, fold, stored, true)
		if !errors.Is(err, splice.ErrLeftDictionary) {
			return chunk, err
		}
	}
	return w.rewritePages(ctx, g, c, fold, nil, true)
}

// rewritePages takes over the stored pages without an edit, if there are any, and encodes the others. With seed the dictionary is the old
// one with more entries.
func (w *writer) rewritePages(ctx context.Context, g *rowGroup, c chunk, fold runs, stored []splice.StoredPage, seed bool) (*splice.EncodedChunk, error) {
	file := g.file.file
	// What no edit changes is not asked for: a value for another file need not fit this one's form.
	e := editor{writer: w, group: g, chunk: c, edits: g.edits, update: c.table >= 0 && len(g.changed) > 0 && g.changed[c.table]}
	if c.table >= 0 {
		e.forms = w.source.rows.cursor(c.table, c.node, g.file.forms[c.table])
		defer e.forms.close()
	}
	touched, rows := e.touched(stored)
	pages := file.Pages(g.ordinal, c.leaf.Index, rows)
	defer pages.Close()
	// The chunk's own codec, pages and dictionary, to which entries are only added: the indices of
	// unchanged values then go through as they are.
	o, err := splice.ChunkOptionsOf(file, g.ordinal, c.leaf.Index)
	if err != nil {
		return nil, err
	}
	if seed {
		if o.Seed, err = pages.Dictionary(); err != nil {
			return nil, err
		}
	}
	e.seeded = o.Seed != nil
	// A damaged filter is not written again; it is nil then.
	if o.Bloom, err = file.BloomFilter(g.ordinal, c.leaf.Index); err != nil && !errors.Is(err, splice.ErrCorrupt) {
		return nil, err
	}
	enc := splice.NewChunkEncoder(c.leaf, o)
	for i := range touched {
		if !touched[i] {
			err = enc.AppendStored(file, stored[i:i+1])
		} else {
			err = e.next(ctx, enc, pages)
		}
		if err != nil {
			return nil, err
		}
	}
	for len(touched) == 0 {
		if err := e.next(ctx, enc, pages); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if err := w.gather(ctx, enc, c, fold); err != nil {
		return nil, err
	}
	return finish(ctx, enc)
}

// finish ends an encoder and checks that what it encoded decodes to what went in.
func finish(ctx context.Context, enc *splice.ChunkEncoder) (*splice.EncodedChunk, error) {
	c, err := enc.Finish()
	if err != nil {
		return nil, err
	}
	if err := c.Verify(ctx); err != nil {
		return nil, &Error{Kind: ErrVerify, Err: err, Message: "an encoded chunk does not decode to what went in"}
	}
	return c, nil
}

// editor puts a row group's edits into one column, page by page.
type editor struct {
	*writer
	group  *rowGroup
	chunk  chunk
	edits  []edit
	update bool // updates change this column; deletes change every column
	starts []uint32
	forms  *formCursor
	old    column.Column
	seeded bool // the old chunk has a dictionary
}

// hasValue reports whether some slot has a value.
func hasValue(c *column.Column) bool {
	if c.Def == nil {
		return c.Slots > 0
	}
	return bytes.IndexByte(c.Def[:c.Slots], c.MaxDef) >= 0
}

// touched marks the pages in which a row goes or may change, and lists their rows; without pages all rows
// are listed, as nil.
func (e *editor) touched(pages []splice.StoredPage) (touched []bool, rows []splice.Rows) {
	if len(pages) == 0 {
		return nil, nil
	}
	touched, rows = make([]bool, len(pages)), []splice.Rows{}
	at := 0
	for _, edit := range e.edits {
		if edit.source >= 0 && !e.update {
			continue
		}
		for pages[at].FirstRow+pages[at].Rows <= int64(edit.row) {
			at++
		}
		if !touched[at] {
			touched[at] = true
			rows = append(rows, splice.Rows{From: pages[at].FirstRow, To: pages[at].FirstRow + pages[at].Rows})
		}
	}
	return touched, rows
}

// next decodes a page, edits and encodes it; io.EOF after the last.
func (e *editor) next(ctx context.Context, enc *splice.ChunkEncoder, pages *splice.PageReader) error {
	first, n, err := pages.Next(ctx, &e.old)
	if err != nil {
		return err
	}
	if e.old.Dict == nil && e.seeded && hasValue(&e.old) {
		enc.LeaveDictionary()
	}
	return e.page(ctx, enc, &e.old, first, n)
}

func (e *editor) page(ctx context.Context, enc *splice.ChunkEncoder, page *column.Column, first int64, n int) error {
	flat := e.chunk.leaf.Flat()
	if !flat {
		e.starts = rowStarts(page, e.starts)
	}
	slot := func(row int64) int {
		if flat {
			return int(row)
		}
		return int(e.starts[row])
	}
	nan := column.IsNaN(e.chunk.leaf)
	done := int64(0) // rows of the page that are written
	for len(e.edits) > 0 && int64(e.edits[0].row) < first+int64(n) {
		edit := e.edits[0]
		e.edits = e.edits[1:]
		at := int64(edit.row) - first
		if edit.source >= 0 && !e.update {
			continue
		}
		from, to := slot(at), slot(at+1)
		var f *form
		var row int
		if edit.source >= 0 {
			var err error
			if f, row, err = e.forms.find(ctx, int(edit.source)); err != nil {
				return err
			}
			sf, st := f.span(e.chunk.ordinal, row)
			keep := e.binding.keepNull[e.chunk.table] && f.null(row)
			// What equals keeps its own bytes: a NaN its bits, an index its entry.
			if keep || equalSpans(page, from, to, f.leaves[e.chunk.ordinal], sf, st, nan) {
				continue
			}
		}
		if err := enc.Append(page, slot(done), from); err != nil {
			return err
		}
		done = at + 1
		if f != nil {
			sf, st := f.span(e.chunk.ordinal, row)
			if err := enc.AppendNew(f.leaves[e.chunk.ordinal], sf, st); err != nil {
				return err
			}
		}
	}
	return enc.Append(page, slot(done), slot(int64(n)))
}

// gather appends source rows to an encoder, runs of neighbours at once.
func (w *writer) gather(ctx context.Context, enc *splice.ChunkEncoder, c chunk, rows runs) error {
	if rows.n == 0 {
		return nil
	}
	forms := w.source.rows.insertCursor(c.table, c.node, signature(c.node))
	defer forms.close()
	for _, r := range rows.list {
		for r.n > 0 {
			f, row, err := forms.find(ctx, int(r.from))
			if err != nil {
				return err
			}
			n := min(int(r.n), forms.batch.n-row)
			from, _ := f.span(c.ordinal, row)
			_, to := f.span(c.ordinal, row+n-1)
			if err := enc.AppendNew(f.leaves[c.ordinal], from, to); err != nil {
				return err
			}
			r.from, r.n = r.from+uint32(n), r.n-uint32(n)
		}
	}
	return nil
}

// add writes inserts as row groups of their own, until the file is large enough or none is left.
func (w *writer) add(ctx context.Context, out *splice.Writer, schema *column.Schema, like *oldFile, codec *format.CompressionCodec) error {
	limit := int(w.rowGroupRows())
	for first := true; w.pending.n > 0 && (first || out.Offset() < w.options.TargetFileBytes); first = false {
		if err := w.addGroup(ctx, out, schema, like, codec, w.pending.take(limit)); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) addGroup(ctx context.Context, out *splice.Writer, schema *column.Schema, like *oldFile, codec *format.CompressionCodec, list runs) error {
	if err := out.BeginRowGroup(int64(list.n)); err != nil {
		return err
	}
	var jobs []*chunkJob
	for i, node := range schema.Root.Children {
		table := i
		if like != nil {
			table = like.tableColumn(i)
		}
		if table < 0 {
			return &Error{Kind: ErrSchema, Column: node.Name, Message: "the file has a column that the table lacks"}
		}
		for l, leaf := range node.Leaves() {
			jobs = append(jobs, &chunkJob{leaf: leaf, make: func(ctx context.Context) (made madeChunk, err error) {
				o, err := newChunk(like, codec, leaf, list.n)
				if err != nil {
					return made, err
				}
				enc := splice.NewChunkEncoder(leaf, o)
				if err := w.gather(ctx, enc, chunk{leaf: leaf, ordinal: l, node: node, table: table}, list); err != nil {
					return made, err
				}
				made.encoded, err = finish(ctx, enc)
				return made, err
			}})
		}
	}
	encoded := start(ctx, w.options.workers(), jobs)
	defer encoded.stop()
	if err := w.chunks(out, nil, encoded, jobs); err != nil {
		return err
	}
	return out.EndRowGroup()
}

// newChunk is how a chunk of inserted rows is encoded: as the chunks of the file they join or that a
// new file follows, a Bloom filter too; codec replaces theirs where it was asked for.
func newChunk(like *oldFile, codec *format.CompressionCodec, leaf *column.Leaf, rows int) (splice.ChunkOptions, error) {
	o := splice.ChunkOptions{Codec: defaultCodec, Dictionary: true}
	if like != nil && len(like.groups) > 0 {
		var err error
		if o, err = splice.ChunkOptionsOf(like.file, len(like.groups)-1, leaf.Index); err != nil {
			return o, like.wrap(err)
		}
		if like.file.RowGroup(len(like.groups) - 1).Columns[leaf.Index].BloomFilter {
			o.Bloom = splice.NewBloomFilter(rows)
		}
	}
	if codec != nil {
		o.Codec = *codec
	}
	return o, nil
}

// newOptions is the shape of a new file: that of an old one where one has all columns, so that
// readers find the same schema and metadata, else the table's own.
func (w *writer) newOptions() (splice.WriterOptions, *oldFile) {
	for _, f := range w.old {
		if f.complete() && f.wide == nil && len(f.file.Schema().Root.Children) == len(f.nodes) {
			return splice.WriterOptions{Schema: f.file.Schema(), Template: f.file, CreatedBy: splice.CreatedBy()}, f
		}
	}
	return splice.WriterOptions{Schema: w.source.rows.target}, nil
}

// addFile writes inserts into a new file.
func (w *writer) addFile(ctx context.Context) error {
	o, like := w.newOptions()
	codec := w.options.Codec
	if codec == nil && like == nil {
		codec = w.oldCodec()
	}
	return w.create(ctx, o, func(out *splice.Writer) error { return w.add(ctx, out, o.Schema, like, codec) })
}

// oldCodec is the codec of the old files' first chunk; nil where there is none.
func (w *writer) oldCodec() *format.CompressionCodec {
	for _, f := range w.old {
		for _, g := range f.groups {
			for _, c := range f.file.RowGroup(g.ordinal).Columns {
				return &c.Codec
			}
		}
	}
	return nil
}

// emptyFile writes a file with the schema and no rows: a partition that lost its last row.
func (w *writer) emptyFile(ctx context.Context) error {
	o, _ := w.newOptions()
	return w.create(ctx, o, func(*splice.Writer) error { return nil })
}
