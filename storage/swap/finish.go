package swap

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage/stage"
)

// finish makes all partitions of a committed run live and files its record as done. It is idempotent;
// the run's lock is held. Where somebody else has changed a partition since it was read, the whole run
// is taken back, and conflict says why. After err the run is neither finished nor undone.
func (s *Store) finish(ctx context.Context, rec record) (conflict, err error) {
	how, err := s.switchAll(ctx, rec)
	switch {
	case errors.Is(err, errEnded):
		s.o.Logger.Warn("another process ended the run", "run", rec.Run, "error", err)
		return s.endedElsewhere(ctx, rec)
	case errors.Is(err, ErrConflict):
		return s.turn(ctx, rec, err)
	case err != nil:
		return nil, unfinished(rec.Run, how, err)
	}
	// Every switch before the record is filed: as long as it lies in runs, the run is looked at again.
	if err := s.moveRecord(ctx, rec.Run, committed, done); err != nil {
		return nil, unfinished(rec.Run, "all of it is live", err)
	}
	s.tidy(ctx, rec.Run)
	return nil, nil
}

// switchAll makes all partitions of a run live; with an error it says how far that went.
func (s *Store) switchAll(ctx context.Context, rec record) (how string, err error) {
	if rec.byLocation() {
		return "the metastore is asked again when it goes on", s.relocate(ctx, rec)
	}
	all := make([]error, len(rec.Entries))
	err = s.each(len(all), func(i int) error {
		all[i] = s.switchOne(ctx, rec.Entries[i])
		if errors.Is(all[i], ErrConflict) {
			return all[i]
		}
		return nil // the others go on: the run is committed, and the fewer are left, the better
	})
	if err != nil {
		return "", err
	}
	var live, not []string
	var causes []error
	for i, e := range rec.Entries {
		if all[i] != nil {
			not, causes = append(not, e.Partition), append(causes, all[i])
		} else {
			live = append(live, e.Partition)
		}
	}
	if err := errors.Join(causes...); err != nil {
		return fmt.Sprintf("live: %s; not yet: %s", names(live), names(not)), err
	}
	return "all of it is live, and the metastore is to be told", s.register(ctx, rec)
}

// endedElsewhere says what became of a run that another process has ended.
func (s *Store) endedElsewhere(ctx context.Context, rec record) (conflict, err error) {
	switch at, err := s.placeOf(ctx, rec.Run); {
	case err != nil:
		return nil, unfinished(rec.Run, "another process goes on with it", err)
	case at == committed: // others have gone on from its versions already
		return nil, s.moveRecord(ctx, rec.Run, committed, done)
	case at == done:
		return nil, nil
	case at == nowhere:
		if err := s.clearHouses(ctx, rec); err != nil {
			return nil, err
		}
	}
	return fmt.Errorf("%w: another process took run %s for dead, and took it back", ErrConflict, rec.Run), nil
}

// unfinished is the error of a run that neither stays as it is nor goes away.
func unfinished(run, how string, err error) error {
	return fmt.Errorf("run %s is committed but %w (%s); once the cause is gone, hupsert recover or the next command on the table finishes it: %w",
		run, ErrUnfinished, how, err)
}

// names lists partitions for a message.
func names(partitions []string) string {
	const most = 10
	switch n := len(partitions); {
	case n == 0:
		return "none"
	case n == 1 && partitions[0] == "":
		return "the table"
	case n > most:
		return fmt.Sprintf("%s and %d more", strings.Join(partitions[:most], ", "), n-most)
	}
	return strings.Join(partitions, ", ")
}

// tidy clears a run's staging when all that counts is done: what goes wrong now is no failure of the
// run, and the next recover clears it.
func (s *Store) tidy(ctx context.Context, run string) {
	if err := s.clearStaging(ctx, run); err != nil {
		s.o.Logger.Warn("staging is not cleared; recover does it", "run", run, "error", err)
	}
}

// turn takes a committed run back. From the moment its record has moved whoever goes on goes backwards.
func (s *Store) turn(ctx context.Context, rec record, why error) (conflict, err error) {
	err = s.mkdirs(ctx, path.Join(s.state, string(takenBack)))
	if err == nil {
		err = s.moveRecord(ctx, rec.Run, committed, takenBack)
	}
	if err != nil {
		return nil, unfinished(rec.Run, "it must be taken back", errors.Join(why, err))
	}
	left, err := s.takeBack(ctx, rec)
	if err != nil {
		return nil, errors.Join(why, err)
	}
	return fmt.Errorf("%w; run %s is taken back%s", why, rec.Run, left), nil
}

