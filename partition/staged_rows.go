package partition

import (
	"context"
	"errors"
	"io"
	"path"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage/stage"
)

// StagedView reads the partitions of a staged run as they would be once it is published: the new rows with the old ones that stay.
type StagedView struct {
	// Run is the staged run's name, which [Table.Publish] takes.
	Run string
	// Partitions are those that the run changes. One that would go away has no files.
	Partitions []StagedFiles
	// Columns are the table's partition columns.
	Columns []Column

	table  *Table
	budget *budget // that it looks within; nil: one of its own
}

// StagedFiles is a partition of a StagedView.
type StagedFiles struct {
	Partition string
	Spec      Spec     // its values
	Files     []string // that would go live, as any engine on this machine or cluster can open them
	Schema    *arrow.Schema

	folder string
	list   []stage.File
}

// StagedRows is some rows of a staged file.
type StagedRows struct {
	Partition string
	File      string
	First     int64        // the first row's place in the file, from 1
	Rows      arrow.Record // the columns that were asked for, in their order, good until the visit ends
}

// ViewStaged opens what an Upsert with [Options.StageOnly] left. It holds nothing open.
func (t *Table) ViewStaged(ctx context.Context, run string) (*StagedView, error) {
	v, err := t.viewStaged(ctx, run)
	return v, locate(err, "", StepVerify)
}

func (t *Table) viewStaged(ctx context.Context, run string) (*StagedView, error) {
	st, err := t.findStaged(ctx, run)
	if err != nil {
		return nil, swapError(err)
	}
	detail, err := detailOf(st)
	if err != nil {
		return nil, err
	}
	v := &StagedView{Run: st.Run, table: t}
	if v.Columns, err = t.stagedColumns(ctx, detail); err != nil {
		return nil, err
	}
	for _, p := range st.Partitions {
		files := StagedFiles{Partition: p.Partition, folder: p.Folder}
		if p.Partition != "" {
			if files.Spec, err = ParsePath(p.Partition); err != nil {
				return nil, err
			}
		}
		if err := v.list(ctx, &files); err != nil {
			return nil, locate(err, p.Partition, StepList)
		}
		v.Partitions = append(v.Partitions, files)
	}
	return v, nil
}

// list finds a partition's files. It has none where it would go away.
func (v *StagedView) list(ctx context.Context, p *StagedFiles) (err error) {
	if p.folder == "" {
		return nil
	}
	if p.list, err = v.table.dataFiles(ctx, p.folder); err != nil {
		return err
	}
	for _, f := range p.list {
		p.Files = append(p.Files, v.table.urlOf(path.Join(p.folder, f.Name)))
	}
	p.Schema, err = filesSchema(ctx, v.table.fsys, p.folder, p.list)
	return err
}

// stagedColumns are the partition columns, also of a table that is made when the run is published.
func (t *Table) stagedColumns(ctx context.Context, detail stagedDetail) ([]Column, error) {
	if detail.Declares.Creates {
		return ParseColumns(detail.Declares.PartitionBy)
	}
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return nil, err
	}
	declared, err := ParseColumns(c.PartitionBy)
	if err != nil {
		return nil, err
	}
	l, err := t.listNames(ctx, declared)
	if err != nil {
		return nil, err
	}
	return l.columns, nil
}

// Each visits all rows of a partition, file by file, with the columns named. One that a file lacks is NULL in it; one that neither
// the partition's files nor the table's partition columns have is an error.
func (v *StagedView) Each(ctx context.Context, p StagedFiles, columns []string, visit func(StagedRows) error) error {
	fields := make([]arrow.Field, len(columns))
	for i, name := range columns {
		var err error
		if fields[i], err = v.field(p, name); err != nil {
			return locate(err, p.Partition, StepVerify)
		}
	}
	for _, f := range p.list {
		if err := v.eachOf(ctx, p, f, fields, visit); err != nil {
			return locate(fileError(err, p.list), p.Partition, StepVerify)
		}
	}
	return nil
}

// field finds a column of a partition, in the spelling of its files.
func (v *StagedView) field(p StagedFiles, name string) (arrow.Field, error) {
	if p.Schema != nil {
		at, err := foldIndex(p.Schema, name)
		if err != nil {
			return arrow.Field{}, err
		}
		if at >= 0 {
			return p.Schema.Field(at), nil
		}
	}
	if at := columnIndex(v.Columns, name); at >= 0 {
		return arrow.Field{Name: v.Columns[at].Name, Type: v.Columns[at].Type, Nullable: true}, nil
	}
	e := fault(ErrUsage, "the table has no such column").column(name)
	if p.Schema != nil {
		e = e.hint("it has %s", fieldNames(withPartitions(p.Schema, v.Columns)))
	}
	return arrow.Field{}, e
}

