package partition

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"runtime"
	"runtime/debug"
	"testing"
	"time"
)

var leakRuns = flag.Int("leak-runs", 150, "runs of the leak test")

// held is what a process has between two runs.
type held struct {
	descriptors int // open files and whatever else
	collected   int // those less what the garbage collector closed, since nobody else did
	goroutines  int
	heap        uint64
}

func measure() (h held) {
	h.goroutines = runtime.NumGoroutine()
	h.descriptors = descriptors()
	runtime.GC()
	runtime.GC() // what the first one's finalizers freed
	h.collected = descriptors()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	h.heap = m.HeapAlloc
	return h
}

// descriptors is 0 where the system does not tell.
func descriptors() int {
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		return 0
	}
	return len(list)
}

// heapFactor is by how much the heap may be larger at the end than after the first tenth.
const heapFactor = 1.1

// TestNothingLeaks merges again and again in one process, as a service does: rows that change, rows that do not, and runs
// that fail, are refused or interrupted. What the process holds does not grow: no descriptor and no goroutine is left, and the heap
// stays.
func TestNothingLeaks(t *testing.T) {
	b := newBench(t)
	if dir, err := os.MkdirTemp("/dev/shm", "hupsert-*"); err == nil { //nolint:usetesting // a thousand runs sync often
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		b.dir = dir
	}
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	l := leaking{b: b, table: b.open()}
	runs := *leakRuns
	if testing.Short() {
		runs = 50
	}
	first := l.runs(0, runs/10, held{})
	last := l.runs(runs/10, runs, first)
	t.Logf("leaks: %d runs, %d of them in vain; descriptors %d, then %d; goroutines %d, then %d; heap %d KiB, then %d KiB",
		runs, l.failed, first.collected, last.descriptors, first.goroutines, last.goroutines, first.heap>>10, last.heap>>10)
	if last.descriptors > first.collected {
		t.Errorf("%d descriptors, then %d", first.collected, last.descriptors)
	}
	if last.goroutines > first.goroutines {
		t.Errorf("%d goroutines, then %d", first.goroutines, last.goroutines)
	}
	if float64(last.heap) > heapFactor*float64(first.heap) {
		t.Errorf("the heap grew from %d to %d bytes", first.heap, last.heap)
	}
}

// leaking is a table that is merged into for ever.
type leaking struct {
	b      *bench
	table  *Table
	failed int
}

// run is the i-th run: of ten one fails, one is interrupted, one finds nothing to do, and one opens the table anew.
func (l *leaking) run(i int) {
	t := l.b.t
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	line := fmt.Sprintf("1,ann %d,2026-11-20", i)
	var want error
	switch i % 10 {
	case 3:
		line, want = ",nobody,2026-11-20", ErrNullKey
	case 5:
		want = context.Canceled
		l.table.watch.fn = func(e Event) {
			if e.Step == StepWrite {
				cancel()
			}
		}
	case 7:
		line = fmt.Sprintf("1,ann %d,2026-11-20", i-1)
	case 9:
		l.table = l.b.open()
	}
	from := l.b.write("day.csv", "id,name,dt", line, fmt.Sprintf("%d,new,2026-11-21", 100+i%50))
	_, err := l.table.Upsert(ctx, Source{From: []string{from}}, Options{Key: []string{"id"}})
	l.table.watch.fn = nil
	if want != nil {
		l.failed++
	}
	if !errors.Is(err, want) || want == nil && err != nil {
		t.Fatalf("run %d: %v, want %v", i, err, want)
	}
	if i%25 == 24 { // or listing the history would be most of the work
		if _, err := l.table.Vacuum(ctx, VacuumOptions{Keep: 1}); err != nil {
			t.Fatal(err)
		}
	}
}

// runs goes through runs and measures what is held then. The collector is off in the last of them, or it would close the
// files that they left open.
func (l *leaking) runs(from, to int, was held) held {
	for i := from; i < to; i++ {
		if i == max(from, to-20) {
			defer debug.SetGCPercent(debug.SetGCPercent(-1))
		}
		l.run(i)
	}
	// A goroutine that has answered may not have ended yet.
	h := measure()
	for range 50 {
		if was == (held{}) || h.goroutines <= was.goroutines {
			break
		}
		<-time.After(100 * time.Millisecond)
		h = measure()
	}
	return h
}
