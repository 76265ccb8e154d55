package merge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
)

// rows are the source rows of the partition, bound to the table's columns. Row s is row s-base of the
// batch that covers it. A column is read, cast and shredded into Parquet's leaf columns where it is
// asked for, a batch at a time, in the physical form that an old file has.
type rows struct {
	binding *binding
	options *Options
	batches []*sourceBatch
	n       int
	// arrivals is the first row that comes from another partition.
	arrivals int
	// canonical is the table's schema as Parquet has it; target the form in which its columns are written
	// where a file's own does not do: that of another old file if one holds every value, so that files
	// differ no more than they must.
	canonical *column.Schema
	target    *column.Schema

	mu sync.Mutex
	// scattered are the table columns of which rows were asked for out of the batches' order: their
	// forms are held, or each would be made again and again.
	scattered []bool
	shared    bool       // all forms are held: many row groups ask for the same few rows
	held      []heldForm // the oldest first
	heldBytes int64
}

// heldForm is a form that is held.
type heldForm struct {
	batch *sourceBatch
	key   string
	bytes int64
}

type sourceBatch struct {
	Batch
	binding *binding // nil: that of the rows
	base    int
	n       int
	held    map[string]*form
	texts   map[int]batchColumn // columns of which values are shown in messages
}

func newRows(ctx context.Context, t *Task, b *binding, o *Options) (*rows, error) {
	r := &rows{binding: b, options: o, scattered: make([]bool, t.Schema.NumFields())}
	var err error
	if r.canonical, err = shred.ParquetSchema(t.Schema); err != nil {
		return nil, &Error{Kind: ErrSchema, Err: err, Message: "the table's schema", Hint: "give the source's column a type that Parquet has"}
	}
	r.add(t.Batches)
	r.arrivals = r.n
	r.add(t.Arrivals)
	if err := r.bindWhole(); err != nil {
		return nil, err
	}
	if r.n > 1<<31-2 {
		return nil, &Error{Kind: ErrUsage, Message: fmt.Sprintf("%d source rows for one partition", r.n), Hint: "split the source"}
	}
	return r, r.checkCasts(ctx)
}

// add takes batches in.
func (r *rows) add(list []Batch) {
	for _, batch := range list {
		n := int(batch.Columns.NumRows())
		if batch.Rows != nil {
			n = len(batch.Rows)
		}
		if n == 0 {
			continue
		}
		r.batches = append(r.batches, &sourceBatch{Batch: batch, base: r.n, n: n, held: map[string]*form{}, texts: map[int]batchColumn{}})
		r.n += n
	}
}

// bindWhole binds the rows that bring every value of theirs.
func (r *rows) bindWhole() error {
	bound := map[*arrow.Schema]*binding{}
	for _, b := range r.batches {
		if !b.Whole {
			continue
		}
		s := b.Columns.Schema()
		if bound[s] == nil {
			o := *r.options
			o.Columns, o.ExceptColumns, o.KeepNull, o.MissingColumns, o.NewColumns = nil, nil, nil, PolicyKeep, PolicyError
			var err error
			if bound[s], err = bind(r.binding.schema, s, &o); err != nil {
				return err
			}
		}
		b.binding = bound[s]
	}
	return nil
}

// bound is how the columns of a batch are bound.
func (r *rows) bound(b *sourceBatch) *binding {
	if b.binding != nil {
		return b.binding
	}
	return r.binding
}

// whole reports whether some rows bring every value of theirs.
func (r *rows) whole() bool {
	return slices.ContainsFunc(r.batches, func(b *sourceBatch) bool { return b.binding != nil })
}

// checkCasts converts once the columns whose type is not the table's, so that what does not fit is
// found before anything else is done.
func (r *rows) checkCasts(ctx context.Context) error {
	for table := range r.binding.source {
		var at input.Cursor
		for _, b := range r.batches {
			if !r.reads(b, table) || r.fits(b, table) {
				continue
			}
			if _, err := r.read(ctx, b, table, &at); err != nil {
				at.Close()
				return err
			}
		}
		at.Close()
	}
	return nil
}

// reads reports whether the merge takes a table column from a batch; nil stands for those that have the source's columns.
func (r *rows) reads(b *sourceBatch, table int) bool {
	bound := r.binding
	if b != nil {
		bound = r.bound(b)
	}
	return bound.source[table] >= 0 && (r.options.Mode != Delete || r.binding.needed(table, r.options))
}

// fits reports whether a batch has a table column in the table's own type.
func (r *rows) fits(b *sourceBatch, table int) bool {
	have := b.Columns.Schema().Field(r.bound(b).source[table]).Type
	return arrow.TypeEqual(plainType(have), r.binding.schema.Field(table).Type)
}

