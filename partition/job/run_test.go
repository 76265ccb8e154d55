package job

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// place is a folder with a table t of two rows, and jobs on it.
type place struct {
	t        *testing.T
	dir      string
	warnings []string
}

func newPlace(t *testing.T) *place {
	t.Helper()
	p := &place{t: t, dir: t.TempDir()}
	p.write("day.csv", "id,name,dt\n1,ann,2026-11-20\n2,bob,2026-11-20\n")
	p.write("new.csv", "id,name,dt\n2,bea,2026-11-20\n3,cid,2026-11-20\n")
	if _, err := p.run("steps: [{table: '${JOB_DIR}/t', from: '${JOB_DIR}/day.csv', create: true, partition-by: 'dt:date', schema: 'id bigint, name string', key: id}]"); err != nil {
		t.Fatal(err)
	}
	if _, err := p.table().SetConfig(t.Context(), map[string]string{"key": "id"}); err != nil {
		t.Fatal(err)
	}
	return p
}

func (p *place) write(name, text string) string {
	p.t.Helper()
	full := filepath.Join(p.dir, name)
	if err := os.WriteFile(full, []byte(text), 0o755); err != nil {
		p.t.Fatal(err)
	}
	return full
}

func (p *place) table() *partition.Table {
	p.t.Helper()
	table, err := partition.Open(context.Background(), filepath.Join(p.dir, "t"), partition.Config{})
	if err != nil {
		p.t.Fatal(err)
	}
	return table
}

// staged are the runs that wait.
func (p *place) staged() int {
	p.t.Helper()
	list, err := p.table().Staged(context.Background())
	if err != nil {
		p.t.Fatal(err)
	}
	return len(list)
}

// run runs a job whose files are in the place.
func (p *place) run(text string) (*Report, error) { return p.runIn(context.Background(), text) }

func (p *place) runIn(ctx context.Context, text string) (*Report, error) {
	p.t.Helper()
	j, err := parse(filepath.Join(p.dir, "job.yaml"), []byte(text), Variables{})
	if err != nil {
		p.t.Fatal(err)
	}
	p.warnings = nil
	return j.Run(ctx, Runner{Warn: func(text string) { p.warnings = append(p.warnings, text) }})
}

