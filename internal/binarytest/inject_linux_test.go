package binarytest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// injected is a fault at a call of the system: the k-th that a thread of the process makes.
type injected struct {
	call  string
	k     int
	fault string // as strace has it: signal=SIGKILL, error=EIO
}

func (i injected) String() string { return fmt.Sprintf("%s:%s:when=%d", i.call, i.fault, i.k) }

// faults are what happens to a call.
var faults = []string{"signal=SIGKILL", "error=EIO", "error=ENOSPC"}

// traced are the calls that meet faults: all by which the command changes or looks at a file system.
var traced = []string{"openat", "write", "pwrite64", "pread64", "copy_file_range", "fsync", "fdatasync", "ftruncate", "close", "mkdirat",
	"renameat", "renameat2", "linkat", "unlinkat", "fchmod", "fchmodat", "fchownat", "fcntl", "flock", "newfstatat", "fstat", "getdents64"}

// operation is a command whose every call may fail, the table before and after it, and how the table is made.
type operation struct {
	name     string
	begin    func(ctx context.Context, p program, dir string) error
	args     []string
	old, new table
	gap      bool // the path of a partition may be absent before somebody recovers
}

var bothDays = []string{"2026-11-20", "2026-11-21"}

// operations are an upsert into a table that has no state yet, one into a table with a history by either way of
// publishing, one that makes a partition, and a rollback.
func operations() []operation {
	old := rowsOf(1, 61, 1)
	changed := append(rowsOf(3, 6, 2), rowOf(70, 2))
	new := slices.Concat(rowsOf(1, 3, 1), rowsOf(3, 6, 2), rowsOf(6, 61, 1), []row{rowOf(70, 2)})
	plain := func(_ context.Context, _ program, dir string) error {
		for _, day := range bothDays {
			part := filepath.Join(dir, "t", "dt="+day)
			// Two row groups, of which one is copied, and a file that is kept.
			if err := errors.Join(writeFile(filepath.Join(part, "a.parquet"), old[:20], old[20:40]), writeFile(filepath.Join(part, "b.parquet"), old[40:])); err != nil {
				return err
			}
		}
		return writeSource(filepath.Join(dir, "changes.csv"), changed, bothDays...)
	}
	upserted := func(ctx context.Context, p program, dir string) error {
		if err := plain(ctx, p, dir); err != nil {
			return err
		}
		return p.succeed(ctx, dir, "upsert", "t", "--key", "id", "--from", "changes.csv")
	}
	again := append(rowsOf(30, 35, 3), rowOf(80, 3))
	third := slices.Concat(rowsOf(1, 3, 1), rowsOf(3, 6, 2), rowsOf(6, 30, 1), rowsOf(30, 35, 3), rowsOf(35, 61, 1), []row{rowOf(70, 2), rowOf(80, 3)})
	second := func(ctx context.Context, p program, dir string) error {
		if err := upserted(ctx, p, dir); err != nil {
			return err
		}
		return writeSource(filepath.Join(dir, "changes.csv"), again, bothDays...)
	}
	both := func(rows []row) table { return table{bothDays[0]: rows, bothDays[1]: rows} }
	upsert := []string{"upsert", "t", "--key", "id", "--from", "changes.csv"}
	return []operation{
		{"the first upsert", plain, upsert, both(old), both(new), false},
		{"a second upsert", second, upsert, both(new), both(third), false},
		{"an upsert by renames", second, append(upsert, "--publish", "rename"), both(new), both(third), true},
		{"an upsert that makes a partition", func(ctx context.Context, p program, dir string) error {
			if err := plain(ctx, p, dir); err != nil {
				return err
			}
			return os.RemoveAll(filepath.Join(dir, "t", "dt="+bothDays[1]))
		}, upsert, table{bothDays[0]: old}, table{bothDays[0]: new, bothDays[1]: changed}, false},
		{"a rollback", upserted, []string{"rollback", "t", "--partition", "dt=" + bothDays[0], "--to", "origin"},
			both(new), table{bothDays[0]: old, bothDays[1]: new}, false},
	}
}

