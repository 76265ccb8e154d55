package main

import (
	"fmt"
	"io"
	"os"
	"sync/atomic"
	"time"

	"github.com/vbauerster/mpb/v8"
	"github.com/vbauerster/mpb/v8/decor"
	"golang.org/x/term"

	"github.com/hupsert/hupsert/partition"
)

// pollInterval bounds how often the bar is drawn.
const pollInterval = 100 * time.Millisecond

// terminal reports whether what is written to w appears on a terminal that can redraw a line.
func terminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	return ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb"
}

// gauge is what the bar shows: the step at work and how far it got.
type gauge struct {
	step        string
	done, total int64
	words       string // in place of the amount
}

// amount is how far the step got, in words; nothing where there is nothing to measure.
func (g *gauge) amount() string {
	switch {
	case g.words != "":
		return g.words
	case g.total <= 0:
		return ""
	}
	return size(min(g.done, g.total)) + " / " + size(g.total)
}

// gaugeOf reads the library's counters.
func gaugeOf(p *partition.Progress) func() gauge {
	return func() gauge {
		g := gauge{step: string(p.Step())}
		if all := p.Partitions.Load(); all > 1 {
			g.step = fmt.Sprintf("%s %d/%d", g.step, p.PartitionsDone.Load(), all)
		}
		switch p.Step() {
		case partition.StepOpen, partition.StepRecover, partition.StepSource, partition.StepRoute, partition.StepLock:
			g.done, g.total = p.SourceBytes.Load(), p.SourceTotal.Load()
		default:
			g.done, g.total = p.Merged()
		}
		return g
	}
}

// watch draws a bar on standard error until the returned function is called. It does so on a
// terminal only: elsewhere, and under --quiet, --verbose, --no-progress and --log-format json,
// whose lines it would tear, there is none.
func (s *session) watch(poll func() gauge) (stop func()) {
	if s.noProgress || s.quiet || s.verbose || s.logFormat == "json" || !terminal(s.stderr) {
		return func() {}
	}
	var now atomic.Pointer[gauge]
	first := poll()
	now.Store(&first)
	bars := mpb.New(mpb.WithOutput(s.stderr), mpb.WithRefreshRate(pollInterval), mpb.WithWidth(32))
	bar := bars.New(0, barStyle(),
		mpb.BarRemoveOnComplete(),
		mpb.PrependDecorators(decor.Any(func(decor.Statistics) string { return now.Load().step }, decor.WC{W: 16, C: decor.DindentRight})),
		mpb.AppendDecorators(decor.Any(func(decor.Statistics) string { return now.Load().amount() })))
	ticker := time.NewTicker(pollInterval)
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				g := poll()
				now.Store(&g)
				bar.SetTotal(g.total, false)
				bar.SetCurrent(min(g.done, g.total))
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		bar.Abort(true)
		bars.Wait()
	}
}

// barStyle has no colours anywhere, so that NO_COLOR needs no second look.
func barStyle() mpb.BarFillerBuilder {
	return mpb.BarStyle().Lbound("[").Filler("=").Tip(">").Padding(" ").Rbound("]")
}
