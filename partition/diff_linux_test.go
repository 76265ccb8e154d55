package partition

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// TestFeedOnFullDisk fills a file system of its own, and makes it read-only, where mounts are allowed.
func TestFeedOnFullDisk(t *testing.T) {
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=64k"); err != nil {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatalf("mounts required: %v", err)
		}
		t.Skipf("mount: %v", err)
	}
	defer func() {
		if err := syscall.Unmount(dir, 0); err != nil {
			t.Errorf("something of it is open: %v", err)
		}
	}()
	b := newBench(t)
	b.create("1,ann,2026-11-19")
	before := b.snapshot()
	src := b.write("source.csv", days(50_000, 3, "new")...)
	for _, c := range []struct {
		want error
		set  func() error
	}{
		{syscall.ENOSPC, func() error { return nil }},
		{syscall.EROFS, func() error { return syscall.Mount("", dir, "", syscall.MS_REMOUNT|syscall.MS_RDONLY, "") }},
	} {
		if err := c.set(); err != nil {
			t.Fatal(err)
		}
		to := filepath.Join(dir, "feed.parquet")
		rep, err := b.open().Diff(context.Background(), Source{From: []string{src}}, Options{Key: []string{"id"}}, DiffOptions{To: to})
		if KindOf(err) != KindStorage || !errors.Is(err, c.want) || !strings.Contains(Hint(err), "--to") || rep.To != nil {
			t.Errorf("%s: %v; hint: %s", KindOf(err), err, Hint(err))
		}
		if left, _ := os.ReadDir(dir); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	if b.snapshot() != before {
		t.Error("the table changed")
	}
}
