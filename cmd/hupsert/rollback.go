package main

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) rollbackCommand() *cobra.Command {
	var o partition.RollbackOptions
	cmd := &cobra.Command{
		Use:   "rollback TABLE --partition SPEC [--to RUN] | --run RUN",
		Short: "Put an earlier version back, atomically",
		Long: `Puts an earlier version of a partition back, or undoes a whole run in all of its
partitions at once. A rollback is a version like any other: it is listed in the
history, and can be undone. A run is not undone where a later one has changed
one of its partitions: undo that one first, or both there with --force. Nor goes
a partition back alone where a run moved rows between it and another one.`,
		Example: `  hupsert rollback ./orders --partition dt=2026-11-20
  hupsert rollback ./orders --partition dt=2026-11-20 --to origin
  hupsert rollback ./orders --run 20261120T010203Z-4f1c

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.rollback(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.Partitions, "partition", nil, "`SPEC` of a partition, dt=2026-11-20[,region=kr]; repeatable")
	f.StringVar(&o.To, "to", "", "the `run` whose version comes back, or origin (default: the one before the live one)")
	f.StringVar(&o.Run, "run", "", "undo this `run` in all its partitions")
	f.BoolVar(&o.Force, "force", false, "though somebody changed the live partition, which is saved as a version first, or a later run did, or rows moved between it and one that stays")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) rollback(ctx context.Context, name string, o partition.RollbackOptions) error {
	table, err := s.open(ctx, name)
	if err != nil {
		s.printFailure(name, "rollback", false, err)
		return err
	}
	report, err := table.Rollback(ctx, o)
	if report != nil {
		s.printRollback(report)
	}
	return err
}

func (s *session) printRollback(r *partition.Report) {
	if s.output == "json" || len(r.Partitions) == 0 {
		s.printReport(r)
		return
	}
	for _, w := range r.Warnings {
		s.warn(w)
	}
	if s.quiet {
		return
	}
	g := newGrid("<partition", "<status", "rows", "files", "version")
	for _, p := range r.Partitions {
		status := string(p.Status)
		if p.Removed {
			status = "gone"
		}
		g.row(partitionName(p.Partition), status, count(p.Rows.Out), count(int64(p.Files.After)), count(p.Version))
	}
	s.sayf("%s\n\n", headline(r))
	g.write(s.stdout)
	s.footnotes(r)
}
