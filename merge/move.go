package merge

import (
	"fmt"
	"slices"
)

// leave makes edits of the rows that go on account of source rows of other partitions, and reports whether there are some.
func (p *Prepared) leave() (some bool) {
	for _, f := range p.old {
		rows := slices.Concat(f.Moved, f.Deleted)
		if len(rows) == 0 {
			continue
		}
		some = true
		slices.Sort(rows)
		p.counts.MovedOut += int64(len(f.Moved))
		base := int64(0)
		for _, g := range f.groups {
			for len(rows) > 0 && rows[0] < base+g.rows {
				g.edits = append(g.edits, edit{row: uint32(rows[0] - base), source: -1})
				g.deletes++
				rows = rows[1:]
			}
			base += g.rows
		}
	}
	return some
}

// refuseTwoFates stops a merge in which something else is to become of a row that goes: nothing may be done to a row twice.
func (p *Prepared) refuseTwoFates() error {
	for _, g := range p.groups() {
		for i := 1; i < len(g.edits); i++ {
			if g.edits[i].row == g.edits[i-1].row {
				return &Error{Kind: ErrVerify, File: g.file.Name, Message: fmt.Sprintf("row %d of %s moves away, and is changed", g.edits[i].row, g)}
			}
		}
	}
	return nil
}

// countArrivals counts the rows that are inserted and come from another partition.
func (p *Prepared) countArrivals() {
	for _, f := range p.source.fates[p.source.arrivals:] {
		if f == inserted {
			p.counts.Moved++
		}
	}
}
