// Package spill keeps rows on disk that do not fit into memory.
//
// A [Space] is one file without a name, to which blocks are appended; it is gone when it is closed, and
// when the process dies. [Space.Write] stores rows of some columns, [Rows] reads a column of them again
// when it is asked for, as [source.Columns] do. [Scatter] brings rows that come in one order into
// another: it sorts them into pieces on the way to the disk, and each piece when it is read.
//
// What is read is held against a checksum. Arrow's dictionaries, runs, views and extensions are stored as
// the values they stand for ([TypeOf]); every other value comes back as it was.
package spill
