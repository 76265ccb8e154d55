package swap_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

const state = "/warehouse/.hupsert/orders"

// stageOnly does what change does, and stops before it publishes.
func stageOnly(m storage.FS, way swap.Way, run string, parts ...string) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "upsert", parts[0] != "")
	if err != nil {
		return err
	}
	if err = r.Lease(bg, parts); err == nil {
		var list []swap.Publication
		if list, err = stageAll(s, r, run, parts, clock()); err == nil {
			_, err = r.Park(bg, list, swap.Beside{}, json.RawMessage(`{"said": true}`))
		}
	}
	return errors.Join(err, r.Abort(bg))
}

// publishStaged publishes r1.
func publishStaged(m storage.FS, way swap.Way) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	_, err = s.PublishStaged(bg, "r1", nil)
	return err
}

// discardStaged discards r1.
func discardStaged(m storage.FS, way swap.Way) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	_, err = s.Discard(bg, "r1")
	return err
}

// undoRun takes r0 back in all its partitions.
func undoRun(m storage.FS, way swap.Way) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	parts, err := s.RunPartitions(bg, "r0")
	if err != nil {
		return err
	}
	var list []swap.Restore
	for _, p := range parts {
		list = append(list, swap.Restore{Partition: p, Undoes: "r0"})
	}
	_, err = s.Rollback(bg, list, false, "back", "rollback")
	return err
}

// discards is who discards r1, if it is staged.
func discards(way swap.Way) heir {
	return func(m storage.FS) error {
		err := discardStaged(m, way)
		if errors.Is(err, swap.ErrPublished) || errors.Is(err, swap.ErrNoVersion) {
			return nil
		}
		return err
	}
}

func vacuumAll(m storage.FS, way swap.Way) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	_, err = s.Vacuum(bg, 0, false)
	return err
}

// waiting lists the runs that are staged, as the files say it.
func waiting(t testing.TB, m storage.FS) (runs []string) {
	t.Helper()
	list, err := m.List(bg, state+"/staging")
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	must(t, err)
	there := func(name string) bool {
		_, err := m.Stat(bg, name)
		return err == nil
	}
	for _, i := range list {
		if there(state+"/staging/"+i.Name+"/staged.json") && !there(state+"/runs/done/"+i.Name+".json") {
			runs = append(runs, i.Name)
		}
	}
	return runs
}

// endable says what is wrong with runs that are staged, "" if nothing is: nothing but what they staged is
// there, each can be published, wholly, and each can be discarded, so that nothing is left.
func endable(t testing.TB, m *mem.FS, s *swap.Store) string {
	listed, err := s.StagedRuns(bg)
	if err != nil {
		return fmt.Sprintf("staged runs: %v", err)
	}
	runs := waiting(t, m)
	if len(listed) != len(runs) {
		return fmt.Sprintf("%d staged runs are listed, want %v", len(listed), runs)
	}
	for i, st := range listed {
		if st.Run != runs[i] || string(st.Detail) == "" {
			return fmt.Sprintf("run %s is listed as %+v", runs[i], st)
		}
		list, err := m.List(bg, state+"/staging/"+st.Run)
		must(t, err)
		if len(list) != len(st.Partitions)+1 {
			return fmt.Sprintf("beside %d staged partitions and the record: %v", len(st.Partitions), list)
		}
		if wrong := publishes(t, m.Crash(mem.Killed, 0), st); wrong != "" {
			return wrong
		}
		if wrong := vanishes(t, m.Crash(mem.Killed, 0), st.Run); wrong != "" {
			return wrong
		}
	}
	return ""
}

func publishes(t testing.TB, m *mem.FS, st swap.Staged) string {
	s := open(t, m, swap.Auto)
	changes, err := s.StagedChanges(bg, st)
	must(t, err)
	_, err = s.PublishStaged(bg, st.Run, nil)
	if len(changes) > 0 && errors.Is(err, swap.ErrConflict) {
		return leftOver(t, m)
	}
	if err != nil {
		return fmt.Sprintf("what is staged is not published: %v", err)
	}
	got := readTable(t, m)
	for _, p := range st.Partitions {
		if got[p.Partition]["part-"+st.Run+".parquet"] != "rows of "+st.Run || len(got[p.Partition]) != p.Files {
			return fmt.Sprintf("%s is published as %v", p.Partition, got[p.Partition])
		}
	}
	return leftOver(t, m)
}

