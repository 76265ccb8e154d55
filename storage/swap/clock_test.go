package swap_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// changeAs is change by a process with its own options.
func changeAs(m storage.FS, o swap.Options, run string, parts ...string) error {
	s, err := swap.Open(bg, m, table, known(m, o))
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "upsert", parts[0] != "")
	if err != nil {
		return err
	}
	err = r.Lease(bg, parts)
	if err == nil {
		err = stageAndPublishAt(s, r, run, parts, o.Clock())
	}
	if err != nil {
		return errors.Join(err, r.Abort(bg))
	}
	return r.Close()
}

// jumping is a clock that jumps at each look, by hours and to and fro.
func jumping(d dice) func() time.Time {
	var mu sync.Mutex
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		return clock().Add(time.Duration(d.IntN(200_000)-100_000) * time.Hour)
	}
}

// TestClockThatJumps: runs, a rollback and what recovers them do not rest on the time of day: versions stay in the
// order of their numbers.
func TestClockThatJumps(t *testing.T) {
	for _, way := range allWays {
		d := roll(t)
		m := made(t, way, threeDays)
		o := swap.Options{Publish: way, Clock: jumping(d)}
		want := []string{"origin"}
		for i := range 20 {
			run := fmt.Sprintf("%02d-r%d", d.IntN(100), i) // names do not grow either
			must(t, changeAs(m, o, run, "dt=1", "dt=2"))
			want = append(want, run)
		}
		s, err := swap.Open(bg, m, table, known(m, o))
		must(t, err)
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: want[10]}}, false, "back", "rollback")
		must(t, err)
		if got := readTable(t, m)["dt=1"]["part-"+want[10]+".parquet"]; got != "rows of "+want[10] {
			t.Fatalf("rolled back to %s", readTable(t, m))
		}
		versions, err := s.History(bg, "dt=1")
		must(t, err)
		var got []string
		for i, v := range versions {
			got = append(got, v.Run)
			if v.Live != (i == len(versions)-1) || v.Number != int64(i) {
				t.Errorf("version %d of %d: %+v", i, len(versions), v)
			}
		}
		if want = append(want, "back"); !slices.Equal(got, want) {
			t.Errorf("the history is %v, not %v", got, want)
		}
	}
}

// TestClockJumpsUnderARun cuts the power at every operation of a run whose clock jumps: recover does with it what it
// does with others.
func TestClockJumpsUnderARun(t *testing.T) {
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			sc := scenarios()[1]
			old, new := sc.outcomes(t, way)
			sc.run = func(m storage.FS, way swap.Way) error {
				return changeAs(m, swap.Options{Publish: way, Clock: jumping(roll(t))}, "r1", days...)
			}
			points := crashAll(t, sc, way, nil, 1, func(m *mem.FS, what string) {
				if wrong := settle(t, m, old, new); wrong != "" {
					t.Fatalf("%s: %s", what, wrong)
				}
			})
			t.Logf("%d points", points)
		})
	}
}

// TestWaitIsNotByTheClock: who waits for a lock waits as long as was said, whatever the clock does meanwhile.
func TestWaitIsNotByTheClock(t *testing.T) {
	for name, step := range map[string]time.Duration{"back": -time.Hour, "stands still": 0, "forwards": 1000 * time.Hour} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			m := made(t, swap.Auto, threeDays)
			holder, err := open(t, m, swap.Auto).Begin(bg, "holder", "upsert", true)
			must(t, err)
			must(t, holder.Lease(bg, []string{"dt=1"}))
			now := clock()
			o := swap.Options{LockWait: 50 * time.Millisecond, Clock: func() time.Time { now = now.Add(step); return now }}
			ended := make(chan error, 1)
			go func() { ended <- changeAs(m, o, "waits", "dt=1") }()
			select {
			case err := <-ended:
				if !errors.Is(err, swap.ErrLocked) {
					t.Fatal(err)
				}
			case <-time.After(time.Minute):
				t.Fatal("it waits for ever")
			}
			// It gets it where the wait is long enough, though the clock says that it is over.
			o.LockWait = time.Hour
			go func() { ended <- changeAs(m, o, "waits-longer", "dt=1") }()
			select {
			case err := <-ended:
				t.Fatalf("it did not wait: %v", err)
			case <-time.After(50 * time.Millisecond):
			}
			must(t, holder.Abort(bg))
			must(t, <-ended)
		})
	}
}

