package partition

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"runtime"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/storage/stage"
)

// CompareOptions says how two tables are compared.
type CompareOptions struct {
	// Key is what tells rows apart. Empty: what the first table's configuration declares, else the other's.
	Key []string
	// Partitions names the partitions to compare, as "dt=2026-11-20"; a spec of some columns names all below it. Empty: all.
	Partitions []string
	// Columns are compared and no others; empty: all. ExceptColumns are not.
	Columns, ExceptColumns []string
	AllowFloatKeys         bool // floats may be keys: NaN equals NaN, -0.0 equals 0.0
	// Limit is how many rows that differ are sampled, with their values. 0: 20; negative: none.
	Limit int
	// Memory, TempDir and Parallel are as in [Options].
	Memory   int64
	TempDir  string
	Parallel int
}

// CompareStatus is how a partition of two tables compares.
type CompareStatus string

// The statuses; OnlyInTable and OnlyInOther are of partitions, too.
const (
	CompareSame      CompareStatus = "same"
	CompareDifferent CompareStatus = "different"
	CompareFailed    CompareStatus = "failed"
)

// CompareReport is what Compare finds. It marshals to the JSON that the command prints with --output json.
type CompareReport struct {
	Table      string             `json:"table"`
	Other      string             `json:"other"`
	Key        []string           `json:"key"`
	Different  bool               `json:"different"`
	Partitions []PartitionCompare `json:"partitions"`
	Total      CompareTotal       `json:"total"`
	// Schema is the columns that are not the same in both.
	Schema []ColumnCompare `json:"schema"`
	Sample []RowDiff       `json:"sample"` // Old is of the table, New of the other
	Error  *ErrorReport    `json:"error,omitempty"`
}

// PartitionCompare is one partition's part of a comparison.
type PartitionCompare struct {
	Partition string        `json:"partition"`
	Status    CompareStatus `json:"status"` // same, different, only_in_table, only_in_other or failed
	Error     *ErrorReport  `json:"error,omitempty"`
	Rows      CompareRows   `json:"rows"`
	Columns   []ColumnDiff  `json:"columns"` // that differ in rows that are in both
}

// CompareRows counts rows.
type CompareRows struct {
	Table       int64 `json:"table"`
	Other       int64 `json:"other"`
	Same        int64 `json:"same"`
	Different   int64 `json:"different"` // with one key and other values
	OnlyInTable int64 `json:"only_in_table"`
	OnlyInOther int64 `json:"only_in_other"`
}

// Differ is the rows that are not the same in both.
func (r CompareRows) Differ() int64 { return r.Different + r.OnlyInTable + r.OnlyInOther }

// CompareTotal sums the partitions that did not fail.
type CompareTotal struct {
	Rows            CompareRows  `json:"rows"`
	Columns         []ColumnDiff `json:"columns"`
	Seconds         float64      `json:"seconds"`
	PeakMemoryBytes int64        `json:"peak_memory_bytes"`
}

// ColumnCompare is a column that the two have in other types, or that only one has.
type ColumnCompare struct {
	Column   string `json:"column"`
	Table    string `json:"table"` // its type; "": the table lacks it
	Other    string `json:"other"`
	Compared bool   `json:"compared"` // by value, in a type that holds both
}

// Compare finds which rows of two tables, or of two versions of one, differ: by key, partition by partition. Partitions are
// matched by the values of their columns, columns by name; the order of rows and files and how values are encoded does
// not count. A key that stands twice on one side is an error, but where both have the very same files, which are not
// read. Nothing is written but what does not fit into memory.
func Compare(ctx context.Context, table, other TableAt, o CompareOptions) (*CompareReport, error) {
	c := &comparison{table: table, other: other, options: o, limit: sampleLimit(o.Limit), progress: table.Table.cfg.Progress, started: time.Now()}
	if c.progress == nil {
		c.progress = new(Progress)
	}
	defer c.progress.enter(StepDone)
	err := c.run(ctx)
	return c.report(err), err
}

// comparison is one Compare under way.
type comparison struct {
	table, other TableAt
	options      CompareOptions
	limit        int
	progress     *Progress
	started      time.Time

	a, b   *snapshot
	key    []string
	budget *budget
	pairs  []*pair

	mu     sync.Mutex
	schema []ColumnCompare
	named  map[string]bool // of the columns that the options name: which are in some partition
}

