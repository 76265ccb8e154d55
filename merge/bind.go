package merge

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/nearest"
	"github.com/hupsert/hupsert/merge/shred"
)

// binding says which column of the source is which column of the table. Names match
// case-insensitively, as Hive does, never by position.
type binding struct {
	schema *arrow.Schema
	source []int // per table column its ordinal in the source records, -1 where missing
	// extra are columns of the source that the table lacks and the options name: version and
	// delete-when columns, by lower-case name.
	extra map[string]int
	// update are the table columns that a matched row takes from the source.
	update []bool
	// insert are the columns that an inserted row takes from it; the others are NULL.
	insert []bool
	// keepNull are those of them in which a NULL keeps the old value.
	keepNull []bool
	ignored  []string // new columns left out
	julian   calendar
}

// fieldIndex finds a field by name, case-insensitively: -1 where there is none.
func fieldIndex(fields []arrow.Field, name string) (int, error) {
	found := -1
	for i, f := range fields {
		if !strings.EqualFold(f.Name, name) {
			continue
		}
		if found >= 0 {
			return -1, &Error{Kind: ErrSchema, Column: name, Message: fmt.Sprintf("ambiguous: %s and %s differ only in case",
				fields[found].Name, f.Name), Hint: "rename one of them"}
		}
		found = i
	}
	return found, nil
}

// fieldFinder is fieldIndex for many names.
func fieldFinder(fields []arrow.Field) func(name string) (int, error) {
	first, twice := make(map[string]int, len(fields)), map[string]bool{}
	for i, f := range fields {
		key := shred.FoldName(f.Name)
		if _, ok := first[key]; ok {
			twice[key] = true
			continue
		}
		first[key] = i
	}
	return func(name string) (int, error) {
		key := shred.FoldName(name)
		if twice[key] {
			return fieldIndex(fields, name) // which says so
		}
		if at, ok := first[key]; ok {
			return at, nil
		}
		return -1, nil
	}
}

// consumedColumns are those that the options name and that steer the merge, in lower case.
func consumedColumns(o *Options) map[string]bool {
	consumed := map[string]bool{}
	for _, v := range o.OrderBy {
		consumed[strings.ToLower(v.Column)] = true
	}
	if o.DeleteWhen != nil {
		consumed[strings.ToLower(o.DeleteWhen.Column)] = true
	}
	return consumed
}

// extend adds the columns of the source that the table lacks, nullable and last.
func extend(table, source *arrow.Schema, o *Options) (extended *arrow.Schema, added []arrow.Field, err error) {
	fields, consumed := table.Fields(), consumedColumns(o)
	fields = fields[:len(fields):len(fields)]
	find, news := fieldFinder(fields), map[string]bool{}
	for _, f := range source.Fields() {
		at, err := find(f.Name)
		if key := shred.FoldName(f.Name); news[key] {
			at, err = fieldIndex(fields, f.Name)
		} else if at < 0 {
			news[key] = true
		}
		switch {
		case err != nil:
			return nil, nil, err
		case at >= 0 || consumed[strings.ToLower(f.Name)]:
			continue
		case len(o.Columns) > 0 && !containsFold(o.Columns, f.Name) || containsFold(o.ExceptColumns, f.Name):
			continue
		}
		f = arrow.Field{Name: f.Name, Type: plainType(f.Type), Nullable: true, Metadata: shred.KindOnly(f.Metadata)}
		fields, added = append(fields, f), append(added, f)
	}
	return arrow.NewSchema(fields, nil), added, nil
}

// Extended is a table's schema with the columns that a merge of a source would add.
func (o *Options) Extended(table, source *arrow.Schema) (*arrow.Schema, error) {
	if o.NewColumns != PolicyAdd || o.Mode == Delete {
		return table, nil
	}
	extended, _, err := extend(table, source, o)
	return extended, err
}

func containsFold(list []string, name string) bool {
	return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
}

// bindRows is bind for batches whose rows have the columns of the source. That it lacks the column of deletes is said first:
// where the name is misspelt, the column that was meant is one that the table lacks.
func bindRows(table *arrow.Schema, batch Batch, o *Options) (*binding, error) {
	source := batch.Columns.Schema()
	rows := len(batch.Rows) > 0 || batch.Rows == nil && batch.Columns.NumRows() > 0
	if d := o.DeleteWhen; d != nil && rows {
		if at, err := fieldIndex(source.Fields(), d.Column); at < 0 && err == nil {
			return nil, noDeleteColumn(d.Column, source)
		}
	}
	return bind(table, source, o)
}

