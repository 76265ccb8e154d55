package shred

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Keys of a field's metadata.
const (
	// MetaFieldID holds the Parquet field id, under the name that Arrow's own Parquet modules use.
	MetaFieldID = "PARQUET:field_id"
	// MetaKind holds what Arrow's types have no word for: INT96, ENUM, JSON, BSON, UUID or INTERVAL; GEOMETRY,
	// GEOGRAPHY, VARIANT and UNKNOWN with the LogicalType in hexadecimal behind a colon. [ParquetSchema] makes that
	// column again of it.
	MetaKind = "hupsert.parquet"
)

const maxNesting = 100

var kindNames = map[column.Kind]string{
	column.Enum: "ENUM", column.JSON: "JSON", column.BSON: "BSON", column.UUID: "UUID", column.Interval: "INTERVAL",
	column.Geometry: "GEOMETRY", column.Geography: "GEOGRAPHY", column.Variant: "VARIANT", column.Unknown: "UNKNOWN",
}

// ArrowSchema maps a Parquet schema field by field, in its order:
//
//	BOOLEAN                         bool
//	INT32, INT64, INT(bits, sign)   int8 .. int64, uint8 .. uint64
//	FLOAT, DOUBLE, FLOAT16          float32, float64, float16
//	DECIMAL(p, s) on any type       decimal128, above 38 digits decimal256
//	DATE, TIME                      date32, time32[ms], time64[us, ns]
//	TIMESTAMP                       timestamp[unit], zone "UTC" when UTC-adjusted, else none
//	INT96                           timestamp[ns], Spark's timestamp[us], without zone, marked in the field's metadata
//	STRING, ENUM, JSON              utf8
//	BYTE_ARRAY, BSON                binary
//	FIXED_LEN_BYTE_ARRAY, UUID,
//	INTERVAL                        fixed_size_binary
//	NULL                            null
//	groups, LIST, MAP               struct, list, map, including the legacy layouts of lists
func ArrowSchema(s *column.Schema) (*arrow.Schema, error) {
	fields := make([]arrow.Field, 0, len(s.Root.Children))
	for _, n := range s.Root.Children {
		f, err := ArrowField(n)
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
	}
	return arrow.NewSchema(fields, nil), nil
}

// ArrowField maps one top-level field, as [ArrowSchema] does.
func ArrowField(node *column.Node) (arrow.Field, error) {
	sh, err := shapeOf(node)
	if err != nil {
		return arrow.Field{}, err
	}
	return sh.field(), nil
}

func fieldMetadata(n *column.Node) arrow.Metadata {
	var keys, vals []string
	if n.FieldID != nil {
		keys, vals = append(keys, MetaFieldID), append(vals, strconv.Itoa(int(*n.FieldID)))
	}
	kind := kindNames[n.Annotation.Kind]
	if n.Leaf != nil && n.Leaf.Type == format.Int96 {
		kind = "INT96"
	}
	if logical := n.Annotation.Logical; logical != "" {
		kind += ":" + hex.EncodeToString([]byte(logical))
	} else if n.Leaf == nil || n.Annotation.Kind == column.Unknown {
		kind = ""
	}
	if kind != "" {
		keys, vals = append(keys, MetaKind), append(vals, kind)
	}
	return arrow.NewMetadata(keys, vals)
}

// logicalOf is the annotation that MetaKind holds as a LogicalType; the zero value where it holds none.
func logicalOf(kind string) column.Annotation {
	name, text, ok := strings.Cut(kind, ":")
	logical, err := hex.DecodeString(text)
	if !ok || err != nil {
		return column.Annotation{}
	}
	for k, known := range kindNames {
		if known == name {
			return column.Annotation{Kind: k, Logical: string(logical)}
		}
	}
	return column.Annotation{}
}

// KindOnly is a field's metadata without all but [MetaKind]: lengths are declared, and not taken from a source.
func KindOnly(m arrow.Metadata) arrow.Metadata {
	kind, ok := m.GetValue(MetaKind)
	if !ok {
		return arrow.Metadata{}
	}
	return arrow.NewMetadata([]string{MetaKind}, []string{kind})
}

var units = map[int64]arrow.TimeUnit{1: arrow.Nanosecond, 1e3: arrow.Microsecond, 1e6: arrow.Millisecond, 1e9: arrow.Second}

