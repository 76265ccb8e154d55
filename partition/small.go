package partition

import (
	"slices"
	"sort"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
)

const (
	// smallFileBytes is the size up to which a Parquet file, of more than openSources files, is read at
	// once: its footer would take more memory than its rows.
	smallFileBytes = 1 << 20
	// smallRows is the number of rows below which records are joined, and joinedRows what they are joined to.
	smallRows  = 4096
	joinedRows = 1 << 16
)

// joiner makes one record of many small ones: a merge goes through a source record by record, and a record
// of a few rows costs as much as one of many.
type joiner struct {
	records []arrow.Record
	as      []sourceRecord
	rows    int
}

// takes reports whether a record can join those that wait.
func (j *joiner) takes(rec arrow.Record, as sourceRecord) bool {
	if len(j.records) == 0 {
		return true
	}
	first := j.as[0]
	if first.fills != as.fills || len(first.spec) != len(as.spec) || !j.records[0].Schema().Equal(rec.Schema()) {
		return false
	}
	for i, p := range first.spec {
		if as.spec[i] != p {
			return false
		}
	}
	return true
}

func (j *joiner) add(rec arrow.Record, as sourceRecord) {
	j.records, j.as, j.rows = append(j.records, rec), append(j.as, as), j.rows+int(rec.NumRows())
}

// join gives the one record of those that wait; false where their columns can't become one.
func (j *joiner) join() (arrow.Record, sourceRecord, bool) {
	starts, rows := make([]int, len(j.records)), 0
	for i, rec := range j.records {
		starts[i] = rows
		rows += int(rec.NumRows())
	}
	columns, fields := make([]arrow.Array, j.records[0].NumCols()), j.records[0].Schema().Fields()
	for c := range columns {
		parts := make([]arrow.Array, len(j.records))
		for i, rec := range j.records {
			parts[i] = rec.Column(c)
		}
		var err error
		if columns[c], err = concatenate(parts); err != nil {
			return nil, sourceRecord{}, false // unions, texts beyond 2 GiB
		}
		fields[c].Type = columns[c].DataType()
	}
	meta := j.records[0].Schema().Metadata()
	joined := array.NewRecord(arrow.NewSchema(fields, &meta), columns, int64(rows))
	for _, arr := range columns {
		arr.Release()
	}
	one, as := j.as[0], j.as
	one.position = func(row int) string {
		i := sort.SearchInts(starts, row+1) - 1
		return (&as[i]).where(row - starts[i])
	}
	return joined, one, true
}

// concatenate puts arrays one after the other. Dictionaries that differ become their values: Arrow's
// Concatenate gives rows before a NULL another entry when it makes one dictionary of several.
func concatenate(parts []arrow.Array) (arrow.Array, error) {
	if hasDictionary(parts[0].DataType()) && !oneDictionary(parts) {
		for i, arr := range parts {
			plain, err := spill.Gather(arr, nil)
			if err != nil {
				return nil, err
			}
			defer plain.Release()
			parts[i] = plain
		}
	}
	return array.Concatenate(parts, memory.DefaultAllocator)
}

// hasDictionary reports whether a type is a dictionary or holds one.
func hasDictionary(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.DictionaryType:
		return true
	case arrow.ExtensionType:
		return hasDictionary(t.StorageType())
	case *arrow.RunEndEncodedType:
		return hasDictionary(t.Encoded())
	case arrow.NestedType:
		return slices.ContainsFunc(t.Fields(), func(f arrow.Field) bool { return hasDictionary(f.Type) })
	}
	return false
}

// oneDictionary reports whether arrays are of the same dictionary.
func oneDictionary(parts []arrow.Array) bool {
	first, ok := parts[0].(*array.Dictionary)
	return ok && !slices.ContainsFunc(parts, func(arr arrow.Array) bool {
		return !array.Equal(arr.(*array.Dictionary).Dictionary(), first.Dictionary())
	})
}

// keep takes a record over, with small ones that follow each other as one.
func (r *reader) keep(rec arrow.Record, as sourceRecord) error {
	small := rec.NumRows() < smallRows
	if !small || !r.joiner.takes(rec, as) || r.joiner.rows >= joinedRows {
		if err := r.keepJoined(); err != nil {
			rec.Release()
			return err
		}
	}
	if small {
		r.joiner.add(rec, as)
		return nil
	}
	return r.hold(rec, as)
}

// keepJoined takes over the small records that wait.
func (r *reader) keepJoined() error {
	if len(r.joiner.records) == 0 {
		return nil
	}
	waiting := r.joiner
	r.joiner = joiner{}
	if len(waiting.records) > 1 {
		if rec, as, ok := waiting.join(); ok {
			for _, small := range waiting.records {
				small.Release()
			}
			return r.hold(rec, as)
		}
	}
	for i, rec := range waiting.records {
		if err := r.hold(rec, waiting.as[i]); err != nil {
			return err
		}
	}
	return nil
}

// hold puts a record into memory, or on disk when that is full.
func (r *reader) hold(rec arrow.Record, as sourceRecord) error {
	columns := source.InMemory(rec)
	bytes := columns.Bytes()
	if r.held+bytes > r.budget.source() {
		defer rec.Release()
		var err error
		if as.Columns, err = r.budget.record(rec); err != nil {
			return err
		}
		r.add(as)
		return nil
	}
	r.held += bytes
	countNulls(rec.Columns())
	r.out.held = append(r.out.held, rec)
	as.Columns, as.loaded = columns, true
	r.add(as)
	return nil
}
