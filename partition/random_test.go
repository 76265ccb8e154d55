package partition

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/mem"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random upserts; 0 takes the clock")
	casesFlag  = flag.Int("cases", 0, "number of random upserts; 0 makes as many as fit into the budget")
	caseFlag   = flag.Int("case", -1, "the one case to run, of a seed")
	budgetFlag = flag.Duration("budget", 20*time.Second, "time for the random upserts")
)

const randomRoot = "/tables/orders"

// partColumn is a partition column. Its values are of three kinds: texts, integers and dates.
type partColumn struct {
	name string
	kind kind
}

// randomCase is a table, a source and options, drawn from r.
type randomCase struct {
	model
	r      *rand.Rand
	fsys   *mem.FS
	config Config
	table  *Table
	dir    string // of source files

	parts      []partColumn
	declared   bool // the types of the partition columns are given
	create     bool // there is no table yet
	partitions []*modelPartition
	specs      map[string][]any // of partitions that are there, by path
	schema     []arrow.DataType // of new partitions
	needs      []bool           // the columns of new partitions that take no NULL
	misfits    bool             // values may be beyond what their column holds
	source     []modelSource
	static     []any // the spec that the options name
	dropped    bool  // rows were deleted, so that files may be gone
	unsaid     bool  // the source lacks the partition columns
	marks      string
	text       bool // the source is CSV or NDJSON
	format     string
	casts      []bool
	// given makes the source anew: a run reads records once.
	given   func() (Source, error)
	spilled atomic.Int64
}

// pick takes one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// one is true once in n times.
func (c *randomCase) one(n int) bool { return c.r.IntN(n) == 0 }

func newRandomCase(r *rand.Rand, dir string) (*randomCase, error) {
	c := &randomCase{r: r, dir: dir, fsys: mem.New(), specs: map[string][]any{}}
	c.config = Config{FS: c.fsys, Logger: slog.New(&spillWatch{Handler: slog.DiscardHandler, bytes: &c.spilled}), Publish: pick(r, "", "", "rename")}
	c.format = pick(r, "records", "records", "parquet", "parquet", "parquet", "arrow", "csv", "ndjson")
	c.text = c.format == "csv" || c.format == "ndjson"
	c.chooseColumns()
	c.chooseOptions()
	if err := c.makeTable(); err != nil {
		return nil, err
	}
	c.makeSource()
	var err error
	c.given, err = c.deliver()
	return c, err
}

// spillWatch notes what a run says of memory that did not suffice.
type spillWatch struct {
	slog.Handler
	bytes *atomic.Int64
}

func (w *spillWatch) Enabled(context.Context, slog.Level) bool { return true }

func (w *spillWatch) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "spilled_bytes" {
			w.bytes.Add(a.Value.Int64())
		}
		return true
	})
	return nil
}

// chooseColumns settles the table's columns and its partition columns.
func (c *randomCase) chooseColumns() {
	r := c.r
	add := func(name string, k kind) int {
		col := modelColumn{name: name, kind: k}
		if k == instants {
			col.zone = pick(r, "", "UTC")
		}
		col.typ = pick(r, typesOf(k, col.zone)...)
		col.required = c.one(6)
		c.columns = append(c.columns, col)
		return len(c.columns) - 1
	}
	for i := range pick(r, 1, 1, 1, 2, 2, 3) {
		k := pick(r, integers, integers, integers, texts, texts, dates, instants, decimals, blobs, fixed, truths, floats, structs)
		if c.text && (k == blobs || k == fixed || k == structs && c.format == "csv") {
			k = texts
		}
		at := add(fmt.Sprintf("k%d", i), k)
		c.columns[at].key = true
		c.keys = append(c.keys, modelKey{at, k == structs})
		name := c.spell(c.columns[at].name)
		if k == structs {
			name += ".a"
		}
		c.o.Key = append(c.o.Key, name)
		c.o.AllowFloatKeys = c.o.AllowFloatKeys || k == floats
	}
	all := []kind{integers, integers, floats, decimals, decimals, dates, instants, texts, texts, truths, blobs, fixed, lists, structs, mappings}
	for i := range r.IntN(5) {
		k := pick(r, all...)
		if c.text && (k == blobs || k == fixed || k > fixed && c.format == "csv") {
			k = integers
		}
		add(pick(r, "c%d", "naïve %d", "Value_%d"), k)
		c.columns[len(c.columns)-1].name = fmt.Sprintf(c.columns[len(c.columns)-1].name, i)
	}
	add("ver", pick(r, integers, instants, texts, decimals))
	c.columns[len(c.columns)-1].required = false
	for i := range pick(r, 0, 1, 1, 1, 2, 2) {
		c.parts = append(c.parts, partColumn{[]string{"dt", "Region"}[i], pick(r, texts, texts, integers, dates)})
	}
	c.declared = c.one(2)
}

// spell writes a name in another case sometimes.
func (c *randomCase) spell(name string) string {
	if c.one(6) {
		return strings.ToUpper(name)
	}
	return name
}