// strace is the tool that injects, or the end of the test.
func strace(t *testing.T) string {
	t.Helper()
	name, err := exec.LookPath("strace")
	if err != nil {
		if os.Getenv("HUPSERT_REQUIRE") == "all" && os.Geteuid() == 0 {
			t.Fatalf("strace required: %v (make engines installs it)", err)
		}
		t.Skipf("SKIPPED: without strace, which injects the faults: %v", err)
	}
	if err := exec.Command(name, "-qq", "-e", "trace=none", "true").Run(); err != nil {
		t.Skipf("SKIPPED: strace may trace nothing here: %v", err)
	}
	return name
}

// TestFaultsInTheBinary lets calls of the shipped command fail, or kills it at them: the table is old or new as a
// whole, recover and the same command again succeed, and nothing is left behind.
func TestFaultsInTheBinary(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command hundreds of times")
	}
	want, budget := 130, 90*time.Second
	if n := marathon(t); n > 0 {
		want, budget = n/10, 12*time.Hour
	}
	h := harness{program: hupsert(t), strace: strace(t), tidy: true}
	seed, counts := h.tryAll(t, operations(), want, budget)
	t.Logf("faults in the binary: seed %d, %d points met of %d tried, %d bad; exit codes %v; calls %v",
		seed, counts.met, counts.tried, len(counts.bad), counts.codes, counts.calls)
	for _, bad := range counts.bad {
		t.Error(bad)
	}
	if counts.met == 0 {
		t.Errorf("no point was met in %v", budget)
	}
}

// harness tries faults on a program.
type harness struct {
	program program
	strace  string
	tidy    bool // the program keeps a state that must be in order
}

// counts are what a harness saw.
type counts struct {
	tried, met int
	bad        []string
	codes      map[int]int
	calls      map[string]int
}

// tryAll tries points of all operations in turn until enough were met, or the budget or the badness is used up.
func (h harness) tryAll(t *testing.T, ops []operation, want int, budget time.Duration) (seed uint64, c counts) {
	t.Helper()
	r, seed := roll(t)
	c = counts{codes: map[int]int{}, calls: map[string]int{}}
	root := scratch(t)
	points := make([][]injected, len(ops))
	for i, op := range ops {
		dir := filepath.Join(root, fmt.Sprintf("trace-%d", i))
		var err error
		points[i], err = h.points(t.Context(), op, dir, r)
		must(t, err)
	}
	deadline := time.Now().Add(budget)
	var mu sync.Mutex
	var workers sync.WaitGroup
	for range 3 {
		workers.Go(func() {
			for {
				mu.Lock()
				n := c.tried
				if c.met >= want || len(c.bad) > 10 || time.Now().After(deadline) {
					mu.Unlock()
					return
				}
				c.tried++
				mu.Unlock()
				list := points[n%len(ops)]
				op, at := ops[n%len(ops)], list[n/len(ops)%len(list)]
				dir := filepath.Join(root, fmt.Sprintf("case-%d", n))
				met, code, wrong := h.try(t.Context(), op, at, dir)
				mu.Lock()
				if met {
					c.met++
					c.codes[code]++
					c.calls[at.call]++
				}
				if wrong != "" {
					c.bad = append(c.bad, fmt.Sprintf("%s, %s, exit code %d: %s", op.name, at, code, wrong))
				}
				mu.Unlock()
				_ = os.RemoveAll(dir) // the test's folder goes in any case
			}
		})
	}
	workers.Wait()
	return seed, c
}

// points traces an operation once and gives faults at its calls on our files: of each kind of call in turn, so
// that a few hundred lines of reading do not crowd out the one rename that matters.
func (h harness) points(ctx context.Context, op operation, dir string, r *rand.Rand) (out []injected, err error) {
	if err := h.begin(ctx, op, dir); err != nil {
		return nil, err
	}
	trace := filepath.Join(dir, "trace")
	outer := []string{h.strace, "-f", "-y", "-qq", "-o", trace, "-e", "trace=" + strings.Join(traced, ",")}
	code, said, err := run(h.program.within(ctx, dir, outer, op.args...))
	if err == nil && code != 0 {
		err = fmt.Errorf("traced: exit code %d\n%s", code, said)
	}
	if err != nil {
		return nil, err
	}
	calls, err := callsOn(trace, dir)
	if err != nil {
		return nil, err
	}
	byCall := map[string][]injected{}
	for call, ordinals := range calls {
		for k := range ordinals {
			for _, fault := range faults {
				byCall[call] = append(byCall[call], injected{call, k, fault})
			}
		}
	}
	kinds := slices.Sorted(maps.Keys(byCall))
	for _, kind := range kinds {
		list := byCall[kind]
		slices.SortFunc(list, func(a, b injected) int { return strings.Compare(a.String(), b.String()) })
		r.Shuffle(len(list), func(i, j int) { list[i], list[j] = list[j], list[i] })
	}
	for n := 0; len(kinds) > 0; n++ {
		kinds = slices.DeleteFunc(kinds, func(kind string) bool { return n >= len(byCall[kind]) })
		for _, kind := range kinds {
			out = append(out, byCall[kind][n])
		}
	}
	return out, nil
}

