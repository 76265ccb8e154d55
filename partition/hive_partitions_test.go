package partition

import (
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/partition/metastore"
)

// Which partition a row goes to, where that lies, and which tables and partitions are refused.

// names are the registered partitions.
func (w *warehouse) names() []string { return slices.Sorted(maps.Keys(w.registered())) }

// New partitions are named as Hive names them, and rows find those that are there however their values are spelled.
func TestHivePartitionValues(t *testing.T) {
	for _, c := range []struct{ typ, registered, source, want string }{
		{"date", "p=2026-01-02", "2026-01-02", "p=2026-01-02"},
		{"date", "", "2026-01-02", "p=2026-01-02"},
		{"int", "p=05", "5", "p=05"},
		{"int", "", "05", "p=5"},
		{"bigint", "p=+7", "7", "p=+7"},
		{"tinyint", "", "-3", "p=-3"},
		{"decimal(8,2)", "p=1.50", "1.5", "p=1.50"},
		{"decimal(8,2)", "", "1.50", "p=1.5"},
		{"boolean", "", "TRUE", "p=true"},
		{"timestamp", "p=2026-01-02 03%3A04%3A05.0", "2026-01-02 03:04:05", "p=2026-01-02 03%3A04%3A05.0"},
		{"timestamp", "", "2026-01-02 03:04:05", "p=2026-01-02 03%3A04%3A05"},
		{"char(4)", "p=ab", "ab", "p=ab"},
		{"varchar(4)", "", "ab", "p=ab"},
		{"string", "", "a b/c:d=e%f", "p=a b%2Fc%3Ad%3De%25f"},
		{"string", "p=a b%2Fc%3Ad%3De%25f", "a b/c:d=e%f", "p=a b%2Fc%3Ad%3De%25f"},
		{"string", "", "Grüße 한글 🎈", "p=Grüße 한글 🎈"},
		{"string", "p=Grüße 한글", "Grüße 한글", "p=Grüße 한글"},
		{"string", "", "", "p=__HIVE_DEFAULT_PARTITION__"},
		{"int", "p=__HIVE_DEFAULT_PARTITION__", "", "p=__HIVE_DEFAULT_PARTITION__"},
	} {
		t.Run(fmt.Sprintf("%s %s %s", c.typ, c.registered, c.source), func(t *testing.T) {
			w := newWarehouse(t, "id bigint", "p "+c.typ+";")
			if c.registered != "" {
				w.parquet("orders/"+c.registered+"/a.parquet", []arrow.Field{bigintsOf("id")}, nil, `[{"id":9}]`)
				w.register(c.registered, "")
			}
			for n := range 2 {
				w.merge(Options{}, "id,p", fmt.Sprintf("%d,%s", n, c.source))
			}
			want := []string{c.want}
			if c.registered != "" && c.registered != c.want {
				want = append(want, c.registered)
				slices.Sort(want)
			}
			if got := w.names(); !slices.Equal(got, want) {
				t.Errorf("the metastore has %q, want %q", got, want)
			}
			rows := 2
			if c.registered == c.want {
				rows = 3
			}
			w.counted(c.want, rows)
		})
	}
}

// Two partitions of one value: which one is meant can't be known.
func TestHivePartitionTwins(t *testing.T) {
	w := newWarehouse(t, "id bigint", "hr int")
	w.register("hr=5", "")
	w.register("hr=05", "")
	w.register("hr=6", "")
	_, err := w.tryMerge(Options{}, "id,hr", "1,5")
	refused(t, err, ErrLayout, "hr=05 and hr=5 are the same partition", "drop the other")
	w.merge(Options{}, "id,hr", "1,6")
	rep, err := w.opened().Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if f := findingOf(rep, FoundLayout); f == nil || len(f.Partitions) != 2 {
		t.Errorf("check finds %+v", rep.Findings)
	}
}

