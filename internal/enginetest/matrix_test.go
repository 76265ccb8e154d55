package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestMatrix merges into old files of every writer, type, codec and page version: Spark, DuckDB, pyarrow, Polars, fastparquet and
// parquet-go, with the type as payload, key or version, and a source by one of them. DuckDB, pyarrow and Spark's two readers
// must read the model's rows. HUPSERT_MATRIX says how much of it is run: 1 takes each type of each writer with
// each codec, in one page version by turns, 2 in both, 0.4 (the default, another part of it each time) four tenths. HUPSERT_SEED
// and HUPSERT_KEEP are those of TestRandomUpserts.
func TestMatrix(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	dir, hupsert := folder(t), binary(t)
	seed, share := number(t, "HUPSERT_SEED", int(time.Now().Unix())), os.Getenv("HUPSERT_MATRIX")
	if share == "" {
		share = "0.4"
	}
	t.Logf("HUPSERT_SEED=%d HUPSERT_MATRIX=%s", seed, share)
	start := time.Now()
	took := func(what string) { t.Logf("%s after %.0f s", what, time.Since(start).Seconds()) }

	var spark *session
	if os.Getenv("HUPSERT_SPARK") != "" {
		spark = startSession(t)
	}
	must(t, "engines/matrix.py", "plan", dir, strconv.Itoa(seed), share, strconv.FormatBool(spark != nil))
	took("planned")
	var writers errgroup.Group
	writers.Go(func() error { return writeByParquetGo(filepath.Join(dir, "parquet-go-write.json")) })
	if spark != nil {
		spark.do(t, filepath.Join(dir, "spark-write.json"))
	}
	if err := writers.Wait(); err != nil {
		t.Fatal(err)
	}
	must(t, "engines/matrix.py", "keep", dir)
	took("written")
	mergeMatrix(t, hupsert, dir)
	took("merged")
	readMatrix(t, spark, dir)
	took("read")

	out, err := script(t, "engines/matrix.py", "figures", dir)
	for line := range strings.Lines(out) {
		if told, ok := strings.CutPrefix(line, "= "); ok {
			t.Log(strings.TrimSpace(told))
		} else {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && !t.Failed() {
		t.Fatal(err)
	}
	took("done")
	if spark == nil {
		engine(t, "HUPSERT_SPARK", "Spark")
	}
}

// mergeMatrix runs the command for every combination, a few at a time. It must succeed, or refuse in one of the words that
// case.json has, for what is met first; then it leaves a file of that name.
func mergeMatrix(t *testing.T, hupsert, dir string) {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join(dir, "case-*"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	faults := make([]string, len(cases))
	var adopted atomic.Int64
	var group errgroup.Group
	group.SetLimit(2)
	for i, c := range cases {
		group.Go(func() error {
			out, err := mergeOne(t, hupsert, c)
			if copiedOnly(out) {
				adopted.Add(1)
			}
			if err != nil {
				faults[i] = fmt.Sprintf("%s: %v", filepath.Base(c), err)
			}
			return nil
		})
	}
	_ = group.Wait()
	report(t, faults)
	t.Logf("%d took the source's files", adopted.Load())
}

func mergeOne(t *testing.T, hupsert, dir string) (string, error) {
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return "", err
	}
	var about struct{ Refused []string }
	if err := json.Unmarshal(text, &about); err != nil {
		return "", err
	}
	out, err := upsert(t, hupsert, dir)
	switch {
	case len(about.Refused) == 0:
		return out, err
	case err == nil:
		return out, fmt.Errorf("not refused: %q", about.Refused)
	case !slices.ContainsFunc(about.Refused, func(words string) bool { return strings.Contains(err.Error(), words) }):
		return "", fmt.Errorf("refused, but not since %q: %w", about.Refused, err)
	}
	return "", os.WriteFile(filepath.Join(dir, "refused"), []byte(err.Error()), 0o644)
}

// readMatrix has the merged tables read by all engines and compared with the model.
func readMatrix(t *testing.T, spark *session, dir string) {
	t.Helper()
	var found string
	var others errgroup.Group
	others.Go(func() (err error) {
		found, err = script(t, "engines/matrix.py", "check", dir)
		return err
	})
	if spark != nil {
		must(t, "engines/matrix.py", "tasks", dir)
		spark.do(t, filepath.Join(dir, "spark-read.json"))
		must(t, "engines/matrix.py", "again", dir)
		spark.do(t, filepath.Join(dir, "spark-again.json"))
		compare(t, "engines/matrix.py", "spark", dir)
	}
	err := others.Wait()
	reportScript(t, "engines/matrix.py", found, err)
}
