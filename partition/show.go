package partition

import (
	"context"
	"errors"
	"io/fs"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/hupsert/hupsert/storage/stage"
	"github.com/hupsert/hupsert/storage/swap"
)

// ShowOptions says what Show describes.
type ShowOptions struct {
	Partitions []string // specs; a spec of some columns names all partitions below it. Empty: all
	At         string   // a run: the versions it made, or has staged; "": what is live
}

// Description is what Show finds.
type Description struct {
	Table       string          `json:"table"`
	StateDir    string          `json:"state_dir"`
	Key         []string        `json:"key"`
	OrderBy     []string        `json:"order_by"`
	PartitionBy []ColumnInfo    `json:"partition_by"`
	Columns     []ColumnInfo    `json:"columns"`
	Partitions  []PartitionInfo `json:"partitions"`
	Files       int             `json:"files"`
	Rows        int64           `json:"rows"`
	Bytes       int64           `json:"bytes"`
	History     HistorySize     `json:"history"`
	Staged      []StagedRun     `json:"staged,omitempty"` // runs that wait for Publish or Discard
}

// ColumnInfo describes a column.
type ColumnInfo struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

// PartitionInfo describes a partition.
type PartitionInfo struct {
	Partition string     `json:"partition"`
	Rows      int64      `json:"rows"`
	Bytes     int64      `json:"bytes"`
	Version   int64      `json:"version"`       // 0 where hupsert never published it
	Run       string     `json:"run,omitempty"` // the run that made the version
	Folder    string     `json:"folder"`        // where the files are
	Files     []FileInfo `json:"files"`
	// Unavailable says why the files of a registered partition are not listed: its folder is not there, or on another
	// storage. "": they are.
	Unavailable string `json:"unavailable,omitempty"`
}

// FileInfo describes a data file.
type FileInfo struct {
	Name      string    `json:"name"`
	Path      string    `json:"path"` // with its folder
	Rows      int64     `json:"rows"`
	RowGroups int       `json:"row_groups"`
	Bytes     int64     `json:"bytes"`
	Modified  time.Time `json:"modified"`
	CreatedBy string    `json:"created_by"`
}

// Show describes the table: what is declared with it, its columns, and of each partition the files
// with their rows, by their footers.
func (t *Table) Show(ctx context.Context, o ShowOptions) (*Description, error) {
	d, err := unlocked(ctx, func() (*Description, error) { return t.show(ctx, o) })
	return d, locate(err, "", StepOpen)
}

// Outline describes what is declared with the table and its columns. Of partitions it has nothing.
func (t *Table) Outline(ctx context.Context) (*Description, error) {
	d, err := unlocked(ctx, func() (*Description, error) {
		d, _, err := t.outline(ctx)
		return d, err
	})
	return d, locate(err, "", StepOpen)
}

func (t *Table) outline(ctx context.Context) (*Description, *layout, error) {
	c, err := t.ReadConfig(ctx)
	if err != nil {
		return nil, nil, err
	}
	l, err := t.discover(ctx, c)
	if err != nil {
		return nil, nil, err
	}
	d := &Description{Table: t.url, StateDir: t.urlOf(t.StateDir()), Key: orEmpty(c.Key), OrderBy: orEmpty(c.OrderBy),
		PartitionBy: []ColumnInfo{}, Columns: []ColumnInfo{}, Partitions: []PartitionInfo{}}
	for _, column := range l.columns {
		d.PartitionBy = append(d.PartitionBy, ColumnInfo{Name: column.Name, Type: TypeName(column.Type)})
	}
	return d, l, t.showColumns(ctx, d, l, c)
}

