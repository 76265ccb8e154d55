package splice

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// version names the writer in the files it makes.
const version = "0.1.0"

// versionKey is the key-value metadata that names us in files that keep another created_by.
const versionKey = "hupsert.version"

const magic = "PAR1"

// Output is where a file goes: bytes in order, of which ranges may come from another file without
// passing through memory.
type Output interface {
	io.Writer
	// CopyRange appends n bytes of src from off. It fails if src has fewer.
	CopyRange(src io.ReaderAt, off, n int64) error
}

// WriterOptions describes the file to write. Either Template or Schema is needed.
type WriterOptions struct {
	Schema *column.Schema
	// Template is the file that is written anew in parts: its schema elements, key-value metadata,
	// column orders, created_by and whatever else its footer says of the whole file are kept as they
	// are. Readers switch quirks on created_by, and engines keep their own schema beside it.
	Template *File
	// Replace and Append change the template's schema: other nodes for top-level columns, by their
	// ordinal, and further ones behind them. DropKey says which metadata no longer holds then.
	Replace map[int]*column.Node
	Append  []*column.Node
	DropKey func(key string) bool

	KeyValues []KeyValue // added to the template's; replaces those of the same key
	CreatedBy string     // of a file without template; empty names us
	// NoPageIndex leaves out the page indexes of encoded chunks. Copied chunks keep theirs.
	NoPageIndex bool
}

// Summary is what a writer wrote.
type Summary struct {
	Rows      int64
	Bytes     int64
	RowGroups []int64 // rows of each
}

// Writer writes one Parquet file, row group by row group. Its methods are called by one goroutine;
// the first error ends the file, and every later call returns it. What was written before Close is no
// Parquet file.
type Writer struct {
	out     Output
	o       WriterOptions
	schema  *column.Schema
	ordered bool   // the file states column orders, without which min_value and max_value mean nothing
	footer  tValue // all but rows and row groups
	offset  int64
	groups  []tValue
	rows    []int64
	group   *openGroup
	indexes []chunkIndex
	err     error
}

// openGroup is the row group between BeginRowGroup and EndRowGroup.
type openGroup struct {
	rows                     int64
	start                    int64
	uncompressed, compressed int64
	chunks                   []tValue
	origins                  []origin
	blooms                   []bloomCopy
}

// origin is the row group that a chunk was copied from; the zero value of one that was encoded.
type origin struct {
	file *File
	rg   int
}

// chunkIndex is the page index of one chunk, written behind the last row group as parquet-mr does.
type chunkIndex struct {
	group, column            int
	columnIndex, offsetIndex []byte
}

// bloomCopy is a Bloom filter to write behind its row group: a file's, or an encoded chunk's.
type bloomCopy struct {
	column      int
	file        *File
	off, length int64
	fresh       *BloomFilter
}

// NewWriter starts a file.
func NewWriter(out Output, o WriterOptions) (*Writer, error) {
	w := &Writer{out: out, o: o, schema: o.Schema}
	if o.Template != nil {
		var err error
		if w.footer, err = templateFooter(o); err != nil {
			return nil, err
		}
		w.schema = o.Template.Schema()
		if o.reshapes() {
			if w.schema, err = readSchema(w.footer.list(2, compactStruct)); err != nil {
				return nil, err
			}
		}
	} else if o.Schema == nil {
		return nil, errors.New("write Parquet: neither a schema nor a template")
	} else {
		footer, err := newFooter(o)
		if err != nil {
			return nil, err
		}
		w.footer = footer
	}
	w.ordered = w.footer.field(7) != nil
	if err := w.write([]byte(magic)); err != nil {
		return nil, err
	}
	return w, nil
}

// Schema is the schema of the file.
func (w *Writer) Schema() *column.Schema { return w.schema }

// Offset is how many bytes have been written.
func (w *Writer) Offset() int64 { return w.offset }

// BeginRowGroup starts a row group of so many rows. Then each leaf gets one chunk, in the order of the
// schema, by CopyChunk or WriteChunk, and EndRowGroup ends it.
func (w *Writer) BeginRowGroup(rows int64) error {
	switch {
	case w.err != nil:
		return w.err
	case w.group != nil:
		return w.fail(errors.New("the row group before is not ended"))
	case rows <= 0:
		return w.fail(fmt.Errorf("a row group of %d rows", rows))
	}
	w.group = &openGroup{rows: rows, start: w.offset}
	return nil
}

// WriteChunk writes an encoded chunk as the next of the row group.
func (w *Writer) WriteChunk(c *EncodedChunk) error {
	if _, err := w.next(c.Rows); err != nil {
		return err
	}
	dictionary := w.offset
	if err := w.write(c.dict); err != nil {
		return err
	}
	data := w.offset
	if err := w.writeParts(c.parts); err != nil {
		return err
	}
	return w.endChunk(c, dictionary, data)
}

