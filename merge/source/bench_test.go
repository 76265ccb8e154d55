package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

// BenchmarkText: throughput of the two text formats with common types.
func BenchmarkText(b *testing.B) {
	want := schemaOf("id", tInt, "s", tStr, "d", tDate, "t", tUTC, "m", tDec, "f", tF64)
	var csv, nd bytes.Buffer
	csv.WriteString("id,s,d,t,m,f\n")
	for i := range 50000 {
		fmt.Fprintf(&csv, "%d,text %d,2024-01-02,2024-01-02T03:04:05.123456Z,%d.25,%d.5\n", i, i, i, i)
		fmt.Fprintf(&nd, `{"id":%d,"s":"text %d","d":"2024-01-02","t":"2024-01-02T03:04:05.123456Z","m":%d.25,"f":%d.5}`+"\n", i, i, i, i)
	}
	for f, data := range map[Format][]byte{CSV: csv.Bytes(), NDJSON: nd.Bytes()} {
		b.Run(string(f), func(b *testing.B) {
			b.SetBytes(int64(len(data)))
			b.ReportAllocs()
			for b.Loop() {
				drain(b, Input{Name: "x", Format: f, Stdin: bytes.NewReader(data)}, want)
			}
		})
	}
}

func drain(b *testing.B, in Input, want *arrow.Schema) {
	r, err := Open(context.Background(), in, want, Options{})
	if err != nil {
		b.Fatal(err)
	}
	for {
		rec, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			b.Fatal(err)
		}
		rec.Release()
	}
	if err := r.Close(); err != nil {
		b.Fatal(err)
	}
}
