package schedulertest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// A partition's value that a shell, Jinja, Kubernetes or the shape of a command line could take for something else.
const strange = `it's $(HUPSERT_TABLE) {{ ds }}, "$HOME" & x.sh `

// strangeName is the same as tasks are named by it: as a folder is, and as --partition wants it.
const strangeName = `it%27s%20$(HUPSERT_TABLE)%20%7B%7B%20ds%20}}%2C%20%22$HOME%22%20&%20x.sh%20`

// shop is a table of orders and the day's file that comes in, beside a second table into which the same is merged at once.
type shop struct {
	dir, hupsert, table, twin, source string
}

func openShop(t *testing.T) *shop {
	t.Helper()
	dir := t.TempDir()
	s := &shop{dir: dir, hupsert: binary(t), table: dir + "/orders", twin: dir + "/twin", source: dir + "/2026-11-21.csv"}
	first := s.file(t, "first.csv", "1,1.50,2026-11-18,kr", "2,2.50,2026-11-19,kr", "3,3.50,2026-11-20,kr")
	for _, table := range []string{s.table, s.twin} {
		s.run(t, 0, "upsert", table, "--from", first, "--create", "--partition-by", "dt:date,region:string",
			"--schema", "order_id bigint, amount decimal(9,2)", "--key", "order_id")
		s.run(t, 0, "config", table, "--set", "key=order_id")
	}
	return s
}

func (s *shop) file(t *testing.T, name string, rows ...string) string {
	t.Helper()
	name = filepath.Join(s.dir, name)
	writeFile(t, name, "order_id,amount,dt,region\n"+strings.Join(rows, "\n")+"\n")
	return name
}

func (s *shop) run(t *testing.T, code int, arguments ...string) string {
	t.Helper()
	text, err := exec.CommandContext(t.Context(), s.hupsert, arguments...).CombinedOutput()
	got := 0
	if err != nil {
		got = -1
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // as Run gives it
			got = exit.ExitCode()
		}
	}
	if got != code {
		t.Fatalf("hupsert %q: %v, want exit code %d\n%s", arguments, err, code, text)
	}
	return string(text)
}

// merged holds the table against the twin, into which the rows are merged at once.
func (s *shop) merged(t *testing.T, rows ...string) {
	t.Helper()
	s.run(t, 0, "upsert", s.twin, "--from", s.file(t, "twin.csv", rows...))
	s.run(t, 0, "compare", s.table, s.twin, "--exit-code")
}

