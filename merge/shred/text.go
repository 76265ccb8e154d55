package shred

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/float16"
)

// A Parser appends the value that a text stands for to dst, in Arrow's bytes: little-endian of the
// type's width, a bool as one byte 0 or 1, a string or binary as it is. Errors match [ErrText],
// [ErrLossy] or [ErrTimezone]. The text is not kept.
type Parser func(dst []byte, text string) ([]byte, error)

// NewParser returns the parser of a type, or [ErrType] where values have no text. No text is trimmed.
//
//	bool            true, false (in any case), 1, 0
//	integers        decimal digits with an optional sign
//	floats          decimal, with an optional exponent; NaN, Infinity and -Infinity; the nearest value
//	decimal         digits with an optional point and exponent; none may be lost
//	date            2006-01-02
//	time            15:04[:05[.999999999]]
//	timestamp       2006-01-02T15:04[:05[.999999999]] or with a space for the T, and for columns with a
//	                time zone a Z or +09:00 after it
//	string          as it is; it must be UTF-8
//	binary          standard base64
//	fixed binary    standard base64, or for 16 bytes the text of a UUID
//
// A timestamp text with a zone against a column without one, and the reverse, is [ErrTimezone] unless
// the options give the source's time zone.
func NewParser(to arrow.DataType, o CastOptions) (Parser, error) {
	switch t := to.(type) {
	case *arrow.BooleanType:
		return parseBool, nil
	case *arrow.Int8Type, *arrow.Int16Type, *arrow.Int32Type, *arrow.Int64Type:
		return parseSigned(t.(arrow.FixedWidthDataType).Bytes()), nil
	case *arrow.Uint8Type, *arrow.Uint16Type, *arrow.Uint32Type, *arrow.Uint64Type:
		return parseUnsigned(t.(arrow.FixedWidthDataType).Bytes()), nil
	case *arrow.Float16Type, *arrow.Float32Type, *arrow.Float64Type:
		return parseFloat(t.(arrow.FixedWidthDataType).Bytes()), nil
	case arrow.DecimalType:
		return parseDecimalAs(t), nil
	case *arrow.Date32Type, *arrow.Date64Type:
		return parseDate(t.ID() == arrow.DATE64), nil
	case *arrow.Time32Type:
		return parseTime(t.Unit, 4, o), nil
	case *arrow.Time64Type:
		return parseTime(t.Unit, 8, o), nil
	case *arrow.TimestampType:
		return parseTimestamp(t, o), nil
	case *arrow.StringType, *arrow.LargeStringType:
		return parseString, nil
	case *arrow.BinaryType, *arrow.LargeBinaryType:
		return parseBase64, nil
	case *arrow.FixedSizeBinaryType:
		return parseFixed(t), nil
	}
	return nil, fmt.Errorf("%w: %s has no text", ErrType, to)
}

func noText(text, what string) error {
	const limit = 64
	if len(text) > limit {
		text = strings.ToValidUTF8(text[:limit], "") + "..."
	}
	return fmt.Errorf("%w: %q is not %s", ErrText, text, what)
}

func parseBool(dst []byte, text string) ([]byte, error) {
	switch {
	case text == "1" || strings.EqualFold(text, "true"):
		return append(dst, 1), nil
	case text == "0" || strings.EqualFold(text, "false"):
		return append(dst, 0), nil
	}
	return dst, noText(text, "a bool (true or false)")
}

func parseSigned(width int) Parser {
	return func(dst []byte, text string) ([]byte, error) {
		v, err := strconv.ParseInt(text, 10, width*8)
		if err != nil {
			return dst, numberError(err, text, fmt.Sprintf("int%d", width*8))
		}
		return appendLittle(dst, uint64(v), width), nil
	}
}

func parseUnsigned(width int) Parser {
	return func(dst []byte, text string) ([]byte, error) {
		v, err := strconv.ParseUint(strings.TrimPrefix(text, "+"), 10, width*8)
		if err != nil {
			return dst, numberError(err, text, fmt.Sprintf("uint%d", width*8))
		}
		return appendLittle(dst, v, width), nil
	}
}

func numberError(err error, text, what string) error {
	if strings.Contains(err.Error(), strconv.ErrRange.Error()) {
		return fmt.Errorf("%w: %s as %s", ErrLossy, text, what)
	}
	return noText(text, "a number of type "+what)
}

