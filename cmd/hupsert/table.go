package main

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/dustin/go-humanize"
)

// grid is text in aligned columns: the first to the left, numbers to the right, two blanks between
// them, and no frame, so that awk and people can both read it.
type grid struct {
	head []string
	left []bool // per column: aligned to the left
	rows [][]string
}

// newGrid begins a grid. A heading that starts with "<" makes a column aligned to the left.
func newGrid(head ...string) *grid {
	g := &grid{head: make([]string, len(head)), left: make([]bool, len(head))}
	for i, h := range head {
		g.head[i], g.left[i] = strings.CutPrefix(h, "<")
	}
	return g
}

func (g *grid) row(cells ...string) { g.rows = append(g.rows, cells) }

// dropEmpty leaves out the columns after the first keep ones that hold only "0" or "".
func (g *grid) dropEmpty(keep int) {
	for c := len(g.head) - 1; c >= keep; c-- {
		if g.columnEmpty(c) {
			g.drop(c)
		}
	}
}

// drop leaves out column c.
func (g *grid) drop(c int) {
	g.head = slices.Delete(g.head, c, c+1)
	g.left = slices.Delete(g.left, c, c+1)
	for r := range g.rows {
		g.rows[r] = slices.Delete(g.rows[r], c, c+1)
	}
}

func (g *grid) columnEmpty(c int) bool {
	for _, r := range g.rows {
		if r[c] != "" && r[c] != "0" && r[c] != "0 B" {
			return false
		}
	}
	return true
}

// lineWidth is how wide a text may be; wider grids are broken between columns.
const lineWidth = 80

// write prints the grid. Columns that do not fit follow below, with the first column repeated.
func (g *grid) write(w io.Writer) {
	widths := make([]int, len(g.head))
	lines := append([][]string{g.head}, g.rows...)
	for _, line := range lines {
		for i, cell := range line {
			widths[i] = max(widths[i], utf8.RuneCountInString(cell))
		}
	}
	for next := 1; ; {
		shown, width := []int{0}, widths[0]
		for next < len(widths) && (len(shown) == 1 || width+2+widths[next] <= lineWidth) {
			shown, width = append(shown, next), width+2+widths[next]
			next++
		}
		for _, line := range lines {
			fmt.Fprintln(w, g.line(line, shown, widths))
		}
		if next >= len(widths) {
			return
		}
		fmt.Fprintln(w)
	}
}

func (g *grid) line(cells []string, shown, widths []int) string {
	var b strings.Builder
	for _, i := range shown {
		if i > 0 {
			b.WriteString("  ")
		}
		pad := strings.Repeat(" ", widths[i]-utf8.RuneCountInString(cells[i]))
		if g.left[i] {
			b.WriteString(cells[i] + pad)
		} else {
			b.WriteString(pad + cells[i])
		}
	}
	return strings.TrimRight(b.String(), " ")
}

// count writes 1234567 as 1,234,567.
func count(n int64) string { return humanize.Comma(n) }

// size writes bytes in the unit people read: 0 B, 812 B, 12 MiB.
func size(n int64) string {
	if n < 0 {
		return "?"
	}
	return humanize.IBytes(uint64(n))
}

// seconds writes a duration with the precision its length deserves.
func seconds(s float64) string {
	switch {
	case s >= 100:
		return fmt.Sprintf("%.0f", s)
	case s >= 10:
		return fmt.Sprintf("%.1f", s)
	}
	return fmt.Sprintf("%.2f", s)
}

// plural writes "1 file", "3 files".
func plural(n int64, one string) string {
	if n == 1 {
		return "1 " + one
	}
	return count(n) + " " + one + "s"
}
