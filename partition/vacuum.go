package partition

import (
	"context"
	"errors"
	"time"
)

// VacuumOptions says what Vacuum removes.
type VacuumOptions struct {
	Keep   time.Duration // versions younger than this stay; 0: the configuration's keep-history, else 168h
	DryRun bool          // only say what would go
}

// Vacuumed is what Vacuum removed, or would.
type Vacuumed struct {
	DryRun   bool        `json:"dry_run"`
	Versions int         `json:"versions"`
	Staging  int         `json:"staging"` // abandoned staging folders
	Bytes    int64       `json:"bytes"`
	Left     HistorySize `json:"left"`
	// StagedRuns wait for Publish or Discard. Vacuum leaves them, however old they are.
	StagedRuns []StagedRun `json:"staged,omitempty"`
}

// defaultKeep is how long vacuum leaves earlier versions, where nothing else is said.
const defaultKeep = 168 * time.Hour

// Vacuum removes versions that have not been live for long, and the staging of runs that are gone.
// Queries that still read a removed version fail, which is what Keep is for. The live version is
// never touched, and neither are runs that are staged: they stay until Publish or Discard.
func (t *Table) Vacuum(ctx context.Context, o VacuumOptions) (*Vacuumed, error) {
	if o.Keep < 0 {
		return nil, locate(fault(ErrUsage, "keep %s: must not be negative", o.Keep), "", StepOpen)
	}
	if err := t.known(ctx); err != nil {
		return nil, locate(err, "", StepOpen)
	}
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return nil, err
	}
	keep := o.Keep
	if keep == 0 {
		// The configuration was validated when it was read.
		keep, _ = c.keep()
	}
	if keep == 0 {
		keep = defaultKeep
	}
	out := &Vacuumed{DryRun: o.DryRun}
	if !o.DryRun {
		done, err := t.store.Recover(ctx, nil)
		if err = errors.Join(err, done.Err()); err != nil {
			return nil, locate(swapError(err), "", StepRecover)
		}
		out.Staging = len(done.Undone)
	}
	removed, err := t.store.Vacuum(ctx, keep, o.DryRun)
	if err != nil {
		return nil, locate(swapError(err), "", StepPublish)
	}
	for _, v := range removed {
		out.Versions++
		out.Bytes += v.Bytes
	}
	if out.Left, err = t.historySize(ctx); err == nil {
		out.StagedRuns, err = t.staged(ctx)
	}
	return out, locate(err, "", StepList)
}
