// Package openlineage tells a lineage server of runs, by events of the OpenLineage specification: which files and partitions were read,
// which table was written, how many rows. [Target.Begin] tells that a run begins, and [Run.End] what became of it: COMPLETE (also
// where nothing was to be done), FAIL, or ABORT where it was interrupted. A run that was killed says no more; the next one is
// another run.
//
// A server that fails or hangs is a warning. The first event is sent while the run goes on, and both together have the time-out once
// the run has ended.
package openlineage

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"strings"
	"time"

	"github.com/google/uuid"

	"github.com/hupsert/hupsert/partition"
)

// Target is where events go, and what the job is called there. The zero value goes by the environment, as OpenLineage's own clients
// do: OPENLINEAGE_URL, OPENLINEAGE_ENDPOINT, OPENLINEAGE_API_KEY, OPENLINEAGE_NAMESPACE, OPENLINEAGE_DISABLED, and
// OPENLINEAGE_PARENT_ID for the run that started ours.
type Target struct {
	To          string        // URL of a server, a file that lines are added to, or "console". "": OPENLINEAGE_URL, else nobody
	Namespace   string        // of the job. "": OPENLINEAGE_NAMESPACE, else "default"
	Job         string        // "": by the command and the table
	NominalTime string        // for when the run was planned, as RFC 3339. "": what Airflow says, else none
	Timeout     time.Duration // 0: 5 s
}

// Console is the Target.To that hands events to whoever runs us.
const Console = "console"

const (
	usualTimeout   = 5 * time.Second
	usualNamespace = "default"
)

// About is the run that is told of. Print and Warn must be there.
type About struct {
	Command string // "upsert"
	Job     string // what it is called where the target does not say; "": by the command and the table
	Table   string // as the user named it
	From    []string
	Version string // of this program
	Started time.Time
	Print   func(line []byte) // takes events for the console
	Warn    func(text string)
}

// server reports whether events go to a server, and which.
func (t *Target) server() bool { return strings.Contains(t.To, "://") }

// file is the file that events go to; "": to none.
func (t *Target) file() string {
	if t.server() || t.To == Console {
		return ""
	}
	return t.To
}

// Faults are the fields that make no sense.
func (t *Target) Faults() (errs []error) {
	if t.server() {
		if _, err := newReceiver(t.To, usualEndpoint, ""); err != nil {
			errs = append(errs, fmt.Errorf("lineage: %w", err))
		}
	}
	if _, err := time.Parse(time.RFC3339, t.NominalTime); t.NominalTime != "" && err != nil {
		errs = append(errs, fmt.Errorf("lineage-nominal-time %q: want a time such as 2026-11-20T00:00:00Z", t.NominalTime))
	}
	if t.Timeout < 0 {
		errs = append(errs, errors.New("lineage-timeout: must not be negative"))
	}
	return errs
}

// transport is where events go; nil: nobody wants them.
func (t *Target) transport(show func([]byte)) (transport, error) {
	if strings.EqualFold(os.Getenv("OPENLINEAGE_DISABLED"), "true") {
		return nil, nil
	}
	endpoint := cmp.Or(os.Getenv("OPENLINEAGE_ENDPOINT"), usualEndpoint)
	switch to := cmp.Or(t.To, os.Getenv("OPENLINEAGE_URL")); {
	case to == "":
		return nil, nil
	case t.To == Console:
		return console(show), nil
	case t.file() != "":
		return file(t.To), nil
	default:
		r, err := newReceiver(to, endpoint, os.Getenv("OPENLINEAGE_API_KEY"))
		if err != nil {
			return nil, err // not a nil receiver in an interface
		}
		return r, nil
	}
}

// Run is a run that was begun; nil where nobody wants to know.
type Run struct {
	target *Target
	about  About
	to     transport
	event  event
	held   []byte     // the first event, until it is known that the file is not in the table
	begun  chan error // how the first event was taken
	cancel context.CancelFunc
}

