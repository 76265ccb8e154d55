package swap

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// lease is a partition held by a run. The file system's lock ends with the process that holds it, so
// that a killed run frees its partitions at once; a lock file is never removed, or two runs could
// hold two files of one name.
type lease struct {
	unlocker storage.Unlocker
	holder   string // file that names us
}

func (s *Store) lockName(partition string) string {
	if partition == "" {
		return path.Join(s.state, locksDir, "table"+lockEnding)
	}
	return path.Join(s.state, locksDir, flatName(partition)+lockEnding)
}

// longestName is the length up to which a partition's path is the name of its lock: file systems allow
// 255 bytes, and the name gets endings.
const longestName = 200

// flatName makes one name of a partition's path, so that all locks are in one folder: a storage may hold
// the locks of a folder together.
func flatName(partition string) string {
	name := strings.ReplaceAll(strings.ReplaceAll(partition, ",", ",,"), "/", ",")
	if len(name) <= longestName {
		return name
	}
	sum := sha256.Sum256([]byte(partition))
	return strings.ToValidUTF8(name[:longestName-33], "") + "-" + hex.EncodeToString(sum[:16])
}

// lock takes a partition, waiting as long as is said.
func (s *Store) lock(ctx context.Context, partition, run string, wait time.Duration) (*lease, error) {
	name := s.lockName(partition)
	u, err := s.await(ctx, name, wait, func() error {
		_, o, err := s.readHolder(ctx, name+holderEnding)
		if err != nil || o.Run == "" {
			return err
		}
		return s.deserted(ctx, o.Run)
	})
	var l *lease
	if err == nil {
		l, err = s.hold(ctx, name, run, u)
	}
	if errors.Is(err, storage.ErrLocked) {
		return nil, s.lockedBy(ctx, partition, name)
	}
	return l, err
}

// holderEnding makes the name of the file that names a lock's holder.
const holderEnding = ".json"

// await takes a lock, trying again until the wait is over: storage.ErrLocked. The wait is measured by a clock that
// never jumps. Not every lock reaches beyond its machine, so that free looks for holders on others.
func (s *Store) await(ctx context.Context, name string, wait time.Duration, free func() error) (storage.Unlocker, error) {
	started := time.Now()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		u, err := s.fsys.Lock(ctx, name)
		if err == nil {
			if err = free(); err == nil {
				return u, nil
			}
			err = errors.Join(err, u.Unlock())
		}
		if !errors.Is(err, storage.ErrLocked) || time.Since(started) >= wait {
			return nil, err
		}
		if err := rest(ctx, pause); err != nil {
			return nil, err
		}
	}
}

// rest waits, or less where the context ends.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-timer.C:
		return nil
	}
}

// hold names us as the holder, in place of a killed run that may stand there.
func (s *Store) hold(ctx context.Context, name, run string, u storage.Unlocker) (*lease, error) {
	l := &lease{unlocker: u, holder: name + holderEnding}
	if err := s.writeHolder(ctx, l.holder, run); err != nil {
		return nil, errors.Join(err, u.Unlock())
	}
	return l, nil
}

func (s *Store) writeHolder(ctx context.Context, name, run string) error {
	owner := s.o.Owner
	owner.Run, owner.Since = run, s.o.Clock().UTC()
	err := s.put(ctx, name, owner)
	if errors.Is(err, fs.ErrExist) {
		if err = s.fsys.Remove(ctx, name); err == nil || errors.Is(err, fs.ErrNotExist) {
			err = s.put(ctx, name, owner)
		}
		if errors.Is(err, fs.ErrExist) {
			err = fmt.Errorf("%w: another machine was faster", storage.ErrLocked)
		}
	}
	if isFull(err) {
		err = nil // vacuum must make room where there is none
	}
	return err
}

// put writes a new file that is for those who live: after a crash it may be half or gone.
func (s *Store) put(ctx context.Context, name string, owner Owner) error {
	data, err := json.Marshal(owner)
	if err != nil {
		return err
	}
	w, err := s.fsys.Create(ctx, name, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(append(data, '\n'))
	if err = errors.Join(err, w.Close()); err != nil {
		err = errors.Join(err, s.fsys.Remove(context.WithoutCancel(ctx), name))
	}
	return err
}

// readHolder reads a holder's file, "" where there is none. Half a file is one that was being written.
func (s *Store) readHolder(ctx context.Context, name string) (text string, o Owner, err error) {
	data, err := stage.ReadFile(ctx, s.fsys, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", o, nil
	}
	if err == nil && json.Unmarshal(data, &o) != nil {
		o = Owner{} // what can't be read names nobody
	}
	return string(data), o, err
}

func (s *Store) lockedBy(ctx context.Context, partition, name string) error {
	var o Owner
	who := "another run"
	if err := stage.ReadJSON(ctx, s.fsys, name+holderEnding, &o); err == nil {
		who = fmt.Sprintf("run %s (process %d on %s, since %s)", o.Run, o.PID, o.Host, o.Since.Format(time.RFC3339))
	}
	return fmt.Errorf("%w: %s is held by %s", ErrLocked, display(partition), who)
}

func (l *lease) release(s *Store) error {
	// Under the lock still, so that no successor's name is removed. A name that stays does no harm.
	err := s.fsys.Remove(context.WithoutCancel(context.Background()), l.holder)
	if errors.Is(err, fs.ErrNotExist) {
		err = nil
	}
	return errors.Join(err, l.unlocker.Unlock())
}

// leases holds several partitions, taken in sorted order so that two runs can't wait for each other.
func (s *Store) leases(ctx context.Context, partitions []string, run string) ([]*lease, error) {
	sorted := slices.Compact(slices.Sorted(slices.Values(partitions)))
	var dirs []string
	for _, p := range sorted {
		dirs = append(dirs, path.Dir(s.lockName(p)))
	}
	if err := s.mkdirs(ctx, dirs...); err != nil {
		return nil, err
	}
	if len(sorted) > 1 && s.fsys.Capabilities().Remote {
		out, err := s.locksAtOnce(ctx, sorted, run)
		if err == nil || s.o.LockWait == 0 || !errors.Is(err, ErrLocked) {
			return out, err
		}
	}
	var out []*lease
	for _, p := range sorted {
		l, err := s.lock(ctx, p, run, s.o.LockWait)
		if err != nil {
			return nil, errors.Join(err, releaseAll(s, out))
		}
		out = append(out, l)
	}
	return out, nil
}

// locksAtOnce takes partitions side by side, all or none. It waits for nobody: who waits for one while it holds
// another takes them in order.
func (s *Store) locksAtOnce(ctx context.Context, partitions []string, run string) ([]*lease, error) {
	all := make([]*lease, len(partitions))
	err := s.each(len(all), func(i int) (err error) {
		all[i], err = s.lock(ctx, partitions[i], run, 0)
		return err
	})
	if err == nil {
		return all, nil
	}
	got := slices.DeleteFunc(all, func(l *lease) bool { return l == nil })
	return nil, errors.Join(err, releaseAll(s, got))
}

func releaseAll(s *Store, leases []*lease) error {
	errs := make([]error, len(leases))
	err := s.each(len(leases), func(i int) error {
		errs[i] = leases[i].release(s) // one that stays keeps none of the others
		return nil
	})
	return errors.Join(err, errors.Join(errs...))
}

// display is a partition as a message names it.
func display(partition string) string {
	if partition == "" {
		return "the table"
	}
	return "partition " + partition
}
