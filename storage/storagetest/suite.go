// Package storagetest holds the one suite that every storage.FS passes: what storage.FS promises,
// promise by promise. A file system runs it with [Run] and a folder of its own; one that can make
// symlinks has a method Symlink(ctx, target, name) and is tested for not following them.
package storagetest

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hupsert/hupsert/storage"
)

// Traits are where systems differ within what storage.FS promises. The zero value is a local disk's.
type Traits struct {
	// SeenWhenClosed: what a writer wrote is read by others when it is closed, and not before.
	SeenWhenClosed bool
	// NoSetGroupID: the bit is not kept; every folder hands its group down.
	NoSetGroupID bool
	// LocksAreFiles: the file of a lock is there while it is held, and not after.
	LocksAreFiles bool
	// Rounds is how often each racer tries; default 200.
	Rounds int
}

// Run runs the suite. fresh gives a fresh file system and an empty folder in it.
func Run(t *testing.T, fresh func(t *testing.T) (fsys storage.FS, dir string)) {
	RunWith(t, Traits{}, fresh)
}

// RunWith runs the suite for a system with some traits.
func RunWith(t *testing.T, traits Traits, fresh func(t *testing.T) (fsys storage.FS, dir string)) {
	traits.Rounds = cmp.Or(traits.Rounds, 200)
	for _, test := range []struct {
		name string
		run  func(*testing.T, *bench)
	}{
		{"Create", create}, {"Open", open}, {"OpenFileKeepsItsContent", openKeeps}, {"Stat", stat}, {"List", list},
		{"Mkdir", mkdir}, {"Rename", rename}, {"RenameMoves", renameMoves}, {"RenameTaken", renameTaken}, {"Replace", replace},
		{"Exchange", exchange}, {"ExchangeRefuses", exchangeRefuses}, {"MayMove", mayMove}, {"Link", link}, {"Remove", remove}, {"SyncDir", syncDir},
		{"SetAttr", setAttr}, {"SpecialModes", specialModes}, {"Lock", lock}, {"CopyRange", copyRange}, {"Writer", writes}, {"Symlinks", symlinks},
		{"Races", races}, {"LockRace", lockRace}, {"LockRemoved", lockRemoved}, {"ReadsInParallel", parallelReads},
		{"Cancelled", cancelled}, {"ErrorsNameTheFile", errorsName},
	} {
		t.Run(test.name, func(t *testing.T) {
			fsys, dir := fresh(t)
			test.run(t, &bench{t, t.Context(), fsys, dir, traits})
		})
	}
}

type bench struct {
	t    *testing.T
	ctx  context.Context
	fsys storage.FS
	dir  string
	Traits
}

// kept is what of a mode the system keeps.
func (b *bench) kept(mode fs.FileMode) fs.FileMode {
	if b.NoSetGroupID {
		mode &^= fs.ModeSetgid
	}
	return mode
}

func (b *bench) at(name string) string { return path.Join(b.dir, name) }

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) is(err, want error) {
	b.t.Helper()
	if !errors.Is(err, want) {
		b.t.Fatalf("error %v, want %v", err, want)
	}
}

// fails is for refusals whose cause systems name differently.
func (b *bench) fails(err error, what string) {
	b.t.Helper()
	if err == nil {
		b.t.Fatal(what)
	}
}

func (b *bench) write(name, data string) {
	b.t.Helper()
	w, err := b.fsys.Create(b.ctx, b.at(name), 0o640)
	b.ok(err)
	_, err = io.WriteString(w, data)
	b.ok(err)
	b.ok(w.Sync())
	b.ok(w.Close())
}

func (b *bench) read(name string) string {
	b.t.Helper()
	f, err := b.fsys.Open(b.ctx, b.at(name))
	b.ok(err)
	info, err := f.Stat()
	b.ok(err)
	data, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size))
	b.ok(err)
	b.ok(f.Close())
	return string(data)
}

// folder makes a folder with files that hold "folder/file".
func (b *bench) folder(name string, files ...string) {
	b.t.Helper()
	b.ok(b.fsys.Mkdir(b.ctx, b.at(name), 0o750))
	for _, f := range files {
		b.write(path.Join(name, f), name+"/"+f)
	}
}

func (b *bench) info(name string) storage.Info {
	b.t.Helper()
	i, err := b.fsys.Stat(b.ctx, b.at(name))
	b.ok(err)
	return i
}

func (b *bench) id(name string) string {
	b.t.Helper()
	return b.info(name).ID
}

