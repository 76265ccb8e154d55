package binarytest

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// A partition that readers watch has some files of two row groups each, in which every row has the number of
// the version.
const (
	files       = 3
	rowsPerFile = 10
)

// seen is what readers saw.
type seen struct {
	reads    int // that were whole
	notFound int // names that a swap had just taken away
	mixed    int
	wrong    []string // what must not be, mixtures among it
	last     int64    // the newest version
}

// watch is readers at work.
type watch struct {
	mu      sync.Mutex
	all     seen
	readers sync.WaitGroup
	cancel  context.CancelFunc
}

// startReaders lets three readers read partitions by their paths, and one by a handle of the folder, until stop.
func startReaders(ctx context.Context, dirs ...string) *watch {
	w := &watch{}
	ctx, w.cancel = context.WithCancel(ctx)
	for i := range 4 {
		read := byPath
		if i == 3 {
			read = byHandle
		}
		w.readers.Go(func() {
			for n := 0; ctx.Err() == nil; n++ {
				dir := dirs[n%len(dirs)]
				w.count(read(ctx, dir))
				pause(ctx, 5*time.Millisecond) // the machine is for the runs
			}
		})
	}
	return w
}

func (w *watch) seen() seen {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.all
}

func (w *watch) stop() seen {
	w.cancel()
	w.readers.Wait()
	return w.all
}

func (w *watch) count(rows []row, err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	var gone replaced
	if errors.As(err, &gone) {
		w.all.notFound++
		return
	}
	version, err := whole(rows, err)
	switch {
	case err == nil:
		w.all.reads++
		w.all.last = max(w.all.last, version)
		return
	case errors.Is(err, errMixed):
		w.all.mixed++
	}
	if len(w.all.wrong) < 10 {
		w.all.wrong = append(w.all.wrong, err.Error())
	}
}

var errMixed = errors.New("versions are mixed")

// whole checks that rows are one version of a partition, and which.
func whole(rows []row, err error) (version int64, _ error) {
	if err != nil {
		return 0, err
	}
	if len(rows) != files*rowsPerFile {
		return 0, fmt.Errorf("%d rows", len(rows))
	}
	sortRows(rows)
	for i, r := range rows {
		if r != rowOf(int64(i+1), r.V) {
			return 0, fmt.Errorf("row %d is %v", i+1, r)
		}
		if r.V != rows[0].V {
			return 0, fmt.Errorf("%w: %d and %d", errMixed, rows[0].V, r.V)
		}
	}
	return rows[0].V, nil
}

// replaced is the error of a reader whose file a swap took away between the listing and the opening.
type replaced struct{ name string }

func (r replaced) Error() string { return r.name + " is replaced" }

