// Command arrow merges Arrow record batches into a table from Go, with no file between: what an ETL
// job that has its rows in memory does.
//
//	go run ./examples/arrow [DIR]
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"os/signal"
	"path/filepath"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/partition"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, args []string) error {
	dir, err := workDir(args)
	if err != nil {
		return err
	}
	table, err := partition.Open(ctx, filepath.Join(dir, "stock"), partition.Config{})
	if err != nil {
		return err
	}

	// The first batch makes the table, partitioned by region.
	created, err := table.Upsert(ctx, batch([]string{"bolt", "nut", "gear"}, []int64{100, 250, 12}, "kr"), partition.Options{
		Key: []string{"item"}, Create: true, PartitionBy: []string{"region"},
	})
	if err != nil {
		return err
	}
	show(created)

	// The second one updates a row and inserts another.
	merged, err := table.Upsert(ctx, batch([]string{"nut", "axle"}, []int64{240, 7}, "kr"), partition.Options{Key: []string{"item"}})
	if err != nil {
		return err
	}
	show(merged)

	// What went wrong is told apart with errors.Is.
	_, err = table.Upsert(ctx, batch([]string{"nut", "nut"}, []int64{1, 2}, "kr"), partition.Options{Key: []string{"item"}})
	if !errors.Is(err, partition.ErrDuplicateKey) {
		return errors.Join(errors.New("this should have been a duplicate key"), err)
	}
	fmt.Println("refused:", err)
	return nil
}

func workDir(args []string) (string, error) {
	if len(args) > 0 {
		return args[0], os.MkdirAll(args[0], 0o755)
	}
	return os.MkdirTemp("", "hupsert-example-")
}

// batch is a source of one record batch.
func batch(items []string, stock []int64, region string) partition.Source {
	schema := arrow.NewSchema([]arrow.Field{
		{Name: "item", Type: arrow.BinaryTypes.String},
		{Name: "stock", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "region", Type: arrow.BinaryTypes.String},
	}, nil)
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	defer b.Release()
	for i, item := range items {
		b.Field(0).(*array.StringBuilder).Append(item)
		b.Field(1).(*array.Int64Builder).Append(stock[i])
		b.Field(2).(*array.StringBuilder).Append(region)
	}
	reader, err := array.NewRecordReader(schema, []arrow.Record{b.NewRecord()})
	if err != nil {
		panic(err) // the record was built for this very schema
	}
	return partition.Records(reader)
}

func show(r *partition.Report) {
	for _, p := range r.Partitions {
		fmt.Printf("%s: %s, %d inserted, %d updated, %d rows\n", p.Partition, p.Status, p.Rows.Inserted, p.Rows.Updated, p.Rows.Out)
	}
}
