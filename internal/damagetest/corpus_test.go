package damagetest

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/hupsert/hupsert/partition"
)

// bad are the files of the corpus that are refused as they are, with what the reason says, by the column that is met first. Every other one is good.
var bad = map[string]string{
	"bad_data/ARROW-GH-41317.parquet":                     "thrift: field 2",
	"bad_data/ARROW-GH-41321.parquet":                     "page of -4 values|levels",
	"bad_data/ARROW-GH-45185.parquet":                     "page starts inside a record",
	"bad_data/ARROW-GH-47662.parquet":                     "364 bytes for 100 values of 4",
	"bad_data/ARROW-RS-GH-6229-DICTHEADER.parquet":        "322 bytes at offset 129",
	"bad_data/ARROW-RS-GH-6229-LEVELS.parquet":            "pages hold more than the 1 values",
	"bad_data/PARQUET-1481.parquet":                       "no valid type",
	"data/datapage_v1-corrupt-checksum.parquet":           "checksum of the page does not match",
	"data/large_string_map.brotli.parquet":                "page of 1073741828 bytes, 1627 in the file",
	"data/rle-dict-uncompressed-corrupt-checksum.parquet": "checksum of the page does not match",
}

// judged are damages that are taken as other rows than the good file's, where pyarrow reads none, with why that is let be.
var judged = map[string]string{
	"data/map_no_value.parquet, bit 1 of byte 477 flipped": "a map's keys become optional, as Trino's are: their levels then say NULL, and what lies behind a page of NULL in a dictionary's encoding is not looked at",
}

// constantBytes and factor bound what a run allocates, freed or not: so many bytes, and so many for each byte of the file.
const (
	constantBytes = 128 << 20
	factor        = 100
)

// tally counts what became of damaged files.
type tally struct {
	sync.Mutex
	files, mutations, runs                     int
	refused, equal, undamaged, carried, unread int
	largest                                    uint64
	slowest                                    time.Duration
	kinds                                      map[string]int
}

// corpusFolder is the parquet-testing corpus.
func corpusFolder(t *testing.T) string {
	return needed(t, "HUPSERT_PARQUET_TESTING", "the parquet-testing corpus")
}

// needed returns the value of a variable that says where something is, and skips or fails the test where it does not.
func needed(t *testing.T, variable, name string) string {
	t.Helper()
	value := os.Getenv(variable)
	if value == "" {
		if os.Getenv("HUPSERT_REQUIRE") == "all" {
			t.Fatalf("%s required, but %s is not set", name, variable)
		}
		t.Skipf("without %s: %s is not set (make test sets it)", name, variable)
	}
	return value
}

// number returns a number from the environment.
func number(t *testing.T, variable string, otherwise int64) int64 {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return otherwise
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return n
}

// harness is what the workers share.
type harness struct {
	t      *testing.T
	corpus string
	dir    string
	python string
	like   string
	tally  tally

	mutex   sync.Mutex
	changes map[string]*change
}

// change is the source that an old partition takes.
type change struct {
	once   sync.Once
	path   string
	answer struct {
		Keys   keys
		Unread string
	}
	err error
}

// pair is a child and a judge, for one goroutine.
type pair struct {
	*harness
	child, judge *worker
	dir          string
	n            int
}

func newHarness(t *testing.T) *harness {
	h := &harness{t: t, corpus: corpusFolder(t), python: needed(t, "HUPSERT_PYTHON", "pyarrow"), dir: t.TempDir(), changes: map[string]*change{}}
	h.tally.kinds = map[string]int{}
	h.like = filepath.Join(h.corpus, "data", "alltypes_plain.parquet")
	return h
}

func (h *harness) pair(n int) *pair {
	p := &pair{harness: h, dir: filepath.Join(h.dir, fmt.Sprint("worker", n))}
	p.child = &worker{command: func() *exec.Cmd {
		cmd := exec.CommandContext(h.t.Context(), os.Args[0])
		cmd.Env = append(os.Environ(), childVariable+"=1", "GOMAXPROCS=2")
		return cmd
	}}
	script, err := filepath.Abs("../../testdata/engines/damage.py")
	if err != nil {
		h.t.Fatal(err)
	}
	p.judge = &worker{command: func() *exec.Cmd { return exec.CommandContext(h.t.Context(), h.python, "-B", script) }}
	return p
}

func (p *pair) close() {
	p.child.close()
	p.judge.close()
}

