package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"

	"github.com/hupsert/hupsert/storage/stage"
)

// standing is where the folders of a switch are. Folders keep their ids when they are renamed, and only
// a switch moves any to the two places that readers don't see, so that it tells how far the switch has
// come, in either direction, whoever died at it.
type standing struct {
	live      string // id of the folder that readers see; "": there is none
	hidden    string // where the new folder is while readers don't see it: "" if they do, or somebody replaced it
	displaced string // where the folder is that readers saw before: "" if they do, or somebody replaced it
}

func (s *Store) standing(ctx context.Context, e recordedSwap) (at standing, err error) {
	if at.live, err = s.idOf(ctx, s.live(e.Partition)); err != nil {
		return at, err
	}
	for _, name := range []string{e.Staged, s.filed(e)} {
		if name == "" {
			continue
		}
		id, err := s.idOf(ctx, name)
		switch {
		case err != nil:
			return at, err
		case id == "":
		case id == e.StagedID:
			at.hidden = name
		default:
			at.displaced = name
		}
	}
	return at, nil
}

// idOf is the id of a name, "" where nothing has it.
func (s *Store) idOf(ctx context.Context, name string) (string, error) {
	info, err := s.fsys.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return info.ID, err
}

// filed is where the history has the old folder; "" where there was none.
func (s *Store) filed(e recordedSwap) string {
	if e.Old.Absent {
		return ""
	}
	return s.history(e.Partition, e.OldRun)
}

// switched reports whether the partition's new state has been live, whatever became of it since.
func (e recordedSwap) switched(at standing) bool {
	if e.Staged == "" {
		return at.displaced != ""
	}
	return at.hidden != e.Staged
}

// unchanged reports whether nothing has happened to the partition, as far as ids tell.
func (e recordedSwap) unchanged(at standing) bool {
	return at.displaced == "" && at.live != "" && at.live == e.Old.ID
}

func (e recordedSwap) conflict(diff string) error {
	return fmt.Errorf("%w: %s: %s", ErrConflict, display(e.Partition), diff)
}

// switchOne makes one partition live. It is idempotent. An error that matches ErrConflict says that
// somebody else has changed the partition since it was read.
func (s *Store) switchOne(ctx context.Context, e recordedSwap) error {
	if e.Old.Absent && e.Staged == "" {
		return nil
	}
	at, err := s.standing(ctx, e)
	if err != nil {
		return err
	}
	switch {
	case e.switched(at):
		return s.complete(ctx, e, at)
	case e.Old.Absent:
		return s.appear(ctx, e)
	case e.Staged == "":
		return s.giveWay(ctx, e, at)
	case e.Way == Exchange && e.unchanged(at):
		diff, err := s.exchange(ctx, s.live(e.Partition), e.Staged, e.Old)
		if errors.Is(err, errors.ErrUnsupported) {
			break
		}
		if err == nil && diff != "" {
			err = e.conflict(diff + "; put back as it was")
		}
		if err != nil {
			return err
		}
		return s.file(ctx, e)
	}
	// Two renames. Between them the path is absent; the run record tells whoever comes next to go on.
	if err := s.giveWay(ctx, e, at); err != nil {
		return err
	}
	return s.move(ctx, e, e.Staged, s.live(e.Partition))
}

// complete does what may be left to do about a partition that is switched: who switched it may have
// been killed before it looked at the old folder, synced, or filed it.
func (s *Store) complete(ctx context.Context, e recordedSwap, at standing) error {
	unfiled := at.displaced != "" && at.displaced == e.Staged
	var err error
	if unfiled || e.Staged == "" {
		err = s.checkOld(ctx, e, at.displaced)
	}
	if err == nil {
		// Before the old folder is filed: else a crash could file the folder that is live again.
		err = s.syncPlaces(ctx, e)
	}
	if err == nil && unfiled {
		err = s.file(ctx, e)
	}
	return err
}

// checkOld compares a folder with the old one as it was merged.
func (s *Store) checkOld(ctx context.Context, e recordedSwap, where string) error {
	now, err := s.list(ctx, where)
	if err != nil {
		return err
	}
	if diff := e.Old.differs(now); diff != "" {
		return e.conflict(diff)
	}
	return nil
}

