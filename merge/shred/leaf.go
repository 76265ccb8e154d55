package shred

import (
	"errors"
	"fmt"
	"math"
	"math/big"
	"math/bits"
	"strconv"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/float16"
)

// errFit is a value that does not survive; [leafCast.made] names value and type.
var errFit = errors.New("does not fit")

// leafCast is one conversion of leaf values under way.
type leafCast struct {
	arr arrow.Array
	pos []int32
	n   int
	to  arrow.DataType
	o   CastOptions
}

func castLeaf(arr arrow.Array, pos []int32, n int, to arrow.DataType, o CastOptions) (arrow.Array, int, error) {
	c := leafCast{arr: arr, pos: pos, n: n, to: to, o: o}
	if arrow.TypeEqual(arr.DataType(), to) {
		return c.gather()
	}
	_, isBytes := bytesOf(arr)
	fixed := arr.DataType().ID() == arrow.FIXED_SIZE_BINARY
	switch t := to.(type) {
	case *arrow.StringType, *arrow.LargeStringType:
		if isBytes && !fixed {
			return castBytes(arr, pos, n, to)
		}
		return c.toText()
	case *arrow.BinaryType, *arrow.LargeBinaryType:
		if isBytes {
			return castBytes(arr, pos, n, to)
		}
		return c.refuse()
	case *arrow.FixedSizeBinaryType:
		if isBytes && !isText(arr.DataType()) {
			return castToFixed(arr, pos, n, t)
		}
		return c.refuse()
	}
	switch a := arr.(type) {
	case *array.Int8:
		return fromInts(&c, a.Int8Values())
	case *array.Int16:
		return fromInts(&c, a.Int16Values())
	case *array.Int32:
		return fromInts(&c, a.Int32Values())
	case *array.Int64:
		return fromInts(&c, a.Int64Values())
	case *array.Uint8:
		return fromInts(&c, a.Uint8Values())
	case *array.Uint16:
		return fromInts(&c, a.Uint16Values())
	case *array.Uint32:
		return fromInts(&c, a.Uint32Values())
	case *array.Uint64:
		return fromInts(&c, a.Uint64Values())
	case *array.Float16:
		return fromFloats(&c, a.Values(), func(v float16.Num) float64 { return float64(v.Float32()) })
	case *array.Float32:
		return fromFloats(&c, a.Float32Values(), func(v float32) float64 { return float64(v) })
	case *array.Float64:
		return fromFloats(&c, a.Float64Values(), func(v float64) float64 { return v })
	case *array.Decimal128, *array.Decimal256:
		return c.fromDecimals()
	case *array.Boolean:
		return c.fromBools(a)
	case *array.Date32, *array.Date64, *array.Time32, *array.Time64, *array.Timestamp:
		return c.fromTimes()
	}
	if isBytes && isText(arr.DataType()) {
		return c.fromText()
	}
	return c.refuse()
}

func (c *leafCast) refuse() (arrow.Array, int, error) {
	return nil, -1, fmt.Errorf("%w: %s as %s", ErrType, c.arr.DataType(), c.to)
}

// explicit refuses what nobody asked for.
func (c *leafCast) explicit() bool { return c.o.Explicit }

// made wraps up the values of a conversion.
func (c *leafCast) made(data []byte, bad int, err error) (arrow.Array, int, error) {
	switch {
	case err == nil:
		return newArray(c.to, c.n, nullsOf(c.pos), nil, data), -1, nil
	case errors.Is(err, errFit):
		err = lossy(c.arr.ValueStr(at(c.pos, bad)), c.to)
	}
	return nil, bad, err
}

// gather takes values of the type asked for.
func (c *leafCast) gather() (arrow.Array, int, error) {
	if _, ok := bytesOf(c.arr); ok && c.to.ID() != arrow.FIXED_SIZE_BINARY {
		if arrow.IsBaseBinary(c.to.ID()) {
			return castBytes(c.arr, c.pos, c.n, c.to)
		}
		return c.refuse()
	}
	if a, ok := c.arr.(*array.Boolean); ok {
		return c.bools(func(p int) (bool, error) { return a.Value(p), nil })
	}
	t, ok := c.to.(arrow.FixedWidthDataType)
	if !ok {
		return c.refuse()
	}
	w := t.Bytes()
	return c.made(gatherFixed(fixedBytes(c.arr, w), w, c.pos, c.n), -1, nil)
}

// each converts fixed-width values one by one.
func each[S, D any](c *leafCast, src []S, f func(S) (D, error)) (arrow.Array, int, error) {
	dst := alloc(c.n * sizeOf[D]())
	out := view[D](dst)
	for i := range c.n {
		p := at(c.pos, i)
		if p < 0 {
			continue
		}
		v, err := f(src[p])
		if err != nil {
			return c.made(nil, i, err)
		}
		out[i] = v
	}
	return c.made(dst, -1, nil)
}

