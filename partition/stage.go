package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// stage writes the merged partition beside the live one.
func (r *run) stage(ctx context.Context, begun *swap.Run, o *outcome, p change, id string) error {
	r.enter(o.path, StepWrite)
	o.staged = true
	if o.removes {
		o.report.Bytes, o.report.Files.After = p.Bytes(), 0
		return nil
	}
	for try := 1; ; try++ {
		err := r.write(ctx, begun, o, p, id)
		if try == stage.Tries || !errors.Is(err, storage.ErrWriteAgain) || ctx.Err() != nil {
			return err
		}
		r.cfg.Logger.Warn("what was staged is lost and written anew", "run", id, "partition", o.path, "try", try+1, "error", err)
		r.giveUp(ctx, o)
	}
}

// write writes the merged partition into a staged folder of its own.
func (r *run) write(ctx context.Context, begun *swap.Run, o *outcome, p change, id string) error {
	dir, err := begun.Stage(ctx, o.path)
	if err != nil {
		return err
	}
	o.dir = dir
	s := &sink{run: r, outcome: o, id: id}
	s.keeps.SetLimit(keepsAtOnce)
	result, err := p.Write(ctx, s)
	// Also after an error: nothing may go on in a run that is being undone.
	if kept := s.keeps.Wait(); err == nil {
		err = kept
	}
	if err != nil {
		return fileError(err, o.contents.data)
	}
	o.report.Bytes, o.report.Files.After = result.Bytes, result.Files
	if r.options.Verify == VerifyFull || r.compaction != nil {
		o.schema = p.Schema()
		if o.content, err = p.Content(ctx); err != nil {
			return fileError(err, o.contents.data)
		}
	}
	return s.carry(ctx)
}

// giveUp forgets what was staged of a partition. What can't be removed goes with the run's staging.
func (r *run) giveUp(ctx context.Context, o *outcome) {
	if o.dir != nil {
		if err := o.dir.Remove(ctx); err != nil {
			r.cfg.Logger.Warn("a staged folder stays until the run ends", "partition", o.path, "error", err)
		}
	}
	o.dir, o.copied, o.created = nil, nil, nil
	o.progress.Written.Store(0)
}

// sink is where a merge's files go: the staging of one partition.
type sink struct {
	*run
	*outcome
	id    string
	kept  []string
	keeps errgroup.Group // of files that are copied beside the merge
	mu    sync.Mutex     // of copied
}

// keepsAtOnce is how many files are copied side by side on a storage whose servers have more to give than one stream.
const keepsAtOnce = 4

// Keep implements merge.Sink. Where the storage is remote the file is copied beside what follows.
func (s *sink) Keep(ctx context.Context, name string) error {
	s.kept = append(s.kept, name)
	keep := func() error { return s.keep(ctx, name) }
	if s.fsys.Capabilities().Remote {
		s.keeps.Go(keep)
		return nil
	}
	return keep()
}

func (s *sink) keep(ctx context.Context, name string) error {
	how, err := s.dir.Keep(ctx, path.Join(s.folder(s.path, s.inputs), name), name)
	if how != "link" {
		s.mu.Lock()
		s.copied = append(s.copied, name)
		s.mu.Unlock()
	}
	s.cfg.Logger.Debug("kept", "partition", s.path, "file", name, "by", how)
	return err
}

