package hdfs

import (
	"fmt"
	"path"
	"slices"
	"sync"
	"testing"
)

// TestLongListing lists a folder of more names than the namenode gives at once.
func TestLongListing(t *testing.T) {
	f, dir := shared(t)
	const names = 1203
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := w; i < names; i += 8 {
				if err := f.Mkdir(t.Context(), path.Join(dir, fmt.Sprintf("d=%05d", i)), 0o755); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	list, err := f.List(t.Context(), dir)
	if err != nil || len(list) != names {
		t.Fatalf("%d names: %v", len(list), err)
	}
	for i, info := range list {
		if info.Name != fmt.Sprintf("d=%05d", i) || !info.IsDir() {
			t.Fatalf("name %d is %+v", i, info)
		}
	}
	ids := make([]string, 0, names)
	for _, info := range list {
		ids = append(ids, info.ID)
	}
	slices.Sort(ids)
	if len(slices.Compact(ids)) != names {
		t.Error("two of one id")
	}
}