// files lists the table's and its state's files.
func (s *shop) files(t *testing.T) string {
	t.Helper()
	var b strings.Builder
	for _, dir := range []string{s.table, filepath.Join(s.dir, ".hupsert", "orders", "history"), filepath.Join(s.dir, ".hupsert", "orders", "staging")} {
		err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			fmt.Fprintln(&b, path)
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

// quote writes a field of CSV.
func quote(text string) string { return `"` + strings.ReplaceAll(text, `"`, `""`) + `"` }

// day is what comes in: an update and an insert, a partition without a change, a new one, one of a strange name, and one without a name.
func day() []string {
	return []string{"1,9.00,2026-11-18,kr", "4,9.00,2026-11-18,kr", "3,3.50,2026-11-20,kr", "5,5.00,2026-11-21,kr", "6,6.00,2026-11-21," + quote(strange), "7,7.00,2026-11-21,"}
}

// dag is a DAG beside the shop that it works for. Its methods are the stories that both DAGs have in common.
type dag struct {
	*airflow
	*shop
	name string
}

// program makes the tasks' hupsert: a shell script that does something before it becomes the real one.
func (d *dag) program(t *testing.T, before string) {
	t.Helper()
	writeFile(t, filepath.Join(d.bin, "hupsert"), "#!/bin/sh\n"+before+"\nexec '"+d.hupsert+"' \"$@\"\n")
}

func (d *dag) runs(t *testing.T, state string, want ...string) {
	t.Helper()
	d.test(t, d.name, map[string]string{"table": d.table, "source": d.dir + "/{day}.csv", "day": "2026-11-21"}, state, want...)
}

// merges a day, and the same once more, which changes nothing.
func (d *dag) merges(t *testing.T) {
	d.file(t, "2026-11-21.csv", day()...)
	d.runs(t, "success", "plan success after 1", "merge[dt=2026-11-18/region=kr] success after 1",
		"merge[dt=2026-11-21/region=kr] success after 1", "merge[dt=2026-11-21/region="+strangeName+"] success after 1",
		"merge[dt=2026-11-21/region=__HIVE_DEFAULT_PARTITION__] success after 1", "check success after 1")
	d.merged(t, day()...)
	before := d.files(t)
	d.runs(t, "success", "plan success after 1", "merge skipped after 0", "check success after 1")
	if after := d.files(t); after != before {
		t.Errorf("a second run made of\n%s\n%s", before, after)
	}
}

// failsAlone: one partition that is bad fails in a task of its own, without a retry; the others are merged.
func (d *dag) failsAlone(t *testing.T) {
	rows := []string{"1,19.00,2026-11-18,kr", "2,29.00,2026-11-19,kr", ",29.00,2026-11-19,kr", "3,39.00,2026-11-20,kr"}
	d.file(t, "2026-11-21.csv", rows...)
	d.runs(t, "failed", "plan success after 1", "merge[dt=2026-11-18/region=kr] success after 1",
		"merge[dt=2026-11-19/region=kr] failed after 1", "merge[dt=2026-11-20/region=kr] success after 1", "check upstream_failed after 0")
	d.merged(t, rows[0], rows[3])
	// Mended, the same day goes through.
	d.file(t, "2026-11-21.csv", rows[0], rows[1], rows[3])
	d.runs(t, "success", "plan success after 1", "merge[dt=2026-11-19/region=kr] success after 1", "check success after 1")
	d.merged(t, rows[1])
}

// triesAgain: what may pass is tried again, each task for itself: a lock, the storage, a kill.
func (d *dag) triesAgain(t *testing.T) {
	rows := []string{"1,119.00,2026-11-18,kr", "2,129.00,2026-11-19,kr", "3,139.00,2026-11-20,kr"}
	d.file(t, "2026-11-21.csv", rows...)
	d.program(t, `once() { [ ! -e '`+d.dir+`'/once.$1 ] && touch '`+d.dir+`'/once.$1; }
case "$*" in
plan*) once plan && exit 6;;
*dt=2026-11-18*) once locked && exit 4;;
*dt=2026-11-19*) once killed && kill -9 $$;;
esac`)
	d.runs(t, "success", "plan success after 2", "merge[dt=2026-11-18/region=kr] success after 2",
		"merge[dt=2026-11-19/region=kr] success after 2", "merge[dt=2026-11-20/region=kr] success after 1", "check success after 1")
	d.program(t, "")
	d.merged(t, rows...)
}

// refuses: what is not there, or makes no sense, is not tried again; rows that no task took are noticed.
func (d *dag) refuses(t *testing.T) {
	if err := os.Remove(d.source); err != nil {
		t.Fatal(err)
	}
	d.runs(t, "failed", "plan failed after 1", "merge upstream_failed after 0", "check upstream_failed after 0")
	d.file(t, "2026-11-21.csv", "1,219.00,2026-11-18,kr")
	// The source changes behind the plan's back: its new partition is in no task.
	d.program(t, `case "$*" in upsert*) echo '7,7.00,2026-11-22,kr' >>'`+d.source+`';; esac`)
	d.runs(t, "failed", "plan success after 1", "merge[dt=2026-11-18/region=kr] success after 1", "check failed after 1")
	d.program(t, "")
	d.runs(t, "success", "plan success after 1", "merge[dt=2026-11-22/region=kr] success after 1", "check success after 1")
	d.merged(t, "1,219.00,2026-11-18,kr", "7,7.00,2026-11-22,kr")
}

// TestDAGs runs the DAGs of examples/airflow by `airflow dags test`. What the operator of pods would have a cluster run is run here.
func TestDAGs(t *testing.T) {
	if testing.Short() {
		t.Skip("runs Airflow")
	}
	a := startAirflow(t)
	for _, name := range []string{"hupsert_bash", "hupsert_kubernetes"} {
		t.Run(name, func(t *testing.T) {
			d := &dag{airflow: a, shop: openShop(t), name: name}
			d.program(t, "")
			d.merges(t)
			if name == "hupsert_kubernetes" {
				d.checkPods(t)
			}
			d.failsAlone(t)
			d.triesAgain(t)
			d.refuses(t)
		})
	}
}

// checkPods holds the pods of a first run against what is expected of each, and of all.
func (d *dag) checkPods(t *testing.T) {
	t.Helper()
	const table, source = "$(HUPSERT_TABLE)", "$(HUPSERT_SOURCE)"
	merge := func(partition string) []string {
		return []string{"upsert", table, "--partition", partition, "--stray-rows", "reject", "--from", source, "--lock-wait", "10m", "--retry", "3"}
	}
	var pods []pod // merges may run in any order
	for i := range 6 {
		pods = append(pods, readPod(t, filepath.Join(d.pods, fmt.Sprintf("pod-%03d.json", i))))
	}
	for _, want := range []struct {
		image         string
		command, args []string
		containers    []string
	}{
		{"hupsert:latest", nil, []string{"plan", table, "--from", source, "--output", "json", "--out", "/airflow/xcom/return.json"}, []string{"base", "airflow-xcom-sidecar"}},
		{"hupsert:latest", nil, merge("dt=2026-11-18/region=kr"), []string{"base"}},
		{"hupsert:latest", nil, merge("dt=2026-11-21/region=__HIVE_DEFAULT_PARTITION__"), []string{"base"}},
		{"hupsert:latest", nil, merge("dt=2026-11-21/region=" + strings.ReplaceAll(strangeName, "$(", "$$(")), []string{"base"}},
		{"hupsert:latest", nil, merge("dt=2026-11-21/region=kr"), []string{"base"}},
		{"hupsert:latest", nil, []string{"diff", table, "--from", source, "--exit-code", "--limit", "0"}, []string{"base"}},
	} {
		at := slices.IndexFunc(pods, func(p pod) bool { return slices.Equal(p.Spec.Containers[0].Args, want.args) })
		if at < 0 {
			t.Errorf("no pod has the arguments %q", want.args)
			continue
		}
		base := pods[at].Spec.Containers[0]
		var names []string
		for _, c := range pods[at].Spec.Containers {
			names = append(names, c.Name)
		}
		if base.Image != want.image || !slices.Equal(base.Command, want.command) || !slices.Equal(names, want.containers) {
			t.Errorf("a pod runs %s %q in %q, want %+v", base.Image, base.Command, names, want)
		}
		d.checkPod(t, pods[at])
	}
}

// checkPod holds what all pods have in common.
func (d *dag) checkPod(t *testing.T, p pod) {
	t.Helper()
	base := p.Spec.Containers[0]
	env := map[string]string{}
	for _, e := range base.Env {
		env[e.Name] = e.Value
	}
	if env["HUPSERT_TABLE"] != d.table || env["HUPSERT_SOURCE"] != d.source {
		t.Errorf("the environment of %s: %v", p.Metadata.Name, env)
	}
	checkMemory(t, p.Metadata.Name, env["GOMEMLIMIT"], base.Resources.Limits["memory"])
	for what, ok := range map[string]bool{
		"restarts never":                    p.Spec.RestartPolicy == "Never",
		"is nobody's root":                  p.Spec.SecurityContext.RunAsNonRoot && p.Spec.SecurityContext.RunAsUser == 65532 && p.Spec.SecurityContext.FSGroup == 65532,
		"has a root that can't be written":  base.SecurityContext.ReadOnlyRootFilesystem && !*base.SecurityContext.AllowPrivilegeEscalation,
		"tells the end of its log":          base.TerminationMessagePolicy == "FallbackToLogsOnError",
		"mounts table, source, temporaries": base.mounts("/warehouse", "/incoming", "/tmp"),
		"has time to end":                   p.Spec.TerminationGracePeriodSeconds >= 30,
		"says how much memory it needs":     base.Resources.Requests["memory"] == base.Resources.Limits["memory"],
	} {
		if !ok {
			t.Errorf("%s: not so: %s", p.Metadata.Name, what)
		}
	}
}

// pod has those fields of a pod that tests look at.
type pod struct {
	Metadata struct{ Name string }
	Spec     podSpec
}

type podSpec struct {
	RestartPolicy                 string
	TerminationGracePeriodSeconds int
	SecurityContext               struct {
		RunAsNonRoot       bool
		RunAsUser, FSGroup int
	}
	Containers []container
	Volumes    []struct {
		Name                  string
		PersistentVolumeClaim *struct{ ClaimName string }
		ConfigMap             *struct{ Name string }
	}
}

type container struct {
	Name, Image, TerminationMessagePolicy string
	Command, Args                         []string
	Env                                   []struct{ Name, Value string }
	Resources                             struct{ Limits, Requests map[string]string }
	SecurityContext                       struct {
		ReadOnlyRootFilesystem   bool
		AllowPrivilegeEscalation *bool
	}
	VolumeMounts []struct{ Name, MountPath string }
}

func (c container) mounts(paths ...string) bool {
	mounted := map[string]bool{}
	for _, m := range c.VolumeMounts {
		mounted[m.MountPath] = true
	}
	for _, p := range paths {
		if !mounted[p] {
			return false
		}
	}
	return true
}

func readPod(t *testing.T, name string) (p pod) {
	t.Helper()
	text, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.NewDecoder(bytes.NewReader(text)).Decode(&p); err != nil {
		t.Fatal(err)
	}
	return p
}
