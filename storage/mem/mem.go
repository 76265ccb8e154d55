// Package mem is a file system in memory that can lose power. [New] makes one; [FS.Crash] gives the
// disk as it would be found after a power cut, by one of three models.
//
// What is durable: a file's content after its Sync; a change of names (create, rename, exchange,
// link, removal) after SyncDir of every directory it touches. A rename or an exchange is atomic, also
// over a crash, as on ext4 and XFS. Modes, owners and times are durable at once.
package mem

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// FS is a file system in memory. Its methods are safe for concurrent use.
type FS struct {
	mu      sync.Mutex
	root    *node
	pending []*change // changes of names that are not durable, oldest first
	nextID  int
	now     time.Time
	last    *node // file written last, for torn writes
	caps    storage.Capabilities
}

var _ storage.FS = (*FS)(nil)

type node struct {
	id      int
	mode    fs.FileMode
	uid     int
	gid     int
	mtime   time.Time
	data    []byte
	synced  []byte           // content as of the last Sync
	entries map[string]*node // of a directory
	durable map[string]*node // of them, what a crash leaves
	links   int
	locked  bool
}

// change is one atomic change of names.
type change struct {
	sides []side
}

// side is what a change does in one directory: the name gets the node, or goes where it is nil.
type side struct {
	dir    *node
	name   string
	node   *node
	synced bool
}

// New makes an empty file system whose clock stands still until Advance.
func New() *FS {
	m := &FS{now: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		caps: storage.Capabilities{Scheme: "mem", Exchange: true, Links: true, Locks: true, Ownership: true}}
	m.root = m.newNode(fs.ModeDir | 0o755)
	return m
}

// SetCapabilities takes abilities away: what is false answers errors.ErrUnsupported.
func (m *FS) SetCapabilities(c storage.Capabilities) { m.caps = c }

// Advance moves the clock that gives files their times.
func (m *FS) Advance(d time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = m.now.Add(d)
}

func (m *FS) newNode(mode fs.FileMode) *node {
	m.nextID++
	n := &node{id: m.nextID, mode: mode, mtime: m.now, links: 1}
	if mode.IsDir() {
		n.entries, n.durable = map[string]*node{}, map[string]*node{}
	}
	return n
}

func (m *FS) find(name string) (*node, error) {
	n := m.root
	for part := range strings.SplitSeq(strings.Trim(path.Clean(name), "/"), "/") {
		if part == "" {
			continue
		}
		if n.entries == nil {
			return nil, syscall.ENOTDIR
		}
		if n = n.entries[part]; n == nil {
			return nil, fs.ErrNotExist
		}
	}
	return n, nil
}

// parent finds the directory a name lies in.
func (m *FS) parent(name string) (*node, string, error) {
	dir, err := m.find(path.Dir(path.Clean(name)))
	if err == nil && dir.entries == nil {
		err = syscall.ENOTDIR
	}
	return dir, path.Base(name), err
}

// change applies a change of names now and remembers it until it is durable.
func (m *FS) change(sides ...side) {
	for _, s := range sides {
		if s.node == nil {
			delete(s.dir.entries, s.name)
		} else {
			s.dir.entries[s.name] = s.node
		}
		s.dir.mtime = m.now
	}
	m.pending = append(m.pending, &change{sides})
}

func (c *change) touches(dir *node, name string) bool {
	return slices.ContainsFunc(c.sides, func(s side) bool { return s.dir == dir && s.name == name })
}

func (c *change) settle() {
	for _, s := range c.sides {
		if s.node == nil {
			delete(s.dir.durable, s.name)
		} else {
			s.dir.durable[s.name] = s.node
		}
	}
}

// before lists the pending changes that a change builds on: earlier ones of the same names.
func before(pending []*change, at int) []*change {
	var out []*change
	for _, earlier := range pending[:at] {
		for _, s := range pending[at].sides {
			if earlier.touches(s.dir, s.name) {
				out = append(out, earlier)
				break
			}
		}
	}
	return out
}

