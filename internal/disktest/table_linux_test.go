package disktest

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/file"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/hupsert/hupsert/partition"
	"github.com/hupsert/hupsert/storage"
)

var bg = context.Background()

// rows are what a table holds: partition to id to name.
type rows map[string]map[int64]string

func (r rows) String() string {
	var lines []string
	for part, of := range r {
		for id, name := range of {
			lines = append(lines, fmt.Sprintf("%s/%06d=%s", part, id, name))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// with are the rows after changes.
func (r rows) with(c changes) rows {
	out := rows{}
	for part, of := range r {
		out[part] = maps.Clone(of)
	}
	for part, list := range c {
		if out[part] == nil {
			out[part] = map[int64]string{}
		}
		for _, row := range list {
			if row.gone {
				delete(out[part], row.id)
			} else {
				out[part][row.id] = row.name
			}
		}
	}
	return out
}

// change is a row of a source.
type change struct {
	id   int64
	name string
	gone bool
}

// changes are a source, by partition.
type changes map[string][]change

// world is a small table's files and sources for it, which lie on the machine's own disk.
type world struct {
	files   map[string]map[string][]byte // partition to file to content
	base    rows
	changes map[string]changes
	sources map[string]string // by the names of the changes
}

// newWorld makes a table of two partitions with two files each, of which one is changed.
func newWorld(t testing.TB) *world {
	t.Helper()
	w := &world{files: map[string]map[string][]byte{}, base: rows{}, sources: map[string]string{}}
	for _, part := range []string{"dt=1", "dt=2"} {
		w.base[part] = map[int64]string{}
		w.files[part] = map[string][]byte{}
		for name, first := range map[string]int64{"a.parquet": 1, "b.parquet": 101} {
			list := make([]change, 40)
			for i := range list {
				list[i] = change{id: first + int64(i), name: fmt.Sprintf("old %d of %s", first+int64(i), part)}
				w.base[part][list[i].id] = list[i].name
			}
			w.files[part][name] = parquetOf(t, list, "")
		}
	}
	edits := func(tag string) []change {
		return []change{{id: 3, name: tag + " 3"}, {id: 20, name: tag + " 20"}, {id: 7, gone: true}, {id: 1000, name: tag + " 1000"}}
	}
	w.changes = map[string]changes{
		"first":  {"dt=1": edits("first"), "dt=2": edits("first")},
		"second": {"dt=1": edits("second"), "dt=2": {{id: 105, name: "second 105"}, {id: 2000, name: "second 2000"}}},
		"third":  {"dt=1": edits("third"), "dt=9": {{id: 1, name: "third 1"}, {id: 2, name: "third 2"}}},
		"last":   {"dt=1": {{id: 9000, name: "last"}, {id: 11, gone: true}}, "dt=2": {{id: 9000, name: "last"}}},
	}
	var all []change
	for id := range w.base["dt=2"] {
		all = append(all, change{id: id, gone: true})
	}
	w.changes["gone"] = changes{"dt=2": all}
	dir := t.TempDir()
	for name, c := range w.changes {
		w.sources[name] = filepath.Join(dir, name)
		must(t, os.Mkdir(w.sources[name], 0o755))
		for part, list := range c {
			must(t, os.WriteFile(filepath.Join(w.sources[name], part[3:]+".parquet"), parquetOf(t, list, part[3:]), 0o644))
		}
	}
	return w
}

// parquetOf writes rows by Arrow's writer, with the columns that only a source has where dt is given.
func parquetOf(t testing.TB, list []change, dt string) []byte {
	t.Helper()
	fields := []arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}}
	if dt != "" {
		fields = append(fields, arrow.Field{Name: "gone", Type: arrow.FixedWidthTypes.Boolean}, arrow.Field{Name: "dt", Type: arrow.BinaryTypes.String})
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil))
	defer b.Release()
	for _, c := range list {
		b.Field(0).(*array.Int64Builder).Append(c.id)
		b.Field(1).(*array.StringBuilder).Append(c.name)
		if dt != "" {
			b.Field(2).(*array.BooleanBuilder).Append(c.gone)
			b.Field(3).(*array.StringBuilder).Append(dt)
		}
	}
	rec := b.NewRecord()
	defer rec.Release()
	var buf bytes.Buffer
	out, err := pqarrow.NewFileWriter(rec.Schema(), &buf, parquet.NewWriterProperties(), pqarrow.DefaultWriterProps())
	must(t, err)
	must(t, out.Write(rec))
	must(t, out.Close())
	return buf.Bytes()
}

