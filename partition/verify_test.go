package partition

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/local"
)

// liar is a file system that can't link, and makes cid a kid where it copies, without a word.
type liar struct {
	local.FS
	right bool // not now
}

func (l *liar) Link(context.Context, string, string) error { return errors.ErrUnsupported }

func (l *liar) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	w, err := l.FS.Create(ctx, name, mode)
	if err != nil || !strings.HasSuffix(name, ".parquet") {
		return w, err
	}
	return &liarWriter{Writer: w, liar: l}, nil
}

type liarWriter struct {
	storage.Writer
	liar *liar
}

func (w *liarWriter) CopyRange(src storage.File, off, n int64) error {
	data := make([]byte, n)
	if _, err := src.ReadAt(data, off); err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	if !w.liar.right {
		data = bytes.ReplaceAll(data, []byte("cid"), []byte("kid"))
	}
	_, err := w.Write(data)
	return err
}

// What --verify full finds and --verify counts does not: each is a staged partition whose files have
// footers that parse and as many rows as they must.
func TestVerifyFull(t *testing.T) {
	const day = "dt=2026-11-20"
	rows := []string{"1,ann,2026-11-20", "2,bob,2026-11-20", "3,cid,2026-11-20", "4,dan,2026-11-20"}
	prepare := func(t *testing.T) *bench {
		b := newBench(t)
		b.upsert(Options{Create: true, PartitionBy: []string{"dt:date"}, Schema: "id bigint, name string", Compression: "none", RowGroupRows: 2},
			b.write("first.csv", append([]string{"id,name,dt"}, rows...)...))
		return b
	}
	refused := func(t *testing.T, b *bench, o Options, from, text string) {
		t.Helper()
		before := b.snapshot()
		o.Verify = VerifyFull
		rep, err := b.try(o, from)
		if !errors.Is(err, ErrVerify) || KindOf(err) != KindVerify || !strings.Contains(err.Error(), text) || b.snapshot() != before {
			t.Fatalf("%v (kind %s), want %q", err, KindOf(err), text)
		}
		if p := rep.Partitions[0]; p.Status != Failed || p.Error.Kind != KindVerify || p.Error.Hint == "" {
			t.Errorf("reported %s, %+v", p.Status, p.Error)
		}
		b.clean()
	}

	t.Run("a file that was copied", func(t *testing.T) {
		b := prepare(t)
		copyFile(t, onlyParquet(t, b.path("orders/"+day)), b.path("orders/"+day+"/other.parquet"))
		lies := &liar{}
		b.cfg.FS = lies
		from := b.write("day.csv", "id,name,dt", "9,new,2026-11-20")
		refused(t, b, Options{TargetFileBytes: 1}, from, "a copied file")
		lies.right = true
		b.upsert(Options{TargetFileBytes: 1, Verify: VerifyFull}, from)
	})
	t.Run("a row group that was copied", func(t *testing.T) {
		b := prepare(t)
		lies := &liar{}
		b.cfg.FS = lies
		from := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20")
		refused(t, b, Options{}, from, "copied from part-")
		lies.right = true
		b.upsert(Options{Verify: VerifyFull}, from)
	})
	t.Run("rows that are not those of the source", func(t *testing.T) {
		b := prepare(t)
		old := onlyParquet(t, b.path("orders/"+day))
		stagedOld := func(e Event) {
			if e.Step != StepVerify {
				return
			}
			staged, err := filepath.Glob(b.path(".hupsert/orders/staging/*/*/data/*.parquet"))
			if err != nil || len(staged) != 1 {
				t.Fatal(staged, err)
			}
			data, err := os.ReadFile(old)
			if err == nil {
				err = os.WriteFile(staged[0], data, 0o644)
			}
			if err != nil {
				t.Fatal(err)
			}
		}
		from := b.write("day.csv", "id,name,dt", "1,anna,2026-11-20", "3,cleo,2026-11-20")
		b.cfg.Observer = stagedOld
		refused(t, b, Options{}, from, "would insert 0, update 2 and delete 0 rows")
	})
	t.Run("a row that nobody changed", func(t *testing.T) {
		// The same merge into a table in which one other row differs gives the file to stage.
		from := []string{"id,name,dt", "1,anna,2026-11-20", "3,cleo,2026-11-20"}
		other := prepare(t)
		other.upsert(Options{Key: []string{"id"}}, other.write("before.csv", "id,name,dt", "4,den,2026-11-20"))
		other.upsert(Options{Key: []string{"id"}}, other.write("day.csv", from...))
		wrong, err := os.ReadFile(onlyParquet(t, other.path("orders/"+day)))
		if err != nil {
			t.Fatal(err)
		}
		b := prepare(t)
		b.cfg.Observer = func(e Event) {
			if e.Step != StepVerify {
				return
			}
			staged, err := filepath.Glob(b.path(".hupsert/orders/staging/*/*/data/*.parquet"))
			if err != nil || len(staged) != 1 {
				t.Fatal(staged, err)
			}
			if err := os.WriteFile(staged[0], wrong, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		refused(t, b, Options{}, b.write("day.csv", from...), "hold other values than the old ones with the changes")
	})
	t.Run("nothing, where a file gets columns", func(t *testing.T) {
		other := newBench(t)
		other.upsert(Options{Create: true, PartitionBy: []string{}, Schema: "mid string, id bigint, name string", Compression: "none", RowGroupRows: 2},
			other.write("first.csv", "id,mid,name", "11,x,ann", "12,y,bob", "13,z,cid", "14,z,dan"))
		b := prepare(t)
		copyFile(t, onlyParquet(t, other.root()), b.path("orders/"+day+"/a-first.parquet"))
		if _, err := b.open().SetConfig(context.Background(), map[string]string{"schema": ""}); err != nil {
			t.Fatal(err)
		}
		b.upsert(Options{NewColumns: "add", Verify: VerifyFull}, b.write("day.csv", "id,name,mid,more,dt", "1,anna,m,1,2026-11-20", "13,cleo,m,2,2026-11-20"))
		if got := len(b.rows()); got != 8 {
			t.Errorf("%d rows, want 8", got)
		}
	})
	t.Run("nothing, in every mode", func(t *testing.T) {
		all := 1.0
		for _, mode := range []Mode{Upsert, Insert, Update, Delete, Mirror, Replace, Append} {
			for _, fsys := range []storage.FS{nil, &liar{right: true}} {
				b := prepare(t)
				b.cfg.FS = fsys
				b.upsert(Options{Mode: mode, Verify: VerifyFull, MaxDeleteRatio: &all}, b.write("day.csv", "id,name,dt", "2,bert,2026-11-20", "9,new,2026-11-20"))
			}
		}
	})
}
