package enginetest

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// python returns the interpreter with DuckDB, pyarrow, Polars and fastparquet.
func python(t *testing.T) string {
	t.Helper()
	return engine(t, "HUPSERT_PYTHON", "DuckDB, pyarrow, Polars and fastparquet")
}

// engine returns the value of a variable that says where an engine is, and skips or fails the test where it does not.
func engine(t *testing.T, variable, name string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatalf("%s required, but %s is not set", name, variable)
		}
		t.Skipf("without %s: %s is not set (make test sets it)", name, variable)
	}
	return value
}

// script runs one of testdata's Python scripts and returns its standard output, also where it exits with an error.
func script(t *testing.T, name string, args ...string) (string, error) {
	t.Helper()
	// -B: no byte code is left in the tree.
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{"-B", filepath.Join(testdata(t), name)}, args...)...)
	return output(cmd)
}

// spark runs a list of tasks in one session and returns what they found wrong.
func spark(t *testing.T, tasks string) (faults []string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), java(), append(sparkArguments(t), tasks)...)
	text, err := output(cmd)
	answers := 0
	for line := range strings.Lines(text) {
		var a answer
		if json.Unmarshal([]byte(line), &a) != nil || a.Task == "" {
			continue
		}
		answers++
		faults = append(faults, a.faults()...)
	}
	if asked := lines(t, tasks); answers != asked || (err != nil && len(faults) == 0) {
		t.Fatalf("Spark answered %d of %d tasks: %v\n%s", answers, asked, err, tail(text))
	}
	return faults
}

// answer is a line that Spark says of a task.
type answer struct {
	Task, Name string
	Faults     []string
}

func (a answer) faults() (named []string) {
	for _, f := range a.Faults {
		named = append(named, a.Name+": "+f)
	}
	return named
}

func java() string {
	if java := os.Getenv("JAVA"); java != "" {
		return java
	}
	return "java"
}

// sparkArguments start a session, but for its tasks.
func sparkArguments(t *testing.T) []string {
	t.Helper()
	// Hundreds of small queries, each with code of its own: the optimising compiler would never earn its time back.
	return []string{
		"-Xmx2g", "-XX:TieredStopAtLevel=1", "-XX:+UseSerialGC",
		"@" + engine(t, "HUPSERT_SPARK", "Spark"), filepath.Join(testdata(t), "spark", "Engines.java"),
	}
}

// output runs a command and returns its standard output; what it wrote to standard error goes into the error.
func output(cmd *exec.Cmd) (string, error) {
	var out, log bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &log
	err := cmd.Run()
	if err != nil && log.Len() > 0 {
		err = &failed{err: err, log: tail(log.String())}
	}
	return out.String(), err
}

// failed is a command's error with the end of its log.
type failed struct {
	err error
	log string
}

func (f *failed) Error() string { return f.err.Error() + "\n" + f.log }
func (f *failed) Unwrap() error { return f.err }

func tail(s string) string {
	const most = 4000
	if len(s) > most {
		return "..." + s[len(s)-most:]
	}
	return s
}

func lines(t *testing.T, file string) int {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return bytes.Count(text, []byte("\n"))
}

func testdata(t *testing.T) string {
	t.Helper()
	dir, err := filepath.Abs("../../testdata")
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

// binary returns the command: the one that HUPSERT_BINARY names, else one built for this test.
func binary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("HUPSERT_BINARY"); name != "" {
		return name
	}
	name := filepath.Join(t.TempDir(), "hupsert")
	if text, err := exec.CommandContext(t.Context(), "go", "build", "-o", name, "../../cmd/hupsert").CombinedOutput(); err != nil {
		t.Fatalf("build the command: %v\n%s", err, text)
	}
	return name
}

// number returns a number from the environment.
func number(t *testing.T, variable string, otherwise int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.Atoi(text)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// folder returns a folder for a test's files: below HUPSERT_KEEP if that is set, for a look at them afterwards.
func folder(t *testing.T) string {
	t.Helper()
	keep := os.Getenv("HUPSERT_KEEP")
	if keep == "" {
		return t.TempDir()
	}
	dir := filepath.Join(keep, t.Name())
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}
