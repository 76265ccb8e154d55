package partition

import (
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestArrowOfPyarrow makes tables of Arrow files and streams with every type that pyarrow writes, plain and
// compressed, and has it read them again.
func TestArrowOfPyarrow(t *testing.T) {
	python := os.Getenv("HUPSERT_PYTHON")
	if python == "" {
		t.Skip("HUPSERT_PYTHON is not set")
	}
	dir := t.TempDir()
	run := func(what string) string {
		out, err := exec.Command(python, "testdata/arrows.py", what, dir).CombinedOutput()
		if err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return strings.TrimSpace(string(out))
	}
	run("make")
	files, err := filepath.Glob(filepath.Join(dir, "*.arrow"))
	if err != nil || len(files) < 100 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	made := 0
	for _, name := range files {
		root := strings.TrimSuffix(name, ".arrow")
		table, err := Open(context.Background(), root, Config{})
		if err != nil {
			t.Fatal(err)
		}
		rep, err := table.Upsert(context.Background(), Source{From: []string{name}}, Options{Create: true, PartitionBy: []string{}, Key: []string{"id"}})
		what, _, _ := strings.Cut(filepath.Base(name), ".")
		if what == "decimal32" || what == "duration" {
			if !errors.Is(err, ErrCorrupt) && !errors.Is(err, ErrSchema) || Hint(err) == "" {
				t.Errorf("%s: %v, hint %q", what, err, Hint(err))
			}
			continue
		}
		if err != nil || rep.Total.Rows.Inserted != rep.Total.Rows.Source {
			t.Fatalf("%s: %v", name, err)
		}
		made++
	}
	if got := run("same"); got != strconv.Itoa(made) {
		t.Errorf("%s tables compared, want %d", got, made)
	}
}
