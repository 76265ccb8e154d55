//go:build !linux

package local

import (
	"errors"
	"io"
	"os"
)

const canExchange = false

func renameExclusive(from, to string) error { return renamePortably(from, to) }

func exchange(_, _ string) error { return errors.ErrUnsupported }

func copyRange(dst, src *os.File, offset, length int64) error {
	return copied(io.Copy(dst, io.NewSectionReader(src, offset, length)))(length)
}
