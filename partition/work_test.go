package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestHistoryKeepsWork: the history says what a run did, by class and by route, also of one that removed the partition; a rollback
// leaves no word.
func TestHistoryKeepsWork(t *testing.T) {
	b := newBench(t)
	b.create("1,a,2026-11-20", "2,b,2026-11-20")
	rep := b.upsert(Options{}, b.write("change.csv", "id,name,dt", "2,B,2026-11-20", "3,c,2026-11-20"))
	b.upsert(Options{Mode: Delete, DropEmpty: true}, b.write("delete.csv", "id,dt", "1,2026-11-20", "2,2026-11-20", "3,2026-11-20"))
	if _, err := b.open().Rollback(t.Context(), RollbackOptions{Partitions: []string{"dt=2026-11-20"}}); err != nil {
		t.Fatal(err)
	}
	list, err := b.open().History(t.Context(), "")
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, v := range list {
		got += fmt.Sprintf("%d ", v.Version)
		if v.Work != nil {
			got += fmt.Sprintf("%d/%d/%d ", v.Work.Rows.Inserted, v.Work.Rows.Updated, v.Work.Rows.Deleted)
		}
	}
	if got != "4 3 0/0/3 2 1/1/0 1 2/0/0 0 " {
		t.Errorf("versions and their rows: %s", got)
	}
	second := list[2].Work
	if second.Bytes != rep.Partitions[0].Bytes || second.Files != rep.Partitions[0].Files || second.Rows != rep.Partitions[0].Rows {
		t.Errorf("got %+v, reported was %+v", second, rep.Partitions[0])
	}
	if second.Elapsed <= 0 || second.Seconds.Publish != 0 {
		t.Errorf("got %+v", second)
	}
}

// TestFailedRunsAreRemembered: what failed, and why, partition by partition; not a plan, not a command line that makes no sense,
// not where there is no state; and an interrupted run is, too.
func TestFailedRunsAreRemembered(t *testing.T) {
	b := newBench(t)
	bad := b.write("bad.csv", "id,name,dt", "1,x,2026-11-21", "1,y,2026-11-21", "5,z,2026-11-20")
	if _, err := b.try(Options{}, bad); err == nil {
		t.Fatal("there is no table")
	}
	if _, err := os.Stat(filepath.Join(b.dir, ".hupsert")); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("a run that failed made a state: %v", err)
	}
	b.create("1,a,2026-11-20", "2,b,2026-11-21")
	if _, err := b.open().Plan(t.Context(), Source{From: []string{bad}}, Options{Key: []string{"id"}}); !errors.Is(err, ErrDuplicateKey) {
		t.Fatal(err)
	}
	if _, err := b.try(Options{Columns: []string{"nothing"}, ExceptColumns: []string{"name"}}, bad); KindOf(err) != KindUsage {
		t.Fatal(err)
	}
	failures := func() []FailedRun {
		t.Helper()
		list, err := b.open().Failures(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return list
	}
	if list := failures(); len(list) != 0 {
		t.Fatalf("got %+v", list)
	}
	rep, err := b.try(Options{}, bad)
	if !errors.Is(err, ErrDuplicateKey) {
		t.Fatal(err)
	}
	list := failures()
	if len(list) != 1 || list[0].Run != rep.Run || list[0].Command != "upsert" || list[0].Time.IsZero() || list[0].Elapsed <= 0 {
		t.Fatalf("got %+v", list)
	}
	got := ""
	for _, p := range list[0].Partitions {
		got += fmt.Sprintf("%s %s", p.Partition, p.Status)
		if p.Error != nil {
			got += fmt.Sprintf(" %s", p.Error.Kind)
		}
		got += "\n"
	}
	if got != "dt=2026-11-20 undone\ndt=2026-11-21 failed duplicate_key\n" && got != "dt=2026-11-20 skipped\ndt=2026-11-21 failed duplicate_key\n" {
		t.Errorf("got %s", got)
	}

	ctx, cancel := context.WithCancel(t.Context())
	table, err := Open(ctx, b.root(), Config{Observer: func(e Event) {
		if e.Step == StepMerge {
			cancel()
		}
	}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := table.Upsert(ctx, Source{From: []string{b.write("good.csv", "id,name,dt", "1,x,2026-11-21")}}, Options{Key: []string{"id"}}); !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	if list := failures(); len(list) != 2 || len(list[0].Partitions) != 1 || list[0].Partitions[0].Error.Kind != KindInterrupted {
		t.Errorf("got %+v", list)
	}
	b.clean()
}

// TestOverview: partitions that are there, that are gone, that nobody of ours touched, and that can't be read.
func TestOverview(t *testing.T) {
	b := newBench(t)
	b.create("1,a,2026-11-18", "2,b,2026-11-19", "3,c,2026-11-20")
	b.upsert(Options{Mode: Delete, DropEmpty: true}, b.write("delete.csv", "id,dt", "1,2026-11-18"))
	if err := os.WriteFile(b.path("orders/dt=2026-11-20/broken.parquet"), []byte("PAR1 no"), 0o644); err != nil {
		t.Fatal(err)
	}
	live, err := filepath.Glob(b.path("orders/dt=2026-11-19/*.parquet"))
	if err != nil || len(live) != 1 {
		t.Fatal(live, err)
	}
	data, err := os.ReadFile(live[0])
	if err != nil {
		t.Fatal(err)
	}
	b.write("orders/dt=2026-11-21/x")
	if err := errors.Join(os.Remove(b.path("orders/dt=2026-11-21/x")), os.WriteFile(b.path("orders/dt=2026-11-21/copy.parquet"), data, 0o644)); err != nil {
		t.Fatal(err)
	}
	o, err := b.open().Overview(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	got := ""
	for _, p := range o.Partitions {
		got += fmt.Sprintf("%s live=%v rows=%d files=%d versions=%d unread=%v\n", p.Partition, p.Live, p.Rows, p.Files, len(p.Versions), p.Unavailable != "")
	}
	want := `dt=2026-11-18 live=false rows=0 files=0 versions=3 unread=false
dt=2026-11-19 live=true rows=1 files=1 versions=2 unread=false
dt=2026-11-20 live=true rows=0 files=0 versions=2 unread=true
dt=2026-11-21 live=true rows=1 files=1 versions=0 unread=false
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
}
