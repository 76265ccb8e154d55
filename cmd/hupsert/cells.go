package main

import (
	"encoding/json"
	"strings"
	"unicode"

	textwidth "golang.org/x/text/width"

	"github.com/hupsert/hupsert/partition"
)

const ellipsis = "…"

// shown is a value as it is shown: texts as they are, but in quotes where they could be taken for something else.
func shown(c partition.Cell) string {
	text := string(c.Value)
	if text == "null" {
		return "NULL"
	}
	var s string
	if json.Unmarshal(c.Value, &s) != nil {
		return text
	}
	odd := func(r rune) bool { return unicode.IsControl(r) || !unicode.IsPrint(r) && r != ' ' }
	if s == "" || s == "NULL" || strings.TrimSpace(s) != s || s[0] == '"' || strings.IndexFunc(s, odd) >= 0 {
		return text
	}
	return s
}

// width is how many columns of a terminal a text takes: characters of East Asian scripts take two.
func width(text string) int {
	n := 0
	for _, r := range text {
		n += runeWidth(r)
	}
	return n
}

func runeWidth(r rune) int {
	switch textwidth.LookupRune(r).Kind() {
	case textwidth.EastAsianWide, textwidth.EastAsianFullwidth:
		return 2
	}
	return 1
}

func pad(text string, to int) string { return text + strings.Repeat(" ", max(0, to-width(text))) }

// shorten cuts a text that takes more than n columns.
func shorten(text string, n int) string {
	if width(text) <= n {
		return text
	}
	left := n - 1
	for i, r := range text {
		if left -= runeWidth(r); left < 0 {
			return text[:i] + ellipsis
		}
	}
	return text
}

// shortenBoth cuts two texts to their widths, and so that what differs in them is seen.
func shortenBoth(a, b string, widthA, widthB int) (string, string) {
	if width(a) <= widthA && width(b) <= widthB {
		return a, b
	}
	ra, rb := []rune(a), []rune(b)
	same := 0
	for same < len(ra) && same < len(rb) && ra[same] == rb[same] {
		same++
	}
	const context = 6 // characters before the difference
	if least := min(widthA, widthB); same > least-context && same > context {
		from := same - context
		a, b = ellipsis+string(ra[from:]), ellipsis+string(rb[from:])
	}
	return shorten(a, widthA), shorten(b, widthB)
}
