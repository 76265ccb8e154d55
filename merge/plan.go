package merge

import (
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/shred"
)

const (
	// foldBytes is the size up to which a last row group is decoded to take inserts in.
	foldBytes = 32 << 20
	// defaultRowGroupRows is the size of new row groups where the old files set no example.
	defaultRowGroupRows = 1_000_000
)

// touched reports whether the row group can't be copied whole.
func (g *rowGroup) touched() bool {
	if g.removed() > 0 {
		return true
	}
	for _, c := range g.changed {
		if c {
			return true
		}
	}
	return false
}

// removed is the number of rows that go: deletes and repaired duplicates.
func (g *rowGroup) removed() int64 { return g.deletes + g.repaired }

// plan gives every file and row group its route.
func (p *Prepared) plan(context.Context) error {
	if p.Noop() {
		for _, f := range p.old {
			p.plans = append(p.plans, FilePlan{Name: f.Name, Route: Keep, Bytes: f.size})
			p.bytes.Kept += f.size
		}
		return nil
	}
	if p.adopted != nil {
		p.planAdoption()
		return nil
	}
	p.chooseTarget()
	p.keepColumns()
	for _, f := range p.old {
		plan, err := p.planFile(f)
		if err != nil {
			return f.wrap(err)
		}
		p.plans = append(p.plans, plan)
		if plan.Route == Keep {
			p.bytes.Kept += f.size
			continue
		}
		for _, g := range plan.RowGroups {
			p.bytes.Copied += g.Copied
			p.bytes.Patched += g.Patched
			p.bytes.Rewritten += g.Encoded
		}
	}
	p.bytes.Added = p.estimateInserts()
	return nil
}

// planAdoption drops every old file for those of the source.
func (p *Prepared) planAdoption() {
	p.inserts = runs{}
	for _, f := range p.old {
		p.plans = append(p.plans, FilePlan{Name: f.Name, Route: Drop, Bytes: f.size})
	}
	for _, f := range p.adopted {
		plan := FilePlan{Name: f.Name(), Route: Adopt}
		for g := range f.NumRowGroups() {
			group := f.RowGroup(g)
			plan.RowGroups = append(plan.RowGroups, RowGroupPlan{Route: Copy, Rows: group.Rows, Copied: group.Bytes})
			p.bytes.Copied += group.Bytes
			plan.Bytes += group.Bytes
		}
		p.plans = append(p.plans, plan)
	}
}

// listAll makes all rows inserts, as they came: where there is no key.
func (p *Prepared) listAll() {
	p.inserts = runs{}
	for row, f := range p.source.fates {
		if f == inserted {
			p.inserts.add(uint32(row))
		}
	}
}

// listInserts adds the rows of a band that are inserted, by key.
func (p *Prepared) listInserts(b *band) {
	if b.order.known() {
		for i := range b.holders() {
			if row := b.order.row(i); *b.fate(row) == inserted {
				p.inserts.add(uint32(b.row(row)))
			}
		}
		return
	}
	var list []uint32
	for i := range b.n {
		if *b.fate(i) == inserted {
			list = append(list, uint32(i))
		}
	}
	sortedBy(&b.keys, list)
	for _, i := range list {
		p.inserts.add(uint32(b.row(int(i))))
	}
}

// chooseTarget finds the file that takes the inserts: one that is written anyway and below the
// target size, else a small one, so that daily merges do not pile files up; else a new one.
func (p *Prepared) chooseTarget() {
	if p.inserts.n == 0 {
		return
	}
	var small *oldFile
	for _, f := range p.old {
		if f.size >= p.options.TargetFileBytes || f.gone() || !f.complete() {
			continue
		}
		if f.written() {
			p.target = f
		}
		if f.size <= p.options.TargetFileBytes/8 && (small == nil || f.size < small.size) {
			small = f
		}
	}
	if p.target == nil {
		p.target = small
	}
	if p.target == nil || len(p.target.groups) == 0 {
		return
	}
	last := p.target.groups[len(p.target.groups)-1]
	limit := p.rowGroupRows()
	if last.bytes() <= foldBytes && last.rows <= limit/2 && last.rows+int64(p.inserts.n) <= limit && last.removed() < last.rows {
		p.fold = last
	}
}

// gone reports whether no row of the file survives.
func (f *oldFile) gone() bool {
	for _, g := range f.groups {
		if g.removed() < g.rows {
			return false
		}
	}
	return len(f.groups) > 0
}

