package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// Registry is where readers ask which folder a partition has: a metastore. What it changes is changed
// at once and for good, but it has no compare-and-swap: what is right rests on claims, and on pointing
// forward only. Its methods are safe for concurrent use.
type Registry interface {
	// URL names the table there, for people.
	URL() string
	// Look gives what is registered of the partitions named, or of all (nil); those that are not
	// registered are left out. "" is the whole of a table without partitions. A partition whose folder is
	// on another storage than the table is ErrElsewhere, and named; of all it is left out.
	Look(ctx context.Context, partitions []string) (map[string]Registered, error)
	// Point registers new folders, all or none. Where a partition is at neither Was nor Folder nothing is
	// changed, and the error matches ErrConflict; that look and the change need not be one. Where the
	// outcome is not known it is an error as well, and who calls looks again; to do it twice does no harm.
	Point(ctx context.Context, list []Pointer) error
	// Hold asks others to leave partitions alone, as a courtesy: nothing rests on it. ErrLocked, or
	// storage.ErrLocked, where somebody else holds one, without waiting.
	Hold(ctx context.Context, partitions []string, run string) (release func() error, err error)
}

// Evictor is a Registry whose locks outlive a holder that dies. It may be implemented by one; nothing rests on it either.
type Evictor interface {
	// Evict ends the locks of partitions that runs asked for which are dead: ifDead says that by calling end, which ends the
	// run's. Locks that are not ours stay.
	Evict(ctx context.Context, partitions []string, ifDead func(run string, end func() error) error) error
}

// Registered is what a registry says of a partition.
type Registered struct {
	Folder string // absolute, on the store's storage, clean; nothing need be there
	// Stamp changes when anything changes that a merge rests on: columns, formats, parameters. What Point
	// sets does not count.
	Stamp string
}

// Pointer is one partition's change in a registry.
type Pointer struct {
	Partition string
	Was       string // the folder it has; "": it is not registered
	Folder    string // the folder it gets, which may be the one it has; "": it goes away
	Run       string
	Version   int64
	Rows      int64 // -1: not known
	Bytes     int64
	Files     int
}

// What a registry brings along.
var (
	// ErrRegistered: readers find the table's partitions by a registry, and its folders do not tell.
	ErrRegistered = errors.New("the table is published through a metastore")
	// ErrElsewhere: a partition is registered where the table's storage does not reach, or where a way of
	// publishing can't.
	ErrElsewhere = errors.New("the partition's folder is elsewhere")
	// ErrLost: a partition is registered at a version of ours that is not there.
	ErrLost = errors.New("the version that the metastore shows is not there")
)

// registryName is the file of the state that says by which registry the table is published. It is there
// before the first partition's path is not to be believed any more.
const registryName = "registry.json"

// registryMark is what it says.
type registryMark struct {
	URL string `json:"url"`
}

// checkRegistry refuses a table by its path whose folders are not what readers see.
func (s *Store) checkRegistry(ctx context.Context) error {
	var mark registryMark
	err := stage.ReadJSON(ctx, s.fsys, path.Join(s.state, registryName), &mark)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	s.registered.Store(&mark.URL)
	switch {
	case s.o.Registry == nil && !s.o.Diagnose:
		return s.needsRegistry()
	case s.o.Registry != nil && path.Base(s.o.Registry.URL()) != path.Base(mark.URL):
		// Two tables of one folder would each take the other's versions for its own.
		return fmt.Errorf("%w: %s is the state of %s; if that was renamed to %s, remove %s, else give %s a --state-dir of its own",
			ErrForeignState, s.state, mark.URL, path.Base(s.o.Registry.URL()), path.Join(s.state, registryName), path.Base(s.o.Registry.URL()))
	case s.o.Registry != nil && s.o.Registry.URL() != mark.URL:
		s.o.Logger.Info("the table is known by another name", "registry", s.o.Registry.URL(), "before", mark.URL)
	}
	return nil
}

func (s *Store) needsRegistry() error {
	return fmt.Errorf("%w: name it by %s; what lies at %s may be stale", ErrRegistered, *s.registered.Load(), s.table)
}

// knowsFolders reports whether it can be told which folders are live.
func (s *Store) knowsFolders() bool { return s.o.Registry != nil || s.registered.Load() == nil }

// mayChange refuses what would change a table of which a registry tells, without that.
func (s *Store) mayChange() error {
	if !s.knowsFolders() {
		return s.needsRegistry()
	}
	return nil
}

// markRegistry leaves word, durably, that paths are not to be believed from now on.
func (s *Store) markRegistry(ctx context.Context, run string) error {
	if s.registered.Load() != nil {
		return nil
	}
	url := s.o.Registry.URL()
	err := s.writeOnce(ctx, path.Join(s.state, registryName), run, registryMark{URL: url})
	if err == nil {
		s.registered.Store(&url)
	}
	return err
}

// look says where readers find partitions: what the registry says, or without one their paths.
func (s *Store) look(ctx context.Context, partitions []string) (map[string]Registered, error) {
	if err := s.mayChange(); err != nil {
		return nil, err
	}
	if s.o.Registry == nil {
		out := make(map[string]Registered, len(partitions))
		for _, p := range partitions {
			out[p] = Registered{Folder: s.live(p)}
		}
		return out, nil
	}
	if len(partitions) == 0 {
		return nil, nil
	}
	return s.o.Registry.Look(ctx, partitions)
}

