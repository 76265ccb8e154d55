package merge_test

import (
	"cmp"
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/float16"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
)

// A row of the model: one value a column, nil for NULL. Values are int64 for integers, dates and
// timestamps, and string, []byte, float64, bool, decimal128.Num, []any (list) and map[string]any
// (struct) for the rest.
type row []any

// field is a column of a model's table.
type field struct {
	name     string
	typ      arrow.DataType
	nullable bool
}

type table struct {
	fields []field
	keys   []int
	char   map[int]bool // keys that are declared as CHAR(n): blanks at the end do not count
}

func (t table) schema() *arrow.Schema {
	out := make([]arrow.Field, len(t.fields))
	for i, f := range t.fields {
		out[i] = arrow.Field{Name: f.name, Type: f.typ, Nullable: f.nullable}
	}
	return arrow.NewSchema(out, nil)
}

// declared is the schema with the lengths that files do not keep.
func (t table) declared() *arrow.Schema {
	fields := t.schema().Fields()
	for i := range t.char {
		fields[i] = shred.Length{Char: true, Max: 1000}.On(fields[i])
	}
	return arrow.NewSchema(fields, nil)
}

// record builds an Arrow record of rows.
func (t table) record(rows []row) arrow.Record {
	b := array.NewRecordBuilder(memory.NewGoAllocator(), t.schema())
	defer b.Release()
	for _, r := range rows {
		for i, v := range r {
			appendValue(b.Field(i), v)
		}
	}
	return b.NewRecord()
}

// drifted is the table as a file of another time has it: without some columns, of which the rows then
// have NULL, with others narrower or without NULL. It also returns the rows as the file stores them.
func (t table) drifted(r *rand.Rand, rows []row) (table, []row) {
	out := table{keys: t.keys}
	var kept []int
	for i, f := range t.fields {
		payload := i >= len(t.keys) && f.name != "ver" && f.name != "gone"
		all := func(holds func(v any) bool) bool {
			return !slices.ContainsFunc(rows, func(x row) bool { return !holds(x[i]) })
		}
		switch {
		case !payload:
		case f.nullable && r.IntN(4) == 0:
			for _, x := range rows {
				x[i] = nil
			}
			continue
		case f.nullable && r.IntN(4) == 0 && all(func(v any) bool { return v != nil }):
			f.nullable = false
		}
		wide := f.typ.ID() == arrow.INT32 || f.typ.ID() == arrow.INT64
		if payload && wide && r.IntN(2) == 0 && all(func(v any) bool { return v == nil || v.(int64) == int64(int8(v.(int64))) }) {
			f.typ = arrow.PrimitiveTypes.Int8
		}
		out.fields = append(out.fields, f)
		kept = append(kept, i)
	}
	stored := make([]row, len(rows))
	for n, x := range rows {
		for _, i := range kept {
			stored[n] = append(stored[n], x[i])
		}
	}
	return out, stored
}

func appendValue(b array.Builder, v any) {
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
	case *array.Uint32Builder:
		b.Append(uint32(v.(int64)))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v.(int64)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v.(int64)))
	case *array.StringBuilder:
		b.Append(v.(string))
	case *array.BinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.FixedSizeBinaryBuilder:
		b.Append([]byte(v.(string)))
	case *array.Float32Builder:
		b.Append(float32(v.(float64)))
	case *array.Float64Builder:
		b.Append(v.(float64))
	case *array.Float16Builder:
		b.Append(float16.New(float32(v.(float64))))
	case *array.BooleanBuilder:
		b.Append(v.(bool))
	case *array.Decimal128Builder:
		b.Append(v.(decimal128.Num))
	case *array.ListBuilder:
		b.Append(true)
		for _, e := range v.([]any) {
			appendValue(b.ValueBuilder(), e)
		}
	case *array.StructBuilder:
		b.Append(true)
		for i, e := range v.([]any) {
			appendValue(b.FieldBuilder(i), e)
		}
	default:
		panic(fmt.Sprintf("no model value for %T", b))
	}
}