func (b *bench) names(dir string) []string {
	b.t.Helper()
	list, err := b.fsys.List(b.ctx, b.at(dir))
	b.ok(err)
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return names
}

func (b *bench) absent(name string) {
	b.t.Helper()
	_, err := b.fsys.Stat(b.ctx, b.at(name))
	b.is(err, fs.ErrNotExist)
}

func (b *bench) holds(name, want string) {
	b.t.Helper()
	if got := b.read(name); got != want {
		b.t.Fatalf("%s holds %q, want %q", name, got, want)
	}
}

func create(t *testing.T, b *bench) {
	b.write("a", "one")
	_, err := b.fsys.Create(b.ctx, b.at("a"), 0o644)
	b.is(err, fs.ErrExist)
	_, err = b.fsys.Create(b.ctx, b.at("no/a"), 0o644)
	b.is(err, fs.ErrNotExist)
	_, err = b.fsys.Create(b.ctx, b.at("a/b"), 0o644)
	b.fails(err, "a file was created in a file")
	b.folder("d")
	_, err = b.fsys.Create(b.ctx, b.at("d"), 0o644)
	b.is(err, fs.ErrExist)
	b.holds("a", "one")
	if !b.fsys.Capabilities().Ownership {
		return
	}
	// More than a usual umask leaves.
	w, err := b.fsys.Create(b.ctx, b.at("open"), 0o666)
	b.ok(err)
	b.ok(w.Close())
	b.ok(b.fsys.Mkdir(b.ctx, b.at("folder"), 0o777))
	if f, d := b.info("open").Mode, b.info("folder").Mode; f != 0o666 || d != fs.ModeDir|0o777 {
		t.Fatalf("modes %v and %v", f, d)
	}
}

func open(t *testing.T, b *bench) {
	_, err := b.fsys.Open(b.ctx, b.at("a"))
	b.is(err, fs.ErrNotExist)
	b.folder("d")
	_, err = b.fsys.Open(b.ctx, b.at("d"))
	b.fails(err, "a folder was opened as a file")
	b.write("a", "0123456789")
	f, err := b.fsys.Open(b.ctx, b.at("a"))
	b.ok(err)
	p := make([]byte, 4)
	n, err := f.ReadAt(p, 8)
	if n != 2 || !errors.Is(err, io.EOF) || string(p[:2]) != "89" {
		t.Fatalf("read past the end: %d %v %q", n, err, p)
	}
	if n, err := f.ReadAt(p, 6); n != 4 || err != nil && !errors.Is(err, io.EOF) {
		t.Fatalf("read up to the end: %d %v", n, err)
	}
	if n, err := f.ReadAt(p, 100); n != 0 || !errors.Is(err, io.EOF) {
		t.Fatalf("read beyond the end: %d %v", n, err)
	}
	info, err := f.Stat()
	b.ok(err)
	if named := b.info("a"); info.Name != "a" || info.ID != named.ID || info.Size != 10 || !info.ModTime.Equal(named.ModTime) {
		t.Fatalf("an open file is %+v, its name %+v", info, named)
	}
	b.ok(f.Close())
}

// openKeeps: an open file stays what it was when its name goes, or goes to another.
func openKeeps(t *testing.T, b *bench) {
	for what, change := range map[string]func() error{
		"replaced": func() error {
			b.write("new", "new")
			return b.fsys.Replace(b.ctx, b.at("new"), b.at("d/f"))
		},
		"removed": func() error { return b.fsys.Remove(b.ctx, b.at("d/f")) },
		"moved":   func() error { return b.fsys.Rename(b.ctx, b.at("d"), b.at("e")) },
	} {
		b.folder("d", "f")
		f, err := b.fsys.Open(b.ctx, b.at("d/f"))
		b.ok(err)
		b.ok(change())
		p := make([]byte, 3)
		if n, err := f.ReadAt(p, 0); n != 3 || string(p) != "d/f" {
			t.Fatalf("%s: read %d %v %q", what, n, err, p)
		}
		b.ok(f.Close())
		for _, name := range []string{"d/f", "d", "e/f", "e"} {
			if err := b.fsys.Remove(b.ctx, b.at(name)); err != nil {
				b.is(err, fs.ErrNotExist)
			}
		}
	}
}

