package partition

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/spill"
)

// recordsFrom makes a source of records, from JSON.
func recordsFrom(t *testing.T, schema *arrow.Schema, batches ...string) Source {
	t.Helper()
	var list []arrow.Record
	for _, text := range batches {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rec)
	}
	r, err := array.NewRecordReader(schema, list)
	if err != nil {
		t.Fatal(err)
	}
	return Records(r)
}

// days makes CSV lines of rows that go to several partitions, in no order of their keys. Names repeat.
func days(n, days int, name string) []string {
	lines := []string{"id,name,dt"}
	for i := range n {
		id := i * 7919 % n
		lines = append(lines, fmt.Sprintf("%d,%s%d,2026-11-%02d", id, name, id%10, id%days+1))
	}
	return lines
}

// TestNothingSpillsThatFits: with memory for everything no temporary file is asked for.
func TestNothingSpillsThatFits(t *testing.T) {
	o := Options{Key: []string{"id"}, TempDir: "/nowhere", SourceDuplicates: "last", Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}
	b := newBench(t)
	b.upsert(o, b.write("a.csv", days(1000, 3, "a")...), b.write("b.csv", days(1000, 3, "b")...))
	// A Parquet source with dictionaries, whose runs go to several partitions each.
	p := newBench(t)
	p.upsert(Options{Key: []string{"id"}, Create: true, PartitionBy: []string{}, Schema: "id bigint, name string, dt date"}, p.write("a.csv", days(200_000, 3, "same")...))
	b.upsert(o, p.root())
}

// spilling are runs that must come to the same with memory for everything and with too little.
var spilling = []struct {
	name    string
	old     []string // CSV lines of the table
	source  []string
	options Options
	kind    Kind // of the error, where there is one
}{
	{name: "upsert", old: days(3000, 3, "old"), source: days(4000, 4, "new")},
	{name: "insert", old: days(3000, 3, "old"), source: days(4000, 4, "new"), options: Options{Mode: Insert}},
	{name: "update", old: days(3000, 3, "old"), source: days(4000, 4, "new"), options: Options{Mode: Update}},
	{name: "delete", old: days(3000, 3, "old"), source: days(2000, 2, "new"), options: Options{Mode: Delete}},
	{name: "mirror", old: days(3000, 3, "old"), source: days(2900, 3, "new"), options: Options{Mode: Mirror}},
	{name: "replace", old: days(3000, 3, "old"), source: days(2900, 3, "new"), options: Options{Mode: Replace}},
	{name: "append", old: days(3000, 3, "old"), source: days(2900, 3, "new"), options: Options{Mode: Append}},
	{name: "one partition", old: days(3000, 1, "old"), source: days(4000, 1, "new"), options: Options{Partitions: []string{"dt=2026-11-01"}}},
	{name: "NULL keys match", old: append(days(3000, 1, "old"), ",none,2026-11-01"), source: append(days(4000, 1, "new"), ",some,2026-11-01"), options: Options{NullKeys: "match"}},
	{name: "NULL keys", old: days(300, 1, "old"), source: append(days(4000, 1, "new"), ",some,2026-11-01"), kind: KindNullKey},
	{name: "NULL keys to the rejects", old: days(300, 1, "old"), source: append(days(4000, 1, "new"), ",some,2026-11-01", ",else,2026-11-01"), options: Options{NullKeys: "reject"}},
	{name: "a key of text", old: days(3000, 2, "old"), source: days(4000, 2, "old"), options: Options{Key: []string{"name"}, SourceDuplicates: "last", OldDuplicates: "update-all"}},
	{name: "a key of two parts", old: days(3000, 2, "old"), source: days(4000, 2, "old"), options: Options{Key: []string{"name", "id"}}},
	{name: "old duplicates", old: append(days(3000, 1, "old"), days(3000, 1, "twice")[1:]...), source: days(4000, 1, "new"), kind: KindDuplicateKey},
	{name: "old duplicates, all updated", old: append(days(3000, 1, "old"), days(3000, 1, "twice")[1:]...), source: days(4000, 1, "new"), options: Options{OldDuplicates: "update-all"}},
	{name: "old duplicates, repaired", old: append(days(3000, 1, "old"), days(3000, 1, "twice")[1:]...), source: days(4000, 1, "ver"), options: Options{OldDuplicates: "repair", OrderBy: []string{"name"}}},
	{name: "source duplicates", old: days(3000, 1, "old"), source: append(days(3000, 1, "a"), days(3000, 1, "b")[1:]...), kind: KindDuplicateKey},
	{name: "copies in the source", old: days(3000, 1, "old"), source: append(days(3000, 1, "a"), days(3000, 1, "a")[1:]...)},
	{name: "first in the source", old: days(3000, 1, "old"), source: append(days(3000, 1, "a"), days(3000, 1, "b")[1:]...), options: Options{SourceDuplicates: "first"}},
	{name: "versions", old: days(3000, 1, "m"), source: append(days(3000, 1, "z"), days(4000, 1, "a")[1:]...), options: Options{OrderBy: []string{"name"}}},
	{name: "stray rows", old: days(3000, 3, "old"), source: days(4000, 4, "new"), options: Options{Partitions: []string{"dt=2026-11-01", "dt=2026-11-02"}, StrayRows: "reject"}},
}

