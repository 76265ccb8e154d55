package partition

import (
	"context"
	"errors"
	"slices"

	"github.com/hupsert/hupsert/storage/swap"
)

// stagedWindow is what a staged run remembers of the partitions in which its keys may stand once: when it is published, these must
// be the same ones.
type stagedWindow struct {
	Within  string         `json:"within"`
	Columns []stagedColumn `json:"columns"` // the partition columns
	Targets []string       `json:"targets"` // the partitions that the source's rows go to
	Around  []string       `json:"around"`  // the others of the window
}

// stagedColumn is a partition column.
type stagedColumn struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// parkedWindow is what a run of which the rows stay staged remembers of its window; nil without one.
func (r *run) parkedWindow() *stagedWindow {
	if r.window == nil {
		return nil
	}
	w := &stagedWindow{Within: r.options.UniqueWithin, Targets: paths(r.routed.targets), Around: paths(r.routed.around)}
	for _, c := range r.layout.columns {
		w.Columns = append(w.Columns, stagedColumn{c.Name, TypeName(c.Type)})
	}
	return w
}

// besideStaged is what a run that moves rows has read and does not change.
func (r *run) besideStaged(out []*outcome) (b swap.Beside) {
	if r.window == nil {
		return b
	}
	b.New, b.Inputs = r.makesPartitions(), map[string]swap.Inputs{}
	for _, o := range slices.Concat(r.watched, out) {
		if !o.staged {
			b.Inputs[o.path] = o.inputs
		}
	}
	return b
}

// asItWas looks whether the partitions of the window still are those that were searched. Whether they have changed is not looked at.
func (w *stagedWindow) asItWas(ctx context.Context, t *Table) error {
	if w == nil {
		return nil
	}
	columns := make([]Column, len(w.Columns))
	for i, c := range w.Columns {
		t, err := ParseType(c.Type)
		if err != nil {
			return err
		}
		columns[i] = Column{Name: c.Name, Type: t}
	}
	parsed, err := parseWindow(w.Within)
	if err != nil {
		return err
	}
	window, err := parsed.settle(columns, nil)
	if err != nil {
		return err
	}
	l, err := t.listNames(ctx, columns)
	if err != nil {
		return err
	}
	var targets, around []*target
	for _, path := range w.Targets {
		spec, err := ParsePath(path)
		if err == nil {
			spec, err = canonicalSpec(l.columns, spec)
		}
		if err != nil {
			return err
		}
		targets = append(targets, &target{path: path, spec: spec})
	}
	for _, path := range w.Around {
		around = append(around, &target{path: path})
	}
	return differentWindow(around, window.around(l, targets))
}

// windowChange is asItWas as a text; "" where nothing has changed, or where that can't be told: publish says why.
func (w *stagedWindow) windowChange(ctx context.Context, t *Table) (partition, change string) {
	err := w.asItWas(ctx, t)
	var e *Error
	switch {
	case errors.As(err, &e) && errors.Is(err, ErrConflict):
		return e.Partition, e.Err.Error()
	case err != nil:
		t.cfg.Logger.Warn("whether partitions of a staged run's window came or went can't be told", "error", err)
	}
	return "", ""
}

func paths(targets []*target) []string {
	out := make([]string, len(targets))
	for i, t := range targets {
		out[i] = t.path
	}
	return out
}
