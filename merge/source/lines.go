package source

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
)

// maxRowBytes bounds one row of text. A quote that is never closed would else take the whole file into
// memory.
const maxRowBytes = 64 << 20

// lineReader reads lines and counts them.
type lineReader struct {
	r    *bufio.Reader
	line int64 // number of the last line read
	long []byte
	// plain counts the bytes of text that were read ahead.
	plain   *atomic.Int64
	charset charset
}

// openLines opens an input of text, compressed or not, in UTF-8 or a charset.
func openLines(f *input, c charset) (*lineReader, error) {
	r, plain, err := f.text()
	if err != nil {
		return nil, err
	}
	l := &lineReader{r: bufio.NewReaderSize(r, f.buffer(1<<20)), plain: plain}
	if l.charset, err = c.settle(l.r); err != nil {
		return nil, err
	}
	if l.charset != utf8Text {
		l.r = bufio.NewReaderSize(l.charset.decode(l.r), f.buffer(1<<20))
	}
	return l, nil
}

// next returns a line and its end ("\n", "\r\n" or nothing at the end of the input), both valid until
// the next call; io.EOF after the last.
func (l *lineReader) next() (line, end []byte, err error) {
	chunk, err := l.r.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) {
		chunk, err = l.rest(chunk)
	}
	if err != nil && (!errors.Is(err, io.EOF) || len(chunk) == 0) {
		return nil, nil, err
	}
	l.line++
	n := len(chunk)
	if n > 0 && chunk[n-1] == '\n' {
		n--
	}
	if n > 0 && chunk[n-1] == '\r' {
		n--
	}
	return chunk[:n], chunk[n:], nil
}

// rest collects a line longer than the buffer.
func (l *lineReader) rest(chunk []byte) ([]byte, error) {
	l.long = append(l.long[:0], chunk...)
	for {
		chunk, err := l.r.ReadSlice('\n')
		l.long = append(l.long, chunk...)
		if len(l.long) > maxRowBytes {
			l.line++
			return nil, fmt.Errorf("%w: line longer than %d MiB", ErrFormat, maxRowBytes>>20)
		}
		if !errors.Is(err, bufio.ErrBufferFull) {
			return l.long, err
		}
	}
}
