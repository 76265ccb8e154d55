package servicetest

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"time"
)

const (
	// startTimeout is for a machine on which much else runs: alone a start takes ten seconds.
	startTimeout   = 4 * time.Minute
	commandTimeout = 2 * time.Minute
)

// errPortTaken: another process has taken a port since it was found free.
var errPortTaken = errors.New("a port was taken meanwhile")

var portTaken = regexp.MustCompile(`BindException|Address already in use|Could not create ServerSocket`)

// jvm is a process that says READY when it is, and then answers commands line by line.
type jvm struct {
	cmd *exec.Cmd
	// said holds what it said before READY, by key.
	said map[string]string
	// done is closed when the process is gone.
	done chan struct{}

	errors string // the file that its stderr goes to

	mu      sync.Mutex // one command at a time
	in      io.WriteCloser
	answers chan string
	broken  error // after a time-out no answer can be told from a late one
}

// startJVM runs java with the installation's arguments for a program and args, and returns when it is READY. Its stderr
// goes to dir.
func startJVM(dir, program string, args ...string) (*jvm, error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, err
	}
	j := &jvm{
		said:    map[string]string{},
		done:    make(chan struct{}),
		answers: make(chan string, 1),
		errors:  filepath.Join(dir, "stderr.log"),
	}
	log, err := os.Create(j.errors)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	arguments := append([]string{"@" + filepath.Join(installed(), program+".args")}, args...)
	j.cmd = exec.Command(java(), arguments...) //nolint:noctx // it ends with the tests, and not with a context
	j.cmd.Env = environment()
	j.cmd.Stderr = log
	dieWithParent(j.cmd)
	if j.in, err = j.cmd.StdinPipe(); err != nil {
		return nil, err
	}
	out, err := j.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := j.run(out); err != nil {
		return nil, fmt.Errorf("start the services: %w", err)
	}
	if err := j.ready(); err != nil {
		j.kill()
		return nil, err
	}
	return j, nil
}

// run starts the process, and reads what it says until it is gone.
func (j *jvm) run(out io.Reader) error {
	started := make(chan error)
	go func() {
		// The signal of a parent's death comes with that of the thread which has started the process.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := j.cmd.Start()
		started <- err
		if err != nil {
			return
		}
		lines := bufio.NewReader(out)
		for {
			line, err := lines.ReadString('\n')
			if err != nil {
				break
			}
			j.answers <- strings.TrimRight(line, "\r\n")
		}
		_ = j.cmd.Wait() // how it ended is in its log
		close(j.done)
	}()
	return <-started
}

// ready waits until the services are.
func (j *jvm) ready() error {
	timeout := time.After(startTimeout)
	for {
		select {
		case line := <-j.answers:
			if line == "READY" {
				return nil
			}
			if key, value, ok := strings.Cut(line, "="); ok {
				j.said[key] = value
			}
		case <-j.done:
			err := fmt.Errorf("the services ended before they were ready; their last words:\n%s", j.log())
			if portTaken.MatchString(j.log()) {
				err = fmt.Errorf("%w: %w", errPortTaken, err)
			}
			return err
		case <-timeout:
			return fmt.Errorf("the services are not ready after %v; their last words:\n%s", startTimeout, j.log())
		}
	}
}

// do sends a command and waits for its answer.
func (j *jvm) do(command string) (string, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.broken != nil {
		return "", j.broken
	}
	if _, err := io.WriteString(j.in, command+"\n"); err != nil {
		return "", fmt.Errorf("%s: the services have ended: %w", command, err)
	}
	select {
	case answer := <-j.answers:
		if text, ok := strings.CutPrefix(answer, "OK"); ok {
			return strings.TrimPrefix(text, " "), nil
		}
		return "", fmt.Errorf("%s: %s", command, strings.TrimPrefix(answer, "ERR "))
	case <-j.done:
		return "", fmt.Errorf("%s: the services have ended", command)
	case <-time.After(commandTimeout):
		j.broken = fmt.Errorf("%s: no answer for %v", command, commandTimeout)
		return "", j.broken
	}
}

// kill ends the process and returns when it is gone, and with it its hold on ports and files.
func (j *jvm) kill() {
	_ = j.cmd.Process.Kill() // one that is gone can't be killed, and need not
	for {
		select {
		case <-j.answers: // the reader must get to the end of them
		case <-j.done:
			return
		}
	}
}

// log is the end of what the process has written to stderr.
func (j *jvm) log() string {
	text, err := os.ReadFile(j.errors)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-60):], "\n")
}

func java() string {
	if named := os.Getenv("JAVA"); named != "" {
		return named
	}
	return "java"
}
