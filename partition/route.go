package partition

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/big"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
)

// target is a partition that a run touches, with the rows that belong there.
type target struct {
	path    string // of the directory, as it stands or as it will be made
	spec    Spec   // canonical
	exists  bool
	batches []merge.Batch
	rows    int64
	refused int64 // rows refused before routing that can only have belonged here
}

// routed is the rows of a source by partition.
type routed struct {
	targets    []*target // by path
	around     []*target // others in which the source's keys may not stand either
	unrouted   int64     // rows refused before they had a partition
	emptyNulls int64     // rows whose partition value is the empty string, which is NULL
}

// router sends source rows to partitions.
type router struct {
	layout  *layout
	options *Options
	rejects *rejects

	static   *target // all rows belong there
	fixed    Spec    // columns that the only spec named gives
	named    []Spec  // partitions named; empty: all
	targets  map[string]*target
	stray    map[string]int64
	strayed  int64
	empties  int64
	cursors  []source.Cursor // per partition column
	shared   []source.Cursor // per column of rows that several partitions take
	sorter   sorter
	examples map[string]string // of stray partitions: a row
	routed   int64             // rows so far
}

// route sends the rows of a source to the partitions of the layout: where --partition names one
// partition, all of them there, else each by its own columns.
func route(ctx context.Context, l *layout, read *rowsRead, o *Options, rej *rejects, b *budget) (*routed, error) {
	r := &router{layout: l, sorter: sorter{budget: b}, options: o, rejects: rej, cursors: make([]source.Cursor, len(l.columns)), targets: map[string]*target{}, stray: map[string]int64{}, examples: map[string]string{}}
	if err := r.name(); err != nil {
		return nil, err
	}
	defer r.close()
	for i := range read.records {
		read.records[i].first = r.routed
		if err := r.record(ctx, &read.records[i]); err != nil {
			return nil, err
		}
		r.routed += read.records[i].NumRows()
	}
	if err := r.refuseStray(); err != nil {
		return nil, err
	}
	out := &routed{unrouted: read.rejected + r.strayed, emptyNulls: r.empties}
	for _, t := range r.targets {
		out.targets = append(out.targets, t)
	}
	sort.Slice(out.targets, func(i, j int) bool { return out.targets[i].path < out.targets[j].path })
	if err := r.guardWhole(out); err != nil {
		return nil, err
	}
	if len(out.targets) == 1 {
		// A row that was refused has no partition; where there is only one, it counts there.
		out.targets[0].refused, out.unrouted = out.unrouted, 0
	}
	return out, nil
}

// name takes in the partitions that --partition names.
func (r *router) name() error {
	columns := r.layout.columns
	if len(columns) == 0 {
		if len(r.options.Partitions) > 0 {
			return fault(ErrUsage, "partition %s: the table has no partition columns", r.options.Partitions[0])
		}
		t, err := r.target(nil)
		r.static = t
		return err
	}
	for _, text := range r.options.Partitions {
		spec, err := ParseSpec(text)
		if err == nil {
			spec, err = canonicalSpec(columns, spec)
		}
		if err != nil {
			return err
		}
		r.named = append(r.named, spec)
		if len(spec) < len(columns) {
			if m := r.options.Mode; m == Mirror || m == Replace {
				return fault(ErrUsage, "partition %s: %s needs a value of every partition column (%s)", spec, m, columnNames(columns))
			}
			continue
		}
		t, err := r.target(spec)
		if err != nil {
			return err
		}
		if len(r.options.Partitions) == 1 {
			r.static = t
		}
	}
	if len(r.named) == 1 {
		r.fixed = r.named[0]
	}
	return nil
}

// target is the partition of a canonical spec.
func (r *router) target(spec Spec) (*target, error) {
	key := spec.Path()
	if t := r.targets[key]; t != nil {
		return t, nil
	}
	path, exists, err := r.layout.find(spec)
	if err != nil {
		return nil, err
	}
	if len(r.layout.columns) == 0 {
		exists = r.layout.exists
	}
	t := &target{path: path, spec: spec, exists: exists}
	r.targets[key] = t
	return t, nil
}

