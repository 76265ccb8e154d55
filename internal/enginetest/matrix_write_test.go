package enginetest

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/parquet-go/parquet-go"
	"github.com/parquet-go/parquet-go/compress"
	"github.com/parquet-go/parquet-go/deprecated"
	"github.com/parquet-go/parquet-go/encoding"
)

// goTask is a file for parquet-go to write, as matrix.py asks for it.
type goTask struct {
	Out        string
	Codec      string
	Page       int
	PageSize   int
	Group      int64
	Dictionary bool
	Statistics bool
	Fields     []goField
	Columns    [][]any
}

// goField is a column, or what is inside one. Groups of parquet-go have their fields by name, so names come sorted.
type goField struct {
	Name, Type, Physical, Encoding string
	Precision, Scale, Width        int
	Required                       bool
	Fields                         []goField
}

// writeByParquetGo writes the files of a list of tasks, one JSON object a line.
func writeByParquetGo(tasks string) error {
	f, err := os.Open(tasks)
	if err != nil {
		return err
	}
	defer f.Close()
	// It warns of small decimals on INT64, which other writers make and which are wanted here.
	log.SetOutput(io.Discard)
	defer log.SetOutput(os.Stderr)
	for decoder := json.NewDecoder(f); ; {
		var task goTask
		switch err := decoder.Decode(&task); {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		}
		if err := task.write(); err != nil {
			return fmt.Errorf("%s: %w", task.Out, err)
		}
	}
}

var goCodecs = map[string]compress.Codec{
	"none": &parquet.Uncompressed, "snappy": &parquet.Snappy, "gzip": &parquet.Gzip, "zstd": &parquet.Zstd,
	"brotli": &parquet.Brotli, "lz4_raw": &parquet.Lz4Raw,
}

var goEncodings = map[string]encoding.Encoding{
	"PLAIN": &parquet.Plain, "DELTA_BINARY_PACKED": &parquet.DeltaBinaryPacked,
	"DELTA_LENGTH_BYTE_ARRAY": &parquet.DeltaLengthByteArray, "DELTA_BYTE_ARRAY": &parquet.DeltaByteArray,
	"BYTE_STREAM_SPLIT": &parquet.ByteStreamSplit,
}

func (t goTask) write() error {
	root := parquet.Group{}
	for _, f := range t.Fields {
		node, err := f.node(t.Dictionary)
		if err != nil {
			return err
		}
		root[f.Name] = node
	}
	schema := parquet.NewSchema("rows", root)
	out, err := os.Create(t.Out)
	if err != nil {
		return err
	}
	defer out.Close()
	w := parquet.NewWriter(out, schema, parquet.Compression(goCodecs[t.Codec]), parquet.DataPageVersion(t.Page),
		parquet.PageBufferSize(t.PageSize), parquet.DataPageStatistics(t.Statistics))
	for i := range t.Columns[0] {
		if i > 0 && int64(i)%t.Group == 0 {
			if err := w.Flush(); err != nil {
				return err
			}
		}
		row, leaf := parquet.Row(nil), 0
		for c, f := range t.Fields {
			row, leaf = f.shred(row, t.Columns[c][i], 0, 0, 0, leaf)
		}
		if _, err := w.WriteRows([]parquet.Row{row}); err != nil {
			return err
		}
	}
	return errors.Join(w.Close(), out.Close())
}

// node is the field's place in a schema.
func (f goField) node(dictionary bool) (parquet.Node, error) {
	inner := make([]parquet.Node, len(f.Fields))
	for i, child := range f.Fields {
		var err error
		if inner[i], err = child.node(dictionary); err != nil {
			return nil, err
		}
	}
	var n parquet.Node
	switch f.Type {
	case "struct":
		group := parquet.Group{}
		for i, child := range f.Fields {
			group[child.Name] = inner[i]
		}
		n = group
	case "list":
		n = parquet.List(inner[0])
	case "map":
		n = parquet.Map(inner[0], inner[1])
	case "repeated":
		return parquet.Repeated(parquet.Required(inner[0])), nil
	default:
		n = f.leaf()
		if n == nil {
			return nil, fmt.Errorf("no type %s", f.Type)
		}
		if dictionary && f.Type != "bool" {
			n = parquet.Encoded(n, &parquet.RLEDictionary)
		} else {
			n = parquet.Encoded(n, &parquet.Plain)
		}
		if e := goEncodings[f.Encoding]; e != nil {
			n = parquet.Encoded(n, e)
		}
	}
	if f.Required {
		return parquet.Required(n), nil
	}
	return parquet.Optional(n), nil
}

