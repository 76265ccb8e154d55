package disktest

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
)

// scenario is what is done with a table while the power goes.
type scenario struct {
	name string
	// before is done in peace, and is durable.
	before step
	// dead is done before too, by a process that dies when it has switched one of two partitions.
	dead step
	run  step
	// old and new are the only outcomes there may be.
	old, new rows
	// vacuums says that the run may take earlier versions away, whole.
	vacuums bool
}

func (w *world) scenarios() []scenario {
	first, second, third := w.base.with(w.changes["first"]), w.changes["second"], w.changes["third"]
	return []scenario{
		{name: "upsert", run: w.upsert("first"), old: w.base, new: first},
		{name: "second upsert", before: w.upsert("first"), run: w.upsert("second"), old: first, new: first.with(second)},
		{name: "new partition", run: w.upsert("third"), old: w.base, new: w.base.with(third)},
		{name: "partition goes", run: w.drop("gone"), old: w.base, new: rows{"dt=1": w.base["dt=1"]}},
		{name: "rollback", before: w.upsert("first"), run: rollback, old: first, new: w.base},
		{name: "vacuum", before: w.upsert("first"), run: vacuum, old: first, new: first, vacuums: true},
		{name: "recover", dead: w.upsert("first"), run: recoverTable, old: w.base, new: first},
	}
}

func rollback(t *partition.Table) error {
	_, err := t.Rollback(bg, partition.RollbackOptions{Partitions: []string{"dt=1", "dt=2"}})
	return err
}

func vacuum(t *partition.Table) error {
	_, err := t.Vacuum(bg, partition.VacuumOptions{Keep: 1})
	return err
}

func recoverTable(t *partition.Table) error {
	_, err := t.Recover(bg)
	return err
}

var errDead = errors.New("the process is dead")

// prepare makes the table of a scenario, durable, in a folder of a disk.
func (w *world) prepare(sync func() error, sc scenario, way, dir string) error {
	if err := w.lay(dir); err != nil {
		return err
	}
	if sc.before != nil {
		if err := do(dir, local.FS{}, way, sc.before); err != nil {
			return err
		}
	}
	if sc.dead != nil {
		f := faultfs.Wrap(local.FS{})
		// The record of the run has its name; of the moves that follow, the second is of the second partition.
		f.Inject(&faultfs.Rule{Path: "/orders/dt=2", Op: faultfs.SyncDir, Once: true, Before: func() { f.After(0, errDead) }},
			&faultfs.Rule{Path: "orders/dt=2", Op: faultfs.Exchange, Once: true, Before: func() { f.After(0, errDead) }},
			&faultfs.Rule{Path: "orders/dt=2", Op: faultfs.Rename, Once: true, Before: func() { f.After(0, errDead) }})
		if err := do(dir, f, way, sc.dead); !errors.Is(err, errDead) {
			return fmt.Errorf("the process was to die: %w", err)
		}
	}
	return sync()
}

func do(dir string, fsys storage.FS, way string, run step) error {
	t, err := open(dir, fsys, way)
	if err != nil {
		return err
	}
	return run(t)
}

// mutant is a file system that leaves something out, or does it wrongly.
type mutant func(storage.FS) storage.FS

// cutting is a power cut: in which scenario, by which way of publishing, with which flush, before which operation of
// those that change the disk or make a change durable: before any other one it would leave the same disk.
type cutting struct {
	sc    scenario
	way   string
	flush flush
	at    int // counted from 0, or atEnd
	// before, where it is set, takes the place of at: the first operation that it matches.
	before faultfs.Rule
	// renumber gives the disk another device number when it comes back.
	renumber bool
}

// atEnd is right after the run.
const atEnd = 1 << 30

// name is what -point takes.
func (c cutting) name(k kind) string {
	at := fmt.Sprint(c.at)
	if c.at == atEnd {
		at = "end"
	}
	if c.before.Op != "" {
		at = fmt.Sprintf("%s %s", c.before.Op, c.before.Path)
	}
	if c.renumber {
		at += " other device"
	}
	return fmt.Sprintf("%s/%s/%s/%s/%s", k.name, c.sc.name, c.way, c.flush, at)
}

// result is what became of one cut.
type result struct {
	wrong string // "" if nothing is
	after bool   // the run had ended
	count int    // changes that the run made or tried to
}

