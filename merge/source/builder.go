package source

import (
	"errors"
	"fmt"
	"math"
	"unsafe"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/bitutil"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/shred"
)

var errFull = errors.New("a batch of text is larger than 2 GiB")

// builder collects the values of a column from text. Unlike Arrow's own it can take back rows, so that
// one that turns out bad in its last column leaves nothing behind.
type builder struct {
	field    arrow.Field
	parse    shred.Parser // of a leaf
	width    int          // bytes of a leaf's value; 0: variable
	n        int
	valid    []bool
	data     []byte
	ends     []int32 // variable-length leaves, lists and maps: n+1 offsets
	children []*builder
}

func newBuilder(f arrow.Field, o shred.CastOptions) (*builder, error) {
	b := &builder{field: f}
	var inner []arrow.Field
	switch t := f.Type.(type) {
	case *arrow.NullType:
		return b, nil
	case *arrow.StructType:
		inner = t.Fields()
	case *arrow.MapType:
		key := t.KeyField()
		key.Nullable = false
		inner = []arrow.Field{key, t.ItemField()}
		b.ends = []int32{0}
	case *arrow.ListType:
		inner = []arrow.Field{t.ElemField()}
		b.ends = []int32{0}
	default:
		return b, b.leaf(o)
	}
	for _, f := range inner {
		child, err := newBuilder(f, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", f.Name, err)
		}
		b.children = append(b.children, child)
	}
	return b, nil
}

func (b *builder) leaf(o shred.CastOptions) (err error) {
	if b.parse, err = shred.NewParser(b.field.Type, o); err != nil {
		return err
	}
	if length, ok := shred.LengthOf(b.field); ok && b.field.Type.ID() == arrow.STRING {
		b.parse = limited(b.parse, length)
	}
	switch t := b.field.Type.(type) {
	case *arrow.BooleanType:
		b.width = 1
	case *arrow.StringType, *arrow.BinaryType:
		b.ends = []int32{0}
	case arrow.FixedWidthDataType:
		b.width = t.Bytes()
	default:
		return fmt.Errorf("%w: %s from text", shred.ErrType, t)
	}
	return nil
}

// limited is a parser of texts that refuses those longer than the column is declared.
func limited(parse shred.Parser, length shred.Length) shred.Parser {
	return func(dst []byte, text string) ([]byte, error) {
		if err := length.Check(text); err != nil {
			return dst, err
		}
		return parse(dst, text)
	}
}

// text appends a leaf's value.
func (b *builder) text(s []byte) error {
	// Parsers keep no text, so that it need not be copied.
	data, err := b.parse(b.data, unsafe.String(unsafe.SliceData(s), len(s)))
	if err != nil {
		return err
	}
	b.data = data
	return b.end(len(b.data))
}

// end counts one more value, which variable-length ones end at.
func (b *builder) end(at int) error {
	if b.ends != nil {
		if at > math.MaxInt32 {
			return errFull
		}
		b.ends = append(b.ends, int32(at))
	}
	b.valid = append(b.valid, true)
	b.n++
	return nil
}

// null appends a NULL; in a field that must have a value it is an error.
func (b *builder) null() error {
	if !b.field.Nullable {
		return shred.ErrNull
	}
	b.blank()
	return nil
}

// blank appends a place without value, below a null too.
func (b *builder) blank() {
	b.valid = append(b.valid, false)
	b.n++
	switch {
	case b.ends != nil:
		b.ends = append(b.ends, b.ends[b.n-1])
	case b.width > 0:
		var zero [32]byte
		for left := b.width; left > 0; left -= len(zero) {
			b.data = append(b.data, zero[:min(left, len(zero))]...)
		}
	default:
		for _, c := range b.children {
			c.blank()
		}
	}
}

// truncate takes back all values after the first n, and what a failed one left.
func (b *builder) truncate(n int) {
	b.n, b.valid = n, b.valid[:n]
	inner := n
	switch {
	case b.ends != nil:
		b.ends = b.ends[:n+1]
		inner = int(b.ends[n])
		if b.children == nil {
			b.data = b.data[:inner]
		}
	case b.width > 0:
		b.data = b.data[:n*b.width]
	}
	for _, c := range b.children {
		c.truncate(inner)
	}
}

// array takes the values out; the builder is empty then.
func (b *builder) array() arrow.Array {
	defer b.empty()
	if b.field.Type.ID() == arrow.NULL {
		return array.NewNull(b.n)
	}
	buffers := []*memory.Buffer{nil}
	bits, nulls := b.bitmap()
	if nulls > 0 {
		buffers[0] = memory.NewBufferBytes(bits)
	}
	if b.ends != nil {
		buffers = append(buffers, memory.NewBufferBytes(arrow.Int32Traits.CastToBytes(b.ends)))
	}
	switch {
	case b.field.Type.ID() == arrow.BOOL:
		buffers = append(buffers, memory.NewBufferBytes(packBits(b.data)))
	case b.parse != nil:
		buffers = append(buffers, memory.NewBufferBytes(b.data))
	}
	children := b.childData()
	data := array.NewData(b.field.Type, b.n, buffers, children, nulls, 0)
	defer data.Release()
	for _, c := range children {
		c.Release()
	}
	return array.MakeFromData(data)
}

func (b *builder) childData() []arrow.ArrayData {
	var children []arrow.ArrayData
	for _, c := range b.children {
		arr := c.array()
		arr.Data().Retain()
		children = append(children, arr.Data())
		arr.Release()
	}
	m, ok := b.field.Type.(*arrow.MapType)
	if !ok {
		return children
	}
	pairs := array.NewData(m.Elem(), int(b.ends[b.n]), []*memory.Buffer{nil}, children, 0, 0)
	for _, c := range children {
		c.Release()
	}
	return []arrow.ArrayData{pairs}
}

func (b *builder) bitmap() (bits []byte, nulls int) {
	bits = make([]byte, (b.n+7)/8)
	for i, ok := range b.valid {
		if ok {
			bitutil.SetBit(bits, i)
		} else {
			nulls++
		}
	}
	return bits, nulls
}

func packBits(plain []byte) []byte {
	bits := make([]byte, (len(plain)+7)/8)
	for i, v := range plain {
		if v != 0 {
			bits[i/8] |= 1 << (i % 8)
		}
	}
	return bits
}

// empty starts anew with buffers of its own: the last ones belong to an array.
func (b *builder) empty() {
	hint := cap(b.data)
	if b.width == 0 {
		hint = len(b.data)
	}
	b.n, b.valid, b.data = 0, b.valid[:0], make([]byte, 0, hint)
	if b.ends != nil {
		b.ends = append(make([]int32, 0, cap(b.ends)), 0)
	}
}