func bind(table, source *arrow.Schema, o *Options) (*binding, error) {
	b := &binding{schema: table, extra: map[string]int{}, source: make([]int, table.NumFields())}
	consumed := consumedColumns(o)
	inSource, inTable := fieldFinder(source.Fields()), fieldFinder(table.Fields())
	for i, f := range table.Fields() {
		at, err := inSource(f.Name)
		if err != nil {
			return nil, err
		}
		b.source[i] = at
	}
	var fresh []string
	for i, f := range source.Fields() {
		at, err := inTable(f.Name)
		switch {
		case err != nil:
			return nil, err
		case at >= 0:
		case consumed[strings.ToLower(f.Name)]:
			b.extra[strings.ToLower(f.Name)] = i
		default:
			fresh = append(fresh, f.Name)
		}
	}
	if len(fresh) > 0 && o.NewColumns != PolicyIgnore && o.NewColumns != PolicyAdd && o.Mode != Delete {
		return nil, &Error{Kind: ErrSchema, Column: fresh[0], Message: fmt.Sprintf("the source has columns the table lacks: %s",
			strings.Join(fresh, ", ")), Hint: "take them in with --new-columns add, or leave them out with --new-columns ignore"}
	}
	b.ignored = fresh
	return b, b.bindUpdates(o)
}

// bindUpdates decides which columns a matched row takes from the source.
func (b *binding) bindUpdates(o *Options) error {
	fields := b.schema.Fields()
	b.update, b.keepNull = make([]bool, len(fields)), make([]bool, len(fields))
	b.insert = make([]bool, len(fields))
	mark := func(flag string, names []string, set []bool) error {
		for _, name := range names {
			at, err := fieldIndex(fields, name)
			if err != nil {
				return err
			}
			if at < 0 {
				return &Error{Kind: ErrSchema, Column: name, Message: "named in --" + flag + ", but the table has no such column",
					Hint: columnsHint("table", fields, name)}
			}
			set[at] = true
		}
		return nil
	}
	named, except := make([]bool, len(fields)), make([]bool, len(fields))
	if err := mark("columns", o.Columns, named); err != nil {
		return err
	}
	if err := mark("except-columns", o.ExceptColumns, except); err != nil {
		return err
	}
	if err := mark("keep-null", o.KeepNull, b.keepNull); err != nil {
		return err
	}
	keyed := make([]bool, len(fields))
	for _, k := range o.Key {
		at, err := fieldIndex(fields, topLevel(fields, k))
		if err != nil {
			return err
		}
		if at < 0 {
			return &Error{Kind: ErrSchema, Column: k, Message: "the key column is not in the table",
				Hint: columnsHint("table", fields, k)}
		}
		keyed[at] = true
		if b.source[at] < 0 && o.Mode.Keyed() {
			return &Error{Kind: ErrSchema, Column: k, Message: "the key column is missing from the source",
				Hint: "every source row needs its key"}
		}
	}
	var missing []string
	for i, f := range fields {
		wanted := (len(o.Columns) == 0 || named[i]) && !except[i]
		carried := slices.ContainsFunc(o.Carried, func(name string) bool { return strings.EqualFold(name, f.Name) })
		if b.source[i] < 0 && wanted && !keyed[i] && !carried && o.Mode != Delete {
			missing = append(missing, f.Name)
		}
		// A key column is equal already; where it is a float or a struct's field the rest may differ.
		plainKey := keyed[i] && !isFloat(f.Type) && f.Type.ID() != arrow.STRUCT
		b.insert[i] = (wanted || keyed[i]) && b.source[i] >= 0
		b.update[i] = (wanted || keyed[i]) && b.source[i] >= 0 && !plainKey
	}
	if len(missing) > 0 && o.MissingColumns != PolicyKeep {
		return &Error{Kind: ErrSchema, Column: missing[0], Message: fmt.Sprintf("the source lacks %d of the table's columns: %s",
			len(missing), strings.Join(missing, ", ")),
			Hint: "keep their old values with --missing-columns keep, or name the columns to update with --columns"}
	}
	return nil
}

