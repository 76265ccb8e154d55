package swap_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestLocationTellsTheRegistry: one change for a run, with what is in the partitions; the folders from before stay.
func TestLocationTellsTheRegistry(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	before := len(changesOf(m))
	must(t, change(m, swap.Location, "r1", "dt=1", "dt=2", "dt=9"))
	all := changesOf(m)
	if len(all) != before+1 || len(all[before]) != 3 {
		t.Fatalf("the metastore was changed by %+v", all[before:])
	}
	want := registration{Partition: "dt=1", Was: table + "/dt=1", Folder: state + "/versions/dt=1/v000001", Run: "r1", Version: 1,
		Rows: 1, Bytes: int64(len("1b") + len("rows of r1")), Files: 2}
	if got := all[before][0]; got != want {
		t.Errorf("it was told %+v, not %+v", got, want)
	}
	if got := all[before][2]; got.Was != "" || got.Partition != "dt=9" {
		t.Errorf("a new partition: %+v", got)
	}
	if data, err := stage.ReadFile(bg, m, table+"/dt=1/a"); err != nil || string(data) != "1a" {
		t.Errorf("the folder from before: %q, %v", data, err)
	}
	versions, err := open(t, m, swap.Location).History(bg, "dt=1")
	must(t, err)
	if len(versions) != 2 || versions[0].Path != table+"/dt=1" || versions[1].Path != want.Folder || !versions[1].Live {
		t.Errorf("the history is %+v", versions)
	}
}

// TestRegisteredTable: who does not know the metastore of a table is refused, and may look.
func TestRegisteredTable(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	without := swap.Options{Clock: clock}
	if _, err := swap.Open(bg, m, table, without); err != nil {
		t.Fatalf("before anything is published: %v", err)
	}
	must(t, change(m, byPath, "r0", "dt=3"))
	if _, err := swap.Open(bg, m, table, without); err != nil {
		t.Fatalf("published by path: %v", err)
	}
	must(t, change(m, swap.Location, "r1", "dt=1"))
	_, err := swap.Open(bg, m, table, without)
	if !errors.Is(err, swap.ErrRegistered) || !strings.Contains(err.Error(), "hive://localhost:9083/db.orders") {
		t.Fatalf("without the metastore: %v", err)
	}
	without.Diagnose = true
	s, err := swap.Open(bg, m, table, without)
	must(t, err)
	if _, err := s.Inspect(bg, func(string) bool { return true }); err != nil {
		t.Errorf("inspect: %v", err)
	}
	if versions, err := s.History(bg, "dt=1"); err != nil || len(versions) != 2 || versions[0].Path == "" {
		t.Errorf("history: %v, %v", versions, err)
	}
	_, recovering := s.Recover(bg, nil)
	_, vacuuming := s.Vacuum(bg, 0, false)
	_, looking := s.Inputs(bg, "dt=1")
	_, beginning := s.Begin(bg, "r2", "upsert", true)
	for what, err := range map[string]error{"recover": recovering, "vacuum": vacuuming, "look": looking, "begin": beginning} {
		if !errors.Is(err, swap.ErrRegistered) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := swap.Open(bg, m, table, swap.Options{Publish: swap.Location, Diagnose: true}); err != nil {
		t.Error(err)
	}
}

// marked says what is wrong if a disk can be opened without its metastore although that shows a version.
func marked(m *mem.FS) string {
	for part, at := range registered(m) {
		if !strings.HasPrefix(at.Folder, state) {
			continue
		}
		if _, err := swap.Open(bg, m, table, swap.Options{Clock: clock}); !errors.Is(err, swap.ErrRegistered) {
			return fmt.Sprintf("%s is at %s, and without the metastore: %v", part, at.Folder, err)
		}
	}
	return ""
}

// TestMark: from the first version on, whatever crashes, nobody takes a path for the partition. Without the mark, or
// where it is not durable, that is noticed.
func TestMark(t *testing.T) {
	needsEveryPoint(t)
	for name, rule := range map[string]*faultfs.Rule{
		"":              nil,
		"no mark":       {Op: faultfs.Rename, Path: "staging/*/registry.json", Skip: true},
		"not durable":   {Op: faultfs.SyncDir, Path: ".hupsert/order*", Skip: true},
		"empty in part": {Op: faultfs.Sync, Path: "registry.json", Skip: true},
	} {
		wrong := ""
		for _, sc := range scenarios()[:3] {
			crashAll(t, sc, swap.Location, func(f storage.FS) storage.FS {
				lazy := faultfs.Wrap(f)
				if rule != nil {
					r := *rule
					lazy.Inject(&r)
				}
				return lazy
			}, 2, func(m *mem.FS, what string) {
				if is := marked(m); is != "" {
					wrong = what + ": " + is
				}
			})
		}
		if (wrong != "") != (rule != nil) {
			t.Errorf("%q: %q", name, wrong)
		}
	}
}

// TestLateWriter: somebody who asked the metastore before our run writes into the old folder at any moment. While
// the run can still see it, it is taken back, also when readers see the new version already; nothing is lost.
func TestLateWriter(t *testing.T) {
	old, new := threeDays, afterChange(t, swap.Location)
	conflicts, after := 0, 0
	points := interleave(func() *mem.FS { return made(t, swap.Location, threeDays) },
		func(m storage.FS) error { return change(m, swap.Location, "r1", days...) },
		func(m storage.FS) error {
			if folderOf(m, "dt=3") != table+"/dt=3" {
				after++
			}
			return addTo(m, table+"/dt=3")
		},
		func(m *mem.FS, at int, aerr, berr error) {
			must(t, berr)
			got := readTable(t, m).String()
			merged := got == mergedAfter(t, foreigners(swap.Auto)[0], "dt=3", swap.Location)
			switch {
			case errors.Is(aerr, swap.ErrConflict) && got == with(old, foreigners(swap.Auto)[0], "dt=3").String():
				conflicts++
			case aerr == nil && (got == new.String() || merged):
			default:
				t.Fatalf("at operation %d (%v): the table is\n%s", at, aerr, got)
			}
			if _, err := m.Stat(bg, table+"/dt=3/theirs"); err != nil {
				t.Fatalf("at operation %d: their file is gone", at)
			}
			checkEnded(t, m, fmt.Sprintf("at operation %d", at))
		})
	t.Logf("%d points, %d conflicts, %d writes when the new version was live", points, conflicts, after)
	if conflicts == 0 || after == 0 {
		t.Error("no moment was met")
	}
	// The last look is after the change.
	m := made(t, swap.Location, threeDays)
	f := faultfs.Wrap(m)
	seen := false
	f.Inject(&faultfs.Rule{Op: faultfs.List, Path: table + "/dt=3", Before: func() {
		if !seen && folderOf(m, "dt=3") != table+"/dt=3" {
			seen = true
			must(t, addTo(m, table+"/dt=3"))
		}
	}})
	if err := change(f, swap.Location, "r1", days...); !errors.Is(err, swap.ErrConflict) || !seen {
		t.Fatalf("written right after the change: %v", err)
	}
	checkEnded(t, m, "taken back")
}

// TestMetastoreRefuses: a metastore that is away or refuses leaves a run committed and not finished; who comes next
// does not build on it, and recover goes on when it is back.
func TestMetastoreRefuses(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	refusing := faultfs.Wrap(m)
	refusing.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: ledger, Err: syscall.ECONNREFUSED})
	err := change(refusing, swap.Location, "r1", days...)
	if !errors.Is(err, syscall.ECONNREFUSED) || !errors.Is(err, swap.ErrUnfinished) || errors.Is(err, swap.ErrConflict) {
		t.Fatal(err)
	}
	if got := readTable(t, m).String(); got != threeDays.String() {
		t.Fatalf("the table is %s", got)
	}
	if err := change(refusing, swap.Location, "r2", "dt=1"); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the next run: %v", err)
	}
	must(t, recoverOn(m))
	if got, want := readTable(t, m).String(), afterChange(t, swap.Location).String(); got != want {
		t.Fatalf("recovered to %s", got)
	}
	checkEnded(t, m, "recovered")
}

