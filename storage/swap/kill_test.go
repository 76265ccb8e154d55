package swap_test

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

var (
	seed  = flag.Uint64("seed", 0, "repeat a test whose seed was printed; 0: another one each time")
	every = flag.Bool("every", false, "try every point where a test takes a sample of them")
	disks = flag.Uint64("disks", 2, "disks that each crash leaves, per model")
)

// dice makes a test's random choices.
type dice struct{ *rand.Rand }

// roll gives a test dice and prints how to repeat it.
func roll(t testing.TB) dice {
	s := *seed
	if s == 0 {
		s = rand.Uint64()
	}
	t.Logf("repeat with -seed %d", s)
	return dice{rand.New(rand.NewPCG(s, 0))}
}

// skip is the way from one point to the next, where as many as most may be left out. With 0 none is, but under the
// race detector.
func (d dice) skip(most int) int {
	if *every {
		return 1
	}
	return 1 + d.IntN((1+most)*sparse)
}

// needsEveryPoint skips a test under the race detector: of one goroutine it would find nothing, and would take a minute.
// testdata/gotest.sh runs these without it, too.
func needsEveryPoint(t *testing.T) {
	t.Helper()
	if sparse > 1 {
		t.Skip("one goroutine, and every point: nothing for the race detector")
	}
}

// model is a model of a power cut, and what it leaves.
func (d dice) cut(m *mem.FS) (left *mem.FS, what string) {
	models := mem.Models()
	model, s := models[d.IntN(len(models))], d.Uint64()
	return m.Crash(model, s), fmt.Sprintf("power cut, %s, seed %d", model, s)
}

// dying is a file system on which the process dies at operation at.
func dying(m storage.FS, at int) *faultfs.FS {
	f := faultfs.Wrap(m)
	f.After(at, errPower)
	return f
}

// recoverOn recovers as a new process does.
func recoverOn(m storage.FS) error {
	s, err := swap.Open(bg, m, table, options(m, swap.Auto))
	if err != nil {
		return err
	}
	_, err = s.Recover(bg, nil)
	return err
}

// heir is what comes upon what a killed run left: recover, or another run.
type heir func(m storage.FS) error

// thenCut lets the heir come upon what a killed run left, and cuts the power at operations of that and at
// its end. It says what is wrong, "" if nothing is. At the end, one of the last outcomes is wanted.
func (h heir) thenCut(t testing.TB, killed *mem.FS, d dice, skip int, outcomes, last []string) (wrong string, points int) {
	for at := d.IntN(1 + skip); ; at += d.skip(skip) {
		m := killed.Crash(mem.Killed, 0)
		err := h(dying(m, at))
		cuts, want := 1, outcomes
		if err == nil {
			cuts, want = len(mem.Models()), last
		}
		for range cuts {
			left, what := d.cut(m)
			points++
			wrong = settleAs(t, left, want)
			if wrong == "" {
				wrong = ended(t, left)
			}
			if wrong != "" {
				return fmt.Sprintf("%s at operation %d of what comes next (%v): %s", what, at, err, wrong), points
			}
		}
		if err == nil {
			return ended(t, m), points
		}
	}
}

// TestKillThenPowerCut: a process is killed, another one takes over, and then the power goes: what the
// first one did and did not sync, the second relies on.
func TestKillThenPowerCut(t *testing.T) {
	for i, sc := range scenarios() {
		skip := 3
		if i >= 2 {
			skip = 15 // variations
		}
		if strings.HasPrefix(sc.name, "vacuum") {
			continue // TestKilledVacuum
		}
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				old, new := sc.outcomes(t, way)
				outcomes := []string{old, new}
				killEverywhere(t, sc, way, recoverOn, skip, outcomes, outcomes)
			})
		}
	}
}

// TestKilledVacuum: a version that was being removed is there whole or gone, on a full disk too.
func TestKilledVacuum(t *testing.T) {
	t.Run("room", func(t *testing.T) { killVacuum(t, func(m storage.FS) storage.FS { return m }) })
	t.Run("full", func(t *testing.T) {
		killVacuum(t, func(m storage.FS) storage.FS {
			f := faultfs.Wrap(m)
			f.Inject(&faultfs.Rule{Op: faultfs.Mkdir, Err: syscall.ENOSPC}, &faultfs.Rule{Op: faultfs.Create, Err: syscall.ENOSPC})
			return f
		})
	})
}