// byPath reads as engines do: list, take some time, open each file by its path.
func byPath(ctx context.Context, dir string) (out []row, err error) {
	list, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	pause(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
	for _, e := range list {
		name := filepath.Join(dir, e.Name())
		f, err := os.Open(name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, missing(dir, e.Name())
		}
		if err != nil {
			return nil, err
		}
		rows, err := readRows(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

// missing judges that a name was not found: it must be one that the folder does not have any more.
func missing(dir, name string) error {
	list, err := os.ReadDir(dir)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(list, func(e os.DirEntry) bool { return e.Name() == name }) {
		return fmt.Errorf("%s is listed and not found", name)
	}
	return replaced{name}
}

// byHandle opens the folder once and everything else relative to it: whatever is swapped, it is one version.
func byHandle(ctx context.Context, dir string) (out []row, err error) {
	folder, err := os.Open(dir)
	if err != nil {
		return nil, err
	}
	defer folder.Close()
	names, err := folder.Readdirnames(-1)
	if err != nil {
		return nil, err
	}
	pause(ctx, time.Duration(rand.IntN(1000))*time.Microsecond)
	for _, name := range names {
		fd, err := unix.Openat(int(folder.Fd()), name, unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			return nil, fmt.Errorf("%s relative to its folder: %w", name, err)
		}
		f := os.NewFile(uintptr(fd), name)
		rows, err := readRows(f)
		f.Close()
		if err != nil {
			return nil, err
		}
		out = append(out, rows...)
	}
	return out, nil
}

func exchange(a, b string) error {
	return unix.Renameat2(unix.AT_FDCWD, a, unix.AT_FDCWD, b, unix.RENAME_EXCHANGE)
}

// TestKillsUnderReaders kills the command at random moments while four readers read: what they read is one version
// of a partition, whole; the next run comes through by itself; and no version that was reported is lost.
func TestKillsUnderReaders(t *testing.T) {
	if testing.Short() {
		t.Skip("runs the command hundreds of times")
	}
	want, budget := 200, 60*time.Second
	if n := marathon(t); n > 0 {
		want, budget = n/4, 12*time.Hour
	}
	p := hupsert(t)
	r, seed := roll(t)
	k := killer{t: t, program: p, random: r}
	for started := time.Now(); k.kills < want && time.Since(started) < budget && !t.Failed(); {
		// Anew after some time, since every version stays in the history.
		k.onTable(min(want, k.kills+250), started.Add(budget))
	}
	t.Logf("kills under readers: seed %d, %d kills (%d before the commit, %d after it) and %d whole runs, %d whole reads, %d names not found, %d mixed, %d bad",
		seed, k.kills, k.old, k.new, k.runs, k.seen.reads, k.seen.notFound, k.seen.mixed, len(k.seen.wrong))
	for _, wrong := range k.seen.wrong {
		t.Error(wrong)
	}
	if k.kills == 0 {
		t.Errorf("nothing was killed in %v", budget)
	}
}

// killer kills runs and counts what became of them.
type killer struct {
	t       *testing.T
	program program
	random  *rand.Rand

	kills, old, new, runs int
	seen                  seen
	usual                 time.Duration // of a run that is let live
}

// onTable makes a table and kills runs on it until there are so many kills in all.
func (k *killer) onTable(until int, deadline time.Time) {
	dir := scratch(k.t)
	must(k.t, os.Mkdir(filepath.Join(dir, "tmp"), 0o755))
	var parts []string
	for _, day := range bothDays {
		parts = append(parts, filepath.Join(dir, "t", "dt="+day))
		must(k.t, writeVersion(parts[len(parts)-1], 0))
	}
	k.usual = 30 * time.Millisecond
	w := startReaders(k.t.Context(), parts...)
	for version := int64(0); k.kills < until && time.Now().Before(deadline) && !k.t.Failed(); {
		version = k.round(dir, version)
	}
	s := w.stop()
	k.seen.reads, k.seen.notFound, k.seen.mixed = k.seen.reads+s.reads, k.seen.notFound+s.notFound, k.seen.mixed+s.mixed
	k.seen.wrong = append(k.seen.wrong, s.wrong...)
}

// round kills one run and lets the next one live.
func (k *killer) round(dir string, version int64) int64 {
	ctx := k.t.Context()
	args := []string{"upsert", "t", "--key", "id", "--from", "changes.csv"}
	changes := filepath.Join(dir, "changes.csv")
	must(k.t, writeSource(changes, rowsOf(1, 1+files*rowsPerFile, version+1), bothDays...))
	cmd := k.program.command(ctx, dir, args...)
	must(k.t, cmd.Start())
	// Every moment, and in half of the cases one of the second half, in which the run commits.
	delay := time.Duration(k.random.Int64N(int64(k.usual)))
	if k.random.IntN(2) == 0 {
		delay = (delay + k.usual) / 2
	}
	timer := time.AfterFunc(delay, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
	_ = cmd.Wait()
	timer.Stop()
	root := filepath.Join(dir, "t")
	old, new := versionOf(version), versionOf(version+1)
	got, err := readTable(root, bothDays...)
	must(k.t, err)
	switch code := cmd.ProcessState.ExitCode(); {
	case code == 0 && !got.equal(new):
		k.t.Fatalf("done after %v, but the table is\n%s", delay, got)
	case code > 0:
		k.t.Fatalf("exit code %d after %v", code, delay)
	case len(got) != 2 || !got.mixes(old, new):
		k.t.Fatalf("killed after %v, the table is\n%s", delay, got)
	case code < 0:
		k.kills++
		if got.equal(old) {
			k.old++
		} else {
			k.new++
		}
	}
	version += 2
	must(k.t, writeSource(changes, rowsOf(1, 1+files*rowsPerFile, version), bothDays...))
	started := time.Now()
	if err := k.program.succeed(ctx, dir, args...); err != nil {
		k.t.Fatalf("after a kill after %v: %v", delay, err)
	}
	k.usual += (time.Since(started) - k.usual) / 4
	k.runs++
	if got, err = readTable(root, bothDays...); err != nil || !got.equal(versionOf(version)) {
		k.t.Fatalf("after a kill after %v and a run (%v), the table is\n%s", delay, err, got)
	}
	if left := leftovers(root); len(left) > 0 {
		k.t.Fatalf("after a kill after %v and a run, left: %v", delay, left)
	}
	return version
}

// versionOf is the whole table in a version.
func versionOf(v int64) table {
	rows := rowsOf(1, 1+files*rowsPerFile, v)
	return table{bothDays[0]: rows, bothDays[1]: rows}
}