// keepColumns keeps files that lose all rows, with their schema alone, where no other file has one of their
// columns, or has it in their type, or takes NULL in it: the table would lose that with the file.
func (p *Prepared) keepColumns() {
	if p.inserts.n > 0 && p.target == nil {
		return // a new file has every column
	}
	var stay, gone []*oldFile
	for _, f := range p.old {
		if f.gone() {
			gone = append(gone, f)
		} else {
			stay = append(stay, f)
		}
	}
	if len(stay) == 0 {
		return // the file without rows that is written has every column
	}
	for _, f := range gone {
		for table := range f.nodes {
			f.shell = f.shell || !slices.ContainsFunc(stay, func(o *oldFile) bool { return o.stands(f, table) }) ||
				f.nullable(table) && !slices.ContainsFunc(stay, func(o *oldFile) bool { return o.nullable(table) })
		}
		if f.shell {
			stay = append(stay, f)
		}
	}
}

// stands reports whether the file has a column as another one has it, or in the table's type: types of several
// files together make the table's.
func (f *oldFile) stands(of *oldFile, table int) bool {
	if of.nodes[table] == nil || f.exact[table] || f.isWide(table) {
		return true
	}
	own, other := f.columnType(table), of.columnType(table)
	return own != nil && other != nil && arrow.TypeEqual(own, other)
}

// columnType is the type in which the file has a column; nil where it has none.
func (f *oldFile) columnType(table int) arrow.DataType {
	if f.nodes[table] == nil {
		return nil
	}
	field, err := shred.ArrowField(f.nodes[table])
	if err != nil {
		return nil
	}
	return field.Type
}

// nullable reports whether the file has a column and takes NULL in it.
func (f *oldFile) nullable(table int) bool {
	return f.isWide(table) || f.nodes[table] != nil && f.nodes[table].Repetition != format.Required
}

// complete reports whether the file takes any value of every column of the table.
func (f *oldFile) complete() bool { return !slices.Contains(f.exact, false) }

// written reports whether some row group changes.
func (f *oldFile) written() bool {
	if f.wide != nil {
		return true
	}
	for _, g := range f.groups {
		if g.touched() {
			return true
		}
	}
	return false
}

// rowGroupRows is the size of new row groups: what the old files cut at, where one was cut.
func (p *Prepared) rowGroupRows() int64 {
	if p.options.RowGroupRows > 0 {
		return p.options.RowGroupRows
	}
	rows := int64(0)
	for _, f := range p.old {
		for _, g := range f.groups {
			if len(f.groups) > 1 {
				rows = max(rows, g.rows)
			}
		}
	}
	if rows == 0 {
		return defaultRowGroupRows
	}
	return rows
}

func (p *Prepared) planFile(f *oldFile) (FilePlan, error) {
	plan := FilePlan{Name: f.Name, Route: Copy, Bytes: f.size}
	switch {
	case f.gone() && !f.shell:
		plan.Route = Drop
		return plan, nil
	case f != p.target && !f.written():
		plan.Route = Keep
		return plan, nil
	}
	if f == p.target {
		plan.Inserts = int64(p.inserts.n)
	}
	for _, g := range f.groups {
		group, err := p.planGroup(g)
		if err != nil {
			return plan, g.at(err)
		}
		plan.RowGroups = append(plan.RowGroups, group)
		if group.Route == Rewrite || group.Route == Patch && plan.Route == Copy {
			plan.Route = group.Route
		}
	}
	return plan, nil
}

// patchShare: of a chunk with an edit in more than one of so many rows all values are encoded. Pages with many edits cost as much
// either way, and the values of a patched chunk are gathered first.
const patchShare = 4

// whole says why a chunk that changes is encoded from all of its values; "": it is patched, where its pages allow it.
func (p *Prepared) whole(g *rowGroup, leaf *column.Leaf, table int) string {
	many := int64(len(g.editsOf(table)))*patchShare > g.rows
	bar := g.file.file.Unpatchable(g.ordinal, leaf.Index)
	switch {
	case p.options.Force == Rewrite:
		return "asked for"
	case g == p.fold:
		return "inserted rows join the row group"
	case g.file.isWide(table):
		return "the column's type changes"
	case bar != "":
		return bar
	case many && p.options.Force != Patch:
		return fmt.Sprintf("more than one row of %d changes", patchShare)
	}
	return ""
}

