package merge_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// keyKind is a key of n rows: column c of row i is made of i.
type keyKind struct {
	name  string
	types []arrow.DataType
}

var keyKinds = []keyKind{
	{"int64", []arrow.DataType{arrow.PrimitiveTypes.Int64}},
	{"string", []arrow.DataType{arrow.BinaryTypes.String}},
	{"decimal(18,2)", []arrow.DataType{&arrow.Decimal128Type{Precision: 18, Scale: 2}}},
	{"decimal(38,2)", []arrow.DataType{&arrow.Decimal128Type{Precision: 38, Scale: 2}}},
	{"uuid", []arrow.DataType{&arrow.FixedSizeBinaryType{ByteWidth: 16}}},
	{"2 integers", []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32}},
	{"integer, string", []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String}},
	{"8 integers", []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32,
		arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int32}},
	{"8 of all kinds", []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32, arrow.FixedWidthTypes.Date32,
		&arrow.Decimal128Type{Precision: 18, Scale: 2}, arrow.BinaryTypes.String, arrow.FixedWidthTypes.Boolean, arrow.FixedWidthTypes.Timestamp_us}},
}

// keyRecord makes rows of the numbers given: the first column tells them apart, others vary slowly.
func keyRecord(kind keyKind, numbers []int) arrow.Record {
	var fields []arrow.Field
	for i, t := range kind.types {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("k%d", i), Type: t, Nullable: true})
	}
	fields = append(fields, arrow.Field{Name: "v", Type: arrow.PrimitiveTypes.Int32, Nullable: true})
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for _, n := range numbers {
		for c := range kind.types {
			part := n
			if c > 0 {
				part = n >> (4 * c)
			}
			switch b := b.Field(c).(type) {
			case *array.Int64Builder:
				b.Append(int64(part))
			case *array.Int32Builder:
				b.Append(int32(part))
			case *array.StringBuilder:
				b.Append(fmt.Sprintf("customer-%09d", part))
			case *array.Decimal128Builder:
				b.Append(decimal128.FromI64(int64(part)))
			case *array.FixedSizeBinaryBuilder:
				b.Append(fmt.Appendf(nil, "%016x", part))
			case *array.Date32Builder:
				b.Append(arrow.Date32(part & 0xFFFF))
			case *array.TimestampBuilder:
				b.Append(arrow.Timestamp(part))
			case *array.BooleanBuilder:
				b.Append(part&1 == 1)
			}
		}
		b.Field(len(kind.types)).(*array.Int32Builder).Append(int32(n))
	}
	return b.NewRecord()
}

// BenchmarkKeys probes two million old rows for one per cent of them, by kind of key; "ns/row" is by old
// row, and comparable between kinds. Sorted keys are walked side by side, others are looked up.
func BenchmarkKeys(b *testing.B) {
	const old = 2_000_000
	for _, kind := range keyKinds {
		numbers := make([]int, old)
		for i := range numbers {
			numbers[i] = i
		}
		sorted := keyFile(b, kind, numbers)
		r := rand.New(rand.NewPCG(1, 2))
		r.Shuffle(old, func(i, j int) { numbers[i], numbers[j] = numbers[j], numbers[i] })
		shuffled := keyFile(b, kind, numbers)
		few := make([]int, old/100)
		for i := range few {
			few[i] = numbers[100*i]
		}
		for name, file := range map[string]memoryFile{"sorted": sorted, "shuffled": shuffled} {
			b.Run(kind.name+"/"+name, func(b *testing.B) {
				rec := keyRecord(kind, few)
				probe := 0.0
				for range b.N {
					probe += probeSeconds(b, kind, file, rec)
				}
				b.ReportMetric(probe*1e9/float64(b.N)/old, "ns/row")
			})
		}
	}
}

func keyFile(b *testing.B, kind keyKind, numbers []int) memoryFile {
	b.Helper()
	rec := keyRecord(kind, numbers)
	schema, err := shred.ParquetSchema(rec.Schema())
	if err != nil {
		b.Fatal(err)
	}
	out := &memoryOutput{}
	w, err := splice.NewWriter(out, splice.WriterOptions{Schema: schema})
	if err != nil {
		b.Fatal(err)
	}
	if err := w.BeginRowGroup(rec.NumRows()); err != nil {
		b.Fatal(err)
	}
	for i, node := range schema.Root.Children {
		writeColumn(b, w, node, rec.Column(i), splice.ChunkOptions{Codec: format.Snappy, PageRows: 20_000, Dictionary: true})
	}
	if err := w.EndRowGroup(); err != nil {
		b.Fatal(err)
	}
	if _, err := w.Close(); err != nil {
		b.Fatal(err)
	}
	return memoryFile{"old.parquet", out.Bytes()}
}

func probeSeconds(b *testing.B, kind keyKind, file memoryFile, rec arrow.Record) float64 {
	b.Helper()
	o := merge.Options{Mode: merge.Update, Parallel: 1}
	for i := range kind.types {
		o.Key = append(o.Key, fmt.Sprintf("k%d", i))
	}
	f, err := splice.Open(bytes.NewReader(file.data), int64(len(file.data)), file.name)
	if err != nil {
		b.Fatal(err)
	}
	schema, err := shred.ArrowSchema(f.Schema())
	if err != nil {
		b.Fatal(err)
	}
	p, err := merge.Prepare(context.Background(), merge.Task{Schema: schema, Old: []merge.Old{file.old()},
		Batches: []merge.Batch{{Columns: source.InMemory(rec)}}, Options: o})
	if err != nil {
		b.Fatal(err)
	}
	defer p.Close()
	if p.Counts().Unchanged != rec.NumRows() {
		b.Fatalf("%d rows found of %d", p.Counts().Unchanged, rec.NumRows())
	}
	return p.Seconds().Probe.Seconds()
}
