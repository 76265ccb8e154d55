package partition

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/swap"
)

// inspected is what check finds, by kind and partition.
func (w *warehouse) inspected(o CheckOptions) (*CheckReport, string) {
	w.t.Helper()
	rep, err := w.opened().Check(w.t.Context(), o)
	if err != nil {
		w.t.Fatalf("%v (%s)", err, Hint(err))
	}
	var found []string
	for _, f := range rep.Findings {
		if f.Kind != FoundUncheckedKeys && f.Kind != FoundHistory {
			found = append(found, fmt.Sprintf("%s %s", f.Kind, f.Partition))
		}
		if f.Hint == "" || f.Message == "" {
			w.t.Errorf("a finding without a hint or a message: %+v", f)
		}
	}
	slices.Sort(found)
	return rep, strings.Join(found, ", ")
}

// What a metastore says and what is there, compared; --repair sets right what is named, and nothing else.
func TestHiveCheck(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	w.merge(Options{}, "id,dt", "1,x", "1,y")
	// What is hidden is carried along, and not counted.
	w.write("orders/dt=z/_SUCCESS", "done")
	w.day("orders/dt=z", 1)
	w.register("dt=z", "")
	w.merge(Options{}, "id,dt", "2,z")
	w.counted("dt=z", 2)
	if _, err := os.Stat(filepath.Join(w.folder("dt=z"), "_SUCCESS")); err != nil {
		t.Error(err)
	}
	if _, found := w.inspected(CheckOptions{}); found != "" {
		t.Fatalf("check finds %s where nothing is wrong", found)
	}
	// Somebody adds a file, a folder, takes one away.
	rel, err := filepath.Rel(w.dir, w.folder("dt=x"))
	if err != nil {
		t.Fatal(err)
	}
	w.day(rel, 8)
	w.day("orders/dt=new", 3)
	w.day("orders/dt=other", 4)
	w.register("dt=gone", "")
	if err := os.RemoveAll(w.path("orders/dt=gone")); err != nil {
		t.Fatal(err)
	}
	want := "changed_by_others dt=x, missing_folder dt=gone, stale_statistics dt=x, unregistered dt=new, unregistered dt=other"
	rep, found := w.inspected(CheckOptions{})
	if found != want {
		t.Errorf("check finds %s, want %s", found, want)
	}
	if f := findingOf(rep, FoundUnregistered); !strings.Contains(f.Hint, "--repair dt=new") {
		t.Error(f.Hint)
	}
	before := w.names()
	if !slices.Equal(before, []string{"dt=gone", "dt=x", "dt=y", "dt=z"}) {
		t.Errorf("check has changed the metastore: %v", before)
	}

	_, found = w.inspected(CheckOptions{Repair: []string{"dt=new", "dt=x"}})
	if want = "changed_by_others dt=x, missing_folder dt=gone, unregistered dt=other"; found != want {
		t.Errorf("after the repair check finds %s, want %s", found, want)
	}
	w.counted("dt=new", 1)
	w.counted("dt=x", 2)
	if _, ok := w.registered()["dt=other"]; ok {
		t.Error("a partition is registered that nobody has named")
	}
	w.clean()
	// It is a partition like others from now on, and where it was.
	if dir := w.folder("dt=new"); dir != w.path("orders/dt=new") {
		t.Error("registered at", dir)
	}
	w.merge(Options{}, "id,dt", "5,new")
	w.counted("dt=new", 2)

	for spec, is := range map[string]error{"dt=gone": ErrNotFound, "dt=nowhere": ErrNotFound} {
		_, err := w.opened().Check(t.Context(), CheckOptions{Repair: []string{spec}})
		refused(t, err, is)
	}
	if _, ok := w.registered()["dt=nowhere"]; ok {
		t.Error("a folder that is not there is registered")
	}
}

