package enginetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestRandomDiffs shows what random upserts would change, by counts and as a change feed, carries them out, and compares the
// old table with the new one: DuckDB's full outer joins must say the same, and the feed applied to the old rows must give
// the new ones. HUPSERT_DIFF_CASES (else HUPSERT_CASES), HUPSERT_SEED and HUPSERT_KEEP are as for TestRandomUpserts; where
// nobody says how many, it is as many as HUPSERT_DIFF_SECONDS allow.
func TestRandomDiffs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	dir, hupsert := folder(t), binary(t)
	count, limit := number(t, "HUPSERT_DIFF_CASES", number(t, "HUPSERT_CASES", 0)), 12*time.Hour
	if count == 0 {
		count, limit = 100, time.Duration(number(t, "HUPSERT_DIFF_SECONDS", 10))*time.Second
	}
	seed := number(t, "HUPSERT_SEED", int(time.Now().Unix()))
	t.Logf("%d cases, HUPSERT_SEED=%d", count, seed)
	must(t, "engines/cases.py", dir, strconv.Itoa(count), strconv.Itoa(seed), "0")
	cases, err := filepath.Glob(filepath.Join(dir, "case-*"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	faults, start := make([]string, len(cases)), time.Now()
	var done atomic.Int64
	var group errgroup.Group
	group.SetLimit(2)
	for i, c := range cases {
		group.Go(func() error {
			if time.Since(start) > limit {
				return nil
			}
			done.Add(1)
			var more []string
			if i%3 == 0 { // what it reads does not fit
				more = []string{"--memory", "20KiB"}
			}
			if err := diffCase(t, hupsert, c, more); err != nil {
				faults[i] = fmt.Sprintf("%s: %v", filepath.Base(c), err)
			}
			return nil
		})
	}
	_ = group.Wait()
	report(t, faults)
	t.Logf("%d cases in time", done.Load())
	compare(t, "engines/diff.py", dir)
}

// diffCase leaves diff.json, feed.parquet and compare.json in a case's folder, and its table merged.
func diffCase(t *testing.T, hupsert, dir string, more []string) error {
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return err
	}
	var about struct{ Args, Keys []string }
	if err := json.Unmarshal(text, &about); err != nil {
		return err
	}
	run := func(codes []int, to string, args ...string) error {
		cmd := exec.CommandContext(t.Context(), hupsert, append(args, append([]string{"--output", "json", "--no-progress"}, more...)...)...)
		cmd.Dir = dir
		out, err := output(cmd)
		var exit *exec.ExitError
		code := 0
		if errors.As(err, &exit) {
			code = exit.ExitCode()
		}
		for _, ok := range codes {
			if code == ok {
				return os.WriteFile(filepath.Join(dir, to), []byte(out), 0o644)
			}
		}
		return fmt.Errorf("hupsert %s: %w", strings.Join(args, " "), err)
	}
	if err := run([]int{0}, "diff.json", append([]string{"diff", "table", "--to", "feed.parquet"}, about.Args...)...); err != nil {
		return err
	}
	if err := run([]int{0}, "report.json", append([]string{"upsert", "table"}, about.Args...)...); err != nil {
		return err
	}
	// 3: a key stands twice.
	return run([]int{0, 3}, "compare.json", "compare", "old", "table", "--key", strings.Join(about.Keys, ","))
}
