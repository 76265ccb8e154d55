package partition

import (
	"context"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage/swap"
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

// declaration is what a run declares with its table when it publishes. The zero value is nothing.
type declaration struct {
	Creates     bool     `json:"creates,omitempty"` // a new table, with these partition columns and schema
	PartitionBy []string `json:"partition_by,omitempty"`
	Schema      string   `json:"schema,omitempty"`
	Added       string   `json:"added,omitempty"` // columns, as ParseSchema reads them, for a schema that is declared
	// Older are partitions whose own columns in a metastore are older than the table's, which they now get.
	Older []string `json:"older,omitempty"`
}

// declares settles what --create said of a new table, and which columns a declared schema gets.
func (r *run) declares(out []*outcome) declaration {
	var d declaration
	if r.isNew && r.options.Create {
		d.Creates, d.Schema = true, r.options.Schema
		for _, column := range r.layout.columns {
			d.PartitionBy = append(d.PartitionBy, formatColumn(column))
		}
		return d
	}
	if r.config.Schema == "" {
		return d
	}
	var fields []arrow.Field
	for _, o := range out {
		if !o.staged {
			continue
		}
		if len(r.layout.behind(o.path)) > 0 {
			d.Older = append(d.Older, o.path)
		}
		for _, f := range o.added {
			if len(foldIndices(arrow.NewSchema(fields, nil), f.Name)) == 0 {
				fields = append(fields, f)
			}
		}
	}
	d.Added = FormatSchema(arrow.NewSchema(fields, nil))
	return d
}

// redeclare writes a declaration right before the publish of what was merged by the one before.
func (r *run) redeclare(ctx context.Context, d declaration, list []swap.Publication) error {
	if !d.changes() {
		return r.stillDeclared(ctx)
	}
	return r.store.Redeclare(ctx, list, func(partitions []string) (map[string]swap.Restamp, error) {
		if err := r.stillDeclared(ctx); err != nil {
			return nil, err
		}
		return r.declare(ctx, d, partitions)
	})
}

// changes reports whether there is anything to declare.
func (d declaration) changes() bool { return d.Creates || d.Added != "" || len(d.Older) > 0 }

// declare writes a declaration. It comes before the publish of the partitions, so that none is live whose column
// types are not known. What a metastore has of these changes as it says.
func (t *Table) declare(ctx context.Context, d declaration, partitions []string) (map[string]swap.Restamp, error) {
	switch {
	case !d.changes():
		return nil, nil
	case t.catalog != nil:
		return t.declareColumns(ctx, d, partitions)
	}
	return nil, t.declareInState(ctx, d)
}

// declareInState is declare for a table that no metastore has.
func (t *Table) declareInState(ctx context.Context, d declaration) error {
	t.declaring.Lock()
	defer t.declaring.Unlock()
	c, err := t.ReadConfig(ctx) // somebody may have declared a key meanwhile
	if err != nil {
		return err
	}
	if d.Creates {
		c.PartitionBy = d.PartitionBy
		if d.Schema != "" {
			c.Schema = d.Schema
		}
		if err := c.validate(); err != nil {
			return err
		}
		return t.writeConfig(ctx, c)
	}
	if c.Schema == "" {
		return nil
	}
	schema, err := ParseSchema(c.Schema)
	if err != nil {
		return err
	}
	added, err := ParseSchema(d.Added)
	if err != nil {
		return err
	}
	fields := schema.Fields()
	for _, f := range added.Fields() {
		if len(foldIndices(arrow.NewSchema(fields, nil), f.Name)) == 0 {
			fields = append(fields[:len(fields):len(fields)], f)
		}
	}
	c.Schema = FormatSchema(arrow.NewSchema(fields, nil))
	return t.writeConfig(ctx, c)
}

// declareStaged is declare for a run that was staged before: where it makes the table, nobody may have made
// another one meanwhile.
func (t *Table) declareStaged(ctx context.Context, d declaration, partitions []string) (map[string]swap.Restamp, error) {
	if d.Creates {
		columns, err := ParseColumns(d.PartitionBy)
		if err != nil {
			return nil, err
		}
		l, err := t.listNames(ctx, columns)
		if err != nil {
			return nil, err
		}
		if !l.empty {
			c, err := t.ReadConfig(ctx)
			if err != nil {
				return nil, err
			}
			if d.Schema != "" && d.Schema == c.Schema && slices.Equal(d.PartitionBy, c.PartitionBy) {
				return nil, nil // made by another run of the same declaration
			}
			return nil, fault(ErrConflict, "the table was made by somebody else since the run was staged")
		}
	}
	return t.declare(ctx, d, partitions)
}
