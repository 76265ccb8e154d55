package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"

	"github.com/hupsert/hupsert/partition"
)

const (
	// pollInterval bounds how often the line of progress is drawn.
	pollInterval = 100 * time.Millisecond
	// barWidth is how wide its bar is where there is room, leastBar where one is worth drawing.
	barWidth, leastBar = 32, 8
)

// screen is a terminal whose last line may show progress. What else is written goes above that line.
type screen struct {
	out   io.Writer
	width func() int

	mu    sync.Mutex
	drawn bool
}

// screenOf gives the screen that w appears on, and w itself where that is none that can redraw a line.
func screenOf(w io.Writer) io.Writer {
	f, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || os.Getenv("TERM") == "dumb" {
		return w
	}
	return &screen{out: f, width: func() int {
		width, _, err := term.GetSize(int(f.Fd()))
		if err != nil || width <= 0 {
			return 80
		}
		return width
	}}
}

// Write writes lines in the place of the line of progress, which comes back below them when it is drawn next.
func (s *screen) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := s.wipe(); err != nil {
		return 0, err
	}
	return s.out.Write(p)
}

// draw shows progress. The cursor stays behind it, so that the ^C that a terminal shows for an interrupt is drawn over:
// there is room for it in the line.
func (s *screen) draw(g gauge) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drawn = true
	_, _ = io.WriteString(s.out, "\r"+g.line(s.width()-len("^C")-1)+"\x1b[K") // without a terminal nobody looks
}

// clear takes the line of progress away.
func (s *screen) clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	_ = s.wipe() // without a terminal nobody looks
}

func (s *screen) wipe() error {
	if !s.drawn {
		return nil
	}
	s.drawn = false
	_, err := io.WriteString(s.out, "\r\x1b[K")
	return err
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

// line is the gauge in a line of a width: the bar gives way first, then the ends of the words. There are no colours in it,
// so that NO_COLOR needs no look.
func (g *gauge) line(width int) string {
	words := fmt.Sprintf("%-16s ", g.step)
	amount := g.amount()
	room := min(width-utf8.RuneCountInString(words)-utf8.RuneCountInString(amount)-len("[] "), barWidth-len("[]"))
	if room >= leastBar {
		filled := 0
		if g.total > 0 {
			filled = int(min(g.done, g.total) * int64(room) / g.total)
		}
		bar := strings.Repeat("=", filled) + strings.Repeat(" ", room-filled)
		if filled > 0 && filled < room {
			bar = bar[:filled-1] + ">" + bar[filled:]
		}
		words += "[" + bar + "] "
	}
	text := []rune(words + amount)
	return strings.TrimRight(string(text[:min(len(text), max(width, 0))]), " ")
}

// watch draws progress on standard error until the returned function is called. It does so on a
// terminal only: elsewhere, and under --quiet, --verbose, --no-progress and --log-format json, there is none.
func (s *session) watch(poll func() gauge) (stop func()) {
	on, ok := s.stderr.(*screen)
	if !ok || s.noProgress || s.quiet || s.verbose || s.logsJSON() {
		return func() {}
	}
	ticker := time.NewTicker(pollInterval) // what is over before it ticks flashes nothing
	quit, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		defer ticker.Stop()
		for {
			select {
			case <-quit:
				return
			case <-ticker.C:
				on.draw(poll())
			}
		}
	}()
	return func() {
		close(quit)
		<-done
		on.clear()
	}
}