// lay writes the table as somebody else would have, below a folder.
func (w *world) lay(dir string) error {
	for part, files := range w.files {
		folder := filepath.Join(dir, "orders", part)
		if err := os.MkdirAll(folder, 0o755); err != nil {
			return err
		}
		for name, data := range files {
			if err := os.WriteFile(filepath.Join(folder, name), data, 0o644); err != nil {
				return err
			}
		}
	}
	return nil
}

// open opens the table below a folder.
func open(dir string, fsys storage.FS, way string) (*partition.Table, error) {
	return partition.Open(bg, filepath.Join(dir, "orders"), partition.Config{FS: fsys, Publish: way})
}

// upsert merges a source.
func (w *world) upsert(name string) step {
	return func(t *partition.Table) error {
		_, err := t.Upsert(bg, partition.Source{From: []string{w.sources[name] + "/*.parquet"}},
			partition.Options{Key: []string{"id"}, DeleteWhen: "gone", Parallel: 1})
		return err
	}
}

// drop is an upsert that removes a partition that loses all its rows.
func (w *world) drop(name string) step {
	return func(t *partition.Table) error {
		_, err := t.Upsert(bg, partition.Source{From: []string{w.sources[name] + "/*.parquet"}},
			partition.Options{Key: []string{"id"}, DeleteWhen: "gone", DropEmpty: true})
		return err
	}
}

// step is something that is done with a table.
type step func(t *partition.Table) error

// readRows reads the table by Arrow's reader. A row that is there twice is an error.
func readRows(dir string) (rows, error) {
	out := rows{}
	root := filepath.Join(dir, "orders")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(root, filepath.Dir(name))
		if err != nil {
			return err
		}
		if out[rel] == nil {
			out[rel] = map[int64]string{}
		}
		if err := readFile(name, out[rel]); err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		return nil
	})
	return out, err
}

func readFile(name string, into map[int64]string) (err error) {
	data, err := os.ReadFile(name)
	if err != nil {
		return err
	}
	f, err := file.NewParquetReader(bytes.NewReader(data))
	if err != nil {
		return fmt.Errorf("%d bytes: %w", len(data), err)
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	in, err := pqarrow.NewFileReader(f, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return err
	}
	table, err := in.ReadTable(bg)
	if err != nil {
		return err
	}
	defer table.Release()
	r := array.NewTableReader(table, 0)
	defer r.Release()
	for r.Next() {
		rec := r.Record()
		for i := range int(rec.NumRows()) {
			id := rec.Column(0).(*array.Int64).Value(i)
			if _, twice := into[id]; twice {
				return fmt.Errorf("id %d is there twice", id)
			}
			into[id] = rec.Column(1).(*array.String).Value(i)
		}
	}
	return r.Err()
}

// fingerprints are the contents of the table's files, by name.
func fingerprints(dir string) (map[string]string, error) {
	out := map[string]string{}
	root := filepath.Join(dir, "orders")
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(name)
		out[strings.TrimPrefix(name, root)] = fmt.Sprintf("%x", sha256.Sum256(data))
		return err
	})
	return out, err
}

// leftovers are the names in the folders of the state that are empty when nothing goes on.
func leftovers(dir string) (names []string, err error) {
	for _, sub := range []string{"staging", "trash", "runs"} {
		list, err := os.ReadDir(filepath.Join(dir, ".hupsert/orders", sub))
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, e := range list {
			if sub != "runs" || !e.IsDir() { // its folders hold the runs that ended
				names = append(names, sub+"/"+e.Name())
			}
		}
	}
	return names, nil
}
