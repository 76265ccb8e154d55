package partition

import (
	"bytes"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/spill"
)

// countingFile is a file in memory that counts what is read.
type countingFile struct {
	spill.File
	p     []byte
	reads int
}

func (f *countingFile) WriteAt(p []byte, _ int64) (int, error) {
	f.p = append(f.p, p...)
	return len(p), nil
}

func (f *countingFile) ReadAt(p []byte, at int64) (int, error) {
	f.reads++
	return bytes.NewReader(f.p).ReadAt(p, at)
}

// TestPositionsOfSpilledRows: many rows are named, for the rejects, and where they stood is read once.
func TestPositionsOfSpilledRows(t *testing.T) {
	f := &countingFile{}
	space := spill.New(func() (spill.File, error) { return f, nil })
	schema := arrow.NewSchema([]arrow.Field{{Name: "row", Type: arrow.PrimitiveTypes.Int32}}, nil)
	rows, err := space.Write(schema, []arrow.Array{int32Array([]int32{2, 0, 1})}, 3)
	if err != nil {
		t.Fatal(err)
	}
	place := placesOnDisk(rows, 0)
	position := positionsOnDisk(place, func(row int64) string { return "day.csv:" + string(rune('2'+row)) })
	order := ordersOnDisk(place, func(row int64) int64 { return 10 + row })
	for range 100 {
		if got := position(0) + " " + position(1) + " " + position(2); got != "day.csv:4 day.csv:2 day.csv:3" {
			t.Fatal(got)
		}
		if got := [3]int64{order(0), order(1), order(2)}; got != [3]int64{12, 10, 11} {
			t.Fatal(got)
		}
	}
	if f.reads > 2 {
		t.Errorf("%d reads", f.reads)
	}
	f.p[0] ^= 1
	if got := positionsOnDisk(placesOnDisk(rows, 0), nil)(0); got != "a source row ("+spill.ErrDamaged.Error()+")" {
		t.Error(got)
	}
}
