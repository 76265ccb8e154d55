package binarytest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// processes work at once, each making so many runs, one after the other.
const (
	processes = 8
	runsEach  = 50
)

// crowdTime bounds how long they begin new runs, but for a marathon.
const crowdTime = 25 * time.Second

// crowd is what became of the runs of many processes.
type crowd struct {
	mu             sync.Mutex
	done           map[string][]int64 // partition to the numbers of the runs that came through
	locked, failed int
	faults         []string
}

func (c *crowd) add(day string, number int64, code int, said string, mayLose bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case code == 0:
		c.done[day] = append(c.done[day], number)
	case code == 4 && mayLose:
		c.locked++
	default:
		c.failed++
		c.faults = append(c.faults, fmt.Sprintf("run %d on %s: exit code %d\n%s", number, day, code, said))
	}
}

// check compares the table with the runs that came through: each has inserted its number as a key, and row 0 is
// the one of the largest.
func (c *crowd) check(t *testing.T, root string) {
	t.Helper()
	for _, fault := range c.faults {
		t.Error(fault)
	}
	if len(c.done) == 0 {
		t.Error("nothing came through")
	}
	for day, numbers := range c.done {
		want := []row{rowOf(0, slices.Max(numbers))}
		for _, n := range numbers {
			want = append(want, rowOf(n, n))
		}
		sortRows(want)
		got, err := readFolder(filepath.Join(root, "dt="+day))
		must(t, err)
		if !slices.Equal(got, want) {
			t.Errorf("%s: %d rows of %d that were reported as done:\n%v\nnot\n%v", day, len(got), len(want), got, want)
		}
	}
	if left := leftovers(root); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// together lets processes upsert into partitions of one table: the p-th into day(p), waiting for a lock or not.
func together(t *testing.T, dir string, day func(process int) string, wait func(process int) string, mayLose func(process int) bool) *crowd {
	t.Helper()
	p := hupsert(t)
	c := &crowd{done: map[string][]int64{}}
	started, long := time.Now(), marathon(t) > 0
	var all sync.WaitGroup
	for process := range processes {
		all.Go(func() {
			for i := 0; i < runsEach && (long || time.Since(started) < crowdTime); i++ {
				number := int64(1 + i*processes + process)
				source := filepath.Join(dir, fmt.Sprintf("source-%d.csv", process))
				if err := writeSource(source, []row{rowOf(0, number), rowOf(number, number)}, day(process)); err != nil {
					t.Error(err)
					return
				}
				code, said, err := run(p.command(t.Context(), dir, "upsert", "t", "--key", "id", "--order-by", "v", "--from", source, "--lock-wait", wait(process)))
				if err != nil {
					t.Error(err)
					return
				}
				c.add(day(process), number, code, said, mayLose(process))
			}
		})
	}
	all.Wait()
	return c
}

func crowdedTable(t *testing.T, dir string, days ...string) {
	t.Helper()
	must(t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	for _, day := range days {
		must(t, writeFile(filepath.Join(dir, "t", "dt="+day, "part-0.parquet"), []row{rowOf(0, 0)}))
	}
}

// TestProcessesOnOnePartition: each run comes through and is in the table, or says by exit code 4 that it is not.
// Those that wait for the lock all come through.
func TestProcessesOnOnePartition(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command a hundred times")
	}
	day := bothDays[0]
	dir := scratch(t)
	crowdedTable(t, dir, day)
	waits := func(process int) bool { return process%2 == 0 }
	started := time.Now()
	c := together(t, dir, func(int) string { return day }, func(process int) string {
		if waits(process) {
			return "10m"
		}
		return "0s"
	}, func(process int) bool { return !waits(process) })
	c.check(t, filepath.Join(dir, "t"))
	t.Logf("one partition: %d processes x %d runs in %.1f s, %d done, %d refused by exit code 4, %d bad",
		processes, runsEach, time.Since(started).Seconds(), len(c.done[day]), c.locked, c.failed)
}

// TestProcessesOnNeighbours: runs on different partitions of one table all come through without waiting.
func TestProcessesOnNeighbours(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command a hundred times")
	}
	var days []string
	for process := range processes {
		days = append(days, fmt.Sprintf("2026-11-%02d", 1+process))
	}
	dir := scratch(t)
	crowdedTable(t, dir, days...)
	started := time.Now()
	c := together(t, dir, func(process int) string { return days[process] }, func(int) string { return "0s" }, func(int) bool { return false })
	c.check(t, filepath.Join(dir, "t"))
	done := 0
	for _, numbers := range c.done {
		done += len(numbers)
	}
	t.Logf("neighbours: %d processes x %d runs in %.1f s, %d done, %d bad", processes, runsEach, time.Since(started).Seconds(), done, c.failed)
}

// TestNobodyWaitsForOthersPartitions stops a process at random moments while it holds a partition. Runs on others
// finish, however long they would wait for it; those on this one are refused. Let go, it comes through; killed, it
// is in nobody's way.
func TestNobodyWaitsForOthersPartitions(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command a hundred times")
	}
	want, budget := 12, 60*time.Second
	if marathon(t) > 0 {
		want, budget = 200, time.Hour
	}
	r, seed := roll(t)
	// On a disk, which makes the moments between commit and end long.
	s := stopper{t: t, program: hupsert(t), dir: t.TempDir(), random: r}
	crowdedTable(t, s.dir, bothDays...)
	for started := time.Now(); s.stops < want && time.Since(started) < budget && !t.Failed(); {
		s.round()
	}
	t.Logf("a stopped process: seed %d, %d stops (%d of them after the commit), %d let go, %d killed, %d runs on others that finished meanwhile",
		seed, s.stops, s.committed, s.stops-s.killed, s.killed, s.others)
	if s.stops == 0 {
		t.Errorf("not once in %v was it stopped with a partition", budget)
	}
}

