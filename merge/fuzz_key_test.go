package merge

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/big"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/float16"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// keyKind is a type of key with a leaf that holds it.
type keyKind struct {
	typ  arrow.DataType
	leaf column.Leaf
	// compare orders values of the leaf; it knows nothing of encodings.
	compare func(a, b []byte) int
	// ok reports whether the bytes are a value of the type; nil: all of the leaf's width are.
	ok func(v []byte) bool
}

func integer(bits int, unsigned bool) column.Annotation {
	return column.Annotation{Kind: column.Int, Bits: bits, Unsigned: unsigned}
}

func sign(less, more bool) int {
	switch {
	case less:
		return -1
	case more:
		return 1
	}
	return 0
}

func compareInt32(a, b []byte) int {
	x, y := int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b))
	return sign(x < y, x > y)
}

func compareInt64(a, b []byte) int {
	x, y := int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b))
	return sign(x < y, x > y)
}

// compareFloats has one NaN, the largest, and one zero.
func compareFloats(x, y float64) int {
	switch {
	case math.IsNaN(x) || math.IsNaN(y):
		return sign(!math.IsNaN(x), !math.IsNaN(y))
	}
	return sign(x < y, x > y)
}

// compareBig compares big-endian integers with sign by arithmetic; the empty one is 0.
func compareBig(a, b []byte) int { return bigOf(a).Cmp(bigOf(b)) }

func bigOf(v []byte) *big.Int {
	n := new(big.Int)
	for i, b := range v {
		n.Mul(n, big.NewInt(256))
		if i == 0 {
			n.Add(n, big.NewInt(int64(int8(b))))
		} else {
			n.Add(n, big.NewInt(int64(b)))
		}
	}
	return n
}

func fitsDecimal(v []byte) bool { return len(v) <= 16 }

