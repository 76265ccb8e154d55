package swap_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// foreign is what a writer that knows nothing of us does to a partition, durably.
type foreign struct {
	name string
	do   func(m storage.FS, part string) error
	// to says what it makes of a partition's files; it may change them.
	to func(files map[string]string)
}

func foreigners(way swap.Way) []foreign {
	theirs := func(f map[string]string) {
		clear(f)
		f["theirs"] = "theirs"
	}
	all := []foreign{
		{"adds a file", addFile, func(f map[string]string) { f["theirs"] = "theirs" }},
		{"overwrites it in place", func(m storage.FS, part string) error {
			return errors.Join(removeFiles(m, part), addFile(m, part))
		}, theirs},
	}
	if way == swap.Location {
		return append(all,
			foreign{"moves it", func(m storage.FS, part string) error {
				folder := path.Join("/elsewhere", part)
				err := errors.Join(mkdirs(m, folder), writeFile(m, path.Join(folder, "theirs"), "theirs"), m.SyncDir(bg, folder))
				return errors.Join(err, repoint(m, part, folder, "moved"))
			}, theirs},
			foreign{"drops it", func(m storage.FS, part string) error { return repoint(m, part, "", "") },
				func(f map[string]string) { clear(f) }},
			foreign{"changes its columns", func(m storage.FS, part string) error {
				if folderOf(m, part) == "" {
					return fs.ErrNotExist
				}
				return repoint(m, part, folderOf(m, part), "changed")
			}, func(map[string]string) {}})
	}
	return append(all,
		foreign{"replaces its folder", func(m storage.FS, part string) error {
			err := removeFolder(m, part)
			if err == nil {
				err = m.Mkdir(bg, path.Join(table, part), 0o755)
			}
			if err == nil {
				err = addFile(m, part)
			}
			return errors.Join(err, m.SyncDir(bg, table))
		}, theirs},
		foreign{"drops its folder", removeFolder, func(f map[string]string) { clear(f) }})
}

func addFile(m storage.FS, part string) error { return addTo(m, folderOf(m, part)) }

func addTo(m storage.FS, dir string) error {
	err := writeFile(m, path.Join(dir, "theirs"), "theirs")
	if err == nil {
		err = m.SyncDir(bg, dir)
	}
	return err
}

func removeFiles(m storage.FS, part string) error {
	dir := folderOf(m, part)
	list, err := m.List(bg, dir)
	for _, i := range list {
		err = errors.Join(err, m.Remove(bg, path.Join(dir, i.Name)))
	}
	return err
}

func removeFolder(m storage.FS, part string) error {
	if err := removeFiles(m, part); err != nil {
		return err
	}
	return errors.Join(m.Remove(bg, path.Join(table, part)), m.SyncDir(bg, table))
}

// with is a table after what somebody did to a partition.
func with(p partitions, who foreign, part string) partitions {
	out := maps.Clone(p)
	files := map[string]string{}
	maps.Copy(files, p[part])
	who.to(files)
	delete(out, part)
	if len(files) > 0 {
		out[part] = files
	}
	return out
}

var days = []string{"dt=1", "dt=2", "dt=3"}

func begin(t testing.TB, way swap.Way) *mem.FS {
	m := made(t, way, threeDays)
	return m
}

func afterChange(t testing.TB, way swap.Way) partitions {
	m := begin(t, way)
	must(t, change(m, way, "r1", days...))
	return readTable(t, m)
}

