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
// answered, and of an answer that took long no more than a Pulse, as the holder's calls take as long: where it moves, somebody holds it; where it stands still for Silence, its holder is dead, and the file is
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
	closed  bool

	watch chan struct{} // has what one who watches has put there: he sees all locks of all folders
	seen  map[string]sight
	// answering is how long the namenode has taken for its answers to those who watch, in all.
	answering time.Duration
	waits     int // how many holders were waited for
}

// held is a lock of ours.
type held struct {
	in    *holdings
	name  string
	id    uint64
	moved int64 // modification time that it was given, in milliseconds
	// asked is when each call to move it was begun that has no answer yet.
	asked []time.Time
	// ended: it is not renewed any more; unlocked: by its holder
	ended, unlocked bool
}

// sight is what was seen of a lock's file.
type sight struct {
	id    string
	mtime time.Time
	still time.Duration // for how long it has not moved
	at    time.Time     // when it was looked at
	// answering was that of the holdings then.
	answering time.Duration
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
	if h.closed { // meanwhile: nobody renews it, and others take it after the silence
		return nil, errClosed
	}
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
// others, too.
func (h *holdings) look(ctx context.Context, name string) (sight, bool, error) {
	fresh := map[string]sight{}
	for _, dir := range h.around(name) {
		list, took, err := h.timed(ctx, dir)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return sight{}, false, err
		}
		h.answering += took
		at := time.Now()
		for _, i := range list {
			file := path.Join(dir, i.Name)
			s := sight{id: i.ID, mtime: i.ModTime, at: at, answering: h.answering}
			if old, ok := h.seen[file]; ok && old.id == s.id && old.mtime.Equal(s.mtime) {
				s.still = h.stillness(old, s)
			}
			fresh[file] = s
		}
	}
	h.seen = fresh
	s, there := fresh[name]
	return s, there, nil
}

// around are the folders in which locks were asked for, that of name among them: others may have asked in many since.
func (h *holdings) around(name string) []string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if dir := path.Dir(name); !slices.Contains(h.folders, dir) {
		return append(slices.Clone(h.folders), dir)
	}
	return slices.Clone(h.folders)
}

// timed lists a folder, and says how long the namenode took for the answer, without the tries that got none.
func (h *holdings) timed(ctx context.Context, dir string) (list []storage.Info, took time.Duration, err error) {
	err = h.f.try(ctx, func(c *client, _ bool) (err error) {
		asked := time.Now()
		list, err = h.f.list(c, dir)
		took = time.Since(asked)
		return err
	})
	return list, took, err
}

// stillness is for how long a lock has not moved that was seen before as it is now. A look that came late otherwise, since the namenode did not answer or this process stood still, begins the count
// anew: the holder may not have been able to move its lock either. One that was answered slowly counts for a Pulse at most:
// so the holder has several looks to move it, each as long as his own calls take, and a dead one is found all the same.
func (h *holdings) stillness(old, now sight) time.Duration {
	since := now.at.Sub(old.at)
	if since-(now.answering-old.answering) > 2*h.f.o.Pulse {
		return 0
	}
	return old.still + min(since, h.f.o.Pulse)
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
	ticker := time.NewTicker(h.f.o.Pulse)
	defer ticker.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-ticker.C:
		}
		for _, l := range h.due() {
			go l.move(ctx)
		}
	}
}

// due gives the locks that are to be moved now: also one whose move has not been answered for two pulses, by another
// connection. A call that hangs must not cost the lock, and one that is only slow must not be cut off, which would be the end of it.
func (h *holdings) due() []*held {
	h.mu.Lock()
	defer h.mu.Unlock()
	now := time.Now()
	var out []*held
	for _, l := range h.held {
		n := len(l.asked)
		if n == 0 || n < h.f.o.Clients && now.Sub(l.asked[n-1]) >= 2*h.f.o.Pulse {
			l.asked = append(l.asked, now)
			out = append(out, l)
		}
	}
	return out
}

// keepTime leaves a file's time of access as it is.
const keepTime = ^uint64(0)

// move moves a lock's modification time.
func (l *held) move(ctx context.Context) {
	h := l.in
	ctx, cancel := context.WithTimeout(ctx, h.f.o.Timeout)
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
	l.asked = l.asked[1:] // whichever it was: how many there are is what counts
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
	h.closed = true
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
