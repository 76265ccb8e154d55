//go:build unix

package docs

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// shell is one in which a page's commands are typed, so that what one leaves is there for the next.
type shell struct {
	dir   string
	in    io.Writer
	codes *bufio.Reader
}

// slow is longer than any command of the pages takes; one that hangs ends with it.
const slow = 5 * time.Minute

// startShell starts one in a folder, whose bin/ is found first.
func startShell(t *testing.T, dir string, variables ...string) *shell {
	t.Helper()
	codes, report, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "sh")
	cmd.Dir, cmd.ExtraFiles = dir, []*os.File{report}
	cmd.Env = append(os.Environ(), "PATH="+filepath.Join(dir, ".programs")+":"+filepath.Join(dir, "bin")+":"+os.Getenv("PATH"), "HOME="+dir)
	cmd.Env = append(cmd.Env, variables...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Stderr = os.Stderr
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_ = report.Close() // it is the shell's
	t.Cleanup(func() {
		_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it may have ended by itself
		_ = cmd.Wait()
		_ = codes.Close()
	})
	return &shell{dir: dir, in: in, codes: bufio.NewReader(codes)}
}

// do types a command, and gives all that it says, and its exit code.
func (s *shell) do(ctx context.Context, text string) (said string, code int, err error) {
	typed, out := filepath.Join(s.dir, ".typed"), filepath.Join(s.dir, ".said")
	if err := os.WriteFile(typed, []byte(text+"\n"), 0o644); err != nil {
		return "", 0, err
	}
	if _, err := fmt.Fprintf(s.in, ". '%s' >'%s' 2>&1 </dev/null; echo $? >&3\n", typed, out); err != nil {
		return "", 0, err
	}
	ended := make(chan error, 1)
	go func() {
		line, err := s.codes.ReadString('\n')
		if err == nil {
			code, err = strconv.Atoi(strings.TrimSpace(line))
		}
		ended <- err
	}()
	select {
	case err = <-ended:
	case <-time.After(slow):
		err = fmt.Errorf("nothing for %v", slow)
	case <-ctx.Done():
		err = ctx.Err()
	}
	words, _ := os.ReadFile(out) // what there is of it
	return string(words), code, err
}

// run types a command of a page's preparation, which may not fail.
func (s *shell) run(t *testing.T, text string) string {
	t.Helper()
	said, code, err := s.do(t.Context(), "(\nset -e\n"+text+"\n)")
	if err != nil || code != 0 {
		t.Fatalf("%s\nexit code %d, %v\n%s", text, code, err, said)
	}
	return said
}

var (
	runName = regexp.MustCompile(`\d{8}T\d{6}Z-[0-9a-f]{4}`)
	// changing are parts of what is said that differ from run to run, or from machine to machine.
	changing = regexp.MustCompile(strings.Join([]string{
		runName.String(), `\d{4}-\d\d-\d\d \d\d:\d\d`, `(?:\w+://)?localhost:\d+`, `\d[\d,.]* (?:s|B|KiB|MiB|GiB)\b`, `\bv\d{6}\b`, `\b\d+\.\d\d$`, ` +`,
	}, "|"))
)

// like matches a line of a page wherever it is said. Each name of a run is a group.
func like(line string) *regexp.Regexp {
	var b bytes.Buffer
	at := 0
	for _, m := range changing.FindAllStringIndex(line, -1) {
		b.WriteString(regexp.QuoteMeta(line[at:m[0]]))
		switch part := line[m[0]:m[1]]; {
		case strings.TrimSpace(part) == "":
			b.WriteString(` +`)
		case runName.MatchString(part):
			b.WriteString("(" + runName.String() + ")")
		case strings.Contains(part, "localhost"):
			b.WriteString(`(?:\w+://)?localhost:\d+`)
		case strings.HasSuffix(part, " s"):
			b.WriteString(`\d+(?:\.\d+)? s`)
		case strings.HasSuffix(part, "B"):
			b.WriteString(`\d[\d,.]* (?:B|KiB|MiB|GiB)`)
		case strings.HasPrefix(part, "v"):
			b.WriteString(`v\d{6}`)
		case strings.Contains(part, ":"):
			b.WriteString(`\d{4}-\d\d-\d\d \d\d:\d\d`)
		default:
			b.WriteString(`\d+\.\d\d`)
		}
		at = m[1]
	}
	b.WriteString(regexp.QuoteMeta(line[at:]))
	return regexp.MustCompile(`(?m)^` + b.String() + ` *$`)
}

// missing is the first line of a page that is not said in its place; names learns which runs are meant by the page's names.
func missing(shows []string, said string, names map[string]string) string {
	for _, line := range shows {
		at := like(line).FindStringSubmatchIndex(said)
		if at == nil {
			return line
		}
		for i, name := range runName.FindAllString(line, -1) {
			meant := said[at[2+2*i]:at[3+2*i]]
			if known := names[name]; known != "" && known != meant {
				return line
			}
			names[name] = meant
		}
		said = said[at[1]:]
	}
	return ""
}
