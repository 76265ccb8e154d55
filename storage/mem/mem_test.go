package mem_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/storagetest"
)

var bg = context.Background()

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(*testing.T) (storage.FS, string) { return mem.New(), "/" })
}

func TestSuiteUnderFaultfs(t *testing.T) {
	storagetest.Run(t, func(*testing.T) (storage.FS, string) { return faultfs.Wrap(mem.New()), "/" })
}

func write(t *testing.T, m *mem.FS, name string, sync bool) {
	t.Helper()
	w, err := m.Create(bg, name, 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte("0123456789")); err != nil {
		t.Fatal(err)
	}
	if sync {
		if err := w.Sync(); err != nil {
			t.Fatal(err)
		}
	}
}

func size(m *mem.FS, name string) int64 {
	info, err := m.Stat(bg, name)
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	return info.Size
}

// TestOnlySynced: content needs Sync, names need SyncDir, and both together survive.
func TestOnlySynced(t *testing.T) {
	m := mem.New()
	write(t, m, "/content", false)
	write(t, m, "/whole", true)
	if err := m.SyncDir(bg, "/"); err != nil {
		t.Fatal(err)
	}
	write(t, m, "/name", true)
	c := m.Crash(mem.OnlySynced, 0)
	for name, want := range map[string]int64{"/content": 0, "/whole": 10, "/name": -1} {
		if got := size(c, name); got != want {
			t.Errorf("%s: size %d after the crash, want %d", name, got, want)
		}
	}
	if size(m, "/name") != 10 {
		t.Error("the crash changed the file system it was taken from")
	}
}

// TestRenamesAreAtomic: over all seeds a rename or an exchange has happened or has not.
func TestRenamesAreAtomic(t *testing.T) {
	m := mem.New()
	for _, d := range []string{"/a", "/b"} {
		if err := errors.Join(m.Mkdir(bg, d, 0o755)); err != nil {
			t.Fatal(err)
		}
		write(t, m, d+"/f", true)
		if err := errors.Join(m.SyncDir(bg, d), m.SyncDir(bg, "/")); err != nil {
			t.Fatal(err)
		}
	}
	id := func(m *mem.FS, name string) string {
		info, err := m.Stat(bg, name)
		if err != nil {
			t.Fatal(err)
		}
		return info.ID
	}
	a, b := id(m, "/a/f"), id(m, "/b/f")
	if err := m.Exchange(bg, "/a/f", "/b/f"); err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{}
	for seed := range uint64(50) {
		c := m.Crash(mem.RandomSubset, seed)
		got := id(c, "/a/f") + " " + id(c, "/b/f")
		if got != a+" "+b && got != b+" "+a {
			t.Fatalf("seed %d: half an exchange: %s", seed, got)
		}
		seen[got] = true
	}
	if len(seen) != 2 {
		t.Errorf("one outcome only over 50 seeds: %v", seen)
	}
	// One of the two folders synced is not enough.
	if err := m.SyncDir(bg, "/a"); err != nil {
		t.Fatal(err)
	}
	if c := m.Crash(mem.OnlySynced, 0); id(c, "/a/f") != a {
		t.Error("the exchange was durable with one folder synced")
	}
	if err := m.SyncDir(bg, "/b"); err != nil {
		t.Fatal(err)
	}
	if c := m.Crash(mem.OnlySynced, 0); id(c, "/a/f") != b {
		t.Error("the exchange was not durable with both folders synced")
	}
}

// TestTornWrite: the last write survives in part.
func TestTornWrite(t *testing.T) {
	m := mem.New()
	write(t, m, "/f", false)
	if err := m.SyncDir(bg, "/"); err != nil {
		t.Fatal(err)
	}
	torn := false
	for seed := range uint64(50) {
		n := size(m.Crash(mem.TornWrite, seed), "/f")
		torn = torn || n > 0 && n < 10
	}
	if !torn {
		t.Error("no torn write over 50 seeds")
	}
}
