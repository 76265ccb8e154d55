package partition

import (
	"cmp"
	"context"
	"errors"
	"flag"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/array"
	"github.com/apache/arrow/go/v17/arrow/memory"

	"github.com/hupsert/hupsert/storage/mem"
)

var (
	uniqueSeed   = flag.Uint64("unique-seed", 0, "repeat the moves of a seed that was printed; 0: another one each time")
	uniqueBudget = flag.Duration("unique-budget", 6*time.Second, "time for random moves between partitions")
)

// movedRow is a row of the model; an empty text is NULL.
type movedRow struct {
	id, ver int
	a, b    string
}

// movedSource is a source row of the model.
type movedSource struct {
	movedRow
	home string
	gone bool
}

// moveCase is one random table with one random source.
type moveCase struct {
	r      *rand.Rand
	disk   *mem.FS // has the table
	dir    string  // for sources
	o      Options
	order  bool
	lacksB bool
	files  int
	old    map[string][]movedRow // by partition
	source []movedSource
}

// moveWant is what the model says.
type moveWant struct {
	refused bool
	rows    map[string][]movedRow
	counts  Rows
	chained bool // a key stays for several partitions out of each other's reach
}

func (c *moveCase) one(n int) bool { return c.r.IntN(n) == 0 }

func text(r *rand.Rand, null bool) string {
	if null && r.IntN(4) == 0 {
		return ""
	}
	return fmt.Sprintf("v%d", r.IntN(50))
}

// newMoveCase draws a table of a few days and regions in which few keys stand twice, and rows for it.
func newMoveCase(r *rand.Rand, dir string) *moveCase {
	c := &moveCase{r: r, disk: mem.New(), dir: dir, old: map[string][]movedRow{}}
	var parts []string
	for d := range 2 + r.IntN(5) {
		for _, region := range []string{"kr", "us"}[:1+r.IntN(2)] {
			parts = append(parts, fmt.Sprintf("dt=2026-11-%02d/region=%s", 1+d*(1+r.IntN(2)), region))
		}
	}
	slices.Sort(parts)
	parts = slices.Compact(parts)
	keys := pick(r, 5, 30, 300)
	for id := range keys {
		if c.one(3) {
			continue
		}
		for range 1 + r.IntN(8)/7 {
			p := pick(r, parts...)
			if !slices.ContainsFunc(c.old[p], func(x movedRow) bool { return x.id == id }) {
				c.old[p] = append(c.old[p], movedRow{id, r.IntN(6), text(r, false), text(r, true)})
			}
		}
	}
	c.o = Options{Key: []string{"id"}, Mode: pick(r, Upsert, Upsert, Upsert, Update, Insert, Delete), UniqueWithin: pick(r, "0d", "1d", "3d", "table", "region=kr"),
		SourceDuplicates: pick(r, "", "first", "last"), IgnoreVersion: c.one(8), Verify: pick(r, VerifyCounts, VerifyFull), Parallel: 1 + r.IntN(3), StageOnly: c.one(3)}
	if c.order = c.one(2); c.order {
		c.o.OrderBy = []string{"ver"}
	}
	if c.o.Mode == Upsert && c.one(2) {
		c.o.DeleteWhen = "gone"
	} else {
		c.o.NewColumns = "ignore"
	}
	switch r.IntN(5) {
	case 0:
		c.o.Columns = []string{"a", "ver"}
	case 1:
		c.o.KeepNull = []string{"b"}
	case 2:
		c.lacksB, c.o.MissingColumns = true, "keep"
	}
	if c.one(2) {
		c.o.Memory = pick(r, int64(1), 4<<10, 64<<10)
	}
	c.files = 1 + r.IntN(2)
	homes := append(parts, "dt=2026-11-04/region=kr", "dt=2026-11-20/region=us")
	for range r.IntN(keys + 3) {
		s := movedSource{movedRow{r.IntN(keys + 2), r.IntN(6), text(r, false), text(r, true)}, pick(r, homes...), c.o.DeleteWhen != "" && c.one(4)}
		twice := slices.IndexFunc(c.source, func(x movedSource) bool { return x.id == s.id })
		if twice >= 0 && !c.order && c.o.SourceDuplicates == "" && !c.one(40) {
			s = c.source[twice] // a copy
		}
		c.source = append(c.source, s)
	}
	return c
}

// day numbers the day of a partition.
func day(p string) (n int) {
	_, _ = fmt.Sscanf(p, "dt=2026-11-%d/", &n)
	return n
}

func (c *moveCase) meets(p, q string) bool {
	switch w := c.o.UniqueWithin; w {
	case "table":
		return true
	case "region=kr":
		return strings.HasSuffix(p, w) && strings.HasSuffix(q, w)
	default:
		var days int
		_, _ = fmt.Sscanf(w, "%dd", &days)
		return max(day(p)-day(q), day(q)-day(p)) <= days
	}
}

