package merge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"

	"github.com/apache/arrow/go/v17/arrow"
	"golang.org/x/sync/errgroup"

	input "github.com/hupsert/hupsert/merge/source"
	"github.com/hupsert/hupsert/merge/spill"
	"github.com/hupsert/hupsert/merge/splice"
)

// KeyCheck is a partition in which keys that stand twice are looked for.
type KeyCheck struct {
	Schema *arrow.Schema // the table's columns as stored in its files
	Old    []Old         // in the order of their names
	Key    []string      // column names, a.b for a field of a struct; floats are allowed
	Sample int           // how many keys, and rows with NULL, are named; 0: 3
	// Memory is about how many bytes the check may take; what does not fit goes to Spill. It counts only
	// where Spill is set.
	Memory   int64
	Spill    *spill.Space
	Parallel int       // workers; 0: GOMAXPROCS
	Progress *Progress // Probed is advanced; nil: none
}

// KeyReport is what CheckKeys finds.
type KeyReport struct {
	Rows     int64
	Repeated int64 // rows whose key stands in an earlier row too
	Keys     int64 // keys that stand more than once
	Nulls    int64 // rows with NULL in their key, which are compared with none
	// Sample is the first of the keys, by the first row of each; NullSample the first rows with NULL.
	Sample     []RepeatedKey
	NullSample []RowPlace
	// Sorted tells that every row group came in the order of its keys, so that they were compared side by
	// side and nothing was held in memory.
	Sorted bool
}

// RepeatedKey is a key that stands more than once.
type RepeatedKey struct {
	Key    string // "id=1, line=2"
	Rows   int64
	Places []RowPlace // the first of them
}

// RowPlace is where a row stands.
type RowPlace struct {
	File string
	Row  int64 // in the file, from 1
}

const (
	// defaultSample is how many keys are named unless said otherwise.
	defaultSample = 3
	// namedPlaces is how many rows of a key are named.
	namedPlaces = 3
)

// CheckKeys looks for keys that stand more than once in a partition's files, and for NULL in them. It
// reads the key columns only. Row groups in the order of their keys are walked side by side. Of others it
// collects a hash of 64 bits for each row, on disk where memory does not suffice; keys whose hash occurs
// twice are then read again and compared whole, so that what is counted is exact.
//
// Errors match the sentinels of this package, or splice's for files that are damaged or encrypted.
func CheckKeys(ctx context.Context, t KeyCheck) (*KeyReport, error) {
	return checkKeys(ctx, t, hash)
}

func checkKeys(ctx context.Context, t KeyCheck, hash func([]byte) uint64) (_ *KeyReport, err error) {
	c := &keyChecker{KeyCheck: t, hash: hash}
	defer func() {
		for _, f := range c.files {
			err = errors.Join(err, f.close())
		}
	}()
	if err := c.open(ctx); err != nil {
		return nil, err
	}
	if err := c.find(ctx); err != nil {
		return nil, err
	}
	return &c.report, c.name(ctx)
}

// keyChecker is one check under way.
type keyChecker struct {
	KeyCheck
	hash   func([]byte) uint64
	key    []keyColumn
	layout layout
	files  []*oldFile
	groups []*rowGroup // of all files
	base   []int64     // the row of its file with which each begins

	mu     sync.Mutex
	report KeyReport
	sample []repeated // by their first place
	nulls  []place64  // ascending
}

// place64 is a row of a row group.
type place64 struct {
	group int
	row   int64
}

func (p place64) compare(q place64) int {
	return cmp.Or(cmp.Compare(p.group, q.group), cmp.Compare(p.row, q.row))
}

// repeated is a key with the rows it stands in.
type repeated struct {
	rows   int64
	places []place64 // the first, ascending
}

// add notes another row of the key.
func (r *repeated) add(p place64) {
	r.rows++
	r.places = keepFirst(r.places, p, namedPlaces, place64.compare)
}

// keepFirst puts an element into a sorted list of the n smallest.
func keepFirst[T any](list []T, v T, n int, compare func(a, b T) int) []T {
	at, _ := slices.BinarySearchFunc(list, v, compare)
	if at >= n {
		return list
	}
	list = slices.Insert(list, at, v)
	return list[:min(len(list), n)]
}

func (c *keyChecker) open(ctx context.Context) error {
	if len(c.Key) == 0 {
		return &Error{Kind: ErrUsage, Message: "no key columns", Hint: "name the primary key, or declare it with the table"}
	}
	if c.Sample <= 0 {
		c.Sample = defaultSample
	}
	if c.Parallel <= 0 {
		c.Parallel = runtime.GOMAXPROCS(0)
	}
	var err error
	if c.key, c.layout, err = keyColumns(c.Schema.Fields(), c.Key, true, false); err != nil {
		return err
	}
	for _, old := range c.Old {
		f, err := openOld(ctx, old, c.Schema, nil)
		if err != nil {
			return err
		}
		c.files = append(c.files, f)
		if err := f.bindKey(c.key); err != nil {
			return err
		}
		row := int64(0)
		for _, g := range f.groups {
			c.groups, c.base = append(c.groups, g), append(c.base, row)
			row += g.rows
		}
		c.report.Rows += row
	}
	return nil
}

