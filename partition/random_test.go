package partition

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"maps"
	"math"
	"math/rand/v2"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/apache/arrow/go/v17/arrow"
	"github.com/apache/arrow/go/v17/arrow/memory"
	"github.com/apache/arrow/go/v17/parquet/pqarrow"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/mem"
)

var (
	seedFlag   = flag.Uint64("seed", 0, "seed of the random upserts; 0 takes the clock")
	casesFlag  = flag.Int("cases", 0, "number of random upserts; 0 makes as many as fit into the budget")
	caseFlag   = flag.Int("case", -1, "the one case to run, of a seed")
	budgetFlag = flag.Duration("budget", 20*time.Second, "time for the random upserts")
)

const randomRoot = "/tables/orders"

// partColumn is a partition column. Its values are of three kinds: texts, integers and dates.
type partColumn struct {
	name string
	kind kind
}

// randomCase is a table, a source and options, drawn from r.
type randomCase struct {
	model
	r      *rand.Rand
	fsys   *mem.FS
	config Config
	table  *Table
	dir    string // of source files

	parts      []partColumn
	declared   bool // the types of the partition columns are given
	create     bool // there is no table yet
	partitions []*modelPartition
	specs      map[string][]any // of partitions that are there, by path
	schema     []arrow.DataType // of new partitions
	needs      []bool           // the columns of new partitions that take no NULL
	misfits    bool             // values may be beyond what their column holds
	source     []modelSource
	static     []any // the spec that the options name
	unsaid     bool  // the source lacks the partition columns
	marks      string
	text       bool // the source is CSV or NDJSON
	format     string
	casts      []bool
	// given makes the source anew: a run reads records once.
	given   func() (Source, error)
	spilled atomic.Int64
}

// pick takes one of a list.
func pick[T any](r *rand.Rand, list ...T) T { return list[r.IntN(len(list))] }

// one is true once in n times.
func (c *randomCase) one(n int) bool { return c.r.IntN(n) == 0 }

func newRandomCase(r *rand.Rand, dir string) (*randomCase, error) {
	c := &randomCase{r: r, dir: dir, fsys: mem.New(), specs: map[string][]any{}}
	c.config = Config{FS: c.fsys, Logger: slog.New(&spillWatch{Handler: slog.DiscardHandler, bytes: &c.spilled}), Publish: pick(r, "", "", "rename")}
	c.format = pick(r, "records", "records", "parquet", "parquet", "parquet", "arrow", "csv", "ndjson")
	c.text = c.format == "csv" || c.format == "ndjson"
	c.chooseColumns()
	c.chooseOptions()
	if err := c.makeTable(); err != nil {
		return nil, err
	}
	c.makeSource()
	var err error
	c.given, err = c.deliver()
	return c, err
}

// spillWatch notes what a run says of memory that did not suffice.
type spillWatch struct {
	slog.Handler
	bytes *atomic.Int64
}

func (w *spillWatch) Enabled(context.Context, slog.Level) bool { return true }

func (w *spillWatch) Handle(_ context.Context, rec slog.Record) error {
	rec.Attrs(func(a slog.Attr) bool {
		if a.Key == "spilled_bytes" {
			w.bytes.Add(a.Value.Int64())
		}
		return true
	})
	return nil
}