// callsOn gives, for each kind of call, which of a thread's calls were on files of a folder.
func callsOn(trace, dir string) (map[string]map[int]bool, error) {
	f, err := os.Open(trace)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	counted, out := map[string]int{}, map[string]map[int]bool{}
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		thread, rest, _ := strings.Cut(lines.Text(), " ")
		call, args, ok := strings.Cut(strings.TrimSpace(rest), "(")
		if !ok || strings.HasPrefix(call, "<") {
			continue // the second half of a call, or a signal
		}
		counted[thread+call]++
		if !strings.Contains(args, dir) {
			continue
		}
		if out[call] == nil {
			out[call] = map[int]bool{}
		}
		out[call][counted[thread+call]] = true
	}
	return out, lines.Err()
}

func (h harness) begin(ctx context.Context, op operation, dir string) error {
	if err := os.MkdirAll(filepath.Join(dir, "tmp"), 0o755); err != nil {
		return err
	}
	return op.begin(ctx, h.program, dir)
}

// try runs an operation with a fault and says whether it was met, and what is wrong afterwards.
func (h harness) try(ctx context.Context, op operation, at injected, dir string) (met bool, code int, wrong string) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := h.begin(ctx, op, dir); err != nil {
		return false, 0, "before the fault: " + err.Error()
	}
	log := filepath.Join(dir, "log")
	outer := []string{h.strace, "-f", "-q", "-o", log, "-e", "trace=" + at.call, "-e", "inject=" + at.String()}
	code, said, err := run(h.program.within(ctx, dir, outer, op.args...))
	if err != nil {
		return false, code, err.Error()
	}
	text, err := os.ReadFile(log)
	if err != nil {
		return false, code, err.Error()
	}
	met = strings.Contains(string(text), "INJECTED") || strings.Contains(string(text), "killed by SIGKILL")
	if wrong := h.look(ctx, op, code, dir); wrong != "" {
		return met, code, wrong + "\n" + said
	}
	return met, code, ""
}

// look judges what a run left that met a fault.
func (h harness) look(ctx context.Context, op operation, code int, dir string) (wrong string) {
	root := filepath.Join(dir, "t")
	got, err := readTable(root, bothDays...)
	switch {
	case err != nil:
		return err.Error()
	case code == 0 && !got.equal(op.new):
		return "done, but the table is\n" + got.String()
	case !got.mixes(op.old, op.new) || !op.gap && len(got) < len(op.old):
		return "before anybody recovers, the table is\n" + got.String()
	}
	if err := h.program.succeed(ctx, dir, "recover", "t"); err != nil {
		return err.Error()
	}
	if got, err = readTable(root, bothDays...); err != nil {
		return err.Error()
	}
	if !got.equal(op.old) && !got.equal(op.new) {
		return "recovered, the table is\n" + got.String()
	}
	if left := leftovers(root); h.tidy && len(left) > 0 {
		return "left after recover: " + strings.Join(left, ", ")
	}
	if err := h.program.succeed(ctx, dir, op.args...); err != nil {
		return "again: " + err.Error()
	}
	if got, err = readTable(root, bothDays...); err != nil {
		return err.Error()
	}
	if !got.equal(op.new) {
		return "after the same again, the table is\n" + got.String()
	}
	if left := leftovers(root); h.tidy && len(left) > 0 {
		return "left in the end: " + strings.Join(left, ", ")
	}
	return ""
}
