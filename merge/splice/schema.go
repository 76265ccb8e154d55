package splice

import (
	"math"

	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

const (
	// maxNesting limits how deep groups nest.
	maxNesting = 128
	// maxWidth limits FIXED_LEN_BYTE_ARRAY: slots without value take as much memory as others.
	maxWidth = 1 << 20
)

// readSchema makes the schema of the footer's elements, which stand in depth-first order.
func readSchema(elements []tValue) (*column.Schema, error) {
	r := schemaReader{elements: elements, schema: &column.Schema{}}
	if len(elements) == 0 {
		return nil, corruptf("file without schema")
	}
	root, err := r.node(nil, nil)
	if err != nil {
		return nil, err
	}
	if root.Leaf != nil {
		return nil, corruptf("the schema's root is a column")
	}
	if len(r.elements) > 0 {
		return nil, corruptf("%d schema elements belong to no group", len(r.elements))
	}
	r.schema.Root = root
	noteRepetitions(root, nil)
	return r.schema, nil
}

// noteRepetitions tells the leaves from which definition levels on the lists above them have elements.
func noteRepetitions(n *column.Node, defs []uint8) {
	if n.Repetition == format.Repeated {
		defs = append(defs[:len(defs):len(defs)], uint8(n.MaxDef))
	}
	if n.Leaf != nil {
		n.Leaf.RepDefs = defs
	}
	for _, c := range n.Children {
		noteRepetitions(c, defs)
	}
}

type schemaReader struct {
	elements []tValue // those not yet read
	schema   *column.Schema
}

// node reads an element and those below it.
func (r *schemaReader) node(parent *column.Node, path []string) (*column.Node, error) {
	if len(r.elements) == 0 {
		return nil, corruptf("the schema ends inside group %q", path)
	}
	if len(path) > maxNesting {
		return nil, corruptf("the schema nests deeper than %d", maxNesting)
	}
	e := &r.elements[0]
	r.elements = r.elements[1:]
	name, ok := e.binary(4)
	if !ok {
		return nil, corruptf("schema element without name in %q", path)
	}
	n := &column.Node{Name: name}
	if parent != nil {
		path = append(path[:len(path):len(path)], name)
		if !repeat(n, parent, e.int(3, -1)) {
			return nil, corruptf("schema element %q has no valid repetition", path)
		}
	}
	// Converted types are closed: what is new has a logical type.
	if c := e.int(6, 0); c < 0 || c > int64(deprecated.Interval) {
		return nil, corruptf("schema element %q has the converted type %d, which does not exist", path, c)
	}
	if e.field(9) != nil {
		id := int32(e.int(9, 0))
		n.FieldID = &id
	}
	if e.field(1) == nil {
		if n.Annotation = readAnnotation(e); !annotatesGroup(n.Annotation) {
			return nil, corruptf("schema group %q has the annotation of a column", path)
		}
		return n, r.children(n, e.int(5, 0), path)
	}
	return n, r.leaf(n, e, path)
}

// repeat sets a node's repetition and levels.
func repeat(n, parent *column.Node, repetition int64) bool {
	n.Repetition = format.FieldRepetitionType(repetition)
	n.MaxDef, n.MaxRep = parent.MaxDef, parent.MaxRep
	switch n.Repetition {
	case format.Required:
	case format.Optional:
		n.MaxDef++
	case format.Repeated:
		n.MaxDef++
		n.MaxRep++
	default:
		return false
	}
	return true
}

func (r *schemaReader) children(n *column.Node, count int64, path []string) error {
	if count < 0 || count > int64(len(r.elements)) {
		return corruptf("schema group %q has %d children of %d elements", path, count, len(r.elements))
	}
	n.Children = make([]*column.Node, 0, count)
	for range count {
		child, err := r.node(n, path)
		if err != nil {
			return err
		}
		n.Children = append(n.Children, child)
	}
	return nil
}

func (r *schemaReader) leaf(n *column.Node, e *tValue, path []string) error {
	if e.int(5, 0) != 0 {
		return corruptf("schema column %q has children", path)
	}
	l := &column.Leaf{
		Index: len(r.schema.Leaves), Path: path, MaxDef: n.MaxDef, MaxRep: n.MaxRep,
		Type: format.Type(e.int(1, -1)),
	}
	switch l.Type {
	case format.Boolean:
		l.Width = 1
	case format.Int32, format.Float:
		l.Width = 4
	case format.Int64, format.Double:
		l.Width = 8
	case format.Int96:
		l.Width = 12
	case format.ByteArray:
	case format.FixedLenByteArray:
		width := e.int(2, 0)
		if width <= 0 || width > maxWidth {
			return corruptf("schema column %q has values of %d bytes", path, width)
		}
		l.Width = int(width)
	default:
		return corruptf("schema column %q has no valid type", path)
	}
	if l.Annotation = readAnnotation(e); !annotates(l.Annotation, l) {
		return corruptf("schema column %q has an annotation that its type, %s, can't have", path, l.Type)
	}
	n.Annotation, n.Leaf = l.Annotation, l
	r.schema.Leaves = append(r.schema.Leaves, l)
	return nil
}

// readAnnotation takes the logical type, or the converted type of older writers where that is absent
// or not known.
func readAnnotation(e *tValue) column.Annotation {
	if logical := e.field(10); logical != nil && len(logical.kids) > 0 {
		if a := readLogicalType(logical); a.Kind != column.Unknown || e.field(6) == nil {
			return a
		}
	}
	if e.field(6) == nil {
		return column.Annotation{}
	}
	return readConvertedType(deprecated.ConvertedType(e.int(6, -1)), e)
}

func readLogicalType(union *tValue) column.Annotation {
	set := &union.kids[0]
	switch set.id {
	case logicalString:
		return column.Annotation{Kind: column.String}
	case logicalMap:
		return column.Annotation{Kind: column.Map}
	case logicalList:
		return column.Annotation{Kind: column.List}
	case logicalEnum:
		return column.Annotation{Kind: column.Enum}
	case logicalDecimal:
		return column.Annotation{Kind: column.Decimal, Scale: int32(set.int(1, 0)), Precision: int32(set.int(2, 0))}
	case logicalDate:
		return column.Annotation{Kind: column.Date}
	case logicalTime:
		return readTime(column.Time, set)
	case logicalTimestamp:
		return readTime(column.Timestamp, set)
	case logicalInteger:
		return column.Annotation{Kind: column.Int, Bits: int(set.int(1, 0)), Unsigned: !set.bool(2, true)}
	case logicalUnknown:
		return column.Annotation{Kind: column.Null}
	case logicalJSON:
		return column.Annotation{Kind: column.JSON}
	case logicalBSON:
		return column.Annotation{Kind: column.BSON}
	case logicalUUID:
		return column.Annotation{Kind: column.UUID}
	case logicalFloat16:
		return column.Annotation{Kind: column.Float16}
	}
	kind := column.Unknown
	switch set.id {
	case logicalVariant:
		kind = column.Variant
	case logicalGeometry:
		kind = column.Geometry
	case logicalGeography:
		kind = column.Geography
	}
	return column.Annotation{Kind: kind, Logical: string(union.append(nil))}
}

func readTime(kind column.Kind, set *tValue) column.Annotation {
	a := column.Annotation{Kind: kind, UTC: set.bool(1, true)}
	if unit := set.field(2); unit != nil && len(unit.kids) > 0 {
		switch unit.kids[0].id {
		case 1:
			a.Unit = 1e6
		case 2:
			a.Unit = 1e3
		case 3:
			a.Unit = 1
		}
	}
	if a.Unit == 0 {
		return column.Annotation{Kind: column.Unknown}
	}
	return a
}

func readConvertedType(t deprecated.ConvertedType, e *tValue) column.Annotation {
	switch t {
	case deprecated.UTF8:
		return column.Annotation{Kind: column.String}
	case deprecated.Map:
		return column.Annotation{Kind: column.Map}
	case deprecated.MapKeyValue:
		return column.Annotation{Kind: column.MapKeyValue}
	case deprecated.List:
		return column.Annotation{Kind: column.List}
	case deprecated.Enum:
		return column.Annotation{Kind: column.Enum}
	case deprecated.Decimal:
		return column.Annotation{Kind: column.Decimal, Scale: int32(e.int(7, 0)), Precision: int32(e.int(8, 0))}
	case deprecated.Date:
		return column.Annotation{Kind: column.Date}
	case deprecated.TimeMillis:
		return column.Annotation{Kind: column.Time, Unit: 1e6, UTC: true}
	case deprecated.TimeMicros:
		return column.Annotation{Kind: column.Time, Unit: 1e3, UTC: true}
	case deprecated.TimestampMillis:
		return column.Annotation{Kind: column.Timestamp, Unit: 1e6, UTC: true}
	case deprecated.TimestampMicros:
		return column.Annotation{Kind: column.Timestamp, Unit: 1e3, UTC: true}
	case deprecated.Uint8, deprecated.Uint16, deprecated.Uint32, deprecated.Uint64:
		return column.Annotation{Kind: column.Int, Bits: 8 << (t - deprecated.Uint8), Unsigned: true}
	case deprecated.Int8, deprecated.Int16, deprecated.Int32, deprecated.Int64:
		return column.Annotation{Kind: column.Int, Bits: 8 << (t - deprecated.Int8)}
	case deprecated.Json:
		return column.Annotation{Kind: column.JSON}
	case deprecated.Bson:
		return column.Annotation{Kind: column.BSON}
	case deprecated.Interval:
		return column.Annotation{Kind: column.Interval}
	}
	return column.Annotation{Kind: column.Unknown}
}

// annotatesGroup reports whether an annotation may stand on a group.
func annotatesGroup(a column.Annotation) bool {
	switch a.Kind {
	case column.None, column.Unknown, column.List, column.Map, column.MapKeyValue, column.Variant:
		return true
	}
	return false
}

// annotates reports whether an annotation may stand on a leaf's physical type (LogicalTypes.md). In a file where one stands
// that may not, type or annotation is wrong, and nobody knows which.
func annotates(a column.Annotation, l *column.Leaf) bool {
	switch a.Kind {
	case column.None, column.Null, column.Unknown:
		return true
	case column.String, column.Enum, column.JSON, column.BSON, column.Geometry, column.Geography:
		return l.Type == format.ByteArray
	case column.UUID:
		return l.Type == format.FixedLenByteArray && l.Width == 16
	case column.Float16:
		return l.Type == format.FixedLenByteArray && l.Width == 2
	case column.Interval:
		return l.Type == format.FixedLenByteArray && l.Width == 12
	case column.Int:
		switch a.Bits {
		case 8, 16, 32:
			return l.Type == format.Int32
		}
		return a.Bits == 64 && l.Type == format.Int64
	case column.Date:
		return l.Type == format.Int32
	case column.Time:
		if a.Unit == 1e6 {
			return l.Type == format.Int32
		}
		return l.Type == format.Int64
	case column.Timestamp:
		return l.Type == format.Int64
	case column.Decimal:
		return a.Precision > 0 && a.Scale >= 0 && a.Scale <= a.Precision && holdsDecimal(a.Precision, l)
	}
	return false
}

// holdsDecimal reports whether a type has room for a precision.
func holdsDecimal(precision int32, l *column.Leaf) bool {
	switch l.Type {
	case format.Int32:
		return precision <= 9
	case format.Int64:
		return precision <= 18
	case format.ByteArray:
		return true
	case format.FixedLenByteArray:
		return float64(precision) <= math.Floor(float64(8*l.Width-1)*math.Log10(2))
	}
	return false
}