func appendLittle(dst []byte, v uint64, width int) []byte {
	var b [8]byte
	binary.LittleEndian.PutUint64(b[:], v)
	return append(dst, b[:width]...)
}

func parseFloat(width int) Parser {
	bitSize := max(width*8, 32)
	return func(dst []byte, text string) ([]byte, error) {
		if strings.ContainsAny(text, "xX_pP") {
			return dst, noText(text, "a decimal number")
		}
		f, err := strconv.ParseFloat(text, bitSize)
		if err != nil {
			return dst, numberError(err, text, fmt.Sprintf("float%d", width*8))
		}
		switch width {
		case 2:
			h := float16.New(float32(f))
			if h.IsInf() && !math.IsInf(f, 0) {
				return dst, fmt.Errorf("%w: %s as float16", ErrLossy, text)
			}
			return appendLittle(dst, uint64(h.Uint16()), 2), nil
		case 4:
			return appendLittle(dst, uint64(math.Float32bits(float32(f))), 4), nil
		}
		return appendLittle(dst, math.Float64bits(f), 8), nil
	}
}

func parseDecimalAs(t arrow.DecimalType) Parser {
	w := t.(arrow.FixedWidthDataType).Bytes()
	return func(dst []byte, text string) ([]byte, error) {
		d, err := parseDecimal(text, t.GetScale())
		if err != nil {
			return dst, err
		}
		var b [32]byte
		if !d.fits(t.GetPrecision()) || !d.put(b[:w]) {
			return dst, lossy(text, t)
		}
		return append(dst, b[:w]...), nil
	}
}

func parseDate(millis bool) Parser {
	return func(dst []byte, text string) ([]byte, error) {
		days, rest, ok := readDate(text)
		if !ok || rest != "" {
			return dst, noText(text, "a date (YYYY-MM-DD)")
		}
		if millis {
			return appendLittle(dst, uint64(days*daySeconds*1e3), 8), nil
		}
		return appendLittle(dst, uint64(days), 4), nil
	}
}

func parseTime(unit arrow.TimeUnit, width int, o CastOptions) Parser {
	return func(dst []byte, text string) ([]byte, error) {
		sec, nanos, rest, ok := readTime(text)
		if !ok || rest != "" {
			return dst, noText(text, "a time of day (hh:mm:ss)")
		}
		v, ok := rescaleUnit(sec*1e9+nanos, arrow.Nanosecond, unit, o.TruncateTimestamps)
		if !ok {
			return dst, fmt.Errorf("%w: %s in units of %s", ErrLossy, text, unit)
		}
		return appendLittle(dst, uint64(v), width), nil
	}
}

func parseTimestamp(t *arrow.TimestampType, o CastOptions) Parser {
	per, instants := perSecond(t.Unit), t.TimeZone != ""
	return func(dst []byte, text string) ([]byte, error) {
		sec, nanos, zoned, ok := readTimestamp(text, o.Explicit)
		if !ok {
			return dst, noText(text, "a timestamp (YYYY-MM-DDThh:mm:ss)")
		}
		if zoned != instants && o.SourceTimezone == nil {
			return dst, fmt.Errorf("%w: %q as %s", ErrTimezone, text, t)
		}
		sec, ok = relate(sec, zoned, instants, o.SourceTimezone)
		if !ok {
			return dst, fmt.Errorf("%w: clocks in %s skip %s", ErrLossy, o.SourceTimezone, text)
		}
		part := nanos / int64(t.Unit.Multiplier())
		if nanos%int64(t.Unit.Multiplier()) != 0 && !o.TruncateTimestamps {
			return dst, fmt.Errorf("%w: %s in units of %s", ErrLossy, text, t.Unit)
		}
		v, ok := mul(sec, per)
		if ok {
			v, ok = add(v, part)
		}
		if !ok {
			return dst, lossy(text, t)
		}
		return appendLittle(dst, uint64(v), 8), nil
	}
}

// digits reads n digits at the start of s.
func digits(s string, n int) (v int, rest string, ok bool) {
	if len(s) < n {
		return 0, s, false
	}
	for _, c := range []byte(s[:n]) {
		if c < '0' || c > '9' {
			return 0, s, false
		}
		v = v*10 + int(c-'0')
	}
	return v, s[n:], true
}

