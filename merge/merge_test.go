package merge_test

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"iter"
	"math/rand/v2"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
	"github.com/hupsert/hupsert/merge/splice"
)

var (
	seedFlag  = flag.Uint64("seed", 0, "seed of the random merges; 0 takes the clock")
	casesFlag = flag.Int("cases", 0, "number of random merges; 0 makes as many as fit into the budget")
	caseFlag  = flag.Int("case", -1, "the one case to run, of a seed")
	budget    = flag.Duration("budget", 20*time.Second, "time for the random merges")
)

// memoryFile is a Parquet file in memory.
type memoryFile struct {
	name string
	data []byte
}

func (f memoryFile) old() merge.Old {
	return merge.Old{Name: f.name, Open: func(context.Context) (io.ReaderAt, int64, io.Closer, error) {
		return bytes.NewReader(f.data), int64(len(f.data)), io.NopCloser(nil), nil
	}}
}

// memorySink collects the merged partition.
type memorySink struct {
	mu    sync.Mutex
	old   []memoryFile
	files []memoryFile
	kept  int
	run   string
	// adopted: the files are the source's.
	adopted  bool
	contexts []context.Context
}

// outlived says whether what the sink was called with was cancelled when the files were written: a storage ends files, and copies
// kept ones, beside the calls and behind them.
func (s *memorySink) outlived() error {
	for _, ctx := range s.contexts {
		if err := ctx.Err(); err != nil {
			return fmt.Errorf("a context of the sink has ended: %w", err)
		}
	}
	return nil
}

func (s *memorySink) Keep(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contexts = append(s.contexts, ctx)
	at := slices.IndexFunc(s.old, func(f memoryFile) bool { return f.name == name })
	s.files = append(s.files, s.old[at])
	s.kept++
	return nil
}

type memoryOutput struct{ bytes.Buffer }

func (o *memoryOutput) CopyRange(src io.ReaderAt, off, n int64) error {
	_, err := io.Copy(o, io.NewSectionReader(src, off, n))
	return err
}

func (s *memorySink) Create(ctx context.Context, ordinal int) (splice.Output, func() error, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.contexts = append(s.contexts, ctx)
	out, at := &memoryOutput{}, len(s.files)
	s.files = append(s.files, memoryFile{name: fmt.Sprintf("part-%05d-%s.parquet", ordinal, s.run)})
	return out, func() error {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.files[at].data = out.Bytes()
		return nil
	}, nil
}

// oneEncoder spares Arrow's codec of Zstandard an encoder of several megabytes for each page: under the race detector a file of many
// small pages takes half a minute with them.
type oneEncoder struct{ compress.Codec }

func (o oneEncoder) EncodeLevel(dst, src []byte, _ int) []byte { return o.Encode(dst, src) }

func init() {
	zstd, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		panic(err)
	}
	compress.RegisterCodec(compress.Codecs.Zstd, oneEncoder{zstd})
}

