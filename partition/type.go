package partition

import (
	"fmt"
	"strconv"
	"strings"
	"unicode"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
)

// ParseSchema reads column definitions as in CREATE TABLE: "id bigint, amount decimal(12,2) not
// null, tags array<string>". A ':' may stand between name and type; a name may be quoted with
// backticks. The lengths of char(n) and varchar(n) stay with the columns ([shred.LengthOf]), not with what lies in
// lists, maps and structs.
func ParseSchema(text string) (*arrow.Schema, error) {
	p := &ddl{text: text}
	var fields []arrow.Field
	seen := make(map[string]bool)
	for {
		f, err := p.field()
		if err != nil {
			return nil, fault(ErrUsage, "schema: %v", err)
		}
		fold := strings.ToLower(f.Name)
		if seen[fold] {
			return nil, fault(ErrUsage, "schema: column %s stands twice", f.Name)
		}
		seen[fold] = true
		if p.length.Max > 0 && f.Type.ID() == arrow.STRING {
			f = p.length.On(f)
		}
		p.length = shred.Length{}
		fields = append(fields, f)
		if p.end() {
			return arrow.NewSchema(fields, nil), nil
		}
		if !p.take(",") {
			return nil, fault(ErrUsage, "schema: %v", p.unexpected("\",\""))
		}
	}
}

// ParseType reads one type: boolean, tinyint, smallint, int, bigint, float, double, decimal(p,s),
// string, varchar(n), char(n), binary, date, timestamp, timestamp_ntz, array<T>, map<K,V>,
// struct<name:T,...>; timestamps take a precision of 3, 6 (the default) or 9. Arrow's names are read as
// well: int64, utf8, timestamp[us, tz=UTC].
func ParseType(text string) (arrow.DataType, error) {
	p := &ddl{text: text}
	t, err := p.dataType()
	if err == nil && !p.end() {
		err = p.unexpected("the end")
	}
	if err != nil {
		return nil, fault(ErrUsage, "type %q: %v", text, err)
	}
	return t, nil
}

// ddl is a recursive descent over column definitions.
type ddl struct {
	text  string
	at    int
	depth int
	// length is that of the last char(n) or varchar(n).
	length shred.Length
}

// maxTypeDepth bounds how deep types nest, so that hostile text can't exhaust the stack.
const maxTypeDepth = 64

func (p *ddl) space() {
	for p.at < len(p.text) && unicode.IsSpace(rune(p.text[p.at])) {
		p.at++
	}
}

func (p *ddl) end() bool {
	p.space()
	return p.at == len(p.text)
}

func (p *ddl) take(token string) bool {
	p.space()
	if strings.HasPrefix(p.text[p.at:], token) {
		p.at += len(token)
		return true
	}
	return false
}

func (p *ddl) unexpected(want string) error {
	rest := p.text[p.at:]
	if len(rest) > 20 {
		rest = rest[:20] + "..."
	}
	if rest == "" {
		return fmt.Errorf("want %s at the end of %q", want, p.text)
	}
	return fmt.Errorf("want %s at %q", want, rest)
}

func (p *ddl) word() string {
	p.space()
	start := p.at
	for p.at < len(p.text) {
		c := p.text[p.at]
		if c != '_' && c != '.' && c < 0x80 && !unicode.IsLetter(rune(c)) && !unicode.IsDigit(rune(c)) {
			break
		}
		p.at++
	}
	return p.text[start:p.at]
}

func (p *ddl) name() (string, error) {
	if p.take("`") {
		end := strings.IndexByte(p.text[p.at:], '`')
		if end <= 0 {
			return "", p.unexpected("a quoted name")
		}
		name := p.text[p.at : p.at+end]
		p.at += end + 1
		return name, nil
	}
	if name := p.word(); name != "" {
		return name, nil
	}
	return "", p.unexpected("a name")
}

func (p *ddl) field() (arrow.Field, error) {
	name, err := p.name()
	if err != nil {
		return arrow.Field{}, err
	}
	p.take(":")
	t, err := p.dataType()
	if err != nil {
		return arrow.Field{}, fmt.Errorf("column %s: %w", name, err)
	}
	f := arrow.Field{Name: name, Type: t, Nullable: true}
	start := p.at
	if strings.EqualFold(p.word(), "not") && strings.EqualFold(p.word(), "null") {
		f.Nullable = false
	} else {
		p.at = start
	}
	return f, nil
}

