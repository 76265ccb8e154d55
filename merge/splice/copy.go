package splice

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/parquet-go/parquet-go/format"
)

// CopyRowGroup copies a whole row group as bytes, with its page indexes and bloom filters, and moves
// the offsets in its metadata. The schema of f must be the file's. f is read until this returns.
func (w *Writer) CopyRowGroup(f *File, rg int) error {
	group := f.RowGroup(rg)
	if err := w.BeginRowGroup(group.Rows); err != nil {
		return err
	}
	if err := w.checkSchema(f); err != nil {
		return w.fail(err)
	}
	chunks := make([]*tValue, len(w.schema.Leaves))
	moved := f.rowGroup(rg).clone()
	list := moved.list(1, compactStruct)
	for col := range chunks {
		chunks[col] = &list[col]
	}
	start := w.offset
	if err := w.copyChunks(f, rg, 0, chunks); err != nil {
		return err
	}
	if moved.field(5) != nil {
		moved.setInt(5, compactI64, start)
	}
	return w.addGroup(moved)
}

// CopyChunk copies a column chunk as bytes, as the next of the row group, with its page index and
// bloom filter.
func (w *Writer) CopyChunk(f *File, rg, col int) error {
	leaf, err := w.next(f.RowGroup(rg).Rows)
	if err != nil {
		return err
	}
	if source := f.Schema().Leaves[col]; !sameLeaf(leaf, source) {
		return w.fail(fmt.Errorf("copy of %q to the place of %q", source.Path, leaf.Path))
	}
	g := w.group
	chunk := f.rowGroup(rg).list(1, compactStruct)[col].clone()
	meta := chunk.field(3)
	uncompressed, compressed := meta.int(6, 0), meta.int(7, 0)
	if err := w.copyChunks(f, rg, col, []*tValue{&chunk}); err != nil {
		return err
	}
	g.chunks = append(g.chunks, chunk)
	g.origins = append(g.origins, origin{f, rg})
	g.uncompressed += uncompressed
	g.compressed += compressed
	return nil
}

// checkSchema reports whether chunks of f fit the file column by column.
func (w *Writer) checkSchema(f *File) error {
	ours, theirs := w.schema.Leaves, f.Schema().Leaves
	if len(ours) != len(theirs) {
		return fmt.Errorf("copy of a row group of %d columns into a file of %d", len(theirs), len(ours))
	}
	for i := range ours {
		if !sameLeaf(ours[i], theirs[i]) {
			return fmt.Errorf("copy of %q to the place of %q", theirs[i].Path, ours[i].Path)
		}
	}
	return nil
}

// extent is a range of bytes with the chunks in it.
type extent struct {
	from, to int64
	chunks   []int
}

// gapBytes is how far apart chunks may lie to be copied in one range: padding, and the dictionary
// headers that old writers did not count.
const gapBytes = 4 << 10

// copyChunks copies chunks of a row group from column first on, in as few ranges as their places
// allow, and moves their offsets.
func (w *Writer) copyChunks(f *File, rg, first int, chunks []*tValue) error {
	for _, r := range extents(f, rg, first, len(chunks)) {
		delta := w.offset - r.from
		if err := w.copyRange(f, r.from, r.to-r.from); err != nil {
			return err
		}
		for _, i := range r.chunks {
			if err := w.moveChunk(f, rg, first+i, chunks[i], delta, len(w.group.chunks)+i); err != nil {
				return w.fail(fmt.Errorf("%s: row group %d, column %q: %w", f.Name(), rg, f.Schema().Leaves[first+i].Path, err))
			}
		}
	}
	return nil
}

// extents puts the byte ranges of n chunks together.
func extents(f *File, rg, first, n int) []extent {
	columns := f.RowGroup(rg).Columns
	var list []extent
	for i := range n {
		c := columns[first+i]
		list = append(list, extent{c.Offset, c.Offset + c.CompressedSize, []int{i}})
	}
	slices.SortStableFunc(list, func(a, b extent) int { return cmp.Compare(a.from, b.from) })
	joined := list[:0]
	for _, e := range list {
		if k := len(joined); k > 0 && e.from-joined[k-1].to <= gapBytes {
			joined[k-1].to = max(joined[k-1].to, e.to)
			joined[k-1].chunks = append(joined[k-1].chunks, e.chunks...)
			continue
		}
		joined = append(joined, e)
	}
	return joined
}

func (w *Writer) copyRange(f *File, off, n int64) error {
	if err := w.out.CopyRange(f.r, off, n); err != nil {
		return w.fail(fmt.Errorf("copy %d bytes of %s: %w", n, f.Name(), err))
	}
	w.offset += n
	return nil
}