// onMachine is a process of another machine, for which a run that stands still is dead at once, and whose metastore
// overwrites what it did not see.
func onMachine(m storage.FS, name string) swap.Options {
	o := as(name, swap.Location)
	o.Silence, o.Pulse = time.Millisecond, time.Hour
	o.Registry = metastore{fsys: m, late: true}
	return o
}

// changeWithOptions is change with options as they are.
func changeWithOptions(m storage.FS, o swap.Options, run string, parts ...string) error {
	s, err := swap.Open(bg, m, table, o)
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "upsert", true)
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

// TestTooLate: a run stands still in its publish. Another machine takes it for dead, finishes it and publishes a
// version of its own. Then the first one goes on, and a metastore without compare-and-swap takes what it says. It
// sees that it came too late, and the metastore ends at the last version; if it dies before it sees that, whoever
// comes next puts it right, and builds on nothing older. A process that does not look whether others came first
// is found out.
func TestTooLate(t *testing.T) {
	needsEveryPoint(t)
	behind := 0
	all := made(t, swap.Location, threeDays)
	must(t, errors.Join(change(all, swap.Location, "a", "dt=1", "dt=2"), change(all, swap.Location, "b", "dt=1"), change(all, swap.Location, "c", "dt=1")))
	want := readTable(t, all).String()
	for _, mutant := range []bool{false, true} {
		back := 0
		for at := 0; ; at++ {
			met, backAtEnd := tooLate(t, at, -1, mutant, want)
			if !met {
				break
			}
			back += backAtEnd
			if mutant {
				continue
			}
			for dies := at + 1; dies < at+12; dies++ {
				_, left := tooLate(t, at, dies, false, want)
				behind += left
			}
		}
		if (back > 0) != mutant {
			t.Errorf("mutant %t: the metastore went back %d times", mutant, back)
		}
	}
	if behind == 0 {
		t.Error("no process died in the window")
	}
	t.Logf("the metastore was left behind %d times by a process that died", behind)
}

// blindTo is a file system of a process that does not see later claims, and takes its record to be where it was.
type blindTo struct {
	storage.FS
	gone func() bool
}

func (b *blindTo) List(ctx context.Context, dir string) ([]storage.Info, error) {
	list, err := b.FS.List(ctx, dir)
	if strings.Contains(dir, "/claims/") {
		list = slices.DeleteFunc(list, func(i storage.Info) bool { return i.Name > "v000001" })
	}
	return list, err
}

func (b *blindTo) Stat(ctx context.Context, name string) (storage.Info, error) {
	if strings.HasSuffix(name, "/runs/a.json") && b.gone() {
		return storage.Info{Name: "a.json"}, nil
	}
	return b.FS.Stat(ctx, name)
}

// tooLate stops run a at an operation, lets run b come through on another machine, and lets a go on, until it dies at
// another operation. It says whether a came so far, and whether the metastore is then at an older version.
func tooLate(t *testing.T, at, dies int, mutant bool, want string) (met bool, back int) {
	t.Helper()
	m := made(t, swap.Location, threeDays)
	f := faultfs.Wrap(on(m))
	berr := errors.New("a has not committed")
	f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
		met = true
		if _, err := m.Stat(bg, state+"/runs/a.json"); err != nil {
			return
		}
		other := on(m)
		berr = changeWithOptions(other, onMachine(other, "b"), "b", "dt=1")
	}})
	if dies >= 0 {
		f.Inject(&faultfs.Rule{From: dies, Err: errPower})
	}
	var mine storage.FS = f
	if mutant {
		mine = &blindTo{FS: f, gone: func() bool { return met && berr == nil }}
	}
	o := onMachine(mine, "a")
	o.Registry = metastore{fsys: f, late: true}
	aerr := changeWithOptions(mine, o, "a", "dt=1", "dt=2")
	if !met || berr != nil {
		return met, 0
	}
	what := fmt.Sprintf("b at operation %d of a, which dies at %d (a: %v, b: %v)", at, dies, aerr, berr)
	versions, err := open(t, m, swap.Location).History(bg, "dt=1")
	must(t, err)
	last := versions[len(versions)-1]
	if folderOf(m, "dt=1") != last.Path {
		back++
		if !mutant && dies < 0 {
			t.Fatalf("%s: the metastore is at %s, not at %s", what, folderOf(m, "dt=1"), last.Path)
		}
	}
	if mutant {
		return met, back
	}
	left := m.Crash(mem.Killed, 0)
	other := on(left)
	must(t, changeWithOptions(other, onMachine(other, "c"), "c", "dt=1"))
	got := readTable(t, left)
	if got.String() != want {
		t.Fatalf("%s: after the next run the table is\n%s", what, got)
	}
	return met, back
}

