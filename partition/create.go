package partition

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
)

// newTableSchema is the columns of a table that is made from a source: the source's, without those
// that are in the paths and without the mark of deletes.
func newTableSchema(rows *arrow.Schema, columns []Column, o *merge.Options) (*arrow.Schema, error) {
	var fields []arrow.Field
	for _, f := range without(rows, columns).Fields() {
		if o.DeleteWhen != nil && strings.EqualFold(o.DeleteWhen.Column, f.Name) {
			continue
		}
		if _, untyped := f.Metadata.GetValue(source.MetaUntyped); untyped {
			return nil, fault(ErrUsage, "the source's format has no types, so the new table's columns are not known").
				hint("give them with --schema 'id bigint, name string, ...'")
		}
		if d, ok := f.Type.(*arrow.DictionaryType); ok {
			f.Type = d.ValueType
		}
		f.Metadata = shred.KindOnly(f.Metadata)
		f.Nullable = true
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil), nil
}

// declare keeps what --create said of a new table, and puts new columns into a declared schema. It comes
// before the publish, so that no partition is live whose column types are not known.
func (r *run) declare(ctx context.Context, out []*outcome) error {
	if !r.isNew || !r.options.Create {
		return r.declareAdded(ctx, out)
	}
	r.declaring.Lock()
	defer r.declaring.Unlock()
	c, err := r.ReadConfig(ctx) // somebody may have declared a key meanwhile
	if err != nil {
		return err
	}
	c.PartitionBy = nil
	for _, column := range r.layout.columns {
		c.PartitionBy = append(c.PartitionBy, formatColumn(column))
	}
	if r.options.Schema != "" {
		c.Schema = r.options.Schema
	}
	if err := c.validate(); err != nil {
		return err
	}
	return r.writeConfig(ctx, c)
}

func (r *run) declareAdded(ctx context.Context, out []*outcome) error {
	if r.config.Schema == "" || !slices.ContainsFunc(out, func(o *outcome) bool { return o.staged && len(o.added) > 0 }) {
		return nil
	}
	r.declaring.Lock()
	defer r.declaring.Unlock()
	c, err := r.ReadConfig(ctx)
	if err != nil || c.Schema == "" {
		return err
	}
	schema, err := ParseSchema(c.Schema)
	if err != nil {
		return err
	}
	fields := schema.Fields()
	for _, o := range out {
		for _, f := range o.added {
			if len(foldIndices(arrow.NewSchema(fields, nil), f.Name)) == 0 {
				fields = append(fields[:len(fields):len(fields)], f)
			}
		}
	}
	c.Schema = FormatSchema(arrow.NewSchema(fields, nil))
	return r.writeConfig(ctx, c)
}
