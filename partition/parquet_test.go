package partition

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
)

type bufferOutput struct{ bytes.Buffer }

func (o *bufferOutput) CopyRange(src io.ReaderAt, off, n int64) error {
	_, err := io.Copy(o, io.NewSectionReader(src, off, n))
	return err
}

// parquet writes rows, given as JSON, into a file with metadata, and returns its name.
func (b *bench) parquet(name string, fields []arrow.Field, keyValues []splice.KeyValue, rows string) string {
	b.t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, arrow.NewSchema(fields, nil), strings.NewReader(rows))
	if err != nil {
		b.t.Fatal(err)
	}
	return b.record(name, splice.WriterOptions{KeyValues: keyValues}, splice.ChunkOptions{}, rec)
}

// record writes a row group for each record, of one schema.
func (b *bench) record(name string, o splice.WriterOptions, encoding splice.ChunkOptions, records ...arrow.Record) string {
	b.t.Helper()
	must := func(err error) {
		b.t.Helper()
		if err != nil {
			b.t.Fatal(err)
		}
	}
	var err error
	o.Schema, err = shred.ParquetSchema(records[0].Schema())
	must(err)
	for _, leaf := range o.Schema.Leaves {
		if b.physical != nil && leaf.Annotation.Kind == column.Decimal {
			leaf.Type, leaf.Width = b.physical.Type, b.physical.Width
		}
	}
	out := &bufferOutput{}
	w, err := splice.NewWriter(out, o)
	must(err)
	for _, rec := range records {
		must(w.BeginRowGroup(rec.NumRows()))
		for i, node := range o.Schema.Root.Children {
			leaves := node.Leaves()
			columns := make([]*column.Column, len(leaves))
			for l, leaf := range leaves {
				columns[l] = &column.Column{}
				columns[l].Reset(leaf)
			}
			must(shred.ShredRows(rec.Column(i), nil, node, columns))
			for l, leaf := range leaves {
				enc := splice.NewChunkEncoder(leaf, encoding)
				must(enc.Append(columns[l], 0, columns[l].Slots))
				chunk, err := enc.Finish()
				must(err)
				must(w.WriteChunk(chunk))
			}
		}
		must(w.EndRowGroup())
	}
	_, err = w.Close()
	must(err)
	full := b.path(name)
	must(os.MkdirAll(filepath.Dir(full), 0o755))
	must(os.WriteFile(full, out.Bytes(), 0o644))
	return full
}

// schema is that of the table's file with the most columns.
func (b *bench) schema() *arrow.Schema {
	b.t.Helper()
	names, err := filepath.Glob(b.path("orders/*.parquet"))
	if err != nil {
		b.t.Fatal(err)
	}
	widest := arrow.NewSchema(nil, nil)
	for _, name := range names {
		data, err := os.ReadFile(name)
		if err != nil {
			b.t.Fatal(err)
		}
		f, err := splice.Open(bytes.NewReader(data), int64(len(data)), name)
		if err != nil {
			b.t.Fatal(err)
		}
		s, err := shred.ArrowSchema(f.Schema())
		if err != nil {
			b.t.Fatal(err)
		}
		if s.NumFields() > widest.NumFields() {
			widest = s
		}
	}
	return widest
}

func kindOf(f arrow.Field) string {
	kind, _ := f.Metadata.GetValue(shred.MetaKind)
	return kind
}

func withKind(name string, t arrow.DataType, kind string) arrow.Field {
	return arrow.Field{Name: name, Type: t, Nullable: true, Metadata: arrow.NewMetadata([]string{shred.MetaKind}, []string{kind})}
}

