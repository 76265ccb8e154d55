package swap

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"path"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// What callers branch on.
var (
	// ErrLocked: another run holds a partition.
	ErrLocked = errors.New("the partition is locked")
	// ErrNameTaken: another run has the name that this one was given.
	ErrNameTaken = errors.New("a run of this second has the same name")
	// ErrConflict: the live partition is not the one that was read.
	ErrConflict = errors.New("the partition changed meanwhile")
	// ErrUnfinished: a run is committed, or is being taken back, and could not be carried to its end.
	// Recover does that when the cause is gone.
	ErrUnfinished = errors.New("not finished")
	// ErrForeignState: the state folder belongs to another table.
	ErrForeignState = errors.New("the state folder belongs to another table")
	// ErrTwoStates: the table keeps its state in another folder than the one that was named.
	ErrTwoStates = errors.New("the table has its state elsewhere")
	// ErrNoVersion: a partition has no such version, or its data is gone.
	ErrNoVersion = errors.New("no such version")
	// ErrPublished: a run that was staged is published.
	ErrPublished = errors.New("the run is published already")
	// ErrSetBack: a registry has a partition where it was before versions of ours, whose rows readers do not see.
	ErrSetBack = errors.New("the metastore was set back")
	// ErrTampered: the files of a staged run are not those that were sealed.
	ErrTampered = errors.New("the staged files are not as they were sealed")
)

// Way is how the live directory is replaced.
type Way string

// The ways. Auto takes Location where there is a registry, else Exchange where a probe shows that it
// works, else Rename.
const (
	Auto     Way = "auto"
	Exchange Way = "exchange"
	Rename   Way = "rename"
	Location Way = "location"
)

// Folders of the state.
const (
	stagingDir = "staging"
	historyDir = "history"
	versionDir = "versions"
	claimsDir  = "claims"
	locksDir   = "locks"
	failedDir  = "failed"
	trashDir   = "trash"
	configName = "table.yaml"
	identity   = "table.json"
	pointer    = ".hupsert.json"
)

// Options says how a table's state is used. The zero value works.
type Options struct {
	StateDir string           // default <parent of the table>/.hupsert/<table>
	Publish  Way              // default Auto
	LockWait time.Duration    // how long Lease waits for another run; 0: not at all
	Clock    func() time.Time // default time.Now
	Logger   *slog.Logger     // nil discards
	Owner    Owner            // who we are, for others who want what we hold
	Pulse    time.Duration    // how often a run shows other machines that it lives; default 3 s
	Silence  time.Duration    // after how long without that another machine takes it for dead; default 15 s
	// Registry is where readers ask for the folders of partitions; nil: they find them by their paths.
	Registry Registry
	// Diagnose opens, to look at it, also a state that without its registry would be refused with
	// ErrRegistered. What changes the table, and what must know the live folders, is refused still.
	Diagnose bool
	// IgnoreACL publishes a partition whose access control list can't be carried over, without it.
	IgnoreACL bool
	// IgnoreSetBack publishes over a partition that its registry has where it was before versions of ours, which
	// else is a *SetBackError: these stay in the history.
	IgnoreSetBack bool
}

// Owner names the holder of a lease.
type Owner struct {
	Host    string    `json:"host"`
	PID     int       `json:"pid"`
	Machine string    `json:"machine,omitempty"` // within which locks are seen by all; "": everywhere
	Run     string    `json:"run"`
	Since   time.Time `json:"since"`
	Pulse   int64     `json:"pulse,omitempty"` // grows while it lives
}

// Store is the state of one table. Its methods are safe for concurrent use.
type Store struct {
	fsys    storage.FS
	table   string
	state   string
	o       Options
	durable sync.Map // folders whose names this process knows to be durable
	ended   sync.Map // runs that this process knows to be done

	registered atomic.Pointer[string] // the registry by which the table has been published; nil: none
}

// tableIdentity ties a state folder to a table.
type tableIdentity struct {
	Table string `json:"table"`
	ID    string `json:"id,omitempty"` // of the table's folder; empty where publishing replaces it
}

