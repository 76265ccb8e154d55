package metastore

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"io"
	"math/rand/v2"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

// proxy stands before a metastore and spoils calls by name.
type proxy struct {
	net.Listener
	to       string
	accepted atomic.Int64

	mu    sync.Mutex
	conns []net.Conn
	fault func(method []byte) spoilt
	fired bool // the fault
	down  bool
	hang  bool
}

// spoilt is what becomes of a call.
type spoilt struct {
	cut   bool   // the connection ends before the metastore has seen it
	lose  bool   // the answer is lost
	after func() // what happens then, before the client knows
}

func interpose(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l, to: to, fault: func([]byte) spoilt { return spoilt{} }}
	var running sync.WaitGroup
	running.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.accepted.Add(1)
			running.Go(func() { p.serve(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.cutAll()
		running.Wait()
	})
	return p
}

func (p *proxy) address() string { return p.Addr().String() }

// spoil has the next call of a method fail in a way.
func (p *proxy) spoil(method string, f spoilt) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fired = false
	p.fault = func(request []byte) spoilt {
		if !bytes.Contains(request, []byte(method)) {
			return spoilt{}
		}
		p.fault, p.fired = func([]byte) spoilt { return spoilt{} }, true
		return f
	}
}

func (p *proxy) set(change func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	change()
}

func (p *proxy) cutAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

func (p *proxy) serve(c net.Conn) {
	defer c.Close()
	up, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer up.Close()
	p.mu.Lock()
	down, hang := p.down, p.hang
	p.conns = append(p.conns, c, up)
	p.mu.Unlock()
	if down {
		return
	}
	answers := make(chan spoilt, 100)
	go func() {
		buffer := make([]byte, 1<<20)
		for {
			n, err := up.Read(buffer)
			if err != nil {
				c.Close()
				return
			}
			select {
			case f := <-answers:
				if f.after != nil {
					f.after()
				}
				c.Close()
				up.Close()
				return
			default:
			}
			if _, err := c.Write(buffer[:n]); err != nil {
				return
			}
		}
	}()
	buffer := make([]byte, 1<<20)
	for {
		n, err := c.Read(buffer)
		if err != nil {
			return
		}
		if hang {
			_, _ = io.Copy(io.Discard, c) // until the client gives up
			return
		}
		p.mu.Lock()
		f := p.fault(buffer[:n])
		p.mu.Unlock()
		if f.cut {
			if f.after != nil {
				f.after()
			}
			return
		}
		if f.lose {
			answers <- f
		}
		if _, err := up.Write(buffer[:n]); err != nil {
			return
		}
	}
}

// kills is how often a metastore is killed: more find more.
var kills = flag.Int("kills", 1, "how often the metastore is killed under changes")

// Whatever breaks under a publish, it comes to its end, and does everything once.
func TestPointWhileConnectionsBreak(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	p := interpose(t, address(t, "3.1"))
	spoiled := service{dial(t, p.address()), s.database, s.location}
	table := s.create(t)
	r := spoiled.Registry(table, RegistryOptions{})
	version := 0
	for _, method := range []string{"get_table_req", "get_partitions_by_names", "alter_partitions_with", "add_partitions_req", "drop_partitions_req", ""} {
		for _, f := range []spoilt{{cut: true}, {lose: true}} {
			_, root := table.Storage()
			version++
			// One partition of each kind: there, new, to go.
			base := pointers(table, 3)
			for i := range base {
				base[i].Folder = root + "-state/" + string(rune('a'+version)) + base[i].Folder[len(base[i].Folder)-3:]
				base[i].Partition = strings.Replace(base[i].Partition, "hr=5", "hr="+string(rune('0'+version%10))+string(rune('0'+version/10)), 1)
			}
			point(t, s.Registry(table, RegistryOptions{}), []swap.Pointer{base[0], base[2]})
			next := onward(base, "next")
			next[1].Was = ""
			next[2].Folder = ""
			p.spoil(method, f)
			if method == "" { // connections that wait end
				p.spoil("nothing", spoilt{})
				p.cutAll()
			}
			if err := r.Point(t.Context(), next); err != nil {
				t.Errorf("%s %+v: %v", method, f, err)
			}
			p.set(func() {
				if !p.fired && method != "" {
					t.Errorf("%s %+v was not called", method, f)
				}
			})
			seen, err := s.Registry(table, RegistryOptions{}).Look(t.Context(), names(next))
			if err != nil || len(seen) != 2 || seen[next[0].Partition].Folder != next[0].Folder || seen[next[1].Partition].Folder != next[1].Folder {
				t.Errorf("%s %+v: %v, %v", method, f, seen, err)
			}
		}
	}
}

