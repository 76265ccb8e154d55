package partition

import (
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"path"
	"runtime"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
)

var (
	crashSeed   = flag.Uint64("crash-seed", 0, "repeat a crash harness whose seed was printed; 0: another one each time")
	crashDisks  = flag.Uint64("crash-disks", 5, "disks that each crash leaves, per model")
	crashBudget = flag.Duration("crash-budget", 8*time.Second, "time for each crash harness: points are sampled to fit")
)

// errPower is what every operation fails with once the power is gone.
var errPower = errors.New("power is gone")

const (
	crashRoot = "/w/orders"
	dayOne    = "dt=2026-11-20"
	dayTwo    = "dt=2026-11-21"
	dayThree  = "dt=2026-11-22"
)

// disk is a table on a disk in memory, for one scenario.
type disk struct {
	*mem.FS
	publish string
}

// on opens the table on a file system: the disk itself, or one with faults in front of it.
func (d disk) on(fsys storage.FS) (*Table, error) {
	return Open(context.Background(), crashRoot, Config{FS: fsys, Publish: d.publish})
}

// merge is one upsert on a file system.
func (d disk) merge(fsys storage.FS, o Options, rows string) (*Report, error) {
	table, err := d.on(fsys)
	if err != nil {
		return nil, err
	}
	return d.mergeInto(table, o, rows)
}

// mergeInto is one upsert of an open table.
func (d disk) mergeInto(table *Table, o Options, rows string) (*Report, error) {
	s, err := ParseSchema("id bigint, name string, dt date, gone boolean")
	if err != nil {
		return nil, err
	}
	r, err := jsonRecords(s, rows)
	if err != nil {
		return nil, err
	}
	o.Key, o.DeleteWhen = []string{"id"}, "gone"
	return table.Upsert(context.Background(), Records(r), o)
}

// twoDays is a table of two days with two runs behind it.
func twoDays(publish string) (disk, error) {
	d := disk{mem.New(), publish}
	if err := d.Mkdir(context.Background(), "/w", 0o755); err != nil {
		return d, err
	}
	_, err := d.merge(d.FS, Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}, `[
		{"id":1,"name":"ann","dt":"2026-11-20"},{"id":2,"name":"bob","dt":"2026-11-20"},{"id":3,"name":"cid","dt":"2026-11-20"},
		{"id":1,"name":"dee","dt":"2026-11-21"},{"id":4,"name":"eve","dt":"2026-11-21"},{"id":9,"name":"kai","dt":"2026-11-22"}]`)
	if err == nil {
		_, err = d.merge(d.FS, Options{TargetFileBytes: 1}, `[{"id":5,"name":"flo","dt":"2026-11-20"},{"id":6,"name":"gus","dt":"2026-11-21"}]`)
	}
	return d, err
}

// crashing is an operation whose crashes are tried, after a durable beginning.
type crashing struct {
	name   string
	before func(d disk) error
	run    func(d disk, fsys storage.FS) error
}

func dayOfChanges(d disk, fsys storage.FS) error { return d.changes(fsys, Options{}) }

// changes is a day of changes, in three partitions.
func (d disk) changes(fsys storage.FS, o Options) error {
	_, err := d.merge(fsys, o, `[{"id":2,"name":"BOB","dt":"2026-11-20"},{"id":3,"dt":"2026-11-20","gone":true},{"id":7,"name":"hal","dt":"2026-11-20"},
		{"id":4,"name":"EVE","dt":"2026-11-21"},{"id":8,"name":"ida","dt":"2026-11-23"}]`)
	return err
}

// movedRows is changes of rows whose keys are unique in the table: some move to a day before, to a later one and to a new one, one is
// deleted where it is, which the source does not name.
func movedRows(d disk, fsys storage.FS) error {
	_, err := d.merge(fsys, Options{UniqueWithin: "table"}, `[{"id":2,"name":"BOB","dt":"2026-11-21"},{"id":4,"name":"EVE","dt":"2026-11-20"},
		{"id":6,"name":"GUS","dt":"2026-11-24"},{"id":9,"dt":"2026-11-21","gone":true},{"id":8,"name":"ida","dt":"2026-11-20"}]`)
	return err
}

