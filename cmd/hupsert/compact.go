package main

import (
	"context"
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) compactCommand() *cobra.Command {
	var o partition.CompactOptions
	var c partition.Config
	cmd := &cobra.Command{
		Use:   "compact TABLE [--partition SPEC]...",
		Short: "Make few large files of many small ones, with the same rows",
		Long: `Joins small files and row groups, leaves out what dictionaries hold in vain, and
brings rows that came late into their place where the others stand in the order
of the key. Files that are fine are kept, and large row groups copied as bytes.
All partitions are published in one commit, as by upsert, and can be rolled
back. Before that a hash of all rows in the new files is held against that of
the old ones.

With --due only partitions are looked into for which upsert says that it is due:
20 or more files of less than 16 MiB, or 40 or more row groups of less than 256
KiB.`,
		Example: `  hupsert compact ./orders --dry-run
  hupsert compact ./orders --partition dt=2026-11-20
  hupsert compact ./orders --due

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.compact(cmd.Context(), args[0], o, c) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.Partitions, "partition", nil, "`SPEC` dt=2026-11-20[,region=kr]; repeatable (default: all)")
	f.BoolVar(&o.Due, "due", false, "only partitions in which upsert calls it due")
	f.BoolVar(&o.DryRun, "dry-run", false, "say what would be done, and write nothing")
	columns(f, &o.Key, "key", "primary-key `COLS`, by which rows are put in order where they mostly are (default: see config)")
	f.StringVar(&o.Compression, "compression", "", "`CODEC` of the files that are written: snappy, zstd, gzip or none (default: as the old files)")
	f.Int64Var(&o.RowGroupRows, "row-group-size", 0, "`ROWS` up to which row groups are joined (default: as the largest that is there)")
	f.Var((*byteSize)(&o.TargetFileBytes), "target-file-size", "size up to which files are joined (default 256MiB)")
	f.BoolVar(&o.StageOnly, "stage-only", false, "stop after verification: look at the staged files, then publish or discard")
	f.BoolVar(&o.Partial, "partial", false, "publish partition by partition; one that fails leaves the others published")
	f.StringVar(&c.Publish, "publish", "auto", "how the switch is made, the `WAY`: auto, exchange, rename or location")
	f.StringVar(&o.Verify, "verify", "counts", "`LEVEL` of what is checked besides the rows: counts or full")
	f.DurationVar(&c.LockWait, "lock-wait", 0, "how long to wait for another run, a `DURATION` such as 10m")
	f.IntVar(&o.Retry, "retry", 0, "`N` new starts where the partition changed meanwhile")
	f.BoolVar(&o.IgnoreTemporary, "ignore-temporary", false, "go on where folders of another writer are found")
	resources(f, &o.Memory, &o.TempDir, &o.Parallel)
	s.tableFlags(cmd)
	return cmd
}

func (s *session) compact(ctx context.Context, name string, o partition.CompactOptions, c partition.Config) error {
	if o.Memory > 0 {
		debug.SetMemoryLimit(o.Memory)
	}
	c.Progress = new(partition.Progress)
	s.configure(&c)
	table, err := partition.Open(ctx, name, c)
	if err != nil {
		s.printFailure(name, partition.Compact, o.DryRun, err)
		return err
	}
	defer func() { _ = table.Close() }() // what is done is done; connections end with the process at the latest
	stop := s.watch(gaugeOf(c.Progress))
	report, err := table.Compact(ctx, o)
	stop()
	if report != nil {
		s.printReport(report)
	}
	return err
}

// printCompaction writes what a compaction did, or would do.
func (s *session) printCompaction(r *partition.Report) {
	changed := partitionsThatChange(r)
	if len(changed) == 0 {
		s.sayf("%s: nothing to do: the files of %s need no compaction\n", r.Table, plural(int64(len(r.Partitions)), "partition"))
		return
	}
	text := headline(r)
	if r.DryRun {
		text = fmt.Sprintf("%s: %s of %s would be compacted; nothing was written", r.Table, count(int64(len(changed))), plural(int64(len(r.Partitions)), "partition"))
	}
	s.sayf("%s\n\n", text)
	more := 0
	if !s.verbose && len(changed) > listedPartitions {
		changed, more = changed[:listedPartitions], len(changed)-listedPartitions
	}
	layoutGrid(changed, r.DryRun).write(s.stdout)
	if more > 0 {
		fmt.Fprintf(s.stdout, "(%s more: --verbose lists them all)\n", plural(int64(more), "partition"))
	}
	for _, p := range changed {
		fmt.Fprintf(s.stdout, "%s: %s\n", partitionName(p.Partition), strings.Join(p.Compaction.Why, ", "))
	}
	if s.verbose {
		printFiles(s.stdout, changed)
	}
	if hasStaged(r) {
		s.stagedNotes(r, changed)
	}
	s.footnotes(r)
}

func partitionsThatChange(r *partition.Report) (out []partition.PartitionReport) {
	for _, p := range r.Partitions {
		if p.Status != partition.Noop && p.Compaction != nil {
			out = append(out, p)
		}
	}
	return out
}

// layoutGrid shows files and row groups before and after.
func layoutGrid(listed []partition.PartitionReport, plan bool) *grid {
	g := newGrid("<partition", "<status", "rows", "files", "row groups", "size", "<order")
	for _, p := range listed {
		before, after := p.Compaction.Before, p.Compaction.After
		bytes := size(before.Bytes)
		if !plan {
			bytes += " -> " + size(after.Bytes)
		}
		g.row(partitionName(p.Partition), string(p.Status), count(p.Rows.Out), became(before.Files, after.Files), became(before.RowGroups, after.RowGroups), bytes, orderText(p))
	}
	return g
}

// orderText says in which order rows are written.
func orderText(p partition.PartitionReport) string {
	if p.Compaction.Sorted {
		return "key"
	}
	return "as it was"
}

func became(before, after int) string {
	if before == after {
		return count(int64(before))
	}
	return count(int64(before)) + " -> " + count(int64(after))
}

// dueNote says where a compaction is due after a run.
func (s *session) dueNote(r *partition.Report) {
	var due []partition.PartitionReport
	for _, p := range r.Partitions {
		if p.CompactionDue != "" && p.Status.Counts() {
			due = append(due, p)
		}
	}
	switch len(due) {
	case 0:
		return
	case 1:
		fmt.Fprintf(s.stdout, "compaction is due in %s: %s\n", partitionName(due[0].Partition), due[0].CompactionDue)
	default:
		fmt.Fprintf(s.stdout, "compaction is due in %s, such as %s: %s\n", plural(int64(len(due)), "partition"), partitionName(due[0].Partition), due[0].CompactionDue)
	}
	fmt.Fprintf(s.stdout, "      %s\n", s.line(len("      "), append([]string{"compact", r.Table, "--due"}, s.sameTable()...)))
}
