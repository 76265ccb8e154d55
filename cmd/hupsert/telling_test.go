package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// receivers take what a command tells: events of OpenLineage and spans of OTLP.
type receivers struct {
	*httptest.Server
	mu     sync.Mutex
	events []map[string]any
	spans  map[string]*tracepb.Span // by id
	seen   chan struct{}            // an event came
}

func receive(t *testing.T) *receivers {
	t.Helper()
	r := &receivers{spans: map[string]*tracepb.Span{}, seen: make(chan struct{}, 100)}
	r.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		body, _ := io.ReadAll(req.Body)
		r.mu.Lock()
		defer r.mu.Unlock()
		switch req.URL.Path {
		case "/api/v1/lineage":
			var e map[string]any
			if err := json.Unmarshal(body, &e); err != nil {
				t.Errorf("%v: %s", err, body)
			}
			r.events = append(r.events, e)
			r.seen <- struct{}{}
		case "/v1/traces":
			var data tracepb.TracesData // an ExportTraceServiceRequest has the same form
			if err := proto.Unmarshal(body, &data); err != nil {
				t.Error(err)
			}
			for _, of := range data.ResourceSpans {
				for _, scope := range of.ScopeSpans {
					for _, s := range scope.Spans {
						r.spans[string(s.SpanId)] = s
					}
				}
			}
		default:
			t.Errorf("%s %s", req.Method, req.URL)
		}
	}))
	t.Cleanup(r.Close)
	return r
}

// kinds are the events that came, and forgets them.
func (r *receivers) kinds() (kinds, runs []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.events {
		kinds, runs = append(kinds, e["eventType"].(string)), append(runs, e["run"].(map[string]any)["runId"].(string))
	}
	r.events = nil
	return kinds, runs
}

// paths are the spans that came, from the one at the top, and forgets them.
func (r *receivers) paths() (paths []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.spans {
		name := s.Name
		for up := r.spans[string(s.ParentSpanId)]; up != nil; up = r.spans[string(up.ParentSpanId)] {
			name = up.Name + "/" + name
		}
		if s.Status.GetCode() == tracepb.Status_STATUS_CODE_ERROR {
			name += " failed"
		}
		paths = append(paths, name)
	}
	slices.Sort(paths)
	r.spans = map[string]*tracepb.Span{}
	return paths
}

// told is a table in a folder of its own, and commands that work there.
type told struct {
	t   *testing.T
	dir string
	to  *receivers
	env []string
}

func newTold(t *testing.T) *told {
	c := &told{t: t, dir: t.TempDir(), to: receive(t)}
	c.env = append(os.Environ(), "OPENLINEAGE_URL="+c.to.URL, "OTEL_EXPORTER_OTLP_ENDPOINT="+c.to.URL)
	c.write("day.csv", "id,name,dt", "1,ann,2026-11-20")
	c.write("twice.csv", "id,name,dt", "1,a,2026-11-20", "1,b,2026-11-20")
	return c
}

func (c *told) write(name string, lines ...string) {
	c.t.Helper()
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(strings.Join(lines, "\n")+"\n"), 0o644); err != nil {
		c.t.Fatal(err)
	}
}

func (c *told) command(args ...string) *exec.Cmd {
	cmd := exec.CommandContext(c.t.Context(), "hupsert", args...)
	cmd.Dir, cmd.Env = c.dir, c.env
	return cmd
}

