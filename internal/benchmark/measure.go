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

// bench runs tools in turns.
type bench struct {
	Work   string // removed by the caller
	Python string
	Tools  []tool
	Rounds int
	Duel   bool // after the first round, of the other tools only the fastest goes on
}

// cost is what one run took.
type cost struct {
	Wall   time.Duration
	CPU    time.Duration // user and system, children included
	User   time.Duration
	Peak   int64 // bytes resident
	Routed routed
}

// routed says which way the bytes of a run took, as docs/cli.md has it; only hupsert tells.
type routed struct{ Read, Kept, Copied, Patched, Rewritten, Added int64 }

// written is what a run wrote of data.
func (r routed) written() int64 { return r.Copied + r.Patched + r.Rewritten + r.Added }

// result is what was measured of one subject.
type result struct {
	Case  string
	Bytes int64 // of the table
	Tools []runs
}

// runs are those of one tool: one a round, from the first one on.
type runs struct {
	Tool  string
	Costs []cost
	Rows  string // number and hash of what it left; empty for copies
	Fault string // why it does not go on
}

// measure runs every tool once per round, in turns. A tool that fails is left out from then on, and said so; not hupsert.
func (b bench) measure(ctx context.Context, s subject) (r result, err error) {
	r.Case = s.Name
	if r.Bytes, err = folderBytes(s.Table); err != nil {
		return r, err
	}
	for _, t := range b.Tools {
		r.Tools = append(r.Tools, runs{Tool: t.Name})
	}
	for round := range b.Rounds {
		for i, t := range b.Tools {
			of := &r.Tools[i]
			if of.Fault != "" || round > 0 && (t.Once || b.Duel && t.Merges && !r.first(i)) {
				continue
			}
			c, rows, err := b.once(ctx, t, s, round == 0)
			if err != nil {
				if ctx.Err() != nil || t.Name == "hupsert" {
					return r, fmt.Errorf("%s: %w", t.Name, err)
				}
				fmt.Fprintf(os.Stderr, "%-16s round %d  %-9s %v\n", s.Name, round+1, t.Name, err)
				of.Fault = "failed"
				continue
			}
			fmt.Fprintf(os.Stderr, "%-16s round %d  %-9s %6.2f s wall  %6.2f s CPU  %5d MB  %s\n",
				s.Name, round+1, t.Name, c.Wall.Seconds(), c.CPU.Seconds(), c.Peak>>20, rows)
			of.Costs = append(of.Costs, c)
			if round == 0 {
				of.Rows = rows
			}
		}
	}
	return r, nil
}

// first says whether a tool was the fastest of those that merge in the first round, or is hupsert.
func (r result) first(i int) bool {
	if r.Tools[i].Tool == "hupsert" {
		return true
	}
	for _, other := range r.Tools {
		if other.Tool != "hupsert" && other.Rows != "" && other.Costs[0].Wall < r.Tools[i].Costs[0].Wall {
			return false
		}
	}
	return true
}

// once measures one run in a folder of its own, which is gone afterwards. The rows are what it left, if they are asked for.
func (b bench) once(ctx context.Context, t tool, merge subject, check bool) (cost, string, error) {
	s := scene{subject: merge, Dir: filepath.Join(b.Work, t.Name)}
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
	c, err := t.Run(ctx, s)
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
	user, system := cmd.ProcessState.UserTime(), cmd.ProcessState.SystemTime()
	return cost{Wall: wall, CPU: user + system, User: user, Peak: peak}, output.String(), nil
}
