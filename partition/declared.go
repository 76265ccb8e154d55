package partition

import (
	"context"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/storage/stage"
)

// A metastore says what readers take a table's files for. The files say what they are. Both hold: what is written keeps
// the files' types, within what is declared.

// asDeclared settles the columns of a partition whose files are there: the files' columns and those that they lack, in the types
// that hold both. What readers could not read is an error.
func (r *run) asDeclared(ctx context.Context, o *outcome, files *arrow.Schema) (*arrow.Schema, error) {
	if unknown := undeclared(without(files, r.layout.columns), r.schema); len(unknown) > 0 {
		o.notes = append(o.notes, named(o.path, "columns of the files that the metastore does not know are carried along: "+strings.Join(unknown, ", ")))
	}
	if r.byPosition {
		// A file of the partition may have the columns of the others in another order.
		for _, f := range o.contents.data {
			own, err := filesSchema(ctx, r.fsys, r.folder(o.path, o.inputs), []stage.File{f})
			if err == nil {
				err = inPlace(own, r.schema, f.Name)
			}
			if err != nil {
				return nil, err
			}
		}
	}
	return readable(files, r.schema)
}

// readable is the schema of files, with what is declared and they lack, in the types that hold both.
func readable(files, declared *arrow.Schema) (*arrow.Schema, error) {
	fields := append([]arrow.Field(nil), files.Fields()...)
	for _, d := range declared.Fields() {
		at, err := foldIndex(files, d.Name)
		if err != nil {
			return nil, err
		}
		if at < 0 {
			d.Nullable = true
			fields = append(fields, d)
			continue
		}
		if !fits(files.Field(at).Type, d.Type) {
			return nil, fault(ErrSchema, "the files have it as %s and the metastore as %s, which readers can't read", TypeName(files.Field(at).Type), fieldType(d)).column(d.Name).
				hint("correct the type in the metastore, or write the partition anew")
		}
		if wide, err := wider(files.Field(at).Type, d.Type); err == nil {
			fields[at].Type = wide
		}
		fields[at] = within(fields[at], d.Type)
		fields[at].Nullable = true // as Hive's columns are: Spark writes one as required of which it sees no NULL
	}
	return withLengths(arrow.NewSchema(fields, nil), declared), nil
}

// within limits what is written to a column of wider files to what its declared type holds.
func within(f arrow.Field, declared arrow.DataType) arrow.Field {
	bits, _, isInteger := integer(f.Type)
	told, _, _ := integer(declared)
	if isInteger && told < bits {
		return shred.Ranged(f, TypeName(declared))
	}
	return f
}

// undeclared are the columns of files that readers do not see.
func undeclared(files, declared *arrow.Schema) (names []string) {
	for _, f := range files.Fields() {
		if len(foldIndices(declared, f.Name)) == 0 {
			names = append(names, f.Name)
		}
	}
	return names
}

// inPlace checks that a file has just the columns that are declared, in their order, where readers take them by their places: what is
// merged in goes by names, and a file that lacks one gets it last.
func inPlace(file, declared *arrow.Schema, name string) error {
	for i := range max(file.NumFields(), declared.NumFields()) {
		has, wants := "none", "none"
		if i < file.NumFields() {
			has = file.Field(i).Name
		}
		if i < declared.NumFields() {
			wants = declared.Field(i).Name
		}
		if !strings.EqualFold(has, wants) {
			return fault(ErrSchema, "column %d of the file is %s, and of the metastore %s, where parquet.column.index.access makes readers go by the place", i+1, has, wants).
				file(name).hint("take the property back, so that readers go by name, or write the partition anew")
		}
	}
	return nil
}

// fits reports whether readers that are told a type can read files that have a column in another one: Hive, whose table it is, with the
// same values, or as Spark does it. docs/semantics.md has the table.
func fits(file, told arrow.DataType) bool {
	if arrow.TypeEqual(file, told) {
		return true
	}
	if bits, signed, ok := integer(file); ok {
		wide, wideSigned, ok := integer(told)
		switch {
		case !ok || !wideSigned:
			return false
		case !signed:
			return wide > bits
		}
		// Parquet stores the small ones as INT32, and not every writer annotates them.
		return wide >= bits || bits == 32
	}
	switch file := file.(type) {
	case *arrow.Float32Type:
		return told.ID() == arrow.FLOAT64
	case *arrow.BinaryType, *arrow.StringType:
		return told.ID() == arrow.STRING || told.ID() == arrow.BINARY
	case *arrow.TimestampType:
		return told.ID() == arrow.TIMESTAMP
	case *arrow.Decimal128Type:
		d, ok := told.(*arrow.Decimal128Type)
		return ok && d.Scale == file.Scale && d.Precision >= file.Precision
	case *arrow.MapType:
		m, ok := told.(*arrow.MapType)
		return ok && fits(file.KeyType(), m.KeyType()) && fits(file.ItemType(), m.ItemType())
	case *arrow.StructType:
		s, ok := told.(*arrow.StructType)
		return ok && fieldsFit(file, s)
	case arrow.ListLikeType:
		l, ok := told.(arrow.ListLikeType)
		return ok && told.ID() != arrow.MAP && fits(file.Elem(), l.Elem())
	}
	return false
}

// fieldsFit is fits for the fields of structs, which are found by name. Those that one of the two lacks do no harm.
func fieldsFit(file, told *arrow.StructType) bool {
	fields := arrow.NewSchema(told.Fields(), nil)
	for _, f := range file.Fields() {
		for _, at := range foldIndices(fields, f.Name) {
			if !fits(f.Type, fields.Field(at).Type) {
				return false
			}
		}
	}
	return true
}

// inForm gives timestamps that are declared the form that the table's files have them in: Hive before 4.0 reads none but INT96,
// and whether one has a zone decides what a source of text means. Without files it is as declared.
func (t *Table) inForm(ctx context.Context, l *layout, declared *arrow.Schema, prefer string) (*arrow.Schema, error) {
	fields := declared.Fields()
	open := map[int]bool{}
	for i, f := range fields {
		if f.Type.ID() == arrow.TIMESTAMP {
			open[i] = true
		}
	}
	const most = 3 // partitions that are looked into: the newest may be without files
	looked := 0
	for i := len(l.leaves); i >= 0 && len(open) > 0 && looked < most; i-- {
		p := prefer
		if i < len(l.leaves) {
			p = l.leaves[i].path
		} else if prefer == "" {
			continue
		}
		looked++
		s, err := t.partitionSchema(ctx, p)
		if err != nil {
			return nil, locate(err, p, StepList)
		}
		if s == nil {
			continue
		}
		for i := range open {
			at := foldIndices(s, fields[i].Name)
			if len(at) == 1 && s.Field(at[0]).Type.ID() == arrow.TIMESTAMP {
				fields[i].Type, fields[i].Metadata = s.Field(at[0]).Type, shred.KindOnly(s.Field(at[0]).Metadata)
				delete(open, i)
			}
		}
	}
	return arrow.NewSchema(fields, nil), nil
}
