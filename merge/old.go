package merge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// oldFile is a file of the partition, opened, its columns found by name.
type oldFile struct {
	Old
	file    *splice.File
	reader  io.ReaderAt
	closer  io.Closer
	size    int64
	nodes   []*column.Node // per table column; nil where the file lacks it
	exact   []bool         // per table column: the file's type is the table's, so that any value fits
	mu      sync.Mutex
	wide    []bool   // per table column: it is written in the table's type; nil: none is
	shell   bool     // it loses all rows and stays for its columns
	forms   []string // their signatures
	groups  []*rowGroup
	keys    []filePart
	version []filePart // of source.stored
}

// filePart is a key or version column as one file stores it.
type filePart struct {
	leaf *column.Leaf
	enc  encoder
}

// rowGroup is a row group with what the merge does to it.
type rowGroup struct {
	file     *oldFile
	ordinal  int
	rows     int64
	hits     []hit    // rows whose key the band has, ascending
	all      bool     // mirror: every row that is not met and not spared goes
	met      []uint64 // mirror: a bit a row, of those that some band has
	nulls    []bool   // mirror: which rows are spared; nil: none
	nullN    int64    // rows with a NULL key
	edits    []edit   // ascending
	deletes  int64
	repaired int64  // removed copies of keys that stood twice
	changed  []bool // per table column: some edit changes it
	differs  []bool // per edit: an update that changes something
}

// hit is a run of old rows and the run of rows of the band that have their keys.
type hit struct {
	row    uint32
	source uint32
	n      uint32
}

// hit adds old rows, above those so far, whose keys rows of the band have.
func (g *rowGroup) hit(row, source uint32, n int) {
	if last := len(g.hits) - 1; last >= 0 {
		h := &g.hits[last]
		if h.row+h.n == row && h.source+h.n == source {
			h.n += uint32(n)
			return
		}
	}
	g.hits = append(g.hits, hit{row, source, uint32(n)})
}

// hitRows are the rows of the hits one by one, with their ordinals.
func (g *rowGroup) hitRows() iter.Seq2[int, hit] {
	return func(yield func(int, hit) bool) {
		at := 0
		for _, h := range g.hits {
			for i := range h.n {
				if !yield(at, hit{h.row + i, h.source + i, 1}) {
					return
				}
				at++
			}
		}
	}
}

// repeatedHits are the rows of the hits whose source row is in seen, or in the hits twice; all are seen then.
func (g *rowGroup) repeatedHits(seen bitmap) iter.Seq2[int, hit] {
	return func(yield func(int, hit) bool) {
		at := 0
		for _, h := range g.hits {
			fresh := seen.addRange(h.source, h.n)
			for i := uint32(0); !fresh && i < h.n; i++ {
				if !seen.add(h.source+i) && !yield(at+int(i), hit{h.row + i, h.source + i, 1}) {
					return
				}
			}
			at += int(h.n)
		}
	}
}

// countHits is how many rows the hits are.
func (g *rowGroup) countHits() int {
	n := 0
	for _, h := range g.hits {
		n += int(h.n)
	}
	return n
}

// edit is what happens to an old row: it takes columns of a source row, or goes.
type edit struct {
	row    uint32
	source int32 // -1: the row is deleted
}

func openOld(ctx context.Context, old Old, table *arrow.Schema, progress *Progress) (*oldFile, error) {
	r, size, closer, err := old.Open(ctx)
	if err != nil {
		return nil, err
	}
	f := &oldFile{Old: old, reader: r, closer: closer, size: size}
	if f.file, err = splice.Open(r, size, old.Name); err != nil {
		return nil, closed(closer, err)
	}
	if err := f.bind(table); err != nil {
		return nil, closed(closer, err)
	}
	for i := range f.file.NumRowGroups() {
		f.groups = append(f.groups, &rowGroup{file: f, ordinal: i, rows: f.file.RowGroup(i).Rows})
	}
	if progress != nil {
		progress.Total.Add(size)
	}
	return f, nil
}

func (f *oldFile) close() error {
	if f.closer == nil {
		return nil
	}
	return f.closer.Close()
}

