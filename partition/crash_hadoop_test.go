package partition

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/swap"
)

var (
	hadoopBudget  = flag.Duration("hadoop-budget", 10*time.Second, "time for each of the crash and fault harnesses on HDFS: points are sampled to fit")
	rewriteTraces = flag.Bool("rewrite-traces", false, "write the golden traces of HDFS and the metastore anew")
)

// remote is a table on services, by its path or in the metastore.
type remote struct {
	way        swap.Way
	s          *servicetest.Services
	home, root string // folders on HDFS
	url        string
	reader     *diskReader
	observer   *Table // sees what others see, and changes nothing
}

// newRemote makes a table of three days in version 0, every row of which has the version as its name.
func newRemote(t *testing.T, way swap.Way) *remote {
	t.Helper()
	s := servicetest.Shared(t)
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	x := &remote{way: way, s: s, home: s.Folder(t), reader: &diskReader{known: map[[32]byte][]string{}}}
	x.root = x.home + "/t"
	x.url = s.HDFS + x.root
	o := Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}
	if way == swap.Location {
		x.register(t)
		o = Options{}
	}
	first := &process{clock: func() time.Time { return time.Date(2026, 11, 19, 0, 0, 0, 0, time.UTC) }}
	err := x.upsert(first, o, 0, remoteDays...)
	if err == nil {
		x.observer, err = x.open(&process{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := x.observer.Close(); err != nil {
			t.Error(err)
		}
	})
	return x
}

var remoteDays = []string{dayOne, dayTwo, dayThree}

// register makes the metastore know the table.
func (x *remote) register(t *testing.T) {
	t.Helper()
	m, err := metastore.Dial(t.Context(), metastore.Config{Hosts: []string{x.s.Metastore}})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	database := x.s.Database(t)
	err = m.CreateTable(t.Context(), metastore.NewTable{Database: database, Name: "t", Location: x.url,
		Columns:     []metastore.Column{{Name: "id", Type: "bigint"}, {Name: "name", Type: "string"}},
		PartitionBy: []metastore.Column{{Name: "dt", Type: "date"}}})
	if err != nil {
		t.Fatal(err)
	}
	x.url = "hive://" + x.s.Metastore + "/" + database + ".t"
}

// process is one that works on a table, and may die: its connections to HDFS end, with the renewal of its locks, and it
// tells the metastore nothing any more.
type process struct {
	rules   []*faultfs.Rule
	clock   func() time.Time
	replace []string // in the trace
	cluster *hdfs.FS
	fault   *faultfs.FS
	catalog catalog
	dead    atomic.Bool
}

// hooks puts the faults between the library and the cluster.
func (p *process) hooks() hooks {
	return hooks{
		options: func(o *hdfs.Options) { o.Pulse, o.Silence = 300*time.Millisecond, 600*time.Millisecond },
		storage: func(cluster *hdfs.FS) storage.FS {
			if p.fault == nil {
				p.cluster = cluster
				p.fault = faultfs.Wrap(pointing{cluster, p}, append(p.replace, "setattr metastore:", "point ")...)
				p.fault.Inject(p.rules...)
			}
			return p.fault
		},
		catalog: func(c catalog) catalog {
			p.catalog = c
			return countedCatalog{c, p}
		},
	}
}

// die ends what others see of the process.
func (p *process) die() {
	p.dead.Store(true)
	_ = p.cluster.Close() // nobody hears an error of the dead
}

// dies is a rule by which the process dies at its change number n, counted from 0.
func (p *process) dies(n int) { p.rules = append(p.rules, p.death(n), p.afterlife(n)) }

func (p *process) death(n int) *faultfs.Rule {
	return &faultfs.Rule{Changes: true, Nth: n + 1, Once: true, Before: p.die}
}

// afterlife fails what comes after it.
func (p *process) afterlife(n int) *faultfs.Rule {
	return &faultfs.Rule{Changes: true, Nth: n + 2, Err: errPower}
}

// countedCatalog is a metastore whose changes count as operations of the file system, so that rules are about them, too.
type countedCatalog struct {
	catalog
	p *process
}

