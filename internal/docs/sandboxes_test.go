//go:build unix

package docs

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/orders"
)

// sandboxes prepare the folders of the pages: what a page speaks of is there, and under the name it has there where that
// can be. Others have another folder's name for /warehouse, and so on.
var sandboxes = map[string]func(*testing.T, *sandbox){
	"README.md":          prepareReadme,
	"CONTRIBUTING.md":    prepareOrders("new.parquet"),
	"docs/cli.md":        prepareReference,
	"docs/jobs.md":       prepareJobs,
	"docs/monitoring.md": prepareMonitoring,

	"examples/airflow/README.md": prepareOrders("day.parquet"),
}

const columns = `order_id bigint, amount decimal(10,2), updated_at timestamp`

// functions are of the shells in which pages are prepared:
//
//	parquet FILE < CSV   a file of order_id, amount, updated_at and dt, where the CSV has it
//	table NAME < CSV     a table of these, by dt and with a key
const functions = `
parquet() {
	cat >.made.csv
	days=
	grep -q '^order.*,dt' .made.csv && days=', dt date'
	hupsert upsert .made --create --partition-by '' --mode append --from .made.csv --schema "` + columns + `$days" --source-timezone UTC --quiet
	mkdir -p "$(dirname "$1")"
	mv .made/*.parquet "$1"
	rm -r .made .made.csv .hupsert/.made
}
table() {
	cat >.made.csv
	hupsert upsert "$1" --create --partition-by dt:date --key order_id --from .made.csv --schema '` + columns + `' --source-timezone UTC --quiet
	rm .made.csv
	hupsert config "$1" --set key=order_id --quiet
}
`

// csv are orders of 2026-11-20, with an amount.
func csv(amount string, ids ...string) string {
	text := "order_id,amount,updated_at,dt\n"
	for _, id := range ids {
		text += id + "," + amount + ",2026-11-20 08:00:00,2026-11-20\n"
	}
	return "<<'CSV'\n" + text + "CSV\n"
}

// prepareOrders: a table ./orders with a key, and a file of changes.
func prepareOrders(file string) func(*testing.T, *sandbox) {
	return func(t *testing.T, s *sandbox) {
		t.Helper()
		s.run(t, functions+"table ./orders "+csv("1.50", "1", "2", "3")+"parquet "+file+" "+csv("2.50", "3", "4"))
		s.names["/warehouse"] = s.dir
	}
}

// prepareReadme: the table of `make demo` besides.
func prepareReadme(t *testing.T, s *sandbox) {
	prepareOrders("changes.parquet")(t, s)
	if _, err := orders.WriteTable(t.Context(), filepath.Join(s.dir, "demo", "orders")); err != nil {
		t.Fatal(err)
	}
	if _, err := orders.WriteChanges(filepath.Join(s.dir, "demo", "changes", orders.LastDay()+".parquet")); err != nil {
		t.Fatal(err)
	}
}

// prepareReference: besides ./orders a TABLE, with rows that were rejected in FILE, and files for a year but for five days.
func prepareReference(t *testing.T, s *sandbox) {
	prepareOrders("day.parquet")(t, s)
	s.run(t, functions+"table TABLE "+csv("1.50", "1")+`
cat >bad.csv <<'CSV'
order_id,amount,updated_at,dt
5,1.50,2026-11-20 08:00:00,2026-11-20
,1.50,2026-11-20 08:00:00,2026-11-20
CSV
hupsert upsert TABLE --from bad.csv --source-timezone UTC --null-keys reject --rejects FILE`)
	// A correction of what was rejected is left out: FILE's rows without a key get one.
	s.run(t, `sed -i 's/"order_id":null/"order_id":6/; s/"order_id": null/"order_id": 6/' FILE`)
	s.run(t, functions+"parquet part.parquet "+strings.ReplaceAll(strings.ReplaceAll(csv("3.50", "7", "8"), ",dt", ""), ",2026-11-20\n", "\n"))
	part, err := os.ReadFile(filepath.Join(s.dir, "part.parquet"))
	if err != nil {
		t.Fatal(err)
	}
	for file := range 812 {
		day := time.Date(2026, 1, 1+file%360, 0, 0, 0, 0, time.UTC).Format(time.DateOnly)
		name := filepath.Join(s.dir, "in", day, fmt.Sprintf("part-%d.parquet", file/360))
		if err := errors.Join(os.MkdirAll(filepath.Dir(name), 0o755), os.WriteFile(name, part, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
}

// prepareJobs: files of a day for the job that `job init` writes.
func prepareJobs(t *testing.T, s *sandbox) {
	s.run(t, functions+"table ./orders "+csv("1.50", "1", "2", "3")+"parquet in/2026-11-20/part-0.parquet "+csv("2.50", "3", "4"))
}

// prepareMonitoring: a gateway, and the folder of the collector.
func prepareMonitoring(t *testing.T, s *sandbox) {
	prepareOrders("day.parquet")(t, s)
	gateway := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost || !strings.HasPrefix(r.URL.Path, "/metrics/job/hupsert/") {
			http.Error(w, "no such place", http.StatusNotFound)
		}
	}))
	t.Cleanup(gateway.Close)
	s.names["http://pushgateway:9091"] = gateway.URL
	s.names["/var/lib/node_exporter"] = s.dir
}
