package partition

import (
	"context"
	"errors"
)

// Recovery is what Recover did.
type Recovery struct {
	Finished []string `json:"finished"` // runs that were committed and are now published
	Undone   []string `json:"undone"`   // runs that were not, and left nothing
	// Staged runs wait for Publish or Discard. Recover leaves them.
	Staged []StagedRun `json:"staged,omitempty"`
}

// Recover finishes what interrupted runs had committed, and undoes what they had not. Runs that are
// under way are left alone. Calling it again changes nothing. Every run does it for itself.
func (t *Table) Recover(ctx context.Context) (*Recovery, error) {
	if err := t.known(ctx); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	t.watch.send(Event{Step: StepRecover, Time: t.cfg.Now()})
	done, err := t.store.Recover(ctx, nil)
	if err = errors.Join(err, done.Err()); err != nil {
		return nil, locate(swapError(err), "", StepRecover)
	}
	staged, err := t.staged(ctx)
	return &Recovery{Finished: orEmpty(done.Finished), Undone: orEmpty(done.Undone), Staged: staged}, locate(err, "", StepList)
}
