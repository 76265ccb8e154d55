package shred

import (
	"fmt"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// ParquetSchema makes the schema of a new file. Fields are optional unless the Arrow field is not
// nullable; lists have three levels and maps a key_value group; decimals lie on INT32 up to 9 digits,
// on INT64 up to 18, else on the narrowest FIXED_LEN_BYTE_ARRAY, as Spark writes them. Dictionaries
// become their value type, and types that Parquet lacks the nearest that holds every value:
// timestamp[s] and time32[s] become milliseconds, date64 becomes DATE. Durations, intervals of
// Arrow and unions are [ErrType].
func ParquetSchema(s *arrow.Schema) (*column.Schema, error) {
	b := schemaBuilder{schema: &column.Schema{Root: &column.Node{Name: "schema", Repetition: format.Required}}}
	for _, f := range s.Fields() {
		n, err := b.field(f, b.schema.Root, nil)
		if err != nil {
			return nil, fmt.Errorf("column %s: %w", f.Name, err)
		}
		b.schema.Root.Children = append(b.schema.Root.Children, n)
	}
	return b.schema, nil
}

type schemaBuilder struct{ schema *column.Schema }

// node makes a node below parent and counts its levels.
func node(name string, r format.FieldRepetitionType, parent *column.Node) *column.Node {
	n := &column.Node{Name: name, Repetition: r, MaxDef: parent.MaxDef, MaxRep: parent.MaxRep}
	if r != format.Required {
		n.MaxDef++
	}
	if r == format.Repeated {
		n.MaxRep++
	}
	return n
}

func (b *schemaBuilder) field(f arrow.Field, parent *column.Node, path []string) (*column.Node, error) {
	if len(path) > maxNesting {
		return nil, fmt.Errorf("%w: nested deeper than %d", ErrType, maxNesting)
	}
	r := format.Required
	if f.Nullable {
		r = format.Optional
	}
	n := node(f.Name, r, parent)
	n.FieldID = fieldID(f.Metadata)
	path = append(path[:len(path):len(path)], f.Name)
	switch t := storageType(f.Type).(type) {
	case *arrow.StructType:
		if kind, ok := f.Metadata.GetValue(MetaKind); ok {
			n.Annotation = logicalOf(kind)
		}
		return n, b.children(n, t.Fields(), path)
	case *arrow.MapType:
		n.Annotation.Kind = column.Map
		entries := node("key_value", format.Repeated, n)
		n.Children = []*column.Node{entries}
		key, value := t.KeyField(), t.ItemField()
		key.Name, key.Nullable, value.Name = "key", false, "value"
		return n, b.children(entries, []arrow.Field{key, value}, append(path, "key_value"))
	case arrow.ListLikeType:
		n.Annotation.Kind = column.List
		entries := node("list", format.Repeated, n)
		n.Children = []*column.Node{entries}
		element := t.ElemField()
		element.Name = "element"
		return n, b.children(entries, []arrow.Field{element}, append(path, "list"))
	default:
		return n, b.leaf(n, t, f.Metadata, path)
	}
}

func (b *schemaBuilder) children(n *column.Node, fields []arrow.Field, path []string) error {
	if len(fields) == 0 {
		return fmt.Errorf("%w: a struct without fields has no place in Parquet", ErrType)
	}
	for _, f := range fields {
		child, err := b.field(f, n, path)
		if err != nil {
			return fmt.Errorf("field %s: %w", f.Name, err)
		}
		n.Children = append(n.Children, child)
	}
	return nil
}

func (b *schemaBuilder) leaf(n *column.Node, t arrow.DataType, m arrow.Metadata, path []string) error {
	l := &column.Leaf{Index: len(b.schema.Leaves), Path: path, MaxDef: n.MaxDef, MaxRep: n.MaxRep}
	kind, _ := m.GetValue(MetaKind)
	if err := physical(l, t, kind); err != nil {
		return err
	}
	if a := logicalOf(kind); l.Annotation == (column.Annotation{}) {
		l.Annotation = a
	}
	n.Leaf, n.Annotation = l, l.Annotation
	b.schema.Leaves = append(b.schema.Leaves, l)
	return nil
}

func fieldID(m arrow.Metadata) *int32 {
	text, ok := m.GetValue(MetaFieldID)
	if !ok {
		return nil
	}
	id, err := strconv.ParseInt(text, 10, 32)
	if err != nil || id < 0 {
		return nil
	}
	id32 := int32(id)
	return &id32
}

// storageType sees through dictionaries, run ends and extensions.
func storageType(t arrow.DataType) arrow.DataType {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return storageType(t.ValueType)
	case *arrow.RunEndEncodedType:
		return storageType(t.Encoded())
	case arrow.ExtensionType:
		return storageType(t.StorageType())
	}
	return t
}

