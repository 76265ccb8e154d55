// Package hdfs is an HDFS cluster as a storage.FS, in pure Go: [Resolve] finds the namenodes of a URL in the settings
// of storage/hadoop, [Open] makes the file system. It connects with the first call.
//
// The guarantee: what a Writer wrote is acknowledged by the datanodes, and its length known to the namenode, when Close
// returns nil. Rename takes no name that exists, also when two race. Calls go on through a namenode's restart
// and a failover, up to Options.Retry; where a call's reply is lost, what became of it is looked up by file ids, and it
// is done once. Reads check the blocks' checksums, and go on from other replicas.
//
// It refuses what its client library would read or write wrongly: encryption zones, erasure-coded files, and data
// transfer with integrity or privacy (storage.ErrUnsafe). It has no exchange and no links. Files that a reader has open
// can be read for as long as the namenode keeps their blocks: after a removal that is some seconds.
package hdfs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
)

// Options says which cluster, and how it is used. Only Address must be set.
type Options struct {
	Address     Address
	Conf        hadoop.Conf
	Credentials hadoop.Credentials
	// Retry is how long calls are tried again that get no answer, or the answer that the namenode is not ready;
	// default 45 s, and at most 10 s before a namenode has ever answered.
	Retry time.Duration
	// Timeout is how long one reply, of a namenode or a datanode, is waited for; default 30 s.
	Timeout time.Duration
	// Clients is how many connections to the namenode there are; default 4. Calls of one are serial.
	Clients int
	// Pulse is how often locks show that their holder lives; default 2 s.
	Pulse time.Duration
	// Silence is after how long without that another process takes a lock; default 12 s.
	Silence time.Duration
	Logger  *slog.Logger // nil discards
}

// FS is an HDFS cluster. Its methods are safe for concurrent use.
type FS struct {
	o          Options
	kerberos   bool
	principal  string // of the namenode, with _HOST
	protection string // of transfers from and to datanodes
	pool       *pool
	locks      *holdings
	dialer     dialFunc
	tails      tails
	warned     atomic.Int64 // when it was said that a namenode is waited for, in nanoseconds of Unix time
	read       atomic.Int64
	calls      atomic.Int64 // of the namenodes
}

var _ storage.FS = (*FS)(nil)

// Open makes a file system. It refuses settings with which data could not be read rightly (storage.ErrUnsafe); the
// namenode it asks with the first call. Close ends its connections.
func Open(o Options) (*FS, error) {
	if len(o.Address.Namenodes) == 0 {
		return nil, fmt.Errorf("%w: no namenode", ErrAddress)
	}
	o.Retry, o.Timeout = cmp.Or(o.Retry, 45*time.Second), cmp.Or(o.Timeout, 30*time.Second)
	o.Pulse, o.Silence = cmp.Or(o.Pulse, 2*time.Second), cmp.Or(o.Silence, 12*time.Second)
	o.Clients = cmp.Or(o.Clients, 4)
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	f := &FS{o: o, kerberos: o.Credentials.Keytab != "" || o.Conf.Is("hadoop.security.authentication", "kerberos")}
	f.principal, _, _ = strings.Cut(cmp.Or(o.Conf.Get("dfs.namenode.kerberos.principal"), "hdfs/_HOST"), "@")
	if err := f.protect(); err != nil {
		return nil, err
	}
	f.dialer = (&net.Dialer{}).DialContext
	f.pool = &pool{f: f}
	for range o.Clients {
		f.pool.slots = append(f.pool.slots, &slot{making: make(chan struct{}, 1)})
	}
	f.locks = &holdings{f: f, watch: make(chan struct{}, 1)}
	return f, nil
}

// protect settles how transfers from and to datanodes are protected, and refuses what the client library gets wrong.
func (f *FS) protect() error {
	asked := split(strings.ToLower(f.o.Conf.Get("dfs.data.transfer.protection")))
	switch {
	case f.o.Conf.Is("dfs.encrypt.data.transfer", "true"):
		return f.refuse("dfs.encrypt.data.transfer is true in the settings")
	case slices.Contains(asked, "authentication"):
		f.protection = hdfs.DataTransferProtectionAuthentication
	case len(asked) > 0:
		return f.refuse("dfs.data.transfer.protection is " + strings.Join(asked, ",") + " in the settings")
	case f.kerberos:
		// Datanodes of a secured cluster answer nobody who does not ask for it, unless their ports are privileged.
		f.protection = hdfs.DataTransferProtectionAuthentication
	}
	return nil
}