// chooseColumns settles the table's columns and its partition columns.
func (c *randomCase) chooseColumns() {
	r := c.r
	add := func(name string, k kind) int {
		col := modelColumn{name: name, kind: k}
		if k == instants {
			col.zone = pick(r, "", "UTC")
		}
		col.typ = pick(r, typesOf(k, col.zone)...)
		col.required = c.one(6)
		c.columns = append(c.columns, col)
		return len(c.columns) - 1
	}
	for i := range pick(r, 1, 1, 1, 2, 2, 3) {
		k := pick(r, integers, integers, integers, texts, texts, dates, instants, decimals, blobs, fixed, truths, floats, structs)
		if c.text && (k == blobs || k == fixed || k == structs && c.format == "csv") {
			k = texts
		}
		at := add(fmt.Sprintf("k%d", i), k)
		c.columns[at].key = true
		c.keys = append(c.keys, modelKey{at, k == structs})
		name := c.spell(c.columns[at].name)
		if k == structs {
			name += ".a"
		}
		c.o.Key = append(c.o.Key, name)
		c.o.AllowFloatKeys = c.o.AllowFloatKeys || k == floats
	}
	all := []kind{integers, integers, floats, decimals, decimals, dates, instants, texts, texts, truths, blobs, fixed, lists, structs, mappings}
	for i := range r.IntN(5) {
		k := pick(r, all...)
		if c.text && (k == blobs || k == fixed || k > fixed && c.format == "csv") {
			k = integers
		}
		add(pick(r, "c%d", "naïve %d", "Value_%d"), k)
		c.columns[len(c.columns)-1].name = fmt.Sprintf(c.columns[len(c.columns)-1].name, i)
	}
	add("ver", pick(r, integers, instants, texts, decimals))
	c.columns[len(c.columns)-1].required = false
	for i := range pick(r, 0, 1, 1, 1, 2, 2) {
		c.parts = append(c.parts, partColumn{[]string{"dt", "Region"}[i], pick(r, texts, texts, integers, dates)})
	}
	c.declared = c.one(2)
}

// spell writes a name in another case sometimes.
func (c *randomCase) spell(name string) string {
	if c.one(6) {
		return strings.ToUpper(name)
	}
	return name
}

func (c *randomCase) chooseOptions() {
	r, o := c.r, &c.o
	everything := 1.0
	o.Mode = pick(r, "", Upsert, Upsert, Upsert, Insert, Update, Delete, Mirror, Replace, Append)
	o.NullKeys = pick(r, "", "", "reject", "match")
	o.SourceDuplicates = pick(r, "", "", "first", "last")
	o.OldDuplicates = pick(r, "", "", "update-all", "update-all")
	whole := o.Mode == Mirror || o.Mode == Replace
	if whole && o.NullKeys == "reject" && !c.one(6) {
		o.NullKeys = ""
	}
	if whole && !c.one(10) || c.one(20) {
		o.MaxDeleteRatio = &everything
		if c.one(4) {
			half := 0.5
			o.MaxDeleteRatio = &half
		}
	}
	o.AllowEmpty = whole && !c.one(6)
	c.version = -1
	c.consumed = make([]bool, len(c.columns)+1)
	if c.one(3) {
		c.version = len(c.columns) - 1
		c.consumed[c.version] = true
		o.OrderBy = []string{c.spell("ver") + pick(r, "", "", ":desc")}
		o.IgnoreVersion = c.one(4)
		if c.one(3) {
			o.OldDuplicates = "repair"
		}
	}
	if (o.Mode == "" || o.Mode == Upsert || o.Mode == Mirror) && c.one(2) {
		c.marks = pick(r, "gone", "op=D", "op=D")
		o.DeleteWhen = c.marks
		col := modelColumn{name: "gone", kind: truths, typ: arrow.FixedWidthTypes.Boolean}
		if c.marks != "gone" {
			col = modelColumn{name: "op", kind: texts, typ: arrow.BinaryTypes.String}
		}
		c.columns = append(c.columns, col)
		c.consumed[len(c.columns)-1] = true
	}
	c.consumed = c.consumed[:len(c.columns)]
	o.NewColumns = pick(r, "", "", "add", "add", "ignore")
	o.DropEmpty = c.one(4)
	o.Force = o.Mode == Append
	o.Verify = pick(r, "", "", "", VerifyFull)
	o.Parallel = r.IntN(4)
	o.TempDir = c.dir
	if c.one(3) {
		o.RowGroupRows = int64(1 + r.IntN(50))
	}
	if c.one(4) {
		o.TargetFileBytes = 1 + int64(r.IntN(20000))
	}
	if c.one(4) {
		o.Compression = pick(r, "snappy", "none", "none", "gzip", "none", "snappy", "none", "zstd")
	}
	if c.one(2) {
		o.Memory = int64(math.Exp(r.Float64() * math.Log(200_000)))
	}
}

