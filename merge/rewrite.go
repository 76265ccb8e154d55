package merge

import (
	"bytes"
	"context"
	"errors"
	"io"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// chunk names a leaf of a file and the table column it belongs to.
type chunk struct {
	leaf    *column.Leaf
	ordinal int // among the leaves of node
	node    *column.Node
	table   int // -1: the table has no such column
}

// change patches a column chunk, or encodes it anew.
func (w *writer) change(ctx context.Context, g *rowGroup, c chunk, fold runs) (made madeChunk, err error) {
	switch made.patched, err = w.patch(ctx, g, c); {
	case made.patched != nil:
	case errors.Is(err, splice.ErrUnpatched):
		w.unpatched(g, c, splice.ErrUnpatched.Error())
		made.encoded, err = w.rewritePages(ctx, g, c, fold, nil, false)
	case err == nil:
		made.encoded, err = w.rewrite(ctx, g, c, fold)
	}
	return made, err
}

// rewrite encodes a column chunk anew: pages with an edit are decoded and take it in, the others are
// taken over as they stand where that is possible; fold rows follow.
func (w *writer) rewrite(ctx context.Context, g *rowGroup, c chunk, fold runs) (*splice.EncodedChunk, error) {
	if w.options.Force != Rewrite {
		stored, err := g.file.file.StoredPages(g.ordinal, c.leaf.Index)
		if err != nil {
			return nil, err
		}
		chunk, err := w.rewritePages(ctx, g, c, fold, stored, true)
		if !errors.Is(err, splice.ErrLeftDictionary) {
			return chunk, err
		}
	}
	return w.rewritePages(ctx, g, c, fold, nil, true)
}

// rewritePages takes over the stored pages without an edit, if there are any, and encodes the others. With seed the dictionary is the old
// one with more entries.
func (w *writer) rewritePages(ctx context.Context, g *rowGroup, c chunk, fold runs, stored []splice.StoredPage, seed bool) (*splice.EncodedChunk, error) {
	file := g.file.file
	// What no edit changes is not asked for: a value for another file need not fit this one's form.
	e := editor{writer: w, group: g, chunk: c, edits: g.edits, update: c.table >= 0 && len(g.changed) > 0 && g.changed[c.table]}
	if c.table >= 0 {
		e.forms = w.source.rows.cursor(c.table, c.node, g.file.forms[c.table])
		defer e.forms.close()
	}
	touched, rows := e.touched(stored)
	pages := file.Pages(g.ordinal, c.leaf.Index, rows)
	defer pages.Close()
	// The chunk's own codec, pages and dictionary, to which entries are only added: the indices of
	// unchanged values then go through as they are.
	o, err := splice.ChunkOptionsOf(file, g.ordinal, c.leaf.Index)
	if err != nil {
		return nil, err
	}
	if seed {
		if o.Seed, err = pages.Dictionary(); err != nil {
			return nil, err
		}
		o.Dictionary = o.Dictionary || o.Seed != nil // the footer need not tell
	}
	e.seeded = o.Seed != nil
	// A damaged filter is not written again; it is nil then.
	if o.Bloom, err = file.BloomFilter(g.ordinal, c.leaf.Index); err != nil && !errors.Is(err, splice.ErrCorrupt) {
		return nil, err
	}
	enc := splice.NewChunkEncoder(c.leaf, o)
	asTheyStand := file.Pages(g.ordinal, c.leaf.Index, nil)
	defer asTheyStand.Close()
	for i := range touched {
		if !touched[i] {
			if err = asTheyStand.CheckStored(&stored[i]); err == nil {
				err = enc.AppendStored(file, stored[i:i+1])
			}
		} else {
			err = e.next(ctx, enc, pages)
		}
		if err != nil {
			return nil, err
		}
	}
	for len(touched) == 0 {
		if err := e.next(ctx, enc, pages); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return nil, err
		}
	}
	if err := w.gather(ctx, enc, c, fold); err != nil {
		return nil, err
	}
	return finish(ctx, enc)
}

