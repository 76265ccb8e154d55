package swap_test

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

var rewrite = flag.Bool("rewrite", false, "write the golden traces anew")

const table = "/warehouse/orders"

var bg = context.Background()

// partitions is a table's content: partition to file name to content.
type partitions map[string]map[string]string

func (p partitions) String() string {
	var lines []string
	for part, files := range p {
		for name, content := range files {
			lines = append(lines, path.Join(part, name)+"="+content)
		}
		if len(files) == 0 {
			lines = append(lines, part+" (empty)")
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "; ")
}

// makeTable makes a table whose content is durable.
func makeTable(t testing.TB, m storage.FS, content partitions) {
	t.Helper()
	must(t, mkdirs(m, table))
	for part, files := range content {
		must(t, mkdirs(m, path.Join(table, part)))
		for name, data := range files {
			must(t, writeFile(m, path.Join(table, part, name), data))
		}
		must(t, m.SyncDir(bg, path.Join(table, part)))
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func mkdirs(m storage.FS, dir string) error {
	if dir == "/" {
		return nil
	}
	if err := mkdirs(m, path.Dir(dir)); err != nil {
		return err
	}
	if err := m.Mkdir(bg, dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return m.SyncDir(bg, path.Dir(dir))
}

func writeFile(m storage.FS, name, data string) error {
	w, err := m.Create(bg, name, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte(data))
	return errors.Join(err, w.Sync(), w.Close())
}

// readTable reads what a reader of the table's folder sees; folders that hold nothing count as absent.
// Runs that are staged stand beside it, as files of a partition named staged.
func readTable(t testing.TB, m storage.FS) partitions {
	t.Helper()
	out := partitions{}
	var walk func(dir, rel string)
	walk = func(dir, rel string) {
		list, err := m.List(bg, dir)
		if errors.Is(err, fs.ErrNotExist) {
			return
		}
		must(t, err)
		for _, i := range list {
			name := path.Join(dir, i.Name)
			if i.IsDir() {
				walk(name, path.Join(rel, i.Name))
				continue
			}
			data, err := stage.ReadFile(bg, m, name)
			must(t, err)
			if out[rel] == nil {
				out[rel] = map[string]string{}
			}
			out[rel][i.Name] = string(data)
		}
	}
	if isRegistered(m) {
		out = readRegistered(t, m)
	} else {
		walk(table, "")
	}
	for _, run := range waiting(t, m) {
		if out["staged"] == nil {
			out["staged"] = map[string]string{}
		}
		out["staged"][run] = "waits"
	}
	return out
}

func open(t testing.TB, m storage.FS, way swap.Way) *swap.Store {
	t.Helper()
	s, err := swap.Open(bg, m, table, options(m, way))
	must(t, err)
	return s
}

func clock() time.Time { return time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC) }

// change publishes one changed file a partition and keeps the others, as a merge does.
func change(m storage.FS, way swap.Way, run string, parts ...string) error {
	return changeWith(m, way, run, true, parts)
}

func changeWith(m storage.FS, way swap.Way, run string, leases bool, parts []string) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "upsert", parts[0] != "")
	if err != nil {
		return err
	}
	if leases {
		err = r.Lease(bg, parts)
	}
	if err == nil {
		err = stageAndPublish(s, r, run, parts)
	}
	if err != nil {
		return errors.Join(err, r.Abort(bg))
	}
	return r.Close()
}

func stageAndPublish(s *swap.Store, r *swap.Run, run string, parts []string) error {
	return stageAndPublishAt(s, r, run, parts, clock())
}

func stageAndPublishAt(s *swap.Store, r *swap.Run, run string, parts []string, now time.Time) error {
	list, err := stageAll(s, r, run, parts, now)
	if err == nil {
		_, err = r.Publish(bg, list)
	}
	return err
}

// stageAll seals what a merge would make of partitions.
func stageAll(s *swap.Store, r *swap.Run, run string, parts []string, now time.Time) (list []swap.Publication, err error) {
	if _, err := s.Recover(bg, parts); err != nil {
		return nil, err
	}
	for _, p := range parts {
		in, err := s.Inputs(bg, p)
		if err != nil {
			return nil, err
		}
		d, err := r.Stage(bg, p)
		if err != nil {
			return nil, err
		}
		for i, f := range in.Files {
			if i == 0 {
				continue // the changed one
			}
			if _, err := d.Keep(bg, path.Join(in.Folder, f.Name), f.Name); err != nil {
				return nil, err
			}
		}
		w, err := d.Create(bg, "part-"+run+".parquet")
		if err != nil {
			return nil, err
		}
		if _, err := w.Write([]byte("rows of " + run)); err != nil {
			return nil, err
		}
		if err := w.Close(); err != nil {
			return nil, err
		}
		m, err := d.Seal(bg, stage.Manifest{Run: run, Partition: p, Command: "upsert", Time: now, Rows: 1})
		if err != nil {
			return nil, err
		}
		list = append(list, swap.Publication{Partition: p, Inputs: in, Dir: d, Manifest: m})
	}
	return list, nil
}

// drop publishes a change of a partition, and that another one goes away.
func drop(m storage.FS, way swap.Way, run, part, goes string) error {
	s, err := swap.Open(bg, m, table, options(m, way))
	if err != nil {
		return err
	}
	r, err := s.Begin(bg, run, "delete", true)
	if err != nil {
		return err
	}
	if err = r.Lease(bg, []string{part, goes}); err == nil {
		err = publishDrop(s, r, run, part, goes)
	}
	if err != nil {
		return errors.Join(err, r.Abort(bg))
	}
	return r.Close()
}

func publishDrop(s *swap.Store, r *swap.Run, run, part, goes string) error {
	list, err := stageAll(s, r, run, []string{part}, clock())
	if err != nil {
		return err
	}
	in, err := s.Inputs(bg, goes)
	if err == nil {
		_, err = r.Publish(bg, append(list, swap.Publication{Partition: goes, Inputs: in}))
	}
	return err
}

// scenario is an operation whose crashes are tried, after a durable beginning.
type scenario struct {
	name    string
	content partitions
	before  func(m storage.FS, way swap.Way) error
	run     func(m storage.FS, way swap.Way) error
}

var threeDays = partitions{"dt=1": {"a": "1a", "b": "1b"}, "dt=2": {"a": "2a", "b": "2b"}, "dt=3": {"a": "3a"}}

func scenarios() []scenario {
	rollback := func(m storage.FS, way swap.Way) error {
		s, err := swap.Open(bg, m, table, options(m, way))
		if err != nil {
			return err
		}
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "origin"}, {Partition: "dt=2", To: "origin"}}, false, "back", "rollback")
		return err
	}
	return []scenario{
		{"one partition", partitions{"dt=1": {"a": "1a", "b": "1b"}}, nil,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r1", "dt=1") }},
		{"three partitions", threeDays, nil,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r1", "dt=1", "dt=2", "dt=3") }},
		{"a new partition beside an old one", partitions{"dt=1": {"a": "1a", "b": "1b"}}, nil,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r1", "dt=1", "dt=9") }},
		{"a table of one partition", partitions{"": {"a": "1a", "b": "1b"}}, nil,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r1", "") }},
		{"a second run", threeDays,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=1", "dt=2") },
			func(m storage.FS, way swap.Way) error { return change(m, way, "r1", "dt=1", "dt=2") }},
		{"rollback", threeDays,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=1", "dt=2") }, rollback},
		{"rollback to absent", partitions{"dt=1": {"a": "1a"}, "dt=2": {"a": "2a"}},
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=9") },
			func(m storage.FS, way swap.Way) error {
				s, err := swap.Open(bg, m, table, options(m, way))
				if err != nil {
					return err
				}
				_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=9", To: "origin"}}, false, "back", "rollback")
				return err
			}},
		{"stage only", threeDays, nil,
			func(m storage.FS, way swap.Way) error { return stageOnly(m, way, "r1", "dt=1", "dt=9") }},
		{"publish what is staged", threeDays,
			func(m storage.FS, way swap.Way) error { return stageOnly(m, way, "r1", "dt=1", "dt=9") }, publishStaged},
		{"discard what is staged", threeDays,
			func(m storage.FS, way swap.Way) error { return stageOnly(m, way, "r1", "dt=1", "dt=2") }, discardStaged},
		{"a run beside a staged one", threeDays,
			func(m storage.FS, way swap.Way) error { return stageOnly(m, way, "r1", "dt=1") },
			func(m storage.FS, way swap.Way) error { return change(m, way, "r2", "dt=2") }},
		{"recover beside a staged run", threeDays,
			func(m storage.FS, way swap.Way) error {
				err := change(dying(m, 90), way, "r0", "dt=2", "dt=3")
				if !errors.Is(err, errPower) {
					return fmt.Errorf("not killed: %w", err)
				}
				// Beside a staged run of which a publish was killed.
				if err := stageOnly(m, way, "r1", "dt=1"); err != nil {
					return err
				}
				if err := publishStaged(dying(m, 70), way); !errors.Is(err, errPower) {
					return fmt.Errorf("not killed: %w", err)
				}
				return nil
			},
			func(m storage.FS, _ swap.Way) error { return recoverOn(m) }},
		{"undo a run", threeDays,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=1", "dt=9") }, undoRun},
		{"a partition goes away", threeDays,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=2") },
			func(m storage.FS, way swap.Way) error { return drop(m, way, "r1", "dt=1", "dt=2") }},
		{"vacuum beside a staged run", threeDays,
			func(m storage.FS, way swap.Way) error {
				if err := change(m, way, "r0", "dt=1", "dt=2"); err != nil {
					return err
				}
				return stageOnly(m, way, "r1", "dt=1")
			}, vacuumAll},
		{"vacuum", threeDays,
			func(m storage.FS, way swap.Way) error { return change(m, way, "r0", "dt=1", "dt=2") }, vacuumAll},
	}
}

// begin makes the file system of a scenario as it is before the run.
func (sc scenario) begin(t testing.TB, way swap.Way) *mem.FS {
	m := made(t, way, sc.content)
	if sc.before != nil {
		must(t, sc.before(m, way))
	}
	return m
}

// outcomes are the table before and after the run.
func (sc scenario) outcomes(t testing.TB, way swap.Way) (old, new string) {
	m := sc.begin(t, way)
	old = readTable(t, m).String()
	must(t, sc.run(m, way))
	return old, readTable(t, m).String()
}

var errPower = errors.New("power is gone")

// crashAll runs a scenario once for each of its operations, with the power gone from that operation
// on, and calls check with what the disk then holds. It ends when a run completes.
func crashAll(t *testing.T, sc scenario, way swap.Way, wrap func(storage.FS) storage.FS, seeds uint64, check func(m *mem.FS, what string)) (points int) {
	t.Helper()
	d := roll(t)
	for at := d.IntN(sparse); ; at += d.skip(0) {
		m := sc.begin(t, way)
		f := faultfs.Wrap(m)
		f.Inject(&faultfs.Rule{From: at, Err: errPower})
		var target storage.FS = f
		if wrap != nil {
			target = wrap(f)
		}
		err := sc.run(target, way)
		for _, model := range mem.Models() {
			for seed := range seeds {
				check(m.Crash(model, seed), fmt.Sprintf("%s by %s, power cut at operation %d, %s, seed %d", sc.name, way, at, model, seed))
			}
		}
		points++
		if err == nil {
			return points
		}
	}
}

// settle recovers a crashed disk and says what is wrong with it, "" if nothing is.
func settle(t testing.TB, m *mem.FS, old, new string) string {
	return settleAs(t, m, []string{old, new})
}

// settleAs is settle with the outcomes that there may be.
func settleAs(t testing.TB, m *mem.FS, outcomes []string) string {
	s, err := swap.Open(bg, m, table, options(m, swap.Auto))
	if err != nil {
		return fmt.Sprintf("open: %v", err)
	}
	if _, err := s.Recover(bg, nil); err != nil {
		return fmt.Sprintf("recover: %v", err)
	}
	got := readTable(t, m).String()
	if !slices.Contains(outcomes, got) {
		return fmt.Sprintf("the table is\n%s\nnone of\n%s", got, strings.Join(outcomes, "\n"))
	}
	for _, dir := range []string{"staging", "locks/runs", "trash"} {
		if left := names(t, m, path.Join(s.StateDir(), dir)); left != "" {
			return fmt.Sprintf("left in %s: %s", dir, left)
		}
	}
	if void := voidClaim(t, m, s); void != "" {
		return "left: " + void
	}
	if wrong := endable(t, m, s); wrong != "" {
		return wrong
	}
	again, err := s.Recover(bg, nil)
	if err != nil || len(again.Finished)+len(again.Undone) > 0 {
		return fmt.Sprintf("a second recover did %+v, %v", again, err)
	}
	if after := readTable(t, m).String(); after != got {
		return "a second recover changed the table to " + after
	}
	return ""
}

// staged lists what is left in staging, but for runs that are staged.
func staged(t testing.TB, m storage.FS, s *swap.Store) string {
	return names(t, m, path.Join(s.StateDir(), "staging"))
}

// names lists a folder, "" where nothing is in it or where there is none.
func names(t testing.TB, m storage.FS, dir string) string {
	list, err := m.List(bg, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return ""
	}
	must(t, err)
	waits := waiting(t, m)
	var names []string
	for _, i := range list {
		if !slices.Contains(waits, i.Name) {
			names = append(names, i.Name)
		}
	}
	return strings.Join(names, ", ")
}

var ways = []swap.Way{swap.Exchange, swap.Rename}

// allWays are ways and that of a table in a metastore. everyWay is also the one of such a table that is switched by
// path all the same, which differs in little.
var (
	allWays  = append(slices.Clone(ways), swap.Location)
	everyWay = append(slices.Clone(ways), located...)
)

func TestCrashAtEveryOperation(t *testing.T) {
	seeds := *disks
	if testing.Short() {
		seeds = 1
	}
	for _, sc := range scenarios() {
		for _, way := range everyWay {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				old, new := sc.outcomes(t, way)
				points := crashAll(t, sc, way, nil, seeds, func(m *mem.FS, what string) {
					if wrong := settle(t, m, old, new); wrong != "" {
						t.Fatalf("%s: %s", what, wrong)
					}
				})
				t.Logf("%d points", points)
			})
		}
	}
}

// TestCrashInRecovery cuts the power a second time, at every operation of the recovery.
func TestCrashInRecovery(t *testing.T) {
	for _, sc := range scenarios()[:2] {
		for _, way := range allWays {
			t.Run(fmt.Sprintf("%s/%s", sc.name, way), func(t *testing.T) {
				t.Parallel()
				old, new := sc.outcomes(t, way)
				d := roll(t)
				crashAll(t, sc, way, nil, 1, func(m *mem.FS, what string) {
					for at := d.IntN(16); ; at += d.skip(15) {
						again := m.Crash(mem.OnlySynced, 0)
						err := recoverOn(dying(again, at))
						cut, then := d.cut(again)
						if wrong := settle(t, cut, old, new); wrong != "" {
							t.Fatalf("%s, then %s at operation %d of recover: %s", what, then, at, wrong)
						}
						if err == nil {
							return
						}
					}
				})
			})
		}
	}
}

// TestFaultAtEveryOperation fails one operation of a run that goes on living: it reports an error and
// leaves the old partitions, or the new ones where it had committed.
func TestFaultAtEveryOperation(t *testing.T) {
	for _, sc := range scenarios() {
		for _, way := range everyWay {
			for _, fault := range []error{syscall.EIO, syscall.ENOSPC} {
				t.Run(fmt.Sprintf("%s/%s/%v", sc.name, way, fault), func(t *testing.T) {
					t.Parallel()
					old, new := sc.outcomes(t, way)
					d := roll(t)
					for at := d.IntN(sparse); ; at += d.skip(0) {
						m := sc.begin(t, way)
						f := faultfs.Wrap(m)
						f.Inject(&faultfs.Rule{From: at, Once: true, Err: fault})
						err := sc.run(f, way)
						if err != nil && !errors.Is(err, fault) {
							t.Fatalf("operation %d: the cause is lost: %v", at, err)
						}
						if wrong := settle(t, m, old, new); wrong != "" {
							t.Fatalf("operation %d: %s", at, wrong)
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
	}
}

// TestMutants leaves out what makes a publish durable, kind by kind: the crash harness must notice.
func TestMutants(t *testing.T) {
	needsEveryPoint(t)
	mutants := map[string]faultfs.Rule{
		"no fsync of files":           {Op: faultfs.Sync, Skip: true},
		"no fsync of folders":         {Op: faultfs.SyncDir, Skip: true},
		"no fsync of staged data":     {Op: faultfs.SyncDir, Path: "/data", Skip: true},
		"no fsync of the run records": {Op: faultfs.SyncDir, Path: "/runs", Skip: true},
		"no run record":               {Op: faultfs.Rename, Path: "record.json", Skip: true},
	}
	for name, rule := range mutants {
		// By each way: what one of them would notice may be what another one rests on.
		for _, group := range [][]swap.Way{ways, {swap.Location}} {
			if name == "no run record" && group[0] == swap.Location {
				continue // it does not come so far: TestMutantWithoutRecord
			}
			t.Run(fmt.Sprintf("%s/%s", name, group[0]), func(t *testing.T) { tryMutant(t, rule, group) })
		}
	}
}

func tryMutant(t *testing.T, rule faultfs.Rule, ways []swap.Way) {
	noticed := 0
	for _, sc := range scenarios()[:2] {
		for _, way := range ways {
			old, new := sc.outcomes(t, way)
			wrap := func(f storage.FS) storage.FS {
				lazy := faultfs.Wrap(f)
				r := rule
				lazy.Inject(&r)
				return lazy
			}
			check := func(m *mem.FS, _ string) {
				if settle(t, m, old, new) != "" {
					noticed++
				}
			}
			// A publish that was reported as done must outlive the power.
			m := sc.begin(t, way)
			if sc.run(wrap(m), way) == nil {
				crashAll(t, sc, way, wrap, 2, check)
				if settle(t, m.Crash(mem.OnlySynced, 0), new, new) != "" {
					noticed++
				}
				continue
			}
			for at := range 200 { // it never comes through
				m := sc.begin(t, way)
				if err := sc.run(wrap(dying(m, at)), way); err == nil {
					t.Fatal("now it does")
				}
				check(m.Crash(mem.OnlySynced, 0), "")
			}
		}
	}
	if noticed == 0 {
		t.Fatal("the harness does not notice")
	}
	t.Logf("noticed %d times", noticed)
}

// TestReportedIsDurable: what a run reported as done is there after a power cut.
func TestReportedIsDurable(t *testing.T) {
	for _, sc := range scenarios() {
		for _, way := range everyWay {
			m := sc.begin(t, way)
			must(t, sc.run(m, way))
			want := readTable(t, m).String()
			for seed := range uint64(10) {
				for _, model := range mem.Models() {
					if wrong := settle(t, m.Crash(model, seed), want, want); wrong != "" {
						t.Fatalf("%s by %s, %s, seed %d: %s", sc.name, way, model, seed, wrong)
					}
				}
			}
		}
	}
}

// traced are the scenarios whose operations are shown.
func traced() []scenario {
	return append(scenarios()[:3], named("stage only"), named("publish what is staged"), named("discard what is staged"), named("undo a run"))
}

// named is a scenario by its name.
func named(name string) scenario {
	all := scenarios()
	return all[slices.IndexFunc(all, func(sc scenario) bool { return sc.name == name })]
}

// TestGoldenTraces shows the operations of a publish, so that a lost fsync is a difference in review.
func TestGoldenTraces(t *testing.T) {
	for _, sc := range traced() {
		for _, way := range everyWay {
			m := sc.begin(t, way)
			f := faultfs.Wrap(m, "/warehouse/.hupsert/orders", "STATE", table, "TABLE", "/metastore", "METASTORE")
			must(t, sc.run(f, way))
			name := filepath.Join("testdata", strings.ReplaceAll(fmt.Sprintf("%s-%s.trace", sc.name, way), " ", "-"))
			if *rewrite {
				must(t, os.MkdirAll("testdata", 0o755))
				must(t, os.WriteFile(name, []byte(f.Log()), 0o644))
				continue
			}
			want, err := os.ReadFile(name)
			must(t, err)
			if f.Log() != string(want) {
				t.Errorf("%s: the operations differ from %s (-rewrite accepts them):\n%s", sc.name, name, f.Log())
			}
		}
	}
}

// TestConflicts: a partition that somebody else changes after it was read is left to them.
func TestConflicts(t *testing.T) {
	for _, way := range allWays {
		for _, op := range []faultfs.Op{faultfs.Exchange, faultfs.Rename} {
			m := made(t, way, threeDays)
			f := faultfs.Wrap(m)
			f.Inject(&faultfs.Rule{Op: op, Once: true, Before: func() {
				must(t, writeFile(m, table+"/dt=1/foreign", "theirs"))
			}})
			err := change(f, way, "r1", "dt=1")
			if op == faultfs.Exchange && way == swap.Rename {
				must(t, err)
				continue
			}
			if !errors.Is(err, swap.ErrConflict) && !strings.Contains(readTable(t, m).String(), "rows of r1") {
				t.Fatalf("%s, before the first %s: %v", way, op, err)
			}
			if got := readTable(t, m)["dt=1"]["foreign"]; errors.Is(err, swap.ErrConflict) && got != "theirs" {
				t.Fatalf("%s: their file is gone: %s", way, readTable(t, m))
			}
			if left := staged(t, m, open(t, m, way)); left != "" {
				t.Errorf("left in staging: %s", left)
			}
		}
	}
}

// TestTwoRuns: of two runs on one partition the second is refused, and names the first.
func TestTwoRuns(t *testing.T) {
	m := made(t, swap.Auto, threeDays)
	s := open(t, m, swap.Exchange)
	first, err := s.Begin(bg, "first", "upsert", true)
	must(t, err)
	must(t, first.Lease(bg, []string{"dt=1"}))
	err = change(m, swap.Exchange, "second", "dt=1")
	if !errors.Is(err, swap.ErrLocked) || !strings.Contains(err.Error(), "run first") {
		t.Fatalf("got %v", err)
	}
	must(t, change(m, swap.Exchange, "third", "dt=2")) // a neighbour is free
	must(t, first.Abort(bg))
	must(t, change(m, swap.Exchange, "fourth", "dt=1"))
}

// TestHistory walks a partition through versions, back, and back again.
func TestHistory(t *testing.T) {
	for _, way := range everyWay {
		m := made(t, way, threeDays)
		must(t, change(m, way, "r1", "dt=1"))
		must(t, change(m, way, "r2", "dt=1"))
		s := open(t, m, way)
		after := readTable(t, m).String()
		_, err := s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "origin"}}, false, "r3", "rollback")
		must(t, err)
		if got := readTable(t, m); got.String() != threeDays.String() {
			t.Fatalf("after the rollback: %s", got)
		}
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "r2"}}, false, "r4", "rollback")
		must(t, err)
		if got := readTable(t, m).String(); got != after {
			t.Fatalf("after undoing it: %s", got)
		}
		versions, err := s.History(bg, "dt=1")
		must(t, err)
		var runs []string
		for _, v := range versions {
			runs = append(runs, v.Run)
		}
		if got := strings.Join(runs, " "); got != "origin r1 r2 r3 r4" {
			t.Fatalf("history: %s", got)
		}
		must(t, writeFile(m, path.Join(folderOf(m, "dt=1"), "theirs"), "x"))
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "r1"}}, false, "r5", "rollback")
		if !errors.Is(err, swap.ErrConflict) {
			t.Fatalf("a changed partition was rolled back: %v", err)
		}
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "r1"}}, true, "r6", "rollback")
		must(t, err)
		if got := readTable(t, m)["dt=1"]["theirs"]; got != "" {
			t.Fatal("the forced rollback left a foreign file")
		}
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: "foreign-5"}}, false, "r7", "rollback")
		must(t, err)
		if got := readTable(t, m)["dt=1"]["theirs"]; got != "x" {
			t.Fatalf("the foreign version is lost: %s", readTable(t, m))
		}
	}
}

