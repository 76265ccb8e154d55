package partition

import (
	"bytes"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/ipc"
)

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
	for i, t := range c.schema {
		// A number of a text becomes the nearest float: the case has that one. One beyond all floats stays.
		if v, ok := x[i].(float64); ok && c.text && t != nil && t.ID() == arrow.FLOAT32 && math.Abs(v) <= math.MaxFloat32 {
			x[i] = float64(float32(v))
		}
	}
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