// leftOver says what is left that no run needs any more. Versions may have been vacuumed.
func leftOver(t testing.TB, m *mem.FS) string {
	if left := staged(t, m, open(t, m, swap.Auto)); left != "" {
		return "left in staging: " + left
	}
	if open := openRuns(t, m); open != "" {
		return "left open: " + open
	}
	return strayVersions(t, m)
}

func vanishes(t testing.TB, m *mem.FS, run string) string {
	want := readTable(t, m)
	delete(want["staged"], run)
	if len(want["staged"]) == 0 {
		delete(want, "staged")
	}
	if _, err := open(t, m, swap.Auto).Discard(bg, run); err != nil {
		return fmt.Sprintf("what is staged is not discarded: %v", err)
	}
	if got := readTable(t, m); got.String() != want.String() {
		return "discarding it changed the table to " + got.String()
	}
	return leftOver(t, m)
}

// TestStagedRun walks a staged run through other runs, recover and vacuum to its publication.
func TestStagedRun(t *testing.T) {
	for _, way := range allWays {
		m := made(t, way, threeDays)
		must(t, change(m, way, "r0", "dt=1"))
		must(t, stageOnly(m, way, "r1", "dt=1", "dt=2", "dt=9"))
		must(t, change(m, way, "r2", "dt=3")) // it holds no lock
		before := readTable(t, m)
		must(t, recoverOn(m))
		must(t, vacuumAll(m, way))
		if got := readTable(t, m).String(); got != before.String() || !strings.Contains(got, "staged/r1") {
			t.Fatalf("%s: recover and vacuum left %s", way, got)
		}
		later := clock().Add(time.Hour)
		s, err := swap.Open(bg, m, table, known(m, swap.Options{Publish: way, Clock: func() time.Time { return later }}))
		must(t, err)
		called := 0
		published, err := s.PublishStaged(bg, "r1", func([]string) (map[string]swap.Restamp, error) { called++; return nil, nil })
		must(t, err)
		if len(published) != 3 || published[0].Version != 2 || published[2].Version != 1 || called != 1 {
			t.Fatalf("%s: published %+v, called %d times", way, published, called)
		}
		if wrong := leftOver(t, m); wrong != "" {
			t.Errorf("%s: %s", way, wrong)
		}
		versions, err := s.History(bg, "dt=1")
		must(t, err)
		if last := versions[len(versions)-1]; last.Run != "r1" || !last.Time.Equal(later) {
			t.Errorf("%s: the version is %+v, want one of run r1 that is as old as its publication", way, last)
		}
		if _, err := s.PublishStaged(bg, "r1", nil); !errors.Is(err, swap.ErrPublished) {
			t.Errorf("%s: published again: %v", way, err)
		}
		if _, err := s.Discard(bg, "r1"); !errors.Is(err, swap.ErrPublished) {
			t.Errorf("%s: a published run is discarded: %v", way, err)
		}
		for _, run := range []string{"none", "r9"} {
			if _, err := s.PublishStaged(bg, run, nil); !errors.Is(err, swap.ErrNoVersion) {
				t.Errorf("%s: published %s: %v", way, run, err)
			}
		}
	}
}

// TestStaleStagedRun: a partition that changed since is named, nothing changes, and the run stays staged.
func TestStaleStagedRun(t *testing.T) {
	for _, way := range allWays {
		m := made(t, way, threeDays)
		must(t, stageOnly(m, way, "r1", "dt=1", "dt=2"))
		must(t, change(m, way, "r2", "dt=2"))
		before := readTable(t, m).String()
		err := publishStaged(m, way)
		if !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), "partition dt=2") {
			t.Fatalf("%s: %v", way, err)
		}
		if got := readTable(t, m).String(); got != before {
			t.Errorf("%s: the table is %s", way, got)
		}
		s := open(t, m, way)
		st, err := s.StagedRun(bg, "r1")
		must(t, err)
		changes, err := s.StagedChanges(bg, st)
		must(t, err)
		if len(changes) != 1 || changes["dt=2"] == "" {
			t.Errorf("%s: changed: %v", way, changes)
		}
		if wrong := vanishes(t, m, "r1"); wrong != "" {
			t.Errorf("%s: %s", way, wrong)
		}
	}
}

