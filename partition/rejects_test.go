package partition

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// rejected reads a reject file: its lines without their rows, and the rows.
func rejected(t *testing.T, name string) (lines []reject, rows []string) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range strings.Split(strings.TrimSuffix(string(data), "\n"), "\n") {
		if text == "" {
			continue
		}
		var row reject
		if err := json.Unmarshal([]byte(text), &row); err != nil {
			t.Fatalf("%v in %s", err, text)
		}
		rows = append(rows, string(row.Row))
		row.Row = nil
		lines = append(lines, row)
	}
	return lines, rows
}

func exists(name string) bool {
	_, err := os.Stat(name)
	return err == nil
}

// TestRejectsComeBack: whatever a row is left out for, the reject file has all of it, so that it can be mended
// and merged after all.
func TestRejectsComeBack(t *testing.T) {
	b := newBench(t)
	day := "dt=2026-11-20"
	b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string, amount decimal(20,2), tags array<string>", Key: []string{"id"}},
		b.write("first.ndjson", `{"id":1,"name":"ann","amount":"1.00","tags":["a"],"dt":"2026-11-20"}`))
	file := b.path("rejects.ndjson")
	o := Options{Rejects: file, NullKeys: "reject", StrayRows: "reject", Partitions: []string{day}, DeleteWhen: "gone"}
	from := b.write("day.ndjson",
		`{"id":"x","name":"bad <id>","amount":"123456789012345678.01","tags":["p",null],"dt":"2026-11-20","gone":"0"}`,
		`{"id":3,"name":"far","amount":3,"tags":[],"dt":"2026-11-21","gone":"0"}`,
		`{"id":null,"name":"none","amount":123456789012345678.25,"tags":["q","r"],"dt":"2026-11-20","gone":"0"}`,
		`{"id":5,"name":"mark","amount":null,"tags":null,"dt":"2026-11-20","gone":"perhaps"}`,
		`{"id":6,"name":"fine","amount":6,"tags":null,"dt":"2026-11-20","gone":"0"}`,
		`{"id":7,`)
	rep := b.upsert(o, from)
	if r := rep.Total.Rows; r.Source != 6 || r.Rejected != 4 || r.NullKeys != 1 || r.Inserted != 1 {
		t.Errorf("counted %+v", r)
	}
	lines, rows := rejected(t, file)
	var got []string
	for i, l := range lines {
		if l.File != from || l.Source != from+":"+strings.TrimPrefix(l.Source, from+":") || l.Line == 0 {
			t.Errorf("line %d: %+v", i, l)
		}
		got = append(got, strings.Join([]string{l.Reason, l.Source[len(from):], l.Partition, l.Column}, " "))
	}
	if want := []string{"parse :1  id", "parse :6  ", "parse :4  gone", "stray :2 dt=2026-11-21 ", "null_key :3 " + day + " "}; !slices.Equal(got, want) {
		t.Errorf("rejects %q, want %q", got, want)
	}
	if lines[1].Text != `{"id":7,` || rows[1] != "" {
		t.Errorf("a row that can't be taken apart: %+v", lines[1])
	}
	// Mended, they are merged like any other rows.
	var mended []string
	for _, row := range rows {
		row = strings.NewReplacer(`"id":"x"`, `"id":2`, `"id":null`, `"id":4`, "perhaps", "0").Replace(row)
		if row != "" {
			mended = append(mended, row)
		}
	}
	b.upsert(Options{DeleteWhen: "gone"}, b.write("mended.ndjson", mended...))
	want := []string{
		day + ": id=1 name=ann amount=1.00 tags=[a]",
		day + ": id=2 name=bad <id> amount=123456789012345678.01 tags=[p,null]",
		day + ": id=4 name=none amount=123456789012345678.25 tags=[q,r]",
		day + ": id=5 name=mark amount=null tags=null",
		day + ": id=6 name=fine amount=6.00 tags=null",
		"dt=2026-11-21: id=3 name=far amount=3.00 tags=[]",
	}
	b.wantJSON(want...)
}

