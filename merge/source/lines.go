package source

import (
	"bufio"
	"bytes"
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
	plain *atomic.Int64
}

// openLines opens an input of text, compressed or not.
func openLines(f *input) (*lineReader, error) {
	r, plain, err := f.text()
	if err != nil {
		return nil, err
	}
	l := &lineReader{r: bufio.NewReaderSize(r, 1<<20), plain: plain}
	head, err := l.r.Peek(3)
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	switch {
	case bytes.HasPrefix(head, []byte("\xEF\xBB\xBF")):
		_, err = l.r.Discard(3)
		return l, err
	case bytes.HasPrefix(head, []byte("\xFF\xFE")), bytes.HasPrefix(head, []byte("\xFE\xFF")):
		return nil, fmt.Errorf("%w: UTF-16 text; convert it to UTF-8", ErrFormat)
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