func (c *randomCase) chooseOptions() {
	r, o := c.r, &c.o
	everything := 1.0
	o.Mode = pick(r, "", Upsert, Upsert, Upsert, Insert, Update, Delete, Mirror, Replace, Append)
	o.NullKeys = pick(r, "", "", "reject", "match")
	o.SourceDuplicates = pick(r, "", "", "first", "last")
	o.OldDuplicates = pick(r, "", "", "update-all", "update-all")
	whole := o.Mode == Mirror || o.Mode == Replace
	if whole && o.NullKeys == "reject" && !c.one(6) {
		o.NullKeys = ""
	}
	if whole && !c.one(10) || c.one(20) {
		o.MaxDeleteRatio = &everything
		if c.one(4) {
			half := 0.5
			o.MaxDeleteRatio = &half
		}
	}
	o.AllowEmpty = whole && !c.one(6)
	c.version = -1
	c.consumed = make([]bool, len(c.columns)+1)
	if c.one(3) {
		c.version = len(c.columns) - 1
		c.consumed[c.version] = true
		o.OrderBy = []string{c.spell("ver") + pick(r, "", "", ":desc")}
		o.IgnoreVersion = c.one(4)
		if c.one(3) {
			o.OldDuplicates = "repair"
		}
	}
	if (o.Mode == "" || o.Mode == Upsert || o.Mode == Mirror) && c.one(2) {
		c.marks = pick(r, "gone", "op=D", "op=D")
		o.DeleteWhen = c.marks
		col := modelColumn{name: "gone", kind: truths, typ: arrow.FixedWidthTypes.Boolean}
		if c.marks != "gone" {
			col = modelColumn{name: "op", kind: texts, typ: arrow.BinaryTypes.String}
		}
		c.columns = append(c.columns, col)
		c.consumed[len(c.columns)-1] = true
	}
	c.consumed = c.consumed[:len(c.columns)]
	o.NewColumns = pick(r, "", "", "add", "add", "ignore")
	o.DropEmpty = c.one(4)
	o.Force = o.Mode == Append
	o.Verify = pick(r, "", "", "", VerifyFull)
	o.Parallel = r.IntN(4)
	o.TempDir = c.dir
	if c.one(3) {
		o.RowGroupRows = int64(1 + r.IntN(50))
	}
	if c.one(4) {
		o.TargetFileBytes = 1 + int64(r.IntN(20000))
	}
	if c.one(4) {
		o.Compression = pick(r, "snappy", "none", "none", "gzip", "none", "snappy", "none", "zstd")
	}
	if c.one(2) {
		o.Memory = int64(math.Exp(r.Float64() * math.Log(200_000)))
	}
}

// specText is a partition value as its folder has it, before it is escaped.
func specText(k kind, v any) string {
	switch v {
	case nil, "":
		return ""
	}
	return plainText(k, "", v)
}

// pathOf is the folder of a spec.
func (c *randomCase) pathOf(spec []any) string {
	if spec == nil {
		return ""
	}
	names := make([]string, len(spec))
	for i, v := range spec {
		text := specText(c.parts[i].kind, v)
		if text == "" {
			names[i] = c.parts[i].name + "=__HIVE_DEFAULT_PARTITION__"
			continue
		}
		names[i] = c.parts[i].name + "="
		for _, b := range []byte(text) {
			if b < ' ' || b == 0x7F || strings.IndexByte("\"#%'*/:=?\\{[]^", b) >= 0 {
				names[i] += fmt.Sprintf("%%%02X", b)
			} else {
				names[i] += string([]byte{b})
			}
		}
	}
	return strings.Join(names, "/")
}

func (c *randomCase) randomSpec() []any {
	spec := make([]any, len(c.parts))
	for i, p := range c.parts {
		n := c.r.IntN(6)
		switch {
		case n == 5 && c.one(3): // NULL
		case p.kind == integers:
			spec[i] = int64(n) - 1
		case p.kind == dates:
			spec[i] = int64(20_000 + n)
		default:
			spec[i] = []string{"kr", "a/b=c", "50%", "é x", "x:y,z", "[1]"}[n]
		}
	}
	return spec
}

// makeTable writes the partitions' files.
func (c *randomCase) makeTable() error {
	ctx := context.Background()
	n := c.r.IntN(6)
	if len(c.parts) == 0 {
		n = min(n, 1)
	}
	if err := c.mkdir(path.Dir(randomRoot)); err != nil {
		return err
	}
	lacks := -1 // a payload column that no partition, or not every one, has
	if first, last := len(c.keys), slices.IndexFunc(c.columns, func(col modelColumn) bool { return col.name == "ver" }); !c.text && c.one(4) && last > first {
		lacks = first + c.r.IntN(last-first)
	}
	marked := len(c.marks) > 0 && c.one(3) // the table has the column that marks deletes
	for range n {
		spec := c.randomSpec()
		p := &modelPartition{path: c.pathOf(spec), exists: true, has: make([]bool, len(c.columns)), types: make([]arrow.DataType, len(c.columns)), required: make([]bool, len(c.columns))}
		if _, again := c.specs[p.path]; again {
			continue
		}
		c.specs[p.path] = spec
		for i := range p.has {
			p.has[i] = !(i == lacks && c.r.IntN(3) > 0) && (!c.consumed[i] || c.columns[i].name == "ver" || marked)
		}
		if err := c.makePartition(p); err != nil {
			return err
		}
		c.partitions = append(c.partitions, p)
	}
	slices.SortFunc(c.partitions, func(a, b *modelPartition) int { return strings.Compare(a.path, b.path) })
	c.create = len(c.partitions) == 0
	c.schema, c.needs = make([]arrow.DataType, len(c.columns)), make([]bool, len(c.columns))
	if c.create || c.declared && len(c.parts) > 0 {
		c.o.Create, c.o.PartitionBy = true, []string{}
		for _, p := range c.parts {
			c.o.PartitionBy = append(c.o.PartitionBy, p.name+":"+map[kind]string{texts: "string", integers: "int", dates: "date"}[p.kind])
		}
		c.declared = true
	}
	if !c.create {
		last := c.partitions[len(c.partitions)-1]
		c.schema, c.needs = last.types, last.required
	} else {
		for i, col := range c.columns {
			if !c.consumed[i] || col.name == "ver" {
				c.schema[i] = col.typ
			}
		}
		hasFixed := slices.ContainsFunc(c.columns, func(col modelColumn) bool { return col.kind == fixed }) // which has no word in a schema
		if c.text || !hasFixed && c.one(3) {
			var fields []arrow.Field
			for i, col := range c.columns {
				if c.schema[i] != nil {
					fields = append(fields, arrow.Field{Name: col.name, Type: col.typ, Nullable: true})
				}
			}
			c.o.Schema = FormatSchema(arrow.NewSchema(fields, nil))
		}
	}
	var err error
	c.table, err = Open(ctx, randomRoot, c.config)
	return err
}

