package partition

import (
	"context"
	"errors"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
)

// rowsRead is all rows of a source, in order. Of Parquet only the footers are read by then, and columns
// when they are asked for.
type rowsRead struct {
	records      []sourceRecord
	files        []*sourceFile
	held         []arrow.Record
	open         []source.Reader
	rows         int64
	rejected     int64 // rows that do not parse: they have no partition
	fingerprints []string
	seconds      float64
}

// sourceRecord is some rows of one input.
type sourceRecord struct {
	source.Columns
	spec     Spec // values of columns that the input's folders give
	name     string
	first    int64           // its first row, among those of the source
	loaded   bool            // the columns are in memory
	decoded  bool            // they are a columnView with every column filled in
	fills    bool            // a column the input lacks is NULL, not missing (NDJSON)
	absent   map[string]bool // columns, in lower case, that the input lacks and that were filled with NULL
	position func(row int) string
}

// release gives everything back. The columns are no good afterwards.
func (r *rowsRead) release() error {
	for _, rec := range r.held {
		rec.Release()
	}
	var errs []error
	for _, in := range r.open {
		errs = append(errs, in.Close())
	}
	*r = rowsRead{rows: r.rows, rejected: r.rejected, fingerprints: r.fingerprints, seconds: r.seconds}
	return errors.Join(errs...)
}

// unchanged checks, once all is read, that the files still are what they were.
func (r *rowsRead) unchanged(ctx context.Context) error {
	for _, f := range r.files {
		if err := f.unchanged(ctx); err != nil {
			return err
		}
	}
	return nil
}

// reader reads a run's source.
type reader struct {
	csv      CSV
	want     *arrow.Schema // types of text columns; nil where nothing says
	options  *Options
	parsed   *parsed
	rejects  *rejects
	progress *Progress
	handles  handles
	budget   *budget
	held     int64 // bytes of records in memory
	joiner   joiner
	many     bool // the source has more files than are open at once
	out      *rowsRead
}

// read reads all rows of a source. The caller releases them.
func (r *reader) read(ctx context.Context, src Source, files []*sourceFile) (*rowsRead, error) {
	start := time.Now()
	r.csv = src.CSV
	r.many = len(files) > openSources
	for _, f := range files {
		r.progress.SourceTotal.Add(f.info.Size)
	}
	var err error
	if src.records != nil {
		err = r.records(ctx, src.records)
	}
	for _, f := range files {
		if err == nil {
			err = r.file(ctx, f)
		}
	}
	if err == nil {
		err = r.keepJoined()
	}
	if err == nil {
		err = r.align()
	}
	r.out.seconds = time.Since(start).Seconds()
	if err != nil {
		return nil, errors.Join(err, r.out.release())
	}
	return r.out, nil
}

func (r *reader) records(ctx context.Context, reader array.RecordReader) error {
	first := int64(1)
	for reader.Next() {
		if err := ctx.Err(); err != nil {
			return err
		}
		rec := reader.Record()
		rec.Retain()
		if err := r.keep(rec, sourceRecord{name: "records", position: counted(recordRow, first)}); err != nil {
			return err
		}
		first += rec.NumRows()
	}
	return errors.Join(reader.Err(), r.keepJoined())
}

func (r *reader) add(rec sourceRecord) {
	r.out.records = append(r.out.records, rec)
	r.out.rows += rec.NumRows()
	r.progress.SourceRows.Add(rec.NumRows())
}

// file reads one input.
func (r *reader) file(ctx context.Context, f *sourceFile) (err error) {
	small := r.many && f.stdin == nil && f.format == source.Parquet && f.info.Size <= smallFileBytes
	o := source.Options{KeepDictionary: !small, SourceTimezone: r.parsed.merge.SourceTimezone, TruncateTimestamps: r.options.TruncateTimestamps, CSV: r.csv}
	if r.options.Rejects != "" {
		o.Rejects = r.reject
	}
	input := f.input()
	if input.Open != nil {
		input.Open = r.handles.opener(input.Open)
	}
	in, err := source.Open(ctx, input, r.want, o)
	if err != nil {
		return r.explain(err, f)
	}
	before := r.progress.SourceBytes.Load()
	defer func() { r.progress.SourceBytes.Store(before + f.info.Size) }()
	r.out.files = append(r.out.files, f)
	if s, ok := in.(source.Stretcher); ok && !small {
		if err := r.keepJoined(); err != nil { // they come first
			return errors.Join(err, in.Close())
		}
		r.out.open = append(r.out.open, in)
		for _, rows := range s.Stretches() {
			c := &fileColumns{Columns: rows, explain: func(err error) error { return r.explain(err, f) }}
			r.add(sourceRecord{Columns: c, spec: f.spec, name: f.name(), position: rows.Position})
		}
		return r.remember(ctx, f)
	}
	for err == nil {
		var rec arrow.Record
		if rec, err = in.Next(ctx); err != nil {
			break
		}
		// The reader forgets a record's lines with the next one.
		if err = r.addRecord(rec, f, positions(in, int(rec.NumRows()))); err != nil {
			break
		}
		r.progress.SourceBytes.Store(before + in.BytesRead())
	}
	if errors.Is(err, io.EOF) {
		err = nil
	}
	if err := errors.Join(r.explain(err, f), in.Close()); err != nil {
		return err
	}
	return r.remember(ctx, f)
}

