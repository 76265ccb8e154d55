package overview

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// unknown stands in the page's lists of numbers for what nobody wrote down.
const unknown = -1

// neither stands there for what a rollback has none of: it puts files back, and looks at no rows.
const neither = -2

// mostChanges is how many changes of single partitions a page has; of runs before those it has the sums only. It keeps a page
// below some 20 MB.
var mostChanges = 250_000

// content is the page's data. What is many is a list for each property, so that names are not repeated.
type content struct {
	Table      string     `json:"table"`
	At         int64      `json:"at"` // seconds since 1970, as all times
	Columns    []column   `json:"columns"`
	Partitions partitions `json:"partitions"`
	Runs       runs       `json:"runs"`
	Changes    changes    `json:"changes"`
	Start      [2]int64   `json:"start"` // rows and bytes of the table before the first run
	// Left is how many changes, the oldest, are not in Changes.
	Left     int              `json:"left"`
	Failures map[int]*failure `json:"failures"` // by run
	Staged   []staged         `json:"staged"`
}

type column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

type partitions struct {
	Name        []string       `json:"name"`
	Values      [][]string     `json:"values"` // of the partition columns; NULL is "NULL"
	Live        []int          `json:"live"`
	Rows        []int64        `json:"rows"`
	Bytes       []int64        `json:"bytes"`
	Files       []int          `json:"files"`
	Unavailable map[int]string `json:"unavailable"`
}

// runs are in the order of their times.
type runs struct {
	Name     []string  `json:"name"`
	At       []int64   `json:"at"`
	Command  []string  `json:"command"`
	Seconds  []float64 `json:"seconds"`
	Touched  []int     `json:"touched"`
	Inserted []int64   `json:"inserted"`
	Updated  []int64   `json:"updated"`
	Deleted  []int64   `json:"deleted"`
	// Bytes are by route: kept, copied, patched, rewritten, added. Empty where they are not known.
	Bytes [][]int64 `json:"bytes"`
	// Rows and Size are those of the whole table after the run.
	Rows []int64 `json:"rows"`
	Size []int64 `json:"size"`
}

// changes are in the order of their runs.
type changes struct {
	Run       []int     `json:"run"`
	Partition []int     `json:"partition"`
	Version   []int64   `json:"version"`
	Rows      []int64   `json:"rows"`
	Size      []int64   `json:"size"`
	Inserted  []int64   `json:"inserted"`
	Updated   []int64   `json:"updated"`
	Deleted   []int64   `json:"deleted"`
	Bytes     [][]int64 `json:"bytes"`
	Seconds   []float64 `json:"seconds"` // that the merge took
	Gone      []int     `json:"gone"`    // 1: the run removed the partition
}

type failure struct {
	Kind       string          `json:"kind"`
	Message    string          `json:"message"`
	Hint       string          `json:"hint,omitempty"`
	Partitions []failedElement `json:"partitions"`
	More       int             `json:"more,omitempty"`
}

type failedElement struct {
	Partition string `json:"partition"`
	Status    string `json:"status"`
	Kind      string `json:"kind,omitempty"`
	Message   string `json:"message,omitempty"`
	Hint      string `json:"hint,omitempty"`
}

type staged struct {
	Run        string `json:"run"`
	At         int64  `json:"at"`
	Partitions int    `json:"partitions"`
	Rows       int64  `json:"rows"`
}

// change is one version on its way to the page.
type change struct {
	partition int
	version   partition.Version
	before    size // of the partition
	after     size
}

// size is how large a partition, or the table, is.
type size struct{ rows, bytes int64 }

// gather makes the page's data.
func gather(o *partition.Overview) *content {
	p := &content{Table: o.Table, At: o.Time.Unix(), Columns: []column{}, Failures: map[int]*failure{}, Staged: []staged{}}
	for _, c := range o.PartitionBy {
		p.Columns = append(p.Columns, column{c.Name, c.Type})
	}
	for _, s := range o.Staged {
		p.Staged = append(p.Staged, staged{Run: s.Run, At: s.Time.Unix(), Partitions: len(s.Partitions), Rows: s.Rows})
	}
	p.Partitions.Unavailable = map[int]string{}
	var total size // of the table before the first run
	var list []change
	for i, part := range o.Partitions {
		p.addPartition(i, part)
		origin, done := history(i, part)
		total.rows, total.bytes = total.rows+origin.rows, total.bytes+origin.bytes
		list = append(list, done...)
	}
	p.Start = [2]int64{total.rows, total.bytes}
	p.addRuns(list, o.Failures, total)
	return p
}

