package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// Run is one run that changes partitions: it leases them, stages their new content, and publishes
// all of it or nothing. End it with Publish or Park and then Close, or with Abort.
//
// Stage may be called from several goroutines; all else is for one at a time.
type Run struct {
	store    *Store
	id       string
	command  string
	lock     storage.Unlocker
	pulse    *pulse
	leases   []*lease
	holds    []func() error        // locks of the registry
	seen     map[string]Registered // where leased partitions were
	claimed  []string              // partitions of which it may hold a claim
	parked   bool                  // what it staged waits for PublishStaged or Discard
	resumed  bool                  // it publishes what was staged before, which stays if that fails
	folders  atomic.Int64
	warnings map[string][]string // by partition, for when it is published

	ignoreSetBack bool // as Options has it
}

// runLock is the file whose lock says that a run lives. It lies outside the run's staging, so that it is
// held before there is anything that another run's recover could take for left over.
func (s *Store) runLock(run string) string {
	return path.Join(s.state, locksDir, runLocks, run+lockEnding)
}

// runLocks is the folder of the runs' locks. No partition is named like it: theirs have an equals sign.
const runLocks = "runs"

// lockEnding ends the name of a lock.
const lockEnding = ".lock"

// Begin starts a run. The id must be new, else it is ErrNameTaken; file names made from it are then names that no run had.
func (s *Store) Begin(ctx context.Context, id, command string, partitioned bool) (*Run, error) {
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	if err := s.makeState(ctx); err != nil {
		return nil, err
	}
	// The lock first: what is made from here on belongs to a run that lives.
	// Somebody who recovers may try it for a moment, to see whether the run lives.
	u, err := s.await(ctx, s.runLock(id), time.Second, func() error {
		// One that had the lock until now may have ended well.
		at, err := s.placeOf(ctx, id)
		if err == nil && at != nowhere {
			err = ErrNameTaken
		}
		return err
	})
	if errors.Is(err, storage.ErrLocked) {
		err = fmt.Errorf("%w, and goes on: %w", ErrNameTaken, err)
	}
	if err != nil {
		return nil, fmt.Errorf("begin run %s: %w", id, err)
	}
	r := &Run{store: s, id: id, command: command, lock: u, ignoreSetBack: s.o.IgnoreSetBack}
	if r.pulse, err = s.carry(ctx, id); err == nil {
		if err = s.fsys.Mkdir(ctx, s.staging(id), 0o755); errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w, and is staged: %w", ErrNameTaken, err)
		}
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("begin run %s: %w", id, err), r.Close())
	}
	if err := s.identify(ctx, id, partitioned); err != nil {
		return nil, errors.Join(err, r.Abort(ctx)) // the caller has no run to abort
	}
	return r, nil
}

func (s *Store) staging(run string) string { return path.Join(s.state, stagingDir, run) }

// Lease takes the partitions, so that no other run works on them meanwhile. It saves work that would
// lose the race; what makes a publish right is the claim. A registry is asked to hold them too.
func (r *Run) Lease(ctx context.Context, partitions []string) error {
	taken, err := r.store.leases(ctx, partitions, r.id)
	r.leases = append(r.leases, taken...)
	if err == nil {
		err = r.hold(ctx, partitions)
	}
	if err != nil || r.store.o.Registry == nil {
		return err
	}
	// For Stage, which takes them as examples: one question for all.
	seen, err := r.store.look(ctx, partitions)
	if r.seen == nil {
		r.seen = map[string]Registered{}
	}
	for _, p := range partitions {
		r.seen[p] = seen[p]
	}
	return err
}

// LeaseNew takes what stands for all partitions of a partitioned table that are not there yet: who makes one, and rests on what is not in
// others, waits so for whoever makes one that it can't see. It comes before Lease.
func (r *Run) LeaseNew(ctx context.Context) error {
	taken, err := r.store.leases(ctx, []string{""}, r.id)
	r.leases = append(r.leases, taken...)
	return err
}

// example is the folder whose mode, owner and access control list a partition's new folder gets, if it is there.
func (r *Run) example(ctx context.Context, partition string) (string, error) {
	at, ok := r.seen[partition]
	if !ok {
		seen, err := r.store.look(ctx, []string{partition})
		if err != nil {
			return "", err
		}
		at = seen[partition]
	}
	return at.Folder, nil
}

