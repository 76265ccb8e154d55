// Package local is the operating system's file system as a storage.FS. Use [FS]; its zero value is
// ready. Names are absolute paths. What it creates has exactly the mode asked for, whatever the
// umask. It never retries an fsync.
package local

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"syscall"

	"github.com/hupsert/hupsert/storage"
)

// FS is the local file system.
type FS struct{}

var _ storage.FS = FS{}

// Capabilities implements storage.FS.
func (FS) Capabilities() storage.Capabilities {
	return storage.Capabilities{Scheme: "file", Exchange: canExchange, Links: true, Locks: true, Ownership: true}
}

// Machine names the running system whose processes see each other's locks, whatever it is called: the host's name
// may change, and containers of one system have several. A system that starts anew is another one.
func Machine() string {
	if name := bootID(); name != "" {
		return name
	}
	host, _ := os.Hostname() // without a name nobody is told apart
	return host
}

// Open implements storage.FS.
func (FS) Open(ctx context.Context, name string) (storage.File, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && info.IsDir() {
		err = &fs.PathError{Op: "open", Path: name, Err: syscall.EISDIR}
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return file{f}, nil
}

// Create implements storage.FS.
func (FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return nil, err
	}
	// The umask may have taken bits away.
	if err := f.Chmod(mode); err != nil {
		return nil, errors.Join(err, f.Close(), os.Remove(name))
	}
	return &writer{f: f}, nil
}

// Stat implements storage.FS.
func (FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return storage.Info{}, err
	}
	info, err := os.Lstat(name)
	if err != nil {
		return storage.Info{}, err
	}
	return describe(info), nil
}

// List implements storage.FS. What it says is of the folder that had the name when it was opened: of one that is
// swapped for another meanwhile, a name would be looked up in the other, and be missing.
func (FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	root, names, err := openFolder(dir)
	if err != nil {
		return nil, err
	}
	defer root.Close()
	out := make([]storage.Info, 0, len(names))
	for _, name := range names {
		if err := ctx.Err(); err != nil {
			return nil, err // a folder may be large, and a disk slow
		}
		info, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) {
			continue // removed since it was listed
		}
		if err != nil {
			return nil, err
		}
		out = append(out, describe(info))
	}
	return out, nil
}

// openFolder opens a folder and gives its names, sorted.
func openFolder(dir string) (root *os.Root, names []string, err error) {
	if root, err = os.OpenRoot(dir); err != nil {
		return nil, nil, err
	}
	self, err := root.Open(".")
	if err == nil {
		names, err = self.Readdirnames(-1)
		err = errors.Join(err, self.Close())
	}
	if err != nil {
		return nil, nil, errors.Join(err, root.Close())
	}
	slices.Sort(names)
	return root, names, nil
}

// Mkdir implements storage.FS.
func (FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := os.Mkdir(name, mode); err != nil {
		return err
	}
	if err := chmodNew(name, mode); err != nil {
		return errors.Join(err, os.Remove(name))
	}
	return nil
}

// chmodNew gives a new directory its mode: the umask may have taken bits away. Set-group-id, which a
// parent hands down so that all below it has one group, stays.
func chmodNew(name string, mode fs.FileMode) error {
	info, err := os.Lstat(name)
	if err != nil {
		return err
	}
	if mode |= info.Mode() & fs.ModeSetgid; mode == info.Mode()&^fs.ModeType {
		return nil
	}
	return os.Chmod(name, mode)
}

// Rename implements storage.FS.
func (FS) Rename(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return linkError("rename", from, to, renameExclusive(from, to))
}

// renamePortably is an exclusive rename where the system knows none: a link can't replace a file, and
// a directory never replaces one that holds something.
func renamePortably(from, to string) error {
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if !info.IsDir() {
		if err := os.Link(from, to); err != nil {
			return err
		}
		// A crash between the two leaves both names of one file; the new one is what counts.
		return os.Remove(from)
	}
	err = os.Rename(from, to)
	if errors.Is(err, syscall.ENOTDIR) {
		// A directory can't take a file's name; or something on the way is no directory.
		if _, found := os.Lstat(to); found == nil {
			return syscall.EEXIST
		}
	}
	return err
}

// Replace implements storage.FS.
func (FS) Replace(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	info, err := os.Lstat(from)
	if err != nil {
		return err
	}
	if info.IsDir() {
		return linkError("replace", from, to, syscall.EISDIR)
	}
	return os.Rename(from, to)
}

// Exchange implements storage.FS.
func (FS) Exchange(ctx context.Context, a, b string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return linkError("exchange", a, b, exchange(a, b))
}

// MayMove implements storage.FS. It knows permissions, sticky folders, read-only and other file systems;
// it does not know quotas, immutable files and security modules.
func (FS) MayMove(ctx context.Context, name, into string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	moved, err := os.Lstat(name)
	if err != nil {
		return err
	}
	parent := filepath.Dir(name)
	writable := []string{parent, into}
	if moved.IsDir() {
		writable = append(writable, name) // its ".." changes
	}
	for _, dir := range writable {
		if err := mayWrite(dir); err != nil {
			return &fs.PathError{Op: "move", Path: dir, Err: err}
		}
	}
	from, err := os.Stat(parent)
	if err != nil {
		return err
	}
	to, err := os.Stat(into)
	if err != nil {
		return err
	}
	if device(moved) != device(to) {
		return linkError("move", name, into, syscall.EXDEV)
	}
	if from.Mode()&fs.ModeSticky != 0 && os.Geteuid() != 0 && !owns(from) && !owns(moved) {
		return &fs.PathError{Op: "move", Path: name, Err: syscall.EPERM}
	}
	return nil
}

