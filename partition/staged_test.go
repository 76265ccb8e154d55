package partition

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// publish must succeed.
func (b *bench) publish(run string) *Report {
	b.t.Helper()
	rep, err := b.open().Publish(context.Background(), run)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

// TestStageThenPublish: what is published later is what would have been published at once, in its rows, its
// counters and its history.
func TestStageThenPublish(t *testing.T) {
	for name, o := range map[string]Options{
		"upsert": {}, "mirror": {Mode: Mirror, MaxDeleteRatio: new(float64)}, "append": {Mode: Append},
		"full": {Verify: VerifyFull}, "drop": {Mode: Delete, DropEmpty: true},
	} {
		t.Run(name, func(t *testing.T) {
			if o.MaxDeleteRatio != nil {
				*o.MaxDeleteRatio = 1
			}
			changes := []string{"id,name,dt", "1,anna,2026-11-19", "2,bobby,2026-11-20", "3,cid,2026-11-20", "9,zed,2026-11-21"}
			var reports []*Report
			var rows [][]string
			for _, staged := range []bool{false, true} {
				b := newBench(t)
				b.create("1,ann,2026-11-19", "2,bob,2026-11-20", "4,dan,2026-11-20")
				from := b.write("changes.csv", changes...)
				o.StageOnly = staged
				if staged {
					before := b.snapshot()
					rep := b.upsert(o, from)
					if b.snapshot() != before {
						t.Fatal("the table is touched")
					}
					for _, p := range rep.Partitions {
						if p.Status == Staged && !p.Removed && onlyParquet(t, p.Folder) == "" {
							t.Errorf("%s: no files in %s", p.Partition, p.Folder)
						}
					}
					again := b.publish(rep.Run)
					if again.Run != rep.Run || again.Total.Rows != rep.Total.Rows {
						t.Errorf("published %s with %+v, staged %s with %+v", again.Run, again.Total.Rows, rep.Run, rep.Total.Rows)
					}
					if slices.ContainsFunc(again.Partitions, func(p PartitionReport) bool { return p.Plan != nil }) {
						t.Error("the record of the staged run has the plan of every file")
					}
					reports = append(reports, rep)
				} else {
					reports = append(reports, b.upsert(o, from))
				}
				b.clean()
				rows = append(rows, b.rows())
				history, err := b.open().History(context.Background(), "dt=2026-11-20")
				if err != nil || len(history) != 3 || !history[0].Live && !history[0].Absent || history[0].Run != reports[len(reports)-1].Run {
					t.Errorf("history: %+v, %v", history, err)
				}
				if o.Mode == Append {
					if _, err := b.try(o, from); !errors.Is(err, ErrGuard) {
						t.Errorf("appended twice: %v", err)
					}
				}
			}
			if !slices.Equal(rows[0], rows[1]) {
				t.Errorf("published later:\n%s\nat once:\n%s", strings.Join(rows[1], "\n"), strings.Join(rows[0], "\n"))
			}
			if reports[0].Total.Rows != reports[1].Total.Rows || reports[0].Total.Files != reports[1].Total.Files {
				t.Errorf("counted %+v, at once %+v", reports[1].Total, reports[0].Total)
			}
		})
	}
}

// TestStagedDeclares: what a run declares with the table is declared when it is published.
func TestStagedDeclares(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19")
	from := b.write("new.csv", "id,name,city,dt", "1,ann,Seoul,2026-11-19")
	o := Options{NewColumns: "add", StageOnly: true, Casts: []string{"city:string"}}
	rep := b.upsert(o, from)
	schema := func() string {
		c, err := b.open().ReadConfig(context.Background())
		if err != nil {
			t.Fatal(err)
		}
		return c.Schema
	}
	if strings.Contains(schema(), "city") {
		t.Errorf("declared before it is published: %s", schema())
	}
	b.publish(rep.Run)
	if !strings.Contains(schema(), "city string") {
		t.Errorf("declared: %s", schema())
	}
	if rows := b.rows(); !strings.Contains(rows[0], "Seoul") {
		t.Errorf("%v", rows)
	}
}

// TestStagedAfterRetry: a run that began anew is found under the name in its report.
func TestStagedAfterRetry(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19")
	var once sync.Once
	b.cfg.Observer = func(e Event) {
		if e.Step != StepMerge {
			return
		}
		once.Do(func() { // somebody else writes the file anew, when it is listed
			files, err := filepath.Glob(filepath.Join(b.root(), "dt=2026-11-19", "*.parquet"))
			if err != nil || len(files) != 1 {
				t.Errorf("%v, %v", files, err)
				return
			}
			copyFile(t, files[0], files[0]+".new")
			if err := os.Rename(files[0]+".new", files[0]); err != nil {
				t.Error(err)
			}
		})
	}
	rep := b.upsert(Options{StageOnly: true, Retry: 1}, b.write("new.csv", "id,name,dt", "1,anna,2026-11-19"))
	list, err := b.open().Staged(context.Background())
	if err != nil || len(list) != 1 || list[0].Run != rep.Run+"-retry1" {
		t.Fatalf("staged: %+v, %v", list, err)
	}
	if got := b.publish(rep.Run); got.Run != rep.Run+"-retry1" || statuses(got) != "dt=2026-11-19 published" {
		t.Errorf("published %s: %s", got.Run, statuses(got))
	}
	b.want("dt=2026-11-19: id=1 name=anna")
	b.clean()
}

// TestStagedRejects: the reject file says at once what the run left out.
func TestStagedRejects(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19")
	file := b.path("bad.ndjson")
	b.upsert(Options{StageOnly: true, Rejects: file}, b.write("new.csv", "id,name,dt", "1,anna,2026-11-19", "x,y,2026-11-19"))
	if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), `"reason":"parse"`) {
		t.Errorf("%s, %v", text, err)
	}
}