// TestSpillingChangesNothing: rows, counters and errors are the same however little memory there is.
func TestSpillingChangesNothing(t *testing.T) {
	for _, c := range spilling {
		t.Run(c.name, func(t *testing.T) {
			var rows []string
			var counts merge.Counts
			for _, memory := range []int64{0, 64 << 10, 1} {
				b := newBench(t)
				create := Options{Create: true, Mode: Append, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}
				b.upsert(create, b.write("first.csv", c.old...))
				before := b.snapshot()
				o := c.options
				o.Memory, o.TempDir, o.Rejects = memory, t.TempDir(), b.path("rejects")
				rep, err := b.try(o, b.write("source.csv", c.source...))
				if KindOf(err) != c.kind {
					t.Fatalf("memory %d: %v", memory, err)
				}
				if err != nil && b.snapshot() != before {
					t.Errorf("memory %d: an error, and the table changed", memory)
				}
				b.clean()
				switch got := b.rows(); {
				case rows == nil:
					rows, counts = got, rep.Total.Rows
				case !slices.Equal(got, rows):
					t.Errorf("memory %d: other rows", memory)
				case err == nil && rep.Total.Rows != counts:
					t.Errorf("memory %d: %+v, want %+v", memory, rep.Total.Rows, counts)
				}
			}
		})
	}
}

// TestColumnsThatSpill: what a source has beside the table's columns may be of any type that can be kept on
// disk, and of another one it says so.
func TestColumnsThatSpill(t *testing.T) {
	u := arrow.SparseUnionOf([]arrow.Field{{Name: "a", Type: arrow.PrimitiveTypes.Int32}}, []arrow.UnionTypeCode{0})
	for _, c := range []struct {
		t     arrow.DataType
		value string
		kind  Kind
	}{
		{t: arrow.FixedWidthTypes.Duration_ms, value: `"3ms"`},
		{t: arrow.FixedWidthTypes.MonthDayNanoInterval, value: `{"months": 1, "days": 2, "nanoseconds": 3}`},
		{t: arrow.FixedWidthTypes.Float16, value: `1.5`},
		{t: arrow.Null, value: `null`},
		{t: arrow.LargeListOf(arrow.BinaryTypes.StringView), value: `["x"]`},
		{t: arrow.FixedSizeListOf(1, arrow.FixedWidthTypes.Duration_ms), value: `["3ms"]`},
		{t: u, value: `[0, 1]`, kind: KindSchema},
	} {
		for _, memory := range []int64{0, 1} {
			b := newBench(t)
			b.create("1,old,2026-11-20", "2,old,2026-11-20")
			s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.LargeString}, {Name: "dt", Type: arrow.BinaryTypes.String},
				{Name: "x", Type: c.t, Nullable: true}}, nil)
			source := recordsFrom(t, s, `[{"id": 1, "name": "new", "dt": "2026-11-20", "x": `+c.value+`}, {"id": 1, "name": "new", "dt": "2026-11-21", "x": `+c.value+`}]`,
				`[{"id": 2, "name": "new", "dt": "2026-11-21", "x": `+c.value+`}, {"id": 2, "name": "new", "dt": "2026-11-20", "x": `+c.value+`}]`)
			want := c.kind
			if memory == 0 {
				want = ""
			}
			_, err := b.open().Upsert(t.Context(), source, Options{Key: []string{"id"}, NewColumns: "ignore", Memory: memory})
			if KindOf(err) != want {
				t.Errorf("%s, memory %d: %v", c.t, memory, err)
			}
			if err != nil {
				if !strings.Contains(err.Error(), "column x: sparse_union") || !strings.Contains(Hint(err), "--memory SIZE") {
					t.Errorf("%s, memory %d: %v; hint: %s", c.t, memory, err, Hint(err))
				}
				continue
			}
			b.want("dt=2026-11-20: id=1 name=new", "dt=2026-11-20: id=2 name=new", "dt=2026-11-21: id=1 name=new", "dt=2026-11-21: id=2 name=new")
		}
	}
}

