package merge

import (
	"bytes"
	"sort"
)

// maxTurns is how often old keys may go back before they count as unsorted.
const maxTurns = 64

// finder finds the source rows of old keys. Where the source came sorted and the old keys mostly ascend,
// both are walked side by side; else keys are looked up in the index.
type finder struct {
	band  *band
	at    int // the first source row whose key is not below the last one looked for
	turns int // how often keys went back
}

// find returns the row of the band that holds a key.
func (f *finder) find(key []byte) (int, bool) {
	b := f.band
	if !b.order.asTheyCame || f.turns > maxTurns {
		return b.hashed().find(key)
	}
	if f.at > 0 && bytes.Compare(b.keys.at(f.at-1), key) >= 0 {
		f.turns++
		f.at = sort.Search(f.at, func(i int) bool { return bytes.Compare(b.keys.at(i), key) >= 0 })
	} else {
		f.gallop(key)
	}
	if f.at == b.n || !bytes.Equal(b.keys.at(f.at), key) {
		return 0, false
	}
	f.at++
	return f.at - 1, true
}

// gallop moves on to the first row whose key is not below, in steps that double.
func (f *finder) gallop(key []byte) {
	k, n := &f.band.keys, f.band.n
	below := func(i int) bool { return bytes.Compare(k.at(i), key) < 0 }
	if f.at == n || !below(f.at) {
		return
	}
	from, step := f.at, 1
	for from+step < n && below(from+step) {
		from += step
		step *= 2
	}
	to := min(from+step, n)
	f.at = from + 1 + sort.Search(to-from-1, func(i int) bool { return !below(from + 1 + i) })
}