// file names a file as bad does.
func (h *harness) name(file string) string {
	name, err := filepath.Rel(h.corpus, file)
	if err != nil {
		h.t.Fatal(err)
	}
	return filepath.ToSlash(name)
}

// change returns what a file's partition takes.
func (p *pair) change(file string) *change {
	p.mutex.Lock()
	c := p.changes[file]
	if c == nil {
		c = &change{path: filepath.Join(p.harness.dir, fmt.Sprintf("change%d.parquet", len(p.changes)))}
		p.changes[file] = c
	}
	p.mutex.Unlock()
	c.once.Do(func() {
		c.err = p.judge.ask(map[string]string{"Good": file, "Change": c.path}, &c.answer)
		if c.err == nil && c.answer.Unread != "" {
			c.path = file // appended to itself: nobody compares
		}
	})
	return c
}

// roles does a damage in all roles and reports what is wrong.
func (p *pair) roles(file string, d damage, refuse, sums bool) {
	p.tally.Lock()
	p.tally.mutations++
	p.tally.Unlock()
	for _, role := range []string{asOld, asSource, asNew} {
		c := p.change(file)
		if c.err != nil {
			p.t.Errorf("%s: %v", p.name(file), c.err)
			return
		}
		p.n++
		t := task{File: file, Damage: d, Role: role, Dir: filepath.Join(p.dir, strconv.Itoa(p.n)), Change: c.path, Keys: c.answer.Keys, Like: p.like}
		if role == asNew {
			t.Like = file
		}
		if err := os.MkdirAll(t.Dir, 0o755); err != nil {
			p.t.Error(err)
			return
		}
		p.one(t, refuse, sums)
		if err := os.RemoveAll(t.Dir); err != nil {
			p.t.Error(err)
		}
	}
}

// one does a task and has its outcome judged. With sums the file's pages have checksums: what is taken of it is as good as undamaged.
func (p *pair) one(t task, refuse, sums bool) {
	complain := func(format string, args ...any) {
		p.t.Errorf("%s, %s, as %s: %s", p.name(t.File), t.Damage, t.Role, fmt.Sprintf(format, args...))
	}
	var o outcome
	if err := p.child.ask(t, &o); err != nil {
		complain("the run %v", err)
		return
	}
	info, err := os.Stat(t.File)
	if err != nil {
		complain("%v", err)
		return
	}
	if limit := uint64(constantBytes + factor*info.Size()); measured && o.Bytes > limit {
		complain("%d MB allocated for a file of %d bytes", o.Bytes>>20, info.Size())
	}
	p.tally.note(o)
	if o.Refusal != "" {
		if want := bad[p.name(t.File)]; want != "" && !slices.ContainsFunc(strings.Split(want, "|"), func(part string) bool { return strings.Contains(o.Refusal, part) }) {
			complain("refused for another reason than %q: %s", want, o.Refusal)
		}
		if fault := o.fault(filepath.Base(t.File)); fault != "" {
			complain("%s: %s", fault, o.Refusal)
		}
		if t.Damage.Kind == "" && !refuse {
			complain("refused, though nothing is damaged: %s", o.Refusal)
		}
		return
	}
	if refuse {
		complain("taken, though it is corrupt")
		return
	}
	damaged := t.damaged()
	if sums {
		damaged = os.DevNull // pyarrow does not look at checksums
	}
	p.compare(t, damaged, complain)
}

// fault says what is wrong with a refusal.
func (o outcome) fault(name string) string {
	switch {
	case o.Touched:
		return "refused, but the table has changed"
	case o.Kind == partition.KindInternal || o.Kind == partition.KindVerify:
		return "refused as a fault of ours"
	case strings.Contains(o.Refusal, "decoder stopped"):
		return "a panic was caught"
	case o.Kind == partition.KindCorrupt && !strings.Contains(o.Refusal, name) && !strings.Contains(o.Refusal, "had.parquet"):
		return "the refusal names no file"
	}
	return ""
}

func (t *tally) note(o outcome) {
	t.Lock()
	defer t.Unlock()
	t.runs++
	t.largest, t.slowest = max(t.largest, o.Bytes), max(t.slowest, o.Took)
	if o.Refusal != "" {
		t.refused++
		t.kinds[string(o.Kind)]++
	}
}

