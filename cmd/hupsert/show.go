package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) showCommand() *cobra.Command {
	var o partition.ShowOptions
	cmd := &cobra.Command{
		Use:   "show TABLE [--partition SPEC] [--at RUN]",
		Short: "Show a table's columns, keys, partitions, files and sizes",
		Long: `Prints what a table is, as it is live or as a run left it. For partitions that
are named, or with --verbose, their files are listed too. With --at they are
those of the versions that the run made, or has staged, with the folder they are
in: plain Parquet that any engine can read.`,
		Example: `  hupsert show ./orders
  hupsert show ./orders --partition dt=2026-11-20
  hupsert show ./orders --at 20261120T010203Z-4f1c
  hupsert show ./orders --output json

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.show(cmd.Context(), args[0], o) },
	}
	cmd.Flags().StringArrayVar(&o.Partitions, "partition", nil, "`SPEC` dt=2026-11-20[,region=kr]; repeatable (default: all)")
	cmd.Flags().StringVar(&o.At, "at", "", "the versions that this `run` made, not the live ones")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) show(ctx context.Context, name string, o partition.ShowOptions) error {
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	d, err := table.Show(ctx, o)
	if err != nil {
		return err
	}
	switch {
	case s.output == "json":
		s.printJSON(d)
	case !s.quiet:
		s.describe(d, s.verbose || len(o.Partitions) > 0 || o.At != "", o.At != "")
	}
	return nil
}

// describe prints a table. The files of earlier versions, and staged ones, come with their folders.
func (s *session) describe(d *partition.Description, files, folders bool) {
	w := s.stdout
	fmt.Fprintf(w, "%s: %s in %s and %s, %s\n", d.Table, plural(d.Rows, "row"),
		plural(int64(len(d.Partitions)), "partition"), plural(int64(d.Files), "file"), size(d.Bytes))
	if len(d.Key) > 0 {
		fmt.Fprintln(w, "key:", strings.Join(d.Key, ", "))
	}
	if len(d.OrderBy) > 0 {
		fmt.Fprintln(w, "order by:", strings.Join(d.OrderBy, ", "))
	}
	if d.History.Versions > 0 {
		fmt.Fprintf(w, "history: %s, %s\n", plural(int64(d.History.Versions), "earlier version"), size(d.History.Bytes))
	}
	fmt.Fprintf(w, "state: %s\n\n", d.StateDir)
	if !folders && len(d.Staged) > 0 {
		s.describeStaged(d.Table, d.Staged)
		fmt.Fprintln(w)
	}
	s.describeColumns(d)
	fmt.Fprintln(w)
	s.describePartitions(d)
	if files {
		s.describeFiles(d, folders)
	}
}

func (s *session) describeColumns(d *partition.Description) {
	g := newGrid("<column", "<type", "<")
	for _, c := range d.Columns {
		note := ""
		if !c.Nullable {
			note = "not null"
		}
		g.row(c.Name, c.Type, note)
	}
	for _, c := range d.PartitionBy {
		g.row(c.Name, c.Type, "partition")
	}
	g.write(s.stdout)
}

func (s *session) describePartitions(d *partition.Description) {
	if len(d.Partitions) == 0 {
		return
	}
	g := newGrid("<partition", "files", "rows", "size", "version", "<run")
	for _, p := range d.Partitions {
		version := ""
		if p.Version > 0 {
			version = count(p.Version)
		}
		g.row(partitionName(p.Partition), count(int64(len(p.Files))), count(p.Rows), size(p.Bytes), version, p.Run)
	}
	g.dropEmpty(4)
	g.write(s.stdout)
	for _, p := range d.Partitions {
		if p.Unavailable != "" {
			fmt.Fprintf(s.stdout, "%s: %s\n", partitionName(p.Partition), p.Unavailable)
		}
	}
}

func (s *session) describeFiles(d *partition.Description, folders bool) {
	for _, p := range d.Partitions {
		g := newGrid("<"+partitionName(p.Partition), "rows", "row groups", "size")
		for _, f := range p.Files {
			g.row(f.Name, count(f.Rows), count(int64(f.RowGroups)), size(f.Bytes))
		}
		fmt.Fprintln(s.stdout)
		g.write(s.stdout)
		if folders {
			fmt.Fprintf(s.stdout, "in %s\n", p.Folder)
		}
	}
}
