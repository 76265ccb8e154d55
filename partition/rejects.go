package partition

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"strconv"
	"sync"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// reject is a row that was left out, as a line of the reject file.
type reject struct {
	Reason    string            `json:"reason"` // "parse", "stray", "null_key", "old_duplicate"
	Source    string            `json:"source"` // file and line or row
	Partition string            `json:"partition,omitempty"`
	Column    string            `json:"column,omitempty"`
	Message   string            `json:"message,omitempty"`
	Row       map[string]string `json:"row,omitempty"`  // column to text; NULL columns are absent
	Text      string            `json:"text,omitempty"` // the row as read, where it did not parse
}

// rejects counts rows that are left out and writes them to a file as NDJSON. The file appears under
// its name when the run ends, whole.
type rejects struct {
	limit *int64
	fsys  storage.FS
	name  string // "" where they are only counted

	mu    sync.Mutex
	count int64
	file  storage.Writer
	out   *bufio.Writer
}

// newRejects begins the reject file. A dry run only counts.
func newRejects(ctx context.Context, o *Options, run string, dry bool) (*rejects, error) {
	r := &rejects{limit: o.MaxRejects, fsys: local.FS{}}
	if o.Rejects == "" || dry {
		return r, nil
	}
	name, err := localPath(o.Rejects)
	if err != nil {
		return nil, err
	}
	r.name = name
	// The run's id makes the name free.
	if r.file, err = r.fsys.Create(ctx, r.temporary(run), 0o644); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault(ErrNotFound, "rejects: there is no folder %s", path.Dir(name)).of(path.Dir(name)).hint("make it first")
		}
		return nil, err
	}
	r.out = bufio.NewWriter(r.file)
	return r, nil
}

func (r *rejects) temporary(run string) string { return r.name + "." + run + ".tmp" }

// add counts a row, and is an error once there are more than the run may have.
func (r *rejects) add(row reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if r.out != nil {
		line, err := json.Marshal(row)
		if err != nil {
			return err
		}
		if _, err := r.out.Write(append(line, '\n')); err != nil {
			return err
		}
	}
	if r.limit != nil && r.count > *r.limit {
		most := "none"
		if *r.limit > 0 {
			most = "at most " + strconv.FormatInt(*r.limit, 10)
		}
		return fault(ErrGuard, "%s rejected, the last at %s, and %s may be", plural(r.count, "row is", "rows are"), row.Source, most).at(row.Source).
			hint("correct the source, or raise --max-rejects")
	}
	return nil
}

// end gives the file its name. It replaces an earlier one, so that what lies there is of the last
// run, also where that had no rejects.
func (r *rejects) end(ctx context.Context, run string) error {
	if r.file == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // an interrupted run's rejects say what it had found
	err := errors.Join(r.out.Flush(), r.file.Close())
	if err == nil {
		return r.fsys.Replace(ctx, r.temporary(run), r.name)
	}
	if rmErr := r.fsys.Remove(ctx, r.temporary(run)); rmErr != nil && !errors.Is(rmErr, fs.ErrNotExist) {
		err = errors.Join(err, rmErr)
	}
	return err
}