// pair is one partition in both.
type pair struct {
	spec   Spec // canonical
	a, b   *snapshotPart
	report PartitionCompare
	sample []RowDiff
	done   bool
	err    error
}

// hasBoth reports whether both sides have files, and so columns.
func (p *pair) hasBoth() bool {
	return p.a != nil && p.b != nil && len(p.a.files) > 0 && len(p.b.files) > 0
}

func (p *pair) path() string {
	if p.a != nil {
		return p.a.path
	}
	return p.b.path
}

func (c *comparison) run(ctx context.Context) error {
	c.progress.enter(StepOpen)
	if err := c.open(ctx); err != nil {
		return locate(err, "", StepOpen)
	}
	c.budget = newBudget(&Options{Memory: c.options.Memory, TempDir: c.options.TempDir})
	defer func() {
		// The file has no name: nothing is left of it.
		_ = c.budget.space.Close()
	}()
	c.progress.enter(StepMerge)
	c.progress.Partitions.Store(int64(len(c.pairs)))
	var g errgroup.Group
	g.SetLimit(c.parallel())
	for i, p := range c.pairs {
		g.Go(func() error {
			p.err = locate(gone(c.one(ctx, i, p)), p.path(), StepMerge)
			c.mu.Lock()
			p.done = true
			c.mu.Unlock()
			return nil
		})
	}
	_ = g.Wait() // the errors are with the pairs
	var errs []error
	for _, p := range c.pairs {
		if p.err != nil {
			p.report.Status, p.report.Error = CompareFailed, NewErrorReport(p.err)
			errs = append(errs, p.err)
		}
	}
	if len(errs) == 0 && slices.ContainsFunc(c.pairs, (*pair).hasBoth) {
		for _, name := range slices.Concat(c.options.Columns, c.options.ExceptColumns) {
			if !c.named[strings.ToLower(name)] {
				return locate(fault(ErrUsage, "neither table has such a column").column(name), "", StepMerge)
			}
		}
	}
	return join(errs)
}

func (c *comparison) parallel() int {
	n := c.options.Parallel
	if n <= 0 {
		n = runtime.GOMAXPROCS(0)
	}
	return max(1, min(n, len(c.pairs)))
}

// open lists both tables and pairs their partitions.
func (c *comparison) open(ctx context.Context) error {
	if c.options.Parallel < 0 || c.options.Memory < 0 {
		return fault(ErrUsage, "parallel and memory must not be negative")
	}
	if len(c.options.Columns) > 0 && len(c.options.ExceptColumns) > 0 {
		return fault(ErrUsage, "columns and except-columns exclude each other")
	}
	var err error
	if c.a, err = c.table.snapshot(ctx); err != nil {
		return err
	}
	if c.b, err = c.other.snapshot(ctx); err != nil {
		return err
	}
	c.named = map[string]bool{}
	for _, key := range [][]string{c.options.Key, c.a.config.Key, c.b.config.Key} {
		if len(c.key) == 0 {
			c.key = key
		}
	}
	if len(c.key) == 0 {
		return fault(ErrUsage, "rows are compared by key, and none is given or declared").
			hint("name it with --key, or declare it once: hupsert config %s --set key=COLS", ShellQuote(c.table.Table.url))
	}
	if err := c.align(); err != nil {
		return err
	}
	return c.pair()
}

// align gives both tables the same partition columns, in the first one's order: a declared type counts more than none.
func (c *comparison) align() error {
	a, b := c.a.layout, c.b.layout
	if len(a.leaves) == 0 && len(c.a.parts) == 0 {
		a.columns = b.columns
	}
	if len(b.leaves) == 0 && len(c.b.parts) == 0 {
		b.columns = a.columns
	}
	same := len(a.columns) == len(b.columns)
	for _, column := range a.columns {
		same = same && columnIndex(b.columns, column.Name) >= 0
	}
	if !same {
		return fault(ErrUsage, "%s is partitioned by %s, %s by %s", c.table, columnNamesOr(a.columns), c.other, columnNamesOr(b.columns)).
			hint("tables are compared partition by partition: both need the same partition columns")
	}
	if len(c.a.config.PartitionBy) == 0 && len(c.b.config.PartitionBy) > 0 {
		for i, column := range a.columns {
			a.columns[i].Type = b.columns[columnIndex(b.columns, column.Name)].Type
		}
	}
	return nil
}

