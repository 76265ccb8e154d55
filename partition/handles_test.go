package partition

import (
	"bytes"
	"context"
	"errors"
	"io"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/hupsert/hupsert/merge/source"
)

// countedFile is a file that counts how many are open.
type countedFile struct {
	*bytes.Reader
	open *atomic.Int64
}

func (f countedFile) Close() error {
	f.open.Add(-1)
	return nil
}

func TestHandlesBoundOpenFiles(t *testing.T) {
	var open, most atomic.Int64
	h := &handles{}
	var files []source.ReadCloserAt
	for i := range 5 * openSources {
		from := h.opener(func(context.Context) (source.ReadCloserAt, error) {
			if n := open.Add(1); n > most.Load() {
				most.Store(n)
			}
			return countedFile{bytes.NewReader([]byte{byte(i), byte(i >> 8)}), &open}, nil
		})
		f, err := from(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, f)
	}
	var group sync.WaitGroup
	for w := range 4 {
		group.Go(func() {
			for i := range files {
				i = (i*7 + w*31) % len(files)
				got := make([]byte, 2)
				if _, err := files[i].ReadAt(got, 0); err != nil && !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				if got[0] != byte(i) || got[1] != byte(i>>8) {
					t.Errorf("file %d holds %v", i, got)
				}
			}
		})
	}
	group.Wait()
	if most.Load() > openSources+1 {
		t.Errorf("%d files open at once, at most %d wanted", most.Load(), openSources+1)
	}
	for _, f := range files {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}
	if open.Load() != 0 {
		t.Errorf("%d files left open", open.Load())
	}
}
