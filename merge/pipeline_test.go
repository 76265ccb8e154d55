package merge

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/hupsert/hupsert/merge/splice"
)

// TestPipelineEnds: however a pipeline ends, no goroutine of it is left and nothing waits for ever.
func TestPipelineEnds(t *testing.T) {
	before := runtime.NumGoroutine()
	for round := range 400 {
		r := rand.New(rand.NewPCG(uint64(round), 7))
		ctx, cancel := context.WithCancel(context.Background())
		var jobs []*chunkJob
		fail := r.IntN(30)
		for i := range 15 {
			jobs = append(jobs, &chunkJob{make: func(ctx context.Context) (made madeChunk, err error) {
				if i == fail {
					return made, errors.New("fails")
				}
				made.encoded = &splice.EncodedChunk{}
				return made, ctx.Err()
			}})
		}
		p := start(ctx, newTokens(1+r.IntN(3)), jobs)
		leave := r.IntN(20)
		for i, job := range jobs {
			if i == leave {
				if r.IntN(2) == 0 {
					cancel()
				} else {
					break
				}
			}
			if _, err := p.take(job); err != nil {
				break
			}
			p.written()
		}
		stopped := make(chan struct{})
		go func() { p.stop(); close(stopped) }()
		select {
		case <-stopped:
		case <-time.After(5 * time.Second):
			t.Fatal("hangs")
		}
		cancel()
	}
	<-time.After(20 * time.Millisecond)
	if n := runtime.NumGoroutine(); n > before+2 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}

// TestPipelinesShareTokens: files that are written at once, each in its order, never wait for each other's chunks for ever, and no
// more of them are open together than the tokens allow.
func TestPipelinesShareTokens(t *testing.T) {
	for workers := 1; workers <= 3; workers++ {
		shared := newTokens(workers)
		var open, most atomic.Int32
		var files sync.WaitGroup
		for file := range 4 {
			r := rand.New(rand.NewPCG(uint64(workers), uint64(file)))
			var jobs []*chunkJob
			for range 50 {
				jobs = append(jobs, &chunkJob{make: func(context.Context) (made madeChunk, err error) {
					n := open.Add(1)
					for now := most.Load(); n > now && !most.CompareAndSwap(now, n); now = most.Load() {
					}
					made.encoded = &splice.EncodedChunk{}
					return made, nil
				}})
			}
			p := start(context.Background(), shared, jobs)
			files.Go(func() {
				defer p.stop()
				for _, job := range jobs {
					if _, err := p.take(job); err != nil {
						t.Error(err)
						return
					}
					if r.IntN(4) == 0 {
						runtime.Gosched()
					}
					open.Add(-1)
					p.written()
				}
			})
		}
		done := make(chan struct{})
		go func() { files.Wait(); close(done) }()
		select {
		case <-done:
		case <-time.After(20 * time.Second):
			t.Fatal("hangs")
		}
		if n := int(most.Load()); n > workers+1 {
			t.Errorf("%d chunks of all files are open at once, with %d workers", n, workers)
		}
	}
}

// TestWrittenChunksAreLetGo: what was written is held no longer: at most a chunk more than there are workers is in memory.
func TestWrittenChunksAreLetGo(t *testing.T) {
	var gone atomic.Int32
	var jobs []*chunkJob
	for range 20 {
		jobs = append(jobs, &chunkJob{make: func(context.Context) (made madeChunk, err error) {
			made.encoded = &splice.EncodedChunk{}
			runtime.SetFinalizer(made.encoded, func(*splice.EncodedChunk) { gone.Add(1) })
			return made, nil
		}})
	}
	p := start(context.Background(), newTokens(2), jobs)
	defer p.stop()
	for _, job := range jobs {
		if _, err := p.take(job); err != nil {
			t.Fatal(err)
		}
		p.written()
	}
	for range 20 {
		runtime.GC()
		<-time.After(5 * time.Millisecond)
	}
	if n := gone.Load(); n < 19 {
		t.Errorf("%d of 20 chunks that were written are let go", n)
	}
	runtime.KeepAlive(jobs)
}
