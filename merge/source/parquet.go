package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
)

// columnsAtOnce are decoded in parallel.
const columnsAtOnce = 2

// columnBytes is about how much of one column a batch holds, so that wide values make batches shorter.
const columnBytes = 64 << 20

// parquetReader reads a file's row groups one after the other, each in batches of the same rows of
// every column.
type parquetReader struct {
	*input
	file   *splice.File
	fields []*parquetField
	schema *arrow.Schema
	o      Options
	legacy legacyCalendar

	group int   // the next row group
	left  int64 // rows of the current one not read yet
	batch int64 // rows of its batches
	row   int64 // rows of the file before the last record
	last  int64 // rows of the last record
}

// parquetField is a top-level column.
type parquetField struct {
	node    *column.Node
	leaves  []*leafStream
	dict    *column.Vector // entries holds the array of this dictionary
	entries arrow.Array
}

// leafStream cuts a leaf's pages into batches.
type leafStream struct {
	leaf  *column.Leaf
	pages *splice.PageReader
	page  column.Column
	slot  int // the page's slots before it are read
	batch column.Column
}

func openParquet(f *input, o Options) (Reader, error) {
	if f.at == nil {
		return nil, &Error{Name: f.Name, Err: fmt.Errorf("%w: Parquet is read by range and can't be a stream", ErrFormat)}
	}
	file, err := splice.Open(f, f.Size, f.Name)
	if err != nil {
		return nil, err
	}
	p := &parquetReader{input: f, file: file, o: o, legacy: calendarOf(file)}
	if err := p.pick(file.Schema().Root.Children); err != nil {
		return nil, err
	}
	return p, nil
}

func (p *parquetReader) pick(nodes []*column.Node) error {
	names := make([]string, len(nodes))
	for i, n := range nodes {
		names[i] = n.Name
	}
	picked, err := newWanted(p.o.Columns).pick(names)
	if err != nil {
		return &Error{Name: p.Name, Err: err}
	}
	fields := make([]arrow.Field, 0, len(picked))
	for _, i := range picked {
		f, err := shred.ArrowField(nodes[i])
		if err != nil {
			return &Error{Name: p.Name, Err: err}
		}
		fields = append(fields, f)
		field := &parquetField{node: nodes[i]}
		for _, leaf := range leavesBelow(nodes[i]) {
			field.leaves = append(field.leaves, &leafStream{leaf: leaf})
		}
		p.fields = append(p.fields, field)
	}
	p.schema = arrow.NewSchema(fields, nil)
	return nil
}

func leavesBelow(n *column.Node) []*column.Leaf {
	if n.Leaf != nil {
		return []*column.Leaf{n.Leaf}
	}
	var leaves []*column.Leaf
	for _, c := range n.Children {
		leaves = append(leaves, leavesBelow(c)...)
	}
	return leaves
}

// Schema implements Reader.
func (p *parquetReader) Schema() *arrow.Schema { return p.schema }

// Position implements Reader.
func (p *parquetReader) Position(row int) string { return place(p.Name, 0, p.row+int64(row)+1) }

// Close implements Reader.
func (p *parquetReader) Close() error {
	p.closePages()
	return p.close()
}

func (p *parquetReader) closePages() {
	for _, f := range p.fields {
		for _, l := range f.leaves {
			if l.pages != nil {
				l.pages.Close()
				l.pages = nil
			}
		}
	}
}

// Next implements Reader.
func (p *parquetReader) Next(ctx context.Context) (arrow.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	p.row, p.last = p.row+p.last, 0
	for p.left == 0 {
		p.closePages()
		if p.group == p.file.NumRowGroups() {
			return nil, io.EOF
		}
		p.openGroup()
	}
	n := min(p.left, p.batch)
	arrays, err := p.read(ctx, int(n))
	if err != nil {
		return nil, err
	}
	p.left, p.last = p.left-n, n
	schema := p.schemaOf(arrays)
	rec := array.NewRecord(schema, arrays, n)
	for _, a := range arrays {
		a.Release()
	}
	return rec, nil
}

