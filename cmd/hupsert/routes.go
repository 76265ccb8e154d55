package main

import (
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/hupsert/hupsert/merge"
	"github.com/hupsert/hupsert/partition"
)

// routeColumns is how many columns of a route are named.
const routeColumns = 3

// routeUse is where a route is taken in a partition: one line of a plan.
type routeUse struct {
	route         merge.Route
	why           string
	files, groups int64
	columns       []string
	all           bool // columns, in some row group
	last          *merge.FilePlan
}

// printRoutes says per partition which routes are taken, where and why.
func printRoutes(w io.Writer, listed []partition.PartitionReport) {
	g := newGrid("<partition", "<route", "files", "groups", "<columns, and why")
	for _, p := range listed {
		if p.Status != partition.Planned {
			continue
		}
		for _, u := range routesOf(p) {
			g.row(partitionName(p.Partition), string(u.route), count(u.files), someCount(u.groups), u.reason())
		}
	}
	if len(g.rows) == 0 {
		return
	}
	g.dropEmpty(2)
	fmt.Fprintln(w)
	g.write(w)
}

// routesOf gathers the routes of a partition, the cheapest first.
func routesOf(p partition.PartitionReport) []*routeUse {
	var uses routeUses
	rest := p.Rows.Inserted + p.Rows.Moved
	for i := range p.Plan {
		f := &p.Plan[i]
		rest -= f.Inserts
		switch f.Route {
		case merge.Keep:
			uses.of(f, f.Route, "")
		case merge.Drop:
			uses.of(f, f.Route, noRowStays)
		case merge.Adopt:
			uses.of(f, f.Route, "files of the source replace the partition").groups += int64(len(f.RowGroups))
			rest = 0
		default:
			uses.written(f)
		}
	}
	if rest > 0 {
		uses.of(new(merge.FilePlan), merge.Add, "inserted rows in a file of their own")
	}
	slices.SortStableFunc(uses, func(a, b *routeUse) int { return routeRank(a.route) - routeRank(b.route) })
	return uses
}

const noRowStays = "no row of it stays"

// routeUses are the routes of a partition, by why they are taken.
type routeUses []*routeUse

// of finds a route, which one more file takes.
func (u *routeUses) of(f *merge.FilePlan, route merge.Route, why string) *routeUse {
	at := slices.IndexFunc(*u, func(u *routeUse) bool { return u.route == route && u.why == why })
	if at < 0 {
		at, *u = len(*u), append(*u, &routeUse{route: route, why: why})
	}
	use := (*u)[at]
	if use.last != f {
		use.files++
	}
	use.last = f
	return use
}

// written adds the routes of a file that is written anew.
func (u *routeUses) written(f *merge.FilePlan) {
	joined := false
	for _, g := range f.RowGroups {
		joined = joined || g.Fold
		switch g.Route {
		case merge.Drop:
			u.of(f, g.Route, noRowStays).groups++
		case merge.Copy:
			u.of(f, g.Route, "").groups++
		}
		if len(g.Patches) > 0 {
			u.of(f, merge.Patch, "").group(g.Patches, allPatched(g))
		}
		if len(g.Encodes) > 0 {
			u.of(f, merge.Rewrite, g.Why).group(g.Encodes, allEncoded(g))
		}
	}
	if f.Inserts > 0 && !joined {
		u.of(f, merge.Add, "inserted rows in a row group of their own")
	}
}

// allPatched reports whether pages of every column are patched.
func allPatched(g merge.RowGroupPlan) bool { return g.Changed == nil && len(g.Encodes) == 0 }

// allEncoded reports whether every column is encoded from all of its values.
func allEncoded(g merge.RowGroupPlan) bool { return g.Changed == nil && len(g.Patches) == 0 }

// routeRank orders routes by what they cost.
func routeRank(r merge.Route) int {
	return slices.Index([]merge.Route{merge.Keep, merge.Drop, merge.Adopt, merge.Copy, merge.Patch, merge.Rewrite, merge.Add}, r)
}

// group adds a row group with the columns that take the route.
func (u *routeUse) group(columns []string, all bool) {
	u.groups++
	u.all = u.all || all
	for _, c := range columns {
		if !slices.Contains(u.columns, c) {
			u.columns = append(u.columns, c)
		}
	}
}

// reason names the columns that take the route, and why they do.
func (u *routeUse) reason() string {
	names := columnNames(u.columns, u.all)
	if names != "" && u.why != "" {
		return names + ": " + u.why
	}
	return names + u.why
}

// someCount leaves a zero out.
func someCount(n int64) string {
	if n == 0 {
		return ""
	}
	return count(n)
}

// columnNames names the first of some columns.
func columnNames(columns []string, all bool) string {
	switch more := len(columns) - routeColumns; {
	case all:
		return "all"
	case more > 1:
		return fmt.Sprintf("%s and %d more", strings.Join(columns[:routeColumns], ", "), more)
	}
	return strings.Join(columns, ", ")
}

// printFiles lists what becomes of each file and row group, below the name of its partition.
func printFiles(w io.Writer, listed []partition.PartitionReport) {
	for _, p := range listed {
		if len(p.Plan) == 0 {
			continue
		}
		fmt.Fprintf(w, "\n%s\n", partitionName(p.Partition))
		for _, f := range p.Plan {
			fmt.Fprintf(w, "%s: %s, %s%s\n", f.Name, f.Route, size(f.Bytes), rowsText("; ", f.Inserts, "inserted"))
			for i, g := range f.RowGroups {
				fmt.Fprintf(w, "  row group %d: %s\n", i, groupText(g))
			}
		}
	}
}

// groupText says by which routes a row group goes, with the bytes of each, and why.
func groupText(g merge.RowGroupPlan) string {
	var ways []string
	if g.Route == merge.Drop {
		ways = append(ways, string(merge.Drop))
	}
	if len(g.Patches) > 0 {
		ways = append(ways, fmt.Sprintf("patch %s (%s)", size(g.Patched), columnNames(g.Patches, allPatched(g))))
	}
	if len(g.Encodes) > 0 {
		ways = append(ways, fmt.Sprintf("rewrite %s (%s: %s)", size(g.Encoded), columnNames(g.Encodes, allEncoded(g)), g.Why))
	}
	if g.Copied > 0 {
		ways = append(ways, "copy "+size(g.Copied))
	}
	return strings.Join(ways, ", ") + "; " + plural(g.Rows, "row") + rowsText(", ", g.Updated, "updated") + rowsText(", ", g.Deleted, "deleted")
}

// rowsText tells of some rows, if there are any.
func rowsText(before string, n int64, what string) string {
	if n == 0 {
		return ""
	}
	return before + count(n) + " " + what
}