// record routes the rows of one record: each partition column gives the rows codes of its distinct
// values, the codes of all columns one code, and only distinct codes are looked up.
func (r *router) record(ctx context.Context, rec *sourceRecord) error {
	n := int(rec.NumRows())
	if n == 0 {
		return nil
	}
	if len(r.layout.columns) == 0 {
		r.give(r.static, rec, nil)
		return nil
	}
	combined := &codes{of: make([]int32, n), pairs: []Spec{nil}}
	for i, c := range r.layout.columns {
		column, err := r.column(ctx, rec, c, &r.cursors[i])
		if err != nil {
			return err
		}
		combined = combined.times(column)
	}
	rows := make([][]int32, len(combined.pairs))
	if len(combined.pairs) > 1 {
		for i, code := range combined.of {
			rows[code] = append(rows[code], int32(i))
		}
		// Each partition's merge would decode them anew.
		if err := r.loadShared(ctx, rec); err != nil {
			return err
		}
	}
	for code, spec := range combined.pairs {
		if len(combined.pairs) > 1 && len(rows[code]) == 0 {
			continue
		}
		if err := r.send(ctx, spec, rec, rows[code]); err != nil {
			return err
		}
	}
	return nil
}

// load decodes the columns of a record into memory.
func (r *router) load(ctx context.Context, rec *sourceRecord) error {
	if rec.decoded {
		return nil
	}
	fields := append([]arrow.Field(nil), rec.Schema().Fields()...)
	for len(r.shared) < len(fields) {
		r.shared = append(r.shared, source.Cursor{})
	}
	from, filled := make([]int, len(fields)), make([]arrow.Array, len(fields))
	for i := range fields {
		arr, err := rec.Read(ctx, i, &r.shared[i])
		if err != nil {
			return err
		}
		countNulls([]arrow.Array{arr}) // several merges will ask
		fields[i].Type, from[i], filled[i] = arr.DataType(), -1, arr
	}
	rec.Columns = &columnView{Columns: rec.Columns, viewShape: newViewShape(fields, from), filled: filled}
	rec.decoded = true
	return nil
}

func (r *router) close() {
	for i := range r.cursors {
		r.cursors[i].Close()
	}
	for i := range r.shared {
		r.shared[i].Close()
	}
}

// send gives rows of one spec to its partition, unless it is not among those named. nil rows are all.
func (r *router) send(ctx context.Context, spec Spec, rec *sourceRecord, rows []int32) error {
	if !r.wanted(spec) {
		return r.strayRows(ctx, spec, rec, rows)
	}
	t, err := r.target(spec)
	if err != nil {
		return err
	}
	r.give(t, rec, rows)
	return nil
}

func (r *router) give(t *target, rec *sourceRecord, rows []int32) {
	n := rec.NumRows()
	if rows != nil {
		n = int64(len(rows))
	}
	t.rows += n
	t.batches = append(t.batches, merge.Batch{Columns: rec.Columns, Rows: rows, Position: rec.position, Order: rec.order()})
	r.sorter.give(t)
}

// wanted reports whether a partition is among those named.
func (r *router) wanted(spec Spec) bool {
	if len(r.named) == 0 {
		return true
	}
	for _, named := range r.named {
		if covers(named, spec) {
			return true
		}
	}
	return false
}

// covers reports whether a spec has all the values another one names.
func covers(named, spec Spec) bool {
	for _, p := range named {
		found := false
		for _, q := range spec {
			found = found || p == q
		}
		if !found {
			return false
		}
	}
	return true
}

