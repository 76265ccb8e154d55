package swap_test

import (
	"fmt"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// manyDays is how many partitions a run has here: enough that they are claimed and switched side by side.
const manyDays = 13

func manyPartitions() []string {
	out := make([]string, manyDays)
	for i := range out {
		out[i] = fmt.Sprintf("dt=%02d", i)
	}
	return out
}

// sideBySide is a run over so many partitions that nobody knows which of them is how far. The last is new.
func sideBySide() scenario {
	content := partitions{}
	for i, day := range manyPartitions() {
		if i < manyDays-1 {
			content[day] = map[string]string{"a": fmt.Sprint(i, "a"), "b": fmt.Sprint(i, "b")}
		}
	}
	return scenario{"side by side", content, nil, func(m storage.FS, way swap.Way) error { return change(m, way, "r1", manyPartitions()...) }}
}

// crashPoints cuts the power of a run at operations of it, on average at one of so many, and at its end, and calls check with what each
// model of a disk then holds. It ends when a run completes.
func crashPoints(t *testing.T, d dice, way swap.Way, most int, wrap func(storage.FS) storage.FS, check func(m *mem.FS, done bool, what string)) (points int) {
	t.Helper()
	sc := sideBySide()
	for at := d.IntN(1 + most); ; at += d.skip(most) {
		m := sc.begin(t, way)
		f := faultfs.Wrap(m)
		f.Inject(&faultfs.Rule{From: at, Err: errPower})
		var target storage.FS = f
		if wrap != nil {
			target = wrap(f)
		}
		err := sc.run(target, way)
		for _, model := range mem.Models() {
			s := d.Uint64()
			check(m.Crash(model, s), err == nil, fmt.Sprintf("%s, power cut at operation %d, %s, disk %d", way, at, model, s))
		}
		points++
		if err == nil {
			return points
		}
	}
}

// settleMany is settle, and holds the history of each partition against its rows: the claims of a run are as durable as its record.
func settleMany(t testing.TB, m *mem.FS, old, new string) string {
	if wrong := settle(t, m, old, new); wrong != "" {
		return wrong
	}
	if readTable(t, m).String() != new {
		return ""
	}
	s := open(t, m, swap.Auto)
	for _, day := range manyPartitions() {
		versions, err := s.History(bg, day)
		if err != nil || len(versions) == 0 || versions[len(versions)-1].Run != "r1" {
			return fmt.Sprintf("%s is new, and its history is %+v, %v", day, versions, err)
		}
	}
	return ""
}

// sideBySideSkip is how many operations are left out between two crash points, at most; with -every none is.
const sideBySideSkip = 12

// TestCrashSideBySide: whatever operations of many partitions are under way when the power goes, all of them are old or all are new.
func TestCrashSideBySide(t *testing.T) {
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			old, new := sideBySide().outcomes(t, way)
			points := crashPoints(t, roll(t), way, sideBySideSkip, nil, func(m *mem.FS, done bool, what string) {
				before := old
				if done { // what is reported is durable
					before = new
				}
				if wrong := settleMany(t, m, before, new); wrong != "" {
					t.Fatalf("%s: %s", what, wrong)
				}
			})
			t.Logf("%d points", points)
		})
	}
}

// TestFaultSideBySide fails one operation of such a run that goes on living: the error is the run's, and nothing is half done.
func TestFaultSideBySide(t *testing.T) {
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			sc, d := sideBySide(), roll(t)
			old, new := sc.outcomes(t, way)
			for at := d.IntN(1 + sideBySideSkip); ; at += d.skip(sideBySideSkip) {
				m := sc.begin(t, way)
				f := faultfs.Wrap(m)
				f.Inject(&faultfs.Rule{From: at, Once: true, Err: errPower})
				err := sc.run(f, way)
				if wrong := settleMany(t, m, old, new); wrong != "" {
					t.Fatalf("operation %d (%v): %s", at, err, wrong)
				}
				if got := readTable(t, m).String(); err == nil && got != new {
					t.Fatalf("operation %d failed, the run reported success, and the table is\n%s", at, got)
				}
				if f.Count() <= at {
					return
				}
			}
		})
	}
}

// TestMutantsSideBySide leaves out fsyncs of such a run, kind by kind: the crashes must tell.
func TestMutantsSideBySide(t *testing.T) {
	needsEveryPoint(t)
	for name, rule := range map[string]faultfs.Rule{
		"no fsync of files":       {Op: faultfs.Sync, Skip: true},
		"no fsync of folders":     {Op: faultfs.SyncDir, Skip: true},
		"no fsync of staged data": {Op: faultfs.SyncDir, Path: "/data", Skip: true},
		"no fsync of claims":      {Op: faultfs.SyncDir, Path: "/claims", Skip: true},
		"no fsync of the records": {Op: faultfs.SyncDir, Path: "/runs", Skip: true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d, noticed := roll(t), 0
			for _, way := range ways {
				old, new := sideBySide().outcomes(t, way)
				wrap := func(f storage.FS) storage.FS {
					lazy := faultfs.Wrap(f)
					r := rule
					lazy.Inject(&r)
					return lazy
				}
				crashPoints(t, d, way, sideBySideSkip, wrap, func(m *mem.FS, done bool, _ string) {
					before := old
					if done {
						before = new
					}
					if settleMany(t, m, before, new) != "" {
						noticed++
					}
				})
			}
			if noticed == 0 {
				t.Fatal("the crashes do not tell")
			}
			t.Logf("noticed %d times", noticed)
		})
	}
}
