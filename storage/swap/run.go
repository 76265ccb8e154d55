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
	store   *Store
	id      string
	command string
	lock    storage.Unlocker
	pulse   *pulse
	leases  []*lease
	claimed []string // partitions of which it may hold a claim
	parked  bool     // what it staged waits for PublishStaged or Discard
	resumed bool     // it publishes what was staged before, which stays if that fails
	folders atomic.Int64
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

// Begin starts a run. The id must be new; file names made from it are then names that no run had.
func (s *Store) Begin(ctx context.Context, id, command string, partitioned bool) (*Run, error) {
	if err := s.makeState(ctx); err != nil {
		return nil, err
	}
	// The lock first: what is made from here on belongs to a run that lives.
	// Somebody who recovers may try it for a moment, to see whether the run lives.
	u, err := s.await(ctx, s.runLock(id), time.Second, func() error { return nil })
	if err != nil {
		return nil, fmt.Errorf("begin run %s: %w", id, err)
	}
	r := &Run{store: s, id: id, command: command, lock: u}
	if r.pulse, err = s.carry(ctx, id); err == nil {
		err = s.fsys.Mkdir(ctx, s.staging(id), 0o755)
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
// lose the race; what makes a publish right is the claim.
func (r *Run) Lease(ctx context.Context, partitions []string) error {
	taken, err := r.store.leases(ctx, partitions, r.id)
	r.leases = append(r.leases, taken...)
	return err
}

// folder names a new folder of the run's staging.
func (r *Run) folder(kind string) string {
	return path.Join(r.store.staging(r.id), fmt.Sprintf("%s%05d", kind, r.folders.Add(1)))
}

// Stage makes the folder in which a partition's new content is built. Mode, and where permitted owner
// and group, are the live folder's; for a new partition those of the folder it will lie in.
func (r *Run) Stage(ctx context.Context, partition string) (*stage.Dir, error) {
	s := r.store
	dirMode, fileMode, like, err := s.modes(ctx, partition)
	if err != nil {
		return nil, err
	}
	d, err := stage.New(ctx, s.fsys, r.folder("p"), dirMode, fileMode)
	if err != nil {
		return nil, err
	}
	if like != nil && s.fsys.Capabilities().Ownership {
		s.dress(ctx, d.Data(), partition, dirMode, like)
	}
	return d, nil
}

// dress gives a staged folder the owner, group and mode of another one. The mode once more, since a
// folder of the state may hand down set-group-id to what is staged in it.
func (s *Store) dress(ctx context.Context, dir, partition string, mode fs.FileMode, like *storage.Info) {
	err := s.fsys.SetAttr(ctx, dir, storage.Attr{Owner: &like.Owner, Group: &like.Group, Mode: &mode})
	// Only root may give files away; anybody else keeps the owner and may set the group.
	if err == nil || s.fsys.SetAttr(ctx, dir, storage.Attr{Group: &like.Group, Mode: &mode}) == nil {
		return
	}
	err = errors.Join(err, s.fsys.SetAttr(ctx, dir, storage.Attr{Mode: &mode}))
	s.o.Logger.Warn("owner and group are not carried over", "partition", partition, "error", err)
}

// modeBits are those of a folder's mode that are carried over.
const modeBits = fs.ModePerm | fs.ModeSetgid | fs.ModeSticky

// modes are the mode bits for a partition's folder and files.
func (s *Store) modes(ctx context.Context, partition string) (dir, file fs.FileMode, like *storage.Info, err error) {
	dir, file = 0o755, 0o644
	for name := s.live(partition); name != "/" && name != "."; name = path.Dir(name) {
		info, err := s.fsys.Stat(ctx, name)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return 0, 0, nil, err
		}
		if name == path.Dir(s.table) {
			break // the table is new: what lies beside it is no example
		}
		dir, like = info.Mode&modeBits, &info
		file = dir.Perm() &^ 0o111
		list, err := s.fsys.List(ctx, name)
		if err != nil {
			return 0, 0, nil, err
		}
		for _, f := range list {
			if f.Mode.IsRegular() {
				file = f.Mode.Perm()
			}
		}
		break
	}
	return dir, file, like, nil
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
	out := make([]Published, len(rec.Entries))
	for i, e := range rec.Entries {
		out[i] = Published{Partition: e.Partition, Version: e.Version, Way: e.Way}
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
	list = slices.Clone(list)
	slices.SortFunc(list, func(a, b Publication) int { return strings.Compare(a.Partition, b.Partition) })
	var claims []claim
	for _, p := range list {
		// As late as can be before the claim: what changed since the merge read it is found here.
		now, err := s.Inputs(ctx, p.Partition)
		if err != nil {
			return rec, err
		}
		if diff := p.Inputs.differs(now); diff != "" {
			return rec, fmt.Errorf("%w: %s: %s", ErrConflict, display(p.Partition), diff)
		}
		e, c, err := s.entry(ctx, p, rec, way)
		if err != nil {
			return rec, err
		}
		rec.Entries, claims = append(rec.Entries, e), append(claims, c)
	}
	if err := s.ready(ctx, rec); err != nil {
		return rec, err
	}
	for i, c := range claims {
		if err := r.claim(ctx, rec.Entries[i].Partition, c); err != nil {
			return rec, err
		}
	}
	return rec, nil
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
	var dirs []string
	for _, e := range rec.Entries {
		dirs = append(dirs, path.Join(s.state, claimsDir, e.Partition))
		if !e.Old.Absent {
			dirs = append(dirs, path.Dir(s.filed(e)))
		}
	}
	if err := s.mkdirs(ctx, dirs...); err != nil {
		return err
	}
	for _, e := range rec.Entries {
		if err := s.movable(ctx, e); err != nil {
			return fmt.Errorf("%s can't be switched, for which its folder and the one it lies in must be writable: %w", display(e.Partition), err)
		}
	}
	return nil
}

// movable asks for each move of a switch whether it will be refused.
func (s *Store) movable(ctx context.Context, e recordedSwap) error {
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
	versions, err := s.committed(ctx, p.Partition)
	if err != nil {
		return e, claim{}, err
	}
	e.Version = 1
	e.OldRun = originName
	if n := len(versions); n > 0 {
		last := versions[n-1]
		e.Version = last.Version + 1
		e.OldRun = last.Run
		if last.Absent != p.Inputs.Absent || differingFile(last.Manifest.Files, p.Inputs.Files) != "" {
			e.OldRun = fmt.Sprintf("foreign-%d", e.Version)
		}
	}
	if e.OldRun, err = s.freeName(ctx, p.Partition, e.OldRun, e.Version); err != nil {
		return e, claim{}, err
	}
	c := claim{Version: e.Version, Run: rec.Run, Manifest: p.Manifest, Absent: p.Dir == nil, Before: e.OldRun,
		BeforeAbsent: p.Inputs.Absent, BeforeFiles: len(p.Inputs.Files)}
	for _, f := range p.Inputs.Files {
		c.BeforeBytes += f.Size
	}
	if p.Dir == nil {
		c.Manifest = stage.Manifest{Run: rec.Run, Partition: p.Partition, Command: rec.Command, Time: rec.Time, Restores: p.Manifest.Restores}
		return e, c, nil
	}
	info, err := s.fsys.Stat(ctx, p.Dir.Data())
	if err != nil {
		return e, c, err
	}
	e.Staged, e.StagedID = p.Dir.Data(), info.ID
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
	taken := path.Join(s.state, claimsDir, partition, versionName(c.Version))
	r.claimed = append(r.claimed, partition)
	err := s.fsys.Rename(ctx, prepared, taken)
	if errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("%w: %s: version %d was taken by another run", ErrConflict, display(partition), c.Version)
	}
	if err != nil {
		return err
	}
	return s.syncBoth(ctx, taken, prepared)
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
	if r.lock != nil {
		err = r.store.endLock(r.id, r.lock)
		r.lock = nil
	}
	// After the lock: who gets a partition finds no run on it that seems alive.
	err = errors.Join(err, releaseAll(r.store, r.leases))
	r.leases = nil
	return err
}
