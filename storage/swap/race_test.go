package swap_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// interleave runs a once for each of its operations: up to that one, then all of b, then the rest of a.
// Under the race detector it takes a sample.
func interleave(begin func() *mem.FS, a, b func(m storage.FS) error, check func(m *mem.FS, at int, aerr, berr error)) (points int) {
	return interleaveEvery(sparse, begin, a, b, check)
}

// interleaveEvery is interleave at every so many operations: mutants are wrong at few of them.
func interleaveEvery(step int, begin func() *mem.FS, a, b func(m storage.FS) error, check func(m *mem.FS, at int, aerr, berr error)) (points int) {
	for at := 0; ; at += step {
		m := begin()
		f := faultfs.Wrap(m)
		ran := false
		var berr error
		f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
			ran = true
			berr = b(m)
		}})
		aerr := a(f)
		if !ran {
			return at
		}
		check(m, at, aerr, berr)
	}
}

// TestTwoRecoverers: two processes recover what one run left, wherever it was killed.
func TestTwoRecoverers(t *testing.T) {
	for _, sc := range scenarios()[:3] {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				old, new := sc.outcomes(t, way)
				points := 0
				for killed := d.IntN(16); ; killed += d.skip(15) {
					left := sc.begin(t, way)
					err := sc.run(dying(left, killed), way)
					points += interleave(func() *mem.FS { return left.Crash(mem.Killed, 0) }, recoverOn, recoverOn,
						func(m *mem.FS, at int, aerr, berr error) {
							what := fmt.Sprintf("%s by %s, killed at operation %d, the second recovers at operation %d of the first", sc.name, way, killed, at)
							if aerr != nil || berr != nil {
								t.Fatalf("%s: %v, %v", what, aerr, berr)
							}
							got := readTable(t, m).String()
							if left := staged(t, m, open(t, m, way)); left != "" {
								t.Fatalf("%s: left in staging: %s", what, left)
							}
							if got != old && got != new {
								t.Fatalf("%s: the table is\n%s", what, got)
							}
							if wrong := settle(t, m.Crash(mem.OnlySynced, 0), got, got); wrong != "" {
								t.Fatalf("%s, power cut: %s", what, wrong)
							}
						})
					if err == nil {
						t.Logf("%d points", points)
						return
					}
				}
			})
		}
	}
}

// TestRunMeetsRecoverer: a run on a partition does not build on what another process is just finishing.
func TestRunMeetsRecoverer(t *testing.T) {
	for _, sc := range scenarios()[:2] {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				outcomes := withNext(t, sc, way, nextRun(way))
				for killed := d.IntN(24); ; killed += d.skip(23) {
					left := sc.begin(t, way)
					err := sc.run(dying(left, killed), way)
					interleave(func() *mem.FS { return left.Crash(mem.Killed, 0) }, recoverOn, nextRun(way),
						func(m *mem.FS, at int, aerr, berr error) {
							what := fmt.Sprintf("%s by %s, killed at operation %d, a run at operation %d of recover", sc.name, way, killed, at)
							// A conflict: it is just dropping a void claim.
							if aerr != nil || berr != nil && !errors.Is(berr, swap.ErrLocked) && !errors.Is(berr, swap.ErrConflict) {
								t.Fatalf("%s: %v, %v", what, aerr, berr)
							}
							got := readTable(t, m).String()
							want := outcomes[1:]
							if at := slices.Index(outcomes, got); at < 0 || (at%2 == 1) != (berr == nil) {
								t.Fatalf("%s (%v): the table is\n%s\nnone of\n%s", what, berr, got, want)
							}
							if wrong := settle(t, m.Crash(mem.OnlySynced, 0), got, got); wrong != "" {
								t.Fatalf("%s, power cut: %s", what, wrong)
							}
						})
					if err == nil {
						return
					}
				}
			})
		}
	}
}

