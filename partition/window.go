package partition

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
)

// window says within which partitions a key is unique ([Options.UniqueWithin]).
type window struct {
	days int  // around each partition
	all  bool // the whole table
	spec Spec // the partitions that have these values
}

const wholeTable = "table"

// parseWindow reads "7d", "table" or "region=kr"; nil of an empty text.
func parseWindow(text string) (*window, error) {
	if text == "" {
		return nil, nil
	}
	if text == wholeTable {
		return &window{all: true}, nil
	}
	const want = "unique-within %q: want a number of days such as 7d, table, or a filter such as region=kr"
	if number, ok := strings.CutSuffix(text, "d"); ok && !strings.Contains(text, "=") {
		days, err := strconv.Atoi(number)
		if err != nil || days < 0 || days > 1e6 {
			return nil, fmt.Errorf(want, text)
		}
		return &window{days: days}, nil
	}
	if !strings.Contains(text, "=") {
		return nil, fmt.Errorf(want, text)
	}
	spec, err := ParseSpec(text)
	if err != nil {
		return nil, fmt.Errorf("unique-within: %w", err)
	}
	return &window{spec: spec}, nil
}

// checkWindow finds what does not go with keys that are unique beyond their partition.
func (o *Options) checkWindow() (errs []error) {
	bad := func(format string, args ...any) { errs = append(errs, fmt.Errorf("unique-within: "+format, args...)) }
	switch o.Mode {
	case Replace, Append:
		bad("mode %s has no keys", o.Mode)
	case Mirror:
		bad("mode mirror says what a partition holds, whatever stands in others; name the partitions that hold the keys with mode upsert")
	}
	if o.Partial {
		bad("a row that moves leaves one partition and comes to another in one commit, which partial gives up")
	}
	return errs
}

// tableWindow is a window in a table: it says which partitions may not have a key that goes to another one.
type tableWindow struct {
	*window
	column int // of the dates, where it goes by days
}

// settle looks whether the window is one of the table.
func (w *window) settle(columns []Column, key []string) (*tableWindow, error) {
	if len(columns) == 0 {
		return nil, fault(ErrUsage, "--unique-within: the table has no partitions, so that its keys are unique anyway").hint("leave it out")
	}
	for _, k := range key {
		if columnIndex(columns, k) >= 0 {
			return nil, fault(ErrUsage, "--unique-within: the key has the partition column %s, so that no row of another partition has its key", k).column(k).
				hint("name the columns that tell rows apart whatever their partition with --key")
		}
	}
	in := &tableWindow{window: w, column: -1}
	switch {
	case w.all:
	case w.spec != nil:
		spec, err := canonicalSpec(columns, w.spec)
		if err != nil {
			return nil, hinted(err, "--unique-within takes days, table, or values of partition columns, such as "+columns[0].Name+"=...")
		}
		in.window = &window{spec: spec}
	default:
		for i, c := range columns {
			if c.Type.ID() != arrow.DATE32 && c.Type.ID() != arrow.TIMESTAMP {
				continue
			}
			if in.column >= 0 {
				return nil, fault(ErrUsage, "--unique-within %dd: the table has several partition columns of dates or timestamps", w.days).
					hint("say --unique-within table, or name partitions, such as --unique-within %s=...", columns[0].Name)
			}
			in.column = i
		}
		if in.column < 0 {
			return nil, fault(ErrUsage, "--unique-within %dd: no partition column is a date or a timestamp (%s)", w.days, formatColumns(columns)).
				hint("declare the one that is, such as hupsert config TABLE --set partition-by=%s:date; or say --unique-within table", columns[0].Name)
		}
	}
	return in, nil
}

// meets reports whether a key may stand in one of two partitions only.
func (w *tableWindow) meets(a, b Spec) bool {
	switch {
	case w.all:
		return true
	case w.spec != nil:
		return covers(w.spec, a) && covers(w.spec, b)
	}
	x, ok := partitionTime(a[w.column])
	y, also := partitionTime(b[w.column])
	return ok && also && x.Sub(y).Abs() <= time.Duration(w.days)*24*time.Hour
}

// partitionTime is a date or timestamp in its canonical form; false of NULL.
func partitionTime(p Pair) (time.Time, bool) {
	for _, layout := range []string{"2006-01-02", "2006-01-02 15:04:05.999999999"} {
		if t, err := time.Parse(layout, p.Value); err == nil && !p.Null {
			return t, true
		}
	}
	return time.Time{}, false
}

