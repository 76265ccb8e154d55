package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"maps"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/hupsert/hupsert/storage/stage"
)

// versionNumber reads the name of a claim's folder.
func versionNumber(name string) (n int64, ok bool) {
	n, err := strconv.ParseInt(strings.TrimPrefix(name, "v"), 10, 64)
	return n, err == nil && versionName(n) == name
}

func isVersionName(name string) bool {
	_, ok := versionNumber(name)
	return ok
}

// numbers lists the versions of a partition that are claimed, committed or not, the newest first.
func (s *Store) numbers(ctx context.Context, partition string) ([]int64, error) {
	list, err := s.listed(ctx, path.Join(claimsDir, partition))
	var out []int64
	for _, i := range list {
		if n, ok := versionNumber(i.Name); ok {
			out = append(out, n)
		}
	}
	slices.Sort(out)
	slices.Reverse(out)
	return out, err
}

// newestClaim is the highest version of a partition that is claimed, committed or not; 0 where there is none.
func (s *Store) newestClaim(ctx context.Context, partition string) (int64, error) {
	all, err := s.numbers(ctx, partition)
	if err != nil || len(all) == 0 {
		return 0, err
	}
	return all[0], nil
}

// readClaim reads one claim; false: it is a void one that was dropped since it was listed.
func (s *Store) readClaim(ctx context.Context, partition string, version int64) (c claim, ok bool, err error) {
	folder := s.claimName(partition, version)
	err = stage.ReadJSON(ctx, s.fsys, path.Join(folder, claimName), &c)
	if errors.Is(err, fs.ErrNotExist) {
		there, serr := s.exists(ctx, folder)
		if serr == nil && !there {
			return c, false, nil
		}
		if serr == nil {
			// A claim comes and goes by one rename of its folder, with all that is in it: no run leaves it so.
			return c, false, &ClaimError{Partition: partition, Folder: folder, Err: err}
		}
	}
	if err == nil && c.Version != version {
		err = fmt.Errorf("%w: %s is of version %d", stage.ErrUnreadable, path.Join(folder, claimName), c.Version)
	}
	if errors.Is(err, stage.ErrUnreadable) {
		return c, false, &ClaimError{Partition: partition, Folder: folder, Err: err}
	}
	return c, err == nil, err
}

// ClaimError says that what is kept of a version can't be told: its claim is damaged, or was removed by hand. Which rows the partition
// has is not in doubt, but what they came of is.
type ClaimError struct {
	Partition string
	Folder    string // of the claim
	Err       error
}

// Error implements error.
func (e *ClaimError) Error() string { return display(e.Partition) + ": " + e.Told() }

// Told is what is wrong, without the partition.
func (e *ClaimError) Told() string {
	if errors.Is(e.Err, fs.ErrNotExist) {
		return "its history can't be told: " + path.Join(e.Folder, claimName) + " is not there"
	}
	return "its history can't be told: " + e.Err.Error()
}

// Unwrap gives the cause.
func (e *ClaimError) Unwrap() error { return e.Err }

// newestFirst gives the claims on a partition from the newest on, each with the place of its run's record. They are read a few at a
// time, as they are asked for: a history grows with every run, and what a run does must not.
func (s *Store) newestFirst(ctx context.Context, partition string) iter.Seq2[placedClaim, error] {
	return func(yield func(placedClaim, error) bool) {
		rest, err := s.numbers(ctx, partition)
		if err != nil {
			yield(placedClaim{}, err)
			return
		}
		for n := 1; len(rest) > 0; n = min(2*n, width) { // usually the first will do
			some := rest[:min(n, len(rest))]
			rest = rest[len(some):]
			read := make([]*placedClaim, len(some))
			faults := make([]error, len(some))
			_ = s.each(len(some), func(i int) error {
				read[i], faults[i] = s.readPlaced(ctx, partition, some[i])
				return faults[i]
			})
			for i, c := range read {
				if faults[i] != nil {
					yield(placedClaim{}, faults[i])
					return
				}
				if c != nil && !yield(*c, nil) {
					return
				}
			}
		}
	}
}

// placedClaim is a claim and where its run's record was when it was read.
type placedClaim struct {
	claim
	at place
}

// counts reports whether the claim's run is committed.
func (c placedClaim) counts() bool { return c.at == committed || c.at == done }

// readPlaced reads a claim, nil where it was dropped, and looks for the record of its run.
func (s *Store) readPlaced(ctx context.Context, partition string, version int64) (*placedClaim, error) {
	c, ok, err := s.readClaim(ctx, partition, version)
	if err != nil || !ok {
		return nil, err
	}
	if _, known := s.ended.Load(c.Run); known {
		return &placedClaim{c, done}, nil // no record leaves that place
	}
	at, err := s.placeOf(ctx, c.Run)
	if err == nil && at == done {
		s.ended.Store(c.Run, true)
	}
	return &placedClaim{c, at}, err
}