// Create implements merge.Sink.
func (s *sink) Create(ctx context.Context, ordinal int) (splice.Output, func() error, error) {
	name := fileName(s.id, ordinal)
	w, err := s.dir.Create(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	s.created = append(s.created, name)
	s.cfg.Logger.Debug("created", "partition", s.path, "file", name)
	return output{w}, w.Close, nil
}

// fileName names a file by its run, so that no file of the partition, live or earlier, had the name:
// engines cache by name, and a reader that has listed the old version must not find the new one's
// bytes under an old name.
func fileName(run string, ordinal int) string {
	return fmt.Sprintf("part-%05d-%s.parquet", ordinal, run)
}

// carry takes over what is no data: hidden files, and the checksums of kept files.
func (s *sink) carry(ctx context.Context) error {
	files := append([]stage.File(nil), s.contents.carried...)
	for _, name := range s.kept {
		if sum, ok := s.contents.sums[name]; ok {
			files = append(files, sum)
		}
	}
	for _, f := range s.contents.carried {
		if sum, ok := s.contents.sums[f.Name]; ok {
			files = append(files, sum)
		}
	}
	for _, f := range files {
		if _, err := s.dir.Keep(ctx, path.Join(s.folder(s.path, s.inputs), f.Name), f.Name); err != nil {
			return err
		}
	}
	return nil
}

// output is a staged file as the merge writes it.
type output struct{ storage.Writer }

// CopyRange implements splice.Output: in the kernel where the source is a file of a storage.
func (o output) CopyRange(src io.ReaderAt, off, n int64) error {
	if w, ok := src.(interface{ Unwrap() io.ReaderAt }); ok {
		src = w.Unwrap()
	}
	if h, ok := src.(*handle); ok {
		file, release, err := h.Pin()
		if err != nil {
			return err
		}
		defer release()
		src = file
	}
	if f, ok := src.(storage.File); ok {
		return o.Writer.CopyRange(f, off, n)
	}
	copied, err := io.Copy(o.Writer, io.NewSectionReader(src, off, n))
	if err == nil && copied < n {
		err = io.ErrUnexpectedEOF
	}
	return err
}

// shaper gives source rows the columns that a partition's files have.
type shaper struct {
	partitions []Column
	schema     *arrow.Schema // of the files
	shapes     map[*arrow.Schema]*viewShape
}

// shape leaves partition columns out of rows of the partition, but for those that the files store too.
func (s *shaper) shape(ctx context.Context, c source.Columns, spec Spec) (source.Columns, error) {
	var filled []arrow.Array
	for _, f := range s.schema.Fields() {
		if columnIndex(s.partitions, f.Name) < 0 {
			continue
		}
		arr, err := stored(ctx, c, f, spec)
		if err != nil {
			return nil, err
		}
		filled = append(filled, arr)
	}
	v := s.shapes[c.Schema()]
	if v == nil || len(filled) > 0 { // of what is filled in the type may differ
		v = s.view(c.Schema(), filled)
		s.shapes[c.Schema()] = v
	}
	if len(filled) == 0 && len(v.from) == c.Schema().NumFields() {
		return c, nil
	}
	if len(filled) > 0 {
		filled = append(make([]arrow.Array, len(v.from)-len(filled)), filled...)
	}
	return &columnView{Columns: c, viewShape: v, filled: filled}, nil
}

func (s *shaper) view(schema *arrow.Schema, filled []arrow.Array) *viewShape {
	var fields []arrow.Field
	var from []int
	for i, f := range schema.Fields() {
		if columnIndex(s.partitions, f.Name) < 0 {
			fields, from = append(fields, f), append(from, i)
		}
	}
	for _, f := range s.schema.Fields() {
		if columnIndex(s.partitions, f.Name) >= 0 {
			fields, from = append(fields, arrow.Field{Name: f.Name, Type: filled[0].DataType(), Nullable: true}), append(from, -1)
			filled = filled[1:]
		}
	}
	return newViewShape(fields, from)
}

// stored is a partition column as the files store it: the source's where it has the column in a type
// that fits, else the path's value in every row.
func stored(ctx context.Context, c source.Columns, f arrow.Field, spec Spec) (arrow.Array, error) {
	at, err := foldIndex(c.Schema(), f.Name)
	if err != nil {
		return nil, err
	}
	if at >= 0 && shred.CanCast(c.Schema().Field(at).Type, f.Type, shred.CastOptions{}) == nil {
		var cursor source.Cursor
		defer cursor.Close()
		arr, err := c.Read(ctx, at, &cursor)
		if err != nil {
			return nil, err
		}
		if arr.NullN() == 0 {
			return arr, nil
		}
	}
	for _, p := range spec {
		if !strings.EqualFold(p.Column, f.Name) {
			continue
		}
		arr, err := constant(f.Type, p, int(c.NumRows()), func(t arrow.DataType) array.Builder { return array.NewBuilder(memory.DefaultAllocator, t) })
		if err != nil {
			return nil, fault(ErrSchema, "the files store the partition column as %s, which can't be %q", TypeName(f.Type), p.Value).column(f.Name)
		}
		return arr, nil
	}
	return nil, fault(ErrSchema, "the partition has no value of the column").column(f.Name)
}
