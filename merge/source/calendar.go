package source

import (
	"encoding/binary"
	"errors"
	"strings"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// errCalendar is refused and not converted: which of Spark's rebase modes made the value, and in which
// time zone, is not in the file.
var errCalendar = errors.New("a date before 1582 or timestamp before 1900 in the Julian calendar of Spark before 3.0 or Hive")

const (
	gregorianDays   = -141427            // 1582-10-15
	standardSeconds = int64(-2208988800) // 1900-01-01: zones had local mean time before
	standardJulian  = 2415021            // the Julian day of 1900-01-01
	keySparkVersion = "org.apache.spark.version"
	keySparkSchema  = "org.apache.spark.sql.parquet.row.metadata"
	keyLegacyTime   = "org.apache.spark.legacyDateTime"
	keyLegacyInt96  = "org.apache.spark.legacyINT96"
	keyHiveDates    = "writer.date.proleptic"
)

// Calendar says of a file which of its old values are counted in the hybrid Julian calendar, so that their
// meaning is not that of the format: dates before 1582-10-15, and timestamps before 1900.
type Calendar struct{ times, int96 bool }

// CalendarOf reads what writers say of their calendar.
func CalendarOf(f *splice.File) Calendar {
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
	hive := strings.EqualFold(keys[keyHiveDates], "false")
	return Calendar{times: before3 || times || hive, int96: before3 || int96 || hive}
}

// Julian reports whether some values are counted so.
func (c Calendar) Julian() bool { return c.times || c.int96 }

// Or is the calendar of two files, each of whose ambiguous values are.
func (c Calendar) Or(d Calendar) Calendar {
	return Calendar{times: c.times || d.times, int96: c.int96 || d.int96}
}

// Marks is the metadata that says in Spark's keys what a file's calendar is. Of Spark before 3.0 the absence of
// a key says it, in a file that has Spark's schema.
func (c Calendar) Marks() []splice.KeyValue {
	var out []splice.KeyValue
	if c.times {
		out = append(out, splice.KeyValue{Key: keyLegacyTime})
	}
	if c.int96 {
		out = append(out, splice.KeyValue{Key: keyLegacyInt96})
	}
	return out
}

// Ancient finds the first row with a value that the calendar makes ambiguous.
func (c Calendar) Ancient(leaf *column.Leaf, values *column.Column) (row int, found bool) {
	ancient := c.test(leaf)
	if ancient == nil {
		return 0, false
	}
	row = -1
	for i := range values.Slots {
		if values.Rep == nil || values.Rep[i] == 0 {
			row++
		}
		if v := values.Value(i); v != nil && ancient(v) {
			return row, true
		}
	}
	return 0, false
}

// test is nil for a column whose values are unambiguous.
func (c Calendar) test(leaf *column.Leaf) func(v []byte) bool {
	switch {
	case leaf.Type == format.Int96 && c.int96:
		return func(v []byte) bool { return int32(binary.LittleEndian.Uint32(v[8:])) < standardJulian }
	case leaf.Type == format.Int32 && leaf.Annotation.Kind == column.Date && c.times:
		return func(v []byte) bool { return int32(binary.LittleEndian.Uint32(v)) < gregorianDays }
	case leaf.Type == format.Int64 && leaf.Annotation.Kind == column.Timestamp && c.times:
		limit := standardSeconds * (1e9 / leaf.Annotation.Unit)
		return func(v []byte) bool { return int64(binary.LittleEndian.Uint64(v)) < limit }
	}
	return nil
}