func device(info fs.FileInfo) string {
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		return fmt.Sprint(st.Dev)
	}
	return ""
}

func owns(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && int(st.Uid) == os.Geteuid()
}

// Link implements storage.FS.
func (FS) Link(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.Link(from, to)
}

// Remove implements storage.FS.
func (FS) Remove(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return os.Remove(name)
}

// SyncDir implements storage.FS. Where a system says that its directories can't be synced (EINVAL, of
// some network and FUSE file systems), there is nothing to be done, and it succeeds.
func (FS) SyncDir(ctx context.Context, dir string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	d, err := os.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	if err = d.Sync(); errors.Is(err, syscall.EINVAL) || errors.Is(err, errors.ErrUnsupported) {
		err = nil
	}
	return errors.Join(err, d.Close())
}

// SetAttr implements storage.FS.
func (FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if attr.ACLOf != nil {
		return &fs.PathError{Op: "setfacl", Path: name, Err: errors.ErrUnsupported}
	}
	if attr.Owner != nil || attr.Group != nil {
		uid, err := number(attr.Owner)
		gid, gerr := number(attr.Group)
		if err = errors.Join(err, gerr); err != nil {
			return &fs.PathError{Op: "chown", Path: name, Err: err}
		}
		if err := os.Lchown(name, uid, gid); err != nil {
			return err
		}
	}
	// Last: a change of owner takes set-id bits away.
	if attr.Mode != nil {
		return chmod(name, *attr.Mode)
	}
	return nil
}

// number is the number of an owner or group, -1 for one that stays.
func number(text *string) (int, error) {
	if text == nil {
		return -1, nil
	}
	return strconv.Atoi(*text)
}

// chmod refuses symlinks, whose targets the system would change: they may lie anywhere.
func chmod(name string, mode fs.FileMode) error {
	info, err := os.Lstat(name)
	if err == nil && info.Mode()&fs.ModeSymlink != 0 {
		err = &fs.PathError{Op: "chmod", Path: name, Err: errors.ErrUnsupported}
	}
	if err != nil {
		return err
	}
	return os.Chmod(name, mode)
}

// Lock implements storage.FS. The lock ends with the process, and excludes other goroutines of ours as well.
func (FS) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l, err := tryLock(name)
		if err != nil || l != nil {
			return l, err
		}
	}
}

// Locked implements storage.FS.
func (FS) Locked(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	held, err := isLocked(name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return held, err
}

type file struct{ *os.File }

// Stat implements storage.File.
func (f file) Stat() (storage.Info, error) {
	info, err := f.File.Stat()
	if err != nil {
		return storage.Info{}, err
	}
	return describe(info), nil
}

// writer writes a file, and has the kernel begin to write it back meanwhile, so that Sync finds little to do.
type writer struct {
	f       *os.File
	end     int64 // of what was written
	started int64 // up to here it is written back
}

// writeBackBytes is how much is written before the kernel is told to write it back.
const writeBackBytes = 8 << 20

func (w *writer) Write(p []byte) (int, error) {
	n, err := w.f.Write(p)
	w.wrote(int64(n))
	return n, err
}

func (w *writer) wrote(n int64) {
	if w.end += n; w.end-w.started >= writeBackBytes {
		startWriteBack(w.f, w.started, w.end-w.started)
		w.started = w.end
	}
}

// CopyRange implements storage.Writer. Between two local files the kernel copies.
func (w *writer) CopyRange(src storage.File, offset, length int64) error {
	if offset < 0 || length < 0 {
		return &fs.PathError{Op: "copy", Path: w.f.Name(), Err: syscall.EINVAL}
	}
	for length > 0 {
		n := min(length, writeBackBytes)
		if err := w.copyRange(src, offset, n); err != nil {
			return err
		}
		w.wrote(n)
		offset, length = offset+n, length-n
	}
	return nil
}

func (w *writer) copyRange(src storage.File, offset, length int64) error {
	from, ok := src.(file)
	if !ok {
		return copyThroughMemory(w.f, src, offset, length)
	}
	return copyRange(w.f, from.File, offset, length)
}

func copyThroughMemory(dst *os.File, src io.ReaderAt, offset, length int64) error {
	// The file's ReadFrom is hidden: it would go in steps of 32 KiB.
	n, err := io.CopyBuffer(struct{ io.Writer }{dst}, io.NewSectionReader(src, offset, length), make([]byte, max(1, min(length, 1<<20))))
	if err == nil && n != length {
		err = &fs.PathError{Op: "copy", Path: dst.Name(), Err: fmt.Errorf("%d of %d bytes: %w", n, length, io.ErrUnexpectedEOF)}
	}
	return err
}

func (w *writer) Sync() error  { return w.f.Sync() }
func (w *writer) Close() error { return w.f.Close() }

func describe(info fs.FileInfo) storage.Info {
	out := storage.Info{Name: filepath.Base(info.Name()), Size: info.Size(), Mode: info.Mode(), ModTime: info.ModTime()}
	if st, ok := info.Sys().(*syscall.Stat_t); ok {
		out.ID, out.Device = strconv.FormatUint(st.Ino, 10), device(info)
		out.Owner, out.Group = strconv.FormatUint(uint64(st.Uid), 10), strconv.FormatUint(uint64(st.Gid), 10)
		out.Links = int(st.Nlink)
	}
	return out
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	var le *os.LinkError
	if errors.As(err, &le) {
		return err
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}
