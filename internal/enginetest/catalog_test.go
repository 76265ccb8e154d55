package enginetest

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/metastore"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
)

// catalog is a Spark on a Hive Metastore that answers statements (testdata/spark/Catalog.java), and DuckDB beside it.
type catalog struct {
	t     *testing.T
	s     *servicetest.Services
	fsys  *hdfs.FS
	meta  *metastore.Client
	tasks io.WriteCloser
	out   *bufio.Reader
	log   bytes.Buffer
}

func startCatalog(t *testing.T) *catalog {
	t.Helper()
	python(t)
	arguments := []string{
		"-Xmx1g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"@" + engine(t, "HUPSERT_SPARK", "Spark"), filepath.Join(testdata(t), "spark", "Catalog.java"),
	}
	c := &catalog{t: t, s: servicetest.Start(t, servicetest.Options{Metastore: true})}
	address, _, err := hdfs.Resolve(c.s.HDFS, hadoop.Of(nil))
	c.must(err)
	c.fsys, err = hdfs.Open(hdfs.Options{Address: address, Conf: hadoop.Of(nil)})
	c.must(err)
	t.Cleanup(func() { c.must(c.fsys.Close()) })
	c.meta, err = metastore.Dial(t.Context(), metastore.Config{Hosts: []string{c.s.Metastore}, User: "root"})
	c.must(err)
	t.Cleanup(func() { c.must(c.meta.Close()) })

	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	t.Cleanup(cancel)
	cmd := exec.CommandContext(ctx, java(), append(arguments, "thrift://"+c.s.Metastore, c.s.HDFS)...)
	cmd.Dir, cmd.Stderr = t.TempDir(), &c.log
	cmd.Env = append(os.Environ(), "HADOOP_USER_NAME=root")
	c.tasks, err = cmd.StdinPipe()
	c.must(err)
	out, err := cmd.StdoutPipe()
	c.must(err)
	c.out = bufio.NewReader(out)
	c.must(cmd.Start())
	t.Cleanup(func() {
		_ = c.tasks.Close()
		_ = cmd.Wait() // what it had to say is said
	})
	return c
}

func (c *catalog) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// ask has a task carried out, and gives the rows.
func (c *catalog) ask(task, sql string) [][]string {
	c.t.Helper()
	text, err := json.Marshal(map[string]string{"task": task, "sql": sql})
	c.must(err)
	_, err = c.tasks.Write(append(text, '\n'))
	c.must(err)
	for {
		line, err := c.out.ReadBytes('\n')
		if err != nil {
			c.t.Fatalf("Spark has ended at %s: %v\n%s", sql, err, tail(c.log.String()))
		}
		var a struct {
			Task, Fault string
			Rows        [][]*string
		}
		if json.Unmarshal(line, &a) != nil || a.Task == "" {
			continue // its log
		}
		if a.Fault != "" {
			c.t.Fatalf("%s: %s", sql, a.Fault)
		}
		return textsOf(a.Rows)
	}
}

// textsOf makes NULL a text that no value has.
func textsOf(rows [][]*string) [][]string {
	out := make([][]string, len(rows))
	for i, row := range rows {
		for _, v := range row {
			if v == nil {
				out[i] = append(out[i], "NULL")
			} else {
				out[i] = append(out[i], *v)
			}
		}
	}
	return out
}

// sql has Spark carry out a statement.
func (c *catalog) sql(format string, args ...any) [][]string {
	c.t.Helper()
	return c.ask("sql", fmt.Sprintf(format, args...))
}

// one is sql of a single value.
func (c *catalog) one(format string, args ...any) string {
	c.t.Helper()
	rows := c.sql(format, args...)
	if len(rows) != 1 || len(rows[0]) != 1 {
		c.t.Fatalf("%s gives %v", fmt.Sprintf(format, args...), rows)
	}
	return rows[0][0]
}

// files are what DuckDB reads of the files that the metastore has, as texts.
func (c *catalog) files(database, name string, columns []string) [][]string {
	c.t.Helper()
	ctx := c.t.Context()
	table, err := c.meta.Table(ctx, database, name)
	c.must(err)
	at, err := c.meta.Registry(table, metastore.RegistryOptions{}).Look(ctx, nil)
	c.must(err)
	dir := c.t.TempDir()
	for partition, is := range at {
		list, err := c.fsys.List(ctx, is.Folder)
		c.must(err)
		c.must(os.MkdirAll(filepath.Join(dir, partition), 0o755))
		for _, i := range list {
			c.fetch(path.Join(is.Folder, i.Name), filepath.Join(dir, partition, i.Name+".parquet"))
		}
	}
	out, err := script(c.t, "engines/catalog.py", append([]string{dir}, columns...)...)
	c.must(err)
	var rows [][]*string
	for line := range strings.Lines(out) {
		var row []*string
		c.must(json.Unmarshal([]byte(line), &row))
		rows = append(rows, row)
	}
	return textsOf(rows)
}