// syncNames makes durable what every directory it touches was synced for, and what that builds on.
func (m *FS) syncNames(dir *node) {
	done := map[*change]bool{}
	for _, c := range m.pending {
		whole := true
		for i := range c.sides {
			if c.sides[i].dir == dir {
				c.sides[i].synced = true
			}
			whole = whole && c.sides[i].synced
		}
		done[c] = whole
	}
	for i := len(m.pending) - 1; i >= 0; i-- {
		if done[m.pending[i]] {
			for _, b := range before(m.pending, i) {
				done[b] = true
			}
		}
	}
	var rest []*change
	for _, c := range m.pending {
		if done[c] {
			c.settle()
		} else {
			rest = append(rest, c)
		}
	}
	m.pending = rest
}

func failed(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func linkFailed(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// Capabilities implements storage.FS.
func (m *FS) Capabilities() storage.Capabilities { return m.caps }

// begin takes the lock, unless the caller gave up.
func (m *FS) begin(ctx context.Context) (func(), error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

// Open implements storage.FS.
func (m *FS) Open(ctx context.Context, name string) (storage.File, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	n, err := m.find(name)
	if err == nil && n.mode.IsDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, failed("open", name, err)
	}
	return &file{m, n, path.Base(name)}, nil
}

// Create implements storage.FS.
func (m *FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	dir, base, err := m.parent(name)
	if err == nil && dir.entries[base] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return nil, failed("create", name, err)
	}
	n := m.newNode(mode.Perm())
	m.change(side{dir: dir, name: base, node: n})
	return &writer{m, n}, nil
}

// Stat implements storage.FS.
func (m *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	defer end()
	n, err := m.find(name)
	if err != nil {
		return storage.Info{}, failed("stat", name, err)
	}
	return n.info(path.Base(name)), nil
}

func (n *node) info(name string) storage.Info {
	return storage.Info{Name: name, Size: int64(len(n.data)), Mode: n.mode, ModTime: n.mtime, ID: fmt.Sprint(n.id),
		UID: n.uid, GID: n.gid, Links: n.links}
}

// List implements storage.FS.
func (m *FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	n, err := m.find(dir)
	if err == nil && n.entries == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return nil, failed("list", dir, err)
	}
	out := make([]storage.Info, 0, len(n.entries))
	for name, e := range n.entries {
		out = append(out, e.info(name))
	}
	slices.SortFunc(out, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Mkdir implements storage.FS.
func (m *FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	dir, base, err := m.parent(name)
	if err == nil && dir.entries[base] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return failed("mkdir", name, err)
	}
	m.change(side{dir: dir, name: base, node: m.newNode(fs.ModeDir | mode.Perm())})
	return nil
}

// Rename implements storage.FS.
func (m *FS) Rename(ctx context.Context, from, to string) error {
	return m.move(ctx, "rename", from, to, func(_, target *node) error {
		if target != nil {
			return fs.ErrExist
		}
		return nil
	})
}

// Replace implements storage.FS.
func (m *FS) Replace(ctx context.Context, from, to string) error {
	return m.move(ctx, "replace", from, to, func(source, target *node) error {
		if source.mode.IsDir() || target != nil && target.mode.IsDir() {
			return syscall.EISDIR
		}
		return nil
	})
}

func (m *FS) move(ctx context.Context, op, from, to string, allowed func(source, target *node) error) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	fromDir, fromBase, err := m.parent(from)
	if err != nil {
		return linkFailed(op, from, to, err)
	}
	toDir, toBase, err := m.parent(to)
	if err != nil {
		return linkFailed(op, from, to, err)
	}
	n := fromDir.entries[fromBase]
	if n == nil {
		return linkFailed(op, from, to, fs.ErrNotExist)
	}
	if err := allowed(n, toDir.entries[toBase]); err != nil {
		return linkFailed(op, from, to, err)
	}
	m.change(side{dir: fromDir, name: fromBase}, side{dir: toDir, name: toBase, node: n})
	return nil
}

