package merge

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"testing"
	"time"

	"github.com/hupsert/hupsert/merge/splice"
)

// However a pipeline ends, no goroutine of it is left and nothing waits for ever.
func TestRev7PipelineEnds(t *testing.T) {
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
		p := start(ctx, 1+r.IntN(3), jobs)
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
	time.Sleep(20 * time.Millisecond)
	if n := runtime.NumGoroutine(); n > before+2 {
		t.Errorf("%d goroutines, %d before", n, before)
	}
}