// try makes a table, cuts the power while the scenario runs, and looks at what the disk holds.
func (w *world) try(t testing.TB, d *disk, c cutting, m mutant) result {
	t.Helper()
	dir := filepath.Join(d.dir, "warehouse")
	must(t, w.prepare(d.sync, c.sc, c.way, dir))
	before, err := fingerprints(dir)
	must(t, err)
	f := faultfs.Wrap(local.FS{})
	after := true
	var cutErr error
	when := c.before
	if when.Op == "" {
		when.Changes, when.Nth = true, c.at+1
	}
	when.Once = true
	when.Before = func() {
		after = false
		cutErr = d.cut(c.flush)
	}
	f.Inject(&when)
	var fsys storage.FS = f
	if m != nil {
		fsys = m(f)
	}
	// The run lives on and meets what the kernel says of a disk without power: it may not take that for success.
	ran := do(dir, fsys, c.way, c.sc.run)
	count := strings.Count(f.Log(), "\n")
	must(t, cutErr)
	if after {
		must(t, ran)
		must(t, d.cut(c.flush))
	}
	must(t, d.restart(c.renumber))
	wrong := w.settle(dir, c, ran, before)
	must(t, os.RemoveAll(dir))
	return result{wrong: wrong, after: after, count: count}
}

// settle recovers a table after a power cut and says what is wrong with it, "" if nothing is.
func (w *world) settle(dir string, c cutting, ran error, before map[string]string) string {
	if err := do(dir, local.FS{}, c.way, recoverTable); err != nil {
		return fmt.Sprintf("recover: %v", err)
	}
	got, err := readRows(dir)
	if err != nil {
		return err.Error()
	}
	switch {
	case got.String() == c.sc.new.String():
	case ran == nil:
		return "the run was reported as done, and is lost:\n" + differing(c.sc.new, got)
	case got.String() != c.sc.old.String():
		return "neither old nor new; compared with new:\n" + differing(c.sc.new, got)
	}
	left, err := leftovers(dir)
	if err != nil || len(left) > 0 {
		return fmt.Sprintf("left behind: %s, %v", strings.Join(left, ", "), err)
	}
	if wrong := reusedNames(dir, before); wrong != "" {
		return wrong
	}
	return w.goOn(dir, c, got)
}

// goOn uses the table that was recovered.
func (w *world) goOn(dir string, c cutting, got rows) string {
	t, err := open(dir, local.FS{}, c.way)
	if err != nil {
		return err.Error()
	}
	again, err := t.Recover(bg)
	if err != nil || len(again.Finished)+len(again.Undone) > 0 {
		return fmt.Sprintf("a second recover did %+v, %v", again, err)
	}
	if _, err := t.History(bg, ""); err != nil {
		return fmt.Sprintf("history: %v", err)
	}
	if c.sc.vacuums {
		// What it took away is gone whole; what is there is whole.
		err := rollback(t)
		switch {
		case err == nil:
			got = w.base
		case partition.KindOf(err) != partition.KindNotFound:
			return fmt.Sprintf("rollback after the vacuum: %v", err)
		}
	}
	if err := w.upsert("last")(t); err != nil {
		return fmt.Sprintf("the next run: %v", err)
	}
	want := got.with(w.changes["last"])
	after, err := readRows(dir)
	if err != nil || after.String() != want.String() {
		return fmt.Sprintf("after the next run: %v\n%s", err, differing(want, after))
	}
	return ""
}

// reusedNames finds files that have the name of an earlier file and other bytes: readers that have listed the old
// version would read the new one's rows among the old one's.
func reusedNames(dir string, before map[string]string) string {
	now, err := fingerprints(dir)
	if err != nil {
		return err.Error()
	}
	for _, name := range slices.Sorted(maps.Keys(now)) {
		if sum, ok := before[name]; ok && sum != now[name] {
			return name + " has the name of an earlier file"
		}
	}
	return ""
}

// differing are the lines in which two tables differ.
func differing(want, got rows) string {
	lines := func(r rows) map[string]bool {
		out := map[string]bool{}
		for line := range strings.Lines(r.String() + "\n") {
			out[line] = true
		}
		return out
	}
	var out []string
	w, g := lines(want), lines(got)
	for line := range w {
		if !g[line] {
			out = append(out, "- "+line)
		}
	}
	for line := range g {
		if !w[line] {
			out = append(out, "+ "+line)
		}
	}
	slices.Sort(out)
	if len(out) > 12 {
		out = append(out[:12], "...\n")
	}
	return strings.Join(out, "")
}
