package faultfs

import (
	"io/fs"
	"path"
	"slices"
	"strings"
	"syscall"
)

// Op is a kind of operation.
type Op string

// The operations: of the file system, of a file being read (Read, Stat, Close), and of a file being
// written (Write, Copy, Sync, Close).
const (
	Open     Op = "open"
	Read     Op = "read"
	Create   Op = "create"
	Write    Op = "write"
	Copy     Op = "copy"
	Sync     Op = "sync"
	Close    Op = "close"
	Stat     Op = "stat"
	List     Op = "list"
	Mkdir    Op = "mkdir"
	Rename   Op = "rename"
	Replace  Op = "replace"
	Exchange Op = "exchange"
	MayMove  Op = "maymove"
	Link     Op = "link"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
	SetAttr  Op = "setattr"
	Lock     Op = "lock"
	Locked   Op = "locked"
)

// changes reports whether an operation changes what is stored or what of it is durable.
func (o Op) changes() bool {
	switch o {
	case Open, Read, Stat, List, MayMove, Locked, Close:
		return false
	}
	return true
}

// Rule says what becomes of some operations. What of Op, Path, From and Nth is not set matches
// everything. A rule keeps count of what it met: it serves one FS.
type Rule struct {
	Op Op
	// Path is part of a name, or, with a star in it, a pattern of path.Match for as many of a name's
	// last elements as the pattern has: "*.parquet", "claims/*/claim.json". Of an operation with two
	// names either will do.
	Path string
	// Changes leaves out operations that neither change what is stored nor what of it is durable.
	Changes bool
	From    int  // ordinal, among all operations counted from 0, of the first to fail
	Nth     int  // the first to fail among those that match otherwise, counted from 1
	Once    bool // only one fails, else all from the first on

	Err error // what the operation fails with; nil: syscall.EIO
	// Half lets a failing Write or Copy write its first half, as when a disk gets full.
	Half bool
	// Lost lets the operation happen, and only then fail: a reply that got lost.
	Lost bool
	// Skip makes the operation do nothing and succeed, in place of failing: a mutant that leaves an
	// fsync out. What answers with something (Create, Lock, reads) happens nonetheless.
	Skip bool
	// Before is called in place of failing, before the operation.
	Before func()

	met   int
	spent bool
}

// fires counts an operation and says whether the rule is about it.
func (r *Rule) fires(at int, c call) bool {
	if r.spent || at < r.From || r.Op != "" && r.Op != c.op || r.Changes && !c.op.changes() || !slices.ContainsFunc(c.names, r.matches) {
		return false
	}
	r.met++
	if r.met < r.Nth {
		return false
	}
	r.spent = r.Once
	return true
}

func (r *Rule) matches(name string) bool {
	if !strings.Contains(r.Path, "*") {
		return strings.Contains(name, r.Path)
	}
	elems := strings.Split(name, "/")
	n := strings.Count(r.Path, "/") + 1
	if n > len(elems) {
		return false
	}
	ok, err := path.Match(r.Path, strings.Join(elems[len(elems)-n:], "/"))
	return ok && err == nil
}

// failure is the rule's error with the names that a real one has.
func (r *Rule) failure(c call) error {
	err := r.Err
	if err == nil {
		err = syscall.EIO
	}
	return &fs.PathError{Op: string(c.op), Path: strings.Join(c.names, " -> "), Err: err}
}

// halves reports whether a write fails half way.
func (r *Rule) halves() bool { return r.Half && r.Before == nil && !r.Skip }