// TestTooLateForOthers: run a of dt=1 and dt=2 stands still before it tells the metastore, machine b finishes it and publishes dt=1
// again, and a tells the metastore too late and dies. The next run of another partition puts that right.
func TestTooLateForOthers(t *testing.T) {
	behind, stays := 0, 0
	for at := 0; ; at++ {
		more := false
		for dies := at + 1; dies < at+12; dies++ {
			m := made(t, swap.Location, threeDays)
			f := faultfs.Wrap(on(m))
			berr := errors.New("not committed")
			met := false
			f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
				met = true
				if _, err := m.Stat(bg, state+"/runs/a.json"); err != nil {
					return
				}
				other := on(m)
				berr = changeWithOptions(other, onMachine(other, "b"), "b", "dt=1")
			}})
			f.Inject(&faultfs.Rule{From: dies, Err: errPower})
			o := onMachine(f, "a")
			o.Registry = metastore{fsys: f, late: true}
			aerr := changeWithOptions(f, o, "a", "dt=1", "dt=2")
			more = more || met
			if !met || berr != nil {
				continue
			}
			left := m.Crash(mem.Killed, 0)
			versions, err := open(t, left, swap.Location).History(bg, "dt=1")
			must(t, err)
			last := versions[len(versions)-1]
			if folderOf(left, "dt=1") == last.Path {
				continue
			}
			behind++
			other := on(left)
			oc := onMachine(other, "c")
			s, err := swap.Open(bg, other, table, oc)
			must(t, err)
			got, err := s.Settle(bg)
			must(t, err)
			must(t, changeWithOptions(other, oc, "c", "dt=3"))
			if now := folderOf(left, "dt=1"); now != last.Path {
				stays++
				if stays == 1 {
					t.Errorf("b at %d of a, which dies at %d (%v): after %+v and a run of dt=3 the metastore has dt=1 at %s, not %s", at, dies, aerr, got, now, last.Path)
				}
			}
		}
		if !more {
			break
		}
	}
	if behind == 0 {
		t.Error("a was never too late")
	}
}

// TestHelpedForward: a metastore that somebody set back to an older version is helped forward by recover and by the
// next run; one that was set to another folder, or to one that was written into, is left, and the next version is
// made from that, unless our versions are newer: then only who says so goes on from there.
func TestHelpedForward(t *testing.T) {
	const v1, v2 = state + "/versions/dt=1/v000001", state + "/versions/dt=1/v000002"
	begin := func() *mem.FS {
		m := made(t, swap.Location, threeDays)
		must(t, change(m, swap.Location, "r1", "dt=1"))
		must(t, change(m, swap.Location, "r2", "dt=1"))
		return m
	}
	for _, c := range []struct {
		name  string
		do    func(m *mem.FS) error
		after string   // where the metastore has it after recover
		next  []string // files of the next version, beside its own
		found string
		back  string // the run before which it is set back
	}{
		{"an older version", func(m *mem.FS) error { return repoint(m, "dt=1", v1, "") }, v2, []string{"part-r2.parquet"}, "unfinished dt=1 r2", ""},
		{"a version that is lost", func(m *mem.FS) error { return repoint(m, "dt=1", state+"/versions/dt=1/v000009", "") }, v2, []string{"part-r2.parquet"}, "unfinished dt=1 r2", ""},
		{"an older version that was overwritten", func(m *mem.FS) error {
			return errors.Join(repoint(m, "dt=1", v1, ""), removeFiles(m, "dt=1"), addFile(m, "dt=1"), writeFile(m, v1+"/z", "z"))
		}, v1, []string{"z"}, "damaged dt=1 r1, set_back dt=1 r2", "r2"},
		{"the folder of old", func(m *mem.FS) error { return repoint(m, "dt=1", table+"/dt=1", "") }, table + "/dt=1", []string{"b"}, "set_back dt=1 r2", "r1"},
		{"the folder of old, which is gone", func(m *mem.FS) error {
			return errors.Join(m.Rename(bg, table+"/dt=1", "/gone"), repoint(m, "dt=1", table+"/dt=1", ""))
		}, table + "/dt=1", nil, "set_back dt=1 r2", "r1"},
		{"the folder of old, made anew", func(m *mem.FS) error {
			return errors.Join(m.Rename(bg, table+"/dt=1", "/gone"), mkdirs(m, table+"/dt=1"), writeFile(m, table+"/dt=1/x", "x"), writeFile(m, table+"/dt=1/y", "y"), repoint(m, "dt=1", table+"/dt=1", ""))
		}, table + "/dt=1", []string{"y"}, "changed dt=1 r2", ""},
		{"another folder", func(m *mem.FS) error {
			return errors.Join(mkdirs(m, "/elsewhere"), writeFile(m, "/elsewhere/x", "x"), writeFile(m, "/elsewhere/y", "y"), repoint(m, "dt=1", "/elsewhere", ""))
		}, "/elsewhere", []string{"y"}, "changed dt=1 r2", ""},
		{"nowhere", func(m *mem.FS) error { return repoint(m, "dt=1", "", "") }, "", nil, "changed dt=1 r2", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			m := begin()
			must(t, c.do(m))
			if got := strings.Join(remarks(t, m), ", "); got != c.found {
				t.Errorf("inspect finds %q, not %q", got, c.found)
			}
			again := m.Crash(mem.Killed, 0)
			must(t, recoverOn(m))
			if got := folderOf(m, "dt=1"); got != c.after {
				t.Errorf("after recover it is at %q", got)
			}
			if c.back != "" {
				refusesSetBack(t, again, c.back)
			}
			if c.back == "" {
				in, err := open(t, again, swap.Location).Inputs(bg, "dt=1")
				if back, serr := open(t, again, swap.Location).SetBack(bg, "dt=1", in); err == nil && (serr != nil || back != nil) {
					t.Errorf("set back: %v, %v", back, serr)
				}
				must(t, change(again.Crash(mem.Killed, 0), swap.Location, "r3", "dt=1"))
			}
			must(t, changeOver(again, swap.Location, "r3", "dt=1"))
			want := append([]string{"part-r3.parquet"}, c.next...)
			got := readTable(t, again)["dt=1"]
			for _, f := range want {
				if got[f] == "" {
					t.Errorf("the next version has %v, not %v", got, want)
				}
			}
			if at := folderOf(again, "dt=1"); len(got) != len(want) || at != state+"/versions/dt=1/v000003" {
				t.Errorf("the next version, at %s, has %v", at, got)
			}
			if wrong := ended(t, again); wrong != "" && c.name != "an older version that was overwritten" && !strings.HasPrefix(c.name, "the folder of old,") {
				t.Error(wrong)
			}
		})
	}
}

// changeOver is change by somebody who goes on from where a metastore was set back.
func changeOver(m storage.FS, way swap.Way, run string, parts ...string) error {
	o := options(m, way)
	o.IgnoreSetBack = true
	return changeWithOptions(m, o, run, parts...)
}

