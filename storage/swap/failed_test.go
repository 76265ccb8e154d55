package swap

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"testing"

	"github.com/hupsert/hupsert/storage/mem"
)

// TestFailures: failed runs are remembered beside a state that is there, the newest of them, and a note that is half written
// stands in nobody's way.
func TestFailures(t *testing.T) {
	ctx := t.Context()
	m := mem.New()
	if err := m.Mkdir(ctx, "/table", 0o755); err != nil {
		t.Fatal(err)
	}
	s, err := Open(ctx, m, "/table", Options{})
	if err != nil {
		t.Fatal(err)
	}
	note := func(run string) {
		t.Helper()
		if err := s.NoteFailure(ctx, run, json.RawMessage(`{"run":"`+run+`"}`)); err != nil {
			t.Fatal(err)
		}
	}
	note("0")
	if there, err := s.exists(ctx, s.StateDir()); err != nil || there {
		t.Fatal("a run that failed before there was a state made one")
	}
	if err := s.makeState(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range 5 {
		note(fmt.Sprintf("run-%d", i))
	}
	if err := s.forgetFailures(ctx, 3); err != nil {
		t.Fatal(err)
	}
	w, err := m.Create(ctx, path.Join(s.StateDir(), failedDir, "run-9.json"), fs.FileMode(0o644))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := w.Write([]byte(`{"run":`)); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	list, err := s.Failures(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, f := range list {
		var v struct{ Run string }
		if err := json.Unmarshal(f.Detail, &v); err != nil || v.Run != f.Run {
			t.Errorf("%s: %s, %v", f.Run, f.Detail, err)
		}
		got = append(got, f.Run)
	}
	if want := "[run-2 run-3 run-4]"; fmt.Sprint(got) != want {
		t.Errorf("got %v, want %s", got, want)
	}
}