// Spark spells columns as they were written; names of partitions are in small letters.
func TestHiveSparkSpelling(t *testing.T) {
	w := newWarehouse(t, "id bigint, name string", "hr int", func(n *metastore.NewTable) {
		n.Parameters = map[string]string{"spark.sql.sources.provider": "parquet", "spark.sql.partitionProvider": "catalog",
			"spark.sql.sources.schema": `{"type":"struct","fields":[{"name":"ID","type":"long","nullable":true,"metadata":{}},{"name":"Name","type":"string","nullable":true,"metadata":{}},{"name":"HR","type":"integer","nullable":true,"metadata":{}}]}`}
	})
	w.merge(Options{}, "id,name,hr", "1,ann,5")
	w.merge(Options{}, "id,name,hr", "1,anna,5", "2,bob,5")
	w.wants("hr=5: ID=1 Name=anna", "hr=5: ID=2 Name=bob")
	if got := w.registered()["hr=5"].Parameters["hupsert.version"]; got != "2" {
		t.Error("at version", got)
	}
	w.merge(Options{NewColumns: "add", Casts: []string{"Qty:int"}}, "id,name,Qty,HR", "1,ann,7,5")
	w.wants("hr=5: ID=1 Name=ann Qty=7", "hr=5: ID=2 Name=bob Qty=NULL")
	if !strings.Contains(w.table().Parameters["spark.sql.sources.schema"], `"Qty"`) {
		t.Error("Spark does not know the new column")
	}
}

// day writes a partition's file into a folder of the bench.
func (w *warehouse) day(folder string, id int) {
	w.t.Helper()
	w.parquet(folder+"/a.parquet", []arrow.Field{bigintsOf("id")}, nil, fmt.Sprintf(`[{"id":%d}]`, id))
}

