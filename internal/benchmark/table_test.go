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
	lines := strings.Split(out.String(), "\n")
	for i, w := range want {
		if got := strings.Join(strings.Fields(lines[i]), " "); got != w {
			t.Errorf("line %d: %q, want %q", i, got, w)
		}
	}
}