func stat(t *testing.T, b *bench) {
	b.absent("a")
	b.write("a", "12345")
	b.folder("d")
	i := b.info("a")
	if i.Name != "a" || i.Size != 5 || i.IsDir() || i.Mode != 0o640 || i.ModTime.IsZero() || i.ID == "" || i.Links != 1 {
		t.Fatalf("file: %+v", i)
	}
	if i = b.info("d"); i.Name != "d" || i.Mode != fs.ModeDir|0o750 || i.ID == "" || !i.IsDir() {
		t.Fatalf("folder: %+v", i)
	}
	b.write("c", "12345")
	if b.id("a") == b.id("c") || b.id("a") == b.id("d") {
		t.Fatal("two files of one identity")
	}
	_, err := b.fsys.Stat(b.ctx, b.at("a/b"))
	b.fails(err, "there is something in a file")
}

func list(t *testing.T, b *bench) {
	_, err := b.fsys.List(b.ctx, b.at("no"))
	b.is(err, fs.ErrNotExist)
	if got := b.names(""); len(got) != 0 {
		t.Fatalf("an empty folder holds %v", got)
	}
	for _, n := range []string{"b", "a", "c=1", ".hidden", "B", "a-b", "a b"} {
		b.write(n, n)
	}
	b.folder("d", "inside")
	if got, want := b.names(""), []string{".hidden", "B", "a", "a b", "a-b", "b", "c=1", "d"}; !slices.Equal(got, want) {
		t.Fatalf("listed %q, want %q", got, want)
	}
	_, err = b.fsys.List(b.ctx, b.at("a"))
	b.fails(err, "a file was listed as a folder")
	all, err := b.fsys.List(b.ctx, b.dir)
	b.ok(err)
	for _, i := range all {
		if want := b.info(i.Name); i.ID != want.ID || i.Size != want.Size || i.Mode != want.Mode || !i.ModTime.Equal(want.ModTime) {
			t.Errorf("listed as %+v, is %+v", i, want)
		}
	}
}

func mkdir(_ *testing.T, b *bench) {
	b.folder("d")
	b.write("f", "")
	b.is(b.fsys.Mkdir(b.ctx, b.at("d"), 0o755), fs.ErrExist)
	b.is(b.fsys.Mkdir(b.ctx, b.at("f"), 0o755), fs.ErrExist)
	b.is(b.fsys.Mkdir(b.ctx, b.at("no/d"), 0o755), fs.ErrNotExist)
}

func rename(t *testing.T, b *bench) {
	b.is(b.fsys.Rename(b.ctx, b.at("no"), b.at("x")), fs.ErrNotExist)
	b.folder("from", "f")
	b.is(b.fsys.Rename(b.ctx, b.at("from"), b.at("no/to")), fs.ErrNotExist)
	before := b.info("from/f")
	id := b.id("from")
	b.ok(b.fsys.Rename(b.ctx, b.at("from"), b.at("to")))
	b.absent("from")
	b.holds("to/f", "from/f")
	after := b.info("to/f")
	if b.id("to") != id || after.ID != before.ID || !after.ModTime.Equal(before.ModTime) {
		t.Fatal("the folder is not the one that was renamed")
	}
	b.fails(b.fsys.Rename(b.ctx, b.at("to"), b.at("to/sub")), "a folder was moved into itself")
	b.holds("to/f", "from/f")
}

// renameMoves goes from one folder to another, file and folder.
func renameMoves(t *testing.T, b *bench) {
	b.folder("x", "f")
	b.folder("y")
	b.folder("x/d", "g")
	b.ok(b.fsys.Rename(b.ctx, b.at("x/f"), b.at("y/f2")))
	b.ok(b.fsys.Rename(b.ctx, b.at("x/d"), b.at("y/d")))
	b.holds("y/f2", "x/f")
	b.holds("y/d/g", "x/d/g")
	if left := b.names("x"); len(left) != 0 {
		t.Fatalf("left: %v", left)
	}
	b.ok(b.fsys.Remove(b.ctx, b.at("x")))
}

// renameTaken: a name that exists is never taken over, and nothing changes.
func renameTaken(t *testing.T, b *bench) {
	b.folder("dir", "f")
	b.folder("full", "g")
	b.write("file", "1")
	b.write("taken", "2")
	for _, c := range [][2]string{{"dir", "full"}, {"file", "taken"}, {"dir", "taken"}, {"file", "full"}} {
		b.is(b.fsys.Rename(b.ctx, b.at(c[0]), b.at(c[1])), fs.ErrExist)
	}
	if got := b.names(""); !slices.Equal(got, []string{"dir", "file", "full", "taken"}) {
		t.Fatalf("left: %v", got)
	}
	b.holds("taken", "2")
	b.holds("file", "1")
	b.holds("full/g", "full/g")
	// An empty folder may be in the way or not, but a file never takes its place.
	b.folder("empty")
	b.is(b.fsys.Rename(b.ctx, b.at("file"), b.at("empty")), fs.ErrExist)
	if err := b.fsys.Rename(b.ctx, b.at("dir"), b.at("empty")); err != nil {
		b.is(err, fs.ErrExist)
		b.holds("dir/f", "dir/f")
	} else {
		b.holds("empty/f", "dir/f")
	}
}

