package hdfs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"path"
	"sync"
	"syscall"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/storage"
)

// How files are read, in bytes. A read that is not near another one asks a datanode for windowStart, and what follows it
// for four times as much each time: small reads in order become few requests, and single ones read little that
// nobody wants. The end of a file, where Parquet keeps its footer, is read at once.
const (
	windowStart = 256 << 10
	windowMost  = 64 << 20
	gapMost     = 1 << 20   // skipped by reading on
	tailBytes   = 256 << 10 // of the end
)

// maxStreams is how many connections one open file keeps.
const maxStreams = 16

// file is a file being read. Streams from datanodes are used by one reader at a time.
type file struct {
	f    *FS
	name string
	info storage.Info
	raw  *hdfs.FileStatus
	ctx  context.Context // of values only: it is never done

	mu      sync.Mutex
	lib     *hdfs.Client // the streams' client; it is good for them when it is retired, too
	blocks  rawBlocks
	at      []block
	streams []*stream
	clock   int64
	opened  int // streams, in all
	closed  bool

	tailMu sync.Mutex
	tail   []byte // from tailAt to the end
	tailAt int64
	asked  int64 // the least offset in it that was asked for
}

// stream is a request to the datanodes for the bytes up to an end, read in order.
type stream struct {
	r        *hdfs.FileReader
	pos, end int64
	window   int64
	busy     bool
	used     int64 // when, by the file's clock
}

// Open implements storage.FS. The file is found by its id from then on, whatever becomes of its name.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	o := &file{f: f, name: name, ctx: context.WithoutCancel(ctx), asked: math.MaxInt64}
	err := f.try(ctx, func(c *client, _ bool) error {
		s, err := c.status(name)
		if err != nil {
			return err
		}
		if isDir(s) {
			return answer(syscall.EISDIR)
		}
		if err := safe(s); err != nil {
			return err
		}
		o.raw, o.info = s, f.describe(path.Base(name), s)
		return o.locate(c)
	})
	if err != nil {
		return nil, pathError("open", name, err)
	}
	o.tail = f.tails.get(o.info)
	o.tailAt = o.info.Size - int64(len(o.tail))
	return o, nil
}

// safe refuses a file or folder whose bytes the client library gets wrong.
func safe(s *hdfs.FileStatus) error {
	switch {
	case s.GetFileEncryptionInfo() != nil:
		return &remote{is: storage.ErrUnsafe, message: "it lies in an encryption zone, and hupsert would see ciphertext: keep the table outside of the zone"}
	case s.GetEcPolicy() != nil && s.GetEcPolicy().GetId() != 0:
		return &remote{is: storage.ErrUnsafe, message: fmt.Sprintf("it is erasure-coded (%s), which hupsert can't read or write: give the folder replication "+
			"(hdfs ec -setPolicy -replicate -path DIR) and write its files anew", s.GetEcPolicy().GetName())}
	}
	return nil
}

// locate asks where the file's blocks are.
func (o *file) locate(c *client) error {
	if o.info.Size == 0 {
		return nil
	}
	r, err := c.call("getBlockLocations", request{"src": idPath(o.raw.GetFileId()), "offset": 0, "length": o.info.Size})
	if err != nil {
		return err
	}
	blocks, at, err := blocksOf(r)
	if err != nil {
		return err
	}
	if at == nil {
		return answer(syscall.ENOENT)
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.lib, o.blocks, o.at = c.lib, blocks, at
	return nil
}

// Stat implements storage.File.
func (o *file) Stat() (storage.Info, error) { return o.info, nil }

// Close implements storage.File.
func (o *file) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return pathError("close", o.name, fs.ErrClosed)
	}
	o.closed = true
	for _, s := range o.streams {
		if !s.busy {
			s.close()
		}
	}
	o.streams = nil
	o.tailMu.Lock()
	defer o.tailMu.Unlock()
	if o.asked < o.info.Size && len(o.tail) > 0 {
		o.f.tails.put(o.info, o.tail[min(o.asked, o.info.Size)-o.tailAt:])
	}
	return nil
}

func (s *stream) close() { _ = s.r.Close() } // nothing was written

// ReadAt implements storage.File.
func (o *file) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 {
		return 0, pathError("read", o.name, syscall.EINVAL)
	}
	if off >= o.info.Size {
		return 0, io.EOF
	}
	want := p[:min(int64(len(p)), o.info.Size-off)]
	n, err := len(want), error(nil)
	if start := max(0, o.info.Size-tailBytes); off >= start {
		if err = o.end(want, off, start); err != nil {
			n = 0
		}
	} else {
		n, err = o.fetch(want, off)
	}
	if err == nil && n < len(p) {
		err = io.EOF
	}
	return n, err
}

// end reads from the end of the file, which is fetched once from a start on.
func (o *file) end(p []byte, off, start int64) error {
	o.tailMu.Lock()
	defer o.tailMu.Unlock()
	if off < o.tailAt || len(o.tail) == 0 {
		tail := make([]byte, o.info.Size-start)
		if _, err := o.fetch(tail, start); err != nil {
			return err
		}
		o.tail, o.tailAt = tail, start
	}
	o.asked = min(o.asked, off)
	copy(p, o.tail[off-o.tailAt:])
	return nil
}

