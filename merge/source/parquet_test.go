package source

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/hupsert/hupsert/merge/splice"
)

// parquetFile has Arrow's own module write batches, each a row group.
func parquetFile(t testing.TB, s *arrow.Schema, props []parquet.WriterProperty, batches ...arrow.Record) []byte {
	t.Helper()
	var buf bytes.Buffer
	w, err := pqarrow.NewFileWriter(s, &buf, parquet.NewWriterProperties(props...), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range batches {
		if err := w.Write(b); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return buf.Bytes()
}

// mixed is a record of many pages: numbers, repeated texts, nested values, nulls in all of them.
func mixed(t testing.TB, s *arrow.Schema, from, n int) arrow.Record {
	t.Helper()
	rows := make([]string, n)
	for i := range rows {
		id := from + i
		rows[i] = fmt.Sprintf(`{"id":%d,"s":"text %d","l":[%d,null],"p":{"x":%d,"q":["a","b%d"]},"u":"unique %d"}`, id, id%7, id, id, id%3, id)
		switch id % 5 {
		case 0:
			rows[i] = fmt.Sprintf(`{"id":%d}`, id)
		case 1:
			rows[i] = fmt.Sprintf(`{"id":%d,"s":"","l":[],"p":{"q":[]}}`, id)
		}
	}
	return record(t, s, "["+strings.Join(rows, ",")+"]")
}

func mixedSchema() *arrow.Schema {
	return schemaOf("id", arrow.PrimitiveTypes.Int64, "s", tStr, "l", arrow.ListOf(tInt),
		"p", arrow.StructOf(arrow.Field{Name: "x", Type: tInt, Nullable: true}, arrow.Field{Name: "q", Type: arrow.ListOf(tStr), Nullable: true}),
		"u", tStr)
}

// columnsOf reads an input and joins each column's batches.
func columnsOf(ctx context.Context, t testing.TB, in Input, o Options) map[string]arrow.Array {
	t.Helper()
	r, err := Open(ctx, in, nil, o)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := r.Close(); err != nil {
			t.Error(err)
		}
	}()
	parts := map[string][]arrow.Array{}
	for {
		rec, err := r.Next(ctx)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		for i, f := range rec.Schema().Fields() {
			col := rec.Column(i)
			if d, ok := col.(*array.Dictionary); ok {
				col = decoded(d)
			}
			parts[f.Name] = append(parts[f.Name], col)
		}
	}
	out := map[string]arrow.Array{}
	for name, p := range parts {
		if out[name], err = array.Concatenate(p, memory.DefaultAllocator); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

func decoded(d *array.Dictionary) arrow.Array {
	b := array.NewStringBuilder(memory.DefaultAllocator)
	values := d.Dictionary().(*array.String)
	for i := range d.Len() {
		if d.IsNull(i) {
			b.AppendNull()
		} else {
			b.Append(values.Value(d.GetValueIndex(i)))
		}
	}
	return b.NewArray()
}

func TestParquet(t *testing.T) {
	s := mixedSchema()
	groups := []arrow.Record{mixed(t, s, 0, 500), mixed(t, s, 500, 1), mixed(t, s, 501, 300)}
	for name, props := range map[string][]parquet.WriterProperty{
		"V1 snappy":     {parquet.WithCompression(compress.Codecs.Snappy), parquet.WithDataPageSize(256)},
		"V2 zstd":       {parquet.WithCompression(compress.Codecs.Zstd), parquet.WithDataPageVersion(parquet.DataPageV2), parquet.WithDataPageSize(256)},
		"no dictionary": {parquet.WithDictionaryDefault(false), parquet.WithDataPageSize(256)},
	} {
		t.Run(name, func(t *testing.T) {
			data := parquetFile(t, s, props, groups...)
			for _, o := range []Options{{}, {BatchRows: 1}, {BatchRows: 77}, {BatchRows: 77, KeepDictionary: true}} {
				got := columnsOf(context.Background(), t, inputOf(t, "x.parquet", Parquet, data), o)
				for i, f := range s.Fields() {
					var parts []arrow.Array
					for _, g := range groups {
						parts = append(parts, g.Column(i))
					}
					want, err := array.Concatenate(parts, memory.DefaultAllocator)
					if err != nil {
						t.Fatal(err)
					}
					if !array.Equal(got[f.Name], want) {
						t.Errorf("%+v: column %s\n got %.300v\nwant %.300v", o, f.Name, got[f.Name], want)
					}
				}
			}
		})
	}
}

// TestStretchesInAnyOrder: a run of rows holds the same however the cursor came to it.
func TestStretchesInAnyOrder(t *testing.T) {
	ctx := context.Background()
	s := mixedSchema()
	groups := []arrow.Record{mixed(t, s, 0, 500), mixed(t, s, 500, 1), mixed(t, s, 501, 300)}
	data := parquetFile(t, s, []parquet.WriterProperty{parquet.WithDataPageSize(256)}, groups...)
	r, err := Open(ctx, inputOf(t, "x.parquet", Parquet, data), nil, Options{BatchRows: 77})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	stretches := r.(Stretcher).Stretches()
	want := make([]arrow.Record, len(stretches))
	for i, st := range stretches {
		if want[i], err = r.Next(ctx); err != nil {
			t.Fatal(err)
		}
		if got := st.Position(0); got != r.Position(0) {
			t.Errorf("stretch %d begins at %s, its record at %s", i, got, r.Position(0))
		}
	}
	rng := rand.New(rand.NewPCG(1, 2))
	for column := range s.NumFields() {
		var at Cursor
		for range 100 {
			i := rng.IntN(len(stretches))
			for ; i < len(stretches) && rng.IntN(3) > 0; i++ { // often some that follow each other
				arr, err := stretches[i].Read(ctx, column, &at)
				if err != nil {
					t.Fatal(err)
				}
				if !array.Equal(arr, want[i].Column(column)) {
					t.Fatalf("stretch %d, column %d:\n got %.200v\nwant %.200v", i, column, arr, want[i].Column(column))
				}
			}
		}
		at.Close()
	}
}

func TestParquetPositions(t *testing.T) {
	s := schemaOf("a", tInt, "b", tStr)
	data := parquetFile(t, s, nil, record(t, s, `[{"a":1,"b":"x"},{"a":2}]`), record(t, s, `[{"a":3,"b":"z"}]`))
	columns, rows, err := readAll(context.Background(), inputOf(t, "x.parquet", Parquet, data), nil, Options{Columns: []string{"B", "absent"}})
	if err != nil || columns != "b utf8" || len(rows) != 3 {
		t.Fatalf("%s, %q, %v", columns, rows, err)
	}
	for i, w := range []string{`x.parquet row 1 b="x"`, `x.parquet row 2 b=null`, `x.parquet row 3 b="z"`} {
		if rows[i] != w {
			t.Errorf("got %s, want %s", rows[i], w)
		}
	}
	got, err := Schema(context.Background(), inputOf(t, "x.parquet", Parquet, data))
	if err != nil || got.Field(0).Name != "a" || got.Field(1).Type != tStr {
		t.Errorf("schema %v, %v", got, err)
	}
}

// TestParquetKeepsDictionary: repeated texts stay one dictionary over the batches of a row group.
func TestParquetKeepsDictionary(t *testing.T) {
	s := mixedSchema()
	data := parquetFile(t, s, nil, mixed(t, s, 0, 100))
	r, err := Open(context.Background(), inputOf(t, "x", Parquet, data), nil, Options{BatchRows: 40, KeepDictionary: true, Columns: []string{"s", "id"}})
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var first arrow.Array
	for {
		rec, err := r.Next(context.Background())
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		d, ok := rec.Column(1).(*array.Dictionary)
		if !ok || rec.Column(0).DataType().ID() != arrow.INT64 {
			t.Fatalf("columns %v", rec.Schema())
		}
		if first == nil {
			first = d.Dictionary()
		}
		if d.Dictionary().Data().Buffers()[2] != first.Data().Buffers()[2] {
			t.Error("the dictionary was made again")
		}
	}
}

func TestParquetDamaged(t *testing.T) {
	s := mixedSchema()
	data := parquetFile(t, s, nil, mixed(t, s, 0, 100))
	for _, cut := range []int{0, 3, 12, len(data) / 2, len(data) - 1} {
		if _, _, err := readAll(context.Background(), inputOf(t, "x", Parquet, data[:cut]), nil, Options{}); !errors.Is(err, splice.ErrCorrupt) {
			t.Errorf("cut at %d: %v", cut, err)
		}
	}
	for i := 4; i < len(data); i += 7 {
		broken := bytes.Clone(data)
		broken[i] ^= 0x55
		_, _, _ = readAll(context.Background(), inputOf(t, "x", Parquet, broken), nil, Options{})
	}
}

func TestParquetCancelled(t *testing.T) {
	s := mixedSchema()
	data := parquetFile(t, s, nil, mixed(t, s, 0, 100))
	ctx, cancel := context.WithCancel(context.Background())
	r, err := Open(ctx, inputOf(t, "x", Parquet, data), nil, Options{BatchRows: 10})
	if err != nil {
		t.Fatal(err)
	}
	rec, err := r.Next(ctx)
	if err != nil {
		t.Fatal(err)
	}
	rec.Release()
	cancel()
	if _, err := r.Next(ctx); !errors.Is(err, context.Canceled) {
		t.Errorf("after cancel: %v", err)
	}
	if err := r.Close(); err != nil {
		t.Error(err)
	}
}
