// Package column holds the values of one Parquet leaf column in memory, as the engine handles them
// everywhere: decoded pages, shredded source rows and rows about to be encoded have this one form.
//
// A [Column] has one slot per level entry: for a flat column one slot a row, null or not, so that
// row i is slot i; for a nested column one slot per (repetition, definition) pair. A slot has a
// value only where its definition level is the leaf's maximum; other slots hold zeros or empty
// bytes. Values are raw little-endian bytes as PLAIN encodes them (bool: one byte 0 or 1), so that
// copying, comparing and gathering know no types; only ordering does.
package column

// Vector is a run of values without levels: fixed-width (Width > 0, Fixed holds n*Width bytes) or
// binary (Width == 0, value i is Data[Offsets[i]:Offsets[i+1]]).
type Vector struct {
	Width   int
	Fixed   []byte
	Offsets []uint32
	Data    []byte
}

// Column is the slots of a leaf column over a range of rows.
type Column struct {
	Slots  int
	MaxDef uint8
	Def    []uint8 // one per slot; nil where MaxDef == 0 or every slot has a value
	Rep    []uint8 // one per slot; nil where MaxRep == 0
	// Index and Dict hold a dictionary-encoded column: slot i has value Dict[Index[i]]. Where Dict is
	// nil, Values holds the slots themselves. Index of a slot without value is 0 and meaningless.
	Index  []int32
	Dict   *Vector
	Values Vector
}

// Value returns the bytes of slot i, aliasing the column; nil where the slot has no value. An empty
// byte array is a non-nil empty slice.
func (c *Column) Value(i int) []byte {
	if c.Null(i) {
		return nil
	}
	if c.Dict != nil {
		return c.Dict.At(int(c.Index[i]))
	}
	return c.Values.At(i)
}

// At returns value i of the vector, aliasing it.
func (v *Vector) At(i int) []byte {
	if v.Width > 0 {
		return v.Fixed[i*v.Width : (i+1)*v.Width : (i+1)*v.Width]
	}
	return v.Data[v.Offsets[i]:v.Offsets[i+1]:v.Offsets[i+1]]
}

// Len is the number of values in the vector.
func (v *Vector) Len() int {
	if v.Width > 0 {
		return len(v.Fixed) / v.Width
	}
	return max(len(v.Offsets)-1, 0)
}

// Null reports whether slot i has no value.
func (c *Column) Null(i int) bool { return c.Def != nil && c.Def[i] != c.MaxDef }