func (c *catalog) fetch(from, to string) {
	c.t.Helper()
	in, err := c.fsys.Open(c.t.Context(), from)
	c.must(err)
	defer in.Close()
	info, err := in.Stat()
	c.must(err)
	text, err := io.ReadAll(io.NewSectionReader(in, 0, info.Size))
	c.must(err)
	c.must(os.WriteFile(to, text, 0o600))
}

// orders is a table that Spark has made, as hupsert, Spark and DuckDB have it.
type orders struct {
	*catalog
	name    string // database.table
	table   *partition.Table
	columns []string
}

const orderColumns = "id BIGINT, v INT, amount DECIMAL(12,2), code CHAR(6), label VARCHAR(10), day DATE, at TIMESTAMP, note STRING"

// values is the SELECT of some rows, as Spark makes them. Spark writes a column as required whose expression can't be NULL; these can.
func values(from, to int, v string) string {
	columns := []string{
		fmt.Sprintf("CAST(%s AS INT)", v), "CAST(id * 1.25 AS DECIMAL(12,2))", "CAST('c' || id % 100 AS CHAR(6))", "CAST('label ' || id % 100 AS VARCHAR(10))",
		"DATE'2020-02-28' + CAST(id AS INT)", "TIMESTAMP'2026-11-20 01:02:03.000001' + make_interval(0, 0, 0, 0, 0, 0, id)", "IF(id % 3 = 0, NULL, 'note ' || id)",
	}
	return fmt.Sprintf("SELECT id, IF(id < 0, NULL, %s) FROM range(%d, %d)", strings.Join(columns, "), IF(id < 0, NULL, "), from, to)
}

func (c *catalog) orders() *orders {
	c.t.Helper()
	database := c.s.Database(c.t)
	o := &orders{catalog: c, name: database + ".orders", columns: []string{"id", "v", "amount", "code", "label", "day", "at", "note", "dt"}}
	c.sql("CREATE EXTERNAL TABLE %s (%s) PARTITIONED BY (dt DATE) STORED AS PARQUET LOCATION '%s%s/orders' TBLPROPERTIES ('hupsert.key'='id')",
		o.name, orderColumns, c.s.HDFS, c.s.Folder(c.t))
	for file := range 4 {
		c.sql("INSERT INTO %s PARTITION (dt='2026-11-20') %s", o.name, values(file*50, file*50+50, "1"))
	}
	c.sql("INSERT INTO %s PARTITION (dt='2026-11-21') %s", o.name, values(0, 50, "1"))
	var err error
	o.table, err = partition.Open(c.t.Context(), "hive://"+c.s.Metastore+"/"+o.name, partition.Config{Hadoop: partition.Hadoop{User: "root"}})
	c.must(err)
	c.t.Cleanup(func() { c.must(o.table.Close()) })
	return o
}

// upsert merges a CSV.
func (o *orders) upsert(options partition.Options, lines ...string) *partition.Report {
	o.t.Helper()
	options.MissingColumns = "keep"
	report, err := o.table.Upsert(o.t.Context(), partition.Source{From: []string{"-"}, Format: "csv", Stdin: strings.NewReader(strings.Join(lines, "\n") + "\n")}, options)
	o.must(err)
	return report
}

