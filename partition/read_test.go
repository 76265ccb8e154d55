package partition

import (
	"errors"
	"io/fs"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/merge/source"
)

// TestUnreadableSource: a source that the disk does not give is no bad data, wherever in it that happens.
func TestUnreadableSource(t *testing.T) {
	broken := &fs.PathError{Op: "read", Path: "/in/day.csv", Err: syscall.EIO}
	f := &sourceFile{place: place{name: "/in/day.csv"}, shown: "day.csv"}
	for _, err := range []error{broken, &source.Error{Name: "day.csv", Err: broken}, &source.Error{Name: "day.csv", Line: 7, Err: broken}} {
		if got := KindOf((&reader{}).explain(err, f)); got != KindStorage {
			t.Errorf("%v: kind %s", err, got)
		}
	}
	if got := KindOf((&reader{}).explain(&source.Error{Name: "day.csv", Err: source.ErrFormat}, f)); got != KindCorrupt {
		t.Errorf("what can be read and is no CSV: kind %s", got)
	}
}

// TestUnreadableStaging: a staged file that the disk does not give again is no wrong merge.
func TestUnreadableStaging(t *testing.T) {
	broken := &fs.PathError{Op: "read", Path: "/staging/a.parquet", Err: syscall.EIO}
	if err := unverified(t.Context(), "staged file", broken); KindOf(err) != KindStorage || !errors.Is(err, syscall.EIO) {
		t.Errorf("%v: kind %s", err, KindOf(err))
	}
	if err := unverified(t.Context(), "staged file", errors.New("2 rows, want 3")); KindOf(err) != KindVerify {
		t.Errorf("%v: kind %s", err, KindOf(err))
	}
}
