package mem_test

import (
	"fmt"
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/mem"
)

// dirs are the folders a random run begins with, durable; all may move but the root.
var dirs = []string{"/", "/a", "/b", "/a/c"}

// run is a file system on which random things happen.
type run struct {
	*mem.FS
	writers map[string]storage.Writer // by id
}

func newRun(t *rapid.T) *run {
	r := &run{mem.New(), map[string]storage.Writer{}}
	for _, d := range dirs[1:] {
		must(t, r.Mkdir(bg, d, 0o755))
	}
	for _, d := range dirs {
		r.create(t, path.Join(d, "f"))
		r.create(t, path.Join(d, "g"))
	}
	r.syncAll(t)
	return r
}

func (r *run) create(t *rapid.T, name string) {
	w, err := r.Create(bg, name, 0o644)
	if err != nil {
		return // the name is taken, or its folder has moved
	}
	_, err = w.Write([]byte(name))
	must(t, err)
	info, err := r.Stat(bg, name)
	must(t, err)
	r.writers[info.ID] = w
}

// names lists all names, folders first said by IsDir.
func names(t fataler, m *mem.FS) (out []string, infos map[string]storage.Info) {
	infos = map[string]storage.Info{}
	var walk func(dir string)
	walk = func(dir string) {
		list, err := m.List(bg, dir)
		must(t, err)
		for _, i := range list {
			name := path.Join(dir, i.Name)
			out, infos[name] = append(out, name), i
			if i.IsDir() {
				walk(name)
			}
		}
	}
	walk("/")
	return out, infos
}

func (r *run) syncAll(t *rapid.T) {
	for _, w := range r.writers {
		must(t, w.Sync())
	}
	all, infos := names(t, r.FS)
	must(t, r.SyncDir(bg, "/"))
	for _, name := range all {
		if infos[name].IsDir() {
			must(t, r.SyncDir(bg, name))
		}
	}
}

// target draws a name that may be taken or free, in a folder that is there.
func (r *run) target(t *rapid.T) string {
	all, infos := names(t, r.FS)
	all = append(slices.DeleteFunc(all, func(n string) bool { return !infos[n].IsDir() }), "/")
	return path.Join(rapid.SampledFrom(all).Draw(t, "folder"), rapid.SampledFrom([]string{"f", "g", "h", "a", "b", "c"}).Draw(t, "name"))
}

// move renames, exchanges or syncs at random: nothing is made and nothing goes away.
func (r *run) move(t *rapid.T) {
	all, infos := names(t, r.FS)
	from := rapid.SampledFrom(all).Draw(t, "from")
	switch rapid.SampledFrom([]string{"rename", "rename", "exchange", "exchange", "syncdir", "sync"}).Draw(t, "op") {
	case "rename":
		_ = r.Rename(bg, from, r.target(t)) // refusals are as good
	case "exchange":
		_ = r.Exchange(bg, from, rapid.SampledFrom(all).Draw(t, "with"))
	case "syncdir":
		if infos[from].IsDir() {
			must(t, r.SyncDir(bg, from))
		} else {
			must(t, r.SyncDir(bg, path.Dir(from)))
		}
	case "sync":
		if w := r.writers[infos[from].ID]; w != nil {
			must(t, w.Sync())
		}
	}
}

// change does anything.
func (r *run) change(t *rapid.T) {
	all, infos := names(t, r.FS)
	if len(all) == 0 {
		r.create(t, r.target(t))
		return
	}
	from := rapid.SampledFrom(all).Draw(t, "from")
	switch rapid.SampledFrom([]string{"create", "write", "mkdir", "remove", "replace", "link", "move", "move"}).Draw(t, "op") {
	case "create":
		r.create(t, r.target(t))
	case "write":
		if w := r.writers[infos[from].ID]; w != nil {
			_, err := fmt.Fprintf(w, "+%s", from)
			must(t, err)
		}
	case "mkdir":
		_ = r.Mkdir(bg, r.target(t), 0o755)
	case "remove":
		_ = r.Remove(bg, from)
	case "replace":
		_ = r.Replace(bg, from, r.target(t))
	case "link":
		_ = r.Link(bg, from, r.target(t))
	case "move":
		r.move(t)
	}
}

// everyCrash calls check with crashes of all models.
func (r *run) everyCrash(t *rapid.T, check func(c *mem.FS, what string)) {
	for _, model := range append(mem.Models(), mem.Killed) {
		for range 3 {
			seed := rapid.Uint64().Draw(t, "seed")
			check(r.Crash(model, seed), fmt.Sprintf("%s, seed %d", model, seed))
		}
	}
}

// TestNothingIsLost: where files and folders only move, a crash finds each of them once, wherever it is.
func TestNothingIsLost(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		want := identities(t, r.FS)
		for range rapid.IntRange(1, 30).Draw(t, "steps") {
			r.move(t)
		}
		r.everyCrash(t, func(c *mem.FS, what string) {
			if got := identities(t, c); got != want {
				t.Fatalf("%s: %s\nwas %s", what, got, want)
			}
		})
	})
}

