package main

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) compareCommand() *cobra.Command {
	var j job
	var o sampling
	c := &partition.CompareOptions{}
	cmd := &cobra.Command{
		Use:   "compare TABLE OTHER",
		Short: "Show which rows of two tables, or of two versions of one, differ",
		Long: `Compares two tables by key, partition by partition: rows only in one, rows that
differ, in how many rows each column differs, and some of the rows with their
values, those of TABLE first. The order of rows and files and how values are
encoded do not count; partitions are matched by value, columns by name. A key
that stands twice on one side is an error. Nothing is written.

Either may be TABLE@RUN, the table as that run left it: partitions that the run
did not touch are as they were then. RUN may be the beginning of a run's name;
@origin is the table before its first run. history lists the runs.`,
		Example: `  hupsert compare ./orders ./orders_rebuilt --key order_id
  hupsert compare ./orders@origin ./orders
  hupsert compare ./orders@20261120T01 ./orders --partition dt=2026-11-20

` + exitHelp,
		Args: twoTables,
		RunE: func(cmd *cobra.Command, args []string) error {
			c.Limit = o.sample()
			return s.compare(cmd.Context(), args[0], args[1], &j, &o, *c)
		},
	}
	f := cmd.Flags()
	f.SortFlags = false
	columns(f, &c.Key, "key", "`COLS` that tell rows apart, a.b for a field of a struct (default: see config)")
	f.StringArrayVar(&c.Partitions, "partition", nil, "`SPEC` dt=2026-11-20[,region=kr]: compare only these; repeatable")
	columns(f, &c.Columns, "columns", "compare only these `COLS`")
	columns(f, &c.ExceptColumns, "except-columns", "compare all `COLS` but these")
	f.BoolVar(&c.AllowFloatKeys, "allow-float-keys", false, "floating-point columns may be keys")
	o.bind(f)
	resources(f, &c.Memory, &c.TempDir, &c.Parallel)
	s.tableFlags(cmd)
	return cmd
}

// twoTables is the check of a command that takes two tables.
func twoTables(cmd *cobra.Command, args []string) error {
	switch {
	case len(args) < 2:
		return usageError{errors.New("which two tables? Give their folders: " + cmd.CommandPath() + " TABLE OTHER"), cmd.CommandPath() + " --help"}
	case len(args) > 2:
		return usageError{fmt.Errorf("two tables at a time: %q is too much", args[2]), cmd.CommandPath() + " --help"}
	}
	return nil
}

func (s *session) compare(ctx context.Context, name, other string, j *job, o *sampling, c partition.CompareOptions) error {
	if c.Memory > 0 {
		debug.SetMemoryLimit(c.Memory)
	}
	report, err := s.compared(ctx, name, other, j, c)
	if report == nil {
		report = &partition.CompareReport{Table: name, Other: other, Key: []string{}, Partitions: []partition.PartitionCompare{},
			Schema: []partition.ColumnCompare{}, Sample: []partition.RowDiff{}, Total: partition.CompareTotal{Columns: []partition.ColumnDiff{}},
			Error: partition.NewErrorReport(err)}
	}
	s.printCompare(report)
	if err == nil && o.exitCode && report.Different {
		return errDifferent
	}
	return err
}

// compared opens both tables and compares them. The state folder that is named is TABLE's, and OTHER's where both are
// one table.
func (s *session) compared(ctx context.Context, name, other string, j *job, c partition.CompareOptions) (*partition.CompareReport, error) {
	j.config.Progress = new(partition.Progress)
	s.configure(&j.config)
	a, err := partition.OpenAt(ctx, name, j.config)
	if err != nil {
		return nil, err
	}
	config := j.config
	config.StateDir = ""
	b, err := partition.OpenAt(ctx, other, config)
	if err != nil {
		return nil, err
	}
	if j.config.StateDir != "" && a.Table.Same(b.Table) {
		b.Table = a.Table
	}
	stop := s.watch(gaugeOf(j.config.Progress))
	defer stop()
	return partition.Compare(ctx, a, b, c)
}

func (s *session) printCompare(r *partition.CompareReport) {
	if s.output == "json" {
		s.printJSON(r)
		return
	}
	if s.quiet || r.Error != nil {
		return
	}
	fmt.Fprintf(s.stdout, "%s and %s: %s\n", r.Table, r.Other, compareHeadline(r))
	s.schemaGrid(r.Schema)
	if len(r.Partitions) > 0 {
		fmt.Fprintln(s.stdout)
		s.compareGrid(r).write(s.stdout)
	}
	s.columnGrid(r.Total.Columns)
	s.printSample(r.Sample, r.Total.Rows.Differ())
}

func compareHeadline(r *partition.CompareReport) string {
	failed := int64(0)
	for _, p := range r.Partitions {
		if p.Error != nil {
			failed++
		}
	}
	text := "the same rows, " + count(r.Total.Rows.Same)
	switch n := r.Total.Rows.Differ(); {
	case n == 1:
		text = "1 row differs"
	case n > 1:
		text = plural(n, "row") + " differ"
	case r.Different:
		text += "; the columns differ"
	}
	switch {
	case failed > 0 && failed == int64(len(r.Partitions)):
		return "not compared"
	case failed > 0:
		text += fmt.Sprintf("; %s of %s failed", count(failed), plural(int64(len(r.Partitions)), "partition"))
	}
	return text
}

// schemaGrid lists columns that are not the same in both.
func (s *session) schemaGrid(list []partition.ColumnCompare) {
	if len(list) == 0 {
		return
	}
	g := newGrid("<column", "<in table", "<in other", "<")
	or := func(typ string) string {
		if typ == "" {
			return "-"
		}
		return shorten(typ, maxName)
	}
	for _, c := range list {
		note := "not compared"
		if c.Compared {
			note = "compared by value"
		}
		g.row(shorten(c.Column, maxName), or(c.Table), or(c.Other), note)
	}
	fmt.Fprintln(s.stdout)
	g.write(s.stdout)
}

func (s *session) compareGrid(r *partition.CompareReport) *grid {
	g := newGrid("<partition", "<", "same", "different", "table only", "other only")
	listed := r.Partitions
	if !s.verbose && len(listed) > listedPartitions {
		listed = listed[:listedPartitions]
	}
	add := func(name, note string, c partition.CompareRows) {
		g.row(name, note, count(c.Same), count(c.Different), count(c.OnlyInTable), count(c.OnlyInOther))
	}
	for _, p := range listed {
		switch p.Status {
		case partition.CompareFailed:
			g.row(partitionName(p.Partition), "failed", "", "", "", "")
		case partition.OnlyInTable, partition.OnlyInOther:
			add(partitionName(p.Partition), "in one only", p.Rows)
		default:
			add(partitionName(p.Partition), "", p.Rows)
		}
	}
	if more := len(r.Partitions) - len(listed); more > 0 {
		g.row("("+count(int64(more))+" more)", "", "", "", "", "")
	}
	if len(r.Partitions) > 1 {
		add("total", "", r.Total.Rows)
	}
	g.dropEmpty(1)
	return g
}