// TestMovesAfterCut: a key that a run commits to a new partition, and that is killed before its folder is there, is found there by one that
// had begun before.
func TestMovesAfterCut(t *testing.T) {
	for _, publish := range publishes {
		d, err := twoDays(publish)
		if err != nil {
			t.Fatal(err)
		}
		last := faultfs.Wrap(d.FS)
		last.Inject(&faultfs.Rule{Path: crashRoot + "/dt=2026-11-24", Op: faultfs.Rename, Err: errPower})
		o := Options{UniqueWithin: "table", Retry: 1}
		var cut sync.Once
		table, err := Open(context.Background(), crashRoot, Config{FS: d.FS, Publish: publish, Observer: func(e Event) {
			if e.Step == StepLock {
				cut.Do(func() {
					if _, err := d.merge(last, o, `[{"id":50,"name":"lea","dt":"2026-11-24"}]`); err == nil {
						t.Error("the run was not cut")
					}
				})
			}
		}})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := d.mergeInto(table, o, `[{"id":50,"name":"LEA","dt":"2026-11-25"}]`)
		if err != nil || rep.Total.Rows.Moved != 1 || rep.Total.Rows.Inserted != 0 {
			t.Errorf("by %s: %v, %+v", publish, err, rep.Total.Rows)
		}
	}
}

func crashings() []crashing {
	nothing := func(disk) error { return nil }
	change := func(d disk) error { return dayOfChanges(d, d.FS) }
	return []crashing{
		{"upsert", nothing, dayOfChanges},
		{"moves", nothing, movedRows},
		{"rollback", change, func(d disk, fsys storage.FS) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			_, err = table.Rollback(context.Background(), RollbackOptions{Partitions: []string{dayOne, dayTwo}})
			return err
		}},
		{"vacuum", change, func(d disk, fsys storage.FS) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			_, err = table.Vacuum(context.Background(), VacuumOptions{})
			return err
		}},
		{"recover", func(d disk) error { // a run that was cut in the midst of its switches
			last := faultfs.Wrap(d.FS)
			last.Inject(&faultfs.Rule{Path: dayTwo, Op: faultfs.Exchange, Err: errPower}, &faultfs.Rule{Path: crashRoot + "/" + dayTwo, Op: faultfs.Rename, Err: errPower})
			if err := dayOfChanges(d, last); err == nil {
				return errors.New("the run was not cut")
			}
			return nil
		}, func(d disk, fsys storage.FS) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			_, err = table.Recover(context.Background())
			return err
		}},
		{"compact", change, func(d disk, fsys storage.FS) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			report, err := table.Compact(context.Background(), CompactOptions{})
			if err == nil && report.Partitions[0].Status != Published {
				return fmt.Errorf("nothing was compacted: %+v", report.Partitions)
			}
			return err
		}},
		{"stage only", nothing, func(d disk, fsys storage.FS) error { return d.changes(fsys, Options{StageOnly: true}) }},
		{"publish", stageOnly, func(d disk, fsys storage.FS) error {
			return d.ending(fsys, func(table *Table, run string) error {
				_, err := table.Publish(context.Background(), run)
				return err
			})
		}},
		{"discard", stageOnly, func(d disk, fsys storage.FS) error {
			return d.ending(fsys, func(table *Table, run string) error {
				_, err := table.Discard(context.Background(), run)
				return err
			})
		}},
		{"rollback of a run", change, func(d disk, fsys storage.FS) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			versions, err := table.History(context.Background(), dayOne)
			if err != nil {
				return err
			}
			_, err = table.Rollback(context.Background(), RollbackOptions{Run: versions[0].Run})
			return err
		}},
	}
}

// upsertEach is the day of changes with a source for each partition, merged side by side and published together.
func upsertEach(d disk, fsys storage.FS) error {
	table, err := d.on(fsys)
	if err != nil {
		return err
	}
	s, err := ParseSchema("id bigint, name string, gone boolean")
	if err != nil {
		return err
	}
	b := Batch{Run: "each"}
	for _, p := range []struct{ partition, rows string }{
		{dayOne, `[{"id":2,"name":"BOB"},{"id":3,"gone":true},{"id":7,"name":"hal"}]`},
		{dayTwo, `[{"id":4,"name":"EVE"}]`},
		{"dt=2026-11-23", `[{"id":8,"name":"ida"}]`},
	} {
		r, err := jsonRecords(s, p.rows)
		if err != nil {
			return err
		}
		b.Parts = append(b.Parts, Part{Partition: p.partition, Source: Records(r), Mark: "m " + p.partition, Bytes: 1})
	}
	_, err = table.UpsertEach(context.Background(), b, Options{Key: []string{"id"}, DeleteWhen: "gone"})
	return err
}

