package hdfs

import (
	"context"
	"fmt"
	"net"
	"path"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

// TestFootersAreReadOnce: the end of a file that is opened again is asked of no datanode, as far as it was read; what lies
// before is, and so is the end of a file that has grown.
func TestFootersAreReadOnce(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, nil)
	var asked atomic.Int64
	f.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		if addr != s.Namenodes[0] {
			asked.Add(1)
		}
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	name := path.Join(dir, "f")
	data := noise(1 << 20)
	put(t, f, name, data)
	reads := func(what string, off int, dials int64) {
		t.Helper()
		before := asked.Load()
		o, err := f.Open(t.Context(), name)
		if err != nil {
			t.Fatal(err)
		}
		defer o.Close()
		for _, at := range []int{len(data) - 8, off} {
			p := make([]byte, len(data)-at)
			if n, err := o.ReadAt(p, int64(at)); n != len(p) || err != nil || string(p) != string(data[at:]) {
				t.Errorf("%s, from %d: %d bytes, %v", what, at, n, err)
			}
		}
		if got := asked.Load() - before; got != dials {
			t.Errorf("%s: a datanode was asked %d times, want %d", what, got, dials)
		}
	}
	reads("at first", len(data)-5000, 1)
	reads("again", len(data)-5000, 0)
	reads("from before", len(data)-5001, 1)
	reads("again", len(data)-5001, 0)
	c, err := f.pool.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.pool.give(c)
	more, err := c.lib.Append(name)
	if err == nil {
		_, err = more.Write(noise(1000))
	}
	if err != nil {
		t.Fatal(err)
	}
	until(t, "the file is open still", func() bool { return more.Close() == nil })
	data = append(data, noise(1000)...)
	asked.Store(0)
	reads("when it has grown", len(data)-5000, 1)
}

// TestTailsAreBounded: no more than so much is kept, and what was used last.
func TestTailsAreBounded(t *testing.T) {
	var kept tails
	info := func(i int) storage.Info {
		return storage.Info{ID: fmt.Sprint(i), Size: 1 << 20, ModTime: time.UnixMilli(1)}
	}
	const each, n = 100 << 10, 500
	for i := range n {
		kept.put(info(i), make([]byte, each))
		if kept.get(info(0)) == nil {
			t.Fatalf("what was used just now is gone after %d", i)
		}
	}
	if kept.bytes > mostTails || len(kept.of) != mostTails/each || kept.used.Len() != len(kept.of) {
		t.Errorf("%d bytes of %d files", kept.bytes, len(kept.of))
	}
	if kept.get(info(1)) != nil || kept.get(info(n-1)) == nil {
		t.Error("what was used long ago is kept, and not what was used last")
	}
	kept.put(info(0), make([]byte, 10))
	if got := len(kept.get(info(0))); got != each {
		t.Errorf("%d bytes in the place of more", got)
	}
}
