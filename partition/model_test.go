package partition

import (
	"cmp"
	"encoding/json"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
)

// The values of the model do not depend on how a file has them: nil for NULL, int64 for integers, days,
// microseconds and decimals (of scale 4), float64, bool, string for texts and bytes, and []any for lists,
// for the two fields of structs, and for maps, of which each entry is a []any of key and value.

// kind is what the values of a column are, whatever type a file has for them.
type kind int

const (
	integers kind = iota
	floats
	decimals
	dates
	instants
	texts
	truths
	blobs
	fixed
	lists
	structs
	mappings
)

const modelScale = 4

// typesOf are the types in which files of a table have a kind.
func typesOf(k kind, zone string) []arrow.DataType {
	switch k {
	case integers:
		return []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int8}
	case floats:
		return []arrow.DataType{arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32}
	case decimals:
		return []arrow.DataType{&arrow.Decimal128Type{Precision: 18, Scale: 4}, &arrow.Decimal128Type{Precision: 9, Scale: 2},
			&arrow.Decimal128Type{Precision: 30, Scale: 6}, &arrow.Decimal128Type{Precision: 18, Scale: 2}}
	case dates:
		return []arrow.DataType{arrow.FixedWidthTypes.Date32}
	case instants:
		return []arrow.DataType{&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}, &arrow.TimestampType{Unit: arrow.Millisecond, TimeZone: zone}}
	case texts:
		return []arrow.DataType{arrow.BinaryTypes.String}
	case truths:
		return []arrow.DataType{arrow.FixedWidthTypes.Boolean}
	case blobs:
		return []arrow.DataType{arrow.BinaryTypes.Binary}
	case fixed:
		return []arrow.DataType{&arrow.FixedSizeBinaryType{ByteWidth: 6}}
	case lists:
		return []arrow.DataType{arrow.ListOf(arrow.PrimitiveTypes.Int64)}
	case structs:
		return []arrow.DataType{structOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.String, false)}
	default:
		return []arrow.DataType{arrow.MapOf(arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int64)}
	}
}

func structOf(a, b arrow.DataType, turned bool) arrow.DataType {
	fields := []arrow.Field{{Name: "a", Type: a, Nullable: true}, {Name: "b", Type: b, Nullable: true}}
	if turned {
		slices.Reverse(fields)
	}
	return arrow.StructOf(fields...)
}

// sourceTypesOf are further types in which a source may bring a kind.
func sourceTypesOf(k kind, zone string) []arrow.DataType {
	switch k {
	case integers:
		return []arrow.DataType{arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64}
	case decimals:
		return []arrow.DataType{&arrow.Decimal128Type{Precision: 38, Scale: 10}, &arrow.Decimal128Type{Precision: 12, Scale: 4}}
	case dates:
		return []arrow.DataType{arrow.FixedWidthTypes.Date64}
	case instants:
		if zone != "" {
			zone = "Asia/Seoul"
		}
		return []arrow.DataType{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: zone}, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: zone}}
	case texts:
		return []arrow.DataType{arrow.BinaryTypes.LargeString, arrow.BinaryTypes.Binary,
			&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int16, ValueType: arrow.BinaryTypes.String}}
	case blobs, fixed:
		return []arrow.DataType{arrow.BinaryTypes.Binary, arrow.BinaryTypes.LargeBinary}
	case lists:
		return []arrow.DataType{arrow.ListOf(arrow.PrimitiveTypes.Int32), arrow.ListOf(arrow.PrimitiveTypes.Int16)}
	case structs:
		return []arrow.DataType{structOf(arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String, true), structOf(arrow.PrimitiveTypes.Int64, arrow.BinaryTypes.Binary, false)}
	}
	return nil
}

