package swap_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// metastore is a registry that is part of a file system, so that a crash leaves both as they were, and that
// the operations of the one are crash points, can fail, and lose their answers as those of the other. It is
// a log: each change is one file that appears by one rename, durably, all of it or nothing. What is not any
// more where the change has it refuses it; a real metastore is looked at a moment before, and late is one of
// which that moment is long.
type metastore struct {
	fsys storage.FS // what it is reached through
	late bool
}

// ledger is the folder of the log, drafts that of changes which are to come.
const (
	ledger = "/metastore/orders"
	drafts = "/metastore/drafts"
)

// registration is one partition in the log.
type registration struct {
	Partition string
	Was       string
	Folder    string
	Stamp     string
	Run       string
	Version   int64
	Rows      int64
	Bytes     int64
	Files     int
	Late      bool // it overwrites whatever is there
}

// bottom is the file system below all wrappers.
func bottom(m storage.FS) storage.FS {
	switch m := m.(type) {
	case *faultfs.FS:
		return bottom(m.Base())
	case *machine:
		return bottom(m.FS)
	case *blind:
		return bottom(m.FS)
	case pulsing:
		return bottom(m.FS)
	case *remote:
		return bottom(m.FS)
	}
	return m
}

// isRegistered tells a table that is in a metastore.
func isRegistered(m storage.FS) bool {
	_, err := bottom(m).Stat(bg, ledger)
	return err == nil
}

func (r metastore) URL() string { return "hive://localhost:9083/db.orders" }

func (r metastore) Look(ctx context.Context, partitions []string) (map[string]swap.Registered, error) {
	// A look is an operation that can fail.
	if _, err := r.fsys.Stat(ctx, ledger); err != nil {
		return nil, err
	}
	out := map[string]swap.Registered{}
	for p, is := range registered(r.fsys) {
		if partitions == nil || slices.Contains(partitions, p) {
			out[p] = swap.Registered{Folder: is.Folder, Stamp: is.Stamp}
		}
	}
	return out, nil
}

func (r metastore) Point(ctx context.Context, list []swap.Pointer) error {
	// The look of a metastore that can't compare and swap.
	if _, err := r.fsys.Stat(ctx, ledger); err != nil {
		return err
	}
	now := registered(r.fsys)
	var changes []registration
	for _, p := range list {
		if at := now[p.Partition].Folder; at != p.Was && at != p.Folder {
			return fmt.Errorf("%w: %s is at %q", swap.ErrConflict, p.Partition, at)
		}
		changes = append(changes, registration{p.Partition, p.Was, p.Folder, "", p.Run, p.Version, p.Rows, p.Bytes, p.Files, r.late})
	}
	if err := log(ctx, r.fsys, changes); err != nil {
		return err
	}
	now = registered(r.fsys)
	for _, c := range changes {
		if at := now[c.Partition]; at.Run != c.Run && at.Folder != c.Folder {
			return fmt.Errorf("%w: %s is at %q", swap.ErrConflict, c.Partition, at.Folder)
		}
	}
	return nil
}

func (r metastore) Hold(context.Context, []string, string) (func() error, error) {
	return func() error { return nil }, nil
}

// log adds changes to the log of a metastore: one operation of m.
func log(ctx context.Context, m storage.FS, changes []registration) error {
	disk := bottom(m)
	data, err := json.Marshal(changes)
	if err != nil {
		return err
	}
	from := ""
	for n := 0; from == "" || errors.Is(err, fs.ErrExist); n++ {
		from = fmt.Sprintf("%s/%d", drafts, n)
		err = writeFile(disk, from, string(data))
	}
	if err := errors.Join(err, disk.SyncDir(bg, drafts)); err != nil {
		return err
	}
	list, err := disk.List(bg, ledger)
	for n := len(list); err == nil; n++ {
		to := fmt.Sprintf("%s/%06d", ledger, n)
		if err = m.Rename(ctx, from, to); !errors.Is(err, fs.ErrExist) {
			break
		}
		if _, serr := disk.Stat(bg, from); serr != nil {
			break
		}
		err = nil // somebody else was faster
	}
	return errors.Join(err, disk.SyncDir(bg, ledger), disk.SyncDir(bg, drafts))
}

