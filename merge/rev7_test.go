package merge

import (
	"context"
	"runtime"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/merge/splice"
)

// What was written is held no longer: at most a chunk more than there are workers is in memory.
func TestRev7WrittenChunksAreLetGo(t *testing.T) {
	var gone atomic.Int32
	var jobs []*chunkJob
	for range 20 {
		jobs = append(jobs, &chunkJob{make: func(context.Context) (made madeChunk, err error) {
			made.encoded = &splice.EncodedChunk{}
			runtime.SetFinalizer(made.encoded, func(*splice.EncodedChunk) { gone.Add(1) })
			return made, nil
		}})
	}
	p := start(context.Background(), 2, jobs)
	defer p.stop()
	for _, job := range jobs {
		if _, err := p.take(job); err != nil {
			t.Fatal(err)
		}
		p.written()
	}
	for range 20 {
		runtime.GC()
		time.Sleep(5 * time.Millisecond)
	}
	if n := gone.Load(); n < 19 {
		t.Errorf("%d of 20 chunks that were written are let go", n)
	}
	runtime.KeepAlive(jobs)
}
