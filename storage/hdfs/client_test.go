package hdfs

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"path"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

// running counts goroutines that have a function on their stack.
func running(function string) int {
	buf := make([]byte, 1<<20)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			return strings.Count(string(buf[:n]), function)
		}
		buf = make([]byte, 2*len(buf))
	}
}

// until waits for something to come true, and fails where it does not.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	for !is() {
		if err := rest(ctx, 10*time.Millisecond); err != nil {
			t.Fatalf("%s: %v", what, err)
		}
	}
}

// hanging has dials hang that a test chooses, as those to a machine that is gone do, and says what ended them.
type hanging struct {
	mu    sync.Mutex
	hangs func(addr string) bool
	begun int
	ends  []error
}

func (h *hanging) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	h.mu.Lock()
	hangs := h.hangs != nil && h.hangs(addr)
	if hangs {
		h.begun++
	}
	h.mu.Unlock()
	if !hangs {
		return (&net.Dialer{}).DialContext(ctx, network, addr)
	}
	<-ctx.Done()
	h.mu.Lock()
	defer h.mu.Unlock()
	h.ends = append(h.ends, ctx.Err())
	return nil, ctx.Err()
}

func (h *hanging) choose(hangs func(addr string) bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.hangs = hangs
}

// ended fails where no dial hung, or one that did was not ended by somebody.
func (h *hanging) ended(t *testing.T) {
	t.Helper()
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, err := range h.ends {
		if !errors.Is(err, context.Canceled) {
			t.Errorf("the dial ended by %v", err)
		}
	}
	if len(h.ends) == 0 {
		t.Error("no dial hung")
	}
}

// TestCancelledDialEnds: the end of a call's context ends the connection that the library makes for it behind our back.
func TestCancelledDialEnds(t *testing.T) {
	s := servicetest.Shared(t)
	second := newProxy(t, s.Namenodes[0]).Addr().String()
	f, dir := connect(t, s, func(o *Options) {
		o.Clients = 1
		o.Address.Namenodes = append(o.Address.Namenodes, second)
	})
	h := &hanging{hangs: func(addr string) bool { return addr == second }}
	f.dialer = h.dial
	if _, err := f.Stat(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	f.pool.slots[0].c.interrupt() // its connection is gone: the library tries the other namenode
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Stat(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that hangs did not end with its context: %v", err)
	}
	h.ended(t)
}

// TestCancelledWhileOthersWait: a call whose context ends does not wait for another one's reply on the same connection.
func TestCancelledWhileOthersWait(t *testing.T) {
	second := newProxy(t, servicetest.Shared(t).Namenodes[0]).Addr().String()
	p, f, dir := through(t, func(o *Options) { o.Clients = 1 })
	f.o.Address.Namenodes = append(f.o.Address.Namenodes, second)
	h := &hanging{hangs: func(addr string) bool { return addr == second }} // which is tried when the first connection breaks
	f.dialer = h.dial
	if _, err := f.Stat(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	release := make(chan struct{})
	var once sync.Once
	waits := make(chan struct{})
	p.on("getContentSummary", func() {
		once.Do(func() { close(waits) })
		<-release
	})
	other := make(chan error)
	go func() {
		c, err := f.pool.take(t.Context())
		if err == nil {
			_, err = c.call("getContentSummary", request{"path": dir})
			f.pool.give(c)
		}
		other <- err
	}()
	<-waits
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := f.Stat(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a call that waits for another one did not end with its context: %v", err)
	}
	close(release)
	if err := <-other; err == nil {
		t.Error("the other call got a reply that was kept from it")
	}
	h.ended(t)
}

// TestBrokenWhileIdle: a client whose connection breaks while nobody uses it is given to nobody any more, and is closed.
func TestBrokenWhileIdle(t *testing.T) {
	p, f, dir := through(t, func(o *Options) { o.Clients = 1 })
	before := running("renewLeases")
	if _, err := f.Stat(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	p.cut()
	until(t, "the client is in the pool still", func() bool {
		f.pool.mu.Lock()
		defer f.pool.mu.Unlock()
		return f.pool.slots[0].c == nil
	})
	until(t, "it renews leases still", func() bool { return running("renewLeases") <= before })
	if err := isErr(f.Mkdir(t.Context(), dir, 0o755), fs.ErrExist); err != nil {
		t.Error(err)
	}
}

// watched is a connection that says when it is closed.
type watched struct {
	net.Conn
	closed func()
}

func (w watched) Close() error {
	w.closed()
	return w.Conn.Close()
}

// TestClosedWhileItConnects: a client that comes about while the file system is closed is closed too, and not under the pool's
// lock, which its renewal of leases may wait for.
func TestClosedWhileItConnects(t *testing.T) {
	f, dir := shared(t)
	var locked, closes atomic.Int32
	f.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if err == nil {
			err = f.Close()
		}
		return watched{c, func() {
			closes.Add(1)
			// Others may have it for a moment.
			for range 1000 {
				if f.pool.mu.TryLock() {
					f.pool.mu.Unlock()
					return
				}
				<-time.After(time.Millisecond)
			}
			locked.Add(1)
		}}, err
	}
	if _, err := f.Stat(t.Context(), dir); !errors.Is(err, errClosed) {
		t.Errorf("through a file system that was closed: %v", err)
	}
	if closes.Load() == 0 {
		t.Error("the connection is open still")
	}
	if locked.Load() > 0 {
		t.Error("it was closed under the pool's lock")
	}
}

// breaking is a connection that breaks after so many bytes were written.
type breaking struct {
	net.Conn
	left *int
}

func (b breaking) Write(p []byte) (int, error) {
	if *b.left -= len(p); *b.left < 0 {
		_ = b.Conn.Close()
		return 0, net.ErrClosed
	}
	return b.Conn.Write(p)
}

// TestFailedBlocksLeaveNothing: a block that is lost half way leaves no goroutine behind.
func TestFailedBlocksLeaveNothing(t *testing.T) {
	s := servicetest.Shared(t)
	f, dir := connect(t, s, nil)
	f.dialer = func(ctx context.Context, network, addr string) (net.Conn, error) {
		c, err := (&net.Dialer{}).DialContext(ctx, network, addr)
		if addr != s.Namenodes[0] && err == nil {
			left := 700 << 10
			c = breaking{c, &left}
		}
		return c, err
	}
	const acks = "transfer.(*blockWriteStream)"
	before := running(acks)
	for _, size := range []int{720 << 10, 2 << 20} { // it breaks at the end, and while more is sent
		for range 3 {
			name := path.Join(dir, "f")
			if err := write(t.Context(), f, name, noise(size)); !errors.Is(err, storage.ErrWriteAgain) {
				t.Fatal(err)
			}
			if err := f.Remove(t.Context(), name); err != nil {
				t.Fatal(err)
			}
		}
	}
	until(t, "goroutines of blocks that failed", func() bool { return running(acks) <= before })
}

// TestWarnsOnce: of many calls that wait for a namenode one says so, and later one again.
func TestWarnsOnce(t *testing.T) {
	f := &FS{}
	now := time.Now()
	for i, want := range []bool{true, false, false, true, false} {
		if got := f.mayWarn(now.Add(time.Duration(i) * warnEvery / 3)); got != want {
			t.Errorf("call %d: %t", i, got)
		}
	}
}
