package mem_test

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

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

// TestSuiteWithLess: what is taken away is refused, and all else stays.
func TestSuiteWithLess(t *testing.T) {
	storagetest.Run(t, func(*testing.T) (storage.FS, string) {
		m := mem.New()
		m.SetCapabilities(storage.Capabilities{Scheme: "mem"})
		return m, "/"
	})
}

// TestSuiteAfterCrash: what a crash leaves is a file system like any other.
func TestSuiteAfterCrash(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) (storage.FS, string) {
		m := mem.New()
		must(t, m.Mkdir(bg, "/d", 0o755))
		must(t, m.SyncDir(bg, "/"))
		return m.Crash(mem.TornWrite, 1), "/d"
	})
}

type fataler interface {
	Helper()
	Fatal(args ...any)
	Fatalf(format string, args ...any)
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// write makes a file and leaves it open.
func write(t fataler, m *mem.FS, name, data string) storage.Writer {
	t.Helper()
	w, err := m.Create(bg, name, 0o644)
	must(t, err)
	_, err = w.Write([]byte(data))
	must(t, err)
	return w
}

func read(t fataler, m *mem.FS, name string) string {
	t.Helper()
	f, err := m.Open(bg, name)
	must(t, err)
	info, err := f.Stat()
	must(t, err)
	p := make([]byte, info.Size)
	_, err = f.ReadAt(p, 0)
	must(t, err)
	return string(p)
}

// tree is all there is, a line a name: with the identity, and the content of files.
func tree(t fataler, m *mem.FS) string {
	t.Helper()
	var lines []string
	var walk func(dir string)
	walk = func(dir string) {
		list, err := m.List(bg, dir)
		must(t, err)
		for _, i := range list {
			name := path.Join(dir, i.Name)
			line := name + " " + i.ID + " " + i.Mode.String()
			if i.Mode.IsRegular() {
				line += " " + read(t, m, name)
			}
			lines = append(lines, line)
			if i.IsDir() {
				walk(name)
			}
		}
	}
	walk("/")
	return strings.Join(lines, "\n")
}

func exists(t fataler, m *mem.FS, name string) bool {
	t.Helper()
	_, err := m.Stat(bg, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false
	}
	must(t, err)
	return true
}

// TestOnlySynced: content needs Sync, names need SyncDir, and both together survive.
func TestOnlySynced(t *testing.T) {
	m := mem.New()
	write(t, m, "/content", "lost")
	must(t, write(t, m, "/whole", "kept").Sync())
	w := write(t, m, "/part", "kept")
	must(t, w.Sync())
	_, err := w.Write([]byte(" and lost"))
	must(t, err)
	must(t, m.SyncDir(bg, "/"))
	must(t, write(t, m, "/name", "kept").Sync())
	before := tree(t, m)
	c := m.Crash(mem.OnlySynced, 0)
	for name, want := range map[string]string{"/content": "", "/whole": "kept", "/part": "kept"} {
		if got := read(t, c, name); got != want {
			t.Errorf("%s holds %q after the crash, want %q", name, got, want)
		}
	}
	if exists(t, c, "/name") {
		t.Error("a name survived that was not synced")
	}
	if tree(t, m) != before {
		t.Error("the crash changed the file system it was taken from")
	}
}

// TestUnsyncedNames: each kind of change comes undone without SyncDir, and lasts with it.
func TestUnsyncedNames(t *testing.T) {
	changes := map[string]func(m *mem.FS) error{
		"create":   func(m *mem.FS) error { _, err := m.Create(bg, "/d/new", 0o644); return err },
		"mkdir":    func(m *mem.FS) error { return m.Mkdir(bg, "/d/new", 0o755) },
		"symlink":  func(m *mem.FS) error { return m.Symlink(bg, "a", "/d/new") },
		"link":     func(m *mem.FS) error { return m.Link(bg, "/d/a", "/d/new") },
		"lock":     func(m *mem.FS) error { _, err := m.Lock(bg, "/d/new"); return err },
		"remove":   func(m *mem.FS) error { return m.Remove(bg, "/d/a") },
		"rmdir":    func(m *mem.FS) error { return m.Remove(bg, "/d/empty") },
		"rename":   func(m *mem.FS) error { return m.Rename(bg, "/d/a", "/d/new") },
		"replace":  func(m *mem.FS) error { return m.Replace(bg, "/d/a", "/d/b") },
		"exchange": func(m *mem.FS) error { return m.Exchange(bg, "/d/a", "/d/empty") },
	}
	for name, change := range changes {
		m := mem.New()
		must(t, m.Mkdir(bg, "/d", 0o755))
		must(t, m.Mkdir(bg, "/d/empty", 0o755))
		must(t, write(t, m, "/d/a", "A").Sync())
		must(t, write(t, m, "/d/b", "B").Sync())
		must(t, m.SyncDir(bg, "/d"))
		must(t, m.SyncDir(bg, "/"))
		old := tree(t, m)
		must(t, change(m))
		now := tree(t, m)
		if got := tree(t, m.Crash(mem.OnlySynced, 0)); got != old {
			t.Errorf("%s lasted without SyncDir:\n%s", name, got)
		}
		if got := tree(t, m.Crash(mem.Killed, 0)); got != now {
			t.Errorf("%s came undone though the machine lived:\n%s", name, got)
		}
		must(t, m.SyncDir(bg, "/"))
		if got := tree(t, m.Crash(mem.OnlySynced, 0)); got != old {
			t.Errorf("%s lasted with another folder synced:\n%s", name, got)
		}
		must(t, m.SyncDir(bg, "/d"))
		for _, model := range mem.Models() {
			if got := tree(t, m.Crash(model, 1)); got != now {
				t.Errorf("%s came undone after SyncDir, %s:\n%s", name, model, got)
			}
		}
	}
}

// TestLostFolder: what lies in a folder that is not durable is lost, synced or not.
func TestLostFolder(t *testing.T) {
	m := mem.New()
	must(t, m.Mkdir(bg, "/d", 0o755))
	must(t, write(t, m, "/d/f", "1").Sync())
	must(t, m.SyncDir(bg, "/d"))
	if c := m.Crash(mem.OnlySynced, 0); exists(t, c, "/d") {
		t.Error("a folder lasted without SyncDir of its parent")
	}
	must(t, m.SyncDir(bg, "/"))
	if c := m.Crash(mem.OnlySynced, 0); read(t, c, "/d/f") != "1" {
		t.Error("a synced file in a synced folder is lost")
	}
}

// TestTwoFolders: what concerns two folders lasts with both synced, and is never there by half.
func TestTwoFolders(t *testing.T) {
	for name, change := range map[string]func(m *mem.FS) error{
		"rename":   func(m *mem.FS) error { return m.Rename(bg, "/a/f", "/b/new") },
		"folder":   func(m *mem.FS) error { return m.Rename(bg, "/a/d", "/b/d") },
		"replace":  func(m *mem.FS) error { return m.Replace(bg, "/a/f", "/b/f") },
		"exchange": func(m *mem.FS) error { return m.Exchange(bg, "/a/f", "/b/f") },
	} {
		for _, last := range []string{"/a", "/b"} {
			m := mem.New()
			for _, d := range []string{"/a", "/b"} {
				must(t, m.Mkdir(bg, d, 0o755))
				must(t, write(t, m, d+"/f", d).Sync())
			}
			must(t, m.Mkdir(bg, "/a/d", 0o755))
			must(t, errors.Join(m.SyncDir(bg, "/a"), m.SyncDir(bg, "/b"), m.SyncDir(bg, "/")))
			old := tree(t, m)
			must(t, change(m))
			now := tree(t, m)
			for _, model := range mem.Models() {
				seen := map[string]bool{}
				for seed := range uint64(60) {
					got := tree(t, m.Crash(model, seed))
					if got != old && got != now {
						t.Fatalf("%s, %s, seed %d: by half:\n%s", name, model, seed, got)
					}
					seen[got] = true
				}
				if model != mem.OnlySynced && len(seen) != 2 {
					t.Errorf("%s, %s: one outcome only over all seeds", name, model)
				}
			}
			first := map[string]string{"/a": "/b", "/b": "/a"}[last]
			must(t, m.SyncDir(bg, first))
			if tree(t, m.Crash(mem.OnlySynced, 0)) != old {
				t.Errorf("%s was durable with %s synced only", name, first)
			}
			must(t, m.SyncDir(bg, last))
			if tree(t, m.Crash(mem.OnlySynced, 0)) != now {
				t.Errorf("%s was not durable with both folders synced", name)
			}
		}
	}
}

// TestBasis: a durable change takes along the one it builds on, so that no file is lost between them.
func TestBasis(t *testing.T) {
	m := mem.New()
	for _, d := range []string{"/a", "/b"} {
		must(t, m.Mkdir(bg, d, 0o755))
	}
	must(t, write(t, m, "/a/f", "old").Sync())
	must(t, errors.Join(m.SyncDir(bg, "/a"), m.SyncDir(bg, "/")))
	must(t, m.Rename(bg, "/a/f", "/b/f")) // never synced in b
	must(t, write(t, m, "/a/f", "new").Sync())
	must(t, m.SyncDir(bg, "/a"))
	c := m.Crash(mem.OnlySynced, 0)
	if read(t, c, "/a/f") != "new" || read(t, c, "/b/f") != "old" {
		t.Errorf("after the crash:\n%s", tree(t, c))
	}
	// A folder is gone only after what moved out of it has moved.
	must(t, m.Rename(bg, "/b/f", "/a/g"))
	must(t, m.Remove(bg, "/b"))
	must(t, m.SyncDir(bg, "/"))
	if c := m.Crash(mem.OnlySynced, 0); read(t, c, "/a/g") != "old" {
		t.Errorf("after the second crash:\n%s", tree(t, c))
	}
}

// TestUnsyncedContent: a file's writes survive in every manner, and what was synced is always there.
func TestUnsyncedContent(t *testing.T) {
	m := mem.New()
	w := write(t, m, "/f", "SYNCED")
	must(t, w.Sync())
	for _, s := range []string{"first", "second", "third"} {
		_, err := w.Write([]byte(s))
		must(t, err)
	}
	must(t, m.SyncDir(bg, "/"))
	const all = "SYNCEDfirstsecondthird"
	for _, model := range mem.Models()[1:] {
		var lost, whole, holes, cut, other int
		for seed := range uint64(400) {
			got := read(t, m.Crash(model, seed), "/f")
			if !strings.HasPrefix(got, "SYNCED") || len(got) > len(all) {
				t.Fatalf("%s, seed %d: %q", model, seed, got)
			}
			switch ends := []int{6, 11, 17, 22}; {
			case got == "SYNCED":
				lost++
			case got == all:
				whole++
			case strings.Contains(got, "\x00"):
				holes++
			case !slices.Contains(ends, len(got)):
				cut++
			case !strings.HasPrefix(all, got):
				other++
			}
		}
		torn := model != mem.RandomSubset
		if lost == 0 || holes == 0 || whole == 0 && !torn || cut > 0 != torn || other > 0 != torn {
			t.Errorf("%s: %d lost, %d whole, %d with holes, %d cut, %d with other bytes", model, lost, whole, holes, cut, other)
		}
	}
	must(t, w.Sync())
	for _, model := range mem.Models() {
		if got := read(t, m.Crash(model, 7), "/f"); got != all {
			t.Errorf("%s: a synced file holds %q", model, got)
		}
	}
}

// TestLocksEndWithTheMachine: no lock outlives a crash, and the file systems share none.
func TestLocksEndWithTheMachine(t *testing.T) {
	m := mem.New()
	_, err := m.Lock(bg, "/l")
	must(t, err)
	for _, model := range append(mem.Models(), mem.Killed) {
		if _, err := m.Crash(model, 1).Lock(bg, "/l"); err != nil {
			t.Errorf("%s: %v", model, err)
		}
	}
	if _, err := m.Lock(bg, "/l"); !errors.Is(err, storage.ErrLocked) {
		t.Errorf("the crash freed a lock of the living: %v", err)
	}
}

// TestUnsyncedAttributes: a mode lasts with the folder's own SyncDir or the file's Sync.
func TestUnsyncedAttributes(t *testing.T) {
	m := mem.New()
	must(t, m.Mkdir(bg, "/d", 0o755))
	w := write(t, m, "/f", "1")
	must(t, errors.Join(w.Sync(), m.SyncDir(bg, "/")))
	mode := fs.FileMode(0o700)
	for _, name := range []string{"/d", "/f"} {
		must(t, m.SetAttr(bg, name, storage.Attr{Mode: &mode}))
	}
	modes := func(m *mem.FS) (out [2]fs.FileMode) {
		for i, name := range []string{"/d", "/f"} {
			info, err := m.Stat(bg, name)
			must(t, err)
			out[i] = info.Mode.Perm()
		}
		return out
	}
	if got := modes(m.Crash(mem.OnlySynced, 0)); got != [2]fs.FileMode{0o755, 0o644} {
		t.Errorf("not synced: %o", got)
	}
	must(t, errors.Join(w.Sync(), m.SyncDir(bg, "/d")))
	if got := modes(m.Crash(mem.OnlySynced, 0)); got != [2]fs.FileMode{0o700, 0o700} {
		t.Errorf("synced: %o", got)
	}
}

func TestClock(t *testing.T) {
	m := mem.New()
	at := time.Date(2024, 1, 2, 3, 4, 5, 6, time.UTC)
	m.SetClock(func() time.Time { return at })
	must(t, write(t, m, "/f", "1").Close())
	if info, err := m.Crash(mem.Killed, 0).Stat(bg, "/f"); err != nil || !info.ModTime.Equal(at) {
		t.Errorf("%v, %v", info.ModTime, err)
	}
}
