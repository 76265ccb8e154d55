package partition

import (
	"log/slog"
	"time"

	"github.com/hupsert/hupsert/storage"
)

// Config says how a table is opened. The zero value works.
type Config struct {
	// StateDir is where staging, history, journal and locks are kept, on the same file system as the
	// table. "": <parent>/.hupsert/<table>.
	StateDir string
	// Publish is how a staged partition is switched in: exchange, rename, or auto ("") for the best
	// that the file system can do.
	Publish string
	// LockWait is how long to wait for a partition another run holds. 0: not at all.
	LockWait time.Duration
	// Logger takes Info records per partition and Debug records per file, without data values. nil
	// discards them.
	Logger *slog.Logger
	// Observer is called at step boundaries, one call at a time. It must not block for long. nil: none.
	Observer func(Event)
	// Progress is counters to poll while a run goes on. nil: none.
	Progress *Progress
	// FS is the file system that holds the table; its path is then Open's url as it is. nil: by the
	// url's scheme.
	FS storage.FS
	// Now is the clock. nil: time.Now.
	Now func() time.Time
}

// ShowOptions says what Show describes.
type ShowOptions struct {
	Partitions []string // specs; a spec of some columns names all partitions below it. Empty: all
	At         string   // a run: the versions it made; "": what is live
}

// Description is what Show finds.
type Description struct {
	Table       string          `json:"table"`
	StateDir    string          `json:"state_dir"`
	Key         []string        `json:"key"`
	OrderBy     []string        `json:"order_by"`
	PartitionBy []ColumnInfo    `json:"partition_by"`
	Columns     []ColumnInfo    `json:"columns"`
	Partitions  []PartitionInfo `json:"partitions"`
	Files       int             `json:"files"`
	Rows        int64           `json:"rows"`
	Bytes       int64           `json:"bytes"`
	History     HistorySize     `json:"history"`
}

// ColumnInfo describes a column.
type ColumnInfo struct {
	Name     string `json:"name"`
	Type     string `json:"type"`
	Nullable bool   `json:"nullable"`
}

// PartitionInfo describes a partition.
type PartitionInfo struct {
	Partition string     `json:"partition"`
	Rows      int64      `json:"rows"`
	Bytes     int64      `json:"bytes"`
	Version   int64      `json:"version"`       // 0 where hupsert never published it
	Run       string     `json:"run,omitempty"` // the run that made the version
	Files     []FileInfo `json:"files"`
}

// FileInfo describes a data file.
type FileInfo struct {
	Name      string    `json:"name"`
	Rows      int64     `json:"rows"`
	RowGroups int       `json:"row_groups"`
	Bytes     int64     `json:"bytes"`
	Modified  time.Time `json:"modified"`
	CreatedBy string    `json:"created_by"`
}

// Version is one version of a partition.
type Version struct {
	Partition string    `json:"partition"`
	Version   int64     `json:"version"`
	Run       string    `json:"run"` // the run that made it; "origin" for the state found first
	Time      time.Time `json:"time"`
	Command   string    `json:"command"`
	Mode      string    `json:"mode"`
	Rows      int64     `json:"rows"` // -1 where it is not known
	Bytes     int64     `json:"bytes"`
	Live      bool      `json:"live"`
	Kept      bool      `json:"kept"` // its files are still there: it can be put back
	Restores  string    `json:"restores,omitempty"`
}

// RollbackOptions says what Rollback puts back: earlier versions of the partitions named, or all
// that a run published.
type RollbackOptions struct {
	Partitions []string // specs of whole partitions
	To         string   // the run whose version comes back; "": the version before the live one
	Run        string   // undo this run in all partitions it published; excludes Partitions and To
	Force      bool     // also where the live partition isn't what was published: it is saved as a version first
}

// Recovery is what Recover did.
type Recovery struct {
	Finished []string `json:"finished"` // runs that were committed and are now published
	Undone   []string `json:"undone"`   // runs that were not, and left nothing
}

// VacuumOptions says what Vacuum removes.
type VacuumOptions struct {
	Keep   time.Duration // versions younger than this stay; 0: the configuration's keep-history, else 168h
	DryRun bool          // only say what would go
}

// Vacuumed is what Vacuum removed, or would.
type Vacuumed struct {
	DryRun   bool        `json:"dry_run"`
	Versions int         `json:"versions"`
	Staging  int         `json:"staging"` // abandoned staging folders
	Bytes    int64       `json:"bytes"`
	Left     HistorySize `json:"left"`
}