func readDate(s string) (days int64, rest string, ok bool) {
	y, s, okY := digits(s, 4)
	s, okA := strings.CutPrefix(s, "-")
	m, s, okM := digits(s, 2)
	s, okB := strings.CutPrefix(s, "-")
	d, s, okD := digits(s, 2)
	if !okY || !okA || !okM || !okB || !okD || m < 1 || m > 12 || d < 1 || d > daysIn(y, m) {
		return 0, s, false
	}
	return dateOf(y, m, d), s, true
}

func daysIn(year, month int) int {
	return time.Date(year, time.Month(month)+1, 0, 0, 0, 0, 0, time.UTC).Day()
}

// readTime reads hh:mm, with seconds and up to nine digits of a fraction where there are more.
func readTime(s string) (sec, nanos int64, rest string, ok bool) {
	h, s, okH := digits(s, 2)
	s, okA := strings.CutPrefix(s, ":")
	m, s, okM := digits(s, 2)
	if !okH || !okA || !okM || h > 23 || m > 59 {
		return 0, 0, s, false
	}
	sec = int64(h*3600 + m*60)
	s, more := strings.CutPrefix(s, ":")
	if !more {
		return sec, 0, s, true
	}
	seconds, s, ok := digits(s, 2)
	if !ok || seconds > 59 {
		return 0, 0, s, false
	}
	sec += int64(seconds)
	if s == "" || s[0] != '.' && s[0] != ',' {
		return sec, 0, s, true
	}
	s = s[1:]
	n := 0
	for n < len(s) && s[n] >= '0' && s[n] <= '9' {
		n++
	}
	if n == 0 || n > 9 {
		return 0, 0, s, false
	}
	fraction, s, _ := digits(s, n)
	for ; n < 9; n++ {
		fraction *= 10
	}
	return sec, int64(fraction), s, true
}

// readTimestamp reads seconds since 1970 as the text's clock shows them, or where it has a zone since
// 1970 UTC.
func readTimestamp(text string, dateOnly bool) (sec, nanos int64, zoned, ok bool) {
	days, s, ok := readDate(text)
	if !ok {
		return 0, 0, false, false
	}
	sec = days * daySeconds
	if s == "" && dateOnly {
		return sec, 0, false, true
	}
	if s == "" || s[0] != 'T' && s[0] != 't' && s[0] != ' ' {
		return 0, 0, false, false
	}
	inDay, nanos, s, ok := readTime(s[1:])
	if !ok {
		return 0, 0, false, false
	}
	sec += inDay
	if s == "" {
		return sec, nanos, false, true
	}
	offset, ok := readZone(s)
	return sec - offset, nanos, true, ok
}

// readZone reads Z, +hh, +hhmm, +hh:mm, and "UTC" after a space as Spark and DuckDB print it.
func readZone(s string) (offset int64, ok bool) {
	s = strings.TrimPrefix(s, " ")
	if s == "Z" || s == "z" || s == "UTC" {
		return 0, true
	}
	if s == "" || s[0] != '+' && s[0] != '-' {
		return 0, false
	}
	sign := int64(1)
	if s[0] == '-' {
		sign = -1
	}
	h, s, ok := digits(s[1:], 2)
	if !ok || h > 18 {
		return 0, false
	}
	if s == "" {
		return sign * int64(h) * 3600, true
	}
	m, s, ok := digits(strings.TrimPrefix(s, ":"), 2)
	if !ok || s != "" || m > 59 {
		return 0, false
	}
	return sign * int64(h*3600+m*60), true
}

func parseString(dst []byte, text string) ([]byte, error) {
	if !utf8.ValidString(text) {
		return dst, noText(text, "UTF-8")
	}
	return append(dst, text...), nil
}

func parseBase64(dst []byte, text string) ([]byte, error) {
	out, err := base64.StdEncoding.Strict().AppendDecode(dst, []byte(text))
	if err != nil || strings.ContainsAny(text, "\r\n") {
		return dst, noText(text, "base64")
	}
	return out, nil
}

