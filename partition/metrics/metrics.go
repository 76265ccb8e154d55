// Package metrics tells Prometheus what became of the last run on a table: by a file for the node exporter's textfile
// collector ([WriteFile]), or by a Pushgateway ([Push]). Both take the [partition.Report] of a run, also of one that failed.
//
// All names begin with hupsert_last_, since a command that ends has a last run and no rates. The time of the last success
// outlives runs that fail after it: the Pushgateway keeps it, and WriteFile carries it over from the file that it replaces.
package metrics

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/push"
	"github.com/prometheus/common/expfmt"

	"github.com/hupsert/hupsert/partition"
)

// Job is the name under which runs are pushed.
const Job = "hupsert"

// pushTimeout is how long a gateway has for its answer.
const pushTimeout = 10 * time.Second

// Run is a run that has ended.
type Run struct {
	Table   string // as the user named it
	Command string // "upsert"
	Report  *partition.Report
	Err     error          // nil: it succeeded
	Kind    partition.Kind // of Err; "": by partition.KindOf
	Ended   time.Time
	Seconds float64 // by the clock
}

// WriteFile writes the metrics of a run to a file, whole or not at all. The node exporter reads files that end in .prom.
func WriteFile(name string, r Run) error {
	list := r.gauges("table")
	if r.Err != nil {
		before, err := lastSuccess(name, r.Table)
		if err != nil {
			return err
		}
		if before > 0 {
			list.set("success_timestamp_seconds", before)
		}
	}
	registry, err := list.registry()
	if err != nil {
		return err
	}
	return prometheus.WriteToTextfile(name, registry)
}

// Push sends the metrics of a run to a Pushgateway, as those of the job "hupsert" and the table. User and password may be part
// of the URL; errors do not tell them.
func Push(ctx context.Context, gateway string, r Run) error {
	u, err := url.Parse(gateway)
	if err != nil || u.Host == "" {
		return errors.New("the Pushgateway's URL is none: want http://host:9091")
	}
	registry, err := r.gauges("").registry()
	if err != nil {
		return err
	}
	login := u.User
	u.User = nil
	ctx, cancel := context.WithTimeout(ctx, pushTimeout)
	defer cancel()
	p := push.New(strings.TrimSuffix(u.String(), "/"), Job).Grouping("table", r.Table).Gatherer(registry).Client(http.DefaultClient)
	if login != nil {
		password, _ := login.Password()
		p.BasicAuth(login.Username(), password)
	}
	return p.AddContext(ctx)
}

// gauges are the metrics of a run.
type gauges struct {
	constant prometheus.Labels
	order    []string
	vectors  map[string]*prometheus.GaugeVec
}

const prefix = "hupsert_last_"

// help says what each metric is, and which labels it has of its own.
var help = map[string]struct {
	text   string
	labels []string
}{
	"run_timestamp_seconds":     {"When the last run ended, in seconds since 1970.", nil},
	"run_success":               {"Whether the last run succeeded: 1, else 0.", nil},
	"success_timestamp_seconds": {"When the last run ended that succeeded, in seconds since 1970.", nil},
	"run_duration_seconds":      {"How long the last run took.", nil},
	"run_peak_memory_bytes":     {"The largest memory of the last run's process.", nil},
	"run_partitions":            {"Partitions of the last run, by what became of them.", []string{"status"}},
	"run_rows":                  {"Rows of the last run, by class.", []string{"class"}},
	"run_bytes":                 {"Bytes of the last run, by route; read are those of old files that were read.", []string{"route"}},
	"run_files":                 {"Files of the last run's partitions, before and after it.", []string{"when"}},
	"run_step_seconds":          {"How long the steps of the last run took, added over its partitions, which go side by side.", []string{"step"}},
	"run_error":                 {"1 with the kind of the error that ended the last run; none where it succeeded.", []string{"kind"}},
}

func (g *gauges) set(name string, value float64, labels ...string) {
	v := g.vectors[name]
	if v == nil {
		h := help[name]
		v = prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: prefix + name, Help: h.text, ConstLabels: g.constant}, h.labels)
		g.vectors[name], g.order = v, append(g.order, name)
	}
	v.WithLabelValues(labels...).Set(value)
}

func (g *gauges) registry() (*prometheus.Registry, error) {
	r := prometheus.NewRegistry()
	for _, name := range g.order {
		if err := r.Register(g.vectors[name]); err != nil {
			return nil, fmt.Errorf("metric %s: %w", name, err)
		}
	}
	return r, nil
}