// TestStagedBeside: a staged run rests on partitions that it does not change. While it is published it holds them, and what stands for
// new ones.
func TestStagedBeside(t *testing.T) {
	for _, way := range allWays {
		m := made(t, way, threeDays)
		park := func(run string) {
			s := open(t, m, way)
			r, err := s.Begin(bg, run, "upsert", true)
			must(t, err)
			must(t, r.Lease(bg, []string{"dt=1", "dt=2"}))
			list, err := stageAll(s, r, run, []string{"dt=1"}, clock())
			must(t, err)
			beside, err := s.InputsOf(bg, []string{"dt=2"})
			must(t, err)
			_, err = r.Park(bg, list, swap.Beside{Inputs: beside, New: true}, json.RawMessage(`{"said": true}`))
			must(t, err)
			must(t, r.Abort(bg))
		}
		park("r1")
		for _, held := range [][]string{{"dt=2"}, nil} {
			s := open(t, m, way)
			r, err := s.Begin(bg, "r2", "upsert", true)
			must(t, err)
			if held == nil {
				must(t, r.LeaseNew(bg))
			}
			must(t, r.Lease(bg, held))
			if err := publishStaged(m, way); !errors.Is(err, swap.ErrLocked) {
				t.Errorf("%s: published while another run holds %q: %v", way, held, err)
			}
			must(t, r.Abort(bg))
		}
		must(t, change(m, way, "r3", "dt=3"))
		must(t, publishStaged(m, way))
		m = made(t, way, threeDays)
		park("r1")
		must(t, change(m, way, "r2", "dt=2"))
		before := readTable(t, m).String()
		if err := publishStaged(m, way); !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), "partition dt=2") {
			t.Errorf("%s: %v", way, err)
		}
		if got := readTable(t, m).String(); got != before {
			t.Errorf("%s: the table is %s", way, got)
		}
		if wrong := vanishes(t, m, "r1"); wrong != "" {
			t.Errorf("%s: %s", way, wrong)
		}
	}
}

// TestTamperedStagedRun: what is not as it was sealed is not published, and stays for who wants to look.
func TestTamperedStagedRun(t *testing.T) {
	data := state + "/staging/r1/p00001/data"
	for name, tamper := range map[string]func(m *mem.FS) error{
		"a new file":     func(m *mem.FS) error { return writeFile(m, data+"/x", "x") },
		"a new folder":   func(m *mem.FS) error { return mkdirs(m, data+"/x") },
		"a file is gone": func(m *mem.FS) error { return m.Remove(bg, data+"/part-r1.parquet") },
		"another file": func(m *mem.FS) error {
			return errors.Join(m.Remove(bg, data+"/part-r1.parquet"), writeFile(m, data+"/part-r1.parquet", "rows of r1"))
		},
		"no manifest": func(m *mem.FS) error { return m.Remove(bg, path.Dir(data)+"/manifest.json") },
	} {
		t.Run(name, func(t *testing.T) {
			m := made(t, swap.Auto, threeDays)
			must(t, stageOnly(m, swap.Exchange, "r1", "dt=1", "dt=2"))
			must(t, tamper(m))
			before := readTable(t, m).String()
			if err := publishStaged(m, swap.Exchange); !errors.Is(err, swap.ErrTampered) || !strings.Contains(err.Error(), "dt=1") {
				t.Fatal(err)
			}
			if got := readTable(t, m).String(); got != before {
				t.Errorf("the table is %s", got)
			}
			if wrong := vanishes(t, m, "r1"); wrong != "" {
				t.Error(wrong)
			}
		})
	}
}

// TestStagedRunTakenBack: somebody changes a partition of a staged run at any moment of its publication. It
// is published in all partitions, or in none and staged as before.
func TestStagedRunTakenBack(t *testing.T) {
	add := foreigners(swap.Auto)[0]
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			conflicts := 0
			begin := func() *mem.FS {
				m := made(t, way, threeDays)
				must(t, stageOnly(m, way, "r1", days...))
				return m
			}
			again := begin()
			must(t, publishStaged(again, way))
			published := readTable(t, again)
			interleave(begin, func(m storage.FS) error { return publishStaged(m, way) },
				func(m storage.FS) error { return add.do(m, "dt=3") },
				func(m *mem.FS, at int, aerr, berr error) {
					if berr != nil {
						return // the path was absent for a moment, and the writer knows
					}
					got := readTable(t, m)
					want := with(published, add, "dt=3").String()
					if errors.Is(aerr, swap.ErrConflict) {
						conflicts++
						old := with(threeDays, add, "dt=3")
						old["staged"] = map[string]string{"r1": "waits"}
						want = old.String()
					} else if aerr != nil {
						t.Fatalf("at operation %d: %v", at, aerr)
					}
					if got.String() != want {
						t.Fatalf("at operation %d (%v): the table is\n%s\nnot\n%s", at, aerr, got, want)
					}
					if wrong := staged(t, m, open(t, m, way)); wrong != "" {
						t.Fatalf("at operation %d: left %s", at, wrong)
					}
					for _, run := range waiting(t, m) {
						if wrong := vanishes(t, m, run); wrong != "" {
							t.Fatalf("at operation %d: %s", at, wrong)
						}
					}
				})
			if conflicts == 0 {
				t.Error("no conflict was met")
			}
		})
	}
}

