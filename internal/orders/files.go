package orders

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/splice"
)

// WriteTable writes the table into a folder that is not there yet: plain files in plain folders, as
// another engine could have left them. It returns their bytes.
func WriteTable(ctx context.Context, table string) (int64, error) {
	var total int64
	for day := range Days {
		folder := filepath.Join(table, "dt="+date(day).Format(time.DateOnly))
		for file := range FilesPerDay {
			if err := ctx.Err(); err != nil {
				return 0, err
			}
			record := tableFile(day, file)
			n, err := writeParquet(filepath.Join(folder, fmt.Sprintf("part-%05d.snappy.parquet", file)), record)
			record.Release()
			if err != nil {
				return 0, err
			}
			total += n
		}
	}
	return total, nil
}

// WriteChanges writes the change file and returns its rows.
func WriteChanges(path string) (int64, error) {
	record := dayOfChanges()
	defer record.Release()
	_, err := writeParquet(path, record)
	return record.NumRows(), err
}

// writeParquet writes a record as a file of one row group, and returns its size.
func writeParquet(path string, record arrow.Record) (n int64, err error) {
	schema, err := shred.ParquetSchema(record.Schema())
	if err != nil {
		return 0, err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return 0, err
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	w, err := splice.NewWriter(localOutput{f}, splice.WriterOptions{Schema: schema})
	if err != nil {
		return 0, err
	}
	if err := w.BeginRowGroup(record.NumRows()); err != nil {
		return 0, err
	}
	for i, node := range schema.Root.Children {
		chunk, err := encodeColumn(record.Column(i), node)
		if err != nil {
			return 0, fmt.Errorf("column %s: %w", node.Name, err)
		}
		if err := w.WriteChunk(chunk); err != nil {
			return 0, err
		}
	}
	if err := w.EndRowGroup(); err != nil {
		return 0, err
	}
	sum, err := w.Close()
	return sum.Bytes, err
}

// encodeColumn encodes a flat column.
func encodeColumn(values arrow.Array, node *column.Node) (*splice.EncodedChunk, error) {
	var c column.Column
	if err := shred.Shred(values, node, []*column.Column{&c}); err != nil {
		return nil, err
	}
	e := splice.NewChunkEncoder(node.Leaf, splice.ChunkOptions{Codec: format.Snappy, Dictionary: true})
	if err := e.Append(&c, 0, c.Slots); err != nil {
		return nil, err
	}
	return e.Finish()
}

// localOutput is a file for the Parquet writer.
type localOutput struct{ *os.File }

func (o localOutput) CopyRange(src io.ReaderAt, offset, n int64) error {
	_, err := io.Copy(o.File, io.NewSectionReader(src, offset, n))
	return err
}
