// Package source reads the rows of a merge from Parquet, CSV, NDJSON and Arrow IPC as Arrow records.
//
// [Open] gives a [Reader]; its records have the source's own columns, under the source's spelling of
// their names. Text has no types, so that CSV and NDJSON columns take theirs from the table's schema;
// Parquet and Arrow columns keep their own, and whoever binds them to the table casts them. Columns
// that the source lacks are absent, columns that the table lacks are there: what that means is not
// decided here.
//
// A value is never guessed, trimmed or cut. Text that is no value of its column's type is an [Error]
// that names the line and the column, or is handed to [Options.Rejects] while the other rows go on.
//
//	CSV      RFC 4180 with a header line, or as [CSVOptions] say: comma, double quotes, newlines inside
//	         quotes, with or without byte order mark and carriage returns. An empty field is NULL, "" in
//	         quotes the empty text. Blank lines are skipped.
//	NDJSON   one object a line. A field that is null, or absent though other rows have it, is NULL.
//	         Columns are those that occur in the first batch. Numbers and bools are JSON's own, or text
//	         as in CSV; nested columns are objects and arrays; maps are objects or arrays of key and
//	         value objects.
//	Both     compressed by gzip or Zstandard or not; texts as [shred.NewParser] describes them, binary columns base64.
//	Arrow    the IPC file and stream formats, told apart by their first bytes. Their metadata is taken
//	         as it is by Arrow's module, which a damaged one can make use much memory. A stream must
//	         have its end-of-stream marker. Buffers may be compressed; decimals of 32 and 64 bits are not read.
//	Parquet  every encoding that [splice] reads; row groups in batches, two columns at a time.
package source
