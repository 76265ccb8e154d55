package partition

import (
	"context"
	"sort"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
)

// sorter holds records whose rows go to several partitions, decoded, and when there are too many of them
// writes their rows to disk, sorted by partition: each partition's merge then reads its own rows only.
type sorter struct {
	budget  *budget
	waiting []*sourceRecord
	schema  *arrow.Schema   // of the waiting records before they were decoded
	bytes   int64           // of the waiting records as they will be written
	given   map[*target]int // of partitions that got rows of what waits: their batches before
}

// loadShared decodes the columns of a record of which several partitions take rows. The router's earlier
// records of another schema, or beyond the limit, go to disk first.
func (r *router) loadShared(ctx context.Context, rec *sourceRecord) error {
	s := &r.sorter
	if rec.loaded {
		return r.load(ctx, rec) // it stays where it is
	}
	if len(s.waiting) > 0 && (s.bytes >= s.budget.routing() || !s.schema.Equal(rec.Schema())) {
		if err := s.flush(ctx); err != nil {
			return err
		}
	}
	s.schema = rec.Schema()
	if err := r.load(ctx, rec); err != nil {
		return err
	}
	if s.given == nil {
		s.given = map[*target]int{}
	}
	s.waiting = append(s.waiting, rec)
	for _, arr := range rec.Columns.(*columnView).filled {
		s.bytes += spill.Bytes(arr)
	}
	return nil
}

// give notes that a partition has got its last batch.
func (s *sorter) give(t *target) {
	if len(s.waiting) == 0 {
		return
	}
	if _, ok := s.given[t]; !ok {
		s.given[t] = len(t.batches) - 1
	}
}

// part is neighbouring batches of one partition that become one.
type part struct {
	target  *target
	at      int // the batch that it becomes
	batches int
	rows    int
}

// flush writes what waits.
func (s *sorter) flush(ctx context.Context) error {
	bases := make([]int64, len(s.waiting))
	base := map[source.Columns]int64{}
	total := int64(0)
	for i, rec := range s.waiting {
		bases[i], base[rec.Columns] = total, total
		total += rec.NumRows()
	}
	parts, order := s.parts(base)
	columns, err := s.gather(ctx, order)
	if err != nil {
		return err
	}
	numbers := make([]int32, len(order))
	copy(numbers, order)
	columns = append(columns, int32Array(numbers))
	positions, orders := positionsOf(s.waiting, bases), ordersOf(s.waiting, bases)
	schema := spill.Schema(s.waiting[0].Schema())
	stored := arrow.NewSchema(append(append([]arrow.Field{}, schema.Fields()...), arrow.Field{Name: "row", Type: arrow.PrimitiveTypes.Int32}), nil)
	from := 0
	for i := range parts {
		p := &parts[i]
		slices := make([]arrow.Array, len(columns))
		for c, arr := range columns {
			slices[c] = array.NewSlice(arr, int64(from), int64(from+p.rows))
		}
		from += p.rows
		rows, err := s.budget.space.Write(stored, slices, p.rows)
		if err != nil {
			return err
		}
		place := placesOnDisk(rows, schema.NumFields())
		p.target.batches[p.at] = merge.Batch{Columns: &sortedRows{rows, schema}, Position: positionsOnDisk(place, positions), Order: ordersOnDisk(place, orders)}
	}
	s.closeGaps(parts)
	s.waiting, s.bytes, s.given = nil, 0, nil
	return nil
}

// parts finds, partition by partition, the batches that are of waiting records, and their rows in what the
// records are when they stand one after the other. Batches of other records keep their place among them:
// where versions tie, the later row wins.
func (s *sorter) parts(base map[source.Columns]int64) (parts []part, order []int32) {
	targets := make([]*target, 0, len(s.given))
	for t := range s.given {
		targets = append(targets, t)
	}
	sort.Slice(targets, func(i, j int) bool { return targets[i].path < targets[j].path })
	for _, t := range targets {
		joins := false
		for i := s.given[t]; i < len(t.batches); i++ {
			b := t.batches[i]
			first, ok := base[b.Columns]
			if !ok {
				joins = false
				continue
			}
			if !joins {
				parts = append(parts, part{target: t, at: i})
			}
			joins = true
			p := &parts[len(parts)-1]
			p.batches++
			p.rows += len(b.Rows)
			for _, row := range b.Rows {
				order = append(order, int32(first)+row)
			}
		}
	}
	return parts, order
}

