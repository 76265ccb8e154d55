package column

import "github.com/parquet-go/parquet-go/format"

// Kind is what a schema element's annotation says its values mean, whichever of LogicalType and
// ConvertedType said it (parquet-format, LogicalTypes.md).
type Kind uint8

// The kinds. Int is every integer annotation; an INT32 or INT64 without one is None.
const (
	None Kind = iota
	String
	Enum
	JSON
	BSON
	UUID
	Int
	Decimal
	Date
	Time
	Timestamp
	Interval
	Float16
	Null
	List
	Map
	MapKeyValue
	Variant
	Geometry
	Geography
	Unknown // an annotation this version does not know: values are carried, not interpreted
)

// Annotation is a schema element's meaning.
type Annotation struct {
	Kind      Kind
	Bits      int   // Int
	Unsigned  bool  // Int
	Unit      int64 // Time, Timestamp: nanoseconds of one unit (1e6, 1e3, 1); INT96: 1e3 where its writer knows no finer one
	UTC       bool  // Time, Timestamp: isAdjustedToUTC (true for the converted types)
	Precision int32 // Decimal
	Scale     int32 // Decimal
	// Logical is the LogicalType of Geometry, Geography, Variant and Unknown as the file states it, in Thrift's compact
	// form: it has parameters that mean nothing here, and is written as it was read.
	Logical string
}

// Node is a schema element with its children; the root has no repetition.
type Node struct {
	Name       string
	Repetition format.FieldRepetitionType
	Annotation Annotation
	FieldID    *int32
	Children   []*Node // nil for a leaf
	Leaf       *Leaf   // nil for a group
	MaxDef     int     // including this node
	MaxRep     int
}

// Leaves lists the leaves below the node, in order; of a leaf itself.
func (n *Node) Leaves() []*Leaf {
	if n.Leaf != nil {
		return []*Leaf{n.Leaf}
	}
	var out []*Leaf
	for _, c := range n.Children {
		out = append(out, c.Leaves()...)
	}
	return out
}

// Leaf is a leaf column: its place in the file's schema and its type.
type Leaf struct {
	Index  int      // ordinal among the leaves of the schema
	Path   []string // names from below the root to the leaf
	Type   format.Type
	Width  int // bytes of a value: bool 1, INT96 12, FIXED_LEN_BYTE_ARRAY n, BYTE_ARRAY 0
	MaxDef int
	MaxRep int
	// RepDefs are, by repetition level from 1 on, the definition levels from which on the list of that level has an element: a slot
	// that goes on with it has no lower one. It is there for leaves that were read from a file.
	RepDefs    []uint8
	Annotation Annotation
}

// Flat reports whether the column has exactly one slot per row.
func (l *Leaf) Flat() bool { return l.MaxRep == 0 }

// Schema is a file's schema.
type Schema struct {
	Root   *Node
	Leaves []*Leaf
}
