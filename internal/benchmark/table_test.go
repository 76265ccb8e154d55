//go:build unix

package main

import (
	"strings"
	"testing"
	"time"
)

func costsOf(walls ...int) (list []cost) {
	for _, w := range walls {
		list = append(list, cost{Wall: time.Duration(w) * time.Second, CPU: 2 * time.Second, User: time.Second, Peak: int64(w) << 20})
	}
	return list
}

func sample() result {
	return result{Case: "last-1", Bytes: 400 << 20, Tools: []runs{
		{Tool: "hupsert", Costs: costsOf(9, 2, 1), Rows: "10 rows, hash 1"},
		{Tool: "duckdb", Costs: costsOf(9, 8, 8), Rows: "10 rows, hash 2"},
		{Tool: "spark", Costs: costsOf(90), Rows: "10 rows, hash 2"},
		{Tool: "delta-rs", Fault: "failed"},
		{Tool: "cp+sync", Costs: costsOf(3, 1, 1)},
	}}
}

// Ratios are those within a round: Spark's is against the round in which it ran.
func TestResults(t *testing.T) {
	var out strings.Builder
	if err := printResults(&out, []result{sample()}); err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{
		"| change | tool | runs | wall s | x hupsert | x cp+sync | CPU s | peak MB | x peak | rows |",
		"|---|---|---|---|---|---|---|---|---|---|",
		"| last-1 | hupsert | 3 | 2.00 | 1.00 | 2.00 | 2.00 | 2.00 | 1.00 | DIFFER |",
		"| | duckdb | 3 | 8.00 | 4.00 | 8.00 | 2.00 | 8.00 | 4.00 | reference |",
		"| | spark | 1 | 90.00 | 10.00 | 30.00 | 2.00 | 90.0 | 10.00 | equal |",
		"| | delta-rs | 0 | | | | | | | failed |",
		"| | cp+sync | 3 | 1.00 | 0.50 | 1.00 | 2.00 | 1.00 | 0.50 | |",
	})
}

func TestDiffering(t *testing.T) {
	good := sample()
	good.Tools[0].Rows = good.Tools[1].Rows
	if got := differing([]result{good, sample()}); len(got) != 1 || got[0] != "last-1 by hupsert" {
		t.Errorf("other rows: %q", got)
	}
	good.Tools[1].Fault, good.Tools[1].Rows = "failed", ""
	if got := good.verdict(0); got != "not compared" {
		t.Errorf("without a reference: %q", got)
	}
}

func TestRoutes(t *testing.T) {
	r := sample()
	r.Tools[0].Costs[0].Routed = routed{Read: 3 << 20, Kept: 300 << 20, Copied: 96 << 20, Patched: 1 << 20, Rewritten: 2 << 20, Added: 1 << 20}
	var out strings.Builder
	if err := printRoutes(&out, []result{r}); err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{
		"| change | table MB | user CPU % | read MB | written MB | kept MB | copied MB | patched MB | rewritten MB | added MB |",
		"|---|---|---|---|---|---|---|---|---|---|",
		"| last-1 | 400 | 50 | 3.00 | 100 | 300 | 96.0 | 1.00 | 2.00 | 1.00 |",
	})
}

func TestGrowth(t *testing.T) {
	small, large := sample(), sample()
	large.Case, large.Bytes = "last-1 x4", 1600<<20
	large.Tools[0].Costs, large.Tools[4].Costs = costsOf(3), costsOf(4)
	var out strings.Builder
	if err := printGrowth(&out, []result{small, large}); err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{
		"| table | MB | x MB | hupsert s | x s | cp+sync s | x s |",
		"|---|---|---|---|---|---|---|",
		"| last-1 | 400 | 1.00 | 2.00 | 1.00 | 1.00 | 1.00 |",
		"| last-1 x4 | 1600 | 4.00 | 3.00 | 1.50 | 4.00 | 4.00 |",
	})
}

func lines(t *testing.T, text string, want []string) {
	t.Helper()
	got := strings.Split(text, "\n")
	for i, w := range want {
		if g := strings.Join(strings.Fields(got[i]), " "); g != w {
			t.Errorf("line %d: %q, want %q", i, g, w)
		}
	}
}

func TestHDFSTable(t *testing.T) {
	var out strings.Builder
	err := printHDFS(&out, []hdfsResult{
		{Case: "last-1", Tool: "copy", Costs: costsOf(2, 9, 1)},
		{Case: "last-1", Tool: "rename", Costs: costsOf(3), Wire: 7 << 20, Probed: 2 << 20, Rows: "10 rows, hash 1"},
		{Case: "last-1", Tool: "spark", Costs: costsOf(30), Rows: "10 rows, hash 2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{
		"| change | tool | wall s | x copy | CPU s | peak MB | read MB | probed MB | rows |",
		"|---|---|---|---|---|---|---|---|---|",
		"| last-1 | copy | 2.00 | 1.00 | 2.00 | 2.00 | 0 | 0 | |",
		"| | rename | 3.00 | 1.50 | 2.00 | 3.00 | 7.00 | 2.00 | equal |",
		"| | spark | 30.00 | 15.00 | 2.00 | 30.0 | 0 | 0 | DIFFER |",
	})
}

func TestSmallTable(t *testing.T) {
	var out strings.Builder
	err := printSmall(&out, []smallResult{{Way: "rename", Partitions: 100, Costs: []cost{{Wall: time.Second, CPU: 2 * time.Second}}, Calls: 315}})
	if err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{"| publish | partitions | wall s | CPU s | calls of the namenode |", "|---|---|---|---|---|", "| rename | 100 | 1.00 | 2.00 | 315 |"})
}

// What a command says is found in its report and its log; the last place counts, which is the total.
func TestSaid(t *testing.T) {
	s := said(`{"bytes": {"read": 3}, "total": {"read": 12}} msg="connections closed" calls=315 bytes_read=77`)
	if read, calls, none := s.number(`"read": *(\d+)`), s.number(`calls=(\d+)`), s.number(`more=(\d+)`); read != 12 || calls != 315 || none != 0 {
		t.Errorf("found %d, %d, %d", read, calls, none)
	}
}
