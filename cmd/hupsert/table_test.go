package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition"
)

func TestGrid(t *testing.T) {
	g := newGrid("<partition", "<status", "rows", "stale")
	g.row("dt=2026-11-20", "published", "1,234", "0")
	g.row("größer", "noop", "7", "0")
	g.dropEmpty(2)
	var b strings.Builder
	g.write(&b)
	want := "" +
		"partition      status      rows\n" +
		"dt=2026-11-20  published  1,234\n" +
		"größer         noop           7\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestGridBreaksBetweenColumns(t *testing.T) {
	wide := strings.Repeat("x", 30)
	g := newGrid("<p", wide+"1", wide+"2", wide+"3")
	g.row("a", "1", "2", "3")
	var b strings.Builder
	g.write(&b)
	for _, line := range strings.Split(b.String(), "\n") {
		if len(line) > lineWidth {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got := strings.Count(b.String(), "\na "); got != 2 {
		t.Errorf("the first column stands %d times, want 2:\n%s", got, b.String())
	}
}

func TestQuoteIsReadBackByAShell(t *testing.T) {
	for _, arg := range []string{"plain/path=1,2", "two words", "it's", "$HOME", "*", "", "a\nb", "ü", "~"} {
		got, err := exec.Command("sh", "-c", "printf %s "+partition.ShellQuote(arg)).Output()
		if err != nil || string(got) != arg {
			t.Errorf("%q came back as %q (%v)", arg, got, err)
		}
	}
}

// TestStatusColumn: the status is left out only where the headline has it.
func TestStatusColumn(t *testing.T) {
	for _, c := range []struct {
		statuses []partition.Status
		want     bool
	}{
		{[]partition.Status{partition.Published, partition.Published}, false},
		{[]partition.Status{partition.Noop}, false},
		{[]partition.Status{partition.Staged, partition.Staged}, false},
		{[]partition.Status{partition.Published, partition.Noop}, true},
		{[]partition.Status{partition.Failed}, true},
		{[]partition.Status{partition.Failed, partition.Failed}, true},
		{[]partition.Status{partition.Skipped, partition.Skipped}, true},
		{[]partition.Status{partition.Published, partition.Published, partition.Failed}, true}, // which is not listed
	} {
		r := &partition.Report{}
		for _, s := range c.statuses {
			r.Partitions = append(r.Partitions, partition.PartitionReport{Partition: "dt=1", Status: s})
		}
		g := rowsGrid(r.Partitions[:min(2, len(r.Partitions))], r)
		if got := slices.Contains(g.head, "status"); got != c.want {
			t.Errorf("%v: a column is %v, want %v", c.statuses, got, c.want)
		}
	}
}