// randomRow makes a row of the columns that a partition has; nil: of all.
func (c *randomCase) randomRow(has []bool, domain int) modelRow {
	x := make(modelRow, len(c.columns))
	for i := range c.columns {
		col, d, nulls := &c.columns[i], domain, 30
		if has != nil && !has[i] {
			continue
		}
		if !col.key {
			d, nulls = 20, 5
		}
		if col.name == "ver" {
			d = 6
		}
		if col.name == "op" {
			x[i] = pick[any](c.r, "D", "U", "I", nil)
		} else if col.required || !c.one(nulls) {
			x[i] = col.random(c.r, d)
		}
	}
	return x
}

func (c *randomCase) domain() int { return pick(c.r, 6, 40, 400, 5000) }

// makePartition writes a partition's files, with schemas that differ.
func (c *randomCase) makePartition(p *modelPartition) error {
	r, domain := c.r, c.domain()
	seen, twice := map[string]bool{}, 200
	if c.o.OldDuplicates != "" {
		twice = 3
	}
	for range r.IntN(pick(r, 3, 30, 150, 600)) {
		x := c.randomRow(p.has, domain)
		if key, null := c.key(x); !seen[key] || null && c.o.NullKeys != "match" || c.one(twice) {
			seen[key] = true
			p.rows = append(p.rows, x)
		}
	}
	if c.one(3) {
		slices.SortStableFunc(p.rows, func(a, b modelRow) int {
			return strings.Compare(string(show(nil, c.keys[0].of(a))), string(show(nil, c.keys[0].of(b))))
		})
	}
	dir := path.Join(randomRoot, p.path)
	if err := c.mkdir(dir); err != nil {
		return err
	}
	files := 1 + r.IntN(3)
	for f, rest := 0, p.rows; f < files; f++ {
		n := len(rest)
		if f < files-1 {
			n = r.IntN(n + 1)
		}
		data, err := c.makeFile(p, f, rest[:n])
		if err != nil {
			return err
		}
		if err := c.store(path.Join(dir, fmt.Sprintf("part-%d.parquet", f)), data); err != nil {
			return err
		}
		rest = rest[n:]
	}
	return nil
}

// makeFile writes rows in types of their own, and widens the partition's.
func (c *randomCase) makeFile(p *modelPartition, ordinal int, rows []modelRow) ([]byte, error) {
	r := c.r
	var fields []delivered
	for i := range c.columns {
		if !p.has[i] {
			continue
		}
		col := &c.columns[i]
		all := func(ok func(v any) bool) bool {
			return !slices.ContainsFunc(rows, func(x modelRow) bool { return !ok(x[i]) })
		}
		payload := !col.key && col.name != "ver" && !c.consumed[i]
		if ordinal > 0 && payload && c.one(6) { // the first file has every column
			for _, x := range rows {
				x[i] = nil
			}
			p.required[i] = false
			continue
		}
		t := col.typ
		if c.one(4) {
			if other := pick(r, typesOf(col.kind, col.zone)...); all(func(v any) bool { return holds(other, v) }) {
				t = other
			}
		}
		required := all(func(v any) bool { return v != nil }) && (col.required || c.one(12))
		if ordinal == 0 {
			p.types[i], p.required[i] = t, required
		} else {
			p.types[i], p.required[i] = wide(p.types[i], t), p.required[i] && required
		}
		fields = append(fields, delivered{column: i, name: c.spell(col.name), typ: t, required: required})
	}
	if c.one(3) {
		r.Shuffle(len(fields), func(i, j int) { fields[i], fields[j] = fields[j], fields[i] })
	}
	rec := c.record(fields, len(rows), func(row int, f delivered) any { return rows[row][f.column] })
	defer rec.Release()
	return c.parquet(rec)
}

// wide is the type that holds the values of both.
func wide(a, b arrow.DataType) arrow.DataType {
	switch a := a.(type) {
	case *arrow.Decimal128Type:
		b := b.(*arrow.Decimal128Type)
		scale := max(a.Scale, b.Scale)
		return &arrow.Decimal128Type{Precision: max(a.Precision-a.Scale, b.Precision-b.Scale) + scale, Scale: scale}
	case *arrow.TimestampType:
		if b := b.(*arrow.TimestampType); b.Unit > a.Unit {
			return b
		}
		return a
	case arrow.FixedWidthDataType:
		if b.(arrow.FixedWidthDataType).BitWidth() > a.BitWidth() {
			return b
		}
	}
	return a
}

// delivered is a column as a file has it: of the table, or a partition column.
type delivered struct {
	column   int // -1-i: partition column i
	name     string
	typ      arrow.DataType
	required bool
	asText   bool // values are written as text
}

func (c *randomCase) record(fields []delivered, rows int, at func(row int, f delivered) any) arrow.Record {
	list := make([]arrow.Field, len(fields))
	for i, f := range fields {
		list[i] = arrow.Field{Name: f.name, Type: f.typ, Nullable: !f.required}
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(list, nil))
	defer b.Release()
	for i, f := range fields {
		to := b.Field(i)
		to.Reserve(rows)
		for row := range rows {
			put(to, at(row, f))
		}
	}
	return b.NewRecord()
}