// holders gives the rows that hold their keys, and counts the others.
func (c *moveCase) holders(w *moveWant) (out []movedSource) {
	rank := make([]int, len(c.source))
	for i := range rank {
		rank[i] = i
	}
	last := c.order || c.o.SourceDuplicates == "last"
	slices.SortStableFunc(rank, func(x, y int) int {
		byVersion := 0
		if c.order {
			byVersion = cmp.Compare(c.source[y].ver, c.source[x].ver)
		}
		byPlace := cmp.Compare(x, y)
		if last {
			byPlace = -byPlace
		}
		return cmp.Or(byVersion, byPlace)
	})
	free := !c.order && c.o.SourceDuplicates == "" && c.o.Mode != Delete
	for _, i := range rank {
		s := c.source[i]
		at := slices.IndexFunc(out, func(h movedSource) bool { return h.id == s.id && (h.home == s.home || c.meets(h.home, s.home)) })
		if at < 0 {
			w.chained = w.chained || slices.ContainsFunc(out, func(h movedSource) bool { return h.id == s.id })
			out = append(out, s)
			continue
		}
		w.refused = w.refused || free && out[at] != s
		w.counts.SourceDuplicates++
	}
	return out
}

// updated is what an update makes of a row.
func (c *moveCase) updated(old, s movedRow) movedRow {
	switch {
	case c.o.Columns != nil, c.lacksB:
		s.b = old.b
	case c.o.KeepNull != nil && s.b == "":
		s.b = old.b
	}
	return s
}

// keeps reports whether an update leaves something of the old row.
func (c *moveCase) keeps() bool { return c.o.Columns != nil || c.lacksB || c.o.KeepNull != nil }

// want is the model: what becomes of all partitions together.
func (c *moveCase) want() moveWant {
	w := moveWant{rows: map[string][]movedRow{}}
	w.counts.Source = int64(len(c.source))
	type place struct {
		part string
		id   int
	}
	gone, moved := map[place]bool{}, map[place]bool{}
	fresh := map[place]movedRow{}
	find := func(part string, id int) (movedRow, bool) {
		at := slices.IndexFunc(c.old[part], func(x movedRow) bool { return x.id == id })
		if at < 0 {
			return movedRow{}, false
		}
		return c.old[part][at], true
	}
	newer := func(x movedRow, s movedSource) bool { return c.order && !c.o.IgnoreVersion && x.ver > s.ver }
	for _, s := range c.holders(&w) {
		own, here := find(s.home, s.id)
		stale := here && newer(own, s)
		var elsewhere []place
		var from movedRow
		for _, p := range slices.Sorted(maps.Keys(c.old)) {
			if x, ok := find(p, s.id); ok && p != s.home && c.meets(p, s.home) {
				elsewhere, from = append(elsewhere, place{p, s.id}), x
				stale = stale || newer(x, s)
			}
		}
		deletes, n := s.gone || c.o.Mode == Delete, &w.counts
		at := place{s.home, s.id}
		switch {
		case !here && len(elsewhere) == 0:
			if deletes || c.o.Mode == Update {
				n.Ignored++
				continue
			}
			n.Inserted++
			fresh[at] = s.movedRow
			if c.o.Columns != nil || c.lacksB {
				fresh[at] = movedRow{s.id, s.ver, s.a, ""}
			}
		case c.o.Mode == Insert:
			n.Ignored++
		case stale:
			n.StaleSkipped++
		case deletes:
			for _, p := range elsewhere {
				gone[p] = true
			}
			gone[at] = gone[at] || here
		default:
			for _, p := range elsewhere {
				moved[p] = true
			}
			if here {
				fresh[at] = c.updated(own, s.movedRow)
				if fresh[at] == own {
					n.Unchanged++
				} else {
					n.Updated++
				}
				continue
			}
			w.refused = w.refused || len(elsewhere) > 1 && c.keeps()
			n.Moved++
			fresh[at] = c.updated(from, s.movedRow)
		}
	}
	for p, rows := range c.old {
		for _, x := range rows {
			at := place{p, x.id}
			switch {
			case moved[at]:
				w.counts.MovedOut++
			case gone[at]:
				w.counts.Deleted++
			default:
				if _, ok := fresh[at]; !ok {
					w.rows[p] = append(w.rows[p], x)
				}
			}
		}
	}
	for at, x := range fresh {
		w.rows[at.part] = append(w.rows[at.part], x)
	}
	return w
}

