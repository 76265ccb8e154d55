package source

import (
	"errors"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// errCalendar is refused and not converted: which of Spark's rebase modes made the value, and in which
// time zone, is not in the file.
var errCalendar = errors.New("a date before 1582 or timestamp before 1900 that Spark wrote in the Julian calendar of its versions before 3.0")

const (
	gregorianDays   = -141427            // 1582-10-15
	standardSeconds = int64(-2208988800) // 1900-01-01: zones had local mean time before
	keySparkVersion = "org.apache.spark.version"
	keySparkSchema  = "org.apache.spark.sql.parquet.row.metadata"
	keyLegacyTime   = "org.apache.spark.legacyDateTime"
	keyLegacyInt96  = "org.apache.spark.legacyINT96"
)

// legacyCalendar says of a file which of its old values are counted in the hybrid Julian calendar, so
// that their meaning is not that of the format.
type legacyCalendar struct{ times, int96 bool }

func calendarOf(f *splice.File) legacyCalendar {
	keys := map[string]string{}
	for _, kv := range f.KeyValue() {
		keys[kv.Key] = kv.Value
	}
	_, spark := keys[keySparkSchema]
	version, known := keys[keySparkVersion]
	// From 3.0 on the legacy keys say it.
	before3 := spark && !known || strings.HasPrefix(version, "2.") || strings.HasPrefix(version, "1.")
	_, times := keys[keyLegacyTime]
	_, int96 := keys[keyLegacyInt96]
	return legacyCalendar{times: before3 || times, int96: before3 || int96}
}

// affects finds the first value of a flat date or timestamp column that the calendar makes ambiguous.
func (l legacyCalendar) affects(n *column.Node, arr arrow.Array) (row int, found bool) {
	isInt96 := n.Leaf != nil && n.Leaf.Type == format.Int96
	if isInt96 && !l.int96 || !isInt96 && !l.times {
		return 0, false
	}
	switch a := arr.(type) {
	case *array.Date32:
		return firstBelow(a, a.Date32Values(), gregorianDays)
	case *array.Timestamp:
		perSecond := int64(1e9) / int64(a.DataType().(*arrow.TimestampType).Unit.Multiplier())
		return firstBelow(a, a.TimestampValues(), arrow.Timestamp(standardSeconds*perSecond))
	}
	return 0, false
}

func firstBelow[T arrow.Date32 | arrow.Timestamp](arr arrow.Array, values []T, limit T) (int, bool) {
	for i, v := range values {
		if v < limit && arr.IsValid(i) {
			return i, true
		}
	}
	return 0, false
}
