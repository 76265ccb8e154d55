package main

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/hupsert/hupsert/partition"
)

// sampling is what diff and compare are told of what to show.
type sampling struct {
	limit    int
	exitCode bool
}

func (o *sampling) bind(f *pflag.FlagSet) {
	f.IntVar(&o.limit, "limit", 20, "`N` rows that differ are shown with their values; 0 shows none")
	f.BoolVar(&o.exitCode, "exit-code", false, "exit with 5 where there is a difference")
}

// sample is the limit as the library takes it.
func (o *sampling) sample() int {
	if o.limit <= 0 {
		return -1
	}
	return o.limit
}

func (s *session) diffCommand() *cobra.Command {
	var j job
	var o sampling
	var to string
	cmd := &cobra.Command{
		Use:   "diff TABLE --from SRC...",
		Short: "Show which rows upsert would change, and write nothing",
		Long: `Does all of upsert but the writing, and shows what would change: per partition
the rows by class, per column in how many rows it changes, and some of the rows
with their key, the columns that change, and their old and new values. A NULL is
NULL; the text NULL stands in quotes. Values that are too long are cut around
the place where they differ.

With --to all changes are written as Parquet, in the form of Delta Lake's change
data feed: _change_type is insert, update_preimage, update_postimage or delete,
then come the partition columns and the columns of the table. The file appears
when it is whole.`,
		Example: `  hupsert diff ./orders --key order_id --from new.parquet
  hupsert diff ./orders --from new.parquet --to changes.parquet
  hupsert diff ./orders --from new.parquet --exit-code --quiet || echo changes

` + exitHelp,
		Args: tableArgument,
		RunE: func(cmd *cobra.Command, args []string) error {
			return s.diff(cmd.Context(), args[0], &j, &o, partition.DiffOptions{Limit: o.sample(), To: to})
		},
	}
	f := cmd.Flags()
	j.bind(cmd)
	o.bind(f)
	f.StringVar(&to, "to", "", "`FILE` for all changes, as Parquet")
	// One set of flags for all three, so that a command line can be tried by another first word.
	f.BoolVar(&j.dryRun, "dry-run", true, "what diff does anyway")
	s.tableFlags(cmd)
	return cmd
}

func (s *session) diff(ctx context.Context, name string, j *job, o *sampling, d partition.DiffOptions) error {
	table, err := s.openJob(ctx, name, j)
	if err != nil {
		if s.output == "json" {
			s.printJSON(failedDiff(name, j.options.Mode, err))
		}
		return err
	}
	stop := s.watch(gaugeOf(j.config.Progress))
	report, err := table.Diff(ctx, j.source, j.options, d)
	stop()
	s.printDiff(report)
	if err == nil && o.exitCode && report.Different {
		return errDifferent
	}
	return err
}

// failedDiff is the report of a diff that could not even open its table.
func failedDiff(name string, mode partition.Mode, err error) *partition.DiffReport {
	r := &partition.DiffReport{Table: name, Mode: mode, Partitions: []partition.PartitionDiff{}, Sample: []partition.RowDiff{},
		Total: partition.DiffTotal{Columns: []partition.ColumnDiff{}}, Error: partition.NewErrorReport(err)}
	var usage usageError
	if errors.As(err, &usage) {
		r.Error.Kind, r.Error.Hint = partition.KindUsage, usage.hint
	}
	return r
}

func (s *session) printDiff(r *partition.DiffReport) {
	if s.output == "json" {
		s.printJSON(r)
		return
	}
	for _, w := range r.Warnings {
		s.warn(w)
	}
	if s.quiet || r.Error != nil {
		return
	}
	changed := r.Total.Rows.Inserted + r.Total.Rows.Updated + r.Total.Rows.Deleted + r.Total.Rows.OldDuplicates +
		max(r.Total.Rows.Moved, r.Total.Rows.MovedOut) // a row that moves is one
	fmt.Fprintf(s.stdout, "%s: %s\n", r.Table, diffHeadline(r, changed))
	if len(r.Partitions) > 0 {
		fmt.Fprintln(s.stdout)
		s.diffGrid(r).write(s.stdout)
	}
	s.columnGrid(r.Total.Columns)
	s.printSample(r.Sample, changed)
	if r.To != nil {
		fmt.Fprintf(s.stdout, "\n%s: %s, %s\n", r.To.File, plural(r.To.Rows, "row"), size(r.To.Bytes))
	}
	if r.Different {
		s.printNext("upsert", "--limit", "--to", "--exit-code", "--dry-run")
	}
}

func diffHeadline(r *partition.DiffReport, changed int64) string {
	lost := 0
	for _, p := range r.Partitions {
		if !p.Status.Counts() {
			lost++
		}
	}
	text := "no row would change"
	switch {
	case len(r.Partitions) == 0:
		text = "no row would change: the source has no rows"
	case r.Different:
		text = plural(changed, "row") + " would change"
	}
	failed := fmt.Sprintf("%s of %s failed", count(int64(lost)), plural(int64(len(r.Partitions)), "partition"))
	switch {
	case lost > 0 && lost == len(r.Partitions):
		text = failed
	case lost > 0:
		text += "; " + failed
	}
	return text + "; nothing was written"
}

