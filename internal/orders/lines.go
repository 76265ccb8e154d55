// Package orders makes the demo's data: order lines of a web shop as a table of plain Parquet files, a
// folder a day, and a file with what changed in an evening. Call [WriteTable] and [WriteChanges].
//
// Every value follows from the day and the line's ordinal, so that the changes can correct lines
// without reading the table, and every run of the demo is the same.
package orders

import (
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/decimal128"
	"github.com/apache/arrow/go/v17/arrow/memory"
)

// The size of the table.
const (
	Days        = 10
	FilesPerDay = 4
	LinesPerDay = 100_000
)

// date is a day of the table, from 0.
func date(day int) time.Time { return time.Date(2026, 11, 11+day, 0, 0, 0, 0, time.UTC) }

// LastDay is the table's newest partition value, and the day of the changes.
func LastDay() string { return date(Days - 1).Format(time.DateOnly) }

// line is one row. Within a day lines are sorted by the time of the order, as a nightly export leaves
// them.
type line struct {
	order    int64
	number   int32
	customer int64
	sku      string
	quantity int32
	cents    int64
	status   string
	express  bool
	note     string // "": NULL
	placed   time.Time
	updated  time.Time
}

// schemaOf is the table's, in which dt is only the folder's name; change files have it as a
// column, and with it a flag for lines that were cancelled.
func schemaOf(changes bool) *arrow.Schema {
	stamp := &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}
	fields := []arrow.Field{
		{Name: "order_id", Type: arrow.PrimitiveTypes.Int64},
		{Name: "line_no", Type: arrow.PrimitiveTypes.Int32},
		{Name: "customer_id", Type: arrow.PrimitiveTypes.Int64, Nullable: true},
		{Name: "sku", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "quantity", Type: arrow.PrimitiveTypes.Int32, Nullable: true},
		{Name: "amount", Type: &arrow.Decimal128Type{Precision: 12, Scale: 2}, Nullable: true},
		{Name: "status", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "express", Type: arrow.FixedWidthTypes.Boolean, Nullable: true},
		{Name: "note", Type: arrow.BinaryTypes.String, Nullable: true},
		{Name: "placed_at", Type: stamp, Nullable: true},
		{Name: "updated_at", Type: stamp, Nullable: true},
	}
	if changes {
		fields = append(fields,
			arrow.Field{Name: "dt", Type: arrow.FixedWidthTypes.Date32},
			arrow.Field{Name: "deleted", Type: arrow.FixedWidthTypes.Boolean, Nullable: true})
	}
	return arrow.NewSchema(fields, nil)
}

// tableLine is line i of a day. Ordinals beyond the day's lines are orders that were not known yet
// when the table was written.
func tableLine(day, i int) line {
	h := mix(uint64(day)<<32 | uint64(i))
	l := line{
		// Every second order has two lines.
		order:    int64(day+1)*1_000_000 + int64(i/3*2) + min(int64(i%3), 1),
		number:   1 + int32(i%3/2),
		customer: 1000 + int64(h%40_000),
		quantity: 1 + int32(h>>20%5),
		cents:    99 + int64(h>>24%30_000),
		status:   [...]string{"placed", "paid", "shipped", "delivered"}[min(Days-1-day+int(h>>8%3), 3)],
		express:  h>>16%7 == 0,
		placed:   date(day).Add(time.Duration(i/3*3) * 24 * time.Hour / (LinesPerDay + 10_000)),
	}
	l.sku = sku(h >> 40)
	l.updated = l.placed.Add(time.Duration(h>>12%7200) * time.Second)
	if h>>32%50 == 0 {
		l.note = [...]string{"leave at the door", "gift, no invoice", "call before delivery"}[h>>36%3]
	}
	return l
}

func sku(n uint64) string {
	return string([]byte{'S', 'K', 'U', '-', 'A' + byte(n%26), '0' + byte(n/1000%10), '0' + byte(n/100%10), '0' + byte(n/10%10), '0' + byte(n%10)})
}

// mix is the finaliser of splitmix64: neighbours get unrelated values.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// lineBuilder collects lines as an Arrow record.
type lineBuilder struct {
	*array.RecordBuilder
	changes bool
}

func newLineBuilder(changes bool) lineBuilder {
	return lineBuilder{array.NewRecordBuilder(memory.DefaultAllocator, schemaOf(changes)), changes}
}

func (b lineBuilder) add(l line, day time.Time, deleted bool) {
	b.Field(0).(*array.Int64Builder).Append(l.order)
	b.Field(1).(*array.Int32Builder).Append(l.number)
	b.Field(2).(*array.Int64Builder).Append(l.customer)
	b.Field(3).(*array.StringBuilder).Append(l.sku)
	b.Field(4).(*array.Int32Builder).Append(l.quantity)
	b.Field(5).(*array.Decimal128Builder).Append(decimal128.FromI64(l.cents))
	b.Field(6).(*array.StringBuilder).Append(l.status)
	b.Field(7).(*array.BooleanBuilder).Append(l.express)
	if note := b.Field(8).(*array.StringBuilder); l.note == "" {
		note.AppendNull()
	} else {
		note.Append(l.note)
	}
	b.Field(9).(*array.TimestampBuilder).Append(arrow.Timestamp(l.placed.UnixMicro()))
	b.Field(10).(*array.TimestampBuilder).Append(arrow.Timestamp(l.updated.UnixMicro()))
	if b.changes {
		b.Field(11).(*array.Date32Builder).Append(arrow.Date32FromTime(day))
		b.Field(12).(*array.BooleanBuilder).Append(deleted)
	}
}

// tableFile is one file of a day.
func tableFile(day, file int) arrow.Record {
	b := newLineBuilder(false)
	defer b.Release()
	const lines = LinesPerDay / FilesPerDay
	for i := file * lines; i < (file+1)*lines; i++ {
		b.add(tableLine(day, i), time.Time{}, false)
	}
	return b.NewRecord()
}

// dayOfChanges is what a shop's systems send in the evening of the last day: orders of the last hours,
// a few that were held up since yesterday, lines that were delivered or cancelled meanwhile, and, as
// such feeds are, lines the table has already and lines older than what it has.
func dayOfChanges() arrow.Record {
	b := newLineBuilder(true)
	defer b.Release()
	last := Days - 1
	evening := date(last).Add(23*time.Hour + 50*time.Minute)

	for i := range 3000 { // new
		b.add(tableLine(last, LinesPerDay+2+i), date(last), false)
	}
	for i := range 60 { // held up since yesterday
		b.add(tableLine(last-1, LinesPerDay+2+i), date(last-1), false)
	}
	for i := range 2000 { // delivered: two days ago, and today's last orders
		for _, at := range [][2]int{{last - 2, 50_000 + 3*i}, {last, LinesPerDay - 20_000 + 10*i}} {
			l := tableLine(at[0], at[1])
			l.status, l.updated = "delivered", evening
			b.add(l, date(at[0]), false)
		}
	}
	for i := range 250 { // cancelled
		l := tableLine(last, LinesPerDay-20_003+60*i)
		l.updated = evening
		b.add(l, date(last), true)
	}
	for i := range 120 { // sent again, and sent late
		b.add(tableLine(last, LinesPerDay-19_999+20*i), date(last), false)
		l := tableLine(last, LinesPerDay-9_999+20*i)
		l.updated = l.updated.Add(-3 * time.Hour)
		b.add(l, date(last), false)
	}
	return b.NewRecord()
}
