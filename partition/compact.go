package partition

import (
	"context"
	"runtime"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/storage/stage"
)

// Compact is the mode of reports of [Table.Compact].
const Compact Mode = "compact"

// CompactOptions says what Compact looks at, and what it makes. The zero value compacts whatever gains by it.
type CompactOptions struct {
	Partitions []string // specs; a spec of some columns names all partitions below it. Empty: all
	DryRun     bool     // write nothing: the report says what would be done
	// Due leaves out partitions that merges do not call due ([PartitionReport].CompactionDue). It reads their footers only.
	Due bool
	// Key is whose order is restored where it is lost, as in [Options.Key]. Empty: the table's configuration; where that has none,
	// rows stay in their order.
	Key []string

	// The others are those of Options.
	IgnoreTemporary bool
	Partial         bool
	StageOnly       bool
	Retry           int
	Verify          string
	Parallel        int
	Memory          int64
	TempDir         string
	Compression     string // codec of files that are written; "": as the largest of the old ones
	RowGroupRows    int64  // rows of a new row group; 0: as the largest of the old ones, or 1,000,000; larger ones stay
	TargetFileBytes int64  // up to which files are joined; 0: 256 MiB
}

// options are those of a run. No mode of merges does without rows and key, but for Append.
func (o *CompactOptions) options() Options {
	return Options{Mode: Append, Key: o.Key, Partitions: o.Partitions, IgnoreTemporary: o.IgnoreTemporary, Partial: o.Partial, StageOnly: o.StageOnly,
		Retry: o.Retry, Verify: o.Verify, Parallel: o.Parallel, Memory: o.Memory, TempDir: o.TempDir, Compression: o.Compression,
		RowGroupRows: o.RowGroupRows, TargetFileBytes: o.TargetFileBytes, Command: "compact"}
}

// Compact makes fewer and larger files and row groups of many small ones, with the same rows, and publishes all partitions in one
// commit, as Upsert does. Files that are fine are kept, large row groups are copied as bytes; rows that are out of the order of
// the key, in which the others are, come into their place. A sum of hashes of all rows in the files that are written is held
// against that of the files they stand for.
//
// The report has mode "compact", all rows as kept, and a partition in which nothing can be gained is Noop.
func (t *Table) Compact(ctx context.Context, o CompactOptions) (*Report, error) {
	r, err := t.start(ctx, o.options(), o.DryRun)
	if err != nil {
		return t.newFailure("", Compact, o.DryRun, err), err
	}
	r.compaction = &o
	report, err := r.finish(ctx, r.pick)
	report.Mode = Compact
	return report, err
}

// pick finds the partitions to compact, in the place of a source's rows.
func (r *run) pick(ctx context.Context) error {
	r.options.Mode = Compact
	r.read, r.routed = &rowsRead{}, &routed{}
	if err := r.findSchema(ctx); err != nil {
		return locate(err, "", StepOpen)
	}
	var err error
	if r.rejects, err = r.newRejects(ctx, &r.options, nil, r.id, r.dry); err != nil {
		return err
	}
	paths, err := r.choose(ctx, r.layout, ShowOptions{Partitions: r.options.Partitions}, nil)
	if err != nil {
		return locate(err, "", StepList)
	}
	for _, leaf := range r.layout.leaves {
		for _, p := range paths {
			if p != leaf.path {
				continue
			}
			spec, err := canonicalSpec(r.layout.columns, leaf.spec)
			if err != nil {
				return locate(err, p, StepList)
			}
			r.routed.targets = append(r.routed.targets, &target{path: p, spec: spec, exists: true})
		}
	}
	return locate(r.reach(ctx), "", StepList)
}

// prepareCompaction decides everything about the partition's compaction.
func (r *run) prepareCompaction(ctx context.Context, o *outcome) (change, error) {
	o.report.Status = Noop
	if len(o.contents.data) == 0 {
		return nil, nil
	}
	schema, _, err := r.storedSchema(ctx, o)
	if err != nil {
		return nil, err
	}
	workers := max(1, runtime.GOMAXPROCS(0)/r.parallel())
	o.task = merge.Task{Schema: schema, Options: merge.Options{Parallel: workers}}
	key, _ := r.keyWithin(schema) // a key of nothing but partition columns gives rows no order
	c, err := merge.PrepareCompaction(ctx, merge.CompactTask{
		Schema: schema, Old: r.oldFiles(o), Key: key, Due: r.compaction.Due, Codec: r.parsed.merge.Codec, RowGroupRows: r.options.RowGroupRows,
		TargetFileBytes: r.options.TargetFileBytes, Memory: r.budget.merge(r.parallel()), Parallel: workers, Progress: &o.progress,
	})
	if err != nil {
		return nil, fileError(err, o.contents.data)
	}
	if !c.Noop() {
		o.report.Status = Planned
	}
	return c, nil
}

// takeCompaction fills in what only a compaction has.
func (o *outcome) takeCompaction(c *merge.Compaction) {
	shape := c.Shape()
	o.report.Compaction = &shape
	if !o.staged {
		o.report.Bytes, o.report.Files.After = c.Bytes(), shape.After.Files
	}
	for _, note := range shape.Notes {
		o.notes = append(o.notes, named(o.path, note))
	}
}

// verifyCompaction holds all rows of the files that were written against those of the files they stand for.
func (r *run) verifyCompaction(ctx context.Context, o *outcome, staged []stage.File) error {
	if r.options.Verify == VerifyFull {
		if err := r.verifyKept(ctx, o); err != nil {
			return err
		}
	}
	return r.verifyContent(ctx, o, staged)
}
