package partition

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/merge"
)

// CheckOptions says what Check looks at. The zero value looks at everything.
type CheckOptions struct {
	Partitions []string // specs; a spec of some columns names all partitions below it. Empty: all
	// Key is the primary key, as in [Options.Key]. Empty: the table's configuration; where that has none,
	// keys are not checked.
	Key []string
	// Quick reads the files' footers only, and the key columns where there is a key.
	Quick bool
	// Memory is about how many bytes the check may take; what does not fit goes to a file without a name in
	// TempDir. 0: half of what the machine, or the process's control group, has.
	Memory   int64
	TempDir  string // "": the system's folder for temporary files (TMPDIR)
	Parallel int    // partitions at once; 0: as many as there are processors
	// Repair names partitions that the metastore is told of before the check: a folder that it does not have as a
	// partition is registered, and what it says of the sizes of another is set right.
	Repair []string
}

// Severity says how much a finding matters.
type Severity string

// The severities.
const (
	SeverityError   Severity = "error"   // readers get wrong rows or none, or merges are refused
	SeverityWarning Severity = "warning" // somebody should look at it
	SeverityNote    Severity = "note"    // good to know
)

// FindingKind says what was found.
type FindingKind string

// The kinds of findings.
const (
	FoundDuplicateKeys FindingKind = "duplicate_keys"     // rows that have the key of another row of their partition
	FoundNullKeys      FindingKind = "null_keys"          // rows with NULL in their key
	FoundUncheckedKeys FindingKind = "unchecked_keys"     // keys were not checked, or not those of all files
	FoundUnreadable    FindingKind = "unreadable_file"    // a file that is damaged, truncated or encrypted
	FoundUnsupported   FindingKind = "unsupported_file"   // a file that uses what hupsert can't read
	FoundEmptyFile     FindingKind = "empty_file"         // a file of no bytes
	FoundStrayFile     FindingKind = "stray_file"         // a file that is not Parquet, or that nobody needs
	FoundStrayRows     FindingKind = "stray_rows"         // rows whose partition column is not what their folder says
	FoundWrongStats    FindingKind = "wrong_statistics"   // statistics that readers believe and values deny
	FoundIgnoredStats  FindingKind = "ignored_statistics" // statistics that values deny and readers ignore
	FoundDrift         FindingKind = "schema_drift"       // columns that some files lack, or have in another type
	FoundConflict      FindingKind = "schema_conflict"    // types that no type holds the values of
	FoundLayout        FindingKind = "layout"             // files and folders that can't be part of the table
	FoundTemporary     FindingKind = "temporary_folder"   // another writer's temporary folder
	FoundFragments     FindingKind = "fragmentation"      // many small files or row groups
	FoundRunning       FindingKind = "running"            // a run that is under way
	FoundUnfinished    FindingKind = "unfinished_run"     // a run that committed and was interrupted
	FoundAbandoned     FindingKind = "abandoned_run"      // what is left of a run that did not commit
	FoundStaged        FindingKind = "staged_run"         // a run that waits to be published
	FoundStaleLock     FindingKind = "stale_lock"         // a lock that names a run that is gone
	FoundState         FindingKind = "unreadable_state"   // a file of the state that can't be read
	FoundHistory       FindingKind = "damaged_history"    // an earlier version that can't be put back
	FoundChanged       FindingKind = "changed_by_others"  // a live partition that is not what was published last
	FoundSetBack       FindingKind = "set_back"           // a partition that the metastore has where it was before runs of ours
	FoundMissing       FindingKind = "missing_folder"     // a registered partition whose folder is not there
	FoundUnregistered  FindingKind = "unregistered"       // a folder with files that the metastore does not have as a partition
	FoundStaleCatalog  FindingKind = "stale_statistics"   // numbers of a partition in the metastore that do not hold
)

// Finding is one thing that Check found.
type Finding struct {
	Severity Severity    `json:"severity"`
	Kind     FindingKind `json:"kind"`
	// Partition is "" for what is of the whole table, and for a table without partitions.
	Partition string `json:"partition"`
	// Partitions are those that a finding of the whole table is about.
	Partitions []string `json:"partitions,omitempty"`
	File       string   `json:"file,omitempty"` // of the partition, or a path of the state
	Column     string   `json:"column,omitempty"`
	Run        string   `json:"run,omitempty"`
	Count      int64    `json:"count"` // of rows, files or whatever the kind is about
	Message    string   `json:"message"`
	Samples    []string `json:"samples,omitempty"` // some of what was counted
	Hint       string   `json:"hint,omitempty"`    // what to do next
	// Keys are some of the keys that stand more than once.
	Keys []DuplicateKey `json:"keys,omitempty"`
}