// TestTakenName: a folder of the history that no claim knows of stays, and is in no version's way.
func TestTakenName(t *testing.T) {
	for _, way := range allWays {
		m := made(t, way, threeDays)
		stray := "/warehouse/.hupsert/orders/history/dt=1/origin"
		must(t, mkdirs(m, stray))
		must(t, writeFile(m, stray+"/x", "stray"))
		must(t, change(m, way, "r1", "dt=1"))
		s := open(t, m, way)
		versions, err := s.History(bg, "dt=1")
		must(t, err)
		if len(versions) != 2 || versions[0].Path == "" || versions[0].Path == stray {
			t.Fatalf("%s: %+v", way, versions)
		}
		_, err = s.Rollback(bg, []swap.Restore{{Partition: "dt=1", To: versions[0].Run}}, false, "back", "rollback")
		must(t, err)
		if got := readTable(t, m).String(); got != threeDays.String() {
			t.Fatalf("%s: rolled back to %s", way, got)
		}
		if data, err := stage.ReadFile(bg, m, stray+"/x"); err != nil || string(data) != "stray" {
			t.Errorf("%s: %q, %v", way, data, err)
		}
	}
}

// TestForeignState: a state folder serves the table it was made for.
func TestForeignState(t *testing.T) {
	m := made(t, swap.Auto, threeDays)
	must(t, change(m, swap.Exchange, "r1", "dt=1"))
	must(t, m.Rename(bg, table, table+"-old"))
	makeTable(t, m, threeDays)
	if _, err := swap.Open(bg, m, table, swap.Options{}); !errors.Is(err, swap.ErrForeignState) {
		t.Fatalf("a table made anew got the old one's state: %v", err)
	}
}
