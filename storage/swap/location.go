package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"

	"github.com/hupsert/hupsert/storage/stage"
)

// errEnded: somebody who took us for dead has ended the run.
var errEnded = errors.New("another process ended the run")

// relocate makes a committed run live in all its partitions at once: the staged folders become versions, and
// the registry is pointed at them. It is idempotent. ErrConflict says that somebody else has changed a
// partition since it was read, errEnded that nothing is left to do.
func (s *Store) relocate(ctx context.Context, rec record) error {
	if s.o.Registry == nil {
		return fmt.Errorf("%w: run %s can be finished by its name there only, %s", ErrRegistered, rec.Run, rec.Registry)
	}
	// The folders for good before anything points at them.
	err := s.each(len(rec.Entries), func(i int) error { return s.house(ctx, rec.Entries[i]) })
	if err == nil {
		err = s.point(ctx, rec)
	}
	if err != nil {
		return err
	}
	// Once more: a writer that knows nothing of us may have been at the old folders between look and change.
	return s.each(len(rec.Entries), func(i int) error {
		if e := rec.Entries[i]; e.Old.Folder != "" {
			return s.checkOld(ctx, e, e.Old.Folder)
		}
		return nil
	})
}

// house gives a staged folder its place among the versions, durably.
func (s *Store) house(ctx context.Context, e recordedSwap) error {
	if e.Folder == "" {
		return nil
	}
	id, err := s.idOf(ctx, e.Folder)
	switch {
	case err != nil:
		return err
	case id == e.StagedID: // an earlier try may have been killed before it synced
	case id != "":
		return e.conflict("something else is at " + e.Folder)
	default:
		if err := s.mkdirs(ctx, path.Dir(e.Folder)); err != nil {
			return err
		}
		if err := s.fsys.Rename(ctx, e.Staged, e.Folder); err != nil {
			return err
		}
	}
	return s.syncHouse(ctx, e)
}

// syncHouse makes durable where a version's folder is: here or still staged.
func (s *Store) syncHouse(ctx context.Context, e recordedSwap) error {
	if err := s.syncIfThere(ctx, path.Dir(e.Folder)); err != nil {
		return err
	}
	return s.syncIfThere(ctx, path.Dir(e.Staged))
}

// point points the registry at a run's folders, all at once.
func (s *Store) point(ctx context.Context, rec record) error {
	const tries = 3
	for try := 1; ; try++ {
		list, err := s.pointers(ctx, rec)
		if err != nil || len(list) == 0 {
			return err
		}
		// Right before, since nothing but this look keeps a run that was overtaken from pointing back.
		if err := s.mayPoint(ctx, rec, committed); err != nil {
			return err
		}
		perr := s.o.Registry.Point(ctx, list)
		if err := s.pointed(ctx, rec, perr); err != nil {
			return err
		}
		switch {
		case perr == nil:
			return nil
		case errors.Is(perr, ErrConflict) && try < tries: // look who was there
			continue
		}
		// The answer may have got lost, not the change.
		if list, err = s.pointers(ctx, rec); err != nil || len(list) > 0 {
			return errors.Join(perr, err)
		}
		return nil
	}
}

// pointers are the changes that the registry lacks, if none of them is over what somebody else has done.
func (s *Store) pointers(ctx context.Context, rec record) ([]Pointer, error) {
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return nil, err
	}
	list := make([]*Pointer, len(rec.Entries))
	err = s.each(len(rec.Entries), func(i int) (err error) {
		list[i], err = s.pointer(ctx, rec.Run, rec.Entries[i], at[rec.Entries[i].Partition])
		return err
	})
	if err != nil {
		return nil, err
	}
	return given(list), nil
}

