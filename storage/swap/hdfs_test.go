package swap_test

import (
	"errors"
	"flag"
	"fmt"
	"path"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/swap"
)

var onHDFS = flag.Duration("hdfs", 15*time.Second, "how long runs are killed on a real HDFS")

func TestMain(m *testing.M) { servicetest.Main(m) }

// cluster is the real HDFS that tests share, as one process after the other sees it.
type cluster struct {
	*servicetest.Services
	t testing.TB
}

// process opens the cluster as a new process does, with locks that are quick.
func (c cluster) process() *hdfs.FS {
	c.t.Helper()
	address, _, err := hdfs.Resolve(c.HDFS, hadoop.Conf{})
	must(c.t, err)
	f, err := hdfs.Open(hdfs.Options{Address: address, Pulse: 50 * time.Millisecond, Silence: 400 * time.Millisecond, Credentials: hadoop.Credentials{User: "root"}})
	must(c.t, err)
	c.t.Cleanup(func() { _ = f.Close() }) // most are closed by then
	return f
}

// clear takes away what a scenario left.
func (c cluster) clear() {
	c.t.Helper()
	for _, dir := range []string{table, path.Join(path.Dir(table), ".hupsert")} {
		c.Do(c.t, "rm "+dir)
	}
}

// begin makes the table of a scenario as it is before the run.
func (c cluster) begin(sc scenario) {
	c.t.Helper()
	c.clear()
	f := c.process()
	makeTable(c.t, f, sc.content)
	if sc.before != nil {
		must(c.t, sc.before(f, swap.Rename))
	}
	must(c.t, f.Close())
}

// TestKilledOnHDFS kills runs at operations of theirs on a real HDFS, and its heir finds the old or the new table, takes the
// locks of the dead over, and leaves nothing open.
func TestKilledOnHDFS(t *testing.T) {
	c := cluster{servicetest.Shared(t), t}
	d := roll(t)
	list := []scenario{named("one partition"), named("three partitions"), named("a second run"), named("rollback"), named("publish what is staged")}
	kills := 0
	operations := map[string]int{}
	for end := time.Now().Add(*onHDFS); time.Now().Before(end) || kills < len(list); {
		sc := list[kills%len(list)]
		old, new := sc.outcomes(t, swap.Rename)
		c.begin(sc)
		f := c.process()
		if operations[sc.name] == 0 { // once to its end
			counted := dying(f, 1<<30)
			must(t, sc.run(counted, swap.Rename))
			operations[sc.name] = counted.Count()
			if got := readTable(t, f).String(); got != new {
				t.Fatalf("%s: the table is\n%s\nand not\n%s", sc.name, got, new)
			}
			must(t, f.Close())
			c.begin(sc)
			f = c.process()
		}
		at := d.IntN(operations[sc.name])
		err := sc.run(dying(f, at), swap.Rename)
		must(t, f.Close())
		kills++
		if wrong := c.settle(old, new); wrong != "" {
			t.Fatalf("%s, killed at operation %d of %d (%v): %s", sc.name, at, operations[sc.name], err, wrong)
		}
	}
	t.Logf("%d kills", kills)
}

// settle recovers as another process, and says what is wrong, "" if nothing is.
func (c cluster) settle(old, new string) string {
	c.t.Helper()
	f := c.process()
	defer f.Close()
	s, err := swap.Open(bg, f, table, options(f, swap.Auto))
	if err == nil {
		_, err = s.Recover(bg, nil)
	}
	if err != nil {
		return fmt.Sprintf("recover: %v", err)
	}
	if got := readTable(c.t, f).String(); got != old && got != new {
		return fmt.Sprintf("the table is\n%s\nneither\n%s\nnor\n%s", got, old, new)
	}
	for _, dir := range []string{"staging", "locks/runs", "trash"} {
		if left := names(c.t, f, path.Join(s.StateDir(), dir)); left != "" {
			return fmt.Sprintf("left in %s: %s", dir, left)
		}
	}
	if open := c.Do(c.t, "leases "+path.Dir(table)); open != "" {
		// Of the dead: its lease ends with its time. None may be of files that count.
		for _, file := range strings.Split(open, "\t") {
			if !strings.Contains(file, "/locks/") {
				return "open still: " + open
			}
		}
	}
	return ""
}

