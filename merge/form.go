package merge

import (
	"fmt"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
)

// form is a column of a batch, shredded.
type form struct {
	once   sync.Once
	leaves []*column.Column
	starts [][]uint32 // per leaf, where each row's slots begin; nil for a flat leaf
	whole  bool       // no value is NULL as a whole: the top-level field is not optional
	err    error
}

// shred makes a form of an array's rows; nil takes all of them.
func (f *form) shred(arr arrow.Array, rows []int32, field arrow.Field, node *column.Node) error {
	leaves := node.Leaves()
	f.whole = node.Repetition != format.Optional
	for _, leaf := range leaves {
		c := &column.Column{}
		c.Reset(leaf)
		f.leaves = append(f.leaves, c)
	}
	if node.Leaf != nil && rows == nil && alias(f.leaves[0], arr, node.Leaf) {
		f.starts = make([][]uint32, 1)
		return nil
	}
	if err := shred.ShredRows(arr, rows, node, f.leaves); err != nil {
		return &Error{Kind: ErrValue, Column: field.Name, Err: err, Message: "a source value can't be stored",
			Hint: "a required column takes no NULL; timestamps keep the file's unit (--truncate-timestamps)"}
	}
	f.starts = make([][]uint32, len(leaves))
	for i, leaf := range leaves {
		if !leaf.Flat() {
			f.starts[i] = rowStarts(f.leaves[i], nil)
		}
	}
	return nil
}

// alias makes a column of an array's own buffers, where the array has no NULL and its values are laid
// out as the leaf's: most of a large source is, and it is then held once.
func alias(c *column.Column, arr arrow.Array, leaf *column.Leaf) bool {
	if arr.NullN() > 0 || arr.Len() == 0 || leaf.MaxRep > 0 || leaf.MaxDef > 1 {
		return false
	}
	switch a := arr.(type) {
	case *array.Int32, *array.Int64, *array.Float32, *array.Float64, *array.Date32:
		if arr.DataType().(arrow.FixedWidthDataType).Bytes() != leaf.Width {
			return false
		}
		switch a := leaf.Annotation; a.Kind {
		case column.None, column.Date:
		case column.Int: // of fewer bits than are stored, or without a sign, it may not hold the value
			if a.Unsigned || a.Bits != leaf.Width*8 {
				return false
			}
		default:
			return false
		}
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		if leaf.Type != format.Int64 || leaf.Annotation.Unit != int64(unit.Multiplier()) {
			return false
		}
	case *array.String:
		return aliasBytes(c, arr.Data(), leaf)
	case *array.Binary:
		return aliasBytes(c, arr.Data(), leaf)
	default:
		return false
	}
	from := arr.Data().Offset() * leaf.Width
	c.Values.Fixed = arr.Data().Buffers()[1].Bytes()[from : from+arr.Len()*leaf.Width]
	c.Slots = arr.Len()
	return true
}

// aliasBytes takes offsets and bytes of a string or binary array. Arrow's offsets are never negative,
// so that their bits are the same unsigned.
func aliasBytes(c *column.Column, data arrow.ArrayData, leaf *column.Leaf) bool {
	if leaf.Type != format.ByteArray || data.Buffers()[2] == nil {
		return false
	}
	offsets := arrow.Uint32Traits.CastFromBytes(data.Buffers()[1].Bytes())
	c.Values.Offsets = offsets[data.Offset() : data.Offset()+data.Len()+1]
	c.Values.Data = data.Buffers()[2].Bytes()
	c.Slots = data.Len()
	return true
}

// rowStarts lists the slots at which rows begin, and the end.
func rowStarts(c *column.Column, into []uint32) []uint32 {
	into = into[:0]
	for i, rep := range c.Rep[:c.Slots] {
		if rep == 0 {
			into = append(into, uint32(i))
		}
	}
	return append(into, uint32(c.Slots))
}

// span is the slots of row i.
func (f *form) span(leaf, i int) (from, to int) {
	if s := f.starts[leaf]; s != nil {
		return int(s[i]), int(s[i+1])
	}
	return i, i + 1
}

// signature names a node's physical form: equal signatures shred equally.
func signature(n *column.Node) string {
	var b strings.Builder
	writeSignature(&b, n)
	return b.String()
}

func writeSignature(b *strings.Builder, n *column.Node) {
	fmt.Fprintf(b, "%s:%d:%+v", strings.ToLower(n.Name), n.Repetition, n.Annotation)
	if n.Leaf != nil {
		fmt.Fprintf(b, ":%d:%d", n.Leaf.Type, n.Leaf.Width)
		return
	}
	b.WriteByte('{')
	for _, c := range n.Children {
		writeSignature(b, c)
	}
	b.WriteByte('}')
}

// null reports whether the whole value of a row is NULL: no part of the top-level field is there.
func (f *form) null(row int) bool {
	from, _ := f.span(0, row)
	c := f.leaves[0]
	return !f.whole && c.Def != nil && c.MaxDef > 0 && c.Def[from] == 0
}

// bytes is about how much the form takes.
func (f *form) bytes() int64 {
	total := int64(0)
	for i, c := range f.leaves {
		total += int64(len(c.Def) + len(c.Rep) + 4*len(c.Index) + len(c.Values.Fixed) + 4*len(c.Values.Offsets) + 4*len(f.starts[i]))
		if n := len(c.Values.Offsets); n > 0 {
			total += int64(c.Values.Offsets[n-1] - c.Values.Offsets[0])
		}
	}
	return total
}