// unleased is change by a caller who takes no leases: they only save work that would be lost.
func unleased(m storage.FS, way swap.Way, run string, parts ...string) error {
	return changeWith(m, way, run, false, parts)
}

// TestTwoWriters: two processes publish to one partition, or to two of one table. None of their results is
// lost or mixed with another, and neighbours do not get in each other's way.
func TestTwoWriters(t *testing.T) {
	type writer func(m storage.FS, way swap.Way, run string, parts ...string) error
	for _, c := range []struct {
		name       string
		a, b       writer
		partsA     []string
		partsB     []string
		neighbours bool
	}{
		{"one partition", change, change, []string{"dt=1"}, []string{"dt=1"}, false},
		{"neighbours", change, change, []string{"dt=1"}, []string{"dt=2"}, true},
		{"a new neighbour", change, change, []string{"dt=1"}, []string{"dt=9"}, true},
		{"overlapping", change, change, []string{"dt=1", "dt=2"}, []string{"dt=2", "dt=3"}, false},
		{"the same new partition", change, change, []string{"dt=9"}, []string{"dt=9"}, false},
		{"no leases", unleased, unleased, []string{"dt=1", "dt=2"}, []string{"dt=2", "dt=3"}, false},
		{"one without leases", change, unleased, []string{"dt=1"}, []string{"dt=1"}, false},
		{"no leases on a new partition", unleased, unleased, []string{"dt=9"}, []string{"dt=9"}, false},
	} {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", c.name, way), func(t *testing.T) {
				t.Parallel()
				begin := func() *mem.FS {
					m := made(t, way, threeDays)
					return m
				}
				a := func(m storage.FS) error { return c.a(m, way, "a", c.partsA...) }
				b := func(m storage.FS) error { return c.b(m, way, "b", c.partsB...) }
				outcome := func(runs ...func(storage.FS) error) string {
					m := begin()
					for _, run := range runs {
						must(t, run(m))
					}
					return readTable(t, m).String()
				}
				onlyA, onlyB, ab, ba := outcome(a), outcome(b), outcome(a, b), outcome(b, a)
				refused := func(err error) bool { return errors.Is(err, swap.ErrLocked) || errors.Is(err, swap.ErrConflict) }
				both := 0
				points := interleave(begin, a, b, func(m *mem.FS, at int, aerr, berr error) {
					what := fmt.Sprintf("b at operation %d of a (a: %v, b: %v)", at, aerr, berr)
					var want []string
					switch {
					case aerr == nil && berr == nil:
						want = []string{ab, ba}
						both++
					case c.neighbours:
						t.Fatalf("%s: neighbours disturb each other", what)
					case aerr == nil && refused(berr):
						want = []string{onlyA}
					case berr == nil && refused(aerr):
						want = []string{onlyB}
					default:
						t.Fatal(what)
					}
					got := readTable(t, m).String()
					if !slices.Contains(want, got) {
						t.Fatalf("%s: the table is\n%s\nnot\n%v", what, got, want)
					}
					if left := staged(t, m, open(t, m, way)); left != "" {
						t.Fatalf("%s: left in staging: %s", what, left)
					}
					if wrong := settle(t, m.Crash(mem.OnlySynced, 0), got, got); wrong != "" {
						t.Fatalf("%s, power cut: %s", what, wrong)
					}
				})
				t.Logf("%d points, at %d of them both came through", points, both)
			})
		}
	}
}

