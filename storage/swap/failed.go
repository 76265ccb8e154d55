package swap

import (
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strings"

	"github.com/hupsert/hupsert/storage/stage"
)

// maxFailures is how many failed runs are remembered; the oldest are forgotten.
const maxFailures = 1000

// Failure is what the layer above noted of a run that failed.
type Failure struct {
	Run    string
	Detail json.RawMessage
}

// NoteFailure remembers a run that failed, for people: nothing rests on it. A table that has no state yet gets none by
// this.
func (s *Store) NoteFailure(ctx context.Context, run string, detail json.RawMessage) error {
	dir := path.Join(s.state, failedDir)
	err := s.fsys.Mkdir(ctx, dir, 0o755)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil && !errors.Is(err, fs.ErrExist):
		return err
	}
	// Straight to its name: who reads it half written passes it by.
	if err := stage.WriteJSON(ctx, s.fsys, path.Join(dir, run+".json"), detail); err != nil {
		return err
	}
	return s.forgetFailures(ctx, maxFailures)
}

// forgetFailures leaves the newest notes, by the names of their runs.
func (s *Store) forgetFailures(ctx context.Context, most int) error {
	list, err := s.listed(ctx, failedDir)
	if err != nil {
		return err
	}
	for len(list) > most {
		err := s.fsys.Remove(ctx, path.Join(s.state, failedDir, list[0].Name))
		if err != nil && !errors.Is(err, fs.ErrNotExist) { // another run may be forgetting it, too
			return err
		}
		list = list[1:]
	}
	return nil
}

// Failures lists the runs that NoteFailure noted, oldest name first. What can't be read is left out: a run may be writing it.
func (s *Store) Failures(ctx context.Context) ([]Failure, error) {
	list, err := s.listed(ctx, failedDir)
	if err != nil {
		return nil, err
	}
	out := make([]Failure, len(list))
	err = s.each(len(list), func(i int) error {
		run, ok := strings.CutSuffix(list[i].Name, ".json")
		if !ok {
			return nil
		}
		var detail json.RawMessage
		err := stage.ReadJSON(ctx, s.fsys, path.Join(s.state, failedDir, list[i].Name), &detail)
		switch {
		case err == nil:
			out[i] = Failure{Run: run, Detail: detail}
		case errors.Is(err, fs.ErrNotExist), errors.Is(err, stage.ErrUnreadable):
		default:
			return err
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	kept := out[:0]
	for _, f := range out {
		if f.Run != "" {
			kept = append(kept, f)
		}
	}
	return kept, nil
}
