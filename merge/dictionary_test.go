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

// TestDictionaryStaysLean updates the same rows to values that nobody had before, two hundred times over: what the dictionary holds of
// values that are gone stays below what is in use, and the file's size by that of one with the same rows.
func TestDictionaryStaysLean(t *testing.T) {
	type line struct {
		Key  int64  `parquet:"k0"`
		Text string `parquet:"c0,dict"`
	}
	tab := table{fields: []field{{"k0", arrow.PrimitiveTypes.Int64, false}, {"c0", arrow.BinaryTypes.String, false}}, keys: []int{0}}
	var buf bytes.Buffer
	w := parquet.NewGenericWriter[line](&buf)
	var rows []row
	for i := range 3000 {
		text := fmt.Sprint("one of a few ", i%7)
		rows = append(rows, row{int64(i), text})
		if _, err := w.Write([]line{{int64(i), text}}); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	files := []memoryFile{{"old.parquet", buf.Bytes()}}
	o := merge.Options{Key: []string{"k0"}}
	const updated = 20
	most, rewritten := 0, false
	for round := range 200 {
		var changes []row
		for i := range updated {
			changes = append(changes, row{int64(i * 100), fmt.Sprintf("value %d of round %d", i, round)})
			rows[i*100] = changes[i]
		}
		before := dictionarySize(t, files[0])
		files, _ = mergeFiles(t, tab, files, changes, o, fmt.Sprint("r", round))
		after := dictionarySize(t, files[0])
		most, rewritten = max(most, after), rewritten || after < before
	}
	diffRows(t, "after all", readFiles(t, tab.schema(), files, true), rows, true)
	if most > 200 || !rewritten {
		t.Errorf("a dictionary of %d entries for %d values in use; made anew: %t", most, 7+updated, rewritten)
	}
}

// dictionarySize is how many entries the dictionary of the second column has.
func dictionarySize(t *testing.T, m memoryFile) int {
	t.Helper()
	f, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
	if err != nil {
		t.Fatal(err)
	}
	pages := f.Pages(0, 1, nil)
	defer pages.Close()
	dict, err := pages.Dictionary()
	if err != nil || dict == nil {
		t.Fatal("no dictionary: ", err)
	}
	return dict.Len()
}
