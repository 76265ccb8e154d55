package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/stage"
)

// TestNodesDie: datanodes that die, and a namenode that restarts, hangs, or is in safe mode, are waited for or gone
// around; what can't be is a clear error.
func TestNodesDie(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Datanodes: 3, Conf: map[string]string{
		// A dead datanode is known as one after some seconds, and not after ten minutes.
		"dfs.heartbeat.interval": "1", "dfs.namenode.heartbeat.recheck-interval": "1000",
	}})
	f, _ := connect(t, s, func(o *Options) { o.Timeout, o.Clients = 3*time.Second, 2 })
	for _, c := range []struct {
		name string
		run  func(*testing.T, *servicetest.Services, *FS, string)
	}{
		{"DatanodeWhileWriting", datanodeWhileWriting}, {"DatanodeInTheMiddle", datanodeInTheMiddle},
		{"NamenodeRestarts", namenodeRestarts}, {"NamenodeRestartsWhileWriting", namenodeRestartsWhileWriting},
		{"NamenodeHangs", namenodeHangs}, {"SafeMode", safeMode}, {"AllHangs", allHangs},
		{"DatanodesWhileReading", datanodesWhileReading}, {"NoDatanode", noDatanode}, // one is left between these
	} {
		t.Run(c.name, func(t *testing.T) { c.run(t, s, f, s.Folder(t)) })
	}
	if left := s.Do(t, "leases /test"); left != "" {
		t.Errorf("open still: %s", left)
	}
}

func do(t *testing.T, s *servicetest.Services, command string) {
	t.Helper()
	s.Do(t, command)
}

func datanodesWhileReading(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	data := noise(8 << 20)
	put(t, f, path.Join(dir, "f"), data)
	o := open(t, f, path.Join(dir, "f"))
	o.Expect(0, int64(len(data)))
	p := make([]byte, 64<<10)
	for at := 0; at < len(data); at += len(p) {
		if at == 1<<20 {
			do(t, s, "stopdn 0")
			do(t, s, "stopdn 1")
		}
		if n, err := o.ReadAt(p, int64(at)); n != len(p) || err != nil && at+n < len(data) || string(p) != string(data[at:at+n]) {
			t.Fatalf("at %d: %d, %v", at, n, err)
		}
	}
	holds(t, f, path.Join(dir, "f"), data)
}

// datanodeWhileWriting: the file is lost, and writing it again works at once, though the namenode names the dead one still.
func datanodeWhileWriting(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	data := noise(4 << 20)
	w, err := f.Create(t.Context(), path.Join(dir, "f"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:1<<20]); err != nil {
		t.Fatal(err)
	}
	do(t, s, "stopdn 2")
	_, err = w.Write(data[1<<20:])
	if err = errors.Join(err, w.Close()); err != nil {
		if !errors.Is(err, storage.ErrWriteAgain) {
			t.Fatalf("a datanode of the pipeline died: %v", err)
		}
		if err := f.Remove(t.Context(), path.Join(dir, "f")); err != nil {
			t.Fatal(err)
		}
		put(t, f, path.Join(dir, "f"), data)
	}
	for i := range 4 {
		put(t, f, path.Join(dir, fmt.Sprint(i)), data[:100])
	}
	holds(t, f, path.Join(dir, "f"), data)
	do(t, s, "startdn 2")
}

// killer stops a datanode when so many bytes have come from, or gone to, one of them: on that connection nothing goes on
// until the datanode is gone.
type killer struct {
	kill          func(addr string)
	read, written int // from and to one; 0 is never
	once          sync.Once
}

// killable is a connection to a datanode that a killer counts on.
type killable struct {
	net.Conn
	k             *killer
	read, written *int
}

func (k *killer) dial(namenode string) dialFunc {
	return func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil && addr != namenode {
			c = killable{c, k, new(int), new(int)}
		}
		return c, err
	}
}

func (k killable) count(n *int, more, most int) {
	before := *n
	if *n += more; most > 0 && before < most && *n >= most {
		k.k.once.Do(func() { k.k.kill(k.RemoteAddr().String()) })
	}
}

func (k killable) Read(p []byte) (int, error) {
	n, err := k.Conn.Read(p[:min(len(p), 16<<10)])
	k.count(k.read, n, k.k.read)
	return n, err
}

func (k killable) Write(p []byte) (int, error) {
	for n := 0; n < len(p); {
		m, err := k.Conn.Write(p[n:min(len(p), n+16<<10)])
		if n += m; err != nil {
			return n, err
		}
		k.count(k.written, m, k.k.written)
	}
	return len(p), nil
}