func columnNamesOr(columns []Column) string {
	if len(columns) == 0 {
		return "nothing"
	}
	return columnNames(columns)
}

// pair matches partitions by the values of their columns.
func (c *comparison) pair() error {
	columns := c.a.layout.columns
	named, err := (&layout{columns: columns}).specs(c.options.Partitions)
	if err != nil {
		return err
	}
	by := map[string]*pair{}
	take := func(s *snapshot, into func(p *pair) **snapshotPart) error {
		for i := range s.parts {
			part := &s.parts[i]
			spec, err := canonicalSpec(columns, part.spec)
			if err != nil {
				return locate(err, part.path, StepOpen)
			}
			if len(named) > 0 && !slices.ContainsFunc(named, func(n Spec) bool { return covers(n, spec) }) {
				continue
			}
			key := spec.Path()
			if by[key] == nil {
				by[key] = &pair{spec: spec}
			}
			side := into(by[key])
			if *side != nil {
				return fault(ErrLayout, "%s and %s of %s are the same partition", (*side).path, part.path, s.of).
					hint("merge the folders into one, or declare the column as a string: hupsert config --set partition-by=...")
			}
			*side = part
		}
		return nil
	}
	err = take(c.a, func(p *pair) **snapshotPart { return &p.a })
	if err == nil {
		err = take(c.b, func(p *pair) **snapshotPart { return &p.b })
	}
	if err != nil {
		return err
	}
	if len(by) == 0 && len(named) > 0 {
		return fault(ErrNotFound, "no such partition in either: %s", named[0])
	}
	for _, p := range by {
		p.report = PartitionCompare{Partition: p.path(), Status: CompareSame, Columns: []ColumnDiff{}}
		c.pairs = append(c.pairs, p)
	}
	sort.Slice(c.pairs, func(i, j int) bool { return c.pairs[i].path() < c.pairs[j].path() })
	return nil
}

// one compares a partition.
func (c *comparison) one(ctx context.Context, at int, p *pair) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	switch {
	case p.b == nil:
		p.report.Status = OnlyInTable
		p.report.Rows.Table, err = c.a.rows(ctx, p.a)
		p.report.Rows.OnlyInTable = p.report.Rows.Table
		return err
	case p.a == nil:
		p.report.Status = OnlyInOther
		p.report.Rows.Other, err = c.b.rows(ctx, p.b)
		p.report.Rows.OnlyInOther = p.report.Rows.Other
		return err
	case len(p.a.files) == 0 || len(p.b.files) == 0:
		return c.without(ctx, p)
	}
	m := &pairMerge{comparison: c, pair: p}
	same, err := c.sameFiles(ctx, p)
	if err != nil {
		return err
	}
	if same {
		return m.identical(ctx)
	}
	defer func() { err = errors.Join(err, m.close()) }()
	task, err := m.task(ctx)
	if err != nil {
		return err
	}
	c.progress.begin(task.Options.Progress, true)
	defer c.progress.end(task.Options.Progress)
	prepared, err := merge.Prepare(ctx, task)
	if err != nil {
		return m.explain(err)
	}
	defer func() { err = errors.Join(err, prepared.Close()) }()
	n := prepared.Counts()
	p.report.Rows = CompareRows{Table: n.Old, Other: n.Source, Same: n.Unchanged, Different: n.Updated, OnlyInTable: n.Deleted, OnlyInOther: n.Inserted}
	if p.report.Rows.Differ() > 0 {
		p.report.Status = CompareDifferent
	}
	p.report.Columns = columnDiffs(prepared)
	sample, err := sampleRows(ctx, prepared, p.path(), task.Options.Key, c.wanted(at))
	if err != nil {
		return m.explain(err)
	}
	for i := range sample {
		sample[i].Change = compareNames[sample[i].Change]
	}
	c.mu.Lock()
	p.sample = sample
	c.mu.Unlock()
	return nil
}

var compareNames = map[string]string{
	string(merge.InsertImage): OnlyInOther, string(merge.Preimage): RowsDifferent, string(merge.DeleteImage): OnlyInTable,
}

