package merge

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// An encoder writes the values of one leaf as bytes whose order is the order of the values, the
// same for every physical type that a table's column has in its files. It is the part of a key or
// version that one column contributes.
//
// Integers, dates, times and timestamps are 4 or 8 bytes big-endian, signed ones with the sign bit
// flipped; decimals the unscaled value at the table's scale in 8, 16 or 32 bytes likewise; floats
// have all bits flipped where negative. Byte arrays that another part follows have 00 written as
// 00 FF and end with 00 01, so that no value's encoding is the start of another's. Where parts may be
// NULL each begins with 00 for NULL, 01 else.
type encoder struct {
	leaf  *column.Leaf
	width int // bytes of a part, 0: variable
	// swap says that the part is the value's bytes, of the same number, in the other order and with the
	// bits of flip in the first one turned.
	swap bool
	flip byte
	// put appends the part for a value.
	put func(dst, value []byte) ([]byte, error)
	// whole is put that counts the blanks at the end, nil where put does too.
	whole func(dst, value []byte) ([]byte, error)
}

// partType is what a table's column makes of a part: the same for all files.
type partType struct {
	typ  arrow.DataType
	last bool // nothing follows: byte arrays go in as they are
	char bool // a CHAR(n): blanks at the end do not count
}

// width is the length of the part's encoding, 0 where it varies.
func (p partType) width() int {
	switch t := p.typ.(type) {
	case *arrow.BooleanType:
		return 1
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type,
		*arrow.Date32Type, *arrow.Time32Type, *arrow.Float32Type:
		return 4
	case *arrow.Int64Type, *arrow.Uint64Type, *arrow.Date64Type, *arrow.Time64Type, *arrow.TimestampType, *arrow.Float64Type:
		return 8
	case *arrow.Float16Type:
		return 2
	case *arrow.Decimal128Type:
		return decimalWidth(t.Precision)
	case *arrow.Decimal256Type:
		return decimalWidth(t.Precision)
	case *arrow.FixedSizeBinaryType:
		return t.ByteWidth
	}
	return 0
}

func decimalWidth(precision int32) int {
	switch {
	case precision <= 18:
		return 8
	case precision <= 38:
		return 16
	}
	return 32
}