var (
	int64Field = arrow.Field{Name: "id", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	byMicros   = &arrow.TimestampType{Unit: arrow.Microsecond}
	byNanos    = &arrow.TimestampType{Unit: arrow.Nanosecond}
	sparks     = []splice.KeyValue{{Key: "org.apache.spark.version", Value: "3.5.1"}, {Key: "org.apache.spark.sql.parquet.row.metadata", Value: "{}"}}
)

// TestNewColumnsKeepTheirKind: what Arrow has no type for is the same type in a table, or a column, that is made of it.
func TestNewColumnsKeepTheirKind(t *testing.T) {
	fixed := func(n int) arrow.DataType { return &arrow.FixedSizeBinaryType{ByteWidth: n} }
	fields := []arrow.Field{int64Field, withKind("t", byNanos, "INT96"), withKind("u", fixed(16), "UUID"), withKind("i", fixed(12), "INTERVAL"),
		withKind("j", arrow.BinaryTypes.String, "JSON"), withKind("e", arrow.BinaryTypes.String, "ENUM"), withKind("b", arrow.BinaryTypes.Binary, "BSON"),
		// {17: {1: "x"}}: a geometry in the coordinate system x.
		withKind("g", arrow.BinaryTypes.Binary, "GEOMETRY:0c221801780000")}
	row := `{"id":1,"t":"2024-01-02 03:04:05.000000001","u":"AAAAAAAAAAAAAAAAAAAAAA==","i":"AAAAAAAAAAAAAAAA","j":"{}","e":"x","b":"BQAAAAA=","g":"AQ=="}`
	check := func(b *bench) {
		t.Helper()
		have := b.schema().Fields()
		for i, want := range fields {
			if got := have[i]; kindOf(got) != kindOf(want) || !arrow.TypeEqual(got.Type, want.Type) {
				t.Errorf("%s has become %s", want, got)
			}
		}
	}
	b := newBench(t)
	from := b.parquet("first.parquet", fields, nil, "["+row+"]")
	b.upsert(Options{Create: true, PartitionBy: []string{}}, from)
	check(b)
	if rep := b.upsert(Options{}, from); statuses(rep) != " noop" {
		t.Error(statuses(rep))
	}

	b = newBench(t)
	b.upsert(Options{Create: true, PartitionBy: []string{}}, b.parquet("first.parquet", fields[:1], nil, `[{"id":2}]`))
	b.upsert(Options{NewColumns: "add"}, b.parquet("second.parquet", fields, nil, `[{"id":2},`+row+"]"))
	check(b)
}

// TestInt96OfSpark: the year 9999, with which people mark what has no end, is beyond nanoseconds.
func TestInt96OfSpark(t *testing.T) {
	b := newBench(t)
	fields := []arrow.Field{int64Field, withKind("t", byMicros, "INT96")}
	end := `"9999-12-31 23:59:59.999999"`
	b.upsert(Options{Create: true, PartitionBy: []string{}}, b.parquet("first.parquet", fields, sparks, `[{"id":1,"t":`+end+`},{"id":2,"t":`+end+`}]`))
	b.upsert(Options{}, b.parquet("second.parquet", fields, sparks, `[{"id":2,"t":"2024-01-02 03:04:05.000006"},{"id":3,"t":`+end+`}]`))
	b.upsert(Options{Key: []string{"t"}, NullKeys: "match"}, b.parquet("third.parquet", fields, nil, `[{"id":4,"t":"2024-01-02 03:04:05.000006"}]`))
	b.want(".: id=1 t=9999-12-31 23:59:59.999999Z", ".: id=3 t=9999-12-31 23:59:59.999999Z", ".: id=4 t=2024-01-02 03:04:05.000006Z")

	// In a file of another writer nanoseconds may be there, and stay.
	nanos := []arrow.Field{int64Field, withKind("t", byNanos, "INT96")}
	b.parquet("orders/other.parquet", nanos, nil, `[{"id":7,"t":"2024-01-02 03:04:05.000000007"},{"id":8,"t":"2024-01-02 03:04:05.000000008"}]`)
	b.upsert(Options{}, b.parquet("fourth.parquet", nanos, nil, `[{"id":3,"t":"2024-01-02 03:04:05.000003"}]`))
	b.upsert(Options{}, b.parquet("fifth.parquet", nanos, nil, `[{"id":8,"t":"2024-01-02 03:04:05.000000009"}]`))
	b.want(".: id=1 t=9999-12-31 23:59:59.999999Z", ".: id=3 t=2024-01-02 03:04:05.000003Z", ".: id=4 t=2024-01-02 03:04:05.000006Z",
		".: id=7 t=2024-01-02 03:04:05.000000007Z", ".: id=8 t=2024-01-02 03:04:05.000000009Z")
	before := b.snapshot()
	if _, err := b.try(Options{}, b.parquet("sixth.parquet", nanos, nil, `[{"id":3,"t":"2024-01-02 03:04:05.000000003"}]`)); !errors.Is(err, ErrSchema) {
		t.Errorf("nanoseconds beside the year 9999: %v", err)
	}
	if b.snapshot() != before {
		t.Error("a refused merge changed the table")
	}
}

// keyValues lists the metadata of the table's file that was made last.
func (b *bench) keyValues() map[string]string {
	b.t.Helper()
	names, err := filepath.Glob(b.path("orders/part-*.parquet"))
	if err != nil || len(names) != 1 {
		b.t.Fatalf("%v, %v", names, err)
	}
	data, err := os.ReadFile(names[0])
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := splice.Open(bytes.NewReader(data), int64(len(data)), names[0])
	if err != nil {
		b.t.Fatal(err)
	}
	out := map[string]string{}
	for _, kv := range f.KeyValue() {
		out[kv.Key] = kv.Value
	}
	return out
}

// TestJulianCalendar: in a file that counts old dates in the Julian calendar they stay as they are, and none comes in from
// a source that counts otherwise, nor from one that counts so into another file.
func TestJulianCalendar(t *testing.T) {
	date := arrow.Field{Name: "d", Type: arrow.FixedWidthTypes.Date32, Nullable: true}
	dates := arrow.Field{Name: "d", Type: arrow.ListOf(arrow.FixedWidthTypes.Date32), Nullable: true}
	inner := arrow.Field{Name: "d", Type: arrow.StructOf(arrow.Field{Name: "x", Type: byMicros, Nullable: true}), Nullable: true}
	stamp, int96 := arrow.Field{Name: "d", Type: byMicros, Nullable: true}, withKind("d", byMicros, "INT96")
	sparkSchema := splice.KeyValue{Key: "org.apache.spark.sql.parquet.row.metadata", Value: "{}"}
	spark2 := []splice.KeyValue{sparkSchema}
	rebased := append(sparks[:2:2], splice.KeyValue{Key: "org.apache.spark.legacyDateTime"}, splice.KeyValue{Key: "org.apache.spark.legacyINT96"})
	hive := []splice.KeyValue{{Key: "writer.date.proleptic", Value: "false"}}
	for _, c := range []struct {
		name        string
		field       arrow.Field
		old, recent string
	}{
		{"date", date, `"1500-01-01"`, `"2024-01-01"`},
		{"dates", dates, `["2024-01-01",null,"1500-01-01"]`, `["2024-01-01"]`},
		{"struct", inner, `{"x":"1899-12-31 23:59:59"}`, `{"x":"1900-01-01 00:00:00"}`},
		{"timestamp", stamp, `"1899-12-31 23:59:59"`, `"1900-01-01 00:00:00"`},
		{"INT96", int96, `"1899-12-31 23:59:59"`, `"1900-01-01 00:00:00"`},
	} {
		for maker, keys := range map[string][]splice.KeyValue{"Spark 2": spark2, "Spark 3, rebased": rebased, "Hive": hive} {
			t.Run(c.name+" of "+maker, func(t *testing.T) {
				b := newBench(t)
				fields := []arrow.Field{int64Field, c.field}
				row := func(id, d string) string { return `{"id":` + id + `,"d":` + d + `}` }
				b.parquet("orders/part-0.parquet", fields, keys, "["+row("1", c.old)+","+row("2", c.recent)+"]")
				ancient := b.parquet("ancient.parquet", fields, nil, "["+row("2", "null")+","+row("3", c.old)+"]")
				recent := b.parquet("recent.parquet", fields, nil, "["+row("2", "null")+","+row("3", c.recent)+"]")
				julian := b.parquet("julian.parquet", fields, keys, "["+row("3", c.old)+"]")
				before := b.snapshot()
				for _, mode := range []Mode{Upsert, Append} {
					_, err := b.try(Options{Mode: mode}, ancient)
					if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "part-0.parquet: column d: ") || !strings.Contains(err.Error(), "ancient.parquet row 2") {
						t.Errorf("%s: %v", mode, err)
					}
				}
				if _, err := b.try(Options{}, julian); err == nil {
					t.Error("a source in that calendar was taken")
				}
				if b.snapshot() != before {
					t.Error("a refused merge changed the table")
				}
				b.upsert(Options{}, recent)
				// With a column more the schema in Spark's metadata is dropped; what tells the calendar is not.
				more := append(fields[:2:2], arrow.Field{Name: "more", Type: arrow.PrimitiveTypes.Int64, Nullable: true})
				b.upsert(Options{NewColumns: "add"}, b.parquet("more.parquet", more, nil, `[{"id":2,"d":null,"more":7}]`))
				have := b.keyValues()
				_, spark := have[sparkSchema.Key]
				_, times := have["org.apache.spark.legacyDateTime"]
				if spark || !times {
					t.Errorf("the metadata of a reshaped file is %v", have)
				}
				if _, err := b.try(Options{MissingColumns: "keep"}, ancient); !errors.Is(err, ErrSchema) {
					t.Errorf("into the reshaped file: %v", err)
				}
			})
		}
	}
}

