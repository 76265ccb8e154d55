package merge

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/splice"
)

// CompactTask is a partition whose files are to become fewer and larger, with the same rows.
type CompactTask struct {
	Schema *arrow.Schema // the table's columns as stored in its files
	Old    []Old         // in the order of their names
	Key    []string      // whose order is restored where it is lost; empty: rows stay in their order
	Due    bool          // only where a compaction is due, by [Due]

	Codec           *format.CompressionCodec // of what is encoded; nil: as the old files
	RowGroupRows    int64                    // 0: as the old files, else 1,000,000, or less where rows are wide
	TargetFileBytes int64                    // 0: 256 MiB
	Memory          int64                    // about how many bytes the compaction may take; 0: no limit
	Parallel        int                      // workers; 0: GOMAXPROCS
	Progress        *Progress                // counters to poll; nil: none
}

// Compaction is a compaction whose every decision is taken and of which nothing is written. It holds the old files open until
// Close. What it writes are all rows of the old files, and no others.
type Compaction struct {
	task    CompactTask
	files   []*oldFile
	kinds   []*kind
	layout  layout // of keys
	plans   []FilePlan
	shape   CompactShape
	bytes   Bytes
	rows    int64
	seconds Seconds
}

// Layout is how a partition lies in files.
type Layout struct {
	Files     int   `json:"files"`
	RowGroups int   `json:"row_groups"`
	Bytes     int64 `json:"bytes"`
}

// CompactShape is what a compaction does with the layout of a partition, and why.
type CompactShape struct {
	Before Layout `json:"before"`
	// After has, before it is written, the bytes of the old files, and files by these.
	After Layout `json:"after"`
	// Why says what is to be mended; empty where nothing is.
	Why []string `json:"why"`
	// Sorted tells that rows that are written come in the order of their keys.
	Sorted bool `json:"sorted"`
	// Notes say which files are left as they are though others could take them, and where rows stay out of order, and why.
	Notes []string `json:"notes,omitempty"`
}

const (
	// defaultTargetBytes is the size up to which files take rows.
	defaultTargetBytes = 256 << 20
	// smallFileShare: a file of less than this part of the target is small.
	smallFileShare = 4
	// smallGroupBytes is the size from which a row group is large, however few its rows are.
	smallGroupBytes = 16 << 20
	// exampleRows is how many rows a row group of the old files must have for setting an example.
	exampleRows = 1 << 17
	// wideGroupBytes is the size of new row groups where rows are so wide that a million would be more.
	wideGroupBytes = 128 << 20
)

// PrepareCompaction decides what a compaction does: which files are written anew, in which order, and which row groups are
// copied as bytes. It reads footers, the key columns, and the dictionaries of files that were patched. On success the caller
// must Close what it gets.
func PrepareCompaction(ctx context.Context, t CompactTask) (*Compaction, error) {
	if t.TargetFileBytes == 0 {
		t.TargetFileBytes = defaultTargetBytes
	}
	if t.Parallel <= 0 {
		t.Parallel = runtime.GOMAXPROCS(0)
	}
	c := &Compaction{task: t}
	if err := c.prepare(ctx); err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return c, nil
}

func (c *Compaction) prepare(ctx context.Context) error {
	start := time.Now()
	for _, old := range c.task.Old {
		f, err := openOld(ctx, old, c.task.Schema, c.task.Progress)
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
		c.rows += f.file.NumRows()
		c.shape.Before.add(f.size, len(f.groups))
	}
	c.seconds.Index = time.Since(start)
	start = time.Now()
	if !c.task.Due || Due(c.shapes()) != "" {
		if err := c.choose(ctx); err != nil {
			return err
		}
	}
	c.planFiles()
	c.seconds.Plan = time.Since(start)
	return nil
}

func (l *Layout) add(bytes int64, groups int) {
	l.Files, l.RowGroups, l.Bytes = l.Files+1, l.RowGroups+groups, l.Bytes+bytes
}

func (c *Compaction) shapes() []FileShape {
	var out []FileShape
	for _, f := range c.files {
		out = append(out, ShapeOf(f.file))
	}
	return out
}