// takeBack undoes a run whose record says so: its partitions are switched back, then its claims go,
// then its record, so that it is idempotent up to the end; the run's lock is held. Partitions that
// somebody has changed after they were switched are left to them, as versions of this run; left says
// which.
func (s *Store) takeBack(ctx context.Context, rec record) (left string, err error) {
	stay, left, err := s.switchAllBack(ctx, rec)
	if errors.Is(err, errEnded) {
		return "", nil
	}
	if err != nil {
		return "", err
	}
	// Claims when every folder is where it was: until then the versions they stand for may be live.
	err = s.each(len(rec.Entries), func(i int) error {
		if e := rec.Entries[i]; !stay.touches([]string{e.Partition}) {
			return s.dropVersion(ctx, e.Partition, rec.Run, e.Version)
		}
		return nil
	})
	if err != nil {
		return "", err
	}
	if len(stay.Entries) > 0 {
		if err := s.reduceRecord(ctx, stay); err != nil {
			return "", err
		}
	}
	if err := s.dropRecord(ctx, rec.Run); err != nil {
		return "", err
	}
	if len(stay.Entries) > 0 || !s.stagedBefore(ctx, rec.Run) {
		s.tidy(ctx, rec.Run)
	}
	return left, nil
}

// switchAllBack makes the old partitions live again. Those that stay are left to somebody else, and left
// says why.
func (s *Store) switchAllBack(ctx context.Context, rec record) (stay record, left string, err error) {
	stay = rec
	stay.Entries = nil
	changes, not, err := s.goBack(ctx, rec)
	for _, e := range slices.Backward(rec.Entries) {
		if changed := changes[e.Partition]; changed != "" {
			stay.Entries = append(stay.Entries, e)
			left += fmt.Sprintf("; %s was changed by somebody else after the run had switched it (%s) and stays as it is; what was there before is version %s of its history",
				display(e.Partition), changed, e.OldRun)
		}
	}
	if err == nil && !rec.byLocation() {
		not, err = rec.partitions(), s.unregister(ctx, rec, stay)
	}
	if err != nil && !errors.Is(err, errEnded) {
		err = fmt.Errorf("run %s is being taken back but %w (not yet: %s); once the cause is gone, hupsert recover or the next command on the table goes on with it: %w",
			rec.Run, ErrUnfinished, names(not), err)
	}
	return stay, left, err
}

// goBack is switchAllBack: by partition what somebody changed, and what is not switched back yet.
func (s *Store) goBack(ctx context.Context, rec record) (changes map[string]string, not []string, err error) {
	if rec.byLocation() {
		changes, err = s.recallAll(ctx, rec)
		return changes, rec.partitions(), err
	}
	changes = map[string]string{}
	var causes []error
	for _, e := range slices.Backward(rec.Entries) {
		changed, err := s.switchBack(ctx, e)
		if err != nil {
			not, causes = append(not, e.Partition), append(causes, err)
		} else if changed != "" {
			changes[e.Partition] = changed
		}
	}
	return changes, not, errors.Join(causes...)
}

// stagedBefore reports whether a run that was taken back is staged again. Where that can't be told its
// staging is left for recover.
func (s *Store) stagedBefore(ctx context.Context, run string) bool {
	waits, err := s.waits(ctx, run)
	return waits || err != nil
}

// reduceRecord files a run that was taken back as done for the partitions that stay.
func (s *Store) reduceRecord(ctx context.Context, stay record) error {
	prepared := path.Join(s.staging(stay.Run), "stay.json")
	if err := s.removeAll(ctx, prepared); err != nil { // of an earlier try
		return err
	}
	stay.Sum = stay.sum()
	if err := stage.WriteJSON(ctx, s.fsys, prepared, stay); err != nil {
		return err
	}
	filed := s.recordName(done, stay.Run)
	if err := s.fsys.Replace(ctx, prepared, filed); err != nil {
		return err
	}
	return s.syncBoth(ctx, filed, prepared)
}