// read gives a table column of a batch in the table's type; nil where the source does not supply it.
func (r *rows) read(ctx context.Context, b *sourceBatch, table int, at *input.Cursor) (batchColumn, error) {
	if !r.reads(b, table) {
		return batchColumn{}, nil
	}
	arr, err := b.Columns.Read(ctx, r.bound(b).source[table], at)
	if err != nil {
		return batchColumn{}, err
	}
	return r.binding.cast(arr, table, b.Batch, r.options)
}

// locate finds the batch of a source row, and the row in it.
func (r *rows) locate(s int) (*sourceBatch, int) {
	at := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].base > s }) - 1
	b := r.batches[at]
	return b, s - b.base
}

// batchColumn is a column of a batch: an array (nil: the source has none) and the ordinals in it of the batch's rows; nil: the array
// has just those.
type batchColumn struct {
	arr  arrow.Array
	rows []int32
}

// at is the ordinal in the array of row i of the batch.
func (c batchColumn) at(i int) int {
	if c.rows != nil {
		return int(c.rows[i])
	}
	return i
}

// row is the ordinal in the batch's columns of row i of the batch.
func (b *sourceBatch) row(i int) int {
	if b.Rows != nil {
		return int(b.Rows[i])
	}
	return i
}

// position names a source row for a message.
func (r *rows) position(s int) string {
	b, i := r.locate(s)
	if b.Position != nil {
		return b.Position(b.row(i))
	}
	return fmt.Sprintf("source row %d", s)
}

// text renders the given columns of a source row for a message or the rejects. What can't be read is
// left out: the message is about something else.
func (r *rows) text(s int, table []int) map[string]string {
	b, i := r.locate(s)
	out := map[string]string{}
	for _, c := range table {
		if col := r.textColumn(b, c); col.arr != nil && !col.arr.IsNull(col.at(i)) {
			out[r.binding.schema.Field(c).Name] = col.arr.ValueStr(col.at(i))
		}
	}
	return out
}

func (r *rows) textColumn(b *sourceBatch, table int) batchColumn {
	r.mu.Lock()
	defer r.mu.Unlock()
	col, ok := b.texts[table]
	if !ok {
		var at input.Cursor
		col, _ = r.read(context.Background(), b, table, &at)
		at.Close()
		b.texts[table] = col
	}
	return col
}

// keyText renders a key as a=1, b=2.
func (r *rows) keyText(s int, table []int) string {
	values := r.text(s, table)
	parts := make([]string, 0, len(table))
	for _, c := range table {
		name := r.binding.schema.Field(c).Name
		v, ok := values[name]
		if !ok {
			v = "NULL"
		}
		parts = append(parts, name+"="+v)
	}
	return strings.Join(parts, ", ")
}

// bytes is about how much the rows take.
func (r *rows) bytes() int64 {
	total := int64(0)
	for _, b := range r.batches {
		total += b.bytes()
	}
	return total
}

// bytes is about how much the batch's rows take.
func (b *sourceBatch) bytes() int64 {
	return b.Columns.Bytes() * int64(b.n) / max(b.Columns.NumRows(), 1)
}

// hold gives a form that is made once and stays, as far as memory goes.
func (r *rows) hold(ctx context.Context, b *sourceBatch, c *formCursor) (*form, error) {
	r.mu.Lock()
	f := b.held[c.key]
	if f == nil {
		f = &form{}
		b.held[c.key] = f
	}
	r.mu.Unlock()
	f.once.Do(func() {
		var at input.Cursor
		f.err = c.fill(ctx, f, b, &at)
		at.Close()
		if f.err == nil && r.options.Spill != nil {
			r.release(heldForm{b, c.key, f.bytes()})
		}
	})
	return f, f.err
}

// release lets go of the forms held for longest, for one that was added.
func (r *rows) release(added heldForm) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.heldBytes = append(r.held, added), r.heldBytes+added.bytes
	for len(r.held) > 1 && r.heldBytes > r.options.Memory/8 {
		oldest := r.held[0]
		r.held, r.heldBytes = r.held[1:], r.heldBytes-oldest.bytes
		delete(oldest.batch.held, oldest.key)
	}
}

// scatter notes that a column's rows are asked for out of order.
func (r *rows) scatter(table int) {
	r.mu.Lock()
	r.scattered[table] = true
	r.mu.Unlock()
}

func (r *rows) isScattered(table int) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.shared || r.scattered[table]
}

// A source of at most so many bytes is held whole where it is merged into at least so many row groups, each of which reads it.
const (
	sharedBytes  = 32 << 20
	sharedGroups = 8
)

// share holds forms where that saves making them for row group after row group.
func (r *rows) share(groups int) { r.shared = groups >= sharedGroups && r.bytes() <= sharedBytes }

