package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
	jobfile "github.com/hupsert/hupsert/partition/job"
)

var errWhichJob = errors.New("which job? Give its file")

func (s *session) runCommand() *cobra.Command {
	var set []string
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "run JOB.yaml [--set NAME=VALUE]...",
		Short: "Run a job that is written down",
		Long: `Runs the steps of a job file, one after the other. A step is an upsert or a
backfill, and has its flags as fields, with the same names. The first step that
fails ends the job; those behind it are not run. Nothing is run where the file
is not in order.

${NAME} in the file is the value of --set NAME=VALUE, else of the environment.

A step may have expectations. They are checked on the staged rows before these
are published: one that does not hold leaves the table as it was (exit code 5),
and the rows staged, for publish or discard. Hooks, commands and HTTP calls, are
told what became of a step; one that fails or hangs is a warning.

docs/jobs.md has all that a file may hold.`,
		Example: `  hupsert job init ./orders > orders.yaml
  hupsert job check orders.yaml
  hupsert run orders.yaml --set DAY=2026-11-20
  hupsert run orders.yaml --set DAY=2026-11-20 --dry-run

` + exitHelp,
		Args: jobArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.runJob(cmd.Context(), args[0], set, dryRun) },
	}
	setFlag(cmd, &set)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "plan each step on the tables as they are now: write nothing, call no hooks")
	return cmd
}

// setFlag adds the values of a job's variables.
func setFlag(cmd *cobra.Command, set *[]string) {
	cmd.Flags().StringArrayVar(set, "set", nil, "`NAME=VALUE` for ${NAME} in the file; repeatable")
}

// jobArgument is the check of a command that takes exactly a job file.
func jobArgument(cmd *cobra.Command, args []string) error {
	switch len(args) {
	case 1:
		return nil
	case 0:
		return usageError{errWhichJob, cmd.CommandPath() + " JOB.yaml; hupsert job init TABLE writes one"}
	}
	return usageError{fmt.Errorf("one job at a time: %q is too much", args[1]), cmd.CommandPath() + " --help"}
}

// loadJob reads a job file with the variables of a command line.
func loadJob(file string, set []string) (*jobfile.Job, error) {
	v := jobfile.Variables{Set: map[string]string{}, Env: os.LookupEnv}
	for _, item := range set {
		name, value, found := strings.Cut(item, "=")
		if !found || name == "" {
			return nil, usageError{fmt.Errorf("--set %s: want NAME=VALUE", item), "a NAME stands in the file as ${NAME}"}
		}
		v.Set[name] = value
	}
	return jobfile.Load(file, v)
}

func (s *session) runJob(ctx context.Context, file string, set []string, dryRun bool) error {
	j, err := loadJob(file, set)
	if err != nil {
		if s.output == "json" {
			s.printJSON(brokenJob(file, err))
		}
		return err
	}
	stop, unbounded := func() {}, debug.SetMemoryLimit(-1)
	with := jobfile.Runner{Stdin: interruptible(ctx, s.stdin), Logger: s.logger(), Warn: s.warn, Print: s.lineageLine, Version: buildInfo().Version, DryRun: dryRun, Last: s.last}
	with.Begin = func(step *jobfile.Step, p *partition.Progress) {
		limit := unbounded
		if step.Options.Memory > 0 {
			limit = step.Options.Memory
		}
		debug.SetMemoryLimit(limit)
		s.about.set(step.Table, step.Name)
		step.Config.Observer = s.about.observe
		stop = s.watch(gaugeOf(p))
	}
	ended, begun := 0, false // steps, and whether the one under way has been told of
	with.Planned = func(step *jobfile.Step, plan *backfill.Report, done *backfill.Progress) {
		stop()
		if s.output != "json" {
			s.headStep(step.Name, ended > 0)
			begun = true
			s.printBackfillPlan(plan, plan.DryRun)
		}
		stop = s.watch(backfillGauge(step.Config.Progress, done, plan))
	}
	with.Merged = func() { stop() }
	with.End = func(step *jobfile.Step, r *jobfile.StepReport) {
		if r.Status != jobfile.StepFailed && !begun {
			s.headStep(step.Name, ended > 0)
		}
		s.printStep(step, r)
		ended, begun = ended+1, false
	}
	rep, err := j.Run(ctx, with)
	s.decided = true // a step that had failed before the interruption, as while its hooks were called, has the error it had
	if s.output == "json" {
		s.printJSON(rep)
	}
	if err != nil {
		s.complainOfStep(rep)
	}
	return err
}

// brokenJob is the report of a job whose file is not in order.
func brokenJob(file string, err error) *jobfile.Report {
	rep := &jobfile.Report{File: file, Steps: []*jobfile.StepReport{}, Error: errorReport(err)}
	for _, one := range partition.SplitErrors(err) {
		rep.Problems = append(rep.Problems, errorReport(one))
	}
	return rep
}

// headStep begins what is said of a step.
func (s *session) headStep(name string, again bool) {
	if s.output == "json" {
		return
	}
	if again {
		s.sayf("\n")
	}
	s.sayf("step %s\n", name)
}

// printStep writes what a step did, as its command would.
func (s *session) printStep(step *jobfile.Step, r *jobfile.StepReport) {
	if s.output == "json" {
		return
	}
	outer := *s // what leads to the table is the step's
	outer.stateDir, outer.hadoop = step.Config.StateDir, step.Config.Hadoop
	switch {
	case r.Backfill != nil && r.Status == jobfile.StepPlanned: // which is told
	case r.Backfill != nil:
		outer.printBackfill(r.Backfill)
	case r.Report != nil && (r.Status != jobfile.StepFailed || !failed(r.Report) || s.verbose):
		outer.printReport(r.Report)
	}
	if held := len(r.Expectations); held > 0 && r.Status != jobfile.StepFailed {
		s.sayf("expectations: %d held\n", held)
	}
}

// complainOfStep says which step failed or was interrupted, and which therefore were not run.
func (s *session) complainOfStep(rep *jobfile.Report) {
	failed, how, behind := "", " failed", []string(nil)
	for _, r := range rep.Steps {
		switch r.Status {
		case jobfile.StepFailed:
			failed = r.Step
			if r.Error != nil && r.Error.Kind == partition.KindInterrupted {
				how = " was interrupted"
			}
		case jobfile.StepNotRun:
			behind = append(behind, r.Step)
		}
	}
	text := "step " + failed + how
	if len(behind) > 0 {
		text += "; not run: " + strings.Join(behind, ", ")
	}
	if s.logsJSON() {
		s.logLine(slog.LevelError, text, slog.String("step", failed))
		return
	}
	fmt.Fprintln(s.stderr, "error: "+text)
}
