package hdfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

// TestWrite writes files of sizes around those of buffers and blocks, in pieces of all sizes.
func TestWrite(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), blocks(768))
	data := noise(4 << 20)
	for i, size := range []int{0, 1, 511, 4 << 10, 4<<10 + 1, 768 << 10, 768<<10 + 1, 1 << 20, 1<<20 + 5, 3 << 20, 4 << 20} {
		for _, step := range []int{size/3 + 1, 1000, 1 << 20, 4 << 20} {
			name := path.Join(dir, fmt.Sprint(i, "-", step))
			w, err := f.Create(t.Context(), name, 0o600)
			if err != nil {
				t.Fatal(err)
			}
			for at := 0; at < size; at += step {
				if n, err := w.Write(data[at:min(size, at+step)]); err != nil || n != min(size, at+step)-at {
					t.Fatalf("%d bytes: %d, %v", size, n, err)
				}
			}
			if err := errors.Join(w.Sync(), w.Close()); err != nil {
				t.Fatalf("%d bytes in steps of %d: %v", size, step, err)
			}
			holds(t, f, name, data[:size])
		}
	}
}

// TestCopyIsHeldAgainstItsSource: a whole copy that is not its source is found when it is closed, by the datanodes' checksums,
// or where those are of another kind by reading it.
func TestCopyIsHeldAgainstItsSource(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, blocks(1024))
	small, _ := connect(t, s, blocks(256))
	data := noise(3<<20 + 77)
	put(t, f, path.Join(dir, "f"), data)
	for what, to := range map[string]*FS{"alike": f, "other blocks": small} {
		for _, spoilt := range []bool{false, true} {
			src := open(t, to, path.Join(dir, "f"))
			name := path.Join(dir, fmt.Sprint(what, spoilt))
			made, err := to.Create(t.Context(), name, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			w := made.(*writer)
			if err := w.CopyRange(src, 0, int64(len(data))); err != nil {
				t.Fatal(err)
			}
			if spoilt { // as if other bytes had been read than those that were written
				w.buffer[len(w.buffer)-1] ^= 1
			}
			read := to.BytesRead()
			err = w.Close()
			if spoilt != errors.Is(err, storage.ErrWriteAgain) || !spoilt && err != nil {
				t.Errorf("%s, spoilt %t: %v", what, spoilt, err)
			}
			if looked := to.BytesRead() - read; !spoilt && (looked > int64(len(data))/2) != (what != "alike") {
				t.Errorf("%s: %d bytes were read to hold the copy against its source", what, looked)
			}
		}
	}
}

// TestCopyFromElsewhere copies from what is no file of HDFS, and from one that ends too early.
func TestCopyFromElsewhere(t *testing.T) {
	f, dir := shared(t)
	data := noise(2<<20 + 1)
	src := memory{bytes.NewReader(data)}
	w, err := f.Create(t.Context(), path.Join(dir, "f"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(w.CopyRange(src, 1, 2<<20), w.CopyRange(src, 0, 1), isErr(w.CopyRange(src, 2<<20, 2), io.ErrUnexpectedEOF)); err != nil {
		t.Error(err)
	}
	if err := w.Close(); err != nil {
		t.Error(err)
	}
	holds(t, f, path.Join(dir, "f"), append(append(bytes.Clone(data[1:]), data[0]), data[2<<20]))
}

// memory is a file of no storage.
type memory struct{ *bytes.Reader }

func (memory) Close() error                { return nil }
func (memory) Stat() (storage.Info, error) { return storage.Info{}, nil }

// TestFileIsGone: who writes to a file that somebody has removed is told so, and does not try for as long as calls are tried.
func TestFileIsGone(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, func(o *Options) {
		blocks(256)(o)
		o.Retry = 2 * time.Second
	})
	for _, written := range []int{0, 300 << 10} { // before the first block and before another one
		name := path.Join(dir, fmt.Sprint(written))
		w, err := f.Create(t.Context(), name, 0o644)
		if err == nil && written > 0 {
			_, err = w.Write(noise(written))
			w.(*writer).flush()
		}
		if err != nil {
			t.Fatal(err)
		}
		s.Do(t, "rm "+name)
		_, err = w.Write(noise(600 << 10))
		err = errors.Join(err, w.Close())
		// Of a block that was begun the namenode may say that this is gone, and not the file.
		told := errors.Is(err, fs.ErrNotExist) || written > 0 && errors.Is(err, storage.ErrWriteAgain)
		if !told || errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("after %d bytes: %v", written, err)
		}
	}
}

// TestBlocksAsAsked: a file has the blocks that are asked for, else those of the settings.
func TestBlocksAsAsked(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), blocks(1024))
	for i, c := range []struct{ asked, want storage.Blocks }{
		{storage.Blocks{}, storage.Blocks{Replication: 1, Size: 1 << 20}},
		{storage.Blocks{Replication: 2}, storage.Blocks{Replication: 2, Size: 1 << 20}},
		{storage.Blocks{Replication: 3, Size: 2 << 20}, storage.Blocks{Replication: 3, Size: 2 << 20}},
	} {
		name := path.Join(dir, fmt.Sprint(i))
		data := noise(3 << 20)
		if err := write(storage.WithBlocks(t.Context(), c.asked), f, name, data); err != nil {
			t.Fatal(err)
		}
		info, err := f.Stat(t.Context(), name)
		if err != nil || info.Blocks != c.want {
			t.Errorf("%+v: %+v, %v", c.asked, info.Blocks, err)
		}
		if o := open(t, f, name); int64(len(o.at)) != (int64(len(data))+c.want.Size-1)/c.want.Size {
			t.Errorf("%+v: blocks %v", c.asked, o.at)
		}
		holds(t, f, name, data)
	}
}