// refusesSetBack holds a metastore that was set back to before a run to it that nothing is published over that, and
// that the version published last can be put back.
func refusesSetBack(t *testing.T, m *mem.FS, before string) {
	t.Helper()
	s := open(t, m, swap.Location)
	in, err := s.Inputs(bg, "dt=1")
	must(t, err)
	back, err := s.SetBack(bg, "dt=1", in)
	must(t, err)
	if back == nil || back.First != before || back.Last != "r2" || back.Partition != "dt=1" {
		t.Errorf("set back as %+v", back)
	}
	seen := readTable(t, m).String()
	err = change(m, swap.Location, "over", "dt=1")
	if !errors.Is(err, swap.ErrSetBack) || !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), "before run "+before) {
		t.Fatalf("published over it: %v", err)
	}
	if got := readTable(t, m).String(); got != seen {
		t.Fatalf("readers see\n%s", got)
	}
	other := m.Crash(mem.Killed, 0)
	again := []swap.Restore{{Partition: "dt=1", To: "r2"}}
	if _, err := open(t, other, swap.Location).Rollback(bg, again, false, "back", "rollback"); !errors.Is(err, swap.ErrConflict) {
		t.Errorf("put back over what somebody else did: %v", err)
	}
	_, err = open(t, other, swap.Location).Rollback(bg, again, true, "back", "rollback")
	must(t, err)
	if got := readTable(t, other)["dt=1"]; got["part-r2.parquet"] == "" {
		t.Errorf("put back: %v", got)
	}
}

// TestRollbackToChangedVersion: what somebody wrote into an earlier version's folder does not come back as that version,
// unless it is forced.
func TestRollbackToChangedVersion(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, change(m, swap.Location, "r1", "dt=1"))
	must(t, change(m, swap.Location, "r2", "dt=1"))
	must(t, addTo(m, state+"/versions/dt=1/v000001"))
	back := []swap.Restore{{Partition: "dt=1", To: "r1"}}
	if _, err := open(t, m, swap.Location).Rollback(bg, back, false, "r3", "rollback"); !errors.Is(err, swap.ErrConflict) {
		t.Errorf("rolled back to what somebody has changed: %v", err)
	}
	if _, err := open(t, m, swap.Location).Rollback(bg, back, true, "r4", "rollback"); err != nil {
		t.Error(err)
	}
}

// renamed is a metastore in which the table has another name.
type renamed struct{ metastore }

func (renamed) URL() string { return "hive://localhost:9083/db.others" }

// TestStateOfAnotherRegisteredTable: two tables of a metastore that have one folder do not share a state. A folder that was made
// anew while all rows lie in the state is no other table.
func TestStateOfAnotherRegisteredTable(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, change(m, swap.Location, "r1", "dt=1"))
	o := options(m, swap.Location)
	o.Registry = renamed{metastore{fsys: m}}
	_, err := swap.Open(bg, m, table, o)
	if !errors.Is(err, swap.ErrForeignState) || !strings.Contains(err.Error(), "db.orders") || !strings.Contains(err.Error(), "db.others") {
		t.Errorf("another table's state: %v", err)
	}
	must(t, errors.Join(m.Rename(bg, table, table+".away"), m.Mkdir(bg, table, 0o755)))
	if _, err := swap.Open(bg, m, table, options(m, swap.Location)); err != nil {
		t.Errorf("the folder was made anew: %v", err)
	}
}

// TestTwoStates: a table that has a state gets no second one, whose locks and versions would be others: beside it, where the first one
// was named, or where only the metastore says that there is one.
func TestTwoStates(t *testing.T) {
	refused := func(m storage.FS, o swap.Options, is, not string) {
		t.Helper()
		_, err := swap.Open(bg, m, table, o)
		if !errors.Is(err, swap.ErrTwoStates) || !strings.Contains(err.Error(), is) || !strings.Contains(err.Error(), not) {
			t.Errorf("%s instead of %s: %v", not, is, err)
		}
	}
	for _, way := range []swap.Way{swap.Exchange, swap.Location} {
		// The usual one is there.
		m := made(t, way, threeDays)
		must(t, change(m, way, "r1", "dt=1"))
		o := options(m, way)
		o.StateDir = "/elsewhere"
		refused(m, o, state, "/elsewhere")
		o.StateDir = state + "/"
		must(t, changeWithOptions(m, o, "r2", "dt=1"))

		// Another one was named, also by the run that made the table.
		m = made(t, way, threeDays)
		if way == swap.Exchange {
			must(t, m.Rename(bg, table, table+".away"))
		}
		o.StateDir, o.Registry = "/elsewhere", options(m, way).Registry
		must(t, changeWithOptions(m, o, "r1", "dt=7"))
		o.StateDir = "/other"
		refused(m, o, "/elsewhere", "/other")
		o.StateDir = state
		refused(m, o, "/elsewhere", state)
		o.StateDir = ""
		must(t, changeWithOptions(m, o, "r2", "dt=7"))
	}
	// The table has no folder.
	m := made(t, swap.Location, threeDays)
	o := options(m, swap.Location)
	must(t, m.Rename(bg, table, table+".away"))
	o.StateDir = "/elsewhere"
	must(t, changeWithOptions(m, o, "r1", "dt=7", "dt=8"))
	o.StateDir = "/other"
	if err := changeWithOptions(m, o, "r2", "dt=7", "dt=9"); !errors.Is(err, swap.ErrTwoStates) || !strings.Contains(err.Error(), "/elsewhere") {
		t.Errorf("published over the version of another state: %v", err)
	}
	if now := registered(m); now["dt=7"].Run != "r1" || now["dt=9"].Folder != "" {
		t.Errorf("the metastore has %v", now)
	}
}

// TestSetBackIsTold: a metastore that was set back to what was there before our versions, as by somebody who wrote back all
// that he had read before, is the base of the next one; who publishes that is told what it lacks.
func TestSetBackIsTold(t *testing.T) {
	for folder, want := range map[string]string{table + "/dt=1": "before run r1", state + "/versions/dt=1/v000001": "before run r2", state + "/versions/dt=1/v000002": "", "/elsewhere": ""} {
		m := made(t, swap.Location, threeDays)
		must(t, change(m, swap.Location, "r1", "dt=1"))
		must(t, change(m, swap.Location, "r2", "dt=1"))
		must(t, mkdirs(m, "/elsewhere"))
		must(t, errors.Join(repoint(m, "dt=1", folder, ""), addFile(m, "dt=1")))
		published, err := open(t, m, swap.Location).Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "origin"}}, true, "r3", "rollback")
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(published[0].Warnings, "; "); !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: told %q", folder, got)
		}
	}
}

