package faultfs

import (
	"errors"
	"fmt"

	"github.com/hupsert/hupsert/storage"
)

// file is a file being read.
type file struct {
	f    storage.File
	fsys *FS
	name string
}

// ReadAt implements io.ReaderAt.
func (r *file) ReadAt(p []byte, off int64) (n int, err error) {
	err = r.fsys.do(on(Read, r.name), func() error {
		n, err = r.f.ReadAt(p, off)
		return err
	})
	return n, err
}

// Stat implements storage.File.
func (r *file) Stat() (storage.Info, error) { return read(r.fsys, on(Stat, r.name), r.f.Stat) }

// Close implements io.Closer.
func (r *file) Close() error { return r.fsys.close(r.name, r.f.Close) }

// close closes in any case and fails all the same where a rule says so.
func (f *FS) close(name string, run func() error) error {
	c := on(Close, name)
	ran := false
	err := f.do(c, func() error {
		ran = true
		return run()
	})
	if !ran {
		err = errors.Join(err, run())
	}
	return err
}

// writer is a file being written.
type writer struct {
	w    storage.Writer
	fsys *FS
	name string
}

// Write implements io.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	c := w.call(Write, int64(len(p)))
	hit, entry := w.fsys.step(c)
	switch {
	case hit != nil && hit.Skip:
		n = len(p)
	case hit != nil && hit.halves():
		n, err = w.w.Write(p[:len(p)/2])
		err = errors.Join(hit.failure(c), err)
	default:
		err = w.fsys.apply(hit, c, func() error {
			n, err = w.w.Write(p)
			return err
		})
	}
	w.fsys.done(entry, err)
	return n, err
}

// CopyRange implements storage.Writer.
func (w *writer) CopyRange(src storage.File, offset, length int64) error {
	// The wrapped file system must see a file of its own to copy without passing bytes through us.
	if own, ok := src.(*file); ok {
		src = own.f
	}
	c := w.call(Copy, length)
	hit, entry := w.fsys.step(c)
	var err error
	if hit != nil && hit.halves() {
		err = errors.Join(hit.failure(c), w.w.CopyRange(src, offset, length/2))
	} else {
		err = w.fsys.apply(hit, c, func() error { return w.w.CopyRange(src, offset, length) })
	}
	w.fsys.done(entry, err)
	return err
}

// Sync implements storage.Writer.
func (w *writer) Sync() error { return w.fsys.do(on(Sync, w.name), w.w.Sync) }

// Close implements storage.Writer.
func (w *writer) Close() error { return w.fsys.close(w.name, w.w.Close) }

func (w *writer) call(op Op, bytes int64) call {
	return call{op: op, names: []string{w.name}, detail: fmt.Sprintf(" %d", bytes)}
}
