package partition

import (
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"go.uber.org/goleak"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage/local"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(withServices{m}) }

// withServices are the tests, and the end of the services that they shared.
type withServices struct{ tests *testing.M }

func (w withServices) Run() int { return servicetest.Main(w.tests) }

// bench is a table in a folder of its own, and files to merge into it.
type bench struct {
	t   *testing.T
	dir string
	cfg Config
	// physical is the type that decimals have in files that parquet writes; nil: the narrowest.
	physical *column.Leaf
}

func newBench(t *testing.T) *bench {
	t.Helper()
	return &bench{t: t, dir: t.TempDir()}
}

func (b *bench) path(name string) string { return filepath.Join(b.dir, name) }
func (b *bench) root() string            { return b.path("orders") }

// write makes a source file and returns its name.
func (b *bench) write(name string, lines ...string) string {
	b.t.Helper()
	full := b.path(name)
	if err := os.MkdirAll(filepath.Dir(full), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(full, []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	return full
}

func (b *bench) open() *Table {
	b.t.Helper()
	table, err := Open(context.Background(), b.root(), b.cfg)
	if err != nil {
		b.t.Fatal(err)
	}
	return table
}

// create makes the table of CSV lines.
func (b *bench) create(lines ...string) {
	b.t.Helper()
	b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", Key: []string{"id"}},
		b.write("first.csv", append([]string{"id,name,dt"}, lines...)...))
}

// upsert must succeed.
func (b *bench) upsert(o Options, from ...string) *Report {
	b.t.Helper()
	rep, err := b.try(o, from...)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

func (b *bench) try(o Options, from ...string) (*Report, error) {
	if o.Key == nil && o.Mode.Keyed() {
		o.Key = []string{"id"}
	}
	return b.open().Upsert(context.Background(), Source{From: from}, o)
}

// rows reads the live table as sorted lines "partition: col=value ...".
func (b *bench) rows() []string {
	b.t.Helper()
	var out []string
	err := filepath.WalkDir(b.root(), func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || hidden(d.Name()) {
			return err
		}
		rel, err := filepath.Rel(b.root(), filepath.Dir(name))
		if err != nil {
			return err
		}
		lines, err := readParquet(name)
		for _, l := range lines {
			out = append(out, rel+": "+l)
		}
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	sort.Strings(out)
	return out
}

func readParquet(name string) ([]string, error) {
	info, err := os.Stat(name)
	if err != nil {
		return nil, err
	}
	in := source.Input{Name: name, Format: source.Parquet, Size: info.Size(),
		Open: func(ctx context.Context) (source.ReadCloserAt, error) { return local.FS{}.Open(ctx, name) }}
	return parquetLines(in)
}

// parquetLines are a file's rows as "col=value ...", in its order.
func parquetLines(in source.Input) (lines []string, err error) {
	r, err := source.Open(context.Background(), in, nil, source.Options{})
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	for {
		rec, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			return lines, nil
		}
		if err != nil {
			return lines, err
		}
		for i := range int(rec.NumRows()) {
			var cells []string
			for c, f := range rec.Schema().Fields() {
				value := "NULL"
				if !rec.Column(c).IsNull(i) {
					value = rec.Column(c).ValueStr(i)
				}
				cells = append(cells, f.Name+"="+value)
			}
			lines = append(lines, strings.Join(cells, " "))
		}
		rec.Release()
	}
}

func (b *bench) want(lines ...string) {
	b.t.Helper()
	if got := strings.Join(b.rows(), "\n"); got != strings.Join(lines, "\n") {
		b.t.Errorf("the table holds\n%s\nwant\n%s", got, strings.Join(lines, "\n"))
	}
}

// snapshot is every name of the table's folder with its content, mode and times.
func (b *bench) snapshot() string {
	b.t.Helper()
	var out strings.Builder
	err := filepath.WalkDir(b.root(), func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		sum := ""
		if d.Type().IsRegular() {
			data, err := os.ReadFile(name)
			if err != nil {
				return err
			}
			sum = fmt.Sprintf("%x", sha256.Sum256(data))
		}
		fmt.Fprintln(&out, name, info.Mode(), info.ModTime().UnixNano(), sum)
		return nil
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	return out.String()
}

// clean checks that nothing is left in staging.
func (b *bench) clean() {
	b.t.Helper()
	left, err := os.ReadDir(b.path(".hupsert/orders/staging"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		b.t.Fatal(err)
	}
	for _, l := range left {
		b.t.Errorf("left in staging: %s", l.Name())
	}
}

func statuses(r *Report) string {
	var parts []string
	for _, p := range r.Partitions {
		parts = append(parts, p.Partition+" "+string(p.Status))
	}
	return strings.Join(parts, ", ")
}

func TestUpsertRoutes(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-21")
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")

	rep := b.upsert(Options{}, b.write("day.csv", "name,dt,id", "bert,2026-11-20,2", ",2026-11-21,3", "dan,2026-11-22,4", "eve,,5"))
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bert", "dt=2026-11-21: id=3 name=NULL",
		"dt=2026-11-22: id=4 name=dan", "dt=__HIVE_DEFAULT_PARTITION__: id=5 name=eve")
	if got := rep.Total.Rows; got.Source != 4 || got.Updated != 2 || got.Inserted != 2 || got.Kept != 1 || got.Out != 5 {
		t.Errorf("counted %+v", got)
	}
	if got := statuses(rep); got != "dt=2026-11-20 published, dt=2026-11-21 published, dt=2026-11-22 published, dt=__HIVE_DEFAULT_PARTITION__ published" {
		t.Error(got)
	}
	if !rep.Partitions[2].New || rep.Partitions[0].New {
		t.Error("new partitions are not told")
	}
	b.clean()
}

func TestStaticPartition(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	rep := b.upsert(Options{Partitions: []string{"dt=2026-11-20"}}, b.write("day.csv", "id,name", "1,anna", "2,bob"))
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-20: id=2 name=bob")
	if statuses(rep) != "dt=2026-11-20 published" {
		t.Error(statuses(rep))
	}
	// Another spelling of the same value.
	b.upsert(Options{Partitions: []string{"DT=2026-11-20"}}, b.write("day.csv", "id,name", "1,ann"))
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob")
}

func TestThirtyPartitionsInOneCommit(t *testing.T) {
	b := newBench(t)
	lines := func(name string) (out []string) {
		for day := 1; day <= 30; day++ {
			for id := range 3 {
				out = append(out, fmt.Sprintf("%d,%s,2026-11-%02d", day*10+id, name, day))
			}
		}
		return out
	}
	b.create(lines("old")...)
	rep := b.upsert(Options{}, b.write("day.csv", append([]string{"id,name,dt"}, lines("new")...)...))
	if len(rep.Partitions) != 30 || rep.Total.Rows.Updated != 90 {
		t.Fatalf("%d partitions, %+v", len(rep.Partitions), rep.Total.Rows)
	}
	versions, err := b.open().History(context.Background(), "")
	if err != nil {
		t.Fatal(err)
	}
	runs := map[string]int{}
	for _, v := range versions {
		runs[v.Run]++
	}
	if runs[rep.Run] != 30 {
		t.Errorf("the run made %d versions, want 30 in one commit", runs[rep.Run])
	}
	// One bad row anywhere, and nothing of the thirty is published.
	before := b.snapshot()
	bad := append([]string{"id,name,dt"}, lines("third")...)
	bad = append(bad, ",nobody,2026-11-17")
	rep, err = b.try(Options{}, b.write("bad.csv", bad...))
	if !errors.Is(err, ErrNullKey) || b.snapshot() != before {
		t.Errorf("%v, and the table changed: %v", err, b.snapshot() != before)
	}
	for _, p := range rep.Partitions {
		if want := p.Partition == "dt=2026-11-17"; (p.Status == Failed) != want || p.Status == Published {
			t.Errorf("%s: %s", p.Partition, p.Status)
		}
	}
	b.clean()
}

func TestPartial(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	rep, err := b.try(Options{Partial: true}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", ",nobody,2026-11-21", "3,cid,2026-11-22"))
	if !errors.Is(err, ErrNullKey) {
		t.Fatal(err)
	}
	if got := statuses(rep); got != "dt=2026-11-20 published, dt=2026-11-21 failed, dt=2026-11-22 published" {
		t.Error(got)
	}
	if e := rep.Partitions[1].Error; e == nil || e.Kind != KindNullKey || rep.Partitions[0].Error != nil {
		t.Errorf("errors: %+v, %+v", rep.Partitions[0].Error, e)
	}
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-21: id=2 name=bob", "dt=2026-11-22: id=3 name=cid")
	back, err := b.open().Rollback(context.Background(), RollbackOptions{Run: rep.Run})
	if err != nil {
		t.Fatal(err)
	}
	if len(back.Partitions) != 2 {
		t.Errorf("rolled back %s", statuses(back))
	}
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-21: id=2 name=bob")
	b.clean()
}

func TestNoopTouchesNothing(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bob,2026-11-21")
	rep := b.upsert(Options{}, day)
	if statuses(rep) != "dt=2026-11-20 published, dt=2026-11-21 noop" {
		t.Error(statuses(rep))
	}
	before := b.snapshot()
	rep = b.upsert(Options{}, day)
	if statuses(rep) != "dt=2026-11-20 noop, dt=2026-11-21 noop" || rep.Publish != "" || b.snapshot() != before {
		t.Errorf("%s by %q, changed: %v", statuses(rep), rep.Publish, b.snapshot() != before)
	}
	rep = b.upsert(Options{}, b.write("empty.csv", "id,name,dt"))
	if len(rep.Partitions) != 0 || b.snapshot() != before || len(rep.Warnings) == 0 {
		t.Errorf("an empty source: %s, %q", statuses(rep), rep.Warnings)
	}
	versions, err := b.open().History(context.Background(), "dt=2026-11-21")
	if err != nil || len(versions) != 2 {
		t.Errorf("%d versions, %v, want the first run's and the one before it", len(versions), err)
	}
	b.clean()
}

func TestPlanWritesNothing(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bob,2026-11-21", "x,bad,2026-11-20")
	everything := func() string { return strings.ReplaceAll(b.snapshot(), "", "") + names(t, b.dir) }
	before := everything()
	rep, err := b.open().Plan(context.Background(), Source{From: []string{day}}, Options{Key: []string{"id"}, Rejects: b.path("rejects")})
	if err != nil {
		t.Fatal(err)
	}
	if got := statuses(rep); got != "dt=2026-11-20 planned, dt=2026-11-21 noop" || !rep.DryRun {
		t.Error(got)
	}
	if rep.Total.Rows.Updated != 1 || rep.Total.Rows.Rejected != 1 || len(rep.Partitions[0].Plan) != 1 {
		t.Errorf("planned %+v", rep.Total.Rows)
	}
	if everything() != before {
		t.Errorf("plan left\n%s\nwant\n%s", everything(), before)
	}
}

// names lists all names below a folder.
func names(t *testing.T, dir string) string {
	t.Helper()
	var out []string
	if err := filepath.WalkDir(dir, func(name string, _ fs.DirEntry, err error) error {
		out = append(out, name)
		return err
	}); err != nil {
		t.Fatal(err)
	}
	return strings.Join(out, "\n")
}

func TestUnpartitioned(t *testing.T) {
	b := newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id int, name string"}, b.write("a.csv", "id,name", "1,ann"))
	rep := b.upsert(Options{}, b.write("b.csv", "id,name", "1,anna", "2,bob"))
	b.want(".: id=1 name=anna", ".: id=2 name=bob")
	if len(rep.Partitions) != 1 || rep.Partitions[0].Partition != "" {
		t.Error(statuses(rep))
	}
	if _, err := b.try(Options{Partitions: []string{"dt=1"}}, b.path("b.csv")); !errors.Is(err, ErrUsage) {
		t.Errorf("--partition without partition columns: %v", err)
	}
	b.clean()
}

func TestCreate(t *testing.T) {
	b := newBench(t)
	day := b.write("day.csv", "id,name,dt", "1,ann,2026-11-20")
	days := b.write("days.csv", "id,name,dt", "1,ann,2026-11-20", "2,bob,2026-11-21")
	for _, c := range []struct {
		o    Options
		want error
	}{
		{Options{}, ErrNotFound},
		{Options{Create: true}, ErrUsage},
		{Options{Create: true, PartitionBy: []string{"dt:date"}}, ErrUsage}, // CSV has no types
		{Options{Schema: "id int"}, ErrUsage},
	} {
		for _, from := range []string{day, days} {
			if _, err := b.try(c.o, from); !errors.Is(err, c.want) {
				t.Errorf("%+v: %v, want %v", c.o, err, c.want)
			}
		}
	}
	b.create("1,ann,2026-11-20")
	// Said again in a daily job it is the same table; said otherwise it is an error.
	b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}}, day)
	if _, err := b.try(Options{Create: true, PartitionBy: []string{"dt"}}, day); !errors.Is(err, ErrUsage) {
		t.Errorf("another partitioning: %v", err)
	}
	c, err := b.open().ReadConfig(context.Background())
	if err != nil || strings.Join(c.PartitionBy, ",") != "dt:date" || c.Schema != "id bigint, name string" {
		t.Errorf("declared %+v, %v", c, err)
	}
}

func TestRecords(t *testing.T) {
	b := newBench(t)
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "m", Type: arrow.PrimitiveTypes.Int32},
		{Name: "tags", Type: arrow.ListOf(arrow.BinaryTypes.String), Nullable: true}}, nil)
	reader := func(lines ...string) array.RecordReader {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader("["+strings.Join(lines, ",")+"]"))
		if err != nil {
			t.Fatal(err)
		}
		r, err := array.NewRecordReader(schema, []arrow.Record{rec})
		if err != nil {
			t.Fatal(err)
		}
		return r
	}
	ctx := context.Background()
	o := Options{Key: []string{"id"}, Create: true, PartitionBy: []string{"m:int"}}
	if _, err := b.open().Upsert(ctx, Records(reader(`{"id":1,"m":1,"tags":["a"]}`, `{"id":2,"m":2}`)), o); err != nil {
		t.Fatal(err)
	}
	// A folder written otherwise is the same partition.
	if err := os.Rename(b.path("orders/m=1"), b.path("orders/m=01")); err != nil {
		t.Fatal(err)
	}
	rep, err := b.open().Upsert(ctx, Records(reader(`{"id":1,"m":1,"tags":["b","c"]}`, `{"id":2,"m":2}`)), Options{Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	if statuses(rep) != "m=01 published, m=2 noop" {
		t.Error(statuses(rep))
	}
	b.want(`m=01: id=1 tags=["b","c"]`, "m=2: id=2 tags=NULL")
}

func TestUndeclaredColumnTakesTheSourcesType(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	if err := os.Rename(b.path("orders/dt=2026-11-20"), b.path("orders/m=07")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open().SetConfig(context.Background(), map[string]string{"partition-by": ""}); err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "name", Type: arrow.BinaryTypes.String}, {Name: "m", Type: arrow.PrimitiveTypes.Int8}}, nil), strings.NewReader(`[{"id":1,"name":"x","m":7}]`))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := array.NewRecordReader(rec.Schema(), []arrow.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.open().Upsert(context.Background(), Records(reader), Options{Key: []string{"id"}}); err != nil {
		t.Fatal(err)
	}
	b.want("m=07: id=1 name=x")
}