// simpleTypes are the types without parameters.
var simpleTypes = map[string]arrow.DataType{
	"boolean": arrow.FixedWidthTypes.Boolean, "bool": arrow.FixedWidthTypes.Boolean,
	"tinyint": arrow.PrimitiveTypes.Int8, "smallint": arrow.PrimitiveTypes.Int16,
	"int": arrow.PrimitiveTypes.Int32, "integer": arrow.PrimitiveTypes.Int32,
	"bigint": arrow.PrimitiveTypes.Int64, "long": arrow.PrimitiveTypes.Int64,
	"utinyint": arrow.PrimitiveTypes.Uint8, "usmallint": arrow.PrimitiveTypes.Uint16,
	"uinteger": arrow.PrimitiveTypes.Uint32, "ubigint": arrow.PrimitiveTypes.Uint64,
	"float": arrow.PrimitiveTypes.Float32, "real": arrow.PrimitiveTypes.Float32, "double": arrow.PrimitiveTypes.Float64,
	"string": arrow.BinaryTypes.String, "text": arrow.BinaryTypes.String,
	"binary": arrow.BinaryTypes.Binary, "date": arrow.FixedWidthTypes.Date32,

	// Arrow's names, as errors and other tools have them.
	"int8": arrow.PrimitiveTypes.Int8, "int16": arrow.PrimitiveTypes.Int16, "int32": arrow.PrimitiveTypes.Int32, "int64": arrow.PrimitiveTypes.Int64,
	"uint8": arrow.PrimitiveTypes.Uint8, "uint16": arrow.PrimitiveTypes.Uint16, "uint32": arrow.PrimitiveTypes.Uint32, "uint64": arrow.PrimitiveTypes.Uint64,
	"float32": arrow.PrimitiveTypes.Float32, "float64": arrow.PrimitiveTypes.Float64, "utf8": arrow.BinaryTypes.String, "date32": arrow.FixedWidthTypes.Date32,
}

func (p *ddl) dataType() (arrow.DataType, error) {
	if p.depth++; p.depth > maxTypeDepth {
		return nil, fmt.Errorf("types nest deeper than %d", maxTypeDepth)
	}
	defer func() { p.depth-- }()
	start := p.at
	word := strings.ToLower(p.word())
	if t, ok := simpleTypes[word]; ok {
		return t, nil
	}
	switch word {
	case "varchar", "char":
		return p.sized(word == "char")
	case "decimal", "numeric":
		return p.decimal()
	case "timestamp", "timestamptz", "timestamp_ltz":
		return p.timestamp("UTC")
	case "timestamp_ntz", "datetime":
		return p.timestamp("")
	case "array":
		return p.array()
	case "map":
		return p.mapping()
	case "struct":
		return p.structure()
	}
	p.at = start
	if word := p.word(); word != "" {
		return nil, fmt.Errorf("there is no type %s", word)
	}
	return nil, p.unexpected("a type")
}

// numbers reads "(n)" or "(n,m)" where it stands; nil where it does not.
func (p *ddl) numbers(most int) ([]int, error) {
	if !p.take("(") {
		return nil, nil
	}
	var out []int
	for {
		n, err := strconv.Atoi(p.word())
		if err != nil {
			return nil, p.unexpected("a number")
		}
		out = append(out, n)
		if p.take(")") {
			return out, nil
		}
		if len(out) == most || !p.take(",") {
			return nil, p.unexpected("\")\"")
		}
	}
}

// sized reads the length of a char(n) or varchar(n); without one it is a string.
func (p *ddl) sized(char bool) (arrow.DataType, error) {
	n, err := p.numbers(1)
	if err != nil {
		return nil, err
	}
	if len(n) == 1 {
		p.length = shred.Length{Char: char, Max: n[0]}
		if n[0] < 1 {
			return nil, fmt.Errorf("%s: want a length of 1 or more", p.length)
		}
	}
	return arrow.BinaryTypes.String, nil
}

func (p *ddl) decimal() (arrow.DataType, error) {
	n, err := p.numbers(2)
	if err != nil {
		return nil, err
	}
	precision, scale := 10, 0 // Hive's decimal without parameters
	if len(n) > 0 {
		precision = n[0]
	}
	if len(n) > 1 {
		scale = n[1]
	}
	if precision < 1 || precision > 76 || scale < 0 || scale > precision {
		return nil, fmt.Errorf("decimal(%d,%d): want a precision of 1 to 76 and a scale of 0 to the precision", precision, scale)
	}
	if precision > 38 {
		return &arrow.Decimal256Type{Precision: int32(precision), Scale: int32(scale)}, nil
	}
	return &arrow.Decimal128Type{Precision: int32(precision), Scale: int32(scale)}, nil
}

// arrowUnits are the units of timestamps in Arrow's names.
var arrowUnits = map[string]arrow.TimeUnit{"s": arrow.Second, "ms": arrow.Millisecond, "us": arrow.Microsecond, "ns": arrow.Nanosecond}

// arrowTimestamp reads what follows "timestamp[" in Arrow's names: "us]" or "us, tz=UTC]".
func (p *ddl) arrowTimestamp() (arrow.DataType, error) {
	unit, ok := arrowUnits[p.word()]
	if !ok {
		return nil, p.unexpected("a unit: s, ms, us or ns")
	}
	t := &arrow.TimestampType{Unit: unit}
	if p.take(",") {
		end := strings.IndexByte(p.text[p.at:], ']')
		zone, ok := "", false
		if end >= 0 {
			zone, ok = strings.CutPrefix(strings.TrimSpace(p.text[p.at:p.at+end]), "tz=")
		}
		if !ok || zone == "" {
			return nil, p.unexpected("tz=ZONE]")
		}
		// An instant is one in every zone.
		t.TimeZone = "UTC"
		p.at += end
	}
	if !p.take("]") {
		return nil, p.unexpected("\"]\"")
	}
	return t, nil
}