// addRecord takes a record over: all of it, or the stretches between rows that are left out.
func (r *reader) addRecord(rec arrow.Record, f *sourceFile, position func(row int) string) error {
	rec, without, err := r.mark(rec, position)
	if err != nil {
		return err
	}
	defer rec.Release()
	from := 0
	for _, to := range append(without, int(rec.NumRows())) {
		if to > from {
			first := from
			as := sourceRecord{spec: f.spec, name: f.name(), fills: f.format == source.NDJSON,
				position: func(row int) string { return position(first + row) }}
			if err := r.keep(rec.NewSlice(int64(from), int64(to)), as); err != nil {
				return err
			}
		}
		from = to + 1
	}
	return nil
}

// countNulls counts the NULLs of arrays and of those in them. A slice counts its own when it is asked
// first, unguarded, and several goroutines will ask.
func countNulls(arrays []arrow.Array) {
	for _, arr := range arrays {
		arr.NullN()
		switch arr := arr.(type) {
		case *array.Struct:
			for i := range arr.NumField() {
				countNulls([]arrow.Array{arr.Field(i)})
			}
		case array.ListLike: // maps too
			countNulls([]arrow.Array{arr.ListValues()})
		case *array.Dictionary:
			countNulls([]arrow.Array{arr.Dictionary()})
		}
	}
}

// remember fingerprints what an append takes in.
func (r *reader) remember(ctx context.Context, f *sourceFile) error {
	if r.options.Mode != Append || f.stdin != nil {
		return nil
	}
	mark, err := f.fingerprint(ctx)
	r.out.fingerprints = append(r.out.fingerprints, mark)
	return err
}

func (r *reader) reject(row source.Reject) error {
	r.out.rejected++
	left := reject{Reason: "parse", Source: row.Name + ":" + strconv.FormatInt(row.Line, 10), Column: row.Column, Message: row.Err.Error(), Row: row.Row}
	if row.Row == nil {
		left.Text = row.Text
	}
	return r.rejects.add(left)
}

// explain gives an error of a reader its kind: what is wrong with a file's bytes is corrupt, with its
// columns schema, with a value in it value.
func (r *reader) explain(err error, f *sourceFile) error {
	var place *source.Error
	var known *Error
	switch {
	case err == nil:
		return nil
	case errors.As(err, &known):
		return err
	case errors.As(err, &place) && isStorage(place.Err):
		return (&Error{Kind: KindStorage, File: f.name(), Err: place.Err}).hint("the file could not be read; nothing is known of what is in it")
	case errors.As(err, &place):
	case isStorage(err), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	}
	e := &Error{File: f.name()}
	as := func(kind Kind, sentinel, cause error, hint string) *Error {
		e.Kind, e.Err, e.Hint = kind, both{cause, sentinel}, hint
		if place != nil && place.Hint != "" {
			e.Hint = place.Hint
		}
		return e
	}
	if place == nil {
		return as(KindCorrupt, ErrCorrupt, trimName(err, f.name()), "the source can't be read: is it whole, and of the format its name says?")
	}
	// The place goes to the fields, the rest is the text.
	e.Line, e.Column = place.Line, place.Column
	if e.Line == 0 {
		e.Row = place.Row
	}
	cause := place.Err
	switch {
	case errors.Is(err, source.ErrColumns), errors.Is(err, source.ErrUntyped):
		return as(KindSchema, ErrSchema, cause, "name each column once, in the header or the first rows")
	case errors.Is(err, source.ErrFormat) && place.Line == 0:
		return as(KindCorrupt, ErrCorrupt, cause, "is it whole, and of the format that its name or --format says?")
	case errors.Is(err, shred.ErrTimezone):
		return as(KindValue, ErrValue, cause, "say what zone the source's timestamps are in: --source-timezone UTC")
	case place.Line > 0:
		return as(KindValue, ErrValue, cause, "correct the row, or collect such rows with --rejects FILE")
	}
	return as(KindCorrupt, ErrCorrupt, cause, "correct the file, or leave it out")
}

