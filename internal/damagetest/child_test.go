package damagetest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/hupsert/hupsert/partition"
)

// childVariable makes this test's binary a child that carries out tasks.
const childVariable = "HUPSERT_DAMAGE_CHILD"

func TestMain(m *testing.M) {
	if os.Getenv(childVariable) == "" {
		m.Run()
		return
	}
	if err := serve(); err != nil {
		panic(err) // the parent tells what it reads
	}
}

// The roles of a damaged file.
const (
	asOld    = "old partition"
	asSource = "source"
	asNew    = "source of a replace"
)

// task is one run. The folder is empty, and the file's name in it is that of the good file.
type task struct {
	File   string // the good file
	Damage damage
	Role   string
	Dir    string
	// Change is the source that an old partition takes, with its options; Like is a good file of the table that is replaced.
	Change string
	Keys   keys
	Like   string
}

// keys is how a change meets the rows of a file. Without a key it is appended.
type keys struct {
	Key    []string
	Null   bool // NULL is a key like others
	Floats bool
	Twice  bool // keys may stand twice
}

// outcome is what became of a task.
type outcome struct {
	Refusal string         // the error, if there is one
	Kind    partition.Kind // of it
	Changed bool           // something was published
	Touched bool           // after a refusal: the table is not as it was
	Bytes   uint64         // allocated in all, freed or not
	Took    time.Duration
}

// serve carries out the tasks on standard input.
func serve() error {
	if err := limitMemory(); err != nil {
		return err
	}
	in, out := json.NewDecoder(bufio.NewReader(os.Stdin)), json.NewEncoder(os.Stdout)
	for in.More() {
		var t task
		if err := in.Decode(&t); err != nil {
			return err
		}
		o, err := t.run(context.Background())
		if err != nil {
			return err
		}
		if err := out.Encode(o); err != nil {
			return err
		}
	}
	return nil
}

// damaged is where the damaged file lies, and table where the table.
func (t task) damaged() string { return filepath.Join(t.Dir, "in", filepath.Base(t.File)) }
func (t task) table() string   { return filepath.Join(t.Dir, "table") }

func (t task) run(ctx context.Context) (outcome, error) {
	if err := t.prepare(); err != nil {
		return outcome{}, err
	}
	before, err := content(t.table())
	if err != nil {
		return outcome{}, err
	}
	start, bytes := time.Now(), allocated()
	report, failure := t.upsert(ctx)
	o := outcome{Bytes: allocated() - bytes, Took: time.Since(start)}
	after, err := content(t.table())
	if err != nil {
		return outcome{}, err
	}
	changed := !sameContent(before, after)
	if failure != nil {
		o.Refusal, o.Kind, o.Touched = failure.Error(), partition.KindOf(failure), changed
		return o, nil
	}
	o.Changed = changed
	for _, p := range report.Partitions {
		if p.Status == partition.Noop && changed {
			return o, errors.New("a partition that was left alone has changed")
		}
	}
	return o, nil
}

// prepare writes the damaged file, and the table that is there before.
func (t task) prepare() error {
	if err := os.MkdirAll(filepath.Dir(t.damaged()), 0o755); err != nil {
		return err
	}
	if err := t.Damage.write(t.File, t.damaged()); err != nil || t.Role == asSource {
		return err
	}
	if err := os.Mkdir(t.table(), 0o755); err != nil {
		return err
	}
	if t.Role == asNew {
		return damage{}.write(t.Like, filepath.Join(t.table(), "had.parquet"))
	}
	return t.Damage.write(t.File, filepath.Join(t.table(), filepath.Base(t.File)))
}

func (t task) upsert(ctx context.Context) (*partition.Report, error) {
	table, err := partition.Open(ctx, t.table(), partition.Config{})
	if err != nil {
		return nil, err
	}
	from, o := t.damaged(), partition.Options{Mode: partition.Append, Parallel: 1, TempDir: t.Dir}
	switch t.Role {
	case asSource:
		o.Create, o.PartitionBy = true, []string{}
	case asNew:
		all := 1.0
		o.Mode, o.AllowEmpty, o.MaxDeleteRatio = partition.Replace, true, &all
	default:
		from = t.Change
		if len(t.Keys.Key) > 0 {
			o.Mode, o.Key, o.DeleteWhen, o.AllowFloatKeys = partition.Upsert, t.Keys.Key, "op__=D", t.Keys.Floats
			if t.Keys.Null {
				o.NullKeys = "match"
			}
			if t.Keys.Twice {
				o.OldDuplicates = "update-all"
			}
		}
	}
	return table.Upsert(ctx, partition.Source{From: []string{from}, Format: "parquet"}, o)
}

// content is what a folder holds, by name; none where it is not there.
func content(dir string) (map[string]string, error) {
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) && path == dir {
			return nil
		}
		if err != nil || d.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		files[path] = string(data)
		return err
	})
	return files, err
}

func sameContent(a, b map[string]string) bool {
	if len(a) != len(b) {
		return false
	}
	for name, data := range a {
		if other, ok := b[name]; !ok || other != data {
			return false
		}
	}
	return true
}

func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}
