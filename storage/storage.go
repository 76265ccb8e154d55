// Package storage is what hupsert needs of a file system, and nothing more: [FS] and the
// [Capabilities] each implementation declares. Implementations live in storage/local (the
// operating system's files), storage/hdfs (an HDFS cluster), storage/mem (in memory, with the disk as after a
// power cut) and storage/faultfs (any of them, with faults injected by rule); storage/storagetest holds
// the one suite all of them pass. The protocols built on it, staging and publishing, live in
// storage/stage and storage/swap.
//
// Names are absolute and slash-separated. Errors match fs.ErrNotExist, fs.ErrExist,
// fs.ErrPermission, syscall errors (ENOSPC, EXDEV, ENOTEMPTY), errors.ErrUnsupported and the errors of this
// package, and wrap an *fs.PathError or *os.LinkError naming the file.
package storage

import (
	"context"
	"io"
	"io/fs"
	"time"
)

// FS is a file system. Methods are safe for concurrent use. No method retries a failed fsync: after
// one fails, what reached the disk is unknown.
type FS interface {
	// Open opens a file for reading. It refuses directories. A symlink is followed.
	Open(ctx context.Context, name string) (File, error)

	// Create makes a new file, exclusively: fs.ErrExist where anything has the name. Its parent must
	// exist. The mode is the one asked for, whatever the umask. No content is durable before
	// Writer.Sync, and the name not before SyncDir of the parent. WithBlocks says more of it.
	Create(ctx context.Context, name string, mode fs.FileMode) (Writer, error)

	// Stat describes a name without following a symlink.
	Stat(ctx context.Context, name string) (Info, error)

	// List describes what a directory holds, sorted by name, symlinks not followed.
	List(ctx context.Context, dir string) ([]Info, error)

	// Mkdir makes one directory; fs.ErrExist where the name is taken. The mode is the one asked for, with
	// set-group-id and sticky, whatever the umask; set-group-id as well where the parent hands it down.
	// Durable after SyncDir of the parent.
	Mkdir(ctx context.Context, name string, mode fs.FileMode) error

	// Rename moves a file or directory to a name that must not exist, atomically: fs.ErrExist where
	// it does, also when two callers race (one wins). An empty directory in the target's place may be
	// replaced by a directory where the system knows no exclusive rename, so what is moved as a claim
	// must not be empty. The file keeps its ID. Durable after SyncDir of both parents.
	Rename(ctx context.Context, from, to string) error

	// Replace moves a file over another (or to a free name), atomically; it refuses directories. Who has
	// the old file open keeps it. Two names of one file both stay. Durable after SyncDir of both
	// parents.
	Replace(ctx context.Context, from, to string) error

	// Exchange swaps two names, atomically: files or directories, which need not be empty.
	// fs.ErrNotExist where one is absent, errors.ErrUnsupported where the system can't. Durable after
	// SyncDir of both parents.
	Exchange(ctx context.Context, a, b string) error

	// MayMove says, changing nothing, whether Rename and Exchange would be refused to take a file or
	// directory into another directory: fs.ErrPermission, EROFS or EXDEV. It sees what can be seen
	// before; nil promises nothing.
	MayMove(ctx context.Context, name, into string) error

	// Link gives a file a second name: errors.ErrUnsupported, EXDEV, EMLINK or fs.ErrPermission where
	// it can't be done; the caller then copies. fs.ErrExist where the new name is taken. Durable after
	// SyncDir of the new name's parent.
	Link(ctx context.Context, from, to string) error

	// Remove removes a file, a symlink or an empty directory; fs.ErrNotExist where nothing is there,
	// fs.ErrExist (ENOTEMPTY) where a directory holds something. Durable after SyncDir of the parent.
	Remove(ctx context.Context, name string) error

	// SyncDir makes the names of a directory durable: creations, renames and removals that returned
	// before the call.
	SyncDir(ctx context.Context, dir string) error

	// SetAttr changes mode, owner or group of a file or directory, only the fields that are set; a
	// symlink's mode it refuses. Durable for a directory after SyncDir of itself, for a file after
	// Writer.Sync: set what must last before it.
	SetAttr(ctx context.Context, name string, attr Attr) error

	// Lock takes an advisory exclusive lock on a file, creating it where it is absent, without waiting
	// for a holder that lives: ErrLocked where there is one, in this or another process. The lock ends with
	// Unlock or with the process; a system that has to look whether a holder lives takes some seconds for
	// that, and one whose holder stood still for that long may find it taken. When Lock returns, the file locked is the one that has the name: its
	// holder may remove the file and then end the lock. Anybody else who removes it lets a second holder
	// in. errors.ErrUnsupported where the system has none.
	Lock(ctx context.Context, name string) (Unlocker, error)

	// Locked reports whether somebody, this process included, holds a lock that Lock gave. It takes and makes
	// nothing, so that it is in nobody's way; of a file that is not there nobody holds one.
	// errors.ErrUnsupported where the system has no locks.
	Locked(ctx context.Context, name string) (bool, error)

	// Capabilities says what the system can do; it costs nothing.
	Capabilities() Capabilities
}

