package shred

import (
	"encoding/binary"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

func fromJSON(t testing.TB, typ arrow.DataType, text string) arrow.Array {
	t.Helper()
	arr, _, err := array.FromJSON(memory.DefaultAllocator, typ, strings.NewReader(text), array.WithUseNumber())
	if err != nil {
		t.Fatal(err)
	}
	return arr
}

func dictionary(t testing.TB, index, value arrow.DataType, indices, entries string) arrow.Array {
	t.Helper()
	typ := &arrow.DictionaryType{IndexType: index, ValueType: value}
	return array.NewDictionaryArray(typ, fromJSON(t, index, indices), fromJSON(t, value, entries))
}

func optional(t testing.TB, typ arrow.DataType) *column.Schema {
	t.Helper()
	return mustParquet(t, arrow.Field{Name: "x", Type: typ, Nullable: true})
}

func texts(c *column.Column) string {
	var out []string
	for i := range c.Slots {
		if v := c.Value(i); v == nil {
			out = append(out, "-")
		} else {
			out = append(out, string(v))
		}
	}
	return strings.Join(out, " ")
}

func TestShredDictionary(t *testing.T) {
	str := arrow.BinaryTypes.String
	const indices, entries, want = "[1,0,null,1]", `["a","b"]`, "b a - b"
	for _, index := range []arrow.DataType{
		arrow.PrimitiveTypes.Int8, arrow.PrimitiveTypes.Int16, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64,
		arrow.PrimitiveTypes.Uint8, arrow.PrimitiveTypes.Uint16, arrow.PrimitiveTypes.Uint32, arrow.PrimitiveTypes.Uint64,
	} {
		arr := dictionary(t, index, str, indices, entries)
		c := mustShred(t, arr, nil, optional(t, str))[0]
		if c.Dict == nil || texts(c) != want {
			t.Errorf("%s: %q, dictionary kept: %v", index, texts(c), c.Dict != nil)
		}
	}
	t.Run("the same dictionary again", func(t *testing.T) {
		s := optional(t, str)
		c := &column.Column{}
		for range 2 {
			arr := dictionary(t, arrow.PrimitiveTypes.Int32, str, indices, entries)
			if err := Shred(arr, s.Root.Children[0], []*column.Column{c}); err != nil {
				t.Fatal(err)
			}
		}
		if c.Dict == nil || texts(c) != want+" "+want {
			t.Errorf("%q, dictionary kept: %v", texts(c), c.Dict != nil)
		}
	})
	t.Run("another dictionary", func(t *testing.T) {
		s := optional(t, str)
		c := &column.Column{}
		for _, e := range []string{`["a","b"]`, `["c","d"]`} {
			arr := dictionary(t, arrow.PrimitiveTypes.Int32, str, indices, e)
			if err := Shred(arr, s.Root.Children[0], []*column.Column{c}); err != nil {
				t.Fatal(err)
			}
		}
		if got := texts(c); c.Dict != nil || got != "b a - b d c - d" {
			t.Errorf("%q, dictionary kept: %v", got, c.Dict != nil)
		}
	})
	t.Run("larger than its rows", func(t *testing.T) {
		arr := dictionary(t, arrow.PrimitiveTypes.Int32, str, "[2]", `["a","b","c"]`)
		if c := mustShred(t, arr, nil, optional(t, str))[0]; c.Dict != nil || texts(c) != "c" {
			t.Errorf("%q, dictionary kept: %v", texts(c), c.Dict != nil)
		}
	})
	t.Run("null entries", func(t *testing.T) {
		arr := dictionary(t, arrow.PrimitiveTypes.Int32, str, "[0,1,null]", `["a",null]`)
		if c := mustShred(t, arr, nil, optional(t, str))[0]; texts(c) != "a - -" {
			t.Errorf("%q", texts(c))
		}
	})
	t.Run("rows", func(t *testing.T) {
		arr := dictionary(t, arrow.PrimitiveTypes.Int32, str, indices, entries)
		if c := mustShred(t, arr, []int32{3, 2, 0}, optional(t, str))[0]; texts(c) != "b - b" {
			t.Errorf("%q", texts(c))
		}
	})
	t.Run("of numbers", func(t *testing.T) {
		arr := dictionary(t, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, indices, `[7,8]`)
		s := optional(t, arrow.PrimitiveTypes.Int64)
		got := mustAssemble(t, s, mustShred(t, arr, nil, s), 4)
		if want := fromJSON(t, arrow.PrimitiveTypes.Int64, "[8,7,null,8]"); !array.Equal(got, want) {
			t.Errorf("got %v, want %v", got, want)
		}
	})
}

func TestAssembleDictionary(t *testing.T) {
	s := optional(t, arrow.BinaryTypes.String)
	node := s.Root.Children[0]
	dict := &column.Vector{Offsets: []uint32{0, 1, 2}, Data: []byte("ab")}
	c := &column.Column{Slots: 3, MaxDef: 1, Def: []uint8{1, 0, 1}, Index: []int32{1, 0, 0}, Dict: dict}
	entries, err := DictionaryValues(node, dict)
	if err != nil {
		t.Fatal(err)
	}
	arr, err := AssembleDictionary(node, c, entries)
	if err != nil {
		t.Fatal(err)
	}
	back := mustShred(t, arr, nil, s)
	if texts(back[0]) != "b - a" {
		t.Errorf("%q", texts(back[0]))
	}
	c.Index[0] = 2
	if _, err := AssembleDictionary(node, c, entries); !errors.Is(err, ErrLevels) {
		t.Errorf("index out of range: %v", err)
	}
	if _, err := Assemble(node, []*column.Column{c}, 3); !errors.Is(err, ErrLevels) {
		t.Errorf("index out of range, values wanted: %v", err)
	}
	if !KeepsDictionary(node) || KeepsDictionary(optional(t, arrow.PrimitiveTypes.Int32).Root.Children[0]) {
		t.Error("only flat strings and binaries keep a dictionary")
	}
}

func TestShredRequiredNull(t *testing.T) {
	s := mustParquet(t, arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32})
	arr := fromJSON(t, arrow.PrimitiveTypes.Int32, "[1,2,null,4]")
	err := ShredRows(arr, []int32{3, 2}, s.Root.Children[0], columnsFor(s.Leaves))
	var v *ValueError
	if !errors.Is(err, ErrNull) || !errors.As(err, &v) || v.Row != 2 {
		t.Errorf("got %v, want a null in row 2", err)
	}
	if err := ShredRows(arr, []int32{3, 0}, s.Root.Children[0], columnsFor(s.Leaves)); err != nil {
		t.Errorf("rows without the null: %v", err)
	}
	lists := mustParquet(t, arrow.Field{Name: "x", Type: listOf(arrow.PrimitiveTypes.Int32, false)})
	arr = fromJSON(t, arrow.ListOf(arrow.PrimitiveTypes.Int32), "[[1],[],[2,null]]")
	if err := Shred(arr, lists.Root.Children[0], columnsFor(lists.Leaves)); !errors.As(err, &v) || v.Row != 2 {
		t.Errorf("got %v, want a null in row 2", err)
	}
}

