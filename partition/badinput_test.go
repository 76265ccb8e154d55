package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
)

// damage changes the only file of a partition.
func (b *bench) damage(partition string, change func(data []byte) []byte) {
	b.t.Helper()
	name := onlyParquet(b.t, b.path("orders/"+partition))
	data, err := os.ReadFile(name)
	if err == nil {
		err = os.WriteFile(name, change(data), 0o644)
	}
	if err != nil {
		b.t.Fatal(err)
	}
}

// Whatever is refused names what is wrong, has its kind, and leaves the table byte for byte as it
// was, modification times included.
func TestBadInput(t *testing.T) {
	const day = "dt=2026-11-20"
	good := []string{"id,name,dt", "1,anna,2026-11-20"}
	zero := 0.0
	none := int64(0)
	for _, c := range []struct {
		name    string
		prepare func(b *bench)
		source  []string // lines of day.csv; nil: good
		from    string   // another source
		o       Options
		kind    Kind
		is      error
		place   string // file, or file:line, as a report has it
		message string
	}{
		{name: "truncated file in the partition", prepare: func(b *bench) { b.damage(day, func(d []byte) []byte { return d[:len(d)/2] }) },
			kind: KindCorrupt, is: ErrCorrupt, place: "part-00000", message: "part-00000"},
		{name: "no Parquet magic", prepare: func(b *bench) { b.write("orders/"+day+"/notes.txt", "hello, this is not Parquet at all") },
			kind: KindCorrupt, is: ErrCorrupt, place: "notes.txt", message: "notes.txt"},
		{name: "empty file", prepare: func(b *bench) { b.damage(day, func([]byte) []byte { return nil }) },
			kind: KindCorrupt, is: ErrCorrupt, place: "part-00000", message: "empty"},
		{name: "flipped page bytes", prepare: func(b *bench) {
			b.damage(day, func(d []byte) []byte {
				for i := 4; i < 24; i++ {
					d[i] ^= 0xFF
				}
				return d
			})
		}, kind: KindCorrupt, is: ErrCorrupt, place: "part-00000", message: day},
		{name: "encrypted file", prepare: func(b *bench) {
			b.damage(day, func(d []byte) []byte { return append(d[:len(d)-4], "PARE"...) })
		}, kind: KindCorrupt, is: ErrCorrupt, place: "part-00000", message: "encrypted"},
		{name: "corrupt source", prepare: func(b *bench) { b.write("bad.parquet", "PAR1 nothing here PAR1") }, from: "bad.parquet",
			kind: KindCorrupt, is: ErrCorrupt, place: "bad.parquet", message: "bad.parquet"},
		{name: "absent source", from: "none.csv", kind: KindNotFound, is: ErrNotFound, place: "none.csv", message: "none.csv"},
		{name: "glob without a match", from: "none/*.csv", kind: KindNotFound, is: ErrNotFound, place: "*.csv", message: "none/*.csv"},
		{name: "unknown format", prepare: func(b *bench) { b.write("data.bin", "what?") }, from: "data.bin", kind: KindUsage, is: ErrUsage, place: "data.bin", message: "data.bin"},
		{name: "the table as its own source", from: "orders/" + day, kind: KindUsage, is: ErrUsage, place: "part-00000", message: "the table itself"},

		{name: "a value that does not parse", source: []string{"id,name,dt", "1,a,2026-11-20", "x,b,2026-11-20"},
			kind: KindValue, is: ErrValue, place: "day.csv:3", message: "day.csv:3: column id"},
		{name: "a row of the wrong length", source: []string{"id,name,dt", "1,a,2026-11-20,9"}, kind: KindValue, is: ErrValue, place: "day.csv:2", message: "day.csv:2"},
		{name: "too many rejects", source: []string{"id,name,dt", "1,a,2026-11-20", "x,b,2026-11-20"}, o: Options{Rejects: "REJECTS", MaxRejects: &none},
			kind: KindGuard, is: ErrGuard, place: "day.csv:3", message: "day.csv:3"},
		{name: "a partition that is no date", source: []string{"id,name,dt", "1,a,yesterday"}, kind: KindValue, is: ErrValue, place: "day.csv:2", message: "column dt"},
		{name: "no partition column", source: []string{"id,name", "1,a"}, kind: KindSchema, is: ErrSchema, place: "day.csv", message: "column dt"},
		{name: "NULL key", source: []string{"id,name,dt", ",a,2026-11-20"}, kind: KindNullKey, is: ErrNullKey, place: "day.csv:2", message: day},
		{name: "duplicate key", source: []string{"id,name,dt", "1,a,2026-11-20", "1,b,2026-11-20"}, kind: KindDuplicateKey, is: ErrDuplicateKey, place: "day.csv:2", message: "1"},
		{name: "missing column", source: []string{"id,dt", "1,2026-11-20"}, kind: KindSchema, is: ErrSchema, message: "name"},
		{name: "new column", source: []string{"id,name,dt,extra", "1,a,2026-11-20,x"}, kind: KindSchema, is: ErrSchema, message: "extra"},
		{name: "stray rows", source: []string{"id,name,dt", "1,a,2026-11-20", "2,b,2026-11-21", "3,b,2026-11-21"}, o: Options{Partitions: []string{day}},
			kind: KindStrayRows, is: ErrStrayRows, place: "day.csv:3", message: "dt=2026-11-21 (rows: 2"},
		{name: "stray rows of a mirror", source: []string{"id,name,dt", "2,b,2026-11-21"}, o: Options{Mode: Mirror, Partitions: []string{day}},
			kind: KindGuard, is: ErrGuard, place: "day.csv:2", message: "dt=2026-11-21"},
		{name: "rejected rows of a mirror", source: []string{"id,name,dt", "1,a,2026-11-20", "x,b,2026-11-20"}, o: Options{Mode: Mirror, Rejects: "REJECTS"},
			kind: KindGuard, is: ErrGuard, message: "rejected"},
		{name: "too many deletions", source: []string{"id,name,dt", "1,a,2026-11-20"}, o: Options{Mode: Delete, MaxDeleteRatio: &zero},
			kind: KindGuard, is: ErrGuard, message: "remove 1 of 2"},
		{name: "empty source of a mirror", source: []string{"id,name,dt"}, o: Options{Mode: Mirror, Partitions: []string{day}}, kind: KindGuard, is: ErrGuard, message: "empty"},
		{name: "empty source of an unnamed replace", source: []string{"id,name,dt"}, o: Options{Mode: Replace}, kind: KindGuard, is: ErrGuard, message: "empty"},
		{name: "rows required", source: []string{"id,name,dt"}, o: Options{RequireRows: true}, kind: KindGuard, is: ErrGuard, message: "no rows"},

		{name: "no key", o: Options{Key: []string{}}, kind: KindUsage, is: ErrUsage, message: "needs a key"},
		{name: "bad options", o: Options{Mode: "merge", Compression: "lzo", Verify: "maybe", StrayRows: "drop", OrderBy: []string{"a:b"}},
			kind: KindUsage, is: ErrUsage, message: "compression"},
		{name: "unknown partition column", o: Options{Partitions: []string{"day=1"}}, kind: KindUsage, is: ErrUsage, message: "partitioned by dt"},

		{name: "a Delta table", prepare: func(b *bench) { b.write("orders/_delta_log/0.json", "{}") }, kind: KindForeignTable, is: ErrForeignTable, place: "_delta_log", message: "Delta"},
		{name: "a Hudi table", prepare: func(b *bench) { b.write("orders/.hoodie/x", "") }, kind: KindForeignTable, is: ErrForeignTable, place: ".hoodie", message: "Hudi"},
		{name: "an Iceberg table", prepare: func(b *bench) { b.write("orders/metadata/v1.metadata.json", "{}") }, kind: KindForeignTable, is: ErrForeignTable, place: "metadata", message: "Iceberg"},
		{name: "a transactional partition", prepare: func(b *bench) { b.write("orders/"+day+"/delta_0000001_0000001_0000/bucket_00000", "x") },
			kind: KindForeignTable, is: ErrForeignTable, place: "delta_0000001_0000001_0000", message: "transactional"},
		{name: "a folder in a partition", prepare: func(b *bench) { b.write("orders/"+day+"/sub/x", "x") }, kind: KindLayout, is: ErrLayout, place: "part-00000", message: "sub"},
		{name: "a symlink", prepare: func(b *bench) {
			if err := os.Symlink(day, b.path("orders/dt=2026-11-22")); err != nil {
				b.t.Fatal(err)
			}
		}, kind: KindLayout, is: ErrLayout, place: "dt=2026-11-22", message: "symlink"},
		{name: "another writer", prepare: func(b *bench) { b.write("orders/"+day+"/_temporary/0/x", "x") }, kind: KindConflict, is: ErrConflict, place: "_temporary", message: "_temporary"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-21")
			if c.prepare != nil {
				c.prepare(b)
			}
			lines := c.source
			if lines == nil {
				lines = good
			}
			from := b.write("day.csv", lines...)
			if c.from != "" {
				from = b.path(c.from)
			}
			if c.o.Rejects != "" {
				c.o.Rejects = b.path("rejects.ndjson")
			}
			before := b.snapshot()
			rep, err := b.try(c.o, from)
			if !errors.Is(err, c.is) || KindOf(err) != c.kind || !strings.Contains(err.Error(), c.message) {
				t.Fatalf("%v (kind %s), want kind %s with %q", err, KindOf(err), c.kind, c.message)
			}
			if Hint(err) == "" && c.kind != KindUsage {
				t.Errorf("%v has no hint", err)
			}
			reported := []*ErrorReport{rep.Error}
			for _, p := range rep.Partitions {
				if p.Status == Published {
					t.Errorf("%s is published", p.Partition)
				}
				reported = append(reported, p.Error)
			}
			checkReported(t, reported, err, c.place)
			if b.snapshot() != before {
				t.Errorf("the table changed:\n%s\nwas\n%s", b.snapshot(), before)
			}
			b.clean()
		})
	}
}

