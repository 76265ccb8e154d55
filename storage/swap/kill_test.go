package swap_test

import (
	"flag"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

var (
	seed  = flag.Uint64("seed", 0, "repeat a test whose seed was printed; 0: another one each time")
	every = flag.Bool("every", false, "try every point where a test takes a sample of them")
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

// skip is the way from one point to the next, where as many as most may be left out.
func (d dice) skip(most int) int {
	if *every {
		return 1
	}
	return 1 + d.IntN(1+most)
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
	s, err := swap.Open(bg, m, table, swap.Options{Clock: clock})
	if err != nil {
		return err
	}
	_, err = s.Recover(bg, nil)
	return err
}

// TestKillThenPowerCut: a process is killed, another one takes over, and then the power goes: what the
// first one did and did not sync, the second relies on.
func TestKillThenPowerCut(t *testing.T) {
	for _, sc := range scenarios()[:2] {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				old, new := sc.outcomes(t, way)
				points := 0
				for at := 0; ; at += d.skip(3) {
					m := sc.begin(t, way)
					err := sc.run(dying(m, at), way)
					wrong, n := recoveredThenCut(t, m, d, 3, []string{old, new}, nil)
					points += n
					if wrong != "" {
						t.Fatalf("killed at operation %d, %s", at, wrong)
					}
					if err == nil {
						t.Logf("%d points", points)
						return
					}
				}
			})
		}
	}
}

// recoveredThenCut recovers what a killed run left, and cuts the power at operations of that and at its
// end. It says what is wrong, "" if nothing is.
func recoveredThenCut(t testing.TB, killed *mem.FS, d dice, skip int, outcomes []string, wrap func(storage.FS) storage.FS) (wrong string, points int) {
	for at := d.IntN(1 + skip); ; at += d.skip(skip) {
		m := killed.Crash(mem.Killed, 0)
		var target storage.FS = dying(m, at)
		if wrap != nil {
			target = wrap(target)
		}
		err := recoverOn(target)
		cuts := 1
		if err == nil {
			cuts = len(mem.Models())
		}
		for range cuts {
			left, what := d.cut(m)
			points++
			wrong = settleAs(t, left, outcomes)
			if wrong == "" {
				wrong = ended(t, left)
			}
			if wrong != "" {
				return fmt.Sprintf("%s at operation %d of recover (%v): %s", what, at, err, wrong), points
			}
		}
		if err == nil {
			return ended(t, m), points
		}
	}
}

// TestRunAfterKillThenPowerCut is the same with another run in place of recover.
func TestRunAfterKillThenPowerCut(t *testing.T) {
	next := func(m storage.FS) error { return change(m, swap.Auto, "r2", "dt=1") }
	for _, sc := range scenarios()[:2] {
		for _, way := range ways {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				outcomes := withNext(t, sc, way, next)
				for at := 0; ; at += d.skip(5) {
					killed := sc.begin(t, way)
					err := sc.run(dying(killed, at), way)
					for then := d.IntN(9); ; then += d.skip(9) {
						m := killed.Crash(mem.Killed, 0)
						nerr := next(dying(m, then))
						want := outcomes
						if nerr == nil {
							want = []string{outcomes[1], outcomes[3]}
						}
						left, what := d.cut(m)
						if wrong := settleAs(t, left, want); wrong != "" {
							t.Fatalf("killed at operation %d, %s at operation %d of the next run (%v): %s", at, what, then, nerr, wrong)
						}
						if nerr == nil {
							break
						}
					}
					if err == nil {
						return
					}
				}
			})
		}
	}
}

// withNext is the table after a scenario that did not come through, then with the next run, and after one
// that did, then with the next run.
func withNext(t testing.TB, sc scenario, way swap.Way, next func(m storage.FS) error) (outcomes []string) {
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
