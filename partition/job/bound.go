package job

import (
	"bytes"
	"cmp"
	"fmt"
	"math"
	"math/big"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/decimal256"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/shred"
)

// constants makes an array of a column's type of values as the file has them. The zone is that of times that have none.
func constants(texts []string, t arrow.DataType, zone *time.Location) (arrow.Array, error) {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(texts, nil)
	in := b.NewArray()
	defer in.Release()
	out, row, err := shred.Cast(in, t, shred.CastOptions{Explicit: true, SourceTimezone: zone})
	if err != nil && row >= 0 {
		return nil, fmt.Errorf("%q is no value of the column: %w", texts[row], err)
	}
	return out, err
}

// allows says of an array which values lie within the bounds. NaN lies in none.
func (b *Between) allows(arr arrow.Array, zone *time.Location) (func(i int) bool, error) {
	var checks []func(i int) bool
	for _, bound := range []struct {
		text *string
		sign int
	}{{b.Min, 1}, {b.Max, -1}} {
		if bound.text == nil {
			continue
		}
		limit, err := constants([]string{*bound.text}, arr.DataType(), zone)
		if err != nil {
			return nil, err
		}
		order := comparison(arr, limit)
		if order == nil {
			return nil, fmt.Errorf("values of the type %s have no order", arr.DataType())
		}
		checks = append(checks, func(i int) bool { return order(i, 0)*bound.sign >= 0 })
	}
	nan := isNaN(arr)
	return func(i int) bool {
		if nan != nil && nan(i) {
			return false
		}
		for _, fine := range checks {
			if !fine(i) {
				return false
			}
		}
		return true
	}, nil
}

// allows says of an array which values are among those accepted.
func (a *Accepted) allows(arr arrow.Array, zone *time.Location) (func(i int) bool, error) {
	values, err := constants(a.Values, arr.DataType(), zone)
	if err != nil {
		return nil, err
	}
	order := comparison(arr, values)
	if order == nil {
		return nil, fmt.Errorf("values of the type %s can't be compared", arr.DataType())
	}
	n := values.Len()
	return func(i int) bool {
		for j := range n {
			if order(i, j) == 0 {
				return true
			}
		}
		return false
	}, nil
}

// comparison compares value i of one array with value j of another of the same type; nil where the type has no order. Memory is
// that of the garbage collector, so the second need not be released.
func comparison(a, b arrow.Array) func(i, j int) int {
	switch a := a.(type) {
	case *array.Boolean:
		b := b.(*array.Boolean)
		return func(i, j int) int { return cmp.Compare(asInt(a.Value(i)), asInt(b.Value(j))) }
	case *array.Int8:
		return ordered(a.Value, b.(*array.Int8).Value)
	case *array.Int16:
		return ordered(a.Value, b.(*array.Int16).Value)
	case *array.Int32:
		return ordered(a.Value, b.(*array.Int32).Value)
	case *array.Int64:
		return ordered(a.Value, b.(*array.Int64).Value)
	case *array.Uint8:
		return ordered(a.Value, b.(*array.Uint8).Value)
	case *array.Uint16:
		return ordered(a.Value, b.(*array.Uint16).Value)
	case *array.Uint32:
		return ordered(a.Value, b.(*array.Uint32).Value)
	case *array.Uint64:
		return ordered(a.Value, b.(*array.Uint64).Value)
	case *array.Float32:
		return ordered(a.Value, b.(*array.Float32).Value)
	case *array.Float64:
		return ordered(a.Value, b.(*array.Float64).Value)
	case *array.Date32:
		return ordered(a.Value, b.(*array.Date32).Value)
	case *array.Date64:
		return ordered(a.Value, b.(*array.Date64).Value)
	case *array.Time32:
		return ordered(a.Value, b.(*array.Time32).Value)
	case *array.Time64:
		return ordered(a.Value, b.(*array.Time64).Value)
	case *array.Timestamp:
		return ordered(a.Value, b.(*array.Timestamp).Value)
	case *array.String:
		return ordered(a.Value, b.(*array.String).Value)
	case *array.LargeString:
		return ordered(a.Value, b.(*array.LargeString).Value)
	}
	return wideComparison(a, b)
}

// wideComparison is comparison of types whose values are no basic ones.
func wideComparison(a, b arrow.Array) func(i, j int) int {
	switch a := a.(type) {
	case *array.Binary:
		b := b.(*array.Binary)
		return func(i, j int) int { return bytes.Compare(a.Value(i), b.Value(j)) }
	case *array.LargeBinary:
		b := b.(*array.LargeBinary)
		return func(i, j int) int { return bytes.Compare(a.Value(i), b.Value(j)) }
	case *array.FixedSizeBinary:
		b := b.(*array.FixedSizeBinary)
		return func(i, j int) int { return bytes.Compare(a.Value(i), b.Value(j)) }
	case *array.Decimal128:
		b := b.(*array.Decimal128)
		return func(i, j int) int { return compareBig[decimal128.Num](a.Value(i), b.Value(j)) }
	case *array.Decimal256:
		b := b.(*array.Decimal256)
		return func(i, j int) int { return compareBig[decimal256.Num](a.Value(i), b.Value(j)) }
	}
	return nil
}

func compareBig[T interface{ BigInt() *big.Int }](a, b T) int { return a.BigInt().Cmp(b.BigInt()) }

func ordered[T cmp.Ordered](a, b func(int) T) func(i, j int) int {
	return func(i, j int) int { return cmp.Compare(a(i), b(j)) }
}

func asInt(v bool) int {
	if v {
		return 1
	}
	return 0
}

// isNaN says of an array of floats which are no number; nil of others.
func isNaN(arr arrow.Array) func(i int) bool {
	switch arr := arr.(type) {
	case *array.Float32:
		return func(i int) bool { return math.IsNaN(float64(arr.Value(i))) }
	case *array.Float64:
		return func(i int) bool { return math.IsNaN(arr.Value(i)) }
	}
	return nil
}