// DuplicateKey is a key that stands more than once in a partition.
type DuplicateKey struct {
	Key    string     `json:"key"` // "order_id=1, line_no=2"
	Rows   int64      `json:"rows"`
	Places []RowPlace `json:"places"` // the first of them
}

// RowPlace is where a row stands.
type RowPlace struct {
	File string `json:"file"`
	Row  int64  `json:"row"` // from 1
}

// CheckReport is what Check found.
type CheckReport struct {
	Table    string       `json:"table"`
	Key      []string     `json:"key"`
	Quick    bool         `json:"quick"`
	Repaired []string     `json:"repaired,omitempty"` // partitions, as CheckOptions.Repair names them
	Findings []Finding    `json:"findings"`           // of the table first, then by partition; errors first
	Total    CheckSummary `json:"total"`
}

// CheckSummary is what was looked at, and how many findings there are.
type CheckSummary struct {
	Partitions      int     `json:"partitions"`
	Files           int     `json:"files"` // Parquet files whose footers were read
	Rows            int64   `json:"rows"`
	Bytes           int64   `json:"bytes"`
	Errors          int     `json:"errors"`
	Warnings        int     `json:"warnings"`
	Notes           int     `json:"notes"`
	Seconds         float64 `json:"seconds"`
	PeakMemoryBytes int64   `json:"peak_memory_bytes"`
}

// Check looks at the table and at the state beside it, and reports what is not in order. It changes
// nothing, takes no locks, and may go on while others write: a partition that is published meanwhile is
// looked at anew. What it finds is no error; that is for a table that can't be looked at.
func (t *Table) Check(ctx context.Context, o CheckOptions) (*CheckReport, error) {
	c := &checker{Table: t, options: o, progress: t.cfg.Progress, started: time.Now()}
	if c.progress == nil {
		c.progress = new(Progress)
	}
	defer c.progress.enter(StepDone)
	if err := c.run(ctx); err != nil {
		return nil, locate(err, "", StepCheck)
	}
	return c.report, nil
}

// checker is one check under way.
type checker struct {
	*Table
	options    CheckOptions
	config     TableConfig
	layout     *layout
	byPosition bool // as readers of a metastore's table take columns
	budget     *budget
	progress   *Progress
	started    time.Time
	atOnce     int // partitions
	inner      int // workers within each
	report     *CheckReport
}

func (c *checker) run(ctx context.Context) (err error) {
	c.progress.enter(StepOpen)
	c.report = &CheckReport{Table: c.url, Quick: c.options.Quick, Findings: []Finding{}}
	if err := c.open(ctx); err != nil {
		return err
	}
	if err := c.repair(ctx); err != nil {
		return err
	}
	paths, err := c.choose(ctx, c.layout, ShowOptions{Partitions: c.options.Partitions}, nil)
	if err != nil {
		return err
	}
	c.budget = newBudget(&Options{Memory: c.options.Memory, TempDir: c.options.TempDir})
	defer func() { err = errors.Join(err, c.budget.space.Close()) }()
	checked, err := c.checkAll(ctx, paths)
	if err != nil {
		return err
	}
	c.compareSchemas(checked)
	if err := c.checkCatalog(ctx, checked); err != nil {
		return err
	}
	if err := c.checkState(ctx, paths); err != nil {
		return err
	}
	c.finish(checked)
	return nil
}

