//go:build unix

package writertest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// jobVariable makes the test's own program a writer; its value is a job.
const jobVariable = "HUPSERT_WRITERTEST_JOB"

// job is what a writer is told. It ends when its standard input does.
type job struct {
	place
	Writer, Life int
	Seed         uint64
	Mutant       string // "": the protocol as it is
	Immortal     bool
}

// writer upserts until it is told to end, or dies.
type writer struct {
	job
	table  *table
	random *rand.Rand
	calm   atomic.Bool // do not die any more
	steps  int         // that an upsert took
	number int
}

// write is the writer's main function. It says on standard output what the test reads: a word and what belongs to it.
func write(text string) {
	ctx := context.Background()
	w := &writer{steps: 90}
	err := json.Unmarshal([]byte(text), &w.job)
	if err == nil {
		w.table, err = w.open(ctx, slog.New(slog.DiscardHandler))
	}
	if err != nil {
		say("fault", err.Error())
		return
	}
	w.random = rand.New(rand.NewPCG(w.Seed, uint64(w.Writer<<32+w.Life)))
	go func() {
		_, _ = io.Copy(io.Discard, os.Stdin) // that it ends is what counts
		w.calm.Store(true)
	}()
	for !w.calm.Load() {
		w.number++
		if err := w.upsert(ctx); err != nil {
			say(kindOf(err), err.Error())
		}
	}
}

// say tells the test something, at once and in one piece.
func say(word, text string) {
	line := word + " " + strings.ReplaceAll(text, "\n", "; ") + "\n"
	_, _ = os.Stdout.WriteString(line) // nobody is left to be told
}

// kindOf sorts what may become of an upsert among others.
func kindOf(err error) string {
	switch {
	case errors.Is(err, swap.ErrUnfinished):
		return "unfinished" // whoever comes next ends it
	case errors.Is(err, swap.ErrConflict):
		return "conflict"
	case errors.Is(err, swap.ErrLocked):
		return "locked"
	case errors.Is(err, fs.ErrNotExist):
		return "ended" // it stood still, and was taken for dead
	}
	return "fault"
}

// fate is the step of an upsert at which the writer dies or stands still.
type fate struct {
	w     *writer
	at    int
	still bool
	locks bool // steps of locks and pulses count: most of the time is waiting for others

	mu   sync.Mutex
	done int
}

// step counts a step and may be the last.
func (f *fate) step(what string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if strings.Contains(what, "/locks/") != f.locks {
		return
	}
	f.done++
	if f.done != f.at || f.w.Immortal || f.w.calm.Load() {
		return
	}
	word, signal := "dies", syscall.SIGKILL
	if f.still {
		word, signal = "stands", syscall.SIGSTOP
	}
	say(word, what)
	_ = syscall.Kill(os.Getpid(), signal) // a test that sees nobody die fails
}

// upsert adds a row and counts the shared one up, in both partitions.
func (w *writer) upsert(ctx context.Context) error {
	f := &fate{w: w, at: 1 + w.random.IntN(2*w.steps), still: w.random.IntN(12) == 0, locks: w.random.IntN(8) == 0}
	wrapped := faultfs.Wrap(w.table.fsys)
	wrapped.Inject(&faultfs.Rule{Changes: true, Before: func() { f.step(lastLine(wrapped.Log())) }})
	fsys, registry := mutate(w.Mutant, w.Writer, w.random, wrapped, &watched{Registry: w.table.registry, fate: f})
	store, err := w.table.store(ctx, fsys, registry)
	if err != nil {
		return err
	}
	if w.random.IntN(12) == 0 {
		if _, err := store.Vacuum(ctx, 10*time.Second, false); err != nil {
			return err
		}
	}
	id := fmt.Sprintf("%d-%d-%d", w.Writer, w.Life, w.number)
	counter, err := w.run(ctx, store, id)
	if err == nil {
		say("done", fmt.Sprintf("%s %d", id, counter))
		if !f.locks {
			w.steps = f.done
		}
	}
	return err
}