// pointer is what the registry is to be told of a partition; nil where it says so already.
func (s *Store) pointer(ctx context.Context, run string, e recordedSwap, now Registered) (*Pointer, error) {
	if now.Folder == e.Folder {
		return nil, nil
	}
	if now.Folder != e.Old.Folder {
		// Somebody who was too late may have put back a version from before the one that was merged.
		if older, err := s.olderThanOld(ctx, e, now); err != nil || !older {
			return nil, errors.Join(err, e.conflict(e.Old.moved(now)))
		}
	} else {
		if diff := e.Old.moved(now); diff != "" {
			return nil, e.conflict(diff)
		}
		if now.Folder != "" {
			if err := s.checkOld(ctx, e, now.Folder); err != nil {
				return nil, err
			}
		}
	}
	return e.pointer(run, now.Folder, e.Folder), nil
}

func (e recordedSwap) pointer(run, was, folder string) *Pointer {
	return &Pointer{Partition: e.Partition, Was: was, Folder: folder, Run: run, Version: e.Version, Rows: e.Rows, Bytes: e.Bytes, Files: e.Files}
}

// back is the change that takes pointer back.
func (e recordedSwap) back(was string) *Pointer {
	files, bytes := visible(e.Old.Files)
	return &Pointer{Partition: e.Partition, Was: was, Folder: e.Old.Folder, Run: e.OldRun, Version: e.Version - 1,
		Rows: -1, Bytes: bytes, Files: files}
}

// visible counts the files that readers read: those that are not hidden.
func visible(files []stage.File) (n int, bytes int64) {
	for _, f := range files {
		if f.Name[0] != '.' && f.Name[0] != '_' {
			n, bytes = n+1, bytes+f.Size
		}
	}
	return n, bytes
}

// olderThanOld reports whether the registry has a partition at a version of ours, as it was published, from
// before the one that a run has merged.
func (s *Store) olderThanOld(ctx context.Context, e recordedSwap, now Registered) (bool, error) {
	if !s.isVersion(now.Folder) || !s.isVersion(e.Old.Folder) {
		return false, nil
	}
	claims, err := s.committed(ctx, e.Partition)
	if err != nil {
		return false, err
	}
	of := func(folder string) int {
		return slices.IndexFunc(claims, func(c claim) bool { return c.Folder == folder })
	}
	at, old := of(now.Folder), of(e.Old.Folder)
	if at < 0 || at >= old {
		return false, nil
	}
	in, err := s.list(ctx, now.Folder)
	return err == nil && (in.Absent || differingFile(claims[at].Manifest.Files, in.Files) == ""), err
}

// mayPoint checks that a run's record is where it was, and that nobody has committed after it: whoever took
// us for dead may have ended the run while we stood still, and others may have gone on from there.
func (s *Store) mayPoint(ctx context.Context, rec record, was place) error {
	at, err := s.placeOf(ctx, rec.Run)
	if err != nil {
		return err
	}
	if at != was {
		return fmt.Errorf("run %s: %w", rec.Run, errEnded)
	}
	return s.each(len(rec.Entries), func(i int) error {
		over, err := s.overtaken(ctx, rec.Entries[i])
		if err == nil && over {
			err = fmt.Errorf("run %s: %w", rec.Run, errEnded)
		}
		return err
	})
}

// overtaken reports whether a later version of a partition is committed.
func (s *Store) overtaken(ctx context.Context, e recordedSwap) (bool, error) {
	newest, err := s.newestClaim(ctx, e.Partition)
	if err != nil || newest <= e.Version {
		return false, err
	}
	last, err := s.lastCommitted(ctx, e.Partition)
	return err == nil && last != nil && last.Version > e.Version, err
}

// pointed looks, after a change of the registry, whether we came too late, and then puts right what that
// did: whoever ended the run in our place does not look again.
func (s *Store) pointed(ctx context.Context, rec record, perr error) error {
	ended := s.mayPoint(ctx, rec, committed)
	if ended == nil || !errors.Is(ended, errEnded) {
		return ended
	}
	at, err := s.placeOf(ctx, rec.Run)
	if err == nil && at != done && at != committed {
		err = s.unpoint(ctx, rec)
	}
	if err == nil {
		err = s.forward(ctx, rec.partitions())
	}
	return errors.Join(err, perr, ended)
}

