package partition

import (
	"bytes"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
	"github.com/hupsert/hupsert/storage/local"
)

// unknownMemory is taken for the machine's where that can't be told.
const unknownMemory = 8 << 30

// budget is the memory of a run, and the space on disk for what does not fit.
type budget struct {
	total int64
	space *spill.Space
}

// newBudget divides a run's memory. The space's file is made with the first row that needs it.
func newBudget(o *Options) *budget {
	b := &budget{total: o.Memory}
	if b.total == 0 {
		b.total = machineMemory() / 2
	}
	dir := o.TempDir
	if dir == "" {
		dir = os.TempDir()
	}
	b.space = spill.New(func() (spill.File, error) {
		f, err := local.Temporary(dir)
		if err != nil {
			return nil, spillError(dir, err)
		}
		return spillFile{f, dir}, nil
	})
	return b
}

// source is how much of a source that can't be read again is held in memory.
func (b *budget) source() int64 { return b.total / 8 }

// maxRouting keeps the texts of one column, which are sorted together, below the 2 GiB of an Arrow array.
const maxRouting = 1 << 30

// routing is how much of rows that several partitions take is held in memory.
func (b *budget) routing() int64 { return min(b.total/8, maxRouting) }

// merge is what each of n merges at once may take.
func (b *budget) merge(n int) int64 { return (b.total - b.source() - b.routing()) / int64(max(n, 1)) }

// share is the budget of one of n parts that are read and merged at once.
func (b *budget) share(n int) *budget {
	return &budget{total: b.total / int64(max(n, 1)), space: b.space}
}

// spillFile gives errors of the temporary file a remedy.
type spillFile struct {
	spill.File
	dir string
}

func (f spillFile) WriteAt(p []byte, at int64) (int, error) {
	n, err := f.File.WriteAt(p, at)
	return n, spillError(f.dir, err)
}

func (f spillFile) ReadAt(p []byte, at int64) (int, error) {
	n, err := f.File.ReadAt(p, at)
	return n, spillError(f.dir, err)
}

func spillError(dir string, err error) error {
	if err == nil {
		return nil
	}
	e := fault(err, "what does not fit into memory can't be kept in %s: %v", dir, withoutPath(err))
	e.Kind = KindStorage
	return e.hint("name a folder with room: --temp-dir DIR, or allow more memory: --memory SIZE")
}

// withoutPath leaves the name of the temporary file out: it has none.
func withoutPath(err error) error {
	var p *fs.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}

// machineMemory is the memory that the process may have: of its control group where that has a limit, else
// the machine's.
func machineMemory() int64 {
	total := int64(unknownMemory)
	if text, err := os.ReadFile("/proc/meminfo"); err == nil {
		for line := range strings.Lines(string(text)) {
			if rest, ok := strings.CutPrefix(line, "MemTotal:"); ok {
				if n, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(rest), " kB"), 10, 64); err == nil {
					total = n << 10
				}
			}
		}
	}
	for _, name := range []string{"/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"} {
		text, err := os.ReadFile(name)
		if err != nil {
			continue
		}
		if n, err := strconv.ParseInt(string(bytes.TrimSpace(text)), 10, 64); err == nil && n > 0 && n < total {
			total = n
		}
	}
	return total
}

// record writes a record to disk.
func (b *budget) record(rec arrow.Record) (source.Columns, error) {
	columns := make([]arrow.Array, rec.NumCols())
	for i, arr := range rec.Columns() {
		var err error
		if columns[i], err = spill.Gather(arr, nil); err != nil {
			return nil, spillColumn(rec.ColumnName(i), err)
		}
	}
	rows, err := b.space.Write(spill.Schema(rec.Schema()), columns, int(rec.NumRows()))
	if err != nil {
		return nil, err // a nil *Rows is no Columns
	}
	return rows, nil
}

// spillColumn names a column whose type can't be kept on disk.
func spillColumn(name string, err error) error {
	return fault(ErrSchema, "%v", err).column(name).hint("leave the column out of the source, or allow more memory: --memory SIZE")
}