// TestShredConverts: arrays of another type than the field's are brought to it without loss or not at
// all.
func TestShredConverts(t *testing.T) {
	s := optional(t, &arrow.TimestampType{Unit: arrow.Millisecond})
	micros := &arrow.TimestampType{Unit: arrow.Microsecond}
	b := array.NewTimestampBuilder(memory.DefaultAllocator, micros)
	b.AppendValues([]arrow.Timestamp{1000, 1001}, nil)
	arr := b.NewArray()
	var v *ValueError
	if err := Shred(arr, s.Root.Children[0], columnsFor(s.Leaves)); !errors.Is(err, ErrLossy) || !errors.As(err, &v) || v.Row != 1 {
		t.Errorf("got %v, want a lossy value in row 1", err)
	}
	c := columnsFor(s.Leaves)
	if err := ShredRows(arr, []int32{0}, s.Root.Children[0], c); err != nil || c[0].Values.Fixed[0] != 1 {
		t.Errorf("row 0: %v", err)
	}
	if err := Shred(fromJSON(t, arrow.BinaryTypes.String, `["x"]`), s.Root.Children[0], columnsFor(s.Leaves)); !errors.Is(err, ErrType) {
		t.Errorf("string as timestamp: %v", err)
	}
	large := fromJSON(t, arrow.BinaryTypes.LargeString, `["x",null]`)
	str := optional(t, arrow.BinaryTypes.String)
	if got := texts(mustShred(t, large, nil, str)[0]); got != "x -" {
		t.Errorf("large strings: %q", got)
	}
}

