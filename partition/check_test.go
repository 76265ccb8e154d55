package partition

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
)

const (
	day19 = "dt=2026-11-19"
	day20 = "dt=2026-11-20"
)

// check gives what Check finds.
func (b *bench) check(o CheckOptions) *CheckReport {
	b.t.Helper()
	before := b.snapshot()
	rep, err := b.open().Check(context.Background(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	if b.snapshot() != before {
		b.t.Error("the check has changed the table")
	}
	errs, warnings, notes := 0, 0, 0
	for _, f := range rep.Findings {
		switch f.Severity {
		case SeverityError:
			errs++
		case SeverityWarning:
			warnings++
		case SeverityNote:
			notes++
		}
		if f.Message == "" || f.Hint == "" {
			b.t.Errorf("a finding without what it is or what to do: %+v", f)
		}
	}
	if rep.Total.Errors != errs || rep.Total.Warnings != warnings || rep.Total.Notes != notes {
		b.t.Errorf("%d errors, %d warnings, %d notes, the total says %+v", errs, warnings, notes, rep.Total)
	}
	return rep
}

// brief is a report in a line: "severity kind partition/file xcount; ...".
func brief(rep *CheckReport) string {
	var parts []string
	for _, f := range rep.Findings {
		text := fmt.Sprintf("%s %s", f.Severity, f.Kind)
		if at := strings.Trim(f.Partition+"/"+f.File, "/"); at != "" {
			text += " " + at
		}
		parts = append(parts, fmt.Sprintf("%s x%d", text, f.Count))
	}
	return strings.Join(parts, "; ")
}

// edit changes the last occurrence of some bytes in a file.
func (b *bench) edit(name string, old, new string) {
	b.t.Helper()
	data, err := os.ReadFile(name)
	at := bytes.LastIndex(data, []byte(old))
	if err != nil || at < 0 || len(old) != len(new) {
		b.t.Fatalf("%s has no %q: %v", name, old, err)
	}
	copy(data[at:], new)
	if err := os.WriteFile(name, data, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestCheckFindings makes each finding, in a table of two partitions, and looks that it is the only one.
func TestCheckFindings(t *testing.T) {
	for _, c := range []struct {
		name string
		do   func(b *bench)
		o    CheckOptions
		want string
	}{
		{name: "nothing", do: func(*bench) {}, want: ""},
		{name: "no key", do: func(*bench) {}, o: CheckOptions{Key: []string{}}, want: "note unchecked_keys x0"},
		{name: "keys that stand twice", do: func(b *bench) {
			b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(1, "x", "y"), people(1, "z"))
		}, want: "error duplicate_keys " + day20 + " x2"},
		{name: "keys that are NULL", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{int64Field, nameField}, nil, `[{"name":"a"},{"name":"b"},{"id":9}]`)
		}, want: "warning null_keys " + day20 + " x2"},
		{name: "a key that a file lacks", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{nameField}, nil, `[{"name":"a"}]`)
		}, want: "error unchecked_keys " + day20 + "/b.parquet x1; warning schema_drift " + day20 + "/b.parquet x1"},
		{name: "a key of the wrong kind", do: func(*bench) {}, o: CheckOptions{Key: []string{"nothing"}},
			want: "error unchecked_keys " + day19 + " x1; error unchecked_keys " + day20 + " x1"},
		{name: "a key of partition columns", do: func(*bench) {}, o: CheckOptions{Key: []string{"dt"}, Partitions: []string{"dt=2026-11-20"}},
			want: "error unchecked_keys " + day20 + " x1"},
		{name: "a truncated file", do: func(b *bench) { b.damage(day20, func(d []byte) []byte { return d[:len(d)-9] }) },
			want: "error unreadable_file " + day20 + "/P x1; note changed_by_others " + day20 + " x1; note unchecked_keys " + day20 + " x1"},
		{name: "a page that is damaged", do: func(b *bench) {
			name := b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{CRC: true}, people(7, "findme"))
			data, err := os.ReadFile(name)
			if err == nil {
				err = os.WriteFile(name, bytes.Replace(data, []byte("findme"), []byte("lostit"), 1), 0o644)
			}
			if err != nil {
				b.t.Fatal(err)
			}
		}, want: "error unreadable_file " + day20 + "/b.parquet x1; note unchecked_keys " + day20 + " x1"},
		{name: "an empty file", do: func(b *bench) { b.empty("orders/" + day20 + "/b.parquet") },
			want: "error empty_file " + day20 + "/b.parquet x1; note unchecked_keys " + day20 + " x1"},
		{name: "a text", do: func(b *bench) { b.write("orders/"+day20+"/notes.txt", "this is no Parquet file") },
			want: "error stray_file " + day20 + "/notes.txt x1; note unchecked_keys " + day20 + " x1"},
		{name: "marks and others' files", do: func(b *bench) {
			for _, name := range []string{"_SUCCESS", "_committed_17", "_metadata", ".old.parquet.crc", ".hidden"} {
				b.write("orders/"+day20+"/"+name, "x")
			}
		}, want: "note stray_file " + day20 + "/.hidden x1; note stray_file " + day20 + "/.old.parquet.crc x1; note stray_file " + day20 + "/_metadata x1"},
		{name: "another writer", do: func(b *bench) { b.write("orders/"+day20+"/_temporary/0/x", "x") },
			want: "warning temporary_folder " + day20 + "/_temporary x1"},
		{name: "wrong statistics", do: func(b *bench) {
			b.edit(b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{NoPageIndex: true}, splice.ChunkOptions{}, people(7, "aaa", "zzz")), "zzz", "bbb")
		}, want: "error wrong_statistics " + day20 + "/b.parquet x1"},
		{name: "Bloom filters without the values", do: func(b *bench) {
			b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{Bloom: splice.NewBloomFilter(8)}, people(7, "aaa"))
		}, want: "error wrong_statistics " + day20 + "/b.parquet x2"},
		{name: "wrong statistics, quickly", do: func(b *bench) {
			b.edit(b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{NoPageIndex: true}, splice.ChunkOptions{}, people(7, "aaa", "zzz")), "zzz", "bbb")
		}, o: CheckOptions{Quick: true}, want: ""},
		{name: "wrong statistics that readers ignore", do: func(b *bench) {
			b.edit(b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{NoPageIndex: true, CreatedBy: "parquet-mr version 1.7.0 (build x)"},
				splice.ChunkOptions{}, people(7, "aaa", "zzz")), "zzz", "bbb")
		}, want: "note ignored_statistics " + day20 + " x1"},
		{name: "a file that lacks a column, one that has another", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{int64Field, textField}, nil, `[{"id":7}]`)
		}, want: "warning schema_drift x1; warning schema_drift " + day20 + "/b.parquet x1"},
		{name: "a file of another type", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, nameField}, nil, `[{"id":7}]`)
		}, want: "warning schema_drift " + day20 + "/b.parquet x1"},
		{name: "types that don't go together", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{int64Field, {Name: "name", Type: arrow.PrimitiveTypes.Int32, Nullable: true}}, nil, `[{"id":7}]`)
		}, want: "error schema_conflict " + day20 + "/b.parquet x1"},
		{name: "keys that don't go together", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{{Name: "id", Type: arrow.BinaryTypes.String, Nullable: true}, nameField}, nil, `[{"id":"7"}]`)
		}, want: "error schema_conflict " + day20 + "/b.parquet x1; error unchecked_keys " + day20 + " x1"},
		{name: "partitions that differ", do: func(b *bench) {
			b.parquet("orders/dt=2026-11-21/a.parquet", []arrow.Field{int64Field}, nil, `[{"id":7}]`)
			b.parquet("orders/dt=2026-11-22/a.parquet", []arrow.Field{int64Field}, nil, `[{"id":7}]`)
			b.parquet("orders/dt=2026-11-23/a.parquet", []arrow.Field{int64Field, {Name: "name", Type: arrow.PrimitiveTypes.Int32, Nullable: true}}, nil, `[{"id":7}]`)
		}, want: "error schema_conflict x1; warning schema_drift x2"},
		{name: "many small files", do: func(b *bench) {
			for i := range manySmallFiles {
				b.record(fmt.Sprintf("orders/%s/s%02d.parquet", day20, i), splice.WriterOptions{}, splice.ChunkOptions{}, people(int64(100+i), "x"))
			}
		}, want: "note fragmentation " + day20 + " x21"},
		{name: "many row groups", do: func(b *bench) {
			var groups []arrow.Record
			for i := range manySmallGroups {
				groups = append(groups, people(int64(100+i), "x"))
			}
			b.record("orders/"+day20+"/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, groups...)
		}, want: "note fragmentation " + day20 + " x1"},
		{name: "files beside partitions", do: func(b *bench) { b.write("orders/lost.parquet", "x") }, want: "error layout lost.parquet x1"},
		{name: "a folder that is none", do: func(b *bench) { b.write("orders/backup/x.parquet", "x") }, want: "error layout backup x1"},
		{name: "a folder in a partition", do: func(b *bench) { b.write("orders/"+day20+"/old/x.parquet", "x") },
			want: "error layout " + day20 + "/P x1"},
		{name: "a partition that is too deep", do: func(b *bench) { b.write("orders/dt=2026-11-21/region=kr/x.parquet", "x") },
			want: "error layout dt=2026-11-21/region=kr x1"},
		{name: "a folder of another column", do: func(b *bench) { b.write("orders/day=1/x.parquet", "x") }, want: "error layout day=1 x1"},
		{name: "a link", do: func(b *bench) {
			if err := os.Symlink(onlyParquet(b.t, b.path("orders/"+day19)), b.path("orders/"+day20+"/l.parquet")); err != nil {
				b.t.Fatal(err)
			}
		}, want: "error layout " + day20 + "/l.parquet x1"},
		{name: "rows of another day", do: func(b *bench) {
			b.parquet("orders/"+day20+"/b.parquet", []arrow.Field{int64Field, nameField, {Name: "dt", Type: arrow.BinaryTypes.String, Nullable: true}}, nil, `[{"id":7,"dt":"2026-11-19"}]`)
		}, want: "error stray_rows " + day20 + "/b.parquet x1; warning schema_drift " + day20 + "/b.parquet x1"},
		{name: "a configuration that can't be read", do: func(b *bench) { b.write(".hupsert/orders/table.yaml", "keys: [id]") },
			want: "error unreadable_state table.yaml x1; note unchecked_keys x0"},
		{name: "what a dead run has left", do: func(b *bench) { b.write(".hupsert/orders/staging/20261120T000000Z-0000/p00001/x", "x") },
			want: "warning abandoned_run staging/R x1"},
		{name: "a record that can't be read", do: func(b *bench) { b.write(".hupsert/orders/runs/20261120T000000Z-0000.json", "{") },
			want: "error unreadable_state runs/R.json x1"},
		{name: "a version that is damaged", do: func(b *bench) {
			b.upsert(Options{}, b.write("day.csv", "id,name,dt", "1,x,2026-11-20"))
			dirs, _ := filepath.Glob(b.path(".hupsert/orders/history/" + day20 + "/*"))
			if err := os.Remove(onlyParquet(b.t, dirs[0])); err != nil {
				b.t.Fatal(err)
			}
		}, want: "error damaged_history " + day20 + "/history/" + day20 + "/R x1"},
		{name: "a partition that is named", do: func(b *bench) { b.write("orders/"+day19+"/notes.txt", "this is no Parquet file") },
			o: CheckOptions{Partitions: []string{"dt=2026-11-20"}}, want: ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-19", "2,bob,2026-11-19", "1,ann,2026-11-20", "3,cid,2026-11-20")
			if c.o.Key == nil {
				if _, err := b.open().SetConfig(context.Background(), map[string]string{"key": "id"}); err != nil {
					t.Fatal(err)
				}
			}
			first := filepath.Base(onlyParquet(t, b.path("orders/"+day20)))
			c.do(b)
			got := strings.ReplaceAll(brief(b.check(c.o)), first, "P")
			got = runName.ReplaceAllString(got, "R")
			var kept []string
			for _, part := range strings.Split(got, "; ") {
				// Most of these write into a partition behind hupsert's back, and that is found as well.
				if !strings.Contains(part, "changed_by_others") || strings.Contains(c.want, "changed_by_others") {
					kept = append(kept, part)
				}
			}
			got = strings.Join(kept, "; ")
			if got != c.want {
				t.Errorf("found %q,\n want %q", got, c.want)
			}
		})
	}
}

