//go:build unix

package main

import (
	"strings"
	"testing"
	"time"
)

func TestTable(t *testing.T) {
	seconds := func(walls ...int) (costs []cost) {
		for _, w := range walls {
			costs = append(costs, cost{Wall: time.Duration(w) * time.Second, CPU: time.Second, Peak: 5 << 20})
		}
		return costs
	}
	var out strings.Builder
	err := printTable(&out, []result{{
		Case:  "last-1",
		Tools: []string{"hupsert", "duckdb", "cp"},
		Costs: [][]cost{seconds(9, 2, 1), seconds(8, 8, 8), seconds(1, 1, 1)},
		Rows:  []string{"10 rows, hash 1", "10 rows, hash 2", ""},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []string{
		"case tool wall s x hupsert x cp CPU s peak MB rows",
		"last-1 hupsert 2.00 1.00 2.00 1.00 5 DIFFER",
		"last-1 duckdb 8.00 4.00 8.00 1.00 5 reference",
		"last-1 cp 1.00 0.50 1.00 1.00 5",
	}
	lines(t, out.String(), want)
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
	costs := func(walls ...int) (list []cost) {
		for _, w := range walls {
			list = append(list, cost{Wall: time.Duration(w) * time.Second, CPU: time.Second, Peak: 5 << 20})
		}
		return list
	}
	var out strings.Builder
	err := printHDFS(&out, []hdfsResult{
		{Case: "last-1", Tool: "copy", Costs: costs(2, 9, 1)},
		{Case: "last-1", Tool: "rename", Costs: costs(3), Wire: 7 << 20, Probed: 2 << 20, Rows: "10 rows, hash 1"},
		{Case: "last-1", Tool: "spark", Costs: costs(30), Rows: "10 rows, hash 2"},
	})
	if err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{
		"case tool wall s x copy CPU s peak MB read MB probed MB rows",
		"last-1 copy 2.00 1.00 1.00 5 0 0",
		"last-1 rename 3.00 1.50 1.00 5 7 2 equal",
		"last-1 spark 30.00 15.00 1.00 5 0 0 DIFFER",
	})
}

func TestSmallTable(t *testing.T) {
	var out strings.Builder
	err := printSmall(&out, []smallResult{{Way: "rename", Partitions: 100, Costs: []cost{{Wall: time.Second, CPU: 2 * time.Second}}, Calls: 315}})
	if err != nil {
		t.Fatal(err)
	}
	lines(t, out.String(), []string{"publish partitions wall s CPU s calls of the namenode", "rename 100 1.00 2.00 315"})
}

// What a command says is found in its report and its log; the last place counts, which is the total.
func TestSaid(t *testing.T) {
	s := said(`{"bytes": {"read": 3}, "total": {"read": 12}} msg="connections closed" calls=315 bytes_read=77`)
	if read, calls, none := s.number(`"read": *(\d+)`), s.number(`calls=(\d+)`), s.number(`more=(\d+)`); read != 12 || calls != 315 || none != 0 {
		t.Errorf("found %d, %d, %d", read, calls, none)
	}
}