// TestLivingAreLeftAlone: whoever recovers, looks or vacuums while a run goes on does it no harm, and sees
// no error.
func TestLivingAreLeftAlone(t *testing.T) {
	for name, other := range map[string]func(s *swap.Store) error{
		"recover": func(s *swap.Store) error {
			done, err := s.Recover(bg, nil)
			if len(done.Finished)+len(done.Undone) > 0 {
				err = errors.Join(err, fmt.Errorf("a live run was recovered: %+v", done))
			}
			return err
		},
		"history": func(s *swap.Store) error {
			_, err := s.History(bg, "dt=1")
			_, _, serr := s.HistorySize(bg)
			return errors.Join(err, serr)
		},
		"vacuum": func(s *swap.Store) error {
			_, err := s.Vacuum(bg, 0, false)
			if errors.Is(err, swap.ErrLocked) {
				err = nil
			}
			return err
		},
	} {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", name, way), func(t *testing.T) {
				t.Parallel()
				begin := func() *mem.FS {
					m := made(t, way, threeDays)
					must(t, change(m, way, "r0", "dt=1", "dt=2"))
					return m
				}
				for _, failing := range []bool{false, true} {
					run := func(m storage.FS) error { return change(m, way, "r1", "dt=1", "dt=2") }
					if failing { // the run is undone while the other one looks
						run = func(m storage.FS) error { return abandon(m, way, "r1", "dt=1", "dt=2") }
					}
					m := begin()
					must(t, run(m))
					want := readTable(t, m).String()
					interleave(begin, run, func(m storage.FS) error { return other(open(t, m, way)) },
						func(m *mem.FS, at int, aerr, berr error) {
							what := fmt.Sprintf("at operation %d", at)
							if aerr != nil || berr != nil {
								t.Fatalf("%s: %v, %v", what, aerr, berr)
							}
							if got := readTable(t, m).String(); got != want {
								t.Fatalf("%s: the table is %s", what, got)
							}
							if wrong := settle(t, m.Crash(mem.OnlySynced, 0), want, want); wrong != "" {
								t.Fatalf("%s, power cut: %s", what, wrong)
							}
						})
				}
			})
		}
	}
}

// abandon is a run that is refused in its last partition, when it has claims already.
func abandon(m storage.FS, way swap.Way, run string, parts ...string) error {
	refusing := faultfs.Wrap(m)
	refusing.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: path.Join("claims", parts[len(parts)-1]), Once: true, Err: errRefused})
	err := change(refusing, way, run, parts...)
	if errors.Is(err, errRefused) {
		return nil
	}
	return fmt.Errorf("refused, and went on: %w", err)
}

var errRefused = errors.New("refused")

// TestStageInParallel: the partitions of a run are staged by several goroutines.
func TestStageInParallel(t *testing.T) {
	m := made(t, swap.Auto, threeDays)
	r, err := open(t, m, swap.Auto).Begin(bg, "r1", "upsert", true)
	must(t, err)
	const n = 16
	dirs := make(chan *stage.Dir, n)
	for range n {
		go func() {
			d, err := r.Stage(bg, "dt=1")
			if err != nil {
				t.Error(err)
			}
			dirs <- d
		}()
	}
	seen := map[string]bool{}
	for range n {
		if d := <-dirs; d != nil {
			seen[d.Data()] = true
		}
	}
	if len(seen) != n {
		t.Errorf("%d folders for %d partitions", len(seen), n)
	}
	must(t, r.Abort(bg))
	if _, err := m.Stat(bg, path.Join("/warehouse/.hupsert/orders/staging/r1")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("left: %v", err)
	}
}

