package shred

import (
	"fmt"
	"math"
	"math/big"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/decimal256"
	"github.com/apache/arrow/go/v17/arrow/float16"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/column"
)

// randomArray draws n values of a field's type, nulls only where the field allows them.
func randomArray(r *rand.Rand, f arrow.Field, n int) arrow.Array {
	b := array.NewBuilder(memory.DefaultAllocator, f.Type)
	defer b.Release()
	g := generator{r: r, nulls: []float64{0, 0.1, 0.5, 1}[r.IntN(4)]}
	for range n {
		g.value(b, f)
	}
	return b.NewArray()
}

type generator struct {
	r     *rand.Rand
	nulls float64
}

func (g *generator) value(b array.Builder, f arrow.Field) {
	if f.Nullable && g.r.Float64() < g.nulls {
		b.AppendNull()
		return
	}
	switch b := b.(type) {
	case *array.StructBuilder:
		b.Append(true)
		for i, f := range b.Type().(*arrow.StructType).Fields() {
			g.value(b.FieldBuilder(i), f)
		}
	case *array.MapBuilder:
		b.Append(true)
		t := b.Type().(*arrow.MapType)
		for range g.r.IntN(4) {
			g.value(b.KeyBuilder(), arrow.Field{Type: t.KeyType()})
			g.value(b.ItemBuilder(), t.ItemField())
		}
	case *array.ListBuilder:
		b.Append(true)
		for range g.r.IntN(4) {
			g.value(b.ValueBuilder(), b.Type().(*arrow.ListType).ElemField())
		}
	default:
		g.leaf(b)
	}
}

func (g *generator) int64() int64 {
	switch g.r.IntN(4) {
	case 0:
		return []int64{0, 1, -1, math.MaxInt64, math.MinInt64}[g.r.IntN(5)]
	case 1:
		return int64(g.r.IntN(10))
	}
	return int64(g.r.Uint64())
}

func (g *generator) bytes(n int) []byte {
	out := make([]byte, n)
	for i := range out {
		out[i] = byte(g.r.IntN(256))
	}
	return out
}

func (g *generator) decimal(precision int32) *big.Int {
	v := new(big.Int).SetBytes(g.bytes(1 + g.r.IntN(32)))
	v.Rem(v, pow10(int(precision)))
	if g.r.IntN(2) == 0 {
		v.Neg(v)
	}
	return v
}

func (g *generator) leaf(b array.Builder) {
	v := g.int64()
	switch b := b.(type) {
	case *array.NullBuilder:
		b.AppendNull()
	case *array.BooleanBuilder:
		b.Append(v&1 == 0)
	case *array.Int8Builder:
		b.Append(int8(v))
	case *array.Int16Builder:
		b.Append(int16(v))
	case *array.Int32Builder:
		b.Append(int32(v))
	case *array.Int64Builder:
		b.Append(v)
	case *array.Uint8Builder:
		b.Append(uint8(v))
	case *array.Uint16Builder:
		b.Append(uint16(v))
	case *array.Uint32Builder:
		b.Append(uint32(v))
	case *array.Uint64Builder:
		b.Append(uint64(v))
	case *array.Float16Builder:
		b.Append(float16.New(float32(v % 1000)))
	case *array.Float32Builder:
		b.Append(float32(v) / 3)
	case *array.Float64Builder:
		b.Append([]float64{float64(v) / 3, math.Copysign(0, -1), math.Inf(1)}[g.r.IntN(3)])
	case *array.Decimal128Builder:
		b.Append(decimal128.FromBigInt(g.decimal(b.Type().(arrow.DecimalType).GetPrecision())))
	case *array.Decimal256Builder:
		b.Append(decimal256.FromBigInt(g.decimal(b.Type().(arrow.DecimalType).GetPrecision())))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v))
	case *array.Time32Builder:
		b.Append(arrow.Time32(g.r.IntN(86400e3)))
	case *array.Time64Builder:
		b.Append(arrow.Time64(g.r.IntN(86400e6)))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(v))
	case *array.StringBuilder:
		b.Append([]string{"", "a", "käse", "日本", fmt.Sprint(v)}[g.r.IntN(5)])
	case *array.BinaryBuilder:
		b.Append(g.bytes(g.r.IntN(6)))
	case *array.FixedSizeBinaryBuilder:
		b.Append(g.bytes(b.Type().(*arrow.FixedSizeBinaryType).ByteWidth))
	default:
		panic(fmt.Sprintf("no generator for %s", b.Type()))
	}
}

// randomType draws a type, nested up to a depth.
func randomType(r *rand.Rand, depth int) arrow.DataType {
	leaves := everyType()
	if depth == 0 || r.IntN(3) == 0 {
		return leaves[r.IntN(len(leaves)-4)].Type // the last ones are marked by metadata
	}
	switch r.IntN(3) {
	case 0:
		return listOf(randomType(r, depth-1), r.IntN(2) == 0)
	case 1:
		key := []arrow.DataType{arrow.BinaryTypes.String, arrow.PrimitiveTypes.Int32}[r.IntN(2)]
		return mapOf(key, randomType(r, depth-1), r.IntN(2) == 0)
	}
	var fields []arrow.Field
	for i := range 1 + r.IntN(3) {
		fields = append(fields, arrow.Field{Name: fmt.Sprintf("f%d", i), Type: randomType(r, depth-1), Nullable: r.IntN(2) == 0})
	}
	return arrow.StructOf(fields...)
}

func columnsFor(leaves []*column.Leaf) []*column.Column {
	out := make([]*column.Column, len(leaves))
	for i := range out {
		out[i] = &column.Column{}
	}
	return out
}

func mustShred(t testing.TB, arr arrow.Array, rows []int32, s *column.Schema) []*column.Column {
	t.Helper()
	into := columnsFor(s.Leaves)
	if err := ShredRows(arr, rows, s.Root.Children[0], into); err != nil {
		t.Fatalf("shred %s: %v", arr.DataType(), err)
	}
	return into
}

func mustAssemble(t testing.TB, s *column.Schema, leaves []*column.Column, rows int) arrow.Array {
	t.Helper()
	arr, err := Assemble(s.Root.Children[0], leaves, rows)
	if err != nil {
		t.Fatalf("assemble: %v", err)
	}
	return arr
}

// sameColumns compares slot by slot, levels and values, and that slots without a value are empty.
func sameColumns(t testing.TB, got, want []*column.Column) {
	t.Helper()
	for l := range want {
		g, w := got[l], want[l]
		if g.Slots != w.Slots || g.MaxDef != w.MaxDef {
			t.Fatalf("leaf %d: %d slots, want %d", l, g.Slots, w.Slots)
		}
		for i := range w.Slots {
			if g.Rep != nil && w.Rep != nil && g.Rep[i] != w.Rep[i] || (g.Rep == nil) != (w.Rep == nil) {
				t.Fatalf("leaf %d slot %d: repetition levels differ: %v, want %v", l, i, g.Rep, w.Rep)
			}
			if !column.Equal(g, i, w, i, nil) {
				t.Fatalf("leaf %d slot %d: value %x, want %x", l, i, g.Value(i), w.Value(i))
			}
			if g.Null(i) && g.Dict == nil {
				for _, b := range g.Values.At(i) {
					if b != 0 {
						t.Fatalf("leaf %d slot %d: not empty without a value", l, i)
					}
				}
			}
		}
	}
}
