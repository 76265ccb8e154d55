package swap_test

import (
	"fmt"
	"path"
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