// TestForeignWriter: somebody changes a partition of a run at any moment. The run goes through in all its
// partitions or in none, and what was changed stays.
func TestForeignWriter(t *testing.T) {
	for _, way := range allWays {
		for _, who := range foreigners(way) {
			for _, part := range []string{"dt=1", "dt=3"} {
				t.Run(fmt.Sprintf("%s/%s/%s", who.name, part, way), func(t *testing.T) {
					t.Parallel()
					old, new := threeDays, afterChange(t, way)
					conflicts, after := 0, 0
					points := interleave(func() *mem.FS { return begin(t, way) },
						func(m storage.FS) error { return change(m, way, "r1", days...) },
						func(m storage.FS) error { return who.do(m, part) },
						func(m *mem.FS, at int, aerr, berr error) {
							what := fmt.Sprintf("at operation %d (%v)", at, aerr)
							got := readTable(t, m)
							if berr != nil {
								return // the path was absent for a moment, and the writer knows
							}
							want := []string{with(old, who, part).String()}
							switch {
							case errors.Is(aerr, swap.ErrConflict):
								conflicts++
								if !strings.Contains(aerr.Error(), "partition "+part) {
									t.Fatalf("%s: the partition is not named", what)
								}
							case aerr == nil: // merged with it, or there before it
								after++
								want = []string{with(new, who, part).String(), mergedAfter(t, who, part, way)}
							case !errors.Is(aerr, fs.ErrNotExist): // what was merged went meanwhile
								t.Fatal(what)
							}
							if !slices.Contains(want, got.String()) {
								t.Fatalf("%s: the table is\n%s\nnot\n%s", what, got, strings.Join(want, "\n"))
							}
							checkEnded(t, m, what)
						})
					t.Logf("%d points, %d conflicts, %d without", points, conflicts, after)
					if conflicts == 0 {
						t.Error("no conflict was met")
					}
				})
			}
		}
	}
}

// mergedAfter is the table when the run begins after the foreign writer.
func mergedAfter(t testing.TB, who foreign, part string, way swap.Way) string {
	m := begin(t, way)
	must(t, who.do(m, part))
	must(t, change(m, way, "r1", days...))
	return readTable(t, m).String()
}

// checkEnded: nothing is open or left, now and after a power cut, and recover has nothing to do.
func checkEnded(t testing.TB, m *mem.FS, what string) {
	t.Helper()
	if wrong := ended(t, m); wrong != "" {
		t.Fatalf("%s: %s", what, wrong)
	}
	got := readTable(t, m).String()
	if wrong := settle(t, m.Crash(mem.OnlySynced, 0), got, got); wrong != "" {
		t.Fatalf("%s, power cut: %s", what, wrong)
	}
}

// ended says what is left of a run that came to its end in either way.
func ended(t testing.TB, m storage.FS) string {
	if left := staged(t, m, open(t, m, swap.Auto)); left != "" {
		return "left in staging: " + left
	}
	if open := openRuns(t, m); open != "" {
		return "left open: " + open
	}
	if stray := strayVersions(t, m); stray != "" {
		return stray
	}
	return lostVersions(t, m)
}

// lostVersions looks for versions that were committed and are in no history, or have lost their files.
func lostVersions(t testing.TB, m storage.FS) string {
	s := open(t, m, swap.Auto)
	list, err := m.List(bg, path.Join(s.StateDir(), "runs/done"))
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, err)
	for _, i := range list {
		run := strings.TrimSuffix(i.Name, ".json")
		parts, err := s.RunPartitions(bg, run)
		must(t, err)
		for _, part := range parts {
			versions, err := s.History(bg, part)
			must(t, err)
			if !slices.ContainsFunc(versions, func(v swap.Version) bool { return v.Run == run }) {
				return fmt.Sprintf("the history of %s has no %s", part, run)
			}
			for _, v := range versions {
				if v.Path == "" && !v.Absent && !v.Live {
					return fmt.Sprintf("version %s of %s has lost its files", v.Run, part)
				}
			}
		}
	}
	return ""
}

func openRuns(t testing.TB, m storage.FS) string {
	var out []string
	for _, dir := range []string{"runs", "runs/undo"} {
		list, err := m.List(bg, path.Join("/warehouse/.hupsert/orders", dir))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		must(t, err)
		for _, i := range list {
			if !i.IsDir() {
				out = append(out, path.Join(dir, i.Name))
			}
		}
	}
	return strings.Join(out, ", ")
}

