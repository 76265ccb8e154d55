package claims

import (
	"bytes"
	"cmp"
	"encoding/binary"
	"math"
	"math/big"
	"strings"
)

// leaf is a column of the schema.
type leaf struct {
	name           string
	physical       int64
	width          int
	maxDef, maxRep int
	compare        func(a, b []byte) int // of values in PLAIN without length; nil: they have no order
	nan            func(v []byte) bool   // nil: no value is NaN
}

// Physical types.
const (
	boolean, int32Type, int64Type, int96, float, double, byteArray, fixed = 0, 1, 2, 3, 4, 5, 6, 7
)

// leaves lists the columns below the root.
func leaves(elements []any) []leaf {
	var out []leaf
	at := 0
	var walk func(path []string, def, rep int, root bool)
	walk = func(path []string, def, rep int, root bool) {
		e := elements[at].(object)
		at++
		if !root {
			name, _ := e.bytes(4)
			path = append(path[:len(path):len(path)], string(name))
			switch repetition, _ := e.int(3); repetition {
			case 1:
				def++
			case 2:
				def, rep = def+1, rep+1
			}
		}
		if children, _ := e.int(5); children > 0 || root {
			for range children {
				walk(path, def, rep, false)
			}
			return
		}
		out = append(out, newLeaf(e, strings.Join(path, "."), def, rep))
	}
	walk(nil, 0, 0, true)
	return out
}

func newLeaf(e object, name string, def, rep int) leaf {
	l := leaf{name: name, maxDef: def, maxRep: rep}
	l.physical, _ = e.int(1)
	width, _ := e.int(2)
	l.width = map[int64]int{boolean: 1, int32Type: 4, int64Type: 8, int96: 12, float: 4, double: 8, fixed: int(width)}[l.physical]
	l.compare, l.nan = order(e, l.physical)
	return l
}

// order is the order that parquet-format gives a column (ColumnOrder, TypeDefinedOrder).
func order(e object, physical int64) (compare func(a, b []byte) int, nan func(v []byte) bool) {
	logical := e.object(10)
	converted, hasConverted := e.int(6)
	is := func(id int16) bool { return logical[id] != nil }
	switch {
	case is(15): // FLOAT16
		return floats(half)
	case physical == int96, is(11), is(16), is(17), is(18), hasConverted && converted == 21, hasConverted && (converted == 1 || converted == 2):
		return nil, nil // UNKNOWN, VARIANT, GEOMETRY, GEOGRAPHY, INTERVAL, maps
	case physical == float:
		return floats(func(v []byte) float64 { return float64(math.Float32frombits(binary.LittleEndian.Uint32(v))) })
	case physical == double:
		return floats(func(v []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(v)) })
	case physical == boolean, physical == int32Type, physical == int64Type:
		unsigned := is(10) && logical.object(10)[2] == false || len(logical) == 0 && hasConverted && converted >= 11 && converted <= 14
		return func(a, b []byte) int { return number(a, unsigned).Cmp(number(b, unsigned)) }, nil
	case is(5), len(logical) == 0 && hasConverted && converted == 5: // DECIMAL
		return func(a, b []byte) int { return twos(a).Cmp(twos(b)) }, nil
	}
	return bytes.Compare, nil
}

func floats(value func(v []byte) float64) (func(a, b []byte) int, func(v []byte) bool) {
	return func(a, b []byte) int { return cmp.Compare(value(a), value(b)) }, func(v []byte) bool { return math.IsNaN(value(v)) }
}

// half is a number of 16 bits (IEEE 754).
func half(v []byte) float64 {
	bits := binary.LittleEndian.Uint16(v)
	exponent, fraction := int(bits>>10&31), float64(bits&1023)
	var n float64
	switch exponent {
	case 0:
		n = math.Ldexp(fraction, -24)
	case 31:
		if n = math.Inf(1); fraction != 0 {
			return math.NaN()
		}
	default:
		n = math.Ldexp(1024+fraction, exponent-25)
	}
	if bits>>15 == 1 {
		n = -n
	}
	return n
}

// number is a little-endian integer.
func number(v []byte, unsigned bool) *big.Int {
	reversed := bytes.Clone(v)
	for i, j := 0, len(reversed)-1; i < j; i, j = i+1, j-1 {
		reversed[i], reversed[j] = reversed[j], reversed[i]
	}
	if unsigned {
		return new(big.Int).SetBytes(reversed)
	}
	return twos(reversed)
}

// twos is a big-endian integer in two's complement.
func twos(v []byte) *big.Int {
	n := new(big.Int).SetBytes(v)
	if len(v) > 0 && v[0]&0x80 != 0 {
		n.Sub(n, new(big.Int).Lsh(big.NewInt(1), uint(8*len(v))))
	}
	return n
}
