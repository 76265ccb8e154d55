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
	SourceRows  atomic.Int64 // rows read so far
	SourceBytes atomic.Int64 // bytes of source files read so far
	SourceTotal atomic.Int64 // bytes of all source files; 0 where it is not known (standard input)

	Partitions     atomic.Int64 // partitions the run touches, once all sources are read
	PartitionsDone atomic.Int64 // partitions merged and staged, or found unchanged

	step atomic.Value // Step

	mu      sync.Mutex
	plan    bool // nothing is written
	begun   int64
	ended   int64 // bytes of partitions that are merged
	merging map[*merge.Progress]struct{}
}

// Merged is how far the partitions are, in bytes of their old files: each counts when it is searched and
// when it is written, half and half. As long as not all partitions are begun, the others are taken to be
// as large as those that are, on average.
func (p *Progress) Merged() (done, total int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	done, total = p.ended, p.ended
	for m := range p.merging {
		n := m.Total.Load()
		part := min(m.Probed.Load(), n)
		if !p.plan {
			part = (part + min(m.Written.Load(), n)) / 2
		}
		done, total = done+part, total+n
	}
	if all := p.Partitions.Load(); all > p.begun && p.begun > 0 {
		total = total / p.begun * all
	}
	return done, total
}

// begin and end enclose the merge of a partition.
func (p *Progress) begin(m *merge.Progress, plan bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.merging == nil {
		p.merging = map[*merge.Progress]struct{}{}
	}
	p.merging[m] = struct{}{}
	p.begun, p.plan = p.begun+1, plan
}

func (p *Progress) end(m *merge.Progress) {
	p.mu.Lock()
	defer p.mu.Unlock()
	delete(p.merging, m)
	p.ended += m.Total.Load()
	p.PartitionsDone.Add(1)
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
