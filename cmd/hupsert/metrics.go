package main

import (
	"context"
	"errors"
	"time"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/metrics"
)

// tell tells Prometheus what became of a command's run.
func (s *session) tell(ctx context.Context, to *metrics.Target, command, table string, started time.Time, report *partition.Report, err error) {
	r := metrics.Run{Table: table, Command: command, Report: report, Err: err, Ended: time.Now(), Seconds: time.Since(started).Seconds()}
	var usage usageError
	if errors.As(err, &usage) {
		r.Kind = partition.KindUsage
	}
	to.Tell(ctx, r, s.warn)
}
