package partition_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/partition"
)

func Example() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "warehouse")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)
	write := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o644); err != nil {
			log.Fatal(err)
		}
		return name
	}

	table, err := partition.Open(ctx, filepath.Join(dir, "orders"), partition.Config{})
	if err != nil {
		log.Fatal(err)
	}
	first := write("first.csv", "order_id,status,dt\n1,new,2026-11-19\n2,new,2026-11-20\n")
	if _, err := table.Upsert(ctx, partition.Source{From: []string{first}}, partition.Options{
		Key: []string{"order_id"}, Create: true, PartitionBy: []string{"dt:date"}, Schema: "order_id bigint, status string",
	}); err != nil {
		log.Fatal(err)
	}

	changes := write("changes.csv", "order_id,status,dt\n2,paid,2026-11-20\n3,new,2026-11-20\n")
	report, err := table.Upsert(ctx, partition.Source{From: []string{changes}}, partition.Options{Key: []string{"order_id"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range report.Partitions {
		fmt.Printf("%s %s: %d updated, %d inserted, %d in all\n", p.Partition, p.Status, p.Rows.Updated, p.Rows.Inserted, p.Rows.Out)
	}

	bad := write("bad.csv", "order_id,status,dt\n,paid,2026-11-20\n")
	_, err = table.Upsert(ctx, partition.Source{From: []string{bad}}, partition.Options{Key: []string{"order_id"}})
	fmt.Println("null key refused:", errors.Is(err, partition.ErrNullKey))

	if _, err := table.Rollback(ctx, partition.RollbackOptions{Run: report.Run}); err != nil {
		log.Fatal(err)
	}
	now, err := table.Show(ctx, partition.ShowOptions{})
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("rows after the rollback:", now.Rows)
	// Output:
	// dt=2026-11-20 published: 1 updated, 1 inserted, 2 in all
	// null key refused: true
	// rows after the rollback: 2
}

func ExampleRecords() {
	ctx := context.Background()
	dir, err := os.MkdirTemp("", "warehouse")
	if err != nil {
		log.Fatal(err)
	}
	defer os.RemoveAll(dir)

	schema := arrow.NewSchema([]arrow.Field{{Name: "id", Type: arrow.PrimitiveTypes.Int64}, {Name: "region", Type: arrow.BinaryTypes.String}}, nil)
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, schema, strings.NewReader(`[{"id": 1, "region": "kr"}, {"id": 2, "region": "a/b"}]`))
	if err != nil {
		log.Fatal(err)
	}
	defer rec.Release()
	reader, err := array.NewRecordReader(schema, []arrow.Record{rec})
	if err != nil {
		log.Fatal(err)
	}
	defer reader.Release()

	table, err := partition.Open(ctx, filepath.Join(dir, "events"), partition.Config{})
	if err != nil {
		log.Fatal(err)
	}
	report, err := table.Upsert(ctx, partition.Records(reader), partition.Options{Key: []string{"id"}, Create: true, PartitionBy: []string{"region"}})
	if err != nil {
		log.Fatal(err)
	}
	for _, p := range report.Partitions {
		fmt.Println(p.Partition, p.Rows.Inserted)
	}
	// Output:
	// region=a%2Fb 1
	// region=kr 1
}