// moveChunk makes the metadata of a chunk true whose bytes now lie delta further on: chunk, a copy
// of the source's, becomes the one of column place.
func (w *Writer) moveChunk(f *File, rg, col int, chunk *tValue, delta int64, place int) error {
	meta := chunk.field(3)
	// Zero is how writers leave an offset out that is no first field: no page lies before the magic.
	move(chunk, 2, delta)
	for _, field := range []int16{9, 10, 11} {
		move(meta, field, delta)
	}
	source := &f.groups[rg].Columns[col]
	index, err := f.movedIndex(source, delta)
	if err != nil {
		return err
	}
	for _, field := range []int16{4, 5, 6, 7} {
		chunk.remove(field)
	}
	if foreignOrder(w, f) || w.foreignWriter(f) && !f.orders(f.schema.Leaves[col]) {
		dropBounds(meta)
		index.columnIndex = nil
	}
	if w.foreignWriter(f) {
		dropLegacyBounds(meta)
		// What the source's readers know to be counted without the dictionary's header.
		meta.setInt(7, compactI64, source.CompressedSize)
	}
	index.group, index.column = len(w.groups), place
	if index.offsetIndex != nil {
		w.indexes = append(w.indexes, index)
	}
	if off := meta.int(14, 0); off > 0 {
		length, err := f.bloomLength(meta)
		if err != nil {
			return err
		}
		w.group.blooms = append(w.group.blooms, bloomCopy{column: place, file: f, off: off, length: length})
	}
	return nil
}

func move(v *tValue, field int16, delta int64) {
	if at := v.int(field, 0); at > 0 {
		v.setInt(field, compactI64, at+delta)
	}
}

// writeBloom writes a Bloom filter behind its row group.
func (w *Writer) writeBloom(chunk *tValue, b bloomCopy) error {
	chunk.field(3).setInt(14, compactI64, w.offset)
	if b.fresh == nil {
		return w.copyRange(b.file, b.off, b.length)
	}
	encoded := b.fresh.append(nil)
	chunk.field(3).setInt(15, compactI32, int64(len(encoded)))
	return w.write(encoded)
}

// movedIndex reads the page index of a chunk, with the pages of the offset index delta further on.
func (f *File) movedIndex(c *Chunk, delta int64) (index chunkIndex, err error) {
	if !c.HasPageIndex {
		return index, nil
	}
	offsets, err := f.read(c.offsetIndex)
	if err != nil {
		return index, fmt.Errorf("offset index: %w", err)
	}
	tree, _, err := parseThrift(offsets)
	if err != nil {
		return index, fmt.Errorf("offset index: %w", err)
	}
	pages := tree.list(1, compactStruct)
	for i := range pages {
		pages[i].setInt(1, compactI64, pages[i].int(1, 0)+delta)
	}
	index.offsetIndex = tree.append(nil)
	if c.HasColumnIndex {
		if index.columnIndex, err = f.read(c.columnIndex); err != nil {
			return index, fmt.Errorf("column index: %w", err)
		}
	}
	return index, nil
}

// bloomHeaderBytes is more than the header of a bloom filter takes.
const bloomHeaderBytes = 256

// bloomLength is the length of a chunk's bloom filter with its header, which older writers do not
// state.
func (f *File) bloomLength(meta *tValue) (int64, error) {
	if length := meta.int(15, 0); length > 0 {
		return length, nil
	}
	off := meta.int(14, 0)
	head, err := f.read(section{off, min(bloomHeaderBytes, f.Size()-off)})
	if err != nil {
		return 0, err
	}
	header, n, err := parseThrift(head)
	if err != nil {
		return 0, fmt.Errorf("bloom filter: %w", err)
	}
	length := int64(n) + header.int(1, -1)
	if header.int(1, -1) < 0 || length > f.Size()-off {
		return 0, corruptf("bloom filter of %d bytes", header.int(1, -1))
	}
	return length, nil
}

// foreignOrder reports whether bounds of f's chunks would be read in this file by an order that f does
// not state.
func foreignOrder(w *Writer, f *File) bool {
	return f != w.o.Template && w.ordered && f.metadata().field(7) == nil
}

func dropBounds(meta *tValue) {
	if stats := meta.field(12); stats != nil {
		for _, field := range []int16{5, 6, 7, 8} {
			stats.remove(field)
		}
	}
}

// foreignWriter reports whether this file names another writer than f does.
func (w *Writer) foreignWriter(f *File) bool {
	ours, _ := w.footer.binary(6)
	return f != w.o.Template && ours != f.CreatedBy()
}

// dropLegacyBounds drops the deprecated min and max of types whose order writers disagreed on: what
// readers make of them hangs on created_by.
func dropLegacyBounds(meta *tValue) {
	switch format.Type(meta.int(1, -1)) {
	case format.ByteArray, format.FixedLenByteArray, format.Int96:
		if stats := meta.field(12); stats != nil {
			stats.remove(1)
			stats.remove(2)
		}
	}
}