type pointers struct{}

// Point implements swap.Registry.
func (c countedCatalog) Point(ctx context.Context, list []swap.Pointer) error {
	var names []string
	for _, p := range list {
		names = append(names, p.Partition)
	}
	slices.Sort(names)
	return c.p.fault.SetAttr(context.WithValue(ctx, pointers{}, list), "metastore:"+strings.Join(names, ","), storage.Attr{})
}

// pointing is a cluster with the metastore behind it.
type pointing struct {
	storage.FS
	p *process
}

func (f pointing) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	list, ok := ctx.Value(pointers{}).([]swap.Pointer)
	switch {
	case !ok:
		return f.FS.SetAttr(ctx, name, attr)
	case f.p.dead.Load():
		return errPower
	}
	return f.p.catalog.Point(ctx, list)
}

// open opens the table in a process.
func (x *remote) open(p *process) (*Table, error) {
	return Open(context.Background(), x.url, Config{hooks: p.hooks(), Now: p.clock})
}

// as does something to the table in a process.
func (x *remote) as(p *process, do func(ctx context.Context, table *Table) error) error {
	table, err := x.open(p)
	if err != nil {
		return err
	}
	if p.clock != nil {
		table.random = func(b []byte) { clear(b) } // its runs have names that are known
	}
	err = do(context.Background(), table)
	cerr := table.Close()
	if p.dead.Load() {
		cerr = nil
	}
	return errors.Join(err, cerr)
}

// source is a version of days.
func (x *remote) source(version int, list ...string) (Source, error) {
	s, err := ParseSchema("id bigint, name string, dt date")
	if err != nil {
		return Source{}, err
	}
	var rows []string
	for _, day := range list {
		for id := range 3 {
			rows = append(rows, fmt.Sprintf(`{"id":%d,"name":"v%d","dt":%q}`, id, version, strings.TrimPrefix(day, "dt=")))
		}
	}
	r, err := jsonRecords(s, "["+strings.Join(rows, ",")+"]")
	return Records(r), err
}

func (x *remote) upsert(p *process, o Options, version int, list ...string) error {
	return x.as(p, func(ctx context.Context, table *Table) error {
		src, err := x.source(version, list...)
		if err == nil {
			o.Key = []string{"id"}
			_, err = table.Upsert(ctx, src, o)
		}
		return err
	})
}

// versions says which version each day has: all of its rows, and no other.
func (x *remote) versions() (out map[string]string, staged []string, err error) {
	ctx := context.Background()
	out = map[string]string{}
	at := map[string]swap.Registered{}
	if x.way == swap.Location {
		if at, err = x.observer.catalog.Look(ctx, remoteDays); err != nil {
			return nil, nil, err
		}
	}
	for _, day := range remoteDays {
		dir := path.Join(x.root, day)
		if x.way == swap.Location {
			dir = at[day].Folder
		}
		if out[day], err = x.version(x.observer.fsys, dir); err != nil {
			return nil, nil, err
		}
	}
	list, err := x.observer.Staged(ctx)
	for _, run := range list {
		staged = append(staged, run.Run)
	}
	return out, staged, err
}

func (x *remote) version(fsys storage.FS, dir string) (string, error) {
	var lines []string
	err := walk(fsys, dir, func(name string) error {
		data, err := content(fsys, name)
		if err != nil {
			return err
		}
		more, err := x.reader.lines(name, data)
		lines = append(lines, more...)
		return err
	})
	slices.Sort(lines)
	if err != nil || len(lines) != 3 {
		return "", errors.Join(err, fmt.Errorf("%s has the rows %q", dir, lines))
	}
	_, version, _ := strings.Cut(lines[0], "name=")
	for id, line := range lines {
		if line != fmt.Sprintf("id=%d name=%s", id, version) {
			return "", fmt.Errorf("%s has the rows %q", dir, lines)
		}
	}
	return version, nil
}