// A folder that is left of a partition which a run has removed, or somebody else has dropped, is an earlier version: it is not
// registered as it is, and can be had back.
func TestHiveRepairOfEarlierVersion(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	for _, p := range []string{"dt=removed", "dt=dropped", "dt=anew"} {
		w.day("orders/"+p, 1)
		w.register(p, "")
	}
	w.merge(Options{}, "id,dt", "2,removed", "2,dropped", "2,anew")
	last := w.registered()["dt=dropped"].Parameters["hupsert.run"]
	run := w.merge(Options{Mode: Delete, DropEmpty: true}, "id,dt", "1,removed", "2,removed", "1,anew", "2,anew").Run
	r := w.client.Registry(w.table(), metastore.RegistryOptions{})
	if err := r.Point(t.Context(), pointingNow("dt=dropped", w.folder("dt=dropped"), "")); err != nil {
		t.Fatal(err)
	}
	// What somebody has made anew is his.
	if err := os.Rename(w.path("orders/dt=anew"), w.path("away")); err != nil { // a file system may give its number again
		t.Fatal(err)
	}
	w.day("orders/dt=anew", 7)

	rep, _ := w.inspected(CheckOptions{})
	for _, f := range rep.Findings {
		says, hint, ok := map[string]string{"dt=removed": "run " + run + " has removed", "dt=dropped": "somebody else has dropped", "dt=anew": "does not have"}[f.Partition],
			map[string]string{"dt=removed": "rollback " + w.url + " --partition dt=removed brings", "dt=dropped": "--partition dt=dropped --to " + last + " --force", "dt=anew": "--repair dt=anew"}[f.Partition], f.Kind == FoundUnregistered
		if ok && (!strings.Contains(f.Message, says) || !strings.Contains(f.Hint, hint) || strings.Contains(f.Hint, "--repair") != (f.Partition == "dt=anew")) {
			t.Errorf("%s: %s (%s)", f.Partition, f.Message, f.Hint)
		}
	}
	if n := len(slices.DeleteFunc(rep.Findings, func(f Finding) bool { return f.Kind != FoundUnregistered })); n != 3 {
		t.Errorf("%d folders are told that are no partitions", n)
	}
	for _, p := range []string{"dt=removed", "dt=dropped"} {
		_, err := w.opened().Check(t.Context(), CheckOptions{Repair: []string{p}})
		refused(t, err, ErrConflict, p, "version origin", "rollback")
		if w.registered()[p] != nil {
			t.Errorf("%s is registered", p)
		}
	}
	w.inspected(CheckOptions{Repair: []string{"dt=anew"}})
	for p, o := range map[string]RollbackOptions{"dt=removed": {}, "dt=dropped": {To: last, Force: true}} {
		o.Partitions = []string{p}
		if _, err := w.opened().Rollback(t.Context(), o); err != nil {
			t.Fatal(err)
		}
	}
	w.wants("dt=anew: id=7", "dt=dropped: id=1", "dt=dropped: id=2", "dt=removed: id=1", "dt=removed: id=2")
}

// What can't be published can't be repaired.
func TestHiveRepairRefuses(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string, hr int")
	w.day("elsewhere", 1)
	w.register("dt=a/hr=1", "file:"+w.path("elsewhere"))
	w.register("dt=b/hr=1", "file:"+w.path("elsewhere"))
	w.register("dt=c/hr=1", "file:"+w.path("orders/dt=d/hr=1"))
	w.day("orders/dt=d/hr=1", 1)
	w.register("dt=e/hr=1", w.hdfs+"/"+w.db)
	for spec, is := range map[string]error{"dt=a,hr=1": ErrLayout, "dt=d,hr=1": ErrLayout, "dt=e,hr=1": ErrLayout, "dt=a": ErrUsage} {
		_, err := w.opened().Check(t.Context(), CheckOptions{Repair: []string{spec}})
		refused(t, err, is)
	}
	_, err := w.bench.open().Check(t.Context(), CheckOptions{Repair: []string{"dt=a,hr=1"}})
	refused(t, err, ErrUsage, "hive://")
}

