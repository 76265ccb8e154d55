package spill

import (
	"bytes"
	"context"

	"math/rand/v2"

	"reflect"
	"strings"
	"sync"

	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// memFile is a file in memory, with errors on demand.
type memFile struct {
	mu     sync.Mutex
	p      []byte
	room   int // bytes that still fit, if full is set
	full   error
	read   error
	closed int
}

func (f *memFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.full != nil {
		if len(p) > f.room {
			return f.room, f.full
		}
		f.room -= len(p)
	}
	if end := int(at) + len(p); end > len(f.p) {
		f.p = append(f.p, make([]byte, end-len(f.p))...)
	}
	return copy(f.p[at:], p), nil
}

func (f *memFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.read != nil {
		return 0, f.read
	}
	return bytes.NewReader(f.p).ReadAt(p, at)
}

func (f *memFile) Close() error {
	f.closed++
	return nil
}

func newSpace(f File) *Space { return New(func() (File, error) { return f, nil }) }

// sample is an array of each kind of type, from JSON.
type sample struct {
	t    arrow.DataType
	json string
}

var (
	utf8    = arrow.BinaryTypes.String
	i32     = arrow.PrimitiveTypes.Int32
	nested  = arrow.StructOf(arrow.Field{Name: "l", Type: arrow.ListOf(arrow.MapOf(utf8, arrow.ListOf(i32))), Nullable: true}, arrow.Field{Name: "s", Type: utf8, Nullable: true})
	nestedJ = `[{"l": [[{"key": "a", "value": [1, null, 3]}, {"key": "b", "value": null}], null, []], "s": "x"}, null, {"l": null, "s": null}, {"l": [], "s": "yy"}, {"l": [[{"key": "c", "value": []}]], "s": ""}]`
)

// boxed is an extension type.
type boxed struct{ arrow.ExtensionBase }

type boxedArray struct{ array.ExtensionArrayBase }

func (boxedArray) ValueStr(int) string { return "" }

func (t *boxed) ArrayType() reflect.Type { return reflect.TypeFor[boxedArray]() }
func (t *boxed) ExtensionName() string   { return "boxed" }
func (t *boxed) Serialize() string       { return "" }
func (t *boxed) ExtensionEquals(other arrow.ExtensionType) bool {
	return other.ExtensionName() == "boxed"
}
func (t *boxed) Deserialize(storage arrow.DataType, _ string) (arrow.ExtensionType, error) {
	return &boxed{arrow.ExtensionBase{Storage: storage}}, nil
}

// samples are arrays of every kind of type.
func samples(t *testing.T) []arrow.Array {
	t.Helper()
	var list []arrow.Array
	for _, s := range fromJSON() {
		arr, _, err := array.FromJSON(memory.DefaultAllocator, s.t, strings.NewReader(s.json), array.WithUseNumber())
		if err != nil {
			t.Fatalf("%s: %v", s.t, err)
		}
		list = append(list, arr)
	}
	texts := list[len(list)-1]
	list = append(list, array.NewExtensionArrayWithStorage(&boxed{arrow.ExtensionBase{Storage: texts.DataType()}}, texts))
	ends := array.NewInt32Builder(memory.DefaultAllocator)
	for i := range texts.Len() {
		ends.Append(int32(i*i + i/2 + 1))
	}
	n := texts.Len() - 1
	runs := array.NewRunEndEncodedArray(ends.NewArray(), texts, n*n+n/2+1, 0)
	below, err := array.NewStructArray([]arrow.Array{runs, array.NewSlice(runs, 0, int64(runs.Len()))}, []string{"a", "b"})
	if err != nil {
		t.Fatal(err)
	}
	return append(list, runs, array.NewSlice(below, 30, 50))
}

func fromJSON() []sample {
	ints := `[0, 1, null, 127, 5, null, 7]`
	texts := `["", "a", null, "käse", "日本", "a", null, "a long text that does not fit into a view", "b"]`
	base64 := `["", "AA==", null, "/w==", "YWJjZA==", "YSBsb25nIHZhbHVlIHRoYXQgZG9lcyBub3QgZml0IGludG8gYSB2aWV3"]`
	structs := `[{"a": 1, "b": "x"}, null, {"a": null, "b": "y"}, {"a": 4, "b": null}, {"a": 5, "b": ""}]`
	lists := `[[1, 2, null], null, [], [4], [5, 6]]`
	fixed := `[[1, 2], null, [null, 4], [5, 6]]`
	list := []sample{
		{arrow.Null, `[null, null, null, null]`},
		{arrow.FixedWidthTypes.Boolean, `[true, false, null, true, true, false, null, false, true, true, false]`},
		{arrow.PrimitiveTypes.Float32, `[0, -1.5, null, 3.25]`},
		{arrow.PrimitiveTypes.Float64, `[0, -1.5, null, 3.25]`},
		{arrow.FixedWidthTypes.Float16, `[0, -1.5, null, 3.25]`},
		{&arrow.Decimal128Type{Precision: 38, Scale: 4}, `["0", "-1.2345", null, "1234567890123456789012345678901234.5678"]`},
		{&arrow.Decimal256Type{Precision: 76, Scale: 2}, `["0", "-1.25", null, "12345678901234567890123456789012345678901234567890.25"]`},
		{arrow.FixedWidthTypes.Date32, `["2026-11-20", null, "1969-12-31", "0001-01-01"]`},
		{arrow.FixedWidthTypes.Date64, `["2026-11-20", null, "1969-12-31"]`},
		{arrow.FixedWidthTypes.Time32ms, `["10:20:30.123", null, "00:00:00"]`},
		{arrow.FixedWidthTypes.Time64ns, `["10:20:30.123456789", null, "00:00:00"]`},
		{arrow.FixedWidthTypes.Timestamp_us, `["2026-11-20T10:20:30.123456Z", null, "1969-12-31T00:00:00Z"]`},
		{&arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "Asia/Seoul"}, `["2026-11-20T10:20:30.123456789Z", null]`},
		{arrow.FixedWidthTypes.Duration_ms, `["1ms", null, "-3s", "0s"]`},
		{arrow.FixedWidthTypes.MonthInterval, `[{"months": 3}, null, {"months": -1}]`},
		{arrow.FixedWidthTypes.DayTimeInterval, `[{"days": 1, "milliseconds": 2}, null, {"days": -1, "milliseconds": 0}]`},
		{arrow.FixedWidthTypes.MonthDayNanoInterval, `[{"months": 1, "days": 2, "nanoseconds": 3}, null, {"months": -1, "days": 0, "nanoseconds": 0}]`},
		{utf8, texts},
		{arrow.BinaryTypes.LargeString, texts},
		{arrow.BinaryTypes.StringView, texts},
		{arrow.BinaryTypes.Binary, base64},
		{arrow.BinaryTypes.LargeBinary, base64},
		{arrow.BinaryTypes.BinaryView, base64},
		{&arrow.FixedSizeBinaryType{ByteWidth: 3}, `["YWJj", null, "AAAA", "////"]`},
		{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: utf8}, texts},
		{&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Uint16, ValueType: arrow.PrimitiveTypes.Int64}, ints},
		{arrow.StructOf(arrow.Field{Name: "a", Type: i32, Nullable: true}, arrow.Field{Name: "b", Type: utf8, Nullable: true}), structs},
		{arrow.StructOf(arrow.Field{Name: "a", Type: i32, Nullable: true}, arrow.Field{Name: "b", Type: &arrow.DictionaryType{IndexType: i32, ValueType: utf8}, Nullable: true}), structs},
		{arrow.StructOf(arrow.Field{Name: "n", Type: arrow.Null, Nullable: true}), `[{"n": null}, null, {"n": null}]`},
		{arrow.StructOf(), `[{}, null, {}]`},
		{arrow.ListOf(i32), lists},
		{arrow.ListOf(arrow.BinaryTypes.StringView), `[["a", null], null, [], ["b", "a long text that does not fit into a view"]]`},
		{arrow.ListOf(arrow.FixedWidthTypes.Boolean), `[[true, false, true], null, [], [false], [true, true, null, false, true, true, true, true, false]]`},
		{arrow.ListOf(arrow.Null), `[[null, null], null, [], [null]]`},
		{arrow.LargeListOf(i32), lists},
		{arrow.ListViewOf(i32), lists},
		{arrow.LargeListViewOf(i32), lists},
		{arrow.FixedSizeListOf(2, i32), fixed},
		{arrow.MapOf(utf8, i32), `[[{"key": "a", "value": 1}, {"key": "b", "value": null}], null, [], [{"key": "", "value": 4}]]`},
		{nested, nestedJ},
		{arrow.ListOf(nested), `[` + nestedJ + `, null, [], ` + nestedJ + `]`},
	}
	for _, t := range []arrow.DataType{arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, i32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64} {
		list = append(list, sample{t, ints})
	}
	return append(list, sample{utf8, texts})
}

