package metrics

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/hupsert/hupsert/partition"
)

const table = `hdfs://nn/shop/"orders"`

func ended(err error, at int64) Run {
	r := &partition.Report{Partitions: []partition.PartitionReport{
		{Partition: "dt=2026-11-19", Status: partition.Published, Seconds: partition.Seconds{Source: 2, Write: 3, Publish: .5}},
		{Partition: "dt=2026-11-20", Status: partition.Noop, Seconds: partition.Seconds{Source: 2, Write: 1}}}}
	r.Total = partition.Total{Rows: partition.Rows{Inserted: 7, Updated: 5, Out: 100}, Bytes: partition.Bytes{Kept: 4096, Patched: 12},
		Files: partition.Files{Before: 3, After: 4}, PeakMemoryBytes: 1 << 20}
	return Run{Table: table, Command: "upsert", Report: r, Err: err, Ended: time.Unix(at, 5e8), Seconds: 6.25}
}

// parse reads metrics as "name{labels of their own}" and values, and has them linted as promtool does.
func parse(t *testing.T, text []byte, labels map[string]string) map[string]float64 {
	t.Helper()
	problems, err := promlint.New(bytes.NewReader(text)).Lint()
	if err != nil || len(problems) > 0 {
		t.Errorf("%v %v", problems, err)
	}
	var p expfmt.TextParser
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	out := map[string]float64{}
	for name, f := range families {
		if f.GetHelp() == "" {
			t.Errorf("%s has no help", name)
		}
		for _, m := range f.GetMetric() {
			var own []string
			got := map[string]string{}
			for _, l := range m.GetLabel() {
				if got[l.GetName()] = l.GetValue(); labels[l.GetName()] == "" {
					own = append(own, l.GetName()+"="+l.GetValue())
				}
			}
			for k, v := range labels {
				if got[k] != v {
					t.Errorf("%s: %s is %q, want %q", name, k, got[k], v)
				}
			}
			out[fmt.Sprintf("%s{%s}", name, strings.Join(own, ","))] = m.GetGauge().GetValue()
		}
	}
	return out
}

func expect(t *testing.T, got map[string]float64, want map[string]float64) {
	t.Helper()
	for name, v := range want {
		if g, ok := got[name]; !ok || g != v {
			t.Errorf("%s: got %v (there: %v), want %v", name, g, ok, v)
		}
	}
}

// TestWriteFile: a run that succeeded, then one that failed, which leaves the time of the success.
func TestWriteFile(t *testing.T) {
	name := filepath.Join(t.TempDir(), "orders.prom")
	read := func() map[string]float64 {
		t.Helper()
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		return parse(t, text, map[string]string{"table": table, "command": "upsert"})
	}
	if err := WriteFile(name, ended(nil, 1000)); err != nil {
		t.Fatal(err)
	}
	good := read()
	expect(t, good, map[string]float64{"hupsert_last_run_success{}": 1, "hupsert_last_run_timestamp_seconds{}": 1000.5,
		"hupsert_last_success_timestamp_seconds{}": 1000.5, "hupsert_last_run_duration_seconds{}": 6.25, "hupsert_last_run_peak_memory_bytes{}": 1 << 20,
		"hupsert_last_run_rows{class=inserted}": 7, "hupsert_last_run_rows{class=updated}": 5, "hupsert_last_run_rows{class=deleted}": 0,
		"hupsert_last_run_bytes{route=kept}": 4096, "hupsert_last_run_bytes{route=patched}": 12, "hupsert_last_run_bytes{route=rewritten}": 0,
		"hupsert_last_run_files{when=before}": 3, "hupsert_last_run_files{when=after}": 4,
		"hupsert_last_run_partitions{status=published}": 1, "hupsert_last_run_partitions{status=noop}": 1, "hupsert_last_run_partitions{status=failed}": 0,
		"hupsert_last_run_step_seconds{step=source}": 2, "hupsert_last_run_step_seconds{step=write}": 4, "hupsert_last_run_step_seconds{step=publish}": .5})
	failed := ended(fmt.Errorf("twice: %w", partition.ErrDuplicateKey), 2000)
	failed.Report = nil
	for range 2 {
		if err := WriteFile(name, failed); err != nil {
			t.Fatal(err)
		}
		bad := read()
		expect(t, bad, map[string]float64{"hupsert_last_run_success{}": 0, "hupsert_last_run_timestamp_seconds{}": 2000.5,
			"hupsert_last_success_timestamp_seconds{}": 1000.5, "hupsert_last_run_error{kind=duplicate_key}": 1})
	}
	if err := WriteFile(name, ended(nil, 3000)); err != nil {
		t.Fatal(err)
	}
	again := read()
	expect(t, again, map[string]float64{"hupsert_last_success_timestamp_seconds{}": 3000.5})
	if _, there := again["hupsert_last_run_error{kind=duplicate_key}"]; there {
		t.Error("a run that succeeded has an error")
	}
}

