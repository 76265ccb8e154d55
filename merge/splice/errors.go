package splice

import (
	"errors"
	"fmt"
)

// Errors that callers branch on. Messages name the file, and where they are known the row group, the
// column and the offset.
var (
	// ErrCorrupt is wrapped by every error about bytes that contradict the format or each other. The
	// storage's own errors are passed on as they are.
	ErrCorrupt = errors.New("corrupt Parquet file")
	// ErrEncrypted is returned for files with an encrypted footer or encrypted columns.
	ErrEncrypted = errors.New("encrypted Parquet file")
	// ErrUnsupported is wrapped where a file uses what the format allows and this package does not
	// know: an unknown codec, encoding or page layout. Such chunks can still be copied.
	ErrUnsupported = errors.New("unsupported Parquet feature")
)

// corruptf makes an ErrCorrupt of what is wrong.
func corruptf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrCorrupt, fmt.Sprintf(format, args...))
}

// unsupportedf makes an ErrUnsupported of what is not known.
func unsupportedf(format string, args ...any) error {
	return fmt.Errorf("%w: %s", ErrUnsupported, fmt.Sprintf(format, args...))
}

// guard turns a panic of a decoder into ErrCorrupt: deferred where bytes of a file enter.
func guard(err *error) {
	if r := recover(); r != nil {
		*err = corruptf("decoder stopped: %v", r)
	}
}
