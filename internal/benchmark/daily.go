//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"time"
)

// dailyMerges is how many merges go into one table.
const dailyMerges = 365

// daily is a year of merges into one table: 1 % of its rows updated and 0.1 % inserted each day, all over it.
type daily struct {
	Name    string
	Flags   []string // of each merge
	Compact []string // flags of compactions; nil: there are none
	Every   int      // days between them
	Merges  time.Duration
	Joins   time.Duration
	Joined  int // compactions that found something to do
	Due     int // merges that called one due
	Shape   layout
	Rows    string
}

// layout is how a table lies in files, and what a full scan of it takes.
type layout struct {
	Files           int     `json:"files"`
	RowGroups       int     `json:"row_groups"`
	Bytes           int64   `json:"bytes"`
	DictionaryBytes int64   `json:"dictionary_bytes"`
	Seconds         float64 `json:"seconds"`
	Times           float64 `json:"times"` // of the freshly written one's
}

// onDaily measures and prints what a year of merges leaves.
func onDaily(ctx context.Context, c config, b bench) error {
	table, sources := filepath.Join(c.folder(""), "table"), filepath.Join(c.folder(""), "daily")
	if err := os.MkdirAll(sources, 0o755); err != nil {
		return err
	}
	if err := script(ctx, c.Python, "daily.py", "changes", table, sources, strconv.Itoa(dailyMerges)); err != nil {
		return fmt.Errorf("generate the changes: %w", err)
	}
	defer os.RemoveAll(b.Work)
	single := []string{"--target-file-size", "1"}
	years := []*daily{
		{Name: "upsert alone"},
		{Name: "upsert, compact every 30 days", Compact: []string{}, Every: 30},
		{Name: "a file a day, upsert alone", Flags: single},
		{Name: "a file a day, compact --due", Flags: single, Compact: []string{"--due"}, Every: 1},
	}
	names := []string{filepath.Join(b.Work, "fresh")}
	for i, y := range years {
		s := scene{subject: subject{Table: table}, Dir: filepath.Join(b.Work, strconv.Itoa(i))}
		if err := os.MkdirAll(s.Dir, 0o755); err != nil {
			return err
		}
		if err := linkTable(ctx, s); err != nil {
			return err
		}
		if err := y.year(ctx, c.Binary, s.out(), sources); err != nil {
			return fmt.Errorf("%s: %w", y.Name, err)
		}
		var err error
		if y.Rows, err = b.rows(ctx, s.out()); err != nil {
			return err
		}
		names = append(names, s.out())
	}
	if err := os.Mkdir(names[0], 0o755); err != nil {
		return err
	}
	if err := script(ctx, c.Python, "daily.py", "fresh", names[1], names[0]); err != nil {
		return err
	}
	text, err := exec.CommandContext(ctx, c.Python, append([]string{"testdata/bench/daily.py", "scan"}, names...)...).Output()
	if err != nil {
		return err
	}
	var layouts []layout
	if err := json.Unmarshal(text, &layouts); err != nil {
		return err
	}
	for i, y := range years {
		y.Shape = layouts[i+1]
		if y.Rows != years[0].Rows {
			err = fmt.Errorf("%s has other rows than %s", y.Name, years[0].Name)
		}
	}
	fmt.Printf("\n%d daily merges into TPC-H lineitem, scale %s, and a full scan by DuckDB\n\n", dailyMerges, c.Scale)
	if e := printDaily(os.Stdout, years, layouts[0]); e != nil {
		return e
	}
	return err
}

// year merges one source after the other.
func (y *daily) year(ctx context.Context, binary, table, sources string) error {
	key := []string{"--key", "l_orderkey,l_linenumber", "--output", "json", "--quiet", "--no-progress"}
	for day := range dailyMerges {
		from := filepath.Join(sources, fmt.Sprintf("day-%03d.parquet", day))
		merge, took, err := dailyRun(ctx, append(append([]string{binary, "upsert", table, "--from", from}, key...), y.Flags...))
		if err != nil {
			return err
		}
		y.Merges += took
		if merge.due() {
			y.Due++
		}
		if y.Compact != nil && (day+1)%y.Every == 0 {
			joined, took, err := dailyRun(ctx, append(append([]string{binary, "compact", table}, key...), y.Compact...))
			if err != nil {
				return err
			}
			y.Joins += took
			if joined.published() {
				y.Joined++
			}
		}
		if day%30 == 29 { // what every version keeps would fill the disk
			if _, err := timed(ctx, []string{binary, "vacuum", table, "--keep", "1ns", "--quiet"}); err != nil {
				return err
			}
		}
	}
	fmt.Fprintf(os.Stderr, "%-30s %6.1f s of merges  %6.1f s of %d compactions\n", y.Name, y.Merges.Seconds(), y.Joins.Seconds(), y.Joined)
	return nil
}

// dailyReport is what a run tells of its partition.
type dailyReport struct {
	Partitions []struct {
		Status        string `json:"status"`
		CompactionDue string `json:"compaction_due"`
	} `json:"partitions"`
}

func (r dailyReport) due() bool { return len(r.Partitions) > 0 && r.Partitions[0].CompactionDue != "" }
func (r dailyReport) published() bool {
	return len(r.Partitions) > 0 && r.Partitions[0].Status == "published"
}

func dailyRun(ctx context.Context, command []string) (r dailyReport, took time.Duration, err error) {
	c, output, err := timedOutput(ctx, command)
	if err == nil {
		err = json.Unmarshal([]byte(output), &r)
	}
	return r, c.Wall, err
}

// printDaily writes one line per year, and first the rows as they are when they are written at once.
func printDaily(w io.Writer, years []*daily, fresh layout) error {
	t := newTable("way", "merges s", "due", "compactions", "s", "files", "row groups", "MB", "dictionaries MB", "scan s", "x fresh")
	add := func(name, merges, due, joined, joins string, l layout) {
		t.add(name, merges, due, joined, joins, strconv.Itoa(l.Files), strconv.Itoa(l.RowGroups), megabytes(l.Bytes), megabytes(l.DictionaryBytes),
			fmt.Sprintf("%.3f", l.Seconds), fmt.Sprintf("%.2f", l.Times))
	}
	add("written at once", "", "", "", "", fresh)
	for _, y := range years {
		add(y.Name, seconds(y.Merges), strconv.Itoa(y.Due), strconv.Itoa(y.Joined), seconds(y.Joins), y.Shape)
	}
	return t.write(w)
}
