package faultfs_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
)

var bg = context.Background()

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// publish is a small protocol: a file is written, made durable, and moved to where readers look.
func publish(fsys storage.FS) error {
	w, err := fsys.Create(bg, "/new/part", 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write([]byte("0123456789"))
	if err == nil {
		_, err = w.Write([]byte("abc"))
	}
	if err == nil {
		err = w.Sync()
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := fsys.Rename(bg, "/new/part", "/live/part"); err != nil {
		return err
	}
	return errors.Join(fsys.SyncDir(bg, "/new"), fsys.SyncDir(bg, "/live"))
}

func disk(t *testing.T) *mem.FS {
	t.Helper()
	m := mem.New()
	for _, d := range []string{"/new", "/live", "/locks"} {
		must(t, m.Mkdir(bg, d, 0o755))
	}
	must(t, m.SyncDir(bg, "/"))
	return m
}

func TestLog(t *testing.T) {
	m := disk(t)
	f := faultfs.Wrap(m, "/new", "NEW", "/live", "LIVE")
	must(t, publish(f))
	if f.Link(bg, "/no", "/live/no") == nil {
		t.Fatal("what is not there was linked")
	}
	mode := fs.FileMode(0o600)
	must(t, f.SetAttr(bg, "/live/part", storage.Attr{Mode: &mode}))
	must(t, f.Mkdir(bg, "/new/d", 0o755))
	must(t, f.Exchange(bg, "/new/d", "/live/part"))
	u, err := f.Lock(bg, "/locks/l")
	must(t, err)
	must(t, u.Unlock())
	src, err := f.Open(bg, "/new/d")
	must(t, err)
	w, err := f.Create(bg, "/new/copy", 0o644)
	must(t, err)
	must(t, w.CopyRange(src, 1, 4))
	must(t, errors.Join(src.Close(), w.Close()))
	const trace = `create NEW/part
write NEW/part 10
write NEW/part 3
sync NEW/part
rename NEW/part -> LIVE/part
syncdir NEW
syncdir LIVE
link /no -> LIVE/no: no such file or directory
setattr LIVE/part mode=600
mkdir NEW/d
exchange NEW/d <-> LIVE/part
lock /locks/l
create NEW/copy
copy NEW/copy 4
`
	if got := f.Trace(); got != trace {
		t.Errorf("trace:\n%s", got)
	}
	f.ResetLog()
	must(t, f.Remove(bg, "/new/copy"))
	if got := f.Log(); got != "remove NEW/copy\n" {
		t.Errorf("log:\n%s", got)
	}
}

// TestRules: which operations a rule is about.
func TestRules(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		rule faultfs.Rule
		want string // of the trace, what failed
	}{
		{"any", faultfs.Rule{Err: boom}, "create /new/part: boom\n"},
		{"kind", faultfs.Rule{Op: faultfs.Sync, Err: boom}, "sync /new/part: boom\n"},
		{"default error", faultfs.Rule{Op: faultfs.Sync}, "sync /new/part: input/output error\n"},
		{"second of a kind", faultfs.Rule{Op: faultfs.SyncDir, Nth: 2, Err: boom}, "syncdir /live: boom\n"},
		{"both of a kind", faultfs.Rule{Op: faultfs.SyncDir, Err: boom}, "syncdir /new: boom\nsyncdir /live: boom\n"},
		{"one of a kind", faultfs.Rule{Op: faultfs.SyncDir, Once: true, Err: boom}, "syncdir /new: boom\n"},
		{"part of a name", faultfs.Rule{Path: "/live", Err: boom}, "rename /new/part -> /live/part: boom\n"},
		{"pattern", faultfs.Rule{Path: "live/*", Err: boom}, "rename /new/part -> /live/part: boom\n"},
		{"pattern of a folder", faultfs.Rule{Path: "l*e", Err: boom}, "syncdir /live: boom\n"},
		{"pattern that is too long", faultfs.Rule{Path: "a/b/c/d/*", Err: boom}, ""},
		{"ordinal", faultfs.Rule{From: 3, Once: true, Err: boom}, "sync /new/part: boom\n"},
	} {
		f := faultfs.Wrap(disk(t))
		f.Inject(&c.rule)
		err := publish(f)
		if (err == nil) != (c.want == "") {
			t.Errorf("%s: %v", c.name, err)
		}
		if c.rule.Err != nil && err != nil && !errors.Is(err, boom) {
			t.Errorf("%s: the cause is lost: %v", c.name, err)
		}
		if got := failed(f); got != c.want {
			t.Errorf("%s: failed are\n%swant\n%s", c.name, got, c.want)
		}
	}
}

// failed are the lines of the trace that end in an error.
func failed(f *faultfs.FS) string {
	var out string
	for line := range strings.Lines(f.Trace()) {
		if strings.Contains(line, ": ") {
			out += line
		}
	}
	return out
}

// TestFirstRuleDecides: a rule behind another one counts what it would have met.
func TestFirstRuleDecides(t *testing.T) {
	first, second := errors.New("first"), errors.New("second")
	f := faultfs.Wrap(disk(t))
	f.Inject(&faultfs.Rule{Op: faultfs.SyncDir, Once: true, Err: first}, &faultfs.Rule{Op: faultfs.SyncDir, Nth: 2, Once: true, Err: second})
	for _, want := range []error{first, second, nil} {
		if err := f.SyncDir(bg, "/live"); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("got %v, want %v", err, want)
		}
	}
}