// choose finds the files that are written anew.
func (c *Compaction) choose(ctx context.Context) error {
	var readable []*oldFile
	for _, f := range c.files {
		if why := unreadable(f.file); why != "" {
			c.shape.Notes = append(c.shape.Notes, f.Name+" is left as it is: "+why)
			continue
		}
		readable = append(readable, f)
	}
	c.kinds = kindsOf(readable)
	for _, k := range c.kinds {
		if err := c.chooseOf(ctx, k); err != nil {
			return err
		}
	}
	c.tellLeft()
	c.tellWhy()
	return nil
}

// chooseOf finds those of one kind.
func (c *Compaction) chooseOf(ctx context.Context, k *kind) error {
	k.groupRows = c.groupRows(k)
	if err := c.findStale(ctx, k); err != nil {
		return err
	}
	for _, f := range k.files {
		whole := k.bundles([]*oldFile{f})
		if units := k.plan(whole); len(units) < len(f.groups) {
			k.split += len(f.groups) - len(units)
			k.pick(f)
		} else if k.staleIn(f) {
			k.pick(f)
		}
	}
	if err := c.findOrder(ctx, k); err != nil {
		return err
	}
	var small []*oldFile
	for _, f := range k.files {
		if f.size < c.task.TargetFileBytes/smallFileShare {
			small = append(small, f)
		}
	}
	if len(k.picked) > 0 || len(small) > 1 {
		k.small = len(small)
		for _, f := range small {
			k.pick(f)
		}
	}
	slices.SortFunc(k.picked, func(a, b *oldFile) int { return strings.Compare(a.Name, b.Name) })
	if rowsOf(k.picked) == 0 { // files that stand for their columns
		k.picked = k.picked[min(len(k.picked), 1):]
		k.drops = len(k.picked) > 0
		return nil
	}
	k.settle(c.task.Codec)
	return nil
}

func rowsOf(files []*oldFile) (n int64) {
	for _, f := range files {
		n += f.file.NumRows()
	}
	return n
}

// groupRows is the size of new row groups: that of the largest old one that sets an example.
func (c *Compaction) groupRows(k *kind) int64 {
	if c.task.RowGroupRows > 0 {
		return c.task.RowGroupRows
	}
	most, rows, bytes, widest := int64(0), int64(1), int64(0), int64(0)
	for _, f := range k.files {
		for _, g := range f.groups {
			if g.rows >= exampleRows || g.bytes() >= smallGroupBytes {
				most = max(most, g.rows)
			}
			rows, bytes = rows+g.rows, bytes+g.bytes()
			for _, chunk := range f.file.RowGroup(g.ordinal).Columns {
				widest = max(widest, chunk.UncompressedSize/max(g.rows, 1))
			}
		}
	}
	if most == 0 {
		most = min(defaultRowGroupRows, max(1, wideGroupBytes/max(bytes/rows, 1)))
	}
	if c.task.Memory > 0 { // of a chunk that is encoded, each worker holds the pages
		most = min(most, max(1, c.task.Memory/2/int64(c.task.Parallel+1)/max(widest, 1)))
	}
	return most
}

// findStale finds chunks whose dictionary is mostly values that nothing uses.
func (c *Compaction) findStale(ctx context.Context, k *kind) error {
	type job struct {
		g   *rowGroup
		col int
	}
	var jobs []job
	for _, f := range k.files {
		if !f.file.Remade() {
			continue
		}
		for _, g := range f.groups {
			for col, chunk := range f.file.RowGroup(g.ordinal).Columns {
				if chunk.HasDictionary {
					jobs = append(jobs, job{g, col})
				}
			}
		}
	}
	stale := make([]bool, len(jobs))
	err := parallel(ctx, c.task.Parallel, len(jobs), func(ctx context.Context, i int) error {
		f := jobs[i].g.file.file
		entries, used, err := f.DictionaryUse(ctx, jobs[i].g.ordinal, jobs[i].col)
		stale[i] = entries > staleEntries && 2*used < entries
		return err
	})
	for i, j := range jobs {
		if stale[i] {
			k.stale[j.g] = append(k.stale[j.g], j.col)
			k.staleN++
		}
	}
	return err
}

// staleEntries is the size up to which a dictionary costs nothing whatever is in it.
const staleEntries = 64