// movedLines are rows as the table's files have them.
func movedLines(rows map[string][]movedRow) (out []string) {
	null := func(s string) string { return cmp.Or(s, "NULL") }
	for p, list := range rows {
		for _, x := range list {
			out = append(out, fmt.Sprintf("%s: id=%d ver=%d a=%s b=%s", p, x.id, x.ver, null(x.a), null(x.b)))
		}
	}
	slices.Sort(out)
	return out
}

func spec(p string) string {
	dt, region, _ := strings.Cut(p, "/")
	return fmt.Sprintf(`"dt":"%s","region":"%s"`, strings.TrimPrefix(dt, "dt="), strings.TrimPrefix(region, "region="))
}

func jsonRow(x movedRow, lacksB bool, more string) string {
	out := fmt.Sprintf(`{"id":%d,"ver":%d,"a":%q`, x.id, x.ver, x.a)
	if !lacksB {
		b := "null"
		if x.b != "" {
			b = fmt.Sprintf("%q", x.b)
		}
		out += `,"b":` + b
	}
	return out + "," + more + "}"
}

// upsert merges rows in several files, so that they come in several records.
func (c *moveCase) upsert(o Options, rows []string) (*Report, error) {
	ctx := context.Background()
	var from []string
	for n, list := range slices.Collect(slices.Chunk(rows, max(1, (len(rows)+2)/3))) {
		from = append(from, filepath.Join(c.dir, fmt.Sprintf("source%d.ndjson", n)))
		if err := os.WriteFile(from[n], []byte(strings.Join(list, "\n")+"\n"), 0o600); err != nil {
			return nil, err
		}
	}
	table, err := Open(ctx, crashRoot, Config{FS: c.disk})
	if err != nil {
		return nil, err
	}
	rep, err := table.Upsert(ctx, Source{From: from}, o)
	if err == nil && slices.ContainsFunc(rep.Partitions, func(p PartitionReport) bool { return p.Status == Staged }) {
		return table.Publish(ctx, rep.Run)
	}
	return rep, err
}

// rows are the table's rows, as movedLines gives them.
func (c *moveCase) rows() (out []string, err error) {
	reader := diskReader{known: map[[32]byte][]string{}}
	err = walk(c.disk, crashRoot, func(name string) error {
		data, err := content(c.disk, name)
		if err != nil {
			return err
		}
		list, err := reader.lines(name, data)
		for _, l := range list {
			out = append(out, strings.TrimPrefix(path.Dir(name), crashRoot+"/")+": "+l)
		}
		return err
	})
	slices.Sort(out)
	return out, err
}

// make writes the table, in one or two files a partition.
func (c *moveCase) make() error {
	if err := c.disk.Mkdir(context.Background(), "/w", 0o755); err != nil {
		return err
	}
	for n := range c.files {
		rows := []string{jsonRow(movedRow{n + 1e6, 0, "x", "x"}, false, spec("dt=2026-12-30/region=kr"))} // out of every window but the table
		for _, p := range slices.Sorted(maps.Keys(c.old)) {
			for i, x := range c.old[p] {
				if i%c.files == n {
					rows = append(rows, jsonRow(x, false, spec(p)))
				}
			}
		}
		if _, err := c.upsert(Options{Mode: Append, Create: true, PartitionBy: []string{"dt:date", "region"},
			Schema: "id bigint, ver int, a string, b string", TargetFileBytes: 1}, rows); err != nil {
			return err
		}
		c.old["dt=2026-12-30/region=kr"] = append(c.old["dt=2026-12-30/region=kr"], movedRow{n + 1e6, 0, "x", "x"})
	}
	return nil
}

// run holds one run, and a second one of the same source, against the model.
func (c *moveCase) run() error {
	if err := c.make(); err != nil {
		return err
	}
	var rows []string
	for _, s := range c.source {
		rows = append(rows, jsonRow(s.movedRow, c.lacksB, fmt.Sprintf(`"gone":%v,%s`, s.gone, spec(s.home))))
	}
	if len(rows) == 0 {
		return nil
	}
	before, err := c.rows()
	if err != nil {
		return err
	}
	want := c.want()
	rep, err := c.upsert(c.o, rows)
	after, readErr := c.rows()
	switch {
	case readErr != nil:
		return readErr
	case want.refused && !errors.Is(err, ErrDuplicateKey):
		return fmt.Errorf("not refused: %w", err)
	case want.refused:
		if !slices.Equal(after, before) {
			return fmt.Errorf("refused, and the table changed")
		}
		return nil
	case err != nil:
		return err
	}
	if want := movedLines(want.rows); !slices.Equal(after, want) {
		return fmt.Errorf("the table is\n%s\nwant\n%s", strings.Join(after, "\n"), strings.Join(want, "\n"))
	}
	got := rep.Total.Rows
	bySource := got
	for _, n := range []*Rows{&got, &want.counts} {
		n.Old, n.Kept, n.Out = 0, 0, 0
	}
	if got != want.counts {
		return fmt.Errorf("counted %+v, want %+v (%+v)", got, want.counts, bySource)
	}
	for _, p := range rep.Partitions {
		if n := p.Rows; n.Old != n.Kept+n.Updated+n.Unchanged+n.Deleted+n.MovedOut || n.Out != n.Kept+n.Updated+n.Unchanged+n.Inserted+n.Moved {
			return fmt.Errorf("%s does not add up: %+v", p.Partition, n)
		}
	}
	if want.chained {
		return nil
	}
	rep, err = c.upsert(c.o, rows)
	if err != nil {
		return fmt.Errorf("once more: %w", err)
	}
	for _, p := range rep.Partitions {
		if p.Status != Noop {
			return fmt.Errorf("once more: %s is %s: %+v", p.Partition, p.Status, p.Rows)
		}
	}
	return nil
}

