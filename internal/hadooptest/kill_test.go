package hadooptest

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
)

var (
	seedFlag     = flag.Uint64("seed", 0, "repeat a test whose seed was printed, as far as processes can be repeated; 0: another one each time")
	killsFlag    = flag.Int("kills", 20, "how often the command is killed")
	longFlag     = flag.Bool("long", false, "let services hang for minutes, too")
	jvmKillsFlag = flag.Int("jvm-kills", 2, "how often the services are killed")
)

// roll gives a test its random choices, and the seed that repeats them.
func roll() (*rand.Rand, uint64) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(rand.Uint32())
	}
	return rand.New(rand.NewPCG(seed, 0)), seed
}

// seen is what readers saw.
type seen struct {
	reads  int // that were whole
	absent int // of a path between two renames, or of a name that a switch had taken away
	wrong  []string
}

// reader reads a table over and over until stop.
type reader struct {
	x      *table
	cancel context.CancelFunc
	done   sync.WaitGroup
	seen   seen
	last   int64 // the newest version it saw
}

func (x *table) startReader(ctx context.Context) *reader {
	r := &reader{x: x}
	ctx, r.cancel = context.WithCancel(ctx)
	r.done.Go(func() {
		for ctx.Err() == nil {
			r.read(ctx)
			pause(ctx, 20*time.Millisecond) // the machine is for the runs
		}
	})
	return r
}

func (r *reader) stop() seen {
	r.cancel()
	r.done.Wait()
	return r.seen
}

// read reads as the table's readers do: by path each partition for itself, which may be away for a moment; through the metastore
// all of them, which are there and at one version that is never older than the one before.
func (r *reader) read(ctx context.Context) {
	if r.x.kind == byMetastore {
		v, err := r.x.version(ctx)
		if err == nil && v < r.last {
			err = fmt.Errorf("back from version %d to %d", r.last, v)
		}
		r.count(ctx, v, err)
		return
	}
	for _, day := range days {
		rows, err := r.x.readFolder(ctx, r.x.root+"/"+day)
		v := int64(0)
		if err == nil {
			v, err = r.x.whole(rows)
		}
		r.count(ctx, v, err)
	}
}

func (r *reader) count(ctx context.Context, v int64, err error) {
	switch {
	case ctx.Err() != nil:
	case err == nil:
		r.seen.reads++
		r.last = max(r.last, v)
	case r.x.kind == byPath && isGone(err):
		r.seen.absent++
	case len(r.seen.wrong) < 5:
		r.seen.wrong = append(r.seen.wrong, err.Error())
	}
}

// killed is what became of runs that were killed.
type killed struct {
	old, new, done int // before the commit, after it, and those that were through before
	seen
}

func (k *killed) add(o killed) {
	k.old, k.new, k.done = k.old+o.old, k.new+o.new, k.done+o.done
	k.reads, k.absent, k.wrong = k.reads+o.reads, k.absent+o.absent, append(k.wrong, o.wrong...)
}

// TestKills kills the command at random moments while readers read: what they see is whole, the next run comes through by itself
// once it has seen that the locks' holder is gone, and leaves nothing behind. That takes seconds, so that many tables wait
// side by side.
func TestKills(t *testing.T) {
	t.Parallel() // most of the time is waiting
	s := servicetest.Shared(t)
	r, seed := roll()
	const tables = 5 // of each kind
	var all sync.WaitGroup
	var mu sync.Mutex
	total := map[kind]*killed{byPath: {}, byMetastore: {}}
	errs := make(chan error, 2*tables)
	rounds := max(1, *killsFlag/(2*tables))
	for _, k := range []kind{byPath, byMetastore} {
		for range tables {
			x := newTable(t, s, k, 200)
			random := rand.New(rand.NewPCG(r.Uint64(), 0))
			all.Go(func() {
				got, err := x.kills(t.Context(), random, rounds)
				mu.Lock()
				defer mu.Unlock()
				total[k].add(got)
				if err != nil {
					errs <- fmt.Errorf("%s: %w", k, err)
				}
			})
		}
	}
	all.Wait()
	close(errs)
	for k, n := range total {
		t.Logf("kills by %s: seed %d, %d before the commit, %d after it, %d runs were through; %d whole reads, %d found something away, %d wrong",
			k, seed, n.old, n.new, n.done, n.reads, n.absent, len(n.wrong))
		for _, wrong := range n.wrong {
			t.Errorf("a reader of %s: %s", k, wrong)
		}
		if n.old+n.new == 0 {
			t.Errorf("%s: nothing was killed", k)
		}
	}
	for err := range errs {
		t.Error(err)
	}
}