// compare holds what was published against what pyarrow reads.
func (p *pair) compare(t task, damaged string, complain func(string, ...any)) {
	question := map[string]any{"Good": t.File, "Damaged": damaged, "Change": t.Change, "Keys": t.Keys, "Role": t.Role, "Out": t.table()}
	var answer struct{ Verdict, Why string }
	err := p.judge.ask(question, &answer)
	if errors.Is(err, errDied) || errors.Is(err, errSlow) {
		// pyarrow does not survive the damaged file; what came out it must.
		question["Damaged"] = os.DevNull
		err = p.judge.ask(question, &answer)
	}
	if err != nil {
		complain("pyarrow reading what came out %v", err)
		return
	}
	p.tally.Lock()
	defer p.tally.Unlock()
	switch answer.Verdict {
	case "equal":
		p.tally.equal++
	case "undamaged":
		p.tally.undamaged++
	case "carried":
		p.tally.carried++
	case "unread":
		p.tally.unread++
	default:
		if why := judged[fmt.Sprintf("%s, %s", p.name(t.File), t.Damage)]; why != "" {
			p.t.Logf("%s, %s, as %s: let be: %s", p.name(t.File), t.Damage, t.Role, why)
			return
		}
		complain("%s", answer.Why)
	}
}

// files lists the corpus.
func (h *harness) files() (all []string) {
	err := filepath.WalkDir(h.corpus, func(path string, _ os.DirEntry, err error) error {
		if strings.HasSuffix(path, ".parquet") || strings.HasSuffix(path, ".encrypted") {
			all = append(all, path)
		}
		return err
	})
	if err != nil {
		h.t.Fatal(err)
	}
	if len(all) == 0 {
		h.t.Fatalf("no files below %s", h.corpus)
	}
	return all
}

// work hands tasks to pairs until they are done or the time is over, and says how many were begun.
func (h *harness) work(n int, until time.Time, do func(p *pair, i int)) (begun int) {
	const pairs = 2
	var mutex sync.Mutex
	next := func() (int, bool) {
		mutex.Lock()
		defer mutex.Unlock()
		if begun == n || !until.IsZero() && time.Now().After(until) || h.t.Context().Err() != nil {
			return 0, false
		}
		begun++
		return begun - 1, true
	}
	var g errgroup.Group
	for k := range pairs {
		g.Go(func() error {
			p := h.pair(k)
			defer p.close()
			for i, ok := next(); ok; i, ok = next() {
				do(p, i)
			}
			return nil
		})
	}
	_ = g.Wait()
	return begun
}

// TestDamaged damages every good file of the corpus: 16 cuts, which are refused, and 32 flipped bits, which are refused or
// give the rows that pyarrow reads of the same damaged file; where pyarrow reads nothing, those of the good file, or the
// damage as it was. HUPSERT_DAMAGE_SECONDS (5; 0: until all are done), or HUPSERT_DAMAGE_MUTATIONS, of as many seeds as that takes, HUPSERT_SEED, and
// HUPSERT_DAMAGE, a part of a file's name, say how much.
func TestDamaged(t *testing.T) {
	if testing.Short() {
		t.Skip("runs pyarrow")
	}
	h := newHarness(t)
	seed := uint64(number(t, "HUPSERT_SEED", time.Now().Unix()))
	seconds := number(t, "HUPSERT_DAMAGE_SECONDS", 5)
	mutations := int(number(t, "HUPSERT_DAMAGE_MUTATIONS", 0))
	only := os.Getenv("HUPSERT_DAMAGE")
	type job struct {
		file string
		damage
	}
	var jobs []job
	for round := uint64(0); round == 0 || len(jobs) < mutations && len(jobs) > 0; round++ {
		h.tally.files = 0
		for _, file := range h.files() {
			if bad[h.name(file)] != "" || strings.HasSuffix(file, ".encrypted") || !strings.Contains(file, only) {
				continue
			}
			data, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			h.tally.files++
			if round == 0 {
				jobs = append(jobs, job{file: file})
			}
			for _, d := range damages(h.name(file), data, seed+round) {
				jobs = append(jobs, job{file, d})
			}
		}
	}
	r := rand.New(rand.NewPCG(seed, 1))
	r.Shuffle(len(jobs), func(i, j int) { jobs[i], jobs[j] = jobs[j], jobs[i] })
	var until time.Time
	switch {
	case mutations > 0:
		jobs = jobs[:min(mutations, len(jobs))]
	case seconds > 0:
		until = time.Now().Add(time.Duration(seconds) * time.Second)
	}
	begun := h.work(len(jobs), until, func(p *pair, i int) {
		p.roles(jobs[i].file, jobs[i].damage, jobs[i].Kind == cut, false)
	})
	h.say("damaged files", seed, begun, len(jobs))
}

