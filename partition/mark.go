package partition

import (
	"fmt"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/merge/source"
)

// mark makes booleans of the text that says which rows are deletes, where --delete-when names a column
// alone and neither the table nor the input's format gives it a type. Rows whose text says neither are an
// error, or go to the rejects and are given back. It takes the record over.
func (r *reader) mark(rec arrow.Record, position func(row int) string) (marked arrow.Record, without []int, err error) {
	d := r.parsed.merge.DeleteWhen
	if d == nil || d.Value != nil {
		return rec, nil, nil
	}
	at, err := foldIndex(rec.Schema(), d.Column)
	if err != nil || at < 0 {
		return rec, nil, err
	}
	text, ok := rec.Column(at).(*array.String)
	if _, untyped := rec.Schema().Field(at).Metadata.GetValue(source.MetaUntyped); !untyped || !ok {
		return rec, nil, nil
	}
	defer rec.Release()
	marks, bad := booleans(text)
	defer marks.Release()
	for _, row := range bad {
		message := fmt.Sprintf("%q does not say whether the row is a delete: want true, false, 1 or 0", text.Value(row))
		if r.options.Rejects == "" {
			return nil, nil, fault(ErrValue, "%s", message).place(position(row)).column(d.Column).
				hint("correct the row, or name the value that marks a delete: --delete-when %s=VALUE", d.Column)
		}
		r.out.rejected++
		content, err := shred.RowJSON(rec.Schema(), rec.Columns(), row)
		if err == nil {
			err = r.rejects.add(reject{Reason: "parse", Source: position(row), Column: d.Column, Message: message, Row: content})
		}
		if err != nil {
			return nil, nil, err
		}
	}
	return withColumn(rec, at, marks), bad, nil
}

// booleans reads text as booleans; bad are the rows that are none.
func booleans(text *array.String) (marks *array.Boolean, bad []int) {
	b := array.NewBooleanBuilder(memory.DefaultAllocator)
	defer b.Release()
	b.Reserve(text.Len())
	for i := range text.Len() {
		switch value := text.Value(i); {
		case text.IsNull(i):
			b.AppendNull()
		case value == "1" || strings.EqualFold(value, "true"):
			b.Append(true)
		case value == "0" || strings.EqualFold(value, "false"):
			b.Append(false)
		default:
			b.AppendNull()
			bad = append(bad, i)
		}
	}
	return b.NewBooleanArray(), bad
}

// withColumn is a record with another column at an ordinal.
func withColumn(rec arrow.Record, at int, column arrow.Array) arrow.Record {
	fields := append([]arrow.Field(nil), rec.Schema().Fields()...)
	fields[at] = arrow.Field{Name: fields[at].Name, Type: column.DataType(), Nullable: true}
	columns := append([]arrow.Array(nil), rec.Columns()...)
	columns[at] = column
	return array.NewRecord(arrow.NewSchema(fields, nil), columns, rec.NumRows())
}
