package merge

import (
	"context"
	"fmt"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
)

// A piece of the source is what is read of it at a time. With more rows, bringing them into their order
// goes past the processor's caches.
const (
	minPieceRows = 16
	maxPieceRows = 1 << 17
	maxPiece     = 256 << 20 // bytes; the texts of a column must stay below the 2 GiB of an Arrow array
	maxWaiting   = 256 << 20 // bytes that wait to be written
)

// arrange brings the source rows into the order in which they will be asked for, on disk: that of the old
// rows they replace, and at the end those that are inserted. It does so only where they would be asked for
// out of the order in which they stand, and where they do not fit into memory. From here on the source
// consists of the arranged rows; what has become of the others is counted.
func (p *Prepared) arrange(ctx context.Context) error {
	r := p.source.rows
	// Rows that bring columns of their own stay where they are: read out of their order, which takes longer.
	if p.options.Spill == nil || r.whole() || r.bytes() <= p.options.Memory/6 || p.inOrder() {
		return nil
	}
	places, n := p.places()
	s := &arranger{rows: r, places: places}
	batches, err := s.run(ctx, p.options.Spill, n, p.options.Memory)
	if err != nil {
		return err
	}
	fates := make([]fate, n)
	var rest []fate
	for row, f := range p.source.fates {
		if place := places[row]; place != spill.Nowhere {
			fates[place] = f
		} else {
			rest = append(rest, f)
		}
	}
	p.tally(rest)
	p.source.fates, p.source.deletes, p.source.bands = fates, nil, nil
	r.replace(batches)
	return nil
}

// inOrder reports whether no cursor over the source will have to go back.
func (p *Prepared) inOrder() bool {
	for _, g := range p.groups() {
		w := walk{rows: p.source.rows}
		for _, e := range g.edits {
			if e.source >= 0 && !w.forward(int(e.source)) {
				return false
			}
		}
	}
	w := walk{rows: p.source.rows}
	for _, r := range p.inserts.list {
		if !w.forward(int(r.from)) || !w.forward(int(r.from+r.n-1)) {
			return false
		}
	}
	return true
}

// walk follows rows from batch to batch.
type walk struct {
	rows  *rows
	batch *sourceBatch
}

// forward moves to a row, and reports whether its batch is the one before or a later one.
func (w *walk) forward(row int) bool {
	if b := w.batch; b != nil && row >= b.base && row < b.base+b.n {
		return true
	}
	b, _ := w.rows.locate(row)
	ahead := w.batch == nil || b.base > w.batch.base
	w.batch = b
	return ahead
}

// places numbers the rows in the order in which they will be asked for, and gives edits and inserts the
// new numbers.
func (p *Prepared) places() (places []uint32, n int) {
	places = make([]uint32, p.source.rows.n)
	for i := range places {
		places[i] = spill.Nowhere
	}
	next := uint32(0)
	for _, g := range p.groups() {
		for i, e := range g.edits {
			if e.source < 0 {
				continue
			}
			if places[e.source] == spill.Nowhere { // else it updates a second row of the same key
				places[e.source] = next
				next++
			}
			g.edits[i].source = int32(places[e.source])
		}
	}
	first := next
	for _, r := range p.inserts.list {
		for row := range r.n {
			places[r.from+row] = next
			next++
		}
	}
	p.inserts = runs{}
	if next > first {
		p.inserts = runs{list: []run{{first, next - first}}, n: int(next - first)}
	}
	return places, int(next)
}

// arranger writes source rows to their places.
type arranger struct {
	rows   *rows
	places []uint32 // of every source row
	schema *arrow.Schema
}

// run gives the arranged rows as batches. Beside the table's columns they have the row that each was.
func (a *arranger) run(ctx context.Context, space *spill.Space, n int, memory int64) ([]Batch, error) {
	table := a.rows.binding.schema
	fields := append(append([]arrow.Field{}, table.Fields()...), arrow.Field{Name: "row", Type: arrow.PrimitiveTypes.Int64})
	a.schema = spill.Schema(arrow.NewSchema(fields, nil))
	wanted := make([]bool, len(fields))
	for i := range table.Fields() {
		wanted[i] = a.rows.reads(nil, i)
	}
	wanted[len(fields)-1] = true
	perRow := max(1, a.rows.bytes()/int64(a.rows.n))
	pieceRows := min(maxPieceRows, max(minPieceRows, min(maxPiece, memory/16)/perRow))
	scatter := spill.NewScatter(space, a.schema, wanted, n, int(pieceRows), min(maxWaiting, memory/8))
	cursors := make([]input.Cursor, table.NumFields())
	defer func() {
		for i := range cursors {
			cursors[i].Close()
		}
	}()
	for _, b := range a.rows.batches {
		if err := a.batch(ctx, scatter, b, cursors); err != nil {
			return nil, err
		}
	}
	pieces, err := scatter.Pieces()
	if err != nil {
		return nil, err
	}
	old := &rows{batches: a.rows.batches, n: a.rows.n}
	out := make([]Batch, len(pieces))
	for i, piece := range pieces {
		out[i] = Batch{Columns: piece, Position: func(row int) string { return old.positionIn(piece, len(fields)-1, row) }}
	}
	return out, nil
}

// batch scatters the rows of a batch that have a place.
func (a *arranger) batch(ctx context.Context, scatter *spill.Scatter, b *sourceBatch, cursors []input.Cursor) error {
	var rows []int32
	var places []uint32
	var numbers []int64
	for i := range b.n {
		if place := a.places[b.base+i]; place != spill.Nowhere {
			rows, places, numbers = append(rows, int32(i)), append(places, place), append(numbers, int64(b.base+i))
		}
	}
	return scatter.Add(places, func(column int) (arrow.Array, error) {
		if column == len(cursors) {
			list := array.NewInt64Builder(arrowAllocator)
			defer list.Release()
			list.AppendValues(numbers, nil)
			return list.NewArray(), nil
		}
		col, err := a.rows.read(ctx, b, column, &cursors[column])
		if err != nil {
			return nil, err
		}
		taken := make([]int32, len(rows))
		for i, row := range rows {
			taken[i] = int32(col.at(int(row)))
		}
		return spill.Gather(col.arr, taken)
	})
}

// positionIn names a row of a piece by what it was in the source.
func (r *rows) positionIn(piece input.Columns, column, row int) string {
	arr, err := piece.Read(context.Background(), column, nil)
	if err != nil {
		return fmt.Sprintf("a source row (%v)", err)
	}
	return r.position(int(arr.(*array.Int64).Value(row)))
}

// replace makes batches of the table's own columns the source.
func (r *rows) replace(list []Batch) {
	r.batches, r.n, r.scattered = nil, 0, make([]bool, len(r.scattered))
	r.add(list)
	bound := *r.binding
	bound.source = append([]int(nil), bound.source...)
	for table := range bound.source {
		if !r.reads(nil, table) {
			bound.source[table] = -1
			continue
		}
		bound.source[table] = table
	}
	r.binding = &bound
}