// agree holds what Spark reads through the metastore against what DuckDB reads of the files that are registered there.
func (o *orders) agree(when string) {
	o.t.Helper()
	// Spark pads a CHAR to its length, as SQL has it; the files need not.
	list := strings.Replace(strings.Join(o.columns, ", "), "code", "rtrim(code)", 1)
	have, want := o.sql("SELECT %s FROM %s", list, o.name), o.files(strings.TrimSuffix(o.name, ".orders"), "orders", o.columns)
	for _, row := range want {
		row[3] = strings.TrimRight(row[3], " ")
	}
	slices.SortFunc(have, slices.Compare)
	slices.SortFunc(want, slices.Compare)
	if count := o.one("SELECT count(*) FROM %s", o.name); count != fmt.Sprint(len(want)) {
		o.t.Errorf("%s: Spark counts %s rows, DuckDB reads %d", when, count, len(want))
	}
	if !slices.EqualFunc(have, want, slices.Equal) {
		for i := range min(len(have), len(want)) {
			if !slices.Equal(have[i], want[i]) {
				o.t.Errorf("%s: Spark reads\n%v, DuckDB\n%v", when, have[i], want[i])
				return
			}
		}
		o.t.Errorf("%s: Spark reads %d rows, DuckDB %d", when, len(have), len(want))
	}
}

// rows is what Spark reads of a partition: how many rows, and the sum of v.
func (o *orders) rows(dt string) string {
	o.t.Helper()
	return strings.Join(o.sql("SELECT count(*), sum(v) FROM %s WHERE dt = '%s'", o.name, dt)[0], " ")
}

func (o *orders) wants(when, have, want string) {
	o.t.Helper()
	if have != want {
		o.t.Errorf("%s: Spark reads %s, want %s", when, have, want)
	}
}

// TestSparkThroughTheMetastore: a session of Spark reads a table that is upserted beside it, through the metastore and
// without REFRESH, and writes into it between two upserts.
func TestSparkThroughTheMetastore(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Spark, HDFS and a metastore")
	}
	o := startCatalog(t).orders()
	o.agree("as Spark made it")
	o.wants("as Spark made it", o.rows("2026-11-20"), "200 200")

	for _, chapter := range []struct {
		name string
		test func(*testing.T)
	}{
		{"a query across a publish", o.across},
		{"statistics", o.statistics},
		{"Spark overwrites", o.overwritten},
		{"partitions come and go", o.comeAndGo},
		{"Spark adds a column", o.altered},
		{"rolled back", o.rolledBack},
		{"an upsert adds a column", o.added},
	} {
		if !t.Run(chapter.name, chapter.test) {
			break // each goes on where the one before has ended
		}
	}
}

// across: a query that reads when a version is published ends with the rows of the one before, the next has the new ones.
func (o *orders) across(t *testing.T) {
	o.t = t
	query := fmt.Sprintf("SELECT count(*), sum(held(CAST(v AS BIGINT))) FROM %s WHERE dt = '2026-11-20'", o.name)
	o.ask("begin", query)
	for n := range 2 {
		o.upsert(partition.Options{}, "id,v,note,dt", fmt.Sprintf("0,%d,changed,2026-11-20", 100+n), "199,100,changed,2026-11-20", "1000,100,new,2026-11-20")
	}
	o.wants("the query that was running", strings.Join(o.ask("end", "")[0], " "), "200 200")
	o.wants("the next query", o.rows("2026-11-20"), fmt.Sprintf("201 %d", 198+101+100+100))
	o.agree("after a publish")
}

// statistics: what Spark had counted is not what is there any more, and what is registered now is right.
func (o *orders) statistics(t *testing.T) {
	o.t = t
	o.sql("ANALYZE TABLE %s PARTITION (dt='2026-11-20') COMPUTE STATISTICS", o.name)
	o.upsert(partition.Options{}, "id,v,dt", "2000,1,2026-11-20", "2001,1,2026-11-20")
	bytes := int64(0)
	table, err := o.meta.Table(t.Context(), strings.TrimSuffix(o.name, ".orders"), "orders")
	o.must(err)
	at, err := o.meta.Registry(table, metastore.RegistryOptions{}).Look(t.Context(), []string{"dt=2026-11-20"})
	o.must(err)
	list, err := o.fsys.List(t.Context(), at["dt=2026-11-20"].Folder)
	o.must(err)
	for _, i := range list {
		bytes += i.Size
	}
	said := ""
	for _, row := range o.sql("DESCRIBE EXTENDED %s PARTITION (dt='2026-11-20')", o.name) {
		if row[0] == "Partition Statistics" {
			said = row[1]
		}
	}
	if want := fmt.Sprintf("%d bytes, 203 rows", bytes); said != want {
		t.Errorf("DESCRIBE says %q, want %q", said, want)
	}
	o.wants("after ANALYZE", o.rows("2026-11-20"), fmt.Sprintf("203 %d", 198+101+100+100+2))
}