func parseFixed(t *arrow.FixedSizeBinaryType) Parser {
	return func(dst []byte, text string) ([]byte, error) {
		if t.ByteWidth == 16 && len(text) == 36 {
			if id, ok := parseUUID(text); ok {
				return append(dst, id...), nil
			}
		}
		out, err := parseBase64(dst, text)
		if err != nil {
			return dst, err
		}
		if got := len(out) - len(dst); got != t.ByteWidth {
			return dst, fmt.Errorf("%w: %d bytes as %s", ErrLossy, got, t)
		}
		return out, nil
	}
}

func parseUUID(text string) ([]byte, bool) {
	if text[8] != '-' || text[13] != '-' || text[18] != '-' || text[23] != '-' {
		return nil, false
	}
	id, err := hex.DecodeString(strings.ReplaceAll(text, "-", ""))
	return id, err == nil && len(id) == 16
}

// fromText parses strings as the type asked for.
func (c *leafCast) fromText() (arrow.Array, int, error) {
	if !c.explicit() {
		return c.refuse()
	}
	parse, err := NewParser(c.to, c.o)
	if err != nil {
		return nil, -1, err
	}
	width := 1
	if c.to.ID() != arrow.BOOL {
		width = c.to.(arrow.FixedWidthDataType).Bytes()
	}
	value, _ := bytesOf(c.arr)
	dst := alloc(c.n * width)[:0]
	var none [32]byte
	for i := range c.n {
		p := at(c.pos, i)
		if p < 0 {
			dst = append(dst, none[:width]...)
			continue
		}
		if dst, err = parse(dst, string(value(p))); err != nil {
			return nil, i, err
		}
	}
	if c.to.ID() == arrow.BOOL {
		dst = boolBits(dst, nil, c.n)
	}
	return c.made(dst, -1, nil)
}

// toText writes values in the form that [NewParser] reads.
func (c *leafCast) toText() (arrow.Array, int, error) {
	write := c.writer()
	if write == nil || !c.explicit() {
		return c.refuse()
	}
	texts := make([][]byte, c.n)
	for i := range texts {
		if p := at(c.pos, i); p >= 0 {
			text, err := write(p)
			if err != nil {
				return c.made(nil, i, err)
			}
			texts[i] = []byte(text)
		}
	}
	offsets, data, err := gatherBytes(func(i int) []byte { return texts[i] }, nil, c.n)
	if err != nil {
		return nil, -1, err
	}
	made := newArray(arrow.BinaryTypes.String, c.n, nullsOf(c.pos), nil, offsets, data)
	defer made.Release()
	return cast(made, nil, c.n, c.to, c.o)
}

func (c *leafCast) writer() func(p int) (string, error) {
	switch a := c.arr.(type) {
	case *array.Boolean, *array.Int8, *array.Int16, *array.Int32, *array.Int64,
		*array.Uint8, *array.Uint16, *array.Uint32, *array.Uint64:
		return func(p int) (string, error) { return c.arr.ValueStr(p), nil }
	case *array.Float32:
		return func(p int) (string, error) { return floatText(float64(a.Value(p)), 32), nil }
	case *array.Float64:
		return func(p int) (string, error) { return floatText(a.Value(p), 64), nil }
	case *array.Decimal128, *array.Decimal256:
		t := c.arr.DataType().(arrow.DecimalType)
		w := t.(arrow.FixedWidthDataType).Bytes()
		src := fixedBytes(c.arr, w)
		return func(p int) (string, error) { return readDecimal(src[p*w : (p+1)*w]).text(t.GetScale()), nil }
	case *array.Date32:
		return func(p int) (string, error) {
			t := time.Unix(int64(a.Value(p))*daySeconds, 0).UTC()
			return t.Format(time.DateOnly), fitting(validYear(t))
		}
	case *array.Timestamp:
		from := a.DataType().(*arrow.TimestampType)
		layout := "2006-01-02T15:04:05.999999999"
		if from.TimeZone != "" {
			layout += "Z07:00"
		}
		return func(p int) (string, error) {
			t := timeOf(int64(a.Value(p)), from.Unit)
			return t.Format(layout), fitting(validYear(t))
		}
	}
	return nil
}

func floatText(f float64, bitSize int) string {
	switch {
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	return strconv.FormatFloat(f, 'g', -1, bitSize)
}