// Begin tells that a run begins, and does not wait for the answer. Nothing is told of plans.
func (t *Target) Begin(ctx context.Context, about About) *Run {
	to, err := t.transport(about.Print)
	if err != nil {
		about.Warn("lineage: " + err.Error())
	}
	if to == nil {
		return nil
	}
	r := &Run{target: t, about: about, to: to, begun: make(chan error, 1)}
	r.event = event{EventType: start, Producer: producer, SchemaURL: eventURL, EventTime: moment(about.Started), Inputs: r.inputs(), Outputs: []dataset{r.output()}}
	r.event.Run = runOf{RunID: newID(), Facets: r.runFacets()}
	r.event.Job = jobOf{Namespace: cmp.Or(t.Namespace, os.Getenv("OPENLINEAGE_NAMESPACE"), usualNamespace), Name: t.jobName(about),
		Facets: facets{"jobType": standard("2-0-4", "JobTypeJobFacet", map[string]any{"processingType": "BATCH", "integration": "HUPSERT", "jobType": "JOB"})}}
	line, err := json.Marshal(r.event)
	if err != nil {
		r.begun <- err
		return r
	}
	ctx, r.cancel = context.WithCancel(context.WithoutCancel(ctx))
	switch to.(type) {
	case file:
		r.held = line
	case console:
		r.begun <- to.send(ctx, line)
	default:
		go func() { r.begun <- to.send(ctx, line) }()
	}
	return r
}

// Check refuses a file in the table, where it would be taken for a part of that, and forgets the run.
func (r *Run) Check(ctx context.Context, table *partition.Table) error {
	if r == nil || r.held == nil {
		return nil
	}
	if err := table.CheckOutput(ctx, "--lineage", r.target.file()); err != nil {
		r.to = nil
		return err
	}
	r.release(ctx)
	return nil
}

// release writes the event that was held back.
func (r *Run) release(ctx context.Context) {
	if r.held != nil {
		r.begun <- r.to.send(ctx, r.held)
		r.held = nil
	}
}

// inTable reports whether the file seems to lie in a table that could not be opened.
func (r *Run) inTable() bool {
	own, err := partition.Locate(r.target.file())
	table := r.output()
	return err != nil || own.Store == table.Namespace && strings.HasPrefix(own.Name, table.Name+"/")
}

// End tells what became of the run. The report is nil where it did not come to one.
func (r *Run) End(ctx context.Context, report *partition.Report, err error) {
	if r == nil || r.to == nil || r.held != nil && r.inTable() {
		return
	}
	r.release(ctx)
	if err != nil && ctx.Err() != nil {
		err = ctx.Err() // what came of the interruption is not worth telling
	}
	limit := cmp.Or(r.target.Timeout, usualTimeout)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	defer cancel()
	sent := r.awaitBegin(ctx)
	r.conclude(report, err)
	line, merr := json.Marshal(r.event)
	if merr == nil {
		merr = r.to.send(ctx, line)
	}
	switch first := cmp.Or(text(sent, limit), text(merr, limit)); {
	case first == "":
	case sent != nil && merr != nil:
		r.about.Warn("lineage: no event was taken: " + first)
	default:
		r.about.Warn("lineage: an event was not taken: " + first)
	}
}

// awaitBegin waits for the first event to be taken, so that the last one comes behind it.
func (r *Run) awaitBegin(ctx context.Context) error {
	if r.cancel != nil {
		defer r.cancel()
	}
	select {
	case err := <-r.begun:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func text(err error, limit time.Duration) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, context.DeadlineExceeded):
		return fmt.Sprintf("no answer within %s", limit)
	}
	return err.Error()
}

