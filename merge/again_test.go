package merge_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// TestMergedAgain merges fifty small changes into a table, one after the other: the rows stay the model's, what the files say
// of them stays true, and neither the files nor their dictionaries grow much beyond those of rows that are written once.
func TestMergedAgain(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	for i, write := range []func(testing.TB, *rand.Rand, table, string, []row) memoryFile{writeSmallPages, writeByParquetGo, writeFile} {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			t.Parallel()
			mergeAgain(t, rand.New(rand.NewPCG(seed, uint64(i))), write)
		})
	}
}

var againTable = table{
	fields: []field{
		{"k0", arrow.PrimitiveTypes.Int64, false}, {"c0", arrow.BinaryTypes.String, true}, {"c1", arrow.BinaryTypes.String, true},
		{"c2", arrow.PrimitiveTypes.Float64, true}, {"c3", arrow.PrimitiveTypes.Int32, true},
		{"c4", &arrow.Decimal128Type{Precision: 30, Scale: 4}, true}, {"c5", arrow.ListOf(arrow.BinaryTypes.String), true},
	},
	keys: []int{0},
}

func againRow(r *rand.Rand, key int64, round int) row {
	x := row{key, fmt.Sprintf("one of few %d", r.IntN(20)), fmt.Sprintf("one of round %d: %d", round, r.IntN(40)), nil, nil, nil, nil}
	for i := 3; i < len(x); i++ {
		if r.IntN(5) > 0 {
			x[i] = randomValue(r, againTable.fields[i].typ, 30+round)
		}
	}
	return x
}

func mergeAgain(t *testing.T, r *rand.Rand, write func(testing.TB, *rand.Rand, table, string, []row) memoryFile) {
	const rounds = 50
	var rows []row
	for key := range int64(2000) {
		rows = append(rows, againRow(r, 2*key, 0))
	}
	style := r.Uint64()
	files := []memoryFile{write(t, rand.New(rand.NewPCG(style, 0)), againTable, "old.parquet", rows)}
	o := merge.Options{Key: []string{"k0"}, DeleteWhen: &merge.DeleteWhen{Column: "c0", Value: &goneMark}}
	for round := 1; round <= rounds; round++ {
		changes := againChanges(r, rows, round)
		gone := func(x row) bool { return x[1] == goneMark }
		want, counts, err := modelMerge(againTable, rows, changes, gone, o)
		if err != nil {
			t.Fatal(err)
		}
		before := files
		o.Force = []merge.Route{"", merge.Patch, merge.Patch, merge.Rewrite}[r.IntN(4)]
		var got merge.Counts
		files, got = mergeFiles(t, againTable, before, changes, o, fmt.Sprintf("r%d", round))
		if got != counts {
			t.Fatalf("round %d: %+v, want %+v", round, got, counts)
		}
		rows = want
		if round%10 == 0 {
			what := fmt.Sprintf("round %d", round)
			checkClaims(t, what, files, before...)
			diffRows(t, what, readFiles(t, againTable.schema(), files, true), want, len(files) == 1)
		}
	}
	size := 0
	for _, f := range files {
		size += len(f.data)
		checkKeyBounds(t, f)
	}
	fresh := len(write(t, rand.New(rand.NewPCG(style, 0)), againTable, "fresh.parquet", rows).data)
	entries, live := dictionaries(t, files)
	t.Logf("after %d merges: %d bytes, written once %d; dictionaries of %d entries, of which %d are used", rounds, size, fresh, entries, live)
	if size > 2*fresh {
		t.Errorf("%d bytes after %d merges, %d written once", size, rounds, fresh)
	}
	if entries > 2*live+100 {
		t.Errorf("dictionaries of %d entries after %d merges, of which %d are used", entries, rounds, live)
	}
}

// checkKeyBounds checks that the pages of the first column, whose type has an order, can be ruled out by their bounds, where there is a page index.
func checkKeyBounds(t *testing.T, m memoryFile) {
	t.Helper()
	f, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
	if err != nil {
		t.Fatal(err)
	}
	for g := range f.NumRowGroups() {
		index, err := f.PageIndex(g, 0)
		if err != nil {
			t.Fatal(err)
		}
		for i := 0; index != nil && i < len(index.Pages); i++ {
			if p := index.Pages[i]; p.Min == nil || p.Max == nil {
				t.Errorf("%s: row group %d: page %d has no bounds", m.name, g, i)
			}
		}
	}
}

// TestKeyPastItsPage: a page index whose bounds are narrower than the chunk's hides no key.
func TestKeyPastItsPage(t *testing.T) {
	tab := table{keys: []int{0}, fields: []field{{"k", arrow.PrimitiveTypes.Int64, false}, {"c", arrow.BinaryTypes.String, false}}}
	var rows []row
	for k := range int64(400) {
		rows = append(rows, row{k, fmt.Sprint(k)})
	}
	file := writeGroups(t, tab, "old.parquet", splice.ChunkOptions{PageRows: 50}, rows)
	for _, key := range []int64{0, 399} {
		damaged := memoryFile{file.name, slices.Clone(file.data)}
		footer := len(damaged.data) - 8 - int(binary.LittleEndian.Uint32(damaged.data[len(damaged.data)-8:]))
		at := bytes.LastIndex(damaged.data[:footer], binary.LittleEndian.AppendUint64(nil, uint64(key)))
		damaged.data[at] ^= 1 // 1 and 398
		changes := []row{{key, "changed"}}
		_, counts := mergeFiles(t, tab, []memoryFile{damaged}, changes, merge.Options{Key: []string{"k"}}, "r")
		if counts.Updated != 1 || counts.Inserted != 0 {
			t.Errorf("key %d: %+v", key, counts)
		}
	}
}

