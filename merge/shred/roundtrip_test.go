package shred

import (
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"pgregory.net/rapid"

	"github.com/hupsert/hupsert/merge/column"
)

func drawRand(t *rapid.T) *rand.Rand {
	return rand.New(rand.NewPCG(rapid.Uint64().Draw(t, "seed"), 0))
}

func TestAssembleOfShred(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		r := drawRand(t)
		f := arrow.Field{Name: "f", Type: randomType(r, 3), Nullable: r.IntN(2) == 0}
		if f.Type.ID() == arrow.NULL {
			f.Nullable = true
		}
		checkRoundTrip(t, r, f)
	})
}

func TestAssembleOfShredEveryField(t *testing.T) {
	for _, f := range append(everyType(), everyNesting()...) {
		t.Run(f.Name, func(t *testing.T) {
			for seed := range uint64(20) {
				checkRoundTrip(t, rand.New(rand.NewPCG(seed, 1)), f)
			}
		})
	}
}

func checkRoundTrip(t fatalf, r *rand.Rand, f arrow.Field) {
	if hasRequiredNull(f) {
		return
	}
	s, err := ParquetSchema(arrow.NewSchema([]arrow.Field{f}, nil))
	if err != nil {
		t.Fatalf("%v", err)
	}
	node := s.Root.Children[0]
	arr := randomArray(r, f, r.IntN(40))
	leaves := columnsFor(s.Leaves)
	if err := Shred(arr, node, leaves); err != nil {
		t.Fatalf("shred %s: %v", f.Type, err)
	}
	back, err := Assemble(node, leaves, arr.Len())
	if err != nil {
		t.Fatalf("assemble %s: %v", f.Type, err)
	}
	if !array.Equal(back, arr) {
		t.Fatalf("%s\n got %v\nwant %v", f.Type, back, arr)
	}
	checkRows(t, r, arr, node, s)
	checkAppended(t, r, arr, node, s, leaves)
}

// hasRequiredNull: no value can be drawn for a required field of type null.
func hasRequiredNull(f arrow.Field) bool {
	switch t := f.Type.(type) {
	case *arrow.NullType:
		return !f.Nullable
	case *arrow.StructType:
		for _, f := range t.Fields() {
			if hasRequiredNull(f) {
				return true
			}
		}
	case *arrow.MapType:
		return hasRequiredNull(t.ItemField())
	case *arrow.ListType:
		return hasRequiredNull(t.ElemField())
	}
	return false
}

type fatalf interface{ Fatalf(string, ...any) }

// checkRows: shredding selected rows is shredding the array that has just them.
func checkRows(t fatalf, r *rand.Rand, arr arrow.Array, node *column.Node, s *column.Schema) {
	rows := []int32{}
	var picked []arrow.Array
	for range r.IntN(20) {
		if arr.Len() > 0 {
			row := r.IntN(arr.Len())
			rows = append(rows, int32(row))
			picked = append(picked, array.NewSlice(arr, int64(row), int64(row+1)))
		}
	}
	got := columnsFor(s.Leaves)
	if err := ShredRows(arr, rows, node, got); err != nil {
		t.Fatalf("shred rows: %v", err)
	}
	back, err := Assemble(node, got, len(rows))
	if err != nil {
		t.Fatalf("assemble rows: %v", err)
	}
	if len(picked) == 0 {
		return
	}
	want, err := array.Concatenate(picked, memory.DefaultAllocator)
	if err != nil {
		return // Arrow's own does not concatenate every type
	}
	if !array.Equal(back, want) {
		t.Fatalf("rows %v of %s\n got %v\nwant %v", rows, arr.DataType(), back, want)
	}
}

// checkAppended: shredding two slices one after the other is shredding the whole.
func checkAppended(t fatalf, r *rand.Rand, arr arrow.Array, node *column.Node, s *column.Schema, want []*column.Column) {
	cut := int64(r.IntN(arr.Len() + 1))
	got := columnsFor(s.Leaves)
	for _, part := range []arrow.Array{array.NewSlice(arr, 0, cut), array.NewSlice(arr, cut, int64(arr.Len()))} {
		if err := Shred(part, node, got); err != nil {
			t.Fatalf("shred part: %v", err)
		}
	}
	for l := range want {
		if got[l].Slots != want[l].Slots {
			t.Fatalf("leaf %d: %d slots in parts, %d at once", l, got[l].Slots, want[l].Slots)
		}
		for i := range want[l].Slots {
			if !column.Equal(got[l], i, want[l], i, nil) || want[l].Rep != nil && got[l].Rep[i] != want[l].Rep[i] {
				t.Fatalf("leaf %d slot %d differs in parts", l, i)
			}
		}
	}
}
