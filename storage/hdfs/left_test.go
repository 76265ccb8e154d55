package hdfs

import (
	"errors"
	"io/fs"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
)

// TestLeftOpen: a file that somebody died over while he wrote it is there for whoever comes next, at whatever stage the
// namenode's recovery of its lease is, and can be removed.
func TestLeftOpen(t *testing.T) {
	s := servicetest.Shared(t)
	s.Do(t, "lease 300 3600000")
	defer s.Do(t, "lease 60000 1200000")
	f, dir := shared(t)
	dying, _ := connect(t, s, nil)
	name := dir + "/half"
	w, err := dying.Create(t.Context(), name, 0o644)
	if err == nil {
		_, err = w.Write(make([]byte, 1<<20))
	}
	if err == nil {
		err = dying.Close() // and nobody renews the lease
	}
	if err != nil {
		t.Fatal(err)
	}
	for range 20 {
		if _, err := f.Create(t.Context(), name, 0o644); !errors.Is(err, fs.ErrExist) {
			t.Fatalf("created over it: %v", err)
		}
		if err := rest(t.Context(), 100*time.Millisecond); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.Remove(t.Context(), name); err != nil {
		t.Fatal(err)
	}
	if w, err = f.Create(t.Context(), name, 0o644); err == nil {
		err = w.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
}
