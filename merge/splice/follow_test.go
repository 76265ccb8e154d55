package splice

import (
	"math/rand/v2"
	"testing"

	"github.com/parquet-go/parquet-go/format"
)

func TestChunkOptionsOf(t *testing.T) {
	r := rand.New(rand.NewPCG(8, 8))
	kind := sampleTypes[7]
	field := sampleNode(kind, optionalLeaf)
	schema := newSchema(field)
	for _, want := range []ChunkOptions{
		{Codec: format.Snappy, PageVersion: 1, PageRows: 1500, Dictionary: true, PlainDictionary: true},
		{Codec: format.Zstd, PageVersion: 2, PageRows: 1500, Dictionary: true, CRC: true},
		{Codec: format.Gzip, PageVersion: 1, PageRows: 1000, CRC: true},
		{Codec: format.Uncompressed, PageVersion: 2, PageRows: 4000},
	} {
		c := sampler{r, 50, 0.1}.column(kind, field, 4000)
		f := openBytes(t, writeChunks(t, WriterOptions{Schema: schema}, encode(t, schema.Leaves[0], want, r, c)))
		got, err := ChunkOptionsOf(f, 0, 0)
		if err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%+v, want %+v", got, want)
		}
	}
}