// specText is a partition value as its folder has it, before it is escaped.
func specText(k kind, v any) string {
	switch v {
	case nil, "":
		return ""
	}
	return plainText(k, "", v)
}

// pathOf is the folder of a spec.
func (c *randomCase) pathOf(spec []any) string {
	if spec == nil {
		return ""
	}
	names := make([]string, len(spec))
	for i, v := range spec {
		text := specText(c.parts[i].kind, v)
		if text == "" {
			names[i] = c.parts[i].name + "=__HIVE_DEFAULT_PARTITION__"
			continue
		}
		names[i] = c.parts[i].name + "="
		for _, b := range []byte(text) {
			if b < ' ' || b == 0x7F || strings.IndexByte("\"#%'*/:=?\\{[]^", b) >= 0 {
				names[i] += fmt.Sprintf("%%%02X", b)
			} else {
				names[i] += string([]byte{b})
			}
		}
	}
	return strings.Join(names, "/")
}

func (c *randomCase) randomSpec() []any {
	spec := make([]any, len(c.parts))
	for i, p := range c.parts {
		n := c.r.IntN(6)
		switch {
		case n == 5 && c.one(3): // NULL
		case p.kind == integers:
			spec[i] = int64(n) - 1
		case p.kind == dates:
			spec[i] = int64(20_000 + n)
		default:
			spec[i] = []string{"kr", "a/b=c", "50%", "é x", "x:y,z", "[1]"}[n]
		}
	}
	return spec
}

// expected is what the model makes of the case: an outcome a partition, by path.
func (c *randomCase) expected() (out map[string]modelOutcome, refuse, may []error) {
	routed := map[string][]modelSource{}
	if c.static != nil {
		routed[c.pathOf(c.static)] = nil
	}
	if len(c.parts) == 0 {
		routed[""] = nil
	}
	for _, s := range c.source {
		at := c.pathOf(s.spec)
		routed[at] = append(routed[at], s)
		// Text is read in the types of one partition, before it is known where its rows go.
		for i, v := range s.row {
			if c.text && c.sourceHas[i] && c.schema[i] != nil && !holds(c.schema[i], v) {
				may = append(may, ErrValue)
			}
		}
	}
	out = map[string]modelOutcome{}
	whole := c.o.Mode == Mirror || c.o.Mode == Replace
	if len(routed) == 0 && whole && !c.o.AllowEmpty {
		refuse = append(refuse, ErrGuard)
	}
	for at, rows := range routed {
		p := c.partition(at)
		if p == nil {
			p = &modelPartition{path: at, types: c.schema, required: c.needs, has: make([]bool, len(c.columns))}
			for i := range p.has {
				p.has[i] = c.schema[i] != nil
			}
		}
		o := c.merge(p, rows)
		out[at] = o
		refuse, may = append(refuse, o.refuse...), append(may, o.may...)
	}
	return out, refuse, may
}

func (c *randomCase) partition(at string) *modelPartition {
	i := slices.IndexFunc(c.partitions, func(p *modelPartition) bool { return p.path == at })
	if i < 0 {
		return nil
	}
	return c.partitions[i]
}

// status is what the report must say of a partition.
func (c *randomCase) status(o *modelOutcome) Status {
	n := o.rows
	switch {
	case !o.partition.exists && n.Out == 0:
		return Noop
	case c.o.Mode == Replace && (n.Old > 0 || n.Source > 0), n.Inserted+n.Updated+n.Deleted+n.OldDuplicates > 0 && c.o.Mode != Replace:
		return Published
	}
	return Noop
}

