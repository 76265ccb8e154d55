package merge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sort"
	"strings"

	"github.com/apache/arrow/go/v17/arrow"
)

// Search looks for the keys of a source in the partitions to which its rows do not go, where a key is to be unique within
// several partitions.
type Search struct {
	Schema     *arrow.Schema // has the key and the versions, in types that hold the values of all partitions
	Table      *arrow.Schema // the table's columns
	Partitions []SearchPartition
	// Reaches reports whether a key that goes to the partition home may stand in no row of other; it is symmetric. Both are
	// ordinals in Partitions.
	Reaches func(home, other int) bool
	Options Options // of the merges
}

// SearchPartition is one partition of the window.
type SearchPartition struct {
	Name    string // for messages
	Old     []Old
	Batches []Batch // the source rows that go there
}

// SearchError is what is wrong in one partition.
type SearchError struct {
	Partition int // ordinal
	Err       error
}

// Error implements error.
func (e *SearchError) Error() string { return e.Err.Error() }

// Unwrap gives what is wrong.
func (e *SearchError) Unwrap() error { return e.Err }

// Found is what becomes of the rows of one partition on account of the others.
type Found struct {
	Batches  []Batch // the source rows that are left: as ever
	Arrivals []Arrival
	Apart    Apart
	// Moved and Deleted are for [Old.Moved] and [Old.Deleted], by file; nil: none.
	Moved, Deleted [][]int64
}

// Touched reports whether old rows of the partition go.
func (f *Found) Touched() bool { return f.Moved != nil || f.Deleted != nil }

// Arrival is source rows whose keys stand in another partition, and not in their own.
type Arrival struct {
	From    int // ordinal of that partition
	Batches []Batch
	Rows    int64
	Repeats int64 // rows of a key that is there twice, or in a further partition too
}

// Run finds, for each partition, what its merge needs to know of the others. Keys are encoded once, and looked up in each partition
// as a merge looks them up: what statistics, page indexes and filters rule out is not read. An error is, where it is of one
// partition, a *SearchError.
func (s Search) Run(ctx context.Context) ([]Found, error) {
	o := s.Options
	o.setDefaults()
	l := &locator{Search: s, options: searchOptions(o)}
	var all []Batch
	for i, p := range s.Partitions {
		for _, b := range p.Batches {
			if len(b.Rows) > 0 || b.Rows == nil && b.Columns.NumRows() > 0 {
				all, l.homes = append(all, b), append(l.homes, int32(i))
			}
		}
	}
	l.leaving = make([][]departure, len(s.Partitions))
	l.apart = make([]Apart, len(s.Partitions))
	if len(all) == 0 {
		return l.found(), nil
	}
	bound, err := bindRows(s.Schema, all[0], &l.options)
	if err != nil {
		return nil, err
	}
	if l.source, err = newSource(ctx, &Task{Schema: s.Schema, Batches: all}, bound, &l.options); err != nil {
		return nil, err
	}
	for _, b := range l.source.bands {
		if err := l.band(ctx, b); err != nil {
			return nil, err
		}
	}
	if err := l.refuseUnequal(ctx, all); err != nil {
		return nil, err
	}
	return l.found(), nil
}