// TestDiscardAfterKillThenPowerCut: the publication of a staged run meets another writer, and is killed at any
// operation; then somebody discards the run, and the power goes. Nothing of it comes back.
func TestDiscardAfterKillThenPowerCut(t *testing.T) {
	add := foreigners(swap.Auto)[0]
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			published := afterChange(t, way)
			var outcomes, last []string
			for _, p := range []partitions{threeDays, with(threeDays, add, "dt=3"), published, with(published, add, "dt=3")} {
				last = append(last, p.String())
				staged := partitions{"staged": {"r1": "waits"}}
				maps.Copy(staged, p)
				outcomes = append(outcomes, p.String(), staged.String())
			}
			d := roll(t)
			for at := d.IntN(16); ; at += d.skip(15) {
				m := begin(t, way)
				must(t, stageOnly(m, way, "r1", days...))
				err := publishStaged(dying(meeting(m, way, add, "dt=3"), at), way)
				if wrong, _ := discards(way).thenCut(t, m, d, 15, outcomes, last); wrong != "" {
					t.Fatalf("killed at operation %d, %s", at, wrong)
				}
				if errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower) {
					return
				}
			}
		})
	}
}

// TestStagedRunRaces: two processes end a staged run, or one does beside a run or recover, at every moment.
func TestStagedRunRaces(t *testing.T) {
	const way = swap.Exchange
	begin := func() *mem.FS {
		m := made(t, way, threeDays)
		must(t, stageOnly(m, way, "r1", "dt=1", "dt=2"))
		return m
	}
	publish := func(m storage.FS) error { return publishStaged(m, way) }
	discard := func(m storage.FS) error { return discardStaged(m, way) }
	outcomes := []string{readTable(t, begin()).String()}
	for _, end := range []func(m storage.FS) error{publish, discard, nextRun(way)} {
		m := begin()
		must(t, end(m))
		outcomes = append(outcomes, readTable(t, m).String())
		if nextRun(way)(m) == nil || discard(m) == nil { // after a publication, or before being discarded
			outcomes = append(outcomes, readTable(t, m).String())
		}
	}
	old, after := outcomes[0], outcomes[1:]
	for _, c := range []struct {
		name string
		a, b func(m storage.FS) error
	}{
		{"publish, publish", publish, publish}, {"publish, discard", publish, discard}, {"discard, publish", discard, publish},
		{"discard, discard", discard, discard}, {"publish, recover", publish, recoverOn}, {"discard, recover", discard, recoverOn},
		{"publish, run", publish, nextRun(way)}, {"run, publish", nextRun(way), publish},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			points := interleave(begin, c.a, c.b, func(m *mem.FS, at int, aerr, berr error) {
				what := fmt.Sprintf("at operation %d (%v; %v)", at, aerr, berr)
				for _, err := range []error{aerr, berr} {
					if err != nil && !slices.ContainsFunc([]error{swap.ErrLocked, swap.ErrConflict, swap.ErrPublished, swap.ErrNoVersion},
						func(is error) bool { return errors.Is(err, is) }) {
						t.Fatal(what)
					}
				}
				got := readTable(t, m).String()
				if got == old || !slices.Contains(after, got) {
					t.Fatalf("%s: the table is\n%s", what, got)
				}
				if left := staged(t, m, open(t, m, way)); left != "" {
					t.Fatalf("%s: left in staging: %s", what, left)
				}
				if strings.Contains(got, "staged/") {
					return // it lost against the run: it is stale
				}
				checkEnded(t, m, what)
			})
			t.Logf("%d points", points)
		})
	}
}

