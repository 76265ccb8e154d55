package schedulertest

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/goccy/go-yaml"
)

// finalExitCodes are those after which no try could do better, by docs/cli.md: usage, data, guards.
var finalExitCodes = []int{2, 3, 5}

const cronJob = root + "/examples/kubernetes/cronjob.yaml"

// manifest has those fields of the ConfigMap and the CronJob that tests look at.
type manifest struct {
	Kind     string
	Metadata struct{ Name string }
	Data     map[string]string
	Spec     struct {
		Schedule, ConcurrencyPolicy string
		JobTemplate                 struct {
			Spec struct {
				BackoffLimit     int
				PodFailurePolicy struct {
					Rules []struct {
						Action      string
						OnExitCodes *struct {
							ContainerName, Operator string
							Values                  []int
						}
					}
				}
				Template struct{ Spec podSpec }
			}
		}
	}
}

// TestManifestHasKubernetesTypes: each field is one that Kubernetes knows, of its type; a slip in a name would be passed by silently.
func TestManifestHasKubernetesTypes(t *testing.T) {
	check := func(names ...string) (string, error) {
		text, err := exec.CommandContext(t.Context(), python(t), append([]string{"-B", root + "/testdata/airflow/manifest.py"}, names...)...).CombinedOutput()
		return string(text), err
	}
	if text, err := check(cronJob); err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	good := readFile(t, cronJob)
	slips := []struct{ old, new, want string }{
		{"concurrencyPolicy:", "concurencyPolicy:", "V1CronJobSpec knows no concurencyPolicy"},
		{"backoffLimit: 3", `backoffLimit: "3"`, "'3' is no int"},
		{`cpu: "1"`, "cpu: 1", "1 is no str"},
		{"restartPolicy: Never", "restartPolicy: Never\n          volumes: []", "volumes stands twice"},
		{"- name: warehouse\n              persistent", "- persistent", "`name`"},
	}
	var bad []string
	for i, slip := range slips {
		if !strings.Contains(good, slip.old) {
			t.Fatalf("%s has no %q", cronJob, slip.old)
		}
		bad = append(bad, filepath.Join(t.TempDir(), fmt.Sprintf("bad-%d.yaml", i)))
		writeFile(t, bad[i], strings.Replace(good, slip.old, slip.new, 1))
	}
	text, err := check(bad...)
	if err == nil {
		t.Error("all slips are passed by")
	}
	for i, slip := range slips {
		found := slices.ContainsFunc(strings.Split(text, "\n"), func(line string) bool {
			return strings.HasPrefix(line, bad[i]) && strings.Contains(line, slip.want)
		})
		if !found {
			t.Errorf("%q in place of %q is passed by:\n%s", slip.new, slip.old, text)
		}
	}
}

// TestCronJob: the job is in order, the claims fit the paths, retries follow the exit codes, and the memory of Go the limit.
func TestCronJob(t *testing.T) {
	config, cron := manifests(t)
	file := filepath.Join(t.TempDir(), "job.yaml")
	writeFile(t, file, config.Data["job.yaml"])
	if text, err := exec.CommandContext(t.Context(), binary(t), "job", "check", file).CombinedOutput(); err != nil {
		t.Errorf("hupsert job check: %v\n%s", err, text)
	}

	job := cron.Spec.JobTemplate.Spec
	pod := job.Template.Spec
	base := pod.Containers[0]
	rule := job.PodFailurePolicy.Rules[0]
	if rule.Action != "FailJob" || rule.OnExitCodes.Operator != "In" || rule.OnExitCodes.ContainerName != base.Name || !slices.Equal(rule.OnExitCodes.Values, finalExitCodes) {
		t.Errorf("exit codes that end the job at once: %+v", *rule.OnExitCodes)
	}
	checkMemory(t, cron.Metadata.Name, base.Env[0].Value, base.Resources.Limits["memory"])
	for what, ok := range map[string]bool{
		"forbids two at once":              cron.Spec.ConcurrencyPolicy == "Forbid",
		"tries again":                      job.BackoffLimit > 0,
		"restarts never":                   pod.RestartPolicy == "Never", // which a podFailurePolicy asks for
		"is nobody's root":                 pod.SecurityContext.RunAsNonRoot && pod.SecurityContext.RunAsUser == 65532 && pod.SecurityContext.FSGroup == 65532,
		"has a root that can't be written": base.SecurityContext.ReadOnlyRootFilesystem && !*base.SecurityContext.AllowPrivilegeEscalation,
		"mounts all that it names":         base.mounts("/etc/hupsert", "/warehouse", "/incoming", "/tmp") && strings.Contains(config.Data["job.yaml"], "table: /warehouse/") && strings.Contains(config.Data["job.yaml"], "from: /incoming/"),
		"runs the job of its ConfigMap":    slices.Equal(base.Args, []string{"run", "/etc/hupsert/job.yaml"}) && len(base.Command) == 0 && pod.Volumes[0].ConfigMap.Name == config.Metadata.Name,
		"has each volume that it mounts":   hasVolumes(pod),
		"says how much memory it needs":    base.Resources.Requests["memory"] == base.Resources.Limits["memory"],
	} {
		if !ok {
			t.Errorf("not so: %s", what)
		}
	}
}

func hasVolumes(p podSpec) bool {
	names := map[string]bool{}
	for _, v := range p.Volumes {
		names[v.Name] = true
	}
	for _, m := range p.Containers[0].VolumeMounts {
		if !names[m.Name] {
			return false
		}
	}
	return len(names) == len(p.Containers[0].VolumeMounts)
}

func manifests(t *testing.T) (config, cron manifest) {
	t.Helper()
	for _, text := range strings.Split(readFile(t, cronJob), "\n---\n") {
		// By way of JSON, whose reader takes podFailurePolicy for PodFailurePolicy.
		object, err := yaml.YAMLToJSON([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		var m manifest
		if err := json.Unmarshal(object, &m); err != nil {
			t.Fatal(err)
		}
		switch m.Kind {
		case "ConfigMap":
			config = m
		case "CronJob":
			cron = m
		default:
			t.Fatalf("%s has a %s", cronJob, m.Kind)
		}
	}
	return config, cron
}

// checkMemory holds what Go is told of a container's memory against its limit: near to it, and with room for what Go does not count.
func checkMemory(t *testing.T, name, goLimit, limit string) {
	t.Helper()
	told, allowed := size(t, goLimit), size(t, limit)
	if share := float64(told) / float64(allowed); share < 0.8 || share > 0.95 {
		t.Errorf("%s: GOMEMLIMIT %s is %.2f of the limit %s", name, goLimit, share, limit)
	}
}

// size reads the sizes of Go, Kubernetes and systemd: 1800MiB, 2Gi, 4G.
func size(t *testing.T, text string) int64 {
	t.Helper()
	m := regexp.MustCompile(`^(\d+)([MG])(i|iB)?$`).FindStringSubmatch(text)
	if m == nil {
		t.Fatalf("%q is no size", text)
	}
	n, err := strconv.ParseInt(m[1], 10, 64)
	if err != nil {
		t.Fatal(err)
	}
	return n << map[string]int{"M": 20, "G": 30}[m[2]]
}
