package merge

import (
	"context"
	"io"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// A file keeps its own physical types. Where a value of the source does not fit them, or the file lacks
// the column, the column is written in the table's type in that file, and the others are copied.

// schemaKeys begin the keys of metadata in which engines keep a schema of their own.
var schemaKeys = []string{"org.apache.spark.sql.parquet.", "ARROW:schema", "parquet.avro.", "pandas"}

// targetSchema is the table's schema in the forms of the old files, where they hold every value.
func (p *Prepared) targetSchema() *column.Schema {
	out := &column.Schema{Root: &column.Node{Name: p.source.rows.canonical.Root.Name}}
	for table, node := range p.source.rows.canonical.Root.Children {
		for _, f := range p.old {
			if f.exact[table] {
				node = f.nodes[table]
				break
			}
		}
		out.Root.Children = append(out.Root.Children, renamed(node, p.task.Schema.Field(table).Name))
	}
	for _, node := range out.Root.Children {
		for _, leaf := range node.Leaves() {
			leaf.Index = len(out.Leaves)
			out.Leaves = append(out.Leaves, leaf)
		}
	}
	return out
}

// widen notes that a column of the file is to be written in the table's type.
func (f *oldFile) widen(table int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.wide == nil {
		f.wide = make([]bool, len(f.nodes))
	}
	f.wide[table] = true
}

func (f *oldFile) isWide(table int) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.wide != nil && table >= 0 && f.wide[table]
}

// outputColumn is a top-level column of a file as it is written.
type outputColumn struct {
	node  *column.Node
	child int // its ordinal in the old file; -1: it is added
	table int // -1: the table has no such column
}

// output lists the columns that the file is written with.
func (f *oldFile) output(target *column.Schema) []outputColumn {
	var out []outputColumn
	for i, node := range f.file.Schema().Root.Children {
		c := outputColumn{node: node, child: i, table: f.tableColumn(i)}
		if f.isWide(c.table) {
			c.node = renamed(target.Root.Children[c.table], node.Name)
		}
		out = append(out, c)
	}
	for table, wide := range f.wide {
		if wide && f.nodes[table] == nil {
			out = append(out, outputColumn{node: target.Root.Children[table], child: -1, table: table})
		}
	}
	return out
}

// options are how the file is written anew.
func (f *oldFile) options(target *column.Schema) splice.WriterOptions {
	o := splice.WriterOptions{Schema: f.file.Schema(), Template: f.file}
	if f.wide == nil {
		return o
	}
	o.Replace = map[int]*column.Node{}
	for _, c := range f.output(target) {
		switch {
		case c.child < 0:
			o.Append = append(o.Append, c.node)
		case f.isWide(c.table):
			o.Replace[c.child] = c.node
		}
	}
	// What engines wrote of the old columns is not true of the new ones; without it they read the schema. What they
	// wrote of calendars and time zones still is.
	o.DropKey = func(key string) bool {
		return slices.ContainsFunc(schemaKeys, func(prefix string) bool { return strings.HasPrefix(key, prefix) })
	}
	o.KeyValues = input.CalendarOf(f.file).Marks()
	return o
}

// renamed is a copy of a node under another name.
func renamed(n *column.Node, name string) *column.Node {
	var rename func(n *column.Node) *column.Node
	rename = func(n *column.Node) *column.Node {
		c := *n
		c.Children = nil
		for _, child := range n.Children {
			c.Children = append(c.Children, rename(child))
		}
		if n.Leaf != nil {
			leaf := *n.Leaf
			leaf.Path = append([]string{name}, n.Leaf.Path[1:]...)
			c.Leaf = &leaf
		}
		return &c
	}
	c := rename(n)
	c.Name = name
	return c
}

// wideReader reads a column of a row group in the table's type, NULL where the file lacks it.
type wideReader struct {
	group    *rowGroup
	field    arrow.Field
	node     *column.Node
	in       input.Reader // nil where the file lacks the column
	pieces   []piece
	at       input.Cursor
	next     int // the piece after the one in form
	form     *form
	from, to int64 // rows of form
}

// piece is a run of rows that is read at once.
type piece struct {
	rows    *input.Stretch // nil: NULL in every row
	from, n int64
}

const nullRows = 1 << 16

