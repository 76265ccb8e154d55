package local_test

import (
	"context"
	"os"
	"path/filepath"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/storagetest"
)

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) (storage.FS, string) { return local.FS{}, t.TempDir() })
}

// TestSymlinks: a link is described as a link, in Stat and in List.
func TestSymlinks(t *testing.T) {
	dir := t.TempDir()
	if err := os.Symlink("/etc", filepath.Join(dir, "out")); err != nil {
		t.Fatal(err)
	}
	info, err := local.FS{}.Stat(context.Background(), filepath.Join(dir, "out"))
	if err != nil || !info.IsSymlink() || info.IsDir() {
		t.Fatalf("%+v, %v", info, err)
	}
	list, err := local.FS{}.List(context.Background(), dir)
	if err != nil || len(list) != 1 || !list[0].IsSymlink() {
		t.Fatalf("%+v, %v", list, err)
	}
}