func (p *ddl) timestamp(zone string) (arrow.DataType, error) {
	if p.take("[") {
		return p.arrowTimestamp()
	}
	n, err := p.numbers(1)
	if err != nil {
		return nil, err
	}
	unit := arrow.Microsecond
	if len(n) == 1 {
		switch n[0] {
		case 3:
			unit = arrow.Millisecond
		case 6:
		case 9:
			unit = arrow.Nanosecond
		default:
			return nil, fmt.Errorf("timestamp(%d): want 3, 6 or 9", n[0])
		}
	}
	return &arrow.TimestampType{Unit: unit, TimeZone: zone}, nil
}

func (p *ddl) array() (arrow.DataType, error) {
	if !p.take("<") {
		return nil, p.unexpected("\"<\"")
	}
	element, err := p.dataType()
	if err != nil {
		return nil, err
	}
	if !p.take(">") {
		return nil, p.unexpected("\">\"")
	}
	return arrow.ListOfField(arrow.Field{Name: "element", Type: element, Nullable: true}), nil
}

func (p *ddl) mapping() (arrow.DataType, error) {
	if !p.take("<") {
		return nil, p.unexpected("\"<\"")
	}
	key, err := p.dataType()
	if err != nil {
		return nil, err
	}
	if !p.take(",") {
		return nil, p.unexpected("\",\"")
	}
	value, err := p.dataType()
	if err != nil {
		return nil, err
	}
	if !p.take(">") {
		return nil, p.unexpected("\">\"")
	}
	return arrow.MapOf(key, value), nil
}

func (p *ddl) structure() (arrow.DataType, error) {
	if !p.take("<") {
		return nil, p.unexpected("\"<\"")
	}
	var fields []arrow.Field
	for {
		f, err := p.field()
		if err != nil {
			return nil, err
		}
		fields = append(fields, f)
		if p.take(">") {
			return arrow.StructOf(fields...), nil
		}
		if !p.take(",") {
			return nil, p.unexpected("\",\" or \">\"")
		}
	}
}

// TypeName writes a type in the words of ParseType; types it has no word for are written in Arrow's.
func TypeName(t arrow.DataType) string {
	switch t := t.(type) {
	case *arrow.Decimal128Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case *arrow.Decimal256Type:
		return fmt.Sprintf("decimal(%d,%d)", t.Precision, t.Scale)
	case *arrow.TimestampType:
		return timestampName(t)
	case *arrow.MapType:
		return "map<" + TypeName(t.KeyType()) + "," + TypeName(t.ItemType()) + ">"
	case arrow.ListLikeType:
		return "array<" + TypeName(t.Elem()) + ">"
	case *arrow.StructType:
		parts := make([]string, t.NumFields())
		for i, f := range t.Fields() {
			parts[i] = quoteName(f.Name) + ":" + TypeName(f.Type)
		}
		return "struct<" + strings.Join(parts, ",") + ">"
	case *arrow.DictionaryType:
		return TypeName(t.ValueType)
	}
	if name, ok := typeNames[t.ID()]; ok {
		return name
	}
	return t.String()
}

// fieldType is the type of a table's column: [TypeName], but for a declared char(n) or varchar(n).
func fieldType(f arrow.Field) string {
	if length, ok := shred.LengthOf(f); ok {
		return length.String()
	}
	return TypeName(f.Type)
}

var typeNames = map[arrow.Type]string{
	arrow.BOOL: "boolean", arrow.INT8: "tinyint", arrow.INT16: "smallint", arrow.INT32: "int", arrow.INT64: "bigint",
	arrow.UINT8: "utinyint", arrow.UINT16: "usmallint", arrow.UINT32: "uinteger", arrow.UINT64: "ubigint",
	arrow.FLOAT32: "float", arrow.FLOAT64: "double", arrow.STRING: "string", arrow.LARGE_STRING: "string",
	arrow.BINARY: "binary", arrow.LARGE_BINARY: "binary", arrow.DATE32: "date",
}

func timestampName(t *arrow.TimestampType) string {
	name := "timestamp"
	if t.TimeZone == "" {
		name = "timestamp_ntz"
	}
	switch t.Unit {
	case arrow.Second, arrow.Millisecond:
		return name + "(3)"
	case arrow.Nanosecond:
		return name + "(9)"
	}
	return name
}

// quoteName writes a column's name so that ParseSchema reads it back.
func quoteName(name string) string {
	for _, r := range name {
		if r != '_' && r < 0x80 && !unicode.IsLetter(r) && !unicode.IsDigit(r) {
			return "`" + name + "`"
		}
	}
	return name
}

// FormatSchema writes a schema in the words of ParseSchema.
func FormatSchema(s *arrow.Schema) string {
	parts := make([]string, s.NumFields())
	for i, f := range s.Fields() {
		parts[i] = quoteName(f.Name) + " " + fieldType(f)
		if !f.Nullable {
			parts[i] += " not null"
		}
	}
	return strings.Join(parts, ", ")
}
