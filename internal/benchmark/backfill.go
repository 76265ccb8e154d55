//go:build unix

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/parquet-go/parquet-go"
)

// A backfill's table has many small partitions, of which each is changed a little: what it takes is what a partition takes.
const (
	backfillParts   = 1000
	backfillRows    = 10_000
	backfillChanges = 100
)

// backfilledRow is a row of that table.
type backfilledRow struct {
	ID     int64   `parquet:"id"`
	Name   string  `parquet:"name"`
	Amount float64 `parquet:"amount"`
	Qty    int32   `parquet:"qty"`
	At     int64   `parquet:"at,timestamp(microsecond)"`
}

// backfilled is what backfills took on one file system.
type backfilled struct {
	Where string
	Costs []cost
	Fsync time.Duration // of a new file as large as a partition's, by the way
}

// backfill measures backfills on the disk, and in memory, where an fsync is nothing: the difference is what waiting for the disk costs.
func backfill(ctx context.Context, c config, work string) error {
	places := []backfilled{{Where: work}}
	if dir, err := os.MkdirTemp("/dev/shm", "hupsert-bench-"); err == nil {
		defer os.RemoveAll(dir)
		places = append(places, backfilled{Where: dir})
	}
	for i := range places {
		p := &places[i]
		for range c.Rounds {
			if err := p.round(ctx, c.Binary); err != nil {
				return err
			}
		}
		var err error
		if p.Fsync, err = fsyncTime(p.Where); err != nil {
			return err
		}
	}
	printBackfills(os.Stdout, places)
	return nil
}

// round backfills a table that is made for it.
func (p *backfilled) round(ctx context.Context, binary string) error {
	dir := filepath.Join(p.Where, "backfill")
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	first := time.Date(2023, 1, 1, 0, 0, 0, 0, time.UTC)
	last := ""
	for i := range backfillParts {
		last = first.AddDate(0, 0, i).Format(time.DateOnly)
		if err := backfillFile(filepath.Join(dir, "t", "dt="+last, "part-0.parquet"), backfillRows, 1, i); err != nil {
			return err
		}
		if err := backfillFile(filepath.Join(dir, "in", last+".parquet"), backfillChanges, backfillRows/backfillChanges, i+1); err != nil {
			return err
		}
	}
	if err := settle(filepath.Join(dir, "in")); err != nil {
		return err
	}
	took, text, err := timedOutput(ctx, []string{binary, "backfill", filepath.Join(dir, "t"), "--key", "id", "--from", filepath.Join(dir, "in", "{dt}.parquet"),
		"--range", "dt=" + first.Format(time.DateOnly) + ".." + last, "--quiet", "--output", "json"})
	if err != nil {
		return err
	}
	var report struct {
		Total struct{ Statuses map[string]int }
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		return err
	}
	if n := report.Total.Statuses["published"]; n != backfillParts {
		return fmt.Errorf("%d partitions were published, want %d", n, backfillParts)
	}
	p.Costs = append(p.Costs, took)
	return nil
}

// backfillFile writes rows whose ids are that far apart.
func backfillFile(name string, rows, apart, seed int) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	list := make([]backfilledRow, rows)
	for i := range list {
		list[i] = backfilledRow{ID: int64(i * apart), Name: fmt.Sprintf("name%d", i*7919%rows), Amount: float64(i*seed%1000) / 10, Qty: int32((i + seed) % 7),
			At: int64(i) * 1_000_000}
	}
	return parquet.WriteFile(name, list, parquet.Compression(&parquet.Snappy))
}

// fsyncTime is the median of a new file's fsync in a folder.
func fsyncTime(dir string) (time.Duration, error) {
	var all []time.Duration
	for i := range 101 {
		f, err := os.Create(filepath.Join(dir, fmt.Sprintf("fsync-%d", i)))
		if err != nil {
			return 0, err
		}
		if _, err := f.Write(make([]byte, 160<<10)); err != nil {
			return 0, err
		}
		started := time.Now()
		if err := f.Sync(); err != nil {
			return 0, err
		}
		all = append(all, time.Since(started))
		if err := f.Close(); err != nil {
			return 0, err
		}
		if err := os.Remove(f.Name()); err != nil {
			return 0, err
		}
	}
	slices.Sort(all)
	return all[len(all)/2], nil
}

// printBackfills writes a table in Markdown.
func printBackfills(w io.Writer, places []backfilled) {
	fmt.Fprintf(w, "A backfill of %d partitions of %d rows, of which %d change in each\n\n", backfillParts, backfillRows, backfillChanges)
	fmt.Fprintln(w, "| where | seconds | ms a partition | CPU ms a partition | ms of one fsync | peak |\n|---|---:|---:|---:|---:|---:|")
	for i, p := range places {
		slices.SortFunc(p.Costs, func(a, b cost) int { return int(a.Wall - b.Wall) })
		m := p.Costs[len(p.Costs)/2]
		fmt.Fprintf(w, "| %s | %.1f | %.1f | %.1f | %.2f | %d MiB |\n", []string{"disk", "memory"}[i], m.Wall.Seconds(), m.Wall.Seconds()*1000/backfillParts,
			m.CPU.Seconds()*1000/backfillParts, p.Fsync.Seconds()*1000, m.Peak>>20)
	}
}