// decimals converts values to the decimal type asked for, from the decimal and scale that f gives.
func (c *leafCast) decimals(t arrow.DecimalType, f func(p int) (d decimal, scale int32, err error)) (arrow.Array, int, error) {
	w := t.(arrow.FixedWidthDataType).Bytes()
	dst := alloc(c.n * w)
	for i := range c.n {
		p := at(c.pos, i)
		if p < 0 {
			continue
		}
		d, scale, err := f(p)
		if err != nil {
			return c.made(nil, i, err)
		}
		d, ok := d.rescale(scale, t.GetScale())
		if !ok || !d.fits(t.GetPrecision()) || !d.put(dst[i*w:(i+1)*w]) {
			return c.made(nil, i, errFit)
		}
	}
	return c.made(dst, -1, nil)
}

func (c *leafCast) bools(f func(p int) (bool, error)) (arrow.Array, int, error) {
	plain := alloc(c.n)
	for i := range c.n {
		p := at(c.pos, i)
		if p < 0 {
			continue
		}
		v, err := f(p)
		if err != nil {
			return c.made(nil, i, err)
		}
		if v {
			plain[i] = 1
		}
	}
	return c.made(boolBits(plain, nil, c.n), -1, nil)
}

type integer interface {
	int8 | int16 | int32 | int64 | uint8 | uint16 | uint32 | uint64
}

// narrow keeps a value that is the same in the other type.
func narrow[S, D integer](v S) (D, error) {
	d := D(v)
	if S(d) != v || (d < 0) != (v < 0) {
		return 0, errFit
	}
	return d, nil
}

func fromInts[S integer](c *leafCast, src []S) (arrow.Array, int, error) {
	switch t := c.to.(type) {
	case *arrow.Int8Type:
		return each(c, src, narrow[S, int8])
	case *arrow.Int16Type:
		return each(c, src, narrow[S, int16])
	case *arrow.Int32Type:
		return each(c, src, narrow[S, int32])
	case *arrow.Int64Type:
		return each(c, src, narrow[S, int64])
	case *arrow.Uint8Type:
		return each(c, src, narrow[S, uint8])
	case *arrow.Uint16Type:
		return each(c, src, narrow[S, uint16])
	case *arrow.Uint32Type:
		return each(c, src, narrow[S, uint32])
	case *arrow.Uint64Type:
		return each(c, src, narrow[S, uint64])
	case arrow.DecimalType:
		return c.decimals(t, func(p int) (decimal, int32, error) { return intDecimal(src[p]), 0, nil })
	}
	if !c.explicit() {
		return c.refuse()
	}
	switch c.to.(type) {
	case *arrow.BooleanType:
		return c.bools(func(p int) (bool, error) {
			if src[p] != 0 && src[p] != 1 {
				return false, errFit
			}
			return src[p] == 1, nil
		})
	case *arrow.Float16Type:
		return each(c, src, func(v S) (float16.Num, error) {
			if !exactInt(v, 11) || magnitude(v) > 65504 {
				return float16.Num{}, errFit
			}
			return float16.New(float32(v)), nil
		})
	case *arrow.Float32Type:
		return each(c, src, func(v S) (float32, error) { return float32(v), fitting(exactInt(v, 24)) })
	case *arrow.Float64Type:
		return each(c, src, func(v S) (float64, error) { return float64(v), fitting(exactInt(v, 53)) })
	}
	return c.refuse()
}

func fitting(ok bool) error {
	if ok {
		return nil
	}
	return errFit
}

func magnitude[S integer](v S) uint64 {
	if v < 0 {
		return -uint64(int64(v))
	}
	return uint64(v)
}

// exactInt reports whether an integer has at most so many significant bits.
func exactInt[S integer](v S, significant int) bool {
	m := magnitude(v)
	return bits.Len64(m)-bits.TrailingZeros64(m|1<<63) <= significant
}

func intDecimal[S integer](v S) decimal {
	if v > 0 && uint64(v) > math.MaxInt64 {
		return decimal{big: new(big.Int).SetUint64(uint64(v))}
	}
	return decimal{small: int64(v)}
}

// decimalInt is a whole decimal as an integer type.
func decimalInt[D integer](d decimal, scale int32) (D, error) {
	d, ok := d.rescale(scale, 0)
	switch {
	case !ok:
		return 0, errFit
	case d.big == nil:
		return narrow[int64, D](d.small)
	case d.big.IsUint64():
		return narrow[uint64, D](d.big.Uint64())
	}
	return 0, errFit
}