// committedFirst is newestFirst of the claims that count.
func (s *Store) committedFirst(ctx context.Context, partition string) iter.Seq2[claim, error] {
	return func(yield func(claim, error) bool) {
		for c, err := range s.newestFirst(ctx, partition) {
			if (err != nil || c.counts()) && !yield(c.claim, err) {
				return
			}
		}
	}
}

// lastCommitted is the claim of the version that was committed last; nil where there is none.
func (s *Store) lastCommitted(ctx context.Context, partition string) (*claim, error) {
	for c, err := range s.committedFirst(ctx, partition) {
		return &c, err
	}
	return nil, nil
}

// committed are all claims that count, by version.
func (s *Store) committed(ctx context.Context, partition string) ([]claim, error) {
	numbers, err := s.numbers(ctx, partition)
	if err != nil {
		return nil, err
	}
	slices.Reverse(numbers)
	found := make([]*claim, len(numbers))
	err = s.each(len(numbers), func(i int) error {
		c, err := s.readPlaced(ctx, partition, numbers[i])
		if err == nil && c != nil && c.counts() {
			found[i] = &c.claim
		}
		return err
	})
	return given(found), err
}

// claimed lists the partitions that have claims.
func (s *Store) claimed(ctx context.Context, dir, partition string) ([]string, error) {
	list, err := s.fsys.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var out []string
	for _, i := range list {
		if isVersionName(i.Name) {
			return []string{partition}, nil
		}
		below, err := s.claimed(ctx, path.Join(dir, i.Name), path.Join(partition, i.Name))
		if err != nil {
			return nil, err
		}
		out = append(out, below...)
	}
	return out, nil
}

// Partitions lists the partitions that have a history.
func (s *Store) Partitions(ctx context.Context) ([]string, error) {
	return s.claimed(ctx, path.Join(s.state, claimsDir), "")
}

// voidClaims gives the claims on a partition whose run was nowhere. They are above those of runs that are done, unless that one was
// taken back upon which a version was made whose run had lost its lease: all looks at those below as well.
func (s *Store) voidClaims(ctx context.Context, partition string, all bool) (void []claim, err error) {
	for c, err := range s.newestFirst(ctx, partition) {
		if err != nil || c.at == done && !all {
			return void, err
		}
		if c.at == nowhere {
			void = append(void, c.claim)
		}
	}
	return void, nil
}

// dropDead frees versions of partitions that runs took which are gone and never committed.
func (s *Store) dropDead(ctx context.Context, partitions []string, void [][]claim) error {
	type of struct {
		partition string
		claim     claim
	}
	byRun := map[string][]of{} // of each the lock is taken once
	for i, list := range void {
		for _, c := range list {
			byRun[c.Run] = append(byRun[c.Run], of{partitions[i], c})
		}
	}
	for _, run := range slices.Sorted(maps.Keys(byRun)) {
		err := s.ifDead(ctx, run, func() error {
			// It may have committed since, and be gone now.
			if at, err := s.placeOf(ctx, run); err != nil || at != nowhere {
				return err
			}
			list := byRun[run]
			return s.each(len(list), func(i int) error { return s.dropClaim(ctx, list[i].partition, list[i].claim) })
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// dropVoid frees the version of a partition that a run took which did not commit. All says that it may have been long ago.
func (s *Store) dropVoid(ctx context.Context, partition, run string, all bool) error {
	for c, err := range s.newestFirst(ctx, partition) {
		if err != nil {
			return err
		}
		if c.Run == run {
			return s.dropClaim(ctx, partition, c.claim)
		}
		if c.at == done && !all {
			return nil
		}
	}
	return nil
}

// dropVersion frees a version of a partition if it is the run's.
func (s *Store) dropVersion(ctx context.Context, partition, run string, version int64) error {
	there, err := s.exists(ctx, s.claimName(partition, version))
	if err != nil || !there {
		return err
	}
	c, ok, err := s.readClaim(ctx, partition, version)
	if err != nil || !ok || c.Run != run {
		return err
	}
	return s.dropClaim(ctx, partition, c)
}

// dropClaim frees a version: the claim's folder is renamed away first, since a folder that is removed
// piece by piece is empty for a moment, and an empty folder may be renamed over.
func (s *Store) dropClaim(ctx context.Context, partition string, c claim) error {
	return s.toTrash(ctx, s.claimName(partition, c.Version), "."+c.Run)
}
