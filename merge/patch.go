package merge

import (
	"context"
	"slices"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// unitBytes is about how much of a chunk, before compression, one worker patches at a time.
const unitBytes = 512 << 10

// patchedChunk is a chunk of which pages are patched.
type patchedChunk struct {
	*splice.Patch
	units []*unit
}

// unit is some pages of a chunk that one worker patches.
type unit struct {
	pages []int
	done  chan struct{}
	out   *splice.PatchedPages
	err   error
}

// patch opens a chunk for patching; nil where it is to be encoded from its values. Where that was not planned, the plan says so then.
func (w *writer) patch(ctx context.Context, g *rowGroup, c chunk) (*patchedChunk, error) {
	if w.whole(g, c.leaf, c.table) != "" {
		return nil, nil
	}
	p, why, err := g.file.file.Patch(g.ordinal, c.leaf.Index)
	if err != nil {
		return nil, err
	}
	if p == nil {
		w.unpatched(g, c, why)
		return nil, nil
	}
	values, pages, err := w.pageEdits(ctx, g, c, p.Pages(), g.editsOf(c.table))
	if err != nil {
		return nil, err
	}
	if values == nil {
		w.unpatched(g, c, "its new values are too large to be patched in")
		return nil, nil
	}
	if err := p.Enter(ctx, values, pages); err != nil {
		return nil, err
	}
	return &patchedChunk{p, units(p.Pages(), pages)}, nil
}

// unpatched notes in the plan that a chunk was to be patched, and is encoded from its values.
func (w *writer) unpatched(g *rowGroup, c chunk, why string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	plan := &w.plans[slices.Index(w.old, g.file)]
	group := &plan.RowGroups[g.ordinal]
	at := slices.Index(group.Patches, c.node.Name)
	if at < 0 {
		return // planned so
	}
	group.Patches = slices.Delete(group.Patches, at, at+1)
	touched := g.touchedBytes(c.leaf, g.editsOf(c.table))
	group.Patched -= touched
	group.encode(c.node.Name, touched, why)
	plan.Route = Rewrite
}

// mostPatchBytes is how large the new values of a chunk that is patched may be, since they are gathered first.
const mostPatchBytes = 256 << 20

// pageEdits gives each page its edits, and the values of the source that they name; nil where these are too large.
func (w *writer) pageEdits(ctx context.Context, g *rowGroup, c chunk, pages []splice.StoredPage, edits []edit) (*column.Column, [][]splice.PageEdit, error) {
	values := &column.Column{}
	values.Reset(c.leaf)
	var forms *formCursor
	if c.table >= 0 {
		// What no edit changes is not asked for: a value for another file need not fit this one's form.
		forms = w.source.rows.cursor(c.table, c.node, g.file.forms[c.table])
		defer forms.close()
	}
	out, list := make([][]splice.PageEdit, len(pages)), make([]splice.PageEdit, 0, len(edits))
	at, from := 0, 0
	for _, e := range edits {
		for pages[at].FirstRow+pages[at].Rows <= int64(e.row) {
			out[at], from = list[from:len(list):len(list)], len(list)
			at++
		}
		edit := splice.PageEdit{Row: int32(int64(e.row) - pages[at].FirstRow), Slot: -1}
		if e.source >= 0 {
			f, row, err := forms.find(ctx, int(e.source))
			if err != nil {
				return nil, nil, err
			}
			if w.binding.keepNull[c.table] && f.null(row) {
				continue
			}
			edit.Slot = int32(values.Slots)
			slot, _ := f.span(c.ordinal, row)
			values.Append(c.leaf, f.leaves[c.ordinal], slot, slot+1)
			values.Plain() // a dictionary is its batch's
			if len(values.Values.Data) > mostPatchBytes {
				return nil, nil, nil
			}
		}
		list = append(list, edit)
	}
	if from < len(list) {
		out[at] = list[from:]
	}
	return values, out, nil
}

// units divides the pages with an edit.
func units(pages []splice.StoredPage, edits [][]splice.PageEdit) []*unit {
	var out []*unit
	size := 0
	for i := range pages {
		if len(edits[i]) == 0 {
			continue
		}
		if len(out) == 0 || size >= unitBytes {
			out, size = append(out, &unit{done: make(chan struct{})}), 0
		}
		last := out[len(out)-1]
		last.pages = append(last.pages, i)
		size += pages[i].PlainBytes()
	}
	return out
}
