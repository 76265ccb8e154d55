package enginetest

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage/local"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// TestReadersSeeLiveRows reads a table's folder as people do, by DuckDB's **, Polars' folder scan, pyarrow's data set and
// others, after merges that left history, and while another run has staged its files: each sees the live rows, once.
func TestReadersSeeLiveRows(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	dir, hupsert := folder(t), binary(t)
	table := filepath.Join(dir, "warehouse", "orders")
	must(t, "engines/live.py", "make", dir)
	compare(t, "engines/live.py", "check", dir, "0")

	const runs = 3
	for run := 1; run <= runs; run++ {
		source := filepath.Join(dir, "changes", strconv.Itoa(run)+".parquet")
		cmd := exec.CommandContext(t.Context(), hupsert, "upsert", table, "--from", source, "--key", "id", "--no-progress")
		if out, err := output(cmd); err != nil {
			t.Fatalf("change %d: %v\n%s", run, err, out)
		}
		compare(t, "engines/live.py", "check", dir, strconv.Itoa(run))
	}
	history := filepath.Join(dir, "warehouse", ".hupsert", "orders", "history")
	if n := len(parquetFiles(t, history)); n == 0 {
		t.Errorf("no old versions below %s: there was nothing that readers could have seen", history)
	}

	staged, abort := stageCopy(t, table, "dt=2026-01-02")
	if n := len(parquetFiles(t, staged)); n == 0 {
		t.Errorf("nothing staged below %s", staged)
	}
	compare(t, "engines/live.py", "check", dir, strconv.Itoa(runs))
	abort()
	compare(t, "engines/live.py", "check", dir, strconv.Itoa(runs))
	onlyData(t, table)
}

// stageCopy brings a run to where all its files are sealed and nothing is published, and returns the state folder and what
// undoes the run. What it stages are the live partition's rows: a reader who saw them would count them twice.
func stageCopy(t *testing.T, table, partition string) (state string, abort func()) {
	t.Helper()
	ctx := t.Context()
	store, err := swap.Open(ctx, local.FS{}, table, swap.Options{})
	if err != nil {
		t.Fatal(err)
	}
	run, err := store.Begin(ctx, "20261120T010203Z-0000", "upsert", true)
	if err != nil {
		t.Fatal(err)
	}
	if err := run.Lease(ctx, []string{partition}); err != nil {
		t.Fatal(err)
	}
	dir, err := run.Stage(ctx, partition)
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range parquetFiles(t, filepath.Join(table, partition)) {
		write(ctx, t, dir, "staged-"+strconv.Itoa(i)+".parquet", name)
	}
	if _, err := dir.Seal(ctx, stage.Manifest{}); err != nil {
		t.Fatal(err)
	}
	return store.StateDir(), func() {
		if err := run.Abort(ctx); err != nil {
			t.Error(err)
		}
	}
}

func write(ctx context.Context, t *testing.T, dir *stage.Dir, name, from string) {
	t.Helper()
	content, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	w, err := dir.Create(ctx, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.Copy(w, bytes.NewReader(content)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func parquetFiles(t *testing.T, dir string) (files []string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() && strings.HasSuffix(path, ".parquet") {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// onlyData holds that the table's folder has partitions with Parquet files and nothing else.
func onlyData(t *testing.T, table string) {
	t.Helper()
	err := filepath.WalkDir(table, func(path string, d fs.DirEntry, err error) error {
		if err != nil || path == table {
			return err
		}
		name := d.Name()
		if d.IsDir() != strings.HasPrefix(name, "dt=") || (!d.IsDir() && !strings.HasSuffix(name, ".parquet")) {
			t.Errorf("%s lies in the table's folder", path)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
