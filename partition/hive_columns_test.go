package partition

import (
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/partition/metastore"
)

// The columns of a table as a metastore has them, and as the files do.

func bigintsOf(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64, Nullable: true}
}

func intsOf(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int32, Nullable: true}
}

func stringsOf(name string) arrow.Field {
	return arrow.Field{Name: name, Type: arrow.BinaryTypes.String, Nullable: true}
}

// A new partition has the declared columns, in their order and types, whatever the source has.
func TestHiveNewPartition(t *testing.T) {
	w := newWarehouse(t, "id bigint; n tinyint; m smallint; price decimal(9,2); code char(3); word varchar(4); day date; ok boolean; raw binary; list array<int>", "dt string")
	w.merge(Options{MissingColumns: "keep"}, "word,id,dt,n,m,price,code,day,ok", "wort,1,x,7,300,1.5,de,2026-01-01,true")
	files := w.glob("dt=x")
	if len(files) != 1 {
		t.Fatal(files)
	}
	s := fileSchema(t, files[0])
	if got, want := FormatSchema(s), "id bigint, n tinyint, m smallint, price decimal(9,2), code string, word string, day date, ok boolean, raw binary, list array<int>"; got != want {
		t.Errorf("the file has %s", got)
	}
	for line, says := range map[string]string{
		"wort,1,x,128,300,1.5,de,2026-01-01,true":    "n",
		"wort,1,x,7,40000,1.5,de,2026-01-01,true":    "m",
		"wort,1,x,7,3,12345678.5,de,2026-01-01,true": "price",
		"wort,1,x,7,3,1.555,de,2026-01-01,true":      "price",
		"wort,1,x,7,3,1,deutsch,2026-01-01,true":     "code",
		"worte,1,x,7,3,1,de,2026-01-01,true":         "word",
	} {
		_, err := w.tryMerge(Options{MissingColumns: "keep"}, "word,id,dt,n,m,price,code,day,ok", line)
		if err == nil || !strings.Contains(err.Error(), "column "+says) {
			t.Errorf("%s: %v", line, err)
		}
	}
}

func (w *warehouse) glob(partition string) []string {
	w.t.Helper()
	return dataFilesOf(w.t, w.folder(partition))
}

// Hive writes tinyint and smallint as plain 32 bits: what it would read as another number is not written there.
func TestHiveSmallIntegers(t *testing.T) {
	w := newWarehouse(t, "id bigint, n tinyint, m smallint", "dt string")
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{bigintsOf("id"), intsOf("n"), intsOf("m")}, nil, `[{"id":1,"n":1,"m":1},{"id":2,"n":300,"m":1}]`)
	w.register("dt=x", "")
	wide := w.parquet("wide.parquet", []arrow.Field{bigintsOf("id"), intsOf("n"), bigintsOf("m"), stringsOf("dt")}, nil, `[{"id":1,"n":-129,"m":1,"dt":"x"}]`)
	_, err := w.tryFrom(Options{}, wide)
	refused(t, err, ErrValue, "column n", "-129", "tinyint")
	wide = w.parquet("wide.parquet", []arrow.Field{bigintsOf("id"), intsOf("n"), bigintsOf("m"), stringsOf("dt")}, nil, `[{"id":3,"n":1,"m":32768,"dt":"x"}]`)
	_, err = w.tryFrom(Options{}, wide)
	refused(t, err, ErrValue, "column m", "32768", "smallint")
	// What is there already stays, and what changes nothing is not written.
	fine := w.parquet("fine.parquet", []arrow.Field{bigintsOf("id"), intsOf("n"), bigintsOf("m"), stringsOf("dt")}, nil, `[{"id":3,"n":-128,"m":32767,"dt":"x"},{"id":2,"n":300,"m":1,"dt":"x"}]`)
	if _, err = w.tryFrom(Options{}, fine); err != nil {
		t.Fatal(err)
	}
	w.wants("dt=x: id=1 n=1 m=1", "dt=x: id=2 n=300 m=1", "dt=x: id=3 n=-128 m=32767")
}

// A column that the metastore does not know stays as it is, and nobody needs to bring it.
func TestHiveUndeclaredColumn(t *testing.T) {
	w := newWarehouse(t, "id bigint, Name string", "dt string")
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{stringsOf("hidden"), bigintsOf("ID"), stringsOf("name")}, nil, `[{"ID":1,"name":"ann","hidden":"h"}]`)
	w.register("dt=x", "")
	rep := w.merge(Options{}, "NAME,id,dt", "anna,1,x", "bob,2,x")
	w.wants("dt=x: hidden=NULL ID=2 name=bob", "dt=x: hidden=h ID=1 name=anna")
	if !slices.ContainsFunc(rep.Warnings, func(s string) bool { return strings.Contains(s, "hidden") }) {
		t.Errorf("nobody is told: %q", rep.Warnings)
	}
}