// TestReadOnceEach: where a publish of several fails, a source that can't be read again fails with its cause; what is left of it is not
// taken for all of it.
func TestReadOnceEach(t *testing.T) {
	for at := 0; ; at += 5 {
		d, err := twoDays("rename")
		if err != nil {
			t.Fatal(err)
		}
		f := faultfs.Wrap(d.FS)
		f.Inject(&faultfs.Rule{From: at, Once: true, Err: syscall.EIO})
		err = upsertEach(d, f)
		rows, rerr := (&diskReader{known: map[[32]byte][]string{}}).rows(d.FS)
		if rerr != nil {
			t.Fatal(rerr)
		}
		if err == nil && (!strings.Contains(rows, "BOB") || !strings.Contains(rows, "EVE") || !strings.Contains(rows, "ida")) {
			t.Fatalf("operation %d failed, the batch reported success, and the table is\n%s", at, rows)
		}
		if f.Count() <= at {
			return
		}
	}
}

// stageOnly leaves a day of changes staged.
func stageOnly(d disk) error { return d.changes(d.FS, Options{StageOnly: true}) }

// ending does something to the one run that is staged.
func (d disk) ending(fsys storage.FS, do func(table *Table, run string) error) error {
	table, err := d.on(fsys)
	if err != nil {
		return err
	}
	list, err := table.Staged(context.Background())
	if err != nil {
		return err
	}
	if len(list) != 1 {
		return fmt.Errorf("%d runs are staged", len(list))
	}
	return do(table, list[0].Run)
}

// TestPublishAfterKill: a publish that is killed at any operation is finished by the next one, or done anew: where that reports success the rows
// are there. A discard leaves all old or all new.
func TestPublishAfterKill(t *testing.T) {
	for _, way := range publishes {
		begun, err := twoDays(way)
		if err == nil {
			err = stageOnly(begun)
		}
		if err != nil {
			t.Fatal(err)
		}
		runs, err := waiting(begun.FS)
		if err != nil || len(runs) != 1 {
			t.Fatal(runs, err)
		}
		reader := &diskReader{known: map[[32]byte][]string{}}
		rows := func(d disk) string {
			text, err := reader.rows(d.FS)
			if err != nil {
				t.Fatal(err)
			}
			return text
		}
		publish := func(table *Table, run string) error { _, err := table.Publish(context.Background(), run); return err }
		discard := func(table *Table, run string) error { _, err := table.Discard(context.Background(), run); return err }
		do := func(d disk, fsys storage.FS, what func(*Table, string) error) error {
			table, err := d.on(fsys)
			if err != nil {
				return err
			}
			return what(table, runs[0])
		}
		again := func() disk { return disk{begun.FS.Crash(mem.Killed, 0), begun.publish} }
		whole, none := again(), again()
		if err := errors.Join(do(whole, whole.FS, publish), do(none, none.FS, discard)); err != nil {
			t.Fatal(err)
		}
		afterwards := 0
		for at := 0; ; at++ {
			d := again()
			f := faultfs.Wrap(d.FS)
			f.Inject(&faultfs.Rule{Changes: true, From: at, Err: syscall.EIO})
			killed := do(d, f, publish)
			for _, next := range []bool{true, false} {
				left := disk{d.FS.Crash(mem.Killed, 0), d.publish}
				if next {
					if err := do(left, left.FS, publish); err != nil || rows(left) != rows(whole) {
						t.Fatalf("%s, killed at change %d (%v): published again: %v\n%s", way, at, killed, err, rows(left))
					}
					continue
				}
				err := do(left, left.FS, discard)
				want := none
				if err != nil {
					afterwards++
					want = whole
				}
				if rows(left) != rows(want) {
					t.Fatalf("%s, killed at change %d (%v): discarded: %v\n%s", way, at, killed, err, rows(left))
				}
			}
			if killed == nil {
				break
			}
		}
		if afterwards == 0 {
			t.Errorf("%s: no discard came after the commit", way)
		}
	}
}

// reader reads tables on disks in memory. What it has read once it knows again by its bytes.
type diskReader struct {
	mu    sync.Mutex
	known map[[32]byte][]string
}

