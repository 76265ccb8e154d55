package local

import (
	"errors"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

const canExchange = true

// renameExclusive renames to a name that must not exist.
func renameExclusive(from, to string) error {
	err := unix.Renameat2(unix.AT_FDCWD, from, unix.AT_FDCWD, to, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return renamePortably(from, to) // the file system knows no flags
	}
	return err
}

func exchange(a, b string) error {
	err := unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		return errors.ErrUnsupported
	}
	return err
}

// mayWrite asks whether names in a folder may be changed.
func mayWrite(dir string) error {
	return unix.Faccessat(unix.AT_FDCWD, dir, unix.W_OK|unix.X_OK, unix.AT_EACCESS)
}

// copyRange copies within the kernel, where the file systems let it, else through memory. Where blocks
// can be shared (XFS, btrfs) copy_file_range does so by itself.
func copyRange(dst, src *os.File, offset, length int64) error {
	for length > 0 {
		n, err := unix.CopyFileRange(int(src.Fd()), &offset, int(dst.Fd()), nil, int(min(length, 1<<30)), 0)
		switch {
		case errors.Is(err, unix.EINTR):
		case errors.Is(err, unix.EXDEV), errors.Is(err, unix.EINVAL), errors.Is(err, unix.ENOSYS),
			errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EPERM): // EPERM: forbidden by a sandbox
			return copyThroughMemory(dst, src, offset, length)
		case err != nil:
			return &os.PathError{Op: "copy_file_range", Path: dst.Name(), Err: err}
		case n == 0:
			return &os.PathError{Op: "copy_file_range", Path: src.Name(), Err: io.ErrUnexpectedEOF}
		}
		length -= int64(max(n, 0))
	}
	return nil
}

// startWriteBack has the kernel write a range to disk, and does not wait for it. It makes nothing durable: an error is Sync's to tell.
func startWriteBack(f *os.File, offset, length int64) {
	_ = unix.SyncFileRange(int(f.Fd()), offset, length, unix.SYNC_FILE_RANGE_WRITE)
}

// unnamed opens a file that never had a name; nil where the file system can't.
func unnamed(dir string) (*os.File, error) {
	fd, err := unix.Open(dir, unix.O_TMPFILE|unix.O_RDWR|unix.O_CLOEXEC, 0o600)
	switch {
	case errors.Is(err, unix.EOPNOTSUPP), errors.Is(err, unix.EISDIR), errors.Is(err, unix.EINVAL):
		return nil, nil
	case err != nil:
		return nil, &os.PathError{Op: "open a temporary file in", Path: dir, Err: err}
	}
	return os.NewFile(uintptr(fd), dir), nil
}

// bootID is the kernel's name for itself, since it started.
func bootID() string {
	text, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(text))
}
