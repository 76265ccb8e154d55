package partition

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// reads is a storage that notes what is listed, opened and described.
type reads struct {
	storage.FS
	mu  sync.Mutex
	log []string
}

func (r *reads) note(what, name string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.log = append(r.log, what+" "+name)
}

func (r *reads) Open(ctx context.Context, name string) (storage.File, error) {
	r.note("open", name)
	return r.FS.Open(ctx, name)
}

func (r *reads) Stat(ctx context.Context, name string) (storage.Info, error) {
	r.note("stat", name)
	return r.FS.Stat(ctx, name)
}

func (r *reads) List(ctx context.Context, dir string) ([]storage.Info, error) {
	r.note("list", dir)
	return r.FS.List(ctx, dir)
}

// TestManyPartitions counts what a run asks of the storage where the table has many partitions: those that the
// source does not name are neither listed nor opened, and what is asked does not grow with them.
func TestManyPartitions(t *testing.T) {
	operations := map[int]int{}
	for _, n := range []int{20, 2000} {
		b := newBench(t)
		b.create("1,ann,2026-11-20")
		one := onlyParquet(t, b.path("orders/dt=2026-11-20"))
		for i := range n {
			dir := b.path(fmt.Sprintf("orders/dt=%04d-%02d-%02d", 2000+i/300, 1+i/25%12, 1+i%25))
			if err := os.Mkdir(dir, 0o755); err != nil {
				t.Fatal(err)
			}
			if err := os.Link(one, filepath.Join(dir, filepath.Base(one))); err != nil {
				t.Fatal(err)
			}
		}
		day := b.write("day.csv", "id,name,dt", "1,anna,2000-01-02", "2,bob,2026-11-20", "3,cid,2026-11-21")
		for _, dry := range []bool{true, false} {
			fsys := &reads{FS: local.FS{}}
			b.cfg.FS = fsys
			run := b.open().Upsert
			if dry {
				run = b.open().Plan
			}
			fsys.log = nil
			rep, err := run(context.Background(), Source{From: []string{day}}, Options{Key: []string{"id"}})
			if err != nil || rep.Total.Rows.Inserted != 2 || rep.Total.Rows.Updated != 1 {
				t.Fatalf("%v, %+v", err, rep.Total.Rows)
			}
			if dry {
				operations[n] = len(fsys.log)
			}
			for _, line := range fsys.log {
				// The first partition is looked into, to see that the declaration is right.
				if strings.Contains(line, "/dt=20") && !strings.Contains(line, "dt=2000-01-01") && !strings.Contains(line, "dt=2000-01-02") && !strings.Contains(line, "dt=2026-11-2") {
					t.Errorf("of %d partitions, one that no row is of: %s", n, line)
				}
			}
		}
	}
	if operations[20] != operations[2000] {
		t.Errorf("a plan takes %d operations beside 20 partitions, %d beside 2000", operations[20], operations[2000])
	}
}

// TestUntouchedPartitions: where partition columns are declared, what is wrong in a partition is found when a row
// goes there; where they are not, always.
func TestUntouchedPartitions(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	for i, name := range []string{"sub/x", "_temporary/x", "delta_0000001_0000001_0000/bucket_00000", "link -> ../dt=2026-11-20"} {
		b.with(name, func(bad string) {
			before := b.snapshot()
			_, err := b.try(Options{}, b.write("bad.csv", "id,name,dt", "3,cid,2026-11-21"))
			if err == nil || b.snapshot() != before || !strings.Contains(err.Error(), bad) {
				t.Errorf("%s: %v", name, err)
			}
			b.upsert(Options{}, b.write("day.csv", "id,name,dt", fmt.Sprintf("1,ann%d,2026-11-20", i)))
		})
	}
	if _, err := b.open().SetConfig(context.Background(), map[string]string{"partition-by": ""}); err != nil {
		t.Fatal(err)
	}
	b.with("sub/x", func(string) {
		if _, err := b.try(Options{}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")); KindOf(err) != KindLayout {
			t.Errorf("not declared: %v", err)
		}
	})
}