var keyKinds = []keyKind{
	{typ: arrow.PrimitiveTypes.Int32, leaf: column.Leaf{Type: format.Int32, Width: 4}, compare: compareInt32},
	{typ: arrow.PrimitiveTypes.Int64, leaf: column.Leaf{Type: format.Int64, Width: 8}, compare: compareInt64},
	{typ: arrow.PrimitiveTypes.Int64, leaf: column.Leaf{Type: format.Int32, Width: 4}, compare: compareInt32},
	{typ: arrow.PrimitiveTypes.Uint32, leaf: column.Leaf{Type: format.Int32, Width: 4, Annotation: integer(32, true)}, compare: func(a, b []byte) int {
		x, y := binary.LittleEndian.Uint32(a), binary.LittleEndian.Uint32(b)
		return sign(x < y, x > y)
	}},
	{typ: arrow.PrimitiveTypes.Uint64, leaf: column.Leaf{Type: format.Int64, Width: 8, Annotation: integer(64, true)}, compare: func(a, b []byte) int {
		x, y := binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b)
		return sign(x < y, x > y)
	}},
	{typ: arrow.FixedWidthTypes.Date32, leaf: column.Leaf{Type: format.Int32, Width: 4, Annotation: column.Annotation{Kind: column.Date}}, compare: compareInt32},
	{typ: &arrow.TimestampType{Unit: arrow.Microsecond}, leaf: column.Leaf{Type: format.Int64, Width: 8, Annotation: column.Annotation{Kind: column.Timestamp, Unit: 1e3}}, compare: compareInt64},
	{typ: &arrow.TimestampType{Unit: arrow.Nanosecond}, leaf: column.Leaf{Type: format.Int64, Width: 8, Annotation: column.Annotation{Kind: column.Timestamp, Unit: 1e6}}, compare: compareInt64,
		ok: func(v []byte) bool {
			n := int64(binary.LittleEndian.Uint64(v))
			return n > math.MinInt64/1_000_000 && n < math.MaxInt64/1_000_000
		}},
	{typ: arrow.FixedWidthTypes.Boolean, leaf: column.Leaf{Type: format.Boolean, Width: 1}, compare: bytes.Compare, ok: func(v []byte) bool { return v[0] < 2 }},
	{typ: arrow.BinaryTypes.String, leaf: column.Leaf{Type: format.ByteArray}, compare: bytes.Compare},
	{typ: &arrow.FixedSizeBinaryType{ByteWidth: 3}, leaf: column.Leaf{Type: format.FixedLenByteArray, Width: 3}, compare: bytes.Compare},
	{typ: arrow.PrimitiveTypes.Float64, leaf: column.Leaf{Type: format.Double, Width: 8}, compare: func(a, b []byte) int {
		return compareFloats(math.Float64frombits(binary.LittleEndian.Uint64(a)), math.Float64frombits(binary.LittleEndian.Uint64(b)))
	}},
	{typ: arrow.PrimitiveTypes.Float32, leaf: column.Leaf{Type: format.Float, Width: 4}, compare: compareSingles},
	{typ: arrow.PrimitiveTypes.Float64, leaf: column.Leaf{Type: format.Float, Width: 4}, compare: compareSingles},
	{typ: arrow.FixedWidthTypes.Float16, leaf: column.Leaf{Type: format.FixedLenByteArray, Width: 2, Annotation: column.Annotation{Kind: column.Float16}}, compare: func(a, b []byte) int {
		return compareFloats(float64(float16.FromLEBytes(a).Float32()), float64(float16.FromLEBytes(b).Float32()))
	}},
	{typ: &arrow.Decimal128Type{Precision: 38, Scale: 2}, leaf: column.Leaf{Type: format.ByteArray, Annotation: column.Annotation{Kind: column.Decimal, Precision: 38, Scale: 2}}, compare: compareBig, ok: fitsDecimal},
	{typ: &arrow.Decimal256Type{Precision: 60, Scale: 7}, leaf: column.Leaf{Type: format.ByteArray, Annotation: column.Annotation{Kind: column.Decimal, Precision: 38, Scale: 2}}, compare: compareBig, ok: fitsDecimal},
	{typ: &arrow.Decimal128Type{Precision: 18, Scale: 0}, leaf: column.Leaf{Type: format.FixedLenByteArray, Width: 5, Annotation: column.Annotation{Kind: column.Decimal, Precision: 11}}, compare: compareBig},
	{typ: &arrow.Decimal128Type{Precision: 12, Scale: 2}, leaf: column.Leaf{Type: format.Int64, Width: 8, Annotation: column.Annotation{Kind: column.Decimal, Precision: 12, Scale: 2}}, compare: compareInt64},
	{typ: &arrow.Decimal128Type{Precision: 30, Scale: 5}, leaf: column.Leaf{Type: format.Int32, Width: 4, Annotation: column.Annotation{Kind: column.Decimal, Precision: 9, Scale: 2}}, compare: compareInt32},
}

func compareSingles(a, b []byte) int {
	x, y := math.Float32frombits(binary.LittleEndian.Uint32(a)), math.Float32frombits(binary.LittleEndian.Uint32(b))
	return compareFloats(float64(x), float64(y))
}

// value cuts a value of the kind off data; nil is NULL.
func (k *keyKind) value(data []byte, nullable bool) (v, rest []byte, ok bool) {
	if len(data) == 0 {
		return nil, nil, false
	}
	head, data := data[0], data[1:]
	if head == 0 && nullable {
		return nil, data, true
	}
	size := k.leaf.Width
	if size == 0 {
		size = int(head) % 20
	}
	if size > len(data) {
		return nil, nil, false
	}
	v = append([]byte{}, data[:size]...)
	return v, data[size:], k.ok == nil || k.ok(v)
}