// folder names a new folder of the run's staging.
func (r *Run) folder(kind string) string {
	return path.Join(r.store.staging(r.id), fmt.Sprintf("%s%05d", kind, r.folders.Add(1)))
}

// Stage makes the folder in which a partition's new content is built. Mode and access control list, and
// where permitted owner and group, are the live folder's; for a new partition those of the folder it
// will lie in. What a storage of blocks makes of its files is as with the live ones.
func (r *Run) Stage(ctx context.Context, partition string) (*stage.Dir, error) {
	s := r.store
	live, err := r.example(ctx, partition)
	if err != nil {
		return nil, err
	}
	to, err := s.pattern(ctx, partition, live)
	if err != nil {
		return nil, err
	}
	d, err := stage.New(ctx, s.fsys, r.folder("p"), to.dir, to.file)
	if err != nil {
		return nil, err
	}
	d.Like(to.blocks)
	if to.like != nil && s.fsys.Capabilities().Ownership {
		err = s.dress(ctx, d.Data(), partition, to)
	}
	return d, err
}

// Publication is one partition to publish: Dir sealed with Manifest, or nothing where the partition
// goes away.
type Publication struct {
	Partition string
	Inputs    Inputs // as the merge read it
	Dir       *stage.Dir
	Manifest  stage.Manifest
}

// Published is a partition that went live.
type Published struct {
	Partition string
	Version   int64
	Way       Way
	Warnings  []string
}

// claim is a version of a partition, taken by an exclusive rename. With a record of its run it is
// committed; without, it is void.
type claim struct {
	Version  int64          `json:"version"`
	Run      string         `json:"run"`
	Manifest stage.Manifest `json:"manifest"`
	Absent   bool           `json:"absent,omitempty"` // this version is that there is no partition
	// Before is the version it took the place of: a run's, origin, or foreign-<version> where somebody
	// else had changed the partition.
	Before       string `json:"before"`
	BeforeAbsent bool   `json:"before_absent,omitempty"`
	BeforeFiles  int    `json:"before_files"`
	BeforeBytes  int64  `json:"before_bytes"`

	setBack *SetBackError // what the one who publishes it is to be told
	// Where folders stay, as they do where the registry is told of new ones: this version's, and the one
	// before it with its id.
	Folder       string `json:"folder,omitempty"`
	BeforeFolder string `json:"before_folder,omitempty"`
	BeforeID     string `json:"before_id,omitempty"`
}

const claimName = "claim.json"

// Publish makes the staged partitions live, all or none. It re-lists what the merge read, claims the
// next version of each partition, commits by the run record, and switches. An error before the commit
// matches ErrConflict, ErrLocked or a storage error, and nothing is changed. After it, ErrConflict says
// that somebody else changed a partition at the last moment and that the run is taken back in all of
// them; ErrUnfinished, that it is committed, or being taken back, and will be carried to its end by
// whoever comes next.
func (r *Run) Publish(ctx context.Context, list []Publication) ([]Published, error) {
	rec, err := r.prepare(ctx, list)
	if err != nil {
		return nil, err
	}
	// From here on an interrupt must not stop half way.
	ctx = context.WithoutCancel(ctx)
	if err := r.commit(ctx, rec); err != nil {
		return nil, err
	}
	conflict, err := r.store.finish(ctx, rec)
	if err = errors.Join(conflict, err); err != nil {
		return nil, err
	}
	if rec.Entries[0].Partition != "" { // the folder of a table without partitions stays as it was published
		if err := r.store.pointLater(ctx, r.id); err != nil {
			r.store.o.Logger.Warn("the table does not say where its state is; its next run does", "run", r.id, "error", err)
		}
	}
	out := make([]Published, len(rec.Entries))
	for i, e := range rec.Entries {
		out[i] = Published{Partition: e.Partition, Version: e.Version, Way: e.Way, Warnings: r.warnings[e.Partition]}
	}
	return out, nil
}

