package merge_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// writeSealed writes rows in pages with checksums, as Spark does.
func writeSealed(t testing.TB, tab table, name string, rows []row) memoryFile {
	t.Helper()
	return writeGroups(t, tab, name, splice.ChunkOptions{Codec: format.Snappy, PageRows: 40, CRC: true, Dictionary: true, PlainDictionary: true}, rows)
}

// mergeParquet merges files of Parquet into a table by its first column. The routes are nil where nothing was written.
func mergeParquet(tab table, old memoryFile, from ...memoryFile) (*memorySink, []merge.Route, error) {
	ctx := context.Background()
	var batches []merge.Batch
	for _, f := range from {
		file, err := splice.Open(bytes.NewReader(f.data), int64(len(f.data)), f.name)
		if err != nil {
			return nil, nil, err
		}
		stretches, err := source.StretchesOf(file, f.name)
		if err != nil {
			return nil, nil, err
		}
		for _, s := range stretches {
			batches = append(batches, merge.Batch{Columns: s, Position: s.Position})
		}
	}
	p, err := merge.Prepare(ctx, merge.Task{Schema: tab.schema(), Old: []merge.Old{old.old()}, Batches: batches,
		Options: merge.Options{Key: []string{tab.fields[0].name}, Mode: merge.Upsert}})
	if err != nil {
		return nil, nil, err
	}
	defer p.Close()
	var routes []merge.Route
	for _, f := range p.Files() {
		routes = append(routes, f.Route)
	}
	sink := &memorySink{old: []memoryFile{old}, run: "next"}
	if _, err := p.Write(ctx, sink); err != nil {
		return nil, nil, err
	}
	return sink, routes, sink.outlived()
}

// adoptedTable has rows of a table, and as many that replace them.
func adoptedTable() (tab table, old, fresh []row) {
	tab = table{keys: []int{0}, fields: []field{
		{"k", arrow.PrimitiveTypes.Int64, true}, {"kind", arrow.BinaryTypes.String, true}, {"n", arrow.PrimitiveTypes.Int32, true},
		{"said", arrow.BinaryTypes.String, true},
	}}
	for i := range int64(120) {
		old = append(old, row{3 * i, []string{"a", "b", "c"}[i%3], i, fmt.Sprint("before ", i)})
		fresh = append(fresh, row{3 * i, []string{"c", "d"}[i%2], i % 7, fmt.Sprint("after ", i*i)})
	}
	return tab, old, fresh
}

// TestDamagedSourceIsNotAdopted flips a bit of each byte of a source whose row groups are copied: the merge is refused, or has the
// rows that it should have. Which bit turns with the seed.
func TestDamagedSourceIsNotAdopted(t *testing.T) {
	tab, rows, fresh := adoptedTable()
	old, good := writeSealed(t, tab, "old", rows), writeSealed(t, tab, "new", fresh)
	if _, routes, err := mergeParquet(tab, old, good); err != nil || !slices.Contains(routes, merge.Adopt) {
		t.Fatalf("the source is not adopted: %v, %v", routes, err)
	}
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	r := rand.New(rand.NewPCG(seed, 0))
	refused, adopted := 0, 0
	for at := range good.data {
		bad, bit := bytes.Clone(good.data), r.IntN(8)
		bad[at] ^= 1 << bit
		sink, routes, err := mergeParquet(tab, old, memoryFile{"new", bad})
		if err != nil {
			refused++
			continue
		}
		if slices.Contains(routes, merge.Adopt) {
			adopted++
		}
		diffRows(t, fmt.Sprintf("-seed %d: bit %d of byte %d", seed, bit, at), readFiles(t, tab.schema(), sink.files, false), fresh, false)
		if t.Failed() {
			return
		}
	}
	t.Logf("-seed %d: %d flips were refused, after %d the source was adopted", seed, refused, adopted)
	if refused < len(good.data)/4 {
		t.Errorf("only %d flips were refused", refused)
	}
}

// TestAdoptedInSeveralFiles: a table of one file takes files that together replace it, also where the source has rows before, between and behind
// those of the table.
func TestAdoptedInSeveralFiles(t *testing.T) {
	tab, rows, fresh := adoptedTable()
	for _, k := range []int64{-5, 100, 181, 1000} {
		fresh = append(fresh, row{k, "new", int64(1), "inserted"})
	}
	slices.SortFunc(fresh, func(a, b row) int { return compareValues(a[0], b[0]) })
	var files []memoryFile
	for i := range 4 {
		files = append(files, writeSealed(t, tab, fmt.Sprint("new-", i), fresh[i*31:(i+1)*31]))
	}
	sink, routes, err := mergeParquet(tab, writeSealed(t, tab, "old", rows), files...)
	if err != nil {
		t.Fatal(err)
	}
	if want := []merge.Route{merge.Drop, merge.Adopt, merge.Adopt, merge.Adopt, merge.Adopt}; !slices.Equal(routes, want) {
		t.Errorf("routes %v, want %v", routes, want)
	}
	diffRows(t, "four files for one", readFiles(t, tab.schema(), sink.files, false), fresh, true)
}
