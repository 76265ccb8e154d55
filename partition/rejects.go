package partition

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// reject is a row that was left out, as a line of the reject file.
type reject struct {
	Reason    string          `json:"reason"` // "parse", "stray", "null_key", "old_duplicate"
	Source    string          `json:"source"` // file and line or row
	File      string          `json:"file,omitempty"`
	Line      int64           `json:"line,omitempty"`
	RowNumber int64           `json:"row_number,omitempty"` // where the file has no lines
	Partition string          `json:"partition,omitempty"`
	Column    string          `json:"column,omitempty"`
	Message   string          `json:"message,omitempty"`
	Row       json.RawMessage `json:"row,omitempty"`   // the row as NDJSON has it, NULLs included
	Text      string          `json:"text,omitempty"`  // the row as read, where it can't be taken apart
	Bytes     []byte          `json:"bytes,omitempty"` // the same, where it is not UTF-8
}

// rejects counts rows that are left out and writes them to a file as NDJSON. What is found while the source
// is read goes to a file beside it; what the merges find is held, since an attempt may be made anew. The
// file has its name, whole and durable, before anything is published. A run that publishes nothing leaves
// its rows under the name with .partial behind it.
type rejects struct {
	limit *int64
	fsys  storage.FS
	name  string // "" where they are only counted
	run   string

	mu     sync.Mutex
	count  int64 // of rows in the file
	bytes  int64
	file   storage.Writer
	out    *bufio.Writer
	held   map[string][]reject // of merges, by the first partition that is published with them
	sealed bool                // the file has its name, with all that is held
	named  bool                // an attempt has given it its name
}

// newRejects begins the reject file. A dry run only counts.
func (t *Table) newRejects(ctx context.Context, o *Options, files []*sourceFile, run string, dry bool) (*rejects, error) {
	r := &rejects{limit: o.MaxRejects, fsys: local.FS{}, run: run, held: map[string][]reject{}}
	if o.Rejects == "" {
		return r, nil
	}
	name, err := localPath(o.Rejects)
	if err != nil {
		return nil, err
	}
	if _, err := t.outputFile(ctx, "rejects", name, files); err != nil || dry {
		return r, err
	}
	r.name = name
	// The run's id makes the name free.
	if r.file, err = r.fsys.Create(ctx, r.temporary(), 0o644); err != nil {
		if errors.Is(err, fs.ErrNotExist) {
			err = fault(ErrNotFound, "rejects: there is no folder %s", path.Dir(name)).of(path.Dir(name)).hint("make it first")
		}
		return nil, err
	}
	r.out = bufio.NewWriter(r.file)
	return r, nil
}

func (r *rejects) temporary() string { return r.name + "." + r.run + ".tmp" }
func (r *rejects) partial() string   { return r.name + ".partial" }

// add counts a row that was found while the source is read, and is an error once there are more than the
// run may have.
func (r *rejects) add(row reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	if r.out != nil {
		line, err := row.line()
		if err != nil {
			return err
		}
		r.bytes += int64(len(line))
		if _, err := r.out.Write(line); err != nil {
			return err
		}
	}
	return r.within(r.count, row)
}

// within is an error once a row is one more than the run may have.
func (r *rejects) within(count int64, last reject) error {
	if r.limit == nil || count <= *r.limit {
		return nil
	}
	most := "none"
	if *r.limit > 0 {
		most = "at most " + strconv.FormatInt(*r.limit, 10)
	}
	return fault(ErrGuard, "%s rejected, the last at %s, and %s may be", plural(count, "row is", "rows are"), last.Source, most).at(last.Source).
		hint("correct the source, or raise --max-rejects")
}

// hold takes the rows that an attempt's merges left out, in place of those of the attempt before.
func (r *rejects) hold(partition string, rows []reject) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(rows)+len(r.held[partition]) == 0 {
		return nil
	}
	r.held[partition], r.sealed = rows, false
	count := r.count
	for _, rows := range r.held {
		count += int64(len(rows))
	}
	if len(rows) == 0 {
		return nil
	}
	return r.within(count, rows[len(rows)-1])
}

