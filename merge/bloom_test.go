package merge_test

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/splice"
)

// TestBloomFiltersOfChangedChunks: whatever way a row group takes, its chunks keep their Bloom filters, with every value of the
// merged rows in them; so do row groups that get inserted rows.
func TestBloomFiltersOfChangedChunks(t *testing.T) {
	type line struct {
		Key  int64   `parquet:"k0"`
		Text *string `parquet:"c0"`
		Dict *string `parquet:"c1,dict"`
	}
	tab := table{fields: []field{{"k0", arrow.PrimitiveTypes.Int64, false}, {"c0", arrow.BinaryTypes.String, true}, {"c1", arrow.BinaryTypes.String, true}}, keys: []int{0}}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[line](&buf, parquet.PageBufferSize(500), parquet.BloomFilters(
		parquet.SplitBlockFilter(10, "k0"), parquet.SplitBlockFilter(10, "c0"), parquet.SplitBlockFilter(10, "c1")))
	var rows []row
	for i := range 1000 {
		text, few := fmt.Sprint("text ", i), fmt.Sprint("few ", i%7)
		rows = append(rows, row{int64(i), text, few})
		if _, err := w.Write([]line{{int64(i), &text, &few}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	old := memoryFile{"old.parquet", buf.Bytes()}
	updates := []row{{int64(5), "new text", "new one"}, {int64(700), nil, "new two"}}
	for _, test := range []struct {
		name    string
		changes []row
		o       merge.Options
	}{
		{"updates", updates, merge.Options{}},
		{"updates, the whole row group encoded", updates, merge.Options{Force: merge.Rewrite}},
		{"an insert into the row group", []row{{int64(5000), "inserted", "inserted too"}}, merge.Options{}},
		{"inserts behind it", []row{{int64(5000), "inserted", "few 1"}, {int64(5001), nil, "inserted too"}}, merge.Options{RowGroupRows: 1000}},
		{"deletes", rows[100:300], merge.Options{Mode: merge.Delete}},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.o.Key = []string{"k0"}
			want, _, err := modelMerge(tab, rows, test.changes, func(row) bool { return false }, test.o)
			if err != nil {
				t.Fatal(err)
			}
			files, _ := mergeFiles(t, tab, []memoryFile{old}, test.changes, test.o, "r1")
			diffRows(t, test.name, readFiles(t, tab.schema(), files, true), want, true)
			checkClaims(t, test.name, files, old)
			for _, m := range files {
				f, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
				if err != nil {
					t.Fatal(err)
				}
				for g := range f.NumRowGroups() {
					for c, leaf := range f.Schema().Leaves {
						if !f.RowGroup(g).Columns[c].BloomFilter {
							t.Errorf("row group %d, column %v has no Bloom filter", g, leaf.Path)
						}
					}
				}
			}
		})
	}
}

// TestDamagedBloomFilter: a filter that can't be read stops no merge, whatever its route; the chunk that changes has none then.
func TestDamagedBloomFilter(t *testing.T) {
	tab := table{fields: []field{{"k0", arrow.PrimitiveTypes.Int64, false}, {"c0", arrow.BinaryTypes.String, true}}, keys: []int{0}}
	type line struct {
		Key  int64   `parquet:"k0"`
		Text *string `parquet:"c0"`
	}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[line](&buf, parquet.PageBufferSize(500), parquet.BloomFilters(parquet.SplitBlockFilter(10, "c0")))
	for i := range 1000 {
		text := fmt.Sprint("text ", i)
		if _, err := w.Write([]line{{int64(i), &text}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	file, err := parquet.OpenFile(bytes.NewReader(buf.Bytes()), int64(buf.Len()))
	if err != nil {
		t.Fatal(err)
	}
	at := file.Metadata().RowGroups[0].Columns[1].MetaData.BloomFilterOffset
	buf.Bytes()[at+1] ^= 2 // another size, which is no whole number of blocks
	for _, route := range []merge.Route{"", merge.Patch, merge.Rewrite} {
		files, counts := mergeFiles(t, tab, []memoryFile{{"old.parquet", buf.Bytes()}}, []row{{int64(5), "new"}}, merge.Options{Key: []string{"k0"}, Force: route}, "r1")
		if counts.Updated != 1 {
			t.Errorf("route %q: %+v", route, counts)
		}
		checkClaims(t, string(route), files)
	}
}