// writeFile writes rows with Arrow's own Parquet writer, in one of many shapes.
func writeFile(t testing.TB, r *rand.Rand, tab table, name string, rows []row) memoryFile {
	t.Helper()
	codecs := []compress.Compression{compress.Codecs.Uncompressed, compress.Codecs.Snappy}
	if r.IntN(16) == 0 { // their encoders are slow to start
		codecs = []compress.Compression{compress.Codecs.Gzip, compress.Codecs.Zstd}
	}
	opts := []parquet.WriterProperty{
		parquet.WithCompression(codecs[r.IntN(len(codecs))]),
		parquet.WithDictionaryDefault(r.IntN(3) > 0),
		parquet.WithDictionaryPageSizeLimit([]int64{200, 1 << 20}[r.IntN(2)]),
		parquet.WithDataPageSize([]int64{64, 500, 1 << 20}[r.IntN(3)]),
		parquet.WithBatchSize([]int64{3, 64, 1024}[r.IntN(3)]),
		parquet.WithStats(r.IntN(4) > 0),
	}
	// Arrow's Go writer lets data pages V2 begin inside a record, which the format forbids.
	lists := slices.ContainsFunc(tab.fields, func(f field) bool { return f.typ.ID() == arrow.LIST })
	if r.IntN(2) == 0 && !lists {
		opts = append(opts, parquet.WithDataPageVersion(parquet.DataPageV2))
	}
	var buf bytes.Buffer
	rec := tab.record(rows)
	defer rec.Release()
	w, err := pqarrow.NewFileWriter(tab.schema(), &buf, parquet.NewWriterProperties(opts...), pqarrow.NewArrowWriterProperties(pqarrow.WithStoreSchema()))
	if err != nil {
		t.Fatal(err)
	}
	groups := 1 + r.IntN(3)
	for from := 0; from < len(rows); {
		n := max(1, len(rows)/groups)
		part := rec.NewSlice(int64(from), int64(min(from+n, len(rows))))
		if err := w.Write(part); err != nil {
			t.Fatal(err)
		}
		part.Release()
		from += n
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return memoryFile{name, buf.Bytes()}
}

// writeSmallPages writes rows with our own writer, in pages of a few rows that a page index lists.
func writeSmallPages(t testing.TB, r *rand.Rand, tab table, name string, rows []row) memoryFile {
	t.Helper()
	codec := []format.CompressionCodec{format.Uncompressed, format.Snappy}[r.IntN(2)]
	if r.IntN(16) == 0 {
		codec = format.Zstd
	}
	o := splice.ChunkOptions{
		Codec: codec, PageRows: 1 + r.IntN(60),
		PageVersion: 1 + r.IntN(2), Dictionary: r.IntN(3) > 0, DictBytes: []int{100, 0}[r.IntN(2)], CRC: r.IntN(2) == 0,
		NoStatistics: r.IntN(6) == 0,
	}
	var groups [][]row
	for left := 1 + r.IntN(3); len(rows) > 0; left-- {
		n := max(len(rows)/max(left, 1), 1)
		groups, rows = append(groups, rows[:n]), rows[n:]
	}
	return writeGroups(t, tab, name, o, groups...)
}

// writeGroups writes row groups with our own writer.
func writeGroups(t testing.TB, tab table, name string, o splice.ChunkOptions, groups ...[]row) memoryFile {
	t.Helper()
	schema, err := shred.ParquetSchema(tab.schema())
	if err != nil {
		t.Fatal(err)
	}
	out := &memoryOutput{}
	w, err := splice.NewWriter(out, splice.WriterOptions{Schema: schema})
	if err != nil {
		t.Fatal(err)
	}
	for _, rows := range groups {
		rec := tab.record(rows)
		if err := w.BeginRowGroup(int64(len(rows))); err != nil {
			t.Fatal(err)
		}
		for i, node := range schema.Root.Children {
			writeColumn(t, w, node, rec.Column(i), o)
		}
		if err := w.EndRowGroup(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.Close(); err != nil {
		t.Fatal(err)
	}
	return memoryFile{name, out.Bytes()}
}

func writeColumn(t testing.TB, w *splice.Writer, node *column.Node, arr arrow.Array, o splice.ChunkOptions) {
	t.Helper()
	var leaves []*column.Leaf
	var walk func(n *column.Node)
	walk = func(n *column.Node) {
		if n.Leaf != nil {
			leaves = append(leaves, n.Leaf)
		}
		for _, c := range n.Children {
			walk(c)
		}
	}
	walk(node)
	columns := make([]*column.Column, len(leaves))
	for i, leaf := range leaves {
		columns[i] = &column.Column{}
		columns[i].Reset(leaf)
	}
	if err := shred.ShredRows(arr, nil, node, columns); err != nil {
		t.Fatal(err)
	}
	for i, leaf := range leaves {
		if o.Bloom = nil; i == 0 && columns[0].Slots%3 == 0 {
			o.Bloom = splice.NewBloomFilter(columns[0].Slots)
		}
		enc := splice.NewChunkEncoder(leaf, o)
		if err := enc.AppendNew(columns[i], 0, columns[i].Slots); err != nil {
			t.Fatal(err)
		}
		chunk, err := enc.Finish()
		if err != nil {
			t.Fatal(err)
		}
		if err := w.WriteChunk(chunk); err != nil {
			t.Fatal(err)
		}
	}
}

// readFiles reads files back with Arrow's own Parquet reader, in order.
// A column that a file lacks is NULL.
func readFiles(t testing.TB, schema *arrow.Schema, files []memoryFile, parquetGo bool) []row {
	t.Helper()
	var out []row
	for _, f := range files {
		if parquetGo {
			out = append(out, placed(t, schema, f, readByParquetGo(t, f))...)
			continue
		}
		tab, err := arrowTable(f)
		if err != nil {
			t.Fatalf("%s: %v", f.name, err)
		}
		tr := array.NewTableReader(tab, -1)
		for tr.Next() {
			out = append(out, placed(t, schema, f, tr.Record())...)
		}
		tr.Release()
		tab.Release()
	}
	return out
}

func arrowTable(f memoryFile) (arrow.Table, error) {
	return pqarrow.ReadTable(context.Background(), bytes.NewReader(f.data), nil, pqarrow.ArrowReadProperties{}, memory.NewGoAllocator())
}

// placed is the rows of a file in the columns of the schema.
func placed(t testing.TB, schema *arrow.Schema, f memoryFile, rec arrow.Record) (out []row) {
	t.Helper()
	place := make([]int, rec.Schema().NumFields()) // by column of the file
	for i, field := range rec.Schema().Fields() {
		at := schema.FieldIndices(field.Name)
		if len(at) != 1 {
			t.Fatalf("%s has a column %s", f.name, field.Name)
		}
		place[i] = at[0]
	}
	for _, x := range rowsOf(rec) {
		whole := make(row, schema.NumFields())
		for i, v := range x {
			whole[place[i]] = v
		}
		out = append(out, whole)
	}
	return out
}

// randomCase is one random merge.
type randomCase struct {
	tab     table
	old     []memoryFile
	oldRows []row
	source  []row
	options merge.Options
	open    []io.Closer // files of the source
	// shape is the seed of how files are written, where source and old files are to be alike; else 0.
	shape uint64
	// parquetGo: it wrote a file, in encodings that Arrow's reader does not know.
	parquetGo bool
	written   []memoryFile // all files, the source's too
}

var keyTypes = []arrow.DataType{arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int32, arrow.BinaryTypes.String, arrow.PrimitiveTypes.Date32,
	&arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}, &arrow.Decimal128Type{Precision: 12, Scale: 2},
	&arrow.Decimal128Type{Precision: 30, Scale: 4}, &arrow.FixedSizeBinaryType{ByteWidth: 6}, arrow.PrimitiveTypes.Int16,
	arrow.PrimitiveTypes.Uint32, arrow.BinaryTypes.Binary, arrow.FixedWidthTypes.Boolean}

var payloadTypes = append(slices.Clone(keyTypes), arrow.PrimitiveTypes.Float64, arrow.PrimitiveTypes.Float32,
	arrow.FixedWidthTypes.Boolean, arrow.ListOf(arrow.PrimitiveTypes.Int64), arrow.ListOf(arrow.BinaryTypes.String),
	arrow.StructOf(arrow.Field{Name: "x", Type: arrow.PrimitiveTypes.Int32, Nullable: true}, arrow.Field{Name: "y", Type: arrow.BinaryTypes.String, Nullable: true}))

func newRandomCase(t testing.TB, r *rand.Rand) randomCase {
	c := randomCase{tab: table{char: map[int]bool{}}}
	for i := range 1 + r.IntN(3) {
		k := field{fmt.Sprintf("k%d", i), keyTypes[r.IntN(len(keyTypes))], r.IntN(2) == 0}
		if text := k.typ.ID() == arrow.STRING || k.typ.ID() == arrow.BINARY; text && r.IntN(2) == 0 {
			c.tab.char[i] = true
		}
		c.tab.fields = append(c.tab.fields, k)
		c.tab.keys = append(c.tab.keys, i)
		c.options.Key = append(c.options.Key, fmt.Sprintf([]string{"k%d", "K%d"}[r.IntN(2)], i))
	}
	for i := range r.IntN(5) {
		c.tab.fields = append(c.tab.fields, field{fmt.Sprintf("c%d", i), payloadTypes[r.IntN(len(payloadTypes))], r.IntN(4) > 0})
	}
	c.tab.fields = append(c.tab.fields, field{"ver", arrow.PrimitiveTypes.Int64, true}, field{"gone", arrow.FixedWidthTypes.Boolean, true})
	c.randomOptions(r)
	domain := []int{4, 30, 300, 5000}[r.IntN(4)]
	rows := r.IntN([]int{3, 40, 400, 3000}[r.IntN(4)])
	seen := map[string]bool{}
	for range rows {
		if x := c.randomRow(r, domain); !seen[c.tab.key(x)] || c.tab.nullKey(x) && c.options.NullKeys != merge.PolicyMatch || r.IntN(2000) == 0 {
			seen[c.tab.key(x)] = true
			c.oldRows = append(c.oldRows, x)
		}
	}
	if r.IntN(3) == 0 {
		slices.SortStableFunc(c.oldRows, func(a, b row) int { return compareValues(a[0], b[0]) })
	}
	whole := r.IntN(5) == 0
	if whole {
		c.shape = 1 + r.Uint64N(1000)
	}
	c.writeOld(t, r)
	if whole {
		c.sourceOfAll(r, domain)
		return c
	}
	for range r.IntN([]int{1, 5, 100, 1000}[r.IntN(4)] + 1) {
		x := c.randomRow(r, domain)
		if len(c.oldRows) > 0 && r.IntN(3) > 0 {
			near := c.oldRows[r.IntN(len(c.oldRows))]
			copy(x, near[:len(c.tab.keys)])
			if r.IntN(3) == 0 {
				x = slices.Clone(near)
			}
			x = c.padded(r, x)
		}
		c.source = append(c.source, x)
	}
	if c.options.NullKeys == "" && r.IntN(20) > 0 {
		c.source = slices.DeleteFunc(c.source, c.tab.nullKey)
	}
	if len(c.options.OrderBy) == 0 && c.options.SourceDuplicates == "" && r.IntN(20) > 0 {
		once := map[string]bool{}
		c.source = slices.DeleteFunc(c.source, func(x row) bool {
			k := c.tab.key(x)
			defer func() { once[k] = true }()
			return once[k]
		})
	}
	return c
}

// sourceOfAll makes a source that has every old row, sorted: its files may become the partition's.
func (c *randomCase) sourceOfAll(r *rand.Rand, domain int) {
	o := &c.options
	everything := 1.0
	*o = merge.Options{Key: o.Key, Mode: []merge.Mode{merge.Upsert, merge.Mirror, merge.Replace}[r.IntN(3)], Parallel: o.Parallel,
		MaxDeleteRatio: &everything, AllowEmpty: true, TargetFileBytes: o.TargetFileBytes}
	once := map[string]bool{}
	take := func(x row) {
		if k := c.tab.key(x); !once[k] && (!c.tab.nullKey(x) || o.Mode == merge.Replace) {
			once[k] = true
			c.source = append(c.source, x)
		}
	}
	share := []int{0, 5, 60, 100}[r.IntN(4)]
	for _, x := range c.oldRows {
		if r.IntN(100) < share {
			fresh := c.randomRow(r, domain)
			copy(fresh, x[:len(c.tab.keys)])
			x = fresh
		}
		if r.IntN(3) == 0 {
			x = c.padded(r, x)
		}
		if o.Mode == merge.Upsert || r.IntN(20) > 0 {
			take(x)
		}
	}
	for range r.IntN(5) {
		take(c.randomRow(r, domain))
	}
	if r.IntN(10) == 0 {
		return // not sorted
	}
	slices.SortStableFunc(c.source, func(a, b row) int {
		for i := range c.tab.keys {
			if n := compareValues(c.tab.keyValue(a, i), c.tab.keyValue(b, i)); n != 0 {
				return n
			}
		}
		return 0
	})
}

func (c *randomCase) randomRow(r *rand.Rand, domain int) row {
	x := make(row, len(c.tab.fields))
	for i, f := range c.tab.fields {
		d := domain
		if i >= len(c.tab.keys) {
			d = 20
		}
		if x[i] = randomValue(r, f.typ, d); c.tab.char[i] {
			x[i] = randomChar(r, d)
		}
		if f.nullable && r.IntN([]int{30, 5}[min(1, i/len(c.tab.keys))]) == 0 {
			x[i] = nil
		}
	}
	return x
}

// padded is a row whose keys have other blanks at their end, where those do not count.
func (c *randomCase) padded(r *rand.Rand, x row) row {
	x = slices.Clone(x)
	for i := range c.tab.keys {
		if v, ok := x[i].(string); ok && c.tab.char[i] {
			x[i] = padded(r, v)
		}
	}
	return x
}

func (c *randomCase) randomOptions(r *rand.Rand) {
	o := &c.options
	modes := []merge.Mode{"", merge.Upsert, merge.Upsert, merge.Insert, merge.Update, merge.Delete, merge.Mirror, merge.Replace, merge.Append}
	o.Mode = modes[r.IntN(len(modes))]
	o.NullKeys = []string{"", merge.PolicyReject, merge.PolicyMatch}[r.IntN(3)]
	if o.Mode == merge.Mirror || o.Mode == merge.Replace {
		everything := 1.0
		o.MaxDeleteRatio, o.AllowEmpty = &everything, true
		if o.NullKeys == merge.PolicyReject {
			o.NullKeys = ""
		}
	}
	o.SourceDuplicates = []string{"", "", merge.PolicyFirst, merge.PolicyLast}[r.IntN(4)]
	if r.IntN(3) == 0 {
		o.OrderBy = []merge.Version{{Column: "VER", Desc: r.IntN(3) == 0}}
		o.IgnoreVersion = r.IntN(4) == 0
	}
	if (o.Mode == "" || o.Mode == merge.Upsert || o.Mode == merge.Mirror) && r.IntN(2) == 0 {
		o.DeleteWhen = &merge.DeleteWhen{Column: "gone"}
	}
	if r.IntN(4) == 0 {
		o.ExceptColumns = []string{"gone"}
	}
	if r.IntN(4) == 0 && o.ExceptColumns == nil {
		o.Columns = []string{"ver"}
		for i := range c.tab.fields {
			if !c.tab.fields[i].nullable && i >= len(c.tab.keys) {
				o.Columns = append(o.Columns, c.tab.fields[i].name)
			}
		}
	}
	if r.IntN(4) == 0 {
		o.KeepNull = []string{"ver"}
	}
	o.Force = []merge.Route{"", merge.Patch, merge.Rewrite}[r.IntN(3)]
	o.Parallel = 1 + r.IntN(3)
	if r.IntN(3) == 0 {
		o.RowGroupRows = int64(1 + r.IntN(50))
	}
	if r.IntN(4) == 0 {
		o.TargetFileBytes = 1 + int64(r.IntN(20000))
	}
}

// writeOld splits the old rows into files.
func (c *randomCase) writeOld(t testing.TB, r *rand.Rand) {
	rest := c.oldRows
	for i := 0; len(rest) > 0; i++ {
		n := 1 + r.IntN(len(rest))
		if r.IntN(2) == 0 {
			n = len(rest)
		}
		tab, stored := c.tab, rest[:n]
		if c.shape == 0 && r.IntN(3) == 0 {
			tab, stored = c.tab.drifted(r, rest[:n])
		}
		c.old = append(c.old, c.writeFile(t, r, tab, fmt.Sprintf("old-%03d.parquet", i), stored))
		rest = rest[n:]
	}
}

func (c *randomCase) writeFile(t testing.TB, r *rand.Rand, tab table, name string, rows []row) memoryFile {
	if c.shape > 0 {
		r = rand.New(rand.NewPCG(c.shape, 0))
	}
	switch r.IntN(3) {
	case 0:
		if len(rows) > 0 {
			return writeSmallPages(t, r, tab, name, rows)
		}
	case 1:
		c.parquetGo = true
		return writeByParquetGo(t, r, tab, name, rows)
	}
	return writeFile(t, r, tab, name, rows)
}

// stretches writes the source as Parquet and gives its rows as they are read from it.
func (c *randomCase) stretches(t testing.TB, r *rand.Rand) []merge.Batch {
	var out []merge.Batch
	for i, rest := 0, c.source; len(rest) > 0; i++ {
		n := 1 + r.IntN(len(rest))
		if r.IntN(2) == 0 {
			n = len(rest)
		}
		f := c.writeFile(t, r, c.tab, fmt.Sprintf("new-%03d.parquet", i), rest[:n])
		rest = rest[n:]
		c.written = append(c.written, f)
		in, err := source.Open(context.Background(), source.Input{Name: f.name, Format: source.Parquet, Size: int64(len(f.data)),
			Open: func(context.Context) (source.ReadCloserAt, error) { return readCloserAt{bytes.NewReader(f.data)}, nil }}, nil,
			source.Options{BatchRows: []int{3, 50, 0}[r.IntN(3)], KeepDictionary: true})
		if err != nil {
			t.Fatal(err)
		}
		c.open = append(c.open, in)
		for _, s := range in.(source.Stretcher).Stretches() {
			out = append(out, merge.Batch{Columns: s, Position: s.Position})
		}
	}
	return out
}

type readCloserAt struct{ *bytes.Reader }

func (readCloserAt) Close() error { return nil }

// batches splits the source into records, some as selections of a larger record, or into stretches of
// Parquet files.
func (c *randomCase) batches(t testing.TB, r *rand.Rand) []merge.Batch {
	if c.shape > 0 || r.IntN(3) == 0 {
		return c.stretches(t, r)
	}
	var out []merge.Batch
	for rest := c.source; len(rest) > 0; {
		n := 1 + r.IntN(len(rest))
		if r.IntN(2) == 0 {
			out = append(out, merge.Batch{Columns: source.InMemory(c.tab.record(rest[:n]))})
			rest = rest[n:]
			continue
		}
		var mixed []row
		var chosen []int32
		for _, x := range rest[:n] {
			if r.IntN(2) == 0 {
				mixed = append(mixed, x) // belongs to another partition
			}
			chosen = append(chosen, int32(len(mixed)))
			mixed = append(mixed, x)
		}
		out = append(out, merge.Batch{Columns: source.InMemory(c.tab.record(mixed)), Rows: chosen})
		rest = rest[n:]
	}
	return out
}

func (c *randomCase) deleteFlag(x row) bool {
	if c.options.DeleteWhen == nil {
		return false
	}
	gone, _ := x[len(x)-1].(bool)
	return gone
}

// run merges the case and returns the files.
func (c *randomCase) run(t testing.TB, r *rand.Rand) (*memorySink, merge.Counts, error) {
	ctx := context.Background()
	var old []merge.Old
	for _, f := range c.old {
		old = append(old, f.old())
	}
	batches := c.batches(t, r)
	defer func() {
		for _, f := range c.open {
			f.Close()
		}
	}()
	if r.IntN(4) < 3 { // the merge has to spill, if it has many rows for so little
		c.options.Spill, c.options.Memory = spill.New(func() (spill.File, error) { return &spillFile{}, nil }), 1+r.Int64N([]int64{10, 100, 2000, 20_000}[r.IntN(4)])
	}
	p, err := merge.Prepare(ctx, merge.Task{Schema: c.tab.declared(), Old: old, Batches: batches, Options: c.options})
	if err != nil {
		return nil, merge.Counts{}, err
	}
	defer p.Close()
	sink := &memorySink{old: c.old, run: "r1"}
	if p.Noop() {
		sink.files = c.old
		return sink, p.Counts(), nil
	}
	sink.adopted = slices.ContainsFunc(p.Files(), func(f merge.FilePlan) bool { return f.Route == merge.Adopt })
	planned := planOf(p)
	result, err := p.Write(ctx, sink)
	if err == nil {
		if err = sink.outlived(); err == nil {
			err = keptPlan(planned, p.Files(), result)
		}
	}
	return sink, p.Counts(), err
}

// planOf is a copy of a plan, which writing may change.
func planOf(p *merge.Prepared) []merge.FilePlan {
	list := slices.Clone(p.Files())
	for i := range list {
		list[i].RowGroups = slices.Clone(list[i].RowGroups)
		for j := range list[i].RowGroups {
			g := &list[i].RowGroups[j]
			g.Patches, g.Encodes = slices.Clone(g.Patches), slices.Clone(g.Encodes)
		}
	}
	return list
}

// lateReasons are why a column that was planned as patched is rewritten: what only its new values tell.
var lateReasons = []string{splice.ErrUnpatched.Error(), "its new values are too large"}

// keptPlan holds a plan against the one after the writing, and that against the bytes that were written. Patching writes nothing where all
// rows of the pages that it touches are deleted.
func keptPlan(planned, taken []merge.FilePlan, result merge.Result) error {
	written, removed := result.Bytes, result.Counts.Deleted+result.Counts.MovedOut+result.Counts.OldDuplicates
	patches, encodes := 0, 0
	for i, f := range planned {
		for j, g := range f.RowGroups {
			now := taken[i].RowGroups[j]
			patches, encodes = patches+len(now.Patches), encodes+len(now.Encodes)
			for _, c := range g.Patches {
				if slices.Contains(now.Patches, c) {
					continue
				}
				late := slices.ContainsFunc(lateReasons, func(why string) bool { return strings.Contains(now.Why, why) })
				if !late || !slices.Contains(now.Encodes, c) || now.Route != merge.Rewrite || taken[i].Route != merge.Rewrite {
					return fmt.Errorf("%s, row group %d: column %s was planned as patched, and is not: %+v", f.Name, j, c, now)
				}
			}
			if len(now.Patches)+len(now.Encodes) != len(g.Patches)+len(g.Encodes) || now.Patched+now.Encoded != g.Patched+g.Encoded {
				return fmt.Errorf("%s, row group %d: planned was %+v, taken %+v", f.Name, j, g, now)
			}
		}
	}
	if patches == 0 && written.Patched > 0 || patches > 0 && written.Patched == 0 && removed == 0 || encodes == 0 && written.Rewritten > 0 {
		return fmt.Errorf("%d columns are patched and %d rewritten, but %+v written", patches, encodes, written)
	}
	return nil
}

// spillFile is where a test spills to.
type spillFile struct {
	mu sync.Mutex
	p  []byte
}

func (f *spillFile) WriteAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if end := int(at) + len(p); end > len(f.p) {
		f.p = append(f.p, make([]byte, end-len(f.p))...)
	}
	return copy(f.p[at:], p), nil
}

func (f *spillFile) ReadAt(p []byte, at int64) (int, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	return bytes.NewReader(f.p).ReadAt(p, at)
}

func (f *spillFile) Close() error { return nil }

// tally counts what random cases came to.
type tally struct {
	next, cases, refused, adopted, spilled atomic.Int64
	failed                                 atomic.Bool
}

// TestRandomMerges holds merges of random tables, sources and options against the model: rows in
// their order, and every counter.
func TestRandomMerges(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	limit := *budget
	if testing.Short() {
		limit /= 10
	}
	start := time.Now()
	var n tally
	another := func() (uint64, bool) {
		i := n.next.Add(1) - 1
		switch {
		case n.failed.Load():
			return 0, false
		case *caseFlag >= 0:
			return uint64(*caseFlag), i == 0
		case *casesFlag > 0:
			return uint64(i), i < int64(*casesFlag)
		}
		return uint64(i), time.Since(start) < limit
	}
	t.Run("workers", func(t *testing.T) {
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				defer func() { n.failed.Store(n.failed.Load() || t.Failed()) }()
				for i, ok := another(); ok; i, ok = another() {
					oneMerge(t, seed, i, &n)
				}
			})
		}
	})
	cases, refused, adopted, spilled := n.cases.Load(), n.refused.Load(), n.adopted.Load(), n.spilled.Load()
	t.Logf("random merges: seed %d, %d cases, %d refused as the model refuses them, %d spilled, %d took the source's files, %.1f cases per second",
		seed, cases, refused, spilled, adopted, float64(cases)/time.Since(start).Seconds())
	if cases > 500 && adopted < cases/100 {
		t.Errorf("%d of %d cases took the source's files: the generator makes too few", adopted, cases)
	}
	if cases > 500 && spilled < cases/4 {
		t.Errorf("%d of %d cases spilled: the generator makes too few", spilled, cases)
	}
	if cases > 500 && refused > cases/4 {
		t.Errorf("%d of %d cases were refused: the generator makes too few merges", refused, cases)
	}
}

