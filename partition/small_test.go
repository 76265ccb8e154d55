package partition

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

// smallFiles writes n Parquet files of three rows each: row j of file i has the key 3i+j, or that of same.
func smallFiles(t *testing.T, dir string, n int, same map[string]int64) {
	t.Helper()
	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "dt", Type: arrow.BinaryTypes.String}}, nil)
	for i := range n {
		b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
		for j := range 3 {
			id := int64(3*i + j)
			if other, ok := same[fmt.Sprintf("%d/%d", i, j)]; ok {
				id = other
			}
			b.Field(0).(*array.Int64Builder).Append(id)
			b.Field(1).(*array.StringBuilder).Append(fmt.Sprintf("file %d row %d", i, j))
			b.Field(2).(*array.StringBuilder).Append(fmt.Sprintf("2026-11-2%d", j%2))
		}
		writeRecord(t, filepath.Join(dir, fmt.Sprintf("f%03d.parquet", i)), b.NewRecord())
	}
}

// writeRecord writes a Parquet file as Arrow does.
func writeRecord(t *testing.T, name string, rec arrow.Record) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	f, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(rec.Schema(), f, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	if err == nil {
		err = errors.Join(w.Write(rec), w.Close())
	}
	if err != nil {
		t.Fatal(err)
	}
}

// TestManySmallFiles: the rows of many small files are joined, in memory or on disk; what is said of a row
// names its own file, and of versions that tie the later file's wins.
func TestManySmallFiles(t *testing.T) {
	for _, limit := range []int64{0, 1000} {
		b := newBench(t)
		b.create("1,old,2026-11-21")
		smallFiles(t, b.path("in"), 2*openSources, map[string]int64{"100/2": 6})
		o := Options{Memory: limit}
		_, err := b.try(o, b.path("in"))
		if !errors.Is(err, ErrDuplicateKey) || !strings.Contains(fmt.Sprint(err), "f002.parquet row 1") || !strings.Contains(fmt.Sprint(err), "f100.parquet row 3") {
			t.Fatalf("memory %d: %v", limit, err)
		}
		o.SourceDuplicates = "last"
		b.upsert(o, b.path("in"))
		rows := strings.Join(b.rows(), "\n")
		if n := strings.Count(rows, "file "); n != 3*2*openSources-1 {
			t.Errorf("memory %d: %d rows of the files", limit, n)
		}
		if !strings.Contains(rows, "file 100 row 2") || strings.Contains(rows, "file 2 row 0") {
			t.Errorf("memory %d: the later of two rows did not win", limit)
		}
	}
}

// TestSmallRecordsOfFullDictionaries: their dictionaries have, together, more entries than an index can number.
func TestSmallRecordsOfFullDictionaries(t *testing.T) {
	s := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}},
		{Name: "dt", Type: arrow.BinaryTypes.String}}, nil)
	batches := make([]string, 3)
	for i := range batches {
		rows := make([]string, 100)
		for j := range rows {
			rows[j] = fmt.Sprintf(`{"id": %d, "name": "name %d", "dt": "2026-11-2%d"}`, 100*i+j, 100*i+j, j%2)
		}
		batches[i] = "[" + strings.Join(rows, ",") + "]"
	}
	for _, limit := range []int64{0, 1} {
		b := newBench(t)
		b.create("1,old,2026-11-21")
		if _, err := b.open().Upsert(t.Context(), recordsFrom(t, s, batches...), Options{Key: []string{"id"}, Memory: limit}); err != nil {
			t.Fatalf("memory %d: %v", limit, err)
		}
		rows := b.rows()
		if len(rows) != 300 || !strings.Contains(strings.Join(rows, "\n"), "id=299 name=name 299") {
			t.Errorf("memory %d: %d rows", limit, len(rows))
		}
	}
}

