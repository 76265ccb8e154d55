package mem

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"syscall"

	"github.com/hupsert/hupsert/storage"
)

// begin locks the file system for one operation.
func (m *FS) begin(ctx context.Context) (end func(), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.Lock()
	return m.mu.Unlock, nil
}

func pathError(op, name string, err error) error {
	if err == nil {
		return nil
	}
	return &fs.PathError{Op: op, Path: name, Err: err}
}

func linkError(op, from, to string, err error) error {
	if err == nil {
		return nil
	}
	return &os.LinkError{Op: op, Old: from, New: to, Err: err}
}

// Open implements storage.FS.
func (m *FS) Open(ctx context.Context, name string) (storage.File, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	at, err := m.existing(name, true)
	if err == nil && at.node.isDir() {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, pathError("open", name, err)
	}
	return &file{fsys: m, node: at.node, name: name}, nil
}

// Create implements storage.FS.
func (m *FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	at, err := m.free(name)
	if err != nil {
		return nil, pathError("create", name, err)
	}
	return &writer{fsys: m, node: m.add(at, m.newNode(0, mode)), name: name}, nil
}

// add gives a new node its first name. A new node has the attributes it was made with, durably, as
// soon as it is durable itself.
func (m *FS) add(at place, n *node) *node {
	n.synced = n.attr
	m.apply(change{sets: []set{{entry{at.dir, at.name}, n}}})
	return n
}

// Stat implements storage.FS.
func (m *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return storage.Info{}, err
	}
	defer end()
	at, err := m.existing(name, false)
	if err != nil {
		return storage.Info{}, pathError("stat", name, err)
	}
	return m.info(at.node, at.name), nil
}

// List implements storage.FS.
func (m *FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return nil, err
	}
	defer end()
	d, err := m.directory(dir)
	if err != nil {
		return nil, pathError("list", dir, err)
	}
	out := make([]storage.Info, 0, len(d.entries))
	for name, n := range d.entries {
		out = append(out, m.info(n, name))
	}
	slices.SortFunc(out, func(a, b storage.Info) int { return cmp.Compare(a.Name, b.Name) })
	return out, nil
}

// Mkdir implements storage.FS.
func (m *FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	at, err := m.free(name)
	if err != nil {
		return pathError("mkdir", name, err)
	}
	m.add(at, m.newNode(fs.ModeDir, mode|at.dir.attr.perm&fs.ModeSetgid))
	return nil
}

// Symlink makes a symbolic link. storage.FS has no such method: hupsert meets links and makes none.
func (m *FS) Symlink(ctx context.Context, target, name string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	at, err := m.free(name)
	if err != nil {
		return linkError("symlink", target, name, err)
	}
	m.add(at, m.newNode(fs.ModeSymlink, 0o777)).target = target
	return nil
}

// Rename implements storage.FS.
func (m *FS) Rename(ctx context.Context, from, to string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	src, err := m.existing(from, false)
	if err != nil {
		return linkError("rename", from, to, err)
	}
	dst, err := m.free(to)
	if err == nil {
		err = m.move(src, dst)
	}
	return linkError("rename", from, to, err)
}

// Replace implements storage.FS.
func (m *FS) Replace(ctx context.Context, from, to string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	src, err := m.existing(from, false)
	if err != nil {
		return linkError("replace", from, to, err)
	}
	dst, err := m.find(to, false)
	switch {
	case err != nil:
	case src.node.isDir(), dst.node != nil && dst.node.isDir():
		err = syscall.EISDIR
	case src.node == dst.node: // two names of one file: both stay, as POSIX has it
	default:
		err = m.move(src, dst)
	}
	return linkError("replace", from, to, err)
}

// move gives what is at src the name dst.
func (m *FS) move(src, dst place) error {
	if src.dir == nil || dst.dir == nil {
		return syscall.EBUSY
	}
	if src.node.isDir() && src.node.holds(dst.dir) {
		return syscall.EINVAL
	}
	m.apply(change{
		sets:  []set{{entry{src.dir, src.name}, nil}, {entry{dst.dir, dst.name}, src.node}},
		moves: src.node.isDir() && src.dir != dst.dir,
	})
	return nil
}

// Exchange implements storage.FS.
func (m *FS) Exchange(ctx context.Context, a, b string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return linkError("exchange", a, b, m.exchange(a, b))
}