// conclude makes the last event of the first.
func (r *Run) conclude(report *partition.Report, err error) {
	e := &r.event
	e.EventTime = moment(time.Now())
	switch {
	case err == nil:
		e.EventType = complete
	case partition.KindOf(err) == partition.KindInterrupted:
		e.EventType = abort
	default:
		e.EventType = fail
	}
	if err != nil {
		e.Run.Facets["errorMessage"] = standard("1-0-1", "ErrorMessageRunFacet", map[string]any{"message": err.Error(), "programmingLanguage": "GO"})
	}
	if report == nil {
		return
	}
	e.Run.Facets["hupsert_run"] = facet{schema: ownFacet, fields: ownFields(r.about.Command, report)}
	e.Inputs = append(e.Inputs, r.oldRows(report)...)
	r.addStatistics(report)
}

// ownFields are the fields of our own facet.
func ownFields(command string, report *partition.Report) map[string]any {
	statuses := map[partition.Status]int{}
	for _, p := range report.Partitions {
		statuses[p.Status]++
	}
	f := map[string]any{"command": command, "mode": report.Mode, "partitions": statuses,
		"rows": report.Total.Rows, "bytes": report.Total.Bytes, "files": report.Total.Files, "seconds": report.Total.Seconds}
	if report.Run != "" {
		f["run"] = report.Run
	}
	if report.Publish != "" {
		f["publish"] = report.Publish
	}
	return f
}

// moment is a time as events have it.
func moment(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// newID is a run's name on the server: a UUID of version 7, which begin with the time.
func newID() string {
	id, err := uuid.NewV7()
	if err != nil {
		id = uuid.New()
	}
	return id.String()
}

// jobName is what the job is called.
func (t *Target) jobName(a About) string {
	trimmed := strings.TrimRight(a.Table, "/")
	return cmp.Or(t.Job, a.Job, service+"."+a.Command+"."+path.Base(trimmed))
}

const service = "hupsert"

// runFacets are what is known of a run from its beginning.
func (r *Run) runFacets() facets {
	f := facets{"processing_engine": standard("1-1-1", "ProcessingEngineRunFacet",
		map[string]any{"name": service, "version": cmp.Or(r.about.Version, "unknown"), "openlineageAdapterVersion": cmp.Or(r.about.Version, "unknown")})}
	if p := r.parent(); p != nil {
		f["parent"] = standard("1-2-0", "ParentRunFacet", p.fields())
	}
	if at := nominalTime(r.target.NominalTime); at != "" {
		f["nominalTime"] = standard("1-0-1", "NominalTimeRunFacet", map[string]any{"nominalStartTime": at})
	}
	return f
}

// nominalTime is when the run was planned for: as it was told, else as Airflow tells its tasks.
func nominalTime(told string) string {
	for _, text := range []string{told, os.Getenv("AIRFLOW_CTX_LOGICAL_DATE"), os.Getenv("AIRFLOW_CTX_EXECUTION_DATE")} {
		if t, err := time.Parse(time.RFC3339, text); err == nil {
			return moment(t)
		}
	}
	return ""
}

// parent is the run that has started ours, as the environment says: namespace/name/run.
func (r *Run) parent() *parent {
	p := r.parentOf("OPENLINEAGE_PARENT_ID")
	if p == nil {
		return nil
	}
	if p.root = r.parentOf("OPENLINEAGE_ROOT_PARENT_ID"); p.root == nil {
		p.root = &parent{namespace: p.namespace, name: p.name, run: p.run}
	}
	return p
}

func (r *Run) parentOf(variable string) *parent {
	value := os.Getenv(variable)
	if value == "" {
		return nil
	}
	parts := strings.Split(value, "/")
	if len(parts) == 3 && parts[0] != "" && parts[1] != "" {
		if id, err := uuid.Parse(parts[2]); err == nil {
			return &parent{namespace: parts[0], name: parts[1], run: id.String()}
		}
	}
	r.about.Warn(fmt.Sprintf("lineage: %s is %q: want namespace/job/run, where run is a UUID", variable, value))
	return nil
}
