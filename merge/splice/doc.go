// Package splice reads and writes Parquet by its parts: row groups, column chunks, pages and the
// footer. It knows no keys and no rows to merge; it hands out columns page by page, and puts together
// files whose unchanged parts are copied as bytes.
//
// Reading starts with [Open], which reads and checks the footer, and goes on with [File.Pages], a
// forward reader of one column chunk that decodes whole pages into a [column.Column] and leaves out
// those that hold none of the wanted rows. [File.PageIndex] and the statistics of [File.RowGroup] tell
// which rows those may be; bounds of writers known to be wrong are left out.
//
// A file is not trusted. Whatever its bytes are, reading it ends in values or in an error that wraps
// [ErrCorrupt], [ErrEncrypted], [ErrUnsupported] or the storage's own; it does not panic, and it
// allocates in proportion to what it reads: for the footer and page indexes some hundred times their
// length at worst, for a page its declared length if the compressed bytes can hold so much (codec.go).
// Runs, dictionaries and deltas stand for more than their bytes: a page of more than 64 Mi slots, or of
// more than 1 GiB of values made from them, is refused, and so are chunks that share bytes. Checksums are
// verified where a file has them. What the format forbids is refused where other readers refuse it, or read it otherwise:
// fields of other types than parquet.thrift's (thriftshape.go), deltas and runs of shapes that no writer makes.
//
// The footer is kept as a tree of everything in it, known or not (thrift.go), so that it can be
// written again without loss.
package splice