// TestVacuumByAClockThatJumped: a version made while the clock was behind did not take the place of another one
// long ago, and one made while it was ahead keeps nothing but what it must.
func TestVacuumByAClockThatJumped(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name string
		at   []time.Duration // when v1, v2, ... were made, by the clock of then
		now  time.Duration
		gone []string
	}{
		{"right", []time.Duration{0, 10 * day, 11 * day}, 19 * day, []string{"origin", "r1", "r2"}},
		{"right, and one still young", []time.Duration{0, 10 * day, 11 * day}, 17*day + 1, []string{"origin", "r1"}},
		{"the second was made with a clock behind", []time.Duration{10 * day, -1000 * day, 11 * day}, 12 * day, nil},
		{"all but the first were", []time.Duration{10 * day, -1000 * day, -999 * day}, 12 * day, nil},
		{"the first was made with a clock ahead", []time.Duration{1000 * day, 1 * day, 2 * day}, 20 * day, []string{"r1", "r2"}},
		{"the clock is behind now", []time.Duration{0, 1 * day, 2 * day}, -1000 * day, nil},
	} {
		m := made(t, swap.Auto, threeDays)
		for i, at := range c.at {
			must(t, changeAs(m, swap.Options{Clock: func() time.Time { return clock().Add(at) }}, fmt.Sprintf("r%d", i+1), "dt=1"))
		}
		live := readTable(t, m).String()
		s, err := swap.Open(bg, m, table, swap.Options{Clock: func() time.Time { return clock().Add(c.now) }})
		must(t, err)
		removed, err := s.Vacuum(bg, 7*day, false)
		must(t, err)
		var gone []string
		for _, v := range removed {
			gone = append(gone, v.Run)
		}
		if !slices.Equal(gone, c.gone) {
			t.Errorf("%s: removed %v, not %v", c.name, gone, c.gone)
		}
		if got := readTable(t, m).String(); got != live {
			t.Errorf("%s: the live table became %s", c.name, got)
		}
	}
}

// machine is a file system as one of several machines has it that share it, and not the locks.
type machine struct {
	storage.FS
	mu    sync.Mutex
	locks map[string]bool
}

func on(m storage.FS) *machine { return &machine{FS: m, locks: map[string]bool{}} }

func (m *machine) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.locks[name] {
		return nil, fmt.Errorf("%s: %w", name, storage.ErrLocked)
	}
	// The file is there for others to see.
	if u, err := m.FS.Lock(ctx, name); err == nil {
		if err := u.Unlock(); err != nil {
			return nil, err
		}
	} else if !errors.Is(err, storage.ErrLocked) {
		return nil, err
	}
	m.locks[name] = true
	return unlocker(func() error {
		m.mu.Lock()
		defer m.mu.Unlock()
		delete(m.locks, name)
		return nil
	}), nil
}

type unlocker func() error

func (u unlocker) Unlock() error { return u() }

// as are the options of a process on a machine. Its pulse is fast, so that tests need not wait.
func as(name string, way swap.Way) swap.Options {
	return swap.Options{Publish: way, Clock: clock, Pulse: time.Millisecond, Silence: 10 * time.Second,
		Owner: swap.Owner{Host: "host-" + name, Machine: "machine-" + name, PID: 1}}
}

// TestHostThatChangesItsName: a lease is held by a machine and not by a name. What a run left that was killed under
// another name goes at once; who holds a partition under another name holds it.
func TestHostThatChangesItsName(t *testing.T) {
	o := as("a", swap.Auto)
	o.Silence = time.Hour // nobody is to wait for it
	renamed := o
	renamed.Owner.Host, renamed.Owner.PID = "another-name", 2
	sc := scenarios()[1]
	old, new := sc.outcomes(t, swap.Exchange)
	for at := 0; ; at += 1 + sparse {
		m := sc.begin(t, swap.Exchange)
		err := changeAs(dying(m, at), o, "r1", days...)
		left := m.Crash(mem.Killed, 0)
		s, oerr := swap.Open(bg, left, table, renamed)
		must(t, oerr)
		if _, err := s.Recover(bg, nil); err != nil {
			t.Fatalf("killed at operation %d: %v", at, err)
		}
		if got := readTable(t, left).String(); got != old && got != new {
			t.Fatalf("killed at operation %d: the table is\n%s", at, got)
		}
		must(t, changeAs(left, renamed, "r2", days...))
		if err == nil {
			break
		}
	}
	m := sc.begin(t, swap.Exchange)
	s, err := swap.Open(bg, m, table, o)
	must(t, err)
	r, err := s.Begin(bg, "r1", "upsert", true)
	must(t, err)
	must(t, r.Lease(bg, []string{"dt=1"}))
	if err := changeAs(m, renamed, "r2", "dt=1"); !errors.Is(err, swap.ErrLocked) || !strings.Contains(err.Error(), "host-a") {
		t.Errorf("held under another name: %v", err)
	}
	must(t, r.Abort(bg))
}