func killVacuum(t *testing.T, on func(storage.FS) storage.FS) {
	all := scenarios()
	sc := all[len(all)-1]
	d := roll(t)
	live, _ := sc.outcomes(t, swap.Exchange)
	for at := 0; ; at += d.skip(1) {
		killed := sc.begin(t, swap.Exchange)
		err := sc.run(dying(on(killed), at), swap.Exchange)
		if err != nil && !errors.Is(err, errPower) {
			t.Fatalf("vacuum: %v", err)
		}
		for then := 0; ; then++ {
			m := killed.Crash(mem.Killed, 0)
			rerr := recoverOn(dying(on(m), then))
			if rerr != nil && !errors.Is(rerr, errPower) {
				t.Fatalf("recover: %v", rerr)
			}
			left, what := d.cut(m)
			what = fmt.Sprintf("killed at operation %d, %s at operation %d of recover", at, what, then)
			if wrong := settle(t, left, live, live); wrong != "" {
				t.Fatalf("%s: %s", what, wrong)
			}
			for _, part := range days[:2] {
				versions, err := open(t, left, swap.Exchange).History(bg, part)
				must(t, err)
				for _, v := range versions {
					if v.Path == "" {
						continue
					}
					if files, err := left.List(bg, v.Path); err != nil || len(files) != v.Files {
						t.Fatalf("%s: version %s of %s has %d of %d files left, %v", what, v.Run, part, len(files), v.Files, err)
					}
				}
			}
			if rerr == nil {
				break
			}
		}
		if err == nil {
			return
		}
	}
}

// TestRunAfterKillThenPowerCut is the same with another run in place of recover.
func TestRunAfterKillThenPowerCut(t *testing.T) {
	for _, sc := range scenarios()[:2] {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				outcomes := withNext(t, sc, way, nextRun(way))
				killEverywhere(t, sc, way, nextRun(way), 9, outcomes, []string{outcomes[1], outcomes[3]})
			})
		}
	}
}

func killEverywhere(t *testing.T, sc scenario, way swap.Way, next heir, skip int, outcomes, last []string) {
	d := roll(t)
	points := 0
	for at := d.IntN(1 + skip); ; at += d.skip(skip) {
		m := sc.begin(t, way)
		err := sc.run(dying(m, at), way)
		wrong, n := next.thenCut(t, m, d, skip, outcomes, last)
		points += n
		if wrong != "" {
			t.Fatalf("killed at operation %d, %s", at, wrong)
		}
		if err == nil {
			t.Logf("%d points", points)
			return
		}
	}
}

// nextRun is another run, on the first partition.
func nextRun(way swap.Way) heir {
	return func(m storage.FS) error { return change(m, way, "r2", "dt=1") }
}

// withNext is the table after a scenario that did not come through, then with the next run, and after one
// that did, then with the next run.
func withNext(t testing.TB, sc scenario, way swap.Way, next heir) (outcomes []string) {
	for _, first := range []bool{false, true} {
		m := sc.begin(t, way)
		if first {
			must(t, sc.run(m, way))
		}
		outcomes = append(outcomes, readTable(t, m).String())
		must(t, next(m))
		outcomes = append(outcomes, readTable(t, m).String())
	}
	return outcomes
}

