package main

import (
	"context"

	"github.com/spf13/cobra"
)

func (s *session) recoverCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "recover TABLE",
		Short: "Finish or undo what an interrupted run left",
		Long: `Finishes runs that were committed before they were killed, and undoes those that
were not. Every run does this first for the partitions it touches, so recover is
needed only where no run follows. Doing it twice does no harm. A run that upsert
--stage-only left staged stays: publish or discard ends it.`,
		Example: `  hupsert recover ./orders

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.recover(cmd.Context(), args[0]) },
	}
	s.tableFlags(cmd)
	return cmd
}

func (s *session) recover(ctx context.Context, name string) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	done, err := table.Recover(ctx)
	if err != nil {
		return err
	}
	switch {
	case s.output == "json":
		s.printJSON(done)
	case len(done.Finished)+len(done.Undone) == 0:
		s.sayf("nothing to recover\n")
	}
	if s.output == "text" {
		for _, run := range done.Finished {
			s.sayf("finished %s\n", run)
		}
		for _, run := range done.Undone {
			s.sayf("undid %s\n", run)
		}
		s.describeStaged(name, done.Staged)
	}
	return nil
}
