//go:build unix

package writertest

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/swap"
)

// The mutants: protocols with something left out, by name.
const (
	pointsBack    = "points the metastore back to the version before"
	pointsNowhere = "does not point the metastore at all"
	pointsSingly  = "points partitions one after the other"
	relists       = "compares with the partition as it is now, not as it was merged"
)

var mutants = []string{pointsBack, pointsNowhere, pointsSingly, relists}

// mutate makes a mutant of what a writer stands on.
func mutate(mutant string, random *rand.Rand, fsys storage.FS, registry swap.Registry) (storage.FS, swap.Registry) {
	switch mutant {
	case pointsBack, pointsNowhere, pointsSingly:
		return fsys, &misled{Registry: registry, mutant: mutant, random: random}
	case relists:
		return &unlocked{fsys}, &misled{Registry: registry, mutant: mutant, random: random}
	}
	return fsys, registry
}

// misled is a registry that is told something else than it should be.
type misled struct {
	swap.Registry
	mutant string
	random *rand.Rand
}

func (m *misled) Point(ctx context.Context, list []swap.Pointer) error {
	switch {
	case m.mutant == pointsNowhere && m.random.IntN(2) == 0:
		return nil
	case m.mutant == pointsSingly:
		for _, p := range list {
			if err := m.Registry.Point(ctx, []swap.Pointer{p}); err != nil {
				return err
			}
			pause(ctx, 20*time.Millisecond)
		}
		return nil
	}
	err := m.Registry.Point(ctx, list)
	if err != nil || m.mutant != pointsBack || m.random.IntN(2) == 0 {
		return err
	}
	back := make([]swap.Pointer, len(list))
	for i, p := range list {
		back[i] = p
		back[i].Was, back[i].Folder = p.Folder, p.Was
	}
	return m.Registry.Point(ctx, back)
}

// Hold of the one that needs no locks gives none.
func (m *misled) Hold(ctx context.Context, partitions []string, run string) (func() error, error) {
	if m.mutant == relists {
		return func() error { return nil }, nil
	}
	return m.Registry.Hold(ctx, partitions, run)
}

// unlocked is a file system whose locks of partitions keep nobody out.
type unlocked struct{ storage.FS }

func (u *unlocked) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	l, err := u.FS.Lock(ctx, name)
	if errors.Is(err, storage.ErrLocked) {
		return nobodys{}, nil
	}
	return l, err
}

type nobodys struct{}

func (nobodys) Unlock() error { return nil }

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
