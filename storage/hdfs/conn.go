package hdfs

import (
	"bufio"
	"context"
	"errors"
	"io"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// conn is a connection on which nothing waits for ever, and that is closed by its first error: the library goes on
// using a connection that failed, and would take the reply to an earlier call for the one it waits for.
type conn struct {
	net.Conn
	r       *bufio.Reader
	timeout time.Duration
	read    *atomic.Int64 // bytes; nil where nobody counts
	failed  func(c *conn, err error)
	gone    func(c *conn)
	once    sync.Once
}

// connBuffer is how much is read from the kernel at once, in bytes.
const connBuffer = 128 << 10

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	if c.read != nil && errors.Is(err, io.EOF) {
		// A datanode says when a block ends. The library takes the end of a connection for that, and would ask the same
		// datanode again and again.
		err = io.ErrUnexpectedEOF
	}
	if err != nil {
		c.fail(err)
	}
	return n, err
}

// deadlined reads from the connection, for the buffer.
type deadlined struct{ c *conn }

func (d deadlined) Read(p []byte) (int, error) {
	if err := d.c.Conn.SetReadDeadline(time.Now().Add(d.c.timeout)); err != nil {
		return 0, err
	}
	n, err := d.c.Conn.Read(p)
	if d.c.read != nil {
		d.c.read.Add(int64(n))
	}
	return n, err
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	err := c.Conn.SetWriteDeadline(time.Now().Add(c.timeout))
	n := 0
	if err == nil {
		n, err = c.Conn.Write(p)
	}
	if err != nil {
		c.fail(err)
	}
	return n, err
}

// SetDeadline implements net.Conn. The library's deadlines are none; each read and write has one of ours.
func (c *conn) SetDeadline(time.Time) error { return nil }

// SetReadDeadline implements net.Conn as SetDeadline does.
func (c *conn) SetReadDeadline(time.Time) error { return nil }

// SetWriteDeadline implements net.Conn as SetDeadline does.
func (c *conn) SetWriteDeadline(time.Time) error { return nil }

// Close implements net.Conn.
func (c *conn) Close() error {
	c.once.Do(func() {
		if c.gone != nil {
			c.gone(c)
		}
	})
	return c.Conn.Close()
}

func (c *conn) fail(err error) {
	if c.failed != nil {
		c.failed(c, err)
	}
	_ = c.Close() // what failed is what is told
}

// dialFunc makes a connection, as net.Dialer.DialContext does.
type dialFunc func(ctx context.Context, network, addr string) (net.Conn, error)

// dial connects within the time-out.
func (f *FS) dial(ctx context.Context, network, addr string, read *atomic.Int64) (*conn, error) {
	ctx, cancel := context.WithTimeout(ctx, min(f.o.Timeout, maxDial))
	defer cancel()
	plain, err := f.dialer(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	c := &conn{Conn: plain, timeout: f.o.Timeout, read: read}
	c.r = bufio.NewReaderSize(deadlined{c}, connBuffer)
	return c, nil
}

// maxDial is how long a connection may take to come about.
const maxDial = 10 * time.Second

// isTimeout reports whether somebody did not answer in time.
func isTimeout(err error) bool {
	var n net.Error
	return errors.Is(err, os.ErrDeadlineExceeded) || errors.As(err, &n) && n.Timeout()
}
