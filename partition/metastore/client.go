package metastore

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"strings"
	"sync"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// Client talks to a metastore, over as many connections as there are calls at once. Its methods are safe for concurrent use.
type Client struct {
	c Config

	mu     sync.Mutex
	idle   []*link
	host   int  // that answered last
	heard  bool // something has answered once
	closed bool
}

// mostIdle is how many connections wait for the next call.
const mostIdle = 4

// Dial connects to the first host that answers.
func Dial(ctx context.Context, c Config) (*Client, error) {
	c.setDefaults()
	if len(c.Hosts) == 0 {
		return nil, fault(ErrUsage, "no metastore is named").
			hint("name its host in the URL (hive://HOST:%d/DB.TABLE), or in the hive-site.xml of HADOOP_CONF_DIR (hive.metastore.uris)", DefaultPort)
	}
	m := &Client{c: c, host: rand.IntN(len(c.Hosts))}
	// Any call would do: it finds out whether the other side is a metastore that lets us in.
	err := m.call(ctx, "connect", again, func(ctx context.Context, api *hmsapi.ThriftHiveMetastoreClient) error {
		_, err := api.GetConfigValue(ctx, "hive.txn.timeout", "")
		return err
	})
	if err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// Hosts are those of the configuration.
func (m *Client) Hosts() []string { return m.c.Hosts }

// Close ends the connections that no call uses; those of calls under way end with them.
func (m *Client) Close() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.closed = true
	m.dropIdle()
	return nil
}

// dropIdle closes the connections that wait. The lock is held.
func (m *Client) dropIdle() {
	for _, l := range m.idle {
		_ = l.Close()
	}
	m.idle = nil
}

// repeat says whether a call may be done twice.
type repeat bool

const (
	again repeat = true  // reading, and what has the same effect the second time
	once  repeat = false // where it breaks off, its outcome is errUnknown
)

// errUnknown: a connection broke under a call that may have had its effect.
var errUnknown = errors.New("the outcome is not known")

// brokenError is a connection that could not be made, or broke.
type brokenError struct {
	host string
	sent bool // something of the call may have arrived
	err  error
}

func (b *brokenError) Error() string { return b.host + ": " + b.err.Error() }
func (b *brokenError) Unwrap() error { return b.err }

// call does a call of the metastore's on a connection of its own. Where the connection can't be made, or breaks under what may be
// repeated, the next host is tried, until RetryFor is over and each was tried.
func (m *Client) call(ctx context.Context, what string, r repeat, f func(context.Context, *hmsapi.ThriftHiveMetastoreClient) error) error {
	return m.callFor(ctx, m.c.Timeout, what, r, f)
}

// forMany is how long a call that changes many partitions may take: the metastore looks at the folder of each.
func (m *Client) forMany(partitions int) time.Duration {
	const each = 200 * time.Millisecond
	return max(m.c.Timeout, time.Duration(partitions)*each)
}

// callFor is call with a time-out of its own.
func (m *Client) callFor(ctx context.Context, limit time.Duration, what string, r repeat, f func(context.Context, *hmsapi.ThriftHiveMetastoreClient) error) error {
	started := time.Now()
	told := time.AfterFunc(patienceUntold, func() {
		m.c.Logger.Warn("waiting for the metastore", "hosts", m.c.Hosts, "call", what)
	})
	defer told.Stop()
	pause := 100 * time.Millisecond
	for try := 1; ; try++ {
		err := m.try(ctx, limit, r, f)
		var broken *brokenError
		switch {
		case err == nil || ctx.Err() != nil:
			return err
		case !errors.As(err, &broken):
			return m.explain(err, what)
		case broken.sent && r == once:
			return m.unavailable(what, broken, errUnknown)
		case m.patience(broken) <= time.Since(started) && try >= len(m.c.Hosts):
			return m.unavailable(what, broken)
		}
		m.c.Logger.Debug("metastore does not answer", "call", what, "error", err)
		if try%len(m.c.Hosts) != 0 { // there is another host to ask at once
			continue
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
		pause = min(2*pause, 2*time.Second)
	}
}

const (
	// firstRetry is how long it is tried at most before anybody has ever answered: then the address may be what is wrong.
	firstRetry = 10 * time.Second
	// doorRetry is the same where somebody answers by closing the connection, who may be no metastore, or of another security.
	doorRetry = 3 * time.Second
	// patienceUntold is how long nothing is said of a metastore that does not answer.
	patienceUntold = 4 * time.Second
)

// patience is how long it is tried again after a connection broke.
func (m *Client) patience(b *brokenError) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	var dns *net.DNSError
	var silent *silentError
	switch {
	case m.heard:
		return m.c.RetryFor
	case errors.As(b.err, &dns) && dns.IsNotFound:
		return 0
	case errors.As(b.err, &silent) && !isTimeout(b.err):
		return min(m.c.RetryFor, doorRetry)
	}
	return min(m.c.RetryFor, firstRetry)
}