// without compares where one side has no files: all rows of the other are only there.
func (c *comparison) without(ctx context.Context, p *pair) error {
	var err1, err2 error
	p.report.Rows.Table, err1 = c.a.rows(ctx, p.a)
	p.report.Rows.Other, err2 = c.b.rows(ctx, p.b)
	p.report.Rows.OnlyInTable, p.report.Rows.OnlyInOther = p.report.Rows.Table, p.report.Rows.Other
	if p.report.Rows.Differ() > 0 {
		p.report.Status = CompareDifferent
	}
	return errors.Join(err1, err2)
}

// wanted is how many rows of a partition can come into the sample.
func (c *comparison) wanted(at int) int {
	c.mu.Lock()
	defer c.mu.Unlock()
	before := 0
	for _, p := range c.pairs[:at] {
		if p.done {
			before += len(p.sample)
		}
	}
	return max(0, c.limit-before)
}

// rows counts the rows of a partition by its files' footers.
func (s *snapshot) rows(ctx context.Context, part *snapshotPart) (int64, error) {
	total := int64(0)
	for _, f := range part.files {
		file, closer, err := openParquet(ctx, s.of.Table.fsys, path.Join(part.dir, f.Name))
		if err != nil {
			return 0, err
		}
		total += file.NumRows()
		if err := closer.Close(); err != nil {
			return 0, err
		}
	}
	return total, nil
}

// pairMerge makes of a partition of both a mirror that is only planned: the other's rows are its source.
type pairMerge struct {
	*comparison
	pair    *pair
	readers []source.Reader
}

func (m *pairMerge) close() error {
	var errs []error
	for _, r := range m.readers {
		errs = append(errs, r.Close())
	}
	return errors.Join(errs...)
}

// sameFiles reports whether two versions are made of the same files: links to them, or the one folder. An identity
// holds within one file system.
func (c *comparison) sameFiles(ctx context.Context, p *pair) (bool, error) {
	type identity struct {
		id          string
		size, mtime int64
	}
	of := func(f stage.File) identity { return identity{f.ID, f.Size, f.ModTime.UnixNano()} }
	files := map[identity]int{}
	for _, f := range p.a.files {
		files[of(f)]++
	}
	for _, f := range p.b.files {
		files[of(f)]--
	}
	for f, n := range files {
		if f.id == "" || n != 0 {
			return false, nil
		}
	}
	a, err := c.a.of.Table.fsys.Stat(ctx, p.a.dir)
	if err != nil {
		return false, err
	}
	b, err := c.b.of.Table.fsys.Stat(ctx, p.b.dir)
	return err == nil && a.Device == b.Device, err
}

// identical compares a partition of the same files in both: only their footers are read.
func (m *pairMerge) identical(ctx context.Context) error {
	s, err := m.a.schema(ctx, m.pair.a)
	if err != nil {
		return err
	}
	if s, err = m.common(s, s); err != nil {
		return err
	}
	if _, err = m.keyIn(s); err != nil {
		return err
	}
	n, err := m.a.rows(ctx, m.pair.a)
	m.pair.report.Rows = CompareRows{Table: n, Other: n, Same: n}
	return err
}

func (m *pairMerge) task(ctx context.Context) (merge.Task, error) {
	a, err := m.a.schema(ctx, m.pair.a)
	if err != nil {
		return merge.Task{}, err
	}
	b, err := m.b.schema(ctx, m.pair.b)
	if err != nil {
		return merge.Task{}, err
	}
	schema, err := m.common(a, b)
	if err != nil {
		return merge.Task{}, err
	}
	for _, declared := range []string{m.b.config.Schema, m.a.config.Schema} { // blanks at the end of a char key do not count
		if declared == "" {
			continue
		}
		d, err := ParseSchema(declared)
		if err != nil {
			return merge.Task{}, err
		}
		schema = withLengths(schema, d)
	}
	task := merge.Task{Schema: schema, Options: merge.Options{Mode: merge.Mirror, NullKeys: merge.PolicyMatch, AllowEmpty: true, Diff: true, Unique: true,
		AllowFloatKeys: m.options.AllowFloatKeys, NewColumns: merge.PolicyIgnore, MissingColumns: merge.PolicyKeep,
		Memory: m.budget.merge(m.parallel()), Spill: m.budget.space, Parallel: max(1, runtime.GOMAXPROCS(0)/m.parallel()), Progress: new(merge.Progress)}}
	if task.Options.Key, err = m.keyIn(schema); err != nil {
		return merge.Task{}, err
	}
	for _, f := range m.pair.a.files {
		task.Old = append(task.Old, merge.Old{Name: f.Name, Open: m.a.opener(m.pair.a, f)})
	}
	for _, f := range m.pair.b.files {
		batches, err := m.read(ctx, f, schema)
		if err != nil {
			return merge.Task{}, m.explain(err)
		}
		task.Batches = append(task.Batches, batches...)
	}
	return task, nil
}