// datanodeNumbers gives the number of each datanode by its address.
func datanodeNumbers(t *testing.T, s *servicetest.Services, f *FS) map[string]int {
	t.Helper()
	c, err := f.pool.take(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	defer f.pool.give(c)
	r, err := c.call("getDatanodeReport", request{"type": "LIVE"})
	if err != nil {
		t.Fatal(err)
	}
	var addresses []string
	for list, i := r.list("di"), 0; i < list.Len(); i++ {
		id, _ := reply{list.Get(i).Message()}.at("id")
		addresses = append(addresses, net.JoinHostPort(id.get("ipAddr").String(), fmt.Sprint(id.get("xferPort").Uint())))
	}
	out := map[string]int{}
	for i := range addresses {
		do(t, s, fmt.Sprint("stopdn ", i))
		for _, addr := range addresses {
			c, err := (&net.Dialer{}).DialContext(t.Context(), "tcp", addr)
			if err != nil {
				out[addr] = i
				continue
			}
			_ = c.Close()
		}
		do(t, s, fmt.Sprint("startdn ", i))
	}
	if len(out) != len(addresses) {
		t.Fatalf("datanodes %v of %v", out, addresses)
	}
	return out
}

// datanodeInTheMiddle: the datanode that is read from, the one that is written to, and one further down the pipeline, each killed
// at a chosen byte: a read goes on with the right bytes, and a copy is made again and is whole.
func datanodeInTheMiddle(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	numbers := datanodeNumbers(t, s, f)
	data := noise(6 << 20)
	from := path.Join(dir, "from")
	put(t, f, from, data)
	for _, c := range []struct {
		name          string
		read, written int
		next          bool // not the one of the connection, but another one
	}{
		{"read from, at its start", 20 << 10, 0, false},
		{"read from, half way", 3 << 20, 0, false},
		{"written to, at its start", 0, 20 << 10, false},
		{"written to, half way", 0, 3 << 20, false},
		{"written to, at its end", 0, len(data) - 10<<10, false},
		{"down the pipeline, half way", 0, 3 << 20, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			own, _ := connect(t, s, func(o *Options) { o.Timeout = 3 * time.Second })
			killed := -1
			k := &killer{read: c.read, written: c.written, kill: func(addr string) {
				killed = numbers[addr]
				if c.next {
					killed = (killed + 1) % len(numbers)
				}
				if _, err := s.Try(fmt.Sprint("stopdn ", killed)); err != nil {
					t.Error(err)
				}
			}}
			own.dialer = k.dial(s.Namenodes[0])
			d, err := stage.New(t.Context(), own, path.Join(dir, plainName(c.name)), 0o755, 0o644)
			if err != nil {
				t.Fatal(err)
			}
			if how, err := d.Keep(t.Context(), from, "f"); err != nil || how != "copy" {
				t.Errorf("%s, %v", how, err)
			}
			m, err := d.Seal(t.Context(), stage.Manifest{Run: "r"})
			if err != nil || len(m.Files) != 1 || m.Bytes != int64(len(data)) {
				t.Errorf("sealed with %+v: %v", m.Files, err)
			}
			if killed < 0 {
				t.Fatal("nothing was killed")
			}
			holds(t, f, path.Join(d.Data(), "f"), data)
			do(t, s, fmt.Sprint("startdn ", killed))
		})
	}
}

// plainName makes a file's name of a sentence.
func plainName(of string) string {
	return strings.NewReplacer(" ", "-", ",", "").Replace(of)
}

func namenodeRestarts(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	data := noise(1 << 20)
	put(t, f, path.Join(dir, "f"), data)
	l, err := f.Lock(t.Context(), path.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "stopnn 0")
	restarted := make(chan error)
	go func() {
		_, err := s.Try("startnn 0")
		restarted <- err
	}()
	if err := f.Rename(t.Context(), path.Join(dir, "f"), path.Join(dir, "g")); err != nil {
		t.Error(err)
	}
	if err := <-restarted; err != nil {
		t.Fatal(err)
	}
	holds(t, f, path.Join(dir, "g"), data)
	put(t, f, path.Join(dir, "h"), data)
	if err := l.Unlock(); err != nil {
		t.Error(err)
	}
}

func namenodeRestartsWhileWriting(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	small, _ := connect(t, s, func(o *Options) {
		o.Timeout = 3 * time.Second
		o.Conf = hadoop.Of(map[string]string{"dfs.blocksize": "256k"})
	})
	data := noise(2 << 20)
	w, err := small.Create(t.Context(), path.Join(dir, "f"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:300<<10]); err != nil {
		t.Fatal(err)
	}
	do(t, s, "stopnn 0")
	restarted := make(chan error)
	go func() {
		_, err := s.Try("startnn 0")
		restarted <- err
	}()
	_, err = w.Write(data[300<<10:])
	err = errors.Join(err, w.Close(), <-restarted)
	if errors.Is(err, storage.ErrWriteAgain) {
		t.Logf("written again: %v", err)
		if err := small.Remove(t.Context(), path.Join(dir, "f")); err != nil {
			t.Fatal(err)
		}
		put(t, small, path.Join(dir, "f"), data)
	} else if err != nil {
		t.Fatal(err)
	}
	holds(t, f, path.Join(dir, "f"), data)
}

