package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

var errWhichRun = errors.New("which run?")

func (s *session) publishCommand() *cobra.Command {
	var run string
	var wait time.Duration
	cmd := &cobra.Command{
		Use:   "publish TABLE --run RUN",
		Short: "Publish what upsert --stage-only left",
		Long: `Publishes a run that upsert --stage-only merged, verified and left staged: all
of its partitions at once, as upsert does it. A partition that was changed since
is a conflict (exit code 4), and staged files that are not those that were
verified are refused (exit code 5): then nothing is changed, and the run stays
staged. Doing it twice does no harm.`,
		Example: `  hupsert publish ./orders --run 20261120T010203Z-4f1c

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.publish(cmd.Context(), args[0], run, wait) },
	}
	cmd.Flags().StringVar(&run, "run", "", "the `run` to publish; history lists those that are staged")
	cmd.Flags().DurationVar(&wait, "lock-wait", 0, "how long to wait for another run, a `DURATION` such as 10m")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) publish(ctx context.Context, name, run string, wait time.Duration) error {
	c := partition.Config{LockWait: wait}
	s.configure(&c)
	var table *partition.Table
	err := needsRun(run)
	if err == nil {
		table, err = partition.Open(ctx, name, c)
	}
	if err != nil {
		s.printFailure(name, "", false, err)
		return err
	}
	report, err := table.Publish(ctx, run)
	if err == nil && s.output == "text" && publishedBefore(report) {
		s.sayf("%s: run %s is published already\n", report.Table, report.Run)
		return nil
	}
	if report != nil {
		s.printReport(report)
	}
	return err
}

// publishedBefore reports whether there was nothing to publish: a staged run has changes.
func publishedBefore(r *partition.Report) bool {
	return !slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool { return p.Status != partition.Noop })
}

// discardFlags say what is discarded.
type discardFlags struct {
	run        string
	stale, all bool
}

func (s *session) discardCommand() *cobra.Command {
	var f discardFlags
	cmd := &cobra.Command{
		Use:   "discard TABLE --run RUN",
		Short: "Remove what upsert --stage-only left",
		Long: `Removes a run that upsert --stage-only left staged, or with --stale all of them
that can't be published any more, since a partition was changed. The table is
not touched, and neither are its versions.`,
		Example: `  hupsert discard ./orders --run 20261120T010203Z-4f1c
  hupsert discard ./orders --stale

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.discard(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.run, "run", "", "the `run` to discard; history lists those that are staged")
	cmd.Flags().BoolVar(&f.stale, "stale", false, "all runs that can't be published any more")
	cmd.Flags().BoolVar(&f.all, "all", false, "all staged runs")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) discard(ctx context.Context, name string, f discardFlags) error {
	switch {
	case f.stale && f.all, f.run != "" && (f.stale || f.all):
		return usageError{errWhichRun, "give one of --run, --stale and --all"}
	case f.stale || f.all:
		return s.discardMany(ctx, name, f.all)
	}
	if err := needsRun(f.run); err != nil {
		return err
	}
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	done, err := table.Discard(ctx, f.run)
	if err != nil {
		return err
	}
	if s.output == "json" {
		s.printJSON(done)
		return nil
	}
	s.sayDiscarded(done)
	return nil
}

// discardMany removes all staged runs, or those that are stale. One that is held by somebody stops none of the others.
func (s *session) discardMany(ctx context.Context, name string, all bool) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	list, err := table.Staged(ctx)
	if err != nil {
		return err
	}
	out := []*partition.Discarded{}
	var errs []error
	for _, r := range list {
		if !all && !r.Stale() {
			continue
		}
		done, err := table.Discard(ctx, r.Run)
		if errors.Is(err, partition.ErrNotFound) {
			continue // somebody was faster
		}
		if err != nil {
			errs = append(errs, err)
			continue
		}
		if out = append(out, done); s.output != "json" {
			s.sayDiscarded(done)
		}
	}
	switch {
	case s.output == "json":
		s.printJSON(map[string]any{"table": table.URL(), "discarded": out})
	case len(out) == 0 && len(errs) == 0 && all:
		s.sayf("%s: no run is staged\n", table.URL())
	case len(out) == 0 && len(errs) == 0:
		s.sayf("%s: no staged run is stale\n", table.URL())
	}
	return errors.Join(errs...)
}

