package splice

import (
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// Stats is what a column chunk's statistics say that can be relied on.
type Stats struct {
	// Min and Max are bounds in the leaf's order (column.Order), as PLAIN bytes without length; nil
	// where they are absent or not to be trusted.
	Min, Max []byte
	// MinExact and MaxExact tell that the bound is a value of the chunk.
	MinExact, MaxExact bool
	NullCount          int64 // slots without value; -1 if unknown
}

// readStats reads Statistics and leaves out what writers are known to get wrong.
func (f *File) readStats(t *tValue, leaf *column.Leaf, c *Chunk) *Stats {
	if t == nil {
		return nil
	}
	s := &Stats{NullCount: t.int(3, -1)}
	if s.NullCount > c.NumValues || s.NullCount < 0 {
		s.NullCount = -1
	}
	if leaf.MaxDef == 0 {
		s.NullCount = 0
	}
	low, okLow := t.binary(6)
	high, okHigh := t.binary(5)
	switch {
	case okLow && okHigh && f.orders(leaf):
		exact := leaf.Type != format.ByteArray && leaf.Type != format.FixedLenByteArray && !statesLoosely(leaf)
		s.MinExact, s.MaxExact = t.bool(8, exact), t.bool(7, exact)
	case okLow || okHigh || !signedBytes(leaf):
		return s
	default:
		if low, okLow = t.binary(2); !okLow {
			return s
		}
		if high, okHigh = t.binary(1); !okHigh {
			return s
		}
		s.MinExact, s.MaxExact = true, true
	}
	if s.Min, s.Max = trustBounds(leaf, []byte(low), []byte(high)); s.Min == nil {
		s.MinExact, s.MaxExact = false, false
	}
	return s
}

// orders reports whether min_value and max_value of a column mean what column.Order says: the file
// states the type-defined order, and its writer knew it.
func (f *File) orders(leaf *column.Leaf) bool {
	list := f.footer.list(7, compactStruct)
	if leaf.Index >= len(list) || list[leaf.Index].field(1) == nil {
		return false
	}
	switch leaf.Type {
	case format.ByteArray, format.FixedLenByteArray:
		if leaf.Annotation.Kind == column.Decimal && !f.maker.ordersDecimals() || column.IsNaN(leaf) != nil && !f.maker.ordersFloats() {
			return false
		}
		return !f.maker.mistakesBinaryBounds()
	case format.Float, format.Double:
		return f.maker.ordersFloats()
	}
	return true
}

// signedBytes reports whether the deprecated min and max, which writers compared as signed, are in
// the leaf's order.
func signedBytes(leaf *column.Leaf) bool {
	switch leaf.Type {
	case format.Boolean, format.Float, format.Double:
		return true
	case format.Int32, format.Int64:
		return leaf.Annotation.Kind != column.Int || !leaf.Annotation.Unsigned
	}
	return false
}

// trustBounds returns bounds that readers may rely on, or nil: not where the leaf has no order, the
// bounds cannot be its values or stand the wrong way round, or one is NaN. Zeros of floats are
// widened to cover both (parquet-format, ColumnOrder).
func trustBounds(leaf *column.Leaf, low, high []byte) (lo, hi []byte) {
	order := column.Order(leaf)
	if order == nil || leaf.Width > 0 && (len(low) != leaf.Width || len(high) != leaf.Width) {
		return nil, nil
	}
	if isNaN := column.IsNaN(leaf); isNaN != nil {
		if isNaN(low) || isNaN(high) {
			return nil, nil
		}
		if isZeroFloat(low) {
			low[len(low)-1] = 0x80
		}
		if isZeroFloat(high) {
			high[len(high)-1] = 0
		}
	}
	if order(low, high) > 0 {
		return nil, nil
	}
	return low, high
}