// unpoint takes back what was pointed too late, of a run that was taken back.
func (s *Store) unpoint(ctx context.Context, rec record) error {
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return err
	}
	var list []Pointer
	for _, e := range rec.Entries {
		there, err := s.exists(ctx, e.Folder)
		if err != nil {
			return err
		}
		if e.Folder != "" && at[e.Partition].Folder == e.Folder && !there {
			list = append(list, *e.back(e.Folder))
		}
	}
	if len(list) == 0 {
		return nil
	}
	return s.o.Registry.Point(ctx, list)
}

// clearHouses removes folders that were given their places too late, of a run that was taken back: no version
// has them, and they would be in the next one's way.
func (s *Store) clearHouses(ctx context.Context, rec record) error {
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return err
	}
	return s.each(len(rec.Entries), func(i int) error {
		e := rec.Entries[i]
		if e.Folder == "" || at[e.Partition].Folder == e.Folder {
			return nil
		}
		id, err := s.idOf(ctx, e.Folder)
		if err != nil || id != e.StagedID {
			return err
		}
		return s.toTrash(ctx, e.Folder, "."+rec.Run)
	})
}

// recallAll takes a run back that was published by location: the registry has the old folders again, all at
// once, and the new ones are staged. Partitions that somebody has changed in our folder are left to them;
// left says by partition what they did.
func (s *Store) recallAll(ctx context.Context, rec record) (left map[string]string, err error) {
	if s.o.Registry == nil {
		return nil, fmt.Errorf("%w: run %s can be taken back by its name there only, %s", ErrRegistered, rec.Run, rec.Registry)
	}
	left = map[string]string{}
	const passes = 8
	var failed error
	for range passes {
		r, err := s.recallPass(ctx, rec, left)
		if err != nil {
			return left, errors.Join(err, failed)
		}
		if len(r.list) == 0 {
			if r.moved {
				continue // look once more, now that they are moved
			}
			return left, nil
		}
		if failed != nil && !errors.Is(failed, ErrConflict) {
			return left, failed
		}
		if err := s.mayPoint(ctx, rec, takenBack); err != nil {
			return left, err
		}
		// After an error the next pass looks what became of it.
		failed = s.o.Registry.Point(ctx, r.list)
	}
	return left, fmt.Errorf("the metastore does not keep what it is told: %w", failed)
}

// recalling is what one look at the registry found to do.
type recalling struct {
	list  []Pointer // changes of the registry
	moved bool      // a folder was moved, which rests on the registry not pointing at it
}

func (s *Store) recallPass(ctx context.Context, rec record, left map[string]string) (recalling, error) {
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return recalling{}, err
	}
	n := len(rec.Entries)
	list, moved, why := make([]*Pointer, n), make([]bool, n), make([]string, n)
	err = s.each(n, func(i int) (err error) {
		e := rec.Entries[n-1-i] // the other way round than they went
		if now := at[e.Partition].Folder; now == e.Folder && now != e.Old.Folder {
			list[i], moved[i], why[i], err = s.repoint(ctx, e)
		} else if e.Folder != "" {
			list[i], moved[i], why[i], err = s.unhouse(ctx, rec.Run, e, now)
		}
		return err
	})
	var out recalling
	for i := range list {
		e := rec.Entries[n-1-i]
		if why[i] != "" {
			left[e.Partition] = why[i]
		}
		out.moved = out.moved || moved[i]
	}
	out.list = given(list)
	return out, err
}