// prepare does all that can fail and still be undone: at its end only the record is missing.
func (r *Run) prepare(ctx context.Context, list []Publication) (record, error) {
	s := r.store
	rec := record{Run: r.id, Command: r.command, Time: s.o.Clock().UTC()}
	way, err := s.way(ctx, r.id)
	if err != nil {
		return rec, err
	}
	if s.o.Registry != nil {
		rec.Registry = s.o.Registry.URL()
	}
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Publication) int { return strings.Compare(a.Partition, b.Partition) })
	rec.Entries = make([]recordedSwap, len(list))
	claims := make([]claim, len(list))
	err = s.each(len(list), func(i int) (err error) {
		rec.Entries[i], claims[i], err = s.entry(ctx, list[i], rec, way)
		if back := claims[i].setBack; err == nil && back != nil && !r.ignoreSetBack {
			return back
		}
		return err
	})
	if err == nil {
		// After the look at the versions: of what is committed from here on the claims tell.
		err = s.unchanged(ctx, list)
	}
	if err == nil && way == Location {
		// Before the first claim: whoever finds that finds this.
		err = s.markRegistry(ctx, r.id)
	}
	if err == nil {
		err = s.ready(ctx, rec)
	}
	if err != nil {
		return rec, err
	}
	r.claimed = rec.partitions()
	r.warnings = map[string][]string{}
	for i, c := range claims {
		if c.setBack != nil {
			r.warnings[rec.Entries[i].Partition] = []string{c.setBack.Missing() + "; rollback --to " + c.setBack.Last + " brings it back"}
		}
	}
	return rec, s.each(len(claims), func(i int) error { return r.claim(ctx, rec.Entries[i].Partition, claims[i]) })
}

// unchanged looks at partitions as late as can be before the claim: what changed since the merge read them
// is found here.
func (s *Store) unchanged(ctx context.Context, list []Publication) error {
	partitions := make([]string, len(list))
	for i, p := range list {
		partitions[i] = p.Partition
	}
	now, err := s.InputsOf(ctx, partitions)
	if err != nil {
		return err
	}
	for _, p := range list {
		if diff := s.changed(p.Inputs, now[p.Partition]); diff != "" {
			return fmt.Errorf("%w: %s: %s", ErrConflict, display(p.Partition), diff)
		}
	}
	return nil
}

// ready looks for what would stop the switch when it is too late to undo the run, and makes the folders
// that claims and old versions go to.
func (s *Store) ready(ctx context.Context, rec record) error {
	open, err := s.openRecords(ctx)
	if err != nil {
		return err
	}
	for _, other := range open {
		if other.touches(rec.partitions()) {
			return fmt.Errorf("%w: run %s is committed there and not finished", ErrLocked, other.Run)
		}
	}
	if err := s.placeable(ctx, rec); err != nil {
		return err
	}
	var dirs []string
	for _, e := range rec.Entries {
		dirs = append(dirs, path.Join(s.state, claimsDir, e.Partition))
		switch {
		case e.Folder != "":
			dirs = append(dirs, path.Dir(e.Folder))
		case e.Way != Location && !e.Old.Absent:
			dirs = append(dirs, path.Dir(s.filed(e)))
		}
	}
	if err := s.mkdirs(ctx, dirs...); err != nil {
		return err
	}
	return s.each(len(rec.Entries), func(i int) error {
		e := rec.Entries[i]
		if err := s.movable(ctx, e); err != nil {
			return fmt.Errorf("%s can't be switched, for which its folder and the one it lies in must be writable: %w", display(e.Partition), err)
		}
		return nil
	})
}

// movable asks for each move of a switch whether it will be refused.
func (s *Store) movable(ctx context.Context, e recordedSwap) error {
	if e.Way == Location {
		if e.Folder == "" {
			return nil
		}
		return s.fsys.MayMove(ctx, e.Staged, path.Dir(e.Folder))
	}
	if !e.Old.Absent {
		if err := s.fsys.MayMove(ctx, s.live(e.Partition), path.Dir(s.filed(e))); err != nil {
			return err
		}
	}
	if e.Staged == "" {
		return nil
	}
	into := path.Dir(s.live(e.Partition))
	for ; ; into = path.Dir(into) { // what is not there is made, in what is
		if there, err := s.exists(ctx, into); err != nil || there {
			if err != nil {
				return err
			}
			break
		}
	}
	return s.fsys.MayMove(ctx, e.Staged, into)
}

