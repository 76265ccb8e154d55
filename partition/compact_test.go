package partition

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
)

// piecemeal is a table of two days: the first is in many files whose keys lie between each other's, the second in one.
func piecemeal(t *testing.T, files int, o Options) (*bench, []string) {
	t.Helper()
	b := newBench(t)
	b.create("1,ann,2026-11-20", "1,bob,2026-11-21")
	o.TargetFileBytes = 1
	for i := range files - 1 {
		late := (i*7)%files + 2
		b.upsert(o, b.write("day.csv", "id,name,dt", fmt.Sprintf("%d,n%d,2026-11-20", late, late), fmt.Sprintf("%d,m%d,2026-11-20", 100+late, late)))
	}
	if _, err := b.open().SetConfig(t.Context(), map[string]string{"key": "id"}); err != nil {
		t.Fatal(err)
	}
	return b, b.rows()
}

func (b *bench) compact(o CompactOptions) *Report {
	b.t.Helper()
	rep, err := b.open().Compact(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

func TestCompact(t *testing.T) {
	b, rows := piecemeal(t, 23, Options{})
	before := b.snapshot()
	plan := b.compact(CompactOptions{DryRun: true})
	if got := statuses(plan); got != "dt=2026-11-20 planned, dt=2026-11-21 noop" || b.snapshot() != before {
		t.Fatalf("the plan is %s", got)
	}
	rep := b.compact(CompactOptions{})
	if got := statuses(rep); got != "dt=2026-11-20 published, dt=2026-11-21 noop" || rep.Mode != Compact {
		t.Fatalf("%s by %s", got, rep.Mode)
	}
	p := rep.Partitions[0]
	if c := p.Compaction; c.Before.Files != 23 || c.After.Files != 1 || c.After.RowGroups != 1 || !c.Sorted || p.Files.After != 1 ||
		plan.Partitions[0].Compaction.After.Files != 1 {
		t.Errorf("%+v", c)
	}
	if why := strings.Join(p.Compaction.Why, ", "); !strings.Contains(why, "23 small files") || !strings.Contains(why, "rows out of key order") {
		t.Errorf("because of %q", why)
	}
	if p.Rows.Kept != 45 || p.Rows.Out != 45 || p.Bytes.Rewritten == 0 {
		t.Errorf("%+v, %+v", p.Rows, p.Bytes)
	}
	b.want(rows...)
	lines, err := readParquet(onlyParquet(t, b.path("orders/dt=2026-11-20")))
	if err != nil || !strings.HasPrefix(lines[1], "id=2 ") || !strings.HasPrefix(lines[2], "id=3 ") {
		t.Errorf("the rows are %v, not in order (%v)", lines, err)
	}
	b.clean()
	if again := statuses(b.compact(CompactOptions{})); again != "dt=2026-11-20 noop, dt=2026-11-21 noop" {
		t.Errorf("again: %s", again)
	}
	if _, err := b.open().Rollback(t.Context(), RollbackOptions{Run: rep.Run}); err != nil {
		t.Fatal(err)
	}
	if b.snapshot() == before {
		t.Error("files of a version that comes back are as old as they were, in a folder of its own")
	}
	b.want(rows...)
	if n := len(dataFilesOf(t, b.path("orders/dt=2026-11-20"))); n != 23 {
		t.Errorf("%d files came back", n)
	}
}

// An upsert says when a compaction is due, and --due goes by it.
func TestCompactionDue(t *testing.T) {
	b, _ := piecemeal(t, 19, Options{})
	if got := statuses(b.compact(CompactOptions{Due: true})); got != "dt=2026-11-20 noop, dt=2026-11-21 noop" {
		t.Errorf("19 files: %s", got)
	}
	rep := b.upsert(Options{TargetFileBytes: 1}, b.write("day.csv", "id,name,dt", "1000,n,2026-11-20", "9,m,2026-11-21"))
	if d := rep.Partitions[0].CompactionDue; d != "20 files of less than 16 MiB" {
		t.Errorf("due is %q", d)
	}
	if d := rep.Partitions[1].CompactionDue; d != "" {
		t.Errorf("of two files due is %q", d)
	}
	if got := statuses(b.compact(CompactOptions{Due: true})); got != "dt=2026-11-20 published, dt=2026-11-21 noop" {
		t.Errorf("20 files: %s", got)
	}
	if got := statuses(b.compact(CompactOptions{Partitions: []string{"dt=2026-11-21"}})); got != "dt=2026-11-21 published" {
		t.Errorf("two files that nobody calls due: %s", got)
	}
}

// Somebody adds rows between the reading and the publish.
func TestCompactConflict(t *testing.T) {
	b, rows := piecemeal(t, 3, Options{})
	touched := false
	b.cfg.Observer = func(e Event) {
		if e.Step == StepPublish && !touched {
			touched = true
			copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-21")), b.path("orders/dt=2026-11-20/more.parquet"))
		}
	}
	rep, err := b.open().Compact(t.Context(), CompactOptions{})
	if !errors.Is(err, ErrConflict) || statuses(rep) != "dt=2026-11-20 conflict, dt=2026-11-21 noop" {
		t.Fatalf("%v, %s", err, statuses(rep))
	}
	b.clean()
	if err := os.Remove(b.path("orders/dt=2026-11-20/more.parquet")); err != nil {
		t.Fatal(err)
	}
	b.want(rows...)
	touched = false
	rep = b.compact(CompactOptions{Retry: 1})
	if rep.Partitions[0].Rows.Out != int64(len(rows)) { // of both days, less that one's row, and the row that came
		t.Errorf("%d rows after a new start", rep.Partitions[0].Rows.Out)
	}
}

// Rows that are not those of the old files are refused, whatever --verify says.
func TestCompactRefused(t *testing.T) {
	b := newBench(t)
	o := Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, name string", Compression: "none", RowGroupRows: 2}
	b.upsert(o, b.write("a.csv", "id,name", "1,ann", "2,bob", "3,cid", "4,dan"))
	b.upsert(Options{TargetFileBytes: 1, Compression: "none"}, b.write("b.csv", "id,name", "5,eve"))
	lies := &liar{}
	b.cfg.FS = lies
	before := b.snapshot()
	rep, err := b.open().Compact(t.Context(), CompactOptions{RowGroupRows: 2})
	if !errors.Is(err, ErrVerify) || KindOf(err) != KindVerify || b.snapshot() != before || rep.Partitions[0].Status != Failed {
		t.Fatalf("%v, %s", err, statuses(rep))
	}
	b.clean()
	lies.right = true
	rep = b.compact(CompactOptions{RowGroupRows: 2, Verify: VerifyFull})
	if c := rep.Partitions[0]; c.Bytes.Copied == 0 || c.Compaction.After.Files != 1 {
		t.Errorf("%+v", c)
	}
	b.want(".: id=1 name=ann", ".: id=2 name=bob", ".: id=3 name=cid", ".: id=4 name=dan", ".: id=5 name=eve")
}

// A staged compaction is published later, or refused where the partition has changed.
func TestCompactStaged(t *testing.T) {
	b, rows := piecemeal(t, 4, Options{})
	rep := b.compact(CompactOptions{StageOnly: true})
	if statuses(rep) != "dt=2026-11-20 staged, dt=2026-11-21 noop" {
		t.Fatal(statuses(rep))
	}
	done, err := b.open().Publish(t.Context(), rep.Run)
	if err != nil || done.Mode != Compact || done.Partitions[0].Compaction == nil || done.Partitions[0].Status != Published {
		t.Fatalf("%v, %+v", err, done)
	}
	b.want(rows...)
	onlyParquet(t, b.path("orders/dt=2026-11-20"))
}

// Files in other columns or types are joined among themselves only.
func TestCompactDrift(t *testing.T) {
	b, _ := piecemeal(t, 3, Options{})
	other := newBench(t)
	other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "name string, id int", Key: []string{"id"}}, other.write("first.csv", "id,name", "100,zed"))
	copyFile(t, onlyParquet(t, other.root()), b.path("orders/dt=2026-11-20/zed.parquet"))
	rows := b.rows()
	rep := b.compact(CompactOptions{})
	if n := len(dataFilesOf(t, b.path("orders/dt=2026-11-20"))); n != 2 || len(rep.Warnings) != 1 ||
		!strings.Contains(rep.Warnings[0], "zed.parquet is left as it is: its columns are not stored as those of part-00000-") {
		t.Errorf("%d files, %q", n, rep.Warnings)
	}
	b.want(rows...)
	if again := statuses(b.compact(CompactOptions{})); again != "dt=2026-11-20 noop, dt=2026-11-21 noop" {
		t.Errorf("again: %s", again)
	}
}

// A table of a metastore is compacted by a version of its own.
func TestHiveCompact(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "dt date")
	for i := range 4 {
		w.merge(Options{TargetFileBytes: 1}, "id,name,dt", fmt.Sprintf("%d,n,2026-11-20", 9-i))
	}
	rep, err := w.opened().Compact(t.Context(), CompactOptions{Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	if statuses(rep) != "dt=2026-11-20 published" || rep.Publish != "location" {
		t.Fatalf("%s by %s", statuses(rep), rep.Publish)
	}
	w.wants("dt=2026-11-20: id=6 name=n", "dt=2026-11-20: id=7 name=n", "dt=2026-11-20: id=8 name=n", "dt=2026-11-20: id=9 name=n")
	w.clean()
}