// repoint takes back a partition that the registry has at our folder.
func (s *Store) repoint(ctx context.Context, e recordedSwap) (p *Pointer, moved bool, left string, err error) {
	if e.Folder != "" {
		if moved, err = s.rehouse(ctx, e); err != nil {
			return nil, moved, "", err
		}
		ours, err := s.ours(ctx, e)
		if err != nil {
			return nil, moved, "", err
		}
		now, err := s.list(ctx, e.Folder)
		if err != nil {
			return nil, moved, "", err
		}
		if left = ours.differs(now); left != "" {
			return nil, moved, left, nil
		}
	}
	if e.Old.Folder != "" && !e.Old.Absent {
		if there, err := s.exists(ctx, e.Old.Folder); err != nil || !there {
			return nil, moved, "the folder of the version before it is gone", err
		}
	}
	return e.back(e.Folder), moved, "", nil
}

// rehouse brings a folder back that was staged again although the registry points at it: it did so after the
// look.
func (s *Store) rehouse(ctx context.Context, e recordedSwap) (moved bool, err error) {
	id, err := s.idOf(ctx, e.Staged)
	if err != nil || id != e.StagedID {
		return false, err
	}
	if err = s.fsys.Rename(ctx, e.Staged, e.Folder); err == nil {
		err = s.syncHouse(ctx, e)
	}
	return err == nil, err
}

// unhouse moves the folder of a partition that the registry does not have at it back to where it was staged.
// Where somebody has written into it in the moment in which it was recalled it is live again, and theirs.
func (s *Store) unhouse(ctx context.Context, run string, e recordedSwap, now string) (p *Pointer, moved bool, left string, err error) {
	ours, err := s.ours(ctx, e)
	if err != nil {
		return nil, false, "", err
	}
	for _, name := range []string{e.Folder, e.Staged} {
		in, err := s.list(ctx, name)
		if err != nil {
			return nil, moved, "", err
		}
		if in.ID != e.StagedID {
			continue
		}
		if ours.differs(in) != "" && now == e.Old.Folder {
			return s.reinstateAt(ctx, run, e, name, now)
		}
		if name == e.Staged {
			// Whoever moved it may have been killed before it synced.
			return nil, moved, "", s.syncHouse(ctx, e)
		}
		if err := s.fsys.Rename(ctx, name, e.Staged); err != nil {
			return nil, moved, "", err
		}
		moved = true // and is looked at there
	}
	return nil, moved, "", s.syncHouse(ctx, e)
}

// reinstateAt makes a folder live again that somebody wrote into, unless the old one is changed as well.
func (s *Store) reinstateAt(ctx context.Context, run string, e recordedSwap, name, now string) (p *Pointer, moved bool, left string, err error) {
	if now != "" {
		switch err := s.checkOld(ctx, e, now); {
		case errors.Is(err, ErrConflict):
			if name == e.Folder {
				err = s.fsys.Rename(ctx, name, e.Staged)
				moved = true
			} else {
				err = nil
			}
			return nil, moved, "", errors.Join(err, s.syncHouse(ctx, e))
		case err != nil:
			return nil, false, "", err
		}
	}
	if name == e.Staged {
		if moved, err = s.rehouse(ctx, e); err != nil {
			return nil, moved, "", err
		}
	}
	return e.pointer(run, now, e.Folder), moved, "somebody wrote into it", nil
}

// ours is a run's new folder as it was sealed.
func (s *Store) ours(ctx context.Context, e recordedSwap) (Inputs, error) {
	_, manifest, err := stage.Open(ctx, s.fsys, path.Dir(e.Staged))
	return Inputs{ID: e.StagedID, Files: manifest.Files}, err
}

// register tells the registry of a run whose partitions are switched by path: their folders stay, what is in
// them is new, and some come or go.
func (s *Store) register(ctx context.Context, rec record) error {
	if rec.Registry == "" {
		return nil
	}
	if s.o.Registry == nil {
		return fmt.Errorf("%w: run %s can be finished by its name there only, %s", ErrRegistered, rec.Run, rec.Registry)
	}
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return err
	}
	var list []Pointer
	for _, e := range rec.Entries {
		to, now := s.switchedTo(e), at[e.Partition]
		if now.Folder != to && now.Folder != e.Old.Folder {
			return e.conflict(e.Old.moved(now))
		}
		if now.Folder != "" || to != "" {
			list = append(list, *e.pointer(rec.Run, now.Folder, to))
		}
	}
	return s.tell(ctx, list)
}

