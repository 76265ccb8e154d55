package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

func record(t testing.TB, s *arrow.Schema, text string) arrow.Record {
	t.Helper()
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, s, strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

// seekBuffer is a buffer that Arrow's file writer can write to.
type seekBuffer struct{ bytes.Buffer }

func (b *seekBuffer) Seek(off int64, whence int) (int64, error) {
	if off == 0 && whence == io.SeekCurrent {
		return int64(b.Len()), nil
	}
	return 0, fmt.Errorf("seek %d from %d", off, whence)
}

func arrowFile(t testing.TB, stream bool, s *arrow.Schema, batches ...string) []byte {
	t.Helper()
	var buf seekBuffer
	var w interface {
		Write(arrow.Record) error
		Close() error
	}
	if stream {
		w = ipc.NewWriter(&buf, ipc.WithSchema(s))
	} else {
		f, err := ipc.NewFileWriter(&buf, ipc.WithSchema(s), ipc.WithZstd())
		if err != nil {
			t.Fatal(err)
		}
		w = f
	}
	for _, b := range batches {
		if err := w.Write(record(t, s, b)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func TestArrow(t *testing.T) {
	s := schemaOf("a", tInt, "b", tStr, "l", arrow.ListOf(tInt))
	batches := []string{`[{"a":1,"b":"x","l":[1]},{"a":2},{"a":3,"b":"z","l":[]}]`, `[]`, `[{"a":4,"l":[null,5]}]`}
	want := []string{`x.arrow row 1 a=1 b="x" l=[1]`, `x.arrow row 2 a=2 b=null l=null`, `x.arrow row 3 a=3 b="z" l=[]`, `x.arrow row 4 a=4 b=null l=[null,5]`}
	for _, stream := range []bool{false, true} {
		data := arrowFile(t, stream, s, batches...)
		for _, size := range []int{0, 1, 2} {
			columns, rows, err := readAll(context.Background(), inputOf(t, "x.arrow", Arrow, data), nil, Options{BatchRows: size})
			if err != nil {
				t.Fatal(err)
			}
			if columns != "a int32, b utf8, l list<item: int32, nullable>" {
				t.Errorf("columns %s", columns)
			}
			if strings.Join(rows, "\n") != strings.Join(want, "\n") {
				t.Errorf("stream %v, batches of %d: %q", stream, size, rows)
			}
		}
		columns, rows, err := readAll(context.Background(), inputOf(t, "x", Arrow, data), nil, Options{Columns: []string{"L", "absent", "a"}})
		if err != nil || columns != "a int32, l list<item: int32, nullable>" || rows[0] != "x row 1 a=1 l=[1]" {
			t.Errorf("columns chosen: %s, %q, %v", columns, rows, err)
		}
		got, err := Schema(context.Background(), inputOf(t, "x", Arrow, data))
		if err != nil || !got.Equal(s) {
			t.Errorf("schema %v, %v", got, err)
		}
	}
	stream := Input{Name: "-", Format: Arrow, Stdin: bytes.NewReader(arrowFile(t, true, s, batches...))}
	if _, rows, err := readAll(context.Background(), stream, nil, Options{}); err != nil || len(rows) != 4 {
		t.Errorf("standard input: %q, %v", rows, err)
	}
	file := Input{Name: "-", Format: Arrow, Stdin: bytes.NewReader(arrowFile(t, false, s, batches...))}
	if _, _, err := readAll(context.Background(), file, nil, Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("the file format from standard input: %v", err)
	}
}

func TestArrowNames(t *testing.T) {
	data := arrowFile(t, true, schemaOf("a", tInt, "A", tInt), `[{"a":1,"A":2}]`)
	if _, _, err := readAll(context.Background(), inputOf(t, "x", Arrow, data), nil, Options{}); !errors.Is(err, ErrColumns) {
		t.Errorf("names that differ in case: %v", err)
	}
}

// TestArrowCutOff: every cut is an error, and no panic.
func TestArrowCutOff(t *testing.T) {
	for _, stream := range []bool{false, true} {
		data := arrowFile(t, stream, schemaOf("a", tInt), `[{"a":1},{"a":2}]`, `[{"a":3}]`)
		for i := range data {
			_, rows, err := readAll(context.Background(), inputOf(t, "x", Arrow, data[:i]), nil, Options{})
			if err == nil {
				t.Errorf("stream %v cut at %d of %d is no error: %q", stream, i, len(data), rows)
			}
		}
	}
}

func TestArrowBuffersAreBounded(t *testing.T) {
	err := func() (err error) {
		defer guard("x", &err)
		a := boundedAllocator{memory.DefaultAllocator, 100}
		a.Reallocate(101, a.Allocate(100))
		return nil
	}()
	if !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}
