package spill

import (
	"context"
	"math"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/source"
)

// Nowhere is the place of a row that is left out.
const Nowhere = math.MaxUint32

// Scatter takes rows in the order they come and gives them in the order of their places, 0 to n-1, each
// of which one row takes.
type Scatter struct {
	space  *Space
	schema *arrow.Schema // with the places as its last column
	wanted []bool        // per column
	rows   int           // of a piece
	limit  int64         // bytes of rows that wait in memory
	pieces [][]*Rows
	n      int

	waiting [][]arrow.Array // per column, gathered
	places  []uint32
	bytes   int64
}

// NewScatter makes n places, in pieces of up to rows each. Of the schema, which [Schema] gave, the columns
// that are wanted are kept. About limit bytes wait in memory before they are written.
func NewScatter(space *Space, schema *arrow.Schema, wanted []bool, n, rows int, limit int64) *Scatter {
	fields := append(append([]arrow.Field{}, schema.Fields()...), arrow.Field{Name: "place", Type: arrow.PrimitiveTypes.Int32})
	return &Scatter{space: space, schema: arrow.NewSchema(fields, nil), wanted: wanted, rows: rows, limit: limit, n: n,
		pieces: make([][]*Rows, (n+rows-1)/rows), waiting: make([][]arrow.Array, schema.NumFields())}
}

// Add takes rows: read gives a column of them, as Gather gives it, with a row for every place; no place is
// Nowhere.
func (s *Scatter) Add(places []uint32, read func(column int) (arrow.Array, error)) error {
	if len(places) == 0 {
		return nil
	}
	for c, wanted := range s.wanted {
		if !wanted {
			continue
		}
		arr, err := read(c)
		if err != nil {
			return err
		}
		s.waiting[c] = append(s.waiting[c], arr)
		s.bytes += int64(arr.Data().SizeInBytes())
	}
	s.places = append(s.places, places...)
	s.bytes += 4 * int64(len(places))
	if s.bytes >= s.limit {
		return s.flush()
	}
	return nil
}

// flush writes what waits, sorted into the pieces.
func (s *Scatter) flush() error {
	if len(s.places) == 0 {
		return nil
	}
	// A counting sort by piece.
	starts := make([]int, len(s.pieces)+1)
	for _, p := range s.places {
		starts[int(p)/s.rows+1]++
	}
	for i := range s.pieces {
		starts[i+1] += starts[i]
	}
	order, within := make([]int32, len(s.places)), make([]int32, len(s.places))
	next := append([]int(nil), starts...)
	for i, p := range s.places {
		piece := int(p) / s.rows
		order[next[piece]], within[next[piece]] = int32(i), int32(int(p)%s.rows)
		next[piece]++
	}
	sorted := make([]arrow.Array, s.schema.NumFields())
	for c, parts := range s.waiting {
		if !s.wanted[c] {
			continue
		}
		var err error
		if sorted[c], err = joined(parts, order); err != nil {
			return err
		}
		s.waiting[c] = nil
	}
	sorted[len(sorted)-1] = int32Array(within)
	for i := range s.pieces {
		from, to := starts[i], starts[i+1]
		if from == to {
			continue
		}
		part := make([]arrow.Array, len(sorted))
		for c, arr := range sorted {
			if arr != nil {
				part[c] = array.NewSlice(arr, int64(from), int64(to))
			}
		}
		rows, err := s.space.Write(s.schema, part, to-from)
		if err != nil {
			return err
		}
		s.pieces[i] = append(s.pieces[i], rows)
	}
	s.places, s.bytes = s.places[:0], 0
	return nil
}

// joined makes one array of several and gathers its rows.
func joined(parts []arrow.Array, rows []int32) (arrow.Array, error) {
	arr := parts[0]
	if len(parts) > 1 {
		var err error
		if arr, err = array.Concatenate(parts, allocator); err != nil {
			return nil, err
		}
	}
	return Gather(arr, rows)
}

// Pieces ends the taking and gives the rows in the order of their places.
func (s *Scatter) Pieces() ([]*Piece, error) {
	if err := s.flush(); err != nil {
		return nil, err
	}
	out := make([]*Piece, len(s.pieces))
	for i, parts := range s.pieces {
		out[i] = &Piece{scatter: s, parts: parts, n: min(s.rows, s.n-i*s.rows)}
	}
	return out, nil
}

// Piece is some of the rows of a Scatter. It implements [source.Columns].
type Piece struct {
	scatter *Scatter
	parts   []*Rows
	n       int
}

// Schema implements source.Columns. The columns of the Scatter are followed by the places.
func (p *Piece) Schema() *arrow.Schema { return p.scatter.schema }

// NumRows implements source.Columns.
func (p *Piece) NumRows() int64 { return int64(p.n) }

// Bytes implements source.Columns.
func (p *Piece) Bytes() int64 {
	total := int64(0)
	for _, r := range p.parts {
		total += r.Bytes()
	}
	return total
}

// Read implements source.Columns.
func (p *Piece) Read(ctx context.Context, column int, at *source.Cursor) (arrow.Array, error) {
	var parts []arrow.Array
	rows := make([]int32, p.n)
	for i := range rows {
		rows[i] = -1
	}
	seen := int32(0)
	for _, r := range p.parts {
		arr, err := r.Read(ctx, column, at)
		if err != nil {
			return nil, err
		}
		parts = append(parts, arr)
		places, err := r.Read(ctx, p.scatter.schema.NumFields()-1, at)
		if err != nil {
			return nil, err
		}
		for _, place := range places.(*array.Int32).Int32Values() {
			if int(place) >= p.n || rows[place] >= 0 {
				return nil, ErrDamaged
			}
			rows[place] = seen
			seen++
		}
	}
	if int(seen) != p.n {
		return nil, ErrDamaged // a place that no row took
	}
	return joined(parts, rows)
}

func int32Array(values []int32) arrow.Array {
	b := array.NewInt32Builder(allocator)
	defer b.Release()
	b.AppendValues(values, nil)
	return b.NewArray()
}
