package splice

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// BenchmarkEncode encodes and verifies 200,000 rows.
func BenchmarkEncode(b *testing.B) {
	const rows = 200_000
	for _, c := range []struct {
		name       string
		kind       int
		distinct   int
		nulls      float64
		dictionary bool
		codec      format.CompressionCodec
	}{
		{"int64 plain", 2, 1 << 30, 0, false, format.Uncompressed},
		{"int64 nulls", 2, 1 << 30, 0.3, false, format.Uncompressed},
		{"int64 dict", 2, 5000, 0, true, format.Uncompressed},
		{"double plain", 5, 1 << 30, 0, false, format.Uncompressed},
		{"string plain", 7, 1 << 30, 0, false, format.Uncompressed},
		{"string snappy", 7, 1 << 30, 0, false, format.Snappy},
		{"string dict", 7, 5000, 0, true, format.Uncompressed},
		{"string dict full", 7, 1 << 30, 0, true, format.Uncompressed},
	} {
		r := rand.New(rand.NewPCG(1, 1))
		kind := sampleTypes[c.kind]
		field := sampleNode(kind, optionalLeaf)
		leaf := newSchema(field).Leaves[0]
		col := sampler{r, c.distinct, c.nulls}.column(kind, field, rows)
		size := int64(len(col.Values.Fixed) + len(col.Values.Data) + 4*len(col.Values.Offsets))
		e := NewChunkEncoder(leaf, ChunkOptions{})
		run := func(b *testing.B, from *column.Column, o ChunkOptions, verify bool) {
			b.SetBytes(size)
			for b.Loop() {
				e.Reset(leaf, o)
				if err := e.Append(from, 0, from.Slots); err != nil {
					b.Fatal(err)
				}
				chunk, err := e.Finish()
				if err != nil {
					b.Fatal(err)
				}
				if !verify {
					continue
				}
				if err := chunk.Verify(context.Background()); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/rows, "ns/row")
		}
		o := ChunkOptions{Codec: c.codec, Dictionary: c.dictionary}
		b.Run(c.name, func(b *testing.B) { run(b, col, o, false) })
		b.Run(fmt.Sprint(c.name, " verified"), func(b *testing.B) { run(b, col, o, true) })
		if c.dictionary && c.distinct < rows {
			indexed := inDictionary(col)
			b.Run(fmt.Sprint(c.name, " from dict"), func(b *testing.B) { run(b, indexed, o, false) })
			o.Seed = indexed.Dict
			b.Run(fmt.Sprint(c.name, " seeded"), func(b *testing.B) { run(b, indexed, o, false) })
		}
	}
}
