package partition

import (
	"sync"
	"sync/atomic"
	"time"

	"github.com/hupsert/hupsert/merge"
)

// Progress holds counters that a run advances and a caller may poll from another goroutine, as
// often as it likes. One Progress belongs to one run at a time; the zero value is ready.
type Progress struct {
	// Merge counts the bytes of old files that were looked at, compared and written.
	Merge merge.Progress

	SourceRows  atomic.Int64 // rows read so far
	SourceBytes atomic.Int64 // bytes of source files read so far
	SourceTotal atomic.Int64 // bytes of all source files; 0 where it is not known (standard input)

	Partitions     atomic.Int64 // partitions the run touches, once all sources are read
	PartitionsDone atomic.Int64 // partitions merged and staged, or found unchanged

	step atomic.Value // Step
}

// Step is what the run is at: StepOpen before it began, StepDone at its end. Where partitions are
// merged in parallel it is the step entered last.
func (p *Progress) Step() Step {
	if s, ok := p.step.Load().(Step); ok {
		return s
	}
	return StepOpen
}

func (p *Progress) enter(s Step) { p.step.Store(s) }

// Event is a step boundary of a run.
type Event struct {
	Run       string
	Partition string // "" for steps of the whole run (and for a table without partitions)
	Step      Step   // the step that begins
	Time      time.Time
	Err       error // set where the partition or run ended with an error
}

// observed calls an observer from several goroutines, one call at a time.
type observed struct {
	mu sync.Mutex
	fn func(Event)
}

func (o *observed) send(e Event) {
	if o.fn == nil {
		return
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.fn(e)
}