// Exchange implements storage.FS.
func (m *FS) Exchange(ctx context.Context, a, b string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if !m.caps.Exchange {
		return linkFailed("exchange", a, b, errors.ErrUnsupported)
	}
	aDir, aBase, err := m.parent(a)
	if err != nil {
		return linkFailed("exchange", a, b, err)
	}
	bDir, bBase, err := m.parent(b)
	if err != nil {
		return linkFailed("exchange", a, b, err)
	}
	an, bn := aDir.entries[aBase], bDir.entries[bBase]
	if an == nil || bn == nil {
		return linkFailed("exchange", a, b, fs.ErrNotExist)
	}
	m.change(side{dir: aDir, name: aBase, node: bn}, side{dir: bDir, name: bBase, node: an})
	return nil
}

// Link implements storage.FS.
func (m *FS) Link(ctx context.Context, from, to string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if !m.caps.Links {
		return linkFailed("link", from, to, errors.ErrUnsupported)
	}
	n, err := m.find(from)
	if err == nil && n.mode.IsDir() {
		err = fs.ErrPermission
	}
	var dir *node
	var base string
	if err == nil {
		dir, base, err = m.parent(to)
	}
	if err == nil && dir.entries[base] != nil {
		err = fs.ErrExist
	}
	if err != nil {
		return linkFailed("link", from, to, err)
	}
	n.links++
	m.change(side{dir: dir, name: base, node: n})
	return nil
}

// Remove implements storage.FS.
func (m *FS) Remove(ctx context.Context, name string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	dir, base, err := m.parent(name)
	if err != nil {
		return failed("remove", name, err)
	}
	n := dir.entries[base]
	switch {
	case n == nil:
		return failed("remove", name, fs.ErrNotExist)
	case len(n.entries) > 0:
		return failed("remove", name, syscall.ENOTEMPTY)
	}
	n.links--
	m.change(side{dir: dir, name: base})
	return nil
}

// SyncDir implements storage.FS.
func (m *FS) SyncDir(ctx context.Context, dir string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	n, err := m.find(dir)
	if err == nil && n.entries == nil {
		err = syscall.ENOTDIR
	}
	if err != nil {
		return failed("syncdir", dir, err)
	}
	m.syncNames(n)
	return nil
}

// SetAttr implements storage.FS.
func (m *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	n, err := m.find(name)
	if err != nil {
		return failed("setattr", name, err)
	}
	if attr.Mode != nil {
		n.mode = n.mode&fs.ModeType | attr.Mode.Perm()
	}
	if attr.UID != nil {
		n.uid = *attr.UID
	}
	if attr.GID != nil {
		n.gid = *attr.GID
	}
	return nil
}

// Lock implements storage.FS.
func (m *FS) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	dir, base, err := m.parent(name)
	if err != nil {
		return nil, failed("lock", name, err)
	}
	n := dir.entries[base]
	if n == nil {
		n = m.newNode(0o644)
		m.change(side{dir: dir, name: base, node: n})
	}
	if n.locked {
		return nil, failed("lock", name, storage.ErrLocked)
	}
	n.locked = true
	return &lock{m, n}, nil
}

type lock struct {
	m *FS
	n *node
}

func (l *lock) Unlock() error {
	l.m.mu.Lock()
	defer l.m.mu.Unlock()
	l.n.locked = false
	return nil
}

type file struct {
	m    *FS
	n    *node
	name string
}

func (f *file) ReadAt(p []byte, off int64) (int, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return bytes.NewReader(f.n.data).ReadAt(p, off)
}

func (f *file) Stat() (storage.Info, error) {
	f.m.mu.Lock()
	defer f.m.mu.Unlock()
	return f.n.info(f.name), nil
}