// isTimeout reports whether somebody did not answer in time.
func isTimeout(err error) bool {
	var n net.Error
	return errors.As(err, &n) && n.Timeout()
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

// try does a call once. Of what may not be repeated a connection is not taken that waited: it may have ended meanwhile.
func (m *Client) try(ctx context.Context, limit time.Duration, r repeat, f func(context.Context, *hmsapi.ThriftHiveMetastoreClient) error) error {
	l, err := m.link(ctx, r == again)
	if err != nil {
		return err
	}
	err = l.during(ctx, limit, func() error { return f(ctx, l.api) })
	if broke(err) {
		m.mu.Lock()
		defer m.mu.Unlock()
		_ = l.Close()
		m.dropIdle() // they are of the same metastore
		if ctx.Err() == nil {
			m.host++
			err = &brokenError{l.host, true, err}
		}
		return err
	}
	m.mu.Lock()
	m.heard = true
	m.mu.Unlock()
	m.put(l)
	return err
}

// broke reports whether an error is of the connection, and not what the metastore answered.
func broke(err error) bool {
	if err == nil {
		return false
	}
	var said thrift.TApplicationException
	if errors.As(err, &said) {
		switch said.TypeId() {
		case thrift.UNKNOWN_METHOD, thrift.INTERNAL_ERROR, thrift.PROTOCOL_ERROR:
			return false
		}
		return true
	}
	var declared thrift.TException
	if errors.As(err, &declared) {
		return declared.TExceptionType() != thrift.TExceptionTypeCompiled
	}
	return true
}

// link gives a connection: one that waits, where that will do, else a new one.
func (m *Client) link(ctx context.Context, waited bool) (*link, error) {
	m.mu.Lock()
	if n := len(m.idle); n > 0 && waited {
		l := m.idle[n-1]
		m.idle = m.idle[:n-1]
		m.mu.Unlock()
		return l, nil
	}
	host := m.c.Hosts[m.host%len(m.c.Hosts)]
	m.mu.Unlock()
	l, err := m.dial(ctx, host)
	if err != nil {
		m.mu.Lock()
		m.host++
		m.mu.Unlock()
	}
	return l, err
}

// put lets a connection wait for the next call.
func (m *Client) put(l *link) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.closed || l.spent || len(m.idle) >= mostIdle {
		_ = l.Close()
		return
	}
	m.idle = append(m.idle, l)
}

// dial connects, and says who we are.
func (m *Client) dial(ctx context.Context, host string) (*link, error) {
	dialer := net.Dialer{Timeout: m.c.DialTimeout}
	conn, err := dialer.DialContext(ctx, "tcp", host)
	if err != nil {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, &brokenError{host: host, err: err}
	}
	l := newLink(host, conn)
	if err := l.during(ctx, m.c.DialTimeout, func() error { return m.introduce(ctx, l) }); err != nil {
		_ = l.Close()
		var final *Error
		if ctx.Err() != nil || errors.As(err, &final) {
			return nil, err
		}
		return nil, &brokenError{host: host, err: err}
	}
	return l, nil
}

