package splice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// BenchmarkRead reads chunks as Spark writes them, pages of 20,000 rows. Bytes are those of the
// decoded values.
func BenchmarkRead(b *testing.B) {
	const rows = 1_000_000
	bigint := func(r *rand.Rand, i int) []byte { return appendUint(nil, uint64(i)*7+r.Uint64N(7), 8) }
	few := func(r *rand.Rand, _ int) []byte { return appendUint(nil, r.Uint64N(2000), 8) }
	comment := func(r *rand.Rand, _ int) []byte {
		return fmt.Appendf(nil, "final deposits %x haggle %x", r.Uint32(), r.Uint64())[:10+r.IntN(25)]
	}
	for _, bench := range []struct {
		name  string
		kind  format.Type
		width int
		dict  bool
		codec format.CompressionCodec
		nulls float64 // of an optional column; below 0 it is required
		value func(r *rand.Rand, i int) []byte
	}{
		{"int64/plain/snappy/required", format.Int64, 8, false, format.Snappy, -1, bigint},
		{"int64/plain/snappy/optional", format.Int64, 8, false, format.Snappy, 0, bigint},
		{"int64/plain/snappy/nulls", format.Int64, 8, false, format.Snappy, 0.3, bigint},
		{"int64/plain/none/required", format.Int64, 8, false, format.Uncompressed, -1, bigint},
		{"int64/plain/zstd/required", format.Int64, 8, false, format.Zstd, -1, bigint},
		{"int64/dict/snappy/optional", format.Int64, 8, true, format.Snappy, 0, few},
		{"int64/dict/snappy/nulls", format.Int64, 8, true, format.Snappy, 0.3, few},
		{"string/plain/snappy/optional", format.ByteArray, 0, false, format.Snappy, 0, comment},
		{"string/plain/none/optional", format.ByteArray, 0, false, format.Uncompressed, 0, comment},
		{"string/plain/snappy/nulls", format.ByteArray, 0, false, format.Snappy, 0.3, comment},
	} {
		b.Run(bench.name, func(b *testing.B) {
			r := rand.New(rand.NewPCG(7, 8))
			node := sampleNode(sampleType{name: "c", kind: bench.kind, width: bench.width}, requiredLeaf)
			if bench.nulls >= 0 {
				node.Repetition = format.Optional
			}
			schema := newSchema(node)
			leaf := schema.Leaves[0]
			var c column.Column
			c.Reset(leaf)
			size := int64(0)
			for i := range rows {
				if bench.nulls > 0 && r.Float64() < bench.nulls {
					c.AppendNull(leaf, 0)
					continue
				}
				v := bench.value(r, i)
				size += int64(len(v))
				if c.Def != nil {
					c.Def = append(c.Def, 1)
				}
				c.Values.Append(v)
				c.Slots++
			}
			chunk := encode(b, leaf, ChunkOptions{Codec: bench.codec, Dictionary: bench.dict}, r, &c)
			f := openBytes(b, writeChunks(b, WriterOptions{Schema: schema}, chunk))
			benchmarkRead(b, f, size)
		})
	}
}

func benchmarkRead(b *testing.B, f *File, size int64) {
	b.SetBytes(size)
	b.ReportAllocs()
	var into column.Column
	ctx := context.Background()
	for b.Loop() {
		p := f.Pages(0, 0, nil)
		for {
			_, _, err := p.Next(ctx, &into)
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				b.Fatal(err)
			}
		}
		p.Close()
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(f.NumRows()), "ns/row")
}
