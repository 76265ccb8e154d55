package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/local"
)

// warehouse is a table of a real metastore, in a database of the test's own, whose files lie in the bench's folder.
type warehouse struct {
	*bench
	client *metastore.Client
	url    string
	db     string
	hdfs   string // another storage, on which the metastore can be told that partitions lie
}

// newWarehouse makes a table "orders" with these columns, in Hive's words: "id bigint, name string". It is partitioned
// by others, "" being by none.
func newWarehouse(t *testing.T, columns, partitionBy string, change ...func(*metastore.NewTable)) *warehouse {
	t.Helper()
	s := servicetest.Shared(t)
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	client, err := metastore.Dial(t.Context(), metastore.Config{Hosts: []string{s.Metastore}, User: "root"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := client.Close(); err != nil {
			t.Error(err)
		}
	})
	w := &warehouse{bench: newBench(t), client: client, hdfs: s.HDFS, db: s.Database(t)}
	w.url = "hive://" + s.Metastore + "/" + w.db + ".orders"
	n := metastore.NewTable{Database: w.db, Name: "orders", Location: "file:" + w.root(), Columns: hiveColumns(columns), PartitionBy: hiveColumns(partitionBy)}
	for _, f := range change {
		f(&n)
	}
	if err := client.CreateTable(t.Context(), n); err != nil {
		t.Fatal(err)
	}
	return w
}

// hiveColumns reads "id bigint; amount decimal(10,2)": a comma is enough where no type has one.
func hiveColumns(text string) []metastore.Column {
	separator := ","
	if strings.Contains(text, ";") {
		separator = ";"
	}
	var out []metastore.Column
	for column := range strings.SplitSeq(text, separator) {
		if name, typ, ok := strings.Cut(strings.TrimSpace(column), " "); ok {
			out = append(out, metastore.Column{Name: name, Type: typ})
		}
	}
	return out
}

