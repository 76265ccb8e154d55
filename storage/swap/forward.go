package swap

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// forward points a registry that stands at an older version of ours, or at one of ours that is lost, at the
// one committed last: who came too late put it there. A folder that isn't ours is left alone, and so is one
// of ours that somebody has written into: the next version is made from it. Runs that are not finished look
// after their partitions themselves.
func (s *Store) forward(ctx context.Context, partitions []string) error {
	if s.o.Registry == nil || s.registered.Load() == nil {
		return nil
	}
	const tries = 3
	for try := 1; ; try++ {
		open, err := s.openRecords(ctx)
		if err != nil {
			return err
		}
		touched := func(p string) bool {
			return slices.ContainsFunc(open, func(r record) bool { return r.touches([]string{p}) })
		}
		list, err := s.behind(ctx, partitions, touched)
		if err != nil || len(list) == 0 {
			return err
		}
		// A run that committed since the look points at its folders itself, when they are there.
		if open, err = s.openRecords(ctx); err != nil {
			return err
		}
		list = slices.DeleteFunc(list, func(b Pointer) bool { return touched(b.Partition) })
		if len(list) == 0 {
			return nil
		}
		for _, b := range list {
			s.o.Logger.Warn("the metastore is helped forward", "partition", b.Partition, "from", b.Was, "to", b.Folder)
		}
		// Once more after it: somebody may have committed between look and change.
		if err := s.o.Registry.Point(ctx, list); err != nil && (!errors.Is(err, ErrConflict) || try == tries) {
			return err
		}
		if try == tries {
			return fmt.Errorf("%w: somebody else changes the metastore again and again", ErrConflict)
		}
	}
}

// behind gives the changes that bring the registry from older versions to those committed last, but for partitions that runs touch which are
// not finished.
func (s *Store) behind(ctx context.Context, partitions []string, touched func(partition string) bool) ([]Pointer, error) {
	at, err := s.lookAround(ctx, partitions)
	if err != nil {
		return nil, err
	}
	partitions = slices.DeleteFunc(slices.Clone(partitions), func(p string) bool { return !s.isVersion(at[p].Folder) || touched(p) })
	found := make([]*Pointer, len(partitions))
	err = s.each(len(partitions), func(i int) (err error) {
		found[i], err = s.behindOne(ctx, partitions[i], at[partitions[i]].Folder)
		return err
	})
	return given(found), err
}

// forwardAll is forward of all partitions that have claims, but for those whose claims are damaged: who came too late may be gone, and
// the next run be of other partitions.
func (s *Store) forwardAll(ctx context.Context) error {
	if s.o.Registry == nil || s.registered.Load() == nil {
		return nil
	}
	partitions, err := s.Partitions(ctx)
	if err != nil {
		return err
	}
	for {
		err := s.forward(ctx, partitions)
		var damaged *ClaimError
		if !errors.As(err, &damaged) {
			return err
		}
		partitions = slices.DeleteFunc(partitions, func(p string) bool { return p == damaged.Partition })
	}
}

func (s *Store) behindOne(ctx context.Context, partition, has string) (*Pointer, error) {
	if !s.isVersion(has) {
		return nil, nil // somebody else's, or none
	}
	newest, err := s.newestClaim(ctx, partition)
	if err != nil || newest == 0 || has == s.version(partition, newest) {
		return nil, err // as it should be, or none of ours
	}
	claims, err := s.committed(ctx, partition)
	if err != nil || len(claims) == 0 {
		return nil, err
	}
	last := claims[len(claims)-1]
	to := s.publishedAt(partition, last)
	if to == has {
		return nil, nil
	}
	in, err := s.list(ctx, has)
	if err != nil {
		return nil, err
	}
	older := slices.IndexFunc(claims, func(c claim) bool { return c.Folder == has })
	if !in.Absent && (older < 0 || differingFile(claims[older].Manifest.Files, in.Files) != "") {
		return nil, nil
	}
	files, bytes := visible(last.Manifest.Files)
	return &Pointer{Partition: partition, Was: has, Folder: to, Run: last.Run, Version: last.Version,
		Rows: last.Manifest.Rows, Bytes: bytes, Files: files}, nil
}

// publishedAt is the folder that a version of a partition was published in; "": the version is that the partition is not there.
func (s *Store) publishedAt(partition string, c claim) string {
	if c.Folder == "" && !c.Absent {
		return s.live(partition)
	}
	return c.Folder
}
