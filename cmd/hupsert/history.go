package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) historyCommand() *cobra.Command {
	var part string
	cmd := &cobra.Command{
		Use:   "history TABLE [--partition SPEC]",
		Short: "List the versions of a table's partitions",
		Long: `Lists the versions of each partition that a run published, newest first, named
by the run that made them. The state that was found first is "origin". What is
marked as kept can be put back by rollback; vacuum removes it. What is marked as
absent says that there was no such partition: rolling back to it removes the
partition, and that can be undone. Runs that upsert --stage-only left staged are
listed below (in JSON: see show).`,
		Example: `  hupsert history ./orders
  hupsert history ./orders --partition dt=2026-11-20

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.history(cmd.Context(), args[0], part) },
	}
	cmd.Flags().StringVar(&part, "partition", "", "`SPEC` of a partition, dt=2026-11-20[,region=kr] (default: all)")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) history(ctx context.Context, name, part string) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	versions, err := table.History(ctx, part)
	if err != nil {
		return err
	}
	switch {
	case s.output == "json":
		if versions == nil {
			versions = []partition.Version{}
		}
		s.printJSON(versions)
	case s.quiet:
	default:
		staged, err := table.Staged(ctx)
		if err != nil {
			return err
		}
		if len(versions) == 0 {
			fmt.Fprintln(s.stdout, "no history: nothing was published here yet")
		} else {
			s.printHistory(versions)
		}
		if len(staged) > 0 {
			fmt.Fprintln(s.stdout)
		}
		s.describeStaged(name, staged)
	}
	return nil
}

// printHistory lists versions below the name of their partition.
func (s *session) printHistory(versions []partition.Version) {
	for len(versions) > 0 {
		n := 1
		for n < len(versions) && versions[n].Partition == versions[0].Partition {
			n++
		}
		s.sayf("%s\n", partitionName(versions[0].Partition))
		historyGrid(versions[:n]).write(s.stdout)
		if versions = versions[n:]; len(versions) > 0 {
			s.sayf("\n")
		}
	}
}

func historyGrid(versions []partition.Version) *grid {
	byRun := map[string]int64{}
	for _, v := range versions {
		byRun[v.Run] = v.Version
	}
	g := newGrid("version", "<run", "<time (UTC)", "<command", "rows", "<")
	for _, v := range versions {
		rows, at, command := "", "", v.Command
		if v.Rows >= 0 {
			rows = count(v.Rows)
		}
		if !v.Time.IsZero() {
			at = v.Time.UTC().Format("2006-01-02 15:04")
		}
		switch {
		case v.Restores != "":
			command += " to " + count(byRun[v.Restores])
		case v.Mode != "" && v.Mode != v.Command:
			command += " " + v.Mode
		}
		g.row(count(v.Version), v.Run, at, command, rows, versionState(v))
	}
	return g
}

func versionState(v partition.Version) string {
	switch {
	case v.Absent:
		return "absent" // the newest of them, too: there is nothing live then
	case v.Live:
		return "live"
	case v.Kept:
		return "kept"
	}
	return "gone"
}
