package servicetest

import (
	"os/exec"
	"syscall"
)

// dieWithParent has the process killed when this one ends, also where it can't read its stdin because it was stopped.
// A Ctrl-C is for this process alone, which then ends the other in its own time.
func dieWithParent(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL, Setpgid: true}
}
