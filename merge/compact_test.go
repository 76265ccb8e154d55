package merge_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/splice"
)

// compactCase is a partition in many files.
type compactCase struct {
	randomCase
	task  merge.CompactTask
	parts [][]row // by file
}

func newCompactCase(t testing.TB, r *rand.Rand) *compactCase {
	c := &compactCase{randomCase: newRandomCase(t, r)}
	c.old = nil
	if r.IntN(4) > 0 {
		c.shape = 1 + r.Uint64N(1000) // so that files can be joined
	}
	rows := slices.Clone(c.oldRows)
	if r.IntN(3) > 0 {
		c.sortRows(rows)
	}
	late := rows[len(rows)-len(rows)*r.IntN(40)/100:] // rows that came last
	rows = rows[:len(rows)-len(late)]
	if r.IntN(2) == 0 {
		slices.SortFunc(late, func(a, b row) int { return cmp.Compare(c.tab.key(a), c.tab.key(b)) })
	}
	if r.IntN(2) == 0 && len(rows) > 0 { // rows out of the middle come last
		at := r.IntN(len(rows))
		n := r.IntN(len(rows)-at)/3 + 1
		late = append(late, rows[at:at+n]...)
		rows = slices.Delete(slices.Clone(rows), at, at+n)
	}
	rows = append(slices.Clone(rows), late...)
	for i := 0; len(rows) > 0; i++ {
		n := min(len(rows), 1+r.IntN(max(1, len(rows)/(1+r.IntN(8)))))
		tab, stored := c.tab, rows[:n]
		if c.shape == 0 && r.IntN(6) == 0 {
			tab, stored = c.tab.drifted(r, rows[:n])
		}
		c.old = append(c.old, c.writeFile(t, r, tab, fmt.Sprintf("old-%03d.parquet", i), stored))
		c.parts = append(c.parts, rows[:n])
		rows = rows[n:]
	}
	c.task = merge.CompactTask{Schema: c.tab.declared(), Parallel: 1 + r.IntN(3)}
	if r.IntN(4) > 0 {
		c.task.Key = c.options.Key
	}
	if r.IntN(2) == 0 {
		c.task.RowGroupRows = int64(1 + r.IntN(300))
	}
	if r.IntN(3) == 0 {
		c.task.TargetFileBytes = 1 + int64(r.IntN(50000))
	}
	if r.IntN(5) == 0 {
		c.task.Memory = 1 << (10 + r.IntN(20))
	}
	return c
}

func (c *compactCase) compareKeys(a, b row) int {
	for _, k := range c.tab.keys {
		if d := compareValues(c.tab.keyValue(a, k), c.tab.keyValue(b, k)); d != 0 {
			return d
		}
	}
	return 0
}

func (c *compactCase) sortRows(rows []row) { slices.SortStableFunc(rows, c.compareKeys) }

// compactFiles compacts files and gives the new ones, with what was decided.
func compactFiles(t testing.TB, task merge.CompactTask, files []memoryFile, run string) (*memorySink, *merge.Compaction) {
	t.Helper()
	task.Old = nil
	for _, f := range files {
		task.Old = append(task.Old, f.old())
	}
	c, err := merge.PrepareCompaction(context.Background(), task)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close() })
	sink := &memorySink{old: files, run: run}
	result, err := c.Write(context.Background(), sink)
	if err := errors.Join(err, sink.outlived()); err != nil {
		t.Fatal(err)
	}
	if result.Rows != c.Counts().Old {
		t.Fatalf("%d rows, want %d", result.Rows, c.Counts().Old)
	}
	return sink, c
}