// rowsOf reads an Arrow record back into model rows.
func rowsOf(rec arrow.Record) []row {
	out := make([]row, rec.NumRows())
	for i := range out {
		for c := range int(rec.NumCols()) {
			out[i] = append(out[i], valueOf(rec.Column(c), i))
		}
	}
	return out
}

func valueOf(arr arrow.Array, i int) any {
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
	case *array.Uint32:
		return int64(a.Value(i))
	case *array.Date32:
		return int64(a.Value(i))
	case *array.Timestamp:
		return int64(a.Value(i))
	case *array.String:
		return strings.Clone(a.Value(i))
	case *array.Binary:
		return string(a.Value(i))
	case *array.FixedSizeBinary:
		return string(a.Value(i))
	case *array.Float32:
		return float64(a.Value(i))
	case *array.Float64:
		return a.Value(i)
	case *array.Float16:
		return float64(a.Value(i).Float32())
	case *array.Boolean:
		return a.Value(i)
	case *array.Decimal128:
		return a.Value(i)
	case *array.List:
		from, to := a.ValueOffsets(i)
		list := []any{}
		for j := from; j < to; j++ {
			list = append(list, valueOf(a.ListValues(), int(j)))
		}
		return list
	case *array.Struct:
		var fields []any
		for f := range a.NumField() {
			fields = append(fields, valueOf(a.Field(f), i))
		}
		return fields
	}
	panic(fmt.Sprintf("no model value for %T", arr))
}

// text makes a row or value comparable; all NaN are one, -0.0 is not 0.0.
func text(v any) string {
	switch v := v.(type) {
	case float64:
		if math.IsNaN(v) {
			return "NaN"
		}
		return fmt.Sprintf("f%x", math.Float64bits(v))
	case row:
		return text([]any(v))
	case []any:
		parts := make([]string, len(v))
		for i, e := range v {
			parts[i] = text(e)
		}
		return "[" + strings.Join(parts, "|") + "]"
	case string:
		return fmt.Sprintf("%q", v)
	case decimal128.Num:
		return v.BigInt().String()
	}
	return fmt.Sprint(v)
}

func (t table) key(r row) string {
	parts := make([]any, len(t.keys))
	for i, k := range t.keys {
		parts[i] = t.keyValue(r, k)
	}
	return text(parts)
}

// keyValue is a key's value as it compares.
func (t table) keyValue(r row, k int) any {
	if v, ok := r[k].(string); ok && t.char[k] {
		return strings.TrimRight(v, " ")
	}
	return r[k]
}

// compared is a row with its keys as they compare.
func (t table) compared(r row) row {
	out := slices.Clone(r)
	for _, k := range t.keys {
		out[k] = t.keyValue(r, k)
	}
	return out
}

func (t table) nullKey(r row) bool {
	for _, k := range t.keys {
		if r[k] == nil {
			return true
		}
	}
	return false
}

// compareValues orders model values as versions and inserted keys are ordered; nil is lowest.
func compareValues(a, b any) int {
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
	case float64:
		return cmp.Compare(a, b.(float64))
	case bool:
		return cmp.Compare(text(a), text(b))
	case decimal128.Num:
		return a.Cmp(b.(decimal128.Num))
	}
	panic(fmt.Sprintf("%T has no order", a))
}

