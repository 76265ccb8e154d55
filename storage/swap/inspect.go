package swap

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/storage/stage"
)

// Condition is what Inspect can find in a state.
type Condition string

// The conditions.
const (
	Running    Condition = "running"    // a run that lives
	Unfinished Condition = "unfinished" // a run that committed, or is being taken back, and is gone
	Abandoned  Condition = "abandoned"  // what a run staged that is gone and never committed
	Kept       Condition = "kept"       // what a run staged to be published later
	StaleLock  Condition = "stale_lock" // a lock names a holder that is gone
	Unreadable Condition = "unreadable" // a file of the state can't be read
	Damaged    Condition = "damaged"    // an earlier version whose files are not those that were live
	Changed    Condition = "changed"    // the live partition is not the version published last
	SetBack    Condition = "set_back"   // it is where it was before that, and readers do not see what was published
)

// Remark is one thing that Inspect found.
type Remark struct {
	Condition Condition
	Run       string
	Partition string // "" also where it is of no partition
	Path      string // of the file or folder of the state
	Message   string
}

// Inspect looks at the state of the table, and changes nothing: it takes no locks and makes no folders. Of
// what belongs to a partition only those that are wanted are looked at. A version whose folder is gone
// counts as vacuumed.
func (s *Store) Inspect(ctx context.Context, wanted func(partition string) bool) ([]Remark, error) {
	i := &inspector{Store: s, wanted: wanted, open: map[string]bool{}}
	for _, step := range []func(context.Context) error{i.records, i.staged, i.locks, i.histories} {
		if err := step(ctx); err != nil {
			return i.found, err
		}
	}
	return i.found, nil
}

type inspector struct {
	*Store
	wanted func(string) bool
	open   map[string]bool       // partitions of runs that are not finished
	at     map[string]Registered // where partitions are
	found  []Remark
}

func (i *inspector) remark(r Remark, format string, args ...any) {
	r.Message = fmt.Sprintf(format, args...)
	i.found = append(i.found, r)
}

// unreadable remarks on a file that can't be read; one that is gone by now is none.
func (i *inspector) unreadable(r Remark, err error) {
	if !errors.Is(err, fs.ErrNotExist) {
		r.Condition = Unreadable
		i.remark(r, "%v", err)
	}
}

// lives reports whether a run holds its lock.
func (i *inspector) lives(ctx context.Context, run string) (bool, error) {
	held, err := i.fsys.Locked(ctx, i.runLock(run))
	if errors.Is(err, errors.ErrUnsupported) {
		return false, nil
	}
	if err != nil || held {
		return held, err
	}
	// Locks need not reach beyond a machine. Whether a run of another one lives its pulse tells, which recover waits for.
	_, o, err := i.readHolder(ctx, i.runHolder(run))
	return o.Machine != "" && o.Machine != i.o.Owner.Machine, err
}

