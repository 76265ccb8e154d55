package partition

import (
	"io"

	"github.com/apache/arrow/go/v17/arrow/array"
)

// Source is the rows to merge: files, or Arrow batches of the caller ([Records]).
type Source struct {
	// From names files, directories (read whole, hidden files left out), globs ("in/**/*.parquet") and
	// "-" for Stdin, in order: where versions tie, later ones win. Directories named "col=value" on
	// the way to a file give its rows that column, where the table is partitioned by it.
	From []string
	// Format is parquet, csv, ndjson or arrow; "": by each file's name.
	Format string
	// Stdin is what "-" reads; nil: "-" is an error.
	Stdin io.Reader

	records array.RecordReader
}

// Records makes a source of a caller's Arrow batches. The run reads them once and keeps those it
// needs until its end; it does not release the reader.
func Records(r array.RecordReader) Source { return Source{records: r} }