func (t *Table) show(ctx context.Context, o ShowOptions) (*Description, error) {
	d, l, err := t.outline(ctx)
	if err != nil {
		return nil, err
	}
	if d.History, err = t.historySize(ctx); err != nil {
		return nil, err
	}
	if d.Staged, err = t.staged(ctx); err != nil {
		return nil, err
	}
	paths, err := t.choose(ctx, l, o, d.Staged)
	if err != nil {
		return nil, err
	}
	found := false
	for _, p := range paths {
		has, err := t.showPartition(ctx, d, l, p, o.At)
		if err != nil {
			return nil, locate(err, p, StepList)
		}
		found = found || has
	}
	if o.At != "" && !found {
		return nil, fault(ErrNotFound, "no version of run %s is kept", o.At).hint("hupsert history lists the versions")
	}
	return d, nil
}

func orEmpty(list []string) []string {
	if list == nil {
		return []string{}
	}
	return list
}

// discover lists a table that must exist.
func (t *Table) discover(ctx context.Context, c TableConfig) (*layout, error) {
	declared, err := ParseColumns(c.PartitionBy)
	if err != nil {
		return nil, err
	}
	l, err := t.listLayout(ctx, declared)
	if err == nil && !l.exists {
		err = t.missing()
	}
	return l, err
}

// missing is the error of a table that is not there.
func (t *Table) missing() error {
	return fault(ErrNotFound, "there is no table at %s", t.root).hint("a table is the folder above its partitions, or that of its Parquet files; hupsert upsert --create makes one")
}

