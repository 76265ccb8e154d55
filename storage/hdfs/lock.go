package hdfs

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// HDFS has no locks that end with their process. A lock here is an empty file, created exclusively; its holder moves
// its modification time every Pulse. Who finds one watches it by its own clock, counting only time in which the namenode
// answered: where it moves, somebody holds it; where it stands still for Silence, its holder is dead, and the file is
// removed by its id. Of two that find the same one dead one removes it, and neither can remove the file of a new
// holder, whose id is another. A holder that finds its file gone has lost the lock, and says so in the log.

// heldHere are the locks of this process, so that its goroutines exclude each other at once, through whichever FS.
var heldHere = struct {
	sync.Mutex
	names map[string]*holdings
}{names: map[string]*holdings{}}

// holdings are the locks that an FS holds, and what it saw of those of others.
type holdings struct {
	f *FS

	mu      sync.Mutex
	held    map[string]*held   // by name
	taken   map[string]uint64  // the ids of locks from when they are taken until their holders end them
	folders []string           // with locks that were asked for lately
	stop    context.CancelFunc // of the goroutine that renews them

	watch chan struct{} // has what one who watches has put there: he sees all locks of all folders
	seen  map[string]sight
	waits int // how many holders were waited for
}

// held is a lock of ours.
type held struct {
	in    *holdings
	name  string
	id    uint64
	moved int64 // modification time that it was given, in milliseconds
	// ended: it is not renewed any more; unlocked: by its holder
	ended, unlocked bool
}

// sight is what was seen of a lock's file.
type sight struct {
	id    string
	mtime time.Time
	still time.Duration // for how long it has not moved
	at    time.Time     // when it was looked at
}

func (h *holdings) key(name string) string { return h.f.o.Address.Name + name }

// Lock implements storage.FS. To see whether the holder of a lock that is there lives takes up to Options.Silence.
func (f *FS) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	h := f.locks
	if !h.claim(name) {
		return nil, pathError("lock", name, storage.ErrLocked)
	}
	l, err := h.lock(ctx, name)
	if err != nil {
		h.free(name)
		return nil, pathError("lock", name, err)
	}
	return l, nil
}

// claim takes a name within the process.
func (h *holdings) claim(name string) bool {
	heldHere.Lock()
	defer heldHere.Unlock()
	if heldHere.names[h.key(name)] != nil {
		return false
	}
	heldHere.names[h.key(name)] = h
	return true
}

func (h *holdings) free(name string) {
	heldHere.Lock()
	defer heldHere.Unlock()
	if heldHere.names[h.key(name)] == h {
		delete(heldHere.names, h.key(name))
	}
}

// lock takes a lock that nobody in this process holds.
func (h *holdings) lock(ctx context.Context, name string) (*held, error) {
	h.asked(name)
	l, err := h.make(ctx, name)
	if !errors.Is(err, fs.ErrExist) {
		return l, err
	}
	switch dead, err := h.dead(ctx, name); {
	case err != nil:
		return nil, err
	case dead == "":
		return nil, storage.ErrLocked
	default:
		h.f.o.Logger.Info("taking over a lock whose holder is gone", "lock", name, "silent_for", h.f.o.Silence)
		if err := h.f.Remove(ctx, "/.reserved/.inodes/"+dead); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
	}
	if l, err = h.make(ctx, name); errors.Is(err, fs.ErrExist) {
		err = storage.ErrLocked // somebody was faster
	}
	return l, err
}