// parquet writes a record with Arrow's own writer, in one of many shapes.
func (c *randomCase) parquet(rec arrow.Record) ([]byte, error) {
	r := c.r
	codec := pick(r, compress.Codecs.Uncompressed, compress.Codecs.Snappy, compress.Codecs.Snappy)
	if c.one(40) { // their encoders are slow to start
		codec = pick(r, compress.Codecs.Zstd, compress.Codecs.Gzip)
	}
	opts := []parquet.WriterProperty{parquet.WithCompression(codec), parquet.WithDictionaryDefault(r.IntN(3) > 0),
		parquet.WithDictionaryPageSizeLimit(pick(r, int64(200), 1<<20)), parquet.WithDataPageSize(pick(r, int64(64), 500, 1<<20)),
		parquet.WithBatchSize(pick(r, int64(3), 64, 1024)), parquet.WithStats(r.IntN(4) > 0), parquet.WithStoreDecimalAsInteger(c.one(2)),
		parquet.WithMaxRowGroupLength(pick(r, int64(5), 20, 100, 1<<20))}
	nested := slices.ContainsFunc(rec.Schema().Fields(), func(f arrow.Field) bool { return arrow.IsNested(f.Type.ID()) })
	if c.one(2) && !nested { // Arrow's Go writer lets data pages V2 begin inside a record, which the format forbids
		opts = append(opts, parquet.WithDataPageVersion(parquet.DataPageV2))
	}
	arrowOpts := []pqarrow.WriterOption{}
	if c.one(2) {
		arrowOpts = append(arrowOpts, pqarrow.WithStoreSchema())
	}
	var out bytes.Buffer
	w, err := pqarrow.NewFileWriter(rec.Schema(), &out, parquet.NewWriterProperties(opts...), pqarrow.NewArrowWriterProperties(arrowOpts...))
	if err != nil {
		return nil, err
	}
	if rec.NumRows() > 0 {
		err = w.Write(rec)
	}
	err = errors.Join(err, w.Close())
	return out.Bytes(), err
}