func decimalLeaf(p format.Type, width int, precision, scale int32) *column.Schema {
	s := tree{name: "d", rep: 'o'}.schema()
	s.Root.Children[0].Annotation = column.Annotation{Kind: column.Decimal, Precision: precision, Scale: scale}
	*s.Leaves[0] = column.Leaf{Type: p, Width: width, MaxDef: 1, Annotation: s.Root.Children[0].Annotation}
	return s
}

func TestDecimalLayouts(t *testing.T) {
	for name, s := range map[string]*column.Schema{
		"INT32":      decimalLeaf(format.Int32, 4, 9, 2),
		"INT64":      decimalLeaf(format.Int64, 8, 9, 2),
		"FLBA 4":     decimalLeaf(format.FixedLenByteArray, 4, 9, 2),
		"FLBA 16":    decimalLeaf(format.FixedLenByteArray, 16, 9, 2),
		"FLBA 20":    decimalLeaf(format.FixedLenByteArray, 20, 9, 2),
		"BYTE_ARRAY": decimalLeaf(format.ByteArray, 0, 9, 2),
	} {
		arr := fromJSON(t, &arrow.Decimal128Type{Precision: 9, Scale: 2}, `["0.00","-0.01","1.28","-1.28","1.27","9999999.99","-9999999.99",null]`)
		if got := mustAssemble(t, s, mustShred(t, arr, nil, s), arr.Len()); !array.Equal(got, arr) {
			t.Errorf("%s: got %v, want %v", name, got, arr)
		}
	}
	s := decimalLeaf(format.ByteArray, 0, 9, 2)
	arr := fromJSON(t, &arrow.Decimal128Type{Precision: 9, Scale: 2}, `["0.00","1.27","1.28","-1.28","-1.29"]`)
	c := mustShred(t, arr, nil, s)[0]
	for i, want := range []string{"\x00", "\x7F", "\x00\x80", "\x80", "\xFF\x7F"} {
		if got := string(c.Value(i)); got != want {
			t.Errorf("BYTE_ARRAY %d: % x, want % x", i, got, want)
		}
	}
}

func TestDecimalBytesTooLong(t *testing.T) {
	s := decimalLeaf(format.ByteArray, 0, 38, 0)
	c := &column.Column{}
	c.Reset(s.Leaves[0])
	c.Values.Append(append([]byte{0xFF, 0xFF, 0x80}, make([]byte, 15)...)) // leading signs only
	c.Slots = 1
	if got := mustAssemble(t, s, []*column.Column{c}, 1).(*array.Decimal128).Value(0); got != decimal128.New(math.MinInt64, 0) {
		t.Errorf("got %v", got)
	}
	c.Values.Append(append([]byte{1}, make([]byte, 16)...))
	c.Slots = 2
	var v *ValueError
	if _, err := Assemble(s.Root.Children[0], []*column.Column{c}, 2); !errors.Is(err, ErrLossy) || !errors.As(err, &v) || v.Row != 1 {
		t.Errorf("17 bytes: %v", err)
	}
}