// A metastore that was put back, by a restore or by somebody too late: check says so and recover helps it forward.
func TestHiveBehind(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	w.merge(Options{}, "id,dt", "1,x")
	old := w.folder("dt=x")
	w.merge(Options{}, "id,dt", "2,x")
	w.move("dt=x", old)
	w.wants("dt=x: id=1")
	if _, found := w.inspected(CheckOptions{}); !strings.Contains(found, "dt=x") {
		t.Errorf("check finds %q", found)
	}
	if _, err := w.opened().Recover(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=x: id=1", "dt=x: id=2")
	w.move("dt=x", old)
	w.merge(Options{}, "id,dt", "3,x")
	w.wants("dt=x: id=1", "dt=x: id=2", "dt=x: id=3")
}

// A program that had read a partition before our runs, writes rows into the folder of then, and writes all of the partition back:
// nothing is merged over that, however often, until somebody says which rows count.
func TestHiveSetBack(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	w.day("orders/dt=x", 1)
	w.register("dt=x", "")
	old := w.folder("dt=x")
	first := w.merge(Options{}, "id,dt", "2,x").Run
	last := w.merge(Options{}, "id,dt", "3,x").Run
	w.day("orders/dt=x", 9)
	w.move("dt=x", old)
	attempts := 0
	w.cfg.Observer = func(e Event) {
		if e.Step == StepList && e.Err == nil {
			attempts++
		}
	}
	table := w.opened()
	for name, try := range map[string]func() error{
		"upsert": func() error { _, err := w.tryMerge(Options{Retry: 3}, "id,dt", "4,x"); return err },
		"plan": func() error {
			_, err := table.Plan(t.Context(), Source{From: []string{w.path("source.csv")}}, Options{Key: []string{"id"}})
			return err
		},
	} {
		attempts = 0
		refused(t, try(), ErrConflict, "dt=x", "before run "+first, "rollback "+w.url+" --partition dt=x --to "+last+" --force", "--ignore-set-back")
		if attempts != 1 {
			t.Errorf("%s tried %d times what stays so", name, attempts)
		}
	}
	w.wants("dt=x: id=9")
	rep, found := w.inspected(CheckOptions{})
	if f := findingOf(rep, FoundSetBack); !strings.Contains(found, "set_back dt=x") || f.Severity != SeverityError || !strings.Contains(f.Hint, "--partition dt=x --to "+last) {
		t.Errorf("check finds %s: %+v", found, f)
	}
	w.clean()

	// The rows of our runs again; what somebody wrote is a version that can be had.
	if _, err := w.opened().Rollback(t.Context(), RollbackOptions{Partitions: []string{"dt=x"}, To: last, Force: true}); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=x: id=1", "dt=x: id=2", "dt=x: id=3")
	history, err := w.opened().History(t.Context(), "dt=x")
	if err != nil {
		t.Fatal(err)
	}
	if v := history[1]; !strings.HasPrefix(v.Run, "foreign-") || !v.Kept || v.Rows != 1 {
		t.Errorf("what somebody wrote is %+v", v)
	}
	w.merge(Options{}, "id,dt", "4,x")
	w.wants("dt=x: id=1", "dt=x: id=2", "dt=x: id=3", "dt=x: id=4")

	// Or what is there now, and a warning of what it lacks.
	w.move("dt=x", old)
	w.cfg.Hadoop.IgnoreSetBack = true
	report := w.merge(Options{}, "id,dt", "5,x")
	w.wants("dt=x: id=5", "dt=x: id=9")
	if !slices.ContainsFunc(report.Warnings, func(s string) bool { return strings.Contains(s, "dt=x: ") && strings.Contains(s, "before run "+first) }) {
		t.Errorf("told %q", report.Warnings)
	}
}

// move has the metastore say another folder, as ALTER TABLE ... SET LOCATION does.
func (w *warehouse) move(partition, folder string) {
	w.t.Helper()
	r := w.client.Registry(w.table(), metastore.RegistryOptions{})
	now, err := r.Look(w.t.Context(), []string{partition})
	if err != nil {
		w.t.Fatal(err)
	}
	p := now[partition]
	if err := r.Point(w.t.Context(), pointingNow(partition, p.Folder, folder)); err != nil {
		w.t.Fatal(err)
	}
}

// Many partitions cost a run what their names cost.
func TestHiveManyPartitions(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt date, hr int")
	const many = 240 // which a run of 3,000 takes as well, but not their making
	locations := map[string]string{}
	start := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	for i := range many {
		name := fmt.Sprintf("dt=%s/hr=%d", start.AddDate(0, 0, i/24).Format(time.DateOnly), i%24)
		locations[name] = "file:" + filepath.Join(w.root(), name)
	}
	if err := w.client.AddPartitions(t.Context(), w.table(), locations); err != nil {
		t.Fatal(err)
	}
	asked := 0
	w.cfg.hooks.catalog = func(c catalog) catalog { return &askedCatalog{c, &asked} }
	for n := range 2 {
		began := time.Now()
		w.merge(Options{}, "id,dt,hr", fmt.Sprintf("%d,2020-02-03,7", n))
		t.Logf("one of %d partitions: %v", many, time.Since(began).Round(time.Millisecond))
	}
	if asked > 20 {
		t.Errorf("details of %d partitions were asked for, of which two runs change one", asked)
	}
	w.counted("dt=2020-02-03/hr=7", 2)
}

// askedCatalog counts the partitions that are asked for.
type askedCatalog struct {
	catalog
	asked *int
}

func (a *askedCatalog) Partitions(ctx context.Context, names []string) ([]catalogPartition, error) {
	*a.asked += len(names)
	return a.catalog.Partitions(ctx, names)
}

func (a *askedCatalog) Look(ctx context.Context, names []string) (map[string]swap.Registered, error) {
	*a.asked += len(names)
	if names == nil {
		*a.asked += 1 << 20
	}
	return a.catalog.Look(ctx, names)
}

func pointingNow(partition, was, folder string) []swap.Pointer {
	return []swap.Pointer{{Partition: partition, Was: was, Folder: folder, Run: "somebody", Rows: -1}}
}
