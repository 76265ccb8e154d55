package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// onScreen is what a terminal shows of what is written to it: carriage returns, line ends and the erasing of a line's rest.
func onScreen(text string) (rows []string) {
	row, at := []rune{}, 0
	for text = strings.ReplaceAll(text, "\x1b[K", "\x00"); text != ""; {
		r := []rune(text)[0]
		text = text[len(string(r)):]
		switch r {
		case '\r':
			at = 0
		case '\n':
			rows, row, at = append(rows, string(row)), nil, 0
		case '\x00':
			row = row[:min(at, len(row))]
		default:
			row = append(row[:min(at, len(row))], append([]rune{r}, row[min(at+1, len(row)):]...)...)
			at++
		}
	}
	return append(rows, string(row))
}

// TestScreen: what is written while progress is shown stays, above it; an echoed ^C does not; nothing is left at the end.
func TestScreen(t *testing.T) {
	var out bytes.Buffer
	s := &screen{out: &out, width: func() int { return 60 }}
	g := gauge{step: "merge 1/3", done: 1 << 20, total: 4 << 20}
	s.draw(g)
	fmt.Fprintln(s, "warning: dt=1 is locked")
	s.draw(g)
	out.WriteString("^C") // as the terminal does
	g.done = 2 << 20
	s.draw(g)
	want := "warning: dt=1 is locked\nmerge 1/3        [=========>          ] 2.0 MiB / 4.0 MiB"
	if got := strings.Join(onScreen(out.String()), "\n"); got != want {
		t.Errorf("it shows\n%s\nwant\n%s", got, want)
	}
	out.WriteString("^C")
	fmt.Fprintln(s, "error: interrupted")
	s.clear()
	if got := strings.Join(onScreen(out.String()), "\n"); got != "warning: dt=1 is locked\nerror: interrupted\n" {
		t.Errorf("at the end it shows\n%s", got)
	}
	before := out.Len()
	fmt.Fprintln(s, "a line")
	if got := out.String()[before:]; got != "a line\n" {
		t.Errorf("without progress it writes %q", got)
	}
}

// TestWatch: what is over before the first look flashes nothing; what takes longer is shown, and gone at the end.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		s := &session{stderr: &screen{out: &out, width: func() int { return 60 }}}
		poll := func() gauge { return gauge{step: "merge"} }
		stop := s.watch(poll)
		time.Sleep(pollInterval - time.Millisecond)
		stop()
		if out.Len() > 0 {
			t.Errorf("a short run writes %q", out.String())
		}
		stop = s.watch(poll)
		time.Sleep(pollInterval + time.Millisecond)
		stop()
		if got := out.String(); !strings.Contains(got, "merge") || onScreen(got)[0] != "" {
			t.Errorf("a longer run writes %q", got)
		}
	})
}

// TestLineFits: the line is never wider than there is room, so that it does not wrap.
func TestLineFits(t *testing.T) {
	for _, g := range []gauge{
		{}, {step: "source"}, {step: "write 112/365", done: 3, total: 4}, {step: "merge", done: 9, total: 4},
		{step: "backfill", done: 1200, total: 1460, words: "1,200 / 1,460 partitions, 1 h 03 min left"},
	} {
		for width := -3; width <= 200; width++ {
			line := g.line(width)
			if len(line) > max(width, 0) || strings.HasSuffix(line, " ") {
				t.Errorf("%+v in %d columns: %q", g, width, line)
			}
		}
	}
	full := gauge{step: "source", done: 5, total: 5, words: "all"}
	if got, want := full.line(100), "source           ["+strings.Repeat("=", barWidth-2)+"] all"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}