// duckdb puts a program of that name first into the path.
func (p *place) duckdb(script string) {
	p.t.Helper()
	if runtime.GOOS == "windows" {
		p.t.Skip("programs are shell scripts here")
	}
	bin := filepath.Join(p.dir, "bin")
	if err := os.MkdirAll(bin, 0o755); err != nil {
		p.t.Fatal(err)
	}
	p.write("bin/duckdb", "#!/bin/sh\n"+script)
	p.t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

const audited = "steps: [{table: '${JOB_DIR}/t', from: '${JOB_DIR}/new.csv', retry: %d, expect: [{sql: select 1}]}]"

// TestConflictBehindExpectations: where somebody changes the partition while expectations are checked, nothing of theirs is
// written over, and the step begins anew as often as it may.
func TestConflictBehindExpectations(t *testing.T) {
	p := newPlace(t)
	// Each call but the third has somebody rewrite the partition's file meanwhile.
	p.duckdb(fmt.Sprintf(`cat >/dev/null; cd '%s'
echo >> calls
[ $(wc -l < calls) -eq 3 ] && exit 0
for f in t/dt=*/*.parquet; do cp "$f" x && mv x "$f"; done
`, p.dir))
	rep, err := p.run(fmt.Sprintf(audited, 0))
	if !errors.Is(err, partition.ErrConflict) || rep.Steps[0].Status != StepFailed {
		t.Fatalf("%+v, %v", rep.Steps[0], err)
	}
	if n := p.staged(); n != 1 {
		t.Errorf("%d runs are staged for whoever looks at it", n)
	}
	rep, err = p.run(fmt.Sprintf(audited, 1))
	if err != nil || rep.Steps[0].Status != StepPublished {
		t.Fatalf("%+v, %v", rep.Steps[0], err)
	}
	if n := p.staged(); n != 1 { // the first one's
		t.Errorf("%d runs are staged", n)
	}
	if calls, _ := os.ReadFile(filepath.Join(p.dir, "calls")); len(calls) != 3 {
		t.Errorf("%d checks", len(calls))
	}
	rows := rep.Steps[0].Report.Total.Rows
	if rows.Updated != 1 || rows.Inserted != 1 || rows.Out != 3 {
		t.Errorf("rows %+v", rows)
	}
}

// TestInterruptedExpectation: who interrupts a check leaves nothing staged, and no program that goes on.
func TestInterruptedExpectation(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	began := filepath.Join(p.dir, "began")
	p.duckdb(fmt.Sprintf("sleep 600 &\necho $! > '%s.new'; mv '%s.new' '%s'; wait\n", began, began, began))
	var pid string
	go func() {
		for end := time.Now().Add(time.Minute); time.Now().Before(end); {
			if text, err := os.ReadFile(began); err == nil {
				pid = strings.TrimSpace(string(text))
				break
			}
			select {
			case <-time.After(5 * time.Millisecond):
			case <-ctx.Done():
			}
		}
		cancel()
	}()
	rep, err := p.runIn(ctx, fmt.Sprintf(audited, 0))
	if !errors.Is(err, context.Canceled) || rep.Steps[0].Status != StepFailed || partition.KindOf(err) != partition.KindInterrupted {
		t.Fatalf("%+v, %v", rep.Steps[0], err)
	}
	if n := p.staged(); n != 0 {
		t.Errorf("%d runs are left staged", n)
	}
	if alive(pid) {
		t.Errorf("process %s lives", pid)
	}
}

// alive reports whether a process runs; one that waits to be collected does not.
func alive(pid string) bool {
	text, err := os.ReadFile("/proc/" + pid + "/stat")
	if err != nil {
		return false
	}
	_, state, _ := strings.Cut(string(text), ") ")
	return !strings.HasPrefix(state, "Z")
}

// TestRowsOfStandardInput: they are there once, so a conflict is not tried anew on none.
func TestRowsOfStandardInput(t *testing.T) {
	p := newPlace(t)
	p.duckdb(fmt.Sprintf("cat >/dev/null\nfor f in '%s'/t/dt=*/*.parquet; do cp \"$f\" x && mv x \"$f\"; done\n", p.dir))
	t.Chdir(p.dir)
	j, err := parse("job.yaml", []byte("steps: [{table: t, from: '-', format: csv, retry: 3, expect: [{sql: select 1}]}]"), Variables{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = j.Run(t.Context(), Runner{Stdin: strings.NewReader("id,name,dt\n7,x,2026-11-20\n")})
	if !errors.Is(err, partition.ErrConflict) {
		t.Errorf("%v", err)
	}
}

// TestWebhooks: HTTP calls get the report, or a body with values in it that can't break out of its JSON; what they answer decides
// nothing.
func TestWebhooks(t *testing.T) {
	p := newPlace(t)
	type call struct{ method, target, body, header string }
	var mu sync.Mutex
	var made []call
	hang := make(chan struct{})
	defer close(hang)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		mu.Lock()
		made = append(made, call{r.Method, r.URL.String(), string(body), r.Header.Get("X-Step")})
		mu.Unlock()
		switch r.URL.Path {
		case "/broken":
			http.Error(w, "no such room", http.StatusNotFound)
		case "/hang":
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}
	}))
	defer server.Close()
	rep, err := p.run(strings.ReplaceAll(`
steps:
  - name: a "b" & c
    table: ${JOB_DIR}/t
    from: ${JOB_DIR}/new.csv
    hooks:
      - {on: published, url: 'URL/whole'}
      - {on: published, url: 'URL/get?step=${HUPSERT_STEP}', method: GET, headers: {X-Step: '${HUPSERT_STEP}'}, body: ''}
      - {on: published, url: URL/chat, body: '{"text": "${HUPSERT_STEP}: +${HUPSERT_ROWS_INSERTED}"}'}
      - {on: published, url: URL/plain, headers: {content-type: text/plain}, body: '${HUPSERT_STEP} ${HUPSERT_NOSUCH:-none}'}
      - {on: published, url: URL/broken?secret=hunter2}
      - {on: published, url: URL/hang?secret=hunter2, timeout: 50ms}
      - {on: published, url: 'http://127.0.0.1:1/?secret=hunter2'}
      - {on: failed, url: URL/never}
`, "URL", server.URL))
	if err != nil || rep.Steps[0].Status != StepPublished {
		t.Fatalf("%+v, %v", rep.Steps[0], err)
	}
	mu.Lock()
	calls := slices.Clone(made)
	mu.Unlock()
	if len(calls) != 6 {
		t.Fatalf("%d calls: %+v", len(calls), calls)
	}
	if c := calls[0]; c.method != "POST" || !strings.Contains(c.body, `"status":"published"`) || !strings.Contains(c.body, `"inserted":1`) {
		t.Errorf("the report: %+v", c)
	}
	want := []call{{"GET", "/get?step=a+%22b%22+%26+c", "", `a "b" & c`}, {"POST", "/chat", `{"text": "a \"b\" \u0026 c: +1"}`, ""}, {"POST", "/plain", `a "b" & c none`, ""}}
	if !slices.Equal(calls[1:4], want) {
		t.Errorf("calls %+v\nwant %+v", calls[1:4], want)
	}
	text := strings.Join(p.warnings, "\n")
	if len(p.warnings) != 3 || strings.Contains(text, "hunter2") {
		t.Errorf("warnings:\n%s", text)
	}
	for i, want := range []string{"answered 404 Not Found no such room", "took longer than 50ms, and was ended", "connection refused"} {
		if !strings.Contains(p.warnings[i], want) || !strings.Contains(p.warnings[i], "the step stays as it is") || !strings.Contains(rep.Steps[0].Hooks[4+i].Error, want) {
			t.Errorf("warning %q, report %+v; want %s", p.warnings[i], rep.Steps[0].Hooks[4+i], want)
		}
	}
}

