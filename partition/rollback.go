package partition

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage/swap"
)

// RollbackOptions says what Rollback puts back: earlier versions of the partitions named, or all
// that a run published.
type RollbackOptions struct {
	Partitions []string // specs of whole partitions
	To         string   // the run whose version comes back; "": the version before the live one
	// Run is a run to undo in all partitions it published; excludes Partitions and To. Where a later run
	// has changed one of them since, that is ErrConflict.
	Run string
	// Force goes on where the live partition isn't what was published, which is saved as a version first,
	// where later runs are undone with Run: what they made stays in the history; and where of the partitions between which a run
	// moved rows some go back and some do not: these rows then stand twice, or are lost.
	Force bool
}

// Rollback puts earlier versions back, all in one commit. It is a version like any other: it is in
// the history, and can be rolled back itself. The report has mode "rollback", and comes with an error,
// too.
func (t *Table) Rollback(ctx context.Context, o RollbackOptions) (*Report, error) {
	rep, err := t.rollback(ctx, o)
	if err != nil {
		return t.newFailure("", "rollback", false, err), err
	}
	return rep, nil
}

func (t *Table) rollback(ctx context.Context, o RollbackOptions) (*Report, error) {
	start := time.Now()
	id, err := t.newRunID(ctx)
	if err != nil {
		return nil, locate(err, "", StepOpen)
	}
	rep := &Report{Run: id, Table: t.url, Mode: "rollback"}
	list, err := t.restores(ctx, o)
	if err != nil {
		return nil, locate(swapError(err), "", StepOpen)
	}
	if !o.Force {
		if err := t.takesBack(ctx, list); err != nil {
			return nil, err
		}
		if o.Run == "" {
			if err := t.keepsMoves(ctx, list); err != nil {
				return nil, err
			}
		}
	}
	published, err := t.store.Rollback(ctx, list, o.Force, rep.Run, "rollback")
	if err != nil {
		return nil, locate(rollbackError(err), onlyPartition(list), StepPublish)
	}
	for _, p := range published {
		part := PartitionReport{Partition: p.Partition, Status: Published, Version: p.Version}
		rep.Publish = string(p.Way)
		for _, text := range p.Warnings {
			rep.Warnings = append(rep.Warnings, named(p.Partition, text))
		}
		if err := t.restored(ctx, &part); err != nil {
			rep.Warnings = append(rep.Warnings, named(p.Partition, err.Error()))
		}
		rep.Partitions = append(rep.Partitions, part)
	}
	rep.sum(0)
	rep.Total.Seconds, rep.Total.PeakMemoryBytes = time.Since(start).Seconds(), peakMemory()
	if size, err := t.historyAfter(ctx, rep.Partitions); err == nil {
		rep.History = &size
	}
	return rep, nil
}

// takesBack checks that the table, as it stands, takes the versions that are put back.
func (t *Table) takesBack(ctx context.Context, list []swap.Restore) error {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return locate(err, "", StepOpen)
	}
	paths := make([]string, len(list))
	for i, r := range list {
		paths[i] = r.Partition
	}
	return locate(t.ready(ctx, c, paths), "", StepList)
}

// rollbackError says what can be done where the live partition is somebody else's.
func rollbackError(err error) error {
	var overtaken *swap.OvertakenError
	if errors.As(err, &overtaken) {
		return fault(ErrConflict, "%v", overtaken).
			hint("undo the later runs first, the newest first; or --force undoes them there as well, and keeps them in the history")
	}
	err = swapError(err)
	var e *Error
	if errors.As(err, &e) && e.Kind == KindConflict {
		return e.hint("--force keeps the live partition as a version of its own and goes on")
	}
	return err
}

func onlyPartition(list []swap.Restore) string {
	if len(list) == 1 {
		return list[0].Partition
	}
	return ""
}

