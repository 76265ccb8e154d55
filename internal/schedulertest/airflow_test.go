package schedulertest

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const root = "../.."

// airflow is a console of Airflow (testdata/airflow/console.py) with a database of its own and the DAGs of examples/airflow.
type airflow struct {
	// In bin is the program `hupsert` that tasks run, a script of the test; in pods is what would have been run in a cluster.
	bin, pods string
	in        io.Writer
	out       *bufio.Scanner
	log       *tail
}

// answer is what the console says of a command.
type answer struct {
	Code  int
	Run   string
	Tasks []task
}

// task is what became of a task of a DAG.
type task struct {
	Task, Name, State, Pool string
	Index, Tries            int
}

// String gives what tests look at: merge[dt=2026-11-20] success after 1.
func (t task) String() string {
	name := t.Task
	if t.Name != "" {
		name += "[" + t.Name + "]"
	}
	return fmt.Sprintf("%s %s after %d", name, t.State, t.Tries)
}

// python returns the interpreter with Airflow, and skips or fails the test where there is none.
func python(t *testing.T) string {
	t.Helper()
	name := os.Getenv("HUPSERT_AIRFLOW")
	if name != "" {
		return name
	}
	if os.Getenv("HUPSERT_REQUIRE") == "all" {
		t.Fatal("Airflow required, but HUPSERT_AIRFLOW is not set")
	}
	t.Skip("without HUPSERT_AIRFLOW: Airflow is not there (make test sets it)")
	return ""
}

// binary returns the command: the one that HUPSERT_BINARY names, else one built for all tests.
func binary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("HUPSERT_BINARY"); name != "" {
		return name
	}
	name, err := built()
	if err != nil {
		t.Fatalf("build the command: %v", err)
	}
	return name
}

var (
	builtIn string // a folder that TestMain removes
	built   = sync.OnceValues(func() (string, error) {
		name := filepath.Join(builtIn, "hupsert")
		text, err := exec.Command("go", "build", "-o", name, root+"/cmd/hupsert").CombinedOutput()
		if err != nil {
			err = fmt.Errorf("%w\n%s", err, text)
		}
		return name, err
	})
)

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "hupsert-test-")
	if err != nil {
		panic(err)
	}
	builtIn = dir
	m.Run()
	_ = os.RemoveAll(dir)
}

// startAirflow starts a console, which ends with the test.
func startAirflow(t *testing.T) *airflow {
	t.Helper()
	home, a := t.TempDir(), &airflow{bin: t.TempDir(), pods: t.TempDir(), log: new(tail)}
	dags := filepath.Join(home, "dags")
	copyDAGs(t, dags)
	scripts, err := filepath.Abs(root + "/testdata/airflow")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python(t), "-B", filepath.Join(scripts, "console.py"), a.pods, filepath.Join(a.bin, "hupsert"))
	// Nothing of this machine's Airflow, and no network: `dags test` needs none.
	cmd.Env = append(slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "AIRFLOW") }),
		"AIRFLOW_HOME="+home, "AIRFLOW__CORE__DAGS_FOLDER="+dags, "AIRFLOW__CORE__LOAD_EXAMPLES=False",
		"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN=sqlite:///"+home+"/airflow.db", "AIRFLOW__LOGGING__LOGGING_LEVEL=INFO",
		"PATH="+a.bin+string(os.PathListSeparator)+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = a.log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.in, a.out = in, bufio.NewScanner(out)
	t.Cleanup(func() {
		_ = in.Close() // which ends it
		_ = cmd.Wait()
	})
	a.do(t, 0, "db", "migrate")
	a.do(t, 0, "pools", "set", "hupsert", "2", "merges")
	return a
}

// copyDAGs copies the DAGs, with retries that do not wait.
func copyDAGs(t *testing.T, to string) {
	t.Helper()
	if err := os.CopyFS(to, os.DirFS(root+"/examples/airflow/dags")); err != nil {
		t.Fatal(err)
	}
	name := filepath.Join(to, "hupsert_dag.py")
	text := readFile(t, name)
	quick := strings.Replace(text, `"retry_delay": timedelta(minutes=1)`, `"retry_delay": timedelta(seconds=0)`, 1)
	if quick == text {
		t.Fatalf("%s has no retry_delay that can be replaced", name)
	}
	writeFile(t, name, quick)
}

// do runs a command of Airflow, which must end with a code.
func (a *airflow) do(t *testing.T, code int, arguments ...string) answer {
	t.Helper()
	a.log.reset()
	line, err := json.Marshal(arguments)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Fprintf(a.in, "%s\n", line); err != nil {
		t.Fatalf("%v\n%s", err, a.log)
	}
	var got answer
	if !a.out.Scan() {
		t.Fatalf("airflow %q: no answer\n%s", arguments, a.log)
	}
	if err := json.Unmarshal(a.out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if got.Code != code {
		t.Fatalf("airflow %q: exit code %d, want %d\n%s", arguments, got.Code, code, a.log)
	}
	return got
}

// test runs a DAG with `airflow dags test`. The tasks must come to what is wanted, all in the pool.
func (a *airflow) test(t *testing.T, dag string, parameters map[string]string, run string, want ...string) {
	t.Helper()
	conf, err := json.Marshal(parameters)
	if err != nil {
		t.Fatal(err)
	}
	code := 0
	if run == "failed" {
		code = 1
	}
	got := a.do(t, code, "dags", "test", dag, "--conf", string(conf))
	var states []string
	for _, task := range got.Tasks {
		states = append(states, task.String())
		if task.Pool != "hupsert" {
			t.Errorf("%s is in the pool %s", task, task.Pool)
		}
	}
	slices.Sort(states)
	slices.Sort(want)
	if got.Run != run || !slices.Equal(states, want) {
		t.Errorf("%s is %s:\n%s\nwant %s:\n%s\n%s", dag, got.Run, strings.Join(states, "\n"), run, strings.Join(want, "\n"), a.log)
	}
}

// tail keeps the end of a log.
type tail struct {
	mu   sync.Mutex
	text []byte
}

func (l *tail) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	const most = 64 << 10
	l.text = append(l.text, p...)
	if n := len(l.text); n > most {
		l.text = l.text[n-most:]
	}
	return len(p), nil
}

func (l *tail) reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = nil
}

func (l *tail) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return string(l.text)
}

func readFile(t *testing.T, name string) string {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func writeFile(t *testing.T, name, text string) {
	t.Helper()
	if err := os.WriteFile(name, []byte(text), 0o755); err != nil {
		t.Fatal(err)
	}
}