// TestRequiredColumnBesideOptional: a row that goes has all columns of its row group written anew. A column that no row changes
// stays as the file has it, also where a value for another file would not fit.
func TestRequiredColumnBesideOptional(t *testing.T) {
	b := newBench(t)
	must := arrow.Field{Name: "c", Type: arrow.PrimitiveTypes.Int64}
	may := must
	may.Nullable = true
	d := arrow.Field{Name: "d", Type: arrow.PrimitiveTypes.Int64, Nullable: true}
	gone := arrow.Field{Name: "gone", Type: arrow.FixedWidthTypes.Boolean, Nullable: true}
	b.parquet("orders/a.parquet", []arrow.Field{int64Field, must, d}, nil, `[{"id":1,"c":1,"d":1},{"id":2,"c":2,"d":2},{"id":3,"c":3,"d":3}]`)
	b.parquet("orders/b.parquet", []arrow.Field{int64Field, may, d}, nil, `[{"id":4,"c":null,"d":4}]`)
	b.upsert(Options{DeleteWhen: "gone"}, b.parquet("from.parquet", []arrow.Field{int64Field, may, d, gone}, nil,
		`[{"id":1,"c":1,"d":7,"gone":false},{"id":2,"gone":true},{"id":5,"c":null,"d":5,"gone":false}]`))
	b.want(".: id=1 c=1 d=7", ".: id=3 c=3 d=3", ".: id=4 c=NULL d=4", ".: id=5 c=NULL d=5")
}
