package source

import (
	"context"
	"fmt"
	"io"
	"sync/atomic"
)

// input is an open [Input] that counts what is read.
type input struct {
	Input
	at      ReadCloserAt // nil for a stream
	read    atomic.Int64
	decoder io.Closer // of compressed text; nil without
}

func openInput(ctx context.Context, in Input) (*input, error) {
	f := &input{Input: in}
	if in.Open == nil {
		if in.Stdin == nil {
			return nil, &Error{Name: in.Name, Err: fmt.Errorf("%w: neither a file nor a stream", ErrFormat)}
		}
		return f, nil
	}
	at, err := in.Open(ctx)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", in.Name, err)
	}
	f.at = at
	return f, nil
}

// ReadAt reads a file by range.
func (f *input) ReadAt(p []byte, off int64) (int, error) {
	n, err := f.at.ReadAt(p, off)
	f.read.Add(int64(n))
	return n, err
}

// Unwrap gives the file itself, for copies that pass by memory.
func (f *input) Unwrap() io.ReaderAt { return f.at }

// stream reads the input from its start, once.
func (f *input) stream() io.Reader {
	if f.at == nil {
		return &countingReader{r: f.Stdin, read: &f.read}
	}
	return io.NewSectionReader(f, 0, f.Size)
}

// buffer is how large a buffer of at most so many bytes should be: a source may be of very many small files.
func (f *input) buffer(most int) int {
	const compression = 8 // where there is more behind the bytes than they are, it will do as well
	if f.at == nil || f.Size >= int64(most)/compression {
		return most
	}
	return max(4096, int(f.Size)*compression)
}

// BytesRead is how many bytes were read so far.
func (f *input) BytesRead() int64 { return f.read.Load() }

func (f *input) close() error {
	if f.decoder != nil {
		_ = f.decoder.Close() // it only frees memory
		f.decoder = nil
	}
	if f.at == nil {
		return nil
	}
	at := f.at
	f.at = nil
	return at.Close()
}

type countingReader struct {
	r    io.Reader
	read *atomic.Int64
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.r.Read(p)
	c.read.Add(int64(n))
	return n, err
}