// 05 beside 5 is two partitions, where nobody said that they are numbers. That is told.
func TestLookalikePartition(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	if err := os.Rename(b.path("orders/dt=2026-11-20"), b.path("orders/m=5")); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open().SetConfig(context.Background(), map[string]string{"partition-by": ""}); err != nil {
		t.Fatal(err)
	}
	day := b.write("day.csv", "id,name", "2,bob")
	ctx := context.Background()
	for value, want := range map[string]string{"m=05": "m=05 is new beside m=5", "m=5": "", "m=6": "", "m=5a": ""} {
		rep, err := b.open().Plan(ctx, Source{From: []string{day}}, Options{Key: []string{"id"}, Partitions: []string{value}})
		if got := strings.Join(rep.Warnings, "; "); err != nil || !strings.HasPrefix(got, want) || want == "" && got != "" {
			t.Errorf("%s: warned %q, %v", value, got, err)
		}
		if want != "" && !strings.HasSuffix(rep.Warnings[0], "partition-by=m:bigint") {
			t.Errorf("%s: warned %q", value, rep.Warnings)
		}
	}
}

func TestPartitionedSource(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	b.write("in/dt=2026-11-20/a.csv", "id,name", "1,anna")
	b.write("in/dt=2026-11-21/a.csv", "id,name", "2,bob")
	b.write("in/dt=2026-11-21/_hidden.csv", "id,name", "9,no")
	for _, from := range []string{b.path("in"), b.path("in/**/*.csv"), b.path("in/dt=*/[a-z]*.csv")} {
		b.upsert(Options{}, from)
		b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-21: id=2 name=bob")
	}
}

