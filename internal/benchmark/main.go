//go:build unix

// Command benchmark measures merges side by side with what a user would take instead, on TPC-H lineitem: DuckDB and
// Polars (anti-join and union, or left join), delta-rs (merge), Spark (full outer join), and plain copies of the files as
// the limit. The tools run in turns, round after round, so that a disturbance of the machine meets them all; tables in
// Markdown with medians are printed, and kept as JSON for the chart. `make bench` starts it with what it needs.
// No timing is asserted, but all tools must leave the same rows.
package main

import (
	"cmp"
	"context"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// config is what the command line says.
type config struct {
	Binary   string   // hupsert
	Python   string   // with the packages of testdata/requirements.txt
	Cache    string   // generated data and the work folder; must be one file system
	Spark    string   // a JVM's file of arguments; empty where there is no Spark
	Scale    string   // TPC-H scale factor; 2 is 12 million rows
	Variants []string // tables; nil means lineitem itself
	Report   bool     // print what earlier runs have measured and end
	Data     bool     // make the data and end
	Rounds   int      // each tool runs so often per case
	Cases    []string // of these changes only; nil means all
	Tools    []string // these tools only; nil means all
	HDFS     bool     // on an HDFS of its own instead of this machine's disk
	Copy     string   // the folder on HDFS that this process only copies, for the benchmark's own sake
	To       string   // where to
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
	c := config{Python: os.Getenv("HUPSERT_PYTHON"), Spark: os.Getenv("HUPSERT_SPARK")}
	flag.StringVar(&c.Binary, "binary", "bin/hupsert", "the command measured")
	flag.StringVar(&c.Cache, "cache", "", "folder of the generated data and the outputs")
	flag.StringVar(&c.Scale, "scale", "2", "TPC-H scale factor; 2 is 12 million rows")
	flag.IntVar(&c.Rounds, "rounds", 3, "runs of each tool per case")
	names := flag.String("cases", "", "comma-separated: "+strings.Join(caseNames(), ", ")+", memory, daily (a year of merges, only where it is named); or backfill alone; with -hdfs last-1, random-1, small")
	tools := flag.String("tools", "", "comma-separated: hupsert, duckdb, polars, delta-rs, spark, cp, cp+sync; with -hdfs copy, rename, location, spark")
	tables := flag.String("variants", "", "comma-separated: all, or "+strings.Join(variantNames(), ", "))
	flag.BoolVar(&c.Report, "report", false, "print what was measured at this scale and end")
	flag.BoolVar(&c.Data, "data", false, "make the data and end")
	flag.BoolVar(&c.HDFS, "hdfs", false, "measure on an HDFS and a Hive Metastore that are started for it")
	flag.StringVar(&c.Copy, "copy", "", "copy this folder on HDFS and end")
	flag.StringVar(&c.To, "to", "", "with -copy: a folder of the same HDFS that is there")
	flag.Parse()
	c.Cases, c.Tools, c.Variants = list(*names), list(*tools), list(*tables)
	return c
}

func list(s string) []string {
	return strings.FieldsFunc(s, func(r rune) bool { return r == ',' || r == ' ' })
}

func start(ctx context.Context, c config) error {
	if c.Copy != "" {
		return copyFolder(ctx, c.Copy, c.To)
	}
	if c.Report {
		return reprint(os.Stdout, c)
	}
	if c.Python == "" {
		return fmt.Errorf("no Python with the engines: `make bench` installs it where python3 and its package index are there")
	}
	if c.HDFS {
		return onHDFS(ctx, c)
	}
	var err error
	if c.Binary, err = filepath.Abs(c.Binary); err != nil {
		return err
	}
	work := filepath.Join(c.Cache, fmt.Sprintf("work-%d", os.Getpid()))
	defer os.RemoveAll(work)
	if slices.Equal(c.Cases, []string{"backfill"}) {
		return backfill(ctx, c, work)
	}
	for _, v := range variants() {
		if !c.wants(v) {
			continue
		}
		if err := onVariant(ctx, c, v, work); err != nil {
			return fmt.Errorf("%s: %w", cmp.Or(v.Name, "lineitem"), err)
		}
	}
	if !c.Data && slices.Contains(c.Cases, "daily") {
		if err := onDaily(ctx, c, bench{Work: work, Python: c.Python}); err != nil {
			return fmt.Errorf("daily: %w", err)
		}
	}
	if c.Data || len(c.Variants) > 0 || len(c.Cases) > 0 && !slices.Contains(c.Cases, "memory") {
		return nil
	}
	base := c.folder("")
	merges, err := bench{Work: work, Python: c.Python}.memory(ctx, c.Binary, base)
	if err != nil {
		return err
	}
	fmt.Println("\nMore source rows than the table has, in no order; the peak is the kernel's figure for the process")
	fmt.Println()
	return printLimited(os.Stdout, merges)
}

func (c config) wants(v variant) bool {
	if v.Name == "" {
		return len(c.Variants) == 0
	}
	return slices.Contains(c.Variants, v.Name) || slices.Contains(c.Variants, "all")
}

// folder is where the data of a variant is kept.
func (c config) folder(variant string) string {
	name := "sf" + c.Scale + "-" + writerKind()
	if variant != "" {
		name += "-" + variant
	}
	return filepath.Join(c.Cache, name)
}

// onVariant measures the changes of one variant and prints what came of it.
func onVariant(ctx context.Context, c config, v variant, work string) error {
	if err := generate(ctx, c, v); err != nil {
		return fmt.Errorf("generate the data: %w", err)
	}
	if c.Data {
		return nil
	}
	b := bench{Work: work, Python: c.Python, Tools: chosen(tools(c), c.Tools, v.Name != ""), Rounds: c.Rounds, Duel: v.Name != ""}
	var results []result
	for _, s := range v.subjects(c.folder(""), c.folder(v.Name)) {
		if name, _, _ := strings.Cut(s.Name, " "); len(c.Cases) > 0 && !slices.Contains(c.Cases, name) {
			continue
		}
		r, err := b.measure(ctx, s)
		if err != nil {
			return fmt.Errorf("case %s: %w", s.Name, err)
		}
		results = append(results, r)
		if err := remember(c, v, r); err != nil {
			return err
		}
	}
	if err := printVariant(os.Stdout, c, v, results); err != nil {
		return err
	}
	if wrong := differing(results); wrong != nil {
		return fmt.Errorf("other rows than %s's: %s", reference, strings.Join(wrong, ", "))
	}
	return nil
}

// generate makes what is not there of a variant's data.
func generate(ctx context.Context, c config, v variant) error {
	base := c.folder("")
	if err := script(ctx, c.Python, append([]string{"generate.py", base, c.Scale}, v.lineitemCases()...)...); err != nil || v.Name == "" {
		return err
	}
	return script(ctx, c.Python, "variants.py", v.Name, base, c.folder(v.Name), c.Scale)
}

// script runs one of the benchmark's scripts.
func script(ctx context.Context, python string, arguments ...string) error {
	cmd := exec.CommandContext(ctx, python, append([]string{"testdata/bench/" + arguments[0]}, arguments[1:]...)...)
	cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
	return cmd.Run()
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
