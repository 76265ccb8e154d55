package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// subject is what the lines of a log are about, as far as it is known by then.
type subject struct {
	mu               sync.Mutex
	table, run, step string
}

// set begins another subject.
func (s *subject) set(table, step string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.table, s.step, s.run = table, step, ""
}

// observe learns the name of the run.
func (s *subject) observe(e partition.Event) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if e.Run != "" {
		s.run = e.Run
	}
}

// attributes are those that a line does not have by itself.
func (s *subject) attributes(has map[string]bool) (out []slog.Attr) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, a := range []struct{ name, value string }{{"run", s.run}, {"table", s.table}, {"step", s.step}} {
		if a.value != "" && !has[a.name] {
			out = append(out, slog.String(a.name, a.value))
		}
	}
	return out
}

// lines is the handler of --log-format json: each line names its run and its table, and its partition where there is one.
type lines struct {
	slog.Handler
	about *subject
	has   map[string]bool // what With added
}

// Handle implements slog.Handler.
func (l lines) Handle(ctx context.Context, r slog.Record) error {
	has := map[string]bool{}
	for name := range l.has {
		has[name] = true
	}
	r.Attrs(func(a slog.Attr) bool {
		has[a.Key] = true
		return true
	})
	r = r.Clone()
	r.AddAttrs(l.about.attributes(has)...)
	return l.Handler.Handle(ctx, r)
}

// WithAttrs implements slog.Handler.
func (l lines) WithAttrs(attrs []slog.Attr) slog.Handler {
	has := map[string]bool{}
	for name := range l.has {
		has[name] = true
	}
	for _, a := range attrs {
		has[a.Key] = true
	}
	return lines{l.Handler.WithAttrs(attrs), l.about, has}
}

// jsonLines makes the handler of --log-format json.
func (s *session) jsonLines(level slog.Level) slog.Handler {
	return lines{Handler: slog.NewJSONHandler(s.stderr, &slog.HandlerOptions{Level: level, ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
		if a.Key == "partition" && a.Value.String() == "" {
			return slog.Attr{} // of a table without partitions
		}
		return a
	}}), about: s.about}
}

// logsJSON reports whether what goes to standard error are JSON objects. A command line that can't be parsed may ask for it too.
func (s *session) logsJSON() bool { return s.logFormat == "json" || s.asksJSON }

// asksForJSON looks for --log-format json in a command line that is not parsed yet.
func asksForJSON(args []string) bool {
	for i, a := range args {
		if a == "--" {
			break
		}
		if a == "--log-format=json" || a == "--log-format" && i+1 < len(args) && args[i+1] == "json" {
			return true
		}
	}
	return false
}

// logLine writes a line of the log as JSON, also where --quiet keeps the others back.
func (s *session) logLine(level slog.Level, text string, attrs ...slog.Attr) {
	r := slog.NewRecord(time.Now(), level, text, 0)
	r.AddAttrs(attrs...)
	_ = s.jsonLines(level).Handle(context.Background(), r) // standard error is where it would be told
}

// warn writes a warning. As JSON one that begins with a partition's path names that beside the text.
func (s *session) warn(text string) {
	switch {
	case s.quiet:
	case s.logsJSON():
		var attrs []slog.Attr
		if name, rest, found := strings.Cut(text, ": "); found {
			if _, err := partition.ParsePath(name); err == nil && strings.Contains(name, "=") {
				text, attrs = rest, append(attrs, slog.String("partition", name))
			}
		}
		s.logLine(slog.LevelWarn, text, attrs...)
	default:
		fmt.Fprintln(s.stderr, "warning: "+text)
	}
}

// part says, after the errors, which command does what is left.
func (s *session) part() {
	switch {
	case s.parting == "":
	case s.logsJSON():
		s.logLine(slog.LevelInfo, "this command does what is left", slog.String("retry", s.retryCommand))
	default:
		fmt.Fprint(s.stderr, s.parting)
	}
}

// lineageLine writes an event of OpenLineage that goes to the console.
func (s *session) lineageLine(event []byte) {
	if s.logsJSON() {
		s.logLine(slog.LevelInfo, "lineage", slog.Any("event", json.RawMessage(event)))
		return
	}
	fmt.Fprintf(s.stderr, "%s\n", event)
}

// partitionOf is the partition that an error is of; "" where it is of none.
func partitionOf(err error) string {
	var e *partition.Error
	if errors.As(err, &e) {
		return e.Partition
	}
	return ""
}

// complainInJSON writes errors, each with its partition and what else is known of its place.
func (s *session) complainInJSON(err error) {
	if exitCode(err) == 130 {
		s.logLine(slog.LevelError, "interrupted; nothing half done is left visible", slog.String("kind", string(partition.KindInterrupted)))
		return
	}
	for _, one := range partition.SplitErrors(err) {
		rep := errorReport(one)
		attrs := []slog.Attr{slog.String("kind", string(rep.Kind))}
		for _, a := range []struct{ name, value string }{{"partition", partitionOf(one)}, {"file", rep.File}, {"column", rep.Column}, {"hint", rep.Hint}} {
			if a.value != "" {
				attrs = append(attrs, slog.String(a.name, a.value))
			}
		}
		if rep.Line > 0 {
			attrs = append(attrs, slog.Int64("line", rep.Line))
		}
		if rep.Row > 0 {
			attrs = append(attrs, slog.Int64("row", rep.Row))
		}
		s.logLine(slog.LevelError, strings.ReplaceAll(strings.TrimSpace(rep.Message), "\n", "; "), attrs...)
	}
}
