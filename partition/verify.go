package partition

import (
	"context"
	"errors"
	"path"

	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage/stage"
)

// verifyAndSeal checks what was staged and makes it durable, with its manifest last.
func (r *run) verifyAndSeal(ctx context.Context, o *outcome, id string) error {
	r.enter(o.path, StepVerify)
	start := r.cfg.Now()
	if err := r.verify(ctx, o); err != nil {
		return err
	}
	manifest, err := o.dir.Seal(ctx, stage.Manifest{Run: id, Partition: o.path, Command: r.options.Command, Mode: string(r.options.Mode),
		Time: r.cfg.Now().UTC(), Rows: o.report.Rows.Out, Sources: r.read.fingerprints})
	o.manifest = manifest
	o.report.Seconds.Verify = r.cfg.Now().Sub(start).Seconds()
	return err
}

// verify holds what was staged against what was meant: every footer parses, and the rows are as many
// as the counters say.
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
	for _, f := range c.data {
		n, err := r.verifyFile(ctx, path.Join(o.dir.Data(), f.Name))
		if err != nil {
			return fault(ErrVerify, "staged file: %v", err).file(f.Name).hint("nothing was published; please report this")
		}
		rows += n
	}
	if rows != o.report.Rows.Out {
		return fault(ErrVerify, "the staged files hold %s, want %d", plural(rows, "row", "rows"), o.report.Rows.Out).hint("nothing was published; please report this")
	}
	return nil
}

// verifyFile gives the rows of a staged file; with --verify full it decodes every page.
func (r *run) verifyFile(ctx context.Context, name string) (rows int64, err error) {
	f, closer, err := openParquet(ctx, r.fsys, name)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, closer.Close()) }()
	if r.options.Verify == VerifyFull {
		if err := readAll(ctx, f); err != nil {
			return 0, err
		}
	}
	return f.NumRows(), nil
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