// records looks at the records of runs. Those of finished runs are read as well: they say which
// partitions changed together.
func (i *inspector) records(ctx context.Context) error {
	for _, at := range []place{committed, takenBack, done} {
		list, err := i.listed(ctx, string(at))
		if err != nil {
			return err
		}
		for _, info := range list {
			run, isRecord := strings.CutSuffix(info.Name, ".json")
			if info.IsDir() || !isRecord {
				continue
			}
			r := Remark{Run: run, Path: i.recordName(at, run)}
			rec, err := i.readRecord(ctx, at, run)
			if err != nil {
				i.unreadable(r, err)
				continue
			}
			if at != done {
				if err := i.unfinished(ctx, r, at, rec); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

func (i *inspector) unfinished(ctx context.Context, r Remark, at place, rec record) error {
	lives, err := i.lives(ctx, rec.Run)
	if err != nil {
		return err
	}
	for _, p := range rec.partitions() {
		i.open[p] = true
	}
	if there, err := i.exists(ctx, r.Path); err != nil || !there {
		return err // it has ended since
	}
	switch {
	case lives:
		r.Condition = Running
		i.remark(r, "run %s (%s) is publishing", rec.Run, rec.Command)
	case at == committed:
		r.Condition = Unfinished
		i.remark(r, "run %s (%s) is committed, and was interrupted before all of its %d partitions were switched", rec.Run, rec.Command, len(rec.Entries))
	default:
		r.Condition = Unfinished
		i.remark(r, "run %s (%s) met a conflict, and was interrupted while it was taken back", rec.Run, rec.Command)
	}
	return nil
}

// staged looks at what runs have staged.
func (i *inspector) staged(ctx context.Context) error {
	list, err := i.listed(ctx, stagingDir)
	if err != nil {
		return err
	}
	for _, info := range list {
		r := Remark{Run: info.Name, Path: i.staging(info.Name)}
		lives, err := i.lives(ctx, r.Run)
		if err != nil {
			return err
		}
		kept, err := i.waits(ctx, r.Run)
		if err != nil {
			return err
		}
		at, err := i.placeOf(ctx, r.Run)
		if err != nil {
			return err
		}
		there, err := i.exists(ctx, r.Path)
		switch {
		case err != nil:
			return err
		case !there, at == committed, at == takenBack: // told with its record, or ended
		case lives:
			r.Condition = Running
			i.remark(r, "run %s is under way", r.Run)
		case kept && at == nowhere:
			if _, err := i.StagedRun(ctx, r.Run); err != nil {
				i.unreadable(Remark{Run: r.Run, Path: i.stagedRecordName(r.Run)}, err)
				break
			}
			r.Condition = Kept
			i.remark(r, "run %s is staged, and waits to be published", r.Run)
		default:
			r.Condition = Abandoned
			i.remark(r, "run %s was interrupted before it committed; what it staged is left", r.Run)
		}
	}
	return nil
}

// locks looks for holders that are gone: the lock ended with them, and only their name is left.
func (i *inspector) locks(ctx context.Context) error {
	list, err := i.listed(ctx, locksDir)
	if err != nil {
		return err
	}
	for _, info := range list {
		lockFile, names := strings.CutSuffix(info.Name, ".json")
		if info.IsDir() || !names {
			continue
		}
		r := Remark{Condition: StaleLock, Path: path.Join(i.state, locksDir, info.Name)}
		held, err := i.fsys.Locked(ctx, path.Join(i.state, locksDir, lockFile))
		if errors.Is(err, errors.ErrUnsupported) {
			return nil
		}
		if err != nil {
			return err
		}
		var o Owner
		if held || errors.Is(stage.ReadJSON(ctx, i.fsys, r.Path, &o), fs.ErrNotExist) {
			continue
		}
		r.Run = o.Run
		i.remark(r, "%s names run %s (process %d on %s), which is gone", info.Name, o.Run, o.PID, o.Host)
	}
	return nil
}

// histories looks at the versions of every partition.
func (i *inspector) histories(ctx context.Context) error {
	partitions, err := i.Partitions(ctx)
	if err != nil {
		return err
	}
	partitions = slices.DeleteFunc(partitions, func(p string) bool { return !i.wanted(p) })
	if i.knowsFolders() { // else only the registry, which is not there, could tell
		if i.at, err = i.lookAround(ctx, partitions); err != nil {
			return err
		}
	}
	found := make([][]Remark, len(partitions))
	err = i.each(len(partitions), func(k int) error {
		one := *i
		one.found = nil
		err := one.history(ctx, partitions[k])
		found[k] = one.found
		return err
	})
	i.found = append(i.found, slices.Concat(found...)...)
	return err
}

func (i *inspector) history(ctx context.Context, partition string) error {
	dir := path.Join(i.state, claimsDir, partition)
	list, err := i.fsys.List(ctx, dir)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, info := range list {
		var c claim
		name := path.Join(dir, info.Name, claimName)
		if !isVersionName(info.Name) {
			continue
		}
		if err := stage.ReadJSON(ctx, i.fsys, name, &c); err != nil {
			if there, serr := i.exists(ctx, path.Join(dir, info.Name)); serr == nil && there && errors.Is(err, fs.ErrNotExist) {
				err = errors.New("the claim is not there")
			}
			i.unreadable(Remark{Partition: partition, Path: name}, err)
			return nil // the versions can't be told
		}
	}
	if i.open[partition] {
		return nil // its folders are on the move
	}
	return i.versions(ctx, partition)
}

// versions holds what is kept against the claims.
func (i *inspector) versions(ctx context.Context, partition string) error {
	claims, err := i.committed(ctx, partition)
	if err != nil || len(claims) == 0 {
		return err
	}
	files := map[string][]stage.File{}
	for _, c := range claims {
		files[c.Run] = c.Manifest.Files
	}
	versions, err := i.History(ctx, partition)
	if err != nil {
		return err
	}
	for _, v := range versions {
		if v.Live || v.Path == "" {
			continue
		}
		if err := i.version(ctx, partition, v, files[v.Run]); err != nil {
			return err
		}
	}
	return i.registration(ctx, partition, claims)
}

// registration holds what readers see against the version published last.
func (i *inspector) registration(ctx context.Context, partition string, claims []claim) error {
	if !i.knowsFolders() { // only the registry, which is not there, could tell
		return nil
	}
	r, why, err := i.seen(ctx, partition, claims, i.at[partition])
	if err != nil || why == "" {
		return err
	}
	// All partitions were looked up at once, some time ago.
	at, err := i.look(ctx, []string{partition})
	switch {
	case errors.Is(err, ErrElsewhere):
		why, err = err.Error(), nil
	case err == nil:
		r, why, err = i.seen(ctx, partition, claims, at[partition])
	}
	if err != nil || why == "" {
		return err
	}
	if now, err := i.committed(ctx, partition); err != nil || len(now) == 0 || now[len(now)-1].Run != r.Run {
		return err // published since
	}
	if at, err := i.placeOf(ctx, r.Run); err != nil || at != done {
		return err // or being published
	}
	i.remark(r, "%s", why)
	return nil
}

// seen says what is wrong with a partition as readers see it, "" if nothing is.
func (i *inspector) seen(ctx context.Context, partition string, claims []claim, at Registered) (r Remark, why string, err error) {
	last := claims[len(claims)-1]
	r = Remark{Condition: Changed, Run: last.Run, Partition: partition, Path: at.Folder}
	if r.Path == "" {
		r.Path = i.live(partition)
	}
	if i.o.Registry != nil {
		behind, err := i.behindOne(ctx, partition, at.Folder)
		if err != nil {
			return r, "", err
		}
		if behind != nil {
			r.Condition = Unfinished
			return r, fmt.Sprintf("version %d of run %s is committed, and the metastore has the partition at %s", last.Version, last.Run, at.Folder), nil
		}
	}
	now, err := i.inputsAt(ctx, partition, at)
	if errors.Is(err, ErrLost) {
		r.Condition = Damaged
		return r, err.Error(), nil
	}
	if err != nil {
		return r, "", err
	}
	if back := i.setBack(partition, claims, now); back != nil {
		r.Condition = SetBack
		return r, back.Missing(), nil
	}
	if why = i.strayed(last, now); why != "" {
		why = fmt.Sprintf("%s since run %s published it", why, last.Run)
	}
	return r, why, nil
}

// version holds the folder of an earlier version against what was live: its files where they are known,
// else their number and bytes.
func (i *inspector) version(ctx context.Context, partition string, v Version, known []stage.File) error {
	run, files, bytes := v.Run, v.Files, v.Bytes
	r := Remark{Condition: Damaged, Run: run, Partition: partition, Path: v.Path}
	have, err := stage.List(ctx, i.fsys, r.Path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	total := int64(0)
	sizes := map[string]int64{}
	for _, f := range have {
		total += f.Size
		sizes[f.Name] = f.Size
	}
	for _, f := range known {
		switch size, ok := sizes[f.Name]; {
		case !ok:
			i.remark(r, "version %s lacks its file %s", run, f.Name)
			return nil
		case size != f.Size:
			i.remark(r, "version %s has a file %s of %d bytes, %d were live", run, f.Name, size, f.Size)
			return nil
		}
	}
	if len(have) != files || total != bytes {
		i.remark(r, "version %s has %d files of %d bytes, live were %d of %d", run, len(have), total, files, bytes)
	}
	return nil
}
