package merge_test

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/cespare/xxhash/v2"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/spill"
)

// wantKeys is the report of CheckKeys by brute force.
func wantKeys(tab table, files [][]row, sample int) (want merge.KeyReport) {
	type seen struct {
		rows   int64
		places []merge.RowPlace
		text   string
	}
	found := map[string]*seen{}
	var order []*seen
	for i, rows := range files {
		for at, r := range rows {
			place := merge.RowPlace{File: fmt.Sprintf("%d.parquet", i), Row: int64(at) + 1}
			want.Rows++
			text, null := "", false
			for p, k := range tab.keys {
				null = null || r[k] == nil
				if p > 0 {
					text += ", "
				}
				text += fmt.Sprintf("%s=%v", tab.fields[k].name, r[k])
			}
			if null {
				want.Nulls++
				if len(want.NullSample) < sample {
					want.NullSample = append(want.NullSample, place)
				}
				continue
			}
			s := found[text]
			if s == nil {
				s = &seen{text: text}
				found[text] = s
				order = append(order, s)
			}
			s.rows++
			if len(s.places) < 3 {
				s.places = append(s.places, place)
			}
		}
	}
	for _, s := range order {
		if s.rows > 1 {
			want.Keys, want.Repeated = want.Keys+1, want.Repeated+s.rows-1
			if len(want.Sample) < sample {
				want.Sample = append(want.Sample, merge.RepeatedKey{Key: s.text, Rows: s.rows, Places: s.places})
			}
		}
	}
	return want
}

// TestCheckKeys holds CheckKeys against brute force: sorted files and others, keys of several types and
// parts, with memory for everything and for nothing, with good hashes and with bad ones.
func TestCheckKeys(t *testing.T) {
	i64, text := arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String
	tables := []table{
		{fields: []field{{"k", i64, true}, {"v", i64, true}}, keys: []int{0}},
		{fields: []field{{"k", text, true}, {"v", i64, true}}, keys: []int{0}},
		{fields: []field{{"a", text, true}, {"v", i64, true}, {"b", i64, true}}, keys: []int{0, 2}},
	}
	seed := uint64(time.Now().UnixNano())
	if *seedFlag != 0 {
		seed = *seedFlag
	}
	var walked, hashed, spilled, twice int
	start := time.Now()
	n := 0
	for ; n < 400 && time.Since(start) < 4*time.Second; n++ {
		if *caseFlag >= 0 {
			n = *caseFlag
		}
		r := rand.New(rand.NewPCG(seed, uint64(n)))
		tab := tables[r.IntN(len(tables))]
		var files []memoryFile
		var rows [][]row
		domain, nulls := []int{50, 2000, 1_000_000}[r.IntN(3)], []int{5, 1 << 30}[r.IntN(2)]
		sorted := r.IntN(3) == 0
		for i := range r.IntN(5) {
			var list []row
			for range 1 + r.IntN([]int{5, 300, 5000}[r.IntN(3)]) {
				x := make(row, len(tab.fields))
				for c, f := range tab.fields {
					switch {
					case r.IntN(nulls) == 0:
					case f.typ == text:
						x[c] = fmt.Sprintf("t%d", r.IntN(domain))
					default:
						x[c] = int64(r.IntN(domain) - domain/3)
					}
				}
				list = append(list, x)
			}
			if sorted {
				slices.SortStableFunc(list, func(a, b row) int { return compareKeys(tab, a, b) })
			}
			rows, files = append(rows, list), append(files, writeFile(t, r, tab, fmt.Sprintf("%d.parquet", i), list))
		}
		check := merge.KeyCheck{Schema: tab.schema(), Sample: 1 + r.IntN(4), Parallel: 1 + r.IntN(3)}
		for _, k := range tab.keys {
			check.Key = append(check.Key, tab.fields[k].name)
		}
		for _, f := range files {
			check.Old = append(check.Old, f.old())
		}
		space := spill.New(func() (spill.File, error) { return &spillFile{}, nil })
		if r.IntN(3) > 0 {
			check.Spill, check.Memory = space, []int64{1, 1, 5000, 100_000}[r.IntN(3)]
		}
		hash := []func([]byte) uint64{xxhash.Sum64, xxhash.Sum64, func(k []byte) uint64 { return xxhash.Sum64(k) % 7 * 0x2492492492492492 }}[r.IntN(3)]
		got, err := merge.CheckKeysWith(t.Context(), check, hash)
		if err != nil {
			t.Fatalf("-seed %d -case %d: %v", seed, n, err)
		}
		want := wantKeys(tab, rows, check.Sample)
		want.Sorted = got.Sorted
		if fmt.Sprintf("%+v", *got) != fmt.Sprintf("%+v", want) {
			t.Fatalf("-seed %d -case %d:\n got %+v\nwant %+v", seed, n, *got, want)
		}
		if got.Sorted {
			walked++
		} else {
			hashed++
		}
		if space.Bytes() > 0 {
			spilled++
		}
		if got.Repeated > 0 {
			twice++
		}
		if err := space.Close(); err != nil {
			t.Fatal(err)
		}
		if *caseFlag >= 0 {
			break
		}
	}
	t.Logf("seed %d: %d checks, %d walked, %d by hash, %d spilled, %d with keys that stand twice", seed, n, walked, hashed, spilled, twice)
	if n >= 100 && min(walked, hashed, spilled, twice) < n/50 {
		t.Error("the generator leaves a way out")
	}
}

// compareKeys orders rows by their key, NULL first.
func compareKeys(tab table, a, b row) int {
	for _, k := range tab.keys {
		x, y := a[k], b[k]
		switch {
		case x == nil && y == nil:
			continue
		case x == nil:
			return -1
		case y == nil:
			return 1
		}
		c := 0
		switch v := x.(type) {
		case int64:
			c = int(min(max(v-y.(int64), -1), 1))
		case string:
			c = slices.Compare([]byte(v), []byte(y.(string)))
		}
		if c != 0 {
			return c
		}
	}
	return 0
}

// TestCheckKeysWalks: sorted files, also those that overlap, take neither memory nor the temporary folder.
func TestCheckKeysWalks(t *testing.T) {
	tab := table{fields: []field{{"k", arrow.PrimitiveTypes.Int64, true}}, keys: []int{0}}
	var check merge.KeyCheck
	r := rand.New(rand.NewPCG(1, 2))
	for i := range 3 {
		var rows []row
		for k := range 1000 {
			rows = append(rows, row{int64(k*3 + i)})
		}
		check.Old = append(check.Old, writeFile(t, r, tab, fmt.Sprintf("%d.parquet", i), rows).old())
	}
	var opened atomic.Bool
	check.Schema, check.Key, check.Memory = tab.schema(), []string{"k"}, 1
	check.Spill = spill.New(func() (spill.File, error) { opened.Store(true); return &spillFile{}, nil })
	check.Progress = new(merge.Progress)
	got, err := merge.CheckKeys(t.Context(), check)
	if err != nil || !got.Sorted || got.Repeated != 0 || got.Rows != 3000 || opened.Load() {
		t.Errorf("%+v, %v, opened %t", got, err, opened.Load())
	}
	if check.Progress.Probed.Load() == 0 {
		t.Error("no progress")
	}
}
