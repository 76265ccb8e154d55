package partition

import (
	"container/list"
	"context"
	"io"
	"sync"

	"github.com/hupsert/hupsert/merge/source"
)

// openSources is how many files of a source are open at once. A source may have many more, and columns
// are read from any of them until the end of the run.
const openSources = 64

// handles opens files when they are read, and closes those that were not read for longest.
type handles struct {
	mu   sync.Mutex
	open list.List // of *handle, the latest first
}

// handle is one file. It implements source.ReadCloserAt.
type handle struct {
	pool *handles
	ctx  context.Context // of the run: a file is opened again in the midst of a read
	from func(ctx context.Context) (source.ReadCloserAt, error)

	// Under the pool's lock.
	file  source.ReadCloserAt
	users int
	place *list.Element
}

// opener wraps what opens a file.
func (h *handles) opener(from func(context.Context) (source.ReadCloserAt, error)) func(context.Context) (source.ReadCloserAt, error) {
	return func(ctx context.Context) (source.ReadCloserAt, error) {
		f := &handle{pool: h, ctx: context.WithoutCancel(ctx), from: from}
		if _, err := f.take(); err != nil {
			return nil, err
		}
		f.give()
		return f, nil
	}
}

// take gives the file, open, until give.
func (f *handle) take() (source.ReadCloserAt, error) {
	h := f.pool
	h.mu.Lock()
	defer h.mu.Unlock()
	if f.file == nil {
		file, err := f.from(f.ctx)
		if err != nil {
			return nil, err
		}
		f.file, f.place = file, h.open.PushFront(f)
	}
	h.open.MoveToFront(f.place)
	f.users++
	h.shrink()
	return f.file, nil
}

// shrink closes files that nobody reads, down to the limit.
func (h *handles) shrink() {
	for at := h.open.Back(); at != nil && h.open.Len() > openSources; {
		before := at.Prev()
		if f := at.Value.(*handle); f.users == 0 {
			_ = f.shut() // it was only read
		}
		at = before
	}
}

func (f *handle) shut() error {
	if f.file == nil {
		return nil
	}
	f.pool.open.Remove(f.place)
	err := f.file.Close()
	f.file = nil
	return err
}

func (f *handle) give() {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	f.users--
}

// ReadAt implements io.ReaderAt.
func (f *handle) ReadAt(p []byte, off int64) (int, error) {
	file, err := f.take()
	if err != nil {
		return 0, err
	}
	defer f.give()
	return file.ReadAt(p, off)
}

// Pin gives the open file itself, for copies in the kernel; it stays open until release is called.
func (f *handle) Pin() (file io.ReaderAt, release func(), err error) {
	file, err = f.take()
	return file, f.give, err
}

// Close implements io.Closer.
func (f *handle) Close() error {
	f.pool.mu.Lock()
	defer f.pool.mu.Unlock()
	return f.shut()
}
