package openlineage

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/uuid"

	"github.com/hupsert/hupsert/partition"
)

// server keeps the events that it takes, and answers as it is told.
type server struct {
	*httptest.Server
	mu     sync.Mutex
	events []map[string]any
	paths  []string
	keys   []string
}

func serve(t *testing.T, code int) *server {
	t.Helper()
	s := &server{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text, _ := io.ReadAll(r.Body)
		var e map[string]any
		if err := json.Unmarshal(text, &e); err != nil {
			t.Errorf("%v: %s", err, text)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.events, s.paths, s.keys = append(s.events, e), append(s.paths, r.URL.Path), append(s.keys, r.Header.Get("Authorization"))
		w.WriteHeader(code)
	}))
	t.Cleanup(s.Close)
	return s
}

// at looks into an event: "run.facets.parent.run.runId", "inputs.0.name".
func at(v any, path string) any {
	for _, name := range strings.Split(path, ".") {
		switch is := v.(type) {
		case map[string]any:
			v = is[name]
		case []any:
			var i int
			if _, err := fmt.Sscan(name, &i); err != nil || i >= len(is) {
				return nil
			}
			v = is[i]
		default:
			return nil
		}
	}
	return v
}

// facetsOf checks what the specification asks of all facets.
func facetsOf(t *testing.T, where string, v any) {
	t.Helper()
	switch is := v.(type) {
	case map[string]any:
		for name, inner := range is {
			if strings.HasSuffix(strings.ToLower(name), "facets") {
				for f, fields := range inner.(map[string]any) {
					if at(fields, "_producer") != producer || !strings.HasPrefix(fmt.Sprint(at(fields, "_schemaURL")), "https://") {
						t.Errorf("%s.%s.%s is no facet: %v", where, name, f, fields)
					}
				}
			}
			facetsOf(t, where+"."+name, inner)
		}
	case []any:
		for i, inner := range is {
			facetsOf(t, fmt.Sprintf("%s.%d", where, i), inner)
		}
	}
}

// sound checks what the specification asks of an event of a run.
func sound(t *testing.T, e map[string]any, want kind) {
	t.Helper()
	if e["eventType"] != string(want) {
		t.Errorf("the event is %v, want %s", e["eventType"], want)
	}
	if _, err := time.Parse(time.RFC3339, fmt.Sprint(e["eventTime"])); err != nil {
		t.Error(err)
	}
	if id, err := uuid.Parse(fmt.Sprint(at(e, "run.runId"))); err != nil || id.Version() != 7 {
		t.Errorf("run %v: %v", at(e, "run.runId"), err)
	}
	if e["producer"] != producer || e["schemaURL"] != eventURL {
		t.Errorf("producer %v, schema %v", e["producer"], e["schemaURL"])
	}
	for _, list := range []string{"inputs", "outputs"} {
		for _, d := range e[list].([]any) {
			if at(d, "namespace") == "" || at(d, "name") == "" || at(d, "name") == nil {
				t.Errorf("%s: %v", list, d)
			}
		}
	}
	facetsOf(t, string(want), e)
}

// tables makes a table of two partitions and gives a way to merge into it.
type tables struct {
	t    *testing.T
	dir  string
	only bool // staged
	last *partition.Report
}

func newTable(t *testing.T) *tables {
	t.Helper()
	for _, name := range []string{"OPENLINEAGE_URL", "OPENLINEAGE_NAMESPACE", "OPENLINEAGE_API_KEY", "OPENLINEAGE_PARENT_ID", "OPENLINEAGE_DISABLED"} {
		t.Setenv(name, "")
	}
	b := &tables{t: t, dir: t.TempDir()}
	if _, warnings, err := b.run(t.Context(), Target{}, "1,ann,2026-11-20", "2,bob,2026-11-21"); err != nil || len(warnings) > 0 {
		t.Fatal(err, warnings)
	}
	return b
}

func (b *tables) table() string { return filepath.Join(b.dir, "orders") }