// physical sets a leaf's type, width and annotation for values of an Arrow type.
func physical(l *column.Leaf, t arrow.DataType, kind string) error {
	set := func(p format.Type, width int, a column.Annotation) error {
		l.Type, l.Width, l.Annotation = p, width, a
		return nil
	}
	integer := func(bits int, unsigned bool) error {
		p, w := format.Int32, 4
		if bits == 64 {
			p, w = format.Int64, 8
		}
		return set(p, w, column.Annotation{Kind: column.Int, Bits: bits, Unsigned: unsigned})
	}
	switch t := t.(type) {
	case *arrow.NullType:
		return set(format.Int32, 4, column.Annotation{Kind: column.Null})
	case *arrow.BooleanType:
		return set(format.Boolean, 1, column.Annotation{})
	case *arrow.Int8Type:
		return integer(8, false)
	case *arrow.Int16Type:
		return integer(16, false)
	case *arrow.Uint8Type:
		return integer(8, true)
	case *arrow.Uint16Type:
		return integer(16, true)
	case *arrow.Uint32Type:
		return integer(32, true)
	case *arrow.Uint64Type:
		return integer(64, true)
	case *arrow.Int32Type:
		return set(format.Int32, 4, column.Annotation{})
	case *arrow.Int64Type:
		return set(format.Int64, 8, column.Annotation{})
	case *arrow.Float16Type:
		return set(format.FixedLenByteArray, 2, column.Annotation{Kind: column.Float16})
	case *arrow.Float32Type:
		return set(format.Float, 4, column.Annotation{})
	case *arrow.Float64Type:
		return set(format.Double, 8, column.Annotation{})
	case *arrow.Date32Type, *arrow.Date64Type:
		return set(format.Int32, 4, column.Annotation{Kind: column.Date})
	case *arrow.Time32Type:
		return set(format.Int32, 4, column.Annotation{Kind: column.Time, Unit: 1e6, UTC: true})
	case *arrow.Time64Type:
		return set(format.Int64, 8, column.Annotation{Kind: column.Time, Unit: int64(t.Unit.Multiplier()), UTC: true})
	case *arrow.TimestampType:
		if kind == "INT96" {
			a := column.Annotation{}
			if t.Unit != arrow.Nanosecond {
				a.Unit = 1e3
			}
			return set(format.Int96, 12, a)
		}
		unit := min(int64(t.Unit.Multiplier()), 1e6)
		return set(format.Int64, 8, column.Annotation{Kind: column.Timestamp, Unit: unit, UTC: t.TimeZone != ""})
	case arrow.DecimalType:
		return decimalPhysical(t, set)
	case *arrow.StringType, *arrow.LargeStringType, *arrow.StringViewType:
		return set(format.ByteArray, 0, column.Annotation{Kind: textKind(kind)})
	case *arrow.BinaryType, *arrow.LargeBinaryType, *arrow.BinaryViewType:
		a := column.Annotation{}
		if kind == "BSON" {
			a.Kind = column.BSON
		}
		return set(format.ByteArray, 0, a)
	case *arrow.FixedSizeBinaryType:
		return set(format.FixedLenByteArray, t.ByteWidth, column.Annotation{Kind: fixedKind(kind, t.ByteWidth)})
	}
	return fmt.Errorf("%w: Parquet has no type for %s", ErrType, t)
}

func decimalPhysical(t arrow.DecimalType, set func(format.Type, int, column.Annotation) error) error {
	a := column.Annotation{Kind: column.Decimal, Precision: t.GetPrecision(), Scale: t.GetScale()}
	switch {
	case a.Scale < 0 || a.Scale > a.Precision:
		return fmt.Errorf("%w: Parquet has no %s", ErrType, t)
	case a.Precision <= 9:
		return set(format.Int32, 4, a)
	case a.Precision <= 18:
		return set(format.Int64, 8, a)
	}
	return set(format.FixedLenByteArray, decimalWidth(a.Precision), a)
}

// decimalWidth is the least number of bytes whose two's complement holds every value of a precision.
func decimalWidth(precision int32) int { return pow10(int(precision)).BitLen()/8 + 1 }

func textKind(kind string) column.Kind {
	switch kind {
	case "ENUM":
		return column.Enum
	case "JSON":
		return column.JSON
	}
	return column.String
}

func fixedKind(kind string, width int) column.Kind {
	switch {
	case kind == "UUID" && width == 16:
		return column.UUID
	case kind == "INTERVAL" && width == 12:
		return column.Interval
	}
	return column.None
}
