package partition

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
)

// DiffOptions says what Diff shows beside its counts.
type DiffOptions struct {
	// Limit is how many changed rows are sampled, with their values. 0: 20; negative: none.
	Limit int
	// To is a local file that all changes are written to as Parquet: a change feed, with the columns _change_type
	// (insert, update_preimage, update_postimage, delete), the partition columns and the table's. "": none.
	To string
}

// defaultSample is how many changed rows are sampled.
const defaultSample = 20

func sampleLimit(n int) int {
	switch {
	case n == 0:
		return defaultSample
	case n < 0:
		return 0
	}
	return n
}

// DiffReport is what Diff finds. It marshals to the JSON that the command prints with --output json.
type DiffReport struct {
	Table      string          `json:"table"`
	Mode       Mode            `json:"mode"`
	Different  bool            `json:"different"` // some row would change
	Partitions []PartitionDiff `json:"partitions"`
	Total      DiffTotal       `json:"total"`
	// Sample is some of the rows that would change, in the order of the partitions.
	Sample []RowDiff `json:"sample"`
	// To is the change feed that was written.
	To *ChangeFeed `json:"to,omitempty"`
	// Error is what stopped the run before it came to partitions, which have their own.
	Error *ErrorReport `json:"error,omitempty"`
	// Warnings are things worth knowing that stopped nothing.
	Warnings []string `json:"warnings,omitempty"`
}

// PartitionDiff is one partition's part of a diff.
type PartitionDiff struct {
	Partition string       `json:"partition"` // "" for a table without partitions
	Status    Status       `json:"status"`    // planned (it would change), noop or failed
	New       bool         `json:"new,omitempty"`
	Removed   bool         `json:"removed,omitempty"`
	Error     *ErrorReport `json:"error,omitempty"`
	Rows      Rows         `json:"rows"`
	// Columns are the columns that change in updated rows.
	Columns []ColumnDiff `json:"columns"`
}

// ColumnDiff counts the rows that differ in a column.
type ColumnDiff struct {
	Column string `json:"column"`
	Rows   int64  `json:"rows"`
}

// DiffTotal sums the partitions that did not fail.
type DiffTotal struct {
	Rows            Rows         `json:"rows"`
	Columns         []ColumnDiff `json:"columns"`
	Seconds         float64      `json:"seconds"`
	PeakMemoryBytes int64        `json:"peak_memory_bytes"`
}

// What a RowDiff is, in a diff and in a comparison.
const (
	ChangeInsert  = "insert"
	ChangeUpdate  = "update"
	ChangeDelete  = "delete"
	OnlyInTable   = "only_in_table"
	OnlyInOther   = "only_in_other"
	RowsDifferent = "different"
)

// RowDiff is one row that differs.
type RowDiff struct {
	Partition string `json:"partition"`
	Change    string `json:"change"`        // insert, update or delete; of Compare different, only_in_table or only_in_other
	Key       Row    `json:"key"`           // empty in modes without key
	Old       Row    `json:"old,omitempty"` // of a row that is in both, the columns that differ; else all but the key
	New       Row    `json:"new,omitempty"` // the same
}

// Row is values of columns, in their order. It marshals to a JSON object.
type Row []Cell

// Cell is one value, as the command's NDJSON has it.
type Cell struct {
	Column string
	Value  json.RawMessage
}

// MarshalJSON implements json.Marshaler.
func (r Row) MarshalJSON() ([]byte, error) {
	var b bytes.Buffer
	b.WriteByte('{')
	for i, c := range r {
		if i > 0 {
			b.WriteByte(',')
		}
		b.WriteString(quoted(c.Column) + ":")
		b.Write(c.Value)
	}
	b.WriteByte('}')
	return b.Bytes(), nil
}

// Diff is which rows Upsert would change: counted by class and by column, some of them with their values, and all of them
// as a change feed where [DiffOptions.To] names a file. It writes nothing else and takes no locks. What the limit on
// deletes would refuse is a warning. In mode Replace every old row is a delete and every source row an insert.
func (t *Table) Diff(ctx context.Context, src Source, o Options, d DiffOptions) (*DiffReport, error) {
	diff := &differ{options: d, limit: sampleLimit(d.Limit)}
	r, err := t.start(ctx, o, true)
	if err != nil {
		return diff.report(t, o.Mode, nil, err), err
	}
	r.diff = diff
	report, err := r.finish(ctx, r.reads(src))
	if err == nil {
		err = locate(diff.err, "", StepWrite)
	}
	if feedErr := diff.end(ctx, err == nil); err == nil {
		err = locate(feedErr, "", StepWrite)
	}
	return diff.report(t, r.options.Mode, report, err), err
}