// strayVersions looks for folders of the history that no history lists, so that they can be neither
// rolled back to nor vacuumed.
func strayVersions(t testing.TB, m storage.FS) string {
	s := open(t, m, swap.Auto)
	for _, part := range days {
		listed := map[string]bool{}
		versions, err := s.History(bg, part)
		if damaged := new(swap.ClaimError); errors.As(err, &damaged) {
			return damaged.Error()
		}
		must(t, err)
		for _, v := range versions {
			listed[v.Path] = true
		}
		for _, dir := range []string{path.Join(s.StateDir(), "history", part), path.Join(s.StateDir(), "versions", part)} {
			list, err := m.List(bg, dir)
			if errors.Is(err, fs.ErrNotExist) {
				continue
			}
			must(t, err)
			for _, i := range list {
				if !listed[path.Join(dir, i.Name)] {
					return fmt.Sprintf("no history of %s has %s", part, path.Join(dir, i.Name))
				}
			}
		}
	}
	return ""
}

// meeting is change on a file system on which somebody changes a partition right before it is switched.
func meeting(m storage.FS, way swap.Way, who foreign, part string) storage.FS {
	f := faultfs.Wrap(m)
	rule := faultfs.Rule{Op: faultfs.Rename, Path: path.Join(table, part), Once: true, Before: func() { _ = who.do(m, part) }}
	switch way {
	case swap.Exchange:
		rule.Op = faultfs.Exchange
	case swap.Location:
		rule.Path = ledger
	}
	f.Inject(&rule)
	return f
}

// TestTakenBack cuts the power and kills at every operation of a run that meets a conflict in its last
// partition, when the others are switched.
func TestTakenBack(t *testing.T) {
	for _, way := range allWays {
		for _, who := range foreigners(way) {
			if who.name == "changes its columns" {
				continue // right before the switch nobody sees it
			}
			t.Run(fmt.Sprintf("%s/%s", who.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				old, new := threeDays, afterChange(t, way)
				outcomes := []string{old.String(), new.String(), with(old, who, "dt=3").String(), with(new, who, "dt=3").String()}
				for at := d.IntN(10); ; at += d.skip(9) {
					m := begin(t, way)
					err := change(dying(meeting(m, way, who, "dt=3"), at), way, "r1", days...)
					for range 2 {
						left, what := d.cut(m)
						if wrong := settleAs(t, left, outcomes); wrong != "" {
							t.Fatalf("%s at operation %d: %s", what, at, wrong)
						}
						checkEnded(t, left, fmt.Sprintf("%s at operation %d", what, at))
					}
					if errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower) {
						if got := readTable(t, m).String(); got != outcomes[2] {
							t.Fatalf("taken back, and the table is\n%s", got)
						}
						checkEnded(t, m, "taken back")
						return
					}
					if !errors.Is(err, errPower) {
						t.Fatalf("operation %d: %v", at, err)
					}
					if wrong, _ := heir(recoverOn).thenCut(t, m, d, 30, outcomes, outcomes); wrong != "" {
						t.Fatalf("killed at operation %d, %s", at, wrong)
					}
				}
			})
		}
	}
}

// TestChangedAfterTheSwitch: while a run is taken back because of its last partition, somebody changes its
// first, which was switched. What they did stays whatever the moment, on the old partition or on ours.
func TestChangedAfterTheSwitch(t *testing.T) {
	needsEveryPoint(t)
	add := foreigners(swap.Auto)[0]
	for _, way := range allWays {
		for _, who := range foreigners(way) {
			t.Run(fmt.Sprintf("%s/%s", who.name, way), func(t *testing.T) {
				t.Parallel()
				d := roll(t)
				old, new := threeDays, afterChange(t, way)
				taken := with(old, add, "dt=3")
				ours := maps.Clone(taken)
				ours["dt=1"] = new["dt=1"]
				left := 0
				points := interleave(func() *mem.FS { return begin(t, way) },
					func(m storage.FS) error { return change(meeting(m, way, add, "dt=3"), way, "r1", days...) },
					func(m storage.FS) error {
						if !switchedAlready(t, m, way) {
							return errors.New("too early")
						}
						return who.do(m, "dt=1")
					},
					func(m *mem.FS, at int, aerr, berr error) {
						if berr != nil {
							return
						}
						what := fmt.Sprintf("at operation %d (%v)", at, aerr)
						if !errors.Is(aerr, swap.ErrConflict) || !strings.Contains(aerr.Error(), "partition dt=3") {
							t.Fatal(what)
						}
						got := readTable(t, m).String()
						stays := with(ours, who, "dt=1").String()
						switch {
						case got == with(taken, who, "dt=1").String() && !strings.Contains(aerr.Error(), "partition dt=1 was changed"):
						case got == stays && strings.Contains(aerr.Error(), "partition dt=1 was changed"):
							left++
							checkLeft(t, m, way, what)
						default:
							t.Fatalf("%s: the table is\n%s", what, got)
						}
						checkEnded(t, m, what)
					})
				t.Logf("%d points, %d times it was left to them", points, left)
				if left == 0 && (way != swap.Location || !strings.Contains(who.name, "it")) {
					t.Error("it was never left to them")
				}
				crashLeft(t, way, who, []string{with(taken, who, "dt=1").String(), with(ours, who, "dt=1").String()}, d)
			})
		}
	}
}

