package splice

import (
	"io"
	"sync"
)

// stepBytes is how much is read at a time at least, where so much is wanted.
const stepBytes = 1 << 20

// buffers holds buffers that readers have given back: windows and decompressed pages. Nothing that
// is handed out lies in them.
var buffers = sync.Pool{New: func() any { b := make([]byte, 0, stepBytes); return &b }}

// window shows a range of a file that moves forward, read in steps.
type window struct {
	r     io.ReaderAt
	pool  *[]byte
	data  []byte // the bytes from off on that are read
	off   int64
	limit int64 // nothing is read from here on
	total int64 // bytes read
}

// peek returns the bytes [off, off+n), valid until the next call; those before off are given up.
// off+n is within the limit.
func (w *window) peek(off int64, n int) ([]byte, error) {
	if skip := off - w.off; skip >= 0 && skip+int64(n) <= int64(len(w.data)) {
		return w.data[skip : skip+int64(n)], nil
	}
	if w.pool == nil {
		w.pool = buffers.Get().(*[]byte)
		w.data = (*w.pool)[:0]
	}
	// What is there already moves to the front.
	kept := 0
	buf := (*w.pool)[:cap(*w.pool)]
	want := int(min(max(int64(n), stepBytes), w.limit-off))
	if want > len(buf) {
		buf = make([]byte, want+want/8)
	}
	if skip := off - w.off; skip >= 0 && skip < int64(len(w.data)) {
		kept = copy(buf, w.data[skip:])
	}
	*w.pool = buf[:0]
	w.off, w.data = off, buf[:kept]
	if err := readFull(w.r, buf[kept:want], off+int64(kept)); err != nil {
		return nil, err
	}
	w.total += int64(want - kept)
	w.data = buf[:want]
	return w.data[:n], nil
}

// close gives the buffer back.
func (w *window) close() {
	if w.pool != nil {
		giveBack(w.pool)
		w.pool, w.data = nil, nil
	}
}

// keepBytes is the size up to which buffers are kept for later readers.
const keepBytes = 64 << 20

func giveBack(b *[]byte) {
	if cap(*b) <= keepBytes {
		buffers.Put(b)
	}
}
