package schedulertest

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"
)

// TestUnits has systemd judge the units of examples/systemd, as those of a job.
func TestUnits(t *testing.T) {
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatal("systemd-analyze required, but it is not there")
		}
		t.Skip("without systemd-analyze: it is not there (make engines installs it)")
	}
	service := readFile(t, root+"/examples/systemd/hupsert@.service")
	timer := readFile(t, root+"/examples/systemd/hupsert@.timer")
	// systemd looks whether the program is there.
	service = strings.ReplaceAll(service, "/usr/local/bin/hupsert", binary(t))
	if text := verify(t, service, timer); text != "" {
		t.Errorf("systemd-analyze verify: %s", text)
	}
	if text := verify(t, strings.Replace(service, "RestartSec=", "RestartSecs=", 1), timer); !strings.Contains(text, "RestartSecs") {
		t.Errorf("systemd-analyze verify, of a unit with a slip: %s", text)
	}
}

// verify writes the units as those of a job, as `systemctl enable` makes them, and returns what systemd says of them.
func verify(t *testing.T, service, timer string) string {
	t.Helper()
	dir := t.TempDir()
	writeFile(t, filepath.Join(dir, "hupsert@orders.service"), service)
	writeFile(t, filepath.Join(dir, "hupsert@orders.timer"), timer)
	text, _ := exec.CommandContext(t.Context(), "systemd-analyze", "verify", filepath.Join(dir, "hupsert@orders.timer"), filepath.Join(dir, "hupsert@orders.service")).CombinedOutput()
	// What this machine has amiss is not ours; nor that files of a temporary folder may be executed.
	var ours []string
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "hupsert@") && !strings.Contains(line, "marked executable") {
			ours = append(ours, line)
		}
	}
	return strings.Join(ours, "")
}

// TestServiceRetriesByExitCode: systemd tries again after the same exit codes as Airflow and Kubernetes, and its limits on memory fit.
func TestServiceRetriesByExitCode(t *testing.T) {
	service := readFile(t, root+"/examples/systemd/hupsert@.service")
	setting := func(name string) string {
		m := regexp.MustCompile(`(?m)^` + name + `=(.*)$`).FindStringSubmatch(service)
		if m == nil {
			t.Fatalf("no %s", name)
		}
		return m[1]
	}
	if got, want := setting("RestartPreventExitStatus"), strings.Trim(fmt.Sprint(finalExitCodes), "[]"); got != want {
		t.Errorf("RestartPreventExitStatus is %s, want %s", got, want)
	}
	goLimit := regexp.MustCompile(`GOMEMLIMIT=(\S+)`).FindStringSubmatch(setting("Environment"))
	checkMemory(t, "hupsert@.service", goLimit[1], setting("MemoryMax"))
}

// TestServiceCommand runs what the service runs, with the job of a test.
func TestServiceCommand(t *testing.T) {
	service := readFile(t, root+"/examples/systemd/hupsert@.service")
	m := regexp.MustCompile(`(?m)^ExecStart=/bin/sh -c '(.*)'$`).FindStringSubmatch(service)
	if m == nil {
		t.Fatal("no ExecStart of a shell")
	}
	// As systemd reads the line: %i is the job, %% is a percent sign.
	runsToday(t, strings.NewReplacer("%%", "%", "%i", "orders").Replace(m[1]))
}

// TestCronLines runs what the lines of examples/cron run.
func TestCronLines(t *testing.T) {
	lines := regexp.MustCompile(`(?m)^[0-9*/,-]+ [0-9*/,-]+ \S+ \S+ \S+ +hupsert +(.*)$`).FindAllStringSubmatch(readFile(t, root+"/examples/cron/hupsert"), -1)
	if len(lines) != 2 {
		t.Fatalf("%d lines for the user hupsert", len(lines))
	}
	for _, m := range lines {
		// As cron reads the line: a percent sign behind a backslash is one; any other begins the command's standard input.
		if regexp.MustCompile(`(^|[^\\])%`).MatchString(m[1]) {
			t.Errorf("cron ends it at a percent sign: %s", m[1])
		}
		if text := runsToday(t, strings.ReplaceAll(m[1], `\%`, "%")); text != "" {
			t.Errorf("cron would mail of %s:\n%s", m[1], text)
		}
	}
}

// runsToday runs a command in a shell on files of today, under the names that things have in this test, and returns what it says.
func runsToday(t *testing.T, command string) string {
	t.Helper()
	dir, hupsert := t.TempDir(), binary(t)
	run := func(name string, arguments ...string) string {
		t.Helper()
		text, err := exec.CommandContext(t.Context(), name, arguments...).CombinedOutput()
		if err != nil {
			t.Fatalf("%s %q: %v\n%s", name, arguments, err, text)
		}
		return string(text)
	}
	now := time.Now().UTC()
	for _, day := range []time.Time{now, now.Add(time.Hour)} { // should midnight come between
		in := filepath.Join(dir, "in", day.Format(time.DateOnly))
		if err := os.MkdirAll(in, 0o755); err != nil {
			t.Fatal(err)
		}
		writeFile(t, filepath.Join(in, "part.csv"), "order_id,dt\n1,"+day.Format(time.DateOnly)+"\n")
	}
	writeFile(t, filepath.Join(dir, "old.csv"), "order_id,dt\n1,2026-01-01\n")
	writeFile(t, filepath.Join(dir, "orders.yaml"), "steps:\n  - table: "+dir+"/orders\n    from: "+dir+"/in/${DAY}/*.csv\n")
	run(hupsert, "upsert", dir+"/orders", "--from", dir+"/old.csv", "--create", "--partition-by", "dt:date", "--schema", "order_id bigint", "--key", "order_id")
	run(hupsert, "config", dir+"/orders", "--set", "key=order_id")
	command = strings.NewReplacer("/etc/hupsert", dir, "/warehouse/orders", dir+"/orders", "/incoming/{dt}/*.parquet", dir+"/in/{dt}/*.csv").Replace(command)
	command = regexp.MustCompile(`(^|exec )(/usr/local/bin/)?hupsert `).ReplaceAllString(command, "${1}"+hupsert+" ")
	said := run("/bin/sh", "-c", command)
	var table struct{ Rows int }
	if err := json.Unmarshal([]byte(run(hupsert, "show", dir+"/orders", "--output", "json")), &table); err != nil {
		t.Fatal(err)
	}
	if table.Rows < 2 {
		t.Errorf("%s\nmerged nothing:\n%s", command, said)
	}
	return said
}