// with puts something into the partition of the 21st, while do is at work.
func (b *bench) with(name string, do func(bad string)) {
	b.t.Helper()
	tree(b.t, b.path("orders/dt=2026-11-21"), name)
	bad := strings.FieldsFunc(name, func(r rune) bool { return r == '/' || r == ' ' })[0]
	do(bad)
	if err := os.RemoveAll(b.path("orders/dt=2026-11-21/" + bad)); err != nil {
		b.t.Fatal(err)
	}
}

// TestManyFiles: a source of 10,000 files is read like one.
func TestManyFiles(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	const n = 10_000
	if err := os.Mkdir(b.path("in"), 0o755); err != nil {
		t.Fatal(err)
	}
	for i := range n {
		text := fmt.Sprintf("id,name,dt\n%d,name %d,2026-11-20\n", i, i)
		if err := os.WriteFile(b.path(fmt.Sprintf("in/%05d.csv", i)), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	rep := b.upsert(Options{}, b.path("in"))
	if r := rep.Total.Rows; r.Source != n || r.Inserted != n-1 || r.Updated != 1 {
		t.Errorf("counted %+v", r)
	}
	rep = b.upsert(Options{}, b.path("in/*.csv"))
	if statuses(rep) != "dt=2026-11-20 noop" {
		t.Error(statuses(rep))
	}
}

// A remote storage has more partitions merged at once than there are processors: they wait for servers most of the time.
func TestPartitionsAtOnce(t *testing.T) {
	m := mem.New()
	table := &Table{fsys: m}
	if got := table.atOnce(); got != runtime.GOMAXPROCS(0) {
		t.Errorf("%d at once, want as many as processors, %d", got, runtime.GOMAXPROCS(0))
	}
	c := m.Capabilities()
	c.Remote = true
	m.SetCapabilities(c)
	if got := table.atOnce(); got < remoteAtOnce || got < runtime.GOMAXPROCS(0) {
		t.Errorf("%d at once on a remote storage, want %d at least", got, remoteAtOnce)
	}
}

// remoteDisk is the local disk, said to be far away.
type remoteDisk struct{ local.FS }

func (d remoteDisk) Capabilities() storage.Capabilities {
	c := d.FS.Capabilities()
	c.Remote = true
	return c
}

// TestHistoryInReports: a report has the earlier versions of the run's partitions, since a run must not look at all the others.
func TestHistoryInReports(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	b.upsert(Options{}, b.write("both.csv", "id,name,dt", "1,anna,2026-11-20", "2,bobby,2026-11-21"))
	rep := b.upsert(Options{}, b.write("one.csv", "id,name,dt", "1,anne,2026-11-20"))
	if rep.History == nil || rep.History.Versions != 2 {
		t.Errorf("%+v, want 2 earlier versions", rep.History)
	}
}

// TestLongHistory: what an upsert does with the storage does not grow with the runs before it, in this partition and in others, once
// their versions are vacuumed; with those that are kept it reads what its report tells of them.
func TestLongHistory(t *testing.T) {
	for _, remote := range []bool{false, true} {
		b := newBench(t)
		b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
		counted := faultfs.Wrap(local.FS{})
		if remote {
			counted = faultfs.Wrap(remoteDisk{})
		}
		n := 0
		upsert := func() (operations int, rep *Report) {
			n++
			b.cfg.FS = counted
			defer func() { b.cfg.FS = nil }()
			before := counted.Count()
			rep = b.upsert(Options{}, b.write("one.csv", "id,name,dt", fmt.Sprintf("1,ann %d,2026-11-20", n)))
			return counted.Count() - before, rep
		}
		vacuumed := func() (operations int) {
			if _, err := b.open().Vacuum(t.Context(), VacuumOptions{Keep: time.Nanosecond}); err != nil {
				t.Fatal(err)
			}
			operations, rep := upsert()
			if rep.History == nil || rep.History.Versions != 1 {
				t.Errorf("after vacuum: %+v, want one earlier version", rep.History)
			}
			return operations
		}
		upsert()
		first := vacuumed()
		kept, _ := upsert()
		for range 20 {
			b.upsert(Options{}, b.write("other.csv", "id,name,dt", fmt.Sprintf("2,bob %d,2026-11-21", n)))
			upsert()
		}
		after, rep := upsert()
		if rep.History.Versions != 23 {
			t.Errorf("%d earlier versions are told, want 23", rep.History.Versions)
		}
		if most := kept + 9*21; after > most { // a claim, its record and its folder
			t.Errorf("remote %t: %d operations with 21 versions more than when there were %d", remote, after, kept)
		}
		if now := vacuumed(); now > first+8 { // claims that are read beside each other on a remote storage
			t.Errorf("remote %t: %d operations after many runs, %d after the first", remote, now, first)
		}
	}
}

// TestManyHistories: what an upsert does with the storage does not grow with the partitions that it does not touch, nor with their histories.
// With keep-history it looks for old folders of theirs.
func TestManyHistories(t *testing.T) {
	operations := func(partitions int, keep string) int {
		b := newBench(t)
		rows := func(name string) (out []string) {
			for i := range partitions {
				out = append(out, fmt.Sprintf("%d,%s,2026-%02d-%02d", i, name, 1+i/28, 1+i%28))
			}
			return out
		}
		b.create(rows("ann")...)
		b.upsert(Options{}, b.write("more.csv", append([]string{"id,name,dt"}, rows("cid")...)...))
		if _, err := b.open().SetConfig(t.Context(), map[string]string{"keep-history": keep}); err != nil {
			t.Fatal(err)
		}
		counted := faultfs.Wrap(local.FS{})
		b.cfg.FS = counted
		b.upsert(Options{}, b.write("one.csv", "id,name,dt", "1,bob,2026-01-02"))
		return counted.Count()
	}
	for keep, each := range map[string]int{"": 0, "24h": 1} {
		few, many := operations(3, keep), operations(60, keep)
		if most := few + each*57; many > most {
			t.Errorf("keep-history %q: %d operations in a table of 60 partitions, %d in one of 3", keep, many, few)
		}
	}
}

// TestNameTaken: of two runs that took the same name before either had begun, the second one takes another, whatever became of the first.
func TestNameTaken(t *testing.T) {
	if kind := KindOf(fmt.Errorf("%w, and goes on: %w", swap.ErrNameTaken, storage.ErrLocked)); kind != KindConflict {
		t.Errorf("of what can't take another name the kind is %s", kind)
	}
	for _, first := range []Options{{}, {StageOnly: true}} {
		b := newBench(t)
		b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
		now := time.Now()
		b.cfg.Now = func() time.Time { return now }
		same := func(p []byte) { clear(p) }
		open := func(observer func(Event)) *Table {
			b.cfg.Observer = observer
			defer func() { b.cfg.Observer = nil }()
			table := b.open()
			table.random = same
			return table
		}
		from := []string{b.write("one.csv", "id,name,dt", "1,anna,2026-11-20"), b.write("two.csv", "id,name,dt", "2,bobby,2026-11-21")}
		second := make(chan error, 1)
		var rep *Report
		var once sync.Once
		a := open(func(e Event) {
			if e.Step != StepWrite { // it has begun
				return
			}
			once.Do(func() {
				named := make(chan struct{})
				var told sync.Once
				other := open(func(Event) { told.Do(func() { close(named) }) })
				go func() {
					var err error
					rep, err = other.Upsert(context.Background(), Source{From: from[1:]}, Options{Key: []string{"id"}})
					second <- err
				}()
				<-named
				<-time.After(200 * time.Millisecond) // until it waits for the name's lock
			})
		})
		first.Key = []string{"id"}
		ra, err := a.Upsert(t.Context(), Source{From: from[:1]}, first)
		if err != nil {
			t.Fatal(err)
		}
		if err := <-second; err != nil || rep.Run != ra.Run || rep.Total.Rows.Updated != 1 {
			t.Fatalf("the second run: %v, %+v", err, rep)
		}
		if _, err := b.open().Recover(t.Context()); err != nil {
			t.Error(err)
		}
		if first.StageOnly {
			b.publish(ra.Run)
		}
		b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-21: id=2 name=bobby")
		b.clean()
	}
}