func closed(c io.Closer, err error) error {
	if c != nil {
		_ = c.Close() // the error that ended the reading matters, not this one
	}
	return err
}

// bind finds the table's columns in the file, by name as Hive does.
func (f *oldFile) bind(table *arrow.Schema) error {
	nodes := f.file.Schema().Root.Children
	fields := make([]arrow.Field, len(nodes))
	for i, n := range nodes {
		fields[i].Name = n.Name
	}
	f.nodes, f.forms = make([]*column.Node, table.NumFields()), make([]string, table.NumFields())
	f.exact = make([]bool, table.NumFields())
	find := fieldFinder(fields)
	for i, field := range table.Fields() {
		at, err := find(field.Name)
		if err != nil {
			return f.wrap(err)
		}
		if at >= 0 {
			f.nodes[i], f.forms[i] = nodes[at], signature(nodes[at])
			own, err := shred.ArrowField(nodes[at])
			f.exact[i] = err == nil && arrow.TypeEqual(own.Type, field.Type) && (own.Nullable || !field.Nullable)
		}
	}
	return nil
}

func (f *oldFile) wrap(err error) error {
	var e *Error
	if errors.As(err, &e) && e.File == "" {
		e.File = f.Name
	}
	return err
}

// bindKeys finds the leaves of keys and versions and how they encode.
func (f *oldFile) bindKeys(s *source) error {
	if err := f.bindKey(s.key); err != nil {
		return err
	}
	for _, v := range s.stored {
		p, err := f.part(s.version[v])
		if err != nil {
			return err
		}
		f.version = append(f.version, p)
	}
	return nil
}

// bindKey finds the leaves of the key and how they encode.
func (f *oldFile) bindKey(key []keyColumn) error {
	for _, k := range key {
		p, err := f.part(k)
		if err != nil {
			return err
		}
		f.keys = append(f.keys, p)
	}
	return nil
}

func (f *oldFile) part(k keyColumn) (filePart, error) {
	node := f.nodes[k.table]
	if node == nil {
		return filePart{}, &Error{Kind: ErrSchema, File: f.Name, Column: k.path, Message: "the file lacks this key or version column",
			Hint: "rewrite the file with the column"}
	}
	leaf := k.leafIn(node)
	if leaf == nil || !leaf.Flat() {
		return filePart{}, &Error{Kind: ErrSchema, File: f.Name, Column: k.path, Message: "is not a single value in this file"}
	}
	enc, err := k.part.encoder(leaf)
	if err != nil {
		return filePart{}, &Error{Kind: ErrSchema, File: f.Name, Column: k.path, Err: err}
	}
	return filePart{leaf: leaf, enc: enc}, nil
}

func (g *rowGroup) chunk(leaf *column.Leaf) splice.Chunk {
	return g.file.file.RowGroup(g.ordinal).Columns[leaf.Index]
}

func (g *rowGroup) bytes() int64 { return g.file.file.RowGroup(g.ordinal).Bytes }

// at names the row group in an error that does not name it: those of splice do.
func (g *rowGroup) at(err error) error {
	var e *Error
	for _, known := range []error{splice.ErrCorrupt, splice.ErrUnsupported, splice.ErrEncrypted} {
		if errors.Is(err, known) || errors.As(err, &e) {
			return err
		}
	}
	return fmt.Errorf("%s: %w", g, err)
}

func (g *rowGroup) String() string { return fmt.Sprintf("%s row group %d", g.file.Name, g.ordinal) }

// cursor reads one flat column of a row group forward, in the order rows are asked for.
type cursor struct {
	pages *splice.PageReader
	col   column.Column
	first int64
	n     int64
}

func (g *rowGroup) cursor(leaf *column.Leaf, ranges []splice.Rows) *cursor {
	return &cursor{pages: g.file.file.Pages(g.ordinal, leaf.Index, ranges)}
}

// picker is a cursor whose caller looks at no rows but those of the ranges.
func (g *rowGroup) picker(leaf *column.Leaf, ranges []splice.Rows) *cursor {
	c := g.cursor(leaf, ranges)
	c.pages.Sparse()
	return c
}