// File is an open file. ReadAt may be called from several goroutines. It reads the file that was
// opened, whatever becomes of its name.
type File interface {
	io.ReaderAt
	io.Closer
	// Stat describes the open file, whatever its name means by now.
	Stat() (Info, error)
}

// Writer writes a new file from its start to its end.
type Writer interface {
	io.Writer
	// CopyRange appends length bytes of src from offset, in the kernel where both are files of the
	// same system, else through memory. A source that ends before is io.ErrUnexpectedEOF.
	CopyRange(src File, offset, length int64) error
	// Sync makes the content durable where the system can do that with an open file; elsewhere (HDFS) it sends what
	// was written, and Close makes it durable. Who needs it durable calls both, and heeds both errors. After one
	// the file must be given up; with ErrWriteAgain it may be written again.
	Sync() error
	// Close closes the file. After a Sync that returned nil, nil means that all that was written before is durable;
	// without one it need not be.
	Close() error
}

// Unlocker ends a lock.
type Unlocker interface{ Unlock() error }

// Info describes one name.
type Info struct {
	Name    string      // last element
	Size    int64       // bytes
	Mode    fs.FileMode // type and permission bits
	ModTime time.Time   // as precise as the system has it
	// ID is the identity of the file within its file system while it lives, also after that was mounted
	// anew: the inode on local disks.
	ID string
	// Device is the file system as it is mounted now. It may be another one after a restart: devices are
	// numbered in the order in which they are found.
	Device string
	Owner  string // by name where the system has names (HDFS), else the number
	Group  string // the same
	ACL    bool   // there are more permissions than Mode says
	Links  int
	Blocks Blocks
}

// Blocks is how a file lies on the machines of a cluster; zero where the system has no such thing.
type Blocks struct {
	Replication int   // machines that have each block
	Size        int64 // of a block, in bytes
}

// blocksKey is that of Blocks in a context.
type blocksKey struct{}

// WithBlocks has FS.Create make files whose blocks are as those of another one, on a system that has blocks. What is zero is
// the system's own. It comes by the context since every other system has nothing to do with it.
func WithBlocks(ctx context.Context, b Blocks) context.Context {
	return context.WithValue(ctx, blocksKey{}, b)
}

// BlocksOf gives what WithBlocks has put into a context, zero where it has not.
func BlocksOf(ctx context.Context) Blocks {
	b, _ := ctx.Value(blocksKey{}).(Blocks)
	return b
}

// IsDir reports whether the name is a directory.
func (i Info) IsDir() bool { return i.Mode.IsDir() }

// IsSymlink reports whether the name is a symbolic link.
func (i Info) IsSymlink() bool { return i.Mode&fs.ModeSymlink != 0 }

// Attr is a change of attributes; nil fields stay.
type Attr struct {
	Mode  *fs.FileMode
	Owner *string // as in Info
	Group *string
	// ACLOf names a file or directory whose access control list is taken over, with what it hands down:
	// errors.ErrUnsupported where the system has none. After Mode, which is part of the list.
	ACLOf *string
}

// Capabilities says what a file system can do.
type Capabilities struct {
	Scheme    string // "file", "mem", "hdfs"
	Exchange  bool   // Exchange may work; a directory of another system below can still refuse it
	Links     bool
	Locks     bool // Lock works and ends with its process
	Ownership bool // Owner, Group and Mode mean something
	Remote    bool // an operation waits for another machine: many go faster side by side
}