// TestMutantsThatTakeOver leaves out fsyncs of what a killed process may have left undone: the harness must
// notice each.
func TestMutantsThatTakeOver(t *testing.T) {
	needsEveryPoint(t)
	recovers := func(swap.Way) heir { return recoverOn }
	abandoned := scenario{"a run that is refused", threeDays, nil, func(m storage.FS, way swap.Way) error {
		return abandon(m, way, "r1", "dt=1", "dt=2")
	}}
	conflict := scenario{"a run that is taken back", threeDays, nil, func(m storage.FS, way swap.Way) error {
		err := change(meeting(m, way, foreigners(swap.Auto)[0], "dt=3"), way, "r1", days...)
		if errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower) {
			return nil
		}
		return err
	}}
	stagedConflict := scenario{"a staged run that is taken back", threeDays, func(m storage.FS, way swap.Way) error {
		return stageOnly(m, way, "r1", days...)
	}, func(m storage.FS, way swap.Way) error {
		err := publishStaged(meeting(m, way, foreigners(swap.Auto)[0], "dt=3"), way)
		if errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower) {
			return nil
		}
		return err
	}}
	// What becomes of the run that is taken back if it is killed before the other writer comes.
	new := []string{afterChange(t, swap.Exchange).String()}
	located1 := []string{afterChange(t, swap.Location).String()}
	for _, c := range []struct {
		name      string
		scenarios []scenario
		next      func(swap.Way) heir
		done      string     // a name that the killed process had made or removed, and not synced
		skips     string     // the folder that is not synced, as a pattern
		also      []string   // outcomes
		by        []swap.Way // nil: those by path
	}{
		{"a record", scenarios()[:2], recovers, state + "/runs/r1.json", "orders/run*", nil, nil},
		{"that a record left staging", scenarios()[:2], recovers, state + "/runs/r1.json", "staging/r*", nil, nil},
		{"that a record is turned", []scenario{conflict}, recovers, state + "/runs/undo/r1.json", "runs/und*", new, nil},
		{"that a record is dropped", []scenario{conflict}, recovers, state + "/runs/undo/r1.json", "runs/und*", new, nil},
		{"that a staged run's record is dropped", []scenario{stagedConflict}, discards, state + "/runs/undo/r1.json", "runs/und*", new, nil},
		{"what is live", scenarios()[:2], recovers, table + "/dt=1/part-r1.parquet", "/warehouse/order*", nil, nil},
		{"what is live again", []scenario{conflict}, recovers, table + "/dt=1/part-r1.parquet", "/warehouse/order*", new, nil},
		{"what came out of an exchange", scenarios()[:2], recovers, state + "/staging/r1/p00001/data/a", "staging/r*/p*", nil, nil},
		{"a version in the history", scenarios()[:2], recovers, state + "/history/dt=1/origin", "history/dt*", nil, nil},
		{"that a version left the table", scenarios()[:2], recovers, state + "/history/dt=1/origin", "/warehouse/order*", nil, nil},
		{"that a version left the history", []scenario{conflict}, recovers, state + "/history/dt=1/origin", "history/dt*", new, nil},
		{"that a claim is in the trash", []scenario{abandoned}, recovers, state + "/claims/dt=1/v000001", "claims/dt*", nil, nil},
		{"the folder of states", scenarios()[:2], nextRun, "/warehouse/.hupsert", "/wareh*", nil, nil},
		{"a state's folder", scenarios()[:2], nextRun, state, "/warehouse/.hup*", nil, nil},
		{"the folder of runs", scenarios()[:2], nextRun, state + "/runs", ".hupsert/order*", nil, nil},
		{"the folder of a partition's claims", scenarios()[:2], nextRun, state + "/claims/dt=1", "orders/claim*", nil, nil},
		{"the folder of a partition's versions", scenarios()[:2], nextRun, state + "/history/dt=1", "orders/histor*", nil, nil},
		{"where a version's folder is", scenarios()[:2], recovers, state + "/versions/dt=1/v000001", "versions/dt*", nil, located[:1]},
		{"that a version is staged again", []scenario{conflict}, recovers, state + "/versions/dt=1/v000001", "staging/r*/p*", located1, located[:1]},
		{"the folder of versions", scenarios()[:2], nextRun, state + "/versions", ".hupsert/order*", nil, located[:1]},
		{"the folder of a partition's folders", scenarios()[:2], nextRun, state + "/versions/dt=1", "orders/version*", nil, located[:1]},
		{"a located record", scenarios()[:2], recovers, state + "/runs/r1.json", "orders/run*", nil, located[:1]},
		{"that a located record is turned", []scenario{conflict}, recovers, state + "/runs/undo/r1.json", "runs/und*", located1, located[:1]},
		{"that a located record is dropped", []scenario{conflict}, recovers, state + "/runs/undo/r1.json", "runs/und*", located1, located[:1]},
	} {
		t.Run("trusts "+c.name, func(t *testing.T) {
			t.Parallel()
			d := roll(t)
			try := func(skips string, skip int) (noticed string, met int) {
				by := c.by
				if by == nil {
					by = ways
				}
				for _, sc := range c.scenarios {
					for _, way := range by {
						outcomes := append(withNext(t, sc, way, c.next(way)), c.also...)
						lazy := func(m storage.FS) error {
							f := faultfs.Wrap(m)
							f.Inject(&faultfs.Rule{Op: faultfs.SyncDir, Path: skips, Skip: true})
							return c.next(way)(f)
						}
						noticed, n := killedAt(t, sc, way, lazy, c.done, skip, outcomes, d)
						met += n
						if noticed != "" {
							return fmt.Sprintf("%s by %s, %s", sc.name, way, noticed), met
						}
					}
				}
				return "", met
			}
			if wrong, _ := try("nothing", 9); wrong != "" {
				t.Fatalf("without leaving out anything: %s", wrong)
			}
			// Where all points are tried, the models of the power cuts are still drawn.
			for _, skip := range []int{8, 6, 4, 2, 0, 0, 0, 0, 0, 0, 0, 0} {
				noticed, met := try(c.skips, skip)
				if noticed != "" {
					t.Log(noticed)
					return
				}
				if met == 0 {
					t.Fatal("no point was met")
				}
			}
			t.Fatal("the harness does not notice")
		})
	}
}

// killedAt kills a scenario where it has made or removed a name, and not durably.
func killedAt(t *testing.T, sc scenario, way swap.Way, next heir, name string, skip int, outcomes []string, d dice) (wrong string, met int) {
	there := func(m *mem.FS) bool {
		_, err := m.Stat(bg, name)
		return err == nil
	}
	for at := 0; ; at++ {
		m := sc.begin(t, way)
		err := sc.run(dying(m, at), way)
		if there(m) != there(m.Crash(mem.OnlySynced, 0)) {
			met++
			if wrong, _ := next.thenCut(t, m, d, skip, outcomes, outcomes); wrong != "" {
				return fmt.Sprintf("killed at operation %d, %s", at, wrong), met
			}
		}
		if err == nil {
			return "", met
		}
	}
}
