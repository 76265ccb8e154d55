package job

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"

	"github.com/hupsert/hupsert/merge/shred"
	"github.com/hupsert/hupsert/partition"
)

func itoa(n int) string { return strconv.Itoa(n) }

// What became of an expectation.
const (
	Held       = "held"
	Broken     = "broken"
	NotChecked = "not_checked" // an error stopped the check before, or in it
)

// ExpectationReport is what became of an expectation.
type ExpectationReport struct {
	Expectation string `json:"expectation"`
	Status      string `json:"status"`
	Rows        int64  `json:"rows"` // that break it
	Message     string `json:"message,omitempty"`
	// Samples are a few of these rows.
	Samples []Sample `json:"samples,omitempty"`
}

// Sample is a row that breaks an expectation, as well as it can be named.
type Sample struct {
	Partition string        `json:"partition"`
	File      string        `json:"file,omitempty"`
	Row       int64         `json:"row,omitempty"` // in the file, from 1
	Key       partition.Row `json:"key,omitempty"`
	Value     partition.Row `json:"value,omitempty"` // of the columns that the expectation is about
	Text      string        `json:"text,omitempty"`  // what else is said of it
}

// samples is how many rows are named of each expectation.
const samples = 5

// String names the row in a message.
func (s Sample) String() string {
	var parts []string
	where := s.Partition
	if s.Text != "" {
		parts = append(parts, s.Text)
	}
	parts = append(parts, cells(s.Key)...)
	if len(s.Key) == 0 && s.File != "" {
		where = strings.TrimPrefix(where+"/", "/") + s.File + " row " + strconv.FormatInt(s.Row, 10)
	}
	for _, v := range cells(s.Value) {
		if !slices.Contains(parts, v) {
			parts = append(parts, v)
		}
	}
	text := strings.Join(parts, " ")
	switch {
	case where == "":
		return text
	case text == "":
		return where
	}
	return where + " " + text
}

func cells(row partition.Row) []string {
	var out []string
	for _, c := range row {
		out = append(out, c.Column+"="+shorten(string(c.Value), 60))
	}
	return out
}

// auditor checks expectations on what was merged and not published yet.
type auditor struct {
	view    *partition.StagedView
	changed []partition.PartitionReport // the partitions of the view
	options partition.Options
	key     []string // columns that name rows; without fields of structs
	results []ExpectationReport
}

// audit checks all expectations on what a run has staged, and gives an error that joins one for each that is broken. What can't be
// checked is an error at once.
func audit(ctx context.Context, table *partition.Table, s *Step, staged *partition.Report) ([]ExpectationReport, error) {
	key, err := rowKey(ctx, table, s)
	if err != nil {
		return notChecked(s.Expectations), err
	}
	view, err := table.ViewStaged(ctx, staged.Run)
	if err != nil {
		return notChecked(s.Expectations), err
	}
	changed := slices.DeleteFunc(slices.Clone(staged.Partitions), func(p partition.PartitionReport) bool { return p.Status != partition.Staged })
	return auditView(ctx, view, changed, s, key)
}

// auditView checks all expectations on a view of partitions. Rows are named by the key.
func auditView(ctx context.Context, view *partition.StagedView, changed []partition.PartitionReport, s *Step, key []string) ([]ExpectationReport, error) {
	a := &auditor{view: view, changed: changed, options: s.Options, results: notChecked(s.Expectations)}
	a.nameRows(key)
	var broken []error
	for i, e := range s.Expectations {
		out := &a.results[i]
		if err := a.check(ctx, e, out); err != nil {
			return a.results, errors.Join(append([]error{inExpectation(e, err)}, broken...)...)
		}
		out.Status = Held
		if out.Rows > 0 || out.Message != "" {
			out.Status = Broken
			broken = append(broken, &partition.Error{Kind: partition.KindGuard, Step: partition.StepVerify, Err: brokenError(out.text())})
		}
	}
	return a.results, errors.Join(broken...)
}

// notChecked are the results of expectations before anything is known.
func notChecked(list []*Expectation) []ExpectationReport {
	out := make([]ExpectationReport, len(list))
	for i, e := range list {
		out[i] = ExpectationReport{Expectation: e.String(), Status: NotChecked}
	}
	return out
}

// brokenError says which expectation is broken, and by which rows.
type brokenError string

func (e brokenError) Error() string { return "expectation broken: " + string(e) }
func (e brokenError) Unwrap() error { return partition.ErrGuard }

// inExpectation says in which one an error occurred.
func inExpectation(e *Expectation, err error) error {
	var known *partition.Error
	if errors.As(err, &known) {
		located := *known
		located.Err = fmt.Errorf("%w (in the expectation %s)", known.Err, e)
		return &located
	}
	return fmt.Errorf("the expectation %s: %w", e, err)
}

// text is what is wrong, in a line.
func (r *ExpectationReport) text() string {
	text := r.Expectation
	if r.Message != "" {
		text += ": " + r.Message
	}
	if r.Rows > 0 {
		text += ": " + rowsText(r.Rows)
	}
	var named []string
	for _, s := range r.Samples {
		named = append(named, s.String())
	}
	if len(named) == 0 {
		return text
	}
	text += ": " + strings.Join(named, ", ")
	if r.Rows > int64(len(named)) {
		text += ", ..."
	}
	return text
}

func rowsText(n int64) string {
	if n == 1 {
		return "1 row"
	}
	return strconv.FormatInt(n, 10) + " rows"
}