func TestModes(t *testing.T) {
	old := []string{"1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-20"}
	all := 1.0
	for _, c := range []struct {
		mode Mode
		want string
	}{
		{Upsert, "1 ann,2 BOB,3 cid,4 DAN"},
		{Insert, "1 ann,2 bob,3 cid,4 DAN"},
		{Update, "1 ann,2 BOB,3 cid"},
		{Delete, "1 ann,3 cid"},
		{Mirror, "2 BOB,4 DAN"},
		{Replace, "2 BOB,4 DAN"},
		{Append, "1 ann,2 bob,2 BOB,3 cid,4 DAN"},
	} {
		t.Run(string(c.mode), func(t *testing.T) {
			b := newBench(t)
			b.create(old...)
			rep := b.upsert(Options{Mode: c.mode, MaxDeleteRatio: &all, Verify: VerifyFull}, b.write("day.csv", "id,name,dt", "2,BOB,2026-11-20", "4,DAN,2026-11-20"))
			var got []string
			for _, row := range b.rows() {
				row = strings.TrimPrefix(row, "dt=2026-11-20: id=")
				got = append(got, strings.Replace(row, "name=", "", 1))
			}
			sort.Slice(got, func(i, j int) bool { return strings.ToLower(got[i]) < strings.ToLower(got[j]) })
			if g := strings.Join(got, ","); !strings.EqualFold(g, c.want) || c.mode != Append && g != c.want {
				t.Errorf("holds %s, want %s", g, c.want)
			}
			r := rep.Total.Rows
			if r.Old != r.Kept+r.Updated+r.Unchanged+r.Deleted+r.OldDuplicates || r.Out != int64(len(got)) {
				t.Errorf("counted %+v", r)
			}
		})
	}
}

