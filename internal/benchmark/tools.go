//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
)

// scene is what one run of a tool works on.
type scene struct {
	subject
	Dir string // empty, the run's own, on the same file system
}

// out is where a tool leaves the merged rows.
func (s scene) out() string { return filepath.Join(s.Dir, "lineitem") }

// tool is one way to do the merge.
type tool struct {
	Name    string
	Prepare func(ctx context.Context, s scene) error         // not measured; nil for nothing
	Run     func(ctx context.Context, s scene) (cost, error) // measured
	Merges  bool                                             // false for the copies, whose rows are the old ones
	Once    bool                                             // takes so long that one round must do
}

// reference is the tool whose rows are held to be right, as far as a benchmark goes.
const reference = "duckdb"

func tools(c config) []tool {
	const script = "testdata/bench/merge.py"
	engine := func(name string) func(context.Context, scene) (cost, error) {
		return func(ctx context.Context, s scene) (cost, error) {
			return timed(ctx, durable(s.out(), c.Python, script, name, s.task(s.out())))
		}
	}
	plain := func(command string) func(context.Context, scene) (cost, error) {
		return func(ctx context.Context, s scene) (cost, error) {
			return timed(ctx, []string{"sh", "-c", command, "sh", s.Table, s.out()})
		}
	}
	all := []tool{
		{Name: "hupsert", Merges: true, Prepare: linkTable, Run: hupsert(c.Binary)},
		{Name: reference, Merges: true, Run: engine("duckdb")},
		{Name: "polars", Merges: true, Run: engine("polars")},
		{
			Name: "delta-rs", Merges: true, Once: true, Run: engine("delta"),
			Prepare: func(ctx context.Context, s scene) error {
				text, err := exec.CommandContext(ctx, c.Python, script, "delta-table", s.task(s.out())).CombinedOutput()
				if err != nil {
					return fmt.Errorf("make the Delta table: %w\n%s", err, text)
				}
				return nil
			},
		},
		{Name: "cp", Run: plain(`cp -r "$1" "$2"`)},
		{Name: "cp+sync", Run: plain(`cp -r "$1" "$2" && sync "$2"/* "$2"`)},
	}
	if c.Spark != "" {
		all = slices.Insert(all, len(all)-2, tool{Name: "spark", Merges: true, Once: true, Run: spark(c.Spark)})
	}
	return all
}

// hupsert runs the command, which tells by its report which way the bytes took.
func hupsert(binary string) func(context.Context, scene) (cost, error) {
	return func(ctx context.Context, s scene) (cost, error) {
		command := []string{binary, "upsert", s.out(), "--from", s.Changes, "--key", strings.Join(s.Key, ","), "--mode", s.Mode,
			"--output", "json", "--quiet", "--no-progress"}
		if s.Columns != nil {
			command = append(command, "--columns", strings.Join(s.Columns, ","))
		}
		c, output, err := timedOutput(ctx, command)
		if err != nil {
			return c, err
		}
		var report struct{ Total struct{ Bytes routed } }
		if err := json.Unmarshal([]byte(output), &report); err != nil {
			return c, fmt.Errorf("the report: %w\n%s", err, output)
		}
		c.Routed = report.Total.Bytes
		return c, nil
	}
}

// durable runs a command and then writes what it left in a folder to disk: hupsert's rows are safe from a
// power cut when it returns, and the time of the others is measured up to the same point.
func durable(dir string, command ...string) []string {
	const script = `dir=$1; shift; "$@" && find "$dir" -type f -exec sync {} + && sync "$dir"`
	return append([]string{"sh", "-c", script, "sh", dir}, command...)
}

// chosen keeps the tools named, or those of a variant where none is; hupsert always runs, since the ratios are against it.
func chosen(all []tool, names []string, ofVariant bool) []tool {
	if len(names) == 0 && ofVariant {
		names = []string{"duckdb", "polars", "cp+sync"}
	}
	if len(names) == 0 {
		return all
	}
	return slices.DeleteFunc(all, func(t tool) bool { return t.Name != "hupsert" && !slices.Contains(names, t.Name) })
}

// linkTable gives hupsert a table of its own over the same bytes: it never changes a file in place.
func linkTable(_ context.Context, s scene) error {
	if err := os.Mkdir(s.out(), 0o755); err != nil {
		return err
	}
	entries, err := os.ReadDir(s.Table)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if err := os.Link(filepath.Join(s.Table, e.Name()), filepath.Join(s.out(), e.Name())); err != nil {
			return err
		}
	}
	return nil
}
