package shred

import (
	"fmt"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
)

const daySeconds = 86400

// perSecond is how many of a unit make a second.
func perSecond(u arrow.TimeUnit) int64 { return int64(time.Second / u.Multiplier()) }

func (c *leafCast) fromTimes() (arrow.Array, int, error) {
	switch a := c.arr.(type) {
	case *array.Date32:
		return c.fromDates(func(p int) (int64, error) { return int64(a.Value(p)), nil })
	case *array.Date64:
		return c.fromDates(func(p int) (int64, error) {
			ms := int64(a.Value(p))
			return ms / (daySeconds * 1e3), fitting(ms%(daySeconds*1e3) == 0)
		})
	case *array.Time32:
		unit := a.DataType().(*arrow.Time32Type).Unit
		return c.fromTimesOfDay(unit, func(p int) int64 { return int64(a.Value(p)) })
	case *array.Time64:
		unit := a.DataType().(*arrow.Time64Type).Unit
		return c.fromTimesOfDay(unit, func(p int) int64 { return int64(a.Value(p)) })
	case *array.Timestamp:
		return c.fromTimestamps(a)
	}
	return c.refuse()
}

// wide reads every value as an int64 by position.
func wide[D any](c *leafCast, f func(p int) (D, error)) (arrow.Array, int, error) {
	return each(c, positionsOf(c.arr.Len()), func(p int32) (D, error) { return f(int(p)) })
}

func (c *leafCast) fromDates(days func(p int) (int64, error)) (arrow.Array, int, error) {
	switch t := c.to.(type) {
	case *arrow.Date32Type:
		return wide(c, func(p int) (int32, error) {
			d, err := days(p)
			if err != nil {
				return 0, err
			}
			return narrow[int64, int32](d)
		})
	case *arrow.Date64Type:
		return wide(c, func(p int) (int64, error) {
			d, err := days(p)
			return d * daySeconds * 1e3, err
		})
	case *arrow.TimestampType:
		if !c.explicit() {
			return c.refuse()
		}
		zone, err := c.relate("", t.TimeZone)
		if err != nil {
			return nil, -1, err
		}
		return wide(c, func(p int) (int64, error) {
			d, err := days(p)
			if err != nil {
				return 0, err
			}
			sec, ok := zone(d * daySeconds)
			v, fits := mul(sec, perSecond(t.Unit))
			return v, fitting(ok && fits)
		})
	}
	return c.refuse()
}

func (c *leafCast) fromTimesOfDay(unit arrow.TimeUnit, value func(p int) int64) (arrow.Array, int, error) {
	switch t := c.to.(type) {
	case *arrow.Time32Type:
		return wide(c, func(p int) (int32, error) {
			v, ok := rescaleUnit(value(p), unit, t.Unit, c.o.TruncateTimestamps)
			if !ok {
				return 0, errFit
			}
			return narrow[int64, int32](v)
		})
	case *arrow.Time64Type:
		return wide(c, func(p int) (int64, error) {
			v, ok := rescaleUnit(value(p), unit, t.Unit, c.o.TruncateTimestamps)
			return v, fitting(ok)
		})
	}
	return c.refuse()
}

func (c *leafCast) fromTimestamps(a *array.Timestamp) (arrow.Array, int, error) {
	from := a.DataType().(*arrow.TimestampType)
	src := values[int64](a)
	per := perSecond(from.Unit)
	switch t := c.to.(type) {
	case *arrow.TimestampType:
		zone, err := c.relate(from.TimeZone, t.TimeZone)
		if err != nil {
			return nil, -1, err
		}
		same := (from.TimeZone == "") == (t.TimeZone == "")
		return each(c, src, func(v int64) (int64, error) {
			if !same {
				var ok bool
				if v, ok = shift(v, per, zone); !ok {
					return 0, errFit
				}
			}
			v, ok := rescaleUnit(v, from.Unit, t.Unit, c.o.TruncateTimestamps)
			return v, fitting(ok)
		})
	case *arrow.Date32Type, *arrow.Date64Type:
		if !c.explicit() {
			return c.refuse()
		}
		zone, err := c.relate(from.TimeZone, "")
		if err != nil {
			return nil, -1, err
		}
		days := func(p int) (int64, error) {
			v, ok := shift(src[p], per, zone)
			return v / (daySeconds * per), fitting(ok && v%(daySeconds*per) == 0)
		}
		return c.fromDates(days)
	}
	return c.refuse()
}

// relate returns how seconds of a timestamp with one zone become those of another: instants and local
// times meet only in the source's time zone.
func (c *leafCast) relate(from, to string) (func(sec int64) (int64, bool), error) {
	fromInstant, toInstant, loc := from != "", to != "", c.o.SourceTimezone
	if fromInstant != toInstant && loc == nil {
		return nil, fmt.Errorf("%w: %s as %s", ErrTimezone, c.arr.DataType(), c.to)
	}
	return func(sec int64) (int64, bool) { return relate(sec, fromInstant, toInstant, loc) }, nil
}

// relate moves seconds between instants and local times; false if no clock in loc shows the time.
func relate(sec int64, fromInstant, toInstant bool, loc *time.Location) (int64, bool) {
	switch {
	case fromInstant == toInstant:
		return sec, true
	case fromInstant:
		return sec + offsetAt(sec, loc), true
	}
	return instantOf(sec, loc)
}

func offsetAt(sec int64, loc *time.Location) int64 {
	_, offset := time.Unix(sec, 0).In(loc).Zone()
	return int64(offset)
}

// instantOf is the earliest instant at which clocks in loc show a local time; false if none does.
func instantOf(local int64, loc *time.Location) (int64, bool) {
	found, ok := int64(0), false
	for _, offset := range [2]int64{offsetAt(local-daySeconds, loc), offsetAt(local+daySeconds, loc)} {
		sec := local - offset
		if offsetAt(sec, loc) == offset && (!ok || sec < found) {
			found, ok = sec, true
		}
	}
	return found, ok
}

// shift moves the seconds of a timestamp and keeps its fraction.
func shift(v, per int64, zone func(int64) (int64, bool)) (int64, bool) {
	sec, rest := floorDiv(v, per)
	moved, ok := zone(sec)
	if !ok {
		return 0, false
	}
	out, ok := mul(moved, per)
	if !ok {
		return 0, false
	}
	return add(out, rest)
}

func floorDiv(v, by int64) (q, r int64) {
	q, r = v/by, v%by
	if r < 0 {
		q, r = q-1, r+by
	}
	return q, r
}

// rescaleUnit brings a count of one unit to another; false if it is too large, or has a rest that may
// not be dropped. What is dropped is dropped towards the past.
func rescaleUnit(v int64, from, to arrow.TimeUnit, truncate bool) (int64, bool) {
	a, b := perSecond(from), perSecond(to)
	if b >= a {
		return mul(v, b/a)
	}
	q, r := floorDiv(v, a/b)
	return q, r == 0 || truncate
}

// dateOf counts days from 1970-01-01.
func dateOf(year, month, day int) int64 {
	return time.Date(year, time.Month(month), day, 0, 0, 0, 0, time.UTC).Unix() / daySeconds
}

// timeOf is the UTC reading of a timestamp's count.
func timeOf(v int64, u arrow.TimeUnit) time.Time {
	per := perSecond(u)
	sec, rest := floorDiv(v, per)
	return time.Unix(sec, rest*int64(u.Multiplier())).UTC()
}

const maxYear = 9999

func validYear(t time.Time) bool { return t.Year() >= 0 && t.Year() <= maxYear }