// formCursor finds the form of one column for row after row. Rows mostly come in the order of the
// batches: then one batch is in memory at a time. It is for one goroutine, which closes it.
type formCursor struct {
	rows  *rows
	table int
	node  *column.Node
	// inserts has NULL in rows of which an insert leaves the column out, whatever the source has.
	inserts bool
	// stored lets a form be what the source's file holds, dictionary and all, where it is stored as the node. Such a form is
	// good until the next batch is asked for.
	stored bool
	key    string // of the form among those that are held

	at    input.Cursor
	batch *sourceBatch
	form  *form
	ahead int // the base of the furthest batch so far
}

// cursor reads a column of the source in the physical form of a file's node.
func (r *rows) cursor(table int, node *column.Node, signature string) *formCursor {
	return &formCursor{rows: r, table: table, node: node, key: fmt.Sprintf("%d/%s", table, signature)}
}

// insertCursor reads a column as inserted rows have it: NULL where the source does not supply it, or an
// update of some columns leaves it out.
func (r *rows) insertCursor(table int, node *column.Node, signature string) *formCursor {
	c := r.cursor(table, node, signature)
	if !r.binding.insert[table] {
		c.inserts, c.key = true, fmt.Sprintf("%d/insert/%s", table, signature)
	}
	return c
}

// find gives the form that holds a source row, and the row in it.
func (c *formCursor) find(ctx context.Context, s int) (*form, int, error) {
	if b := c.batch; b != nil && s >= b.base && s < b.base+b.n {
		return c.form, s - b.base, nil
	}
	b, row := c.rows.locate(s)
	f, err := c.load(ctx, b)
	if err == nil {
		c.batch, c.form = b, f
	}
	return f, row, err
}

func (c *formCursor) load(ctx context.Context, b *sourceBatch) (*form, error) {
	if b.base < c.ahead {
		c.rows.scatter(c.table)
	}
	c.ahead = b.base
	if c.rows.isScattered(c.table) {
		c.at.Close()
		return c.rows.hold(ctx, b, c)
	}
	f := &form{}
	if c.stored {
		if found, err := c.fillStored(ctx, f, b); found || err != nil {
			return f, err
		}
	}
	return f, c.fill(ctx, f, b, &c.at)
}

// fillStored takes the column of a batch as its file holds it; false where that is not the form.
func (c *formCursor) fillStored(ctx context.Context, f *form, b *sourceBatch) (bool, error) {
	r := c.rows
	if c.leavesOut(b) || b.Rows != nil || c.node.Leaf == nil || !r.reads(b, c.table) || !r.fits(b, c.table) {
		return false, nil
	}
	col, err := input.ReadLeaf(ctx, b.Columns, r.bound(b).source[c.table], c.node.Leaf, &c.at)
	if err != nil || col == nil {
		return false, err
	}
	f.leaves, f.starts, f.whole = []*column.Column{col}, make([][]uint32, 1), c.node.Repetition != format.Optional
	return true, c.checkCalendar(f, b)
}

// leavesOut reports whether the column of a batch is NULL, whatever the source has.
func (c *formCursor) leavesOut(b *sourceBatch) bool {
	return c.inserts && !c.rows.bound(b).insert[c.table]
}

func (c *formCursor) close() { c.at.Close() }

// fill reads and shreds the column of a batch.
func (c *formCursor) fill(ctx context.Context, f *form, b *sourceBatch, at *input.Cursor) error {
	field := c.rows.binding.schema.Field(c.table)
	var col batchColumn
	if !c.leavesOut(b) {
		var err error
		if col, err = c.rows.read(ctx, b, c.table, at); err != nil {
			return err
		}
	}
	if col.arr == nil {
		col = batchColumn{shred.Nulls(field.Type, b.n), nil}
	}
	if err := f.shred(col.arr, col.rows, field, c.node); err != nil {
		return err
	}
	return c.checkCalendar(f, b)
}

func (c *formCursor) checkCalendar(f *form, b *sourceBatch) error {
	name := c.rows.binding.schema.Field(c.table).Name
	return c.rows.binding.julian.check(f, c.node, name, func(row int) string { return c.rows.position(b.base + row) })
}

// sortedBy orders source rows by key bytes, earlier rows first among equals.
func sortedBy(k *keys, list []uint32) {
	slices.SortFunc(list, func(a, b uint32) int {
		if c := bytes.Compare(k.at(int(a)), k.at(int(b))); c != 0 {
			return c
		}
		return int(a) - int(b)
	})
}

// shares cuts the batches into runs of about as many rows each.
func (r *rows) shares(n int) [][]*sourceBatch {
	var out [][]*sourceBatch
	for list := r.batches; len(list) > 0; {
		limit := (r.n + n - 1) / n * (len(out) + 1)
		to := 1
		for to < len(list) && list[to].base < limit {
			to++
		}
		out, list = append(out, list[:to]), list[to:]
	}
	return out
}

var arrowAllocator = memory.NewGoAllocator()
