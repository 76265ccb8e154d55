package merge

import (
	"strings"

	"github.com/hupsert/hupsert/merge/splice"
)

// FileShape is how a file is divided.
type FileShape struct {
	Bytes  int64
	Groups []GroupShape
}

// GroupShape is the size of a row group.
type GroupShape struct{ Rows, Bytes int64 }

// ShapeOf reads it off the footer.
func ShapeOf(f *splice.File) FileShape {
	s := FileShape{Bytes: f.Size()}
	for i := range f.NumRowGroups() {
		g := f.RowGroup(i)
		s.Groups = append(s.Groups, GroupShape{Rows: g.Rows, Bytes: g.Bytes})
	}
	return s
}

// What makes a compaction due, by what a scan costs: 20 files in place of one, or row groups of 100 KiB in place of large ones,
// make one of DuckDB a tenth to a half longer (docs/benchmarks.md). Dictionaries are no reason: merges themselves begin another
// one where most of it is unused.
const (
	dueFileBytes  = 16 << 20
	dueFiles      = 20
	dueGroupBytes = 256 << 10
	dueGroups     = 40
)

// Due says why the files of a partition are to be compacted; "" where they need not be: 20 or more are smaller than 16 MiB, or 40 or
// more row groups are smaller than 256 KiB.
func Due(files []FileShape) string {
	small, tiny := 0, 0
	for _, f := range files {
		if f.Bytes < dueFileBytes {
			small++
		}
		for _, g := range f.Groups {
			if g.Bytes < dueGroupBytes {
				tiny++
			}
		}
	}
	var why []string
	if small >= dueFiles {
		why = append(why, count(small, "", "files of less than 16 MiB"))
	}
	if tiny >= dueGroups {
		why = append(why, count(tiny, "", "row groups of less than 256 KiB"))
	}
	return strings.Join(why, ", ")
}
