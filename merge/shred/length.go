package shred

import (
	"fmt"
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