// checkReported checks that one error is in a report, with the place that is wanted, and that it says no
// place twice.
func checkReported(t *testing.T, reported []*ErrorReport, err error, place string) {
	t.Helper()
	var found *ErrorReport
	for _, r := range reported {
		if r != nil && found == nil {
			found = r
		}
	}
	if found == nil {
		t.Fatalf("no error in the report of %v", err)
	}
	got := ""
	if found.File != "" {
		got = filepath.Base(found.File)
	}
	switch {
	case found.Line > 0:
		got += ":" + strconv.FormatInt(found.Line, 10)
	case found.Row > 0:
		got += " row " + strconv.FormatInt(found.Row, 10)
	}
	if strings.HasPrefix(got, "part-00000") {
		got = "part-00000"
	}
	if got != place {
		t.Errorf("%v is at %q in the report, want %q", err, got, place)
	}
	if found.File != "" && strings.Count(err.Error(), found.File) != 1 && found.Kind != KindDuplicateKey {
		t.Errorf("%v names %s %d times, want once", err, found.File, strings.Count(err.Error(), found.File))
	}
	if found.Hint != Hint(err) || found.Kind != KindOf(err) || found.Message == "" {
		t.Errorf("%v is reported as %+v", err, found)
	}
}

// A row of a format without lines is named by its number.
func TestPlaceOfRow(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	other := newBench(t)
	other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, name string, dt date", Mode: Append},
		other.write("a.csv", "id,name,dt", "1,anna,2026-11-20", ",nobody,2026-11-20"))
	from := onlyParquet(t, other.root())
	rep, err := b.try(Options{}, from)
	if e := rep.Partitions[0].Error; !errors.Is(err, ErrNullKey) || e.File != from || e.Row != 2 || e.Line != 0 || e.Column != "id" || strings.Count(err.Error(), from) != 1 {
		t.Errorf("%v, reported %+v", err, e)
	}
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, {Name: "name", Type: arrow.BinaryTypes.String}, {Name: "dt", Type: arrow.BinaryTypes.String}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"id":null,"name":"x","dt":"2026-11-20"}]`))
	if err != nil {
		t.Fatal(err)
	}
	reader, err := array.NewRecordReader(schema, []arrow.Record{rec})
	if err != nil {
		t.Fatal(err)
	}
	rep, err = b.open().Upsert(context.Background(), Records(reader), Options{Key: []string{"id"}})
	if e := rep.Partitions[0].Error; !errors.Is(err, ErrNullKey) || e.File != "" || e.Row != 1 {
		t.Errorf("%v, reported %+v", err, e)
	}
	for text, want := range map[string][3]any{"a.csv:17": {"a.csv", 17, 0}, "a b.parquet row 12": {"a b.parquet", 0, 12}, "record row 3": {"", 0, 3}, "12:5": {"12", 5, 0}} {
		file, line, row := parsePosition(text)
		if file != want[0] || line != int64(want[1].(int)) || row != int64(want[2].(int)) {
			t.Errorf("%q is read as %q, %d, %d", text, file, line, row)
		}
	}
}

// What people do wrong at first, and what they are told then.
func TestHints(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	ctx := context.Background()
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")
	packed, xz := b.write("day.gz", "\x1f\x8b and so on"), b.write("day.csv.xz", "\xfd7zXZ and so on")
	for _, c := range []struct {
		name       string
		do         func() error
		kind       Kind
		text, hint string
	}{
		{"a partition for a table", func() error {
			_, err := Open(ctx, b.path("orders/dt=2026-11-20"), Config{})
			return err
		}, KindUsage, "is a partition, not a table", b.root() + ", and --partition dt=2026-11-20"},
		{"a comma in a value", func() error {
			_, err := b.try(Options{Partitions: []string{"name=a, b"}}, day)
			return err
		}, KindUsage, `"b" is not COL=VALUE`, "%2C"},
		{"a compressed source", func() error {
			_, err := b.try(Options{}, packed)
			return err
		}, KindUsage, "day.gz: the file is compressed", "--format csv"},
		{"a source compressed otherwise", func() error {
			_, err := b.try(Options{}, xz)
			return err
		}, KindUsage, "day.csv.xz: the file is compressed", "xzcat"},
		{"Parquet through a pipe", func() error {
			_, err := b.open().Upsert(ctx, Source{From: []string{"-"}, Format: "parquet", Stdin: strings.NewReader("PAR1")}, Options{Key: []string{"id"}})
			return err
		}, KindUsage, "Parquet", "file"},
		{"semicolons", func() error {
			_, err := b.try(Options{}, b.write("semi.csv", "id;name;dt", "1;x;2026-11-20"))
			return err
		}, KindSchema, "the header line is one column, \"id;name;dt\"", "--csv-delimiter ';'"},
		{"rejects to nowhere", func() error {
			_, err := b.try(Options{Rejects: b.path("none/r.ndjson")}, day)
			return err
		}, KindNotFound, "there is no folder " + b.path("none"), "make it"},
		{"no such run", func() error {
			_, err := b.open().Rollback(ctx, RollbackOptions{Run: "20200101T000000Z-0000"})
			return err
		}, KindNotFound, "no run 20200101T000000Z-0000", "history"},
		{"a negative time", func() error {
			_, err := b.open().Vacuum(ctx, VacuumOptions{Keep: -1})
			return err
		}, KindUsage, "must not be negative", ""},
		{"a week", func() error {
			_, err := b.open().SetConfig(ctx, map[string]string{"keep-history": "7d"})
			return err
		}, KindUsage, `keep-history "7d": want a duration such as 168h`, ""},
	} {
		err := c.do()
		if KindOf(err) != c.kind || !strings.Contains(err.Error(), c.text) || !strings.Contains(Hint(err), c.hint) {
			t.Errorf("%s: %v (kind %s, hint %q), want %s: %q, hint %q", c.name, err, KindOf(err), Hint(err), c.kind, c.text, c.hint)
		}
	}
	if text := storageHint(&os.LinkError{Op: "rename", Err: syscall.EXDEV}); !strings.Contains(text, "--state-dir") {
		t.Errorf("the state on another file system: %q", text)
	}
	rep := b.upsert(Options{Mode: Append, OrderBy: []string{"name"}}, day)
	if len(rep.Warnings) > 0 {
		t.Errorf("a version column of an append: %q", rep.Warnings)
	}
}

func TestAllBadOptionsAreReported(t *testing.T) {
	o := Options{Mode: "merge", Compression: "lzo", OrderBy: []string{"a:b"}, Casts: []string{"x"}, Retry: -1, Partitions: []string{"x"}, SourceTimezone: "Nowhere/At"}
	o.setDefaults(TableConfig{})
	_, err := o.validate()
	for _, want := range []string{"mode", "compression", "order-by", "cast", "retry", "partition", "source-timezone"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v lacks %q", err, want)
		}
	}
}

// Messages that count say "1 row is" and "2 rows are".
func TestNumberAgrees(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	none, one := int64(0), int64(1)
	lines := []string{"id,name,dt,x,y", "x,bad,2026-11-20,1,2", "y,bad,2026-11-20,1,2", "3,empty,,1,2"}
	for _, c := range []struct {
		o     Options
		lines int
		want  string
	}{
		{Options{MaxRejects: &none, Rejects: b.path("r")}, 2, "1 row is rejected, the last at"},
		{Options{MaxRejects: &one, Rejects: b.path("r")}, 3, "2 rows are rejected, the last at"},
		{Options{Mode: Mirror, Rejects: b.path("r")}, 2, "1 of its rows was rejected"},
		{Options{Mode: Mirror, Rejects: b.path("r")}, 3, "2 of its rows were rejected"},
	} {
		c.o.NewColumns = "ignore"
		if _, err := b.try(c.o, b.write("day.csv", lines[:c.lines]...)); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%v, want %q", err, c.want)
		}
	}
	b = newBench(t)
	first := b.write("first.csv", "id,dt", "1,2026-11-20")
	b.upsert(Options{Create: true, PartitionBy: []string{"dt"}, Schema: "id bigint"}, first)
	rep := b.upsert(Options{NewColumns: "ignore"}, b.write("day.csv", `id,dt,x`, `3,"",1`))
	if got := strings.Join(rep.Warnings, "\n"); !strings.Contains(got, "1 row has the empty text") || !strings.Contains(got, "a column the table lacks was left out: x") {
		t.Errorf("warned %q", got)
	}
	if got := plural(2, "row", "rows") + plural(1, "row", "rows") + plural(0, "row", "rows"); got != "2 rows1 row0 rows" {
		t.Error(got)
	}
}

func TestRejectFile(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	file := b.path("rejects.ndjson")
	rep := b.upsert(Options{Rejects: file, NullKeys: "reject", StrayRows: "reject", Partitions: []string{"dt=2026-11-20"}},
		b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", "2,bob,2026-11-20", ",none,2026-11-20", "3,far,2026-11-21"))
	data, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(data)), "\n")
	for i, want := range []string{"parse", "stray", "null_key"} {
		if i >= len(lines) || !strings.Contains(lines[i], `"reason":"`+want+`"`) || !strings.Contains(lines[i], "day.csv:") {
			t.Errorf("reject %d of\n%s\nwant reason %s", i, data, want)
		}
	}
	if r := rep.Total.Rows; r.Source != 4 || r.Rejected != 2 || r.NullKeys != 1 || r.Inserted != 1 {
		t.Errorf("counted %+v", r)
	}
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=2 name=bob")
	b.upsert(Options{Rejects: file}, b.write("day.csv", "id,name,dt", "2,bob,2026-11-20"))
	if data, err := os.ReadFile(file); err != nil || len(data) > 0 {
		t.Errorf("a run without rejects left those of the one before: %s, %v", data, err)
	}
}

func TestChangedMeanwhile(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	touched := false
	b.cfg.Observer = func(e Event) {
		if e.Step == StepPublish && !touched {
			touched = true
			copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-21")), b.path("orders/dt=2026-11-21/more.parquet"))
		}
	}
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "3,cid,2026-11-21")
	rep, err := b.try(Options{}, day)
	if !errors.Is(err, ErrConflict) || statuses(rep) != "dt=2026-11-20 undone, dt=2026-11-21 conflict" ||
		err.Error() != "dt=2026-11-21: changed meanwhile: more.parquet is new" {
		t.Fatalf("%v, %s", err, statuses(rep))
	}
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-21: id=2 name=bob", "dt=2026-11-21: id=2 name=bob")
	b.clean()

	touched = false
	if err := os.Remove(b.path("orders/dt=2026-11-21/more.parquet")); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{Retry: 1}, day) // the second start sees the file that came
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-21: id=2 name=bob", "dt=2026-11-21: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
	b.clean()
}

// A file that is gone since the partition was listed is a change, not a fault of the disk.
func TestFileVanishes(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	more := b.path("orders/dt=2026-11-21/more.parquet")
	copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-21")), more)
	b.cfg.Observer = func(e Event) {
		if e.Step == StepMerge && e.Partition == "dt=2026-11-21" {
			if err := os.Remove(more); err != nil && !errors.Is(err, os.ErrNotExist) {
				t.Fatal(err)
			}
		}
	}
	day := b.write("day.csv", "id,name,dt", "3,cid,2026-11-21")
	rep, err := b.try(Options{}, day)
	if !errors.Is(err, ErrConflict) || KindOf(err) != KindConflict || statuses(rep) != "dt=2026-11-21 conflict" {
		t.Errorf("%v (kind %s), %s", err, KindOf(err), statuses(rep))
	}
	copyFile(t, onlyParquet(t, b.path("orders/dt=2026-11-21")), more)
	b.upsert(Options{Retry: 1}, day)
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-21: id=2 name=bob", "dt=2026-11-21: id=3 name=cid")
}

func TestLocked(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	ctx := context.Background()
	other, err := b.open().store.Begin(ctx, "20261120T000000Z-ffff", "upsert", true)
	if err == nil {
		err = other.Lease(ctx, []string{"dt=2026-11-20"})
	}
	if err != nil {
		t.Fatal(err)
	}
	before := b.snapshot()
	day := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bert,2026-11-21")
	if _, err := b.try(Options{}, day); !errors.Is(err, ErrLocked) || KindOf(err) != KindLocked || b.snapshot() != before {
		t.Errorf("%v", err)
	}
	rep, err := b.try(Options{}, day)
	host, _ := os.Hostname()
	want := fmt.Sprintf("dt=2026-11-20: held by run 20261120T000000Z-ffff (process %d on %s, since ", os.Getpid(), host)
	if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Count(err.Error(), "dt=") != 1 {
		t.Errorf("%v, want %q", err, want)
	}
	if a, b := rep.Partitions[0].Error, rep.Partitions[1].Error; a.Kind != KindLocked || a.Partition != "" || b.Kind != KindLocked || b.Partition != "dt=2026-11-20" {
		t.Errorf("reported %+v and %+v", a, b)
	}
	b.upsert(Options{}, b.write("other.csv", "id,name,dt", "2,bert,2026-11-21")) // another partition is free
	if err := other.Abort(ctx); err != nil {
		t.Fatal(err)
	}
	b.upsert(Options{}, day)
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-21: id=2 name=bert")
}

// Errors of the storage keep their cause, are of kind storage, and publish nothing.
func TestStorageFails(t *testing.T) {
	for _, c := range []struct {
		name string
		rule faultfs.Rule
		want error
	}{
		{"the disk is full", faultfs.Rule{Op: faultfs.Write, Path: "*.parquet", Err: syscall.ENOSPC, Half: true}, syscall.ENOSPC},
		{"the staging can't be made", faultfs.Rule{Op: faultfs.Mkdir, Path: "data", Err: syscall.EACCES}, os.ErrPermission},
		{"an fsync fails", faultfs.Rule{Op: faultfs.Sync, Path: "*.parquet", Err: syscall.EIO}, syscall.EIO},
		{"a file can't be read", faultfs.Rule{Op: faultfs.Read, Path: "*.parquet", Err: syscall.EIO}, syscall.EIO},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
			before := b.snapshot()
			faulty := faultfs.Wrap(local.FS{})
			faulty.Inject(&c.rule)
			b.cfg.FS = faulty
			_, err := b.try(Options{}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "5,new,2026-11-21"))
			if !errors.Is(err, c.want) || KindOf(err) != KindStorage || b.snapshot() != before {
				t.Errorf("%v (kind %s), want %v; the table changed: %v", err, KindOf(err), c.want, b.snapshot() != before)
			}
			b.cfg.FS = nil
			if _, err := b.open().Recover(context.Background()); err != nil {
				t.Fatal(err)
			}
			b.clean()
		})
	}
}

// A run that is interrupted at any step publishes nothing and leaves nothing.
func TestInterrupted(t *testing.T) {
	for _, at := range []Step{StepOpen, StepRecover, StepSource, StepRoute, StepLock, StepList, StepMerge, StepWrite, StepVerify} {
		t.Run(string(at), func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
			before := b.snapshot()
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			b.cfg.Observer = func(e Event) {
				if e.Step == at {
					cancel()
				}
			}
			from := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "5,new,2026-11-21")
			_, err := b.open().Upsert(ctx, Source{From: []string{from}}, Options{Key: []string{"id"}})
			if !errors.Is(err, context.Canceled) || KindOf(err) != KindInterrupted || b.snapshot() != before {
				t.Errorf("%v (kind %s), the table changed: %v", err, KindOf(err), b.snapshot() != before)
			}
			b.clean()
		})
	}
}

func TestStateOfAnotherTable(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")) // the second run knows the folder
	if _, err := Open(context.Background(), b.path("other"), Config{StateDir: b.path(".hupsert/orders")}); KindOf(err) != KindUsage {
		t.Errorf("%v, want a usage error", err)
	}
	for _, url := range []string{"s3://bucket/x", "", "file://host/x", "/"} {
		if _, err := Open(context.Background(), url, Config{}); KindOf(err) != KindUsage {
			t.Errorf("Open(%q): %v, want a usage error", url, err)
		}
	}
}

func TestTableBehindASymlink(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	if err := os.Mkdir(b.path("links"), 0o755); err != nil {
		t.Fatal(err)
	}
	link := b.path("links/orders")
	if err := os.Symlink(b.root(), link); err != nil {
		t.Fatal(err)
	}
	table, err := Open(context.Background(), link, Config{})
	if err != nil {
		t.Fatal(err)
	}
	if want, _ := filepath.EvalSymlinks(b.path(".hupsert/orders")); table.StateDir() != want {
		t.Errorf("the state is in %s, want %s: beside the folder, not beside the link", table.StateDir(), want)
	}
	from := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")
	if _, err := table.Upsert(context.Background(), Source{From: []string{from}}, Options{Key: []string{"id"}}); err != nil {
		t.Fatal(err)
	}
	b.want("dt=2026-11-20: id=1 name=anna")
}

func TestStandardInput(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	src := Source{From: []string{"-"}, Format: "ndjson", Stdin: bytes.NewBufferString(`{"id":1,"name":"anna","dt":"2026-11-20"}` + "\n" + `{"id":2,"dt":"2026-11-20"}` + "\n")}
	if _, err := b.open().Upsert(context.Background(), src, Options{Key: []string{"id"}}); err != nil {
		t.Fatal(err)
	}
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-20: id=2 name=NULL")
	src.Format = ""
	if _, err := b.open().Upsert(context.Background(), src, Options{Key: []string{"id"}}); !errors.Is(err, ErrUsage) {
		t.Errorf("without a format: %v", err)
	}
}
