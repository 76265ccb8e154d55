package partition

import (
	"context"
	"errors"
	"io/fs"
	"path"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// changeTypeColumn says in a change feed what a row is.
const changeTypeColumn = "_change_type"

// ChangeFeed is a file with changes.
type ChangeFeed struct {
	File  string `json:"file"`
	Rows  int64  `json:"rows"` // an update has two
	Bytes int64  `json:"bytes"`
}

const (
	feedRows      = 1 << 17  // of a row group
	feedBytes     = 64 << 20 // of values of a row group, at most
	firstRead     = 16       // changes that are read at first, when nobody knows how large they are
	largestRead   = 1 << 16
	smallestBytes = 1 << 20
)

// feed writes changes to a file beside the one that is asked for, which takes its place once it is whole. Rows are held
// until there are enough for a row group, or they take too much memory.
type feed struct {
	fsys      storage.FS
	name      string // absolute
	temporary string
	file      storage.Writer
	out       *splice.Writer
	schema    *arrow.Schema
	nodes     []*column.Node
	columns   []Column // the table's partition columns
	limit     int64    // bytes of rows that are held

	pieces  [][]arrow.Array // by column
	rows    int64
	bytes   int64
	written int64
	size    int64
	sealed  bool
}

// feedSchema is the columns of a change feed: what a row is, the partition columns, and the table's, in types that hold
// the values of every partition.
func (r *run) feedSchema(ctx context.Context, out []*outcome) (*arrow.Schema, error) {
	fields := []arrow.Field{{Name: changeTypeColumn, Type: arrow.BinaryTypes.String}}
	for _, c := range r.layout.columns {
		fields = append(fields, arrow.Field{Name: c.Name, Type: c.Type, Nullable: true})
	}
	var union *arrow.Schema
	for _, o := range out {
		s, err := r.changedSchema(ctx, o)
		if err != nil {
			return nil, locate(err, o.path, StepList)
		}
		if s == nil {
			continue
		}
		if union, err = unite(union, s); err != nil {
			return nil, locate(hinted(err, "a change feed has one type for each column: diff the partitions one by one, with --partition"), o.path, StepList)
		}
	}
	if union == nil && len(out) == 0 && r.schema != nil {
		union = without(r.schema, r.layout.columns)
	}
	if union == nil {
		return arrow.NewSchema(fields, nil), nil
	}
	if at := foldIndices(union, changeTypeColumn); len(at) > 0 {
		return nil, fault(ErrSchema, "the table has a column of this name, which the change feed needs").column(changeTypeColumn)
	}
	return arrow.NewSchema(append(fields, union.Fields()...), nil), nil
}

func hinted(err error, hint string) error {
	var e *Error
	if errors.As(err, &e) {
		return e.hint("%s", hint)
	}
	return err
}

// changedSchema is the data columns of a partition as the merge will leave them; nil where nobody knows them.
func (r *run) changedSchema(ctx context.Context, o *outcome) (*arrow.Schema, error) {
	s, err := r.partitionSchema(ctx, o.path)
	if err != nil {
		return nil, err
	}
	if s == nil {
		s = r.schema
	}
	if s == nil {
		return nil, nil
	}
	options := r.mergeOptions(o)
	if options.NewColumns == merge.PolicyAdd && len(o.batches) > 0 {
		batches, err := r.batches(ctx, o, s)
		if err != nil {
			return nil, err
		}
		if s, err = options.Extended(s, batches[0].Columns.Schema()); err != nil {
			return nil, err
		}
	}
	return without(s, r.layout.columns), nil
}

// newFeed begins a change feed.
func newFeed(ctx context.Context, r *run, to string, schema *arrow.Schema) (*feed, error) {
	f := &feed{fsys: local.FS{}, schema: schema, columns: r.layout.columns, pieces: make([][]arrow.Array, schema.NumFields()),
		limit: max(smallestBytes, min(feedBytes, r.budget.merge(r.parallel())/8))}
	var err error
	if f.name, err = localPath(to); err != nil {
		return nil, err
	}
	if f.name, err = r.outputFile(ctx, "to", f.name, r.read.files); err != nil {
		return nil, err
	}
	parquet, err := shred.ParquetSchema(schema)
	if err != nil {
		return nil, fault(ErrSchema, "%v", err).hint("leave the column out with --except-columns")
	}
	localTimes(parquet.Root)
	f.nodes = parquet.Root.Children
	// The run's id makes the name free.
	f.temporary = f.name + "." + r.id + ".tmp"
	if f.file, err = f.fsys.Create(ctx, f.temporary, 0o644); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fault(ErrNotFound, "there is no folder %s", path.Dir(f.name)).of(path.Dir(f.name)).hint("make it first")
		}
		return nil, f.explain(err)
	}
	if f.out, err = splice.NewWriter(output{f.file}, splice.WriterOptions{Schema: parquet}); err != nil {
		return nil, errors.Join(f.explain(err), f.abort(ctx))
	}
	return f, nil
}

// localTimes states of times of day that they are in no zone, as Arrow has them.
func localTimes(n *column.Node) {
	if n.Annotation.Kind == column.Time {
		n.Annotation.UTC = false
		if n.Leaf != nil {
			n.Leaf.Annotation.UTC = false
		}
	}
	for _, c := range n.Children {
		localTimes(c)
	}
}