// rowKey is the key by which rows are named, as it is given or declared.
func rowKey(ctx context.Context, table *partition.Table, s *Step) ([]string, error) {
	if len(s.Options.Key) > 0 {
		return s.Options.Key, nil
	}
	c, err := table.ReadConfig(ctx)
	return c.Key, err
}

// nameRows settles by which columns rows are named.
func (a *auditor) nameRows(key []string) {
	for _, name := range key {
		top, _, _ := strings.Cut(name, ".")
		for _, p := range a.view.Partitions {
			if p.Schema == nil || slices.Contains(a.key, top) {
				continue
			}
			if slices.ContainsFunc(p.Schema.Fields(), func(f arrow.Field) bool { return strings.EqualFold(f.Name, top) }) {
				a.key = append(a.key, top)
			}
		}
	}
}

// check looks for what breaks an expectation.
func (a *auditor) check(ctx context.Context, e *Expectation, out *ExpectationReport) error {
	switch {
	case e.NotNull != nil:
		return a.rows(ctx, e.NotNull, out, func(arrow.Array, *time.Location) (func(i int) bool, error) { return nil, nil })
	case e.Between != nil:
		return a.rows(ctx, []string{e.Between.Column}, out, e.Between.allows)
	case e.Accepted != nil:
		return a.rows(ctx, []string{e.Accepted.Column}, out, e.Accepted.allows)
	case e.Unique != nil:
		return a.unique(ctx, e.Unique, out)
	case e.Change != nil:
		a.change(e.Change, out)
		return nil
	}
	return a.query(ctx, e, out)
}

// rows looks at each value of columns. allow gives, for an array, what says whether a value that is not NULL is fine; where it
// gives nothing, it is NULL that is not.
func (a *auditor) rows(ctx context.Context, columns []string, out *ExpectationReport, allow func(arrow.Array, *time.Location) (func(i int) bool, error)) error {
	zone, err := a.zone()
	if err != nil {
		return err
	}
	asked := slices.Concat(columns, a.key)
	for _, p := range a.view.Partitions {
		if len(p.Files) == 0 {
			continue
		}
		err := a.view.Each(ctx, p, asked, func(rows partition.StagedRows) error {
			allowed := make([]func(int) bool, len(columns))
			for c := range columns {
				var err error
				if allowed[c], err = allow(rows.Rows.Column(c), zone); err != nil {
					return &partition.Error{Kind: partition.KindUsage, Column: columns[c], Err: err}
				}
			}
			for i := range int(rows.Rows.NumRows()) {
				for c := range columns {
					arr := rows.Rows.Column(c)
					if fine := allowed[c]; fine == nil && !arr.IsNull(i) || fine != nil && (arr.IsNull(i) || fine(i)) {
						continue
					}
					if err := a.broken(rows, i, c, len(columns), out); err != nil {
						return err
					}
					break
				}
			}
			return ctx.Err()
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// zone is that of times in bounds that have none: the source's.
func (a *auditor) zone() (*time.Location, error) {
	if a.options.SourceTimezone == "" {
		return nil, nil
	}
	return time.LoadLocation(a.options.SourceTimezone)
}

// broken counts a row, and names it if it is one of the first.
func (a *auditor) broken(rows partition.StagedRows, i, column, columns int, out *ExpectationReport) error {
	out.Rows++
	if len(out.Samples) == samples {
		return nil
	}
	s := Sample{Partition: rows.Partition, File: rows.File, Row: rows.First + int64(i)}
	cell := func(c int) (partition.Cell, error) {
		v, err := shred.AppendJSON(nil, rows.Rows.Column(c), i)
		return partition.Cell{Column: rows.Rows.ColumnName(c), Value: json.RawMessage(v)}, err
	}
	for c := columns; c < int(rows.Rows.NumCols()); c++ {
		k, err := cell(c)
		if err != nil {
			return err
		}
		s.Key = append(s.Key, k)
	}
	v, err := cell(column)
	s.Value = partition.Row{v}
	out.Samples = append(out.Samples, s)
	return err
}

// unique looks for rows of a partition that are alike.
func (a *auditor) unique(ctx context.Context, columns []string, out *ExpectationReport) error {
	for _, p := range a.view.Partitions {
		if len(p.Files) == 0 {
			continue
		}
		found, err := a.view.Repeats(ctx, p, columns, a.options)
		if err != nil {
			return err
		}
		out.Rows += found.Repeated
		for _, k := range found.Sample {
			if len(out.Samples) == samples {
				break
			}
			s := Sample{Partition: p.Partition, Text: k.Key + " " + strconv.FormatInt(k.Rows, 10) + " times"}
			out.Samples = append(out.Samples, s)
		}
	}
	return nil
}

// change compares the partitions' numbers of rows with those before.
func (a *auditor) change(c *CountRange, out *ExpectationReport) {
	var bad []string
	for _, p := range a.changed {
		if c.holds(p.Rows.Old, p.Rows.Out) {
			continue
		}
		text := rowsText(p.Rows.Old) + " become " + strconv.FormatInt(p.Rows.Out, 10)
		if p.Partition != "" {
			text = p.Partition + " " + text
		}
		bad = append(bad, text)
	}
	if len(bad) > samples {
		bad = append(bad[:samples], fmt.Sprintf("and %d more", len(bad)-samples))
	}
	out.Message = strings.Join(bad, ", ")
}
