//go:build unix

package writertest

import (
	"context"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"strings"
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
func mutate(mutant string, writer int, random *rand.Rand, fsys storage.FS, registry swap.Registry) (storage.FS, swap.Registry) {
	switch mutant {
	case pointsBack, pointsNowhere, pointsSingly:
		return fsys, &misled{Registry: registry, mutant: mutant, random: random}
	case relists:
		return &unlocked{fsys, writer}, &misled{Registry: registry, mutant: mutant, random: random}
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

// unlocked is a file system on which each writer has locks of partitions of its own, which keep nobody else out.
type unlocked struct {
	storage.FS
	writer int
}

func (u *unlocked) own(name string) string {
	return strings.Replace(name, "/locks/dt=", fmt.Sprintf("/locks/%d-dt=", u.writer), 1)
}

func (u *unlocked) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	return u.FS.Lock(ctx, u.own(name))
}

func (u *unlocked) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	return u.FS.Create(ctx, u.own(name), mode)
}

func (u *unlocked) Open(ctx context.Context, name string) (storage.File, error) {
	return u.FS.Open(ctx, u.own(name))
}

func (u *unlocked) Remove(ctx context.Context, name string) error {
	return u.FS.Remove(ctx, u.own(name))
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
