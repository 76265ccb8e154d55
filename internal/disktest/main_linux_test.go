package disktest

import (
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"
	"time"
)

var (
	seedFlag = flag.Uint64("seed", 0, "repeat a test whose seed was printed; 0: another one each time")
	every    = flag.Bool("every", false, "try every point where a test takes a sample of them")
	point    = flag.String("point", "", "try only power cuts whose names are this, or begin so up to a slash")
	budget   = flag.Duration("budget", 10*time.Second, "how long the power cuts of one file system may take")
)

// inside says that this process has a mount namespace of its own.
const inside = "HUPSERT_DISKTEST_INSIDE"

// TestMain runs the tests in a mount namespace of their own, where that can be had: what they mount is seen by nobody
// else, and is gone with the process even when it is killed.
func TestMain(m *testing.M) {
	flag.Parse()
	if os.Geteuid() != 0 || os.Getenv(inside) != "" {
		os.Exit(m.Run()) //nolint:forbidigo // it is what TestMain is for
	}
	// The child dies with the thread that started it.
	runtime.LockOSThread()
	cmd := exec.Command(os.Args[0], os.Args[1:]...)
	cmd.Env = append(os.Environ(), inside+"=1")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Unshareflags: syscall.CLONE_NEWNS, Pdeathsig: syscall.SIGKILL}
	err := cmd.Run()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		os.Exit(max(exit.ExitCode(), 1)) //nolint:forbidigo // it is what TestMain is for
	case err != nil:
		// The tests find that they may not mount, and say so.
		fmt.Fprintln(os.Stderr, "no mount namespace:", err)
		os.Exit(m.Run()) //nolint:forbidigo // it is what TestMain is for
	}
}

// roll gives a test dice and their seed.
func roll() (*rand.Rand, uint64) {
	seed := *seedFlag
	if seed == 0 {
		seed = rand.Uint64N(1 << 32)
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