// schemaOf gives a batch's columns the types they have: a column is a dictionary only where all of the
// batch is encoded by one.
func (p *parquetReader) schemaOf(arrays []arrow.Array) *arrow.Schema {
	if !p.o.KeepDictionary {
		return p.schema
	}
	fields := slices.Clone(p.schema.Fields())
	for i, a := range arrays {
		fields[i].Type = a.DataType()
	}
	return arrow.NewSchema(fields, nil)
}

func (p *parquetReader) openGroup() {
	group := p.file.RowGroup(p.group)
	p.left, p.batch = group.Rows, int64(p.o.BatchRows)
	for _, f := range p.fields {
		for _, l := range f.leaves {
			if size := group.Columns[l.leaf.Index].UncompressedSize; size > columnBytes {
				p.batch = max(1, min(p.batch, int64(float64(columnBytes)/float64(size)*float64(group.Rows))))
			}
			l.pages, l.slot = p.file.Pages(p.group, l.leaf.Index, nil), 0
			l.page.Slots = 0
		}
	}
	p.group++
}

// read decodes the next n rows of every column.
func (p *parquetReader) read(ctx context.Context, n int) ([]arrow.Array, error) {
	arrays := make([]arrow.Array, len(p.fields))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(columnsAtOnce)
	for i, f := range p.fields {
		g.Go(func() (err error) {
			arrays[i], err = p.readField(ctx, f, n)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		for _, a := range arrays {
			if a != nil {
				a.Release()
			}
		}
		return nil, err
	}
	return arrays, nil
}

func (p *parquetReader) readField(ctx context.Context, f *parquetField, n int) (arrow.Array, error) {
	columns := make([]*column.Column, len(f.leaves))
	for i, l := range f.leaves {
		if err := l.take(ctx, n); err != nil {
			return nil, p.at(err, f)
		}
		columns[i] = &l.batch
	}
	arr, err := f.array(columns, n, p.o.KeepDictionary)
	if err != nil {
		return nil, p.at(err, f)
	}
	if row, old := p.legacy.affects(f.node, arr); old {
		arr.Release()
		return nil, p.at(&shred.ValueError{Row: row, Err: errCalendar}, f)
	}
	return arr, nil
}

// at names the place of an error; the errors of splice name theirs.
func (p *parquetReader) at(err error, f *parquetField) error {
	if errors.Is(err, splice.ErrCorrupt) || errors.Is(err, splice.ErrUnsupported) || errors.Is(err, splice.ErrEncrypted) {
		return err
	}
	out := &Error{Name: p.Name, Column: f.node.Name, Err: err}
	var v *shred.ValueError
	if errors.As(err, &v) {
		out.Row, out.Err = p.row+int64(v.Row)+1, v.Err
	}
	return out
}

// array makes the array of a batch.
func (f *parquetField) array(columns []*column.Column, n int, keep bool) (arrow.Array, error) {
	c := columns[0]
	if !keep || c.Dict == nil || !shred.KeepsDictionary(f.node) {
		return shred.Assemble(f.node, columns, n)
	}
	if f.dict != c.Dict {
		entries, err := shred.DictionaryValues(f.node, c.Dict)
		if err != nil {
			return nil, err
		}
		f.dict, f.entries = c.Dict, entries
	}
	return shred.AssembleDictionary(f.node, c, f.entries)
}

// take moves the next n rows into the batch.
func (l *leafStream) take(ctx context.Context, n int) error {
	l.batch.Reset(l.leaf)
	for n > 0 {
		if l.slot == l.page.Slots {
			if _, _, err := l.pages.Next(ctx, &l.page); errors.Is(err, io.EOF) {
				return fmt.Errorf("%w: the column has fewer rows than its row group", splice.ErrCorrupt)
			} else if err != nil {
				return err
			}
			l.slot = 0
			continue
		}
		to, rows := l.until(n)
		l.batch.Append(l.leaf, &l.page, l.slot, to)
		l.slot, n = to, n-rows
	}
	return nil
}

// until is the slot after the next n rows of the page or all it has, and how many those are.
func (l *leafStream) until(n int) (to, rows int) {
	if l.leaf.Flat() {
		to = min(l.slot+n, l.page.Slots)
		return to, to - l.slot
	}
	for to = l.slot; to < l.page.Slots; to++ {
		if l.page.Rep[to] != 0 {
			continue
		}
		if rows == n {
			break
		}
		rows++
	}
	return to, rows
}