// TestCompactRandom compacts random partitions: the rows stay, in their order or in that of their keys, what files say of them is
// true, and there is nothing left to do.
func TestCompactRandom(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	t.Logf("seed %d", seed)
	// However slow the machine or the cases, so many are done that each kind is among them.
	const least = 60
	limit, start := min(*budget, 12*time.Second), time.Now()
	doing := ""
	defer func() {
		if t.Failed() {
			t.Log(doing)
		}
	}()
	var compacted, sorted, merged, kept, n int
	more := func() bool {
		if *casesFlag > 0 {
			return n < *casesFlag
		}
		return n < least || time.Since(start) < limit
	}
	for ; more(); n++ {
		if *caseFlag >= 0 {
			n = *caseFlag
		}
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		c := newCompactCase(t, r)
		what := fmt.Sprintf("-seed %d -case %d", seed, n)
		doing = what
		sink, did := compactFiles(t, c.task, c.old, "c1")
		c.checkRows(t, what, sink, did)
		checkClaims(t, what, sink.files, c.old...)
		again, second := compactFiles(t, c.task, sink.files, "c2")
		if why := second.Shape().Why; len(why) == 1 && strings.HasSuffix(why[0], "out of key order") {
			// Joined or cut otherwise, rows may have become mostly in order.
			diffRows(t, what, readFiles(t, c.tab.schema(), again.files, c.parquetGo), readFiles(t, c.tab.schema(), sink.files, c.parquetGo), false)
			sink = again
			again, second = compactFiles(t, c.task, sink.files, "c3")
		}
		// With so little memory row groups are as large as the rows seemed to allow before they were joined.
		if !second.Noop() && c.task.Memory == 0 {
			t.Fatalf("%s: a second compaction finds %v; the first had %v", what, second.Shape(), did.Shape())
		}
		if second.Noop() && len(again.files) != len(sink.files) {
			t.Fatalf("%s: %d files after nothing was done, %d before", what, len(again.files), len(sink.files))
		}
		if !did.Noop() {
			compacted++
			if sink.kept > 0 {
				kept++
			}
		}
		if did.Shape().Sorted {
			sorted++
			if slices.ContainsFunc(did.Shape().Why, func(s string) bool { return strings.HasSuffix(s, "of key order") }) {
				merged++
			}
		}
		if *caseFlag >= 0 {
			break
		}
	}
	t.Logf("%d cases: %d compacted, %d of them with files that were kept, %d by key, %d where the order was lost", n, compacted, kept, sorted, merged)
	if *caseFlag < 0 && *casesFlag == 0 && (compacted < 10 || merged == 0) {
		t.Errorf("only %d of %d partitions were compacted, %d of them put in order", compacted, n, merged)
	}
}

// checkRows holds the files against the model: rows of files that are written stand in the order of the old files, or of keys.
func (c *compactCase) checkRows(t *testing.T, what string, sink *memorySink, did *merge.Compaction) {
	t.Helper()
	diffRows(t, what, readFiles(t, c.tab.schema(), sink.files, c.parquetGo), slices.Concat(c.parts...), false)
	made := sink.files[sink.kept:]
	var old []row
	wrote, drifted := 0, c.shape == 0
	for i, f := range did.Files() {
		if f.Route == merge.Keep {
			continue
		}
		wrote++
		old = append(old, c.parts[i]...)
	}
	if did.Noop() != (wrote == 0) || wrote > 0 && len(did.Shape().Why) == 0 {
		t.Fatalf("%s: %d files are written because of %q", what, wrote, did.Shape().Why)
	}
	if after := did.Shape().After; after.Files != len(sink.files) {
		t.Fatalf("%s: %d files, said to be %d", what, len(sink.files), after.Files)
	}
	if drifted { // there may be several kinds, each with an order of its own
		return
	}
	got := readFiles(t, c.tab.schema(), made, c.parquetGo)
	if !did.Shape().Sorted {
		diffRows(t, what+", in order", got, old, true)
		return
	}
	keyed := slices.DeleteFunc(slices.Clone(got), c.tab.nullKey)
	if !slices.IsSortedFunc(keyed, c.compareKeys) {
		t.Fatalf("%s: rows are not in the order of their keys", what)
	}
}

