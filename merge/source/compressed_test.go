package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
)

func gzipped(t testing.TB, text string) []byte {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	if _, err := io.WriteString(w, text); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

func zstandard(t testing.TB, text string) []byte {
	t.Helper()
	w, err := zstd.NewWriter(nil)
	if err != nil {
		t.Fatal(err)
	}
	return w.EncodeAll([]byte(text), nil)
}

// TestCompressedText: both formats, one or several members, file or stream, read as their text does.
func TestCompressedText(t *testing.T) {
	s := schemaOf("a", tInt, "b", tStr)
	var csv, ndjson strings.Builder
	csv.WriteString("a,b\n")
	for i := range 5000 {
		fmt.Fprintf(&csv, "%d,text %d\n", i, i%7)
		fmt.Fprintf(&ndjson, "{\"a\":%d,\"b\":\"text %d\"}\n", i, i%7)
	}
	for format, text := range map[Format]string{CSV: csv.String(), NDJSON: ndjson.String()} {
		_, want, err := readAll(context.Background(), inputOf(t, "x", format, []byte(text)), s, Options{})
		if err != nil {
			t.Fatal(err)
		}
		half := strings.Index(text[len(text)/2:], "\n") + len(text)/2 + 1
		for name, data := range map[string][]byte{
			"gzip": gzipped(t, text), "zstd": zstandard(t, text),
			"two gzip members": append(gzipped(t, text[:half]), gzipped(t, text[half:])...),
			"two zstd frames":  append(zstandard(t, text[:half]), zstandard(t, text[half:])...),
		} {
			_, got, err := readAll(context.Background(), inputOf(t, "x", format, data), s, Options{BatchRows: 777})
			if err != nil || strings.Join(got, "\n") != strings.Join(want, "\n") {
				t.Errorf("%s %s: %d rows, want %d; %v", format, name, len(got), len(want), err)
			}
			_, got, err = readAll(context.Background(), Input{Name: "stdin", Format: format, Stdin: bytes.NewReader(data)}, s, Options{})
			if err != nil || len(got) != len(want) {
				t.Errorf("%s %s from a stream: %d rows, want %d; %v", format, name, len(got), len(want), err)
			}
			// Cut short, or damaged, it is refused.
			for _, bad := range [][]byte{data[:len(data)-5], data[:len(data)/2], append(bytes.Clone(data[:len(data)/2]), make([]byte, 100)...)} {
				if _, _, err := readAll(context.Background(), inputOf(t, "x", format, bad), s, Options{}); !errors.Is(err, ErrFormat) {
					t.Errorf("%s %s damaged: %v", format, name, err)
				}
			}
		}
	}
}

// TestCompressedBomb: a small file that holds very long lines ends as a long line does.
func TestCompressedBomb(t *testing.T) {
	data := gzipped(t, "a\n"+strings.Repeat("1", maxRowBytes+1<<20))
	if _, _, err := readAll(context.Background(), inputOf(t, "x", CSV, data), schemaOf("a", tStr), Options{}); !errors.Is(err, ErrFormat) {
		t.Errorf("got %v", err)
	}
}
