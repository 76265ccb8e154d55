package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// finish switches every partition of a committed run and files the record as done. It is idempotent:
// where each partition stands is read off the ids of folders, which renames keep.
func (s *Store) finish(ctx context.Context, rec record) error {
	for i, e := range rec.Entries {
		if err := s.switchOne(ctx, e); err != nil {
			if errors.Is(err, ErrConflict) && i == 0 && len(rec.Entries) == 1 {
				// Nothing of the run is live: it is taken back, not left half done.
				return errors.Join(err, s.takeBack(ctx, rec))
			}
			return err
		}
	}
	// Every switch before the record is filed: as long as it lies in runs, the run is looked at again.
	runs := path.Join(s.state, runsDir)
	if err := s.fsys.Rename(ctx, path.Join(runs, rec.Run+".json"), path.Join(runs, doneDir, rec.Run+".json")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// The target first: a crash between the two leaves the record in one place or in both.
	if err := s.fsys.SyncDir(ctx, path.Join(runs, doneDir)); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(ctx, runs); err != nil {
		return err
	}
	return s.clearStaging(ctx, rec.Run)
}

// takeBack undoes a committed run of one partition whose switch found that somebody else had changed
// it: the record goes first, which makes the claim void.
func (s *Store) takeBack(ctx context.Context, rec record) error {
	runs := path.Join(s.state, runsDir)
	if err := s.fsys.Remove(ctx, path.Join(runs, rec.Run+".json")); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(ctx, runs); err != nil {
		return err
	}
	return s.undo(ctx, rec.Run, []string{rec.Entries[0].Partition})
}

// switchOne makes one partition live.
func (s *Store) switchOne(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	id, err := s.idOf(ctx, live)
	if err != nil {
		return err
	}
	if e.Staged != "" && id == e.StagedID {
		return s.fileOld(ctx, e) // switched before; the old folder may still have to be filed
	}
	switch {
	case e.Old.Absent && e.Staged == "":
		return nil
	case e.Old.Absent:
		return s.appear(ctx, e)
	case e.Staged == "":
		return s.disappear(ctx, e)
	case e.Way == Exchange && id != "":
		return s.exchange(ctx, e)
	}
	return s.twoRenames(ctx, e)
}

// idOf is the id of a name, "" where nothing has it.
func (s *Store) idOf(ctx context.Context, name string) (string, error) {
	info, err := s.fsys.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return info.ID, err
}

// appear publishes a partition that did not exist, by a rename that can't replace one.
func (s *Store) appear(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	if err := s.mkdirs(ctx, path.Dir(live)); err != nil {
		return err
	}
	if err := s.fsys.Rename(ctx, e.Staged, live); err != nil {
		if errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("%w: %s came to be", ErrConflict, display(e.Partition))
		}
		return err
	}
	return s.syncBoth(ctx, live, e.Staged)
}

// disappear moves a partition into the history and puts nothing in its place.
func (s *Store) disappear(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	id, err := s.idOf(ctx, live)
	if err != nil || id != e.Old.ID {
		return err // gone already
	}
	return s.toHistory(ctx, live, e)
}

// exchange swaps the live and the staged folder: readers of the path see one or the other. Then the
// folder that came out is compared once more with what was merged, since a writer that knows nothing
// of us may have come between the re-listing and this.
func (s *Store) exchange(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	if err := s.fsys.Exchange(ctx, live, e.Staged); err != nil {
		if errors.Is(err, errors.ErrUnsupported) {
			return s.twoRenames(ctx, e)
		}
		return err
	}
	came, err := s.list(ctx, e.Staged)
	if err != nil {
		return err
	}
	if diff := e.Old.differs(came); diff != "" {
		if err := s.fsys.Exchange(ctx, live, e.Staged); err != nil {
			return err
		}
		return errors.Join(fmt.Errorf("%w: %s: %s; put back as it was", ErrConflict, display(e.Partition), diff), s.syncBoth(ctx, live, e.Staged))
	}
	// Durable before the old folder is filed: else a crash could file the folder that is live again.
	if err := s.syncBoth(ctx, live, e.Staged); err != nil {
		return err
	}
	return s.fileOld(ctx, e)
}

// fileOld moves the folder an exchange brought out into the history.
func (s *Store) fileOld(ctx context.Context, e recordedSwap) error {
	if e.Old.Absent {
		return nil
	}
	id, err := s.idOf(ctx, e.Staged)
	if err != nil || id != e.Old.ID {
		return err // filed already, or it went there by a rename
	}
	return s.toHistory(ctx, e.Staged, e)
}