// known checks that there is a table, or a state of one whose folder is gone. Else a path that is mistyped would look like a
// table on which nothing is to be done, for ever.
func (t *Table) known(ctx context.Context) error {
	if t.catalog != nil {
		return nil // the metastore has it
	}
	for _, dir := range []string{t.root, t.StateDir()} {
		if _, err := t.fsys.Stat(ctx, dir); !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return t.missing()
}

func (t *Table) showColumns(ctx context.Context, d *Description, l *layout, c TableConfig) error {
	s, err := t.tableSchema(ctx, l, c, "")
	if err != nil || s == nil {
		return err
	}
	for _, f := range without(s, l.columns).Fields() {
		d.Columns = append(d.Columns, ColumnInfo{Name: f.Name, Type: fieldType(f), Nullable: f.Nullable})
	}
	return nil
}

// choose lists the partitions that are asked for. Earlier versions may be of partitions that are gone.
func (t *Table) choose(ctx context.Context, l *layout, o ShowOptions, staged []StagedRun) ([]string, error) {
	var all []string
	if o.At != "" {
		var err error
		if all, err = t.store.Partitions(ctx); err != nil {
			return nil, err
		}
		for _, r := range staged {
			for _, p := range r.Partitions {
				if r.Run == o.At && !slices.Contains(all, p.Partition) {
					all = append(all, p.Partition)
				}
			}
		}
		slices.Sort(all)
	} else {
		for _, leaf := range l.leaves {
			all = append(all, leaf.path)
		}
	}
	if len(o.Partitions) == 0 {
		return all, nil
	}
	named, err := l.specs(o.Partitions)
	if err != nil {
		return nil, err
	}
	var out []string
	for _, p := range all {
		for _, spec := range named {
			if l.matches(spec, p) {
				out = append(out, p)
				break
			}
		}
	}
	if len(out) == 0 {
		return nil, fault(ErrNotFound, "no such partition: %s", named[0])
	}
	return out, nil
}

// specs reads specs of the table's columns.
func (l *layout) specs(texts []string) ([]Spec, error) {
	var out []Spec
	for _, text := range texts {
		spec, err := ParseSpec(text)
		if err == nil {
			spec, err = canonicalSpec(l.columns, spec)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, spec)
	}
	return out, nil
}

// matches reports whether a partition has the values of a canonical spec.
func (l *layout) matches(spec Spec, partition string) bool {
	if partition == "" {
		return len(spec) == 0
	}
	own, err := ParsePath(partition)
	if err == nil {
		own, err = canonicalSpec(l.columns, own)
	}
	return err == nil && covers(spec, own)
}

// showPartition adds one partition, live or as a run left it; false where that run has no version of it.
func (t *Table) showPartition(ctx context.Context, d *Description, l *layout, partition, at string) (bool, error) {
	versions, err := t.store.History(ctx, partition)
	if err != nil {
		return false, err
	}
	dir, version, run := l.dir(t.root, partition), int64(0), ""
	if p, ok := stagedPartition(d.Staged, at, partition); ok {
		if p.Folder == "" {
			return true, nil
		}
		dir, run = strings.TrimPrefix(p.Folder, t.device), at
	} else if at != "" {
		v, ok := versionOf(versions, at)
		if !ok || v.Path == "" {
			return ok && v.Absent, nil
		}
		dir, version, run = v.Path, v.Number, v.Run
	} else if n := len(versions); n > 0 {
		version, run = versions[n-1].Number, versions[n-1].Run
	}
	info, err := t.describeLive(ctx, l, partition, dir)
	if err != nil {
		return false, err
	}
	info.Partition, info.Version, info.Run = partition, version, run
	d.Partitions = append(d.Partitions, info)
	d.Files, d.Rows, d.Bytes = d.Files+len(info.Files), d.Rows+info.Rows, d.Bytes+info.Bytes
	return true, nil
}

// describeLive is describeFolder, of a registered partition also where there is nothing to list.
func (t *Table) describeLive(ctx context.Context, l *layout, partition, dir string) (PartitionInfo, error) {
	missing := PartitionInfo{Folder: dir, Files: []FileInfo{}}
	if refusal := l.refusal(partition); refusal != nil && dir == "" {
		var e *Error
		if missing.Unavailable = refusal.Error(); errors.As(refusal, &e) {
			missing.Unavailable = e.Err.Error()
		}
		return missing, nil
	}
	info, err := t.describeFolder(ctx, dir)
	if l.registered != nil && errors.Is(err, fs.ErrNotExist) {
		if _, serr := t.fsys.Stat(ctx, dir); errors.Is(serr, fs.ErrNotExist) {
			missing.Unavailable = "its folder is not there"
			return missing, nil
		}
	}
	return info, err
}

// describeFolder lists the data files of a version of a partition, with what their footers say.
func (t *Table) describeFolder(ctx context.Context, dir string) (PartitionInfo, error) {
	info := PartitionInfo{Folder: t.urlOf(dir), Files: []FileInfo{}}
	files, err := stage.List(ctx, t.fsys, dir)
	if err != nil {
		return info, err
	}
	c, err := classify(files)
	if err != nil {
		return info, err
	}
	for _, f := range c.data {
		file, closer, err := openParquet(ctx, t.fsys, path.Join(dir, f.Name))
		if err != nil {
			return info, err
		}
		info.Files = append(info.Files, FileInfo{Name: f.Name, Path: t.urlOf(path.Join(dir, f.Name)), Rows: file.NumRows(), RowGroups: file.NumRowGroups(), Bytes: f.Size,
			Modified: f.ModTime, CreatedBy: file.CreatedBy()})
		info.Rows += file.NumRows()
		info.Bytes += f.Size
		if err := closer.Close(); err != nil {
			return info, err
		}
	}
	return info, nil
}

// versionOf finds the version that a run made, by its name or by that of the partial run, or the run with
// retries, that it was a part of.
func versionOf(versions []swap.Version, run string) (swap.Version, bool) {
	for _, v := range versions {
		if v.Run == run {
			return v, true
		}
	}
	for _, v := range slices.Backward(versions) {
		if strings.HasPrefix(v.Run, run+"-") {
			return v, true
		}
	}
	return swap.Version{}, false
}

// stagedPartition finds what a staged run would make of a partition.
func stagedPartition(staged []StagedRun, run, partition string) (StagedPartition, bool) {
	for _, r := range staged {
		for _, p := range r.Partitions {
			if r.Run == run && p.Partition == partition {
				return p, true
			}
		}
	}
	return StagedPartition{}, false
}
