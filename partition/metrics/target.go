package metrics

import (
	"context"

	"github.com/hupsert/hupsert/partition"
)

// Target is where a run's metrics go; the zero value takes none.
type Target struct {
	File    string // for the node exporter's textfile collector
	Gateway string // URL of a Pushgateway
}

// Check refuses a file in the table, where it would be taken for a part of that, and forgets it.
func (t *Target) Check(ctx context.Context, table *partition.Table) error {
	if t.File == "" {
		return nil
	}
	err := table.CheckOutput(ctx, "--metrics-textfile", t.File)
	if err != nil {
		t.File = ""
	}
	return err
}

// Tell tells what became of a run, also of one that failed or was interrupted. The run is what it is: where nobody takes its
// metrics, that is a warning.
func (t *Target) Tell(ctx context.Context, r Run, warn func(text string)) {
	if r.Err != nil && ctx.Err() != nil {
		r.Err = ctx.Err() // what came of the interruption is not worth telling
	}
	if t.File != "" {
		if err := WriteFile(t.File, r); err != nil {
			warn("--metrics-textfile: " + err.Error())
		}
	}
	if t.Gateway != "" {
		if err := Push(context.WithoutCancel(ctx), t.Gateway, r); err != nil {
			warn("--metrics-push: " + err.Error())
		}
	}
}
