package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage/stage"
)

// verifyAndSeal checks what was staged and makes it durable, with its manifest last.
func (r *run) verifyAndSeal(ctx context.Context, o *outcome, id string) error {
	if o.removes {
		o.manifest.Detail = r.work(o)
		return nil // nothing is staged of a partition that goes away
	}
	r.enter(o.path, StepVerify)
	start := r.cfg.Now()
	if err := r.verify(ctx, o); err != nil {
		return err
	}
	manifest, err := o.dir.Seal(ctx, stage.Manifest{Run: id, Partition: o.path, Command: r.options.Command, Mode: string(r.options.Mode),
		Time: r.cfg.Now().UTC(), Rows: o.report.Rows.Out, Sources: r.read.fingerprints, Detail: r.work(o), Mark: r.mark})
	o.manifest = manifest
	o.report.Seconds.Verify = r.cfg.Now().Sub(start).Seconds()
	return err
}

// verify holds what was staged against what was meant: every footer parses, and the rows are as many
// as the counters say. With [VerifyFull] it is read, too.
func (r *run) verify(ctx context.Context, o *outcome) error {
	files, err := stage.List(ctx, r.fsys, o.dir.Data())
	if err != nil {
		return err
	}
	c, err := classify(files)
	if err != nil {
		return err
	}
	rows := int64(0)
	var shapes []merge.FileShape
	for _, f := range c.data {
		shape, err := r.verifyFile(ctx, path.Join(o.dir.Data(), f.Name))
		if err != nil {
			return unverified(ctx, "staged file", trimName(err, f.Name)).file(f.Name)
		}
		for _, g := range shape.Groups {
			rows += g.Rows
		}
		shapes = append(shapes, shape)
	}
	if r.compaction == nil {
		o.report.CompactionDue = merge.Due(shapes)
	}
	if rows != o.report.Rows.Out {
		return unverified(ctx, "", fmt.Errorf("the staged files hold %s, want %d", plural(rows, "row", "rows"), o.report.Rows.Out))
	}
	if r.compaction != nil {
		return r.verifyCompaction(ctx, o, c.data)
	}
	if r.options.Verify != VerifyFull {
		return nil
	}
	if err := r.verifyTaken(ctx, o); err != nil {
		return err
	}
	if err := r.verifyAgain(ctx, o, c.data); err != nil {
		return err
	}
	return r.verifyContent(ctx, o, c.data)
}

// unverified is the error of a staged partition that is not what was meant. An interrupt stays one, and so does a
// disk that does not give what was staged.
func unverified(ctx context.Context, what string, err error) *Error {
	if cause := ctx.Err(); cause != nil {
		return &Error{Kind: KindInterrupted, Err: cause}
	}
	text := err.Error()
	if what != "" {
		text = what + ": " + text
	}
	if isStorage(err) {
		return (&Error{Kind: KindStorage, Err: &message{text: text, is: err}}).hint("nothing was published; the file could not be read again after it was written")
	}
	return (&Error{Kind: KindVerify, Err: both{&message{text: text, is: err}, ErrVerify}}).hint("nothing was published; please report this")
}