func (p *content) addPartition(i int, part partition.PartitionOverview) {
	to := &p.Partitions
	values := []string{}
	for _, pair := range part.Spec {
		if pair.Null {
			pair.Value = "NULL"
		}
		values = append(values, pair.Value)
	}
	live := 0
	if part.Live {
		live = 1
	}
	rows, bytes := part.Rows, part.Bytes
	if part.Unavailable != "" {
		to.Unavailable[i], rows, bytes = part.Unavailable, unknown, unknown
	}
	to.Name, to.Values, to.Live = append(to.Name, part.Partition), append(to.Values, values), append(to.Live, live)
	to.Rows, to.Bytes, to.Files = append(to.Rows, rows), append(to.Bytes, bytes), append(to.Files, part.Files)
}

// history is the changes that runs made to a partition, and how large it was before them. Where nobody knows any more how many rows
// a version had it is taken to have had as many as the one after it found, or has.
func history(i int, part partition.PartitionOverview) (origin size, list []change) {
	if len(part.Versions) == 0 {
		return size{max(part.Rows, 0), max(part.Bytes, 0)}, nil
	}
	sizes := make([]size, len(part.Versions))
	for k := len(part.Versions) - 1; k >= 0; k-- {
		v := part.Versions[k]
		rows := v.Rows
		if rows < 0 && k+1 < len(part.Versions) {
			if next := part.Versions[k+1]; next.Work != nil {
				rows = next.Work.Rows.Old
			} else {
				rows = sizes[k+1].rows
			}
		}
		sizes[k] = size{max(rows, 0), max(v.Bytes, 0)}
	}
	before := size{}
	for k, v := range part.Versions {
		if v.Version == 0 { // found, not made by a run of ours
			if k == 0 {
				origin = sizes[0]
				before = origin
			}
			continue
		}
		list = append(list, change{partition: i, version: v, before: before, after: sizes[k]})
		before = sizes[k]
	}
	return origin, list
}

// addRuns brings changes and failures into the order of time, each to its run.
func (p *content) addRuns(list []change, failures []partition.FailedRun, total size) {
	slices.SortStableFunc(list, func(a, b change) int {
		return cmp.Or(cmp.Compare(startedAs(a.version.Run), startedAs(b.version.Run)), cmp.Compare(a.partition, b.partition), cmp.Compare(a.version.Version, b.version.Version))
	})
	type group struct {
		name    string
		at      time.Time
		changes []change
		failed  *partition.FailedRun
	}
	groups := map[string]*group{}
	var order []*group
	of := func(name string) *group {
		g := groups[name]
		if g == nil {
			g = &group{name: name}
			groups[name] = g
			order = append(order, g)
		}
		return g
	}
	for _, c := range list {
		g := of(startedAs(c.version.Run))
		g.changes = append(g.changes, c)
		if c.version.Time.After(g.at) {
			g.at = c.version.Time
		}
	}
	for i := range failures {
		g := of(startedAs(failures[i].Run))
		g.failed = &failures[i]
		if g.at.IsZero() {
			g.at = failures[i].Time
		}
	}
	slices.SortStableFunc(order, func(a, b *group) int { return cmp.Or(a.at.Compare(b.at), cmp.Compare(a.name, b.name)) })
	p.Left = max(0, len(list)-mostChanges)
	skip := p.Left
	for i, g := range order {
		left := min(skip, len(g.changes))
		skip -= left
		p.addRun(i, g.name, g.at, g.changes, left, g.failed, &total)
	}
}

// addRun adds a run with its changes but the first left, of which it has the sums. The table's size goes along.
func (p *content) addRun(i int, name string, at time.Time, list []change, left int, failed *partition.FailedRun, total *size) {
	r := &p.Runs
	sum := sums{}
	for k, c := range list {
		total.rows, total.bytes = total.rows+c.after.rows-c.before.rows, total.bytes+c.after.bytes-c.before.bytes
		sum.add(c.version)
		if k >= left {
			p.addChange(i, c)
		}
	}
	command := ""
	switch {
	case len(list) > 0:
		command = commandOf(list[0].version.Command, list[0].version.Mode)
		if list[0].version.Restores != "" {
			command += " to " + list[0].version.Restores
		}
	case failed != nil:
		command = commandOf(failed.Command, string(failed.Mode))
	}
	if failed != nil {
		p.Failures[i] = failureOf(failed)
		if sum.known || len(list) == 0 {
			sum.seconds = max(sum.seconds, failed.Elapsed)
		}
	}
	seconds := rounded(sum.seconds)
	switch {
	case len(list) == 0 || sum.known || failed != nil:
	case sum.restores:
		seconds = neither
	default:
		seconds = unknown
	}
	r.Name, r.At, r.Command = append(r.Name, name), append(r.At, at.Unix()), append(r.Command, command)
	r.Seconds, r.Touched = append(r.Seconds, seconds), append(r.Touched, len(list))
	inserted, updated, deleted, routes := sum.numbers(len(list) == 0)
	r.Inserted, r.Updated, r.Deleted = append(r.Inserted, inserted), append(r.Updated, updated), append(r.Deleted, deleted)
	r.Bytes = append(r.Bytes, routes)
	r.Rows, r.Size = append(r.Rows, total.rows), append(r.Size, total.bytes)
}

