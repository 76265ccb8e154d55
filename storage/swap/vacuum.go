package swap

import (
	"context"
	"errors"
	"path"
	"slices"
	"strings"
	"time"
)

// Vacuumed is an old version that was, or would be, removed.
type Vacuumed struct {
	Partition string
	Run       string
	Bytes     int64
	Path      string // where it was
}

// Vacuum removes the files of versions that have not been live for longer than keep, under the lease
// of their partition. The live version is never touched, nor is a folder that a registry has for any
// partition, nor one that isn't ours: VacuumLeaves lists those. With dryRun it only lists. Deleting an
// old version fails queries that still read it, which is what keep is for.
func (s *Store) Vacuum(ctx context.Context, keep time.Duration, dryRun bool) (_ []Vacuumed, err error) {
	partitions, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	used, err := s.usedFolders(ctx)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for _, p := range partitions {
		removed, err := s.vacuumPartition(ctx, p, keep, dryRun, used)
		if err != nil {
			return out, err
		}
		out = append(out, removed...)
	}
	return out, nil
}

func (s *Store) vacuumPartition(ctx context.Context, partition string, keep time.Duration, dryRun bool, used map[string]bool) (_ []Vacuumed, err error) {
	if !dryRun {
		held, err := s.leases(ctx, []string{partition}, "vacuum")
		if err != nil {
			return nil, err
		}
		defer func() { err = errors.Join(err, releaseAll(s, held)) }()
		// What an interrupted run may still need is no old version.
		if _, err := s.Recover(ctx, []string{partition}); err != nil {
			return nil, err
		}
	}
	old, err := s.old(ctx, partition, keep)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for _, v := range old {
		if !s.isState(v.Path) || used[v.Path] {
			continue
		}
		if !dryRun {
			if gone, err := s.removeVersion(ctx, partition, v); err != nil || !gone {
				if err != nil {
					return append(out, v), err
				}
				continue
			}
		}
		out = append(out, v)
	}
	return out, nil
}

// old lists the versions of a partition that have not been live for longer than keep and are still there.
func (s *Store) old(ctx context.Context, partition string, keep time.Duration) ([]Vacuumed, error) {
	versions, err := s.History(ctx, partition)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for i, v := range versions {
		if v.Live || v.Path == "" || usedAgain(versions[i+1:], v.Path) {
			continue
		}
		if now := s.o.Clock(); now.Sub(madeAt(versions[:replacedBy(versions, i)+1], now)) >= keep {
			out = append(out, Vacuumed{Partition: partition, Run: v.Run, Bytes: v.Bytes, Path: v.Path})
		}
	}
	return out, nil
}

// usedAgain reports whether a folder is that of a younger version too, as one is that somebody has put back: it is as old
// as that one.
func usedAgain(younger []Version, folder string) bool {
	return slices.ContainsFunc(younger, func(v Version) bool { return v.Path == folder })
}

// replacedBy is the version by which one is known to have been replaced: it is old from then, not from when it was made.
// Of what somebody else has made nobody wrote down when.
func replacedBy(versions []Version, at int) int {
	for at++; at < len(versions)-1 && versions[at].Time.IsZero(); at++ {
	}
	return at
}

// isState tells what lies among our own files from somebody else's folders.
func (s *Store) isState(name string) bool {
	for _, dir := range []string{versionDir, historyDir} {
		if strings.HasPrefix(name, path.Join(s.state, dir)+"/") {
			return true
		}
	}
	return false
}

// removeVersion removes the folder of an old version, unless readers are sent there.
func (s *Store) removeVersion(ctx context.Context, partition string, v Vacuumed) (gone bool, err error) {
	if s.o.Registry != nil && s.isVersion(v.Path) {
		// As late as can be: whoever came too late may just have put it back.
		at, err := s.look(ctx, []string{partition})
		if err != nil || at[partition].Folder == v.Path {
			return false, err
		}
	}
	return true, s.toTrash(ctx, v.Path, "")
}

// usedFolders are the folders that a registry has, of whatever partition.
func (s *Store) usedFolders(ctx context.Context) (map[string]bool, error) {
	if s.o.Registry == nil {
		return nil, nil
	}
	all, err := s.o.Registry.Look(ctx, nil)
	if errors.Is(err, ErrElsewhere) {
		var own []string
		if own, err = s.Partitions(ctx); err == nil {
			all, err = s.lookAround(ctx, own)
		}
	}
	used := make(map[string]bool, len(all))
	for _, at := range all {
		used[at.Folder] = true
	}
	return used, err
}

// VacuumLeaves lists the old versions that Vacuum never removes, since their folders are not of our making:
// where partitions were before the registry was pointed at our versions.
func (s *Store) VacuumLeaves(ctx context.Context, keep time.Duration) ([]Vacuumed, error) {
	partitions, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for _, p := range partitions {
		old, err := s.old(ctx, p, keep)
		if err != nil {
			return nil, err
		}
		for _, v := range old {
			if !s.isState(v.Path) {
				out = append(out, v)
			}
		}
	}
	return out, nil
}

// madeAt is when the last of some versions was made, as far as it can be believed. It was not made before those
// before it, whatever the clock of then said. Times that are yet to come are no help in that: of these only the
// version's own counts, which keeps what is before it.
func madeAt(versions []Version, now time.Time) time.Time {
	made := versions[len(versions)-1].Time
	for _, v := range versions {
		if v.Time.After(made) && !v.Time.After(now) {
			made = v.Time
		}
	}
	return made
}
