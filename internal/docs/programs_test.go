package docs

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// What is not typed into the shell of its page, and why.

// notCommands are blocks, by their first line, and code in running text that look like commands and are none.
var notCommands = map[string]string{
	"source = inserted + moved + updated + unchanged + deleted + stale_skipped + ignored": "sums of rows",
	"timestamp with local time zone":            "a type of Hive's",
	"day.parquet row 12":                        "a place in a file",
	"x copy":                                    "the head of a column",
	"hdfs dfs -setrep":                          "named as what others do",
	"hdfs ec -setPolicy -replicate":             "Hadoop's own client, which nothing here installs",
	"strace --inject":                           "named as how a test works",
	"plan  ->  merge[dt=2026-11-19]  ->  check": "a picture of a DAG",
	"kill -9":                                   "named as how a run may end",
}

// otherPrograms are programs of which commands are shown that nobody can run here.
var otherPrograms = map[string]string{
	"airflow":   "internal/schedulertest runs the DAGs",
	"docker":    "there is no daemon where tests run",
	"kubectl":   "there is no cluster",
	"systemctl": "there is no systemd in a container",
}

var subcommandUse = regexp.MustCompile(`\bUse:\s+"([a-z]+)`)

// isSubcommand reports whether a word is a command of hupsert's.
func isSubcommand(word string) bool {
	files, _ := filepath.Glob(filepath.Join(root, "cmd/hupsert/*.go")) // the pattern is in order
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return false
		}
		for _, m := range subcommandUse.FindAllSubmatch(text, -1) {
			if string(m[1]) == word {
				return true
			}
		}
	}
	return false
}

// call is one of a program that is looked at, and not run: its arguments.
type call []string

// checkMake: the target was gone through by make -n; its variables must be ones that the Makefile has.
func (c call) checkMake() error {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		return err
	}
	for _, arg := range c {
		if name, _, ok := strings.Cut(arg, "="); ok && !regexp.MustCompile(`(?m)^`+regexp.QuoteMeta(name)+`\s*[?:]?=`).Match(makefile) {
			return fmt.Errorf("the Makefile has no variable %s", name)
		}
	}
	return nil
}

// ofGoTest are the flags of go test itself that the pages use, with whether a value follows.
var ofGoTest = map[string]bool{"-run": true, "-bench": true, "-timeout": true, "-count": true, "-v": false, "-race": false, "-short": false}

// checkTests: the packages are there and have tests of these names, and flags of these names. (That they compile is
// what running them shows, which the same `make test` does.)
func (c call) checkTests() error {
	var dirs, patterns, flags []string
	for i := 1; i < len(c); i++ {
		name, _, joined := strings.Cut(c[i], "=")
		takes, known := ofGoTest[name]
		switch {
		case strings.HasPrefix(c[i], "./"):
			dirs = append(dirs, filepath.Join(root, c[i]))
			continue
		case !strings.HasPrefix(c[i], "-"):
			return fmt.Errorf("%s is no package", c[i])
		case !known:
			flags = append(flags, strings.TrimPrefix(name, "-"))
			takes = i+1 < len(c) && !strings.HasPrefix(c[i+1], "-")
		case (name == "-run" || name == "-bench") && i+1 < len(c) && c[i+1] != "^$":
			patterns = append(patterns, c[i+1])
		}
		if takes && !joined {
			i++
		}
	}
	if len(dirs) == 0 {
		return fmt.Errorf("no package is named")
	}
	for _, dir := range dirs {
		if err := hasTests(dir, patterns, flags); err != nil {
			return err
		}
	}
	return nil
}

var (
	testFunc = regexp.MustCompile(`(?m)^func ((?:Test|Benchmark|Fuzz|Example)\w*)\(`)
	testFlag = regexp.MustCompile(`flag\.\w+\((?:&[\w.]+, )?"([\w.-]+)"`)
)

// hasTests reports what a package lacks.
func hasTests(dir string, patterns, flags []string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*_test.go"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("%s has no tests", dir)
	}
	var tests, known []string
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		for _, m := range testFunc.FindAllSubmatch(text, -1) {
			tests = append(tests, string(m[1]))
		}
		for _, m := range testFlag.FindAllSubmatch(text, -1) {
			known = append(known, string(m[1]))
		}
	}
	for _, flag := range flags {
		if !slices.Contains(known, flag) {
			return fmt.Errorf("the tests of %s have no flag -%s", dir, flag)
		}
	}
	for _, pattern := range patterns {
		for one := range strings.SplitSeq(pattern, "|") {
			if err := hasTest(dir, tests, one); err != nil {
				return err
			}
		}
	}
	return nil
}

// hasTest looks for a test that a pattern without alternatives names: TestScripts/staged is a scenario of that name.
func hasTest(dir string, tests []string, pattern string) error {
	name, scenario, _ := strings.Cut(strings.Trim(pattern, "()"), "/")
	like, err := regexp.Compile(name)
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(tests, like.MatchString) {
		return fmt.Errorf("%s has no test like %s", dir, name)
	}
	if found, err := filepath.Glob(filepath.Join(dir, "testdata/*", scenario+".txtar")); scenario != "" && (err != nil || len(found) == 0) {
		return fmt.Errorf("%s has no scenario %s", dir, scenario)
	}
	return nil
}

var testSetting = regexp.MustCompile(`\bHUPSERT_[A-Z_]+\b`)

// TestSettingsOfPages: variables of ours that a page names are read by some code.
func TestSettingsOfPages(t *testing.T) {
	code := sources(t)
	for _, p := range pages(t) {
		for _, c := range p.commands {
			for _, name := range testSetting.FindAllString(c.text, -1) {
				if !strings.Contains(code, `"`+name+`"`) && !strings.Contains(code, "${"+name) {
					t.Errorf("%v\nnothing reads %s", c, name)
				}
			}
		}
	}
}

// sources are the texts of all Go files and scripts.
func sources(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, pattern := range []string{"*/*.go", "*/*/*.go", "*/*/*/*.go", "testdata/*.sh", "Makefile"} {
		files, err := filepath.Glob(filepath.Join(root, pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			b.Write(text)
		}
	}
	return b.String()
}