// TestServicesKilledOnHDFS kills namenode and datanode in the midst of runs, starts them again on their data, and recovers.
func TestServicesKilledOnHDFS(t *testing.T) {
	c := cluster{servicetest.Start(t, servicetest.Options{}), t}
	d := roll(t)
	sc := named("three partitions")
	old, new := sc.outcomes(t, swap.Rename)
	rounds := 1 // each starts HDFS anew
	if *every {
		rounds = 10
	}
	for range rounds {
		c.begin(sc)
		f := c.process()
		counted := dying(f, 1<<30)
		must(t, sc.run(counted, swap.Rename))
		must(t, f.Close())
		c.begin(sc)
		f = c.process()
		at := d.IntN(counted.Count())
		dead := dying(f, 1<<30)
		killed := false
		dead.Inject(killRule(at, func() {
			if !killed {
				killed = true
				c.Kill(t)
				c.Restart(t)
			}
		}))
		err := sc.run(dead, swap.Rename)
		if !killed || err != nil && errors.Is(err, errPower) {
			t.Fatalf("operation %d: killed %t, %v", at, killed, err)
		}
		must(t, f.Close())
		if wrong := c.settle(old, new); wrong != "" {
			t.Fatalf("killed at operation %d (the run: %v): %s", at, err, wrong)
		}
		t.Logf("killed at operation %d: %v", at, err)
	}
}

// killRule calls what kills before an operation.
func killRule(at int, kill func()) *faultfs.Rule {
	return &faultfs.Rule{From: at, Once: true, Before: kill}
}

// TestBlocksAreCarriedOver: files that are copied into a new version keep their replication and block size, and those that are
// written have those of the partition's largest file; a new partition has the file system's.
func TestBlocksAreCarriedOver(t *testing.T) {
	c := cluster{servicetest.Shared(t), t}
	f := c.process()
	root := path.Join(c.Folder(t), "orders")
	part := path.Join(root, "dt=1")
	must(t, f.Mkdir(bg, root, 0o755))
	must(t, f.Mkdir(bg, part, 0o755))
	small, large := storage.Blocks{Replication: 3, Size: 1 << 20}, storage.Blocks{Replication: 2, Size: 2 << 20}
	write := func(name, text string, b storage.Blocks) {
		w, err := f.Create(storage.WithBlocks(bg, b), path.Join(part, name), 0o644)
		must(t, err)
		_, err = w.Write([]byte(text))
		must(t, err)
		must(t, w.Close())
	}
	write("a", "larger", large)
	write("b", "small", small)
	s, err := swap.Open(bg, f, root, swap.Options{})
	must(t, err)
	r, err := s.Begin(bg, "r1", "upsert", true)
	must(t, err)
	for _, partition := range []string{"dt=1", "dt=2"} {
		d, err := r.Stage(bg, partition)
		must(t, err)
		w, err := d.Create(bg, "new")
		must(t, err)
		must(t, w.Close())
		want := map[string]storage.Blocks{"new": large, "a": large, "b": small}
		if partition == "dt=2" {
			must(t, writeFile(f, path.Join(root, "plain"), ""))
			plain, err := f.Stat(bg, path.Join(root, "plain"))
			must(t, err)
			want = map[string]storage.Blocks{"new": plain.Blocks}
			must(t, f.Remove(bg, path.Join(root, "plain")))
		}
		for name, want := range want {
			if name != "new" {
				_, err := d.Keep(bg, path.Join(part, name), name)
				must(t, err)
			}
			if i, err := f.Stat(bg, path.Join(d.Data(), name)); err != nil || i.Blocks != want {
				t.Errorf("%s of %s: %+v, %v; want %+v", name, partition, i.Blocks, err, want)
			}
		}
	}
	must(t, r.Close())
}