// wantJSON compares the table with lines that are written exactly, nested values too.
func (b *bench) wantJSON(want ...string) {
	b.t.Helper()
	rep, err := b.open().Upsert(context.Background(), Source{From: []string{b.write("check.ndjson", b.ndjson(want)...)}},
		Options{Key: []string{"id"}, Mode: Mirror, AllowEmpty: true})
	if err != nil {
		b.t.Fatal(err)
	}
	for _, p := range rep.Partitions {
		if p.Status != Noop {
			b.t.Errorf("%s is not as wanted: %+v\n%s", p.Partition, p.Rows, strings.Join(b.rows(), "\n"))
		}
	}
}

// ndjson makes rows of "dt=...: a=1 b=[x,y]".
func (b *bench) ndjson(lines []string) (out []string) {
	for _, line := range lines {
		partition, cells, _ := strings.Cut(line, ": ")
		column, value, _ := strings.Cut(partition, "=")
		members := []string{quoted(column) + ":" + quoted(value)}
		for _, part := range strings.Split(cells, " ") {
			name, value, ok := strings.Cut(part, "=")
			switch {
			case !ok: // a blank in the text before
				last := len(members) - 1
				members[last] = strings.TrimSuffix(members[last], `"`) + " " + part + `"`
				continue
			case value == "null":
			case strings.HasPrefix(value, "["):
				var items []string
				for _, item := range strings.Split(strings.Trim(value, "[]"), ",") {
					if item != "" && item != "null" {
						item = quoted(item)
					}
					items = append(items, item)
				}
				value = "[" + strings.Join(items, ",") + "]"
			default:
				value = `"` + value + `"`
			}
			members = append(members, quoted(name)+":"+value)
		}
		out = append(out, "{"+strings.Join(members, ",")+"}")
	}
	return out
}

// TestRejectsOfText: CSV rows are objects where they have the header's fields, else the text, and where that
// is not UTF-8 its bytes.
func TestRejectsOfText(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	file := b.path("rejects.ndjson")
	b.upsert(Options{Rejects: file}, b.write("day.csv", "id,name,dt", `x,"a ""b"", c",2026-11-20`, "2,bob", "3,\xff,2026-11-20", "y,,"))
	lines, rows := rejected(t, file)
	if len(lines) != 4 || rows[0] != `{"id":"x","name":"a \"b\", c","dt":"2026-11-20"}` || lines[1].Text != "2,bob" ||
		string(lines[2].Bytes) != "3,\xff,2026-11-20" || lines[2].Text != "" || rows[3] != `{"id":"y","name":null,"dt":null}` {
		t.Errorf("%+v\n%q", lines, rows)
	}
}

// TestRejectsOfParquet: a row of Parquet has no line, and columns that the table lacks are told too.
func TestRejectsOfParquet(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	other := &bench{t: t, dir: t.TempDir()}
	other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, name string, op string, dt date", Mode: Append},
		other.write("f.csv", "id,name,op,dt", "1,ann,U,2026-11-20", ",gone,D,2026-11-20"))
	file := b.path("rejects.ndjson")
	b.upsert(Options{Rejects: file, NullKeys: "reject", DeleteWhen: "op=D"}, other.root())
	lines, rows := rejected(t, file)
	if len(lines) != 1 || lines[0].RowNumber != 2 || lines[0].Line != 0 || !strings.HasSuffix(lines[0].File, ".parquet") ||
		rows[0] != `{"dt":"2026-11-20","id":null,"name":"gone","op":"D"}` {
		t.Errorf("%+v\n%q", lines, rows)
	}
}

// TestRejectsOfOldRows: a repaired copy leaves the table, so the file has all its columns.
func TestRejectsOfOldRows(t *testing.T) {
	b := newBench(t)
	o := Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string, amount decimal(38,10), v int", Mode: Append}
	b.upsert(o, b.write("first.csv", "id,name,amount,v,dt", "1,first,1234567890123456789012345678.0123456789,1,2026-11-20", "2,other,2,5,2026-11-20", "1,second,3,2,2026-11-20"))
	file := b.path("rejects.ndjson")
	rep := b.upsert(Options{Key: []string{"id"}, OrderBy: []string{"v"}, OldDuplicates: "repair", Rejects: file},
		b.write("day.csv", "id,name,amount,v,dt", "1,third,4,3,2026-11-20"))
	if r := rep.Total.Rows; r.OldDuplicates != 1 || r.Updated != 1 || r.Rejected != 0 {
		t.Errorf("counted %+v", r)
	}
	lines, rows := rejected(t, file)
	if len(lines) != 1 || lines[0].Reason != "old_duplicate" || lines[0].RowNumber != 1 || lines[0].Partition != "dt=2026-11-20" ||
		rows[0] != `{"dt":"2026-11-20","id":1,"name":"first","amount":"1234567890123456789012345678.0123456789","v":1}` {
		t.Errorf("%+v\n%q", lines, rows)
	}
	b.want("dt=2026-11-20: id=1 name=third amount=4 v=3", "dt=2026-11-20: id=2 name=other amount=2 v=5")
}

