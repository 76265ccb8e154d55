package splice

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

// BenchmarkCheckSealed checks the files with which `make bench` replaces its whole table, as they are checked to be adopted, beside decoding
// them. HUPSERT_BENCH_DATA names the folder that the bench made. CPU seconds of a machine that others use say more than the time.
func BenchmarkCheckSealed(b *testing.B) {
	dir := os.Getenv("HUPSERT_BENCH_DATA")
	if dir == "" {
		b.Skip("HUPSERT_BENCH_DATA names no folder; make bench makes one")
	}
	paths, err := filepath.Glob(filepath.Join(dir, "changes", "all", "*.parquet"))
	if err != nil || len(paths) == 0 {
		b.Fatal("no files in", dir)
	}
	var files []*File
	for _, path := range paths {
		in, err := os.Open(path)
		if err != nil {
			b.Fatal(err)
		}
		b.Cleanup(func() { in.Close() })
		info, err := in.Stat()
		if err != nil {
			b.Fatal(err)
		}
		f, err := Open(in, info.Size(), path)
		if err != nil {
			b.Fatal(err)
		}
		files = append(files, f)
	}
	for _, way := range []struct {
		name  string
		check func(f *File, rg, col int) error
	}{
		{"sealed", func(f *File, rg, col int) error { return f.CheckSealed(b.Context(), rg, col) }},
		{"decoded", func(f *File, rg, col int) error { return f.CheckChunk(b.Context(), rg, col) }},
	} {
		b.Run(way.name, func(b *testing.B) {
			before := cpuSeconds(b)
			for b.Loop() {
				for _, f := range files {
					for rg := range f.NumRowGroups() {
						for col := range f.Schema().Leaves {
							if err := way.check(f, rg, col); err != nil {
								b.Fatal(err)
							}
						}
					}
				}
			}
			b.ReportMetric((cpuSeconds(b)-before)/float64(b.N), "cpu-s/op")
		})
	}
}

// cpuSeconds is what the process has used so far.
func cpuSeconds(b *testing.B) float64 {
	var usage syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &usage); err != nil {
		b.Fatal(err)
	}
	return (time.Duration(usage.Utime.Nano()) + time.Duration(usage.Stime.Nano())).Seconds()
}