// TestSmallRecordsOfDictionaries: each record has a dictionary of its own, or all have one, and NULLs among its values.
func TestSmallRecordsOfDictionaries(t *testing.T) {
	words := &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}
	for name, of := range map[string]arrow.DataType{"column": words, "list": arrow.ListOf(words)} {
		for _, same := range []bool{false, true} {
			schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: of, Nullable: true}}, nil)
			var records []arrow.Record
			var want []string
			id := int64(100) // so that their texts sort as they do
			for _, list := range [][]string{{"a", "b", "", "c", "b"}, {"b", "", "d", "a"}, {"", "e", "b", "", "", "d"}} {
				if same {
					list = []string{"a", "b", "", "b"}
				}
				b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
				for _, text := range list {
					id++
					b.Field(0).(*array.Int64Builder).Append(id)
					to, shown, null := b.Field(1), text, "NULL"
					if l, ok := to.(*array.ListBuilder); ok {
						l.Append(true)
						to, shown, null = l.ValueBuilder(), `["`+text+`"]`, "[null]"
					}
					if text == "" {
						to.AppendNull()
						shown = null
					} else if err := to.(*array.BinaryDictionaryBuilder).AppendString(text); err != nil {
						t.Fatal(err)
					}
					want = append(want, fmt.Sprintf("dt=2026-11-20: id=%d name=%s", id, shown))
				}
				records = append(records, b.NewRecord())
			}
			reader, err := array.NewRecordReader(schema, records)
			if err != nil {
				t.Fatal(err)
			}
			b := newBench(t)
			_, err = b.open().Upsert(t.Context(), Records(reader), Options{Create: true, PartitionBy: []string{"dt:date"}, Partitions: []string{"dt=2026-11-20"}, Key: []string{"id"}})
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			b.want(want...)
		}
	}
}

// TestColumnOfNullsThatOneFileLacks: a column whose type holds the null type is filled in for a file that
// lacks it.
func TestColumnOfNullsThatOneFileLacks(t *testing.T) {
	b := newBench(t)
	b.create("1,old,2026-11-21")
	in := arrow.StructOf(arrow.Field{Name: "a", Type: arrow.Null, Nullable: true}, arrow.Field{Name: "b", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "dt", Type: arrow.BinaryTypes.String}, {Name: "extra", Type: in, Nullable: true}}
	for i, n := range []int{3, 4} {
		record := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields[:n], nil))
		record.Field(0).(*array.Int64Builder).Append(int64(i + 1))
		record.Field(1).(*array.StringBuilder).Append("new")
		record.Field(2).(*array.StringBuilder).Append("2026-11-21")
		if n == 4 {
			record.Field(3).AppendNull()
		}
		writeRecord(t, b.path(fmt.Sprintf("in/%d.parquet", i)), record.NewRecord())
	}
	b.upsert(Options{NewColumns: "ignore"}, b.path("in"))
	b.want("dt=2026-11-21: id=1 name=new", "dt=2026-11-21: id=2 name=new")
}

// TestRowsOfOtherPartitionsNeedNotFit: a value is held against the types of the partition it goes to, not
// against those of the others that the same source file has rows for.
func TestRowsOfOtherPartitionsNeedNotFit(t *testing.T) {
	b := newBench(t)
	id := arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int64}
	file := func(name string, n array.Builder, add func(), more ...string) {
		fields := []arrow.Field{id, {Name: "n", Type: n.Type(), Nullable: true}}
		ids := array.NewInt64Builder(memory.DefaultAllocator)
		for i := range max(1, len(more)) {
			ids.Append(int64(i + 1))
		}
		add()
		columns := []arrow.Array{ids.NewArray(), n.NewArray()}
		if more != nil {
			dt := array.NewStringBuilder(memory.DefaultAllocator)
			dt.AppendValues(more, nil)
			fields, columns = append(fields, arrow.Field{Name: "dt", Type: arrow.BinaryTypes.String}), append(columns, dt.NewArray())
		}
		writeRecord(t, b.path(name), array.NewRecord(arrow.NewSchema(fields, nil), columns, -1))
	}
	narrow, wide, from := array.NewInt8Builder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator), array.NewInt64Builder(memory.DefaultAllocator)
	file("orders/dt=2026-11-20/p.parquet", narrow, func() { narrow.Append(5) })
	file("orders/dt=2026-11-21/p.parquet", wide, func() { wide.Append(5) })
	file("in.parquet", from, func() { from.AppendValues([]int64{7, 1900057}, nil) }, "2026-11-20", "2026-11-21")
	b.upsert(Options{}, b.path("in.parquet"))
	b.want("dt=2026-11-20: id=1 n=7", "dt=2026-11-21: id=1 n=5", "dt=2026-11-21: id=2 n=1900057")
}
