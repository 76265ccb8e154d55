package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/metrics"
	"github.com/hupsert/hupsert/partition/openlineage"
	"github.com/hupsert/hupsert/partition/tracing"
)

// telling is who is told of a command's run: Prometheus of its end, OpenLineage of both ends, OpenTelemetry of all its steps.
type telling struct {
	session        *session
	job            *job
	command, table string
	started        time.Time
	lineage        *openlineage.Run
	spans          *tracing.Spans
}

// tell tells that a run begins. The context is the run's. An error is one of the command line: who is told can't be made out.
func (s *session) tell(ctx context.Context, command, table string, j *job) (context.Context, *telling, error) {
	var faults []error
	for _, err := range append(j.lineage.Faults(), j.trace.Check()) {
		if err != nil {
			faults = append(faults, fmt.Errorf("--%w", err))
		}
	}
	if len(faults) > 0 {
		return ctx, nil, usageError{errors.Join(faults...), "hupsert " + command + " --help"}
	}
	t := &telling{session: s, job: j, command: command, table: table, started: time.Now()}
	build := buildInfo()
	t.lineage = j.lineage.Begin(ctx, openlineage.About{Command: command, Table: table, From: j.source.From, Version: build.Version,
		Started: t.started, Print: s.lineageLine, Warn: s.warn})
	ctx, t.spans = j.trace.Begin(ctx, "hupsert "+command, build.Version, s.warn, attribute.String("hupsert.table", table))
	j.config.Tracer = t.spans.Provider()
	return ctx, t, nil
}

// check refuses files in the table, where they would be taken for a part of it.
func (t *telling) check(ctx context.Context, table *partition.Table) error {
	if t == nil { // of a plan nobody is told
		return nil
	}
	return errors.Join(t.job.metrics.Check(ctx, table), t.lineage.Check(ctx, table))
}

// end tells what became of the run. The report is nil where it did not come to one.
func (t *telling) end(ctx context.Context, report *partition.Report, err error) {
	if ctx.Err() == nil {
		t.session.decided = true // whoever interrupts the telling does not interrupt the run any more
	}
	r := metrics.Run{Table: t.table, Command: t.command, Report: report, Err: err, Ended: time.Now(), Seconds: time.Since(t.started).Seconds()}
	var usage usageError
	if errors.As(err, &usage) {
		r.Kind = partition.KindUsage
	}
	t.spans.End(ctx, err)
	t.job.metrics.Tell(ctx, r, t.session.warn)
	t.lineage.End(ctx, report, err)
}
