package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// Recovered says what recover did.
type Recovered struct {
	Finished []string // runs that were committed and are live now
	Undone   []string // runs that were not, and are gone
	// Damaged are partitions of which claims can't be read, where all partitions were looked through: asked for, or since a run had
	// died. They are left as they are: who wants to change one is told then.
	Damaged []*ClaimError
}

// Err is the damage as one error.
func (r Recovered) Err() error {
	var errs []error
	for _, d := range r.Damaged {
		errs = append(errs, d)
	}
	return errors.Join(errs...)
}

// Recover finishes what interrupted runs had committed and undoes the rest, for the partitions named
// (nil: all). Runs that live are left alone. It is idempotent. Who names partitions holds their leases
// and is about to build on them: where another process is just finishing a run there, it waits for that
// as for a lease, and then answers ErrLocked.
func (s *Store) Recover(ctx context.Context, partitions []string) (Recovered, error) {
	return s.recover(ctx, partitions, false)
}

// Settle is Recover of all partitions for who is about to name some, and so Recover those. It looks through the claims of the
// others only where it finds that a run died: to do it for each partition of a table may take longer than a run. What it may so
// overlook are claims of a run of which a power cut, or the death of its recovery, left nothing else: they are in nobody's way, and
// who names their partition removes them.
func (s *Store) Settle(ctx context.Context) (Recovered, error) {
	return s.recover(ctx, nil, true)
}

func (s *Store) recover(ctx context.Context, partitions []string, ifDied bool) (Recovered, error) {
	var out Recovered
	if err := s.mayChange(); err != nil {
		return out, err
	}
	if ok, err := s.exists(ctx, path.Join(s.state, string(committed))); err != nil || !ok {
		return out, err
	}
	records, err := s.openRecords(ctx)
	if err != nil {
		return out, err
	}
	var errs []error
	for _, rec := range records {
		if partitions == nil || rec.touches(partitions) {
			// One that can't be ended keeps none of the others.
			errs = append(errs, s.recoverRun(ctx, rec, partitions, &out))
		}
	}
	died, err := s.clearAllDead(ctx, &out)
	if err == nil && partitions != nil {
		if err = s.undoClaims(ctx, partitions); err == nil {
			err = s.forward(ctx, partitions)
		}
	}
	// Of a dead run nothing tells any more: its claims in other partitions go now.
	if err == nil && (died || len(records) > 0 || partitions == nil && !ifDied) {
		err = s.undoAllClaims(ctx, !ifDied && partitions == nil, &out)
	}
	if err == nil && partitions == nil {
		err = s.forwardAll(ctx)
	}
	if err == nil {
		err = s.clearTrash(ctx, "")
	}
	return out, errors.Join(append(errs, err)...)
}