// opened is the table by its metastore, until the test ends.
func (w *warehouse) opened() *Table {
	w.t.Helper()
	table, err := Open(w.t.Context(), w.url, w.cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := table.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return table
}

// merge upserts a CSV source.
func (w *warehouse) merge(o Options, lines ...string) *Report {
	w.t.Helper()
	rep, err := w.tryMerge(o, lines...)
	if err != nil {
		w.t.Fatalf("%v (%s)", err, Hint(err))
	}
	return rep
}

func (w *warehouse) tryMerge(o Options, lines ...string) (*Report, error) {
	return w.tryFrom(o, w.write("source.csv", lines...))
}

func (w *warehouse) tryFrom(o Options, from ...string) (*Report, error) {
	table, err := Open(w.t.Context(), w.url, w.cfg)
	if err != nil {
		return nil, err
	}
	if o.Key == nil && o.Mode.Keyed() {
		o.Key = []string{"id"}
	}
	rep, err := table.Upsert(w.t.Context(), Source{From: from}, o)
	return rep, errors.Join(err, table.Close())
}

// register adds a partition at a folder, which may be anywhere; "" is the usual one.
func (w *warehouse) register(partition, location string) {
	w.t.Helper()
	if location == "" {
		location = "file:" + filepath.Join(w.root(), partition)
	}
	if err := w.client.AddPartitions(w.t.Context(), w.table(), map[string]string{partition: location}); err != nil {
		w.t.Fatal(err)
	}
}

func (w *warehouse) table() *metastore.Table {
	w.t.Helper()
	table, err := w.client.Table(w.t.Context(), w.db, "orders")
	if err != nil {
		w.t.Fatal(err)
	}
	return table
}

// registered are the partitions as the metastore has them; "" is a table without.
func (w *warehouse) registered() map[string]*metastore.Partition {
	w.t.Helper()
	table := w.table()
	if len(table.PartitionBy) == 0 {
		return map[string]*metastore.Partition{"": {Location: table.Location, Parameters: table.Parameters, Columns: table.Columns}}
	}
	names, err := w.client.PartitionNames(w.t.Context(), w.db, "orders")
	if err != nil {
		w.t.Fatal(err)
	}
	list, err := w.client.Partitions(w.t.Context(), table, names)
	if err != nil {
		w.t.Fatal(err)
	}
	out := map[string]*metastore.Partition{}
	for _, p := range list {
		out[p.Name] = p
	}
	return out
}

// folder is where readers find a partition.
func (w *warehouse) folder(partition string) string {
	w.t.Helper()
	p := w.registered()[partition]
	if p == nil {
		w.t.Fatalf("%s is not registered", partition)
	}
	return strings.TrimPrefix(strings.TrimPrefix(p.Location, "file:"), "//")
}

// wants compares what readers see who ask the metastore.
func (w *warehouse) wants(lines ...string) {
	w.t.Helper()
	var got []string
	for name := range w.registered() {
		for _, file := range w.glob(name) {
			rows, err := readParquet(file)
			if err != nil {
				w.t.Fatal(err)
			}
			for _, row := range rows {
				got = append(got, name+": "+row)
			}
		}
	}
	slices.Sort(got)
	if strings.Join(got, "\n") != strings.Join(lines, "\n") {
		w.t.Errorf("readers see\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(lines, "\n"))
	}
}

// refused checks an error: what it is, the texts that it says, and that it comes with a hint.
func refused(t *testing.T, err, is error, says ...string) {
	t.Helper()
	if !errors.Is(err, is) {
		t.Errorf("got %v, want %v", err, is)
		return
	}
	for _, text := range says {
		if !strings.Contains(err.Error()+"\n"+Hint(err), text) {
			t.Errorf("%q (%s) does not say %q", err, Hint(err), text)
		}
	}
	if Hint(err) == "" {
		t.Errorf("%q has no hint", err)
	}
}

func TestHive(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "dt date")
	rep := w.merge(Options{}, "id,name,dt", "1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-21")
	if rep.Publish != "location" || !rep.Partitions[0].New {
		t.Errorf("published by %s: %+v", rep.Publish, rep.Partitions[0])
	}
	w.wants("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	first := w.registered()["dt=2026-11-21"]

	rep = w.merge(Options{}, "id,name,dt", "1,anna,2026-11-20", "4,dan,2026-11-20")
	w.wants("dt=2026-11-20: id=1 name=anna", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-20: id=4 name=dan", "dt=2026-11-21: id=3 name=cid")
	w.counted("dt=2026-11-20", 3)
	w.counted("dt=2026-11-21", 1)
	if now := w.registered(); now["dt=2026-11-20"].Parameters["hupsert.run"] != rep.Run || now["dt=2026-11-21"].Parameters["hupsert.run"] != first.Parameters["hupsert.run"] {
		t.Error("a partition is registered as of another run")
	}

	table := w.opened()
	history, err := table.History(t.Context(), "dt=2026-11-20")
	if err != nil || len(history) != 3 {
		t.Fatal(history, err)
	}
	if _, err := table.Rollback(t.Context(), RollbackOptions{Partitions: []string{"dt=2026-11-20"}}); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	w.counted("dt=2026-11-20", 2)

	// A partition that loses its last row goes away, and comes back as a new one.
	w.merge(Options{Mode: Delete, DropEmpty: true}, "id,dt", "3,2026-11-21")
	w.wants("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob")
	w.merge(Options{}, "id,name,dt", "3,cid,2026-11-21")
	w.wants("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	w.counted("dt=2026-11-21", 1)

	// The versions that readers do not see can go; those that they see stay.
	if _, err := w.opened().Vacuum(t.Context(), VacuumOptions{}); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	w.clean()

	// By its path it is refused: what lies there is not what readers see.
	_, err = Open(t.Context(), w.root(), Config{})
	refused(t, err, ErrUsage, w.url, "metastore")
}

// counted compares what the metastore says of a partition with what is there.
func (w *warehouse) counted(partition string, rows int) {
	w.t.Helper()
	files := w.glob(partition)
	bytes := int64(0)
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil {
			w.t.Fatal(err)
		}
		bytes += info.Size()
	}
	has := w.registered()[partition].Parameters
	for name, want := range map[string]string{"numRows": fmt.Sprint(rows), "numFiles": fmt.Sprint(len(files)), "totalSize": fmt.Sprint(bytes), "COLUMN_STATS_ACCURATE": ""} {
		if has[name] != want {
			w.t.Errorf("%s: the metastore has %s = %q, want %q", partition, name, has[name], want)
		}
	}
}

// Such a table is registered where its live version is, and has one state all the same.
func TestHiveWithoutPartitions(t *testing.T) {
	for _, state := range []string{"", "state"} {
		w := newWarehouse(t, "id bigint, name string", "")
		if state != "" {
			w.cfg.StateDir = w.path(state)
		}
		w.parquet("orders/old.parquet", []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}}, nil, `[{"id":1,"name":"ann"},{"id":9,"name":"zoe"}]`)
		w.merge(Options{}, "id,name", "1,anna", "2,bob")
		w.wants(": id=1 name=anna", ": id=2 name=bob", ": id=9 name=zoe")
		w.counted("", 3)
		rep := w.merge(Options{}, "id,name", "1,ann")
		w.wants(": id=1 name=ann", ": id=2 name=bob", ": id=9 name=zoe")
		if got := w.table().Parameters["hupsert.version"]; got != "2" {
			t.Error("at version", got)
		}
		if history, err := w.opened().History(t.Context(), ""); err != nil || len(history) != 3 {
			t.Errorf("history has %d versions: %v", len(history), err)
		}
		if _, err := w.opened().Rollback(t.Context(), RollbackOptions{Run: rep.Run}); err != nil {
			t.Fatal(err)
		}
		w.wants(": id=1 name=anna", ": id=2 name=bob", ": id=9 name=zoe")
	}
}

// Columns are added to the table and to the partitions that get them before any file has them.
func TestHiveNewColumns(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "dt date")
	w.merge(Options{}, "id,name,dt", "1,ann,2026-11-20", "3,cid,2026-11-21")
	w.merge(Options{NewColumns: "add", Casts: []string{"qty:int"}}, "id,name,qty,dt", "1,anna,7,2026-11-20", "5,eve,8,2026-11-22")
	w.wants("dt=2026-11-20: id=1 name=anna qty=7", "dt=2026-11-21: id=3 name=cid", "dt=2026-11-22: id=5 name=eve qty=8")
	for name, columns := range map[string]int{"dt=2026-11-20": 3, "dt=2026-11-21": 2, "dt=2026-11-22": 3} {
		if got := w.registered()[name].Columns; len(got) != columns {
			t.Errorf("%s has the columns %v", name, got)
		}
	}
	if got := w.table().Columns; len(got) != 3 || got[2].Name != "qty" || got[2].Type != "int" {
		t.Errorf("the table has the columns %v", got)
	}
	// The next who writes there: Hive would not show the column otherwise.
	w.merge(Options{}, "id,name,qty,dt", "3,cid,9,2026-11-21")
	w.wants("dt=2026-11-20: id=1 name=anna qty=7", "dt=2026-11-21: id=3 name=cid qty=9", "dt=2026-11-22: id=5 name=eve qty=8")
	if got := w.registered()["dt=2026-11-21"].Columns; len(got) != 3 {
		t.Errorf("dt=2026-11-21 has the columns %v", got)
	}
}

