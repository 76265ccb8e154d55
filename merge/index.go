package merge

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
)

var arrowAllocator = memory.NewGoAllocator()

// fate is what a source row has come to.
type fate uint8

const (
	pending   fate = iota // holds its key, not met yet
	duplicate             // another source row holds its key
	nullKey
	rejected
	inserted
	updated
	unchanged
	deleted
	stale
	ignored
)

// keyColumn is one part of the key or the version: a leaf of a table column.
type keyColumn struct {
	path  string
	table int      // the table column it is or lies in; -1 for a column only the source has
	names []string // from the table column to the leaf
	part  partType
	desc  bool
}

// source is the source side of the merge: rows, encoded keys and versions, and which row holds a key.
type source struct {
	rows     *rows
	key      []keyColumn
	version  []keyColumn // compared between source rows
	stored   []int       // those of them, by ordinal, that the old files have too
	layout   layout
	keys     keys
	versions keys  // variable width, empty without OrderBy
	against  *keys // the parts of versions that the old files have; nil where they have none
	deletes  []bool
	fates    []fate
	index    *index // see hashed
	hashOnce sync.Once
	order    order
	ranges   []partRange // per key part of fixed width; nil: not known
}

func newSource(ctx context.Context, t *Task, b *binding, o *Options) (*source, error) {
	r, err := newRows(ctx, t, b, o)
	if err != nil {
		return nil, err
	}
	s := &source{rows: r, fates: make([]fate, r.n)}
	if !o.Mode.Keyed() {
		return s, nil
	}
	if err := s.resolveKeyColumns(o); err != nil {
		return nil, err
	}
	if err := s.encodeKeys(ctx, o); err != nil {
		return nil, err
	}
	if err := s.encodeVersions(ctx); err != nil {
		return nil, err
	}
	if err := s.markDeletes(ctx, o); err != nil {
		return nil, err
	}
	return s, s.holdKeys(ctx, o)
}

// resolveKeyColumns finds the leaves of keys and versions in the table.
func (s *source) resolveKeyColumns(o *Options) error {
	if len(o.Key) == 0 {
		return &Error{Kind: ErrUsage, Message: "no key columns", Hint: "name the primary key, or declare it with the table"}
	}
	fields := s.rows.binding.schema.Fields()
	var parts []partType
	for _, path := range o.Key {
		k, err := findLeaf(fields, path)
		if err != nil {
			return err
		}
		switch {
		case isFloat(k.part.typ) && !o.AllowFloatKeys:
			return &Error{Kind: ErrSchema, Column: path, Message: "a float is no key", Hint: "--allow-float-keys compares NaN and zeros as equal"}
		case k.part.width() == 0 && !isBytes(k.part.typ):
			return &Error{Kind: ErrSchema, Column: path, Message: fmt.Sprintf("%s can't be a key", k.part.typ), Hint: "name a field of it as a.b"}
		}
		s.key = append(s.key, k)
		parts = append(parts, k.part)
	}
	s.layout = newLayout(parts, o.NullKeys == PolicyMatch)
	for i := range s.key {
		s.key[i].part = s.layout.parts[i]
	}
	for _, v := range o.OrderBy {
		if at, ok := s.rows.binding.extra[strings.ToLower(v.Column)]; ok {
			f := s.rows.batches0().Field(at)
			s.version = append(s.version, keyColumn{path: v.Column, table: -1, names: []string{f.Name}, part: partType{typ: plainType(f.Type)}, desc: v.Desc})
			continue
		}
		k, err := findLeaf(fields, v.Column)
		if err != nil {
			return err
		}
		k.desc = v.Desc
		if k.part.width() == 0 && !isBytes(k.part.typ) {
			return &Error{Kind: ErrSchema, Column: v.Column, Message: fmt.Sprintf("%s has no order", k.part.typ), Hint: "order by another column"}
		}
		s.stored = append(s.stored, len(s.version))
		s.version = append(s.version, k)
	}
	return nil
}

// batches0 is the schema of the source records.
func (r *rows) batches0() *arrow.Schema {
	if len(r.batches) == 0 {
		return arrow.NewSchema(nil, nil)
	}
	return r.batches[0].Columns.Schema()
}

func isBytes(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.STRING, arrow.BINARY, arrow.LARGE_STRING, arrow.LARGE_BINARY:
		return true
	}
	return false
}

