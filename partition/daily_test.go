package partition

import (
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage/local"
)

// dailyRounds is how many merges go into one table: of each, 1 % of the rows are updated and 0.1 % inserted.
const dailyRounds = 40

// TestDailyMerges merges day after day into one table: files, row groups and what dictionaries hold in vain stay few, by upsert
// alone, and by compact where each day leaves a file.
func TestDailyMerges(t *testing.T) {
	const rows = 3000
	for name, o := range map[string]struct {
		merge  Options
		due    bool // compactions are made where they are due
		most   int  // files after any day
		joined int  // compactions
	}{
		"upsert alone":          {Options{}, false, 2, 0},
		"a file a day, compact": {Options{TargetFileBytes: 1}, true, 21, 2},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newBench(t)
			r := rand.New(rand.NewPCG(1, 2))
			held := map[int]string{}
			lines := []string{"id,name"}
			put := func(id, day int) {
				held[id] = fmt.Sprintf("day %d, %d", day, r.IntN(20))
				lines = append(lines, fmt.Sprintf("%d,\"%s\"", id, held[id]))
			}
			for id := range rows {
				put(2*id, 0)
			}
			b.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "id bigint, name string"}, b.write("first.csv", lines...))
			joined := 0
			for day := 1; day <= dailyRounds; day++ {
				lines = lines[:1]
				for _, id := range r.Perm(rows)[:rows/100] {
					put(2*id, day)
				}
				for _, id := range r.Perm(rows)[:rows/1000] {
					put(2*id+1, day)
				}
				due := b.upsert(o.merge, b.write("day.csv", lines...)).Partitions[0].CompactionDue != ""
				if n := len(dataFilesOf(t, b.root())); n > o.most {
					t.Fatalf("%d files after %d days", n, day)
				}
				if due && o.due {
					if p := b.compact(CompactOptions{Due: true, Key: []string{"id"}}).Partitions[0]; p.Status == Published && p.Files.After == 1 {
						joined++
					}
				}
			}
			if joined < o.joined || joined > 0 && !o.due {
				t.Errorf("%d compactions in %d days, want %d", joined, dailyRounds, o.joined)
			}
			var want []string
			for id, name := range held {
				want = append(want, fmt.Sprintf(".: id=%d name=%s", id, name))
			}
			slices.Sort(want)
			b.want(want...)
			b.lean(t)
			if name == "upsert alone" {
				b.compact(CompactOptions{Key: []string{"id"}})
				b.want(want...)
				if n := len(dataFilesOf(t, b.root())); n != 1 {
					t.Errorf("%d files after a compaction", n)
				}
			}
		})
	}
}

// lean sees that row groups are few, and that no dictionary is mostly what nothing uses.
func (b *bench) lean(t *testing.T) {
	t.Helper()
	for _, name := range dataFilesOf(t, b.root()) {
		f, closer, err := openParquet(t.Context(), local.FS{}, name)
		if err != nil {
			t.Fatal(err)
		}
		defer closer.Close()
		if n := f.NumRowGroups(); n > 2 {
			t.Errorf("%s has %d row groups", filepath.Base(name), n)
		}
		for g := range f.NumRowGroups() {
			for c, leaf := range f.Schema().Leaves {
				entries, used, err := f.DictionaryUse(t.Context(), g, c)
				// Merges look when the number of entries passes a power of two.
				if err != nil || entries > 4*used+64 {
					t.Errorf("%s, row group %d, %s: %d of %d entries are used (%v)", filepath.Base(name), g, strings.Join(leaf.Path, "."), used, entries, err)
				}
			}
		}
	}
}
