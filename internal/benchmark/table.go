//go:build unix

package main

import (
	"cmp"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// printVariant writes all tables of one variant.
func printVariant(w io.Writer, c config, v variant, results []result) error {
	if len(results) == 0 {
		return nil
	}
	fmt.Fprintf(w, "\nTPC-H lineitem, scale %s, %s, written by %s; %d cores, medians of rounds in turns, page cache warm\n\n",
		c.Scale, cmp.Or(v.Name, "4 files of one row group"), writerKind(), runtime.NumCPU())
	tables := []func(io.Writer, []result) error{printResults, printRoutes}
	if v.Tables != nil {
		tables = append(tables, printGrowth)
	}
	for _, t := range tables {
		if err := t(w, results); err != nil {
			return err
		}
		fmt.Fprintln(w)
	}
	return nil
}

// printResults writes one line per case and tool: medians over the rounds, and in terms of hupsert and of the copy the
// medians of the rounds' ratios, since what disturbs a machine lasts longer than a run.
func printResults(w io.Writer, results []result) error {
	t := newTable("change", "tool", "runs", "wall s", "x hupsert", "x cp+sync", "CPU s", "peak MB", "x peak", "rows")
	for _, r := range results {
		ours, copied := r.of("hupsert"), r.of("cp+sync")
		for i, of := range r.Tools {
			if len(of.Costs) == 0 {
				t.add(r.Case, of.Tool, "0", "", "", "", "", "", "", of.Fault)
				continue
			}
			t.add(r.Case, of.Tool, strconv.Itoa(len(of.Costs)), seconds(wallOf(of.Costs)), ratios(of.Costs, ours, wall), ratios(of.Costs, copied, wall),
				seconds(cpuOf(of.Costs)), megabytes(peakOf(of.Costs)), ratios(of.Costs, ours, peak), r.verdict(i))
		}
	}
	return t.write(w)
}

// printRoutes writes what hupsert did with the bytes, one line per case.
func printRoutes(w io.Writer, results []result) error {
	t := newTable("change", "table MB", "user CPU %", "read MB", "written MB", "kept MB", "copied MB", "patched MB", "rewritten MB", "added MB")
	for _, r := range results {
		ours := r.of("hupsert")
		if len(ours) == 0 {
			continue
		}
		b := ours[0].Routed
		user := median(ours, func(c cost) float64 { return 100 * float64(c.User) / float64(max(c.CPU, 1)) })
		t.add(r.Case, megabytes(r.Bytes), fmt.Sprintf("%.0f", user), megabytes(b.Read), megabytes(b.written()),
			megabytes(b.Kept), megabytes(b.Copied), megabytes(b.Patched), megabytes(b.Rewritten), megabytes(b.Added))
	}
	return t.write(w)
}

// printGrowth writes how the time grows with the table under one change, against the first and smallest table.
func printGrowth(w io.Writer, results []result) error {
	t := newTable("table", "MB", "x MB", "hupsert s", "x s", "cp+sync s", "x s")
	first := results[0]
	for _, r := range results {
		t.add(r.Case, megabytes(r.Bytes), fmt.Sprintf("%.2f", float64(r.Bytes)/float64(first.Bytes)),
			seconds(wallOf(r.of("hupsert"))), ratio(wallOf(r.of("hupsert")), wallOf(first.of("hupsert"))),
			seconds(wallOf(r.of("cp+sync"))), ratio(wallOf(r.of("cp+sync")), wallOf(first.of("cp+sync"))))
	}
	return t.write(w)
}

// of gives a tool's runs, nil where it did not run.
func (r result) of(tool string) []cost {
	i := slices.IndexFunc(r.Tools, func(of runs) bool { return of.Tool == tool })
	if i < 0 {
		return nil
	}
	return r.Tools[i].Costs
}

const differ = "DIFFER"

// verdict compares the rows that a tool left with the reference's.
func (r result) verdict(i int) string {
	of := r.Tools[i]
	known := slices.IndexFunc(r.Tools, func(of runs) bool { return of.Tool == reference && of.Rows != "" })
	switch {
	case of.Fault != "":
		return of.Fault
	case of.Rows == "":
		return ""
	case known < 0:
		return "not compared"
	case i == known:
		return "reference"
	case of.Rows == r.Tools[known].Rows:
		return "equal"
	}
	return differ
}

// differing lists what has left other rows than the reference.
func differing(results []result) (list []string) {
	for _, r := range results {
		for i, of := range r.Tools {
			if r.verdict(i) == differ {
				list = append(list, r.Case+" by "+of.Tool)
			}
		}
	}
	return list
}

func wall(c cost) float64 { return float64(c.Wall) }
func peak(c cost) float64 { return float64(c.Peak) }

// ratios gives the median of a tool's figures in terms of another's of the same round.
func ratios(costs, base []cost, figure func(cost) float64) string {
	n := min(len(costs), len(base))
	list := make([]float64, 0, n)
	for i := range n {
		list = append(list, figure(costs[i])/figure(base[i]))
	}
	if n == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", median(list, func(x float64) float64 { return x }))
}

func ratio(a, b time.Duration) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.2f", d.Seconds()) }

// megabytes are 2^20 bytes, to three digits where they are few.
func megabytes(n int64) string {
	mb := float64(n) / (1 << 20)
	switch {
	case n == 0:
		return "0"
	case mb < 10:
		return fmt.Sprintf("%.2f", mb)
	case mb < 100:
		return fmt.Sprintf("%.1f", mb)
	}
	return fmt.Sprintf("%.0f", mb)
}

func wallOf(costs []cost) time.Duration {
	return median(costs, func(c cost) time.Duration { return c.Wall })
}

func cpuOf(costs []cost) time.Duration {
	return median(costs, func(c cost) time.Duration { return c.CPU })
}

func peakOf(costs []cost) int64 { return median(costs, func(c cost) int64 { return c.Peak }) }

// median of a figure; of an even number the lower one, of none 0.
func median[T any, N cmp.Ordered](list []T, figure func(T) N) N {
	values := make([]N, len(list))
	for i, x := range list {
		values[i] = figure(x)
	}
	if len(values) == 0 {
		var none N
		return none
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}

// table is one in Markdown, whose source reads well, too.
type table struct{ lines [][]string }

func newTable(columns ...string) *table { return &table{[][]string{columns}} }

// add appends a line. Its first cell is left empty where it repeats the line before.
func (t *table) add(cells ...string) {
	t.lines = append(t.lines, cells)
}

func (t *table) write(w io.Writer) error {
	widths := make([]int, len(t.lines[0]))
	for _, line := range t.lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for n, line := range t.lines {
		padded := slices.Clone(line)
		if n > 1 && line[0] == t.lines[n-1][0] {
			padded[0] = ""
		}
		for i, cell := range padded {
			padded[i] = cell + strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cell))
		}
		if _, err := fmt.Fprintf(w, "| %s |\n", strings.Join(padded, " | ")); err != nil {
			return err
		}
		if n == 0 {
			if _, err := fmt.Fprintln(w, "|"+strings.Repeat("---|", len(widths))); err != nil {
				return err
			}
		}
	}
	return nil
}