// finish ends an encoder and checks that what it encoded decodes to what went in.
func finish(ctx context.Context, enc *splice.ChunkEncoder) (*splice.EncodedChunk, error) {
	c, err := enc.Finish()
	if err != nil {
		return nil, err
	}
	if err := c.Verify(ctx); err != nil && ctx.Err() != nil {
		return nil, ctx.Err()
	} else if err != nil {
		return nil, &Error{Kind: ErrVerify, Err: err, Message: "an encoded chunk does not decode to what went in"}
	}
	return c, nil
}

// editor puts a row group's edits into one column, page by page.
type editor struct {
	*writer
	group  *rowGroup
	chunk  chunk
	edits  []edit
	update bool // updates change this column; deletes change every column
	starts []uint32
	forms  *formCursor
	old    column.Column
	seeded bool // the old chunk has a dictionary
}

// hasValue reports whether some slot has a value.
func hasValue(c *column.Column) bool {
	if c.Def == nil {
		return c.Slots > 0
	}
	return bytes.IndexByte(c.Def[:c.Slots], c.MaxDef) >= 0
}

// touched marks the pages in which a row goes or may change, and lists their rows; without pages all rows
// are listed, as nil.
func (e *editor) touched(pages []splice.StoredPage) (touched []bool, rows []splice.Rows) {
	if len(pages) == 0 {
		return nil, nil
	}
	touched, rows = make([]bool, len(pages)), []splice.Rows{}
	at := 0
	for _, edit := range e.edits {
		if edit.source >= 0 && !e.update {
			continue
		}
		for pages[at].FirstRow+pages[at].Rows <= int64(edit.row) {
			at++
		}
		if !touched[at] {
			touched[at] = true
			rows = append(rows, splice.Rows{From: pages[at].FirstRow, To: pages[at].FirstRow + pages[at].Rows})
		}
	}
	return touched, rows
}

// next decodes a page, edits and encodes it; io.EOF after the last.
func (e *editor) next(ctx context.Context, enc *splice.ChunkEncoder, pages *splice.PageReader) error {
	first, n, err := pages.Next(ctx, &e.old)
	if err != nil {
		return err
	}
	if e.old.Dict == nil && e.seeded && hasValue(&e.old) {
		enc.LeaveDictionary()
	}
	return e.page(ctx, enc, &e.old, first, n)
}

func (e *editor) page(ctx context.Context, enc *splice.ChunkEncoder, page *column.Column, first int64, n int) error {
	flat := e.chunk.leaf.Flat()
	if !flat {
		e.starts = rowStarts(page, e.starts)
	}
	slot := func(row int64) int {
		if flat {
			return int(row)
		}
		return int(e.starts[row])
	}
	nan := column.IsNaN(e.chunk.leaf)
	done := int64(0) // rows of the page that are written
	for len(e.edits) > 0 && int64(e.edits[0].row) < first+int64(n) {
		edit := e.edits[0]
		e.edits = e.edits[1:]
		at := int64(edit.row) - first
		if edit.source >= 0 && !e.update {
			continue
		}
		from, to := slot(at), slot(at+1)
		var f *form
		var row int
		if edit.source >= 0 {
			var err error
			if f, row, err = e.forms.find(ctx, int(edit.source)); err != nil {
				return err
			}
			sf, st := f.span(e.chunk.ordinal, row)
			keep := e.binding.keepNull[e.chunk.table] && f.null(row)
			// What equals keeps its own bytes: a NaN its bits, an index its entry.
			if keep || equalSpans(page, from, to, f.leaves[e.chunk.ordinal], sf, st, nan) {
				continue
			}
		}
		if err := enc.Append(page, slot(done), from); err != nil {
			return err
		}
		done = at + 1
		if f != nil {
			sf, st := f.span(e.chunk.ordinal, row)
			if err := enc.AppendNew(f.leaves[e.chunk.ordinal], sf, st); err != nil {
				return err
			}
		}
	}
	return enc.Append(page, slot(done), slot(int64(n)))
}