// TestRandomMoves holds random runs with keys that are unique within several partitions against a model in maps.
func TestRandomMoves(t *testing.T) {
	seed := *uniqueSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("seed: -unique-seed %d", seed)
	limit := *uniqueBudget
	if testing.Short() {
		limit /= 10
	}
	dir := t.TempDir()
	cases, refused, moved, deadline := 0, 0, int64(0), time.Now().Add(limit)
	for cases < 30 || time.Now().Before(deadline) {
		c := newMoveCase(rand.New(rand.NewPCG(seed, uint64(cases))), dir)
		w := c.want()
		if err := c.run(); err != nil {
			t.Fatalf("case %d: %v\noptions %+v\nold\n%s\nsource %+v", cases, err, c.o, strings.Join(movedLines(c.old), "\n"), c.source)
		}
		if w.refused {
			refused++
		} else {
			moved += w.counts.Moved
		}
		cases++
	}
	t.Logf("%d cases, %d refused, %d rows moved", cases, refused, moved)
	if moved == 0 {
		t.Error("no row moved")
	}
}

// TestMovesAndForeignWriters: somebody who puts a key into a partition of the window, in which nothing was to be changed, or makes
// one, is a conflict, and a new start finds the key there.
func TestMovesAndForeignWriters(t *testing.T) {
	for _, c := range []struct{ name, into string }{
		{"changed", "dt=2026-11-19"}, {"new", "dt=2026-11-18"}, {"out of the window", "dt=2026-01-02"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-20", "5,eve,2026-11-19", "6,fay,2026-01-02")
			other := &bench{t: t, dir: t.TempDir()}
			other.create("7,gus," + strings.TrimPrefix(c.into, "dt="))
			writes := func() {
				files, err := filepath.Glob(filepath.Join(other.root(), c.into, "*.parquet"))
				if err == nil {
					err = os.MkdirAll(filepath.Join(b.root(), c.into), 0o755)
				}
				if err == nil {
					err = os.Rename(files[0], filepath.Join(b.root(), c.into, "foreign.parquet"))
				}
				if err != nil {
					t.Error(err)
				}
			}
			var once sync.Once
			b.cfg.Observer = func(e Event) {
				if e.Step == StepPublish {
					once.Do(writes)
				}
			}
			from := b.write("moves.csv", "id,name,dt", "7,GUS,2026-11-20")
			rep, err := b.try(Options{UniqueWithin: "7d"}, from)
			if c.name == "out of the window" {
				if err != nil || rep.Total.Rows.Inserted != 1 {
					t.Fatalf("%v: %+v", err, rep.Total.Rows)
				}
				return
			}
			if !errors.Is(err, ErrConflict) {
				t.Fatalf("no conflict: %v", err)
			}
			if e := rep.Partitions[0].Error; e == nil || e.Partition != c.into {
				t.Errorf("the error does not name %s: %+v", c.into, e)
			}
			want := []string{c.into + ": id=7 name=gus", "dt=2026-01-02: id=6 name=fay", "dt=2026-11-19: id=5 name=eve", "dt=2026-11-20: id=1 name=ann"}
			slices.Sort(want)
			b.want(want...)
			rep = b.upsert(Options{UniqueWithin: "7d"}, from)
			if n := rep.Total.Rows; n.Moved != 1 || n.MovedOut != 1 {
				t.Errorf("a new start counts %+v", n)
			}
		})
	}
}

