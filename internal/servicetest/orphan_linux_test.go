package servicetest

import (
	"bufio"
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A test that is killed leaves no services, also none that hang.
func TestKilledTestLeavesNothing(t *testing.T) {
	if os.Getenv("HUPSERT_SERVICES_ORPHAN") != "" {
		s, err := Launch(Options{Dir: os.Getenv("HUPSERT_SERVICES_ORPHAN")})
		if err != nil {
			t.Fatal(err)
		}
		s.Signal(t, syscall.SIGSTOP)
		_, _ = os.Stdout.WriteString("\npid=" + strconv.Itoa(s.PID) + "\n")
		select {}
	}
	install(t)
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^"+t.Name()+"$")
	child.Env = append(os.Environ(), "HUPSERT_SERVICES_ORPHAN="+t.TempDir())
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	pid := 0
	for lines := bufio.NewScanner(out); pid == 0 && lines.Scan(); {
		if number, ok := strings.CutPrefix(lines.Text(), "pid="); ok {
			pid, _ = strconv.Atoi(number)
		} else if lines.Text() != "" {
			t.Log(lines.Text())
		}
	}
	_ = child.Process.Kill() // that it has ended is the point
	_ = child.Wait()
	if pid == 0 {
		t.Fatal("the killed test had started no services")
	}
	for deadline := time.Now().Add(2 * time.Minute); ; {
		if err := syscall.Kill(pid, 0); errors.Is(err, syscall.ESRCH) {
			return
		}
		if time.Now().After(deadline) {
			_ = syscall.Kill(pid, syscall.SIGKILL)
			t.Fatalf("the services (process %d) live on", pid)
		}
		<-time.After(20 * time.Millisecond)
	}
}
