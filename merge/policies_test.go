package merge_test

import (
	"context"
	"errors"
	"math"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
)

// TestPolicies holds rules that the random merges do not reach: keys that stand twice in the old files,
// float and nested keys, versions of several columns.
func TestPolicies(t *testing.T) {
	i64, f64 := arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float64
	plain := table{fields: []field{{"k", i64, true}, {"a", i64, true}, {"b", i64, true}}, keys: []int{0}}
	float := table{fields: []field{{"k", f64, true}, {"a", i64, true}}, keys: []int{0}}
	inner := arrow.StructOf(arrow.Field{Name: "id", Type: i64, Nullable: true}, arrow.Field{Name: "x", Type: i64, Nullable: true})
	nested := table{fields: []field{{"s", inner, true}, {"a", i64, true}}, keys: []int{0}}
	listed := table{fields: []field{{"k", i64, true}, {"l", arrow.ListOf(i64), false}}, keys: []int{0}}
	versions := []merge.Version{{Column: "a"}, {Column: "b", Desc: true}}
	n := func(v int64) any { return v }
	for name, c := range map[string]struct {
		tab         table
		old, source []row
		options     merge.Options
		want        []row
		counts      merge.Counts
		err         error
	}{
		"old duplicates are an error": {tab: plain, old: []row{{n(1), n(1), n(1)}, {n(1), n(2), n(2)}}, source: []row{{n(1), n(9), n(9)}},
			options: merge.Options{Key: []string{"k"}}, err: merge.ErrDuplicateKey},
		"untouched old duplicates stay": {tab: plain, old: []row{{n(1), n(1), n(1)}, {n(1), n(2), n(2)}}, source: []row{{n(2), n(9), n(9)}},
			options: merge.Options{Key: []string{"k"}}, want: []row{{n(1), n(1), n(1)}, {n(1), n(2), n(2)}, {n(2), n(9), n(9)}},
			counts: merge.Counts{Old: 2, Source: 1, Kept: 2, Inserted: 1, Out: 3}},
		"update-all": {tab: plain, old: []row{{n(1), n(1), n(1)}, {n(1), n(2), n(2)}, {n(3), n(3), n(3)}}, source: []row{{n(1), n(9), n(9)}},
			options: merge.Options{Key: []string{"k"}, OldDuplicates: merge.PolicyUpdateAll},
			want:    []row{{n(1), n(9), n(9)}, {n(1), n(9), n(9)}, {n(3), n(3), n(3)}}, counts: merge.Counts{Old: 3, Source: 1, Kept: 1, Updated: 2, Out: 3}},
		"repair keeps the highest version": {tab: plain, old: []row{{n(1), n(5), n(1)}, {n(1), n(2), n(2)}, {n(3), n(3), n(3)}}, source: []row{{n(1), n(6), n(9)}},
			options: merge.Options{Key: []string{"k"}, OldDuplicates: merge.PolicyRepair, OrderBy: []merge.Version{{Column: "a"}}},
			want:    []row{{n(1), n(6), n(9)}, {n(3), n(3), n(3)}}, counts: merge.Counts{Old: 3, Source: 1, Kept: 1, Updated: 1, OldDuplicates: 1, Out: 2}},
		"repair of a stale source": {tab: plain, old: []row{{n(1), n(5), n(1)}, {n(1), n(2), n(2)}}, source: []row{{n(1), n(3), n(9)}},
			options: merge.Options{Key: []string{"k"}, OldDuplicates: merge.PolicyRepair, OrderBy: []merge.Version{{Column: "a"}}},
			want:    []row{{n(1), n(5), n(1)}}, counts: merge.Counts{Old: 2, Source: 1, Kept: 1, StaleSkipped: 1, OldDuplicates: 1, Out: 1}},
		"repair needs a version": {tab: plain, old: []row{{n(1), n(5), n(1)}, {n(1), n(2), n(2)}}, source: []row{{n(1), n(3), n(9)}},
			options: merge.Options{Key: []string{"k"}, OldDuplicates: merge.PolicyRepair}, err: merge.ErrUsage},
		"the second version decides a tie": {tab: plain, old: []row{{n(1), n(5), n(5)}, {n(2), n(5), n(5)}},
			source: []row{{n(1), n(5), n(4)}, {n(1), n(4), n(0)}, {n(2), n(5), n(6)}}, options: merge.Options{Key: []string{"k"}, OrderBy: versions},
			want: []row{{n(1), n(5), n(4)}, {n(2), n(5), n(5)}}, counts: merge.Counts{Old: 2, Source: 3, Kept: 1, Updated: 1, StaleSkipped: 1, SourceDuplicates: 1, Out: 2}},
		"float keys are refused": {tab: float, old: []row{{1.5, n(1)}}, source: []row{{1.5, n(2)}}, options: merge.Options{Key: []string{"k"}}, err: merge.ErrSchema},
		"float keys: NaN and zeros are equal": {tab: float, old: []row{{math.NaN(), n(1)}, {math.Copysign(0, -1), n(2)}, {-2.5, n(3)}},
			source:  []row{{math.Float64frombits(0x7FF8000000000099), n(9)}, {0.0, n(8)}, {-2.5, n(7)}},
			options: merge.Options{Key: []string{"k"}, AllowFloatKeys: true},
			want:    []row{{math.NaN(), n(9)}, {0.0, n(8)}, {-2.5, n(7)}}, counts: merge.Counts{Old: 3, Source: 3, Updated: 3, Out: 3}},
		"float keys: bounds pass NaN by": {tab: float, old: []row{{math.NaN(), n(1)}, {1.5, n(2)}}, source: []row{{math.NaN(), n(9)}},
			options: merge.Options{Key: []string{"k"}, AllowFloatKeys: true},
			want:    []row{{math.NaN(), n(9)}, {1.5, n(2)}}, counts: merge.Counts{Old: 2, Source: 1, Kept: 1, Updated: 1, Out: 2}},
		"a field of a struct is the key": {tab: nested, old: []row{{[]any{n(1), n(1)}, n(1)}, {[]any{n(2), n(2)}, n(2)}}, source: []row{{[]any{n(2), n(7)}, n(9)}, {[]any{n(3), n(3)}, n(3)}},
			options: merge.Options{Key: []string{"s.id"}}, want: []row{{[]any{n(1), n(1)}, n(1)}, {[]any{n(2), n(7)}, n(9)}, {[]any{n(3), n(3)}, n(3)}},
			counts: merge.Counts{Old: 2, Source: 2, Kept: 1, Updated: 1, Inserted: 1, Out: 3}},
		"an empty list of a required column is no NULL": {tab: listed, old: []row{{n(1), []any{n(5)}}}, source: []row{{n(1), []any{}}},
			options: merge.Options{Key: []string{"k"}, KeepNull: []string{"l"}}, want: []row{{n(1), []any{}}}, counts: merge.Counts{Old: 1, Source: 1, Updated: 1, Out: 1}},
		"deletes of one key are one": {tab: nested, old: []row{{[]any{n(1), n(1)}, n(1)}, {[]any{n(2), n(2)}, n(2)}}, source: []row{{[]any{n(2), n(7)}, n(9)}, {[]any{n(2), n(8)}, n(3)}},
			options: merge.Options{Key: []string{"s.id"}, Mode: merge.Delete}, want: []row{{[]any{n(1), n(1)}, n(1)}},
			counts: merge.Counts{Old: 2, Source: 2, Kept: 1, Deleted: 1, SourceDuplicates: 1, Out: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			old := writeFile(t, r, c.tab, "old.parquet", c.old)
			p, err := merge.Prepare(context.Background(), merge.Task{Schema: c.tab.schema(), Old: []merge.Old{old.old()},
				Batches: []merge.Batch{{Columns: source.InMemory(c.tab.record(c.source))}}, Options: c.options})
			if c.err != nil {
				if !errors.Is(err, c.err) {
					t.Fatalf("got %v, want %v", err, c.err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			sink := &memorySink{old: []memoryFile{old}, run: "r"}
			if _, err := p.Write(context.Background(), sink); err != nil {
				t.Fatal(err)
			}
			if p.Counts() != c.counts {
				t.Errorf("got %+v\nwant %+v", p.Counts(), c.counts)
			}
			diffRows(t, name, readFiles(t, c.tab.schema(), sink.files, false), c.want, true)
		})
	}
}

// TestNarrowFile: a file with a narrower type takes part in a merge of values that only another file holds, whichever
// rows of it go, stay or change.
func TestNarrowFile(t *testing.T) {
	i64 := arrow.PrimitiveTypes.Int64
	wide := table{fields: []field{{"k", i64, true}, {"w", i64, true}, {"v", i64, true}, {"gone", arrow.FixedWidthTypes.Boolean, true}}, keys: []int{0}}
	narrow := table{fields: slices.Clone(wide.fields), keys: []int{0}}
	narrow.fields[2].typ = arrow.PrimitiveTypes.Int8
	n := func(v int64) any { return v }
	for name, c := range map[string]struct {
		batches [][]row
		want    []row
	}{
		"a row goes, another stays": {[][]row{{{n(1), n(1), n(1), nil}, {n(2), nil, nil, true}, {n(9), n(9), n(900), nil}}},
			[]row{{n(1), n(1), n(1), nil}, {n(3), n(3), n(3), nil}, {n(9), n(9), n(900), nil}}},
		"a later batch does not fit": {[][]row{{{n(1), n(10), n(10), nil}}, {{n(2), n(20), n(200), nil}}},
			[]row{{n(1), n(10), n(10), nil}, {n(2), n(20), n(200), nil}, {n(3), n(3), n(3), nil}, {n(9), n(9), n(1000), nil}}},
	} {
		t.Run(name, func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 1))
			files := []memoryFile{writeFile(t, r, narrow, "a.parquet", []row{{n(1), n(1), n(1), nil}, {n(2), n(2), n(2), nil}, {n(3), n(3), n(3), nil}}),
				writeFile(t, r, wide, "b.parquet", []row{{n(9), n(9), n(1000), nil}})}
			task := merge.Task{Schema: wide.schema(), Old: []merge.Old{files[0].old(), files[1].old()},
				Options: merge.Options{Key: []string{"k"}, DeleteWhen: &merge.DeleteWhen{Column: "gone"}, Parallel: 1}}
			for _, rows := range c.batches {
				task.Batches = append(task.Batches, merge.Batch{Columns: source.InMemory(wide.record(rows))})
			}
			p, err := merge.Prepare(context.Background(), task)
			if err != nil {
				t.Fatal(err)
			}
			defer p.Close()
			sink := &memorySink{old: files, run: "r"}
			if _, err := p.Write(context.Background(), sink); err != nil {
				t.Fatal(err)
			}
			diffRows(t, name, readFiles(t, wide.schema(), sink.files, false), c.want, true)
		})
	}
}
