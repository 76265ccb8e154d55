package splice

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/hupsert/hupsert/merge/column"
)

// CheckChunk decodes every page of a column chunk and gives nothing back: an error says that the chunk
// can't be read, or does not have the rows that the footer says.
func (f *File) CheckChunk(ctx context.Context, rg, col int) error {
	pages := f.Pages(rg, col, nil)
	defer pages.Close()
	var into column.Column
	rows := int64(0)
	for {
		_, n, err := pages.Next(ctx, &into)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		rows += int64(n)
	}
	if want := f.groups[rg].Rows; rows != want {
		return fmt.Errorf("%w: %s: row group %d, column %q: %d rows, want %d", ErrCorrupt, f.name, rg, f.schema.Leaves[col].Path, rows, want)
	}
	return nil
}

// SameSchema reports whether two files have the same schema elements, but for the name of the root:
// what one has said of its columns is true of the other's.
func SameSchema(a, b *File) bool {
	x, y := a.footer.list(2, compactStruct), b.footer.list(2, compactStruct)
	if len(x) != len(y) {
		return false
	}
	for i := range x {
		if i == 0 { // of the root only the name and the number of children are known
			continue
		}
		if !slices.Equal(x[i].append(nil), y[i].append(nil)) {
			return false
		}
	}
	return true
}
