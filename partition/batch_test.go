package partition

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
)

// TestBatchKeeps: of the parts that are refused as many as asked for stay staged, and can be published all the same. The others of their
// group are published at once.
func TestBatchKeeps(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19", "2,bob,2026-11-20", "3,cid,2026-11-21", "4,dan,2026-11-22")
	days := []string{"2026-11-19", "2026-11-20", "2026-11-21", "2026-11-22"}
	var parts []Part
	for i, day := range days {
		from := b.write(day+".csv", "id,name,dt", fmt.Sprintf("%d,new,%s", i+1, day), "x,no number,"+day)
		parts = append(parts, Part{Partition: "dt=" + day, Mark: "mark files options", Source: Source{From: []string{from}}, Rejects: b.path(day + ".rejects")})
	}
	broken := errors.New("broken")
	var mutex sync.Mutex
	checked := map[string]int{}
	batch := Batch{Parts: parts, Keep: 2, Check: func(_ context.Context, _ *StagedView, p PartitionReport) error {
		mutex.Lock()
		defer mutex.Unlock()
		if checked[p.Partition]++; p.Partition == "dt=2026-11-20" {
			return nil
		}
		return &Error{Kind: KindGuard, Hint: "mend it", Err: errors.Join(broken, ErrGuard)}
	}}
	table := b.open()
	rep, err := table.UpsertEach(context.Background(), batch, Options{Key: []string{"id"}})
	if !errors.Is(err, broken) {
		t.Fatal(err)
	}
	if got := statuses(rep); got != "dt=2026-11-19 failed, dt=2026-11-20 published, dt=2026-11-21 failed, dt=2026-11-22 failed" {
		t.Error(got)
	}
	b.want("dt=2026-11-19: id=1 name=ann", "dt=2026-11-20: id=2 name=new", "dt=2026-11-21: id=3 name=cid", "dt=2026-11-22: id=4 name=dan")
	var kept []string
	for _, p := range rep.Partitions {
		if p.StagedRun == "" {
			if p.Error != nil && p.Error.Hint != "mend it" {
				t.Errorf("%s: %+v", p.Partition, p.Error)
			}
			continue
		}
		kept = append(kept, p.Partition)
		if !strings.Contains(p.Error.Hint, "hupsert publish "+table.url+" --run "+p.StagedRun) || onlyParquet(t, p.Folder) == "" {
			t.Errorf("%s: %+v", p.Partition, p.Error)
		}
		if text, err := os.ReadFile(b.path(strings.TrimPrefix(p.Partition, "dt=") + ".rejects")); err != nil || !strings.Contains(string(text), "no number") {
			t.Errorf("%s: %s, %v", p.Partition, text, err)
		}
		if checked[p.Partition] != 1 {
			t.Errorf("%s was asked %d times", p.Partition, checked[p.Partition])
		}
	}
	if got := strings.Join(kept, " "); got != "dt=2026-11-19 dt=2026-11-21" {
		t.Fatalf("kept: %s", got)
	}
	// What is kept is published as what it is of the batch: done.
	b.publish(rep.Partitions[0].StagedRun)
	b.upsert(Options{}, b.write("later.csv", "id,name,dt", "1,later,2026-11-19"))
	before := rep.Partitions[2].StagedRun
	batch.Keep, batch.Parts = 8, parts[:3]
	rep, err = table.UpsertEach(context.Background(), batch, Options{Key: []string{"id"}})
	if got := statuses(rep); !errors.Is(err, broken) || got != "dt=2026-11-19 done, dt=2026-11-20 done, dt=2026-11-21 failed" {
		t.Errorf("%s, %v", got, err)
	}
	if list, err := table.Staged(context.Background()); err != nil || len(list) != 1 || list[0].Run != rep.Partitions[2].StagedRun || list[0].Run == before {
		t.Errorf("staged: %+v, %v; want one in place of %s", list, err, before)
	}
	if _, err := table.Discard(context.Background(), rep.Partitions[2].StagedRun); err != nil {
		t.Error(err)
	}
	b.want("dt=2026-11-19: id=1 name=later", "dt=2026-11-20: id=2 name=new", "dt=2026-11-21: id=3 name=cid", "dt=2026-11-22: id=4 name=dan")
	b.clean()
}

// TestBatchKeepsNothingInterrupted: of a batch that is interrupted nothing stays staged that nobody was told of.
func TestBatchKeepsNothingInterrupted(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19", "2,bob,2026-11-20")
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	var parts []Part
	for i, day := range []string{"2026-11-19", "2026-11-20"} {
		parts = append(parts, Part{Partition: "dt=" + day, Source: Source{From: []string{b.write(day+".csv", "id,name", fmt.Sprintf("%d,new", i+1))}}})
	}
	table := b.open()
	kept := 0
	batch := Batch{Parts: parts, Keep: 2, Together: 1, Check: func(_ context.Context, _ *StagedView, p PartitionReport) error {
		if p.Partition == "dt=2026-11-20" {
			list, err := table.Staged(context.Background())
			if err != nil {
				t.Error(err)
			}
			kept = len(list)
			cancel()
		}
		return &Error{Kind: KindGuard, Hint: "mend it", Err: ErrGuard}
	}}
	rep, err := table.UpsertEach(ctx, batch, Options{Key: []string{"id"}})
	if !errors.Is(err, ErrGuard) || kept != 1 {
		t.Fatalf("%d kept, %v", kept, err)
	}
	for _, p := range rep.Partitions {
		if p.StagedRun != "" || p.Folder != "" || strings.Contains(p.Error.Hint, "publish") {
			t.Errorf("%s: %q %q %+v", p.Partition, p.StagedRun, p.Folder, p.Error)
		}
	}
	b.want("dt=2026-11-19: id=1 name=ann", "dt=2026-11-20: id=2 name=bob")
	b.clean()
}

// TestStagedCreations: of two runs that make one table by the same declaration the second adds to it.
func TestStagedCreations(t *testing.T) {
	for schema, refused := range map[string]bool{"id bigint, name string": false, "id bigint, name string, more int": true} {
		b := newBench(t)
		o := Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", Mode: Append, StageOnly: true}
		first := b.upsert(o, b.write("a.csv", "id,name,dt", "1,ann,2026-11-19"))
		o.Schema, o.MissingColumns = schema, "keep"
		second := b.upsert(o, b.write("b.csv", "id,name,dt", "2,bob,2026-11-20"))
		b.publish(first.Run)
		_, err := b.open().Publish(context.Background(), second.Run)
		if refused != errors.Is(err, ErrConflict) || !refused && err != nil {
			t.Errorf("%s: %v", schema, err)
		}
		if !refused {
			b.want("dt=2026-11-19: id=1 name=ann", "dt=2026-11-20: id=2 name=bob")
		}
	}
}
