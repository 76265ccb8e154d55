package swap

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// Staged is a run that stopped before it published: Park left it, and PublishStaged or Discard ends it.
type Staged struct {
	Run        string
	Command    string
	Time       time.Time
	Partitions []StagedPartition
	Beside     Beside
	Detail     json.RawMessage // what the caller of Park wants to know again
}

// Beside is what a staged run rests on beside the partitions that it changes: it is not published where that is not so any more.
type Beside struct {
	Inputs map[string]Inputs `json:"inputs,omitempty"` // of partitions that it has read
	New    bool              `json:"new,omitempty"`    // it makes partitions, under [Run.LeaseNew]
}

// StagedPartition is one partition of a staged run.
type StagedPartition struct {
	Partition string
	Folder    string // with the files that would go live; "": the partition would go away
	Rows      int64
	Files     int
	Bytes     int64
	Inputs    Inputs // the partition from which it was made
}

// stagedRecord is staged.json in the staging of a run. As long as it lies there and the run has no run
// record, the run waits: nobody but PublishStaged and Discard changes or removes what it staged.
type stagedRecord struct {
	Run        string            `json:"run"`
	Command    string            `json:"command"`
	Time       time.Time         `json:"time"`
	Partitions []stagedPartition `json:"partitions"`
	Beside     Beside            `json:"beside,omitzero"`
	Detail     json.RawMessage   `json:"detail,omitempty"`
}

type stagedPartition struct {
	Partition string `json:"partition"`
	Dir       string `json:"dir,omitempty"` // below the run's staging
	Rows      int64  `json:"rows"`
	Files     int    `json:"files"`
	Bytes     int64  `json:"bytes"`
	Inputs    Inputs `json:"inputs"`
}

const stagedName = "staged.json"

func (s *Store) stagedRecordName(run string) string { return path.Join(s.staging(run), stagedName) }

// Park ends a run before it publishes: what it staged stays, sealed, until PublishStaged or Discard. It
// is durable when this returns; after an error Abort removes it. The run holds nothing after Abort or
// Close.
func (r *Run) Park(ctx context.Context, list []Publication, beside Beside, detail json.RawMessage) (Staged, error) {
	s := r.store
	rec := stagedRecord{Run: r.id, Command: r.command, Time: s.o.Clock().UTC(), Beside: beside, Detail: detail}
	for _, p := range list {
		e := stagedPartition{Partition: p.Partition, Rows: p.Manifest.Rows, Files: len(p.Manifest.Files), Bytes: p.Manifest.Bytes, Inputs: p.Inputs}
		if p.Dir != nil {
			e.Dir = path.Base(path.Dir(p.Dir.Data()))
		}
		rec.Partitions = append(rec.Partitions, e)
	}
	if err := ctx.Err(); err != nil {
		return Staged{}, err
	}
	ctx = context.WithoutCancel(ctx)
	dir, name := s.staging(r.id), s.stagedRecordName(r.id)
	// The folders before the record that says that they are there and whole.
	err := s.fsys.SyncDir(ctx, dir)
	if err == nil {
		err = stage.WriteJSON(ctx, s.fsys, name+".new", rec)
	}
	if err != nil {
		return Staged{}, err
	}
	if err = s.fsys.Rename(ctx, name+".new", name); err == nil {
		err = s.syncBoth(ctx, name, dir)
	}
	if err != nil {
		// It may be there all the same: it must not vouch for what Abort removes.
		return Staged{}, errors.Join(err, s.dropStaged(ctx, r.id))
	}
	r.parked = true
	return s.described(rec), nil
}

// described is a record as callers see it.
func (s *Store) described(rec stagedRecord) Staged {
	out := Staged{Run: rec.Run, Command: rec.Command, Time: rec.Time, Beside: rec.Beside, Detail: rec.Detail}
	for _, e := range rec.Partitions {
		p := StagedPartition{Partition: e.Partition, Rows: e.Rows, Files: e.Files, Bytes: e.Bytes, Inputs: e.Inputs}
		if e.Dir != "" {
			p.Folder = stage.DataOf(path.Join(s.staging(rec.Run), e.Dir))
		}
		out.Partitions = append(out.Partitions, p)
	}
	return out
}

func (st Staged) partitions() []string {
	out := make([]string, len(st.Partitions))
	for i, p := range st.Partitions {
		out[i] = p.Partition
	}
	return out
}

// inputs are the partitions that the run was made from, those that it does not change too.
func (st Staged) inputs() map[string]Inputs {
	out := maps.Clone(st.Beside.Inputs)
	if out == nil {
		out = map[string]Inputs{}
	}
	for _, p := range st.Partitions {
		out[p.Partition] = p.Inputs
	}
	return out
}