// encoder makes the encoder of the part for a leaf of one file.
func (p partType) encoder(leaf *column.Leaf) (encoder, error) {
	e := encoder{leaf: leaf, width: p.width()}
	unfit := func() (encoder, error) {
		return e, fmt.Errorf("stored as %s, which does not compare with the table's %s", leaf.Type, p.typ)
	}
	switch t := p.typ.(type) {
	case *arrow.BooleanType:
		if leaf.Type != format.Boolean {
			return unfit()
		}
		e.put = func(dst, v []byte) ([]byte, error) { return append(dst, v[0]), nil }
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type, *arrow.Date32Type, *arrow.Time32Type,
		*arrow.Time64Type, *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type, *arrow.Date64Type:
		read := readInt(leaf)
		if read == nil {
			return unfit()
		}
		e.put = putInt(read, e.width, isUnsigned(p.typ))
		e.swaps(isUnsigned(p.typ))
	case *arrow.TimestampType:
		read := readTimestamp(leaf, t.Unit)
		if read == nil {
			return unfit()
		}
		e.put = func(dst, v []byte) ([]byte, error) {
			n, err := read(v)
			return binary.BigEndian.AppendUint64(dst, uint64(n)^1<<63), err
		}
		if leaf.Type == format.Int64 && leaf.Annotation.Unit == int64(t.Unit.Multiplier()) {
			e.swaps(false)
		}
	case *arrow.Decimal128Type:
		e.decimal(t.Scale)
	case *arrow.Decimal256Type:
		e.decimal(t.Scale)
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		nan := column.IsNaN(leaf)
		switch {
		case nan != nil && leaf.Width == e.width:
			e.put = putFloat(nan)
		case leaf.Type == format.Float && e.width == 8:
			e.put = putWideFloat()
		default:
			return unfit()
		}
	case *arrow.FixedSizeBinaryType:
		if leaf.Width != t.ByteWidth {
			return unfit()
		}
		e.put = func(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
	case *arrow.StringType, *arrow.BinaryType, *arrow.LargeStringType, *arrow.LargeBinaryType:
		if leaf.Type != format.ByteArray && leaf.Type != format.FixedLenByteArray {
			return unfit()
		}
		if p.last {
			e.put = func(dst, v []byte) ([]byte, error) { return append(dst, v...), nil }
		} else {
			e.put = func(dst, v []byte) ([]byte, error) { return appendEscaped(dst, v), nil }
		}
		if p.char {
			whole := e.put
			e.whole, e.put = whole, func(dst, v []byte) ([]byte, error) { return whole(dst, trimBlanks(v)) }
		}
	default:
		return unfit()
	}
	return e, nil
}

// bounds encodes bounds of stored values as bounds of their parts. The parts of a CHAR(n) have another order than what is
// stored: "a\x01" is stored before "a ", and its part comes after that one's, which is "a".
func (e encoder) bounds(lo, hi []byte) (min, max []byte, err error) {
	high := e.put
	if e.whole != nil {
		// No part is above the value itself. A part below lo is a start of lo, after which lo has only blanks up to its
		// end or to a byte that is less: the shortest such start is a bound of all.
		high, lo = e.whole, cutBelowBlank(lo)
	}
	if min, err = e.put(nil, lo); err != nil {
		return nil, nil, err
	}
	max, err = high(nil, hi)
	return min, max, err
}

const blank = ' '

func trimBlanks(v []byte) []byte {
	for len(v) > 0 && v[len(v)-1] == blank {
		v = v[:len(v)-1]
	}
	return v
}

// cutBelowBlank is what stands before the first byte that is less than a blank.
func cutBelowBlank(v []byte) []byte {
	for i, b := range v {
		if b < blank {
			return v[:i]
		}
	}
	return v
}

// swaps notes that the part is the value turned round, if it is as wide as the leaf.
func (e *encoder) swaps(unsigned bool) {
	if leafUnsigned := e.leaf.Annotation.Kind == column.Int && e.leaf.Annotation.Unsigned; e.leaf.Width != e.width || leafUnsigned != unsigned {
		return
	}
	e.swap = true
	if !unsigned {
		e.flip = 0x80
	}
}

// decimal takes values of another scale through arithmetic, and others as they are.
func (e *encoder) decimal(scale int32) {
	read := readInt(e.leaf)
	switch {
	case scale != e.leaf.Annotation.Scale:
		e.put = putScaled(e.leaf, scale, e.width)
	case read != nil && e.width == 8:
		e.put = putInt(read, 8, false)
		e.swaps(false)
	case read != nil:
		e.put = func(dst, v []byte) ([]byte, error) {
			var wide [8]byte
			binary.BigEndian.PutUint64(wide[:], uint64(read(v)))
			return appendSigned(dst, wide[:], e.width)
		}
	default:
		e.put = func(dst, v []byte) ([]byte, error) { return appendSigned(dst, v, e.width) }
	}
}

// appendSigned appends a two's complement big-endian integer of any length in a width, its sign turned.
func appendSigned(dst, v []byte, width int) ([]byte, error) {
	fill := byte(0)
	if len(v) > 0 && v[0]&0x80 != 0 {
		fill = 0xFF
	}
	for len(v) > width {
		if v[0] != fill || v[1]&0x80 != fill&0x80 {
			return dst, fmt.Errorf("decimal %v is out of range", signedBig(v))
		}
		v = v[1:]
	}
	at := len(dst)
	for range width - len(v) {
		dst = append(dst, fill)
	}
	dst = append(dst, v...)
	dst[at] ^= 0x80
	return dst, nil
}

func isUnsigned(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return true
	}
	return false
}

// readInt reads a value of an integer leaf, widened.
func readInt(leaf *column.Leaf) func(v []byte) int64 {
	unsigned := leaf.Annotation.Kind == column.Int && leaf.Annotation.Unsigned
	switch {
	case leaf.Type == format.Int32 && unsigned:
		return func(v []byte) int64 { return int64(binary.LittleEndian.Uint32(v)) }
	case leaf.Type == format.Int32:
		return func(v []byte) int64 { return int64(int32(binary.LittleEndian.Uint32(v))) }
	case leaf.Type == format.Int64:
		return func(v []byte) int64 { return int64(binary.LittleEndian.Uint64(v)) }
	}
	return nil
}

func putInt(read func([]byte) int64, width int, unsigned bool) func(dst, v []byte) ([]byte, error) {
	flip := uint64(1) << 63
	if unsigned {
		flip = 0
	}
	if width == 8 {
		return func(dst, v []byte) ([]byte, error) {
			return binary.BigEndian.AppendUint64(dst, uint64(read(v))^flip), nil
		}
	}
	return func(dst, v []byte) ([]byte, error) {
		return binary.BigEndian.AppendUint32(dst, uint32(read(v))^uint32(flip>>32)), nil
	}
}

