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
	*projection
	stretches []*Stretch
	cursors   []Cursor // a field each
	next      int
	last      *Stretch // the last record's rows
}

// projection is an open file with those of its columns that are read.
type projection struct {
	*input
	file   *splice.File
	fields []parquetField
	schema *arrow.Schema
	o      Options
	legacy Calendar
}

// parquetField is a top-level column.
type parquetField struct {
	node   *column.Node
	leaves []*column.Leaf
}

// Stretch is rows of one row group of a Parquet file. It is good until its file's reader is closed.
type Stretch struct {
	*projection
	group   int
	from, n int64 // rows of the row group
	row     int64 // of the file before the first
}

// fieldReader decodes one column of a row group forward.
type fieldReader struct {
	field   parquetField
	of      *projection
	group   int
	row     int64 // the next one
	leaves  []*leafStream
	columns []*column.Column
	dict    *column.Vector // entries holds the array of this dictionary
	entries arrow.Array
}

// leafStream cuts a leaf's pages into batches.
type leafStream struct {
	leaf  *column.Leaf
	pages *splice.PageReader
	page  column.Column
	slot  int   // the page's slots before it are read
	row   int64 // the next one
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
	p := &projection{input: f, file: file, o: o, legacy: CalendarOf(file)}
	if err := p.pick(file.Schema().Root.Children); err != nil {
		return nil, err
	}
	return &parquetReader{projection: p, stretches: p.cut(), cursors: make([]Cursor, len(p.fields))}, nil
}

// StretchesOf are all rows of a Parquet file that is open, with all its columns.
func StretchesOf(file *splice.File, name string) ([]*Stretch, error) {
	p := &projection{input: &input{Input: Input{Name: name}}, file: file, legacy: CalendarOf(file)}
	p.o.setDefaults()
	if err := p.pick(file.Schema().Root.Children); err != nil {
		return nil, err
	}
	return p.cut(), nil
}

func (p *projection) pick(nodes []*column.Node) error {
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
		p.fields = append(p.fields, parquetField{node: nodes[i], leaves: nodes[i].Leaves()})
	}
	p.schema = arrow.NewSchema(fields, nil)
	return nil
}

// cut cuts the row groups into stretches of a batch's rows.
func (p *projection) cut() []*Stretch {
	var out []*Stretch
	row := int64(0)
	for g := range p.file.NumRowGroups() {
		group := p.file.RowGroup(g)
		batch := int64(p.o.BatchRows)
		for _, f := range p.fields {
			for _, leaf := range f.leaves {
				if size := group.Columns[leaf.Index].UncompressedSize; size > columnBytes {
					batch = max(1, min(batch, int64(float64(columnBytes)/float64(size)*float64(group.Rows))))
				}
			}
		}
		for from := int64(0); from < group.Rows; from += batch {
			out = append(out, &Stretch{projection: p, group: g, from: from, n: min(batch, group.Rows-from), row: row + from})
		}
		row += group.Rows
	}
	return out
}

// Schema is that of the records, and of the stretches.
func (p *projection) Schema() *arrow.Schema { return p.schema }

// Position implements Reader.
func (p *parquetReader) Position(row int) string { return p.last.Position(row) }

// Close implements Reader.
func (p *parquetReader) Close() error {
	for i := range p.cursors {
		p.cursors[i].Close()
	}
	return p.close()
}

// Stretches implements Stretcher.
func (p *parquetReader) Stretches() []*Stretch { return p.stretches }