// unpatchable is whole, and looks at the pages too.
func (p *Prepared) unpatchable(g *rowGroup, leaf *column.Leaf, table int) (string, error) {
	if why := p.whole(g, leaf, table); why != "" {
		return why, nil
	}
	return g.file.file.Barred(g.ordinal, leaf.Index)
}

// editsOf are the edits that may change a column: updates, if one changes it, and deletes, which change all.
func (g *rowGroup) editsOf(table int) []edit {
	if table >= 0 && len(g.changed) > 0 && g.changed[table] {
		return g.edits
	}
	if g.removed() == 0 {
		return nil
	}
	out := make([]edit, 0, g.removed())
	for _, e := range g.edits {
		if e.source < 0 {
			out = append(out, e)
		}
	}
	return out
}

// touchedBytes is how much of a chunk the pages with one of the edits take: all of it where pages are not known.
func (g *rowGroup) touchedBytes(leaf *column.Leaf, edits []edit) int64 {
	index, err := g.file.file.PageIndex(g.ordinal, leaf.Index)
	if err != nil || index == nil {
		return g.chunk(leaf).CompressedSize
	}
	total := int64(0)
	for _, page := range index.Pages {
		n := sort.Search(len(edits), func(i int) bool { return int64(edits[i].row) >= page.FirstRow+page.Rows })
		if n > 0 {
			total += int64(page.Size)
		}
		edits = edits[n:]
	}
	return total
}

func (p *Prepared) planGroup(g *rowGroup) (RowGroupPlan, error) {
	plan := RowGroupPlan{Rows: g.rows, Deleted: g.removed()}
	for i, e := range g.edits {
		if e.source >= 0 && g.differs[i] {
			plan.Updated++
		}
	}
	switch {
	case g.removed() == g.rows:
		plan.Route = Drop
		return plan, nil
	case !g.touched() && g != p.fold && g.file.wide == nil:
		plan.Route, plan.Copied = Copy, g.bytes()
		return plan, nil
	}
	plan.Route, plan.Fold = Patch, g == p.fold
	columns := g.file.output(p.source.rows.target)
	for _, c := range columns {
		changes := p.encodes(g, c.table)
		if changes {
			plan.Changed = append(plan.Changed, c.node.Name)
		}
		if c.child < 0 {
			plan.encode(c.node.Name, 0, "the column is new in the file")
			continue
		}
		for _, leaf := range g.file.file.Schema().Root.Children[c.child].Leaves() {
			size := g.chunk(leaf).CompressedSize
			if !changes {
				plan.Copied += size
				continue
			}
			touched := size
			if p.options.Force != Rewrite && !g.file.isWide(c.table) {
				touched = g.touchedBytes(leaf, g.editsOf(c.table))
			}
			plan.Copied += size - touched
			why, err := p.unpatchable(g, leaf, c.table)
			if err != nil {
				return plan, err
			}
			if why != "" {
				plan.encode(c.node.Name, touched, why)
			} else {
				plan.Patched += touched
				if !slices.Contains(plan.Patches, c.node.Name) {
					plan.Patches = append(plan.Patches, c.node.Name)
				}
			}
		}
	}
	if len(plan.Changed) == len(columns) {
		plan.Changed = nil
	}
	return plan, nil
}

// encode notes a chunk that is encoded from all of its values.
func (g *RowGroupPlan) encode(column string, bytes int64, why string) {
	g.Route, g.Encoded = Rewrite, g.Encoded+bytes
	if !slices.Contains(g.Encodes, column) {
		g.Encodes = append(g.Encodes, column)
	}
	if !strings.Contains(g.Why, why) {
		g.Why = strings.TrimPrefix(g.Why+"; "+why, "; ")
	}
}

// encodes reports whether a top-level column of a touched row group is encoded anew: where rows go
// or come, all are; else those in which a value changes.
func (p *Prepared) encodes(g *rowGroup, table int) bool {
	if p.options.Force == Rewrite || g == p.fold || g.removed() > 0 || g.file.isWide(table) {
		return true
	}
	return table >= 0 && g.changed[table]
}

// tableColumn is the table column of a top-level column of the file; -1 where the table lacks it.
func (f *oldFile) tableColumn(child int) int {
	node := f.file.Schema().Root.Children[child]
	for i, n := range f.nodes {
		if n == node {
			return i
		}
	}
	return -1
}

// estimateInserts is the size of the rows to insert, uncompressed.
func (p *Prepared) estimateInserts() int64 {
	if p.inserts.n == 0 {
		return 0
	}
	return p.source.rows.bytes() * int64(p.inserts.n) / int64(p.source.rows.n)
}