// schema is the columns of a partition's files, but for the partition columns.
func (s *snapshot) schema(ctx context.Context, part *snapshotPart) (*arrow.Schema, error) {
	own, err := filesSchema(ctx, s.of.Table.fsys, part.dir, part.files)
	if err != nil {
		var e *Error
		if errors.As(err, &e) && e.File != "" {
			e.File = s.shown(part, e.File)
		}
		return nil, err
	}
	return without(own, s.layout.columns), nil
}

// shown is how a file is named in messages: two tables may have files of one name.
func (s *snapshot) shown(part *snapshotPart, file string) string {
	return path.Join(s.of.String(), part.path, file)
}

// common is the columns that are compared, in types that hold the values of both, and notes the others.
func (m *pairMerge) common(a, b *arrow.Schema) (*arrow.Schema, error) {
	var fields []arrow.Field
	for _, f := range a.Fields() {
		at, err := foldIndex(b, f.Name)
		if err != nil {
			return nil, err
		}
		if !m.wants(f.Name) {
			continue
		}
		if at < 0 {
			m.note(ColumnCompare{Column: f.Name, Table: TypeName(f.Type)})
			continue
		}
		other := b.Field(at)
		typ, ok := commonType(f.Type, other.Type)
		if !ok || !arrow.TypeEqual(f.Type, other.Type) {
			m.note(ColumnCompare{Column: f.Name, Table: TypeName(f.Type), Other: TypeName(other.Type), Compared: ok})
		}
		if ok {
			f.Type, f.Nullable = typ, f.Nullable || other.Nullable
			fields = append(fields, f)
		}
	}
	for _, f := range b.Fields() {
		if m.wants(f.Name) && len(foldIndices(a, f.Name)) == 0 {
			m.note(ColumnCompare{Column: f.Name, Other: TypeName(f.Type)})
		}
	}
	return arrow.NewSchema(fields, nil), nil
}

// commonType is a type that holds the values of two.
func commonType(a, b arrow.DataType) (arrow.DataType, bool) {
	if t, err := wider(a, b); err == nil {
		return t, true
	}
	if a.ID() != b.ID() { // a cast may lose what makes them different
		return nil, false
	}
	if shred.CanCast(b, a, shred.CastOptions{}) == nil {
		return a, true
	}
	return b, shred.CanCast(a, b, shred.CastOptions{}) == nil
}

// wants reports whether a column is to be compared. Keys always are.
func (m *pairMerge) wants(name string) bool {
	is := func(list []string) bool {
		return slices.ContainsFunc(list, func(s string) bool { return strings.EqualFold(s, name) })
	}
	named, except := is(m.options.Columns), is(m.options.ExceptColumns)
	if named || except {
		m.mu.Lock()
		m.named[strings.ToLower(name)] = true
		m.mu.Unlock()
	}
	for _, k := range m.key {
		if head, _, _ := strings.Cut(k, "."); strings.EqualFold(k, name) || strings.EqualFold(head, name) {
			return true
		}
	}
	return (len(m.options.Columns) == 0 || named) && !except
}

// note keeps a difference of the schemas, once for all partitions.
func (m *pairMerge) note(c ColumnCompare) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !slices.Contains(m.schema, c) {
		m.schema = append(m.schema, c)
	}
}

// keyIn is the key less the partition columns, which are the same in a partition.
func (m *pairMerge) keyIn(s *arrow.Schema) ([]string, error) {
	var key []string
	for _, k := range m.key {
		head, _, _ := strings.Cut(k, ".")
		switch {
		case len(foldIndices(s, k)) > 0 || len(foldIndices(s, head)) > 0:
			key = append(key, k)
		case columnIndex(m.a.layout.columns, k) < 0:
			return nil, fault(ErrSchema, "the key column is not in both, in types that compare").column(k).
				hint("name columns that both have with --key; both have %s", fieldNames(s))
		}
	}
	if len(key) == 0 {
		return nil, fault(ErrUsage, "the key holds partition columns only").hint("name the columns that tell rows of a partition apart with --key")
	}
	return key, nil
}

