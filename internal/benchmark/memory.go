//go:build unix

package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// limited is a merge under a memory limit.
type limited struct {
	Name   string
	Source string   // folder below changes
	Limit  string   // of --memory
	Old    bool     // into the table; else a new one is made
	Flags  []string // beside --from, --key and --memory
	Cost   cost
	Rows   string
}

// memory merges sources that are larger than the memory they may take, and says what the system counts for
// each process.
func (b bench) memory(ctx context.Context, binary, data string) ([]limited, error) {
	if err := script(ctx, b.Python, "large.py", data); err != nil {
		return nil, fmt.Errorf("generate the sources: %w", err)
	}
	list := []limited{
		{Name: "large", Source: "large", Limit: "8GiB", Old: true},
		{Name: "large", Source: "large", Limit: "512MiB", Old: true},
		{Name: "large", Source: "large", Limit: "128MiB", Old: true},
		{Name: "2000 partitions", Source: "parts", Limit: "512MiB", Flags: []string{"--create", "--partition-by", "part:int"}},
	}
	for i := range list {
		if err := b.limited(ctx, &list[i], binary, filepath.Join(data, "table"), filepath.Join(data, "changes", list[i].Source)); err != nil {
			return nil, fmt.Errorf("%s under %s: %w", list[i].Name, list[i].Limit, err)
		}
		l := list[i]
		fmt.Fprintf(os.Stderr, "%-16s %-7s %6.1f s wall  %6.1f s CPU  %5d MB  %s\n",
			l.Name, l.Limit, l.Cost.Wall.Seconds(), l.Cost.CPU.Seconds(), l.Cost.Peak>>20, l.Rows)
	}
	return list, nil
}

func (b bench) limited(ctx context.Context, l *limited, binary, table, source string) error {
	s := scene{subject: subject{Table: table}, Dir: filepath.Join(b.Work, "limited")}
	defer os.RemoveAll(b.Work)
	if err := os.MkdirAll(s.Dir, 0o755); err != nil {
		return err
	}
	if l.Old {
		if err := linkTable(ctx, s); err != nil {
			return err
		}
	}
	if err := settle(source); err != nil {
		return err
	}
	command := []string{binary, "upsert", s.out(), "--from", source, "--key", "l_orderkey,l_linenumber", "--memory", l.Limit,
		"--temp-dir", s.Dir, "--quiet", "--no-progress"}
	var err error
	if l.Cost, err = timed(ctx, append(command, l.Flags...)); err != nil {
		return err
	}
	if l.Rows, err = b.rows(ctx, s.out()); err != nil || l.Old {
		return err
	}
	// What a new table has is what its source has.
	want, err := b.rows(ctx, source)
	if err == nil && want != l.Rows {
		err = fmt.Errorf("the table has %s, the source %s", l.Rows, want)
	}
	return err
}

// rows counts and hashes the rows of a folder.
func (b bench) rows(ctx context.Context, dir string) (string, error) {
	text, err := exec.CommandContext(ctx, b.Python, "testdata/bench/rows.py", dir).Output()
	if err != nil {
		return "", fmt.Errorf("read the rows back: %w", err)
	}
	return strings.TrimSpace(string(text)), nil
}

// printLimited writes one line per merge; the first of a name is the reference for the rows of the others.
func printLimited(w io.Writer, list []limited) error {
	t := newTable("source", "--memory", "wall s", "CPU s", "peak MB", "rows")
	want := map[string]string{}
	for _, l := range list {
		verdict := "reference"
		switch rows, ok := want[l.Name]; {
		case !ok && !l.Old:
			verdict = "those of the source"
		case !ok:
		case rows == l.Rows:
			verdict = "equal"
		default:
			verdict = "DIFFER"
		}
		want[l.Name] = l.Rows
		t.add(l.Name, l.Limit, seconds(l.Cost.Wall), seconds(l.Cost.CPU), megabytes(l.Cost.Peak), verdict)
	}
	return t.write(w)
}
