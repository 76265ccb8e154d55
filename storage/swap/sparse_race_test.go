//go:build race

package swap_test

// sparse is by how much fewer points are tried: the race detector takes ten times as long, and finds
// nothing more at one point than at its neighbours. All points are tried without it, also where the tests run with it
// (testdata/gotest.sh).
const sparse = 8