func (c *leafCast) fromDecimals() (arrow.Array, int, error) {
	from := c.arr.DataType().(arrow.DecimalType)
	w, scale := from.(arrow.FixedWidthDataType).Bytes(), from.GetScale()
	src := fixedBytes(c.arr, w)
	// Positions stand for the values: their width is known only here.
	read := func(p int32) decimal { return readDecimal(src[int(p)*w : (int(p)+1)*w]) }
	where := positionsOf(c.arr.Len())
	switch t := c.to.(type) {
	case arrow.DecimalType:
		return c.decimals(t, func(p int) (decimal, int32, error) { return read(int32(p)), scale, nil })
	case *arrow.Int8Type:
		return each(c, where, func(p int32) (int8, error) { return decimalInt[int8](read(p), scale) })
	case *arrow.Int16Type:
		return each(c, where, func(p int32) (int16, error) { return decimalInt[int16](read(p), scale) })
	case *arrow.Int32Type:
		return each(c, where, func(p int32) (int32, error) { return decimalInt[int32](read(p), scale) })
	case *arrow.Int64Type:
		return each(c, where, func(p int32) (int64, error) { return decimalInt[int64](read(p), scale) })
	case *arrow.Uint8Type:
		return each(c, where, func(p int32) (uint8, error) { return decimalInt[uint8](read(p), scale) })
	case *arrow.Uint16Type:
		return each(c, where, func(p int32) (uint16, error) { return decimalInt[uint16](read(p), scale) })
	case *arrow.Uint32Type:
		return each(c, where, func(p int32) (uint32, error) { return decimalInt[uint32](read(p), scale) })
	case *arrow.Uint64Type:
		return each(c, where, func(p int32) (uint64, error) { return decimalInt[uint64](read(p), scale) })
	}
	if !c.explicit() {
		return c.refuse()
	}
	switch c.to.(type) {
	case *arrow.Float32Type:
		return each(c, where, func(p int32) (float32, error) {
			f, err := decimalFloat(read(p), scale, 32)
			return float32(f), err
		})
	case *arrow.Float64Type:
		return each(c, where, func(p int32) (float64, error) { return decimalFloat(read(p), scale, 64) })
	}
	return c.refuse()
}

func positionsOf(n int) []int32 {
	where := make([]int32, n)
	for i := range where {
		where[i] = int32(i)
	}
	return where
}

// decimalFloat is the float whose shortest text is the decimal.
func decimalFloat(d decimal, scale int32, bitSize int) (float64, error) {
	f, err := strconv.ParseFloat(d.text(scale), bitSize)
	if err != nil {
		return 0, errFit
	}
	back, err := parseDecimal(strconv.FormatFloat(f, 'g', -1, bitSize), scale)
	if err != nil || back.bigInt().Cmp(d.bigInt()) != 0 {
		return 0, errFit
	}
	return f, nil
}

func fromFloats[S any](c *leafCast, src []S, wide func(S) float64) (arrow.Array, int, error) {
	switch c.to.(type) {
	case *arrow.Float16Type:
		return each(c, src, func(v S) (float16.Num, error) {
			f := wide(v)
			h := float16.New(float32(f))
			return h, fitting(sameFloat(float64(h.Float32()), f))
		})
	case *arrow.Float32Type:
		return each(c, src, func(v S) (float32, error) {
			f := wide(v)
			return float32(f), fitting(sameFloat(float64(float32(f)), f))
		})
	case *arrow.Float64Type:
		return each(c, src, func(v S) (float64, error) { return wide(v), nil })
	}
	if !c.explicit() {
		return c.refuse()
	}
	switch t := c.to.(type) {
	case *arrow.Int8Type:
		return each(c, src, func(v S) (int8, error) { return floatInt[int8](wide(v)) })
	case *arrow.Int16Type:
		return each(c, src, func(v S) (int16, error) { return floatInt[int16](wide(v)) })
	case *arrow.Int32Type:
		return each(c, src, func(v S) (int32, error) { return floatInt[int32](wide(v)) })
	case *arrow.Int64Type:
		return each(c, src, func(v S) (int64, error) { return floatInt[int64](wide(v)) })
	case *arrow.Uint8Type:
		return each(c, src, func(v S) (uint8, error) { return floatInt[uint8](wide(v)) })
	case *arrow.Uint16Type:
		return each(c, src, func(v S) (uint16, error) { return floatInt[uint16](wide(v)) })
	case *arrow.Uint32Type:
		return each(c, src, func(v S) (uint32, error) { return floatInt[uint32](wide(v)) })
	case *arrow.Uint64Type:
		return each(c, src, func(v S) (uint64, error) { return floatInt[uint64](wide(v)) })
	case arrow.DecimalType:
		bitSize := 64
		if c.arr.DataType().ID() != arrow.FLOAT64 {
			bitSize = 32
		}
		return c.decimals(t, func(p int) (decimal, int32, error) {
			d, err := parseDecimal(strconv.FormatFloat(wide(src[p]), 'g', -1, bitSize), t.GetScale())
			if err != nil {
				return d, 0, errFit
			}
			return d, t.GetScale(), nil
		})
	}
	return c.refuse()
}

func sameFloat(a, b float64) bool {
	return math.Float64bits(a) == math.Float64bits(b) || math.IsNaN(a) && math.IsNaN(b)
}

func floatInt[D integer](f float64) (D, error) {
	switch {
	case f != math.Trunc(f): // NaN too
		return 0, errFit
	case f >= -1<<63 && f < 1<<63:
		return narrow[int64, D](int64(f))
	case f >= 0 && f < 1<<64:
		return narrow[uint64, D](uint64(f))
	}
	return 0, errFit
}

func (c *leafCast) fromBools(a *array.Boolean) (arrow.Array, int, error) {
	if !c.explicit() || !arrow.IsInteger(c.to.ID()) {
		return c.refuse()
	}
	small := make([]int8, a.Len())
	for i := range small {
		if a.Value(i) {
			small[i] = 1
		}
	}
	return fromInts(c, small)
}