// StagedRuns lists the runs that wait for PublishStaged or Discard, oldest name first.
func (s *Store) StagedRuns(ctx context.Context) ([]Staged, error) {
	list, err := s.listed(ctx, stagingDir)
	if err != nil {
		return nil, err
	}
	var out []Staged
	for _, i := range list {
		st, err := s.StagedRun(ctx, i.Name)
		if errors.Is(err, ErrNoVersion) || errors.Is(err, ErrPublished) {
			continue // a run that goes on, or is gone
		}
		if errors.Is(err, stage.ErrUnreadable) {
			s.o.Logger.Warn("a staged run can't be read; discard removes it", "run", i.Name, "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		out = append(out, st)
	}
	return out, nil
}

// StagedRun describes a run that waits for PublishStaged or Discard: ErrNoVersion where there is none,
// ErrPublished where it is published.
func (s *Store) StagedRun(ctx context.Context, run string) (Staged, error) {
	var rec stagedRecord
	err := stage.ReadJSON(ctx, s.fsys, s.stagedRecordName(run), &rec)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return Staged{Run: run}, err
	}
	at, perr := s.placeOf(ctx, run)
	switch {
	case perr != nil:
		return Staged{}, perr
	case at != nowhere:
		return Staged{}, fmt.Errorf("%w: %s", ErrPublished, run)
	case err != nil:
		return Staged{}, fmt.Errorf("%w: no run %s is staged", ErrNoVersion, run)
	}
	return s.described(rec), nil
}

// StagedChanges says which partitions are not any more those that a staged run was made from, and how
// they differ. Where there are any, PublishStaged refuses the run.
func (s *Store) StagedChanges(ctx context.Context, st Staged) (map[string]string, error) {
	out, was := map[string]string{}, st.inputs()
	now, err := s.InputsOf(ctx, slices.Collect(maps.Keys(was)))
	if err != nil {
		return nil, err
	}
	for p, then := range was {
		if diff := s.changed(then, now[p]); diff != "" {
			out[p] = diff
		}
	}
	return out, nil
}

// PublishStaged publishes a run that Park left, all of its partitions or none, by the commit of Publish.
// It matches ErrConflict where a partition is not any more the one that was merged, ErrTampered where
// the staged files are not those that were sealed, ErrPublished where it was published before, and
// ErrNoVersion where no such run is staged. After an error before the commit the run stays staged; so it
// does after a conflict for which it was taken back. Before is called when nothing else is known to
// stop the commit; it may change what a registry says of the table, as in [Store.Redeclare].
func (s *Store) PublishStaged(ctx context.Context, run string, before func(partitions []string) (map[string]Restamp, error)) (_ []Published, err error) {
	// A publish of it that was killed may have committed.
	if _, err := s.Settle(ctx); err != nil {
		return nil, err
	}
	r, st, err := s.resume(ctx, run, false)
	if err != nil {
		return nil, err
	}
	defer func() { err = r.ended(ctx, err) }()
	held := slices.Sorted(maps.Keys(st.inputs()))
	if st.Beside.New {
		if err := r.LeaseNew(ctx); err != nil {
			return nil, err
		}
	}
	if err := r.Lease(ctx, held); err != nil {
		return nil, err
	}
	if _, err := s.Recover(ctx, held); err != nil {
		return nil, err
	}
	list, err := s.publications(ctx, st)
	if err != nil {
		return nil, err
	}
	if before != nil {
		if err := s.Redeclare(ctx, list, before); err != nil {
			return nil, err
		}
	}
	return r.Publish(ctx, list)
}

// Discard removes a run that Park left. It is gone, or as it was, whenever that is interrupted.
func (s *Store) Discard(ctx context.Context, run string) (Staged, error) {
	// A publish of it that was killed may have committed.
	if _, err := s.Settle(ctx); err != nil {
		return Staged{}, err
	}
	r, st, err := s.resume(ctx, run, true)
	if err != nil {
		return Staged{}, err
	}
	ctx = context.WithoutCancel(ctx)
	// The record first, and durably: from here on it is the staging of a run that is gone, and recover
	// goes on with it.
	if err = s.dropStaged(ctx, run); err == nil {
		err = s.clearStaging(ctx, run)
	}
	return st, errors.Join(err, r.Close())
}

// resume goes on with a staged run in this process: it takes the run's lock, and removes what an earlier
// try to publish it left. With anyhow its record may be unreadable; then that is left to recover.
func (s *Store) resume(ctx context.Context, run string, anyhow bool) (*Run, Staged, error) {
	if _, err := s.StagedRun(ctx, run); err != nil && !(anyhow && errors.Is(err, stage.ErrUnreadable)) {
		return nil, Staged{}, err // and nothing is written
	}
	name := s.runLock(run)
	if err := s.mkdirs(ctx, path.Dir(name)); err != nil {
		return nil, Staged{}, err
	}
	u, err := s.await(ctx, name, s.o.LockWait, func() error { return s.deserted(ctx, run) })
	if errors.Is(err, storage.ErrLocked) {
		return nil, Staged{}, fmt.Errorf("%w: run %s is being published or discarded by another process", ErrLocked, run)
	}
	if err != nil {
		return nil, Staged{}, err
	}
	r := &Run{store: s, id: run, lock: u, resumed: true, ignoreSetBack: s.o.IgnoreSetBack}
	if r.pulse, err = s.carry(ctx, run); err != nil {
		return nil, Staged{}, errors.Join(err, r.Close())
	}
	st, err := s.StagedRun(ctx, run) // under the lock: somebody may have ended it meanwhile
	if anyhow && errors.Is(err, stage.ErrUnreadable) {
		return r, st, nil
	}
	if err == nil {
		r.command = st.Command
		err = r.clean(ctx, st)
	}
	if err != nil {
		return nil, Staged{}, errors.Join(err, r.Close())
	}
	return r, st, nil
}

// clean removes what an earlier try to publish the run left, and makes durable that there is no record of
// it: a run that was taken back must not have two.
func (r *Run) clean(ctx context.Context, st Staged) error {
	s := r.store
	if err := s.syncRecords(ctx); err != nil {
		return err
	}
	partitions := st.partitions()
	if err := s.each(len(partitions), func(i int) error { return s.dropVoid(ctx, partitions[i], r.id, true) }); err != nil {
		return err
	}
	if err := s.sweep(ctx, r.id); err != nil {
		return err
	}
	return s.identify(ctx, r.id, len(st.Partitions) > 0 && st.Partitions[0].Partition != "")
}

// publications are what a staged run publishes, if the files are those that were sealed.
func (s *Store) publications(ctx context.Context, st Staged) ([]Publication, error) {
	changes, err := s.StagedChanges(ctx, st)
	if err != nil {
		return nil, err
	}
	if len(changes) > 0 {
		p := slices.Min(slices.Collect(maps.Keys(changes)))
		return nil, fmt.Errorf("%w: %s: %s", ErrConflict, display(p), changes[p])
	}
	var list []Publication
	for _, e := range st.Partitions {
		p := Publication{Partition: e.Partition, Inputs: e.Inputs}
		if e.Folder != "" {
			if p.Dir, p.Manifest, err = s.sealed(ctx, e); err != nil {
				return nil, err
			}
			// A version is as old as its publication, not as its merge: vacuum counts from there.
			p.Manifest.Time = s.o.Clock().UTC()
		}
		list = append(list, p)
	}
	return list, nil
}

// sealed opens a staged folder and compares it with its manifest.
func (s *Store) sealed(ctx context.Context, e StagedPartition) (*stage.Dir, stage.Manifest, error) {
	tampered := func(diff string) error { return fmt.Errorf("%w: %s: %s", ErrTampered, display(e.Partition), diff) }
	d, m, err := stage.Open(ctx, s.fsys, path.Dir(e.Folder))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, m, tampered("the manifest is gone")
	}
	if err != nil {
		return nil, m, err
	}
	infos, err := s.fsys.List(ctx, e.Folder)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, m, tampered("the folder is gone")
	}
	if err != nil {
		return nil, m, err
	}
	for _, i := range infos {
		if i.IsDir() {
			return nil, m, tampered(i.Name + " is new")
		}
	}
	files, err := stage.List(ctx, s.fsys, e.Folder)
	if err != nil {
		return nil, m, err
	}
	if diff := differingFile(m.Files, files); diff != "" {
		return nil, m, tampered(diff)
	}
	return d, m, nil
}

// waits reports whether a run is staged, as far as its staging says.
func (s *Store) waits(ctx context.Context, run string) (bool, error) {
	return s.exists(ctx, s.stagedRecordName(run))
}

// dropStaged removes, durably, what makes a run's staging last.
func (s *Store) dropStaged(ctx context.Context, run string) error {
	if err := s.fsys.Remove(ctx, s.stagedRecordName(run)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return s.syncIfThere(ctx, s.staging(run))
}

// sweep removes what trying to publish a staged run left in its staging: prepared claims and records,
// scratch folders.
func (s *Store) sweep(ctx context.Context, run string) error {
	list, err := s.listed(ctx, path.Join(stagingDir, run))
	if err != nil {
		return err
	}
	for _, i := range list {
		if i.Name == stagedName || isStagedDir(i.Name) {
			continue
		}
		if err := s.removeAll(ctx, path.Join(s.staging(run), i.Name)); err != nil {
			return err
		}
	}
	return nil
}

// isStagedDir tells the folders that Stage makes.
func isStagedDir(name string) bool {
	number, ok := strings.CutPrefix(name, "p")
	return ok && number != "" && strings.Trim(number, "0123456789") == ""
}
