package merge

import (
	"context"
	"sync"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// chunkJob is a column chunk to write: copied, or made where make is set.
type chunkJob struct {
	leaf *column.Leaf
	make func(context.Context) (madeChunk, error)

	ready chan struct{} // closed when chunk or err is there
	chunk madeChunk     // until it is taken
	units *patchedChunk // until its units are started
	err   error
}

// madeChunk is a chunk that was encoded, or one that is patched unit by unit.
type madeChunk struct {
	encoded *splice.EncodedChunk
	patched *patchedChunk
}

// unitsAhead is how many units for each worker are patched and not written yet.
const unitsAhead = 8

// tokens limit what the pipelines of all files do and hold together: at most one chunk more than there are workers is open, and
// unitsAhead units for each worker wait for the writing. A pipeline takes tokens in the order in which its file is written, and the
// writing of each file goes on beside the others: what holds a token is written in the end.
type tokens struct {
	running chan struct{} // the workers
	chunks  chan struct{} // those that are open
	units   chan struct{} // those that are not written
}

func newTokens(workers int) tokens {
	return tokens{
		running: make(chan struct{}, workers), chunks: make(chan struct{}, workers+1), units: make(chan struct{}, unitsAhead*workers),
	}
}

// pipeline makes the chunks of a file on the workers, ahead of the writing.
type pipeline struct {
	tokens
	ctx    context.Context
	cancel context.CancelFunc
	jobs   []*chunkJob
	all    sync.WaitGroup
}

// start makes the jobs' chunks in order. They are taken in the same order, and stop comes at the end; after an error the others that
// share its tokens are to be stopped too.
func start(ctx context.Context, shared tokens, jobs []*chunkJob) *pipeline {
	ctx, cancel := context.WithCancel(ctx)
	p := &pipeline{tokens: shared, ctx: ctx, cancel: cancel}
	for _, job := range jobs {
		if job.make != nil {
			job.ready = make(chan struct{})
			p.jobs = append(p.jobs, job)
		}
	}
	p.all.Go(p.open)
	p.all.Go(p.patch)
	return p
}

// acquire takes a token; an error where the pipeline is stopped first.
func (p *pipeline) acquire(tokens chan struct{}) error {
	select {
	case tokens <- struct{}{}:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// run gives work to a worker and then says done.
func (p *pipeline) run(tokens chan struct{}, work func() error, fault *error, done chan struct{}) {
	if *fault = p.acquire(tokens); *fault == nil {
		*fault = p.acquire(p.running)
	}
	if *fault != nil {
		close(done)
		return
	}
	p.all.Go(func() {
		*fault = work()
		<-p.running
		close(done)
	})
}

// open makes chunks.
func (p *pipeline) open() {
	for _, job := range p.jobs {
		p.run(p.chunks, func() (err error) {
			job.chunk, err = job.make(p.ctx)
			job.units = job.chunk.patched
			return err
		}, &job.err, job.ready)
	}
}

// patch makes the pages of chunks that are patched.
func (p *pipeline) patch() {
	for _, job := range p.jobs {
		<-job.ready
		chunk := job.units
		job.units = nil
		if job.err != nil || chunk == nil {
			continue
		}
		for _, u := range chunk.units {
			p.run(p.units, func() (err error) {
				u.out, err = chunk.Patched(p.ctx, u.pages)
				return err
			}, &u.err, u.done)
		}
	}
}

// take waits for a chunk, which is the caller's then: nothing else holds it. It is written before the next is taken.
func (p *pipeline) take(job *chunkJob) (madeChunk, error) {
	<-job.ready
	chunk := job.chunk
	job.chunk = madeChunk{}
	return chunk, job.err
}

// pages waits for a unit's pages, for which another unit may be patched then.
func (p *pipeline) pages(u *unit) (*splice.PatchedPages, error) {
	<-u.done
	if u.err == nil {
		<-p.units
	}
	return u.out, u.err
}

// written lets another chunk be made.
func (p *pipeline) written() { <-p.chunks }

// stop ends the pipeline; no goroutine outlives it.
func (p *pipeline) stop() {
	p.cancel()
	p.all.Wait()
}
