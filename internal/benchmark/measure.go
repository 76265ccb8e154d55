//go:build unix

package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"
)

// bench runs all tools on one table.
type bench struct {
	Work   string // removed by the caller
	Table  string
	Python string
	Tools  []tool
}

// cost is what one run took.
type cost struct {
	Wall time.Duration
	CPU  time.Duration // user and system, children included
	Peak int64         // bytes resident
}

// result is one case: costs by tool, in the order of bench.Tools, and what was said of its rows.
type result struct {
	Case  string
	Tools []string
	Costs [][]cost
	Rows  []string // "same as duckdb" or not; empty for copies
}

// measure runs every tool once per round, in turns.
func (b bench) measure(ctx context.Context, name, changes string, rounds int) (result, error) {
	r := result{Case: name, Costs: make([][]cost, len(b.Tools)), Rows: make([]string, len(b.Tools))}
	for _, t := range b.Tools {
		r.Tools = append(r.Tools, t.Name)
	}
	for round := range rounds {
		for i, t := range b.Tools {
			c, rows, err := b.once(ctx, t, changes, round == 0)
			if err != nil {
				return r, fmt.Errorf("%s: %w", t.Name, err)
			}
			fmt.Fprintf(os.Stderr, "%-12s round %d  %-9s %6.2f s wall  %6.2f s CPU  %5d MB  %s\n",
				name, round+1, t.Name, c.Wall.Seconds(), c.CPU.Seconds(), c.Peak>>20, rows)
			r.Costs[i] = append(r.Costs[i], c)
			if round == 0 {
				r.Rows[i] = rows
			}
		}
	}
	return r, nil
}

// once prepares a scene, measures the tool on it, and when check is set says how many rows came out and their hash.
func (b bench) once(ctx context.Context, t tool, changes string, check bool) (cost, string, error) {
	s := scene{Table: b.Table, Changes: changes, Dir: filepath.Join(b.Work, t.Name)}
	defer os.RemoveAll(b.Work)
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return cost{}, "", err
	}
	if t.Prepare != nil {
		if err := t.Prepare(ctx, s); err != nil {
			return cost{}, "", err
		}
	}
	if err := settle(s.Table, s.Changes); err != nil {
		return cost{}, "", err
	}
	c, err := timed(ctx, t.Command(s))
	if err != nil || !check || !t.Merges {
		return c, "", err
	}
	rows, err := b.rows(ctx, s.out())
	return c, rows, err
}

// settle lets no tool pay for another: what earlier runs left to be written goes to disk, and all inputs are read once.
func settle(dirs ...string) error {
	syscall.Sync()
	for _, dir := range dirs {
		files, err := filepath.Glob(filepath.Join(dir, "*.parquet"))
		if err != nil {
			return err
		}
		for _, name := range files {
			if err := readAll(name); err != nil {
				return err
			}
		}
	}
	return nil
}

func readAll(name string) error {
	f, err := os.Open(name)
	if err != nil {
		return err
	}
	defer f.Close()
	_, err = io.Copy(io.Discard, f)
	return err
}

// timed runs a command to its end. The figures are the kernel's, from wait4: they include the tool's start and its
// threads and children. This process stays small, since a child's peak begins with its parent's.
func timed(ctx context.Context, command []string) (cost, error) {
	c, _, err := timedOutput(ctx, command)
	return c, err
}

// timedOutput is timed, and gives what the command has printed.
func timedOutput(ctx context.Context, command []string) (cost, string, error) {
	var output bytes.Buffer
	cmd := exec.CommandContext(ctx, command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = &output, &output
	start := time.Now()
	err := cmd.Run()
	wall := time.Since(start)
	if err != nil {
		return cost{}, "", fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, output.String())
	}
	usage, ok := cmd.ProcessState.SysUsage().(*syscall.Rusage)
	if !ok {
		return cost{}, "", fmt.Errorf("no resource usage on this system")
	}
	peak := usage.Maxrss
	if runtime.GOOS != "darwin" {
		peak *= 1024 // kibibytes everywhere but there
	}
	return cost{Wall: wall, CPU: cmd.ProcessState.UserTime() + cmd.ProcessState.SystemTime(), Peak: peak}, output.String(), nil
}