// fetch reads from datanodes, and goes on from others, or when the blocks were looked up anew, where one fails.
func (o *file) fetch(p []byte, off int64) (n int, err error) {
	var since time.Time
	for pause := 20 * time.Millisecond; n < len(p); {
		s, err := o.take(off+int64(n), int64(len(p)-n))
		if err != nil {
			return n, pathError("read", o.name, err)
		}
		m, err := s.fill(p[n:], off+int64(n))
		o.give(s, err)
		n += m
		if err == nil {
			continue
		}
		if err = withHint(err); errors.Is(err, storage.ErrUnsafe) {
			return n, pathError("read", o.name, err)
		}
		if m > 0 || since.IsZero() {
			since = time.Now()
		} else if time.Since(since) > o.f.o.Retry {
			return n, pathError("read", o.name, fmt.Errorf("%w: the datanodes that hold it, for %s: %w", storage.ErrUnavailable, o.f.o.Retry, err))
		}
		if err := o.again(); err != nil {
			return n, pathError("read", o.name, err)
		}
		if err := rest(o.ctx, pause); err != nil {
			return n, err
		}
		pause = min(2*pause, time.Second)
	}
	return n, nil
}

// again looks the blocks up anew, and drops the streams, which read from where they were.
func (o *file) again() error {
	o.mu.Lock()
	for _, s := range o.streams {
		if !s.busy {
			s.close()
		}
	}
	o.streams = nil
	o.mu.Unlock()
	err := o.f.try(o.ctx, func(c *client, _ bool) error { return o.locate(c) })
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("the file was removed while it was read: %w", err)
	}
	return err
}

// Expect says that a range will be read in order: it then comes in one request, however small the reads are. One that
// goes on where reading has ended comes with what may follow it.
func (o *file) Expect(off, length int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	end := min(off+length, o.info.Size)
	if off < 0 || off >= end || o.closed {
		return
	}
	if s := o.coming(off); s == nil || s.end < end {
		_, _ = o.ahead(off, end) // a read that comes without it finds out why
	}
}

// take gives a stream at an offset: one that is a little before it, else a new one.
func (o *file) take(off, want int64) (*stream, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.closed {
		return nil, fs.ErrClosed
	}
	o.clock++
	s := o.coming(off)
	if s == nil {
		var err error
		if s, err = o.ahead(off, off+want); err != nil {
			return nil, err
		}
	}
	s.busy, s.used = true, o.clock
	return s, nil
}

// coming gives the stream that will be at an offset soonest; nil where none will.
func (o *file) coming(off int64) *stream {
	var best *stream
	for _, s := range o.streams {
		if !s.busy && s.pos <= off && off < s.end && off-s.pos <= gapMost && (best == nil || s.pos > best.pos) {
			best = s
		}
	}
	return best
}

// ahead makes a stream from an offset to an end or beyond it: where reading goes on at which another one ended, it comes
// with four times as much as that had.
func (o *file) ahead(off, end int64) (*stream, error) {
	window := int64(windowStart)
	for _, s := range o.streams {
		// Steps forward, with or without something left out in between: soon the reads are one stream.
		if !s.busy && off >= s.end && off-s.pos <= gapMost {
			window = max(window, min(windowMost, 4*s.window))
		}
	}
	end = min(o.info.Size, max(end, off+window))
	s, err := o.open(off, end, min(windowMost, end-off))
	if err == nil {
		o.keep(s)
	}
	return s, err
}

// open makes a stream. It connects when it is read.
func (o *file) open(off, end, window int64) (*stream, error) {
	info, err := newInfo(path.Base(o.name), o.raw)
	if err != nil {
		return nil, err
	}
	r, err := newReader(o.lib, o.name, info, o.blocks.upTo(o.at, off, end))
	if err != nil {
		return nil, err
	}
	if _, err := r.Seek(off, io.SeekStart); err != nil {
		return nil, err
	}
	o.opened++
	return &stream{r: r, pos: off, end: end, window: window, used: o.clock}, nil
}

// keep adds a stream in the place of the one that was not used for the longest time.
func (o *file) keep(s *stream) {
	if len(o.streams) >= maxStreams {
		oldest := -1
		for i, at := range o.streams {
			if !at.busy && (oldest < 0 || at.used < o.streams[oldest].used) {
				oldest = i
			}
		}
		if oldest >= 0 {
			o.streams[oldest].close()
			o.streams[oldest] = s
			return
		}
	}
	o.streams = append(o.streams, s)
}

// give ends the use of a stream; one that failed is dropped.
func (o *file) give(s *stream, err error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	s.busy = false
	kept := o.streams[:0]
	found := false
	for _, at := range o.streams {
		if at == s {
			found = true
			if err != nil {
				continue
			}
		}
		kept = append(kept, at)
	}
	o.streams = kept
	if err != nil || !found {
		s.close()
	}
}

// errBroken: a read ended in an error that the library keeps to itself.
var errBroken = errors.New("a datanode's connection broke, or a block's checksum is wrong")

// fill reads on to an offset, and from there what the stream has of p. What a read returned that then broke is not
// counted: its checksum was not right, or not looked at.
func (s *stream) fill(p []byte, off int64) (n int, err error) {
	if s.pos < off {
		scratch := make([]byte, min(off-s.pos, 64<<10))
		for s.pos < off {
			if _, err := s.read(scratch[:min(int64(len(scratch)), off-s.pos)]); err != nil {
				return 0, err
			}
		}
	}
	p = p[:min(int64(len(p)), s.end-s.pos)]
	for n < len(p) {
		m, err := s.read(p[n:])
		if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}

func (s *stream) read(p []byte) (int, error) {
	n, err := s.r.Read(p)
	if err == nil && broke(s.r) {
		err = errBroken
	}
	if err == nil && n == 0 {
		err = io.ErrNoProgress
	}
	if errors.Is(err, io.EOF) {
		err = fmt.Errorf("a block is shorter than the namenode says: %w", io.ErrUnexpectedEOF)
	}
	if err != nil {
		return 0, err
	}
	s.pos += int64(n)
	return n, nil
}
