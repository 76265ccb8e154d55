package enginetest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
)

// TestRandomUpserts merges random sources into random tables written by pyarrow, DuckDB, Polars and Spark, and compares the
// outcome, half of them compacted afterwards, with DuckDB's full outer join of the same files, EXCEPT ALL both ways, then with what Spark's two readers make
// of the output, filters on and around its bounds included. HUPSERT_CASES, HUPSERT_SEED and HUPSERT_KEEP choose how many,
// which, and where they stay.
func TestRandomUpserts(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	dir, hupsert := folder(t), binary(t)
	count, seed := number(t, "HUPSERT_CASES", 300), number(t, "HUPSERT_SEED", int(time.Now().Unix()))
	withSpark := os.Getenv("HUPSERT_SPARK") != ""
	t.Logf("%d cases, HUPSERT_SEED=%d", count, seed)

	sparkCases := 0
	if withSpark {
		sparkCases = min(count/2, number(t, "HUPSERT_SPARK_CASES", 20))
	}
	must(t, "engines/cases.py", dir, strconv.Itoa(count), strconv.Itoa(seed), strconv.Itoa(sparkCases))
	if sparkCases > 0 {
		report(t, spark(t, filepath.Join(dir, "spark-write.json")))
		must(t, "engines/cases.py", "link", dir)
	}
	upsertAll(t, hupsert, dir)

	t.Run("duckdb", func(t *testing.T) {
		compare(t, "engines/check.py", dir)
	})
	t.Run("spark", func(t *testing.T) {
		engine(t, "HUPSERT_SPARK", "Spark")
		must(t, "engines/check.py", "filters", dir)
		report(t, blamed(t, dir, spark(t, filepath.Join(dir, "spark-read.json"))))
		compare(t, "engines/check.py", "spark", dir)
	})
}

// blamed leaves out the faults of cases of which Spark can't read what was there before: pages that other engines write
// may be beyond it. They are marked, so that nobody compares what it read of them.
func blamed(t *testing.T, dir string, faults []string) []string {
	t.Helper()
	tasks, named := bytes.Buffer{}, map[string]bool{}
	for _, f := range faults {
		name, _, _ := strings.Cut(f, ":")
		for _, folder := range []string{"old", "source"} {
			in := filepath.Join(dir, name, folder)
			if files, _ := filepath.Glob(filepath.Join(in, "*.parquet")); named[name] || len(files) == 0 {
				continue
			}
			task, err := json.Marshal(map[string]any{"task": "read", "name": name, "in": in, "out": filepath.Join(dir, name, "spark-"+folder), "filters": []string{}})
			if err == nil {
				err = os.MkdirAll(filepath.Join(dir, name, "spark-"+folder), 0o755)
			}
			if err != nil {
				t.Fatal(err)
			}
			tasks.Write(append(task, '\n'))
		}
		named[name] = true
	}
	if tasks.Len() == 0 {
		return faults
	}
	again := filepath.Join(dir, "spark-again.json")
	if err := os.WriteFile(again, tasks.Bytes(), 0o644); err != nil {
		t.Fatal(err)
	}
	for _, f := range spark(t, again) {
		name, _, _ := strings.Cut(f, ":")
		if err := os.WriteFile(filepath.Join(dir, name, "spark-cannot"), []byte(f), 0o644); err != nil {
			t.Fatal(err)
		}
		t.Logf("Spark can't read what was there before: %s", f)
		faults = slices.DeleteFunc(faults, func(fault string) bool { return strings.HasPrefix(fault, name+":") })
	}
	return faults
}

