//go:build unix

package writertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage/stage"
)

const (
	writers = 3
	readers = 2
)

// race is writers and readers at one table, and what became of them.
type race struct {
	table  *table
	seed   uint64
	mutant string
	most   int             // upserts, after which it ends; 0: no such number
	ends   context.Context // with it writers begin nothing more
	end    context.CancelFunc
	lives  context.Context // they are killed with it
	kill   context.CancelFunc

	mu       sync.Mutex
	done     map[string]int // acknowledged rows, and what each has counted the shared row up to
	floor    int            // the highest of these
	said     map[string]int // other ends of upserts
	deaths   map[string]int // by step
	ended    int            // upserts, in whatever way
	stood    int
	reads    int
	versions int // that readers saw
	faults   []string
}

func (r *race) fault(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.faults = append(r.faults, fmt.Sprintf(format, args...))
	r.end() // more of it tells nothing new
	r.kill()
}

// run lets them go until the context ends or they have upserted often enough, and looks at what they leave.
func (r *race) run(ctx context.Context, t *testing.T, immortal bool) {
	t.Helper()
	r.ends, r.end = context.WithCancel(ctx)
	defer r.end()
	r.lives, r.kill = context.WithCancel(t.Context())
	defer r.kill()
	var writing, reading sync.WaitGroup
	for w := range writers {
		writing.Go(func() {
			r.writer(t, job{place: r.table.place, Writer: w, Seed: r.seed, Mutant: r.mutant, Immortal: immortal})
		})
	}
	stop := make(chan struct{})
	for range readers {
		reading.Go(func() { r.reader(t.Context(), stop) })
	}
	writing.Wait()
	close(stop)
	reading.Wait()
	if len(r.faults) == 0 {
		r.after(t)
	}
}

// writer runs one writer's lives.
func (r *race) writer(t *testing.T, j job) {
	for r.ends.Err() == nil {
		j.Life++
		if err := r.life(t, j); err != nil {
			r.fault("writer %d: %v", j.Writer, err)
		}
	}
}

// life runs a writer until it dies, or the time is over.
func (r *race) life(t *testing.T, j job) error {
	text, err := json.Marshal(j)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(r.lives, os.Args[0])
	cmd.Env = append(os.Environ(), jobVariable+"="+string(text))
	var log strings.Builder
	cmd.Stderr = &log
	in, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	stopped := context.AfterFunc(r.ends, func() { _ = in.Close() }) // it may have died
	defer stopped()
	died := false
	for lines := bufio.NewScanner(out); lines.Scan(); {
		word, rest, _ := strings.Cut(lines.Text(), " ")
		switch word {
		case "stands":
			go func() {
				pause(t.Context(), silence+2*time.Second)
				_ = cmd.Process.Signal(syscall.SIGCONT)
			}()
		case "dies":
			died = true
		}
		if err := r.hear(j.Writer, word, rest); err != nil {
			r.fault("writer %d: %v", j.Writer, err)
		}
	}
	if err := cmd.Wait(); err != nil && !died && r.lives.Err() == nil {
		return fmt.Errorf("%w\n%s", err, log.String())
	}
	return nil
}

// hear takes in what a writer says.
func (r *race) hear(writer int, word, rest string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	switch word {
	case "done":
		var id string
		var counter int
		if _, err := fmt.Sscan(rest, &id, &counter); err != nil {
			return err
		}
		for other, same := range r.done {
			if same == counter {
				return fmt.Errorf("%s and %s have both counted up to %d: one of them is lost", other, id, counter)
			}
		}
		r.done[id] = counter
		r.floor = max(r.floor, counter)
	case "dies":
		r.deaths[stepOf(rest)]++
	case "stands":
		r.stood++
	case "fault":
		return errors.New(rest)
	default:
		r.said[word]++
	}
	if word != "dies" && word != "stands" {
		if r.ended++; r.ended == r.most {
			r.end()
		}
	}
	return nil
}

// stepOf is the step of the protocol that an operation belongs to: what the figures name.
func stepOf(operation string) string {
	for _, known := range []string{"Point", "Look", "Hold", "Evict"} {
		if strings.HasSuffix(operation, " "+known) {
			return operation
		}
	}
	from, to, moves := strings.Cut(operation, " -> ")
	name := from
	if moves {
		name = to
	}
	for _, folder := range []string{"claims", "runs/done", "runs/undo", "runs", "versions", "trash", "locks", "staging"} {
		if strings.Contains(name, "/.hupsert/"+tableName+"/"+folder) {
			verb, _, _ := strings.Cut(operation, " ")
			return verb + " " + folder
		}
	}
	return "else"
}

// reader looks again and again at what the metastore shows.
func (r *race) reader(ctx context.Context, stop <-chan struct{}) {
	last := 0
	for {
		select {
		case <-stop:
			return
		default:
		}
		r.mu.Lock()
		floor := r.floor
		r.mu.Unlock()
		seen, err := r.look(ctx)
		switch {
		case err != nil:
			r.fault("a reader: %v", err)
			return
		case seen < floor:
			r.fault("a reader sees version %d; %d was reported as done before it looked", seen, floor)
			return
		case seen < last:
			r.fault("a reader sees version %d after %d", seen, last)
			return
		}
		r.mu.Lock()
		r.reads++
		if seen != last {
			r.versions++
		}
		r.mu.Unlock()
		last = seen
		pause(ctx, 50*time.Millisecond) // the machine is for the writers
	}
}

