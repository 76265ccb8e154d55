package merge

import (
	"github.com/hupsert/hupsert/merge/column"
	input "github.com/hupsert/hupsert/merge/source"
)

// calendar is that of the old files where one of them counts old dates in the Julian calendar. What it holds stays, with
// the metadata that says so; but a source's value of that time would mean another day in it, or not be found.
type calendar struct {
	input.Calendar
	file string
}

// julian finds the old files with such a calendar, and names the first.
func julian(old []*oldFile) calendar {
	var found calendar
	for _, f := range old {
		c := input.CalendarOf(f.file)
		if c.Julian() && found.file == "" {
			found.file = f.Name
		}
		found.Calendar = found.Or(c)
	}
	return found
}

// check refuses source values that the calendar makes ambiguous.
func (c calendar) check(f *form, node *column.Node, name string, position func(row int) string) error {
	if !c.Julian() {
		return nil
	}
	for i, leaf := range node.Leaves() {
		if row, found := c.Ancient(leaf, f.leaves[i]); found {
			return &Error{Kind: ErrSchema, File: c.file, Column: name,
				Message: "the source has a date before 1582 or timestamp before 1900 at " + position(row) +
					", and this file counts those in the Julian calendar of Spark before 3.0 or Hive",
				Hint: "write the partition anew with Spark 3 or later, in its default calendar"}
		}
	}
	return nil
}