// upsertAll runs the command for every case, a few at a time. All cases are such that it must succeed.
func upsertAll(t *testing.T, hupsert, dir string) {
	t.Helper()
	cases, err := filepath.Glob(filepath.Join(dir, "case-*"))
	if err != nil {
		t.Fatal(err)
	}
	if len(cases) == 0 {
		t.Fatal("no cases")
	}
	faults := make([]string, len(cases))
	var adopted, compacted atomic.Int64
	var group errgroup.Group
	group.SetLimit(2)
	for i, c := range cases {
		group.Go(func() error {
			var more []string
			if i%3 == 0 { // what it reads does not fit
				more = []string{"--memory", "20KiB"}
			}
			out, err := upsert(t, hupsert, c, more...)
			if err != nil {
				faults[i] = fmt.Sprintf("%s: %v", filepath.Base(c), err)
			}
			if err == nil && copiedOnly(out) {
				adopted.Add(1)
			}
			if err == nil && i%2 == 0 { // a compaction changes no row
				joins, err := compact(t, hupsert, c)
				if err != nil {
					faults[i] = fmt.Sprintf("%s: %v", filepath.Base(c), err)
				}
				if joins {
					compacted.Add(1)
				}
			}
			return nil
		})
	}
	_ = group.Wait()
	report(t, faults)
	t.Logf("%d of %d cases took the source's files", adopted.Load(), len(cases))
	t.Logf("%d were compacted afterwards", compacted.Load())
	if len(cases) >= 40 && compacted.Load() == 0 { // of the stored ones 13 are
		t.Error("no case was compacted")
	}
	if len(cases) > 300 && adopted.Load() == 0 {
		t.Error("no case took the source's files")
	}
}

// copiedOnly reports whether rows were updated and none was encoded.
func copiedOnly(out string) bool {
	var report struct {
		Total struct {
			Rows  struct{ Updated int64 }
			Bytes struct{ Rewritten, Added int64 }
		}
	}
	err := json.Unmarshal([]byte(out), &report)
	return err == nil && report.Total.Rows.Updated > 0 && report.Total.Bytes.Rewritten+report.Total.Bytes.Added == 0
}

// upsert runs one case in its own folder and leaves report.json there.
func upsert(t *testing.T, hupsert, dir string, more ...string) (string, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return "", err
	}
	var about struct{ Args []string }
	if err := json.Unmarshal(text, &about); err != nil {
		return "", err
	}
	args := append([]string{"upsert", "table", "--output", "json", "--no-progress"}, append(about.Args, more...)...)
	cmd := exec.CommandContext(t.Context(), hupsert, args...)
	cmd.Dir = dir
	out, err := output(cmd)
	if err != nil {
		return "", fmt.Errorf("hupsert %s: %w", strings.Join(args, " "), err)
	}
	return out, os.WriteFile(filepath.Join(dir, "report.json"), []byte(out), 0o644)
}

// compact compacts the table of a case, by the key of its merge, and says whether there was anything to do.
func compact(t *testing.T, hupsert, dir string) (bool, error) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "case.json"))
	if err != nil {
		return false, err
	}
	var about struct{ Args []string }
	if err := json.Unmarshal(text, &about); err != nil {
		return false, err
	}
	args := []string{"compact", "table", "--verify", "full", "--output", "json", "--no-progress"}
	if at := slices.Index(about.Args, "--key"); at >= 0 {
		args = append(args, about.Args[at:at+2]...)
	}
	cmd := exec.CommandContext(t.Context(), hupsert, args...)
	cmd.Dir = dir
	out, err := output(cmd)
	if err != nil {
		return false, fmt.Errorf("hupsert %s: %w", strings.Join(args, " "), err)
	}
	return strings.Contains(out, `"status": "published"`), nil
}

// must runs a script that has no faults to tell.
func must(t *testing.T, name string, args ...string) {
	t.Helper()
	if out, err := script(t, name, args...); err != nil {
		t.Fatalf("%s: %v\n%s", name, err, tail(out))
	}
}

// compare runs a script that prints a line per fault.
func compare(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := script(t, name, args...)
	reportScript(t, name, out, err)
}

func reportScript(t *testing.T, name, out string, err error) {
	t.Helper()
	report(t, strings.Split(strings.TrimSpace(out), "\n"))
	if err != nil && !t.Failed() {
		t.Fatalf("%s: %v", name, err)
	}
}

// report fails the test for each fault; past a dozen only their number is of interest.
func report(t *testing.T, faults []string) {
	t.Helper()
	shown, all := 0, 0
	for _, f := range faults {
		if f == "" {
			continue
		}
		if all++; shown < 12 {
			shown++
			t.Error(f)
		}
	}
	if all > shown {
		t.Errorf("and %d more", all-shown)
	}
}
