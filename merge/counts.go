package merge

import (
	"fmt"
	"sync/atomic"
)

// Counts is what became of the rows of one partition. Old rows are counted in Kept, Updated,
// Unchanged, Deleted, MovedOut and OldDuplicates (removed copies); source rows in all classes but Kept and MovedOut.
type Counts struct {
	Old              int64 `json:"old"`
	Source           int64 `json:"source"`
	Kept             int64 `json:"kept"`
	Inserted         int64 `json:"inserted"`
	Updated          int64 `json:"updated"`
	Unchanged        int64 `json:"unchanged"`
	Deleted          int64 `json:"deleted"`
	Moved            int64 `json:"moved"`     // source rows that come here from another partition
	MovedOut         int64 `json:"moved_out"` // old rows whose key the source moves to another partition
	StaleSkipped     int64 `json:"stale_skipped"`
	Ignored          int64 `json:"ignored"`
	SourceDuplicates int64 `json:"source_duplicates"`
	OldDuplicates    int64 `json:"old_duplicates"`
	NullKeys         int64 `json:"null_keys"`
	OldNullKeys      int64 `json:"old_null_keys"`
	Rejected         int64 `json:"rejected"`
	Out              int64 `json:"out"`
}

// Add adds d to c, field by field.
func (c *Counts) Add(d Counts) {
	c.Old += d.Old
	c.Source += d.Source
	c.Kept += d.Kept
	c.Inserted += d.Inserted
	c.Updated += d.Updated
	c.Unchanged += d.Unchanged
	c.Deleted += d.Deleted
	c.Moved += d.Moved
	c.MovedOut += d.MovedOut
	c.StaleSkipped += d.StaleSkipped
	c.Ignored += d.Ignored
	c.SourceDuplicates += d.SourceDuplicates
	c.OldDuplicates += d.OldDuplicates
	c.NullKeys += d.NullKeys
	c.OldNullKeys += d.OldNullKeys
	c.Rejected += d.Rejected
	c.Out += d.Out
}

// Bytes is what was read and by which route what was written came, in bytes of files.
type Bytes struct {
	Read      int64 `json:"read"`
	Kept      int64 `json:"kept"`
	Copied    int64 `json:"copied"`
	Patched   int64 `json:"patched"`
	Rewritten int64 `json:"rewritten"`
	Added     int64 `json:"added"`
}

// Add adds d to b, field by field.
func (b *Bytes) Add(d Bytes) {
	b.Read += d.Read
	b.Kept += d.Kept
	b.Copied += d.Copied
	b.Patched += d.Patched
	b.Rewritten += d.Rewritten
	b.Added += d.Added
}

// matched counts source rows that met old ones, by source row: where an old key stands twice and
// both copies are updated, the old rows of Counts are more than these.
type matched struct{ updated, unchanged, deleted int64 }

// conserve checks that every row is in exactly one class.
func (c *Counts) conserve(mode Mode, bySource matched, staged int64) error {
	wantSource := c.Inserted + c.Moved + bySource.updated + bySource.unchanged + bySource.deleted + c.StaleSkipped +
		c.Ignored + c.SourceDuplicates + c.NullKeys + c.Rejected
	wantOld := c.Kept + c.Updated + c.Unchanged + c.Deleted + c.MovedOut + c.OldDuplicates
	wantOut := c.Kept + c.Updated + c.Unchanged + c.Inserted + c.Moved
	switch {
	case c.Source != wantSource:
		return &Error{Kind: ErrVerify, Message: fmt.Sprintf("%d source rows, but %d are accounted for", c.Source, wantSource)}
	case c.Old != wantOld:
		return &Error{Kind: ErrVerify, Message: fmt.Sprintf("%d old rows, but %d are accounted for", c.Old, wantOld)}
	case c.Out != wantOut:
		return &Error{Kind: ErrVerify, Message: fmt.Sprintf("%d rows out, want %d", c.Out, wantOut)}
	case staged >= 0 && staged != c.Out:
		return &Error{Kind: ErrVerify, Message: fmt.Sprintf("mode %s: the staged files hold %d rows, want %d", mode, staged, c.Out)}
	}
	return nil
}

// Progress holds counters that a merge advances and a caller may poll from another goroutine.
type Progress struct {
	Probed   atomic.Int64 // bytes of old row groups whose keys were looked at or ruled out
	Compared atomic.Int64 // bytes of column chunks compared
	Written  atomic.Int64 // bytes of old or new data routed into the output
	Total    atomic.Int64 // bytes of the old files
}
