//go:build unix

package writertest

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/hupsert/hupsert/internal/servicetest"
	"github.com/hupsert/hupsert/partition"
)

// many is how many partitions a run changes at once.
const many = 100

// days are the partitions, by their dates.
func days() (out []string) {
	for i := range many {
		out = append(out, time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).AddDate(0, 0, i).Format(time.DateOnly))
	}
	return out
}

// version is the CSV of a row for each day.
func version(n int) partition.Source {
	var b strings.Builder
	b.WriteString("id,n,dt\n")
	for _, day := range days() {
		fmt.Fprintf(&b, "row,%d,%s\n", n, day)
	}
	return partition.Source{From: []string{"-"}, Format: "csv", Stdin: strings.NewReader(b.String())}
}

// TestAtOnce: a run over a hundred partitions that the metastore does not have yet, one that changes them, and one that
// takes that back, are each seen in all of them or in none by whoever asks the metastore.
func TestAtOnce(t *testing.T) {
	if testing.Short() {
		t.Skip("writes hundreds of files")
	}
	is := newTable(t, servicetest.Shared(t))
	table, err := partition.Open(t.Context(), "hive://"+is.Metastore+"/"+is.Database+"."+tableName, partition.Config{Hadoop: partition.Hadoop{User: "root"}})
	must(t, err)
	defer func() { must(t, table.Close()) }()

	w := &watcher{table: is, seen: map[string]int{}, ended: make(chan struct{})}
	var watching sync.WaitGroup
	watching.Go(func() { w.watch(t.Context()) })
	var runs []string
	for n := 1; n <= 2; n++ {
		report, err := table.Upsert(t.Context(), version(n), partition.Options{Key: []string{"id"}})
		must(t, err)
		runs = append(runs, report.Run)
		if got := len(report.Partitions); got != many {
			t.Fatalf("version %d: %d partitions", n, got)
		}
	}
	_, err = table.Rollback(t.Context(), partition.RollbackOptions{Run: runs[1]})
	must(t, err)
	close(w.ended)
	watching.Wait()
	for _, fault := range w.faults {
		t.Error(fault)
	}
	t.Logf("at once: %d partitions, %d looks: %v", many, w.looks, w.seen)
	if want := []string{"v000001", "v000002", "v000003"}; !slices.Equal(slices.Sorted(maps.Keys(w.seen))[1:], want) && len(w.faults) == 0 {
		t.Errorf("it saw %v and not each of %v", w.seen, want)
	}
}

// watcher asks the metastore for all partitions again and again.
type watcher struct {
	table *table
	ended chan struct{}

	mu     sync.Mutex
	looks  int
	seen   map[string]int // by version
	faults []string
}

func (w *watcher) watch(ctx context.Context) {
	for {
		select {
		case <-w.ended:
			return
		default:
		}
		now, err := w.look(ctx)
		w.mu.Lock()
		if err != nil {
			w.faults = append(w.faults, err.Error())
		}
		w.seen[now]++
		w.looks++
		w.mu.Unlock()
		pause(ctx, 20*time.Millisecond)
	}
}

// look gives the version that all partitions are at.
func (w *watcher) look(ctx context.Context) (string, error) {
	at, err := w.table.registry.Look(ctx, nil)
	if err != nil {
		return "", err
	}
	versions := map[string]int{}
	for _, day := range days() {
		is, ok := at["dt="+day]
		if !ok {
			versions["absent"]++
			continue
		}
		versions[path.Base(is.Folder)]++
	}
	if len(versions) > 1 {
		return "", fmt.Errorf("a reader sees %v", versions)
	}
	return slices.Collect(maps.Keys(versions))[0], nil
}
