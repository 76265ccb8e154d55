package partition

import (
	"testing"

	"github.com/hupsert/hupsert/merge"
)

// How far a run is never goes back, and ends at the whole.
func TestProgress(t *testing.T) {
	p := new(Progress)
	p.Partitions.Store(4)
	last := 0.0
	check := func(what string, done, total int64) {
		t.Helper()
		gotDone, gotTotal := p.Merged()
		if gotDone != done || gotTotal != total {
			t.Errorf("%s: %d of %d, want %d of %d", what, gotDone, gotTotal, done, total)
		}
		if now := float64(gotDone) / float64(max(gotTotal, 1)); now < last {
			t.Errorf("%s: went back from %v to %v", what, last, now)
		} else {
			last = now
		}
	}
	check("nothing is begun", 0, 0)
	var parts [4]merge.Progress
	p.begin(&parts[0], false)
	parts[0].Total.Store(100)
	check("the first is opened", 0, 400)
	parts[0].Probed.Store(100)
	check("searched", 50, 400)
	parts[0].Written.Store(120)
	check("written, with new rows", 100, 400)
	p.end(&parts[0])
	check("done", 100, 400)
	for i := 1; i < 4; i++ {
		p.begin(&parts[i], false)
		parts[i].Total.Store(100)
		p.end(&parts[i])
	}
	check("all done", 400, 400)
	if n := p.PartitionsDone.Load(); n != 4 {
		t.Errorf("%d partitions are done, want 4", n)
	}

	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	b.cfg.Progress = new(Progress)
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bob,2026-11-21", "3,cid,2026-11-22"))
	if done, total := b.cfg.Progress.Merged(); done == 0 || done != total || b.cfg.Progress.Step() != StepDone {
		t.Errorf("at the end %d of %d, at %s", done, total, b.cfg.Progress.Step())
	}
}
