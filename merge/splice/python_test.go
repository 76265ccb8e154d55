package splice

import (
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// TestOtherEngines has pyarrow, DuckDB and, where it is installed, Spark read files that the encoder
// wrote, in full and by filters. HUPSERT_PYTHON names a Python that has them.
func TestOtherEngines(t *testing.T) {
	if os.Getenv("HUPSERT_PYTHON") == "" {
		t.Skip("HUPSERT_PYTHON is not set")
	}
	dir := t.TempDir()
	seed := uint64(1)
	for _, rows := range []int{1, 500, 12000} {
		for version := 1; version <= 2; version++ {
			for _, codec := range sampleCodecs {
				name := fmt.Sprintf("%d_v%d_%s", rows, version, codec)
				writeEngineSample(t, filepath.Join(dir, name), rows, seed, ChunkOptions{
					PageVersion: version, Codec: codec, CRC: seed%2 == 0, PlainDictionary: version == 1 && seed%3 > 0,
				})
				seed++
			}
		}
	}
	runEngines(t, "read", dir)
}

func runEngines(t *testing.T, what, dir string) {
	t.Helper()
	out, err := exec.Command(os.Getenv("HUPSERT_PYTHON"), "testdata/engines.py", what, dir).CombinedOutput()
	t.Logf("%s", out)
	if err != nil {
		t.Fatal(err)
	}
}

// TestCopyOfOtherEngines copies files that other engines wrote, and has them read the copies.
func TestCopyOfOtherEngines(t *testing.T) {
	if os.Getenv("HUPSERT_PYTHON") == "" {
		t.Skip("HUPSERT_PYTHON is not set")
	}
	dir := t.TempDir()
	runEngines(t, "make", dir)
	files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name+".copy", copyFile(t, openBytes(t, data)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	runEngines(t, "same", dir)
}

// writeEngineSample writes name.parquet and name.json, which holds per column the rows as text. The
// column "row" counts them.
func writeEngineSample(t *testing.T, name string, rows int, seed uint64, o ChunkOptions) {
	r := rand.New(rand.NewPCG(seed, seed))
	kinds := []sampleType{{
		name: "row", kind: format.Int64, width: 8, value: func(*rand.Rand, int) []byte { return make([]byte, 8) },
	}}
	fields := []*column.Node{sampleNode(kinds[0], requiredLeaf)}
	for _, kind := range sampleTypes {
		if rows > 1000 && slices.Contains([]string{"float16", "uuid", "time"}, kind.name) {
			continue // Spark 3.5 refuses files that have one
		}
		for of := requiredLeaf; of <= listLeaf; of++ {
			field := sampleNode(kind, of)
			field.Name = fmt.Sprintf("%s_%d", kind.name, of)
			fields, kinds = append(fields, field), append(kinds, kind)
		}
	}
	schema := newSchema(fields...)
	expected := map[string][]any{}
	var chunks []*EncodedChunk
	for i, field := range fields {
		s := sampler{r, []int{2, 40, 100000}[r.IntN(3)], []float64{0, 0.1, 0.9, 1}[r.IntN(4)]}
		c := s.column(kinds[i], field, rows)
		if i == 0 {
			for row := range rows {
				copy(c.Values.Fixed[8*row:], appendUint(nil, uint64(row), 8))
			}
		}
		o := o
		o.Dictionary = r.IntN(3) > 0
		o.DictBytes = []int{0, 3000}[r.IntN(2)]
		o.PageRows = []int{0, 100, 1777}[r.IntN(3)]
		leaf := schema.Leaves[i]
		chunks = append(chunks, encode(t, leaf, o, r, c))
		expected[field.Name] = rowTexts(leaf, c)
	}
	if err := os.WriteFile(name+".parquet", writeChunks(t, WriterOptions{Schema: schema}, chunks...), 0o644); err != nil {
		t.Fatal(err)
	}
	encoded, err := json.Marshal(expected)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name+".json", encoded, 0o644); err != nil {
		t.Fatal(err)
	}
}

// rowTexts writes each row as null, text or a list of them.
func rowTexts(leaf *column.Leaf, c *column.Column) []any {
	var rows []any
	slot := func(i int) any {
		if c.Null(i) {
			return nil
		}
		return valueText(leaf, c.Value(i))
	}
	for i := 0; i < c.Slots; i++ {
		switch {
		case leaf.MaxRep == 0:
			rows = append(rows, slot(i))
		case c.Rep[i] > 0:
			last := len(rows) - 1
			rows[last] = append(rows[last].([]any), slot(i))
		case c.Def != nil && c.Def[i] == 0:
			rows = append(rows, nil)
		case c.Def != nil && c.Def[i] == 1:
			rows = append(rows, []any{})
		default:
			rows = append(rows, []any{slot(i)})
		}
	}
	return rows
}

// valueText writes integers and unscaled decimals as numbers, all else in hexadecimal.
func valueText(leaf *column.Leaf, v []byte) string {
	switch {
	case leaf.Type == format.Boolean:
		return fmt.Sprint(v[0])
	case leaf.Annotation.Kind == column.Decimal && leaf.Type != format.Int32 && leaf.Type != format.Int64:
		n := new(big.Int).SetBytes(v)
		if len(v) > 0 && v[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
		}
		return n.String()
	case leaf.Type == format.Int32 || leaf.Type == format.Int64:
		reversed := slices.Clone(v)
		slices.Reverse(reversed)
		n := new(big.Int).SetBytes(reversed)
		if !leaf.Annotation.Unsigned && reversed[0]&0x80 != 0 {
			n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
		}
		return n.String()
	}
	return fmt.Sprintf("%x", v)
}
