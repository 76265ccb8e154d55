package swap

import (
	"context"
	"errors"
	"time"
)

// Vacuumed is an old version that was, or would be, removed.
type Vacuumed struct {
	Partition string
	Run       string
	Bytes     int64
}

// Vacuum removes the files of versions that have not been live for longer than keep, under the lease
// of their partition. The live version is never touched. With dryRun it only lists. Deleting an old
// version fails queries that still read it, which is what keep is for.
func (s *Store) Vacuum(ctx context.Context, keep time.Duration, dryRun bool) (_ []Vacuumed, err error) {
	partitions, err := s.Partitions(ctx)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for _, p := range partitions {
		removed, err := s.vacuumPartition(ctx, p, keep, dryRun)
		if err != nil {
			return out, err
		}
		out = append(out, removed...)
	}
	return out, nil
}

func (s *Store) vacuumPartition(ctx context.Context, partition string, keep time.Duration, dryRun bool) (_ []Vacuumed, err error) {
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
	versions, err := s.History(ctx, partition)
	if err != nil {
		return nil, err
	}
	var out []Vacuumed
	for i, v := range versions {
		if v.Live || v.Path == "" {
			continue
		}
		// A version is old from when the next one took its place, not from when it was made.
		if now := s.o.Clock(); now.Sub(madeAt(versions[:i+2], now)) < keep {
			continue
		}
		out = append(out, Vacuumed{Partition: partition, Run: v.Run, Bytes: v.Bytes})
		if dryRun {
			continue
		}
		if err := s.toTrash(ctx, v.Path, ""); err != nil {
			return out, err
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
