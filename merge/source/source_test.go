package source

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// memFile is an open input in memory that knows whether it was closed.
type memFile struct {
	*bytes.Reader
	closed *int
}

func (f memFile) Close() error { *f.closed++; return nil }

func inputOf(t testing.TB, name string, f Format, data []byte) Input {
	t.Helper()
	opened, closed := 0, 0
	t.Cleanup(func() {
		if opened != closed {
			t.Errorf("%s: opened %d times, closed %d times", name, opened, closed)
		}
	})
	return Input{Name: name, Format: f, Size: int64(len(data)), Open: func(context.Context) (ReadCloserAt, error) {
		opened++
		return memFile{bytes.NewReader(data), &closed}, nil
	}}
}

func schemaOf(fields ...any) *arrow.Schema {
	var out []arrow.Field
	for i := 0; i < len(fields); i += 2 {
		out = append(out, arrow.Field{Name: fields[i].(string), Type: fields[i+1].(arrow.DataType), Nullable: true})
	}
	return arrow.NewSchema(out, nil)
}

// readAll reads an input to its end: its columns' names and types, and each row as JSON after its
// position.
func readAll(ctx context.Context, in Input, want *arrow.Schema, o Options) (columns string, rows []string, err error) {
	r, err := Open(ctx, in, want, o)
	if err != nil {
		return "", nil, err
	}
	defer func() { err = errors.Join(err, r.Close()) }()
	var names []string
	for _, f := range r.Schema().Fields() {
		names = append(names, f.Name+" "+f.Type.String())
	}
	columns = strings.Join(names, ", ")
	for {
		rec, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			return columns, rows, nil
		}
		if err != nil {
			return columns, rows, err
		}
		text, err := recordRows(rec)
		if err != nil {
			return columns, rows, err
		}
		for i, row := range text {
			rows = append(rows, fmt.Sprintf("%s %s", r.Position(i), row))
		}
		rec.Release()
	}
}

func recordRows(rec arrow.Record) ([]string, error) {
	rows := make([]string, rec.NumRows())
	for i := range rows {
		var parts []string
		for c, col := range rec.Columns() {
			one, err := json.Marshal(array.NewSlice(col, int64(i), int64(i+1)))
			if err != nil {
				return nil, err
			}
			parts = append(parts, fmt.Sprintf("%s=%s", rec.ColumnName(c), one[1:len(one)-1]))
		}
		rows[i] = strings.Join(parts, " ")
	}
	return rows, nil
}

// textCase is one input of text: what is read, or which error.
type textCase struct {
	name    string
	in      string
	want    *arrow.Schema
	o       Options
	columns string
	rows    []string
	err     error  // matched with errors.Is
	message string // how the error begins
}

func (c textCase) run(t *testing.T, file string, f Format) {
	t.Helper()
	for _, size := range []int{0, 1, 2} {
		c.o.BatchRows = size
		if f == NDJSON && size != 0 {
			continue // columns are those of the first batch
		}
		columns, rows, err := readAll(context.Background(), inputOf(t, file, f, []byte(c.in)), c.want, c.o)
		if c.err != nil {
			if !errors.Is(err, c.err) || !strings.HasPrefix(fmt.Sprint(err), c.message) {
				t.Errorf("batches of %d: got %v, want %v: %s", size, err, c.err, c.message)
			}
			continue
		}
		if err != nil {
			t.Fatalf("batches of %d: %v", size, err)
		}
		if columns != c.columns {
			t.Errorf("columns %s, want %s", columns, c.columns)
		}
		if got, want := strings.Join(rows, "\n"), strings.Join(c.rows, "\n"); got != want {
			t.Errorf("batches of %d: got\n%s\nwant\n%s", size, got, want)
		}
	}
}

func TestFormatOf(t *testing.T) {
	for name, want := range map[string]Format{"a.parquet": Parquet, "a/b.CSV": CSV, "x.jsonl": NDJSON, "x.arrows": Arrow} {
		if got, ok := FormatOf(name); !ok || got != want {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
	}
	for name, want := range map[string]Format{"data.csv.gz": CSV, "d.JSONL.zst": NDJSON} {
		if got, ok := FormatOf(name); !ok || got != want {
			t.Errorf("%s: %s, %v", name, got, ok)
		}
	}
	for _, name := range []string{"data.gz", "data.parquet.gz", "data.arrow.zst"} {
		if f, ok := FormatOf(name); ok {
			t.Errorf("%s taken for %s", name, f)
		}
	}
}

func TestSchemaNeedsTypes(t *testing.T) {
	for _, f := range []Format{CSV, NDJSON} {
		if _, err := Schema(context.Background(), inputOf(t, "x", f, nil)); !errors.Is(err, ErrUntyped) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

func TestOpenFails(t *testing.T) {
	gone := errors.New("gone")
	_, err := Open(context.Background(), Input{Name: "x.csv", Format: CSV,
		Open: func(context.Context) (ReadCloserAt, error) { return nil, gone }}, nil, Options{})
	if !errors.Is(err, gone) || !strings.Contains(err.Error(), "x.csv") {
		t.Errorf("got %v", err)
	}
	if _, err := Open(context.Background(), Input{Name: "x"}, nil, Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("neither file nor stream: %v", err)
	}
	for _, f := range []Format{Parquet, "xml"} {
		if _, err := Open(context.Background(), Input{Name: "-", Format: f, Stdin: strings.NewReader("")}, nil, Options{}); !errors.Is(err, ErrFormat) {
			t.Errorf("%s from a stream: %v", f, err)
		}
	}
}

// failingReader fails after some bytes.
type failingReader struct {
	r   io.Reader
	err error
}

func (f failingReader) Read(p []byte) (int, error) {
	n, err := f.r.Read(p)
	if errors.Is(err, io.EOF) {
		err = f.err
	}
	return n, err
}

func TestReadErrorsAreNotTheEnd(t *testing.T) {
	broken := errors.New("connection lost")
	for f, head := range map[Format]string{CSV: "a\n1\n2", NDJSON: "{\"a\":1}\n{\"a\":2}", Arrow: ""} {
		in := Input{Name: "-", Format: f, Stdin: failingReader{strings.NewReader(head), broken}}
		if _, rows, err := readAll(context.Background(), in, nil, Options{}); !errors.Is(err, broken) {
			t.Errorf("%s: %v, %v", f, rows, err)
		}
	}
}

func TestCancelled(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for f, text := range map[Format]string{CSV: "a\n1\n", NDJSON: "{\"a\":1}\n"} {
		if _, _, err := readAll(ctx, inputOf(t, "x", f, []byte(text)), nil, Options{}); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", f, err)
		}
	}
}

// TestBytesRead: all of an input is counted once it is read.
func TestBytesRead(t *testing.T) {
	const text = "a\n1\n2\n"
	r, err := Open(context.Background(), Input{Name: "-", Format: CSV, Stdin: strings.NewReader(text)}, nil, Options{})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := r.Next(context.Background())
	if err != nil {
		t.Fatal(err)
	}
	rec.Release()
	if r.BytesRead() != int64(len(text)) {
		t.Errorf("%d bytes", r.BytesRead())
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