func (c *randomCase) mkdir(dir string) error {
	if dir == "/" {
		return nil
	}
	if err := c.mkdir(path.Dir(dir)); err != nil {
		return err
	}
	if err := c.fsys.Mkdir(context.Background(), dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return nil
}

func (c *randomCase) store(name string, data []byte) error {
	w, err := c.fsys.Create(context.Background(), name, 0o644)
	if err != nil {
		return err
	}
	_, err = w.Write(data)
	return errors.Join(err, w.Sync(), w.Close())
}

// targetsTypes are, per column, the types that a source value must fit.
func (c *randomCase) targetTypes(i int) []arrow.DataType {
	var out []arrow.DataType
	if c.schema[i] != nil {
		out = append(out, c.schema[i])
	}
	for _, p := range c.partitions {
		if p.types[i] != nil {
			out = append(out, p.types[i])
		}
	}
	return out
}

// makeSource makes the source's rows and what the options say of its columns.
func (c *randomCase) makeSource() {
	r := c.r
	c.misfits = c.one(25)
	if len(c.parts) > 0 && c.one(6) {
		c.static = c.randomSpec()
		if len(c.partitions) > 0 && c.one(2) {
			c.static = c.specs[pick(r, c.partitions...).path]
		}
		c.o.Partitions = []string{strings.NewReplacer(",", "%2C", " ", "%20").Replace(c.pathOf(c.static))}
	}
	if p := c.partition(c.pathOf(c.static)); c.static != nil && p != nil {
		c.schema, c.needs = p.types, p.required // text is read in the types of the partition that is named
	}
	c.unsaid = c.static != nil && c.one(2)
	c.chooseSourceColumns()
	domain := c.domain()
	n := r.IntN(pick(r, 2, 10, 100, 100, 800))
	if c.create {
		n++
	}
	once := map[string]bool{}
	inRuns := c.one(3) // rows of a partition mostly follow each other
	for range n {
		s := modelSource{row: c.randomRow(c.sourceHas, domain), spec: c.randomSpec()}
		if len(c.partitions) > 0 && !c.one(5) {
			near := pick(r, c.partitions...)
			s.spec = slices.Clone(c.specs[near.path])
			if len(near.rows) > 0 && !c.one(3) {
				c.likeOld(s.row, pick(r, near.rows...))
			}
		}
		if before := len(c.source) - 1; before >= 0 && c.repeats() && c.one(5) {
			again := c.source[max(0, before-r.IntN(30))]
			s.spec = slices.Clone(again.spec)
			for i, col := range c.columns {
				if col.key {
					s.row[i] = again.row[i]
				}
			}
		} else if before >= 0 && inRuns && !c.one(12) {
			s.spec = slices.Clone(c.source[before].spec)
		}
		if c.static != nil {
			s.spec = slices.Clone(c.static)
		}
		for i, v := range s.spec {
			if c.parts[i].kind == texts && v == nil && c.one(3) {
				s.spec[i] = "" // which is NULL in a path
			}
		}
		c.makeFit(s.row)
		if mark := len(c.columns) - 1; c.marks != "" {
			s.marks = s.row[mark] == true || s.row[mark] == "D"
		}
		key, null := c.key(s.row)
		key = c.pathOf(s.spec) + "?" + key
		switch {
		case null && c.o.NullKeys == "" && c.o.Mode.Keyed() && !c.one(40):
			continue
		case once[key] && !c.repeats() && !c.one(40):
			continue
		}
		once[key] = true
		c.source = append(c.source, s)
		if c.one(30) {
			c.source = append(c.source, modelSource{slices.Clone(s.row), slices.Clone(s.spec), s.marks}) // a copy
		}
	}
	if c.create && len(c.source) == 0 {
		x := c.randomRow(c.sourceHas, domain)
		for i, col := range c.columns {
			if col.key {
				x[i] = c.columns[i].zero()
			}
		}
		c.makeFit(x)
		c.source = append(c.source, modelSource{row: x, spec: slices.Repeat([]any{nil}, len(c.parts))})
		if c.static != nil {
			c.source[0].spec = slices.Clone(c.static)
		}
		if mark := len(c.columns) - 1; c.marks != "" {
			c.source[0].marks = x[mark] == true || x[mark] == "D"
		}
	}
	if c.one(4) {
		slices.SortStableFunc(c.source, func(a, b modelSource) int { return compareShown(c.keys[0].of(a.row), c.keys[0].of(b.row)) })
	}
}

// repeats reports whether the source may have a key twice.
func (c *randomCase) repeats() bool {
	return c.version >= 0 || c.o.SourceDuplicates != "" || !c.o.Mode.Keyed() || c.o.Mode == Delete
}

func compareShown(a, b any) int {
	if x, ok := a.(int64); ok {
		if y, ok := b.(int64); ok {
			return int(min(max(x/2-y/2, -1), 1))
		}
	}
	return strings.Compare(string(show(nil, a)), string(show(nil, b)))
}

// likeOld makes a source row of an old one: its key, or all of it.
func (c *randomCase) likeOld(x, old modelRow) {
	whole := c.one(4)
	for i, col := range c.columns {
		if c.sourceHas[i] && (col.key || whole && !c.consumed[i] && old[i] != nil) {
			x[i] = old[i]
		}
		if col.key && (col.kind == structs) && old[i] != nil && c.one(2) {
			x[i] = []any{old[i].([]any)[0], "another"}
		}
	}
}

// makeFit replaces values that some partition can't hold, mostly.
func (c *randomCase) makeFit(x modelRow) {
	if c.misfits {
		return
	}
	for i := range c.columns {
		if !c.sourceHas[i] {
			continue
		}
		for _, t := range c.targetTypes(i) {
			if !holds(t, x[i]) {
				x[i] = c.columns[i].zero()
			}
		}
		needs := c.needs[i] || slices.ContainsFunc(c.partitions, func(p *modelPartition) bool { return p.required[i] })
		if x[i] == nil && needs {
			x[i] = c.columns[i].zero()
		}
	}
}

// chooseSourceColumns settles which columns the source has, and which are updated.
func (c *randomCase) chooseSourceColumns() {
	r, o := c.r, &c.o
	c.sourceHas = make([]bool, len(c.columns))
	c.casts = make([]bool, len(c.columns))
	drop := !c.create && c.one(4)
	if c.one(3) && !c.one(8) {
		o.MissingColumns = "keep"
	}
	everywhere := func(i int) bool {
		return c.schema[i] != nil && !slices.ContainsFunc(c.partitions, func(p *modelPartition) bool { return !p.has[i] })
	}
	needs := func(i int) bool {
		return c.needs[i] || slices.ContainsFunc(c.partitions, func(p *modelPartition) bool { return p.required[i] })
	}
	var payload []int
	for i, col := range c.columns {
		c.sourceHas[i] = true
		if col.key || c.consumed[i] {
			continue
		}
		if drop && c.one(2) && !needs(i) {
			c.sourceHas[i] = false
			o.MissingColumns = "keep"
			if c.one(10) {
				o.MissingColumns = ""
			}
		}
		if everywhere(i) {
			payload = append(payload, i)
		}
		if !c.text && everywhere(i) && !c.create && col.kind < blobs && c.one(8) {
			c.casts[i] = true
			o.Casts = append(o.Casts, c.spell(col.name)+":"+TypeName(c.schema[i]))
		}
	}
	if len(payload) > 0 && c.one(3) {
		list := []string{}
		for _, i := range payload {
			if c.one(2) && !needs(i) {
				list = append(list, c.spell(c.columns[i].name))
			}
		}
		o.ExceptColumns = list
		if c.one(2) && !c.create {
			o.ExceptColumns = nil
			for _, i := range payload {
				if needs(i) || c.one(2) {
					o.Columns = append(o.Columns, c.spell(c.columns[i].name))
				}
			}
		}
	}
	if len(payload) > 0 && c.one(4) {
		o.KeepNull = []string{c.spell(c.columns[pick(r, payload...)].name)}
	}
	if o.NewColumns == "" && !c.one(10) {
		for i := range c.columns {
			lacks := c.schema[i] == nil || slices.ContainsFunc(c.partitions, func(p *modelPartition) bool { return !p.has[i] })
			if lacks && c.sourceHas[i] && !c.consumed[i] {
				o.NewColumns = "add"
			}
		}
	}
}

// deliver writes the source in files or records of several types.
func (c *randomCase) deliver() (func() (Source, error), error) {
	r := c.r
	var names []string
	var records []arrow.Record
	var fields []delivered
	plain := c.create && c.o.Schema == "" // the table's types are the source's
	partTypes := c.partTypes()
	for i, rest := 0, c.source; i == 0 || len(rest) > 0; i++ {
		n := len(rest)
		if n > 0 && c.one(2) {
			n = 1 + r.IntN(n)
		}
		if i == 0 || c.format != "records" { // a reader gives records of one schema
			fields = c.fields(rest[:n], plain, partTypes)
			if c.format == "records" {
				fields = c.fields(rest, plain, partTypes)
			}
		}
		if c.format == "csv" && len(fields) == 1 { // in which a NULL would be an empty line, which is no row
			c.format = "ndjson"
		}
		rows := rest[:n]
		rest = rest[n:]
		if c.text {
			name := filepath.Join(c.dir, fmt.Sprintf("s%03d.%s", i, c.format))
			names = append(names, name)
			if err := os.WriteFile(name, c.lines(fields, rows), 0o600); err != nil {
				return nil, err
			}
			continue
		}
		rec := c.record(fields, len(rows), func(row int, f delivered) any {
			var k kind
			var zone string
			var v any
			if f.column < 0 {
				k, v = c.parts[-1-f.column].kind, rows[row].spec[-1-f.column]
			} else {
				k, zone, v = c.columns[f.column].kind, c.columns[f.column].zone, rows[row].row[f.column]
			}
			if f.asText && v != nil {
				return plainText(k, zone, v)
			}
			return v
		})
		if c.format == "records" {
			records = append(records, rec)
			continue
		}
		name := filepath.Join(c.dir, fmt.Sprintf("s%03d.%s", i, c.format))
		names = append(names, name)
		data, err := c.encode(rec)
		if err == nil {
			err = os.WriteFile(name, data, 0o600)
		}
		if err != nil {
			return nil, err
		}
	}
	if c.format != "records" {
		return func() (Source, error) { return Source{From: names}, nil }, nil
	}
	return func() (Source, error) {
		reader, err := array.NewRecordReader(records[0].Schema(), records)
		return Records(reader), err
	}, nil
}

func (c *randomCase) encode(rec arrow.Record) ([]byte, error) {
	if c.format == "parquet" {
		return c.parquet(rec)
	}
	var out bytes.Buffer
	w := ipc.NewWriter(&out, ipc.WithSchema(rec.Schema()))
	for from, step := int64(0), int64(1+c.r.IntN(200)); from < rec.NumRows(); from += step {
		part := rec.NewSlice(from, min(from+step, rec.NumRows()))
		if err := w.Write(part); err != nil {
			return nil, err
		}
		part.Release()
	}
	err := w.Close()
	return out.Bytes(), err
}

// partTypes are the types of the source's partition columns, the same in all its files.
func (c *randomCase) partTypes() []arrow.DataType {
	var out []arrow.DataType
	for _, p := range c.parts {
		switch p.kind {
		case integers:
			out = append(out, pick[arrow.DataType](c.r, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Int8, arrow.BinaryTypes.String))
		case dates:
			out = append(out, pick[arrow.DataType](c.r, arrow.FixedWidthTypes.Date32, arrow.FixedWidthTypes.Date64, arrow.BinaryTypes.String))
		default:
			out = append(out, pick[arrow.DataType](c.r, arrow.BinaryTypes.String, arrow.BinaryTypes.LargeString,
				&arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int32, ValueType: arrow.BinaryTypes.String}))
		}
	}
	return out
}

