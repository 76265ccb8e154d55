package partition

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"
)

// seen lists what a view gives of columns, a line for each row.
func seen(t *testing.T, v *StagedView, columns ...string) (lines []string) {
	t.Helper()
	for _, p := range v.Partitions {
		err := v.Each(t.Context(), p, columns, func(rows StagedRows) error {
			for i := range int(rows.Rows.NumRows()) {
				line := fmt.Sprintf("%s %d:", rows.Partition, rows.First+int64(i))
				for c := range columns {
					line += " " + rows.Rows.ColumnName(c) + "=" + rows.Rows.Column(c).ValueStr(i)
				}
				lines = append(lines, line)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return lines
}

// TestViewStaged: a view gives the rows as they would be live, old and new: a column that only a file kept lacks is NULL in it, and
// partition columns are those of the folder.
func TestViewStaged(t *testing.T) {
	b := newBench(t)
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	b.cfg.Now = func() time.Time { now = now.Add(time.Minute); return now } // files are seen by name, which has the run's time
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20")
	if _, err := b.open().SetConfig(t.Context(), map[string]string{"schema": ""}); err != nil {
		t.Fatal(err)
	}
	rep := b.upsert(Options{StageOnly: true, NewColumns: "add", Casts: []string{"city:string"}, TargetFileBytes: 1},
		b.write("day.csv", "id,name,city,dt", "3,cid,rome,2026-11-20"))
	v, err := b.open().ViewStaged(t.Context(), rep.Run)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(seen(t, v, "DT", "City", "id"), "\n")
	want := "dt=2026-11-20 1: dt=2026-11-20 city=(null) id=1\ndt=2026-11-20 2: dt=2026-11-20 city=(null) id=2\ndt=2026-11-20 1: dt=2026-11-20 city=rome id=3"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	err = v.Each(t.Context(), v.Partitions[0], []string{"nosuch"}, func(StagedRows) error { return nil })
	if !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "nosuch") || !strings.Contains(Hint(err), "name") {
		t.Errorf("a column that is not there: %v, %s", err, Hint(err))
	}
	stop := errors.New("stop")
	if err := v.Each(t.Context(), v.Partitions[0], []string{"id"}, func(StagedRows) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("what the visit gives is lost: %v", err)
	}
	if _, err := b.open().ViewStaged(t.Context(), "nosuch"); !errors.Is(err, ErrNotFound) {
		t.Errorf("no such run: %v", err)
	}
}

// TestViewStagedOfNewTable: the partition columns of a table that is not there yet are those it will have.
func TestViewStagedOfNewTable(t *testing.T) {
	b := newBench(t)
	rep := b.upsert(Options{StageOnly: true, Create: true, PartitionBy: []string{"dt:date", "n:int"}, Schema: "id bigint"},
		b.write("day.csv", "id,dt,n", "1,2026-11-20,5", "2,,6"))
	v, err := b.open().ViewStaged(t.Context(), rep.Run)
	if err != nil {
		t.Fatal(err)
	}
	if got := formatColumns(v.Columns); got != "dt:date,n:int" {
		t.Errorf("columns %s", got)
	}
	got := seen(t, v, "id", "dt", "n")
	want := []string{"dt=2026-11-20/n=5 1: id=1 dt=2026-11-20 n=5", "dt=__HIVE_DEFAULT_PARTITION__/n=6 1: id=2 dt=(null) n=6"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got %q, want %q", got, want)
	}
}

// TestStagedRepeats: rows that are alike are found over all files of a partition, NULL is like nothing, and partition columns make
// no difference.
func TestStagedRepeats(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "5,,2026-11-20")
	rep := b.upsert(Options{StageOnly: true, TargetFileBytes: 1}, b.write("day.csv", "id,name,dt", "3,ann,2026-11-20", "4,ann,2026-11-20", "6,,2026-11-20"))
	v, err := b.open().ViewStaged(t.Context(), rep.Run)
	if err != nil {
		t.Fatal(err)
	}
	if len(v.Partitions) != 1 || len(v.Partitions[0].Files) != 2 {
		t.Fatalf("partitions %+v", v.Partitions)
	}
	found, err := v.Repeats(t.Context(), v.Partitions[0], []string{"NAME", "dt"}, Options{Memory: 64 << 20})
	if err != nil || found.Repeated != 2 || found.Keys != 1 || found.Nulls != 2 || found.Sample[0].Rows != 3 {
		t.Errorf("found %+v, %v", found, err)
	}
	for _, columns := range [][]string{{"dt"}, {"nosuch"}, {"id", "name.first"}} {
		if _, err := v.Repeats(t.Context(), v.Partitions[0], columns, Options{}); KindOf(err) != KindUsage && KindOf(err) != KindSchema {
			t.Errorf("%v: %v", columns, err)
		}
	}
}

// TestPublishBoundsHistory: a publish removes versions that the table keeps no longer, as an upsert does.
func TestPublishBoundsHistory(t *testing.T) {
	b := newBench(t)
	now := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	b.cfg.Now = func() time.Time { now = now.Add(time.Minute); return now }
	b.create("1,ann,2026-11-20")
	if _, err := b.open().SetConfig(t.Context(), map[string]string{"keep-history": "24h"}); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{}, b.write("one.csv", "id,name,dt", "1,bob,2026-11-20"))
	rep := b.upsert(Options{StageOnly: true}, b.write("two.csv", "id,name,dt", "1,cid,2026-11-20"))
	kept := func() int {
		size, err := b.open().historySize(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		return size.Versions
	}
	if n := kept(); n != 1 {
		t.Fatalf("%d versions are kept before", n)
	}
	now = now.Add(48 * time.Hour)
	b.publish(rep.Run)
	if n := kept(); n != 1 { // the one that was live until now
		t.Errorf("%d versions are kept", n)
	}
}

// TestFaults: what makes no sense is told field by field, each beginning with the field's name.
func TestFaults(t *testing.T) {
	list := Options{Mode: "upset", OrderBy: []string{"a:x"}, Retry: -1, Partial: true, StageOnly: true, Schema: "id", Columns: []string{"a"}, ExceptColumns: []string{"b"}}.Faults()
	var got []string
	for _, err := range list {
		word, _, _ := strings.Cut(err.Error(), " ")
		got = append(got, strings.TrimSuffix(word, ":"))
	}
	want := "order-by retry schema partition-by stage-only mode columns"
	if strings.Join(got, " ") != want {
		t.Errorf("got %q, want %s: %v", got, want, list)
	}
	if list := (Options{}).Faults(); len(list) > 0 {
		t.Errorf("the zero value: %v", list)
	}
}

// TestOutline: it says what Show says of the table, without a look at any partition.
func TestOutline(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	all, err := b.open().Show(context.Background(), ShowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := b.open().Outline(context.Background())
	if err != nil || !reflect.DeepEqual(d.Columns, all.Columns) || !reflect.DeepEqual(d.PartitionBy, all.PartitionBy) || len(d.Partitions) != 0 {
		t.Errorf("outline %+v, %v; show %+v", d, err, all)
	}
}
