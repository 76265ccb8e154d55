package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
	jobfile "github.com/hupsert/hupsert/partition/job"
)

func (s *session) jobCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "job init|check|schema",
		Short: "Write, check and describe job files",
		Long: `init writes a commented job file for a table, check says everything that is
wrong with one without running it, schema prints the JSON Schema by which
editors complete and check job files. hupsert run runs a job.`,
		Example: `  hupsert job init ./orders > orders.yaml
  hupsert job check orders.yaml --set DAY=2026-11-20
  hupsert job schema > job.schema.json`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError{fmt.Errorf("there is no command %q", cmd.CommandPath()+" "+args[0]), "one of init, check and schema"}
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(s.jobInitCommand(), s.jobCheckCommand(), s.jobSchemaCommand())
	return cmd
}

func (s *session) jobInitCommand() *cobra.Command {
	var to string
	cmd := &cobra.Command{
		Use:   "init TABLE [--to FILE]",
		Short: "Write a commented job file for a table",
		Long: `Writes a job file with one step: an upsert into the table, with the key and the
columns that the table has, and in comments what else a job may hold.`,
		Example: `  hupsert job init ./orders > orders.yaml
  hupsert job init hive://ms:9083/sales.orders --to orders.yaml

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.initJob(cmd.Context(), args[0], to) },
	}
	cmd.Flags().StringVar(&to, "to", "", "`FILE` to write, which must not exist yet (default: standard output)")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) initJob(ctx context.Context, name, to string) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	defer func() { _ = table.Close() }() // nothing was written through it
	d, err := table.Outline(ctx)
	if err != nil {
		return err
	}
	text := jobfile.Init(d)
	if to == "" {
		_, err := fmt.Fprint(s.stdout, text)
		return err
	}
	file, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if errors.Is(err, fs.ErrExist) {
		return usageError{fmt.Errorf("%s is there already", to), "give another name, or remove the file"}
	}
	if err != nil {
		return err
	}
	if _, err := file.WriteString(text); err != nil {
		return errors.Join(err, file.Close())
	}
	if err := file.Close(); err != nil {
		return err
	}
	s.sayf("wrote %s; next: %s\n", to, s.line(len(to)+len("wrote ; next: "), []string{"job", "check", to}))
	return nil
}

func (s *session) jobCheckCommand() *cobra.Command {
	var set []string
	cmd := &cobra.Command{
		Use:   "check JOB.yaml [--set NAME=VALUE]...",
		Short: "Say what is wrong with a job file, without running it",
		Long: `Reads a job file as run does, and says everything that is wrong with it at once,
each with its line. No table is opened and no source is read.`,
		Example: `  hupsert job check orders.yaml --set DAY=2026-11-20

Exit codes:
  0  the file is in order
  2  it is not`,
		Args: jobArgument,
		RunE: func(_ *cobra.Command, args []string) error { return s.checkJob(args[0], set) },
	}
	setFlag(cmd, &set)
	return cmd
}

// checkedJob is what job check says, as JSON.
type checkedJob struct {
	File     string                   `json:"file"`
	Job      string                   `json:"job,omitempty"`
	Steps    []checkedStep            `json:"steps"`
	Problems []*partition.ErrorReport `json:"problems"`
	Warnings []string                 `json:"warnings,omitempty"`
}

type checkedStep struct {
	Step    string `json:"step"`
	Command string `json:"command"`
	Table   string `json:"table"`
}

func (s *session) checkJob(file string, set []string) error {
	j, err := loadJob(file, set)
	out := checkedJob{File: file, Steps: []checkedStep{}, Problems: []*partition.ErrorReport{}}
	if err != nil {
		out.Problems = brokenJob(file, err).Problems
	} else {
		out.Job, out.Warnings = j.Name, j.Warnings
		for _, step := range j.Steps {
			out.Steps = append(out.Steps, checkedStep{step.Name, step.Command, step.Table})
		}
	}
	if s.output == "json" {
		s.printJSON(out)
		return err
	}
	if err != nil {
		s.verbose = true // all of it, however much it is
		return err
	}
	for _, w := range j.Warnings {
		s.warn(w)
	}
	s.sayf("%s: in order, %s\n", file, plural(int64(len(j.Steps)), "step"))
	return nil
}

func (s *session) jobSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of job files",
		Example: `  hupsert job schema > job.schema.json`,
		Args:    cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			text, err := jobfile.Schema()
			if err == nil {
				_, err = s.stdout.Write(text)
			}
			return err
		},
	}
}