// A partition may lie anywhere on the table's storage. What is published lies beside the table.
func TestHiveLocations(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string", func(n *metastore.NewTable) {
		n.Location = strings.Replace(n.Location, "file:", "file:///", 1) + "/"
	})
	w.day("elsewhere/one", 1)
	w.register("dt=outside", "file://localhost"+w.path("elsewhere/one")+"/")
	w.day("elsewhere/two", 2)
	w.register("dt=shared1", "file:"+w.path("elsewhere/two"))
	w.register("dt=shared2", "file:///"+w.path("elsewhere/two"))
	w.day("elsewhere/three/in", 3)
	w.register("dt=outer", "file:"+w.path("elsewhere/three"))
	w.register("dt=inner", "file:"+w.path("elsewhere/three/in"))
	w.register("dt=far", w.hdfs+"/"+w.db)
	w.day("orders/dt=usual", 4)
	w.register("dt=usual", "")
	w.register("dt=missing", "")
	if err := os.RemoveAll(w.path("orders/dt=missing")); err != nil {
		t.Fatal(err)
	}

	w.merge(Options{}, "id,dt", "11,outside", "14,usual")
	for name, rows := range map[string]int{"dt=outside": 2, "dt=usual": 2} {
		w.counted(name, rows)
		if dir := w.folder(name); !strings.HasPrefix(dir, w.path(".hupsert/orders")) {
			t.Errorf("%s is at %s", name, dir)
		}
	}
	w.merge(Options{}, "id,dt", "12,outside")
	w.counted("dt=outside", 3)
	for partition, says := range map[string]string{
		"shared1": "dt=shared2 has the same location, " + w.path("elsewhere/two"),
		"inner":   "and that of dt=outer, " + w.path("elsewhere/three") + ", lie in one another",
		"outer":   "lie in one another",
		"far":     "on another storage",
	} {
		_, err := w.tryMerge(Options{}, "id,dt", "12,"+partition)
		refused(t, err, ErrLayout, "dt="+partition, says)
	}
	rep := w.merge(Options{}, "id,dt", "13,missing")
	w.counted("dt=missing", 1)
	if !slices.ContainsFunc(rep.Warnings, func(s string) bool {
		return strings.Contains(s, "dt=missing") && strings.Contains(s, "was not there")
	}) || rep.Partitions[0].New {
		t.Errorf("nobody is told that the folder was missing: %q, %+v", rep.Warnings, rep.Partitions[0])
	}

	// One partition that can't be read does not keep others from being shown, compared, or cleaned up.
	shown, err := w.opened().Show(t.Context(), ShowOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range shown.Partitions {
		if (p.Unavailable != "") != (p.Partition == "dt=far") {
			t.Errorf("%s: %q, in %s", p.Partition, p.Unavailable, p.Folder)
		}
	}
	if _, err := w.opened().Vacuum(t.Context(), VacuumOptions{}); err != nil {
		t.Fatal(err)
	}
	w.counted("dt=outside", 3)
	if _, err := os.Stat(w.path("elsewhere/one/a.parquet")); err != nil {
		t.Error("a folder that is not ours is gone: ", err)
	}
	found, err := w.opened().Check(t.Context(), CheckOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{"dt=shared1", "dt=shared2", "dt=outer", "dt=inner", "dt=far"} {
		if !slices.ContainsFunc(found.Findings, func(f Finding) bool {
			return f.Partition == p && f.Kind == FoundLayout && f.Severity == SeverityError && f.Hint != ""
		}) {
			t.Errorf("check does not find what is wrong with %s", p)
		}
	}
}

// Spark's INSERT OVERWRITE writes into the folder that the metastore shows, which is a version of ours.
func TestHiveOverwrittenByOthers(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	w.merge(Options{}, "id,dt", "1,x")
	dir := w.folder("dt=x")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	rel, err := filepath.Rel(w.dir, dir)
	if err != nil {
		t.Fatal(err)
	}
	w.day(rel, 7)
	w.merge(Options{}, "id,dt", "2,x")
	w.wants("dt=x: id=2", "dt=x: id=7")
	// The whole folder is gone: that it was empty nobody can know.
	if err := os.RemoveAll(w.folder("dt=x")); err != nil {
		t.Fatal(err)
	}
	_, err = w.tryMerge(Options{}, "id,dt", "3,x")
	refused(t, err, ErrCorrupt, "dt=x")
}

// A table that was dropped and made anew beside the state of the old one.
func TestHiveTableMadeAnew(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	w.merge(Options{}, "id,dt", "1,x")
	if err := w.client.DropTable(t.Context(), w.db, "orders"); err != nil {
		t.Fatal(err)
	}
	_, err := w.tryMerge(Options{}, "id,dt", "2,x")
	refused(t, err, ErrNotFound, w.db+".orders")
	if err := w.client.CreateTable(t.Context(), metastore.NewTable{Database: w.db, Name: "orders", Location: "file:" + w.root(),
		Columns: hiveColumns("id bigint, name string"), PartitionBy: hiveColumns("dt string")}); err != nil {
		t.Fatal(err)
	}
	w.merge(Options{}, "id,name,dt", "2,bob,x")
	w.wants("dt=x: id=2 name=bob")
}

// Tables whose rows are not plain rows of plain Parquet files are refused before anything is read.
func TestHiveRefusals(t *testing.T) {
	parameter := func(name, value string) func(n *metastore.NewTable) {
		return func(n *metastore.NewTable) { n.Parameters = map[string]string{name: value} }
	}
	for name, c := range map[string]struct {
		change func(n *metastore.NewTable)
		says   string
	}{
		"acid": {func(n *metastore.NewTable) {
			n.Parameters = map[string]string{"transactional": "TRUE", "transactional_properties": "insert_only"}
			n.Type = "MANAGED_TABLE"
		}, "transactional"},
		"bucketed": {func(n *metastore.NewTable) { n.BucketBy = []string{"id"} }, "bucketed"},
		"skewed":   {func(n *metastore.NewTable) { n.SkewedBy = []string{"id"} }, "skewed"},
		"orc": {func(n *metastore.NewTable) {
			n.Format = metastore.Format{SerDe: "org.apache.hadoop.hive.ql.io.orc.OrcSerde", Input: "org.apache.hadoop.hive.ql.io.orc.OrcInputFormat", Output: "org.apache.hadoop.hive.ql.io.orc.OrcOutputFormat"}
		}, "not Parquet"},
		"text": {func(n *metastore.NewTable) {
			n.Format = metastore.Format{SerDe: "org.apache.hadoop.hive.serde2.lazy.LazySimpleSerDe", Input: "org.apache.hadoop.mapred.TextInputFormat", Output: "org.apache.hadoop.hive.ql.io.HiveIgnoreKeyTextOutputFormat"}
		}, "not Parquet"},
		"view":              {func(n *metastore.NewTable) { n.Type = "VIRTUAL_VIEW" }, "view"},
		"materialised view": {func(n *metastore.NewTable) { n.Type = "MATERIALIZED_VIEW" }, "materialised view"},
		"offline":           {parameter("PROTECT_MODE", "OFFLINE"), "protected"},
		"iceberg":           {parameter("table_type", "ICEBERG"), "iceberg"},
		"delta":             {parameter("spark.sql.sources.provider", "delta"), "delta"},
		"hudi":              {parameter("spark.sql.sources.provider", "hudi"), "hudi"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWarehouse(t, "id bigint", "dt string", c.change)
			_, err := w.tryMerge(Options{}, "id,dt", "1,x")
			refused(t, err, ErrForeignTable, c.says)
			if KindOf(err) != KindForeignTable {
				t.Error("it is of kind", KindOf(err))
			}
		})
	}
}