// endChunk adds a chunk whose dictionary page and data pages were written from these offsets on.
func (w *Writer) endChunk(c *EncodedChunk, dictionary, data int64) error {
	leaf, err := w.next(c.Rows)
	if err != nil {
		return err
	}
	if !sameLeaf(leaf, c.leaf) {
		return w.fail(fmt.Errorf("chunk of %q in the place of %q", c.leaf.Path, leaf.Path))
	}
	g := w.group
	if !w.o.NoPageIndex {
		w.addIndex(c, data)
	}
	if b := c.bloomFilter(); b != nil {
		g.blooms = append(g.blooms, bloomCopy{column: len(g.chunks), fresh: b})
	}
	g.chunks = append(g.chunks, c.chunk(dictionary, data, w.ordered))
	g.origins = append(g.origins, origin{})
	g.uncompressed += c.Uncompressed
	g.compressed += c.Bytes()
	return nil
}

// writeParts writes bytes, and copies ranges of files that follow each other as one.
func (w *Writer) writeParts(parts []part) error {
	for i := 0; i < len(parts); i++ {
		p := parts[i]
		if p.file == nil {
			if err := w.write(p.data); err != nil {
				return err
			}
			continue
		}
		for i+1 < len(parts) && parts[i+1].file == p.file && parts[i+1].off == p.off+p.n {
			i++
			p.n += parts[i].n
		}
		if err := w.copyRange(p.file, p.off, p.n); err != nil {
			return err
		}
	}
	return nil
}

// addIndex keeps the page index of the chunk that is about to be added.
func (w *Writer) addIndex(c *EncodedChunk, data int64) {
	index := chunkIndex{group: len(w.groups), column: len(w.group.chunks)}
	index.offsetIndex = appendOffsetIndex(nil, c.pages, data)
	if w.ordered && c.bounder.order != nil {
		if encoded, ok := appendColumnIndex(nil, &c.bounder, c.pages); ok {
			index.columnIndex = encoded
		}
	}
	w.indexes = append(w.indexes, index)
}

// next returns the leaf whose chunk comes now and checks that a chunk of so many rows may come.
func (w *Writer) next(rows int64) (*column.Leaf, error) {
	switch g := w.group; {
	case w.err != nil:
		return nil, w.err
	case g == nil:
		return nil, w.fail(errors.New("a chunk outside of a row group"))
	case len(g.chunks) == len(w.schema.Leaves):
		return nil, w.fail(errors.New("a chunk too many for the schema"))
	case rows != g.rows:
		return nil, w.fail(fmt.Errorf("column %q has %d rows in a row group of %d", w.schema.Leaves[len(g.chunks)].Path, rows, g.rows))
	}
	return w.schema.Leaves[len(w.group.chunks)], nil
}

// sameLeaf reports whether the bytes of a chunk of one leaf can stand as a chunk of the other.
func sameLeaf(a, b *column.Leaf) bool {
	return a == b || a.Type == b.Type && a.Width == b.Width && a.MaxDef == b.MaxDef && a.MaxRep == b.MaxRep &&
		(a.Annotation == b.Annotation || a.Type == format.Int96) && slices.Equal(a.Path, b.Path)
}

// EndRowGroup ends the row group.
func (w *Writer) EndRowGroup() error {
	g := w.group
	switch {
	case w.err != nil:
		return w.err
	case g == nil:
		return w.fail(errors.New("no row group to end"))
	case len(g.chunks) != len(w.schema.Leaves):
		return w.fail(fmt.Errorf("a row group of %d chunks for a schema of %d", len(g.chunks), len(w.schema.Leaves)))
	}
	group := newStruct()
	group.set(1, newList(compactStruct, g.chunks...))
	group.set(2, newInt(compactI64, g.uncompressed))
	group.set(3, newInt(compactI64, g.rows))
	if sorting := g.sorting(); sorting != nil {
		group.set(4, *sorting)
	}
	group.set(5, newInt(compactI64, g.start))
	group.set(6, newInt(compactI64, g.compressed))
	return w.addGroup(group)
}

// addGroup ends the open row group as group says.
func (w *Writer) addGroup(group tValue) error {
	g := w.group
	chunks := group.list(1, compactStruct)
	for _, b := range g.blooms {
		if err := w.writeBloom(&chunks[b.column], b); err != nil {
			return err
		}
	}
	// The ordinal has 16 bits; readers that need it are those of encrypted files.
	if len(w.groups) <= math.MaxInt16 {
		group.setInt(7, compactI16, int64(len(w.groups)))
	} else {
		group.remove(7)
	}
	w.groups = append(w.groups, group)
	w.rows = append(w.rows, g.rows)
	w.group = nil
	return nil
}

// sorting returns the sorting columns that still hold: those of the row group that all sorting
// columns were copied from, whatever became of the other columns.
func (g *openGroup) sorting() *tValue {
	for _, from := range g.origins {
		if from.file == nil {
			continue
		}
		sorting := from.file.rowGroup(from.rg).field(4)
		if sorting == nil {
			continue
		}
		holds := len(sorting.kids) > 0
		for i := range sorting.kids {
			at := sorting.kids[i].int(1, -1)
			holds = holds && at >= 0 && at < int64(len(g.origins)) && g.origins[at] == from
		}
		if holds {
			kept := sorting.clone()
			return &kept
		}
	}
	return nil
}