var runName = regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{4}`)

var nameField = arrow.Field{Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}

// people is a record of the table of create.
func people(first int64, names ...string) arrow.Record {
	rec := ids(first, names...)
	return array.NewRecord(arrow.NewSchema([]arrow.Field{int64Field, nameField}, nil), rec.Columns(), rec.NumRows())
}

// empty makes a file of no bytes.
func (b *bench) empty(name string) {
	b.t.Helper()
	if err := os.WriteFile(b.path(name), nil, 0o644); err != nil {
		b.t.Fatal(err)
	}
}

// TestCheckMakesNothing: no state comes to be where there is none, and nothing in one that is there.
func TestCheckMakesNothing(t *testing.T) {
	b := newBench(t)
	b.record("orders/"+day20+"/a.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(1, "x", "y"))
	if rep := b.check(CheckOptions{Key: []string{"id"}}); len(rep.Findings) > 0 || rep.Total.Rows != 2 || rep.Total.Files != 1 {
		t.Errorf("%+v", rep)
	}
	if _, err := os.Stat(b.path(".hupsert")); err == nil {
		t.Error("a state was made")
	}
	b.upsert(Options{}, b.write("from.csv", "id,name,dt", "3,z,2026-11-20"))
	state := func() (list []string) {
		_ = filepath.WalkDir(b.path(".hupsert"), func(name string, _ os.DirEntry, err error) error {
			list = append(list, name)
			return err
		})
		return list
	}
	before := state()
	b.check(CheckOptions{Key: []string{"id"}})
	if after := state(); strings.Join(before, "\n") != strings.Join(after, "\n") {
		t.Errorf("the state was\n%q\nand is\n%q", before, after)
	}
}

// TestCheckOfOnePartitionTwice: folders of one value, where the column is a number.
func TestCheckOfOnePartitionTwice(t *testing.T) {
	b := newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{"month:int"}, Schema: "id bigint"}, b.write("a.csv", "id,month", "1,5", "2,6"))
	if err := os.Rename(b.path("orders/month=6"), b.path("orders/month=05")); err != nil {
		t.Fatal(err)
	}
	rep := b.check(CheckOptions{Key: []string{"id"}})
	if len(rep.Findings) == 0 || rep.Findings[0].Kind != FoundLayout || strings.Join(rep.Findings[0].Partitions, " ") != "month=05 month=5" {
		t.Errorf("found %s", brief(rep))
	}
}

// TestCheckOfCharKeys: blanks at the end of a char do not count, as in merges.
func TestCheckOfCharKeys(t *testing.T) {
	for schema, want := range map[string]string{"id bigint, name char(4)": "error duplicate_keys x1", "id bigint, name string": ""} {
		b := newBench(t)
		b.record("orders/a.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(1, "a", "b", "a  "))
		if _, err := b.open().SetConfig(context.Background(), map[string]string{"schema": schema}); err != nil {
			t.Fatal(err)
		}
		if got := brief(b.check(CheckOptions{Key: []string{"name"}})); got != want {
			t.Errorf("%s: found %q, want %q", schema, got, want)
		}
	}
}

// TestCheckNamesRows: the sample of keys says where they stand.
func TestCheckNamesRows(t *testing.T) {
	b := newBench(t)
	b.record("orders/a.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(1, "x", "y"), people(9, "z"), people(1, "x"))
	b.record("orders/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(9, "z", "w"))
	rep := b.check(CheckOptions{Key: []string{"id"}})
	want := "[{Key:id=1 Rows:2 Places:[{File:a.parquet Row:1} {File:a.parquet Row:4}]} {Key:id=9 Rows:2 Places:[{File:a.parquet Row:3} {File:b.parquet Row:1}]}]"
	if len(rep.Findings) != 1 || fmt.Sprintf("%+v", rep.Findings[0].Keys) != want {
		t.Errorf("found %+v", rep.Findings)
	}
}

// TestCheckWhileOthersWrite: runs that publish meanwhile neither wait for a check nor show in it as damage.
func TestCheckWhileOthersWrite(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19", "1,ann,2026-11-20")
	var sources []string
	for i := range 10 {
		sources = append(sources, b.write(fmt.Sprintf("%d.csv", i), "id,name,dt", fmt.Sprintf("1,n%d,2026-11-19", i), fmt.Sprintf("%d,n,2026-11-20", i)))
	}
	done := make(chan error, 1)
	table := b.open()
	go func() {
		for _, from := range sources {
			if _, err := table.Upsert(context.Background(), Source{From: []string{from}}, Options{Key: []string{"id"}}); err != nil {
				done <- err
				return
			}
		}
		done <- nil
	}()
	checks := 0
	for {
		rep, err := b.open().Check(t.Context(), CheckOptions{Key: []string{"id"}})
		if err != nil {
			t.Fatal(err)
		}
		checks++
		for _, f := range rep.Findings {
			if f.Severity != SeverityNote {
				t.Errorf("found %+v", f)
			}
		}
		select {
		case err := <-done:
			if err != nil {
				t.Error(err)
			}
			t.Logf("%d checks beside %d upserts", checks, len(sources))
			return
		default:
		}
	}
}

// TestCheckOfABadDisk: a file that the disk does not give is a finding, and the others are checked.
func TestCheckOfABadDisk(t *testing.T) {
	b := newBench(t)
	b.record("orders/a.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(1, "x"))
	b.record("orders/b.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, people(2, "x", "y"), people(2, "z"))
	disk := faultfs.Wrap(local.FS{})
	disk.Inject(&faultfs.Rule{Op: faultfs.Read, Path: "a.parquet"})
	table, err := Open(context.Background(), b.root(), Config{FS: disk})
	if err != nil {
		t.Fatal(err)
	}
	rep, err := table.Check(context.Background(), CheckOptions{Key: []string{"id"}})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := brief(rep), "error duplicate_keys x1; error unreadable_file a.parquet x1; note unchecked_keys x1"; got != want {
		t.Errorf("found %q, want %q", got, want)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := table.Check(ctx, CheckOptions{}); KindOf(err) != KindInterrupted {
		t.Errorf("interrupted: %v", err)
	}
}

// TestCheckOfCorpus: a table of each file of the corpus can be checked.
func TestCheckOfCorpus(t *testing.T) {
	root := os.Getenv("HUPSERT_PARQUET_TESTING")
	if root == "" {
		t.Skip("HUPSERT_PARQUET_TESTING names no folder with the corpus")
	}
	for _, pattern := range []string{"data/*.parquet", "bad_data/*.parquet", "data/geospatial/*.parquet"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil || len(files) == 0 {
			t.Fatalf("no files %s: %v", pattern, err)
		}
		for _, name := range files {
			b := newBench(t)
			if err := os.Mkdir(b.root(), 0o755); err != nil {
				t.Fatal(err)
			}
			copyFile(t, name, filepath.Join(b.root(), filepath.Base(name)))
			rep := b.check(CheckOptions{})
			found := rep.Total.Errors+rep.Total.Warnings > 0
			if damaged := strings.HasPrefix(pattern, "bad_data"); damaged && !found && filepath.Base(name) != "ARROW-GH-43605.parquet" {
				t.Errorf("nothing is found in %s", name)
			}
			for _, f := range rep.Findings {
				if f.Severity != SeverityNote {
					t.Logf("%s: %s %s %s %q", filepath.Base(name), f.Severity, f.Kind, f.Message, f.Samples)
				}
			}
		}
	}
}