// TestRejectLimit: as many rows as are allowed, whatever they are left out for; one more stops the run, and
// the plan.
func TestRejectLimit(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	file := b.path("rejects.ndjson")
	from := b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", ",none,2026-11-20", "3,far,2026-11-22", ",none,2026-11-21", "4,dan,2026-11-20")
	for limit := range int64(6) {
		o := Options{Key: []string{"id"}, Rejects: file, NullKeys: "reject", StrayRows: "reject", MaxRejects: &limit, Partitions: []string{"dt=2026-11-20", "dt=2026-11-21"}}
		before := b.snapshot()
		plan, planErr := b.open().Plan(context.Background(), Source{From: []string{from}}, o)
		if exists(file) || exists(file+".partial") || b.snapshot() != before {
			t.Fatal("the plan wrote")
		}
		rep, err := b.try(o, from)
		if limit >= 4 {
			if err != nil || planErr != nil || rep.Total.Rows.Rejected+rep.Total.Rows.NullKeys != 4 || plan.Total.Rows != rep.Total.Rows {
				t.Errorf("limit %d: %v, plan %v, %+v", limit, err, planErr, rep.Total.Rows)
			}
			if lines, _ := rejected(t, file); len(lines) != 4 {
				t.Errorf("%d rejects", len(lines))
			}
			b.upsert(Options{Mode: Delete}, b.write("undo.csv", "id,dt", "4,2026-11-20"))
			if err := os.Remove(file); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if !errors.Is(err, ErrGuard) || !errors.Is(planErr, ErrGuard) || !strings.Contains(err.Error(), "rejected, the last at") || b.snapshot() != before {
			t.Errorf("limit %d: %v, plan %v, changed: %v", limit, err, planErr, b.snapshot() != before)
		}
		if exists(file) {
			t.Errorf("limit %d: a run that failed left %s", limit, file)
		}
		if lines, _ := rejected(t, file+".partial"); int64(len(lines)) < limit+1 {
			t.Errorf("limit %d: %d rejects", limit, len(lines))
		}
		if err := os.Remove(file + ".partial"); err != nil {
			t.Fatal(err)
		}
	}
	b.clean()
}

// TestRejectFileOfRuns: what lies there is of the last run that did its work; a run that fails leaves it, and
// tells what it found in another one.
func TestRejectFileOfRuns(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	file := b.path("rejects.ndjson")
	count := func(name string) int {
		if !exists(name) {
			return -1
		}
		lines, _ := rejected(t, name)
		return len(lines)
	}
	check := func(what string, whole, partial int) {
		t.Helper()
		if count(file) != whole || count(file+".partial") != partial {
			t.Errorf("%s: %d and %d rejects, want %d and %d", what, count(file), count(file+".partial"), whole, partial)
		}
		left, err := os.ReadDir(b.dir)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range left {
			if strings.Contains(f.Name(), ".tmp") {
				t.Errorf("%s left %s", what, f.Name())
			}
		}
	}
	o := Options{Rejects: file, NullKeys: "reject"}
	b.upsert(o, b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", ",none,2026-11-20"))
	check("a run with nothing but rejects", 2, -1)
	_, err := b.try(o, b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", "2,bob,2026-11-20,more", "2,bob,2026-11-20", "2,bert,2026-11-20"))
	if !errors.Is(err, ErrDuplicateKey) {
		t.Fatal(err)
	}
	check("a run that failed", 2, 2)
	b.upsert(o, b.write("day.csv", "id,name,dt", "3,cid,2026-11-20"))
	check("a run without rejects", 0, -1)
	_, err = b.try(o, b.write("day.csv", "id,name", "3,cid"))
	if !errors.Is(err, ErrSchema) {
		t.Fatal(err)
	}
	check("a run that failed without rejects", 0, -1)

	// After a conflict the rows are not there twice.
	touched := false
	b.cfg.Observer = func(e Event) {
		if e.Step == StepPublish && !touched {
			touched = true
			files, err := filepath.Glob(b.path("orders/dt=2026-11-20/*.parquet"))
			if err != nil || len(files) == 0 {
				t.Fatal(files, err)
			}
			copyFile(t, files[0], b.path("orders/dt=2026-11-20/more.parquet"))
		}
	}
	o.Retry = 1
	day := b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", ",none,2026-11-20", "7,new,2026-11-20")
	b.upsert(o, day)
	check("a run with a second start", 2, -1)
	touched, o.Retry = false, 0
	day = b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", ",none,2026-11-20", "8,new,2026-11-20", "y,bad,2026-11-20")
	if err := os.Remove(b.path("orders/dt=2026-11-20/more.parquet")); err != nil && !errors.Is(err, os.ErrNotExist) {
		t.Fatal(err)
	}
	if _, err = b.try(o, day); !errors.Is(err, ErrConflict) {
		t.Fatal(err)
	}
	check("a run with a conflict", -1, 3)
	b.clean()
}

// TestRejectFileBeforeThePublish: where the file can't be written, nothing is published.
func TestRejectFileBeforeThePublish(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	before := b.snapshot()
	file := b.path("out/rejects.ndjson")
	if err := os.Mkdir(b.path("out"), 0o755); err != nil {
		t.Fatal(err)
	}
	b.cfg.Observer = func(e Event) {
		if e.Step == StepPublish {
			if err := os.RemoveAll(b.path("out")); err != nil {
				t.Error(err)
			}
		}
	}
	_, err := b.try(Options{Rejects: file}, b.write("day.csv", "id,name,dt", "x,bad,2026-11-20", "2,bob,2026-11-20"))
	if err == nil || b.snapshot() != before {
		t.Errorf("%v, changed: %v", err, b.snapshot() != before)
	}
	b.clean()
}

// TestRejectFileOfPartialRuns: the rows of partitions that failed are not told as left out.
func TestRejectFileOfPartialRuns(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	file := b.path("rejects.ndjson")
	_, err := b.try(Options{Partial: true, NullKeys: "reject", Rejects: file}, b.write("day.csv", "id,name,dt", "3,cid,2026-11-20", ",none,2026-11-20",
		"4,dan,2026-11-21", "4,dora,2026-11-21", ",nobody,2026-11-21"))
	if !errors.Is(err, ErrDuplicateKey) {
		t.Fatal(err)
	}
	lines, _ := rejected(t, file)
	if len(lines) != 1 || lines[0].Partition != "dt=2026-11-20" {
		t.Errorf("%+v", lines)
	}
}

// TestRejectFileElsewhere: not in the table or its state, not over a source, no folder.
func TestRejectFileElsewhere(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	before := b.snapshot()
	day := b.write("day.csv", "id,name,dt", "x,bad,2026-11-20")
	for _, name := range []string{b.path("orders/rejects.ndjson"), b.path("orders/dt=2026-11-20/rejects.ndjson"), b.path(".hupsert/orders/rejects.ndjson"), day, b.dir} {
		if _, err := b.try(Options{Rejects: name}, day); !errors.Is(err, ErrUsage) || b.snapshot() != before {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// TestWholeModesRefuseRejects: a row that is left out would be a deletion.
func TestWholeModesRefuseRejects(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-20")
	before := b.snapshot()
	none := 1.0
	for name, row := range map[string]string{"unparsable": "x,bad,2026-11-20", "ragged": "3", "stray": "3,far,2026-11-21", "null key": ",none,2026-11-20"} {
		for _, m := range []Mode{Mirror, Replace} {
			if m == Replace && name == "null key" {
				continue // it needs no key
			}
			_, err := b.try(Options{Key: []string{"id"}, Mode: m, Partitions: []string{"dt=2026-11-20"}, Rejects: b.path("r"), NullKeys: "reject", StrayRows: "reject", MaxDeleteRatio: &none},
				b.write("day.csv", "id,name,dt", "1,ann,2026-11-20", row))
			if !errors.Is(err, ErrGuard) || b.snapshot() != before {
				t.Errorf("%s in %s: %v", name, m, err)
			}
		}
	}
}