// Where a change's answer is lost and somebody moves the partition meanwhile, it is not moved back.
func TestPointDoesNotRepeatOverOthers(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	p := interpose(t, address(t, "3.1"))
	table := s.create(t)
	direct := s.Registry(table, RegistryOptions{})
	r := (service{dial(t, p.address()), s.database, s.location}).Registry(table, RegistryOptions{})
	list := pointers(table, 2)
	point(t, direct, list)
	next := onward(list, "next")
	foreign := onward(next, "foreign")
	p.spoil("alter_partitions_with", spoilt{lose: true, after: func() {
		if err := direct.Point(context.Background(), foreign[:1]); err != nil {
			t.Error(err)
		}
	}})
	if err := r.Point(t.Context(), next); !errors.Is(err, swap.ErrConflict) {
		t.Error(err)
	}
	seen, err := direct.Look(t.Context(), names(list))
	if err != nil || seen[list[0].Partition].Folder != foreign[0].Folder || seen[list[1].Partition].Folder != next[1].Folder {
		t.Errorf("%v, %v", seen, err)
	}
}

// hasty makes a client that is connected, which on a busy machine takes its time, give up soon.
func hasty(m *Client) {
	m.c.Timeout, m.c.DialTimeout, m.c.RetryFor = 200*time.Millisecond, 200*time.Millisecond, 300*time.Millisecond
}

// Where the answer to an alter of partitions is lost, what is done again rests on a look of then: what somebody else did to them
// meanwhile stays, and where it is what a merge rests on, it is a conflict.
func TestAddColumnsDoesNotRepeatOverOthers(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	p := interpose(t, address(t, "3.1"))
	m := dial(t, p.address())
	table := s.create(t)
	direct := s.Registry(table, RegistryOptions{})
	list := pointers(table, 2)
	point(t, direct, list)
	tip := []Column{{Name: "tip", Type: "int"}}
	moved := onward(list, "foreign")[:1]
	for i, c := range []struct {
		f        spoilt
		others   func() error
		is       error
		has      int // columns of the first partition
		location string
	}{
		{spoilt{cut: true}, func() error { return direct.Point(context.Background(), moved) }, nil, 4, moved[0].Folder},
		{spoilt{lose: true}, func() error { return direct.Point(context.Background(), onward(moved, "again")) }, nil, 5, onward(moved, "again")[0].Folder},
		{spoilt{cut: true}, func() error {
			_, err := s.AddColumns(context.Background(), s.database, table.Name, []Column{{Name: "theirs", Type: "int"}}, names(list))
			return err
		}, swap.ErrConflict, 7, onward(moved, "again")[0].Folder},
	} {
		c.f.after = func() {
			if err := c.others(); err != nil {
				t.Error(err)
			}
		}
		p.spoil("alter_partitions_with", c.f)
		columns := []Column{{Name: tip[0].Name + string(rune('a'+i)), Type: "int"}}
		if _, err := m.AddColumns(t.Context(), s.database, table.Name, columns, names(list)); !errors.Is(err, c.is) {
			t.Errorf("%+v: %v", c.f, err)
		}
		p.set(func() {
			if !p.fired {
				t.Error("nothing was spoilt")
			}
		})
		is := s.partition(t, table, list[0].Partition)
		if folder, err := direct.Folder("", is.Location); err != nil || folder != c.location || len(is.Columns) != c.has {
			t.Errorf("%d: it is at %s with %d columns, not at %s with %d", i, folder, len(is.Columns), c.location, c.has)
		}
	}
}

// A run that changes, adds and drops partitions takes three calls. Who looks between them sees of each partition the old one or the
// new one; if we die there, pointing again ends it.
func TestPointInParts(t *testing.T) {
	s := serve(t, address(t, "3.1"))
	p := interpose(t, address(t, "3.1"))
	table := s.create(t)
	direct := s.Registry(table, RegistryOptions{})
	base := pointers(table, 3)
	point(t, direct, []swap.Pointer{base[0], base[2]})
	next := onward(base, "next")
	next[1].Was, next[2].Folder = "", ""
	for method, want := range map[string][3]string{
		"alter_partitions_with": {base[0].Folder, "", base[2].Folder},
		"add_partitions_req":    {next[0].Folder, "", base[2].Folder},
		"drop_partitions_req":   {next[0].Folder, next[1].Folder, base[2].Folder},
	} {
		point(t, direct, back(next))
		ctx, dies := context.WithCancel(t.Context())
		p.spoil(method, spoilt{cut: true, after: dies})
		r := (service{dial(t, p.address()), s.database, s.location}).Registry(table, RegistryOptions{})
		if err := r.Point(ctx, next); !errors.Is(err, context.Canceled) {
			t.Fatalf("%s: %v", method, err)
		}
		for _, want := range [][3]string{want, {next[0].Folder, next[1].Folder, ""}} {
			seen, err := direct.Look(t.Context(), names(next))
			if err != nil {
				t.Fatal(err)
			}
			for i, folder := range want {
				if is := seen[next[i].Partition].Folder; is != folder {
					t.Errorf("%s: partition %d is at %q, not at %q", method, i, is, folder)
				}
			}
			point(t, direct, next)
		}
	}
}

// back takes pointers back.
func back(list []swap.Pointer) []swap.Pointer {
	list = slices.Clone(list)
	for i := range list {
		list[i].Was, list[i].Folder = list[i].Folder, list[i].Was
	}
	return list
}

