package hdfs

import (
	"bytes"
	"cmp"
	"context"
	"crypto/md5"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/storage"
)

// writer is a file being written. Its lease is held by its client until it is closed. What is written goes to the
// datanodes behind the caller's back, so that he can read or encode what comes next meanwhile.
type writer struct {
	f    *FS
	c    *client
	w    *hdfs.FileWriter
	name string
	id   uint64
	ctx  context.Context // of values only: it is never done

	blockSize int64
	size      int64  // taken from the caller
	buffer    []byte // that is being filled
	closed    bool
	source    *file // that it is a copy of, whole
	sum       hash.Hash64

	queue, spare chan []byte // to and from the goroutine that sends; nil before there is one
	ended        chan struct{}
	sent         int64 // given to the library; of that goroutine while there is one
	failure      failure
}

// failure is the first error of a file that is written: there is no going on after it.
type failure struct {
	mu  sync.Mutex
	err error
}

func (f *failure) get() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.err
}

func (f *failure) set(err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err == nil {
		f.err = err
	}
}

// created is what the namenode says of a new file.
type created struct {
	c      *client
	id     uint64
	blocks storage.Blocks
}

// Create implements storage.FS. What a Writer writes can be read when it is closed.
func (f *FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	made, err := f.create(ctx, name, mode)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	w := &writer{f: f, c: made.c, name: name, id: made.id, blockSize: made.blocks.Size, ctx: context.WithoutCancel(ctx)}
	if w.w, err = newWriter(made.c.lib, name, made.blocks.Replication, made.blocks.Size, made.id); err != nil {
		f.pool.give(made.c)
		return nil, pathError("create", name, err)
	}
	return w, nil
}

// create makes an empty file that is open, with the blocks of the context; its client is the caller's to give back. Where a reply was lost, the file is told
// by the name of the client that holds its lease.
func (f *FS) create(ctx context.Context, name string, mode fs.FileMode) (made created, err error) {
	var lost []string // names of clients that asked and got no reply
	err = f.try(ctx, func(c *client, again bool) error {
		made = created{c: c, blocks: storage.BlocksOf(ctx)}
		err := f.createBy(c, c.lib.Name(), name, mode, &made)
		if again && errors.Is(err, fs.ErrExist) {
			for _, holder := range lost {
				switch asked := f.createBy(c, holder, name, mode, &made); {
				case asked == nil, isHeldBy(asked):
				case isRemote(asked):
					continue
				default:
					return asked
				}
				// Ours, and nobody knows of it, also where it was gone just now and this has made it: made anew, under a
				// client that renews its lease.
				if _, err := c.call("delete", request{"src": name, "recursive": false}); err != nil {
					return err
				}
				err = f.createBy(c, c.lib.Name(), name, mode, &made)
				break
			}
		}
		switch {
		case err == nil:
			f.pool.keep(c)
		case !isRemote(err):
			lost = append(lost, c.lib.Name())
		}
		return err
	})
	return made, err
}

// isHeldBy reports whether a file was refused because the one who asks has it open.
func isHeldBy(err error) bool {
	var r *remote
	return errors.As(err, &r) && r.exception == "AlreadyBeingCreatedException" && strings.Contains(r.message, "current lease")
}

// createExclusively is the flag of a file that must not be there.
const createExclusively = 1

func (f *FS) createBy(c *client, holder, name string, mode fs.FileMode, made *created) error {
	if err := f.shape(c, made); err != nil {
		return err
	}
	r, err := c.call("create", request{
		"src": name, "masked": permission(mode), "clientName": holder, "createFlag": createExclusively, "createParent": false,
		"replication": made.blocks.Replication, "blockSize": made.blocks.Size,
	})
	if err != nil {
		return err
	}
	s, err := r.status("fs")
	if err != nil || s == nil {
		return errors.Join(errProtocol, err)
	}
	made.id = s.GetFileId()
	if err := safe(s); err != nil {
		_, derr := c.call("delete", request{"src": name, "recursive": false})
		return errors.Join(err, derr)
	}
	if s.GetPermission().GetPerm()&0o777 != uint32(mode.Perm()) { // the folder hands down a list of its own
		_, err = c.call("setPermission", request{"src": name, "permission": permission(mode)})
	}
	return err
}

// shape settles what was not said of replication and block size: it is that of the settings, else the server's.
func (f *FS) shape(c *client, made *created) error {
	d, err := c.lib.ServerDefaults()
	if err != nil {
		return explain(err)
	}
	replication, _ := strconv.Atoi(f.o.Conf.Get("dfs.replication")) // 0 where it says nothing
	made.blocks.Replication = cmp.Or(made.blocks.Replication, max(0, replication), d.Replication)
	made.blocks.Size = cmp.Or(made.blocks.Size, sizeOf(f.o.Conf.Get("dfs.blocksize")), d.BlockSize)
	return nil
}