// plainType is the type of a dictionary's values, or the type itself.
func plainType(t arrow.DataType) arrow.DataType {
	if d, ok := t.(*arrow.DictionaryType); ok {
		return d.ValueType
	}
	return t
}

func findLeaf(fields []arrow.Field, path string) (keyColumn, error) {
	k := keyColumn{path: path}
	top := topLevel(fields, path)
	at, err := fieldIndex(fields, top)
	if err != nil {
		return k, err
	}
	if at < 0 {
		return k, &Error{Kind: ErrSchema, Column: path, Message: "no such column in the table", Hint: "the table's columns: " + fieldNames(fields)}
	}
	k.table, k.names = at, []string{fields[at].Name}
	typ := plainType(fields[at].Type)
	if rest := strings.TrimPrefix(path[len(top):], "."); rest != "" {
		for name := range strings.SplitSeq(rest, ".") {
			st, ok := typ.(*arrow.StructType)
			if !ok {
				return k, &Error{Kind: ErrSchema, Column: path, Message: fmt.Sprintf("%s is no struct", typ)}
			}
			i, err := fieldIndex(st.Fields(), name)
			if err != nil {
				return k, err
			}
			if i < 0 {
				return k, &Error{Kind: ErrSchema, Column: path, Message: "the struct has no field " + name, Hint: "its fields: " + fieldNames(st.Fields())}
			}
			k.names = append(k.names, st.Field(i).Name)
			typ = plainType(st.Field(i).Type)
		}
	}
	k.part = partType{typ: typ}
	return k, nil
}

// leafIn finds the leaf of a key column below a node; nil where it is none.
func (k keyColumn) leafIn(node *column.Node) *column.Leaf {
	for _, name := range k.names[1:] {
		var next *column.Node
		for _, c := range node.Children {
			if strings.EqualFold(c.Name, name) {
				next = c
			}
		}
		if next == nil {
			return nil
		}
		node = next
	}
	return node.Leaf
}

// partReader reads a part of keys or versions, batch after batch.
type partReader struct {
	keyColumn
	leaf    *column.Leaf
	enc     encoder
	ordinal int         // of the leaf below its column
	form    *formCursor // nil for a column that only the source has
	extra   int         // the ordinal of that one
	node    *column.Node
	at      input.Cursor
}

// parts opens parts of keys or versions for reading.
func (s *source) parts(list []keyColumn) ([]*partReader, error) {
	out := make([]*partReader, len(list))
	for i, k := range list {
		r, err := s.part(k)
		if err != nil {
			return nil, err
		}
		if r.enc, err = k.part.encoder(r.leaf); err != nil {
			return nil, &Error{Kind: ErrSchema, Column: k.path, Err: err}
		}
		out[i] = r
	}
	return out, nil
}

func (s *source) part(k keyColumn) (*partReader, error) {
	if k.table < 0 {
		schema, err := shred.ParquetSchema(arrow.NewSchema([]arrow.Field{{Name: k.path, Type: k.part.typ, Nullable: true}}, nil))
		if err != nil {
			return nil, &Error{Kind: ErrSchema, Column: k.path, Err: err}
		}
		return &partReader{keyColumn: k, leaf: schema.Leaves[0], node: schema.Root.Children[0],
			extra: s.rows.binding.extra[strings.ToLower(k.path)]}, nil
	}
	top := s.rows.canonical.Root.Children[k.table]
	leaf := k.leafIn(top)
	ordinal := slices.Index(leavesOf(top), leaf)
	if ordinal < 0 {
		return nil, &Error{Kind: ErrSchema, Column: k.path, Message: "is not a single value"}
	}
	return &partReader{keyColumn: k, leaf: leaf, ordinal: ordinal, form: s.rows.cursor(k.table, top, signature(top))}, nil
}

// read gives the part's values in a batch.
func (p *partReader) read(ctx context.Context, b *sourceBatch) (*column.Column, error) {
	if p.form != nil {
		f, _, err := p.form.find(ctx, b.base)
		if err != nil {
			return nil, err
		}
		return f.leaves[p.ordinal], nil
	}
	arr, err := b.Columns.Read(ctx, p.extra, &p.at)
	if err != nil {
		return nil, err
	}
	c := &column.Column{}
	c.Reset(p.leaf)
	return c, shred.ShredRows(arr, b.Rows, p.node, []*column.Column{c})
}