// TestMutantsOfStaging leaves out fsyncs that a staged run rests on: the harness must notice each.
func TestMutantsOfStaging(t *testing.T) {
	needsEveryPoint(t)
	for name, c := range map[string]struct {
		sc   scenario
		rule faultfs.Rule
	}{
		"no fsync of the record":              {named("stage only"), faultfs.Rule{Op: faultfs.Sync, Path: "staging/r1/staged.json*", Skip: true}},
		"no fsync of a run's staging":         {named("stage only"), faultfs.Rule{Op: faultfs.SyncDir, Path: "staging/r1", Skip: true}},
		"no fsync of the folder of stagings":  {named("stage only"), faultfs.Rule{Op: faultfs.SyncDir, Path: "orders/staging", Skip: true}},
		"no fsync of staged files":            {named("stage only"), faultfs.Rule{Op: faultfs.Sync, Path: "/data/", Skip: true}},
		"no fsync where a record was removed": {named("discard what is staged"), faultfs.Rule{Op: faultfs.SyncDir, Path: "staging/r1", Skip: true}},
		"no fsync of the run record's folder": {named("publish what is staged"), faultfs.Rule{Op: faultfs.SyncDir, Path: "orders/runs", Skip: true}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wrong := noticed(t, c.sc, c.rule)
			if wrong == "" {
				t.Fatal("the harness does not notice")
			}
			t.Log(wrong)
		})
	}
}

// noticed runs a scenario on a file system that leaves something out, and gives the first thing that is
// wrong when the power is cut after its end or at one of its operations.
func noticed(t *testing.T, sc scenario, rule faultfs.Rule) (wrong string) {
	const way = swap.Exchange
	old, new := sc.outcomes(t, way)
	wrap := func(f storage.FS) storage.FS {
		lazy := faultfs.Wrap(f)
		r := rule
		lazy.Inject(&r)
		return lazy
	}
	m := sc.begin(t, way)
	must(t, sc.run(wrap(m), way))
	for _, model := range mem.Models() {
		if is := settle(t, m.Crash(model, 0), new, new); is != "" {
			return fmt.Sprintf("reported and lost, %s: %s", model, is)
		}
	}
	crashAll(t, sc, way, wrap, 8, func(m *mem.FS, what string) {
		if wrong == "" {
			if is := settle(t, m, old, new); is != "" {
				wrong = what + ": " + is
			}
		}
	})
	return wrong
}

// TestUndoRun: a run that others came after in a partition is not undone there unawares.
func TestUndoRun(t *testing.T) {
	for _, way := range allWays {
		m := made(t, way, threeDays)
		must(t, change(m, way, "r0", "dt=1", "dt=2"))
		undone := readTable(t, m).String()
		must(t, change(m, way, "r1", "dt=2"))
		must(t, change(m, way, "r2", "dt=2"))
		before := readTable(t, m).String()
		err := undoRun(m, way)
		var overtaken *swap.OvertakenError
		if !errors.Is(err, swap.ErrConflict) || !errors.As(err, &overtaken) || len(overtaken.Later) != 1 ||
			overtaken.Later[0].Partition != "dt=2" || strings.Join(overtaken.Later[0].Runs, " ") != "r1 r2" {
			t.Fatalf("%s: %v", way, err)
		}
		if !strings.Contains(err.Error(), "runs r1 and r2 changed dt=2 after it") {
			t.Errorf("%s: %v", way, err)
		}
		if got := readTable(t, m).String(); got != before {
			t.Fatalf("%s: the table is %s", way, got)
		}
		// Once what came after is undone, it goes.
		s := open(t, m, way)
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=2", To: "r0"}}, false, "r3", "rollback")
		must(t, err)
		if got := readTable(t, m).String(); got != undone {
			t.Fatalf("%s: the table is %s", way, got)
		}
		must(t, undoRun(m, way))
		if got := readTable(t, m).String(); got != threeDays.String() {
			t.Fatalf("%s: undone to %s", way, got)
		}
		// And the undoing is undone.
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", Undoes: "back"}, {Partition: "dt=2", Undoes: "back"}}, false, "r5", "rollback")
		must(t, err)
		if got := readTable(t, m).String(); got != undone {
			t.Fatalf("%s: redone to %s", way, got)
		}
		checkEnded(t, m, "redone")
	}
}
