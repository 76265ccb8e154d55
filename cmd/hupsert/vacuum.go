package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) vacuumCommand() *cobra.Command {
	var o partition.VacuumOptions
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "vacuum TABLE [--keep 168h] [--dry-run]",
		Short: "Remove old versions and abandoned staging",
		Long: `Removes earlier versions that are older than --keep, and what abandoned runs
left staged. The live version is never touched. Queries that still read a
removed version fail, so keep versions for longer than your longest query. Runs
that upsert --stage-only left staged are kept, however old they are, and listed:
publish or discard ends them.`,
		Example: `  hupsert vacuum ./orders --dry-run
  hupsert vacuum ./orders --keep 72h

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			o.Keep = keep
			if cmd.Flags().Changed("keep") && keep == 0 {
				o.Keep = time.Nanosecond // the library takes 0 for "not said"
			}
			return s.vacuum(cmd.Context(), args[0], o)
		},
	}
	cmd.Flags().DurationVar(&keep, "keep", 0, "how long versions stay (default: what config declares, else 168h)")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "only say what would be removed")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) vacuum(ctx context.Context, name string, o partition.VacuumOptions) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	done, err := table.Vacuum(ctx, o)
	if err != nil {
		return err
	}
	if s.output == "json" {
		s.printJSON(done)
		return nil
	}
	what := fmt.Sprintf("%s and %s, %s", plural(int64(done.Versions), "earlier version"),
		plural(int64(done.Staging), "abandoned staging folder"), size(done.Bytes))
	if done.DryRun {
		s.sayf("would remove %s\n", what)
	} else {
		s.sayf("removed %s\nleft: %s, %s\n", what, plural(int64(done.Left.Versions), "earlier version"), size(done.Left.Bytes))
	}
	s.describeStaged(name, done.StagedRuns)
	return nil
}
