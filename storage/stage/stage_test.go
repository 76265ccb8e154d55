package stage_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
)

var bg = context.Background()

const (
	live = "/live"
	root = "/staging/p1"
	data = root + "/data"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// disk has a live folder with two files, all durable.
func disk(t testing.TB) *mem.FS {
	t.Helper()
	m := mem.New()
	for _, dir := range []string{live, "/staging"} {
		must(t, m.Mkdir(bg, dir, 0o755))
	}
	for _, name := range []string{"a", "b"} {
		w, err := m.Create(bg, path.Join(live, name), 0o600)
		must(t, err)
		_, err = w.Write([]byte("old " + name))
		must(t, err)
		must(t, errors.Join(w.Sync(), w.Close()))
	}
	must(t, errors.Join(m.SyncDir(bg, live), m.SyncDir(bg, "/")))
	return m
}

var manifest = stage.Manifest{Run: "r1", Partition: "dt=1", Command: "upsert", Mode: "upsert", Rows: 7,
	Time: time.Date(2026, 1, 2, 3, 4, 5, 6, time.UTC), Sources: []string{"s"}}

// build stages a file that is kept, one that is written in two pieces, and one that is copied in part.
func build(fsys storage.FS) (stage.Manifest, error) {
	d, err := stage.New(bg, fsys, root, 0o750, 0o640)
	if err != nil {
		return stage.Manifest{}, err
	}
	if _, err := d.Keep(bg, live+"/b", "b"); err != nil {
		return stage.Manifest{}, err
	}
	if err := create(d, "new", "new ", "rows"); err != nil {
		return stage.Manifest{}, err
	}
	if err := copied(fsys, d); err != nil {
		return stage.Manifest{}, err
	}
	return d.Seal(bg, manifest)
}

func create(d *stage.Dir, name string, pieces ...string) error {
	w, err := d.Create(bg, name)
	if err != nil {
		return err
	}
	for _, p := range pieces {
		if _, err = w.Write([]byte(p)); err != nil {
			break
		}
	}
	return errors.Join(err, w.Close())
}

func copied(fsys storage.FS, d *stage.Dir) error {
	src, err := fsys.Open(bg, live+"/a")
	if err != nil {
		return err
	}
	w, err := d.Create(bg, "part")
	if err == nil {
		err = errors.Join(w.CopyRange(src, 4, 1), w.Close())
	}
	return errors.Join(err, src.Close())
}

// whole says what is wrong with what a manifest vouches for, "" if nothing is.
func whole(t testing.TB, fsys storage.FS) string {
	d, m, err := stage.Open(bg, fsys, root)
	if err != nil {
		return err.Error()
	}
	if m.Run != manifest.Run || m.Partition != manifest.Partition || m.Rows != 7 || !m.Time.Equal(manifest.Time) || m.Bytes != 5+8+1 {
		return fmt.Sprintf("the manifest is %+v", m)
	}
	files, err := stage.List(bg, fsys, d.Data())
	must(t, err)
	if !slices.Equal(files, m.Files) {
		return fmt.Sprintf("there are %v, the manifest has %v", files, m.Files)
	}
	for name, want := range map[string]string{"b": "old b", "new": "new rows", "part": "a"} {
		got, err := stage.ReadFile(bg, fsys, path.Join(d.Data(), name))
		if err != nil || string(got) != want {
			return fmt.Sprintf("%s holds %q, %v", name, got, err)
		}
	}
	return ""
}

func TestSealed(t *testing.T) {
	m := disk(t)
	sealed, err := build(m)
	must(t, err)
	if wrong := whole(t, m); wrong != "" {
		t.Fatal(wrong)
	}
	if len(sealed.Files) != 3 || sealed.Bytes != 14 {
		t.Errorf("sealed as %+v", sealed)
	}
	for name, want := range map[string]fs.FileMode{"": fs.ModeDir | 0o750, "new": 0o640, "b": 0o600} { // a kept file is the live one
		info, err := m.Stat(bg, path.Join(data, name))
		must(t, err)
		if info.Mode != want {
			t.Errorf("%q has mode %v", name, info.Mode)
		}
	}
	must(t, m.SyncDir(bg, "/staging")) // its owner's to do
	if wrong := whole(t, m.Crash(mem.OnlySynced, 0)); wrong != "" {
		t.Errorf("after a power cut: %s", wrong)
	}
}

// TestSealedOrNot cuts the power at every operation: where there is a manifest, everything is there.
func TestSealedOrNot(t *testing.T) {
	died := errors.New("died")
	for at := 0; ; at++ {
		m := disk(t)
		f := faultfs.Wrap(m)
		f.After(at, died)
		_, err := build(f)
		// What the folder of stagings holds is durable in the worst case.
		must(t, m.SyncDir(bg, "/staging"))
		// Not AnySubset: between the manifest's rename and Seal's end it may keep that name and lose the
		// data folder's, which is older and in the same folder.
		for _, model := range []mem.Model{mem.OnlySynced, mem.RandomSubset, mem.TornWrite, mem.Killed} {
			for seed := range uint64(20) {
				c := m.Crash(model, seed)
				if _, serr := c.Stat(bg, root+"/manifest.json"); errors.Is(serr, fs.ErrNotExist) {
					continue
				}
				if wrong := whole(t, c); wrong != "" {
					t.Fatalf("operation %d, %s, seed %d: %s", at, model, seed, wrong)
				}
			}
		}
		if err == nil {
			return
		}
	}
}

// TestEveryFault fails each operation once, on a disk that is full in the middle of a write and on one that
// answers nothing: who stages hears of it, even if only from Seal, and no manifest is left.
func TestEveryFault(t *testing.T) {
	for _, half := range []bool{false, true} {
		for at := 0; ; at++ {
			m := disk(t)
			f := faultfs.Wrap(m)
			f.Inject(&faultfs.Rule{From: at, Once: true, Half: half, Err: syscall.ENOSPC})
			_, err := build(f)
			if f.Count() <= at {
				break
			}
			if err == nil {
				if wrong := whole(t, m); wrong != "" {
					t.Fatalf("operation %d failed, and was not reported: %s", at, wrong)
				}
				continue // closing what was read
			}
			if !errors.Is(err, syscall.ENOSPC) {
				t.Fatalf("operation %d: the cause is lost: %v", at, err)
			}
			if _, _, err := stage.Open(bg, m, root); err == nil && whole(t, m) != "" {
				t.Fatalf("operation %d: a manifest vouches for: %s", at, whole(t, m))
			}
		}
	}
}

// TestNoHalfFileIsSealed: where a write failed and the caller went on, Seal does not.
func TestNoHalfFileIsSealed(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Copy, faultfs.Sync, faultfs.Close} {
		m := disk(t)
		f := faultfs.Wrap(m)
		d, err := stage.New(bg, f, root, 0o755, 0o644)
		must(t, err)
		f.Inject(&faultfs.Rule{Op: op, Path: data, Once: true, Half: op == faultfs.Write || op == faultfs.Copy, Err: syscall.ENOSPC})
		failed := errors.Join(create(d, "new", "new ", "rows"), copied(f, d))
		if !errors.Is(failed, syscall.ENOSPC) {
			t.Fatalf("%s: %v", op, failed)
		}
		if _, err := d.Seal(bg, manifest); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s failed, and Seal says %v", op, err)
		}
		if _, _, err := stage.Open(bg, m, root); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: there is a manifest: %v", op, err)
		}
	}
}