func oneMerge(t *testing.T, seed, i uint64, n *tally) {
	t.Helper()
	n.cases.Add(1)
	r := rand.New(rand.NewPCG(seed, i))
	c := newRandomCase(t, r)
	want, counts, wantErr := modelMerge(c.tab, c.oldRows, c.source, c.deleteFlag, c.options)
	sink, got, err := c.run(t, r)
	if space := c.options.Spill; space != nil && space.Bytes() > 0 {
		n.spilled.Add(1)
	}
	what := fmt.Sprintf("-seed %d -case %d, options %+v", seed, i, c.options)
	if wantErr != nil {
		n.refused.Add(1)
		if !errors.Is(err, wantErr) {
			t.Fatalf("%s:\nerror %v, want %v", what, err, wantErr)
		}
		return
	}
	if err != nil {
		t.Fatalf("%s: %v", what, err)
	}
	if got != counts {
		t.Fatalf("%s:\n got %+v\nwant %+v", what, got, counts)
	}
	checkIndexes(t, what, sink.files)
	checkClaims(t, what, sink.files, append(c.old, c.written...)...)
	diffRows(t, what, readFiles(t, c.tab.schema(), sink.files, c.parquetGo), want, inOrder(c) && !sink.adopted)
	if sink.adopted {
		n.adopted.Add(1)
	} else if i%4 == 0 {
		otherRoutes(t, what, c, r, sink.files, counts)
	}
}

