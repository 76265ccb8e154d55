package metastore

import (
	"bufio"
	"bytes"
	"context"
	"math"
	"net"
	"time"

	"github.com/apache/thrift/lib/go/thrift"

	"github.com/hupsert/hupsert/partition/metastore/internal/hmsapi"
)

// link is one connection to a metastore: a thrift.TTransport with buffers, whose deadlines are those of the call under way.
type link struct {
	host string
	conn net.Conn
	in   *bufio.Reader
	out  bytes.Buffer
	// frames: messages stand in frames of four bytes of length and that many of content, as SASL without protection has it.
	frames bool
	left   int64 // of the frame that is being read
	spent  bool  // a deadline of a call that was given up may hit the next

	api *hmsapi.ThriftHiveMetastoreClient
}

// maxFrame is the length above which a frame's is taken for nonsense.
const maxFrame = 1 << 30

func newLink(host string, conn net.Conn) *link {
	l := &link{host: host, conn: conn, in: bufio.NewReaderSize(conn, 64<<10)}
	protocol := thrift.NewTBinaryProtocolConf(l, &thrift.TConfiguration{MaxMessageSize: maxFrame, MaxFrameSize: maxFrame})
	l.api = hmsapi.NewThriftHiveMetastoreClient(thrift.NewTStandardClient(protocol, protocol))
	return l
}

// during runs f with deadlines: the connection's reads and writes end when the time is over or the context is.
func (l *link) during(ctx context.Context, limit time.Duration, f func() error) error {
	deadline := time.Now().Add(limit)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := l.conn.SetDeadline(deadline); err != nil {
		return err
	}
	stop := context.AfterFunc(ctx, func() {
		_ = l.conn.SetDeadline(time.Unix(1, 0))
	})
	err := f()
	l.spent = l.spent || !stop()
	if err != nil && ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// Read gives what has come of a message.
func (l *link) Read(p []byte) (int, error) {
	if !l.frames {
		return l.in.Read(p)
	}
	for l.left == 0 {
		n, err := l.length(maxFrame)
		if err != nil {
			return 0, err
		}
		l.left = n
	}
	n, err := l.in.Read(p[:min(int64(len(p)), l.left)])
	l.left -= int64(n)
	return n, err
}

// Write keeps a message's bytes until Flush.
func (l *link) Write(p []byte) (int, error) { return l.out.Write(p) }

// Flush sends a message.
func (l *link) Flush(context.Context) error {
	message := l.out.Bytes()
	if l.frames {
		message = append(lengthBytes(len(message)), message...)
	}
	l.out.Reset()
	_, err := l.conn.Write(message)
	return err
}

// RemainingBytes is not known.
func (l *link) RemainingBytes() uint64 { return math.MaxUint64 }

// Open does nothing: a link is made of an open connection.
func (l *link) Open() error { return nil }

// IsOpen is always so: a link that fails is dropped.
func (l *link) IsOpen() bool { return true }

// Close ends the connection.
func (l *link) Close() error { return l.conn.Close() }
