package shred

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/big"
	"strings"
)

// decimal is an unscaled value: big where it does not fit an int64, else small.
type decimal struct {
	small int64
	big   *big.Int
}

var smallPowers = func() (p [19]int64) {
	p[0] = 1
	for i := 1; i < len(p); i++ {
		p[i] = p[i-1] * 10
	}
	return p
}()

var bigPowers = func() (p [160]*big.Int) {
	p[0] = big.NewInt(1)
	for i := 1; i < len(p); i++ {
		p[i] = new(big.Int).Mul(p[i-1], big.NewInt(10))
	}
	return p
}()

func pow10(n int) *big.Int {
	if n < len(bigPowers) {
		return bigPowers[n]
	}
	return new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(n)), nil)
}

func fromBig(b *big.Int) decimal {
	if b.IsInt64() {
		return decimal{small: b.Int64()}
	}
	return decimal{big: b}
}

func (d decimal) bigInt() *big.Int {
	if d.big != nil {
		return d.big
	}
	return big.NewInt(d.small)
}

// readDecimal reads little-endian two's complement.
func readDecimal(src []byte) decimal {
	low := int64(binary.LittleEndian.Uint64(src))
	sign := byte(low >> 63)
	for _, b := range src[8:] {
		if b != sign {
			return decimal{big: readBig(src)}
		}
	}
	return decimal{small: low}
}

func readBig(src []byte) *big.Int {
	be := make([]byte, len(src))
	negative := src[len(src)-1]&0x80 != 0
	for i, b := range src {
		if negative {
			b = ^b
		}
		be[len(src)-1-i] = b
	}
	v := new(big.Int).SetBytes(be)
	if negative {
		v.Not(v)
	}
	return v
}

// put writes the value as little-endian two's complement; false if dst is too narrow.
func (d decimal) put(dst []byte) bool {
	if d.big == nil {
		putSmall(dst, d.small)
		return true
	}
	if d.big.BitLen() >= len(dst)*8 {
		return false
	}
	v := d.big
	if v.Sign() < 0 {
		v = new(big.Int).Not(v)
	}
	be := v.FillBytes(make([]byte, len(dst)))
	for i, b := range be {
		if d.big.Sign() < 0 {
			b = ^b
		}
		dst[len(dst)-1-i] = b
	}
	return true
}

// fits reports whether the value has at most a number of digits.
func (d decimal) fits(precision int32) bool {
	if d.big == nil {
		return precision > 18 || d.small < smallPowers[precision] && d.small > -smallPowers[precision]
	}
	return d.big.CmpAbs(pow10(int(precision))) < 0
}

// rescale brings the value from one scale to another; false if digits would be lost.
func (d decimal) rescale(from, to int32) (decimal, bool) {
	shift := int(to - from)
	if shift == 0 {
		return d, true
	}
	if d.big == nil && shift > -19 && shift < 19 {
		if shift < 0 {
			p := smallPowers[-shift]
			return decimal{small: d.small / p}, d.small%p == 0
		}
		if v, ok := mul(d.small, smallPowers[shift]); ok {
			return decimal{small: v}, true
		}
	}
	if shift > 0 {
		return fromBig(new(big.Int).Mul(d.bigInt(), pow10(shift))), true
	}
	q, r := new(big.Int).QuoRem(d.bigInt(), pow10(-shift), new(big.Int))
	return fromBig(q), r.Sign() == 0
}

// text writes the value as digits with its scale, without exponent.
func (d decimal) text(scale int32) string {
	digits, sign := d.bigInt().String(), ""
	if digits[0] == '-' {
		sign, digits = "-", digits[1:]
	}
	if scale < 0 {
		return sign + digits + strings.Repeat("0", int(-scale))
	}
	if scale == 0 {
		return sign + digits
	}
	if pad := int(scale) + 1 - len(digits); pad > 0 {
		digits = strings.Repeat("0", pad) + digits
	}
	point := len(digits) - int(scale)
	return sign + digits[:point] + "." + digits[point:]
}

// maxDigits bounds what parseDecimal looks at: no type holds more, and a text is not trusted with
// memory.
const maxDigits = 200

// parseDecimal reads digits with an optional sign, point and exponent as an unscaled value of a scale.
// Digits beyond the scale must be zeros.
func parseDecimal(text string, scale int32) (decimal, error) {
	s := text
	negative := false
	if s != "" && (s[0] == '-' || s[0] == '+') {
		negative, s = s[0] == '-', s[1:]
	}
	mantissa, exponent, err := splitExponent(s)
	if err != nil || len(mantissa) > maxDigits {
		return decimal{}, fmt.Errorf("%w: %q as a decimal number", ErrText, text)
	}
	whole, fraction, point := strings.Cut(mantissa, ".")
	digits := whole + fraction
	if digits == "" || point && whole == "" && fraction == "" || strings.Trim(digits, "0123456789") != "" {
		return decimal{}, fmt.Errorf("%w: %q as a decimal number", ErrText, text)
	}
	d := digitsOf(digits)
	if negative {
		d = d.negated()
	}
	from := int64(len(fraction)) - exponent
	if d.big == nil && d.small == 0 {
		return d, nil
	}
	if from < -maxDigits || from > maxDigits {
		return decimal{}, fmt.Errorf("%w: %s with scale %d", ErrLossy, text, scale)
	}
	d, ok := d.rescale(int32(from), scale)
	if !ok {
		return decimal{}, fmt.Errorf("%w: %s with scale %d", ErrLossy, text, scale)
	}
	return d, nil
}

func splitExponent(s string) (mantissa string, exponent int64, err error) {
	i := strings.IndexAny(s, "eE")
	if i < 0 {
		return s, 0, nil
	}
	e := s[i+1:]
	negative := false
	if e != "" && (e[0] == '-' || e[0] == '+') {
		negative, e = e[0] == '-', e[1:]
	}
	if e == "" {
		return "", 0, ErrText
	}
	for _, c := range []byte(e) {
		if c < '0' || c > '9' {
			return "", 0, ErrText
		}
		exponent = min(exponent*10+int64(c-'0'), math.MaxInt32)
	}
	if negative {
		exponent = -exponent
	}
	return s[:i], exponent, nil
}

func digitsOf(digits string) decimal {
	if len(digits) > 18 {
		b, _ := new(big.Int).SetString(digits, 10)
		return fromBig(b)
	}
	var v int64
	for _, c := range []byte(digits) {
		v = v*10 + int64(c-'0')
	}
	return decimal{small: v}
}

func (d decimal) negated() decimal {
	if d.big != nil {
		return fromBig(new(big.Int).Neg(d.big))
	}
	return decimal{small: -d.small}
}