// show renders the rows of an array as the values they stand for, by arrow's own reading.
func show(arr arrow.Array, rows []int32) string {
	var b strings.Builder
	for _, row := range rows {
		b.WriteString(showRow(arr, int(row)) + "\n")
	}
	return b.String()
}

func showRow(arr arrow.Array, i int) string {
	switch a := arr.(type) {
	case *array.RunEndEncoded:
		return showRow(a.Values(), a.GetPhysicalIndex(i))
	case array.ExtensionArray:
		return showRow(a.Storage(), i)
	case *array.Struct:
		if a.IsNull(i) {
			return array.NullValueStr
		}
		text := "{"
		for f := range a.NumField() {
			text += showRow(a.Field(f), i) + ","
		}
		return text + "}"
	case array.ListLike: // maps too
		if a.IsNull(i) {
			return array.NullValueStr
		}
		text := "["
		for from, to := a.ValueOffsets(i); from < to; from++ {
			text += showRow(a.ListValues(), int(from)) + ","
		}
		return text + "]"
	}
	return arr.ValueStr(i)
}

// TestEveryType writes rows of every type, of whole arrays and of slices that begin anywhere, and reads them.
func TestEveryType(t *testing.T) {
	ctx := context.Background()
	for _, whole := range samples(t) {
		t.Run(strings.ReplaceAll(whole.DataType().String(), "/", "_"), func(t *testing.T) {
			space := newSpace(&memFile{})
			defer space.Close()
			schema := Schema(arrow.NewSchema([]arrow.Field{{Name: "c", Type: whole.DataType(), Nullable: true}}, nil))
			check := func(arr arrow.Array, rows []int32) {
				t.Helper()
				kept, err := Gather(arr, rows)
				if err != nil {
					t.Fatal(err)
				}
				if rows == nil {
					rows = count(arr.Len())
				}
				want := show(arr, rows)
				for from := range len(rows) + 1 { // every slice of what was gathered is written too
					part := array.NewSlice(kept, int64(from), int64(len(rows)))
					stored, err := space.Write(schema, []arrow.Array{part}, part.Len())
					if err != nil {
						t.Fatal(err)
					}
					got, err := stored.Read(ctx, 0, nil)
					if err != nil {
						t.Fatal(err)
					}
					if stored.NumRows() != int64(part.Len()) || !arrow.TypeEqual(got.DataType(), schema.Field(0).Type) {
						t.Fatalf("%d rows of %s", stored.NumRows(), got.DataType())
					}
					if !array.Equal(got, part) || got.NullN() != part.NullN() {
						t.Fatalf("read %v\nwrote %v", got, part)
					}
					if from == 0 && show(got, count(got.Len())) != want {
						t.Fatalf("read %s\nwant %s", show(got, count(got.Len())), want)
					}
				}
			}
			for from := range whole.Len() + 1 {
				for to := from; to <= whole.Len(); to++ {
					check(array.NewSlice(whole, int64(from), int64(to)), nil)
				}
			}
			check(whole, []int32{})
			part := array.NewSlice(whole, 1, int64(whole.Len()))
			r := rand.New(rand.NewPCG(1, 2))
			for range 10 {
				rows := make([]int32, r.IntN(20))
				for i := range rows {
					rows[i] = int32(r.IntN(part.Len()))
				}
				check(part, rows)
			}
			nulls, _, err := array.FromJSON(memory.DefaultAllocator, schema.Field(0).Type, strings.NewReader("[null, null, null, null, null, null, null, null, null]"))
			if err != nil {
				t.Fatal(err)
			}
			check(nulls, nil)
		})
	}
}

