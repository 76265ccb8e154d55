package splice

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// TestBloomFilterIsRead: parquet-go, which knows nothing of ours, finds every value in the filter of an encoded chunk, and
// hardly any other.
func TestBloomFilterIsRead(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for _, of := range []shape{requiredLeaf, optionalLeaf, listLeaf} {
		for _, kind := range sampleTypes {
			node := sampleNode(kind, of)
			schema := newSchema(node)
			c := sampler{r, 300, 0.3}.column(kind, node, 400)
			chunk := encodeNew(t, schema.Leaves[0], ChunkOptions{PageRows: 60, Dictionary: r.IntN(2) == 0, Bloom: NewBloomFilter(4 * c.Slots)}, c)
			file := writeChunks(t, WriterOptions{Schema: schema}, chunk)
			f, err := parquet.OpenFile(bytes.NewReader(file), int64(len(file)))
			if err != nil {
				t.Fatal(err)
			}
			filter := f.RowGroups()[0].ColumnChunks()[0].BloomFilter()
			if filter == nil {
				t.Fatalf("%s: no filter", kind.name)
			}
			for i := range c.Slots {
				if v := c.Value(i); !c.Null(i) && !probe(t, filter, schema.Leaves[0], v) {
					t.Fatalf("%s: %x is not in the filter", kind.name, v)
				}
			}
			hits := 0
			for range 200 {
				if probe(t, filter, &column.Leaf{Type: format.ByteArray}, []byte{byte(r.Uint32()), byte(r.Uint32()), byte(r.Uint32()), 1, 2}) {
					hits++
				}
			}
			if hits > 20 {
				t.Errorf("%s: %d of 200 other values are in the filter", kind.name, hits)
			}
		}
	}
}

// encodeNew encodes a column whose values are all new to the chunk's filter.
func encodeNew(t *testing.T, leaf *column.Leaf, o ChunkOptions, c *column.Column) *EncodedChunk {
	t.Helper()
	e := NewChunkEncoder(leaf, o)
	if err := e.AppendNew(c, 0, c.Slots); err != nil {
		t.Fatal(err)
	}
	chunk, err := e.Finish()
	if err != nil {
		t.Fatal(err)
	}
	if err := chunk.Verify(t.Context()); err != nil {
		t.Fatal(err)
	}
	return chunk
}

func probe(t *testing.T, filter parquet.BloomFilter, leaf *column.Leaf, plain []byte) bool {
	t.Helper()
	var v parquet.Value
	switch leaf.Type {
	case format.ByteArray:
		v = parquet.ByteArrayValue(plain)
	case format.FixedLenByteArray:
		v = parquet.FixedLenByteArrayValue(plain)
	case format.Boolean:
		v = parquet.BooleanValue(plain[0] == 1)
	default:
		v = parquet.Kind(leaf.Type).Value(plain)
	}
	found, err := filter.Check(v)
	if err != nil {
		t.Fatal(err)
	}
	return found
}

// TestBloomFilterIsDropped: where a value is not in it, and where so many were added that it tells little.
func TestBloomFilterIsDropped(t *testing.T) {
	r := rand.New(rand.NewPCG(9, 10))
	kind := sampleTypes[2]
	node := sampleNode(kind, optionalLeaf)
	schema := newSchema(node)
	leaf := schema.Leaves[0]
	c := sampler{r, 1 << 30, 0.1}.column(kind, node, 3000)

	full := encodeNew(t, leaf, ChunkOptions{Bloom: NewBloomFilter(300)}, c)
	if full.bloomFilter() != nil {
		t.Error("a filter for 300 values took 3,000 and is kept")
	}
	as := NewBloomFilter(300) // by its writer's choice
	as.add(c, 0, c.Slots)
	as.added = false
	if as.overfilled() {
		t.Error("a filter that got nothing new is dropped")
	}

	for _, dictionary := range []bool{true, false} {
		lacks := NewBloomFilter(3000)
		lacks.add(c, 1, c.Slots)
		e := NewChunkEncoder(leaf, ChunkOptions{Bloom: lacks, Dictionary: dictionary})
		c.Def = slices.Clone(c.Def)
		c.Def[0] = c.MaxDef
		if err := e.Append(c, 0, c.Slots); err != nil {
			t.Fatal(err)
		}
		chunk, err := e.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := chunk.Verify(t.Context()); err != nil {
			t.Fatal(err)
		}
		if chunk.bloomFilter() != nil {
			t.Errorf("dictionary %t: a filter that misses a value is kept", dictionary)
		}
	}
}

// TestAuditOfBloomFilters: each value of a chunk is looked up; filters of kinds that are not known are passed by.
func TestAuditOfBloomFilters(t *testing.T) {
	for _, test := range []struct {
		name string
		edit func(filter, header []byte)
		want string
	}{
		{name: "as it was written"},
		{name: "without a bit", edit: func(bits, _ []byte) { clear(bits[:bloomBlock]) }, want: "values are not in it, such as"},
		{name: "of a size that is none", edit: func(_, header []byte) { header[1] = 2 * 31 }, want: "can't be used"},
		{name: "outside of the file", edit: func(_, header []byte) { header[2] = 0x7F }, want: "can't be used"},
		{name: "of another algorithm", edit: func(_, header []byte) { header[4] = 0x2C }},
	} {
		t.Run(test.name, func(t *testing.T) {
			for _, dictionary := range []bool{true, false} {
				kind := sampleTypes[1]
				node := sampleNode(kind, optionalLeaf)
				schema := newSchema(node)
				c := sampler{rand.New(rand.NewPCG(3, 3)), 90, 0.2}.column(kind, node, 400)
				chunk := encodeNew(t, schema.Leaves[0], ChunkOptions{Dictionary: dictionary, Bloom: NewBloomFilter(400)}, c)
				file := writeChunks(t, WriterOptions{Schema: schema}, chunk)
				at := openBytes(t, file).groups[0].Columns[0].bloomAt
				head := len(chunk.o.Bloom.append(nil)) - len(chunk.o.Bloom.bits)
				if test.edit != nil {
					test.edit(file[at:][head:], file[at:][:head])
				}
				found := audit(t, openBytes(t, file))
				if test.want == "" && len(found) > 0 {
					t.Fatalf("%+v", found)
				}
				if test.want != "" && (len(found) != 1 || found[0].Where != "Bloom filter" || !found[0].Believed || !strings.Contains(found[0].Message, test.want)) {
					t.Fatalf("%+v, want %q", found, test.want)
				}
			}
		})
	}
}