// TestOlderVersionIsNoBase: a run that was given an older version by the metastore, after recover had looked, does not
// build on it.
func TestOlderVersionIsNoBase(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, change(m, swap.Location, "r1", "dt=1"))
	must(t, change(m, swap.Location, "r2", "dt=1"))
	s := open(t, m, swap.Location)
	r, err := s.Begin(bg, "r3", "upsert", true)
	must(t, err)
	_, err = s.Recover(bg, []string{"dt=1"})
	must(t, err)
	must(t, repoint(m, "dt=1", state+"/versions/dt=1/v000001", ""))
	in, err := s.Inputs(bg, "dt=1")
	must(t, err)
	d, err := r.Stage(bg, "dt=1")
	must(t, err)
	sealed, err := d.Seal(bg, stage.Manifest{Run: "r3", Partition: "dt=1"})
	must(t, err)
	_, err = r.Publish(bg, []swap.Publication{{Partition: "dt=1", Inputs: in, Dir: d, Manifest: sealed}})
	if !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), "version 1, and version 2 is committed") {
		t.Fatal(err)
	}
	must(t, r.Abort(bg))
}

// TestLostVersion: a folder of ours that is not there is no empty partition.
func TestLostVersion(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, change(m, swap.Location, "r1", "dt=1"))
	must(t, m.Rename(bg, state+"/versions/dt=1/v000001", "/gone"))
	s := open(t, m, swap.Location)
	if _, err := s.Inputs(bg, "dt=1"); !errors.Is(err, swap.ErrLost) {
		t.Fatal(err)
	}
	if err := change(m, swap.Location, "r2", "dt=1"); !errors.Is(err, swap.ErrLost) {
		t.Fatal(err)
	}
	if got := remarks(t, m); len(got) != 1 || !strings.HasPrefix(got[0], "damaged dt=1") {
		t.Errorf("inspect finds %q", got)
	}
	// Where a partition is registered and no folder is there, others read no rows, and so do we.
	must(t, repoint(m, "dt=7", "/nothing/dt=7", ""))
	if in, err := s.Inputs(bg, "dt=7"); err != nil || !in.Absent || in.Folder != "/nothing/dt=7" {
		t.Fatalf("%+v, %v", in, err)
	}
	must(t, change(m, swap.Location, "r3", "dt=7"))
	if got := readTable(t, m)["dt=7"]; len(got) != 1 || got["part-r3.parquet"] == "" {
		t.Errorf("published as %v", got)
	}
}

// TestMixedHistory: versions keep their folders when a table comes to a metastore, and where it is switched by path in
// between.
func TestMixedHistory(t *testing.T) {
	m := mem.New()
	makeTable(t, m, threeDays)
	must(t, change(m, swap.Exchange, "r1", "dt=1"))
	must(t, change(m, swap.Rename, "r2", "dt=1"))
	register(t, m, threeDays)
	must(t, change(m, byPath, "r3", "dt=1"))
	must(t, change(m, swap.Location, "r4", "dt=1"))
	must(t, change(m, swap.Location, "r5", "dt=1"))
	must(t, writeFile(m, table+"/dt=1/back", "back"))
	must(t, repoint(m, "dt=1", table+"/dt=1", ""))
	must(t, changeOver(m, byPath, "r6", "dt=1"))
	must(t, change(m, swap.Location, "r7", "dt=1"))
	must(t, change(m, swap.Location, "new", "dt=9"))
	s := open(t, m, swap.Location)
	versions, err := s.History(bg, "dt=1")
	must(t, err)
	var got []string
	for _, v := range versions {
		got = append(got, v.Run+" "+strings.NewReplacer(state, "STATE", table, "TABLE").Replace(v.Path))
	}
	want := []string{"origin STATE/history/dt=1/origin", "r1 STATE/history/dt=1/r1", "r2 STATE/history/dt=1/r2",
		"r3 STATE/history/dt=1/foreign-6", "r4 STATE/versions/dt=1/v000004", "r5 STATE/versions/dt=1/v000005",
		"foreign-6 STATE/history/dt=1/foreign-6", "r6 TABLE/dt=1", "r7 STATE/versions/dt=1/v000007"}
	if !slices.Equal(got, want) {
		t.Errorf("the history is\n%s\nnot\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if wrong := ended(t, m); wrong != "" {
		t.Error(wrong)
	}
	for _, v := range []string{"origin", "r1", "r4", "foreign-6", "r7"} {
		_, err := s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: v}}, false, "back-"+v, "rollback")
		must(t, err)
		if file := "part-" + v + ".parquet"; strings.HasPrefix(v, "r") && readTable(t, m)["dt=1"][file] == "" {
			t.Errorf("rolled back to %s: %v", v, readTable(t, m)["dt=1"])
		}
	}
}

// TestByPathRefused: what can't be switched by its path is refused before anything is changed.
func TestByPathRefused(t *testing.T) {
	for name, c := range map[string]struct {
		do  func(m *mem.FS) error
		is  error
		say string
	}{
		"another folder": {func(m *mem.FS) error {
			return errors.Join(mkdirs(m, "/elsewhere"), repoint(m, "dt=2", "/elsewhere", ""))
		}, swap.ErrElsewhere, "/elsewhere"},
		"shared":                    {func(m *mem.FS) error { return repoint(m, "dt=7", table+"/dt=2", "") }, swap.ErrElsewhere, "dt=7"},
		"not registered, and there": {func(m *mem.FS) error { return repoint(m, "dt=2", "", "") }, fs.ErrExist, "does not have partition dt=2"},
	} {
		m := made(t, byPath, threeDays)
		must(t, c.do(m))
		before := readTable(t, m).String()
		err := change(m, byPath, "r1", days...)
		if !errors.Is(err, c.is) || !strings.Contains(err.Error(), c.say) {
			t.Errorf("%s: %v", name, err)
		}
		if got := readTable(t, m).String(); got != before {
			t.Errorf("%s: the table is %s", name, got)
		}
		must(t, change(m, swap.Location, "r2", "dt=1", "dt=3"))
	}
	m := mem.New()
	makeTable(t, m, threeDays)
	if err := change(m, swap.Location, "r1", "dt=1"); !errors.Is(err, errors.ErrUnsupported) {
		t.Errorf("without a metastore: %v", err)
	}
}

// TestSharedFolder: a folder of two partitions stays that of the one that is not changed.
func TestSharedFolder(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, repoint(m, "dt=7", table+"/dt=1", ""))
	must(t, change(m, swap.Location, "r1", "dt=1"))
	got := readTable(t, m)
	if got["dt=7"]["a"] != "1a" || got["dt=1"]["part-r1.parquet"] == "" {
		t.Fatalf("the table is %s", got)
	}
	must(t, repoint(m, "dt=7", state+"/versions/dt=1/v000001", ""))
	must(t, change(m, swap.Location, "r2", "dt=1"))
	must(t, vacuumAll(m, swap.Location))
	if got := readTable(t, m)["dt=7"]; got["part-r1.parquet"] == "" {
		t.Errorf("vacuum took it from another partition: %v", got)
	}
}