func replace(t *testing.T, b *bench) {
	b.write("a", "1")
	b.write("b", "2")
	id := b.id("a")
	b.ok(b.fsys.Replace(b.ctx, b.at("a"), b.at("b")))
	b.absent("a")
	b.holds("b", "1")
	if b.id("b") != id {
		t.Fatal("not the file that was moved")
	}
	b.ok(b.fsys.Replace(b.ctx, b.at("b"), b.at("c")))
	b.holds("c", "1")
	b.is(b.fsys.Replace(b.ctx, b.at("no"), b.at("c")), fs.ErrNotExist)
	b.is(b.fsys.Replace(b.ctx, b.at("c"), b.at("no/c")), fs.ErrNotExist)
	b.folder("d")
	b.folder("e")
	b.fails(b.fsys.Replace(b.ctx, b.at("c"), b.at("d")), "a file replaced a folder")
	b.fails(b.fsys.Replace(b.ctx, b.at("d"), b.at("c")), "a folder replaced a file")
	b.fails(b.fsys.Replace(b.ctx, b.at("d"), b.at("e")), "a folder replaced a folder")
	b.fails(b.fsys.Replace(b.ctx, b.at("d"), b.at("free")), "a folder was moved by Replace")
	b.holds("c", "1")
}

// exchanges skips where the file system says that it can't.
func (b *bench) exchanges() {
	b.t.Helper()
	b.folder("probe-a")
	b.folder("probe-b")
	err := b.fsys.Exchange(b.ctx, b.at("probe-a"), b.at("probe-b"))
	if errors.Is(err, errors.ErrUnsupported) {
		b.t.Skip("this file system can't exchange")
	}
	b.ok(err)
	if !b.fsys.Capabilities().Exchange {
		b.t.Fatal("it exchanges and does not say so")
	}
}

func exchange(t *testing.T, b *bench) {
	b.exchanges()
	b.folder("a", "f")
	b.folder("x")
	b.folder("x/b", "g", "h")
	ida, idb := b.id("a"), b.id("x/b")
	b.ok(b.fsys.Exchange(b.ctx, b.at("a"), b.at("x/b"))) // of two parents
	if b.id("a") != idb || b.id("x/b") != ida {
		t.Fatal("not exchanged")
	}
	b.holds("a/g", "x/b/g")
	b.holds("a/h", "x/b/h")
	b.holds("x/b/f", "a/f")
	b.write("file", "1")
	b.ok(b.fsys.Exchange(b.ctx, b.at("file"), b.at("a")))
	b.holds("a", "1")
	b.holds("file/g", "x/b/g")
}

func exchangeRefuses(_ *testing.T, b *bench) {
	b.exchanges()
	b.folder("a", "f")
	b.folder("a/b", "g")
	b.is(b.fsys.Exchange(b.ctx, b.at("a"), b.at("no")), fs.ErrNotExist)
	b.is(b.fsys.Exchange(b.ctx, b.at("no"), b.at("a")), fs.ErrNotExist)
	b.fails(b.fsys.Exchange(b.ctx, b.at("a"), b.at("a/b")), "a folder was exchanged with what it holds")
	b.fails(b.fsys.Exchange(b.ctx, b.at("a/b"), b.at("a")), "a folder was exchanged with what holds it")
	b.holds("a/b/g", "a/b/g")
}

func mayMove(_ *testing.T, b *bench) {
	b.folder("d", "f")
	b.folder("e")
	b.ok(b.fsys.MayMove(b.ctx, b.at("d"), b.at("e")))
	b.ok(b.fsys.MayMove(b.ctx, b.at("d/f"), b.at("e")))
	b.is(b.fsys.MayMove(b.ctx, b.at("no"), b.at("e")), fs.ErrNotExist)
	b.is(b.fsys.MayMove(b.ctx, b.at("d"), b.at("no")), fs.ErrNotExist)
	b.holds("d/f", "d/f")
}

