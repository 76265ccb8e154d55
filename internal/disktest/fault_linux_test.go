package disktest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestReadOnly lets the kernel turn ext4 read-only in the middle of a run, as it does after an error of the disk (nobody
// can remount it so by hand while files are written): the run fails as one of the storage, and what was reported as done
// is there when the disk is back.
func TestReadOnly(t *testing.T) {
	w := newWorld(t)
	k := kinds[0]
	k.options += ",errors=remount-ro"
	d := newDisk(t, k)
	trigger := func() error {
		name := filepath.Join("/sys/fs/ext4", path.Base(d.source), "trigger_fs_error")
		return os.WriteFile(name, []byte("an error for a test"), 0o200)
	}
	if _, err := os.Stat(filepath.Join("/sys/fs/ext4", path.Base(d.source), "trigger_fs_error")); err != nil {
		t.Skipf("SKIPPED: no disk turns read-only here: %v", err)
	}
	dice, seed := roll()
	sc := w.scenarios()[1]
	dir := filepath.Join(d.dir, "warehouse")
	points, failed := 0, 0
	try := func(at int) (count int) {
		points++
		must(t, w.prepare(d.sync, sc, "", dir))
		f := faultfs.Wrap(local.FS{})
		var triggerErr error
		f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() { triggerErr = trigger() }})
		ran := do(dir, f, "", sc.run)
		must(t, triggerErr)
		wrong := ""
		if ran != nil {
			failed++
			if partition.KindOf(ran) != partition.KindStorage {
				wrong = fmt.Sprintf("want a storage error: %v", ran)
			}
		}
		must(t, d.restart(false))
		if wrong == "" {
			wrong = w.settle(dir, cutting{sc: sc}, ran, nil)
		}
		if wrong != "" {
			t.Errorf("read-only from operation %d on: %s", at, wrong)
		}
		must(t, os.RemoveAll(dir))
		return f.Count()
	}
	count := try(atEnd)
	tries := 12
	if *every {
		tries = count
	}
	for n := range tries {
		at := n
		if !*every {
			at = dice.IntN(count)
		}
		try(at)
	}
	if failed < 5 {
		t.Errorf("%d runs met a read-only disk", failed)
	}
	t.Logf("read-only: seed %d, %d points, %d runs failed", seed, points, failed)
}

// TestFailingFsync fails every fsync of a run, one at a time: the run gives up, asks for no fsync of that file again,
// and publishes nothing where it has not committed.
func TestFailingFsync(t *testing.T) {
	w := newWorld(t)
	points, committed := 0, 0
	for _, op := range []faultfs.Op{faultfs.Sync, faultfs.SyncDir} {
		for n := 1; ; n++ {
			f := failing{w: w, rule: faultfs.Rule{Op: op, Nth: n, Once: true, Err: syscall.EIO}}
			met, after, wrong := f.try(t)
			if wrong != "" {
				t.Errorf("%s %d fails: %s", op, n, wrong)
			}
			if !met {
				break
			}
			points++
			if after {
				committed++
			}
		}
	}
	if points-committed < 5 {
		t.Errorf("%d fsyncs failed before the commit", points-committed)
	}
	t.Logf("failing fsync: %d points, %d of them after the commit", points, committed)
}

// TestQuota fails writes as a disk does whose owner has had his share.
func TestQuota(t *testing.T) {
	w := newWorld(t)
	points := 0
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Create, faultfs.Mkdir} {
		for n := 1; ; n++ {
			f := failing{w: w, rule: faultfs.Rule{Op: op, Path: "/staging/", Nth: n, Err: syscall.EDQUOT, Half: op == faultfs.Write}}
			met, _, wrong := f.try(t)
			if wrong != "" {
				t.Errorf("%s %d and all after it fail: %s", op, n, wrong)
			}
			if !met {
				break
			}
			points++
		}
	}
	if points < 5 {
		t.Errorf("%d operations failed", points)
	}
	t.Logf("quota: %d points", points)
}

// failing is a run of which some operations fail.
type failing struct {
	w    *world
	rule faultfs.Rule
}

// try says whether an operation failed, whether the run had committed by then, and what is wrong.
func (f failing) try(t *testing.T) (met, committed bool, wrong string) {
	t.Helper()
	w, dir := f.w, roomy(t, 16<<20)
	must(t, w.lay(dir))
	must(t, do(dir, local.FS{}, "", w.upsert("first")))
	before, err := fingerprints(dir)
	must(t, err)
	old := w.base.with(w.changes["first"])
	new := old.with(w.changes["second"])

	fsys := faultfs.Wrap(local.FS{})
	fsys.Inject(&f.rule)
	ran := do(dir, fsys, "", w.upsert("second"))
	now, err := fingerprints(dir)
	must(t, err)
	trace := fsys.Trace()
	failed, rest, met := cutFailed(trace)
	if !met {
		return false, false, okay(ran)
	}
	at := strings.Index(trace, "record.json -> ")
	committed = at >= 0 && at < len(trace)-len(rest)
	want := new
	switch {
	case ran != nil && partition.KindOf(ran) != partition.KindStorage:
		return met, committed, fmt.Sprintf("want a storage error: %v", ran)
	case ran != nil && !errors.Is(ran, f.rule.Err):
		return met, committed, fmt.Sprintf("the cause is lost: %v", ran)
	case strings.HasPrefix(failed, "sync ") && strings.Contains(rest, "\n"+failed+"\n"):
		return met, committed, failed + " is tried again"
	case ran == nil && !committed && !maps.Equal(before, now):
		return met, committed, "published after a failure that nobody told"
	case ran != nil && !errors.Is(ran, swap.ErrUnfinished):
		if !maps.Equal(before, now) {
			return met, committed, "the table was changed"
		}
		want = old
	}
	if got, err := afterRecover(dir); err != nil || got.String() != want.String() {
		return met, committed, fmt.Sprintf("after recover: %v\n%s", err, differing(want, got))
	}
	if err := do(dir, local.FS{}, "", w.upsert("second")); err != nil {
		return met, committed, fmt.Sprintf("the next run: %v", err)
	}
	if got, err := afterRecover(dir); err != nil || got.String() != new.String() {
		return met, committed, fmt.Sprintf("after the next run: %v\n%s", err, differing(new, got))
	}
	return met, committed, ""
}

func okay(err error) string {
	if err != nil {
		return "nothing failed: " + err.Error()
	}
	return ""
}

// cutFailed finds the first operation of a trace that failed by injection, and what came after it.
func cutFailed(trace string) (op, rest string, found bool) {
	for _, text := range []string{": " + syscall.EIO.Error() + "\n", ": " + syscall.EDQUOT.Error() + "\n"} {
		if before, after, ok := strings.Cut(trace, text); ok {
			return before[strings.LastIndex(before, "\n")+1:], "\n" + after, true
		}
	}
	return "", "", false
}

// afterRecover recovers a table and reads it; that something is left behind is an error.
func afterRecover(dir string) (rows, error) {
	if err := do(dir, local.FS{}, "", recoverTable); err != nil {
		return nil, err
	}
	left, err := leftovers(dir)
	if err == nil && len(left) > 0 {
		err = fmt.Errorf("left behind: %s", strings.Join(left, ", "))
	}
	got, rerr := readRows(dir)
	return got, errors.Join(err, rerr)
}