// gather brings the rows of all columns into an order.
func (s *sorter) gather(ctx context.Context, order []int32) ([]arrow.Array, error) {
	fields := s.waiting[0].Schema().Fields()
	columns := make([]arrow.Array, len(fields), len(fields)+1)
	for c, f := range fields {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		arrays := make([]arrow.Array, len(s.waiting))
		for i, rec := range s.waiting {
			filled := rec.Columns.(*columnView).filled
			plain, err := spill.Gather(filled[c], nil)
			if err != nil {
				return nil, spillColumn(f.Name, err)
			}
			arrays[i], filled[c] = plain, nil // nobody asks for it here again
		}
		all, err := array.Concatenate(arrays, memory.DefaultAllocator)
		if err == nil {
			columns[c], err = spill.Gather(all, order)
		}
		if err != nil {
			return nil, spillColumn(f.Name, err)
		}
	}
	return columns, nil
}

// closeGaps takes out the batches that others have taken in.
func (s *sorter) closeGaps(parts []part) {
	for i := len(parts) - 1; i >= 0; i-- {
		p := parts[i]
		t := p.target
		t.batches = append(t.batches[:p.at+1], t.batches[p.at+p.batches:]...)
	}
}

// positionsOf names rows of records that stand one after the other.
func positionsOf(records []*sourceRecord, bases []int64) func(row int64) string {
	where := make([]func(int) string, len(records))
	for i, rec := range records {
		name, position := rec.name, rec.position
		where[i] = func(row int) string {
			if position == nil {
				return name
			}
			return position(row)
		}
	}
	return func(row int64) string {
		i := sort.Search(len(bases), func(i int) bool { return bases[i] > row }) - 1
		return where[i](int(row - bases[i]))
	}
}

// placesOnDisk tells where rows stood before they were sorted, which a column has. It is read when the first row is asked for, and
// stays: where rows are rejected there are many to name.
func placesOnDisk(rows *spill.Rows, column int) func(row int) (int64, error) {
	places := sync.OnceValues(func() (arrow.Array, error) { return rows.Read(context.Background(), column, nil) })
	return func(row int) (int64, error) {
		arr, err := places()
		if err != nil {
			return 0, err
		}
		return int64(arr.(*array.Int32).Value(row)), nil
	}
}

// positionsOnDisk names rows that were sorted.
func positionsOnDisk(place func(row int) (int64, error), position func(row int64) string) func(row int) string {
	return func(row int) string {
		at, err := place(row)
		if err != nil {
			return "a source row (" + err.Error() + ")"
		}
		return position(at)
	}
}

// ordersOf numbers rows of records that stand one after the other among all rows of the source.
func ordersOf(records []*sourceRecord, bases []int64) func(row int64) int64 {
	first := make([]int64, len(records))
	for i, rec := range records {
		first[i] = rec.first
	}
	return func(row int64) int64 {
		i := sort.Search(len(bases), func(i int) bool { return bases[i] > row }) - 1
		return first[i] + row - bases[i]
	}
}

// ordersOnDisk numbers rows that were sorted among all rows of the source.
func ordersOnDisk(place func(row int) (int64, error), order func(row int64) int64) func(row int) int64 {
	return func(row int) int64 {
		at, err := place(row)
		if err != nil {
			return int64(row) // the merge reads the same file, and says what is wrong with it
		}
		return order(at)
	}
}

// sortedRows are rows on disk of one partition, without the column that says where each came from.
type sortedRows struct {
	*spill.Rows
	schema *arrow.Schema
}

// Schema implements source.Columns.
func (r *sortedRows) Schema() *arrow.Schema { return r.schema }

func int32Array(values []int32) arrow.Array {
	b := array.NewInt32Builder(memory.DefaultAllocator)
	defer b.Release()
	b.AppendValues(values, nil)
	return b.NewArray()
}
