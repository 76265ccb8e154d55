// Package faultfs wraps a file system, so that a test sees what a protocol does to it and lets any of
// it fail. [Wrap] gives a wrapper, [FS.Inject] takes rules, [FS.After] lets the process die at an
// operation, [FS.Log] is the protocol as text: a lost fsync is a difference in review.
//
// A test of all crash points runs a protocol once for each k = 0, 1, 2, ... until a run gets through,
// and after each looks at what the next process finds:
//
//	disk := mem.New()
//	fsys := faultfs.Wrap(disk)
//	fsys.After(k, errPower)
//	err := protocol(fsys)
//	next := disk.Crash(mem.TornWrite, seed)
//
// It adds no fault of its own. Closing a file and ending a lock reach the wrapped file system
// whatever the rules say, as they do when a process dies, so a test leaks neither.
package faultfs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/hupsert/hupsert/storage"
)

// FS is a wrapped file system.
type FS struct {
	base storage.FS

	mu      sync.Mutex
	count   int
	rules   []*Rule
	log     []*line
	shorten *strings.Replacer
}

var _ storage.FS = (*FS)(nil)

// Wrap wraps a file system. Pairs of strings are replaced in the log, so that it is short and the same
// on every run.
func Wrap(base storage.FS, replace ...string) *FS {
	return &FS{base: base, shorten: strings.NewReplacer(replace...)}
}

// Base is the file system that is wrapped.
func (f *FS) Base() storage.FS { return f.base }

// Inject adds rules. The first that fires decides what becomes of an operation.
func (f *FS) Inject(rules ...*Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, rules...)
}

// After lets k more operations through; from the next on every operation fails with err, reads too, as
// for a process that died.
func (f *FS) After(k int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	// Before all other rules: the dead do nothing.
	f.rules = append([]*Rule{{From: f.count + k, Err: err}}, f.rules...)
}

// Count is the number of operations so far, those that failed included.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// call is one operation.
type call struct {
	op     Op
	names  []string
	detail string // for Trace
}

// step counts and logs an operation and says which rule fires, nil for none.
func (f *FS) step(c call) (*Rule, *line) {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.count
	f.count++
	entry := f.note(c)
	var hit *Rule
	for _, r := range f.rules {
		// Every rule counts what it matches, also where another one decides.
		if r.fires(at, c) && hit == nil {
			hit = r
		}
	}
	return hit, entry
}

// do runs an operation unless a rule is in the way.
func (f *FS) do(c call, run func() error) error {
	hit, entry := f.step(c)
	err := f.apply(hit, c, run)
	f.done(entry, err)
	return err
}

func (f *FS) apply(hit *Rule, c call, run func() error) error {
	switch {
	case hit == nil:
		return run()
	case hit.Skip && c.op.changes() && c.op != Create && c.op != Lock:
		return nil
	case hit.Skip:
		return run()
	case hit.Before != nil:
		hit.Before()
		return run()
	case hit.Lost:
		return errors.Join(hit.failure(c), run())
	}
	return hit.failure(c)
}

// read is do for operations that answer with a value.
func read[T any](f *FS, c call, run func() (T, error)) (T, error) {
	var out T
	err := f.do(c, func() (err error) {
		out, err = run()
		return err
	})
	if err != nil {
		var none T
		return none, err
	}
	return out, nil
}

// Capabilities implements storage.FS.
func (f *FS) Capabilities() storage.Capabilities { return f.base.Capabilities() }

func on(op Op, names ...string) call { return call{op: op, names: names} }

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	return read(f, on(Open, name), func() (storage.File, error) {
		in, err := f.base.Open(ctx, name)
		if err != nil {
			return nil, err
		}
		return &file{f: in, fsys: f, name: name}, nil
	})
}

// Create implements storage.FS.
func (f *FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	var out *writer
	err := f.do(on(Create, name), func() error {
		w, err := f.base.Create(ctx, name, mode)
		if err == nil {
			out = &writer{w: w, fsys: f, name: name}
		}
		return err
	})
	switch {
	case err != nil && out != nil: // the reply got lost, not the file
		return nil, errors.Join(err, out.w.Close())
	case err != nil:
		return nil, err
	}
	return out, nil
}

// Stat implements storage.FS.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	return read(f, on(Stat, name), func() (storage.Info, error) { return f.base.Stat(ctx, name) })
}

// List implements storage.FS.
func (f *FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	return read(f, on(List, dir), func() ([]storage.Info, error) { return f.base.List(ctx, dir) })
}

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	return f.do(on(Mkdir, name), func() error { return f.base.Mkdir(ctx, name, mode) })
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string) error {
	return f.do(on(Rename, from, to), func() error { return f.base.Rename(ctx, from, to) })
}

// Replace implements storage.FS.
func (f *FS) Replace(ctx context.Context, from, to string) error {
	return f.do(on(Replace, from, to), func() error { return f.base.Replace(ctx, from, to) })
}

// Exchange implements storage.FS.
func (f *FS) Exchange(ctx context.Context, a, b string) error {
	return f.do(on(Exchange, a, b), func() error { return f.base.Exchange(ctx, a, b) })
}

// MayMove implements storage.FS.
func (f *FS) MayMove(ctx context.Context, name, into string) error {
	return f.do(on(MayMove, name, into), func() error { return f.base.MayMove(ctx, name, into) })
}

// Link implements storage.FS.
func (f *FS) Link(ctx context.Context, from, to string) error {
	return f.do(on(Link, from, to), func() error { return f.base.Link(ctx, from, to) })
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	return f.do(on(Remove, name), func() error { return f.base.Remove(ctx, name) })
}

// SyncDir implements storage.FS.
func (f *FS) SyncDir(ctx context.Context, dir string) error {
	return f.do(on(SyncDir, dir), func() error { return f.base.SyncDir(ctx, dir) })
}

// SetAttr implements storage.FS.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	c := call{op: SetAttr, names: []string{name}, detail: describe(attr)}
	return f.do(c, func() error { return f.base.SetAttr(ctx, name, attr) })
}

func describe(a storage.Attr) string {
	var out string
	if a.Mode != nil {
		out += fmt.Sprintf(" mode=%o", a.Mode.Perm())
	}
	if a.Owner != nil {
		out += " owner=" + *a.Owner
	}
	if a.Group != nil {
		out += " group=" + *a.Group
	}
	if a.ACLOf != nil {
		out += " acl of " + *a.ACLOf
	}
	return out
}

// Locked implements storage.FS.
func (f *FS) Locked(ctx context.Context, name string) (held bool, err error) {
	err = f.do(on(Locked, name), func() (err error) {
		held, err = f.base.Locked(ctx, name)
		return err
	})
	return held, err
}

// Lock implements storage.FS. Unlocking is no operation of the disk and is not counted.
func (f *FS) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	var out storage.Unlocker
	err := f.do(on(Lock, name), func() (err error) {
		out, err = f.base.Lock(ctx, name)
		return err
	})
	switch {
	case err != nil && out != nil: // the reply got lost, and nobody else can end the lock
		return nil, errors.Join(err, out.Unlock())
	case err != nil:
		return nil, err
	}
	return out, nil
}