// --delete-when COL in text, where the table does not say that COL is a boolean.
func TestDeleteWhenOfText(t *testing.T) {
	lines := []string{"id,name,dt,gone", "1,ann,2026-11-20,TRUE", "2,bob,2026-11-20,1", "3,cid,2026-11-20,false", "4,dan,2026-11-20,0", "5,eve,2026-11-20,"}
	json := []string{`{"id":1,"dt":"2026-11-20","gone":true}`, `{"id":2,"dt":"2026-11-20","gone":1}`, `{"id":3,"name":"cid","dt":"2026-11-20","gone":"False"}`,
		`{"id":4,"name":"dan","dt":"2026-11-20","gone":0}`, `{"id":5,"name":"eve","dt":"2026-11-20"}`}
	for name, source := range map[string][]string{"day.csv": lines, "day.ndjson": json} {
		b := newBench(t)
		b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-20", "9,old,2026-11-20")
		rep := b.upsert(Options{DeleteWhen: "GONE"}, b.write(name, source...))
		b.want("dt=2026-11-20: id=3 name=cid", "dt=2026-11-20: id=4 name=dan", "dt=2026-11-20: id=5 name=eve", "dt=2026-11-20: id=9 name=old")
		if r := rep.Total.Rows; r.Deleted != 2 || r.Unchanged != 1 || r.Inserted != 2 {
			t.Errorf("%s: counted %+v", name, r)
		}
	}

	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-20")
	bad := b.write("bad.csv", append([]string{"id,name,dt,gone", "1,ann,2026-11-20,yes"}, "2,bob,2026-11-20,1", "3,cid,2026-11-20,-", "3,cid,2026-11-20,0")...)
	before := b.snapshot()
	_, err := b.try(Options{DeleteWhen: "gone"}, bad)
	if !errors.Is(err, ErrValue) || !strings.Contains(err.Error(), `bad.csv:2: column gone: "yes"`) || !strings.Contains(Hint(err), "gone=VALUE") || b.snapshot() != before {
		t.Errorf("%v, hint %q", err, Hint(err))
	}
	rejects := b.path("rejects.ndjson")
	rep := b.upsert(Options{DeleteWhen: "gone", Rejects: rejects}, bad)
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=3 name=cid")
	if r := rep.Total.Rows; r.Source != 4 || r.Rejected != 2 || r.Deleted != 1 || r.Unchanged != 1 {
		t.Errorf("counted %+v", r)
	}
	data, err := os.ReadFile(rejects)
	if err != nil || strings.Count(string(data), `"reason":"parse"`) != 2 || !strings.Contains(string(data), `bad.csv:4"`) || !strings.Contains(string(data), `"gone":"yes"`) {
		t.Errorf("%s, %v", data, err)
	}
	// The row after those that are left out is named by its own line.
	_, err = b.try(Options{DeleteWhen: "gone", Rejects: rejects}, b.write("bad.csv", "id,name,dt,gone", "1,ann,2026-11-20,yes", ",nobody,2026-11-20,"))
	var e *Error
	if !errors.As(err, &e) || e.Line != 3 {
		t.Errorf("%v, want line 3", err)
	}

	// A new table does not get the column.
	b = newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", DeleteWhen: "gone"}, b.write("day.csv", lines...))
	b.want("dt=2026-11-20: id=3 name=cid", "dt=2026-11-20: id=4 name=dan", "dt=2026-11-20: id=5 name=eve")
}

