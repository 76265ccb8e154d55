package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/partition"
)

// TestRoutesOf: each route of a partition is one line, with each file and row group once.
func TestRoutesOf(t *testing.T) {
	patch := func(columns ...string) merge.RowGroupPlan {
		return merge.RowGroupPlan{Route: merge.Patch, Patches: columns, Changed: columns}
	}
	mixed := merge.RowGroupPlan{
		Route: merge.Rewrite, Changed: []string{"a", "tags"}, Patches: []string{"a"}, Encodes: []string{"tags"}, Why: "the column is nested",
	}
	all := merge.RowGroupPlan{Route: merge.Rewrite, Encodes: []string{"a", "b"}, Why: "inserted rows join the row group", Fold: true}
	for _, c := range []struct {
		name     string
		inserted int64
		plan     []merge.FilePlan
		want     []string
	}{
		{"replaced", 9, []merge.FilePlan{
			{Name: "old", Route: merge.Drop}, {Name: "new", Route: merge.Adopt, RowGroups: make([]merge.RowGroupPlan, 2)},
		}, []string{"drop 1 0 no row of it stays", "adopt 1 2 files of the source replace the partition"}},
		{"patched in two files", 0, []merge.FilePlan{
			{Name: "kept", Route: merge.Keep},
			{Name: "1", Route: merge.Patch, RowGroups: []merge.RowGroupPlan{patch("a"), {Route: merge.Copy}, patch("a", "b")}},
			{Name: "2", Route: merge.Patch, RowGroups: []merge.RowGroupPlan{patch("c", "d", "e")}},
		}, []string{"keep 1 0 ", "copy 1 1 ", "patch 2 3 a, b, c and 2 more"}},
		{"both in one row group", 0, []merge.FilePlan{{Name: "1", Route: merge.Rewrite, RowGroups: []merge.RowGroupPlan{mixed, {Route: merge.Drop}}}},
			[]string{"drop 1 1 no row of it stays", "patch 1 1 a", "rewrite 1 1 tags: the column is nested"}},
		{"joined, and more than fits", 9, []merge.FilePlan{{Name: "1", Route: merge.Rewrite, RowGroups: []merge.RowGroupPlan{all}, Inserts: 5}},
			[]string{"rewrite 1 1 all: inserted rows join the row group", "add 1 0 inserted rows in a file of their own"}},
		{"behind the others", 5, []merge.FilePlan{{Name: "1", Route: merge.Copy, RowGroups: []merge.RowGroupPlan{{Route: merge.Copy}}, Inserts: 5}},
			[]string{"copy 1 1 ", "add 1 0 inserted rows in a row group of their own"}},
	} {
		var got []string
		for _, u := range routesOf(partition.PartitionReport{Plan: c.plan, Rows: partition.Rows{Inserted: c.inserted}}) {
			got = append(got, fmt.Sprintf("%s %d %d %s", u.route, u.files, u.groups, u.reason()))
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%s:\n%s\nwant\n%s", c.name, strings.Join(got, "\n"), strings.Join(c.want, "\n"))
		}
	}
}