// rows are a table's live rows, "partition: col=value ...", sorted, and before them how many runs are staged.
func (r *diskReader) rows(fsys storage.FS) (string, error) {
	var out []string
	err := walk(fsys, crashRoot, func(name string) error {
		data, err := content(fsys, name)
		if err != nil {
			return err
		}
		lines, err := r.lines(name, data)
		for _, l := range lines {
			out = append(out, path.Base(path.Dir(name))+": "+l)
		}
		return err
	})
	slices.Sort(out)
	waits, werr := waiting(fsys)
	return strings.Join(append([]string{fmt.Sprint(len(waits), " staged")}, out...), "\n"), errors.Join(err, werr)
}

// waiting lists the runs that are staged, as the files of the state say it.
func waiting(fsys storage.FS) (runs []string, err error) {
	const state = "/w/.hupsert/orders/"
	list, err := fsys.List(context.Background(), state+"staging")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	for _, i := range list {
		_, staged := fsys.Stat(context.Background(), state+"staging/"+i.Name+"/staged.json")
		_, done := fsys.Stat(context.Background(), state+"runs/done/"+i.Name+".json")
		if staged == nil && done != nil {
			runs = append(runs, i.Name)
		}
	}
	return runs, err
}

func (r *diskReader) lines(name string, data []byte) ([]string, error) {
	key := sha256.Sum256(data)
	r.mu.Lock()
	lines, ok := r.known[key]
	r.mu.Unlock()
	if ok {
		return lines, nil
	}
	in := source.Input{Name: name, Format: source.Parquet, Size: int64(len(data)),
		Open: func(context.Context) (source.ReadCloserAt, error) {
			return inBytes{strings.NewReader(string(data))}, nil
		}}
	lines, err := parquetLines(in)
	if err == nil {
		r.mu.Lock()
		r.known[key] = lines
		r.mu.Unlock()
	}
	return lines, err
}

type inBytes struct{ *strings.Reader }

func (inBytes) Close() error { return nil }