// opener opens a file of a snapshot, if it still is the one that was listed.
func (s *snapshot) opener(part *snapshotPart, f stage.File) func(ctx context.Context) (io.ReaderAt, int64, io.Closer, error) {
	r := &run{Table: s.of.Table}
	return r.opener(part.dir, f)
}

// read gives the rows of a file of the other table with the columns that are compared.
func (m *pairMerge) read(ctx context.Context, f stage.File, schema *arrow.Schema) ([]merge.Batch, error) {
	open := m.b.opener(m.pair.b, f)
	in, err := source.Open(ctx, source.Input{Name: m.b.shown(m.pair.b, f.Name), Format: source.Parquet, Size: f.Size,
		Open: func(ctx context.Context) (source.ReadCloserAt, error) {
			at, _, closer, err := open(ctx)
			if err != nil {
				return nil, err
			}
			return readCloserAt{at, closer}, nil
		}}, nil, source.Options{KeepDictionary: true})
	if err != nil {
		return nil, err
	}
	m.readers = append(m.readers, in)
	var out []merge.Batch
	for _, rows := range in.(source.Stretcher).Stretches() {
		fields, from := make([]arrow.Field, schema.NumFields()), make([]int, schema.NumFields())
		filled := make([]arrow.Array, schema.NumFields())
		for i, want := range schema.Fields() {
			at, err := foldIndex(rows.Schema(), want.Name)
			if err != nil {
				return nil, err
			}
			fields[i], from[i] = want, at
			if at < 0 {
				filled[i] = shred.Nulls(want.Type, int(rows.NumRows()))
				continue
			}
			fields[i].Type = rows.Schema().Field(at).Type
		}
		view := &columnView{Columns: rows, viewShape: newViewShape(fields, from), filled: filled}
		out = append(out, merge.Batch{Columns: view, Position: rows.Position})
	}
	return out, nil
}

type readCloserAt struct {
	io.ReaderAt
	io.Closer
}

// explain gives an error of the merge the file it is about, as the user knows it.
func (m *pairMerge) explain(err error) error {
	var known *Error
	if errors.As(err, &known) || errors.Is(err, fs.ErrNotExist) {
		return err // of what vanished the caller tells why
	}
	err = fileError(err, m.pair.a.files)
	e := describe(err, "", "")
	if errors.As(err, &known) {
		e = known
	}
	if slices.ContainsFunc(m.pair.a.files, func(f stage.File) bool { return f.Name == e.File }) {
		e.File = m.a.shown(m.pair.a, e.File)
	}
	if e.Kind == KindDuplicateKey {
		e.Hint = "rows are compared by key: name the columns that tell them apart with --key, or remove the copies"
	}
	return e
}

// report makes the report of what was found.
func (c *comparison) report(err error) *CompareReport {
	r := &CompareReport{Table: c.table.String(), Other: c.other.String(), Key: orEmpty(c.key), Partitions: []PartitionCompare{},
		Schema: []ColumnCompare{}, Sample: []RowDiff{}, Total: CompareTotal{Columns: []ColumnDiff{}}}
	failed := false
	for _, p := range c.pairs {
		r.Partitions = append(r.Partitions, p.report)
		if p.err != nil {
			failed = true
			continue
		}
		n, t := p.report.Rows, &r.Total.Rows
		t.Table, t.Other, t.Same, t.Different = t.Table+n.Table, t.Other+n.Other, t.Same+n.Same, t.Different+n.Different
		t.OnlyInTable, t.OnlyInOther = t.OnlyInTable+n.OnlyInTable, t.OnlyInOther+n.OnlyInOther
		r.Total.Columns = addColumns(r.Total.Columns, p.report.Columns)
		r.Sample = append(r.Sample, p.sample...)
	}
	r.Sample = r.Sample[:min(len(r.Sample), c.limit)]
	r.Different = r.Total.Rows.Differ() > 0
	for _, s := range c.schema {
		r.Schema = append(r.Schema, s)
		r.Different = r.Different || !s.Compared
	}
	sort.SliceStable(r.Schema, func(i, j int) bool { return r.Schema[i].Column < r.Schema[j].Column })
	r.Total.Seconds, r.Total.PeakMemoryBytes = time.Since(c.started).Seconds(), peakMemory()
	if err != nil && !failed {
		r.Error = NewErrorReport(err)
	}
	return r
}