func TestInt96(t *testing.T) {
	s := mustParquet(t, arrow.Field{Name: "x", Type: &arrow.TimestampType{Unit: arrow.Nanosecond}, Nullable: true,
		Metadata: arrow.NewMetadata([]string{MetaKind}, []string{"INT96"})})
	b := array.NewTimestampBuilder(memory.DefaultAllocator, &arrow.TimestampType{Unit: arrow.Nanosecond})
	for _, v := range []int64{0, -1, 1, math.MaxInt64, math.MinInt64, time.Date(2000, 1, 1, 12, 0, 0, 5, time.UTC).UnixNano()} {
		b.Append(arrow.Timestamp(v))
	}
	arr := b.NewArray()
	leaves := mustShred(t, arr, nil, s)
	if got := mustAssemble(t, s, leaves, arr.Len()); !array.Equal(got, arr) {
		t.Errorf("got %v, want %v", got, arr)
	}
	// 2000-01-01 is Julian day 2451545 (by definition of J2000.0, at noon).
	if day := binary.LittleEndian.Uint32(leaves[0].Value(5)[8:]); day != 2451545 {
		t.Errorf("Julian day %d", day)
	}
	binary.LittleEndian.PutUint32(leaves[0].Values.Fixed[8:], 5373484) // 9999-12-31
	var v *ValueError
	if _, err := Assemble(s.Root.Children[0], leaves, arr.Len()); !errors.Is(err, ErrLossy) || !errors.As(err, &v) || v.Row != 0 {
		t.Errorf("the year 9999 in nanoseconds: %v", err)
	}
}

// TestInt96Micros: Spark's years reach as far as int64 counts microseconds, its days wrap around there, and there is
// nothing finer.
func TestInt96Micros(t *testing.T) {
	typ := &arrow.TimestampType{Unit: arrow.Microsecond}
	s := mustParquet(t, arrow.Field{Name: "x", Type: typ, Nullable: true, Metadata: arrow.NewMetadata([]string{MetaKind}, []string{"INT96"})})
	b := array.NewTimestampBuilder(memory.DefaultAllocator, typ)
	for _, v := range []int64{0, -1, 1, math.MaxInt64, math.MinInt64, time.Date(9999, 12, 31, 23, 59, 59, 999999000, time.UTC).UnixMicro(), 9089380393200000000} {
		b.Append(arrow.Timestamp(v))
	}
	arr := b.NewArray()
	leaves := mustShred(t, arr, nil, s)
	if got := mustAssemble(t, s, leaves, arr.Len()); !array.Equal(got, arr) {
		t.Errorf("got %v, want %v", got, arr)
	}
	// As Spark writes the last one: its sum with the Julian epoch passes 2^63.
	binary.LittleEndian.PutUint32(leaves[0].Values.Fixed[6*12+8:], 4189105064)
	micros := int64(9089380393200000000)
	sum := micros + 2440588*86400e6 // wraps around
	rest := sum % 86400e6           // negative
	binary.LittleEndian.PutUint64(leaves[0].Values.Fixed[6*12:], uint64(rest*1000))
	if got := mustAssemble(t, s, leaves, arr.Len()); !array.Equal(got, arr) {
		t.Errorf("got %v, want %v", got, arr)
	}
	leaves[0].Values.Fixed[0] = 1
	var v *ValueError
	if _, err := Assemble(s.Root.Children[0], leaves, arr.Len()); !errors.Is(err, ErrLossy) || !errors.As(err, &v) || v.Row != 0 {
		t.Errorf("a nanosecond in microseconds: %v", err)
	}
}

func TestNarrowIntsAreChecked(t *testing.T) {
	s := optional(t, arrow.PrimitiveTypes.Int8)
	c := &column.Column{Slots: 1, MaxDef: 1, Values: column.Vector{Width: 4, Fixed: []byte{0, 1, 0, 0}}}
	if _, err := Assemble(s.Root.Children[0], []*column.Column{c}, 1); !errors.Is(err, ErrLossy) {
		t.Errorf("256 in eight bits: %v", err)
	}
}