// trimName leaves out a file's name at the start of an error's text.
func trimName(err error, name string) error {
	if rest, ok := strings.CutPrefix(err.Error(), name+": "); ok {
		return &message{text: rest, is: err}
	}
	return err
}

// both is an error that is of a kind as well.
type both struct{ err, kind error }

func (b both) Error() string   { return b.err.Error() }
func (b both) Unwrap() []error { return []error{b.err, b.kind} }

// positions keeps where the rows of a reader's last record come from. Lines mostly follow each
// other, and then the first is enough.
func positions(in source.Reader, rows int) func(row int) string {
	if rows == 0 {
		return nil
	}
	prefix, first := splitPosition(in.Position(0))
	if _, last := splitPosition(in.Position(rows - 1)); last-first == int64(rows-1) {
		return counted(prefix, first)
	}
	lines := make([]int64, rows)
	for i := range lines {
		_, lines[i] = splitPosition(in.Position(i))
	}
	return func(row int) string { return prefix + strconv.FormatInt(lines[row], 10) }
}

// recordRow begins the position of a row that is of no file.
const recordRow = "record row "

func counted(prefix string, first int64) func(row int) string {
	return func(row int) string { return prefix + strconv.FormatInt(first+int64(row), 10) }
}

// splitPosition splits "orders.csv:17" and "orders.parquet row 12" before the number.
func splitPosition(text string) (prefix string, n int64) {
	at := strings.LastIndexAny(text, ": ") + 1
	n, _ = strconv.ParseInt(text[at:], 10, 64)
	return text[:at], n
}

// align gives all records the same columns in the same order, which is how a merge binds them.
func (r *reader) align() error {
	records := r.out.records
	if len(records) == 0 {
		return nil
	}
	union := records[0].Schema().Fields()
	same := true
	for _, rec := range records[1:] {
		if rec.Schema().Equal(records[0].Schema()) {
			continue
		}
		same = false
		for _, f := range rec.Schema().Fields() {
			at, err := foldIndex(arrow.NewSchema(union, nil), f.Name)
			if err != nil {
				return err
			}
			if at < 0 {
				union = append(union[:len(union):len(union)], f)
			}
		}
	}
	if same {
		return nil
	}
	schema := arrow.NewSchema(union, nil)
	for i := range records {
		if err := r.alignRecord(&records[i], schema); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) alignRecord(rec *sourceRecord, union *arrow.Schema) error {
	var fields []arrow.Field
	var from []int
	var filled []arrow.Array
	for _, f := range union.Fields() {
		at, err := foldIndex(rec.Schema(), f.Name)
		switch {
		case err != nil:
			return locateFile(err, rec.name)
		case at >= 0:
			own := rec.Schema().Field(at)
			own.Name = f.Name
			fields, from, filled = append(fields, own), append(from, at), append(filled, nil)
			continue
		case !rec.fills && !r.mayLack(f.Name, rec.spec):
			return fault(ErrSchema, "other files of the source have the column, this one lacks it").file(rec.name).column(f.Name).
				hint("give the files the same columns, or merge them in runs of their own")
		}
		fields, from = append(fields, arrow.Field{Name: f.Name, Type: f.Type, Nullable: true}), append(from, -1)
		filled = append(filled, shred.Nulls(f.Type, int(rec.NumRows())))
		if rec.absent == nil {
			rec.absent = map[string]bool{}
		}
		rec.absent[strings.ToLower(f.Name)] = true
	}
	rec.Columns = &columnView{Columns: rec.Columns, viewShape: newViewShape(fields, from), filled: filled}
	return nil
}

// mayLack reports whether a column that only some inputs have does no harm: its folders give it, or
// the table knows nothing of it.
func (r *reader) mayLack(name string, spec Spec) bool {
	for _, p := range spec {
		if strings.EqualFold(p.Column, name) {
			return true
		}
	}
	for _, v := range r.parsed.merge.OrderBy {
		if strings.EqualFold(v.Column, name) {
			return false
		}
	}
	if d := r.parsed.merge.DeleteWhen; d != nil && strings.EqualFold(d.Column, name) {
		return false
	}
	return r.want != nil && len(foldIndices(r.want, name)) == 0
}

func locateFile(err error, name string) error {
	var e *Error
	if errors.As(err, &e) && e.File == "" {
		return e.file(name)
	}
	return err
}
