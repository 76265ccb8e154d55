package partition

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
	"time"
)

// Every method of a Table at once, of one Table and of a second one that stands for another process. Runs
// wait for each other; whatever they end with, the table is whole, and nothing is left behind.
func TestEverythingAtOnce(t *testing.T) {
	b := newBench(t)
	b.cfg.LockWait = time.Minute
	b.create("0,start,2026-11-20", "0,start,2026-11-21", "0,start,2026-11-22")
	b.upsert(Options{}, b.write("second.csv", "id,name,dt", "0,begin,2026-11-20", "0,begin,2026-11-21", "0,begin,2026-11-22"))
	tables := []*Table{b.open(), b.open()}
	ctx := context.Background()
	key := Options{Key: []string{"id"}, Retry: 50}
	days := []string{"2026-11-20", "2026-11-21", "2026-11-22"}
	from := make([]string, 12)
	for i := range from {
		from[i] = b.write(fmt.Sprintf("day%d.csv", i), "id,name,dt", fmt.Sprintf("%d,n%d,%s", i+1, i, days[i%3]), fmt.Sprintf("%d,m%d,%s", i+1, i, days[(i+1)%3]))
	}
	jobs := map[string]func(table *Table, r *rand.Rand) error{
		"upsert": func(table *Table, r *rand.Rand) error {
			_, err := table.Upsert(ctx, Source{From: []string{from[r.IntN(len(from))]}}, key)
			return err
		},
		"partial": func(table *Table, r *rand.Rand) error {
			o := key
			o.Partial = true
			_, err := table.Upsert(ctx, Source{From: []string{from[r.IntN(len(from))]}}, o)
			return err
		},
		"plan": func(table *Table, r *rand.Rand) error {
			_, err := table.Plan(ctx, Source{From: []string{from[r.IntN(len(from))]}}, key)
			return err
		},
		"rollback": func(table *Table, r *rand.Rand) error {
			_, err := table.Rollback(ctx, RollbackOptions{Partitions: []string{"dt=" + days[r.IntN(3)]}})
			return err
		},
		"undo": func(table *Table, r *rand.Rand) error {
			versions, err := table.History(ctx, "dt="+days[r.IntN(3)])
			if err != nil || len(versions) == 0 || versions[0].Run == "origin" {
				return err
			}
			_, err = table.Rollback(ctx, RollbackOptions{Run: versions[0].Run})
			return err
		},
		"recover": func(table *Table, _ *rand.Rand) error {
			_, err := table.Recover(ctx)
			return err
		},
		"vacuum": func(table *Table, r *rand.Rand) error {
			_, err := table.Vacuum(ctx, VacuumOptions{Keep: time.Hour, DryRun: r.IntN(2) == 0})
			return err
		},
		"show": func(table *Table, _ *rand.Rand) error {
			_, err := table.Show(ctx, ShowOptions{})
			return err
		},
		"history": func(table *Table, _ *rand.Rand) error {
			_, err := table.History(ctx, "")
			return err
		},
		"config": func(table *Table, r *rand.Rand) error {
			_, err := table.SetConfig(ctx, map[string]string{[]string{"key", "order-by"}[r.IntN(2)]: "id"})
			return err
		},
	}
	var wg sync.WaitGroup
	for name, job := range jobs {
		for n := range 3 {
			wg.Add(1)
			go func() {
				defer wg.Done()
				r := rand.New(rand.NewPCG(uint64(n), uint64(len(name))))
				for range 4 {
					at := tables[n%2]
					if name == "config" {
						at = tables[0]
					}
					err := job(at, r)
					if err != nil && !allowed(name, err) {
						t.Errorf("%s: %v (kind %s)", name, err, KindOf(err))
					}
				}
			}()
		}
	}
	wg.Wait()
	if _, err := tables[0].Recover(ctx); err != nil {
		t.Fatal(err)
	}
	b.clean()
	for _, line := range b.rows() {
		if !strings.Contains(line, "id=") {
			t.Error(line)
		}
	}
}

// Of declarations that are made at once none is lost.
func TestConcurrentDeclarations(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	table := b.open()
	want := map[string]string{"key": "id", "order-by": "name", "keep-history": "1h"}
	for range 20 {
		if _, err := table.SetConfig(context.Background(), map[string]string{"key": "", "order-by": "", "keep-history": ""}); err != nil {
			t.Fatal(err)
		}
		var wg sync.WaitGroup
		for name, value := range want {
			wg.Add(1)
			go func() {
				defer wg.Done()
				if _, err := table.SetConfig(context.Background(), map[string]string{name: value}); err != nil {
					t.Error(err)
				}
			}()
		}
		wg.Wait()
		c, err := table.ReadConfig(context.Background())
		if err != nil || strings.Join(c.Key, "") != "id" || strings.Join(c.OrderBy, "") != "name" || c.KeepHistory != "1h" {
			t.Fatalf("declared %+v, %v", c, err)
		}
	}
}

// allowed reports whether a method may end so because of what others do.
func allowed(name string, err error) bool {
	switch name {
	case "upsert", "partial", "plan", "rollback", "undo", "vacuum":
		return errors.Is(err, ErrConflict) || errors.Is(err, ErrLocked)
	}
	return false
}