// Next implements Reader.
func (p *parquetReader) Next(ctx context.Context) (arrow.Record, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	if p.next == len(p.stretches) {
		return nil, io.EOF
	}
	s := p.stretches[p.next]
	arrays, err := s.readAll(ctx, p.cursors)
	if err != nil {
		return nil, err
	}
	p.last, p.next = s, p.next+1
	rec := array.NewRecord(p.schemaOf(arrays), arrays, s.n)
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

// readAll decodes every column.
func (s *Stretch) readAll(ctx context.Context, cursors []Cursor) ([]arrow.Array, error) {
	arrays := make([]arrow.Array, len(s.fields))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(columnsAtOnce)
	for i := range s.fields {
		g.Go(func() (err error) {
			arrays[i], err = s.Read(ctx, i, &cursors[i])
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

// NumRows implements Columns.
func (s *Stretch) NumRows() int64 { return s.n }

// Bytes implements Columns.
func (s *Stretch) Bytes() int64 {
	total, group := int64(0), s.file.RowGroup(s.group)
	for _, f := range s.fields {
		for _, leaf := range f.leaves {
			total += group.Columns[leaf.Index].UncompressedSize
		}
	}
	return int64(float64(total) / float64(group.Rows) * float64(s.n))
}

// Place is where the rows stand in the file: their row group, and the first one's ordinal in it.
func (s *Stretch) Place() (rowGroup int, from int64) { return s.group, s.from }

// Position says where a row comes from: "orders.parquet row 12", counted from 1.
func (s *Stretch) Position(row int) string { return place(s.Name, 0, s.row+int64(row)+1) }

// Read implements Columns.
func (s *Stretch) Read(ctx context.Context, column int, at *Cursor) (arrow.Array, error) {
	f := s.fields[column]
	s.seek(f, at)
	arr, err := at.field.read(ctx, s)
	if err != nil {
		at.Close()
		return nil, err
	}
	return arr, nil
}

// ReadLeaf implements LeafReader.
func (s *Stretch) ReadLeaf(ctx context.Context, column int, as *column.Leaf, at *Cursor) (*column.Column, error) {
	f := s.fields[column]
	if f.node.Leaf == nil || !storedAlike(f.node.Leaf, as) {
		return nil, nil
	}
	s.seek(f, at)
	if err := at.field.decode(ctx, s); err != nil {
		at.Close()
		return nil, err
	}
	at.field.row += s.n
	return at.field.columns[0], nil
}

// seek makes a cursor stand at the first row of a column.
func (s *Stretch) seek(f parquetField, at *Cursor) {
	if r := at.field; r == nil || r.of != s.projection || r.field.node != f.node || r.group != s.group || r.row != s.from {
		at.Close()
		at.field = s.open(f)
	}
}

// open starts to decode a column at the first row.
func (s *Stretch) open(f parquetField) *fieldReader {
	r := &fieldReader{field: f, of: s.projection, group: s.group, row: s.from}
	var rows []splice.Rows
	if s.from > 0 {
		rows = []splice.Rows{{From: s.from, To: s.file.RowGroup(s.group).Rows}}
	}
	for _, leaf := range f.leaves {
		l := &leafStream{leaf: leaf, row: s.from, pages: s.file.Pages(s.group, leaf.Index, rows)}
		r.leaves, r.columns = append(r.leaves, l), append(r.columns, &l.batch)
	}
	return r
}

func (r *fieldReader) close() {
	for _, l := range r.leaves {
		l.pages.Close()
	}
}

// decode takes the rows of a stretch, which begins where the reader stands, into the leaves.
func (r *fieldReader) decode(ctx context.Context, s *Stretch) error {
	for _, l := range r.leaves {
		if err := l.take(ctx, int(s.n)); err != nil {
			return s.at(err, r.field)
		}
	}
	for i, l := range r.leaves {
		if row, found := s.legacy.Ancient(l.leaf, r.columns[i]); found {
			return s.at(&shred.ValueError{Row: row, Err: errCalendar}, r.field)
		}
	}
	return nil
}

// read makes an array of the rows of a stretch.
func (r *fieldReader) read(ctx context.Context, s *Stretch) (arrow.Array, error) {
	if err := r.decode(ctx, s); err != nil {
		return nil, err
	}
	arr, err := r.array(int(s.n))
	if err != nil {
		return nil, s.at(err, r.field)
	}
	r.row += s.n
	return arr, nil
}

// at names the place of an error; the errors of splice name theirs.
func (s *Stretch) at(err error, f parquetField) error {
	if errors.Is(err, splice.ErrCorrupt) || errors.Is(err, splice.ErrUnsupported) || errors.Is(err, splice.ErrEncrypted) {
		return err
	}
	out := &Error{Name: s.Name, Column: f.node.Name, Err: err}
	var v *shred.ValueError
	if errors.As(err, &v) {
		out.Row, out.Err = s.row+int64(v.Row)+1, v.Err
	}
	return out
}

// array makes the array of what the leaves hold.
func (r *fieldReader) array(n int) (arrow.Array, error) {
	c := r.columns[0]
	if !r.of.o.KeepDictionary || c.Dict == nil || !shred.KeepsDictionary(r.field.node) {
		return shred.Assemble(r.field.node, r.columns, n)
	}
	if r.dict != c.Dict {
		entries, err := shred.DictionaryValues(r.field.node, c.Dict)
		if err != nil {
			return nil, err
		}
		r.dict, r.entries = c.Dict, entries
	}
	return shred.AssembleDictionary(r.field.node, c, r.entries)
}

// take moves the next n rows into the batch.
func (l *leafStream) take(ctx context.Context, n int) error {
	l.batch.Reset(l.leaf)
	for n > 0 {
		if l.slot == l.page.Slots {
			if err := l.turn(ctx); err != nil {
				return err
			}
			continue
		}
		to, rows := l.until(n)
		l.batch.Append(l.leaf, &l.page, l.slot, to)
		l.slot, l.row, n = to, l.row+int64(rows), n-rows
	}
	return nil
}

// turn takes the next page, and passes over rows in it that are before the wanted ones.
func (l *leafStream) turn(ctx context.Context) error {
	first, _, err := l.pages.Next(ctx, &l.page)
	if errors.Is(err, io.EOF) || err == nil && first > l.row {
		return fmt.Errorf("%w: the column has fewer rows than its row group", splice.ErrCorrupt)
	}
	if err != nil {
		return err
	}
	l.slot = 0
	if first < l.row {
		l.slot, _ = l.until(int(l.row - first))
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
