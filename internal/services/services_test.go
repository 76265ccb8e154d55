//go:build unix

package main

import (
	"bufio"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/internal/orders"
	"github.com/hupsert/hupsert/partition/metastore"
)

// The program says where the demo's table is, which is there, and leaves nothing when it is interrupted.
func TestServices(t *testing.T) {
	if os.Getenv("HUPSERT_SERVICES") == "" {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatal("HUPSERT_SERVICES is not set")
		}
		t.Skip("HUPSERT_SERVICES is not set")
	}
	program := filepath.Join(t.TempDir(), "services")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	temp := t.TempDir()
	cmd := exec.CommandContext(t.Context(), program, "-binary", "the-command")
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said, values := "", map[string]string{}
	for lines := bufio.NewScanner(out); !strings.Contains(said, "Ctrl-C ends") && lines.Scan(); {
		said += lines.Text() + "\n"
		if key, value, ok := strings.Cut(lines.Text(), "="); ok && !strings.Contains(key, " ") {
			values[key] = value
		}
	}
	for _, want := range []string{"  the-command upsert " + values["hdfs"], "  the-command upsert " + values["hive"], "HADOOP_CONF_DIR=" + temp} {
		if !strings.Contains(said, want) {
			t.Errorf("it does not say %q, but:\n%s", want, said)
		}
	}
	registered(t, values)

	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("interrupted it ends with %v", err)
	}
	if left, err := os.ReadDir(temp); err != nil || len(left) > 0 {
		t.Errorf("it leaves %v, %v", left, err)
	}
}

// registered looks at the table through the metastore.
func registered(t *testing.T, values map[string]string) {
	t.Helper()
	address, err := metastore.ParseURL(values["hive"])
	if err != nil {
		t.Fatal(err)
	}
	m, err := metastore.Dial(t.Context(), metastore.Config{Hosts: address.Hosts})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	table, err := m.Table(t.Context(), address.Database, address.Table)
	if err != nil {
		t.Fatal(err)
	}
	if err := table.Refusal(); err != nil {
		t.Error(err)
	}
	if table.Location != values["hdfs"] || table.Parameters[metastore.ParamKey] != "order_id,line_no" {
		t.Errorf("the table is at %s with %v, want %s", table.Location, table.Parameters, values["hdfs"])
	}
	names, err := m.PartitionNames(t.Context(), address.Database, address.Table)
	if err != nil || len(names) != orders.Days || names[len(names)-1] != "dt="+orders.LastDay() {
		t.Fatalf("partitions %v, %v", names, err)
	}
	partitions, err := m.Partitions(t.Context(), table, names)
	if err != nil {
		t.Fatal(err)
	}
	for i, p := range partitions {
		if want := fmt.Sprintf("%s/%s", values["hdfs"], names[i]); p.Location != want {
			t.Errorf("%s is at %s, want %s", names[i], p.Location, want)
		}
	}
}