// TestStrayVersion: a folder in the place of the next version is no version, and nothing is published over it.
func TestStrayVersion(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	must(t, mkdirs(m, state+"/versions/dt=1/v000001"))
	if err := change(m, swap.Location, "r1", days...); !errors.Is(err, fs.ErrExist) || errors.Is(err, swap.ErrConflict) {
		t.Fatal(err)
	}
	if got := readTable(t, m).String(); got != threeDays.String() {
		t.Errorf("the table is %s", got)
	}
}

// elsewhere is a metastore that has a partition on another storage.
type elsewhere struct{ metastore }

func (e elsewhere) Look(ctx context.Context, partitions []string) (map[string]swap.Registered, error) {
	if partitions == nil || slices.Contains(partitions, "dt=2") {
		return nil, fmt.Errorf("%w: dt=2 is at s3://bucket/dt=2", swap.ErrElsewhere)
	}
	return e.metastore.Look(ctx, partitions)
}

// TestElsewhere: a partition on another storage is refused by its name, and is in no other's way.
func TestElsewhere(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	o := options(m, swap.Location)
	o.Registry = elsewhere{metastore{fsys: m}}
	if err := changeWithOptions(m, o, "r1", days...); !errors.Is(err, swap.ErrElsewhere) || !strings.Contains(err.Error(), "dt=2") {
		t.Error(err)
	}
	must(t, changeWithOptions(m, o, "r2", "dt=1", "dt=3"))
	// It was moved there when it had versions already.
	must(t, change(m, swap.Location, "r3", "dt=1", "dt=2"))
	s, err := swap.Open(bg, m, table, o)
	must(t, err)
	_, err = s.Recover(bg, nil)
	must(t, err)
	removed, err := s.Vacuum(bg, 0, false)
	if err != nil || len(removed) != 1 {
		t.Errorf("vacuumed %v, %v", removed, err)
	}
	found, err := s.Inspect(bg, func(string) bool { return true })
	if err != nil || len(found) != 1 || !strings.Contains(found[0].Message, "s3://") {
		t.Errorf("inspect finds %v, %v", found, err)
	}
}

// TestRedeclare: what a run itself changes in the metastore right before its publish is no conflict, what others change is.
func TestRedeclare(t *testing.T) {
	for name, c := range map[string]struct {
		others func(m storage.FS) error // before, while and after the run's own change
		when   int
	}{
		"alone":  {nil, 0},
		"before": {func(m storage.FS) error { return repoint(m, "dt=1", path.Join(table, "dt=1"), "columns of others") }, 0},
		"read":   {func(m storage.FS) error { return repoint(m, "dt=1", path.Join(table, "dt=1"), "columns of others") }, 1},
		"over":   {func(m storage.FS) error { return repoint(m, "dt=1", path.Join(table, "dt=1"), "columns of others") }, 2},
		"moved":  {func(m storage.FS) error { return repoint(m, "dt=1", path.Join(table, "elsewhere"), "") }, 2},
		"after":  {func(m storage.FS) error { return repoint(m, "dt=1", path.Join(table, "dt=1"), "columns of others") }, 3},
	} {
		t.Run(name, func(t *testing.T) {
			m := made(t, swap.Location, threeDays)
			s := open(t, m, swap.Location)
			before := readRegistered(t, m)
			others := func(now int) {
				if c.others != nil && c.when == now {
					must(t, c.others(m))
				}
			}
			r, err := s.Begin(bg, "r1", "upsert", true)
			must(t, err)
			must(t, r.Lease(bg, []string{"dt=1"}))
			list, err := stageAll(s, r, "r1", []string{"dt=1"}, clock())
			must(t, err)
			others(0)
			err = s.Redeclare(bg, list, func(partitions []string) (map[string]swap.Restamp, error) {
				if !slices.Equal(partitions, []string{"dt=1"}) {
					t.Errorf("called for %v", partitions)
				}
				others(1)
				was := registered(m)["dt=1"].Stamp
				err := repoint(m, "dt=1", folderOf(m, "dt=1"), "columns of ours")
				others(2)
				return map[string]swap.Restamp{"dt=1": {Was: was, Is: "columns of ours"}}, err
			})
			others(3)
			if err == nil {
				_, err = r.Publish(bg, list)
			}
			if alone := c.others == nil; (err == nil) != alone || !alone && !errors.Is(err, swap.ErrConflict) {
				t.Errorf("published: %v", err)
			}
			must(t, r.Abort(bg))
			if now := readRegistered(t, m); err != nil && name != "moved" && now.String() != before.String() {
				t.Errorf("readers see\n%s", now)
			}
		})
	}
}

// TestTableOf: the table without partitions of which a registry has a version.
func TestTableOf(t *testing.T) {
	m := mem.New()
	must(t, errors.Join(mkdirs(m, state), mkdirs(m, "/elsewhere/state"), mkdirs(m, "/warehouse/versions")))
	must(t, writeFile(m, state+"/table.json", `{"table":"`+table+`"}`))
	must(t, writeFile(m, "/elsewhere/state/table.json", `{"table":"/t"}`))
	for folder, want := range map[string]string{
		state + "/versions/v000003":           table,
		"/elsewhere/state/versions/v000001":   "/t",
		state + "/versions/dt=1/hr=2/v000003": "", // of a partition
		table:                                 "",
		"/warehouse/versions/v000001":         "",
		state + "/history/v000001":            "",
		"/":                                   "",
	} {
		if got, err := swap.TableOf(bg, m, folder); got != want || err != nil {
			t.Errorf("%s: %q, %v", folder, got, err)
		}
	}
}

// holding is a metastore with locks.
type holding struct {
	metastore
	held   map[string]string
	err    error
	asked  int
	before func()
}

func (h *holding) Hold(_ context.Context, partitions []string, run string) (func() error, error) {
	h.asked++
	if h.before != nil {
		h.before()
	}
	if h.err != nil {
		return nil, h.err
	}
	for _, p := range partitions {
		if by := h.held[p]; by != "" {
			return nil, fmt.Errorf("%w: %s by %s", storage.ErrLocked, p, by)
		}
	}
	for _, p := range partitions {
		h.held[p] = run
	}
	return func() error {
		for _, p := range partitions {
			delete(h.held, p)
		}
		return nil
	}, nil
}