// sizeOf reads a size as Hadoop writes it: 134217728, 128m.
func sizeOf(text string) int64 {
	text = strings.ToLower(strings.TrimSpace(text))
	shift := 0
	if text != "" {
		if at := strings.IndexByte("kmgt", text[len(text)-1]); at >= 0 {
			text, shift = text[:len(text)-1], 10*(at+1)
		}
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil || n <= 0 || n > 1<<62>>shift {
		return 0
	}
	return n << shift
}

// keep counts another use of a client that the caller has.
func (p *pool) keep(c *client) {
	p.mu.Lock()
	defer p.mu.Unlock()
	c.users++
	for _, s := range p.slots {
		if s.c == c {
			s.in++
		}
	}
}

// piece is how much is sent at once, in bytes, and pieces how many may wait for that.
const (
	piece  = 1 << 20
	pieces = 4
)

// Write implements storage.Writer.
func (w *writer) Write(p []byte) (n int, err error) {
	if err := w.usable(); err != nil {
		return 0, err
	}
	w.source = nil
	for n < len(p) {
		room := w.room(len(p) - n)
		m := copy(room, p[n:])
		n += m
		w.filled(m)
	}
	return n, w.failure.get()
}

func (w *writer) usable() error {
	if w.closed {
		return pathError("write", w.name, fs.ErrClosed)
	}
	return w.failure.get()
}

// room is where in the buffer the next bytes go.
func (w *writer) room(want int) []byte {
	if len(w.buffer) == cap(w.buffer) {
		w.flush()
	}
	if w.buffer == nil {
		select {
		case w.buffer = <-w.spare:
		default:
			w.buffer = make([]byte, 0, max(4<<10, min(piece, want)))
		}
	}
	return w.buffer[len(w.buffer):cap(w.buffer)]
}

// filled takes n bytes of the room.
func (w *writer) filled(n int) {
	w.buffer = w.buffer[:len(w.buffer)+n]
	w.size += int64(n)
}

// flush gives the buffer to the one who sends.
func (w *writer) flush() {
	if len(w.buffer) == 0 {
		return
	}
	if w.queue == nil {
		w.queue, w.spare = make(chan []byte, pieces), make(chan []byte, pieces)
		w.ended = make(chan struct{})
		go func() {
			defer close(w.ended)
			for p := range w.queue {
				w.send(p)
				if cap(p) == piece {
					select {
					case w.spare <- p[:0]:
					default:
					}
				}
			}
		}()
	}
	w.queue <- w.buffer
	w.buffer = nil
}

// send writes to the datanodes, unless something has failed.
func (w *writer) send(p []byte) {
	for n := 0; n < len(p) && w.failure.get() == nil; {
		room := w.blockSize - w.sent%w.blockSize
		part := p[n:min(int64(len(p)), int64(n)+min(piece, room))]
		var m int
		var err error
		if room == w.blockSize {
			m, err = w.begin(part)
		} else {
			m, err = w.w.Write(part)
		}
		n += m
		w.sent += int64(m)
		if err != nil {
			w.failure.set(pathError("write", w.name, lost(err)))
		}
	}
}

// drain waits until all is sent.
func (w *writer) drain() {
	if w.queue == nil { // a small file
		w.send(w.buffer)
	} else {
		w.flush()
		close(w.queue)
		<-w.ended
	}
	w.buffer = nil
}

// lost is the error of a write: unless the namenode refused it for a reason of its own, writing the file again may do.
func lost(err error) error {
	err = explain(err)
	var r *remote
	if errors.As(err, &r) && r.is != nil || errors.Is(err, fs.ErrPermission) || errors.Is(err, storage.ErrWriteAgain) {
		return err
	}
	return fmt.Errorf("%w: %w", storage.ErrWriteAgain, withHint(err))
}

// withHint explains what the library says when a datanode speaks otherwise than it was told.
func withHint(err error) error {
	text := err.Error()
	if strings.Contains(text, "cannot parse invalid wire-format data") || strings.Contains(text, "invalid qop") || strings.Contains(text, "no available cipher") {
		return fmt.Errorf("%w: %w; the datanodes ask for integrity or privacy of transfers (dfs.data.transfer.protection, dfs.encrypt.data.transfer), "+
			"which hupsert can't do: let them also offer authentication", storage.ErrUnsafe, err)
	}
	return err
}

// CopyRange implements storage.Writer. A file that is copied whole is held against its source when it is closed.
func (w *writer) CopyRange(src storage.File, offset, length int64) error {
	if err := w.usable(); err != nil {
		return err
	}
	if offset < 0 || length < 0 {
		return pathError("copy", w.name, syscall.EINVAL)
	}
	w.source, w.sum = nil, nil
	if from, own := src.(*file); own {
		from.Expect(offset, length)
		if w.size == 0 && offset == 0 && length == from.info.Size {
			w.source, w.sum = from, xxhash.New()
		}
	}
	for end := offset + length; offset < end; {
		room := w.room(int(min(piece, end-offset)))
		n, err := src.ReadAt(room[:min(int64(len(room)), end-offset)], offset)
		if w.sum != nil {
			_, _ = w.sum.Write(room[:n]) // a hash takes all
		}
		w.filled(n)
		offset += int64(n)
		if offset < end && (errors.Is(err, io.EOF) || err == nil && n == 0) {
			err = fmt.Errorf("%d bytes are missing at the end: %w", end-offset, io.ErrUnexpectedEOF)
		}
		if err != nil && !errors.Is(err, io.EOF) {
			return pathError("copy", w.name, err)
		}
		if err := w.failure.get(); err != nil {
			return err
		}
	}
	return nil
}

// Sync implements storage.Writer: what was written is on its way. What makes it durable is Close.
func (w *writer) Sync() error { return w.usable() }

// Close implements storage.Writer. When it returns nil the datanodes have acknowledged every byte, and the namenode has
// the file at its length.
func (w *writer) Close() error {
	if w.closed {
		return pathError("close", w.name, fs.ErrClosed)
	}
	w.closed = true
	defer w.f.pool.give(w.c)
	w.drain()
	last, err := w.end()
	// Whether anybody was told of it by now can't be known: what goes on behind the caller may have failed since.
	if failed := w.failure.get(); failed != nil {
		return failed
	}
	if err == nil {
		err = w.f.complete(w.ctx, w.name, w.c.lib.Name(), w.id, last)
	}
	if err == nil {
		err = w.look()
	}
	if err == nil && w.source != nil {
		err = w.compare()
	}
	if err != nil {
		err = pathError("close", w.name, lost(err))
		w.failure.set(err)
	}
	return err
}

// complete ends a file. The namenode may have to wait for the datanodes to report what they have.
func (f *FS) complete(ctx context.Context, name, holder string, id uint64, last any) error {
	fields := request{"src": name, "clientName": holder, "fileId": id}
	if last != nil {
		fields["last"] = last
	}
	started := time.Now()
	for pause := 2 * time.Millisecond; ; pause = min(2*pause, 400*time.Millisecond) {
		whole := false
		err := f.try(ctx, func(c *client, _ bool) error {
			r, err := c.call("complete", fields)
			whole = err == nil && r.yes()
			return err
		})
		switch {
		case err != nil || whole:
			return err
		case time.Since(started) > f.o.Retry:
			return fmt.Errorf("%w: after %s no datanode has reported its last block", storage.ErrWriteAgain, f.o.Retry)
		}
		if err := rest(ctx, pause); err != nil {
			return err
		}
	}
}

// look holds the file's length against what was written.
func (w *writer) look() error {
	return w.f.try(w.ctx, func(c *client, _ bool) error {
		s, err := c.status(idPath(w.id))
		if err == nil && int64(s.GetLength()) != w.size {
			err = &remote{is: storage.ErrWriteAgain, message: fmt.Sprintf("%d bytes were written, and the namenode has %d", w.size, s.GetLength())}
		}
		return err
	})
}

// nothingSummed is the checksum that the library makes of blocks for which it got none.
var nothingSummed = md5.Sum(make([]byte, 32))

// compare holds a copy against its source: by the checksums that the datanodes have of both, and where those are not of
// the same kind, by reading the copy.
func (w *writer) compare() error {
	opened, err := w.f.Open(w.ctx, idPath(w.id))
	if err != nil {
		return err
	}
	defer opened.Close()
	to := opened.(*file)
	if w.size == 0 || w.source.sameSum(to) {
		return nil
	}
	sum := xxhash.New()
	if _, err := io.Copy(sum, io.NewSectionReader(to, 0, w.size)); err != nil {
		return err
	}
	if sum.Sum64() != w.sum.Sum64() {
		return fmt.Errorf("%w: the copy is not what was read of %s", storage.ErrWriteAgain, w.source.name)
	}
	return nil
}

// sameSum reports whether the datanodes say the same of two files. They may not be able to say.
func (o *file) sameSum(of *file) bool {
	if o.raw.GetBlocksize() != of.raw.GetBlocksize() {
		return false
	}
	a, err := o.checksum()
	if err != nil || bytes.Equal(a, nothingSummed[:]) {
		return false
	}
	b, err := of.checksum()
	return err == nil && bytes.Equal(a, b)
}

func (o *file) checksum() ([]byte, error) {
	o.mu.Lock()
	s, err := o.open(0, o.info.Size, 0)
	o.mu.Unlock()
	if err != nil {
		return nil, err
	}
	defer s.close()
	return s.r.Checksum()
}
