package disktest

import (
	"context"
	"fmt"
	"io/fs"
	"iter"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
)

var (
	ways    = []string{"exchange", "rename"}
	flushes = []flush{logFlush, noFlush}
)

// TestPowerCuts cuts the power of real file systems while tables on them are changed: afterwards a table holds the rows
// from before the run or those from after it, in all partitions alike, and of a run that reported success the latter.
func TestPowerCuts(t *testing.T) {
	w := newWorld(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			t.Parallel() // most of the time is the kernel's
			d := newDisk(t, k)
			if *every || *point != "" {
				cutEverywhere(t, w, d)
				return
			}
			cutAtRandom(t, w, d, *budget)
		})
	}
}

// cutEverywhere takes every change that a scenario makes, every other one with another device number afterwards; with
// -point only that one.
func cutEverywhere(t *testing.T, w *world, d *disk) {
	points, bad := 0, 0
	try := func(c cutting) bool {
		if name := c.name(d.kind); *point != "" && name != *point && !strings.HasPrefix(name, *point+"/") {
			return false
		}
		points++
		r := w.try(t, d, c, nil)
		bad += blame(t, d, c, r)
		return r.after
	}
	for c := range cuttings(w) {
		for at := range 10_000 {
			c.at, c.renumber = at, at%2 == 1
			if try(c) {
				break
			}
		}
		for _, c.renumber = range []bool{false, true} {
			c.at = atEnd
			try(c)
		}
	}
	t.Logf("power cuts: every operation, %s, %d points, %d bad", d.kind.name, points, bad)
}

// cuttings are all scenarios, in every way and with every flush.
func cuttings(w *world) iter.Seq[cutting] {
	return func(yield func(cutting) bool) {
		for _, sc := range w.scenarios() {
			for _, way := range ways {
				for _, f := range flushes {
					if !yield(cutting{sc: sc, way: way, flush: f}) {
						return
					}
				}
			}
		}
	}
}

// cutAtRandom takes operations at random, and the end of each scenario, until the time is over.
func cutAtRandom(t *testing.T, w *world, d *disk, most time.Duration) {
	r, seed := roll()
	until := time.Now().Add(most)
	all := slices.Collect(cuttings(w))
	counts := map[string]int{} // operations, of scenarios that were run to their end
	points, bad := 0, 0
	for points == 0 || time.Now().Before(until) && bad < 10 {
		c := pick(r, all)
		c.at, c.renumber = atEnd, r.IntN(2) == 0
		if n := counts[c.sc.name+c.way]; n > 0 {
			c.at = r.IntN(n)
		}
		points++
		res := w.try(t, d, c, nil)
		bad += blame(t, d, c, res)
		if c.at == atEnd {
			counts[c.sc.name+c.way] = res.count
		}
	}
	t.Logf("power cuts: seed %d, %s, %d points, %d bad", seed, d.kind.name, points, bad)
}

func pick[T any](r *rand.Rand, list []T) T { return list[r.IntN(len(list))] }

func blame(t *testing.T, d *disk, c cutting, r result) int {
	t.Helper()
	if r.wrong == "" {
		return 0
	}
	t.Errorf("repeat with -point '%s': %s", c.name(d.kind), r.wrong)
	return 1
}

// mutants leave out what makes a run safe, or do it wrongly. Each must be noticed: by a power cut before an operation
// where one is named, else by one right after the run.
//
// What a journaling file system makes durable by any fsync (a name in another folder) is no mutant here: storage/swap
// has those, on models of a disk that promise less.
var mutants = []struct {
	name   string
	mutant mutant
	before faultfs.Rule
}{
	{"no fsync of files", skipping(faultfs.Rule{Op: faultfs.Sync}), faultfs.Rule{}},
	{"no fsync of staged files", skipping(faultfs.Rule{Op: faultfs.Sync, Path: "data/*.parquet"}), faultfs.Rule{}},
	{"no fsync of folders", skipping(faultfs.Rule{Op: faultfs.SyncDir}), faultfs.Rule{}},
	{"no fsync", skipping(faultfs.Rule{Op: faultfs.Sync}, faultfs.Rule{Op: faultfs.SyncDir}), faultfs.Rule{}},
	{"no run record", skipping(faultfs.Rule{Op: faultfs.Rename, Path: "runs/*.json"}), faultfs.Rule{Op: faultfs.Exchange, Path: "orders/dt=2"}},
	{"names that a file had", func(f storage.FS) storage.FS { return reusing{f} }, faultfs.Rule{}},
}

func skipping(rules ...faultfs.Rule) mutant {
	return func(f storage.FS) storage.FS {
		lazy := faultfs.Wrap(f)
		for _, r := range rules {
			r.Skip = true
			lazy.Inject(&r)
		}
		return lazy
	}
}

// reusing gives new files the name of an old one.
type reusing struct{ storage.FS }

func (reusing) rename(name string) string {
	if strings.HasPrefix(path.Base(name), "part-00000-") && strings.Contains(name, "/staging/") {
		return path.Join(path.Dir(name), "a.parquet")
	}
	return name
}

func (r reusing) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	return r.FS.Create(ctx, r.rename(name), mode)
}

func (r reusing) Open(ctx context.Context, name string) (storage.File, error) {
	return r.FS.Open(ctx, r.rename(name))
}

func (r reusing) Stat(ctx context.Context, name string) (storage.Info, error) {
	return r.FS.Stat(ctx, r.rename(name))
}

// TestMutants holds the power cuts themselves to account: on every file system they find each mutant.
func TestMutants(t *testing.T) {
	w := newWorld(t)
	for _, k := range kinds {
		t.Run(k.name, func(t *testing.T) {
			d := newDisk(t, k)
			for _, m := range mutants {
				c := cutting{sc: w.scenarios()[0], way: "exchange", at: atEnd, before: m.before}
				found := ""
				for _, c.flush = range flushes {
					if wrong := w.try(t, d, c, m.mutant).wrong; wrong != "" {
						line, _, _ := strings.Cut(wrong, "\n")
						found = fmt.Sprintf("%s: %s", c.flush, line)
					}
				}
				if found == "" {
					t.Errorf("%s: the power cuts do not notice", m.name)
				}
				t.Logf("mutant: %s, %s, noticed with %s", k.name, m.name, found)
			}
		})
	}
}
