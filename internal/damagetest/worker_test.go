package damagetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// patience is how long a task may take, also on a machine on which much else runs. What hangs hangs longer.
const patience = time.Minute

// worker is a process that answers each line of JSON by one. It is started when it is first asked, and again after it has died.
type worker struct {
	command func() *exec.Cmd

	cmd     *exec.Cmd
	in      io.WriteCloser
	answers chan json.RawMessage
	log     *bytes.Buffer
}

// errDied and errSlow say that there is no answer: the worker ended, or was ended after its time.
var (
	errDied = errors.New("died")
	errSlow = fmt.Errorf("took more than %s", patience)
)

func (w *worker) start() error {
	w.cmd, w.log = w.command(), &bytes.Buffer{}
	w.cmd.Stderr = w.log
	var err error
	if w.in, err = w.cmd.StdinPipe(); err != nil {
		return err
	}
	out, err := w.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := w.cmd.Start(); err != nil {
		return err
	}
	w.answers = make(chan json.RawMessage)
	go func(answers chan<- json.RawMessage) {
		defer close(answers)
		lines := json.NewDecoder(out)
		for {
			var line json.RawMessage
			if lines.Decode(&line) != nil {
				return
			}
			answers <- line
		}
	}(w.answers)
	return nil
}

// ask hands a question over and reads the answer.
func (w *worker) ask(question, answer any) error {
	if w.cmd == nil {
		if err := w.start(); err != nil {
			return err
		}
	}
	line, err := json.Marshal(question)
	if err != nil {
		return err
	}
	if _, err := w.in.Write(append(line, '\n')); err != nil && !errors.Is(err, os.ErrClosed) {
		return w.end(errDied)
	}
	late := time.NewTimer(patience)
	defer late.Stop()
	select {
	case line, ok := <-w.answers:
		if !ok {
			return w.end(errDied)
		}
		return json.Unmarshal(line, answer)
	case <-late.C:
		return w.end(errSlow)
	}
}

// end stops the process and says why, with the last that it wrote.
func (w *worker) end(why error) error {
	if w.cmd == nil {
		return why
	}
	_ = w.in.Close()
	if errors.Is(why, errSlow) {
		_ = w.cmd.Process.Kill()
	}
	for range w.answers { // the reader of the pipe ends with the process
	}
	_ = w.cmd.Wait()
	w.cmd = nil
	text := strings.TrimSpace(w.log.String())
	return fmt.Errorf("%w: %s", why, text[:min(len(text), 1500)])
}

// close lets the process end by itself.
func (w *worker) close() { _ = w.end(errDied) }
