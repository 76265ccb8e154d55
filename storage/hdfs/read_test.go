package hdfs

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// noise is content in which no two places look alike.
func noise(n int) []byte {
	p := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(p) // it always fills
	return p
}

// blocks makes files of small blocks, in kibibytes.
func blocks(size int) func(*Options) {
	return func(o *Options) {
		o.Conf = hadoop.Of(map[string]string{"dfs.blocksize": fmt.Sprintf("%dk", size)})
	}
}

func put(tb testing.TB, f *FS, name string, data []byte) {
	tb.Helper()
	w, err := f.Create(tb.Context(), name, 0o644)
	if err == nil {
		_, err = w.Write(data)
		err = errors.Join(err, w.Sync(), w.Close())
	}
	if err != nil {
		tb.Fatal(err)
	}
}

func open(tb testing.TB, f *FS, name string) *file {
	tb.Helper()
	o, err := f.Open(tb.Context(), name)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = o.Close() })
	return o.(*file)
}

func holds(tb testing.TB, f *FS, name string, want []byte) {
	tb.Helper()
	o := open(tb, f, name)
	got, err := io.ReadAll(io.NewSectionReader(o, 0, o.info.Size))
	if err != nil || !bytes.Equal(got, want) {
		tb.Fatalf("%s: %d bytes of %d, equal %t: %v", name, len(got), len(want), bytes.Equal(got, want), err)
	}
}

// TestReadAnywhere reads one file from many goroutines, forwards, backwards and across blocks: one reader of the library
// shared by two goroutines would give wrong bytes silently.
func TestReadAnywhere(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), blocks(1024))
	data := noise(5<<20 + 333)
	put(t, f, path.Join(dir, "f"), data)
	o := open(t, f, path.Join(dir, "f"))
	seed := uint64(time.Now().UnixNano())
	t.Logf("seed %d", seed)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(seed, uint64(i)))
			at := 0
			for range 60 {
				size := 1 + r.IntN(1<<(2+r.IntN(20)))
				switch r.IntN(4) {
				case 0:
					at = r.IntN(len(data))
				case 1:
					at += r.IntN(100 << 10)
				}
				if at >= len(data) {
					at = 0
				}
				p := make([]byte, size)
				n, err := o.ReadAt(p, int64(at))
				want := data[at:min(len(data), at+size)]
				if n != len(want) || !bytes.Equal(p[:n], want) || err != nil && !errors.Is(err, io.EOF) || (n < size) != errors.Is(err, io.EOF) {
					t.Errorf("%d bytes at %d: read %d, %v, equal %t", size, at, n, err, bytes.Equal(p[:n], want))
					return
				}
				at += size
			}
		})
	}
	wg.Wait()
}

// TestSmallReadsAreFewRequests: reads that go forward are one stream, not requests of their own, and what is read beyond
// them is little.
func TestSmallReadsAreFewRequests(t *testing.T) {
	f, dir := shared(t)
	data := noise(24 << 20)
	put(t, f, path.Join(dir, "f"), data)
	read := func(expect bool, step, size, from, to int) (requests int, bytesRead int64) {
		t.Helper()
		o := open(t, f, path.Join(dir, "f"))
		before := f.BytesRead()
		opened := o.opened
		if expect {
			o.Expect(int64(from), int64(to-from))
		}
		p := make([]byte, size)
		for at := from; at+size <= to; at += step {
			if _, err := o.ReadAt(p, int64(at)); err != nil || !bytes.Equal(p, data[at:at+size]) {
				t.Fatalf("at %d: %v", at, err)
			}
		}
		return o.opened - opened, f.BytesRead() - before
	}
	slack := int64(64 << 10) // heads of packets and checksums of 1 %
	if n, got := read(false, 4096, 4096, 1<<20, 17<<20); n > 6 || got > 16<<20*102/100+windowMost {
		t.Errorf("4 KiB in order: %d requests, %d bytes", n, got)
	}
	if n, got := read(true, 8192, 4096, 1<<20, 9<<20); n != 1 || got > 8<<20*102/100+slack {
		t.Errorf("pages of a range that was expected: %d requests, %d bytes", n, got)
	}
	if n, got := read(false, 4<<20, 4096, 0, 20<<20); n != 5 || got > 5*windowStart*102/100+5*slack {
		t.Errorf("single ones: %d requests, %d bytes", n, got)
	}
	if n, got := read(false, 500<<10, 64, 0, 20<<20); n > 6 || got > 20<<20*102/100+windowMost {
		t.Errorf("the heads of pages: %d requests, %d bytes", n, got)
	}
	if n, got := read(false, 1000, 8, len(data)-200<<10, len(data)); n != 1 || got > tailBytes*102/100+slack {
		t.Errorf("a footer: %d requests, %d bytes", n, got)
	}
}

// TestDamagedBlock: bytes whose checksum is wrong are never given. The library gives them, and fails with the read after.
func TestDamagedBlock(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, func(o *Options) { o.Retry = time.Second })
	data := noise(1 << 20)
	put(t, f, path.Join(dir, "f"), data)
	damage(t, s.Dir, data[600<<10:601<<10])
	o := open(t, f, path.Join(dir, "f"))
	p := make([]byte, 700<<10)
	n, err := o.ReadAt(p, 0)
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "checksum") || !bytes.Equal(p[:n], data[:n]) {
		t.Errorf("read %d bytes, equal %t: %v", n, bytes.Equal(p[:n], data[:n]), err)
	}
	w, err := f.Create(t.Context(), path.Join(dir, "copy"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if err := w.CopyRange(o, 0, int64(len(data))); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("copied: %v", err)
	}
	_ = w.Close()
}

// damage flips a bit on the datanode's disk.
func damage(tb testing.TB, dir string, where []byte) {
	tb.Helper()
	done := 0
	err := filepath.WalkDir(dir, func(name string, d os.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) { // the datanode works meanwhile
			return nil
		}
		if err != nil || d.IsDir() || !strings.HasPrefix(d.Name(), "blk_") || strings.HasSuffix(d.Name(), ".meta") {
			return err
		}
		data, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if at := bytes.Index(data, where); err == nil && at >= 0 {
			data[at+10] ^= 4
			err = os.WriteFile(name, data, 0o644)
			done++
		}
		return err
	})
	if err != nil || done == 0 {
		tb.Fatalf("%d blocks damaged: %v", done, err)
	}
}

// TestReadMoved: a file that is open is read by its id, wherever it went, and whatever has its name.
func TestReadMoved(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), func(o *Options) { blocks(512)(o); o.Retry = 2 * time.Second })
	data := noise(2 << 20)
	put(t, f, path.Join(dir, "f"), data)
	o := open(t, f, path.Join(dir, "f"))
	if err := f.Rename(t.Context(), path.Join(dir, "f"), path.Join(dir, "g")); err != nil {
		t.Fatal(err)
	}
	put(t, f, path.Join(dir, "f"), noise(10)) // another one has the name
	p := make([]byte, len(data))
	if _, err := o.ReadAt(p, 0); err != nil || !bytes.Equal(p, data) {
		t.Errorf("moved: %v", err)
	}
}