// holds reports whether a type holds a value exactly.
func holds(t arrow.DataType, v any) bool {
	switch v := v.(type) {
	case int64:
		return holdsNumber(t, v)
	case float64:
		return t.ID() != arrow.FLOAT32 || v != v || float64(float32(v)) == v
	case string:
		f, ok := t.(*arrow.FixedSizeBinaryType)
		return !ok || len(v) == f.ByteWidth
	case []any:
		for i, e := range v {
			switch t := t.(type) {
			case *arrow.ListType:
				if !holds(t.Elem(), e) {
					return false
				}
			case *arrow.StructType:
				if f, _ := t.FieldByName([]string{"a", "b"}[i]); !holds(f.Type, e) {
					return false
				}
			}
		}
	}
	return true
}

func holdsNumber(t arrow.DataType, n int64) bool {
	switch t := t.(type) {
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type:
		limit := int64(1) << (t.(arrow.FixedWidthDataType).BitWidth() - 1)
		return n >= -limit && n < limit
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type:
		return n >= 0 && n < int64(1)<<t.(arrow.FixedWidthDataType).BitWidth()
	case *arrow.Uint64Type:
		return n >= 0
	case *arrow.Decimal128Type:
		digits := len(strings.TrimLeft(strconv.FormatInt(n, 10), "-0"))
		if t.Scale < modelScale && n%power(modelScale-t.Scale) != 0 {
			return false
		}
		return n == 0 || digits+int(t.Scale)-modelScale <= int(t.Precision)
	case *arrow.TimestampType:
		if t.Unit == arrow.Nanosecond {
			return n > -math.MaxInt64/1000 && n < math.MaxInt64/1000
		}
		return n%microseconds(t.Unit) == 0
	}
	return true
}

func power(n int32) int64 {
	out := int64(1)
	for range n {
		out *= 10
	}
	return out
}

// microseconds is how many of them a unit has.
func microseconds(u arrow.TimeUnit) int64 {
	return int64(u.Multiplier() / time.Microsecond)
}

// valueAt makes the n-th value of a kind. Different numbers mostly give different values.
func valueAt(k kind, n int) any {
	i := int64(n)
	switch k {
	case integers:
		switch n % 7 {
		case 3:
			return (i - 20) * 100
		case 4:
			return (i + 1) * 100_003
		case 5:
			return -i * 10_000_000_019
		}
		return i - 20
	case floats:
		return [...]float64{math.NaN(), math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), float64(n) / 4, float64(n) * 0.1, -float64(n), float64(n) * 1e40}[n%9]
	case decimals:
		switch n % 5 {
		case 0:
			return (i - 20) * 37
		case 1:
			return i * 1_000_000_000_000
		}
		return (i - 20) * 3700
	case dates:
		return 18_000 + i*[...]int64{1, -1, 100}[n%3]
	case instants:
		return 1_600_000_000_000_000 + i*[...]int64{3_600_000_000, 1000, 86_400_000_000, 1}[n%4]
	case texts:
		return [...]string{"", "a", "né\"e", "한국어", "x,y", "it's", "two\nlines", "%20", "v", "NULL"}[n%10] + strings.Repeat("·", n%4) + strconv.Itoa(n/10)
	case truths:
		return n%2 == 0
	case blobs:
		return strings.Repeat("\x00\xff", n%3) + strconv.Itoa(n)
	case fixed:
		return fmt.Sprintf("%06d", n%1_000_000)
	}
	return nil
}

// value makes a random value of a kind among about domain different ones.
func value(r *rand.Rand, k kind, domain int) any {
	maybe := func(k kind) any {
		if r.IntN(4) == 0 {
			return nil
		}
		return valueAt(k, r.IntN(domain))
	}
	list := []any{}
	switch k {
	case lists:
		for range r.IntN(4) {
			list = append(list, maybe(integers))
		}
		return list
	case structs:
		return append(list, maybe(integers), maybe(texts))
	case mappings:
		for i := range r.IntN(3) {
			list = append(list, []any{"k" + strconv.Itoa(i), maybe(integers)})
		}
		return list
	}
	return valueAt(k, r.IntN(domain))
}