// entry plans the switch of one partition.
func (s *Store) entry(ctx context.Context, p Publication, rec record, way Way) (recordedSwap, claim, error) {
	e := recordedSwap{Partition: p.Partition, Way: way, Old: p.Inputs}
	if err := s.refuseOtherState(ctx, p.Partition, p.Inputs.Folder); err != nil {
		return e, claim{}, err
	}
	last, err := s.lastCommitted(ctx, p.Partition)
	if err != nil {
		return e, claim{}, err
	}
	e.Version = 1
	e.OldRun = originName
	var versions []claim // those before it matter where the registry has not the last
	if last != nil {
		e.Version = last.Version + 1
		e.OldRun = last.Run
		if s.strayed(*last, p.Inputs) != "" {
			e.OldRun = fmt.Sprintf("foreign-%d", e.Version)
		}
		if s.o.Registry != nil && p.Inputs.Folder != s.publishedAt(p.Partition, *last) {
			if versions, err = s.committed(ctx, p.Partition); err != nil {
				return e, claim{}, err
			}
		}
		if older := s.olderVersion(versions, p.Inputs); older != "" {
			// What was committed since would be lost.
			return e, claim{}, fmt.Errorf("%w: %s: %s", ErrConflict, display(p.Partition), older)
		}
	}
	if way != Location {
		if e.OldRun, err = s.freeName(ctx, p.Partition, e.OldRun, e.Version); err != nil {
			return e, claim{}, err
		}
	}
	c := claim{setBack: s.setBack(p.Partition, versions, p.Inputs), Version: e.Version, Run: rec.Run, Manifest: p.Manifest, Absent: p.Dir == nil, Before: e.OldRun,
		BeforeAbsent: p.Inputs.Absent, BeforeFiles: len(p.Inputs.Files), BeforeBytes: p.Inputs.bytes()}
	if way == Location {
		c.BeforeFolder, c.BeforeID = p.Inputs.Folder, p.Inputs.ID
	}
	if p.Dir == nil {
		c.Manifest = stage.Manifest{Run: rec.Run, Partition: p.Partition, Command: rec.Command, Time: rec.Time,
			Mode: p.Manifest.Mode, Restores: p.Manifest.Restores, Detail: p.Manifest.Detail, Mark: p.Manifest.Mark}
		return e, c, nil
	}
	info, err := s.fsys.Stat(ctx, p.Dir.Data())
	if err != nil {
		return e, c, err
	}
	e.Staged, e.StagedID = p.Dir.Data(), info.ID
	if rec.Registry != "" {
		e.Rows = p.Manifest.Rows
		e.Files, e.Bytes = visible(p.Manifest.Files)
	}
	if way == Location {
		e.Folder = s.version(p.Partition, e.Version)
		c.Folder = e.Folder
	}
	// Its manifest says that it is whole, and what it was like, should the run be taken back.
	if _, _, err := stage.Open(ctx, s.fsys, path.Dir(e.Staged)); err != nil {
		return e, c, fmt.Errorf("%s is not sealed: %w", display(p.Partition), err)
	}
	return e, c, nil
}

// freeName is the name under which the history will have the partition as it is now.
func (s *Store) freeName(ctx context.Context, partition, name string, version int64) (string, error) {
	free := name
	for n := 1; ; n++ {
		taken, err := s.exists(ctx, s.history(partition, free))
		if err != nil || !taken {
			return free, err
		}
		// A folder that no claim knows of.
		free = fmt.Sprintf("foreign-%d.%d", version, n)
	}
}

// claim takes the next version of a partition: a folder with the claim in it, made durable, is renamed
// to a name that must be free. Of two runs that race, one gets it.
func (r *Run) claim(ctx context.Context, partition string, c claim) error {
	s := r.store
	prepared := r.folder("c")
	if err := s.fsys.Mkdir(ctx, prepared, 0o755); err != nil {
		return err
	}
	if err := stage.WriteJSON(ctx, s.fsys, path.Join(prepared, claimName), c); err != nil {
		return err
	}
	if err := s.fsys.SyncDir(ctx, prepared); err != nil {
		return err
	}
	taken := s.claimName(partition, c.Version)
	err := s.fsys.Rename(ctx, prepared, taken)
	if errors.Is(err, fs.ErrExist) {
		return lostRace(partition, c.Version)
	}
	if err != nil {
		return err
	}
	return s.syncBoth(ctx, taken, prepared)
}

// claimName is the folder of a claim.
func (s *Store) claimName(partition string, version int64) string {
	return path.Join(s.state, claimsDir, partition, versionName(version))
}

func lostRace(partition string, version int64) error {
	return fmt.Errorf("%w: %s: version %d was taken by another run", ErrConflict, display(partition), version)
}