// modelMerge is the merge written the slow and obvious way, from the rules of docs/semantics.md. It
// returns the rows in their order, the counters, and the sentinel of the error that must come.
func modelMerge(t table, old, source []row, deleteFlag func(row) bool, o merge.Options) ([]row, merge.Counts, error) {
	c := merge.Counts{Old: int64(len(old)), Source: int64(len(source))}
	if !o.Mode.Keyed() {
		added := make([]row, len(source))
		for i, s := range source {
			added[i] = t.insert(s, o)
		}
		if o.Mode == merge.Replace {
			c.Deleted, c.Inserted, c.Out = c.Old, c.Source, c.Source
			return added, c, nil
		}
		c.Kept, c.Inserted, c.Out = c.Old, c.Source, c.Old+c.Source
		return append(slices.Clone(old), added...), c, nil
	}
	version := func(a, b row) int {
		for _, v := range o.OrderBy {
			at := slices.IndexFunc(t.fields, func(f field) bool { return strings.EqualFold(f.name, v.Column) })
			n := compareValues(a[at], b[at])
			// A descending version has NULL lowest still.
			if v.Desc && a[at] != nil && b[at] != nil {
				n = -n
			}
			if n != 0 {
				return n
			}
		}
		return 0
	}
	refused := o.NullKeys != merge.PolicyMatch && o.NullKeys != merge.PolicyReject
	if refused && slices.ContainsFunc(source, t.nullKey) { // before anything is said of other keys
		return nil, c, merge.ErrNullKey
	}
	holder := map[string]int{}
	for i, r := range source {
		if t.nullKey(r) && o.NullKeys != merge.PolicyMatch {
			c.NullKeys++
			continue
		}
		held, twice := holder[t.key(r)]
		if !twice {
			holder[t.key(r)] = i
			continue
		}
		switch {
		case len(o.OrderBy) > 0 && version(r, source[held]) >= 0, len(o.OrderBy) == 0 && o.SourceDuplicates == merge.PolicyLast:
			holder[t.key(r)] = i
		case len(o.OrderBy) > 0 || o.SourceDuplicates == merge.PolicyFirst:
		case o.Mode == merge.Delete: // two deletes of a key are one
		case text(t.compared(r)) != text(t.compared(source[held])) || deleteFlag(r) != deleteFlag(source[held]):
			return nil, c, merge.ErrDuplicateKey
		}
		c.SourceDuplicates++
	}
	met := map[string]bool{}
	var out []row
	for _, r := range old {
		if t.nullKey(r) && o.NullKeys != merge.PolicyMatch {
			if len(source) > 0 || o.Mode == merge.Mirror { // with nothing to merge nothing is read
				c.OldNullKeys++
			}
			c.Kept++
			out = append(out, r)
			continue
		}
		at, hit := holder[t.key(r)]
		switch {
		case !hit && o.Mode == merge.Mirror:
			c.Deleted++
			continue
		case !hit:
			c.Kept++
			out = append(out, r)
			continue
		}
		if met[t.key(r)] {
			return nil, c, merge.ErrDuplicateKey
		}
		met[t.key(r)] = true
		s := source[at]
		switch {
		case o.Mode == merge.Insert:
			c.Ignored++
			c.Kept++
			out = append(out, r)
		case len(o.OrderBy) > 0 && !o.IgnoreVersion && version(r, s) > 0:
			c.StaleSkipped++
			c.Kept++
			out = append(out, r)
		case o.Mode == merge.Delete || deleteFlag(s):
			c.Deleted++
		default:
			merged := t.update(r, s, o)
			if text(merged) == text(r) {
				c.Unchanged++
			} else {
				c.Updated++
			}
			out = append(out, merged)
		}
	}
	var fresh []row
	for k, at := range holder {
		if met[k] {
			continue
		}
		if o.Mode == merge.Update || o.Mode == merge.Delete || deleteFlag(source[at]) {
			c.Ignored++
			continue
		}
		fresh = append(fresh, t.insert(source[at], o))
	}
	slices.SortFunc(fresh, func(a, b row) int {
		for _, k := range t.keys {
			if n := compareValues(t.keyValue(a, k), t.keyValue(b, k)); n != 0 {
				return n
			}
		}
		return 0
	})
	c.Inserted = int64(len(fresh))
	out = append(out, fresh...)
	c.Out = int64(len(out))
	return out, c, nil
}