func (m *Client) introduce(ctx context.Context, l *link) error {
	if m.c.Kerberos != nil {
		return m.introduceByKerberos(ctx, l)
	}
	if m.c.User == "" {
		return nil
	}
	_, err := l.api.SetUgi(ctx, m.c.User, []string{})
	if err != nil && !broke(err) { // a metastore that takes no names takes us for itself
		m.c.Logger.Debug("the metastore does not take the user's name", "user", m.c.User, "error", err)
		return nil
	}
	if err != nil {
		return &silentError{err}
	}
	return nil
}

func (m *Client) introduceByKerberos(ctx context.Context, l *link) error {
	service, err := servicePrincipal(m.c.Principal, l.host)
	if err != nil {
		return err
	}
	login, err := m.c.Kerberos(ctx, service)
	if errors.Is(err, hadoop.ErrSilent) || ctx.Err() != nil {
		return err // like a metastore that does not answer: the KDC may soon
	}
	if err != nil {
		return &Error{Err: &text{err.Error(), []error{storage.ErrUnavailable, err}}, Hint: "kinit, or --keytab and --principal, give a fresh login; hive.metastore.kerberos.principal names the metastore's own"}
	}
	err = l.negotiate(login, service)
	var no *refusal
	if errors.As(err, &no) {
		return fault(storage.ErrUnavailable, "metastore %s: %v", l.host, no).
			hint("does its keytab belong to %s, as hive.metastore.kerberos.principal says, and do the clocks agree?", service)
	}
	if err != nil {
		var said *Error
		if errors.As(err, &said) {
			return err
		}
		return &silentError{err}
	}
	return nil
}

// silentError is an introduction that the other side did not answer.
type silentError struct{ err error }

func (s *silentError) Error() string { return s.err.Error() }
func (s *silentError) Unwrap() error { return s.err }

// unavailable says that no host answered.
func (m *Client) unavailable(what string, broken *brokenError, more ...error) *Error {
	cause := broken.err.Error()
	if errors.Is(broken.err, io.EOF) {
		cause = "the connection was closed"
	}
	message := "metastore " + strings.Join(m.c.Hosts, ", ") + ": " + what + ": "
	if len(m.c.Hosts) > 1 {
		message += broken.host + ": "
	}
	e := &Error{Err: &text{message + cause, append([]error{storage.ErrUnavailable, broken.err}, more...)}}
	var silent *silentError
	var dns *net.DNSError
	switch {
	case errors.Is(broken.err, hadoop.ErrSilent): // its text says what helps
	case errors.As(broken.err, &dns) && dns.IsNotFound:
		e.Hint = "is the host's name misspelt?"
	case errors.As(broken.err, &silent) && m.c.Kerberos == nil:
		e.Hint = "is this its Thrift port? If it wants Kerberos, say so in hive-site.xml (hive.metastore.sasl.enabled), or give --keytab and --principal"
	case errors.As(broken.err, &silent):
		e.Hint = "is this its Thrift port? If it does not want Kerberos, leave out --keytab, and set hive.metastore.sasl.enabled to false in hive-site.xml"
	default:
		e.Hint = "is it running, and is this its Thrift port?"
	}
	return e
}

// explain turns what the metastore answered into an Error.
func (m *Client) explain(err error, what string) error {
	var ours *Error
	if errors.As(err, &ours) {
		return err
	}
	if e := answered(err, what); e != nil {
		return e
	}
	var said thrift.TApplicationException
	if errors.As(err, &said) {
		e := &Error{Err: &text{"metastore " + strings.Join(m.c.Hosts, ", ") + ": " + what + ": " + said.Error(), []error{storage.ErrUnavailable, err}}}
		if said.TypeId() == thrift.UNKNOWN_METHOD {
			return e.hint("Hive Metastore 2.3 to 4.0 is supported")
		}
		return e.hint("the metastore's log says more")
	}
	return err
}