// seal gives the file its name, with all rows so far. It comes before a publish: a run that is committed
// has told what it left out, whatever happens next.
func (r *rejects) seal(ctx context.Context) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.file == nil || r.sealed {
		return nil
	}
	if err := r.write(ctx, r.name); err != nil {
		return err
	}
	r.sealed, r.named = true, true
	return nil
}

// write makes a file of all rows so far, in place of one that may be there, and makes it durable.
func (r *rejects) write(ctx context.Context, name string) error {
	if err := r.out.Flush(); err != nil {
		return err
	}
	next := r.temporary() + "2"
	w, err := r.fsys.Create(ctx, next, 0o644)
	if err != nil {
		return err
	}
	err = errors.Join(r.copyTo(ctx, w), w.Close())
	if err == nil {
		err = r.fsys.Replace(ctx, next, name)
	}
	if err != nil {
		_ = r.fsys.Remove(ctx, next) // the error before says more
		return err
	}
	return r.fsys.SyncDir(ctx, path.Dir(name))
}

func (r *rejects) copyTo(ctx context.Context, w storage.Writer) error {
	read, err := r.fsys.Open(ctx, r.temporary())
	if err != nil {
		return err
	}
	if err := errors.Join(w.CopyRange(read, 0, r.bytes), read.Close()); err != nil {
		return err
	}
	partitions := make([]string, 0, len(r.held))
	for partition := range r.held {
		partitions = append(partitions, partition)
	}
	slices.Sort(partitions)
	out := bufio.NewWriter(w)
	for _, partition := range partitions {
		for _, row := range r.held[partition] {
			line, err := row.line()
			if err != nil {
				return err
			}
			if _, err := out.Write(line); err != nil {
				return err
			}
		}
	}
	return errors.Join(out.Flush(), w.Sync())
}

// end leaves the file as the run ended: whole where it did what it was asked for, else under another name.
func (r *rejects) end(ctx context.Context, done bool) error {
	if r.file == nil {
		return nil
	}
	ctx = context.WithoutCancel(ctx) // an interrupted run's rejects say what it had found
	var err error
	switch {
	case done:
		if err = r.seal(ctx); err == nil {
			err = r.remove(ctx, r.partial()) // of a run before that failed
		}
	case r.count+int64(len(r.held)) > 0:
		if err = r.write(ctx, r.partial()); err == nil && r.named {
			err = r.remove(ctx, r.name) // it tells of rows that are not left out after all
		}
	}
	err = errors.Join(err, r.file.Close(), r.remove(ctx, r.temporary()))
	r.file = nil
	return err
}

func (r *rejects) remove(ctx context.Context, name string) error {
	err := r.fsys.Remove(ctx, name)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// line is the row as a line of the file.
func (row reject) line() ([]byte, error) {
	row.File, row.Line, row.RowNumber = parsePosition(row.Source)
	if !utf8.ValidString(row.Text) {
		row.Text, row.Bytes = "", []byte(row.Text)
	}
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	err := e.Encode(row)
	return buf.Bytes(), err
}

// withSpec is a row of a merge with the partition columns that only the path holds.
func withSpec(row []byte, spec Spec) []byte {
	has := map[string]json.RawMessage{}
	if len(row) == 0 || json.Unmarshal(row, &has) != nil {
		return row
	}
	lower := map[string]bool{}
	for name := range has {
		lower[strings.ToLower(name)] = true
	}
	out := []byte{'{'}
	for _, p := range spec {
		if lower[strings.ToLower(p.Column)] {
			continue
		}
		value := "null"
		if !p.Null {
			value = quoted(p.Value)
		}
		out = append(out, quoted(p.Column)+":"+value+","...)
	}
	if len(has) == 0 {
		return append(bytes.TrimSuffix(out, []byte{','}), '}')
	}
	return append(out, row[1:]...)
}

func quoted(text string) string {
	q, _ := json.Marshal(text) // a string is always JSON
	return string(q)
}