// run merges the case, and where the mode allows it once more, and holds all against the model.
func (c *randomCase) run() (refused bool, err error) {
	for again := range 2 {
		outcomes, refuse, may := c.expected()
		before, err := c.files()
		if err != nil {
			return refused, err
		}
		// A feed waits for the disk: every second case makes one.
		var diff *randomDiff
		var diffErr error
		diffs := again == 0 && len(c.source)%2 == 0
		if diffs {
			diff, diffErr = c.diff()
		}
		src, err := c.given()
		if err != nil {
			return refused, err
		}
		rep, err := c.table.Upsert(context.Background(), src, c.o)
		if len(refuse) > 0 || err != nil && len(may) > 0 {
			refused = again == 0
			return refused, c.checkRefused(err, append(refuse, may...), before)
		}
		if err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		if err := c.checkReport(rep, outcomes); err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		if err := c.take(outcomes); err != nil {
			return refused, err
		}
		if err := c.checkTable(before, outcomes); err != nil {
			return refused, fmt.Errorf("run %d: %w", again, err)
		}
		switch {
		case !diffs:
		case diff != nil:
			if err := diff.check(c, outcomes); err != nil {
				return refused, fmt.Errorf("run %d: %w", again, err)
			}
		case !strings.Contains(Hint(diffErr), "a change feed has one type"): // of partitions that differ
			return refused, fmt.Errorf("run %d: the upsert is fine, the diff is not: %w", again, diffErr)
		}
		if c.o.Mode == Replace || c.o.Mode == Append || !c.repeatable() {
			return refused, nil
		}
		if again == 1 {
			for at := range outcomes {
				if o := outcomes[at]; c.status(&o) != Noop {
					return refused, fmt.Errorf("the model changes %s a second time: %+v", at, o.rows)
				}
			}
		}
	}
	return refused, nil
}

// repeatable reports whether the table still has the types that the options name.
func (c *randomCase) repeatable() bool {
	if len(c.partitions) == 0 {
		return false
	}
	slices.SortFunc(c.partitions, func(a, b *modelPartition) int { return strings.Compare(a.path, b.path) })
	p := c.partition(c.pathOf(c.static))
	if c.static == nil || p == nil {
		p = c.partitions[len(c.partitions)-1]
	}
	same := slices.EqualFunc(p.types, c.schema, func(a, b arrow.DataType) bool { return a == b || a != nil && b != nil && arrow.TypeEqual(a, b) })
	c.schema, c.needs = p.types, p.required
	return same || len(c.o.Casts) == 0
}

func (c *randomCase) checkRefused(err error, want []error, before map[string]storage.Info) error {
	if err == nil {
		return fmt.Errorf("no error, want one of %v", want)
	}
	if !slices.ContainsFunc(want, func(w error) bool { return errors.Is(err, w) }) {
		return fmt.Errorf("error %w, want one of %v", err, want)
	}
	after, failed := c.files()
	if failed != nil {
		return failed
	}
	if !maps.Equal(before, after) {
		return fmt.Errorf("refused (%w), and the table changed:\n%v\n%v", err, before, after)
	}
	return nil
}

func (c *randomCase) checkReport(rep *Report, outcomes map[string]modelOutcome) error {
	var total Rows
	for _, p := range rep.Partitions {
		o, ok := outcomes[p.Partition]
		if !ok {
			return fmt.Errorf("the report has partition %q, the model has not", p.Partition)
		}
		if p.Rows != o.rows {
			return fmt.Errorf("%s:\n got %+v\nwant %+v", p.Partition, p.Rows, o.rows)
		}
		if want := c.status(&o); p.Status != want || p.New == o.partition.exists {
			return fmt.Errorf("%s: status %s, new %t; want %s", p.Partition, p.Status, p.New, want)
		}
		total.Add(p.Rows)
	}
	if len(rep.Partitions) != len(outcomes) || rep.Total.Rows != total {
		return fmt.Errorf("%d partitions, want %d; total %+v, sum %+v", len(rep.Partitions), len(outcomes), rep.Total.Rows, total)
	}
	return nil
}

