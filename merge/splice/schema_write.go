package splice

import (
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Field ids of the LogicalType union (parquet.thrift).
const (
	logicalString    = 1
	logicalMap       = 2
	logicalList      = 3
	logicalEnum      = 4
	logicalDecimal   = 5
	logicalDate      = 6
	logicalTime      = 7
	logicalTimestamp = 8
	logicalInteger   = 10
	logicalUnknown   = 11
	logicalJSON      = 12
	logicalBSON      = 13
	logicalUUID      = 14
	logicalFloat16   = 15
	logicalVariant   = 16
	logicalGeometry  = 17
	logicalGeography = 18
)

// schemaElements writes a list of SchemaElement in depth-first order as field id of the open struct.
func (w *compactWriter) schemaElements(id int16, root *column.Node) {
	w.list(id, compactStruct, countNodes(root))
	w.schemaElement(root, true)
}

func countNodes(n *column.Node) int {
	count := 1
	for _, child := range n.Children {
		count += countNodes(child)
	}
	return count
}

func (w *compactWriter) schemaElement(n *column.Node, root bool) {
	w.begin()
	if n.Leaf != nil {
		w.int32(1, int32(n.Leaf.Type))
		if n.Leaf.Type == format.FixedLenByteArray {
			w.int32(2, int32(n.Leaf.Width))
		}
	}
	if !root {
		w.int32(3, int32(n.Repetition))
	}
	w.string(4, n.Name)
	if n.Leaf == nil {
		w.int32(5, int32(len(n.Children)))
	}
	if converted, ok := convertedType(n.Annotation); ok {
		w.int32(6, int32(converted))
	}
	if n.Annotation.Kind == column.Decimal {
		w.int32(7, n.Annotation.Scale)
		w.int32(8, n.Annotation.Precision)
	}
	if n.FieldID != nil {
		w.int32(9, *n.FieldID)
	}
	w.logicalType(10, n.Annotation)
	w.end()
	for _, child := range n.Children {
		w.schemaElement(child, false)
	}
}

// convertedType is the older annotation of the same meaning, for readers that know no other. Local
// times and nanoseconds have none.
func convertedType(a column.Annotation) (deprecated.ConvertedType, bool) {
	switch a.Kind {
	case column.String:
		return deprecated.UTF8, true
	case column.Map:
		return deprecated.Map, true
	case column.MapKeyValue:
		return deprecated.MapKeyValue, true
	case column.List:
		return deprecated.List, true
	case column.Enum:
		return deprecated.Enum, true
	case column.Decimal:
		return deprecated.Decimal, true
	case column.Date:
		return deprecated.Date, true
	case column.JSON:
		return deprecated.Json, true
	case column.BSON:
		return deprecated.Bson, true
	case column.Interval:
		return deprecated.Interval, true
	case column.Time:
		return convertedTime(a, deprecated.TimeMillis, deprecated.TimeMicros)
	case column.Timestamp:
		return convertedTime(a, deprecated.TimestampMillis, deprecated.TimestampMicros)
	case column.Int:
		return convertedInt(a)
	}
	return 0, false
}

func convertedTime(a column.Annotation, millis, micros deprecated.ConvertedType) (deprecated.ConvertedType, bool) {
	switch {
	case a.UTC && a.Unit == 1e6:
		return millis, true
	case a.UTC && a.Unit == 1e3:
		return micros, true
	}
	return 0, false
}

func convertedInt(a column.Annotation) (deprecated.ConvertedType, bool) {
	base := deprecated.Int8
	if a.Unsigned {
		base = deprecated.Uint8
	}
	switch a.Bits {
	case 8:
		return base, true
	case 16:
		return base + 1, true
	case 32:
		return base + 2, true
	case 64:
		return base + 3, true
	}
	return 0, false
}

// logicalType writes the LogicalType union as field id; nothing where the annotation has none.
func (w *compactWriter) logicalType(id int16, a column.Annotation) {
	if n := len(a.Logical); n > 0 {
		w.open(id)
		w.buf = append(w.buf, a.Logical[:n-1]...) // the struct's fields; what ends it follows
		w.end()
		return
	}
	member := logicalMember(a.Kind)
	if member == 0 {
		return
	}
	w.open(id)
	w.open(member)
	switch a.Kind {
	case column.Decimal:
		w.int32(1, a.Scale)
		w.int32(2, a.Precision)
	case column.Time, column.Timestamp:
		w.bool(1, a.UTC)
		w.open(2)
		w.open(timeUnit(a.Unit))
		w.end()
		w.end()
	case column.Int:
		w.int8(1, int8(a.Bits))
		w.bool(2, !a.Unsigned)
	}
	w.end()
	w.end()
}

// timeUnit is the field id in the TimeUnit union.
func timeUnit(nanos int64) int16 {
	switch nanos {
	case 1e6:
		return 1
	case 1e3:
		return 2
	}
	return 3
}

func logicalMember(k column.Kind) int16 {
	switch k {
	case column.String:
		return logicalString
	case column.Map:
		return logicalMap
	case column.List:
		return logicalList
	case column.Enum:
		return logicalEnum
	case column.Decimal:
		return logicalDecimal
	case column.Date:
		return logicalDate
	case column.Time:
		return logicalTime
	case column.Timestamp:
		return logicalTimestamp
	case column.Int:
		return logicalInteger
	case column.Null:
		return logicalUnknown
	case column.JSON:
		return logicalJSON
	case column.BSON:
		return logicalBSON
	case column.UUID:
		return logicalUUID
	case column.Float16:
		return logicalFloat16
	case column.Variant:
		return logicalVariant
	case column.Geometry:
		return logicalGeometry
	case column.Geography:
		return logicalGeography
	}
	return 0
}
