package faultfs

import (
	"errors"
	"io/fs"
	"os"
	"strings"
)

// line is one operation of the log.
type line struct {
	text   string
	detail string
	err    error
}

// Log is what was done that changes the disk or makes it durable, a line an operation, whether it
// failed or not: "create X", "rename A -> B", "exchange A <-> B", "syncdir D". It holds no sizes, so
// that it changes with the protocol only.
func (f *FS) Log() string {
	return f.print(func(l *line) string { return l.text })
}

// Trace is Log with the bytes of each write, what attributes were set to, and how an operation failed:
// "write X 123", "link A -> B: operation not supported".
func (f *FS) Trace() string {
	return f.print(func(l *line) string {
		text := l.text + l.detail
		if l.err != nil {
			text += ": " + cause(l.err).Error()
		}
		return text
	})
}

// ResetLog empties the log; the count goes on.
func (f *FS) ResetLog() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.log = nil
}

// note adds an operation to the log, if it belongs there. The lock is held.
func (f *FS) note(c call) *line {
	l := &line{detail: c.detail}
	arrow := " -> "
	if c.op == Exchange {
		arrow = " <-> "
	}
	l.text = f.shorten.Replace(string(c.op) + " " + strings.Join(c.names, arrow))
	if c.op.changes() {
		f.log = append(f.log, l)
	}
	return l
}

// done notes how an operation ended.
func (f *FS) done(l *line, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	l.err = err
}

// cause is an error without the names, which the line has already.
func cause(err error) error {
	var pe *fs.PathError
	var le *os.LinkError
	switch {
	case errors.As(err, &pe):
		return pe.Err
	case errors.As(err, &le):
		return le.Err
	}
	return err
}

func (f *FS) print(text func(*line) string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	for _, l := range f.log {
		b.WriteString(text(l))
		b.WriteByte('\n')
	}
	return b.String()
}