// gauges makes the metrics of a run, with the table as a label of that name; "": without.
func (r Run) gauges(table string) *gauges {
	g := &gauges{constant: prometheus.Labels{"command": r.Command}, vectors: map[string]*prometheus.GaugeVec{}}
	if table != "" {
		g.constant[table] = r.Table
	}
	ended := float64(r.Ended.UnixMilli()) / 1000
	g.set("run_timestamp_seconds", ended)
	g.set("run_duration_seconds", r.Seconds)
	if r.Err == nil {
		g.set("run_success", 1)
		g.set("success_timestamp_seconds", ended)
	} else {
		g.set("run_success", 0)
		g.set("run_error", 1, string(cmp.Or(r.Kind, partition.KindOf(r.Err))))
	}
	if r.Report != nil {
		g.report(r.Report)
	}
	return g
}

// report adds what a report counts. Every class, route and step is there, so that a series does not end where one is zero.
func (g *gauges) report(r *partition.Report) {
	for _, s := range []partition.Status{partition.Published, partition.Noop, partition.Staged, partition.Failed, partition.Conflict, partition.Skipped, partition.Undone} {
		g.set("run_partitions", 0, string(s))
	}
	tally := map[partition.Status]float64{}
	var steps partition.Seconds
	batch := slices.ContainsFunc(r.Partitions, func(p partition.PartitionReport) bool { return p.Run != "" })
	for _, p := range r.Partitions {
		tally[p.Status]++
		if batch { // each has a source of its own
			steps.Source += p.Seconds.Source
		} else {
			steps.Source = max(steps.Source, p.Seconds.Source) // the whole run's
		}
		steps.Index, steps.Probe, steps.Plan = steps.Index+p.Seconds.Index, steps.Probe+p.Seconds.Probe, steps.Plan+p.Seconds.Plan
		steps.Write, steps.Verify, steps.Publish = steps.Write+p.Seconds.Write, steps.Verify+p.Seconds.Verify, steps.Publish+p.Seconds.Publish
	}
	for status, n := range tally {
		g.set("run_partitions", n, string(status))
	}
	rows, bytes := r.Total.Rows, r.Total.Bytes
	for class, n := range map[string]int64{"old": rows.Old, "source": rows.Source, "kept": rows.Kept, "inserted": rows.Inserted, "updated": rows.Updated,
		"moved": rows.Moved, "moved_out": rows.MovedOut, "unchanged": rows.Unchanged, "deleted": rows.Deleted, "stale_skipped": rows.StaleSkipped, "ignored": rows.Ignored,
		"source_duplicates": rows.SourceDuplicates, "old_duplicates": rows.OldDuplicates, "null_keys": rows.NullKeys, "old_null_keys": rows.OldNullKeys,
		"rejected": rows.Rejected, "out": rows.Out} {
		g.set("run_rows", float64(n), class)
	}
	for route, n := range map[string]int64{"read": bytes.Read, "kept": bytes.Kept, "copied": bytes.Copied, "patched": bytes.Patched,
		"rewritten": bytes.Rewritten, "added": bytes.Added} {
		g.set("run_bytes", float64(n), route)
	}
	for step, s := range map[string]float64{"source": steps.Source, "index": steps.Index, "probe": steps.Probe, "plan": steps.Plan, "write": steps.Write,
		"verify": steps.Verify, "publish": steps.Publish} {
		g.set("run_step_seconds", s, step)
	}
	g.set("run_files", float64(r.Total.Files.Before), "before")
	g.set("run_files", float64(r.Total.Files.After), "after")
	if r.Total.PeakMemoryBytes > 0 {
		g.set("run_peak_memory_bytes", float64(r.Total.PeakMemoryBytes))
	}
}

// lastSuccess is when the last run succeeded by a file that WriteFile wrote, 0 where it does not say. A file that is none of
// metrics is not replaced.
func lastSuccess(name, table string) (float64, error) {
	f, err := os.Open(name)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var p expfmt.TextParser
	families, err := p.TextToMetricFamilies(f)
	if err != nil {
		return 0, fmt.Errorf("%s is no file of metrics: %w", name, err)
	}
	for _, m := range families[prefix+"success_timestamp_seconds"].GetMetric() {
		for _, l := range m.GetLabel() {
			if l.GetName() == "table" && l.GetValue() == table {
				return m.GetGauge().GetValue(), nil
			}
		}
	}
	return 0, nil
}
