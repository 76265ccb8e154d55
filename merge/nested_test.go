package merge_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
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

// TestNestedDamageStays: a bit that turned in a nested page which is taken over as bytes is refused, or spoils rows of that page alone: rows that
// the merge wrote behind it are found by a reader that counts records.
func TestNestedDamageStays(t *testing.T) {
	tab := table{keys: []int{0}, fields: []field{{"k", arrow.PrimitiveTypes.Int64, false}, {"list", arrow.ListOf(arrow.PrimitiveTypes.Int64), true}}}
	r := rand.New(rand.NewPCG(3, 4))
	var rows []row
	for k := range int64(60) {
		rows = append(rows, row{k, randomValue(r, tab.fields[1].typ, 1000)})
	}
	file := writeGroups(t, tab, "old.parquet", splice.ChunkOptions{PageRows: 10}, rows)
	changed, added := row{int64(35), []any{int64(7), int64(8), int64(9)}}, row{int64(60), []any{int64(1), nil, int64(2)}}
	f, err := splice.Open(bytes.NewReader(file.data), int64(len(file.data)), file.name)
	if err != nil {
		t.Fatal(err)
	}
	list := f.RowGroup(0).Columns[1]
	refused, spoiled := 0, 0
	for range 1500 {
		damaged := memoryFile{file.name, bytes.Clone(file.data)}
		bit := r.Int64N(8 * list.CompressedSize)
		damaged.data[list.Offset+bit/8] ^= 1 << (bit % 8)
		what := fmt.Sprintf("bit %d of byte %d", bit%8, list.Offset+bit/8)
		p, err := merge.Prepare(context.Background(), merge.Task{Schema: tab.schema(), Old: []merge.Old{damaged.old()},
			Batches: []merge.Batch{{Columns: source.InMemory(tab.record([]row{changed, added}))}}, Options: merge.Options{Key: []string{"k"}}})
		sink := &memorySink{old: []memoryFile{damaged}, run: "r"}
		if err == nil {
			_, err = p.Write(context.Background(), sink)
			if err := p.Close(); err != nil {
				t.Error(err)
			}
		}
		if err != nil {
			if refused++; !errors.Is(err, splice.ErrCorrupt) && !errors.Is(err, splice.ErrUnsupported) {
				t.Errorf("%s: %v", what, err)
			}
			continue
		}
		if _, err := arrowTable(sink.files[0]); err != nil {
			if _, before := arrowTable(damaged); before == nil {
				t.Errorf("%s: what came out can't be read, what went in can: %v", what, err)
			}
			continue
		}
		got := readFiles(t, tab.schema(), sink.files, false)
		if len(got) != 61 || text(got[35]) != text(changed) || text(got[60]) != text(added) {
			t.Fatalf("%s: %d rows, the changed one is %s, the new one %s", what, len(got), text(got[min(35, len(got)-1)]), text(got[len(got)-1]))
		}
		for k, row := range got[:60] {
			if k != 35 && text(row) != text(rows[k]) {
				spoiled++
				break
			}
		}
	}
	if refused < 100 || spoiled < 100 {
		t.Errorf("%d damages are refused, %d spoil rows of their page: too few", refused, spoiled)
	}
}