// fields are the columns of one file of the source.
func (c *randomCase) fields(rows []modelSource, plain bool, partTypes []arrow.DataType) []delivered {
	r := c.r
	var out []delivered
	for i, col := range c.columns {
		if !c.sourceHas[i] {
			continue
		}
		f := delivered{column: i, name: c.spell(col.name), typ: col.typ}
		fits := func(t arrow.DataType) bool {
			return !slices.ContainsFunc(rows, func(s modelSource) bool { return !holds(t, s.row[i]) })
		}
		missing := c.schema[i] == nil || slices.ContainsFunc(c.partitions, func(p *modelPartition) bool { return !p.has[i] })
		switch {
		case c.casts[i] && col.kind != texts:
			f.typ, f.asText = arrow.BinaryTypes.String, true
		case plain || missing && !c.consumed[i]: // the type becomes the table's
		case c.consumed[i] && col.kind == texts && col.name == "op" && c.one(3):
			f.typ = &arrow.DictionaryType{IndexType: arrow.PrimitiveTypes.Int8, ValueType: arrow.BinaryTypes.String}
		case !c.consumed[i] || col.name == "ver" && !missing:
			if t := pick(r, append(typesOf(col.kind, col.zone), sourceTypesOf(col.kind, col.zone)...)...); c.one(2) && fits(t) {
				f.typ = t
			}
		}
		out = append(out, f)
	}
	if !c.unsaid {
		for i, p := range c.parts {
			f := delivered{column: -1 - i, name: c.spell(p.name), typ: partTypes[i]}
			f.asText = f.typ.ID() == arrow.STRING && p.kind != texts
			out = append(out, f)
		}
	}
	if c.one(2) {
		r.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
	}
	return out
}

// lines is a text file.
func (c *randomCase) lines(fields []delivered, rows []modelSource) []byte {
	var out bytes.Buffer
	if c.format == "csv" {
		for i, f := range fields {
			fmt.Fprintf(&out, "%s%s", []string{"", ","}[min(i, 1)], f.name)
		}
		out.WriteByte('\n')
	}
	for n, s := range rows {
		written := 0
		for _, f := range fields {
			var k kind
			var zone string
			var v any
			if f.column < 0 {
				k, v = c.parts[-1-f.column].kind, s.spec[-1-f.column]
			} else {
				k, zone, v = c.columns[f.column].kind, c.columns[f.column].zone, s.row[f.column]
			}
			if c.format == "ndjson" {
				if v == nil && n > 0 && c.one(3) {
					continue // a column that a line lacks is NULL
				}
				if f.column < 0 && v != nil && !c.declared { // a column of texts
					v, k = plainText(k, zone, v), texts
				}
				out.WriteString([]string{"{", ", "}[min(written, 1)] + strconv.Quote(f.name) + ": " + jsonText(k, zone, v))
				written++
				continue
			}
			if written > 0 {
				out.WriteByte(',')
			}
			written++
			switch {
			case v == nil:
			case k == texts:
				out.WriteString(`"` + strings.ReplaceAll(v.(string), `"`, `""`) + `"`)
			default:
				out.WriteString(plainText(k, zone, v))
			}
		}
		if c.format == "ndjson" {
			if written == 0 {
				out.WriteByte('{')
			}
			out.WriteByte('}')
		}
		out.WriteByte('\n')
	}
	return out.Bytes()
}

