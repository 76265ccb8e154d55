package splice

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"math"
	"slices"

	"github.com/parquet-go/parquet-go/format"

	"github.com/hupsert/hupsert/merge/column"
)

// File is a Parquet file that is read. Its methods may be called by several goroutines at once.
type File struct {
	r         io.ReaderAt
	size      int64
	name      string
	footer    tValue
	schema    *column.Schema
	rows      int64
	groups    []RowGroup
	keyValues []KeyValue
	createdBy string
	maker     maker
	tail      []byte // the end of the file: page indexes usually lie in it
}

// KeyValue is an entry of the file's key-value metadata.
type KeyValue struct {
	Key   string
	Value string
}

// RowGroup describes a row group.
type RowGroup struct {
	Rows    int64
	Bytes   int64 // compressed, all chunks
	Offset  int64 // of the first byte of its chunks; 0 without any
	Columns []Chunk
}

// Chunk describes a column chunk.
type Chunk struct {
	Codec            format.CompressionCodec
	NumValues        int64 // slots, those without value included
	Offset           int64 // of its first page, the dictionary page where it has one
	CompressedSize   int64 // bytes in the file, page headers included
	UncompressedSize int64
	Encodings        []format.Encoding
	Stats            *Stats // nil where there are none
	HasDictionary    bool   // some pages may use a dictionary
	HasPageIndex     bool   // pages can be found by their rows
	HasColumnIndex   bool   // and may have bounds
	BloomFilter      bool

	offsetIndex, columnIndex section
	bloomAt                  int64 // 0: not there
}

// section is a range of the file.
type section struct{ off, n int64 }

// Rows is a range of rows of a row group, [From, To).
type Rows struct{ From, To int64 }

const (
	// tailBytes are read at first: the footer and the page indexes of most files.
	tailBytes = 64 << 10
	// endBytes is the length of the footer and the magic.
	endBytes = 8
	// encryptedMagic ends files whose footer is encrypted.
	encryptedMagic = "PARE"
)

// Open reads and checks a file's footer: its schema, that its row groups have the schema's columns
// and rows, and that their chunks lie in the file. The reader is used until the file is given up. The
// name is for messages only.
func Open(r io.ReaderAt, size int64, name string) (f *File, err error) {
	defer func() {
		if err != nil {
			f, err = nil, fmt.Errorf("%s: %w", name, err)
		}
	}()
	defer guard(&err)
	f = &File{r: r, size: size, name: name}
	footer, err := f.readFooter()
	if err != nil {
		return nil, err
	}
	if f.footer, _, err = parseThrift(footer); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	if err := footerShape.check(&f.footer); err != nil {
		return nil, fmt.Errorf("footer: %w", err)
	}
	return f, f.readMetadata(size - endBytes - int64(len(footer)))
}

func (f *File) readFooter() ([]byte, error) {
	if f.size < int64(len(magic))+endBytes {
		return nil, corruptf("a file of %d bytes is no Parquet file", f.size)
	}
	tail, err := f.read(section{max(0, f.size-tailBytes), min(f.size, tailBytes)})
	if err != nil {
		return nil, err
	}
	end := tail[len(tail)-endBytes:]
	switch string(end[4:]) {
	case magic:
	case encryptedMagic:
		return nil, fmt.Errorf("%w: the footer is encrypted", ErrEncrypted)
	default:
		return nil, corruptf("no Parquet magic at the end")
	}
	n := int64(binary.LittleEndian.Uint32(end))
	if n > f.size-endBytes-int64(len(magic)) {
		return nil, corruptf("footer of %d bytes in a file of %d", n, f.size)
	}
	if n > int64(len(tail))-endBytes {
		return f.read(section{f.size - endBytes - n, n})
	}
	f.tail = tail
	return tail[int64(len(tail))-endBytes-n : len(tail)-endBytes], nil
}

// read returns a range of the file, which may be shared and must not be changed.
func (f *File) read(s section) ([]byte, error) {
	if s.off < 0 || s.n < 0 || s.off > f.size || s.n > f.size-s.off {
		return nil, corruptf("%d bytes at offset %d are outside of the file", s.n, s.off)
	}
	if start := f.size - int64(len(f.tail)); s.off >= start {
		return f.tail[s.off-start:][:s.n], nil
	}
	b := make([]byte, s.n)
	return b, readFull(f.r, b, s.off)
}

