package partition

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/splice"
)

var textField = arrow.Field{Name: "t", Type: arrow.BinaryTypes.String, Nullable: true}

// ids makes a record of two columns: id counts from first.
func ids(first int64, texts ...string) arrow.Record {
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{int64Field, textField}, nil))
	defer b.Release()
	for i, text := range texts {
		b.Field(0).(*array.Int64Builder).Append(first + int64(i))
		b.Field(1).(*array.StringBuilder).Append(text)
	}
	return b.NewRecord()
}

// byArrow writes a row group for each record by Arrow's writer: ours makes none without rows.
func (b *bench) byArrow(name string, records ...arrow.Record) string {
	b.t.Helper()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(records[0].Schema(), &buf, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	must(err)
	for _, rec := range records {
		w.NewRowGroup()
		for _, column := range rec.Columns() {
			must(w.WriteColumnData(column))
		}
	}
	must(w.Close())
	f, err := splice.Open(bytes.NewReader(buf.Bytes()), int64(buf.Len()), name)
	must(err)
	if f.NumRowGroups() != len(records) {
		b.t.Fatalf("%d row groups of %d", f.NumRowGroups(), len(records))
	}
	must(os.MkdirAll(filepath.Dir(b.path(name)), 0o755))
	must(os.WriteFile(b.path(name), buf.Bytes(), 0o644))
	return b.path(name)
}

// TestEmptyFiles: files without row groups, and row groups without rows, as partition and as source.
func TestEmptyFiles(t *testing.T) {
	empty, two, more := ids(0), ids(1, "a", "b"), ids(2, "B", "c")
	for name, groups := range map[string][]arrow.Record{
		"no rows": {empty}, "none first": {empty, two}, "none between": {ids(1, "a"), empty, ids(2, "b")}, "none last": {two, empty},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t)
			b.byArrow("orders/part-0.parquet", groups...)
			b.upsert(Options{}, b.record("from.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, more))
			want := []string{".: id=1 t=a", ".: id=2 t=B", ".: id=3 t=c"}
			if name == "no rows" {
				want = want[1:]
			}
			b.want(want...)
			b.upsert(Options{}, b.byArrow("empty.parquet", groups...))
			if name != "no rows" {
				want[1] = ".: id=2 t=b"
			}
			b.want(want...)
			everything := 1.0
			b.upsert(Options{Mode: Replace, AllowEmpty: true, MaxDeleteRatio: &everything}, b.path("empty.parquet"))
			if name == "no rows" {
				b.want()
			} else {
				b.want(".: id=1 t=a", ".: id=2 t=b")
			}
			b.upsert(Options{Mode: Delete}, b.record("delete.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, ids(1, "", "")))
			b.want()
			b.upsert(Options{}, b.path("from.parquet"))
			b.want(".: id=2 t=B", ".: id=3 t=c")
		})
	}
}

// TestWrongBounds: parquet-mr computed bounds of binary columns wrongly up to 1.7 (PARQUET-251), so that a key seems not to
// be there. Of any other writer they are believed, which shows that this test looks where it should.
func TestWrongBounds(t *testing.T) {
	for createdBy, trusted := range map[string]bool{"parquet-mr version 1.7.0 (build x)": false, "parquet-mr version 1.13.1 (build x)": true} {
		b := newBench(t)
		name := b.record("orders/part-0.parquet", splice.WriterOptions{CreatedBy: createdBy, NoPageIndex: true}, splice.ChunkOptions{}, ids(1, "aaa", "mmm", "zzz"))
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		at := bytes.LastIndex(data, []byte("zzz"))
		copy(data[at:], "bbb")
		if err := os.WriteFile(name, data, 0o644); err != nil {
			t.Fatal(err)
		}
		rep := b.upsert(Options{Key: []string{"t"}}, b.record("from.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, ids(7, "mmm")))
		if n := rep.Total.Rows.Updated; n == 0 != trusted {
			t.Errorf("%s: %+v", createdBy, rep.Total.Rows)
		}
	}
}

// TestExtremes: ten thousand columns, a value of 100 MB, and a dictionary of a million entries.
func TestExtremes(t *testing.T) {
	if testing.Short() {
		t.Skip("takes seconds")
	}
	t.Run("columns", func(t *testing.T) {
		const n = 10_000
		b := newBench(t)
		fields := []arrow.Field{int64Field}
		for i := range n {
			fields = append(fields, arrow.Field{Name: fmt.Sprintf("c%d", i), Type: arrow.PrimitiveTypes.Int64, Nullable: true})
		}
		rows := func(add int64, list ...int64) arrow.Record {
			r := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
			defer r.Release()
			for _, id := range list {
				r.Field(0).(*array.Int64Builder).Append(id)
				for i := range n {
					r.Field(i + 1).(*array.Int64Builder).Append(id + int64(i) + add)
				}
			}
			return r.NewRecord()
		}
		b.record("orders/part-0.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, rows(0, 1, 2, 3))
		from := b.record("from.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, rows(1, 2, 4))
		start := time.Now()
		b.upsert(Options{}, from)
		t.Logf("%d columns: %v", n, time.Since(start))
		for i, line := range b.rows() {
			if want := []string{" c9999=10000", " c9999=10002", " c9999=10002", " c9999=10004"}[i]; !strings.HasSuffix(line, want) {
				t.Errorf("row %d ends with %q", i, line[len(line)-20:])
			}
		}
	})
	t.Run("value", func(t *testing.T) {
		b := newBench(t)
		large, other := strings.Repeat("0123456789", longText/10), strings.Repeat("9876543210", longText/10)
		snappy := splice.ChunkOptions{Codec: format.Snappy}
		b.record("orders/part-0.parquet", splice.WriterOptions{}, snappy, ids(1, "a", large, "c"))
		from := b.record("from.parquet", splice.WriterOptions{}, snappy, ids(3, other, "d"))
		start := time.Now()
		b.upsert(Options{}, from)
		t.Logf("values of %d bytes: %v", len(large), time.Since(start))
		b.want(".: id=1 t=a", ".: id=2 t="+large, ".: id=3 t="+other, ".: id=4 t=d")
	})
	t.Run("dictionary", func(t *testing.T) {
		const n = 1_000_000
		b := newBench(t)
		texts := make([]string, n+n/10)
		for i := range texts {
			texts[i] = fmt.Sprintf("value %d", i%n)
		}
		encoding := splice.ChunkOptions{Codec: format.Snappy, Dictionary: true, DictBytes: 1 << 30, PageBytes: 1 << 30, PageRows: 2 * n}
		b.record("orders/part-0.parquet", splice.WriterOptions{}, encoding, ids(1, texts...))
		from := b.record("from.parquet", splice.WriterOptions{}, splice.ChunkOptions{}, ids(5, "new", "value 0", "value 999999"))
		start := time.Now()
		rep := b.upsert(Options{}, from)
		t.Logf("a dictionary of %d: %v", n, time.Since(start))
		if rows := rep.Total.Rows; rows.Updated != 3 || rows.Kept != n+n/10-3 {
			t.Errorf("%+v", rows)
		}
		copy(texts[4:], []string{"new", "value 0", "value 999999"})
		names, err := filepath.Glob(b.path("orders/*.parquet"))
		if err != nil || len(names) != 1 {
			t.Fatalf("%v, %v", names, err)
		}
		lines, err := readParquet(names[0])
		if err != nil || len(lines) != len(texts) {
			t.Fatalf("%d rows, %v", len(lines), err)
		}
		for i, text := range texts {
			if want := fmt.Sprintf("id=%d t=%s", i+1, text); lines[i] != want {
				t.Fatalf("row %d is %s, want %s", i, lines[i], want)
			}
		}
	})
}