func TestHiveUsage(t *testing.T) {
	w := newWarehouse(t, "id bigint", "dt string")
	_, err := w.tryMerge(Options{Create: true}, "id,dt", "1,x")
	refused(t, err, ErrUsage, "--create")
	_, err = w.opened().SetConfig(t.Context(), map[string]string{"schema": "id bigint"})
	refused(t, err, ErrUsage, "schema", "ALTER TABLE")
	_, err = w.opened().SetConfig(t.Context(), map[string]string{"key": "nothing"})
	refused(t, err, ErrUsage, "nothing")
	for _, url := range []string{w.url + "s", strings.Replace(w.url, w.db, "no_database", 1)} {
		_, err := Open(t.Context(), url, Config{})
		refused(t, err, ErrNotFound, "no table")
	}
}

// What is declared with the table are properties, which others may set as well.
func TestHiveProperties(t *testing.T) {
	w := newWarehouse(t, "id bigint, v int", "dt string")
	if _, err := w.opened().SetConfig(t.Context(), map[string]string{"key": "id", "order-by": "v", "keep-history": "1h"}); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"hupsert.key": "id", "hupsert.order-by": "v", "hupsert.keep-history": "1h"} {
		if got := w.table().Parameters[name]; got != want {
			t.Errorf("%s is %q", name, got)
		}
	}
	merge := func(lines ...string) error {
		_, err := w.tryMerge(Options{Key: []string{}}, append([]string{"id,v,dt"}, lines...)...)
		return err
	}
	if err := merge("1,5,x"); err != nil {
		t.Fatal(err)
	}
	if err := merge("1,4,x"); err != nil { // older
		t.Fatal(err)
	}
	w.wants("dt=x: id=1 v=5")
	if _, err := w.opened().SetConfig(t.Context(), map[string]string{"order-by": ""}); err != nil {
		t.Fatal(err)
	}
	if _, ok := w.table().Parameters["hupsert.order-by"]; ok {
		t.Error("a declaration that was taken back is there")
	}
	for property, is := range map[string]string{"hupsert.key": "id, gone", "hupsert.order-by": "gone:desc", "hupsert.keep-history": "soon"} {
		if err := w.client.SetParameters(t.Context(), w.db, "orders", map[string]string{"hupsert.key": "id", "hupsert.order-by": "", "hupsert.keep-history": "", property: is}); err != nil {
			t.Fatal(err)
		}
		says := "gone"
		if is == "soon" {
			says = "soon"
		}
		refused(t, merge("1,4,x"), ErrUsage, says)
	}
}
