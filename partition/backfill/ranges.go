package backfill

import (
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/partition"
)

// maxPartitions bounds a range: what is longer is a slip of the keyboard.
const maxPartitions = 100_000

// Range is the values of one partition column.
type Range struct {
	Column string
	Values []Value
}

// Value is one value of a range.
type Value struct {
	partition.Pair
	at     *time.Time // of a date or month
	number *int64     // of an integer
	plain  bool       // the text is how its type is written: 2026-01-05, 5
}

const rangeHint = "write --range dt=2026-01-01..2026-03-31, --range hour=0..23 or --range region=kr,us"

// ParseRange reads a range as --range takes it: "dt=2026-01-01..2026-03-31" (days), "month=2026-01..2026-12", "day=20260101..20260331",
// "hour=0..23", "region=kr,us", or several of these with commas. Both ends belong to it. Values are escaped as in partition specs.
func ParseRange(text string) (Range, error) {
	column, list, ok := strings.Cut(text, "=")
	column = strings.TrimSpace(column)
	switch {
	case !ok || column == "":
		return Range{}, refuse(partition.ErrUsage, rangeHint, "range %q: want COL=FROM..TO or COL=VALUE,VALUE", text)
	case strings.TrimSpace(list) == "":
		return Range{}, refuse(partition.ErrUsage, rangeHint, "range %q is empty", text)
	}
	r := Range{Column: column}
	seen := map[partition.Pair]bool{}
	for _, item := range strings.Split(list, ",") {
		values, err := parseItem(text, column, strings.TrimSpace(item))
		if err != nil {
			return Range{}, err
		}
		if len(r.Values)+len(values) > maxPartitions {
			return Range{}, tooMany(text)
		}
		for _, v := range values {
			if !seen[v.Pair] {
				seen[v.Pair] = true
				r.Values = append(r.Values, v)
			}
		}
	}
	return r, nil
}

func tooMany(text string) error {
	return refuse(partition.ErrUsage, "divide it, if it is meant", "range %q has more than %d values", text, maxPartitions)
}

// parseItem reads what stands between two commas.
func parseItem(text, column, item string) ([]Value, error) {
	first, last, ranged := strings.Cut(item, "..")
	if !ranged {
		v, err := value(text, column, item)
		return []Value{v}, err
	}
	first, last = strings.TrimSpace(first), strings.TrimSpace(last)
	if first == "" || last == "" {
		return nil, refuse(partition.ErrUsage, rangeHint, "range %q: %q has no %s", text, item, map[bool]string{true: "beginning", false: "end"}[first == ""])
	}
	for _, f := range []stepper{days("2006-01-02", "2006-1-2"), days("20060102", "20060102"), months, integers} {
		list, ok, backwards := f(first, last)
		switch {
		case backwards:
			return nil, refuse(partition.ErrUsage, "write "+column+"="+last+".."+first, "range %q runs backwards: %s comes after %s", text, first, last)
		case !ok:
			continue
		case len(list) == 0:
			return nil, tooMany(text)
		}
		for i := range list {
			list[i].Column = column
		}
		return list, nil
	}
	if wrong, right, kind := oddEnd(first, last); wrong != "" {
		return nil, refuse(partition.ErrUsage, rangeHint, "range %q: %s is no %s, but %s is one", text, wrong, kind, right)
	}
	return nil, refuse(partition.ErrUsage, rangeHint, "range %q: %q and %q are not two dates (2026-01-31), months (2026-01) or integers", text, first, last)
}

// oddEnd is the end of a range that is not of the kind that the other one is: 2026-02-30 behind 2026-01-20; "" where both are of
// none.
func oddEnd(first, last string) (wrong, right, kind string) {
	for _, k := range []struct {
		name string
		read stepper
	}{{"date", days("2006-01-02", "2006-1-2")}, {"month", months}, {"integer", integers}} {
		_, one, _ := k.read(first, first)
		_, other, _ := k.read(last, last)
		switch {
		case one && !other:
			return last, first, k.name
		case other && !one:
			return first, last, k.name
		}
	}
	return "", "", ""
}

// value reads a value that stands for itself.
func value(text, column, item string) (Value, error) {
	if item == "" || strings.ContainsAny(item, "/") {
		return Value{}, refuse(partition.ErrUsage, rangeHint+"; a slash in a value as %2F", "range %q: %q is no value", text, item)
	}
	spec, err := partition.ParseSpec(column + "=" + item)
	if err != nil {
		return Value{}, refuse(partition.ErrUsage, rangeHint, "range %q: %v", text, err)
	}
	for _, f := range []stepper{days("2006-01-02", "2006-1-2"), days("20060102", "20060102"), months, integers} {
		if list, ok, _ := f(item, item); ok {
			list[0].Pair = spec[0]
			return list[0], nil
		}
	}
	return Value{Pair: spec[0]}, nil
}