// stopper stops processes and counts.
type stopper struct {
	t       *testing.T
	program program
	dir     string
	random  *rand.Rand
	number  int64

	stops, committed, killed, others int
}

// upsert prepares a run that brings the next number to some days.
func (s *stopper) upsert(days []string, args ...string) (cmd *exec.Cmd, number int64) {
	s.number++
	source := filepath.Join(s.dir, fmt.Sprintf("source-%d.csv", s.number%8))
	must(s.t, writeSource(source, []row{rowOf(0, s.number), rowOf(s.number, s.number)}, days...))
	return s.program.command(s.t.Context(), s.dir, append([]string{"upsert", "t", "--key", "id", "--order-by", "v", "--from", source}, args...)...), s.number
}

func (s *stopper) round() {
	held, free := bothDays[0], bothDays[1]
	cmd, number := s.upsert([]string{held})
	must(s.t, cmd.Start())
	defer func() {
		_ = cmd.Process.Kill() // it is gone in most cases
		_ = cmd.Wait()
	}()
	if !s.stop(cmd, held) {
		return
	}
	s.stops++
	if s.commits() {
		s.committed++
	}
	for _, wait := range []string{"0s", "1h"} {
		other, _ := s.upsert([]string{free}, "--lock-wait", wait)
		s.exits(other, 0, "on another partition")
		s.others++
	}
	for _, days := range [][]string{{held}, bothDays} {
		refused, _ := s.upsert(days)
		s.exits(refused, 4, "on the partition that is held")
	}
	for _, command := range [][]string{{"show", "t"}, {"history", "t"}, {"recover", "t"}} {
		s.exits(s.program.command(s.t.Context(), s.dir, command...), 0, "beside it")
	}
	if s.random.IntN(2) == 0 {
		s.killed++
		must(s.t, cmd.Process.Kill())
		_ = cmd.Wait()
	} else {
		must(s.t, cmd.Process.Signal(syscall.SIGCONT))
		if err := cmd.Wait(); err != nil {
			s.t.Fatalf("let go, the run fails: %v", err)
		}
		rows, err := readFolder(filepath.Join(s.dir, "t", "dt="+held))
		must(s.t, err)
		if !slices.Contains(rows, rowOf(number, number)) {
			s.t.Fatalf("run %d is done and not in the table", number)
		}
	}
	next, last := s.upsert(bothDays)
	s.exits(next, 0, "on both afterwards")
	for _, day := range bothDays {
		rows, err := readFolder(filepath.Join(s.dir, "t", "dt="+day))
		must(s.t, err)
		if !slices.Contains(rows, rowOf(last, last)) || rows[0] != rowOf(0, last) {
			s.t.Fatalf("run %d is done and not in %s", last, day)
		}
	}
	if left := leftovers(filepath.Join(s.dir, "t")); len(left) > 0 {
		s.t.Fatalf("left: %v", left)
	}
}

// stop stops a process at some moment at which it holds a partition, if it can.
func (s *stopper) stop(cmd *exec.Cmd, day string) bool {
	holder := filepath.Join(s.dir, ".hupsert", "t", "locks", "dt="+day+".lock.json")
	holds := func() bool {
		var o struct{ PID int }
		text, err := os.ReadFile(holder)
		return err == nil && json.Unmarshal(text, &o) == nil && o.PID == cmd.Process.Pid
	}
	ctx, cancel := context.WithTimeout(s.t.Context(), 10*time.Second)
	defer cancel()
	for !holds() {
		if ctx.Err() != nil || state(cmd.Process.Pid) == "Z" {
			return false
		}
		pause(ctx, 100*time.Microsecond)
	}
	if s.random.IntN(2) == 0 {
		pause(ctx, time.Duration(s.random.IntN(15_000))*time.Microsecond)
	} else {
		for !s.commits() && holds() && ctx.Err() == nil { // without a pause: it takes no time to end
		}
	}
	if err := cmd.Process.Signal(syscall.SIGSTOP); errors.Is(err, os.ErrProcessDone) {
		return false
	}
	for now := state(cmd.Process.Pid); now != "T"; now = state(cmd.Process.Pid) {
		if now == "Z" || ctx.Err() != nil {
			return false
		}
		pause(ctx, 100*time.Microsecond)
	}
	return holds()
}

// commits reports whether there is a run that is committed and not done.
func (s *stopper) commits() bool {
	records, _ := filepath.Glob(filepath.Join(s.dir, ".hupsert", "t", "runs", "*.json"))
	return len(records) > 0
}

// state is a process's, as the kernel has it: T for stopped, Z for ended.
func state(pid int) string {
	text, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return "Z"
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	return rest[:1]
}

func (s *stopper) exits(cmd *exec.Cmd, want int, where string) {
	s.t.Helper()
	started := time.Now()
	code, said, err := run(cmd)
	if err == nil && code != want {
		err = fmt.Errorf("exit code %d after %v, want %d\n%s", code, time.Since(started), want, said)
	}
	if err != nil {
		s.t.Fatalf("a run %s: %v", where, err)
	}
}