func (s *session) sayDiscarded(d *partition.Discarded) {
	s.sayf("discarded %s: %s, %s, %s\n", d.Run, plural(int64(len(d.Partitions)), "partition"), plural(int64(d.Files), "file"), size(d.Bytes))
}

func needsRun(run string) error {
	if run == "" {
		return usageError{errWhichRun, "name it with --run; hupsert history TABLE lists those that are staged"}
	}
	return nil
}

// stagedNotes says where a run's staged files are, and how the run is ended.
func (s *session) stagedNotes(r *partition.Report, listed []partition.PartitionReport) {
	fmt.Fprintln(s.stdout, "\nstaged, for any engine to read:")
	for _, p := range listed {
		switch {
		case p.Status != partition.Staged:
		case p.Folder == "":
			fmt.Fprintf(s.stdout, "  %s: the partition goes away\n", partitionName(p.Partition))
		default:
			fmt.Fprintf(s.stdout, "  %s\n    %s\n", partitionName(p.Partition), p.Folder)
		}
	}
	if more := len(r.Partitions) - len(listed); more > 0 {
		fmt.Fprintf(s.stdout, "  (%s more: --verbose lists them all)\n", plural(int64(more), "partition"))
	}
	fmt.Fprintln(s.stdout)
	for _, end := range []string{"publish", "discard"} {
		fmt.Fprintf(s.stdout, "%s: %s\n", end, s.line(len(end)+2, s.ends(end, r.Table, r.Run)))
	}
}

// ends is the command line that does something to a run.
func (s *session) ends(command, table, run string) []string {
	args := []string{command, table, "--run", run}
	return append(args, s.sameTable()...)
}

// sameTable is the flags without which another command would not find the table as this one did.
func (s *session) sameTable() []string {
	var args []string
	for _, flag := range [][2]string{{"--state-dir", s.stateDir}, {"--hadoop-user", s.hadoop.User}, {"--keytab", s.hadoop.Keytab},
		{"--principal", s.hadoop.Principal}} {
		if flag[1] != "" {
			args = append(args, flag[0], flag[1])
		}
	}
	return args
}

// describeStaged lists runs that are staged, and whether they can still be published.
func (s *session) describeStaged(table string, runs []partition.StagedRun) {
	if len(runs) == 0 || s.quiet {
		return
	}
	fmt.Fprintf(s.stdout, "%s, not published:\n", plural(int64(len(runs)), "staged run"))
	for _, r := range runs {
		fmt.Fprintf(s.stdout, "  %s  %s  %s  %s, %s\n", r.Run, r.Time.UTC().Format("2006-01-02 15:04"), r.Mode,
			plural(int64(len(r.Partitions)), "partition"), size(r.Bytes))
		stale := slices.Sorted(maps.Keys(r.Beside))
		for _, p := range r.Partitions {
			if p.Changed != "" {
				stale = append(stale, p.Partition)
			}
		}
		if len(stale) > 0 {
			fmt.Fprintf(s.stdout, "    stale: %s was changed since\n", partitionName(stale[0]))
		}
	}
	run := "RUN"
	if len(runs) == 1 {
		run = runs[0].Run
	}
	for _, end := range []string{"publish", "discard"} {
		fmt.Fprintf(s.stdout, "%s: %s\n", end, s.line(len(end)+2, s.ends(end, table, run)))
	}
	if len(runs) > 1 && slices.ContainsFunc(runs, func(r partition.StagedRun) bool { return r.Stale() }) {
		const label = "stale ones: "
		fmt.Fprintf(s.stdout, "%s%s\n", label, s.line(len(label), append([]string{"discard", table, "--stale"}, s.sameTable()...)))
	}
}