// Open finds a table's state and checks that it is this table's; it writes nothing. The table need
// not exist.
func Open(ctx context.Context, fsys storage.FS, table string, o Options) (*Store, error) {
	if o.Clock == nil {
		o.Clock = time.Now
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Publish == "" {
		o.Publish = Auto
	}
	o.Pulse, o.Silence = cmp.Or(o.Pulse, usualPulse), cmp.Or(o.Silence, usualSilence)
	s := &Store{fsys: fsys, table: path.Clean(table), o: o}
	if err := s.findState(ctx); err != nil {
		return nil, err
	}
	if err := s.checkIdentity(ctx); err != nil {
		return s, err
	}
	return s, s.checkRegistry(ctx)
}

// usualState is where the state is that nobody has named a place for.
func (s *Store) usualState() string {
	return path.Join(path.Dir(s.table), ".hupsert", path.Base(s.table))
}

// findState settles where the state is. Where there is one already, no other place will do: who works with another one sees none of
// its locks, and publishes over its versions.
func (s *Store) findState(ctx context.Context) error {
	is, err := s.readPointer(ctx)
	if err != nil {
		return err
	}
	s.state = s.usualState()
	if is != "" {
		s.state = is
	}
	named := path.Clean(s.o.StateDir)
	if s.o.StateDir == "" || named == s.state {
		return nil
	}
	if is == "" {
		if used, err := s.isStateOf(ctx, s.state); err != nil || !used {
			s.state = named
			return err
		}
	}
	return fmt.Errorf("%w: %s keeps its state in %s, not in %s", ErrTwoStates, s.table, s.state, named)
}

// isStateOf reports whether a folder is the state of this table, and not that of one that had its name before.
func (s *Store) isStateOf(ctx context.Context, dir string) (bool, error) {
	var id tableIdentity
	err := stage.ReadJSON(ctx, s.fsys, path.Join(dir, identity), &id)
	if errors.Is(err, fs.ErrNotExist) {
		return s.isUsed(ctx, dir)
	}
	if err == nil && id.Table != s.table {
		return false, nil
	}
	if err != nil || id.ID == "" {
		return err == nil, err
	}
	info, err := s.fsys.Stat(ctx, s.table)
	if errors.Is(err, fs.ErrNotExist) || err == nil && info.ID == id.ID {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	return s.exists(ctx, path.Join(dir, registryName))
}

// isUsed reports whether a state holds anything, of which the run that made the table did not write down whose it is.
func (s *Store) isUsed(ctx context.Context, dir string) (bool, error) {
	for _, at := range []place{committed, done} {
		list, err := s.fsys.List(ctx, path.Join(dir, string(at)))
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
		if slices.ContainsFunc(list, func(i storage.Info) bool { return path.Ext(i.Name) == ".json" }) {
			return true, nil
		}
	}
	return s.exists(ctx, path.Join(dir, configName))
}

// StateDir is the folder of the table's state.
func (s *Store) StateDir() string { return s.state }

func (s *Store) readPointer(ctx context.Context) (string, error) {
	var p struct {
		State string `json:"state"`
	}
	err := stage.ReadJSON(ctx, s.fsys, path.Join(s.table, pointer), &p)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return p.State, err
}

func (s *Store) checkIdentity(ctx context.Context) error {
	var id tableIdentity
	err := stage.ReadJSON(ctx, s.fsys, path.Join(s.state, identity), &id)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if id.Table != s.table {
		return fmt.Errorf("%w: %s is the state of %s; give %s a --state-dir of its own", ErrForeignState, s.state, id.Table, s.table)
	}
	if id.ID == "" {
		return nil
	}
	info, err := s.fsys.Stat(ctx, s.table)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.ID != id.ID {
		// Where a registry tells, the folder itself is not where the rows are, and the state may hold all of them.
		if marked, merr := s.exists(ctx, path.Join(s.state, registryName)); merr != nil || marked {
			return merr
		}
		return fmt.Errorf("%w: %s was made anew since %s was written; move that folder away if its history is not needed",
			ErrForeignState, s.table, s.state)
	}
	return err
}

// makeState makes the state folder, before the first write.
func (s *Store) makeState(ctx context.Context) error {
	var dirs []string
	for _, d := range []string{stagingDir, historyDir, claimsDir, string(committed), locksDir, trashDir,
		string(takenBack), string(done), path.Join(locksDir, runLocks)} {
		dirs = append(dirs, path.Join(s.state, d))
	}
	return s.explain(s.mkdirs(ctx, dirs...))
}

// identify ties the state folder to the table.
func (s *Store) identify(ctx context.Context, run string, partitioned bool) error {
	if err := s.writePointer(ctx, run); err != nil {
		return err
	}
	id := tableIdentity{Table: s.table}
	if partitioned {
		there, err := s.exists(ctx, s.table)
		if err != nil || !there {
			return err // a table that comes to be with this run is recorded by a later one
		}
		info, err := s.fsys.Stat(ctx, s.table)
		if err != nil {
			return err
		}
		id.ID = info.ID
	}
	return s.writeOnce(ctx, path.Join(s.state, identity), run, id)
}

// writeOnce writes a file that others read by its name: whole or not at all, and only where nobody
// wrote it before. It is durable when this returns, whoever wrote it.
func (s *Store) writeOnce(ctx context.Context, name, run string, v any) error {
	there, err := s.exists(ctx, name)
	if err != nil {
		return err
	}
	if !there {
		prepared := path.Join(s.staging(run), path.Base(name))
		err := stage.WriteJSON(ctx, s.fsys, prepared, v)
		if err == nil {
			err = s.fsys.Rename(ctx, prepared, name)
		}
		if err != nil {
			rerr := s.removeAll(ctx, prepared)
			if !errors.Is(err, fs.ErrExist) { // another run was faster
				return errors.Join(err, rerr)
			}
		}
	}
	return s.fsys.SyncDir(ctx, path.Dir(name))
}

// writePointer leaves the state's place with a table whose state is not beside it, so that no other
// run makes a second one.
func (s *Store) writePointer(ctx context.Context, run string) error {
	if s.state == s.usualState() {
		return nil
	}
	if ok, err := s.exists(ctx, s.table); err != nil || !ok {
		return err // a table that comes to be gets it when it is there
	}
	return s.writeOnce(ctx, path.Join(s.table, pointer), run, map[string]string{"state": s.state})
}

// pointLater is writePointer for a run that has published, and that may have made the table.
func (s *Store) pointLater(ctx context.Context, run string) error {
	if is, err := s.readPointer(ctx); err != nil || is != "" || s.state == s.usualState() {
		return err
	}
	// Its staging is gone by now. The run holds its lock still: what it makes there is nobody else's.
	if err := s.fsys.Mkdir(ctx, s.staging(run), 0o755); err != nil {
		return err
	}
	return errors.Join(s.writePointer(ctx, run), s.removeAll(ctx, s.staging(run)))
}

func (s *Store) explain(err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("the table's state goes to %s: %w; name another folder of the same file system with --state-dir", s.state, err)
	}
	return err
}

// mkdirs makes folders and what is missing above them, durable when it returns. The name of a folder
// that is there may not be: who made it may have been killed before it synced.
func (s *Store) mkdirs(ctx context.Context, dirs ...string) error {
	made := map[string]bool{}
	var parents []string
	for _, dir := range dirs {
		parent := path.Dir(dir)
		_, err := s.fsys.Stat(ctx, dir)
		if errors.Is(err, fs.ErrNotExist) {
			s.durable.Delete(dir)
			made[parent] = true
			err = s.mkdirWithin(ctx, dir)
		}
		if err != nil {
			return err
		}
		if _, known := s.durable.Load(dir); !known && !slices.Contains(parents, parent) {
			parents = append(parents, parent)
		}
	}
	for _, parent := range parents {
		err := s.fsys.SyncDir(ctx, parent)
		// A folder that we may not read holds nothing that we made: who made something there synced it.
		if err != nil && (made[parent] || !errors.Is(err, fs.ErrPermission)) {
			return err
		}
	}
	for _, dir := range dirs {
		s.durable.Store(dir, true)
	}
	return nil
}

// syncIfThere makes the names of a folder durable.
func (s *Store) syncIfThere(ctx context.Context, dir string) error {
	err := s.fsys.SyncDir(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// syncBoth makes a rename durable: the new name first, so that a crash between the two leaves the
// folder under both names or one, never under none.
func (s *Store) syncBoth(ctx context.Context, to, from string) error {
	if err := s.fsys.SyncDir(ctx, path.Dir(to)); err != nil {
		return err
	}
	return s.fsys.SyncDir(ctx, path.Dir(from))
}

// mkdirWithin makes a folder, what is above it first and durably, so that whoever finds a folder need
// sync one name only.
func (s *Store) mkdirWithin(ctx context.Context, dir string) error {
	if err := s.mkdirs(ctx, path.Dir(dir)); err != nil {
		return err
	}
	err := s.fsys.Mkdir(ctx, dir, 0o755)
	if errors.Is(err, fs.ErrExist) {
		return nil // another run was faster
	}
	return err
}

// removeAll removes a tree; what is not there is fine. Nothing in it is needed any more, so nothing
// is synced: after a crash it is removed again.
func (s *Store) removeAll(ctx context.Context, name string) error {
	info, err := s.fsys.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err == nil && info.IsDir() {
		var list []storage.Info
		if list, err = s.fsys.List(ctx, name); err == nil {
			err = s.each(len(list), func(i int) error { return s.removeAll(ctx, path.Join(name, list[i].Name)) })
		}
	}
	if err == nil {
		err = s.fsys.Remove(ctx, name)
	}
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// exists reports whether anything has a name.
func (s *Store) exists(ctx context.Context, name string) (bool, error) {
	_, err := s.fsys.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// live is the folder of a partition as readers see it.
func (s *Store) live(partition string) string { return path.Join(s.table, partition) }

func (s *Store) history(partition, run string) string {
	return path.Join(s.state, historyDir, partition, run)
}

// ReadConfig reads table.yaml; fs.ErrNotExist where there is none.
func (s *Store) ReadConfig(ctx context.Context) ([]byte, error) {
	return stage.ReadFile(ctx, s.fsys, path.Join(s.state, configName))
}

// WriteConfig replaces table.yaml atomically; it is durable when this returns.
func (s *Store) WriteConfig(ctx context.Context, data []byte) error {
	return s.writeState(ctx, configName, data)
}

// notesDir is the folder of the state for what callers note down.
const notesDir = "notes"

// ReadNote reads what WriteNote wrote; fs.ErrNotExist where there is none.
func (s *Store) ReadNote(ctx context.Context, name string) ([]byte, error) {
	return stage.ReadFile(ctx, s.fsys, path.Join(s.state, notesDir, name))
}

// WriteNote replaces a caller's note atomically; it is durable when this returns. Nothing that the store does rests on notes.
func (s *Store) WriteNote(ctx context.Context, name string, data []byte) error {
	return s.writeState(ctx, path.Join(notesDir, name), data)
}

// writeState replaces a file of the state atomically; it is durable when this returns.
func (s *Store) writeState(ctx context.Context, file string, data []byte) error {
	name := path.Join(s.state, file)
	if err := s.mkdirs(ctx, path.Dir(name)); err != nil {
		return s.explain(err)
	}
	w, err := s.fsys.Create(ctx, name+".new", 0o644)
	if errors.Is(err, fs.ErrExist) { // an interrupted write left it
		if err = s.fsys.Remove(ctx, name+".new"); err == nil {
			w, err = s.fsys.Create(ctx, name+".new", 0o644)
		}
	}
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	if err == nil {
		err = w.Sync() // the content before the name: a crash leaves the old file or the new one
	}
	if err = errors.Join(err, w.Close()); err != nil {
		return err
	}
	if err := s.fsys.Replace(ctx, name+".new", name); err != nil {
		return err
	}
	return s.fsys.SyncDir(ctx, path.Dir(name))
}
