package partition

import (
	"context"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	status "go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/trace"

	"github.com/hupsert/hupsert/merge"
)

// instrumentation is the name by which spans tell who made them.
const instrumentation = "github.com/hupsert/hupsert/partition"

// newTracer is what makes the spans of runs.
func (c *Config) newTracer() trace.Tracer {
	if c.Tracer != nil {
		return c.Tracer.Tracer(instrumentation)
	}
	return otel.GetTracerProvider().Tracer(instrumentation)
}

// span begins a span, which ends with what it was for.
func (t *Table) span(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, trace.Span) {
	if len(attributes) == 0 {
		return t.tracer.Start(ctx, name)
	}
	return t.tracer.Start(ctx, name, trace.WithAttributes(attributes...))
}

// endSpan ends a span, with the error of what it was for.
func endSpan(s trace.Span, err error) {
	if err != nil && s.IsRecording() {
		s.RecordError(err)
		s.SetStatus(status.Error, err.Error())
		s.SetAttributes(attribute.String("hupsert.error.kind", string(KindOf(err))))
	}
	s.End()
}

// traced does something within a span.
func (t *Table) traced(ctx context.Context, name string, do func(context.Context) error) error {
	ctx, s := t.span(ctx, name)
	err := do(ctx)
	endSpan(s, err)
	return err
}

// runSpan begins the span of a whole run.
func (r *run) runSpan(ctx context.Context) (context.Context, trace.Span) {
	name := "upsert"
	switch {
	case r.diff != nil:
		name = "diff"
	case r.compaction != nil:
		name = "compact"
	case r.dry:
		name = "plan"
	}
	return r.span(ctx, name, attribute.String("hupsert.run", r.id), attribute.String("hupsert.table", r.url))
}

// endRunSpan ends the span of a whole run with what its report says.
func endRunSpan(s trace.Span, report *Report, err error) {
	if s.IsRecording() && report != nil {
		s.SetAttributes(attribute.String("hupsert.mode", string(report.Mode)), attribute.Int("hupsert.partitions", len(report.Partitions)))
		s.SetAttributes(amounts(report.Total.Rows, report.Total.Bytes, report.Total.Files)...)
		if report.Publish != "" {
			s.SetAttributes(attribute.String("hupsert.publish", report.Publish))
		}
	}
	endSpan(s, err)
}

// partitionSpan begins the span of one partition's merge.
func (r *run) partitionSpan(ctx context.Context, path string) (context.Context, trace.Span) {
	return r.span(ctx, "partition", attribute.String("hupsert.table", r.url), attribute.String("hupsert.partition", path))
}

// end ends the span of the partition's merge with what became of it.
func (o *outcome) end(s trace.Span) {
	if s.IsRecording() {
		p := &o.report
		s.SetAttributes(attribute.String("hupsert.status", string(p.Status)))
		s.SetAttributes(amounts(p.Rows, p.Bytes, p.Files)...)
	}
	endSpan(s, o.err)
}

// amounts are rows, bytes by route and files as attributes.
func amounts(r Rows, b Bytes, f Files) []attribute.KeyValue {
	return []attribute.KeyValue{
		attribute.Int64("hupsert.rows.old", r.Old), attribute.Int64("hupsert.rows.source", r.Source),
		attribute.Int64("hupsert.rows.inserted", r.Inserted), attribute.Int64("hupsert.rows.updated", r.Updated),
		attribute.Int64("hupsert.rows.deleted", r.Deleted), attribute.Int64("hupsert.rows.out", r.Out),
		attribute.Int64("hupsert.rows.moved", r.Moved), attribute.Int64("hupsert.rows.moved_out", r.MovedOut),
		attribute.Int64("hupsert.bytes.read", b.Read), attribute.Int64("hupsert.bytes.kept", b.Kept),
		attribute.Int64("hupsert.bytes.copied", b.Copied), attribute.Int64("hupsert.bytes.patched", b.Patched),
		attribute.Int64("hupsert.bytes.rewritten", b.Rewritten), attribute.Int64("hupsert.bytes.added", b.Added),
		attribute.Int("hupsert.files.before", f.Before), attribute.Int("hupsert.files.after", f.After),
	}
}

// mergeSteps tells of the steps of a merge that was decided: they come one after the other, and the merge, which knows no
// spans, says how long each took.
func (r *run) mergeSteps(ctx context.Context, began time.Time, s merge.Seconds) {
	if !trace.SpanFromContext(ctx).IsRecording() {
		return
	}
	for _, step := range []struct {
		name string
		took time.Duration
	}{{"index", s.Index}, {"probe", s.Probe}, {"compare", s.Compare}, {"plan", s.Plan}} {
		_, span := r.tracer.Start(ctx, step.name, trace.WithTimestamp(began))
		began = began.Add(step.took)
		span.End(trace.WithTimestamp(began))
	}
}