// lookAround is look for who is not about to change anything: partitions on other storages are left out.
func (s *Store) lookAround(ctx context.Context, partitions []string) (map[string]Registered, error) {
	at, err := s.look(ctx, partitions)
	if !errors.Is(err, ErrElsewhere) {
		return at, err
	}
	one := make([]map[string]Registered, len(partitions))
	err = s.each(len(partitions), func(i int) (err error) {
		if one[i], err = s.look(ctx, partitions[i:i+1]); errors.Is(err, ErrElsewhere) {
			err = nil
		}
		return err
	})
	out := map[string]Registered{}
	for _, at := range one {
		maps.Copy(out, at)
	}
	return out, err
}

// Restamp is how a change of ours changed the stamp of a registration.
type Restamp struct{ Was, Is string }

// Redeclare does what changes the registrations of partitions that are about to be published, such as adding a column
// to their table, and takes that over into the list: what the merge rests on is what they had, and the change. Change gets the
// partitions and says what it made of the stamps of those that are registered. Partitions that somebody else has changed since they
// were read are ErrConflict, before anything is done; those that he changes while we do are as well, and where he does it
// later Publish finds it.
func (s *Store) Redeclare(ctx context.Context, list []Publication, change func(partitions []string) (map[string]Restamp, error)) error {
	partitions := make([]string, len(list))
	for i, p := range list {
		partitions[i] = p.Partition
	}
	if s.o.Registry == nil {
		_, err := change(partitions)
		return err
	}
	if err := s.unchanged(ctx, list); err != nil {
		return err
	}
	stamps, err := change(partitions)
	if err != nil {
		return err
	}
	for i, p := range list {
		stamp, ok := stamps[p.Partition]
		if !ok || p.Inputs.Stamp == "" { // it is not registered, or was read by an earlier release
			continue
		}
		if stamp.Was != p.Inputs.Stamp {
			return fmt.Errorf("%w: %s: its registration in the metastore was changed", ErrConflict, display(p.Partition))
		}
		list[i].Inputs.Stamp = stamp.Is
	}
	return nil
}

// TableOf gives the folder of the table without partitions of which a folder is a version: a registry says only where that is.
// "" where the folder is no version of ours.
func TableOf(ctx context.Context, fsys storage.FS, folder string) (string, error) {
	dir := path.Dir(folder)
	if !isVersionName(path.Base(folder)) || path.Base(dir) != versionDir {
		return "", nil
	}
	var id tableIdentity
	err := stage.ReadJSON(ctx, fsys, path.Join(path.Dir(dir), identity), &id)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return id.Table, err
}

// refuseOtherState refuses a partition that a registry has at a version of another state of this table: a table without a folder of its
// own can't say where its state is.
func (s *Store) refuseOtherState(ctx context.Context, partition, folder string) error {
	if s.o.Registry == nil || s.isVersion(folder) || !isVersionName(path.Base(folder)) {
		return nil
	}
	dir, ok := strings.CutSuffix(path.Dir(folder), path.Join("/"+versionDir, partition))
	if !ok {
		return nil
	}
	var mark registryMark
	err := stage.ReadJSON(ctx, s.fsys, path.Join(dir, registryName), &mark)
	if errors.Is(err, fs.ErrNotExist) || err == nil && path.Base(mark.URL) != path.Base(s.o.Registry.URL()) {
		return nil // it only looks like one
	}
	if err != nil {
		return err
	}
	return fmt.Errorf("%w: %s is published from %s, not from %s", ErrTwoStates, display(partition), dir, s.state)
}

// version is the folder of a version that is published by its location.
func (s *Store) version(partition string, n int64) string {
	return path.Join(s.state, versionDir, partition, versionName(n))
}

// isVersion tells the folders of versions that are published by their locations.
func (s *Store) isVersion(folder string) bool {
	return strings.HasPrefix(folder, path.Join(s.state, versionDir)+"/")
}

// hold asks others who know the registry to leave partitions alone while the run goes on.
func (r *Run) hold(ctx context.Context, partitions []string) error {
	s := r.store
	if s.o.Registry == nil || len(partitions) == 0 {
		return nil
	}
	started, evicted := time.Now(), false
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		release, err := s.o.Registry.Hold(ctx, partitions, r.id)
		switch held := errors.Is(err, ErrLocked) || errors.Is(err, storage.ErrLocked); {
		case err == nil:
			r.holds = append(r.holds, release)
			return nil
		case ctx.Err() != nil:
			return ctx.Err()
		case !held:
			s.o.Logger.Warn("the metastore gives no lock; nothing rests on it", "error", err)
			return nil
		case evicted && time.Since(started) >= s.o.LockWait:
			return fmt.Errorf("%w: %w", ErrLocked, err)
		}
		if evicted { // what a killed run left is no reason to wait
			if err := rest(ctx, pause); err != nil {
				return err
			}
		}
		s.evict(ctx, partitions)
		evicted = true
	}
}

// evict ends the registry's locks of runs that are dead. The leases of the partitions are ours: a run that is asked about has
// lost its own, or ended them.
func (s *Store) evict(ctx context.Context, partitions []string) {
	e, ok := s.o.Registry.(Evictor)
	if !ok {
		return
	}
	err := e.Evict(ctx, partitions, func(run string, end func() error) error {
		return s.ifDead(ctx, run, func() error {
			s.o.Logger.Info("ending the metastore's lock of a run that is gone", "run", run)
			return end()
		})
	})
	if err != nil && ctx.Err() == nil {
		s.o.Logger.Warn("locks of dead runs stay in the metastore until they time out", "error", err)
	}
}

// release ends what hold asked for.
func (r *Run) release() {
	for _, release := range r.holds {
		if err := release(); err != nil {
			r.store.o.Logger.Warn("a lock of the metastore stays until it times out", "run", r.id, "error", err)
		}
	}
	r.holds = nil
}
