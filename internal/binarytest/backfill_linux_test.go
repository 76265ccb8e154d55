package binarytest

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"
)

// backfilled is a table of some hundred partitions, each with a source of its own.
type backfilled struct {
	t       *testing.T
	program program
	random  *rand.Rand
	days    []string
	args    []string

	kills, rounds int
	usual         time.Duration // of a backfill that is let live
}

const backfillDays = 400

// old is the rows of a partition before: none in every seventh, which is made.
func (b *backfilled) old(i int) []row {
	if i%7 == 0 {
		return nil
	}
	return rowsOf(int64(i), int64(i+5), 1)
}

// source is the rows that come: of every fifth partition just those that it has.
func (b *backfilled) source(i int) []row {
	if i%5 == 0 {
		return rowsOf(int64(i), int64(i+2), 1)
	}
	return rowsOf(int64(i+3), int64(i+8), 2)
}

// want is the rows of a partition afterwards.
func (b *backfilled) want(i int, appends bool) []row {
	of := map[int64]row{}
	var all []row
	for _, r := range append(b.old(i), b.source(i)...) {
		of[r.ID] = r
		all = append(all, r)
	}
	if !appends {
		all = nil
		for _, r := range of {
			all = append(all, r)
		}
	}
	sortRows(all)
	return all
}

// build makes the table and the sources.
func (b *backfilled) build(dir string) {
	must(b.t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	must(b.t, os.Mkdir(filepath.Join(dir, "in"), 0o755))
	for i, day := range b.days {
		must(b.t, writeFile(filepath.Join(dir, "in", day+".parquet"), b.source(i)))
		if rows := b.old(i); rows != nil {
			must(b.t, writeFile(filepath.Join(dir, "t", "dt="+day, "part.parquet"), rows))
		}
	}
}

// mixed gives the days of partitions that are neither old nor new; with done also those that are old.
func (b *backfilled) mixed(dir string, appends, done bool, days []int) (bad []string) {
	for _, i := range days {
		got, err := readFolder(filepath.Join(dir, "t", "dt="+b.days[i]))
		if os.IsNotExist(err) {
			err = nil
		}
		must(b.t, err)
		if !slices.Equal(got, b.want(i, appends)) && (done || !slices.Equal(got, b.old(i))) {
			bad = append(bad, fmt.Sprintf("%s: %v", b.days[i], got))
		}
	}
	return bad
}

// statuses runs the backfill to its end and counts what it says of partitions.
func (b *backfilled) statuses(dir string, args []string) map[string]int {
	out, err := b.program.command(b.t.Context(), dir, append(slices.Clone(args), "--output", "json")...).Output()
	if err != nil {
		b.t.Fatalf("%v: %v\n%s", args, err, out)
	}
	var report struct {
		Total struct{ Statuses map[string]int }
	}
	must(b.t, json.Unmarshal(out, &report))
	return report.Total.Statuses
}

// round backfills a table and kills the command again and again, until it gets through or was killed often enough; then
// the same command comes through, and all is as if nobody had been killed.
func (b *backfilled) round(until int, deadline time.Time) {
	dir := scratch(b.t)
	b.build(dir)
	appends := b.rounds%2 == 1
	args := b.args
	if appends { // which would show whatever is done twice
		args = append(slices.Clone(args), "--mode", "append")
	}
	all := make([]int, len(b.days))
	for i := range all {
		all[i] = i
	}
	killed := 0
	for b.kills < until && time.Now().Before(deadline) {
		cmd := b.program.command(b.t.Context(), dir, args...)
		must(b.t, cmd.Start())
		delay := time.Duration(b.random.Int64N(int64(b.usual)/3 + 1))
		timer := time.AfterFunc(delay, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		_ = cmd.Wait()
		timer.Stop()
		code := cmd.ProcessState.ExitCode()
		if code > 0 {
			b.t.Fatalf("exit code %d after %v and %d kills", code, delay, killed)
		}
		if code == 0 {
			break
		}
		b.kills++
		killed++
		some := []int{b.random.IntN(len(all)), b.random.IntN(len(all)), b.random.IntN(len(all))}
		if bad := b.mixed(dir, appends, false, some); len(bad) > 0 {
			b.t.Fatalf("killed after %v: %v", delay, bad)
		}
	}
	if bad := b.mixed(dir, appends, false, all); killed > 0 && b.kills%5 == 0 && len(bad) > 0 {
		b.t.Fatalf("after %d kills: %v", killed, bad)
	}
	b.statuses(dir, args)
	if bad := b.mixed(dir, appends, true, all); len(bad) > 0 {
		b.t.Fatalf("after %d kills and a run to the end: %v", killed, bad)
	}
	if left := leftovers(filepath.Join(dir, "t")); len(left) > 0 {
		b.t.Fatalf("after %d kills and a run to the end, left: %v", killed, left)
	}
	if n := b.statuses(dir, args); n["done"] != len(b.days) {
		b.t.Fatalf("after %d kills and a run to the end, another one says %v", killed, n)
	}
	b.rounds++
}

// TestKilledBackfills kills backfills of 400 partitions at random moments. The same command goes on each time, and in the end
// every partition is as an undisturbed run makes it, nothing is there twice, and nothing is left to do.
func TestKilledBackfills(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command dozens of times")
	}
	want, budget := 50, 60*time.Second
	if n := marathon(t); n > 0 {
		want, budget = max(50, n/20), 12*time.Hour
	}
	r, seed := roll(t)
	first := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	b := backfilled{t: t, program: hupsert(t), random: r}
	for i := range backfillDays {
		b.days = append(b.days, first.AddDate(0, 0, i).Format("2006-01-02"))
	}
	b.args = []string{"backfill", "t", "--key", "id", "--from", "in/{dt}.parquet", "--range", "dt=" + b.days[0] + ".." + b.days[len(b.days)-1]}
	started := time.Now()
	b.round(0, started) // undisturbed
	b.usual = time.Since(started)
	for b.kills < want && time.Since(started) < budget && !t.Failed() {
		b.round(want, started.Add(budget))
	}
	t.Logf("killed backfills: seed %d, %d kills in %d backfills of %d partitions", seed, b.kills, b.rounds-1, len(b.days))
	if b.kills == 0 {
		t.Errorf("nothing was killed in %v", budget)
	}
}
