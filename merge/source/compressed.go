package source

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync/atomic"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

// maxZstdWindow is the most memory that a Zstandard stream may ask for to look back.
const maxZstdWindow = 128 << 20

// text reads an input of text, decompressed: gzip, of several members too, and Zstandard are told by
// their first bytes. plain counts what comes out.
func (f *input) text() (r io.Reader, plain *atomic.Int64, err error) {
	plain = new(atomic.Int64)
	in := bufio.NewReaderSize(f.stream(), f.buffer(1<<16))
	head, err := in.Peek(4)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, nil, err
	}
	r = in
	switch {
	case bytes.HasPrefix(head, []byte("\x1F\x8B")):
		z, err := gzip.NewReader(in)
		if err != nil {
			return nil, nil, fmt.Errorf("%w: gzip: %w", ErrFormat, err)
		}
		r = &decompressed{r: z, by: "gzip"}
	case bytes.HasPrefix(head, []byte("\x28\xB5\x2F\xFD")):
		z, err := zstd.NewReader(in, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxWindow(maxZstdWindow))
		if err != nil {
			return nil, nil, fmt.Errorf("%w: Zstandard: %w", ErrFormat, err)
		}
		f.decoder = z.IOReadCloser()
		r = &decompressed{r: z, by: "Zstandard"}
	}
	return &countingReader{r: r, read: plain}, plain, nil
}

// decompressed says of an error whose it is.
type decompressed struct {
	r  io.Reader
	by string
}

func (d *decompressed) Read(p []byte) (int, error) {
	n, err := d.r.Read(p)
	if err != nil && !errors.Is(err, io.EOF) {
		err = fmt.Errorf("%w: %s: %w", ErrFormat, d.by, err)
	}
	return n, err
}
