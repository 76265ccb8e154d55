package hdfs

import (
	"bytes"
	"container/list"
	"sync"

	"github.com/hupsert/hupsert/storage"
)

// tails are the ends of files that were read lately, as far as they were asked for: a run opens a Parquet file several
// times, and each time its footer would be a request to a datanode. A file of the same id, length and time of change has the
// same bytes, as HDFS only appends.
type tails struct {
	mu    sync.Mutex
	of    map[version]*list.Element
	used  list.List // of tail; the one that was used last in front
	bytes int
}

// tail is the end of one file.
type tail struct {
	of   version
	data []byte
}

// version is a file as it was at some time.
type version struct {
	id          string
	size, mtime int64
}

func versionOf(i storage.Info) version { return version{i.ID, i.Size, i.ModTime.UnixMilli()} }

// mostTails is how much of files' ends is kept, in bytes.
const mostTails = 16 << 20

// get gives what is kept of a file's end; nil where that is nothing.
func (t *tails) get(i storage.Info) []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	at := t.of[versionOf(i)]
	if at == nil {
		return nil
	}
	t.used.MoveToFront(at)
	return at.Value.(tail).data
}

// put keeps the end of a file, in the place of those that were not used for the longest time.
func (t *tails) put(i storage.Info, data []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	of := versionOf(i)
	if at := t.of[of]; at != nil {
		if len(at.Value.(tail).data) >= len(data) {
			return
		}
		t.drop(at)
	}
	if t.of == nil {
		t.of = map[version]*list.Element{}
	}
	t.of[of] = t.used.PushFront(tail{of, bytes.Clone(data)}) // what lies before it in memory goes
	t.bytes += len(data)
	for t.bytes > mostTails {
		t.drop(t.used.Back())
	}
}

func (t *tails) drop(at *list.Element) {
	old := t.used.Remove(at).(tail)
	delete(t.of, old.of)
	t.bytes -= len(old.data)
}