// tellLeft notes files that stay small since no other can take their rows.
func (c *Compaction) tellLeft() {
	if len(c.kinds) < 2 {
		return
	}
	for _, k := range c.kinds {
		if len(k.files) == 1 && len(k.picked) == 0 && k.files[0].size < c.task.TargetFileBytes/smallFileShare {
			f := k.files[0]
			c.shape.Notes = append(c.shape.Notes, fmt.Sprintf("%s is left as it is: %s", f.Name, differs(f, c.kinds[0], c.kinds[1])))
		}
	}
}

// differs says why a file is not of the kind of the others.
func differs(f *oldFile, kinds ...*kind) string {
	other := kinds[0].files[0]
	if other == f {
		other = kinds[1].files[0]
	}
	if splice.SameSchema(f.file, other.file) {
		return "its metadata says to read its columns otherwise than those of " + other.Name
	}
	return "its columns are not stored as those of " + other.Name
}

// tellWhy says what is mended.
func (c *Compaction) tellWhy() {
	var small, split, stale int
	var lost, rows int64
	for _, k := range c.kinds {
		if len(k.picked) == 0 {
			continue
		}
		small, split, stale = small+k.small, split+k.split, stale+k.staleN
		c.shape.Sorted = c.shape.Sorted || k.sorted
		if k.sorted {
			lost, rows = lost+k.lost, rows+rowsOf(k.files)
		}
	}
	why := func(n int, one, many string) {
		if n > 0 {
			c.shape.Why = append(c.shape.Why, count(n, one, many))
		}
	}
	if small > 1 {
		why(small, "", "small files")
	}
	why(split, "row group too many", "row groups too many")
	why(stale, "dictionary that is mostly unused values", "dictionaries that are mostly unused values")
	if lost > 0 {
		c.shape.Why = append(c.shape.Why, fmt.Sprintf("%d of %d rows out of key order", lost, rows))
	}
}

func count(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

// planFiles says what becomes of each file.
func (c *Compaction) planFiles() {
	plans := map[*oldFile]*FilePlan{}
	for _, k := range c.kinds {
		for _, f := range k.picked {
			plans[f] = k.planFile(f)
		}
		if len(k.picked) > 0 && !k.drops {
			bytes := int64(0)
			for _, f := range k.picked {
				bytes += f.size
			}
			c.shape.After.Files += int((bytes + c.task.TargetFileBytes - 1) / c.task.TargetFileBytes)
			c.shape.After.RowGroups += len(k.units)
			c.shape.After.Bytes += bytes
		}
	}
	for _, f := range c.files {
		plan := plans[f]
		if plan == nil {
			plan = &FilePlan{Name: f.Name, Route: Keep, Bytes: f.size}
			c.shape.After.add(f.size, len(f.groups))
			c.bytes.Kept += f.size
		}
		for _, g := range plan.RowGroups {
			c.bytes.Copied += g.Copied
			c.bytes.Rewritten += g.Encoded
		}
		c.plans = append(c.plans, *plan)
	}
}

// Close closes the old files.
func (c *Compaction) Close() error {
	var errs []error
	for _, f := range c.files {
		errs = append(errs, f.close())
	}
	c.files = nil
	return errors.Join(errs...)
}

// Noop reports that all files stay as they are.
func (c *Compaction) Noop() bool {
	return !slices.ContainsFunc(c.plans, func(f FilePlan) bool { return f.Route != Keep })
}

// Shape is what becomes of the layout; after Write, as it was written.
func (c *Compaction) Shape() CompactShape { return c.shape }

// Counts counts all rows as kept.
func (c *Compaction) Counts() Counts { return Counts{Old: c.rows, Kept: c.rows, Out: c.rows} }

// Bytes is the plan's bytes by route, of the old files as they stand.
func (c *Compaction) Bytes() Bytes { return c.bytes }

// Files says what will be done with each old file, in the order of CompactTask.Old.
func (c *Compaction) Files() []FilePlan { return c.plans }

// Seconds is how long the steps took so far.
func (c *Compaction) Seconds() Seconds { return c.seconds }

// Schema is the table's columns.
func (c *Compaction) Schema() *arrow.Schema { return c.task.Schema }

// Content is what the files that are written must hold: the rows of the old ones that they stand for. It reads these whole, and
// can be asked for until Close.
func (c *Compaction) Content(ctx context.Context) (Content, error) {
	var files []*oldFile
	for i, f := range c.files {
		if c.plans[i].Route != Keep {
			files = append(files, f)
		}
	}
	return contentOf(ctx, c.task.Schema, c.task.Parallel, files)
}
