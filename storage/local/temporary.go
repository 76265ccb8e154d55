package local

import (
	"errors"
	"os"
)

// Temporary opens a file without a name in a folder: its bytes are given back when it is closed, and when
// the process ends in whatever way. Where the system can't make one, the file has a name for the moment
// between two calls.
func Temporary(dir string) (*os.File, error) {
	if f, err := unnamed(dir); f != nil || err != nil {
		return f, err
	}
	return removed(dir)
}

// removed makes a file and takes its name away.
func removed(dir string) (*os.File, error) {
	f, err := os.CreateTemp(dir, "hupsert-spill-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return f, nil
}
