package swap_test

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// voidClaim is a claim of a run that is not done, "" where there is none.
func voidClaim(t testing.TB, m storage.FS, s *swap.Store) string {
	partitions, err := s.Partitions(bg)
	must(t, err)
	for _, p := range partitions {
		list, err := m.List(bg, path.Join(s.StateDir(), "claims", p))
		must(t, err)
		for _, i := range list {
			name := path.Join(s.StateDir(), "claims", p, i.Name)
			var claim struct{ Run string }
			if err := stage.ReadJSON(bg, m, path.Join(name, "claim.json"), &claim); err != nil {
				return err.Error()
			}
			if _, err := m.Stat(bg, path.Join(s.StateDir(), "runs/done", claim.Run+".json")); err != nil {
				return name + " of run " + claim.Run
			}
		}
	}
	return ""
}

// TestSettle kills a run at every operation: what the next run of another partition does first leaves recover nothing to do.
func TestSettle(t *testing.T) {
	for _, sc := range scenarios() {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				old, new := sc.outcomes(t, way)
				void := 0
				for at := d.IntN(4); ; at += d.skip(3) {
					m := sc.begin(t, way)
					err := sc.run(dying(m, at), way)
					left := m.Crash(mem.Killed, 0)
					s := open(t, left, swap.Auto)
					if voidClaim(t, left, s) != "" {
						void++
					}
					_, serr := s.Settle(bg)
					must(t, serr)
					if got := voidClaim(t, left, s) + staged(t, left, s); got != "" {
						t.Fatalf("killed at operation %d, settled, and left: %s", at, got)
					}
					if done, err := s.Recover(bg, nil); err != nil || len(done.Finished)+len(done.Undone) > 0 {
						t.Fatalf("killed at operation %d, settled, and recover did %+v, %v", at, done, err)
					}
					if wrong := settle(t, left, old, new); wrong != "" {
						t.Fatalf("killed at operation %d, settled: %s", at, wrong)
					}
					if err == nil {
						break
					}
				}
				t.Logf("%d left claims of runs that had not ended", void)
			})
		}
	}
}

// TestSettleLeavesClaimsAlone: where nothing died the claims of the partitions are not looked through.
func TestSettleLeavesClaimsAlone(t *testing.T) {
	operations := func(runs int) int {
		m := made(t, swap.Exchange, partitions{"dt=1": {"part-0.parquet": "rows"}, "dt=2": {"part-0.parquet": "rows"}})
		for i := range runs {
			must(t, change(m, swap.Exchange, fmt.Sprintf("r%d", i), "dt=1", "dt=2"))
		}
		counted := faultfs.Wrap(m)
		s := open(t, counted, swap.Auto)
		before := counted.Count()
		_, err := s.Settle(bg)
		must(t, err)
		return counted.Count() - before
	}
	if few, many := operations(1), operations(20); many > few {
		t.Errorf("%d operations after 20 runs, %d after one", many, few)
	}
}

// TestClaimsAfterOthers: a run dies with claims on dt=1 and dt=2, and a rollback or a vacuum of dt=3 comes, which clears away what
// else tells of it.
func TestClaimsAfterOthers(t *testing.T) {
	for _, what := range []string{"rollback", "vacuum"} {
		left := 0
		for at := 0; ; at++ {
			m := made(t, swap.Rename, threeDays)
			must(t, change(m, swap.Rename, "r0", "dt=3"))
			err := change(dying(m, at), swap.Rename, "r1", "dt=1", "dt=2")
			if err == nil {
				break
			}
			k := m.Crash(mem.Killed, 0)
			s := open(t, k, swap.Rename)
			if voidClaim(t, k, s) == "" || openRuns(t, k) != "" {
				continue
			}
			if what == "rollback" {
				_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=3", To: "origin"}}, false, "back", "rollback")
			} else {
				_, err = s.Vacuum(bg, 0, false)
			}
			must(t, err)
			_, err = s.Settle(bg)
			must(t, err)
			must(t, change(k, swap.Rename, "r2", "dt=3"))
			if v := voidClaim(t, k, s); v != "" {
				left++
				if left == 1 {
					t.Errorf("%s, killed at %d: %s stays after the next run's beginning", what, at, v)
				}
			}
		}
	}
}