// appear publishes a partition that did not exist.
func (s *Store) appear(ctx context.Context, e recordedSwap) error {
	live := s.live(e.Partition)
	if err := s.mkdirs(ctx, path.Dir(live)); err != nil {
		return err
	}
	return s.move(ctx, e, e.Staged, live)
}

// giveWay moves the live folder into the history.
func (s *Store) giveWay(ctx context.Context, e recordedSwap, at standing) error {
	live, filed := s.live(e.Partition), s.filed(e)
	switch {
	case e.unchanged(at):
		if err := s.checkOld(ctx, e, live); err != nil {
			return err
		}
		if err := s.mkdirs(ctx, path.Dir(filed)); err != nil {
			return err
		}
		if err := s.move(ctx, e, live, filed); err != nil {
			return err
		}
	case at.displaced != "" && at.live == "": // by an earlier try
		if err := s.syncBoth(ctx, filed, live); err != nil {
			return err
		}
	default:
		return e.conflict(e.Old.differs(Inputs{Absent: at.live == "", ID: at.live}))
	}
	// Once more: somebody who knows nothing of us may have been at it between look and move.
	return s.checkOld(ctx, e, filed)
}

// exchange swaps the live folder with another one, durably: readers of the path see one or the other.
// Then what came out is compared with what was to come out, since a writer that knows nothing of us
// may have been at it until then; where it differs they are swapped back.
func (s *Store) exchange(ctx context.Context, live, other string, want Inputs) (diff string, err error) {
	err = s.fsys.Exchange(ctx, live, other)
	if errors.Is(err, fs.ErrNotExist) {
		return want.differs(Inputs{Absent: true}), nil // the other one is ours and there
	}
	if err != nil {
		return "", err
	}
	came, err := s.list(ctx, other)
	if err != nil {
		return "", err
	}
	if diff = want.differs(came); diff != "" {
		if err := s.fsys.Exchange(ctx, live, other); err != nil {
			return diff, err
		}
	}
	return diff, s.syncBoth(ctx, live, other)
}

// file moves the old folder, which an exchange brought out, into the history.
func (s *Store) file(ctx context.Context, e recordedSwap) error {
	to := s.filed(e)
	if err := s.mkdirs(ctx, path.Dir(to)); err != nil {
		return err
	}
	if err := s.fsys.Rename(ctx, e.Staged, to); err != nil {
		return err
	}
	return s.syncBoth(ctx, to, e.Staged)
}

// move renames a folder from or to the live place, durably. That the one is gone or the other taken is
// somebody else's doing.
func (s *Store) move(ctx context.Context, e recordedSwap, from, to string) error {
	live := s.live(e.Partition)
	switch err := s.fsys.Rename(ctx, from, to); {
	case from == live && errors.Is(err, fs.ErrNotExist), to == live && errors.Is(err, fs.ErrExist):
		return e.conflict(cameOrWent)
	case err != nil:
		return err
	}
	return s.syncBoth(ctx, to, from)
}

// syncPlaces makes durable what renames between the places of a switch did.
func (s *Store) syncPlaces(ctx context.Context, e recordedSwap) error {
	for _, name := range []string{s.live(e.Partition), e.Staged, s.filed(e)} {
		if name == "" {
			continue
		}
		if err := s.syncIfThere(ctx, path.Dir(name)); err != nil {
			return err
		}
	}
	return nil
}

// switchBack is switchOne in the other direction: the old folder is live again and the new one where
// it was staged. A partition that somebody has changed after it was switched is left to them; then left
// says what they changed, and the old folder is in the history.
func (s *Store) switchBack(ctx context.Context, e recordedSwap) (left string, err error) {
	if e.Old.Absent && e.Staged == "" {
		return "", nil
	}
	if e.Staged != "" {
		if left, err = s.recall(ctx, e); err != nil {
			return left, err
		}
	}
	at, err := s.standing(ctx, e)
	if err != nil {
		return left, err
	}
	if left == "" && at.displaced != "" {
		err = s.move(ctx, e, at.displaced, s.live(e.Partition))
		if errors.Is(err, ErrConflict) {
			left, err = "a folder came to be in its place", nil
		}
	}
	if err == nil {
		err = s.syncPlaces(ctx, e)
	}
	if err == nil && left != "" && at.displaced != "" && at.displaced == e.Staged {
		err = s.file(ctx, e)
	}
	return left, err
}