// leafType is the Arrow type of a leaf's values. An annotation that contradicts the physical type is
// an error: guessing would change values.
func leafType(l *column.Leaf) (arrow.DataType, error) {
	a := l.Annotation
	contradiction := fmt.Errorf("%w: annotation does not fit physical type %s", ErrType, l.Type)
	switch a.Kind {
	case column.Null:
		return arrow.Null, nil
	case column.Decimal:
		return decimalType(l)
	case column.Int:
		return intType(l, contradiction)
	case column.Date:
		if l.Type != format.Int32 {
			return nil, contradiction
		}
		return arrow.FixedWidthTypes.Date32, nil
	case column.Time:
		unit, ok := units[a.Unit]
		switch {
		case ok && l.Type == format.Int32 && unit == arrow.Millisecond:
			return &arrow.Time32Type{Unit: unit}, nil
		case ok && l.Type == format.Int64 && (unit == arrow.Microsecond || unit == arrow.Nanosecond):
			return &arrow.Time64Type{Unit: unit}, nil
		}
		return nil, contradiction
	case column.Timestamp:
		unit, ok := units[a.Unit]
		if !ok || l.Type != format.Int64 {
			return nil, contradiction
		}
		return &arrow.TimestampType{Unit: unit, TimeZone: zoneName(a.UTC)}, nil
	case column.Float16:
		if l.Type != format.FixedLenByteArray || l.Width != 2 {
			return nil, contradiction
		}
		return arrow.FixedWidthTypes.Float16, nil
	case column.String, column.Enum, column.JSON:
		if l.Type == format.ByteArray {
			return arrow.BinaryTypes.String, nil
		}
	}
	return physicalType(l)
}

func zoneName(utc bool) string {
	if utc {
		return "UTC"
	}
	return ""
}

func physicalType(l *column.Leaf) (arrow.DataType, error) {
	switch l.Type {
	case format.Boolean:
		return arrow.FixedWidthTypes.Boolean, nil
	case format.Int32:
		return arrow.PrimitiveTypes.Int32, nil
	case format.Int64:
		return arrow.PrimitiveTypes.Int64, nil
	case format.Int96:
		return &arrow.TimestampType{Unit: units[max(l.Annotation.Unit, 1)]}, nil
	case format.Float:
		return arrow.PrimitiveTypes.Float32, nil
	case format.Double:
		return arrow.PrimitiveTypes.Float64, nil
	case format.ByteArray:
		return arrow.BinaryTypes.Binary, nil
	case format.FixedLenByteArray:
		return &arrow.FixedSizeBinaryType{ByteWidth: l.Width}, nil
	}
	return nil, fmt.Errorf("%w: unknown physical type %d", ErrType, l.Type)
}

func intType(l *column.Leaf, contradiction error) (arrow.DataType, error) {
	a := l.Annotation
	fits := l.Type == format.Int32 && a.Bits <= 32 || l.Type == format.Int64 && a.Bits == 64
	t, ok := map[int][2]arrow.DataType{
		8:  {arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Uint8},
		16: {arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Uint16},
		32: {arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Uint32},
		64: {arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Uint64},
	}[a.Bits]
	switch {
	case !ok || !fits:
		return nil, contradiction
	case a.Unsigned:
		return t[1], nil
	}
	return t[0], nil
}

func decimalType(l *column.Leaf) (arrow.DataType, error) {
	p, s := l.Annotation.Precision, l.Annotation.Scale
	most := int32(76)
	switch l.Type {
	case format.Int32:
		most = 9
	case format.Int64:
		most = 18
	case format.ByteArray, format.FixedLenByteArray:
	default:
		return nil, fmt.Errorf("%w: decimal on %s", ErrType, l.Type)
	}
	// Writers are known that declare up to ten and nineteen digits on INT32 and INT64.
	if p < 1 || s < 0 || s > p || p > most+1 || p > 76 {
		return nil, fmt.Errorf("%w: decimal(%d,%d) on %s", ErrType, p, s, l.Type)
	}
	if p > 38 {
		return &arrow.Decimal256Type{Precision: p, Scale: s}, nil
	}
	return &arrow.Decimal128Type{Precision: p, Scale: s}, nil
}
