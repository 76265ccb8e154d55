package job

import (
	"os/exec"
	"syscall"
)

// groupOf has a command run in a process group of its own, all of which is killed where its time is over, and by the function that
// is returned: what it left in the background would go on in the name of a job that has ended.
func groupOf(cmd *exec.Cmd) (end func()) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	kill := func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
	cmd.Cancel = kill
	return func() {
		if cmd.Process != nil {
			_ = kill() // mostly there is nobody left
		}
	}
}
