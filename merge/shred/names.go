package shred

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// FoldName is the same for names that are equal but for upper and lower case, as strings.EqualFold has it.
func FoldName(name string) string {
	for i := range len(name) {
		if name[i] >= utf8.RuneSelf {
			return strings.Map(leastFold, name)
		}
	}
	return strings.ToUpper(name)
}

// leastFold is the least of the characters that differ from one in case only.
func leastFold(r rune) rune {
	least := r
	for other := unicode.SimpleFold(r); other != r; other = unicode.SimpleFold(other) {
		least = min(least, other)
	}
	return least
}