// at moves to the page that holds a row and returns the row's slot and how many rows follow in it.
func (c *cursor) at(ctx context.Context, row int64) (slot int, left int64, err error) {
	for row >= c.first+c.n {
		first, n, err := c.pages.Next(ctx, &c.col)
		if err != nil {
			if errors.Is(err, io.EOF) {
				err = io.ErrUnexpectedEOF
			}
			return 0, 0, err
		}
		c.first, c.n = first, int64(n)
	}
	return int(row - c.first), c.first + c.n - row, nil
}

func (c *cursor) close(read *int64) {
	*read += c.pages.BytesRead()
	c.pages.Close()
}

// gather decodes the leaves of a column in ascending rows.
func (g *rowGroup) gather(ctx context.Context, node *column.Node, rows []uint32) ([]*column.Column, error) {
	ranges := rowRanges(len(rows), func(i int) uint32 { return rows[i] })
	calendar := input.CalendarOf(g.file.file)
	leaves := node.Leaves()
	out := make([]*column.Column, len(leaves))
	for l, leaf := range leaves {
		out[l] = &column.Column{}
		out[l].Reset(leaf)
		if err := g.gatherLeaf(ctx, leaf, ranges, rows, out[l]); err != nil {
			return nil, err
		}
		if row, found := calendar.Ancient(leaf, out[l]); found {
			return nil, &Error{Kind: ErrSchema, File: g.file.Name, Column: node.Name,
				Message: fmt.Sprintf("row %d of row group %d has a date before 1582 or timestamp before 1900, counted in the Julian calendar of Spark before 3.0 or Hive", rows[row], g.ordinal),
				Hint:    "write the partition anew with Spark 3 or later, in its default calendar"}
		}
	}
	return out, nil
}

func (g *rowGroup) gatherLeaf(ctx context.Context, leaf *column.Leaf, ranges []splice.Rows, rows []uint32, into *column.Column) error {
	r := g.leafReader(leaf, ranges)
	r.pages.pages.Sparse()
	defer r.close()
	return r.append(ctx, rows, into)
}

// leafReader reads rows of a leaf, forward.
type leafReader struct {
	leaf     *column.Leaf
	pages    *cursor
	starts   []uint32 // of the rows of the page
	startsOf int64    // the first row of that page
}

func (g *rowGroup) leafReader(leaf *column.Leaf, ranges []splice.Rows) *leafReader {
	return &leafReader{leaf: leaf, pages: g.cursor(leaf, ranges), startsOf: -1}
}

func (r *leafReader) close() {
	read := int64(0)
	r.pages.close(&read)
}

// append adds ascending rows to a column.
func (r *leafReader) append(ctx context.Context, rows []uint32, into *column.Column) error {
	for i := 0; i < len(rows); {
		n := 1
		for i+n < len(rows) && rows[i+n] == rows[i]+uint32(n) {
			n++
		}
		if err := r.appendRows(ctx, int64(rows[i]), int64(n), into); err != nil {
			return err
		}
		i += n
	}
	return nil
}

// appendRows adds rows that follow each other.
func (r *leafReader) appendRows(ctx context.Context, row, n int64, into *column.Column) error {
	for n > 0 {
		from, to, rows, err := r.slots(ctx, row, n)
		if err != nil {
			return err
		}
		into.Append(r.leaf, &r.pages.col, from, to)
		row, n = row+rows, n-rows
	}
	return nil
}

// slots moves to a row and gives the slots of up to n rows from it on, of how many rows they are: those that lie in one page.
func (r *leafReader) slots(ctx context.Context, row, n int64) (from, to int, rows int64, err error) {
	slot, left, err := r.pages.at(ctx, row)
	if err != nil {
		return 0, 0, 0, err
	}
	rows = min(n, left)
	from, to = slot, slot+int(rows)
	if !r.leaf.Flat() {
		if r.startsOf != r.pages.first {
			r.starts, r.startsOf = rowStarts(&r.pages.col, r.starts), r.pages.first
		}
		from, to = int(r.starts[from]), int(r.starts[to])
	}
	return from, to, rows, nil
}
