package shred

import (
	"errors"
	"fmt"
)

var (
	// ErrType: there is no conversion between the two types, or none without an explicit cast.
	ErrType = errors.New("types do not match")
	// ErrLossy: a value does not survive the conversion (range, scale, unit, precision, encoding).
	ErrLossy = errors.New("value does not fit")
	// ErrTimezone: an instant (UTC-adjusted timestamp) meets a local timestamp and no time zone was
	// given that relates them.
	ErrTimezone = errors.New("timestamp with time zone against one without")
	// ErrNull: a required field has no value.
	ErrNull = errors.New("required field is null")
	// ErrText: a text is not a value of the type.
	ErrText = errors.New("text does not parse")
	// ErrLevels: repetition and definition levels contradict each other or the schema.
	ErrLevels = errors.New("levels do not form records")
	// ErrTooLarge: the values need more bytes than an array's or a column's offsets reach.
	ErrTooLarge = errors.New("too many bytes for one batch")
)

// ValueError is a value that could not be converted.
type ValueError struct {
	Row int // of the array given
	Err error
}

func (e *ValueError) Error() string { return fmt.Sprintf("row %d: %v", e.Row, e.Err) }

func (e *ValueError) Unwrap() error { return e.Err }

// lossy says which value did not fit which type.
func lossy(value string, to fmt.Stringer) error {
	return fmt.Errorf("%w: %s as %s", ErrLossy, value, to)
}
