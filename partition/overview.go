package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/storage/local"
)

// Overview is what is known of a table and of the runs that changed it. Package overview draws it.
type Overview struct {
	Table       string
	Time        time.Time // when it was taken
	PartitionBy []ColumnInfo
	Partitions  []PartitionOverview // those that are there, and those that have a history only, by path
	Failures    []FailedRun         // newest first, as far as they are remembered
	Staged      []StagedRun
}

// PartitionOverview is a partition with its history.
type PartitionOverview struct {
	Partition string
	Spec      Spec
	Live      bool // it is there
	Rows      int64
	Bytes     int64
	Files     int
	// Unavailable says why rows, bytes and files are not known; "": they are.
	Unavailable string
	Versions    []Version // oldest first; none where no run of ours touched the partition
}

// Overview looks at all partitions and their histories. It takes no locks: what runs change meanwhile may be in it or not.
func (t *Table) Overview(ctx context.Context) (*Overview, error) {
	o, err := unlocked(ctx, func() (*Overview, error) { return t.overview(ctx) })
	return o, locate(err, "", StepOpen)
}

func (t *Table) overview(ctx context.Context) (*Overview, error) {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return nil, err
	}
	l, err := t.discover(ctx, c)
	if err != nil {
		return nil, err
	}
	o := &Overview{Table: t.url, Time: t.cfg.Now().UTC()}
	for _, column := range l.columns {
		o.PartitionBy = append(o.PartitionBy, ColumnInfo{Name: column.Name, Type: TypeName(column.Type)})
	}
	live := map[string]bool{}
	var all []string
	for _, leaf := range l.leaves {
		live[leaf.path] = true
		all = append(all, leaf.path)
	}
	known, err := t.store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	all = append(all, known...)
	slices.Sort(all)
	all = slices.Compact(all)
	if o.Staged, err = t.staged(ctx); err != nil {
		return nil, err
	}
	if o.Failures, err = t.Failures(ctx); err != nil {
		return nil, err
	}
	o.Partitions = make([]PartitionOverview, len(all))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(t.atOnce())
	for i, p := range all {
		g.Go(func() (err error) {
			o.Partitions[i], err = t.overviewOf(ctx, l, p, live[p])
			return locate(err, p, StepList)
		})
	}
	return o, g.Wait()
}

// overviewOf looks at one partition. One whose files can't be read is part of the overview, which says so.
func (t *Table) overviewOf(ctx context.Context, l *layout, partition string, live bool) (PartitionOverview, error) {
	p := PartitionOverview{Partition: partition, Live: live}
	if partition != "" {
		spec, err := ParsePath(partition)
		if err != nil {
			return p, err
		}
		p.Spec = spec
	}
	versions, err := t.store.History(ctx, partition)
	if err != nil {
		return p, err
	}
	for _, v := range versions {
		p.Versions = append(p.Versions, t.describeVersion(ctx, partition, v))
	}
	if !live {
		return p, nil
	}
	info, err := t.describeLive(ctx, l, partition, l.dir(t.root, partition))
	switch {
	case err == nil:
		p.Rows, p.Bytes, p.Files, p.Unavailable = info.Rows, info.Bytes, len(info.Files), info.Unavailable
	case ctx.Err() != nil, errors.Is(err, fs.ErrNotExist), cannotReach(err):
		return p, err
	default:
		p.Unavailable = err.Error()
	}
	return p, nil
}

// SaveOutput writes a file of the local disk that a flag names: whole or not at all, in place of one of that name. It may
// not lie in the table or its state.
func (t *Table) SaveOutput(ctx context.Context, flag, name string, write func(io.Writer) error) error {
	return locate(t.saveOutput(ctx, flag, name, write), "", StepWrite)
}

// CheckOutput says what speaks against a file of the local disk that a flag names for a command to write: it may not lie in the
// table or its state.
func (t *Table) CheckOutput(ctx context.Context, flag, name string) error {
	_, err := t.outputPath(ctx, flag, name)
	return locate(err, "", StepOpen)
}

func (t *Table) outputPath(ctx context.Context, flag, name string) (string, error) {
	target, err := localPath(name)
	if err != nil {
		return "", err
	}
	return t.outputFile(ctx, flag, target, nil)
}

func (t *Table) saveOutput(ctx context.Context, flag, name string, write func(io.Writer) error) error {
	target, err := t.outputPath(ctx, flag, name)
	if err != nil {
		return err
	}
	id, err := t.newRunID(ctx) // makes the name free
	if err != nil {
		return err
	}
	disk := local.FS{}
	temporary := target + "." + id + ".tmp"
	w, err := disk.Create(ctx, temporary, 0o644)
	if errors.Is(err, fs.ErrNotExist) {
		return fault(ErrNotFound, "there is no folder %s", path.Dir(target)).of(path.Dir(target)).hint("make it first")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", flag, err)
	}
	err = write(w)
	if err = errors.Join(err, w.Close()); err == nil {
		err = disk.Replace(ctx, temporary, target)
	}
	if err != nil {
		return errors.Join(fmt.Errorf("%s: %w", flag, err), disk.Remove(context.WithoutCancel(ctx), temporary))
	}
	return nil
}