// otherRoutes merges a case by every other route: the rows that come out must be the same, in the same order but where the size of
// what is written says which file takes how many of the inserted rows.
func otherRoutes(t *testing.T, what string, c randomCase, r *rand.Rand, files []memoryFile, counts merge.Counts) {
	t.Helper()
	taken := c.options.Force
	for _, route := range []merge.Route{"", merge.Patch, merge.Rewrite} {
		if route == taken {
			continue
		}
		what := fmt.Sprintf("%s, but by route %q", what, route)
		c.open, c.written, c.options.Force = nil, nil, route
		sink, got, err := c.run(t, r)
		if err != nil || got != counts {
			t.Fatalf("%s: %v\n got %+v\nwant %+v", what, err, got, counts)
		}
		checkClaims(t, what, sink.files, append(c.old, c.written...)...)
		diffRows(t, what, readFiles(t, c.tab.schema(), sink.files, c.parquetGo),
			readFiles(t, c.tab.schema(), files, c.parquetGo), !sink.adopted && (c.options.TargetFileBytes == 0 || counts.Inserted == 0))
	}
}

// inOrder reports whether the output's order is the model's: inserts may join a file that is not the
// last one, so with several files only the rows as a set are fixed.
func inOrder(c randomCase) bool { return len(c.old) <= 1 }