// run merges rows as a command does, and tells a target.
func (b *tables) run(ctx context.Context, to Target, rows ...string) (took time.Duration, warnings []string, err error) {
	b.t.Helper()
	from := filepath.Join(b.dir, "day.csv")
	if err := os.WriteFile(from, []byte("id,name,dt\n"+strings.Join(rows, "\n")+"\n"), 0o644); err != nil {
		b.t.Fatal(err)
	}
	warn := func(text string) { warnings = append(warnings, text) }
	r := to.Begin(ctx, About{Command: "upsert", Table: b.table(), From: []string{from}, Version: "1.2.3", Started: time.Now(), Warn: warn})
	table, err := partition.Open(ctx, b.table(), partition.Config{})
	if err == nil {
		err = r.Check(ctx, table)
	}
	var report *partition.Report
	if err == nil {
		report, err = table.Upsert(ctx, partition.Source{From: []string{from}},
			partition.Options{Key: []string{"id"}, Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", StageOnly: b.only})
	}
	began := time.Now()
	r.End(ctx, report, err)
	b.last = report
	return time.Since(began), warnings, err
}

// TestEvents: what begins and what became of it, for runs that change something, that change nothing, that fail and that are
// interrupted. Each is a run of its own.
func TestEvents(t *testing.T) {
	b, s := newTable(t), serve(t, 201)
	t.Setenv("OPENLINEAGE_API_KEY", "secret")
	t.Setenv("OPENLINEAGE_NAMESPACE", "shop")
	t.Setenv("OPENLINEAGE_PARENT_ID", "airflow/daily.orders/01941d2e-7d2a-7000-8000-000000000001")
	t.Setenv("AIRFLOW_CTX_EXECUTION_DATE", "2026-11-20T00:00:00+09:00")
	t.Setenv("OPENLINEAGE_URL", s.URL)
	interrupted, cancel := context.WithCancel(t.Context())
	cancel()
	for _, of := range []struct {
		ctx  context.Context
		rows []string
		want kind
		is   error
	}{
		{t.Context(), []string{"1,anna,2026-11-20", "3,cid,2026-11-22"}, complete, nil},
		{t.Context(), []string{"1,anna,2026-11-20"}, complete, nil},
		{t.Context(), []string{"1,a,2026-11-20", "1,b,2026-11-20"}, fail, partition.ErrDuplicateKey},
		{interrupted, []string{"1,a,2026-11-20"}, abort, context.Canceled},
	} {
		_, warnings, err := b.run(of.ctx, Target{}, of.rows...)
		if !errors.Is(err, of.is) || len(warnings) > 0 {
			t.Fatalf("%s: %v %v", of.want, err, warnings)
		}
		n := len(s.events)
		if n < 2 || n%2 != 0 {
			t.Fatalf("%d events", n)
		}
		sound(t, s.events[n-2], start)
		sound(t, s.events[n-1], of.want)
		if at(s.events[n-2], "run.runId") != at(s.events[n-1], "run.runId") {
			t.Errorf("%s: two runs", of.want)
		}
		if n > 2 && at(s.events[n-3], "run.runId") == at(s.events[n-2], "run.runId") {
			t.Errorf("%s: the run before has the same name", of.want)
		}
		message, _ := at(s.events[n-1], "run.facets.errorMessage.message").(string)
		if (err != nil) != (message != "") {
			t.Errorf("%s: message %q, error %v", of.want, message, err)
		}
	}
	for i, want := range map[string]any{
		"job.namespace": "shop", "job.name": "hupsert.upsert.orders", "run.facets.parent.job.name": "daily.orders",
		"run.facets.parent.run.runId":             "01941d2e-7d2a-7000-8000-000000000001",
		"run.facets.parent.root.job.namespace":    "airflow",
		"run.facets.nominalTime.nominalStartTime": "2026-11-19T15:00:00.000Z",
		"run.facets.processing_engine.version":    "1.2.3",
		"run.facets.hupsert_run.rows.inserted":    1.0, "run.facets.hupsert_run.rows.updated": 1.0,
		"run.facets.hupsert_run.partitions.published": 2.0,
		"inputs.0.namespace":                          "file", "inputs.0.name": filepath.Join(b.dir, "day.csv"),
		"inputs.0.inputFacets.inputStatistics.fileCount": 1.0,
		"inputs.1.name": b.table(), "inputs.1.inputFacets.inputStatistics.rowCount": 1.0,
		"inputs.1.inputFacets.subset.inputCondition.partitions.0.identifier": "dt=2026-11-20",
		"outputs.0.name": b.table(), "outputs.0.outputFacets.outputStatistics.rowCount": 2.0,
		"outputs.0.outputFacets.outputStatistics.fileCount":                        2.0,
		"outputs.0.outputFacets.subset.outputCondition.partitions.1.dimensions.dt": "2026-11-22",
		"outputs.0.facets.schema.fields.0.name":                                    "id", "outputs.0.facets.schema.fields.0.type": "bigint",
		"outputs.0.facets.schema.fields.2.name": "dt",
	} {
		if got := at(s.events[1], i); got != want {
			t.Errorf("%s is %v, want %v", i, got, want)
		}
	}
	if got := at(s.events[3], "outputs.0.outputFacets.outputStatistics.rowCount"); got != 0.0 {
		t.Errorf("a run that changed nothing wrote %v rows", got)
	}
	b.only = true
	if _, _, err := b.run(t.Context(), Target{}, "1,andrea,2026-11-20"); err != nil {
		t.Fatal(err)
	}
	last := s.events[len(s.events)-1]
	if got := at(last, "outputs.0.outputFacets.outputStatistics.rowCount"); got != 0.0 || at(last, "run.facets.hupsert_run.partitions.staged") != 1.0 {
		t.Errorf("a run that only staged rows wrote %v: %v", got, at(last, "run.facets.hupsert_run"))
	}
	if s.paths[0] != "/api/v1/lineage" || s.keys[1] != "Bearer secret" {
		t.Errorf("%v %v", s.paths, s.keys)
	}
}

// TestReceiversThatFail: a run is what it is, and waits for no server longer than it may.
func TestReceiversThatFail(t *testing.T) {
	b := newTable(t)
	refuses := serve(t, 500)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	release := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer hangs.Close()
	defer close(release)
	for to, want := range map[string]string{refuses.URL: "answered 500", closed.URL: "refused", hangs.URL: "no answer within 300ms",
		filepath.Join(b.dir, "nowhere", "events"): "no such file"} {
		took, warnings, err := b.run(t.Context(), Target{To: to, Timeout: 300 * time.Millisecond}, "1,"+to+",2026-11-20")
		if err != nil || b.last.Total.Rows.Updated != 1 {
			t.Errorf("%s: %v, %+v", want, err, b.last.Total.Rows)
		}
		if len(warnings) != 1 || !strings.Contains(warnings[0], want) {
			t.Errorf("warnings %q, want one with %q", warnings, want)
		}
		if took > 20*time.Second {
			t.Errorf("%s: the run waited for %s", want, took)
		}
	}
}

// TestFile: events are lines that are added to a file, which may not lie in the table.
func TestFile(t *testing.T) {
	b := newTable(t)
	name := filepath.Join(b.dir, "events.ndjson")
	for i := range 2 {
		if _, warnings, err := b.run(t.Context(), Target{To: name}, fmt.Sprintf("1,%d,2026-11-20", i)); err != nil || len(warnings) > 0 {
			t.Fatal(err, warnings)
		}
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	if len(lines) != 4 {
		t.Fatalf("%d lines", len(lines))
	}
	for i, want := range []kind{start, complete, start, complete} {
		var e map[string]any
		if err := json.Unmarshal([]byte(lines[i]), &e); err != nil {
			t.Fatal(err)
		}
		sound(t, e, want)
	}
	within := filepath.Join(b.table(), "events.ndjson")
	if _, _, err := b.run(t.Context(), Target{To: within}, "1,x,2026-11-20"); !errors.Is(err, partition.ErrUsage) {
		t.Errorf("a file in the table: %v", err)
	}
	if _, err := os.Stat(within); !os.IsNotExist(err) {
		t.Errorf("%s: %v", within, err)
	}
}

// TestNames: datasets are named as other programs name them.
func TestNames(t *testing.T) {
	conf := t.TempDir()
	t.Setenv("HADOOP_CONF_DIR", conf)
	for file, text := range map[string]string{
		"core-site.xml": "<configuration><property><name>fs.defaultFS</name><value>hdfs://nn:9000</value></property></configuration>",
		"hive-site.xml": "<configuration><property><name>hive.metastore.uris</name><value>thrift://ms:9083</value></property></configuration>"} {
		if err := os.WriteFile(filepath.Join(conf, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for url, want := range map[string][2]string{
		"/data/orders/":                  {"file", "/data/orders"},
		"file:///data/orders":            {"file", "/data/orders"},
		"hdfs://host/data/orders":        {"hdfs://host:8020", "/data/orders"},
		"hdfs:///data/orders":            {"hdfs://nn:9000", "/data/orders"},
		"hive://h1,h2:9084/shop.orders":  {"hive://h1:9083", "shop.orders"},
		"hive:///Shop.Orders":            {"hive://ms:9083", "shop.orders"},
		fixed("/in/{dt}/*.parquet"):      {"file", "/in"},
		fixed("/in/2026-*/*.parquet"):    {"file", "/in"},
		fixed("/*.csv"):                  {"file", "/"},
		fixed("hdfs://h:1/in/{dt}.json"): {"hdfs://h:1", "/in"},
	} {
		if d := named(url); d.Namespace != want[0] || d.Name != want[1] {
			t.Errorf("%s: %s %s, want %v", url, d.Namespace, d.Name, want)
		}
	}
}

// TestFaults: settings that make no sense are told before anything is done.
func TestFaults(t *testing.T) {
	bad := Target{To: "ftp://host", NominalTime: "yesterday", Timeout: -1}
	if got := bad.Faults(); len(got) != 3 {
		t.Errorf("%v", got)
	}
	good := Target{To: "http://host:5000", NominalTime: "2026-11-20T00:00:00Z"}
	if got := good.Faults(); got != nil {
		t.Errorf("%v", got)
	}
}
