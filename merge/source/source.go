package source

import (
	"context"
	"fmt"
	"io"
	"path"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

// Format is the form of an input.
type Format string

// The formats.
const (
	Parquet Format = "parquet"
	CSV     Format = "csv"
	NDJSON  Format = "ndjson"
	Arrow   Format = "arrow"
)

var extensions = map[string]Format{
	".parquet": Parquet, ".parq": Parquet, ".pq": Parquet,
	".csv": CSV, ".tsv": CSV,
	".ndjson": NDJSON, ".jsonl": NDJSON,
	".arrow": Arrow, ".arrows": Arrow, ".feather": Arrow, ".ipc": Arrow,
}

// FormatOf tells a format by a file name's extension; false if that says nothing. Of text .gz and .zst may
// follow.
func FormatOf(name string) (Format, bool) {
	name = strings.ToLower(name)
	plain := plainName(name)
	f, ok := extensions[path.Ext(plain)]
	if plain != name && f != CSV && f != NDJSON {
		return "", false
	}
	return f, ok
}

// plainName is a file's name, in lower case, without what says how it is compressed.
func plainName(name string) string {
	name = strings.ToLower(name)
	for _, ext := range []string{".gz", ".gzip", ".zst", ".zstd"} {
		name = strings.TrimSuffix(name, ext)
	}
	return name
}

// ReadCloserAt is an open input. Its ReadAt may be called by several goroutines at once.
type ReadCloserAt interface {
	io.ReaderAt
	io.Closer
}

// Input is one file or stream of rows.
type Input struct {
	Name   string // for messages
	Format Format
	// Size and Open give a file. Open's result is closed with the reader.
	Size int64
	Open func(ctx context.Context) (ReadCloserAt, error)
	// Stdin is a stream, read instead of a file where Open is nil, and never closed. Parquet and
	// Arrow's file format are read by range and can't be streams.
	Stdin io.Reader
}

// Options of a reader. The zero value reads everything and stops at the first row that does not parse.
type Options struct {
	BatchRows int // rows of a record at most; 0 means 65536
	// Rejects is given each row that does not parse, and reading goes on unless it returns an error.
	// Nil makes the first such row an error.
	Rejects func(Reject) error
	// Columns are the names to read, ignoring case; those that the source lacks are passed over. Nil
	// reads all.
	Columns []string
	// KeepDictionary gives flat string and binary columns of Parquet as Arrow dictionaries where all of a
	// batch is dictionary-encoded.
	KeepDictionary bool
	// SourceTimezone is where timestamps without a zone are local to, when text meets a column of
	// instants; and what instants are shown in, when it meets a column of local times. Nil is an error then.
	SourceTimezone *time.Location
	// TruncateTimestamps lets text have more digits of a second than the column's unit.
	TruncateTimestamps bool
	// CSV is how CSV is written; the zero value is as RFC 4180 says.
	CSV CSVOptions
}

const defaultBatchRows = 65536

func (o *Options) setDefaults() {
	if o.BatchRows <= 0 {
		o.BatchRows = defaultBatchRows
	}
}

// MetaUntyped marks the fields of CSV and NDJSON columns that the table's schema lacks: they are given
// as text, since nothing says what type they have.
const MetaUntyped = "hupsert.untyped"

// Reader gives the rows of an input in their order. It is used by one goroutine.
type Reader interface {
	// Schema is that of all records, but for dictionaries: a record that keeps a column's has the
	// dictionary type with the values of the type here.
	Schema() *arrow.Schema
	// Next returns the next rows, at least one, or io.EOF. The caller releases them. After an error
	// the reader is only good for Close.
	Next(ctx context.Context) (arrow.Record, error)
	// Position says where a row of the last record comes from: "orders.csv:17" or "orders.parquet row 12".
	// Lines and rows count from 1.
	Position(row int) string
	// BytesRead is how much was read so far; any goroutine may ask.
	BytesRead() int64
	// Close frees the input. No goroutine of the reader is left afterwards.
	Close() error
}

// Stretcher is a Reader that gives its rows without their values too: Parquet's.
type Stretcher interface {
	Reader
	// Stretches are all rows of the file, in order. They are good until Close.
	Stretches() []*Stretch
}

// Open opens an input. The table's schema gives the types of text columns by name, ignoring case, and the lengths
// ([shred.LengthOf]) beyond which a text does not parse; nil makes every text column untyped.
func Open(ctx context.Context, in Input, want *arrow.Schema, o Options) (Reader, error) {
	o.setDefaults()
	if want == nil {
		want = arrow.NewSchema(nil, nil)
	}
	f, err := openInput(ctx, in)
	if err != nil {
		return nil, err
	}
	r, err := openFormat(ctx, f, want, o)
	if err != nil {
		// The caller has no reader to close.
		_ = f.close()
		return nil, err
	}
	return r, nil
}

func openFormat(ctx context.Context, f *input, want *arrow.Schema, o Options) (Reader, error) {
	switch f.Format {
	case Parquet:
		return openParquet(f, o)
	case CSV:
		return openCSV(f, want, o)
	case NDJSON:
		return openNDJSON(ctx, f, want, o)
	case Arrow:
		return openArrow(f, o)
	}
	return nil, &Error{Name: f.Name, Err: fmt.Errorf("%w: format %q", ErrFormat, f.Format)}
}

// Schema is an input's own schema, for a table that is to be created from it. Text has none
// ([ErrUntyped]), and a stream would be consumed: open it and ask its reader.
func Schema(ctx context.Context, in Input) (*arrow.Schema, error) {
	switch {
	case in.Format == CSV || in.Format == NDJSON:
		return nil, &Error{Name: in.Name, Err: ErrUntyped}
	case in.Open == nil:
		return nil, &Error{Name: in.Name, Err: fmt.Errorf("%w: the schema of a stream", ErrFormat)}
	}
	r, err := Open(ctx, in, nil, Options{})
	if err != nil {
		return nil, err
	}
	s := r.Schema()
	return s, r.Close()
}