// differ collects the changes of a run's partitions. They are merged several at once, and each has its place: a sample
// is of the first ones, and the feed is in their order.
type differ struct {
	options DiffOptions
	limit   int
	feed    *feed // nil: none is written
	results []diffResult
	err     error // why no partition was begun

	mu sync.Mutex
}

// diffResult is what was found in one partition.
type diffResult struct {
	left    chan struct{} // closed when the partition is done
	done    bool
	columns []ColumnDiff
	sample  []RowDiff
}

// begin makes room for an attempt's partitions.
func (d *differ) begin(ctx context.Context, r *run, out []*outcome) error {
	d.results, d.err = make([]diffResult, len(out)), nil
	for i, o := range out {
		o.ordinal = i
		d.results[i].left = make(chan struct{})
	}
	if d.options.To == "" {
		return nil
	}
	if err := d.end(ctx, false); err != nil { // of an attempt before
		return err
	}
	schema, err := r.feedSchema(ctx, out)
	if err == nil {
		d.feed, err = newFeed(ctx, r, d.options.To, schema)
	}
	return err
}

// end gives the feed its name, or removes what there is of it.
func (d *differ) end(ctx context.Context, whole bool) error {
	if d.feed == nil || d.feed.sealed {
		return nil
	}
	if !whole {
		f := d.feed
		d.feed = nil
		return f.abort(ctx)
	}
	return d.feed.seal(ctx)
}

// leave lets the next partition write.
func (d *differ) leave(o *outcome) {
	if d.feed != nil && o.ordinal > 0 {
		<-d.results[o.ordinal-1].left // one that fails early must not let the next one overtake
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.results[o.ordinal].done = true
	close(d.results[o.ordinal].left)
}

// wanted is how many rows of a partition can come into the sample: none where the partitions before it fill it.
func (d *differ) wanted(o *outcome) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	before := 0
	for i := range d.results[:o.ordinal] {
		if d.results[i].done {
			before += len(d.results[i].sample)
		}
	}
	return max(0, d.limit-before)
}