func TestPartitionThatLosesAllRows(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	gone := b.write("gone.csv", "id,name,dt", "1,ann,2026-11-20")
	b.upsert(Options{Mode: Delete}, gone)
	b.want("dt=2026-11-21: id=2 name=bob")
	if files, err := os.ReadDir(b.path("orders/dt=2026-11-20")); err != nil || len(files) != 1 {
		t.Errorf("want one file without rows: %v, %v", files, err)
	}
	if _, err := b.open().Rollback(context.Background(), RollbackOptions{Partitions: []string{"dt=2026-11-20"}}); err != nil {
		t.Fatal(err)
	}
	rep := b.upsert(Options{Mode: Delete, DropEmpty: true}, gone)
	if _, err := os.Stat(b.path("orders/dt=2026-11-20")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the folder is still there: %v, %s", err, statuses(rep))
	}
	b.want("dt=2026-11-21: id=2 name=bob")
	b.clean()
}

func TestAppendTwice(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	day := b.write("day.csv", "id,name,dt", "2,bob,2026-11-20")
	b.upsert(Options{Mode: Append}, day)
	copied := b.write("copy.csv", "id,name,dt", "2,bob,2026-11-20")
	if _, err := b.try(Options{Mode: Append}, copied); !errors.Is(err, ErrGuard) {
		t.Errorf("the same again: %v", err)
	}
	if _, err := b.open().Rollback(context.Background(), RollbackOptions{Partitions: []string{"dt=2026-11-20"}}); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{Mode: Append}, day) // after a rollback the table no longer holds it
	b.upsert(Options{Mode: Append, Force: true}, day)
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob", "dt=2026-11-20: id=2 name=bob")
}

func TestFilesBesideTheData(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	dir := "orders/dt=2026-11-20/"
	for _, name := range []string{"_SUCCESS", "._SUCCESS.crc", "_metadata", "_common_metadata", ".hidden", ".gone.parquet.crc"} {
		b.write(dir+name, "x")
	}
	kept := b.write(dir + "other.parquet")
	copyFile(t, onlyParquet(t, b.path(dir)), kept)
	if _, err := b.try(Options{}, b.write("dup.csv", "id,name,dt", "1,x,2026-11-20")); !errors.Is(err, ErrDuplicateKey) {
		t.Fatalf("a key twice in old: %v", err)
	}
	b.write(dir+".other.parquet.crc", "x")
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "5,x,2026-11-20"))
	list, err := os.ReadDir(b.path(dir))
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, e := range list {
		if !strings.HasSuffix(e.Name(), ".parquet") {
			got = append(got, e.Name())
		}
	}
	if g := strings.Join(got, " "); g != "._SUCCESS.crc .hidden _SUCCESS" && g != "._SUCCESS.crc .hidden .other.parquet.crc _SUCCESS" {
		t.Errorf("carried over: %s", g)
	}
}

