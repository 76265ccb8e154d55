//go:build !linux

package local

import (
	"errors"
	"os"
)

const canExchange = false

func renameExclusive(from, to string) error { return renamePortably(from, to) }

func exchange(_, _ string) error { return errors.ErrUnsupported }

func copyRange(dst, src *os.File, offset, length int64) error {
	return copyThroughMemory(dst, src, offset, length)
}
