package source

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// arrowReader reads both IPC formats.
type arrowReader struct {
	*input
	next    func() (arrow.Record, error) // the next record as stored; io.EOF
	release func() error
	picked  []int
	schema  *arrow.Schema
	batch   int64 // rows at most

	rec  arrow.Record // as stored, of which some rows may be left
	from int64        // its first row not given out
	row  int64        // rows given out before the last record
	last int64        // rows of the last record
}

var fileMagic = []byte("ARROW1")

func openArrow(f *input, o Options) (r Reader, err error) {
	defer guard(f.Name, &err)
	a := &arrowReader{input: f, batch: int64(o.BatchRows)}
	var stored *arrow.Schema
	buffered := bufio.NewReaderSize(f.stream(), f.buffer(1<<20))
	head, _ := buffered.Peek(len(fileMagic))
	if bytes.Equal(head, fileMagic) {
		stored, err = a.openFile(f)
	} else {
		stored, err = a.openStream(buffered)
	}
	if err != nil {
		place := &Error{Name: f.Name, Err: err}
		if strings.Contains(err.Error(), "decimal bitwidth") {
			place.Hint = "decimals of 32 and 64 bits can't be read; write them as decimal128"
		}
		return nil, place
	}
	if err := a.pick(stored, newWanted(o.Columns)); err != nil {
		return nil, errors.Join(&Error{Name: f.Name, Err: err}, a.release())
	}
	return a, nil
}

func (a *arrowReader) openFile(f *input) (*arrow.Schema, error) {
	if f.at == nil {
		return nil, fmt.Errorf("%w: Arrow's file format from a stream; use its stream format", ErrFormat)
	}
	limit := min(maxBuffer, minBuffer+compression*f.Size)
	r, err := ipc.NewFileReader(io.NewSectionReader(f, 0, f.Size), bounded(limit))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	i := 0
	a.next = func() (arrow.Record, error) {
		if i == r.NumRecords() {
			return nil, io.EOF
		}
		rec, err := r.RecordAt(i)
		i++
		return rec, err
	}
	a.release = r.Close
	return r.Schema(), nil
}

func (a *arrowReader) openStream(in io.Reader) (*arrow.Schema, error) {
	watched := &endWatch{r: in}
	r, err := ipc.NewReader(watched, bounded(maxBuffer))
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrFormat, err)
	}
	a.next = func() (arrow.Record, error) {
		rec, err := r.Read()
		switch {
		case err == nil:
			rec.Retain()
		case errors.Is(err, io.EOF) && watched.ended:
			// The module takes any end for the last, and a stream that broke off would lose rows.
			return nil, errors.New("the stream breaks off: it has no end-of-stream marker")
		}
		return rec, err
	}
	a.release = func() error { r.Release(); return nil }
	return r.Schema(), nil
}

// endWatch knows whether somebody read past the end.
type endWatch struct {
	r     io.Reader
	ended bool
}

func (e *endWatch) Read(p []byte) (int, error) {
	n, err := e.r.Read(p)
	e.ended = e.ended || errors.Is(err, io.EOF)
	return n, err
}

// Bounds of one buffer: what a stream may ask for, and what a file may by its size, since a damaged
// length would else take all memory.
const (
	maxBuffer   = int64(4 << 30)
	minBuffer   = int64(16 << 20)
	compression = 1000
)

type boundedAllocator struct {
	memory.Allocator
	limit int64
}

func bounded(limit int64) ipc.Option {
	return ipc.WithAllocator(boundedAllocator{memory.DefaultAllocator, limit})
}

// Allocate panics above the limit, which [guard] makes an error: the interface has no other way.
func (b boundedAllocator) Allocate(size int) []byte {
	b.check(size)
	return b.Allocator.Allocate(size)
}

// Reallocate does as Allocate.
func (b boundedAllocator) Reallocate(size int, old []byte) []byte {
	b.check(size)
	return b.Allocator.Reallocate(size, old)
}

func (b boundedAllocator) check(size int) {
	if size < 0 || int64(size) > b.limit {
		panic(fmt.Errorf("a buffer of %d bytes", size))
	}
}

// guard turns a panic of the IPC module, which trusts offsets in the input, into an error.
func guard(name string, err *error) {
	if p := recover(); p != nil {
		*err = &Error{Name: name, Err: fmt.Errorf("%w: %v", ErrFormat, p)}
	}
}

func (a *arrowReader) pick(stored *arrow.Schema, w wanted) (err error) {
	names := make([]string, stored.NumFields())
	for i, f := range stored.Fields() {
		names[i] = f.Name
	}
	if a.picked, err = w.pick(names); err != nil {
		return err
	}
	fields := make([]arrow.Field, len(a.picked))
	for i, at := range a.picked {
		fields[i] = stored.Field(at)
	}
	a.schema = arrow.NewSchema(fields, nil)
	return nil
}

// Schema implements Reader.
func (a *arrowReader) Schema() *arrow.Schema { return a.schema }

// Position implements Reader.
func (a *arrowReader) Position(row int) string { return place(a.Name, 0, a.row+int64(row)+1) }

// Next implements Reader.
func (a *arrowReader) Next(ctx context.Context) (rec arrow.Record, err error) {
	defer guard(a.Name, &err)
	a.row, a.last = a.row+a.last, 0
	for a.rec == nil || a.from == a.rec.NumRows() {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		if err := a.load(); err != nil {
			return nil, err
		}
	}
	to := min(a.from+a.batch, a.rec.NumRows())
	columns := make([]arrow.Array, len(a.picked))
	for i, at := range a.picked {
		columns[i] = array.NewSlice(a.rec.Column(at), a.from, to)
		defer columns[i].Release()
	}
	a.last, a.from = to-a.from, to
	return array.NewRecord(a.schema, columns, a.last), nil
}

func (a *arrowReader) load() error {
	a.drop()
	rec, err := a.next()
	switch {
	case errors.Is(err, io.EOF):
		return io.EOF
	case err != nil:
		return &Error{Name: a.Name, Row: a.row + 1, Err: fmt.Errorf("%w: %w", ErrFormat, err)}
	}
	a.rec, a.from = rec, 0
	return nil
}

func (a *arrowReader) drop() {
	if a.rec != nil {
		a.rec.Release()
		a.rec = nil
	}
}

// Close implements Reader.
func (a *arrowReader) Close() error {
	a.drop()
	return errors.Join(a.release(), a.close())
}
