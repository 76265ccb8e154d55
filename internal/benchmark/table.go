//go:build unix

package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// printTable writes one line per case and tool: medians, and the wall clock in terms of hupsert's and of cp's.
func printTable(w io.Writer, results []result) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(t, "case\ttool\twall s\tx hupsert\tx cp\tCPU s\tpeak MB\trows\t")
	for _, r := range results {
		ours, copied := r.wall("hupsert"), r.wall("cp")
		for i, name := range r.Tools {
			wall := median(r.Costs[i], func(c cost) time.Duration { return c.Wall })
			cpu := median(r.Costs[i], func(c cost) time.Duration { return c.CPU })
			peak := median(r.Costs[i], func(c cost) int64 { return c.Peak })
			fmt.Fprintf(t, "%s\t%s\t%.2f\t%s\t%s\t%.2f\t%d\t%s\t\n",
				r.Case, name, wall.Seconds(), ratio(wall, ours), ratio(wall, copied), cpu.Seconds(), peak>>20, r.verdict(i))
		}
		fmt.Fprintln(t, "\t\t\t\t\t\t\t\t")
	}
	return t.Flush()
}

// wall is a tool's median, or 0 where it did not run.
func (r result) wall(name string) time.Duration {
	i := slices.Index(r.Tools, name)
	if i < 0 {
		return 0
	}
	return median(r.Costs[i], func(c cost) time.Duration { return c.Wall })
}

// verdict compares the rows that a tool left with DuckDB's, the reference.
func (r result) verdict(i int) string {
	reference := slices.Index(r.Tools, "duckdb")
	switch {
	case r.Rows[i] == "" || reference < 0:
		return ""
	case i == reference:
		return "reference"
	case r.Rows[i] == r.Rows[reference]:
		return "equal"
	}
	return "DIFFER"
}

func ratio(a, b time.Duration) string {
	if b == 0 {
		return ""
	}
	return fmt.Sprintf("%.2f", float64(a)/float64(b))
}

// median of a field; of an even number the lower one.
func median[T cmp.Ordered](costs []cost, field func(cost) T) T {
	values := make([]T, len(costs))
	for i, c := range costs {
		values[i] = field(c)
	}
	slices.Sort(values)
	return values[(len(values)-1)/2]
}