// switchedAlready: the first partition is ours, and the record of the run tells to go back.
func switchedAlready(t testing.TB, m storage.FS, way swap.Way) bool {
	_, ours := readTable(t, m)["dt=1"]["part-r1.parquet"]
	return ours && strings.HasPrefix(openRuns(t, m), "runs/undo")
}

// checkLeft: what was live before is in the history of a partition that was left to somebody.
func checkLeft(t testing.TB, m *mem.FS, way swap.Way, what string) {
	t.Helper()
	m = m.Crash(mem.Killed, 0)
	s := open(t, m, way)
	changed, err := s.Changed(bg, "dt=1")
	must(t, err)
	if changed == "" {
		t.Fatalf("%s: their change is taken for ours", what)
	}
	if runs, err := s.RunPartitions(bg, "r1"); err != nil || !slices.Equal(runs, []string{"dt=1"}) {
		t.Fatalf("%s: the run published %v, %v", what, runs, err)
	}
	if readTable(t, m)["dt=1"] == nil && way != swap.Location {
		must(t, m.Mkdir(bg, path.Join(table, "dt=1"), 0o755))
	}
	_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "origin"}}, true, "back", "rollback")
	must(t, err)
	if got := readTable(t, m)["dt=1"]; !maps.Equal(got, threeDays["dt=1"]) {
		t.Fatalf("%s: rolled back to %v", what, got)
	}
	removed, err := s.Vacuum(bg, 0, false)
	must(t, err)
	leaves, err := s.VacuumLeaves(bg, 0)
	must(t, err)
	if stays := 0; way == swap.Location {
		stays = 1 // where the origin was it is
		if len(leaves) != stays || len(removed) != 2-stays {
			t.Fatalf("%s: vacuumed %v, left %v", what, removed, leaves)
		}
	} else if len(removed) != 2 || len(leaves) != 0 { // the origin and theirs
		t.Fatalf("%s: vacuumed %v, left %v", what, removed, leaves)
	}
}

// crashLeft kills a run that is taken back and has a partition to leave, and cuts the power in recover.
func crashLeft(t *testing.T, way swap.Way, who foreign, ended []string, d dice) {
	add := foreigners(swap.Auto)[0]
	old, new := threeDays, afterChange(t, way)
	outcomes := append(ended, old.String(), with(old, add, "dt=3").String(),
		new.String(), with(new, add, "dt=3").String(), with(with(new, add, "dt=3"), who, "dt=1").String())
	for at := d.IntN(20); ; at += d.skip(19) {
		m := begin(t, way)
		f := faultfs.Wrap(meeting(m, way, add, "dt=3"))
		// When the record turns, everything is switched that will be.
		f.Inject(&faultfs.Rule{Op: faultfs.Rename, Path: "runs/undo", Once: true, Before: func() { _ = who.do(m, "dt=1") }})
		err := change(dying(f, at), way, "r1", days...)
		if wrong, _ := heir(recoverOn).thenCut(t, m, d, 30, outcomes, outcomes); wrong != "" {
			t.Fatalf("killed at operation %d, %s", at, wrong)
		}
		if errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower) {
			return
		}
	}
}