// TestStagedMoves: a run that stays staged rests on the partitions in which it found no key, and on which there are.
func TestStagedMoves(t *testing.T) {
	for _, c := range []struct{ name, row, changed string }{
		{"nothing", "", ""},
		{"another window", "6,fay,2026-01-02", ""},
		{"where nothing was to change", "8,hal,2026-11-19", "dt=2026-11-19"},
		{"where a row left", "8,hal,2026-11-18", "dt=2026-11-18"},
		{"a source row that changed nothing", "8,hal,2026-11-21", "dt=2026-11-21"},
		{"a new partition", "7,gus,2026-11-23", "dt=2026-11-23"},
		{"a new partition of another window", "7,gus,2026-02-01", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newBench(t)
			b.create("1,ann,2026-11-18", "2,bob,2026-11-20", "5,eve,2026-11-19", "6,faye,2026-01-02", "9,ivy,2026-11-21")
			staged := b.upsert(Options{UniqueWithin: "7d", StageOnly: true}, b.write("moves.csv", "id,name,dt", "1,anna,2026-11-20", "9,ivy,2026-11-21", "7,GUS,2026-11-22"))
			if got := statuses(staged); got != "dt=2026-11-18 staged, dt=2026-11-20 staged, dt=2026-11-21 noop, dt=2026-11-22 staged" {
				t.Fatal(got)
			}
			if c.row != "" {
				b.upsert(Options{}, b.write("other.csv", "id,name,dt", c.row))
			}
			list, err := b.open().Staged(context.Background())
			if err != nil {
				t.Fatal(err)
			}
			changed := slices.Sorted(maps.Keys(list[0].Beside))
			for _, p := range list[0].Partitions {
				if p.Changed != "" {
					changed = append(changed, p.Partition)
				}
			}
			if got := strings.Join(changed, " "); got != c.changed {
				t.Errorf("changed: %q, want %q", got, c.changed)
			}
			before := b.snapshot()
			rep, err := b.open().Publish(context.Background(), staged.Run)
			if c.changed == "" {
				if err != nil || rep.Total.Rows.Moved != 1 || rep.Total.Rows.MovedOut != 1 || rep.Total.Rows.Inserted != 1 {
					t.Fatalf("%v: %+v", err, rep)
				}
				rows := strings.Join(b.rows(), ",")
				if strings.Contains(rows, "dt=2026-11-18: id") || !strings.Contains(rows, "dt=2026-11-20: id=1 name=anna") {
					t.Error(rows)
				}
				b.clean()
				return
			}
			var e *Error
			if !errors.Is(err, ErrConflict) || !errors.As(err, &e) || e.Partition != c.changed || !strings.Contains(e.Hint, "hupsert discard") || len(SplitErrors(err)) != 1 {
				t.Fatalf("%v: %+v", err, e)
			}
			if rep.Error == nil && rep.Partitions[0].Error == nil && rep.Partitions[1].Error == nil && rep.Partitions[2].Error == nil {
				t.Errorf("no error in %+v", rep)
			}
			if b.snapshot() != before {
				t.Error("the table is touched")
			}
			if _, err := b.open().Discard(context.Background(), staged.Run); err != nil {
				t.Fatal(err)
			}
			b.clean()
		})
	}
}

// TestStagedMovesOfOddTables: a folder that is none of the table's keeps no command from it but the publish, and a column may have any name.
func TestStagedMovesOfOddTables(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-18", "2,bob,2026-11-20")
	staged := b.upsert(Options{UniqueWithin: "table", StageOnly: true}, b.write("moves.csv", "id,name,dt", "1,anna,2026-11-20"))
	stray := filepath.Join(b.root(), "X=1")
	if err := os.CopyFS(stray, os.DirFS(filepath.Join(b.root(), "dt=2026-11-18"))); err != nil {
		t.Fatal(err)
	}
	if list, err := b.open().Staged(context.Background()); err != nil || len(list) != 1 || list[0].Stale() {
		t.Errorf("%+v, %v", list, err)
	}
	if _, err := b.open().Publish(context.Background(), staged.Run); !errors.Is(err, ErrLayout) {
		t.Errorf("published: %v", err)
	}
	if err := os.RemoveAll(stray); err != nil {
		t.Fatal(err)
	}
	b.publish(staged.Run)
	b.want("dt=2026-11-20: id=1 name=anna", "dt=2026-11-20: id=2 name=bob")

	odd := &bench{t: t, dir: t.TempDir()}
	for _, day := range []string{"2026-11-18", "2026-11-20"} {
		b.upsert(Options{Mode: Append}, b.write("odd"+day+".csv", "id,name,dt", day[8:]+",x,"+day))
		if err := os.CopyFS(filepath.Join(odd.root(), "a%3Ab="+day), os.DirFS(filepath.Join(b.root(), "dt="+day))); err != nil {
			t.Fatal(err)
		}
	}
	staged = odd.upsert(Options{UniqueWithin: "table", StageOnly: true}, odd.write("odd.csv", "id,name,a:b", "18,moved,2026-11-20"))
	if got := odd.publish(staged.Run); got.Total.Rows.Moved != 1 {
		t.Errorf("%+v", got.Total.Rows)
	}
}

