package merge

import (
	"context"
	"io"
	"runtime"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/splice"
)

// Old is one file of the partition as it stands.
type Old struct {
	Name string // file name, unique in the partition
	// Open gives the file's bytes and size. It is called once; the closer is called by
	// [Prepared.Close].
	Open func(ctx context.Context) (io.ReaderAt, int64, io.Closer, error)
	// Moved and Deleted are rows of the file, counted from 0 and ascending, that go on account of a source row of another
	// partition: as [Search] finds them.
	Moved, Deleted []int64
}

// Batch is source rows of this partition: all rows of some columns, or the selected ones.
type Batch struct {
	Columns input.Columns
	Rows    []int32 // ordinals in the columns, ascending; nil: all
	// Position names where a row of the columns came from ("new.csv:17"); nil: its ordinal is named.
	Position func(row int) string
	// Order numbers a row of the columns among the source's rows of all partitions; nil: rows are in the order of their
	// batches. Only [Search] asks for it.
	Order func(row int) int64
	// Whole says that the rows bring every value of theirs: what the options leave out of an update does not hold for them.
	Whole bool
}

// Apart counts source rows of the partition that [Search] has settled, and that are not among the batches.
type Apart struct{ Duplicates, Stale, Ignored, Deleted int64 }

func (a Apart) sum() int64 { return a.Duplicates + a.Stale + a.Ignored + a.Deleted }

// Task is a partition to merge.
type Task struct {
	Schema  *arrow.Schema // the table's columns as stored in its files
	Old     []Old         // in the order of their names
	Batches []Batch       // in order: where versions tie the later row wins
	// Rejected counts source rows that were refused before they were routed here.
	Rejected int64
	// Arrivals are rows that come from another partition, as [Search] finds them: they are inserted, whatever the mode, and count
	// as moved.
	Arrivals []Batch
	Apart    Apart
	Options  Options
}

// shaped is a batch that has the columns of the source, nil where none does.
func (t *Task) shaped() *Batch {
	for _, list := range [][]Batch{t.Batches, t.Arrivals} {
		for i := range list {
			if !list[i].Whole {
				return &list[i]
			}
		}
	}
	return nil
}

// Sink takes the files of the merged partition. It is not called concurrently.
type Sink interface {
	// Keep takes an old file over as it is.
	Keep(ctx context.Context, name string) error
	// Create begins a new file. What ends it is called once the file is complete, and may run beside other calls; until
	// then its content may still fail. The context is that of Write, so that it holds for the end too. Ordinal counts the
	// new files from 0.
	Create(ctx context.Context, ordinal int) (out splice.Output, end func() error, err error)
}

// Route is how the data of a file or row group gets into the output.
type Route string

// The routes.
const (
	Keep    Route = "keep"    // the file as it is
	Copy    Route = "copy"    // bytes of a row group or column chunk
	Patch   Route = "patch"   // bytes of a column chunk, but for the pages that hold a change
	Rewrite Route = "rewrite" // decoded, merged, encoded
	Add     Route = "add"     // inserted rows
	Drop    Route = "drop"    // no row survives
	Adopt   Route = "adopt"   // a file of the source, copied as bytes
)

// FilePlan is what will be done with one old file, or with a file of the source that is adopted.
type FilePlan struct {
	Name      string         `json:"file"`
	Route     Route          `json:"route"`                // Keep, Drop or Adopt, else the dearest of its row groups: Copy, Patch or Rewrite
	Bytes     int64          `json:"bytes"`                // of the file as it stands
	Inserts   int64          `json:"inserted"`             // rows added at its end
	RowGroups []RowGroupPlan `json:"row_groups,omitempty"` // none where Route is Keep or Drop
}

// RowGroupPlan is what will be done with one row group.
type RowGroupPlan struct {
	Route   Route    `json:"route"` // Copy, Patch, Rewrite (some chunk is) or Drop
	Rows    int64    `json:"rows"`
	Updated int64    `json:"updated"` // rows that differ
	Deleted int64    `json:"deleted"`
	Fold    bool     `json:"joined,omitempty"`            // inserted rows join it
	Copied  int64    `json:"copied"`                      // bytes of chunks and pages copied
	Patched int64    `json:"patched"`                     // bytes of pages (as they stand) that hold a change
	Encoded int64    `json:"rewritten"`                   // bytes of chunks (as they stand) that are encoded from all of their values
	Changed []string `json:"-"`                           // columns that change; nil: all
	Patches []string `json:"patched_columns,omitempty"`   // columns of chunks of which pages are patched
	Encodes []string `json:"rewritten_columns,omitempty"` // columns of chunks that are encoded from all of their values, of which Why says why
	Why     string   `json:"why,omitempty"`
}

// Seconds is how long the steps took.
type Seconds struct {
	Index, Probe, Compare, Plan, Write time.Duration
}

// Result is what a write did.
type Result struct {
	Counts  Counts
	Bytes   Bytes
	Files   int   // files of the merged partition
	Rows    int64 // by the footers of what was written or kept
	Created int   // files created through the sink
}

func (o *Options) workers() int {
	if o.Parallel > 0 {
		return o.Parallel
	}
	return runtime.GOMAXPROCS(0)
}
