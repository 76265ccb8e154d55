//go:build unix

package servicetest

import (
	"syscall"
	"testing"
	"time"
)

// A namenode that hangs answers when it is over, and so does a stopped process.
func TestHang(t *testing.T) {
	s := Shared(t)
	folder := s.Folder(t)
	begun := time.Now()
	s.Do(t, "hang 700")
	s.Do(t, "mkdir "+folder+"/after")
	if took := time.Since(begun); took < 600*time.Millisecond {
		t.Errorf("the call under a hanging namenode took %v", took)
	}

	s.Signal(t, syscall.SIGSTOP)
	answered := make(chan error, 1)
	go func() {
		_, err := s.Try("stat " + folder)
		answered <- err
	}()
	select {
	case err := <-answered:
		t.Errorf("a stopped process answered: %v", err)
		s.Signal(t, syscall.SIGCONT)
	case <-time.After(300 * time.Millisecond):
		s.Signal(t, syscall.SIGCONT)
		if err := <-answered; err != nil {
			t.Error(err)
		}
	}
}
