package hdfs

import (
	"path"
	"reflect"
	"testing"

	"github.com/colinmarc/hdfs/v2"

	"github.com/hupsert/hupsert/internal/servicetest"
)

// TestRaw fails where the client library is not the one whose fields raw.go reaches into.
func TestRaw(t *testing.T) {
	for _, c := range []struct {
		of    any
		names []string
	}{
		{&hdfs.Client{}, []string{"namenode", "encryptionKey"}},
		{&hdfs.FileReader{}, []string{"client", "name", "info", "blocks", "blockReader"}},
		{&hdfs.FileWriter{}, []string{"client", "name", "replication", "blockSize", "fileId", "blockWriter"}},
		{&hdfs.FileInfo{}, []string{"name", "status"}},
	} {
		for _, name := range c.names {
			if _, err := field(c.of, name); err != nil {
				t.Error(err)
			}
		}
	}
	if w, err := field(&hdfs.FileWriter{}, "blockWriter"); err != nil {
		t.Error(err)
	} else if stream, err := field(reflect.New(w.Type().Elem()).Interface(), "stream"); err != nil {
		t.Error(err)
	} else {
		for _, name := range []string{"acksDone", "packets"} {
			if _, err := field(reflect.New(stream.Type().Elem()).Interface(), name); err != nil {
				t.Error(err)
			}
		}
	}
	if err := setFields(&hdfs.FileInfo{}, "name", 1); err == nil {
		t.Error("a field was set to what it can't hold")
	}
	if _, err := field(&hdfs.FileInfo{}, "gone"); err == nil {
		t.Error("a field that is not there was found")
	}
	if _, err := newInfo("f", &hdfs.FileStatus{}); err != nil {
		t.Error(err)
	}
	if _, err := newWriter(nil, "f", 1, 1, 1); err != nil {
		t.Error(err)
	}
}

// TestBlocksAreCut: a reader of a range has the blocks that hold it, the last one cut at its end.
func TestBlocksAreCut(t *testing.T) {
	f, dir := connect(t, servicetest.Shared(t), blocks(1024))
	put(t, f, path.Join(dir, "f"), noise(3<<20+5))
	o := open(t, f, path.Join(dir, "f"))
	if len(o.at) != 4 || o.at[3] != (block{3 << 20, 3<<20 + 5}) {
		t.Fatalf("blocks %v", o.at)
	}
	for _, c := range []struct {
		start, end int64
		want       int
	}{{0, 1, 1}, {0, 3<<20 + 5, 4}, {1 << 20, 2 << 20, 1}, {1<<20 - 1, 2<<20 + 1, 3}, {3 << 20, 3<<20 + 5, 1}} {
		if got := o.blocks.upTo(o.at, c.start, c.end).list.Len(); got != c.want {
			t.Errorf("%d to %d: %d blocks, want %d", c.start, c.end, got, c.want)
		}
	}
}
