package partition

import (
	"context"
	"errors"
	"io/fs"

	"github.com/hupsert/hupsert/storage/local"
)

// outputFile gives the file, symlinks resolved, that a flag names for a run to write. It must not lie in the table or its state,
// nor take the place of a file that the run reads.
func (t *Table) outputFile(ctx context.Context, flag, name string, source []*sourceFile) (target string, err error) {
	if target, err = resolve(name); err != nil {
		return "", err
	}
	for _, dir := range []string{t.root, t.StateDir()} {
		if t.place().local() && inside(target, dir) {
			return "", fault(ErrUsage, "%s: %s lies in the table", flag, name).of(name).hint("name a file elsewhere")
		}
	}
	info, err := local.FS{}.Stat(ctx, target)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return target, nil
	case err != nil:
		return "", err
	case info.IsDir():
		return "", fault(ErrUsage, "%s: %s is a folder", flag, name).of(name).hint("name a file in it")
	}
	for _, f := range source {
		if f.stdin == nil && f.local() && f.info.ID == info.ID && f.info.Device == info.Device {
			return "", fault(ErrUsage, "%s: %s is a file of the source, which would be replaced", flag, name).of(name).hint("name another file")
		}
	}
	return target, nil
}