// partition takes in what a merge found.
func (d *differ) partition(ctx context.Context, o *outcome, p *merge.Prepared) error {
	res := &d.results[o.ordinal]
	res.columns = columnDiffs(p)
	if err := p.Refused(); err != nil {
		o.notes = append(o.notes, named(o.path, "upsert would refuse this: "+err.Error()))
	}
	sample, err := sampleRows(ctx, p, o.path, o.task.Options.Key, d.wanted(o))
	if err != nil {
		return err
	}
	for i := range sample {
		sample[i].Change = changeNames[sample[i].Change]
	}
	d.mu.Lock()
	res.sample = sample
	d.mu.Unlock()
	if d.feed == nil {
		return nil
	}
	if o.ordinal > 0 {
		select {
		case <-d.results[o.ordinal-1].left:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return d.feed.add(ctx, o.spec, p)
}

// changeNames are the names of rows that differ by those of the images that stand for them.
var changeNames = map[string]string{
	string(merge.InsertImage): ChangeInsert, string(merge.Preimage): ChangeUpdate, string(merge.DeleteImage): ChangeDelete,
}

// columnDiffs are the columns that change in some row.
func columnDiffs(p *merge.Prepared) []ColumnDiff {
	out := []ColumnDiff{}
	for i, n := range p.ColumnChanges() {
		if n > 0 {
			out = append(out, ColumnDiff{Column: p.Schema().Field(i).Name, Rows: n})
		}
	}
	return out
}

// addColumns adds counts by column.
func addColumns(sum []ColumnDiff, more []ColumnDiff) []ColumnDiff {
	for _, c := range more {
		found := false
		for i := range sum {
			if strings.EqualFold(sum[i].Column, c.Column) {
				sum[i].Rows += c.Rows
				found = true
			}
		}
		if !found {
			sum = append(sum, c)
		}
	}
	return sum
}

// sampleRows reads up to n of the rows that change. Change is the image that stands for a row.
func sampleRows(ctx context.Context, p *merge.Prepared, partition string, key []string, n int) ([]RowDiff, error) {
	if n == 0 {
		return nil, nil
	}
	changes := p.SampleChanges(n)
	if changes.Len() == 0 {
		return nil, nil
	}
	schema := p.Schema()
	all := make([]int, schema.NumFields())
	for i := range all {
		all[i] = i
	}
	columns, err := changes.Columns(ctx, all)
	if err != nil {
		return nil, err
	}
	s := &sampler{schema: schema, columns: columns, key: key}
	var out []RowDiff
	for i, image := range changes.Images() {
		if image == merge.Postimage {
			continue // with the one before it
		}
		row := RowDiff{Partition: partition, Change: string(image), Key: Row{}}
		if row.Key, err = s.keyOf(i); err != nil {
			return nil, err
		}
		switch image {
		case merge.InsertImage:
			row.New, err = s.rest(i)
		case merge.DeleteImage:
			row.Old, err = s.rest(i)
		default:
			row.Old, row.New, err = s.changed(i)
		}
		if err != nil {
			return nil, err
		}
		out = append(out, row)
	}
	return out, nil
}

// sampler writes images as rows.
type sampler struct {
	schema  *arrow.Schema
	columns []merge.ImageColumn
	key     []string
}

func (s *sampler) cell(column, i int) (Cell, error) {
	v, err := shred.AppendJSON(nil, s.columns[column].Values, i)
	return Cell{Column: s.schema.Field(column).Name, Value: v}, err
}

func (s *sampler) keyOf(i int) (Row, error) {
	out := Row{}
	for _, path := range s.key {
		c, err := s.keyCell(path, i)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// keyCell is one key column: a column, or a field of a struct.
func (s *sampler) keyCell(path string, i int) (Cell, error) {
	if at := foldIndices(s.schema, path); len(at) > 0 {
		return s.cell(at[0], i)
	}
	names := strings.Split(path, ".")
	at := foldIndices(s.schema, names[0])
	if len(at) == 0 {
		return Cell{}, fault(ErrSchema, "the key column is not in the table").column(path)
	}
	arr := s.columns[at[0]].Values
	for _, name := range names[1:] {
		st, ok := arr.(*array.Struct)
		if !ok {
			return Cell{}, fault(ErrSchema, "is no field of a struct").column(path)
		}
		if st.IsNull(i) {
			return Cell{Column: path, Value: json.RawMessage("null")}, nil
		}
		for f, field := range st.DataType().(*arrow.StructType).Fields() {
			if strings.EqualFold(field.Name, name) {
				arr = st.Field(f)
			}
		}
	}
	v, err := shred.AppendJSON(nil, arr, i)
	return Cell{Column: path, Value: v}, err
}

// isKey reports whether a column is a key column as a whole.
func (s *sampler) isKey(column int) bool {
	for _, path := range s.key {
		if strings.EqualFold(path, s.schema.Field(column).Name) {
			return true
		}
	}
	return false
}

// rest is a row but for its key.
func (s *sampler) rest(i int) (Row, error) {
	out := Row{}
	for column := range s.columns {
		if s.isKey(column) {
			continue
		}
		c, err := s.cell(column, i)
		if err != nil {
			return nil, err
		}
		out = append(out, c)
	}
	return out, nil
}

// changed is the columns that differ of the images i and i+1.
func (s *sampler) changed(i int) (before, after Row, err error) {
	for column, c := range s.columns {
		if !c.Differs[i] {
			continue
		}
		old, err1 := s.cell(column, i)
		fresh, err2 := s.cell(column, i+1)
		if err := errors.Join(err1, err2); err != nil {
			return nil, nil, err
		}
		before, after = append(before, old), append(after, fresh)
	}
	return before, after, nil
}

// report makes the diff of what the run says and the differ found.
func (d *differ) report(t *Table, mode Mode, r *Report, err error) *DiffReport {
	out := &DiffReport{Table: t.url, Mode: mode, Partitions: []PartitionDiff{}, Sample: []RowDiff{}, Total: DiffTotal{Columns: []ColumnDiff{}}}
	if r == nil {
		out.Error = NewErrorReport(err)
		return out
	}
	out.Mode, out.Error, out.Warnings = r.Mode, r.Error, r.Warnings
	out.Total.Rows, out.Total.Seconds, out.Total.PeakMemoryBytes = r.Total.Rows, r.Total.Seconds, r.Total.PeakMemoryBytes
	for i, p := range r.Partitions {
		one := PartitionDiff{Partition: p.Partition, Status: p.Status, New: p.New, Removed: p.Removed, Error: p.Error, Rows: p.Rows, Columns: []ColumnDiff{}}
		if p.Status.Counts() && i < len(d.results) {
			if d.results[i].columns != nil {
				one.Columns = d.results[i].columns
			}
			out.Total.Columns = addColumns(out.Total.Columns, one.Columns)
			out.Sample = append(out.Sample, d.results[i].sample...)
		}
		out.Different = out.Different || p.Status == Planned
		out.Partitions = append(out.Partitions, one)
	}
	out.Sample = out.Sample[:min(len(out.Sample), d.limit)]
	if d.feed != nil && d.feed.sealed {
		out.To = &ChangeFeed{File: d.options.To, Rows: d.feed.written, Bytes: d.feed.size}
	}
	if err != nil && out.Error == nil && !failedPartition(out) {
		out.Error = NewErrorReport(err)
	}
	return out
}

func failedPartition(r *DiffReport) bool {
	for _, p := range r.Partitions {
		if p.Error != nil {
			return true
		}
	}
	return false
}