// TestChangeInTheMomentOfRecall: somebody writes into a partition between the look at it and its recall, and
// then the process dies.
func TestChangeInTheMomentOfRecall(t *testing.T) {
	needsEveryPoint(t)
	add := foreigners(swap.Auto)[0]
	for _, way := range allWays {
		t.Run(string(way), func(t *testing.T) {
			t.Parallel()
			// The second move of dt=1 is its recall: the first made it live.
			rule := faultfs.Rule{Op: faultfs.Exchange, Path: table + "/dt=1", Nth: 2, Once: true}
			switch way {
			case swap.Rename, byPath:
				rule = faultfs.Rule{Op: faultfs.Rename, Path: table + "/dt=1", Nth: 3, Once: true}
			case swap.Location:
				// The second move of its folder takes it back to where it was staged.
				rule = faultfs.Rule{Op: faultfs.Rename, Path: state + "/versions/dt=1/v000001", Nth: 2, Once: true}
			}
			met := 0
			for at := 0; ; at++ {
				m := begin(t, way)
				f := faultfs.Wrap(meeting(m, way, add, "dt=3"))
				r := rule
				r.Before = func() {
					met++
					if way == swap.Location {
						must(t, addTo(m, state+"/versions/dt=1/v000001"))
						return
					}
					must(t, addFile(m, "dt=1"))
				}
				f.Inject(&r)
				before := met
				err := change(dying(f, at), way, "r1", days...)
				done := errors.Is(err, swap.ErrConflict) && !errors.Is(err, errPower)
				if met > before {
					must(t, recoverOn(m))
					if got := readTable(t, m)["dt=1"]; got["theirs"] != "theirs" || got["part-r1.parquet"] == "" {
						t.Fatalf("killed at operation %d: their file is gone: %v", at, got)
					}
					checkEnded(t, m, fmt.Sprintf("killed at operation %d", at))
				}
				if done {
					break
				}
			}
			if met == 0 {
				t.Error("nothing was recalled")
			}
		})
	}
}

// blind is a file system on which a look at a folder shows what the first one showed: a mutant that does not list the
// inputs again.
type blind struct {
	storage.FS
	seen map[string][]storage.Info
}

func (b *blind) List(ctx context.Context, dir string) ([]storage.Info, error) {
	info, err := b.Stat(ctx, dir)
	if err != nil {
		return nil, err
	}
	if list, ok := b.seen[info.ID]; ok {
		return list, nil
	}
	list, err := b.FS.List(ctx, dir)
	if err == nil && strings.HasPrefix(dir, table) {
		b.seen[info.ID] = list
	}
	return list, err
}

// TestMutantThatDoesNotLookAgain: what TestConflicts looks for is found out.
func TestMutantThatDoesNotLookAgain(t *testing.T) {
	needsEveryPoint(t)
	for _, way := range allWays {
		lost := 0
		for _, mutant := range []bool{false, true} {
			for at := 0; ; at++ {
				m := made(t, way, threeDays)
				f := faultfs.Wrap(m)
				came, made := false, false
				f.Inject(&faultfs.Rule{From: at, Once: true, Before: func() {
					came, made = true, addFile(m, "dt=1") == nil // where its folder is away for a moment nobody can
				}})
				var target storage.FS = f
				if mutant {
					target = &blind{FS: f, seen: map[string][]storage.Info{}}
				}
				err := change(target, way, "r1", "dt=1")
				if !came {
					break
				}
				if files := readTable(t, m)["dt=1"]; err == nil && made && files["theirs"] == "" && !keeps(t, m, way, "theirs") {
					if !mutant {
						t.Fatalf("operation %d: their file is lost: %v", at, files)
					}
					lost++
				}
			}
		}
		if lost == 0 {
			t.Errorf("%s: a run that does not look again loses nothing", way)
		}
		t.Logf("%s: their file is lost at %d operations", way, lost)
	}
}

// keeps reports whether a file is in a version of the history that is said to have it.
func keeps(t *testing.T, m storage.FS, way swap.Way, file string) bool {
	t.Helper()
	versions, err := open(t, m, way).History(bg, "dt=1")
	must(t, err)
	return slices.ContainsFunc(versions, func(v swap.Version) bool {
		files, err := m.List(bg, v.Path)
		return err == nil && len(files) == v.Files && slices.ContainsFunc(files, func(i storage.Info) bool { return i.Name == file })
	})
}
