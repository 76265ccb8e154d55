package splice

import (
	"encoding/binary"

	"github.com/parquet-go/parquet-go/format"
)

// Types of the Thrift compact protocol, as the headers and indexes written here use them.
const (
	compactTrue   = 1
	compactFalse  = 2
	compactI8     = 3
	compactI32    = 5
	compactI64    = 6
	compactBinary = 8
	compactList   = 9
	compactStruct = 12
)

// compactWriter appends Thrift structs in the compact protocol. It serves the structs that are
// written once per page and hold nothing that was read: page headers and page indexes.
type compactWriter struct {
	buf  []byte
	last []int16 // the last field id of each open struct
}

// begin opens a struct as a list's element or at the top.
func (w *compactWriter) begin() { w.last = append(w.last, 0) }

// open opens a struct as a field.
func (w *compactWriter) open(id int16) {
	w.field(id, compactStruct)
	w.begin()
}

func (w *compactWriter) end() {
	w.buf = append(w.buf, 0)
	w.last = w.last[:len(w.last)-1]
}

// field appends a field's header. Ids of a struct rise.
func (w *compactWriter) field(id int16, kind byte) {
	top := &w.last[len(w.last)-1]
	if delta := id - *top; delta <= 15 {
		w.buf = append(w.buf, byte(delta)<<4|kind)
	} else {
		w.buf = binary.AppendVarint(append(w.buf, kind), int64(id))
	}
	*top = id
}

func (w *compactWriter) int32(id int16, v int32) {
	w.field(id, compactI32)
	w.buf = binary.AppendVarint(w.buf, int64(v))
}

func (w *compactWriter) int64(id int16, v int64) {
	w.field(id, compactI64)
	w.buf = binary.AppendVarint(w.buf, v)
}

func (w *compactWriter) bool(id int16, v bool) {
	if v {
		w.field(id, compactTrue)
	} else {
		w.field(id, compactFalse)
	}
}

func (w *compactWriter) list(id int16, kind byte, n int) {
	w.field(id, compactList)
	if n < 15 {
		w.buf = append(w.buf, byte(n)<<4|kind)
		return
	}
	w.buf = append(w.buf, 0xF0|kind)
	w.buf = binary.AppendUvarint(w.buf, uint64(n))
}

func (w *compactWriter) bytes(v []byte) {
	w.buf = binary.AppendUvarint(w.buf, uint64(len(v)))
	w.buf = append(w.buf, v...)
}

// pageSizes are the first fields of every page header.
type pageSizes struct {
	kind         format.PageType
	uncompressed int
	compressed   int
	crc          uint32
	hasCRC       bool
}

func (w *compactWriter) pageSizes(p pageSizes) {
	w.begin()
	w.int32(1, int32(p.kind))
	w.int32(2, int32(p.uncompressed))
	w.int32(3, int32(p.compressed))
	if p.hasCRC {
		w.int32(4, int32(p.crc))
	}
}

// dictionaryHeader writes the header of a dictionary page. is_sorted is left out: values stand in
// the order in which they came.
func (w *compactWriter) dictionaryHeader(p pageSizes, values int, encoding format.Encoding) {
	w.pageSizes(p)
	w.open(7)
	w.int32(1, int32(values))
	w.int32(2, int32(encoding))
	w.end()
	w.end()
}

func (w *compactWriter) dataHeaderV1(p pageSizes, values int, encoding format.Encoding) {
	w.pageSizes(p)
	w.open(5)
	w.int32(1, int32(values))
	w.int32(2, int32(encoding))
	w.int32(3, int32(format.RLE))
	w.int32(4, int32(format.RLE))
	w.end()
	w.end()
}

// levelsV2 is what a data page V2 says of itself beyond what V1 says.
type levelsV2 struct {
	nulls, rows        int
	defBytes, repBytes int
	compressed         bool
}

func (w *compactWriter) dataHeaderV2(p pageSizes, values int, encoding format.Encoding, l levelsV2) {
	w.pageSizes(p)
	w.open(8)
	w.int32(1, int32(values))
	w.int32(2, int32(l.nulls))
	w.int32(3, int32(l.rows))
	w.int32(4, int32(encoding))
	w.int32(5, int32(l.defBytes))
	w.int32(6, int32(l.repBytes))
	w.bool(7, l.compressed)
	w.end()
	w.end()
}

func (w *compactWriter) int8(id int16, v int8) {
	w.field(id, compactI8)
	w.buf = append(w.buf, byte(v))
}

func (w *compactWriter) string(id int16, v string) {
	w.field(id, compactBinary)
	w.buf = binary.AppendUvarint(w.buf, uint64(len(v)))
	w.buf = append(w.buf, v...)
}