// FuzzKeys: the encodings of two keys of up to three columns, with NULL as a value or without, are in the order of the keys; equal keys
// have one encoding.
func FuzzKeys(f *testing.F) {
	for a := range keyKinds {
		f.Add(uint8(a), uint8(9), uint8(1), uint8(2), bytes.Repeat([]byte{1, 0, 0x80, 0xFF}, 20))
		f.Add(uint8(9), uint8(a), uint8(9), uint8(7), bytes.Repeat([]byte{3, 0, 0, 1, 0, 2}, 20))
		f.Add(uint8(a), uint8(a), uint8(9), uint8(5), bytes.Repeat([]byte{0, 1, 0xFF, 0xFF, 0xFF, 0x7F}, 20))
	}
	f.Fuzz(checkKeyOrder)
}

// TestKeyOrder is FuzzKeys over random bytes, near each other so that parts are often equal.
func TestKeyOrder(t *testing.T) {
	r := rand.New(rand.NewPCG(31, 32))
	edges := []byte{0, 0x80, 1, 2, 0x7F, 0xFE, 0xFF}
	for range 50_000 {
		half, few := make([]byte, 60), 1+r.IntN(len(edges))
		for i := range half {
			half[i] = edges[r.IntN(few)]
		}
		other := bytes.Clone(half)
		for range r.IntN(3) {
			other[r.IntN(20)] = edges[r.IntN(len(edges))]
		}
		checkKeyOrder(t, uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), uint8(r.Uint32()), slices.Concat(half, other))
	}
}

// checkKeyOrder takes a key out of either half of data and holds the order of their encodings against theirs.
func checkKeyOrder(t *testing.T, a, b, c, shape uint8, data []byte) {
	var kinds []keyKind
	for i, k := range []uint8{a, b, c} {
		if i <= int(shape>>1)%3 {
			kinds = append(kinds, keyKinds[int(k)%len(keyKinds)])
		}
	}
	nullable := shape&1 == 1
	var rows [2][][]byte
	for r, half := range [][]byte{data[:len(data)/2], data[len(data)/2:]} {
		for i := range kinds {
			v, rest, ok := kinds[i].value(half, nullable)
			if !ok {
				return
			}
			rows[r], half = append(rows[r], v), rest
		}
	}
	want := 0
	for i := range kinds {
		x, y := rows[0][i], rows[1][i]
		if want != 0 {
			break
		}
		if x == nil || y == nil {
			want = sign(x == nil && y != nil, x != nil && y == nil)
			continue
		}
		want = kinds[i].compare(x, y)
	}
	one, two, ok := encodeKeys(t, kinds, rows, nullable)
	if got := bytes.Compare(one, two); ok && got != want {
		t.Fatalf("%v and %v compare %d, their encodings %x and %x %d", rows[0], rows[1], want, one, two, got)
	}
}

// encodeKeys encodes two rows as one run of columns.
func encodeKeys(t *testing.T, kinds []keyKind, rows [2][][]byte, nullable bool) (one, two []byte, ok bool) {
	var parts []partType
	for i := range kinds {
		parts = append(parts, partType{typ: kinds[i].typ})
	}
	l := newLayout(parts, nullable)
	var enc []encoder
	var cols []cursorColumn
	for i := range kinds {
		leaf := kinds[i].leaf
		leaf.MaxDef = 1
		e, err := l.parts[i].encoder(&leaf)
		if err != nil {
			t.Fatal(err)
		}
		col := &column.Column{}
		col.Reset(&leaf)
		col.Slots, col.MaxDef = 2, 1
		col.Values.Reset(leaf.Width)
		for r := range rows {
			v, def := rows[r][i], uint8(1)
			if v == nil {
				v, def = make([]byte, leaf.Width), 0
			}
			col.Values.Append(v)
			col.Def = append(col.Def, def)
		}
		if !bytes.Contains(col.Def, []byte{0}) {
			col.Def = nil
		}
		enc, cols = append(enc, e), append(cols, cursorColumn{col: col})
	}
	var k keys
	if err := l.encode(&k, make([]bool, 2), enc, cols, 2); err != nil {
		return nil, nil, false // out of the type's range
	}
	return k.at(0), k.at(1), true
}
