package swap_test

import (
	"errors"
	"fmt"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestRefusedBeforeTheCommit: what can be seen to be refused is refused while nothing is changed yet.
func TestRefusedBeforeTheCommit(t *testing.T) {
	for _, refused := range []string{table + "/dt=2", "p00002/data"} {
		m := begin(t, swap.Auto)
		f := faultfs.Wrap(m)
		f.Inject(&faultfs.Rule{Op: faultfs.MayMove, Path: refused, Err: syscall.EACCES})
		err := change(f, swap.Auto, "r1", days...)
		if !errors.Is(err, syscall.EACCES) || !strings.Contains(err.Error(), "partition dt=2") || strings.Contains(err.Error(), "committed") {
			t.Errorf("%s: %v", refused, err)
		}
		if got := readTable(t, m).String(); got != threeDays.String() {
			t.Errorf("%s: the table is %s", refused, got)
		}
		checkEnded(t, m, refused)
	}
}

// TestRefusedAfterTheCommit: a run whose switch is refused in one partition goes on with the others, says
// where it stands, and is finished by recover when the cause is gone.
func TestRefusedAfterTheCommit(t *testing.T) {
	for _, way := range append(slices.Clone(ways), byPath) {
		for _, refusal := range []error{syscall.EACCES, syscall.ENOSPC} {
			t.Run(fmt.Sprintf("%s/%v", way, refusal), func(t *testing.T) {
				m := begin(t, way)
				op := map[swap.Way]faultfs.Op{swap.Exchange: faultfs.Exchange, swap.Rename: faultfs.Rename, byPath: faultfs.Rename}[way]
				refusing := faultfs.Wrap(m)
				refusing.Inject(&faultfs.Rule{Op: op, Path: table + "/dt=2", Err: refusal})
				err := change(refusing, way, "r1", days...)
				if !errors.Is(err, refusal) || !errors.Is(err, swap.ErrUnfinished) || errors.Is(err, swap.ErrConflict) {
					t.Fatal(err)
				}
				for _, said := range []string{"committed but not finished", "live: dt=1, dt=3; not yet: dt=2", "hupsert recover"} {
					if !strings.Contains(err.Error(), said) {
						t.Errorf("%q is not said by: %v", said, err)
					}
				}
				new := afterChange(t, way)
				want := partitions{"dt=1": new["dt=1"], "dt=2": threeDays["dt=2"], "dt=3": new["dt=3"]}
				if got := readTable(t, m).String(); got != want.String() {
					t.Fatalf("the table is\n%s", got)
				}
				// Who comes next is refused there as well, and stays off the partition.
				if err := change(refusing, way, "r2", "dt=2"); !errors.Is(err, refusal) {
					t.Errorf("another run: %v", err)
				}
				if err := recoverOn(refusing); !errors.Is(err, refusal) {
					t.Errorf("recover: %v", err)
				}
				// It keeps recover from no other run.
				if err := change(dying(m, 120), way, "r3", "dt=9"); !errors.Is(err, errPower) {
					t.Fatal(err)
				}
				if err := recoverOn(refusing); !errors.Is(err, refusal) || staged(t, m, open(t, m, way)) != "r1" {
					t.Errorf("recover: %v, and left is %s", err, staged(t, m, open(t, m, way)))
				}
				must(t, recoverOn(m))
				if got := readTable(t, m).String(); !strings.HasPrefix(got, new.String()) {
					t.Fatalf("recovered to\n%s", got)
				}
				checkEnded(t, m, "recovered")
			})
		}
	}
}

// TestRefusedOnTheWayBack: the same for a run that is taken back.
func TestRefusedOnTheWayBack(t *testing.T) {
	add := foreigners(swap.Auto)[0]
	for _, way := range everyWay {
		m := begin(t, way)
		refusing := faultfs.Wrap(meeting(m, way, add, "dt=3"))
		rule := faultfs.Rule{Op: faultfs.Exchange, Path: table + "/dt=1", Nth: 2, Err: syscall.EACCES}
		switch way {
		case swap.Rename, byPath:
			rule.Op, rule.Nth = faultfs.Rename, 3
		case swap.Location:
			rule = faultfs.Rule{Op: faultfs.Rename, Path: ledger, Nth: 2, Err: syscall.EACCES}
		}
		refusing.Inject(&rule)
		err := change(refusing, way, "r1", days...)
		if !errors.Is(err, syscall.EACCES) || !errors.Is(err, swap.ErrConflict) || !errors.Is(err, swap.ErrUnfinished) || !strings.Contains(err.Error(), "not yet: dt=1") {
			t.Fatalf("%s: %v", way, err)
		}
		must(t, recoverOn(m))
		if got, want := readTable(t, m).String(), with(threeDays, add, "dt=3").String(); got != want {
			t.Fatalf("%s: recovered to\n%s", way, got)
		}
		checkEnded(t, m, "recovered")
	}
}

// TestLostAnswers loses the answer to one operation, which has happened: the run goes on or fails, and its
// error does not say that nothing is changed when it is.
func TestLostAnswers(t *testing.T) {
	for _, sc := range scenarios()[:3] {
		for _, way := range everyWay {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				old, new := sc.outcomes(t, way)
				d := roll(t)
				for at := d.IntN(sparse); ; at += d.skip(0) {
					m := sc.begin(t, way)
					f := faultfs.Wrap(m)
					f.Inject(&faultfs.Rule{From: at, Once: true, Lost: true})
					err := sc.run(f, way)
					// What Close says about locks is no failure of the publish.
					unfinished := err != nil && (errors.Is(err, swap.ErrUnfinished) || strings.Contains(err.Error(), "remove /warehouse/.hupsert/orders/locks"))
					if wrong := settle(t, m, old, new); wrong != "" {
						t.Fatalf("operation %d (%v): %s", at, err, wrong)
					}
					if got := readTable(t, m).String(); (got == new) != (err == nil || unfinished) {
						t.Fatalf("operation %d (%v): the table is\n%s", at, err, got)
					}
					if f.Count() <= at {
						return
					}
				}
			})
		}
	}
}
