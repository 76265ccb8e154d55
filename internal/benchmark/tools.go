//go:build unix

package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
)

// scene is what one run of a tool works on.
type scene struct {
	Table   string // the old files; never changed
	Changes string // the source
	Dir     string // empty, the run's own, on the same file system
}

// out is where a tool leaves the merged rows.
func (s scene) out() string { return filepath.Join(s.Dir, "lineitem") }

// tool is one way to do the upsert.
type tool struct {
	Name    string
	Prepare func(ctx context.Context, s scene) error // not measured; nil for nothing
	Command func(s scene) []string                   // measured
	Merges  bool                                     // false for the copies, whose rows are the old ones
}

func tools(binary, python string) []tool {
	const script = "testdata/bench/merge.py"
	engine := func(name string) func(scene) []string {
		return func(s scene) []string { return durable(s.out(), python, script, name, s.Table, s.Changes, s.out()) }
	}
	return []tool{
		{
			Name:    "hupsert",
			Merges:  true,
			Prepare: linkTable,
			Command: func(s scene) []string {
				return []string{
					binary, "upsert", s.out(), "--from", s.Changes, "--key", "l_orderkey,l_linenumber", "--quiet", "--no-progress",
				}
			},
		},
		{Name: "duckdb", Merges: true, Command: engine("duckdb")},
		{Name: "polars", Merges: true, Command: engine("polars")},
		{
			Name:    "delta-rs",
			Merges:  true,
			Command: engine("delta"),
			Prepare: func(ctx context.Context, s scene) error {
				text, err := exec.CommandContext(ctx, python, script, "delta-table", s.Table, s.out()).CombinedOutput()
				if err != nil {
					return fmt.Errorf("make the Delta table: %w\n%s", err, text)
				}
				return nil
			},
		},
		{Name: "cp", Command: func(s scene) []string { return []string{"cp", "-r", s.Table, s.out()} }},
		{Name: "cp+sync", Command: func(s scene) []string {
			return []string{"sh", "-c", `cp -r "$1" "$2" && sync "$2"/* "$2"`, "sh", s.Table, s.out()}
		}},
	}
}

// durable runs a command and then writes what it left in a folder to disk: hupsert's rows are safe from a
// power cut when it returns, and the time of the others is measured up to the same point.
func durable(dir string, command ...string) []string {
	const script = `dir=$1; shift; "$@" && find "$dir" -type f -exec sync {} + && sync "$dir"`
	return append([]string{"sh", "-c", script, "sh", dir}, command...)
}

// chosen keeps the tools named; hupsert always runs, since the ratios are against it.
func chosen(all []tool, names []string) []tool {
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
