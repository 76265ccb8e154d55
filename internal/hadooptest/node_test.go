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
func (x *subject) disturb(t *testing.T, d disturbed, delay time.Duration) (code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 8*time.Minute) // "hangs" is a result, too
	defer cancel()
	cmd, err := x.upserting(ctx, x.now+1)
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
	case e.code == 0 && (err != nil || got != x.now+1):
		t.Fatalf("it was done, but the table is at %d: %v", got, err)
	case err != nil && x.kind == byPath && isGone(err): // between two renames
	case err != nil:
		t.Fatalf("exit code %d, and the table: %v", e.code, err)
	case got != x.now && got != x.now+1:
		t.Fatalf("the table is at %d", got)
	}
	x.now += 2
	if code, said := x.upsert(t.Context(), x.now, "--lock-wait", "5m"); code != 0 {
		t.Fatalf("the next run: exit code %d\n%s", code, said)
	}
	x.settled(t, x.now)
	return e.code
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

// subject is a table of which runs are disturbed.
type subject struct {
	*table
	now   int64
	usual time.Duration // of a run that is left alone
}

// subjects are a table of each kind that the services can have.
func subjects(t *testing.T, s *servicetest.Services) (out []*subject) {
	t.Helper()
	kinds := []kind{byPath, byMetastore}
	if s.Metastore == "" {
		kinds = kinds[:1]
	}
	for _, k := range kinds {
		x := newTable(t, s, k, 20_000)
		usual, err := x.usual(t.Context())
		must(t, err)
		out = append(out, &subject{x, 1, usual})
	}
	return out
}

// said are words of which an error of services that do not answer has one.
var said = []string{"hdfs", "datanode", "namenode", "metastore"}

// TestBrokenServices breaks an HDFS of three datanodes and its metastore in the middle of runs: nodes die and come back, hang, are
// in safe mode; folders have no room or are somebody else's; everything is killed at once.
func TestBrokenServices(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := servicetest.Start(t, servicetest.Options{Metastore: true, Datanodes: 3})
	r, seed := roll()
	list := []disturbed{
		{"a datanode dies", do(s, "stopdn 1"), do(s, "startdn 1"), 3 * time.Second, []int{0, 6}, said},
		{"the namenode restarts", do(s, "stopnn 0"), do(s, "startnn 0"), time.Second, []int{0}, nil},
		{"safe mode for a moment", do(s, "safemode enter"), do(s, "safemode leave"), 2 * time.Second, []int{0}, nil},
		{"all hang for a moment", signal(s, syscall.SIGSTOP), signal(s, syscall.SIGCONT), 4 * time.Second, []int{0}, nil},
		{"the namenode hangs", do(s, "hang 4000"), nil, 0, []int{0}, nil},
	}
	if *longFlag {
		list = append(list, disturbed{"all hang for long", signal(s, syscall.SIGSTOP), signal(s, syscall.SIGCONT), 3 * time.Minute, []int{0, 6}, said})
	}
	tables := subjects(t, s)
	for _, x := range tables {
		t.Run(string(x.kind), func(t *testing.T) {
			x.disturbAll(t, list, r, seed)
			t.Run("refused", func(t *testing.T) { x.refusals(t) })
		})
	}
	t.Run("killed", func(t *testing.T) {
		all := disturbed{"all services are killed", func(t *testing.T) { t.Helper(); s.Kill(t) }, func(t *testing.T) { t.Helper(); s.Restart(t) }, 0, []int{0, 6}, said}
		codes := map[string]int{}
		for i := range *jvmKillsFlag {
			x := tables[(i+1)%len(tables)]
			code := x.disturb(t, all, time.Duration(r.Int64N(int64(x.usual))))
			codes[fmt.Sprintf("by %s: exit code %d", x.kind, code)]++
		}
		t.Logf("services killed: seed %d, %d kills, %v", seed, *jvmKillsFlag, codes)
	})
}

// disturbAll breaks what is listed during runs, each once.
func (x *subject) disturbAll(t *testing.T, list []disturbed, r *rand.Rand, seed uint64) {
	t.Helper()
	for _, d := range list {
		t.Run(d.name, func(t *testing.T) {
			code := x.disturb(t, d, time.Duration(r.Int64N(int64(x.usual))))
			t.Logf("%s, by %s: seed %d, exit code %d", d.name, x.kind, seed, code)
		})
		if t.Failed() {
			return
		}
	}
}

func signal(s *servicetest.Services, to syscall.Signal) func(*testing.T) {
	return func(t *testing.T) {
		t.Helper()
		s.Signal(t, to)
	}
}

// TestFailover lets the other namenode of a pair take over, in order and by the death of the active one, under runs by path
// and by a metastore, which is a client of the pair as well.
func TestFailover(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := servicetest.Start(t, servicetest.Options{HA: true, Metastore: true})
	r, seed := roll()
	for _, x := range subjects(t, s) {
		t.Run(string(x.kind), func(t *testing.T) {
			x.disturbAll(t, []disturbed{
				{"failover in order", do(s, "standby 0", "active 1"), nil, 0, []int{0}, nil},
				{"the active one dies", do(s, "stopnn 1", "active 0"), do(s, "startnn 1"), time.Second, []int{0}, nil},
			}, r, seed)
		})
	}
}

// refusedCase is a state of the cluster in which an upsert can't succeed.
type refusedCase struct {
	name, set, unset string
	words            []string
	user             string // who upserts; "": the superuser
}

// refusals: quotas of names and bytes, folders that are not ours to write, and safe mode that stays end in exit code 6
// with what was in the way and what helps, and nothing is changed.
func (x *subject) refusals(t *testing.T) {
	t.Helper()
	list := []refusedCase{
		{"quota of names", "quota " + x.home + " 1 -1", "quota " + x.home + " -1 -1", []string{"quota"}, ""},
		{"quota of bytes", "quota " + x.home + " -1 1", "quota " + x.home + " -1 -1", []string{"quota"}, ""},
		{"the folder is somebody else's", "chmod " + x.home + " 755", "chmod " + x.home + " 777", []string{"denied"}, "mallory"},
		{"the table is somebody else's", "chmod " + x.root + " 700", "chmod " + x.root + " 755", []string{"denied"}, "mallory"},
	}
	if x.kind == byPath { // it is waited for, for 45 s
		list = append(list, refusedCase{"safe mode", "safemode enter", "safemode leave", []string{"safe mode"}, ""})
	}
	for _, c := range list {
		t.Run(c.name, func(t *testing.T) { x.refused(t, c) })
	}
}

// refused upserts in vain, and then not.
func (x *subject) refused(t *testing.T, c refusedCase) {
	t.Helper()
	x.s.Do(t, c.set)
	var more []string
	if c.user != "" {
		more = []string{"--hadoop-user", c.user}
	}
	code, said := x.upsert(t.Context(), x.now+1, more...)
	x.s.Do(t, c.unset)
	if code != 6 {
		t.Fatalf("exit code %d\n%s", code, said)
	}
	if !slices.ContainsFunc(c.words, func(w string) bool { return strings.Contains(said, w) }) || !strings.Contains(said, "hint: ") {
		t.Errorf("none of %q, or no hint:\n%s", c.words, said)
	}
	if got, err := x.version(t.Context()); err != nil || got != x.now {
		t.Fatalf("the table is at %d, not %d: %v", got, x.now, err)
	}
	x.now += 2
	if code, said := x.upsert(t.Context(), x.now, "--lock-wait", "5m"); code != 0 {
		t.Fatalf("the next run: exit code %d\n%s", code, said)
	}
	x.settled(t, x.now)
}
