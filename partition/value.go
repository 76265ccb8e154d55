package partition

import (
	"errors"
	"fmt"
	"math/big"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

// ParseColumns reads partition columns as --partition-by takes them: "dt:date", "region". Without a
// type a column is a string.
func ParseColumns(list []string) ([]Column, error) {
	var out []Column
	seen := make(map[string]bool)
	for _, item := range list {
		name, typ, found := strings.Cut(item, ":")
		name = strings.TrimSpace(name)
		c := Column{Name: name, Type: arrow.BinaryTypes.String}
		if name == "" || climbs(name) {
			return nil, fault(ErrUsage, "partition-by %q: want COL or COL:TYPE", item)
		}
		fold := strings.ToLower(name)
		if seen[fold] {
			return nil, fault(ErrUsage, "partition-by: %s stands twice", name)
		}
		seen[fold] = true
		if found {
			t, err := ParseType(typ)
			if err != nil {
				return nil, err
			}
			if !partitionable(t) {
				return nil, fault(ErrUsage, "partition-by %s: partitions can't be of type %s", name, TypeName(t)).
					hint("string, tinyint to bigint, date, timestamp, boolean and decimal can")
			}
			c.Type = t
		}
		out = append(out, c)
	}
	return out, nil
}

// partitionable reports whether values of a type can name directories without loss.
func partitionable(t arrow.DataType) bool {
	switch t.ID() {
	case arrow.STRING, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.DATE32, arrow.TIMESTAMP, arrow.BOOL, arrow.DECIMAL128:
		return true
	}
	return false
}

// formatColumn writes a column as ParseColumns reads it.
func formatColumn(c Column) string { return c.Name + ":" + TypeName(c.Type) }

// canonical is the one text that stands for a value of a partition column's type, whichever way it
// was written: "05" and "5" of an int are both "5". It is the name given to new directories and the
// key by which existing ones are found.
func canonical(t arrow.DataType, text string) (string, error) {
	switch t := t.(type) {
	case *arrow.StringType:
		return text, nil
	case *arrow.BooleanType:
		return canonicalBool(text)
	case *arrow.Date32Type:
		return canonicalDate(text)
	case *arrow.TimestampType:
		return canonicalTimestamp(text)
	case *arrow.Decimal128Type:
		return canonicalDecimal(t, text)
	}
	if bits, signed, ok := integer(t); ok {
		return canonicalInt(bits, signed, text)
	}
	return "", fmt.Errorf("no partitions of type %s", TypeName(t))
}

// integer describes an integer type.
func integer(t arrow.DataType) (bits int, signed, ok bool) {
	switch t.ID() {
	case arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64:
		return t.(arrow.FixedWidthDataType).BitWidth(), true, true
	case arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64:
		return t.(arrow.FixedWidthDataType).BitWidth(), false, true
	}
	return 0, false, false
}

func canonicalInt(bits int, signed bool, text string) (string, error) {
	if signed {
		n, err := strconv.ParseInt(text, 10, bits)
		if err != nil {
			return "", notA(text, fmt.Sprintf("%d-bit integer", bits), err)
		}
		return strconv.FormatInt(n, 10), nil
	}
	n, err := strconv.ParseUint(text, 10, bits)
	if err != nil {
		return "", notA(text, fmt.Sprintf("unsigned %d-bit integer", bits), err)
	}
	return strconv.FormatUint(n, 10), nil
}

// notA says that a text is not a value of a type, and whether it is only out of range.
func notA(text, want string, err error) error {
	if errors.Is(err, strconv.ErrRange) {
		return fmt.Errorf("%q is out of the range of a %s", text, want)
	}
	return fmt.Errorf("%q is not a %s", text, want)
}

func canonicalBool(text string) (string, error) {
	switch strings.ToLower(text) {
	case "true":
		return "true", nil
	case "false":
		return "false", nil
	}
	return "", fmt.Errorf("%q is not true or false", text)
}

// canonicalDate takes months and days with one digit as well: 2026-1-5 is 2026-01-05.
func canonicalDate(text string) (string, error) {
	day, err := time.Parse("2006-1-2", text)
	if err != nil {
		return "", fmt.Errorf("%q is not a date (YYYY-MM-DD)", text)
	}
	return day.Format("2006-01-02"), nil
}

// canonicalTimestamp writes a timestamp as Hive does: a blank between date and time, a fraction only
// as long as it must be.
func canonicalTimestamp(text string) (string, error) {
	plain := strings.TrimSuffix(strings.Replace(text, "T", " ", 1), "Z")
	for _, layout := range []string{"2006-1-2 15:04:05.999999999", "2006-1-2 15:04", "2006-1-2"} {
		if at, err := time.Parse(layout, plain); err == nil {
			return formatTimestamp(at), nil
		}
	}
	return "", fmt.Errorf("%q is not a timestamp (YYYY-MM-DD HH:MM:SS)", text)
}

func formatTimestamp(at time.Time) string { return at.Format("2006-01-02 15:04:05.999999999") }

// canonicalDecimal writes a decimal without trailing zeros after the point, as Hive does: 1.50 of a
// decimal(5,2) is 1.5.
func canonicalDecimal(t *arrow.Decimal128Type, text string) (string, error) {
	unscaled, err := parseDecimal(t, text)
	if err != nil {
		return "", err
	}
	return formatDecimal(unscaled, int(t.Scale)), nil
}

// parseDecimal gives the value times 10^scale.
func parseDecimal(t *arrow.Decimal128Type, text string) (*big.Int, error) {
	digits, negative := text, false
	if rest, ok := strings.CutPrefix(text, "-"); ok {
		digits, negative = rest, true
	}
	whole, fraction, _ := strings.Cut(digits, ".")
	fraction = strings.TrimRight(fraction, "0")
	if whole+fraction == "" && !strings.ContainsRune(digits, '0') || strings.Trim(whole+fraction, "0123456789") != "" {
		return nil, fmt.Errorf("%q is not a decimal", text)
	}
	if len(fraction) > int(t.Scale) {
		return nil, fmt.Errorf("%q does not fit %s", text, TypeName(t))
	}
	n := new(big.Int)
	if padded := whole + fraction + strings.Repeat("0", int(t.Scale)-len(fraction)); padded != "" {
		n.SetString(padded, 10)
	}
	if len(n.String()) > int(t.Precision) {
		return nil, fmt.Errorf("%q does not fit %s", text, TypeName(t))
	}
	if negative {
		n.Neg(n)
	}
	return n, nil
}

// formatDecimal writes unscaled / 10^scale without superfluous zeros.
func formatDecimal(unscaled *big.Int, scale int) string {
	digits := new(big.Int).Abs(unscaled).String()
	if len(digits) <= scale {
		digits = strings.Repeat("0", scale-len(digits)+1) + digits
	}
	text := digits[:len(digits)-scale]
	if fraction := strings.TrimRight(digits[len(digits)-scale:], "0"); fraction != "" {
		text += "." + fraction
	}
	if unscaled.Sign() < 0 {
		text = "-" + text
	}
	return text
}

// canonicalSpec brings a spec into the table's column order with the canonical text of every value.
// Columns that the spec does not name are left out.
func canonicalSpec(columns []Column, spec Spec) (Spec, error) {
	var out Spec
	used := 0
	for _, c := range columns {
		for _, p := range spec {
			if !strings.EqualFold(p.Column, c.Name) {
				continue
			}
			used++
			q, err := canonicalPair(c, p)
			if err != nil {
				return nil, err
			}
			out = append(out, q)
		}
	}
	if used < len(spec) {
		return nil, fault(ErrUsage, "partition %s: the table is partitioned by %s", spec, columnNames(columns))
	}
	return out, nil
}

func canonicalPair(c Column, p Pair) (Pair, error) {
	if p.Null || p.Value == "" {
		return Pair{Column: c.Name, Null: true}, nil
	}
	text, err := canonical(c.Type, p.Value)
	if err != nil {
		return p, fault(ErrValue, "partition %s: %v", p.Name(), err).column(c.Name)
	}
	return Pair{Column: c.Name, Value: text}, nil
}

func columnNames(columns []Column) string {
	if len(columns) == 0 {
		return "nothing"
	}
	names := make([]string, len(columns))
	for i, c := range columns {
		names[i] = c.Name
	}
	return strings.Join(names, ", ")
}
