package main

import (
	"context"
	"fmt"
	"path"
	"runtime/debug"
	"strings"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/hupsert/hupsert/partition"
)

func (s *session) checkCommand() *cobra.Command {
	var o partition.CheckOptions
	cmd := &cobra.Command{
		Use:   "check TABLE [--partition SPEC]...",
		Short: "Look for what is wrong with a table, and change nothing",
		Long: `Looks for keys that stand twice or are NULL, files that can't be read,
statistics that do not hold, columns that differ between files and partitions,
stray and empty files, many small files, and runs that were interrupted. Every
value is decoded once; --quick reads the footers only, and the keys.

Nothing is changed and nobody is locked out. Of a metastore's table the
registered partitions are compared with the folders, the columns and the sizes;
--repair, which changes the metastore, does so for the partitions it names.`,
		Example: `  hupsert check ./orders
  hupsert check ./orders --quick
  hupsert check ./orders --partition dt=2026-11-20 --key order_id,line_no
  hupsert check hive://metastore:9083/sales.orders --repair dt=2026-11-20
  hupsert check ./orders --output json | jq '.findings[]'

Exit code 3 says that a finding is an error; warnings and notes leave it at 0.

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error { return s.check(cmd.Context(), args[0], o) },
	}
	f := cmd.Flags()
	f.SortFlags = false
	f.StringArrayVar(&o.Partitions, "partition", nil, "`SPEC` dt=2026-11-20[,region=kr]; repeatable (default: all)")
	columns(f, &o.Key, "key", "primary-key `COLS`, a.b for a field of a struct (default: see config)")
	f.BoolVar(&o.Quick, "quick", false, "read footers only, and keys")
	f.StringArrayVar(&o.Repair, "repair", nil, "`SPEC` of a partition that a metastore is to register, or to have the right sizes of; repeatable")
	resources(f, &o.Memory, &o.TempDir, &o.Parallel)
	s.tableFlags(cmd)
	return cmd
}

// unsound is what a check ends with that found errors. The report has them.
type unsound int

func (n unsound) Error() string {
	return "the table is not in order: " + plural(int64(n), "error")
}

func (s *session) check(ctx context.Context, name string, o partition.CheckOptions) error {
	if o.Memory > 0 {
		debug.SetMemoryLimit(o.Memory)
	}
	c := partition.Config{Progress: new(partition.Progress)}
	s.configure(&c)
	table, err := partition.Open(ctx, name, c)
	if err != nil {
		return err
	}
	stop := s.watch(gaugeOf(c.Progress))
	report, err := table.Check(ctx, o)
	stop()
	if err != nil {
		return err
	}
	switch {
	case s.output == "json":
		s.printJSON(report)
	case !s.quiet:
		s.printCheck(report)
	}
	if n := report.Total.Errors; n > 0 {
		return unsound(n)
	}
	return nil
}

// listedFindings is how many findings are listed without --verbose, errors before others.
const listedFindings = 40

// printCheck writes what a check found, by partition, with a summary at the end.
func (s *session) printCheck(r *partition.CheckReport) {
	w := s.stdout
	for _, p := range r.Repaired {
		fmt.Fprintf(w, "%s: the metastore has it as it is now\n", partitionName(p))
	}
	groups := together(r.Findings)
	listed, left := groups, 0
	if !s.verbose && len(groups) > listedFindings {
		listed = mostSevere(groups, listedFindings)
		left = len(groups) - listedFindings
	}
	at := "\n"
	for _, g := range listed {
		if title := g.title(s.verbose); title != at {
			fmt.Fprintln(w, title)
			at = title
		}
		s.printFinding(g)
	}
	if len(groups) > 0 {
		fmt.Fprintln(w)
	}
	if left > 0 {
		fmt.Fprintf(w, "(%s more: --verbose lists them all)\n", plural(int64(left), "finding"))
	}
	t := r.Total
	how := "checked"
	if r.Quick {
		how = "checked quickly"
	}
	fmt.Fprintf(w, "%s: %s, %s and %s %s in %s s\n", r.Table, plural(int64(t.Partitions), "partition"), plural(int64(t.Files), "file"),
		plural(t.Rows, "row"), how, seconds(t.Seconds))
	if len(r.Findings) == 0 {
		fmt.Fprintln(w, "nothing found")
		return
	}
	fmt.Fprintf(w, "%s, %s, %s\n", plural(int64(t.Errors), "error"), plural(int64(t.Warnings), "warning"), plural(int64(t.Notes), "note"))
}

// findingGroup is a finding with the partitions that have the same.
type findingGroup struct {
	partition.Finding
	at []string
}

// together joins findings that differ in their partition only.
func together(list []partition.Finding) []*findingGroup {
	var out []*findingGroup
	known := map[string]*findingGroup{}
	for _, f := range list {
		key := fmt.Sprint(f.Severity, f.Kind, f.File, f.Column, f.Run, f.Message, f.Samples, f.Keys, f.Partitions, f.Hint, f.Partition == "")
		g := known[key]
		if g == nil {
			g = &findingGroup{Finding: f}
			known[key] = g
			out = append(out, g)
		}
		g.at = append(g.at, f.Partition)
	}
	return out
}

// mostSevere picks n findings, errors first, and leaves them in their order.
func mostSevere(list []*findingGroup, n int) []*findingGroup {
	picked := map[*findingGroup]bool{}
	for _, severity := range []partition.Severity{partition.SeverityError, partition.SeverityWarning, partition.SeverityNote} {
		for _, g := range list {
			if g.Severity == severity && len(picked) < n {
				picked[g] = true
			}
		}
	}
	var out []*findingGroup
	for _, g := range list {
		if picked[g] {
			out = append(out, g)
		}
	}
	return out
}

// title says which partitions a finding is of.
func (g *findingGroup) title(all bool) string {
	return some(g.at, all, partitionName)
}

// some names a few of a list.
func some(list []string, all bool, name func(string) string) string {
	const few = 3
	var parts []string
	for i, p := range list {
		if i == few && !all && len(list) > few+1 {
			return strings.Join(parts, ", ") + " and " + count(int64(len(list)-i)) + " more"
		}
		parts = append(parts, name(p))
	}
	return strings.Join(parts, ", ")
}

// printFinding writes one finding: what, where for example, and what to do next.
func (s *session) printFinding(g *findingGroup) {
	const indent = "           "
	text := g.Message
	if g.File != "" && !strings.Contains(text, path.Base(g.File)) {
		text = g.File + ": " + text
	}
	s.wrapped("  "+fmt.Sprintf("%-9s", g.Severity), indent, text)
	if len(g.Partitions) > 0 {
		s.wrapped(indent, indent+"  ", some(g.Partitions, s.verbose, partitionName))
	}
	for _, k := range g.Keys {
		var places []string
		for _, p := range k.Places {
			places = append(places, fmt.Sprintf("%s row %d", p.File, p.Row))
		}
		text := k.Key + ": " + strings.Join(places, ", ")
		if more := k.Rows - int64(len(k.Places)); more > 0 {
			text += fmt.Sprintf(" and %s more", count(more))
		}
		s.wrapped(indent, indent+"  ", text)
	}
	for _, sample := range g.Samples {
		s.wrapped(indent, indent+"  ", sample)
	}
	if g.Hint != "" {
		s.wrapped(indent+"-> ", indent+"   ", g.Hint)
	}
}

// wrapped writes a text in lines of the terminal's width. Words that are longer stay whole.
func (s *session) wrapped(first, other, text string) {
	line := first
	empty := true
	for _, word := range strings.Fields(text) {
		switch {
		case empty:
			line += word
		case utf8.RuneCountInString(line)+1+utf8.RuneCountInString(word) > lineWidth:
			fmt.Fprintln(s.stdout, line)
			line = other + word
		default:
			line += " " + word
		}
		empty = false
	}
	fmt.Fprintln(s.stdout, strings.TrimRight(line, " "))
}