// run is one run of the protocol, as storage/swap's callers do it.
func (w *writer) run(ctx context.Context, store *swap.Store, id string) (counter int, err error) {
	name := time.Now().UTC().Format("20060102T150405Z") + "-" + id
	r, err := store.Begin(ctx, name, "upsert", true)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, r.Abort(ctx)) }()
	if err := r.Lease(ctx, both); err != nil {
		return 0, err
	}
	if _, err := store.Recover(ctx, both); err != nil {
		return 0, err
	}
	inputs, err := store.InputsOf(ctx, both)
	if err != nil {
		return 0, err
	}
	var list []swap.Publication
	for _, p := range both {
		c, err := read(ctx, w.table.fsys, inputs[p].Folder, inputs[p].Files)
		if err != nil {
			return 0, err
		}
		c.counter, c.ids = c.counter+1, append(c.ids, id)
		counter = c.counter
		pub, err := w.stage(ctx, r, p, name, c)
		if err != nil {
			return 0, err
		}
		pub.Inputs = inputs[p]
		list = append(list, pub)
	}
	if w.Mutant == relists {
		now, err := w.relist(ctx, store, inputs)
		if err != nil {
			return 0, err
		}
		for i := range list {
			list[i].Inputs = now[list[i].Partition]
		}
	}
	_, err = r.Publish(ctx, list)
	return counter, err
}

// relist gives the partitions as they are now. All writers but one wait until that is not as they were, or the end has come.
func (w *writer) relist(ctx context.Context, store *swap.Store, were map[string]swap.Inputs) (map[string]swap.Inputs, error) {
	for {
		now, err := store.InputsOf(ctx, both)
		if err != nil || w.Writer == 0 || w.calm.Load() || now[both[0]].Folder != were[both[0]].Folder {
			return now, err
		}
		pause(ctx, 20*time.Millisecond)
	}
}

// stage stages a partition's new content.
func (w *writer) stage(ctx context.Context, r *swap.Run, partition, run string, c content) (swap.Publication, error) {
	pub := swap.Publication{Partition: partition}
	var err error
	if pub.Dir, err = r.Stage(ctx, partition); err != nil {
		return pub, err
	}
	out, err := pub.Dir.Create(ctx, "rows-"+run)
	if err != nil {
		return pub, err
	}
	buffered := bufio.NewWriter(out)
	_, err = buffered.WriteString(c.String())
	if err = errors.Join(err, buffered.Flush(), out.Close()); err != nil {
		return pub, err
	}
	pub.Manifest, err = pub.Dir.Seal(ctx, stage.Manifest{Run: run, Partition: partition, Command: "upsert", Time: time.Now(), Rows: int64(len(c.ids) + 1)})
	return pub, err
}

func lastLine(text string) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return lines[len(lines)-1]
}

// watched is a registry each of whose calls has a step before and after it.
type watched struct {
	swap.Registry
	fate *fate
}

func (w *watched) around(call string, do func() error) error {
	w.fate.step("before " + call)
	err := do()
	w.fate.step("after " + call)
	return err
}

func (w *watched) Look(ctx context.Context, partitions []string) (out map[string]swap.Registered, err error) {
	err = w.around("Look", func() error {
		out, err = w.Registry.Look(ctx, partitions)
		return err
	})
	return out, err
}

func (w *watched) Point(ctx context.Context, list []swap.Pointer) error {
	return w.around("Point", func() error { return w.Registry.Point(ctx, list) })
}

func (w *watched) Hold(ctx context.Context, partitions []string, run string) (release func() error, err error) {
	err = w.around("Hold", func() error {
		release, err = w.Registry.Hold(ctx, partitions, run)
		return err
	})
	return release, err
}

func (w *watched) Evict(ctx context.Context, partitions []string, ifDead func(run string, end func() error) error) error {
	evictor := w.Registry.(swap.Evictor)
	return w.around("Evict", func() error { return evictor.Evict(ctx, partitions, ifDead) })
}
