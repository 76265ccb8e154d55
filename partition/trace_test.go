package partition

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// spanPaths writes spans as paths from the one at the top, each with the partition that it names, sorted.
func spanPaths(spans tracetest.SpanStubs) []string {
	by := map[trace.SpanID]tracetest.SpanStub{}
	for _, s := range spans {
		by[s.SpanContext.SpanID()] = s
	}
	var out []string
	for _, s := range spans {
		name := ""
		for at, ok := s, true; ok; at, ok = by[at.Parent.SpanID()] {
			own := at.Name
			for _, a := range at.Attributes {
				if a.Key == "hupsert.partition" {
					own += "(" + a.Value.AsString() + ")"
				}
			}
			name = path.Join(own, name)
		}
		if s.EndTime.Before(s.StartTime) {
			name += " ends before it begins"
		}
		if s.Status.Description != "" {
			name += " failed"
		}
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// tracedBench is a table whose spans are kept.
func tracedBench(t *testing.T) (*bench, func() []string) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	b.cfg.Tracer = provider
	return b, func() []string {
		defer kept.Reset()
		return spanPaths(kept.GetSpans())
	}
}

func same(t *testing.T, what string, got []string, want string) {
	t.Helper()
	if text := strings.Join(got, "\n"); text != strings.TrimSpace(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", what, text, strings.TrimSpace(want))
	}
}

// TestSpans: a span for each step of each partition, below the run's; of a partition in which nothing changes nothing is written.
func TestSpans(t *testing.T) {
	b, spans := tracedBench(t)
	b.upsert(Options{}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "2,bob,2026-11-21"))
	same(t, "upsert", spans(), `
upsert
upsert/lock
upsert/open
upsert/open/recover
upsert/partition(dt=2026-11-20)
upsert/partition(dt=2026-11-20)/list
upsert/partition(dt=2026-11-20)/merge
upsert/partition(dt=2026-11-20)/merge/compare
upsert/partition(dt=2026-11-20)/merge/index
upsert/partition(dt=2026-11-20)/merge/plan
upsert/partition(dt=2026-11-20)/merge/probe
upsert/partition(dt=2026-11-20)/verify
upsert/partition(dt=2026-11-20)/write
upsert/partition(dt=2026-11-21)
upsert/partition(dt=2026-11-21)/list
upsert/partition(dt=2026-11-21)/merge
upsert/partition(dt=2026-11-21)/merge/compare
upsert/partition(dt=2026-11-21)/merge/index
upsert/partition(dt=2026-11-21)/merge/plan
upsert/partition(dt=2026-11-21)/merge/probe
upsert/publish
upsert/recover
upsert/route
upsert/source`)

	_, err := b.try(Options{}, b.write("twice.csv", "id,name,dt", "1,x,2026-11-20", "1,y,2026-11-20"))
	if !errors.Is(err, ErrDuplicateKey) {
		t.Fatalf("%v", err)
	}
	got := slices.DeleteFunc(spans(), func(s string) bool { return !strings.HasSuffix(s, " failed") })
	same(t, "a key twice", got, `
upsert failed
upsert/partition(dt=2026-11-20) failed
upsert/partition(dt=2026-11-20)/merge failed`)
}

// TestSpansOfBatch: the partitions of a commit are below it, each with the source that is its own.
func TestSpansOfBatch(t *testing.T) {
	b, spans := tracedBench(t)
	parts := []Part{
		{Partition: "dt=2026-11-20", Source: Source{From: []string{b.write("a.csv", "id,name", "1,anna")}}},
		{Partition: "dt=2026-11-22", Source: Source{From: []string{b.write("b.csv", "id,name", "7,x", "7,y")}}}}
	if _, err := b.open().UpsertEach(t.Context(), Batch{Parts: parts}, Options{Key: []string{"id"}}); !errors.Is(err, ErrDuplicateKey) {
		t.Fatalf("%v", err)
	}
	got := slices.DeleteFunc(spans(), func(s string) bool { return strings.Contains(s, "/merge/") })
	same(t, "batch", got, `
upsert failed
upsert/group
upsert/group/lock
upsert/group/partition(dt=2026-11-20)
upsert/group/partition(dt=2026-11-20)/list
upsert/group/partition(dt=2026-11-20)/merge
upsert/group/partition(dt=2026-11-20)/route
upsert/group/partition(dt=2026-11-20)/source
upsert/group/partition(dt=2026-11-20)/verify
upsert/group/partition(dt=2026-11-20)/write
upsert/group/partition(dt=2026-11-22) failed
upsert/group/partition(dt=2026-11-22)/list
upsert/group/partition(dt=2026-11-22)/merge failed
upsert/group/partition(dt=2026-11-22)/route
upsert/group/partition(dt=2026-11-22)/source
upsert/group/publish
upsert/group/recover
upsert/open
upsert/open/recover`)
}

// TestSpansOfMoves: where keys are unique beyond their partition these are searched in a span of its own, before any is merged, and
// spans count the rows that move.
func TestSpansOfMoves(t *testing.T) {
	kept := tracetest.NewInMemoryExporter()
	provider := sdktrace.NewTracerProvider(sdktrace.WithSyncer(kept))
	t.Cleanup(func() { _ = provider.Shutdown(context.Background()) })
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	b.cfg.Tracer = provider
	b.upsert(Options{UniqueWithin: "7d"}, b.write("day.csv", "id,name,dt", "1,anna,2026-11-21"))
	got := slices.DeleteFunc(spanPaths(kept.GetSpans()), func(s string) bool { return strings.Count(s, "/") != 1 })
	same(t, "moves", got, `
upsert/lock
upsert/open
upsert/partition(dt=2026-11-20)
upsert/partition(dt=2026-11-21)
upsert/publish
upsert/recover
upsert/route
upsert/search
upsert/source`)
	counts := map[string]int64{}
	for _, s := range kept.GetSpans() {
		for _, a := range s.Attributes {
			if strings.HasPrefix(string(a.Key), "hupsert.rows.moved") {
				counts[s.Name+" "+string(a.Key)] += a.Value.AsInt64()
			}
		}
	}
	for _, name := range []string{"upsert hupsert.rows.moved", "upsert hupsert.rows.moved_out", "partition hupsert.rows.moved", "partition hupsert.rows.moved_out"} {
		if counts[name] != 1 {
			t.Errorf("%s: %d, want 1", name, counts[name])
		}
	}
}

// BenchmarkSpanOff is what a step's span costs where nobody takes it: there are about six to a partition.
func BenchmarkSpanOff(b *testing.B) {
	t := &Table{tracer: new(Config).newTracer()}
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = t.traced(ctx, "list", func(context.Context) error { return nil })
	}
}