// TestTwoMachines lets a run on another machine, which does not see our locks, come at every operation of ours: it
// sees that we live, leaves us alone, and is refused where it wants what we hold. Recover there leaves us alone too.
func TestTwoMachines(t *testing.T) {
	for _, way := range allWays {
		for name, other := range map[string]func(m storage.FS) error{
			"the same partition": func(m storage.FS) error { return changeAs(m, as("b", way), "b", "dt=1") },
			"a neighbour":        func(m storage.FS) error { return changeAs(m, as("b", way), "b", "dt=3") },
			"recover": func(m storage.FS) error {
				s, err := swap.Open(bg, m, table, known(m, as("b", way)))
				if err != nil {
					return err
				}
				done, err := s.Recover(bg, nil)
				if len(done.Finished)+len(done.Undone) > 0 {
					err = errors.Join(err, fmt.Errorf("a live run was recovered: %+v", done))
				}
				return err
			},
		} {
			t.Run(fmt.Sprintf("%s/%s", name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				points, refused := 0, 0
				// The pulse goes on meanwhile, so that operations are not counted alike each time.
				for at := d.IntN(4); at < 300; at += d.skip(5) {
					m := made(t, way, threeDays)
					mine, theirs := on(m), on(m)
					f := faultfs.Wrap(mine)
					var berr error
					ran := false
					f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() { ran, berr = true, other(theirs) }})
					aerr := changeAs(pulsing{f, mine}, as("a", way), "a", "dt=1", "dt=2")
					if !ran {
						break
					}
					points++
					what := fmt.Sprintf("b at operation %d of a (a: %v, b: %v)", at, aerr, berr)
					got := readTable(t, m)
					for run, err := range map[string]error{"a": aerr, "b": berr} {
						switch {
						case errors.Is(err, swap.ErrLocked), errors.Is(err, swap.ErrConflict):
							refused++
						case err != nil:
							t.Fatal(what)
						case name == "recover" && run == "b":
						default:
							if wrong := missingFrom(got, run, name); wrong != "" && !(run == "a" && berr == nil) && !(run == "b" && aerr == nil) {
								t.Fatalf("%s: %s is lost, the table is\n%s", what, wrong, got)
							}
						}
					}
					if wrong := settle(t, m.Crash(mem.OnlySynced, 0), got.String(), got.String()); wrong != "" {
						t.Fatalf("%s, power cut: %s", what, wrong)
					}
				}
				t.Logf("%d points, %d refusals", points, refused)
			})
		}
	}
}

// missingFrom says what of a run's files is not live.
func missingFrom(got partitions, run, what string) string {
	parts := map[string][]string{"a": {"dt=1", "dt=2"}, "b": {"dt=1"}}[run]
	if run == "b" && what == "a neighbour" {
		parts = []string{"dt=3"}
	}
	for _, p := range parts {
		if got[p]["part-"+run+".parquet"] == "" {
			return path.Join(p, "part-"+run)
		}
	}
	return ""
}

// pulsing lets a run's pulse by while its own operation waits for another machine.
type pulsing struct {
	*faultfs.FS
	below storage.FS
}

func (p pulsing) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	if strings.Contains(name, ".lock.json.new") {
		return p.below.Create(ctx, name, mode)
	}
	return p.FS.Create(ctx, name, mode)
}

func (p pulsing) Replace(ctx context.Context, from, to string) error {
	if strings.Contains(from, ".lock.json.new") {
		return p.below.Replace(ctx, from, to)
	}
	return p.FS.Replace(ctx, from, to)
}

// TestLostMachine: a machine dies at any operation of its run, or stands still for so long that it is taken for dead
// and then goes on. Another one that does not see its locks recovers, or publishes itself: the table is old or new,
// and what anybody reported as done is there.
func TestLostMachine(t *testing.T) {
	next := func(way swap.Way) swap.Options {
		o := as("b", way)
		o.Silence = time.Millisecond
		return o
	}
	for _, way := range allWays {
		t.Run("dies/"+string(way), func(t *testing.T) {
			t.Parallel()
			sc := scenarios()[1]
			old, new := sc.outcomes(t, way)
			d := roll(t)
			for at := d.IntN(sparse); ; at += d.skip(0) {
				m := sc.begin(t, way)
				err := changeAs(dying(on(m), at), as("a", way), "r1", days...)
				s, oerr := swap.Open(bg, on(m), table, known(m, next(way)))
				must(t, oerr)
				if _, err := s.Recover(bg, nil); err != nil {
					t.Fatalf("operation %d: %v", at, err)
				}
				if got := readTable(t, m).String(); got != old && got != new || err == nil && got != new {
					t.Fatalf("operation %d: the table is\n%s", at, got)
				}
				if err == nil {
					return
				}
			}
		})
		t.Run("stands still/"+string(way), func(t *testing.T) {
			t.Parallel()
			points, both := 0, 0
			d := roll(t)
			for at := d.IntN(sparse); ; at += d.skip(0) {
				m := made(t, way, threeDays)
				f := faultfs.Wrap(on(m))
				ran := false
				var berr error
				f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
					ran, berr = true, changeAs(on(m), next(way), "b", "dt=1")
				}})
				still := as("a", way)
				still.Pulse = time.Hour
				aerr := changeAs(f, still, "a", "dt=1", "dt=2")
				if !ran {
					t.Logf("%d points, at %d of them both came through", points, both)
					return
				}
				points++
				what := fmt.Sprintf("b at operation %d of a (a: %v, b: %v)", at, aerr, berr)
				if wrong := settleAs(t, m.Crash(mem.Killed, 0), outcomesOfTwo(t, way, aerr == nil, berr == nil)); wrong != "" {
					t.Fatalf("%s: %s", what, wrong)
				}
				if aerr == nil && berr == nil {
					both++
				}
			}
		})
	}
}

