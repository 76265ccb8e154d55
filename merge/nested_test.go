package merge_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
)

// TestNestedPages: of a nested column that changes in one row, the pages without it are taken over as bytes.
func TestNestedPages(t *testing.T) {
	texts := arrow.ListOf(arrow.BinaryTypes.String)
	tab := table{keys: []int{0}, fields: []field{
		{"k", arrow.PrimitiveTypes.Int64, false}, {"list", texts, true},
		{"group", arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int64, Nullable: true}, arrow.Field{Name: "l", Type: texts, Nullable: true}), true},
	}}
	r := rand.New(rand.NewPCG(1, 2))
	value := func(f field) any {
		if r.IntN(6) == 0 {
			return nil
		}
		return randomValue(r, f.typ, 1000)
	}
	var rows []row
	for k := range int64(3000) {
		rows = append(rows, row{k, value(tab.fields[1]), value(tab.fields[2])})
	}
	for i, column := range []string{"list", "group"} {
		file := writeSmallPages(t, r, tab, "old.parquet", rows)
		change := append(row{}, rows[1234]...)
		for fmt.Sprint(change[i+1]) == fmt.Sprint(rows[1234][i+1]) {
			change[i+1] = value(tab.fields[i+1])
		}
		p, err := merge.Prepare(context.Background(), merge.Task{Schema: tab.schema(), Old: []merge.Old{file.old()},
			Batches: []merge.Batch{{Columns: source.InMemory(tab.record([]row{change}))}}, Options: merge.Options{Key: []string{"k"}}})
		if err != nil {
			t.Fatal(err)
		}
		sink := &memorySink{old: []memoryFile{file}, run: "r"}
		result, err := p.Write(context.Background(), sink)
		if err != nil {
			t.Fatal(err)
		}
		if b := result.Bytes; b.Rewritten == 0 || b.Rewritten*10 > b.Copied {
			t.Errorf("%s: %d bytes are rewritten, %d copied", column, b.Rewritten, b.Copied)
		}
		if plan := p.Files()[0].RowGroups; p.Bytes().Rewritten*10 > p.Bytes().Copied {
			t.Errorf("%s: the plan says that %d bytes are rewritten, %d copied: %+v", column, p.Bytes().Rewritten, p.Bytes().Copied, plan)
		}
		want := append([]row{}, rows...)
		want[1234] = change
		checkClaims(t, column, sink.files, file)
		diffRows(t, column, readFiles(t, tab.schema(), sink.files, true), want, true)
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	}
}
