//go:build unix

package docs

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
)

// TestCommands types every command of the pages into a shell, as it is written and in the page's order, in a folder that
// holds what the page speaks of (sandboxes). None may fail, but where a comment of it says "exit code N", and each line that the page
// shows of what it says is said, in the page's order. Tests are looked up by name, and targets of make gone
// through without running them. What works on HDFS or a metastore is left to TestCommandsOnHadoop.
func TestCommands(t *testing.T) {
	if testing.Short() {
		t.Skip("runs every command of the pages")
	}
	binary := build(t)
	for _, p := range pages(t) {
		if !slices.ContainsFunc(p.commands, func(c command) bool { return !onHadoop(c) }) {
			continue
		}
		t.Run(p.name, func(t *testing.T) {
			s := newSandbox(t, binary, sandboxes[p.name])
			for _, c := range p.commands {
				if !onHadoop(c) {
					s.check(t, c)
				}
			}
		})
	}
}

// builtIn is the folder of what was built; "" where nothing was.
var builtIn string

// built is the command that the pages speak of, made once.
var built = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "hupsert-docs-")
	if err != nil {
		return "", err
	}
	builtIn = dir
	binary := filepath.Join(dir, "hupsert")
	if out, err := exec.Command("go", "build", "-o", binary, root+"/cmd/hupsert").CombinedOutput(); err != nil {
		return binary, fmt.Errorf("%w\n%s", err, out)
	}
	return binary, nil
})

// TestMain removes what was built.
func TestMain(m *testing.M) {
	m.Run()
	if builtIn != "" {
		_ = os.RemoveAll(builtIn) // the system removes it otherwise
	}
}

// build gives the command.
func build(t *testing.T) string {
	t.Helper()
	binary, err := built()
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

var services = regexp.MustCompile(`hdfs://|hive://|\$hdfs|\$hive`)

// onHadoop reports whether a command needs services.
func onHadoop(c command) bool { return services.MatchString(c.text) }

// TestDemoSaysWhatReadmeShows: the README shows its commands as `make demo` prints them, and what they say.
func TestDemoSaysWhatReadmeShows(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the demo")
	}
	s := newSandbox(t, build(t), nil)
	said, checked := s.run(t, "bin/hupsert demo demo"), 0
	for _, p := range pages(t) {
		for _, c := range p.commands {
			if p.name != "README.md" || !strings.Contains(c.text, "demo/orders") {
				continue
			}
			checked++
			shows := append(strings.Split("$ "+c.text, "\n"), c.shows...)
			if line := missing(shows, said, s.runs); line != "" {
				t.Errorf("%v\nthe demo does not say\n%s\nbut\n%s", c, line, said)
			}
		}
	}
	if checked < 4 {
		t.Errorf("%d commands of the demo were looked at", checked)
	}
}

// TestWrongPages: what is wrong on a page is noticed.
func TestWrongPages(t *testing.T) {
	s := newSandbox(t, build(t), prepareOrders("new.parquet"))
	for _, text := range []string{
		"    hupsert show ./nosuch\n",
		"    hupsert show ./orders   # exit code 3\n",
		"    hupsert show ./orders --nosuch\n",
		"```\n$ hupsert show ./orders\norder_id  bigint\n\nan empty table\n```\n",
		"Run `nosuchprogram --flag` first.\n",
		"`make nosuch`\n", "`make test NOSUCH=1`\n",
		"`go test ./nosuch`\n", "`go test ./partition -run TestNoSuch`\n", "`go test ./partition -run 'TestHistory|TestNoSuch'`\n",
		"`go test ./partition -nosuch 3`\n", "`go test ./cmd/hupsert -run TestScripts/nosuch`\n",
	} {
		p, err := readPage("a page", text)
		if err != nil || len(p.commands) != 1 {
			t.Errorf("%s\nhas %d commands, %v", text, len(p.commands), err)
			continue
		}
		if s.wrong(t, p.commands[0]) == nil {
			t.Errorf("passes, and is wrong:\n%s", text)
		}
	}
	for _, text := range []string{"```fish\nhupsert show ./orders\n```\n", "```\nhupsert show ./orders\n"} {
		if _, err := readPage("a page", text); err == nil {
			t.Errorf("is read, and is wrong:\n%s", text)
		}
	}
}

// sandbox is the folder in which a page's commands run, and what is known of it.
type sandbox struct {
	*shell
	dir string
	// names stand in the page for what is called otherwise here: text, and its replacement.
	names map[string]string
	// before prepares for a command that begins so.
	before map[string]func(*testing.T)
	// runs are the runs that the page's names mean, last is the one that was named last.
	runs map[string]string
	last string
}