// recall moves the new folder back to where it was staged, if it is or was live, unless somebody has
// changed it or taken its place. Where exchanges are to be had that makes the old one live.
func (s *Store) recall(ctx context.Context, e recordedSwap) (left string, err error) {
	_, manifest, err := stage.Open(ctx, s.fsys, path.Dir(e.Staged))
	if err != nil {
		return "", err
	}
	ours := Inputs{ID: e.StagedID, Files: manifest.Files}
	at, err := s.reinstate(ctx, e, ours)
	if err != nil {
		return "", err
	}
	switch at.hidden {
	case "":
	case e.Staged:
		return "", nil
	default:
		return "", s.takeOut(ctx, e)
	}
	live := s.live(e.Partition)
	now, err := s.list(ctx, live)
	if err != nil {
		return "", err
	}
	if left = ours.differs(now); left != "" {
		return left, nil
	}
	if at.displaced == "" && !e.Old.Absent {
		return "the version before it is gone from the history", nil
	}
	if e.Way == Exchange && at.displaced != "" {
		left, err = s.exchange(ctx, live, at.displaced, ours)
		if err == nil && left == "" && at.displaced != e.Staged {
			err = s.takeOut(ctx, e)
		}
		if !errors.Is(err, errors.ErrUnsupported) {
			return left, err
		}
	}
	if at.displaced == e.Staged && at.displaced != "" { // out of its way
		if err := s.file(ctx, e); err != nil {
			return "", err
		}
	}
	return s.withdraw(ctx, e, ours)
}

// takeOut moves the new folder from the old one's place in the history, where an exchange put it, to
// where it was staged.
func (s *Store) takeOut(ctx context.Context, e recordedSwap) error {
	if err := s.syncPlaces(ctx, e); err != nil {
		return err
	}
	if err := s.fsys.Rename(ctx, s.filed(e), e.Staged); err != nil {
		return err
	}
	return s.syncBoth(ctx, e.Staged, s.filed(e))
}

// withdraw is recall by a rename: the path is absent until the old folder is moved there.
func (s *Store) withdraw(ctx context.Context, e recordedSwap, ours Inputs) (left string, err error) {
	live := s.live(e.Partition)
	err = s.move(ctx, e, live, e.Staged)
	if errors.Is(err, ErrConflict) {
		return cameOrWent, nil
	}
	if err != nil {
		return "", err
	}
	came, err := s.list(ctx, e.Staged)
	if err != nil {
		return "", err
	}
	if left = ours.differs(came); left != "" {
		err = s.move(ctx, e, e.Staged, live)
	}
	return left, err
}

// reinstate makes the new folder live again where somebody wrote into it in the moment in which it was
// recalled, and who recalled it was killed before it saw that.
func (s *Store) reinstate(ctx context.Context, e recordedSwap, ours Inputs) (standing, error) {
	at, err := s.standing(ctx, e)
	if err != nil || at.hidden == "" {
		return at, err
	}
	now, err := s.list(ctx, at.hidden)
	if err != nil || ours.differs(now) == "" {
		return at, err
	}
	live := s.live(e.Partition)
	switch {
	case at.live == "" && at.hidden == e.Staged:
		err = s.fsys.Rename(ctx, at.hidden, live)
	case e.unchanged(at):
		if err = s.checkOld(ctx, e, live); err == nil {
			err = s.fsys.Exchange(ctx, live, at.hidden)
		}
		if errors.Is(err, ErrConflict) {
			return at, nil // the old one is changed as well, and is live
		}
	}
	if err == nil {
		err = s.syncPlaces(ctx, e)
	}
	if err != nil {
		return at, err
	}
	return s.standing(ctx, e)
}
