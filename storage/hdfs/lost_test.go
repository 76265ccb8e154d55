package hdfs

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"net"
	"os"
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
	slow   map[string]time.Duration // how long requests are kept back
	when   map[string]func()        // called before a request goes on
	conns  map[net.Conn]bool
}

// keepBack has each request of a method kept back for some time.
func (p *proxy) keepBack(method string, d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.slow[method] = d
}

// on has a function called before a request of a method goes on.
func (p *proxy) on(method string, f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.when[method] = f
}

// cut breaks all connections that there are.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		_ = c.Close()
	}
}

// pass does with a request what is to be done before it goes on, and reports whether it does: a namenode leaves out what it gets
// to after the one who asked has gone.
func (p *proxy) pass(client net.Conn, data []byte) bool {
	p.mu.Lock()
	var d time.Duration
	var call []func()
	for method, at := range p.slow {
		if asks(data, method) {
			d = max(d, at)
		}
	}
	for method, f := range p.when {
		if asks(data, method) {
			call = append(call, f)
		}
	}
	p.mu.Unlock()
	for _, f := range call {
		f()
	}
	if d == 0 {
		return true
	}
	<-time.After(d)
	_ = client.SetReadDeadline(time.Now().Add(time.Millisecond))
	_, err := client.Read(make([]byte, 1))
	_ = client.SetReadDeadline(time.Time{})
	return errors.Is(err, os.ErrDeadlineExceeded)
}

// asks reports whether a request of a method is in what a client sent.
func asks(data []byte, method string) bool {
	return bytes.Contains(data, append([]byte{byte(len(method))}, method...))
}

func newProxy(tb testing.TB, to string) *proxy {
	tb.Helper()
	l, err := (&net.ListenConfig{}).Listen(tb.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		tb.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, slow: map[string]time.Duration{}, when: map[string]func(){}, conns: map[net.Conn]bool{}}
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
	p.mu.Lock()
	p.conns[client] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.conns, client)
	}()
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
		if !p.pass(client, buf[:n]) {
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
	if p.times == 0 || !asks(data, p.method) {
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

// through opens the shared services' file system by way of a proxy.
func through(t *testing.T, change func(*Options)) (*proxy, *FS, string) {
	t.Helper()
	s := servicetest.Shared(t)
	p := newProxy(t, s.Namenodes[0])
	f, dir := connect(t, s, func(o *Options) {
		o.Address = Address{Name: o.Address.Name, Namenodes: []string{p.Addr().String()}}
		if change != nil {
			change(o)
		}
	})
	return p, f, dir
}

// TestLostMkdirKeepsItsMode: a folder whose making's reply was lost, or that of the call which sets its mode, has the mode
// that was asked for, though the folder above hands down a list that takes bits away.
func TestLostMkdirKeepsItsMode(t *testing.T) {
	p, f, dir := through(t, nil)
	servicetest.Shared(t).Do(t, "acl "+dir+" default:user::rwx,default:group::---,default:other::---")
	for _, method := range []string{"mkdirs", "setPermission"} {
		name := path.Join(dir, method)
		p.lose(method, false, 1)
		if err := f.Mkdir(t.Context(), name, 0o755); err != nil {
			t.Fatal(err)
		}
		if i, err := f.Stat(t.Context(), name); err != nil || i.Mode.Perm() != 0o755 || p.hit != 1 {
			t.Errorf("%s: mode %v, %v; lost %d times", method, i.Mode, err, p.hit)
		}
	}
}

// TestMkdirOfAnothersFolder: a folder that was there is refused, though a reply was lost before it was asked for ours.
func TestMkdirOfAnothersFolder(t *testing.T) {
	p, f, dir := through(t, nil)
	name := path.Join(dir, "d")
	if err := f.Mkdir(t.Context(), name, 0o755); err != nil {
		t.Fatal(err)
	}
	p.lose("getFileInfo", false, 1)
	if err := isErr(f.Mkdir(t.Context(), name, 0o755), fs.ErrExist); err != nil || p.hit != 1 {
		t.Errorf("%v; lost %d times", err, p.hit)
	}
	p.lose("getFileInfo", false, 1)
	if err := isErr(f.Remove(t.Context(), path.Join(dir, "none")), fs.ErrNotExist); err != nil || p.hit != 1 {
		t.Errorf("removed what was never there: %v; lost %d times", err, p.hit)
	}
}

// TestCreateWhereTheFirstTryIsGone: a file that a lost call made, and that somebody removes just when its holder is looked
// up, is made, and open under nobody else.
func TestCreateWhereTheFirstTryIsGone(t *testing.T) {
	p, f, dir := through(t, nil)
	s := servicetest.Shared(t)
	name := path.Join(dir, "f")
	asked := 0
	p.on("create", func() {
		if asked++; asked == 2 { // the first one finds the file of the lost one, which does not come by here: by whom is it held?
			s.Do(t, "rm "+name)
		}
	})
	p.lose("create", false, 1)
	data := noise(1000)
	if err := write(t.Context(), f, name, data); err != nil {
		t.Error(err)
	}
	if asked != 3 {
		t.Errorf("asked %d times", asked)
	}
	holds(t, f, name, data)
	if left := s.Do(t, "leases "+dir); left != "" {
		t.Errorf("open still: %s", left)
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