// take makes the outcomes the table.
func (c *randomCase) take(outcomes map[string]modelOutcome) error {
	for at, o := range outcomes {
		i := slices.IndexFunc(c.partitions, func(p *modelPartition) bool { return p.path == at })
		p := o.partition
		switch status := c.status(&o); {
		case status == Noop:
			continue // nor does it get new columns
		case c.o.DropEmpty && o.rows.Out == 0 && at != "":
			if i >= 0 {
				c.partitions = slices.Delete(c.partitions, i, i+1)
			}
			continue
		}
		p.exists, p.types, p.required = true, slices.Clone(p.types), slices.Clone(p.required)
		for j := range p.has {
			if p.has[j] && p.types[j] == nil {
				p.types[j], p.required[j] = c.columns[j].typ, false
			}
		}
		if i >= 0 {
			c.partitions[i] = &p
		} else {
			c.partitions = append(c.partitions, &p)
		}
	}
	return nil
}

// files lists the files of the table, by path.
func (c *randomCase) files() (map[string]storage.Info, error) {
	out := map[string]storage.Info{}
	var walk func(dir string) error
	walk = func(dir string) error {
		list, err := c.fsys.List(context.Background(), dir)
		if errors.Is(err, fs.ErrNotExist) && dir == randomRoot {
			return nil
		}
		for _, info := range list {
			name := path.Join(dir, info.Name)
			if info.IsDir() {
				err = errors.Join(err, walk(name))
				continue
			}
			out[name] = info
		}
		return err
	}
	return out, walk(randomRoot)
}

// checkTable reads the whole table back.
func (c *randomCase) checkTable(before map[string]storage.Info, outcomes map[string]modelOutcome) error {
	after, err := c.files()
	if err != nil {
		return err
	}
	got := map[string][]modelRow{}
	for _, name := range slices.Sorted(maps.Keys(after)) {
		at := strings.TrimPrefix(strings.TrimPrefix(path.Dir(name), randomRoot), "/")
		o, touched := outcomes[at]
		if !touched || c.status(&o) == Noop {
			if after[name] != before[name] {
				return fmt.Errorf("%s is another file, and its partition should not change", name)
			}
		}
		rows, err := c.read(name, after[name].Size)
		if err != nil {
			return fmt.Errorf("%s: %w", name, err)
		}
		got[at] = append(got[at], rows...)
	}
	if len(got) != len(c.partitions) {
		return fmt.Errorf("partitions %q, want %d", slices.Sorted(maps.Keys(got)), len(c.partitions))
	}
	for _, p := range c.partitions {
		rows, ok := got[p.path]
		if !ok {
			return fmt.Errorf("no partition %s", p.path)
		}
		if err := sameRows(rows, p.rows); err != nil {
			return fmt.Errorf("partition %s: %w", p.path, err)
		}
	}
	return nil
}

