package swap_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/swap"
)

// locking is a metastore whose lock of all partitions stays with a run until that ends it.
type locking struct {
	metastore
	by string // "" nobody
}

func (l *locking) Hold(_ context.Context, _ []string, run string) (func() error, error) {
	if l.by != "" {
		return nil, swap.ErrLocked
	}
	l.by = run
	return func() error { l.by = ""; return nil }, nil
}

func (l *locking) Evict(_ context.Context, _ []string, ifDead func(run string, end func() error) error) error {
	return ifDead(l.by, func() error { l.by = ""; return nil })
}

// TestLocksOfDeadRuns: what a killed run holds in a metastore keeps nobody out; what one that lives holds does.
func TestLocksOfDeadRuns(t *testing.T) {
	m := made(t, swap.Location, threeDays)
	registry := &locking{metastore: metastore{fsys: m}}
	o := options(m, swap.Location)
	o.Registry = registry
	store, err := swap.Open(bg, m, table, o)
	must(t, err)
	lease := func(id string) (*swap.Run, error) {
		r, err := store.Begin(bg, id, "upsert", true)
		must(t, err)
		return r, r.Lease(bg, []string{"dt=1"})
	}
	lives, err := store.Begin(bg, "lives", "upsert", true)
	must(t, err)
	registry.by = "lives"
	second, err := lease("second")
	if !errors.Is(err, swap.ErrLocked) || registry.by != "lives" {
		t.Errorf("beside a run that lives: %v, and the lock is with %q", err, registry.by)
	}
	must(t, errors.Join(second.Close(), lives.Close()))

	third, err := lease("third")
	if err != nil || registry.by != "third" {
		t.Errorf("after a run that is gone: %v, and the lock is with %q", err, registry.by)
	}
	must(t, third.Close())
	if registry.by != "" {
		t.Errorf("the lock stays with %q", registry.by)
	}
}

// TestLockedByAnotherMachine: who finds, with the lock, that another one is just naming itself is told so as of any lock.
func TestLockedByAnotherMachine(t *testing.T) {
	m := made(t, swap.Exchange, threeDays)
	wrapped := faultfs.Wrap(m)
	store, err := swap.Open(bg, wrapped, table, swap.Options{})
	must(t, err)
	r, err := store.Begin(bg, "run", "upsert", true)
	must(t, err)
	wrapped.Inject(&faultfs.Rule{Op: faultfs.Create, Path: "locks/dt=", Err: fs.ErrExist})
	if err := r.Lease(bg, []string{"dt=1"}); !errors.Is(err, swap.ErrLocked) {
		t.Errorf("%v", err)
	}
	must(t, r.Close())
}