// TestTypesThatCantBeKept: they are refused, with all rows taken and with some, at any depth.
func TestTypesThatCantBeKept(t *testing.T) {
	kinds := array.NewInt8Builder(memory.DefaultAllocator)
	kinds.AppendValues([]int8{0, 0}, nil)
	union, err := array.NewSparseUnionFromArrays(kinds.NewArray(), []arrow.Array{int32Array([]int32{1, 2})})
	if err != nil {
		t.Fatal(err)
	}
	below, err := array.NewStructArray([]arrow.Array{union}, []string{"u"})
	if err != nil {
		t.Fatal(err)
	}
	for _, arr := range []arrow.Array{union, below, array.NewSlice(below, 1, 1)} {
		for _, rows := range [][]int32{nil, {0}, {}} {
			if arr.Len() == 0 && len(rows) > 0 {
				continue
			}
			if _, err := Gather(arr, rows); err == nil || !strings.Contains(err.Error(), "union") || !strings.Contains(err.Error(), "can't be kept on disk") {
				t.Errorf("%s, rows %v: %v", arr.DataType(), rows, err)
			}
		}
	}
}

// TestBytes: entries of a dictionary count for every row that has them.
func TestBytes(t *testing.T) {
	for _, arr := range samples(t) {
		b := array.NewSlice(arr, 0, int64(arr.Len()))
		kept, err := Gather(b, count(b.Len()))
		if err != nil {
			t.Fatal(err)
		}
		if got, want := Bytes(arr), int64(kept.Data().SizeInBytes()); got < want/3-64 || got > 2*want+200 {
			t.Errorf("%s: %d bytes, %d when gathered", arr.DataType(), got, want)
		}
	}
	long := array.NewDictionaryBuilder(memory.DefaultAllocator, &arrow.DictionaryType{IndexType: i32, ValueType: utf8}).(*array.BinaryDictionaryBuilder)
	for range 1000 {
		if err := long.AppendString(strings.Repeat("x", 1000)); err != nil {
			t.Fatal(err)
		}
	}
	if got := Bytes(long.NewArray()); got < 1_000_000 || got > 1_010_000 {
		t.Errorf("%d bytes", got)
	}
}

