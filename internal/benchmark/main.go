//go:build unix

// Command benchmark measures an upsert side by side with what a user would take instead, on TPC-H lineitem: DuckDB
// and Polars (anti-join and union), delta-rs (merge), and plain copies of the files as the limit. The tools run in
// turns, round after round, so that a disturbance of the machine meets them all; one table with medians is printed.
// `make bench` starts it with what it needs. No timing is asserted: the table is read by people.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
)

// config is what the command line says.
type config struct {
	Binary string   // hupsert
	Python string   // with the packages of testdata/requirements.txt
	Cache  string   // generated data and the work folder; must be one file system
	Scale  string   // TPC-H scale factor; 2 is 12 million rows
	Rounds int      // each tool runs so often per case
	Cases  []string // of these changes only; nil means all
	Tools  []string // these tools only; nil means all
	HDFS   bool     // on an HDFS of its own instead of this machine's disk
	Copy   string   // the folder on HDFS that this process only copies, for the benchmark's own sake
	To     string   // where to
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := start(ctx, parse())
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "benchmark:", err)
		os.Exit(1)
	}
}

func parse() config {
	c := config{Python: os.Getenv("HUPSERT_PYTHON")}
	flag.StringVar(&c.Binary, "binary", "bin/hupsert", "the command measured")
	flag.StringVar(&c.Cache, "cache", "", "folder of the generated data and the outputs")
	flag.StringVar(&c.Scale, "scale", "2", "TPC-H scale factor; 2 is 12 million rows")
	flag.IntVar(&c.Rounds, "rounds", 3, "runs of each tool per case")
	names := flag.String("cases", "", "comma-separated: random-0.01, last-1, random-1, all, memory; with -hdfs last-1, random-1, small")
	tools := flag.String("tools", "", "comma-separated: hupsert, duckdb, polars, delta-rs, cp, cp+sync; with -hdfs copy, rename, location, spark")
	flag.BoolVar(&c.HDFS, "hdfs", false, "measure on an HDFS and a Hive Metastore that are started for it")
	flag.StringVar(&c.Copy, "copy", "", "copy this folder on HDFS and end")
	flag.StringVar(&c.To, "to", "", "with -copy: a folder of the same HDFS that is there")
	flag.Parse()
	c.Cases, c.Tools = list(*names), list(*tools)
	return c
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func start(ctx context.Context, c config) error {
	if c.Copy != "" {
		return copyFolder(ctx, c.Copy, c.To)
	}
	if c.Python == "" {
		return fmt.Errorf("no Python with the engines: `make bench` installs it where python3 and its package index are there")
	}
	if c.HDFS {
		return onHDFS(ctx, c)
	}
	binary, err := filepath.Abs(c.Binary)
	if err != nil {
		return err
	}
	data, writer, err := generate(ctx, c)
	if err != nil {
		return fmt.Errorf("generate the data: %w", err)
	}
	work := filepath.Join(c.Cache, fmt.Sprintf("work-%d", os.Getpid()))
	defer os.RemoveAll(work)

	b := bench{
		Work: work, Table: filepath.Join(data, "table"), Python: c.Python,
		Tools: chosen(tools(binary, c.Python), c.Tools),
	}
	var results []result
	for _, name := range []string{"random-0.01", "last-1", "random-1", "all"} {
		if len(c.Cases) > 0 && !slices.Contains(c.Cases, name) {
			continue
		}
		r, err := b.measure(ctx, name, filepath.Join(data, "changes", name), c.Rounds)
		if err != nil {
			return fmt.Errorf("case %s: %w", name, err)
		}
		results = append(results, r)
	}
	if len(results) > 0 {
		size, err := folderBytes(b.Table)
		if err != nil {
			return err
		}
		fmt.Printf("\nTPC-H lineitem, scale %s: 4 files, %d MB, written by %s; %d cores, median of %d rounds in turns, page cache warm\n\n",
			c.Scale, size>>20, writer, runtime.NumCPU(), c.Rounds)
		if err := printTable(os.Stdout, results); err != nil {
			return err
		}
	}
	if len(c.Cases) > 0 && !slices.Contains(c.Cases, "memory") {
		return nil
	}
	merges, err := b.memory(ctx, binary, data)
	if err != nil {
		return err
	}
	fmt.Println("\nMore source rows than the table has, in no order; the peak is the kernel's figure for the process")
	fmt.Println()
	return printLimited(os.Stdout, merges)
}

// generate makes the data unless an earlier run did, and says who wrote the files.
func generate(ctx context.Context, c config) (dir, writer string, err error) {
	dir = filepath.Join(c.Cache, "sf"+c.Scale+"-"+writerKind())
	cmd := exec.CommandContext(ctx, c.Python, "testdata/bench/generate.py", dir, c.Scale)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	if err := cmd.Run(); err != nil {
		return "", "", err
	}
	text, err := os.ReadFile(filepath.Join(dir, "complete"))
	return dir, strings.TrimSpace(string(text)), err
}

// writerKind is who writes the data's files.
func writerKind() string {
	if os.Getenv("HUPSERT_SPARK") != "" {
		return "spark"
	}
	return "pyarrow"
}

func folderBytes(dir string) (int64, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return 0, err
	}
	var total int64
	for _, e := range entries {
		info, err := e.Info()
		if err != nil {
			return 0, err
		}
		total += info.Size()
	}
	return total, nil
}
