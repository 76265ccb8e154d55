package hadooptest

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
)

// disturbed is an upsert during which something is broken, and mended again.
type disturbed struct {
	name string
	// fault breaks something a random while after the run's begin; heal mends it, so long after.
	fault, heal func(t *testing.T)
	after       time.Duration
	// codes are the exit codes that the run may have. What was done is there; what was not has an error that
	// says one of the words, and a hint where there is something that helps.
	codes []int
	words []string
}

// disturb runs an upsert with a fault in it: the table is old or new, and new where the run says so; then the next run
// succeeds, and nothing is left.
func (x *table) disturb(t *testing.T, d disturbed, version int64, delay time.Duration) (next int64, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute) // "hangs" is a result, too
	defer cancel()
	cmd, err := x.upserting(ctx, version+1)
	must(t, err)
	type ended struct {
		code int
		said string
	}
	end := make(chan ended, 1)
	go func() {
		code, said := run(cmd)
		end <- ended{code, said}
	}()
	pause(ctx, delay)
	d.fault(t)
	if d.heal != nil {
		pause(ctx, d.after)
		d.heal(t)
	}
	e := <-end
	if ctx.Err() != nil {
		t.Fatalf("the run hangs:\n%s", e.said)
	}
	if !slices.Contains(d.codes, e.code) {
		t.Fatalf("after %v: exit code %d, want one of %v\n%s", delay, e.code, d.codes, e.said)
	}
	if e.code != 0 && !slices.ContainsFunc(d.words, func(w string) bool { return strings.Contains(e.said, w) }) {
		t.Errorf("exit code %d, and none of %q is said:\n%s", e.code, d.words, e.said)
	}
	got, err := x.version(t.Context())
	switch {
	case e.code == 0 && (err != nil || got != version+1):
		t.Fatalf("it was done, but the table is at %d: %v", got, err)
	case err != nil && x.kind == byPath && isGone(err): // between two renames
	case err != nil:
		t.Fatalf("exit code %d, and the table: %v", e.code, err)
	case got != version && got != version+1:
		t.Fatalf("the table is at %d", got)
	}
	version += 2
	if code, said := x.upsert(t.Context(), version, "--lock-wait", "60s"); code != 0 {
		t.Fatalf("the next run: exit code %d\n%s", code, said)
	}
	x.settled(t, version)
	return version, e.code
}

// do is a fault by commands.
func do(s *servicetest.Services, commands ...string) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		for _, c := range commands {
			s.Do(t, c)
		}
	}
}

// TestNodes breaks nodes in the middle of runs: datanodes and the namenode die and come back, hang, or are in safe mode.
func TestNodes(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Metastore: true, Datanodes: 3})
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	storage := []string{"hdfs", "datanode", "namenode", "metastore"}
	list := []disturbed{
		{"a datanode dies", do(s, "stopdn 1"), do(s, "startdn 1"), 3 * time.Second, []int{0, 6}, storage},
		{"the namenode restarts", do(s, "stopnn 0"), do(s, "startnn 0"), time.Second, []int{0}, nil},
		{"safe mode for a moment", do(s, "safemode enter"), do(s, "safemode leave"), 2 * time.Second, []int{0}, nil},
		{"all hang for a moment", signal(s, syscall.SIGSTOP), signal(s, syscall.SIGCONT), 4 * time.Second, []int{0}, nil},
		{"the namenode hangs", do(s, "hang 4000"), nil, 0, []int{0}, nil},
	}
	disturbAll(t, s, list, 1)
}

func signal(s *servicetest.Services, to syscall.Signal) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		s.Signal(t, to)
	}
}

// disturbAll breaks what is listed during runs on a table of each kind.
func disturbAll(t *testing.T, s *servicetest.Services, list []disturbed, rounds int) {
	t.Helper()
	r, seed := roll()
	for _, k := range kindsOf(s) {
		t.Run(string(k), func(t *testing.T) {
			x := newTable(t, s, k, 20_000)
			usual, err := x.usual(t.Context())
			must(t, err)
			version := int64(1)
			for _, d := range list {
				t.Run(d.name, func(t *testing.T) {
					var codes []int
					for range rounds {
						var code int
						version, code = x.disturb(t, d, version, time.Duration(r.Int64N(int64(usual))))
						codes = append(codes, code)
					}
					t.Logf("%s, %s: seed %d, exit codes %v", d.name, k, seed, codes)
				})
				if t.Failed() {
					return
				}
			}
		})
	}
}

