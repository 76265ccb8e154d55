package source

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
)

// TestCSVOfOtherPrograms reads what DuckDB, pyarrow, Polars and Python write, each in its dialects.
func TestCSVOfOtherPrograms(t *testing.T) {
	python := os.Getenv("HUPSERT_PYTHON")
	if python == "" {
		t.Skip("HUPSERT_PYTHON is not set")
	}
	dir := t.TempDir()
	if out, err := exec.Command(python, "testdata/csvs.py", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	names, err := filepath.Glob(filepath.Join(dir, "*.json"))
	if err != nil || len(names) < 10 {
		t.Fatalf("%d samples, %v", len(names), err)
	}
	for _, name := range names {
		t.Run(strings.TrimSuffix(filepath.Base(name), ".json"), func(t *testing.T) {
			var sample struct {
				Options CSVOptions `json:"options"`
				Rows    [][]any    `json:"rows"`
			}
			data, err := os.ReadFile(name)
			if err == nil {
				err = json.Unmarshal(data, &sample)
			}
			if err != nil {
				t.Fatal(err)
			}
			if data, err = os.ReadFile(strings.TrimSuffix(name, "json") + "csv"); err != nil {
				t.Fatal(err)
			}
			_, got, err := readAll(context.Background(), inputOf(t, "x", CSV, data),
				schemaOf("id", arrow.PrimitiveTypes.Int64, "s", tStr, "u", tStr), Options{CSV: sample.Options})
			if err != nil {
				t.Fatal(err)
			}
			if len(got) != len(sample.Rows) {
				t.Fatalf("%d rows, want %d", len(got), len(sample.Rows))
			}
			for i, row := range sample.Rows {
				want := fmt.Sprintf("id=%v s=%s u=%s", row[0], jsonText(t, row[1]), jsonText(t, row[2]))
				if !strings.HasSuffix(got[i], want) {
					t.Errorf("row %d: %s, want %s", i, got[i], want)
				}
			}
		})
	}
}

func jsonText(t *testing.T, v any) string {
	t.Helper()
	text, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
