package local

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"

	"github.com/cespare/xxhash/v2"
	"golang.org/x/sys/unix"

	"github.com/hupsert/hupsert/storage"
)

// ranges is the file of a folder in which its locks are bytes: a run that works on thousands of partitions
// holds their locks through one descriptor.
const ranges = ".locks"

// lockTable is the open files of ranges of this process, by folder. The kernel lets one open file take a
// byte twice, so that what this process holds is known here.
var lockTable struct {
	sync.Mutex
	open map[string]*rangeFile
}

type rangeFile struct {
	file *os.File
	held map[int64]bool
}

// lock is a byte that is locked. It ends with its file, and so with the process.
type lock struct {
	dir  string
	in   *rangeFile
	byte int64
}

// tryLock takes the byte of a name, and then makes the file: it is there for people, and because who holds
// a lock may remove its file.
func tryLock(name string) (storage.Unlocker, error) {
	dir, base := filepath.Split(name)
	l := lock{dir: dir, byte: lockByte(base)}
	lockTable.Lock()
	defer lockTable.Unlock()
	var err error
	if l.in, err = rangesOf(dir); err != nil {
		var e *fs.PathError
		if errors.As(err, &e) {
			err = e.Err
		}
		return nil, &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	taken := l.in.held[l.byte]
	if !taken {
		err = l.set(unix.F_WRLCK)
		taken = errors.Is(err, unix.EAGAIN) || errors.Is(err, unix.EACCES)
	}
	switch {
	case taken:
		err = &fs.PathError{Op: "lock", Path: name, Err: storage.ErrLocked}
	case err != nil:
		err = &fs.PathError{Op: "lock", Path: name, Err: err}
	default:
		if err = touch(name); err == nil {
			l.in.held[l.byte] = true
			return l, nil
		}
		err = errors.Join(err, l.set(unix.F_UNLCK))
	}
	return nil, errors.Join(err, l.in.shut(dir))
}

// lockByte is the byte of a name.
func lockByte(base string) int64 { return int64(xxhash.Sum64String(base) >> 2) }

// isLocked asks for the byte of a name through an open file of its own, so that what this process holds
// counts as well.
func isLocked(name string) (bool, error) {
	dir, base := filepath.Split(name)
	f, err := os.Open(filepath.Join(dir, ranges))
	if err != nil {
		return false, err
	}
	at := unix.Flock_t{Type: unix.F_WRLCK, Start: lockByte(base), Len: 1}
	err = unix.FcntlFlock(f.Fd(), unix.F_OFD_GETLK, &at)
	if err != nil {
		err = &fs.PathError{Op: "lock", Path: name, Err: err}
	}
	return err == nil && at.Type != unix.F_UNLCK, errors.Join(err, f.Close())
}

func touch(name string) error {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

// rangesOf opens a folder's file, or gives the one that is open if it still has the name.
func rangesOf(dir string) (*rangeFile, error) {
	name := filepath.Join(dir, ranges)
	if r := lockTable.open[dir]; r != nil {
		ours, err := r.file.Stat()
		if err != nil {
			return nil, err
		}
		if named, err := os.Stat(name); err == nil && os.SameFile(ours, named) {
			return r, nil
		}
	}
	f, err := os.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o644)
	if err != nil {
		return nil, err
	}
	if lockTable.open == nil {
		lockTable.open = map[string]*rangeFile{}
	}
	r := &rangeFile{file: f, held: map[int64]bool{}}
	lockTable.open[dir] = r
	return r, nil
}

// shut closes the file when nothing is held through it.
func (r *rangeFile) shut(dir string) error {
	if len(r.held) > 0 {
		return nil
	}
	if lockTable.open[dir] == r {
		delete(lockTable.open, dir)
	}
	return r.file.Close()
}

func (l lock) set(how int16) error {
	return unix.FcntlFlock(l.in.file.Fd(), unix.F_OFD_SETLK, &unix.Flock_t{Type: how, Start: l.byte, Len: 1})
}

// Unlock implements storage.Unlocker.
func (l lock) Unlock() error {
	lockTable.Lock()
	defer lockTable.Unlock()
	if !l.in.held[l.byte] {
		return fs.ErrClosed
	}
	delete(l.in.held, l.byte)
	return errors.Join(l.set(unix.F_UNLCK), l.in.shut(l.dir))
}