// left is what no run needs any more, or has left open; with notes also those of locks.
func (x *remote) left(staged []string, notes bool) (out []string, err error) {
	for _, dir := range []string{"staging", "runs/undo", "trash", "locks/runs"} {
		list, err := x.observer.fsys.List(context.Background(), path.Join(x.observer.StateDir(), dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		for _, i := range list {
			if !slices.Contains(staged, i.Name) {
				out = append(out, path.Join(dir, i.Name))
			}
		}
	}
	opened, lerr := x.s.Try("leases " + x.home)
	for file := range strings.SplitSeq(opened, "\t") {
		// A partition's lock that was just being made, and the note that names its holder, are the next holder's to remove.
		if file != "" && (notes || !strings.Contains(file, ".lock.json ") && !strings.Contains(file, ".lock ")) {
			out = append(out, "open: "+file)
		}
	}
	return out, lerr
}

// remoteStep is an operation that may be cut anywhere, and what the days' versions are when it is through.
type remoteStep struct {
	name   string
	before func(x *remote, version int) error // is not cut
	run    func(x *remote, p *process, version int) error
	days   []string
	back   bool // to the versions from before `before`
}

func remoteSteps() []remoteStep {
	stage := func(x *remote, p *process, version int) error {
		return x.upsert(p, Options{StageOnly: true}, version, remoteDays...)
	}
	publish := func(x *remote, p *process, _ int) error {
		return x.as(p, func(ctx context.Context, table *Table) error {
			list, err := table.Staged(ctx)
			if err == nil && len(list) != 1 {
				err = fmt.Errorf("%d runs are staged", len(list))
			}
			if err == nil {
				_, err = table.Publish(ctx, list[0].Run)
			}
			return err
		})
	}
	return []remoteStep{
		{name: "one partition", days: remoteDays[:1], run: func(x *remote, p *process, version int) error {
			return x.upsert(p, Options{}, version, dayOne)
		}},
		{name: "three partitions", days: remoteDays, run: func(x *remote, p *process, version int) error {
			return x.upsert(p, Options{}, version, remoteDays...)
		}},
		{name: "rollback of a run", days: remoteDays, back: true,
			before: func(x *remote, version int) error { return x.upsert(&process{}, Options{}, version, remoteDays...) },
			run: func(x *remote, p *process, version int) error {
				return x.as(p, func(ctx context.Context, table *Table) error {
					versions, err := table.History(ctx, dayOne)
					if err == nil {
						_, err = table.Rollback(ctx, RollbackOptions{Run: versions[0].Run})
					}
					return err
				})
			}},
		{name: "stage only", days: remoteDays, run: stage},
		{name: "publish", days: remoteDays,
			before: func(x *remote, version int) error { return stage(x, &process{}, version) }, run: publish},
	}
}

// verdict is what a run said that something happened to, and what is wrong with what it left. "": nothing is.
type verdict struct {
	said  error
	wrong string
}

// cut runs a step in a process that something happens to, recovers as the next process does, and checks what is there: the
// days as before the step, or as after it if it is through or got that far.
func (x *remote) cut(step remoteStep, version int, p *process) (v verdict) {
	before, _, err := x.versions()
	if err != nil {
		return verdict{wrong: "before: " + err.Error()}
	}
	after := maps.Clone(before)
	if step.before != nil {
		if err := step.before(x, version); err != nil {
			return verdict{wrong: "before: " + err.Error()}
		}
	}
	for _, day := range step.days {
		after[day] = fmt.Sprintf("v%d", version)
	}
	if step.back {
		before, after = after, before
	}
	v.said = step.run(x, p, version)
	if err := x.as(&process{}, func(ctx context.Context, table *Table) error {
		_, err := table.Recover(ctx)
		return err
	}); err != nil {
		v.wrong = "recover: " + err.Error()
		return v
	}
	got, staged, err := x.versions()
	switch {
	case err != nil:
		v.wrong = err.Error()
	case v.said == nil && step.name == "stage only":
		if len(staged) != 1 || !maps.Equal(got, before) {
			v.wrong = fmt.Sprintf("staged are %v, and the table is %v", staged, got)
		}
	case v.said == nil && !maps.Equal(got, after), !maps.Equal(got, before) && !maps.Equal(got, after):
		v.wrong = fmt.Sprintf("the table is %v, was %v, and should be %v", got, before, after)
	}
	if v.wrong != "" {
		return v
	}
	left, err := x.left(staged, false)
	if err != nil || len(left) > 0 {
		v.wrong = fmt.Sprintf("left: %v %v", left, err)
		return v
	}
	v.wrong = x.end(staged, got, after)
	return v
}

// end publishes what is staged, and checks that this does it.
func (x *remote) end(staged []string, got, after map[string]string) string {
	if len(staged) == 0 {
		return ""
	}
	err := x.as(&process{}, func(ctx context.Context, table *Table) error {
		_, err := table.Publish(ctx, staged[0])
		return err
	})
	if err == nil {
		got, _, err = x.versions()
	}
	if err != nil || !maps.Equal(got, after) {
		return fmt.Sprintf("what was staged is published: %v; the table is %v, and should be %v", err, got, after)
	}
	return ""
}

// last is a run on all partitions after which nothing at all is left.
func (x *remote) last(t *testing.T, version int) {
	t.Helper()
	err := x.upsert(&process{}, Options{}, version, remoteDays...)
	var left []string
	if err == nil {
		left, err = x.left(nil, true)
	}
	if err != nil || len(left) > 0 {
		t.Errorf("after a last run, left: %v %v", left, err)
	}
}

var remoteWays = []swap.Way{swap.Rename, swap.Location}

// TestCrashOnHadoop lets the process die between any two changes that it makes to HDFS and the metastore: recovered, the
// table is old or new in all of its partitions, nothing is left, and the next run does its work.
func TestCrashOnHadoop(t *testing.T) {
	seed := crashSeedOrAny()
	for _, way := range remoteWays {
		t.Run(string(way), func(t *testing.T) {
			x := newRemote(t, way)
			rng := rand.New(rand.NewPCG(seed, 1))
			steps := remoteSteps()
			points, outcomes := deaths{rng: rng}, [2]int{}
			version := 0
			for deadline := time.Now().Add(*hadoopBudget); !t.Failed(); {
				at, ok := points.next(len(steps))
				if !ok || time.Now().After(deadline) && version > 0 {
					break
				}
				version++
				p := &process{}
				p.dies(at.point)
				v := x.cut(steps[at.step], version, p)
				if v.wrong != "" {
					t.Fatalf("-crash-seed %d: %s, dead at change %d (it said %v): %s", seed, steps[at.step].name, at.point, v.said, v.wrong)
				}
				if v.said == nil {
					outcomes[1]++
					points.through(at, strings.Count(p.fault.Log(), "\n"))
				} else {
					outcomes[0]++
				}
			}
			x.last(t, version+1)
			t.Logf("crashes on HDFS by %s: seed %d, %d deaths and %d runs that were through in %d steps", way, seed, outcomes[0], outcomes[1], len(steps))
		})
	}
}

func crashSeedOrAny() uint64 {
	if *crashSeed != 0 {
		return *crashSeed
	}
	return rand.Uint64()
}

// deaths gives the points of all steps, each once and in no order, without knowing beforehand how many a step has.
type deaths struct {
	rng   *rand.Rand
	tried map[samplePoint]bool
	most  map[int]int // by step: points from here on let it through
}

type samplePoint struct{ step, point int }

// mostChanges is more changes than any step makes.
const mostChanges = 400

// next gives a point that was not tried; false when there is none.
func (s *deaths) next(steps int) (samplePoint, bool) {
	if s.tried == nil {
		s.tried, s.most = map[samplePoint]bool{}, map[int]int{}
	}
	var open []samplePoint
	for step := range steps {
		end, known := s.most[step]
		if !known {
			// The first run of a step tells how many changes it has.
			return samplePoint{step, mostChanges}, true
		}
		for point := range end {
			if at := (samplePoint{step, point}); !s.tried[at] {
				open = append(open, at)
			}
		}
	}
	if len(open) == 0 {
		return samplePoint{}, false
	}
	at := open[s.rng.IntN(len(open))]
	s.tried[at] = true
	return at, true
}

// through notes that a step came through with that point, and how many changes it made.
func (s *deaths) through(at samplePoint, changes int) { s.most[at.step] = min(at.point, changes) }

// TestFaultsOnHadoop fails operations on HDFS and the metastore, once and for ever, reads included: an error that names its cause
// and the old table, or the new one where the run had committed; success only with the new one.
func TestFaultsOnHadoop(t *testing.T) {
	seed := crashSeedOrAny()
	faults := []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EACCES, storage.ErrUnavailable, storage.ErrWriteAgain}
	for _, way := range remoteWays {
		t.Run(string(way), func(t *testing.T) {
			x := newRemote(t, way)
			rng := rand.New(rand.NewPCG(seed, 2))
			steps := remoteSteps()
			counts := map[int]int{}
			failed, version := 0, 0
			for deadline := time.Now().Add(*hadoopBudget); time.Now().Before(deadline) && !t.Failed(); {
				version++
				at := rng.IntN(len(steps))
				rule := &faultfs.Rule{From: rng.IntN(max(1, counts[at])), Once: rng.IntN(2) == 0, Err: faults[rng.IntN(len(faults))], Lost: rng.IntN(4) == 0}
				what := *rule
				p := &process{rules: []*faultfs.Rule{rule}}
				if counts[at] == 0 {
					p.rules = nil
				}
				v := x.cut(steps[at], version, p)
				if v.said != nil && !errors.Is(v.said, what.Err) {
					v.wrong += " (the cause is lost)"
				}
				if v.wrong != "" {
					t.Fatalf("-crash-seed %d: %s, operation %d fails with %v (once: %t, lost: %t), it said %v: %s",
						seed, steps[at].name, what.From, what.Err, what.Once, what.Lost, v.said, v.wrong)
				}
				if p.rules == nil {
					counts[at] = p.fault.Count()
				}
				if v.said != nil {
					failed++
				}
			}
			x.last(t, version+1)
			t.Logf("faults on HDFS by %s: seed %d, %d runs, %d of them failed", way, seed, version, failed)
		})
	}
}

// TestFailedOpenOnHadoop: a table that can't be opened leaves no connection behind, which goleak would find.
func TestFailedOpenOnHadoop(t *testing.T) {
	for _, way := range remoteWays {
		x := newRemote(t, way)
		p := &process{rules: []*faultfs.Rule{{Err: syscall.EIO}}}
		if _, err := x.open(p); !errors.Is(err, syscall.EIO) {
			t.Errorf("%s: %v", way, err)
		}
	}
}

// TestTracesOnHadoop holds the operations of one upsert of one partition, on HDFS by renames and with the metastore, against
// what they were: a protocol that changes is a difference in review.
func TestTracesOnHadoop(t *testing.T) {
	for _, way := range remoteWays {
		t.Run(string(way), func(t *testing.T) {
			x := newRemote(t, way)
			p := &process{replace: []string{x.root + "/" + dayOne, "LIVE", path.Join(x.home, ".hupsert/t"), "STATE", x.home, "HOME",
				"20261120T000000Z-0000", "RUN", "20261119T000000Z-0000", "FIRST"}}
			p.clock = func() time.Time { return time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC) }
			err := x.as(p, func(ctx context.Context, table *Table) error {
				src, err := x.source(1, dayOne)
				if err == nil {
					_, err = table.Upsert(ctx, src, Options{Key: []string{"id"}, Parallel: 1})
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
			got := squeeze(p.fault.Log())
			name := fmt.Sprintf("testdata/traces/hdfs-%s.trace", way)
			if *rewriteTraces {
				if err := errors.Join(os.MkdirAll(path.Dir(name), 0o755), os.WriteFile(name, []byte(got), 0o644)); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			if got != string(want) {
				t.Errorf("the operations differ from %s (-rewrite-traces accepts them):\n%s", name, got)
			}
		})
	}
}

// squeeze leaves out repeated lines: into how many writes a file is divided is nobody's business.
func squeeze(log string) string {
	lines := strings.SplitAfter(log, "\n")
	return strings.Join(slices.Compact(lines), "")
}