// TestSpilledTypesMakeTheSameTable: a table that a source makes has the columns that the source has, however
// little memory there is.
func TestSpilledTypesMakeTheSameTable(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "a", Type: arrow.LargeListOf(arrow.BinaryTypes.LargeString), Nullable: true},
		{Name: "b", Type: arrow.FixedSizeListOf(2, arrow.PrimitiveTypes.Int16), Nullable: true},
		{Name: "c", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}, Nullable: true},
		{Name: "d", Type: arrow.MapOf(arrow.BinaryTypes.StringView, arrow.StructOf(arrow.Field{Name: "u", Type: arrow.PrimitiveTypes.Uint8})), Nullable: true},
		{Name: "e", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Asia/Seoul"}, Nullable: true},
		{Name: "f", Type: &arrow.Decimal256Type{Precision: 20, Scale: 2}, Nullable: true},
		{Name: "g", Type: arrow.BinaryTypes.BinaryView, Nullable: true},
	}, nil)
	row := func(id int) string {
		return fmt.Sprintf(`{"id": %d, "a": ["x", null], "b": [1, 2], "c": "y", "d": [{"key": "k", "value": {"u": 200}}], "e": "2026-11-20T10:20:30.123456789Z", "f": "12.34", "g": "AA=="}`, id)
	}
	var rows, schema string
	for _, memory := range []int64{0, 1} {
		b := newBench(t)
		source := recordsFrom(t, s, "["+row(3)+","+row(1)+"]", "["+row(2)+",{\"id\": 4}]")
		if _, err := b.open().Upsert(t.Context(), source, Options{Key: []string{"id"}, Create: true, PartitionBy: []string{}, Memory: memory}); err != nil {
			t.Fatalf("memory %d: %v", memory, err)
		}
		got := strings.Join(b.rows(), "\n")
		show, err := b.open().Show(t.Context(), ShowOptions{})
		if err != nil {
			t.Fatal(err)
		}
		columns := fmt.Sprint(show.Columns)
		if memory == 0 {
			rows, schema = got, columns
		}
		if got != rows || columns != schema {
			t.Errorf("memory %d:\n%s\n%s\nwant\n%s\n%s", memory, got, columns, rows, schema)
		}
	}
}

// TestSourceChangesWhileItSpills: a source that vanishes, is cut off or is damaged once its footers are read
// ends the run, and the table is as it was.
func TestSourceChangesWhileItSpills(t *testing.T) {
	source := newBench(t)
	source.upsert(Options{Key: []string{"id"}, Create: true, PartitionBy: []string{}, Schema: "id bigint, name string, dt date"}, source.write("day.csv", days(500, 2, "new")...))
	file := onlyParquet(t, source.root())
	files := make([]string, openSources+6) // more than are open at once
	for i := range files {
		files[i] = fmt.Sprintf("source/%d.parquet", i)
	}
	change := map[string]func(name string) error{
		"vanishes":  os.Remove,
		"is cut":    func(name string) error { return os.Truncate(name, 30) },
		"is filled": func(name string) error { return os.WriteFile(name, make([]byte, 3000), 0o644) },
	}
	for what, do := range change {
		for _, step := range []Step{StepRoute, StepMerge} {
			t.Run(fmt.Sprint(what, " at ", step), func(t *testing.T) {
				b := newBench(t)
				b.create("1,old,2026-11-01", "2,old,2026-11-02")
				before := b.snapshot()
				if err := os.Mkdir(b.path("source"), 0o755); err != nil {
					t.Fatal(err)
				}
				for _, f := range files {
					copyFile(t, file, b.path(f))
				}
				var once sync.Once
				b.cfg.Observer = func(e Event) {
					if e.Step == step {
						once.Do(func() {
							for _, f := range files {
								if err := do(b.path(f)); err != nil {
									t.Error(err)
								}
							}
						})
					}
				}
				_, err := b.try(Options{Memory: 64 << 10, TempDir: t.TempDir()}, b.path("source"))
				if KindOf(err) != KindCorrupt || !strings.Contains(err.Error(), "source/") || Hint(err) == "" {
					t.Errorf("%s: %v; hint: %s", KindOf(err), err, Hint(err))
				}
				if b.snapshot() != before {
					t.Error("the table changed")
				}
				b.clean()
			})
		}
	}
}

// TestDamagedSpill: a disk that gives back other bytes is the storage's fault, not the merge's.
func TestDamagedSpill(t *testing.T) {
	if got := KindOf(locate(fmt.Errorf("read: %w", spill.ErrDamaged), "dt=1", StepMerge)); got != KindStorage {
		t.Error(got)
	}
	f := spillFile{brokenFile{}, "/tmp"}
	for _, err := range []error{func() error { _, err := f.WriteAt(nil, 0); return err }(), func() error { _, err := f.ReadAt(nil, 0); return err }()} {
		if KindOf(err) != KindStorage || !errors.Is(err, syscall.EIO) || !strings.Contains(err.Error(), "/tmp: input/output error") || !strings.Contains(Hint(err), "--temp-dir") {
			t.Errorf("%s: %v; hint: %s", KindOf(err), err, Hint(err))
		}
	}
}