// TestWriteFileNeverSucceeded: no time of a success is made up, nor taken from another table; a file of something else stays.
func TestWriteFileNeverSucceeded(t *testing.T) {
	name := filepath.Join(t.TempDir(), "orders.prom")
	other := ended(nil, 1000)
	other.Table = "elsewhere"
	if err := WriteFile(name, other); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(name, ended(io.ErrUnexpectedEOF, 2000)); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	got := parse(t, text, map[string]string{"table": table})
	if _, there := got["hupsert_last_success_timestamp_seconds{command=upsert}"]; there || len(got) < 10 {
		t.Errorf("got %v", got)
	}
	if err := os.WriteFile(name, []byte("{ not metrics"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := WriteFile(name, ended(io.ErrUnexpectedEOF, 2000)); err == nil || !strings.Contains(err.Error(), "no file of metrics") {
		t.Error(err)
	}
}

// TestPush: added to what the gateway has of the table, by the job and the table; the password goes in a header, and an error does
// not tell it.
func TestPush(t *testing.T) {
	answer := http.StatusOK
	var method, path, user, password, kind string
	var body []byte
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		method, path, kind = r.Method, r.URL.EscapedPath(), r.Header.Get("Content-Type")
		user, password, _ = r.BasicAuth()
		body, _ = io.ReadAll(r.Body)
		w.WriteHeader(answer)
	}))
	defer s.Close()
	gateway := strings.Replace(s.URL, "http://", "http://etl:s3cret@", 1) + "/"
	if err := Push(t.Context(), gateway, ended(errors.New("x"), 1000)); err != nil {
		t.Fatal(err)
	}
	if method != http.MethodPost || path != "/metrics/job/hupsert/table@base64/aGRmczovL25uL3Nob3AvIm9yZGVycyI" || user != "etl" || password != "s3cret" {
		t.Error(method, path, user, password)
	}
	decoder := expfmt.NewDecoder(bytes.NewReader(body), expfmt.ResponseFormat(http.Header{"Content-Type": {kind}}))
	var text bytes.Buffer
	encoder := expfmt.NewEncoder(&text, expfmt.NewFormat(expfmt.TypeTextPlain))
	for {
		f := new(dto.MetricFamily)
		if err := decoder.Decode(f); err != nil {
			if !errors.Is(err, io.EOF) {
				t.Fatal(err)
			}
			break
		}
		if err := encoder.Encode(f); err != nil {
			t.Fatal(err)
		}
	}
	got := parse(t, text.Bytes(), map[string]string{"command": "upsert"})
	expect(t, got, map[string]float64{"hupsert_last_run_success{}": 0, "hupsert_last_run_error{kind=internal}": 1, "hupsert_last_run_rows{class=inserted}": 7})
	if _, there := got["hupsert_last_success_timestamp_seconds{}"]; there {
		t.Error("a run that failed pushes a success")
	}
	answer = http.StatusInternalServerError
	if err := Push(t.Context(), gateway, ended(nil, 1000)); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	s.Close()
	if err := Push(t.Context(), gateway, ended(nil, 1000)); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Error(err)
	}
	for _, bad := range []string{"", "host", "http://", "::"} {
		if err := Push(t.Context(), bad, ended(nil, 1000)); err == nil {
			t.Errorf("%q is taken for a URL", bad)
		}
	}
}

// TestSourcesOfABatch: a run reads its source once for all partitions, each of which says how long that took; of a batch each has
// a source of its own.
func TestSourcesOfABatch(t *testing.T) {
	for _, run := range []string{"", "20261120T010203Z-4f1c-00001"} {
		r := ended(nil, 1000)
		r.Report.Partitions[1].Run = run // the other may have failed
		name := filepath.Join(t.TempDir(), "orders.prom")
		if err := WriteFile(name, r); err != nil {
			t.Fatal(err)
		}
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		want := 2.0
		if run != "" {
			want = 4
		}
		expect(t, parse(t, text, map[string]string{"table": table, "command": "upsert"}), map[string]float64{"hupsert_last_run_step_seconds{step=source}": want})
	}
}
