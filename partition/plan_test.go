package partition

import (
	"context"
	"fmt"
	"reflect"
	"testing"

	"github.com/hupsert/hupsert/merge"
)

// A plan and the upsert of the same job must agree: in rows, in what becomes of each file, and in the
// routes that the bytes take, though not in how many take them.
func TestPlanAgreesWithUpsert(t *testing.T) {
	const day = "2026-11-20"
	rows := func(from, to int, name string) (lines []string) {
		for id := from; id < to; id++ {
			lines = append(lines, fmt.Sprintf("%d,%s%d,%s", id, name, id, day))
		}
		return lines
	}
	gone := func(from, to int) (lines []string) {
		for id := from; id < to; id++ {
			lines = append(lines, fmt.Sprintf("%d,gone,%s", id, day))
		}
		return lines
	}
	all := 1.0
	for _, c := range []struct {
		name   string
		o      Options
		source []string
		groups int64 // rows of a row group of the old file
	}{
		{name: "updates", source: rows(10, 20, "x")},
		{name: "updates, rewritten", source: rows(10, 20, "x"), o: Options{Route: merge.Rewrite}},
		{name: "updates of every row, patched", source: rows(0, 100, "x"), o: Options{Route: merge.Patch}},
		{name: "updates by every route", source: append(rows(0, 1, "x"), rows(10, 20, "x")...), groups: 10},
		{name: "inserts folded into the last row group", source: rows(100, 110, "x")},
		{name: "inserts in a row group of their own", source: rows(100, 110, "x"), groups: 10},
		{name: "inserts in a file of their own", source: rows(100, 110, "x"), o: Options{TargetFileBytes: 1}},
		{name: "updates and inserts", source: rows(90, 110, "x")},
		{name: "updates of every row, and inserts", source: rows(0, 110, "x")},
		{name: "deletes", source: rows(90, 110, "x"), o: Options{Mode: Delete}},
		{name: "deletes and inserts, folded", source: []string{"95,gone,2026-11-20", "200,new,2026-11-20"}, o: Options{DeleteWhen: "name=gone"}},
		{name: "deletes and inserts, not folded", source: []string{"95,gone,2026-11-20", "200,new,2026-11-20"}, o: Options{DeleteWhen: "name=gone"}, groups: 10},
		{name: "the last row group goes, and inserts", source: append(gone(90, 100), "200,new,2026-11-20"), o: Options{DeleteWhen: "name=gone"}, groups: 10},
		{name: "all rows go", source: rows(0, 100, "x"), o: Options{Mode: Delete}},
		{name: "all rows go, and the partition", source: rows(0, 100, "x"), o: Options{Mode: Delete, DropEmpty: true}},
		{name: "all rows of one row group go", source: rows(0, 10, "x"), o: Options{Mode: Delete}, groups: 10},
		{name: "replaced", source: rows(50, 150, "x"), o: Options{Mode: Replace, MaxDeleteRatio: &all}},
		{name: "mirrored", source: rows(50, 150, "x"), o: Options{Mode: Mirror, MaxDeleteRatio: &all}},
		{name: "appended", source: rows(50, 60, "x"), o: Options{Mode: Append}},
		{name: "nothing new", source: rows(0, 50, "old")},
		{name: "a new partition", source: []string{"1,x,2026-11-22"}},
		{name: "nothing for a new partition", source: []string{"1,x,2026-11-22"}, o: Options{Mode: Update}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", Key: []string{"id"}, RowGroupRows: c.groups},
				b.write("first.csv", append([]string{"id,name,dt", "1,ann,2026-11-21"}, rows(0, 100, "old")...)...))
			from := b.write("day.csv", append([]string{"id,name,dt"}, c.source...)...)
			o := c.o
			o.Key = []string{"id"}
			plan, err := b.open().Plan(context.Background(), Source{From: []string{from}}, o)
			if err != nil {
				t.Fatal(err)
			}
			done := b.upsert(o, from)
			compareReports(t, plan, done)
		})
	}
}

func compareReports(t *testing.T, plan, done *Report) {
	t.Helper()
	if len(plan.Partitions) != len(done.Partitions) {
		t.Fatalf("%s planned, %s", statuses(plan), statuses(done))
	}
	for i, d := range done.Partitions {
		p := plan.Partitions[i]
		status := map[Status]Status{Published: Planned, Noop: Noop}[d.Status]
		if p.Partition != d.Partition || p.Status != status || p.New != d.New || p.Removed != d.Removed || p.Rows != d.Rows || p.Files != d.Files {
			t.Errorf("planned %s %s, new %v, %+v, %+v\ndone %s %s, new %v, %+v, %+v",
				p.Partition, p.Status, p.New, p.Rows, p.Files, d.Partition, d.Status, d.New, d.Rows, d.Files)
		}
		if !reflect.DeepEqual(p.Plan, d.Plan) {
			t.Errorf("planned %+v\ndone %+v", p.Plan, d.Plan)
		}
		if p.Bytes.Read != d.Bytes.Read || p.Bytes.Kept != d.Bytes.Kept || routes(p.Bytes) != routes(wholeChunks(p.Bytes, d.Bytes)) {
			t.Errorf("planned %+v\ndone %+v", p.Bytes, d.Bytes)
		}
	}
	if plan.Total.Rows != done.Total.Rows || plan.Total.Files != done.Total.Files || routes(plan.Total.Bytes) != routes(wholeChunks(plan.Total.Bytes, done.Total.Bytes)) {
		t.Errorf("planned in all %+v\ndone %+v", plan.Total, done.Total)
	}
}

// wholeChunks counts bytes as a plan does, which rewrites a column chunk whole: pages of it that are
// copied were planned as rewritten.
func wholeChunks(plan, done Bytes) Bytes {
	if plan.Copied == 0 && plan.Rewritten > 0 {
		done.Rewritten, done.Copied = done.Rewritten+done.Copied, 0
	}
	return done
}

// routes names the routes that some bytes take.
func routes(b Bytes) string {
	out := ""
	for _, r := range []struct {
		name string
		n    int64
	}{{"keep", b.Kept}, {"copy", b.Copied}, {"patch", b.Patched}, {"rewrite", b.Rewritten}, {"add", b.Added}} {
		if r.n > 0 {
			out += " " + r.name
		}
	}
	return out
}