// TestHold: the metastore's lock is taken after ours and given back; somebody else's is waited for; that there is none
// stops nobody.
func TestHold(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	h := &holding{metastore: metastore{fsys: m}, held: map[string]string{}}
	o := options(m, swap.Location)
	o.Registry = h
	h.before = func() {
		if _, err := m.Stat(bg, state+"/locks/dt=1.lock.json"); err != nil {
			t.Errorf("it was asked for before our own: %v", err)
		}
	}
	must(t, changeWithOptions(m, o, "r1", "dt=1", "dt=2"))
	if h.asked != 1 || len(h.held) != 0 {
		t.Errorf("asked %d times, and held is %v", h.asked, h.held)
	}
	h.held["dt=1"] = "Hive"
	if err := changeWithOptions(m, o, "r2", "dt=1"); !errors.Is(err, swap.ErrLocked) || !strings.Contains(err.Error(), "Hive") {
		t.Errorf("held by somebody else: %v", err)
	}
	o.LockWait = time.Minute
	h.before = func() {
		if h.asked > 4 {
			delete(h.held, "dt=1")
		}
	}
	must(t, changeWithOptions(m, o, "r3", "dt=1"))
	h.err, h.before = errors.New("no locks here"), nil
	must(t, changeWithOptions(m, o, "r4", "dt=1"))
}

// TestVacuumOfVersions: versions go when they are old; those that the metastore has, the newest and folders that are
// not ours stay. A vacuum that does not ask the metastore is found out.
func TestVacuumOfVersions(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	for i := 1; i <= 3; i++ {
		must(t, change(m, swap.Location, fmt.Sprintf("r%d", i), "dt=1", "dt=2"))
	}
	// Somebody has put dt=2 back, and written there: the next version is made from that.
	must(t, repoint(m, "dt=2", state+"/versions/dt=2/v000001", ""))
	must(t, addFile(m, "dt=2"))
	before := readTable(t, m).String()
	s := open(t, m, swap.Location)
	young, err := s.Vacuum(bg, time.Hour, false)
	if err != nil || len(young) != 0 {
		t.Fatalf("young versions: %v, %v", young, err)
	}
	mutant := m.Crash(mem.Killed, 0)
	for _, dry := range []bool{true, false} {
		removed, err := s.Vacuum(bg, 0, dry)
		must(t, err)
		var got []string
		for _, v := range removed {
			got = append(got, path.Join(v.Partition, v.Run))
		}
		if want := []string{"dt=1/r1", "dt=1/r2", "dt=2/r2"}; !slices.Equal(got, want) {
			t.Errorf("dry run %t: removed %v, not %v", dry, got, want)
		}
	}
	if got := readTable(t, m).String(); got != before {
		t.Errorf("the table is %s", got)
	}
	leaves, err := s.VacuumLeaves(bg, 0)
	must(t, err)
	if len(leaves) != 2 || leaves[0].Path != table+"/dt=1" || leaves[1].Path != table+"/dt=2" {
		t.Errorf("it says of what is left: %+v", leaves)
	}
	o := options(mutant, swap.Location)
	o.Registry = forgetful{metastore{fsys: mutant}}
	s, err = swap.Open(bg, mutant, table, o)
	must(t, err)
	_, err = s.Vacuum(bg, 0, false)
	must(t, err)
	if got := readTable(t, mutant).String(); !strings.Contains(got, "LOST") {
		t.Errorf("a vacuum that does not ask removes nothing that is live: %s", got)
	}
}

// TestVacuumOfReusedFolder: a folder that was a version twice is as old as the younger one.
func TestVacuumOfReusedFolder(t *testing.T) {
	m := mem.New()
	makeTable(t, m, threeDays)
	register(t, m, threeDays)
	now := clock()
	later := func(way swap.Way, run string) {
		now = now.Add(time.Hour)
		o := options(m, way)
		o.Clock, o.IgnoreSetBack = func() time.Time { return now }, true
		must(t, changeWithOptions(m, o, run, "dt=1"))
	}
	later(byPath, "r1")
	later(swap.Location, "r2")
	// Somebody uses the folder of r1 again, and it goes to the history with what he wrote.
	must(t, writeFile(m, table+"/dt=1/back", "back"))
	must(t, repoint(m, "dt=1", table+"/dt=1", ""))
	later(byPath, "r3")
	o := options(m, swap.Location)
	o.Clock = func() time.Time { return now.Add(time.Minute) }
	s, err := swap.Open(bg, m, table, o)
	must(t, err)
	removed, err := s.Vacuum(bg, 30*time.Minute, false)
	must(t, err)
	if len(removed) != 1 || removed[0].Run != "origin" {
		t.Errorf("removed %+v", removed)
	}
	versions, err := s.History(bg, "dt=1")
	must(t, err)
	if v := versions[len(versions)-2]; !v.Foreign || v.Path == "" || versions[1].Path != v.Path {
		t.Errorf("the folder is not used twice, or gone: %+v", versions)
	}
	// When they are old at last each goes once.
	now = now.Add(time.Hour)
	if removed, err = s.Vacuum(bg, 30*time.Minute, false); err != nil || len(removed) != 2 {
		t.Errorf("removed %+v, %v", removed, err)
	}
}

// forgetful is a metastore that nobody asks: it knows nothing.
type forgetful struct{ metastore }

func (forgetful) Look(context.Context, []string) (map[string]swap.Registered, error) { return nil, nil }

// trusting is a metastore that is asked once.
type trusting struct {
	metastore
	seen map[string]swap.Registered
}

func (r *trusting) Look(ctx context.Context, partitions []string) (map[string]swap.Registered, error) {
	if r.seen == nil {
		var err error
		if r.seen, err = r.metastore.Look(ctx, nil); err != nil {
			return nil, err
		}
	}
	out := map[string]swap.Registered{}
	for p, at := range r.seen {
		if partitions == nil || slices.Contains(partitions, p) {
			out[p] = at
		}
	}
	return out, nil
}

// TestMutantThatDoesNotAsk: a run that points without looking overwrites what somebody else did, which
// TestForeignWriter would see.
func TestMutantThatDoesNotAsk(t *testing.T) {
	needsEveryPoint(t)
	for _, mutant := range []bool{false, true} {
		lost := 0
		for _, who := range foreigners(swap.Location)[2:4] {
			interleaveEvery(1, func() *mem.FS { return made(t, swap.Location, threeDays) },
				func(m storage.FS) error {
					o := options(m, swap.Location)
					if mutant {
						o.Registry = &trusting{metastore: metastore{fsys: m, late: true}}
					}
					return changeWithOptions(m, o, "r1", days...)
				},
				func(m storage.FS) error { return who.do(m, "dt=3") },
				func(m *mem.FS, at int, aerr, _ error) {
					got := readTable(t, m)["dt=3"]
					if aerr == nil && got["theirs"] == "" && len(got) > 0 && strings.HasPrefix(folderOf(m, "dt=3"), state) && !merges(m, who) {
						lost++
					}
				})
		}
		if (lost > 0) != mutant {
			t.Errorf("mutant %t: lost %d times", mutant, lost)
		}
	}
}

