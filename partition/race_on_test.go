//go:build race

package partition

// longText is shorter here: the race detector takes several times the memory.
const longText = 8_000_000