func (f goField) leaf() parquet.Node {
	switch f.Type {
	case "decimal":
		return parquet.Decimal(f.Scale, f.Precision, map[string]parquet.Type{
			"int32": parquet.Int32Type, "int64": parquet.Int64Type, "fixed": parquet.FixedLenByteArrayType(f.Width),
			"bytes": parquet.ByteArrayType,
		}[f.Physical])
	case "fixed":
		return parquet.Leaf(parquet.FixedLenByteArrayType(6))
	}
	return map[string]parquet.Node{
		"bool": parquet.Leaf(parquet.BooleanType), "float": parquet.Leaf(parquet.FloatType), "double": parquet.Leaf(parquet.DoubleType),
		"int8": parquet.Int(8), "int16": parquet.Int(16), "int32": parquet.Int(32), "int64": parquet.Int(64),
		"uint8": parquet.Uint(8), "uint16": parquet.Uint(16), "uint32": parquet.Uint(32), "uint64": parquet.Uint(64),
		"string": parquet.String(), "categories": parquet.Enum(), "json": parquet.JSON(), "binary": parquet.Leaf(parquet.ByteArrayType),
		"uuid": parquet.UUID(), "date": parquet.Date(), "int96": parquet.Leaf(parquet.Int96Type), "int96_ns": parquet.Leaf(parquet.Int96Type), "interval": parquet.IntervalNode(),
		"time_ms": parquet.Time(parquet.Millisecond), "time_us": parquet.Time(parquet.Microsecond),
		"time_ns": parquet.Time(parquet.Nanosecond),
		"ts_ms":   parquet.TimestampAdjusted(parquet.Millisecond, false), "ts_ms_utc": parquet.Timestamp(parquet.Millisecond),
		"ts_us": parquet.TimestampAdjusted(parquet.Microsecond, false), "ts_us_utc": parquet.Timestamp(parquet.Microsecond),
		"ts_ns": parquet.TimestampAdjusted(parquet.Nanosecond, false), "ts_ns_utc": parquet.Timestamp(parquet.Nanosecond),
	}[f.Type]
}

// shred appends a value's leaves to a row and returns the number of the next leaf. What is NULL or empty has one value in each
// leaf below, of the level at which it ends. Depth is the number of lists around it.
func (f goField) shred(row parquet.Row, value any, depth, rep, def, leaf int) (parquet.Row, int) {
	if value == nil {
		return f.end(row, rep, def, leaf)
	}
	if !f.Required && f.Type != "repeated" {
		def++
	}
	items, _ := value.([]any)
	switch f.Type {
	case "struct":
		for i, child := range f.Fields {
			row, leaf = child.shred(row, items[i], depth, rep, def, leaf)
		}
		return row, leaf
	case "list", "map", "repeated":
		if len(items) == 0 {
			return f.end(row, rep, def, leaf)
		}
		return f.entries(row, items, depth, rep, def, leaf)
	}
	plain, err := hex.DecodeString(value.(string))
	if err != nil {
		panic(err) // matrix.py wrote it
	}
	return append(row, f.value(plain).Level(rep, def, leaf)), leaf + 1
}

// entries appends the leaves one after the other, each with its values of all entries, as rows have them.
func (f goField) entries(row parquet.Row, items []any, depth, rep, def, leaf int) (parquet.Row, int) {
	for c, child := range f.Fields {
		if f.Type == "repeated" {
			child.Required = true
		}
		byLeaf, next := map[int]parquet.Row{}, leaf
		for i, item := range items {
			if f.Type == "map" {
				item = item.([]any)[c]
			}
			r := rep
			if i > 0 {
				r = depth + 1
			}
			var part parquet.Row
			part, next = child.shred(nil, item, depth+1, r, def+1, leaf)
			for _, v := range part {
				byLeaf[v.Column()] = append(byLeaf[v.Column()], v)
			}
		}
		for ; leaf < next; leaf++ {
			row = append(row, byLeaf[leaf]...)
		}
	}
	return row, leaf
}

func (f goField) end(row parquet.Row, rep, def, leaf int) (parquet.Row, int) {
	if len(f.Fields) == 0 {
		return append(row, parquet.NullValue().Level(rep, def, leaf)), leaf + 1
	}
	for _, child := range f.Fields {
		row, leaf = child.end(row, rep, def, leaf)
	}
	return row, leaf
}

func (f goField) value(plain []byte) parquet.Value {
	if f.leaf().Type().Kind() == parquet.Int96 {
		return parquet.Int96Value(deprecated.Int96{word(plain), word(plain[4:]), word(plain[8:])})
	}
	if f.Type == "decimal" && f.Physical == "bytes" {
		return parquet.ByteArrayValue(plain)
	}
	return f.leaf().Type().Kind().Value(plain)
}

// word reads four bytes, little-endian.
func word(b []byte) uint32 {
	return uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16 | uint32(b[3])<<24
}
