package shred

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
)

// MetaLength holds the declared type of a column of text, char(n) or varchar(n): neither Arrow nor Parquet has a word
// for it. See [LengthOf].
const MetaLength = "hupsert.length"

// Length is a declared char(n) or varchar(n).
type Length struct {
	Char bool // blanks at the end do not count
	Max  int  // characters (Unicode code points)
}

// LengthOf is the length that a field is declared with; false where it is not.
func LengthOf(f arrow.Field) (Length, bool) {
	text, ok := f.Metadata.GetValue(MetaLength)
	if !ok {
		return Length{}, false
	}
	name, digits, _ := strings.Cut(strings.TrimSuffix(text, ")"), "(")
	n, err := strconv.Atoi(digits)
	return Length{Char: name == "char", Max: n}, err == nil
}

// On is a field with the length, beside its other metadata.
func (l Length) On(f arrow.Field) arrow.Field {
	m := f.Metadata.ToMap()
	m[MetaLength] = l.String()
	f.Metadata = arrow.MetadataFrom(m)
	return f
}

// MetaRange holds the declared type of a column of integers that is narrower than the files': "tinyint" or "smallint" of
// 32 bits, which most engines write without a word of it. See [RangeOf].
const MetaRange = "hupsert.range"

// ranges are the bounds of the declared types.
var ranges = map[string][2]int64{"tinyint": {math.MinInt8, math.MaxInt8}, "smallint": {math.MinInt16, math.MaxInt16}}

// Range is a declared tinyint or smallint.
type Range struct {
	name     string
	min, max int64
}

// RangeOf is the range that a field is declared with; false where it is not.
func RangeOf(f arrow.Field) (Range, bool) {
	name, _ := f.Metadata.GetValue(MetaRange)
	bounds, ok := ranges[name]
	return Range{name, bounds[0], bounds[1]}, ok
}

// Ranged is a field declared as tinyint or smallint, beside its other metadata.
func Ranged(f arrow.Field, name string) arrow.Field {
	m := f.Metadata.ToMap()
	m[MetaRange] = name
	f.Metadata = arrow.MetadataFrom(m)
	return f
}

// String is the type as it is declared.
func (r Range) String() string { return r.name }

// Check is [ErrLossy] where a number is out of the range.
func (r Range) Check(n int64) error {
	if n >= r.min && n <= r.max {
		return nil
	}
	return fmt.Errorf("%w: %d as %s", ErrLossy, n, r.name)
}

// String is the type as it is declared.
func (l Length) String() string {
	if l.Char {
		return fmt.Sprintf("char(%d)", l.Max)
	}
	return fmt.Sprintf("varchar(%d)", l.Max)
}

// shownText is how many characters of a text an error shows.
const shownText = 40

// Check is [ErrLossy] where a text is longer.
func (l Length) Check(text string) error {
	counted := text
	if l.Char {
		counted = strings.TrimRight(text, " ")
	}
	if len(counted) <= l.Max {
		return nil
	}
	n := utf8.RuneCountInString(counted)
	if n <= l.Max {
		return nil
	}
	shown := fmt.Sprintf("%q", counted)
	if n > shownText {
		shown = fmt.Sprintf("%.*q...", shownText, counted)
	}
	return fmt.Errorf("%w: %s of %d characters as %s", ErrLossy, shown, n, l)
}
