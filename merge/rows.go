package merge

import (
	"bytes"
	"fmt"
	"slices"
	"sort"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
)

// rows holds the source rows of the partition, bound and cast, by column. Row s is row s-base of the
// batch that covers it. Columns are shredded into Parquet's leaf columns once per physical form that
// the old files ask for.
type rows struct {
	binding *binding
	batches []*sourceBatch
	n       int
	mu      sync.Mutex
}

type sourceBatch struct {
	Batch
	base    int
	n       int
	columns []arrow.Array // per table column; nil where the source lacks it
	forms   map[string]*form
}

// form is a column of a batch, shredded.
type form struct {
	once   sync.Once
	leaves []*column.Column
	starts [][]uint32 // per leaf, where each row's slots begin; nil for a flat leaf
	err    error
}

func newRows(t *Task, b *binding, o *Options) (*rows, error) {
	r := &rows{binding: b}
	for _, batch := range t.Batches {
		n := int(batch.Record.NumRows())
		if batch.Rows != nil {
			n = len(batch.Rows)
		}
		if n == 0 {
			continue
		}
		columns, err := b.cast(batch, o)
		if err != nil {
			return nil, err
		}
		r.batches = append(r.batches, &sourceBatch{Batch: batch, base: r.n, n: n, columns: columns, forms: map[string]*form{}})
		r.n += n
	}
	if r.n > 1<<31-2 {
		return nil, &Error{Kind: ErrUsage, Message: fmt.Sprintf("%d source rows for one partition", r.n), Hint: "split the source"}
	}
	return r, nil
}

// locate finds the batch of a source row, and the row in it.
func (r *rows) locate(s int) (*sourceBatch, int) {
	at := sort.Search(len(r.batches), func(i int) bool { return r.batches[i].base > s }) - 1
	b := r.batches[at]
	return b, s - b.base
}

// row is the ordinal in the record of row i of the batch.
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