func identities(t fataler, m *mem.FS) string {
	_, infos := names(t, m)
	var ids []string
	for _, i := range infos {
		ids = append(ids, i.ID)
	}
	slices.Sort(ids)
	return strings.Join(ids, " ")
}

// TestCrashesAreSound: whatever happened, a crash leaves a file system in order, of which all is
// durable, the same for the same seed; what it was taken from stays; what is synced as a whole
// survives as a whole; and a power cut finds after a kill what it would have found before it.
func TestCrashesAreSound(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			r.change(t)
		}
		before := tree(t, r.FS)
		r.everyCrash(t, func(c *mem.FS, what string) {
			inOrder(t, c, what)
			if now := tree(t, c); !strings.HasPrefix(what, mem.Killed.String()) && tree(t, c.Crash(mem.OnlySynced, 0)) != now {
				t.Fatalf("%s: a second crash lost more than the first", what)
			}
		})
		killed := r.Crash(mem.Killed, 0)
		for _, model := range mem.Models() {
			once := tree(t, r.Crash(model, 42))
			if once != tree(t, r.Crash(model, 42)) {
				t.Fatalf("%s: one seed, two disks", model)
			}
			if got := tree(t, killed.Crash(model, 42)); got != once {
				t.Fatalf("%s: after a kill a power cut leaves\n%s\nand without it\n%s", model, got, once)
			}
		}
		if tree(t, killed) != before || tree(t, r.FS) != before {
			t.Fatal("a process that died, or a crash looked at, changed something")
		}
		must(t, killed.Mkdir(bg, "/after the kill", 0o755))
		if tree(t, r.FS) != before {
			t.Fatal("what happens after a kill changes what was killed")
		}
		r.syncAll(t)
		r.everyCrash(t, func(c *mem.FS, what string) {
			if got := tree(t, c); got != before {
				t.Fatalf("%s: all was synced, and left is\n%s\nof\n%s", what, got, before)
			}
		})
	})
}

// inOrder: a folder has one name, and a file as many as it counts.
func inOrder(t *rapid.T, m *mem.FS, what string) {
	_, infos := names(t, m)
	count := map[string]int{}
	for _, i := range infos {
		count[i.ID]++
	}
	for name, i := range infos {
		if count[i.ID] != i.Links {
			t.Fatalf("%s: %s has %d names and counts %d", what, name, count[i.ID], i.Links)
		}
	}
}

// TestOnlySyncedOracle: of folders whose files stay in them, a crash finds the names as at the last
// SyncDir, and of each file the content as at the last Sync.
func TestOnlySyncedOracle(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := newRun(t)
		content := map[string]string{} // by id, as synced
		listed := map[string]map[string]string{}
		list := func(d string) map[string]string {
			out := map[string]string{}
			infos, err := r.List(bg, d)
			must(t, err)
			for _, i := range infos {
				if !i.IsDir() {
					out[i.Name] = i.ID
				}
			}
			return out
		}
		for _, d := range dirs {
			listed[d] = list(d)
			for name, id := range listed[d] {
				content[id] = read(t, r.FS, path.Join(d, name))
			}
		}
		file := func(d string) string {
			return path.Join(d, rapid.SampledFrom([]string{"f", "g", "h", "i"}).Draw(t, "file"))
		}
		for range rapid.IntRange(1, 40).Draw(t, "steps") {
			d := rapid.SampledFrom(dirs).Draw(t, "folder")
			name := file(d)
			info, err := r.Stat(bg, name)
			w := r.writers[info.ID]
			switch op := rapid.SampledFrom([]string{"create", "write", "sync", "remove", "rename", "replace", "exchange", "syncdir"}).Draw(t, "op"); {
			case op == "create":
				r.create(t, name)
			case op == "syncdir":
				must(t, r.SyncDir(bg, d))
				listed[d] = list(d)
			case err != nil:
			case op == "write":
				_, err := w.Write([]byte("+"))
				must(t, err)
			case op == "sync":
				must(t, w.Sync())
				content[info.ID] = read(t, r.FS, name)
			case op == "remove":
				must(t, r.Remove(bg, name))
			case op == "rename":
				_ = r.Rename(bg, name, file(d))
			case op == "replace":
				must(t, r.Replace(bg, name, file(d)))
			case op == "exchange":
				_ = r.Exchange(bg, name, file(d))
			}
		}
		c := r.Crash(mem.OnlySynced, 0)
		for _, d := range dirs {
			infos, err := c.List(bg, d)
			must(t, err)
			got := 0
			for _, i := range infos {
				if i.IsDir() {
					continue
				}
				got++
				name := path.Join(d, i.Name)
				if listed[d][i.Name] != i.ID || read(t, c, name) != content[i.ID] {
					t.Fatalf("%s is %s with %q; synced were %v and %q", name, i.ID, read(t, c, name), listed[d], content[i.ID])
				}
			}
			if got != len(listed[d]) {
				t.Fatalf("%s: left are %d names of %v", d, got, listed[d])
			}
		}
	})
}