// Columns that were added to the table later: files that lack them get them where a value needs it.
func TestHiveLaterColumn(t *testing.T) {
	w := newWarehouse(t, "id bigint; later decimal(5,1)", "dt string")
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{bigintsOf("id")}, nil, `[{"id":1},{"id":2}]`)
	w.register("dt=x", "")
	w.merge(Options{}, "id,later,dt", "2,7.5,x")
	w.wants("dt=x: id=1 later=NULL", "dt=x: id=2 later=7.5")
}

// A column that files have as required takes NULL: Hive's columns all do.
func TestHiveRequiredColumn(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "dt string")
	id, name := bigintsOf("id"), stringsOf("name")
	id.Nullable, name.Nullable = false, false
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{id, name}, nil, `[{"id":1,"name":"ann"},{"id":2,"name":"bob"}]`)
	w.register("dt=x", "")
	w.merge(Options{}, "id,name,dt", "2,,x", "3,,x")
	w.wants("dt=x: id=1 name=ann", "dt=x: id=2 name=NULL", "dt=x: id=3 name=NULL")
}

// Types that readers of the metastore could not read are refused before anything is written.
func TestHiveTypesThatDoNotFit(t *testing.T) {
	w := newWarehouse(t, "id bigint, n int", "dt string")
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{bigintsOf("id"), stringsOf("n")}, nil, `[{"id":1,"n":"one"}]`)
	w.register("dt=x", "")
	_, err := w.tryMerge(Options{}, "id,n,dt", "1,1,x")
	refused(t, err, ErrSchema, "column n", "string", "int")
	rep, err := w.opened().Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := findingOf(rep, FoundConflict); f == nil || f.Column != "n" || f.Hint == "" {
		t.Errorf("check finds %+v", rep.Findings)
	}
}

func findingOf(rep *CheckReport, kind FindingKind) *Finding {
	for i := range rep.Findings {
		if rep.Findings[i].Kind == kind {
			return &rep.Findings[i]
		}
	}
	return nil
}

// Where readers take columns by their place, files must have just the declared ones, and none is added.
func TestHiveColumnsByPosition(t *testing.T) {
	w := newWarehouse(t, "id bigint, a int, b int", "dt string", func(n *metastore.NewTable) {
		n.Parameters = map[string]string{"parquet.column.index.access": "true"}
	})
	w.merge(Options{}, "b,a,id,dt", "2,1,7,x")
	w.merge(Options{}, "b,a,id,dt", "3,1,7,x")
	w.wants("dt=x: id=7 a=1 b=3")
	w.parquet("orders/dt=y/a.parquet", []arrow.Field{bigintsOf("id"), intsOf("b"), intsOf("a")}, nil, `[{"id":1,"a":1,"b":2}]`)
	w.register("dt=y", "")
	_, err := w.tryMerge(Options{}, "b,a,id,dt", "2,1,7,y")
	refused(t, err, ErrSchema, "a.parquet", "column 2 of the file is b", "index.access")
	rep, err := w.opened().Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := findingOf(rep, FoundConflict); f == nil || f.Partition != "dt=y" || f.File != "a.parquet" {
		t.Errorf("check finds %+v", rep.Findings)
	}
}

// Hive before 4.0 reads no timestamps but INT96: what other partitions have new ones get, and texts without a zone go there.
func TestHiveTimestamps(t *testing.T) {
	w := newWarehouse(t, "id bigint, at timestamp", "dt string")
	int96 := withKind("at", &arrow.TimestampType{Unit: arrow.Nanosecond}, "INT96")
	int96.Nullable = true
	w.parquet("orders/dt=x/a.parquet", []arrow.Field{bigintsOf("id"), int96}, nil, `[{"id":1,"at":"2026-01-01 10:00:00"}]`)
	w.register("dt=x", "")
	w.merge(Options{}, "id,at,dt", "1,2026-01-01 11:00:00,x", "2,2026-01-01 12:00:00,y")
	w.wants("dt=x: id=1 at=2026-01-01 11:00:00Z", "dt=y: id=2 at=2026-01-01 12:00:00Z")
	if f := fileSchema(t, w.glob("dt=y")[0]).Field(1); kindOf(f) != "INT96" {
		t.Errorf("the new partition has %v", f)
	}
}

