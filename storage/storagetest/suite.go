// Package storagetest holds the one suite that every storage.FS passes: what storage.FS promises,
// promise by promise. A file system runs it with Run and a folder of its own.
package storagetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hupsert/hupsert/storage"
)

// Run runs the suite. make gives a fresh file system and an empty folder in it.
func Run(t *testing.T, make func(t *testing.T) (fsys storage.FS, dir string)) {
	for name, test := range map[string]func(*testing.T, *bench){
		"Create": create, "Open": open, "Stat": stat, "List": list, "Mkdir": mkdir, "Rename": rename,
		"RenameRace": renameRace, "Replace": replace, "Exchange": exchange, "Link": link, "Remove": remove,
		"SetAttr": setAttr, "Lock": lock, "CopyRange": copyRange, "Cancelled": cancelled,
	} {
		t.Run(name, func(t *testing.T) {
			fsys, dir := make(t)
			test(t, &bench{t, fsys, dir})
		})
	}
}

var bg = context.Background()

type bench struct {
	t    *testing.T
	fsys storage.FS
	dir  string
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

func (b *bench) write(name, data string) {
	b.t.Helper()
	w, err := b.fsys.Create(bg, b.at(name), 0o640)
	b.ok(err)
	_, err = io.WriteString(w, data)
	b.ok(err)
	b.ok(w.Sync())
	b.ok(w.Close())
}

func (b *bench) read(name string) string {
	b.t.Helper()
	f, err := b.fsys.Open(bg, b.at(name))
	b.ok(err)
	info, err := f.Stat()
	b.ok(err)
	data, err := io.ReadAll(io.NewSectionReader(f, 0, info.Size))
	b.ok(err)
	b.ok(f.Close())
	return string(data)
}

func (b *bench) folder(name string, files ...string) {
	b.t.Helper()
	b.ok(b.fsys.Mkdir(bg, b.at(name), 0o750))
	for _, f := range files {
		b.write(path.Join(name, f), name+"/"+f)
	}
}

func (b *bench) id(name string) string {
	b.t.Helper()
	i, err := b.fsys.Stat(bg, b.at(name))
	b.ok(err)
	return i.ID
}

func (b *bench) absent(name string) {
	b.t.Helper()
	_, err := b.fsys.Stat(bg, b.at(name))
	b.is(err, fs.ErrNotExist)
}

func create(t *testing.T, b *bench) {
	b.write("a", "one")
	_, err := b.fsys.Create(bg, b.at("a"), 0o644)
	b.is(err, fs.ErrExist)
	_, err = b.fsys.Create(bg, b.at("no/a"), 0o644)
	b.is(err, fs.ErrNotExist)
	if got := b.read("a"); got != "one" {
		t.Fatalf("read %q", got)
	}
}

func open(_ *testing.T, b *bench) {
	_, err := b.fsys.Open(bg, b.at("a"))
	b.is(err, fs.ErrNotExist)
	b.folder("d")
	if _, err := b.fsys.Open(bg, b.at("d")); err == nil {
		b.t.Fatal("a folder was opened as a file")
	}
	b.write("a", "0123456789")
	f, err := b.fsys.Open(bg, b.at("a"))
	b.ok(err)
	p := make([]byte, 4)
	n, err := f.ReadAt(p, 8)
	if n != 2 || !errors.Is(err, io.EOF) || string(p[:2]) != "89" {
		b.t.Fatalf("read past the end: %d %v %q", n, err, p)
	}
	// An open file stays what it was when its name goes to another.
	b.write("b", "new")
	b.ok(b.fsys.Replace(bg, b.at("b"), b.at("a")))
	if n, err := f.ReadAt(p, 0); n != 4 || err != nil || string(p) != "0123" {
		b.t.Fatalf("an open file changed with its name: %d %v %q", n, err, p)
	}
	b.ok(f.Close())
}

func stat(t *testing.T, b *bench) {
	b.absent("a")
	b.write("a", "12345")
	b.folder("d")
	i, err := b.fsys.Stat(bg, b.at("a"))
	b.ok(err)
	if i.Name != "a" || i.Size != 5 || i.IsDir() || i.Mode.Perm() != 0o640 || i.ModTime.IsZero() || i.ID == "" {
		t.Fatalf("file: %+v", i)
	}
	i, err = b.fsys.Stat(bg, b.at("d"))
	b.ok(err)
	if !i.IsDir() || i.Mode.Perm() != 0o750 || i.ID == "" {
		t.Fatalf("folder: %+v", i)
	}
}

func list(t *testing.T, b *bench) {
	_, err := b.fsys.List(bg, b.at("no"))
	b.is(err, fs.ErrNotExist)
	for _, n := range []string{"b", "a", "c=1", ".hidden", "B"} {
		b.write(n, n)
	}
	b.folder("d", "inside")
	got, err := b.fsys.List(bg, b.dir)
	b.ok(err)
	var names []string
	for _, i := range got {
		names = append(names, i.Name)
	}
	if want := []string{".hidden", "B", "a", "b", "c=1", "d"}; !slices.Equal(names, want) {
		t.Fatalf("listed %v, want %v", names, want)
	}
}

func mkdir(_ *testing.T, b *bench) {
	b.folder("d")
	b.is(b.fsys.Mkdir(bg, b.at("d"), 0o755), fs.ErrExist)
	b.is(b.fsys.Mkdir(bg, b.at("no/d"), 0o755), fs.ErrNotExist)
	b.ok(b.fsys.SyncDir(bg, b.dir))
	b.is(b.fsys.SyncDir(bg, b.at("no")), fs.ErrNotExist)
}

func rename(t *testing.T, b *bench) {
	b.is(b.fsys.Rename(bg, b.at("no"), b.at("x")), fs.ErrNotExist)
	b.folder("from", "f")
	b.folder("full", "g")
	b.is(b.fsys.Rename(bg, b.at("from"), b.at("full")), fs.ErrExist)
	id := b.id("from")
	b.ok(b.fsys.Rename(bg, b.at("from"), b.at("to")))
	b.absent("from")
	if b.read("to/f") != "from/f" || b.id("to") != id {
		t.Fatal("the folder is not the one that was renamed")
	}
	b.write("file", "1")
	b.write("taken", "2")
	b.is(b.fsys.Rename(bg, b.at("file"), b.at("taken")), fs.ErrExist)
	if b.read("taken") != "2" || b.read("file") != "1" {
		t.Fatal("a refused rename changed something")
	}
}

// renameRace: of many that claim one name, one gets it, and the others know.
func renameRace(t *testing.T, b *bench) {
	const racers = 16
	for i := range racers {
		b.folder(fmt.Sprint("racer", i), "f")
	}
	var won atomic.Int32
	var wg sync.WaitGroup
	for i := range racers {
		wg.Go(func() {
			switch err := b.fsys.Rename(bg, b.at(fmt.Sprint("racer", i)), b.at("claim")); {
			case err == nil:
				won.Add(1)
			case !errors.Is(err, fs.ErrExist):
				t.Errorf("racer %d: %v", i, err)
			}
		})
	}
	wg.Wait()
	if won.Load() != 1 {
		t.Fatalf("%d of %d won", won.Load(), racers)
	}
}

func replace(t *testing.T, b *bench) {
	b.write("a", "1")
	b.write("b", "2")
	b.ok(b.fsys.Replace(bg, b.at("a"), b.at("b")))
	b.absent("a")
	if b.read("b") != "1" {
		t.Fatal("not replaced")
	}
	b.ok(b.fsys.Replace(bg, b.at("b"), b.at("c")))
	b.is(b.fsys.Replace(bg, b.at("no"), b.at("c")), fs.ErrNotExist)
}

func exchange(t *testing.T, b *bench) {
	b.folder("a", "f")
	b.folder("b", "g")
	ida, idb := b.id("a"), b.id("b")
	err := b.fsys.Exchange(bg, b.at("a"), b.at("b"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system can't exchange")
	}
	b.ok(err)
	if b.id("a") != idb || b.id("b") != ida || b.read("a/g") != "b/g" || b.read("b/f") != "a/f" {
		t.Fatal("not exchanged")
	}
	b.is(b.fsys.Exchange(bg, b.at("a"), b.at("no")), fs.ErrNotExist)
}

func link(t *testing.T, b *bench) {
	b.write("a", "1")
	err := b.fsys.Link(bg, b.at("a"), b.at("b"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system has no links")
	}
	b.ok(err)
	if b.id("a") != b.id("b") || b.read("b") != "1" {
		t.Fatal("not the same file")
	}
	b.is(b.fsys.Link(bg, b.at("a"), b.at("b")), fs.ErrExist)
	b.ok(b.fsys.Remove(bg, b.at("a")))
	if b.read("b") != "1" {
		t.Fatal("the second name went with the first")
	}
}

func remove(_ *testing.T, b *bench) {
	b.is(b.fsys.Remove(bg, b.at("no")), fs.ErrNotExist)
	b.folder("d", "f")
	if b.fsys.Remove(bg, b.at("d")) == nil {
		b.t.Fatal("a folder that holds something was removed")
	}
	b.ok(b.fsys.Remove(bg, b.at("d/f")))
	b.ok(b.fsys.Remove(bg, b.at("d")))
	b.absent("d")
}

func setAttr(t *testing.T, b *bench) {
	if !b.fsys.Capabilities().Ownership {
		t.Skip("modes mean nothing here")
	}
	b.folder("d")
	mode := fs.FileMode(0o711)
	b.ok(b.fsys.SetAttr(bg, b.at("d"), storage.Attr{Mode: &mode}))
	i, err := b.fsys.Stat(bg, b.at("d"))
	b.ok(err)
	if i.Mode.Perm() != mode || !i.IsDir() {
		t.Fatalf("mode %v", i.Mode)
	}
	b.ok(b.fsys.SetAttr(bg, b.at("d"), storage.Attr{UID: &i.UID, GID: &i.GID}))
	b.is(b.fsys.SetAttr(bg, b.at("no"), storage.Attr{Mode: &mode}), fs.ErrNotExist)
}

func lock(t *testing.T, b *bench) {
	first, err := b.fsys.Lock(bg, b.at("l"))
	if errors.Is(err, errors.ErrUnsupported) {
		t.Skip("this file system has no locks")
	}
	b.ok(err)
	_, err = b.fsys.Lock(bg, b.at("l"))
	b.is(err, storage.ErrLocked)
	other, err := b.fsys.Lock(bg, b.at("m"))
	b.ok(err)
	b.ok(other.Unlock())
	b.ok(first.Unlock())
	again, err := b.fsys.Lock(bg, b.at("l"))
	b.ok(err)
	b.ok(again.Unlock())
}

func copyRange(t *testing.T, b *bench) {
	b.write("a", "0123456789")
	src, err := b.fsys.Open(bg, b.at("a"))
	b.ok(err)
	w, err := b.fsys.Create(bg, b.at("b"), 0o644)
	b.ok(err)
	_, err = io.WriteString(w, "<")
	b.ok(err)
	b.ok(w.CopyRange(src, 3, 4))
	_, err = io.WriteString(w, ">")
	b.ok(err)
	if w.CopyRange(src, 8, 5) == nil {
		t.Fatal("more was copied than there is")
	}
	b.ok(w.Close())
	b.ok(src.Close())
	if got := b.read("b"); got[:6] != "<3456>" {
		t.Fatalf("copied %q", got)
	}
}

func cancelled(_ *testing.T, b *bench) {
	ctx, cancel := context.WithCancel(bg)
	cancel()
	b.is(b.fsys.Mkdir(ctx, b.at("d"), 0o755), context.Canceled)
	_, err := b.fsys.Create(ctx, b.at("f"), 0o644)
	b.is(err, context.Canceled)
	b.absent("d")
	b.absent("f")
}