// TestMovesStartAnew: with Retry, the new start takes the window as it is then.
func TestMovesStartAnew(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	other := &bench{t: t, dir: t.TempDir()}
	other.create("7,gus,2026-11-18")
	var once sync.Once
	b.cfg.Observer = func(e Event) {
		if e.Step == StepPublish {
			once.Do(func() {
				if err := os.Rename(filepath.Join(other.root(), "dt=2026-11-18"), filepath.Join(b.root(), "dt=2026-11-18")); err != nil {
					t.Error(err)
				}
			})
		}
	}
	rep := b.upsert(Options{UniqueWithin: "7d", Retry: 2}, b.write("moves.csv", "id,name,dt", "7,GUS,2026-11-20"))
	if n := rep.Total.Rows; n.Moved != 1 || n.MovedOut != 1 {
		t.Errorf("counted %+v", n)
	}
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=7 name=GUS")
}

// TestMovesAtOnce: two runs that put new keys into partitions of one window wait for each other, so that each key stands once.
func TestMovesAtOnce(t *testing.T) {
	b := newBench(t)
	b.cfg.LockWait = time.Minute
	b.create("0,x,2026-11-20", "1,x,2026-11-21", "2,x,2026-11-22")
	var from []string
	for i := range 6 {
		rows := []string{"id,name,dt"}
		for id := range 9 {
			rows = append(rows, fmt.Sprintf("%d,n%d,2026-11-%d", id, i, 19+(id+i)%6))
		}
		from = append(from, b.write(fmt.Sprintf("at%d.csv", i), rows...))
	}
	var all sync.WaitGroup
	for _, f := range from {
		all.Go(func() {
			_, err := b.open().Upsert(context.Background(), Source{From: []string{f}}, Options{Key: []string{"id"}, UniqueWithin: "table", Retry: 20})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	seen := map[string]string{}
	for _, line := range b.rows() {
		_, row, _ := strings.Cut(line, ": id=")
		id, _, _ := strings.Cut(row, " ")
		if seen[id] != "" {
			t.Errorf("%s, and %s", line, seen[id])
		}
		seen[id] = line
	}
	if len(seen) != 9 {
		t.Errorf("%d keys, want 9: %v", len(seen), seen)
	}
}

// TestNewPartitionsAtOnce: runs that bring the same keys to new partitions of one window, of which none sees another's, wait for each other.
func TestNewPartitionsAtOnce(t *testing.T) {
	b := newBench(t)
	b.cfg.LockWait = time.Minute
	b.create("0,x,2026-01-01")
	var all sync.WaitGroup
	for i := range 6 {
		from := b.write(fmt.Sprintf("new%d.csv", i), "id,name,dt", fmt.Sprintf("7,n%d,2026-11-2%d", i, i), fmt.Sprintf("8,n%d,2026-11-2%d", i, i))
		all.Go(func() {
			_, err := b.open().Upsert(context.Background(), Source{From: []string{from}}, Options{Key: []string{"id"}, UniqueWithin: "7d", Retry: 20})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	if rows := b.rows(); len(rows) != 3 {
		t.Errorf("two keys stand in %q", rows[1:])
	}
	b.clean()
}

// TestMovesOfKeysThatStandTwice: a key twice in the other partition is refused, and with a policy all of its rows go.
func TestMovesOfKeysThatStandTwice(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	for _, name := range []string{"a", "b"} {
		b.upsert(Options{Mode: Append, Force: true}, b.write(name+".csv", "id,name,dt", "7,"+name+",2026-11-19"))
	}
	from := b.write("moves.csv", "id,name,dt", "7,GUS,2026-11-20")
	rep, err := b.try(Options{UniqueWithin: "1d"}, from)
	if !errors.Is(err, ErrDuplicateKey) || rep.Partitions[0].Partition != "dt=2026-11-19" || rep.Partitions[0].Status != Failed {
		t.Fatalf("not refused in its partition: %v", err)
	}
	part := b.write("part.csv", "id,dt", "7,2026-11-20")
	if _, err := b.try(Options{UniqueWithin: "1d", OldDuplicates: "update-all", MissingColumns: "keep"}, part); !errors.Is(err, ErrDuplicateKey) {
		t.Errorf("values of two rows can't both stay: %v", err)
	}
	rep = b.upsert(Options{UniqueWithin: "1d", OldDuplicates: "update-all"}, from)
	if n := rep.Total.Rows; n.Moved != 1 || n.MovedOut != 2 {
		t.Errorf("counted %+v", n)
	}
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=7 name=GUS")
}

// TestMovesBringTheirColumns: what only the files of the old partition have comes along, and a column that the source adds is there.
func TestMovesBringTheirColumns(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "7,gus,2026-11-19")
	b.upsert(Options{NewColumns: "add"}, b.write("note.csv", "id,name,note,dt", "7,gus,keep me,2026-11-19"))
	b.upsert(Options{UniqueWithin: "1d", MissingColumns: "keep", NewColumns: "add", Verify: VerifyFull, Casts: []string{"qty:int"}},
		b.write("moves.csv", "id,qty,dt", "7,3,2026-11-20"))
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=7 name=gus note=keep me qty=3")
}

// numbered puts a file with a column n of a type into a partition.
func (b *bench) numbered(partition string, n arrow.DataType, rows string) {
	b.t.Helper()
	b.parquet("orders/"+partition+"/numbered.parquet", []arrow.Field{int64Field, {Name: "name", Type: arrow.BinaryTypes.String, Nullable: true}, {Name: "n", Type: n, Nullable: true}}, nil, rows)
}

// TestMovesWidenTheirColumns: what comes along from several partitions is written in a type that holds all of it.
func TestMovesWidenTheirColumns(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	b.numbered("dt=2026-11-18", arrow.PrimitiveTypes.Int32, `[{"id": 7, "name": "gus", "n": 5}]`)
	b.numbered("dt=2026-11-19", arrow.PrimitiveTypes.Int64, `[{"id": 8, "name": "hal", "n": 1099511627776}]`)
	b.upsert(Options{UniqueWithin: "7d", MissingColumns: "keep", Verify: VerifyFull}, b.write("moves.csv", "id,name,dt", "7,GUS,2026-11-20", "8,HAL,2026-11-20"))
	b.want("dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=7 name=GUS n=5", "dt=2026-11-20: id=8 name=HAL n=1099511627776")
}

// TestMovesTellWhatIsNotSearched: a partition whose value can't be read is no part of the window of the whole table, which is told.
func TestMovesTellWhatIsNotSearched(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "2,bob,2026-11-21")
	for _, odd := range []string{"dt=xx", "dt=yy"} {
		if err := os.Mkdir(b.path("orders/"+odd), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for window, want := range map[string]string{
		"table": "keys were not looked for in dt=xx and 1 more partition: not a value of the partition column's type",
		"7d":    "",
	} {
		rep := b.upsert(Options{UniqueWithin: window}, b.write("moves.csv", "id,name,dt", "2,bob "+window+",2026-11-20"))
		if got := strings.Join(rep.Warnings, "\n"); got != want {
			t.Errorf("%s: warned %q, want %q", window, got, want)
		}
	}
}

// TestMovesDoNotFit: a value that comes along and that its new partition can't hold is told of the old row, not of the source.
func TestMovesDoNotFit(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20")
	b.numbered("dt=2026-11-20", arrow.PrimitiveTypes.Int32, `[{"id": 7, "name": "gus", "n": 5}]`)
	b.numbered("dt=2026-11-19", arrow.PrimitiveTypes.Int64, `[{"id": 8, "name": "hal", "n": 1099511627776}]`)
	before := b.snapshot()
	_, err := b.try(Options{UniqueWithin: "7d", MissingColumns: "keep"}, b.write("moves.csv", "id,name,dt", "8,HAL,2026-11-20"))
	if !errors.Is(err, ErrSchema) || !strings.Contains(err.Error(), "of the partition that a row comes from") || !strings.Contains(Hint(err), "give the source the column") {
		t.Errorf("%v (%s)", err, Hint(err))
	}
	if b.snapshot() != before {
		t.Error("something changed")
	}
}

// TestMovesKeepLongTexts: an old text that is longer than its column is declared by now stays where its row moves; one of the source is refused.
func TestMovesKeepLongTexts(t *testing.T) {
	for _, beside := range [][]string{nil, {"9,new,2026-11-20"}} { // a row that is inserted changes nothing
		b := newBench(t)
		b.create("1,ann,2026-11-20", "7,gus,2026-11-19")
		b.upsert(Options{NewColumns: "add"}, b.write("note.csv", "id,name,note,dt", "7,gus,too long by now,2026-11-19"))
		if _, err := b.open().SetConfig(context.Background(), map[string]string{"schema": "id bigint, name varchar(5), note varchar(3)"}); err != nil {
			t.Fatal(err)
		}
		dt := arrow.Field{Name: "dt", Type: arrow.BinaryTypes.String}
		long := b.parquet("long.parquet", []arrow.Field{int64Field, {Name: "name", Type: arrow.BinaryTypes.String}, dt}, nil, `[{"id": 7, "name": "gustavus", "dt": "2026-11-20"}]`)
		if _, err := b.try(Options{UniqueWithin: "7d", MissingColumns: "keep"}, long); !errors.Is(err, ErrValue) {
			t.Errorf("a text of the source that is too long: %v", err)
		}
		b.upsert(Options{UniqueWithin: "7d", MissingColumns: "keep"}, b.write("moves.csv", append([]string{"id,name,dt", "7,GUS,2026-11-20"}, beside...)...))
		want := []string{"dt=2026-11-20: id=1 name=ann", "dt=2026-11-20: id=7 name=GUS note=too long by now"}
		if beside != nil {
			want = append(want, "dt=2026-11-20: id=9 name=new note=NULL")
		}
		b.want(want...)
	}
}

// TestRollbackKeepsMoves: partitions between which rows moved go back together.
func TestRollbackKeepsMoves(t *testing.T) {
	b := newBench(t)
	b.create("1,ann,2026-11-20", "7,gus,2026-11-19", "8,hal,2026-11-19", "3,kai,2026-11-18")
	old := b.rows()
	move := b.upsert(Options{UniqueWithin: "7d"}, b.write("moves.csv", "id,name,dt", "7,GUS,2026-11-20", "8,HAL,2026-11-20", "3,KAI,2026-11-18"))
	moved := b.rows()
	later := b.upsert(Options{}, b.write("later.csv", "id,name,dt", "1,ANN,2026-11-20"))
	changed := b.rows()
	back := func(o RollbackOptions) *Report {
		t.Helper()
		rep, err := b.open().Rollback(context.Background(), o)
		if err != nil {
			t.Fatal(err)
		}
		return rep
	}
	refused := func(o RollbackOptions, want string) {
		t.Helper()
		before := b.snapshot()
		_, err := b.open().Rollback(context.Background(), o)
		if !errors.Is(err, ErrGuard) || !strings.Contains(err.Error(), want) || !strings.Contains(Hint(err), "--force") {
			t.Errorf("rollback of %s: %v (%s)", o.Partitions, err, Hint(err))
		}
		if b.snapshot() != before {
			t.Error("something changed")
		}
	}
	from, to := "dt=2026-11-19", "dt=2026-11-20"
	refused(RollbackOptions{Partitions: []string{from}}, "run "+move.Run+" moved rows between this partition and "+to+", which stays as it is: 2 rows would stand twice")
	refused(RollbackOptions{Partitions: []string{to}, To: "origin"}, "between this partition and "+from+", which stays as it is: 2 rows would be lost")
	back(RollbackOptions{Partitions: []string{to}}) // of the later run alone
	b.want(moved...)
	back(RollbackOptions{Partitions: []string{to}, To: later.Run})
	b.want(changed...)
	back(RollbackOptions{Partitions: []string{"dt=2026-11-18"}}) // no row moved there
	back(RollbackOptions{Partitions: []string{"dt=2026-11-18"}, To: move.Run})
	b.want(changed...)

	versions, err := b.open().History(context.Background(), from)
	if err != nil {
		t.Fatal(err)
	}
	first := versions[slices.IndexFunc(versions, func(v Version) bool { return v.Version == 1 })].Run
	undone := back(RollbackOptions{Partitions: []string{from, to, "dt=2026-11-18"}, To: first})
	b.want(old...)
	refused(RollbackOptions{Partitions: []string{from}, To: move.Run}, "2 rows would be lost")
	refused(RollbackOptions{Partitions: []string{to}}, "2 rows would stand twice")
	back(RollbackOptions{Run: undone.Run})
	b.want(changed...)
	back(RollbackOptions{Partitions: []string{from}, Force: true})
	if n := len(b.rows()); n != len(changed)+2 {
		t.Errorf("%d rows where one partition was forced back", n)
	}
}

// TestMovesOfNothing: a source without rows is nothing to do, though only its rows would say which partition column is a date.
func TestMovesOfNothing(t *testing.T) {
	b := newBench(t)
	b.parquet("orders/dt=2026-11-19/a.parquet", []arrow.Field{int64Field}, nil, `[{"id": 7}]`)
	fields := []arrow.Field{int64Field, {Name: "dt", Type: arrow.FixedWidthTypes.Date32}}
	before := b.snapshot()
	none := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema(fields, nil)).NewRecord()
	rep := b.upsert(Options{UniqueWithin: "7d"}, b.byArrow("empty.parquet", none))
	if len(rep.Partitions) > 0 || b.snapshot() != before {
		t.Errorf("something was done: %+v", rep.Partitions)
	}
	rep = b.upsert(Options{UniqueWithin: "7d"}, b.parquet("one.parquet", fields, nil, `[{"id": 7, "dt": "2026-11-20"}]`))
	if rep.Total.Rows.Moved != 1 {
		t.Errorf("counted %+v", rep.Total.Rows)
	}
}