func (p *content) addChange(run int, c change) {
	to, v := &p.Changes, c.version
	sum := sums{}
	sum.add(v)
	inserted, updated, deleted, routes := sum.numbers(false)
	seconds := float64(unknown)
	if v.Restores != "" {
		seconds = neither
	}
	if w := v.Work; w != nil {
		s := w.Seconds
		seconds = rounded(s.Index + s.Probe + s.Plan + s.Write + s.Verify)
	}
	gone := 0
	if v.Absent {
		gone = 1
	}
	to.Run, to.Partition, to.Version = append(to.Run, run), append(to.Partition, c.partition), append(to.Version, v.Version)
	to.Rows, to.Size = append(to.Rows, c.after.rows), append(to.Size, c.after.bytes)
	to.Inserted, to.Updated, to.Deleted = append(to.Inserted, inserted), append(to.Updated, updated), append(to.Deleted, deleted)
	to.Bytes, to.Seconds, to.Gone = append(to.Bytes, routes), append(to.Seconds, seconds), append(to.Gone, gone)
}

// sums adds what runs did, as far as they wrote it down.
type sums struct {
	known                      bool
	restores                   bool // a rollback
	inserted, updated, deleted int64
	bytes                      partition.Bytes
	seconds                    float64
}

func (s *sums) add(v partition.Version) {
	s.restores = s.restores || v.Restores != ""
	w := v.Work
	if w == nil {
		return
	}
	s.known = true
	// A row that moves comes to one partition and leaves another.
	s.inserted, s.updated, s.deleted = s.inserted+w.Rows.Inserted+w.Rows.Moved, s.updated+w.Rows.Updated, s.deleted+w.Rows.Deleted+w.Rows.MovedOut
	s.bytes.Add(w.Bytes)
	s.seconds = max(s.seconds, w.Elapsed)
}

// numbers are the sums as the page has them; nothing done is known to be nothing.
func (s *sums) numbers(nothing bool) (inserted, updated, deleted int64, routes []int64) {
	switch {
	case s.known:
		b := s.bytes
		return s.inserted, s.updated, s.deleted, []int64{b.Kept, b.Copied, b.Patched, b.Rewritten, b.Added}
	case nothing:
		return 0, 0, 0, []int64{}
	case s.restores:
		return neither, neither, neither, []int64{neither}
	}
	return unknown, unknown, unknown, []int64{}
}

func failureOf(f *partition.FailedRun) *failure {
	out := &failure{Partitions: []failedElement{}, More: f.More}
	if f.Error != nil {
		out.Kind, out.Message, out.Hint = string(f.Error.Kind), f.Error.Message, f.Error.Hint
	}
	for _, p := range f.Partitions {
		e := failedElement{Partition: p.Partition, Status: string(p.Status)}
		if p.Error != nil {
			e.Kind, e.Message, e.Hint = string(p.Error.Kind), p.Error.Message, p.Error.Hint
			if out.Message == "" {
				out.Kind, out.Message, out.Hint = e.Kind, e.Message, e.Hint
			}
		}
		out.Partitions = append(out.Partitions, e)
	}
	return out
}

// commandOf is a command with its mode, where that says more.
func commandOf(command, mode string) string {
	if mode == "" || mode == command {
		return command
	}
	return command + " " + mode
}

// rounded keeps milliseconds.
func rounded(seconds float64) float64 { return math.Round(seconds*1000) / 1000 }

// startedAs is the name under which the user knows a run: a partial run is one for each of its partitions, and one that began
// anew after a conflict has a name for each time.
func startedAs(run string) string {
	const named = len("20060102T150405Z-ffff")
	if len(run) > named && run[named] == '-' {
		return run[:named]
	}
	return run
}
