package hdfs

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/storage/hadoop"
)

// client is one connection to the namenodes, with a name under which files are held open. Its calls are serial. One
// that met anything but an answer is given to nobody any more, and closed when its last user is done: whoever writes a
// file through it needs its name to the end.
type client struct {
	lib     *hdfs.Client
	nn      executor
	users   int
	retired bool
	ended   sync.Once
	calls   *atomic.Int64 // of all clients

	mu      sync.Mutex
	conns   map[*conn]bool // to the namenodes
	made    bool
	dialing context.Context // that its dials end with: the library's own never does
	stop    context.CancelFunc
}

// newClient is a client that has no connection yet.
func newClient(calls *atomic.Int64) *client {
	c := &client{calls: calls, conns: map[*conn]bool{}}
	c.dialing, c.stop = context.WithCancel(context.Background())
	return c
}

// call calls a method of the namenode.
func (c *client) call(method string, fields request) (reply, error) {
	c.calls.Add(1)
	r, err := callRaw(c.nn, method, fields)
	return r, explain(err)
}

// interrupt ends what a client waits for: replies and connections that come about. It can be used again.
func (c *client) interrupt() {
	c.mu.Lock()
	conns := c.conns
	c.conns = map[*conn]bool{}
	c.stop()
	c.dialing, c.stop = context.WithCancel(context.Background())
	c.mu.Unlock()
	for at := range conns {
		_ = at.Close() // whoever reads from it is told
	}
}

// interruptAgain is how often a client is interrupted that goes on: the library may have begun another connection meanwhile, and
// who waits for a client waits for those before him.
const interruptAgain = 50 * time.Millisecond

// endWith interrupts a client from some time after a context has ended until it is stopped.
func (c *client) endWith(ctx context.Context, grace time.Duration) (stop func()) {
	done := make(chan struct{})
	ended := context.AfterFunc(ctx, func() {
		timer := time.NewTimer(grace)
		defer timer.Stop()
		for {
			select {
			case <-done:
				return
			case <-timer.C:
				c.interrupt()
				timer.Reset(interruptAgain)
			}
		}
	})
	return func() {
		close(done)
		ended()
	}
}

// pool holds the clients of a file system.
type pool struct {
	f *FS

	mu      sync.Mutex
	slots   []*slot
	closed  bool
	reached bool                 // some namenode has answered once
	gaveUp  bool                 // nobody answered for as long as it is waited for the first time
	slow    map[string]time.Time // namenodes that did not answer in time, and when
}

// slot is a place for a client. It is made by the first that needs it.
type slot struct {
	making chan struct{} // full while a client is made
	c      *client       // under the pool's lock
	in     int           // those who have it or wait for it, under the pool's lock
}

// errClosed: the file system was closed.
var errClosed = errors.New("the file system is closed")

// take gives the client with the fewest users, and makes one where there is none.
func (p *pool) take(ctx context.Context) (*client, error) {
	for {
		s, err := p.choose()
		if err != nil {
			return nil, err
		}
		c, err := p.fill(ctx, s)
		p.mu.Lock()
		switch {
		case err != nil:
			s.in--
		case s.c != c: // it was retired just now
			s.in--
			c = nil
		default:
			c.users++
		}
		p.mu.Unlock()
		if err != nil || c != nil {
			return c, err
		}
	}
}

// choose counts the caller into the slot with the fewest users.
func (p *pool) choose() (*slot, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return nil, errClosed
	}
	s := slices.MinFunc(p.slots, func(a, b *slot) int { return a.in - b.in })
	s.in++
	return s, nil
}