// TestAfter walks every point at which the process may die, and looks at what the living find.
func TestAfter(t *testing.T) {
	dead := errors.New("dead")
	for k := 0; ; k++ {
		m := disk(t)
		f := faultfs.Wrap(m)
		f.After(k, dead)
		err := publish(f)
		if err == nil {
			if k != 8 { // create, write, write, sync, close, rename, syncdir, syncdir
				t.Errorf("the protocol has %d operations", k)
			}
			return
		}
		if _, serr := f.Stat(bg, "/live"); !errors.Is(err, dead) || !errors.Is(serr, dead) {
			t.Fatalf("%d: %v, %v", k, err, serr)
		}
		for seed := range uint64(20) {
			for _, model := range mem.Models() {
				c := m.Crash(model, seed)
				info, err := c.Stat(bg, "/live/part")
				if err == nil && info.Size != 13 {
					t.Fatalf("%d, %s, seed %d: readers see %d bytes", k, model, seed, info.Size)
				}
			}
		}
	}
}

// TestLost: the operation happened, though its answer says otherwise.
func TestLost(t *testing.T) {
	m := disk(t)
	f := faultfs.Wrap(m)
	f.Inject(&faultfs.Rule{Lost: true})
	if err := f.Mkdir(bg, "/d", 0o755); !errors.Is(err, syscall.EIO) {
		t.Errorf("mkdir: %v", err)
	}
	if _, err := m.Stat(bg, "/d"); err != nil {
		t.Errorf("it did not happen: %v", err)
	}
	if _, err := f.Create(bg, "/f", 0o644); !errors.Is(err, syscall.EIO) {
		t.Errorf("create: %v", err)
	}
	if _, err := m.Stat(bg, "/f"); err != nil {
		t.Errorf("it did not happen: %v", err)
	}
	if _, err := f.Lock(bg, "/l"); !errors.Is(err, syscall.EIO) {
		t.Errorf("lock: %v", err)
	}
	if _, err := m.Lock(bg, "/l"); err != nil {
		t.Errorf("nobody can ever end the lock: %v", err)
	}
}

// TestHalf: a full disk takes the first half.
func TestHalf(t *testing.T) {
	m := disk(t)
	must(t, publish(m))
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Copy} {
		f := faultfs.Wrap(m)
		f.Inject(&faultfs.Rule{Op: op, Half: true, Err: syscall.ENOSPC})
		name := fmt.Sprint("/new/", op)
		w, err := f.Create(bg, name, 0o644)
		must(t, err)
		src, err := f.Open(bg, "/live/part")
		must(t, err)
		if op == faultfs.Write {
			var n int
			if n, err = w.Write([]byte("0123456789")); n != 5 {
				t.Errorf("wrote %d", n)
			}
		} else {
			err = w.CopyRange(src, 0, 10)
		}
		if !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", op, err)
		}
		if info, err := m.Stat(bg, name); err != nil || info.Size != 5 {
			t.Errorf("%s: %d bytes, %v", op, info.Size, err)
		}
		must(t, errors.Join(src.Close(), w.Close()))
	}
}

// TestSkip makes a mutant without fsync, and the crash shows it.
func TestSkip(t *testing.T) {
	m := disk(t)
	f := faultfs.Wrap(m)
	f.Inject(&faultfs.Rule{Op: faultfs.Sync, Skip: true})
	must(t, publish(f))
	if info, err := m.Crash(mem.OnlySynced, 0).Stat(bg, "/live/part"); err != nil || info.Size != 0 {
		t.Errorf("%d bytes survived without Sync, %v", info.Size, err)
	}
}

// TestBefore looks at the disk at one point of a run.
func TestBefore(t *testing.T) {
	m := disk(t)
	f := faultfs.Wrap(m)
	looked := 0
	f.Inject(&faultfs.Rule{Op: faultfs.Rename, Before: func() {
		looked++
		if _, err := m.Stat(bg, "/live/part"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("before the rename: %v", err)
		}
	}})
	must(t, publish(f))
	if looked != 1 {
		t.Errorf("looked %d times", looked)
	}
}

// TestClosesInAnyCase: a failing Close leaves no file open below.
func TestClosesInAnyCase(t *testing.T) {
	m := disk(t)
	f := faultfs.Wrap(m)
	w, err := f.Create(bg, "/f", 0o644)
	must(t, err)
	r, err := f.Open(bg, "/f")
	must(t, err)
	u, err := f.Lock(bg, "/l")
	must(t, err)
	f.After(0, syscall.EIO)
	for _, c := range []func() error{w.Close, r.Close} {
		if err := c(); !errors.Is(err, syscall.EIO) {
			t.Errorf("close: %v", err)
		}
		if err := c(); !errors.Is(err, fs.ErrClosed) {
			t.Errorf("it was left open: %v", err)
		}
	}
	must(t, u.Unlock())
}

func Example() {
	disk := mem.New()
	fsys := faultfs.Wrap(disk, "/table", "TABLE")
	fsys.Inject(&faultfs.Rule{Op: faultfs.SyncDir, Nth: 2, Err: syscall.ENOSPC})
	ctx := context.Background()
	_ = fsys.Mkdir(ctx, "/table", 0o755)
	_ = fsys.SyncDir(ctx, "/")
	_ = fsys.Mkdir(ctx, "/table/day=1", 0o755)
	err := fsys.SyncDir(ctx, "/table")
	fmt.Println(err)
	fmt.Print(fsys.Log())
	_, err = disk.Crash(mem.OnlySynced, 0).Stat(ctx, "/table/day=1")
	fmt.Println(errors.Is(err, fs.ErrNotExist))
	// Output:
	// syncdir /table: no space left on device
	// mkdir TABLE
	// syncdir /
	// mkdir TABLE/day=1
	// syncdir TABLE
	// true
}