// put appends a value in the builder's type.
func put(b array.Builder, v any) {
	if v == nil {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.Int8Builder:
		b.Append(int8(v.(int64)))
	case *array.Int16Builder:
		b.Append(int16(v.(int64)))
	case *array.Int32Builder:
		b.Append(int32(v.(int64)))
	case *array.Int64Builder:
		b.Append(v.(int64))
	case *array.Uint8Builder:
		b.Append(uint8(v.(int64)))
	case *array.Uint16Builder:
		b.Append(uint16(v.(int64)))
	case *array.Uint32Builder:
		b.Append(uint32(v.(int64)))
	case *array.Uint64Builder:
		b.Append(uint64(v.(int64)))
	case *array.Float32Builder:
		b.Append(float32(v.(float64)))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.Decimal128Builder:
		b.Append(decimalOf(v.(int64), b.Type().(*arrow.Decimal128Type).Scale))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.(int64)))
	case *array.Date64Builder:
		b.Append(arrow.Date64(v.(int64) * 86_400_000))
	case *array.TimestampBuilder:
		if unit := b.Type().(*arrow.TimestampType).Unit; unit == arrow.Nanosecond {
			b.Append(arrow.Timestamp(v.(int64) * 1000))
		} else {
			b.Append(arrow.Timestamp(v.(int64) / microseconds(unit)))
		}
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.LargeStringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.BinaryDictionaryBuilder:
		if err := b.AppendString(v.(string)); err != nil {
			panic(err)
		}
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.MapBuilder:
		b.Append(true)
		for _, e := range v.([]any) {
			put(b.KeyBuilder(), e.([]any)[0])
			put(b.ItemBuilder(), e.([]any)[1])
		}
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range v.([]any) {
			put(b.ValueBuilder(), e)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i, f := range b.Type().(*arrow.StructType).Fields() {
			put(b.FieldBuilder(i), v.([]any)[strings.Index("ab", f.Name)])
		}
	default:
		panic(fmt.Sprintf("no model value for %T", b))
	}
}

func decimalOf(n int64, scale int32) decimal128.Num {
	if scale < modelScale {
		return decimal128.FromI64(n / power(modelScale-scale))
	}
	return decimal128.FromI64(n).Mul(decimal128.FromI64(power(scale - modelScale)))
}

// get is the value of a row of an array.
func get(arr arrow.Array, i int) any {
	if arr.IsNull(i) {
		return nil
	}
	switch a := arr.(type) {
	case *array.Int8:
		return int64(a.Value(i))
	case *array.Int16:
		return int64(a.Value(i))
	case *array.Int32:
		return int64(a.Value(i))
	case *array.Int64:
		return a.Value(i)
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.Decimal128:
		return decimalAt(a, i)
	case *array.Date32:
		return int64(a.Value(i))
	case *array.Timestamp:
		unit, n := a.DataType().(*arrow.TimestampType).Unit, int64(a.Value(i))
		if unit != arrow.Nanosecond {
			return n * microseconds(unit)
		}
		if n%1000 != 0 {
			return fmt.Sprintf("%d ns", n)
		}
		return n / 1000
	case *array.String:
		return strings.Clone(a.Value(i))
	case *array.LargeString:
		return strings.Clone(a.Value(i))
	case *array.Binary:
		return string(a.Value(i))
	case *array.LargeBinary:
		return string(a.Value(i))
	case *array.FixedSizeBinary:
		return string(a.Value(i))
	case *array.Boolean:
		return a.Value(i)
	case *array.Map:
		list := []any{}
		for from, to := a.ValueOffsets(i); from < to; from++ {
			list = append(list, []any{get(a.Keys(), int(from)), get(a.Items(), int(from))})
		}
		return list
	case *array.List:
		list := []any{}
		for from, to := a.ValueOffsets(i); from < to; from++ {
			list = append(list, get(a.ListValues(), int(from)))
		}
		return list
	case *array.Struct:
		out := make([]any, 2)
		for f, field := range a.DataType().(*arrow.StructType).Fields() {
			out[strings.Index("ab", field.Name)] = get(a.Field(f), i)
		}
		return out
	}
	panic(fmt.Sprintf("no model value for %T", arr))
}