// merges reports whether a run was made after somebody's change, so that its base is that.
func merges(m *mem.FS, who foreign) bool {
	log := changesOf(m)
	first := slices.IndexFunc(log, func(c []registration) bool { return c[0].Run == "r1" })
	theirs := slices.IndexFunc(log, func(c []registration) bool {
		return c[0].Run == "" && c[0].Partition == "dt=3" && c[0].Stamp != "theirs"
	})
	if first < 0 || theirs > first {
		return true
	}
	for _, c := range log[first] {
		if c.Partition == "dt=3" {
			return who.name == "drops it" && c.Was == "" || c.Was == "/elsewhere/dt=3"
		}
	}
	return false
}

// TestSideBySide: where operations wait for another machine, what may be done at once is, and a crash at any of them
// ends as ever.
func TestSideBySide(t *testing.T) {
	far := func(f storage.FS) storage.FS { return &remote{f} }
	for _, way := range []swap.Way{swap.Rename, swap.Location} {
		for _, sc := range []scenario{named("three partitions"), named("undo a run"), named("publish what is staged")} {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				old, new := sc.outcomes(t, way)
				crashAll(t, sc, way, far, 1, func(m *mem.FS, what string) {
					if wrong := settle(t, m, old, new); wrong != "" {
						t.Fatalf("%s: %s", what, wrong)
					}
				})
			})
		}
	}
	m := made(t, swap.Location, threeDays)
	var parts []string
	for i := range 40 {
		parts = append(parts, fmt.Sprintf("dt=%02d", 10+i))
	}
	must(t, change(far(m), swap.Location, "r1", parts...))
	if all := changesOf(m); len(all[len(all)-1]) != len(parts) {
		t.Errorf("published by %d changes", len(all))
	}
	// Of two that want the same, one waits, whatever the order.
	holder, err := open(t, m, swap.Location).Begin(bg, "holder", "upsert", true)
	must(t, err)
	must(t, holder.Lease(bg, parts[20:21]))
	if err := change(far(m), swap.Location, "r2", parts...); !errors.Is(err, swap.ErrLocked) || !strings.Contains(err.Error(), parts[20]) {
		t.Errorf("one is held: %v", err)
	}
	must(t, holder.Abort(bg))
	must(t, change(m, swap.Location, "r3", parts...))
}

// recordless is a file system of a process that points before there is a record, which it takes to be there.
type recordless struct {
	storage.FS
	made atomic.Bool
}

func (r *recordless) Rename(ctx context.Context, from, to string) error {
	if strings.HasSuffix(to, "/runs/r1.json") {
		r.made.Store(true)
		return nil
	}
	return r.FS.Rename(ctx, from, to)
}

func (r *recordless) Stat(ctx context.Context, name string) (storage.Info, error) {
	if r.made.Load() && strings.HasSuffix(name, "/runs/r1.json") {
		return storage.Info{Name: "r1.json"}, nil
	}
	return r.FS.Stat(ctx, name)
}

// TestMutantWithoutRecord: a run that points the metastore before it commits is found out, and so is, without lies
// about the record, one that never made any points at nothing.
func TestMutantWithoutRecord(t *testing.T) {
	for _, mutant := range []bool{true, false} {
		noticed := ""
		for at := 0; noticed == "" && at < 300; at++ {
			m := made(t, swap.Location, threeDays)
			f := dying(m, at)
			f.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: "record.json", Skip: true})
			var mine storage.FS = f
			if mutant {
				mine = &recordless{FS: f}
			}
			o := options(m, swap.Location)
			o.Registry = metastore{fsys: f}
			err := changeWithOptions(mine, o, "r1", days...)
			if err == nil && !mutant {
				t.Fatal("published without a record")
			}
			left := m.Crash(mem.Killed, 0)
			must(t, recoverOn(left))
			if noticed = ended(t, left); noticed == "" && readTable(t, left).String() != threeDays.String() {
				noticed = "the table is changed"
			}
			if !mutant && noticed != "" && !strings.Contains(noticed, "no history of") {
				t.Fatalf("operation %d: %s", at, noticed)
			}
			if !mutant {
				noticed = ""
			}
		}
		if (noticed != "") != mutant {
			t.Errorf("mutant %t: %q", mutant, noticed)
		}
	}
}

// listed is a file system whose folders have access control lists, and that may carry them over.
type listed struct {
	storage.FS
	can  bool
	took map[string]string
}

func (l *listed) Stat(ctx context.Context, name string) (storage.Info, error) {
	i, err := l.FS.Stat(ctx, name)
	i.ACL = strings.HasSuffix(name, "dt=1")
	return i, err
}

func (l *listed) SetAttr(ctx context.Context, name string, a storage.Attr) error {
	if a.ACLOf == nil {
		return l.FS.SetAttr(ctx, name, a)
	}
	if !l.can {
		return fmt.Errorf("set the list of %s: %w", name, errors.ErrUnsupported)
	}
	l.took[name] = *a.ACLOf
	return nil
}

// TestACL: a partition's access control list is carried over, and where that can't be the partition is refused unless
// the caller goes without.
func TestACL(t *testing.T) {
	for _, way := range []swap.Way{swap.Rename, swap.Location} {
		m := made(t, way, threeDays)
		l := &listed{FS: m, can: true, took: map[string]string{}}
		o := options(m, way)
		must(t, changeWithOptions(l, o, "r1", "dt=1", "dt=2"))
		if len(l.took) != 1 || l.took[state+"/staging/r1/p00001/data"] != table+"/dt=1" {
			t.Errorf("%s: carried over: %v", way, l.took)
		}
		l.can = false
		before := readTable(t, m).String()
		if way == swap.Location { // it is where the metastore has it
			must(t, repoint(m, "dt=1", table+"/dt=1", ""))
			o.IgnoreSetBack = true
			before = readTable(t, m).String()
		}
		err := changeWithOptions(l, o, "r2", "dt=1")
		if !errors.Is(err, swap.ErrACL) || !errors.Is(err, errors.ErrUnsupported) || !strings.Contains(err.Error(), "partition dt=1") || !strings.Contains(err.Error(), "--ignore-acl") {
			t.Errorf("%s: %v", way, err)
		}
		if got := readTable(t, m).String(); got != before {
			t.Errorf("%s: the table is %s", way, got)
		}
		o.IgnoreACL = true
		must(t, changeWithOptions(l, o, "r3", "dt=1"))
	}
}
