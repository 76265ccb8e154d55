package shred

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

// exactInteger is the largest integer that every JSON program keeps: many take numbers for floats.
const exactInteger = 1 << 53

// AppendJSON appends a value of an array as JSON in the form in which NDJSON is read, exactly: decimals,
// integers beyond 2^53, NaN and infinities, dates and times are texts, binaries base64, maps arrays of key
// and value.
func AppendJSON(dst []byte, arr arrow.Array, row int) ([]byte, error) {
	arr = storage(arr)
	switch a := arr.(type) {
	case *array.Dictionary:
		if a.IsNull(row) {
			return append(dst, "null"...), nil
		}
		return AppendJSON(dst, a.Dictionary(), a.GetValueIndex(row))
	case *array.RunEndEncoded:
		return AppendJSON(dst, a.Values(), a.GetPhysicalIndex(row))
	}
	if isNull(arr, row) {
		return append(dst, "null"...), nil
	}
	switch a := arr.(type) {
	case *array.Struct:
		return appendJSONStruct(dst, a, row)
	case *array.Map:
		return appendJSONMap(dst, a, row)
	case array.ListLike:
		from, to := a.ValueOffsets(row)
		return appendJSONList(dst, int(to-from), func(dst []byte, i int) ([]byte, error) {
			return AppendJSON(dst, a.ListValues(), int(from)+i)
		})
	case *array.Float16:
		return appendJSONFloat(dst, float64(a.Value(row).Float32()), 32), nil
	case *array.Float32:
		return appendJSONFloat(dst, float64(a.Value(row)), 32), nil
	case *array.Float64:
		return appendJSONFloat(dst, a.Value(row), 64), nil
	case *array.Decimal128, *array.Decimal256:
		t := arr.DataType().(arrow.DecimalType)
		w := t.(arrow.FixedWidthDataType).Bytes()
		return appendJSONText(dst, readDecimal(fixedBytes(arr, w)[row*w:(row+1)*w]).text(t.GetScale()))
	case *array.Timestamp:
		return appendJSONText(dst, timestampText(a, row))
	case *array.Time32:
		return appendJSONText(dst, clockText(int64(a.Value(row)), a.DataType().(*arrow.Time32Type).Unit))
	case *array.Time64:
		return appendJSONText(dst, clockText(int64(a.Value(row)), a.DataType().(*arrow.Time64Type).Unit))
	case *array.Date32:
		return appendJSONText(dst, timeOf(int64(a.Value(row))*daySeconds, arrow.Second).Format(time.DateOnly))
	case *array.Date64:
		return appendJSONText(dst, timeOf(int64(a.Value(row)), arrow.Millisecond).Format(time.DateOnly))
	}
	if arrow.IsInteger(arr.DataType().ID()) {
		return appendJSONInteger(dst, arr.ValueStr(row))
	}
	if value, ok := bytesOf(arr); ok && isText(arr.DataType()) {
		return appendJSONText(dst, string(value(row)))
	}
	v, err := jsonMarshal(arr.GetOneForMarshal(row))
	return append(dst, v...), err
}

// jsonMarshal writes a value without the escapes that only HTML needs.
func jsonMarshal(v any) ([]byte, error) {
	var buf bytes.Buffer
	e := json.NewEncoder(&buf)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return bytes.TrimSuffix(buf.Bytes(), []byte{'\n'}), err
}

func appendJSONText(dst []byte, text string) ([]byte, error) {
	quoted, err := jsonMarshal(text)
	return append(dst, quoted...), err
}

func appendJSONInteger(dst []byte, digits string) ([]byte, error) {
	if v, err := strconv.ParseInt(digits, 10, 64); err == nil && v >= -exactInteger && v <= exactInteger {
		return append(dst, digits...), nil
	}
	return appendJSONText(dst, digits)
}

func appendJSONFloat(dst []byte, f float64, bits int) []byte {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return append(append(append(dst, '"'), floatText(f, bits)...), '"')
	}
	return strconv.AppendFloat(dst, f, 'g', -1, bits)
}

func timestampText(a *array.Timestamp, row int) string {
	t := a.DataType().(*arrow.TimestampType)
	layout := "2006-01-02T15:04:05.999999999"
	if t.TimeZone != "" {
		layout += "Z07:00"
	}
	return timeOf(int64(a.Value(row)), t.Unit).Format(layout)
}

func clockText(v int64, u arrow.TimeUnit) string { return timeOf(v, u).Format("15:04:05.999999999") }

func appendJSONList(dst []byte, n int, item func(dst []byte, i int) ([]byte, error)) (_ []byte, err error) {
	dst = append(dst, '[')
	for i := range n {
		if i > 0 {
			dst = append(dst, ',')
		}
		if dst, err = item(dst, i); err != nil {
			return dst, err
		}
	}
	return append(dst, ']'), nil
}

func appendJSONStruct(dst []byte, a *array.Struct, row int) (_ []byte, err error) {
	dst = append(dst, '{')
	for i, f := range a.DataType().(*arrow.StructType).Fields() {
		if dst, err = appendJSONMember(dst, i > 0, f.Name, a.Field(i), row); err != nil {
			return dst, err
		}
	}
	return append(dst, '}'), nil
}

func appendJSONMember(dst []byte, more bool, name string, arr arrow.Array, row int) (_ []byte, err error) {
	if more {
		dst = append(dst, ',')
	}
	if dst, err = appendJSONText(dst, name); err != nil {
		return dst, err
	}
	return AppendJSON(append(dst, ':'), arr, row)
}

func appendJSONMap(dst []byte, a *array.Map, row int) ([]byte, error) {
	from, to := a.ValueOffsets(row)
	return appendJSONList(dst, int(to-from), func(dst []byte, i int) (_ []byte, err error) {
		if dst, err = appendJSONMember(append(dst, '{'), false, "key", a.Keys(), int(from)+i); err != nil {
			return dst, err
		}
		dst, err = appendJSONMember(dst, true, "value", a.Items(), int(from)+i)
		return append(dst, '}'), err
	})
}

// RowJSON is a row of columns as a JSON object, NULLs included.
func RowJSON(s *arrow.Schema, columns []arrow.Array, row int) (_ []byte, err error) {
	dst := []byte{'{'}
	for i, arr := range columns {
		if dst, err = appendJSONMember(dst, i > 0, s.Field(i).Name, arr, row); err != nil {
			return nil, err
		}
	}
	return append(dst, '}'), nil
}
