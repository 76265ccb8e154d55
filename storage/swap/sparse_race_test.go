//go:build race

package swap_test

// sparse is by how much fewer points are tried: the race detector takes ten times as long, and finds
// nothing more at one point than at its neighbours.
const sparse = 8
