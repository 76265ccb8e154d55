package spill

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

var twoColumns = arrow.NewSchema([]arrow.Field{{Name: "n", Type: i32}, {Name: "unwanted", Type: i32}, {Name: "s", Type: utf8, Nullable: true}}, nil)

// texts makes a value of every number; every seventh is NULL.
func texts(numbers []int32) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	defer b.Release()
	for _, n := range numbers {
		if n%7 == 0 {
			b.AppendNull()
			continue
		}
		b.Append(fmt.Sprint("row ", n))
	}
	return b.NewArray()
}

// scatter adds the numbers 0 to n-1, each to the place of its number, in batches.
func scatter(t *testing.T, s *Scatter, r *rand.Rand, n int) {
	t.Helper()
	order := r.Perm(n)
	for len(order) > 0 {
		var places []uint32
		var numbers []int32
		for range r.IntN(min(len(order), 50) + 1) {
			places, numbers = append(places, uint32(order[0])), append(numbers, int32(order[0]))
			order = order[1:]
		}
		err := s.Add(places, func(column int) (arrow.Array, error) {
			switch column {
			case 0:
				return int32Array(numbers), nil
			case 2:
				return texts(numbers), nil
			}
			return nil, fmt.Errorf("column %d was not wanted", column)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

func TestScatter(t *testing.T) {
	ctx := context.Background()
	for seed := range uint64(200) {
		r := rand.New(rand.NewPCG(seed, 0))
		n, rows, limit := r.IntN(300), 1+r.IntN(100), r.Int64N(2000)
		space := newSpace(&memFile{})
		s := NewScatter(space, twoColumns, []bool{true, false, true}, n, rows, limit)
		scatter(t, s, r, n)
		pieces, err := s.Pieces()
		if err != nil {
			t.Fatal(err)
		}
		next := int32(0)
		for _, p := range pieces {
			numbers, err := p.Read(ctx, 0, nil)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			for _, got := range numbers.(*array.Int32).Int32Values() {
				if got != next {
					t.Fatalf("seed %d: %d at place %d", seed, got, next)
				}
				next++
			}
			got, err := p.Read(ctx, 2, nil)
			if err != nil {
				t.Fatalf("seed %d: %v", seed, err)
			}
			if want := texts(numbers.(*array.Int32).Int32Values()); !array.Equal(got, want) || p.NumRows() != int64(got.Len()) || p.NumRows() > int64(rows) {
				t.Fatalf("seed %d: %d rows %v, want %v", seed, p.NumRows(), got, want)
			}
			if _, err := p.Read(ctx, 1, nil); err == nil {
				t.Fatalf("seed %d: a column that was not wanted is there", seed)
			}
			if p.Bytes() <= 0 || p.Schema().NumFields() != 4 {
				t.Fatalf("seed %d: %d bytes, %s", seed, p.Bytes(), p.Schema())
			}
		}
		if next != int32(n) {
			t.Fatalf("seed %d: %d rows of %d", seed, next, n)
		}
	}
}

// TestScatterPlaces: a place that no row takes, or two, is found when its piece is read.
func TestScatterPlaces(t *testing.T) {
	for _, places := range [][]uint32{{0, 1}, {0, 1, 1}} {
		s := NewScatter(newSpace(&memFile{}), twoColumns, []bool{true, false, false}, 3, 10, 0)
		if err := s.Add(places, func(int) (arrow.Array, error) { return int32Array(make([]int32, len(places))), nil }); err != nil {
			t.Fatal(err)
		}
		pieces, err := s.Pieces()
		if err != nil {
			t.Fatal(err)
		}
		if _, err := pieces[0].Read(context.Background(), 0, nil); !errors.Is(err, ErrDamaged) {
			t.Errorf("places %v: %v", places, err)
		}
	}
}

// TestScatterErrors: what reading and writing fail with comes through.
func TestScatterErrors(t *testing.T) {
	broken, full := errors.New("broken"), errors.New("full")
	s := NewScatter(newSpace(&memFile{full: full}), twoColumns, []bool{true, false, false}, 3, 10, 1<<20)
	if err := s.Add([]uint32{0}, func(int) (arrow.Array, error) { return nil, broken }); !errors.Is(err, broken) {
		t.Errorf("%v", err)
	}
	s = NewScatter(newSpace(&memFile{full: full}), twoColumns, []bool{true, false, false}, 3, 10, 1<<20)
	if err := s.Add([]uint32{0}, func(int) (arrow.Array, error) { return int32Array([]int32{1}), nil }); err != nil {
		t.Errorf("nothing is written yet: %v", err)
	}
	if _, err := s.Pieces(); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
}
