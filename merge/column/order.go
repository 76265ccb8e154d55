package column

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"

	"github.com/parquet-go/parquet-go/format"
)

// Order returns how values of a leaf compare, as parquet-format's column orders define it
// (TypeDefinedOrder), or nil where no order is defined: INT96, INTERVAL, null, geometry and
// annotations that are not known. Floats compare with -0.0 below +0.0; NaN must not be passed.
func Order(leaf *Leaf) func(a, b []byte) int {
	a := leaf.Annotation
	switch a.Kind {
	case Interval, Null, Unknown, Geometry, Geography, Variant:
		return nil
	case Decimal:
		switch leaf.Type {
		case format.ByteArray, format.FixedLenByteArray:
			return CompareSigned
		}
	case Float16:
		return compareFloat16
	}
	switch leaf.Type {
	case format.Boolean:
		return bytes.Compare
	case format.Int32:
		if a.Kind == Int && a.Unsigned {
			return func(a, b []byte) int {
				return cmp.Compare(binary.LittleEndian.Uint32(a), binary.LittleEndian.Uint32(b))
			}
		}
		return func(a, b []byte) int {
			return cmp.Compare(int32(binary.LittleEndian.Uint32(a)), int32(binary.LittleEndian.Uint32(b)))
		}
	case format.Int64:
		if a.Kind == Int && a.Unsigned {
			return func(a, b []byte) int {
				return cmp.Compare(binary.LittleEndian.Uint64(a), binary.LittleEndian.Uint64(b))
			}
		}
		return func(a, b []byte) int {
			return cmp.Compare(int64(binary.LittleEndian.Uint64(a)), int64(binary.LittleEndian.Uint64(b)))
		}
	case format.Float:
		return func(a, b []byte) int {
			return cmp.Compare(orderedFloat32(binary.LittleEndian.Uint32(a)), orderedFloat32(binary.LittleEndian.Uint32(b)))
		}
	case format.Double:
		return func(a, b []byte) int {
			return cmp.Compare(orderedFloat64(binary.LittleEndian.Uint64(a)), orderedFloat64(binary.LittleEndian.Uint64(b)))
		}
	case format.ByteArray, format.FixedLenByteArray:
		return bytes.Compare
	}
	return nil
}

// orderedFloat32 maps the bits of a float to an integer of the same order.
func orderedFloat32(bits uint32) uint32 {
	if bits>>31 != 0 {
		return ^bits
	}
	return bits | 1<<31
}

func orderedFloat64(bits uint64) uint64 {
	if bits>>63 != 0 {
		return ^bits
	}
	return bits | 1<<63
}

func compareFloat16(a, b []byte) int {
	return cmp.Compare(orderedFloat16(binary.LittleEndian.Uint16(a)), orderedFloat16(binary.LittleEndian.Uint16(b)))
}

func orderedFloat16(bits uint16) uint16 {
	if bits>>15 != 0 {
		return ^bits
	}
	return bits | 1<<15
}

// CompareSigned compares two's complement big-endian integers of any length, as decimals on
// BYTE_ARRAY and FIXED_LEN_BYTE_ARRAY are stored. Empty is zero.
func CompareSigned(a, b []byte) int {
	na, nb := len(a) > 0 && a[0]&0x80 != 0, len(b) > 0 && b[0]&0x80 != 0
	if na != nb {
		if na {
			return -1
		}
		return 1
	}
	pad := byte(0)
	if na {
		pad = 0xFF
	}
	for len(a) > len(b) {
		if a[0] != pad {
			if na {
				return -1
			}
			return 1
		}
		a = a[1:]
	}
	for len(b) > len(a) {
		if b[0] != pad {
			if na {
				return 1
			}
			return -1
		}
		b = b[1:]
	}
	return bytes.Compare(a, b)
}

// IsNaN returns the test for NaN of a floating leaf's values, nil for other leaves.
func IsNaN(leaf *Leaf) func(v []byte) bool {
	switch {
	case leaf.Type == format.Float:
		return func(v []byte) bool {
			return binary.LittleEndian.Uint32(v)&0x7FFFFFFF > 0x7F800000
		}
	case leaf.Type == format.Double:
		return func(v []byte) bool {
			return binary.LittleEndian.Uint64(v)&math.MaxInt64 > 0x7FF0000000000000
		}
	case leaf.Annotation.Kind == Float16:
		return func(v []byte) bool {
			return binary.LittleEndian.Uint16(v)&0x7FFF > 0x7C00
		}
	}
	return nil
}
