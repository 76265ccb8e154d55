package swap

import (
	"context"
	"errors"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/hupsert/hupsert/storage"
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
	partitions, err := s.withOld(ctx, keep)
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

// withOld lists the partitions of which a version may be older than keep, as far as the folders tell: a version was live at least until
// its folder was changed last. Claims are not read, so that a run that bounds the history pays for what it removes.
func (s *Store) withOld(ctx context.Context, keep time.Duration) ([]string, error) {
	now := s.o.Clock()
	var mu sync.Mutex
	old := map[string]bool{}
	for _, dir := range []string{historyDir, versionDir} {
		err := s.eachKept(ctx, dir, func(partition string, folders []storage.Info) error {
			if !slices.ContainsFunc(folders, func(i storage.Info) bool { return i.ModTime.After(now) || now.Sub(i.ModTime) >= keep }) {
				return nil
			}
			if dir == versionDir && len(folders) == 1 { // it should be the live one
				newest, err := s.newestClaim(ctx, partition)
				if err != nil || folders[0].Name == versionName(newest) {
					return err
				}
			}
			mu.Lock()
			defer mu.Unlock()
			old[partition] = true
			return nil
		})
		if err != nil {
			return nil, err
		}
	}
	return slices.Sorted(maps.Keys(old)), nil
}

// eachKept calls f, at once for several, with each partition that has folders of versions in a folder of the state.
func (s *Store) eachKept(ctx context.Context, dir string, f func(partition string, folders []storage.Info) error) error {
	for level := []string{""}; len(level) > 0; {
		below := make([][]string, len(level))
		err := s.each(len(level), func(at int) error {
			list, err := s.listed(ctx, path.Join(dir, level[at]))
			var folders []storage.Info
			for _, i := range list {
				switch {
				case strings.Contains(i.Name, "="): // which no run's name has
					below[at] = append(below[at], path.Join(level[at], i.Name))
				case i.IsDir():
					folders = append(folders, i)
				}
			}
			if err == nil && len(folders) > 0 {
				err = f(level[at], folders)
			}
			return err
		})
		if err != nil {
			return err
		}
		level = slices.Concat(below...)
	}
	return nil
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