func (g *rowGroup) wide(ctx context.Context, rows *rows, table int, node *column.Node) (*wideReader, error) {
	r := &wideReader{group: g, field: rows.binding.schema.Field(table), node: node}
	own := g.file.nodes[table]
	if own == nil {
		for from := int64(0); from < g.rows; from += nullRows {
			r.pieces = append(r.pieces, piece{from: from, n: min(nullRows, g.rows-from)})
		}
		return r, nil
	}
	var err error
	r.in, err = input.Open(ctx, input.Input{Name: g.file.Name, Format: input.Parquet, Size: g.file.size,
		Open: func(context.Context) (input.ReadCloserAt, error) { return unclosed{g.file.reader}, nil }}, nil,
		input.Options{Columns: []string{own.Name}})
	if err != nil {
		return nil, err
	}
	for _, s := range r.in.(input.Stretcher).Stretches() {
		if group, from := s.Place(); group == g.ordinal {
			r.pieces = append(r.pieces, piece{rows: s, from: from, n: s.NumRows()})
		}
	}
	return r, nil
}

// unclosed is a file that is closed by somebody else.
type unclosed struct{ io.ReaderAt }

func (unclosed) Close() error { return nil }

func (r *wideReader) close() error {
	r.at.Close()
	if r.in == nil {
		return nil
	}
	return r.in.Close()
}

// step reads the next piece; io.EOF after the last.
func (r *wideReader) step(ctx context.Context) error {
	if r.next == len(r.pieces) {
		return io.EOF
	}
	p := r.pieces[r.next]
	var arr arrow.Array
	if p.rows == nil {
		arr = shred.Nulls(r.field.Type, int(p.n))
	} else {
		var err error
		if arr, err = p.rows.Read(ctx, 0, &r.at); err != nil {
			return err
		}
		if arr, _, err = shred.Cast(arr, r.field.Type, shred.CastOptions{}); err != nil {
			return &Error{Kind: ErrSchema, File: r.group.file.Name, Column: r.field.Name, Err: err,
				Message: "a value of the file does not fit the table's type " + r.field.Type.String(), Hint: "rewrite the file with that type"}
		}
	}
	f := &form{}
	if err := f.shred(arr, nil, r.field, r.node); err != nil {
		return err
	}
	r.form, r.from, r.to = f, p.from, p.from+p.n
	r.next++
	return nil
}

// find gives the form that holds a row, and the row in it; rows are asked for in order.
func (r *wideReader) find(ctx context.Context, row int64) (*form, int, error) {
	for r.form == nil || row >= r.to {
		if err := r.step(ctx); err != nil {
			return nil, 0, err
		}
	}
	return r.form, int(row - r.from), nil
}

// compareWide compares in the table's type what does not fit the file's, and notes that the file's column
// is to be widened where something changes.
func (c *comparer) compareWide(ctx context.Context, g *rowGroup, table int, edits []edit, known []bool) (changed bool, err error) {
	node := c.rows.target.Root.Children[table]
	old, err := g.wide(ctx, c.rows, table, node)
	if err != nil {
		return false, err
	}
	defer func() {
		if e := old.close(); err == nil {
			err = e
		}
	}()
	forms := c.rows.cursor(table, node, signature(node))
	defer forms.close()
	leaves, keepNull := node.Leaves(), c.rows.binding.keepNull[table]
	for i, e := range edits {
		if e.source < 0 {
			continue
		}
		f, row, err := forms.find(ctx, int(e.source))
		if err != nil {
			return false, err
		}
		if keepNull && f.null(row) {
			continue
		}
		of, at, err := old.find(ctx, int64(e.row))
		if err != nil {
			return false, err
		}
		if !equalRows(of, at, f, row, leaves) {
			known[i], changed = true, true
		}
	}
	if changed {
		g.file.widen(table)
	}
	return changed, nil
}

// rewriteWide encodes a column chunk in the table's type.
func (w *writer) rewriteWide(ctx context.Context, g *rowGroup, c chunk, fold runs) (_ *splice.EncodedChunk, err error) {
	rows := w.source.rows
	old, err := g.wide(ctx, rows, c.table, c.node)
	if err != nil {
		return nil, err
	}
	defer func() {
		if e := old.close(); err == nil {
			err = e
		}
	}()
	e := editor{writer: w, group: g, chunk: c, edits: g.edits, update: w.binding.update[c.table], forms: rows.cursor(c.table, c.node, signature(c.node))}
	defer e.forms.close()
	o := splice.ChunkOptions{Codec: defaultCodec, Dictionary: true}
	if chunks := g.file.file.RowGroup(g.ordinal).Columns; len(chunks) > 0 {
		o.Codec = chunks[0].Codec
	}
	enc := splice.NewChunkEncoder(c.leaf, o)
	for old.next < len(old.pieces) {
		if err := old.step(ctx); err != nil {
			return nil, err
		}
		if err := e.page(ctx, enc, old.form.leaves[c.ordinal], old.from, int(old.to-old.from)); err != nil {
			return nil, err
		}
	}
	if err := w.gather(ctx, enc, c, fold); err != nil {
		return nil, err
	}
	return finish(ctx, enc)
}
