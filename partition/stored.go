package partition

import (
	"context"
	"errors"
	"io"
	"path"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage/stage"
)

// checkStored holds partition columns that a partition's files store too against its path: where they
// differ nobody can say which is right, and engines disagree on which they show.
func (r *run) checkStored(ctx context.Context, o *outcome, schema *arrow.Schema) error {
	var columns []string
	for _, f := range schema.Fields() {
		if columnIndex(r.layout.columns, f.Name) >= 0 {
			columns = append(columns, f.Name)
		}
	}
	if len(columns) == 0 {
		return nil
	}
	for _, f := range o.contents.data {
		if err := r.checkStoredIn(ctx, o, f, columns); err != nil {
			return err
		}
	}
	return nil
}

// checkStoredIn checks one file. Only the partition columns are read, which are mostly one dictionary
// entry and its run.
func (r *run) checkStoredIn(ctx context.Context, o *outcome, f stage.File, columns []string) (err error) {
	in := source.Input{Name: f.Name, Format: source.Parquet, Size: f.Size, Open: func(ctx context.Context) (source.ReadCloserAt, error) {
		return r.fsys.Open(ctx, path.Join(r.folder(o.path, o.inputs), f.Name))
	}}
	reader, err := source.Open(ctx, in, nil, source.Options{Columns: columns, KeepDictionary: true})
	if err != nil {
		return fileError(err, o.contents.data)
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	check := &router{}
	for {
		rec, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return fileError(err, o.contents.data)
		}
		err = check.equal(ctx, &sourceRecord{Columns: source.InMemory(rec), name: f.Name, position: positions(reader, int(rec.NumRows()))}, r.layout.columns, o.spec)
		rec.Release()
		if err != nil {
			return err
		}
	}
}

// equal checks that all rows of a record have the values of a spec.
func (r *router) equal(ctx context.Context, rec *sourceRecord, columns []Column, spec Spec) error {
	for i, f := range rec.Schema().Fields() {
		at := columnIndex(columns, f.Name)
		if at < 0 {
			continue
		}
		arr, err := rec.Read(ctx, i, &source.Cursor{})
		if err != nil {
			return err
		}
		values, err := r.values(rec, arr, columns[at])
		if err != nil {
			return err
		}
		for code, pair := range values.pairs {
			if pair[0] != spec[at] {
				return fault(ErrSchema, "the file has %s in a row (%s), its folder says %s", pair[0].Name(), rec.where(values.first(code)), spec[at].Name()).
					at(rec.where(values.first(code))).column(f.Name).hint("move the row to its partition, or correct the column")
			}
		}
	}
	return nil
}

// first is the first row with a code.
func (c *codes) first(code int) int {
	for i, k := range c.of {
		if int(k) == code {
			return i
		}
	}
	return 0
}