// TestHooksOfPartialRun: what was published and what failed are both told.
func TestHooksOfPartialRun(t *testing.T) {
	p := newPlace(t)
	p.write("two.csv", "id,name,dt\n9,x,2026-11-20\n8,y,2026-11-21\n8,z,2026-11-21\n")
	rep, err := p.run(`
steps:
  - table: ${JOB_DIR}/t
    from: ${JOB_DIR}/two.csv
    partial: true
    hooks: [{on: [published, failed, noop], command: 'true'}]
`)
	if !errors.Is(err, partition.ErrDuplicateKey) {
		t.Fatal(err)
	}
	var events []Event
	for _, h := range rep.Steps[0].Hooks {
		events = append(events, h.On)
	}
	if !slices.Equal(events, []Event{OnPublished, OnFailed}) || rep.Steps[0].Status != StepFailed {
		t.Errorf("events %v, status %s", events, rep.Steps[0].Status)
	}
}

// TestInterruptedJob: behind an interruption no step begins, and hooks are told of it.
func TestInterruptedJob(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	rep, err := p.runIn(ctx, `
hooks: [{on: failed, command: 'echo $HUPSERT_STEP $HUPSERT_ERROR_KIND $HUPSERT_ERROR > ${JOB_DIR}/told'}]
steps: [{table: '${JOB_DIR}/t', from: '${JOB_DIR}/new.csv'}, {table: '${JOB_DIR}/t', from: '${JOB_DIR}/new.csv'}]
`)
	if !errors.Is(err, context.Canceled) || rep.Steps[0].Status != StepFailed || rep.Steps[1].Status != StepNotRun {
		t.Errorf("%+v, %v", rep.Steps[0], err)
	}
	told, err := os.ReadFile(filepath.Join(p.dir, "told"))
	if err != nil || string(told) != "t interrupted interrupted; nothing half done is left visible\n" {
		t.Errorf("%q, %v", told, err)
	}
	if len(p.warnings) != 0 {
		t.Errorf("warnings %v", p.warnings)
	}
}

// TestInterruptedHook: an interruption while hooks are called ends the one under way, and calls no other.
func TestInterruptedHook(t *testing.T) {
	p := newPlace(t)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		_, _ = io.ReadAll(r.Body) // else the server does not see that the caller goes away
		cancel()
		<-r.Context().Done()
	}))
	defer server.Close()
	rep, err := p.runIn(ctx, `
hooks: [{on: published, url: '`+server.URL+`'}, {on: published, command: 'touch ${JOB_DIR}/told'}]
steps: [{table: '${JOB_DIR}/t', from: '${JOB_DIR}/new.csv'}]
`)
	if err != nil || rep.Steps[0].Status != StepPublished {
		t.Errorf("%+v, %v", rep.Steps[0], err)
	}
	if len(p.warnings) != 2 || !strings.Contains(p.warnings[1], "interrupted; the step stays as it is") {
		t.Errorf("warnings %v", p.warnings)
	}
	if _, err := os.Stat(filepath.Join(p.dir, "told")); err == nil {
		t.Error("the second hook was called")
	}
}

// TestManyPartitions: values of hooks stay within what an environment takes.
func TestManyPartitions(t *testing.T) {
	r := &partition.Report{}
	for i := range 10_000 {
		r.Partitions = append(r.Partitions, partition.PartitionReport{Partition: fmt.Sprintf("dt=2026-11-20/n=%06d", i), Status: partition.Published})
	}
	v := hookValues(OnPublished, &StepReport{Report: r, failure: strings.Repeat("ü", longestValue)}, "j")
	if list := v["HUPSERT_PARTITIONS"]; len(list) > longestValue || !strings.HasSuffix(list, fmt.Sprintf("n=%06d", strings.Count(list, "\n"))) {
		t.Errorf("%d bytes of partitions, ending in %q", len(list), list[max(0, len(list)-30):])
	}
	if v["HUPSERT_PARTITION_COUNT"] != "10000" {
		t.Errorf("count %s", v["HUPSERT_PARTITION_COUNT"])
	}
}