// newSandbox makes the folder of a page, with bin/hupsert, examples and what its preparation makes.
func newSandbox(t *testing.T, binary string, prepare func(*testing.T, *sandbox), variables ...string) *sandbox {
	t.Helper()
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir = filepath.Join(dir, "warehouse")
	s := &sandbox{dir: dir, names: map[string]string{}, runs: map[string]string{}, before: map[string]func(*testing.T){}}
	for _, folder := range []string{"bin", ".programs"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	top, err := filepath.Abs(root)
	if err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"bin/hupsert": binary, "examples": filepath.Join(top, "examples")} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	s.programs(t, top)
	s.shell = startShell(t, dir, append(variables, "CALLS="+filepath.Join(dir, ".calls"))...)
	if prepare != nil {
		prepare(t, s)
	}
	return s
}

// programs puts go, make and duckdb before those of the machine, if it has them. Arguments of what is only looked at are kept.
func (s *sandbox) programs(t *testing.T, top string) {
	t.Helper()
	const note = `{ printf '%s\037' "${0##*/}" "$@"; echo; } >>"$CALLS"` + "\n"
	texts := map[string]string{
		"go":   `[ "$1" != test ] || { ` + note + "exit; }\n" + `[ "$1" != run ] || cd '` + top + "'\nexport HOME='" + os.Getenv("HOME") + "'\nexec '" + program(t, "go") + `' "$@"`,
		"make": note + "unset MAKEFLAGS MAKELEVEL\nexec '" + program(t, "make") + "' -n -C '" + top + `' "$@"`,
	}
	if python := os.Getenv("HUPSERT_PYTHON"); python != "" {
		texts["duckdb"] = `[ "$1" = -c ] || exit 2` + "\nexec '" + python + `' -B -c 'import sys, duckdb; print(duckdb.sql(sys.argv[1]))' "$2"`
	}
	for name := range otherPrograms {
		texts[name] = note
	}
	for name, text := range texts {
		if err := os.WriteFile(filepath.Join(s.dir, ".programs", name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
}

func program(t *testing.T, name string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatal(err)
	}
	return path
}

var exitCode = regexp.MustCompile(`# .*exit code (\d+)`)

// check types a command and holds what comes of it against what the page says.
func (s *sandbox) check(t *testing.T, c command) {
	t.Helper()
	t.Run(fmt.Sprint("line ", c.line), func(t *testing.T) {
		for _, name := range []string{"duckdb", "jq"} {
			if regexp.MustCompile(`^`+name+` `).MatchString(c.text) && !s.has(name) {
				if os.Getenv("HUPSERT_REQUIRE") == "all" {
					t.Fatalf("%v\nthere is no %s", c, name)
				}
				t.Skipf("there is no %s", name)
			}
		}
		for begin, prepare := range s.before {
			if strings.HasPrefix(c.text, begin) {
				prepare(t)
			}
		}
		if err := s.wrong(t, c); err != nil {
			t.Error(err)
		}
	})
}

// wrong types a command and says what is not as the page has it.
func (s *sandbox) wrong(t *testing.T, c command) error {
	t.Helper()
	want := "0"
	if m := exitCode.FindStringSubmatch(c.text); m != nil {
		want = m[1]
	}
	said, code, err := s.do(t.Context(), s.typed(c.text))
	if err != nil {
		t.Fatalf("%v\n%v\n%s", c, err, said) // the shell is gone
	}
	calls := s.calls(t)
	if fmt.Sprint(code) != want {
		return fmt.Errorf("%v\nexit code %d (want %s)\n%s", c, code, want, said)
	}
	if line := missing(c.shows, said, s.runs); line != "" {
		return fmt.Errorf("%v\ndoes not say\n%s\nbut\n%s", c, line, said)
	}
	if names := runName.FindAllString(said, -1); len(names) > 0 {
		s.last = names[len(names)-1]
	}
	for _, call := range calls {
		if err := call.check(); err != nil {
			return fmt.Errorf("%v\n%w", c, err)
		}
	}
	return nil
}

func (s *sandbox) has(name string) bool {
	if _, err := os.Stat(filepath.Join(s.dir, ".programs", name)); err == nil {
		return true
	}
	_, err := exec.LookPath(name)
	return err == nil
}

// typed is a command with the names that things have here. A run that the page has not shown is the one that was named last.
func (s *sandbox) typed(text string) string {
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(s.names))) {
		text = strings.ReplaceAll(text, name, s.names[name])
	}
	return runName.ReplaceAllStringFunc(text, func(name string) string {
		if s.runs[name] == "" {
			s.runs[name] = s.last
		}
		return s.runs[name]
	})
}

// calls are the arguments of programs that were only looked at, by the last command.
func (s *sandbox) calls(t *testing.T) (calls []call) {
	t.Helper()
	file := filepath.Join(s.dir, ".calls")
	text, err := os.ReadFile(file)
	if err != nil {
		return nil // nothing was
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		calls = append(calls, strings.Split(strings.TrimSuffix(line, "\037\n"), "\037"))
	}
	return calls
}

// check holds one against what it is a call of.
func (c call) check() error {
	switch c[0] {
	case "make":
		return c[1:].checkMake()
	case "go":
		return c[1:].checkTests()
	}
	return nil
}
