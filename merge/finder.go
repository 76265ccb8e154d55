package merge

import (
	"bytes"
	"encoding/binary"
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

// follow reports how many of a list's keys from i on, and before to, are in turn those of the source rows where the finder
// stands, and of which row the first. It is for keys of one width, and says none where others are looked up.
func (f *finder) follow(list *keys, i, to int) (row, n int) {
	b, w := f.band, list.width
	if w == 0 || !b.order.asTheyCame || f.turns > maxTurns {
		return 0, 0
	}
	n = min(to-i, b.n-f.at)
	n = samePrefix(list.data[i*w:(i+n)*w], b.keys.data[f.at*w:(f.at+n)*w]) / w
	f.at += n
	return f.at - n, n
}

// samePrefix is how many bytes two slices of one length have in common from the start on.
func samePrefix(a, b []byte) int {
	i := 0
	for ; len(a)-i >= 32; i += 32 {
		x, y := a[i:i+32], b[i:i+32]
		if binary.LittleEndian.Uint64(x) != binary.LittleEndian.Uint64(y) ||
			binary.LittleEndian.Uint64(x[8:]) != binary.LittleEndian.Uint64(y[8:]) ||
			binary.LittleEndian.Uint64(x[16:]) != binary.LittleEndian.Uint64(y[16:]) ||
			binary.LittleEndian.Uint64(x[24:]) != binary.LittleEndian.Uint64(y[24:]) {
			break
		}
	}
	for i < len(a) && a[i] == b[i] {
		i++
	}
	return i
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