func (f *file) Close() error { return nil }

type writer struct {
	m *FS
	n *node
}

func (w *writer) Write(p []byte) (int, error) {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.n.data = append(w.n.data, p...)
	w.n.mtime = w.m.now
	w.m.last = w.n
	return len(p), nil
}

func (w *writer) CopyRange(src storage.File, offset, length int64) error {
	n, err := io.Copy(w, io.NewSectionReader(src, offset, length))
	if err == nil && n != length {
		err = io.ErrUnexpectedEOF
	}
	return err
}

func (w *writer) Sync() error {
	w.m.mu.Lock()
	defer w.m.mu.Unlock()
	w.n.synced = bytes.Clone(w.n.data)
	if w.m.last == w.n {
		w.m.last = nil
	}
	return nil
}

func (w *writer) Close() error { return nil }

// Model says what of the unsynced a power cut leaves.
type Model int

// The models.
const (
	OnlySynced   Model = iota // nothing
	RandomSubset              // a random part: of names, each change or not; of content, all or nothing
	TornWrite                 // likewise, and the file written last keeps a part of what was written
)

// Models are all of them.
var Models = []Model{OnlySynced, RandomSubset, TornWrite}

func (m Model) String() string {
	return [...]string{"only synced", "random subset", "torn write"}[m]
}

// Crash gives the file system as after a power cut: locks are gone, ids stay. The receiver is left as
// it is.
func (m *FS) Crash(model Model, seed uint64) *FS {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := rand.New(rand.NewPCG(seed, uint64(model)))
	survives := map[*change]bool{}
	for i, c := range m.pending {
		survives[c] = model != OnlySynced && r.IntN(2) == 0
		for _, b := range before(m.pending, i) {
			survives[c] = survives[c] && survives[b]
		}
	}
	overlay := map[*node]map[string]*node{}
	for _, c := range m.pending {
		if !survives[c] {
			continue
		}
		for _, s := range c.sides {
			if overlay[s.dir] == nil {
				overlay[s.dir] = map[string]*node{}
			}
			overlay[s.dir][s.name] = s.node
		}
	}
	out := &FS{nextID: m.nextID, now: m.now, caps: m.caps}
	cr := crasher{from: m, model: model, r: r, overlay: overlay, made: map[*node]*node{}}
	out.root = cr.clone(m.root)
	return out
}

type crasher struct {
	from    *FS
	model   Model
	r       *rand.Rand
	overlay map[*node]map[string]*node
	made    map[*node]*node
}

func (c *crasher) clone(n *node) *node {
	if done := c.made[n]; done != nil {
		return done
	}
	out := &node{id: n.id, mode: n.mode, uid: n.uid, gid: n.gid, mtime: n.mtime, links: n.links}
	c.made[n] = out
	if n.entries == nil {
		out.data = bytes.Clone(c.content(n))
		out.synced = bytes.Clone(out.data)
		return out
	}
	out.entries, out.durable = map[string]*node{}, map[string]*node{}
	names := map[string]*node{}
	for name, e := range n.durable {
		names[name] = e
	}
	for name, e := range c.overlay[n] {
		names[name] = e
	}
	sorted := make([]string, 0, len(names))
	for name, e := range names {
		if e != nil {
			sorted = append(sorted, name)
		}
	}
	slices.Sort(sorted) // so that a seed gives one outcome
	for _, name := range sorted {
		e := c.clone(names[name])
		out.entries[name], out.durable[name] = e, e
	}
	return out
}

func (c *crasher) content(n *node) []byte {
	switch {
	case c.model == OnlySynced || bytes.Equal(n.data, n.synced):
		return n.synced
	case c.model == TornWrite && n == c.from.last:
		return n.data[:len(n.synced)+c.r.IntN(len(n.data)-len(n.synced)+1)]
	case c.r.IntN(2) == 0:
		return n.data
	}
	return n.synced
}
