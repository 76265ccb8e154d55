package partition

import (
	"fmt"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// recordsFrom makes a source of records, from JSON.
func recordsFrom(t *testing.T, schema *arrow.Schema, batches ...string) Source {
	t.Helper()
	var list []arrow.Record
	for _, text := range batches {
		rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(text))
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, rec)
	}
	r, err := array.NewRecordReader(schema, list)
	if err != nil {
		t.Fatal(err)
	}
	return Records(r)
}

// days makes CSV lines of rows that go to several partitions, in no order of their keys. Names repeat.
func days(n, days int, name string) []string {
	lines := []string{"id,name,dt"}
	for i := range n {
		id := i * 7919 % n
		lines = append(lines, fmt.Sprintf("%d,%s%d,2026-11-%02d", id, name, id%10, id%days+1))
	}
	return lines
}

// TestNothingSpillsThatFits: with memory for everything no temporary file is asked for.
func TestNothingSpillsThatFits(t *testing.T) {
	o := Options{Key: []string{"id"}, TempDir: "/nowhere", SourceDuplicates: "last", Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string"}
	b := newBench(t)
	b.upsert(o, b.write("a.csv", days(1000, 3, "a")...), b.write("b.csv", days(1000, 3, "b")...))
	// A Parquet source with dictionaries, whose runs go to several partitions each.
	p := newBench(t)
	p.upsert(Options{Key: []string{"id"}, Create: true, PartitionBy: []string{}, Schema: "id bigint, name string, dt date"}, p.write("a.csv", days(200_000, 3, "same")...))
	b.upsert(o, p.root())
}