// takes reports whether a column of a matched row comes from the source.
func (t table) takes(i int, o merge.Options) bool {
	named := func(list []string) bool {
		return slices.ContainsFunc(list, func(n string) bool { return strings.EqualFold(n, t.fields[i].name) })
	}
	return (len(o.Columns) == 0 || named(o.Columns)) && !named(o.ExceptColumns)
}

func (t table) update(old, s row, o merge.Options) row {
	out := slices.Clone(old)
	for i, f := range t.fields {
		keep := slices.ContainsFunc(o.KeepNull, func(n string) bool { return strings.EqualFold(n, f.name) }) && s[i] == nil
		if t.takes(i, o) && !slices.Contains(t.keys, i) && !keep {
			out[i] = s[i]
		}
	}
	return out
}

func (t table) insert(s row, o merge.Options) row {
	out := slices.Clone(s)
	for i := range t.fields {
		if !t.takes(i, o) && !slices.Contains(t.keys, i) {
			out[i] = nil
		}
	}
	return out
}

// randomValue makes a value of a type from a small or a large domain.
func randomValue(r *rand.Rand, typ arrow.DataType, domain int) any {
	n := r.IntN(domain)
	switch typ := typ.(type) {
	case *arrow.Int8Type:
		return int64(n%200 - 100)
	case *arrow.Uint32Type:
		return int64(n) * 7919 % (1 << 32)
	case *arrow.Int32Type, *arrow.Int64Type:
		if n%7 == 0 {
			return int64(n-domain/2) * 100 // which not every file's type holds
		}
		return int64(n - domain/2)
	case *arrow.Int16Type, *arrow.Date32Type, *arrow.TimestampType:
		return int64(n - domain/2)
	case *arrow.StringType, *arrow.BinaryType:
		if n%11 == 0 {
			return strings.Repeat("\x00", n%5)
		}
		return fmt.Sprintf("v%d%s", n, strings.Repeat("x", n%90))
	case *arrow.FixedSizeBinaryType:
		return fmt.Sprintf("%0*d", typ.ByteWidth, n)[:typ.ByteWidth]
	case *arrow.Float32Type, *arrow.Float64Type:
		return [...]float64{math.NaN(), math.Copysign(0, -1), 0, math.Inf(1), math.Inf(-1), float64(n) / 4, -float64(n), 1.5}[n%8]
	case *arrow.Float16Type:
		return [...]float64{math.NaN(), math.Copysign(0, -1), 0, 0.5, -2, 1024}[n%6]
	case *arrow.BooleanType:
		return n%2 == 0
	case *arrow.Decimal128Type:
		return decimal128.FromI64(int64(n-domain/2) * 37)
	case *arrow.ListType:
		list := []any{}
		for range n % 4 {
			list = append(list, randomNullable(r, typ.Elem(), domain))
		}
		return list
	case *arrow.StructType:
		var fields []any
		for _, f := range typ.Fields() {
			fields = append(fields, randomNullable(r, f.Type, domain))
		}
		return fields
	}
	panic(fmt.Sprintf("no random %s", typ))
}

// randomChar makes a text of letters, blanks and bytes that come before them, with blanks at its end.
func randomChar(r *rand.Rand, domain int) string {
	const letters = "a \x01b!\x1f\x00"
	var word []byte
	for n := r.IntN(domain); n > 0; n /= len(letters) {
		word = append(word, letters[n%len(letters)])
	}
	return padded(r, string(word))
}

// padded is a text with another number of blanks at its end.
func padded(r *rand.Rand, text string) string {
	return strings.TrimRight(text, " ") + strings.Repeat(" ", r.IntN(4))
}

func randomNullable(r *rand.Rand, typ arrow.DataType, domain int) any {
	if r.IntN(4) == 0 {
		return nil
	}
	return randomValue(r, typ, domain)
}
