package partition

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/stage"
)

// foldIndices are the ordinals of the fields with a name, ignoring case as Hive does.
func foldIndices(s *arrow.Schema, name string) []int {
	var out []int
	for i := range s.NumFields() {
		if strings.EqualFold(s.Field(i).Name, name) {
			out = append(out, i)
		}
	}
	return out
}

// foldIndex is the ordinal of the one field with a name, -1 where there is none.
func foldIndex(s *arrow.Schema, name string) (int, error) {
	at := foldIndices(s, name)
	switch len(at) {
	case 0:
		return -1, nil
	case 1:
		return at[0], nil
	}
	return -1, fault(ErrSchema, "%s and %s differ only in case", s.Field(at[0]).Name, s.Field(at[1]).Name).column(name)
}

// shownFields is how many columns an error names.
const shownFields = 12

// fieldNames lists the columns of a schema for a message.
func fieldNames(s *arrow.Schema) string {
	var names []string
	for i, f := range s.Fields() {
		if i == shownFields {
			names = append(names, fmt.Sprintf("%d more", s.NumFields()-i))
			break
		}
		names = append(names, f.Name)
	}
	return strings.Join(names, ", ")
}

// openParquet opens one data file of the table.
func openParquet(ctx context.Context, fsys storage.FS, name string) (*splice.File, io.Closer, error) {
	f, err := fsys.Open(ctx, name)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		return nil, nil, errors.Join(err, f.Close())
	}
	file, err := splice.Open(f, info.Size, path.Base(name))
	if err != nil {
		return nil, nil, errors.Join(badFile(err, path.Base(name)), f.Close())
	}
	return file, f, nil
}

// badFile says that a file of the table can't be read as Parquet. What the storage says is passed on
// as it is.
func badFile(err error, name string) error {
	hint := "restore the file, or move it out of the partition"
	switch {
	case errors.Is(err, splice.ErrEncrypted):
		hint = "encrypted Parquet can't be merged; decrypt the table first"
	case errors.Is(err, splice.ErrUnsupported):
		hint = "write the file anew with another engine, with common encodings"
	case !errors.Is(err, splice.ErrCorrupt):
		return err
	}
	text := &message{text: strings.TrimPrefix(err.Error(), name+": "), is: errors.Join(ErrCorrupt, err)}
	return (&Error{Kind: KindCorrupt, Err: text}).file(name).hint("%s", hint)
}

// filesSchema is the union of the schemas of a partition's files, by name; nil where there are none.
func filesSchema(ctx context.Context, fsys storage.FS, dir string, files []stage.File) (*arrow.Schema, error) {
	var union *arrow.Schema
	for _, f := range files {
		file, closer, err := openParquet(ctx, fsys, path.Join(dir, f.Name))
		if err != nil {
			return nil, err
		}
		if err := closer.Close(); err != nil {
			return nil, err
		}
		s, err := shred.ArrowSchema(file.Schema())
		if err != nil {
			return nil, fault(ErrSchema, "%v", err).file(f.Name)
		}
		if union, err = unite(union, s); err != nil {
			var e *Error
			if errors.As(err, &e) {
				return nil, e.file(f.Name)
			}
			return nil, err
		}
	}
	return union, nil
}

// unite adds the columns of b to a. A column that one of them lacks is nullable; one that both have
// is of the wider type, where one of the two can hold the other's values.
func unite(a, b *arrow.Schema) (*arrow.Schema, error) {
	if a == nil {
		return b, nil
	}
	fields := append([]arrow.Field(nil), a.Fields()...)
	for i := range fields {
		if at, err := foldIndex(b, fields[i].Name); err != nil {
			return nil, err
		} else if at < 0 {
			fields[i].Nullable = true
		}
	}
	for _, f := range b.Fields() {
		at, err := foldIndex(a, f.Name)
		switch {
		case err != nil:
			return nil, err
		case at < 0:
			f.Nullable = true
			fields = append(fields, f)
			continue
		}
		wide, err := wider(fields[at].Type, f.Type)
		if err != nil {
			return nil, fault(ErrSchema, "%v", err).column(f.Name)
		}
		fields[at].Type = wide
		fields[at].Nullable = fields[at].Nullable || f.Nullable
	}
	return arrow.NewSchema(fields, nil), nil
}