// expected is what the model makes of the case: an outcome a partition, by path.
func (c *randomCase) expected() (out map[string]modelOutcome, refuse, may []error) {
	routed := map[string][]modelSource{}
	if c.static != nil {
		routed[c.pathOf(c.static)] = nil
	}
	if len(c.parts) == 0 {
		routed[""] = nil
	}
	for _, s := range c.source {
		at := c.pathOf(s.spec)
		routed[at] = append(routed[at], s)
	}
	out = map[string]modelOutcome{}
	whole := c.o.Mode == Mirror || c.o.Mode == Replace
	if len(routed) == 0 && whole && !c.o.AllowEmpty {
		refuse = append(refuse, ErrGuard)
	}
	for at, rows := range routed {
		p := c.partition(at)
		if p == nil {
			p = &modelPartition{path: at, types: c.schema, required: c.needs, has: make([]bool, len(c.columns))}
			for i := range p.has {
				p.has[i] = c.schema[i] != nil
			}
		}
		o := c.merge(p, rows)
		out[at] = o
		refuse, may = append(refuse, o.refuse...), append(may, o.may...)
	}
	return out, refuse, may
}

func (c *randomCase) partition(at string) *modelPartition {
	i := slices.IndexFunc(c.partitions, func(p *modelPartition) bool { return p.path == at })
	if i < 0 {
		return nil
	}
	return c.partitions[i]
}

// status is what the report must say of a partition.
func (c *randomCase) status(o *modelOutcome) Status {
	n := o.rows
	switch {
	case !o.partition.exists && n.Out == 0:
		return Noop
	case c.o.Mode == Replace && (n.Old > 0 || n.Source > 0), n.Inserted+n.Updated+n.Deleted+n.OldDuplicates > 0 && c.o.Mode != Replace:
		return Published
	}
	return Noop
}

// run merges the case, and where the mode allows it once more, and holds all against the model.
func (c *randomCase) run() (refused bool, err error) {
	for again := range 2 {
		outcomes, refuse, may := c.expected()
		if again == 1 && c.dropped { // with a file the types and columns that only it had are gone
			may = append(may, ErrSchema, ErrValue, ErrUsage)
		}
		before, err := c.files()
		if err != nil {
			return refused, err
		}
		src, err := c.given()
		if err != nil {
			return refused, err
		}
		rep, err := c.table.Upsert(context.Background(), src, c.o)
		if len(refuse) > 0 || err != nil && len(may) > 0 {
			refused = again == 0
			return refused, c.checkRefused(err, append(refuse, may...), before)
		}
		if err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		if err := c.checkReport(rep, outcomes); err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		if err := c.take(outcomes); err != nil {
			return refused, err
		}
		if err := c.checkTable(before, outcomes); err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		if c.o.Mode == Replace || c.o.Mode == Append || !c.repeatable() {
			return refused, nil
		}
		if again == 1 {
			for at := range outcomes {
				if o := outcomes[at]; c.status(&o) != Noop {
					return refused, fmt.Errorf("the model changes %s a second time: %+v", at, o.rows)
				}
			}
		}
	}
	return refused, nil
}

// repeatable reports whether the table still has the types that the options name.
func (c *randomCase) repeatable() bool {
	if len(c.partitions) == 0 {
		return false
	}
	slices.SortFunc(c.partitions, func(a, b *modelPartition) int { return strings.Compare(a.path, b.path) })
	p := c.partition(c.pathOf(c.static))
	if c.static == nil || p == nil {
		p = c.partitions[len(c.partitions)-1]
	}
	same := slices.EqualFunc(p.types, c.schema, func(a, b arrow.DataType) bool { return a == b || a != nil && b != nil && arrow.TypeEqual(a, b) })
	c.schema, c.needs = p.types, p.required
	return same || len(c.o.Casts) == 0
}

func (c *randomCase) checkRefused(err error, want []error, before map[string]storage.Info) error {
	if err == nil {
		return fmt.Errorf("no error, want one of %v", want)
	}
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		return fmt.Errorf("error %w, want one of %v", err, want)
	}
	after, failed := c.files()
	if failed != nil {
		return failed
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("refused (%w), and the table changed:\n%v\n%v", err, before, after)
	}
	return nil
}

func (c *randomCase) checkReport(rep *Report, outcomes map[string]modelOutcome) error {
	var total Rows
	for _, p := range rep.Partitions {
		o, ok := outcomes[p.Partition]
		if !ok {
			return fmt.Errorf("the report has partition %q, the model has not", p.Partition)
		}
		if p.Rows != o.rows {
			return fmt.Errorf("%s:\n got %+v\nwant %+v", p.Partition, p.Rows, o.rows)
		}
		if want := c.status(&o); p.Status != want || p.New == o.partition.exists {
			return fmt.Errorf("%s: status %s, new %t; want %s", p.Partition, p.Status, p.New, want)
		}
		total.Add(p.Rows)
	}
	if len(rep.Partitions) != len(outcomes) || rep.Total.Rows != total {
		return fmt.Errorf("%d partitions, want %d; total %+v, sum %+v", len(rep.Partitions), len(outcomes), rep.Total.Rows, total)
	}
	return nil
}

// take makes the outcomes the table.
func (c *randomCase) take(outcomes map[string]modelOutcome) error {
	for at, o := range outcomes {
		i := slices.IndexFunc(c.partitions, func(p *modelPartition) bool { return p.path == at })
		p := o.partition
		switch status := c.status(&o); {
		case status == Noop:
			continue // nor does it get new columns
		case c.o.DropEmpty && o.rows.Out == 0 && at != "":
			if i >= 0 {
				c.partitions = slices.Delete(c.partitions, i, i+1)
			}
			continue
		}
		c.dropped = c.dropped || o.rows.Deleted > 0
		p.exists, p.types, p.required = true, slices.Clone(p.types), slices.Clone(p.required)
		for j := range p.has {
			if p.has[j] && p.types[j] == nil {
				p.types[j], p.required[j] = c.columns[j].typ, false
			}
		}
		if i >= 0 {
			c.partitions[i] = &p
		} else {
			c.partitions = append(c.partitions, &p)
		}
	}
	return nil
}

