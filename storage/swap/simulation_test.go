package swap_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"path"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

var simulate = flag.Duration("simulate", 15*time.Second, "how long writers that die and readers are simulated; a seventh of that with -short")

// shelf is a metastore that lives on when those who use it die.
type shelf struct {
	mu sync.Mutex
	at map[string]swap.Registered
}

// served is a metastore as a process sees that may die before a change and after it.
type served struct {
	*shelf
	alive storage.FS
}

func (s served) URL() string { return "hive://localhost/db.orders" }

func (s served) Look(_ context.Context, partitions []string) (map[string]swap.Registered, error) {
	if _, err := s.alive.Stat(bg, "/"); err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	out := maps.Clone(s.at)
	if partitions != nil {
		clear(out)
		for _, p := range partitions {
			if at, ok := s.at[p]; ok {
				out[p] = at
			}
		}
	}
	return out, nil
}

func (s served) Point(_ context.Context, list []swap.Pointer) error {
	if _, err := s.alive.Stat(bg, "/"); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range list {
		if at := s.at[p.Partition].Folder; at != p.Was && at != p.Folder {
			return swap.ErrConflict
		}
	}
	for _, p := range list {
		s.at[p.Partition] = swap.Registered{Folder: p.Folder}
	}
	_, err := s.alive.Stat(bg, "/")
	return err
}

func (s served) Hold(context.Context, []string, string) (func() error, error) {
	return nil, errors.ErrUnsupported
}

// count reads the number that a folder holds, in the one file that a version has.
func count(m storage.FS, dir string) (int, error) {
	list, err := m.List(bg, dir)
	if err != nil {
		return 0, err
	}
	if len(list) != 1 {
		return 0, fmt.Errorf("%s holds %v", dir, list)
	}
	data, err := stage.ReadFile(bg, m, path.Join(dir, list[0].Name))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(data))
}

// countUp is a run that adds one to the number in both partitions.
func countUp(m storage.FS, on *shelf, run string) (err error) {
	s, err := swap.Open(bg, m, table, swap.Options{Clock: clock, Registry: served{on, m}, LockWait: time.Second})
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "upsert", true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Abort(bg)) }()
	parts := days[:2]
	if err := r.Lease(bg, parts); err != nil {
		return err
	}
	if _, err := s.Recover(bg, parts); err != nil {
		return err
	}
	inputs, err := s.InputsOf(bg, parts)
	if err != nil {
		return err
	}
	var list []swap.Publication
	for _, p := range parts {
		n, err := count(m, inputs[p].Folder)
		if err != nil {
			return err
		}
		d, err := r.Stage(bg, p)
		if err != nil {
			return err
		}
		w, err := d.Create(bg, "part-"+run)
		if err != nil {
			return err
		}
		if _, err := w.Write([]byte(strconv.Itoa(n + 1))); err != nil {
			return err
		}
		sealed, err := d.Seal(bg, stage.Manifest{Run: run, Partition: p, Rows: 1})
		if err != nil {
			return err
		}
		list = append(list, swap.Publication{Partition: p, Inputs: inputs[p], Dir: d, Manifest: sealed})
	}
	_, err = r.Publish(bg, list)
	return err
}

// TestWritersThatDie: three writers that die at any operation, of the storage or of the metastore, and readers. No
// update is lost, of two partitions a reader sees one state and never an older one than before, and the metastore
// ends at the version committed last.
func TestWritersThatDie(t *testing.T) {
	t.Parallel()
	m := mem.New()
	makeTable(t, m, partitions{"dt=1": {"a": "0"}, "dt=2": {"a": "0"}})
	on := &shelf{at: map[string]swap.Registered{}}
	for _, p := range days[:2] {
		on.at[p] = swap.Registered{Folder: path.Join(table, p)}
	}
	var reported, died, lost, reads atomic.Int64
	budget := *simulate
	if testing.Short() {
		budget /= 7
	}
	until := time.Now().Add(budget)
	var writers, readers sync.WaitGroup
	for w := range 3 {
		d := roll(t)
		writers.Go(func() {
			for i := 0; time.Now().Before(until); i++ {
				var mine storage.FS = m
				if d.IntN(4) > 0 {
					f := faultfs.Wrap(m)
					// Histories grow, so that reads are no measure of how far it has come.
					f.Inject(&faultfs.Rule{Changes: true, Nth: 1 + d.IntN(100), Once: true, Before: func() { f.After(d.IntN(8), errPower) }})
					mine = f
				}
				err := countUp(mine, on, fmt.Sprintf("w%d-%d", w, i))
				switch {
				case err == nil:
					reported.Add(1)
				case errors.Is(err, errPower):
					died.Add(1)
				case errors.Is(err, swap.ErrLocked), errors.Is(err, swap.ErrConflict):
					lost.Add(1)
				default:
					t.Error(err)
					return
				}
			}
		})
	}
	stop := make(chan struct{})
	for range 2 {
		readers.Go(func() {
			for seen := int64(0); ; reads.Add(1) {
				select {
				case <-stop:
					return
				case <-time.After(time.Millisecond):
				}
				done := reported.Load()
				at, err := served{on, m}.Look(bg, days[:2])
				one, oerr := count(m, at["dt=1"].Folder)
				two, terr := count(m, at["dt=2"].Folder)
				if err = errors.Join(err, oerr, terr); err != nil {
					t.Errorf("a reader finds %v", err)
					return
				}
				if one != two || int64(one) < seen || int64(one) < done {
					t.Errorf("a reader sees %d and %d, after it saw %d and %d were done", one, two, seen, done)
					return
				}
				seen = int64(one)
			}
		})
	}
	writers.Wait()
	close(stop)
	readers.Wait()
	s, err := swap.Open(bg, m, table, swap.Options{Clock: clock, Registry: served{on, m}})
	must(t, err)
	_, err = s.Recover(bg, nil)
	must(t, err)
	records, err := m.List(bg, state+"/runs/done")
	must(t, err)
	for _, p := range days[:2] {
		n, err := count(m, on.at[p].Folder)
		must(t, err)
		versions, err := s.History(bg, p)
		must(t, err)
		last := versions[len(versions)-1]
		if n != len(records) || int64(n) < reported.Load() || last.Number != int64(n) || last.Path != on.at[p].Folder {
			t.Errorf("%s counts %d of %d committed and %d reported; the metastore has %s, the last version is %d at %s", p, n, len(records), reported.Load(), on.at[p].Folder, last.Number, last.Path)
		}
	}
	t.Logf("%d commits, %d of them reported; %d deaths, %d lost races, %d reads", len(records), reported.Load(), died.Load(), lost.Load(), reads.Load())
	if len(records) == int(reported.Load()) || died.Load() == 0 {
		t.Error("nobody died after a commit")
	}
}
