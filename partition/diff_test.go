package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/swap"
)

// diff must succeed.
func (b *bench) diff(o Options, d DiffOptions, from ...string) *DiffReport {
	b.t.Helper()
	if len(o.Key) == 0 {
		o.Key = []string{"id"}
	}
	rep, err := b.open().Diff(context.Background(), Source{From: from}, o, d)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

func (b *bench) at(run string) TableAt { return TableAt{Table: b.open(), Run: run} }

// sampleText is a sample in a line for each row.
func sampleText(list []RowDiff) string {
	var lines []string
	for _, r := range list {
		text := func(row Row) string {
			out, _ := row.MarshalJSON()
			return string(out)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s %s %s", r.Partition, r.Change, text(r.Key), text(r.Old), text(r.New)))
	}
	return strings.Join(lines, "\n")
}

// A feed has one schema for partitions whose files differ: the wider type, and NULL where a column is not there. Its rows
// are in the order of the partitions, however many are merged at once.
func TestFeedOfDifferentPartitions(t *testing.T) {
	small := arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int32, Nullable: true}
	large := arrow.Field{Name: "N", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	for _, parallel := range []int{1, 4} {
		b := newBench(t)
		b.parquet("orders/dt=1/a.parquet", []arrow.Field{int64Field, small}, nil, `[{"id": 1, "n": 10}, {"id": 2, "n": 20}]`)
		b.parquet("orders/dt=2/a.parquet", []arrow.Field{int64Field, large, textField}, nil, `[{"id": 1, "N": 5000000000, "t": "a"}]`)
		b.parquet("orders/dt=3/a.parquet", []arrow.Field{int64Field, small}, nil, `[{"id": 1, "n": 1}]`)
		src := b.write("new.csv", "id,n,dt", "1,11,1", "3,30,1", "1,6,2", "1,1,3")
		rep := b.diff(Options{MissingColumns: "keep", Parallel: parallel, Memory: 64 << 10}, DiffOptions{To: b.path("feed.parquet")}, src)
		got, err := readParquet(b.path("feed.parquet"))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.Join([]string{
			"_change_type=update_preimage dt=1 id=1 n=10 t=NULL",
			"_change_type=update_postimage dt=1 id=1 n=11 t=NULL",
			"_change_type=insert dt=1 id=3 n=30 t=NULL",
			"_change_type=update_preimage dt=2 id=1 n=5000000000 t=a",
			"_change_type=update_postimage dt=2 id=1 n=6 t=a",
		}, "\n")
		if strings.Join(got, "\n") != want || rep.To == nil || rep.To.Rows != 5 {
			t.Errorf("%d at once: the feed holds\n%s\nwant\n%s\n%+v", parallel, strings.Join(got, "\n"), want, rep.To)
		}
		if got := fmt.Sprint(rep.Total.Columns); got != "[{n 2}]" {
			t.Errorf("columns %s", got)
		}
		if rep.Partitions[2].Status != Noop {
			t.Errorf("%+v", rep.Partitions[2])
		}
	}
}

// Where partitions have a column in types that nothing holds, there is no feed, and the error says what to do.
func TestFeedOfTypesThatDoNotFit(t *testing.T) {
	b := newBench(t)
	b.parquet("orders/dt=1/a.parquet", []arrow.Field{int64Field, {Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}}, nil, `[{"id": 1, "x": 10}]`)
	b.parquet("orders/dt=2/a.parquet", []arrow.Field{int64Field, {Name: "x", Type: arrow.BinaryTypes.String, Nullable: true}}, nil, `[{"id": 1, "x": "10"}]`)
	src := b.write("new.csv", "id,dt", "1,1", "2,2")
	o := Options{Key: []string{"id"}, MissingColumns: "keep"}
	_, err := b.open().Diff(context.Background(), Source{From: []string{src}}, o, DiffOptions{To: b.path("feed.parquet")})
	if !errors.Is(err, ErrSchema) || !strings.Contains(Hint(err), "--partition") {
		t.Errorf("%v; hint %s", err, Hint(err))
	}
	if left, _ := filepath.Glob(b.path("feed.*")); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	if rep := b.diff(o, DiffOptions{}, src); rep.Total.Rows.Inserted != 1 {
		t.Errorf("%+v", rep.Total)
	}
}

// More changes than are read at once, and than a row group holds: none is lost or comes twice.
func TestFeedOfManyRows(t *testing.T) {
	b := newBench(t)
	var old, fresh []string
	const n = 3000
	wide := strings.Repeat("w", 900)
	for i := range n {
		old = append(old, fmt.Sprintf("%d,old%s,2026-11-20", i, wide))
		fresh = append(fresh, fmt.Sprintf("%d,new%s,2026-11-20", i+n/3, wide))
	}
	b.create(old...)
	src := b.write("new.csv", append([]string{"id,name,dt"}, fresh...)...)
	all := 1.0
	rep := b.diff(Options{Mode: Mirror, MaxDeleteRatio: &all, Memory: 1 << 20, TempDir: t.TempDir()}, DiffOptions{To: b.path("feed.parquet")}, src)
	lines, err := readParquet(b.path("feed.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	count := map[string]int{}
	for _, line := range lines {
		if line = strings.ReplaceAll(line, wide, ""); count[line] > 0 {
			t.Fatalf("twice: %s", line)
		}
		count[line]++
	}
	for i := range n + n/3 {
		var want []string
		switch {
		case i < n/3:
			want = []string{"delete", "old"}
		case i < n:
			want = []string{"update_preimage", "old", "update_postimage", "new"}
		default:
			want = []string{"insert", "new"}
		}
		for ; len(want) > 0; want = want[2:] {
			if line := fmt.Sprintf("_change_type=%s dt=2026-11-20 id=%d name=%s", want[0], i, want[1]); count[line] != 1 {
				t.Fatalf("not there: %s", line)
			}
		}
	}
	if int64(len(lines)) != rep.To.Rows || rep.To.Rows != n/3+2*(n-n/3)+n/3 {
		t.Errorf("%d rows, %+v", len(lines), rep.To)
	}
	file, closer, err := openParquet(context.Background(), b.open().fsys, b.path("feed.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	if file.NumRowGroups() < 3 {
		t.Errorf("%d row groups of %d MB with little memory", file.NumRowGroups(), len(lines)*len(wide)>>20)
	}
	if err := closer.Close(); err != nil {
		t.Fatal(err)
	}
}

// A sample has some of each kind, the same ones however many partitions are merged at once, and no more than were asked for.
func TestSample(t *testing.T) {
	b := newBench(t)
	var old, fresh []string
	for day := 1; day <= 6; day++ {
		for id := range 10 {
			old = append(old, fmt.Sprintf("%d,old,2026-11-%02d", id, day))
			fresh = append(fresh, fmt.Sprintf("%d,new,2026-11-%02d", id+5, day))
		}
	}
	b.create(old...)
	src := b.write("new.csv", append([]string{"id,name,dt"}, fresh...)...)
	all := 1.0
	want := ""
	for _, parallel := range []int{1, 2, 6} {
		rep := b.diff(Options{Mode: Mirror, MaxDeleteRatio: &all, Parallel: parallel}, DiffOptions{Limit: 7}, src)
		kinds := map[string]int{}
		for _, r := range rep.Sample {
			kinds[r.Change]++
		}
		if kinds[ChangeUpdate] != 3 || kinds[ChangeDelete] != 2 || kinds[ChangeInsert] != 2 {
			t.Errorf("%v", kinds)
		}
		text := sampleText(rep.Sample)
		if want == "" {
			want = text
		}
		if text != want || !strings.Contains(text, `dt=2026-11-01 update {"id":5} {"name":"old"} {"name":"new"}`) {
			t.Errorf("%d at once:\n%s\nwant\n%s", parallel, text, want)
		}
		if rep.Total.Rows.Updated != 30 || rep.Total.Rows.Inserted != 30 || rep.Total.Rows.Deleted != 30 {
			t.Errorf("%+v", rep.Total.Rows)
		}
	}
	if rep := b.diff(Options{Mode: Mirror, MaxDeleteRatio: &all}, DiffOptions{Limit: -1}, src); len(rep.Sample) != 0 {
		t.Errorf("%d rows", len(rep.Sample))
	}
	if rep := b.diff(Options{Mode: Mirror, MaxDeleteRatio: &all}, DiffOptions{Limit: 25}, src); len(rep.Sample) != 25 {
		t.Errorf("%d rows", len(rep.Sample))
	}
}

// A field of a struct is a key; rows show it by its path.
func TestSampleOfStructKey(t *testing.T) {
	b := newBench(t)
	key := arrow.Field{Name: "k", Type: arrow.StructOf(arrow.Field{Name: "a", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "b", Type: arrow.BinaryTypes.String, Nullable: true}), Nullable: true}
	b.parquet("orders/a.parquet", []arrow.Field{key, textField}, nil, `[{"k": {"a": 1, "b": "x"}, "t": "old"}, {"k": {"a": 2, "b": "y"}, "t": "old"}]`)
	src := b.parquet("new.parquet", []arrow.Field{key, textField}, nil, `[{"k": {"a": 1, "b": "z"}, "t": "old"}, {"k": {"a": 3, "b": null}, "t": null}]`)
	rep := b.diff(Options{Key: []string{"K.A"}}, DiffOptions{}, src)
	want := ` update {"K.A":1} {"k":{"a":1,"b":"x"}} {"k":{"a":1,"b":"z"}}
 insert {"K.A":3} {} {"k":{"a":3,"b":null},"t":null}`
	if got := sampleText(rep.Sample); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// A feed that can't be finished is not there, and neither is what was written of it.
func TestFeedFails(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	before := b.snapshot()
	src := b.write("new.csv", "id,name,dt", "1,anna,2026-11-20", "2,bert,2026-11-21", "2,bart,2026-11-21")
	_, err := b.open().Diff(context.Background(), Source{From: []string{src}}, Options{Key: []string{"id"}}, DiffOptions{To: b.path("out/feed.parquet")})
	if !errors.Is(err, ErrNotFound) {
		t.Errorf("%v", err)
	}
	if err := os.Mkdir(b.path("out"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(b.path("out/feed.parquet"), []byte("of before"), 0o644); err != nil {
		t.Fatal(err)
	}
	rep, err := b.open().Diff(context.Background(), Source{From: []string{src}}, Options{Key: []string{"id"}}, DiffOptions{To: b.path("out/feed.parquet")})
	if !errors.Is(err, ErrDuplicateKey) || rep.To != nil || rep.Partitions[1].Error == nil {
		t.Errorf("%v, %+v", err, rep)
	}
	ctx, cancel := context.WithCancel(context.Background())
	b.cfg.Observer = func(e Event) {
		if e.Step == StepMerge {
			cancel()
		}
	}
	_, err = b.open().Diff(ctx, Source{From: []string{src}}, Options{Key: []string{"id"}, SourceDuplicates: "last"}, DiffOptions{To: b.path("out/feed.parquet")})
	cancel()
	b.cfg.Observer = nil
	if KindOf(err) != KindInterrupted {
		t.Errorf("%v", err)
	}
	list, _ := os.ReadDir(b.path("out"))
	if data, _ := os.ReadFile(b.path("out/feed.parquet")); len(list) != 1 || string(data) != "of before" {
		t.Errorf("%v, %q", list, data)
	}
	if b.snapshot() != before {
		t.Error("the table changed")
	}
}

// Partitions are matched by value where a type is declared, and tables of other columns are refused.
func TestComparePartitionsByValue(t *testing.T) {
	b, other := newBench(t), newBench(t)
	n := arrow.Field{Name: "n", Type: arrow.PrimitiveTypes.Int32, Nullable: true}
	b.parquet("orders/month=5/a.parquet", []arrow.Field{int64Field, n}, nil, `[{"id": 1, "n": 1}, {"id": null, "n": 2}]`)
	other.parquet("orders/MONTH=05/a.parquet", []arrow.Field{n, int64Field}, nil, `[{"n": 2, "id": null}]`)
	other.parquet("orders/MONTH=05/b.parquet", []arrow.Field{{Name: "ID", Type: arrow.PrimitiveTypes.Int32}, {Name: "n", Type: arrow.PrimitiveTypes.Int64, Nullable: true}}, nil, `[{"ID": 1, "n": 3000000000}]`)
	compare := func() (*CompareReport, error) {
		return Compare(context.Background(), b.at(""), other.at(""), CompareOptions{Key: []string{"id"}})
	}
	if rep, err := compare(); err != nil || len(rep.Partitions) != 2 || rep.Partitions[0].Status != OnlyInOther {
		t.Errorf("%v %+v", err, rep)
	}
	if _, err := b.open().SetConfig(context.Background(), map[string]string{"partition-by": "month:int"}); err != nil {
		t.Fatal(err)
	}
	rep, err := compare()
	if err != nil || len(rep.Partitions) != 1 || rep.Total.Rows != (CompareRows{Table: 2, Other: 2, Same: 1, Different: 1}) {
		t.Fatalf("%v %+v", err, rep)
	}
	if got := sampleText(rep.Sample); got != `month=5 different {"id":1} {"n":1} {"n":3000000000}` {
		t.Errorf("%s", got)
	}
	if got := fmt.Sprint(rep.Schema); got != "[{n int bigint true}]" {
		t.Errorf("%s", got)
	}
}

// Rows of a partition that one side has and the other lacks are told from rows that are in both, also where keys do not
// fit into memory; a key that stands twice is found on either side, whether or not the other has it.
func TestCompareWithLittleMemory(t *testing.T) {
	b, other := newBench(t), newBench(t)
	var lines, more []string
	const n = 20_000
	for i := range n {
		lines = append(lines, fmt.Sprintf("%d,name %d,2026-11-20", i, i%7))
		more = append(more, fmt.Sprintf("%d,name %d,2026-11-20", (i*7919+n/2)%(n+n/2), (i*7919+n/2)%(n+n/2)%7))
	}
	b.create(lines...)
	other.create(more...)
	o := CompareOptions{Key: []string{"id"}, Memory: 64 << 10, TempDir: t.TempDir(), Limit: 3}
	rep, err := Compare(context.Background(), b.at(""), other.at(""), o)
	if err != nil {
		t.Fatal(err)
	}
	have := map[int]bool{}
	for i := range n {
		have[(i*7919+n/2)%(n+n/2)] = true
	}
	want := CompareRows{Table: n, Other: n}
	for i := range n {
		if have[i] {
			want.Same++
		}
	}
	want.OnlyInTable, want.OnlyInOther = n-want.Same, n-want.Same
	if rep.Total.Rows != want || want.OnlyInTable == 0 || want.Same == 0 {
		t.Errorf("%+v, want %+v", rep.Total.Rows, want)
	}
	left, _ := os.ReadDir(o.TempDir)
	if len(left) > 0 {
		t.Errorf("left: %v", left)
	}
	// Some keys again, in a file of their own: they are in one only, and more than one search finds them.
	var only []string
	for i := 0; len(only) < 40; i++ {
		if !have[i] {
			only = append(only, fmt.Sprintf(`{"id": %d, "name": "again"}`, i))
		}
	}
	text := arrow.Field{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}
	b.parquet("orders/dt=2026-11-20/again.parquet", []arrow.Field{int64Field, text}, nil, "["+strings.Join(only, ",")+"]")
	for _, sides := range [][2]TableAt{{b.at(""), other.at("")}, {other.at(""), b.at("")}} {
		_, err := Compare(context.Background(), sides[0], sides[1], o)
		if !errors.Is(err, ErrDuplicateKey) || !strings.Contains(err.Error(), "id=") {
			t.Errorf("%v, want keys", err)
		}
	}
}

// Keys that stand twice are found in any order, and named where pages are read forward.
func TestCompareNamesRepeatedKeys(t *testing.T) {
	b, other := newBench(t), newBench(t)
	var lines, again []string
	const n = 60_000
	for i := range n {
		lines = append(lines, fmt.Sprintf("%d,name %d,2026-11-20", i, i))
		if i%1500 == 0 {
			again = append(again, fmt.Sprintf(`{"id": %d, "name": "again"}`, i))
		}
	}
	b.create(lines...)
	other.create("1,name 1,2026-11-20")
	text := arrow.Field{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}
	b.parquet("orders/dt=2026-11-20/again.parquet", []arrow.Field{int64Field, text}, nil, "["+strings.Join(again, ",")+"]")
	for _, memory := range []int64{64 << 10, 4 << 20, 1 << 30} {
		_, err := Compare(context.Background(), b.at(""), other.at(""), CompareOptions{Key: []string{"id"}, Memory: memory, TempDir: t.TempDir()})
		if !errors.Is(err, ErrDuplicateKey) || !strings.Contains(err.Error(), "id=0") {
			t.Errorf("%d bytes: %v, want keys from 0 on", memory, err)
		}
	}
}

// Columns are known also where no partition is in both tables.
func TestCompareColumnsOfNothingInCommon(t *testing.T) {
	b, other := newBench(t), newBench(t)
	b.create("1,ann,2026-11-20")
	other.create("1,ann,2026-11-21")
	rep, err := Compare(context.Background(), b.at(""), other.at(""), CompareOptions{Key: []string{"id"}, Columns: []string{"name"}})
	if err != nil || rep.Total.Rows != (CompareRows{Table: 1, Other: 1, OnlyInTable: 1, OnlyInOther: 1}) {
		t.Errorf("%+v, %v", rep, err)
	}
}

// A run's own version is taken whatever clocks said.
func TestVersionAt(t *testing.T) {
	at := func(hour int) time.Time { return time.Date(2026, 11, 20, hour, 0, 0, 0, time.UTC) }
	list := []swap.Version{{Run: "origin"}, {Run: "ahead", Time: at(12)}, {Run: "mine", Time: at(11)}, {Run: "later", Time: at(13)}}
	for run, want := range map[string]string{"mine": "mine", "ahead": "ahead", "other": "origin"} {
		if got := versionAt(list, run, at(11)); got.Run != want {
			t.Errorf("at %s: %s, want %s", run, got.Run, want)
		}
	}
}

// A partition that fails early lets none of those behind it write before those ahead of it.
func TestFeedBesideFailure(t *testing.T) {
	b := newBench(t)
	lines := []string{"id,name,dt"}
	for i := range 200_000 {
		lines = append(lines, fmt.Sprintf("%d,x,2026-11-20", i))
	}
	lines = append(lines, "1,a,2026-11-21", "1,b,2026-11-21")
	for i := range 10_000 {
		lines = append(lines, fmt.Sprintf("%d,x,2026-11-22", i), fmt.Sprintf("%d,x,2026-11-23", i))
	}
	b.create("1,ann,2026-11-20", "1,ann,2026-11-21", "1,ann,2026-11-22", "1,ann,2026-11-23")
	o := Options{Key: []string{"id"}, Parallel: 4}
	rep, err := b.open().Diff(context.Background(), Source{From: []string{b.write("new.csv", lines...)}}, o, DiffOptions{To: b.path("feed.parquet")})
	if !errors.Is(err, ErrDuplicateKey) {
		t.Fatal(err)
	}
	for i, p := range rep.Partitions {
		if (p.Status == Failed) != (i == 1) {
			t.Errorf("%s: %s %+v", p.Partition, p.Status, p.Error)
		}
	}
}

// Files of two file systems are not the same for having the same identity, size and time.
func TestCompareAcrossFileSystems(t *testing.T) {
	at := time.Date(2026, 11, 20, 0, 0, 0, 0, time.UTC)
	table := func(name string) TableAt {
		t.Helper()
		d := disk{mem.New(), ""}
		d.SetClock(func() time.Time { return at })
		if err := d.Mkdir(context.Background(), "/w", 0o755); err != nil {
			t.Fatal(err)
		}
		o := Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", Compression: "none"}
		if _, err := d.merge(d.FS, o, `[{"id":1,"name":"`+name+`","dt":"2026-11-20"}]`); err != nil {
			t.Fatal(err)
		}
		open, err := d.on(d.FS)
		if err != nil {
			t.Fatal(err)
		}
		return TableAt{Table: open}
	}
	a, b := table("ann"), table("bob")
	rep, err := Compare(context.Background(), a, b, CompareOptions{Key: []string{"id"}})
	if err != nil || rep.Total.Rows.Different != 1 {
		t.Errorf("%+v, %v", rep.Total.Rows, err)
	}
	if rep, err = Compare(context.Background(), a, a, CompareOptions{Key: []string{"id"}}); err != nil || rep.Total.Rows.Same != 1 {
		t.Errorf("with itself: %+v, %v", rep.Total.Rows, err)
	}
}