// readTimestamp reads a value of a timestamp leaf in a unit at least as fine as its own.
func readTimestamp(leaf *column.Leaf, unit arrow.TimeUnit) func(v []byte) (int64, error) {
	to := int64(unit.Multiplier()) // nanoseconds
	if leaf.Type == format.Int96 {
		return func(v []byte) (int64, error) {
			const julianEpoch, dayNanos = 2440588, 86400_000_000_000
			nanos, day := int64(binary.LittleEndian.Uint64(v)), int64(int32(binary.LittleEndian.Uint32(v[8:])))
			perDay := dayNanos / to
			days := day - julianEpoch
			// In the first and the last day that int64 reaches a part of the day overflows.
			first, last := math.MinInt64/perDay-1, math.MaxInt64/perDay
			n := days*perDay + nanos/to
			switch {
			case nanos%to != 0:
				return 0, fmt.Errorf("timestamp of Julian day %d is finer than the column's unit %v", day, unit)
			case leaf.Annotation.Unit == to: // Spark counts modulo 2^64 (shred.Assemble)
			case days > last || days < first || nanos < 0 || nanos > dayNanos || days == last && n < 0 || days == first && n >= 0:
				return 0, fmt.Errorf("timestamp of Julian day %d is out of range", day)
			}
			return n, nil
		}
	}
	from := leaf.Annotation.Unit
	if leaf.Type != format.Int64 || leaf.Annotation.Kind != column.Timestamp || from < to {
		return nil
	}
	factor := from / to
	return func(v []byte) (int64, error) {
		n := int64(binary.LittleEndian.Uint64(v))
		if m := n * factor; m/factor == n {
			return m, nil
		}
		return 0, fmt.Errorf("timestamp %d is out of range in %v", n, unit)
	}
}

// putScaled brings decimals to a scale.
func putScaled(leaf *column.Leaf, scale int32, width int) func(dst, v []byte) ([]byte, error) {
	shift := int64(scale - leaf.Annotation.Scale)
	factor := new(big.Int).Exp(big.NewInt(10), big.NewInt(max(shift, -shift)), nil)
	return func(dst, v []byte) ([]byte, error) {
		var n *big.Int
		switch leaf.Type {
		case format.Int32, format.Int64:
			n = big.NewInt(readInt(leaf)(v))
		default:
			n = signedBig(v)
		}
		if shift > 0 {
			n.Mul(n, factor)
		} else if shift < 0 {
			var rest big.Int
			if n.QuoRem(n, factor, &rest); rest.Sign() != 0 {
				return dst, fmt.Errorf("decimal has more than %d decimal places", scale)
			}
		}
		if n.BitLen() >= width*8 {
			return dst, fmt.Errorf("decimal %v is out of range", n)
		}
		n.Add(n, new(big.Int).Lsh(big.NewInt(1), uint(width*8-1)))
		at := len(dst)
		for range width {
			dst = append(dst, 0)
		}
		n.FillBytes(dst[at:])
		return dst, nil
	}
}

// signedBig reads a two's complement big-endian integer.
func signedBig(v []byte) *big.Int {
	n := new(big.Int).SetBytes(v)
	if len(v) > 0 && v[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(len(v)*8)))
	}
	return n
}

// putFloat orders floats with NaN equal to NaN and last, and -0.0 equal to +0.0.
func putFloat(nan func(v []byte) bool) func(dst, v []byte) ([]byte, error) {
	return func(dst, v []byte) ([]byte, error) {
		at := len(dst)
		for i := len(v) - 1; i >= 0; i-- {
			dst = append(dst, v[i])
		}
		out := dst[at:]
		switch {
		case nan(v):
			for i := range out {
				out[i] = 0xFF
			}
		case isNegativeZero(out):
			out[0] = 0x80
			clear(out[1:])
		case out[0]&0x80 != 0:
			for i := range out {
				out[i] = ^out[i]
			}
		default:
			out[0] |= 0x80
		}
		return dst, nil
	}
}

// putWideFloat takes floats as doubles.
func putWideFloat() func(dst, v []byte) ([]byte, error) {
	put := putFloat(func(v []byte) bool { return math.IsNaN(math.Float64frombits(binary.LittleEndian.Uint64(v))) })
	return func(dst, v []byte) ([]byte, error) {
		var wide [8]byte
		binary.LittleEndian.PutUint64(wide[:], math.Float64bits(float64(math.Float32frombits(binary.LittleEndian.Uint32(v)))))
		return put(dst, wide[:])
	}
}

func isNegativeZero(bigEndian []byte) bool {
	if bigEndian[0] != 0x80 {
		return false
	}
	for _, b := range bigEndian[1:] {
		if b != 0 {
			return false
		}
	}
	return true
}

func appendEscaped(dst, v []byte) []byte {
	for _, b := range v {
		dst = append(dst, b)
		if b == 0 {
			dst = append(dst, 0xFF)
		}
	}
	return append(dst, 0, 1)
}