func onlyParquet(t *testing.T, dir string) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(dir, "part-*.parquet"))
	if err != nil || len(found) != 1 {
		t.Fatal(found, err)
	}
	return found[0]
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	data, err := os.ReadFile(from)
	if err == nil {
		err = os.WriteFile(to, data, 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

func TestKeyWithPartitionColumn(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	b.upsert(Options{Key: []string{"dt", "id"}}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20"))
	b.want("dt=2026-11-20: id=1 name=anna")
}

func TestVacuumAndKeepHistory(t *testing.T) {
	b := newBench(t)
	now := time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC)
	b.cfg.Now = func() time.Time { now = now.Add(time.Hour); return now }
	b.create("1,ann,2026-11-20")
	for i := range 3 {
		b.upsert(Options{}, b.write("day.csv", "id,name,dt", fmt.Sprintf("1,v%d,2026-11-20", i)))
	}
	ctx := context.Background()
	d, err := b.open().Show(ctx, ShowOptions{})
	if err != nil || d.History.Versions != 3 || d.Rows != 1 || len(d.Partitions) != 1 || d.Partitions[0].Version != 4 {
		t.Fatalf("%+v, %v", d, err)
	}
	if v, err := b.open().Vacuum(ctx, VacuumOptions{Keep: time.Nanosecond, DryRun: true}); err != nil || v.Versions != 3 || v.Left.Versions != 3 {
		t.Errorf("dry run: %+v, %v", v, err)
	}
	if v, err := b.open().Vacuum(ctx, VacuumOptions{}); err != nil || v.Versions != 0 {
		t.Errorf("young versions stay: %+v, %v", v, err)
	}
	if _, err := b.open().SetConfig(ctx, map[string]string{"keep-history": "1ms"}); err != nil {
		t.Fatal(err)
	}
	rep := b.upsert(Options{}, b.write("day.csv", "id,name,dt", "1,last,2026-11-20"))
	if rep.History == nil || rep.History.Versions > 1 {
		t.Errorf("history %+v, want what is declared kept", rep.History)
	}
	b.want("dt=2026-11-20: id=1 name=last")
}

func TestShowAtAndRollback(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-21")
	ctx := context.Background()
	first := b.upsert(Options{Mode: Delete}, b.write("day.csv", "id,dt", "1,2026-11-20"))
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "7,x,2026-11-20", "8,y,2026-11-20"))
	d, err := b.open().Show(ctx, ShowOptions{At: first.Run})
	if err != nil || len(d.Partitions) != 1 || d.Rows != 1 {
		t.Errorf("at %s: %+v, %v", first.Run, d, err)
	}
	if _, err := b.open().Show(ctx, ShowOptions{Partitions: []string{"dt=2026-01-01"}}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a partition that is not there: %v", err)
	}
	if _, err := b.open().Rollback(ctx, RollbackOptions{Partitions: []string{"dt=2026-11-20"}, To: "20200101T000000Z-0000"}); !errors.Is(err, ErrNotFound) {
		t.Errorf("a run that is not there: %v", err)
	}
	rep, err := b.open().Rollback(ctx, RollbackOptions{Partitions: []string{"dt=2026-11-20"}, To: first.Run})
	if err != nil || rep.Partitions[0].Rows.Out != 1 {
		t.Fatalf("%+v, %v", rep, err)
	}
	b.want("dt=2026-11-20: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	// A live partition that somebody else changed is not thrown away unasked.
	copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-20")), b.path("orders/dt=2026-11-20/other.parquet"))
	o := RollbackOptions{Partitions: []string{"dt=2026-11-20"}}
	if _, err := b.open().Rollback(ctx, o); !errors.Is(err, ErrConflict) {
		t.Errorf("a changed partition: %v", err)
	}
	o.Force = true
	if _, err := b.open().Rollback(ctx, o); err != nil {
		t.Fatal(err)
	}
	b.clean()
}

// What was there before a partition's first run: nothing, or files of somebody else.
func TestHistoryOfOrigin(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-21")
	ctx := context.Background()
	history := func() []Version {
		t.Helper()
		versions, err := b.open().History(ctx, "dt=2026-11-20")
		if err != nil {
			t.Fatal(err)
		}
		return versions
	}
	origin := history()[1]
	if origin.Run != "origin" || !origin.Absent || origin.Rows != 0 || !origin.Time.IsZero() || !origin.Kept || origin.Live {
		t.Errorf("before the first run: %+v", origin)
	}
	if text, err := json.Marshal(origin); err != nil || strings.Contains(string(text), "time") || !strings.Contains(string(text), `"absent":true`) {
		t.Errorf("%s, %v", text, err)
	}

	// Back to nothing, and to what there was again.
	back := RollbackOptions{Partitions: []string{"dt=2026-11-20"}, To: "origin"}
	rep, err := b.open().Rollback(ctx, back)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(b.path("orders/dt=2026-11-20")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the partition is still there: %v", err)
	}
	b.want("dt=2026-11-21: id=3 name=cid")
	if p := rep.Partitions[0]; p.Rows != (Rows{Old: 2, Deleted: 2}) || p.Files != (Files{Before: 1}) || p.Bytes != (Bytes{}) || p.New || !p.Removed || rep.Total.Rows != p.Rows {
		t.Errorf("rolled back to nothing: %+v", p)
	}
	if v := history()[0]; !v.Live || !v.Absent || v.Rows != 0 || v.Restores != "origin" || v.Time.IsZero() {
		t.Errorf("the live version: %+v", v)
	}
	if rep, err = b.open().Rollback(ctx, RollbackOptions{Run: rep.Run}); err != nil {
		t.Fatal(err)
	}
	if p := rep.Partitions[0]; p.Rows != (Rows{Source: 2, Inserted: 2, Out: 2}) || p.Files != (Files{After: 1}) || p.Bytes.Kept == 0 || !p.New {
		t.Errorf("rolled forth: %+v", p)
	}
	if d, err := b.open().Show(ctx, ShowOptions{At: "origin"}); err != nil || len(d.Partitions) != 0 {
		t.Errorf("the table at its origin: %+v, %v", d, err)
	}

	// The same partition found by a state that knows nothing of it.
	if err := os.RemoveAll(b.path(".hupsert")); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "5,eve,2026-11-20"))
	if v := history()[1]; v.Rows != 2 || v.Absent || !v.Time.IsZero() || !v.Kept {
		t.Errorf("files of somebody else: %+v", v)
	}
	if rep, err = b.open().Rollback(ctx, back); err != nil {
		t.Fatal(err)
	}
	if p := rep.Partitions[0]; p.Rows != (Rows{Old: 3, Deleted: 3, Source: 2, Inserted: 2, Out: 2}) {
		t.Errorf("rolled back to them: %+v", p)
	}
	if v := history()[0]; v.Rows != 2 {
		t.Errorf("the live version: %+v", v)
	}
	copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-20")), b.path("orders/dt=2026-11-20/more.parquet"))
	rep, err = b.open().Rollback(ctx, RollbackOptions{Partitions: []string{"dt=2026-11-20"}, Force: true})
	if err != nil || rep.Partitions[0].Rows != (Rows{Old: 4, Deleted: 4, Source: 3, Inserted: 3, Out: 3}) {
		t.Errorf("rolled back over what somebody else did: %+v, %v", rep, err)
	}
}