// refuseUnequal stops where rows that are taken for copies of each other, and that no merge will see, are none.
func (l *locator) refuseUnequal(ctx context.Context, all []Batch) error {
	var pairs [][2]int
	for row, holder := range l.follows {
		if f := l.source.fates[holder]; f != pending && f != inserted {
			pairs = append(pairs, [2]int{int(holder), int(row)})
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	slices.SortFunc(pairs, func(a, b [2]int) int { return cmp.Compare(a[1], b[1]) })
	bound, err := bind(l.Table, all[0].Columns.Schema(), &l.options)
	if err != nil {
		return err
	}
	r, err := newRows(ctx, &Task{Schema: l.Table, Batches: all}, bound, &l.options)
	if err != nil {
		return err
	}
	whole := &source{rows: r, deletes: l.source.deletes}
	if whole.key, _, err = keyColumns(l.Table.Fields(), l.options.Key, l.options.AllowFloatKeys, false); err != nil {
		return err
	}
	return whole.refuseTwice(ctx, pairs, &l.options)
}

// searchOptions are those by which keys are found; what else is wrong with the source its merges will say.
func searchOptions(o Options) Options {
	o.Columns, o.ExceptColumns, o.KeepNull, o.Carried = nil, nil, nil, nil
	o.NewColumns, o.MissingColumns = PolicyIgnore, PolicyKeep
	if o.NullKeys != PolicyMatch {
		o.NullKeys = PolicyReject
	}
	o.Reject, o.Progress = nil, nil
	return o
}

// locator is a search under way.
type locator struct {
	Search
	options Options
	source  *source
	homes   []int32 // of each batch, the partition that its rows go to

	groups   map[int]*claims  // of the band: by the row that is found, rows that share their key
	follows  map[int32]int32  // copies, by their row: the row of the same key and partition that they are taken for
	arrivals map[int32]origin // rows that move
	leaving  [][]departure    // by partition
	apart    []Apart          // by partition
}

// origin is where a row that moves comes from.
type origin struct {
	from    int32
	repeats bool
}

// departure is an old row that goes.
type departure struct {
	file  int32
	row   int64
	moves bool // its key does; else it is deleted
}

// home is the partition that a source row goes to.
func (l *locator) home(row int) int {
	list := l.source.rows.batches
	return int(l.homes[sort.Search(len(list), func(i int) bool { return list[i].base > row })-1])
}

// band settles the rows whose keys are in a band.
func (l *locator) band(ctx context.Context, b *band) error {
	if err := b.restore(&l.options); err != nil {
		return err
	}
	defer b.drop()
	if err := l.claim(ctx, b); err != nil {
		return err
	}
	b.filter = b.makeFilter()
	copies, err := l.copies(ctx, b)
	if err != nil || len(copies) == 0 {
		return err
	}
	own, err := l.own(ctx, b, copies)
	if err != nil {
		return err
	}
	return l.decide(copies, own)
}

// decide settles the rows with copies in other partitions. Own has those with an old row in their own, and whether it is newer.
func (l *locator) decide(copies []oldCopy, own map[int]bool) error {
	slices.SortFunc(copies, func(a, b oldCopy) int {
		return cmp.Or(cmp.Compare(a.holder, b.holder), cmp.Compare(a.part, b.part), cmp.Compare(a.file, b.file), cmp.Compare(a.row, b.row))
	})
	var twice []oldCopy
	for len(copies) > 0 {
		n := 1
		for n < len(copies) && copies[n].holder == copies[0].holder {
			if copies[n].part == copies[n-1].part {
				twice = append(twice, copies[n])
			}
			n++
		}
		newer, here := own[copies[0].holder]
		l.settle(copies[:n], here, newer)
		copies = copies[n:]
	}
	if len(twice) > 0 && l.options.OldDuplicates == PolicyError {
		return l.refuseOldTwice(twice)
	}
	return nil
}

// settle says what becomes of a source row and of its copies in other partitions. Here tells that its own partition has the key
// too, and newer that what is there is newer.
func (l *locator) settle(copies []oldCopy, here, newer bool) {
	row := copies[0].holder
	home := l.home(row)
	for _, c := range copies {
		newer = newer || c.stale
	}
	deletes := l.options.Mode == Delete || l.source.isDelete(row)
	switch {
	case l.options.Mode == Insert:
		l.source.fates[row] = ignored
		l.apart[home].Ignored++
		return
	case newer:
		l.source.fates[row] = stale
		l.apart[home].Stale++
		return
	case deletes && !here:
		l.source.fates[row] = deleted
		l.apart[copies[0].part].Deleted++
	case !deletes && !here:
		l.source.fates[row] = inserted
		if l.arrivals == nil {
			l.arrivals = map[int32]origin{}
		}
		l.arrivals[int32(row)] = origin{from: copies[0].part, repeats: len(copies) > 1}
	}
	for _, c := range copies {
		l.leaving[c.part] = append(l.leaving[c.part], departure{file: c.file, row: c.row, moves: !deletes})
	}
}

// refuseOldTwice stops where a key stands twice in one partition, as a merge of that partition does.
func (l *locator) refuseOldTwice(twice []oldCopy) error {
	part := twice[0].part
	twice = slices.DeleteFunc(twice, func(c oldCopy) bool { return c.part != part })
	var sample []string
	for _, c := range twice[:min(3, len(twice))] {
		sample = append(sample, fmt.Sprintf("%s (again in %s, row %d)", l.source.rows.keyText(c.holder, l.source.keyTables()), l.Partitions[part].Old[c.file].Name, c.row))
	}
	return &SearchError{Partition: int(part), Err: &Error{Kind: ErrDuplicateKey, File: l.Partitions[part].Old[twice[0].file].Name, Column: strings.Join(l.options.Key, ","),
		Message: fmt.Sprintf("%s more than once in the partition: %s", plural(len(twice), "key of the source stands", "keys of the source stand"), strings.Join(sample, "; ")),
		Hint:    "--old-duplicates update-all lets all of its rows go where the key moves away"}}
}
