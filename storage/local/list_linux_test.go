package local

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// TestListOfASwappedFolder: a listing is of one folder, however often it is swapped for another meanwhile.
func TestListOfASwappedFolder(t *testing.T) {
	const files, lists = 20, 2000
	root := t.TempDir()
	a, b := filepath.Join(root, "a"), filepath.Join(root, "b")
	for _, dir := range []string{a, b} {
		err := os.Mkdir(dir, 0o755)
		for i := range files {
			err = errors.Join(err, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d", filepath.Base(dir), i)), nil, 0o644))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	swapped := make(chan int)
	go func() {
		n := 0
		for ; ctx.Err() == nil; n++ {
			if err := exchange(a, b); err != nil {
				t.Error(err)
			}
		}
		swapped <- n
	}()
	for range lists {
		list, err := FS{}.List(t.Context(), a)
		if err != nil || len(list) != files {
			t.Errorf("%d files of %d, %v", len(list), files, err)
			break
		}
	}
	stop()
	t.Logf("%d swaps in %d listings", <-swapped, lists)
}
