// Package mem is a storage.FS in memory whose disk can be had as after a power cut. Make one with
// [New], run a protocol on it, and look at [FS.Crash] for what the machine would find after a restart.
//
// # What is durable
//
// It keeps the contract of storage.FS to the letter, so that a protocol that passes here needs no
// luck elsewhere:
//
//   - The content of a file is durable as far as it was written when Writer.Sync returned.
//   - A name that was made, moved or removed is durable after SyncDir of its directory; what concerns
//     two directories (Rename, Replace, Exchange) after SyncDir of both. That a Sync of a new file
//     makes its name durable too, as ext4 and XFS do it, is not counted on.
//   - Attributes are durable with Writer.Sync of a file and SyncDir of the directory itself.
//   - A file in a directory whose own name is not durable is lost with it.
//
// A rename or an exchange, also one between two directories, is always there whole or not at all:
// ext4, XFS and btrfs log both of its ends in one transaction. A change that is durable takes along
// the earlier ones that it builds on (those of the same name; for a removed directory all that
// happened in it), since no journal replays a change without them.
//
// # What it does not do
//
// Permissions are kept and not enforced. Names of open files may go, their content stays until the
// file is closed, as on Unix.
package mem

import (
	"fmt"
	"io/fs"
	"path"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// FS is a file system in memory. Make it with New.
type FS struct {
	mu      sync.Mutex
	root    *node
	nextID  uint64
	now     func() time.Time
	caps    storage.Capabilities
	locks   map[*node]*lock
	journal []change // what happened to names and is not durable, in order
}

var _ storage.FS = (*FS)(nil)

// node is a file, directory or symlink, whatever its names.
type node struct {
	id     uint64
	kind   fs.FileMode // type bits
	attr   attributes
	synced attributes // attr as it is durable
	mtime  time.Time
	links  int

	target string // of a symlink

	// Files. Content only grows, so a crash can share it.
	data    []byte
	durable int   // bytes of data that are durable
	writes  []int // where each write after them ended

	// Directories: the names as processes see them, and as the disk has them.
	entries map[string]*node
	onDisk  map[string]*node
}

// permissions are the bits of a mode that can be set.
const permissions = fs.ModePerm | fs.ModeSetuid | fs.ModeSetgid | fs.ModeSticky

type attributes struct {
	perm         fs.FileMode
	owner, group string
}

func (n *node) isDir() bool     { return n.kind.IsDir() }
func (n *node) isSymlink() bool { return n.kind == fs.ModeSymlink }

// New makes an empty file system: a durable root directory. Its clock moves a microsecond with each
// look at it, so that every change has a time of its own and tests repeat exactly.
func New() *FS {
	m := &FS{locks: map[*node]*lock{}, caps: storage.Capabilities{Scheme: "mem", Exchange: true, Links: true, Locks: true, Ownership: true}}
	at := time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)
	m.now = func() time.Time {
		at = at.Add(time.Microsecond)
		return at
	}
	m.root = m.newNode(fs.ModeDir, 0o755)
	m.root.synced, m.root.links = m.root.attr, 1
	return m
}

// SetClock sets where the times of files come from. It is called with the file system locked.
func (m *FS) SetClock(now func() time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now = now
}

// SetCapabilities makes the file system one that can do less: without Exchange, Links or Locks these
// answer errors.ErrUnsupported.
func (m *FS) SetCapabilities(c storage.Capabilities) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.caps = c
}

// Capabilities implements storage.FS.
func (m *FS) Capabilities() storage.Capabilities {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.caps
}

func (m *FS) newNode(kind, perm fs.FileMode) *node {
	m.nextID++
	n := &node{id: m.nextID, kind: kind, attr: attributes{perm: perm & permissions}, mtime: m.now()}
	if kind.IsDir() {
		n.entries, n.onDisk = map[string]*node{}, map[string]*node{}
	}
	return n
}

func (m *FS) info(n *node, name string) storage.Info {
	size := len(n.data)
	if n.isSymlink() {
		size = len(n.target)
	}
	return storage.Info{
		Name: name, Size: int64(size), Mode: n.kind | n.attr.perm, ModTime: n.mtime,
		ID: "mem:" + strconv.FormatUint(n.id, 10), Device: fmt.Sprintf("%p", m), Owner: n.attr.owner, Group: n.attr.group, Links: n.links,
	}
}

// place is what a name means: an entry of a directory, with or without something there.
type place struct {
	dir  *node // nil for the root
	name string
	node *node // nil where nothing has the name
}

// maxLinks is how many symlinks a name may lead through.
const maxLinks = 40

// find looks a name up. Everything but the last element must be there. Symlinks on the way are
// followed, the last element only where asked.
func (m *FS) find(name string, follow bool) (place, error) {
	if !path.IsAbs(name) {
		return place{}, syscall.EINVAL
	}
	for range maxLinks {
		at, link, err := m.walk(path.Clean(name), follow)
		if err != nil || link == "" {
			return at, err
		}
		name = link
	}
	return place{}, syscall.ELOOP
}

// walk looks a clean name up until it meets a symlink to be followed, and then says where that leads.
func (m *FS) walk(name string, follow bool) (at place, link string, err error) {
	at = place{name: "/", node: m.root}
	if name == "/" {
		return at, "", nil
	}
	elems := strings.Split(name[1:], "/")
	for i, elem := range elems {
		if at.node == nil {
			return at, "", syscall.ENOENT
		}
		if !at.node.isDir() {
			return at, "", syscall.ENOTDIR
		}
		at = place{dir: at.node, name: elem, node: at.node.entries[elem]}
		last := i == len(elems)-1
		if at.node == nil || !at.node.isSymlink() || last && !follow {
			continue
		}
		target := at.node.target
		if !path.IsAbs(target) {
			target = path.Join("/"+path.Join(elems[:i]...), target)
		}
		return at, path.Join(target, path.Join(elems[i+1:]...)), nil
	}
	return at, "", nil
}

// existing is find for a name that must be there.
func (m *FS) existing(name string, follow bool) (place, error) {
	at, err := m.find(name, follow)
	if err == nil && at.node == nil {
		err = syscall.ENOENT
	}
	return at, err
}

// free is find for a name that nothing may have.
func (m *FS) free(name string) (place, error) {
	at, err := m.find(name, false)
	if err == nil && at.node != nil {
		err = syscall.EEXIST
	}
	return at, err
}

// directory finds a directory.
func (m *FS) directory(name string) (*node, error) {
	at, err := m.existing(name, true)
	if err == nil && !at.node.isDir() {
		err = syscall.ENOTDIR
	}
	return at.node, err
}

// holds reports whether a directory is, or has below it, the other.
func (n *node) holds(other *node) bool {
	if n == other {
		return true
	}
	for _, child := range n.entries {
		if child.isDir() && child.holds(other) {
			return true
		}
	}
	return false
}
