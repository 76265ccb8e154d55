package column

import "bytes"

// Reset empties a column for a leaf and keeps its buffers of values.
func (c *Column) Reset(leaf *Leaf) {
	c.Slots, c.MaxDef = 0, uint8(leaf.MaxDef)
	c.Def, c.Rep = nil, c.Rep[:0]
	if leaf.MaxRep == 0 {
		c.Rep = nil
	}
	c.Index, c.Dict = c.Index[:0], nil
	c.Values.Reset(leaf.Width)
}

// Reset empties a vector for values of a width and keeps its buffers.
func (v *Vector) Reset(width int) {
	v.Width = width
	v.Fixed, v.Data = v.Fixed[:0], v.Data[:0]
	v.Offsets = v.Offsets[:0]
	if width == 0 {
		v.Offsets = append(v.Offsets, 0)
	}
}

// Append appends slots [from, to) of src. A column that is empty and takes its first slots from a
// dictionary keeps the dictionary, and its indices are appended as they are for as long as the
// dictionary stays the same; the first slots of another origin make its values plain.
func (c *Column) Append(leaf *Leaf, src *Column, from, to int) {
	n := to - from
	if n <= 0 {
		return
	}
	c.appendLevels(leaf, src, from, to)
	if src.Dict != nil && (c.Dict == src.Dict || c.Slots == 0) {
		c.Dict = src.Dict
		c.Index = append(c.Index, src.Index[from:to]...)
		c.Slots += n
		return
	}
	c.Plain()
	if src.Dict == nil {
		c.Values.AppendRange(&src.Values, from, to)
	} else {
		for i := from; i < to; i++ {
			c.Values.Append(src.Value(i))
		}
	}
	c.Slots += n
}

// AppendNull appends one slot without a value, the start of a row.
func (c *Column) AppendNull(leaf *Leaf, def uint8) {
	c.materialiseDef()
	c.Def = append(c.Def, def)
	if leaf.MaxRep > 0 {
		c.Rep = append(c.Rep, 0)
	}
	if c.Dict != nil {
		c.Index = append(c.Index, 0)
	} else {
		c.Values.Append(nil)
	}
	c.Slots++
}

func (c *Column) appendLevels(leaf *Leaf, src *Column, from, to int) {
	if leaf.MaxDef > 0 {
		switch {
		case src.Def != nil:
			c.materialiseDef()
			c.Def = append(c.Def, src.Def[from:to]...)
		case c.Def != nil:
			c.Def = append(c.Def, bytes.Repeat([]byte{c.MaxDef}, to-from)...)
		}
	}
	if leaf.MaxRep > 0 {
		c.Rep = append(c.Rep, src.Rep[from:to]...)
	}
}

// materialiseDef gives every slot so far its level, before the first slot without a value.
func (c *Column) materialiseDef() {
	if c.Def == nil {
		c.Def = bytes.Repeat([]byte{c.MaxDef}, c.Slots)
		if c.Def == nil {
			c.Def = []byte{}
		}
	}
}

// Plain replaces dictionary indices by the values they stand for.
func (c *Column) Plain() {
	if c.Dict == nil {
		return
	}
	dict, index := c.Dict, c.Index
	c.Dict = nil
	c.Values.Reset(dict.Width)
	for i, at := range index[:c.Slots] {
		if c.Null(i) {
			c.Values.Append(nil)
			continue
		}
		c.Values.Append(dict.At(int(at)))
	}
	c.Index = c.Index[:0]
}

// Append appends one value; nil is zeros or the empty byte array.
func (v *Vector) Append(value []byte) {
	if v.Width == 0 {
		v.Data = append(v.Data, value...)
		v.Offsets = append(v.Offsets, uint32(len(v.Data)))
		return
	}
	if value == nil {
		for range v.Width {
			v.Fixed = append(v.Fixed, 0)
		}
		return
	}
	v.Fixed = append(v.Fixed, value...)
}

// AppendRange appends values [from, to) of src, which has the same width.
func (v *Vector) AppendRange(src *Vector, from, to int) {
	if v.Width > 0 {
		v.Fixed = append(v.Fixed, src.Fixed[from*v.Width:to*v.Width]...)
		return
	}
	start := src.Offsets[from]
	shift := uint32(len(v.Data)) - start
	v.Data = append(v.Data, src.Data[start:src.Offsets[to]]...)
	for _, end := range src.Offsets[from+1 : to+1] {
		v.Offsets = append(v.Offsets, end+shift)
	}
}

// Equal reports whether slot i of c and slot j of d hold the same: both without a value at the same
// definition level, or the same bytes; where nan is given, any two NaN are the same.
func Equal(c *Column, i int, d *Column, j int, nan func([]byte) bool) bool {
	if cn, dn := c.Null(i), d.Null(j); cn || dn {
		return cn && dn && c.Def[i] == d.Def[j]
	}
	a, b := c.Value(i), d.Value(j)
	if bytes.Equal(a, b) {
		return true
	}
	return nan != nil && nan(a) && nan(b)
}
