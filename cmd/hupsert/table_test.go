package main

import (
	"os/exec"
	"strings"
	"testing"
)

func TestGrid(t *testing.T) {
	g := newGrid("<partition", "<status", "rows", "stale")
	g.row("dt=2026-11-20", "published", "1,234", "0")
	g.row("größer", "noop", "7", "0")
	g.dropEmpty(2)
	var b strings.Builder
	g.write(&b)
	want := "" +
		"partition      status      rows\n" +
		"dt=2026-11-20  published  1,234\n" +
		"größer         noop           7\n"
	if b.String() != want {
		t.Errorf("got\n%s\nwant\n%s", b.String(), want)
	}
}

func TestGridBreaksBetweenColumns(t *testing.T) {
	wide := strings.Repeat("x", 30)
	g := newGrid("<p", wide+"1", wide+"2", wide+"3")
	g.row("a", "1", "2", "3")
	var b strings.Builder
	g.write(&b)
	for _, line := range strings.Split(b.String(), "\n") {
		if len(line) > lineWidth {
			t.Errorf("%d columns: %s", len(line), line)
		}
	}
	if got := strings.Count(b.String(), "\na "); got != 2 {
		t.Errorf("the first column stands %d times, want 2:\n%s", got, b.String())
	}
}

func TestQuoteIsReadBackByAShell(t *testing.T) {
	for _, arg := range []string{"plain/path=1,2", "two words", "it's", "$HOME", "*", "", "a\nb", "ü", "~"} {
		got, err := exec.Command("sh", "-c", "printf %s "+quote(arg)).Output()
		if err != nil || string(got) != arg {
			t.Errorf("%q came back as %q (%v)", arg, got, err)
		}
	}
}