func decimalAt(a *array.Decimal128, i int) any {
	scale, v := a.DataType().(*arrow.Decimal128Type).Scale, a.Value(i)
	rest := decimal128.Num{}
	switch {
	case scale < modelScale:
		v = v.Mul(decimal128.FromI64(power(modelScale - scale)))
	case scale > modelScale:
		v, rest = v.Div(decimal128.FromI64(power(scale - modelScale)))
	}
	n := int64(v.LowBits())
	if decimal128.FromI64(n) != v || rest.Sign() != 0 {
		return a.ValueStr(i)
	}
	return n
}

// show writes a value so that equal values, and no others, are equal texts: any NaN is NaN, and -0.0 is not
// 0.0.
func show(dst []byte, v any) []byte {
	switch v := v.(type) {
	case nil:
		return append(dst, "NULL"...)
	case int64:
		return strconv.AppendInt(dst, v, 10)
	case float64:
		return strconv.AppendFloat(dst, v, 'g', -1, 64)
	case bool:
		return strconv.AppendBool(dst, v)
	case string:
		return strconv.AppendQuote(dst, v)
	case modelRow:
		return show(dst, []any(v))
	case []any:
		for i, e := range v {
			dst = append(dst, "[|"[min(i, 1)])
			dst = show(dst, e)
		}
		if len(v) == 0 {
			dst = append(dst, '[')
		}
		return append(dst, ']')
	}
	panic(fmt.Sprintf("no text for %T", v))
}

// plainText is a value as text formats have it.
func plainText(k kind, zone string, v any) string {
	switch v := v.(type) {
	case int64:
		switch k {
		case decimals:
			sign, n := "", v
			if n < 0 {
				sign, n = "-", -n
			}
			return fmt.Sprintf("%s%d.%04d", sign, n/10_000, n%10_000)
		case dates:
			return time.Unix(v*86_400, 0).UTC().Format("2006-01-02")
		case instants:
			text := time.UnixMicro(v).UTC().Format("2006-01-02T15:04:05.999999")
			if zone != "" {
				text += "Z"
			}
			return text
		}
		return strconv.FormatInt(v, 10)
	case float64:
		switch {
		case math.IsInf(v, 1):
			return "Infinity"
		case math.IsInf(v, -1):
			return "-Infinity"
		}
		return strconv.FormatFloat(v, 'g', -1, 64)
	case bool:
		return strconv.FormatBool(v)
	}
	return v.(string)
}

// jsonText is a value as NDJSON has it.
func jsonText(k kind, zone string, v any) string {
	quoted := func(text string) string {
		b, err := json.Marshal(text)
		if err != nil {
			panic(err)
		}
		return string(b)
	}
	var parts []string
	switch v := v.(type) {
	case nil:
		return "null"
	case []any:
		switch k {
		case lists:
			for _, e := range v {
				parts = append(parts, jsonText(integers, "", e))
			}
			return "[" + strings.Join(parts, ", ") + "]"
		case structs:
			return `{"b": ` + jsonText(texts, "", v[1]) + `, "a": ` + jsonText(integers, "", v[0]) + "}"
		}
		for _, e := range v {
			parts = append(parts, quoted(e.([]any)[0].(string))+": "+jsonText(integers, "", e.([]any)[1]))
		}
		return "{" + strings.Join(parts, ",") + "}"
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return quoted(plainText(k, zone, v))
		}
		return plainText(k, zone, v)
	case bool:
		return plainText(k, zone, v)
	case int64:
		if k == integers || k == decimals {
			return plainText(k, zone, v)
		}
	}
	return quoted(plainText(k, zone, v))
}

