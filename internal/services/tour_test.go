//go:build unix

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/internal/servicetest"
)

// TestTour gives the commands of docs/hadoop.md's tour, as they are written, to a shell that knows what `make services`
// prints. None may fail, and each line that the page shows of what they say is said, in the page's order.
func TestTour(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Metastore: true})
	table, err := load(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("../../docs/hadoop.md")
	if err != nil {
		t.Fatal(err)
	}
	_, tour, _ := strings.Cut(string(page), "\n## The tour\n")
	tour, _, _ = strings.Cut(tour, "\n## ")
	steps := stepsOf(tour)
	if len(steps) < 10 {
		t.Fatalf("the tour has %d commands", len(steps))
	}
	dir := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(dir, "bin", "hupsert"), "../../cmd/hupsert")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	said := perform(t, dir, steps, []string{"hdfs=" + table.HDFS, "hive=" + table.Hive, "changes=" + table.Changes, "HADOOP_CONF_DIR=" + s.ConfDir})
	for i, step := range steps {
		rest := said[i]
		for _, line := range step.says {
			at := like(line).FindStringIndex(rest)
			if at == nil {
				t.Errorf("%s\ndoes not say\n%s\nbut\n%s", step.command, line, said[i])
				break
			}
			rest = rest[at[1]:]
		}
	}
}

// step is a command of the tour, and what the page shows of its output.
type step struct {
	command string
	says    []string
}

// stepsOf reads the blocks of a page: commands follow a dollar sign, and go on behind a backslash.
func stepsOf(page string) (steps []step) {
	inside, more := false, false
	for line := range strings.SplitSeq(page, "\n") {
		command, begins := strings.CutPrefix(line, "$ ")
		switch {
		case strings.HasPrefix(line, "```"):
			inside = !inside
			continue
		case !inside:
			continue
		case begins:
			steps = append(steps, step{command: command})
		case more:
			steps[len(steps)-1].command += "\n" + line
		case strings.TrimSpace(line) != "":
			steps[len(steps)-1].says = append(steps[len(steps)-1].says, line)
		}
		more = (begins || more) && strings.HasSuffix(line, `\`)
	}
	return steps
}

// perform runs the commands in one shell, and gives what each has said.
func perform(t *testing.T, dir string, steps []step, variables []string) []string {
	t.Helper()
	const mark = "-- the next command --"
	script := "set -e\n"
	for _, step := range steps {
		script += step.command + "\necho '" + mark + "'\n"
	}
	cmd := exec.CommandContext(t.Context(), "sh", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), variables...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	said := strings.Split(string(out), mark)
	if err != nil || len(said) != len(steps)+1 {
		t.Fatalf("%s\n%v\n%s%s", steps[len(said)-1].command, err, said[len(said)-1], stderr.String())
	}
	return said
}

// changing are the parts of what is said that differ from run to run.
var changing = regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{4}|\d{4}-\d\d-\d\d \d\d:\d\d|localhost:\d+|\d+(\.\d+)? s\b|v\d{6}| +`)

// like matches a line of the page wherever it is said.
func like(line string) *regexp.Regexp {
	var b strings.Builder
	at := 0
	for _, m := range changing.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch part := line[m[0]:m[1]]; {
		case strings.TrimSpace(part) == "":
			b.WriteString(` +`)
		case strings.HasPrefix(part, "localhost"):
			b.WriteString(`localhost:\d+`)
		case strings.HasSuffix(part, " s"):
			b.WriteString(`\d+(\.\d+)? s`)
		default:
			b.WriteString(`[0-9TZ:\- a-fv]+`)
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(line[at:]))
	return regexp.MustCompile(b.String())
}