// topLevel is the field a key path begins with: the whole name where a field has it, else the part
// before the first dot.
func topLevel(fields []arrow.Field, path string) string {
	if at, err := fieldIndex(fields, path); err == nil && at >= 0 {
		return path
	}
	head, _, _ := strings.Cut(path, ".")
	return head
}

func fieldNames(fields []arrow.Field) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return strings.Join(names, ", ")
}

// columnsHint says which columns there are, of the table or of the source, in place of one that there is not.
func columnsHint(whose string, fields []arrow.Field, name string) string {
	names := make([]string, len(fields))
	for i, f := range fields {
		names[i] = f.Name
	}
	return nearest.Meant(name, names) + "the " + whose + "'s columns: " + fieldNames(fields)
}

func isFloat(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.FLOAT16, arrow.FLOAT32, arrow.FLOAT64:
		return true
	}
	return false
}

// cast brings a bound column of the source to the table's type, exactly.
func (b *binding) cast(have arrow.Array, table int, batch Batch, o *Options) (batchColumn, error) {
	f := b.schema.Field(table)
	if arrow.TypeEqual(plainType(have.DataType()), f.Type) {
		return batchColumn{have, batch.Rows}, nil // dictionaries stay what they are: shredding takes them
	}
	opts := shred.CastOptions{TruncateTimestamps: o.TruncateTimestamps, SourceTimezone: o.SourceTimezone}
	for name := range o.Casts {
		if strings.EqualFold(name, f.Name) {
			opts.Explicit = true
		}
	}
	// Only the batch's rows: others are of partitions with types of their own.
	arr, row, err := shred.CastRows(have, batch.Rows, f.Type, opts)
	switch {
	case err == nil:
		return batchColumn{arr, nil}, nil
	case batch.Whole:
		return batchColumn{}, &Error{Kind: ErrSchema, Column: f.Name, Err: err,
			Message: fmt.Sprintf("%s of the partition that a row comes from does not fit %s of this one%s", have.DataType(), f.Type, batch.where(row)),
			Hint:    "give the source the column, or write the files of one of the two partitions anew, with the other's type"}
	}
	return batchColumn{}, &Error{Kind: ErrSchema, Column: f.Name, Err: err,
		Message: fmt.Sprintf("%s of the source does not fit the table's %s%s", have.DataType(), f.Type, batch.where(row)),
		Hint:    castHint(err, have.DataType(), f, opts.Explicit)}
}

// castHint says what helps where a column of the source is not of the table's type.
func castHint(err error, have arrow.DataType, f arrow.Field, explicit bool) string {
	switch {
	case errors.Is(err, shred.ErrTimezone):
		return "say what zone the timestamps without one are in: --source-timezone UTC"
	case errors.Is(err, shred.ErrLossy) && finer(plainType(have), f.Type):
		return "correct the source, or cut times to the unit of the file with --truncate-timestamps"
	case errors.Is(err, shred.ErrType) && !explicit:
		return fmt.Sprintf("correct the source, or allow the conversion with --cast '%s:%s'", f.Name, f.Type)
	case errors.Is(err, shred.ErrLossy):
		return "correct the source: the table's column can't hold the value"
	}
	return "correct the source"
}

// finer reports whether times of a type have a smaller unit than those of another.
func finer(have, want arrow.DataType) bool {
	a, ok := have.(arrow.TemporalWithUnit)
	b, also := want.(arrow.TemporalWithUnit)
	return ok && also && a.TimeUnit().Multiplier() < b.TimeUnit().Multiplier()
}

// needed reports whether a delete needs the column: keys and versions.
func (b *binding) needed(i int, o *Options) bool {
	name := b.schema.Field(i).Name
	for _, k := range o.Key {
		if strings.EqualFold(topLevel(b.schema.Fields(), k), name) {
			return true
		}
	}
	for _, v := range o.OrderBy {
		if strings.EqualFold(v.Column, name) {
			return true
		}
	}
	return false
}

// where names a row of the batch for a message.
func (b Batch) where(row int) string {
	switch {
	case row < 0:
		return ""
	case b.Position != nil:
		return " at " + b.Position(row)
	}
	return fmt.Sprintf(" at source row %d", row)
}
