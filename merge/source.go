package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	input "github.com/hupsert/hupsert/merge/source"
)

// fate is what a source row has come to.
type fate uint8

const (
	pending   fate = iota // holds its key, not met yet
	duplicate             // another source row holds its key
	nullKey
	rejected
	inserted
	updated
	unchanged
	deleted
	stale
	ignored
)

// source is the source side of the merge: its rows, and what has become of each. Their keys are looked
// up band by band.
type source struct {
	rows    *rows
	key     []keyColumn
	version []keyColumn // compared between source rows
	stored  []int       // those of them, by ordinal, that the old files have too
	layout  layout
	deletes []bool
	fates   []fate
	bands   []*band // by key
	sorted  bool    // the keys come sorted, none of them NULL or twice
	// arrivals is the first of the rows that come from another partition: they are inserted whatever the mode.
	arrivals int
}

func newSource(ctx context.Context, t *Task, b *binding, o *Options) (*source, error) {
	r, err := newRows(ctx, t, b, o)
	if err != nil {
		return nil, err
	}
	s := &source{rows: r, fates: make([]fate, r.n), arrivals: r.arrivals}
	if !o.Mode.Keyed() {
		return s, nil
	}
	if err := s.resolveKeyColumns(o); err != nil {
		return nil, err
	}
	if err := s.markDeletes(ctx, o); err != nil {
		return nil, err
	}
	return s, s.encode(ctx, o)
}

// resolveKeyColumns finds the leaves of keys and versions in the table.
func (s *source) resolveKeyColumns(o *Options) error {
	if len(o.Key) == 0 {
		return &Error{Kind: ErrUsage, Message: "no key columns", Hint: "name the primary key, or declare it with the table"}
	}
	fields := s.rows.binding.schema.Fields()
	var err error
	if s.key, s.layout, err = keyColumns(fields, o.Key, o.AllowFloatKeys, o.NullKeys == PolicyMatch); err != nil {
		return err
	}
	for _, v := range o.OrderBy {
		if at, ok := s.rows.binding.extra[strings.ToLower(v.Column)]; ok {
			f := s.rows.batches0().Field(at)
			s.version = append(s.version, keyColumn{path: v.Column, table: -1, names: []string{f.Name}, part: partType{typ: plainType(f.Type)}, desc: v.Desc})
			continue
		}
		if at, err := fieldIndex(fields, topLevel(fields, v.Column)); at < 0 && err == nil && !s.rows.shaped() {
			continue // nobody has the column, and nobody asks which row is newer
		}
		k, err := findLeaf(fields, v.Column)
		if err != nil {
			return err
		}
		k.desc = v.Desc
		if k.part.width() == 0 && !isBytes(k.part.typ) {
			return &Error{Kind: ErrSchema, Column: v.Column, Message: fmt.Sprintf("%s has no order", k.part.typ), Hint: "order by another column"}
		}
		s.stored = append(s.stored, len(s.version))
		s.version = append(s.version, k)
	}
	return nil
}

// keyColumns finds the leaves of a key in the table, and how they make its bytes.
func keyColumns(fields []arrow.Field, paths []string, floats, nullable bool) ([]keyColumn, layout, error) {
	var key []keyColumn
	var parts []partType
	for _, path := range paths {
		k, err := findLeaf(fields, path)
		if err != nil {
			return nil, layout{}, err
		}
		switch {
		case isFloat(k.part.typ) && !floats:
			return nil, layout{}, &Error{Kind: ErrSchema, Column: path, Message: "a float is no key", Hint: "--allow-float-keys compares NaN and zeros as equal"}
		case k.part.width() == 0 && !isBytes(k.part.typ):
			return nil, layout{}, &Error{Kind: ErrSchema, Column: path, Message: fmt.Sprintf("%s can't be a key", k.part.typ), Hint: "name a field of it as a.b"}
		}
		key = append(key, k)
		parts = append(parts, k.part)
	}
	l := newLayout(parts, nullable)
	for i := range key {
		key[i].part = l.parts[i]
	}
	return key, l, nil
}

// batches0 is the schema of the source records.
func (r *rows) batches0() *arrow.Schema {
	for _, b := range r.batches {
		if !b.Whole {
			return b.Columns.Schema()
		}
	}
	return arrow.NewSchema(nil, nil)
}

// shaped reports whether some rows have the columns of the source.
func (r *rows) shaped() bool {
	return slices.ContainsFunc(r.batches, func(b *sourceBatch) bool { return !b.Whole })
}

// markDeletes finds the source rows that are deletes.
func (s *source) markDeletes(ctx context.Context, o *Options) error {
	d := o.DeleteWhen
	if d == nil || s.rows.n == 0 {
		return nil
	}
	s.deletes = make([]bool, s.rows.n)
	var cursor input.Cursor
	defer cursor.Close()
	for _, b := range s.rows.batches {
		if b.Whole {
			continue // a delete arrives nowhere
		}
		at, err := fieldIndex(b.Columns.Schema().Fields(), d.Column)
		if err != nil {
			return err
		}
		if at < 0 {
			return noDeleteColumn(d.Column, b.Columns.Schema())
		}
		arr, err := b.Columns.Read(ctx, at, &cursor)
		if err != nil {
			return err
		}
		if plainType(arr.DataType()).ID() != arrow.BOOL && d.Value == nil {
			return &Error{Kind: ErrSchema, Column: d.Column, Message: fmt.Sprintf("--delete-when needs a boolean column, this is %s", arr.DataType()),
				Hint: "name the value that marks a delete: --delete-when " + d.Column + "=VALUE"}
		}
		for i := range b.n {
			row := b.row(i)
			s.deletes[b.base+i] = !arr.IsNull(row) && isDelete(arr, row, d.Value)
		}
	}
	return nil
}

func noDeleteColumn(name string, source *arrow.Schema) error {
	return &Error{Kind: ErrSchema, Column: name, Message: "named in --delete-when, but the source has no such column",
		Hint: columnsHint("source", source.Fields(), name)}
}

func isDelete(arr arrow.Array, row int, value *string) bool {
	text := "true"
	if value != nil {
		text = *value
	}
	if d, ok := arr.(*array.Dictionary); ok {
		return d.Dictionary().ValueStr(d.GetValueIndex(row)) == text
	}
	return arr.ValueStr(row) == text
}

func (s *source) isDelete(row int) bool { return s.deletes != nil && s.deletes[row] }