// TestClaimBelow: c is staged. a commits version 1 and is taken back while b, which has seen it committed, stands still (leases were
// lost, nothing may rest on them); b claims version 2; c claims the free version 1 and dies; b commits. Recover finds the void
// claim below the one that counts, and so does who publishes c.
func TestClaimBelow(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, stageOnly(m, swap.Location, "c", "dt=1"))

	fb := faultfs.Wrap(m)
	ob := options(fb, swap.Location)
	ob.IgnoreSetBack = true
	sb, err := swap.Open(bg, fb, table, ob)
	must(t, err)
	rb, err := sb.Begin(bg, "b", "upsert", true)
	must(t, err)
	list, err := stageAll(sb, rb, "b", []string{"dt=1"}, clock())
	must(t, err)
	paused, goOn, bDone := make(chan bool), make(chan bool, 1), make(chan error, 1)
	fb.Inject(&faultfs.Rule{Op: faultfs.List, Path: path.Join(state, "runs"), Once: true, Before: func() { paused <- true; <-goOn }})
	fb.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: path.Join(state, "runs/b.json"), Once: true, Before: func() {
		fc := faultfs.Wrap(m)
		fc.Inject(&faultfs.Rule{Op: faultfs.Create, Path: "c/record.json", Before: func() { fc.After(0, errPower) }})
		o := options(m, swap.Location)
		o.Registry = metastore{fsys: fc}
		sc, err := swap.Open(bg, fc, table, o)
		if err == nil {
			_, err = sc.PublishStaged(bg, "c", nil)
		}
		if !errors.Is(err, errPower) {
			t.Errorf("c: %v", err)
		}
	}})
	fa := faultfs.Wrap(m)
	fa.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: ledger, Once: true, Before: func() {
		go func() { _, err := rb.Publish(bg, list); bDone <- err }()
		<-paused
		must(t, addFile(m, "dt=3"))
	}})
	aerr := unleased(fa, swap.Location, "a", "dt=1", "dt=3")
	if !errors.Is(aerr, swap.ErrConflict) {
		t.Fatal("a is not taken back")
	}
	goOn <- true
	must(t, <-bDone)
	must(t, rb.Close())
	left := m.Crash(mem.Killed, 0)
	must(t, recoverOn(left))
	s := open(t, left, swap.Location)
	if v := voidClaim(t, left, s); v != "" {
		t.Errorf("after recover: void %s", v)
	}
	// Somebody sets dt=1 back, means it, and c is published.
	must(t, repoint(left, "dt=1", path.Join(table, "dt=1"), "theirs"))
	o := options(left, swap.Location)
	o.IgnoreSetBack = true
	s, err = swap.Open(bg, left, table, o)
	must(t, err)
	_, err = s.PublishStaged(bg, "c", nil)
	must(t, err)
	versions, err := s.History(bg, "dt=1")
	must(t, err)
	if versions = slices.DeleteFunc(versions, func(v swap.Version) bool { return v.Run != "c" }); len(versions) != 1 {
		t.Errorf("c is in the history %d times", len(versions))
	}
}

// TestClaimOfAnotherVersion: a claim that lies where that of another version belongs is damaged. The next version is not numbered by it.
func TestClaimOfAnotherVersion(t *testing.T) {
	m := made(t, swap.Exchange, threeDays)
	must(t, change(m, swap.Exchange, "r1", "dt=1"))
	name := state + "/claims/dt=1/v000001/claim.json"
	data, err := stage.ReadFile(bg, m, name)
	must(t, err)
	moved := strings.Replace(string(data), `"version": 1`, `"version": 3`, 1)
	if moved == string(data) {
		t.Fatalf("no version in %s", data)
	}
	must(t, m.Remove(bg, name))
	must(t, writeFile(m, name, moved))
	var damaged *swap.ClaimError
	if err := change(m, swap.Exchange, "r2", "dt=1"); !errors.As(err, &damaged) || !strings.Contains(err.Error(), "is of version 3") {
		t.Errorf("the next run: %v", err)
	}
	must(t, change(m, swap.Exchange, "r3", "dt=2"))
}