// fill makes the client of a slot unless there is one.
func (p *pool) fill(ctx context.Context, s *slot) (*client, error) {
	select {
	case s.making <- struct{}{}:
		defer func() { <-s.making }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	p.mu.Lock()
	c := s.c
	p.mu.Unlock()
	if c != nil {
		return c, nil
	}
	c, err := p.connect(ctx)
	if err != nil {
		return nil, err
	}
	p.mu.Lock()
	closed := p.closed
	if !closed {
		p.reached, s.c = true, c
	}
	p.mu.Unlock()
	if closed { // meanwhile, and nobody would close this one; not under the lock, which its renewal of leases may wait for
		c.close()
		return nil, errClosed
	}
	return c, nil
}

// give ends the use of a client.
func (p *pool) give(c *client) {
	p.mu.Lock()
	c.users--
	for _, s := range p.slots {
		if s.c == c {
			s.in--
		}
	}
	end := c.retired && c.users == 0
	p.mu.Unlock()
	if end {
		c.close()
	}
}

// close ends a client.
func (c *client) close() {
	c.ended.Do(func() {
		over, end := context.WithCancel(context.Background())
		end()
		defer c.endWith(over, 0)() // a renewal of leases that hangs
		_ = c.lib.Close()          // what is open through it is given up
	})
}

// retire takes a client out of the pool: the next one who asks gets a new one. One that nobody uses is closed.
func (p *pool) retire(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.retired = true
	for _, s := range p.slots {
		if s.c == c {
			s.c, s.in = nil, s.in-c.users
		}
	}
	if c.users == 0 {
		go c.close() // the caller may be its renewal of leases, for which closing waits
	}
}

// close ends all clients.
func (p *pool) close() {
	p.mu.Lock()
	p.closed = true
	var all []*client
	for _, s := range p.slots {
		if s.c != nil {
			s.c.retired = true
			all = append(all, s.c)
			s.c = nil
		}
	}
	p.mu.Unlock()
	for _, c := range all {
		c.close()
	}
}

// patience is how long is tried again: less before any namenode has ever answered, for then the address is what is
// wrong, and not at all where that was waited for already.
func (p *pool) patience() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.reached:
		return p.f.o.Retry
	case p.gaveUp:
		return 0
	}
	return min(p.f.o.Retry, firstRetry)
}

// giveUp: nobody has answered for as long as patience says.
func (p *pool) giveUp() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.gaveUp = true
}

// hopeless reports whether nobody will ever answer: the only namenode's host has no address, and never had one while
// we looked. The library gives texts alone.
func (p *pool) hopeless(err error) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return !p.reached && len(p.f.o.Address.Namenodes) == 1 && strings.Contains(err.Error(), "no such host")
}

const firstRetry = 10 * time.Second

// ErrMismatch is of a namenode that wants Kerberos where our settings do not, or the other way round.
var ErrMismatch = errors.New("the namenode's security is not the one of our settings")

// errLogin is the other refusal at the door.
var errLogin = hadoop.ErrLogin

// connect makes a client.
func (p *pool) connect(ctx context.Context) (*client, error) {
	c := newClient(&p.f.calls)
	o, err := p.options(ctx, c)
	if err != nil {
		return nil, err
	}
	defer c.endWith(ctx, 0)()
	lib, err := hdfs.NewClient(o)
	if err != nil {
		return nil, errors.Join(ctx.Err(), p.door(err))
	}
	c.lib = lib
	if c.nn, err = namenodeOf(lib); err == nil {
		_, err = lib.ServerDefaults() // which it keeps: each block asks for them
	}
	if err == nil && p.f.protection != "" {
		err = fillKey(lib, c.nn)
	}
	if err != nil {
		_ = lib.Close() // it is not used
		return nil, errors.Join(ctx.Err(), p.door(explain(err)))
	}
	c.mu.Lock()
	c.made = true
	c.mu.Unlock()
	return c, nil
}

// options are what the library makes a client of.
func (p *pool) options(ctx context.Context, c *client) (hdfs.ClientOptions, error) {
	// From settings, though from none: else datanodes on ports that only root may open, which Kerberos clusters without
	// dfs.data.transfer.protection have, would be asked for a handshake that they do not know.
	o := hdfs.ClientOptionsFromConf(nil)
	o.Addresses, o.User = p.namenodes(), p.f.o.Credentials.UserName()
	o.UseDatanodeHostname = p.f.o.Conf.Is("dfs.client.use.datanode.hostname", "true")
	o.DataTransferProtection = p.f.protection
	o.DatanodeDialFunc = func(ctx context.Context, network, addr string) (net.Conn, error) {
		return p.f.dial(ctx, network, addr, &p.f.read)
	}
	o.NamenodeDialFunc = func(_ context.Context, network, addr string) (net.Conn, error) {
		return p.dial(c, network, addr)
	}
	if p.f.kerberos {
		o.KerberosServicePrincipleName = p.f.principal
		var err error
		for _, at := range o.Addresses {
			host, _, _ := net.SplitHostPort(at)
			service := strings.ReplaceAll(p.f.principal, "_HOST", host)
			if o.KerberosClient, err = p.f.o.Credentials.Ticket(ctx, service); err != nil {
				return o, err
			}
		}
	}
	return o, nil
}

