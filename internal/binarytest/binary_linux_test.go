package binarytest

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestMain(m *testing.M) {
	if os.Getenv(mutantVariable) != "" {
		mutant()
		return
	}
	m.Run()
	if built.dir != "" {
		_ = os.RemoveAll(built.dir) // what stays is in the system's folder for temporary files
	}
}

// built is the command where the tests built it.
var built struct {
	once sync.Once
	dir  string
	err  error
}

// binary is the command under test.
func binary(t *testing.T) string {
	t.Helper()
	if name := os.Getenv("HUPSERT_BINARY"); name != "" {
		return name
	}
	built.once.Do(func() {
		if built.dir, built.err = os.MkdirTemp("", "hupsert-binary-"); built.err != nil { //nolint:usetesting // it is there for all tests
			return
		}
		var text []byte
		text, built.err = exec.Command("go", "build", "-o", filepath.Join(built.dir, "hupsert"), "../../cmd/hupsert").CombinedOutput()
		if built.err != nil {
			built.err = fmt.Errorf("build the command: %w\n%s", built.err, text)
		}
	})
	must(t, built.err)
	return filepath.Join(built.dir, "hupsert")
}

// program is a command that is tested, and the environment it gets besides ours.
type program struct {
	path string
	env  []string
}

func hupsert(t *testing.T) program { return program{path: binary(t)} }

// command prepares a run in a folder, whose folder tmp takes its temporary files.
func (p program) command(ctx context.Context, dir string, args ...string) *exec.Cmd {
	return p.within(ctx, dir, nil, args...)
}

// within is command under another program, such as strace.
func (p program) within(ctx context.Context, dir string, outer []string, args ...string) *exec.Cmd {
	line := append(append(outer[:len(outer):len(outer)], p.path), args...)
	cmd := exec.CommandContext(ctx, line[0], line[1:]...)
	cmd.Dir = dir
	cmd.Env = append(append(os.Environ(), "TMPDIR="+filepath.Join(dir, "tmp"), "HOME="+dir), p.env...)
	return cmd
}

// run runs a command to its end and returns its exit code, -1 where a signal ended it, and what it said.
func run(cmd *exec.Cmd) (code int, said string, err error) {
	text, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = nil
	}
	if err != nil {
		return 0, string(text), err
	}
	return cmd.ProcessState.ExitCode(), string(text), nil
}

// succeed is run of a command that has to.
func (p program) succeed(ctx context.Context, dir string, args ...string) error {
	code, said, err := run(p.command(ctx, dir, args...))
	if err == nil && code != 0 {
		err = fmt.Errorf("%s: exit code %d\n%s", strings.Join(args, " "), code, said)
	}
	return err
}

// marathon reports how many cases a long run has; 0: this is none.
func marathon(t *testing.T) int { return number(t, "HUPSERT_CASES", 0) }

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

// roll gives a test its random choices, and the seed that repeats them as far as processes can be repeated.
func roll(t *testing.T) (*rand.Rand, uint64) {
	t.Helper()
	seed := uint64(number(t, "HUPSERT_SEED", 0))
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

// scratch is a folder in memory where the machine has one, for tests to which a disk is only slow: what is killed
// is the process, and what it wrote stays.
func scratch(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("/dev/shm", "hupsert-") //nolint:usetesting // that is on a disk
	if err != nil {
		return t.TempDir()
	}
	t.Cleanup(func() { must(t, os.RemoveAll(dir)) })
	return dir
}

// pause waits, or less where the context ends.
func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
