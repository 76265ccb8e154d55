package merge

import "sync"

// partRows is how many rows are worth a goroutine where little is done with each.
const partRows = 1 << 18

// inParts does rows [0, n) in up to so many parts at once, one after the other where that is no gain.
func inParts(n, workers int, do func(from, to int)) {
	parts := max(1, min(workers, n/partRows))
	var all sync.WaitGroup
	for i := 1; i < parts; i++ {
		all.Go(func() { do(n*i/parts, n*(i+1)/parts) })
	}
	do(0, n/parts)
	all.Wait()
}
