package local_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// TestManyLocks: the locks of a folder take one descriptor, and give it back.
func TestManyLocks(t *testing.T) {
	dir := t.TempDir()
	before := descriptors(t)
	held := make([]storage.Unlocker, 0, 3000)
	for i := range cap(held) {
		l, err := local.FS{}.Lock(t.Context(), filepath.Join(dir, fmt.Sprintf("p=%d.lock", i)))
		if err != nil {
			t.Fatal(err)
		}
		held = append(held, l)
	}
	if n := descriptors(t) - before; n > 1 {
		t.Errorf("%d locks take %d descriptors", len(held), n)
	}
	if _, err := (local.FS{}).Lock(t.Context(), filepath.Join(dir, "p=1500.lock")); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("a lock that is held: %v", err)
	}
	for _, l := range held {
		if err := l.Unlock(); err != nil {
			t.Fatal(err)
		}
	}
	if n := descriptors(t) - before; n != 0 {
		t.Errorf("%d descriptors are left", n)
	}
}

func descriptors(t *testing.T) int {
	t.Helper()
	list, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	return len(list)
}