// TestCompactCopies sees that large row groups are copied as bytes, files that are fine kept, and late rows put in their place.
func TestCompactCopies(t *testing.T) {
	tab := table{fields: []field{{"k", arrow.PrimitiveTypes.Int64, false}, {"v", arrow.BinaryTypes.String, true}}, keys: []int{0}}
	r := rand.New(rand.NewPCG(1, 1))
	write := func(name string, groups ...[]row) memoryFile {
		return writeGroups(t, tab, name, hundredRowPages, groups...)
	}
	rows := func(from, to, step int) (out []row) {
		for k := from; k < to; k += step {
			out = append(out, row{int64(k), fmt.Sprintf("%d %d", k, r.Uint64())})
		}
		return out
	}
	task := merge.CompactTask{Schema: tab.schema(), Key: []string{"k"}, RowGroupRows: 1000, TargetFileBytes: 4000}
	files := []memoryFile{
		write("a.parquet", rows(0, 2000, 2), rows(2000, 4000, 2)),
		write("b.parquet", rows(10000, 12000, 2), rows(12000, 14000, 2), rows(10001, 10101, 2), rows(10101, 10201, 2)),
		write("c.parquet", rows(20000, 22000, 2)),
	}
	sink, did := compactFiles(t, task, files, "x")
	plans := did.Files()
	if plans[0].Route != merge.Keep || plans[2].Route != merge.Keep || sink.kept != 2 {
		t.Errorf("the routes are %s, %s, %s; want the first and the last kept", plans[0].Route, plans[1].Route, plans[2].Route)
	}
	if g := plans[1].RowGroups; g[0].Route != merge.Rewrite || g[1].Route != merge.Copy || g[2].Route != merge.Rewrite {
		t.Errorf("the routes of the row groups are %v, want only the second copied", g)
	}
	if s := did.Shape(); !s.Sorted || s.Before.RowGroups != 7 || s.After.RowGroups != 6 {
		t.Errorf("the shape is %+v", s)
	}
	got := readFiles(t, tab.schema(), sink.files[2:], false)
	if !slices.IsSortedFunc(got, func(a, b row) int { return compareValues(a[0], b[0]) }) || len(got) != 2100 {
		t.Errorf("%d rows, not in order", len(got))
	}
}

// TestCompactStale sees that a dictionary of values that nothing uses is made anew, and the other chunks are copied.
func TestCompactStale(t *testing.T) {
	tab := table{fields: []field{{"k", arrow.PrimitiveTypes.Int64, false}, {"v", arrow.BinaryTypes.String, true}, {"w", arrow.BinaryTypes.String, true}}, keys: []int{0}}
	var rows []row
	for k := range 2000 {
		rows = append(rows, row{int64(k), fmt.Sprintf("value %d", k/10), fmt.Sprint(k % 7)})
	}
	files := []memoryFile{writeGroups(t, tab, "a.parquet", hundredRowPages, rows)}
	o := merge.Options{Key: []string{"k"}, Force: merge.Patch}
	for from := 0; from < len(rows); from += 100 {
		for i := from; i < from+100; i++ {
			rows[i] = row{rows[i][0], "value 0", rows[i][2]}
		}
		files, _ = mergeFiles(t, tab, files, rows[from:from+100], o, fmt.Sprint("r", from))
	}
	entries, live := dictionaries(t, files)
	if entries < 2*live {
		t.Fatalf("%d of %d entries are used: nothing to be made anew", live, entries)
	}
	sink, did := compactFiles(t, merge.CompactTask{Schema: tab.schema(), Key: []string{"k"}}, files, "c")
	if entries, live = dictionaries(t, sink.files); entries != live {
		t.Errorf("%d of %d entries are used", live, entries)
	}
	g := did.Files()[0].RowGroups[0]
	if !slices.Equal(g.Encodes, []string{"v"}) || g.Copied == 0 {
		t.Errorf("%+v: want v alone encoded", g)
	}
	diffRows(t, "stale", readFiles(t, tab.schema(), sink.files, false), rows, true)
}

var hundredRowPages = splice.ChunkOptions{Codec: format.Snappy, PageRows: 100, Dictionary: true}