// make makes a lock's file, and renews it from now on.
func (h *holdings) make(ctx context.Context, name string) (*held, error) {
	made, err := h.f.create(ctx, name, 0o644)
	if err != nil {
		return nil, err
	}
	defer h.f.pool.give(made.c)
	l := &held{in: h, name: name, id: made.id, moved: time.Now().UnixMilli()}
	if err := h.f.complete(context.WithoutCancel(ctx), name, made.c.lib.Name(), made.id, nil); err != nil {
		return nil, errors.Join(err, l.remove())
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.held == nil {
		h.held = map[string]*held{}
	}
	h.held[name] = l
	if h.taken == nil {
		h.taken = map[string]uint64{}
	}
	h.taken[name] = l.id
	if h.stop == nil {
		var beating context.Context
		beating, h.stop = context.WithCancel(context.Background())
		go h.beat(beating)
	}
	return l, nil
}

// dead watches a lock, and gives the id of its file where it stands still for the silence. "" means that it lives, or is
// gone by now.
func (h *holdings) dead(ctx context.Context, name string) (string, error) {
	select {
	case h.watch <- struct{}{}:
	case <-ctx.Done():
		return "", ctx.Err()
	}
	defer func() { <-h.watch }()
	told, warned := false, false
	var first sight
	for {
		now, there, err := h.look(ctx, name)
		switch {
		case err != nil:
			return "", err
		case !there || first.id != "" && (now.id != first.id || !now.mtime.Equal(first.mtime)):
			return "", nil
		case now.still >= h.f.o.Silence:
			return now.id, nil
		}
		if first = now; !told {
			told = true
			h.waits++
			h.f.o.Logger.Info("waiting to see whether the holder of a lock lives", "lock", name, "up_to", h.f.o.Silence)
		}
		if now.still > h.f.o.Pulse && !warned {
			warned = true
			h.f.o.Logger.Warn("a lock's holder seems to be gone: waiting to be sure", "lock", name, "for", h.f.o.Silence)
		}
		if err := rest(ctx, min(h.f.o.Pulse, h.f.o.Silence)/2); err != nil {
			return "", err
		}
	}
}

// maxFolders is in how many folders locks are looked at.
const maxFolders = 4

// look looks at all locks of the folders in which some were asked for: who waits for one of a dead run knows the
// others, too. A look that came late, since the namenode did not answer or this process stood still, begins the
// count anew: the holder may not have been able to move its lock either.
func (h *holdings) look(ctx context.Context, name string) (sight, bool, error) {
	fresh := map[string]sight{}
	h.mu.Lock()
	folders := slices.Clone(h.folders)
	h.mu.Unlock()
	for _, dir := range folders {
		list, err := h.f.List(ctx, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sight{}, false, err
		}
		at := time.Now()
		for _, i := range list {
			file := path.Join(dir, i.Name)
			s := sight{id: i.ID, mtime: i.ModTime, at: at}
			if old, ok := h.seen[file]; ok && old.id == s.id && old.mtime.Equal(s.mtime) && at.Sub(old.at) <= 2*h.f.o.Pulse {
				s.still = old.still + at.Sub(old.at)
			}
			fresh[file] = s
		}
	}
	h.seen = fresh
	s, there := fresh[name]
	return s, there, nil
}

// asked notes the folder of a lock.
func (h *holdings) asked(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	dir := path.Dir(name)
	h.folders = slices.DeleteFunc(h.folders, func(at string) bool { return at == dir })
	h.folders = append(h.folders, dir)
	h.folders = h.folders[max(0, len(h.folders)-maxFolders):]
}

// Locked implements storage.FS. It takes up to Options.Silence where there is a lock's file.
func (f *FS) Locked(ctx context.Context, name string) (bool, error) {
	if err := ctx.Err(); err != nil {
		return false, err
	}
	if f.locks.mine(name) {
		return true, nil
	}
	if _, err := f.Stat(ctx, name); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = nil
		}
		return false, err
	}
	f.locks.asked(name)
	dead, err := f.locks.dead(ctx, name)
	if err != nil || dead != "" {
		return false, pathError("lock", name, err)
	}
	_, err = f.Stat(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// mine reports whether this process holds a lock.
func (h *holdings) mine(name string) bool {
	heldHere.Lock()
	defer heldHere.Unlock()
	return heldHere.names[h.key(name)] != nil
}

// beat moves the locks until the last one ends.
func (h *holdings) beat(ctx context.Context) {
	for rest(ctx, h.f.o.Pulse) == nil {
		h.mu.Lock()
		locks := make(chan *held, len(h.held))
		for _, l := range h.held {
			locks <- l
		}
		h.mu.Unlock()
		close(locks)
		var wg sync.WaitGroup
		for range min(h.f.o.Clients, cap(locks)) {
			wg.Go(func() {
				for l := range locks {
					l.move(ctx)
				}
			})
		}
		wg.Wait()
	}
}

// keepTime leaves a file's time of access as it is.
const keepTime = ^uint64(0)

// move moves a lock's modification time. A namenode that does not answer soon is asked anew with the next pulse, by
// another connection: a call that hangs must not cost the lock.
func (l *held) move(ctx context.Context) {
	h := l.in
	ctx, cancel := context.WithTimeout(ctx, 2*h.f.o.Pulse)
	defer cancel()
	h.mu.Lock()
	l.moved = max(l.moved+1, time.Now().UnixMilli())
	to, ended := l.moved, l.ended
	h.mu.Unlock()
	if ended {
		return
	}
	err := h.f.try(ctx, func(c *client, _ bool) error {
		_, err := c.call("setTimes", request{"src": idPath(l.id), "mtime": to, "atime": keepTime})
		return err
	})
	h.mu.Lock()
	defer h.mu.Unlock()
	if err == nil || l.ended {
		return
	}
	if errors.Is(err, fs.ErrNotExist) {
		h.f.o.Logger.Warn("a lock was taken by another process, or removed: this one stood still for too long", "lock", l.name)
		h.drop(l)
		return
	}
	if h.held[l.name] == l {
		h.f.o.Logger.Warn("a lock could not be renewed", "lock", l.name, "error", err)
	}
}

// drop ends renewing; the caller holds h.mu.
func (h *holdings) drop(l *held) {
	l.ended = true
	if h.held[l.name] == l {
		delete(h.held, l.name)
	}
	if len(h.held) == 0 && h.stop != nil {
		h.stop()
		h.stop = nil
	}
}

// close ends renewing of all: their holder is as good as dead, and others take them after the silence.
func (h *holdings) close() {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.held {
		h.drop(l)
		h.free(l.name)
	}
}

// removed ends the renewing of a lock whose file its holder has removed.
func (h *holdings) removed(name string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if l := h.held[name]; l != nil {
		h.drop(l)
	}
}

// lost reports whether the file of a lock that was ours, and that its holder has not ended yet, is another one's by now:
// it is not for us to remove then.
func (h *holdings) lost(name string, now uint64) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	id, ok := h.taken[name]
	return ok && id != now
}

// Unlock implements storage.Unlocker. The file goes where it is still ours.
func (l *held) Unlock() error {
	h := l.in
	h.mu.Lock()
	again := l.unlocked
	l.unlocked = true
	if !again {
		delete(h.taken, l.name)
	}
	h.drop(l)
	h.mu.Unlock()
	if again {
		return fs.ErrClosed
	}
	defer h.free(l.name)
	return l.remove()
}

// remove removes a lock's file, and none that has its name by now.
func (l *held) remove() error {
	err := l.in.f.Remove(context.Background(), idPath(l.id))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return pathError("unlock", l.name, err)
}