// restored fills a report with what is live now and what was before. It counts as Replace does: the
// version that is put back is the source.
func (t *Table) restored(ctx context.Context, p *PartitionReport) error {
	versions, err := t.store.History(ctx, p.Partition)
	if err != nil || len(versions) < 2 {
		return err
	}
	before, live := versions[len(versions)-2], versions[len(versions)-1]
	p.New = before.Absent
	p.Rows.Old, p.Files.Before = max(t.versionRows(ctx, before), 0), before.Files
	p.Rows.Deleted = p.Rows.Old
	if live.Absent {
		p.Removed = true
		return nil
	}
	info, err := t.describeFolder(ctx, live.Path)
	p.Rows.Source, p.Rows.Inserted, p.Rows.Out = info.Rows, info.Rows, info.Rows
	p.Files.After, p.Bytes.Kept = len(info.Files), info.Bytes
	return err
}

// restores settles which version of which partition comes back.
func (t *Table) restores(ctx context.Context, o RollbackOptions) ([]swap.Restore, error) {
	switch {
	case o.Run != "" && (len(o.Partitions) > 0 || o.To != ""):
		return nil, fault(ErrUsage, "a run is undone in all its partitions: name the run, or partitions")
	case o.Run != "":
		return t.undoes(ctx, o.Run)
	}
	partitions, err := t.store.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if len(o.Partitions) == 0 {
		if len(partitions) == 1 && partitions[0] == "" {
			r, err := t.restore(ctx, "", o.To)
			return []swap.Restore{r}, err
		}
		return nil, fault(ErrUsage, "which partition?").hint("name it with --partition, or a run with --run; hupsert history %s lists both", ShellQuote(t.url))
	}
	var out []swap.Restore
	for _, spec := range o.Partitions {
		found, err := t.pick(ctx, partitions, spec)
		if err != nil {
			return nil, err
		}
		if len(found) == 0 {
			return nil, fault(ErrNotFound, "partition %s has no history", spec).hint("hupsert history %s lists the versions", ShellQuote(t.url))
		}
		for _, p := range found {
			r, err := t.restore(ctx, p, o.To)
			if err != nil {
				return nil, locate(err, p, StepOpen)
			}
			out = append(out, r)
		}
	}
	return out, nil
}

// restore names the version of a partition that comes back: a run's, or the one before the live.
func (t *Table) restore(ctx context.Context, partition, to string) (swap.Restore, error) {
	if to == "" {
		versions, err := t.store.History(ctx, partition)
		if err != nil {
			return swap.Restore{}, err
		}
		if len(versions) < 2 {
			return swap.Restore{}, fault(ErrNotFound, "there is no earlier version")
		}
		to = versions[len(versions)-2].Run
	}
	return swap.Restore{Partition: partition, To: to}, nil
}

// undoes lists the partitions of a run that is undone. A partial run is one run for each of its partitions.
func (t *Table) undoes(ctx context.Context, id string) ([]swap.Restore, error) {
	runs := map[string]string{} // partition -> run
	partitions, err := t.store.RunPartitions(ctx, id)
	switch {
	case errors.Is(err, swap.ErrNoVersion):
		if err := t.partialRuns(ctx, id, runs); err != nil {
			return nil, err
		}
		if len(runs) == 0 {
			if _, serr := t.findStaged(ctx, id); serr == nil {
				return nil, fault(ErrNotFound, "run %s is staged, not published", id).hint("hupsert discard %s --run %s removes it", ShellQuote(t.url), id)
			}
			return nil, err
		}
	case err != nil:
		return nil, err
	}
	for _, p := range partitions {
		runs[p] = id
	}
	var out []swap.Restore
	for p, run := range runs {
		out = append(out, swap.Restore{Partition: p, Undoes: run})
	}
	return out, nil
}

// partialRuns finds the runs that one partial run, or a retry, consisted of.
func (t *Table) partialRuns(ctx context.Context, id string, runs map[string]string) error {
	partitions, err := t.store.Partitions(ctx)
	if err != nil {
		return err
	}
	for _, p := range partitions {
		versions, err := t.store.History(ctx, p)
		if err != nil {
			return locate(err, p, StepOpen)
		}
		for _, v := range versions {
			if strings.HasPrefix(v.Run, id+"-") {
				runs[p] = v.Run
			}
		}
	}
	return nil
}