// eachOf visits the rows of one file.
func (v *StagedView) eachOf(ctx context.Context, p StagedFiles, f stage.File, fields []arrow.Field, visit func(StagedRows) error) (err error) {
	names := make([]string, len(fields))
	for i, field := range fields {
		names[i] = field.Name
	}
	in := source.Input{Name: f.Name, Format: source.Parquet, Size: f.Size, Open: func(ctx context.Context) (source.ReadCloserAt, error) {
		return v.table.fsys.Open(ctx, path.Join(p.folder, f.Name))
	}}
	reader, err := source.Open(ctx, in, nil, source.Options{Columns: names})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, reader.Close()) }()
	first := int64(1)
	for {
		rec, err := reader.Next(ctx)
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		err = v.visit(p, f, first, rec, fields, visit)
		first += rec.NumRows()
		rec.Release()
		if err != nil {
			return err
		}
	}
}

// visit gives a record the columns that were asked for.
func (v *StagedView) visit(p StagedFiles, f stage.File, first int64, rec arrow.Record, fields []arrow.Field, visit func(StagedRows) error) error {
	columns := make([]arrow.Array, len(fields))
	shaped := make([]arrow.Field, len(fields))
	for i, field := range fields {
		at, err := foldIndex(rec.Schema(), field.Name)
		if err != nil {
			return err
		}
		if at >= 0 {
			columns[i] = rec.Column(at)
			columns[i].Retain()
		} else if columns[i], err = v.absent(p, field, int(rec.NumRows())); err != nil {
			return err
		}
		defer columns[i].Release()
		shaped[i] = arrow.Field{Name: field.Name, Type: columns[i].DataType(), Nullable: true}
	}
	rows := array.NewRecord(arrow.NewSchema(shaped, nil), columns, rec.NumRows())
	defer rows.Release()
	return visit(StagedRows{Partition: p.Partition, File: f.Name, First: first, Rows: rows})
}

// absent is a column that a file lacks: the partition's value, or NULL.
func (v *StagedView) absent(p StagedFiles, field arrow.Field, n int) (arrow.Array, error) {
	pair := Pair{Null: true}
	for _, own := range p.Spec {
		if strings.EqualFold(own.Column, field.Name) {
			pair = own
		}
	}
	if pair.Null {
		return array.MakeArrayOfNull(memory.DefaultAllocator, field.Type, n), nil
	}
	return constant(field.Type, pair, n, func(t arrow.DataType) array.Builder { return array.NewBuilder(memory.DefaultAllocator, t) })
}

// Repeats looks in a partition for rows that are alike in the columns named, in the memory that the options give, and on disk. NULL
// is like nothing. Partition columns are the same in all rows.
func (v *StagedView) Repeats(ctx context.Context, p StagedFiles, columns []string, o Options) (_ *merge.KeyReport, err error) {
	defer func() { err = locate(err, p.Partition, StepVerify) }()
	var key []string
	for _, name := range columns {
		top, _, _ := strings.Cut(name, ".")
		if _, err := v.field(p, name); err != nil {
			if _, err := v.field(p, top); err != nil {
				return nil, err
			}
		}
		if p.Schema == nil || columnIndex(v.Columns, name) < 0 || len(foldIndices(p.Schema, name)) > 0 {
			key = append(key, name)
		}
	}
	if len(key) == 0 {
		return nil, fault(ErrUsage, "%s: partition columns alone are the same in all rows of a partition", strings.Join(columns, ", "))
	}
	if len(p.list) == 0 {
		return new(merge.KeyReport), nil
	}
	b := v.budget
	if b == nil {
		b = newBudget(&o)
		defer func() { err = errors.Join(err, b.space.Close()) }()
	}
	check := merge.KeyCheck{Schema: p.Schema, Key: key, Sample: sampled, Spill: b.space, Memory: b.total * 3 / 4}
	r := &run{Table: v.table}
	for _, f := range p.list {
		check.Old = append(check.Old, merge.Old{Name: f.Name, Open: r.opener(p.folder, f)})
	}
	found, err := merge.CheckKeys(ctx, check)
	if err != nil {
		return nil, fileError(err, p.list)
	}
	return found, nil
}
