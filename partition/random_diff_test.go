package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/apache/arrow/go/v17/arrow/array"
)

// randomDiff is what Diff says of a case before its upsert.
type randomDiff struct {
	rep  *DiffReport
	feed []feedRow
	old  []modelRow // of the whole table
}

// feedRow is a row of a change feed.
type feedRow struct {
	change string
	row    modelRow
}

// diff asks for what the upsert will change. An error is one only where the upsert has none.
func (c *randomCase) diff() (*randomDiff, error) {
	src, err := c.given()
	if err != nil {
		return nil, err
	}
	d := &randomDiff{}
	for _, p := range c.partitions {
		d.old = append(d.old, p.rows...)
	}
	to := filepath.Join(c.dir, "feed.parquet")
	if d.rep, err = c.table.Diff(context.Background(), src, c.o, DiffOptions{To: to, Limit: 5}); err != nil {
		return nil, err
	}
	data, err := os.ReadFile(to)
	if err != nil {
		return nil, err
	}
	d.feed, err = c.readFeed(data)
	left, globErr := filepath.Glob(to + ".*")
	if len(left) > 0 {
		err = errors.Join(err, fmt.Errorf("left behind: %v", left))
	}
	return d, errors.Join(err, globErr, os.Remove(to))
}

func (c *randomCase) readFeed(data []byte) ([]feedRow, error) {
	table, err := readTable(data)
	if err != nil {
		return nil, err
	}
	defer table.Release()
	rows := make([]feedRow, table.NumRows())
	for i := range rows {
		rows[i].row = make(modelRow, len(c.columns))
	}
	for i, f := range table.Schema().Fields() {
		at := slices.IndexFunc(c.columns, func(col modelColumn) bool { return strings.EqualFold(col.name, f.Name) })
		isPart := slices.ContainsFunc(c.parts, func(p partColumn) bool { return strings.EqualFold(p.name, f.Name) })
		if at < 0 && !isPart && f.Name != changeTypeColumn {
			return nil, fmt.Errorf("the feed has a column %s", f.Name)
		}
		row := 0
		for _, chunk := range table.Column(i).Data().Chunks() {
			for j := range chunk.Len() {
				switch {
				case i == 0:
					rows[row].change = chunk.(*array.String).Value(j)
				case at >= 0:
					rows[row].row[at] = get(chunk, j)
				}
				row++
			}
		}
	}
	return rows, nil
}

// check holds a diff against the model: its counters, and that the feed makes the new rows of the old ones.
func (d *randomDiff) check(c *randomCase, outcomes map[string]modelOutcome) error {
	changes := map[string]int64{}
	changed := false
	for _, p := range d.rep.Partitions {
		o, ok := outcomes[p.Partition]
		if !ok || p.Rows != o.rows {
			return fmt.Errorf("diff of %s:\n got %+v\nwant %+v", p.Partition, p.Rows, o.rows)
		}
		if (p.Status == Planned) != (c.status(&o) == Published) {
			return fmt.Errorf("diff of %s: status %s", p.Partition, p.Status)
		}
		changed = changed || p.Status == Planned
		changes["insert"] += p.Rows.Inserted
		changes["delete"] += p.Rows.Deleted + p.Rows.OldDuplicates
		changes["update_preimage"] += p.Rows.Updated
		changes["update_postimage"] += p.Rows.Updated
	}
	if len(d.rep.Partitions) != len(outcomes) || d.rep.Different != changed {
		return fmt.Errorf("diff: %d partitions, different %t", len(d.rep.Partitions), d.rep.Different)
	}
	rows := map[string]int{}
	for _, x := range d.old {
		rows[string(show(nil, x))]++
	}
	for _, f := range d.feed {
		changes[f.change]--
		by := 1
		if f.change == "delete" || f.change == "update_preimage" {
			by = -1
		}
		rows[string(show(nil, f.row))] += by
	}
	for change, n := range changes {
		if n != 0 {
			return fmt.Errorf("the feed lacks %d rows of %s", n, change)
		}
	}
	for _, p := range c.partitions {
		for _, x := range p.rows {
			rows[string(show(nil, x))]--
		}
	}
	for text, n := range rows {
		if n != 0 {
			return fmt.Errorf("the feed, applied to the old rows, makes %d too many of %.300s", n, text)
		}
	}
	return nil
}
