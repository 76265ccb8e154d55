// Package nearest finds what was meant by a name that is misspelt.
package nearest

import "strings"

// Name is the candidate that a misspelt name is most like, "" where none is like it: a letter at least must be the same.
func Name(name string, candidates []string) string {
	best, least := "", min(max(2, len(name)/3)+1, len(name))
	for _, c := range candidates {
		d := distance(folded(name), folded(c))
		if d < least {
			best, least = c, d
		}
	}
	return best
}

// distance counts the letters that one must insert, remove, replace or swap to make b of a.
func distance(a, b string) int {
	before, last := make([]int, len(b)+1), make([]int, len(b)+1)
	for j := range last {
		last[j] = j
	}
	for i := 1; i <= len(a); i++ {
		row := make([]int, len(b)+1)
		row[0] = i
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			row[j] = min(last[j]+1, row[j-1]+1, last[j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				row[j] = min(row[j], before[j-2]+1)
			}
		}
		before, last = last, row
	}
	return last[len(b)]
}

// folded is a name without what is easily mistaken in it.
func folded(name string) string { return strings.ToLower(strings.ReplaceAll(name, "_", "-")) }

// Meant asks whether another name was meant, to stand before the rest of a hint; "" where none is like it.
func Meant(name string, candidates []string) string {
	near := Name(name, candidates)
	if near == "" || strings.EqualFold(near, name) {
		return ""
	}
	return "did you mean " + near + "? "
}
