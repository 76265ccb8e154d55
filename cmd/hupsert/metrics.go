package main

import (
	"context"
	"errors"
	"time"

	"github.com/spf13/pflag"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/partition/metrics"
)

// monitoring is where a command tells Prometheus what became of its run.
type monitoring struct {
	textfile string
	gateway  string
}

func (m *monitoring) bind(f *pflag.FlagSet) {
	f.StringVar(&m.textfile, "metrics-textfile", "", "`FILE` (.prom) for the node exporter's textfile collector, written when the run ends")
	f.StringVar(&m.gateway, "metrics-push", "", "`URL` of a Prometheus Pushgateway that is told when the run ends")
}

// check refuses a file in the table, where it would be taken for a part of that.
func (m *monitoring) check(ctx context.Context, table *partition.Table) error {
	if m.textfile == "" {
		return nil
	}
	err := table.CheckOutput(ctx, "--metrics-textfile", m.textfile)
	if err != nil {
		m.textfile = ""
	}
	return err
}

// tell tells what became of a run, also of one that failed or was interrupted. The run is what it is: where nobody takes its metrics, that is a warning.
func (m *monitoring) tell(ctx context.Context, s *session, command, table string, started time.Time, report *partition.Report, err error) {
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what came of the interruption is not worth telling
	}
	r := metrics.Run{Table: table, Command: command, Report: report, Err: err, Ended: time.Now(), Seconds: time.Since(started).Seconds()}
	var usage usageError
	if errors.As(err, &usage) {
		r.Kind = partition.KindUsage
	}
	if m.textfile != "" {
		if err := metrics.WriteFile(m.textfile, r); err != nil {
			s.warn("--metrics-textfile: " + err.Error())
		}
	}
	if m.gateway != "" {
		if err := metrics.Push(context.WithoutCancel(ctx), m.gateway, r); err != nil {
			s.warn("--metrics-push: " + err.Error())
		}
	}
}
