package main

import (
	"bytes"
	"context"
	"errors"
	"io"
	"slices"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) planCommand() *cobra.Command {
	var (
		j   job
		out string
	)
	cmd := &cobra.Command{
		Use:   "plan TABLE --from SRC...",
		Short: "Show what upsert would do, and write nothing",
		Long: `Does all of upsert but the writing: reads the source, matches the keys, compares
the values, checks the guards, and prints per partition the rows by class, which
way the bytes would take, and where and why. With --verbose each file and row
group is listed; --output json has them as well.

  keep      the file is taken over as it is, by a hard link if there are links
  adopt     a file of the source is copied in place of the old ones
  copy      row groups, columns and pages are moved as bytes
  patch     only the pages of a column that hold a change are made anew
  rewrite   a column of a row group is encoded from all of its values
  add       inserted rows in a row group or file of their own
  drop      no row of the file or row group stays

Bytes are of what is there now, so they are rough: how small new pages get is
known when they are written. Where pages turn out to take no patch the column is
rewritten, and a rewritten column takes over pages without a change as bytes
where its form allows it.`,
		Example: `  hupsert plan ./orders --key order_id --from new.parquet
  hupsert plan ./orders --from new.parquet --output json | jq .total.rows
  hupsert plan ./orders --from new.parquet --output json --out plan.json

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.plan(cmd.Context(), args[0], &j, out) },
	}
	j.bind(cmd)
	// One set of flags for both, so that a command line can be tried by another first word.
	cmd.Flags().BoolVar(&j.dryRun, "dry-run", true, "what plan does anyway")
	cmd.Flags().StringVar(&out, "out", "-", "`FILE` that the plan is written to, in place of one of that name; - for standard output")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) plan(ctx context.Context, name string, j *job, out string) error {
	table, err := s.openJob(ctx, name, j)
	if err == nil && out != "-" {
		err = table.CheckOutput(ctx, "--out", out)
	}
	if err != nil {
		s.printFailure(name, j.options.Mode, true, err)
		return err
	}
	stop := s.watch(gaugeOf(j.config.Progress))
	report, err := table.Plan(ctx, j.source, j.options)
	stop()
	if report != nil {
		err = errors.Join(err, s.printPlan(ctx, table, report, out))
		if err == nil && out == "-" && s.output != "json" && !s.quiet && changes(report) {
			s.printNext("diff", "--dry-run")
		}
	}
	return err
}

// printPlan prints a plan, or writes what it would print to a file, whole or not at all.
func (s *session) printPlan(ctx context.Context, table *partition.Table, report *partition.Report, out string) error {
	if out == "-" {
		s.printReport(report)
		return nil
	}
	var text bytes.Buffer
	to := s.stdout
	s.stdout = &text
	s.printReport(report)
	s.stdout = to
	return table.SaveOutput(ctx, "--out", out, func(w io.Writer) error {
		_, err := text.WriteTo(w)
		return err
	})
}

// changes reports whether a plan would change something.
func changes(r *partition.Report) bool {
	return slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool { return p.Status == partition.Planned })
}
