package hdfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"path"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

// proxy stands before a namenode, and loses what it is told to.
type proxy struct {
	net.Listener
	to string

	mu     sync.Mutex
	method string // whose reply is lost
	before bool   // the request is lost, too
	times  int
	hit    int
}

func newProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{Listener: l, to: to}
	tb.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	return p
}

// lose has the next replies to a method lost, and its connection broken.
func (p *proxy) lose(method string, before bool, times int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.method, p.before, p.times, p.hit = method, before, times, 0
}

func (p *proxy) serve(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer server.Close()
	lost, ended := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(ended)
		defer client.Close()
		buf := make([]byte, 64<<10)
		for {
			n, err := server.Read(buf)
			select {
			case <-lost: // the reply to what was lost
				return
			default:
			}
			if _, werr := client.Write(buf[:n]); werr != nil || err != nil {
				return
			}
		}
	}()
	buf := make([]byte, 64<<10)
	for {
		n, err := client.Read(buf)
		if err != nil {
			return
		}
		if hit, before := p.hits(buf[:n]); hit {
			close(lost)
			if !before {
				if _, err := server.Write(buf[:n]); err == nil {
					<-ended // the reply has come: it was carried out
				}
			}
			return
		}
		if _, err := server.Write(buf[:n]); err != nil {
			return
		}
	}
}

func (p *proxy) hits(data []byte) (hit, before bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times == 0 || !bytes.Contains(data, append([]byte{byte(len(p.method))}, p.method...)) {
		return false, false
	}
	p.times--
	p.hit++
	return true, p.before
}

// TestLostReplies: a call whose reply is lost, or that never arrived, is done once, and nobody hears of it.
func TestLostReplies(t *testing.T) {
	s := servicetest.Shared(t)
	p := newProxy(t, s.Namenodes[0])
	f, dir := connect(t, s, func(o *Options) {
		blocks(64)(o)
		o.Address = Address{Name: o.Address.Name, Namenodes: []string{p.Addr().String()}}
	})
	ctx := t.Context()
	at := func(name string) string { return path.Join(dir, name) }
	data := noise(200 << 10)
	put(t, f, at("old"), data)
	for _, c := range []struct {
		method string
		run    func(n string) error
		look   func(n string) error
	}{
		{"create", func(n string) error { return write(ctx, f, at(n), data) }, func(n string) error { holds(t, f, at(n), data); return nil }},
		{"addBlock", func(n string) error { return write(ctx, f, at(n), data) }, func(n string) error { holds(t, f, at(n), data); return nil }},
		{"complete", func(n string) error { return write(ctx, f, at(n), data) }, func(n string) error { holds(t, f, at(n), data); return nil }},
		{"getBlockLocations", func(string) error { holds(t, f, at("old"), data); return nil }, nil},
		{"getListing", func(string) error { _, err := f.List(ctx, dir); return err }, nil},
		{"mkdirs", func(n string) error { return f.Mkdir(ctx, at(n), 0o755) }, func(n string) error {
			return isErr(f.Mkdir(ctx, at(n), 0o755), fs.ErrExist)
		}},
		{"rename2", func(n string) error {
			return errors.Join(write(ctx, f, at(n), data), f.Rename(ctx, at(n), at(n+".new")))
		}, func(n string) error { holds(t, f, at(n+".new"), data); return gone(ctx, f, at(n)) }},
		{"rename2", func(n string) error {
			return errors.Join(write(ctx, f, at(n), data), write(ctx, f, at(n+".x"), data[:10]), f.Replace(ctx, at(n), at(n+".x")))
		}, func(n string) error { holds(t, f, at(n+".x"), data); return gone(ctx, f, at(n)) }},
		{"delete", func(n string) error { return errors.Join(write(ctx, f, at(n), data), f.Remove(ctx, at(n))) },
			func(n string) error { return gone(ctx, f, at(n)) }},
		{"setPermission", func(string) error {
			mode := fs.FileMode(0o600)
			return f.SetAttr(ctx, at("old"), storage.Attr{Mode: &mode})
		}, nil},
	} {
		for _, before := range []bool{false, true} {
			name := c.method + map[bool]string{false: ".reply", true: ".request"}[before] + time.Now().Format(".000000")
			p.lose(c.method, before, 1)
			if err := c.run(name); err != nil {
				t.Errorf("%s: %v", name, err)
			} else if c.look != nil {
				if err := c.look(name); err != nil {
					t.Errorf("%s: %v", name, err)
				}
			}
			if p.hit != 1 {
				t.Errorf("%s: lost %d times", name, p.hit)
			}
		}
	}
	if left := s.Do(t, "leases "+dir); left != "" {
		t.Errorf("open still: %s", left)
	}
	// A rename that really fails is not taken for one that was done.
	p.lose("rename2", false, 1)
	put(t, f, at("taken"), data)
	if err := isErr(f.Rename(ctx, at("old"), at("taken")), fs.ErrExist); err != nil {
		t.Error(err)
	}
	p.lose("create", false, 1)
	if err := isErr(write(ctx, f, at("taken"), data), fs.ErrExist); err != nil {
		t.Error(err)
	}
	p.lose("delete", true, 1)
	if err := isErr(f.Remove(ctx, at("none")), nil); err != nil {
		t.Error(err) // who removed it can't be told any more
	}
}

func write(ctx context.Context, f *FS, name string, data []byte) error {
	w, err := f.Create(ctx, name, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Close())
}

func isErr(err, want error) error {
	if !errors.Is(err, want) {
		return errors.Join(errors.New("not the error that was to come"), err)
	}
	return nil
}

func gone(ctx context.Context, f *FS, name string) error {
	_, err := f.Stat(ctx, name)
	return isErr(err, fs.ErrNotExist)
}