// exits runs a command line, and gives what it wrote to standard error.
func (c *told) exits(code int, args ...string) string {
	c.t.Helper()
	cmd := c.command(args...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	if err := cmd.Run(); cmd.ProcessState == nil || cmd.ProcessState.ExitCode() != code {
		c.t.Fatalf("%v: %v, want exit code %d\n%s", args, err, code, &stderr)
	}
	return stderr.String()
}

var create = []string{"upsert", "t", "--create", "--partition-by", "dt:date", "--schema", "id bigint, name string", "--key", "id", "--from"}

// TestToldByBinary: the events and spans of the real command for a run that succeeds, one that changes nothing and one that fails.
func TestToldByBinary(t *testing.T) {
	c := newTold(t)
	c.env = append(c.env, "TRACEPARENT=00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
	for _, of := range []struct {
		file  string
		code  int
		kinds string
		has   []string
	}{
		{"day.csv", 0, "START COMPLETE", []string{"hupsert upsert", "hupsert upsert/upsert/partition/write", "hupsert upsert/upsert/publish"}},
		{"day.csv", 0, "START COMPLETE", []string{"hupsert upsert", "hupsert upsert/upsert/partition/merge/probe"}},
		{"twice.csv", 3, "START FAIL", []string{"hupsert upsert failed", "hupsert upsert/upsert failed", "hupsert upsert/upsert/partition failed"}},
	} {
		c.exits(of.code, append(create, of.file)...)
		if kinds, _ := c.to.kinds(); strings.Join(kinds, " ") != of.kinds {
			t.Errorf("%s: events %v, want %s", of.file, kinds, of.kinds)
		}
		for _, s := range c.to.spans {
			if got := fmt.Sprintf("%x", s.TraceId); got != "0af7651916cd43dd8448eb211c80319c" {
				t.Errorf("%s is of trace %s", s.Name, got)
			}
		}
		paths := c.to.paths()
		for _, want := range of.has {
			if !slices.Contains(paths, want) {
				t.Errorf("%s: no span %s in %q", of.file, want, paths)
			}
		}
		if of.kinds == "START COMPLETE" && slices.ContainsFunc(paths, func(p string) bool { return strings.Contains(p, "failed") }) {
			t.Errorf("%q", paths)
		}
	}
}

// TestToldOfJob: the steps of a job are below it in one trace, and told of as jobs of their own.
func TestToldOfJob(t *testing.T) {
	c := newTold(t)
	c.exits(0, append(create, "day.csv")...)
	c.to.kinds()
	c.to.paths()
	c.write("job.yaml", "defaults: {key: id, lineage-namespace: shop}", "steps:", "  - {name: one, table: t, from: day.csv, expect: [{not_null: id}]}",
		"  - {name: two, table: t, from: twice.csv}")
	c.exits(3, "run", "job.yaml")
	for i, e := range c.to.events {
		job := e["job"].(map[string]any)
		if job["namespace"] != "shop" || job["name"] != []string{"job.one", "job.one", "job.two", "job.two"}[i] {
			t.Errorf("%v", job)
		}
	}
	if kinds, _ := c.to.kinds(); strings.Join(kinds, " ") != "START COMPLETE START FAIL" {
		t.Errorf("events %v", kinds)
	}
	paths := c.to.paths()
	for _, want := range []string{"hupsert run failed", "hupsert run/step", "hupsert run/step failed", "hupsert run/step/upsert/partition/list"} {
		if !slices.Contains(paths, want) {
			t.Errorf("no span %s in %q", want, paths)
		}
	}
}

// TestToldOfInterrupted: an interrupted run says so; one that was killed says nothing, and the next one is another.
func TestToldOfInterrupted(t *testing.T) {
	c := newTold(t)
	c.exits(0, append(create, "day.csv")...)
	<-c.to.seen
	<-c.to.seen
	c.to.kinds()
	seen := map[string]bool{}
	for _, of := range []struct {
		signal os.Signal
		kinds  string
	}{{syscall.SIGINT, "START ABORT"}, {syscall.SIGKILL, "START"}, {nil, "START COMPLETE"}} {
		cmd := c.command("upsert", "t", "--key", "id", "--from", "-", "--format", "csv")
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(in, "id,name,dt\n1,anna,2026-11-20\n"); err != nil {
			t.Fatal(err)
		}
		select {
		case <-c.to.seen: // it has begun
		case <-time.After(time.Minute):
			t.Error("no event")
		}
		if of.signal != nil {
			_ = cmd.Process.Signal(of.signal)
		} else {
			_ = in.Close()
		}
		_ = cmd.Wait() // the events say how it ended
		kinds, runs := c.to.kinds()
		if strings.Join(kinds, " ") != of.kinds {
			t.Errorf("%v: events %v, want %s", of.signal, kinds, of.kinds)
		}
		if len(runs) == 0 || seen[runs[0]] || runs[len(runs)-1] != runs[0] {
			t.Errorf("%v: runs %v after %v", of.signal, runs, seen)
		} else {
			seen[runs[0]] = true
		}
		for len(c.to.seen) > 0 {
			<-c.to.seen
		}
	}
}

// TestNobodyIsTold: receivers that hang, fail or are not there change nothing but a warning each.
func TestNobodyIsTold(t *testing.T) {
	c := newTold(t)
	c.exits(0, append(create, "day.csv")...)
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	fails := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(400) }))
	defer fails.Close()
	closed := httptest.NewServer(nil)
	closed.Close()
	c.env = append(c.env, "OTEL_EXPORTER_OTLP_TIMEOUT=300")
	for name, url := range map[string]string{"hangs": hangs.URL, "fails": fails.URL, "closed": closed.URL} {
		c.write("one.csv", "id,name,dt", "1,"+name+",2026-11-20")
		said := c.exits(0, "upsert", "t", "--key", "id", "--from", "one.csv", "--lineage", url, "--lineage-timeout", "300ms", "--trace", url)
		lines := strings.Split(strings.TrimSpace(said), "\n")
		slices.SortFunc(lines, cmp.Compare[string])
		if len(lines) != 2 || !strings.HasPrefix(lines[0], "warning: lineage: ") || !strings.HasPrefix(lines[1], "warning: trace: ") {
			t.Errorf("%s: %s", name, said)
		}
		if strings.Contains(said, "127.0.0.1") && name != "closed" {
			t.Errorf("%s: the URL is told: %s", name, said)
		}
	}
}

// TestInterruptedTelling: who interrupts the command while it tells of a failed run gets that run's error and exit code.
func TestInterruptedTelling(t *testing.T) {
	gateway := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
		if err := syscall.Kill(os.Getpid(), syscall.SIGTERM); err != nil {
			t.Error(err)
		}
		time.Sleep(100 * time.Millisecond) // so that it is known before the answer is
	}))
	defer gateway.Close()
	dir := t.TempDir()
	day := filepath.Join(dir, "day.csv")
	if err := os.WriteFile(day, []byte("id,dt\n1,2026-11-20\n,2026-11-20\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	code := run([]string{"hupsert", "upsert", filepath.Join(dir, "t"), "--create", "--partition-by", "dt:date", "--schema", "id bigint", "--key", "id",
		"--from", day, "--metrics-push", gateway.URL}, strings.NewReader(""), io.Discard, &stderr)
	if code != 3 || strings.Contains(stderr.String(), "interrupted") || !strings.Contains(stderr.String(), "NULL") {
		t.Errorf("exit code %d:\n%s", code, stderr.String())
	}
}