// outcomesOfTwo are the tables that there may be after runs of which these said that they were done. One that did
// not may have been finished by the other.
func outcomesOfTwo(t *testing.T, way swap.Way, a, b bool) (out []string) {
	t.Helper()
	runs := map[string]func(m storage.FS) error{
		"a": func(m storage.FS) error { return change(m, way, "a", "dt=1", "dt=2") },
		"b": func(m storage.FS) error { return change(m, way, "b", "dt=1") },
	}
	for _, order := range []string{"", "a", "b", "ab", "ba"} {
		if a && !strings.Contains(order, "a") || b && !strings.Contains(order, "b") {
			continue
		}
		m := made(t, way, threeDays)
		for _, run := range order {
			must(t, runs[string(run)](m))
		}
		out = append(out, readTable(t, m).String())
	}
	return out
}

// TestLostMachineGoesOn is the worst of it: a machine that stood still before its commit goes on while the other one,
// which takes it for dead, is undoing its run. (Within its switches nothing can be done about that: ARCHITECTURE.md
// names it.)
func TestLostMachineGoesOn(t *testing.T) {
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			d := roll(t)
			points, met := 0, true
			for at := d.IntN(8); met; at += d.skip(7) {
				met = false
				for then, more := d.IntN(8), true; more; then += d.skip(15) {
					var ran bool
					ran, more = goesOn(t, way, at, then)
					met = met || ran
					points++
				}
			}
			t.Logf("%d points", points)
		})
	}
}

// goesOn stops a run at an operation, lets another machine recover up to an operation of its own, lets the first one
// go on to its end, and then the other. It says whether the two operations were
// there, the first before the commit.
func goesOn(t *testing.T, way swap.Way, at, then int) (ran, more bool) {
	t.Helper()
	m := made(t, way, threeDays)
	still := as("a", way)
	still.Pulse = time.Hour
	stopped, goOn, ended := make(chan bool, 1), make(chan bool), make(chan error, 1)
	a := faultfs.Wrap(on(m))
	a.Inject(&faultfs.Rule{From: at, Once: true, Before: func() { stopped <- true; <-goOn }})
	go func() {
		err := changeAs(a, still, "a", "dt=1", "dt=2")
		ended <- err
		stopped <- false
	}()
	if !<-stopped {
		return false, false
	}
	if _, err := m.Stat(bg, "/warehouse/.hupsert/orders/runs/a.json"); err == nil {
		close(goOn)
		must(t, <-ended)
		return false, false
	}
	var aerr error
	b := faultfs.Wrap(on(m))
	b.Inject(&faultfs.Rule{From: then, Once: true, Before: func() {
		more = true
		close(goOn)
		aerr = <-ended
	}})
	o := as("b", way)
	o.Silence = time.Millisecond
	s, err := swap.Open(bg, b, table, known(b, o))
	must(t, err)
	_, berr := s.Recover(bg, nil)
	if !more {
		close(goOn)
		aerr = <-ended
	}
	sc := scenario{content: threeDays, run: func(m storage.FS, way swap.Way) error { return change(m, way, "a", "dt=1", "dt=2") }}
	old, new := sc.outcomes(t, way)
	if aerr == nil {
		old = new
	}
	left := m.Crash(mem.Killed, 0)
	wrong := settle(t, left, old, new)
	if versions, err := open(t, left, way).History(bg, "dt=1"); wrong == "" && readTable(t, left).String() == new {
		must(t, err)
		if len(versions) != 2 || versions[1].Run != "a" {
			wrong = fmt.Sprintf("the history is %+v", versions)
		}
	}
	if wrong != "" {
		t.Fatalf("a stops at operation %d and goes on at operation %d of recover (a: %v, recover: %v): %s", at, then, aerr, berr, wrong)
	}
	return true, more
}