func versionName(v int64) string { return fmt.Sprintf("v%06d", v) }

// commit makes the run record, which makes all of the run count: it is durable only when every claim
// and every staged file is.
func (r *Run) commit(ctx context.Context, rec record) error {
	s := r.store
	prepared := path.Join(s.staging(r.id), "record.json")
	rec.Sum = rec.sum()
	if err := stage.WriteJSON(ctx, s.fsys, prepared, rec); err != nil {
		return err
	}
	// The folders that lead to the staged content, before the record that promises it.
	for _, dir := range []string{s.staging(r.id), path.Join(s.state, stagingDir)} {
		if err := s.fsys.SyncDir(ctx, dir); err != nil {
			return err
		}
	}
	name := s.recordName(committed, r.id)
	if err := s.fsys.Rename(ctx, prepared, name); err != nil {
		there, serr := s.exists(ctx, name)
		if serr == nil && !there {
			return err
		}
		// The answer got lost, not the record; or nobody knows.
		return unfinished(r.id, "nothing of it is live yet", errors.Join(err, serr))
	}
	// A record that may not be durable is there for everybody to read. Who goes on with the run makes it
	// durable first; we, whose fsync failed, do not go on.
	if err := s.syncBoth(ctx, name, prepared); err != nil {
		return unfinished(r.id, "nothing of it is live yet", err)
	}
	return nil
}

// way is how this run will switch.
func (s *Store) way(ctx context.Context, run string) (Way, error) {
	switch {
	case s.o.Publish == Location && s.o.Registry == nil:
		return "", fmt.Errorf("publish by location: %w without a metastore", errors.ErrUnsupported)
	case s.o.Registry != nil && (s.o.Publish == Location || s.o.Publish == Auto):
		return Location, nil
	}
	if s.o.Publish == Rename || !s.fsys.Capabilities().Exchange {
		if s.o.Publish == Exchange {
			return "", fmt.Errorf("publish by exchange: %w by this file system", errors.ErrUnsupported)
		}
		return Rename, nil
	}
	refusal, err := s.probeExchange(ctx, run)
	switch {
	case err != nil:
		return "", err
	case refusal == nil:
		return Exchange, nil
	case s.o.Publish == Exchange:
		return "", fmt.Errorf("publish by exchange: %w by the file system of %s: %w", errors.ErrUnsupported, s.state, refusal)
	}
	return Rename, nil
}

// probeExchange exchanges two scratch folders in the run's staging; the file system's refusal says that it
// can't.
func (s *Store) probeExchange(ctx context.Context, run string) (refusal, err error) {
	a, b := path.Join(s.staging(run), "probe-a"), path.Join(s.staging(run), "probe-b")
	for _, d := range []string{a, b} {
		if err := s.fsys.Mkdir(ctx, d, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return nil, err
		}
	}
	err = s.fsys.Exchange(ctx, a, b)
	if errors.Is(err, errors.ErrUnsupported) || errors.Is(err, syscall.EXDEV) || errors.Is(err, syscall.EINVAL) {
		return err, nil // overlayfs says EXDEV of folders of its lower layer
	}
	return nil, err
}

// Abort undoes what the run did before its commit: claims become void and staging goes. What is parked
// stays.
func (r *Run) Abort(ctx context.Context) error {
	ctx = context.WithoutCancel(ctx)
	var err error
	if !r.parked {
		err = r.store.undo(ctx, r.id, r.claimed, r.resumed)
	}
	return errors.Join(err, r.Close())
}

// ended aborts a run whose Publish gave err. What goes wrong after a commit is no failure of the run.
func (r *Run) ended(ctx context.Context, err error) error {
	aerr := r.Abort(ctx)
	if err == nil && aerr != nil {
		r.store.o.Logger.Warn("the run is not tidied up; recover does it", "run", r.id, "error", aerr)
		return nil
	}
	return errors.Join(err, aerr)
}

// Close ends the run and frees its partitions. What is staged and not published goes with the next
// recover.
func (r *Run) Close() error {
	var err error
	r.pulse.end()
	r.pulse = nil
	r.release()
	if r.lock != nil {
		err = r.store.endLock(r.id, r.lock)
		r.lock = nil
	}
	// After the lock: who gets a partition finds no run on it that seems alive.
	err = errors.Join(err, releaseAll(r.store, r.leases))
	r.leases = nil
	return err
}