// around are the partitions of a layout that some target reaches, and that are no targets.
func (w *tableWindow) around(l *layout, targets []*target) (out []*target) {
	named := map[string]bool{}
	for _, t := range targets {
		named[t.path] = true
	}
	for _, leaf := range l.leaves {
		spec, err := canonicalSpec(l.columns, leaf.spec)
		if named[leaf.path] || err != nil || len(spec) != len(l.columns) { // no row can go to one that is no value of its column
			continue
		}
		if slices.ContainsFunc(targets, func(t *target) bool { return w.meets(t.spec, spec) }) {
			out = append(out, &target{path: leaf.path, spec: spec, exists: true})
		}
	}
	return out
}

// unsearched says which partitions the window leaves out that should be in it; "" where none is.
func (w *tableWindow) unsearched(l *layout) string {
	if w == nil || !w.all {
		return ""
	}
	var out []string
	for _, leaf := range l.leaves {
		if spec, err := canonicalSpec(l.columns, leaf.spec); err != nil || len(spec) != len(l.columns) {
			out = append(out, leaf.path)
		}
	}
	if len(out) == 0 {
		return ""
	}
	text := "keys were not looked for in " + out[0]
	if n := len(out) - 1; n > 0 {
		text += " and " + plural(int64(n), "more partition", "more partitions")
	}
	return text + ": not a value of the partition column's type"
}

// settleWindow finds the partitions in which the source's keys are looked for, beside those that its rows go to.
func (r *run) settleWindow() error {
	if r.parsed.window == nil || len(r.routed.targets) == 0 { // without rows no column has a type by the source
		return nil
	}
	var err error
	if r.window, err = r.parsed.window.settle(r.layout.columns, r.options.Key); err != nil {
		return err
	}
	r.routed.around = r.window.around(r.layout, r.routed.targets)
	return nil
}

// recoverWindow recovers partitions, and where keys are looked for in others what killed runs left anywhere: a new partition of the window
// that is committed has no folder before its run is finished.
func (r *run) recoverWindow(ctx context.Context, paths []string) error {
	return r.traced(ctx, "recover", func(ctx context.Context) error {
		if r.window != nil {
			if err := r.endKilled(ctx, nil); err != nil {
				return err
			}
		}
		return r.endKilled(ctx, paths)
	})
}

// nowAround lists the table anew, and gives the partitions that the window has now beside the targets.
func (r *run) nowAround(ctx context.Context) (*layout, []*target, error) {
	l, err := r.listNames(ctx, r.layout.columns)
	if err != nil {
		return nil, nil, err
	}
	return l, r.window.around(l, r.routed.targets), nil
}

// sameWindow looks, when all partitions are held, that none has come to the window or gone since they were listed. Where that is not
// so the next attempt takes them as they are.
func (r *run) sameWindow(ctx context.Context) error {
	l, now, err := r.nowAround(ctx)
	if err != nil {
		return err
	}
	changed := differentWindow(r.routed.around, now)
	if changed == nil {
		return nil
	}
	r.layout, r.routed.around = l, now
	return errors.Join(changed, r.lookAt(ctx, slices.Concat(r.routed.targets, now)))
}

// differentWindow is a conflict where partitions have come or gone.
func differentWindow(was, now []*target) error {
	for _, pair := range [][2][]*target{{was, now}, {now, was}} {
		for _, t := range pair[0] {
			if !slices.ContainsFunc(pair[1], func(u *target) bool { return u.path == t.path }) {
				return (&Error{Kind: KindConflict, Partition: t.path, Err: both{errors.New("came or went meanwhile"), ErrConflict}}).
					hint("run again, or let --retry do it")
			}
		}
	}
	return nil
}

// stillUnique looks, before the run is published, that nobody has changed a partition of the window in which nothing is to change:
// it may have a key of the source now.
func (r *run) stillUnique(ctx context.Context, out []*outcome) error {
	if r.window == nil {
		return nil
	}
	_, now, err := r.nowAround(ctx)
	if err == nil {
		err = differentWindow(r.routed.around, now)
	}
	if err != nil {
		return err
	}
	for _, o := range slices.Concat(r.watched, out) {
		if o.staged {
			continue // which the publish looks at
		}
		now, err := r.store.Inputs(ctx, o.path)
		if err != nil {
			return locate(err, o.path, StepPublish)
		}
		if !reflect.DeepEqual(now, o.inputs) {
			return (&Error{Kind: KindConflict, Partition: o.path, Step: StepPublish,
				Err: both{errors.New("changed meanwhile: it may have keys of the source now"), ErrConflict}}).
				hint("run again, or let --retry do it")
		}
	}
	return nil
}