// walk calls f for every file below a folder.
func walk(fsys storage.FS, dir string, f func(name string) error) error {
	list, err := fsys.List(context.Background(), dir)
	if err != nil {
		return err
	}
	for _, i := range list {
		name := path.Join(dir, i.Name)
		if i.IsDir() {
			err = walk(fsys, name, f)
		} else {
			err = f(name)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func content(fsys storage.FS, name string) (data []byte, err error) {
	f, err := fsys.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	info, err := f.Stat()
	if err != nil {
		return nil, err
	}
	data = make([]byte, info.Size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	return data, nil
}

// digest tells disks apart by everything that is on them.
func digest(fsys storage.FS) ([32]byte, error) {
	h := sha256.New()
	err := walk(fsys, "/w", func(name string) error {
		data, err := content(fsys, name)
		_, _ = fmt.Fprintf(h, "%s %d\n", name, len(data))
		_, _ = h.Write(data)
		return err
	})
	var sum [32]byte
	h.Sum(sum[:0])
	return sum, err
}

// settle recovers a disk as the next process finds it, and says what is wrong with it: rows that are none of the outcomes,
// something left of the run, or a next run that does not do its work. "": nothing is.
func (r *diskReader) settle(d disk, outcomes []string) string {
	table, err := d.on(d.FS)
	if err != nil {
		return fmt.Sprintf("open: %v", err)
	}
	if _, err := table.Recover(context.Background()); err != nil {
		return fmt.Sprintf("recover: %v", err)
	}
	got, err := r.rows(d.FS)
	if err != nil || !slices.Contains(outcomes, got) {
		return fmt.Sprintf("%v; the table is\n%s\nnone of\n%s", err, got, strings.Join(outcomes, "\n\n"))
	}
	if left := leftovers(d, table); left != "" {
		return "left: " + left
	}
	if wrong := r.publishes(d); wrong != "" {
		return "what is staged: " + wrong
	}
	if _, err := table.History(context.Background(), dayOne); err != nil {
		return fmt.Sprintf("history: %v", err)
	}
	if err := dayOfChanges(d, d.FS); err != nil {
		return fmt.Sprintf("the next run: %v", err)
	}
	if again, err := r.rows(d.FS); err != nil || !strings.Contains(again, dayOne+": id=2 name=BOB") || strings.Contains(again, dayOne+": id=3") {
		return fmt.Sprintf("%v; after the next run the table is\n%s", err, again)
	}
	return ""
}

// publishes says what is wrong with publishing, on a copy, what is staged.
func (r *diskReader) publishes(d disk) string {
	if runs, err := waiting(d); err != nil || len(runs) == 0 {
		return errorText(err)
	}
	cp := disk{d.Crash(mem.Killed, 0), d.publish}
	err := cp.ending(cp.FS, func(table *Table, run string) error {
		_, err := table.Publish(context.Background(), run)
		return err
	})
	if err != nil {
		return err.Error()
	}
	got, err := r.rows(cp.FS)
	if err != nil || !strings.HasPrefix(got, "0 staged\n") || !strings.Contains(got, dayOne+": id=2 name=BOB") || !strings.Contains(got, "id=8 name=ida") {
		return fmt.Sprintf("%s; published, the table is\n%s", errorText(err), got)
	}
	return ""
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

// leftovers are what no run needs any more once all is recovered.
func leftovers(d disk, table *Table) string {
	var left []string
	waits, err := waiting(d)
	if err != nil {
		return err.Error()
	}
	for _, dir := range []string{"staging", "runs/undo"} {
		list, err := d.List(context.Background(), path.Join(table.StateDir(), dir))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err.Error()
		}
		for _, i := range list {
			if !slices.Contains(waits, i.Name) {
				left = append(left, path.Join(dir, i.Name))
			}
		}
	}
	return strings.Join(left, ", ")
}

// harness runs crashes and counts them.
type harness struct {
	*diskReader
	rng      *rand.Rand
	seed     uint64
	deadline time.Time
	points   int // operations at which the power was cut, or that failed
	disks    int // that were looked at
	same     int // that were found to be one that was
	twice    int // disks after a second cut, in the recovery
}

// newHarness makes a harness that has a share of the budget; those of one test run on all cores.
func newHarness(t *testing.T, share int) *harness {
	t.Helper()
	t.Parallel()
	h := &harness{diskReader: &diskReader{known: map[[32]byte][]string{}}, seed: *crashSeed}
	if h.seed == 0 {
		h.seed = rand.Uint64()
	}
	h.rng = rand.New(rand.NewPCG(h.seed, 1))
	budget := *crashBudget * time.Duration(min(share, runtime.GOMAXPROCS(0))) / time.Duration(share)
	if testing.Short() {
		budget /= 10
	}
	h.deadline = time.Now().Add(budget)
	return h
}

// outcomes are the table's rows before and after a scenario.
func (h *harness) outcomes(t *testing.T, c crashing, publish string) (begun disk, list []string) {
	t.Helper()
	d, err := twoDays(publish)
	if err == nil {
		err = c.before(d)
	}
	if err != nil {
		t.Fatal(err)
	}
	d.FS = d.Crash(mem.Killed, 0) // without locks that an interrupted run held
	end := disk{d.Crash(mem.Killed, 0), publish}
	for _, of := range []struct {
		disk
		run bool
	}{{d, false}, {end, true}} {
		if of.run {
			if err := c.run(of.disk, of.FS); err != nil {
				t.Fatal(err)
			}
		}
		rows, err := h.settled(of.disk)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rows)
	}
	return d, list
}

// settled are the rows once everything is recovered, on a copy.
func (h *harness) settled(d disk) (string, error) {
	cp := disk{d.Crash(mem.Killed, 0), d.publish}
	table, err := cp.on(cp.FS)
	if err != nil {
		return "", err
	}
	if _, err := table.Recover(context.Background()); err != nil {
		return "", err
	}
	return h.rows(cp.FS)
}

// crashes cuts the power in every model and with several seeds, and settles each disk that differs.
func (h *harness) crashes(d disk, outcomes []string) (wrong string) {
	seen := map[[32]byte]bool{}
	for _, model := range mem.Models() {
		for range *crashDisks {
			seed := h.rng.Uint64()
			left := disk{d.Crash(model, seed), d.publish}
			key, err := digest(left)
			if err != nil {
				return err.Error()
			}
			if seen[key] {
				h.same++
				continue
			}
			seen[key] = true
			h.disks++
			if len(seen) == 1 { // the first is the harshest model's: only what was synced survives
				if wrong := h.crashRecovery(left, outcomes); wrong != "" {
					return fmt.Sprintf("%s, seed %d: %s", model, seed, wrong)
				}
			}
			if wrong := h.settle(left, outcomes); wrong != "" {
				return fmt.Sprintf("%s, seed %d: %s", model, seed, wrong)
			}
		}
	}
	return ""
}

// crashRecovery cuts the power a second time, after each change that the recovery makes.
func (h *harness) crashRecovery(d disk, outcomes []string) (wrong string) {
	for at := 0; ; at++ {
		cut := disk{d.Crash(mem.Killed, 0), d.publish}
		f := faultfs.Wrap(cut.FS)
		f.Inject(powerCut(at))
		table, err := cut.on(f)
		if err == nil {
			_, err = table.Recover(context.Background())
		}
		if err == nil {
			return ""
		}
		h.twice++
		models := mem.Models()
		model, seed := models[h.rng.IntN(len(models))], h.rng.Uint64()
		if wrong := h.settle(disk{cut.Crash(model, seed), d.publish}, outcomes); wrong != "" {
			return fmt.Sprintf("then power cut after change %d of recover, %s, seed %d: %s", at, model, seed, wrong)
		}
	}
}

// operations counts a run's operations, and those of them that change the disk or what of it is durable.
func operations(t *testing.T, c crashing, begun disk) (all, changes int) {
	t.Helper()
	counted := faultfs.Wrap(begun.Crash(mem.Killed, 0))
	if err := c.run(begun, counted); err != nil {
		t.Fatal(err)
	}
	return counted.Count(), strings.Count(counted.Log(), "\n")
}

// powerCut lets a run's first changes happen, and nothing after them.
func powerCut(changes int) *faultfs.Rule {
	return &faultfs.Rule{Changes: true, Nth: changes + 1, Err: errPower}
}

func (h *harness) late() bool { return time.Now().After(h.deadline) }

var publishes = []string{"exchange", "rename"}

// TestCrashOfCommands cuts the power between the changes of whole commands, on a table of Parquet files: the table holds the old rows or
// the new ones, nothing is left over, and the next run does its work.
func TestCrashOfCommands(t *testing.T) {
	list := append(crashings(), crashing{"upsert each", func(disk) error { return nil }, upsertEach})
	for _, c := range list {
		for _, publish := range publishes {
			t.Run(c.name+"/"+publish, func(t *testing.T) {
				h := newHarness(t, len(list)*len(publishes))
				begun, outcomes := h.outcomes(t, c, publish)
				_, changes := operations(t, c, begun)
				for _, at := range h.rng.Perm(changes + 1) {
					if h.late() && h.points > 0 {
						break
					}
					d := disk{begun.Crash(mem.Killed, 0), publish}
					f := faultfs.Wrap(d.FS)
					f.Inject(powerCut(at))
					err := c.run(d, f)
					may := outcomes
					if err == nil {
						may = outcomes[1:] // what was reported as done is there
					}
					h.points++
					if wrong := h.crashes(d, may); wrong != "" {
						t.Fatalf("-crash-seed %d: power cut after change %d (the run said %v): %s", h.seed, at, err, wrong)
					}
				}
				t.Logf("crash of %s by %s: seed %d, %d of %d changes, %d disks, %d more the same, %d cut again in recovery", c.name, publish, h.seed, h.points, changes+1, h.disks, h.same, h.twice)
			})
		}
	}
}

// TestCrashWithSecondWriter cuts the power while a second run on another partition begins and ends inside the first: what it
// reported as done is there, whatever becomes of the first.
func TestCrashWithSecondWriter(t *testing.T) {
	first := crashings()[0]
	for _, publish := range publishes {
		t.Run(publish, func(t *testing.T) {
			h := newHarness(t, len(publishes))
			begun, outcomes := h.outcomes(t, first, publish)
			after := func(s string) string {
				return strings.Replace(s, dayThree+": id=9 name=kai", dayThree+": id=9 name=KAI", 1)
			}
			_, changes := operations(t, first, begun)
			inside := 0
			for _, at := range h.rng.Perm(changes + 1) {
				if h.late() && h.points > 0 {
					break
				}
				d := disk{begun.Crash(mem.Killed, 0), publish}
				f := faultfs.Wrap(d.FS)
				var second error
				f.Inject(&faultfs.Rule{Changes: true, Nth: 1 + h.rng.IntN(at+1), Once: true, Before: func() {
					_, second = d.merge(d.FS, Options{}, `[{"id":9,"name":"KAI","dt":"2026-11-22"}]`)
					inside++
				}}, powerCut(at))
				err := first.run(d, f)
				if second != nil {
					t.Fatalf("-crash-seed %d: the second run: %v", h.seed, second)
				}
				var may []string
				for _, o := range outcomes {
					may = append(may, after(o))
				}
				if err == nil {
					may = may[1:]
				}
				h.points++
				if wrong := h.crashes(d, may); wrong != "" {
					t.Fatalf("-crash-seed %d: a second run inside, power cut after change %d (the first said %v): %s", h.seed, at, err, wrong)
				}
			}
			t.Logf("crash beside a second run by %s: seed %d, %d of %d changes, %d second runs, %d disks, %d more the same, %d cut again in recovery", publish, h.seed, h.points, changes+1, inside, h.disks, h.same, h.twice)
		})
	}
}

// TestFaultsOfCommands fails operations of whole commands, once and for ever: an error that names its cause and the old table, or the new
// one where the run had committed; success only with the new one. Then the next run does its work.
func TestFaultsOfCommands(t *testing.T) {
	list := crashings()
	for _, c := range list {
		for _, publish := range publishes {
			t.Run(c.name+"/"+publish, func(t *testing.T) {
				h := newHarness(t, len(list)*len(publishes))
				begun, outcomes := h.outcomes(t, c, publish)
				all, _ := operations(t, c, begun)
				for _, at := range h.rng.Perm(all) {
					if h.late() && h.points > 0 {
						break
					}
					for _, fault := range []error{syscall.EIO, syscall.ENOSPC, syscall.EACCES, syscall.EXDEV} {
						h.fault(t, c, begun, outcomes, faultfs.Rule{From: at, Err: fault})
						h.fault(t, c, begun, outcomes, faultfs.Rule{From: at, Err: fault, Once: true})
					}
				}
				t.Logf("faults of %s by %s: seed %d, %d faults at %d operations", c.name, publish, h.seed, h.points, all)
			})
		}
	}
}

// fault runs a scenario with one fault.
func (h *harness) fault(t *testing.T, c crashing, begun disk, outcomes []string, rule faultfs.Rule) {
	t.Helper()
	h.points++
	d := disk{begun.Crash(mem.Killed, 0), begun.publish}
	f, injected := faultfs.Wrap(d.FS), rule
	f.Inject(&injected)
	err := c.run(d, f)
	what := fmt.Sprintf("-crash-seed %d: operation %d fails with %v (once: %t), the run said %v", h.seed, rule.From, rule.Err, rule.Once, err)
	if err != nil && !errors.Is(err, rule.Err) {
		t.Fatalf("%s: the cause is lost", what)
	}
	if err == nil {
		outcomes = outcomes[1:]
	}
	if wrong := h.settle(disk{d.Crash(mem.Killed, 0), d.publish}, outcomes); wrong != "" {
		t.Fatalf("%s: %s", what, wrong)
	}
}

// TestCrashMutants leaves fsyncs out, or the run's record: the harness must notice.
func TestCrashMutants(t *testing.T) {
	mutants := map[string]faultfs.Rule{
		"no fsync of data files": {Op: faultfs.Sync, Path: "*.parquet", Skip: true},
		"no fsync of folders":    {Op: faultfs.SyncDir, Skip: true},
		"no run record":          {Op: faultfs.Rename, Path: "/orders/runs/20", Skip: true},
	}
	upsert := crashings()[0]
	for name, mutant := range mutants {
		t.Run(name, func(t *testing.T) {
			h := newHarness(t, len(mutants))
			begun, outcomes := h.outcomes(t, upsert, "exchange")
			_, changes := operations(t, upsert, begun)
			for _, at := range h.rng.Perm(changes + 1) {
				d := disk{begun.Crash(mem.Killed, 0), "exchange"}
				rule, f := mutant, faultfs.Wrap(d.FS)
				f.Inject(&rule)
				cut := faultfs.Wrap(f)
				cut.Inject(powerCut(at))
				may := outcomes
				if err := upsert.run(d, cut); err == nil {
					may = outcomes[1:]
				}
				h.points++
				if wrong := h.crashes(d, may); wrong != "" {
					t.Logf("seed %d: found after %d points: %.100s", h.seed, h.points, wrong)
					return
				}
			}
			t.Fatalf("-crash-seed %d: %d points and %d disks, and nothing was found", h.seed, h.points, h.disks)
		})
	}
}
