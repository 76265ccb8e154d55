package partition

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet"
	"github.com/apache/arrow/go/v17/parquet/compress"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"
)

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
