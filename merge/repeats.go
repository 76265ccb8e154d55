package merge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"slices"
	"strings"
)

// repeatBytes is about what a key takes while repeats are looked for.
const repeatBytes = 48

// refuseRepeats stops where a key of rows that the source lacks stands twice in the old files: those that the source
// has are refused when they are matched. The keys' digests are held; where they do not fit into memory, the rows are
// gone through several times, for a share of the digests each.
func (p *Prepared) refuseRepeats(ctx context.Context) error {
	rows := int64(0)
	for _, g := range p.groups() {
		rows += g.deletes
	}
	shares := 1
	if p.options.Spill != nil {
		shares = int(min(256, 1+rows*repeatBytes/max(1, p.options.Memory/4)))
	}
	found := Changes{prepared: p}
	for share := range shares {
		seen := map[[sha256.Size]byte]bool{}
		for _, g := range p.groups() {
			err := p.eachDeleted(ctx, g, func(row uint32, key []byte) {
				digest := sha256.Sum256(key)
				if int(digest[0])*shares/256 != share {
					return
				}
				if seen[digest] {
					found.list = append(found.list, change{group: g, row: row, source: -1})
				}
				seen[digest] = true
			})
			if err != nil {
				return g.at(g.file.wrap(err))
			}
		}
	}
	if len(found.list) == 0 {
		return nil
	}
	// Each share went through all files; values are read forward.
	at := map[*rowGroup]int{}
	for i, g := range p.groups() {
		at[g] = i
	}
	slices.SortFunc(found.list, func(a, b change) int {
		return cmp.Or(cmp.Compare(at[a.group], at[b.group]), cmp.Compare(a.row, b.row))
	})
	return p.repeatError(ctx, &found)
}

// repeatError names the first keys that stand twice.
func (p *Prepared) repeatError(ctx context.Context, found *Changes) error {
	n := len(found.list)
	shown := &Changes{prepared: p, list: found.list[:min(n, 3)]}
	tables := p.source.keyTables()
	columns, err := shown.Columns(ctx, tables)
	if err != nil {
		return err
	}
	sample := make([]string, len(shown.list))
	for i, one := range shown.list {
		var parts []string
		for k, table := range tables {
			value := "NULL"
			if !columns[k].Values.IsNull(i) {
				value = columns[k].Values.ValueStr(i)
			}
			parts = append(parts, p.task.Schema.Field(table).Name+"="+value)
		}
		sample[i] = fmt.Sprintf("%s (again in %s, row %d)", strings.Join(parts, ", "), one.group, one.row)
	}
	return &Error{Kind: ErrDuplicateKey, File: shown.list[0].group.file.Name, Column: strings.Join(p.options.Key, ","),
		Message: fmt.Sprintf("%s a key: %s", plural(n, "row of the partition repeats", "rows of the partition repeat"), strings.Join(sample, "; ")),
		Hint:    "name the columns that tell rows apart with --key"}
}

// eachDeleted gives the keys of the rows of a row group that go.
func (p *Prepared) eachDeleted(ctx context.Context, g *rowGroup, take func(row uint32, key []byte)) error {
	var gone []edit
	for _, e := range g.edits {
		if e.source < 0 {
			gone = append(gone, e)
		}
	}
	if len(gone) == 0 {
		return nil
	}
	ranges := rowRanges(len(gone), func(i int) uint32 { return gone[i].row })
	s, read := g.oldKeys(&p.source.layout, ranges), int64(0)
	defer s.close(&read)
	for _, r := range ranges {
		for row := r.From; row < r.To; {
			n, err := s.read(ctx, row, min(int64(probeRows), r.To-row))
			if err != nil {
				return err
			}
			for i := range n {
				take(uint32(row+i), s.keys.at(int(i)))
			}
			row += n
		}
	}
	return ctx.Err()
}
