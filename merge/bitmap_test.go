package merge

import (
	"math/rand/v2"
	"testing"
)

// TestBitmapRanges holds ranges against numbers that are put in one by one.
func TestBitmapRanges(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	for range 200 {
		const size = 300
		ranges, single := make(bitmap, size/64+1), map[uint32]bool{}
		for range 20 {
			from := uint32(r.IntN(size))
			n := uint32(r.IntN(min(size-int(from), 1+r.IntN(150)) + 1))
			fresh := true
			for i := from; i < from+n; i++ {
				fresh = fresh && !single[i]
			}
			if got := ranges.addRange(from, n); got != fresh {
				t.Fatalf("range [%d, %d) is fresh: %t, want %t", from, from+n, got, fresh)
			}
			for i := from; i < from+n; i++ {
				if was := single[i]; ranges.add(i) != (!was && !fresh) {
					t.Fatalf("%d was there: want %t", i, was)
				}
				single[i] = true
			}
		}
	}
}

// TestAscendingKeys holds what compares keys as numbers against what compares their bytes.
func TestAscendingKeys(t *testing.T) {
	r := rand.New(rand.NewPCG(7, 8))
	for range 2000 {
		width := []int{4, 8, 12, 16}[r.IntN(4)]
		k, n := keys{width: width}, 1+r.IntN(4)
		for range n * width {
			k.data = append(k.data, []byte{0, 1, 0x80, 0xFF}[r.IntN(4)])
			if at := len(k.data) - 1; at >= width && r.IntN(5) > 0 {
				k.data[at] = k.data[at-width]
			}
		}
		want := true
		for i := 1; i < n; i++ {
			want = want && string(k.at(i-1)) < string(k.at(i))
		}
		if k.ascend(0, n) != want {
			t.Fatalf("%d keys %x ascend: want %t", n, k.data, want)
		}
	}
}

// TestSamePrefix cuts and changes slices at every place.
func TestSamePrefix(t *testing.T) {
	a := make([]byte, 100)
	for n := range a {
		for at := range n + 1 {
			b := append([]byte(nil), a[:n]...)
			if at < n {
				b[at] = 1
			}
			if got := samePrefix(a[:n], b); got != at {
				t.Fatalf("%d bytes of %d are the same, want %d", got, n, at)
			}
		}
	}
}
