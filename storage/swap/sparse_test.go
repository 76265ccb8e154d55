//go:build !race

package swap_test

// sparse is by how much fewer points are tried.
const sparse = 1
