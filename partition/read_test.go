package partition

import (
	"io/fs"
	"syscall"
	"testing"

	"github.com/hupsert/hupsert/merge/source"
)

// TestUnreadableSource: a source that the disk does not give is no bad data, wherever in it that happens.
func TestUnreadableSource(t *testing.T) {
	broken := &fs.PathError{Op: "read", Path: "/in/day.csv", Err: syscall.EIO}
	f := &sourceFile{path: "/in/day.csv", shown: "day.csv"}
	for _, err := range []error{broken, &source.Error{Name: "day.csv", Err: broken}, &source.Error{Name: "day.csv", Line: 7, Err: broken}} {
		if got := KindOf((&reader{}).explain(err, f)); got != KindStorage {
			t.Errorf("%v: kind %s", err, got)
		}
	}
	if got := KindOf((&reader{}).explain(&source.Error{Name: "day.csv", Err: source.ErrFormat}, f)); got != KindCorrupt {
		t.Errorf("what can be read and is no CSV: kind %s", got)
	}
}