// open reads the configuration and the layout. What is wrong with either is found, not an error.
func (c *checker) open(ctx context.Context) error {
	if c.options.Memory < 0 || c.options.Parallel < 0 {
		return fault(ErrUsage, "memory and parallel must not be negative")
	}
	var err error
	if c.config, err = c.ReadConfig(ctx); err != nil {
		c.find(Finding{Severity: SeverityError, Kind: FoundState, File: "table.yaml", Count: 1, Message: err.Error(), Hint: Hint(err)})
		c.config = TableConfig{}
	}
	declared, err := ParseColumns(c.config.PartitionBy)
	if err != nil {
		return err
	}
	l, faults, err := c.listAnyhow(ctx, declared)
	if err != nil {
		return err
	}
	if !l.exists {
		return c.missing()
	}
	c.layout = l
	if c.catalog != nil {
		d, err := c.catalog.Describe(ctx)
		if err != nil {
			return err
		}
		c.byPosition = d.ByPosition
	}
	for _, err := range faults {
		var e *Error
		errors.As(err, &e)
		c.find(Finding{Severity: SeverityError, Kind: FoundLayout, File: e.File, Count: 1, Message: e.Err.Error(), Hint: e.Hint})
	}
	c.checkLayout()
	c.report.Key = orEmpty(c.options.Key)
	if len(c.options.Key) == 0 {
		c.report.Key = orEmpty(c.config.Key)
	}
	if len(c.report.Key) == 0 {
		c.find(Finding{Severity: SeverityNote, Kind: FoundUncheckedKeys, Message: "no key is given or declared, so keys were not checked",
			Hint: fmt.Sprintf("hupsert check %s --key COLS, or hupsert config %s --set key=COLS", ShellQuote(c.url), ShellQuote(c.url))})
	}
	return nil
}

// checkLayout looks for folders of one value and for other writers.
func (c *checker) checkLayout() {
	for _, at := range c.layout.byValue {
		if len(at) < 2 {
			continue
		}
		var paths []string
		for _, n := range at {
			paths = append(paths, c.layout.leaves[n].path)
		}
		c.find(Finding{Severity: SeverityError, Kind: FoundLayout, Partitions: paths, Count: int64(len(paths)),
			Message: strings.Join(paths, " and ") + " are the same partition",
			Hint:    c.layout.mendTwins()})
	}
	for _, tmp := range c.layout.temporary {
		c.find(Finding{Severity: SeverityWarning, Kind: FoundTemporary, Partition: tmp.dir, File: tmp.name, Count: 1,
			Message: fmt.Sprintf("%s: another program is writing here, or died while it did", tmp.name),
			Hint:    "when no job of that program runs any more, remove the folder; until then upserts are refused without --ignore-temporary"})
	}
}

func (c *checker) find(f Finding) { c.report.Findings = append(c.report.Findings, f) }

// checkAll looks into partitions, several at once.
func (c *checker) checkAll(ctx context.Context, paths []string) ([]*checkedPartition, error) {
	c.progress.enter(StepCheck)
	c.progress.Partitions.Store(int64(len(paths)))
	workers := c.options.Parallel
	if workers == 0 {
		workers = runtime.GOMAXPROCS(0)
	}
	c.atOnce = max(min(workers, len(paths)), 1)
	c.inner = max(workers/c.atOnce, 1)
	out := make([]*checkedPartition, len(paths))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(c.atOnce)
	for i, p := range paths {
		g.Go(func() error {
			progress := new(merge.Progress)
			c.progress.begin(progress, true)
			defer c.progress.end(progress)
			var err error
			// Files of a partition that is published meanwhile are gone: then its new ones are looked at.
			out[i], err = unlocked(ctx, func() (*checkedPartition, error) {
				progress.Total.Store(0)
				progress.Probed.Store(0)
				return c.checkPartition(ctx, p, progress)
			})
			if errors.Is(err, fs.ErrNotExist) {
				if _, serr := c.fsys.Stat(ctx, out[i].dir()); errors.Is(serr, fs.ErrNotExist) { // somebody has removed it
					err, out[i] = nil, &checkedPartition{checker: c, leaf: out[i].leaf, folder: out[i].folder, missing: true}
				}
			}
			return locate(err, p, StepCheck)
		})
	}
	return out, g.Wait()
}

// finish sorts the findings and sums up.
func (c *checker) finish(checked []*checkedPartition) {
	total := &c.report.Total
	for _, p := range checked {
		c.report.Findings = append(c.report.Findings, p.findings...)
		total.Files += p.files
		total.Rows += p.rows
		total.Bytes += p.bytes
	}
	total.Partitions = len(checked)
	rank := map[Severity]int{SeverityError: 0, SeverityWarning: 1, SeverityNote: 2}
	slices.SortStableFunc(c.report.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.Partition, b.Partition), cmp.Compare(rank[a.Severity], rank[b.Severity]),
			cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.File, b.File))
	})
	for _, f := range c.report.Findings {
		switch f.Severity {
		case SeverityError:
			total.Errors++
		case SeverityWarning:
			total.Warnings++
		default:
			total.Notes++
		}
	}
	total.Seconds = time.Since(c.started).Seconds()
	total.PeakMemoryBytes = peakMemory()
}
