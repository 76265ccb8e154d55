//go:build !linux

package local

import (
	"errors"
	"io/fs"
	"os"
	"syscall"

	"github.com/hupsert/hupsert/storage"
)

// tryLock answers nothing where the file it locked has lost its name to nothing or to another file:
// who held it has removed it, after we opened it.
func tryLock(name string) (storage.Unlocker, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		if errors.Is(err, syscall.EWOULDBLOCK) {
			err = storage.ErrLocked
		}
		return nil, errors.Join(&fs.PathError{Op: "lock", Path: name, Err: err}, f.Close())
	}
	locked, err := f.Stat()
	if err == nil {
		var named fs.FileInfo
		if named, err = os.Stat(name); err == nil && os.SameFile(locked, named) {
			return lock{f}, nil
		}
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return nil, errors.Join(err, f.Close())
}

// isLocked takes a shared lock for a moment: flock knows no question.
func isLocked(name string) (bool, error) {
	f, err := os.Open(name)
	if err != nil {
		return false, err
	}
	err = syscall.Flock(int(f.Fd()), syscall.LOCK_SH|syscall.LOCK_NB)
	if errors.Is(err, syscall.EWOULDBLOCK) {
		return true, f.Close()
	}
	return false, errors.Join(err, f.Close())
}

type lock struct{ f *os.File }

// Unlock implements storage.Unlocker: the lock ends with its file.
func (l lock) Unlock() error { return l.f.Close() }