// compareModel orders values as versions are ordered; NULL is lowest.
func compareModel(a, b any) int {
	switch {
	case a == nil && b == nil:
		return 0
	case a == nil:
		return -1
	case b == nil:
		return 1
	}
	switch a := a.(type) {
	case int64:
		return cmp.Compare(a, b.(int64))
	case string:
		return strings.Compare(a, b.(string))
	}
	panic(fmt.Sprintf("%T has no order", a))
}

type modelRow []any

// modelColumn is a column of the table or of the source.
type modelColumn struct {
	name     string
	kind     kind
	zone     string         // of instants
	typ      arrow.DataType // in most files; it holds every value there is
	required bool
	key      bool
}

// random makes a value that the column's type holds.
func (c *modelColumn) random(r *rand.Rand, domain int) any {
	for range 100 {
		if v := value(r, c.kind, domain); holds(c.typ, v) {
			return v
		}
	}
	return c.zero()
}

// zero is a value that every type of the kind holds.
func (c *modelColumn) zero() any {
	switch c.kind {
	case integers, decimals, dates, instants:
		return int64(0)
	case floats:
		return 0.0
	case texts, blobs:
		return ""
	case fixed:
		return "000000"
	case truths:
		return false
	case structs:
		return []any{int64(0), "s"}
	}
	return []any{}
}

// modelKey is a part of the key: a column, or the field a of a struct.
type modelKey struct {
	column int
	field  bool
}

func (k modelKey) of(x modelRow) any {
	v := x[k.column]
	if k.field && v != nil {
		return v.([]any)[0]
	}
	return v
}

// modelPartition is a partition as it should be.
type modelPartition struct {
	path     string
	exists   bool
	has      []bool           // per column
	types    []arrow.DataType // the widest of its files, per column
	required []bool
	rows     []modelRow
}

// modelSource is a source row.
type modelSource struct {
	row   modelRow
	spec  []any
	marks bool // it is a delete
}

// model merges the slow and obvious way, from the rules of docs/semantics.md.
type model struct {
	columns   []modelColumn
	keys      []modelKey
	sourceHas []bool
	version   int    // the version column; -1: none
	consumed  []bool // columns that steer the merge
	o         Options
}

func (m *model) key(x modelRow) (text string, null bool) {
	var dst []byte
	for _, k := range m.keys {
		v := k.of(x)
		null = null || v == nil
		if v == 0.0 {
			v = 0.0 // -0.0 as well
		}
		dst = append(show(dst, v), ',')
	}
	return string(dst), null
}

func (m *model) newer(a, b modelRow) int {
	n := compareModel(a[m.version], b[m.version])
	if strings.HasSuffix(m.o.OrderBy[0], ":desc") && a[m.version] != nil && b[m.version] != nil {
		return -n
	}
	return n
}

// named reports whether a list names a column.
func (m *model) named(list []string, i int) bool {
	return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, m.columns[i].name) })
}

func (m *model) wanted(i int) bool {
	return (len(m.o.Columns) == 0 || m.named(m.o.Columns, i)) && !m.named(m.o.ExceptColumns, i)
}

// outcome of the model for a partition.
type modelOutcome struct {
	partition modelPartition
	rows      Rows
	refuse    []error // it must end with one of them
	may       []error // it may end with one of them: where a value does not fit that no row takes
}

