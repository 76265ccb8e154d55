package swap

import "sync"

const (
	// width is how many operations are under way at once where each waits for another machine, or for the disk.
	width = 16
	// many is from how many on operations on a local disk are side by side: their fsyncs then share the file system's
	// commits, of which each costs as long as that of one.
	many = 12
)

// each calls f with 0 to n-1 and gives the first error: in order, up to that error, or where the
// storage is remote or they are many side by side. Nothing may rest on the order.
func (s *Store) each(n int, f func(i int) error) error {
	if n < 2 || n < many && !s.fsys.Capabilities().Remote {
		for i := range n {
			if err := f(i); err != nil {
				return err
			}
		}
		return nil
	}
	var (
		mu    sync.Mutex
		next  int
		at    = n // where the first error is
		first error
		all   sync.WaitGroup
	)
	take := func() (int, bool) {
		mu.Lock()
		defer mu.Unlock()
		if first != nil || next == n {
			return 0, false
		}
		next++
		return next - 1, true
	}
	for range min(n, width) {
		all.Go(func() {
			for i, ok := take(); ok; i, ok = take() {
				if err := f(i); err != nil {
					mu.Lock()
					if i < at {
						at, first = i, err
					}
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	return first
}

// given are those of a list that are there.
func given[T any](list []*T) (out []T) {
	for _, p := range list {
		if p != nil {
			out = append(out, *p)
		}
	}
	return out
}