// Close writes page indexes and footer. The output is not closed.
func (w *Writer) Close() (Summary, error) {
	if w.err == nil && w.group != nil {
		return Summary{}, w.fail(errors.New("the last row group is not ended"))
	}
	if w.err != nil {
		return Summary{}, w.err
	}
	if err := w.writeIndexes(); err != nil {
		return Summary{}, err
	}
	if err := w.writeFooter(); err != nil {
		return Summary{}, err
	}
	s := Summary{Bytes: w.offset, RowGroups: w.rows}
	for _, rows := range w.rows {
		s.Rows += rows
	}
	w.err = errors.New("write Parquet: the file is closed")
	return s, nil
}

// writeIndexes writes all column indexes, then all offset indexes, and notes where in the chunks.
func (w *Writer) writeIndexes() error {
	slices.SortFunc(w.indexes, func(a, b chunkIndex) int {
		return cmp.Or(cmp.Compare(a.group, b.group), cmp.Compare(a.column, b.column))
	})
	for _, part := range []struct {
		offsetField, lengthField int16
		of                       func(*chunkIndex) []byte
	}{
		{6, 7, func(i *chunkIndex) []byte { return i.columnIndex }},
		{4, 5, func(i *chunkIndex) []byte { return i.offsetIndex }},
	} {
		for i := range w.indexes {
			index := &w.indexes[i]
			encoded := part.of(index)
			if encoded == nil {
				continue
			}
			chunk := &w.groups[index.group].list(1, compactStruct)[index.column]
			chunk.setInt(part.offsetField, compactI64, w.offset)
			chunk.setInt(part.lengthField, compactI32, int64(len(encoded)))
			if err := w.write(encoded); err != nil {
				return err
			}
		}
	}
	return nil
}

func (w *Writer) writeFooter() error {
	total := int64(0)
	for _, rows := range w.rows {
		total += rows
	}
	w.footer.setInt(3, compactI64, total)
	w.footer.set(4, newList(compactStruct, w.groups...))
	encoded := w.footer.append(nil)
	if len(encoded) > math.MaxInt32 {
		return w.fail(fmt.Errorf("a footer of %d bytes exceeds the format's limit", len(encoded)))
	}
	tail := appendUint32(encoded, uint32(len(encoded)))
	return w.write(append(tail, magic...))
}

func (w *Writer) write(p []byte) error {
	if len(p) == 0 {
		return nil
	}
	n, err := w.out.Write(p)
	w.offset += int64(n)
	if err == nil && n < len(p) {
		err = io.ErrShortWrite
	}
	if err != nil {
		return w.fail(err)
	}
	return nil
}

// fail makes err the writer's error.
func (w *Writer) fail(err error) error {
	w.err = fmt.Errorf("write Parquet: %w", err)
	return w.err
}

// chunk is the ColumnChunk of an encoded chunk whose pages lie at dictionary and data.
func (c *EncodedChunk) chunk(dictionary, data int64, ordered bool) tValue {
	meta := newStruct()
	meta.set(1, newInt(compactI32, int64(c.leaf.Type)))
	encodings := newList(compactI32)
	for _, e := range c.encodings() {
		encodings.kids = append(encodings.kids, newInt(compactI32, int64(e)))
	}
	meta.set(2, encodings)
	path := newList(compactBinary)
	for _, name := range c.leaf.Path {
		path.kids = append(path.kids, newBinary(name))
	}
	meta.set(3, path)
	meta.set(4, newInt(compactI32, int64(c.o.Codec)))
	meta.set(5, newInt(compactI64, c.Values))
	meta.set(6, newInt(compactI64, c.Uncompressed))
	meta.set(7, newInt(compactI64, c.Bytes()))
	meta.set(9, newInt(compactI64, data))
	if c.dict != nil {
		meta.set(11, newInt(compactI64, dictionary))
	}
	meta.set(12, c.statistics(ordered))
	stats := newList(compactStruct)
	for _, s := range c.encodingStats() {
		stats.kids = append(stats.kids, pageStats(s))
	}
	meta.set(13, stats)

	chunk := newStruct()
	// As parquet-mr does; the field has had many meanings and none.
	chunk.set(2, newInt(compactI64, data))
	chunk.set(3, meta)
	return chunk
}

func pageStats(s format.PageEncodingStats) tValue {
	v := newStruct()
	v.set(1, newInt(compactI32, int64(s.PageType)))
	v.set(2, newInt(compactI32, int64(s.Encoding)))
	v.set(3, newInt(compactI32, int64(s.Count)))
	return v
}

// statistics is the Statistics of the chunk: the null count always, bounds where the file states an
// order for them.
func (c *EncodedChunk) statistics(ordered bool) tValue {
	s := newStruct()
	s.set(3, newInt(compactI64, c.Nulls))
	total := c.total()
	if total.min == nil || !ordered {
		return s
	}
	high, highExact := truncateMax(c.leaf, total.max)
	low, lowExact := truncateMin(c.leaf, total.min)
	s.setBinary(5, string(high))
	s.setBinary(6, string(low))
	s.setBool(7, highExact && !total.looseMax)
	s.setBool(8, lowExact && !total.looseMin)
	return s
}