func (r *router) strayRows(ctx context.Context, spec Spec, rec *sourceRecord, rows []int32) error {
	n := int(rec.NumRows())
	if rows != nil {
		n = len(rows)
	}
	path := spec.Path()
	at := func(i int) int {
		if rows != nil {
			return int(rows[i])
		}
		return i
	}
	r.stray[path] += int64(n)
	if _, ok := r.examples[path]; !ok {
		r.examples[path] = rec.where(at(0))
	}
	if r.options.StrayRows != merge.PolicyReject {
		return nil
	}
	r.strayed += int64(n)
	if err := r.load(ctx, rec); err != nil {
		return err
	}
	for i := range n {
		v := rec.Columns.(*columnView)
		content, err := shred.RowJSON(v.schema, v.filled, at(i))
		if err == nil {
			err = r.rejects.add(reject{Reason: "stray", Source: rec.where(at(i)), Partition: path, Row: withSpec(content, spec)})
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// order numbers the rows of a record among those of the source.
func (rec *sourceRecord) order() func(row int) int64 {
	first := rec.first
	return func(row int) int64 { return first + int64(row) }
}

func (rec *sourceRecord) where(row int) string {
	if rec.position != nil {
		return rec.position(row)
	}
	return rec.name
}

// shownStray is how many stray partitions an error names.
const shownStray = 5

func (r *router) refuseStray() error {
	if len(r.stray) == 0 || r.options.StrayRows == merge.PolicyReject {
		return nil
	}
	paths := make([]string, 0, len(r.stray))
	for path := range r.stray {
		paths = append(paths, path)
	}
	sort.Strings(paths)
	var parts []string
	for _, path := range paths {
		if len(parts) == shownStray {
			parts = append(parts, plural(int64(len(paths)-shownStray), "more partition", "more partitions"))
			break
		}
		parts = append(parts, fmt.Sprintf("%s (rows: %d, the first at %s)", path, r.stray[path], r.examples[path]))
	}
	kind := ErrStrayRows
	if m := r.options.Mode; m == Mirror || m == Replace {
		kind = ErrGuard
	}
	return fault(kind, "source rows belong to partitions that were not named: %s", strings.Join(parts, ", ")).at(r.examples[paths[0]]).
		hint("name them with --partition, do without it, or leave the rows out with --stray-rows reject")
}

// guardWhole stops modes in which a row that is missing would mean a deletion.
func (r *router) guardWhole(out *routed) error {
	m := r.options.Mode
	if out.unrouted == 0 || m != Mirror && m != Replace {
		return nil
	}
	return fault(ErrGuard, "%s deletes what the source lacks, and %s rejected", m, plural(out.unrouted, "of its rows was", "of its rows were")).
		hint("correct the source first")
}

// codes numbers the distinct values of rows: row i has the values of pairs[of[i]]. With one distinct
// value of is all zeros.
type codes struct {
	of    []int32
	pairs []Spec
}

// times combines the codes of a further column with those so far.
func (c *codes) times(d *codes) *codes {
	switch {
	case len(d.pairs) == 1:
		for i := range c.pairs {
			c.pairs[i] = append(c.pairs[i][:len(c.pairs[i]):len(c.pairs[i])], d.pairs[0]...)
		}
		return c
	case len(c.pairs) == 1:
		for i := range d.pairs {
			d.pairs[i] = append(c.pairs[0][:len(c.pairs[0]):len(c.pairs[0])], d.pairs[i]...)
		}
		return d
	}
	out := &codes{of: make([]int32, len(c.of))}
	seen := map[[2]int32]int32{}
	for i := range c.of {
		key := [2]int32{c.of[i], d.of[i]}
		code, ok := seen[key]
		if !ok {
			code = int32(len(out.pairs))
			seen[key] = code
			a, b := c.pairs[key[0]], d.pairs[key[1]]
			out.pairs = append(out.pairs, append(a[:len(a):len(a)], b...))
		}
		out.of[i] = code
	}
	return out
}

// column codes the values of one partition column: the record's own, else what the folders of the
// source say, else what --partition says.
func (r *router) column(ctx context.Context, rec *sourceRecord, c Column, cursor *source.Cursor) (*codes, error) {
	at, err := foldIndex(rec.Schema(), c.Name)
	if err != nil {
		return nil, locateFile(err, rec.name)
	}
	if at >= 0 && !rec.absent[strings.ToLower(c.Name)] {
		arr, err := rec.Read(ctx, at, cursor)
		if err != nil {
			return nil, err
		}
		return r.values(rec, arr, c)
	}
	constant := func(spec Spec) (*codes, error) {
		for _, p := range spec {
			if strings.EqualFold(p.Column, c.Name) {
				pair, err := canonicalPair(c, p)
				return &codes{of: make([]int32, rec.NumRows()), pairs: []Spec{{pair}}}, err
			}
		}
		return nil, nil
	}
	for _, spec := range []Spec{rec.spec, r.fixed} {
		if k, err := constant(spec); k != nil || err != nil {
			return k, locateFile(err, rec.name)
		}
	}
	return nil, fault(ErrSchema, "the source lacks the partition column; it has %s", fieldNames(rec.Schema())).file(rec.name).column(c.Name).
		hint("name the partition all rows belong to: --partition %s=...", c.Name)
}

// values codes the values of an array.
func (r *router) values(rec *sourceRecord, arr arrow.Array, c Column) (*codes, error) {
	if err := routable(arr.DataType(), c); err != nil {
		return nil, err.file(rec.name)
	}
	out := &codes{of: make([]int32, arr.Len())}
	text, raw := textOf(arr), rawOf(arr)
	seen := map[string]int32{}
	null := int32(-1)
	var last string
	lastCode := int32(-1)
	for i := range arr.Len() {
		isNull := arr.IsNull(i)
		var value []byte
		if !isNull {
			value = raw(i)
			if lastCode >= 0 && string(value) == last { // the conversion is not an allocation
				out.of[i] = lastCode
				continue
			}
		}
		code, ok := null, null >= 0
		if !isNull {
			code, ok = seen[string(value)]
		}
		if !ok {
			pair := Pair{Column: c.Name, Null: true}
			if !isNull {
				var err error
				if pair, err = r.pair(c, text(i)); err != nil {
					return nil, fault(ErrValue, "%v at %s", err, rec.where(i)).at(rec.where(i)).column(c.Name).
						hint("correct the source, or declare the column's type: hupsert config --set partition-by=%s:TYPE", c.Name)
				}
			}
			code = int32(len(out.pairs))
			out.pairs = append(out.pairs, Spec{pair})
			if isNull {
				null = code
			} else {
				seen[string(value)] = code
			}
		}
		out.of[i] = code
		if !isNull {
			last, lastCode = string(value), code
		}
	}
	r.countEmpty(arr, out)
	return out.merge(), nil
}

// merge makes one code of values that are the same partition: "" and NULL, or "05" and "5" of an int.
func (c *codes) merge() *codes {
	first := map[Pair]int32{}
	remap := make([]int32, len(c.pairs))
	var pairs []Spec
	for i, spec := range c.pairs {
		code, ok := first[spec[0]]
		if !ok {
			code = int32(len(pairs))
			first[spec[0]] = code
			pairs = append(pairs, spec)
		}
		remap[i] = code
	}
	if len(pairs) == len(c.pairs) {
		return c
	}
	for i := range c.of {
		c.of[i] = remap[c.of[i]]
	}
	c.pairs = pairs
	return c
}

// pair makes a partition value of a row's text.
func (r *router) pair(c Column, text string) (Pair, error) {
	switch {
	case text == "":
		return Pair{Column: c.Name, Null: true}, nil
	case text == DefaultPartition:
		return Pair{}, fmt.Errorf("the text %q stands for NULL in paths, so it can't be a value", text)
	case climbs(text):
		return Pair{}, fmt.Errorf("%q: \"..\" can't be part of a partition", text)
	case !utf8.ValidString(text):
		return Pair{}, fmt.Errorf("%q is not UTF-8", text)
	}
	value, err := canonical(c.Type, text)
	return Pair{Column: c.Name, Value: value}, err
}

// countEmpty counts rows whose text is empty: they go where NULL goes, which not everybody expects.
func (r *router) countEmpty(arr arrow.Array, c *codes) {
	found := false
	for _, spec := range c.pairs {
		found = found || spec[0].Null
	}
	if !found {
		return
	}
	for i, code := range c.of {
		if c.pairs[code][0].Null && !arr.IsNull(i) {
			r.empties++
		}
	}
}

// routable reports whether values of a source column can name partitions of a column.
func routable(t arrow.DataType, c Column) *Error {
	if d, ok := t.(*arrow.DictionaryType); ok {
		t = d.ValueType
	}
	switch t.ID() {
	case arrow.TIMESTAMP:
		if c.Type.ID() != arrow.TIMESTAMP {
			return fault(ErrSchema, "a timestamp does not route rows to a partition of type %s", TypeName(c.Type)).column(c.Name).
				hint("give the source a column of that type: which day a time is on depends on the zone")
		}
		return nil
	case arrow.STRING, arrow.LARGE_STRING, arrow.BINARY, arrow.LARGE_BINARY, arrow.DATE32, arrow.DATE64, arrow.BOOL,
		arrow.DECIMAL128, arrow.INT8, arrow.INT16, arrow.INT32, arrow.INT64, arrow.UINT8, arrow.UINT16, arrow.UINT32, arrow.UINT64,
		arrow.NULL:
		return nil
	}
	return fault(ErrSchema, "values of type %s can't name partitions", TypeName(t)).column(c.Name).
		hint("string, integer, date, boolean and decimal columns can")
}

// rawOf gives a value's bytes, by which equal values are recognised without being written as text.
// The bytes are valid until the next call.
func rawOf(arr arrow.Array) func(i int) []byte {
	switch a := arr.(type) {
	case *array.String:
		return func(i int) []byte { return []byte(a.Value(i)) }
	case *array.LargeString:
		return func(i int) []byte { return []byte(a.Value(i)) }
	case *array.Binary:
		return a.Value
	case *array.LargeBinary:
		return a.Value
	}
	buf := make([]byte, 8)
	number := func(value func(i int) int64) func(i int) []byte {
		return func(i int) []byte {
			binary.LittleEndian.PutUint64(buf, uint64(value(i)))
			return buf
		}
	}
	switch a := arr.(type) {
	case *array.Dictionary:
		return number(func(i int) int64 { return int64(a.GetValueIndex(i)) })
	case *array.Date32:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Date64:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Timestamp:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int8:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int16:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int32:
		return number(func(i int) int64 { return int64(a.Value(i)) })
	case *array.Int64:
		return number(a.Value)
	}
	return func(i int) []byte { return []byte(arr.ValueStr(i)) }
}

// textOf writes values as partitions have them.
func textOf(arr arrow.Array) func(i int) string {
	switch a := arr.(type) {
	case *array.Dictionary:
		of := textOf(a.Dictionary())
		return func(i int) string { return of(a.GetValueIndex(i)) }
	case *array.String:
		return a.Value
	case *array.LargeString:
		return a.Value
	case *array.Binary:
		return func(i int) string { return string(a.Value(i)) }
	case *array.LargeBinary:
		return func(i int) string { return string(a.Value(i)) }
	case *array.Date32:
		return func(i int) string { return a.Value(i).ToTime().Format("2006-01-02") }
	case *array.Date64:
		return func(i int) string { return a.Value(i).ToTime().Format("2006-01-02") }
	case *array.Timestamp:
		unit := a.DataType().(*arrow.TimestampType).Unit
		return func(i int) string { return formatTimestamp(a.Value(i).ToTime(unit)) }
	case *array.Decimal128:
		scale := int(a.DataType().(*arrow.Decimal128Type).Scale)
		return func(i int) string { return formatDecimal(a.Value(i).BigInt(), scale) }
	case *array.Boolean:
		return func(i int) string { return strconv.FormatBool(a.Value(i)) }
	}
	return arr.ValueStr
}

// constant is an array with a partition's value in every row, for files that store their partition
// columns.
func constant(t arrow.DataType, p Pair, rows int, alloc func(arrow.DataType) array.Builder) (arrow.Array, error) {
	b := alloc(t)
	defer b.Release()
	b.Reserve(rows)
	for range rows {
		if err := appendValue(b, p); err != nil {
			return nil, err
		}
	}
	return b.NewArray(), nil
}

func appendValue(b array.Builder, p Pair) error {
	if p.Null {
		b.AppendNull()
		return nil
	}
	switch b := b.(type) {
	case *array.Decimal128Builder:
		t := b.Type().(*arrow.Decimal128Type)
		n, err := parseDecimal(t, p.Value)
		if err != nil {
			return err
		}
		return b.AppendValueFromString(decimalText(n, int(t.Scale)))
	case *array.TimestampBuilder:
		at, err := time.Parse("2006-01-02 15:04:05.999999999", p.Value)
		if err != nil {
			return err
		}
		v, err := arrow.TimestampFromTime(at, b.Type().(*arrow.TimestampType).Unit)
		b.Append(v)
		return err
	}
	return b.AppendValueFromString(p.Value)
}

// decimalText writes unscaled / 10^scale with all digits of the scale.
func decimalText(n *big.Int, scale int) string {
	text := new(big.Rat).SetFrac(n, new(big.Int).Exp(big.NewInt(10), big.NewInt(int64(scale)), nil)).FloatString(scale)
	return text
}