// kills kills so many runs on a table, and lets the next one live after each.
func (x *table) kills(ctx context.Context, random *rand.Rand, rounds int) (out killed, err error) {
	w := x.startReader(ctx)
	defer func() { out.seen = w.stop() }()
	usual, err := x.usual(ctx)
	if err != nil {
		return out, err
	}
	version := int64(1)
	for range rounds {
		cmd, err := x.upserting(ctx, version+1)
		if err == nil {
			err = cmd.Start()
		}
		if err != nil {
			return out, err
		}
		// Every moment, and in half of the cases one of the second half, in which the run commits.
		delay := time.Duration(random.Int64N(int64(usual)))
		if random.IntN(2) == 0 {
			delay = (delay + usual) / 2
		}
		killing, stop := context.WithCancel(ctx)
		if random.IntN(3) == 0 {
			go x.killCommitted(killing, cmd)
		} else {
			time.AfterFunc(delay, func() { _ = cmd.Process.Signal(syscall.SIGKILL) })
		}
		_ = cmd.Wait() // the exit code says it
		stop()
		code := cmd.ProcessState.ExitCode()
		if code > 0 {
			return out, fmt.Errorf("exit code %d after %v", code, delay)
		}
		if err := x.afterKill(ctx, version, code, &out); err != nil {
			return out, fmt.Errorf("killed after %v: %w", delay, err)
		}
		version += 2
		// The dead run's locks are waited for as those of a living one would be.
		if code, said := x.upsert(ctx, version, "--lock-wait", "5m"); code != 0 {
			return out, fmt.Errorf("the run after a kill after %v: exit code %d\n%s", delay, code, said)
		}
		if got, err := x.version(ctx); err != nil || got != version {
			return out, fmt.Errorf("after a kill after %v and a run the table is at %d, not %d: %w", delay, got, version, err)
		}
		left, err := x.leftovers(ctx)
		if err != nil || len(left) > 0 {
			return out, fmt.Errorf("after a kill after %v and a run, left: %v %w", delay, left, err)
		}
	}
	return out, nil
}

// killCommitted kills a run as soon as its record says that it is committed.
func (x *table) killCommitted(ctx context.Context, cmd *exec.Cmd) {
	for ctx.Err() == nil {
		list, err := x.fsys.List(ctx, path.Join(x.state(), "runs"))
		if err == nil && slices.ContainsFunc(list, func(i storage.Info) bool { return !i.IsDir() }) {
			_ = cmd.Process.Signal(syscall.SIGKILL)
			return
		}
	}
}

// usual is how long a run takes that is let live, the first, to version 1.
func (x *table) usual(ctx context.Context) (time.Duration, error) {
	cmd, err := x.upserting(ctx, 1)
	if err != nil {
		return 0, err
	}
	started := time.Now()
	code, said := run(cmd)
	if code != 0 {
		return 0, fmt.Errorf("exit code %d\n%s", code, said)
	}
	return time.Since(started), nil
}

// afterKill looks at what a killed run left: through the metastore old or new; by path each partition, or nothing in the
// place of one whose switch was cut in two.
func (x *table) afterKill(ctx context.Context, version int64, code int, out *killed) error {
	got, err := x.version(ctx)
	switch {
	case code == 0 && (err != nil || got != version+1):
		return fmt.Errorf("it was done, but the table is at %d: %w", got, err)
	case code == 0:
		out.done++
	case x.kind == byPath && (isGone(err) || errors.Is(err, errMixed)):
		out.new++ // committed: the next run finishes it
	case err != nil:
		return err
	case got == version:
		out.old++
	case got == version+1:
		out.new++
	default:
		return fmt.Errorf("the table is at %d", got)
	}
	return nil
}