type brokenFile struct{ spill.File }

func (brokenFile) WriteAt([]byte, int64) (int, error) { return 0, syscall.EIO }
func (brokenFile) ReadAt([]byte, int64) (int, error)  { return 0, syscall.EIO }

// TestManyCopiesOfAKey: a key that stands a hundred thousand times in the source, which no band divides.
func TestManyCopiesOfAKey(t *testing.T) {
	lines := []string{"id,name,v,dt"}
	for i := range 100_000 {
		lines = append(lines, fmt.Sprintf("7,new,%d,2026-11-01", i*7919%100_000))
	}
	lines = append(lines, days(1000, 1, "other")[1:]...)
	for i := len(lines) - 1000; i < len(lines); i++ {
		lines[i] = strings.Replace(lines[i], ",2026", ",5,2026", 1)
	}
	for _, c := range []struct {
		options Options
		version int
		kind    Kind
	}{
		{options: Options{OrderBy: []string{"v"}}, version: 99_999},
		{options: Options{OrderBy: []string{"v:desc"}}, version: 0},
		{options: Options{SourceDuplicates: "first"}, version: 0},
		{options: Options{SourceDuplicates: "last"}, version: 5},
		{kind: KindDuplicateKey},
	} {
		b := newBench(t)
		b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string, v int", Key: []string{"id"}},
			b.write("first.csv", "id,name,v,dt", "7,old,3,2026-11-01", "8,old,3,2026-11-01"))
		o := c.options
		o.Memory, o.TempDir = 64<<10, t.TempDir()
		rep, err := b.try(o, b.write("source.csv", lines...))
		if KindOf(err) != c.kind {
			t.Fatalf("%+v: %v", c.options, err)
		}
		if err != nil {
			continue
		}
		rows := rep.Total.Rows
		if want := int64(100_000); rows.SourceDuplicates+rows.StaleSkipped < want || rows.Source != 101_000 {
			t.Errorf("%+v: %+v", c.options, rows)
		}
		want := fmt.Sprintf("v=%d", c.version)
		if list := b.rows(); !slices.ContainsFunc(list, func(l string) bool { return strings.Contains(l, " id=7 ") && strings.HasSuffix(l, want) }) {
			t.Errorf("%+v: no %s", c.options, want)
		}
	}
}

// TestVersionsThatAreNotStored decide among the source's rows only, in bands as without.
func TestVersionsThatAreNotStored(t *testing.T) {
	lines := []string{"id,name,seq,dt"}
	for i := range 3000 {
		lines = append(lines, fmt.Sprintf("%d,a%d,%d,2026-11-01", i%1000, i, i*7919%3000))
	}
	for _, order := range [][]string{{"seq"}, {"seq", "name"}, {"name:desc", "seq"}} {
		var rows []string
		for _, memory := range []int64{0, 64 << 10, 1} {
			b := newBench(t)
			b.create(days(500, 1, "Z")[1:]...)
			b.upsert(Options{OrderBy: order, NewColumns: "ignore", Memory: memory, TempDir: t.TempDir()}, b.write("source.csv", lines...))
			if got := b.rows(); rows == nil {
				rows = got
			} else if !slices.Equal(got, rows) {
				t.Errorf("%v, memory %d: other rows", order, memory)
			}
		}
	}
}

// TestOneColumn: a source with nothing but the key.
func TestOneColumn(t *testing.T) {
	lines := []string{"id"}
	for i := range 3000 {
		lines = append(lines, fmt.Sprint(i*7919%3000))
	}
	for _, memory := range []int64{0, 1} {
		b := newBench(t)
		o := Options{Key: []string{"id"}, Memory: memory, TempDir: t.TempDir()}
		create := o
		create.Create, create.PartitionBy, create.Schema = true, []string{}, "id bigint"
		b.upsert(create, b.write("first.csv", lines[:1000]...))
		if rows := b.upsert(o, b.write("source.csv", lines...)).Total.Rows; rows.Unchanged != 999 || rows.Inserted != 2001 {
			t.Errorf("memory %d: %+v", memory, rows)
		}
		o.Mode = Delete
		if rows := b.upsert(o, b.write("source.csv", lines[:2000]...)).Total.Rows; rows.Deleted != 1999 || rows.Out != 1001 {
			t.Errorf("memory %d: %+v", memory, rows)
		}
	}
}