func (f *FS) refuse(why string) error {
	return fmt.Errorf("%w: %s: %s, and hupsert's HDFS client would read wrong bytes with it; "+
		"let the datanodes also offer authentication, and set dfs.data.transfer.protection to authentication in hupsert's HADOOP_CONF_DIR",
		storage.ErrUnsafe, f.o.Address, why)
}

// Close ends the file system's connections; what is open through them fails.
func (f *FS) Close() error {
	f.locks.close()
	f.pool.close()
	f.o.Logger.Debug("connections closed", "cluster", f.o.Address.Name, "calls", f.calls.Load(), "bytes_read", f.BytesRead())
	return nil
}

// Address is where the file system is served.
func (f *FS) Address() Address { return f.o.Address }

// BytesRead is how much was read from datanodes, in bytes: what was asked for, and what was read ahead of it.
func (f *FS) BytesRead() int64 { return f.read.Load() }

// Capabilities implements storage.FS.
func (f *FS) Capabilities() storage.Capabilities {
	return storage.Capabilities{Scheme: Scheme, Locks: true, Ownership: true, Remote: true}
}

// idPath is the name of a file by its id: it stays when the file is renamed.
func idPath(id uint64) string { return "/.reserved/.inodes/" + strconv.FormatUint(id, 10) }

// status describes a name: a remote error with fs.ErrNotExist where nothing has it.
func (c *client) status(name string) (*hdfs.FileStatus, error) {
	r, err := c.call("getFileInfo", request{"src": name})
	if err != nil {
		return nil, err
	}
	s, err := r.status("fs")
	if err == nil && s == nil {
		err = answer(syscall.ENOENT)
	}
	return s, err
}

// Stat implements storage.FS.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	var s *hdfs.FileStatus
	err := f.try(ctx, func(c *client, _ bool) (err error) {
		s, err = c.status(name)
		return err
	})
	if err != nil {
		return storage.Info{}, pathError("stat", name, err)
	}
	return f.describe(path.Base(name), s), nil
}

// Bits of a permission as old namenodes send it, and of flags as others do.
const (
	permSticky = 1 << 9
	permACL    = 1 << 12
	flagACL    = 1
)

// Types of names, as the namenode numbers them.
const (
	typeFolder  = 1
	typeSymlink = 3
)

func isDir(s *hdfs.FileStatus) bool { return s.GetFileType() == typeFolder }

func (f *FS) describe(name string, s *hdfs.FileStatus) storage.Info {
	perm := s.GetPermission().GetPerm()
	i := storage.Info{
		Name: name, Size: int64(s.GetLength()), Mode: fs.FileMode(perm & 0o777),
		ModTime: time.UnixMilli(int64(s.GetModificationTime())),
		ID:      strconv.FormatUint(s.GetFileId(), 10), Device: f.o.Address.Name,
		Owner: s.GetOwner(), Group: s.GetGroup(), Links: 1,
		ACL: s.GetFlags()&flagACL != 0 || perm&permACL != 0,
	}
	if perm&permSticky != 0 {
		i.Mode |= fs.ModeSticky
	}
	switch s.GetFileType() {
	default:
		i.Blocks = storage.Blocks{Replication: int(s.GetBlockReplication()), Size: int64(s.GetBlocksize())}
	case typeFolder:
		i.Mode |= fs.ModeDir
	case typeSymlink:
		i.Mode |= fs.ModeSymlink
	}
	return i
}

// permission is a mode as the namenode takes it. It has no set-group-id: every folder hands its group down.
func permission(mode fs.FileMode) request {
	perm := uint32(mode.Perm())
	if mode&fs.ModeSticky != 0 {
		perm |= permSticky
	}
	return request{"perm": perm}
}

