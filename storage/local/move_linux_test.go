package local_test

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/hupsert/hupsert/storage/local"
)

const nobody = 65534

// asNobody runs f without the rights of root, on a thread of its own.
func asNobody(t *testing.T, f func()) {
	t.Helper()
	ended := make(chan error)
	go func() {
		runtime.LockOSThread() // never unlocked: the thread ends with the goroutine
		var err error
		// Of this thread only, as Go's own call would not do it.
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, ^uintptr(0), nobody, ^uintptr(0)); errno != 0 {
			err = errno
		} else {
			f()
		}
		ended <- err
	}()
	if err := <-ended; err != nil {
		t.Skip(err)
	}
}

// TestMayMove holds the answer against what a rename then does.
func TestMayMove(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root, to make what others may not move")
	}
	for _, c := range []struct {
		name              string
		parent, dir, into fs.FileMode
		owned             bool // the folder is nobody's own
		want              error
	}{
		{"all open", 0o777, 0o777, 0o777, false, nil},
		{"its own in an open folder", 0o777, 0o755, 0o777, true, nil},
		{"parent closed", 0o755, 0o777, 0o777, true, fs.ErrPermission},
		{"target closed", 0o777, 0o777, 0o755, true, fs.ErrPermission},
		{"folder closed", 0o777, 0o755, 0o777, false, fs.ErrPermission},
		{"sticky, of another", 0o777 | fs.ModeSticky, 0o777, 0o777, false, fs.ErrPermission},
		{"sticky, its own", 0o777 | fs.ModeSticky, 0o777, 0o777, true, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := t.TempDir()
			at := func(name string) string { return filepath.Join(root, name) }
			for _, dir := range []string{"parent", "parent/dir", "into"} {
				if err := os.Mkdir(at(dir), 0o755); err != nil {
					t.Fatal(err)
				}
			}
			if c.owned {
				if err := os.Chown(at("parent/dir"), nobody, nobody); err != nil {
					t.Fatal(err)
				}
			}
			// The folder that t.TempDir's lies in is closed to others.
			for dir, mode := range map[string]fs.FileMode{"..": 0o755, ".": 0o755, "parent/dir": c.dir, "parent": c.parent, "into": c.into} {
				if err := os.Chmod(at(dir), mode); err != nil {
					t.Fatal(err)
				}
			}
			var may, did error
			asNobody(t, func() {
				may = local.FS{}.MayMove(t.Context(), at("parent/dir"), at("into"))
				did = local.FS{}.Rename(t.Context(), at("parent/dir"), at("into/dir"))
			})
			if !errors.Is(may, c.want) || c.want == nil && may != nil {
				t.Errorf("got %v, want %v", may, c.want)
			}
			if (may == nil) != (did == nil) {
				t.Errorf("said %v, and the rename answered %v", may, did)
			}
		})
	}
	shm, err := os.MkdirTemp("/dev/shm", "hupsert-*") //nolint:usetesting // t.TempDir is on the disk
	if err != nil {
		t.Skip(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(shm) })
	if err := (local.FS{}).MayMove(t.Context(), t.TempDir(), shm); !errors.Is(err, syscall.EXDEV) {
		t.Errorf("to another file system: %v", err)
	}
}