// stepper gives the values from one to another, both included: none of more than there may be. ok is whether both are of its kind.
type stepper func(first, last string) (list []Value, ok, backwards bool)

// days steps through dates, read by one layout and written by the other.
func days(write, read string) stepper {
	return func(first, last string) ([]Value, bool, bool) {
		return calendar(first, last, read, write, func(at time.Time) time.Time { return at.AddDate(0, 0, 1) }, write == "2006-01-02")
	}
}

// months steps through months, as 2026-01.
func months(first, last string) ([]Value, bool, bool) {
	return calendar(first, last, "2006-01", "2006-01", func(at time.Time) time.Time { return at.AddDate(0, 1, 0) }, false)
}

func calendar(first, last, read, write string, next func(time.Time) time.Time, plain bool) (list []Value, ok, backwards bool) {
	from, err1 := time.Parse(read, first)
	to, err2 := time.Parse(read, last)
	if err1 != nil || err2 != nil || from.Year() < 1000 || to.Year() < 1000 {
		return nil, false, false
	}
	for at := from; !at.After(to); at = next(at) {
		if len(list) == maxPartitions {
			return nil, true, false
		}
		list = append(list, Value{Pair: partition.Pair{Value: at.Format(write)}, at: &at, plain: plain})
	}
	return list, true, from.After(to)
}

// integers steps through whole numbers. Where one end has leading zeros and both are of one length, so are all.
func integers(first, last string) (list []Value, ok, backwards bool) {
	from, err1 := strconv.ParseInt(first, 10, 64)
	to, err2 := strconv.ParseInt(last, 10, 64)
	if err1 != nil || err2 != nil || first[0] == '+' || last[0] == '+' {
		return nil, false, false
	}
	if from > to {
		return nil, true, true
	}
	if uint64(to)-uint64(from) >= maxPartitions {
		return nil, true, false
	}
	width := 0
	if len(first) == len(last) && (first[0] == '0' || last[0] == '0') {
		width = len(first)
	}
	for i := range int(to-from) + 1 {
		n := from + int64(i)
		text := strconv.FormatInt(n, 10)
		for len(text) < width {
			text = "0" + text
		}
		list = append(list, Value{Pair: partition.Pair{Value: text}, number: &n, plain: strconv.FormatInt(n, 10) == text})
	}
	return list, true, false
}

// kind is the type that a range gives its column where nothing declares one; nil: none, and values are texts.
func (r Range) kind() arrow.DataType {
	dates, numbers := true, true
	for _, v := range r.Values {
		dates = dates && v.at != nil && v.plain
		numbers = numbers && v.number != nil && v.at == nil
	}
	switch {
	case dates:
		return arrow.FixedWidthTypes.Date32
	case numbers:
		return arrow.PrimitiveTypes.Int64
	}
	return nil
}

// Compact writes values of a column as a range that is as short as can be.
func Compact(column string, values []string) string {
	var items []string
	for i := 0; i < len(values); {
		end := i + 1
		for end < len(values) && follows(values[end-1], values[end]) {
			end++
		}
		if end-i > 2 {
			items = append(items, values[i]+".."+values[end-1])
		} else {
			items = append(items, values[i:end]...)
		}
		i = end
	}
	return column + "=" + strings.Join(items, ",")
}

// follows reports whether a value is the next one after another, in a range from the one to the other.
func follows(a, b string) bool {
	r, err := ParseRange("x=" + a + ".." + b)
	return err == nil && len(r.Values) == 2 && r.Values[0].Value == a && r.Values[1].Value == b
}

// Cover gives the ranges whose partitions these are; where no ranges have just them, the partitions by their specs.
func Cover(list []partition.Spec) (ranges, partitions []string) {
	if len(list) == 0 {
		return nil, nil
	}
	columns := list[0]
	product := 1
	values := make([][]string, len(columns))
	for c := range columns {
		seen := map[string]bool{}
		for _, spec := range list {
			if text := escaped(spec[c]); !seen[text] {
				seen[text] = true
				values[c] = append(values[c], text)
			}
		}
		product *= len(values[c])
	}
	if product != len(list) {
		for _, spec := range list {
			partitions = append(partitions, spec.String())
		}
		return nil, partitions
	}
	for c, p := range columns {
		ranges = append(ranges, Compact(p.Column, values[c]))
	}
	return ranges, nil
}

// escaped is a value as a range has it.
func escaped(p partition.Pair) string {
	_, text, _ := strings.Cut(p.Name(), "=")
	return strings.NewReplacer(",", "%2C", "..", "%2E%2E").Replace(text)
}