// diffGrid counts rows by class.
func (s *session) diffGrid(r *partition.DiffReport) *grid {
	g := newGrid("<partition", "<status", "kept", "inserted", "updated", "moved", "unchanged", "deleted", "moved out", "stale", "ignored", "duplicates",
		"null keys", "rejected", "rows")
	add := func(name, status string, c partition.Rows) {
		g.row(name, status, count(c.Kept), count(c.Inserted), count(c.Updated), count(c.Moved), count(c.Unchanged), count(c.Deleted), count(c.MovedOut),
			count(c.StaleSkipped), count(c.Ignored), count(c.SourceDuplicates+c.OldDuplicates), count(c.NullKeys),
			count(c.Rejected), count(c.Out))
	}
	listed := r.Partitions
	if !s.verbose && len(listed) > listedPartitions {
		listed = listed[:listedPartitions]
	}
	for _, p := range listed {
		if !p.Status.Counts() {
			g.row(append([]string{partitionName(p.Partition), string(p.Status)}, make([]string, len(g.head)-2)...)...)
			continue
		}
		status := ""
		switch {
		case p.New:
			status = "new"
		case p.Removed:
			status = "removed"
		}
		add(partitionName(p.Partition), status, p.Rows)
	}
	if more := len(r.Partitions) - len(listed); more > 0 {
		g.row(append([]string{"(" + count(int64(more)) + " more)"}, make([]string, len(g.head)-1)...)...)
	}
	if len(r.Partitions) > 1 {
		add("total", "", r.Total.Rows)
	}
	g.dropEmpty(1)
	return g
}

// listedColumns is how many columns a text report lists without --verbose.
const listedColumns = 40

// columnGrid says in how many rows each column differs.
func (s *session) columnGrid(columns []partition.ColumnDiff) {
	if len(columns) == 0 {
		return
	}
	listed := columns
	if !s.verbose && len(listed) > listedColumns {
		listed = listed[:listedColumns]
	}
	g := newGrid("<column", "differs in")
	for _, c := range listed {
		g.row(shorten(c.Column, lineWidth-20), plural(c.Rows, "row"))
	}
	fmt.Fprintln(s.stdout)
	g.write(s.stdout)
	if more := len(columns) - len(listed); more > 0 {
		fmt.Fprintf(s.stdout, "(%s more: --verbose lists them all)\n", plural(int64(more), "column"))
	}
}

// changeSigns begin a row of a sample.
var changeSigns = map[string]string{
	partition.ChangeUpdate: "~", partition.ChangeInsert: "+", partition.ChangeDelete: "-",
	partition.RowsDifferent: "~", partition.OnlyInOther: "+", partition.OnlyInTable: "-",
}

// shownCells is how many columns are shown, without --verbose, of a row that is on one side only.
const shownCells = 6

// printSample shows rows that differ, below the name of their partition: the key, then a line for each column.
func (s *session) printSample(sample []partition.RowDiff, all int64) {
	if len(sample) == 0 {
		return
	}
	fmt.Fprintln(s.stdout)
	if int64(len(sample)) < all {
		fmt.Fprintf(s.stdout, "%s of %s:\n", count(int64(len(sample))), plural(all, "row"))
	}
	before := "\x00"
	for _, row := range sample {
		if row.Partition != before && row.Partition != "" {
			fmt.Fprintln(s.stdout, shorten(row.Partition, lineWidth))
		}
		before = row.Partition
		s.printRow(row)
	}
}

func (s *session) printRow(row partition.RowDiff) {
	var key []string
	for _, c := range row.Key {
		key = append(key, c.Column+"="+shown(c))
	}
	fmt.Fprintln(s.stdout, strings.TrimRight(shorten(changeSigns[row.Change]+" "+strings.Join(key, " "), lineWidth), " "))
	cells := row.New
	if len(cells) == 0 {
		cells = row.Old
	}
	both := len(row.Old) > 0 && len(row.New) > 0
	more := 0
	if !both && !s.verbose && len(cells) > shownCells {
		more, cells = len(cells)-shownCells, cells[:shownCells]
	}
	s.printCells(row, cells, both)
	if more > 0 {
		fmt.Fprintf(s.stdout, "    (and %s more)\n", plural(int64(more), "column"))
	}
}

const (
	cellIndent = "    "
	cellArrow  = " -> "
	maxName    = 24 // of a column's name, where values are beside it
)

// printCells writes columns below each other: the name, and the value, or the old one and the new one.
func (s *session) printCells(row partition.RowDiff, cells partition.Row, both bool) {
	name, wide := 0, 0
	for i, c := range cells {
		name = max(name, min(maxName, width(c.Column)))
		if both {
			wide = max(wide, width(shown(row.Old[i])))
		}
	}
	room := lineWidth - len(cellIndent) - name - 2
	for i, c := range cells {
		if !both {
			fmt.Fprintln(s.stdout, strings.TrimRight(cellIndent+pad(shorten(c.Column, maxName), name)+"  "+shorten(shown(c), room), " "))
			continue
		}
		old, fresh := shown(row.Old[i]), shown(c)
		half := min(wide, (room-len(cellArrow))/2)
		old, fresh = shortenBoth(old, fresh, half, room-len(cellArrow)-half)
		fmt.Fprintln(s.stdout, cellIndent+pad(shorten(c.Column, maxName), name)+"  "+pad(old, half)+cellArrow+fresh)
	}
}