func TestKeep(t *testing.T) {
	for _, c := range []struct {
		name string
		link error
		want string
	}{
		{"by a link", nil, "link"},
		{"no links", errors.ErrUnsupported, "copy"},
		{"another file system", syscall.EXDEV, "copy"},
		{"too many links", syscall.EMLINK, "copy"},
		{"another owner's", syscall.EPERM, "copy"},
		{"a broken disk", syscall.EIO, ""},
	} {
		m := disk(t)
		f := faultfs.Wrap(m)
		if c.link != nil {
			f.Inject(&faultfs.Rule{Op: faultfs.Link, Err: c.link})
		}
		d, err := stage.New(bg, f, root, 0o755, 0o640)
		must(t, err)
		how, err := d.Keep(bg, live+"/b", "b")
		if how != c.want || (c.want == "") != errors.Is(err, syscall.EIO) {
			t.Fatalf("%s: by %q, %v", c.name, how, err)
		}
		if c.want == "" {
			continue
		}
		if got, err := stage.ReadFile(bg, m, data+"/b"); err != nil || string(got) != "old b" {
			t.Errorf("%s: %q, %v", c.name, got, err)
		}
		was, err := m.Stat(bg, live+"/b")
		must(t, err)
		info, err := m.Stat(bg, data+"/b")
		must(t, err)
		if (info.ID == was.ID) != (how == "link") || was.Mode != 0o600 || how == "copy" && info.Mode != 0o640 {
			t.Errorf("%s: %+v, the live file %+v", c.name, info, was)
		}
		if _, err := d.Keep(bg, live+"/a", "b"); !errors.Is(err, fs.ErrExist) {
			t.Errorf("%s: a name was taken twice: %v", c.name, err)
		}
		if _, err := d.Keep(bg, live+"/none", "none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: kept what is not there: %v", c.name, err)
		}
		if _, err := m.Stat(bg, data+"/none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: of what is not there is left: %v", c.name, err)
		}
	}
}

// TestKeepLeavesNoHalfCopy fails each operation of a copy.
func TestKeepLeavesNoHalfCopy(t *testing.T) {
	for at := 0; ; at++ {
		m := disk(t)
		m.SetCapabilities(storage.Capabilities{Scheme: "mem"})
		f := faultfs.Wrap(m)
		d, err := stage.New(bg, f, root, 0o755, 0o644)
		must(t, err)
		before := f.Count()
		f.Inject(&faultfs.Rule{From: before + at, Once: true, Half: true, Err: syscall.ENOSPC})
		_, err = d.Keep(bg, live+"/b", "b")
		if f.Count() <= before+at {
			must(t, err)
			return
		}
		if err == nil {
			continue
		}
		if left, lerr := m.List(bg, data); lerr != nil || len(left) > 0 {
			t.Fatalf("operation %d (%v): left %v, %v", at, err, left, lerr)
		}
		// What is not there can be kept again, and be sealed.
		if _, err := d.Keep(bg, live+"/b", "b"); err != nil {
			t.Fatalf("operation %d: once more: %v", at, err)
		}
		if _, err := d.Seal(bg, manifest); err != nil {
			t.Fatalf("operation %d: %v", at, err)
		}
	}
}

