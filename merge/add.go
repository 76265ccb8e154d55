package merge

import (
	"context"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// defaultCodec is the codec of new files where no old file sets an example.
const defaultCodec = format.Snappy

// gather appends source rows to an encoder, runs of neighbours at once.
func (w *writer) gather(ctx context.Context, enc *splice.ChunkEncoder, c chunk, rows runs) error {
	if rows.n == 0 {
		return nil
	}
	forms := w.source.rows.insertCursor(c.table, c.node, signature(c.node))
	defer forms.close()
	for _, r := range rows.list {
		for r.n > 0 {
			f, row, err := forms.find(ctx, int(r.from))
			if err != nil {
				return err
			}
			n := min(int(r.n), forms.batch.n-row)
			from, _ := f.span(c.ordinal, row)
			_, to := f.span(c.ordinal, row+n-1)
			if err := enc.AppendNew(f.leaves[c.ordinal], from, to); err != nil {
				return err
			}
			r.from, r.n = r.from+uint32(n), r.n-uint32(n)
		}
	}
	return nil
}

// add writes inserts as row groups of their own, until the file is large enough or none is left.
func (w *fileWriter) add(ctx context.Context, schema *column.Schema, like *oldFile, codec *format.CompressionCodec) error {
	limit := int(w.rowGroupRows())
	for first := true; w.pending.n > 0 && (first || w.out.Offset() < w.options.TargetFileBytes); first = false {
		if err := w.addGroup(ctx, schema, like, codec, w.pending.take(limit)); err != nil {
			return err
		}
	}
	return nil
}

func (w *fileWriter) addGroup(ctx context.Context, schema *column.Schema, like *oldFile, codec *format.CompressionCodec, list runs) error {
	if err := w.out.BeginRowGroup(int64(list.n)); err != nil {
		return err
	}
	var jobs []*chunkJob
	for i, node := range schema.Root.Children {
		table := i
		if like != nil {
			table = like.tableColumn(i)
		}
		if table < 0 {
			return &Error{Kind: ErrSchema, Column: node.Name, Message: "the file has a column that the table lacks"}
		}
		for l, leaf := range node.Leaves() {
			jobs = append(jobs, &chunkJob{leaf: leaf, make: func(ctx context.Context) (made madeChunk, err error) {
				o, err := newChunk(like, codec, leaf, list.n)
				if err != nil {
					return made, err
				}
				enc := splice.NewChunkEncoder(leaf, o)
				if err := w.gather(ctx, enc, chunk{leaf: leaf, ordinal: l, node: node, table: table}, list); err != nil {
					return made, err
				}
				made.encoded, err = finish(ctx, enc)
				return made, err
			}})
		}
	}
	encoded := start(ctx, w.tokens, jobs)
	defer encoded.stop()
	if err := w.chunks(nil, encoded, jobs); err != nil {
		return err
	}
	return w.out.EndRowGroup()
}

// newChunk is how a chunk of inserted rows is encoded: as the chunks of the file they join or that a
// new file follows, a Bloom filter too; codec replaces theirs where it was asked for.
func newChunk(like *oldFile, codec *format.CompressionCodec, leaf *column.Leaf, rows int) (splice.ChunkOptions, error) {
	o := splice.ChunkOptions{Codec: defaultCodec, Dictionary: true}
	if like != nil && len(like.groups) > 0 {
		var err error
		if o, err = splice.ChunkOptionsOf(like.file, len(like.groups)-1, leaf.Index); err != nil {
			return o, like.wrap(err)
		}
		if like.file.RowGroup(len(like.groups) - 1).Columns[leaf.Index].BloomFilter {
			o.Bloom = splice.NewBloomFilter(rows)
		}
	}
	if codec != nil {
		o.Codec = *codec
	}
	return o, nil
}

// newOptions is the shape of a new file: that of an old one where one has all columns, so that
// readers find the same schema and metadata, else the table's own.
func (w *writer) newOptions() (splice.WriterOptions, *oldFile) {
	for _, f := range w.old {
		if f.complete() && f.wide == nil && len(f.file.Schema().Root.Children) == len(f.nodes) {
			return splice.WriterOptions{Schema: f.file.Schema(), Template: f.file, CreatedBy: splice.CreatedBy()}, f
		}
	}
	return splice.WriterOptions{Schema: w.source.rows.target}, nil
}

// addFile writes inserts into a new file.
func (w *writer) addFile(ctx context.Context) error {
	o, like := w.newOptions()
	codec := w.options.Codec
	if codec == nil && like == nil {
		codec = w.oldCodec()
	}
	return w.create(ctx, o, func(out *fileWriter) error { return out.add(ctx, o.Schema, like, codec) })
}

// oldCodec is the codec of the old files' first chunk; nil where there is none.
func (w *writer) oldCodec() *format.CompressionCodec {
	for _, f := range w.old {
		for _, g := range f.groups {
			for _, c := range f.file.RowGroup(g.ordinal).Columns {
				return &c.Codec
			}
		}
	}
	return nil
}

// emptyFile writes a file with the schema and no rows: a partition that lost its last row.
func (w *writer) emptyFile(ctx context.Context) error {
	o, _ := w.newOptions()
	return w.create(ctx, o, func(*fileWriter) error { return nil })
}
