package main

import (
	"bytes"
	"context"
	"io"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/overview"
)

// reported is what report tells of the page it has written.
type reported struct {
	Table      string `json:"table"`
	File       string `json:"file"` // "-": standard output
	Bytes      int64  `json:"bytes"`
	Partitions int    `json:"partitions"`
	Versions   int    `json:"versions"` // that runs published
	Failures   int    `json:"failures"`
}

func (s *session) reportCommand() *cobra.Command {
	var out string
	cmd := &cobra.Command{
		Use:   "report TABLE [--out report.html]",
		Short: "Write a page that shows the table and what its runs did",
		Long: `Writes one page of HTML with a calendar of the partitions, coloured by rows
changed or by last merge, rows and size over time, each run with what it
inserted, updated and deleted, by which route, how long it took and what
failed, and a table of the partitions. The page loads nothing and sends nothing:
open it in a browser, keep it, mail it. The table is only read.

What runs did is known from the first run on that wrote it down; older ones show
their rows and sizes. Of runs that failed the last 1,000 are remembered.`,
		Example: `  hupsert report ./orders
  hupsert report ./orders --out orders.html
  hupsert report hive://host:9083/shop.orders --out - > orders.html

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.reportPage(cmd.Context(), args[0], out) },
	}
	cmd.Flags().StringVar(&out, "out", "report.html", "`FILE` that is written, in place of one of that name; - for standard output")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) reportPage(ctx context.Context, name, out string) error {
	if out == "-" && s.output == "json" {
		return usagef("--out - and --output json both go to standard output")
	}
	table, err := s.open(ctx, name)
	if err != nil {
		return err
	}
	o, err := table.Overview(ctx)
	if err != nil {
		return err
	}
	var page bytes.Buffer
	if err := overview.Write(&page, o); err != nil {
		return err
	}
	if out == "-" {
		_, err := page.WriteTo(s.stdout)
		return err
	}
	r := reportedOf(o, out, int64(page.Len()))
	err = table.SaveOutput(ctx, "--out", out, func(w io.Writer) error {
		_, err := page.WriteTo(w)
		return err
	})
	if err != nil {
		return err
	}
	if s.output == "json" {
		s.printJSON(r)
		return nil
	}
	s.sayf("%s: %s, %s, %s; %s\n", r.File, plural(int64(r.Partitions), "partition"), plural(int64(r.Versions), "version"),
		plural(int64(r.Failures), "failed run"), size(r.Bytes))
	return nil
}

func reportedOf(o *partition.Overview, file string, bytes int64) reported {
	r := reported{Table: o.Table, File: file, Bytes: bytes, Failures: len(o.Failures)}
	for _, p := range o.Partitions {
		if p.Live {
			r.Partitions++
		}
		for _, v := range p.Versions {
			if v.Version > 0 {
				r.Versions++
			}
		}
	}
	return r
}
