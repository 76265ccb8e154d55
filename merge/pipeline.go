package merge

import (
	"context"

	"github.com/hupsert/hupsert/merge/column"
	"github.com/hupsert/hupsert/merge/splice"
)

// chunkJob is a column chunk to write: copied, or encoded where encode is set.
type chunkJob struct {
	leaf   *column.Leaf
	encode func(context.Context) (*splice.EncodedChunk, error)
	done   chan encodedChunk
}

type encodedChunk struct {
	chunk *splice.EncodedChunk
	err   error
}

// pipeline encodes chunks on the workers, ahead of the writing, over the borders of row groups and files.
// At most one chunk more than there are workers is held encoded.
type pipeline struct {
	jobs     []*chunkJob
	tokens   chan struct{}
	launched chan struct{}
	cancel   context.CancelFunc
}

// start encodes the jobs in order. Chunks are taken in the same order, and stop comes at the end.
func start(ctx context.Context, workers int, jobs []*chunkJob) *pipeline {
	ctx, cancel := context.WithCancel(ctx)
	p := &pipeline{tokens: make(chan struct{}, workers+1), launched: make(chan struct{}), cancel: cancel}
	for _, job := range jobs {
		if job.encode != nil {
			job.done = make(chan encodedChunk, 1)
			p.jobs = append(p.jobs, job)
		}
	}
	running := make(chan struct{}, workers)
	go func() {
		defer close(p.launched)
		for _, job := range p.jobs {
			select {
			case p.tokens <- struct{}{}:
			case <-ctx.Done():
				job.done <- encodedChunk{err: ctx.Err()}
				continue
			}
			running <- struct{}{}
			go func() {
				c, err := job.encode(ctx)
				<-running
				job.done <- encodedChunk{c, err}
			}()
		}
	}()
	return p
}

// take waits for a chunk. What it returns is written before the next is taken.
func (p *pipeline) take(job *chunkJob) (*splice.EncodedChunk, error) {
	r := <-job.done
	job.done <- encodedChunk{} // stop waits for it too
	return r.chunk, r.err
}

// written lets another chunk be encoded.
func (p *pipeline) written() { <-p.tokens }

// stop ends the pipeline; no goroutine outlives it.
func (p *pipeline) stop() {
	p.cancel()
	<-p.launched
	for _, job := range p.jobs {
		<-job.done
	}
}
