package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/hupsert/hupsert/partition"
)

// listedPartitions is how many partitions a text report lists without --verbose.
const listedPartitions = 40

// printReport writes what an upsert did, or a plan would do.
func (s *session) printReport(r *partition.Report) {
	if s.output == "json" {
		s.printJSON(r)
		return
	}
	for _, w := range r.Warnings {
		s.warn(w)
	}
	if s.quiet || failed(r) {
		return // the errors say it all
	}
	if r.Mode == partition.Compact {
		s.printCompaction(r)
		return
	}
	w := s.stdout
	fmt.Fprintln(w, headline(r))
	if len(r.Partitions) == 0 {
		return
	}
	listed := r.Partitions
	if !s.verbose && len(listed) > listedPartitions {
		listed = listed[:listedPartitions]
	}
	fmt.Fprintln(w)
	rowsGrid(listed, r).write(w)
	fmt.Fprintln(w)
	bytesGrid(listed, r).write(w)
	if more := len(r.Partitions) - len(listed); more > 0 {
		fmt.Fprintf(w, "(%s more: --verbose lists them all)\n", plural(int64(more), "partition"))
	}
	if s.verbose {
		printFiles(w, listed)
	} else {
		printRoutes(w, listed)
	}
	if hasStaged(r) {
		s.stagedNotes(r, listed)
	}
	s.footnotes(r)
}

func hasStaged(r *partition.Report) bool {
	return slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool { return p.Status == partition.Staged })
}

func hasPublished(r *partition.Report) bool {
	return slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool { return p.Status == partition.Published })
}

// printFailure writes the report of a run that could not even open its table, so that whoever reads JSON
// always gets one.
func (s *session) printFailure(table string, mode partition.Mode, dry bool, err error) {
	if s.output != "json" {
		return
	}
	s.printJSON(&partition.Report{Table: table, Mode: mode, DryRun: dry, Error: errorReport(err)})
}

// errorReport is an error as a report has it; one of the command line too.
func errorReport(err error) *partition.ErrorReport {
	r := partition.NewErrorReport(err)
	var usage usageError
	if errors.As(err, &usage) {
		r.Kind, r.Hint = partition.KindUsage, usage.hint
	}
	return r
}

// printJSON writes a result as JSON, in lines that people can read as well.
func (s *session) printJSON(v any) {
	e := json.NewEncoder(s.stdout)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		s.warn("standard output: " + err.Error())
	}
}

// failed reports whether a run that had something to do did nothing.
func failed(r *partition.Report) bool {
	lost := r.Error != nil
	for _, p := range r.Partitions {
		if p.Status == partition.Published || p.Status == partition.Planned {
			return false
		}
		lost = lost || p.Error != nil || !p.Status.Counts()
	}
	return lost
}

// headline says in one line what happened.
func headline(r *partition.Report) string {
	tally := map[partition.Status]int{}
	for _, p := range r.Partitions {
		tally[p.Status]++
	}
	published := plural(int64(tally[partition.Published]), "partition")
	switch {
	case len(r.Partitions) == 0:
		return fmt.Sprintf("%s: nothing to do: the source has no rows", r.Table)
	case r.DryRun:
		lost := len(r.Partitions) - tally[partition.Planned] - tally[partition.Noop]
		text := fmt.Sprintf("%s: %s of %s would change", r.Table, count(int64(tally[partition.Planned])), plural(int64(len(r.Partitions)), "partition"))
		if lost > 0 {
			text += fmt.Sprintf(", %s failed", count(int64(lost)))
		}
		return text + "; nothing was written"
	case tally[partition.Staged] > 0:
		return fmt.Sprintf("%s: %s staged in %s s; nothing is published yet", r.Table,
			plural(int64(tally[partition.Staged]), "partition"), seconds(r.Total.Seconds))
	case tally[partition.Published]+tally[partition.Noop] < len(r.Partitions) && tally[partition.Published] > 0:
		return fmt.Sprintf("%s: %s of %s published", r.Table, published, count(int64(len(r.Partitions))))
	case tally[partition.Noop] == len(r.Partitions):
		return fmt.Sprintf("%s: nothing to do: the table has all of it already", r.Table)
	}
	return fmt.Sprintf("%s: %s published by %s in %s s", r.Table, published, r.Publish, seconds(r.Total.Seconds))
}

// partitionName is how a partition is shown; a table without partition columns has one with no name.
func partitionName(name string) string {
	if name == "" {
		return "(table)"
	}
	return name
}