// changesOf is the log of a metastore.
func changesOf(m storage.FS) (out [][]registration) {
	disk := bottom(m)
	list, err := disk.List(bg, ledger)
	if err != nil {
		panic(err)
	}
	for _, i := range list {
		data, err := stage.ReadFile(bg, disk, path.Join(ledger, i.Name))
		var changes []registration
		if err == nil {
			err = json.Unmarshal(data, &changes)
		}
		if err != nil {
			panic(err)
		}
		out = append(out, changes)
	}
	return out
}

// registered is what a metastore has.
func registered(m storage.FS) map[string]registration {
	out := map[string]registration{}
	for _, changes := range changesOf(m) {
		if slices.ContainsFunc(changes, func(c registration) bool {
			at := out[c.Partition].Folder
			return c.Run != "" && !c.Late && at != c.Was && at != c.Folder
		}) {
			continue // refused
		}
		for _, c := range changes {
			if c.Folder == "" {
				delete(out, c.Partition)
				continue
			}
			if c.Stamp == "" { // a change of ours leaves it as it is
				c.Stamp = out[c.Partition].Stamp
			}
			if c.Stamp == "" {
				c.Stamp = "as added"
			}
			out[c.Partition] = c
		}
	}
	return out
}

// repoint changes a metastore as somebody who knows nothing of us does.
func repoint(m storage.FS, part, folder, stamp string) error {
	return log(bg, bottom(m), []registration{{Partition: part, Folder: folder, Stamp: stamp}})
}

// register puts a table that lies at its paths into a metastore.
func register(t testing.TB, m storage.FS, content partitions) {
	t.Helper()
	must(t, errors.Join(mkdirs(bottom(m), ledger), mkdirs(bottom(m), drafts)))
	for _, part := range slices.Sorted(maps.Keys(content)) {
		must(t, repoint(m, part, path.Join(table, part), "theirs"))
	}
}

// folderOf is where readers find a partition, "" where they do not.
func folderOf(m storage.FS, part string) string {
	if isRegistered(m) {
		return registered(m)[part].Folder
	}
	return path.Join(table, part)
}

// byPath is a way of tests: a table in a metastore that is switched by renames.
const byPath = swap.Way("registered")

// located are the ways by which a table in a metastore is published.
var located = []swap.Way{swap.Location, byPath}

// options are those of a process that publishes a table in some way.
func options(m storage.FS, way swap.Way) swap.Options {
	return known(m, swap.Options{Publish: way, Clock: clock})
}

// known are the options of a process with the metastore of a table that is in one.
func known(m storage.FS, o swap.Options) swap.Options {
	if isRegistered(m) {
		o.Registry = metastore{fsys: m}
	}
	switch {
	case o.Publish == byPath:
		o.Publish = swap.Rename
	case o.Registry != nil && o.Publish != swap.Location:
		o.Publish = swap.Auto
	}
	return o
}

// made makes a table as it is before it is published in some way.
func made(t testing.TB, way swap.Way, content partitions) *mem.FS {
	t.Helper()
	m := mem.New()
	makeTable(t, m, content)
	if slices.Contains(located, way) {
		register(t, m, content)
	}
	return m
}

// remote is a file system on which an operation waits for another machine.
type remote struct{ storage.FS }

func (r *remote) Capabilities() storage.Capabilities {
	c := r.FS.Capabilities()
	c.Remote = true
	return c
}

// readRegistered reads what readers see who ask a metastore.
func readRegistered(t testing.TB, m storage.FS) partitions {
	t.Helper()
	out := partitions{}
	for part, at := range registered(m) {
		list, err := m.List(bg, at.Folder)
		if errors.Is(err, fs.ErrNotExist) {
			if strings.HasPrefix(at.Folder, state) {
				out[part] = map[string]string{"LOST": at.Folder}
			}
			continue
		}
		must(t, err)
		for _, i := range list {
			data, err := stage.ReadFile(bg, m, path.Join(at.Folder, i.Name))
			must(t, err)
			if out[part] == nil {
				out[part] = map[string]string{}
			}
			out[part][i.Name] = string(data)
		}
	}
	return out
}