// overwritten: what Spark writes into the folder of a version of ours is what the next upsert merges into.
func (o *orders) overwritten(t *testing.T) {
	o.t = t
	o.sql("INSERT OVERWRITE TABLE %s PARTITION (dt='2026-11-20') %s", o.name, values(5000, 5010, "7"))
	o.wants("after INSERT OVERWRITE", o.rows("2026-11-20"), "10 70")
	report := o.upsert(partition.Options{}, "id,v,dt", "5000,8,2026-11-20", "6000,8,2026-11-20")
	o.wants("after the next upsert", o.rows("2026-11-20"), "11 79")
	if rows := report.Partitions[0].Rows; rows.Old != 10 || rows.Updated != 1 || rows.Inserted != 1 {
		t.Errorf("merged into what Spark wrote: %+v", rows)
	}
	history, err := o.table.History(t.Context(), "dt=2026-11-20")
	o.must(err)
	if !slices.ContainsFunc(history, func(v partition.Version) bool { return strings.HasPrefix(v.Run, "foreign") }) {
		t.Errorf("the history does not know what Spark wrote: %+v", history)
	}
	// And one that adds files beside ours.
	o.sql("INSERT INTO %s PARTITION (dt='2026-11-20') %s", o.name, values(7000, 7005, "1"))
	o.upsert(partition.Options{}, "id,v,dt", "7000,2,2026-11-20")
	o.wants("after INSERT INTO and an upsert", o.rows("2026-11-20"), "16 85")
	o.agree("after Spark wrote")
}

// comeAndGo: partitions that an upsert adds and removes.
func (o *orders) comeAndGo(t *testing.T) {
	o.t = t
	o.upsert(partition.Options{}, "id,v,amount,code,label,day,at,note,dt", "1,1,1.50,abc,label,1970-01-01,2026-01-02 03:04:05.678901,new,2026-11-22", "2,2,-0.01,,,,,,2026-11-22")
	o.wants("a new partition", o.rows("2026-11-22"), "2 3")
	o.agree("a new partition")
	o.upsert(partition.Options{Mode: partition.Delete, DropEmpty: true}, "id,dt", "1,2026-11-22", "2,2026-11-22")
	o.wants("a partition that is gone", o.rows("2026-11-22"), "0 NULL")
	if shown := o.sql("SHOW PARTITIONS %s", o.name); len(shown) != 2 {
		t.Errorf("it shows %v", shown)
	}
	o.agree("a partition that is gone")
}

// altered: columns that Spark adds are in what an upsert writes, and NULL in old rows.
func (o *orders) altered(t *testing.T) {
	o.t = t
	o.sql("ALTER TABLE %s ADD COLUMNS (extra STRING)", o.name)
	o.columns = append(o.columns[:8:8], "extra", "dt")
	o.upsert(partition.Options{}, "id,v,extra,dt", "0,3,by hupsert,2026-11-21", "900,9,new,2026-11-21", "901,9,,2026-11-24")
	o.wants("a column that Spark added", o.one("SELECT concat_ws(',', sort_array(collect_list(extra))) FROM %s", o.name), "by hupsert,new")
	o.agree("a column that Spark added")
	o.sql("INSERT INTO %s PARTITION (dt='2026-11-23') SELECT *, 'by Spark' FROM (%s)", o.name, values(0, 5, "1"))
	o.upsert(partition.Options{}, "id,v,extra,dt", "0,3,by hupsert,2026-11-23")
	o.wants("a partition that Spark wrote with it", o.rows("2026-11-23"), "5 7")
	o.agree("a partition that Spark wrote with it")
}

// added: a column that an upsert adds is there for Spark, in new rows and as NULL in old ones.
func (o *orders) added(t *testing.T) {
	o.t = t
	o.upsert(partition.Options{NewColumns: "add", Casts: []string{"more:int"}}, "id,v,more,dt", "1,9,1,2026-11-21", "902,9,2,2026-11-21")
	o.columns = append(o.columns[:9:9], "more", "dt")
	o.wants("a column that was added", o.one("SELECT sum(more) FROM %s", o.name), "3")
	o.agree("a column that was added")
}

// rolledBack: earlier rows are back for the next query.
func (o *orders) rolledBack(t *testing.T) {
	o.t = t
	_, err := o.table.Rollback(t.Context(), partition.RollbackOptions{Partitions: []string{"dt=2026-11-23"}})
	o.must(err)
	o.wants("after a rollback", o.rows("2026-11-23"), "5 5")
	o.agree("after a rollback")
}