// readFull reads exactly len(b) bytes. A file that has become shorter ends in ErrUnexpectedEOF.
func readFull(r io.ReaderAt, b []byte, off int64) error {
	n, err := r.ReadAt(b, off)
	if n == len(b) {
		return nil
	}
	if err == nil || errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return fmt.Errorf("read %d bytes at offset %d: %w", len(b), off, err)
}

// readMetadata reads the footer's FileMetaData. Pages lie before end.
func (f *File) readMetadata(end int64) error {
	m := &f.footer
	if m.field(8) != nil {
		return fmt.Errorf("%w: some columns are encrypted", ErrEncrypted)
	}
	var err error
	if f.schema, err = readSchema(m.list(2, compactStruct)); err != nil {
		return err
	}
	f.createdBy, _ = m.binary(6)
	f.maker = parseMaker(f.createdBy)
	list := m.list(5, compactStruct)
	for i := range list {
		key, _ := list[i].binary(1)
		value, _ := list[i].binary(2)
		f.keyValues = append(f.keyValues, KeyValue{key, value})
	}
	if writesMicros(f.keyValues) {
		inMicros(f.schema.Root)
	}
	if m.field(4) == nil { // a default for one that damage has hidden would be a file without rows
		return corruptf("the footer lacks its row groups")
	}
	groups := m.list(4, compactStruct)
	f.groups = make([]RowGroup, len(groups))
	chunks := int64(0)
	for i := range groups {
		if err := f.readRowGroup(&f.groups[i], &groups[i], end); err != nil {
			return fmt.Errorf("row group %d: %w", i, err)
		}
		f.rows += f.groups[i].Rows
		chunks += f.groups[i].Bytes
	}
	// Chunks share no bytes: with that a file of many columns holds no more than its size allows.
	if chunks > f.size {
		return corruptf("column chunks of %d bytes in a file of %d", chunks, f.size)
	}
	// Some writers leave the total at 0.
	if rows := m.int(3, -1); rows != f.rows && rows != 0 {
		return corruptf("%d rows in the row groups, %d in the file", f.rows, rows)
	}
	f.mendChunkEnds(end)
	return nil
}

func (f *File) readRowGroup(g *RowGroup, t *tValue, end int64) error {
	columns := t.list(1, compactStruct)
	if len(columns) != len(f.schema.Leaves) {
		return corruptf("%d columns, %d in the schema", len(columns), len(f.schema.Leaves))
	}
	g.Rows = t.int(3, -1)
	// Rows of all row groups are counted in 64 bits, those of one in 56, so that no sum overflows.
	if g.Rows < 0 || g.Rows > math.MaxInt64>>8 || f.rows > math.MaxInt64>>8 {
		return corruptf("%d rows", g.Rows)
	}
	g.Offset = math.MaxInt64
	g.Columns = make([]Chunk, len(columns))
	for i := range columns {
		c, leaf := &g.Columns[i], f.schema.Leaves[i]
		if err := f.readChunk(c, &columns[i], leaf, g.Rows, end); err != nil {
			return fmt.Errorf("column %q: %w", leaf.Path, err)
		}
		g.Bytes += c.CompressedSize
		if c.CompressedSize > 0 {
			g.Offset = min(g.Offset, c.Offset)
		}
	}
	if g.Offset == math.MaxInt64 {
		g.Offset = 0
	}
	return nil
}

func (f *File) readChunk(c *Chunk, t *tValue, leaf *column.Leaf, rows, end int64) error {
	if t.field(8) != nil || t.field(9) != nil {
		return fmt.Errorf("%w: the column is encrypted", ErrEncrypted)
	}
	if path, ok := t.binary(1); ok && path != "" {
		return unsupportedf("the column lies in another file, %q", path)
	}
	m := t.field(3)
	if m == nil {
		return corruptf("no metadata")
	}
	if physical := format.Type(m.int(1, -1)); physical != leaf.Type {
		return corruptf("type %s, in the schema %s", physical, leaf.Type)
	}
	if !samePath(m.list(3, compactBinary), leaf.Path) {
		return corruptf("another path than in the schema")
	}
	c.Codec = format.CompressionCodec(m.int(4, -1))
	c.NumValues = m.int(5, -1)
	if c.NumValues < 0 || leaf.Flat() && c.NumValues != rows || c.NumValues < rows {
		return corruptf("%d values in %d rows", c.NumValues, rows)
	}
	c.UncompressedSize, c.CompressedSize = m.int(6, -1), m.int(7, -1)
	c.readEncodings(m)
	if err := c.place(m, end); err != nil {
		return err
	}
	c.readIndexes(t, m)
	c.Stats = f.readStats(m.field(12), leaf, c)
	return nil
}