// text renders the given columns of a source row for a message or the rejects.
func (r *rows) text(s int, table []int) map[string]string {
	b, i := r.locate(s)
	out := map[string]string{}
	for _, c := range table {
		if arr := b.columns[c]; arr != nil && !arr.IsNull(b.row(i)) {
			out[r.binding.schema.Field(c).Name] = arr.ValueStr(b.row(i))
		}
	}
	return out
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

// shredded gives a column of a batch in the physical form of a file's node.
func (r *rows) shredded(b *sourceBatch, table int, node *column.Node, signature string) (*form, error) {
	return r.form(b, fmt.Sprintf("%d/%s", table, signature), table, node, b.columns[table])
}

// inserted gives a column of a batch as inserted rows have it: NULL where the source does not supply
// the column, or an update of some columns leaves it out.
func (r *rows) inserted(b *sourceBatch, table int, node *column.Node, signature string) (*form, error) {
	if r.binding.insert[table] {
		return r.shredded(b, table, node, signature)
	}
	return r.form(b, fmt.Sprintf("%d/null/%s", table, signature), table, node, nil)
}

// form shreds once what is asked for under a key.
func (r *rows) form(b *sourceBatch, key string, table int, node *column.Node, arr arrow.Array) (*form, error) {
	r.mu.Lock()
	f := b.forms[key]
	if f == nil {
		f = &form{}
		b.forms[key] = f
	}
	r.mu.Unlock()
	f.once.Do(func() { f.err = r.shred(f, b, table, node, arr) })
	return f, f.err
}

// formCursor finds the form of one column for row after row: rows that follow each other mostly lie in
// one batch, which is then not looked for again.
type formCursor struct {
	rows      *rows
	table     int
	node      *column.Node
	signature string
	batch     *sourceBatch
	held      *form
}

// form gives the form that holds a source row, and the row in it.
func (c *formCursor) form(s int) (*form, int, error) {
	if b := c.batch; b != nil && s >= b.base && s < b.base+b.n {
		return c.held, s - b.base, nil
	}
	b, row := c.rows.locate(s)
	f, err := c.rows.shredded(b, c.table, c.node, c.signature)
	if err == nil {
		c.batch, c.held = b, f
	}
	return f, row, err
}

func (r *rows) shred(f *form, b *sourceBatch, table int, node *column.Node, arr arrow.Array) error {
	field := r.binding.schema.Field(table)
	leaves := leavesOf(node)
	for range leaves {
		f.leaves = append(f.leaves, &column.Column{})
	}
	for i, leaf := range leaves {
		f.leaves[i].Reset(leaf)
	}
	if arr == nil {
		arr = array.MakeArrayOfNull(arrowAllocator, field.Type, int(b.Record.NumRows()))
	}
	if node.Leaf != nil && b.Rows == nil && alias(f.leaves[0], arr, node.Leaf) {
		f.starts = make([][]uint32, 1)
		return nil
	}
	if err := shred.ShredRows(arr, b.Rows, node, f.leaves); err != nil {
		return &Error{Kind: ErrValue, Column: field.Name, Err: err, Message: "a source value can't be stored",
			Hint: "a required column takes no NULL; timestamps keep the file's unit (--truncate-timestamps)"}
	}
	f.starts = make([][]uint32, len(leaves))
	for i, leaf := range leaves {
		if !leaf.Flat() {
			f.starts[i] = rowStarts(f.leaves[i], nil)
		}
	}
	return nil
}

// alias makes a column of an array's own buffers, where the array has no NULL and its values are laid
// out as the leaf's: most of a large source is, and it is then held once.
func alias(c *column.Column, arr arrow.Array, leaf *column.Leaf) bool {
	if arr.NullN() > 0 || arr.Len() == 0 || leaf.MaxRep > 0 || leaf.MaxDef > 1 {
		return false
	}
	switch a := arr.(type) {
	case *array.Int32, *array.Int64, *array.Float32, *array.Float64, *array.Date32:
		if arr.DataType().(arrow.FixedWidthDataType).Bytes() != leaf.Width {
			return false
		}
		switch leaf.Annotation.Kind {
		case column.None, column.Int, column.Date:
		default:
			return false
		}
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		if leaf.Type != format.Int64 || leaf.Annotation.Unit != int64(unit.Multiplier()) {
			return false
		}
	case *array.String:
		return aliasBytes(c, arr.Data(), leaf)
	case *array.Binary:
		return aliasBytes(c, arr.Data(), leaf)
	default:
		return false
	}
	from := arr.Data().Offset() * leaf.Width
	c.Values.Fixed = arr.Data().Buffers()[1].Bytes()[from : from+arr.Len()*leaf.Width]
	c.Slots = arr.Len()
	return true
}

// aliasBytes takes offsets and bytes of a string or binary array. Arrow's offsets are never negative,
// so that their bits are the same unsigned.
func aliasBytes(c *column.Column, data arrow.ArrayData, leaf *column.Leaf) bool {
	if leaf.Type != format.ByteArray || data.Buffers()[2] == nil {
		return false
	}
	offsets := arrow.Uint32Traits.CastFromBytes(data.Buffers()[1].Bytes())
	c.Values.Offsets = offsets[data.Offset() : data.Offset()+data.Len()+1]
	c.Values.Data = data.Buffers()[2].Bytes()
	c.Slots = data.Len()
	return true
}

// rowStarts lists the slots at which rows begin, and the end.
func rowStarts(c *column.Column, into []uint32) []uint32 {
	into = into[:0]
	for i, rep := range c.Rep[:c.Slots] {
		if rep == 0 {
			into = append(into, uint32(i))
		}
	}
	return append(into, uint32(c.Slots))
}

// span is the slots of row i.
func (f *form) span(leaf, i int) (from, to int) {
	if s := f.starts[leaf]; s != nil {
		return int(s[i]), int(s[i+1])
	}
	return i, i + 1
}

// leavesOf lists the leaves below a node, in order.
func leavesOf(n *column.Node) []*column.Leaf {
	if n.Leaf != nil {
		return []*column.Leaf{n.Leaf}
	}
	var out []*column.Leaf
	for _, c := range n.Children {
		out = append(out, leavesOf(c)...)
	}
	return out
}

// signature names a node's physical form: equal signatures shred equally.
func signature(n *column.Node) string {
	var b strings.Builder
	writeSignature(&b, n)
	return b.String()
}

func writeSignature(b *strings.Builder, n *column.Node) {
	fmt.Fprintf(b, "%s:%d:%+v", strings.ToLower(n.Name), n.Repetition, n.Annotation)
	if n.Leaf != nil {
		fmt.Fprintf(b, ":%d:%d", n.Leaf.Type, n.Leaf.Width)
		return
	}
	b.WriteByte('{')
	for _, c := range n.Children {
		writeSignature(b, c)
	}
	b.WriteByte('}')
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
