package partition

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/hupsert/hupsert/storage"
	"github.com/hupsert/hupsert/storage/faultfs"
	"github.com/hupsert/hupsert/storage/mem"
)

// noLinks makes a disk one on which kept files are copied.
func noLinks() *faultfs.Rule { return &faultfs.Rule{Op: faultfs.Link, Err: errors.ErrUnsupported} }

// loses is a rule by which a server loses what is written to a staged file, at the n-th of such calls.
func loses(op faultfs.Op, n int, once bool) *faultfs.Rule {
	return &faultfs.Rule{Op: op, Path: "/staging/", Nth: n, Once: once, Half: op == faultfs.Write || op == faultfs.Copy, Err: storage.ErrWriteAgain}
}

// closing is a disk that loses what was written when the n-th staged file is closed.
type closing struct {
	storage.FS
	n      int64
	closed *atomic.Int64 // files are copied side by side
}

func (c closing) Create(ctx context.Context, name string, mode fs.FileMode) (storage.Writer, error) {
	w, err := c.FS.Create(ctx, name, mode)
	if err != nil || !strings.Contains(name, "/staging/") {
		return w, err
	}
	return closingWriter{w, c}, nil
}

type closingWriter struct {
	storage.Writer
	c closing
}

func (w closingWriter) Close() error {
	err := w.Writer.Close()
	if w.c.closed.Add(1) == w.c.n {
		err = errors.Join(err, storage.ErrWriteAgain)
	}
	return err
}

// TestWritesAgain loses what was written to each staged file in turn, at each of its calls: the partition is written
// anew, and published as if nothing had been.
func TestWritesAgain(t *testing.T) {
	for _, op := range []faultfs.Op{faultfs.Write, faultfs.Copy, faultfs.Sync, faultfs.Close} {
		n := 1
		for writesAgain(t, op, n) {
			n++
		}
		if n < 4 {
			t.Errorf("%s: only %d were lost", op, n-1)
		}
	}
}

// writesAgain is a day of changes in which the n-th call of a kind loses a file. False: there are not so many.
func writesAgain(t *testing.T, op faultfs.Op, n int) bool {
	t.Helper()
	d, err := twoDays("rename")
	if err != nil {
		t.Fatal(err)
	}
	var closed atomic.Int64
	f := faultfs.Wrap(closing{d.FS, int64(n), &closed})
	f.Inject(noLinks(), loses(op, n, true))
	if op == faultfs.Close { // reading has it, too
		f = faultfs.Wrap(f.Base())
		f.Inject(noLinks())
	} else {
		closed.Store(int64(n)) // past the one that would fail
	}
	if err := d.changes(f, Options{Verify: VerifyFull}); err != nil {
		t.Fatalf("%s %d is lost: %v", op, n, err)
	}
	h := &diskReader{known: map[[32]byte][]string{}}
	got, err := h.rows(d.FS)
	if err == nil {
		err = changed(got)
	}
	if err != nil {
		t.Fatalf("%s %d is lost: %v", op, n, err)
	}
	table, err := d.on(d.FS)
	if err != nil {
		t.Fatal(err)
	}
	if left := leftovers(d, table); left != "" {
		t.Fatalf("%s %d is lost, and left: %s", op, n, left)
	}
	if op == faultfs.Close {
		return closed.Load() >= int64(n)
	}
	return strings.Contains(f.Trace(), storage.ErrWriteAgain.Error())
}

// changed checks that a table has had its day of changes.
func changed(rows string) error {
	const want = `0 staged
dt=2026-11-20: id=1 name=ann
dt=2026-11-20: id=2 name=BOB
dt=2026-11-20: id=5 name=flo
dt=2026-11-20: id=7 name=hal
dt=2026-11-21: id=1 name=dee
dt=2026-11-21: id=4 name=EVE
dt=2026-11-21: id=6 name=gus
dt=2026-11-22: id=9 name=kai
dt=2026-11-23: id=8 name=ida`
	if rows != want {
		return fmt.Errorf("the table is\n%s\nnot\n%s", rows, want)
	}
	return nil
}

// TestStopsWritingAgain: where all is lost again and again the run ends, and nothing was changed.
func TestStopsWritingAgain(t *testing.T) {
	h := &diskReader{known: map[[32]byte][]string{}}
	// A file that is only copied is written anew by itself, too.
	for op, want := range map[faultfs.Op]int{faultfs.Write: 4, faultfs.Copy: 16} {
		d, err := twoDays("rename")
		if err != nil {
			t.Fatal(err)
		}
		before, err := h.rows(d.FS)
		if err != nil {
			t.Fatal(err)
		}
		f := faultfs.Wrap(d.Crash(mem.Killed, 0))
		rule := loses(op, 1, false)
		rule.Path = "*/data/*.parquet"
		f.Inject(noLinks(), rule)
		err = d.changes(f, Options{Parallel: 1})
		if !errors.Is(err, storage.ErrWriteAgain) || KindOf(err) != KindStorage {
			t.Errorf("%s: %v, of kind %s", op, err, KindOf(err))
		}
		if after, err := h.rows(f.Base()); err != nil || after != before {
			t.Errorf("%s: %v; the table is\n%s", op, err, after)
		}
		if tries := strings.Count(f.Trace(), storage.ErrWriteAgain.Error()); tries != want {
			t.Errorf("%s: %d tries, want %d", op, tries, want)
		}
	}
}
