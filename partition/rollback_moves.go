package partition

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/hupsert/hupsert/storage/swap"
)

// splitMove is a move of rows that would be undone, or made anew, in one of its partitions and not in another.
type splitMove struct {
	run, here, there string // here is rolled back, there stays
	undone           bool   // else it is made anew
	rows             Rows   // what the run did here
}

// keepsMoves refuses a rollback of some partitions of a run that moved rows between them ([Options.UniqueWithin]): the others would have these rows
// as well, or nobody.
func (t *Table) keepsMoves(ctx context.Context, list []swap.Restore) error {
	m := moveHistory{store: t.store, to: map[string]string{}, versions: map[string][]swap.Version{}}
	for _, r := range list {
		m.to[r.Partition] = r.To
	}
	for _, r := range list {
		split, err := m.split(ctx, r.Partition)
		if err != nil {
			return locate(swapError(err), r.Partition, StepOpen)
		}
		if split != nil {
			return split.refuse(t.url)
		}
	}
	return nil
}

// refuse says what would become of the rows.
func (s *splitMove) refuse(table string) error {
	twice, lost := s.rows.MovedOut, s.rows.Moved // as where it is undone
	if !s.undone {
		twice, lost = lost, twice
	}
	what := fmt.Sprintf("%s would stand twice", plural(twice, "row", "rows"))
	if lost > 0 {
		what = fmt.Sprintf("%s would be lost", plural(lost, "row", "rows"))
		if twice > 0 {
			what += fmt.Sprintf(", and %d stand twice", twice)
		}
	}
	e := fault(ErrGuard, "run %s moved rows between this partition and %s, which stays as it is: %s", s.run, s.there, what)
	e.Partition, e.Step = s.here, StepOpen
	if s.undone {
		return e.hint("hupsert rollback %s --run %s undoes it in all its partitions; --force rolls back this one all the same", ShellQuote(table), s.run)
	}
	return e.hint("name the others with --partition, too; --force rolls back this one all the same")
}

// moveHistory knows which runs that moved rows the versions of partitions rest on.
type moveHistory struct {
	store    *swap.Store
	to       map[string]string // the version that comes back, of partitions that are rolled back
	versions map[string][]swap.Version
}

// split finds a move that the partition would not share with the others any more.
func (m *moveHistory) split(ctx context.Context, partition string) (*splitMove, error) {
	versions, err := m.of(ctx, partition)
	if err != nil {
		return nil, err
	}
	before, after := movesOf(versions, len(versions)-1), movesOf(versions, m.after(partition, versions))
	for _, run := range slices.Sorted(maps.Keys(union(before, after))) {
		_, undone := before[run]
		_, made := after[run]
		if undone == made {
			continue
		}
		there, err := m.apart(ctx, run, partition, made)
		if err != nil {
			return nil, err
		}
		if there != "" {
			return &splitMove{run: run, here: partition, there: there, undone: undone, rows: union(before, after)[run]}, nil
		}
	}
	return nil, nil
}

// apart names another partition of a run in which its move will not be as it is here: made, or not.
func (m *moveHistory) apart(ctx context.Context, run, here string, made bool) (string, error) {
	partitions, err := m.store.RunPartitions(ctx, run)
	if errors.Is(err, swap.ErrNoVersion) {
		return "", nil // what it made is not kept any more
	}
	if err != nil {
		return "", err
	}
	for _, p := range partitions {
		if p == here {
			continue
		}
		versions, err := m.of(ctx, p)
		if err != nil {
			return "", err
		}
		moved := slices.ContainsFunc(versions, func(v swap.Version) bool { return v.Run == run && movedIn(v) != nil })
		if _, there := movesOf(versions, m.after(p, versions))[run]; moved && there != made {
			return p, nil
		}
	}
	return "", nil
}

// of are the versions of a partition.
func (m *moveHistory) of(ctx context.Context, partition string) ([]swap.Version, error) {
	if list, ok := m.versions[partition]; ok {
		return list, nil
	}
	list, err := m.store.History(ctx, partition)
	m.versions[partition] = list
	return list, err
}

// after is the version that a partition has after the rollback.
func (m *moveHistory) after(partition string, versions []swap.Version) int {
	if to, ok := m.to[partition]; ok {
		return slices.IndexFunc(versions, func(v swap.Version) bool { return v.Run == to })
	}
	return len(versions) - 1
}

// movesOf are the runs that moved rows and that a version rests on, each with what it did. One that was put back rests on what it rested on before.
func movesOf(versions []swap.Version, at int) map[string]Rows {
	out := map[string]Rows{}
	for at >= 0 {
		v := versions[at]
		if v.Restores != "" {
			at = slices.IndexFunc(versions[:at], func(earlier swap.Version) bool { return earlier.Run == v.Restores })
			continue
		}
		if rows := movedIn(v); rows != nil {
			out[v.Run] = *rows
		}
		at--
	}
	return out
}

// movedIn is what the run of a version did, nil where it moved no row.
func movedIn(v swap.Version) *Rows {
	w := workOf(v)
	if w == nil || w.Rows.Moved+w.Rows.MovedOut == 0 {
		return nil
	}
	return &w.Rows
}

// union is the runs of both.
func union(a, b map[string]Rows) map[string]Rows {
	out := maps.Clone(a)
	maps.Copy(out, b)
	return out
}