// TestWritersOnADisk lets several publish to one partition at once, with the locks of a real system and
// others who recover and look: each result that was reported is there.
func TestWritersOnADisk(t *testing.T) {
	const writers, runs = 4, 4
	m := local.FS{}
	root := path.Join(t.TempDir(), "orders")
	part := path.Join(root, "dt=1")
	must(t, errors.Join(m.Mkdir(bg, root, 0o755), m.Mkdir(bg, part, 0o755), writeFile(m, path.Join(part, "a"), "1a")))
	writing, stop := context.WithCancel(bg)
	var writer, other sync.WaitGroup
	for w := range writers {
		writer.Go(func() {
			for i := range runs {
				if err := add(m, root, fmt.Sprintf("w%d-%d", w, i)); err != nil {
					t.Error(err)
				}
			}
		})
	}
	for range 2 {
		other.Go(func() {
			s, err := swap.Open(bg, m, root, swap.Options{})
			for err == nil && writing.Err() == nil {
				var done swap.Recovered
				done, err = s.Recover(bg, nil)
				if len(done.Finished)+len(done.Undone) > 0 {
					t.Errorf("a live run was recovered: %+v", done)
				}
				if err == nil {
					_, err = s.History(bg, "dt=1")
				}
			}
			if err != nil {
				t.Error(err)
			}
		})
	}
	writer.Wait()
	stop()
	other.Wait()
	list, err := m.List(bg, part)
	must(t, err)
	if len(list) != 1+writers*runs {
		t.Errorf("%d files of %d", len(list), 1+writers*runs)
	}
	for _, dir := range []string{"staging", "locks/runs"} {
		left, err := m.List(bg, path.Join(path.Dir(root), ".hupsert/orders", dir))
		left = slices.DeleteFunc(left, func(i storage.Info) bool { return i.Name == ".locks" }) // the disk's own
		if err != nil || len(left) > 0 {
			t.Errorf("left in %s: %v, %v", dir, left, err)
		}
	}
}

// add publishes one more file beside those that are there.
func add(m storage.FS, root, run string) (err error) {
	s, err := swap.Open(bg, m, root, swap.Options{LockWait: time.Minute})
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "append", true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Abort(bg)) }()
	if err := r.Lease(bg, []string{"dt=1"}); err != nil {
		return err
	}
	if _, err := s.Recover(bg, []string{"dt=1"}); err != nil {
		return err
	}
	in, err := s.Inputs(bg, "dt=1")
	if err != nil {
		return err
	}
	d, err := r.Stage(bg, "dt=1")
	if err != nil {
		return err
	}
	for _, f := range in.Files {
		if _, err := d.Keep(bg, path.Join(root, "dt=1", f.Name), f.Name); err != nil {
			return err
		}
	}
	if err := writeFile(m, path.Join(d.Data(), "part-"+run), run); err != nil {
		return err
	}
	sealed, err := d.Seal(bg, stage.Manifest{Run: run, Partition: "dt=1"})
	if err != nil {
		return err
	}
	_, err = r.Publish(bg, []swap.Publication{{Partition: "dt=1", Inputs: in, Dir: d, Manifest: sealed}})
	return err
}

// TestMutantsWithoutLocks: without locks, and without telling machines apart, a run that lives is taken for dead,
// and what TestLivingAreLeftAlone looks for is found out; so are two that work at once on one partition.
func TestMutantsWithoutLocks(t *testing.T) {
	sawDead, sawBoth := 0, 0
	for at := 0; ; at++ {
		m := made(t, swap.Auto, threeDays)
		f := faultfs.Wrap(on(m))
		ran := false
		f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
			ran = true
			s, err := swap.Open(bg, on(m), table, swap.Options{Clock: clock})
			must(t, err)
			done, err := s.Recover(bg, nil)
			if err != nil || len(done.Finished)+len(done.Undone) > 0 {
				sawDead++
			}
			_, err = m.Stat(bg, "/warehouse/.hupsert/orders/locks/dt=1.lock.json")
			held := err == nil
			if r, err := s.Begin(bg, "b", "upsert", true); err == nil {
				if r.Lease(bg, []string{"dt=1"}) == nil && held {
					sawBoth++
				}
				must(t, r.Abort(bg))
			}
		}})
		_ = change(f, swap.Exchange, "a", "dt=1") // it may well fail
		if !ran {
			break
		}
	}
	if sawDead == 0 || sawBoth == 0 {
		t.Errorf("the harness does not notice: taken for dead %d times, leased twice %d times", sawDead, sawBoth)
	}
	t.Logf("taken for dead %d times, leased twice %d times", sawDead, sawBoth)
}
