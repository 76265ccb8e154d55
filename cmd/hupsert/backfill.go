package main

import (
	"context"
	"fmt"
	"math"
	"runtime/debug"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
	jobfile "github.com/hupsert/hupsert/partition/job"
)

func (s *session) backfillCommand() *cobra.Command {
	var j job
	var o backfill.Options
	cmd := &cobra.Command{
		Use:   "backfill TABLE --from TEMPLATE --range COL=FROM..TO",
		Short: "Upsert into each partition of a range, from files of its own",
		Long: `Merges into each partition of a range the files that a template names for it,
several partitions at once. First the plan: which partitions there are, which
have no files, and which were merged from the same files before, with the same
options; these are left alone. So the same command goes on after a kill, and
does again what failed, or whose files have changed since.

Each partition is published wholly or not at all, and one that fails stops none
of the others; at the end stands the command that does just what is left. The
range as a whole is not one commit.

  --range dt=2026-01-01..2026-12-31    days; --range month=2026-01..2026-12
  --range hour=0..23                   integers, both ends included
  --range region=kr,us                 values
  {dt}, {dt:%Y%m%d}, {hour:%02d}       where they stand in the names of files

Several ranges are combined: a table by dt and region needs both.`,
		Example: `  hupsert backfill ./orders --from 'in/{dt}/*.parquet' --range dt=2026-01-01..2026-12-31
  hupsert backfill ./orders --from 'in/{dt:%Y%m%d}.csv.gz' --range dt=2026-01-01..2026-01-31 --dry-run
  hupsert backfill ./events --from 'in/{dt}/{region}.csv' --range dt=2026-01-01,2026-01-05 --range region=kr,us

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			if o.DryRun {
				_, err := s.backfill(cmd.Context(), args[0], &j, &o, nil)
				return err
			}
			ctx, telling, err := s.tell(cmd.Context(), "backfill", args[0], &j)
			if err != nil {
				s.printBackfillFailure(args[0], j.options.Mode, false, err)
				return err
			}
			report, err := s.backfill(ctx, args[0], &j, &o, telling)
			telling.end(ctx, report, err)
			return err
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	bindFields(f, jobfile.BackfillFields(&j.config, &j.source, &j.options, &o))
	f.BoolVar(&o.DryRun, "dry-run", false, "show the plan, and write nothing")
	bindFields(f, j.tellingFields())
	s.tableFlags(cmd)
	return cmd
}

// backfill runs it and prints its report. What it gives is nil where it did not come to the partitions.
func (s *session) backfill(ctx context.Context, name string, j *job, o *backfill.Options, to *telling) (*partition.Report, error) {
	o.Source, o.Upsert = j.source, j.options
	plan, progress, err := s.planBackfill(ctx, name, j, o, to)
	if plan != nil {
		defer func() { _ = plan.Close() }() // what is done is done
	}
	if err != nil {
		s.printBackfillFailure(name, o.Upsert.Mode, o.DryRun, err)
		return nil, err
	}
	report := plan.NewReport(o.DryRun)
	if s.output != "json" || o.DryRun {
		s.printBackfillPlan(report, o.DryRun)
	}
	if o.DryRun {
		if s.output != "json" && !s.quiet && report.Total.Statuses[partition.Planned] > 0 {
			s.printNext("backfill", "--dry-run")
		}
		return nil, nil
	}
	done := new(backfill.Progress)
	stop := s.watch(backfillGauge(progress, done, report))
	report, err = plan.Run(ctx, done)
	stop()
	if left := report.Failed(); err != nil && len(left) > 0 {
		args := s.retry(left)
		report.Retry = s.oneLine(args)
		if s.output != "json" {
			s.retryCommand = report.Retry
			s.parting = "retry: " + s.line(len("retry: "), args) + "\n"
		}
	}
	s.printBackfill(report)
	return report.AsRun(), err
}

// printBackfillFailure is printFailure of a backfill that could not even be planned.
func (s *session) printBackfillFailure(table string, mode partition.Mode, dry bool, err error) {
	if s.output == "json" {
		s.printJSON(&backfill.Report{Table: table, Mode: mode, DryRun: dry, Partitions: []backfill.PartitionReport{}, Error: errorReport(err)})
	}
}

// planBackfill opens the table and makes the plan.
func (s *session) planBackfill(ctx context.Context, name string, j *job, o *backfill.Options, to *telling) (*backfill.Plan, *partition.Progress, error) {
	if j.options.Memory > 0 {
		debug.SetMemoryLimit(j.options.Memory)
	}
	j.config.Progress = new(partition.Progress)
	s.configure(&j.config)
	table, err := partition.Open(ctx, name, j.config)
	if err != nil {
		return nil, nil, err
	}
	if err := to.check(ctx, table); err != nil {
		_ = table.Close() // the error before says more
		return nil, nil, err
	}
	plan, err := backfill.Prepare(ctx, table, *o)
	if err != nil {
		_ = table.Close() // the error before says more
		return nil, nil, err
	}
	return plan, j.config.Progress, nil
}

// backfillGauge shows how many partitions are done, and how long the others will take.
func backfillGauge(p *partition.Progress, b *backfill.Progress, plan *backfill.Report) func() gauge {
	all := int64(plan.Total.Statuses[partition.Planned])
	return func() gauge {
		done := min(p.PartitionsDone.Load(), all)
		g := gauge{step: "backfill", done: done, total: all, words: fmt.Sprintf("%s / %s", count(done), plural(all, "partition"))}
		if _, left, ok := b.Left(float64(done) / float64(max(all, 1))); ok {
			g.words += ", " + about(left) + " left"
		}
		return g
	}
}

// about writes a duration as roughly as it is known.
func about(d time.Duration) string {
	switch {
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", math.Ceil(d.Seconds()))
	case d < time.Hour:
		return fmt.Sprintf("%d min", int(math.Ceil(d.Minutes())))
	}
	return fmt.Sprintf("%d h %02d min", int(d.Hours()), int(d.Minutes())%60)
}

// printBackfillPlan writes what a backfill will do; with list each partition.
func (s *session) printBackfillPlan(r *backfill.Report, list bool) {
	if s.output == "json" {
		s.printJSON(r)
		return
	}
	for _, w := range r.Warnings {
		s.warn(w)
	}
	if s.quiet {
		return
	}
	files, bytes := 0, int64(0)
	var missing, again []string
	redone := 0
	for _, p := range r.Partitions {
		switch p.Status {
		case partition.Planned:
			files, bytes = files+p.SourceFiles, bytes+p.SourceBytes
			if p.Why == backfill.AskedFor {
				redone++
			} else if p.Why != "" {
				again = append(again, p.Partition+": "+p.Why)
			}
		case backfill.NoFiles:
			missing = append(missing, p.Partition)
		}
	}
	n := r.Total.Statuses
	fmt.Fprintf(s.stdout, "%s: %s: %s to merge from %s, %s", r.Table, plural(int64(len(r.Partitions)), "partition"), count(int64(n[partition.Planned])), plural(int64(files), "file"), size(bytes))
	if d := n[partition.Done]; d > 0 {
		fmt.Fprintf(s.stdout, "; %s done before", count(int64(d)))
	}
	if len(missing) > 0 {
		fmt.Fprintf(s.stdout, "; %s without files", count(int64(len(missing))))
	}
	fmt.Fprintln(s.stdout)
	if list {
		s.listBackfill(r)
	}
	if len(missing) > 0 {
		fmt.Fprintln(s.stdout, "no files: "+s.some(missing, ", "))
	}
	if redone > 0 {
		again = append([]string{plural(int64(redone), "partition") + ": " + backfill.AskedFor}, again...)
	}
	if len(again) > 0 {
		fmt.Fprintln(s.stdout, "again: "+s.some(again, "\n       "))
	}
}

// some joins names: a few, or with --verbose all of them.
func (s *session) some(names []string, by string) string {
	const most = 10
	if s.verbose || len(names) <= most+1 {
		return strings.Join(names, by)
	}
	return strings.Join(names[:most], by) + fmt.Sprintf("%sand %s more", by, count(int64(len(names)-most)))
}

func (s *session) listBackfill(r *backfill.Report) {
	g := newGrid("<partition", "files", "bytes", "<", "<run")
	listed := r.Partitions
	if !s.verbose && len(listed) > listedPartitions {
		listed = listed[:listedPartitions]
	}
	for _, p := range listed {
		what := string(p.Status)
		switch {
		case p.Status == partition.Planned && p.Why != "":
			what = "merge again"
		case p.Status == partition.Planned && p.New:
			what = "new"
		case p.Status == partition.Planned:
			what = "merge"
		}
		g.row(p.Partition, count(int64(p.SourceFiles)), size(p.SourceBytes), what, p.Run)
	}
	g.dropEmpty(4)
	fmt.Fprintln(s.stdout)
	g.write(s.stdout)
	if more := len(r.Partitions) - len(listed); more > 0 {
		fmt.Fprintf(s.stdout, "(%s more: --verbose lists them all)\n", plural(int64(more), "partition"))
	}
}

// printBackfill writes what a backfill did.
func (s *session) printBackfill(r *backfill.Report) {
	if s.output == "json" {
		s.printJSON(r)
		return
	}
	for _, w := range r.Warnings {
		s.warn(w)
	}
	n := r.Total.Statuses
	if s.quiet || r.Error != nil || n[partition.Published]+n[partition.Noop]+n[partition.Done] == 0 {
		return
	}
	touched := r.AsRun()
	touched.Partitions = nil
	var runs []string
	for _, p := range r.Partitions {
		if p.Status == partition.Published && !slices.Contains(runs, p.Run) {
			runs = append(runs, p.Run)
		}
		if p.Status != partition.Done && p.Status != backfill.NoFiles {
			touched.Partitions = append(touched.Partitions, p.PartitionReport)
		}
	}
	slices.Sort(runs)
	if len(touched.Partitions) == 0 {
		fmt.Fprintf(s.stdout, "%s: nothing to do: all of it is done\n", r.Table)
		return
	}
	fmt.Fprintln(s.stdout)
	s.printTouched(touched, n)
	switch len(runs) {
	case 0:
	case 1:
		fmt.Fprintf(s.stdout, "\nundo: %s\n", s.line(len("undo: "), s.ends("rollback", r.Table, runs[0])))
	default:
		fmt.Fprintf(s.stdout, "\nundo: %s\n      and so on for each of its %s, to %s\n", s.line(len("undo: "), s.ends("rollback", r.Table, runs[0])),
			plural(int64(len(runs)), "run"), runs[len(runs)-1])
	}
	if len(runs) > 0 {
		s.dueNote(touched)
		s.catalogNotes(touched)
	}
}

// printTouched lists the partitions that were worked on.
func (s *session) printTouched(r *partition.Report, n map[partition.Status]int) {
	listed := r.Partitions
	if !s.verbose && len(listed) > listedPartitions {
		listed = listed[:listedPartitions]
	}
	text := fmt.Sprintf("%s: %s of %s published", r.Table, count(int64(n[partition.Published])), plural(int64(len(r.Partitions)), "partition"))
	if r.Publish != "" {
		text += " by " + r.Publish
	}
	if same := n[partition.Noop]; same > 0 {
		text += fmt.Sprintf(", %s had all of it already", count(int64(same)))
	}
	fmt.Fprintf(s.stdout, "%s, in %s s\n\n", text, seconds(r.Total.Seconds))
	rowsGrid(listed, r).write(s.stdout)
	fmt.Fprintln(s.stdout)
	bytesGrid(listed, r).write(s.stdout)
	if more := len(r.Partitions) - len(listed); more > 0 {
		fmt.Fprintf(s.stdout, "(%s more: --verbose lists them all)\n", plural(int64(more), "partition"))
	}
}

// oneLine is a command line as a shell reads it.
func (s *session) oneLine(args []string) string {
	words := []string{partition.ShellQuote(s.name)}
	for _, a := range args {
		words = append(words, partition.ShellQuote(a))
	}
	return strings.Join(words, " ")
}

// retry is the command line that does what is left: the one that was given, with the ranges of these partitions. Where they are
// not all combinations of values each is named.
func (s *session) retry(left []partition.Spec) []string {
	ranges, partitions := backfill.Cover(left)
	var args []string
	for i := 0; i < len(s.args); i++ {
		name, _, joined := strings.Cut(s.args[i], "=")
		if name == "--partition" || name == "--range" && len(partitions) == 0 {
			if !joined {
				i++
			}
			continue
		}
		args = append(args, s.args[i])
	}
	for _, p := range partitions {
		args = append(args, "--partition", p)
	}
	if len(partitions) == 0 {
		for _, r := range ranges {
			args = append(args, "--range", r)
		}
	}
	return args
}