// twoRenames moves the live folder into the history and the staged one into its place. Between the
// two the path is absent; the run record tells whoever comes next to go on.
func (s *Store) twoRenames(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	id, err := s.idOf(ctx, live)
	if err != nil {
		return err
	}
	switch id {
	case e.Old.ID:
		now, err := s.list(ctx, live)
		if err != nil {
			return err
		}
		if diff := e.Old.differs(now); diff != "" {
			return fmt.Errorf("%w: %s: %s", ErrConflict, display(e.Partition), diff)
		}
		if err := s.toHistory(ctx, live, e); err != nil {
			return err
		}
	case "":
		// Moved by an earlier try.
	default:
		return fmt.Errorf("%w: %s was replaced by somebody else", ErrConflict, display(e.Partition))
	}
	if err := s.fsys.Rename(ctx, e.Staged, live); err != nil {
		return err
	}
	return s.syncBoth(ctx, live, e.Staged)
}

// toHistory files a folder under the run that made it.
func (s *Store) toHistory(ctx context.Context, dir string, e recordedSwap) error {
	to := s.history(e.Partition, e.OldRun)
	if err := s.mkdirs(ctx, path.Dir(to)); err != nil {
		return err
	}
	if err := s.fsys.Rename(ctx, dir, to); err != nil {
		if !errors.Is(err, fs.ErrExist) {
			return err
		}
		// A version that was rolled back to and changed since has its run's name already.
		to = fmt.Sprintf("%s-%d", to, e.Version)
		if err := s.fsys.Rename(ctx, dir, to); err != nil {
			return err
		}
	}
	return s.syncBoth(ctx, to, dir)
}

// syncBoth makes a rename durable: the new name first, so that a crash between the two leaves the
// folder under both names or one, never under none.
func (s *Store) syncBoth(ctx context.Context, to, from string) error {
	if err := s.fsys.SyncDir(ctx, path.Dir(to)); err != nil {
		return err
	}
	return s.fsys.SyncDir(ctx, path.Dir(from))
}

// Recovered says what recover did.
type Recovered struct {
	Finished []string // runs that were committed and are live now
	Undone   []string // runs that were not, and are gone
}

// Recover finishes what interrupted runs had committed and undoes the rest, for the partitions named
// (nil: all). Runs that live are left alone. It is idempotent.
func (s *Store) Recover(ctx context.Context, partitions []string) (Recovered, error) {
	var out Recovered
	if ok, err := s.exists(ctx, path.Join(s.state, runsDir)); err != nil || !ok {
		return out, err
	}
	records, err := s.openRecords(ctx)
	if err != nil {
		return out, err
	}
	for _, rec := range records {
		if partitions != nil && !rec.touches(partitions) {
			continue
		}
		alive, err := s.alive(ctx, rec.Run)
		if err != nil {
			return out, err
		}
		if alive {
			continue
		}
		if err := s.finish(ctx, rec); err != nil {
			return out, fmt.Errorf("finish run %s: %w", rec.Run, err)
		}
		out.Finished = append(out.Finished, rec.Run)
	}
	undone, err := s.undoDead(ctx, partitions)
	out.Undone = undone
	return out, err
}

// listed lists a folder of the state; a run that died while it made the state left some of them out.
func (s *Store) listed(ctx context.Context, dir string) ([]storage.Info, error) {
	list, err := s.fsys.List(ctx, path.Join(s.state, dir))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	return list, err
}

func (r record) touches(partitions []string) bool {
	for _, e := range r.Entries {
		if slices.Contains(partitions, e.Partition) {
			return true
		}
	}
	return false
}

// openRecords reads the records of runs that are committed and not filed as done.
func (s *Store) openRecords(ctx context.Context) ([]record, error) {
	list, err := s.listed(ctx, runsDir)
	if err != nil {
		return nil, err
	}
	var out []record
	for _, i := range list {
		if i.IsDir() || !strings.HasSuffix(i.Name, ".json") {
			continue
		}
		var rec record
		if err := stage.ReadJSON(ctx, s.fsys, path.Join(s.state, runsDir, i.Name), &rec); err != nil {
			return nil, err
		}
		out = append(out, rec)
	}
	return out, nil
}

