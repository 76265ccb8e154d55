package enginetest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
)

// session is a Spark that answers one list of tasks after the other: its start costs as much as hundreds of them.
type session struct {
	cmd   *exec.Cmd
	tasks io.WriteCloser
	out   *bufio.Reader
	log   bytes.Buffer
}

func startSession(t *testing.T) *session {
	t.Helper()
	s := &session{cmd: exec.CommandContext(t.Context(), java(), append(sparkArguments(t), "-")...)}
	s.cmd.Stderr = &s.log
	var err error
	if s.tasks, err = s.cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	out, err := s.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	s.out = bufio.NewReader(out)
	if err := s.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = s.tasks.Close()
		_ = s.cmd.Wait() // that there were faults is said by then
	})
	return s
}

// do has a file of tasks carried out and reports what was found wrong.
func (s *session) do(t *testing.T, tasks string) {
	t.Helper()
	report(t, s.ask(t, tasks))
}

// ask has a file of tasks carried out and returns what was found wrong.
func (s *session) ask(t *testing.T, tasks string) (faults []string) {
	t.Helper()
	text, err := os.ReadFile(tasks)
	if err != nil {
		t.Fatal(err)
	}
	sent := make(chan error, 1)
	go func() {
		_, err := s.tasks.Write(text)
		sent <- err
	}()
	for left := bytes.Count(text, []byte("\n")); left > 0; {
		line, err := s.out.ReadBytes('\n')
		if err != nil {
			t.Fatalf("Spark left %d tasks of %s: %v\n%s", left, filepath.Base(tasks), err, tail(s.log.String()))
		}
		var a answer
		if json.Unmarshal(line, &a) == nil && a.Task != "" {
			left--
			faults = append(faults, a.faults()...)
		}
	}
	if err := <-sent; err != nil {
		t.Fatal(err)
	}
	return faults
}