// namenodeHangs: a call that gets no reply in time is made again on another connection; a context ends it.
func namenodeHangs(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	do(t, s, "hang 5000")
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if err := f.Mkdir(ctx, path.Join(dir, "cancelled"), 0o755); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that hangs did not end with its context: %v", err)
	}
	if err := f.Mkdir(t.Context(), path.Join(dir, "d"), 0o755); err != nil {
		t.Error(err)
	}
	put(t, f, path.Join(dir, "d/f"), noise(10))
}

func safeMode(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	brief, _ := connect(t, s, func(o *Options) { o.Retry = time.Second })
	if _, err := brief.Stat(t.Context(), dir); err != nil { // it is known to be there
		t.Fatal(err)
	}
	do(t, s, "safemode enter")
	if err := brief.Mkdir(t.Context(), path.Join(dir, "d"), 0o755); !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "afe mode") {
		t.Errorf("in safe mode: %v", err)
	}
	left := make(chan error)
	go func() {
		_ = rest(t.Context(), time.Second) // it ends with the test only
		_, err := s.Try("safemode leave")
		left <- err
	}()
	put(t, f, path.Join(dir, "f"), noise(10))
	if err := <-left; err != nil {
		t.Fatal(err)
	}
}

// allHangs: a process that is stopped takes connections, and answers nothing.
func allHangs(t *testing.T, s *servicetest.Services, f *FS, dir string) {
	brief, _ := connect(t, s, func(o *Options) { o.Retry, o.Timeout = 2*time.Second, 2*time.Second })
	data := noise(1 << 20)
	put(t, f, path.Join(dir, "f"), data)
	o := open(t, brief, path.Join(dir, "f"))
	s.Signal(t, syscall.SIGSTOP)
	if err := rest(t.Context(), 100*time.Millisecond); err != nil { // a thread may just be answering
		t.Fatal(err)
	}
	_, serr := brief.Stat(t.Context(), dir)
	_, rerr := o.ReadAt(make([]byte, 100), 0)
	s.Signal(t, syscall.SIGCONT)
	for what, err := range map[string]error{"stat": serr, "read": rerr} {
		if !errors.Is(err, storage.ErrUnavailable) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if !strings.Contains(fmt.Sprint(serr), s.Namenodes[0]) {
		t.Errorf("who did not answer is not named: %v", serr)
	}
	if _, err := f.Stat(t.Context(), dir); err != nil { // who is patient waits until it goes on
		t.Fatal(err)
	}
	if _, err := brief.Stat(t.Context(), dir); err != nil {
		t.Errorf("it goes on, and is not heard: %v", err)
	}
	holds(t, brief, path.Join(dir, "f"), data)
}

func noDatanode(t *testing.T, s *servicetest.Services, _ *FS, dir string) {
	brief, _ := connect(t, s, func(o *Options) { o.Retry = time.Second })
	data := noise(1 << 20)
	put(t, brief, path.Join(dir, "f"), data)
	o := open(t, brief, path.Join(dir, "f"))
	do(t, s, "stopdn 2")
	if _, err := o.ReadAt(make([]byte, 100), 0); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("nobody has the block: %v", err)
	}
	if err := write(t.Context(), brief, path.Join(dir, "g"), data); !errors.Is(err, storage.ErrWriteAgain) {
		t.Errorf("nobody takes the block: %v", err)
	}
	if err := brief.Remove(t.Context(), path.Join(dir, "g")); err != nil {
		t.Error(err)
	}
	do(t, s, "startdn 2")
	holds(t, brief, path.Join(dir, "f"), data)
}

// TestFailover: two namenodes, of which another one becomes active.
func TestFailover(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{HA: true})
	f, dir := connect(t, s, func(o *Options) { o.Timeout = 3 * time.Second })
	if got := f.Address().String(); got != "hdfs://ns1" || len(f.Address().Namenodes) != 2 {
		t.Fatalf("%v", f.Address())
	}
	data := noise(1 << 20)
	put(t, f, path.Join(dir, "f"), data)
	o := open(t, f, path.Join(dir, "f"))
	w, err := f.Create(t.Context(), path.Join(dir, "w"), 0o644)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[:1000]); err != nil {
		t.Fatal(err)
	}
	l, err := f.Lock(t.Context(), path.Join(dir, "lock"))
	if err != nil {
		t.Fatal(err)
	}
	do(t, s, "standby 0")
	active := make(chan error)
	go func() {
		_, err := s.Try("active 1")
		active <- err
	}()
	if err := f.Rename(t.Context(), path.Join(dir, "f"), path.Join(dir, "g")); err != nil {
		t.Error(err)
	}
	if err := <-active; err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write(data[1000:]); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Errorf("a file that was open: %v", err)
	}
	holds(t, f, path.Join(dir, "w"), data)
	p := make([]byte, len(data))
	if _, err := o.ReadAt(p, 0); err != nil || string(p) != string(data) {
		t.Error(err)
	}
	do(t, s, "stopnn 0") // the other one, for good
	holds(t, f, path.Join(dir, "g"), data)
	if err := errors.Join(l.Unlock(), isErr(l.Unlock(), fs.ErrClosed)); err != nil {
		t.Error(err)
	}
}