// find walks what is sorted, and goes by hashes otherwise.
func (c *keyChecker) find(ctx context.Context) error {
	runs, err := c.walkAll(ctx)
	if err != nil {
		return err
	}
	if runs == nil {
		return c.findByHash(ctx)
	}
	c.report.Sorted = true
	for _, r := range runs {
		c.addNulls(r.group, r.nulls, r.nullRows)
	}
	return c.mergeRuns(ctx, runs)
}

// addNulls counts the rows of a group that have NULL in their key.
func (c *keyChecker) addNulls(group int, n int64, rows []int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Nulls += n
	for _, row := range rows {
		c.nulls = keepFirst(c.nulls, place64{group, row}, c.Sample, place64.compare)
	}
}

// addRepeated counts a key that stands more than once.
func (c *keyChecker) addRepeated(r repeated) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.report.Keys++
	c.report.Repeated += r.rows - 1
	c.sample = keepFirst(c.sample, r, c.Sample, func(a, b repeated) int { return a.places[0].compare(b.places[0]) })
}

// name fills the samples: only their keys are read as values.
func (c *keyChecker) name(ctx context.Context) error {
	for _, p := range c.nulls {
		c.report.NullSample = append(c.report.NullSample, c.place(p))
	}
	for _, r := range c.sample {
		text, err := c.text(ctx, r.places[0])
		if err != nil {
			return err
		}
		named := RepeatedKey{Key: text, Rows: r.rows}
		for _, p := range r.places {
			named.Places = append(named.Places, c.place(p))
		}
		c.report.Sample = append(c.report.Sample, named)
	}
	return nil
}

func (c *keyChecker) place(p place64) RowPlace {
	return RowPlace{File: c.groups[p.group].file.Name, Row: c.base[p.group] + p.row + 1}
}

// text renders the key of a row.
func (c *keyChecker) text(ctx context.Context, p place64) (string, error) {
	g := c.groups[p.group]
	runs, err := input.StretchesOf(g.file.file, g.file.Name)
	if err != nil {
		return "", err
	}
	at := slices.IndexFunc(runs, func(run *input.Stretch) bool {
		group, from := run.Place()
		return group == g.ordinal && p.row >= from && p.row < from+run.NumRows()
	})
	if at < 0 {
		return "", fmt.Errorf("%s has no row %d", g, p.row)
	}
	_, from := runs[at].Place()
	var parts []string
	for _, k := range c.key {
		column, err := fieldIndex(runs[at].Schema().Fields(), g.file.nodes[k.table].Name)
		if err != nil {
			return "", err
		}
		var cursor input.Cursor
		arr, err := runs[at].Read(ctx, column, &cursor)
		cursor.Close()
		if err != nil {
			return "", err
		}
		parts = append(parts, k.names[0]+"="+arr.ValueStr(int(p.row-from)))
	}
	return strings.Join(slices.Compact(parts), ", "), nil
}

// each runs a job for every row group on the workers. The job gets the worker's number.
func (c *keyChecker) each(ctx context.Context, job func(ctx context.Context, worker, group int) error) error {
	eg, ctx := errgroup.WithContext(ctx)
	next := make(chan int, len(c.groups))
	for i := range c.groups {
		next <- i
	}
	close(next)
	for worker := range c.Parallel {
		eg.Go(func() error {
			for i := range next {
				if err := ctx.Err(); err != nil {
					return err
				}
				if err := job(ctx, worker, i); err != nil {
					return c.groups[i].file.wrap(err)
				}
			}
			return nil
		})
	}
	return eg.Wait()
}

// keyScan goes through the keys of a row group, from its first row to its last.
type keyScan struct {
	*oldKeys
	row int64 // the next
}

func (c *keyChecker) scan(group int) *keyScan {
	g := c.groups[group]
	return &keyScan{oldKeys: g.oldKeys(&c.layout, []splice.Rows{{From: 0, To: g.rows}})}
}

// next encodes the keys of the next rows; n is 0 at the end. Rows with NULL are flagged.
func (s *keyScan) next(ctx context.Context) (first int64, n int, err error) {
	first = s.row
	if first == s.group.rows {
		return first, 0, nil
	}
	rows, err := s.read(ctx, first, min(int64(probeRows), s.group.rows-first))
	s.row += rows
	return first, int(rows), err
}

func (s *keyScan) close() {
	read := int64(0)
	s.oldKeys.close(&read)
}