// TestStagedIsKept: vacuum and a bounded history leave a staged run, however old it is.
func TestStagedIsKept(t *testing.T) {
	now := time.Date(2026, 11, 20, 8, 0, 0, 0, time.UTC)
	b := newBench(t)
	b.cfg.Now = func() time.Time { return now }
	b.create("1,ann,2026-11-19", "2,bob,2026-11-20")
	staged := b.upsert(Options{StageOnly: true}, b.write("a.csv", "id,name,dt", "1,anna,2026-11-19"))
	now = now.Add(1000 * time.Hour)
	b.upsert(Options{}, b.write("b.csv", "id,name,dt", "2,bobby,2026-11-20"))
	done, err := b.open().Vacuum(context.Background(), VacuumOptions{Keep: time.Nanosecond})
	if err != nil || len(done.StagedRuns) != 1 || done.StagedRuns[0].Run != staged.Run || done.Staging != 0 {
		t.Fatalf("vacuum: %+v, %v", done, err)
	}
	now = now.Add(time.Hour)
	b.publish(staged.Run)
	// What it took the place of is as young as the publication, not as the merge.
	done, err = b.open().Vacuum(context.Background(), VacuumOptions{Keep: 500 * time.Hour})
	if err != nil || done.Left.Versions != 2 {
		t.Errorf("vacuum: %+v, %v", done, err)
	}
	b.want("dt=2026-11-19: id=1 name=anna", "dt=2026-11-20: id=2 name=bobby")
}

// TestPublishConflict: the partition that changed is named in error and report, and the others wait.
func TestPublishConflict(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-19", "2,bob,2026-11-20")
	staged := b.upsert(Options{StageOnly: true}, b.write("a.csv", "id,name,dt", "1,anna,2026-11-19", "2,bobby,2026-11-20"))
	b.upsert(Options{}, b.write("b.csv", "id,name,dt", "3,cid,2026-11-20"))
	before := b.snapshot()
	rep, err := b.open().Publish(context.Background(), staged.Run)
	var e *Error
	if !errors.Is(err, ErrConflict) || !errors.As(err, &e) || e.Partition != "dt=2026-11-20" || !strings.Contains(e.Hint, "hupsert discard") {
		t.Fatalf("%v", err)
	}
	if got := statuses(rep); got != "dt=2026-11-19 staged, dt=2026-11-20 conflict" {
		t.Error(got)
	}
	if b.snapshot() != before {
		t.Error("the table is touched")
	}
	list, err := b.open().Staged(context.Background())
	if err != nil || len(list) != 1 || list[0].Partitions[0].Changed != "" || list[0].Partitions[1].Changed == "" {
		t.Errorf("staged: %+v, %v", list, err)
	}
	gone, err := b.open().Discard(context.Background(), staged.Run)
	if err != nil || strings.Join(gone.Partitions, " ") != "dt=2026-11-19 dt=2026-11-20" || gone.Files != 2 {
		t.Errorf("discarded %+v, %v", gone, err)
	}
	text, err := json.Marshal(gone)
	if err != nil || !strings.Contains(string(text), `"run":"`+staged.Run+`"`) {
		t.Errorf("%s, %v", text, err)
	}
	b.clean()
}

// TestHintsAreTyped: the command lines of hints can be typed as they are, wherever the table lies.
func TestHintsAreTyped(t *testing.T) {
	root := filepath.Join(t.TempDir(), "Ann's orders")
	if err := os.MkdirAll(filepath.Join(root, "dt=2026-11-20"), 0o755); err != nil {
		t.Fatal(err)
	}
	table, err := Open(t.Context(), root, Config{StateDir: filepath.Join(t.TempDir(), "the state")})
	if err != nil {
		t.Fatal(err)
	}
	hints := []string{table.StagedHint("r1")}
	_, err = table.Upsert(t.Context(), Source{From: []string{"x.csv"}}, Options{})
	hints = append(hints, Hint(err))
	for _, h := range hints {
		_, line, found := strings.Cut(h, "hupsert ")
		if !found {
			t.Fatalf("no command in %q", h)
		}
		out, err := exec.Command("sh", "-c", "set -- "+line+"; printf '%s\n' \"$2\"").Output()
		if err != nil || strings.TrimSuffix(string(out), "\n") != root {
			t.Errorf("%s: the table is %q, want %q (%v)", h, out, root, err)
		}
	}
	if !strings.Contains(hints[0], " --state-dir '") {
		t.Errorf("the state's folder is not quoted: %s", hints[0])
	}
}
