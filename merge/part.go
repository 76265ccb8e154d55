package merge

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	input "github.com/hupsert/hupsert/merge/source"
)

// keyColumn is one part of the key or the version: a leaf of a table column.
type keyColumn struct {
	path  string
	table int      // the table column it is or lies in; -1 for a column only the source has
	names []string // from the table column to the leaf
	part  partType
	desc  bool
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
		return k, &Error{Kind: ErrSchema, Column: path, Message: "no such column in the table", Hint: columnsHint("table", fields, path)}
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
	length, _ := shred.LengthOf(fields[at])
	k.part = partType{typ: typ, char: length.Char && isBytes(typ)}
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
	ordinal := slices.Index(top.Leaves(), leaf)
	if ordinal < 0 {
		return nil, &Error{Kind: ErrSchema, Column: k.path, Message: "is not a single value"}
	}
	form := s.rows.cursor(k.table, top, signature(top))
	form.stored = k.part.width() > 0 // keys of text are copied as one where they are no dictionary
	return &partReader{keyColumn: k, leaf: leaf, ordinal: ordinal, form: form}, nil
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
	arr, rows := shred.Nulls(p.part.typ, b.n), []int32(nil)
	if b.binding == nil { // else the rows have no such column
		var err error
		if arr, err = b.Columns.Read(ctx, p.extra, &p.at); err != nil {
			return nil, err
		}
		rows = b.Rows
	}
	c := &column.Column{}
	c.Reset(p.leaf)
	return c, shred.ShredRows(arr, rows, p.node, []*column.Column{c})
}

func closeParts(list []*partReader) {
	for _, p := range list {
		p.at.Close()
		if p.form != nil {
			p.form.close()
		}
	}
}
