package backfill_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/backfill"
)

// table makes a table of partitions n=1 to n=last with sources in/N.csv, and gives its folder.
func table(t *testing.T, last int) string {
	t.Helper()
	dir := t.TempDir()
	must(t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
	for n := 1; n <= last; n++ {
		write(t, dir, n, fmt.Sprintf("id,name\n%d,new\n", n))
	}
	return dir
}

func write(t *testing.T, dir string, n int, text string) {
	t.Helper()
	must(t, os.WriteFile(filepath.Join(dir, "in", fmt.Sprintf("%d.csv", n)), []byte(text), 0o644))
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func options(dir string) backfill.Options {
	return backfill.Options{Source: partition.Source{From: []string{filepath.Join(dir, "in/{n}.csv")}}, Ranges: []string{"n=1..9"},
		Upsert: partition.Options{Key: []string{"id"}, Create: true, PartitionBy: []string{"n:int"}, Schema: "id bigint, name string"}}
}

func open(t *testing.T, dir string, c partition.Config) *partition.Table {
	t.Helper()
	tab, err := partition.Open(t.Context(), filepath.Join(dir, "t"), c)
	must(t, err)
	t.Cleanup(func() { must(t, tab.Close()) })
	return tab
}

func prepare(t *testing.T, tab *partition.Table, o backfill.Options) *backfill.Plan {
	t.Helper()
	p, err := backfill.Prepare(t.Context(), tab, o)
	must(t, err)
	return p
}

func states(p *backfill.Plan) string {
	var out []string
	for _, item := range p.Items {
		out = append(out, string(item.State))
	}
	return strings.Join(out, " ")
}

// TestGroups: partitions are published in groups, each a run; the first, which makes the table, is one by itself.
func TestGroups(t *testing.T) {
	dir := table(t, 9)
	o := options(dir)
	o.Together = 3
	report, err := prepare(t, open(t, dir, partition.Config{}), o).Run(t.Context(), nil)
	must(t, err)
	runs := map[string]int{}
	for _, p := range report.Partitions {
		if p.Status != partition.Published || !strings.HasPrefix(p.Run, report.Run+"-") {
			t.Errorf("%s is %s by %s, of %s", p.Partition, p.Status, p.Run, report.Run)
		}
		runs[p.Run]++
	}
	if want := map[string]int{report.Run + "-00001": 1, report.Run + "-00002": 3, report.Run + "-00003": 3, report.Run + "-00004": 2}; fmt.Sprint(runs) != fmt.Sprint(want) {
		t.Errorf("runs %v, want %v", runs, want)
	}
}

// TestInterrupted: what was published when a backfill is interrupted is done, the rest is not begun, and the same goes on from there.
func TestInterrupted(t *testing.T) {
	dir := table(t, 9)
	o := options(dir)
	o.Together = 2
	ctx, cancel := context.WithCancel(t.Context())
	published := 0
	tab := open(t, dir, partition.Config{Observer: func(e partition.Event) {
		if e.Step == partition.StepPublish {
			if published++; published == 3 {
				cancel()
			}
		}
	}})
	report, err := prepare(t, tab, o).Run(ctx, nil)
	if !errors.Is(err, context.Canceled) {
		t.Fatalf("%v", err)
	}
	n := report.Total.Statuses
	if n[partition.Published] < 3 || n[partition.Published] > 5 || n[partition.Published]+n[partition.Skipped]+n[partition.Failed]+n[partition.Undone] != 9 {
		t.Fatalf("%v", n)
	}
	p := prepare(t, open(t, dir, partition.Config{}), o)
	if done := strings.Count(states(p), "done"); done != n[partition.Published] {
		t.Fatalf("%d are done, want the %d that were published: %s", done, n[partition.Published], states(p))
	}
	report, err = p.Run(t.Context(), nil)
	must(t, err)
	if report.Total.Statuses[partition.Published]+n[partition.Published] != 9 {
		t.Fatalf("%v", report.Total.Statuses)
	}
}

// TestConflictIsOnePartitions: where somebody else writes into one partition of a group meanwhile, that one fails, or is merged anew
// with Retry, and the others of its group are published.
func TestConflictIsOnePartitions(t *testing.T) {
	const many = 14 // that are claimed and switched side by side
	for _, retry := range []int{0, 1} {
		dir := table(t, many)
		o := options(dir)
		o.Ranges = []string{fmt.Sprintf("n=1..%d", many)}
		_, err := prepare(t, open(t, dir, partition.Config{}), o).Run(t.Context(), nil)
		must(t, err)
		for n := 1; n <= many; n++ {
			write(t, dir, n, fmt.Sprintf("id,name\n%d,newer\n", n))
		}
		stray := filepath.Join(dir, "t", "n=4")
		old, err := filepath.Glob(filepath.Join(stray, "*.parquet"))
		must(t, err)
		data, err := os.ReadFile(old[0])
		must(t, err)
		written := false
		o.Upsert.Retry, o.Upsert.OldDuplicates = retry, "update-all"
		tab := open(t, dir, partition.Config{Observer: func(e partition.Event) {
			if e.Step == partition.StepPublish && !written {
				written = true
				must(t, os.WriteFile(filepath.Join(stray, "stray.parquet"), data, 0o644))
			}
		}})
		report, err := prepare(t, tab, o).Run(t.Context(), nil)
		n := report.Total.Statuses
		if retry == 1 && (err != nil || n[partition.Published] != many) {
			t.Errorf("with a new start: %v, %v", n, err)
		}
		if retry == 0 && (!errors.Is(err, partition.ErrConflict) || n[partition.Published] != many-1 || report.Partitions[3].Status != partition.Conflict) {
			t.Errorf("%v, %v, n=4 is %s", n, err, report.Partitions[3].Status)
		}
	}
}

// TestRejectsOfNewStarts: a partition that is merged anew after a conflict has its rejects once.
func TestRejectsOfNewStarts(t *testing.T) {
	dir := table(t, 3)
	o := options(dir)
	o.Ranges = []string{"n=1..3"}
	_, err := prepare(t, open(t, dir, partition.Config{}), o).Run(t.Context(), nil)
	must(t, err)
	for n := 1; n <= 3; n++ {
		write(t, dir, n, fmt.Sprintf("id,name\n%d,newer\nx,bad\n", n))
	}
	o.Upsert.Retry, o.Upsert.Rejects = 2, filepath.Join(dir, "rejects-{n}")
	touched := false
	tab := open(t, dir, partition.Config{Observer: func(e partition.Event) {
		if e.Step == partition.StepPublish && !touched {
			touched = true
			names, err := filepath.Glob(filepath.Join(dir, "t", "n=2", "*.parquet"))
			must(t, err)
			must(t, os.Chtimes(names[0], time.Unix(1, 0), time.Unix(1, 0)))
		}
	}})
	report, err := prepare(t, tab, o).Run(t.Context(), nil)
	if err != nil || report.Total.Statuses[partition.Published] != 3 || !touched {
		t.Fatalf("%v, %v", report.Total.Statuses, err)
	}
	for n := 1; n <= 3; n++ {
		text, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("rejects-%d", n)))
		must(t, err)
		if strings.Count(string(text), "\n") != 1 {
			t.Errorf("n=%d has the rejects %s", n, text)
		}
	}
	if left, _ := filepath.Glob(filepath.Join(dir, "rejects-*.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// TestMarks: what is done is told by templates, files and options; nothing else makes a difference.
func TestMarks(t *testing.T) {
	dir := table(t, 3)
	o := options(dir)
	o.Ranges = []string{"n=1..3"}
	run := func(o backfill.Options) {
		t.Helper()
		_, err := prepare(t, open(t, dir, partition.Config{}), o).Run(t.Context(), nil)
		must(t, err)
	}
	run(o)
	is := func(what, want string, o backfill.Options) {
		t.Helper()
		if got := states(prepare(t, open(t, dir, partition.Config{}), o)); got != want {
			t.Errorf("%s: %s, want %s", what, got, want)
		}
	}
	is("the same", "done done done", o)
	how := o
	how.Upsert.Parallel, how.Upsert.Memory, how.Upsert.Verify, how.Together, how.Upsert.Retry = 1, 64<<20, partition.VerifyFull, 1, 3
	is("how it is done", "done done done", how)
	mode := o
	mode.Upsert.Mode = partition.Update
	is("another mode", "merge merge merge", mode)
	other := o
	other.Source.From = []string{filepath.Join(dir, "in/{n}.cs?")}
	is("another template", "merge merge merge", other)
	run(other)
	is("after another template's", "done done done", o)
	must(t, os.Chtimes(filepath.Join(dir, "in/2.csv"), time.Unix(1, 0), time.Unix(1, 0)))
	is("another time", "done merge done", o)
	must(t, os.Remove(filepath.Join(dir, "in/3.csv")))
	is("no file any more", "done merge missing", o)
}

// TestFailuresAreRemembered: the history of a table's failed runs has a backfill that failed, with the partitions that it left, and
// not with those that another one had done.
func TestFailuresAreRemembered(t *testing.T) {
	dir := table(t, 3)
	write(t, dir, 3, "id,name\nx,new\n")
	tab := open(t, dir, partition.Config{})
	o := options(dir)
	o.Ranges = []string{"n=1..2"}
	first := prepare(t, tab, o)
	o.Ranges = []string{"n=1..3"}
	second := prepare(t, tab, o)
	_, err := first.Run(t.Context(), nil)
	must(t, err)
	rep, err := second.Run(t.Context(), nil)
	if partition.KindOf(err) != partition.KindValue || rep.Total.Statuses[partition.Done] != 2 {
		t.Fatalf("got %v, %v", rep.Total.Statuses, err)
	}
	list, err := tab.Failures(t.Context())
	must(t, err)
	if len(list) != 1 || list[0].Run != rep.Run || list[0].Command != "backfill" {
		t.Fatalf("got %+v", list)
	}
	left := list[0].Partitions
	if len(left) != 1 || left[0].Partition != "n=3" || left[0].Status != partition.Failed || left[0].Error.Kind != partition.KindValue {
		t.Errorf("got %+v", left)
	}
}