func (m *FS) exchange(a, b string) error {
	if !m.caps.Exchange {
		return errors.ErrUnsupported
	}
	x, err := m.existing(a, false)
	if err != nil {
		return err
	}
	y, err := m.existing(b, false)
	switch {
	case err != nil:
		return err
	case x.node == y.node:
		return nil
	case x.dir == nil || y.dir == nil:
		return syscall.EBUSY
	case x.node.isDir() && x.node.holds(y.dir), y.node.isDir() && y.node.holds(x.dir):
		return syscall.EINVAL
	}
	m.apply(change{
		sets:  []set{{entry{x.dir, x.name}, y.node}, {entry{y.dir, y.name}, x.node}},
		moves: (x.node.isDir() || y.node.isDir()) && x.dir != y.dir,
	})
	return nil
}

// MayMove implements storage.FS. Permissions are not enforced, so nothing that is there is refused.
func (m *FS) MayMove(ctx context.Context, name, into string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	if _, err := m.existing(name, false); err != nil {
		return pathError("maymove", name, err)
	}
	_, err = m.directory(into)
	return pathError("maymove", into, err)
}

// Link implements storage.FS.
func (m *FS) Link(ctx context.Context, from, to string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	return linkError("link", from, to, m.link(from, to))
}

func (m *FS) link(from, to string) error {
	if !m.caps.Links {
		return errors.ErrUnsupported
	}
	src, err := m.existing(from, false)
	if err != nil {
		return err
	}
	dst, err := m.free(to)
	if err != nil {
		return err
	}
	if src.node.isDir() {
		return syscall.EPERM
	}
	m.apply(change{sets: []set{{entry{dst.dir, dst.name}, src.node}}})
	return nil
}

// Remove implements storage.FS.
func (m *FS) Remove(ctx context.Context, name string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	at, err := m.existing(name, false)
	switch {
	case err != nil:
	case at.dir == nil:
		err = syscall.EBUSY
	case len(at.node.entries) > 0:
		err = syscall.ENOTEMPTY
	default:
		c := change{sets: []set{{entry{at.dir, at.name}, nil}}}
		if at.node.isDir() {
			c.removed = at.node
		}
		m.apply(c)
	}
	return pathError("remove", name, err)
}

// SyncDir implements storage.FS.
func (m *FS) SyncDir(ctx context.Context, dir string) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	d, err := m.directory(dir)
	if err != nil {
		return pathError("syncdir", dir, err)
	}
	d.synced = d.attr
	for i := range m.journal {
		m.journal[i].synced(d)
	}
	m.persist()
	return nil
}

// SetAttr implements storage.FS.
func (m *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	end, err := m.begin(ctx)
	if err != nil {
		return err
	}
	defer end()
	at, err := m.existing(name, false)
	if err == nil && (at.node.isSymlink() && attr.Mode != nil || attr.ACLOf != nil) {
		err = errors.ErrUnsupported
	}
	if err != nil {
		return pathError("setattr", name, err)
	}
	a := &at.node.attr
	if attr.Mode != nil {
		a.perm = *attr.Mode & permissions
	}
	if attr.Owner != nil {
		a.owner = *attr.Owner
	}
	if attr.Group != nil {
		a.group = *attr.Group
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
	if !m.caps.Locks {
		return nil, pathError("lock", name, errors.ErrUnsupported)
	}
	at, err := m.find(name, true)
	switch {
	case err != nil:
		return nil, pathError("lock", name, err)
	case at.node == nil:
		at.node = m.add(at, m.newNode(0, 0o644))
	case at.node.isDir():
		return nil, pathError("lock", name, syscall.EISDIR)
	case m.locks[at.node] != nil:
		return nil, pathError("lock", name, storage.ErrLocked)
	}
	l := &lock{fsys: m, node: at.node, name: name}
	m.locks[at.node] = l
	return l, nil
}

// Locked implements storage.FS.
func (m *FS) Locked(ctx context.Context, name string) (bool, error) {
	end, err := m.begin(ctx)
	if err != nil {
		return false, err
	}
	defer end()
	if !m.caps.Locks {
		return false, pathError("lock", name, errors.ErrUnsupported)
	}
	at, err := m.find(name, true)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return false, nil
	case err != nil:
		return false, pathError("lock", name, err)
	}
	return at.node != nil && m.locks[at.node] != nil, nil
}

type lock struct {
	fsys *FS
	node *node
	name string
}

// Unlock implements storage.Unlocker.
func (l *lock) Unlock() error {
	l.fsys.mu.Lock()
	defer l.fsys.mu.Unlock()
	if l.fsys.locks[l.node] != l {
		return pathError("unlock", l.name, fs.ErrClosed)
	}
	delete(l.fsys.locks, l.node)
	return nil
}