// merge is what becomes of a partition.
func (m *model) merge(p *modelPartition, source []modelSource) modelOutcome {
	out := modelOutcome{partition: *p, rows: Rows{Old: int64(len(p.rows)), Source: int64(len(source))}}
	out.partition.has = slices.Clone(p.has)
	if len(source) > 0 {
		m.bind(&out)
	}
	m.guard(&out, source)
	m.fit(&out, source)
	if !m.o.Mode.Keyed() {
		m.all(&out, p, source)
	} else {
		m.matchKeys(&out, p, source)
	}
	out.rows.Out = int64(len(out.partition.rows))
	lost, limit := out.rows.Deleted, 1.0
	if m.o.Mode == Mirror || m.o.Mode == Replace {
		limit = 0.2
	}
	if m.o.MaxDeleteRatio != nil {
		limit = *m.o.MaxDeleteRatio
	}
	if m.o.Mode == Replace {
		lost = out.rows.Old - out.rows.Inserted
	}
	if float64(lost) > limit*float64(out.rows.Old) {
		out.refuse = append(out.refuse, ErrGuard)
	}
	for i, c := range m.columns {
		for _, x := range out.partition.rows {
			switch {
			case !out.partition.has[i] || !p.has[i]:
			case x[i] == nil && p.required[i]:
				out.refuse = append(out.refuse, ErrValue, ErrSchema)
			case x[i] != nil && !holds(p.types[i], x[i]) && m.sourceHas[i] && (m.o.Mode != Delete || c.key):
				out.refuse = append(out.refuse, ErrSchema, ErrValue)
			default:
				continue
			}
			break
		}
	}
	return out
}

// bind finds the columns that are missing or new.
func (m *model) bind(out *modelOutcome) {
	for i, c := range m.columns {
		has := &out.partition.has[i]
		switch {
		case m.o.Mode == Delete || c.key:
		case *has && !m.sourceHas[i] && m.wanted(i) && m.o.MissingColumns != "keep":
			out.refuse = append(out.refuse, ErrSchema)
		case !*has && m.sourceHas[i] && !m.consumed[i] && m.o.NewColumns == "add":
			*has = m.wanted(i)
		case !*has && m.sourceHas[i] && !m.consumed[i] && m.o.NewColumns != "ignore":
			out.refuse = append(out.refuse, ErrSchema)
		}
	}
}

func (m *model) guard(out *modelOutcome, source []modelSource) {
	if m.o.Mode != Mirror && m.o.Mode != Replace {
		return
	}
	if len(source) == 0 && !m.o.AllowEmpty {
		out.refuse = append(out.refuse, ErrGuard)
	}
	for _, s := range source {
		if _, null := m.key(s.row); null && m.o.Mode == Mirror && m.o.NullKeys == "reject" {
			out.refuse = append(out.refuse, ErrGuard)
			return
		}
	}
}

// fit finds values that do not fit the partition's types.
func (m *model) fit(out *modelOutcome, source []modelSource) {
	p := &out.partition
	for i := range m.columns {
		if !p.has[i] || p.types[i] == nil || !m.sourceHas[i] {
			continue
		}
		for _, s := range source {
			if !holds(p.types[i], s.row[i]) || p.required[i] && s.row[i] == nil {
				out.may = append(out.may, ErrSchema, ErrValue)
			}
		}
	}
}

// all settles the modes without keys.
func (m *model) all(out *modelOutcome, p *modelPartition, source []modelSource) {
	c := &out.rows
	rows := slices.Clone(p.rows)
	if c.Inserted = c.Source; m.o.Mode == Replace {
		rows, c.Deleted = nil, c.Old
	} else {
		c.Kept = c.Old
	}
	for _, s := range source {
		rows = append(rows, m.inserted(out, s.row))
	}
	out.partition.rows = rows
}

func (m *model) inserted(out *modelOutcome, s modelRow) modelRow {
	x := make(modelRow, len(s))
	for i := range s {
		if (m.wanted(i) || m.columns[i].key) && m.sourceHas[i] && out.partition.has[i] {
			x[i] = s[i]
		}
	}
	return x
}

func (m *model) updated(out *modelOutcome, old, s modelRow) modelRow {
	x := slices.Clone(old)
	for i, c := range m.columns {
		// Of a key that is a float or a struct's field the source's column is taken: it may differ.
		taken := m.wanted(i) && !c.key || c.key && (c.kind == floats || c.kind == structs)
		if taken && m.sourceHas[i] && out.partition.has[i] && (s[i] != nil || !m.named(m.o.KeepNull, i)) {
			x[i] = s[i]
		}
	}
	return x
}