// tell changes the registry; where the answer got lost it does so again, which does no harm.
func (s *Store) tell(ctx context.Context, list []Pointer) error {
	if len(list) == 0 {
		return nil
	}
	return s.o.Registry.Point(ctx, list)
}

// switchedTo is what the registry has of a partition that is switched by path.
func (s *Store) switchedTo(e recordedSwap) string {
	if e.Staged == "" {
		return ""
	}
	return s.live(e.Partition)
}

// unregister takes back what register did, of the partitions that are switched back.
func (s *Store) unregister(ctx context.Context, rec record, stay record) error {
	if rec.Registry == "" || s.o.Registry == nil {
		return nil
	}
	at, err := s.look(ctx, rec.partitions())
	if err != nil {
		return err
	}
	var list []Pointer
	for _, e := range rec.Entries {
		now := at[e.Partition].Folder
		if stay.touches([]string{e.Partition}) || now != s.switchedTo(e) || now == "" && e.Old.Folder == "" {
			continue
		}
		list = append(list, *e.back(now))
	}
	return s.tell(ctx, list)
}

// placeable checks that folders can go where the run wants them: what is there already would be in its way.
func (s *Store) placeable(ctx context.Context, rec record) error {
	if rec.Registry == "" {
		return nil
	}
	if !rec.byLocation() {
		return s.usualPlaces(ctx, rec)
	}
	return s.each(len(rec.Entries), func(i int) error {
		e := rec.Entries[i]
		if e.Folder == "" {
			return nil
		}
		there, err := s.exists(ctx, e.Folder)
		if err != nil || !there {
			return err
		}
		if taken, err := s.exists(ctx, s.claimName(e.Partition, e.Version)); err != nil || taken {
			return errors.Join(err, lostRace(e.Partition, e.Version))
		}
		return fmt.Errorf("%s is there and belongs to no version of %s; move it away: %w", e.Folder, display(e.Partition), fs.ErrExist)
	})
}

// usualPlaces checks that a run that switches by path can: the registry has its partitions at their paths, and
// no other ones there.
func (s *Store) usualPlaces(ctx context.Context, rec record) error {
	all, err := s.o.Registry.Look(ctx, nil)
	if err != nil {
		return err
	}
	shared := map[string][]string{}
	for p, at := range all {
		shared[at.Folder] = append(shared[at.Folder], p)
	}
	for _, e := range rec.Entries {
		live := s.live(e.Partition)
		if e.Old.Folder != "" && e.Old.Folder != live {
			return fmt.Errorf("%w: the metastore has %s at %s, and not at %s, where it could be switched by %s; leave --publish out",
				ErrElsewhere, display(e.Partition), e.Old.Folder, live, e.Way)
		}
		for _, p := range shared[live] {
			if p != e.Partition {
				return fmt.Errorf("%w: the metastore has %s at %s as well, which can't be switched by %s; leave --publish out",
					ErrElsewhere, display(p), live, e.Way)
			}
		}
		if e.Old.Folder != "" {
			continue
		}
		there, err := s.exists(ctx, live)
		if err != nil {
			return err
		}
		if taken, err := s.exists(ctx, s.claimName(e.Partition, e.Version)); err != nil || taken {
			return errors.Join(err, lostRace(e.Partition, e.Version))
		}
		if there {
			return fmt.Errorf("%s is there, and the metastore does not have %s; add it there or move the folder away: %w",
				live, display(e.Partition), fs.ErrExist)
		}
	}
	return nil
}