func link(t *testing.T, b *bench) {
	b.write("a", "1")
	err := b.fsys.Link(b.ctx, b.at("a"), b.at("b"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system has no links")
	}
	b.ok(err)
	if x, y := b.info("a"), b.info("b"); x.ID != y.ID || x.Links != 2 || !x.ModTime.Equal(y.ModTime) {
		t.Fatalf("not the same file: %+v, %+v", x, y)
	}
	b.write("c", "2")
	b.is(b.fsys.Link(b.ctx, b.at("a"), b.at("c")), fs.ErrExist)
	b.is(b.fsys.Link(b.ctx, b.at("no"), b.at("d")), fs.ErrNotExist)
	b.folder("dir")
	b.is(b.fsys.Link(b.ctx, b.at("dir"), b.at("dir2")), fs.ErrPermission)
	b.ok(b.fsys.Replace(b.ctx, b.at("a"), b.at("b")))
	b.holds("a", "1")
	b.holds("b", "1")
	b.ok(b.fsys.Remove(b.ctx, b.at("a")))
	b.holds("b", "1")
	if got := b.info("b").Links; got != 1 {
		t.Fatalf("%d links", got)
	}
}

func remove(_ *testing.T, b *bench) {
	b.is(b.fsys.Remove(b.ctx, b.at("no")), fs.ErrNotExist)
	b.folder("d", "f")
	b.is(b.fsys.Remove(b.ctx, b.at("d")), fs.ErrExist)
	b.holds("d/f", "d/f")
	b.ok(b.fsys.Remove(b.ctx, b.at("d/f")))
	b.ok(b.fsys.Remove(b.ctx, b.at("d")))
	b.absent("d")
}

func syncDir(_ *testing.T, b *bench) {
	b.folder("d", "f")
	b.ok(b.fsys.SyncDir(b.ctx, b.at("d")))
	b.ok(b.fsys.SyncDir(b.ctx, b.dir))
	b.is(b.fsys.SyncDir(b.ctx, b.at("no")), fs.ErrNotExist)
	b.fails(b.fsys.SyncDir(b.ctx, b.at("d/f")), "a file was synced as a folder")
}

func setAttr(t *testing.T, b *bench) {
	if !b.fsys.Capabilities().Ownership {
		t.Skip("modes mean nothing here")
	}
	b.folder("d", "f")
	before := b.info("d/f")
	for _, name := range []string{"d", "d/f"} {
		mode := fs.FileMode(0o711)
		b.ok(b.fsys.SetAttr(b.ctx, b.at(name), storage.Attr{Mode: &mode}))
		i := b.info(name)
		if i.Mode&^fs.ModeType != mode {
			t.Fatalf("%s: mode %v", name, i.Mode)
		}
		b.ok(b.fsys.SetAttr(b.ctx, b.at(name), storage.Attr{Owner: &i.Owner, Group: &i.Group}))
		b.ok(b.fsys.SetAttr(b.ctx, b.at(name), storage.Attr{}))
		if again := b.info(name); again.Mode != i.Mode || again.Owner != i.Owner || again.Group != i.Group {
			t.Fatalf("%s: %+v became %+v", name, i, again)
		}
		b.is(b.fsys.SetAttr(b.ctx, b.at("no"), storage.Attr{Mode: &mode}), fs.ErrNotExist)
	}
	if after := b.info("d/f"); !after.ModTime.Equal(before.ModTime) || after.ID != before.ID {
		t.Fatal("a change of mode made it another file")
	}
	// A group that all below a folder is to have is handed down.
	mode := 0o750 | fs.ModeSetgid
	b.ok(b.fsys.SetAttr(b.ctx, b.at("d"), storage.Attr{Mode: &mode}))
	b.folder("d/e")
	if i := b.info("d/e"); i.Mode != b.kept(fs.ModeDir|fs.ModeSetgid|0o750) {
		t.Fatalf("below a folder with set-group-id: %v", i.Mode)
	}
}

// specialModes: set-group-id and sticky of a folder are set and cleared like other bits, also below a
// folder that hands one of them down.
func specialModes(t *testing.T, b *bench) {
	if !b.fsys.Capabilities().Ownership {
		t.Skip("modes mean nothing here")
	}
	b.folder("plain")
	b.folder("shared")
	shared := 0o770 | fs.ModeSetgid
	b.ok(b.fsys.SetAttr(b.ctx, b.at("shared"), storage.Attr{Mode: &shared}))
	for _, parent := range []string{"plain", "shared"} {
		handed := b.info(parent).Mode & fs.ModeSetgid
		for i, mode := range []fs.FileMode{0o750, 0o770 | fs.ModeSetgid, 0o777 | fs.ModeSticky, 0o775 | fs.ModeSetgid | fs.ModeSticky} {
			name := fmt.Sprintf("%s/%d", parent, i)
			b.ok(b.fsys.Mkdir(b.ctx, b.at(name), mode))
			if got := b.info(name).Mode; got != b.kept(fs.ModeDir|mode|handed) {
				t.Errorf("%s: made as %v, is %v", name, mode, got)
			}
			for _, to := range []fs.FileMode{0o700, mode, 0o711 | fs.ModeSticky, mode} {
				b.ok(b.fsys.SetAttr(b.ctx, b.at(name), storage.Attr{Mode: &to}))
				if got := b.info(name).Mode; got != b.kept(fs.ModeDir|to) {
					t.Errorf("%s: set to %v, is %v", name, to, got)
				}
			}
			// With an owner in the same call the mode is what was asked for, too.
			own := b.info(name)
			b.ok(b.fsys.SetAttr(b.ctx, b.at(name), storage.Attr{Owner: &own.Owner, Group: &own.Group, Mode: &mode}))
			if got := b.info(name).Mode; got != b.kept(fs.ModeDir|mode) {
				t.Errorf("%s: set with the owner to %v, is %v", name, mode, got)
			}
		}
	}
}

func lock(t *testing.T, b *bench) {
	locked := func(name string, want bool) {
		t.Helper()
		if got, err := b.fsys.Locked(b.ctx, b.at(name)); got != want || err != nil {
			t.Errorf("%s is locked: %t, %v", name, got, err)
		}
	}
	first, err := b.fsys.Lock(b.ctx, b.at("l"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system has no locks")
	}
	b.ok(err)
	_, err = b.fsys.Lock(b.ctx, b.at("l"))
	b.is(err, storage.ErrLocked)
	locked("l", true)
	locked("m", false)
	locked("no/l", false)
	if names := b.names(""); slices.Contains(names, "m") {
		t.Errorf("asking for a lock made %q", names)
	}
	other, err := b.fsys.Lock(b.ctx, b.at("m"))
	b.ok(err)
	b.ok(other.Unlock())
	b.ok(first.Unlock())
	locked("l", false)
	if !b.LocksAreFiles {
		b.info("l") // the file stays
	}
	again, err := b.fsys.Lock(b.ctx, b.at("l"))
	b.ok(err)
	b.fails(first.Unlock(), "a lock that had ended was ended again, and another's may be")
	_, err = b.fsys.Lock(b.ctx, b.at("l"))
	b.is(err, storage.ErrLocked)
	b.ok(again.Unlock())
	_, err = b.fsys.Lock(b.ctx, b.at("no/l"))
	b.is(err, fs.ErrNotExist)
}

// pattern is content in which each place differs from its neighbours.
func pattern(n int) []byte {
	p := make([]byte, n)
	for i := range p {
		p[i] = byte(i*7 + i>>8*13 + i>>16)
	}
	return p
}

// foreign hides a file from the file system that opened it.
type foreign struct{ storage.File }

func copyRange(t *testing.T, b *bench) {
	data := pattern(3<<20 + 17)
	b.write("a", string(data))
	own, err := b.fsys.Open(b.ctx, b.at("a"))
	b.ok(err)
	for name, src := range map[string]storage.File{"own": own, "foreign": foreign{own}} {
		w, err := b.fsys.Create(b.ctx, b.at(name), 0o644)
		b.ok(err)
		_, err = io.WriteString(w, "<")
		b.ok(err)
		b.ok(w.CopyRange(src, 12345, 1<<20+1))
		_, err = io.WriteString(w, "|")
		b.ok(err)
		b.ok(w.CopyRange(src, 0, int64(len(data))))
		b.ok(w.CopyRange(src, 5, 0))
		_, err = io.WriteString(w, ">")
		b.ok(err)
		b.ok(w.Sync())
		b.is(w.CopyRange(src, int64(len(data))-2, 5), io.ErrUnexpectedEOF)
		b.fails(w.CopyRange(src, 0, -1), "less than nothing was copied")
		b.ok(w.Close())
		want := "<" + string(data[12345:12345+1<<20+1]) + "|" + string(data) + ">"
		if got := b.read(name); got[:len(want)] != want {
			t.Errorf("%s: copied %d bytes wrongly", name, len(got))
		}
	}
	b.ok(own.Close())
}

// writes: a writer goes on in its file when its folder is renamed, and what it wrote is seen at once.
func writes(t *testing.T, b *bench) {
	b.folder("d")
	w, err := b.fsys.Create(b.ctx, b.at("d/f"), 0o644)
	b.ok(err)
	_, err = io.WriteString(w, "one ")
	b.ok(err)
	if !b.SeenWhenClosed {
		b.holds("d/f", "one ")
	}
	b.ok(b.fsys.Rename(b.ctx, b.at("d"), b.at("e")))
	n, err := io.WriteString(w, "two")
	b.ok(err)
	b.ok(w.Sync())
	b.ok(w.Close())
	if n != 3 {
		t.Fatalf("wrote %d of 3 bytes", n)
	}
	b.holds("e/f", "one two")
	_, err = w.Write([]byte("three"))
	b.fails(err, "a closed file was written")
	b.fails(w.Sync(), "a closed file was synced")
}

// symlinks are described as links and followed by Open only.
func symlinks(t *testing.T, b *bench) {
	linker, ok := b.fsys.(interface {
		Symlink(ctx context.Context, target, name string) error
	})
	if !ok {
		t.Skip("this file system makes no symlinks")
	}
	b.folder("d", "f")
	b.ok(linker.Symlink(b.ctx, "d/f", b.at("file")))
	b.ok(linker.Symlink(b.ctx, b.at("d"), b.at("dir")))
	b.ok(linker.Symlink(b.ctx, "nowhere", b.at("broken")))
	list, err := b.fsys.List(b.ctx, b.dir)
	b.ok(err)
	for _, i := range list {
		s := b.info(i.Name)
		if want := i.Name != "d"; i.IsSymlink() != want || s.IsSymlink() != want || i.IsDir() == want {
			t.Errorf("%s: listed as %v, described as %v", i.Name, i.Mode, s.Mode)
		}
	}
	b.holds("file", "d/f")
	b.holds("dir/f", "d/f") // on the way to a name
	_, err = b.fsys.Open(b.ctx, b.at("broken"))
	b.is(err, fs.ErrNotExist)
	b.is(b.fsys.Rename(b.ctx, b.at("d"), b.at("broken")), fs.ErrExist)
	_, err = b.fsys.Create(b.ctx, b.at("broken"), 0o644)
	b.is(err, fs.ErrExist)
	mode := fs.FileMode(0o600)
	b.fails(b.fsys.SetAttr(b.ctx, b.at("file"), storage.Attr{Mode: &mode}), "the mode of a symlink was set")
	b.ok(b.fsys.Remove(b.ctx, b.at("dir")))
	b.holds("d/f", "d/f")
}

const racers = 16

// race lets many do the same and returns who won. The others must fail with want.
func (b *bench) race(want error, run func(i int) error) (winner int) {
	b.t.Helper()
	var won atomic.Int32
	var who atomic.Int64
	var wg sync.WaitGroup
	start := make(chan struct{})
	for i := range racers {
		wg.Go(func() {
			<-start
			switch err := run(i); {
			case err == nil:
				won.Add(1)
				who.Store(int64(i))
			case !errors.Is(err, want):
				b.t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	close(start)
	wg.Wait()
	if won.Load() != 1 {
		b.t.Fatalf("%d of %d won", won.Load(), racers)
	}
	return int(who.Load())
}

// races: of many that want one name, one gets it, its content is the winner's, and the others know.
func races(_ *testing.T, b *bench) {
	for round := range 4 {
		claim := fmt.Sprint("claim", round)
		racer := func(i int) string { return fmt.Sprintf("racer%d.%d", round, i) }
		for i := range racers {
			b.folder(racer(i), "f")
			b.write(fmt.Sprintf("file%d.%d", round, i), fmt.Sprint(i))
		}
		winner := b.race(fs.ErrExist, func(i int) error {
			return b.fsys.Rename(b.ctx, b.at(racer(i)), b.at(claim))
		})
		b.holds(claim+"/f", racer(winner)+"/f")
		winner = b.race(fs.ErrExist, func(i int) error {
			return b.fsys.Rename(b.ctx, b.at(fmt.Sprintf("file%d.%d", round, i)), b.at(claim+".file"))
		})
		b.holds(claim+".file", fmt.Sprint(winner))
		b.race(fs.ErrExist, func(int) error { return b.fsys.Mkdir(b.ctx, b.at(claim+".dir"), 0o755) })
		b.race(fs.ErrExist, func(int) error {
			w, err := b.fsys.Create(b.ctx, b.at(claim+".new"), 0o644)
			if err == nil {
				err = w.Close()
			}
			return err
		})
	}
}

// lockRace: of many that want a lock one gets it, also where they all create its file.
func lockRace(t *testing.T, b *bench) {
	if !b.fsys.Capabilities().Locks {
		t.Skip("this file system has no locks")
	}
	for round := range 4 {
		var held [racers]storage.Unlocker
		winner := b.race(storage.ErrLocked, func(i int) (err error) {
			held[i], err = b.fsys.Lock(b.ctx, b.at(fmt.Sprint("lock", round)))
			return err
		})
		b.ok(held[winner].Unlock())
	}
}

// lockRemoved: who holds a lock may remove its file before ending it, and still nobody else has it.
func lockRemoved(t *testing.T, b *bench) {
	if !b.fsys.Capabilities().Locks {
		t.Skip("this file system has no locks")
	}
	var holders, taken atomic.Int32
	var wg sync.WaitGroup
	for range racers {
		wg.Go(func() {
			for range b.Rounds {
				u, err := b.fsys.Lock(b.ctx, b.at("l"))
				if errors.Is(err, storage.ErrLocked) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				taken.Add(1)
				if n := holders.Add(1); n > 1 {
					t.Errorf("%d hold the lock", n)
				}
				holders.Add(-1) // from here on another one may get it, on a file of its own
				if err := b.fsys.Remove(b.ctx, b.at("l")); err != nil {
					t.Errorf("the holder's file: %v", err)
				}
				if err := u.Unlock(); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	t.Logf("taken %d times", taken.Load())
}

func parallelReads(t *testing.T, b *bench) {
	data := pattern(1 << 18)
	b.write("a", string(data))
	f, err := b.fsys.Open(b.ctx, b.at("a"))
	b.ok(err)
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			p := make([]byte, 1000)
			for off := i; off+len(p) <= len(data); off += 17 * len(p) {
				if _, err := f.ReadAt(p, int64(off)); err != nil || !slices.Equal(p, data[off:off+len(p)]) {
					t.Errorf("read at %d: %v", off, err)
					return
				}
			}
		})
	}
	wg.Wait()
	b.ok(f.Close())
}

// every calls each operation that takes a context on the name x, with a free y.
func (b *bench) every(ctx context.Context, x, y string) map[string]error {
	x, y = b.at(x), b.at(y)
	errs := map[string]error{
		"mkdir":    b.fsys.Mkdir(ctx, x, 0o755),
		"rename":   b.fsys.Rename(ctx, x, y),
		"replace":  b.fsys.Replace(ctx, x, y),
		"exchange": b.fsys.Exchange(ctx, x, y),
		"maymove":  b.fsys.MayMove(ctx, x, b.dir),
		"link":     b.fsys.Link(ctx, x, y),
		"remove":   b.fsys.Remove(ctx, x),
		"syncdir":  b.fsys.SyncDir(ctx, x),
		"setattr":  b.fsys.SetAttr(ctx, x, storage.Attr{Mode: new(fs.FileMode)}),
	}
	_, errs["open"] = b.fsys.Open(ctx, x)
	_, errs["create"] = b.fsys.Create(ctx, x, 0o644)
	_, errs["stat"] = b.fsys.Stat(ctx, x)
	_, errs["list"] = b.fsys.List(ctx, x)
	_, errs["lock"] = b.fsys.Lock(ctx, x)
	return errs
}

func cancelled(t *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(b.ctx)
	cancel()
	b.write("f", "1")
	for op, err := range b.every(ctx, "f", "g") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
	for op, err := range b.every(ctx, "new", "g") {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", op, err)
		}
	}
	if _, err := b.fsys.Locked(ctx, b.at("f")); !errors.Is(err, context.Canceled) {
		t.Errorf("locked: %v", err)
	}
	if got := b.names(""); !slices.Equal(got, []string{"f"}) {
		t.Fatalf("left: %v", got)
	}
}

func errorsName(t *testing.T, b *bench) {
	for op, err := range b.every(b.ctx, "no/x", "y") {
		var pe *fs.PathError
		var le *os.LinkError
		switch {
		case err == nil:
			t.Errorf("%s worked below a folder that is not there", op)
		case errors.As(err, &pe) && pe.Path == b.at("no/x"), errors.As(err, &le) && le.Old == b.at("no/x"):
		default:
			t.Errorf("%s: the error does not name the file: %v", op, err)
		}
		if errors.Is(err, errors.ErrUnsupported) && (op == "exchange" || op == "link" || op == "lock") {
			continue
		}
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: %v", op, err)
		}
	}
}