// look reads both partitions where the metastore has them, by one question, and gives the version that both show.
func (r *race) look(ctx context.Context) (int, error) {
	at, err := r.table.registry.Look(ctx, both)
	if err != nil {
		return 0, err
	}
	var seen []content
	for _, p := range both {
		files, err := stage.List(ctx, r.table.fsys, at[p].Folder)
		if err != nil {
			return 0, err
		}
		c, err := read(ctx, r.table.fsys, at[p].Folder, files)
		if err != nil {
			return 0, err
		}
		if fault := c.fault(); fault != "" {
			return 0, errors.New(fault)
		}
		seen = append(seen, c)
	}
	if seen[0].counter != seen[1].counter {
		return 0, fmt.Errorf("one partition is at version %d, the other at %d", seen[0].counter, seen[1].counter)
	}
	return seen[0].counter, nil
}

// after looks at the table when all writers are gone and what they left is recovered.
func (r *race) after(t *testing.T) {
	t.Helper()
	ctx := t.Context()
	store, err := r.table.store(ctx, r.table.fsys, r.table.registry)
	must(t, err)
	_, err = store.Recover(ctx, nil)
	must(t, err)
	if _, err := r.look(ctx); err != nil {
		t.Error(err)
	}
	now, err := store.InputsOf(ctx, both)
	must(t, err)
	for _, p := range both {
		c, err := read(ctx, r.table.fsys, now[p].Folder, now[p].Files)
		must(t, err)
		for id := range r.done {
			if !slices.Contains(c.ids, id) {
				t.Errorf("%s: %s was reported as done and is not there", p, id)
			}
		}
		history, err := store.History(ctx, p)
		must(t, err)
		if last := len(history) - 1; last >= 0 && history[last].Path != now[p].Folder {
			t.Errorf("%s: the metastore has it at %s, and the last version is at %s", p, now[p].Folder, history[last].Path)
		}
	}
	for _, folder := range []string{"staging", "runs", "runs/undo", "trash", "locks", "locks/runs"} {
		list, err := r.table.fsys.List(ctx, path.Join(r.table.state(), folder))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		must(t, err)
		for _, i := range list {
			if !i.IsDir() || folder == "staging" || folder == "trash" {
				t.Errorf("left in %s: %s", folder, i.Name)
			}
		}
	}
}

// start makes a table with both partitions empty, for writers and readers.
func start(t *testing.T, mutant string) *race {
	t.Helper()
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	return &race{table: newTable(t, servicetest.Shared(t), both...), seed: seed, mutant: mutant, done: map[string]int{}, said: map[string]int{}, deaths: map[string]int{}}
}

// telling reports whether something was done, and somebody has died.
func (r *race) telling() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.done) > 0 && len(r.deaths) > 0
}

// TestWriters: three writers that die anywhere, and readers.
func TestWriters(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	r := start(t, "")
	ctx, cancel := context.WithTimeout(t.Context(), 10*(*budget))
	defer cancel()
	go func() {
		defer cancel()
		// On a busy machine it takes longer until there is something to look at.
		for pause(ctx, *budget); !r.telling() && ctx.Err() == nil; pause(ctx, time.Second) {
		}
	}()
	r.run(ctx, t, false)
	for _, fault := range r.faults {
		t.Error(fault)
	}
	total := 0
	for _, n := range r.deaths {
		total += n
	}
	t.Logf("writers: seed %d, %d upserts done, %d deaths, %d that stood still for too long, %v, %d reads of %d versions",
		r.seed, len(r.done), total, r.stood, r.said, r.reads, r.versions)
	for _, step := range slices.Sorted(maps.Keys(r.deaths)) {
		t.Logf("  died at: %s (%d)", step, r.deaths[step])
	}
	if len(r.done) == 0 || total == 0 {
		t.Error("nothing was done, or nobody died")
	}
}

// enough is how many upserts of a mutant go by unnoticed before it is taken for one that nobody would notice; usually a few
// do. They are counted and not timed, so that a busy machine gives the mutants as many as an idle one.
const enough = 1000

// TestMutants: what the harness is for it finds.
func TestMutants(t *testing.T) {
	if testing.Short() {
		t.Skip("starts processes")
	}
	for _, mutant := range mutants {
		t.Run(strings.ReplaceAll(mutant, " ", "-"), func(t *testing.T) {
			r := start(t, mutant)
			r.most = enough
			r.run(t.Context(), t, true)
			if len(r.faults) == 0 {
				t.Fatalf("a protocol that %s is not noticed: seed %d, %d upserts done, %v", mutant, r.seed, len(r.done), r.said)
			}
			t.Logf("a protocol that %s: after %d upserts: %s", mutant, r.ended, r.faults[0])
		})
	}
}
