// Package shred turns Parquet's leaf columns into Arrow arrays and back: record assembly and record
// shredding as the Dremel paper describes them, for flat and nested fields, and the casts that bind a
// source's columns to a table's types.
//
// [ArrowSchema] and [ParquetSchema] map schemas; [Assemble] makes an array of a top-level field's
// leaf columns, [Shred] and [ShredRows] make leaf columns of an array, [Cast] brings an array to the
// type of the table's column. For every array x of the type that [ArrowSchema] gives,
// Shred(Assemble(Shred(x))) equals Shred(x): no value, null or empty list changes on the way.
//
// No conversion here loses anything silently: what can't be represented is an error that matches
// [ErrLossy] and names the first row, unless an option asks for the loss.
//
// Arrays and columns are built in memory of Go's garbage collector. They alias no page buffer and no
// foreign memory, so that pages may be reused and records released at once; a cast that has nothing to
// do gives the same array, retained.
package shred
