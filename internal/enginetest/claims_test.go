package enginetest

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/claims"
)

// storedSeed is the seed of the cases that are always run; HUPSERT_SEED takes another.
const storedSeed = 20261121

// TestClaims merges a stored set of cases, each round of it another, until HUPSERT_CLAIMS_SECONDS (20) are over; the first round
// is always whole. Everything that the written files say of their data is held against it ([claims.Check]). DuckDB, pyarrow and
// Spark must find by filters at, below and above each bound what they find without push-down, and Spark's vectorised and
// row readers, with checksums verified, every row of DuckDB's full outer join.
func TestClaims(t *testing.T) {
	if testing.Short() {
		t.Skip("runs other engines")
	}
	python(t)
	dir, hupsert := folder(t), binary(t)
	seed, count, probes := number(t, "HUPSERT_SEED", storedSeed), number(t, "HUPSERT_CASES", 40), number(t, "HUPSERT_PROBES", 24)
	limit := time.Duration(number(t, "HUPSERT_CLAIMS_SECONDS", 20)) * time.Second
	t.Logf("rounds of %d cases, HUPSERT_SEED=%d", count, seed)
	var spark *session
	if os.Getenv("HUPSERT_SPARK") != "" {
		spark = startSession(t)
	}
	start := time.Now()
	for round := 0; round == 0 || time.Since(start) < limit && !t.Failed(); round++ {
		at := filepath.Join(dir, strconv.Itoa(round))
		bySpark := 0
		if spark != nil {
			bySpark = count / 10
		}
		must(t, "engines/cases.py", at, strconv.Itoa(count), strconv.Itoa(seed+round), strconv.Itoa(bySpark))
		if bySpark > 0 {
			spark.do(t, filepath.Join(at, "spark-write.json"))
			must(t, "engines/cases.py", "link", at)
		}
		upsertAll(t, hupsert, at)
		checkClaims(t, at)
		told(t, "engines/bounds.py", at, strconv.Itoa(probes))
		if spark != nil {
			scanBySpark(t, spark, at, probes)
		}
		t.Logf("round %d after %.0f s", round, time.Since(start).Seconds())
	}
	if spark == nil {
		engine(t, "HUPSERT_SPARK", "Spark")
	}
}

// told runs a script whose lines are faults, or begin with "= ".
func told(t *testing.T, name string, args ...string) {
	t.Helper()
	out, err := script(t, name, args...)
	for line := range strings.Lines(out) {
		if figures, ok := strings.CutPrefix(line, "= "); ok {
			t.Log(strings.TrimSpace(figures))
		} else {
			t.Error(strings.TrimSpace(line))
		}
	}
	if err != nil && !t.Failed() {
		t.Fatalf("%s: %v", name, err)
	}
}

// checkClaims holds what written files say against their data, but for what the files before said wrongly in the same column.
func checkClaims(t *testing.T, dir string) {
	t.Helper()
	written := 0
	files, err := filepath.Glob(filepath.Join(dir, "case-*", "table", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, name := range files {
		folder := filepath.Dir(filepath.Dir(name))
		if _, err := os.Stat(filepath.Join(folder, "old", filepath.Base(name))); err == nil {
			continue // kept
		}
		var known []claims.Fault
		for _, sub := range []string{"old", "source"} {
			before, _ := filepath.Glob(filepath.Join(folder, sub, "*.parquet"))
			for _, old := range before {
				faults, err := check(old)
				if err != nil {
					t.Errorf("%s: %v", old, err)
				}
				known = append(known, faults...)
			}
		}
		faults, err := check(name)
		if written++; err != nil {
			t.Errorf("%s: %v", name, err)
		}
		for _, f := range claims.Beyond(faults, known) {
			t.Errorf("%s: %s", name, f)
		}
	}
	t.Logf("looked at what %d files say", written)
}

func check(name string) ([]claims.Fault, error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return nil, err
	}
	return claims.Check(data)
}

// scanBySpark has Spark read and filter the tables. Faults that it has with the files before the merge too are its own.
func scanBySpark(t *testing.T, spark *session, dir string, probes int) {
	t.Helper()
	must(t, "engines/bounds.py", "tasks", dir, strconv.Itoa(probes))
	var faults []string
	own := map[string]bool{}
	for _, f := range spark.ask(t, filepath.Join(dir, "spark-scan.json")) {
		name, _, _ := strings.Cut(f, ":")
		if own[name] {
			continue
		}
		if before := spark.ask(t, scanBefore(t, dir, name, probes)); len(before) > 0 {
			own[name] = true
			t.Logf("Spark has faults with what was there before: %s; then %s", before[0], f)
			if err := os.WriteFile(filepath.Join(dir, name, "spark-cannot"), []byte(f), 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		faults = append(faults, f)
	}
	report(t, faults)
	told(t, "engines/bounds.py", "spark", dir)
}

// scanBefore writes tasks for the files that a case had before the merge.
func scanBefore(t *testing.T, dir, name string, probes int) string {
	t.Helper()
	var tasks strings.Builder
	for _, sub := range []string{"old", "source"} {
		if found, _ := filepath.Glob(filepath.Join(dir, name, sub, "*.parquet")); len(found) == 0 {
			continue
		}
		task, err := json.Marshal(map[string]any{"task": "scan", "name": name, "in": filepath.Join(dir, name, sub),
			"out": filepath.Join(dir, name, "scan-"+sub), "probes": 10 * probes})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&tasks, "%s\n", task)
	}
	file := filepath.Join(dir, "spark-before.json")
	if err := os.WriteFile(file, []byte(tasks.String()), 0o644); err != nil {
		t.Fatal(err)
	}
	return file
}
