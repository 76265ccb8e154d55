// Package faultfs wraps a file system: it counts operations, logs them as a golden text, and fails
// them by rule. [Wrap] gives a wrapper; [FS.Inject] takes rules.
package faultfs

import (
	"context"
	"fmt"
	"io/fs"
	"strings"
	"sync"

	"github.com/hupsert/hupsert/storage"
)

// Op is a kind of operation.
type Op string

// The operations.
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
	Link     Op = "link"
	Remove   Op = "remove"
	SyncDir  Op = "syncdir"
	SetAttr  Op = "setattr"
	Lock     Op = "lock"
)

// Rule fails operations. The zero values of Op and Path match everything.
type Rule struct {
	Op   Op
	Path string // part of the name
	From int    // ordinal, among all operations counted, of the first to fail
	Once bool   // only the first that matches
	Err  error
	// Skip makes the operation do nothing and succeed, in place of failing: a mutant that leaves an
	// fsync out.
	Skip bool
	// Before is called in place of failing, before the operation.
	Before func()

	spent bool
}

// FS is a wrapped file system.
type FS struct {
	base storage.FS

	mu      sync.Mutex
	count   int
	rules   []*Rule
	log     []string
	shorten *strings.Replacer
}

var _ storage.FS = (*FS)(nil)

// Wrap wraps a file system. Pairs of strings are replaced in the log, so that it is the same on every
// run.
func Wrap(base storage.FS, replace ...string) *FS {
	return &FS{base: base, shorten: strings.NewReplacer(replace...)}
}

// Inject adds rules.
func (f *FS) Inject(rules ...*Rule) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.rules = append(f.rules, rules...)
}

// Count is the number of operations so far.
func (f *FS) Count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.count
}

// Log is what was done that changes the disk or makes it durable, a line an operation.
func (f *FS) Log() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return strings.Join(f.log, "\n") + "\n"
}

// step counts an operation and applies the rules; skip asks the caller to do nothing.
func (f *FS) step(op Op, name, detail string) (skip bool, err error) {
	f.mu.Lock()
	at := f.count
	f.count++
	switch op {
	case Open, Read, Stat, List, Close:
	default:
		f.log = append(f.log, f.shorten.Replace(strings.TrimSpace(fmt.Sprintf("%s %s %s", op, name, detail))))
	}
	var hit *Rule
	for _, r := range f.rules {
		if at >= r.From && !r.spent && (r.Op == "" || r.Op == op) && strings.Contains(name, r.Path) {
			hit = r
			r.spent = r.Once
			break
		}
	}
	f.mu.Unlock()
	switch {
	case hit == nil:
		return false, nil
	case hit.Skip:
		return true, nil
	case hit.Before != nil:
		hit.Before()
		return false, nil
	}
	return false, &fs.PathError{Op: string(op), Path: name, Err: hit.Err}
}

// Capabilities implements storage.FS.
func (f *FS) Capabilities() storage.Capabilities { return f.base.Capabilities() }

// Open implements storage.FS.
func (f *FS) Open(ctx context.Context, name string) (storage.File, error) {
	if _, err := f.step(Open, name, ""); err != nil {
		return nil, err
	}
	file, err := f.base.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return &wrappedFile{file, f, name}, nil
}

// Create implements storage.FS.
func (f *FS) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	if _, err := f.step(Create, name, ""); err != nil {
		return nil, err
	}
	w, err := f.base.Create(ctx, name, mode)
	if err != nil {
		return nil, err
	}
	return &wrappedWriter{w, f, name}, nil
}

// Stat implements storage.FS.
func (f *FS) Stat(ctx context.Context, name string) (storage.Info, error) {
	if _, err := f.step(Stat, name, ""); err != nil {
		return storage.Info{}, err
	}
	return f.base.Stat(ctx, name)
}

// List implements storage.FS.
func (f *FS) List(ctx context.Context, dir string) ([]storage.Info, error) {
	if _, err := f.step(List, dir, ""); err != nil {
		return nil, err
	}
	return f.base.List(ctx, dir)
}

// do runs an operation unless a rule fails or skips it.
func (f *FS) do(op Op, name, detail string, run func() error) error {
	skip, err := f.step(op, name, detail)
	if skip || err != nil {
		return err
	}
	return run()
}

// Mkdir implements storage.FS.
func (f *FS) Mkdir(ctx context.Context, name string, mode fs.FileMode) error {
	return f.do(Mkdir, name, "", func() error { return f.base.Mkdir(ctx, name, mode) })
}

// Rename implements storage.FS.
func (f *FS) Rename(ctx context.Context, from, to string) error {
	return f.do(Rename, from, "-> "+to, func() error { return f.base.Rename(ctx, from, to) })
}

// Replace implements storage.FS.
func (f *FS) Replace(ctx context.Context, from, to string) error {
	return f.do(Replace, from, "-> "+to, func() error { return f.base.Replace(ctx, from, to) })
}

// Exchange implements storage.FS.
func (f *FS) Exchange(ctx context.Context, a, b string) error {
	return f.do(Exchange, a, "<-> "+b, func() error { return f.base.Exchange(ctx, a, b) })
}

// Link implements storage.FS.
func (f *FS) Link(ctx context.Context, from, to string) error {
	return f.do(Link, from, "-> "+to, func() error { return f.base.Link(ctx, from, to) })
}

// Remove implements storage.FS.
func (f *FS) Remove(ctx context.Context, name string) error {
	return f.do(Remove, name, "", func() error { return f.base.Remove(ctx, name) })
}

// SyncDir implements storage.FS.
func (f *FS) SyncDir(ctx context.Context, dir string) error {
	return f.do(SyncDir, dir, "", func() error { return f.base.SyncDir(ctx, dir) })
}

// SetAttr implements storage.FS.
func (f *FS) SetAttr(ctx context.Context, name string, attr storage.Attr) error {
	return f.do(SetAttr, name, "", func() error { return f.base.SetAttr(ctx, name, attr) })
}

// Lock implements storage.FS. Unlocking is no operation of the disk and is not counted.
func (f *FS) Lock(ctx context.Context, name string) (storage.Unlocker, error) {
	if _, err := f.step(Lock, name, ""); err != nil {
		return nil, err
	}
	return f.base.Lock(ctx, name)
}

type wrappedFile struct {
	storage.File
	f    *FS
	name string
}

func (w *wrappedFile) ReadAt(p []byte, off int64) (int, error) {
	if _, err := w.f.step(Read, w.name, ""); err != nil {
		return 0, err
	}
	return w.File.ReadAt(p, off)
}

type wrappedWriter struct {
	w    storage.Writer
	f    *FS
	name string
}

func (w *wrappedWriter) Write(p []byte) (int, error) {
	skip, err := w.f.step(Write, w.name, "")
	if skip || err != nil {
		return len(p), err
	}
	return w.w.Write(p)
}

func (w *wrappedWriter) CopyRange(src storage.File, offset, length int64) error {
	if wf, ok := src.(*wrappedFile); ok {
		src = wf.File
	}
	return w.f.do(Copy, w.name, "", func() error { return w.w.CopyRange(src, offset, length) })
}

func (w *wrappedWriter) Sync() error { return w.f.do(Sync, w.name, "", w.w.Sync) }

func (w *wrappedWriter) Close() error { return w.f.do(Close, w.name, "", w.w.Close) }