// door says what a failure on a fresh connection means.
func (p *pool) door(err error) error {
	text := err.Error()
	switch {
	case strings.Contains(text, "kerberos authentication not supported by namenode"):
		return fmt.Errorf("%w: %s works without Kerberos; leave out --keytab, and hadoop.security.authentication in the settings", ErrMismatch, p.f.o.Address)
	case !p.f.kerberos && (strings.Contains(text, "unexpected sequence number") || strings.Contains(text, "SIMPLE authentication is not enabled")):
		return fmt.Errorf("%w: %s asks for Kerberos; set HADOOP_CONF_DIR to its settings (hadoop.security.authentication=kerberos), or give --keytab and --principal", ErrMismatch, p.f.o.Address)
	case strings.Contains(text, "SASL handshake") && !strings.Contains(text, "timeout") && !strings.Contains(text, "EOF") && !strings.Contains(text, "reset"):
		return fmt.Errorf("%w: %s: %w; is dfs.namenode.kerberos.principal in the settings the namenode's?", errLogin, p.f.o.Address, err)
	}
	return err
}

// namenodes gives the addresses in the order in which they are tried: those that did not answer lately come last.
func (p *pool) namenodes() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	out := slices.Clone(p.f.o.Address.Namenodes)
	slices.SortStableFunc(out, func(a, b string) int { return p.slow[a].Compare(p.slow[b]) })
	return out
}

// dial connects a client to a namenode. A client whose connection breaks is retired at once, though nobody waits for a
// reply on it: whoever came next would not know whether his call was done.
func (p *pool) dial(of *client, network, addr string) (net.Conn, error) {
	of.mu.Lock()
	ctx := of.dialing
	of.mu.Unlock()
	c, err := p.f.dial(ctx, network, addr, nil)
	if err != nil {
		if isTimeout(err) {
			p.late(addr)
		}
		return nil, err
	}
	c.failed = func(_ *conn, err error) {
		if isTimeout(err) {
			p.late(addr)
		}
		of.mu.Lock()
		made := of.made
		of.mu.Unlock()
		if made {
			p.retire(of)
		}
	}
	c.gone = func(c *conn) {
		of.mu.Lock()
		defer of.mu.Unlock()
		delete(of.conns, c)
	}
	of.mu.Lock()
	defer of.mu.Unlock()
	if err := ctx.Err(); err != nil { // interrupted just now, and nobody would do that to this one
		c.gone = nil
		_ = c.Close()
		return nil, err
	}
	of.conns[c] = true
	return c, nil
}

func (p *pool) late(addr string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.slow == nil {
		p.slow = map[string]time.Time{}
	}
	p.slow[addr] = time.Now()
}

// grace is how long a call that was sent may go on after its context has ended: its outcome is mostly just coming.
const grace = time.Second

// try runs calls until they are answered. again says that an earlier try ended without an answer, so that what was asked
// for may have been done by it.
func (f *FS) try(ctx context.Context, run func(c *client, again bool) error) error {
	var since time.Time
	again := false
	defer f.wait()()
	for pause := 20 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		if err := ctx.Err(); err != nil {
			return err
		}
		err := f.once(ctx, again, run)
		switch {
		case err == nil:
			return nil
		case ctx.Err() != nil:
			return errors.Join(ctx.Err(), err)
		case final(err):
			return err
		case f.pool.hopeless(err):
			return f.unavailable(err, 0)
		case since.IsZero():
			since = time.Now()
		case time.Since(since) > f.pool.patience():
			f.pool.giveUp()
			return f.unavailable(err, time.Since(since))
		}
		again = again || !passes(err)
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

// patienceUntold is how long nothing is said of a namenode that does not answer.
const patienceUntold = 4 * time.Second

// warnEvery is how often that is said at most, by however many calls that wait.
const warnEvery = 20 * time.Second

// wait says once, if it is not stopped soon, that a namenode is waited for: it may be gone, or hang.
func (f *FS) wait() (stop func()) {
	timer := time.AfterFunc(patienceUntold, func() {
		if !f.mayWarn(time.Now()) {
			return
		}
		f.o.Logger.Warn("waiting for the namenode", "namenodes", f.o.Address.Namenodes, "for_up_to", max(f.pool.patience(), f.o.Timeout))
	})
	return func() { timer.Stop() }
}

// mayWarn reports whether it was not said lately that a namenode is waited for.
func (f *FS) mayWarn(now time.Time) bool {
	last := f.warned.Load()
	return (last == 0 || now.UnixNano()-last >= int64(warnEvery)) && f.warned.CompareAndSwap(last, now.UnixNano())
}

// once runs calls on a client, and retires it where it did not get an answer.
func (f *FS) once(ctx context.Context, again bool, run func(c *client, again bool) error) error {
	c, err := f.pool.take(ctx)
	if err != nil {
		return err
	}
	defer f.pool.give(c)
	defer c.endWith(ctx, grace)()
	err = run(c, again)
	if err != nil && !isRemote(err) {
		f.pool.retire(c)
	}
	return err
}

// rest waits, or less where the context ends.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}