func slotsOf(c *column.Column) iter.Seq[int] {
	return func(yield func(int) bool) {
		for s := range c.Slots {
			if !yield(s) {
				return
			}
		}
	}
}

// checkIndexes holds what files say of their pages and chunks against the values in them.
func checkIndexes(t *testing.T, what string, files []memoryFile) {
	t.Helper()
	ctx := context.Background()
	for _, m := range files {
		f, err := splice.Open(bytes.NewReader(m.data), int64(len(m.data)), m.name)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		for g := range f.NumRowGroups() {
			for col, leaf := range f.Schema().Leaves {
				if !leaf.Flat() && strings.HasPrefix(f.CreatedBy(), "parquet-go ") {
					continue // Arrow's writer leaves values of lists out of its bounds
				}
				index, err := f.PageIndex(g, col)
				if errors.Is(err, splice.ErrCorrupt) && strings.HasPrefix(f.CreatedBy(), "github.com/parquet-go") {
					index, err = nil, nil // its column index may be of other pages than its offset index
				}
				if err != nil {
					t.Fatalf("%s: %v", what, err)
				}
				nan := column.IsNaN(leaf)
				order, stats := column.Order(leaf), f.RowGroup(g).Columns[col].Stats
				pages := f.Pages(g, col, nil)
				var c column.Column
				nulls, plain := int64(0), false
				for i := 0; ; i++ {
					first, n, err := pages.Next(ctx, &c)
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						t.Fatalf("%s: %v", what, err)
					}
					var lo, hi []byte
					pageNulls := int64(0)
					values := slices.ContainsFunc(slices.Collect(slotsOf(&c)), func(s int) bool { return !c.Null(s) })
					if values && c.Dict != nil && plain {
						t.Fatalf("%s: %s, row group %d, %v: page %d uses the dictionary, one before it is PLAIN", what, m.name, g, leaf.Path, i)
					}
					plain = plain || values && c.Dict == nil
					for s := range c.Slots {
						v := c.Value(s)
						switch {
						case c.Null(s):
							pageNulls++
						case order == nil, nan != nil && nan(v): // Arrow's bounds pass NaN by
						default:
							if lo == nil || order(v, lo) < 0 {
								lo = bytes.Clone(v)
							}
							if hi == nil || order(v, hi) > 0 {
								hi = bytes.Clone(v)
							}
						}
					}
					nulls += pageNulls
					within := func(where string, low, high []byte) {
						if nan != nil && strings.HasPrefix(f.CreatedBy(), "github.com/parquet-go") {
							return // it begins with a NaN and then finds nothing less
						}
						if lo != nil && (low != nil && order(low, lo) > 0 || high != nil && order(high, hi) < 0) {
							t.Fatalf("%s: %s by %s, row group %d, %v, %s %d: %q to %q, values from %q to %q", what, m.name, f.CreatedBy(), g, leaf.Path, where, i, low, high, lo, hi)
						}
					}
					if stats != nil {
						within("chunk, page", stats.Min, stats.Max)
					}
					if index == nil {
						continue
					}
					p := index.Pages[i]
					if p.FirstRow != first || p.Rows != int64(n) || p.NullCount >= 0 && p.NullCount != pageNulls {
						t.Fatalf("%s: %s, row group %d, %v, page %d: %+v, has rows %d+%d, %d null", what, m.name, g, leaf.Path, i, p, first, n, pageNulls)
					}
					within("page", p.Min, p.Max)
				}
				pages.Close()
				if stats != nil && stats.NullCount >= 0 && stats.NullCount != nulls {
					t.Fatalf("%s: %s, row group %d, %v: %d null, the footer says %d", what, m.name, g, leaf.Path, nulls, stats.NullCount)
				}
			}
		}
	}
}

func diffRows(t *testing.T, what string, got, want []row, ordered bool) {
	t.Helper()
	g, w := make([]string, len(got)), make([]string, len(want))
	for i := range got {
		g[i] = text(got[i])
	}
	for i := range want {
		w[i] = text(want[i])
	}
	if !ordered {
		slices.Sort(g)
		slices.Sort(w)
	}
	if slices.Equal(g, w) {
		return
	}
	for i := range max(len(g), len(w)) {
		a, b := "(none)", "(none)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			t.Fatalf("%s\n%d rows, want %d; row %d:\n got %s\nwant %s", what, len(g), len(w), i, a, b)
		}
	}
}