func TestHiveStagedNewColumns(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "dt date")
	w.merge(Options{}, "id,name,dt", "1,ann,2026-11-20")
	rep := w.merge(Options{NewColumns: "add", Casts: []string{"qty:int"}, StageOnly: true}, "id,name,qty,dt", "1,anna,7,2026-11-20")
	if got := w.table().Columns; len(got) != 2 {
		t.Errorf("a staged run has added columns: %v", got)
	}
	if _, err := w.opened().Publish(t.Context(), rep.Run); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=2026-11-20: id=1 name=anna qty=7")
	if got := w.registered()["dt=2026-11-20"].Columns; len(got) != 3 {
		t.Errorf("the partition has the columns %v", got)
	}
	rep = w.merge(Options{StageOnly: true}, "id,name,qty,dt", "1,ann,8,2026-11-20")
	if _, err := w.client.AddColumns(t.Context(), w.db, "orders", []metastore.Column{{Name: "more", Type: "int"}}, nil); err != nil {
		t.Fatal(err)
	}
	_, err := w.opened().Publish(t.Context(), rep.Run)
	refused(t, err, ErrConflict, "discard")
	w.wants("dt=2026-11-20: id=1 name=anna qty=7")
}

// Somebody changes the table between the merge and the publish.
func TestHiveTableChangedMeanwhile(t *testing.T) {
	for name, change := range map[string]func(w *warehouse) error{
		"columns": func(w *warehouse) error {
			_, err := w.client.AddColumns(w.t.Context(), w.db, "orders", []metastore.Column{{Name: "more", Type: "int"}}, nil)
			return err
		},
		"dropped": func(w *warehouse) error { return w.client.DropTable(w.t.Context(), w.db, "orders") },
		"index access": func(w *warehouse) error {
			return w.client.SetParameters(w.t.Context(), w.db, "orders", map[string]string{"parquet.column.index.access": "true"})
		},
	} {
		for _, step := range []Step{StepSource, StepMerge, StepWrite, StepPublish} {
			t.Run(name+" at "+string(step), func(t *testing.T) {
				w := newWarehouse(t, "id bigint, name string", "dt date")
				w.merge(Options{}, "id,name,dt", "1,ann,2026-11-20")
				done := false
				w.cfg.Observer = func(e Event) {
					if e.Step == step && !done {
						done = true
						if err := change(w); err != nil {
							t.Error(err)
						}
					}
				}
				_, err := w.tryMerge(Options{}, "id,name,dt", "1,anna,2026-11-20")
				w.cfg.Observer = nil
				if name == "dropped" {
					refused(t, err, ErrNotFound, "orders")
					return
				}
				refused(t, err, ErrConflict)
				w.wants("dt=2026-11-20: id=1 name=ann")
				w.clean()
			})
		}
	}
}

// dataFilesOf are the files of a folder.
func dataFilesOf(t *testing.T, dir string) []string {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(files, func(name string) bool { return hidden(filepath.Base(name)) })
}

// fileSchema is the schema of a Parquet file.
func fileSchema(t *testing.T, name string) *arrow.Schema {
	t.Helper()
	file, closer, err := openParquet(t.Context(), local.FS{}, name)
	if err != nil {
		t.Fatal(err)
	}
	defer closer.Close()
	s, err := shred.ArrowSchema(file.Schema())
	if err != nil {
		t.Fatal(err)
	}
	return s
}