// kindsOf are the kinds of tables that services can have.
func kindsOf(s *servicetest.Services) []kind {
	if s.Metastore == "" {
		return []kind{byPath}
	}
	return []kind{byPath, byMetastore}
}

// TestFailover lets the other namenode of a pair take over, in order and by the death of the active one.
func TestFailover(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{HA: true})
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	disturbAll(t, s, []disturbed{
		{"failover in order", do(s, "standby 0", "active 1"), nil, 0, []int{0}, nil},
		{"the active one dies", do(s, "stopnn 1", "active 0"), do(s, "startnn 1"), time.Second, []int{0}, nil},
	}, 1)
}

// TestServicesKilled kills namenode, datanode and metastore at once in the middle of runs, and starts them on their data.
func TestServicesKilled(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Metastore: true})
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	r, seed := roll()
	d := disturbed{
		name:  "all services are killed",
		fault: func(t *testing.T) { t.Helper(); s.Kill(t) },
		heal:  func(t *testing.T) { t.Helper(); s.Restart(t) },
		codes: []int{0, 6}, words: []string{"hdfs", "datanode", "namenode", "metastore"},
	}
	codes := map[string]int{}
	tables, versions := map[kind]*table{}, map[kind]int64{}
	usual := map[kind]time.Duration{}
	for _, k := range kindsOf(s) {
		x := newTable(t, s, k, 20_000)
		took, err := x.usual(t.Context())
		must(t, err)
		tables[k], versions[k], usual[k] = x, 1, took
	}
	for i := range *jvmKillsFlag {
		k := kindsOf(s)[(i+1)%2]
		var code int
		versions[k], code = tables[k].disturb(t, d, versions[k], time.Duration(rand.New(r).Int64N(int64(usual[k]))))
		codes[fmt.Sprintf("%s: exit code %d", k, code)]++
	}
	t.Logf("services killed: seed %d, %d kills, %v", seed, *jvmKillsFlag, codes)
}

// refusedCase is a state of the cluster in which an upsert can't succeed.
type refusedCase struct {
	name, set, unset string
	words            []string
	user             string // who upserts; "": the superuser
}

// TestRefusals: safe mode that stays, quotas of names and bytes, and folders that are not ours to write end in exit code 6
// with what was in the way and what helps, and nothing is changed.
func TestRefusals(t *testing.T) {
	s := servicetest.Start(t, servicetest.Options{Metastore: true})
	t.Setenv("HADOOP_CONF_DIR", s.ConfDir)
	for _, k := range kindsOf(s) {
		t.Run(string(k), func(t *testing.T) {
			x := newTable(t, s, k, 200)
			list := []refusedCase{
				{"quota of names", "quota " + x.home + " 1 -1", "quota " + x.home + " -1 -1", []string{"quota"}, ""},
				{"quota of bytes", "quota " + x.home + " -1 1", "quota " + x.home + " -1 -1", []string{"quota"}, ""},
				{"the folder is somebody else's", "chmod " + x.home + " 755", "chmod " + x.home + " 777", []string{"denied", "AccessControl"}, "mallory"},
				{"the table is somebody else's", "chmod " + x.root + " 700", "chmod " + x.root + " 755", []string{"denied", "AccessControl"}, "mallory"},
			}
			if k == byPath { // it is waited for, for 45 s
				list = append(list, refusedCase{"safe mode", "safemode enter", "safemode leave", []string{"safe mode"}, ""})
			}
			version := int64(0)
			for _, c := range list {
				t.Run(c.name, func(t *testing.T) { version = x.refused(t, c, version) })
			}
		})
	}
}

// refused upserts in vain, and then not.
func (x *table) refused(t *testing.T, c refusedCase, version int64) int64 {
	t.Helper()
	x.s.Do(t, c.set)
	var more []string
	if c.user != "" {
		more = []string{"--hadoop-user", c.user}
	}
	code, said := x.upsert(t.Context(), version+1, more...)
	x.s.Do(t, c.unset)
	if code != 6 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if !slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(said, w) }) || !strings.Contains(said, "hint: ") {
		t.Errorf("none of %q, or no hint:\n%s", c.words, said)
	}
	if got, err := x.version(t.Context()); err != nil || got != version {
		t.Fatalf("the table is at %d, not %d: %v", got, version, err)
	}
	version += 2
	if code, said := x.upsert(t.Context(), version, "--lock-wait", "60s"); code != 0 {
		t.Fatalf("the next run: exit code %d\n%s", code, said)
	}
	x.settled(t, version)
	return version
}