// withLengths is a schema with the lengths that another one declares for its texts, which files do not keep.
func withLengths(s, declared *arrow.Schema) *arrow.Schema {
	fields := s.Fields()
	for _, d := range declared.Fields() {
		length, ok := shred.LengthOf(d)
		if !ok {
			continue
		}
		for _, i := range foldIndices(s, d.Name) {
			if id := fields[i].Type.ID(); id == arrow.STRING || id == arrow.BINARY {
				fields[i] = length.On(fields[i])
			}
		}
	}
	return arrow.NewSchema(fields, nil)
}

// withoutLengths is a schema whose texts may be of any length.
func withoutLengths(s *arrow.Schema) *arrow.Schema {
	fields := s.Fields()
	for i, f := range fields {
		fields[i].Metadata = shred.KindOnly(f.Metadata)
	}
	return arrow.NewSchema(fields, nil)
}

func wider(a, b arrow.DataType) (arrow.DataType, error) {
	if arrow.TypeEqual(a, b) {
		return a, nil
	}
	if bitsA, signedA, ok := integer(a); ok {
		if bitsB, signedB, ok := integer(b); ok && signedA == signedB {
			if bitsB > bitsA {
				return b, nil
			}
			return a, nil
		}
	}
	switch {
	case a.ID() == arrow.FLOAT32 && b.ID() == arrow.FLOAT64:
		return b, nil
	case a.ID() == arrow.FLOAT64 && b.ID() == arrow.FLOAT32:
		return a, nil
	}
	ta, okA := a.(*arrow.TimestampType)
	tb, okB := b.(*arrow.TimestampType)
	if okA && okB && (ta.TimeZone == "") == (tb.TimeZone == "") {
		if tb.Unit.Multiplier() < ta.Unit.Multiplier() {
			return b, nil
		}
		return a, nil
	}
	da, okA := a.(*arrow.Decimal128Type)
	db, okB := b.(*arrow.Decimal128Type)
	if okA && okB {
		scale := max(da.Scale, db.Scale)
		if digits := max(da.Precision-da.Scale, db.Precision-db.Scale) + scale; digits <= 38 {
			return &arrow.Decimal128Type{Precision: digits, Scale: scale}, nil
		}
	}
	return nil, fmt.Errorf("the partition's files have it as %s and as %s", TypeName(a), TypeName(b))
}

// tableSchema is the table's data columns: as declared, else those of the preferred partition's
// files, else those of the highest partition that has any. nil where nothing says.
func (t *Table) tableSchema(ctx context.Context, l *layout, c TableConfig, prefer string) (*arrow.Schema, error) {
	if c.Schema != "" {
		return ParseSchema(c.Schema)
	}
	if prefer != "" {
		s, err := t.partitionSchema(ctx, prefer)
		if err != nil || s != nil {
			return s, err
		}
	}
	for i := len(l.leaves) - 1; i >= 0; i-- {
		s, err := t.partitionSchema(ctx, l.leaves[i].path)
		if err != nil || s != nil {
			return s, locate(err, l.leaves[i].path, StepList)
		}
	}
	return nil, nil
}

// partitionSchema is the schema of a live partition's files; nil where it has none.
func (t *Table) partitionSchema(ctx context.Context, partition string) (*arrow.Schema, error) {
	return unlocked(ctx, func() (*arrow.Schema, error) {
		inputs, err := t.store.Inputs(ctx, partition)
		if err != nil || inputs.Absent {
			return nil, err
		}
		c, err := classify(inputs.Files)
		if err != nil {
			return nil, err
		}
		return filesSchema(ctx, t.fsys, t.folder(partition, inputs), c.data)
	})
}