// List implements storage.FS. A folder of more names than fit into one reply may change between them.
func (f *FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	var out []storage.Info
	err := f.try(ctx, func(c *client, _ bool) (err error) {
		out, err = f.list(c, dir)
		return err
	})
	return out, pathError("list", dir, err)
}

func (f *FS) list(c *client, dir string) ([]storage.Info, error) {
	self, err := c.status(dir)
	if err != nil {
		return nil, err
	}
	if !isDir(self) {
		return nil, answer(syscall.ENOTDIR)
	}
	// By its id, so that a folder that is swapped meanwhile is listed to its end.
	at := idPath(self.GetFileId())
	var out []storage.Info
	for after := []byte{}; ; {
		r, err := c.call("getListing", request{"src": at, "startAfter": after, "needLocation": false})
		if err != nil {
			return nil, err
		}
		listing, ok := r.at("dirList")
		if !ok {
			return nil, answer(syscall.ENOENT)
		}
		part := listing.list("partialListing")
		for i := range part.Len() {
			s, ok := part.Get(i).Message().Interface().(*hdfs.FileStatus)
			if !ok {
				return nil, errProtocol
			}
			after = s.GetPath()
			out = append(out, f.describe(string(after), s))
		}
		if listing.get("remainingEntries").Uint() == 0 || part.Len() == 0 {
			break
		}
	}
	slices.SortFunc(out, func(a, b storage.Info) int { return strings.Compare(a.Name, b.Name) })
	return out, nil
}

// Mkdir implements storage.FS. The namenode makes a folder that is there without an error, so that of two processes
// that make one at the same time both may succeed; within a process one does.
func (f *FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	defer names.lock(f.o.Address.Name + name)()
	asked := false // a try may have made it
	err := f.try(ctx, func(c *client, _ bool) error {
		s, err := c.status(name)
		switch {
		case err == nil && !(asked && isDir(s) && s.GetChildrenNum() <= 0):
			return answer(syscall.EEXIST)
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err != nil:
			_, err = c.call("mkdirs", request{"src": name, "masked": permission(mode), "createParent": false})
			if asked = asked || !isRemote(err); err != nil {
				return err
			}
			if s, err = c.status(name); err != nil {
				return err
			}
		}
		if s.GetPermission().GetPerm()&0o777 == uint32(mode.Perm()) {
			return nil
		}
		// The folder above hands an access control list down, which took bits away.
		_, err = c.call("setPermission", request{"src": name, "permission": permission(mode)})
		return err
	})
	return pathError("mkdir", name, err)
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string) error {
	return linkError("rename", from, to, f.rename(ctx, from, to, false))
}

// Replace implements storage.FS.
func (f *FS) Replace(ctx context.Context, from, to string) error {
	return linkError("replace", from, to, f.rename(ctx, from, to, true))
}

// rename moves a name. A reply that was lost is resolved by the id, which the file or folder keeps.
func (f *FS) rename(ctx context.Context, from, to string, over bool) error {
	var id uint64
	return f.try(ctx, func(c *client, again bool) error {
		s, err := c.status(from)
		if again && id != 0 && (errors.Is(err, fs.ErrNotExist) || err == nil && s.GetFileId() != id) {
			at, terr := c.status(to)
			switch {
			case terr == nil && at.GetFileId() == id:
				return nil
			case terr != nil && !errors.Is(terr, fs.ErrNotExist):
				return terr // it is not known yet what became of it
			}
		}
		if err != nil {
			return err
		}
		id = s.GetFileId()
		if over {
			if isDir(s) {
				return answer(syscall.EISDIR)
			}
			return c.move(from, to, true)
		}
		return c.move(from, to, false)
	})
}

// move renames, and finds out what an exception without a meaning means.
func (c *client) move(from, to string, over bool) error {
	_, err := c.call("rename2", request{"src": from, "dst": to, "overwriteDest": over})
	var r *remote
	if !errors.As(err, &r) || r.is != nil || passes(err) {
		return err
	}
	there, serr := c.status(to)
	switch {
	case serr != nil:
	case !over:
		r.is = syscall.EEXIST // a file in a folder's place, or the reverse
	case isDir(there):
		r.is = syscall.EISDIR
	}
	if r.is == nil {
		r.is = syscall.EINVAL
	}
	return r
}