// explain says of what the storage refuses that it is about the feed.
func (f *feed) explain(err error) error {
	if err == nil || !isStorage(err) {
		return err
	}
	return (&Error{Kind: KindStorage, Err: err}).of(f.name).hint("name a file in a folder that may be written and has room: --to FILE")
}

// add writes the changes of a partition.
func (f *feed) add(ctx context.Context, spec Spec, p *merge.Prepared) error {
	at := make([]int, 0, f.schema.NumFields())
	var tables []int
	for _, field := range f.schema.Fields()[1+len(f.columns):] {
		if own := foldIndices(p.Schema(), field.Name); len(own) > 0 {
			at, tables = append(at, len(tables)), append(tables, own[0])
			continue
		}
		at = append(at, -1)
	}
	changes, n := p.Changes(), firstRead
	for {
		c := changes.Next(n)
		if c == nil {
			return nil
		}
		columns, err := c.Columns(ctx, tables)
		if err != nil {
			return err
		}
		before := f.bytes
		if err := f.hold(spec, c.Images(), columns, at); err != nil {
			return err
		}
		perChange := max(1, (f.bytes-before)/int64(c.Len()))
		n = int(max(1, min(largestRead, int64(n)*8, f.limit/perChange)))
		if f.rows >= feedRows || f.bytes >= f.limit {
			if err := f.flush(ctx); err != nil {
				return err
			}
		}
	}
}

// hold keeps images for the next row group.
func (f *feed) hold(spec Spec, images []merge.Image, columns []merge.ImageColumn, at []int) error {
	types := array.NewStringBuilder(memory.DefaultAllocator)
	defer types.Release()
	for _, image := range images {
		types.Append(string(image))
	}
	f.keep(0, types.NewArray())
	for i, pair := range spec {
		arr, err := constant(f.schema.Field(1+i).Type, pair, len(images), func(t arrow.DataType) array.Builder { return array.NewBuilder(memory.DefaultAllocator, t) })
		if err != nil {
			return fault(ErrValue, "the partition's value %q is no %s", pair.Value, TypeName(f.schema.Field(1+i).Type)).column(pair.Column)
		}
		f.keep(1+i, arr)
	}
	for i, from := range at {
		field := f.schema.Field(1 + len(f.columns) + i)
		var arr arrow.Array
		if from < 0 {
			arr = shred.Nulls(field.Type, len(images))
		} else {
			arr = columns[from].Values
		}
		if !arrow.TypeEqual(arr.DataType(), field.Type) {
			wide, _, err := shred.Cast(arr, field.Type, shred.CastOptions{})
			if err != nil {
				return fault(ErrValue, "%v", err).column(field.Name)
			}
			arr = wide
		}
		f.keep(1+len(f.columns)+i, arr)
	}
	f.rows += int64(len(images))
	return nil
}

func (f *feed) keep(column int, arr arrow.Array) {
	f.pieces[column] = append(f.pieces[column], arr)
	f.bytes += int64(arr.Data().SizeInBytes())
}

// flush writes a row group of the rows that are held.
func (f *feed) flush(ctx context.Context) error {
	if f.rows == 0 {
		return nil
	}
	if err := f.out.BeginRowGroup(f.rows); err != nil {
		return f.explain(err)
	}
	for i, node := range f.nodes {
		if err := f.writeColumn(ctx, node, f.pieces[i]); err != nil {
			return f.explain(err)
		}
		f.pieces[i] = nil
	}
	f.written += f.rows
	f.rows, f.bytes = 0, 0
	return f.explain(f.out.EndRowGroup())
}

func (f *feed) writeColumn(ctx context.Context, node *column.Node, pieces []arrow.Array) error {
	leaves := node.Leaves()
	encoders := make([]*splice.ChunkEncoder, len(leaves))
	for i, leaf := range leaves {
		encoders[i] = splice.NewChunkEncoder(leaf, splice.ChunkOptions{Codec: format.Snappy, Dictionary: true})
	}
	for _, arr := range pieces {
		into := make([]*column.Column, len(leaves))
		for i, leaf := range leaves {
			into[i] = &column.Column{}
			into[i].Reset(leaf)
		}
		if err := shred.Shred(arr, node, into); err != nil {
			return fault(ErrValue, "%v", err).column(node.Name)
		}
		for i, c := range into {
			if err := encoders[i].Append(c, 0, c.Slots); err != nil {
				return err
			}
		}
	}
	for _, e := range encoders {
		chunk, err := e.Finish()
		if err == nil {
			err = chunk.Verify(ctx)
		}
		if err == nil {
			err = f.out.WriteChunk(chunk)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// seal ends the file, makes it durable and gives it its name.
func (f *feed) seal(ctx context.Context) error {
	err := f.flush(ctx)
	var s splice.Summary
	if err == nil {
		s, err = f.out.Close()
	}
	if err == nil {
		err = f.file.Sync()
	}
	if err == nil {
		err = f.file.Close()
		f.file = nil
	}
	if err == nil {
		err = f.fsys.Replace(ctx, f.temporary, f.name)
	}
	if err != nil {
		return errors.Join(f.explain(err), f.abort(ctx))
	}
	f.sealed, f.size = true, s.Bytes
	return f.explain(f.fsys.SyncDir(ctx, path.Dir(f.name)))
}

// abort removes what was written.
func (f *feed) abort(ctx context.Context) error {
	if f.file != nil {
		_ = f.file.Close() // the file goes anyway
		f.file = nil
	}
	err := f.fsys.Remove(context.WithoutCancel(ctx), f.temporary)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