// alive reports whether a run still holds its lock.
func (s *Store) alive(ctx context.Context, run string) (bool, error) {
	name := s.runLock(run)
	if ok, err := s.exists(ctx, name); err != nil || !ok {
		return false, err
	}
	u, err := s.fsys.Lock(ctx, name)
	if errors.Is(err, storage.ErrLocked) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return false, u.Unlock()
}

// undoDead removes the staging of runs that are gone, and void claims of the partitions.
func (s *Store) undoDead(ctx context.Context, partitions []string) ([]string, error) {
	var err error
	if partitions == nil {
		if partitions, err = s.claimed(ctx, path.Join(s.state, claimsDir), ""); err != nil {
			return nil, err
		}
	}
	for _, p := range partitions {
		if err := s.voidClaims(ctx, p); err != nil {
			return nil, err
		}
	}
	list, err := s.listed(ctx, stagingDir)
	if err != nil {
		return nil, err
	}
	var undone []string
	for _, i := range list {
		dead, err := s.dead(ctx, i.Name)
		if err != nil {
			return undone, err
		}
		if !dead {
			continue
		}
		if err := s.clearStaging(ctx, i.Name); err != nil {
			return undone, err
		}
		undone = append(undone, i.Name)
	}
	return undone, s.clearTrash(ctx)
}

// dead reports whether a staging folder belongs to a run that is gone, has nothing to finish and was
// not kept.
func (s *Store) dead(ctx context.Context, run string) (bool, error) {
	alive, err := s.alive(ctx, run)
	if err != nil || alive {
		return false, err
	}
	kept, err := s.exists(ctx, path.Join(s.staging(run), keptName))
	if err != nil || kept {
		return false, err
	}
	open, err := s.exists(ctx, path.Join(s.state, runsDir, run+".json"))
	return !open, err
}

// voidClaims removes the claims on a partition whose run is gone and never committed.
func (s *Store) voidClaims(ctx context.Context, partition string) error {
	all, err := s.claims(ctx, partition)
	if err != nil {
		return err
	}
	for _, c := range all {
		ok, err := s.isCommitted(ctx, c.Run)
		if err != nil {
			return err
		}
		if ok {
			continue
		}
		alive, err := s.alive(ctx, c.Run)
		if err != nil {
			return err
		}
		if !alive {
			if err := s.dropClaim(ctx, partition, c); err != nil {
				return err
			}
		}
	}
	return nil
}

func (s *Store) isCommitted(ctx context.Context, run string) (bool, error) {
	open, err := s.exists(ctx, path.Join(s.state, runsDir, run+".json"))
	if err != nil || open {
		return open, err
	}
	return s.exists(ctx, path.Join(s.state, runsDir, doneDir, run+".json"))
}

// dropClaim frees a version: the claim's folder is renamed away first, since a folder that is removed
// piece by piece is empty for a moment, and an empty folder may be renamed over.
func (s *Store) dropClaim(ctx context.Context, partition string, c claim) error {
	from := path.Join(s.state, claimsDir, partition, versionName(c.Version))
	return s.toTrash(ctx, from, "claim-"+c.Run+"-"+versionName(c.Version))
}

// toTrash renames a folder into the trash and removes it there: a removal that is interrupted leaves
// nothing half gone under a name that means something.
func (s *Store) toTrash(ctx context.Context, from, name string) error {
	to := path.Join(s.state, trashDir, name)
	if err := s.removeAll(ctx, to); err != nil {
		return err
	}
	if err := s.fsys.Rename(ctx, from, to); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		return err
	}
	// Gone from where it meant something, for good, before any of its content goes.
	if err := s.syncBoth(ctx, to, from); err != nil {
		return err
	}
	return s.removeAll(ctx, to)
}

func (s *Store) clearTrash(ctx context.Context) error {
	list, err := s.listed(ctx, trashDir)
	if err != nil {
		return err
	}
	for _, i := range list {
		if err := s.removeAll(ctx, path.Join(s.state, trashDir, i.Name)); err != nil {
			return err
		}
	}
	return nil
}

// undo removes what a run that did not commit had claimed and staged. Claims first: they are looked
// for by partition, and the staging folder tells that the run was there.
func (s *Store) undo(ctx context.Context, run string, partitions []string) error {
	if ok, err := s.isCommitted(ctx, run); err != nil || ok {
		return err
	}
	for _, p := range partitions {
		all, err := s.claims(ctx, p)
		if err != nil {
			return err
		}
		for _, c := range all {
			if c.Run != run {
				continue
			}
			if err := s.dropClaim(ctx, p, c); err != nil {
				return err
			}
		}
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
