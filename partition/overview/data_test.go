package overview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// dayOf is a partition with its versions.
func dayOf(name string, rows int64, versions ...partition.Version) partition.PartitionOverview {
	return partition.PartitionOverview{Partition: "dt=" + name, Spec: partition.Spec{{Column: "dt", Value: name}}, Live: true, Rows: rows, Bytes: rows * 10,
		Files: 1, Versions: versions}
}

func worked(old, inserted, updated int64, elapsed float64) *partition.Work {
	return &partition.Work{Rows: partition.Rows{Old: old, Inserted: inserted, Updated: updated}, Bytes: partition.Bytes{Kept: 5, Added: inserted}, Elapsed: elapsed}
}

func at(minute int) time.Time { return time.Date(2026, 11, 20, 1, minute, 0, 0, time.UTC) }

// TestGather: the parts of a partial run are one run with its failure; the table's rows go along with the runs, also where
// nobody knows any more how many a version had; what was not written down is unknown, and a rollback has no counts.
func TestGather(t *testing.T) {
	const first, second, third = "20261120T010000Z-aaaa", "20261120T010200Z-bbbb", "20261120T010300Z-cccc"
	o := &partition.Overview{Table: "./orders", Time: at(9), PartitionBy: []partition.ColumnInfo{{Name: "dt", Type: "date"}}}
	o.Partitions = []partition.PartitionOverview{
		dayOf("2026-11-18", 1000), // never touched
		dayOf("2026-11-19", 100,
			partition.Version{Run: "origin", Rows: -1, Bytes: 900}, // vacuumed: what came after it knows its rows
			partition.Version{Version: 1, Run: first + "-00000", Time: at(0), Command: "upsert", Rows: 110, Bytes: 1000, Work: worked(100, 10, 3, 1.5)},
			partition.Version{Version: 2, Run: third, Time: at(3), Command: "rollback", Restores: "origin", Rows: 100, Bytes: 900}),
		dayOf("2026-11-20", 7,
			partition.Version{Run: "origin", Absent: true},
			partition.Version{Version: 1, Run: second, Time: at(2), Command: "upsert", Mode: "insert", Rows: 7, Bytes: 70}), // by an older program
	}
	o.Failures = []partition.FailedRun{{Run: first, Time: at(1), Command: "upsert", Elapsed: 2,
		Partitions: []partition.FailedPartition{{Partition: "dt=2026-11-20", Status: partition.Failed, Error: &partition.ErrorReport{Kind: partition.KindNullKey, Message: "no key"}}}}}
	c := gather(o)
	got := ""
	for i, name := range c.Runs.Name {
		got += fmt.Sprintf("%s %s touched=%d %d/%d/%d %v %gs rows=%d size=%d\n", name[16:], c.Runs.Command[i], c.Runs.Touched[i],
			c.Runs.Inserted[i], c.Runs.Updated[i], c.Runs.Deleted[i], c.Runs.Bytes[i], c.Runs.Seconds[i], c.Runs.Rows[i], c.Runs.Size[i])
	}
	want := `-aaaa upsert touched=1 10/3/0 [5 0 0 0 10] 2s rows=1110 size=11000
-bbbb upsert insert touched=1 -1/-1/-1 [] -1s rows=1117 size=11070
-cccc rollback to origin touched=1 -2/-2/-2 [-2] -2s rows=1107 size=10970
`
	if got != want {
		t.Errorf("got\n%swant\n%s", got, want)
	}
	if c.Start != [2]int64{1100, 10_900} {
		t.Errorf("the table began with %v rows and bytes", c.Start)
	}
	if f := c.Failures[0]; len(c.Failures) != 1 || f == nil || f.Message != "no key" || f.Kind != "null_key" || len(f.Partitions) != 1 {
		t.Errorf("the failure of the first run: %+v", c.Failures)
	}
	if fmt.Sprint(c.Changes.Run, c.Changes.Partition, c.Changes.Version) != "[0 1 2] [1 2 1] [1 1 2]" {
		t.Errorf("changes %v %v %v", c.Changes.Run, c.Changes.Partition, c.Changes.Version)
	}
}

// TestTooManyChanges: beyond a number of changes the oldest are left out, and said to be; the sums of their runs stay.
func TestTooManyChanges(t *testing.T) {
	defer func(n int) { mostChanges = n }(mostChanges)
	o := synthetic(50, 100)
	all := gather(o)
	mostChanges = 20
	c := gather(o)
	if len(c.Changes.Run) != 20 || c.Left != len(all.Changes.Run)-20 {
		t.Errorf("%d changes, %d left out of %d", len(c.Changes.Run), c.Left, len(all.Changes.Run))
	}
	if last := len(all.Changes.Run); !slices.Equal(c.Changes.Run, all.Changes.Run[last-20:]) {
		t.Errorf("not the newest ones: runs %v", c.Changes.Run)
	}
	if !slices.Equal(c.Runs.Inserted, all.Runs.Inserted) || !slices.Equal(c.Runs.Rows, all.Runs.Rows) {
		t.Error("the runs' sums are not what they were")
	}
}

// TestPageIsWhole: the data is one block that nothing in it ends, and comes back as it was.
func TestPageIsWhole(t *testing.T) {
	o := regions()
	o.Table = "</script><!--\u2028{{data}}{{script}}"
	var out bytes.Buffer
	if err := Write(&out, o); err != nil {
		t.Fatal(err)
	}
	text := out.String()
	const begin = `<script type="application/json" id="data">`
	_, rest, ok := strings.Cut(text, begin)
	data, _, closed := strings.Cut(rest, "</script>")
	var c content
	if err := json.Unmarshal([]byte(data), &c); !ok || !closed || err != nil || c.Table != o.Table || len(c.Partitions.Name) != len(o.Partitions) {
		t.Errorf("the data is not what was written: %v, table %q, %d partitions", err, c.Table, len(c.Partitions.Name))
	}
	if n := strings.Count(text, "</script>"); n != 2 {
		t.Errorf("%d ends of scripts, want 2", n)
	}
	for _, outside := range []string{"src=\"", "href=\"http", "@import", "url(", "{{policy}}", "{{style}}"} {
		if page := strings.Replace(text, data, "", 1); strings.Contains(page, outside) {
			t.Errorf("the page has %s", outside)
		}
	}
}