// Finish ends a run whose commit was cut off, as Recover does: ErrLocked where its process still goes on with it. One that is done, or of which
// nothing is committed, stays as it is.
func (s *Store) Finish(ctx context.Context, run string) error {
	if err := s.mayChange(); err != nil {
		return err
	}
	for _, at := range []place{committed, takenBack} { // the order in which a record moves: one that moves meanwhile is not missed
		rec, err := s.readRecord(ctx, at, run)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err == nil {
			err = s.recoverRun(ctx, rec, rec.partitions(), &Recovered{})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// recoverRun ends a run that committed, unless it lives.
func (s *Store) recoverRun(ctx context.Context, rec record, partitions []string, out *Recovered) error {
	var wait time.Duration
	if partitions != nil {
		wait = s.o.LockWait
	}
	release, err := s.takeOver(ctx, rec.Run, wait)
	if errors.Is(err, storage.ErrLocked) {
		if partitions == nil {
			return nil
		}
		return fmt.Errorf("%w: run %s is committed there, and another process is finishing it", ErrLocked, rec.Run)
	}
	if err != nil {
		return err
	}
	return errors.Join(s.endRun(ctx, rec, out), release())
}

// endRun goes on with a run where it stands. Its lock is held.
func (s *Store) endRun(ctx context.Context, rec record, out *Recovered) error {
	// Under the lock: another process may have ended it meanwhile.
	at, err := s.placeOf(ctx, rec.Run)
	if err != nil || at != committed && at != takenBack {
		return err
	}
	// What is done now rests on where the record lies; it came from the staging.
	if err := errors.Join(s.syncIfThere(ctx, s.staging(rec.Run)), s.syncRecords(ctx)); err != nil {
		return err
	}
	var conflict error
	if at == committed {
		conflict, err = s.finish(ctx, rec)
	} else {
		var left string
		left, err = s.takeBack(ctx, rec)
		conflict = fmt.Errorf("%w: run %s was being taken back, and now is%s", ErrConflict, rec.Run, left)
	}
	switch {
	case err != nil:
		return err
	case conflict == nil:
		out.Finished = append(out.Finished, rec.Run)
	default:
		s.o.Logger.Warn("a committed run is undone", "run", rec.Run, "error", conflict)
		out.Undone = append(out.Undone, rec.Run)
	}
	return nil
}

// listed lists a folder of the state; a run that died while it made the state left some of them out.
func (s *Store) listed(ctx context.Context, dir string) ([]storage.Info, error) {
	list, err := s.fsys.List(ctx, path.Join(s.state, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

// takeOver takes the lock of a run that is gone, so that one process at a time ends it: storage.ErrLocked
// where it lives, or where another process has the lock.
func (s *Store) takeOver(ctx context.Context, run string, wait time.Duration) (release func() error, err error) {
	name := s.runLock(run)
	if err := s.mkdirs(ctx, path.Dir(name)); err != nil {
		return nil, err
	}
	u, err := s.await(ctx, name, wait, func() error { return s.deserted(ctx, run) })
	if err != nil {
		return nil, err
	}
	p, err := s.carry(ctx, run)
	if err != nil {
		return nil, errors.Join(err, u.Unlock())
	}
	return func() error {
		p.end()
		return s.endLock(run, u)
	}, nil
}

// endLock removes a run's lock, what names its holder first, and ends it. Removed before that: who opened the file
// before and gets its lock then is told by storage.FS.Lock that it has none.
func (s *Store) endLock(run string, u storage.Unlocker) error {
	var err error
	for _, name := range []string{s.runHolder(run), s.runLock(run)} {
		if rerr := s.fsys.Remove(context.Background(), name); !errors.Is(rerr, fs.ErrNotExist) {
			err = errors.Join(err, rerr)
		}
	}
	return errors.Join(err, u.Unlock())
}

// clearAllDead removes the staging and the locks of runs that are gone, and says whether one died that may have left claims.
func (s *Store) clearAllDead(ctx context.Context, out *Recovered) (died bool, err error) {
	locked, err := s.lockedRuns(ctx)
	if err != nil {
		return false, err
	}
	list, err := s.listed(ctx, stagingDir)
	if err != nil {
		return false, err
	}
	clearLock := func(run string) error { return s.removeAll(ctx, s.runHolder(run)+newEnding) }
	// Staging before claims: a run that was taken for dead and is not can't commit without it.
	for _, i := range list {
		before := len(out.Finished) + len(out.Undone)
		err := s.ifDead(ctx, i.Name, func() error {
			err := s.clearDead(ctx, i.Name, out)
			if err == nil && locked[i.Name] { // it may be a staged run, which stays, and died when it was published
				died, err = true, clearLock(i.Name)
			}
			return err
		})
		if err != nil {
			return died, err
		}
		died = died || len(out.Finished)+len(out.Undone) > before
		delete(locked, i.Name)
	}
	// Locks of runs that died before they had anything staged, or when it was gone already: nothing else tells of them. Who takes the
	// lock of a dead run removes it in the end, and all but what a pulse left.
	for _, run := range slices.Sorted(maps.Keys(locked)) {
		err := s.ifDead(ctx, run, func() error {
			died = true
			return clearLock(run)
		})
		if err != nil {
			return died, err
		}
	}
	return died, nil
}

// undoClaims removes void claims on partitions.
func (s *Store) undoClaims(ctx context.Context, partitions []string) error {
	void := make([][]claim, len(partitions))
	err := s.each(len(partitions), func(i int) (err error) {
		void[i], err = s.voidClaims(ctx, partitions[i], false)
		return err
	})
	if err != nil {
		return err
	}
	return s.dropDead(ctx, partitions, void)
}

// undoAllClaims removes void claims on all partitions, but for those that are damaged, which it notes. Below says that they are looked
// for below those of runs that are done, too.
func (s *Store) undoAllClaims(ctx context.Context, below bool, out *Recovered) error {
	partitions, err := s.Partitions(ctx)
	if err != nil {
		return err
	}
	damaged := make([]*ClaimError, len(partitions))
	void := make([][]claim, len(partitions))
	err = s.each(len(partitions), func(i int) (err error) {
		void[i], err = s.voidClaims(ctx, partitions[i], below)
		if errors.As(err, &damaged[i]) {
			return nil
		}
		return err
	})
	if err != nil {
		return err
	}
	out.Damaged = append(out.Damaged, slices.DeleteFunc(damaged, func(e *ClaimError) bool { return e == nil })...)
	return s.dropDead(ctx, partitions, void)
}

// lockedRuns are the runs that have a lock, or what is left of one.
func (s *Store) lockedRuns(ctx context.Context) (map[string]bool, error) {
	list, err := s.listed(ctx, path.Join(locksDir, runLocks))
	runs := map[string]bool{}
	for _, i := range list {
		for _, ending := range []string{"", holderEnding, holderEnding + newEnding} {
			// Without a run's name it is a file that the storage keeps there.
			if run, ok := strings.CutSuffix(i.Name, lockEnding+ending); ok && run != "" {
				runs[run] = true
			}
		}
	}
	return runs, err
}

// ifDead calls f under the lock of a run, unless the run lives or somebody else is ending it.
func (s *Store) ifDead(ctx context.Context, run string, f func() error) error {
	release, err := s.takeOver(ctx, run, 0)
	if errors.Is(err, storage.ErrLocked) {
		return nil
	}
	if err != nil {
		return err
	}
	return errors.Join(f(), release())
}

// clearDead removes the staging of a run that is gone, unless there is something to end. Of a run that is
// staged it removes what trying to publish it left.
func (s *Store) clearDead(ctx context.Context, run string, out *Recovered) error {
	at, err := s.placeOf(ctx, run)
	if err != nil || at == committed || at == takenBack {
		return err
	}
	if at == nowhere {
		if waits, err := s.waits(ctx, run); err != nil || waits {
			return errors.Join(err, s.sweep(ctx, run))
		}
	}
	if ok, err := s.exists(ctx, s.staging(run)); err != nil || !ok {
		return err // it ended while we looked
	}
	// The staging holds what it takes to go on, should the record come back.
	if err := s.syncRecords(ctx); err != nil {
		return err
	}
	// By one rename: the record of a run that was taken for dead and is not lies in it.
	if err := s.toTrash(ctx, s.staging(run), ""); err != nil {
		return err
	}
	if at == done {
		out.Finished = append(out.Finished, run)
	} else {
		out.Undone = append(out.Undone, run)
	}
	return nil
}

// undo removes what a run that did not commit had claimed and, unless that stays, staged. Claims first:
// they are looked for by partition, and the staging folder tells that the run was there.
func (s *Store) undo(ctx context.Context, run string, partitions []string, stays bool) error {
	at, err := s.placeOf(ctx, run)
	if err != nil || at != nowhere {
		return err // recover goes on with it
	}
	err = s.each(len(partitions), func(i int) error { return s.dropVoid(ctx, partitions[i], run, false) })
	if err != nil {
		return err
	}
	if stays {
		return s.sweep(ctx, run)
	}
	return s.clearStaging(ctx, run)
}

// clearStaging removes a run's staging.
func (s *Store) clearStaging(ctx context.Context, run string) error {
	if err := s.removeAll(ctx, s.staging(run)); err != nil {
		return err
	}
	return s.fsys.SyncDir(ctx, path.Join(s.state, stagingDir))
}