// holders finds the row that holds each key.
func (m *model) holders(out *modelOutcome, source []modelSource) map[string]int {
	holder := map[string]int{}
	for i, s := range source {
		key, null := m.key(s.row)
		if null && m.o.NullKeys != "match" {
			if out.rows.NullKeys++; m.o.NullKeys != "reject" {
				out.refuse = append(out.refuse, ErrNullKey)
			}
			continue
		}
		held, twice := holder[key]
		if !twice {
			holder[key] = i
			continue
		}
		out.rows.SourceDuplicates++
		switch {
		case m.version >= 0 && m.newer(s.row, source[held].row) >= 0, m.version < 0 && m.o.SourceDuplicates == "last":
			holder[key] = i
		case m.version >= 0 || m.o.SourceDuplicates == "first" || m.o.Mode == Delete:
		case s.marks != source[held].marks || !m.alike(out, s.row, source[held].row):
			out.refuse = append(out.refuse, ErrDuplicateKey)
		}
	}
	return holder
}

// alike reports whether two source rows have the same values, of the columns that the partition has.
func (m *model) alike(out *modelOutcome, a, b modelRow) bool {
	for i := range m.columns {
		if m.sourceHas[i] && out.partition.has[i] && string(show(nil, a[i])) != string(show(nil, b[i])) {
			return false
		}
	}
	return true
}

func (m *model) matchKeys(out *modelOutcome, p *modelPartition, source []modelSource) {
	c := &out.rows
	holder := m.holders(out, source)
	versions := m.version >= 0 && p.has[m.version]
	best := map[string]int{} // of a key that old has: the row that stays
	twice := map[string]bool{}
	for i, x := range p.rows {
		key, null := m.key(x)
		if _, hit := holder[key]; !hit || null && m.o.NullKeys != "match" {
			continue
		}
		if b, again := best[key]; again {
			twice[key] = true
			if !versions || m.newer(x, p.rows[b]) < 0 {
				continue
			}
		}
		best[key] = i
	}
	if len(twice) > 0 && m.o.OldDuplicates == "" {
		out.refuse = append(out.refuse, ErrDuplicateKey)
	}
	if len(twice) > 0 && m.o.OldDuplicates == "repair" && !versions {
		out.refuse = append(out.refuse, ErrUsage)
	}
	stale, met := map[string]bool{}, map[string]bool{}
	var rows []modelRow
	for i, x := range p.rows {
		key, null := m.key(x)
		null = null && m.o.NullKeys != "match"
		at, hit := holder[key]
		switch {
		case null:
			if len(source) > 0 || m.o.Mode == Mirror {
				c.OldNullKeys++
			}
			c.Kept++
			rows = append(rows, x)
			continue
		case !hit && m.o.Mode == Mirror:
			c.Deleted++
			continue
		case !hit:
			c.Kept++
			rows = append(rows, x)
			continue
		case m.o.OldDuplicates == "repair" && best[key] != i:
			c.OldDuplicates++
			continue
		}
		s := source[at]
		switch {
		case m.o.Mode == Insert:
			c.Kept++
			rows = append(rows, x)
			if !met[key] {
				c.Ignored++
			}
			met[key] = true
		case versions && !m.o.IgnoreVersion && m.newer(x, s.row) > 0:
			c.Kept++
			rows = append(rows, x)
			stale[key] = true
		case m.o.Mode == Delete || s.marks:
			c.Deleted++
			met[key] = true
		default:
			y := m.updated(out, x, s.row)
			if string(show(nil, x)) == string(show(nil, y)) {
				c.Unchanged++
			} else {
				c.Updated++
			}
			rows = append(rows, y)
			met[key] = true
		}
	}
	for key, at := range holder {
		switch s := source[at]; {
		case met[key]:
		case stale[key]:
			c.StaleSkipped++
		case m.o.Mode == Update || m.o.Mode == Delete || s.marks:
			c.Ignored++
		default:
			c.Inserted++
			rows = append(rows, m.inserted(out, s.row))
		}
	}
	out.partition.rows = rows
}