// verifyFile says how a staged file is divided; with VerifyFull it decodes every page.
func (r *run) verifyFile(ctx context.Context, name string) (shape merge.FileShape, err error) {
	f, closer, err := openParquet(ctx, r.fsys, name)
	if err != nil {
		return shape, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if r.options.Verify == VerifyFull {
		if err := readAll(ctx, f); err != nil {
			return shape, err
		}
	}
	return merge.ShapeOf(f), nil
}

// readAll decodes every page of a file and holds the rows of each column against the footer's.
func readAll(ctx context.Context, f *splice.File) error {
	for g := range f.NumRowGroups() {
		for c := range f.Schema().Leaves {
			if err := f.CheckChunk(ctx, g, c); err != nil {
				return err
			}
		}
	}
	return nil
}

// verifyTaken compares what was taken over as bytes with what it was taken from: files that could not be
// linked, and row groups and columns of the files that were written anew. The kernel copied them, and
// nobody has seen them since.
func (r *run) verifyTaken(ctx context.Context, o *outcome) error {
	if err := r.verifyKept(ctx, o); err != nil {
		return err
	}
	written := o.created // in the order of the old files they are made of
	for _, plan := range o.report.Plan {
		switch plan.Route {
		case merge.Keep, merge.Drop, merge.Adopt:
			continue
		}
		if len(written) == 0 {
			return unverified(ctx, "", errors.New("no file was made of the old one")).file(plan.Name)
		}
		if err := r.sameChunks(ctx, o, plan, written[0]); err != nil {
			return unverified(ctx, "copied from "+plan.Name, err).file(written[0])
		}
		written = written[1:]
	}
	return nil
}

// verifyKept compares files that were kept by a copy.
func (r *run) verifyKept(ctx context.Context, o *outcome) error {
	for _, name := range o.copied {
		if err := r.sameFile(ctx, o, name); err != nil {
			return unverified(ctx, "a copied file", err).file(name)
		}
	}
	return nil
}

// old opens a file of the live partition, if it still is the one that was merged.
func (r *run) old(ctx context.Context, o *outcome, name string) (io.ReaderAt, int64, io.Closer, error) {
	at := slices.IndexFunc(o.contents.data, func(f stage.File) bool { return f.Name == name })
	if at < 0 {
		return nil, 0, nil, fault(ErrVerify, "is no file of the partition").file(name)
	}
	return r.opener(r.folder(o.path, o.inputs), o.contents.data[at])(ctx)
}

// sameFile compares a file that was kept by a copy.
func (r *run) sameFile(ctx context.Context, o *outcome, name string) (err error) {
	old, size, closer, err := r.old(ctx, o, name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	staged, err := r.fsys.Open(ctx, path.Join(o.dir.Data(), name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, staged.Close()) }()
	info, err := staged.Stat()
	if err == nil && info.Size != size {
		err = fmt.Errorf("%d bytes, want %d", info.Size, size)
	}
	if err != nil {
		return err
	}
	return sameBytes(ctx, extent{old, 0, size}, extent{staged, 0, size})
}

// sameChunks compares the column chunks of a file that were copied into a new one: those of row groups
// that no edit touches, and in the others those of columns that do not change.
func (r *run) sameChunks(ctx context.Context, o *outcome, plan merge.FilePlan, name string) (err error) {
	from, size, closer, err := r.old(ctx, o, plan.Name)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	old, err := splice.Open(from, size, plan.Name)
	if err != nil {
		return err
	}
	staged, err := r.fsys.Open(ctx, path.Join(o.dir.Data(), name))
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, staged.Close()) }()
	info, err := staged.Stat()
	if err != nil {
		return err
	}
	made, err := splice.Open(staged, info.Size, name)
	if err != nil {
		return err
	}
	// A new file may have columns that the old one lacks, and have them in between.
	column := map[string]int{}
	for c, leaf := range made.Schema().Leaves {
		column[strings.Join(leaf.Path, ".")] = c
	}
	at := 0
	for g, group := range plan.RowGroups {
		if group.Route == merge.Drop {
			continue
		}
		for c, leaf := range old.Schema().Leaves {
			if group.Route != merge.Copy && (group.Changed == nil || slices.Contains(group.Changed, leaf.Path[0])) {
				continue
			}
			to, ok := column[strings.Join(leaf.Path, ".")]
			if !ok {
				return fmt.Errorf("the column %s is gone", leaf.Path[0])
			}
			was, is := old.RowGroup(g).Columns[c], made.RowGroup(at).Columns[to]
			if was.CompressedSize != is.CompressedSize {
				return fmt.Errorf("row group %d, column %s: %d bytes, want %d", at, leaf.Path[0], is.CompressedSize, was.CompressedSize)
			}
			err := sameBytes(ctx, extent{from, was.Offset, was.CompressedSize}, extent{staged, is.Offset, is.CompressedSize})
			if err != nil {
				return fmt.Errorf("row group %d, column %s: %w", at, leaf.Path[0], err)
			}
		}
		at++
	}
	return nil
}

// extent is a stretch of a file.
type extent struct {
	of      io.ReaderAt
	from, n int64
}

// compareBytes is how much of two extents is compared at once.
const compareBytes = 1 << 20

// sameBytes compares two extents of one length.
func sameBytes(ctx context.Context, a, b extent) error {
	x, y := make([]byte, min(compareBytes, a.n)), make([]byte, min(compareBytes, a.n))
	for at := int64(0); at < a.n; at += int64(len(x)) {
		if err := ctx.Err(); err != nil {
			return err
		}
		n := min(int64(len(x)), a.n-at)
		if _, err := a.of.ReadAt(x[:n], a.from+at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if _, err := b.of.ReadAt(y[:n], b.from+at); err != nil && !errors.Is(err, io.EOF) {
			return err
		}
		if !bytes.Equal(x[:n], y[:n]) {
			return fmt.Errorf("the bytes from %d on are not the same", b.from+at)
		}
	}
	return nil
}

// verifyContent holds the sum of the hashes of all rows in the files that were written against that of the old files that they
// stand for, less the rows that change, plus what they become: the rows that nobody changed are there with their values, too,
// wherever they are now.
func (r *run) verifyContent(ctx context.Context, o *outcome, staged []stage.File) error {
	var made []merge.Old
	for _, f := range staged {
		if slices.Contains(o.created, f.Name) {
			made = append(made, merge.Old{Name: f.Name, Open: r.opener(o.dir.Data(), f)})
		}
	}
	got, err := merge.ContentOf(ctx, o.schema, o.task.Options, made)
	switch {
	case err != nil:
		return unverified(ctx, "the staged files", err)
	case got.Rows != o.content.Rows:
		return unverified(ctx, "", fmt.Errorf("the files that were written hold %s, want %d", plural(got.Rows, "row", "rows"), o.content.Rows))
	case got != o.content:
		return unverified(ctx, "", errors.New("the files that were written hold other values than the old ones with the changes"))
	}
	return nil
}

// verifyAgain merges the source with the staged files: what is merged already changes nothing. So every
// row of the source is there with its values, and every delete is gone, whatever way they came there.
func (r *run) verifyAgain(ctx context.Context, o *outcome, staged []stage.File) (err error) {
	if !r.options.Mode.Keyed() {
		return nil // a second time is not the same there
	}
	task := o.task
	task.Old = nil
	for _, f := range staged {
		task.Old = append(task.Old, merge.Old{Name: f.Name, Open: r.opener(o.dir.Data(), f)})
	}
	task.Options.Progress, task.Options.Reject = nil, nil
	p, err := merge.Prepare(ctx, task)
	if err != nil {
		return unverified(ctx, "the source merged once more", err)
	}
	defer func() { err = errors.Join(err, p.Close()) }()
	if c := p.Counts(); !p.Noop() {
		return unverified(ctx, "", fmt.Errorf("the source merged once more with what is staged would insert %d, update %d and delete %d rows, want none",
			c.Inserted+c.Moved, c.Updated, c.Deleted+c.MovedOut+c.OldDuplicates))
	}
	return nil
}