func TestReportJSON(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-20", "4,dan,2026-11-20", "5,eva,2026-11-20")
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")
	plan, err := b.open().Plan(context.Background(), Source{From: []string{day}}, Options{Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	patched := reportObjects(t, plan)
	plan, err = b.open().Plan(context.Background(), Source{From: []string{day}}, Options{Key: []string{"id"}, Route: merge.Rewrite})
	if err != nil {
		t.Fatal(err)
	}
	rewritten := reportObjects(t, plan)
	done := reportObjects(t, b.upsert(Options{}, day))
	for _, c := range []struct {
		v    map[string]any
		want string
	}{
		{done[""], "dry_run history mode partitions publish run table total"},
		{done["partition"], "bytes files partition rows seconds status version"},
		{done["rows"], "deleted ignored inserted kept moved moved_out null_keys old old_duplicates old_null_keys out rejected source source_duplicates stale_skipped unchanged updated"},
		{done["bytes"], "added copied kept patched read rewritten"},
		{done["files"], "after before"},
		{done["seconds"], "index plan probe publish source verify write"},
		{done["total"], "bytes files peak_memory_bytes rows seconds"},
		{patched["partition"], "bytes files partition plan rows seconds status version"},
		{patched["file"], "bytes file inserted route row_groups"},
		{patched["row group"], "copied deleted patched patched_columns rewritten route rows updated"},
		{rewritten["row group"], "copied deleted patched rewritten rewritten_columns route rows updated why"},
	} {
		if k := strings.Join(slices.Sorted(maps.Keys(c.v)), " "); k != c.want {
			t.Errorf("fields %s, want %s", k, c.want)
		}
	}
	if data, _ := json.Marshal(&Report{}); !strings.Contains(string(data), `"partitions":[]`) {
		t.Errorf("an empty report has %s", data)
	}
}

// reportObjects are the objects of a report's JSON, of those in lists the first.
func reportObjects(t *testing.T, r *Report) map[string]map[string]any {
	t.Helper()
	data, err := json.Marshal(r)
	if err != nil {
		t.Fatal(err)
	}
	var report map[string]any
	if err := json.Unmarshal(data, &report); err != nil {
		t.Fatal(err)
	}
	first := func(v any) map[string]any {
		list, _ := v.([]any)
		if len(list) == 0 {
			return nil
		}
		return list[0].(map[string]any)
	}
	part := first(report["partitions"])
	out := map[string]map[string]any{"": report, "partition": part, "total": report["total"].(map[string]any)}
	for _, name := range []string{"rows", "bytes", "files", "seconds"} {
		out[name] = part[name].(map[string]any)
	}
	out["file"] = first(part["plan"])
	out["row group"] = first(out["file"]["row_groups"])
	return out
}

// The totals are of what a run did, or would do: nothing of a partition that it left as it was counts.
func TestTotals(t *testing.T) {
	one := func(status Status) PartitionReport {
		return PartitionReport{Status: status, Rows: Rows{Old: 1, Source: 1, Unchanged: 1, Out: 1}, Bytes: Bytes{Kept: 1}, Files: Files{Before: 1, After: 1}}
	}
	for status, want := range map[Status]int64{Published: 1, Noop: 1, Planned: 1, Failed: 0, Conflict: 0, Skipped: 0, Undone: 0} {
		r := &Report{Partitions: []PartitionReport{one(status), one(Published)}}
		r.sum(3)
		got := [...]int64{r.Total.Rows.Old, r.Total.Rows.Source - 3, r.Total.Rows.Unchanged, r.Total.Rows.Out, r.Total.Bytes.Kept,
			int64(r.Total.Files.Before), int64(r.Total.Files.After)}
		for _, n := range got {
			if n != want+1 {
				t.Errorf("%s beside published: %v, want %d of each", status, got, want+1)
				break
			}
		}
		if r.Total.Rows.Rejected != 3 {
			t.Errorf("%d rows rejected before they had a partition, want 3", r.Total.Rows.Rejected)
		}
	}

	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21", "3,cid,2026-11-22")
	mixed := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bob,2026-11-21", ",nobody,2026-11-22")
	rep, err := b.try(Options{}, mixed)
	if got := statuses(rep); err == nil || got != "dt=2026-11-20 undone, dt=2026-11-21 noop, dt=2026-11-22 failed" && got != "dt=2026-11-20 skipped, dt=2026-11-21 noop, dt=2026-11-22 failed" {
		t.Fatalf("%v, %s", err, got)
	}
	if r := rep.Total.Rows; r.Old != 1 || r.Source != 1 || r.Unchanged != 1 || r.Updated != 0 || rep.Total.Files.Before != 1 {
		t.Errorf("nothing is published, and the totals are %+v, %+v", r, rep.Total.Files)
	}
	plan, err := b.open().Plan(context.Background(), Source{From: []string{mixed}}, Options{Key: []string{"id"}})
	if err == nil || plan.Total.Rows.Updated != 1 || plan.Total.Rows.Source != 2 {
		t.Errorf("%v, planned %+v", err, plan.Total.Rows)
	}
	rep, err = b.try(Options{Partial: true}, mixed)
	if r := rep.Total.Rows; err == nil || r.Old != 2 || r.Source != 2 || r.Updated != 1 || r.Unchanged != 1 || r.Out != 2 {
		t.Errorf("%v, published %+v", err, r)
	}
}

// Runs of one second may draw the same number. The second of them must not take the first one's name: a
// record of that name would stand in its way for ever.
func TestRunsOfOneSecond(t *testing.T) {
	b := newBench(t)
	b.cfg.Now = func() time.Time { return time.Date(2026, 11, 20, 1, 2, 3, 0, time.UTC) }
	b.create("1,ann,2026-11-20")
	table := b.open()
	draws := 0
	table.random = func(out []byte) {
		draws++
		copy(out, []byte{0x4f, byte(draws / 3)})
	}
	var runs []string
	for _, name := range []string{"anna", "anne"} {
		rep, err := table.Upsert(context.Background(), Source{From: []string{b.write("day.csv", "id,name,dt", "1,"+name+",2026-11-20")}}, Options{Key: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		runs = append(runs, rep.Run)
	}
	if got := strings.Join(runs, " "); got != "20261120T010203Z-4f00 20261120T010203Z-4f01" || draws != 3 {
		t.Errorf("%d draws for %s", draws, got)
	}
	b.want("dt=2026-11-20: id=1 name=anne")
}

func TestConcurrentRuns(t *testing.T) {
	b := newBench(t)
	b.cfg.LockWait = time.Minute
	b.create("0,start,2026-11-20")
	b.upsert(Options{}, b.write("second.csv", "id,name,dt", "0,begin,2026-11-20"))
	table := b.open()
	errs := make(chan error, 8)
	for i := range 8 {
		from := b.write(fmt.Sprintf("day%d.csv", i), "id,name,dt", fmt.Sprintf("%d,n,2026-11-20", i+1), fmt.Sprintf("%d,n,2026-11-%02d", i+1, i+1))
		go func() {
			_, err := table.Upsert(context.Background(), Source{From: []string{from}}, Options{Key: []string{"id"}, Retry: 20})
			errs <- err
		}()
	}
	for range 8 {
		if err := <-errs; err != nil {
			t.Error(err)
		}
	}
	if got := len(b.rows()); got != 17 {
		t.Errorf("%d rows, want 17: a run was lost", got)
	}
	b.clean()
}

// Files that store their partition column: it is written back, and must be what the path says.
func TestStoredPartitionColumn(t *testing.T) {
	b := newBench(t)
	// An unpartitioned table's file, moved into a partition, has the column in it.
	b.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, dt date"}, b.write("a.csv", "id,dt", "1,2026-11-20", "2,2026-11-20"))
	file := onlyParquet(t, b.root())
	if err := os.RemoveAll(b.path(".hupsert")); err != nil {
		t.Fatal(err)
	}
	for _, day := range []string{"dt=2026-11-20", "dt=2026-11-21"} {
		if err := os.Mkdir(b.path("orders/"+day), 0o755); err != nil {
			t.Fatal(err)
		}
		copyFile(t, file, b.path("orders/"+day+"/a.parquet"))
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if _, err := b.open().SetConfig(context.Background(), map[string]string{"partition-by": "dt:date"}); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{}, b.write("day.csv", "id,dt", "3,2026-11-20"))
	b.upsert(Options{Partitions: []string{"dt=2026-11-20"}}, b.write("day.csv", "id", "4"))
	before := b.snapshot()
	_, err := b.try(Options{}, b.write("day.csv", "id,dt", "3,2026-11-21"))
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "dt=2026-11-20") || b.snapshot() != before {
		t.Errorf("a file in the wrong partition: %v", err)
	}
	const in = "dt=2026-11-20: id=%d dt=2026-11-20"
	var want []string
	for id := 1; id <= 4; id++ {
		want = append(want, fmt.Sprintf(in, id))
	}
	if got := b.rows()[:4]; strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("holds\n%s", strings.Join(got, "\n"))
	}
}

// TestRollbackOfOddValue: a comma, and a blank at the end, in a partition's value are of the value.
func TestRollbackOfOddValue(t *testing.T) {
	b := newBench(t)
	for _, name := range []string{"ann", "eve"} {
		b.parquet("in.parquet", []arrow.Field{bigintsOf("id"), stringsOf("name"), stringsOf("city")}, nil,
			`[{"id":1,"name":"`+name+`","city":"Paris, TX"},{"id":2,"name":"`+name+`","city":"x "}]`)
		if _, err := b.open().Upsert(t.Context(), Source{From: []string{b.path("in.parquet")}}, Options{Key: []string{"id"}, Create: true, PartitionBy: []string{"city"}}); err != nil {
			t.Fatal(err)
		}
	}
	for _, spec := range []string{"city=Paris%2C TX", "city=x%20"} {
		if _, err := b.open().Rollback(t.Context(), RollbackOptions{Partitions: []string{spec}}); err != nil {
			t.Errorf("%s: %v (%s)", spec, err, Hint(err))
		}
	}
}
