package merge_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// BenchmarkLineitem merges the changes of `make bench` into its table, without publishing: for
// profiles. HUPSERT_BENCH_DATA names the folder that the bench made.
func BenchmarkLineitem(b *testing.B) {
	dir := os.Getenv("HUPSERT_BENCH_DATA")
	if dir == "" {
		b.Skip("HUPSERT_BENCH_DATA names no folder; make bench makes one")
	}
	for _, change := range []string{"last-1", "random-0.01", "random-1", "all"} {
		b.Run(change, func(b *testing.B) {
			for range b.N {
				mergeLineitem(b, dir, change)
			}
			var usage syscall.Rusage
			_ = syscall.Getrusage(syscall.RUSAGE_SELF, &usage)
			b.ReportMetric(float64(usage.Maxrss)/1024, "peak-MiB")
		})
	}
}

func mergeLineitem(b *testing.B, dir, change string) {
	ctx := context.Background()
	files, err := filepath.Glob(filepath.Join(dir, "table", "*.parquet"))
	if err != nil || len(files) == 0 {
		b.Fatal("no table in", dir)
	}
	task := merge.Task{Options: merge.Options{Key: []string{"l_orderkey", "l_linenumber"}}}
	for _, f := range files {
		task.Old = append(task.Old, merge.Old{Name: filepath.Base(f), Open: func(context.Context) (io.ReaderAt, int64, io.Closer, error) {
			file, err := os.Open(f)
			if err != nil {
				return nil, 0, nil, err
			}
			info, err := file.Stat()
			return file, info.Size(), file, err
		}})
	}
	task.Schema = schemaOf(b, files[0])
	changes, _ := filepath.Glob(filepath.Join(dir, "changes", change, "*.parquet"))
	for _, f := range changes {
		task.Batches = append(task.Batches, readBatches(b, f, task.Schema)...)
	}
	p, err := merge.Prepare(ctx, task)
	if err != nil {
		b.Fatal(err)
	}
	out := b.TempDir()
	sink := &diskSink{dir: out}
	if _, err := p.Write(ctx, sink); err != nil {
		b.Fatal(err)
	}
	b.Logf("%+v %+v", p.Counts(), p.Seconds())
	if err := p.Close(); err != nil {
		b.Fatal(err)
	}
	os.RemoveAll(out)
	runtime.GC()
}

func schemaOf(b *testing.B, name string) *arrow.Schema {
	f, err := os.Open(name)
	if err != nil {
		b.Fatal(err)
	}
	defer f.Close()
	info, _ := f.Stat()
	pf, err := splice.Open(f, info.Size(), name)
	if err != nil {
		b.Fatal(err)
	}
	s, err := shred.ArrowSchema(pf.Schema())
	if err != nil {
		b.Fatal(err)
	}
	return s
}

func readBatches(b *testing.B, name string, want *arrow.Schema) []merge.Batch {
	info, err := os.Stat(name)
	if err != nil {
		b.Fatal(err)
	}
	r, err := source.Open(context.Background(), source.Input{Name: name, Format: source.Parquet, Size: info.Size(),
		Open: func(context.Context) (source.ReadCloserAt, error) { return os.Open(name) }}, want, source.Options{KeepDictionary: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { r.Close() })
	var out []merge.Batch
	for _, rows := range r.(source.Stretcher).Stretches() {
		out = append(out, merge.Batch{Columns: rows, Position: rows.Position})
	}
	return out
}

type diskSink struct{ dir string }

func (s *diskSink) Keep(context.Context, string) error { return nil }

func (s *diskSink) Create(_ context.Context, ordinal int) (splice.Output, func() error, error) {
	f, err := os.Create(filepath.Join(s.dir, strings.Repeat("x", ordinal+1)))
	return fileOutput{f}, f.Close, err
}

type fileOutput struct{ *os.File }

func (o fileOutput) CopyRange(src io.ReaderAt, off, n int64) error {
	_, err := io.Copy(o.File, io.NewSectionReader(src, off, n))
	return err
}
