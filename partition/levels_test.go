package partition

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestThreeLevels: typed values in any spelling find the folders that are there, and others are named as Hive
// names them.
func TestThreeLevels(t *testing.T) {
	b := newBench(t)
	o := Options{Create: true, PartitionBy: []string{"year:int", "day:date", "name"}, Schema: "id bigint, v int"}
	b.upsert(o, b.write("first.csv", "id,v,year,day,name",
		`1,1,02026,2026-01-05,"a/b=c:d%e"`, `2,1,2026,2026-01-05,한국 x`, `3,1,-7,,"q""'{[^]#*?\z"`, "4,1,,2026-01-05,\x01.."))
	b.want(`year=-7/day=__HIVE_DEFAULT_PARTITION__/name=q%22%27%7B%5B%5E%5D%23%2A%3F%5Cz: id=3 v=1`,
		`year=2026/day=2026-01-05/name=a%2Fb%3Dc%3Ad%25e: id=1 v=1`,
		`year=2026/day=2026-01-05/name=한국 x: id=2 v=1`,
		`year=__HIVE_DEFAULT_PARTITION__/day=2026-01-05/name=%01..: id=4 v=1`)

	// A folder that somebody else made, in another spelling, is the same partition.
	if err := os.Rename(b.path("orders/year=2026"), b.path("orders/year=0002026")); err != nil {
		t.Fatal(err)
	}
	rep := b.upsert(Options{}, b.write("day.csv", "id,v,year,day,name", `1,2,2026,2026-01-05,"a/b=c:d%e"`, `5,1,2026,2026-01-06,new`))
	if got := statuses(rep); got != "year=0002026/day=2026-01-05/name=a%2Fb%3Dc%3Ad%25e published, year=2026/day=2026-01-06/name=new published" {
		t.Error(got)
	}
	// One spec for all rows, and one for some of the columns.
	b.upsert(Options{Partitions: []string{"year=2026,day=2026-01-05,name=a%2Fb%3Dc%3Ad%25e"}}, b.write("day.csv", "id,v", "1,3"))
	b.upsert(Options{Partitions: []string{"year=2026"}}, b.write("day.csv", "id,v,day,name", "2,3,2026-01-05,한국 x"))
	before := b.snapshot()
	for row, kind := range map[string]Kind{
		"9,1,twenty,2026-01-05,x": KindValue, "9,1,3000000000,2026-01-05,x": KindValue, "9,1,2026,2026-02-30,x": KindValue,
		"9,1,2026,2026-01-05,__HIVE_DEFAULT_PARTITION__": KindValue, "9,1,2026,2026-01-05,../x": KindValue, "9,1,2026,2026-01-05,..": KindValue,
	} {
		if _, err := b.try(Options{}, b.write("bad.csv", "id,v,year,day,name", row)); KindOf(err) != kind || !strings.Contains(err.Error(), "bad.csv:2") || b.snapshot() != before {
			t.Errorf("%s: %v (kind %s)", row, err, KindOf(err))
		}
	}
	// Two folders of one value.
	if err := os.MkdirAll(b.path("orders/year=2026/day=2026-01-05/name=한국 x"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(Options{}, b.write("day.csv", "id,v,year,day,name", "2,4,2026,2026-01-05,한국 x")); KindOf(err) != KindLayout || !strings.Contains(err.Error(), "are the same partition") {
		t.Error(err)
	}
}

// TestPartitionTypes: each type that can name folders, as it is declared.
func TestPartitionTypes(t *testing.T) {
	for typ, c := range map[string]struct{ in, folder string }{
		"tinyint": {"+7", "7"}, "bigint": {"-007", "-7"}, "ubigint": {"18446744073709551615", "18446744073709551615"}, "boolean": {"TRUE", "true"},
		"decimal(5,2)": {"01.50", "1.5"}, "timestamp_ntz": {"2026-01-05T10:00:00", "2026-01-05 10%3A00%3A00"}, "date": {"2026-01-05", "2026-01-05"}, "string": {"007", "007"},
	} {
		b := newBench(t)
		rep := b.upsert(Options{Create: true, PartitionBy: []string{"p:" + typ}, Schema: "id bigint"}, b.write("first.csv", "id,p", "1,"+c.in))
		if got := statuses(rep); got != "p="+c.folder+" published" {
			t.Errorf("%s: %s", typ, got)
		}
		rep = b.upsert(Options{}, b.write("day.csv", "id,p", "1,"+c.in, "2,"+c.in))
		if got := rep.Total.Rows; got.Unchanged != 1 || got.Inserted != 1 || rep.Partitions[0].New {
			t.Errorf("%s: counted %+v", typ, got)
		}
	}
}

// TestTableAsItsOwnSource: whichever way it is named.
func TestTableAsItsOwnSource(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	before := b.snapshot()
	if err := os.Symlink(b.root(), b.path("link")); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.path("in"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(onlyParquet(t, b.path("orders/dt=2026-11-20")), b.path("in/a.parquet")); err != nil {
		t.Fatal(err)
	}
	for _, from := range []string{b.root(), b.root() + "/dt=2026-11-20", b.root() + "/*/*.parquet", b.path("or*/**/*.parquet"), b.path("link"), b.path("in"), b.path("in/a.parquet"), "file://" + b.root()} {
		if _, err := b.try(Options{}, from); !errors.Is(err, ErrUsage) || !strings.Contains(err.Error(), "the table itself") || b.snapshot() != before {
			t.Errorf("%s: %v", from, err)
		}
	}
	// A copy is another file.
	copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-20")), b.path("copy.parquet"))
	if rep := b.upsert(Options{Partitions: []string{"dt=2026-11-20"}}, b.path("copy.parquet")); rep.Total.Rows.Unchanged != 1 {
		t.Errorf("%+v", rep.Total.Rows)
	}
}

// TestUnpartitionedLevels: a table without partition columns is one partition, whose folder is the table's.
func TestUnpartitionedLevels(t *testing.T) {
	b := newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, name string"}, b.write("first.csv", "id,name", "1,ann"))
	before := b.snapshot()
	if _, err := b.try(Options{Partitions: []string{"dt=2026-11-20"}}, b.write("day.csv", "id,name", "2,bob")); KindOf(err) != KindUsage || b.snapshot() != before {
		t.Error(err)
	}
	if _, err := b.try(Options{}, b.write("day.csv", "id,name,dt", "2,bob,2026-11-20")); KindOf(err) != KindSchema || b.snapshot() != before {
		t.Error(err)
	}
	b.upsert(Options{Mode: Mirror}, b.write("day.csv", "id,name", "1,ann", "2,bob"))
	b.want(".: id=1 name=ann", ".: id=2 name=bob")
	// A folder that comes between makes it a table that can't be read as one.
	if err := os.Mkdir(b.path("orders/dt=2026-11-20"), 0o755); err != nil {
		t.Fatal(err)
	}
	if _, err := b.try(Options{}, b.write("day.csv", "id,name", "3,cid")); KindOf(err) != KindLayout {
		t.Error(err)
	}
	if err := os.Remove(b.path("orders/dt=2026-11-20")); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{Mode: Delete}, b.write("day.csv", "id", "1", "2"))
	b.want()
	if files, err := filepath.Glob(b.path("orders/*.parquet")); err != nil || len(files) != 1 {
		t.Errorf("a table that lost all rows has %d files, %v", len(files), err)
	}
	if _, err := b.open().Show(context.Background(), ShowOptions{}); err != nil {
		t.Error(err)
	}
}