// statusText is a status for people: what an interruption ended has failed, and nothing is wrong with it.
func statusText(p *partition.PartitionReport) string {
	if p.Status == partition.Failed && p.Error != nil && p.Error.Kind == partition.KindInterrupted {
		return "interrupted"
	}
	return string(p.Status)
}

// rowsGrid counts rows by class. The status has a column where it is not the same for all, or none that the headline says: one
// that failed is also of partitions that are not listed.
func rowsGrid(listed []partition.PartitionReport, r *partition.Report) *grid {
	g := newGrid("<partition", "<status", "kept", "inserted", "updated", "moved", "unchanged", "deleted", "moved out", "stale", "ignored",
		"duplicates", "null keys", "rejected", "rows")
	uniform := !slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool {
		return p.Status != r.Partitions[0].Status || !p.Status.Counts()
	})
	add := func(name, status string, c partition.Rows) {
		g.row(name, status, count(c.Kept), count(c.Inserted), count(c.Updated), count(c.Moved), count(c.Unchanged), count(c.Deleted), count(c.MovedOut),
			count(c.StaleSkipped), count(c.Ignored), count(c.SourceDuplicates+c.OldDuplicates), count(c.NullKeys),
			count(c.Rejected), count(c.Out))
	}
	for _, p := range listed {
		if !p.Status.Counts() {
			g.row(append([]string{partitionName(p.Partition), statusText(&p)}, make([]string, len(g.head)-2)...)...)
			continue
		}
		add(partitionName(p.Partition), string(p.Status), p.Rows)
	}
	if len(r.Partitions) > 1 {
		add("total", "", r.Total.Rows)
	}
	g.dropEmpty(2)
	if uniform {
		g.drop(1)
	}
	return g
}

func bytesGrid(listed []partition.PartitionReport, r *partition.Report) *grid {
	g := newGrid("<partition", "read", "kept", "copied", "patched", "rewritten", "added", "files", "seconds")
	add := func(name string, b partition.Bytes, f partition.Files, sec float64) {
		files := count(int64(f.After))
		if f.After != f.Before {
			files = count(int64(f.Before)) + " -> " + count(int64(f.After))
		}
		g.row(name, size(b.Read), size(b.Kept), size(b.Copied), size(b.Patched), size(b.Rewritten), size(b.Added), files, seconds(sec))
	}
	for _, p := range listed {
		if !p.Status.Counts() {
			continue
		}
		t := p.Seconds
		add(partitionName(p.Partition), p.Bytes, p.Files, t.Index+t.Probe+t.Plan+t.Write+t.Verify+t.Publish)
	}
	if len(r.Partitions) > 1 {
		add("total", r.Total.Bytes, r.Total.Files, r.Total.Seconds)
	}
	g.dropEmpty(1)
	return g
}

// catalogNotes says what catalogs must be told after a publish.
func (s *session) catalogNotes(r *partition.Report) {
	var made, lost bool
	for _, p := range r.Partitions {
		made = made || p.Status == partition.Published && p.New
		lost = lost || p.Status == partition.Published && p.Removed
	}
	if r.Publish == "location" {
		fmt.Fprintln(s.stdout, "note: Impala and Trino cache what the metastore says: REFRESH the table there;")
		fmt.Fprintln(s.stdout, "      who reads folders by their path finds the old rows")
		return
	}
	fmt.Fprintln(s.stdout, "note: Spark, Impala and Trino cache file listings: REFRESH the table there")
	if made {
		fmt.Fprintln(s.stdout, "note: catalogs learn of a new partition by MSCK REPAIR TABLE or ADD PARTITION")
	}
	if lost {
		fmt.Fprintln(s.stdout, "note: catalogs forget a partition that is gone by DROP PARTITION")
	}
}

// footnotes says what else there is to do after a publish.
func (s *session) footnotes(r *partition.Report) {
	if !hasPublished(r) {
		return
	}
	fmt.Fprintf(s.stdout, "\nundo: %s\n", s.line(len("undo: "), s.ends("rollback", r.Table, r.Run)))
	if h := r.History; h != nil && h.Versions > 0 {
		fmt.Fprintf(s.stdout, "history: %s, %s; hupsert vacuum removes old ones\n",
			plural(int64(h.Versions), "earlier version"), size(h.Bytes))
	}
	s.dueNote(r)
	s.catalogNotes(r)
}

// sayf writes a result as text.
func (s *session) sayf(format string, args ...any) {
	if !s.quiet {
		fmt.Fprintf(s.stdout, format, args...)
	}
}