func closeParts(list []*partReader) {
	for _, p := range list {
		p.at.Close()
		if p.form != nil {
			p.form.close()
		}
	}
}

// encodeKeys encodes the keys of all rows, batches in parallel.
func (s *source) encodeKeys(ctx context.Context, o *Options) error {
	shares := s.rows.shares(o.workers())
	encoded := make([]keys, len(shares))
	nullRows := make([][]int, len(shares))
	if w := s.layout.width; w > 0 { // each share's place is known: nothing is copied afterwards
		s.keys = keys{width: w, data: make([]byte, s.rows.n*w)}
		for i, share := range shares {
			last := share[len(share)-1]
			from, to := share[0].base*w, (last.base+last.n)*w
			encoded[i].data = s.keys.data[from:from:to]
		}
	}
	eg, ctx := errgroup.WithContext(ctx)
	for i, share := range shares {
		eg.Go(func() (err error) {
			nullRows[i], err = s.encodeShare(ctx, share, &encoded[i])
			return err
		})
	}
	if err := eg.Wait(); err != nil {
		return err
	}
	if s.layout.width == 0 {
		s.keys = joinKeys(encoded)
	}
	return s.refuseNullKeys(slices.Concat(nullRows...), o)
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

func (s *source) encodeShare(ctx context.Context, share []*sourceBatch, dst *keys) (nullRows []int, err error) {
	parts, err := s.parts(s.key)
	if err != nil {
		return nil, err
	}
	defer closeParts(parts)
	enc := make([]encoder, len(parts))
	cols := make([]cursorColumn, len(parts))
	for _, b := range share {
		for i, p := range parts {
			c, err := p.read(ctx, b)
			if err != nil {
				return nil, err
			}
			enc[i], cols[i] = p.enc, cursorColumn{col: c}
		}
		nulls := make([]bool, b.n)
		if err := s.layout.encode(dst, nulls, enc, cols, b.n); err != nil {
			return nil, &Error{Kind: ErrValue, Err: err, Message: "encode the source's keys"}
		}
		for i, null := range nulls {
			if null {
				nullRows = append(nullRows, b.base+i)
			}
		}
	}
	return nullRows, nil
}

func (s *source) refuseNullKeys(nullRows []int, o *Options) error {
	if len(nullRows) == 0 {
		return nil
	}
	if o.NullKeys != PolicyReject {
		sample := make([]string, 0, 3)
		for _, row := range nullRows[:min(len(nullRows), 3)] {
			sample = append(sample, fmt.Sprintf("%s (%s)", s.rows.keyText(row, s.keyTables()), s.rows.position(row)))
		}
		return &Error{Kind: ErrNullKey, Column: strings.Join(o.Key, ","),
			Message: fmt.Sprintf("%d source rows have NULL in their key: %s", len(nullRows), strings.Join(sample, "; ")),
			Hint:    "correct them, or choose --null-keys reject or match"}
	}
	for _, row := range nullRows {
		s.fates[row] = nullKey
		if err := s.reject(o, "null_key", row); err != nil {
			return err
		}
	}
	return nil
}

func (s *source) reject(o *Options, reason string, row int) error {
	if o.Reject == nil {
		return nil
	}
	all := make([]int, s.rows.binding.schema.NumFields())
	for i := range all {
		all[i] = i
	}
	return o.Reject(Reject{Reason: reason, Position: s.rows.position(row), Values: s.rows.text(row, all)})
}

func (s *source) keyTables() []int {
	out := make([]int, len(s.key))
	for i, k := range s.key {
		out[i] = k.table
	}
	return out
}

// encodeVersions makes the version of every row comparable as bytes. NULL is lowest.
func (s *source) encodeVersions(ctx context.Context) error {
	if len(s.version) == 0 {
		return nil
	}
	if err := s.appendVersions(ctx, &s.versions, s.version); err != nil {
		return err
	}
	switch len(s.stored) {
	case 0:
		return nil
	case len(s.version):
		s.against = &s.versions
		return nil
	}
	parts := make([]keyColumn, len(s.stored))
	for i, v := range s.stored {
		parts[i] = s.version[v]
	}
	s.against = &keys{}
	return s.appendVersions(ctx, s.against, parts)
}

func (s *source) appendVersions(ctx context.Context, dst *keys, list []keyColumn) error {
	parts, err := s.parts(list)
	if err != nil {
		return err
	}
	defer closeParts(parts)
	cols := make([]*column.Column, len(parts))
	for _, b := range s.rows.batches {
		for i, p := range parts {
			if cols[i], err = p.read(ctx, b); err != nil {
				return err
			}
		}
		for i := range b.n {
			for v, p := range parts {
				if dst.data, err = appendVersion(dst.data, p.keyColumn, p.enc, cols[v], i); err != nil {
					return &Error{Kind: ErrValue, Column: p.path, Err: err, Message: "at " + s.rows.position(b.base+i),
						Hint: "correct the version"}
				}
			}
			dst.ends = append(dst.ends, uint64(len(dst.data)))
		}
	}
	return nil
}

// appendVersion appends one part of a version, so that parts compare in turn.
func appendVersion(dst []byte, k keyColumn, e encoder, c *column.Column, slot int) ([]byte, error) {
	at := len(dst)
	if c.Null(slot) {
		dst = append(dst, 0)
	} else {
		v := c.Value(slot)
		if nan := column.IsNaN(e.leaf); nan != nil && nan(v) {
			return dst, fmt.Errorf("NaN is no version")
		}
		var err error
		if dst, err = e.put(append(dst, 1), v); err != nil {
			return dst, err
		}
	}
	if k.desc && !c.Null(slot) {
		for i := at + 1; i < len(dst); i++ {
			dst[i] = ^dst[i]
		}
	}
	return dst, nil
}

// markDeletes finds the source rows that are deletes.
func (s *source) markDeletes(ctx context.Context, o *Options) error {
	d := o.DeleteWhen
	if d == nil || s.rows.n == 0 {
		return nil
	}
	s.deletes = make([]bool, s.rows.n)
	var cursor input.Cursor
	defer cursor.Close()
	for _, b := range s.rows.batches {
		at, err := fieldIndex(b.Columns.Schema().Fields(), d.Column)
		if err != nil {
			return err
		}
		if at < 0 {
			return &Error{Kind: ErrSchema, Column: d.Column, Message: "named in --delete-when, but the source has no such column"}
		}
		arr, err := b.Columns.Read(ctx, at, &cursor)
		if err != nil {
			return err
		}
		if plainType(arr.DataType()).ID() != arrow.BOOL && d.Value == nil {
			return &Error{Kind: ErrSchema, Column: d.Column, Message: fmt.Sprintf("--delete-when needs a boolean column, this is %s", arr.DataType()),
				Hint: "name the value that marks a delete: --delete-when " + d.Column + "=VALUE"}
		}
		for i := range b.n {
			row := b.row(i)
			s.deletes[b.base+i] = !arr.IsNull(row) && isDelete(arr, row, d.Value)
		}
	}
	return nil
}

func isDelete(arr arrow.Array, row int, value *string) bool {
	text := "true"
	if value != nil {
		text = *value
	}
	if d, ok := arr.(*array.Dictionary); ok {
		return d.Dictionary().ValueStr(d.GetValueIndex(row)) == text
	}
	return arr.ValueStr(row) == text
}

func (s *source) isDelete(row int) bool { return s.deletes != nil && s.deletes[row] }

// holdKeys finds for every key the one source row that holds it.
func (s *source) holdKeys(ctx context.Context, o *Options) error {
	if s.ascending() {
		s.order.asTheyCame = true // and no key repeats
		s.measureRanges()
		return nil
	}
	s.index = newIndex(&s.keys, s.rows.n)
	var twice [][2]int
	for row := range s.rows.n {
		if row&0xFFFF == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if s.fates[row] == nullKey {
			continue
		}
		held := s.index.put(row)
		if held == row {
			continue
		}
		switch s.newer(held, row, o) {
		case conflicting:
			same, err := s.same(ctx, held, row)
			if err != nil {
				return err
			}
			if !same {
				twice = append(twice, [2]int{held, row})
			}
			s.fates[row] = duplicate
		case later:
			s.index.replace(held, row)
			s.fates[held] = duplicate
		case earlier:
			s.fates[row] = duplicate
		}
	}
	if len(twice) > 0 {
		sample := make([]string, 0, 3)
		for _, t := range twice[:min(3, len(twice))] {
			sample = append(sample, fmt.Sprintf("%s (%s and %s)", s.rows.keyText(t[0], s.keyTables()), s.rows.position(t[0]), s.rows.position(t[1])))
		}
		return &Error{Kind: ErrDuplicateKey, Column: strings.Join(o.Key, ","),
			Message: fmt.Sprintf("%d source rows repeat a key with other values: %s", len(twice), strings.Join(sample, "; ")),
			Hint:    "name the version column with --order-by, or choose --source-duplicates first or last"}
	}
	s.sortHolders()
	s.measureRanges()
	return nil
}

type precedence uint8

const (
	conflicting precedence = iota
	earlier
	later
)

// newer says which of two source rows of one key wins.
func (s *source) newer(held, row int, o *Options) precedence {
	if len(s.version) > 0 {
		// A tie goes to the later row.
		if bytes.Compare(s.versions.at(row), s.versions.at(held)) >= 0 {
			return later
		}
		return earlier
	}
	switch o.SourceDuplicates {
	case PolicyFirst:
		return earlier
	case PolicyLast:
		return later
	}
	return conflicting
}

// same reports whether two source rows are equal in every column.
func (s *source) same(ctx context.Context, a, b int) (bool, error) {
	if s.isDelete(a) != s.isDelete(b) {
		return false, nil
	}
	for table, node := range s.rows.canonical.Root.Children {
		if !s.rows.reads(table) {
			continue
		}
		// Repeated keys lie anywhere, so the forms are held.
		s.rows.scatter(table)
		c := s.rows.cursor(table, node, signature(node))
		af, ai, err := c.find(ctx, a)
		if err != nil {
			return false, err
		}
		bf, bi, err := c.find(ctx, b)
		if err != nil {
			return false, err
		}
		if !equalRows(af, ai, bf, bi, leavesOf(node)) {
			return false, nil
		}
	}
	return true, nil
}

func equalRows(a *form, ai int, b *form, bi int, leaves []*column.Leaf) bool {
	for l, leaf := range leaves {
		af, at := a.span(l, ai)
		bf, bt := b.span(l, bi)
		if !equalSpans(a.leaves[l], af, at, b.leaves[l], bf, bt, column.IsNaN(leaf)) {
			return false
		}
	}
	return true
}

// equalSpans compares the slots of one row in two columns.
func equalSpans(a *column.Column, af, at int, b *column.Column, bf, bt int, nan func([]byte) bool) bool {
	if at-af != bt-bf {
		return false
	}
	for i := range at - af {
		if a.Rep != nil && a.Rep[af+i] != b.Rep[bf+i] {
			return false
		}
		if !column.Equal(a, af+i, b, bf+i, nan) {
			return false
		}
	}
	return true
}

// sortLimit is the number of rows up to which sorting keys pays for the pages it rules out.
const sortLimit = 4 << 20

// order lists the rows that hold their key, by key. The zero value is no order: sorting did not pay.
type order struct {
	asTheyCame bool     // all rows hold their key and came sorted
	rows       []uint32 // else
}

// known reports whether there is an order.
func (o *order) known() bool { return o.asTheyCame || o.rows != nil }

// row is the i-th row by key.
func (o *order) row(i int) int {
	if o.asTheyCame {
		return i
	}
	return int(o.rows[i])
}

// holders is how many rows hold their key, where the order is known.
func (s *source) holders() int {
	if s.order.asTheyCame {
		return s.rows.n
	}
	return len(s.order.rows)
}

// ascending reports whether the keys come sorted, none of them NULL or twice.
func (s *source) ascending() bool {
	for row := range s.rows.n {
		if s.fates[row] == nullKey || row > 0 && bytes.Compare(s.keys.at(row-1), s.keys.at(row)) >= 0 {
			return false
		}
	}
	return true
}

// hashed is the index; for keys that came sorted it is made when it is first needed.
func (s *source) hashed() *index {
	s.hashOnce.Do(func() {
		if s.index == nil {
			s.index = newIndex(&s.keys, s.rows.n)
			for row := range s.rows.n {
				s.index.put(row)
			}
		}
	})
	return s.index
}

// sortHolders orders the rows that hold their key, for pruning and for inserts.
func (s *source) sortHolders() {
	holders := make([]uint32, 0, s.rows.n)
	for row := range s.rows.n {
		if s.fates[row] == pending {
			holders = append(holders, uint32(row))
		}
	}
	if len(holders) <= sortLimit {
		sortedBy(&s.keys, holders)
		s.order.rows = holders
	}
}
