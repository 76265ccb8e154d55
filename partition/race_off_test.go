//go:build !race

package partition

// longText is the size of a value that a page holds alone.
const longText = 100_000_000