// files lists the files of the table, by path.
func (c *randomCase) files() (map[string]storage.Info, error) {
	out := map[string]storage.Info{}
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := c.fsys.List(context.Background(), dir)
		if errors.Is(err, fs.ErrNotExist) && dir == randomRoot {
			return nil
		}
		for _, info := range list {
			name := path.Join(dir, info.Name)
			if info.IsDir() {
				err = errors.Join(err, walk(name))
				continue
			}
			out[name] = info
		}
		return err
	}
	return out, walk(randomRoot)
}

// checkTable reads the whole table back.
func (c *randomCase) checkTable(before map[string]storage.Info, outcomes map[string]modelOutcome) error {
	after, err := c.files()
	if err != nil {
		return err
	}
	got := map[string][]modelRow{}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		at := strings.TrimPrefix(strings.TrimPrefix(path.Dir(name), randomRoot), "/")
		o, touched := outcomes[at]
		if !touched || c.status(&o) == Noop {
			if after[name] != before[name] {
				return fmt.Errorf("%s is another file, and its partition should not change", name)
			}
		}
		rows, err := c.read(name, after[name].Size)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got[at] = append(got[at], rows...)
	}
	if len(got) != len(c.partitions) {
		return fmt.Errorf("partitions %q, want %d", slices.Sorted(maps.Keys(got)), len(c.partitions))
	}
	for _, p := range c.partitions {
		rows, ok := got[p.path]
		if !ok {
			return fmt.Errorf("no partition %s", p.path)
		}
		if err := sameRows(rows, p.rows); err != nil {
			return fmt.Errorf("partition %s: %w", p.path, err)
		}
	}
	return nil
}

// read reads a file with Arrow's own reader.
func (c *randomCase) read(name string, size int64) (rows []modelRow, err error) {
	f, err := c.fsys.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	table, err := pqarrow.ReadTable(context.Background(), bytes.NewReader(data), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		return nil, err
	}
	defer table.Release()
	rows = make([]modelRow, table.NumRows())
	for i := range rows {
		rows[i] = make(modelRow, len(c.columns))
	}
	for i, f := range table.Schema().Fields() {
		at := slices.IndexFunc(c.columns, func(col modelColumn) bool { return strings.EqualFold(col.name, f.Name) })
		if at < 0 {
			return nil, fmt.Errorf("column %s", f.Name)
		}
		row := 0
		for _, chunk := range table.Column(i).Data().Chunks() {
			for j := range chunk.Len() {
				rows[row][at] = get(chunk, j)
				row++
			}
		}
	}
	return rows, nil
}

func sameRows(got, want []modelRow) error {
	texts := func(rows []modelRow) []string {
		out := make([]string, len(rows))
		for i, x := range rows {
			out[i] = string(show(nil, x))
		}
		slices.Sort(out)
		return out
	}
	g, w := texts(got), texts(want)
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			return fmt.Errorf("%d rows, want %d; the first that differs:\n got %.300s\nwant %.300s", len(g), len(w),
				append(g, "none")[min(i, len(g))], append(w, "none")[min(i, len(w))])
		}
	}
	return nil
}

// about is what the case is, for who looks into it.
func (c *randomCase) about() string {
	var b strings.Builder
	fmt.Fprintf(&b, "options %+v\nsource: %d rows, %s, partition columns %v, declared %t\n", c.o, len(c.source), c.format, c.parts, c.declared)
	for i, col := range c.columns {
		fmt.Fprintf(&b, "column %s %s required %t key %t, in the source %t, cast %t\n", col.name, col.typ, col.required, col.key, c.sourceHas[i], c.casts[i])
	}
	return b.String()
}

// TestRandomUpserts holds upserts of random sources into random tables against the model: the rows of every
// partition as Arrow's own reader has them, every counter, and that a second run changes nothing.
func TestRandomUpserts(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	limit := *budgetFlag
	if testing.Short() {
		limit /= 10
	}
	start := time.Now()
	var next, done, refused, spilled, failed atomic.Int64
	another := func() (int64, bool) {
		i := next.Add(1) - 1
		switch {
		case *caseFlag >= 0:
			return int64(*caseFlag), i == 0
		case *casesFlag > 0:
			return i, i < int64(*casesFlag) && failed.Load() == 0
		}
		return i, time.Since(start) < limit && failed.Load() == 0
	}
	t.Run("workers", func(t *testing.T) {
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				for i, ok := another(); ok; i, ok = another() {
					c, wasRefused, err := oneCase(seed, uint64(i), dir)
					if err != nil {
						failed.Add(1)
						text := ""
						if c != nil {
							text = c.about()
						}
						t.Fatalf("-seed %d -case %d: %v\n%s", seed, i, err, text)
					}
					done.Add(1)
					if wasRefused {
						refused.Add(1)
					}
					if c.spilled.Load() > 0 {
						spilled.Add(1)
					}
				}
			})
		}
	})
	n := done.Load()
	t.Logf("random upserts: seed %d, %d cases, %d refused as the model refuses them, %d spilled, %.1f cases per second",
		seed, n, refused.Load(), spilled.Load(), float64(n)/time.Since(start).Seconds())
	if n >= 500 && spilled.Load() < n/4 {
		t.Errorf("%d of %d cases spilled: the generator makes too few", spilled.Load(), n)
	}
	if n >= 500 && refused.Load() > n/4 {
		t.Errorf("%d of %d cases were refused: the generator makes too few upserts", refused.Load(), n)
	}
}

func oneCase(seed, i uint64, dir string) (c *randomCase, refused bool, err error) {
	dir = filepath.Join(dir, strconv.FormatUint(i, 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c, err = newRandomCase(rand.New(rand.NewPCG(seed, i)), dir); err != nil {
		return c, refused, err
	}
	refused, err = c.run()
	return c, refused, err
}