func samePath(parts []tValue, path []string) bool {
	return slices.EqualFunc(parts, path, func(a tValue, b string) bool { return a.data == b })
}

func (c *Chunk) readEncodings(m *tValue) {
	list := m.list(2, compactI32)
	c.Encodings = make([]format.Encoding, len(list))
	for i := range list {
		c.Encodings[i] = format.Encoding(list[i].num)
	}
	c.HasDictionary = m.int(11, 0) > 0 ||
		slices.Contains(c.Encodings, format.PlainDictionary) || slices.Contains(c.Encodings, format.RLEDictionary)
}

// place finds the chunk's bytes. Where a writer has left the offset of the dictionary page out, or
// 0, the page lies where the data pages are said to start, or there is none.
func (c *Chunk) place(m *tValue, end int64) error {
	c.Offset = m.int(9, -1)
	if dict := m.int(11, 0); dict > 0 && dict < c.Offset {
		c.Offset = dict
	}
	if c.NumValues == 0 {
		c.Offset, c.CompressedSize = 0, 0 // writers put anything there
		return nil
	}
	if c.Offset < int64(len(magic)) || c.CompressedSize < 0 || c.Offset > end || c.CompressedSize > end-c.Offset {
		return corruptf("%d bytes at offset %d, pages end at %d", c.CompressedSize, c.Offset, end)
	}
	if c.UncompressedSize < 0 {
		return corruptf("uncompressed size of %d bytes", c.UncompressedSize)
	}
	return nil
}

func (c *Chunk) readIndexes(t, m *tValue) {
	c.offsetIndex = section{t.int(4, 0), t.int(5, 0)}
	c.columnIndex = section{t.int(6, 0), t.int(7, 0)}
	c.HasPageIndex = c.offsetIndex.off > 0 && c.offsetIndex.n > 0
	c.HasColumnIndex = c.HasPageIndex && c.columnIndex.off > 0 && c.columnIndex.n > 0
	c.bloomAt = m.int(14, 0)
	c.BloomFilter = c.bloomAt > 0
}

// dictionaryPadding is more than the header of a dictionary page takes.
const dictionaryPadding = 100

// mendChunkEnds moves the ends of chunks of writers that did not count the dictionary page's header
// (PARQUET-816) to the start of what follows.
func (f *File) mendChunkEnds(end int64) {
	if !f.maker.miscountsDictionary() {
		return
	}
	starts := []int64{end}
	for _, g := range f.groups {
		for i := range g.Columns {
			c := &g.Columns[i]
			if c.CompressedSize > 0 {
				starts = append(starts, c.Offset)
			}
			// Bloom filters and indexes may follow a row group, ours do.
			for _, at := range []int64{c.bloomAt, c.offsetIndex.off, c.columnIndex.off} {
				if at > 0 {
					starts = append(starts, at)
				}
			}
		}
	}
	slices.Sort(starts)
	for g := range f.groups {
		for i := range f.groups[g].Columns {
			c := &f.groups[g].Columns[i]
			at, _ := slices.BinarySearch(starts, c.Offset+1)
			short := min(starts[min(at, len(starts)-1)], end) - c.Offset - c.CompressedSize
			if c.CompressedSize > 0 && short > 0 {
				c.CompressedSize += min(short, dictionaryPadding)
				f.groups[g].Bytes += min(short, dictionaryPadding)
			}
		}
	}
}

// Name is the name that the file was opened with.
func (f *File) Name() string { return f.name }

// Size is the file's length in bytes.
func (f *File) Size() int64 { return f.size }

// Schema is the file's schema. It must not be changed.
func (f *File) Schema() *column.Schema { return f.schema }

// NumRows is the number of rows in all row groups.
func (f *File) NumRows() int64 { return f.rows }

// NumRowGroups is the number of row groups.
func (f *File) NumRowGroups() int { return len(f.groups) }

// RowGroup describes a row group.
func (f *File) RowGroup(i int) RowGroup { return f.groups[i] }

// CreatedBy names the program that wrote the file; empty where the file does not.
func (f *File) CreatedBy() string { return f.createdBy }

// KeyValue lists the key-value metadata in the file's order. A key may stand twice.
func (f *File) KeyValue() []KeyValue { return f.keyValues }

// metadata is the footer. It must not be changed.
func (f *File) metadata() *tValue { return &f.footer }

// rowGroup is a row group's part of the footer. It must not be changed.
func (f *File) rowGroup(i int) *tValue { return &f.footer.list(4, compactStruct)[i] }