// TestStaleDictionaryIsWrittenAnew: values that patching leaves unused in a dictionary do not pile up. It is written anew when more of it is stale than
// live, which is looked for where its number of entries passes a power of two.
func TestStaleDictionaryIsWrittenAnew(t *testing.T) {
	tab := table{keys: []int{0}, fields: []field{{"k", arrow.PrimitiveTypes.Int64, false}, {"c", arrow.BinaryTypes.String, false}}}
	const n, copies, changed = 400, 4, 40 // values, each in several rows, and how many of them change at a time
	var rows []row
	for k := range int64(n * copies) {
		rows = append(rows, row{k, fmt.Sprintf("0: %d", k/copies)})
	}
	files := []memoryFile{writeGroups(t, tab, "old.parquet", splice.ChunkOptions{PageRows: 50, Dictionary: true}, rows)}
	most, last, cleared := 0, n, 0
	for round := range 60 {
		var changes []row
		for i := range changed * copies {
			k := (round*changed*copies + i) % (n * copies)
			rows[k] = row{int64(k), fmt.Sprintf("%d: %d", round+1, k/copies)}
			changes = append(changes, rows[k])
		}
		files, _ = mergeFiles(t, tab, files, changes, merge.Options{Key: []string{"k"}, Force: merge.Patch}, fmt.Sprintf("r%d", round))
		entries, _ := dictionaries(t, files)
		if entries < last {
			cleared++
		}
		most, last = max(most, entries), entries
	}
	diffRows(t, "after all", readFiles(t, tab.schema(), files, true), rows, true)
	if most > 1024 || most <= 512 || cleared == 0 {
		t.Errorf("%d entries at most for %d values, cleared %d times", most, n, cleared)
	}
}

// goneMark stands in c0 of rows that are deletes.
var goneMark = "gone"

// againChanges are updates of neighbours and of rows anywhere, deletes and inserts.
func againChanges(r *rand.Rand, rows []row, round int) (changes []row) {
	taken := map[int64]bool{}
	add := func(key int64, mark string) {
		if taken[key] {
			return
		}
		taken[key] = true
		x := againRow(r, key, round)
		if mark != "" {
			x[1] = mark
		}
		changes = append(changes, x)
	}
	from := r.IntN(len(rows) - 20)
	for i := range 20 {
		add(rows[from+i][0].(int64), "")
	}
	for range 10 {
		add(rows[r.IntN(len(rows))][0].(int64), "")
	}
	for range 3 {
		add(rows[r.IntN(len(rows))][0].(int64), goneMark)
		add(2*r.Int64N(3000)+1, "")
	}
	return changes
}

// mergeFiles merges rows into files.
func mergeFiles(t *testing.T, tab table, files []memoryFile, changes []row, o merge.Options, run string) ([]memoryFile, merge.Counts) {
	t.Helper()
	var old []merge.Old
	for _, f := range files {
		old = append(old, f.old())
	}
	p, err := merge.Prepare(context.Background(), merge.Task{Schema: tab.schema(), Old: old, Options: o,
		Batches: []merge.Batch{{Columns: source.InMemory(tab.record(changes))}}})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	sink := &memorySink{old: files, run: run}
	if _, err := p.Write(context.Background(), sink); err != nil {
		t.Fatal(err)
	}
	if err := sink.outlived(); err != nil {
		t.Fatal(err)
	}
	return sink.files, p.Counts()
}

// dictionaries counts entries of all dictionaries, and those that some page uses.
func dictionaries(t *testing.T, files []memoryFile) (entries, live int) {
	t.Helper()
	for _, m := range files {
		f, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
		if err != nil {
			t.Fatal(err)
		}
		for g := range f.NumRowGroups() {
			for c := range f.Schema().Leaves {
				e, l := dictionaryOf(t, f, g, c)
				entries, live = entries+e, live+l
			}
		}
	}
	return entries, live
}

func dictionaryOf(t *testing.T, f *splice.File, g, col int) (entries, live int) {
	t.Helper()
	pages := f.Pages(g, col, nil)
	defer pages.Close()
	dict, err := pages.Dictionary()
	if err != nil || dict == nil {
		return 0, 0
	}
	used := make([]bool, dict.Len())
	for {
		var c column.Column
		_, _, err := pages.Next(context.Background(), &c)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for s := range c.Slots {
			if c.Dict != nil && !c.Null(s) {
				used[c.Index[s]] = true
			}
		}
	}
	return len(used), len(slices.DeleteFunc(used, func(u bool) bool { return !u }))
}