// olderPartition registers a partition with the columns that its table had once, as ALTER TABLE ... CHANGE or REPLACE COLUMNS without
// CASCADE leaves it, and gives it this file.
func (w *warehouse) olderPartition(partition, then string, columns []arrow.Field, rows string) {
	w.t.Helper()
	now := w.table()
	remade := func(columns []metastore.Column) *metastore.Table {
		err := w.client.DropTable(w.t.Context(), w.db, "orders")
		if err == nil {
			err = w.client.CreateTable(w.t.Context(), metastore.NewTable{Database: w.db, Name: "orders", Location: now.Location, Columns: columns, PartitionBy: now.PartitionBy})
		}
		if err != nil {
			w.t.Fatal(err)
		}
		return w.table()
	}
	old := remade(hiveColumns(then))
	remade(now.Columns)
	w.parquet("orders/"+partition+"/a.parquet", columns, nil, rows)
	if err := w.client.AddPartitions(w.t.Context(), old, map[string]string{partition: "file:" + w.path("orders/"+partition)}); err != nil {
		w.t.Fatal(err)
	}
}

// A partition whose own columns are older than the table's: Hive reads its files by them. A run gives it the table's, so that what
// it writes can be read, and no other run does.
func TestHiveOlderColumns(t *testing.T) {
	for _, c := range []struct {
		name, then string
		columns    []arrow.Field
		rows       string
		after      []string
		found      string
	}{
		{"a narrower type", "id bigint; n int; v varchar(3)", []arrow.Field{bigintsOf("id"), intsOf("n"), stringsOf("v")}, `[{"id":1,"n":1,"v":"a"},{"id":2,"n":2,"v":"b"}]`,
			[]string{"id=1 n=3000000000 v=longer", "id=2 n=2 v=b"}, "schema_drift dt=x, schema_drift dt=x"},
		{"a type that the files are not of", "id bigint; n string; v varchar(9)", []arrow.Field{bigintsOf("id"), intsOf("n"), stringsOf("v")}, `[{"id":1,"n":1,"v":"a"}]`,
			[]string{"id=1 n=3000000000 v=longer"}, "schema_conflict dt=x"},
		{"one missing in the middle", "id bigint; v varchar(9); gone int", []arrow.Field{bigintsOf("id"), stringsOf("v"), intsOf("gone")}, `[{"id":1,"v":"a","gone":7}]`,
			[]string{"id=1 v=longer gone=7 n=3000000000"}, "schema_drift dt=x, schema_drift dt=x, schema_drift dt=x"},
		{"another order", "v varchar(9); n bigint; id bigint", []arrow.Field{bigintsOf("id"), intsOf("n"), stringsOf("v")}, `[{"id":1,"n":1,"v":"a"}]`,
			[]string{"id=1 n=3000000000 v=longer"}, "schema_drift dt=x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := newWarehouse(t, "id bigint; n bigint; v varchar(9)", "dt string")
			w.olderPartition("dt=x", c.then, c.columns, c.rows)
			then := w.registered()["dt=x"].Columns
			if _, found := w.inspected(CheckOptions{}); found != c.found {
				t.Errorf("check finds %s, not %s", found, c.found)
			}
			if rep := w.merge(Options{}, "id,n,v,dt", "1,1,a,x"); rep.Partitions[0].Status == Noop && !slices.Equal(w.registered()["dt=x"].Columns, then) {
				t.Error("a run that changes nothing has changed the partition's columns")
			}
			rep := w.merge(Options{StageOnly: true}, "id,n,v,dt", "1,3000000000,longer,x")
			if _, err := w.opened().Publish(t.Context(), rep.Run); err != nil {
				t.Fatal(err)
			}
			for i, row := range c.after {
				c.after[i] = "dt=x: " + row
			}
			w.wants(c.after...)
			now := w.registered()["dt=x"].Columns
			if want := w.table().Columns; len(now) < len(want) || !slices.Equal(now[:len(want)], want) {
				t.Errorf("the partition has %v", now)
			}
			if len(now) > 3 && now[3].Name != "gone" {
				t.Errorf("the partition has %v", now)
			}
			if _, found := w.inspected(CheckOptions{}); strings.Contains(found, "conflict") || strings.Contains(found, "drift") && len(now) == 3 {
				t.Errorf("check finds %s", found)
			}
			w.clean()
		})
	}
}
