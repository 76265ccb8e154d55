package splice

import (
	"encoding/binary"
	"math/rand/v2"
	"slices"
	"testing"
)

// TestHybridBelow holds hybridBelow against decodeHybrid: over all widths, runs of both kinds, ends that are cut, and limits around the largest value.
func TestHybridBelow(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	agreed, refused := 0, 0
	for range 20_000 {
		width := r.IntN(30)
		src, values := randomHybrid(r, width)
		largest := uint32(0)
		for _, v := range values {
			largest = max(largest, v)
		}
		limit := largest + uint32(r.IntN(3))
		n := len(values) - r.IntN(min(len(values), 9))
		if r.IntN(8) == 0 {
			src = src[:r.IntN(len(src)+1)]
		}
		got := hybridBelow(src, n, width, limit)
		err := decodeHybrid(make([]int32, n), src, width, limit)
		if got && err != nil {
			t.Fatalf("width %d, %d values, limit %d: taken, though %v", width, n, limit, err)
		}
		if got {
			agreed++
		} else if err != nil {
			refused++
		} else if width <= 28 && r.IntN(8) > 0 && n == len(values) && slices.Max(values) < limit && wholeRuns(src, width) {
			t.Fatalf("width %d, %d values, limit %d: not taken, though nothing is wrong", width, n, limit)
		}
	}
	if agreed < 5000 || refused < 5000 {
		t.Errorf("%d were taken and %d refused: too few to tell", agreed, refused)
	}
}

// randomHybrid is some runs, and the values in them.
func randomHybrid(r *rand.Rand, width int) (src []byte, values []uint32) {
	top := uint32(1)<<width - 1
	pick := func() uint32 {
		if top == 0 {
			return 0
		}
		return uint32(r.Uint64N(uint64(top)/uint64(1+r.IntN(3)) + 1))
	}
	for range 1 + r.IntN(4) {
		if r.IntN(2) == 0 {
			n, v := 1+r.IntN(40), pick()
			src = binary.AppendUvarint(src, uint64(n)<<1)
			var four [4]byte
			binary.LittleEndian.PutUint32(four[:], v)
			src = append(src, four[:(width+7)/8]...)
			values = append(values, slices.Repeat([]uint32{v}, n)...)
			continue
		}
		groups := 1 + r.IntN(20)
		src = binary.AppendUvarint(src, uint64(groups)<<1|1)
		packed := make([]byte, groups*width)
		for i := range groups * 8 {
			v := pick()
			values = append(values, v)
			for b := range width {
				packed[(i*width+b)/8] |= byte(v>>b&1) << ((i*width + b) % 8)
			}
		}
		src = append(src, packed...)
	}
	return src, values
}

// wholeRuns reports whether no run is cut off.
func wholeRuns(src []byte, width int) bool {
	for len(src) > 0 {
		header, k := binary.Uvarint(src)
		size := (width + 7) / 8
		if header&1 == 1 {
			size = int(header>>1) * width
		}
		if k <= 0 || k+size > len(src) {
			return false
		}
		src = src[k+size:]
	}
	return true
}
