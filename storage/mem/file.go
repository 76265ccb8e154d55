package mem

import (
	"fmt"
	"io"
	"io/fs"
	"path"
	"syscall"

	"github.com/hupsert/hupsert/storage"
)

// file is an open file.
type file struct {
	fsys   *FS
	node   *node
	name   string
	closed bool
}

// ReadAt implements io.ReaderAt.
func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.fsys.mu.Lock()
	data, closed := f.node.data, f.closed
	f.fsys.mu.Unlock()
	switch {
	case closed:
		return 0, pathError("read", f.name, fs.ErrClosed)
	case off < 0:
		return 0, pathError("read", f.name, syscall.EINVAL)
	case off >= int64(len(data)):
		if len(p) == 0 {
			return 0, nil
		}
		return 0, io.EOF
	}
	// Without the lock: content only grows.
	n := copy(p, data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

// Stat implements storage.File.
func (f *file) Stat() (storage.Info, error) {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	if f.closed {
		return storage.Info{}, pathError("stat", f.name, fs.ErrClosed)
	}
	return f.fsys.info(f.node, path.Base(f.name)), nil
}

// Close implements io.Closer.
func (f *file) Close() error {
	f.fsys.mu.Lock()
	defer f.fsys.mu.Unlock()
	if f.closed {
		return pathError("close", f.name, fs.ErrClosed)
	}
	f.closed = true
	return nil
}

// writer writes a new file.
type writer struct {
	fsys   *FS
	node   *node
	name   string
	closed bool
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (int, error) {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	if w.closed {
		return 0, pathError("write", w.name, fs.ErrClosed)
	}
	if len(p) == 0 {
		return 0, nil
	}
	n := w.node
	n.data = append(n.data, p...)
	n.writes = append(n.writes, len(n.data))
	n.mtime = w.fsys.now()
	return len(p), nil
}

// CopyRange implements storage.Writer.
func (w *writer) CopyRange(src storage.File, offset, length int64) error {
	if offset < 0 || length < 0 {
		return pathError("copy", w.name, syscall.EINVAL)
	}
	p, err := io.ReadAll(io.NewSectionReader(src, offset, length))
	if err != nil {
		return err
	}
	if _, err = w.Write(p); err == nil && int64(len(p)) != length {
		err = pathError("copy", w.name, fmt.Errorf("%d of %d bytes: %w", len(p), length, io.ErrUnexpectedEOF))
	}
	return err
}

// Sync implements storage.Writer.
func (w *writer) Sync() error {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	if w.closed {
		return pathError("sync", w.name, fs.ErrClosed)
	}
	n := w.node
	n.durable, n.writes, n.synced = len(n.data), nil, n.attr
	return nil
}

// Close implements storage.Writer.
func (w *writer) Close() error {
	w.fsys.mu.Lock()
	defer w.fsys.mu.Unlock()
	if w.closed {
		return pathError("close", w.name, fs.ErrClosed)
	}
	w.closed = true
	return nil
}
