package local_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/storagetest"
)

// linking is the file system with symlinks, which hupsert meets and never makes.
type linking struct{ local.FS }

func (linking) Symlink(_ context.Context, target, name string) error { return os.Symlink(target, name) }

func TestSuite(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) (storage.FS, string) { return linking{}, t.TempDir() })
}

func TestSuiteUnderFaultfs(t *testing.T) {
	storagetest.Run(t, func(t *testing.T) (storage.FS, string) { return faultfs.Wrap(local.FS{}), t.TempDir() })
}

// TestSuiteInMemory runs on tmpfs, where a kernel's copy and rename are others.
func TestSuiteInMemory(t *testing.T) {
	if _, err := os.Stat("/dev/shm"); err != nil {
		t.Skip("there is no /dev/shm")
	}
	storagetest.Run(t, func(t *testing.T) (storage.FS, string) {
		dir, err := os.MkdirTemp("/dev/shm", "hupsert-*") //nolint:usetesting // t.TempDir is on the disk
		if err != nil {
			t.Skip(err)
		}
		t.Cleanup(func() { _ = os.RemoveAll(dir) })
		return linking{}, dir
	})
}

// TestIDOutlivesTheDevice: a restart may number the device anew, and a file is then still the same.
func TestIDOutlivesTheDevice(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := syscall.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	info, err := local.FS{}.Stat(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	if info.ID != fmt.Sprint(st.Ino) || info.Device != fmt.Sprint(st.Dev) {
		t.Errorf("id %s, device %s of inode %d on %d", info.ID, info.Device, st.Ino, st.Dev)
	}
}

// TestLockEndsWithItsProcess: a killed run frees at once what it held.
func TestLockEndsWithItsProcess(t *testing.T) {
	if name := os.Getenv("HUPSERT_TEST_LOCK"); name != "" {
		holdForever(name)
		return
	}
	name := filepath.Join(t.TempDir(), "l")
	holder := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestLockEndsWithItsProcess$")
	holder.Env = append(os.Environ(), "HUPSERT_TEST_LOCK="+name)
	out, err := holder.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	in, err := holder.StdinPipe() // open, or the holder ends by itself
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if err := holder.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "locked\n" {
		t.Fatalf("the holder says %q: %v", line, err)
	}
	if _, err := (local.FS{}).Lock(t.Context(), name); !errors.Is(err, storage.ErrLocked) {
		t.Fatalf("a lock of another process was taken: %v", err)
	}
	if err := holder.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = holder.Wait() // it was killed
	u, err := local.FS{}.Lock(t.Context(), name)
	if err != nil {
		t.Fatalf("the lock outlived its process: %v", err)
	}
	if err := u.Unlock(); err != nil {
		t.Fatal(err)
	}
}

// holdForever is the process that holds the lock, until it is killed or its parent is gone.
func holdForever(name string) {
	if _, err := (local.FS{}).Lock(context.Background(), name); err != nil {
		_, _ = io.WriteString(os.Stdout, err.Error()+"\n")
		return
	}
	_, _ = io.WriteString(os.Stdout, "locked\n")
	_, _ = io.Copy(io.Discard, os.Stdin)
}
