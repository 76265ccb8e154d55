package shred

import (
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

type shapeKind uint8

const (
	primitive shapeKind = iota
	structure
	list
	mapping
)

// shape is a schema node as values see it: the groups that only spell out a list or a map are gone,
// and what remains knows the levels at which it is present.
type shape struct {
	kind     shapeKind
	name     string
	nullable bool
	meta     arrow.Metadata
	typ      arrow.DataType
	def      int // definition level from which a value is there, not null

	// Lists and maps: an entry exists from definition level entryDef, and starts at repetition level
	// rep or below.
	entryDef int
	rep      int

	fields []*shape // structure: fields; list: the element; mapping: key and value
	leaf   *column.Leaf
	first  int // the first leaf below, counted from the top-level field's first
	leaves int // how many leaves are below
}

// shapeOf reads a top-level node.
func shapeOf(node *column.Node) (*shape, error) {
	c := compiler{}
	return c.node(node)
}

type compiler struct{ leaves int }

// node reads a node in the place of a field. A repeated field outside a LIST or MAP is a required
// list of required elements (parquet-format, LogicalTypes.md, Lists).
func (c *compiler) node(n *column.Node) (*shape, error) {
	if n.Repetition != format.Repeated {
		s, err := c.value(n)
		if s != nil {
			s.nullable = n.Repetition == format.Optional
		}
		return s, err
	}
	return c.listOf(n, n.MaxDef-1, n, func() (*shape, error) { return c.value(n) })
}

// value reads a node without its repetition.
func (c *compiler) value(n *column.Node) (*shape, error) {
	if n.Leaf != nil {
		return c.primitive(n)
	}
	if len(n.Children) == 0 {
		return nil, fmt.Errorf("%w: group %s has no fields", ErrType, n.Name)
	}
	only := n.Children[0]
	wrapped := len(n.Children) == 1 && only.Repetition == format.Repeated
	switch {
	case n.Annotation.Kind == column.List && wrapped:
		return c.listOf(n, n.MaxDef, only, func() (*shape, error) { return c.element(n, only) })
	case (n.Annotation.Kind == column.Map || n.Annotation.Kind == column.MapKeyValue) && wrapped && len(only.Children) == 2:
		return c.mapping(n, only)
	case (n.Annotation.Kind == column.Map || n.Annotation.Kind == column.MapKeyValue) && wrapped && len(only.Children) == 1:
		// A map without values is the set of its keys.
		return c.listOf(n, n.MaxDef, only, func() (*shape, error) { return c.node(only.Children[0]) })
	}
	return c.structure(n)
}

// element reads a LIST's repeated node by the backward-compatibility rules of parquet-format: it is
// the element itself where it is no group, has several fields, holds a repeated field or a list of its
// own, or has one of the names that old writers gave it; else its only field is the element.
func (c *compiler) element(outer, repeated *column.Node) (*shape, error) {
	switch {
	case repeated.Leaf != nil,
		len(repeated.Children) != 1,
		repeated.Children[0].Repetition == format.Repeated,
		repeated.Annotation.Kind == column.List,
		repeated.Annotation.Kind == column.Map,
		repeated.Name == "array",
		repeated.Name == outer.Name+"_tuple":
		return c.value(repeated)
	}
	return c.node(repeated.Children[0])
}

func (c *compiler) listOf(n *column.Node, def int, repeated *column.Node, element func() (*shape, error)) (*shape, error) {
	s := &shape{kind: list, name: n.Name, def: def, meta: fieldMetadata(n),
		entryDef: repeated.MaxDef, rep: repeated.MaxRep, first: c.leaves}
	e, err := element()
	if err != nil {
		return nil, err
	}
	s.fields, s.leaves = []*shape{e}, c.leaves-s.first
	field := e.field()
	field.Name = "element"
	s.typ = arrow.ListOfField(field)
	return s, nil
}

func (c *compiler) mapping(n, repeated *column.Node) (*shape, error) {
	s := &shape{kind: mapping, name: n.Name, def: n.MaxDef, meta: fieldMetadata(n),
		entryDef: repeated.MaxDef, rep: repeated.MaxRep, first: c.leaves}
	for _, child := range repeated.Children {
		f, err := c.node(child)
		if err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
	}
	s.leaves = c.leaves - s.first
	key, value := s.fields[0], s.fields[1]
	t := arrow.MapOfWithMetadata(key.typ, key.meta, value.typ, value.meta)
	t.SetItemNullable(value.nullable)
	s.typ = t
	return s, nil
}

func (c *compiler) structure(n *column.Node) (*shape, error) {
	s := &shape{kind: structure, name: n.Name, def: n.MaxDef, meta: fieldMetadata(n), first: c.leaves}
	fields := make([]arrow.Field, 0, len(n.Children))
	for _, child := range n.Children {
		f, err := c.node(child)
		if err != nil {
			return nil, err
		}
		s.fields = append(s.fields, f)
		fields = append(fields, f.field())
	}
	s.leaves = c.leaves - s.first
	s.typ = arrow.StructOf(fields...)
	return s, nil
}

func (c *compiler) primitive(n *column.Node) (*shape, error) {
	t, err := leafType(n.Leaf)
	if err != nil {
		return nil, fmt.Errorf("column %s: %w", n.Name, err)
	}
	s := &shape{kind: primitive, name: n.Name, def: n.MaxDef, meta: fieldMetadata(n), typ: t,
		leaf: n.Leaf, first: c.leaves, leaves: 1}
	c.leaves++
	return s, nil
}

func (s *shape) field() arrow.Field {
	return arrow.Field{Name: s.name, Type: s.typ, Nullable: s.nullable, Metadata: s.meta}
}