// TestFound repeats damages that were found to go wrong, in the engine or in its judge.
func TestFound(t *testing.T) {
	if testing.Short() {
		t.Skip("runs pyarrow")
	}
	h := newHarness(t)
	found := []struct {
		file      string
		at        int64
		bit       int64
		goneWrong string
	}{
		{"data/hadoop_lz4_compressed.parquet", 339, 1, "a required column became optional: the indices of a page of NULL were not looked at"},
		{"data/byte_stream_split.zstd.parquet", 3691, 7, "the judge did not know rows for hidden whose floats are past their bounds"},
		{"data/floating_orders_nan_count.parquet", 1939, 1, "the judge read row groups together: pyarrow passes a page of a value too many where nothing follows"},
		{"data/null_list.parquet", 342, 0, "the judge did not know lists of a fixed size, which Arrow's schema can make of others"},
		{"data/hadoop_lz4_compressed.parquet", 339, 2, "the judge did not know that pyarrow unpacks BIT_PACKED levels from the other end: a required column became repeated"},
		{"data/geospatial/geography-points.parquet", 19026, 4, "bounds of a page index, narrower than the chunk's, hid a row"},
	}
	h.work(len(found), time.Time{}, func(p *pair, i int) {
		p.roles(filepath.Join(h.corpus, found[i].file), damage{flip, 8*found[i].at + found[i].bit}, false, false)
	})
	if h.tally.runs != 3*len(found) {
		t.Errorf("%d runs", h.tally.runs)
	}
}

// say prints what became of the damaged files.
func (h *harness) say(what string, seed uint64, begun, all int) {
	c := &h.tally
	kinds, err := json.Marshal(c.kinds)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Logf("%s: seed %d, %d files, %d of %d mutations, %d runs: %d refused, %d equal to what pyarrow reads, %d accepted only by us (%d with the undamaged rows, %d with the damage carried), "+
		"%d not compared; at most %d MB, %s; refusals %s", what, seed, c.files, begun, all, c.runs, c.refused, c.equal, c.undamaged+c.carried, c.undamaged, c.carried,
		c.unread, c.largest>>20, c.slowest.Round(time.Millisecond), kinds)
}

// TestBadFiles: the files that come damaged or encrypted are refused in every role, each for its reason.
func TestBadFiles(t *testing.T) {
	if testing.Short() {
		t.Skip("runs pyarrow")
	}
	h := newHarness(t)
	files := slices.DeleteFunc(h.files(), func(file string) bool {
		return bad[h.name(file)] == "" && !strings.HasSuffix(file, ".encrypted")
	})
	if len(files) < len(bad) {
		t.Errorf("%d files, want %d and more", len(files), len(bad))
	}
	h.work(len(files), time.Time{}, func(p *pair, i int) { p.roles(files[i], damage{}, true, false) })
}

// TestChecksums flips bits of column chunks whose pages have checksums: the file is refused, or the bit was one that says
// nothing of the rows, and they are those of the good file.
func TestChecksums(t *testing.T) {
	if testing.Short() {
		t.Skip("runs pyarrow")
	}
	h := newHarness(t)
	seed := uint64(number(t, "HUPSERT_SEED", time.Now().Unix()))
	type job struct {
		file string
		damage
	}
	var jobs []job
	for _, name := range []string{"datapage_v1-snappy-compressed-checksum", "datapage_v1-uncompressed-checksum", "plain-dict-uncompressed-checksum", "rle-dict-snappy-checksum"} {
		file := filepath.Join(h.corpus, "data", name+".parquet")
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		h.tally.files++
		for _, d := range inChunks(data, flips, seed) {
			jobs = append(jobs, job{file, d})
		}
	}
	begun := h.work(len(jobs), time.Time{}, func(p *pair, i int) { p.roles(jobs[i].file, jobs[i].damage, false, true) })
	if h.tally.refused < h.tally.runs/2 {
		t.Errorf("of %d runs only %d were refused", h.tally.runs, h.tally.refused)
	}
	h.say("damaged pages with checksums", seed, begun, len(jobs))
}