// TestKeepCopiesAgain: a copy that a failing server lost is made again, but not for ever.
func TestKeepCopiesAgain(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Copy, faultfs.Sync, faultfs.Close} {
		for _, once := range []bool{true, false} {
			m := disk(t)
			m.SetCapabilities(storage.Capabilities{Scheme: "mem"})
			f := faultfs.Wrap(m)
			d, err := stage.New(bg, f, root, 0o755, 0o644)
			must(t, err)
			f.Inject(&faultfs.Rule{Op: op, Path: root, Once: once, Half: true, Err: storage.ErrWriteAgain})
			_, err = d.Keep(bg, live+"/b", "b")
			if once != (err == nil) || !once && !errors.Is(err, storage.ErrWriteAgain) {
				t.Errorf("%s, once %t: %v", op, once, err)
			}
			if !once {
				if left, lerr := m.List(bg, data); lerr != nil || len(left) > 0 {
					t.Errorf("%s: left %v, %v", op, left, lerr)
				}
				continue
			}
			sealed, err := d.Seal(bg, manifest)
			if err != nil || len(sealed.Files) != 1 || sealed.Files[0].Size != int64(len("old b")) {
				t.Errorf("%s: sealed %+v, %v", op, sealed.Files, err)
			}
		}
	}
}

func TestCreate(t *testing.T) {
	m := disk(t)
	d, err := stage.New(bg, m, root, 0o755, 0o644)
	must(t, err)
	must(t, create(d, "a", "1"))
	if err := create(d, "a", "2"); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a name was taken twice: %v", err)
	}
	w, err := d.Create(bg, "open")
	must(t, err)
	_, err = w.Write([]byte("x"))
	must(t, err)
	_, err = d.Seal(bg, manifest) // closes what is open
	must(t, err)
	if err := w.Close(); err != nil {
		t.Errorf("closed again: %v", err)
	}
	if _, err := d.Seal(bg, manifest); !errors.Is(err, fs.ErrExist) {
		t.Errorf("sealed twice: %v", err)
	}
	if _, err := stage.New(bg, m, root, 0o755, 0o644); !errors.Is(err, fs.ErrExist) {
		t.Errorf("staged over a staged folder: %v", err)
	}
}

// TestInParallel stages from several goroutines.
func TestInParallel(t *testing.T) {
	m := disk(t)
	d, err := stage.New(bg, m, root, 0o755, 0o644)
	must(t, err)
	var wg sync.WaitGroup
	for i := range 16 {
		wg.Go(func() {
			if err := create(d, fmt.Sprint("new", i), "rows"); err != nil {
				t.Error(err)
			}
			if _, err := d.Keep(bg, live+"/a", fmt.Sprint("kept", i)); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	sealed, err := d.Seal(bg, manifest)
	must(t, err)
	if len(sealed.Files) != 32 {
		t.Errorf("%d files", len(sealed.Files))
	}
}

// TestJSON: a file of ours is there whole or not at all, and one that is not ours is told so.
func TestJSON(t *testing.T) {
	m := disk(t)
	must(t, stage.WriteJSON(bg, m, "/staging/x.json", manifest))
	var got stage.Manifest
	must(t, stage.ReadJSON(bg, m, "/staging/x.json", &got))
	if got.Run != "r1" || !got.Time.Equal(manifest.Time) {
		t.Errorf("%+v", got)
	}
	if err := stage.WriteJSON(bg, m, "/staging/x.json", manifest); !errors.Is(err, fs.ErrExist) {
		t.Errorf("written over: %v", err)
	}
	must(t, stage.ReadJSON(bg, m, "/staging/x.json", &got)) // and left as it was
	if err := stage.ReadJSON(bg, m, live+"/a", &got); err == nil || !strings.Contains(err.Error(), live+"/a") {
		t.Errorf("read as JSON: %v", err)
	}
	if err := stage.ReadJSON(bg, m, "/none", &got); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("read what is not there: %v", err)
	}
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Sync, faultfs.Close} {
		f := faultfs.Wrap(m)
		f.Inject(&faultfs.Rule{Op: op, Once: true, Half: op == faultfs.Write, Err: syscall.ENOSPC})
		if err := stage.WriteJSON(bg, f, "/staging/y.json", manifest); !errors.Is(err, syscall.ENOSPC) {
			t.Errorf("%s: %v", op, err)
		}
		if _, err := m.Stat(bg, "/staging/y.json"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: half a file is left: %v", op, err)
		}
	}
}
