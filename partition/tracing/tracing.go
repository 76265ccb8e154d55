// Package tracing sends the spans of runs to an OpenTelemetry collector, by OTLP over HTTP. The spans themselves are made by
// [partition.Table], of its Config.Tracer; here is who takes them: [Target.Begin] makes a provider and the span above all others,
// and [Spans.End] sends what is left. A collector that does not answer costs a warning and at most the time-out.
//
// The environment's variables are those of OpenTelemetry's SDKs: OTEL_EXPORTER_OTLP_ENDPOINT and what else the exporter knows
// (headers, certificates, compression, time-out), OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_TRACES_SAMPLER,
// OTEL_SDK_DISABLED. TRACEPARENT and TRACESTATE name the trace that is gone on with.
package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

// Target is where spans go. The zero value goes by the environment, which mostly names nobody.
type Target struct {
	// URL is a collector's, as OTEL_EXPORTER_OTLP_ENDPOINT has it: http://host:4318.
	URL string
}

const (
	service = "hupsert"
	// usualTimeout is how long a collector has where the environment does not say.
	usualTimeout = 10 * time.Second
	// queued is how many spans wait for a collector; more are dropped, so that it holds nobody up.
	queued = 1 << 16
)

// Check says what is wrong with the URL.
func (t Target) Check() error {
	if t.URL == "" {
		return nil
	}
	if u, err := url.Parse(t.URL); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return fmt.Errorf("trace %q: want http://host:4318", t.URL)
	}
	return nil
}

// active reports whether somebody takes spans.
func (t Target) active() bool {
	if strings.EqualFold(os.Getenv("OTEL_SDK_DISABLED"), "true") {
		return false
	}
	return t.URL != "" || os.Getenv("OTEL_TRACES_EXPORTER") != "none" &&
		cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"), os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT")) != ""
}

// Spans is a span under way and who takes it. nil is nobody.
type Spans struct {
	provider *sdktrace.TracerProvider // of a part: nil
	tracer   trace.TracerProvider
	exporter *exporter
	span     trace.Span
	target   Target
	timeout  time.Duration
	warn     func(string)
}

// Begin begins a span, and gives the context in which others are its children; nil where nobody takes any. It goes on with the trace of
// the context, else with that of TRACEPARENT. Warn, which must be there, is told in the end of what was not taken.
func (t Target) Begin(ctx context.Context, name, version string, warn func(string), attributes ...attribute.KeyValue) (context.Context, *Spans) {
	if !t.active() {
		return ctx, nil
	}
	s := &Spans{target: t, timeout: timeout(), warn: warn}
	options := []otlptracehttp.Option{otlptracehttp.WithTimeout(s.timeout),
		otlptracehttp.WithRetry(otlptracehttp.RetryConfig{Enabled: true, InitialInterval: time.Second / 2, MaxInterval: 2 * time.Second, MaxElapsedTime: s.timeout})}
	if t.URL != "" {
		options = append(options, otlptracehttp.WithEndpointURL(t.endpoint()))
	}
	to, err := otlptracehttp.New(ctx, options...)
	if err != nil {
		warn("trace: " + err.Error())
		return ctx, nil
	}
	s.exporter = &exporter{SpanExporter: to}
	s.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(describe(ctx, version)),
		sdktrace.WithBatcher(s.exporter, sdktrace.WithMaxQueueSize(queued), sdktrace.WithExportTimeout(s.timeout)))
	s.tracer = s.provider
	if !trace.SpanContextFromContext(ctx).IsValid() {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{
			"traceparent": os.Getenv("TRACEPARENT"), "tracestate": os.Getenv("TRACESTATE")})
	}
	ctx, s.span = s.tracer.Tracer(service).Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, s
}

// endpoint is the URL with the path that OTLP has where it names none.
func (t Target) endpoint() string {
	u, err := url.Parse(t.URL)
	if err == nil && strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
		return u.String()
	}
	return t.URL
}

// timeout is what the environment says, in milliseconds.
func timeout() time.Duration {
	text := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT"), os.Getenv("OTEL_EXPORTER_OTLP_TIMEOUT"))
	if ms, err := strconv.Atoi(text); err == nil && ms > 0 {
		return time.Duration(ms) * time.Millisecond
	}
	return usualTimeout
}

// describe says who makes the spans. What the environment says of that wins.
func describe(ctx context.Context, version string) *resource.Resource {
	own := resource.NewSchemaless(attribute.String("service.name", service), attribute.String("service.version", version))
	// With an error it is what was found out, which is as much as there is.
	found, _ := resource.New(ctx, resource.WithTelemetrySDK(), resource.WithHost(), resource.WithProcessPID(), resource.WithFromEnv())
	all, err := resource.Merge(own, found)
	if err != nil {
		return own
	}
	return all
}

// Takes reports whether what goes to a target goes where these spans do.
func (s *Spans) Takes(t Target) bool { return s != nil && s.target == t }

// Part begins a span below that of the context, which the same collector takes.
func (s *Spans) Part(ctx context.Context, name string, attributes ...attribute.KeyValue) (context.Context, *Spans) {
	if s == nil {
		return ctx, nil
	}
	p := &Spans{tracer: s.tracer}
	ctx, p.span = s.tracer.Tracer(service).Start(ctx, name, trace.WithAttributes(attributes...))
	return ctx, p
}

// Provider is what a table's Config.Tracer takes; nil of nobody.
func (s *Spans) Provider() trace.TracerProvider {
	if s == nil {
		return nil
	}
	return s.tracer
}

// End ends the span, with the error of what it was for, and sends what is left.
func (s *Spans) End(ctx context.Context, err error) {
	if s == nil {
		return
	}
	if err != nil {
		s.span.RecordError(err)
		s.span.SetStatus(codes.Error, err.Error())
	}
	s.span.End()
	if s.provider == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), s.timeout)
	defer cancel()
	err = s.provider.Shutdown(ctx)
	if lost, first := s.exporter.failed(); first != nil {
		s.warn(fmt.Sprintf("trace: %d spans were not taken: %s", lost, brief(first)))
	} else if err != nil {
		s.warn(fmt.Sprintf("trace: not all spans were taken within %s: %s", s.timeout, brief(err)))
	}
}

// address is what brief takes out.
var address = regexp.MustCompile(`https?://[^\s"]+`)

// brief is an error without URLs, which may hold what is secret.
func brief(err error) string {
	var u *url.Error
	if errors.As(err, &u) {
		err = u.Err
	}
	return address.ReplaceAllString(err.Error(), "the collector")
}

// exporter remembers what a collector did not take, which the SDK would write to standard error.
type exporter struct {
	sdktrace.SpanExporter
	mu    sync.Mutex
	lost  int
	first error
}

// ExportSpans implements sdktrace.SpanExporter.
func (e *exporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	if err != nil {
		e.mu.Lock()
		defer e.mu.Unlock()
		e.lost += len(spans)
		if e.first == nil {
			e.first = err
		}
	}
	return nil
}

func (e *exporter) failed() (lost int, first error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	return e.lost, e.first
}
