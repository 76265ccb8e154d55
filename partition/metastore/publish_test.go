package metastore

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/hadoop"
	"github.com/hupsert/hupsert/storage/hdfs"
	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// published is a table on HDFS that runs publish through a metastore.
type published struct {
	storage.FS
	store    *swap.Store
	registry *Registry
	root     string
}

func (s service) published(t *testing.T, table *Table) published {
	t.Helper()
	shared := servicetest.Shared(t)
	t.Setenv("HADOOP_CONF_DIR", shared.ConfDir)
	conf, err := hadoop.Load()
	if err != nil {
		t.Fatal(err)
	}
	at, root, err := hdfs.Resolve(table.Location, conf)
	if err != nil {
		t.Fatal(err)
	}
	f, err := hdfs.Open(hdfs.Options{Address: at, Conf: conf})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	p := published{FS: f, registry: s.Registry(table, RegistryOptions{}), root: root}
	if p.store, err = swap.Open(t.Context(), f, root, swap.Options{Registry: p.registry}); err != nil {
		t.Fatal(err)
	}
	return p
}

// upsert publishes a new file in each partition, beside those that are there. Before is called when all is staged.
func (p published) upsert(t *testing.T, run string, before func(), partitions ...string) (err error) {
	t.Helper()
	ctx := t.Context()
	r, err := p.store.Begin(ctx, run, "upsert", true)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, r.Abort(ctx)) }()
	if err := r.Lease(ctx, partitions); err != nil {
		return err
	}
	if _, err := p.store.Recover(ctx, partitions); err != nil {
		return err
	}
	inputs, err := p.store.InputsOf(ctx, partitions)
	if err != nil {
		return err
	}
	var list []swap.Publication
	for _, part := range partitions {
		d, err := r.Stage(ctx, part)
		if err != nil {
			return err
		}
		for _, f := range inputs[part].Files {
			if _, err := d.Keep(ctx, path.Join(inputs[part].Folder, f.Name), f.Name); err != nil {
				return err
			}
		}
		w, err := d.Create(ctx, "part-"+run)
		if err == nil {
			_, err = w.Write([]byte("rows of " + run))
		}
		if err != nil {
			return err
		}
		sealed, err := d.Seal(ctx, stage.Manifest{Run: run, Partition: part, Rows: int64(len(inputs[part].Files) + 1)})
		if err != nil {
			return err
		}
		list = append(list, swap.Publication{Partition: part, Inputs: inputs[part], Dir: d, Manifest: sealed})
	}
	if before != nil {
		before()
	}
	_, err = r.Publish(ctx, list)
	return err
}

// files are those that readers of the metastore find in a partition.
func (p published) files(t *testing.T, part string) string {
	t.Helper()
	at, err := p.registry.Look(t.Context(), []string{part})
	if err != nil {
		t.Fatal(err)
	}
	list, err := p.List(t.Context(), at[part].Folder)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, i := range list {
		names = append(names, i.Name)
	}
	return strings.Join(names, " ")
}

// Runs over many partitions are published by their locations on real services: all at once, taken back where somebody
// else comes in between, rolled back, and their old versions removed.
func TestPublishByLocation(t *testing.T) {
	s := serve(t, address(t, "3.1")) // that versions differ in nothing that counts here the others tell
	table := s.create(t)
	p := s.published(t, table)
	var parts []string
	for i := range 4 {
		parts = append(parts, fmt.Sprintf("dt=2026-01-01/hr=%d", i))
	}
	for _, run := range []string{"r1", "r2"} {
		if err := p.upsert(t, run, nil, parts...); err != nil {
			t.Fatal(err)
		}
	}
	for _, part := range parts {
		if got := p.files(t, part); got != "part-r1 part-r2" {
			t.Fatalf("%s holds %s", part, got)
		}
	}
	registered := s.partition(t, table, parts[3])
	holds(t, registered.Parameters, map[string]string{"numRows": "2", "numFiles": "2", ParamRun: "r2", ParamVersion: "2"})

	// Somebody overwrites a partition in its folder, as Spark does.
	in, err := p.store.Inputs(t.Context(), parts[2])
	if err != nil {
		t.Fatal(err)
	}
	err = p.upsert(t, "r3", func() {
		w, err := p.Create(t.Context(), path.Join(in.Folder, "theirs"), 0o644)
		if err == nil {
			err = w.Close()
		}
		if err != nil {
			t.Error(err)
		}
	}, parts...)
	if !errors.Is(err, swap.ErrConflict) || !strings.Contains(err.Error(), parts[2]) {
		t.Fatal(err)
	}
	if err := p.upsert(t, "r4", nil, parts...); err != nil {
		t.Fatal(err)
	}
	if got := p.files(t, parts[2]); got != "part-r1 part-r2 part-r4 theirs" {
		t.Errorf("%s holds %s", parts[2], got)
	}

	if _, err := p.store.Rollback(t.Context(), []swap.Restore{{Partition: parts[0], To: "r1"}, {Partition: parts[1], To: "origin"}}, false, "r5", "rollback"); err != nil {
		t.Fatal(err)
	}
	if got := p.files(t, parts[0]); got != "part-r1" {
		t.Errorf("%s is rolled back to %s", parts[0], got)
	}
	if at, err := p.registry.Look(t.Context(), parts); err != nil || len(at) != len(parts)-1 {
		t.Errorf("the metastore has %d partitions: %v", len(at), err)
	}
	removed, err := p.store.Vacuum(t.Context(), 0, false)
	if err != nil || len(removed) == 0 {
		t.Errorf("%d versions are removed: %v", len(removed), err)
	}
	if got := p.files(t, parts[3]); got != "part-r1 part-r2 part-r4" {
		t.Errorf("%s holds %s", parts[3], got)
	}
	if _, err := swap.Open(t.Context(), p.FS, p.root, swap.Options{}); !errors.Is(err, swap.ErrRegistered) {
		t.Errorf("opened by its path: %v", err)
	}
	if found, err := p.store.Inspect(t.Context(), func(string) bool { return true }); err != nil || len(found) > 0 {
		t.Errorf("inspect finds %v, %v", found, err)
	}
}