// A metastore that hangs is given up, and said to be unavailable; it is no interruption.
func TestAMetastoreThatHangs(t *testing.T) {
	p := interpose(t, address(t, "3.1"))
	m := dial(t, p.address())
	hasty(m)
	p.set(func() { p.hang = true })
	p.cutAll()
	_, err := m.PartitionNames(t.Context(), "default", "x")
	var e *Error
	if !errors.Is(err, storage.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) || !errors.As(err, &e) || e.Hint == "" || !strings.Contains(err.Error(), p.address()) {
		t.Errorf("%v", err)
	}
	patient := &Client{c: m.c}
	patient.c.DialTimeout, patient.c.Timeout, patient.c.RetryFor = time.Hour, time.Hour, time.Hour
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := patient.PartitionNames(ctx, "default", "x"); !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
}

// A metastore that restarts is waited for; of several, any that answers will do.
func TestAMetastoreThatRestarts(t *testing.T) {
	p := interpose(t, address(t, "3.1"))
	m := dial(t, p.address())
	p.set(func() { p.down = true })
	p.cutAll()
	time.AfterFunc(500*time.Millisecond, func() { p.set(func() { p.down = false }) })
	if _, err := m.PartitionNames(t.Context(), "default", "x"); errors.Is(err, storage.ErrUnavailable) {
		t.Error(err)
	}
	gone := interpose(t, "127.0.0.1:1")
	for range 8 { // the first is chosen by chance
		dial(t, gone.address(), func(c *Config) {
			c.Hosts = append(c.Hosts, p.address())
			c.RetryFor = time.Millisecond
		})
	}
	dead, silent := interpose(t, "127.0.0.1:1"), interpose(t, "127.0.0.1:1")
	_, err := Dial(t.Context(), Config{Hosts: []string{dead.address(), silent.address()}, User: "x", RetryFor: 500 * time.Millisecond})
	if n := dead.accepted.Load() + silent.accepted.Load(); !errors.Is(err, storage.ErrUnavailable) || n < 4 || n > 20 {
		t.Errorf("%d attempts: %v", n, err)
	}
	gone.Close()
	_, err = Dial(t.Context(), Config{Hosts: []string{gone.address()}, User: "x", RetryFor: time.Millisecond})
	if !errors.Is(err, storage.ErrUnavailable) || !strings.Contains(err.Error(), "refused") {
		t.Error(err)
	}
}

// What is no metastore is said to be none.
func TestWhatIsNoMetastore(t *testing.T) {
	for _, answer := range []string{"HTTP/1.1 400 Bad Request\r\n\r\n", "", "\x80\x01\x00\x02\xff\xff\xff\xff", strings.Repeat("\x00", 100)} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = c.Read(make([]byte, 100))
				_, _ = io.WriteString(c, answer)
				c.Close()
			}
		}()
		for _, user := range []string{"", "me"} {
			_, err = Dial(t.Context(), Config{Hosts: []string{l.Addr().String()}, User: user, RetryFor: time.Millisecond, Timeout: time.Second, DialTimeout: time.Second})
			var e *Error
			if !errors.Is(err, storage.ErrUnavailable) || !errors.As(err, &e) || e.Hint == "" {
				t.Errorf("%q: %v", answer, err)
			}
		}
		l.Close()
	}
}

// A metastore is killed in the middle of changes of 100 partitions and started again on its data, and stopped and let go on.
func TestAMetastoreThatIsKilled(t *testing.T) {
	own := servicetest.Start(t, servicetest.Options{Metastore: true})
	s := service{dial(t, own.Metastore, func(c *Config) { c.RetryFor = 2 * time.Minute }), "default", own.HDFS + own.Folder(t)}
	table := s.create(t)
	r := s.Registry(table, RegistryOptions{})
	list := pointers(table, 100)
	point(t, r, list)
	for range *kills {
		done := make(chan error, 1)
		stop, ctx := make(chan struct{}), t.Context()
		go func() {
			for {
				next := onward(list, "next")
				if err := r.Point(ctx, next); err != nil {
					done <- err
					return
				}
				list = next
				select {
				case <-stop:
					done <- nil
					return
				default:
				}
			}
		}()
		<-time.After(time.Duration(500+rand.IntN(500)) * time.Millisecond)
		own.Kill(t)
		own.Restart(t)
		close(stop)
		if err := <-done; err != nil {
			t.Fatal(err)
		}
		seen, err := r.Look(t.Context(), names(list))
		if err != nil || len(seen) != len(list) {
			t.Fatalf("%d partitions: %v", len(seen), err)
		}
		for _, p := range list {
			if seen[p.Partition].Folder != p.Folder {
				t.Errorf("%s is at %s, not %s", p.Partition, seen[p.Partition].Folder, p.Folder)
			}
		}
	}
	m := dial(t, own.Metastore)
	hasty(m)
	own.Signal(t, syscall.SIGSTOP)
	if _, err := m.PartitionNames(t.Context(), "default", "orders"); !errors.Is(err, storage.ErrUnavailable) {
		t.Errorf("stopped: %v", err)
	}
	own.Signal(t, syscall.SIGCONT)
	if _, err := s.PartitionNames(t.Context(), "default", "orders"); err != nil {
		t.Errorf("let go on: %v", err)
	}
}