// contents is a partition's files by what is done with them.
type contents struct {
	data    []stage.File          // Parquet files, by name
	carried []stage.File          // taken over as they are: _SUCCESS, and hidden files of unknown meaning
	sums    map[string]stage.File // Hadoop's checksum files, by the file they are of
}

// classify sorts a partition's files. Summary files are dropped, since the offsets in them go stale;
// a checksum file goes with its file.
func classify(files []stage.File) (contents, error) {
	c := contents{sums: map[string]stage.File{}}
	for _, f := range files {
		of, isSum := strings.CutSuffix(strings.TrimPrefix(f.Name, "."), ".crc")
		switch {
		case f.Name[0] == '.' && isSum:
			c.sums[of] = f
		case f.Name == "_metadata", f.Name == "_common_metadata":
		case hidden(f.Name):
			c.carried = append(c.carried, f)
		case f.Size == 0:
			return c, fault(ErrCorrupt, "the file is empty, so it is not Parquet").file(f.Name).
				hint("move it out of the partition")
		default:
			c.data = append(c.data, f)
		}
	}
	return c, nil
}

// without is a schema less the partition columns.
func without(s *arrow.Schema, columns []Column) *arrow.Schema {
	var fields []arrow.Field
	for _, f := range s.Fields() {
		if columnIndex(columns, f.Name) < 0 {
			fields = append(fields, f)
		}
	}
	return arrow.NewSchema(fields, nil)
}

// columnIndex is the ordinal of a partition column, -1 where the name is none.
func columnIndex(columns []Column, name string) int {
	for i, c := range columns {
		if strings.EqualFold(c.Name, name) {
			return i
		}
	}
	return -1
}

// withPartitions is a schema with the partition columns it lacks, in their types.
func withPartitions(s *arrow.Schema, columns []Column) *arrow.Schema {
	fields := append([]arrow.Field(nil), s.Fields()...)
	for _, c := range columns {
		if len(foldIndices(s, c.Name)) == 0 {
			fields = append(fields, arrow.Field{Name: c.Name, Type: c.Type, Nullable: true})
		}
	}
	return arrow.NewSchema(fields, nil)
}

// withCasts is a schema with the columns that only --cast knows: what a source of text has in them gets that
// type.
func withCasts(s *arrow.Schema, casts map[string]string) *arrow.Schema {
	fields := append([]arrow.Field(nil), s.Fields()...)
	for name, text := range casts {
		if t, err := ParseType(text); err == nil && len(foldIndices(s, name)) == 0 {
			fields = append(fields, arrow.Field{Name: name, Type: t, Nullable: true})
		}
	}
	return arrow.NewSchema(fields, nil)
}

// checkCasts finds casts of columns that nobody has, and to types that nothing is cast to: values are
// converted to the table's type, and --cast only says that they may be.
func (r *run) checkCasts() error {
	if r.schema == nil || len(r.read.records) == 0 {
		return nil
	}
	rows := r.read.records[0].Schema()
	table := withPartitions(r.schema, r.layout.columns)
	for _, name := range sortedKeys(r.parsed.casts) {
		want, err := ParseType(r.parsed.casts[name])
		if err != nil {
			return err
		}
		at := append(foldIndices(table, name), -1)[0]
		own := append(foldIndices(rows, name), -1)[0]
		switch {
		case at >= 0 && table.Field(at).Type.ID() != want.ID():
			return fault(ErrUsage, "the table has it as %s, so it can't be cast to %s", TypeName(table.Field(at).Type), TypeName(want)).column(name).
				hint("--cast '%s:%s'", name, TypeName(table.Field(at).Type))
		case at < 0 && own < 0:
			return fault(ErrUsage, "named in --cast, but neither the table nor the source has such a column").column(name).
				hint("the source's columns: %s", fieldNames(rows))
		case at < 0 && rows.Field(own).Type.ID() != want.ID():
			return fault(ErrUsage, "the table lacks the column, and the source has it as %s: only columns of the table are cast, and text", TypeName(rows.Field(own).Type)).column(name).
				hint("leave --cast out, or convert the source")
		}
	}
	return nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