// Exchange implements storage.FS: HDFS has none.
func (f *FS) Exchange(ctx context.Context, a, b string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return linkError("exchange", a, b, errors.ErrUnsupported)
}

// Link implements storage.FS: HDFS has none.
func (f *FS) Link(ctx context.Context, from, to string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return linkError("link", from, to, errors.ErrUnsupported)
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	var id uint64
	asked := false // a try may have removed it
	err := f.try(ctx, func(c *client, _ bool) error {
		s, err := c.status(name)
		switch {
		case err != nil && !errors.Is(err, fs.ErrNotExist):
			return err
		case err == nil && f.locks.lost(name, s.GetFileId()), err == nil && asked && id != 0 && s.GetFileId() != id:
			return nil // somebody else has made it anew since ours went
		case err == nil:
			id = s.GetFileId()
		}
		r, err := c.call("delete", request{"src": name, "recursive": false})
		if err == nil && !r.yes() {
			err = answer(syscall.ENOENT)
		}
		if asked && errors.Is(err, fs.ErrNotExist) {
			return nil // the reply to an earlier try was lost
		}
		asked = asked || !isRemote(err)
		return err
	})
	if err == nil {
		f.locks.removed(name)
	}
	return pathError("remove", name, err)
}

// SyncDir implements storage.FS: what the namenode answered is in its journal.
func (f *FS) SyncDir(ctx context.Context, dir string) error {
	err := f.try(ctx, func(c *client, _ bool) error {
		s, err := c.status(dir)
		if err == nil && !isDir(s) {
			err = answer(syscall.ENOTDIR)
		}
		return err
	})
	return pathError("sync", dir, err)
}

// SetAttr implements storage.FS. HDFS has no set-group-id: every folder hands its group down, and the bit is left out.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	err := f.try(ctx, func(c *client, _ bool) error {
		if _, err := c.status(name); err != nil {
			return err
		}
		if attr.Owner != nil || attr.Group != nil {
			owner := request{"src": name}
			if attr.Owner != nil {
				owner["username"] = *attr.Owner
			}
			if attr.Group != nil {
				owner["groupname"] = *attr.Group
			}
			if _, err := c.call("setOwner", owner); err != nil {
				return err
			}
		}
		if attr.Mode != nil {
			if _, err := c.call("setPermission", request{"src": name, "permission": permission(*attr.Mode)}); err != nil {
				return err
			}
		}
		if attr.ACLOf != nil {
			return c.copyACL(*attr.ACLOf, name)
		}
		return nil
	})
	return pathError("chattr", name, err)
}

// MayMove implements storage.FS. It knows permissions, sticky folders and encryption zones; not quotas.
func (f *FS) MayMove(ctx context.Context, name, into string) error {
	refused := ""
	err := f.try(ctx, func(c *client, _ bool) error {
		moved, err := c.status(name)
		if err != nil {
			return err
		}
		parent := path.Dir(name)
		for _, dir := range []string{parent, into} {
			if _, err := c.call("checkAccess", request{"path": dir, "mode": writeExecute}); err != nil {
				refused = dir
				return err
			}
		}
		return c.mayLeave(moved, parent)
	})
	if refused != "" && !errors.Is(err, fs.ErrNotExist) {
		return pathError("move", refused, err)
	}
	return pathError("move", name, err)
}

// writeExecute is the access to a folder that takes or gives a name.
const writeExecute = "WRITE_EXECUTE"

// mayLeave refuses what somebody else owns in a sticky folder of somebody else, unless we may do everything.
func (c *client) mayLeave(moved *hdfs.FileStatus, parent string) error {
	dir, err := c.status(parent)
	if err != nil || dir.GetPermission().GetPerm()&permSticky == 0 {
		return err
	}
	user := c.lib.User()
	if user == moved.GetOwner() || user == dir.GetOwner() {
		return nil
	}
	// Only a superuser gets an answer to this.
	_, err = c.call("listEncryptionZones", request{"id": 0})
	if errors.Is(err, fs.ErrPermission) {
		return answer(syscall.EPERM)
	}
	return err
}