func readTable(data []byte) (arrow.Table, error) {
	return pqarrow.ReadTable(context.Background(), bytes.NewReader(data), nil, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
}

// read reads a file with Arrow's own reader.
func (c *randomCase) read(name string, size int64) (rows []modelRow, err error) {
	f, err := c.fsys.Open(context.Background(), name)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	data := make([]byte, size)
	if _, err := f.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	table, err := readTable(data)
	if err != nil {
		return nil, err
	}
	defer table.Release()
	rows = make([]modelRow, table.NumRows())
	for i := range rows {
		rows[i] = make(modelRow, len(c.columns))
	}
	for i, f := range table.Schema().Fields() {
		at := slices.IndexFunc(c.columns, func(col modelColumn) bool { return strings.EqualFold(col.name, f.Name) })
		if at < 0 {
			return nil, fmt.Errorf("column %s", f.Name)
		}
		row := 0
		for _, chunk := range table.Column(i).Data().Chunks() {
			for j := range chunk.Len() {
				rows[row][at] = get(chunk, j)
				row++
			}
		}
	}
	return rows, nil
}

func sameRows(got, want []modelRow) error {
	texts := func(rows []modelRow) []string {
		out := make([]string, len(rows))
		for i, x := range rows {
			out[i] = string(show(nil, x))
		}
		slices.Sort(out)
		return out
	}
	g, w := texts(got), texts(want)
	for i := range max(len(g), len(w)) {
		if i >= len(g) || i >= len(w) || g[i] != w[i] {
			return fmt.Errorf("%d rows, want %d; the first that differs:\n got %.300s\nwant %.300s", len(g), len(w),
				append(g, "none")[min(i, len(g))], append(w, "none")[min(i, len(w))])
		}
	}
	return nil
}

// about is what the case is, for who looks into it.
func (c *randomCase) about() string {
	var b strings.Builder
	fmt.Fprintf(&b, "options %+v\nsource: %d rows, %s, partition columns %v, declared %t\n", c.o, len(c.source), c.format, c.parts, c.declared)
	for i, col := range c.columns {
		fmt.Fprintf(&b, "column %s %s required %t key %t, in the source %t, cast %t\n", col.name, col.typ, col.required, col.key, c.sourceHas[i], c.casts[i])
	}
	for _, p := range c.partitions {
		fmt.Fprintf(&b, "partition %s: %d rows, types %v\n", p.path, len(p.rows), p.types)
	}
	for _, x := range c.source {
		fmt.Fprintf(&b, "source row %v\n", x)
	}
	return b.String()
}

// TestRandomUpserts holds upserts of random sources into random tables against the model: the rows of every
// partition as Arrow's own reader has them, every counter, and that a second run changes nothing.
func TestRandomUpserts(t *testing.T) {
	seed := *seedFlag
	if seed == 0 {
		seed = uint64(time.Now().UnixNano())
	}
	limit := *budgetFlag
	if testing.Short() {
		limit /= 10
	}
	start := time.Now()
	var next, done, refused, spilled, failed atomic.Int64
	another := func() (int64, bool) {
		i := next.Add(1) - 1
		switch {
		case *caseFlag >= 0:
			return int64(*caseFlag), i == 0
		case *casesFlag > 0:
			return i, i < int64(*casesFlag) && failed.Load() == 0
		}
		return i, time.Since(start) < limit && failed.Load() == 0
	}
	t.Run("workers", func(t *testing.T) {
		for w := range runtime.GOMAXPROCS(0) {
			t.Run(strconv.Itoa(w), func(t *testing.T) {
				t.Parallel()
				dir := t.TempDir()
				for i, ok := another(); ok; i, ok = another() {
					c, wasRefused, err := oneCase(seed, uint64(i), dir)
					if err != nil {
						failed.Add(1)
						text := ""
						if c != nil {
							text = c.about()
						}
						t.Fatalf("-seed %d -case %d: %v\n%s", seed, i, err, text)
					}
					done.Add(1)
					if wasRefused {
						refused.Add(1)
					}
					if c.spilled.Load() > 0 {
						spilled.Add(1)
					}
				}
			})
		}
	})
	n := done.Load()
	t.Logf("random upserts: seed %d, %d cases, %d refused as the model refuses them, %d spilled, %.1f cases per second",
		seed, n, refused.Load(), spilled.Load(), float64(n)/time.Since(start).Seconds())
	if n >= 500 && spilled.Load() < n/4 {
		t.Errorf("%d of %d cases spilled: the generator makes too few", spilled.Load(), n)
	}
	if n >= 500 && refused.Load() > n/4 {
		t.Errorf("%d of %d cases were refused: the generator makes too few upserts", refused.Load(), n)
	}
}

func oneCase(seed, i uint64, dir string) (c *randomCase, refused bool, err error) {
	dir = filepath.Join(dir, strconv.FormatUint(i, 10))
	if err := os.Mkdir(dir, 0o700); err != nil {
		return nil, false, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	if c, err = newRandomCase(rand.New(rand.NewPCG(seed, i)), dir); err != nil {
		return c, refused, err
	}
	if refused, err = c.run(); err == nil && i%checkedCases == 0 {
		err = c.checkChecked()
	}
	return c, refused, err
}