func count(n int) []int32 {
	out := make([]int32, n)
	for i := range out {
		out[i] = int32(i)
	}
	return out
}

// TestMetadata: what the fields of a schema say of their columns stays, at any depth.
func TestMetadata(t *testing.T) {
	note := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true, Metadata: arrow.NewMetadata([]string{"of"}, []string{name})}
	}
	m := arrow.MapOfWithMetadata(utf8, note("key", utf8).Metadata, utf8, note("value", utf8).Metadata)
	got := Schema(arrow.NewSchema([]arrow.Field{note("list", arrow.LargeListOfField(note("element", arrow.StructOf(note("field", m)))))}, nil))
	want := arrow.NewSchema([]arrow.Field{note("list", arrow.ListOfField(note("element", arrow.StructOf(note("field", m)))))}, nil)
	if got.String() != want.String() {
		t.Errorf("%s\nwant %s", got, want)
	}
	element := got.Field(0).Type.(*arrow.ListType).ElemField()
	field := element.Type.(*arrow.StructType).Field(0)
	pair := field.Type.(*arrow.MapType)
	for _, f := range []arrow.Field{element, field, pair.KeyField(), pair.ItemField()} {
		if f.Metadata.Len() != 1 {
			t.Errorf("%s lost its metadata", f.Name)
		}
	}
}
